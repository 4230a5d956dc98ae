"""How a repository runs Packer today: `packer build …` in its Makefiles, scripts and CI files.

It is read, never run. What a shell or make would only know when it runs is taken for any text (`*`), and compared with
the files that there are.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml

from reconciler.desired.contents import Contents
from reconciler.desired.linear import LONGEST, Pattern
from reconciler.desired.packer.json_file import folder_of, is_hcl2, may_be_legacy
from reconciler.desired.paths import ROOT, Paths
from reconciler.model.errors import Place
from reconciler.model.tree import REGULAR_MODES

_MAKEFILES = re.compile(r"(?:.*/)?(?:GNUm|M|m)akefile|.*\.mk|(?:.*/)?[Jj]ustfile")
_SCRIPTS = re.compile(r".*\.(?:sh|bash|zsh|ps1|cmd|bat)|(?:.*/)?Jenkinsfile[^/]*")
_WINDOWS_VARIABLE = re.compile(r"%[^%\s/]+%|%~?[a-z]*[0-9]")
_YAML = re.compile(
    r"(?:\.\./)*\.(?:github/workflows|circleci)/[^/]+\.ya?ml|(?:.*/)?\.gitlab-ci\.ya?ml|(?:.*/)?azure-pipelines[^/]*"
    r"\.ya?ml|(?:.*/)?(?:buildspec|cloudbuild|bitbucket-pipelines|[Tt]askfile|\.travis|\.drone)[^/]*\.ya?ml"
)
_LARGEST = 512 * 1024  # bytes: a file that people run Packer from is written by hand
# `packer build`, `packer -machine-readable build`, `$(PACKER) build`, `docker run hashicorp/packer:light build`.
_COMMAND = re.compile(
    r"(?:\bpacker(?:\.io|\.exe|io|:[\w.-]+)?|\$[({]PACKER(?:_\w+)?[)}])[\"']?(?:\s+-[\w=-]+)*\s+build(?=\s|$)"
)
_ENDS = frozenset({"&&", "||", ";", "|", ">", ">>", "2>&1", "2>", "&", "<"})
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+|local\s+|readonly\s+)?([A-Za-z_]\w*)\s*[:?+]?=(.*)$", re.DOTALL)
_REFERENCE = re.compile(r"\$(?:\(([A-Za-z_]\w*)\)|\{([A-Za-z_]\w*)(?:[^{}]*)\}|([A-Za-z_]\w*))")
# Make's automatic variables, positional arguments, calls of functions and of commands, and a CI's own expressions.
_UNKNOWN = re.compile(
    r"\$\{\{.*?\}\}|\{\{.*?\}\}|<<.*?>>|\$\([^()]*(?:\([^()]*\)[^()]*)*\)|\$\{[^{}]*\}|"
    r"\$+[A-Za-z_@*<^?%#0-9]\w*|`[^`]*`"
)
_CHANGES_FOLDER = re.compile(r"(?:^|&&|;|\|\||\()\s*[@+-]*(?:cd|pushd)\s+([^\s;&|()]+)")
_MOST_UNKNOWN = 4
"""Unknown parts of a path of which the rest still tells something, and that are compared in a moment."""
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


@dataclass(frozen=True)
class _Command:
    """A command that runs Packer, its variables replaced: what stands before it on its line, and what it is given."""

    before: str
    arguments: str
    folders: tuple[str, ...]
    """Where it may run, as it is written, the likeliest first."""
    place: Place


def files_to_search(paths: Paths) -> list[str]:
    """The files that may run Packer."""
    return [
        path
        for path, entry in paths.entries.items()
        if entry.mode in REGULAR_MODES and any(kind.fullmatch(path) for kind in (_MAKEFILES, _SCRIPTS, _YAML))
    ]


def invocations(contents: Contents) -> tuple[Invocation, ...]:
    """Every way in which the repository runs Packer on a template that is there. The files have to be loaded."""
    found: dict[tuple[object, ...], Invocation] = {}
    for path in files_to_search(contents.paths):
        for command in _commands(path, contents.read(path), contents.paths.top):
            for one in _understood(command, contents.paths):
                found.setdefault((one.template, one.folder, one.var_files, tuple(one.variables.items()), one.only), one)
    return tuple(found.values())


def _commands(path: str, content: bytes, top: str) -> Iterator[_Command]:
    """The commands in a file. `top` is the repository's root, as seen from the fleet's folder."""
    if len(content) > _LARGEST or b"packer" not in content.lower():
        return
    text = content.decode(errors="replace")
    if path.lower().endswith((".ps1", ".cmd", ".bat")):  # a line goes on after ` or ^, and paths have backslashes
        text = re.sub(r"[`^]\r?\n", "\\\n", _WINDOWS_VARIABLE.sub("*", text.replace("\\", "/")))
    beside = folder_of(path)
    if _YAML.fullmatch(path):
        yield from _in_yaml(path, text, top)
        return
    # A script is mostly called from the root, and make runs where its Makefile is.
    folders = (beside, ROOT, top) if _MAKEFILES.fullmatch(path) else (ROOT, top, beside)
    yield from _in_shell([(Place(path), text)], folders, make=bool(_MAKEFILES.fullmatch(path)))


def _in_shell(
    parts: Iterable[tuple[Place, str]], folders: tuple[str, ...], *, make: bool = False
) -> Iterator[_Command]:
    """The commands among the lines of a shell script or a Makefile, which may be written in parts."""
    known: dict[str, str] = {}
    inside: str | None = None
    for place, number, line in ((place, *numbered) for place, text in parts for numbered in _logical_lines(text)):
        if line.lstrip().startswith("#"):
            continue
        assigned = _ASSIGNMENT.match(line)
        if assigned and not (make and line.startswith("\t")):
            known.setdefault(assigned[1], _unquoted(assigned[2].strip()))
            continue
        where = Place(place.path, place.line + number - 1 if place.line else number)
        for match in _COMMAND.finditer(line):
            before, arguments = (_replaced(part, known) for part in (line[: match.start()], line[match.end() :]))
            for quote in "'\"":  # a command that is itself quoted ends with that
                arguments = arguments.partition(quote)[0] if before.count(quote) % 2 else arguments
            yield _Command(before, arguments, _within(folders, inside), where)
        moved = _CHANGES_FOLDER.findall(_replaced(line, known))
        if moved and not make:  # each line of a recipe is a shell of its own
            inside = moved[-1].strip("\"'")


def _unquoted(value: str) -> str:
    """What is assigned without its quotes, which may be around a part: `"$HERE"/images`."""
    with suppress(ValueError):
        if len(words := shlex.split(value)) == 1:
            return words[0]
    return value.strip("\"'")


def _in_yaml(path: str, text: str, top: str) -> Iterator[_Command]:
    """The commands in the texts of a CI file, each in the folder that its step names."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        yield from _in_shell([(Place(path), text)], (top,))
        return
    for step, inherited in _mappings(document):
        folder = step.get("working-directory") or step.get("working_directory") or step.get("dir") or inherited
        folders = _within((top,), folder if isinstance(folder, str) else None)
        for script in _scripts(step):
            yield from _in_shell([(Place(path, _line_of(part, text)), part) for part in script], folders)
        given = _given_to_action(step)
        if given is not None:
            file = f"-var-file={given['var_file']}" if given.get("var_file") else ""
            arguments = " ".join(str(one) for one in (file, given.get("arguments"), given.get("target")) if one)
            where = given.get("working_directory")
            within = _within((top,), where if isinstance(where, str) else None)
            yield _Command("", _replaced(arguments, {}), within, Place(path))


