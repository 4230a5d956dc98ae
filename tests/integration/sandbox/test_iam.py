"""The policies in docs/iam, enforced: with the one, all of reconciling passes; with the other, nothing is built."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal
from reconciler.model.source import AmiRequest, SourceRequest
from reconciler.registry.clock import Clock
from reconciler.registry.ec2 import Ec2Registry
from reconciler.registry.images import seen
from reconciler.registry.instances.ec2 import Ec2Instances
from reconciler.registry.instances.protocol import LIFE, BootRequest, Instance
from reconciler.sandbox.handle import Sandbox
from reconciler.model.iam import Need, permitted

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

POLICIES = Path(__file__).parents[3] / "docs/iam"
FLEET, REGION, ELSEWHERE = "acme/images", "us-east-1", "eu-west-1"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TAGS = {"reconciler:fleet": FLEET, "reconciler:image": "web"}

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.packer,
]

# Once as most templates are, and once with what makes a build's leftovers known as ours.
TEMPLATE = """
variable "tags" {
  type    = map(string)
  default = {}
}

source "amazon-ebs" "web" {
  region        = "us-east-1"
  instance_type = "t3.micro"
  ami_name      = "web-${length(var.tags)}"
  ssh_username  = "admin"
  source_ami_filter {
    filters     = { name = "debian-12-amd64-*" }
    owners      = ["136693071363"]
    most_recent = true
  }
  run_tags        = var.tags
  run_volume_tags = var.tags
  tags            = var.tags
}

build {
  sources = ["source.amazon-ebs.web"]
  provisioner "shell" {
    inline = ["true"]
  }
}
"""


def aws(sandbox: Sandbox, service: str, **settings: Any) -> Any:
    exported = sandbox.environment
    settings.setdefault("aws_access_key_id", exported["AWS_ACCESS_KEY_ID"])
    settings.setdefault("aws_secret_access_key", exported["AWS_SECRET_ACCESS_KEY"])
    make: Any = boto3.client
    return make(service, region_name=REGION, endpoint_url=sandbox.endpoint, **settings)


@pytest.fixture(scope="module")
def users(sandbox: Sandbox) -> dict[str, dict[str, str]]:
    """The keys of a user with each policy, by the policy's name."""
    iam = aws(sandbox, "iam")
    keys = {}
    for policy in ("plan", "reconcile"):
        document = (POLICIES / f"{policy}.json").read_text().replace("FLEET", FLEET).replace("ACCOUNT", "123456789012")
        iam.create_user(UserName=policy)
        iam.put_user_policy(UserName=policy, PolicyName="reconciler", PolicyDocument=document)
        made = iam.create_access_key(UserName=policy)["AccessKey"]
        keys[policy] = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
    return keys


@pytest.fixture
def other_fleets(sandbox: Sandbox, ec2: EC2Client) -> Iterator[str]:
    """An image of another fleet in the same account."""
    image = ec2.register_image(Name="theirs")["ImageId"]
    ec2.create_tags(Resources=[image], Tags=[{"Key": "reconciler:fleet", "Value": "others/images"}])
    yield image
    ec2.deregister_image(ImageId=image)


@pytest.fixture
def become(
    sandbox: Sandbox, users: dict[str, dict[str, str]], other_fleets: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Ec2Registry]]:
    """Be the user with a policy, and have IAM enforced."""

    def as_user(policy: str) -> Ec2Registry:
        for name, value in {**sandbox.environment, **users[policy]}.items():
            monkeypatch.setenv(name, value)
        sandbox.enforce_iam()
        return Ec2Registry(AwsSettings(), fleet=FLEET, attempts=1)

    yield as_user
    sandbox.enforce_iam(enforced=False)


