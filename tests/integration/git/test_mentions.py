"""Where in history a text is found: by the messages of commits, and by what files held."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.git.command import Git
from reconciler.git.past import Mention, mentions, mentions_by_message, newest_before
from reconciler.git.repository import Repository
from reconciler.git.tags import tags_with
from tests.integration.git.conftest import commit, git


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a commit that holds nothing that is looked for."""
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init", "--quiet")
    commit(root, {"state/other.json": "{}"}, "Begin")
    return root


def found(root: Path, text: str, *, folder: str = "state", below: str = "") -> dict[str, tuple[Mention, ...]]:
    """What each way of looking finds."""
    at = replace(Repository.open(root).git, below=below)
    return {
        "messages": mentions_by_message(at, text, folder=folder, revision="HEAD"),
        "files": mentions(at, text, folder=folder, revision="HEAD"),
    }


def test_a_file_that_holds_a_text_and_whose_commit_says_so_is_found_by_both(root: Path) -> None:
    made = commit(root, {"state/web.json": '["ami-1"]', "desired/web": "ami-1"}, "web: build\n\nus-east-1 ami-1")
    commit(root, {"state/web.json": "[]"}, "web: retire\n\nus-east-1 ami-1")

    expected = (Mention(made, "state/web.json", b'["ami-1"]'),)
    assert found(root, "ami-1") == {"messages": expected, "files": expected}


def test_where_the_message_is_silent_the_file_is_found_by_what_it_held(root: Path) -> None:
    made = commit(root, {"state/web.json": '["ami-1"]'}, "Squashed")
    commit(root, {"state/web.json": '["ami-1", "ami-2"]'}, "More")

    both = found(root, "ami-1")

    assert both["messages"] == ()
    assert [one.commit for one in both["files"]] == [made]


def test_what_only_a_message_says_is_not_believed(root: Path) -> None:
    commit(root, {"state/web.json": "[]"}, "web: build\n\nus-east-1 ami-1")

    assert found(root, "ami-1") == {"messages": (), "files": ()}


@pytest.mark.parametrize("text", ["a.c", "^", "[", "-S", "--all", "\\", "*"])
def test_a_text_is_taken_as_it_is(root: Path, text: str) -> None:
    commit(root, {"state/abc.json": "abc"}, "abc")
    made = commit(root, {"state/web.json": f"<{text}>"}, f"says <{text}>")

    assert {name: [one.commit for one in way] for name, way in found(root, text).items()} == {
        "messages": [made],
        "files": [made],
    }


def test_files_below_the_folder_and_beside_it_are_left_out(root: Path) -> None:
    commit(root, {"state/sbom/web.json": "ami-1", "states/web.json": "ami-1", "web.json": "ami-1"}, "ami-1")

    assert found(root, "ami-1") == {"messages": (), "files": ()}


def test_of_two_fleets_in_one_repository_only_its_own_is_looked_at(root: Path) -> None:
    made = commit(root, {"teams/a/state/web.json": "ami-1", "state/web.json": "ami-1"}, "ami-1")

    expected = (Mention(made, "state/web.json", b"ami-1"),)
    assert found(root, "ami-1", below="teams/a") == {"messages": expected, "files": expected}


def test_a_name_that_is_no_text_is_in_nobodys_way(root: Path) -> None:
    made = commit(
        root, {"state/web.json": "ami-1", "state/two\nlines.json": "x", "state/caf\u00e9.json": "ami-1"}, "ami-1"
    )

    assert {one.path for one in found(root, "ami-1")["messages"]} == {"state/web.json", "state/caf\u00e9.json"}
    assert {one.commit for one in found(root, "ami-1")["files"]} == {made}


def test_the_newest_commit_by_a_time_is_of_the_branch_s_own_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dated(day: int, name: str) -> str:
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2026-11-{day}T12:00:00Z")
        return commit(root, {f"state/{name}": name}, name)

    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-19T12:00:00Z")
    git(root, "commit", "--quiet", "--amend", "--allow-empty", "--no-edit")
    first = dated(20, "first")
    git(root, "switch", "--quiet", "--create", "side")
    dated(21, "side")
    git(root, "switch", "--quiet", "main")
    dated(23, "third")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-24T12:00:00Z")
    git(root, "merge", "--quiet", "--no-ff", "-m", "Merge", "side")
    at = Repository.open(root).git

    assert before(at, datetime(2026, 11, 22, tzinfo=UTC)) == first
    assert before(at, datetime(2026, 11, 25, tzinfo=UTC)) == git(root, "rev-parse", "HEAD")
    assert before(at, datetime(1999, 1, 1, tzinfo=UTC)) is None


def before(at: Git, moment: datetime) -> str | None:
    return newest_before(at, moment, revision="HEAD", now=datetime(2026, 11, 30, tzinfo=UTC))


def test_a_commit_of_any_time_hides_none_that_came_before_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given two commits of somebody, one of 1970 and one of a time to come, on a branch that takes them as they are
    def dated(time: str, name: str) -> str:
        monkeypatch.setenv("GIT_COMMITTER_DATE", time)
        return commit(root, {f"state/{name}": name}, name)

    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-19T12:00:00Z")
    git(root, "commit", "--quiet", "--amend", "--allow-empty", "--no-edit")
    dated("2098-11-20T12:00:00Z", "to come")
    first = dated("2026-11-20T12:00:00Z", "first")
    dated("2026-11-23T12:00:00Z", "recorded")
    dated("1970-01-02T12:00:00Z", "forged")
    dated("2098-11-21T12:00:00Z", "to come as well")

    # Then what was recorded between them came after the day before it
    assert before(Repository.open(root).git, datetime(2026, 11, 22, tzinfo=UTC)) == first


def test_tags_are_found_by_what_their_messages_hold(root: Path) -> None:
    git(root, "tag", "--annotate", "-m", "web\n\nartifact: ami-1", "image/web/1")
    git(root, "tag", "--annotate", "-m", "web\n\nartifact: ami-2", "image/web/2")
    git(root, "tag", "image/web/light")
    git(root, "tag", "--annotate", "-m", "ami-1", "other")

    assert tags_with(Repository.open(root).git, "ami-1", "image") == ("image/web/1",)
    assert tags_with(Repository.open(root).git, "tagger Ada", "image") == ()


@pytest.mark.parametrize("name", ["desired/a\ncommit:{other}\nstate/web.json", "a\n\n{other}\nstate/web.json"])
def test_no_name_of_a_file_passes_for_another_commit(root: Path, name: str) -> None:
    # Given a commit of another branch that holds what is looked for, and a name that says it comes next in a log
    git(root, "switch", "--quiet", "--create", "other")
    other = commit(root, {"state/web.json": '["ami-1"]'}, "Forge")
    git(root, "switch", "--quiet", "-")
    commit(root, {name.format(other=other): ""}, "Tidy up ami-1")

    assert found(root, "ami-1") == {"messages": (), "files": ()}