def _mappings(document: object) -> Iterator[tuple[dict[Any, Any], object]]:
    """Every mapping in a document, with the folder that what is around it says its steps run in (`defaults.run`).

    Each once: an alias leads to what was met before, and may do so many times.
    """
    left: list[tuple[object, object]] = [(document, None)]
    met = set[int]()
    while left:
        value, folder = left.pop()
        if id(value) in met or not isinstance(value, (dict, list)):
            continue
        met.add(id(value))
        if isinstance(value, dict):
            folder = _default_folder(value) or folder
            yield value, folder
        left += [(one, folder) for one in (value.values() if isinstance(value, dict) else value)]


def _default_folder(job: Mapping[Any, Any]) -> object:
    """The `working-directory` of the steps of a job, or of a workflow, of GitHub Actions."""
    defaults = job.get("defaults")
    run = defaults.get("run") if isinstance(defaults, dict) else None
    return run.get("working-directory") if isinstance(run, dict) else None


def _scripts(step: Mapping[Any, Any]) -> Iterator[list[str]]:
    """The scripts of a step that run Packer. A list of texts is one shell, which begins with a `before_script`."""
    before = _texts(step.get("before_script"))
    for name, value in step.items():
        script = _texts(value)
        if any(_COMMAND.search(text) for text in script):
            yield [*before, *script] if name == "script" else script


