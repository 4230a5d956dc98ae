"""The rights on a bucket that `iam-policy --disks` prints are enough for every call that is made there, each judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import pytest

from reconciler.aws.iam import Need, permitted
from reconciler.model.declaration import Settings
from reconciler.model.lockfile import Artifact
from reconciler.plan.tags import own
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening
from reconciler.registries.disk import objects
from reconciler.registries.disk.registry import DiskRegistry
from reconciler.registries.ec2.rights import Role, disks
from tests.iam import AT

HOME = "s3://acme-images/appliance"
MARKS = own(fleet="acme/images", image="web", build="20261122T101530Z-1a2b3c4")
MIB = 1 << 20
_LISTS, _IN_PARTS = "ListObjectsV2", ("CreateMultipartUpload", "UploadPart")
_ACTIONS = {
    "HeadObject": "GetObject", "CompleteMultipartUpload": "PutObject", **dict.fromkeys(_IN_PARTS, "PutObject"),
    _LISTS: "ListBucket",
}  # fmt: skip
"""What IAM calls a call, where that has another name ("Required permissions for Amazon S3 API operations")."""


def needed(operation: str, arguments: dict[str, Any]) -> Need:
    """What a call has to be allowed, with the condition keys that S3 gives for it."""
    bucket = f"arn:aws:s3:::{arguments['Bucket']}"
    if operation == _LISTS:
        return Need("s3:ListBucket", bucket, {"s3:prefix": arguments["Prefix"]})
    action = _ACTIONS.get(operation, operation)
    context = {"s3:ObjectCreationOperation": "false" if operation in _IN_PARTS else "true"}
    for name, key in (("IfMatch", "s3:if-match"), ("IfNoneMatch", "s3:if-none-match")):
        context |= {key: arguments[name]} if name in arguments else {}
    return Need(f"s3:{action}", f"{bucket}/{arguments['Key']}", context if action == "PutObject" else {})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, moto: str, tmp_path: Path) -> list[Need]:
    """Everything that S3 is asked for, once there is a bucket."""
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="acme-images")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "_PART", 5 * MIB)
    needs: list[Need] = []
    plain: Callable[..., Any] = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined] # private

    def record(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        needs.append(needed(operation, arguments))
        return plain(self, operation, arguments)

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", record)
    return needs


def refused(role: Role, needs: list[Need]) -> list[Need]:
    granted = disks(role, replace(AT, disks=[HOME]))
    return [need for need in needs if not permitted(need, [granted])]


def made(registry: DiskRegistry, folder: Path, *, size: int, name: str) -> Artifact:
    left = folder / "left"
    left.write_bytes(b"x" * size)
    (one,) = registry.store(HOME, [Made("qemu.web", "", "", (str(left),))], name=name, tags=MARKS)
    return one


def test_each_role_may_make_every_call_that_it_needs_and_the_one_that_reads_no_other(
    asked: list[Need], tmp_path: Path
) -> None:
    registry = DiskRegistry(Opening("acme/images", Settings()))
    small = made(registry, tmp_path, size=7, name="web-1")
    large = made(registry, tmp_path, size=6 * MIB, name="web-2")
    made(registry, tmp_path, size=7, name="web-3")
    registry.tag(small, {"CostCenter": "42"})
    registry.copy(small, to=str(tmp_path / "copies"), name="web-1", tags=MARKS, token="")
    assert {need.action for need in asked} == {"s3:PutObject", "s3:GetObject"}
    assert refused("preview", asked) == refused("reconcile", asked) == []
    assert refused("plan", asked)

    asked.clear()
    assert len(registry.observe([HOME]).artifacts) == 3
    assert registry.find(HOME, f"sha256:{'0' * 64}") is None
    assert registry.given(HOME, f"{HOME}/{large.id}")
    assert {need.action for need in asked} == {"s3:ListBucket", "s3:GetObject"}
    assert refused("plan", asked) == []

    asked.clear()
    registry.retire(small, image="web")
    assert "s3:DeleteObject" in {need.action for need in asked}
    assert refused("reconcile", asked) == []
    assert {need.action for need in refused("preview", asked)} == {"s3:DeleteObject"}
