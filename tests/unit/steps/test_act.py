"""What is done about an image when its turn comes: what is told of it, and what its parent came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from reconciler.model.lockfile import Lockfile
from reconciler.model.observation import Observation
from reconciler.model.plan import Decision, PlanOptions
from reconciler.model.source import Pin
from reconciler.plan.diff import decide
from reconciler.plan.planning import make_plan
from reconciler.steps import act as module
from reconciler.steps.act import carry_out
from reconciler.steps.artifacts import Conversions
from reconciler.steps.run import Result, Run
from tests.doubles.publisher import MemoryPublisher
from tests.unit.steps.in_hand import in_hand, there

Make = Callable[..., Any]


@pytest.mark.parametrize("former", [True, False])
def test_a_new_name_is_told_once_it_is_recorded(
    built: Make, what_is_known: Make, an_image: Make, tmp_path: Path, *, former: bool
) -> None:
    lock: Lockfile = built(an_image("old" if former else "web")).lock
    image = an_image("web", moved_from="old", regions=("us-east-1", "eu-west-1"))
    hand = in_hand(what_is_known(image), tmp_path, [lock])
    lock = there(hand, lock, image=lock.image)
    hand = replace(hand, run=replace(hand.run, known=replace(hand.run.known, locks={lock.image: lock})))
    seen = Observation(artifacts=tuple(hand.registry.artifacts))
    cast("Any", hand.run.adapters).publisher = lambda _known: MemoryPublisher("acme/images")
    (decision,) = make_plan(replace(hand.run.known, observation=seen)).decisions

    result = carry_out(hand.run, decision, {})

    assert (result.status, result.error) == ("changed", None)
    assert result.commit is not None
    assert [one.what for one in result.did if one.verb == "renamed"] == (["from old"] if former else [])


class Child:
    """A child that was planned on another build of its parent than the one that came out."""

    def __init__(self, built: Make, what_is_known: Make, an_image: Make, root: Path) -> None:
        base = an_image("base")
        self.parent: Lockfile = built(base).lock
        child = an_image("web", source={"image": "base"})
        situation = built(child, pin=self.parent.builds[0].as_pin("base"))
        other = Pin(image="base", build="20261101T000000Z-1a2b3c4", key=f"sha256:{'1' * 64}")
        self.decision: Decision = decide(replace(situation, pin=other))
        known = what_is_known(base, child, now=situation.now)
        self.hand = in_hand(known, root, [self.parent, situation.lock])

    def carried_out(self, status: Any) -> Result:
        parent = Result("base", status, self.parent, build=self.parent.builds[0])
        return carry_out(self.hand.run, self.decision, {"base": parent})


@pytest.fixture
def child(built: Make, what_is_known: Make, an_image: Make, tmp_path: Path) -> Child:
    return Child(built, what_is_known, an_image, tmp_path)


@pytest.mark.parametrize(
    ("parent", "why"),
    [("unchanged", "its parent base came out as it was"), ("superseded", "its parent base changed in the meantime")],
)
def test_a_child_that_has_what_its_parent_came_to_is_left_and_so_are_its_own_where_that_was_kept(
    child: Child, parent: str, why: str
) -> None:
    result = child.carried_out(parent)

    assert (result.status, result.why, result.stands) == (parent, why, parent == "unchanged")


def test_a_child_that_somebody_asked_for_is_built_though_its_parent_came_out_as_it_was(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(child.hand.run.known, options=PlanOptions(force=("web",)))
    child.hand = replace(child.hand, run=replace(child.hand.run, known=known))
    asked: list[Decision] = []

    def build(_run: object, decision: Decision, _wanted: object) -> Result:
        asked.append(decision)
        return Result("web", "built", decision.lock)

    monkeypatch.setattr("reconciler.steps.attempts.build", build)

    assert child.carried_out("unchanged").status == "built"
    assert [reason.code for reason in asked[0].planned.reasons] == ["forced"]


def test_of_what_is_recorded_that_alone_is_converted_which_lacks_a_format_and_is_not_new(
    built: Make, an_image: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation = built(an_image(regions=("us-east-1", "eu-west-1", "eu-west-2")))
    build = situation.lock.builds[0]
    new, lacking, _ = build.artifacts
    image = an_image(formats=("raw",))
    monkeypatch.setattr(type(image), "formats", property(lambda _: ("raw",)))
    handed: list[tuple[str, ...]] = []

    def convert(_run: object, _image: object, _build: object, artifacts: tuple[Any, ...]) -> Conversions:
        handed.append(tuple(one.location for one in artifacts))
        return Conversions()

    monkeypatch.setattr(module, "convert_missing", convert)
    seen = {one.location: one for one in situation.seen}
    decision = replace(decide(situation), convert=(seen[new.location], seen[lacking.location]))

    module._conversions(cast("Run", None), decision, image, build, [new])

    assert handed == [(new.location, lacking.location)]
