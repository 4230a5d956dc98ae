"""Auto Scaling groups, whose instances are replaced by those of another version of their launch template.

The calls are those of EC2 Auto Scaling's API reference: DescribeAutoScalingGroups by pages of 100,
DescribeInstanceRefreshes for each group, StartInstanceRefresh with a desired configuration, which becomes the group's
own once the refresh has succeeded, and RollbackInstanceRefresh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.aws.clock import clock_until
from reconciler.aws.errors import code_of, translated
from reconciler.aws.session import clients_of
from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import Course, Group, InstanceRefresh
from reconciler.model.publish import AutoScalingGroup
from reconciler.model.text import first_line, visible
from reconciler.model.values import told_moment
from reconciler.ports.registry import Opening
from reconciler.registries.dates import told_at
from reconciler.registries.ec2.aliases import LATE
from reconciler.registries.ec2.images import FLEET_TAG
from reconciler.registries.ec2.launchers import shell_word
from reconciler.registries.ec2.templates import ParametersAndTemplates, unbootable

_PAGE = 100
"""The most groups, or refreshes, that one page holds, and groups that one call names."""
_COURSES: Mapping[str, Course] = {
    "Pending": "running", "InProgress": "running", "Baking": "running",
    "Cancelling": "turning-back", "RollbackInProgress": "turning-back",
    "Successful": "done", "RollbackSuccessful": "turned-back",
    "Failed": "failed", "Cancelled": "failed", "RollbackFailed": "failed",
}  # fmt: skip
"""By the status of a refresh (InstanceRefresh, EC2 Auto Scaling's API reference)."""
_LEAVING = ("Terminat", "Detach")
"""How the lifecycle state begins of an instance that a group has no more."""
_NO_VERSION = frozenset({"InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound"})


class Consumers(ParametersAndTemplates):
    """All that a fleet is published to in one account: its parameters, launch templates and Auto Scaling groups.

    Implements `Publisher`.
    """

    def groups(self, location: str, names: Sequence[str]) -> Mapping[str, Group]:
        """The groups: a call for every 100, and one for every 100 refreshes of each. See `Publisher.groups`."""
        with translated(f"reading Auto Scaling groups in {location}"):
            return {
                one["AutoScalingGroupName"]: self._group(
                    location, one, at=told_at(page["ResponseMetadata"]["HTTPHeaders"])
                )
                for first in range(0, len(names), _PAGE)
                for page in self._pages(location, names[first : first + _PAGE])
                for one in page["AutoScalingGroups"]
            }

    def group_misfit(self, location: str, group: Group, artifact_id: str) -> str | None:
        """Why there would be no way back, or what it launches on can't boot it. See `Publisher.group_misfit`.

        "Considerations": https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html
        """
        with translated(f"comparing {artifact_id} with {_said(group)} in {location}"):
            told = self._now(location, group)
            return _of_no_version(told, location) or self._of_its_template(location, told, artifact_id)

    def begin_refresh(self, location: str, group: Group, version: int, settings: AutoScalingGroup) -> str:
        """Start a rolling refresh that turns back by itself. See `Publisher.begin_refresh`."""
        self._refuse_group(location, group)
        with translated(f"refreshing {_said(group)} in {location}"):
            told = self._now(location, group)
            if _named(told).get("LaunchTemplateId") != group.template:
                raise Transient(f"{_said(group)} in {location} has another launch template now, and is not refreshed")
            try:
                begun: str = self._scaling(location).start_instance_refresh(
                    AutoScalingGroupName=group.name, Strategy="Rolling", DesiredConfiguration=_desired(told, version),
                    Preferences=_preferences(settings),
                )["InstanceRefreshId"]  # fmt: skip
            except ClientError as error:
                self._explain(location, group, error)
                raise
        return begun

    def turn_back(self, location: str, group: Group, refresh: str) -> None:
        """Roll a refresh back that is under way. See `Publisher.turn_back`.

        A call names the group alone, so that the refresh is looked at before: another one is let be.
        """
        self._refuse_group(location, group)
        with translated(f"turning {_said(group)} in {location} back"):
            if not self._runs(location, group, refresh):
                return
            try:
                self._scaling(location).rollback_instance_refresh(AutoScalingGroupName=group.name)
            except ClientError as error:
                ended = code_of(error) == "ActiveInstanceRefreshNotFound"
                if ended or not self._runs(location, group, refresh):  # it ended meanwhile, or somebody was first
                    return
                raise

    def _group(self, location: str, told: Mapping[str, Any], *, at: datetime | None) -> Group:
        named = _named(told)
        template, word = named.get("LaunchTemplateId", ""), _word(named) if named else ""
        return Group(
            name=told["AutoScalingGroupName"],
            ours=any((tag["Key"], tag["Value"]) == (FLEET_TAG, self._fleet) for tag in told.get("Tags", ())),
            template=template,
            says=word,
            runs=tuple(
                _number_of(one.get("LaunchTemplate", {}), template)
                for one in told.get("Instances", ())
                if not one["LifecycleState"].startswith(_LEAVING)
            ),
            refreshes=self._refreshes(location, told["AutoScalingGroupName"]),
            misfit=_of_no_version(told, location),
            again=_again(told, location, template),
            told=at,
        )

    def _refreshes(self, location: str, name: str) -> tuple[InstanceRefresh, ...]:
        found: list[Mapping[str, Any]] = []
        page: Mapping[str, Any] = {"NextToken": None}
        while "NextToken" in page:
            more = {"NextToken": page["NextToken"]} if page["NextToken"] else {}
            page = self._scaling(location).describe_instance_refreshes(
                AutoScalingGroupName=name, MaxRecords=_PAGE, **more
            )
            found += page["InstanceRefreshes"]
        # What has not begun has no time yet.
        found.sort(key=lambda one: ("StartTime" not in one, one.get("StartTime")), reverse=True)
        return tuple(map(_refresh, found))

    def _runs(self, location: str, group: Group, refresh: str) -> bool:
        now = self._refreshes(location, group.name)
        return any(one.id == refresh and one.course == "running" for one in now)

    def _now(self, location: str, group: Group) -> Mapping[str, Any]:
        """What a group is now: the values hold no policy of several types. Raises Transient where it is gone."""
        for one in self._described(location, [group.name]):
            return one
        raise Transient(f"{_said(group)} in {location} is not there any more")

    def _of_its_template(self, location: str, told: Mapping[str, Any], artifact_id: str) -> str | None:
        named = _named(told)
        template, word = named["LaunchTemplateId"], _word(named)
        try:
            versions = self._ec2(location).describe_launch_template_versions(
                LaunchTemplateId=template, Versions=sorted({word, "$Default"})
            )["LaunchTemplateVersions"]
        except ClientError as error:
            if code_of(error) not in _NO_VERSION:
                raise
            return f"version {word} of {template}, which it launches, is not there: {_pin(told, location)}"
        default = next((one for one in versions if one.get("DefaultVersion")), versions[0])
        newest = max(versions, key=lambda one: one["VersionNumber"])
        if not word.isdecimal():
            number = (newest if word == "$Latest" else default)["VersionNumber"]
            return f"it launches version {word} of {template}, {_NO_WAY_BACK}: {_pin(told, location, number)}"
        now = next(one for one in versions if one["VersionNumber"] == int(word))
        return self._of_its_image(location, told, now["LaunchTemplateData"].get("ImageId", ""), artifact_id) or (
            self._of_its_types(location, told, default["LaunchTemplateData"].get("InstanceType"), artifact_id)
        )

    def _of_its_image(self, location: str, told: Mapping[str, Any], image: str, artifact_id: str) -> str | None:
        """Why a group can't come back to the AMI that it launches now."""
        launches = f"version {_word(_named(told))}, which it launches,"
        if image.startswith(LATE):
            return f"{launches} takes {visible(image)}, {_NO_WAY_BACK}: {_pin(told, location)}"
        state = {one["ImageId"]: one.get("State") for one in self._images(location, image)}.get(image)
        if not image or image == artifact_id or state not in (None, "disabled"):
            return None
        if state is None:
            return f"{launches} names {image}, which is gone, {_NO_WAY_BACK}: {_pin(told, location)}"
        command = f"`aws ec2 enable-image --region {location} --image-id {image}`"
        return f"{launches} names {image}, which is disabled, {_NO_WAY_BACK}: {command}, or {_pin(told, location)}"

    def _of_its_types(
        self, location: str, told: Mapping[str, Any], of_template: str | None, artifact_id: str
    ) -> str | None:
        """Why one of a group's instance types can't boot an AMI. Those that InstanceRequirements find are not judged.

        Overrides stand in place of the template's own type. A version is made of the template's default one, and so
        has its type (`add_version`).
        """
        overrides = _overrides(told)
        types = list(dict.fromkeys(one["InstanceType"] for one in overrides if "InstanceType" in one))
        types = types or ([of_template] if of_template and not overrides else [])
        images = self._images(location, artifact_id)
        if not types or not images:
            return None
        listed = self._ec2(location).describe_instance_types(InstanceTypes=types)["InstanceTypes"]
        return unbootable(sorted(listed, key=lambda one: types.index(one["InstanceType"])), images[0])

    def _images(self, location: str, image: str) -> Sequence[Any]:
        """An AMI, disabled or deprecated as well; nothing where it is gone: asked by its id, EC2 would refuse."""
        by_id = [{"Name": "image-id", "Values": [image]}]
        asked: Any = {"Filters": by_id, "IncludeDisabled": True, "IncludeDeprecated": True}
        return self._ec2(location).describe_images(**asked)["Images"] if image else []

    def _explain(self, location: str, group: Group, error: ClientError) -> None:
        """Raise what is known better than AWS's own words say it."""
        message = first_line(str(error.response.get("Error", {}).get("Message", "")))
        doing = f"refreshing {_said(group)} in {location}"
        if code_of(error) == "InstanceRefreshInProgress":
            active = next((one for one in self._refreshes(location, group.name) if one.course in _ACTIVE), None)
            which = f"refresh {active.id} is under way" if active is not None else "another refresh was under way"
            raise Transient(f"{doing}: {which}, and there can be one at a time") from error
        if code_of(error) == "AccessDenied" and "launch template" in message:
            raise Terminal(
                f"{doing}: {message} (AccessDenied)",
                hint="Auto Scaling tries a launch with this role's rights: docs/iam/README.md says what that needs",
            ) from error

    def _refuse_group(self, location: str, group: Group) -> None:
        if not group.ours:
            raise Terminal(
                f"{_said(group)} in {location} is not refreshed: it lacks {FLEET_TAG}={self._fleet}",
                hint="give another name in `publish.auto_scaling_groups`; if it is this fleet's, tag it so",
            )

    def _described(self, location: str, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        return (one for page in self._pages(location, names) for one in page["AutoScalingGroups"])

    def _pages(self, location: str, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        yield from (
            self._scaling(location)
            .get_paginator("describe_auto_scaling_groups")
            .paginate(AutoScalingGroupNames=list(names), PaginationConfig={"PageSize": _PAGE})
        )

    def _scaling(self, location: str) -> Any:
        return self._clients.client("autoscaling", location, config=Config())


_ACTIVE = ("running", "turning-back")
_NO_WAY_BACK = "so that AWS could not turn a refresh back"


def _said(group: Group) -> str:
    return f"group {visible(group.name)}"


def _named(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """The launch template of a group, and the version; nothing where it launches by something else."""
    mixed = told.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
    found: Mapping[str, Any] = told.get("LaunchTemplate") or mixed or {}
    return found


def _overrides(told: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = told.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("Overrides")
    return found or ()


def _word(named: Mapping[str, Any]) -> str:
    """The version as the group says it. Absent: `$Default` (LaunchTemplateSpecification, API reference)."""
    return named.get("Version") or "$Default"


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() else None


def _number_of(named: Mapping[str, Any], template: str) -> int | None:
    return _number(_word(named)) if template and named.get("LaunchTemplateId") == template else None


def _refresh(one: Mapping[str, Any]) -> InstanceRefresh:
    named, ended = _named(one.get("DesiredConfiguration", {})), told_moment(one.get("EndTime"))
    # A status that is newer than this is over when it has ended.
    unknown: Course = "failed" if ended is not None else "running"
    return InstanceRefresh(
        id=one["InstanceRefreshId"],
        template=named.get("LaunchTemplateId", ""),
        version=_number(_word(named)) if named else None,
        course=_COURSES.get(one["Status"], unknown),
        percent=one.get("PercentageComplete"),
        why=first_line(one.get("StatusReason") or one.get("RollbackDetails", {}).get("RollbackReason") or ""),
        ended=ended,
    )


def _of_no_version(told: Mapping[str, Any], location: str) -> str | None:
    """Why what a group launches does not follow from one version of one template."""
    if not _named(told):
        has = "a launch configuration" if told.get("LaunchConfigurationName") else "no launch template"
        return f"it has {has}, which no version can be made of: {_pin(told, location)}"
    for one in _overrides(told):
        kind = one.get("InstanceType", "some types")
        own = one.get("LaunchTemplateSpecification")
        if own or "ImageId" in one:
            template = (own.get("LaunchTemplateName") or own["LaunchTemplateId"]) if own else ""
            what = f"a launch template of its own, {template}" if own else one["ImageId"]
            return f"its override for {kind} has {what}, which no refresh changes: take that out of its policy"
    return None


def _again(told: Mapping[str, Any], location: str, template: str) -> str:
    """How a person has a group refreshed to a version of its template, the number of which is `{version}`."""
    if told.get("MixedInstancesPolicy"):  # whose template can't be given without all the rest
        return "begin one to version {version} with its mixed instances policy as a whole"
    return (
        f"aws autoscaling start-instance-refresh --region {location} --auto-scaling-group-name "
        f"{shell_word(told['AutoScalingGroupName'])} --desired-configuration "
        f"'LaunchTemplate={{LaunchTemplateId={template},Version={{version}}}}'"
    )


def _pin(told: Mapping[str, Any], location: str, number: int | str = "NUMBER") -> str:
    """How a group is made to name a version, by its number, of an AMI's id."""
    template = _named(told).get("LaunchTemplateId", "ID")
    if told.get("MixedInstancesPolicy"):  # whose template can't be given without all the rest
        return f"have its mixed instances policy name version {number} of {template}"
    command = f"aws autoscaling update-auto-scaling-group --region {location} --auto-scaling-group-name"
    with_an_ami = " (one with an AMI that is there)" if number == "NUMBER" else ""
    name = shell_word(told["AutoScalingGroupName"])
    return f"`{command} {name} --launch-template LaunchTemplateId={template},Version={number}`{with_an_ami}"


def _desired(told: Mapping[str, Any], version: int) -> Mapping[str, Any]:
    """The group's own template, or its policy as a whole, with another version.

    A template is given by its id or by its name, and told with both (LaunchTemplateSpecification, API reference).
    """
    named = {"LaunchTemplateId": _named(told)["LaunchTemplateId"], "Version": str(version)}
    policy = told.get("MixedInstancesPolicy")
    if not policy:
        return {"LaunchTemplate": named}
    return {
        "MixedInstancesPolicy": {
            **policy,
            "LaunchTemplate": {**policy["LaunchTemplate"], "LaunchTemplateSpecification": named},
        }
    }


def _preferences(settings: AutoScalingGroup) -> Mapping[str, Any]:
    """RefreshPreferences (API reference): a delay needs checkpoints, and only behind 100 all instances are replaced."""
    checkpoints = sorted({*settings.checkpoints, 100} - {0}) if settings.checkpoints else []
    asked = {
        "MinHealthyPercentage": settings.min_healthy,
        "MaxHealthyPercentage": settings.max_healthy,
        "InstanceWarmup": settings.warmup,
        "CheckpointPercentages": checkpoints or None,
        "CheckpointDelay": settings.checkpoint_wait if checkpoints else None,
        "BakeTime": settings.bake,
        "AlarmSpecification": {"Alarms": list(settings.alarms)} if settings.alarms else None,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return {"AutoRollback": True, "SkipMatching": True, **given}


def open_publisher(opening: Opening) -> Consumers:
    """What a fleet is published to. Once the run is cancelled its waits end, with Transient."""
    return Consumers(clients_of(opening), fleet=opening.fleet, clock=clock_until(opening.cancelled))
