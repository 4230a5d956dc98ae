"""The policies in docs/iam, enforced: who builds may do all of it and nothing else; who plans builds nothing."""

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

from reconciler.aws.clock import Clock
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal
from reconciler.ports.bench import LIFE, BootRequest, Instance
from reconciler.ports.registry import Remains
from reconciler.registries.ec2.bench import Ec2Instances
from reconciler.registries.ec2.images import seen
from reconciler.registries.ec2.registry import Ec2Registry
from reconciler.registries.ec2.rights import ROLES
from reconciler.sandbox.handle import Sandbox
from tests.sources import amis, parameter

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
    untagged = {f"{role}-untagged": [role, "untagged-builds"] for role in ("preview", "reconcile")}
    parts = {role: [role] for role in ROLES} | untagged
    for policy, files in parts.items():
        iam.create_user(UserName=policy)
        for file in files:
            document = (POLICIES / f"{file}.json").read_text().replace("FLEET", FLEET)
            document = document.replace("ACCOUNT", "123456789012")
            iam.put_user_policy(UserName=policy, PolicyName=file, PolicyDocument=document)
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


@pytest.mark.parametrize(
    ("role", "tags"),
    [("reconcile", {}), ("reconcile", TAGS), ("preview", TAGS)],
    ids=["no-tags", "run-tags", "preview"],
)
def test_who_may_build_may_do_all_of_it(
    become: Callable[[str], Ec2Registry], tmp_path: Path, role: str, tags: dict[str, str], packer_on_path: str | None
) -> None:
    # Packer 1.6 tags no keys and groups, whatever the template takes.
    tagged = bool(tags) and packer_on_path is not None and not packer_on_path.startswith("1.6.")
    registry = become(role if tagged else f"{role}-untagged")

    built = build(tmp_path, tags)
    assert built.returncode == 0, built.stdout + built.stderr
    request = amis(name=f"web-{len(tags)}", owners=("self",))
    pinned = registry.resolve(request, location=REGION).upstream
    assert pinned is not None
    made = registry.find(REGION, pinned.id)
    assert made is not None
    registry.tag(made, TAGS)
    copied = registry.copy(made, to=ELSEWHERE, name=made.name, tags=TAGS, token="once")
    copy = registry.wait_available(ELSEWHERE, copied, timeout=30)
    observed = registry.observe([REGION, ELSEWHERE])
    assert {one.id for one in observed.artifacts} == {made.id, copy.id}, observed
    if role == "preview":
        with pytest.raises(Terminal, match="not allowed"):
            registry.retire(made, image="web")
        registry = become("reconcile")
    for one in observed.artifacts:
        assert registry.retire(one, image="web") == Remains()

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
    request = parameter("/aws/service/debian/release/12/latest/amd64")

    pins = {become(policy).resolve(request, location=REGION).model_dump_json() for policy in ("plan", "reconcile")}

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


def test_who_builds_neither_judges_nor_touches_what_others_have(
    become: Callable[[str], Ec2Registry], sandbox: Sandbox, ec2: EC2Client, other_fleets: str, debian: str
) -> None:
    # Given a candidate of this fleet, and an instance, a security group and a key pair of somebody else.
    ours: Any = [{"Key": name, "Value": value} for name, value in TAGS.items()]
    theirs: Any = {"Key": "Name", "Value": "database"}
    candidate = ec2.register_image(Name="web-candidate")["ImageId"]
    phase: Any = {"Key": "reconciler:phase", "Value": "candidate"}
    ec2.create_tags(Resources=[candidate], Tags=[*ours, phase])
    group = ec2.create_security_group(GroupName=f"of-{candidate}", Description="theirs")["GroupId"]
    key = ec2.create_key_pair(KeyName=f"of-{candidate}")["KeyName"]
    spec: Any = [{"ResourceType": "instance", "Tags": [theirs]}]
    one: Any = {"ImageId": debian, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    instance = ec2.run_instances(**one, TagSpecifications=spec)["Instances"][0]["InstanceId"]

    def tagged(key: str, value: str) -> dict[str, Any]:
        return {"Resources": [candidate], "Tags": [{"Key": f"reconciler:{key}", "Value": value}]}

    def named(fleet: str, kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": [{"Key": "reconciler:fleet", "Value": fleet}]}]

    copied = {"SourceImageId": debian, "SourceRegion": REGION, "Name": "web-20990101T000000Z-0000000"}
    boot = {**one, "TagSpecifications": named(FLEET, "instance")}
    disk = [{"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": "snap-0123456789abcdef0"}}]
    attacks: list[tuple[str, dict[str, Any]]] = [
        ("create_tags", tagged("verdict", "passed")),
        ("create_tags", tagged("verdict-by", "me")),
        ("copy_image", {**copied, "TagSpecifications": named("others/images", "image")}),
        ("copy_image", copied),
        ("run_instances", one),
        ("run_instances", {**boot, "KeyName": key}),
        ("run_instances", {**boot, "SecurityGroupIds": [group]}),
        ("run_instances", {**boot, "BlockDeviceMappings": disk}),
        ("create_image", {"InstanceId": instance, "Name": "their-disk"}),
        ("stop_instances", {"InstanceIds": [instance]}),
        ("terminate_instances", {"InstanceIds": [instance]}),
        ("modify_instance_attribute", {"InstanceId": instance, "DisableApiTermination": {"Value": False}}),
        ("authorize_security_group_ingress", {"GroupId": group, "IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}),
        ("delete_security_group", {"GroupId": group}),
        ("delete_key_pair", {"KeyName": key}),
        ("create_tags", {"Resources": [debian], "Tags": ours}),
    ]
    of_a_preview = [
        ("create_tags", tagged("phase", "stable")),
        ("create_tags", tagged("phase", "rejected")),
        ("create_tags", tagged("verdict", "pending")),
        ("create_tags", tagged("channel", "stable")),
        ("deregister_image", {"ImageId": candidate}),
    ]
    for policy, several in (("reconcile", attacks), ("preview", [*attacks, *of_a_preview])):
        become(policy)
        keys = {name.lower(): os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        mine = aws(sandbox, "ec2", **keys)
        for call, arguments in several:
            # When a builder carries the attack out, then EC2 refuses.
            with pytest.raises(mine.exceptions.ClientError, match="is not authorized to perform"):
                getattr(mine, call)(**arguments)
    sandbox.enforce_iam(enforced=False)
    ec2.terminate_instances(InstanceIds=[instance])
    ec2.deregister_image(ImageId=candidate)
