from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.fleet import Image
from reconciler.model.source import Pin
from reconciler.plan.key import REFRESH_OF, inputs_of, moved, short, wanted

MakeImage = Callable[..., Image]
MakePin = Callable[..., Pin]

FILES = {"web.pkr.hcl": "a" * 40, "nginx.conf": "b" * 40, "../../roles/tls/main.yml": "c" * 40}
AS_IT_WAS: dict[str, Any] = {
    "files": FILES,
    "packer": {"variables": {"size": 8, "debug": False}, "var_files": ["one.pkrvars.hcl", "two.pkrvars.hcl"]},
    "plugins": {"amazon": "github.com/hashicorp/amazon >= 1.2"},
    "required_version": ">= 1.7",
}
PACKER: dict[str, Any] = AS_IT_WAS["packer"]

INPUT_CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "a file's bytes": ({"files": {**FILES, "nginx.conf": "d" * 40}}, "files"),
    "a file's mode": ({"modes": {"nginx.conf": "100755"}}, "files"),
    "a file's name": ({"files": {name.replace("nginx", "ngin"): oid for name, oid in FILES.items()}}, "files"),
    "a new file": ({"files": {**FILES, "empty": "e" * 40}}, "files"),
    "a file less": ({"files": {"web.pkr.hcl": "a" * 40}}, "files"),
    "a variable": ({"packer": {**PACKER, "variables": {"size": 9, "debug": False}}}, "variables"),
    "a variable's type": ({"packer": {**PACKER, "variables": {"size": "8", "debug": False}}}, "variables"),
    "a number that was a truth": ({"packer": {**PACKER, "variables": {"size": 8, "debug": 0}}}, "variables"),
    "the order of var files": ({"packer": {**PACKER, "var_files": PACKER["var_files"][::-1]}}, "variables"),
    "the builds": ({"packer": {**PACKER, "only": ["amazon-ebs.web"]}}, "builds"),
    "the template": ({"packer": {**PACKER, "template": "web.pkr.hcl"}}, "builds"),
    "where Packer runs": ({"packer": {**PACKER, "working_dir": "/"}}, "builds"),
    "a plugin": ({"plugins": {"amazon": "github.com/hashicorp/amazon >= 1.3"}}, "tooling"),
    "Packer's version": ({"required_version": ">= 1.8"}, "tooling"),
}  # fmt: skip

NO_INPUT: dict[str, dict[str, Any]] = {
    "its name": {"name": "www"},
    "a region more": {"regions": ["us-east-1", "eu-west-1"]},
    "its description": {"description": "the front"},
    "its labels": {"labels": {"team": "platform"}},
    "its tags": {"tags": {"CostCenter": "42"}},
    "its schedule": {"refresh": {"max_age": "7d"}},
    "its validation": {"validation": {"required": True}},
    "its retention": {"retain": {"builds": 9}},
    "its sharing": {"share_with": {"accounts": ["123456789012"]}},
    "a hold": {"hold": {"build": "20261122T101530Z-1a2b3c4", "reason": "no"}},
    "a suspension": {"suspend": {"reason": "no"}},
    "its former name": {"moved_from": "www"},
    "how long a build may take": {"packer": {**PACKER, "timeout": "2h"}},
    "the wording of its source": {"source": {"ssm": "/acme/base"}},
    "the order of its files": {"files": dict(reversed(FILES.items()))},
    "the order of its variables": {"packer": {**PACKER, "variables": {"debug": False, "size": 8}}},
}


@pytest.mark.parametrize(("change", "component"), INPUT_CHANGES.values(), ids=list(INPUT_CHANGES))
def test_every_input_changes_the_key_and_names_its_component(
    an_image: MakeImage, a_pin: MakePin, change: dict[str, Any], component: str
) -> None:
    before, after = wanted(an_image(**AS_IT_WAS), a_pin()), wanted(an_image(**{**AS_IT_WAS, **change}), a_pin())

    assert before.key != after.key
    assert before.inputs != after.inputs
    assert moved(before.components, after.components) == (component,)


@pytest.mark.parametrize("change", NO_INPUT.values(), ids=list(NO_INPUT))
def test_what_decides_nothing_of_the_content_is_not_in_the_key(
    an_image: MakeImage, a_pin: MakePin, change: dict[str, Any]
) -> None:
    before, after = wanted(an_image(**AS_IT_WAS), a_pin()), wanted(an_image(**{**AS_IT_WAS, **change}), a_pin())

    assert before.key == after.key


