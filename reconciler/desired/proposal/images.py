"""Proposes an image for each builder whose kind is known, in the form in which `validate` accepts it.

Each proposal is a draft with a few ways to declare it, the likeliest first. They are tried as `validate` would try
them: with the declarations in the tree. What is accepted is proposed, what never is is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from reconciler.desired.contents import Contents
from reconciler.desired.fleet import read_fleet
from reconciler.desired.folders import DESIRED, IMAGE_FILE
from reconciler.desired.packer.template import ReadTemplate
from reconciler.desired.packer.variables import given_to
from reconciler.desired.paths import contains
from reconciler.desired.proposal.invocations import Invocation
from reconciler.desired.proposal.runs import as_run, by_var_files, from_root, in_common, read_with, run_of
from reconciler.desired.proposal.templates import Templates, names_for, words_for
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder, Image
from reconciler.model.tree import Tree, WithAdded

_WIDTH = 76
"""Of a line of a declaration: `init` shows it indented by four."""


@dataclass(frozen=True)
class Proposed:
    """An image as it would be declared, and as `validate` reads it then."""

    image: Image
    declaration: Mapping[str, Any]
    """What its image.yaml says."""
    found_in: Place | None
    """The command that builds it today; None where none was found."""
    open: tuple[str, ...] = ()
    """What a person has to decide, or look at."""

    @property
    def path(self) -> str:
        """Where its declaration is written."""
        return f"{self.image.folder}/{IMAGE_FILE}"

    def text(self) -> str:
        """Its image.yaml."""
        return as_yaml(self.declaration)


@dataclass(frozen=True)
class LeftOut:
    """A template, or one of its builders, for which no image is proposed."""

    path: str
    why: str
    hint: str = ""
    """What a person adds to declare it nevertheless."""


@dataclass(frozen=True)
class Proposal:
    """What desired/ could hold."""

    images: tuple[Proposed, ...]
    left_out: tuple[LeftOut, ...] = ()
    declared: tuple[str, ...] = ()
    """Images that are declared already: nothing is proposed for their templates."""
    not_followed: tuple[Place, ...] = ()
    """Commands that build what is only known when they run, and fits no template."""


@dataclass(frozen=True)
class _Way:
    """One way to declare a draft: `packer` of its image.yaml, and what is left open by it."""

    packer: Mapping[str, Any]
    folder: str
    """Where Packer runs by it."""
    open: tuple[str, ...] = ()


@dataclass
class _Draft:
    """One image to be, and the ways to declare it."""

    template: str
    builder: str
    ways: list[_Way]
    found_in: Place | None
    words: tuple[str, ...]
    """What it may be called by, the likeliest first."""
    kept: tuple[str, str] | None
    """The key that says where it is kept, with an example, where its template says nothing of that."""
    unset: tuple[str, ...] = ()
    """Its variables for which nobody says a value that is known; some templates can't be declared without."""
    name: str = ""
    problems: tuple[UserError, ...] = ()
    """What is wrong with the best of the ways that were tried."""

    def tried(self, problems: tuple[UserError, ...]) -> None:
        """Take note of what is wrong with one way."""
        if not self.problems or len(problems) < len(self.problems):
            self.problems = problems

    @property
    def why(self) -> str:
        """The first of that, in a line."""
        return _why(self.problems[0], self.template)

    @property
    def hint(self) -> str:
        """Its declaration with an example of what nobody says: where it is kept, values of variables; else empty."""
        unset = self.unset if any(f'variable "{name}" has no value' in self.why for name in self.unset) else ()
        if self.kept is None and not unset:
            return ""
        packer = dict(self.ways[0].packer)
        if unset:
            packer["variables"] = {**packer.get("variables", {}), **dict.fromkeys(unset, "VALUE")}
        declaration = {"packer": packer, **({self.kept[0]: [self.kept[1]]} if self.kept is not None else {})}
        text = yaml.safe_dump(declaration, sort_keys=False, default_flow_style=True, width=10_000, allow_unicode=True)
        yours = [
            *(["a place"] if self.kept is not None else []),
            *([f"values for {', '.join(unset)}"] if unset else []),
        ]
        by = f" ({self.found_in} gives them)" if unset and self.found_in is not None else ""
        return f"write {_path(self.name)}, with {' and '.join(yours)} of yours{by}: {text.strip()}"


def propose(tree: Tree, *, repository: str, region: str) -> Proposal:
    """Propose images for a tree. `region` is declared where a template leaves it open, and is said to be open then.

    `repository` is a name for an image when nothing else says what it is.
    """
    contents = Contents(tree)
    declared = _declared(tree)
    names = {path.split("/")[1] for path in tree.entries if path.startswith(f"{DESIRED}/")}
    templates = Templates(contents, tree)
    left_out: list[LeftOut] = []
    drafts: list[_Draft] = []
    taken = {file for image in declared.values() for file in image.template.files}
    for path, runs in templates.with_runs():
        files = templates.files(path)
        if taken & set(files):
            continue
        try:
            drafts += _drafts(templates, path, runs, repository=repository, left_out=left_out)
        except UserError as error:
            left_out.append(LeftOut(path, _why(error, path)))
    # Also what is invalid, or no image, is taken: nothing of it is written over.
    for draft, name in zip(drafts, names_for([one.words for one in drafts], taken=names), strict=True):
        draft.name = name
    accepted = _accepted(tree, drafts, region=region)
    left_out += [LeftOut(f"{one.template} ({one.builder})", one.why, one.hint) for one in drafts if one.problems]
    return Proposal(tuple(accepted), tuple(left_out), tuple(sorted(declared)), templates.not_followed)


