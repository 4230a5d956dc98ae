"""Images as EC2 has them: the whole fleet, one by its id, and what time EC2 has."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from tenacity import retry_if_result

from reconciler.aws.clock import SETTLING, Clock, Polling, asking_again
from reconciler.aws.errors import AwsError, Fault, code_of, explain, misspelt, translate, translated
from reconciler.aws.session import Clients
from reconciler.model.errors import NoCredentials, Terminal, Transient
from reconciler.model.observation import TAG_PREFIX, Observation, Seen, State
from reconciler.model.values import told_instant
from reconciler.registries.dates import told_at

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import DescribeImagesResultTypeDef, ImageTypeDef


# An image as EC2 describes it, turned into an artifact seen.

KIND = "ami"
PAGE = 1000
"""The most that DescribeImages returns at once."""

GONE = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})
"""Unavailable is what EC2 says of an image that was deregistered a while ago."""

_STATES: Mapping[str, State] = {
    "available": "available",
    "pending": "pending",
    "transient": "pending",
    "failed": "failed",
    "error": "failed",
    "disabled": "disabled",
}
"""EC2's other states (invalid, deregistered) are of images that exist and can't be launched."""


class Shared:
    """Texts and tags that are kept once, however many images have them: the copies of a build have all in common.

    Regions are read at the same time: each step is one of a dictionary's own.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._tags: dict[tuple[str, ...], Mapping[str, str]] = {}

    def text(self, text: str) -> str:
        """The same text."""
        return self._texts.setdefault(text, text)

    def tags(self, image: ImageTypeDef) -> Mapping[str, str]:
        """The tags of an image."""
        text = self._texts.setdefault
        found = {text(key := tag["Key"], key): text(value := tag["Value"], value) for tag in image.get("Tags", ())}
        return self._tags.setdefault((*found, *found.values()), found)


def seen(image: ImageTypeDef, location: str, shared: Shared | None = None) -> Seen:
    """The artifact that EC2 describes. Plain lookups: it runs once for every image of the fleet in every plan."""
    shared = shared or Shared()
    return Seen(
        kind=KIND,
        location=location,
        id=image["ImageId"],
        name=shared.text(image.get("Name", "")),
        state=_STATES.get(image["State"], "unusable"),
        created=shared.text(told_instant(image.get("CreationDate"))),
        tags=shared.tags(image),
        parts=snapshots(image),
        copy_of=copied_from(image),
        deprecated=told_instant(image.get("DeprecationTime")) or None,
        protection=_protection(image.get("DeregistrationProtection", "")),
        public=image.get("Public", False),
    )


def _protection(said: str) -> str:
    """What keeps an image from being deregistered: EC2 says `disabled` where nothing does."""
    return "" if said == "disabled" else said


def snapshots(image: ImageTypeDef) -> tuple[str, ...]:
    """The EBS snapshots behind an image, in order of its devices; none for one that is stored in S3."""
    return tuple(
        mapping["Ebs"]["SnapshotId"]
        for mapping in image.get("BlockDeviceMappings", ())
        if "SnapshotId" in mapping.get("Ebs", ())
    )


def copied_from(image: ImageTypeDef) -> tuple[str, str] | None:
    """The region and id that CopyImage made an image from.

    CreateImage names a source as well, that of an instance which anybody may have changed, and the instance with it
    (DescribeImages, API reference).
    """
    region, source = image.get("SourceImageRegion"), image.get("SourceImageId")
    return (region, source) if region and source and not image.get("SourceInstanceId") else None


def describe(ec2: EC2Client, image_id: str) -> ImageTypeDef | None:
    """One image by id, whoever owns it; None if there is none. Raises botocore's errors.

    For a while after it was deregistered EC2 answers with an empty list, or with the state `deregistered`, and only
    later with InvalidAMIID.NotFound (DescribeImages, API reference).
    """
    try:
        images = ec2.describe_images(ImageIds=[image_id], IncludeDeprecated=True, IncludeDisabled=True)["Images"]
    except ClientError as error:
        if code_of(error) in GONE:
            return None
        raise
    return next((image for image in images if image["State"] != "deregistered"), None)


# The whole fleet as EC2 has it: one paged DescribeImages per region, regions at the same time.

FLEET_TAG = f"{TAG_PREFIX}fleet"
_PARALLEL_REGIONS = 16
_M_MMAP_THRESHOLD = -3
"""As glibc's malloc.h has it."""
_LARGE = 128 * 1024
"""Bytes; glibc begins with the same."""
NEVER_REACHED = frozenset(
    # A proxy answers in its own words for a host that does not exist, which is no answer of AWS.
    {
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "InvalidRegionError",
        "ProxyConnectionError",
        "ResponseParserError",
    }
)

