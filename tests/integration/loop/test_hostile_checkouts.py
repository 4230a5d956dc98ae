"""A verb is run where somebody's branch is checked out: what it changes says the branch that state is recorded to."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli import verdict
from reconciler.cli.main import main as reconciler
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Build
from reconciler.model.observation import Seen
from reconciler.ports.registry import Opening
from tests.doubles.registry import MemoryRegistry
from tests.integration.loop.world import SETTINGS, US, Controller, World, git

EVIL = "evil"


@pytest.fixture
def opened(pair: World, monkeypatch: pytest.MonkeyPatch) -> list[Opening]:
    """How a vote reached the registry."""
    found: list[Opening] = []

    def open_registry(kind: str, opening: Opening) -> MemoryRegistry:
        del kind
        found.append(opening)
        return pair.registry

    monkeypatch.setattr(verdict, "open_registry", open_registry)
    return found


def checked_out(world: World, change: Callable[[Path], object], *, name: str = "voter") -> Path:
    """A clone in which somebody's branch is checked out."""
    git(world.root, "clone", "--quiet", "origin.git", name)
    root = world.root / name
    git(root, "switch", "--quiet", "--create", EVIL)
    change(root)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "Change")
    git(root, "push", "--quiet", "origin", EVIL)
    return root


def with_settings(more: str) -> Callable[[Path], object]:
    return lambda root: (root / "desired/reconciler.yaml").write_text(f"{SETTINGS}{more}\n")


def naming(world: World, seen: Seen) -> Callable[[Path], object]:
    """The lockfile names another artifact as that of the newest build."""

    def change(root: Path) -> None:
        file = root / "state/web.lock.json"
        text = file.read_text()
        for one in newest(world).artifacts:
            text = text.replace(one.id, seen.id)
        file.write_text(text)

    return change


def newest(world: World) -> Build:
    return world.lock("web").builds[0]


def vote(world: World, root: Path, *options: str) -> int:
    asked = ["verdict", "web", newest(world).id, "pass", "--evidence", "https://ci.example.org/7", "-C", str(root)]
    return reconciler([*asked, *options])


def votes(world: World) -> dict[str, str | None]:
    return {one.id: one.own("verdict") for one in world.registry.observe([US, "eu-west-1"]).artifacts}


def test_a_vote_counts_for_the_artifacts_that_are_recorded(pair: World, opened: list[Opening]) -> None:
    git(pair.root, "clone", "--quiet", "origin.git", "voter")
    assert vote(pair, pair.root / "voter") == 0
    assert len(opened) == 1
    ours = {one.id for one in newest(pair).artifacts}
    assert {one for one, voted in votes(pair).items() if voted == "passed"} == ours


@pytest.mark.parametrize("whose", ["another fleet's", "another build's", "nobody's"])
def test_a_lockfile_of_a_branch_has_nothing_voted_on(
    pair: World, opened: list[Opening], whose: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {
        "another fleet's": {"fleet": "acme/payments", "image": "payments"},
        "another build's": {"fleet": "acme/images", "image": "web", "build": "20261123T101530Z-1a2b3c4"},
        "nobody's": {},
    }[whose]
    tags = {f"reconciler:{name}": value for name, value in own.items()}
    theirs = pair.registry.seed(US, "payments", tags=tags)

    assert vote(pair, checked_out(pair, naming(pair, theirs))) == 1

    assert "state/web.lock.json: a branch changes state/" in capsys.readouterr().err
    assert set(votes(pair).values()) == {None}
    assert opened == [], "no registry is asked in whatever role"


@pytest.mark.parametrize("merged", [True, False])
def test_what_a_lockfile_names_is_not_voted_on_where_it_says_that_it_is_another_s(
    pair: World, opened: list[Opening], capsys: pytest.CaptureFixture[str], *, merged: bool
) -> None:
    theirs = pair.registry.seed(US, "payments", tags={"reconciler:fleet": "acme/payments"})
    root = checked_out(pair, naming(pair, theirs))
    if merged:
        git(root, "push", "--quiet", "origin", f"{EVIL}:main")
        git(root, "switch", "--quiet", "main")
        git(root, "pull", "--quiet")
    else:
        git(root, "remote", "remove", "origin")  # then what is checked out is recorded to

    assert vote(pair, root) == 1

    assert f"nobody votes on {theirs.id} in {US}" in capsys.readouterr().err
    assert set(votes(pair).values()) == {None}
    assert opened


def test_in_what_role_is_voted_says_no_branch(pair: World, opened: list[Opening]) -> None:
    root = checked_out(pair, with_settings("aws: {role: 'arn:aws:iam::222222222222:role/evil'}"))

    assert vote(pair, root) == 0

    assert [one.settings.aws.role for one in opened] == [None]


def calls_itself_recorded(root: Path) -> None:
    with_settings(f"git: {{branch: {EVIL}}}")(root)


@pytest.mark.parametrize(
    "verb",
    [
        lambda one: one.reconcile(),
        lambda one: one.collect(),
        lambda one: one.adopt("web", "us-east-1:ami-00000000000000001"),
        lambda one: one.restore("web", "20261122T101530Z-1a2b3c4"),
    ],
    ids=["reconcile", "gc", "adopt", "restore"],
)
def test_no_branch_says_that_state_is_recorded_to_it(pair: World, verb: Callable[[Controller], object]) -> None:
    """Else its desired/ and state/ would say what is built, recorded and taken away, in whatever role is at hand."""
    before = pair.registry.observe([US, "eu-west-1"]).artifacts
    checked_out(pair, calls_itself_recorded, name="victim")

    with pytest.raises(
        UserError, match=re.escape(f"state is recorded to main, and the checkout is on the branch {EVIL}")
    ):
        verb(pair.controller("victim"))

    assert pair.registry.observe([US, "eu-west-1"]).artifacts == before


def test_nor_that_it_is_rolled_back_by_its_own_state(pair: World, capsys: pytest.CaptureFixture[str]) -> None:
    root = checked_out(pair, naming(pair, pair.registry.seed(US, "payments", tags={})))
    head = git(root, "rev-parse", "HEAD")

    asked = ["rollback", "web", newest(pair).id, "--reason", "x", "--offline", "--commit", "-C", str(root)]
    assert reconciler(asked) == 1

    assert "state/web.lock.json" in capsys.readouterr().err
    assert git(root, "rev-parse", "HEAD") == head
