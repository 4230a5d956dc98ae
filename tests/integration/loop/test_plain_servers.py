"""A server that takes refs one by one: what a run leaves out that dies between two pushes, the next one makes."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest

from reconciler.model import events
from reconciler.model.errors import Locked
from reconciler.ports.builder import BuildFailed
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import ON_BASE, Controller, World, git, image_files, results, statuses

pytestmark = pytest.mark.long


@pytest.fixture
def plain(world: World) -> World:
    git(world.origin, "config", "receive.advertiseAtomic", "false")
    return world


def hook(world: World, script: str) -> None:
    path = world.origin / "hooks" / "update"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def warnings(controller: Controller) -> list[str]:
    return [event.what for event in controller.events if isinstance(event, events.Warned)]


def test_a_fleet_is_recorded_there_as_anywhere(plain: World) -> None:
    controller = plain.controller()

    begin = plain.head()
    report = controller.reconcile()

    assert set(statuses(report).values()) == {"built"}
    assert warnings(controller) == []
    recorded = {f"image/{name}/{plain.lock(name).builds[0].id}" for name in statuses(report)}
    assert recorded <= set(plain.tags())
    assert_settled(plain, since=begin)


def test_tags_that_a_run_left_out_are_made_by_the_next(plain: World) -> None:
    hook(plain, 'case "$1" in refs/tags/*) kill -9 $PPID ;; esac')
    broken = plain.controller("broken")
    report = broken.reconcile()
    hook(plain, "exit 0")
    head, names = plain.head(), {f"image/{name}/{plain.lock(name).builds[0].id}" for name in statuses(report)}

    assert set(statuses(report).values()) == {"built"}
    assert plain.tags() == []
    assert all(any(name in line for line in warnings(broken)) for name in names)

    healing = plain.controller("healing")
    assert healing.reconcile().exit_code == 0
    assert set(plain.tags()) == names
    assert {line.split(" the tag ")[1] for line in warnings(healing)} == {f"{name}: made now" for name in names}
    for name in names:
        build = plain.lock(name.split("/")[1]).builds[0]
        assert git(plain.origin, "rev-parse", f"{name}^{{commit}}") == build.commit
        assert f'"id": "{build.id}"' in git(plain.origin, "cat-file", "tag", name)

    third = plain.controller("third")
    third.reconcile()
    assert (plain.head(), warnings(third)) == (head, [])


def test_tags_under_a_former_name_are_not_made_again(plain: World) -> None:
    plain.controller().reconcile()
    before = set(plain.tags())
    moved = {path.replace("/web/", "/site/"): text for path, text in image_files("web", ON_BASE).items()}
    plain.commit(
        {**dict.fromkeys(image_files("web", "")), **moved, "desired/site/image.yaml": f"{ON_BASE}moved_from: web\n"}
    )

    fresh = plain.controller("fresh")
    fresh.reconcile()
    fresh.reconcile()

    assert plain.lock("site").builds
    assert set(plain.tags()) == before


def test_old_records_are_not_asked_about(plain: World) -> None:
    hook(plain, 'case "$1" in refs/tags/*) exit 1 ;; esac')
    plain.controller("broken").reconcile()
    hook(plain, "exit 0")
    plain.pass_days(8)

    plain.controller("late").reconcile()

    assert plain.tags() == []


def test_tags_that_stay_refused_stop_nothing(plain: World) -> None:
    hook(plain, 'case "$1" in refs/tags/*) exit 1 ;; esac')
    plain.controller("broken").reconcile()
    plain.commit({"desired/web/setup.sh": "changed\n"})
    controller = plain.controller("next")

    report = controller.reconcile()

    assert statuses(report) == {"web": "built"}
    told = warnings(controller)
    assert any("of an earlier run is there: origin refuses the tag" in line for line in told)
    assert any(line.startswith("recorded, but without the tag image/web/") for line in told)


def test_what_is_kept_is_promised_where_something_was_built_and_nowhere_else(settled: World) -> None:
    """A host that refuses pushes: after a build, after a build that failed, and before anything was begun."""
    settled.commit({"desired/web/setup.sh": "changed\n", "desired/tools/setup.sh": "changed\n"})
    hook(settled, 'echo "policy: nobody pushes on Sundays" >&2; exit 1')
    controller = settled.controller()
    broken = BuildFailed("no", cause="failed", seconds=1, log=controller.root / "log")
    controller.builder = replace(controller.builder, failures={"tools": broken})

    report = controller.reconcile()

    failures = {name: str(result.error) for name, result in results(report).items()}
    assert statuses(report) == {"web": "failed", "tools": "failed"}
    assert "the builds are kept and will be adopted, nothing is lost" in failures["web"]
    assert "kept" not in failures["tools"]
    for text in failures.values():
        assert text.startswith("the branch main refuses pushes (policy: nobody pushes on Sundays)")


def test_a_lock_that_a_killed_git_left_promises_nothing(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "changed\n"})
    controller = settled.controller()
    lock = controller.root / ".git/refs/reconciler/remotes/origin/main.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()

    with pytest.raises(Locked) as raised:
        controller.reconcile()

    assert str(lock) in str(raised.value)
    assert "kept" not in str(raised.value)
    assert controller.built == []
