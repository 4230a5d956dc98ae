"""How long it will take, from earlier builds."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from reconciler.model.lockfile import Lockfile
from reconciler.model.plan import PlannedImage
from reconciler.plan.order import in_order


def seconds_until_tested(lock: Lockfile) -> int | None:
    """How long a build and its smoke test take; None where no build is known."""
    built = build_seconds(lock)
    return built + (smoke_test_seconds(lock) or 0) if built is not None else None


def build_seconds(lock: Lockfile) -> int | None:
    """The median of the recorded builds' durations; None where none is known."""
    known = [build.seconds for build in lock.builds if build.seconds is not None]
    return round(median(known)) if known else None


def smoke_test_seconds(lock: Lockfile) -> int | None:
    """The median of the recorded smoke tests' durations; None where none was run."""
    tests = (build.smoke_test for build in lock.builds)
    known = [test.seconds for test in tests if test is not None and test.status != "skipped"]
    return round(median(known)) if known else None


def longest_chain(images: Mapping[str, PlannedImage]) -> tuple[PlannedImage, ...]:
    """The chain of builds that takes longest, parents first: with enough parallel builds, the run takes that long.

    Builds of unknown duration count as nothing.
    """
    waits = {name: [parent for parent in image.blocked_by if parent in images] for name, image in images.items()}
    best: dict[str, tuple[int, tuple[PlannedImage, ...]]] = {}
    for name in in_order(waits):
        before = max((best[parent] for parent in waits[name]), key=lambda chain: chain[0], default=(0, ()))
        own = images[name].estimate_seconds or 0
        best[name] = (before[0] + own, (*before[1], images[name]) if own else before[1])
    return max(best.values(), key=lambda chain: chain[0], default=(0, ()))[1]
