"""Which two builds of an image a person asks to be compared."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.model.errors import UserError
from reconciler.model.lockfile import Build, Channels

_WITHDRAWN = ("rejected", "revoked")
_MOST_NAMED = 8


class NotAmong(UserError):
    """A build is not among those that are known. More may be known where more is read."""


def pair(image: str, builds: Sequence[Build], *, channels: Channels, asked: Sequence[str]) -> tuple[Build, Build]:
    """The older and the newer of the two builds; `builds` stand as in a lockfile, what was recorded last first.

    Nothing asked: the candidate and the build before it. One: that and the build before it. Two: those, in the order
    in which they are asked for. A build may be a channel's name, and its id or key may be cut short.

    Raises:
        NotAmong: there is no such build, none before it, or no candidate.
        UserError: what is asked for may be several builds.
    """
    if not asked:
        if channels.candidate is None:
            raise NotAmong(
                f"{image} has no candidate", mend=f"name a build: {_ids(builds)}" if builds else "nothing is built yet"
            )
        asked = ("candidate",)
    new = find(image, builds, channels=channels, asked=asked[-1])
    old = find(image, builds, channels=channels, asked=asked[0]) if len(asked) > 1 else _before(image, builds, new)
    return old, new


def find(image: str, builds: Sequence[Build], *, channels: Channels, asked: str) -> Build:
    """The build that a person names: by a channel, by its id or its key, or by the beginning of one of these.

    Raises:
        NotAmong: there is no such build.
        UserError: it may be several.
    """
    if asked in ("candidate", "stable"):
        asked = getattr(channels, asked) or asked
    found = [one for one in builds if _is_meant(one, asked)]
    if not found:
        pull = "`git pull`; " if builds else ""
        raise NotAmong(f"no build {asked!r} of {image} is recorded", mend=f"{pull}recorded are: {_ids(builds)}")
    if len(found) > 1:
        raise UserError(f"{asked!r} may be {len(found)} builds of {image}", mend=f"which one? {_ids(found)}")
    return found[0]


def _is_meant(build: Build, asked: str) -> bool:
    """Whether what is asked begins a build's id or its key, with `sha256:` or without; `…` is as keys are printed."""
    beginning = asked.removesuffix("…")
    digits = beginning.removeprefix("sha256:")
    names = (build.key.removeprefix("sha256:"),) if digits != beginning else (
        build.id, build.id.partition("-")[2], build.key.removeprefix("sha256:")
    )  # fmt: skip
    return bool(digits) and any(name.startswith(digits) for name in names)


def _before(image: str, builds: Sequence[Build], build: Build) -> Build:
    """The build whose place it took. One that was withdrawn counts for nothing: the one before it had its place."""
    older = builds[builds.index(build) + 1 :]
    found = next((one for one in older if one.phase not in _WITHDRAWN), None)
    if found is None:
        raise NotAmong(
            f"{build.id} is the first build of {image}: there is none before it to compare it with",
            mend="`reconciler history` shows every build; name two to compare them",
        )
    return found


def _ids(builds: Sequence[Build]) -> str:
    more = f" and {len(builds) - _MOST_NAMED} more" if len(builds) > _MOST_NAMED else ""
    return (", ".join(one.id for one in builds[:_MOST_NAMED]) or "none") + more
