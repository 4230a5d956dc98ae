"""The validation repository in examples/, for real: a candidate is announced, booted, tested over SSH and voted on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from reconciler.announce.receivers import parameters
from reconciler.model.announcement import RecordedImage, announcement
from reconciler.model.lockfile import AnnouncedEvent, Lockfile
from reconciler.model.receivers import CIRCLECI_PARAMETERS
from reconciler.sandbox.handle import Sandbox
from tests.integration.circleci.conftest import ROLE, SETUP
from tests.integration.circleci.orb import assert_circleci_takes
from tests.integration.circleci.pipeline import Finished, Pipeline

if TYPE_CHECKING:
    from tests.integration.circleci.conftest import Images, NewImages, NewRunner

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

EXAMPLE = Path(__file__).parents[3] / "examples" / "validation"
CONFIG = EXAMPLE / ".circleci" / "config.yml"
BASELINE = """\
sudo mkdir -p /etc/ssh/sshd_config.d
echo "PasswordAuthentication no" | sudo tee /etc/ssh/sshd_config.d/10-baseline.conf
"""
POWER_CUT = """\
import boto3

def test_what_comes_after_a_power_cut(host):
    ec2 = boto3.client("ec2", region_name="us-east-1")
    running = {"Name": "instance-state-name", "Values": ["running"]}
    for reservation in ec2.describe_instances(Filters=[running])["Reservations"]:
        ec2.terminate_instances(InstanceIds=[one["InstanceId"] for one in reservation["Instances"]])
    assert host.file("/etc/image-release").exists
"""


@pytest.fixture
def gated(new_images: NewImages) -> Images:
    """A fleet in which `stable` waits for a verdict. `base` keeps what the suites ask of it; `web` has no nginx.

    Nothing is booted before it is announced: what the validation repository boots is what counts here.
    """
    settings = "defaults: { validation: { required: true }, smoke_test: { boot: false } }\n"
    return new_images(settings=settings, setup=SETUP + BASELINE)


@pytest.fixture
def validation(gated: Images, tmp_path: Path) -> Images:
    """The validation repository, with an origin of its own."""
    origin, clone = tmp_path / "validation.git", tmp_path / "validation"
    shutil.copytree(EXAMPLE, clone, ignore=shutil.ignore_patterns("__pycache__", "results"))
    one = replace(gated, path=clone, origin=origin)
    one.git("init", "--quiet")
    one.git("init", "--quiet", "--bare", str(origin))
    one.git("remote", "add", "origin", str(origin))
    one.publish("Validate images")
    return one


def reconcile(images: Images) -> None:
    ended = images.command.run("reconcile", cwd=images.path, environment=images.environment)
    assert ended.returncode == 0, ended.stderr


def announced(images: Images, image: str, event: AnnouncedEvent = "candidate") -> dict[str, str]:
    """The pipeline parameters with which CircleCI is told of an image's newest build."""
    lock = Lockfile.model_validate(images.lockfile(image))
    return parameters(
        announcement(
            event,
            lock.builds[0],
            of=RecordedImage(images.origin.stem, image, "main", "acme/images", f"state/{image}.lock.json"),
            previous=None,
        )
    )


def validate(machine: NewRunner, validation: Images, told: dict[str, str]) -> Finished:
    pipeline = Pipeline.read(CONFIG, {f"pipeline.parameters.{name}": value for name, value in told.items()})
    environment = {"AWS_ROLE_ARN": ROLE, **pipeline.environment("validate")}
    return machine(validation).run(pipeline.steps("validate"), environment=environment)


def own_tags(sandbox: Sandbox, artifact: dict[str, Any]) -> dict[str, str]:
    exported = sandbox.environment
    ec2: Any = boto3.client(
        "ec2",
        region_name=artifact["location"],
        endpoint_url=sandbox.endpoint,
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
    )
    (image,) = ec2.describe_images(ImageIds=[artifact["id"]])["Images"]
    return {tag["Key"]: tag["Value"] for tag in image["Tags"]}


