"""The commands that build a template, told apart by the var files they give it and by the builders they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reconciler.desired.packer.builders import is_selected
from reconciler.desired.packer.template import ReadTemplate
from reconciler.desired.paths import ROOT
from reconciler.desired.proposal.invocations import Invocation
from reconciler.desired.proposal.templates import Templates
from reconciler.model.declaration import PackerSettings
from reconciler.model.errors import UserError

Runs = Sequence[Invocation | None]
"""The commands with the same var files, at least one; None where nobody says how a template is run."""


def by_var_files(templates: Templates, path: str, runs: Sequence[Invocation]) -> Sequence[Runs]:
    """The runs for each set of var files that a template is built with; None where nobody says how it is run.

    Var files that give values to none of its variables are as none, such as those that a script takes for whatever it
    builds.
    """
    found: dict[tuple[str, ...], list[Invocation | None]] = {}
    variables = templates.variables(path) if len({one.var_files for one in runs}) > 1 else None
    for run in runs:
        says = variables is None or not templates.given_by(run.var_files).isdisjoint(variables)
        found.setdefault(run.var_files if says else (), []).append(run if says or not run.var_files else None)
    none: list[Invocation | None] = [None]
    return [[run for run in same if run is not None] or none for same in found.values()] or [none]


def read_with(
    templates: Templates, path: str, by_files: Sequence[Runs]
) -> tuple[list[tuple[Runs, ReadTemplate]], list[tuple[str, UserError]]]:
    """The facts of a template for each set of var files; and the sets with which it can't be read, with the reasons.

    Raises UserError where it can be read with none.
    """
    read: list[tuple[Runs, ReadTemplate]] = []
    wrong: list[tuple[str, UserError]] = []
    for same in by_files:
        try:
            facts = templates.read(path, PackerSettings.model_validate(as_run(templates, path, same[0])))
        except UserError as error:
            wrong.append((", ".join(same[0].var_files if same[0] is not None else ()) or "as it is", error))
        else:
            read.append((same, facts))
    if not read:
        raise wrong[0][1]
    return read, wrong


def run_of(builder: str, runs: Runs) -> Invocation | None:
    """The first of several runs of a template that builds with a builder: one that asks for it, or for no other."""
    known = [one for one in runs if one is not None]
    asking = (one for one in known if any(is_selected(builder, name, syntax="hcl2") for name in one.only))
    return next(asking, None) or next((one for one in known if not one.only), None)


def in_common(runs: Runs) -> Invocation | None:
    """What several runs with the same var files have in common, for what none of them builds."""
    known = [one for one in runs if one is not None]
    if not known:
        return None
    alike = {name: value for name, value in known[0].variables.items() if all(
        one.variables.get(name) == value for one in known
    )}  # fmt: skip
    return replace(known[0], variables=alike, only=())


def as_run(templates: Templates, path: str, run: Invocation | None) -> dict[str, Any]:
    """`packer` of an image.yaml as a command has it, for all builders; paths begin at the root."""
    return {
        "template": from_root(path),
        "working_dir": from_root(templates.folders_to_run_in(path, run)[0]),
        "only": [],
        "variables": dict(run.variables) if run is not None else {},
        "var_files": [from_root(file) for file in run.var_files] if run is not None else [],
    }


def from_root(path: str) -> str:
    """A path as a declaration has it: from the fleet's folder. What is outside of that is seen from the image's."""
    if path == ".." or path.startswith("../"):
        return f"../../{path}"
    return "/" if path == ROOT else f"/{path}"
