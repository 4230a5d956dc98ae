"""What every publisher promises, asked of the one in memory and of AWS (moto, with what the sandbox adds to it)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import boto3
import botocore.session
import pytest
from botocore.config import Config
from moto.autoscaling.models import FakeAutoScalingGroup, InstanceState
from moto.autoscaling.responses import AutoScalingResponse
from moto.ec2.models import ec2_backends
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ssm.models import SimpleSystemManagerBackend

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.iam import matches
from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.observation import Group
from reconciler.model.publish import AutoScalingGroup
from reconciler.ports.publisher import Publisher
from reconciler.registries.ec2.groups import Consumers
from reconciler.registries.ec2.parameters import DATA_TYPE, MOST_LABELLED, Parameters
from reconciler.sandbox import groups as groups_overlay
from reconciler.sandbox import parameters as overlay
from reconciler.sandbox import refreshes
from reconciler.sandbox import templates as templates_overlay
from tests.doubles.publisher import MemoryPublisher

HOME, FLEET, ACCOUNT = "us-east-1", "acme/images", "123456789012"
NAME = "/images/web/stable"
NOTHING: Mapping[str, Any] = {}
LAUNCH = "replace_autoscaling_group_instances"
OURS = [{"Key": "reconciler:fleet", "Value": FLEET}]
IAM = Path(__file__).parents[3] / "docs/iam"


class Bench(Protocol):
    publisher: Publisher

    def image(self) -> str: ...
    def seed(self, name: str, value: str, *, ours: bool = False, data_type: str = DATA_TYPE) -> None: ...
    def delete(self, name: str) -> None: ...
    def refuse(self, artifact_id: str) -> None: ...
    def template(self, name: str, image: str, *, ours: bool = True) -> None: ...
    def group(self, name: str, *, version: str = "1", ours: bool = True) -> None:
        """Two instances by a version of the template `web`."""

    def refresh(self, name: str, version: int) -> str:
        """Somebody else begins a refresh."""

    def succeed(self, name: str) -> None: ...
    def fail(self, name: str) -> None:
        """What is under way fails and turns back, or has been turning back, to the end."""


class MemoryBench:
    def __init__(self) -> None:
        self.memory = MemoryPublisher(FLEET)
        self.publisher: Publisher = self.memory
        self._made = 0

    def image(self) -> str:
        self._made += 1
        return f"ami-{self._made:017x}"

    def seed(self, name: str, value: str, *, ours: bool = False, data_type: str = DATA_TYPE) -> None:
        misfit = f"has the data type {data_type}" if data_type != DATA_TYPE else None
        self.memory.seed(HOME, name, value, owner=FLEET if ours else None, misfit=misfit)

    def delete(self, name: str) -> None:
        del self.memory.held[HOME, name]

    def refuse(self, artifact_id: str) -> None:
        self.memory.refuses.add(artifact_id)

    def template(self, name: str, image: str, *, ours: bool = True) -> None:
        self.memory.template(HOME, name, owner=FLEET if ours else None, image=image)

    def group(self, name: str, *, version: str = "1", ours: bool = True) -> None:
        self.memory.group(HOME, name, template="web", version=version, owner=FLEET if ours else None)

    def refresh(self, name: str, version: int) -> str:
        return self.memory.refresh(HOME, name, version=version)

    def succeed(self, name: str) -> None:
        self.memory.end_refresh(HOME, name)

    def fail(self, name: str) -> None:
        self.memory.end_refresh(HOME, name, "turned-back", why="instances do not become healthy")


class SsmBench:
    def __init__(self) -> None:
        self.slept: list[float] = []
        self.clients = Clients(AwsSettings(), attempts=1)
        clock = Clock(sleep=self.slept.append)
        self.publisher: Publisher = Consumers(self.clients, fleet=FLEET, clock=clock, polling=Polling(first=1))
        self.ssm: Any = boto3.client("ssm", region_name=HOME)
        self.ec2 = boto3.client("ec2", region_name=HOME)
        self.scaling: Any = boto3.client("autoscaling", region_name=HOME)

    def image(self) -> str:
        return self.ec2.register_image(Name=f"web-{len(self.ec2.describe_images(Owners=['self'])['Images'])}")[
            "ImageId"
        ]

    def seed(self, name: str, value: str, *, ours: bool = False, data_type: str = DATA_TYPE) -> None:
        there = self.ssm.get_parameters(Names=[name])["Parameters"]
        tags = {"Overwrite": True} if there else {"Tags": OURS if ours else []}
        self.ssm.put_parameter(Name=name, Value=value, Type="String", DataType=data_type, **tags)
        for _ in range(2):
            self.ssm.get_parameters(Names=[name])

    def delete(self, name: str) -> None:
        self.ssm.delete_parameter(Name=name)

    def refuse(self, artifact_id: str) -> None:
        self.ec2.deregister_image(ImageId=artifact_id)

    def template(self, name: str, image: str, *, ours: bool = True) -> None:
        make: Any = self.ec2.create_launch_template
        tags = [{"ResourceType": "launch-template", "Tags": OURS}] if ours else []
        make(
            LaunchTemplateName=name, TagSpecifications=tags, VersionDescription="by hand",
            LaunchTemplateData={"ImageId": image, "InstanceType": "t4g.micro", "KeyName": "deploy"},
        )  # fmt: skip

    def group(self, name: str, *, version: str = "1", ours: bool = True, more: Mapping[str, Any] = NOTHING) -> None:
        tags = [{**one, "ResourceId": name, "ResourceType": "auto-scaling-group"} for one in OURS] if ours else []
        named = {"LaunchTemplate": {"LaunchTemplateName": "web", "Version": version}}
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=name, MinSize=0, MaxSize=4, AvailabilityZones=[f"{HOME}a"], Tags=tags,
            **{"DesiredCapacity": 2, **(more or named)},
        )  # fmt: skip

    def refresh(self, name: str, version: int) -> str:
        desired = {"LaunchTemplate": {"LaunchTemplateName": "web", "Version": str(version)}}
        begun = self.scaling.start_instance_refresh(AutoScalingGroupName=name, DesiredConfiguration=desired)
        return str(begun["InstanceRefreshId"])

    def succeed(self, name: str) -> None:
        while self.publisher.groups(HOME, [name])[name].under_way is not None:
            pass

    def fail(self, name: str) -> None:
        refreshes.fail(name)
        self.succeed(name)


@pytest.fixture(params=["memory", "ssm"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return MemoryBench()
    made: SsmBench = request.getfixturevalue("ssm")
    return made


@pytest.fixture
def ssm(moto: str, monkeypatch: pytest.MonkeyPatch) -> SsmBench:
    assert moto
    return as_in_aws(monkeypatch)


def as_in_aws(monkeypatch: pytest.MonkeyPatch) -> SsmBench:
    """The server with what the sandbox adds to moto, for one test."""
    for method in ("put_parameter", "get_parameter", "get_parameters"):
        monkeypatch.setattr(
            SimpleSystemManagerBackend, method, getattr(SimpleSystemManagerBackend, method)
        )  # restored after
    overlay.install()
    for method in ("create_launch_template_version", "describe_launch_templates"):
        monkeypatch.setattr(LaunchTemplates, method, getattr(LaunchTemplates, method))
    templates_overlay.install()
    monkeypatch.setattr(FakeAutoScalingGroup, LAUNCH, getattr(FakeAutoScalingGroup, LAUNCH))
    monkeypatch.setattr(InstanceState, "launch_template", InstanceState.launch_template)
    for handler in refreshes.HANDLERS:
        monkeypatch.setattr(AutoScalingResponse, handler.__name__, None, raising=False)
    groups_overlay.install()
    refreshes.install()
    return SsmBench()


def publish(bench: Bench, name: str, artifact_id: str) -> int:
    version = bench.publisher.put(HOME, name, artifact_id, description="web stable: build 1")
    bench.publisher.confirm(HOME, name, artifact_id, version=version)
    return version


def test_what_is_published_is_found_and_ours(bench: Bench) -> None:
    image = bench.image()
    assert publish(bench, NAME, image) == 1
    found = bench.publisher.read(HOME, [NAME, "/images/web/candidate"])
    assert list(found) == [NAME]
    assert (found[NAME].value, found[NAME].version, found[NAME].misfit) == (image, 1, None)
    assert bench.publisher.is_ours(HOME, NAME)


def test_it_is_written_anew_with_the_next_version(bench: Bench) -> None:
    publish(bench, NAME, bench.image())
    newer = bench.image()
    assert publish(bench, NAME, newer) == 2
    assert bench.publisher.read(HOME, [NAME])[NAME].value == newer


def test_what_was_written_may_not_be_there_at_once(bench: Bench) -> None:
    bench.publisher.put(HOME, NAME, bench.image(), description="")
    assert bench.publisher.read(HOME, [NAME]) == {}


def test_what_is_never_taken_is_an_error_and_what_was_there_stays(bench: Bench) -> None:
    first, gone = bench.image(), bench.image()
    publish(bench, NAME, first)
    bench.refuse(gone)
    with pytest.raises(Terminal, match="did not take"):
        publish(bench, NAME, gone)
    assert bench.publisher.read(HOME, [NAME])[NAME].value == first


def test_more_than_a_call_takes_are_read_all(bench: Bench) -> None:
    images = {f"/images/{number}": bench.image() for number in range(12)}
    for name, image in images.items():
        publish(bench, name, image)
    assert {name: one.value for name, one in bench.publisher.read(HOME, sorted(images)).items()} == images


def test_somebody_elses_is_left_alone(bench: Bench) -> None:
    theirs, ours = bench.image(), bench.image()
    bench.seed(NAME, theirs)
    assert not bench.publisher.is_ours(HOME, NAME)
    with pytest.raises(Terminal, match="is not written"):
        bench.publisher.put(HOME, NAME, ours, description="")
    with pytest.raises(Terminal, match="is not deleted"):
        bench.publisher.remove(HOME, NAME)
    assert bench.publisher.read(HOME, [NAME])[NAME].value == theirs


def test_another_data_type_is_told_and_never_written(bench: Bench) -> None:
    bench.seed(NAME, "ami-1", ours=True, data_type="text")
    held = bench.publisher.read(HOME, [NAME])[NAME]
    assert held.misfit == "has the data type text"
    with pytest.raises(Terminal, match="has the data type text"):
        bench.publisher.put(HOME, NAME, bench.image(), description="")


def test_what_is_removed_is_gone_and_may_be_removed_again(bench: Bench) -> None:
    publish(bench, NAME, bench.image())
    for _ in range(2):
        bench.publisher.remove(HOME, NAME)
    assert bench.publisher.read(HOME, [NAME]) == {}
    assert bench.publisher.is_ours(HOME, NAME), "what is not there is in nobody's way"


def test_what_somebody_writes_in_between_is_not_taken_for_ours(bench: Bench) -> None:
    image, theirs = bench.image(), bench.image()
    publish(bench, NAME, bench.image())
    bench.publisher.put(HOME, NAME, image, description="")
    for _ in range(2):
        bench.publisher.read(HOME, [NAME])
    bench.seed(NAME, theirs)
    with pytest.raises(Transient, match=f"written by somebody else meanwhile: {theirs}"):
        bench.publisher.confirm(HOME, NAME, image, version=2)


# Launch templates.

WORDS = "web stable: build 20261122T101530Z-1a2b3c4"


def test_a_version_is_made_of_the_default_one_and_once(bench: Bench) -> None:
    first, image = bench.image(), bench.image()
    bench.template("web", first)
    (template,) = bench.publisher.templates(HOME, ["web", "other"]).values()
    assert (template.default, template.launches, template.ours, template.misfit) == (1, first, True, None)
    for _ in range(2):
        assert bench.publisher.add_version(HOME, template, image, description=WORDS) == 2
    (now,) = bench.publisher.templates(HOME, ["web"]).values()
    assert [(one.number, one.image, one.says) for one in now.versions] == [(1, first, "by hand"), (2, image, WORDS)]
    made = now.of("20261122T101530Z-1a2b3c4", image, recorded=None)
    assert (made.number if made else None, now.default) == (2, 1)


def test_the_default_is_moved_there_and_back(bench: Bench) -> None:
    bench.template("web", bench.image())
    (template,) = bench.publisher.templates(HOME, ["web"]).values()
    image = bench.image()
    number = bench.publisher.add_version(HOME, template, image, description=WORDS)
    for version in (number, 1):
        bench.publisher.set_default(HOME, template, version)
        assert bench.publisher.templates(HOME, ["web"])["web"].default == version


def test_somebody_elses_template_is_left_alone(bench: Bench) -> None:
    image = bench.image()
    bench.template("web", image, ours=False)
    (template,) = bench.publisher.templates(HOME, ["web"]).values()
    assert not template.ours
    with pytest.raises(Terminal, match="is not changed"):
        bench.publisher.add_version(HOME, template, image, description=WORDS)
    with pytest.raises(Terminal, match="is not changed"):
        bench.publisher.set_default(HOME, template, 1)
    assert bench.publisher.templates(HOME, ["web"])["web"] == template


def test_one_that_looks_its_ami_up_late_is_told(ssm: SsmBench) -> None:
    ssm.template("web", "resolve:ssm:/images/web/stable")
    (template,) = ssm.publisher.templates(HOME, ["web"]).values()
    assert "its default version 1 takes resolve:ssm:/images/web/stable" in (template.misfit or "")


def test_all_but_the_ami_is_as_in_the_default_version(ssm: SsmBench) -> None:
    ssm.template("web", ssm.image())
    (template,) = ssm.publisher.templates(HOME, ["web"]).values()
    number = ssm.publisher.add_version(HOME, template, ssm.image(), description=WORDS)
    read: Any = ssm.ec2.describe_launch_template_versions
    (version,) = read(LaunchTemplateName="web", Versions=[str(number)])["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"]["KeyName"] == "deploy"


def test_what_only_says_that_it_is_of_a_build_is_not_and_what_is_as_the_default_is(ssm: SsmBench) -> None:
    image = ssm.image()
    ssm.template("web", ssm.image())
    make: Any = ssm.ec2.create_launch_template_version
    for data in ({"ImageId": image, "UserData": "Y3VybCBldmls"}, {"ImageId": image}):
        make(LaunchTemplateName="web", SourceVersion="1", VersionDescription=WORDS, LaunchTemplateData=data)
        (now,) = ssm.publisher.templates(HOME, ["web"]).values()
        made = now.of("20261122T101530Z-1a2b3c4", image, recorded=None)
        assert (made.number if made else None) == (None if "UserData" in data else 3)


def test_another_architecture_than_that_of_its_type_is_told_and_the_same_is_not(ssm: SsmBench) -> None:
    images = [ssm.image(), ssm.image()]
    for image, architecture in zip(images, ("x86_64", "arm64"), strict=True):
        ec2_backends[ACCOUNT][HOME].amis[image].architecture = architecture  # moto takes none from RegisterImage
    ssm.template("web", images[1])
    (template,) = ssm.publisher.templates(HOME, ["web"]).values()
    told = f"it launches on t4g.micro (arm64), and {images[0]} is x86_64: give it another instance type"
    assert [ssm.publisher.unfit(HOME, template, one) for one in images] == [told, None]


def test_a_version_is_deleted_once_nobody_gets_it_by_default(bench: Bench) -> None:
    first, image = bench.image(), bench.image()
    bench.template("web", first)
    (template,) = bench.publisher.templates(HOME, ["web"]).values()
    bench.publisher.add_version(HOME, template, image, description=WORDS)
    for number, artifact in ((1, first), (2, first)):  # the default; one that launches something else
        with pytest.raises(Terminal, match="stays"):
            bench.publisher.remove_version(HOME, "web", number, artifact)
    for _ in range(2):
        bench.publisher.remove_version(HOME, "web", 2, image)
        assert [one.number for one in bench.publisher.templates(HOME, ["web"])["web"].versions] == [1]
    bench.publisher.remove_version(HOME, "gone", 2, image)


def test_a_version_of_somebody_elses_template_stays(bench: Bench) -> None:
    image = bench.image()
    bench.template("web", image, ours=False)
    with pytest.raises(Terminal, match="is not changed"):
        bench.publisher.remove_version(HOME, "web", 1, image)
    assert len(bench.publisher.templates(HOME, ["web"])["web"].versions) == 1


def test_the_calls_on_templates_are_those_of_ec2s_model() -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    shapes = [model.operation_model(one).input_shape for one in ("CreateLaunchTemplateVersion", "ModifyLaunchTemplate")]
    made, modified = (one.members for one in shapes if one is not None)
    assert {"LaunchTemplateId", "SourceVersion", "VersionDescription", "LaunchTemplateData", "ClientToken"} <= set(made)
    assert made["VersionDescription"].metadata["max"] == 255
    assert "DefaultVersion" in modified


# Auto Scaling groups.

SETTINGS = AutoScalingGroup(name="web")
WAITING = AutoScalingGroup(name="web", checkpoints=(50,))


def versioned(bench: Bench) -> tuple[str, str]:
    """A template `web` with two versions; their images."""
    images = bench.image(), bench.image()
    bench.template("web", images[0])
    (template,) = bench.publisher.templates(HOME, ["web"]).values()
    assert bench.publisher.add_version(HOME, template, images[1], description=WORDS) == 2
    return images


def told(bench: Bench, name: str = "web") -> Group:
    return bench.publisher.groups(HOME, [name])[name]


def test_a_group_is_told_with_what_it_launches_and_runs(bench: Bench) -> None:
    versioned(bench)
    bench.group("web", version="2")
    bench.group("late", version="$Latest", ours=False)
    found = bench.publisher.groups(HOME, ["web", "late", "other"])
    assert {name: (one.name, one.ours, one.version, one.says) for name, one in found.items()} == {
        "web": ("web", True, 2, "2"), "late": ("late", False, None, "$Latest"),
    }  # fmt: skip
    (template,) = bench.publisher.templates(HOME, ["web"]).values()
    assert {one.template for one in found.values()} == {template.id}
    assert {name: one.runs for name, one in found.items()} == {"web": (2, 2), "late": (2, 2)}
    assert (found["web"].runs, found["web"].refreshes, found["web"].under_way) == ((2, 2), (), None)
    assert bench.publisher.groups(HOME, []) == {}


def test_a_refresh_is_under_way_until_the_group_runs_another_version(bench: Bench) -> None:
    versioned(bench)
    bench.group("web")
    begun = bench.publisher.begin_refresh(HOME, told(bench), 2, SETTINGS)
    group = told(bench)
    active = group.under_way
    assert active is not None
    assert (active.id, active.template, active.version, active.course) == (begun, group.template, 2, "running")
    assert (group.version, active.ended) == (1, None)
    bench.succeed("web")
    group = told(bench)
    assert (group.version, group.says, group.runs, group.under_way) == (2, "2", (2, 2), None)
    (ended,) = group.refreshes
    assert (ended.id, ended.course, ended.percent, ended.ended is not None) == (begun, "done", 100, True)


def test_one_that_fails_turns_back_by_itself(bench: Bench) -> None:
    versioned(bench)
    bench.group("web")
    bench.publisher.begin_refresh(HOME, told(bench), 2, SETTINGS)
    bench.fail("web")
    group = told(bench)
    assert (group.version, group.runs, group.refreshes[0].course) == (1, (1, 1), "turned-back")
    assert "do not become healthy" in group.refreshes[0].why


def test_one_that_is_under_way_is_turned_back_and_once(bench: Bench) -> None:
    versioned(bench)
    bench.group("web")
    begun = bench.publisher.begin_refresh(HOME, told(bench), 2, WAITING)
    bench.publisher.turn_back(HOME, told(bench), "another")
    assert (active := told(bench).under_way) is not None
    assert active.course == "running", "a refresh that was not named is let be"
    for _ in range(2):
        bench.publisher.turn_back(HOME, told(bench), begun)
    assert told(bench).refreshes[0].course in ("turning-back", "turned-back")
    while told(bench).under_way is not None:
        bench.fail("web")
    bench.publisher.turn_back(HOME, told(bench), begun)
    assert (told(bench).refreshes[0].course, told(bench).runs) == ("turned-back", (1, 1))


def test_there_is_one_at_a_time_and_the_other_is_named(bench: Bench) -> None:
    versioned(bench)
    bench.group("web")
    theirs = bench.refresh("web", 1)
    with pytest.raises(Transient, match=f"refresh {theirs} is under way"):
        bench.publisher.begin_refresh(HOME, told(bench), 2, SETTINGS)
    bench.succeed("web")
    ours = bench.publisher.begin_refresh(HOME, told(bench), 2, SETTINGS)
    assert [one.id for one in told(bench).refreshes] == [ours, theirs], "newest first"


def test_somebody_elses_group_is_left_alone(bench: Bench) -> None:
    versioned(bench)
    bench.group("web", ours=False)
    theirs, group = bench.refresh("web", 2), told(bench)
    with pytest.raises(Terminal, match="is not refreshed"):
        bench.publisher.begin_refresh(HOME, group, 2, SETTINGS)
    with pytest.raises(Terminal, match="is not refreshed"):
        bench.publisher.turn_back(HOME, group, theirs)
    assert (active := told(bench).under_way) is not None
    assert active.course == "running"


def test_a_group_that_names_no_number_does_not_fit_and_one_that_does_fits(bench: Bench) -> None:
    _, image = versioned(bench)
    names = {"late": "$Latest", "default": "$Default", "web": "1"}
    for name, version in names.items():
        bench.group(name, version=version)
    misfits = {name: bench.publisher.group_misfit(HOME, told(bench, name), image) for name in names}
    assert misfits["web"] is None
    assert [name for name, why in misfits.items() if "it launches version $" in (why or "")] == ["late", "default"]


# What SSM alone has.


def test_the_data_type_and_the_build_are_said_of_the_parameter(ssm: SsmBench) -> None:
    publish(ssm, NAME, ssm.image())
    (one,) = ssm.ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [NAME]}])["Parameters"]
    assert (one["DataType"], one["Type"], one["Description"]) == (DATA_TYPE, "String", "web stable: build 1")


def test_one_that_was_deleted_while_it_was_overwritten_gets_its_tag(ssm: SsmBench, monkeypatch: Any) -> None:
    publish(ssm, NAME, ssm.image())
    plain = Parameters._refuse_others

    def deleted_meanwhile(self: Parameters, location: str, name: str, *, what: str) -> None:
        plain(self, location, name, what=what)
        ssm.delete(NAME)

    monkeypatch.setattr(Parameters, "_refuse_others", deleted_meanwhile)
    assert publish(ssm, NAME, ssm.image()) == 1
    assert ssm.publisher.is_ours(HOME, NAME)


def test_without_the_right_to_look_at_images_it_fails_and_asks_for_it(ssm: SsmBench) -> None:
    overlay.checked_by_its_caller(allowed=False)
    try:
        with pytest.raises(Terminal) as caught:
            publish(ssm, NAME, ssm.image())
    finally:
        overlay.checked_by_its_caller(allowed=True)
    assert "ec2:DescribeImages" in caught.value.hint[0]
    assert sum(ssm.slept) >= 60


@pytest.mark.long
def test_the_hundredth_version_is_followed_by_others_and_a_label_in_the_way_is_told(ssm: SsmBench) -> None:
    images = [ssm.image(), ssm.image()]
    for number in range(101):
        publish(ssm, NAME, images[number % 2])
    history = ssm.ssm.get_parameter_history(Name=NAME, MaxResults=50)
    oldest = min(one["Version"] for one in history["Parameters"])
    assert oldest == 2, "no label of ours keeps a version"
    ssm.ssm.label_parameter_version(Name=NAME, ParameterVersion=oldest, Labels=["somebodys"])
    with pytest.raises(Terminal, match="its oldest version has a label") as caught:
        publish(ssm, NAME, images[1])
    assert any("unlabel-parameter-version" in line for line in caught.value.hint)


def test_a_region_that_refuses_is_an_error_and_never_an_absence(ssm: SsmBench, aws_environment: Any) -> None:
    aws_environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = Parameters(Clients(AwsSettings(), attempts=1), fleet=FLEET)
    for ask in (lambda: away.read(HOME, [NAME]), lambda: away.is_ours(HOME, NAME)):
        with pytest.raises(Transient, match="can't be reached"):
            ask()


def test_all_that_it_calls_is_what_the_policies_allow_and_ssm_has(ssm: SsmBench, monkeypatch: Any) -> None:
    called: set[str] = set()
    plain: Any = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined] # private

    def record(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        called.add(f"{self.meta.service_model.service_name}:{operation}")
        return plain(self, operation, arguments)

    images = [ssm.image(), ssm.image()]
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", record)
    for image in images:
        publish(ssm, NAME, image)
    for number in range(MOST_LABELLED + 2):
        version = ssm.publisher.put(HOME, NAME, images[0], description="web stable")
        ssm.publisher.confirm(HOME, NAME, images[0], version=version)
        ssm.publisher.label(HOME, NAME, version=version, build=build_at(number))
    ssm.publisher.remove(HOME, NAME)
    assert {one for one in called if one.startswith("ssm:")} == {
        one for one in allowed("publish.json") if one.startswith("ssm:")
    }
    called.clear()
    ssm.template("web", images[0])
    called.clear()
    (template,) = ssm.publisher.templates(HOME, ["web"]).values()
    ssm.publisher.unfit(HOME, template, images[1])
    ssm.publisher.set_default(HOME, template, ssm.publisher.add_version(HOME, template, images[1], description=WORDS))
    versioned_by = set(called)
    ssm.group("web", version=str(template.default + 1))
    called.clear()
    ssm.publisher.group_misfit(HOME, told(ssm), images[1])
    ssm.publisher.turn_back(HOME, told(ssm), ssm.publisher.begin_refresh(HOME, told(ssm), 1, WAITING))
    ssm.publisher.remove_version(HOME, "web", 1, images[0])
    lists = {
        "ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions", "ec2:DescribeImages",
        "autoscaling:DescribeAutoScalingGroups",
    }  # fmt: skip
    # Auto Scaling tries a launch with the rights of whoever asks for a refresh.
    wanted = {one for one in allowed("publish.json") if not one.startswith("ssm:")} - {"ec2:RunInstances"}
    assert (versioned_by | called) - lists == wanted
    assert lists <= (versioned_by | called) & allowed("plan.json")
    called.clear()
    ssm.publisher.read(HOME, [NAME])
    ssm.publisher.is_ours(HOME, NAME)
    told(ssm)
    read = {"ec2:DescribeInstanceTypes", "autoscaling:DescribeAutoScalingGroups"}
    assert called - read == allowed("publish-read.json") - read


def test_every_error_that_is_known_here_is_one_of_ssms() -> None:
    model = botocore.session.get_session().get_service_model("ssm")
    errors = {one.name for one in model.operation_model("PutParameter").error_shapes}
    assert {"ParameterMaxVersionLimitExceeded", "ParameterAlreadyExists", "TooManyUpdates"} <= errors
    assert "InvalidResourceId" in {one.name for one in model.operation_model("ListTagsForResource").error_shapes}
    assert "ParameterNotFound" in {one.name for one in model.operation_model("DeleteParameter").error_shapes}


def allowed(policy: str) -> set[str]:
    statements = json.loads((IAM / policy).read_text())["Statement"]
    return {
        action
        for one in statements
        for named in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
        for action in meant(named)
    }


def meant(named: str) -> list[str]:
    """The calls that a policy's action stands for: several, where it is a pattern."""
    service, _, pattern = named.partition(":")
    if "*" not in pattern:
        return [named]
    calls = botocore.session.get_session().get_service_model(service).operation_names
    return [f"{service}:{call}" for call in calls if matches(call.lower(), pattern.lower())]


