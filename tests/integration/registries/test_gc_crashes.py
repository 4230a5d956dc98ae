"""`gc` is killed, or refused, at any call, in EC2 or git: nothing goes that is needed, and later runs come to the end.

All that it does is in one course of three runs, a fortnight apart: what killed builds left is swept, a build is
deprecated, disabled, and removed with the version of a launch template that was made for it, and with its snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import ReconcilerError
from reconciler.registries.ec2.groups import Consumers
from reconciler.registries.ec2.registry import Ec2Registry
from reconciler.state.lockfiles import parse, path_of
from tests.integration.loop.effects import Effects, Killed, surround
from tests.integration.loop.world import FLEET, US, Controller, World, git, image_files
from tests.integration.registries.test_abandoned import OURS, build
from tests.integration.registries.test_away_again import SETTINGS, Account
from tests.integration.registries.test_publisher import as_in_aws

pytestmark = pytest.mark.long

READS = ("Describe", "Get", "Head", "List")
COURSE = (
    "push", "EnableImageDeprecation", "TerminateInstances", "DeleteVolume", "DeleteSecurityGroup", "DeleteKeyPair",
    "push", "DisableImage",
    "DeleteLaunchTemplateVersions", "DeregisterImage", "DeleteSnapshot", "push",
)  # fmt: skip
"""What three runs do to the world, in order. Pushes are of dates before anything is done, and of the end after all."""


@dataclass
class Leaving(Account):
    """An account in which a build of web goes away, and what a killed build left lies about."""

    def controller(self) -> Controller:
        made = super().controller()
        clients = Clients(AwsSettings(), attempts=1)
        clock = Clock(sleep=lambda _: None)
        made.on_publisher = lambda _memory: Consumers(clients, fleet=FLEET, clock=clock, polling=Polling(first=1))
        return made

    def versions(self) -> dict[int, str]:
        found = self.ec2.describe_launch_template_versions(LaunchTemplateName="web")["LaunchTemplateVersions"]
        return {one["VersionNumber"]: one["LaunchTemplateData"]["ImageId"] for one in found}

    def image_states(self) -> dict[str, str]:
        """Every AMI of the account that is there, and whether it can be launched."""
        found = self.ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
        return {one["ImageId"]: one["State"] for one in found if not one["Name"].startswith("from-")}

    def left(self) -> list[str]:
        """What is left of the killed build."""
        states = ["pending", "running", "stopping", "stopped"]
        alive = [{"Name": "instance-state-name", "Values": states}]
        instances = self.ec2.describe_instances(Filters=alive)["Reservations"]
        groups = self.ec2.describe_security_groups()["SecurityGroups"]
        ours = [{"Name": "tag:reconciler:run", "Values": [OURS["reconciler:run"]]}]
        return [
            *(one["InstanceId"] for some in instances for one in some["Instances"]),
            *(one["VolumeId"] for one in self.ec2.describe_volumes(Filters=ours)["Volumes"]),
            *(one["GroupName"] for one in groups if one["GroupName"] != "default"),
            *(one["KeyName"] for one in self.ec2.describe_key_pairs()["KeyPairs"]),
        ]

    def dates(self) -> set[tuple[str, str]]:
        """When each build that went away was deprecated, by every commit that says so."""
        path = path_of("web")
        commits = git(self.world.origin, "rev-list", "main", "--", path).splitlines()
        locks = [parse(f"{git(self.world.origin, 'show', f'{one}:{path}')}\n".encode(), path) for one in commits]
        return {(entry.build.id, entry.deprecated) for lock in locks for entry in lock.leaving}


@contextmanager
def each_call(around: Callable[[str], AbstractContextManager[None]]) -> Iterator[None]:
    """Let every call of every client pass through there."""
    plain = BaseClient._make_api_call  # type: ignore[attr-defined]  # through which they all go

    def call(self: Any, operation: str, arguments: Any) -> Any:
        with around(operation):
            return plain(self, operation, arguments)

    with patch.object(BaseClient, "_make_api_call", call):
        yield


def through(effects: Effects) -> AbstractContextManager[None]:
    """Let each call that changes something in AWS pass through there."""
    return each_call(lambda operation: nullcontext() if operation.startswith(READS) else effects.around(operation))


def answering(operation: str, code: str, *, times: int | None = None) -> AbstractContextManager[None]:
    """Have AWS refuse an operation, always or so many times."""
    left = count() if times is None else iter(range(times))

    @contextmanager
    def around(asked: str) -> Iterator[None]:
        if asked == operation and next(left, None) is not None:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)
        yield

    return each_call(around)


def a_run(account: Leaving, effects: Effects) -> None:
    controller = account.controller()
    pushes = surround(account.controller(), effects.around).on_destination
    controller.on_destination = pushes
    with through(effects):
        done = controller.collect()
    assert done.failed == {}


@pytest.fixture
def account(moto: str, own_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leaving:
    as_in_aws(monkeypatch)
    ec2: Any = boto3.client("ec2", region_name=US)
    source = ec2.register_image(Name="debian")["ImageId"]
    ec2.create_launch_template(
        LaunchTemplateName="web", LaunchTemplateData={"ImageId": source, "InstanceType": "t3.micro"},
        TagSpecifications=[
            {"ResourceType": "launch-template", "Tags": [{"Key": "reconciler:fleet", "Value": FLEET}]}
        ],
    )  # fmt: skip
    declared = f"source: {{ami: {{id: {source}}}}}\npublish: {{launch_templates: [web]}}\n"
    world = World.begin(tmp_path / "world", {"desired/reconciler.yaml": SETTINGS, **image_files("web", declared)})
    world.clock.moment = datetime.now(UTC)
    # The registry's clock does not go on with the test's.
    monkeypatch.setattr(Ec2Registry, "server_time", lambda _self, _location: None)
    made = Leaving(world, source)
    for number in range(3):
        made.build(f"echo {number}")
    build(ec2, {**OURS, "reconciler:image": "web"})
    return made


ROOTS = {
    "DescribeInstances": "instances", "DescribeLaunchTemplates": "launch templates",
    "DescribeAutoScalingGroups": "Auto Scaling groups", "DescribeLaunchConfigurations": "launch configurations",
    "DescribeParameters": "parameters", "DescribeLaunchTemplateVersions": "launch templates",
    "DescribeFleets": "fleets", "DescribeSpotFleetRequests": "fleets", "DescribeImages": "could not be read",
}  # fmt: skip


@pytest.mark.parametrize(("operation", "said"), ROOTS.items())
@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestLimitExceeded"])
def test_one_root_that_is_not_read_keeps_everything_and_a_later_run_goes_on(
    account: Leaving, operation: str, said: str, code: str
) -> None:
    # Given what may be disabled next, and is deprecated
    a_run(account, Effects())
    account.world.clock.advance(days=15)
    began, images = account.dates(), account.image_states()

    # When one list is refused, or there were too many calls
    with answering(operation, code):
        try:
            told = account.controller().collect()
        except ReconcilerError as error:
            assert operation == "DescribeImages", error  # noqa: PT017 - of nothing else is nothing known
        else:
            assert told.took == ()
            assert any(said in one.why for one in told.artifacts if one.code == "unread"), told
            assert not told.going

    # Then nothing has been touched, and the waits go on
    assert (account.image_states(), account.dates()) == (images, began)
    a_run(account, Effects())
    assert "disabled" in account.image_states().values()
    assert account.dates() == began


STEPS = ("EnableImageDeprecation", "DisableImage", "DeleteLaunchTemplateVersions", "DeregisterImage", "DeleteSnapshot")


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "UnauthorizedOperation"])
@pytest.mark.parametrize("operation", STEPS)
def test_a_step_that_ec2_refuses_is_told_and_taken_by_a_later_run(account: Leaving, operation: str, code: str) -> None:
    first = min(account.versions().items() - {(1, account.source)})[1]
    told: list[str] = []
    for _ in range(4):
        with answering(operation, code, times=None if told == [] else 0):
            done = account.controller().collect()
        told += done.failed.values()
        account.world.clock.advance(days=15)
    assert len(told) == 1
    assert account.image_states().keys() == {account.source, *account.versions().values()}
    assert first not in account.image_states()
    assert account.world.lock("web").leaving == ()
    assert len(account.dates()) == 1, "the clock is kept"


def test_the_course_is_whole(account: Leaving) -> None:
    effects = Effects()
    for _ in range(3):
        a_run(account, effects)
        account.world.clock.advance(days=15)
    assert tuple(effects.done) == COURSE


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("number", "effect"), list(enumerate(COURSE)), ids=str)
def test_killed_anywhere_it_comes_to_the_same_end(
    account: Leaving, number: int, effect: str, when: Literal["before", "after"]
) -> None:
    # Given a build that goes away, of three, and what a killed build left
    snapshots, versions = account.snapshots(), account.versions()
    amis = {one: versions[one] for one in sorted(versions)[1:]}
    first = amis[min(amis)]
    found = account.ec2.describe_images(ImageIds=[first])["Images"][0]
    parts = {one["Ebs"]["SnapshotId"] for one in found["BlockDeviceMappings"]}
    head = account.world.head()

    # When a run dies there, and others come after it
    effects, died = Effects(die_at=number, when=when), False
    done: Counter[str] = Counter()
    for _ in count():
        try:
            a_run(account, effects)
        except Killed:
            died = True
            done.update(effects.done)
            effects = Effects()
            account.world.clock.advance(hours=1)
            continue
        account.world.clock.advance(days=15)
        if died and not account.world.lock("web").leaving and first not in account.versions().values():
            break
        assert account.world.clock.moment.year < 2030, "it comes to no end"
    done.update(effects.done)
    effects = Effects()
    a_run(account, effects)

    # Then all that was to go has gone, once, and nothing else; and no date was set back
    assert effects.done == []
    assert account.ec2.describe_images(Filters=[{"Name": "image-id", "Values": [first]}])["Images"] == []
    assert account.snapshots() == snapshots - parts
    assert account.versions() == {one: ami for one, ami in versions.items() if ami != first}
    assert all(account.ec2.describe_images(ImageIds=[ami])["Images"] for ami in account.versions().values())
    assert account.left() == []
    assert len(account.dates()) == 1
    told = Counter(one.partition(" (")[0] for one in account.world.subjects(head))
    # What died between recording its first step and taking it has its date recorded as it was set at last.
    dated_anew = (number, when) in {(0, "after"), (1, "before")}
    assert told == {"web: deprecate": 2 if dated_anew else 1, "web: disable": 1, "web: retire": 1}
    assert {one: done[one] for one in COURSE if one != "push"} == dict.fromkeys(set(COURSE) - {"push"}, 1), effect


def test_a_version_of_a_parameter_that_a_template_stays_on_keeps_its_build(account: Leaving) -> None:
    # Given a parameter that was the oldest build's and went on, and a template that stays on that
    oldest = account.versions()[2]
    newest = max(account.versions().items())[1]
    ssm: Any = boto3.client("ssm", region_name=US)
    for image in (oldest, newest):
        ssm.put_parameter(Name="/images/web", Value=image, Type="String", DataType="aws:ec2:image", Overwrite=True)
        ssm.get_parameters(Names=["/images/web"])
    made = account.ec2.create_launch_template(
        LaunchTemplateName="theirs", LaunchTemplateData={"ImageId": "resolve:ssm:/images/web:1"}
    )["LaunchTemplate"]["LaunchTemplateId"]  # fmt: skip

    # Then the build stays, for as long as that does
    for _ in range(3):
        done = account.controller().collect()
        assert [one.code for one in done.artifacts if one.id == oldest] == ["used"]
        (why,) = [one.why for one in done.artifacts if one.id == oldest]
        assert "launch template theirs version 1 (default), by resolve:ssm:/images/web:1" in why
        account.world.clock.advance(days=15)
    assert account.image_states()[oldest] == "available"
    account.ec2.delete_launch_template(LaunchTemplateId=made)
    assert [one.step for one in account.controller().collect().took] == ["deprecate"]
