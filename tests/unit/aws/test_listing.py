"""What is read of an answer of DescribeImages is what botocore would read, page by page, and so are its errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from moto import mock_aws

from reconciler.aws.session import read_listings_fast

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture
def clients() -> Iterator[tuple[EC2Client, EC2Client]]:
    """One that reads as botocore does, and one that reads as we do."""
    with mock_aws():
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
        ours = session.client("ec2")
        ours.register_image(Name="upstream", RootDeviceName="/dev/xvda")  # moto brings some, or none
        read_listings_fast(ours)
        yield session.client("ec2"), ours


def told(answer: Any) -> Any:
    """An answer without what differs from call to call."""
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def test_every_fact_of_every_image_is_read(clients: tuple[EC2Client, EC2Client]) -> None:
    theirs, ours = clients
    made = ours.register_image(Name="web", Description="", RootDeviceName="/dev/xvda", VirtualizationType="hvm")
    ours.create_tags(Resources=[made["ImageId"]], Tags=[{"Key": "a <&> b", "Value": "ü"}, {"Key": "b", "Value": ""}])

    assert told(ours.describe_images()) == told(theirs.describe_images())
    assert told(ours.describe_images(ImageIds=[made["ImageId"]]))["Images"][0]["Tags"][1] == {"Key": "b", "Value": ""}


def test_botocore_is_left_next_to_nothing_to_parse(clients: tuple[EC2Client, EC2Client]) -> None:
    """Else it would be as slow as without, unnoticed: a newer botocore may know another kind of value."""
    left: list[bytes] = []
    ours = clients[1]
    ours.meta.events.register_last(
        "before-parse.ec2.DescribeImages", lambda response_dict, **_: left.append(response_dict["body"])
    )

    answer = ours.describe_images()

    assert answer["Images"]
    assert b"imageId" not in left[0]


def test_pages_follow_each_other(clients: tuple[EC2Client, EC2Client]) -> None:
    theirs, ours = clients
    read = [
        [image["ImageId"] for page in client.get_paginator("describe_images").paginate() for image in page["Images"]]
        for client in clients
    ]
    assert read[0] == read[1] != []
    assert ours.describe_images()["ResponseMetadata"].keys() == theirs.describe_images()["ResponseMetadata"].keys()


def test_a_refusal_is_botocores(clients: tuple[EC2Client, EC2Client]) -> None:
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        clients[1].describe_images(ImageIds=["ami-0123456789abcdef0"])


@pytest.mark.parametrize("body", [b"<html>", b"", b"<html></html>", b"{}"])
def test_an_answer_that_is_not_ec2s_is_left_to_botocore(clients: tuple[EC2Client, EC2Client], body: bytes) -> None:
    outcomes = []
    for client in clients:
        # Before ours, which was registered first and is called in turn.
        client.meta.events.register_first(
            "before-parse.ec2.DescribeImages", lambda response_dict, **_: response_dict.update(body=body)
        )
        try:
            outcomes.append(str(told(client.describe_images())))
        except ResponseParserError as error:
            outcomes.append(type(error).__name__)
    assert outcomes[0] == outcomes[1]