def build_at(number: int) -> str:
    return f"20260101T{number:06d}Z-1a2b3c4"


@pytest.mark.long
def test_each_version_is_found_by_its_build_and_the_hundredth_and_more_can_be_written(ssm: SsmBench) -> None:
    # Given a parameter that is published daily, for longer than SSM keeps versions
    images = [ssm.image() for _ in range(3)]
    for number in range(1, 131):
        artifact = images[number % 3]
        version = ssm.publisher.put(HOME, NAME, artifact, description="web stable")
        ssm.publisher.confirm(HOME, NAME, artifact, version=version)
        ssm.publisher.label(HOME, NAME, version=version, build=build_at(number))

    # Then the newest builds are found by their labels, each with what it held
    for number in (130, 129, 130 - MOST_LABELLED + 1):
        (found,) = ssm.ssm.get_parameters(Names=[f"{NAME}:build-{build_at(number)}"])["Parameters"]
        assert (found["Version"], found["Value"]) == (number, images[number % 3])
    labelled = [
        one["Version"]
        for page in ssm.ssm.get_paginator("get_parameter_history").paginate(Name=NAME)
        for one in page["Parameters"]
        if one.get("Labels")
    ]
    assert sorted(labelled) == list(range(130 - MOST_LABELLED + 1, 131))


