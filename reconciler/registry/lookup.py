"""One artifact by id: whether it is there, and waiting for it to become available."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import retry_if_result

from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import Seen
from reconciler.registry.clock import SETTLING, Clock, Polling, asking_again
from reconciler.registry.errors import AwsError, translate, translated
from reconciler.registry.images import PAGE, describe, seen
from reconciler.registry.observe import literal
from reconciler.registry.session import Clients

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import ImageTypeDef


def find(clients: Clients, location: str, artifact_id: str, *, patience: float, clock: Clock) -> Seen | None:
    """Report one image. See `Registry.find`.

    botocore retries throttling and broken connections, but "not found" is an answer to it. Right after an image was
    made that answer may be wrong for some seconds, so it is asked again here, by tenacity, for `patience` seconds.
    """
    retrying = asking_again(retry_if_result(lambda found: found is None), patience=patience, clock=clock)
    with translated(f"describing {artifact_id} in {location}"):
        image: ImageTypeDef | None = retrying(describe, clients.ec2(location), artifact_id)
    return None if image is None else seen(image, location)


def named(clients: Clients, location: str, name: str) -> tuple[Seen, ...]:
    """Report the account's own images by name. See `Registry.named`."""
    with translated(f"looking for {name} in {location}"):
        pages = (
            clients.ec2(location)
            .get_paginator("describe_images")
            .paginate(
                Owners=["self"],
                Filters=[{"Name": "name", "Values": [literal(name)]}],
                IncludeDisabled=True,
                PaginationConfig={"PageSize": PAGE},
            )
        )
        found = [
            seen(image, location) for page in pages for image in page["Images"] if image["State"] != "deregistered"
        ]
    return tuple(sorted((one for one in found if one.name == name), key=lambda one: one.id))


def wait_available(
    clients: Clients, location: str, artifact_id: str, *, timeout: float, polling: Polling, clock: Clock
) -> Seen:
    """Wait for one image. See `Registry.wait_available`.

    A look that fails for a passing reason is not the copy's fault: it is taken again until the time is over.
    """
    began = clock.monotonic()
    for delay in polling.delays():
        waited = clock.monotonic() - began
        passing, image = _look(clients, location, artifact_id)
        if image is not None and image["State"] == "available":
            return seen(image, location)
        if image is not None:
            _refuse_failed(image, location)
        elif passing is None and waited >= SETTLING:
            raise Terminal(f"{artifact_id} in {location} is gone: somebody deregistered it, or EC2 dropped the copy")
        if waited >= timeout:
            state = image["State"] if image is not None else "not visible"
            raise Transient(
                f"{artifact_id} in {location} is still {state} after {timeout:.0f} s",
                mend="it goes on by itself; the next run takes it up once it is available",
            ) from passing
        clock.sleep(min(delay, timeout - waited))
    raise AssertionError("delays never end")


def _look(clients: Clients, location: str, artifact_id: str) -> tuple[Transient | None, ImageTypeDef | None]:
    try:
        return None, describe(clients.ec2(location), artifact_id)
    except AwsError as error:
        ours = translate(error, doing=f"describing {artifact_id} in {location}")
        if isinstance(ours, Transient):
            return ours, None
        raise ours from error


def _refuse_failed(image: ImageTypeDef, location: str) -> None:
    if image["State"] in ("pending", "transient"):
        return
    why = image.get("StateReason", {}).get("Message") or "EC2 gives no reason"
    raise Terminal(f"{image['ImageId']} in {location} is {image['State']}: {why}")
