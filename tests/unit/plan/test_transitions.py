from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.announcement import turn_of
from reconciler.model.lockfile import AnnouncedEvent, Artifact, Build, Lockfile, Verdict, Verified
from reconciler.model.plan import Cause, Situation
from reconciler.model.values import began_at, format_instant
from reconciler.plan.channels import binds, overrules
from reconciler.plan.timing import next_failure
from reconciler.plan.transitions import (
    as_declared,
    as_ruled,
    promotes,
    with_artifacts,
    with_build,
    with_failure,
    with_verdict,
    with_verified,
)

Make = Callable[..., Any]


@pytest.fixture
def history(built: Make) -> list[Build]:
    """Four builds of one image, newest first."""
    first: Situation = built()
    build = first.lock.builds[0]
    times = [first.now + timedelta(days=day) for day in range(4, 0, -1)]
    return [build.model_copy(update={"id": f"{time:%Y%m%dT%H%M%SZ}-1a2b3c4"}) for time in times]


def recorded(*builds: Build, image: Any) -> Lockfile:
    lock = Lockfile(image="web")
    for build in reversed(builds):
        lock = with_build(lock, build, image=image)
    return lock


def test_builds_stand_newest_first_and_only_the_newest_are_kept(history: list[Build], an_image: Make) -> None:
    lock = recorded(*history, image=an_image(retain={"builds": 2}))
    assert [build.id for build in lock.builds] == [history[0].id, history[1].id]
    assert lock.channels.candidate == lock.channels.stable == history[0].id


def test_what_a_channel_or_a_hold_points_to_is_kept_however_old(history: list[Build], an_image: Make) -> None:
    fourth, third, second, first = history
    lock = recorded(second, first, image=an_image())
    hold = {"build": first.id, "reason": "works"}
    waiting = an_image(retain={"builds": 1}, validation={"required": True}, hold=hold)

    lock = with_build(with_build(lock, third, image=waiting), fourth, image=waiting)

    assert [build.id for build in lock.builds] == [fourth.id, second.id, first.id]
    assert (lock.channels.candidate, lock.channels.stable) == (fourth.id, second.id)


def test_only_the_newest_build_lists_its_files(history: list[Build], an_image: Make) -> None:
    lock = recorded(*history, image=an_image())
    assert lock.builds[0].files is not None
    assert {build.files is None for build in lock.builds[1:]} == {True}


def test_a_build_that_is_adopted_again_becomes_the_newest_and_is_there_once(
    history: list[Build], an_image: Make
) -> None:
    lock = recorded(*history[:3], image=an_image())
    lock = with_build(lock, history[2], image=an_image())
    assert [build.id for build in lock.builds] == [history[2].id, history[0].id, history[1].id]


def test_a_success_forgets_the_failure(history: list[Build], an_image: Make, built: Make) -> None:
    failure = next_failure(None, build=history[0].id, key="sha256:1", what="no", now=built().now)
    lock = with_failure(recorded(history[1], image=an_image()), failure)

    assert lock.failure == failure
    assert lock.channels.stable == history[1].id
    assert with_build(lock, history[0], image=an_image()).failure is None


def test_a_pin_stands_beside_the_request_it_was_resolved_for(history: list[Build], an_image: Make) -> None:
    """The declaration may ask for another source by the time the build is recorded: that one is not pinned."""
    asked = an_image().source
    reworded = an_image(source={"ami": {"name": "debian-13-*", "owners": ["136693071363"]}})
    lock = with_build(Lockfile(image="web"), history[0], image=reworded, requested=asked)
    assert lock.source is not None
    assert (lock.source.requested, lock.source.pinned) == (asked, history[0].source)


def test_what_was_verified_stays_where_it_is_on_the_newer_pin(
    history: list[Build], an_image: Make, a_pin: Make
) -> None:
    image = an_image()
    failure = next_failure(None, build=history[0].id, key="sha256:1", what="no", now=began_at(history[0].id))
    before = with_failure(recorded(*history[1:], image=image), failure)
    newer = a_pin("ami-0bb")
    verified = Verified(at="2026-11-29T11:00:00Z", build=history[0].id, key="sha256:2", source=newer)

    after = with_verified(before, history[1].id, verified, image=image)

    assert (after.channels, after.failure) == (before.channels, None)
    assert after.builds[0] == before.builds[0].model_copy(update={"verified": verified})
    assert after.builds[1:] == before.builds[1:]
    assert after.source is not None
    assert after.source.pinned == newer
    assert with_verified(after, history[1].id, verified, image=image) == after