def as_yaml(declaration: Mapping[str, Any]) -> str:
    """A declaration as a person would write it: its settings on one line while they fit."""
    flow, block = (
        yaml.safe_dump(dict(declaration), sort_keys=False, default_flow_style=style, width=_WIDTH, allow_unicode=True)
        for style in (None, False)
    )
    return str(flow if all(len(line) <= _WIDTH for line in flow.splitlines()) else block)


def _declared(tree: Tree) -> Mapping[str, Image]:
    """The images that are declared already, and valid."""
    if not any(path.startswith(f"{DESIRED}/") for path in tree.entries):
        return {}
    return read_fleet(tree).images


def _drafts(
    templates: Templates, path: str, runs: Sequence[Invocation], *, repository: str, left_out: list[LeftOut]
) -> list[_Draft]:
    """A draft for each builder of a template whose kind is known, and each set of var files that it is built with."""
    sets = by_var_files(templates, path, runs)
    drafts: list[_Draft] = []
    read, unreadable = read_with(templates, path, sets)
    for number, (same, facts) in enumerate(read):
        builders = facts.template.builders
        known = [one.name for one in builders if one.kind is not None and one.kind.observed]
        # Where no template says where anything is kept, what `validate` finds wrong with each tells what to add.
        every = known or [one.name for one in builders]
        makers = [one.name for one in builders if _may_be_declared(one)] or every
        others = [one for one in builders if known and one.name not in makers and not number]
        left_out += [
            LeftOut(f"{path} ({one.name})", f"what {one.type} makes is of no kind that is known")
            for one in others
            if _asked_where(one) is None
        ]
        asked = [one.name for one in others if _asked_where(one) is not None]
        for name in (*makers, *asked):
            run = run_of(name, same)
            elsewhere = (run_of(name, runs) for runs, _ in read)
            if run is None and (number or any(elsewhere)):
                continue  # it is built with other var files, or proposed with the first ones
            words = words_for(
                templates.files(path),
                name,
                run,
                several=len(makers) > 1 or name in asked,
                runs=len(sets),
                repository=repository,
            )
            only = (name,) if len(builders) > 1 else ()
            ways = list(_ways(templates, path, run or in_common(same), facts=facts, only=only))
            kept = _asked_where(next(one for one in builders if one.name == name))
            unset = tuple(_without_value(templates, path, facts, run.var_files if run is not None else (), run))
            drafts.append(_Draft(path, name, ways, run.place if run is not None else None, words, kept, unset))
    left_out += [LeftOut(f"{path} ({files})", _why(error, path)) for files, error in unreadable]
    return drafts


def _may_be_declared(builder: Builder) -> bool:
    """Whether a builder makes what can be followed, and where that will be is known without asking a person."""
    kind = builder.kind
    return kind is not None and kind.observed and (kind.builds_where_source_is or builder.location is not None)


def _asked_where(builder: Builder) -> tuple[str, str] | None:
    """The key that says where what a builder makes is kept, with an example; None where that need not be said."""
    kind = builder.kind
    if kind is None or not kind.observed or _may_be_declared(builder):
        return None
    return kind.key, kind.example_location


def _ways(
    templates: Templates, path: str, run: Invocation | None, *, facts: ReadTemplate, only: tuple[str, ...]
) -> Iterator[_Way]:
    """The ways to declare a builder, differing in where Packer runs."""
    var_files, is_open = (run.var_files, _unknown(run, facts)) if run is not None else ((), ())
    if run is not None and run.anything and templates.is_one_of_several(path):
        is_open = (f"{run.place} says what it builds only when it runs: is this built there?", *is_open)
    if run is None or run.absent or run.partly:
        given = templates.given_by(var_files) if run is not None and run.partly else set()
        beside, asked = _var_files(templates, path, facts, given=given)
        var_files, is_open = (*var_files, *beside), (*is_open, *asked)
    is_open = (*is_open, *_unset(templates, path, facts, var_files, run))
    packer = as_run(templates, path, run)
    packer |= {"only": list(only), "var_files": [from_root(file) for file in var_files]}
    # Packer refuses a value for a variable that there is not; and some are the controller's to give.
    taken = {*facts.template.variables, *facts.template.undeclared} - given_to(
        facts.template.variables, sources=facts.template.source_variables
    )
    packer["variables"] = {name: value for name, value in packer["variables"].items() if name in taken}
    for folder in templates.folders_to_run_in(path, run):
        there = {key: value for key, value in {**packer, "working_dir": from_root(folder)}.items() if value}
        yield _Way(there, folder, is_open)


