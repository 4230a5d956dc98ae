"""Who of other accounts uses an AMI that they may launch, by EC2's own reports.

A report is asked for, made within minutes, and kept for thirty days (CreateImageUsageReport, EC2 API reference). It
tells nothing of this account, and how many there are, not which. It is asked for the versions of launch templates that
are as old as may be: by default only some of the newest count.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from reconciler.aws.errors import translated
from reconciler.aws.session import Clients
from reconciler.model.errors import ReconcilerError
from reconciler.model.text import counted
from reconciler.model.usage import Use
from reconciler.model.values import told_moment
from reconciler.registries.ec2.images import FLEET_TAG

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

COUNTS_FOR = timedelta(days=8)
"""So that a job that runs once a week reads what its last run asked for."""
_MOST_IDS = 100
_DEPTH = "10000"
"""Versions of a launch template that are looked at: the most that there are (ImageUsageResourceTypeOptionRequest)."""
_VERSIONED = "ec2:LaunchTemplate"
_TYPES: Mapping[str, str] = {
    "ec2:Instance": "instance", _VERSIONED: "launch template",
    "imagebuilder:ImageRecipe": "image recipe", "imagebuilder:ContainerRecipe": "container recipe",
}  # fmt: skip
_NONE = "there is no report of who uses it: a run that acts asks for one"
_ASKED = "a report of who uses it is being made: a run in some minutes reads it"


def elsewhere(
    clients: Clients, location: str, ids: Sequence[str], *, fleet: str, asks: bool, now: datetime
) -> Mapping[str, tuple[Use, ...] | str]:
    """What uses AMIs of a region in other accounts, or why that is not known, by id. See `Registry.usage_elsewhere`.

    Costs one DescribeImageUsageReports for a hundred AMIs, one DescribeImageUsageReportEntries for a hundred that have
    a report, and, where it `asks`, one CreateImageUsageReport for each that has none.
    """
    found: dict[str, tuple[Use, ...] | str] = {}
    try:
        with translated(f"reading who uses images of {location} in other accounts"):
            ec2 = clients.ec2(location)
            reports = _reports(ec2, sorted(set(ids)), fleet=fleet, now=now)
            ready = {one["ReportId"]: image for image, one in reports.items() if one["State"] == "available"}
            used = _entries(ec2, ready)
    except ReconcilerError as error:
        return dict.fromkeys(ids, error.what)
    for image in sorted(set(ids)):
        report = reports.get(image)
        if report is None:
            found[image] = _ask(clients, location, image, fleet=fleet, now=now) if asks else _NONE
        elif report["State"] == "available":
            found[image] = tuple(
                _use(location, image, *one, at=report["CreationTime"]) for one in sorted(used[image].items())
            )
        elif report["State"] == "pending":
            found[image] = _ASKED
        else:
            found[image] = f"EC2 could not make a report: {report.get('StateReason') or report['State']}"
    return found


def _reports(ec2: EC2Client, ids: Sequence[str], *, fleet: str, now: datetime) -> Mapping[str, Mapping[str, Any]]:
    """The newest report of this fleet's that still counts, for each image. One that is ready goes first."""
    found: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(ids), _MOST_IDS):
        pages = ec2.get_paginator("describe_image_usage_reports").paginate(
            ImageIds=list(ids[start : start + _MOST_IDS])
        )
        for one in (one for page in pages for one in page["ImageUsageReports"]):
            ours = {"Key": FLEET_TAG, "Value": fleet} in one.get("Tags", ())
            made = told_moment(one["CreationTime"])
            if ours and _is_whole(one) and made is not None and now - made <= COUNTS_FOR:
                before, this = found.get(one["ImageId"]), {**one, "CreationTime": made}
                found[one["ImageId"]] = max((before, this), key=_rank) if before is not None else this
    return found


def _is_whole(report: Mapping[str, Any]) -> bool:
    """Whether a report is of all that is asked here, in EC2's own word: its tags are anybody's.

    A person's own may look at fewer versions, or at some accounts only, and so find nobody.
    """
    types = {one["ResourceType"]: one.get("ResourceTypeOptions") or () for one in report.get("ResourceTypes", ())}
    if report.get("AccountIds") or not _TYPES.keys() <= types.keys():
        return False
    return any(_DEPTH in option["OptionValues"] for option in types[_VERSIONED])


def _rank(report: Mapping[str, Any]) -> tuple[int, datetime]:
    return ("error", "pending", "available").index(report["State"]), report["CreationTime"]


def _entries(ec2: EC2Client, reports: Mapping[str, str]) -> Mapping[str, Mapping[tuple[str, str], int]]:
    """How often an image is used, by image, account and type of what uses it. `reports` are images by report."""
    found: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    ids = sorted(reports)
    for start in range(0, len(ids), _MOST_IDS):
        pages = ec2.get_paginator("describe_image_usage_report_entries").paginate(
            ReportIds=ids[start : start + _MOST_IDS]
        )
        for one in (one for page in pages for one in page["ImageUsageReportEntries"]):
            if one.get("UsageCount"):
                found[reports[one["ReportId"]]][one["AccountId"], one["ResourceType"]] = one["UsageCount"]
    return found


def _use(location: str, image: str, by: tuple[str, str], number: int, *, at: datetime) -> Use:
    account, kind = by
    return Use(
        (location, image),
        f"account {account} ({counted(number, _TYPES.get(kind, kind))}, by the report of {at:%Y-%m-%d %H:%M} UTC)",
        "tell its owner which image to take instead",
    )


def _ask(clients: Clients, location: str, image: str, *, fleet: str, now: datetime) -> str:
    """Ask for a report, and say so. The same within a day: EC2 makes one for a token."""
    token = hashlib.sha256(f"{fleet} {location} {image} {now:%Y-%m-%d}".encode()).hexdigest()
    try:
        with translated(f"asking who uses {image} in other accounts"):
            clients.ec2(location).create_image_usage_report(
                ImageId=image, ClientToken=token, ResourceTypes=[_asked(kind) for kind in _TYPES],
                TagSpecifications=[
                    {"ResourceType": "image-usage-report", "Tags": [{"Key": FLEET_TAG, "Value": fleet}]}
                ],
            )  # fmt: skip
    except ReconcilerError as error:
        return error.what
    return _ASKED


def _asked(kind: str) -> Any:
    if kind != _VERSIONED:
        return {"ResourceType": kind}
    option = {"OptionName": "version-depth", "OptionValues": [_DEPTH]}
    return {"ResourceType": kind, "ResourceTypeOptions": [option]}
