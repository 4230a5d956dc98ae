"""What is taken a step further away: recorded first, told as it is done, and never by a wrong clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.model import events
from reconciler.model.collection import Abandoned, Collection
from reconciler.model.declaration import Declaration
from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Build, Leaving, Lockfile
from reconciler.model.observation import Observation, TemplateVersion, version_words
from reconciler.model.usage import Usage, Use
from reconciler.model.values import format_instant, parse_instant
from reconciler.plan.leaving import Departure
from reconciler.plan.planning import FleetPlan, make_plan
from reconciler.plan.roots import Survey
from reconciler.steps.gc import _files, _forget_versions, _reason, apply, as_collection, with_unmanaged
from reconciler.steps.survey import Looked
from tests.doubles.publisher import MemoryPublisher
from tests.unit.steps.in_hand import InHand, MemoryTree, in_hand, there

Make = Callable[..., Any]
US, OLD = "us-east-1", "20260101T000000Z-0000001"


class Leaver:
    """An image with a stable build, and one long before it that goes away."""

    def __init__(self, built: Make, an_image: Make, what_is_known: Make, root: Path, **known: Any) -> None:
        situation = built(an_image(retain={"builds": 1, "deprecated": "1d", "disabled": "1d"}))
        self.image = situation.image
        found = what_is_known(self.image, now=situation.now, **known)
        probe = in_hand(found, root)
        old: Build = situation.lock.builds[0].model_copy(
            update={"id": OLD, "phase": "superseded", "recorded": "2026-01-01T00:00:00Z"}
        )
        lock = situation.lock.model_copy(update={"builds": (*situation.lock.builds, old)})
        self.lock: Lockfile = there(probe, lock)
        self.hand: InHand = in_hand(found, root, [self.lock])
        self.hand.registry._artifacts.update({one.place: one for one in probe.registry.artifacts})

    @property
    def planned(self) -> FleetPlan:
        return make_plan(self.hand.run.known)

    def looked(self) -> Looked:
        """What a survey finds now."""
        lock = self.hand.lock()
        assert lock is not None
        known = replace(
            self.hand.run.known, locks={"web": lock}, observation=Observation(artifacts=self.hand.registry.artifacts)
        )
        seen = {one.place: one for one in self.hand.registry.artifacts}
        return Looked(Survey(known, make_plan(known).decisions, seen), {})

    def collect(self, *, at_most: int = 10, after: timedelta = timedelta(0)) -> Collection:
        run = self.hand.run
        looked = self.looked()
        now = run.known.now + after
        known = replace(looked.survey.known, now=now)
        looked = replace(looked, survey=replace(looked.survey, known=known))
        looked.__dict__.pop("judgement", None)
        return apply(
            replace(run, known=known), looked, make_plan(known), at_most=at_most,
            publisher=lambda: MemoryPublisher("acme/images"),
        )  # fmt: skip


@pytest.fixture
def leaver(built: Make, an_image: Make, what_is_known: Make, tmp_path: Path) -> Leaver:
    return Leaver(built, an_image, what_is_known, tmp_path)


def test_a_step_is_recorded_with_its_day_and_then_done(leaver: Leaver) -> None:
    done = leaver.collect()

    assert [(one.build, one.step) for one in done.took] == [(OLD, "deprecate")]
    lock = leaver.hand.lock()
    assert lock is not None
    assert [(one.build.id, one.disabled) for one in lock.leaving] == [(OLD, None)]
    gone = next(one for one in leaver.hand.registry.artifacts if one.own("build") == OLD)
    assert gone.deprecated is not None
    assert leaver.collect().took == (), "what it waits for is not over"


@pytest.mark.parametrize("minutes", [0, 1, 7, 90])
def test_from_when_it_is_deprecated_is_what_is_recorded_however_long_looking_took(leaver: Leaver, minutes: int) -> None:
    done = leaver.collect(after=-timedelta(minutes=minutes))

    assert [(one.build, one.step) for one in done.took] == [(OLD, "deprecate")]
    lock = leaver.hand.lock()
    assert lock is not None
    (recorded,) = [one.cared_for.deprecated for one in lock.leaving[0].build.artifacts]
    (gone,) = [one for one in leaver.hand.registry.artifacts if one.own("build") == OLD]
    assert recorded == gone.deprecated
    assert parse_instant(recorded or "") > leaver.hand.run.now()


def test_a_date_that_was_recorded_and_never_set_is_recorded_anew(leaver: Leaver) -> None:
    leaver.hand.registry.unreadable[US] = "throttled"
    leaver.collect()
    del leaver.hand.registry.unreadable[US]
    later = leaver.hand.run.now() + timedelta(hours=1)
    leaver.hand.run.adapters.now = lambda: later  # type: ignore[misc]  # it is a namespace

    leaver.collect()

    lock = leaver.hand.lock()
    assert lock is not None
    (recorded,) = [one.cared_for.deprecated for one in lock.leaving[0].build.artifacts]
    (gone,) = [one for one in leaver.hand.registry.artifacts if one.own("build") == OLD]
    assert recorded == gone.deprecated
    first, again = (commit.message for commit in leaver.hand.recorder.commits)
    assert f"{OLD} superseded" in first
    assert f"{OLD} recorded as deprecated since" in again


def test_after_its_waits_it_is_disabled_and_then_gone(leaver: Leaver) -> None:
    leaver.collect()
    second = leaver.collect(after=timedelta(days=2))
    assert [one.step for one in second.took] == ["disable"]

    third = leaver.collect(after=timedelta(days=4))

    assert [one.step for one in third.took] == ["retire"]
    lock = leaver.hand.lock()
    assert lock is not None
    assert lock.leaving == ()
    assert {one.own("build") for one in leaver.hand.registry.artifacts} == {lock.builds[0].id}


@pytest.mark.parametrize(("seconds", "taken"), [(-1, []), (0, ["disable"])])
def test_a_step_is_taken_from_the_very_second_on_at_which_it_is_due(
    leaver: Leaver, seconds: int, taken: list[str]
) -> None:
    leaver.collect()
    done = leaver.collect(after=timedelta(days=1, seconds=seconds))
    assert [one.step for one in done.took] == taken


def test_the_clock_of_where_nothing_goes_is_not_asked(leaver: Leaver) -> None:
    leaver.hand.registry.seed(
        "eu-west-1", "of-nobody", tags={"reconciler:fleet": "acme/images", "reconciler:image": "web"}
    )
    leaver.hand.registry.times["eu-west-1"] = leaver.hand.run.now() + timedelta(days=9)
    assert [one.step for one in leaver.collect().took] == ["deprecate"]


def test_only_what_was_made_for_the_build_in_the_image_s_own_templates_is_deleted_with_it(leaver: Leaver) -> None:
    # Given versions that launch what goes: our own, one of a template that is none of the image's, one that is in use
    image = replace(
        leaver.image, declaration=Declaration.model_validate({"publish": {"launch_templates": ["web"]}})
    )  # fmt: skip
    (gone,) = [one for one in leaver.hand.registry.artifacts if one.own("build") == OLD]
    said = version_words("web", OLD)

    def use(name: str | None, number: int | None, *, says: str = said, spare: bool = True) -> Use:
        version = TemplateVersion(number, gone.id, says) if number is not None else None
        return Use(gone.place, "a template", "", parameter=name, version=version, spare=spare)

    own = "launch template web"
    uses = (
        use(own, 1), use("launch template others", 2), use(own, None), use(own, 3, spare=False),
        use(own, 4, says="by hand"), use(None, 5),
    )  # fmt: skip
    looked = leaver.looked()
    looked = replace(looked, survey=replace(looked.survey, usage=Usage(uses)))
    old = next(one for one in leaver.lock.builds if one.id == OLD)
    left = Leaving(build=old, deprecated="2026-01-01T00:00:00Z")
    removed: list[tuple[object, ...]] = []
    publisher = SimpleNamespace(remove_version=lambda *what: removed.append(what))

    # When it goes
    departure = Departure(image, left, "retire", leaver.hand.run.now(), (gone,))
    _forget_versions(leaver.hand.run, looked, departure, lambda: cast("Any", publisher))

    # Then nothing but the one goes with it
    assert removed == [(US, "web", 1, gone.id)]
    assert [one.location for one in leaver.hand.told(events.Published)] == [US]


def test_no_more_images_than_asked_for_are_touched(leaver: Leaver) -> None:
    done = leaver.collect(at_most=0)
    assert (done.took, done.put_off) == ((), 1)
    assert leaver.hand.recorder.commits == []


@pytest.mark.parametrize(("minutes", "refused"), [(59, False), (61, True), (-61, True)])
def test_by_a_clock_that_is_far_off_nothing_is_done(leaver: Leaver, minutes: int, *, refused: bool) -> None:
    leaver.hand.registry.times[US] = leaver.hand.run.now() + timedelta(minutes=minutes)

    if refused:
        with pytest.raises(Terminal, match="this machine's clock and us-east-1's are 61 min apart"):
            leaver.collect()
        assert leaver.hand.recorder.commits == []
    else:
        assert len(leaver.collect().took) == 1


def test_one_images_failure_is_its_own_and_told(leaver: Leaver) -> None:
    leaver.hand.registry.unreadable[US] = "throttled"

    done = leaver.collect()

    assert "throttled" in done.failed["web"]
    assert [one.image for one in leaver.hand.told(events.Failed)] == ["web"]
    lock = leaver.hand.lock()
    assert lock is not None
    assert [one.build.id for one in lock.leaving] == [OLD], (
        "its day is recorded, and the next run does what belongs to it"
    )


def test_what_is_only_proposed_is_done_once_it_is_merged(
    built: Make, an_image: Make, what_is_known: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaver = Leaver(built, an_image, what_is_known, tmp_path, settings={"git": {"push": "pull-request"}})
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr("reconciler.steps.gc.propose", lambda *given, **_: asked.append(given[1]))

    done = leaver.collect()

    assert done.took == ()
    assert all(one.deprecated is None for one in leaver.hand.registry.artifacts)
    assert len(asked) == 1


class TestAbandoned:
    """What killed builds left to work with: instances, key pairs."""

    def left(self, leaver: Leaver, hours: int) -> Abandoned:
        since = format_instant(leaver.hand.run.known.now - timedelta(hours=hours))
        return Abandoned(image="web", kind="instance", location=US, id=f"i-{hours}", run="run-0", since=since)

    def test_what_a_build_may_still_use_is_left_to_it(self, leaver: Leaver) -> None:
        young, old = self.left(leaver, 23), self.left(leaver, 25)
        leaver.hand.registry.left_by_builds = [young, old]

        judged = as_collection(leaver.looked(), leaver.hand.registry, head="9c0d1e2")
        done = leaver.collect()

        assert judged.abandoned == (old,)
        assert done.abandoned == (old,)
        assert leaver.hand.registry.left_by_builds == [young]
        told = [one.what for one in leaver.hand.told(events.Tended)]
        assert f"removed the instance {US} i-25, which run run-0 left" in told

    def test_a_fleet_of_long_builds_waits_twice_as_long(
        self, built: Make, an_image: Make, what_is_known: Make, tmp_path: Path
    ) -> None:
        leaver = Leaver(built, an_image, what_is_known, tmp_path)
        declared = leaver.image.declaration
        packer = declared.packer.model_copy(update={"timeout": 20 * 3600})
        slow = replace(leaver.image, declaration=declared.model_copy(update={"packer": packer}))
        looked = leaver.looked()
        fleet = replace(looked.survey.known.fleet, images={"web": slow})
        known = replace(looked.survey.known, fleet=fleet)
        leaver.hand.registry.left_by_builds = [self.left(leaver, 39), self.left(leaver, 41)]

        judged = as_collection(
            replace(looked, survey=replace(looked.survey, known=known)), leaver.hand.registry, head="9c0d1e2"
        )

        assert [one.id for one in judged.abandoned] == ["i-41"]


def test_what_no_fleet_marks_is_listed_where_it_was_looked(leaver: Leaver) -> None:
    stranger = leaver.hand.registry.seed(US, "by hand", tags={})
    plain = as_collection(leaver.looked(), leaver.hand.registry, head="9c0d1e2")

    listed = with_unmanaged(plain, leaver.looked(), leaver.hand.registry).unmanaged
    assert stranger.id in {one.id for one in listed[US] or ()}


@pytest.mark.parametrize(
    ("step", "was", "code"),
    [
        ("deprecate", f"{OLD} superseded", "deprecation-changed"),
        ("disable", f"{OLD} deprecated since 2026-01-01T00:00:00Z", "availability-changed"),
        ("retire", f"{OLD} disabled since 2026-01-02T00:00:00Z", "removed"),
    ],
)
def test_a_commit_says_what_a_build_was_before_each_step(leaver: Leaver, step: Any, was: str, code: str) -> None:
    entry = Leaving(build=leaver.lock.builds[1], deprecated="2026-01-01T00:00:00Z", disabled="2026-01-02T00:00:00Z")
    reason = _reason(Departure(leaver.image, entry, step, leaver.hand.run.known.now, ()))
    assert (reason.code, reason.was, reason.now) == (code, was, f"{step}d")
    waits = Departure(leaver.image, entry.model_copy(update={"disabled": None}), step, leaver.hand.run.known.now, ())
    assert "disabled since" not in (_reason(waits).was or ""), "a kind that knows no such thing was only deprecated"


def test_what_the_record_of_an_old_build_names_is_written_again_where_it_stood_once(leaver: Leaver) -> None:
    old = leaver.lock.builds[1].model_copy(update={"provenance": "provenance/web/1.json"})
    departure = Departure(
        leaver.image, Leaving(build=old, deprecated="2026-01-01T00:00:00Z"), "deprecate", leaver.hand.run.known.now, ()
    )
    statement = "state/provenance/web/1.json"
    leaver.hand.recorder.tree = MemoryTree({**leaver.hand.recorder.tree.files, statement: b"{}"})
    looked = leaver.looked()

    forgotten = list(_files(leaver.hand.run, replace(looked, commits={("web", OLD): "9c0d1e2"}), departure))

    assert [(one.path, one.content) for one in forgotten] == [(statement, b"{}")]
    assert list(_files(leaver.hand.run, looked, departure)) == [], "of what a lockfile has its files are there"
