"""What a branch changes in state/ by nothing but how it is merged is refused as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.cli.main import main as reconciler
from reconciler.git.history import changed_by_merge
from reconciler.git.repository import Repository
from tests.integration.loop.world import World, git

NEW = "echo new\n"


@pytest.fixture(params=["merge-tree", "as before git 2.38"])
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As this git tells what a merge gives, and as one does that can't."""
    if request.param != "merge-tree":
        monkeypatch.setattr("reconciler.git.repository.changed_by_merge", lambda *_, **__: None)


def mallory(world: World) -> Path:
    """The clone of the author of a branch."""
    git(world.root, "clone", "--quiet", "origin.git", "mallory")
    git(world.root / "mallory", "switch", "--quiet", "--create", "feature")
    return world.root / "mallory"


def put(root: Path, name: str, content: str, message: str = "Change") -> str:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)
    return git(root, "rev-parse", "HEAD")


def merged(world: World, theirs: Path, commit: str) -> None:
    """A person merges a commit of hers into main, as a host does."""
    me = world.root / "person"
    git(me, "pull", "--quiet", "--ff-only", "origin", "main")
    git(me, "fetch", "--quiet", str(theirs), "feature")
    git(me, "merge", "--quiet", "--no-ff", "--message", "Merge", commit)
    git(me, "push", "--quiet", "origin", "HEAD:main")


def refused(root: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """What `validate` says as it refuses; empty where it does not."""
    git(root, "fetch", "--quiet", "origin")
    capfd.readouterr()
    code = reconciler(["validate", "-C", str(root)])
    said = capfd.readouterr()
    return f"{said.out} {said.err}" if code else ""


@pytest.mark.forms(quick=1)
@pytest.mark.usefixtures("asked")
def test_a_merge_that_puts_state_back_to_what_it_was_is_refused(
    pair: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Given a branch that has two commits in common with main, the older of which calls itself the newer one
    evil = mallory(pair)
    with monkeypatch.context() as patched:
        patched.setenv("GIT_COMMITTER_DATE", "2037-01-01T00:00:00Z")
        git(evil, "commit", "--quiet", "--allow-empty", "--message", "One")
    first = git(evil, "rev-parse", "HEAD")
    before = pair.lock("web").channels.stable
    pair.commit({"desired/web/setup.sh": NEW})
    pair.controller("ci").reconcile()
    stable = pair.lock("web").channels.stable
    git(evil, "fetch", "--quiet", "origin")
    # When it merges main with the state/ of that commit, which main merged meanwhile
    git(evil, "merge", "--quiet", "--no-commit", "--no-ff", "origin/main")
    git(evil, "rm", "-r", "--quiet", "--force", "state")
    git(evil, "checkout", "--quiet", first, "--", "state")
    git(evil, "commit", "--quiet", "--message", "Two")
    merged(pair, evil, first)

    # Then it is refused, as the merge would bring back what was stable before
    assert "changes state/" in refused(evil, capfd)
    merged(pair, evil, git(evil, "rev-parse", "HEAD"))
    assert (pair.lock("web").channels.stable, before != stable) == (before, True)


@pytest.mark.usefixtures("asked")
def test_a_file_that_git_takes_for_a_new_lockfile_is_refused(pair: World, capfd: pytest.CaptureFixture[str]) -> None:
    # Given a sample that is as the lockfile of an image to come, and a branch that changes it
    sample = pair.show("web.lock.json").replace('"web"', '"new"')
    pair.commit({"docs/sample.json": sample})
    evil = mallory(pair)
    put(evil, "docs/sample.json", sample.replace('"image": "new"', '"image": "evil"'))
    assert refused(evil, capfd) == ""

    # When main drops the sample, and records the new image
    pair.commit({"docs/sample.json": None, "state/new.lock.json": sample})

    # Then it is refused: the merge writes into the lockfile
    assert "state/new.lock.json" in refused(evil, capfd)
    merged(pair, evil, git(evil, "rev-parse", "HEAD"))
    assert json.loads(pair.show("new.lock.json"))["image"] == "evil"


@pytest.mark.forms(quick=1)
@pytest.mark.usefixtures("asked")
def test_a_branch_that_merged_main_and_left_state_alone_is_valid(
    pair: World, capfd: pytest.CaptureFixture[str]
) -> None:
    evil = mallory(pair)
    put(evil, "docs/more.md", "more\n")
    pair.commit({"desired/web/setup.sh": NEW})
    pair.controller("ci").reconcile()
    git(evil, "fetch", "--quiet", "origin")
    git(evil, "merge", "--quiet", "--no-edit", "origin/main")
    put(evil, "docs/more.md", "still more\n")
    pair.commit({"desired/web/setup.sh": "echo newer\n"})
    pair.controller("ci").reconcile()

    assert refused(evil, capfd) == ""


@pytest.mark.parametrize("there", [True, False], ids=["recorded", "nothing recorded yet"])
def test_what_takes_the_place_of_state_is_refused(
    pair: World, capfd: pytest.CaptureFixture[str], *, there: bool
) -> None:
    me = pair.root / "person"
    if not there:
        git(me, "pull", "--quiet", "--ff-only", "origin", "main")
        git(me, "rm", "-r", "--quiet", "state")
        git(me, "commit", "--quiet", "--message", "Begin anew")
        git(me, "push", "--quiet", "origin", "HEAD:main")
    evil = mallory(pair)
    if there:
        git(evil, "rm", "-r", "--quiet", "state")
    (evil / "state").symlink_to("docs")
    put(evil, "docs/web.lock.json", "{}\n")
    assert "a branch changes state/, which has one writer" in refused(evil, capfd)


def test_a_history_of_its_own_that_a_merge_brings_is_looked_through(
    pair: World, capfd: pytest.CaptureFixture[str]
) -> None:
    # Given a branch that merges a commit without parents, whose lockfile it does not keep; whatever git is set to show
    evil = mallory(pair)
    git(evil, "config", "log.showRoot", "false")
    git(evil, "switch", "--quiet", "--orphan", "root")
    root = put(evil, "state/web.lock.json", "{}\n")
    git(evil, "switch", "--quiet", "feature")
    git(evil, "merge", "--quiet", "--allow-unrelated-histories", "--strategy", "ours", "--message", "Merge", root)
    assert "and takes that back" in refused(evil, capfd)


def test_what_a_merge_gives_is_asked_without_a_trace_in_the_clone(pair: World) -> None:
    evil = mallory(pair)
    put(evil, "docs/more.md", "more\n")
    theirs = git(evil, "rev-parse", "HEAD")
    ours = git(evil, "rev-parse", "origin/main^{commit}")
    git(evil, "switch", "--quiet", "--detach", ours)
    ours = put(evil, "docs/other.md", "other\n")
    before = git(evil, "count-objects", "-v")

    assert changed_by_merge(Repository.open(evil).git, ours, theirs, folder="docs") == ("docs/more.md",)
    assert git(evil, "count-objects", "-v") == before
