"""Whose commit it is: what is not known to be the repository's own is a stranger's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.git.destination import Target
from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Transient, UserError
from reconciler.steps import whose_branch
from reconciler.steps.run import Origin
from reconciler.steps.whose_branch import known_stranger, refuse_stranger
from tests.unit.steps.in_hand import MemoryTree

HEAD, THEIRS, MAIN = "a" * 40, "b" * 40, "c" * 40


class Remote:
    """A remote with some branches. None in the place of a head: it does not answer."""

    name = "origin"

    def __init__(self, **branches: str | None) -> None:
        self.branches = branches

    def fetch(self, branch: str, *, limit_seconds: float = 0) -> str:
        del limit_seconds
        if branch not in self.branches:
            raise UserError(f"no branch {branch}")
        found = self.branches[branch]
        if found is None:
            raise Transient("no route")
        return found


def clone(remote: Remote | None, *, contains: dict[str, set[str]] | None = None) -> Repository:
    """A clone at HEAD. `contains` says which commits a head leads to."""
    known = contains or {}
    return cast("Repository", SimpleNamespace(
        head=HEAD, remote=lambda _name: remote, is_ancestor=lambda commit, head: commit in {head, *known.get(head, ())},
        tree=lambda _commit: MemoryTree(), remembered=lambda _remote, _branch: None,
    ))  # fmt: skip


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whose_branch, "git_settings", lambda _repository: GitSettings())
    monkeypatch.setattr(whose_branch, "find_target", lambda _repository: SimpleNamespace(head=MAIN))


def target(branch: str = "main") -> Target:
    return cast("Target", SimpleNamespace(branch=branch, head=MAIN))


def test_there_is_nothing_to_preview_where_state_is_recorded_to() -> None:
    with pytest.raises(UserError, match="HEAD is on main, where there is nothing to preview"):
        known_stranger(clone(None), target(), Origin("main", in_ci=True))


@pytest.mark.parametrize(
    ("remote", "contains", "why"),
    [
        (Remote(feature=HEAD), {}, ""),
        (Remote(feature=THEIRS), {THEIRS: {HEAD}}, ""),
        (Remote(feature=THEIRS), {}, f"The repository's feature has no commit {HEAD[:7]}"),
        (Remote(), {}, "The repository has no branch feature"),
        (None, {}, ""),
    ],
    ids=["its head", "a commit of it", "a fork's branch of the same name", "a fork's branch", "no remote"],
)
def test_a_job_takes_for_ours_what_the_repositorys_own_branch_has(
    remote: Remote | None, contains: dict[str, set[str]], why: str
) -> None:
    found = known_stranger(clone(remote, contains=contains), target(), Origin("feature", in_ci=True))
    assert found.stranger == why


def test_what_a_ci_calls_a_strangers_stays_one_and_a_person_is_none() -> None:
    forked = Origin("feature", in_ci=True, stranger="It is a fork's")
    assert known_stranger(clone(Remote(feature=HEAD)), target(), forked).stranger == "It is a fork's"
    assert known_stranger(clone(Remote()), target(), Origin("feature")).stranger == ""


def test_nothing_of_a_stranger_is_run_and_what_is_on_main_is_ours() -> None:
    job = Origin("feature", in_ci=True)
    with pytest.raises(UserError, match="nothing of this commit is run: the repository has no branch feature"):
        refuse_stranger(clone(Remote()), job)
    refuse_stranger(clone(Remote(), contains={MAIN: {HEAD}}), job)
    refuse_stranger(clone(Remote()), Origin("feature"))


class TestPlanned:
    def told(self, monkeypatch: pytest.MonkeyPatch, remote: Remote | None, **more: Any) -> str:
        recorded = SimpleNamespace(head=MAIN, remote="origin") if more.pop("knows_main", True) else None
        monkeypatch.setattr(whose_branch, "settings_at", lambda _tree: SimpleNamespace(git=GitSettings()))
        monkeypatch.setattr(whose_branch, "find_recorded", lambda *_, **__: recorded)
        repository = clone(remote, contains=more.pop("contains", None))
        return whose_branch.stranger_planned(
            repository, Origin("feature", **{"in_ci": True, **more}), commit=HEAD, told=None
        )

    def test_a_remote_that_is_silent_leaves_it_a_strangers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        why = self.told(monkeypatch, Remote(feature=None))
        assert why == "Whether the repository's feature has this commit is not known (no route)"

    def test_a_clone_that_knows_of_no_default_branch_asks_origin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.told(monkeypatch, Remote(feature=HEAD), knows_main=False) == ""
        assert self.told(monkeypatch, Remote(feature=THEIRS), knows_main=False).endswith(f"no commit {HEAD[:7]}")

    def test_what_is_on_main_and_what_a_person_has_are_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.told(monkeypatch, Remote(), contains={MAIN: {HEAD}}) == ""
        assert self.told(monkeypatch, Remote(), in_ci=False) == ""
        assert self.told(monkeypatch, Remote(feature=HEAD), stranger="It is a fork's") == "It is a fork's"
