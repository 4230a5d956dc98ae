"""A clock that jumps, and a run that dies: what is recorded is what is done, and what comes back is as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.git.objects import Commit, Recorded
from reconciler.model.care import NO_CARE, Grants
from reconciler.model.lockfile import Leaving, Lockfile
from reconciler.model.observation import Seen
from reconciler.model.plan import Cause
from reconciler.model.tree import Tree
from reconciler.model.values import format_instant, parse_instant
from reconciler.plan.transitions import as_ruled, with_restored
from reconciler.state.lockfiles import path_of, render
from reconciler.steps.care import tend_recorded
from tests.doubles.registry import Traits
from tests.unit.steps.in_hand import MemoryTree
from tests.unit.steps.test_gc import OLD, Leaver

Make = Callable[..., Any]
Way = Literal["held", "restored", "revoked and not revoked any more"]
OTHER = Grants.of(["111122223333"])


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Clock:
    """Goes on by so many minutes at each thing that is done, for as long as it is given some; at one the run dies."""

    moment: datetime
    jumps: list[int] = field(default_factory=list)
    dies_at: int | None = None
    done: int = 0

    def __call__(self) -> datetime:
        return self.moment

    def passes(self) -> None:
        self.done += 1
        self.moment += timedelta(minutes=self.jumps.pop(0) if self.jumps else 0)
        if self.done == self.dies_at:
            raise Killed


@dataclass
class Life:
    """A build that goes away, by runs during which the clock jumps, and comes back."""

    leaver: Leaver
    clock: Clock
    dates: tuple[str, str | None] | None = None

    def __post_init__(self) -> None:
        hand = self.leaver.hand
        hand.registry.clock = self.clock
        hand.run.adapters.now = self.clock  # type: ignore[misc]  # it is a namespace
        hand.registry.traits[self.artifact.place] = Traits(launched_by=OTHER)
        asked, record = hand.registry._asked, hand.recorder.record

        def passing(method: str, location: str) -> threading.RLock:
            self.clock.passes()
            return asked(method, location)

        def recording(regenerate: Callable[[Tree], Commit | None]) -> Recorded | None:
            self.clock.passes()
            return record(regenerate)

        hand.registry._asked = passing  # type: ignore[method-assign]
        hand.recorder.record = recording  # type: ignore[method-assign]

    @property
    def artifact(self) -> Seen:
        (found,) = [one for one in self.leaver.hand.registry.artifacts if one.own("build") == OLD]
        return found

    @property
    def lock(self) -> Lockfile:
        lock = self.leaver.hand.lock()
        assert lock is not None
        return lock

    @property
    def entry(self) -> Leaving | None:
        return self.lock.left(OLD)

    def collect(self) -> None:
        with suppress(Killed):
            self.leaver.collect(after=self.clock.moment - self.leaver.hand.run.known.now)
        entry = self.entry
        if self.dates is not None and entry is not None:
            assert entry.deprecated == self.dates[0], "since when it goes away is never set back"
            assert self.dates[1] in (None, entry.disabled)
        self.dates = (entry.deprecated, entry.disabled) if entry is not None else self.dates

    def rule(self, change: Callable[[Lockfile], Lockfile]) -> None:
        """Record it, and have runs do what belongs to it."""
        hand = self.leaver.hand
        hand.recorder.tree = MemoryTree({**hand.recorder.tree.files, path_of("web"): render(change(self.lock))})
        for _ in range(4):
            try:
                tend_recorded(hand.run, self.leaver.image, self.lock)
            except Killed:
                continue

    def comes_back(self, way: Way) -> None:
        at, image = format_instant(self.clock()), self.leaver.image
        hold = {"build": OLD, "reason": "works"}
        held = replace(image, declaration=type(image.declaration).model_validate({"hold": hold}))
        if way == "held":
            self.rule(lambda lock: as_ruled(lock, held, {}, at=at))
        elif way == "restored":
            entry = self.entry
            assert entry is not None
            self.rule(lambda lock: with_restored(lock, entry.build, gone=()))
        else:
            self.rule(lambda lock: as_ruled(lock, image, {OLD: Cause("leaked", origin=("web", OLD))}, at=at))
            assert self.artifact.state == "disabled"
            self.rule(lambda lock: as_ruled(lock, image, {}, at=at))


@dataclass(frozen=True)
class Course:
    """By how many minutes the clock jumps at each thing that is done, how far the build goes, and how it comes back."""

    jumps: Sequence[int]
    until: Literal["deprecate", "disable"]
    way: Way
    dies_at: int | None


COURSES = st.builds(
    Course,
    st.lists(st.integers(0, 90), max_size=30),
    st.sampled_from(("deprecate", "disable")),
    st.sampled_from(("held", "restored", "revoked and not revoked any more")),
    st.one_of(st.none(), st.integers(1, 14)),
)


@given(COURSES)
@example(Course([0, 7, 0], "deprecate", "restored", None))
def test_whatever_the_clock_does_all_of_it_comes_back(
    built: Make, an_image: Make, what_is_known: Make, tmp_path_factory: pytest.TempPathFactory, course: Course
) -> None:
    # Given a build that goes away, during which the clock jumps and a run may die
    leaver = Leaver(built, an_image, what_is_known, tmp_path_factory.getbasetemp())
    life = Life(leaver, Clock(leaver.hand.run.known.now, list(course.jumps), course.dies_at))
    for _ in range(20):
        life.collect()
        entry = life.entry
        if entry is not None and (course.until == "deprecate" or entry.disabled is not None):
            break
        life.clock.moment += timedelta(hours=9)

    # When the clock goes as it should
    life.clock.jumps, life.clock.dies_at = [], None
    life.collect()

    # Then what is recorded is what was done
    entry = life.entry
    assert entry is not None
    (recorded,) = entry.build.artifacts
    assert life.artifact.state == ("disabled" if entry.disabled is not None else "available")
    assert recorded.cared_for.deprecated == life.artifact.deprecated
    assert recorded.cared_for.withheld == (OTHER if entry.disabled is not None else None)
    assert entry.disabled is None or parse_instant(entry.disabled) - parse_instant(entry.deprecated) >= timedelta(
        days=1
    )

    # And all of it comes back
    life.clock.jumps, life.clock.dies_at, life.clock.done = list(course.jumps), course.dies_at, 0
    life.comes_back(course.way)
    back = life.lock.build(OLD)
    assert back is not None
    assert (life.artifact.state, life.artifact.deprecated) == ("available", None)
    assert leaver.hand.registry.traits[life.artifact.place].launched_by == OTHER
    assert [one.cared_for for one in back.artifacts] == [NO_CARE]
