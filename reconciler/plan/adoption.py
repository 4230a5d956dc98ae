"""Adopt before build: is what is wanted in the registry already?

It is after a merge (the pull request built it), after a crash (the last run built it) and after a lost push.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from reconciler.model.lockfile import began_at
from reconciler.model.observation import Seen
from reconciler.model.plan import Wanted
from reconciler.model.values import parse_instant

NEVER_AGAIN = frozenset({"rejected", "revoked"})
_SKEW = timedelta(minutes=5)
"""How far a builder's clock may be off the registry's: AWS takes no request that is signed further off."""


def adoptable(seen: Iterable[Seen], *, key: str) -> tuple[Seen, ...]:
    """The complete artifacts of the newest build with this key, at most one per region; empty if there is none."""
    return _newest_build(one for one in seen if one.own("key") == key)


def adoptable_by_inputs(seen: Iterable[Seen], wanted: Wanted) -> tuple[Seen, ...]:
    """The same by what people reviewed: everything but the pin. Only for an image that has no pin yet."""
    return _newest_build(one for one in seen if one.own("inputs") == wanted.inputs)


def _newest_build(seen: Iterable[Seen]) -> tuple[Seen, ...]:
    builds: dict[str, dict[str, Seen]] = {}
    for one in seen:
        build = one.own("build")
        refused = one.own("phase") in NEVER_AGAIN or one.own("smoke") == "failed"
        if build is None or not one.complete or refused or not may_be_of_its_build(one):
            continue
        # Two complete copies of a build in one region come from two runs at once: the first one made stays.
        best = builds.setdefault(build, {}).setdefault(one.location, one)
        if (one.created, one.id) < (best.created, best.id):
            builds[build][one.location] = one
    if not builds:
        return ()
    newest = builds[max(builds, key=lambda build: (_made(builds[build]), build))]
    return tuple(newest[location] for location in sorted(newest))


def may_be_of_its_build(seen: Seen) -> bool:
    """Whether it names a build, and is not older than that: a tag may say any time, and a registry's date may not."""
    return seen.began is not None and may_be_of(seen.own("build") or "", seen)


def may_be_of(build_id: str, seen: Seen) -> bool:
    """Whether an artifact is not older than a build, by the registry's own date."""
    return not seen.created or began_at(build_id) <= parse_instant(seen.created) + _SKEW


def _made(build: Mapping[str, Seen]) -> str:
    """When the first of a build's artifacts was made, in the registry's own word: a copy makes no build newer."""
    return min(one.created for one in build.values())
