"""A fleet in a folder of its repository, beside another one at the root: neither sees the other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.cli.main import main
from reconciler.git.repository import Repository
from reconciler.model.lockfile import Lockfile
from reconciler.state.lockfiles import parse
from tests.doubles.registry import MemoryRegistry
from tests.integration.loop.world import (
    ON_BASE,
    ON_DEBIAN,
    SETTINGS,
    Controller,
    World,
    git,
    image_files,
    statuses,
)

BELOW = "infra/images"
NAME = "acme/images/below"
SHARED = "shared/setup.sh"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two fleets of the same images; those of the one below run a script that lies beside its folder."""
    root = {"desired/reconciler.yaml": SETTINGS, **image_files("base", ON_DEBIAN), **image_files("web", ON_BASE)}
    below = {f"{BELOW}/{path}": text for path, text in root.items()}
    below[f"{BELOW}/desired/reconciler.yaml"] = SETTINGS.replace("acme/images", NAME)
    template = f"{BELOW}/desired/base/image.pkr.hcl"
    below[template] = str(below[template]).replace("${path.root}/setup.sh", f"${{path.root}}/../../../../{SHARED}")
    return World.begin(tmp_path / "world", {**root, **below, SHARED: "true\n"})


@pytest.fixture
def root(world: World) -> Controller:
    """A controller of the fleet at the root."""
    return world.controller("root")


@pytest.fixture
def below(world: World) -> Controller:
    """A controller of the other fleet, which has a registry of its own."""
    registry = MemoryRegistry(NAME, upstreams=list(world.registry.upstreams))
    controller = replace(world, registry=registry).controller("below")
    controller.root = controller.root / BELOW
    return controller


def test_each_is_built_recorded_and_tagged_where_it_lives(world: World, root: Controller, below: Controller) -> None:

    assert statuses(root.reconcile()) == statuses(below.reconcile()) == {"base": "built", "web": "built"}

    files = git(world.origin, "ls-tree", "-r", "--name-only", "main").splitlines()
    assert {"state/base.lock.json", f"{BELOW}/state/base.lock.json", f"{BELOW}/state/web.lock.json"} <= set(files)
    folders = [path for path in files if "state/" in path and not path.startswith(("state/", f"{BELOW}/state/"))]
    assert folders == []
    ours = [name for name in world.tags() if name.startswith("image/")]
    theirs = [name for name in world.tags() if name.startswith(f"{BELOW}/image/")]
    assert (len(ours), len(theirs)) == (2, 2)
    assert {git(world.origin, "cat-file", "-t", f"refs/tags/{name}") for name in theirs} == {"tag"}


def test_a_second_run_of_either_finds_nothing_to_do(world: World, root: Controller, below: Controller) -> None:
    root.reconcile()
    below.reconcile()
    before = world.head()

    assert statuses(root.reconcile()) == statuses(below.reconcile()) == {}

    assert world.head() == before


@pytest.mark.thorough
def test_a_file_beside_the_fleet_that_a_template_names_is_an_input_of_it_alone(
    world: World, root: Controller, below: Controller
) -> None:
    root.reconcile()
    below.reconcile()

    world.commit({SHARED: "echo changed\n"})

    assert {plan.sync for plan in root.plan().values()} == {"in-sync"}
    planned = below.plan()
    assert planned["base"].reasons[0].files == (f"../../{SHARED}",)
    assert [reason.code for reason in planned["web"].reasons] == ["parent-rebuilt"]
    assert statuses(below.reconcile()) == {"base": "built", "web": "built"}


def test_the_build_runs_in_the_fleet_s_folder_of_the_export(below: Controller) -> None:
    below.reconcile("base")
    (request,) = below.builder.requests
    assert request.below == BELOW
    assert request.root == request.export / BELOW


def in_us_east_1(lock: Lockfile) -> str:
    """The id of the newest build's artifact there."""
    return next(one.id for one in lock.builds[0].artifacts if one.location == "us-east-1")


def test_the_verbs_read_the_fleet_of_the_folder_that_they_are_run_in(
    root: Controller, below: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    root.reconcile()
    below.reconcile()
    git(below.root, "pull", "--quiet", "--ff-only", "origin", "main")
    lock = parse(below.root.joinpath("state/web.lock.json").read_bytes(), "state/web.lock.json")

    def answer(*arguments: str, where: Path = below.root) -> str:
        assert main([*arguments, "-C", str(where)]) == 0
        return capsys.readouterr().out

    for where in (below.root, below.root / "desired/web"):
        assert lock.builds[0].id in answer("status", where=where)
        assert lock.builds[0].id in answer("history", "web", where=where)
        assert answer("artifact", "web", "us-east-1", where=where) == f"{in_us_east_1(lock)}\n"
    assert json.loads(answer("validate", "--json"))["images"]["base"]["inputs"] == 3
    git(root.root, "pull", "--quiet", "--ff-only", "origin", "main")
    assert lock.builds[0].id not in answer("history", "web", where=root.root)


@pytest.mark.thorough
@pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "without tags"])
def test_what_left_a_lockfile_is_found_in_the_past_of_the_folder_that_it_was_in(
    root: Controller, below: Controller, capsys: pytest.CaptureFixture[str], *, tagged: bool
) -> None:
    root.reconcile()
    below.reconcile()
    git(below.root, "pull", "--quiet", "--ff-only", "origin", "main")
    lock = parse(below.root.joinpath("state/web.lock.json").read_bytes(), "state/web.lock.json")
    artifact = in_us_east_1(lock)
    git(below.root, "rm", "--quiet", "state/web.lock.json")
    git(below.root, "commit", "--quiet", "--message", "web: retire (removed)")
    if not tagged:
        git(below.root, "tag", "--delete", *git(below.root, "tag", "--list").split())

    assert main(["which", artifact, "-C", str(below.root)]) == 0
    assert capsys.readouterr().out.startswith(f"{artifact} is web {lock.builds[0].id} (superseded) in us-east-1\n")
    git(root.root, "pull", "--quiet", "--ff-only", "origin", "main")
    main(["which", artifact, "-C", str(root.root)])  # the root's fleet has a registry of its own, which counts alike
    assert lock.builds[0].id not in capsys.readouterr().out


def test_the_folder_may_be_named_before_the_verb(below: Controller, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-C", str(below.root), "validate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"]["base"]["inputs"] == 3

    assert main(["-C", str(below.root), "completion"]) == 1
    assert "completion works in no repository" in capsys.readouterr().err


def test_the_fleets_have_names_of_their_own_and_the_repository_one(root: Controller) -> None:
    git(root.root, "remote", "set-url", "origin", "https://git.example.org/acme/images.git")
    above = Repository.open(root.root)
    inside = Repository.open(root.root / BELOW / "desired")
    assert (above.name(), above.fleet_name()) == ("acme/images", "acme/images")
    assert (inside.name(), inside.fleet_name()) == ("acme/images", f"acme/images/{BELOW}")
