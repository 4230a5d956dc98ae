"""A preview builds what its branch would change, once, and moves nobody's branch."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.model.errors import Terminal
from reconciler.model.events import Failed, Skipped
from reconciler.ports.builder import BuildFailed
from tests.integration.loop.effects import failing, in_the_middle, surround
from tests.integration.loop.world import EU, ON_BASE, ON_DEBIAN, TEMPLATE, US, World, git, image_files, statuses
from tests.integration.pull_request.pulls import NUMBER, PullRequest, assert_nothing_left, main, newest

WEB = {"desired/web/setup.sh": "echo more\n"}
BASE = {"desired/base/setup.sh": "echo more\n"}
FAILURE = BuildFailed("setup.sh ended with 1", cause="failed", seconds=1, log=Path("build.log"), hint="mend it")


def branches(world: World) -> str:
    return git(world.origin, "for-each-ref", "refs/heads")


def test_it_tags_the_branchs_head_and_the_artifact_and_moves_no_branch(world: World) -> None:
    pull = PullRequest.open(world, WEB)
    before = branches(world)
    report = pull.preview()
    assert statuses(report) == {"web": "built"}
    assert branches(world) == before
    (artifact,) = pull.artifacts("web")
    assert (artifact.location, artifact.own("pull-request"), artifact.own("commit")) == (US, str(NUMBER), pull.head)
    name = f"image/web/{artifact.own('build')}"
    assert git(world.origin, "rev-parse", f"{name}^{{commit}}") == pull.head
    said = git(world.origin, "for-each-ref", "--format=%(contents)", f"refs/tags/{name}")
    assert "status: built" in said
    assert f"artifact: ami {US} {artifact.id}" in said
    assert f'"commit": "{pull.head}"' in said
    assert_nothing_left(world)


def test_pushing_the_same_content_again_by_force_builds_nothing_anew(world: World) -> None:
    pull = PullRequest.open(world, WEB)
    pull.preview()
    pull.push({"README.md": "unrelated\n"}, amend=True)
    assert statuses(pull.preview()) == {"web": "adopted"}
    assert len(pull.artifacts("web")) == 1


def test_the_children_of_what_changed_are_built_on_it_and_nothing_else_is(world: World) -> None:
    world.commit(image_files("db", ON_DEBIAN))
    main(world).go()
    pull = PullRequest.open(world, BASE)
    assert statuses(pull.preview()) == {"base": "built", "web": "built"}
    assert pull.artifacts("web")[0].own("source") == f"base@{pull.artifacts('base')[0].own('build')}"


def test_a_parent_is_brought_to_where_its_child_is_built_and_only_there(world: World) -> None:
    elsewhere = {
        "desired/web/image.yaml": f"{ON_BASE}regions: [{EU}]\n",
        "desired/web/image.pkr.hcl": TEMPLATE.replace(US, EU),
    }
    pull = PullRequest.open(world, {**BASE, **elsewhere})
    assert statuses(pull.preview()) == {"base": "built", "web": "built"}
    assert {one.location for one in pull.artifacts("base")} == {US, EU}
    assert {one.location for one in pull.artifacts("web")} == {EU}


def test_a_branch_that_lags_behind_main_does_not_turn_back_what_main_changed(world: World) -> None:
    pull = PullRequest.open(world, image_files("db", ON_DEBIAN))
    world.commit({**WEB, **image_files("api", ON_BASE)})
    assert statuses(main(world).go()) == {"web": "built", "api": "built"}
    assert statuses(pull.preview()) == {"db": "built"}


def test_what_main_changed_and_has_not_built_yet_is_not_built_from_a_branch_without_it(world: World) -> None:
    """The branch's commit holds the older files: an artifact of these must not be tagged with the newer key."""
    pull = PullRequest.open(world, {"README.md": "hello\n"})
    world.commit(BASE)
    job = pull.job()
    assert job.preview_branch().results == ()
    assert job.built == []
    assert statuses(main(world).go()) == {"base": "built", "web": "built"}


