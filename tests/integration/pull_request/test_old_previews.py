"""What closed and outdated pull requests left is retired after `retain.previews`; what may still be merged is not."""

from __future__ import annotations

import pytest

from reconciler.model.errors import Terminal
from reconciler.model.events import Retired, Warned
from tests.integration.loop.effects import failing, surround
from tests.integration.loop.world import ON_DEBIAN, US, World, image_files, statuses
from tests.integration.pull_request.pulls import PullRequest, assert_nothing_left, main, newest

WEB = {"desired/web/setup.sh": "echo more\n"}


@pytest.fixture
def pull(world: World) -> PullRequest:
    """A pull request with a preview."""
    opened = PullRequest.open(world, WEB)
    opened.preview()
    return opened


def test_the_preview_of_a_branch_that_is_gone_is_retired_once_it_is_old(world: World, pull: PullRequest) -> None:
    pull.delete_branch()
    world.pass_days(6)
    assert_nothing_left(world)
    world.pass_days(2)
    planned = {image.image: image for image in main(world).plan_main().images}["web"]
    assert (planned.sync, planned.actions) == ("drifted", ("retire",))
    assert planned.reasons[0].was == f"{US} {pull.artifacts('web')[0].id} of branch feature/more"
    head = world.head()
    controller = main(world)
    assert statuses(controller.go()) == {"web": "changed"}
    assert len(controller.told(Retired, "web")) == 1
    assert (pull.artifacts("web"), world.head()) == ([], head)
    assert len(world.complete("web")) == 2, "what is recorded stays"
    assert_nothing_left(world)


def test_the_newest_preview_of_a_live_branch_stays_however_old(world: World, pull: PullRequest) -> None:
    world.pass_days(90)
    assert_nothing_left(world)
    assert len(pull.artifacts("web")) == 1


def test_a_preview_that_the_branch_replaced_is_retired_once_it_is_old(world: World, pull: PullRequest) -> None:
    pull.push({"desired/web/setup.sh": "echo even more\n"})
    newer = pull.preview().results[0].build
    assert newer is not None
    world.pass_days(8)
    assert statuses(main(world).go()) == {"web": "changed"}
    assert [one.own("build") for one in pull.artifacts("web")] == [newer.id]
    assert_nothing_left(world)


def test_a_preview_that_another_live_branch_found_stays(world: World, pull: PullRequest) -> None:
    other = PullRequest.open(world, WEB, branch="feature/same")
    assert statuses(other.preview()) == {"web": "adopted"}
    pull.delete_branch()
    world.pass_days(8)
    assert_nothing_left(world)
    other.delete_branch()
    assert statuses(main(world).go()) == {"web": "changed"}
    assert pull.artifacts("web") == []


def test_nothing_is_retired_while_the_remote_does_not_tell_its_branches(world: World, pull: PullRequest) -> None:
    pull.delete_branch()
    world.pass_days(8)
    controller = main(world)
    controller.answers = lambda: None
    assert controller.go().results == ()
    assert len(pull.artifacts("web")) == 1


def test_the_remote_is_not_asked_for_its_branches_as_long_as_nothing_is_old(world: World, pull: PullRequest) -> None:
    controller = main(world)
    controller.answers = lambda: pytest.fail("asked")
    controller.go()
    assert len(pull.artifacts("web")) == 1


def test_a_new_image_that_no_merge_ever_brought_is_retired_too(world: World) -> None:
    pull = PullRequest.open(world, image_files("db", ON_DEBIAN))
    pull.preview()
    pull.delete_branch()
    world.pass_days(8)
    head = world.head()
    assert statuses(main(world).go()) == {"db": "changed"}
    assert (world.artifacts("db"), world.head(), "db" in world.recorded()) == ([], head, False)
    assert_nothing_left(world)


def test_what_can_not_be_retired_holds_up_nothing(world: World, pull: PullRequest) -> None:
    pull.delete_branch()
    world.pass_days(8)
    world.commit({"desired/web/setup.sh": "echo other\n"})
    controller = main(world)
    surround(controller, failing(f"retire {US}", Terminal("not allowed: ec2:DeregisterImage")))
    assert statuses(controller.go()) == {"web": "built"}
    (old,) = (one for one in pull.artifacts("web") if one.own("phase") == "preliminary")
    assert [event.what for event in controller.told(Warned, "web") if isinstance(event, Warned)] == [
        f"{old.id} in {US}, which nobody needs, stays: not allowed: ec2:DeregisterImage"
    ]
    codes = [reason.code for reason in newest(world, "web").reasons]
    assert codes == ["inputs-changed"], "what the previews were is no reason of the build"
    assert statuses(main(world).go()) == {"web": "changed"}
    assert_nothing_left(world)
