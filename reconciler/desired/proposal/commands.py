"""The commands that run Packer in a repository's Makefiles, scripts and CI files, as they are written.

They are read, never run. What a shell, make or a CI would only know when it runs is taken for any text (`*`).
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from typing import Any

from reconciler.desired.contents import Contents
from reconciler.desired.packer.json_file import folder_of
from reconciler.desired.paths import ROOT, Paths
from reconciler.desired.proposal.ci_files import NOTHING_KNOWN, Way, Written, jobs_of_gitlab, steps
from reconciler.desired.proposal.containers import COMPOSE, Container, container, services
from reconciler.desired.proposal.included import CiFiles
from reconciler.desired.proposal.lines import Left, lines_of_code, of_jenkins, replaced, statements
from reconciler.desired.proposal.make import CALL, Call, Definitions, Rules, call, for_targets, targets
from reconciler.desired.proposal.shell import Shell, Shells, followed
from reconciler.desired.proposal.shell_functions import with_calls
from reconciler.model.errors import Place
from reconciler.model.plain_yaml import MOST_BYTES
from reconciler.model.tree import REGULAR_MODES

_MAKEFILES = re.compile(r"(?:.*/)?(?:GNUm|M|m)akefile|.*\.mk|(?:.*/)?[Jj]ustfile")
_SCRIPTS = re.compile(r".*\.(?:sh|bash|zsh|ps1|cmd|bat)|(?:.*/)?Jenkinsfile[^/]*")
_WINDOWS_VARIABLE = re.compile(r"%[^%\s/]+%|%~?[a-z]*[0-9]")
_YAML = re.compile(
    r"(?:\.\./)*\.(?:github/workflows|circleci)/[^/]+\.ya?ml|(?:.*/)?\.gitlab-ci\.ya?ml|(?:.*/)?azure-pipelines[^/]*"
    r"\.ya?ml|(?:.*/)?\.?(?:azure[\w.-]*|pipelines?)/(?:.*/)?[^/]+\.ya?ml|"
    r"(?:.*/)?(?:buildspec|cloudbuild|bitbucket-pipelines|[Tt]askfile|\.travis|\.drone)[^/]*\.ya?ml"
)
_MOST_IN_A_LINE = 32
"""Commands that build in a line: people write no more."""
# `packer build`, `packer -machine-readable build`, `$(PACKER) build`, `docker run hashicorp/packer:light build`.
_COMMAND = re.compile(
    r"(?:\bpacker(?:\.io|\.exe|io|:[\w.-]+)?|\$[({]PACKER(?:_\w+)?[)}])[\"']?(?:\s+-[\w=-]+)*\s+build(?=\s|$)"
)
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+|local\s+|readonly\s+)?([A-Za-z_]\w*)\s*[:?+]?=(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command that builds, with `*` for what only a run knows of it."""

    arguments: str
    folders: tuple[str, ...]
    """Where it may run, as it is written, the likeliest first."""
    place: Place
    before: str = ""
    """The line up to it, as of `docker run`."""

    def inside(self, of_compose: Mapping[str, Container]) -> Command:
        """The same with paths of the repository, where it runs in a container; services are those of compose files."""
        found = container(self.before, of_compose)
        if found is None:
            return self
        here = found.folder_here
        if here is None or here.startswith("*"):
            return replace(self, arguments=found.arguments(self.arguments), folders=_within(self.folders, here))
        return replace(self, arguments=found.arguments(self.arguments), folders=(here,))


def files_to_search(paths: Paths) -> list[str]:
    """The files that may run Packer."""
    return [
        path
        for path, entry in paths.entries.items()
        if entry.mode in REGULAR_MODES and any(kind.fullmatch(path) for kind in (_MAKEFILES, _SCRIPTS, _YAML, COMPOSE))
    ]


