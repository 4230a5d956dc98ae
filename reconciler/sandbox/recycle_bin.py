"""EC2's Recycle Bin, which moto 5.2.5 has nothing of: rules, what they keep of what is removed, and its return.

"Recycle Bin retention rules" and "Considerations for Recycle Bin", EBS user guide
(https://docs.aws.amazon.com/ebs/latest/userguide/recycle-bin.html): of several rules the longest counts; what is in the
bin can only be seen, restored and tagged; disabled images are kept as others are; tags stay. Where no page names the
code of an error, or what becomes of something, that is said.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

from moto import backend_index
from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse, EmptyResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError, InvalidSnapshotIdError
from moto.ec2.responses import EC2Response
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

_IMAGE, _SNAPSHOT = "EC2_IMAGE", "EBS_SNAPSHOT"
_PAGE = 1000
_NAME = "rbin"


@dataclass
class Kept:
    """Something that is in the bin, and for how long."""

    kind: str
    thing: Any
    entered: datetime
    leaves: datetime


@dataclass
class Bin:
    """The rules of a region, and what they keep, by id."""

    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)


class _Rules(BaseBackend):
    """The Recycle Bin of one region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.bin = Bin()

    @property
    def _url_module(self) -> Any:
        paths = ("/rules$", "/rules/(?P<identifier>[^/]+)$", "/list-rules$")
        return SimpleNamespace(
            url_bases=[_HOST], url_paths={"{0}" + path: _RulesResponse.dispatch for path in paths}
        )  # fmt: skip


_HOST = r"https?://rbin\.(.+)\.amazonaws\.com"
_bins: BackendDict[_Rules] = BackendDict(_Rules, _NAME)


def install() -> None:
    """Have moto know the service, and keep what its rules name of what EC2 removes."""
    register()
    for handler in IMAGE_HANDLERS:
        setattr(AmisResponse, handler.__name__, handler)
    for handler in SNAPSHOT_HANDLERS:
        setattr(ElasticBlockStore, handler.__name__, handler)


def register() -> None:
    """Have moto know the service: that alone changes nothing of others."""
    if f"moto.{_NAME}" not in sys.modules:
        module = ModuleType(f"moto.{_NAME}")
        module.__dict__["rbin_backends"] = _bins  # where moto looks for a service's backends
        sys.modules[module.__name__] = module
        backend_index.backend_url_patterns.append((_NAME, re.compile(_HOST)))


def lapse(seconds: float) -> None:
    """Let time pass for what is in the bins: all of it came there so much earlier."""
    passed = timedelta(seconds=seconds)
    for regions in _bins.values():
        for one in (one for region in regions.values() for one in region.bin.kept.values()):
            one.entered, one.leaves = one.entered - passed, one.leaves - passed


# The rules: https://docs.aws.amazon.com/recyclebin/latest/APIReference/API_Operations.html


class _RulesResponse(BaseResponse):
    def __init__(self) -> None:
        super().__init__(service_name=_NAME)
        self.automated_parameter_parsing = True

    @property
    def _rules(self) -> dict[str, dict[str, Any]]:
        return _bins[self.current_account][self.region].bin.rules

    def create_rule(self) -> ActionResult:
        """CreateRule: at work at once; on AWS the first one may take half an hour."""
        names = ("Description", "ExcludeResourceTags", "ResourceTags", "ResourceType", "RetentionPeriod")
        asked = {name: value for name in names if (value := self._get_param(name)) is not None}
        identifier = uuid.uuid4().hex[:11]
        arn = f"arn:aws:rbin:{self.region}:{self.current_account}:rule/{identifier}"
        self._rules[identifier] = {**asked, "Identifier": identifier, "Status": "available", "RuleArn": arn}
        return ActionResult(self._rules[identifier])

    def get_rule(self) -> ActionResult:
        """GetRule."""
        return ActionResult(self._named())

    def list_rules(self) -> ActionResult:
        """ListRules, in one page: of one kind, and without their tags."""
        told = ("Identifier", "Description", "RetentionPeriod", "RuleArn")
        found = [one for one in self._rules.values() if one["ResourceType"] == self._get_param("ResourceType")]
        return ActionResult({"Rules": [{name: one[name] for name in told if name in one} for one in found]})

    def delete_rule(self) -> ActionResult:
        """DeleteRule: what is in the bin by then stays for as long as it was to."""
        del self._rules[self._named()["Identifier"]]
        return EmptyResult()

    def _named(self) -> dict[str, Any]:
        identifier = self._get_param("Identifier")
        if identifier not in self._rules:
            raise _NotFound("ResourceNotFoundException", f"Rule {identifier} not found")
        return self._rules[identifier]


