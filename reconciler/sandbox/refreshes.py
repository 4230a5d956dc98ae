"""Instance refreshes of Auto Scaling groups, which moto 5.2.5 has none of.

A refresh goes on by looks: each DescribeInstanceRefreshes finds it a step further. What lasts by the clock (a wait at a
checkpoint, the bake time) lasts here as long, unless a test lets time pass (`lapse`). Instances are replaced in truth.
Where no page names the code of an error, or what happens, that is said.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.models import autoscaling_backends
from moto.autoscaling.responses import AutoScalingResponse
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.responses import ActionResult

from reconciler.model.errors import UserError
from reconciler.sandbox.groups import (
    Setting,
    apply,
    desired,
    is_irreversible,
    refused,
    replace,
    setting_of,
    to_replace,
)

_ACTIVE = ("Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress")
_UNDER_WAY = ("Pending", "InProgress", "Baking")
_HOUR = 3600
_PAGE = 50


def install() -> None:
    """Have moto refresh instances."""
    for handler in HANDLERS:
        setattr(AutoScalingResponse, handler.__name__, handler)


def lapse(seconds: float) -> None:
    """Let time pass for the refreshes of all groups: all that is noted of them was so much earlier."""
    for one in (each for group in _groups() for each in _refreshes(group)):
        one.was(timedelta(seconds=seconds))


def fail(group: str) -> None:
    """Let what replaces instances in a group of this name fail at the next look, in whatever region it is.

    Raises:
        UserError: nothing replaces its instances.
    """
    for found in _groups():
        refresh = _active(found)
        if found.name == group and refresh is not None:
            refresh.doom = f"instances of {group} do not become healthy"
            return
    raise UserError(f"no instance refresh of {group} is under way", hint="start one: start-instance-refresh")


def _groups() -> Iterator[Any]:
    for regions in autoscaling_backends.values():
        for backend in regions.values():
            yield from backend.autoscaling_groups.values()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class _Refresh:
    """One refresh. `waiting` are instances that are to be replaced, `done` those that came in place of others."""

    desired: Mapping[str, Any] | None
    preferences: Mapping[str, Any]
    before: Setting
    after: Setting
    waiting: list[str]
    checkpoints: list[int]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: datetime = field(default_factory=_now)
    done: list[str] = field(default_factory=list)
    status: str = "Pending"
    reason: str = ""
    ended: datetime | None = None
    held_until: datetime | None = None
    doom: str | None = None
    rollback: dict[str, Any] | None = None

    @property
    def total(self) -> int:
        return len(self.waiting) + len(self.done)

    @property
    def percent(self) -> int:
        if not self.total:
            return 0 if self.status == "Pending" else 100
        return len(self.done) * 100 // self.total

    def end(self, status: str, reason: str) -> None:
        self.status, self.reason, self.ended, self.held_until = status, reason, _now(), None

    def was(self, earlier: timedelta) -> None:
        self.started -= earlier
        self.ended = self.ended - earlier if self.ended is not None else None
        self.held_until = self.held_until - earlier if self.held_until is not None else None
        if self.rollback is not None:
            self.rollback["RollbackStartTime"] -= earlier


# StartInstanceRefresh, DescribeInstanceRefreshes, CancelInstanceRefresh, RollbackInstanceRefresh:
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StartInstanceRefresh.html and the pages beside it.


def start_instance_refresh(self: AutoScalingResponse) -> ActionResult:
    """StartInstanceRefresh: one at a time. What the group launches by is changed once it has succeeded."""
    group = _group(self)
    if _active(group) is not None:
        raise AutoscalingClientError(
            "InstanceRefreshInProgress",
            "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
        )
    asked, preferences = self._get_param("DesiredConfiguration"), self._get_param("Preferences", {})
    before = setting_of(group)
    after = desired(group, asked) if asked else before
    checkpoints = _checkpoints(preferences)
    if preferences.get("AutoRollback") and (not asked or is_irreversible(group, before)):
        raise refused("AutoRollback needs a desired configuration, and a group that can be rolled back")
    refresh = _Refresh(
        after.told() if asked else None, preferences, before, after,
        waiting=to_replace(group, after, skip_matching=bool(preferences.get("SkipMatching"))), checkpoints=checkpoints,
    )  # fmt: skip
    _refreshes(group).insert(0, refresh)
    return ActionResult({"InstanceRefreshId": refresh.id})


def describe_instance_refreshes(self: AutoScalingResponse) -> ActionResult:
    """DescribeInstanceRefreshes: newest first, in pages. Whoever looks finds what is under way a step further."""
    group = _group(self)
    active = _active(group)
    if active is not None:
        _go_on(group, active)
    wanted = self._get_param("InstanceRefreshIds", [])
    found = [one for one in _refreshes(group) if not wanted or one.id in wanted]
    size, first = self._get_int_param("MaxRecords") or _PAGE, int(self._get_param("NextToken") or 0)
    page, rest = found[first : first + size], len(found) > first + size
    return ActionResult(
        {"InstanceRefreshes": [_answer(group, one) for one in page], "NextToken": str(first + size) if rest else None}
    )


def cancel_instance_refresh(self: AutoScalingResponse) -> ActionResult:
    """CancelInstanceRefresh, also of a rollback: what was replaced stays replaced."""
    refresh = _active_orrefused(self)
    refresh.status, refresh.reason = "Cancelling", "Cancelled by a user"
    return ActionResult({"InstanceRefreshId": refresh.id})


def rollback_instance_refresh(self: AutoScalingResponse) -> ActionResult:
    """RollbackInstanceRefresh: never without a desired configuration, or to what has no number or no AMI's id.

    What it answers while it rolls back already, or cancels, no page tells: here, that there is nothing to roll back to.
    """
    refresh, group = _active_orrefused(self), _group(self)
    if refresh.status not in _UNDER_WAY or refresh.desired is None or is_irreversible(group, refresh.before):
        raise AutoscalingClientError(
            "IrreversibleInstanceRefresh",
            "A desired configuration was not found, or an incompatible launch template or version is on the group.",
        )
    _roll_back(refresh, "Rolled back by a user")
    return ActionResult({"InstanceRefreshId": refresh.id})


HANDLERS = (
    cancel_instance_refresh, describe_instance_refreshes, rollback_instance_refresh, start_instance_refresh,
)  # fmt: skip
"""Those that moto lacks."""


# How a refresh goes on: https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html and
# instance-refresh-rollback.html, asg-adding-checkpoints-instance-refresh.html beside it.


def _go_on(group: Any, refresh: _Refresh) -> None:
    """Do the next step of what is under way."""
    if refresh.status in _UNDER_WAY and (refresh.doom or _alarm(group, refresh)):
        _fail(group, refresh, refresh.doom or f"alarm {_alarm(group, refresh)} went into the ALARM state")
    elif refresh.status == "Pending":
        refresh.status, refresh.reason = "InProgress", "Replacing instances"
    elif refresh.held_until is not None and _now() < refresh.held_until:
        return
    elif refresh.status == "InProgress":
        _replace_some(group, refresh)
    elif refresh.status == "Baking":
        _succeed(group, refresh)
    elif refresh.status == "Cancelling":
        refresh.end("Cancelled", refresh.reason)
    else:
        _replace_back(group, refresh)


def _replace_some(group: Any, refresh: _Refresh) -> None:
    """Replace as many as may be missing at once, up to the next checkpoint."""
    upto = -(-refresh.total * refresh.checkpoints[0] // 100)
    least = int(refresh.preferences.get("MinHealthyPercentage", 90))
    batch = min(max(1, refresh.total * (100 - least) // 100), upto - len(refresh.done))
    for _ in range(batch):
        problem = replace(group, refresh.waiting[0], refresh.after, refresh.done)
        if problem is not None:
            _fail(group, refresh, problem)
            return
        refresh.waiting.pop(0)
    if len(refresh.done) < upto:
        return
    reached = refresh.checkpoints.pop(0)
    if refresh.checkpoints:
        refresh.held_until = _now() + timedelta(seconds=int(refresh.preferences.get("CheckpointDelay", _HOUR)))
        refresh.reason = f"Waiting at the checkpoint of {reached} percent"
    elif bake := int(refresh.preferences.get("BakeTime", 0)):
        refresh.status, refresh.held_until = "Baking", _now() + timedelta(seconds=bake)
        refresh.reason = "Waiting for the bake time to pass"
    else:
        _succeed(group, refresh)


def _replace_back(group: Any, refresh: _Refresh) -> None:
    """Replace the last that came by one as it was before. PercentageComplete "gradually goes back down to zero"."""
    if refresh.done:
        if (problem := replace(group, refresh.done[-1], refresh.before, refresh.waiting)) is not None:
            refresh.end("RollbackFailed", f"{refresh.reason}; {problem}")
            return
        refresh.done.pop()
    if not refresh.done:
        refresh.end("RollbackSuccessful", refresh.reason)


def _succeed(group: Any, refresh: _Refresh) -> None:
    """Let the group launch by what was desired: "Once the instance refresh succeeds" (StartInstanceRefresh)."""
    apply(group, refresh.after)
    refresh.end("Successful", "")


def _fail(group: Any, refresh: _Refresh, why: str) -> None:
    """Roll back where that was asked for (AutoRollback), and else leave the group as far as it came."""
    if refresh.preferences.get("AutoRollback") and not is_irreversible(group, refresh.before):
        _roll_back(refresh, why)
    else:
        refresh.end("Failed", why)


def _roll_back(refresh: _Refresh, why: str) -> None:
    refresh.rollback = {
        "RollbackReason": why, "RollbackStartTime": _now(), "PercentageCompleteOnRollback": refresh.percent,
        "InstancesToUpdateOnRollback": len(refresh.waiting),
    }  # fmt: skip
    refresh.status, refresh.reason, refresh.held_until = "RollbackInProgress", why, None


def _alarm(group: Any, refresh: _Refresh) -> str | None:
    """The alarm of its specification that is in the ALARM state."""
    alarms = cloudwatch_backends[group.account_id][group.region].alarms
    names = refresh.preferences.get("AlarmSpecification", {}).get("Alarms", [])
    return next((name for name in names if name in alarms and alarms[name].state_value == "ALARM"), None)


# What is asked, and what is told.


def _checkpoints(preferences: Mapping[str, Any]) -> list[int]:
    """The percents at which it waits; at the last it ends ("the last number in the array must be 100" to replace all).

    What RefreshPreferences refuses: https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RefreshPreferences.html
    """
    least, most = preferences.get("MinHealthyPercentage"), preferences.get("MaxHealthyPercentage")
    if most is not None and (least is None or int(most) - int(least) > 100):
        raise refused("MaxHealthyPercentage needs MinHealthyPercentage, and to be at most 100 above it")
    found = [int(one) for one in preferences.get("CheckpointPercentages", [])]
    if found != sorted(set(found)):
        raise refused("CheckpointPercentages must be unique and in ascending order")
    if not found and "CheckpointDelay" in preferences:
        raise refused("CheckpointDelay needs CheckpointPercentages")
    return found or [100]


def _group(self: AutoScalingResponse) -> Any:
    name = self._get_param("AutoScalingGroupName")
    found = self.autoscaling_backend.autoscaling_groups.get(name)
    if found is None:
        raise refused(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return found


def _refreshes(group: Any) -> list[_Refresh]:
    found: list[_Refresh] = group.__dict__.setdefault("instance_refreshes", [])
    return found


def _active(group: Any) -> _Refresh | None:
    return next((one for one in _refreshes(group) if one.status in _ACTIVE), None)


def _active_orrefused(self: AutoScalingResponse) -> _Refresh:
    found = _active(_group(self))
    if found is None:
        raise AutoscalingClientError(
            "ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for the group."
        )
    return found


def _answer(group: Any, refresh: _Refresh) -> Mapping[str, Any]:
    told: Sequence[tuple[str, Any]] = (
        ("InstanceRefreshId", refresh.id), ("AutoScalingGroupName", group.name), ("Status", refresh.status),
        ("StatusReason", refresh.reason or None), ("StartTime", refresh.started), ("EndTime", refresh.ended),
        ("PercentageComplete", refresh.percent), ("InstancesToUpdate", len(refresh.waiting)),
        ("Preferences", refresh.preferences), ("DesiredConfiguration", refresh.desired),
        ("RollbackDetails", refresh.rollback), ("Strategy", "Rolling"),
    )  # fmt: skip
    return {name: value for name, value in told if value is not None}
