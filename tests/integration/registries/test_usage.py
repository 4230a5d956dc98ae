"""Who uses an AMI, asked of a real server: everything that a cleaner of images is known to overlook."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.validate import validate_parameters

from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings
from reconciler.model.usage import Usage
from reconciler.registries.ec2.aliases import Aliases
from reconciler.registries.ec2.launchers import _PATIENT, Launchers
from reconciler.registries.ec2.usage import usage as usage_for

REGION = "us-east-1"
FLEET = "acme/images"


def usage(clients: Clients, location: str, ids: Sequence[str]) -> Usage:
    return usage_for(clients, location, ids, fleet=FLEET)


@pytest.fixture
def clients(moto: str) -> Clients:
    assert moto
    return Clients(AwsSettings(), attempts=2)


@pytest.fixture
def images(clients: Clients) -> list[str]:
    ec2 = boto3.client("ec2", REGION)
    return [ec2.register_image(Name=f"web-{number}")["ImageId"] for number in range(3)]


def by(clients: Clients, *ids: str) -> set[tuple[str, str]]:
    found = usage(clients, REGION, ids)
    assert found.unread == {}
    assert {use.place[0] for use in found.uses} <= {REGION}
    return {(use.place[1], use.by.split(" ")[0]) for use in found.uses}


def template(ec2: Any, name: str, *images: str, owner: str | None = None) -> str:
    tags = [{"Key": "reconciler:fleet", "Value": owner}] if owner is not None else [{"Key": "Name", "Value": name}]
    specification = [{"ResourceType": "launch-template", "Tags": tags}]
    first, *more = ({"ImageId": image, "InstanceType": "t3.micro"} for image in images)
    made = ec2.create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData=first, TagSpecifications=specification
    )  # fmt: skip
    for data in more:
        ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def test_nothing_uses_what_nothing_names(clients: Clients, images: list[str]) -> None:
    assert by(clients, *images) == set()
    assert by(clients) == set()


def test_of_more_images_than_a_filter_takes_all_instances_are_listed_once(clients: Clients, images: list[str]) -> None:
    ec2 = boto3.client("ec2", REGION)
    for image in images[:2]:
        ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)
    called: list[str] = []
    clients.ec2(REGION).meta.events.register("before-call.ec2", lambda model, **_: called.append(model.name))
    many = [f"ami-{number:017x}" for number in range(300)]
    assert by(clients, images[0], *many) == {(images[0], "instance")}
    assert called.count("DescribeInstances") == 1


def test_instances_count_also_when_they_are_stopped(clients: Clients, images: list[str]) -> None:
    ec2 = boto3.client("ec2", REGION)
    made = [ec2.run_instances(ImageId=one, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"] for one in images]
    ec2.stop_instances(InstanceIds=made[:1])
    ec2.terminate_instances(InstanceIds=made[1:2])
    found = usage(clients, REGION, images)
    assert {use.place[1] for use in found.uses} == {images[0], images[2]}
    said = {use.place[1]: use.by for use in found.uses}
    assert said[images[0]] == f"instance {made[0]} (stopped)"


def test_old_versions_of_a_template_count(clients: Clients, images: list[str]) -> None:
    template(boto3.client("ec2", REGION), "web", *images)
    assert by(clients, images[0]) == {(images[0], "launch")}
    said = [use.by for use in usage(clients, REGION, images).uses]
    assert said == [
        "launch template web version 1 (default)", "launch template web version 2", "launch template web version 3",
    ]  # fmt: skip


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize(("owner", "spare"), [(FLEET, [2]), ("others/images", []), (None, [])])
def test_a_version_of_our_own_that_nobody_gets_but_by_its_number_is_told_apart(
    clients: Clients, images: list[str], owner: str | None, spare: list[int]
) -> None:
    ec2 = boto3.client("ec2", REGION)
    template(ec2, "web", *images, owner=owner)
    found = usage(clients, REGION, images).uses
    # The first is the default, and the last the newest, which `$Latest` is.
    assert [use.version.number for use in found if use.version is not None and use.spare] == spare


@pytest.mark.thorough
@pytest.mark.parametrize(("version", "which"), [("1", 0), ("$Default", 0), ("$Latest", 2), (None, 0)])
def test_a_group_counts_by_the_version_that_it_names(
    clients: Clients, images: list[str], version: str | None, which: int
) -> None:
    template(boto3.client("ec2", REGION), "web", *images)
    named = {"LaunchTemplateName": "web", **({"Version": version} if version is not None else {})}
    boto3.client("autoscaling", REGION).create_auto_scaling_group(
        AutoScalingGroupName="web", MinSize=0, MaxSize=0, AvailabilityZones=[f"{REGION}a"], LaunchTemplate=named,
    )  # fmt: skip
    groups = [use.place[1] for use in usage(clients, REGION, images).uses if use.by.startswith("group web")]
    assert groups == [images[which]]


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("templates_are_listed", [True, False])
def test_a_version_is_asked_for_only_where_the_list_did_not_tell_it(
    clients: Clients, images: list[str], monkeypatch: pytest.MonkeyPatch, *, templates_are_listed: bool
) -> None:
    # Given groups by each way of naming a version, and a list of templates that may be refused
    ec2 = clients.ec2(REGION)
    template(ec2, "web", *images)
    for name, version in (("a", "2"), ("b", "$Latest"), ("c", "$Default")):
        boto3.client("autoscaling", REGION).create_auto_scaling_group(
            AutoScalingGroupName=name, MinSize=0, MaxSize=0, AvailabilityZones=[f"{REGION}a"],
            LaunchTemplate={"LaunchTemplateName": "web", "Version": version},
        )  # fmt: skip
    asked: list[Any] = []
    ec2.meta.events.register(
        "provide-client-params.ec2.DescribeLaunchTemplateVersions", lambda params, **_: asked.append(params)
    )  # fmt: skip
    if not templates_are_listed:
        plain = ec2.get_paginator
        monkeypatch.setattr(ec2, "get_paginator", lambda name: _refused(name) if "templates" in name else plain(name))

    # When it is asked who uses the images
    found = usage(clients, REGION, images)

    # Then each group is found, by one call for each version that nothing told
    by_group = {use.by.split(",")[0]: use.place[1] for use in found.uses if use.by.startswith("group")}
    assert by_group == {"group a": images[1], "group b": images[2], "group c": images[0]}
    assert [one.get("Versions") for one in asked] == (
        [None] if templates_are_listed else [["2"], ["$Latest"], ["$Default"]]
    )
    assert bool(found.unread) is not templates_are_listed


def _refused(_name: str) -> Any:
    raise denied()


def test_an_instance_of_a_group_says_so(clients: Clients, images: list[str]) -> None:
    # Given a group with one instance, and one that somebody started
    template(boto3.client("ec2", REGION), "web", images[0])
    boto3.client("autoscaling", REGION).create_auto_scaling_group(
        AutoScalingGroupName="web", MinSize=1, MaxSize=1, AvailabilityZones=[f"{REGION}a"],
        LaunchTemplate={"LaunchTemplateName": "web"},
    )  # fmt: skip
    boto3.client("ec2", REGION).run_instances(ImageId=images[0], MinCount=1, MaxCount=1)

    # Then nobody is told to end the one that its group would start again
    hints = {
        use.by.partition(") ")[2]: use.hint.partition(", then")[0]
        for use in usage(clients, REGION, images).uses
        if use.by.startswith("instance ")
    }
    assert hints == {"": "replace it", "of group web": "it is replaced with its group"}


def test_a_group_of_several_types_and_a_launch_configuration_count(clients: Clients, images: list[str]) -> None:
    ec2, scaling = boto3.client("ec2", REGION), boto3.client("autoscaling", REGION)
    template(ec2, "web", *images)
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="mixed", MinSize=0, MaxSize=0, AvailabilityZones=[f"{REGION}a"],
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "2"},
                "Overrides": [{"InstanceType": "t3.micro"}],
            }
        },
    )  # fmt: skip
    scaling.create_launch_configuration(LaunchConfigurationName="old", ImageId=images[0], InstanceType="t3.micro")
    said = {(use.by.partition(",")[0], use.place[1]) for use in usage(clients, REGION, images).uses}
    assert ("group mixed", images[1]) in said
    assert ("launch configuration old", images[0]) in said


def test_a_group_that_names_an_image_by_an_override_uses_it(
    clients: Clients, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto drops it: LaunchTemplateOverrides in Auto Scaling's API reference has had an ImageId since 2025."""
    template(boto3.client("ec2", REGION), "web", *images)
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": "lt-0", "LaunchTemplateName": "web", "Version": "1"},
            "Overrides": [{"InstanceType": "t4g.micro", "ImageId": images[1]}],
        }
    }
    told = {"AutoScalingGroups": [{"AutoScalingGroupName": "mixed", "MixedInstancesPolicy": policy}]}
    paginator = SimpleNamespace(paginate=lambda **_: [told])
    scaling = clients.client("autoscaling", REGION, config=_PATIENT)
    plain = scaling.get_paginator
    named = {"describe_auto_scaling_groups": paginator}
    monkeypatch.setattr(scaling, "get_paginator", lambda name: named.get(name) or plain(name))
    monkeypatch.setattr(Launchers, "_launched", lambda *_: set())

    (use,) = (one for one in usage(clients, REGION, images).uses if one.by.startswith("group "))

    assert (use.place, use.by) == ((REGION, images[1]), "group mixed, by an override of its mixed instances policy")
    assert "--auto-scaling-group-name mixed" in use.hint


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["$(touch /tmp/mine)", "a; reboot", "a`reboot`", "two\nlines"])
def test_what_helps_against_a_group_can_be_pasted_whatever_somebody_called_it(
    clients: Clients, images: list[str], name: str
) -> None:
    # Given a group of somebody who may make groups, which is called as a shell would run it
    template(boto3.client("ec2", REGION), "web", *images)
    boto3.client("autoscaling", REGION).create_auto_scaling_group(
        AutoScalingGroupName=name, MinSize=0, MaxSize=0, AvailabilityZones=[f"{REGION}a"],
        LaunchTemplate={"LaunchTemplateName": "web"},
    )  # fmt: skip

    # When it stands in the way of a revocation
    (use,) = (one for one in usage(clients, REGION, images).uses if one.by.startswith("group "))

    # Then its name is one word in the command, or the command has none
    assert (use.by + use.hint).isprintable()
    command = use.hint.partition(" `")[2].removesuffix("`")
    assert shlex.split(command)[-1:] == [name if name.isprintable() and "`" not in name else "NAME"]


