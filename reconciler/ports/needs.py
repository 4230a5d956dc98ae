"""What a kind needs beside its registry: of this machine, and of whoever signs in where its artifacts are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Asking:
    """Whose needs are asked for: the images of one kind.

    Args:
        locations: All that are declared, in order.
        homes: Those of them in which something is built; each with whether it is copied from there.
        booted: Whether any image is booted to be tested.
        builders: The types of the builders that leave an artifact.
        environment: What programs and logins are looked for in.
    """

    locations: tuple[str, ...]
    homes: Mapping[str, bool]
    booted: bool
    builders: frozenset[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Need:
    """One of them, and whether it is there. A `trouble` would stop images of the kind; a `note` is worth knowing."""

    what: str
    state: Literal["ok", "note", "trouble"] = "ok"
    hint: tuple[str, ...] = ()
