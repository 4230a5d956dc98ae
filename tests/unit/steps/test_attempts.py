"""What becomes of an attempt that failed: who stays to be looked at, what is counted, and what is tried once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from reconciler.model import events
from reconciler.model.errors import Transient
from reconciler.model.lockfile import Build, Failure, Lockfile
from reconciler.model.plan import Decision
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.plan.diff import decide
from reconciler.plan.timing import declared
from reconciler.ports.builder import BuildFailed, Cause
from reconciler.ports.tester import Tested
from reconciler.steps import attempts
from reconciler.steps.run import Branch
from reconciler.steps.settle import Left
from reconciler.steps.smoke_test import SmokeTestFailed
from tests.unit.steps.in_hand import InHand, in_hand

Make = Callable[..., Any]
ID = "20261122T101530Z-1a2b3c4"
LOG = Path("web.log")


def failing(cause: Cause = "failed", **more: Any) -> BuildFailed:
    return BuildFailed("the script ended with 1", cause=cause, seconds=12, log=LOG, **more)


class World:
    """An image that is to be built, and one build of it that there is."""

    def __init__(self, a_situation: Make, built: Make, what_is_known: Make, root: Path) -> None:
        self.decision: Decision = decide(a_situation())
        image = self.decision.image
        assert image is not None
        self.image = image
        self.build: Build = built().lock.builds[0]
        self.hand: InHand = in_hand(what_is_known(image), root)

    def failed_test(self, **build: Any) -> SmokeTestFailed:
        result = SmokeTestResult(status="failed", tests=3, seconds=9, why="no nginx")
        return SmokeTestFailed(self.build.model_copy(update=build), Tested(result, None, LOG, ("no nginx",)))


@pytest.fixture
def world(a_situation: Make, built: Make, what_is_known: Make, tmp_path: Path) -> World:
    return World(a_situation, built, what_is_known, tmp_path)


def test_what_did_not_pass_its_test_stays_to_be_looked_at(world: World) -> None:
    left = attempts.left_by(world.hand.run, world.image, world.failed_test(), build_id=ID)

    assert (left.stays, left.told, left.made) == (world.build.artifacts, (), None)


def test_what_could_not_be_marked_is_kept_for_the_next_run_and_not_for_a_preview(world: World) -> None:
    unmarked = failing("unmarked", artifacts=world.build.artifacts, made=world.build)

    left = attempts.left_by(world.hand.run, world.image, unmarked, build_id=ID)
    of_preview = attempts.left_by(
        replace(world.hand.run, branch=Branch("feature")), world.image, unmarked, build_id=ID
    )  # fmt: skip

    assert (left.stays, left.made) == (world.build.artifacts, world.build)
    assert left.told == ("it is kept: the next run marks it, and goes on from there",)
    assert of_preview.made is None, "no lockfile tells the next preview of it"


@pytest.mark.parametrize(("first", "number"), [(False, 3), (True, 1)])
def test_a_failure_counts_those_before_it_but_on_a_pull_request(world: World, *, first: bool, number: int) -> None:
    earlier = Failure(
        build=ID, key="sha256:1", at="2026-11-22T09:00:00Z", what="it broke", attempts=2,
        retry_after="2026-11-22T09:30:00Z", inputs=world.decision.wanted and world.decision.wanted.inputs,
    )  # fmt: skip
    wanted = world.decision.wanted
    assert wanted is not None
    lock = Lockfile(image="web", failure=earlier.model_copy(update={"key": wanted.key}))
    decision = replace(world.decision, lock=lock)

    failure = attempts.failure_of(
        world.hand.run, decision, failing(), build_id=ID, key=wanted.key, left=Left(), first=first
    )  # fmt: skip

    assert (failure.attempts, failure.what) == (number, "the script ended with 1")
    assert failure.smoke_test is None
    assert failure.declared == declared(world.image), "what is declared otherwise since gets a fresh try"


def test_a_failed_test_is_recorded_with_its_result_and_with_what_stays(world: World) -> None:
    failed = world.failed_test()
    left = Left(stays=failed.build.artifacts)

    failure = attempts.failure_of(
        world.hand.run, world.decision, failed, build_id=ID, key=world.build.key, left=left
    )  # fmt: skip

    assert (failure.smoke_test, failure.artifacts) == (failed.result, failed.build.artifacts)


@pytest.mark.parametrize(("seconds", "told"), [(412, 412), (None, 0)])
def test_how_long_packer_was_at_it_is_told_of_a_failed_test_too(world: World, seconds: int | None, told: int) -> None:
    assert attempts.seconds_of(world.failed_test(seconds=seconds)) == told
    assert attempts.seconds_of(failing()) == 12


@pytest.mark.parametrize("recorded", [True, False])
def test_what_is_recorded_keeps_its_phase_when_it_fails_once_more(world: World, *, recorded: bool) -> None:
    seen = world.hand.registry.seed("us-east-1", "web", tags={"reconciler:phase": "stable"})
    artifact = seen.as_artifact("amazon-ebs.web")
    failed = world.failed_test(artifacts=(artifact,))
    lock = Lockfile(image="web", builds=(failed.build,) if recorded else ())

    attempts.reject(world.hand.run, failed, lock=lock)

    (now,) = world.hand.registry.artifacts
    assert (now.own("phase"), now.own("smoke")) == ("stable" if recorded else "rejected", "failed")


def test_a_build_that_failed_leaves_nothing_to_be_marked(world: World) -> None:
    attempts.reject(world.hand.run, failing(artifacts=world.build.artifacts), lock=Lockfile(image="web"))
    assert world.hand.registry.calls["tag"] == 0


def test_what_somebody_stopped_is_no_failure_and_nothing_is_recorded(world: World) -> None:
    result = attempts.uncounted(world.hand.run, world.decision, failing("cancelled"), build_id=ID)

    assert (result.status, result.lock) == ("interrupted", world.decision.lock)
    assert world.hand.told(events.Failed) == []
    assert world.hand.recorder.commits == []


@pytest.mark.parametrize("cause", get_args(Cause))
def test_a_failure_counts_as_the_images_where_what_builds_it_can_be_reached_and_not_else(
    world: World, cause: Cause
) -> None:
    reached = failing(cause)
    counts = attempts.is_of_the_image(world.hand.run, world.image, reached)
    world.hand.registry.unreadable[world.image.build_location] = "it can't be reached"
    out_of_reach = failing(cause)

    still = attempts.is_of_the_image(world.hand.run, world.image, out_of_reach)

    assert (counts, reached.hint) == (reached.counts, ())
    if cause in ("failed", "timed-out"):
        assert (still, out_of_reach.hint) == (False, ("us-east-1 can't be read by now: it can't be reached",))
    else:
        assert (still, out_of_reach.hint) == (out_of_reach.counts, ())


def test_what_this_machine_lacks_is_told_as_no_fault_of_the_image(world: World) -> None:
    result = attempts.uncounted(world.hand.run, world.decision, failing("machine", hint="free some room"), build_id=ID)

    assert result.status == "failed"
    (told,) = world.hand.told(events.Failed)
    assert told.notes == ("free some room", "this is no failure of the image: the next run tries it again")
    assert world.hand.recorder.commits == []


class TestNameTaken:
    """A template that always gives the same name: one of ours that nobody will get is moved out of its way."""

    def frees(self, world: World, *ids: str, lock: Lockfile | None = None) -> tuple[bool, BuildFailed]:
        failed = failing(name_taken=("web", ids))
        decision = replace(world.decision, lock=lock or Lockfile(image="web"))
        return attempts._frees_the_name(world.hand.run, decision, failed), failed

    def test_what_did_not_pass_its_test_gives_the_name_free(self, world: World) -> None:
        refused = {"phase": "rejected", "smoke": "failed", "fleet": "acme/images", "image": "web", "build": ID}
        tags = {f"reconciler:{name}": value for name, value in refused.items()}
        seen = world.hand.registry.seed("us-east-1", "web", tags=tags)

        freed, _ = self.frees(world, seen.id)

        assert freed
        assert world.hand.registry.artifacts == ()
        assert [one.artifact for one in world.hand.told(events.Retired)] == [seen.id]

    @pytest.mark.parametrize("marks", [{}, {"phase": "rejected"}, {"phase": "stable", "smoke": "failed"}])
    def test_whatever_else_has_it_may_be_in_use_and_stays(self, world: World, marks: dict[str, str]) -> None:
        seen = world.hand.registry.seed("us-east-1", "web", tags={f"reconciler:{k}": v for k, v in marks.items()})

        freed, failed = self.frees(world, seen.id)

        assert not freed
        assert world.hand.registry.artifacts == (seen,)
        assert "`image_name`" in failed.hint[-1]

    def test_what_state_records_stays_whatever_its_marks_say(self, world: World) -> None:
        tags = {"reconciler:phase": "rejected", "reconciler:smoke": "failed"}
        seen = world.hand.registry.seed("us-east-1", "web", tags=tags)
        recorded = world.build.model_copy(update={"artifacts": (seen.as_artifact("amazon-ebs.web"),)})

        freed, _ = self.frees(world, seen.id, lock=Lockfile(image="web", builds=(recorded,)))

        assert not freed
        assert world.hand.registry.artifacts == (seen,)

    def test_nothing_is_free_where_nobody_is_found_or_the_registry_is_silent(self, world: World) -> None:
        assert not self.frees(world, "ami-gone")[0]
        world.hand.registry.unreadable["us-east-1"] = "throttled"
        freed, failed = self.frees(world, "ami-gone")
        assert not freed
        assert failed.hint[-1].startswith("what has it could not be retired: ")


def test_the_same_failure_to_mark_is_recorded_once(world: World) -> None:
    wanted = world.decision.wanted
    assert wanted is not None
    unmarked = failing("unmarked", made=world.build)
    resting = attempts.failure_of(
        world.hand.run, world.decision, unmarked, build_id=ID, key=wanted.key, left=Left(made=world.build)
    )  # fmt: skip
    lock = Lockfile(image="web", failure=resting)

    def is_recorded(cause: Literal["unmarked", "failed"], at: Lockfile) -> bool:
        decision = replace(world.decision, lock=at)
        return attempts._is_recorded_already(world.hand.run, decision, failing(cause), wanted=wanted)

    assert is_recorded("unmarked", lock)
    assert not is_recorded("failed", lock)
    assert not is_recorded("unmarked", Lockfile(image="web"))


def test_an_artifact_that_is_not_marked_as_rejected_is_said_and_fails_nothing_else(world: World) -> None:
    failed = world.failed_test()

    def refuse(*_: object) -> None:
        raise Transient("throttled")

    world.hand.registry.tag = refuse  # type: ignore[method-assign,assignment] # a registry that answers nothing else
    result = attempts.failed_attempt(
        world.hand.run, world.image, world.decision, failed, build_id=failed.build.id, key=failed.build.key
    )  # fmt: skip

    assert (result.status, result.tested) == ("failed", failed.result)
    (warned,) = world.hand.told(events.Warned)
    assert warned.what == "what failed is not tagged as rejected, so the next run tests it again: throttled"
    lock = world.hand.lock()
    assert lock is not None
    assert lock.failure is not None
    assert lock.failure.build == failed.build.id
