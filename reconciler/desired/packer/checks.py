"""What `validate` says of a template: what nothing declares, and what could be better kept."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from itertools import chain, islice

from reconciler.desired.located import known_here
from reconciler.desired.packer.builders import Build
from reconciler.desired.packer.evaluate import CHECKOUT, Scope, evaluate
from reconciler.desired.packer.expressions import surely
from reconciler.desired.packer.functions.table import FUNCTIONS, NAMES
from reconciler.desired.packer.json_file import COMMENT
from reconciler.desired.packer.steps import Step
from reconciler.desired.packer.syntax import (
    Attribute,
    Block,
    Body,
    Call,
    Expression,
    SourceFile,
    Traversal,
    as_text,
)
from reconciler.model.errors import Place, UserError
from reconciler.model.text import counted

# Variables and locals that a template uses and nothing declares, and locals that are made of themselves.
#
# Only what Packer is sure to evaluate counts: no branch of a conditional, nothing within `try`, no builder or
# provisioner that is not run (seen with 1.6.6: it takes an undeclared name there).

Name = tuple[str, str]
"""`var` or `local`, and the name."""

_TOLD = 50
"""Names that nothing declares, each with an error of its own."""
_LIMITED = ("only", "except")
_NOT_EVALUATED = frozenset({"dynamic", "override", "sources", COMMENT})
"""Arguments that are taken apart as they are written, or left out."""
_IN_WORDS = {"var": "variable", "local": "local"}


def undeclared(
    files: Sequence[SourceFile],
    builds: Sequence[Build],
    *,
    variables: AbstractSet[str],
    local_values: Mapping[str, Attribute],
) -> Iterator[UserError]:
    """An error for each name that is used and that nothing declares, at its first place."""
    known = {"var": variables, "local": local_values.keys()}
    suspects = {(kind, name) for file in files for kind, name in file.names if name not in known[kind]}
    if not suspects:
        return  # Told from the text of most templates: their expressions need not be read for it.
    places: dict[Name, Place] = {}
    for attribute in (*local_values.values(), *_evaluated(files, builds)):
        for found in _names(attribute.expression):
            if found in suspects:
                places.setdefault(found, attribute.place)
    for (kind, name), place in islice(places.items(), _TOLD):
        yield UserError(
            f'{kind}.{name} is used, and no {_IN_WORDS[kind]} "{name}" is declared',
            where=place,
            hint=known_here(name, known[kind], none="declare it"),
        )
    for place in islice(places.values(), _TOLD, _TOLD + 1):
        more = f"{len(places) - _TOLD:,} more variables or locals are used, and not declared"
        yield UserError(more, where=place, hint="declare them")


def circular(local_values: Mapping[str, Attribute]) -> Iterator[UserError]:
    """An error for locals that are made of each other, as no order to evaluate them in is right."""
    needs = {
        name: {needed for kind, needed in _names(one.expression) if kind == "local" and needed in local_values}
        for name, one in local_values.items()
    }
    needed_by: dict[str, list[str]] = {}
    for name, needed in needs.items():
        for one in needed:
            needed_by.setdefault(one, []).append(name)
    left = {name: len(needed) for name, needed in needs.items()}
    done = [name for name, count in left.items() if not count]
    while done:
        name = done.pop()
        del left[name]
        for one in needed_by.get(name, ()):
            left[one] -= 1
            if not left[one]:
                done.append(one)
    if left:
        way = {min(left): None}
        while (following := min(needs[next(reversed(way))] & left.keys())) not in way:
            way[following] = None
        names = [*way]
        cycle = [*names[names.index(following) :], following]
        yield UserError(
            f"the locals are made of each other: {' → '.join(f'local.{name}' for name in cycle)}",
            where=local_values[cycle[0]].place,
            hint="let one of them name none of the others",
        )


def _evaluated(files: Sequence[SourceFile], builds: Sequence[Build]) -> Iterator[Attribute]:
    """The attributes that Packer evaluates whatever their values are: of data sources, and of the builds that run."""
    for file in files:
        for block in file.body.of_type("data"):
            yield from _within(block.body)
    for build in builds:
        yield from _within(build.body)
    for block in {id(build.within): build.within for build in builds}.values():
        yield from _within(Body(block.body.attributes, tuple(_but_sources(block.body.blocks))))


def _but_sources(blocks: Iterable[Block]) -> Iterator[Block]:
    return (block for block in blocks if block.type != "source")


def _within(body: Body) -> Iterator[Attribute]:
    # An object of JSON is an attribute and a block; which of the two Packer takes it for makes no difference here.
    types = {block.type for block in body.blocks}
    yield from (one for name, one in body.attributes.items() if name not in types and name not in _NOT_EVALUATED)
    for block in body.blocks:
        if block.type != "dynamic" and not any(name in block.body.attributes for name in _LIMITED):
            yield from _within(block.body)


def _names(expression: Expression) -> Iterator[Name]:
    """The variables and locals that are surely looked up when an expression is evaluated."""
    for one in surely(expression):
        match one:
            case Traversal(("var" | "local" as kind, name, *_)):
                yield kind, name
            case _:
                pass


# What an expression calls or names that no Packer has, mostly by habit from Terraform (seen: 1.6.6, 1.16.0).

_ROOTS = {
    "build": None, "data": None, "local": None, "packer": frozenset({"version", "iterationID", "versionFingerprint"}),
    "path": frozenset({"root", "cwd"}), "source": frozenset({"name", "type"}), "var": None,
}  # fmt: skip
"""What a name may begin with, and what may follow; None where that is told elsewhere, or not known."""
_INSTEAD = {
    "env": "give it as the default of a variable, where alone Packer takes it, and use var.…",
    "filesha256": "write sha256(file(…))",
    "isotime": 'write formatdate("YYYY-MM-DD", timestamp())',
    "nonsensitive": "leave it out",
    "sensitive": 'write sensitive = true in the variable, or in local "…" { }',
    "tobool": "write convert(…, bool)",
    "tolist": "write convert(…, list(string))",
    "tomap": "write convert(…, map(string))",
    "tonumber": "write convert(…, number)",
    "toset": "write convert(…, set(string))",
    "tostring": "write convert(…, string)",
    "unix_timestamp": 'write timestamp(), or formatdate("YYYYMMDDhhmmss", timestamp())',
}


_TERRAFORMS = frozenset({
    "base64sha256", "base64sha512", "ephemeralasnull", "filebase64sha256", "filebase64sha512", "filemd5", "filesha1",
    "filesha512", "issensitive", "matchkeys", "one", "plantimestamp", "setsubtract", "templatestring", "timecmp",
    "transpose", "type", "uuid",
})  # fmt: skip
_ALIKE = 0.8
"""How much of a name is another's, where it was meant: `uper`, `trimspaces`."""