def test_the_order_of_the_builds_is_not_in_the_key(an_image: MakeImage, a_pin: MakePin) -> None:
    one, other = (wanted(an_image(packer={"only": only}), a_pin()) for only in (["a.x", "a.y"], ["a.y", "a.x"]))
    assert one.key == other.key


@pytest.mark.parametrize(
    "pin",
    [
        {"ami": {"region": "us-east-1", "id": "ami-0bb"}},
        {"ami": {"region": "eu-west-1", "id": "ami-0aa"}},
        {"image": "base", "build": "20261122T101530Z-1a2b3c4", "key": "sha256:1"},
    ],
    ids=["another AMI", "another region's AMI", "a parent"],
)
def test_another_pin_moves_the_source_and_leaves_the_inputs(an_image: MakeImage, pin: Mapping[str, Any]) -> None:
    image = an_image()
    before = wanted(image, Pin.model_validate({"ami": {"region": "us-east-1", "id": "ami-0aa", "name": "debian"}}))
    after = wanted(image, Pin.model_validate(pin))

    assert moved(before.components, after.components) == ("source",)
    assert before.key != after.key
    assert before.inputs == after.inputs


def test_a_childs_key_follows_its_parents_key_and_nothing_else_of_the_parent(an_image: MakeImage) -> None:
    image = an_image(source={"image": "base"})
    pin = Pin(image="base", build="20261122T101530Z-1a2b3c4", key="sha256:1", artifacts={"us-east-1": "ami-0aa"})

    same = pin.model_copy(update={"build": None, "artifacts": None, "image": "renamed"})
    other = pin.model_copy(update={"key": "sha256:2"})

    assert wanted(image, pin).key == wanted(image, same).key
    assert wanted(image, pin).key != wanted(image, other).key


def test_a_refresh_has_a_key_of_its_own_that_any_run_derives_again(an_image: MakeImage, a_pin: MakePin) -> None:
    image, pin = an_image(), a_pin()
    plain, refresh = wanted(image, pin), wanted(image, pin, refresh_of="20261122T101530Z-1a2b3c4")

    assert refresh.key != plain.key
    assert refresh == wanted(image, pin, refresh_of="20261122T101530Z-1a2b3c4")
    assert refresh.key != wanted(image, pin, refresh_of="20261123T101530Z-1a2b3c4").key
    assert refresh.inputs == plain.inputs
    assert REFRESH_OF in refresh.components
    assert moved(plain.components, refresh.components) == ()


def test_the_inputs_tell_two_requests_for_a_source_apart(an_image: MakeImage, a_pin: MakePin) -> None:
    # Given two pull requests that change nothing but what the image is built on
    bookworm = an_image(source={"ami": {"name": "debian-12-*", "owners": ["1"]}})
    trixie = an_image(source={"ami": {"name": "debian-13-*", "owners": ["1"]}})

    # Then what one of them built is not what people reviewed in the other.
    assert wanted(bookworm, a_pin()).inputs != wanted(trixie, a_pin()).inputs


def test_the_inputs_can_be_told_from_the_recorded_components(an_image: MakeImage, a_pin: MakePin) -> None:
    image = an_image()
    built = wanted(image, a_pin(), refresh_of="20261122T101530Z-1a2b3c4")
    assert inputs_of(built.components, image.source, kind=image.kind) == built.inputs


def test_the_key_is_the_same_on_every_machine_and_in_every_release(an_image: MakeImage, a_pin: MakePin) -> None:
    # A changed key rebuilds every image of every fleet: change this on purpose only.
    key = wanted(an_image(**AS_IT_WAS), a_pin()).key
    assert key == "sha256:a087323567de14de8068a96c355a8af322f169d86cd80402a12cd4e05bd97a63"
    assert short(key) == key[7:14]


@given(
    st.dictionaries(st.text(min_size=1), st.sampled_from(["a" * 40, "b" * 40]), min_size=1, max_size=4),
    st.dictionaries(st.text(min_size=1), st.sampled_from(["a" * 40, "b" * 40]), min_size=1, max_size=4),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers() | st.booleans(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers() | st.booleans(), max_size=3),
)
def test_two_images_have_one_key_exactly_when_their_inputs_are_one(
    an_image: MakeImage, one: dict[str, str], other: dict[str, str], values: dict[str, Any], others: dict[str, Any]
) -> None:
    first = wanted(an_image("web", files=one, packer={"variables": values}), None)
    second = wanted(an_image("api", files=other, packer={"variables": others}), None)

    # In Python True == 1, in a template it isn't.
    same_values = values == others and all(type(values[key]) is type(others[key]) for key in values)
    assert (first.key == second.key) == (one == other and same_values)