def _texts(value: object) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _given_to_action(step: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """What hashicorp/packer-github-actions is given, where it builds."""
    given = step.get("with")
    if "packer-github-actions" not in str(step.get("uses")) or not isinstance(given, dict):
        return None
    return given if given.get("command") == "build" else None


def _line_of(written: str, text: str) -> int:
    """The line of a file on which a text begins that YAML may have folded; 0 where that can't be found."""
    first = next((line.strip() for line in written.splitlines() if line.strip()), "")
    at = text.find(first[:40])
    return text.count("\n", 0, at) + 1 if first and at >= 0 else 0


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that a backslash continues, each with the number of its first."""
    began, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        began = began if parts else number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield began, " ".join([*parts, line])
        parts = []
    if parts:
        yield began, " ".join(parts)


_LONGEST = 65_536
"""Characters that variables put into a text, at most: eight rounds of them can make terabytes of a line."""


def _replaced(text: str, known: Mapping[str, str]) -> str:
    """The text with the variables that the file itself sets, and `*` for all that is only known when it is run."""
    left = _LONGEST

    def value(it: re.Match[str]) -> str:
        nonlocal left
        found = known.get(it[1] or it[2] or it[3], it[0])
        left -= len(found)
        return found if left >= 0 else it[0]

    text = _settled(text, lambda one: _REFERENCE.sub(value, one))
    return _settled(text, lambda one: _UNKNOWN.sub("*", one))  # from the inside: calls stand in calls


def _settled(text: str, change: Callable[[str], str]) -> str:
    for _ in range(8):
        text, before = change(text), text
        if text == before:
            break
    return text


def _within(folders: tuple[str, ...], inner: str | None) -> tuple[str, ...]:
    """The folders, each with one inside of it; that one alone where it is certain.

    What a path begins with and is only known when it is run, such as `$(dirname "$0")`, is taken for the folder itself.
    """
    written = _replaced(inner or "", {})
    named = written.removeprefix("*").lstrip("/")
    inside = [posixpath.join(folder, named) for folder in folders] if named else []
    return tuple(dict.fromkeys([*inside, *(folders if "*" in written or not named else ())]))


def _understood(command: _Command, paths: Paths) -> Iterator[Invocation]:
    """What a command runs, in the first folder where its template is there. One with unknown parts may be several."""
    inner = _CHANGES_FOLDER.findall(command.before)
    flags, template = _arguments(command.arguments)
    partly = "*" in command.arguments.split()
    if template is None:
        return
    given = dict(one.split("=", 1) for one in flags.get("var", []) if "=" in one)
    known = {name: value for name, value in given.items() if "*" not in value}
    only = tuple(name for text in flags.get("only", []) for name in text.split(",") if name)
    files = flags.get("var-file", [])
    for written in _within(command.folders, inner[-1].strip("\"'") if inner else None):
        found = [
            Invocation(
                path, folder, command.place, var_files, absent, known, tuple(given.keys() - known.keys()), only, partly
            )
            for folder, part in _folders(written, paths)
            for path, stem in _matching(template, folder, paths)
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
    while words:
        word = words.pop(0)
        if word in _ENDS:
            break
        last = word.endswith((";", ")"))
        word = word.rstrip(";)")
        if word.startswith("-"):
            name, given, value = word.lstrip("-").partition("=")
            if not given and name in _WITH_VALUE and words:
                value = words.pop(0)
            flags.setdefault(name, []).append(value.strip("\"'"))
        elif word:
            template = word
        if last:
            break
    return flags, template


def _matching(written: str, folder: str, paths: Paths) -> Iterator[tuple[str, str]]:
    """The templates that a written path is, or may be, with what stands for its unknown part."""
    for path in _read(written, folder, paths):
        if "*" not in path:
            found = [(path, "")] if _is_template(path, paths) else []
        else:
            folders = {folder_of(one) for one in paths.entries}
            fitting = _fitting(path, {*paths.entries, *folders}) if path != "*" else ()
            found = [one for one in fitting if _is_template(one[0], paths)]
        if found:
            yield from found
            return


def _read(written: str, folder: str, paths: Paths) -> Iterator[str]:
    """What a written path may be, from the root: as it stands, and as one that begins where the script is.

    `$HERE/images`, of which only a run knows the first part, is mostly that.
    """
    for one in (written, written.removeprefix("*/")) if written.startswith("*/") else (written,):
        path = paths.resolve(one, folder)
        if path is not None:
            yield path


def _is_template(path: str, paths: Paths) -> bool:
    """Whether a path may be a template by its name: a file, or a folder of HCL2 files."""
    if path in paths.entries:
        return is_hcl2(path) or path.endswith(".hcl") or may_be_legacy(path)
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
