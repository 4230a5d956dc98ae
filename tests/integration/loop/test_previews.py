"""A pull request builds what it would change and commits nothing; the merge promotes those very artifacts."""

from __future__ import annotations

import pytest

from reconciler.model.values import format_instant
from tests.integration.loop.effects import Effects, Killed, surround
from tests.integration.loop.pull_request import BRANCH, merge, on_branch
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import World, git, statuses


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


def test_a_copy_that_says_it_is_of_the_future_is_not_adopted_before_what_the_preview_built(pair: World) -> None:
    branch = on_branch(pair)
    branch.preview(BRANCH)
    built = {request.image.name: request.build_id for request in branch.builder.requests}
    merge(pair)
    pair.clock.advance(hours=1)
    # Given that whoever may make AMIs has copied something, with the tags of the real build and a later id.
    (real,) = (one for one in pair.artifacts("web") if one.own("build") == built["web"])
    forged = {**real.tags, "reconciler:build": "20990101T000000Z-0000000", "reconciler:phase": "stable"}
    made = format_instant(pair.clock.moment)
    pair.registry.seed(real.location, "web-20990101T000000Z-0000000", tags=forged, created=made)

    assert statuses(pair.controller().reconcile()) == {"base": "adopted", "web": "adopted"}

    assert pair.lock("web").channels.stable == built["web"]


@pytest.mark.long
@pytest.mark.parametrize("number", range(14))
def test_a_preview_that_was_killed_is_taken_up_by_the_next(pair: World, number: int) -> None:
    branch = on_branch(pair)
    with pytest.raises(Killed):
        surround(branch, Effects(die_at=number, when="after").around).preview(BRANCH)
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
    assert len(effects.done) == 14, effects.done
