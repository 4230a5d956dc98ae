"""Recording in a repository that has no remote: the branch moves, and the checkout with it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.git.objects import Commit, Recorded, TagRequest
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository, clone_with_origin
from reconciler.git.tags import tag_message
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Locked, Terminal, UserError
from reconciler.model.tree import Tree
from tests.integration.git.conftest import MOMENT, Waits, commit, git, lock_path, writing

RecorderIn = Callable[..., Recorder]


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    directory = tmp_path / "alone"
    git(tmp_path, "init", "--quiet", str(directory))
    commit(directory, {"README.md": "fleet\n"}, "Begin")
    return directory


def test_a_record_is_a_commit_on_the_current_branch(alone: Path, recorder_in: RecorderIn) -> None:
    tag = TagRequest("image/web/1", git(alone, "rev-parse", "HEAD"), "built")

    result = recorder_in(alone).record(writing("web", "{}\n", tag))

    head = git(alone, "rev-parse", "main")
    assert result == Recorded(head, "main", pushed=False, changed=True, tries=1)
    assert git(alone, "status", "--porcelain") == ""
    assert alone.joinpath(lock_path("web")).read_text() == "{}\n"
    assert git(alone, "tag", "--list") == "image/web/1"


def test_work_in_progress_survives_a_record(alone: Path, recorder_in: RecorderIn) -> None:
    alone.joinpath("README.md").write_text("half a sen")
    alone.joinpath("staged").write_text("1")
    git(alone, "add", "staged")

    result = recorder_in(alone).record(writing("web", "{}\n"))

    assert result is not None
    assert result.left_behind is None
    assert git(alone, "status", "--porcelain").splitlines() == [" M README.md", "A  staged"]


def test_a_lockfile_that_somebody_is_editing_is_left_to_them(alone: Path, recorder_in: RecorderIn) -> None:
    recorder = recorder_in(alone)
    recorder.record(writing("web", "{}\n"))
    alone.joinpath(lock_path("web")).write_text("edited")

    result = recorder.record(writing("web", '{"new": 1}\n'))

    assert result is not None
    assert lock_path("web") in (result.left_behind or "")
    assert git(alone, "show", f"main:{lock_path('web')}") == '{"new": 1}'
    assert alone.joinpath(lock_path("web")).read_text() == "edited"


def test_a_branch_that_moves_meanwhile_gets_the_record_on_top(alone: Path, recorder_in: RecorderIn) -> None:
    calls: list[str] = []

    def regenerate(tree: Tree) -> Commit:
        calls.append(tree.oid)
        if len(calls) == 1:
            commit(alone, {"meanwhile": "1"})
        return writing("web", "{}\n")(tree)

    result = recorder_in(alone).record(regenerate)

    assert result is not None
    assert result.tries == 2
    assert git(alone, "rev-parse", "main~1") == calls[1]
    assert git(alone, "status", "--porcelain") == ""


def test_a_tag_that_exists_stays(alone: Path, recorder_in: RecorderIn) -> None:
    git(alone, "tag", "--annotate", "--message", "theirs", "image/web/1")
    tag = TagRequest("image/web/1", git(alone, "rev-parse", "HEAD"), "ours")

    result = recorder_in(alone).record(writing("web", "{}\n", tag))

    assert result is not None
    assert result.changed
    assert tag_message(Repository.open(alone).git, "image/web/1") == "theirs\n"


def test_another_branch_than_the_checked_out_one_can_be_recorded_to(alone: Path, recorder_in: RecorderIn) -> None:
    git(alone, "branch", "fleet")

    result = recorder_in(alone, GitSettings(branch="fleet")).record(writing("web", "{}\n"))

    assert result is not None
    assert git(alone, "rev-parse", "fleet") == result.commit
    assert not alone.joinpath(lock_path("web")).exists()


def test_a_detached_head_has_no_branch_to_record_to(alone: Path) -> None:
    git(alone, "checkout", "--quiet", "--detach")

    with pytest.raises(UserError, match="HEAD is detached and there is no remote"):
        Repository.open(alone).recorder(GitSettings(), now=lambda: MOMENT, sleep=lambda _: None, random=lambda: 0)


def test_a_branch_that_is_not_there_is_named(alone: Path, recorder_in: RecorderIn) -> None:
    with pytest.raises(UserError, match="there is no branch fleet"):
        recorder_in(alone, GitSettings(branch="fleet")).record(writing("web", "{}\n"))


@pytest.mark.parametrize("sign", [False, True])
def test_a_tag_in_the_way_here_is_named_with_what_keeps_both(
    alone: Path, recorder_in: RecorderIn, *, sign: bool, tmp_path: Path
) -> None:
    if sign:
        git(alone, "config", "gpg.format", "ssh")
        git(alone, "config", "user.signingKey", str(tmp_path / "key"))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    git(alone, "tag", "--annotate", "--message", "mine", "image")
    tag = TagRequest("image/web/1", git(alone, "rev-parse", "HEAD"), "built")
    recorder = recorder_in(alone, GitSettings(sign=sign))

    with pytest.raises(Terminal) as raised:
        recorder.record(writing("web", "{}\n", tag))

    what, *_, advice = str(raised.value).splitlines()
    assert what == "the tag image of this clone is in the way of the tag image/web/1"
    for command in advice.strip().strip("`").split("`, then `"):
        git(alone, *command.split()[1:])
    assert recorder.record(writing("web", "{}\n", tag)) is not None
    assert git(alone, "tag", "--list").split() == ["image-old", "image/web/1"]


def test_a_lock_that_stays_here_is_named(alone: Path, recorder_in: RecorderIn, waits: Waits) -> None:
    lock = alone / ".git/refs/heads/main.lock"
    lock.touch()

    with pytest.raises(Locked) as raised:
        recorder_in(alone).record(writing("web", "{}\n"))

    assert raised.value.what.endswith(f"or one that was killed left {lock}")
    assert len(waits) == 9


def test_an_origin_to_play_with_is_made_whatever_a_person_has_set(tmp_path: Path) -> None:
    source = tmp_path / "source"
    git(tmp_path, "init", "--quiet", str(source))
    commit(source, {"desired/web/web.pkr.hcl": "source {}\n", "state/web.lock.json": "{}\n"})
    hooks = tmp_path / "templates/hooks"
    hooks.mkdir(parents=True)
    hooks.joinpath("pre-commit").write_text("#!/bin/sh\nexit 1\n")
    hooks.joinpath("pre-commit").chmod(0o755)
    (Path.home() / "ignored").write_text("*.json\n")
    for name, value in {
        "commit.gpgSign": "true", "tag.gpgSign": "true", "push.gpgSign": "true", "gpg.program": "false",
        "push.default": "nothing", "init.templateDir": str(tmp_path / "templates"), "init.defaultBranch": "trunk",
        "core.excludesFile": "~/ignored", "push.followTags": "true",
    }.items():  # fmt: skip
        git(source, "config", "--global", name, value)

    tmp_path.joinpath("play").mkdir()

    clone = clone_with_origin(source, tmp_path / "play", name="fleet")

    origin = tmp_path / "play/origin.git"
    assert git(origin, "ls-tree", "-r", "--name-only", "main").split() == [
        "desired/web/web.pkr.hcl", "state/web.lock.json"
    ]  # fmt: skip
    assert git(clone, "symbolic-ref", "--short", "refs/remotes/origin/HEAD") == "origin/main"
