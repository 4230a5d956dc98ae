"""Who uses an AMI in other accounts, by EC2's reports, asked of a real server with several accounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings
from reconciler.registries.ec2.usage_reports import COUNTS_FOR, elsewhere

US, OTHER, FLEET = "us-east-1", "222222222222", "acme/images"


@pytest.fixture
def clients(moto: str) -> Clients:
    assert moto
    return Clients(AwsSettings(), attempts=2)


@pytest.fixture
def image(clients: Clients) -> str:
    assert clients
    return str(boto3.client("ec2", US).register_image(Name="web-1")["ImageId"])


def theirs() -> Any:
    """EC2 as another account has it."""
    keys = boto3.client("sts", US).assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/theirs", RoleSessionName="theirs")
    given = keys["Credentials"]
    return boto3.client(
        "ec2", US, aws_access_key_id=given["AccessKeyId"], aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )  # fmt: skip


def told(clients: Clients, *ids: str, asks: bool = False, after: timedelta = timedelta()) -> Any:
    return elsewhere(clients, US, ids, fleet=FLEET, asks=asks, now=datetime.now(UTC) + after)


def test_a_report_is_asked_for_once_waited_for_and_read(clients: Clients, image: str) -> None:
    theirs().create_launch_template(LaunchTemplateName="theirs", LaunchTemplateData={"ImageId": image})
    assert "no report" in told(clients, image)[image]
    assert "is being made" in told(clients, image, asks=True)[image]
    assert "is being made" in told(clients, image, asks=True)[image]
    (use,) = told(clients, image, asks=True)[image]
    assert (use.place, use.by.split(", by")[0]) == ((US, image), f"account {OTHER} (1 launch template")
    assert len(clients.ec2(US).describe_image_usage_reports()["ImageUsageReports"]) == 1


def test_nobody_uses_it_is_known_only_by_a_report_that_is_young(clients: Clients, image: str) -> None:
    told(clients, image, asks=True)
    told(clients, image)
    assert told(clients, image) == {image: ()}
    assert "no report" in told(clients, image, after=COUNTS_FOR + timedelta(hours=1))[image]


def test_old_versions_of_others_templates_are_seen(clients: Clients, image: str) -> None:
    ec2 = theirs()
    ec2.create_launch_template(LaunchTemplateName="old", LaunchTemplateData={"ImageId": image})
    for _ in range(30):
        ec2.create_launch_template_version(LaunchTemplateName="old", LaunchTemplateData={"ImageId": "ami-00000000"})
    for _ in range(2):
        told(clients, image, asks=True)
    assert len(told(clients, image)[image]) == 1


def test_a_report_of_somebody_else_counts_for_nothing(clients: Clients, image: str) -> None:
    boto3.client("ec2", US).create_image_usage_report(ImageId=image, ResourceTypes=[{"ResourceType": "ec2:Instance"}])
    assert "no report" in told(clients, image)[image]


def test_what_may_not_be_read_or_asked_for_is_told_and_nothing_is_raised(
    clients: Clients, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, "CreateImageUsageReport")

    monkeypatch.setattr(clients.ec2(US), "create_image_usage_report", refused)
    assert "not allowed" in told(clients, image, asks=True)[image]
    gone = told(clients, "ami-0123456789abcdef0", asks=True)
    assert isinstance(gone["ami-0123456789abcdef0"], str)


def test_many_cost_few_calls(clients: Clients, image: str) -> None:
    called: list[str] = []
    clients.ec2(US).meta.events.register("before-call.ec2", lambda model, **_: called.append(model.name))
    ids = [image, *(f"ami-{number:017x}" for number in range(150))]
    told(clients, *ids)
    assert called == ["DescribeImageUsageReports"] * 2


def test_a_report_of_less_counts_for_nothing_whoever_tagged_it_as_ours(clients: Clients, image: str) -> None:
    """Whoever may make reports, or tag them, would have an image go that somebody uses."""
    theirs().create_launch_template(LaunchTemplateName="theirs", LaunchTemplateData={"ImageId": image})
    every = [
        {"ResourceType": kind}
        for kind in ("ec2:Instance", "ec2:LaunchTemplate", "imagebuilder:ImageRecipe", "imagebuilder:ContainerRecipe")
    ]
    deep = [{"OptionName": "version-depth", "OptionValues": ["10000"]}]
    whole: Any = [one | ({"ResourceTypeOptions": deep} if "Launch" in one["ResourceType"] else {}) for one in every]
    ours: Any = [{"ResourceType": "image-usage-report", "Tags": [{"Key": "reconciler:fleet", "Value": FLEET}]}]
    for less in (
        {"ResourceTypes": every[:1]}, {"ResourceTypes": every}, {"ResourceTypes": whole, "AccountIds": ["333333333333"]}
    ):  # fmt: skip
        boto3.client("ec2", US).create_image_usage_report(ImageId=image, TagSpecifications=ours, **less)
    told(clients, image)
    assert "no report" in told(clients, image)[image]
