"""AWS as the controller meets it: idempotent copies, pages, tags at birth, errors under EC2's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError

from reconciler.model.errors import UserError
from reconciler.sandbox.handle import REGIONS, Sandbox

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef

    from tests.integration.sandbox.conftest import Client

pytestmark = pytest.mark.sandbox


def image_of(ec2: EC2Client, image_id: str) -> ImageTypeDef:
    return ec2.describe_images(ImageIds=[image_id])["Images"][0]


def test_every_region_has_the_same_upstream_images(region: Client) -> None:
    names = [sorted(i["Name"] for i in region(name).describe_images()["Images"] if i["Public"]) for name in REGIONS]

    assert "debian-12-amd64-20261101-1234" in names[0]
    assert all(found == names[0] for found in names)


def test_an_upstream_publishes_a_newer_image_in_every_region(healthy: Sandbox, region: Client) -> None:
    ids = healthy.publish("debian-12-amd64-20261115-1300")

    for name in REGIONS:
        assert image_of(region(name), ids[name])["CreationDate"] == "2026-11-15T06:00:00.000Z"
    exported = healthy.environment
    ssm = boto3.client(
        "ssm",
        region_name="eu-west-1",
        endpoint_url=healthy.endpoint,
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
    )
    newest = ssm.get_parameter(Name="/aws/service/debian/release/12/latest/amd64")["Parameter"]
    assert newest["Value"] == ids["eu-west-1"]


def test_publishing_a_taken_or_unknown_name_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(UserError, match="published already"):
        sandbox.publish("debian-12-amd64-20261101-1234")
    with pytest.raises(UserError, match="no upstream publishes"):
        sandbox.publish("plan9-20261101")


def test_a_copy_with_the_same_token_is_the_same_image(debian: str, region: Client) -> None:
    there = region("eu-west-1")

    def copy(name: str = "once") -> str:
        return there.copy_image(
            SourceImageId=debian,
            SourceRegion="us-east-1",
            Name=name,
            ClientToken="token-1",
            TagSpecifications=[
                {"ResourceType": "image", "Tags": [{"Key": "kind", "Value": "image"}]},
                {"ResourceType": "snapshot", "Tags": [{"Key": "kind", "Value": "snapshot"}]},
            ],
        )["ImageId"]

    first = copy()

    assert copy() == first
    found = there.describe_images(Filters=[{"Name": "name", "Values": ["once"]}])["Images"]
    assert [image["ImageId"] for image in found] == [first]
    assert found[0]["Tags"] == [{"Key": "kind", "Value": "image"}]
    snapshot = found[0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    tags = there.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["Tags"]
    assert tags == [{"Key": "kind", "Value": "snapshot"}]
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        copy("other")


def test_a_copy_has_snapshots_of_its_own(ec2: EC2Client, debian: str, region: Client) -> None:
    there = region("us-west-2")
    copied = there.copy_image(SourceImageId=debian, SourceRegion="us-east-1", Name="own")["ImageId"]
    (image,) = there.describe_images(ImageIds=[copied])["Images"]
    assert (image.get("SourceImageRegion"), image.get("SourceImageId")) == ("us-east-1", debian)

    snapshots = [
        i["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] for i in (image_of(there, copied), image_of(ec2, debian))
    ]

    assert snapshots[0] != snapshots[1]


def test_a_name_is_taken_once(ec2: EC2Client, debian: str) -> None:
    ec2.copy_image(SourceImageId=debian, SourceRegion="us-east-1", Name="taken")

    with pytest.raises(ClientError, match=r"InvalidAMIName\.Duplicate"):
        ec2.copy_image(SourceImageId=debian, SourceRegion="us-east-1", Name="taken")


def test_images_come_in_pages(region: Client) -> None:
    ec2 = region("ap-southeast-1")
    made = {ec2.register_image(Name=f"page-{number}")["ImageId"] for number in range(5)}
    pages = list(ec2.get_paginator("describe_images").paginate(Owners=["self"], PaginationConfig={"PageSize": 2}))

    assert [len(page["Images"]) for page in pages] == [2, 2, 1]
    assert {image["ImageId"] for page in pages for image in page["Images"]} == made


@pytest.mark.parametrize(
    ("name", "values", "count"),
    [
        ("name", ["debian-12-amd64-20261101-*"], 1),
        ("name", ["debian-12-amd64-2026110?-1234"], 1),
        ("name", ["nothing-[12]"], 0),
        ("root-device-type", ["ebs", "instance-store"], 10),
        ("architecture", ["arm64"], 0),
        ("tag:none", ["*"], 0),
    ],
)
def test_filters_choose(region: Client, name: str, values: list[str], count: int) -> None:
    # A region that no other test publishes to or copies into.
    ec2 = region("ca-central-1")
    found = ec2.describe_images(
        Filters=[{"Name": name, "Values": values}, {"Name": "creation-date", "Values": ["2026-11-01T*"]}]
    )

    assert len(found["Images"]) == count


def test_an_unknown_image_is_not_found(ec2: EC2Client, debian: str, region: Client) -> None:
    gone = ec2.register_image(Name="gone")["ImageId"]
    ec2.deregister_image(ImageId=gone)

    with pytest.raises(ClientError, match=rf"InvalidAMIID\.NotFound.*{gone}"):
        ec2.describe_images(ImageIds=[debian, gone])
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        region("eu-west-1").copy_image(SourceImageId=gone, SourceRegion="us-east-1", Name="nowhere")
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        ec2.run_instances(ImageId=gone, MinCount=1, MaxCount=1)
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        ec2.create_tags(Resources=[gone], Tags=[{"Key": "a", "Value": "b"}])


def test_an_image_can_be_shared_and_deprecated(ec2: EC2Client) -> None:
    image = ec2.register_image(Name="shared")["ImageId"]

    ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": "111122223333"}]})
    ec2.enable_image_deprecation(ImageId=image, DeprecateAt="2027-01-01T00:00:00Z")

    permissions = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    assert permissions["LaunchPermissions"] == [{"UserId": "111122223333"}]
    assert image_of(ec2, image)["DeprecationTime"] == "2027-01-01T00:00:00.000Z"


def test_a_spot_instance_runs_as_any_other(ec2: EC2Client, debian: str) -> None:
    # As Packer asks for one where a template has spot_price.
    template = ec2.create_launch_template(
        LaunchTemplateName="spot", LaunchTemplateData={"ImageId": debian, "InstanceType": "t3.micro"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    fleet = ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
                "Overrides": [{"InstanceType": "t3.micro"}],
            }
        ],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
    )
    (started,) = fleet["Instances"][0]["InstanceIds"]
    (found,) = ec2.describe_instances(InstanceIds=[started])["Reservations"][0]["Instances"]
    assert (found["State"]["Name"], found["PublicIpAddress"].split(".")[0]) == ("running", "127")
    ec2.terminate_instances(InstanceIds=[started])


def test_an_image_may_be_described_anew(ec2: EC2Client) -> None:
    image = ec2.register_image(Name="described", Description="at first")["ImageId"]

    ec2.modify_image_attribute(ImageId=image, Description={"Value": "web, of nginx"})
    assert image_of(ec2, image)["Description"] == "web, of nginx"

    ec2.modify_image_attribute(ImageId=image, Attribute="description", Value="by its name")
    assert image_of(ec2, image)["Description"] == "by its name"

    ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": "111122223333"}]})
    assert image_of(ec2, image)["Description"] == "by its name"


def test_what_a_publishers_image_holds_is_in_its_description(ec2: EC2Client) -> None:
    (amazons,) = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-*"]}])["Images"]
    assert amazons["Description"] == f"{amazons['Name']}: in this sandbox with the sandbox's own Debian 12 inside"


def test_a_registered_image_is_for_the_machines_that_it_was_registered_for(ec2: EC2Client, region: Client) -> None:
    image = ec2.register_image(
        Name="registered",
        Architecture="arm64",
        BootMode="uefi",
        RootDeviceName="/dev/xvda",
        VirtualizationType="hvm",
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "born", "Value": "tagged"}]}],
    )["ImageId"]
    there = region("eu-west-1")
    copy = there.copy_image(Name="copied", SourceImageId=image, SourceRegion="us-east-1")["ImageId"]

    for found in (image_of(ec2, image), image_of(there, copy)):
        assert (found["Architecture"], found["BootMode"]) == ("arm64", "uefi")
        assert (found["RootDeviceName"], found["VirtualizationType"]) == ("/dev/xvda", "hvm")
    assert image_of(ec2, image)["Tags"] == [{"Key": "born", "Value": "tagged"}]


def test_amazons_images_are_found_by_their_owners_alias(ec2: EC2Client) -> None:
    named: FilterTypeDef = {"Name": "name", "Values": ["al2023-ami-2023.*"]}
    found = ec2.describe_images(Owners=["amazon"], Filters=[named])["Images"]

    assert [(image["OwnerId"], image["ImageOwnerAlias"]) for image in found] == [("137112412989", "amazon")]


def test_an_image_takes_its_snapshots_along_when_asked(ec2: EC2Client) -> None:
    image = ec2.register_image(Name="with-snapshot")["ImageId"]
    snapshot = image_of(ec2, image)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]

    ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)

    with pytest.raises(ClientError, match=r"InvalidSnapshot\.NotFound"):
        ec2.describe_snapshots(SnapshotIds=[snapshot])


def test_an_injected_fault_strikes_so_often_and_only_there(healthy: Sandbox, debian: str, region: Client) -> None:
    healthy.inject(action="DescribeImages", region="eu-west-1", code="RequestLimitExceeded", times=2)
    struck, spared = region("eu-west-1"), region("us-east-1")

    spared.describe_images()
    for _ in range(2):
        with pytest.raises(ClientError, match="RequestLimitExceeded") as caught:
            struck.describe_images()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    struck.describe_images()


def test_a_fault_can_lose_the_answer_of_a_call_that_took_effect(healthy: Sandbox, ec2: EC2Client) -> None:
    healthy.inject(action="RegisterImage", code="InternalError", after=True)

    with pytest.raises(ClientError, match="InternalError"):
        ec2.register_image(Name="unheard")

    assert ec2.describe_images(Filters=[{"Name": "name", "Values": ["unheard"]}])["Images"]


def test_calls_are_counted_through_either_door(healthy: Sandbox, ec2: EC2Client, debian: str) -> None:
    healthy.forget_calls()
    exported = healthy.environment
    plain = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=healthy.endpoint,
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
    )

    plain.describe_images()
    ec2.describe_images()

    assert healthy.calls() == {("ec2", "DescribeImages", "us-east-1"): 2}