def build(folder: Path, tags: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "web.pkr.hcl").write_text(TEMPLATE)
    return subprocess.run(
        ["packer", "build", "-color=false", "-var", f"tags={json.dumps(tags)}", "web.pkr.hcl"],
        cwd=folder,
        env={**os.environ, "PACKER_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("tags", [{}, TAGS], ids=["no-tags", "run-tags"])
def test_who_may_reconcile_may_do_all_of_it(
    become: Callable[[str], Ec2Registry], tmp_path: Path, tags: dict[str, str]
) -> None:
    registry = become("reconcile")

    built = build(tmp_path, tags)
    assert built.returncode == 0, built.stdout + built.stderr
    request = SourceRequest(ami=AmiRequest(name=f"web-{len(tags)}", owners=("self",)))
    pinned = registry.resolve(request, region=REGION).ami
    assert pinned is not None
    made = registry.find(REGION, pinned.id)
    assert made is not None
    registry.tag(made, TAGS)
    copied = registry.copy(made, to=ELSEWHERE, name=made.name, tags=TAGS, token="once")
    copy = registry.wait_available(ELSEWHERE, copied, timeout=30)
    observed = registry.observe([REGION, ELSEWHERE])
    assert {one.id for one in observed.artifacts} == {made.id, copy.id}, observed
    for one in observed.artifacts:
        assert registry.retire(one, image="web") == ()

    assert registry.observe([REGION, ELSEWHERE]).artifacts == ()


@pytest.fixture
def request_of_a_boot(ec2: EC2Client, debian: str, tmp_path: Path) -> BootRequest:
    return BootRequest(
        artifact=seen(ec2.describe_images(ImageIds=[debian])["Images"][0], REGION),
        name="web-1",
        user="admin",
        instance_types=(),
        subnets=(),
        allow_from=("127.0.0.0/8", "::1/128"),
        tags=TAGS,
        timeout=30,
        private_key=tmp_path / "key",
    )


def log_in(instance: Instance) -> str:
    options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    command = ["ssh", "-F", "none", *options, "-i", str(instance.private_key), f"admin@{instance.address}", "echo in"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_who_may_reconcile_may_boot_test_keep_and_terminate(
    become: Callable[[str], Ec2Registry], request_of_a_boot: BootRequest
) -> None:
    become("reconcile")
    instances = Ec2Instances(AwsSettings(), fleet=FLEET, attempts=1)

    instance = instances.boot(request_of_a_boot)
    said = log_in(instance)
    instances.keep(instance, until=NOW)
    console = instances.console(instance)
    instances.terminate(instance)

    assert said == "in\n"
    assert console
    assert instances.state(instance) == "terminated"


def test_who_may_reconcile_may_sweep_all_of_it(
    become: Callable[[str], Ec2Registry], request_of_a_boot: BootRequest
) -> None:
    become("reconcile")
    instances = Ec2Instances(AwsSettings(), fleet=FLEET, clock=Clock(now=lambda: NOW), attempts=1)
    left = instances.boot(request_of_a_boot)

    swept = instances.sweep(REGION, now=NOW + 2 * LIFE)
    assert instances.sweep(REGION, now=NOW + 2 * LIFE) == ()

    assert swept == (left.id,)
    filters: Any = [{"Name": "tag-key", "Values": ["reconciler:purpose"]}]
    assert instances._clients.ec2(REGION).describe_key_pairs(Filters=filters)["KeyPairs"] == []
    assert instances._clients.ec2(REGION).describe_security_groups(Filters=filters)["SecurityGroups"] == []


def test_who_may_plan_boots_nothing(become: Callable[[str], Ec2Registry], request_of_a_boot: BootRequest) -> None:
    become("plan")

    with pytest.raises(Terminal, match="not allowed"):
        Ec2Instances(AwsSettings(), fleet=FLEET, attempts=1).boot(request_of_a_boot)


def test_parameters_are_read_by_both(become: Callable[[str], Ec2Registry]) -> None:
    request = SourceRequest(ssm="/aws/service/debian/release/12/latest/amd64")

    pins = {become(policy).resolve(request, region=REGION).model_dump_json() for policy in ("plan", "reconcile")}

    assert len(pins) == 1


def test_who_may_plan_observes_and_builds_nothing(become: Callable[[str], Ec2Registry], tmp_path: Path) -> None:
    registry = become("plan")

    assert registry.observe([REGION]).unreadable == {}
    built = build(tmp_path, {})

    assert built.returncode == 1
    assert "not authorized to perform: ec2:" in built.stdout


@pytest.mark.parametrize("policy", ["plan", "reconcile"])
def test_another_fleets_images_are_safe(
    become: Callable[[str], Ec2Registry], sandbox: Sandbox, other_fleets: str, policy: str
) -> None:
    registry = become(policy)
    theirs = registry.find(REGION, other_fleets)
    assert theirs is not None

    with pytest.raises(Terminal, match="not allowed"):
        registry.tag(theirs, TAGS)
    # Past our own check, which would refuse before EC2 could.
    mine = aws(
        sandbox,
        "ec2",
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    )
    with pytest.raises(
        mine.exceptions.ClientError, match=f"DeregisterImage on resource: arn:aws:ec2:{REGION}::image/{other_fleets}"
    ):
        mine.deregister_image(ImageId=other_fleets)


IMAGE = f"arn:aws:ec2:{REGION}::image/ami-1"
OURS, THEIRS = {"aws:ResourceTag/reconciler:fleet": FLEET}, {"aws:ResourceTag/reconciler:fleet": "others/images"}
IN_THEIR_NAME = {"aws:RequestTag/reconciler:fleet": "others/images"}
TESTED = {"aws:ResourceTag/reconciler:purpose": "smoke-test"}
IN_OUR_NAME = {"aws:RequestTag/reconciler:fleet": FLEET, "aws:RequestTag/reconciler:purpose": "smoke-test"}
KEY = f"arn:aws:ec2:{REGION}:123456789012:key-pair/smoke-test-web"
INSTANCE = f"arn:aws:ec2:{REGION}:123456789012:instance/i-1"


@pytest.mark.parametrize(
    ("need", "allowed"),
    [
        (Need("ec2:DeregisterImage", IMAGE, OURS), True),
        (Need("ec2:DeregisterImage", IMAGE, THEIRS), False),
        (Need("ec2:DeregisterImage", IMAGE), False),
        (Need("ec2:CreateTags", IMAGE, OURS), True),
        (Need("ec2:CreateTags", IMAGE), True),
        (Need("ec2:CreateTags", IMAGE, IN_THEIR_NAME), False),
        (Need("ec2:CreateTags", IMAGE, OURS | IN_THEIR_NAME), False),
        (Need("ec2:CreateTags", INSTANCE), False),
        (Need("ec2:CreateTags", INSTANCE, {"ec2:CreateAction": "RunInstances"}), True),
        (Need("ec2:CreateTags", INSTANCE, OURS), False),
        (Need("ec2:CreateTags", INSTANCE, OURS | TESTED), True),
        (Need("ec2:CreateTags", INSTANCE, OURS | TESTED | IN_THEIR_NAME), False),
        (Need("ec2:CreateTags", INSTANCE, THEIRS | TESTED), False),
        (Need("ec2:GetConsoleOutput", INSTANCE, OURS | TESTED), True),
        (Need("ec2:GetConsoleOutput", INSTANCE, THEIRS | TESTED), False),
        (Need("ec2:GetConsoleOutput", INSTANCE), False),
        (Need("ec2:ImportKeyPair", KEY, IN_OUR_NAME), True),
        (Need("ec2:ImportKeyPair", KEY), False),
        (Need("ec2:ImportKeyPair", KEY.replace("smoke-test", "somebodys"), IN_OUR_NAME), False),
        (Need("ec2:ModifyImageAttribute", IMAGE, OURS), False),
    ],
)
def test_what_reconciling_may_do_depends_on_whose_it_is(need: Need, allowed: bool) -> None:  # noqa: FBT001  pytest's
    document = json.loads((POLICIES / "reconcile.json").read_text().replace("FLEET", FLEET))

    assert permitted(need, [document]) is allowed
    deny = {"Statement": {"Effect": "Deny", "Action": "ec2:*", "Resource": "*"}}
    assert not permitted(need, [document, deny])