def leftovers(sandbox: Sandbox) -> list[str]:
    ec2: Any = boto3.client(
        "ec2", region_name="us-east-1", endpoint_url=sandbox.endpoint, aws_access_key_id="x", aws_secret_access_key="x"
    )
    found = [one for reservation in ec2.describe_instances()["Reservations"] for one in reservation["Instances"]]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    return [
        *(one["InstanceId"] for one in found if one["State"]["Name"] != "terminated"),
        *(pair["KeyName"] for pair in ec2.describe_key_pairs()["KeyPairs"]),
        *(group["GroupName"] for group in groups if group["GroupName"] != "default"),
    ]


def test_the_config_declares_what_an_announcement_fills() -> None:
    config = Pipeline.read(CONFIG).config

    assert tuple(config["parameters"]) == CIRCLECI_PARAMETERS
    assert config["workflows"]["validate"]["when"] == {"equal": ["candidate", "<< pipeline.parameters.event >>"]}
    assert_circleci_takes(CONFIG)


def test_a_candidate_that_passes_becomes_stable_and_one_that_fails_is_rejected(
    sandbox: Sandbox, gated: Images, validation: Images, machine: NewRunner
) -> None:
    reconcile(gated)
    sandbox.forget_calls()

    passed = validate(machine, validation, announced(gated, "base"))

    assert not passed.failed, passed.output
    assert asked_of_ec2(sandbox) <= allowed_by_policy()
    (artifact,) = gated.lockfile("base")["builds"][0]["artifacts"]
    tags = own_tags(sandbox, artifact)
    assert tags["reconciler:verdict"] == "passed"
    assert tags["reconciler:verdict-by"] == "images"
    assert tags["reconciler:verdict-evidence"] == "https://circleci.com/gh/acme/images/42"
    assert leftovers(sandbox) == []
    assert (passed.checkout / "results/base.xml").exists()

    reconcile(gated)

    base = gated.lockfile("base")
    assert base["channels"]["stable"] == base["builds"][0]["id"]

    failed = validate(machine, validation, announced(gated, "web"))

    assert failed.failed
    assert "nginx" in failed.output
    assert leftovers(sandbox) == []

    reconcile(gated)

    (web,) = gated.lockfile("web")["builds"]
    assert web["phase"] == "rejected"
    assert web["verdict"]["evidence"] == "https://circleci.com/gh/acme/images/42"


@pytest.mark.parametrize("trouble", ["no such image", "the suites are broken", "the instance is lost"])
def test_who_could_not_test_does_not_vote(
    sandbox: Sandbox, gated: Images, validation: Images, machine: NewRunner, trouble: str
) -> None:
    reconcile(gated)
    told = announced(gated, "base")
    if trouble == "no such image":
        told["artifacts"] = "us-east-1=ami-00000000000000000"
    elif trouble == "the instance is lost":
        validation.write("suites/base/test_base.py", POWER_CUT)
        validation.publish("Pull the plug")
    else:
        validation.write("suites/base/test_base.py", "import nothing_of_the_kind\n")
        validation.publish("Break a suite")

    ended = validate(machine, validation, told)

    assert ended.failed
    assert "no verdict on base" in ended.output
    (artifact,) = gated.lockfile("base")["builds"][0]["artifacts"]
    assert own_tags(sandbox, artifact)["reconciler:verdict"] == "pending", "nobody voted"
    assert leftovers(sandbox) == []


def test_a_list_of_amis_that_was_cut_is_not_voted_on() -> None:
    ended = subprocess.run(
        [sys.executable, str(EXAMPLE / "vote.py"), "pass", "us-east-1=ami-0a,…", "--by", "me", "--evidence", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "reconciler verdict" in ended.stderr


def asked_of_ec2(sandbox: Sandbox) -> set[str]:
    return {f"ec2:{action}" for service, action, _ in sandbox.calls() if service == "ec2"}


def allowed_by_policy() -> set[str]:
    statements = json.loads((EXAMPLE / "iam.json").read_text())["Statement"]
    actions = [one["Action"] if isinstance(one["Action"], list) else [one["Action"]] for one in statements]
    return {action for some in actions for action in some}