def test_a_parameter_counts_by_what_it_holds_now(clients: Clients, images: list[str]) -> None:
    ssm = boto3.client("ssm", REGION)
    for number in range(12):
        ssm.put_parameter(Name=f"/images/{number}", Value=images[1], Type="String", DataType="aws:ec2:image")
    ssm.put_parameter(Name="/images/0", Value=images[0], Type="String", DataType="aws:ec2:image", Overwrite=True)
    found = usage(clients, REGION, [images[0]])
    assert [(use.by, use.parameter) for use in found.uses] == [("parameter /images/0", "/images/0")]
    assert len(usage(clients, REGION, [images[1]]).uses) == 11


def test_what_can_not_be_asked_is_told_and_the_others_count(
    clients: Clients, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("ec2", REGION).run_instances(ImageId=images[0], MinCount=1, MaxCount=1)
    monkeypatch.setattr(clients, "client", lambda *_, **__: (_ for _ in ()).throw(denied()))
    found = usage(clients, REGION, images)
    assert [use.by.split(" ")[0] for use in found.uses] == ["instance"]
    (told,) = found.unread.items()
    assert told[0] == REGION
    assert [why.partition(":")[0] for why in told[1]] == [
        f"listing Auto Scaling groups in {REGION}", f"listing launch configurations in {REGION}",
        f"listing recipes of Image Builder in {REGION}",
    ]  # fmt: skip


def denied() -> Exception:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - with the one test that needs it

    return ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeAutoScalingGroups")


def test_a_parameter_of_plain_text_counts_as_much(clients: Clients, images: list[str]) -> None:
    # Given names that somebody's Terraform wrote, as text, in a list and in JSON; and a secret
    ssm = boto3.client("ssm", REGION)
    ssm.put_parameter(Name="/theirs/web", Value=images[0], Type="String")
    ssm.put_parameter(Name="/theirs/all", Value=f"{images[1]},{images[0]}", Type="StringList")
    ssm.put_parameter(Name="/theirs/json", Value=f'{{"ami": "{images[0]}"}}', Type="String")
    ssm.put_parameter(Name="/theirs/longer", Value=f"{images[0]}f", Type="String")
    ssm.put_parameter(Name="/theirs/secret", Value=images[0], Type="SecureString")

    # Then what holds the id uses it, and no command would change a list or a JSON for just an id
    found = usage(clients, REGION, [images[0]]).uses
    assert {use.parameter for use in found} == {"/theirs/web", "/theirs/all", "/theirs/json"}
    assert not any("put-parameter" in use.hint for use in found)


def refuse(clients: Clients, monkeypatch: pytest.MonkeyPatch, *calls: str) -> None:
    """Have AWS refuse these calls of SSM, or of EC2."""

    def refused(*_: object, **__: object) -> None:
        raise denied()

    for client in (clients.ssm(REGION), clients.ec2(REGION)):
        plain = client.get_paginator
        monkeypatch.setattr(
            client, "get_paginator", lambda name, plain=plain: refused() if name in calls else plain(name)
        )
        for call in calls:
            if hasattr(client, call):
                monkeypatch.setattr(client, call, refused)


def test_which_parameters_name_an_image_is_asked_of_ec2_where_they_may_not_be_read(
    clients: Clients, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a role that may read no texts, and names with a path and without
    ssm = boto3.client("ssm", REGION)
    for name in ("/theirs/web", "plain", "/short"):
        ssm.put_parameter(Name=name, Value=images[0], Type="String")
    refuse(clients, monkeypatch, "get_parameters")
    called: list[str] = []
    clients.ec2(REGION).meta.events.register("before-call.ec2", lambda model, **_: called.append(model.name))

    # Then they count all the same, at one call for ten images
    many = [f"ami-{number:017x}" for number in range(18)]
    found = usage(clients, REGION, [images[0], *many])
    assert found.unread == {}
    assert {use.parameter for use in found.uses} == {"/theirs/web", "plain", "/short"}
    assert called.count("DescribeImageReferences") == 2


def test_it_is_not_known_whether_parameters_name_an_image_where_ec2_may_not_be_asked_either(
    clients: Clients, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("ssm", REGION).put_parameter(Name="/theirs/web", Value=images[0], Type="String")
    refuse(clients, monkeypatch, "get_parameters", "describe_image_references")
    ((_, told),) = usage(clients, REGION, images).unread.items()
    assert [why.partition(":")[0] for why in told] == [f"listing parameters in {REGION}"]


def test_recipes_of_image_builder_count_by_what_they_build_on(clients: Clients, images: list[str]) -> None:
    builder = boto3.client("imagebuilder", REGION)
    for number in range(30):
        builder.create_image_recipe(
            name="Their Web", semanticVersion=f"1.0.{number}", parentImage=images[0 if number == 29 else 1],
        )  # fmt: skip
    builder.create_container_recipe(
        name="boxes", semanticVersion="2.0.0", containerType="DOCKER", parentImage="amazonlinux:latest",
        targetRepository={"service": "ECR", "repositoryName": "boxes"}, instanceConfiguration={"image": images[0]},
    )  # fmt: skip
    said = {use.by for use in usage(clients, REGION, [images[0]]).uses}
    assert said == {"image recipe their-web 1.0.29", "container recipe boxes 2.0.0"}


# What is looked up in SSM at each launch.

STABLE = "/images/web/stable"


@pytest.fixture
def moved(clients: Clients, images: list[str]) -> list[str]:
    """A parameter that has held the first two of the images in turn, and the labels of their builds on both."""
    ssm = clients.ssm(REGION)
    for number, image in enumerate(images[:2], 1):
        ssm.put_parameter(Name=STABLE, Value=image, Type="String", DataType="aws:ec2:image", Overwrite=number > 1)
        ssm.get_parameters(Names=[STABLE])
        ssm.get_parameters(Names=[STABLE])
        ssm.label_parameter_version(Name=STABLE, ParameterVersion=number, Labels=[f"build-{number}"])
    return images


def arn(name: str) -> str:
    return f"arn:aws:ssm:{REGION}:123456789012:parameter{name}"


@pytest.mark.forms(quick=3)
@pytest.mark.parametrize(
    ("written", "which"),
    [
        (STABLE, 1), (f"{STABLE}:1", 0), (f"{STABLE}:2", 1), (f"{STABLE}:build-1", 0), (f"{STABLE}:build-2", 1),
        (arn(STABLE), 1), (f"{arn(STABLE)}:1", 0), (f"{arn(STABLE)}:build-1", 0),
    ],
)  # fmt: skip
def test_what_looks_an_image_up_at_launch_uses_it(clients: Clients, moved: list[str], written: str, which: int) -> None:
    # Given a template that names a parameter, one of its versions or a label, and a group of no machine
    late = f"resolve:ssm:{written}"
    template(clients.ec2(REGION), "late", late)
    scaling = boto3.client("autoscaling", REGION)
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="late", MinSize=0, MaxSize=0, AvailabilityZones=[f"{REGION}a"],
        LaunchTemplate={"LaunchTemplateName": "late", "Version": "1"},
    )  # fmt: skip
    scaling.create_launch_configuration(LaunchConfigurationName="old", ImageId=late, InstanceType="t3.micro")

    # Then the image that the next launch takes is used by all of them, and no other
    found = usage(clients, REGION, moved)
    assert found.unread == {}
    said = {use.by: use.place[1] for use in found.uses if not use.by.startswith("parameter ")}
    assert said == {
        f"launch template late version 1 (default), by {late}": moved[which],
        f"group late, by version 1 of late with {late}": moved[which],
        f"launch configuration old with {late}": moved[which],
    }
    # And what follows a parameter goes where that goes, which a revocation has to know.
    follows = STABLE if written in (STABLE, arn(STABLE)) else None
    assert {use.parameter for use in found.uses if use.by.startswith("launch template ")} == {follows}
    assert not any(use.is_left_by("any") or use.spare for use in found.uses)


@pytest.mark.parametrize(
    ("written", "follows"),
    [
        (arn(STABLE), STABLE), (f"{arn(STABLE)}:1", None), (f"{arn(STABLE)}:build-1", None),
        (arn(STABLE).replace("123456789012", "210987654321"), None), (arn(STABLE).replace(REGION, "eu-west-1"), None),
        (arn("/web"), None), (STABLE, STABLE), ("web", "web"), ("web:1", None),
    ],
)  # fmt: skip
def test_an_arn_of_this_account_follows_as_its_name_does(clients: Clients, written: str, follows: str | None) -> None:
    aliases = Aliases(clients, REGION)
    assert aliases.follows(f"resolve:ssm:{written}") == (None if written.startswith("arn:") else follows)
    aliases.account = "123456789012"
    assert aliases.follows(f"resolve:ssm:{written}") == follows
    assert aliases.follows("ami-0aa11bb22cc33dd44") is None


def test_many_aliases_are_looked_up_ten_at_a_time_and_once(clients: Clients, moved: list[str]) -> None:
    ssm = clients.ssm(REGION)
    for number in range(11):
        ssm.put_parameter(Name=f"/many/{number}", Value=moved[2], Type="String")
    many = [f"resolve:ssm:/many/{number}:1" for number in range(11)]
    template(clients.ec2(REGION), "web", *many, f"resolve:ssm:{STABLE}:1", f"resolve:ssm:{STABLE}:2", many[0])
    asked: list[list[str]] = []
    ssm.meta.events.register(
        "provide-client-params.ssm.GetParameters", lambda params, **_: asked.append(params["Names"])
    )
    found = usage(clients, REGION, moved)
    late = [names for names in asked if any(":" in name for name in names)]
    assert [len(names) for names in late] == [10, 2, 1]
    assert len({name for names in late for name in names}) == 13
    by_version = [use.place[1] for use in found.uses if use.by.startswith("launch template web version ")]
    assert sorted(by_version) == sorted([moved[2]] * 12 + moved[:2])


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize(
    "written", ["/gone", f"{STABLE}:7", f"{STABLE}:no-such", "/aws/service/ami-amazon-linux-latest/x"]
)
def test_what_nothing_launches_by_is_no_use_and_no_gap(clients: Clients, moved: list[str], written: str) -> None:
    template(clients.ec2(REGION), "late", f"resolve:ssm:{written}")
    found = usage(clients, REGION, moved)
    assert found.unread == {}
    assert not [use for use in found.uses if "late" in use.by]


def test_an_alias_that_may_not_be_read_leaves_everything_unknown_and_the_others_count(
    clients: Clients, moved: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a role that may read the names of the images, as docs/iam gives it, and templates on others' as well
    ssm = clients.ssm(REGION)
    ssm.put_parameter(Name="/theirs/web", Value=moved[0], Type="String")
    written = [f"{STABLE}:1", "/theirs/web", "/theirs/web:1"]
    template(clients.ec2(REGION), "late", *(f"resolve:ssm:{one}" for one in written))
    plain = ssm.get_parameters

    def judged(*, Names: Sequence[str]) -> Any:  # noqa: N803 - boto3's
        if any("/theirs/" in name for name in Names):
            raise denied()
        return plain(Names=Names)

    monkeypatch.setattr(ssm, "get_parameters", judged)

    # Then the pinned one may be any image: what it follows counts by the list of parameters, as EC2 tells it
    found = usage(clients, REGION, moved)
    ((_, told),) = found.unread.items()
    assert [why.partition(":/")[2].partition(" ")[0] for why in told] == ["theirs/web:1"]
    said = {use.by: use.place[1] for use in found.uses}
    assert said[f"launch template late version 1 (default), by resolve:ssm:{STABLE}:1"] == moved[0]
    assert said["parameter /theirs/web"] == moved[0]


# Fleets: what they launch in place of what ends.


def spot_config(**asked: Any) -> dict[str, Any]:
    role = "arn:aws:iam::123456789012:role/fleet"
    return {"TargetCapacity": 0, "IamFleetRole": role, "AllocationStrategy": "lowestPrice", **asked}


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize(("version", "which"), [("2", 1), ("$Latest", 2), ("$Default", 0)])
def test_a_fleet_counts_by_the_version_that_it_names(
    clients: Clients, images: list[str], version: str, which: int
) -> None:
    # Given a fleet by a template of ours, one version of which is spare, and no machine
    ec2: Any = clients.ec2(REGION)
    template(ec2, "web", *images, owner=FLEET)
    named = [{"LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": version}}]
    none = {"TotalTargetCapacity": 0, "DefaultTargetCapacityType": "spot"}
    fleet = ec2.create_fleet(Type="maintain", LaunchTemplateConfigs=named, TargetCapacitySpecification=none)["FleetId"]
    gone = ec2.create_fleet(Type="maintain", LaunchTemplateConfigs=named, TargetCapacitySpecification=none)["FleetId"]
    ec2.delete_fleets(FleetIds=[gone], TerminateInstances=False)

    # Then what it launches in place of what ends is used by it, and one that is gone uses nothing
    found = usage(clients, REGION, images)
    assert found.unread == {}
    by_fleets = {use.by.partition(",")[0]: use.place[1] for use in found.uses if "leet " in use.by}
    assert by_fleets == {f"EC2 Fleet {fleet}": images[which]}
    # And no use of its goes with a version
    assert not any(use.is_left_by("any") or use.version for use in found.uses if "leet " in use.by)


def test_what_a_fleet_says_itself_counts_and_what_it_can_not_launch_any_more_does_not(
    clients: Clients, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given what EC2 tells of fleets, by the shapes of its own model: moto drops templates, and makes no overrides
    ec2 = clients.ec2(REGION)
    web = template(ec2, "web", *images)
    by_template = [{"LaunchTemplateSpecification": {"LaunchTemplateId": web, "Version": "3"}}]
    of_gone = [{"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-0123456789abcdef0", "Version": "1"}}]
    overridden = [{**of_gone[0], "Overrides": [{"InstanceType": "t3.micro", "ImageId": images[0]}]}]
    specified = [{"ImageId": images[1], "InstanceType": "t3.micro"}]
    of_spot = spot_config(LaunchSpecifications=specified, LaunchTemplateConfigs=[*of_gone, *by_template])
    fleet = {"FleetId": "fleet-1", "FleetState": "active", "LaunchTemplateConfigs": overridden}
    told: dict[str, Any] = {
        "describe_fleets": {"Fleets": [fleet]},
        "describe_spot_fleet_requests": {
            "SpotFleetRequestConfigs": [
                {"SpotFleetRequestId": f"sfr-{state}", "SpotFleetRequestState": state,
                 "SpotFleetRequestConfig": of_spot}
                for state in ("active", "cancelled", "cancelled_running", "failed")
            ]
        },
    }  # fmt: skip
    for call, answer in told.items():
        shape = ec2.meta.service_model.operation_model(ec2.meta.method_to_api_mapping[call]).output_shape
        assert shape is not None
        validate_parameters(answer, shape)
    plain = ec2.get_paginator
    pages = {call: SimpleNamespace(paginate=lambda answer=answer: [answer]) for call, answer in told.items()}
    monkeypatch.setattr(ec2, "get_paginator", lambda name: pages.get(name) or plain(name))

    found = usage(clients, REGION, images)

    assert found.unread == {}
    assert {(use.by, use.place[1]) for use in found.uses if "leet " in use.by} == {
        ("EC2 Fleet fleet-1, by an override", images[0]), ("Spot Fleet request sfr-active", images[1]),
        (f"Spot Fleet request sfr-active, by version 3 of {web}", images[2]),
    }  # fmt: skip


# How often each list is asked for.


def called(clients: Clients) -> list[str]:
    """The operations of EC2 that are called from here on."""
    names: list[str] = []
    clients.ec2(REGION).meta.events.register("before-call.ec2", lambda model, **_: names.append(model.name))
    return names


def test_versions_of_templates_that_have_few_are_told_by_one_listing(clients: Clients, images: list[str]) -> None:
    # Given twenty templates of one version, one of two, one whose default is its second, and one of three
    ec2 = boto3.client("ec2", REGION)
    for number in range(20):
        template(ec2, f"single-{number}", images[0])
    template(ec2, "double", images[0], images[1])
    template(ec2, "moved-on", images[2], images[1])
    ec2.modify_launch_template(LaunchTemplateName="moved-on", DefaultVersion="2")
    template(ec2, "triple", images[1], images[2], images[1])
    names = called(clients)

    # When it is asked who uses the images
    found = usage(clients, REGION, images)

    # Then every version counts, once, and only the templates that may have others are asked one by one
    assert found.unread == {}
    versions = [(str(use.parameter).removeprefix("launch template "), use.version.number, use.place[1])
                for use in found.uses if use.version is not None]  # fmt: skip
    assert sorted(versions) == sorted([
        *((f"single-{number}", 1, images[0]) for number in range(20)),
        ("double", 1, images[0]), ("double", 2, images[1]), ("moved-on", 1, images[2]), ("moved-on", 2, images[1]),
        ("triple", 1, images[1]), ("triple", 2, images[2]), ("triple", 3, images[1]),
    ])  # fmt: skip
    assert names.count("DescribeLaunchTemplateVersions") == 3


def test_a_version_that_came_while_templates_were_listed_hides_no_other(
    clients: Clients, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two templates of one version when they are listed, and of three, the newest of which is the default, then
    ec2: Any = clients.ec2(REGION)
    for name in ("web", "api"):
        template(ec2, name, images[0], images[1], images[2])
        ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion="3")
    listed = ec2.describe_launch_templates()["LaunchTemplates"]
    before = [{**one, "DefaultVersionNumber": 1, "LatestVersionNumber": 1} for one in listed]
    plain = ec2.get_paginator
    pages = SimpleNamespace(paginate=lambda **_: [{"LaunchTemplates": before}])
    monkeypatch.setattr(ec2, "get_paginator", lambda name: pages if name.endswith("templates") else plain(name))

    assert by(clients, *images) == {(one, "launch") for one in images}


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize("written", ["nothing", "another", "wanted", "alias"])
def test_fleets_that_launch_by_templates_alone_are_asked_for_where_a_template_launches_an_image(
    clients: Clients, images: list[str], written: str
) -> None:
    ec2 = boto3.client("ec2", REGION)
    launched = {"another": images[1], "wanted": images[0], "alias": "resolve:ssm:/images/none"}
    if written in launched:
        template(ec2, "web", launched[written])
    names = called(clients)
    usage(clients, REGION, images[:1])
    assert ("DescribeFleets" in names) == (written in {"wanted", "alias"})
    assert "DescribeSpotFleetRequests" in names


def test_fleets_are_asked_for_where_templates_can_not_be_listed(
    clients: Clients, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2 = clients.ec2(REGION)
    plain = ec2.get_paginator
    monkeypatch.setattr(ec2, "get_paginator", lambda name: _refused(name) if "templates" in name else plain(name))
    names = called(clients)
    assert usage(clients, REGION, images).unread
    assert "DescribeFleets" in names
