"""Auto Scaling groups as AWS has them, where moto has less: what one launches by. Seen with moto 5.2.5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.models import FakeAutoScalingGroup, InstanceState
from moto.core.exceptions import ServiceException

_LATE = ("$Latest", "$Default")
_launch = FakeAutoScalingGroup.replace_autoscaling_group_instances


def install() -> None:
    """Have moto tell of each instance by which version of a template it was launched."""
    FakeAutoScalingGroup.replace_autoscaling_group_instances = _launch_by_version  # type: ignore[method-assign]  # no hook
    InstanceState.launch_template = property(_launched_by)  # type: ignore[assignment, method-assign]  # no hook


@dataclass(frozen=True)
class Setting:
    """What a group launches by."""

    configuration: str | None
    template: Mapping[str, Any]
    policy: Mapping[str, Any] | None

    @property
    def named(self) -> Mapping[str, Any]:
        """The template, and the version of it."""
        if self.policy is not None:
            found: Mapping[str, Any] = self.policy["LaunchTemplate"]["LaunchTemplateSpecification"]
            return found
        return self.template

    def told(self) -> Mapping[str, Any]:
        """The same as a desired configuration."""
        return {"LaunchTemplate": self.template} if self.policy is None else {"MixedInstancesPolicy": self.policy}


def setting_of(group: Any) -> Setting:
    """What a group launches by now."""
    policy = deepcopy(group.mixed_instances_policy) or None
    plain = dict(group.launch_template or {}) if policy is None and group.ec2_launch_template else {}
    return Setting(getattr(group, "launch_configuration_name", None), plain, policy)


def desired(group: Any, asked: Mapping[str, Any]) -> Setting:
    """What a desired configuration comes to, with the id and the name of its template, as it is answered.

    "You must specify either a LaunchTemplateId or a LaunchTemplateName":
    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_LaunchTemplateSpecification.html
    """
    policy = deepcopy(asked.get("MixedInstancesPolicy"))
    named = Setting(None, dict(asked.get("LaunchTemplate") or {}), policy).named
    if bool(named.get("LaunchTemplateId")) == bool(named.get("LaunchTemplateName")):
        raise refused("Valid requests must contain either launchTemplateId or LaunchTemplateName")
    by_id = group.ec2_backend.get_launch_template
    by_name = group.ec2_backend.get_launch_template_by_name
    template = by_id(named["LaunchTemplateId"]) if "LaunchTemplateId" in named else by_name(named["LaunchTemplateName"])
    version = named.get("Version") or "$Default"
    template.get_version(version)  # or it is refused, as EC2 does
    whole = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "Version": version}
    if policy is None:
        return Setting(None, whole, None)
    policy["LaunchTemplate"]["LaunchTemplateSpecification"] = whole
    return Setting(None, {}, policy)


def apply(group: Any, setting: Setting) -> None:
    """Let a group launch by this from now on."""
    group.ec2_launch_template, group.launch_config, group.launch_configuration_name = None, None, None
    group.__dict__.pop("provided_launch_template_version", None)  # so that a policy alone is told
    group.mixed_instances_policy = deepcopy(setting.policy)
    by_id = {key: value for key, value in setting.named.items() if key != "LaunchTemplateName"}
    if setting.policy is not None:
        group.mixed_instances_policy["LaunchTemplate"]["LaunchTemplateSpecification"] = by_id
    plain = by_id if setting.policy is None else {}
    group._set_launch_configuration(setting.configuration, plain, group.mixed_instances_policy)  # noqa: SLF001  moto's


@contextmanager
def _set(group: Any, setting: Setting) -> Iterator[None]:
    """Let a group launch by something else for a moment."""
    before = setting_of(group)
    apply(group, setting)
    try:
        yield
    finally:
        apply(group, before)


def is_irreversible(group: Any, setting: Setting) -> bool:
    """Whether a group can't be rolled back to this.

    "Considerations": https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html
    """
    if not setting.named:
        return False
    version = setting.named.get("Version") or "$Default"
    template = group.ec2_backend.get_launch_template(setting.named["LaunchTemplateId"])
    return version in _LATE or template.get_version(version).image_id.startswith("resolve:ssm:")


def to_replace(group: Any, setting: Setting, *, skip_matching: bool) -> list[str]:
    """The instances that are to be replaced; with SkipMatching not those that were launched by the same version.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-instance-refresh-skip-matching.html
    """
    with _set(group, setting):
        same = _version(group)
    return [
        one.instance.id
        for one in group.instance_states
        if not (skip_matching and same is not None and same == _launched_by(one))
    ]


def replace(group: Any, instance: str, setting: Setting, into: list[str]) -> str | None:
    """Put a new instance in the place of one, and note it; say why where none can be launched."""
    with _set(group, setting):
        image = group.ec2_backend.amis.get(group.image_id)
        if image is None or image.state != "available":
            return f"{group.image_id} can't be launched: it is {image.state if image else 'not there'}"
        there = {one.instance.id for one in group.instance_states}
        group.ec2_backend.terminate_instances([instance])
        group.instance_states = [one for one in group.instance_states if one.instance.id != instance]
        try:
            group.replace_autoscaling_group_instances(1, group.get_propagated_tags())
        except ServiceException as error:
            return f"no instance was launched: {error}"
    into += [one.instance.id for one in group.instance_states if one.instance.id not in there]
    group.autoscaling_backend.update_attached_elbs(group.name)
    group.autoscaling_backend.update_attached_target_groups(group.name)
    return None


def refused(message: str) -> AutoscalingClientError:
    """An error for what is asked for wrongly; no page names the code."""
    return AutoscalingClientError("ValidationError", message)


def _launch_by_version(self: Any, count_needed: int, propagated_tags: dict[str, str]) -> None:
    """Launch instances, and note by what: moto tells the default version of today's template of every one.

    "The launch template for the instance": https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Instance.html
    """
    there = {one.instance.id for one in self.instance_states}
    _launch(self, count_needed, propagated_tags)
    said = _version(self)
    for one in (each for each in self.instance_states if each.instance.id not in there):
        one.launched_by = said


def _version(group: Any) -> dict[str, str] | None:
    """The version that a group launches by now, by its number."""
    template = group.ec2_launch_template
    if template is None:
        return None
    number = str(template.get_version(group.launch_template_version).number)
    return {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "Version": number}


def _launched_by(self: Any) -> dict[str, str] | None:
    found: dict[str, str] | None = getattr(self, "launched_by", None)
    return found
