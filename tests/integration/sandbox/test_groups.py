"""Auto Scaling groups have their instances replaced as AWS documents it: step by step, once at a time, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal, UserError
from reconciler.model.publish import AutoScalingGroup
from reconciler.registries.ec2.groups import Consumers
from reconciler.sandbox import refreshes
from reconciler.sandbox.handle import Sandbox
from tests.integration.sandbox.conftest import check_answer
from tests.integration.sandbox.test_parameters import aws, user

pytestmark = pytest.mark.sandbox

POLICIES = Path(__file__).parents[3] / "docs/iam"
REGION, HOUR = "us-east-1", 3600


@dataclass
class Group:
    """A group of two instances, by version 1 of a template whose version 2 launches another AMI."""

    sandbox: Sandbox
    ec2: Any
    scaling: Any
    template: str
    image: str

    def make(self, version: str = "1", **more: Any) -> None:
        named = {"LaunchTemplateId": self.template, "Version": version}
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName="web", MinSize=0, MaxSize=4, AvailabilityZones=[f"{REGION}a"],
            **{"DesiredCapacity": 2, "LaunchTemplate": named, **more},
        )  # fmt: skip

    def begin(self, *, to: str | None = "2", **preferences: Any) -> str:
        desired = {"LaunchTemplate": {"LaunchTemplateId": self.template, "Version": to}}
        more = {"DesiredConfiguration": desired} if to is not None else {}
        begun = self.scaling.start_instance_refresh(AutoScalingGroupName="web", Preferences=preferences, **more)
        return str(begun["InstanceRefreshId"])

    def look(self) -> Any:
        return self.scaling.describe_instance_refreshes(AutoScalingGroupName="web")["InstanceRefreshes"][0]

    def looks(self, number: int) -> list[tuple[str, int]]:
        return [(one["Status"], one["PercentageComplete"]) for one in (self.look() for _ in range(number))]

    def told(self) -> Any:
        (found,) = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["web"])["AutoScalingGroups"]
        return found

    def runs(self) -> list[str]:
        return [one["LaunchTemplate"]["Version"] for one in self.told()["Instances"]]

    def images(self) -> list[str]:
        ids = [one["InstanceId"] for one in self.told()["Instances"]]
        found = self.ec2.describe_instances(InstanceIds=ids)["Reservations"]
        return [one["ImageId"] for group in found for one in group["Instances"]]


@pytest.fixture
def group(sandbox: Sandbox, debian: str) -> Iterator[Group]:
    ec2, scaling = aws(sandbox, "ec2"), aws(sandbox, "autoscaling")
    image = ec2.register_image(Name="web-2", Architecture="x86_64")["ImageId"]
    data = {"ImageId": debian, "InstanceType": "t3.micro"}
    made = ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)["LaunchTemplate"]
    template = made["LaunchTemplateId"]
    ec2.create_launch_template_version(
        LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"ImageId": image}
    )
    yield Group(sandbox, ec2, scaling, template, image)
    scaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    ec2.delete_launch_template(LaunchTemplateId=template)
    ec2.deregister_image(ImageId=image)


def test_every_call_and_answer_is_of_the_form_that_aws_says(group: Group) -> None:
    model = botocore.session.get_session().get_service_model("autoscaling")
    checked: set[str] = set()
    check = partial(check_answer, checked)
    group.make()
    group.scaling.meta.events.register("after-call.auto-scaling", check)
    group.begin(AutoRollback=True, CheckpointPercentages=[50, 100], AlarmSpecification={"Alarms": ["errors"]})
    group.looks(2)
    group.scaling.rollback_instance_refresh(AutoScalingGroupName="web")
    group.looks(2)
    group.begin()
    group.scaling.cancel_instance_refresh(AutoScalingGroupName="web")
    group.looks(1)
    group.told()

    names = {model.operation_model(name).name for name in model.operation_names}
    served = {handler.__name__.replace("_", "") for handler in refreshes.HANDLERS}
    assert {name for name in names if name.lower() in served} == checked - {"DescribeAutoScalingGroups"}


def test_instances_are_replaced_one_by_one_and_the_group_is_changed_at_the_end(group: Group, debian: str) -> None:
    group.make()
    assert (group.runs(), group.images()) == (["1", "1"], [debian, debian])
    refresh = group.begin()
    assert group.looks(2) == [("InProgress", 0), ("InProgress", 50)]
    assert sorted(group.runs()) == ["1", "2"]
    assert group.told()["LaunchTemplate"]["Version"] == "1", "not before it succeeded"
    assert group.looks(2) == [("Successful", 100)] * 2
    assert (group.runs(), group.images()) == (["2", "2"], [group.image, group.image])
    assert group.told()["LaunchTemplate"]["Version"] == "2"
    ended = group.look()
    assert (ended["InstanceRefreshId"], ended["InstancesToUpdate"], "EndTime" in ended) == (refresh, 0, True)
    assert ended["DesiredConfiguration"]["LaunchTemplate"]["LaunchTemplateName"] == "web"


def test_a_policy_of_several_types_keeps_all_but_the_version(group: Group) -> None:
    def policy(version: str) -> dict[str, Any]:
        named = {"LaunchTemplateId": group.template, "Version": version}
        return {"LaunchTemplate": {"LaunchTemplateSpecification": named, "Overrides": [{"InstanceType": "t3.small"}]}}

    group.make(MixedInstancesPolicy=policy("1"), LaunchTemplate={})
    desired = {"MixedInstancesPolicy": policy("2")}
    group.scaling.start_instance_refresh(AutoScalingGroupName="web", DesiredConfiguration=desired)
    assert group.looks(3)[-1] == ("Successful", 100)
    told = group.told()["MixedInstancesPolicy"]["LaunchTemplate"]
    assert told["LaunchTemplateSpecification"]["Version"] == "2"
    assert [one["InstanceType"] for one in told["Overrides"]] == ["t3.small"]
    assert "LaunchTemplate" not in group.told()


def test_what_runs_the_version_already_is_let_be(group: Group) -> None:
    group.make("2")
    kept = [one["InstanceId"] for one in group.told()["Instances"]]
    group.begin(SkipMatching=True)
    assert group.looks(2) == [("InProgress", 100), ("Successful", 100)]
    assert [one["InstanceId"] for one in group.told()["Instances"]] == kept
    group.begin(MinHealthyPercentage=0)
    assert group.looks(2) == [("InProgress", 0), ("Successful", 100)]
    assert not set(kept) & {one["InstanceId"] for one in group.told()["Instances"]}


def test_it_waits_at_checkpoints_and_for_its_bake_time(group: Group) -> None:
    group.make()
    group.begin(CheckpointPercentages=[50, 100], CheckpointDelay=HOUR, BakeTime=HOUR, MinHealthyPercentage=0)
    assert group.looks(4) == [("InProgress", 0), *[("InProgress", 50)] * 3]
    group.sandbox.lapse(HOUR)
    assert group.looks(3) == [("Baking", 100)] * 3
    assert group.told()["LaunchTemplate"]["Version"] == "1"
    group.sandbox.lapse(HOUR)
    assert group.looks(1) == [("Successful", 100)]
    ended = group.look()["EndTime"]
    group.sandbox.lapse(HOUR)
    assert ended - group.look()["EndTime"] == timedelta(seconds=HOUR)
    group.begin(CheckpointPercentages=[50])
    assert group.looks(2)[-1] == ("Successful", 50), "it ends at the last one"


def test_what_fails_turns_back_where_that_was_asked_for(group: Group, debian: str) -> None:
    group.make()
    for rollback, ends in ((True, "RollbackSuccessful"), (False, "Failed")):
        group.begin(AutoRollback=rollback, MinHealthyPercentage=50)
        group.looks(2)
        group.sandbox.fail_refresh("web")
        told = [group.look() for _ in range(3)]
        assert told[-1]["Status"] == ends
        assert "do not become healthy" in told[-1]["StatusReason"]
        assert group.told()["LaunchTemplate"]["Version"] == "1"
        if rollback:
            assert [(one["Status"], one["PercentageComplete"]) for one in told[:2]] == [
                ("RollbackInProgress", 50), ("RollbackSuccessful", 0),
            ]  # fmt: skip
            assert told[-1]["RollbackDetails"]["PercentageCompleteOnRollback"] == 50
            assert (group.runs(), group.images()) == (["1", "1"], [debian, debian])
    assert sorted(group.runs()) == ["1", "2"], "it stays as far as it came"
    with pytest.raises(UserError, match="no instance refresh of web is under way"):
        group.sandbox.fail_refresh("web")


def test_an_ami_that_cant_be_launched_and_an_alarm_fail_it(group: Group) -> None:
    group.make()
    group.ec2.disable_image(ImageId=group.image)
    group.begin(AutoRollback=True)
    assert [one[0] for one in group.looks(3)] == ["InProgress", "RollbackInProgress", "RollbackSuccessful"]
    assert f"{group.image} can't be launched: it is disabled" in group.look()["StatusReason"]
    group.ec2.enable_image(ImageId=group.image)
    watch = aws(group.sandbox, "cloudwatch")
    watch.put_metric_alarm(
        AlarmName="errors", MetricName="errors", Namespace="web", Period=60, EvaluationPeriods=1, Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold", Statistic="Sum",
    )  # fmt: skip
    group.begin(AutoRollback=True, AlarmSpecification={"Alarms": ["errors"]}, BakeTime=HOUR)
    assert group.looks(3)[-1] == ("Baking", 100)
    watch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="too many")
    assert [one[0] for one in group.looks(3)] == ["RollbackInProgress"] * 2 + ["RollbackSuccessful"]
    assert group.runs() == ["1", "1"]


def test_there_is_one_at_a_time_and_what_is_cancelled_stays_where_it_is(group: Group) -> None:
    group.make()
    with pytest.raises(ClientError, match="ActiveInstanceRefreshNotFound"):
        group.scaling.rollback_instance_refresh(AutoScalingGroupName="web")
    group.begin()
    group.looks(2)
    with pytest.raises(ClientError, match="InstanceRefreshInProgress"):
        group.begin()
    group.scaling.cancel_instance_refresh(AutoScalingGroupName="web")
    assert group.looks(1) == [("Cancelled", 50)]
    assert sorted(group.runs()) == ["1", "2"]
    assert group.told()["LaunchTemplate"]["Version"] == "1"


@pytest.mark.parametrize("version", ["$Latest", "$Default", "3"])
def test_there_is_no_way_back_to_what_has_no_number_or_no_amis_id(group: Group, version: str) -> None:
    late = {"ImageId": "resolve:ssm:/images/web/stable"}
    group.ec2.create_launch_template_version(
        LaunchTemplateId=group.template, SourceVersion="1", LaunchTemplateData=late
    )
    group.make(version, DesiredCapacity=0)
    with pytest.raises(ClientError, match="AutoRollback"):
        group.begin(AutoRollback=True)
    group.begin()
    with pytest.raises(ClientError, match="IrreversibleInstanceRefresh"):
        group.scaling.rollback_instance_refresh(AutoScalingGroupName="web")
    assert group.looks(2)[-1] == ("Successful", 100)
    group.begin(to=None)
    with pytest.raises(ClientError, match="IrreversibleInstanceRefresh"):
        group.scaling.rollback_instance_refresh(AutoScalingGroupName="web")


@pytest.mark.parametrize(
    "wrong",
    [
        {"MaxHealthyPercentage": 110}, {"MaxHealthyPercentage": 200, "MinHealthyPercentage": 90},
        {"CheckpointPercentages": [50, 20]}, {"CheckpointDelay": 60},
    ],
)  # fmt: skip
def test_preferences_that_do_not_go_together_are_refused(group: Group, wrong: dict[str, Any]) -> None:
    group.make(DesiredCapacity=0)
    with pytest.raises(ClientError, match="ValidationError"):
        group.begin(**wrong)


# With IAM enforced.

FLEET = "acme/images"
BY_TAG = [{"Key": "reconciler:fleet", "Value": FLEET}]


@pytest.fixture
def consumers(group: Group, monkeypatch: pytest.MonkeyPatch) -> Iterator[Consumers]:
    """What the role that reconciles has, with `--publish`. The group and its template are the fleet's."""
    group.ec2.create_tags(Resources=[group.template], Tags=BY_TAG)
    group.make(Tags=[{**one, "ResourceId": "web", "ResourceType": "auto-scaling-group"} for one in BY_TAG])
    documents = [(POLICIES / file).read_text() for file in ("reconcile.json", "publish.json")]
    with user(group.sandbox, monkeypatch, "refreshes", *documents):
        yield Consumers(Clients(AwsSettings(), attempts=1), fleet=FLEET)


