from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.stub import Stubber

from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import NoCredentials, Terminal
from reconciler.model.observation import Seen
from reconciler.registries.ec2.images import literal, observe

FILTER = [{"Name": "tag:reconciler:fleet", "Values": ["acme/images"]}]
ASKED: dict[str, Any] = {"Owners": ["self"], "Filters": FILTER, "IncludeDisabled": True, "MaxResults": 1000}


def image(number: int, *, state: str = "available", fleet: str = "acme/images") -> dict[str, Any]:
    return {
        "ImageId": f"ami-{number}",
        "Name": f"web-{number}",
        "State": state,
        "CreationDate": "2026-11-22T10:15:30.000Z",
        "Tags": [{"Key": "reconciler:fleet", "Value": fleet}],
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": f"snap-{number}"}},
            {"DeviceName": "/dev/xvdb", "VirtualName": "ephemeral0"},
            {"DeviceName": "/dev/xvdc", "Ebs": {"VolumeSize": 8}},
        ],
    }


def test_an_image_is_seen_with_its_snapshots_and_whole_seconds(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", {"Images": [image(1)]}, ASKED)

    (seen,) = observe(clients, ["us-east-1"], fleet="acme/images").artifacts

    assert seen == Seen(
        kind="ami",
        location="us-east-1",
        id="ami-1",
        name="web-1",
        state="available",
        created="2026-11-22T10:15:30Z",
        tags={"reconciler:fleet": "acme/images"},
        parts=("snap-1",),
    )


def test_a_fleet_of_more_than_a_page_is_read_whole_and_in_order(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", {"Images": [image(2)], "NextToken": "more"}, ASKED)
    ec2.add_response("describe_images", {"Images": [image(1)]}, {**ASKED, "NextToken": "more"})

    observation = observe(clients, ["us-east-1", "us-east-1"], fleet="acme/images")

    assert [seen.id for seen in observation.artifacts] == ["ami-1", "ami-2"]


def test_a_page_that_fails_makes_the_region_unreadable_not_shorter(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", {"Images": [image(1)], "NextToken": "more"}, ASKED)
    ec2.add_client_error("describe_images", "RequestLimitExceeded", response_meta={"RetryAttempts": 7})

    observation = observe(clients, ["us-east-1"], fleet="acme/images")

    assert observation.artifacts == ()
    assert observation.unreadable == {"us-east-1": "RequestLimitExceeded after 8 tries"}


def test_what_to_do_about_a_region_that_can_not_be_read_is_kept_beside_why(clients: Clients, ec2: Stubber) -> None:
    ec2.add_client_error("describe_images", "UnauthorizedOperation", "not ec2:DescribeImages")

    observation = observe(clients, ["us-east-1"], fleet="acme/images")

    assert set(observation.unreadable) == set(observation.hints) == {"us-east-1"}
    why, *what_to_do = observation.told["us-east-1"].splitlines()
    assert (why, [line.strip() for line in what_to_do]) == (
        observation.unreadable["us-east-1"], list(observation.hints["us-east-1"])
    )  # fmt: skip


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("pending", "pending"), ("transient", "pending"), ("failed", "failed"), ("error", "failed"),
     ("disabled", "disabled"), ("invalid", "unusable")],
)  # fmt: skip
def test_an_image_that_exists_in_any_state_is_seen(clients: Clients, ec2: Stubber, theirs: str, ours: str) -> None:
    ec2.add_response("describe_images", {"Images": [image(1, state=theirs)]}, ASKED)

    (seen,) = observe(clients, ["us-east-1"], fleet="acme/images").artifacts

    assert seen.state == ours


@pytest.mark.parametrize(
    ("origin", "copy_of"),
    [
        ({"SourceImageId": "ami-9", "SourceImageRegion": "eu-west-1"}, ("eu-west-1", "ami-9")),
        ({"SourceImageId": "ami-9", "SourceImageRegion": "eu-west-1", "SourceInstanceId": "i-9"}, None),
        ({"SourceImageId": "ami-9"}, None),
        ({}, None),
    ],
    ids=["copied", "made from an instance of that image", "of no region", "not told"],
)
def test_only_what_was_copied_is_a_copy(
    clients: Clients, ec2: Stubber, origin: dict[str, str], copy_of: tuple[str, str] | None
) -> None:
    ec2.add_response("describe_images", {"Images": [{**image(1), **origin}]}, ASKED)

    (seen,) = observe(clients, ["us-east-1"], fleet="acme/images").artifacts

    assert seen.copy_of == copy_of


def test_a_deregistered_image_that_still_lingers_is_not_seen(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", {"Images": [image(1, state="deregistered")]}, ASKED)

    assert observe(clients, ["us-east-1"], fleet="acme/images").artifacts == ()


def test_a_filter_that_matched_too_much_lets_no_other_fleet_in(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", {"Images": [image(1, fleet="acme/images-2")]}, ASKED)

    assert observe(clients, ["us-east-1"], fleet="acme/images").artifacts == ()


def test_no_credentials_are_told_from_what_aws_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has none, as a stranger's pull request, gets the plan that needs none."""

    def refuse(error: Exception) -> Terminal | None:
        clients = Clients(AwsSettings(), attempts=1)

        def sign_in(_region: str) -> None:
            raise error

        monkeypatch.setattr(clients, "sign_in", sign_in)
        return observe(clients, ["us-east-1", "eu-west-1"], fleet="acme/images").refused

    expired = ClientError({"Error": {"Code": "ExpiredToken", "Message": "it is"}}, "GetCallerIdentity")

    assert type(refuse(NoCredentialsError())) is NoCredentials
    assert type(refuse(expired)) is Terminal


def test_wildcards_in_a_name_are_taken_as_they_stand() -> None:
    assert literal(r"a*b?c\d") == r"a\*b\?c\\d"
