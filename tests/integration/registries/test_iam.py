"""The policies in docs/iam allow every call that the registry makes, and the first of them no change."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import pytest

from reconciler.aws.iam import matches
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import UserError
from reconciler.ports.bench import LIFE, BootRequest
from reconciler.registries.ec2.bench import Ec2Instances
from reconciler.registries.ec2.registry import Ec2Registry
from tests.sources import amis, parameter

POLICIES = Path(__file__).parents[3] / "docs" / "iam"
TAGS = {"reconciler:fleet": "acme/images", "reconciler:image": "web"}
REGION = "us-east-1"


def allowed(policy: str) -> set[str]:
    statements = [one for one in json.loads((POLICIES / policy).read_text())["Statement"] if one["Effect"] == "Allow"]
    actions = [one["Action"] if isinstance(one["Action"], list) else [one["Action"]] for one in statements]
    return {action for some in actions for action in some}


def beyond(called: set[str], policy: str) -> set[str]:
    """What was asked of AWS and is in no statement, which may name several by a pattern."""
    return {action for action in called if not any(matches(action, pattern) for pattern in allowed(policy))}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every action asked of AWS, as IAM names it."""
    actions: set[str] = set()
    plain: Callable[..., Any] = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined] # private

    def record(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        actions.add(f"{self.meta.service_model.service_name}:{operation}")
        return plain(self, operation, arguments)

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", record)
    return actions


def read_everything(registry: Ec2Registry) -> None:
    registry.observe([REGION])
    registry.find(REGION, "ami-00000000")
    for request in (parameter("/images/debian"), amis(name="x", owners=("self",))):
        with pytest.raises(UserError):
            registry.resolve(request, location=REGION)


def test_the_plan_s_policy_allows_all_that_reads(moto: str, called: set[str]) -> None:
    read_everything(Ec2Registry(AwsSettings(), fleet="acme/images"))

    assert called
    assert not beyond(called, "plan.json")


def test_the_plan_s_policy_allows_nothing_that_writes() -> None:
    assert all(action.partition(":")[2].startswith(("Describe", "Get", "List")) for action in allowed("plan.json"))


def test_the_reconcile_policy_allows_all_that_the_registry_does(moto: str, called: set[str]) -> None:
    registry = Ec2Registry(AwsSettings(), fleet="acme/images")
    read_everything(registry)
    made = registry._clients.ec2(REGION).register_image(Name="web-1")["ImageId"]
    called.discard("ec2:RegisterImage")  # the test's own
    source = registry.find(REGION, made)
    assert source is not None
    registry.tag(source, TAGS)
    registry.copy(source, to="eu-west-1", name="web-1", tags=TAGS, token="one")
    rules = boto3.client("rbin", region_name=REGION)
    for kind in ("EC2_IMAGE", "EBS_SNAPSHOT"):
        rules.create_rule(
            ResourceType=kind, RetentionPeriod={"RetentionPeriodValue": 1, "RetentionPeriodUnit": "DAYS"}
        )  # fmt: skip
    called.discard("rbin:CreateRule")  # the test's own
    for _ in range(2):
        registry.retire(source, image="web")
    assert registry.restorable(REGION) == 1
    assert [one.id for one in registry.binned(REGION)] == [made]
    for _ in range(2):
        registry.restore(source)

    assert {"ec2:RestoreImageFromRecycleBin", "ec2:RestoreSnapshotFromRecycleBin", "rbin:ListRules"} <= called
    assert {"ec2:CopyImage", "ec2:DeregisterImage", "ec2:DeleteSnapshot", "ec2:DescribeSnapshots"} <= called
    assert not beyond(called, "reconcile.json")


def test_the_reconcile_policy_allows_all_that_a_smoke_test_does(moto: str, called: set[str], tmp_path: Path) -> None:
    instances = Ec2Instances(AwsSettings(), fleet="acme/images")
    registry = Ec2Registry(AwsSettings(), fleet="acme/images")
    made = registry._clients.ec2(REGION).register_image(Name="web-1")["ImageId"]
    called.discard("ec2:RegisterImage")  # the test's own
    artifact = registry.find(REGION, made)
    assert artifact is not None
    request = BootRequest(
        artifact=artifact,
        name="web-1",
        user="admin",
        instance_types=("t3.micro",),
        subnets=(),
        allow_from=("192.0.2.0/24",),
        tags=TAGS,
        timeout=60,
        private_key=tmp_path / "key",
    )

    instance = instances.boot(request)
    instances.state(instance)
    instances.console(instance)
    instances.keep(instance, until=datetime(2026, 1, 1, tzinfo=UTC))
    instances.terminate(instance)
    instances.boot(request)
    instances.sweep(REGION, now=datetime.now(UTC) + 2 * LIFE)

    assert {"ec2:RunInstances", "ec2:GetConsoleOutput", "ec2:DescribeKeyPairs", "ec2:TerminateInstances"} <= called
    assert not beyond(called, "reconcile.json")


def test_a_role_that_is_named_is_assumed_before_anything_is_read(moto: str, called: set[str]) -> None:
    role = "arn:aws:iam::123456789012:role/reconciler-plan"

    observation = Ec2Registry(AwsSettings(role=role), fleet="acme/images").observe([REGION, "eu-west-1"])

    assert observation.unreadable == {}
    assert called == {"sts:AssumeRole", "ec2:DescribeImages"}
