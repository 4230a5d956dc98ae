from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from reconciler.aws.session import Clients
from reconciler.model.errors import Transient, UserError
from reconciler.registries.ec2.dialect import AmiRequest
from reconciler.registries.ec2.registry import resolve
from tests.sources import of, parameter

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def image(number: int, *, deprecated: str | None = None) -> dict[str, Any]:
    described = {"ImageId": f"ami-{number}", "CreationDate": f"2026-11-0{number}T00:00:00.000Z", "State": "available"}
    return described if deprecated is None else {**described, "DeprecationTime": deprecated}


def resolved(clients: Clients, request: AmiRequest, *, architecture: str | None = None) -> str:
    pin = resolve(clients, of(request), region="us-east-1", architecture=architecture, now=NOW)
    assert pin.upstream is not None
    return pin.upstream.id


OWN = AmiRequest(name="base-*", owners=("self",))


def test_a_deprecated_image_gives_way_to_an_older_one(clients: Clients, ec2: Stubber) -> None:
    gone, later = "2026-11-01T00:00:00.000Z", "2027-11-01T00:00:00.000Z"
    images = [image(1), image(2, deprecated=later), image(3, deprecated=gone)]
    ec2.add_response("describe_images", {"Images": images})

    assert resolved(clients, OWN) == "ami-2"


def test_a_deprecated_image_is_taken_where_there_is_no_other(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_images", {"Images": [image(3, deprecated="2026-11-01T00:00:00.000Z")]})

    assert resolved(clients, OWN) == "ami-3"


def test_owners_and_filters_are_asked_for_as_declared(clients: Clients, ec2: Stubber) -> None:
    request = AmiRequest(
        name="debian-12-*",
        owners=("136693071363", "self"),
        filters={"root-device-type": ("ebs",), "state": ("pending",)},
    )
    ec2.add_response(
        "describe_images",
        {"Images": [image(1)]},
        {
            "Owners": ["136693071363", "self"],
            "Filters": [
                {"Name": "architecture", "Values": ["arm64"]},
                {"Name": "name", "Values": ["debian-12-*"]},
                {"Name": "root-device-type", "Values": ["ebs"]},
                {"Name": "state", "Values": ["available"]},
            ],
            "MaxResults": 1000,
        },
    )

    assert resolved(clients, request, architecture="arm64") == "ami-1"


def test_an_architecture_among_the_filters_is_not_overridden(clients: Clients, ec2: Stubber) -> None:
    request = AmiRequest(owners=("self",), filters={"architecture": ("x86_64",)})
    ec2.add_response(
        "describe_images",
        {"Images": [image(1)]},
        {
            "Owners": ["self"],
            "Filters": [{"Name": "architecture", "Values": ["x86_64"]}, {"Name": "state", "Values": ["available"]}],
            "MaxResults": 1000,
        },
    )

    assert resolved(clients, request, architecture="arm64") == "ami-1"


@pytest.fixture
def ssm(clients: Clients) -> Iterator[Stubber]:
    with Stubber(clients.ssm("us-east-1")) as stub:
        yield stub
        stub.assert_no_pending_responses()


def of_parameter(clients: Clients, name: str) -> None:
    resolve(clients, parameter(name), region="us-east-1", architecture=None, now=NOW)


def test_what_a_secret_parameter_holds_is_nowhere_in_what_is_said(clients: Clients, ssm: Stubber) -> None:
    held = {"Name": "/base", "Type": "SecureString", "Value": "hunter2-hunter2"}
    ssm.add_response("get_parameter", {"Parameter": held})

    with pytest.raises(UserError) as said:
        of_parameter(clients, "/base")

    assert said.value.what == "SSM parameter /base in us-east-1 holds a SecureString, which is no AMI id"
    assert "hunter2" not in str(said.value)


def test_what_an_open_parameter_holds_instead_of_an_id_is_shown(clients: Clients, ssm: Stubber) -> None:
    ssm.add_response("get_parameter", {"Parameter": {"Name": "/base", "Type": "String", "Value": "{json}"}})

    with pytest.raises(UserError, match=r"holds '\{json\}', which is no AMI id"):
        of_parameter(clients, "/base")


@pytest.mark.parametrize("code", ["ParameterNotFound", "ParameterVersionNotFound"])
def test_a_parameter_or_a_version_of_it_that_there_is_not_is_the_declarations_trouble(
    clients: Clients, ssm: Stubber, code: str
) -> None:
    ssm.add_client_error("get_parameter", code)

    with pytest.raises(UserError) as said:
        of_parameter(clients, "/base")

    assert said.value.what == "there is no SSM parameter /base in us-east-1"
    assert "aws ssm get-parameter --region us-east-1 --name /base" in said.value.hint[0]


def unreachable(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise EndpointConnectionError(endpoint_url="https://ec2.example.org/")

    monkeypatch.setattr(clients, "ec2", refuse)


def test_a_region_that_there_is_not_is_said_to_be_unknown_where_it_cannot_be_reached(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable(clients, monkeypatch)
    with pytest.raises(UserError, match="unknown region name mars-1"):
        resolve(clients, of(OWN), region="mars-1", architecture=None, now=NOW)


def test_a_region_that_there_is_may_be_reached_the_next_time(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable(clients, monkeypatch)
    with pytest.raises(Transient, match="can't be reached"):
        resolve(clients, of(OWN), region="us-east-1", architecture=None, now=NOW)
