"""Suites that test nothing or never end, instances that go while they are tested: each is told in one line."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef

    from tests.integration.story.conftest import Checkout, Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

REGION = "us-east-1"
WAITS = "def test_waits(host):\n    host.run('sleep 600')\n"
SUITES = {
    "empty": "def the_lamp_is_lit(host):\n    assert host.file('/etc/lamp').exists\n",
    "hangs": WAITS,
    "impostor": WAITS,
    "mistyped": "def test_lamp(host)\n    assert host.file('/etc/lamp').exists\n",
    "mortal": WAITS,
    "sound": "def test_sound(host):\n    assert host.file('/etc/hostname').exists\n",
}
LIMIT = "20s"


@pytest.fixture(scope="module")
def fleet(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """An image for each suite, never built."""
    fleet = new_fleet(tmp_path_factory.mktemp("suites"), "alone")
    for name, suite in SUITES.items():
        shutil.copytree(fleet.path / "desired/web", fleet.path / "desired" / name)
        limit = f", timeout: {LIMIT}" if name == "hangs" else ""
        fleet.edit(f"desired/{name}/image.yaml", append=f"smoke_test: {{ suite: test_it.py{limit} }}\n")
        fleet.write(f"desired/{name}/test_it.py", suite)
    fleet.git("rm", "-r", "--quiet", "desired/web")
    fleet.edit("desired/reconciler.yaml", append=f"limits: {{ parallel_builds: {len(SUITES)} }}\n")
    fleet.publish("Declare them")
    return fleet


@pytest.fixture(scope="module")
def failures(fleet: Checkout, sandbox: Sandbox, cloud: Cloud) -> Mapping[str, Any]:
    """What is recorded of each after one run, in which an instance dies and another changes its host key."""
    waiting = {"mortal": sandbox.kill, "impostor": sandbox.change_host_key}
    told = ""
    process = fleet.begin("reconcile")
    assert process.stderr is not None
    try:
        for line in process.stderr:
            told += line
            image = next((name for name in waiting if line.rstrip().endswith(f"{name}: test_waits")), None)
            if image is not None:
                waiting.pop(image)(instance_of(cloud, fleet, image))
    except BaseException:
        process.terminate()  # its suites would go on for minutes
        raise
    finally:
        process.communicate()
    assert process.returncode == 3, told
    assert waiting == {}, told
    assert "Traceback" not in told
    return {name: fleet.lockfile(name).get("failure") for name in SUITES}


def instance_of(cloud: Cloud, fleet: Checkout, image: str) -> str:
    """The one instance that runs for an image."""
    filters: list[FilterTypeDef] = [
        {"Name": "instance-state-name", "Values": ["running"]},
        {"Name": "tag:reconciler:fleet", "Values": [fleet.name]},
        {"Name": "tag:reconciler:image", "Values": [image]},
    ]
    found = cloud.ec2(REGION).describe_instances(Filters=filters)["Reservations"]
    (instance,) = (one for reservation in found for one in reservation["Instances"])
    return instance["InstanceId"]


def test_a_sound_suite_passes_beside_them_and_only_that_one_is_in_a_channel(
    fleet: Checkout, failures: Mapping[str, Any]
) -> None:
    assert failures["sound"] is None
    assert {name for name in SUITES if "channels" in fleet.lockfile(name)} == {"sound"}


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("empty", "the suite desired/empty/test_it.py holds no test"),
        ("hangs", f"timed out after {LIMIT}"),
        ("mistyped", "desired/mistyped/test_it.py:1: SyntaxError: expected ':'"),
        ("mortal", "the instance was terminated while it was tested"),
        ("impostor", ", while it was tested"),
    ],
)
def test_each_says_in_a_line_what_was_wrong(failures: Mapping[str, Any], image: str, said: str) -> None:
    what = failures[image]["what"]
    assert what.startswith("smoke test failed: ")
    assert said in what
    assert "\n" not in what


def test_the_changed_host_key_is_named(failures: Mapping[str, Any]) -> None:
    assert ": the host key of " in failures["impostor"]["what"]
    assert " changed, to SHA256:" in failures["impostor"]["what"]


def test_what_failed_is_rejected_and_nothing_of_the_tests_is_left(cloud: Cloud, failures: Mapping[str, Any]) -> None:
    for name, failure in failures.items():
        if name != "sound":
            (artifact,) = failure["artifacts"]
            tags = cloud.tags(REGION, artifact["id"])
            assert (tags["reconciler:phase"], tags["reconciler:smoke"]) == ("rejected", "failed")
    assert cloud.leftovers(REGION) == []
