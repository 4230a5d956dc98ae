"""What others rely on stays as it is, byte for byte: keys, lockfiles, tags, commits and plans of one fleet's life.

Who means to change one of these formats writes the file anew (`GOLDEN=write make quick`) and reads its difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.model.plan import PlanOptions
from reconciler.ports.builder import BuildFailed
from reconciler.words import plans
from reconciler.words.junit import of_plan
from reconciler.words.markdown import render as as_markdown
from tests.integration.loop.pull_request import BRANCH, merge, on_branch
from tests.integration.loop.world import (
    AP,
    EU,
    ON_BASE,
    ON_DEBIAN,
    ON_TOOLBOX,
    SETTINGS,
    US,
    World,
    git,
    image_files,
    no_image_files,
)

GOLDEN = Path(__file__).with_name("golden.txt")
ONE_AT_A_TIME = f"{SETTINGS}limits: {{parallel_builds: 1}}\n"
VALIDATED = f"{ON_DEBIAN}validation: {{required: true}}\ntags: {{CostCenter: '42'}}\n"


@pytest.fixture
def _dated(monkeypatch: pytest.MonkeyPatch) -> None:
    """People commit at one time: what they commit has the same id in every run."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_DATE", datetime(2026, 11, 22, 10, tzinfo=UTC).isoformat())


@pytest.mark.usefixtures("_dated")
def test_a_life_of_a_fleet_is_written_as_it_always_was(tmp_path: Path) -> None:
    told = "\n".join(_life(tmp_path / "world")) + "\n"
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(told)
    assert told.splitlines() == GOLDEN.read_text().splitlines()


def _life(root: Path) -> Iterator[str]:
    """Builds, a pull request and its merge, a refresh, verdicts, failures, new regions, a new name, an end."""
    world = World.begin(
        root,
        {
            "desired/reconciler.yaml": ONE_AT_A_TIME,
            **image_files("base", ON_DEBIAN),
            **image_files("web", ON_BASE),
            **image_files("db", VALIDATED),
            **image_files("tools", ON_TOOLBOX),
        },
    )
    yield from _plan(world, "new")
    world.controller().reconcile()
    world.judge("db", "passed")
    world.clock.advance(hours=1)
    yield from _plan(world, "a verdict is there")
    world.controller().reconcile()
    on_branch(world).preview(BRANCH)
    merge(world)
    yield from _plan(world, "merged")
    world.controller().reconcile()
    world.pass_days(8)
    world.publish_upstream("debian-12-amd64-20261130")
    yield from _plan(world, "refreshed", refresh=True)
    world.controller().reconcile(refresh=True)
    world.judge("db", "failed")
    world.commit({"desired/tools/setup.sh": "false\n", "desired/broken/image.yaml": "regions: [nowhere\n"})
    failing = world.controller()
    failing.builder.failures = {
        "tools": BuildFailed("setup.sh ended with 1", cause="failed", seconds=7, log=Path("tools.log"))
    }
    yield from _plan(world, "failing")
    failing.reconcile()
    world.commit(
        {
            "desired/reconciler.yaml": ONE_AT_A_TIME.replace(EU, f"{EU}, {AP}"),
            **no_image_files("web"),
            **image_files("www", f"{ON_BASE}moved_from: web\n", setup="echo more"),
            **no_image_files("tools"),
            "desired/broken/image.yaml": None,
        }
    )
    world.strip_tags("base", US)
    world.lose("db", EU)
    yield from _plan(world, "moved, removed, lost, and in one more region", prune=True)
    world.controller().reconcile(prune=True)
    yield from _plan(world, "after it all")
    yield from _left(world)


def _plan(world: World, title: str, *, refresh: bool = False, prune: bool = False) -> Iterator[str]:
    """The plan in each of its forms."""
    plan = world.controller().look(PlanOptions(refresh=refresh, prune=prune))[1].plan
    yield f"=== {title}: the plan"
    yield plan.model_dump_json(indent=2, exclude_none=True)
    yield plans.headline(plan)
    for image in plan.images:
        yield from (f"{image.image}: {line}" for line in plans.details(image))
    yield as_markdown(plan)
    yield of_plan(plan)


def _left(world: World) -> Iterator[str]:
    """Everything that the life left: in state/, in git, in the registry."""
    for path in world.state_files():
        yield f"=== state/{path}"
        yield world.show(path)
    yield "=== commits"
    yield git(world.origin, "log", "--format=%H %an <%ae> %at%n%B", "--name-status", "main")
    yield "=== annotated tags"
    form = "%(refname) %(objecttype) %(*objectname) %(taggername) %(taggerdate:unix)%0a%(contents)"
    yield git(world.origin, "for-each-ref", f"--format={form}", "refs/tags")
    yield "=== artifacts"
    for one in sorted(world.registry.artifacts, key=lambda one: (one.location, one.id)):
        yield f"{one.location} {one.id} {one.name} {one.state} {json.dumps(one.tags, sort_keys=True)}"