Answer = tuple[Seen, ...] | Fault


def observe(clients: Clients, locations: Sequence[str], *, fleet: str) -> Observation:
    """Read every region and gather what was seen. See `Registry.observe`."""
    regions = tuple(dict.fromkeys(locations))
    if not regions:
        return Observation()
    try:
        clients.sign_in(regions[0])
    except AwsError as error:
        return _gather(dict.fromkeys(regions, explain(error)))
    _give_back_what_is_let_go()
    # Made one after the other: two threads making clients take longer than one, as it is all Python.
    ready = {region: _client(clients, region) for region in regions}
    shared = Shared()
    with ThreadPoolExecutor(max_workers=min(len(regions), _PARALLEL_REGIONS)) as pool:
        answers = pool.map(lambda region: _read(ready[region], region, fleet=fleet, shared=shared), regions)
        return _gather(
            {
                region: _spelling(clients, region, fault=answer) if isinstance(answer, Fault) else answer
                for region, answer in zip(regions, answers, strict=True)
            }
        )


def _give_back_what_is_let_go() -> None:
    """Have the C library return the memory of a page once it is read.

    Else glibc raises the size from which it does so to that of the first page, and every region's thread keeps some MiB
    to the end (mallopt(3), M_MMAP_THRESHOLD): of 10,000 images 25 MiB. Other C libraries do not do that.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def _client(clients: Clients, region: str) -> EC2Client | Fault:
    try:
        return clients.ec2(region)
    except AwsError as error:
        return explain(error)


def _read(ec2: EC2Client | Fault, region: str, *, fleet: str, shared: Shared) -> Answer:
    if isinstance(ec2, Fault):
        return ec2
    pages = ec2.get_paginator("describe_images").paginate(
        Owners=["self"],
        Filters=[{"Name": f"tag:{FLEET_TAG}", "Values": [literal(fleet)]}],
        # A disabled image exists. Without this it would look deleted, and be built again.
        IncludeDisabled=True,
        PaginationConfig={"PageSize": PAGE},
    )
    try:
        found = [seen(image, region, shared) for image in _each(pages) if image["State"] != "deregistered"]
    except AwsError as error:
        return explain(error)
    # EC2 compares filters by pattern; only an equal tag makes an image ours.
    return tuple(sorted((one for one in found if one.tags.get(FLEET_TAG) == fleet), key=lambda one: one.id))


def _each(pages: Iterable[DescribeImagesResultTypeDef]) -> Iterator[ImageTypeDef]:
    """The images of all pages. A page is let go as it is read: else it is in memory while the next one is parsed."""
    for page in pages:
        images = page["Images"]
        images.reverse()
        while images:
            yield images.pop()


def literal(text: str) -> str:
    """Write a text so that EC2's filters take it as it stands: `*` and `?` are wildcards there."""
    return re.sub(r"([*?\\])", r"\\\1", text)


def _spelling(clients: Clients, region: str, *, fault: Fault) -> Fault:
    if fault.code in NEVER_REACHED:
        return misspelt(region, known=clients.regions) or fault
    return fault


def _gather(answers: Mapping[str, Answer]) -> Observation:
    faults = {region: answer for region, answer in answers.items() if isinstance(answer, Fault)}
    return Observation(
        artifacts=tuple(one for answer in answers.values() if not isinstance(answer, Fault) for one in answer),
        unreadable={region: fault.reason for region, fault in faults.items()},
        refused=_refusal(faults) if len(faults) == len(answers) else None,
        hints={region: fault.rule.hint for region, fault in faults.items() if fault.rule.hint},
    )


def _refusal(faults: Mapping[str, Fault]) -> Terminal | None:
    first = next(iter(faults.values()))
    if not first.rule.shared or len({fault.code for fault in faults.values()}) > 1:
        return None
    kind = NoCredentials if first.rule.error is NoCredentials else Terminal
    return kind(f"AWS can't be read: {first.reason}", hint=first.rule.hint)


# One artifact by id: whether it is there, and waiting for it to become available.


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
                hint="it goes on by itself; the next run takes it up once it is available",
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


# What time the registry has: it refuses requests that are signed too far from it.


def server_time(clients: Clients, location: str) -> datetime | None:
    """EC2's clock, from the Date header of a dry-run answer, which comes even when the signature is refused."""
    with translated(f"asking the time in {location}"):
        try:
            headers = clients.ec2(location).describe_regions(DryRun=True)["ResponseMetadata"]["HTTPHeaders"]
        except ClientError as refused:
            headers = refused.response["ResponseMetadata"]["HTTPHeaders"]
    return told_at(headers)
