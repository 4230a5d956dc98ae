"""The merge promotes the very artifacts that the pull request built; what it did not build is built then."""

from __future__ import annotations

import pytest

from reconciler.model.events import Adopted, Warned
from tests.integration.loop.effects import Effects, Killed, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import ON_DEBIAN, US, World, git, image_files, statuses
from tests.integration.pull_request.pulls import MERGES, Merge, PullRequest, assert_nothing_left, main, newest

WEB = {"desired/web/setup.sh": "echo more\n"}
BASE = {"desired/base/setup.sh": "echo more\n"}
VALIDATED = f"{ON_DEBIAN}validation: {{required: true}}\n"


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("how", MERGES)
def test_however_it_is_merged_the_very_artifact_is_promoted(world: World, how: Merge) -> None:
    pull = PullRequest.open(world, WEB)
    built = pull.head
    pull.preview()
    (artifact,) = pull.artifacts("web")
    assert git(world.origin, "rev-parse", f"image/web/{artifact.own('build')}^{{commit}}") == built
    head = pull.merge(how)
    after = main(world)
    assert statuses(after.go()) == {"web": "adopted"}
    assert after.built == []
    build = newest(world, "web")
    there = build.artifact_in(US)
    assert there is not None
    assert (build.id, there.id, build.commit) == (artifact.own("build"), artifact.id, built)
    assert (build.seconds, build.packer is not None, build.phase) == (0, True, "stable")
    assert {one.own("phase") for one in world.artifacts("web") if one.own("build") == build.id} == {"stable"}
    assert world.subjects(head) == [f"web: adopt {build.id} (inputs-changed, preview-merged)"]
    assert_nothing_left(world)


def test_what_was_not_built_before_the_merge_is_built_then(world: World) -> None:
    PullRequest.open(world, WEB).merge()
    assert statuses(main(world).go()) == {"web": "built"}
    assert_nothing_left(world)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "files",
    [
        image_files("db", ON_DEBIAN),
        {"desired/base/image.yaml": ON_DEBIAN.replace("debian-12-*", "debian-12-amd64-*")},
    ],
    ids=["a new image", "another source"],
)
def test_the_pin_comes_along_though_upstream_published_something_newer(world: World, files: dict[str, str]) -> None:
    image = next(iter(files)).split("/")[1]
    pull = PullRequest.open(world, files)
    if image == "base":
        world.publish_upstream("debian-12-amd64-20261108")  # so that the new wording resolves to something else
    pull.preview()
    (artifact,) = pull.artifacts(image)
    newer = world.publish_upstream("debian-12-amd64-20261115")
    assert pull.preview().results[0].status == "adopted", "not even another preview takes the newer one"
    pull.merge()
    after = main(world)
    assert statuses(after.go())[image] == "adopted"
    assert after.built == []
    pinned = world.lock(image).source
    assert pinned is not None
    assert pinned.pinned.upstream is not None
    assert pinned.pinned.upstream.id == artifact.own("source") != newer.id
    assert_nothing_left(world)


def test_main_moving_on_with_another_image_changes_nothing(world: World) -> None:
    pull = PullRequest.open(world, WEB)
    pull.preview()
    world.commit(image_files("db", ON_DEBIAN))
    assert statuses(main(world).go()) == {"db": "built"}
    pull.merge()
    assert statuses(main(world).go()) == {"web": "adopted"}
    assert_nothing_left(world)


def test_main_moving_on_with_the_same_image_gives_the_merged_content_its_own_build(world: World) -> None:
    pull = PullRequest.open(world, WEB)
    pull.preview()
    world.commit({"desired/web/motd": "hello\n"})
    assert statuses(main(world).go()) == {"web": "built"}
    pull.merge()
    after = main(world)
    assert statuses(after.go()) == {"web": "built"}
    assert newest(world, "web").id not in {one.own("build") for one in pull.artifacts("web")}
    assert_nothing_left(world)


@pytest.mark.thorough
def test_a_pin_that_main_moved_on_gives_the_merged_content_its_own_build(world: World) -> None:
    pull = PullRequest.open(world, BASE)
    pull.preview()
    newer = world.publish_upstream("debian-12-amd64-20261115")
    assert statuses(main(world).go(refresh=True)) == {"base": "built", "web": "built"}
    pull.merge()
    after = main(world)
    assert statuses(after.go()) == {"base": "built", "web": "built"}
    source = newest(world, "base").source
    assert source is not None
    assert source.upstream is not None
    assert source.upstream.id == newer.id
    assert_nothing_left(world)


