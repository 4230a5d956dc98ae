"""Who uses an AMI in this account: instances, what launches some, parameters, recipes.

Each is asked of its own list, so that one that may not be read is told, and the others count all the same. EC2's
DescribeImageReferences would answer for most of them at once, but looks at ten versions of a template if it is not
told otherwise, and says nothing of groups: it is asked of parameters alone, where these may not be read. Nothing
here sees other accounts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from reconciler.aws.errors import translated
from reconciler.aws.session import Clients
from reconciler.model.collection import Unmanaged
from reconciler.model.errors import ReconcilerError
from reconciler.model.text import visible
from reconciler.model.usage import Usage, Use
from reconciler.registries.ec2 import mentions
from reconciler.registries.ec2.images import PAGE, seen
from reconciler.registries.ec2.launchers import Launchers
from reconciler.registries.plain import unmanaged_of

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef

_MOST_IDS = 200
"""Of values in one filter (EC2 user guide, "Filter your resources")."""
_OF_GROUP = "aws:autoscaling:groupName"
"""The tag that Auto Scaling gives to what it launches ("Tag Auto Scaling groups", its user guide)."""
_LIVE = ("pending", "running", "stopping", "stopped", "shutting-down")


def usage(clients: Clients, location: str, ids: Sequence[str], *, fleet: str) -> Usage:
    """What uses these AMIs in a region, and what of that is a fleet's own.

    Never raises for what can't be read: that is told in `unread`.
    """
    wanted = frozenset(ids)
    launchers = Launchers(clients, location, wanted, fleet=fleet)
    if not wanted:
        return Usage()
    at_once: tuple[_Questions, ...] = (
        (("instances", partial(_instances, clients, location, sorted(wanted))),),
        # One after the other: what the first tells the others need not ask for.
        (
            ("launch templates", launchers.templates),
            ("Auto Scaling groups", launchers.groups),
            ("launch configurations", launchers.configurations),
            ("fleets", launchers.fleets),
        ),
        (("parameters", partial(mentions.parameters, clients, location, wanted)),),
        (("recipes of Image Builder", partial(mentions.recipes, clients, location, wanted)),),
    )
    with ThreadPoolExecutor(max_workers=len(at_once)) as pool:
        told = list(pool.map(partial(_answers, location), at_once))
    unread = [*(why for _, some in told for why in some), *launchers.unread]
    return Usage(tuple(use for found, _ in told for use in found), {location: tuple(unread)} if unread else {})


_Questions = tuple[tuple[str, Callable[[], Iterator[Use]]], ...]
"""What is asked of a region, one after the other, each with what is listed for it."""


def _answers(location: str, questions: _Questions) -> tuple[list[Use], list[str]]:
    """The uses that questions tell, and why those that could not be asked could not."""
    found: list[Use] = []
    unread: list[str] = []
    for what, ask in questions:
        try:
            with translated(f"listing {what} in {location}"):
                found += ask()
        except ReconcilerError as error:
            unread.append(error.what)
    return found, unread


def _instances(clients: Clients, location: str, ids: Sequence[str]) -> Iterator[Use]:
    """Those that run, and those that are stopped: they start from their own disks, and are replaced from the AMI."""
    filters: list[FilterTypeDef] = [{"Name": "instance-state-name", "Values": list(_LIVE)}]
    # Of more images than a filter takes, one listing of all that live is shorter than one for each few.
    filters += [{"Name": "image-id", "Values": list(ids)}] if len(ids) <= _MOST_IDS else []
    pages = (
        clients.ec2(location)
        .get_paginator("describe_instances")
        .paginate(Filters=filters, PaginationConfig={"PageSize": 1000})
    )
    wanted = frozenset(ids)
    every = (one for page in pages for group in page["Reservations"] for one in group["Instances"])
    for instance in (one for one in every if one["ImageId"] in wanted):
        command = f"aws ec2 terminate-instances --region {location} --instance-ids {instance['InstanceId']}"
        group = next((tag["Value"] for tag in instance.get("Tags", ()) if tag["Key"] == _OF_GROUP), None)
        member = f" of group {visible(group)}" if group is not None else ""
        yield Use(
            (location, instance["ImageId"]),
            f"instance {instance['InstanceId']} ({instance['State']['Name']}){member}",
            f"replace it, then `{command}`" if group is None else "it is replaced with its group",
        )


# What the account has beside.

_MADE_FOR = re.compile(r"Created by CreateImage\(i-[0-9a-f]+\) for (ami-[0-9a-f]+)")
"""What EC2 itself writes on the snapshots of an AMI that it makes of an instance. Copies say something else."""


def unmanaged(clients: Clients, location: str) -> Sequence[Unmanaged] | None:
    """AMIs of this account that no fleet's tag is on, and snapshots that were made for an AMI that is gone.

    Costs a listing of all of the account's AMIs, and one of all its snapshots. None where one could not be read.
    """
    try:
        with translated(f"listing what is in {location}"):
            ec2 = clients.ec2(location)
            pages = ec2.get_paginator("describe_images").paginate(
                Owners=["self"], IncludeDisabled=True, PaginationConfig={"PageSize": PAGE}
            )
            images = [seen(one, location) for page in pages for one in page["Images"] if one["State"] != "deregistered"]
            listed = ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], PaginationConfig={"PageSize": 1000}
            )
            made = {
                one["SnapshotId"]: match[1]
                for page in listed
                for one in page["Snapshots"]
                if (match := _MADE_FOR.match(one.get("Description", "")))
            }
    except ReconcilerError:
        return None
    there = {one.id for one in images}
    orphans = [
        Unmanaged(kind="snapshot", location=location, id=snapshot, name=f"of {image}")
        for snapshot, image in sorted(made.items())
        if image not in there
    ]
    return [*unmanaged_of(images), *orphans]
