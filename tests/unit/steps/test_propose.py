"""What is recorded waits in one pull request, with what the run proposed before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.steps import propose as module
from reconciler.steps.propose import NOTHING, Proposed, propose
from reconciler.steps.run import Run
from tests.unit.steps.in_hand import in_hand

Make = Callable[..., Any]
BRANCH = "reconciler/state"


class Asked:
    """A host that notes what it is asked to propose."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], str, str, str]] = []

    def propose(self, images: tuple[str, ...], *, branch: str, base: str, body: str) -> None:
        self.asked.append((images, branch, base, body))


@pytest.fixture
def host() -> Asked:
    return Asked()


@pytest.fixture
def run(what_is_known: Make, tmp_path: Path, host: Asked, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Run]:
    monkeypatch.setattr(module, "proposal_branch", lambda _git: BRANCH)

    def make(push: str) -> Run:
        run = in_hand(what_is_known(settings={"git": {"push": push}}), tmp_path).run
        cast("SimpleNamespace", run.adapters).host = lambda _known: host
        return run

    return make


def test_what_is_pushed_needs_no_pull_request(run: Callable[[str], Run], host: Asked) -> None:
    before = Proposed(("base",), "base was built")

    assert propose(run("direct"), ("web",), "web was built") == NOTHING
    assert propose(run("pull-request"), (), "nothing", beside=before) == before
    assert host.asked == []


def test_one_pull_request_tells_of_all_that_a_run_proposed(run: Callable[[str], Run], host: Asked) -> None:
    proposing = replace(run("pull-request"))

    first = propose(proposing, ("base", "web"), "both were built")
    second = propose(proposing, ("web", "api"), "two were taken away", beside=first)
    third = propose(proposing, ("web",), "", beside=second)

    assert second == Proposed(("base", "web", "api"), "both were built\n\ntwo were taken away")
    assert third.body == second.body
    assert host.asked[1] == (second.images, BRANCH, "main", second.body)
