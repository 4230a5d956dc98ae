"""People push while a run is at work. What they pushed counts; what the run made lands on top, or is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.model.events import Skipped
from reconciler.ports.builder import BuildFailed
from tests.integration.loop.effects import in_the_middle, meanwhile, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import (
    AP,
    EU,
    ON_BASE,
    ON_TOOLBOX,
    US,
    World,
    git,
    image_files,
    no_image_files,
    statuses,
)

pytestmark = pytest.mark.long


def test_an_unrelated_commit_stays_and_the_record_lands_on_top(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"}, "More")
    pushes = ("web", lambda: settled.commit({"README.md": "hello\n"}, "Say hello"))
    report = in_the_middle(settled.controller(), *pushes).reconcile()
    assert (report.exit_code, statuses(report)) == (0, {"web": "built"})
    subjects = settled.subjects()
    assert subjects[0].startswith("web: build ")
    assert subjects[1:3] == ["Say hello", "More"]
    assert_settled(settled, since=settled.head())


def test_a_commit_between_the_look_and_the_push_costs_one_more_try(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    pushes = meanwhile("push", lambda: settled.commit({"README.md": "hello\n"}, "Say hello"))
    assert statuses(surround(settled.controller(), pushes).reconcile()) == {"web": "built"}
    assert settled.subjects()[1] == "Say hello"
    assert_settled(settled, since=settled.head())


def test_a_build_of_what_has_changed_since_is_given_up_and_the_new_content_built(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo first\n"})
    last = settled.lock("web").builds[0].id
    pushes = ("web", lambda: settled.commit({"desired/web/setup.sh": "echo second\n"}))
    controller = in_the_middle(settled.controller(), *pushes)
    report = controller.reconcile()
    assert (report.exit_code, statuses(report)) == (0, {"web": "superseded"})
    assert "changed in the meantime (files" in report.results[0].why
    assert {one.own("build") for one in settled.artifacts("web")} == {last}, "the build of nobody's wish is retired"
    after = settled.controller()
    assert statuses(after.reconcile()) == {"web": "built"}
    assert_settled(settled, since=settled.head())


def test_the_children_of_a_parent_that_was_given_up_wait_for_the_next_run(settled: World) -> None:
    settled.commit({"desired/base/setup.sh": "echo first\n"})
    pushes = ("base", lambda: settled.commit({"desired/base/setup.sh": "echo second\n"}))
    controller = in_the_middle(settled.controller(), *pushes)
    report = controller.reconcile()
    assert (report.exit_code, statuses(report)) == (0, dict.fromkeys(("base", "web", "api"), "superseded"))
    assert controller.built == ["base"]
    assert controller.told(Skipped, "web") == [Skipped("web", "its parent base changed in the meantime")]
    assert statuses(settled.controller().reconcile()) == dict.fromkeys(("base", "web", "api"), "built")
    assert_settled(settled, since=settled.head())


def test_an_image_that_is_taken_out_while_it_is_built_leaves_nothing_new(settled: World) -> None:
    settled.commit({"desired/tools/setup.sh": "echo more\n"})
    last = settled.lock("tools").builds[0].id
    pushes = ("tools", lambda: settled.commit(no_image_files("tools")))
    report = in_the_middle(settled.controller(), *pushes).reconcile()
    assert (report.exit_code, statuses(report)) == (0, {"tools": "superseded"})
    assert {one.own("build") for one in settled.artifacts("tools")} == {last}
    assert [build.id for build in settled.lock("tools").builds] == [last]
    assert settled.controller().reconcile(prune=True).exit_code == 0
    assert_settled(settled, since=settled.head())


def test_a_new_image_that_fails_and_is_taken_out_meanwhile_gets_no_lockfile(settled: World) -> None:
    settled.commit(image_files("db", ON_BASE))
    pushes = ("db", lambda: settled.commit(no_image_files("db")))
    controller = in_the_middle(settled.controller(), *pushes)
    controller.builder.failures = {"db": BuildFailed("no", cause="failed", seconds=1, log=Path("db.log"))}
    assert statuses(controller.reconcile()) == {"db": "superseded"}
    assert "db" not in settled.recorded()
    assert_settled(settled, since=settled.head())


def test_an_image_that_somebody_breaks_while_it_is_built_is_recorded_all_the_same(settled: World) -> None:
    """What it should be is not known, and what was built is what was asked for."""
    settled.commit({"desired/tools/setup.sh": "echo more\n"})
    pushes = ("tools", lambda: settled.commit({"desired/tools/image.yaml": "regoins: []\n"}))
    assert statuses(in_the_middle(settled.controller(), *pushes).reconcile()) == {"tools": "built"}
    settled.commit({"desired/tools/image.yaml": ON_TOOLBOX})
    assert_settled(settled, since=settled.head())


def test_an_image_that_is_renamed_while_it_is_built_is_built_under_its_new_name(settled: World) -> None:
    settled.commit({"desired/tools/setup.sh": "echo more\n"})
    renamed = {**no_image_files("tools"), **image_files("box", f"{ON_TOOLBOX}moved_from: tools\n", setup="echo more")}
    pushes = ("tools", lambda: settled.commit(renamed))
    assert statuses(in_the_middle(settled.controller(), *pushes).reconcile()) == {"tools": "superseded"}
    assert statuses(settled.controller().reconcile()) == {"box": "built"}
    assert_settled(settled, since=settled.head())


def test_a_region_that_is_added_while_it_is_built_is_copied_by_the_next_run(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    wider = {"desired/web/image.yaml": f"{ON_BASE}regions: [{US}, {EU}, {AP}]\n"}
    pushes = ("web", lambda: settled.commit(wider))
    assert statuses(in_the_middle(settled.controller(), *pushes).reconcile()) == {"web": "built"}
    after = settled.controller()
    assert statuses(after.reconcile()) == {"web": "changed"}
    assert after.built == []
    assert_settled(settled, since=settled.head())


def test_a_source_that_changes_during_a_copy_is_not_taken_for_the_one_that_is_pinned(settled: World) -> None:
    """The record of a copy must not say that the old pin is what the new source resolved to."""
    settled.publish_upstream("debian-12-amd64-20261115")
    settled.commit({"desired/tools/image.yaml": f"{ON_TOOLBOX}regions: [{US}, {EU}, {AP}]\n"})
    other = {"desired/tools/image.yaml": "source: {ami: {id: ami-00000003}}\nregions: [us-east-1, eu-west-1]\n"}
    pushes = meanwhile(f"copy {AP}", lambda: settled.commit(other))
    assert statuses(surround(settled.controller(), pushes).reconcile()) == {"tools": "changed"}
    after = settled.controller()
    assert statuses(after.reconcile(prune=True)) == {"tools": "built"}
    source = settled.lock("tools").source
    assert source is not None
    assert source.pinned.upstream is not None
    assert source.pinned.upstream.id == "ami-00000003"
    assert_settled(settled, since=settled.head())


def test_a_branch_that_is_force_pushed_between_is_followed(settled: World) -> None:
    begin = settled.head()
    settled.commit({"desired/web/setup.sh": "echo wrong\n"})
    settled.commit({"desired/api/setup.sh": "echo more\n"})

    def take_back() -> None:
        person = settled.root / "person"
        git(person, "reset", "--quiet", "--hard", begin)
        settled.commit({"desired/api/setup.sh": "echo more\n"}, "Only api", push=False)
        git(person, "push", "--quiet", "--force", "origin", "HEAD:main")

    controller = in_the_middle(settled.controller(), "api", take_back)
    report = controller.reconcile("api")
    assert (report.exit_code, statuses(report)) == (0, {"api": "built"})
    assert settled.subjects()[1] == "Only api"
    assert statuses(settled.controller().reconcile()) == {}
    assert_settled(settled, since=begin)
