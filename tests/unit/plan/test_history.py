from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.lockfile import Build, Channels, Failure, Leaving, Lockfile, Revoked
from reconciler.plan.history import LockPast, LockVersion, Ruled, holds, stable_seconds, tell, turned

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


class TestHolds:
    """When a hold bound `stable`, and when no more, by what is declared, and by what is recorded meanwhile."""

    HELD = Ruled("declared", "2026-11-02T10:00:00Z", "ann <a@x>", FIRST, "works", "2026-11-05")
    GONE = Ruled("taken-away", "2026-11-09T10:00:00Z", "bob <b@x>", None)

    def version(self, day: int, **update: object) -> LockVersion:
        version = a_version(day, FIRST, stable=FIRST)
        builds = tuple(one.model_copy(update=update) for one in version.lock.builds)
        return replace(version, lock=version.lock.model_copy(update={"builds": builds}))

    def told(self, *ruled: Ruled, versions: tuple[LockVersion, ...] = ()) -> list[tuple[str, str, str | None]]:
        return [(one.what, one.commit, one.why) for one in holds(ruled, versions)]

    def test_one_whose_line_was_taken_away_ends_with_it(self) -> None:
        recorded = (self.version(1), self.version(3, held="x"), self.version(10, held="x", released="y"))
        assert self.told(self.HELD, self.GONE, versions=recorded) == [
            ("held", "declared", "works"), ("released", "taken-away", None),
        ]  # fmt: skip

    @pytest.mark.parametrize("still", [True, False])
    def test_one_whose_day_came_ends_when_that_is_recorded_whatever_becomes_of_its_line(self, *, still: bool) -> None:
        recorded = (self.version(1), self.version(3, held="x"), self.version(6, held="x", released="y"))
        ruled = (self.HELD,) if still else (self.HELD, self.GONE)
        assert self.told(*ruled, versions=recorded) == [
            ("held", "declared", "works"), ("released", "commit-6", "its day had come, 2026-11-05"),
        ]  # fmt: skip

    def test_a_day_that_was_moved_is_the_one_that_is_told(self) -> None:
        moved = replace(self.HELD, commit="moved", at="2026-11-03T00:00:00Z", until="2026-11-06")
        recorded = (self.version(1), self.version(3, held="x"), self.version(6, held="x", released="y"))
        assert self.told(self.HELD, moved, versions=recorded)[1:] == [
            ("released", "commit-6", "its day had come, 2026-11-06")
        ]

    def test_one_that_a_revocation_overrules_ends_by_it_and_binds_again_after_it(self) -> None:
        cause = Revoked(at="2026-11-04T00:00:00Z", reason="leaked", phase="stable")
        recorded = (
            self.version(1), self.version(3, held="x"), self.version(4, held="x", released="y", revoked=cause),
            self.version(5, held="z", unrevoked="z"),
        )  # fmt: skip
        assert self.told(self.HELD, self.GONE, versions=recorded) == [
            ("held", "declared", "works"), ("released", "commit-4", "it is revoked: leaked"),
            ("held", "commit-5", "works"), ("released", "taken-away", None),
        ]  # fmt: skip

    def test_one_that_goes_to_another_build_ends_where_the_other_begins(self) -> None:
        other = Ruled("moved", "2026-11-04T10:00:00Z", "bob <b@x>", SECOND, "better")
        assert self.told(self.HELD, other) == [
            ("held", "declared", "works"), ("released", "moved", None), ("held", "moved", "better"),
        ]  # fmt: skip


class TestRemoved:
    """Whether all that a build left was taken away: by the commit that took it out of the lockfile."""

    def past(self, *, leaves: bool, then: LockVersion, reason: str = "removed") -> LockPast:
        before = a_version(2, SECOND, FIRST, stable=SECOND)
        if leaves:
            old = before.lock.builds[1]
            entry = Leaving(build=old, deprecated="2026-11-01T00:00:00Z")
            lock = before.lock.model_copy(update={"builds": before.lock.builds[:1], "leaving": (entry,)})
            before = replace(before, lock=lock)
        return LockPast((replace(then, trailers={"Reason": (reason,)}), before, a_version(1, FIRST, stable=FIRST)))

    def test_what_gc_removed_is_gone_since_then(self) -> None:
        past = self.past(leaves=True, then=a_version(3, SECOND, stable=SECOND))
        assert past.removed(FIRST) == "2026-11-03T00:00:00Z"
        assert past.removed(SECOND) is None

    def test_what_went_with_its_image_is_gone_as_well(self) -> None:
        past = self.past(leaves=False, then=a_version(3))
        assert (past.removed(FIRST), past.removed(SECOND)) == ("2026-11-03T00:00:00Z", "2026-11-03T00:00:00Z")

    def test_what_newer_builds_took_out_may_be_there_still(self) -> None:
        past = self.past(leaves=False, then=a_version(3, SECOND, stable=SECOND))
        assert past.removed(FIRST) is None
        assert self.past(leaves=True, then=a_version(3, SECOND), reason="inputs-changed").removed(FIRST) is None
        assert past.removed("20261109T000000Z-0000009") is None
