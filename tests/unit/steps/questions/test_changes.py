"""Which stable builds are others than they were: of lockfiles that changed, under whatever name."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.git.repository import Repository
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Build, Channels, Lockfile
from reconciler.state.lockfiles import path_of, render
from reconciler.steps.questions.changes import _Period
from tests.unit.steps.in_hand import MemoryTree

Make = Callable[..., Any]
OLD, NEW = "20261101T000000Z-0000001", "20261102T000000Z-0000002"


@pytest.fixture
def build(built: Make) -> Build:
    found: Build = built().lock.builds[0]
    return found


def lock(build: Build, image: str, *ids: str, stable: str | None) -> Lockfile:
    builds = tuple(build.model_copy(update={"id": one}) for one in ids)
    return Lockfile(image=image, builds=builds, channels=Channels(stable=stable))


def period(then: list[Lockfile] | None, now: list[Lockfile]) -> _Period:
    trees = {
        at: MemoryTree({path_of(one.image): render(one) for one in locks})
        for at, locks in (("then", then or []), ("now", now))
    }
    repository = cast("Repository", SimpleNamespace(tree=trees.__getitem__))
    return _Period(repository, "then" if then is not None else None, "now")


def moved(one: _Period) -> dict[str, tuple[str | None, str | None]]:
    return {sides.name: (change.old, change.new) for sides in one.moved() for change in (one.told(sides),)}


def test_what_points_where_it_did_is_no_change(build: Build) -> None:
    before = lock(build, "web", OLD, stable=OLD)
    grown = lock(build, "web", NEW, OLD, stable=OLD)

    assert moved(period([before], [before])) == moved(period([before], [grown])) == {}


def test_another_stable_build_a_first_one_and_a_lost_one_are_changes(build: Build) -> None:
    then = [lock(build, "web", OLD, stable=OLD), lock(build, "gone", OLD[:-1] + "2", stable=OLD[:-1] + "2")]
    now = [lock(build, "web", NEW, OLD, stable=NEW), lock(build, "api", OLD[:-1] + "3", stable=OLD[:-1] + "3")]

    assert moved(period(then, now)) == {
        "web": (OLD, NEW),
        "api": (None, OLD[:-1] + "3"),
        "gone": (OLD[:-1] + "2", None),
    }


def test_an_image_is_followed_to_its_new_name_by_its_builds(build: Build) -> None:
    then, now = [lock(build, "www", OLD, stable=OLD)], [lock(build, "web", NEW, OLD, stable=NEW)]
    asked = period(then, now)

    (sides,) = asked.moved()
    told = asked.told(sides)

    assert (told.image, told.was, told.old, told.new) == ("web", "www", OLD, NEW)
    assert told.unknown == f"what is inside {OLD} was not recorded"
    assert moved(period(then, [lock(build, "web", OLD, stable=OLD)])) == {}, "a new name is no new build"


def test_before_there_was_anything_all_is_new(build: Build) -> None:
    assert moved(period(None, [lock(build, "web", OLD, stable=OLD)])) == {"web": (None, OLD)}


def test_a_name_counts_that_was_one_then_or_is_one_now(build: Build) -> None:
    asked = period([lock(build, "www", OLD, stable=OLD)], [lock(build, "web", NEW, stable=NEW)])

    asked.refuse_unknown(["www", "web"])
    with pytest.raises(UserError) as error:
        asked.refuse_unknown(["web", "wbe"])
    assert str(error.value) == "no image is named 'wbe'\n  did you mean \"web\"?"
    with pytest.raises(UserError) as error:
        asked.refuse_unknown(["wwww"])
    assert error.value.hint == ('did you mean "www"?',)
