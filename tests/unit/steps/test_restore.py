"""What is kept of what was removed, told by the names that builds give, and one artifact brought back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import events
from reconciler.model.errors import Transient, UserError
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.lookup import BuildAnswer
from reconciler.model.restoration import Restored
from reconciler.plan.restoring import Whole
from reconciler.state.lockfiles import path_of, render
from reconciler.steps import restore as module
from reconciler.steps.record_files import paths_of
from reconciler.steps.restore import _Came, _Sought, restorable
from tests.unit.steps.in_hand import InHand, MemoryTree, in_hand, there

Make = Callable[..., Any]
US = "us-east-1"


class Removed:
    """A build whose artifact was retired, in a location that keeps such things for a week."""

    def __init__(self, built: Make, what_is_known: Make, root: Path) -> None:
        situation = built()
        self.image = situation.image
        self.hand: InHand = in_hand(what_is_known(self.image, now=situation.now), root)
        self.build: Build = there(self.hand, situation.lock).builds[0]
        self.hand.registry.restored_for[US] = 7
        self.hand.registry.clock = self.hand.run.now
        (self.artifact,) = self.build.artifacts

    def retire(self) -> None:
        self.hand.registry.retire(self.artifact, image="web")

    def back(self, *, tagged: tuple[Artifact, ...] = (), sure: bool = False) -> _Came:
        place = frozenset({(US, self.artifact.id)}) if sure else frozenset[tuple[str, str]]()
        sought = _Sought(self.image, self.build, Whole(self.build), tagged, "9c0d1e2", place)
        return module._brought_back(self.hand.run, sought, self.artifact)


@pytest.fixture
def removed(built: Make, what_is_known: Make, tmp_path: Path) -> Removed:
    return Removed(built, what_is_known, tmp_path)


def test_what_can_be_brought_back_is_listed_with_until_when(removed: Removed) -> None:
    removed.retire()

    found = restorable(removed.hand.run.known, removed.hand.registry, head="9c0d1e2")

    assert [(one.image, one.build, one.id) for one in found.restorable] == [
        ("web", removed.build.id, removed.artifact.id)
    ]  # fmt: skip
    assert (found.kept_for, found.unread) == ({US: 7}, {})


def test_a_name_that_no_image_gives_is_not_listed(removed: Removed) -> None:
    strange = removed.hand.registry.seed(US, "golden", tags=dict(removed.hand.registry.artifacts[0].tags))
    removed.hand.registry.retire(strange, image="web")

    assert restorable(removed.hand.run.known, removed.hand.registry, head="9c0d1e2").restorable == ()


def test_a_location_that_can_not_be_asked_is_unknown_and_not_empty(removed: Removed) -> None:
    removed.retire()
    removed.hand.registry.unreadable[US] = "throttled"

    found = restorable(removed.hand.run.known, removed.hand.registry, head="9c0d1e2")

    assert found.restorable == ()
    assert set(found.unread) == {US}


def test_what_is_kept_comes_back_with_its_marks(removed: Removed) -> None:
    removed.retire()

    came = removed.back()

    assert came.told.outcome == "restored"
    assert came.artifact is not None
    assert [one.id for one in removed.hand.registry.artifacts] == [removed.artifact.id]
    assert [one.what for one in removed.hand.told(events.Tended)] == [f"restored {US} {removed.artifact.id}"]
    assert removed.back().told.outcome == "there", "once more there is nothing to do"


def test_what_nothing_keeps_any_more_is_gone(removed: Removed) -> None:
    removed.retire()
    later = removed.hand.run.now() + timedelta(days=8)
    removed.hand.registry.clock = lambda: later

    came = removed.back()

    assert (came.told.outcome, came.told.why, came.artifact) == ("gone", "nothing keeps it any more", None)


def test_what_is_called_otherwise_needs_the_tag_that_names_it(removed: Removed) -> None:
    odd = removed.hand.registry.seed(US, "golden", tags=dict(removed.hand.registry.artifacts[0].tags))
    removed.artifact = odd.as_artifact("amazon-ebs.web")
    removed.hand.registry.retire(odd, image="web")

    assert removed.back().told.outcome == "failed"
    assert "neither that nor the record in a tag says" in removed.back().told.why
    assert removed.back(tagged=(removed.artifact,)).told.outcome == "restored"


def test_what_is_there_with_others_marks_is_not_taken(removed: Removed) -> None:
    (seen,) = removed.hand.registry.artifacts
    removed.hand.registry.tag(seen, {"reconciler:image": "db"})

    came = removed.back(sure=True)

    assert (came.told.outcome, came.artifact) == ("failed", None)
    assert came.told.why.endswith("its marks are others")


def test_what_goes_wrong_is_told_and_is_that_artifacts_own(removed: Removed, monkeypatch: pytest.MonkeyPatch) -> None:
    removed.retire()

    def refuse(_artifact: object) -> None:
        raise Transient("throttled")

    monkeypatch.setattr(removed.hand.registry, "restore", refuse)

    assert removed.back().told.why == "throttled"
    assert len(removed.hand.told(events.Failed)) == 1


@pytest.mark.parametrize(
    ("days", "rule"),
    [
        (0, "; no rule there keeps what is removed"), (7, "; what is removed there is kept for 7 days"), (None, ""),
    ],
)  # fmt: skip
def test_where_nothing_comes_back_it_is_said_what_the_location_keeps(
    removed: Removed, days: int | None, rule: str
) -> None:
    sought = _Sought(removed.image, removed.build, Whole(removed.build), (), "9c0d1e2", frozenset())
    gone = Restored(kind="ami", location=US, id="ami-1", outcome="gone", why="nothing keeps it any more")
    failed = gone.model_copy(update={"outcome": "failed", "why": "throttled"})

    error = module._nothing(sought, [gone, failed], {US: days})

    assert error.hint[0] == f"{US} ami-1: nothing keeps it any more{rule}"
    assert error.hint[1] == f"{US} ami-1: throttled"
    assert error.hint[2].startswith("to have it built again: `git revert`")


def test_a_preview_is_restored_by_nobody(removed: Removed, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = BuildAnswer(
        image="web", names=("web",), channels=(), kept=False, build=removed.build, preview=True, branch="feature"
    )
    monkeypatch.setattr(module, "show", lambda *_, **__: answer)
    with pytest.raises(UserError, match="is a preview of web, which nobody records"):
        module.restore(removed.hand.run, ["x"])
    other = answer.model_copy(update={"preview": False, "image": "db"})
    monkeypatch.setattr(module, "show", lambda *_, **__: other)
    with pytest.raises(UserError, match="desired/ declares no db, of which"):
        module.restore(removed.hand.run, ["x"])
    undeclared = replace(removed.hand.run.known, fleet=replace(removed.hand.run.known.fleet, images={}))
    monkeypatch.setattr(module, "show", lambda *_, **__: answer.model_copy(update={"preview": False}))
    with pytest.raises(UserError, match="desired/ declares no web, of which"):
        module.restore(replace(removed.hand.run, known=undeclared), ["x"])


def test_what_was_beside_its_record_and_is_known_still_is_written_again(removed: Removed) -> None:
    named = removed.build.model_copy(update={"provenance": f"provenance/web/{removed.build.id}.intoto.json"})
    statement, signature = paths_of(named)
    removed.hand.recorder.tree = MemoryTree({statement: b"{}\n"})
    then = removed.hand.recorder.tree
    removed.hand.recorder.before = lambda _tree: MemoryTree({path_of("web"): render(Lockfile(image="web"))})
    sought = _Sought(removed.image, named, Whole(named), (), "9c0d1e2", frozenset())
    told = Restored(kind="ami", location=US, id=removed.artifact.id, outcome="restored", why="")

    module._record(removed.hand.run, sought, [removed.artifact], [told])

    (commit,) = removed.hand.recorder.commits
    assert {one.path: one.content for one in commit.changes if one.path in (statement, signature)} == {
        statement: then.files[statement]
    }
    lock = removed.hand.lock()
    assert lock is not None
    assert [one.id for one in lock.builds] == [named.id]
    assert f"{US} {removed.artifact.id}" in commit.message
