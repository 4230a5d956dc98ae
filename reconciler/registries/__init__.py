"""The one table of kinds: what leaves an artifact of which kind, and whose folder knows about it.

A folder is imported when a fleet has an image of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from reconciler.ports.bench import Instances
    from reconciler.ports.dialect import Dialect
    from reconciler.ports.registry import Opening, Registry

OTHER = "other"
"""The kind of what nobody here knows: an artifact of it is what Packer said."""

FOLDERS: Mapping[str, str] = {"ami": "ec2", "oci": "oci", "disk": "disk", "vsphere": "vsphere", OTHER: "other"}
"""Each kind's folder. Its module `dialect` has one `DIALECT`, and `registry` an `open_registry`."""


def dialect_of(kind: str) -> Dialect:
    """How a kind is spoken of. Raises KeyError for none of the table."""
    return cast("Dialect", import_module(f"{__name__}.{FOLDERS[kind]}.dialect").DIALECT)


def open_registry(kind: str, opening: Opening) -> Registry:
    """The registry of a kind. Raises KeyError for none of the table."""
    return cast("Registry", import_module(f"{__name__}.{FOLDERS[kind]}.registry").open_registry(opening))


def open_bench(kind: str, opening: Opening) -> Instances:
    """What boots the artifacts of a kind that `boots`. Raises KeyError for none of the table."""
    return cast("Instances", import_module(f"{__name__}.{FOLDERS[kind]}.bench").open_bench(opening))


def dialects() -> tuple[Dialect, ...]:
    """All of them, in order of the table."""
    return tuple(map(dialect_of, FOLDERS))


def dialect_for(builder: str, post_processors: Iterable[str] = ()) -> Dialect:
    """That of what a builder leaves once these post-processors have run, the last of which decides."""
    known = dialects()
    for after in reversed(tuple(post_processors)):
        for one in known:
            if after in one.post_processors:
                return one
    return next((one for one in known if builder in one.builders), dialect_of(OTHER))
