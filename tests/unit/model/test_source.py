from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.desired.declared import declaration_model
from reconciler.model.source import Pin, SourceRequest

FILTER = {"name": "debian-12-*", "owners": ["136693071363"]}


@pytest.mark.parametrize(
    "request_",
    [
        {"ami": FILTER},
        {"ami": {"id": "ami-0aa11bb22cc33dd44"}},
        {"ami": {"filters": {"tag:Role": "base"}, "owners": ["self"]}},
        {"ssm": "/aws/service/debian/release/12/latest/amd64"},
        {"image": "base"},
        {"image": "base", "channel": "candidate"},
    ],
)
def test_a_source_is_one_thing(request_: dict[str, Any]) -> None:
    request = SourceRequest.model_validate(request_)
    assert SourceRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({}, "exactly one"),
        ({"ami": FILTER, "ssm": "/x"}, "exactly one"),
        ({"ssm": "/x", "image": "base"}, "exactly one"),
        ({"ssm": "/x", "channel": "stable"}, "channel goes with image"),
        ({"ssm": "no-slash"}, "pattern"),
        ({"image": "base", "channel": "latest"}, "candidate"),
        ({"ami": {}}, "an id, a name or filters"),
        ({"ami": {"name": "debian-12-*"}}, "needs owners"),
        ({"ami": {"filters": {"name": ["x"]}}}, "needs owners"),
        ({"ami": {"id": "ami-0aa", **FILTER}}, "not by both"),
        ({"ami": {"id": "ami-0aa", "architecture": "arm64"}}, "not by both"),
        ({"ami": {"id": "i-0aa"}}, "pattern"),
        ({"ami": {"filters": ["x"], "owners": ["self"]}}, "dictionary"),
    ],
)
def test_what_is_not_one_thing_is_refused(request_: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        declaration_model().model_validate({"source": request_})


def test_a_single_filter_value_is_a_list_of_one() -> None:
    one, many = ({"ami": {"owners": ["self"], "filters": {"tag:Role": value}}} for value in ("base", ["base"]))
    read = declaration_model()
    assert read.model_validate({"source": one}) == read.model_validate({"source": many})


def test_a_child_builds_on_stable_unless_it_says_otherwise() -> None:
    assert SourceRequest(image="base").parent_channel == "stable"
    assert SourceRequest(image="base", channel="candidate").parent_channel == "candidate"


def test_an_upstream_pin_is_one_ami_in_one_region() -> None:
    pin = Pin.model_validate({"ami": {"region": "us-east-1", "id": "ami-0aa", "name": "debian-12"}})
    assert (pin.artifact_in("us-east-1"), pin.artifact_in("eu-west-1")) == ("ami-0aa", None)
    assert pin.identity == {"ami": "ami-0aa", "region": "us-east-1"}
    assert str(pin) == "debian-12"
    assert str(Pin.model_validate({"ami": {"region": "us-east-1", "id": "ami-0aa"}})) == "ami-0aa"


def test_a_parents_pin_is_its_key_wherever_its_artifacts_are() -> None:
    pin = Pin(image="base", build="20261122T101530Z-1a2b3c4", key="sha256:1", artifacts={"eu-west-1": "ami-0bb"})
    assert (pin.artifact_in("us-east-1"), pin.artifact_in("eu-west-1")) == (None, "ami-0bb")
    assert pin.identity == Pin(image="renamed", key="sha256:1").identity == {"key": "sha256:1"}
    assert str(pin) == "base 20261122T101530Z-1a2b3c4"


@pytest.mark.parametrize(
    "request_", [{"ami": [["x"]]}, {"ami": {"owners": [1]}}, {"ami": 7}, {"ami": {"filters": {"a": {"b": {"c": "d"}}}}}]
)
def test_what_a_lockfile_says_of_a_request_is_made_of_texts(request_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="texts"):
        SourceRequest.model_validate(request_)


@pytest.mark.parametrize(
    ("pin", "why"),
    [
        ({"ami": {"region": "us-east-1", "id": "ami-1"}, "oci": {"repository": "x", "id": "y"}}, "one thing"),
        ({"ami": {"region": "us-east-1"}}, "an id"),
        ({"ami": {"id": "ami-1"}}, "its location"),
        ({"ami": {"id": "ami-1", "region": "x", "zone": "y"}}, "its location"),
        ({"ami": {"id": "ami-1", "region": 7}}, "texts"),
        ({"ami": "ami-1"}, "texts"),
        ({"ami": {"id": "ami-1", "region": "x", "created": "yesterday"}}, "UTC time"),
    ],
)
def test_a_pin_is_to_one_exact_thing(pin: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Pin.model_validate(pin)
