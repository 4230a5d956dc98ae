"""A run does what is due, and the next one nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from reconciler.model.observation import Seen
from reconciler.ports.builder import BuildRequest
from tests.integration.loop.world import EU, US, World, git, statuses


def test_a_first_run_builds_everything_parents_first_and_records_each_image(world: World) -> None:
    controller = world.controller()
    report = controller.reconcile()
    assert report.exit_code == 0
    assert statuses(report) == dict.fromkeys(("base", "web", "api", "tools"), "built")
    built = controller.built
    assert built.index("base") < min(built.index("web"), built.index("api"))
    for image in ("base", "web", "api", "tools"):
        build = world.lock(image).builds[0]
        recorded = {artifact.location: artifact.id for artifact in build.artifacts}
        assert recorded == world.complete(image)
        assert set(recorded) == {US, EU}
        assert f"image/{image}/{build.id}" in world.tags()
    assert len(world.subjects()) == 1 + 4


def test_a_child_is_built_on_the_artifact_that_this_run_made_of_its_parent(world: World) -> None:
    controller = world.controller()
    controller.reconcile()
    on = {request.image.name: request.source for request in controller.builder.requests}
    base = world.lock("base").builds[0]
    assert on["web"] == on["api"] == world.complete("base")[US]
    assert world.lock("web").builds[0].source == base.as_pin("base")


def test_a_second_run_only_reads(settled: World) -> None:
    before, head, refs = settled.registry.artifacts, settled.head(), git(settled.origin, "for-each-ref")
    settled.registry.calls.clear()
    controller = settled.controller()
    report = controller.reconcile()
    assert (report.exit_code, report.results) == (0, ())
    assert (settled.head(), git(settled.origin, "for-each-ref")) == (head, refs)
    assert settled.registry.artifacts == before
    assert set(settled.registry.calls) == {"observe"}
    assert controller.built == []


@pytest.fixture
def git_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each git that is begun from now on, those aside that git itself begins."""
    calls, wrapper = tmp_path / "git-calls", tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f"#!/bin/sh\necho \"$*\" >> '{calls}'\nexec '{shutil.which('git')}' \"$@\"\n")
    wrapper.chmod(0o755)
    calls.touch()
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)
    return calls


def test_a_run_of_two_images_begins_few_processes_of_git_and_one_that_does_nothing_fewer(
    pair: World, git_calls: Path
) -> None:
    pair.commit({"desired/base/setup.sh": "echo more\n"})
    git_calls.write_text("")
    controller = pair.controller()
    controller.reconcile()
    assert controller.built == ["base", "web"]
    # Eighty, when each question to git was a process.
    assert len(git_calls.read_text().splitlines()) <= 26, git_calls.read_text()

    git_calls.write_text("")
    assert pair.controller().reconcile().results == ()
    assert len(git_calls.read_text().splitlines()) <= 6, git_calls.read_text()


def test_a_run_brings_the_checkout_along(settled: World) -> None:
    checkout = settled.root / "ci"
    assert git(checkout, "rev-parse", "HEAD") == settled.head()
    assert git(checkout, "status", "--porcelain") == ""


def test_work_folders_go_and_the_export_is_the_commit(world: World) -> None:
    controller = world.controller()
    found: list[str] = []
    controller.builder.during = lambda request: found.append(
        (request.export / f"desired/{request.image.name}/setup.sh").read_text()
    )
    controller.reconcile()
    assert found == ["true\n"] * 4
    assert not any((controller.root / ".reconciler" / "work").iterdir())


def test_what_packer_leaves_among_temporary_files_goes(world: World) -> None:
    controller = world.controller()
    left: list[Path] = []

    def leave_a_key(request: BuildRequest) -> None:
        assert request.environment["PACKER_TMP_DIR"] == request.environment["TMPDIR"]
        key = Path(request.environment["TMPDIR"], "ansible-key1234")
        key.write_text("secret")
        left.append(key)

    controller.builder.during = leave_a_key
    controller.reconcile()
    assert len({key.parent for key in left}) == 4
    assert not any(key.parent.exists() for key in left)


def test_every_artifact_says_whose_it_is_and_what_it_is(settled: World) -> None:
    def said(artifact: Seen) -> tuple[str | None, ...]:
        return tuple(artifact.own(name) for name in ("fleet", "image", "build", "key", "phase", "source"))

    for image in ("base", "web"):
        build = settled.lock(image).builds[0]
        source = f"base@{settled.lock('base').builds[0].id}" if image == "web" else "ami-00000001"
        for artifact in settled.artifacts(image):
            assert said(artifact) == ("acme/images", image, build.id, build.key, "stable", source)
