"""What a branch changes in state/, what git's merge alone would change, and what is said where nobody knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Place
from reconciler.steps import one_writer
from reconciler.steps.one_writer import Asking, Judged, Recorded, judge_state, written_by_branch
from tests.unit.steps.in_hand import MemoryTree

LOCK, OTHER = "state/web.lock.json", "state/base.lock.json"
BASE, HEAD, BRANCH = "b" * 40, "a" * 40, "c" * 40


def clone(
    trees: dict[str, MemoryTree], *, bases: tuple[str, ...] = (), shallow: bool = False, merges: list[str] | None = None
) -> Repository:
    """A clone that knows these commits. `merges` is what git says that a merge changes; None: it can't tell."""
    return cast("Repository", SimpleNamespace(
        tree=trees.__getitem__, merge_bases=lambda *_: list(bases), shallow=shallow, git=None,
        changed_by_merge=lambda *_, **__: merges,
    ))  # fmt: skip


@pytest.fixture(autouse=True)
def no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was touched and taken back: that is asked of git alone."""
    monkeypatch.setattr(one_writer, "touched_below", lambda *_, **__: ())
    monkeypatch.setattr(one_writer, "_is_ours", lambda *_, **__: False)
    monkeypatch.setattr(one_writer, "last_touched", lambda *_, **__: ())


class TestWritten:
    def errors(self, repository: Repository, now: MemoryTree) -> list[tuple[str, Place | None, str]]:
        found = written_by_branch(repository, now, commit=BRANCH, recorded=HEAD, branch="feature")
        return [(one.what, one.where, one.hint[0]) for one in found]

    def test_what_is_beside_state_is_the_branchs_own(self) -> None:
        before = MemoryTree({LOCK: b"1", "desired/web/image.yaml": b"1"})
        now = MemoryTree({LOCK: b"1", "desired/web/image.yaml": b"2", "statement.md": b"1"})
        assert self.errors(clone({BASE: before}, bases=(BASE,), merges=[]), now) == []

    def test_a_new_file_is_taken_away_and_an_old_one_taken_back(self) -> None:
        before, now = MemoryTree({OTHER: b"1"}), MemoryTree({OTHER: b"2", LOCK: b"1"})
        (edited, new) = self.errors(clone({BASE: before}, bases=(BASE,)), now)
        assert (edited[1], edited[2].partition(" takes")[0]) == (Place(OTHER), f"`git checkout {BASE[:7]} -- {OTHER}`")
        assert (new[1], new[2].partition(" takes")[0]) == (Place(LOCK), f"`git rm {LOCK}`")

    def test_a_link_in_the_place_of_state_is_a_change_of_it(self) -> None:
        found = self.errors(clone({BASE: MemoryTree()}, bases=(BASE,)), MemoryTree({"state": b"elsewhere"}))
        assert [where for _, where, _ in found] == [Place("state")]

    def test_where_each_was_merged_into_the_other_it_is_what_differs_from_all_of_them(self) -> None:
        first, second = MemoryTree({LOCK: b"1", OTHER: b"1"}), MemoryTree({LOCK: b"2", OTHER: b"1"})
        trees = {BASE: first, "d" * 40: second, HEAD: second}
        edited = MemoryTree({LOCK: b"2", OTHER: b"3"})
        ((_, where, hint),) = self.errors(clone(trees, bases=(BASE, "d" * 40), merges=[]), edited)
        assert (where, hint.partition(" takes")[0]) == (Place(OTHER), f"`git checkout {BASE[:7]} -- {OTHER}`")
        now = MemoryTree({LOCK: b"2", OTHER: b"1"})
        assert self.errors(clone(trees, bases=(BASE, "d" * 40), merges=[]), now) == []

    def test_what_a_merge_alone_would_change_is_refused(self) -> None:
        before = MemoryTree({LOCK: b"1"})
        repository = clone({BASE: before, HEAD: MemoryTree({LOCK: b"2"})}, bases=(BASE,), merges=[LOCK])
        ((what, where, _),) = self.errors(repository, before)
        assert where == Place(LOCK)
        assert what.startswith("the merge of this branch changes state/")

    def test_where_git_can_not_tell_a_rename_beside_a_new_lockfile_is_refused(self) -> None:
        before = MemoryTree({"desired/a": b"1"})
        theirs = MemoryTree({"desired/b": b"1", LOCK: b"1"})
        edited, same = MemoryTree({"desired/a": b"2"}), before
        repository = clone({BASE: before, HEAD: theirs}, bases=(BASE,), merges=None)
        assert [where for _, where, _ in self.errors(repository, edited)] == [Place(LOCK)]
        assert self.errors(repository, same) == []

    @pytest.mark.parametrize("shallow", [True, False])
    def test_of_a_clone_that_ends_before_the_two_part_that_is_said(self, *, shallow: bool) -> None:
        repository = clone({HEAD: MemoryTree({LOCK: b"1"})}, shallow=shallow)
        ((what, where, _),) = self.errors(repository, MemoryTree({LOCK: b"2"}))
        assert where == Place(LOCK)
        assert ("the clone is shallow" in what) is shallow

    def test_no_more_than_twenty_files_are_named(self) -> None:
        many = MemoryTree({f"state/{number}.lock.json": b"1" for number in range(30)})
        assert len(self.errors(clone({BASE: MemoryTree()}, bases=(BASE,)), many)) == 20


class TestUnknown:
    """What nothing tells is refused in a CI, where nobody reads a note, and told to a person."""

    def judged(
        self, monkeypatch: pytest.MonkeyPatch, recorded: Recorded | None, tree: MemoryTree, **asking: Any
    ) -> Judged:
        monkeypatch.setattr(one_writer, "find_recorded", lambda *_, **__: recorded)
        monkeypatch.setattr(one_writer, "remotes", lambda _git: ["upstream"])
        return judge_state(clone({}), tree, GitSettings(), commit=BRANCH, asking=Asking(**asking))

    def test_on_the_branch_that_is_recorded_to_nothing_is_judged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorded = Recorded("origin", "main", None)
        judged = self.judged(monkeypatch, recorded, MemoryTree({LOCK: b"1"}), branch="main", in_ci=True)
        assert judged == Judged()

    def test_a_default_branch_that_nobody_tells_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        judged = self.judged(monkeypatch, None, MemoryTree({LOCK: b"1"}))
        assert judged.errors == ()
        assert "does not know the default branch of upstream" in judged.unknown
        assert "`git remote set-head upstream --auto`" in judged.unknown

    def test_a_job_is_refused_with_what_mends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorded = Recorded("origin", "main", None)
        (error,) = self.judged(monkeypatch, recorded, MemoryTree({LOCK: b"1"}), in_ci=True).errors
        assert error.where == Place(LOCK)
        assert "the clone lacks main, which state is recorded to" in error.what
        assert "`fetch-depth: 0`" in error.hint[0]

    def test_where_there_never_was_a_state_nothing_can_be_changed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        judged = self.judged(monkeypatch, None, MemoryTree({"desired/web/web.pkr.hcl": b"1"}), in_ci=True)
        assert judged == Judged()


class TestHead:
    """Of the branch that state is recorded to: nothing tells it where there is a remote that does not."""

    @pytest.mark.parametrize(
        ("found", "remote", "named", "head"),
        [
            (Recorded("origin", "main", HEAD), True, None, HEAD),
            (None, True, "main", None),
            (None, False, "main", "refs/heads/main"),
            (None, False, None, "refs/heads/feature"),
        ],
    )
    def test_it_is_the_remotes_and_without_one_a_local_branch(
        self, monkeypatch: pytest.MonkeyPatch, found: Recorded | None, remote: bool, named: str | None, head: str | None  # noqa: FBT001 - a case
    ) -> None:  # fmt: skip
        monkeypatch.setattr(one_writer, "find_recorded", lambda *_, **__: found)
        monkeypatch.setattr(one_writer, "remotes", lambda _git: ["origin"] if remote else [])
        monkeypatch.setattr(one_writer, "find_ref", lambda _git, ref: ref)
        repository = cast("Repository", SimpleNamespace(git=None, branch="feature"))

        assert one_writer.recorded_head(repository, GitSettings(branch=named)) == head
