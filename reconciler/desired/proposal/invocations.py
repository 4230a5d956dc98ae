"""How a repository runs Packer today: `packer build …` in its Makefiles, scripts and CI files.

It is read, never run. What a shell or make would only know when it runs is taken for any text (`*`), and compared with
the files that there are.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.desired.contents import Contents
from reconciler.desired.linear import LONGEST, Pattern
from reconciler.desired.packer.json_file import folder_of, is_hcl2, may_be_legacy
from reconciler.desired.paths import ROOT, Paths
from reconciler.desired.proposal.commands import Command, commands
from reconciler.model.errors import Place

_MOST_UNKNOWN = 4
"""Unknown parts of a path of which the rest still tells something, and that are compared in a moment."""
_ENDS = frozenset({"&&", "||", ";", "|", "&"})
_REDIRECTION = re.compile(r"(?:\d*|&)[<>]+[&|]?")
_WITH_VALUE = frozenset({"var", "var-file", "only", "except", "on-error", "parallel-builds"})


@dataclass(frozen=True)
class Invocation:
    """One way in which Packer is run. Paths are from the repository's root; `folder` is where it runs."""

    template: str
    folder: str
    place: Place
    var_files: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    """Var files as they were written that are not there, or are only known when it is run."""
    variables: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    """Variables whose values are only known when it is run."""
    only: tuple[str, ...] = ()
    """Globs of builders that it asks for; what is only known when it is run is any."""
    partly: bool = False
    """Whether it is given more that is only known when it is run, as what a function of make comes to."""
    anything: bool = False
    """Whether its template is known by nothing but its folder: it may be any file there, or all of them as one."""


@dataclass(frozen=True)
class Found:
    """How a repository runs Packer on templates that are there."""

    runs: tuple[Invocation, ...]
    not_followed: tuple[Place, ...] = ()
    """Commands that build what is only known when they run, and fits none of them."""


def invocations(contents: Contents) -> Found:
    """Every way in which the repository runs Packer. The files have to be loaded."""
    found: dict[tuple[object, ...], Invocation] = {}
    followed: dict[Place, bool] = {}
    for command in commands(contents):
        understood = list(_understood(command, contents.paths))
        if understood or "*" in (_arguments(command.arguments)[1] or ""):
            followed[command.place] = followed.get(command.place, False) or bool(understood)
        for one in understood:
            said = (one.template, one.folder, one.var_files, tuple(one.variables.items()), one.only, one.anything)
            found.setdefault(said, one)
    return Found(tuple(found.values()), tuple(place for place, is_known in followed.items() if not is_known))


def _understood(command: Command, paths: Paths) -> Iterator[Invocation]:
    """What a command runs, in the first folder where its template is there. One with unknown parts may be several."""
    flags, template = _arguments(command.arguments)
    partly = "*" in command.arguments.split()
    if template is None:
        return
    given = dict(one.split("=", 1) for one in flags.get("var", []) if "=" in one)
    known = {name: value for name, value in given.items() if "*" not in value}
    only = tuple(name for text in flags.get("only", []) for name in text.split(",") if name)
    files = flags.get("var-file", [])
    for written in command.folders:
        found = [
            Invocation(
                path,
                folder,
                command.place,
                var_files,
                absent,
                known,
                tuple(given.keys() - known.keys()),
                only,
                partly,
                anything,
            )
            for folder, part in _folders(written, paths)
            for path, stem, anything in _matching(template, folder, paths, var_files=files)
            for var_files, absent in _var_files(files, folder, paths, stem=stem or part, template=path)
        ]
        if found:
            yield from found
            return


def _folders(written: str, paths: Paths) -> Iterator[tuple[str, str]]:
    """The folders that a written one is, or may be, with what stands for its unknown part."""
    if "*" not in written:
        folder = paths.resolve(ROOT, written)
        if folder is not None:
            yield folder, ""
        return
    yield from _fitting(posixpath.normpath(written), {folder_of(path) for path in paths.entries})