def commands(contents: Contents) -> Iterator[Command]:
    """Every command that builds, file by file. The files have to be loaded."""
    files = files_to_search(contents.paths)
    texts = {path: _text_of(path, contents.read(path)) for path in files}
    makefiles = [path for path in files if texts[path] and _MAKEFILES.fullmatch(path)]
    defined = Definitions(lines_of_code(texts[path]) for path in makefiles)
    lines = {path: list(defined.expanded(lines_of_code(texts[path]))) for path in makefiles}
    top = contents.paths.top
    found: dict[str, list[Command]] = {path: [] for path in files}
    calls: list[Call] = []
    left = {path: Left() for path in files}
    ci = CiFiles(contents)

    def sort(path: str, read: Iterable[Command | Call]) -> list[Call]:
        every = list(read)
        found[path] += [one for one in every if isinstance(one, Command)]
        return [one for one in every if isinstance(one, Call) and (one.values or one.environment)]

    for path in (path for path in files if texts[path]):
        read = (
            _of_makefile(path, lines[path], top, left[path])
            if path in lines
            else _in_file(path, texts[path], top, left[path], ci)
        )
        calls += sort(path, read)
    if calls and makefiles:
        rules = Rules(lines.values())
        met: list[tuple[str, Call]] = []
        for path, one in ((path, one) for _ in range(_ROUNDS) for one in calls[:_MOST_READ] for path in makefiles):
            about = one.about(texts[path])
            if (about.values or about.environment) and (path, about) not in met and len(met) < _MOST_CALLS:
                met.append((path, about))
                calls += sort(path, _of_makefile(path, lines[path], top, left[path], told=about, rules=rules))
    of_compose = services({path: texts[path] for path in files if COMPOSE.fullmatch(path)})
    for path in files:
        yield from (one.inside(of_compose) for one in found[path] if path not in ci.taken_in)


_ROUNDS, _MOST_CALLS, _MOST_READ = 3, 64, 1_000
"""Calls of make by what make calls that are followed, those that are told apart, and those that are looked at."""


def _text_of(path: str, content: bytes) -> str:
    """What a file says that may run Packer, or make; empty for others."""
    lower = content.lower()
    may_run = (
        any(word in lower for word in (b"packer", b"make"))
        or _MAKEFILES.fullmatch(path) is not None  # one may belong to another
        or (_YAML.fullmatch(path) is not None and _TAKES_IN.search(lower) is not None)
    )
    if len(content) > MOST_BYTES or not may_run:
        return ""
    text = content.decode(errors="replace")
    if path.lower().endswith((".ps1", ".cmd", ".bat")):  # a line goes on after ` or ^, and paths have backslashes
        text = re.sub(r"[`^]\r?\n", "\\\n", _WINDOWS_VARIABLE.sub("*", text.replace("\\", "/")))
    return text


_TAKES_IN = re.compile(rb"uses:\s*[\"']?\./|\binclude:|\btemplate:")


def _in_file(path: str, text: str, top: str, left: Left, ci: CiFiles) -> Iterator[Command | Call]:
    """The commands in a file. `top` is the repository's root, as seen from the fleet's folder."""
    if COMPOSE.fullmatch(path):
        return
    if _YAML.fullmatch(path):
        yield from _in_yaml(path, text, top, left, ci)
        return
    if "Jenkinsfile" in path:
        text = "\n".join(of_jenkins(text))
    # A script is mostly called from the root.
    yield from _in_script([(Place(path), text)], (ROOT, top, folder_of(path)), left)


def _of_makefile(
    path: str,
    lines: Iterable[tuple[int, str]],
    top: str,
    left: Left,
    *,
    told: Call | None = None,
    rules: Rules | None = None,
) -> Iterator[Command | Call]:
    """The commands of a Makefile; with a call of make those of the rules that it reaches, with what it gives."""
    reached = rules.reached(told.goals) if rules is not None and told is not None and told.goals else None
    given = told or Call(())
    known = ChainMap[str, str](dict(given.values), dict(given.environment))
    current: tuple[str, ...] = ()
    own: dict[str, dict[str, str]] = {}
    for number, line in lines:
        left.of_make -= 1
        if left.of_make < 0:
            return
        recipe = line.startswith("\t")
        assigned = None if recipe else _ASSIGNMENT.match(line)
        if assigned:
            weak = line[: assigned.start(2)].endswith("?=") and assigned[1] in given.environment
            if not weak and assigned[1] not in given.values:
                known.maps[0].setdefault(assigned[1], _unquoted(assigned[2].strip()))
            continue
        for_some = None if recipe else for_targets(line)
        if for_some is not None:
            yield for_some
            for target in for_some.goals:
                own.setdefault(target, {}).update(for_some.values)
            continue
        current = current if recipe else targets(line) or current
        if reached is None or not reached.isdisjoint(current):
            of_target = next((own[one] for one in current if one in own), {})
            here = known.new_child({name: value for name, value in of_target.items() if name not in given.values})
            # Make runs where its Makefile is, and each line of a recipe in a shell of its own.
            yield from _in_shell([(Place(path), number, line)], (folder_of(path), ROOT, top), left, known=here)


