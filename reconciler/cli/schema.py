"""JSON Schemas of the public formats, generated from the models: `python -m reconciler.cli.schema` writes them.

With `--check` it says instead which of those in docs/schema/ are not as the models are now.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from reconciler.cli.adopt import AdoptAnswer
from reconciler.cli.doctor import DoctorAnswer
from reconciler.cli.graph import GraphAnswer
from reconciler.cli.init import InitAnswer
from reconciler.cli.packer import PackerAnswer
from reconciler.cli.reconcile import RunAnswer
from reconciler.cli.rights import RightsAnswer
from reconciler.cli.rollback import RollbackAnswer
from reconciler.cli.status import StatusAnswer
from reconciler.cli.test import TestAnswer
from reconciler.cli.validate import ValidateAnswer
from reconciler.desired.declared import declaration_model
from reconciler.model.announcement import Announcement
from reconciler.model.collection import Collection
from reconciler.model.declaration import Settings
from reconciler.model.difference import Changes, Comparison
from reconciler.model.history import History
from reconciler.model.lockfile import Lockfile
from reconciler.model.lookup import BuildAnswer, ChannelAnswer, Whereabouts
from reconciler.model.plan import Plan
from reconciler.model.restoration import Restoration
from reconciler.model.values import format_duration
from reconciler.model.verification import Verification
from reconciler.registries import dialects

DURATION = "^[0-9]{1,6}[smhdw]$"
"""The pattern by which durations are known: that of `reconciler.model.values.Duration`."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
FORMATS: dict[str, tuple[type[BaseModel], str]] = {
    "lockfile-1.json": (Lockfile, "state/<image>.lock.json"),
    "image-1.json": (declaration_model(), "desired/<image>/image.yaml"),
    "settings-1.json": (Settings, "desired/reconciler.yaml"),
    "plan-1.json": (Plan, "reconciler plan --json"),
    "run-1.json": (RunAnswer, "reconciler reconcile --json"),
    "adoption-1.json": (AdoptAnswer, "reconciler adopt --json"),
    "proposal-1.json": (InitAnswer, "reconciler init --json"),
    "validity-1.json": (ValidateAnswer, "reconciler validate --json"),
    "status-1.json": (StatusAnswer, "reconciler status --json"),
    "artifact-1.json": (ChannelAnswer, "reconciler artifact --json"),
    "whereabouts-1.json": (Whereabouts, "reconciler which --json"),
    "build-1.json": (BuildAnswer, "reconciler show --json"),
    "difference-1.json": (Comparison, "reconciler diff --json"),
    "changes-1.json": (Changes, "reconciler diff --since --json"),
    "graph-1.json": (GraphAnswer, "reconciler graph --json"),
    "checks-1.json": (DoctorAnswer, "reconciler doctor --json"),
    "rights-1.json": (RightsAnswer, "reconciler rights --json"),
    "packer-1.json": (PackerAnswer, "reconciler packer --json"),
    "announcement-1.json": (Announcement, "An announcement, as webhooks, topics and buses receive it"),
    "collection-1.json": (Collection, "reconciler gc --json"),
    "restoration-1.json": (Restoration, "reconciler restore --json"),
    "rollback-1.json": (RollbackAnswer, "reconciler rollback --json"),
    "test-1.json": (TestAnswer, "reconciler test --json"),
    "history-1.json": (History, "reconciler history --json"),
    "verification-1.json": (Verification, "reconciler verify --json"),
}
"""File name to model and what it describes. A number in a name goes up when what was valid no longer is."""

_NUMBERED = {"lockfile-1.json"}
"""Formats that are read back, and refused without their number."""

Json = dict[str, Any]


def schemas() -> dict[str, bytes]:
    """Every schema by file name, as it stands in docs/schema/."""
    return {name: _render(name, model, title) for name, (model, title) in FORMATS.items()}


def main(folder: Path) -> None:
    """Write the schemas into a folder."""
    for name, content in schemas().items():
        folder.joinpath(name).write_bytes(content)


