"""Images are shared, deprecated, protected and disabled as EC2 documents it, and by the adapter that asks it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.model.care import NOBODY, Grants
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.observation import Seen
from reconciler.registries.ec2.registry import Ec2Registry
from reconciler.sandbox import care
from reconciler.sandbox.handle import Sandbox
from tests.integration.sandbox.conftest import check_answer

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

FLEET, HOME = "acme/images", "us-east-1"
TAGS = {"reconciler:fleet": FLEET, "reconciler:image": "web"}
ONE, TWO = "111122223333", "444455556666"
ORGANIZATION = "arn:aws:organizations::123456789012:organization/o-a1b2c3d4e5"
UNIT = "arn:aws:organizations::123456789012:ou/o-a1b2c3d4e5/ou-a1b2-f6g7h8i9"

pytestmark = pytest.mark.sandbox


@pytest.fixture
def registry(healthy: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Ec2Registry:
    for name, value in healthy.environment.items():
        monkeypatch.setenv(name, value)
    return Ec2Registry(AwsSettings(), fleet=FLEET, attempts=1)


@pytest.fixture
def made(registry: Ec2Registry, ec2: EC2Client, request: pytest.FixtureRequest) -> Iterator[Seen]:
    """An image of ours."""
    image = ec2.register_image(Name=request.node.name[:100])["ImageId"]
    found = registry.find(HOME, image)
    assert found is not None
    registry.tag(found, TAGS)
    yield found
    if registry.find(HOME, image) is not None:
        registry.protect(found, on=False)
        ec2.deregister_image(ImageId=image)


def again(registry: Ec2Registry, made: Seen) -> Seen:
    return next(one for one in registry.observe([HOME]).artifacts if one.id == made.id)


def test_every_call_and_answer_is_of_the_form_that_aws_says(ec2: EC2Client, made: Seen) -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    checked: set[str] = set()
    check = partial(check_answer, checked)
    ec2.meta.events.register("after-call.ec2", check)
    ec2.enable_image_deprecation(ImageId=made.id, DeprecateAt=datetime.now(UTC) + timedelta(days=1))
    ec2.disable_image_deprecation(ImageId=made.id)
    ec2.enable_image_deregistration_protection(ImageId=made.id, WithCooldown=False)
    ec2.disable_image_deregistration_protection(ImageId=made.id)
    ec2.disable_image(ImageId=made.id)
    ec2.enable_image(ImageId=made.id)
    ec2.disable_image_block_public_access()
    ec2.enable_image_block_public_access(ImageBlockPublicAccessState="block-new-sharing")
    ec2.get_image_block_public_access_state()

    names = {model.operation_model(name).name for name in model.operation_names}
    served = {handler.__name__.replace("_", "") for handler in care.HANDLERS}
    assert {name for name in names if name.lower() in served} == checked


def test_permissions_are_told_changed_and_lost_once_it_is_disabled(registry: Ec2Registry, made: Seen) -> None:
    everyone = Grants.of([ONE, TWO], [ORGANIZATION], [UNIT])
    registry.share(made, add=everyone, remove=NOBODY)
    registry.share(made, add=NOBODY, remove=Grants.of([TWO]))
    assert registry.grants(made) == Grants.of([ONE], [ORGANIZATION], [UNIT])

    registry.disable(made)

    assert again(registry, made).state == "disabled"
    assert registry.grants(made) == NOBODY
    with pytest.raises(ReconcilerError, match="Unavailable"):
        registry.share(made, add=everyone, remove=NOBODY)
    registry.enable(made)
    assert (again(registry, made).state, registry.grants(made)) == ("available", NOBODY)


def test_a_disabled_image_is_not_launched_and_not_told_of_unless_asked_for(ec2: EC2Client, made: Seen) -> None:
    ec2.disable_image(ImageId=made.id)
    try:
        with pytest.raises(ClientError, match=r"InvalidAMIID\.Unavailable"):
            ec2.run_instances(ImageId=made.id, MinCount=1, MaxCount=1)
        assert made.id not in {one["ImageId"] for one in ec2.describe_images(Owners=["self"])["Images"]}
        told = ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
        assert made.id in {one["ImageId"] for one in told}
    finally:
        ec2.enable_image(ImageId=made.id)


def test_a_date_of_deprecation_is_in_whole_minutes_of_the_next_ten_years(
    registry: Ec2Registry, ec2: EC2Client, made: Seen
) -> None:
    now = datetime.now(UTC)
    registry.deprecate(made, (now + timedelta(days=9)).replace(second=29, microsecond=0))
    assert again(registry, made).deprecated == f"{now + timedelta(days=9):%Y-%m-%dT%H:%M:00Z}"
    for wrong in (now - timedelta(days=1), now + timedelta(days=3700)):
        with pytest.raises(ReconcilerError, match="DeprecateAt"):
            registry.deprecate(made, wrong)
    registry.deprecate(made, None)
    assert again(registry, made).deprecated is None
    ec2.disable_image_block_public_access()
    ec2.modify_image_attribute(ImageId=made.id, LaunchPermission={"Add": [{"Group": "all"}]})
    with pytest.raises(ReconcilerError, match="DeprecateAt"):
        registry.deprecate(made, now + timedelta(days=800))
    ec2.enable_image_block_public_access(ImageBlockPublicAccessState="block-new-sharing")


def test_what_is_protected_stays_and_with_a_cooldown_for_a_day_after(
    registry: Ec2Registry, ec2: EC2Client, made: Seen
) -> None:
    registry.protect(made, on=True)
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        ec2.deregister_image(ImageId=made.id)
    with pytest.raises(Terminal, match="enabled-without-cooldown"):
        registry.retire(made, image="web")
    registry.protect(made, on=False)

    other = ec2.register_image(Name="with-a-cooldown")["ImageId"]
    ec2.enable_image_deregistration_protection(ImageId=other, WithCooldown=True)
    ec2.disable_image_deregistration_protection(ImageId=other)
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        ec2.deregister_image(ImageId=other)

    registry.retire(made, image="web")
    assert registry.find(HOME, made.id) is None


def test_what_others_could_not_use_is_said_before_it_is_shared(
    registry: Ec2Registry, ec2: EC2Client, made: Seen, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = sandbox.environment
    kms = boto3.client(
        "kms", region_name=HOME, endpoint_url=sandbox.endpoint, aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    own = kms.create_key()["KeyMetadata"]["Arn"]

    def copied(name: str, **how: Any) -> Seen:
        image = ec2.copy_image(SourceImageId=made.id, SourceRegion=HOME, Name=name, Encrypted=True, **how)["ImageId"]
        found = registry.find(HOME, image)
        assert found is not None
        return found

    kms.create_alias(AliasName="alias/ours", TargetKeyId=own)
    of_aws, of_ours = copied("by-aws"), copied("by-us", KmsKeyId="alias/ours")
    snapshots = ec2.describe_snapshots(SnapshotIds=list(of_ours.parts))["Snapshots"]
    assert [one["KmsKeyId"] for one in snapshots] == [own]
    found = registry.obstacles(HOME, [made, of_aws, of_ours])

    assert list(found) == [of_aws.id]
    lacked = registry.lacking(HOME, [made, of_ours], to=Grants.of(["222222222222"]))
    assert list(lacked) == [of_ours.id]
    assert "does not name 222222222222, and there is no grant" in lacked[of_ours.id][0]
    assert "encrypted with the key that AWS manages" in found[of_aws.id]
    asked = registry._clients.client("kms", HOME, config=Config())
    described = asked.describe_key

    def others_refused(*, KeyId: str) -> Any:  # noqa: N803  boto3's name for it
        if KeyId == own:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "-"}}, "DescribeKey")
        return described(KeyId=KeyId)

    with monkeypatch.context() as patch:
        patch.setattr(asked, "describe_key", others_refused)
        assert list(registry.obstacles(HOME, [of_aws, of_ours])) == [of_aws.id], "one key hides no other"
    assert set(registry.obstacles(HOME, [made, of_ours], everybody=True)) == {made.id, of_ours.id}
    with pytest.raises(Terminal, match="block public access"):
        registry.share(made, add=Grants.of(everybody=True), remove=NOBODY)
