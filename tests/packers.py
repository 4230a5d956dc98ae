"""The Packers that every test marked `packer` runs on: the oldest that the PATH has, and the current one.

The current one is taken from the cache, where `make packers` puts it. No test gets one: that takes minutes.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from reconciler.build.packer.binary import PROGRAM, Binary, candidates, examine
from reconciler.build.packer.cache import cache_folder
from reconciler.build.packer.versions import OLDEST, PLUGINS_APART
from reconciler.model.constraint import Version
from reconciler.model.errors import UserError

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet  # what pytest.param returns: pytest has no public name for it

NONE = "no Packer"
NONE_FITS = "no Packer that it is for"
_MACHINE = dict(os.environ)
"""The environment before any test gave itself a home: the cache is its owner's."""
GET = "`make packers` gets the current Packer, and `apt-get install packer` an old one"


def lacking() -> str | None:
    """What this machine lacks of the Packers that it can have; None where it has all."""
    installed = installed_packers()
    if not installed:
        return f"there is no Packer: {GET}"
    if _codename() == "bookworm" and installed[0].version >= PLUGINS_APART:
        return "this is Debian 12, whose archive has Packer 1.6.6, and it is not installed"
    return None


def _codename() -> str | None:
    """What this release of Debian or Ubuntu is called; None for what is neither."""
    with suppress(OSError):
        return platform.freedesktop_os_release().get("VERSION_CODENAME")
    return None


@cache
def installed_packers() -> tuple[Binary, ...]:
    """The oldest and the current Packer of this machine; one where they are the same, none where there is none."""
    found: dict[Version, Binary] = {}
    for path in candidates(_MACHINE):
        try:
            binary = examine(path, _MACHINE)
        except UserError:
            continue
        found.setdefault(binary.version, binary)
    return tuple(found[version] for version in sorted({min(found), max(found)})) if found else ()


def runs_of(
    module: str,
    *,
    since: Version = OLDEST,
    before: Version | None = None,
    once: bool | str = False,
    dealt: tuple[str, Sequence[object]] | None = None,
) -> tuple[list[str], list[ParameterSet]]:
    """What a test marked `packer` is run with: the names of its parameters, and their values for each run.

    It is run on each Packer `since` a version, and `before` another. What would show the same on any is run `once` by
    `make test`, and on the others by `make test-all`: all such tests of a module on one (those of several modules, if
    `once` is a word that they share), and they fall on all alike. And what has a parameter that no Packer knows of has
    its values `dealt` among them: every value, and every Packer, has a run.
    """
    fit = (one for one in installed_packers() if one.version >= since and (before is None or one.version < before))
    versions: list[object] = [one.version_text for one in fit] or [NONE_FITS if installed_packers() else NONE]
    if dealt is None:
        turn = crc32((once if isinstance(once, str) else module).encode()) % len(versions)
        left = versions[:turn] + versions[turn + 1 :] if once else []
        marks = {version: [pytest.mark.long] for version in left}
        return ["packer_on_path"], [pytest.param(version, marks=marks.get(version, ())) for version in versions]
    name, values = dealt
    turns = range(max(len(versions), len(values)))
    runs = ((versions[turn % len(versions)], values[turn % len(values)]) for turn in turns)
    return ["packer_on_path", name], [pytest.param(*run) for run in runs]


def put_on_path(packer: Binary, folder: Path) -> dict[str, str]:
    """The variables with which this Packer is the first on the PATH, and finds its plugins in the cache.

    `folder` gets a link to it: its own has other programs, too.
    """
    (folder / PROGRAM).symlink_to(packer.path)
    plugins = {} if packer.version < PLUGINS_APART else {"PACKER_PLUGIN_PATH": f"{cache_folder(_MACHINE)}/plugins"}
    return {**plugins, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
