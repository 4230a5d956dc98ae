"""The whole fleet as EC2 has it: one paged DescribeImages per region, regions at the same time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from reconciler.model.errors import Terminal
from reconciler.model.observation import TAG_PREFIX, Observation, Seen
from reconciler.registry.errors import AwsError, Fault, explain, misspelt
from reconciler.registry.faults import NoCredentials
from reconciler.registry.images import PAGE, seen
from reconciler.registry.session import Clients

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

FLEET_TAG = f"{TAG_PREFIX}fleet"
_PARALLEL_REGIONS = 16
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
    # Made one after the other: two threads making clients take longer than one, as it is all Python.
    ready = {region: _client(clients, region) for region in regions}
    with ThreadPoolExecutor(max_workers=min(len(regions), _PARALLEL_REGIONS)) as pool:
        answers = pool.map(lambda region: _read(ready[region], region, fleet=fleet), regions)
        return _gather(
            {
                region: _spelling(clients, region, fault=answer) if isinstance(answer, Fault) else answer
                for region, answer in zip(regions, answers, strict=True)
            }
        )


def _client(clients: Clients, region: str) -> EC2Client | Fault:
    try:
        return clients.ec2(region)
    except AwsError as error:
        return explain(error)


def _read(ec2: EC2Client | Fault, region: str, *, fleet: str) -> Answer:
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
        found = [seen(image, region) for page in pages for image in page["Images"] if image["State"] != "deregistered"]
    except AwsError as error:
        return explain(error)
    # EC2 compares filters by pattern; only an equal tag makes an image ours.
    return tuple(sorted((one for one in found if one.tags.get(FLEET_TAG) == fleet), key=lambda one: one.id))


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
    )


def _refusal(faults: Mapping[str, Fault]) -> Terminal | None:
    first = next(iter(faults.values()))
    if not first.rule.shared or len({fault.code for fault in faults.values()}) > 1:
        return None
    kind = NoCredentials if first.rule.error is NoCredentials else Terminal
    return kind(f"AWS can't be read: {first.reason}", mend=first.rule.mend)