def test_an_artifact_takes_the_place_of_the_one_in_its_region(history: list[Build], an_image: Make) -> None:
    lock = recorded(*history[:2], image=an_image())
    one, other = (
        Artifact(kind="ami", builder="b", location=region, id="ami-0new") for region in ("us-east-1", "eu-west-1")
    )

    after = with_artifacts(lock, history[0].id, [one, other])

    assert after.builds[0].artifacts == (other, one)
    assert after.builds[1] == lock.builds[1]
    assert with_artifacts(after, history[0].id, [], gone=[one]).builds[0].artifacts == (other,)


def test_recording_twice_changes_nothing(history: list[Build], an_image: Make) -> None:
    image = an_image()
    lock = recorded(*history[:2], image=image)

    assert with_build(lock, lock.builds[0], image=image) == lock
    assert with_artifacts(lock, history[0].id, lock.builds[0].artifacts) == lock
    assert as_declared(lock, image) == lock


def test_a_source_that_no_record_names_is_taken_from_the_build(history: list[Build], an_image: Make) -> None:
    image = an_image()
    lock = recorded(history[0], image=image).model_copy(update={"source": None})
    assert as_declared(lock, image).source.requested == image.source  # type: ignore[union-attr]  # None fails the test too


def test_the_candidate_becomes_stable_when_no_verdict_is_required(history: list[Build], an_image: Make) -> None:
    waiting = an_image(validation={"required": True})
    candidate = history[0].model_copy(update={"phase": "candidate"})
    lock = with_build(recorded(history[1], image=an_image()), candidate, image=waiting)

    assert not promotes(lock, waiting)
    assert as_declared(lock, waiting).channels == lock.channels
    assert promotes(lock, an_image())
    freed = as_declared(lock, an_image())
    assert freed.channels.stable == candidate.id
    assert freed.builds[0].phase == "stable"
    assert not promotes(freed, an_image())


def test_no_transition_leaves_a_lockfile_that_would_be_refused(built: Make, an_image: Make) -> None:
    lock = built(an_image(regions=["us-east-1", "eu-west-1"])).lock
    assert Lockfile.model_validate_json(lock.model_dump_json(by_alias=True)) == lock
    assert replace(built(), lock=lock).last == lock.builds[0]


@dataclass
class Story:
    """An image whose builds are made, judged and ruled of, one thing a day."""

    make: Make
    model: Build
    lock: Lockfile = field(default_factory=lambda: Lockfile(image="web"))
    rules: dict[str, Any] = field(default_factory=lambda: {"validation": {"required": True}, "retain": {"builds": 20}})
    causes: dict[str, Cause] = field(default_factory=dict)

    def build(self, moment: datetime) -> None:
        made = {"id": f"{moment:%Y%m%dT%H%M%SZ}-1a2b3c4", "recorded": format_instant(moment)}
        self.lock = with_build(self.lock, self.model.model_copy(update=made), image=self.make(**self.rules))

    def judge(self, moment: datetime, build_id: str | None, status: Literal["passed", "failed"]) -> None:
        verdict = Verdict(status=status, by="a team", evidence="none")
        known, image = self.lock.build(build_id), self.make(**self.rules)
        if known is not None and overrules(known.verdict, verdict) and not binds(image, self.lock, known.id, verdict):
            self.lock = with_verdict(
                self.lock, known.id, verdict, at=format_instant(moment), held="hold" in self.rules
            )  # fmt: skip

    def rule(self, moment: datetime, what: str) -> None:
        fit = [one.id for one in self.lock.builds if one.phase not in ("rejected", "revoked")]
        stable = self.lock.channels.stable
        if what == "hold" and fit:
            self.rules["hold"] = {"build": fit[-1], "reason": "works"}
        elif what == "release":
            self.rules.pop("hold", None)
        elif what == "revoke" and stable is not None:
            self.causes[stable] = Cause("a key in it leaked", origin=("web", stable))
        elif what == "un-revoke":
            self.causes.clear()
        self.lock = as_ruled(self.lock, self.make(**self.rules), self.causes, at=format_instant(moment))

    def told(self) -> Iterator[tuple[AnnouncedEvent, str, str | None]]:
        channels = self.lock.channels
        told: tuple[tuple[AnnouncedEvent, str | None], ...] = (
            ("candidate", channels.candidate), ("stable", channels.stable)
        )  # fmt: skip
        for event, build_id in told:
            build = self.lock.build(build_id)
            if build is not None:
                yield event, build.id, turn_of(event, build)