@contextmanager
def unenforced(group: Group) -> Iterator[None]:
    """For what the test does itself."""
    group.sandbox.enforce_iam(enforced=False)
    yield
    group.sandbox.enforce_iam()


def test_the_role_that_reconciles_refreshes_this_fleets_group_and_turns_it_back(
    consumers: Consumers, group: Group
) -> None:
    settings = AutoScalingGroup(name="web", checkpoints=(50,))
    found = consumers.groups(REGION, ["web"])["web"]
    assert consumers.group_misfit(REGION, found, group.image) is None
    begun = consumers.begin_refresh(REGION, found, 2, settings)
    consumers.turn_back(REGION, found, begun)
    assert consumers.groups(REGION, ["web"])["web"].refreshes[0].course in ("turning-back", "turned-back")


def test_others_groups_and_templates_are_refused(consumers: Consumers, group: Group) -> None:
    found = consumers.groups(REGION, ["web"])["web"]
    theirs = {"Key": "reconciler:fleet", "Value": "others/images"}
    with unenforced(group):
        group.ec2.create_tags(Resources=[group.template], Tags=[theirs])
    with pytest.raises(Terminal, match="not authorized to use launch template") as caught:
        consumers.begin_refresh(REGION, found, 2, AutoScalingGroup(name="web"))
    assert "docs/iam" in caught.value.hint[0]
    with unenforced(group):
        group.ec2.create_tags(Resources=[group.template], Tags=BY_TAG)
        tag = {**theirs, "ResourceId": "web", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
        group.scaling.create_or_update_tags(Tags=[tag])
        group.begin(CheckpointPercentages=[50, 100])
    # Past our own check, which refuses before AWS could: what was found says that it is ours.
    with pytest.raises(Terminal, match="not allowed: autoscaling:StartInstanceRefresh"):
        consumers.begin_refresh(REGION, found, 2, AutoScalingGroup(name="web"))
    (active,) = consumers.groups(REGION, ["web"])["web"].refreshes
    with pytest.raises(Terminal, match="not allowed: autoscaling:RollbackInstanceRefresh"):
        consumers.turn_back(REGION, found, active.id)


def test_a_template_with_a_role_asks_for_the_right_to_pass_it(consumers: Consumers, group: Group) -> None:
    found = consumers.groups(REGION, ["web"])["web"]
    with unenforced(group):
        group.ec2.create_launch_template_version(
            LaunchTemplateId=group.template, SourceVersion="2",
            LaunchTemplateData={"IamInstanceProfile": {"Name": "web"}},
        )  # fmt: skip
    with pytest.raises(Terminal, match="not authorized to use launch template"):
        consumers.begin_refresh(REGION, found, 3, AutoScalingGroup(name="web"))