def _in_shell(
    lines: Iterable[tuple[Place, int, str]],
    folders: tuple[str, ...],
    left: Left,
    *,
    around: Way = NOTHING_KNOWN,
    builds: bool = False,
    known: ChainMap[str, str] | None = None,
) -> Iterator[Command | Call]:
    """The commands among the lines of a shell script, which may be written in parts; or in one of a recipe of make.

    The values `around` it are its environment; what it sets itself goes before that. For make all is `known`. Where it
    is after each line is of interest where another of them `builds`.
    """
    make = known is not None
    known = known if known is not None else ChainMap[str, str]({}, dict(around))
    environment = {name: value for name, value in around.items() if name.isidentifier()}
    shells: Shells = (Shell(),)
    parts = lines if make else ((place, number, part) for place, number, line in lines for part in statements(line))
    for place, number, line in parts:
        if not left.takes(line):
            return
        if not make and _is_set(line, known, environment):
            continue
        where = Place(place.path, place.line + number - 1 if place.line else number)
        for match in islice(CALL.finditer(line), _MOST_IN_A_LINE if "make" in line.lower() else 0):
            if not _is_said(line[: match.start()]):
                before, after = (replaced(part, known) for part in (line[: match.start()], line[match.end() :]))
                yield call(before, after, environment)
        end = 0
        matches = list(islice(_COMMAND.finditer(line), _MOST_IN_A_LINE))
        for match, following in zip_longest(matches, matches[1:]):
            shells = followed(replaced(line[end : match.start()], known), shells, begins=not end)
            end = match.end()
            if _is_said(line[: match.start()]):
                continue
            before, arguments = (
                replaced(part, known)
                for part in (line[: match.start()], line[end : following.start() if following is not None else None])
            )
            for quote in "'\"":  # a command that is itself quoted ends with that
                arguments = arguments.partition(quote)[0] if before.count(quote) % 2 else arguments
            yield Command(arguments, _within(folders, shells[-1].folder), where, before)
        if builds:
            shells = followed(replaced(line[end:], known), shells, begins=not end)


def _in_script(
    parts: Iterable[tuple[Place, str]], folders: tuple[str, ...], left: Left, *, around: Way = NOTHING_KNOWN
) -> Iterator[Command | Call]:
    """The commands of one script of a shell, which may be written in parts, with what its functions come to."""
    lines = [((place, number), line) for place, text in parts for number, line in lines_of_code(text)]
    called = [(place, number, line) for (place, number), line in with_calls(lines, _may_build)]
    builds = any(_COMMAND.search(line) for *_, line in called)
    yield from _in_shell(called, folders, left, around=around, builds=builds)


def _may_build(line: str) -> bool:
    """Tell whether a line runs Packer, or make, be it with what its function is given."""
    return any(one.search(line) for one in (_COMMAND, _WRAPPED, CALL))


_WRAPPED = re.compile(r"\bpacker[\w.:-]*\s+(?:-\S+\s+)*\"?\$\{?[@*]")


def _is_set(line: str, known: ChainMap[str, str], environment: dict[str, str]) -> bool:
    """Take in what a line of a shell sets; whether that is all that it does."""
    loop = _LOOP.search(line)
    if loop and loop[2].count("*") == 1:  # one of the folders that fit: only a run knows which
        known.maps[0][loop[1]] = loop[2].strip("\"'")
    if array := _ARRAY.match(line):
        name = f"{array[1]}[@]"
        known.maps[0][name] = f"{known.get(name, '') if array[2] else ''} {array[3]}".strip()
        return True
    assigned = None if _IN_ENVIRONMENT.match(line) else _ASSIGNMENT.match(line)
    if assigned is None:
        return False
    value = known.maps[0].setdefault(assigned[1], _unquoted(assigned[2].strip()))
    if line.lstrip().startswith("export"):
        environment[assigned[1]] = replaced(value, known)
    return True


