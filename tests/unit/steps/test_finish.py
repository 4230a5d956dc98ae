"""What becomes of an artifact that another run promoted while this one tested it: it is theirs by then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from reconciler.model.lockfile import Lockfile
from reconciler.model.observation import Observation
from reconciler.plan.diff import decide
from reconciler.ports.tester import TestRequest
from reconciler.state.lockfiles import path_of, render
from reconciler.steps.finish import finish_adopted
from reconciler.steps.run import Testbed
from tests.doubles.bench import MemoryInstances
from tests.doubles.tester import SimulatedTester
from tests.unit.steps.in_hand import MemoryTree, in_hand, there

Make = Callable[..., Any]


@pytest.mark.parametrize("promoted", [True, False])
def test_what_another_run_promoted_meanwhile_keeps_its_marks(
    built: Make, what_is_known: Make, tmp_path: Path, *, promoted: bool
) -> None:
    # Given an artifact that no lockfile has, found by its marks, whose test takes a while
    situation = built()
    hand = in_hand(what_is_known(situation.image, now=situation.now), tmp_path)
    lock = there(hand, situation.lock, phase="preliminary", commit="9c0d1e2")
    (seen,) = hand.registry.artifacts
    decision = decide(replace(situation, lock=Lockfile(image="web"), seen=(seen,)))
    assert decision.adopt == (seen,)
    voted = {"reconciler:phase": "candidate", "reconciler:verdict": "passed"}

    def meanwhile(_request: TestRequest) -> None:
        if promoted:
            hand.registry.tag(seen, voted)
            theirs = lock.model_copy(
                update={"builds": (lock.builds[0].model_copy(update={"phase": "candidate"}),)}
            )  # fmt: skip
            hand.recorder.tree = MemoryTree({path_of("web"): render(theirs)})

    adapters = cast("Any", hand.run.adapters)
    adapters.testbed = lambda _known: Testbed(MemoryInstances(situation.now), SimulatedTester(during=meanwhile))
    cast("Any", hand.run.repository).export = lambda *_, **__: None
    run = replace(hand.run, known=replace(hand.run.known, observation=Observation(artifacts=(seen,))))

    result = finish_adopted(run, decision, lock.builds[0], image=situation.image)

    assert (result.status, result.error) == ("adopted", None)
    (now,) = hand.registry.artifacts
    assert (now.own("phase"), now.own("verdict")) == (("candidate", "passed") if promoted else ("stable", None))
    assert now.own("smoke") == (None if promoted else "passed"), "whoever promoted it says what it is"
