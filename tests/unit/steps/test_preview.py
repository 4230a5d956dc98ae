"""What a preview stands on, and where its tags stand. What it does is in tests/integration/loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.model import events
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Lockfile
from reconciler.model.source import Pin
from reconciler.plan.diff import decide
from reconciler.plan.key import wanted as want
from reconciler.plan.planning import make_plan
from reconciler.steps.preview import Tails, _on_commit, _on_the_preview_of, for_preview, preview_image
from reconciler.steps.run import Result, Run

Make = Callable[..., Any]
HEAD, ELSEWHERE = "a" * 40, "b" * 40


def a_run(*commits: str) -> Run:
    """A run on a clone that has these commits; whatever else is asked of it fails."""
    repository = SimpleNamespace(has=lambda commit: commit in commits)
    return cast("Run", SimpleNamespace(repository=repository, known=SimpleNamespace(head=HEAD)))


class TestTag:
    def test_it_stands_on_the_commit_that_was_built_also_by_another_branch(self) -> None:
        assert _on_commit(a_run(HEAD, ELSEWHERE), "image/web/1", "said", commit=ELSEWHERE).target == ELSEWHERE

    def test_it_stands_on_the_head_where_the_clone_has_no_such_commit(self) -> None:
        assert _on_commit(a_run(HEAD), "image/web/1", "said", commit=ELSEWHERE).target == HEAD

    def test_it_stands_on_the_head_where_nothing_was_built(self) -> None:
        assert _on_commit(a_run(HEAD), "image/web/1", "said").target == HEAD


def the_child(an_image: Make) -> Any:
    return an_image("web", source={"image": "base"})


def test_a_child_of_what_came_to_no_build_stands_on_what_was_planned(an_image: Make, a_pin: Make) -> None:
    child = the_child(an_image)
    wanted = want(child, a_pin())

    for parents in ({}, {"base": Result("base", "changed", Lockfile(image="base"))}):
        assert _on_the_preview_of(child, wanted, parents) == wanted


def test_a_child_stands_on_what_was_built_of_its_parent(an_image: Make, built: Make, a_pin: Make) -> None:
    child = the_child(an_image)
    after = built(an_image("base"))
    parent = Result("base", "built", after.lock, build=after.lock.builds[0])

    on = _on_the_preview_of(child, want(child, a_pin()), {"base": parent})

    assert on.pin == after.lock.builds[0].as_pin("base")
    assert on.key == want(child, on.pin).key


@pytest.mark.parametrize("missing", ["wanted", "image"])
def test_what_has_no_source_is_not_previewed(a_situation: Make, missing: str) -> None:
    changes: dict[str, Any] = {missing: None}
    decision = replace(decide(a_situation()), **changes)

    with pytest.raises(Terminal, match="web can't be previewed: its source is not known"):
        preview_image(a_run(), decision, {})


def test_what_was_found_for_another_parent_is_not_taken_and_is_looked_for_anew(
    an_image: Make, built: Make, a_pin: Make
) -> None:
    # Given a child that was found under the key that was planned, and whose parent came out under another one.
    child = the_child(an_image)
    planned = built(child, pin=Pin(image="base", build="20261101T000000Z-1a2b3c4", key=f"sha256:{'1' * 64}"))
    decision = decide(replace(planned, lock=Lockfile(image="web")))
    assert decision.adopt
    after = built(an_image("base"))
    parent = Result("base", "built", after.lock, build=after.lock.builds[0])

    def observe(regions: Sequence[str]) -> None:
        raise Transient(f"looked in {', '.join(regions)}")

    run = cast("Run", SimpleNamespace(registry=SimpleNamespace(observe=observe)))

    with pytest.raises(Transient, match="looked in us-east-1"):
        preview_image(run, decision, {"base": parent})


def test_a_branch_sets_going_what_it_builds_and_leaves_what_main_changed_with_all_that_is_on_it(
    an_image: Make, what_is_known: Make
) -> None:
    images = [an_image("base"), an_image("web", source={"image": "base"}), an_image("db")]
    planned = make_plan(what_is_known(*images))
    (tagged,) = (one for one in planned.decisions if one.name == "db")
    retagged = replace(tagged, planned=tagged.planned.model_copy(update={"actions": ("retag",)}))
    planned = replace(planned, decisions=(*(one for one in planned.decisions if one is not tagged), retagged))

    def kept(*overtaken: str) -> dict[str, tuple[str, ...]]:
        return {one.name: one.planned.actions for one in for_preview(planned, overtaken=overtaken).decisions}

    assert kept() == {"base": ("build",), "web": ("build",), "db": ("none",)}
    assert kept("base") == {"base": ("none",), "web": ("none",), "db": ("none",)}
    assert kept("web") == {"base": ("build",), "web": ("none",), "db": ("none",)}


def test_the_last_lines_of_what_failed_are_kept_and_every_event_is_passed_on() -> None:
    heard: list[events.Event] = []

    def hear(event: events.Event) -> None:
        heard.append(event)

    tails = Tails(hear)
    told = [
        events.Warned(image="db", what="slow"), events.Failed(image="web", what="it broke", tail=("no nginx",)),
    ]  # fmt: skip

    for event in told:
        tails(event)

    assert (tails.tails, heard) == ({"web": ("no nginx",)}, told)
