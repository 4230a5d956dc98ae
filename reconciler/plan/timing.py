"""How long things take or rest: estimates from earlier builds, and the backoff of an image that failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Failure, Lockfile
from reconciler.model.plan import PlannedImage, Wanted
from reconciler.model.text import visible
from reconciler.model.values import digest, format_instant, parse_instant
from reconciler.plan.graph import in_order

# How long an image that failed is left alone.

FIRST = timedelta(minutes=15)
LONGEST = timedelta(days=1)


def counts(failure: Failure, *, wanted: Wanted | None, drifted: bool) -> bool:
    """Whether a failure still says something: of what the image drifted to, or of a refresh of what it is.

    Once what failed was taken back it is past.
    """
    return drifted or (wanted is not None and failure.inputs == wanted.inputs)


def declared(image: Image) -> str:
    """The digest of what image.yaml declares. Not all of it is in the key: how long a build may take is not."""
    written, source = image.declaration.model_dump(mode="json", by_alias=True), image.declaration.source
    if source is not None:
        given = {"variable": source.variable} if source.variable is not None else {}
        written["source"] = {**image.kind.whole(source.request), **given}  # whatever other kinds there are
    return digest(written)


def is_suspended(image: Image, *, now: datetime) -> bool:
    """Whether an image is left alone for now."""
    suspend = image.declaration.suspend
    return suspend is not None and (suspend.until is None or now.date() < suspend.until)


@dataclass(frozen=True)
class _Ending:
    """Something that is declared of an image and ends on a day, and what becomes of it until both clocks have that."""

    key: str
    what: str
    until: date
    stays: str


def is_over(image: Image, *, now: datetime) -> bool:
    """Whether the day has come, by one clock, of something that is declared of an image: its hold, or its pause."""
    return any(now.date() >= one.until for one in _endings(image))


def has_ended(
    image: Image, *, now: datetime, told: datetime | str | None = None, is_asked: bool = True
) -> Iterator[str]:  # fmt: skip
    """What is to be known of a hold, or a pause, whose day has come by this machine's clock (`now`).

    `told` is what time the registry has, or why it does not say; None where it tells none, or where nobody asked.
    """
    for one in _endings(image):
        if now.date() < one.until:
            continue
        place = image.ruled_at.get(one.key) or f"{image.folder}/image.yaml"
        has_come = f"the day that the {one.what} of {place} ends on, {one.until}, has come by this machine's clock"
        if isinstance(told, str):
            yield f"{has_come}, and the registry's can't be asked, so that {one.stays}: {told}"
        elif told is not None and told.date() < one.until:
            yield f"{has_come}, and not by the registry's ({format_instant(told)}), so that {one.stays}"
        elif is_asked:
            yield f"the {one.what} of {place} ended on {one.until} and does nothing any more: take its line out"
        else:
            by_theirs = "once it has come by the registry's as well, where that has one, the line can go"
            yield f"{has_come}, and nobody else's was asked: {by_theirs}"


def _endings(image: Image) -> Iterator[_Ending]:
    hold, suspend = image.declaration.hold, image.declaration.suspend
    if hold is not None and hold.until is not None:
        yield _Ending("hold", "hold", hold.until, "stable is held still")
    if suspend is not None and suspend.until is not None:
        yield _Ending("suspend", "suspend", suspend.until, "the image is left alone still")


def is_dormant(image: Image, lock: Lockfile, *, now: datetime) -> bool:
    """Whether it is suspended and nothing is recorded of it: then nothing is asked of anybody, as nothing is done."""
    return is_suspended(image, now=now) and not lock.builds and lock.failure is None


def rests(failure: Failure, *, key: str, declared: str, now: datetime, packer: str | None = None) -> bool:
    """Whether what failed is still to be left alone: it is what it was, its time has not come, and nobody knows more.

    `packer` is the version of the Packer that is here, where it counts: see `is_for_another`.
    """
    same = _same(failure, key=key, declared=declared)
    return same and now < parse_instant(failure.retry_after) and not is_for_another(failure, packer=packer)


def is_for_another(failure: Failure, *, packer: str | None) -> bool:
    """Whether a Packer is here that may know what those that failed did not. Each version has one such try."""
    return packer is not None and bool(failure.refused_by) and packer not in failure.refused_by


def next_failure(
    before: Failure | None,
    *,
    build: str,
    key: str,
    what: str,
    now: datetime,
    declared: str | None = None,
    packer: str = "",
    may_be_too_old: bool = False,
) -> Failure:
    """The failure to record: 15 minutes of rest, doubled each time the same fails, at most a day.

    Another key, or another declaration, starts anew: changed inputs always get a fresh try. `packer` is the version
    that failed, and kept once one that failed so `may_be_too_old`.
    """
    again = before is not None and _same(before, key=key, declared=declared)
    attempts = before.attempts + 1 if before is not None and again else 1
    refused_by = before.refused_by if before is not None and again else ()
    if packer and packer not in refused_by and (refused_by or may_be_too_old):
        refused_by = (*refused_by, packer)
    rest = min(FIRST * 2 ** min(attempts - 1, 10), LONGEST)
    return Failure(
        build=build, key=key, declared=declared, attempts=attempts, at=format_instant(now),
        retry_after=format_instant(now + rest), what="\n".join(map(visible, what.splitlines())),
        told=before.told if before is not None and again else (), refused_by=refused_by,
    )  # fmt: skip


def _same(failure: Failure, *, key: str, declared: str | None) -> bool:
    # A failure that was recorded before this was kept holds None: its key alone tells.
    return failure.key == key and failure.declared in (None, declared)


# How long it will take, from earlier builds.


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
