"""A pull request on the loop's fleet: its branch, its pushes and its merge."""

from __future__ import annotations

from tests.integration.loop.world import Controller, Files, World, git

BRANCH = "feature/more"
MORE = {f"desired/{image}/setup.sh": "echo more\n" for image in ("base", "web")}


def on_branch(world: World, changes: Files = MORE) -> Controller:
    """A clone on a branch that makes these changes (absent: to both images), pushed as for a pull request."""
    world.controller("pull-request")
    git(world.root / "pull-request", "switch", "--quiet", "--create", BRANCH)
    push(world, changes)
    return world.controller("pull-request")


def push(world: World, changes: Files) -> None:
    """Push one more commit to the branch."""
    world.commit(changes, "More", branch=BRANCH, where="pull-request")


def merge(world: World) -> str:
    """The pull request is merged as one squashed commit."""
    person = world.root / "person"
    git(person, "fetch", "--quiet", "origin")
    git(person, "merge", "--quiet", "--squash", f"origin/{BRANCH}")
    return world.commit({}, "More (#7)")
