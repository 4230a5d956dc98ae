"""state/ holds the SBOM of every build that a lockfile names, and of no other."""

from __future__ import annotations

from dataclasses import replace

from reconciler.git.repository import Repository
from reconciler.model.inventory import Package
from reconciler.state.sbom import read_sbom, render_sbom
from tests.doubles.tester import NOTHING_INSIDE
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import ON_BASE, SETTINGS, World, git, image_files, no_image_files, results, statuses

NGINX = Package("nginx", "1.22.1-9", "amd64", "deb")


def newest_sbom(world: World, image: str) -> str:
    """The path, in state/, of the SBOM of an image's newest build."""
    inventory = world.lock(image).builds[0].inventory
    assert inventory is not None
    return inventory.sbom


def test_a_build_and_its_sbom_are_one_commit(pair: World) -> None:
    inside = replace(NOTHING_INSIDE, packages=(NGINX,))
    pair.inside["web"] = inside
    head = pair.commit({"desired/web/setup.sh": "echo more\n"})
    pair.controller().reconcile()
    changed = git(pair.origin, "diff", "--name-only", head, "main").splitlines()
    path = newest_sbom(pair, "web")
    assert len(pair.subjects(head)) == 1
    assert f"state/{path}" in changed
    assert f"{pair.show(path)}\n".encode() == render_sbom("web", pair.lock("web").builds[0].id, inside)
    assert read_sbom(pair.show(path).encode()) == inside


def test_what_changed_inside_is_in_the_result_the_commit_and_the_tag(pair: World) -> None:
    pair.inside["web"] = NOTHING_INSIDE
    pair.controller().reconcile(force=("web",))
    pair.clock.advance(hours=1)
    pair.inside["web"] = replace(NOTHING_INSIDE, packages=(NGINX,))
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    report = pair.controller().reconcile()
    assert results(report)["web"].difference is not None
    build_id = pair.lock("web").builds[0].id
    for told in (
        git(pair.origin, "log", "-1", "--format=%b", "main"),
        git(pair.origin, "tag", "--list", "--format=%(contents)", f"image/web/{build_id}"),
    ):
        assert "nginx" in told


def test_the_sbom_of_a_build_that_is_no_longer_recorded_goes_with_it(pair: World) -> None:
    head = pair.commit({"desired/web/image.yaml": f"{ON_BASE}retain: {{builds: 2}}\n"})
    for number in range(4):
        pair.commit({"desired/web/setup.sh": f"echo {number}\n"})
        pair.controller().reconcile()
        pair.clock.advance(hours=1)
    kept = pair.lock("web").builds
    assert len(kept) == 2
    assert [path for path in pair.sboms() if path.startswith("sbom/web/")] == sorted(
        build.inventory.sbom for build in kept if build.inventory is not None
    )
    assert_settled(pair, since=head)


def test_an_image_that_is_pruned_leaves_nothing_in_state(pair: World) -> None:
    head = pair.commit(no_image_files("web"))
    assert pair.controller().reconcile(prune=True).exit_code == 0
    assert [path for path in pair.state_files() if "web" in path] == []
    assert_settled(pair, since=head)


def test_a_renamed_image_keeps_its_sboms_and_adds_new_ones_under_its_new_name(pair: World) -> None:
    before = newest_sbom(pair, "web")
    head = pair.commit({**no_image_files("web"), **image_files("site", f"{ON_BASE}moved_from: web\n")})
    assert statuses(pair.controller().reconcile()) == {"site": "changed"}
    assert newest_sbom(pair, "site") == before
    assert before in pair.sboms()
    pair.commit({"desired/site/setup.sh": "echo more\n"})
    pair.controller().reconcile()
    assert newest_sbom(pair, "site").startswith("sbom/site/")
    assert before in pair.sboms(), "the older build is still recorded"
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_an_sbom_that_somebody_deleted_is_no_reason_to_build_or_to_fail(pair: World) -> None:
    pair.commit({f"state/{newest_sbom(pair, 'web')}": None})
    controller = pair.controller()
    assert controller.reconcile().results == ()
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    report = controller.reconcile()
    assert statuses(report) == {"web": "built"}
    assert results(report)["web"].difference is None


def test_a_proposed_build_carries_its_sbom_in_the_one_commit(pair: World) -> None:
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{push: pull-request}}\n"})
    head = pair.commit({"desired/web/setup.sh": "echo more\n"})
    controller = pair.controller()
    repository = Repository.open(controller.root)
    settings = controller.look()[0].fleet.settings.git
    destination = repository.recorder(settings, now=pair.clock, sleep=lambda _: None, random=lambda: 0.5)._destination
    controller.on_destination = lambda _direct: destination
    assert statuses(controller.reconcile()) == {"web": "built"}
    assert pair.head() == head, "main is not pushed to"
    proposed = git(pair.origin, "rev-list", "main..reconciler/state").splitlines()
    changed = git(pair.origin, "diff", "--name-only", "main", "reconciler/state").splitlines()
    assert len(proposed) == 1
    assert "state/web.lock.json" in changed
    assert len([path for path in changed if path.startswith("state/sbom/web/")]) == 1