_LOOP = re.compile(r"\bfor\s+([A-Za-z_]\w*)\s+in\s+([^\s;]+)\s*(?:;|$)")
_ARRAY = re.compile(r"\s*(?:local\s+|declare\s+-a\s+)?([A-Za-z_]\w*)(\+?)=\((.*)\)\s*;?\s*$", re.DOTALL)
# `PACKER_LOG=1 packer build .`: a command with an environment of its own.
_IN_ENVIRONMENT = re.compile(r"\s*(?:[A-Za-z_]\w*=(?:\"[^\"]*\"|'[^']*'|[^\s\"'();&|`])*+[ \t]+)++(?=\S)")
_SEPARATED = re.compile(r"""\\.|"(?:[^"\\]|\\.)*"|'[^']*'|(?P<mark>[;&|({]+|(?<!\S)(?:do|then|else)(?=\s))""")
_SAYS = re.compile(r"\s*[@+-]*(?:echo|printf)\s")


def _is_said(before: str) -> bool:
    """Whether what stands before a command makes it a text that is printed: `echo "usage: packer build …"`."""
    begins = max((it.end() for it in _SEPARATED.finditer(before) if it["mark"]), default=0)
    return _SAYS.match(before, begins) is not None


def _unquoted(value: str) -> str:
    """What is assigned without its quotes, which may be around a part: `"$HERE"/images`."""
    with suppress(ValueError):
        if len(words := shlex.split(value)) == 1:
            return words[0]
    return value.strip("\"'")


def _in_yaml(path: str, text: str, top: str, left: Left, ci: CiFiles) -> Iterator[Command | Call]:
    """The commands in the texts of a CI file, each in the folder that its step names."""
    try:
        document, texts = ci.whole(path)
    except ValueError:
        yield from _in_script([(Place(path), text)], (top,), left)
        return
    document = jobs_of_gitlab(document) if posixpath.basename(path).startswith(".gitlab-ci.") else document
    found_on = Written(texts)
    for step in steps(document, left):
        folders = _within((top,), step.folder)
        for script in _scripts(step.written):
            parts = [(found_on.place_of(part, path), step.given(part)) for part in script]
            yield from _in_script(parts, folders, left, around=step.values)
        given = _given_to_action(step.written)
        if given is not None:
            file = f"-var-file={given['var_file']}" if given.get("var_file") else ""
            arguments = " ".join(str(one) for one in (file, given.get("arguments"), given.get("target")) if one)
            where = given.get("working_directory")
            within = _within((top,), step.given(where) if isinstance(where, str) else None)
            yield Command(replaced(step.given(arguments), {}), within, Place(path))


def _scripts(step: Mapping[Any, Any]) -> Iterator[list[str]]:
    """The scripts of a step that run Packer, or make. A list of texts is one shell, begun by a `before_script`."""
    before = _texts(step.get("before_script"))
    for name, value in step.items():
        script = [*before, *_texts(value)] if name == "script" else _texts(value)
        if name != "before_script" and any(_may_build(text) for text in script):
            yield script


def _texts(value: object) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _given_to_action(step: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """What hashicorp/packer-github-actions is given, where it builds."""
    given = step.get("with")
    if "packer-github-actions" not in str(step.get("uses")) or not isinstance(given, dict):
        return None
    return given if given.get("command") == "build" else None


def _within(folders: tuple[str, ...], inner: str | None) -> tuple[str, ...]:
    """The folders, each with one inside of it; that one alone where it is certain.

    What a path begins with and is only known when it is run, such as `$(dirname "$0")`, is taken for the folder itself.
    """
    written = replaced(inner or "", {})
    named = written.removeprefix("*").lstrip("/")
    inside = [posixpath.join(folder, named) for folder in folders] if named else []
    return tuple(dict.fromkeys([*inside, *(folders if "*" in written or not named else ())]))