@pytest.mark.thorough
def test_of_two_pull_requests_on_one_image_the_second_is_built_as_merged(world: World) -> None:
    one = PullRequest.open(world, WEB, branch="one")
    two = PullRequest.open(world, {"desired/web/motd": "hello\n"}, branch="two")
    one.preview()
    two.preview()
    one.merge()
    assert statuses(main(world).go()) == {"web": "adopted"}
    two.merge()
    assert statuses(main(world).go()) == {"web": "built"}
    assert len(two.artifacts("web")) == 1, "nobody's any more, and retired once it is old"
    assert_nothing_left(world)


def test_a_preview_whose_tag_never_got_out_is_adopted_by_the_artifacts_tags_alone(world: World) -> None:
    pull = PullRequest.open(world, WEB)
    doomed = pull.job()
    surround(doomed, Effects(die_at=2).around)  # build, tag, and then the push
    with pytest.raises(Killed):
        doomed.preview_branch()
    (artifact,) = pull.artifacts("web")
    pull.merge()
    after = main(world)
    assert statuses(after.go()) == {"web": "adopted"}
    build = newest(world, "web")
    assert (build.id, build.seconds, build.packer) == (artifact.own("build"), None, None)
    assert build.source == newest(world, "base").as_pin("base")
    said = [event.what for event in after.told(Warned, "web") if isinstance(event, Warned)]
    assert said[0] == f"{build.id} has no tag image/web/{build.id}: its duration and its Packer are not known"
    assert "gets no tag: its commit" in said[1], "the branch is gone, and the merge was a squash"
    assert_nothing_left(world)


def test_what_somebody_wrote_into_a_tag_neither_validates_nor_confuses(world: World) -> None:
    """Whoever may push tags may take our name for one. The artifact's own tags and the key count."""
    pull = PullRequest.open(world, {**BASE, "desired/base/image.yaml": VALIDATED})
    pull.preview()
    name = f"image/base/{pull.artifacts('base')[0].own('build')}"
    message = git(world.origin, "for-each-ref", "--format=%(contents)", f"refs/tags/{name}")
    forged = message.replace(
        '"artifacts": [', '"verdict": {"status": "passed", "by": "me", "evidence": "-"}, "artifacts": ['
    )
    forged = forged.replace('"files": "sha256:', '"files": "sha256:0')
    git(world.origin, "tag", "--force", "--annotate", "--message", forged, name, pull.head)
    pull.merge()
    assert statuses(main(world, clone="fresh").go())["base"] == "adopted"
    build = newest(world, "base")
    assert (build.verdict, build.phase, world.lock("base").channels.stable == build.id) == (None, "candidate", False)
    assert_nothing_left(world)


def test_parent_and_child_of_one_pull_request_are_both_promoted(world: World) -> None:
    pull = PullRequest.open(world, {**BASE, **WEB})
    assert statuses(pull.preview()) == {"base": "built", "web": "built"}
    pull.merge()
    after = main(world)
    assert statuses(after.go()) == {"base": "adopted", "web": "adopted"}
    assert after.built == []
    source, parent = newest(world, "web").source, newest(world, "base")
    assert source is not None
    assert (source.build, source.key) == (parent.id, parent.key)
    assert_settled(world, since=world.head())


@pytest.mark.thorough
def test_a_child_is_adopted_once_its_parents_verdict_moved_stable_however_late(world: World) -> None:
    """Its preview is older than `retain.previews` by then, and the branch is gone; it is kept all the same."""
    world.commit({"desired/base/image.yaml": VALIDATED})
    assert_nothing_left(world)
    pull = PullRequest.open(world, BASE)
    assert statuses(pull.preview()) == {"base": "built", "web": "built"}
    (child,) = pull.artifacts("web")
    pull.merge()
    assert statuses(main(world).go()) == {"base": "adopted"}
    world.pass_days(9)
    assert_nothing_left(world)
    world.judge("base", "passed")
    after = main(world)
    report = after.go()
    assert statuses(report) == {"base": "changed", "web": "adopted"}
    assert (after.built, newest(world, "web").id) == ([], child.own("build"))
    assert_nothing_left(world)


def test_a_pull_request_that_stayed_open_for_weeks_is_adopted_and_not_retired(world: World) -> None:
    pull = PullRequest.open(world, WEB)
    pull.preview()
    world.pass_days(20)
    pull.merge()
    after = main(world)
    assert statuses(after.go()) == {"web": "adopted"}
    assert len(after.told(Adopted, "web")) == 1
    assert_nothing_left(world)


def test_a_child_of_a_new_parent_comes_with_it(world: World) -> None:
    app = image_files("app", "source: {image: os}\n")
    pull = PullRequest.open(world, {**image_files("os", ON_DEBIAN), **app})
    assert statuses(pull.preview()) == {"os": "built", "app": "built"}
    pull.merge()
    after = main(world)
    assert statuses(after.go()) == {"os": "adopted", "app": "adopted"}
    assert after.built == []
    assert_nothing_left(world)