def _fitting(pattern: str, candidates: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The paths that a pattern stands for, in order, with what stands for its first unknown part."""
    if pattern.count("*") > _MOST_UNKNOWN or len(pattern) > LONGEST:
        return
    compiled = Pattern("([^/]*)".join(map(re.escape, pattern.split("*"))))
    for candidate in sorted(candidates):
        stem = compiled.first_group(candidate)
        if stem is not None:
            yield candidate, stem


def _arguments(text: str) -> tuple[dict[str, list[str]], str | None]:
    """The flags of a command with their values, and its template, the last word that is no flag."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a quote that goes on in another line, or is the CI file's own
        words = text.replace('"', " ").replace("'", " ").split()
    flags: dict[str, list[str]] = {}
    template = None
    redirected = False
    while words and words[0] not in _ENDS:
        word = words.pop(0)
        last = word.endswith((";", ")"))
        word = word.rstrip(";)")
        if redirected or (redirection := _REDIRECTION.match(word)):
            # The file of one is the next word where it is not in this one.
            redirected = not redirected and redirection is not None and redirection.end() == len(word)
        elif word.startswith("-"):
            name, given, value = word.lstrip("-").partition("=")
            if not given and name in _WITH_VALUE and words:
                value = words.pop(0)
            flags.setdefault(name, []).append(value.strip("\"'"))
        elif word:
            template = word
        if last:
            break
    return flags, template


def _matching(written: str, folder: str, paths: Paths, *, var_files: list[str]) -> Iterator[tuple[str, str, bool]]:
    """The templates that a written path is, or may be, with what stands for its unknown part.

    And whether nothing is known but the folder: `"$@"` and `$(dirname "$0")` name no file of it, and may be all of it.
    One of which not even that is known is taken to be where a var file is that it gets.
    """
    if written == "*" and folder == ROOT:
        named = (paths.resolve(one, folder) for one in var_files)
        beside = {folder_of(one) for one in named if one is not None and one in paths.entries} - {ROOT}
        written = f"{beside.pop()}/*" if len(beside) == 1 else written
    for path in _read(written, folder, paths):
        if "*" not in path:
            found = [(path, "", False)] if _is_template(path, paths) else []
        else:
            folders = {folder_of(one) for one in paths.entries}
            fitting = _fitting(path, {*paths.entries, *folders}) if path != "*" else ()
            nameless = posixpath.basename(path).strip("*") == ""
            found = [
                (fits, "" if anything else stem, anything)
                for fits, stem in fitting
                if _is_template(fits, paths)
                for anything in (nameless and fits in paths.entries,)
            ]
        if found:
            yield from found
            return


def _read(written: str, folder: str, paths: Paths) -> Iterator[str]:
    """What a written path may be, from the root: as it stands, or as one that begins where the script is, or there.

    `$HERE/images` and `$GITHUB_WORKSPACE/images`, of which only a run knows the first part, are mostly that.
    """
    may_be = [(written, folder)]
    if written.startswith("*/"):
        may_be += [(written.removeprefix("*/"), start) for start in (folder, ROOT, paths.top)]
    resolved = (paths.resolve(path, start) for path, start in may_be)
    yield from dict.fromkeys(path for path in resolved if path is not None)


def _is_template(path: str, paths: Paths) -> bool:
    """Whether a path may be a template by its name: a file, or a folder of HCL2 files."""
    if path in paths.entries:
        of_variables = path.endswith((".pkrvars.hcl", ".pkrvars.json"))
        return not of_variables and (is_hcl2(path) or path.endswith(".hcl") or may_be_legacy(path))
    return any(is_hcl2(file) for file in paths.directly_in(path))


def _var_files(
    written: list[str], folder: str, paths: Paths, *, stem: str, template: str
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The var files that a command names, and those of them that are not there.

    One whose name is only known when it is run may be any that fits, of which each is a way of its own.
    """
    certain: list[str] = []
    absent: list[str] = []
    choices: list[str] = []
    for one in written:
        may_be = list(_read(one, folder, paths))
        named = (path.replace("*", stem or "*") for path in may_be)
        same = next((path for path in named if path in paths.entries), None)
        if same is not None:
            certain.append(same)
            continue
        among = [file for file in paths.entries if file != template]
        fits = [file for path in may_be if "*" in path for file in among if _fits(file, path)]
        # Where two are open, the second is taken to follow from the first: an environment, and a size in it.
        choices = choices or fits
        absent += [] if fits else [one]
    for choice in [[file] for file in choices] or [[]]:
        yield (*certain, *choice), tuple(absent)


def _fits(path: str, pattern: str) -> bool:
    """Whether a file may be what a pattern stands for: a var file, in that place. `*` by itself says nothing."""
    return (
        path.endswith((".pkrvars.hcl", ".pkrvars.json", ".json"))
        and path.count("/") == pattern.count("/")
        and re.search(r"[A-Za-z0-9]", pattern) is not None
        and fnmatch.fnmatchcase(path, pattern)
    )
