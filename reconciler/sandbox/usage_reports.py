"""EC2's reports of who uses an image in other accounts, which moto 5.2.5 has nothing of.

"View your AMI usage", EC2 user guide, and
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImageUsageReport.html: made in the background, of other
accounts than the image's owner, kept for thirty days. A report is ready at the second look here. Where no page tells
what counts, or names the code of an error, that is said.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response
from moto.ec2.responses.amis import AmisResponse

from reconciler.sandbox.care import asked_image

_KEPT = timedelta(days=30)
_PAGE = 1000
_DEFAULT_DEPTH = 20
"""Versions of a launch template that are looked at if none is asked for; no page that was found says how many."""


@dataclass
class Report:
    """One report: what was asked, and what there was when it was made."""

    id: str
    image: str
    types: list[dict[str, Any]]
    tags: list[dict[str, str]]
    accounts: list[str]
    created: datetime
    entries: Mapping[tuple[str, str], int] = field(default_factory=dict)
    looked_at: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """What DescribeImageUsageReports tells of it."""
        return {
            "ImageId": self.image, "ReportId": self.id, "ResourceTypes": self.types, "AccountIds": self.accounts,
            "State": "available" if self.looked_at else "pending", "CreationTime": self.created,
            "ExpirationTime": self.created + _KEPT, "Tags": self.tags,
        }  # fmt: skip


def install() -> None:
    """Have moto make reports."""
    for handler in HANDLERS:
        setattr(AmisResponse, handler.__name__, handler)


def create_image_usage_report(self: EC2Response) -> ActionResult:
    """CreateImageUsageReport, of an image of one's own. A token makes it once."""
    backend, image = self.ec2_backend, asked_image(self)
    image_id = image.id
    if image.owner_id != backend.account_id:  # no page names the code
        raise EC2ClientError("OperationNotPermitted", f"{image_id} is not owned by this account")
    made, token = _made(backend), self._get_param("ClientToken")
    for one in made.values():
        if token and one.id == backend.__dict__.setdefault("report_tokens", {}).get(token):
            return ActionResult({"ReportId": one.id})
    types = self._get_param("ResourceTypes", [])
    tags = [tag for one in self._get_param("TagSpecifications", []) for tag in one["Tags"]]
    accounts = self._get_param("AccountIds", [])
    report = Report(f"amiur-{uuid.uuid4().hex[:17]}", image_id, types, tags, accounts, datetime.now(UTC))
    report.entries = dict(_counted(backend, image_id, types, accounts))
    made[report.id] = report
    if token:
        backend.__dict__.setdefault("report_tokens", {})[token] = report.id
    backend.tags.setdefault(report.id, {}).update({one["Key"]: one["Value"] for one in tags})
    return ActionResult({"ReportId": report.id})


def _made(backend: Any) -> dict[str, Report]:
    """The reports of an account in a region, without those that are over."""
    made: dict[str, Report] = backend.__dict__.setdefault("usage_reports", {})
    for one in list(made.values()):
        if datetime.now(UTC) > one.created + _KEPT:
            del made[one.id]
    return made


def _counted(
    backend: Any, image: str, types: list[dict[str, Any]], accounts: list[str]
) -> Iterator[tuple[tuple[str, str], int]]:
    """How many of each type use an image in each other account. That stopped instances count no page says."""
    for account, regions in ec2_backends.items():
        there = regions.get(backend.region_name)
        if account == backend.account_id or there is None or (accounts and account not in accounts):
            continue
        for one in types:
            kind = one["ResourceType"]
            if kind == "ec2:Instance":
                using = [each for each in there.all_instances() if each.image_id == image]
                number = sum(each.state != "terminated" for each in using)
            elif kind == "ec2:LaunchTemplate":
                number = sum(_names(each, image, _depth(one)) for each in there.launch_templates.values())
            else:
                number = 0
            if number:
                yield (account, kind), number


def _names(template: Any, image: str, depth: int) -> bool:
    newest = sorted(template.versions, key=lambda one: -int(one.number))[:depth]
    return any(one.data.get("ImageId") == image for one in newest)


def _depth(asked: Mapping[str, Any]) -> int:
    options = {one["OptionName"]: one["OptionValues"] for one in asked.get("ResourceTypeOptions") or []}
    return int(options.get("version-depth", [_DEFAULT_DEPTH])[0])


def describe_image_usage_reports(self: EC2Response) -> ActionResult:
    """DescribeImageUsageReports, by images or reports."""
    page, token = _listed(self)
    told = [one.fields for one in page]
    for one in page:
        one.looked_at = True
    return ActionResult({"ImageUsageReports": told} | token)


def describe_image_usage_report_entries(self: EC2Response) -> ActionResult:
    """DescribeImageUsageReportEntries, of those that are ready."""
    page, token = _listed(self)
    told = [
        {"ReportId": one.id, "ImageId": one.image, "AccountId": account, "ResourceType": kind, "UsageCount": number,
         "ReportCreationTime": one.created}
        for one in page if one.looked_at for (account, kind), number in sorted(one.entries.items())
    ]  # fmt: skip
    return ActionResult({"ImageUsageReportEntries": told} | token)


def _listed(self: EC2Response) -> tuple[list[Report], dict[str, str]]:
    self.error_on_dryrun()
    images, ids = self._get_param("ImageIds", []), self._get_param("ReportIds", [])
    after, size = self._get_param("NextToken") or "", self._get_int_param("MaxResults") or _PAGE
    found = [
        one for one in sorted(_made(self.ec2_backend).values(), key=lambda one: one.id)
        if one.id > after and (not images or one.image in images) and (not ids or one.id in ids)
    ]  # fmt: skip
    return found[:size], {"NextToken": found[size - 1].id} if len(found) > size else {}


def delete_image_usage_report(self: EC2Response) -> ActionResult:
    """DeleteImageUsageReport."""
    self.error_on_dryrun()
    report = self._get_param("ReportId")
    if _made(self.ec2_backend).pop(report, None) is None:  # no page names the code
        raise EC2ClientError("InvalidImageUsageReportId.NotFound", f"The report '{report}' does not exist")
    return ActionResult({"Return": True})


HANDLERS = (
    create_image_usage_report, delete_image_usage_report, describe_image_usage_report_entries,
    describe_image_usage_reports,
)  # fmt: skip