def _is_none(function: str) -> bool:
    """Whether an unknown name is no function: Terraform's, or a slip. Any other may be of a Packer to come."""
    told = function in _INSTEAD or function in _TERRAFORMS
    return told or bool(get_close_matches(function, NAMES, n=1, cutoff=_ALIKE))


def unknown_to_packer(
    files: Sequence[SourceFile], builds: Sequence[Build], *, local_values: Mapping[str, Attribute]
) -> Iterator[UserError]:
    """An error for each function, and each name but those of variables and locals, that no Packer has here."""
    data = {block.labels for file in files for block in file.body.of_type("data")}
    wrong = chain(
        (one for local in local_values.values() for one in _unknown(local, data, in_local=True)),
        (one for attribute in _evaluated(files, builds) for one in _unknown(attribute, data)),
    )
    yield from islice({str(one): one for one in islice(wrong, _TOLD * 4)}.values(), _TOLD)


def _unknown(
    attribute: Attribute, data: AbstractSet[tuple[str, ...]], *, in_local: bool = False
) -> Iterator[UserError]:  # fmt: skip
    for one in surely(attribute.expression):
        match one:
            case Call(name) if name not in NAMES and _is_none(name):
                hint = _INSTEAD.get(name) or known_here(name, NAMES, none="leave it out")
                yield UserError(f"Packer has no function {name}() here", where=one.place, hint=hint)
            case Call(name, arguments) if not one.spread and (wrong := _wrong_count(name, len(arguments))):
                yield UserError(wrong, where=one.place, hint=f"see developer.hashicorp.com/packer for {name}()")
            case Traversal(steps):
                yield from _nothing_there(steps, attribute.place, data, in_local=in_local)
            case _:
                pass


def _wrong_count(name: str, given: int) -> str:
    known = FUNCTIONS.get(name)
    if known is None:
        return ""
    least = len(known.parameters)
    if given < least or (known.rest is None and given > least):
        more = " at least" if known.rest is not None else ""
        return f"{name}() takes {counted(least, 'argument')}{more}, and is given {given}"
    return ""


def _nothing_there(
    steps: tuple[str, ...], place: Place, data: AbstractSet[tuple[str, ...]], *, in_local: bool
) -> Iterator[UserError]:
    root, *rest = steps
    name = ".".join(steps[:3])
    if root not in _ROOTS:
        hint = known_here(root, _ROOTS.keys(), none="")
        yield UserError(f"{name} is used, and Packer knows nothing that is called {root}", where=place, hint=hint)
    elif rest and (known := _ROOTS[root]) is not None and rest[0] not in known:
        hint = known_here(rest[0], known, none="")
        yield UserError(f"Packer knows no {root}.{rest[0]}", where=place, hint=hint)
    elif root == "build" and rest and in_local:
        what = f"{name} is used in a local, and nothing is built yet where Packer evaluates it"
        yield UserError(what, where=place, hint="use it in a provisioner or a post-processor")
    elif root == "data" and len(steps) > _OF_A_DATA_SOURCE and steps[1:3] not in data:
        names = {".".join(("data", *labels)) for labels in data}
        hint = known_here(name, names, none=f'declare it: data "{steps[1]}" "{steps[2]}" {{ … }}')
        yield UserError(f"{name} is used, and no such data source is declared", where=place, hint=hint)


_OF_A_DATA_SOURCE = 2
"""Steps that name none yet: `data.amazon-ami`."""


# What `validate` says of a template that works, and could be better kept.


def notes_on_builds(builds: Sequence[Build]) -> tuple[str, ...]:
    """The remarks of each kind on its builders, each once."""
    found = (note for build in builds if build.dialect is not None for note in build.dialect.notes(build.written))
    return tuple(dict.fromkeys(found))


def notes_on_outputs(steps: Sequence[Step], *, scope: Scope) -> Iterator[str]:
    """A note for each manifest in a folder that the commit does not have: Packer makes none, and fails at the end.

    What runs on this machine may make it, so nothing is said of a template that has such a step.
    """
    if any(step.type == "shell-local" for step in steps):
        return
    for step in steps:
        output = step.body.attributes.get("output") if step.type == "manifest" else None
        written = as_text(evaluate(output.expression, scope)) if output is not None else None
        folder = posixpath.dirname(written) if written else ""
        found = posixpath.normpath(posixpath.join(scope.path_cwd, folder)).removeprefix(f"{CHECKOUT}/")
        if folder and found[0] != "/" and not scope.files.hides(found) and not scope.files.below(found):
            yield (
                f"{step.block.place}: {step.type} writes to {found}/, and there is no such folder at this commit: the "
                "build fails at its end unless something makes it"
            )
