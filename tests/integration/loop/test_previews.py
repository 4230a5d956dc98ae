"""A pull request builds what it would change and commits nothing; the merge promotes those very artifacts."""

from __future__ import annotations

import pytest

from tests.integration.loop.effects import Effects, Killed, When, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import Controller, World, git, statuses

BRANCH = "feature/more"


def on_branch(world: World) -> Controller:
    """A clone on a branch that changes both images, pushed as for a pull request."""
    world.controller("pull-request")
    git(world.root / "pull-request", "switch", "--quiet", "--create", BRANCH)
    changes = {f"desired/{image}/setup.sh": "echo more\n" for image in ("base", "web")}
    world.commit(changes, "More", push=False, where="pull-request")
    git(world.root / "pull-request", "push", "--quiet", "origin", BRANCH)
    return world.controller("pull-request")


def merge(world: World) -> str:
    """The pull request is merged as one squashed commit."""
    person = world.root / "person"
    git(person, "fetch", "--quiet", "origin")
    git(person, "merge", "--quiet", "--squash", f"origin/{BRANCH}")
    return world.commit({}, "More (#7)")


def test_a_preview_records_in_tags_alone_and_moves_no_branch(pair: World) -> None:
    branch = on_branch(pair)
    branches = git(pair.origin, "for-each-ref", "refs/heads")
    assert statuses(branch.preview(BRANCH)) == {"base": "built", "web": "built"}
    assert git(pair.origin, "for-each-ref", "refs/heads") == branches
    assert {one.own("branch") for one in pair.artifacts("web") if one.own("phase") == "preliminary"} == {BRANCH}
    pair.clock.advance(hours=1)
    again = pair.controller("pull-request")
    assert statuses(again.preview(BRANCH)) == {"base": "adopted", "web": "adopted"}
    assert again.built == []


def test_main_is_not_touched_by_what_a_preview_left(pair: World) -> None:
    on_branch(pair).preview(BRANCH)
    pair.clock.advance(hours=1)
    assert_settled(pair, since=pair.head())


def test_the_merge_promotes_what_the_preview_built(pair: World) -> None:
    branch = on_branch(pair)
    branch.preview(BRANCH)
    built = {request.image.name: request.build_id for request in branch.builder.requests}
    head = merge(pair)
    pair.clock.advance(hours=1)
    after = pair.controller()
    assert statuses(after.reconcile()) == {"base": "adopted", "web": "adopted"}
    assert after.built == []
    assert {image: pair.lock(image).channels.stable for image in ("base", "web")} == built
    assert_settled(pair, since=head)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(6))
def test_a_preview_that_was_killed_is_taken_up_by_the_next(pair: World, number: int, when: When) -> None:
    branch = on_branch(pair)
    with pytest.raises(Killed):
        surround(branch, Effects(die_at=number, when=when).around).preview(BRANCH)
    pair.clock.advance(hours=1)
    assert pair.controller("pull-request").preview(BRANCH).exit_code == 0
    head = merge(pair)
    after = pair.controller()
    assert statuses(after.reconcile()) == {"base": "adopted", "web": "adopted"}
    assert after.built == []
    assert_settled(pair, since=head)


def test_the_previews_effects_are_all_in_the_matrix(pair: World) -> None:
    effects = Effects()
    surround(on_branch(pair), effects.around).preview(BRANCH)
    assert len(effects.done) == 6, effects.done
