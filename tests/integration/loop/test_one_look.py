"""Every verb that plans sees the same drift: what is looked at follows from the options alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from click.testing import CliRunner, Result

from reconciler.ci.pipeline import job_name
from reconciler.cli import graph, plan, workspace
from reconciler.cli.workspace import Workspace
from reconciler.model.plan import PlanOptions
from tests.integration.loop.pull_request import BRANCH, merge, on_branch
from tests.integration.loop.world import EU, ON_DEBIAN, US, World, git, no_image_files

CONFIG: dict[str, Any] = {
    "version": 2.1,
    "jobs": {"reconcile": {"machine": True, "parameters": {"arguments": {"type": "string"}}, "steps": ["checkout"]}},
}


class Situation:
    """What happened to a settled fleet, and what whoever plans then asks for."""

    def __init__(self, *asked: str, happens: Callable[[World], object]) -> None:
        self.asked, self.happens = asked, happens


def leave_previews(world: World) -> None:
    """A pull request is closed, and its branch deleted, a month ago."""
    on_branch(world).preview(BRANCH)
    git(world.origin, "update-ref", "-d", f"refs/heads/{BRANCH}")
    world.pass_days(30)


def merge_preview(world: World) -> None:
    """What a pull request built is merged."""
    on_branch(world).preview(BRANCH)
    merge(world)


def publish(world: World) -> None:
    """A channel is to be written out where consumers look."""
    world.commit({"desired/base/image.yaml": f'{ON_DEBIAN}publish: {{ssm: "/golden/base/{{channel}}"}}\n'})


def revoke(world: World) -> None:
    """What is stable is revoked."""
    build = world.lock("base").channels.stable
    world.commit({"desired/base/image.yaml": f"{ON_DEBIAN}revoke: [{{build: {build}, reason: a key is in it}}]\n"})


SITUATIONS = {
    "nothing": Situation(happens=World.head),
    "a change": Situation(happens=lambda world: world.commit({"desired/base/setup.sh": "echo more\n"})),
    "an old preview": Situation(happens=leave_previews),
    "a merged preview": Situation(happens=merge_preview),
    "a lost location": Situation(happens=lambda world: world.lose("web", EU)),
    "lost tags": Situation(happens=lambda world: world.strip_tags("web", US)),
    "a verdict": Situation(happens=lambda world: world.judge("base", "failed")),
    "a newer source": Situation("--refresh", happens=lambda world: world.publish_upstream("debian-12-amd64-20261201")),
    "a channel to write out": Situation(happens=publish),
    "a revoked build": Situation(happens=revoke),
    "a removed image": Situation("--prune", happens=lambda world: world.commit(no_image_files("web"))),
    "a forced image": Situation("--force", "base", happens=World.head),
    "no registry": Situation("--offline", happens=lambda world: world.lose("web", EU)),
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The config of a project whose job takes images."""
    file = tmp_path / "config.yml"
    file.write_text(yaml.safe_dump(CONFIG))
    return file


@pytest.mark.forms(quick=5)
@pytest.mark.parametrize("name", SITUATIONS)
def test_plan_graph_and_a_run_see_the_same_drift(
    pair: World, name: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a person's checkout in this situation, and the world's registry and time in place of this machine's
    situation = SITUATIONS[name]
    situation.happens(pair)
    pair.clock.advance(hours=1)
    git(pair.root / "person", "pull", "--quiet", "origin", "main")
    monkeypatch.chdir(pair.root / "person")
    monkeypatch.setattr(workspace, "now", pair.clock)
    for name_of, stand_in in {"registry": pair.registry, "publisher": pair.publisher, "expect": None}.items():
        monkeypatch.setattr(Workspace, name_of, Mock(return_value=stand_in))

    # When both verbs plan, and a run looks
    planned = answer(CliRunner().invoke(plan.command, ["--json", *situation.asked], standalone_mode=False))
    asked = ["--circleci", "--job", "reconcile", "--config", str(config), "--max-actions", "9", *situation.asked]
    drawn = answer(CliRunner().invoke(graph.command, asked, standalone_mode=False))
    _, run = pair.controller().look(PlanOptions.model_validate(planned["options"]))

    # Then all have the same to do
    due = [one["image"] for one in planned["images"] if one["actions"] != ["none"] or one.get("unknown")]
    assert jobs(drawn) == (sorted(map(job_name, due)) or ["nothing-to-do"])
    assert [(one.image, list(one.actions)) for one in run.plan.images] == [
        (image["image"], image["actions"]) for image in planned["images"]
    ]
    assert bool(due) is (name not in ("nothing", "no registry"))


def answer(ended: Result) -> dict[str, Any]:
    """What a verb printed on stdout, as JSON or YAML."""
    assert ended.exception is None, ended.exception
    text = ended.stdout
    read: dict[str, Any] = json.loads(text) if text.startswith("{") else yaml.safe_load(text)
    return read


def jobs(config: dict[str, Any]) -> list[str]:
    """The names of the jobs of a continuation."""
    invoked: Iterable[Any] = config["workflows"]["images"]["jobs"]
    return sorted(job if isinstance(job, str) else next(iter(job.values()))["name"] for job in invoked)
