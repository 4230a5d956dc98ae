"""What is asked of EC2 for a copy that is as its original. What comes of it is in tests/integration/registries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from reconciler.aws.session import Clients
from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Artifact
from reconciler.registries.ec2.changes import complete_copy, copy

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOME, AWAY = "eu-west-1", "us-east-1"
SOURCE = Artifact(kind="ami", builder="b", location=HOME, id="ami-00000001", name="web", parts=("snap-1", "snap-2"))
COPY = Artifact(kind="ami", builder="b", location=AWAY, id="ami-00000002", name="web")
OURS = {"reconciler:image": "web"}
SOMEBODY = {"UserId": "222222222222"}


@pytest.fixture
def home(clients: Clients) -> Iterator[Stubber]:
    """The region of the original; `ec2` is that of the copy."""
    with Stubber(clients.ec2(HOME)) as stub:
        yield stub
        stub.assert_no_pending_responses()


def tags(**values: str) -> list[dict[str, str]]:
    return [{"Key": name.replace("_", ":", 1), "Value": value} for name, value in values.items()]


def described(image_id: str, **more: Any) -> dict[str, Any]:
    return {"Images": [{"ImageId": image_id, "State": "available", **more}]}


def snapshots(*each: list[dict[str, str]]) -> dict[str, Any]:
    return {"Snapshots": [{"SnapshotId": f"snap-{number}", "Tags": one} for number, one in enumerate(each, 1)]}


def begun(clients: Clients, ec2: Stubber, *, image: list[dict[str, str]], snapshot: list[dict[str, str]]) -> None:
    ec2.add_response(
        "copy_image",
        {"ImageId": "ami-2"},
        {
            "SourceImageId": SOURCE.id,
            "SourceRegion": HOME,
            "Name": "web-1",
            "Description": "nginx",
            "ClientToken": ANY,
            "CopyImageTags": False,
            "TagSpecifications": [
                {"ResourceType": "image", "Tags": image},
                {"ResourceType": "snapshot", "Tags": snapshot},
            ],
        },
    )
    assert copy(clients, SOURCE, to=AWAY, name="web-1", tags=OURS, token="t") == "ami-2"


def test_a_copy_is_born_with_the_template_s_tags_and_ours_but_not_with_ours_of_the_source(
    clients: Clients, ec2: Stubber, home: Stubber
) -> None:
    on_image = tags(Name="web", reconciler_phase="stable", aws_cloudformation="x")
    home.add_response("describe_images", described(SOURCE.id, Description="nginx", Tags=on_image))
    home.add_response("describe_snapshots", snapshots(tags(Name="web", Disk="root"), tags(Name="web", Disk="data")))
    begun(
        clients, ec2, image=tags(Name="web", reconciler_image="web"), snapshot=tags(Name="web", reconciler_image="web")
    )


def test_an_image_without_tags_or_known_snapshots_is_copied_with_ours_alone(
    clients: Clients, ec2: Stubber, home: Stubber
) -> None:
    home.add_response("describe_images", described(SOURCE.id, Description="nginx"))
    home.add_response("describe_snapshots", {"Snapshots": []})
    begun(clients, ec2, image=tags(reconciler_image="web"), snapshot=tags(reconciler_image="web"))


def test_what_is_gone_is_not_copied(clients: Clients, home: Stubber) -> None:
    home.add_client_error("describe_images", "InvalidAMIID.NotFound")
    with pytest.raises(Terminal, match=f"{SOURCE.id} in {HOME} is gone"):
        copy(clients, SOURCE, to=AWAY, name="web-1", tags=OURS, token="t")


def completing(home: Stubber, ec2: Stubber, *, original: dict[str, Any], image: dict[str, Any]) -> None:
    home.add_response("describe_images", described(SOURCE.id, **original))
    ec2.add_response("describe_images", described(COPY.id, **image))


def permissions(stub: Stubber, *who: dict[str, str]) -> None:
    stub.add_response("describe_image_attribute", {"LaunchPermissions": list(who)})


def test_a_copy_of_a_private_image_is_looked_at_and_left_as_it_is(
    clients: Clients, ec2: Stubber, home: Stubber
) -> None:
    permissions(home)
    completing(home, ec2, original={"ImdsSupport": "v2.0"}, image={"ImdsSupport": "v2.0"})
    complete_copy(clients, COPY, of=SOURCE, now=NOW)


def test_who_may_launch_the_original_may_launch_the_copy(clients: Clients, ec2: Stubber, home: Stubber) -> None:
    everybody = {"Group": "all"}
    permissions(home, SOMEBODY, everybody)
    permissions(ec2, SOMEBODY)
    ec2.add_response("modify_image_attribute", {}, {"ImageId": COPY.id, "LaunchPermission": {"Add": [everybody]}})
    completing(home, ec2, original={}, image={})
    complete_copy(clients, COPY, of=SOURCE, now=NOW)


def test_a_copy_is_deprecated_and_asks_for_imdsv2_as_its_original(
    clients: Clients, ec2: Stubber, home: Stubber
) -> None:
    when = "2027-01-01T00:00:00.000Z"
    permissions(home)
    completing(home, ec2, original={"DeprecationTime": when, "ImdsSupport": "v2.0"}, image={})
    ec2.add_response("enable_image_deprecation", {}, {"ImageId": COPY.id, "DeprecateAt": when})
    ec2.add_response("modify_image_attribute", {}, {"ImageId": COPY.id, "ImdsSupport": {"Value": "v2.0"}})
    complete_copy(clients, COPY, of=SOURCE, now=NOW)


def test_a_copy_of_what_is_deprecated_already_is_so_from_the_first_date_that_ec2_takes(
    clients: Clients, ec2: Stubber, home: Stubber
) -> None:
    past, soon = "2026-01-01T00:00:00.000Z", datetime(2026, 11, 22, 12, 2, tzinfo=UTC)
    permissions(home)
    completing(home, ec2, original={"DeprecationTime": past}, image={})
    ec2.add_response("enable_image_deprecation", {}, {"ImageId": COPY.id, "DeprecateAt": soon})
    complete_copy(clients, COPY, of=SOURCE, now=NOW)

    permissions(home)
    completing(home, ec2, original={"DeprecationTime": past}, image={"DeprecationTime": "2026-11-22T12:02:00.000Z"})
    complete_copy(clients, COPY, of=SOURCE, now=NOW)


def test_a_permission_that_cannot_be_given_is_no_complete_copy(clients: Clients, ec2: Stubber, home: Stubber) -> None:
    permissions(home, SOMEBODY)
    permissions(ec2)
    ec2.add_client_error("modify_image_attribute", "UnauthorizedOperation")
    with pytest.raises(Terminal, match=rf"making {COPY.id} in {AWAY} as {SOURCE.id} in {HOME} is: not allowed"):
        complete_copy(clients, COPY, of=SOURCE, now=NOW)