def test_a_build_that_is_published_again_is_found_at_its_newest_version_and_others_labels_stay(ssm: SsmBench) -> None:
    image = ssm.image()
    for number in (1, 2, 3):
        version = ssm.publisher.put(HOME, NAME, image, description="web stable")
        ssm.publisher.confirm(HOME, NAME, image, version=version)
        ssm.publisher.label(HOME, NAME, version=version, build=build_at(1 if number == 3 else number))
    ssm.ssm.label_parameter_version(Name=NAME, ParameterVersion=1, Labels=["theirs"])
    (found,) = ssm.ssm.get_parameters(Names=[f"{NAME}:build-{build_at(1)}"])["Parameters"]
    assert found["Version"] == 3
    for number in range(4, MOST_LABELLED + 4):
        version = ssm.publisher.put(HOME, NAME, image, description="web stable")
        ssm.publisher.confirm(HOME, NAME, image, version=version)
        ssm.publisher.label(HOME, NAME, version=version, build=build_at(number))
    (first, *_) = ssm.ssm.get_parameter_history(Name=NAME)["Parameters"]
    assert first["Labels"] == ["theirs"]


def test_what_can_not_be_labelled_is_told(ssm: SsmBench) -> None:
    ssm.seed(NAME, ssm.image(), ours=True)
    with pytest.raises(ReconcilerError, match="labelling SSM parameter"):
        ssm.publisher.label(HOME, NAME, version=7, build=build_at(1))
    with pytest.raises(Transient, match="is not found by build-a b"):
        ssm.publisher.label(HOME, NAME, version=1, build="a b")


def test_when_a_group_was_told_is_by_the_clock_of_aws(ssm: SsmBench, monkeypatch: pytest.MonkeyPatch) -> None:
    ssm.template("web", ssm.image())
    ssm.group("web")
    seen: list[datetime | None] = [told(ssm).told]
    scaling = ssm.clients.client("autoscaling", HOME, config=Config())

    def as_said(date: str) -> None:
        def answered(parsed: Any, **_: Any) -> None:
            parsed["ResponseMetadata"]["HTTPHeaders"]["date"] = date

        scaling.meta.events.register("after-call.auto-scaling.DescribeAutoScalingGroups", answered, unique_id="date")
        seen.append(told(ssm).told)
        scaling.meta.events.unregister("after-call.auto-scaling.DescribeAutoScalingGroups", unique_id="date")

    for date in ("Sun, 22 Nov 2026 10:15:30 GMT", "yesterday", ""):
        as_said(date)
    assert seen[0] is not None
    assert abs(seen[0] - datetime.now(UTC)) < timedelta(minutes=5)
    assert seen[1:] == [datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC), None, None]