# moto tells an error's service from the module of its class.
_NotFound = type("_NotFound", (ServiceException,), {"__module__": f"moto.{_NAME}.exceptions"})


def _period(kind: str, tags: Mapping[str, str], *, account: str, region: str) -> timedelta | None:
    """For how long what has these tags is kept; None where no rule names it."""
    days = [
        rule["RetentionPeriod"]["RetentionPeriodValue"]
        for rule in _bins[account][region].bin.rules.values()
        if rule["ResourceType"] == kind and _names(rule, tags)
    ]
    return timedelta(days=max(days)) if days else None


def _names(rule: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
    named = rule.get("ResourceTags") or []
    if named:
        return any(_has(tags, one) for one in named)
    return not any(_has(tags, one) for one in rule.get("ExcludeResourceTags") or [])


def _has(tags: Mapping[str, str], tag: Mapping[str, str]) -> bool:
    key, value = tag["ResourceTagKey"], tag.get("ResourceTagValue")
    return key in tags and value in (None, "", tags[key])


# What is removed, and comes back.


def _keep(backend: Any, kind: str, thing: Any) -> None:
    """Note what is removed, where a rule keeps it."""
    held = _bins[backend.account_id][backend.region_name].bin
    tags = backend.tags.get(thing.id, {})
    period = _period(kind, tags, account=backend.account_id, region=backend.region_name)
    if period is not None:
        now = _now()
        held.kept[thing.id] = Kept(kind, thing, now, now + period)


def keep_image(backend: Any, image: Any) -> None:
    """Note an image that is about to be deregistered, where a rule keeps it."""
    _keep(backend, _IMAGE, image)


def delete(backend: Any, snapshot_id: str) -> None:
    """Delete a snapshot, into the bin where a rule keeps it."""
    _keep(backend, _SNAPSHOT, backend.delete_snapshot(snapshot_id))


def is_kept(backend: Any, thing_id: str) -> bool:
    """Whether something is in the bin."""
    return any(one.thing.id == thing_id for one in _there(backend))


def _there(backend: Any) -> Iterator[Kept]:
    """What is in the bin now. What has left it is gone, with the files of an image."""
    held = _bins[backend.account_id][backend.region_name].bin
    for thing_id, one in list(held.kept.items()):
        if one.leaves > _now():
            yield one
            continue
        del held.kept[thing_id]
        ground = getattr(backend, "ground_", None)
        if one.kind == _IMAGE and ground is not None:
            ground.storage.forget_image(thing_id)


def _now() -> datetime:
    return datetime.now(UTC)


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ListImagesInRecycleBin.html, and the three beside it.


def list_images_in_recycle_bin(self: EC2Response) -> ActionResult:
    """ListImagesInRecycleBin. Of ids that are not there nothing is told; no page says whether that is an error."""
    page, token = _listed(self, _IMAGE, self._get_param("ImageIds", []))
    told = [
        {"ImageId": one.thing.id, "Name": one.thing.name, "Description": one.thing.description or "", **_times(one)}
        for one in page
    ]
    return ActionResult({"Images": told} | token)


def list_snapshots_in_recycle_bin(self: EC2Response) -> ActionResult:
    """ListSnapshotsInRecycleBin."""
    page, token = _listed(self, _SNAPSHOT, self._get_param("SnapshotIds", []))
    told = [
        {"SnapshotId": one.thing.id, "Description": one.thing.description or "", "VolumeId": one.thing.volume.id,
         **_times(one)}
        for one in page
    ]  # fmt: skip
    return ActionResult({"Snapshots": told} | token)


def _listed(self: EC2Response, kind: str, ids: Sequence[str]) -> tuple[list[Kept], dict[str, str]]:
    """A page of what is in the bin of one kind, in order of id, and what asks for the next one."""
    self.error_on_dryrun()
    after, size = self._get_param("NextToken") or "", self._get_int_param("MaxResults") or _PAGE
    there = sorted((one for one in _there(self.ec2_backend) if one.kind == kind), key=lambda one: str(one.thing.id))
    found = [one for one in there if one.thing.id > after and (not ids or one.thing.id in ids)]
    return found[:size], {"NextToken": found[size - 1].thing.id} if len(found) > size else {}


def _times(one: Kept) -> dict[str, datetime]:
    return {"RecycleBinEnterTime": one.entered, "RecycleBinExitTime": one.leaves}


def restore_image_from_recycle_bin(self: EC2Response) -> ActionResult:
    """RestoreImageFromRecycleBin: as it was, disabled where it was, which no page says.

    Not before its snapshots are restored ("Recover deleted AMIs from the Recycle Bin", EBS user guide), nor where its
    name was given to another one; no page names the code of either.
    """
    image = _asked(self, _IMAGE, self._get_param("ImageId"), InvalidAMIIdError)
    backend = self.ec2_backend
    if image.ebs_snapshot.id not in backend.snapshots:
        raise EC2ClientError(
            "InvalidSnapshot.NotFound", f"The snapshot '{image.ebs_snapshot.id}' of {image.id} does not exist."
        )
    if any(one.name == image.name and one.owner_id == image.owner_id for one in backend.amis.values()):
        raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {image.name} is already in use")
    _take_out(self, image.id)
    backend.amis[image.id] = image
    backend.deleted_amis.remove(image.id)
    return ActionResult({"Return": True})


def restore_snapshot_from_recycle_bin(self: EC2Response) -> ActionResult:
    """RestoreSnapshotFromRecycleBin."""
    snapshot = _asked(self, _SNAPSHOT, self._get_param("SnapshotId"), InvalidSnapshotIdError)
    _take_out(self, snapshot.id)
    self.ec2_backend.snapshots[snapshot.id] = snapshot
    told = {"SnapshotId": snapshot.id, "OwnerId": snapshot.owner_id, "State": "completed", "Progress": "100%"}
    return ActionResult(told | {"Encrypted": bool(snapshot.encrypted), "VolumeId": snapshot.volume.id})


def _asked(self: EC2Response, kind: str, thing_id: str, error: Any) -> Any:
    self.error_on_dryrun()
    found = next((one for one in _there(self.ec2_backend) if (one.kind, one.thing.id) == (kind, thing_id)), None)
    if found is None:
        raise error(thing_id) if error is InvalidAMIIdError else error()
    return found.thing


def _take_out(self: EC2Response, thing_id: str) -> None:
    backend = self.ec2_backend
    del _bins[backend.account_id][backend.region_name].bin.kept[thing_id]


def delete_snapshot(self: EC2Response) -> ActionResult:
    """DeleteSnapshot; moto knows no bin that it goes to."""
    self.error_on_dryrun()
    delete(self.ec2_backend, self._get_param("SnapshotId"))
    return EmptyResult()


IMAGE_HANDLERS = (list_images_in_recycle_bin, restore_image_from_recycle_bin)
SNAPSHOT_HANDLERS = (delete_snapshot, list_snapshots_in_recycle_bin, restore_snapshot_from_recycle_bin)
