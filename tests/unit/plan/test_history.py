from __future__ import annotations

from dataclasses import replace

from reconciler.model.lockfile import Build, Channels, Failure, Leaving, Lockfile
from reconciler.plan.history import LockPast, LockVersion, stable_seconds, tell, turned

NOON = "2026-11-22T12:00:00Z"
FIRST, SECOND = "20261101T000000Z-0000001", "20261102T000000Z-0000002"


def a_version(day: int, *builds: str, stable: str | None = None, candidate: str | None = None) -> LockVersion:
    recorded = tuple(
        Build(id=one, key=f"sha256:{one}", components={}, commit="c", artifacts=(), phase="stable") for one in builds
    )
    channels = Channels(candidate=candidate or stable, stable=stable)
    lock = Lockfile(image="web", builds=recorded, channels=channels)
    return LockVersion(f"commit-{day}", f"2026-11-{day:02}T00:00:00Z", "ci <ci@x>", "web: build", {}, lock)


def spans(*oldest_first: LockVersion) -> dict[str, list[tuple[str, str | None, str | None]]]:
    """When each build was stable: days, and what came after."""
    history = tell(LockPast(oldest_first[::-1]), pull_request=lambda _commit: None)
    return {
        build.id: [(one.since[8:10], one.until[8:10] if one.until else None, one.then) for one in build.stable]
        for build in history.builds
    }


def test_a_rollback_makes_a_build_stable_twice() -> None:
    found = spans(
        a_version(1, FIRST, stable=FIRST), a_version(2, SECOND, FIRST, stable=SECOND),
        a_version(3, SECOND, FIRST, stable=FIRST),
    )  # fmt: skip

    assert found[FIRST] == [("01", "02", SECOND), ("03", None, None)]
    assert found[SECOND] == [("02", "03", FIRST)]


def test_a_lockfile_that_was_taken_away_ends_every_span() -> None:
    assert spans(a_version(1, FIRST, stable=FIRST), a_version(4))[FIRST] == [("01", "04", None)]


def test_a_candidate_that_was_overtaken_was_never_stable() -> None:
    found = spans(a_version(1, FIRST, candidate=FIRST), a_version(2, SECOND, FIRST, stable=SECOND))

    assert found[FIRST] == []


def test_a_build_is_kept_for_as_long_as_the_newest_lockfile_has_it() -> None:
    past = LockPast((a_version(3, SECOND), a_version(2, SECOND, FIRST), a_version(1, FIRST)))

    history = tell(past, pull_request=lambda _commit: None)

    assert {build.id: build.kept for build in history.builds} == {FIRST: False, SECOND: True}


def test_a_failure_is_told_once_with_the_commit_that_its_tag_names_the_newest_first() -> None:
    def failing(version: LockVersion, build: str) -> LockVersion:
        failure = Failure(
            build=build, key="sha256:1", at=version.at, what=f"{build} broke", attempts=1, retry_after=version.at
        )
        return replace(version, lock=version.lock.model_copy(update={"failure": failure}))

    # Given a failure that stands in two versions, and another after it, of which there is no tag.
    past = LockPast((failing(a_version(3), SECOND), failing(a_version(2), FIRST), failing(a_version(1), FIRST)))

    history = tell(past, pull_request={"tried": 7}.get, tagged={FIRST: "tried"})

    assert [(one.build, one.commit, one.pull_request, one.recorded_in) for one in history.failures] == [
        (SECOND, None, None, "commit-3"), (FIRST, "tried", 7, "commit-1"),
    ]  # fmt: skip


def test_a_clock_that_went_back_makes_no_time_negative() -> None:
    history = tell(
        LockPast((a_version(1, SECOND, stable=SECOND), a_version(2, FIRST, stable=FIRST))), pull_request=lambda _: None
    )

    assert [build.stable_seconds for build in history.builds] == [0, 0]
    assert stable_seconds((), seen="2026-11-01T00:00:00Z") == 0


def test_what_went_away_is_removed_or_was_brought_back() -> None:
    whole = a_version(2, FIRST, SECOND).lock
    goes = whole.model_copy(
        update={"builds": whole.builds[1:], "leaving": (Leaving(build=whole.builds[0], deprecated=NOON),)}
    )  # fmt: skip
    gone = goes.model_copy(update={"leaving": ()})

    def told(before: Lockfile, after: Lockfile) -> list[tuple[str, str]]:
        return [(build.id, what) for build, what, _ in turned(before, after)]

    assert told(whole, goes) == [(FIRST, "deprecated")]
    assert told(goes, gone) == [(FIRST, "removed")]
    assert told(goes, whole) == [(FIRST, "brought-back")]
