"""Names: an image that moves, one that goes, and one that comes with its artifacts already there."""

from __future__ import annotations

from reconciler.model.events import Adopted
from reconciler.plan.key import wanted
from tests.integration.loop.settling import assert_consistent, assert_settled
from tests.integration.loop.world import (
    EU,
    ON_BASE,
    ON_DEBIAN,
    US,
    World,
    git,
    image_files,
    no_image_files,
    statuses,
)

RENAMED = {**no_image_files("web"), **image_files("site", f"{ON_BASE}moved_from: web\n")}


def test_a_renamed_image_keeps_its_builds_its_history_and_its_artifacts(settled: World) -> None:
    build, ids = settled.lock("web").builds[0], settled.complete("web")
    head = settled.commit(RENAMED)
    controller = settled.controller()
    assert {reason.code for reason in controller.plan()["site"].reasons} == {"renamed", "tags-changed"}
    assert statuses(controller.reconcile()) == {"site": "changed"}
    assert controller.built == []
    assert "web" not in settled.recorded()
    assert settled.lock("site").builds[0].id == build.id
    assert settled.complete("site") == ids
    assert_settled(settled, since=head)


def test_a_renamed_image_that_changed_too_takes_its_older_builds_along(settled: World) -> None:
    older = settled.lock("web").builds[0].id
    head = settled.commit({**RENAMED, "desired/site/setup.sh": "echo site\n"})
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"site": "built"}
    assert [build.id for build in settled.lock("site").builds][1:] == [older]
    assert (settled.artifacts("web"), "web" in settled.recorded()) == ([], False)
    assert_settled(settled, since=head)


def test_a_renamed_image_can_be_retired_with_all_its_builds(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    settled.controller().reconcile()
    settled.commit({**RENAMED, "desired/site/setup.sh": "echo more\n"})
    settled.controller().reconcile()
    assert len(settled.artifacts("site")) == 4
    head = settled.commit(no_image_files("site"))
    assert statuses(settled.controller().reconcile(prune=True)) == {"site": "changed"}
    assert settled.artifacts("site") == []
    assert_settled(settled, since=head)


def test_a_region_that_goes_with_the_name_is_retired_under_the_new_one(settled: World) -> None:
    site = image_files("site", f"{ON_BASE}moved_from: web\nregions: [{US}]\n")
    head = settled.commit({**no_image_files("web"), **site})
    assert statuses(settled.controller().reconcile(prune=True)) == {"site": "changed"}
    assert set(settled.complete("site")) == {US}
    assert settled.artifacts("web") == []
    assert_settled(settled, since=head)


def test_an_image_that_is_taken_out_is_reported_and_retired_only_when_asked(settled: World) -> None:
    head = settled.commit(no_image_files("tools"))
    controller = settled.controller()
    planned = controller.plan()["tools"]
    assert ([reason.code for reason in planned.reasons], planned.actions) == (["removed"], ("none",))
    assert controller.reconcile().results == ()
    assert len(settled.artifacts("tools")) == 2
    assert statuses(controller.reconcile(prune=True)) == {"tools": "changed"}
    assert (settled.artifacts("tools"), "tools" in settled.recorded()) == ([], False)
    assert_settled(settled, since=head)


def test_what_a_pull_request_built_is_adopted_with_its_own_pin(settled: World) -> None:
    """The pin is the one that people reviewed, though a newer upstream was published since."""
    settled.commit(image_files("db", ON_DEBIAN))
    elsewhere = settled.controller("pull-request")
    _, planned = elsewhere.look()
    image = next(one.image for one in planned.decisions if one.name == "db")
    assert image is not None
    reviewed = next(one.wanted for one in planned.decisions if one.name == "db")
    assert reviewed is not None
    assert reviewed.pin is not None
    build_id = f"20261122T101530Z-{reviewed.key.removeprefix('sha256:')[:7]}"
    tags = {
        "fleet": "acme/images",
        "image": "db",
        "build": build_id,
        "key": reviewed.key,
        "inputs": reviewed.inputs,
        "source": "ami-00000001",
        "phase": "preliminary",
        "commit": settled.head(),
    }
    settled.registry.seed(US, f"db-{build_id}", tags={f"reconciler:{name}": value for name, value in tags.items()})
    newer = settled.publish_upstream("debian-12-amd64-20261115")
    head = settled.head()

    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"db": "adopted"}
    assert controller.built == []
    assert len(controller.told(Adopted, "db")) == 1
    lock = settled.lock("db")
    assert lock.source is not None
    assert lock.source.pinned.upstream is not None
    assert (lock.source.pinned.upstream.id, newer.id) == ("ami-00000001", "ami-00000003")
    assert wanted(image, lock.source.pinned).key == lock.builds[0].key
    assert set(settled.complete("db")) == {US, EU}
    assert_settled(settled, since=head)


def test_an_adopted_build_brings_the_record_of_its_tag(settled: World) -> None:
    """As after a push that was lost: the artifacts and the tag are there, the lockfile is not."""
    before = settled.lock("web")
    head = settled.commit({"state/web.lock.json": None})
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"web": "adopted"}
    after = settled.lock("web")
    assert (after.builds[0].started, after.builds[0].packer, after.builds[0].source, after.source) == (
        before.builds[0].started,
        before.builds[0].packer,
        before.builds[0].source,
        before.source,
    )
    assert_settled(settled, since=head)


def test_a_child_that_is_adopted_beside_its_parent_names_the_parents_build(settled: World) -> None:
    before = {image: settled.lock(image).builds[0] for image in ("base", "web")}
    head = settled.commit({"state/base.lock.json": None, "state/web.lock.json": None})
    git(settled.origin, "tag", "--delete", f"image/web/{before['web'].id}")
    controller = settled.controller("fresh")
    assert statuses(controller.reconcile()) == {"base": "adopted", "web": "adopted"}
    assert settled.lock("web").builds[0].source == settled.lock("base").builds[0].as_pin("base")
    assert_settled(settled, since=head)


def test_an_artifact_of_a_commit_that_is_in_no_history_is_adopted_without_a_tag(pair: World) -> None:
    """The branch was force-pushed over the commit that was built, before anything of it was recorded."""
    artifact = pair.artifacts("web")[0]
    pair.commit({"state/web.lock.json": None})
    for one in pair.artifacts("web"):
        pair.registry.tag(one, {"reconciler:commit": "0123456789abcdef0123456789abcdef01234567"})
    git(pair.origin, "tag", "--delete", f"image/web/{artifact.own('build')}")
    report = pair.controller("fresh").reconcile()
    assert (report.exit_code, statuses(report)) == (0, {"web": "adopted"})
    assert_consistent(pair)
