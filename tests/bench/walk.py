"""The walk of a reader: the files that a first reconcile of two images enters, in the order in which it does.

`python -m tests.bench walk` measures it on the loop's own world, where the registry and Packer stand in memory: what
the adapters of EC2 and Packer enter comes on top. A file is entered when one of its functions is called; reading its
definitions when it is imported does not count, whatever imports it. Whoever opens each file where the run first enters
it goes from room to room, where a room is a package: `returns` are the times that a room which was left is entered once
more.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import FrameType

import pytest

import reconciler
from tests.bench.rows import Row, below, told
from tests.integration.loop.surroundings import clean_environment
from tests.integration.loop.world import ON_BASE, ON_DEBIAN, SETTINGS, World, image_files

_PACKAGE = Path(reconciler.__file__).parent
_OURS = f"{_PACKAGE}/"
_FILES = 60


def files_entered(work: Callable[[], object]) -> list[str]:
    """The files of the package that a call enters, by their paths in it, each once, in the order of first entry."""
    entered: dict[str, None] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(_OURS) and name not in entered and not _is_importing(frame):
            entered[name] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [str(Path(name).relative_to(_PACKAGE)) for name in entered]


def _is_importing(frame: FrameType | None) -> bool:
    """Whether one of the package's modules is being imported: the bodies of its classes, and decorators, run then."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(_OURS):
            return True
        frame = frame.f_back
    return False


def room_of(file: str) -> str:
    """The room that a file is in: its package, or the loop itself."""
    return str(Path(file).parent)


def returns(files: list[str]) -> Counter[str]:
    """How often each room is entered once more after it was left, by the order in which its files are first entered."""
    rooms = [room_of(file) for file in files]
    entries = Counter(rooms[:1]) + Counter(after for before, after in pairwise(rooms) if after != before)
    return Counter({room: number - 1 for room, number in entries.items() if number > 1})


def walk_rows(folder: Path) -> Iterator[Row]:
    """The walk of a first reconcile of a parent and its child."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environment(folder / "home").items():
            patch.setenv(name, value)
        world = World.begin(
            folder / "world",
            {
                "desired/reconciler.yaml": SETTINGS,
                **image_files("base", ON_DEBIAN),
                **image_files("web", ON_BASE),
            },
        )
        files = files_entered(lambda: world.controller().reconcile())
    yield below(
        "files that a first reconcile of two images enters", measured=len(files), target=_FILES + 1, unit="files"
    )
    again = ", ".join(f"{room} {number}" for room, number in returns(files).most_common(4))
    yield told("rooms that it enters, and those it returns to", f"{len({room_of(file) for file in files})}: {again}")
