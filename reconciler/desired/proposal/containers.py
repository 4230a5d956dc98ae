"""Packer in a container: where in the repository it runs, by what is mounted there.

`docker run -v "$PWD":/w -w /w/packer hashicorp/packer build .` builds what is in `packer`; so does a service of a
compose file that says the same.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.desired.packer.json_file import folder_of
from reconciler.model.plain_yaml import load_yaml

COMPOSE = re.compile(r"(?:.*/)?(?:docker-)?compose[^/]*\.ya?ml")
"""The files that say what a service of compose is."""
_RUN = re.compile(
    r"\b(?:(?:docker|podman|nerdctl|finch)(?:\s+-\S+)*\s+(?:container\s+)?run|"
    r"(?:docker|podman)[\s-]compose(?P<given>(?:\s+-\S+(?:\s+[^\s-]\S*)?)*)\s+(?P<service>run|exec))(?=\s)"
)
_PATH = re.compile(r"(?<![^\s='\"])/[^\s'\"]*")
_LONGEST = 4096
"""Characters of what is given to docker that are looked at."""


@dataclass(frozen=True)
class Container:
    """A container, by the folders of the repository that it has."""

    mounts: tuple[tuple[str, str], ...] = ()
    """Folders as they are there, each with what it is here: `*` for where the command runs."""
    folder: str = ""
    """The folder in it that a command runs in; empty where its image says that."""

    def here(self, path: str) -> str | None:
        """The path here of a path of the container; None for what is not of the repository."""
        path = posixpath.normpath(path)
        for there, here in sorted(self.mounts, key=lambda one: -len(one[0])):
            if path == there or path.startswith(f"{there.rstrip('/')}/"):
                return posixpath.normpath(posixpath.join(here, path[len(there) :].lstrip("/")))
        return None

    @property
    def folder_here(self) -> str | None:
        """The folder here that a command runs in; None where that is not known."""
        return self.here(self.folder) if self.folder else None

    def arguments(self, text: str) -> str:
        """The arguments of a command with its own paths in place of those of the container."""
        start = _from_start(self.folder_here or "*")

        def path(it: re.Match[str]) -> str:
            found = self.here(it[0])
            return it[0] if found is None else posixpath.relpath(_from_start(found), start)

        return _PATH.sub(path, text) if self.mounts else text


def _from_start(path: str) -> str:
    """A path from where the command runs."""
    return posixpath.normpath(path.removeprefix("*").lstrip("/") or ".")


def container(before: str, services: Mapping[str, Container]) -> Container | None:
    """What a command runs in, by what stands before it, where that is one of docker; None elsewhere.

    `services` are those of compose files, by their names.
    """
    *_, run = (None, *_RUN.finditer(before[-_LONGEST:]))
    if run is None:
        return None
    given = before[-_LONGEST:][run.end() :]
    if re.search(r"[;|&\n]", given):
        return None  # that command has ended
    try:
        words = shlex.split(given)
    except ValueError:  # a quote that goes on behind the command
        words = given.replace('"', "").replace("'", "").split()
    of_service = services.get("packer") if run["service"] else None
    mounts, folder = list(of_service.mounts if of_service else ()), of_service.folder if of_service else ""
    for name, value in _flags(words):
        if name in ("-v", "--volume"):
            mounts += _mounts([value], of_folder="")
        elif name == "--mount":
            mounts += _mounts([dict(one.partition("=")[::2] for one in value.split(","))], of_folder="")
        elif name in ("-w", "--workdir"):
            folder = value
    return Container(tuple(mounts), posixpath.normpath(folder) if folder else "")


def _flags(words: Sequence[str]) -> Iterable[tuple[str, str]]:
    """The flags that have a value, with it: `-w /w`, `-w=/w`, `--workdir=/w`."""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if word.startswith("-"):
            yield (name, value) if equals else (word, after)


def _mounts(written: Iterable[object], *, of_folder: str) -> list[tuple[str, str]]:
    """The folders of the repository among volumes, as docker and compose take them. Theirs begin at `of_folder`."""
    found = []
    for one in written:
        if isinstance(one, str):
            here, _, there = one.partition(":")
            there = there.partition(":")[0]
        elif isinstance(one, dict):
            here = str(one.get("source") or one.get("src") or "")
            there = str(one.get("target") or one.get("dst") or one.get("destination") or "")
        else:
            continue
        if there.startswith(("/", "*")) and here.startswith((".", "*")):
            found.append((posixpath.normpath(there), posixpath.join(of_folder, here) if of_folder else here))
        elif there.startswith("/") and of_folder and here.startswith(("${PWD", "$PWD")):
            found.append((posixpath.normpath(there), of_folder))
    return found


def services(files: Mapping[str, str]) -> dict[str, Container]:
    """The services of compose files by their names, from the texts of those by their paths."""
    found: dict[str, Container] = {}
    for path, text in files.items():
        try:
            document = load_yaml(text)
        except ValueError:
            continue
        listed: Any = document.get("services") if isinstance(document, dict) else None
        for name, says in (listed if isinstance(listed, dict) else {}).items():
            if isinstance(says, dict):
                volumes = says.get("volumes")
                mounts = _mounts(volumes if isinstance(volumes, list) else (), of_folder=folder_of(path))
                folder = says.get("working_dir")
                found.setdefault(str(name), Container(tuple(mounts), folder if isinstance(folder, str) else ""))
    return found
