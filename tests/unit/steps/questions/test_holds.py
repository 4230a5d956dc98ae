"""The holds that git's history of a declaration tells: each version, oldest first, and none of what can't be read."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest

from reconciler.git.past import Version
from reconciler.git.repository import Repository
from reconciler.model.lockfile import Lockfile
from reconciler.plan.history import LockPast, LockVersion
from reconciler.steps.questions import holds as module
from reconciler.steps.questions.holds import holds_of

ID = "20261122T101530Z-1a2b3c4"


def a_past(*names: str) -> LockPast:
    """The past of an image that had these names, today's first."""
    versions = [LockVersion(f"l{at}", "2026-11-22T10:15:30Z", "ci", "s", {}, Lockfile(image=one))
                for at, one in enumerate(names)]  # fmt: skip
    return LockPast(tuple(versions))


def told(monkeypatch: pytest.MonkeyPatch, past: LockPast, **written: list[bytes | None]) -> list[tuple[str, ...]]:
    """What is told, where these versions of each name's declaration were written, newest first."""

    def versions(_git: object, path: str, *, revision: str) -> tuple[Version, ...]:
        del revision
        name = path.split("/")[1]
        at = datetime(2026, 11, 22, tzinfo=UTC)
        contents = written.get(name, [])
        return tuple(
            Version(f"{name}{len(contents) - number}", (), at, "ann <a@b>", "m", path, content)
            for number, content in enumerate(contents)
        )

    monkeypatch.setattr(module, "versions", versions)
    repository = cast("Repository", SimpleNamespace(git=None))
    return [(one.commit, one.hold or "", one.why or "") for one in holds_of(repository, past, revision="HEAD")]


def test_who_bound_stable_and_when_it_was_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    held = f"hold: {{build: {ID}, reason: it works}}\n".encode()
    assert told(monkeypatch, a_past("web"), web=[b"", held, None]) == [
        ("web1", "", ""), ("web2", ID, "it works"), ("web3", "", ""),
    ]  # fmt: skip


def test_what_can_not_be_read_rules_nothing_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, a_past("web"), web=[b"hold: [\n", b"hold: later\n"]) == [("web1", "", "")]


def test_the_names_that_it_had_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    held = f"hold: {{build: {ID}, reason: it works}}\n".encode()
    found = told(monkeypatch, a_past("web", "www"), web=[b""], www=[held])
    assert [commit for commit, _, _ in found] == ["www1", "web1"]