ACTS = st.sampled_from(("build", "pass", "fail", "fail stable", "hold", "release", "revoke", "un-revoke"))


@given(st.lists(ACTS, max_size=14))
def test_wherever_a_channel_goes_is_told_anew_and_nothing_else_is(
    built: Make, an_image: Make, acts: Sequence[str]
) -> None:
    first: Situation = built()
    model = first.lock.builds[0].model_copy(update={"phase": "candidate", "verdict": None})
    story, heard = Story(an_image, model), set[tuple[AnnouncedEvent, str, str | None]]()
    for day, act in enumerate(("build", *acts)):
        moment, before = first.now + timedelta(days=day), story.lock.channels
        if act == "build":
            story.build(moment)
        elif act in ("pass", "fail", "fail stable"):
            of = before.stable if act == "fail stable" else before.candidate
            story.judge(moment, of, "passed" if act == "pass" else "failed")
        else:
            story.rule(moment, act)
        for one in story.told():
            moved = one[1] != getattr(before, one[0])
            assert moved is (one not in heard), f"{act} on day {day}: {one}"
            heard.add(one)


class TestSinceWhen:
    """A hold and a revocation leave when they were recorded, and when their end was."""

    EARLY, LATE = "2026-11-29T10:15:30Z", "2026-11-30T10:15:30Z"

    def hold(self, an_image: Make, build: Build) -> Any:
        return an_image(hold={"build": build.id, "reason": "works"})

    def test_a_hold_where_stable_is_already_is_recorded_once(self, history: list[Build], an_image: Make) -> None:
        lock = recorded(*history, image=an_image())
        held = as_ruled(lock, self.hold(an_image, history[0]), {}, at=self.EARLY)
        assert (held.builds[0].held, held.builds[0].is_held, held.builds[0].returned) == (self.EARLY, True, None)
        assert as_ruled(held, self.hold(an_image, history[0]), {}, at=self.LATE) is held
        assert held.channels == lock.channels

    def test_its_end_is_recorded_once_and_the_next_one_is_another(self, history: list[Build], an_image: Make) -> None:
        lock = recorded(*history, image=an_image())
        held = as_ruled(lock, self.hold(an_image, history[0]), {}, at=self.EARLY)
        over = as_ruled(held, an_image(), {}, at=self.LATE)
        assert (over.builds[0].held, over.builds[0].released) == (self.EARLY, self.LATE)
        assert as_ruled(over, an_image(), {}, at="2026-12-01T00:00:00Z") is over
        again = as_ruled(over, self.hold(an_image, history[0]), {}, at="2026-12-01T00:00:00Z")
        assert (again.builds[0].held, again.builds[0].released) == ("2026-12-01T00:00:00Z", None)

    def test_one_that_goes_to_another_build_is_over_for_the_first(self, history: list[Build], an_image: Make) -> None:
        lock = recorded(*history, image=an_image())
        held = as_ruled(lock, self.hold(an_image, history[0]), {}, at=self.EARLY)
        moved = as_ruled(held, self.hold(an_image, history[1]), {}, at=self.LATE)
        assert [(one.held, one.released) for one in moved.builds[:2]] == [(self.EARLY, self.LATE), (self.LATE, None)]
        assert moved.channels.stable == history[1].id

    def test_one_that_can_not_be_reached_yet_binds_nothing(self, history: list[Build], an_image: Make) -> None:
        lock = recorded(*history, image=an_image())
        assert as_ruled(lock, self.hold(an_image, history[1]), {}, at=self.EARLY, reachable=False) is lock

    def test_the_end_of_a_revocation_is_recorded_until_the_next_one(self, history: list[Build], an_image: Make) -> None:
        lock = recorded(*history, image=an_image())
        cause = {history[1].id: Cause("leaked", origin=("web", history[1].id))}
        revoked = as_ruled(lock, an_image(), cause, at=self.EARLY)
        over = as_ruled(revoked, an_image(), {}, at=self.LATE)
        assert (over.builds[1].revoked, over.builds[1].unrevoked) == (None, self.LATE)
        assert over.model_copy(update={"builds": lock.builds}) == lock
        again = as_ruled(over, an_image(), cause, at="2026-12-01T00:00:00Z")
        assert again.builds[1].unrevoked is None
