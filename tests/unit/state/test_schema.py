from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]  # it ships no type information

from reconciler.cli.main import VERBS, cli
from reconciler.cli.schema import FORMATS, main, schemas
from reconciler.desired.declared import declaration_model
from reconciler.model.declaration import Settings
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.plan import Plan, PlannedImage
from reconciler.state.lockfiles import render

DOCS = Path(__file__).parents[3] / "docs" / "schema"

IMAGE: dict[str, Any] = {
    "description": "Debian",
    "packer": {"only": "amazon-ebs.web", "variables": {"n": 1, "s": "t", "b": True}, "timeout": "60m"},
    "source": {"ami": {"name": "debian-12-*", "owners": ["136693071363"], "filters": {"state": "available"}}},
    "regions": ["us-east-1"],
    "refresh": {"max_age": "7d"},
    "validation": {"required": True, "timeout": 0},
    "deprecate_after": "90d",
    "retain": {"builds": 3, "previews": "7d"},
    "suspend": {"reason": "moving", "until": "2026-12-01"},
}
SETTINGS: dict[str, Any] = {"fleet": "owner/name", "defaults": {"regions": ["us-east-1"]}, "git": {"sign": True}}


WRITTEN = schemas()


def check(name: str, value: object) -> None:
    Draft202012Validator(json.loads(WRITTEN[name])).validate(value)


def test_the_schemas_in_docs_are_those_of_the_models() -> None:
    found = {path.name: path.read_bytes() for path in DOCS.iterdir()}

    assert found == WRITTEN, "run `python -m reconciler.cli.schema`"


@pytest.mark.parametrize("name", WRITTEN)
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(json.loads(WRITTEN[name]))


def test_every_verb_that_prints_json_has_a_schema() -> None:
    context = click.Context(cli)
    commands = {verb: cli.get_command(context, verb) for verb in VERBS}
    printing = {
        verb for verb, command in commands.items()
        if command is not None and any("--json" in parameter.opts for parameter in command.params)
    }  # fmt: skip
    described = {title.split()[1] for _, title in FORMATS.values() if title.endswith(" --json")}

    assert printing == described
    assert printing >= {"status", "validate", "doctor", "reconcile", "artifact", "which", "show"}


def test_every_schema_is_named_among_the_formats() -> None:
    page = (DOCS.parent / "formats.md").read_text()

    assert [name for name in WRITTEN if f"](schema/{name})" not in page] == []


def test_main_writes_every_schema(tmp_path: Path) -> None:
    main(tmp_path)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == WRITTEN


def test_what_people_write_is_valid_for_model_and_schema() -> None:
    declaration_model().model_validate(IMAGE)
    check("image-1.json", IMAGE)
    Settings.model_validate(SETTINGS)
    check("settings-1.json", SETTINGS)


def test_a_written_lockfile_is_valid() -> None:
    build = Build(
        id="20261122T101530Z-1a2b3c4", key="k", components={"files": "d"}, commit="c", artifacts=(), phase="stable"
    )

    check("lockfile-1.json", json.loads(render(Lockfile(image="web", builds=(build,)))))


@pytest.mark.parametrize("exclude_none", [True, False])
def test_a_printed_plan_is_valid(exclude_none: bool) -> None:  # noqa: FBT001 - pytest hands it in by name
    plan = Plan(
        plan_id="sha256:1", head="9c0d1e2", applyable=False, complete=True, errored=False, summary={"none": 1},
        images=(PlannedImage(image="web", sync="in-sync", health="healthy", actions=("none",)),),
    )  # fmt: skip

    check("plan-1.json", json.loads(plan.model_dump_json(exclude_none=exclude_none)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image-1.json", {"regoins": ["us-east-1"]}),
        ("image-1.json", {"deprecate_after": "90 days"}),
        ("settings-1.json", {"limits": {"parallel_builds": 0}}),
        ("lockfile-1.json", {"schema": 2, "image": "web"}),
        ("lockfile-1.json", {"image": "web"}),
    ],
)
def test_what_the_models_refuse_the_schemas_refuse(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        check(name, value)