def outdated(folder: Path) -> list[str]:
    """The names of schemas that are missing in a folder, or are not as the models are."""
    there = {path.name: path.read_bytes() for path in folder.iterdir()}
    return [name for name, content in schemas().items() if there.get(name) != content]


class _Generator(GenerateJsonSchema):
    """Without a title for every key, which would only repeat the key."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def _render(name: str, model: type[BaseModel], title: str) -> bytes:
    schema = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Generator)
    _with_kinds(schema.get("$defs", {}))
    for definition, amendments in _AMENDMENTS.items():
        properties = schema.get("$defs", {}).get(definition, {}).get("properties", {})
        for key in amendments.keys() & properties.keys():
            properties[key] = amendments[key](properties[key])
    first, second = _ALSO
    if first in schema.get("properties", {}):
        schema["properties"][second] = schema["properties"][first]
    if name in _NUMBERED:
        schema["required"] = ["schema", *schema.get("required", ())]
    complete = {**_with_durations(schema), "$schema": DIALECT, "$id": name, "title": title}
    return f"{json.dumps(complete, indent=2, sort_keys=True, ensure_ascii=False)}\n".encode()


def _with_kinds(definitions: Json) -> None:
    """Add to a schema the words that each kind has in a request and in a pin."""
    known = {"name": {"type": "string"}, "owner": {"type": "string"}, "created": {"type": "string"}}
    for dialect in dialects():
        word, at = dialect.kind.pinned
        for asked, of in dialect.sources.items():
            made = TypeAdapter(of).json_schema(schema_generator=_Generator)
            definitions |= made.pop("$defs", {}) if "SourceRequest" in definitions else {}
            _put(definitions, "SourceRequest", asked, made)
        if word:
            required = {"id": {"type": "string"}, at: {"type": "string"}}
            _put(definitions, "Pin", word, {
                "type": "object", "properties": {**known, **required}, "required": sorted(required),
                "additionalProperties": False,
            })  # fmt: skip
    for name in ("SourceRequest", "Pin"):
        if name in definitions:
            definitions[name]["additionalProperties"] = False


def _put(definitions: Json, name: str, key: str, schema: Json) -> None:
    if name in definitions:
        definitions[name]["properties"][key] = schema


def _or_text(schema: Json) -> Json:
    """Where the models take one text for a list of one."""
    shown, rest = _apart(schema)
    return {**shown, "anyOf": [{"type": "string"}, rest]}


def _values_or_text(schema: Json) -> Json:
    return {**schema, "additionalProperties": _or_text(schema["additionalProperties"])}


_AMENDMENTS: dict[str, dict[str, Callable[[Json], Json]]] = {
    "PackerSettings": {"only": _or_text},
    "AmiRequest": {"filters": _values_or_text},
}
_ALSO = ("regions", "locations")
"""Two names of one key: a kind's own, and that of all kinds."""


def _with_durations(value: Any) -> Any:
    """Durations as people write them: text with a unit, or `0` alone, since nothing needs no unit."""
    if isinstance(value, list):
        return [_with_durations(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("pattern") != DURATION:
        return {key: _with_durations(item) for key, item in value.items()}
    shown, rest = _apart(value)
    if isinstance(shown.get("default"), int):
        shown["default"] = format_duration(shown["default"])
    return {**shown, "anyOf": [rest, {"const": 0}]}


def _apart(schema: Json) -> tuple[Json, Json]:
    """What a schema shows to a reader, and what it demands."""
    shown = {key: value for key, value in schema.items() if key in {"description", "default", "examples"}}
    return shown, {key: value for key, value in schema.items() if key not in shown}


if __name__ == "__main__":
    arguments = [one for one in sys.argv[1:] if one != "--check"]
    where = Path(arguments[0] if arguments else "docs/schema")
    if "--check" not in sys.argv:
        main(where)
    elif old := outdated(where):
        sys.exit(f"{', '.join(old)} of {where}: run `make schema`")
