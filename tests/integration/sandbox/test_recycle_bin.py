"""The sandbox's Recycle Bin keeps what its rules name, and gives it back, as EC2 and the bin document it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.sandbox import recycle_bin
from reconciler.sandbox.handle import Sandbox
from tests.integration.sandbox.conftest import check_answer

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

OURS = {"Key": "reconciler:fleet", "Value": "acme/images"}
RULE_TAG = {"ResourceTagKey": OURS["Key"], "ResourceTagValue": OURS["Value"]}
WEEK = {"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"}
DAY = 24 * 3600

pytestmark = pytest.mark.sandbox


@pytest.fixture
def rules(healthy: Sandbox) -> Iterator[Any]:
    """The Recycle Bin of a region, through the proxy; the rules of a test go with it."""
    exported = healthy.environment
    made = boto3.client(
        "rbin",
        region_name="us-east-1",
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
        verify=exported["AWS_CA_BUNDLE"],
        config=Config(retries={"total_max_attempts": 1}, proxies={"https": exported["HTTPS_PROXY"]}),
    )
    yield made
    for kind in ("EC2_IMAGE", "EBS_SNAPSHOT"):
        for one in made.list_rules(ResourceType=kind)["Rules"]:
            made.delete_rule(Identifier=one["Identifier"])


def keep_ours(rules: Any) -> None:
    for kind in ("EC2_IMAGE", "EBS_SNAPSHOT"):
        rules.create_rule(ResourceType=kind, RetentionPeriod=WEEK, ResourceTags=[RULE_TAG])


def removed(ec2: EC2Client, name: str, *, tags: bool = True) -> tuple[str, str]:
    """An image that was there, and its snapshot."""
    image = ec2.register_image(Name=name)["ImageId"]
    snapshot = ec2.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    if tags:
        ec2.create_tags(Resources=[image, snapshot], Tags=[OURS])  # type: ignore[list-item]  # a tag
    ec2.deregister_image(ImageId=image)
    ec2.delete_snapshot(SnapshotId=snapshot)
    return image, snapshot


def test_every_call_and_answer_is_of_the_form_that_aws_says(ec2: EC2Client, rules: Any) -> None:
    checked: set[str] = set()
    check = partial(check_answer, checked)
    ec2.meta.events.register("after-call.ec2", check)
    rules.meta.events.register("after-call.rbin", check)
    keep_ours(rules)
    image, snapshot = removed(ec2, "formed")
    (listed, *_) = rules.list_rules(ResourceType="EC2_IMAGE")["Rules"]
    assert rules.get_rule(Identifier=listed["Identifier"])["ResourceTags"] == [RULE_TAG]
    assert [one["Name"] for one in ec2.list_images_in_recycle_bin(ImageIds=[image])["Images"]] == ["formed"]
    ec2.list_snapshots_in_recycle_bin(SnapshotIds=[snapshot])
    ec2.restore_snapshot_from_recycle_bin(SnapshotId=snapshot)
    ec2.restore_image_from_recycle_bin(ImageId=image)
    rules.meta.events.unregister("after-call.rbin", check)  # DeleteRule answers nothing

    model = botocore.session.get_session().get_service_model("ec2")
    names = {model.operation_model(name).name for name in model.operation_names}
    handlers = (*recycle_bin.IMAGE_HANDLERS, *recycle_bin.SNAPSHOT_HANDLERS)
    served = {handler.__name__.replace("_", "") for handler in handlers} - {"deletesnapshot"}  # it answers nothing
    assert {name for name in names if name.lower() in served} <= checked
    assert {"CreateRule", "GetRule", "ListRules"} <= checked


def test_an_image_comes_back_after_its_snapshot_with_its_tags(ec2: EC2Client, rules: Any) -> None:
    keep_ours(rules)
    image, snapshot = removed(ec2, "back")
    with pytest.raises(ClientError, match=r"InvalidSnapshot\.NotFound"):
        ec2.restore_image_from_recycle_bin(ImageId=image)
    ec2.restore_snapshot_from_recycle_bin(SnapshotId=snapshot)
    ec2.restore_image_from_recycle_bin(ImageId=image)
    (found,) = ec2.describe_images(ImageIds=[image])["Images"]
    assert (found["State"], found["Tags"]) == ("available", [OURS])
    assert image not in [one["ImageId"] for one in ec2.list_images_in_recycle_bin()["Images"]]


def test_what_no_rule_names_is_gone_and_what_one_does_after_its_time(
    healthy: Sandbox, ec2: EC2Client, rules: Any
) -> None:
    keep_ours(rules)
    others, _ = removed(ec2, "others", tags=False)
    image, _ = removed(ec2, "late")
    kept = {one["ImageId"] for one in ec2.list_images_in_recycle_bin()["Images"]}
    assert (others in kept, image in kept) == (False, True)
    healthy.lapse(8 * DAY)
    assert image not in {one["ImageId"] for one in ec2.list_images_in_recycle_bin()["Images"]}
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        ec2.restore_image_from_recycle_bin(ImageId=image)


def test_an_instance_of_a_restored_image_finds_what_was_in_it(ec2: EC2Client, rules: Any, debian: str) -> None:
    keep_ours(rules)
    started = ec2.run_instances(ImageId=debian, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    image = ec2.create_image(InstanceId=started, Name="with files")["ImageId"]
    (described,) = ec2.describe_images(ImageIds=[image])["Images"]
    snapshot = described["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    ec2.create_tags(Resources=[image, snapshot], Tags=[OURS])  # type: ignore[list-item]  # a tag
    ec2.terminate_instances(InstanceIds=[started])
    ec2.deregister_image(ImageId=image)
    ec2.delete_snapshot(SnapshotId=snapshot)
    ec2.restore_snapshot_from_recycle_bin(SnapshotId=snapshot)
    ec2.restore_image_from_recycle_bin(ImageId=image)
    again = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[again])
