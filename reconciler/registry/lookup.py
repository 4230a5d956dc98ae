"""One artifact by id: whether it is there, and waiting for it to become available."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, retry_if_result

from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import Seen
from reconciler.registry.clock import Clock, Polling
from reconciler.registry.errors import AwsError, translate, translated
from reconciler.registry.images import describe, seen
from reconciler.registry.session import Clients

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import ImageTypeDef

_SETTLING = 60.0
"""Seconds for which a new copy may not be visible. EC2 is eventually consistent (EC2 API developer guide)."""


def find(clients: Clients, location: str, artifact_id: str, *, patience: float, clock: Clock) -> Seen | None:
    """Report one image. See `Registry.find`.

    botocore retries throttling and broken connections, but "not found" is an answer to it. Right after an image was
    made that answer may be wrong for some seconds, so it is asked again here, by tenacity, for `patience` seconds.
    """

    def patient_enough(state: RetryCallState) -> bool:
        # Counts what was slept, not a clock, so that a handed-in sleep ends it as well.
        return state.idle_for >= patience

    def give_up(_: RetryCallState) -> None:
        return None

    with translated(f"describing {artifact_id} in {location}"):
        ec2 = clients.ec2(location)
        image: ImageTypeDef | None = Retrying(
            retry=retry_if_result(lambda found: found is None),
            wait=lambda state: min(2.0 ** (state.attempt_number - 1), max(patience - state.idle_for, 0.0), 8.0),
            stop=patient_enough,
            sleep=clock.sleep,
            retry_error_callback=give_up,
        )(describe, ec2, artifact_id)
    return None if image is None else seen(image, location)


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
        elif passing is None and waited >= _SETTLING:
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