def _var_files(
    templates: Templates, path: str, facts: ReadTemplate, *, given: set[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The var files for what is not given, where nobody says with which it is run, and what is open about that."""
    found = templates.var_files_for(path, facts, given=given)
    questions = [
        f"no command says with which var file it is built: {alike[0]}, or {', '.join(alike[1:4])}"
        f"{' …' if len(alike) > 4 else ''}?"
        for alike in found
        if len(alike) > 1
    ]
    return tuple(alike[0] for alike in found), tuple(questions)


def _ours(facts: ReadTemplate) -> frozenset[str]:
    """The variables that the controller gives values to, those that regions are taken from among them."""
    regions = {
        one.location.variable for one in facts.template.builders if one.location is not None and one.location.variable
    }
    return given_to(facts.template.variables, sources=facts.template.source_variables) | regions


def _unset(
    templates: Templates, path: str, facts: ReadTemplate, var_files: Sequence[str], run: Invocation | None
) -> Iterator[str]:
    """A question for each variable that has no value and for which nobody says one."""
    unknown = run.unknown if run is not None else ()
    for name in _without_value(templates, path, facts, var_files, run):
        if name not in unknown:
            yield f'variable "{name}" has no value: name a var file that gives it one, or set packer.variables'


def _without_value(
    templates: Templates, path: str, facts: ReadTemplate, var_files: Sequence[str], run: Invocation | None
) -> list[str]:
    """The variables without a default for which nothing gives a value that is known."""
    given = {*templates.given_by(var_files), *_ours(facts), *(run.variables if run is not None else ())}
    given |= templates.given_unasked(path)
    return [name for name, one in facts.template.variables.items() if not one.has_default and name not in given]


def _accepted(tree: Tree, drafts: list[_Draft], *, region: str) -> list[Proposed]:
    """The drafts that `validate` accepts, each by the best way of those that it does. The others get their problem."""
    best: dict[str, Proposed] = {}
    for regions in ((), (region,)):
        trying = [one for one in drafts if one.name not in best]
        for number in range(max((len(one.ways) for one in trying), default=0)):
            # Where a command says how it is run, that is how, if it can be.
            left = [one for one in trying if one.name not in best or one.found_in is None]
            ways = {one.name: (one, one.ways[number]) for one in left if number < len(one.ways)}
            if not ways:
                break
            written = {name: _declaration(way, regions) for name, (_, way) in ways.items()}
            fleet = read_fleet(WithAdded(tree, {_path(name): as_yaml(one).encode() for name, one in written.items()}))
            for name, (draft, way) in ways.items():
                image = fleet.images.get(name)
                if image is None:
                    draft.tried(fleet.problems[name])
                elif name not in best or _finds_more(image, best[name].image, tree, way.folder):
                    asked = (*_guessed(regions), *way.open)
                    best[name] = Proposed(image, written[name], draft.found_in, asked)
    for draft in drafts:
        if draft.name in best:
            draft.problems = ()
    return [best[name] for name in sorted(best)]


def _finds_more(image: Image, other: Image, tree: Tree, folder: str) -> bool:
    """Whether a template, run in a folder, finds all that it does elsewhere, and more.

    What it may do without is no error of `validate`. One that takes whatever is where it runs would find the most at
    the root, which is not what is meant by it.
    """
    found = set(image.input_paths)
    everything = (path for path in tree.entries if contains(folder, path) and not contains(DESIRED, path))
    return found > set(other.input_paths) and not found.issuperset(everything)


def _guessed(regions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"the template does not say in which region it builds: is {region} right?" for region in regions)


def _declaration(way: _Way, regions: tuple[str, ...]) -> dict[str, Any]:
    return {"packer": dict(way.packer), **({"regions": list(regions)} if regions else {})}


def _unknown(run: Invocation, facts: ReadTemplate) -> tuple[str, ...]:
    """What a command leaves open, but for values that the controller gives anyhow."""
    said = []
    variables = facts.template.variables
    unknown = sorted(set(run.unknown).difference(_ours(facts)))
    unset = [name for name in unknown if name in variables and not variables[name].has_default]
    for names, then in (
        (unset, ", and the template has none: set packer.variables"),
        ([name for name in unknown if name not in unset], ": set packer.variables, if it matters"),
    ):
        if names:
            said.append(f"{run.place} gives {', '.join(names)} a value that is only known there{then}")
    if run.absent:
        said.append(
            f"{run.place} names the var file {', '.join(run.absent)}, which is not known here, or not committed"
        )
    return tuple(said)


def _path(name: str) -> str:
    return f"{DESIRED}/{name}/{IMAGE_FILE}"


def _why(error: UserError, path: str) -> str:
    """What is wrong with a template, in a line that need not name it once more."""
    return str(error).splitlines()[0].removeprefix(f"{path}: ")
