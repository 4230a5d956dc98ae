"""Functions of paths and files. Files are read at the commit in hand, as the build finds them in its clean export."""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from reconciler.desired.linear import LONGEST, Pattern
from reconciler.desired.packer.functions.signature import Function, mapping, string, strings
from reconciler.desired.packer.language import template_text
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.outcome import Refused, Undecided, Wrong
from reconciler.desired.packer.language.parser import Parser
from reconciler.desired.packer.language.values import BOOL, DYNAMIC, STRING, Value, set_of, set_value, text
from reconciler.model.errors import Place

CHECKOUT = "/<checkout>"
"""Where the repository's root stands in evaluated paths. No real path begins so."""

_NAME = re.compile(r"[^\W\d][\w-]*")
_GLOB_PART = re.compile(r"\*\*|\*|\?|\{[^{}\[\]*?\\]*\}|[^*?{}\[\]\\]+")


class Files(Protocol):
    """The files of the repository at the commit in hand. Paths are from its root."""

    def content(self, path: str) -> bytes | None:
        """What is in a file; None where there is none that can be read, as where a submodule is in the way."""

    def is_file(self, path: str) -> bool:
        """Whether there is a file, which may be too large to be read."""

    def below(self, folder: str) -> Sequence[str]:
        """The paths of all files below a folder, at any depth."""

    def hides(self, path: str) -> bool:
        """Whether it can't be told what is at a path or below it."""


class NoFiles:
    """A repository of which nothing is known."""

    def content(self, path: str) -> bytes | None:
        """Nothing."""
        del path
        return None

    def is_file(self, path: str) -> bool:
        """Nothing."""
        del path
        return False

    def below(self, folder: str) -> Sequence[str]:
        """Nothing."""
        del folder
        return ()

    def hides(self, path: str) -> bool:
        """Everything."""
        del path
        return True


def clean(path: str) -> str:
    """A path as Go's filepath.Clean leaves it."""
    cleaned = posixpath.normpath(path) if path else "."
    return f"/{cleaned.lstrip('/')}" if cleaned.startswith("//") else cleaned


def path_functions(files: Files, *, root: str, cwd: str) -> Mapping[str, Function]:
    """By name. Functions that read files take paths relative to the template's folder (seen with 1.6.6).

    But for `filebase64`, which opens what it is given, and so begins where Packer runs (seen with 1.16.0).

    Args:
        files: What there is at the commit in hand.
        root: The template's folder, as it stands in evaluated paths.
        cwd: Where Packer runs, likewise.
    """
    found = _Paths(files, root)
    of_text: Mapping[str, Callable[[str], Value]] = {
        "abspath": lambda path: clean(posixpath.join(cwd, path)),
        "basename": _basename,
        "dirname": lambda path: clean(path[: path.rfind("/") + 1]),
        "file": found.file,
        "fileexists": found.exists,
        "pathexpand": _expanded,
    }
    functions = {
        name: Function(_of_text(run), (STRING,), returns=BOOL if name == "fileexists" else STRING)
        for name, run in of_text.items()
    }
    functions["filebase64"] = Function(_of_text(_Paths(files, cwd).base64), (STRING,), returns=STRING, is_newer=True)
    functions["fileset"] = Function(found.fileset, (STRING, STRING), returns=set_of(STRING))
    functions["templatefile"] = Function(found.templatefile, (STRING, DYNAMIC), takes_unknown=True, is_newer=True)
    return functions


def _of_text(run: Callable[[str], Value]) -> Callable[[Interpreter, Sequence[Value]], Value]:
    return lambda _run, arguments: run(string(arguments[0]))


def _basename(path: str) -> Value:
    stripped = path.rstrip("/")
    return stripped.rpartition("/")[2] or ("/" if path else ".")


def _expanded(path: str) -> Value:
    if path.startswith("~"):
        raise Undecided("the home of whoever runs Packer")
    return path


class _Paths:
    """The functions that read files."""

    def __init__(self, files: Files, root: str) -> None:
        self._files = files
        self._root = root

    def file(self, path: str) -> Value:
        try:
            return text(self._content(path).decode())
        except UnicodeDecodeError as error:
            raise Refused("the file is not UTF-8") from error

    def base64(self, path: str) -> Value:
        return base64.b64encode(self._content(path)).decode()

    def exists(self, path: str) -> Value:
        found = self._in_repository(path)
        if self._files.hides(found):
            raise Undecided("a file that git does not show")
        if self._files.below(found):
            raise Refused("this is a folder")
        return self._files.is_file(found)

    def fileset(self, run: Interpreter, arguments: Sequence[Value]) -> Value:
        folder, pattern = strings(arguments)
        base = self._in_repository(folder)
        if ".." in pattern.split("/") or pattern.startswith("/"):
            raise Undecided("a pattern that leads out of its folder")
        if self._files.hides(base):
            raise Undecided("a folder that git does not show")
        glob = _glob(clean(pattern))
        below = self._files.below(base)
        run.spend(len(below))
        prefix = "" if base == "." else f"{base}/"
        names = [path.removeprefix(prefix) for path in below]
        return set_value([text(name) for name in names if glob.matches(name)], STRING)

    def templatefile(self, run: Interpreter, arguments: Sequence[Value]) -> Value:
        if not isinstance(arguments[0], str):
            raise Undecided("a file that is not known")
        names = mapping(arguments[1]).items
        if not all(_NAME.fullmatch(name) for name in names):
            raise Refused("a name that can't be one in a template")
        source = self.file(arguments[0])
        parser = Parser(string(source), lambda _at: Place(""))
        try:
            template = template_text.assembled(template_text.bare(parser))
        except (Wrong, ValueError) as error:
            raise Refused("the file is no template") from error
        return run.isolated(template, names)

    def _content(self, path: str) -> bytes:
        content = self._files.content(self._in_repository(path))
        if content is None:
            raise Undecided("a file that is not in the repository at this commit")
        return content

    def _in_repository(self, path: str) -> str:
        if path.startswith("~") or "\0" in path:
            raise Undecided("a file of the machine that builds")
        found = clean(posixpath.join(self._root, path))
        if found == CHECKOUT:
            return "."
        if not found.startswith(f"{CHECKOUT}/"):
            raise Undecided("a file of the machine that builds")
        return found.removeprefix(f"{CHECKOUT}/")


def _glob(pattern: str) -> Pattern:
    """A pattern of `fileset` as an expression. `**` stands for any number of folders, also for none."""
    made: list[str] = []
    at = 0
    while at < len(pattern) <= LONGEST:
        part = _GLOB_PART.match(pattern, at)
        if part is None:
            raise Undecided("a pattern of files that is not read here")
        at = part.end()
        match part[0]:
            case "**":
                is_folder = (not made or made[-1].endswith("/")) and pattern.startswith("/", at)
                if not is_folder:
                    raise Undecided("a pattern of files that is not read here")
                made.append("(?:[^/]+/)*")
                at += 1
            case "*":
                made.append("[^/]*")
            case "?":
                made.append("[^/]")
            case str() as choice if choice.startswith("{"):
                made.append(f"(?:{'|'.join(re.escape(one) for one in choice[1:-1].split(','))})")
            case literal:
                made.append(re.escape(literal))
    try:
        return Pattern("".join(made))
    except ValueError as error:
        raise Undecided("a pattern of files that is not read here") from error
