"""CI files with what they take in of others of the repository, in place of what names it.

They are templates of Azure Pipelines, with its `${{ each }}`, `${{ if }}` and parameters; actions and workflows of
GitHub that lie in the repository (`uses: ./…`); and what GitLab `include`s as `local`. All are read, never run: of a
condition every side counts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.desired.contents import Contents
from reconciler.desired.packer.json_file import folder_of
from reconciler.model.errors import UserError
from reconciler.model.plain_yaml import load_yaml

Read = Callable[[str], object]
"""Reads the document in a file by its path from the repository's root; None for one that is not there, or no YAML."""

_DEEPEST, _MOST, _MOST_FILES = 24, 20_000, 60
"""Levels of a document with what it takes in, values in it, and files that one takes in."""
_EXPRESSION = re.compile(r"\$\{\{\s*([\w.'\[\]-]{1,200})\s*\}\}")
_EACH = re.compile(r"\$\{\{\s*each\s+(\w+)\s+in\s+([\w.-]+)\s*\}\}")
_CONDITION = re.compile(r"\$\{\{\s*(?:if|elseif|else|insert)\b.*\}\}", re.DOTALL)


class CiFiles:
    """The CI files of a repository. They are parsed once, also those that are taken in and were not searched."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._documents: dict[str, object] = {}
        self.taken_in: set[str] = set()
        """Files that have been taken in by others, and run nothing by themselves."""

    def whole(self, path: str) -> tuple[object, dict[str, str]]:
        """The document in a file with what it takes in, and the texts of all these by their paths.

        Raises ValueError for a file that is no YAML.
        """
        paths = self._contents.paths
        texts = {path: self._text(path)}

        def read(of: str) -> object:
            inside = paths.resolve(of, paths.top)
            if inside is None or inside == path or inside not in paths.entries:
                return None
            try:
                document = self._document(inside)
            except (ValueError, UserError):
                return None
            texts[inside] = self._text(inside)
            if not _runs_by_itself(inside, document):
                self.taken_in.add(inside)
            return document

        from_root = posixpath.normpath(posixpath.join(paths.below, path))
        return _whole(from_root, self._document(path), read), texts

    def _text(self, path: str) -> str:
        self._contents.load([path])
        return self._contents.read(path).decode(errors="replace")

    def _document(self, path: str) -> object:
        if path not in self._documents:
            self._documents[path] = load_yaml(self._text(path))
        return self._documents[path]


def _whole(path: str, document: object, read: Read) -> object:
    """The document of a CI file with what it takes in. `path` is the file's, from the repository's root."""
    name = posixpath.basename(path)
    if not isinstance(document, dict):
        return document
    if name.startswith(".gitlab-ci."):
        return _of_gitlab(document, read, left=[_MOST_FILES])
    if ".github/" in path:
        return _Document(path, read).of_github(document, {}, 0)
    if {"steps", "jobs", "stages", "extends", "variables"} & document.keys() and ".circleci/" not in path:
        return _Document(path, read).of_azure_file(document, {}, path, 0)
    return document


def _runs_by_itself(path: str, document: object) -> bool:
    """Whether a workflow of GitHub runs also where no other names it. Of other files that is not known."""
    events = (document.get("on") or document.get(True)) if isinstance(document, dict) else None  # `on` is YAML's true
    named = list(events) if isinstance(events, (list, dict)) else [events]
    return ".github/workflows/" in path and named != ["workflow_call"]


def _of_gitlab(
    document: Mapping[Any, Any], read: Read, *, left: list[int], within: tuple[str, ...] = ()
) -> Mapping[Any, Any]:
    """A file of GitLab under what it includes: its own jobs and values go before those."""
    includes = document.get("include")
    found: dict[Any, Any] = {}
    for one in includes if isinstance(includes, list) else [includes]:
        local = one.get("local") if isinstance(one, dict) else one
        for path in local if isinstance(local, list) else [local]:
            if not isinstance(path, str) or "://" in path or path.lstrip("/") in within or left[0] <= 0:
                continue
            left[0] -= 1
            taken = read(path.lstrip("/"))
            inner = (*within, path.lstrip("/"))
            found |= _of_gitlab(taken, read, left=left, within=inner) if isinstance(taken, dict) else {}
    return {**found, **document}


@dataclass
class _Document:
    """A document that is made of a file and what that takes in."""

    path: str
    read: Read
    left: int = _MOST
    files: int = _MOST_FILES

    def _taken(self, path: str) -> Mapping[Any, Any] | None:
        self.files -= 1
        found = self.read(path) if self.files >= 0 else None
        return found if isinstance(found, dict) else None

    def of_github(self, value: object, inputs: Mapping[str, object], deep: int) -> Any:
        """A value of a file of GitHub, with the inputs that it is called with."""
        self.left -= 1
        if isinstance(value, str):
            return _put(value, inputs)
        if self.left < 0 or deep > _DEEPEST or not isinstance(value, (dict, list)):
            return value
        if isinstance(value, list):
            return [self.of_github(one, inputs, deep + 1) for one in value]
        found = {name: self.of_github(one, inputs, deep + 1) for name, one in value.items()}
        uses = found.get("uses")
        if isinstance(uses, str) and uses.startswith("./"):
            found |= self._called(uses, found.get("with"), deep)
        return found

    def _called(self, uses: str, given: object, deep: int) -> dict[Any, Any]:
        """What a step or a job runs by its `uses`: the steps of an action, the jobs of a workflow."""
        path = posixpath.normpath(uses)
        names = [path] if path.endswith((".yml", ".yaml")) else [f"{path}/action.yml", f"{path}/action.yaml"]
        taken = next((one for one in map(self._taken, names) if one is not None), None)
        if taken is None:
            return {}
        events = taken.get("on") or taken.get(True)
        call = events.get("workflow_call") if isinstance(events, dict) else None
        declared = taken.get("inputs") or (call.get("inputs") if isinstance(call, dict) else None)
        inputs = {
            f"inputs.{name}": says["default"]
            for name, says in (declared if isinstance(declared, dict) else {}).items()
            if isinstance(says, dict) and "default" in says
        }
        inputs |= {f"inputs.{name}": one for name, one in (given if isinstance(given, dict) else {}).items()}
        return {"called": self.of_github(taken.get("runs") or taken.get("jobs"), inputs, deep + 1)}

    def of_azure_file(self, document: Mapping[Any, Any], given: Mapping[str, object], path: str, deep: int) -> Any:
        """A file of Azure Pipelines, with the parameters that it is given."""
        declared = document.get("parameters")
        parameters: dict[str, object] = {}
        if isinstance(declared, dict):
            parameters = {f"parameters.{name}": one for name, one in declared.items()}
        for one in declared if isinstance(declared, list) else ():
            if isinstance(one, dict) and "default" in one:
                parameters[f"parameters.{one.get('name')}"] = one["default"]
        known = {**parameters, **{f"parameters.{name}": one for name, one in given.items()}}
        rest = {name: one for name, one in document.items() if name != "parameters"}
        return self.of_azure(rest, known, path, deep + 1)

    def of_azure(self, value: object, known: Mapping[str, object], path: str, deep: int) -> Any:
        """A value of a file of Azure Pipelines, with what is known of its expressions."""
        self.left -= 1
        if isinstance(value, str):
            return _put(value, known)
        if self.left < 0 or deep > _DEEPEST or not isinstance(value, (dict, list)):
            return value
        if isinstance(value, list):
            return [part for one in value for part in self._in_list(one, known, path, deep)]
        found: dict[Any, Any] = {}
        for name, one in value.items():
            ways = list(self._ways(name, one, known))
            for inner, around in ways or [(one, known)]:
                read = self.of_azure(inner, around, path, deep + 1)
                found |= read if ways and isinstance(read, dict) else {name: read}
        found |= {"variables": _named(found["variables"])} if isinstance(found.get("variables"), list) else {}
        matrix = found["strategy"].get("matrix") if isinstance(found.get("strategy"), dict) else None
        if isinstance(matrix, dict) and all(isinstance(one, dict) for one in matrix.values()):
            found["parallel"] = {"matrix": list(matrix.values())}  # as GitLab has it
            found["strategy"] = None
        taken = found.get("template")
        if isinstance(taken, str):
            found |= self._template(taken, found.get("parameters"), path, deep)
        return found

    def _in_list(self, one: object, known: Mapping[str, object], path: str, deep: int) -> Iterator[object]:
        """An entry of a list, or those that an `each` or a condition has in its place."""
        if not isinstance(one, dict) or len(one) != 1:
            yield self.of_azure(one, known, path, deep + 1)
            return
        ((name, value),) = one.items()
        ways = list(self._ways(name, value, known))
        for inner, around in ways:
            read = self.of_azure(inner, around, path, deep + 1)
            yield from read if isinstance(read, list) else [read]
        if not ways:
            yield self.of_azure(one, known, path, deep + 1)

    def _ways(
        self, name: object, value: object, known: Mapping[str, object]
    ) -> Iterator[tuple[object, Mapping[str, object]]]:
        """What stands under an `each`, once for each value; or under a condition. None for another name."""
        if not isinstance(name, str):
            return
        each = _EACH.fullmatch(name.strip())
        if each is not None:
            listed = _value(each[2], known)
            for entry in listed[:64] if isinstance(listed, list) else [None]:
                yield value, {**known, each[1]: entry}
        elif _CONDITION.fullmatch(name.strip()):
            yield value, known

    def _template(self, written: str, given: object, path: str, deep: int) -> dict[Any, Any]:
        """What a template is with its parameters. That of another repository is not known."""
        name, _, repository = written.partition("@")
        inside = name.lstrip("/") if name.startswith("/") else posixpath.join(folder_of(path), name)
        inside = posixpath.normpath(inside)
        taken = self._taken(inside) if repository in ("", "self") and "$" not in name else None
        if taken is None:
            return {}
        return {"called": self.of_azure_file(taken, given if isinstance(given, dict) else {}, inside, deep)}


def _named(variables: Iterable[object]) -> dict[str, object]:
    """The variables of a list of Azure by their names."""
    every = (one for one in variables if isinstance(one, dict))
    return {str(one["name"]): one["value"] for one in every if "name" in one and "value" in one}


def _value(name: str, known: Mapping[str, object]) -> object:
    """What an expression names: `parameters.images`, `image.name`; None where that is not known."""
    name = re.sub(r"\['([^']*)'\]", r".\1", name)
    if name in known:
        return known[name]
    around, _, last = name.rpartition(".")
    if not around:
        return None
    outer = _value(around, known)
    return outer.get(last) if isinstance(outer, dict) else None


def _put(text: str, known: Mapping[str, object]) -> str:
    """A text with what is known of its expressions; others stay as they are written."""

    def value(it: re.Match[str]) -> str:
        found = _value(it[1], known)
        return str(found) if isinstance(found, (str, int, float)) and len(str(found)) < 1000 else it[0]

    return _EXPRESSION.sub(value, text) if "${{" in text and known else text
