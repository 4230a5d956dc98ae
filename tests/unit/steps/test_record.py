"""What is recorded at a head that moved on while it was built: never against what others recorded meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.git.objects import Commit, Recorded
from reconciler.model import events
from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Build, Channels, Failure, Leaving, Lockfile, TakenAsFound, Verdict
from reconciler.model.plan import Decision, Situation
from reconciler.model.tree import Tree
from reconciler.model.values import format_instant
from reconciler.plan.diff import decide
from reconciler.state.lockfiles import path_of, render
from reconciler.state.unsaved import read_unsaved
from reconciler.steps.record import (
    Contents,
    Recording,
    record_build,
    record_change,
    record_failure,
    recorded_by_others,
    recorded_elsewhere,
)
from tests.unit.steps.in_hand import InHand, MemoryTree, in_hand

Make = Callable[..., Any]


class Building:
    """A build that was just made, of an image of which nothing is recorded."""

    def __init__(self, a_situation: Make, built: Make, what_is_known: Make, root: Path) -> None:
        self.situation: Situation = a_situation()
        self.decision: Decision = decide(self.situation)
        self.after: Lockfile = built().lock
        self.build: Build = self.after.builds[0].model_copy(update={"phase": "preliminary"})
        self.root = root
        self.hand: InHand = in_hand(what_is_known(self.situation.image, now=self.situation.now), root)

    def meanwhile(self, *locks: Lockfile) -> None:
        self.hand.recorder.before = lambda _tree: MemoryTree({path_of(one.image): render(one) for one in locks})

    def record(self, build: Build | None = None, decision: Decision | None = None) -> Recording:
        return record_build(
            self.hand.run, self.situation.image, build or self.build, decision=decision or self.decision, verb="build",
            contents=Contents(),
        )  # fmt: skip


@pytest.fixture
def building(a_situation: Make, built: Make, what_is_known: Make, tmp_path: Path) -> Building:
    return Building(a_situation, built, what_is_known, tmp_path)


def test_what_was_built_is_recorded_with_its_tag(building: Building) -> None:
    recording = building.record()

    lock = building.hand.lock()
    assert lock is not None
    assert lock.builds[0].phase == "stable"
    assert recording.tags == (f"image/web/{building.build.id}",)
    assert [one.commit for one in building.hand.told(events.Recorded)] == [recording.commit]


def test_the_same_content_that_another_run_recorded_counts_instead(building: Building) -> None:
    other = building.build.model_copy(update={"id": "20301122T101530Z-1a2b3c4", "artifacts": ()})
    building.meanwhile(building.after.model_copy(update={"builds": (other,), "channels": Channels(stable=other.id)}))

    recording = building.record()

    assert (recording.superseded, recording.instead) == (True, other)
    assert building.hand.recorder.commits == []


def test_what_another_run_adopted_before_we_recorded_it_is_no_others(building: Building) -> None:
    voted = building.after.builds[0].model_copy(
        update={"verdict": Verdict(status="passed", by="qa", evidence="https://ci.example.org/1")}
    )
    building.meanwhile(building.after.model_copy(update={"builds": (voted,)}))

    recording = building.record()

    assert not recording.superseded
    lock = building.hand.lock()
    assert lock is not None
    assert lock.builds[0].verdict == voted.verdict, "what came of it meanwhile stays"


def test_what_was_built_on_an_older_source_turns_no_pin_back(building: Building, a_pin: Make) -> None:
    source = building.after.source
    assert source is not None
    newer = source.model_copy(update={"pinned": a_pin("ami-0ee55ff66aa77bb88")})
    building.meanwhile(Lockfile(image="web", source=newer))

    recording = building.record()

    assert recording.superseded
    assert "another run pinned" in recording.why


def test_the_record_of_what_could_not_be_pushed_is_kept_for_a_person(building: Building) -> None:
    def refuse(_regenerate: Callable[[Tree], Commit | None]) -> Recorded:
        raise Terminal("the branch is protected", hint="let CI push")

    building.hand.recorder.record = refuse  # type: ignore[method-assign,assignment] # a branch that takes nothing

    with pytest.raises(Terminal) as refused:
        building.record()

    assert read_unsaved(building.root, "web") == building.build
    assert refused.value.hint[0] == "the builds are kept and will be adopted, nothing is lost"
    assert refused.value.hint[1] == "let CI push"


def test_of_what_was_taken_over_no_record_is_kept_that_nobody_would_find(building: Building, built: Make) -> None:
    def refuse(_regenerate: Callable[[Tree], Commit | None]) -> Recorded:
        raise Terminal("the branch is protected")

    building.hand.recorder.record = refuse  # type: ignore[method-assign,assignment] # as above
    taken = building.build.model_copy(update={"adopted": TakenAsFound(at="2026-11-22T10:15:30Z")})

    with pytest.raises(Terminal) as refused:
        building.record(taken)

    assert read_unsaved(building.root, "web") is None
    assert refused.value.hint == ("nothing was recorded of it: run it again once the branch takes pushes",)


def test_a_failure_is_not_recorded_over_what_succeeded_meanwhile(building: Building) -> None:
    failure = Failure(
        build=building.build.id, key=building.build.key, at="2026-11-22T10:15:30Z", what="it broke", attempts=1,
        retry_after="2026-11-22T10:30:30Z",
    )  # fmt: skip
    other = building.build.model_copy(update={"id": "20301122T101530Z-1a2b3c4", "phase": "stable"})
    building.meanwhile(building.after.model_copy(update={"builds": (other,), "channels": Channels(stable=other.id)}))

    recording = record_failure(building.hand.run, building.situation.image, failure, building.decision)

    assert recording.superseded
    lock = building.hand.lock()
    assert lock is not None
    assert lock.failure is None


@pytest.mark.parametrize("made", [True, False])
def test_what_is_to_be_taken_up_gets_its_tag_as_the_build_that_it_is(building: Building, *, made: bool) -> None:
    failure = Failure(
        build=building.build.id, key=building.build.key, at="2026-11-22T10:15:30Z", what="not marked", attempts=1,
        retry_after="2026-11-22T10:30:30Z", made=building.build if made else None,
    )  # fmt: skip

    record_failure(building.hand.run, building.situation.image, failure, building.decision)

    (commit,) = building.hand.recorder.commits
    assert len(commit.tags) == (0 if made else 1)


def test_a_copy_of_a_build_that_is_recorded_no_more_is_no_change(building: Building, built: Make) -> None:
    lock: Lockfile = built().lock
    decision = replace(building.decision, lock=lock)
    building.meanwhile(Lockfile(image="web"))

    recording = record_change(building.hand.run, decision, building.situation.image, added=lock.builds[0].artifacts)

    assert recording.superseded
    assert building.hand.lock() == Lockfile(image="web")


def test_an_image_that_is_declared_no_more_loses_its_lockfile(building: Building, built: Make) -> None:
    lock: Lockfile = built().lock
    hand = in_hand(building.hand.run.known, building.root, [lock])

    record_change(hand.run, replace(building.decision, lock=lock), None)

    assert hand.lock() is None


def test_an_artifact_is_in_one_lockfile(building: Building) -> None:
    of_another = building.after.model_copy(update={"image": "base"})
    tree = MemoryTree({path_of("base"): render(of_another)})

    found = recorded_elsewhere(tree, building.build, image="web")

    assert found is not None
    (artifact,) = building.build.artifacts
    assert found.why == f"{artifact.id} in us-east-1 is {building.build.id} of base"
    assert recorded_elsewhere(tree, building.build, image="base") is None
    assert recorded_elsewhere(MemoryTree(), building.build, image="web") is None


def test_a_build_of_the_same_key_that_was_there_before_is_not_another_runs(building: Building) -> None:
    key = building.build.key
    assert recorded_by_others(building.after, key, before=building.after) is None
    assert recorded_by_others(building.after, "sha256:0", before=Lockfile(image="web")) is None
    others = recorded_by_others(building.after, key, before=Lockfile(image="web"))
    assert others is not None
    assert others.instead == building.after.builds[0]
    assert recorded_by_others(building.after, key, before=Lockfile(image="web"), mine=building.build) is None


@pytest.mark.parametrize("left", [False, True], ids=["recorded still", "going away"])
def test_stable_comes_back_to_a_build_that_stood_and_that_is_dated(
    building: Building, built: Make, what_is_known: Make, *, left: bool
) -> None:
    stood = building.after.builds[0].model_copy(update={"phase": "superseded", "was_stable": True})
    newer = stood.model_copy(update={"id": "20301122T101530Z-9a2b3c4", "key": f"sha256:{'9' * 64}", "phase": "stable"})
    lock = building.after.model_copy(
        update={
            "builds": (newer,) if left else (newer, stood),
            "leaving": (Leaving(build=stood, deprecated="2026-11-22T10:00:00Z"),) if left else (),
            "channels": Channels(candidate=newer.id, stable=newer.id),
        }
    )
    hand = in_hand(building.hand.run.known, building.root, [lock])
    decision = replace(building.decision, lock=lock)

    record_build(hand.run, building.situation.image, stood, decision=decision, verb="adopt", contents=Contents())

    now = hand.lock()
    assert now is not None
    assert now.channels.stable == stood.id
    again = now.build(stood.id)
    assert again is not None
    assert again.returned == format_instant(hand.run.now())
