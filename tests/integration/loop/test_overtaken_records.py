"""What was decided on a branch that has moved on since is not written over what it holds by now."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Undelivered, Verdict, Verified
from reconciler.model.plan import Decision, PlanOptions
from reconciler.model.values import format_instant
from reconciler.steps.observe import find_target
from reconciler.steps.record import record_change, record_verified
from reconciler.steps.record_rulings import record_undelivered, record_verdict
from reconciler.steps.run import Request, Run
from tests.integration.loop.adapters import WorldAdapters
from tests.integration.loop.world import ON_BASE, RUN_ID, Controller, World, no_image_files

PASSED = Verdict(status="passed", by="validation", evidence="https://ci.example.org/7")
FAILED = Verdict(status="failed", by="a person", evidence="https://ci.example.org/8")


@dataclass
class Looked:
    """A run that has looked at web, and not yet recorded anything of it."""

    run: Run
    decision: Decision
    image: Image
    kept: Build


def looked(controller: Controller) -> Looked:
    known, planned = controller.look()
    decision = next(one for one in planned.decisions if one.name == "web")
    assert decision.image is not None
    assert decision.lock.kept is not None
    adapters = WorldAdapters(controller)
    run = Run(
        adapters=adapters,
        request=Request(RUN_ID, PlanOptions()),
        known=known,
        target=find_target(adapters.repository),
        registry=controller.world.registry,
        recorder=adapters.recorder(known),
        listener=controller.hear,
    )
    return Looked(run, decision, decision.image, decision.lock.kept)


def prune_web(world: World) -> None:
    world.commit(no_image_files("web"))
    world.controller("other").reconcile(prune=True)
    assert "web" not in world.recorded()


def test_what_changed_about_a_build_that_was_pruned_meanwhile_is_not_recorded(pair: World) -> None:
    # Given a run that has looked, and another that prunes what it looked at.
    here = looked(pair.controller())
    prune_web(pair)
    head = pair.head()

    recording = record_change(here.run, here.decision, here.image)

    assert (recording.superseded, recording.commit, pair.head()) == (True, None, head)
    assert recording.why.startswith(f"{here.kept.id} is not recorded any more at ")
    assert "web" not in pair.recorded()


def test_what_is_declared_otherwise_by_now_is_the_next_runs_to_carry_out(pair: World) -> None:
    # Given a candidate that needs no verdict any more, and a run that is about to promote it.
    validated = f"{ON_BASE}validation: {{required: true}}\n"
    pair.commit({"desired/web/image.yaml": validated, "desired/web/setup.sh": "echo more\n"})
    pair.controller().reconcile()
    before = pair.lock("web").channels
    assert before.candidate != before.stable
    pair.commit({"desired/web/image.yaml": ON_BASE})
    here = looked(pair.controller())
    assert here.decision.planned.actions == ("promote",)
    # When somebody asks for a verdict once more.
    pair.commit({"desired/web/image.yaml": validated})

    record_change(here.run, here.decision, here.image)

    assert pair.lock("web").channels == before


def test_a_verdict_on_a_build_that_was_pruned_meanwhile_is_not_recorded(pair: World) -> None:
    here = looked(pair.controller())
    prune_web(pair)
    head, tags = pair.head(), pair.tags()

    recording = record_verdict(here.run, here.image, here.kept.id, PASSED)

    assert (recording.superseded, recording.tags) == (True, ())
    assert recording.why.startswith(f"{here.kept.id} is not recorded any more at ")
    assert (pair.head(), pair.tags()) == (head, tags)


def test_news_of_an_image_that_was_pruned_meanwhile_make_no_lockfile(pair: World) -> None:
    here = looked(pair.controller())
    prune_web(pair)
    missed = Undelivered(event="stable", build=here.kept.id, to="hook", why="it is down")

    recording = record_undelivered(here.run, here.image, (missed,))

    assert recording.superseded
    assert "web" not in pair.recorded()


def test_a_verdict_that_two_runs_saw_is_one_commit_and_one_tag(pair: World) -> None:
    first, second = looked(pair.controller("one")), looked(pair.controller("two"))
    record_verdict(first.run, first.image, first.kept.id, PASSED)
    head, tags = pair.head(), pair.tags()
    assert f"verdict/web/{first.kept.id}" in tags

    record_verdict(second.run, second.image, second.kept.id, PASSED)
    # And one more that knows of it already.
    third = looked(pair.controller("three"))
    record_verdict(third.run, third.image, third.kept.id, PASSED)

    assert (pair.head(), pair.tags()) == (head, tags)


def test_a_failure_that_another_run_recorded_meanwhile_stands_before_a_pass(pair: World) -> None:
    late = looked(pair.controller("late"))
    first = looked(pair.controller("one"))
    record_verdict(first.run, first.image, first.kept.id, FAILED)

    recording = record_verdict(late.run, late.image, late.kept.id, PASSED)

    assert recording.why == f"another run recorded a verdict on {late.kept.id}, which stands"
    build = pair.lock("web").build(late.kept.id)
    assert build is not None
    assert build.verdict == FAILED


def verified(here: Looked, build_id: str) -> Verified:
    return Verified(at=format_instant(here.run.now()), build=build_id, key=here.kept.key, source=here.kept.source)


def test_what_was_verified_and_built_anew_meanwhile_is_not_recorded(pair: World) -> None:
    here = looked(pair.controller())
    pair.controller("other").reconcile(force=("web",))
    before, head = pair.lock("web"), pair.head()
    assert before.builds[0].id != here.kept.id

    recording = record_verified(
        here.run, here.image, kept=here.kept, verified=verified(here, here.kept.id), build=here.kept
    )

    assert recording.superseded
    assert recording.why.startswith(f"{here.kept.id} is not the newest build any more at ")
    assert (pair.lock("web"), pair.head()) == (before, head)


def test_what_two_runs_verified_is_recorded_once(pair: World) -> None:
    first, second = looked(pair.controller("one")), looked(pair.controller("two"))
    for here in (first, second):
        again = here.kept.model_copy(update={"id": f"20261123T00000{len(pair.tags()) % 10}Z-1a2b3c4"})
        recording = record_verified(
            here.run, here.image, kept=here.kept, verified=verified(here, again.id), build=again
        )

    assert recording.superseded
    assert recording.why == f"another run verified {second.kept.id} in the meantime"
