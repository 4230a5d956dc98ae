from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from reconciler.aws.clock import Clock
from reconciler.aws.session import Clients
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Artifact
from reconciler.ports.registry import Remains
from reconciler.registries.ec2.changes import retire, tag

REGION, AMI = "us-east-1", "ami-00000001"
ARTIFACT = Artifact(kind="ami", builder="b", location=REGION, id=AMI, name="web", parts=("snap-1", "snap-2"))
TAGS = [{"Key": "reconciler:fleet", "Value": "acme/images"}, {"Key": "reconciler:image", "Value": "web"}]
DESCRIBED: dict[str, Any] = {
    "Images": [
        {
            "ImageId": AMI,
            "State": "available",
            "Tags": TAGS,
            "BlockDeviceMappings": [{"Ebs": {"SnapshotId": "snap-1"}}, {"Ebs": {"SnapshotId": "snap-2"}}],
        }
    ]
}


TAGGED: dict[str, Any] = {"Snapshots": [{"SnapshotId": "snap-1", "Tags": TAGS}, {"SnapshotId": "snap-2", "Tags": TAGS}]}


def _retire(clients: Clients) -> Remains:
    return retire(clients, ARTIFACT, fleet="acme/images", image="web")


def test_an_image_and_its_snapshots_are_tagged_in_one_call(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response(
        "create_tags", {}, {"Resources": [AMI, "snap-1", "snap-2"], "Tags": [{"Key": "CostCenter", "Value": "42"}]}
    )

    tag(clients, ARTIFACT, {"CostCenter": "42"}, clock=Clock())


@pytest.mark.parametrize("code", ["InvalidAMIID.NotFound", "InvalidSnapshot.NotFound", "InvalidID"])
def test_what_is_too_new_to_be_known_is_tagged_once_it_is(clients: Clients, ec2: Stubber, code: str) -> None:
    slept: list[float] = []
    ec2.add_client_error("create_tags", code)
    ec2.add_client_error("create_tags", code)
    ec2.add_response("create_tags", {})

    tag(clients, ARTIFACT, {"CostCenter": "42"}, clock=Clock(sleep=slept.append))

    assert slept == [1, 2]
    ec2.assert_no_pending_responses()


def test_what_stays_unknown_for_a_minute_is_not_there(clients: Clients, ec2: Stubber) -> None:
    slept: list[float] = []
    for _ in range(11):  # after 0, 1, 2, 4, 8, … seconds, 60 in all
        ec2.add_client_error("create_tags", "InvalidAMIID.NotFound")

    with pytest.raises(Terminal, match=rf"tagging {AMI} in {REGION}"):
        tag(clients, ARTIFACT, {"CostCenter": "42"}, clock=Clock(sleep=slept.append))

    assert sum(slept) == 60


def test_a_refusal_is_no_reason_to_ask_again(clients: Clients, ec2: Stubber) -> None:
    ec2.add_client_error("create_tags", "UnauthorizedOperation")

    with pytest.raises(Terminal, match="not allowed"):
        tag(clients, ARTIFACT, {"CostCenter": "42"}, clock=Clock(sleep=lambda _: pytest.fail("it waited")))


def test_no_tags_are_no_call(clients: Clients, ec2: Stubber) -> None:
    tag(clients, ARTIFACT, {}, clock=Clock())


def test_an_image_is_deregistered_before_its_snapshots_are_deleted(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", DESCRIBED)
    ec2.add_response("describe_snapshots", TAGGED)
    ec2.add_response("deregister_image", {}, {"ImageId": AMI})
    ec2.add_response("delete_snapshot", {}, {"SnapshotId": "snap-1"})
    ec2.add_response("delete_snapshot", {}, {"SnapshotId": "snap-2"})

    assert _retire(clients) == Remains()


def test_a_snapshot_in_use_stays_and_is_told(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", DESCRIBED)
    ec2.add_response("describe_snapshots", TAGGED)
    ec2.add_response("deregister_image", {})
    ec2.add_client_error("delete_snapshot", "InvalidSnapshot.InUse")
    ec2.add_client_error("delete_snapshot", "InvalidSnapshot.NotFound")

    assert _retire(clients) == Remains(("snap-1",))


@pytest.mark.parametrize("tags", [[], TAGS[:1], [{**TAGS[0], "Value": "acme/other"}, TAGS[1]]])
def test_a_snapshot_that_an_image_only_names_is_not_deleted_with_it(
    clients: Clients, ec2: Stubber, tags: list[Any]
) -> None:
    # Given an image with our tags that somebody registered, one disk of which is made of another team's snapshot
    ec2.add_response("describe_images", DESCRIBED)
    ec2.add_response(
        "describe_snapshots", {"Snapshots": [TAGGED["Snapshots"][0], {"SnapshotId": "snap-2", "Tags": tags}]}
    )
    ec2.add_response("deregister_image", {})
    ec2.add_response("delete_snapshot", {}, {"SnapshotId": "snap-1"})

    assert _retire(clients) == Remains(("snap-2",))


def test_nothing_is_deregistered_while_it_is_not_known_whose_its_snapshots_are(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", DESCRIBED)
    ec2.add_client_error("describe_snapshots", "RequestLimitExceeded")

    with pytest.raises(Transient):
        _retire(clients)


def test_another_run_that_deregistered_it_first_is_no_error(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", DESCRIBED)
    ec2.add_response("describe_snapshots", TAGGED)
    ec2.add_client_error("deregister_image", "InvalidAMIID.Unavailable")
    ec2.add_response("delete_snapshot", {})
    ec2.add_response("delete_snapshot", {})

    assert _retire(clients) == Remains()


def test_snapshots_that_a_killed_run_left_are_deleted_if_they_carry_our_tags(clients: Clients, ec2: Stubber) -> None:
    ec2.add_client_error("describe_images", "InvalidAMIID.NotFound")
    ec2.add_response(
        "describe_snapshots",
        {"Snapshots": [{"SnapshotId": "snap-1", "Tags": TAGS}, {"SnapshotId": "snap-2", "Tags": TAGS[:1]}]},
        {"OwnerIds": ["self"], "Filters": [{"Name": "snapshot-id", "Values": ["snap-1", "snap-2"]}]},
    )
    ec2.add_response("delete_snapshot", {}, {"SnapshotId": "snap-1"})

    assert _retire(clients) == Remains()


def test_protection_against_deregistration_is_respected(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", DESCRIBED)
    ec2.add_response("describe_snapshots", TAGGED)
    ec2.add_client_error("deregister_image", "OperationNotPermitted", "The AMI has deregistration protection enabled.")

    with pytest.raises(Terminal, match="deregistration protection enabled"):
        _retire(clients)
