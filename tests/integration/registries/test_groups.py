"""Auto Scaling groups as they are in AWS alone: how a refresh is asked for, and what there is no way back to."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from moto.autoscaling.models import autoscaling_backends
from moto.autoscaling.responses import AutoScalingResponse
from moto.ec2.models import ec2_backends
from werkzeug.exceptions import Forbidden

from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import Group
from reconciler.model.publish import AutoScalingGroup
from reconciler.registries.ec2 import groups
from reconciler.registries.ec2.templates import unbootable
from tests.integration.registries.test_publisher import (
    ACCOUNT,
    HOME,
    SETTINGS,
    WAITING,
    SsmBench,
    as_in_aws,
    told,
    versioned,
)

LATE = "resolve:ssm:/images/web/stable"


@pytest.fixture
def ssm(moto: str, monkeypatch: pytest.MonkeyPatch) -> SsmBench:
    assert moto
    return as_in_aws(monkeypatch)


def test_a_refresh_is_begun_with_what_was_declared_and_turns_back_by_itself(ssm: SsmBench) -> None:
    versioned(ssm)
    ssm.group("web")
    settings = AutoScalingGroup.model_validate({
        "name": "web", "min_healthy": 50, "max_healthy": 150, "warmup": "2m", "checkpoints": [50, 20],
        "checkpoint_wait": "1h", "bake": "30m", "alarms": ["errors"],
    })  # fmt: skip
    for declared, preferences in (
        (SETTINGS, {"MinHealthyPercentage": 90}),
        (settings, {
            "MinHealthyPercentage": 50, "MaxHealthyPercentage": 150, "InstanceWarmup": 120, "BakeTime": 1800,
            "CheckpointPercentages": [20, 50, 100], "CheckpointDelay": 3600,
            "AlarmSpecification": {"Alarms": ["errors"]},
        }),
    ):  # fmt: skip
        ssm.publisher.begin_refresh(HOME, told(ssm), 2, declared)
        (found, *_) = ssm.scaling.describe_instance_refreshes(AutoScalingGroupName="web")["InstanceRefreshes"]
        assert found["Preferences"] == {"AutoRollback": True, "SkipMatching": True, **preferences}
        assert found["DesiredConfiguration"]["LaunchTemplate"]["Version"] == "2"
        ssm.fail("web")


def mixed(version: str, *overrides: dict[str, Any]) -> dict[str, Any]:
    named = {"LaunchTemplateName": "web", "Version": version}
    return {"LaunchTemplate": {"LaunchTemplateSpecification": named, "Overrides": list(overrides)}}


def test_a_policy_of_several_types_is_taken_over_whole(ssm: SsmBench) -> None:
    versioned(ssm)
    policy = mixed("1", {"InstanceType": "t4g.small", "WeightedCapacity": "1"}, {"InstanceType": "t4g.medium"})
    policy["InstancesDistribution"] = {"OnDemandBaseCapacity": 1, "SpotAllocationStrategy": "price-capacity-optimized"}
    ssm.group("web", more={"MixedInstancesPolicy": policy})
    assert (told(ssm).version, told(ssm).runs) == (1, (1, 1))
    assert told(ssm).again == "begin one to version {version} with its mixed instances policy as a whole"

    def now() -> Any:
        (group,) = ssm.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["web"])["AutoScalingGroups"]
        return group["MixedInstancesPolicy"]

    before = now()
    ssm.publisher.begin_refresh(HOME, told(ssm), 2, SETTINGS)
    ssm.succeed("web")
    assert (told(ssm).version, told(ssm).runs) == (2, (2, 2))
    named = before["LaunchTemplate"]["LaunchTemplateSpecification"]
    template = {**before["LaunchTemplate"], "LaunchTemplateSpecification": {**named, "Version": "2"}}
    assert now() == {**before, "LaunchTemplate": template}


def test_the_command_that_tries_again_is_one_that_aws_takes(ssm: SsmBench) -> None:
    versioned(ssm)
    name = "web's {version}"
    ssm.group(name)
    program, *words = shlex.split(told(ssm, name).again)
    asked = dict(zip(words[2::2], words[3::2], strict=True))

    to = f"LaunchTemplate={{LaunchTemplateId={told(ssm, name).template},Version={{version}}}}"
    assert (program, words[:2]) == ("aws", ["autoscaling", "start-instance-refresh"])
    assert asked == {"--region": HOME, "--auto-scaling-group-name": name, "--desired-configuration": to}


def test_what_there_is_no_way_back_to_is_told_with_its_way_out(ssm: SsmBench) -> None:
    first, image = versioned(ssm)
    (template,) = ssm.publisher.templates(HOME, ["web"]).values()
    command = f"`aws autoscaling update-auto-scaling-group --region {HOME} --auto-scaling-group-name web "
    pin = f"{command}--launch-template LaunchTemplateId={template.id},Version="

    def misfit(group: str = "web") -> str:
        return ssm.publisher.group_misfit(HOME, told(ssm, group), image) or ""

    ssm.group("web", version="$Latest")
    assert (
        f"it launches version $Latest of {template.id}, so that AWS could not turn a refresh back: {pin}2`" in misfit()
    )
    ssm.scaling.update_auto_scaling_group(
        AutoScalingGroupName="web", LaunchTemplate={"LaunchTemplateId": template.id, "Version": "1"}
    )
    assert misfit() == ""
    ssm.ec2.disable_image(ImageId=first)
    assert f"names {first}, which is disabled" in misfit()
    assert f"`aws ec2 enable-image --region {HOME} --image-id {first}`" in misfit()
    ssm.ec2.deregister_image(ImageId=first)
    assert misfit() == (
        f"version 1, which it launches, names {first}, which is gone, so that AWS could not turn a refresh back: "
        f"{pin}NUMBER` (one with an AMI that is there)"
    )
    assert ssm.publisher.group_misfit(HOME, told(ssm), first) is None, "it launches that already"
    number = ssm.publisher.add_version(HOME, template, "resolve:ssm:/images/web/stable", description="by hand")
    ec2_backends[ACCOUNT][HOME].get_launch_template(template.id).versions[number - 1].data["ImageId"] = LATE
    ssm.scaling.update_auto_scaling_group(
        AutoScalingGroupName="web", LaunchTemplate={"LaunchTemplateId": template.id, "Version": str(number)}
    )
    assert f"version {number}, which it launches, takes {LATE}, so that AWS could not" in misfit()
    del ec2_backends[ACCOUNT][HOME].get_launch_template(template.id).versions[number - 1]
    assert f"version {number} of {template.id}, which it launches, is not there: {pin}NUMBER`" in misfit()


def test_what_no_version_changes_is_told(ssm: SsmBench) -> None:
    _, image = versioned(ssm)
    ssm.template("other", image)
    ssm.scaling.create_launch_configuration(LaunchConfigurationName="old", ImageId=image, InstanceType="t4g.micro")
    ssm.group("old", more={"LaunchConfigurationName": "old"})
    own = {"LaunchTemplateName": "other", "Version": "1"}
    ssm.group(
        "own",
        more={"MixedInstancesPolicy": mixed("1", {"InstanceType": "t4g.small", "LaunchTemplateSpecification": own})},
    )
    ssm.group("late", more={"MixedInstancesPolicy": mixed("$Default", {"InstanceType": "t4g.small"})})
    old = told(ssm, "old")
    assert (old.template, old.version, old.says, old.runs) == ("", None, "", (None, None))
    said = {name: ssm.publisher.group_misfit(HOME, told(ssm, name), image) or "" for name in ("old", "own", "late")}
    assert "it has a launch configuration" in said["old"]
    assert "its override for t4g.small has a launch template of its own, other, which no refresh changes" in said["own"]
    assert "have its mixed instances policy name version 1 of lt-" in said["late"]
    assert [told(ssm, name).misfit for name in ("own", "late")] == [said["own"], None], "it is told of what runs, too"
    with pytest.raises(Transient, match="has another launch template now"):
        ssm.publisher.begin_refresh(HOME, replace(old, template="lt-1"), 2, SETTINGS)
    with pytest.raises(Transient, match="is not there any more"):
        ssm.publisher.begin_refresh(HOME, replace(old, name="gone"), 2, SETTINGS)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("has", "kinds", "told_so"),
    [
        ({"architecture": "x86_64"}, (), "it launches on t4g.micro (arm64), and {image} is x86_64"),
        ({"architecture": "arm64"}, (), None),
        ({"architecture": "arm64"}, ("t4g.small", "t3.small"), "on t3.small (x86_64), and {image} is arm64"),
        ({"architecture": "x86_64", "boot_mode": "uefi"}, ("t3.small", "t2.small"), "which boots by legacy-bios"),
        ({"architecture": "x86_64", "boot_mode": "uefi-preferred"}, ("t3.small", "t2.small"), None),
        ({"architecture": "x86_64", "boot_mode": "uefi"}, ("t3.small",), None),
        ({"architecture": "x86_64"}, ("t3.small",), None),
    ],
)  # fmt: skip
def test_what_one_of_its_types_cant_boot_is_told(
    ssm: SsmBench, has: dict[str, Any], kinds: tuple[str, ...], told_so: str | None
) -> None:
    _, image = versioned(ssm)
    for name, value in has.items():
        setattr(ec2_backends[ACCOUNT][HOME].amis[image], name, value)
    policy = mixed("1", *({"InstanceType": kind} for kind in kinds))
    ssm.group("web", more={"MixedInstancesPolicy": policy} if kinds else {})
    why = ssm.publisher.group_misfit(HOME, told(ssm), image)
    assert why is None if told_so is None else told_so.format(image=image) in (why or "")


def test_an_ami_without_ena_does_not_boot_where_that_is_needed() -> None:
    image: Any = {"ImageId": "ami-1", "EnaSupport": False}
    types: Any = [
        {"InstanceType": kind, "NetworkInfo": {"EnaSupport": ena}}
        for kind, ena in (("t2.micro", "unsupported"), ("m4.16xlarge", "supported"), ("m6i.large", "required"))
    ]
    assert unbootable(types[:2], image) is None
    assert "it launches on m6i.large, which needs ENA, and ami-1 has none" in (unbootable(types, image) or "")
    image["EnaSupport"] = True
    assert unbootable(types, image) is None


def test_types_that_are_found_by_requirements_are_not_judged(ssm: SsmBench) -> None:
    _, image = versioned(ssm)
    ec2_backends[ACCOUNT][HOME].amis[image].architecture = "x86_64"  # the template's own type is arm64
    wanted = {"VCpuCount": {"Min": 2}, "MemoryMiB": {"Min": 1024}}
    ssm.group("web", more={"MixedInstancesPolicy": mixed("1", {"InstanceRequirements": wanted})})
    assert ssm.publisher.group_misfit(HOME, told(ssm), image) is None


def test_what_the_role_lacks_to_launch_is_told(ssm: SsmBench, monkeypatch: pytest.MonkeyPatch) -> None:
    versioned(ssm)
    ssm.group("web")

    def refuse(_: Any) -> None:
        message = "You are not authorized to use launch template: lt-1"
        raise Forbidden(
            f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{message}</Message></Error></ErrorResponse>"
        )

    monkeypatch.setattr(AutoScalingResponse, "start_instance_refresh", refuse)
    with pytest.raises(Terminal, match="not authorized to use launch template: lt-1") as caught:
        ssm.publisher.begin_refresh(HOME, told(ssm), 2, SETTINGS)
    assert "docs/iam" in caught.value.hint[0]


def test_more_groups_than_a_page_holds_and_all_their_refreshes_are_read(
    ssm: SsmBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "_PAGE", 2)
    versioned(ssm)
    names = [f"web-{number}" for number in range(5)]
    for name in names:
        ssm.group(name)
    for _ in range(5):
        ssm.refresh("web-0", 1)
        ssm.fail("web-0")
    found = ssm.publisher.groups(HOME, names)
    assert sorted(found) == names
    assert {name: len(one.refreshes) for name, one in found.items()} == dict.fromkeys(names, 0) | {"web-0": 5}


def test_an_instance_that_leaves_is_none_of_the_groups(ssm: SsmBench) -> None:
    versioned(ssm)
    ssm.group("web")
    states = autoscaling_backends[ACCOUNT][HOME].autoscaling_groups["web"].instance_states
    states[0].lifecycle_state = "Terminating:Wait"
    assert told(ssm).runs == (1,)


def test_one_that_ends_or_turns_back_just_before_it_is_turned_back_is_no_error(
    ssm: SsmBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned(ssm)
    ssm.group("web")
    group = told(ssm)
    plain = groups.Consumers._runs

    def too_late(happens: Callable[[], object]) -> None:
        waiting = [happens]

        def runs(self: groups.Consumers, location: str, group: Group, refresh: str) -> bool:
            found = plain(self, location, group, refresh)
            if waiting:
                waiting.pop()()
            return found

        monkeypatch.setattr(groups.Consumers, "_runs", runs)

    begun = ssm.publisher.begin_refresh(HOME, group, 2, WAITING)
    too_late(lambda: ssm.scaling.rollback_instance_refresh(AutoScalingGroupName="web"))
    ssm.publisher.turn_back(HOME, group, begun)
    ssm.succeed("web")
    assert told(ssm).refreshes[0].course == "turned-back"
    begun = ssm.publisher.begin_refresh(HOME, group, 2, WAITING)
    too_late(lambda: ssm.fail("web"))
    ssm.publisher.turn_back(HOME, group, begun)
    assert told(ssm).under_way is None


def test_one_that_aws_cant_turn_back_is_an_error(ssm: SsmBench) -> None:
    versioned(ssm)
    ssm.group("web")
    waiting = {"CheckpointPercentages": [50, 100]}
    begun = ssm.scaling.start_instance_refresh(AutoScalingGroupName="web", Preferences=waiting)
    theirs = begun["InstanceRefreshId"]
    with pytest.raises(Terminal, match="IrreversibleInstanceRefresh"):
        ssm.publisher.turn_back(HOME, told(ssm), theirs)
    active = told(ssm).refreshes[0]
    assert (active.id, active.template, active.version) == (theirs, "", None)
