from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.desired.declared import declaration_model
from reconciler.model.declaration import Declaration, Settings


def test_nothing_needs_to_be_declared() -> None:
    declaration = Declaration()
    assert (declaration.locations, declaration.source, declaration.retain.builds) == ((), None, 3)
    assert declaration.retain.previews == 7 * 86400
    assert declaration.packer.timeout == 3600
    assert not declaration.validation.required
    assert Declaration.model_validate({}) == declaration


def test_what_images_declare_alike_is_kept_once_and_what_differs_is_not() -> None:
    model = declaration_model()

    def declared(name: str, age: str) -> Declaration:
        source = {"ami": {"name": name, "owners": ["136693071363"], "architecture": "x86_64"}}
        return model.model_validate({"source": source, "refresh": {"max_age": age}})

    one, same, other = declared("debian-12-*", "7d"), declared("debian-12-*", "7d"), declared("debian-13-*", "8d")

    assert one.source is same.source
    assert one.refresh is same.refresh
    assert (one.refresh.max_age, other.refresh.max_age) == (7 * 86400, 8 * 86400)
    assert one.source != other.source
    assert "debian-13-*" in str(other.source)


def test_the_example_of_the_documentation_is_read() -> None:
    build = "20261122T101530Z-1a2b3c4"
    declaration = Declaration.model_validate(
        {
            "packer": {"only": "amazon-ebs.web", "variables": {"size": 8, "debug": False}, "timeout": "90m"},
            "source": {"image": "base"},
            "regions": ["us-east-1", "eu-west-1"],
            "refresh": {"max_age": "7d", "on_source_change": True},
            "hold": {"build": build, "reason": "rolled back"},
            "suspend": {"reason": "freeze", "until": date(2026, 12, 1)},
            "revoke": [{"build": build, "reason": "leaked"}],
            "moved_from": "old-name",
        }
    )
    assert declaration.packer.only == ("amazon-ebs.web",)
    assert declaration.packer.variables == {"size": 8, "debug": False}
    assert type(declaration.packer.variables["debug"]) is bool
    assert declaration.refresh.max_age == 604800
    assert Declaration.model_validate_json(declaration.model_dump_json()) == declaration


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"regoins": []}, "Extra inputs"),
        ({"regions": ["us-east-1", "eu-west-1", "us-east-1"]}, "named twice: us-east-1"),
        ({"tags": {"reconciler:key": "x", "reconciler:a": "y"}}, "is taken: reconciler:a, reconciler:key"),
        ({"retain": {"builds": 0}}, "greater than or equal to 1"),
        ({"refresh": {"max_age": "a week"}}, "a number with a unit"),
        ({"packer": {"timeout": 3600}}, "a number with a unit"),
        ({"packer": {"variables": {"size": 1.5}}}, "variables"),
        ({"hold": {"build": "latest", "reason": "no"}}, "pattern"),
        ({"hold": {"build": "20261122T101530Z-1a2b3c4"}}, "reason"),
        ({"suspend": {"until": "2026-12-01"}}, "reason"),
        ({"suspend": {"reason": "no", "until": "soon"}}, "date"),
        ({"moved_from": "../etc"}, "pattern"),
    ],
)
def test_what_makes_no_sense_is_refused(declared: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Declaration.model_validate(declared)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"git": {"author": "nobody"}}, "pattern"),
        ({"git": {"author": "a <b>\nEvil: <c>"}}, "pattern"),
        ({"aws": {"role": "admin"}}, "pattern"),
        ({"limits": {"parallel_builds": 0}}, "greater than or equal to 1"),
        ({"limits": {"kinds": {"disk": {"parallel_builds": 0}}}}, "greater than or equal to 1"),
        ({"limits": {"kinds": {"disk": {}}}}, "Field required"),
        ({"limits": {"max_actions": 0}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Settings.model_validate(settings)
