"""From the versions of a lockfile over its commits to the story of each build."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from reconciler.model.history import History, PastBuild, PastFailure, Span, Turn, Turned
from reconciler.model.lockfile import Build, Lockfile, Verified
from reconciler.model.source import Channel
from reconciler.model.values import Instant, parse_instant


@dataclass(frozen=True)
class LockVersion:
    """A lockfile as one commit left it; empty where the commit took it away."""

    commit: str
    at: Instant
    author: str
    """`Name <address>`."""
    subject: str
    trailers: Mapping[str, tuple[str, ...]]
    """The values of each `Reconciler-…` trailer, by its name without that."""
    lock: Lockfile
    cut_off: bool = False
    """Whether a shallow clone begins with this commit, so that an older one may have left it so."""

    @property
    def image(self) -> str:
        """The image's name at the time."""
        return self.lock.image


@dataclass(frozen=True)
class Unreadable:
    """A lockfile that can't be read at the revision that is looked at, so that nobody knows what is recorded now."""

    commit: str
    """The commit that left it so."""
    author: str
    """`Name <address>`."""
    why: str
    """With the place: `state/web.lock.json:3:5: unknown key "new"`."""


@dataclass(frozen=True)
class LockPast:
    """Every version of an image's lockfile, newest first, under every name that the image had."""

    versions: tuple[LockVersion, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Commits whose lockfile can't be read, and why."""
    now_unreadable: Unreadable | None = None
    """Where the newest of these versions is not what is recorded now, since that can't be read."""

    @property
    def complete(self) -> bool:
        """Whether the first version is there: False where a clone's history is cut off."""
        return not self.versions[-1].cut_off

    @property
    def names(self) -> tuple[str, ...]:
        """What the image was called, the newest name first."""
        return tuple(dict.fromkeys(version.image for version in self.versions))

    def removed(self, build_id: str) -> Instant | None:
        """When all that a build left was taken away, by `gc` or with its image; None where no commit says so."""
        for after, before in pairwise(self.versions):
            if any(one.id == build_id for one in after.lock.recorded):
                return None
            if any(one.id == build_id for one in before.lock.recorded):
                all_went = before.lock.left(build_id) is not None or not after.lock.recorded
                return after.at if all_went and "removed" in after.trailers.get("Reason", ()) else None
        return None

    def last_with(self, build_id: str) -> LockVersion | None:
        """The newest version that holds a build, or None."""
        return next((version for version in self.versions if version.lock.build(build_id) is not None), None)


def tell(
    past: LockPast,
    *,
    pull_request: Callable[[str], int | None],
    tagged: Mapping[str, str] | None = None,
    held: Sequence[Ruled] = (),
) -> History:
    """The story of every build and failure.

    Args:
        past: The versions of the lockfile.
        pull_request: Which one brought a commit, where that is known.
        tagged: The commit on which each build's tag stands, by build id: a failure's record does not name it.
        held: The holds that were declared, oldest first.
    """
    oldest_first = past.versions[::-1]
    candidate, stable = _spans(oldest_first, "candidate"), _spans(oldest_first, "stable")
    builds = [
        _told(life, past, candidate=candidate.get(id_, ()), stable=stable.get(id_, ()), pull_request=pull_request)
        for id_, life in _lives(oldest_first).items()
    ]
    return History(
        image=past.names[0],
        names=past.names,
        complete=past.complete,
        builds=tuple(sorted(builds, key=lambda build: (build.recorded, build.id), reverse=True)),
        failures=tuple(_failures(oldest_first, tagged or {}, pull_request=pull_request))[::-1],
        turns=tuple(sorted((*holds(held, oldest_first), *turns(oldest_first)), key=lambda one: one.at))[::-1],
        unreadable=dict(past.unreadable),
    )


@dataclass(frozen=True)
class Ruled:
    """The hold that an image's declaration had as one commit left it."""

    commit: str
    at: Instant
    author: str
    """`Name <address>`."""
    hold: str | None
    """The build; None where there is no hold."""
    why: str | None = None
    until: str | None = None
    """The first day on which it holds no more."""


def holds(oldest_first: Iterable[Ruled], versions: Sequence[LockVersion] = ()) -> Iterator[Turn]:
    """When `stable` was bound to a build, and when no more.

    By the declaration; what happened while its line stood, as its day came or the build was revoked, by the `versions`
    of the lockfile, oldest first.
    """
    recorded = list(_bindings(versions))
    before: Ruled | None = None
    for one in (*oldest_first, None):
        if before is not None and one is not None and one.hold == before.hold:
            before = replace(before, until=one.until)
            continue
        if before is not None and before.hold is not None:
            meanwhile = list(_meanwhile(before, recorded, until=one.at if one is not None else None))
            yield from meanwhile
            if one is not None and (not meanwhile or meanwhile[-1].what == "held"):
                yield Turn(at=one.at, commit=one.commit, by=one.author, build=before.hold, what="released")
        if one is not None and one.hold is not None:
            yield Turn(at=one.at, commit=one.commit, by=one.author, build=one.hold, what="held", why=one.why)
        before = one


def _meanwhile(ruled: Ruled, recorded: Iterable[Turn], *, until: Instant | None) -> Iterator[Turn]:
    """What was recorded of a hold while its line stood, but for that it began to bind."""
    binds = True
    for one in recorded:
        if one.build != ruled.hold or one.at < ruled.at or (until is not None and one.at >= until):
            continue
        if binds and one.what == "released":
            came = f"its day had come, {ruled.until}" if one.why is None and ruled.until is not None else one.why
            yield one.model_copy(update={"why": came})
        elif not binds and one.what == "held":
            yield one.model_copy(update={"why": ruled.why})
        binds = one.what == "held"


def _bindings(oldest_first: Sequence[LockVersion]) -> Iterator[Turn]:
    """When it was recorded that `stable` is bound to a build, and that it is no more."""
    for before, after in pairwise(oldest_first):
        was = {one.id: one.is_held for one in before.lock.recorded}
        for build in after.lock.recorded:
            if build.is_held != was.get(build.id, False):
                why = f"it is revoked: {build.revoked.why}" if build.revoked is not None else None
                what: Turned = "held" if build.is_held else "released"
                yield Turn(at=after.at, commit=after.commit, by=after.author, build=build.id, what=what, why=why)


def turns(oldest_first: Sequence[LockVersion]) -> Iterator[Turn]:
    """What was revoked and is no more, and how far builds went away, as the versions of a lockfile tell it."""
    for before, after in pairwise(oldest_first):
        about: dict[str, Any] = {"at": after.at, "commit": after.commit, "by": after.author}
        for build, what, why in turned(before.lock, after.lock):
            yield Turn(**about, build=build.id, what=what, why=why)
        for build_id, why in _retired(before.lock, after.lock, reasons=after.trailers.get("Reason", ())):
            yield Turn(**about, build=build_id, what="retired", why=why)


def _retired(before: Lockfile, after: Lockfile, *, reasons: Collection[str]) -> Iterator[tuple[str, str]]:
    """What was retired, by build, as it is declared no more: by the reasons that the commit gives for its change."""
    for build in before.recorded:
        now = next((one for one in after.recorded if one.id == build.id), None)
        if not after.recorded and "removed" in reasons and before.left(build.id) is None:
            yield build.id, "its image is declared no more"
        if now is None:
            continue
        for artifact in build.artifacts:
            there = now.artifact_in(artifact.location)
            if there is None:
                if "region-extra" in reasons:
                    yield build.id, f"{artifact.location} {artifact.id} is declared no more"
            elif there.id == artifact.id and "format-extra" in reasons:
                left = {one.id for one in there.conversions}
                for one in (one for one in artifact.conversions if one.id not in left):
                    yield build.id, f"{artifact.location} {one.format} {one.id} is declared no more"


def turned(before: Lockfile, after: Lockfile) -> Iterator[tuple[Build, Turned, str | None]]:
    """What becomes of builds from one version of a lockfile to the next, beside channels; with why, if that is said."""
    was = {one.id: one for one in before.recorded}
    for build in after.recorded:
        old = was.get(build.id)
        if build.revoked is not None and (old is None or old.revoked is None):
            yield build, "revoked", build.revoked.why
        if build.revoked is None and old is not None and old.revoked is not None:
            yield build, "unrevoked", old.revoked.reason
    for one in after.leaving:
        left = before.left(one.build.id)
        if left is None:
            yield one.build, "deprecated", None
        if one.disabled is not None and (left is None or left.disabled is None):
            yield one.build, "disabled", None
    for one in before.leaving:
        if after.left(one.build.id) is None:
            yield one.build, "removed" if after.build(one.build.id) is None else "brought-back", None


def stable_seconds(spans: Iterable[Span], *, seen: Instant) -> int:
    """How long a channel pointed to a build in all; what has no end ends when it was last `seen`."""
    return sum(
        max(0, round((parse_instant(span.until or seen) - parse_instant(span.since)).total_seconds())) for span in spans
    )


@dataclass
class _Life:
    """A build from the version that brought it to the last that had it."""

    first: LockVersion
    last: Build
    verified: dict[str, Verified] = field(default_factory=dict)


def _lives(oldest_first: Iterable[LockVersion]) -> dict[str, _Life]:
    """Every build by its id, in one pass: an image may have a thousand versions."""
    lives: dict[str, _Life] = {}
    for version in oldest_first:
        for build in version.lock.recorded:
            life = lives.setdefault(build.id, _Life(version, build))
            life.last = build
            if build.verified is not None:
                life.verified[build.verified.build] = build.verified
    return lives


def _told(
    life: _Life,
    past: LockPast,
    *,
    candidate: tuple[Span, ...],
    stable: tuple[Span, ...],
    pull_request: Callable[[str], int | None],
) -> PastBuild:
    build = life.last
    return PastBuild(
        id=build.id,
        key=build.key,
        image=life.first.image,
        commit=build.commit,
        pull_request=_number(build, pull_request),
        reasons=build.reasons,
        recorded=(life.first.cut_off and build.recorded) or life.first.at,
        recorded_in=None if life.first.cut_off else life.first.commit,
        cut_off=life.first.cut_off,
        candidate=candidate,
        stable=stable,
        stable_seconds=stable_seconds(stable, seen=past.versions[0].at),
        phase=build.phase,
        verdict=build.verdict,
        smoke_test=build.smoke_test,
        verified=tuple(life.verified.values()),
        artifacts=build.artifacts,
        kept=any(one.id == build.id for one in past.versions[0].lock.recorded),
        adopted=build.adopted,
    )


def _number(build: Build, pull_request: Callable[[str], int | None]) -> int | None:
    """The pull request that brought the commit that was built.

    A squash leaves that commit on no branch. Then it is that of the head at which the build was adopted, which the
    reason names.
    """
    reasons = (reason.now for reason in build.reasons if reason.code in ("new", "inputs-changed") and reason.now)
    return next((number for one in (build.commit, *reasons) if (number := pull_request(one)) is not None), None)


def _spans(oldest_first: Sequence[LockVersion], channel: Channel) -> dict[str, tuple[Span, ...]]:
    """When a channel pointed to each build."""
    found: dict[str, tuple[Span, ...]] = {}
    began: LockVersion | None = None
    pointed: str | None = None
    for version in oldest_first:
        now = version.lock.channels.stable if channel == "stable" else version.lock.channels.candidate
        if now == pointed:
            continue
        if pointed is not None and began is not None:
            found[pointed] = (*found.get(pointed, ()), _span(began, version, then=now))
        began, pointed = version, now
    if pointed is not None and began is not None:
        found[pointed] = (*found.get(pointed, ()), _span(began, None, then=None))
    return found


def _span(began: LockVersion, ended: LockVersion | None, *, then: str | None) -> Span:
    return Span(
        since=began.at,
        since_commit=began.commit,
        until=ended.at if ended is not None else None,
        until_commit=ended.commit if ended is not None else None,
        then=then,
    )


def _failures(
    oldest_first: Sequence[LockVersion], tagged: Mapping[str, str], *, pull_request: Callable[[str], int | None]
) -> Iterator[PastFailure]:
    before: str | None = None
    for version in oldest_first:
        failure = version.lock.failure
        if failure is not None and failure.build != before:
            commit = tagged.get(failure.build)
            yield PastFailure(
                build=failure.build, at=failure.at, attempts=failure.attempts, what=failure.what, commit=commit,
                pull_request=pull_request(commit) if commit is not None else None,
                recorded_in=None if version.cut_off else version.commit,
            )  # fmt: skip
        before = failure.build if failure is not None else before