def test_a_failed_build_is_tagged_so_and_tried_again_by_the_next_push(world: World) -> None:
    pull = PullRequest.open(world, WEB)
    job = pull.job()
    job.builder.failures = {"web": FAILURE}
    report = job.preview_branch()
    assert (report.exit_code, statuses(report)) == (3, {"web": "failed"})
    assert [one.notes for one in job.told(Failed, "web") if isinstance(one, Failed)] == [("mend it",)]
    name = next(tag for tag in world.tags() if tag.endswith(job.builder.requests[0].build_id))
    assert "status: failed" in git(world.origin, "for-each-ref", "--format=%(contents)", f"refs/tags/{name}")
    assert world.lock("web").failure is None
    assert statuses(pull.preview()) == {"web": "built"}


def test_a_tag_that_can_not_be_pushed_leaves_an_artifact_that_the_next_job_takes_up(world: World) -> None:
    pull = PullRequest.open(world, WEB)
    refused = Terminal("the branch main refuses pushes (GH013: repository rule)")
    job = pull.job()
    surround(job, failing("push", refused))
    report = job.preview_branch()
    assert (report.exit_code, report.results[0].why) == (3, refused.what)
    again = pull.preview()
    assert statuses(again) == {"web": "adopted"}
    assert again.results[0].tags[0] in world.tags()


def test_what_another_job_built_meanwhile_is_taken(world: World) -> None:
    pull = PullRequest.open(world, {**BASE, **WEB})
    slow = pull.job()
    in_the_middle(slow, "base", pull.preview)
    assert statuses(slow.preview_branch()) == {"base": "built", "web": "adopted"}
    assert slow.built == ["base"]
    pull.merge()
    assert main(world).go().exit_code == 0
    assert_nothing_left(world)


@pytest.mark.parametrize("happens", ["deleted", "force-pushed"])
def test_a_branch_that_goes_while_it_is_built_fails_nothing(world: World, happens: str) -> None:
    pull = PullRequest.open(world, WEB)
    built = pull.head
    job = pull.job()
    leave = pull.delete_branch if happens == "deleted" else lambda: pull.push({"x": "y\n"}, amend=True)
    in_the_middle(job, "web", leave)
    assert statuses(job.preview_branch()) == {"web": "built"}
    name = f"image/web/{job.builder.requests[0].build_id}"
    assert git(world.origin, "rev-parse", f"{name}^{{commit}}") == built
    assert_nothing_left(world)


def test_what_was_refused_is_not_built_again_by_bringing_it_back_in_a_pull_request(world: World) -> None:
    good = newest(world, "web").id
    world.commit(WEB)
    main(world).go()
    world.judge("web", "failed")
    main(world).go()
    assert world.lock("web").channels.stable == good
    world.commit({"desired/web/setup.sh": "true\n"})
    assert main(world).go().exit_code == 0
    pull = PullRequest.open(world, WEB)
    job = pull.job()
    assert job.preview_branch().results == ()
    assert job.built == []
    assert job.told(Skipped, "web") == []


def test_a_verdict_that_waits_to_be_recorded_is_mains_business(world: World) -> None:
    world.judge("web", "failed")
    pull = PullRequest.open(world, {"README.md": "hello\n"})
    assert pull.preview().results == ()
    assert newest(world, "web").verdict is None


def test_nothing_is_proposed_where_state_is_recorded_by_pull_request(world: World) -> None:
    settings = git(world.origin, "show", "main:desired/reconciler.yaml")
    world.commit({"desired/reconciler.yaml": f"git: {{push: pull-request}}\n{settings}\n"})
    pull = PullRequest.open(world, WEB)
    before = branches(world)
    assert statuses(pull.preview()) == {"web": "built"}
    assert branches(world) == before
