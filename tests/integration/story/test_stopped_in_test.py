"""A run that is stopped while it tests what it built: the build is taken up by the next run, and no instance stays."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from subprocess import Popen

    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagTypeDef

    from tests.integration.story.conftest import Checkout, Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

REGION = "us-east-1"
LIMIT_SECONDS = 60
SUITE = """\
def test_waits_at_the_gate(host):
    open("{gate}").read()
    assert host.file("/etc/hostname").exists
"""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A named pipe, at which the suite waits. As a file it lets the suite pass."""
    return tmp_path_factory.mktemp("gate") / "gate"


@pytest.fixture(scope="module")
def fleet(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Checkout:
    """`web`, never built. The tests of this module tell one story, each on what the one before left."""
    fleet = new_fleet(tmp_path_factory.mktemp("stopped"), "alone")
    fleet.write("desired/web/test_gate.py", SUITE.format(gate=gate))
    fleet.edit("desired/web/image.yaml", append="smoke_test: { suite: test_gate.py }\n")
    fleet.publish("Put up a gate")
    return fleet


def waiting(fleet: Checkout) -> tuple[Popen[str], str]:
    """A `reconcile` that waits in the suite, and what it told by then."""
    process = fleet.begin("reconcile")
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if "test_waits_at_the_gate" in line:
            return process, told
    raise AssertionError(f"it never came to the suite:\n{told}")


def running(fleet: Checkout, cloud: Cloud) -> list[str]:
    """The fleet's instances that run."""
    filters: list[FilterTypeDef] = [
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
        {"Name": "tag:reconciler:fleet", "Values": [fleet.name]},
    ]
    found = cloud.ec2(REGION).describe_instances(Filters=filters)["Reservations"]
    return [one["InstanceId"] for reservation in found for one in reservation["Instances"]]


def test_a_signal_ends_the_test_and_its_instance(fleet: Checkout, gate: Path, cloud: Cloud) -> None:
    os.mkfifo(gate)
    head = fleet.head()
    process, told = waiting(fleet)
    assert len(running(fleet, cloud)) == 1

    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=LIMIT_SECONDS)

    assert process.returncode == 130
    assert "Traceback" not in told + rest
    assert cloud.leftovers(REGION) == []
    assert (fleet.head(), fleet.lockfiles(), fleet.git("tag")) == (head, {}, "")


def test_after_a_kill_the_next_run_adopts_and_tests_what_was_built(fleet: Checkout, gate: Path, cloud: Cloud) -> None:
    process, told = waiting(fleet)
    assert "adopting" in told, "what the run before built"
    process.kill()
    process.communicate()
    (left,) = running(fleet, cloud)
    gate.unlink()
    gate.touch()

    ended = fleet.reconciler("reconcile")

    assert ended.code == 0, ended
    assert ended.first.split()[:2] == ["web", "adopted"]
    (build,) = fleet.lockfile("web")["builds"]
    assert build["smoke_test"]["status"] == "passed"
    assert cloud.complete(REGION, fleet=fleet.name, key=build["key"]) == [fleet.recorded("web")[REGION]]
    assert running(fleet, cloud) == [left], "as far as anybody knows, its run goes on"
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0


def test_what_a_killed_run_left_goes_once_its_time_is_over(fleet: Checkout, cloud: Cloud) -> None:
    """Each thing has it written on it when that is: two hours are not waited for here."""
    (left,) = running(fleet, cloud)
    ec2 = cloud.ec2(REGION)
    instance = ec2.describe_instances(InstanceIds=[left])["Reservations"][0]["Instances"][0]
    pair = ec2.describe_key_pairs(KeyNames=[instance["KeyName"]])["KeyPairs"][0]["KeyPairId"]
    group = instance["SecurityGroups"][0]["GroupId"]
    over: TagTypeDef = {"Key": "reconciler:keep-until", "Value": "2026-11-01T00:00:00Z"}
    ec2.create_tags(Resources=[left, pair, group], Tags=[over])

    fleet.edit("desired/web/setup.sh", append="true\n")
    fleet.publish("Change web")
    ended = fleet.reconciler("reconcile")

    assert ended.code == 0, ended
    assert f"ended {left} in {REGION}: a killed run left it" in ended.err
    assert running(fleet, cloud) == []
    assert set(cloud.leftovers(REGION)) == {instance["KeyName"], instance["SecurityGroups"][0]["GroupName"]}

    assert fleet.reconciler("reconcile", "--force", "web").code == 0
    assert cloud.leftovers(REGION) == [], "nothing used them any more"
