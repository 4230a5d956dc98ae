"""Opening a repository and reading it: revisions, the work tree, tags, the branch that is recorded to."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from reconciler.git.command import Git
from reconciler.git.history import LoggedCommit, commits_between, find_named
from reconciler.git.past import at_every_commit, read_blobs, touched_below, versions, versions_below
from reconciler.git.repository import Repository
from reconciler.git.tags import AnnotatedTag
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Terminal, Transient, UserError
from tests.integration.git.conftest import Origin, commit, git, snapshot

HOSTILE = {
    "GIT_DIR": "/nonexistent",
    "GIT_WORK_TREE": "/nonexistent",
    "GIT_INDEX_FILE": "/nonexistent",
    "GIT_OBJECT_DIRECTORY": "/nonexistent",
    "GIT_NAMESPACE": "elsewhere",
    "GIT_AUTHOR_NAME": "Mallory",
    "GIT_EXTERNAL_DIFF": "false",
    "GIT_TRACE": "1",
}


def test_a_repository_is_found_from_a_folder_within(clone: Path) -> None:
    repository = Repository.open(clone / "desired" / "web")

    assert repository.root == clone
    assert (repository.head, repository.branch) == (git(clone, "rev-parse", "HEAD"), "main")
    assert repository.shallow is False


@pytest.mark.parametrize(
    ("inside", "below"),
    [
        (".", ""), ("desired/web", ""), ("infra", "infra"), ("infra/desired/api", "infra"), ("infra/modules", "infra"),
        ("infra/edge/desired", "infra/edge"), ("docs", ""), ("infra/desired/api/desired/copied", "infra"),
    ],
)  # fmt: skip
def test_the_fleet_is_in_the_nearest_folder_that_holds_desired(clone: Path, inside: str, below: str) -> None:
    files = ("infra/desired/api/a.hcl", "infra/edge/desired/x/a.hcl", "infra/modules/m", "docs/d")
    commit(clone, dict.fromkeys((*files, "infra/desired/api/desired/copied/a.hcl"), ""))

    repository = Repository.open(clone / inside)

    assert (repository.root, repository.git.below) == (clone / below, below)


def test_paths_are_seen_from_the_fleet_s_folder(clone: Path) -> None:
    commit(clone, {"infra/desired/api/a.hcl": "a\n", "infra/state/api.lock.json": "{}", "shared/x": "x\n"})
    repository = Repository.open(clone / "infra")

    tree = repository.tree()

    assert tree.below == "infra"
    assert list(tree.entries) == [
        "../README.md", "../desired/web/web.pkr.hcl", "desired/api/a.hcl", "state/api.lock.json", "../shared/x",
    ]  # fmt: skip
    assert tree.read([tree.entries["../shared/x"].oid]) == {tree.entries["../shared/x"].oid: b"x\n"}
    (clone / "infra/desired/api/a.hcl").write_text("changed\n")
    (clone / "desired/web/web.pkr.hcl").write_text("changed\n")
    assert repository.dirty(["desired", "state"]) == ("desired/api/a.hcl",)
    (version,) = versions(repository.git, "state/api.lock.json", revision="HEAD")
    assert (version.path, version.content) == ("state/api.lock.json", b"{}")


def test_what_a_branch_ever_had_in_a_folder_is_listed_newest_first_and_not_what_came_with_a_merge(clone: Path) -> None:
    path = "infra/state/a b.lock.json"
    first = commit(clone, {path: "1\n", "infra/desired/x": "x"})
    git(clone, "switch", "--quiet", "--create", "side")
    commit(clone, {path: "forged\n"})
    commit(clone, {path: "1\n"})
    git(clone, "switch", "--quiet", "main")
    git(clone, "merge", "--quiet", "--no-ff", "--message", "Merge", "side")
    (clone / path).unlink()
    git(clone, "commit", "--quiet", "--all", "--message", "Take it away")
    last = commit(clone, {path: "2\n", "infra/state/other": "o"})
    repository = Repository.open(clone / "infra")

    found = versions_below(repository.git, "state", revision="HEAD")

    assert sorted(found) == ["state/a b.lock.json", "state/other"]
    written = found["state/a b.lock.json"]
    assert [oid for oid, _ in written] == [last, first]
    assert read_blobs(repository.git, [blob for _, blob in written]) == [b"2\n", b"1\n"]
    assert versions_below(repository.git, "nothing", revision="HEAD") == {}


def test_no_name_of_a_file_passes_for_the_commit_that_wrote_what_comes_after_it(clone: Path) -> None:
    # Given a commit that brings a file whose name ends as a log's next commit begins
    honest = commit(clone, {"state/web": "1\n"})
    forged = commit(clone, {f"state/a\x01{honest}": "", "state/web": "2\n"})
    repository = Repository.open(clone)

    found = versions_below(repository.git, "state", revision="HEAD")
    touched = touched_below(repository.git, "state", since=honest, revision="HEAD")

    assert [oid for oid, _ in found["state/web"]] == [forged, honest]
    assert touched == ((forged, f"state/a\x01{honest}"), (forged, "state/web"))


def test_the_environment_of_a_hook_does_not_lead_astray(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(clone, "rev-parse", "HEAD")
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)

    repository = Repository.open(clone)

    assert repository.head == head
    assert sorted(repository.tree().entries) == ["README.md", "desired/web/web.pkr.hcl"]


def test_a_folder_outside_any_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not in a git repository") as raised:
        Repository.open(tmp_path)

    assert "git init" in str(raised.value)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        Repository.open(tmp_path / "nowhere")


def test_a_repository_without_a_commit_is_told_to_make_one(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "empty")

    with pytest.raises(UserError, match="has no commit yet"):
        Repository.open(tmp_path / "empty")


def test_a_bare_repository_is_refused(origin: Origin) -> None:
    with pytest.raises(UserError, match="bare repository"):
        Repository.open(origin.path)


def test_a_repository_of_somebody_else_is_refused(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Git's own switch, for its own test of this; as any unknown GIT_*, it would not reach git from outside.
    monkeypatch.setattr("reconciler.git.command.OURS", {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})

    with pytest.raises(UserError, match="belongs to somebody else") as raised:
        Repository.open(clone)

    assert f"git config --global --add safe.directory {clone}" in str(raised.value)


def test_a_tree_lists_every_file_and_reads_contents_in_one_go(clone: Path) -> None:
    commit(clone, {"run.sh": "#!/bin/sh\n", "nul": b"a\0b\n\n", "ümlaut name": "1"})
    clone.joinpath("link").symlink_to("README.md")
    clone.joinpath("run.sh").chmod(0o755)
    commit(clone, {})

    tree = Repository.open(clone).tree()

    assert [(entry.path, entry.mode) for entry in tree.entries.values()] == [
        ("README.md", "100644"),
        ("desired/web/web.pkr.hcl", "100644"),
        ("link", "120000"),
        ("nul", "100644"),
        ("run.sh", "100755"),
        ("ümlaut name", "100644"),
    ]
    oid = {path: entry.oid for path, entry in tree.entries.items()}
    assert tree.read([oid["nul"], oid["link"], oid["nul"]]) == {oid["nul"]: b"a\0b\n\n", oid["link"]: b"README.md"}
    assert tree.read([]) == {}


def test_a_blob_that_is_not_there_is_terminal(clone: Path) -> None:
    with pytest.raises(Terminal, match="object 1234567890123456789012345678901234567890 is not in this clone"):
        Repository.open(clone).tree().read(["1234567890123456789012345678901234567890"])


def test_an_unknown_revision_is_named(clone: Path) -> None:
    with pytest.raises(UserError, match='there is no revision "v9"'):
        Repository.open(clone).tree("v9")


def test_an_option_is_not_taken_for_a_revision(clone: Path) -> None:
    with pytest.raises(UserError, match='there is no revision "--all"'):
        Repository.open(clone).tree("--all")


def test_a_revision_beyond_a_shallow_clone_is_explained(origin: Origin) -> None:
    first = origin.head()
    other = origin.clone("other")
    commit(other, {"more": "1"})
    git(other, "push", "--quiet", "origin", "main")
    shallow = Repository.open(origin.clone("shallow", "--depth=1"))

    with pytest.raises(UserError, match="this shallow clone has no revision") as raised:
        shallow.tree(first)

    assert shallow.shallow
    assert "git fetch --unshallow" in str(raised.value)


def test_the_work_tree_is_read_as_it_is_and_left_as_it_is(clone: Path) -> None:
    commit(clone, {".gitignore": "*.log\n"})
    clone.joinpath("README.md").unlink()
    clone.joinpath("build.log").write_text("noise")
    clone.joinpath("new").write_text("1")
    clone.joinpath("staged").write_text("first")
    git(clone, "add", "staged")
    clone.joinpath("staged").write_text("second")
    before = snapshot(clone)

    tree = Repository.open(clone).worktree_tree()

    assert list(tree.entries) == [".gitignore", "desired/web/web.pkr.hcl", "new", "staged"]
    assert list(tree.read([tree.entries["staged"].oid]).values()) == [b"second"]
    assert snapshot(clone) == before


def test_what_a_sparse_checkout_leaves_out_is_not_deleted(clone: Path) -> None:
    git(clone, "sparse-checkout", "set", "--cone")

    assert not clone.joinpath("desired").exists()
    assert list(Repository.open(clone).worktree_tree().entries) == ["README.md", "desired/web/web.pkr.hcl"]


def test_dirty_names_files_below_the_paths_asked_for(clone: Path) -> None:
    clone.joinpath("README.md").write_text("changed")
    clone.joinpath("desired/web/new file").write_text("1")
    repository = Repository.open(clone)

    assert repository.dirty(["desired"]) == ("desired/web/new file",)
    assert repository.dirty() == ("README.md", "desired/web/new file")


def test_commits_between_are_newest_first(clone: Path) -> None:
    repository = Repository.open(clone)
    begin = repository.head
    one = commit(clone, {"a": "1"}, "One: a | b")
    two = commit(clone, {"a": "2"}, "Two")

    assert commits_between(repository.git, begin, "HEAD") == (LoggedCommit(two, "Two"), LoggedCommit(one, "One: a | b"))
    assert repository.is_ancestor(begin, two)
    assert repository.newest([two, begin]) == repository.newest([begin, two]) == two
    assert not repository.is_ancestor(two, begin)


def test_an_annotated_tag_is_fetched_when_it_is_asked_for(origin: Origin, clone: Path) -> None:
    other = origin.clone("other")
    git(other, "tag", "--annotate", "--message", "status: built\n\n{}", "image/web/1")
    git(other, "tag", "image/web/light")
    git(other, "push", "--quiet", "origin", "--tags")
    repository = Repository.open(clone)

    found = repository.annotated_tag("image/web/1")
    assert found is not None
    assert (found.message, found.name, found.made_for) == ("status: built\n\n{}\n", "image/web/1", "image/web/1")
    assert repository.annotated_tag("image/web/none") is None
    assert repository.annotated_tag("image/web/light") is None
    assert repository.tags("image/web") == (AnnotatedTag("image/web/1", origin.head()),)


def test_the_target_is_the_default_branch_of_the_remote(origin: Origin, clone: Path) -> None:
    target = Repository.open(clone).target(GitSettings())

    assert (target.branch, target.head, target.elsewhere, target.unpushed) == ("main", origin.head(), None, ())


def test_the_remote_is_asked_for_its_default_branch_when_the_clone_does_not_know(clone: Path) -> None:
    git(clone, "remote", "set-head", "origin", "--delete")

    assert Repository.open(clone).target(GitSettings()).branch == "main"


def test_a_remote_whose_head_is_no_branch_has_no_default_branch(origin: Origin, clone: Path) -> None:
    git(clone, "remote", "set-head", "origin", "--delete")
    git(origin.path, "update-ref", "--no-deref", "HEAD", origin.head())

    with pytest.raises(UserError, match="origin has no default branch") as said:
        Repository.open(clone).target(GitSettings())

    assert "`git.branch` in desired/reconciler.yaml" in said.value.hint[0]


def test_commits_that_are_not_pushed_are_named(clone: Path) -> None:
    mine = commit(clone, {"a": "1"}, "Mine")

    target = Repository.open(clone).target(GitSettings())

    assert target.elsewhere is None
    assert target.unpushed == (LoggedCommit(mine, "Mine"),)


def test_a_checkout_on_another_branch_is_elsewhere(clone: Path) -> None:
    git(clone, "switch", "--quiet", "--create", "feature/x")

    assert Repository.open(clone).target(GitSettings()).elsewhere == "the branch feature/x"


def test_a_detached_head_is_at_home_when_the_branch_has_it(origin: Origin, clone: Path) -> None:
    git(clone, "checkout", "--quiet", "--detach")
    assert Repository.open(clone).target(GitSettings()).elsewhere is None

    commit(clone, {"a": "1"})
    assert Repository.open(clone).target(GitSettings()).elsewhere == "a commit that the branch does not have"


@pytest.mark.forms(quick=6)
@pytest.mark.parametrize("branch", ["main", "feature/one", "größer", "it's", "a&b", "x" * 120])
@pytest.mark.parametrize("way", ["switched", "in a linked work tree", "by a link"])
def test_the_branch_is_the_one_that_git_calls_so(clone: Path, branch: str, way: str) -> None:
    where = clone
    if branch != "main":
        git(clone, "branch", branch)
    if way == "in a linked work tree":
        where = clone.parent / "linked"
        git(clone, "switch", "--quiet", "--detach")
        git(clone, "worktree", "add", "--quiet", str(where), branch)
    else:
        git(clone, "-c", f"core.preferSymlinkRefs={str(way == 'by a link').lower()}", "symbolic-ref", "HEAD",
            f"refs/heads/{branch}")  # fmt: skip
    assert Repository.open(where).branch == branch
    assert git(where, "symbolic-ref", "HEAD") == f"refs/heads/{branch}"
    git(where, "switch", "--quiet", "--detach")
    assert Repository.open(where).branch is None


def test_a_head_that_stands_for_refs_in_tables_is_asked_of_git(clone: Path) -> None:
    # What git writes there where it keeps refs in tables (gitrepository-layout(5), "reftable").
    clone.joinpath(".git", "HEAD").write_text("ref: refs/heads/.invalid\n")
    asked = clone.parent / "asked"
    find_named(Git(clone, {"GIT_TRACE2_EVENT": str(asked)}, folder=clone / ".git"), "HEAD")
    assert "symbolic-ref" in asked.read_text()


def test_a_remote_without_the_branch_is_explained(clone: Path) -> None:
    with pytest.raises(UserError, match="origin has no branch fleet"):
        Repository.open(clone).target(GitSettings(branch="fleet"))


def test_a_remote_without_a_commit_is_explained(clone: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "empty.git")
    git(clone, "remote", "set-url", "origin", str(tmp_path / "empty.git"))
    git(clone, "remote", "set-head", "origin", "--delete")

    with pytest.raises(UserError, match="origin has no commit yet"):
        Repository.open(clone).target(GitSettings())


def test_a_remote_whose_head_names_a_branch_that_nobody_pushed_is_explained(clone: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=trunk", "bare.git")
    git(clone, "remote", "set-url", "origin", str(tmp_path / "bare.git"))
    git(clone, "remote", "set-head", "origin", "--delete")
    git(clone, "push", "--quiet", "origin", "HEAD:main")

    with pytest.raises(UserError, match="origin has no default branch: its HEAD names one without a commit") as caught:
        Repository.open(clone).target(GitSettings())

    assert "`git.branch` in desired/reconciler.yaml, such as main" in caught.value.hint[1]
    assert Repository.open(clone).target(GitSettings(branch="main")).branch == "main"


def test_a_remote_that_is_not_there_is_explained(clone: Path) -> None:
    git(clone, "remote", "set-url", "origin", "/nonexistent/fleet.git")

    with pytest.raises(UserError, match="origin leads to no repository"):
        Repository.open(clone).target(GitSettings())


def test_a_remote_that_does_not_answer_is_transient(clone: Path) -> None:
    git(clone, "remote", "set-url", "origin", "https://127.0.0.1:1/fleet.git")

    with pytest.raises(Transient, match="origin does not answer"):
        Repository.open(clone).target(GitSettings())


def test_a_remote_of_another_name_is_not_mistaken_for_none(clone: Path) -> None:
    git(clone, "remote", "rename", "origin", "upstream")

    with pytest.raises(UserError, match="there is no remote origin, only upstream"):
        Repository.open(clone).target(GitSettings())


def test_the_fleet_is_named_after_the_remote_else_after_the_folder(clone: Path) -> None:
    repository = Repository.open(clone)
    assert repository.fleet_name() == "fleet"

    git(clone, "remote", "set-url", "origin", "https://bot:hunter2@example.org/owner/images.git")
    repository = Repository.open(clone)
    assert repository.fleet_name() == "owner/images"
    remote = repository.remote()
    assert remote is not None
    assert remote.url == "https://example.org/owner/images.git"

    git(clone, "remote", "remove", "origin")
    assert Repository.open(clone).fleet_name() == "clone"


def test_a_folder_whose_name_has_a_line_end_in_it_is_a_folder(clone: Path) -> None:
    odd = clone / "two\nlines" / "desired"
    odd.mkdir(parents=True)
    moved = clone.rename(clone.parent / "of two\nlines")

    repository = Repository.open(moved / "two\nlines")

    assert (repository.root, repository.git.directory) == (moved / "two\nlines", moved)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(6))
def test_a_file_at_every_commit_is_what_git_shows_of_each_of_them(origin: Origin, seed: int) -> None:
    # Branches and merges at random, of which some take either side, some neither, and some have a folder there.
    rng = random.Random(seed)  # noqa: S311 - a test
    contents = (b"sign: true", b"sign: false", b"", None, "folder")
    stream = [b""]
    for mark in range(1, 41):
        parents = rng.sample(range(max(1, mark - 4), mark), min(mark - 1, rng.choice((0, 1, 1, 1, 2, 3))))
        stream.append(b"commit refs/heads/main\nmark :%d\ncommitter A <a@b> %d +0000\ndata 0\n" % (mark, mark))
        stream += [b"%s :%d\n" % (b"merge" if place else b"from", one) for place, one in enumerate(parents)]
        if not parents and mark > 1:
            stream[-1] = stream[-1].replace(b"refs/heads/main", b"refs/heads/other%d" % mark)
        stream.append(b"M 100644 inline state/%d\ndata 0\n" % rng.randrange(5))
        if rng.random() < 0.5:
            stream.append(b"D desired/x\n")
            content = rng.choice(contents)
            if content is not None:
                path, data = (b"desired/x/y", b"z") if isinstance(content, str) else (b"desired/x", content)
                stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path, len(data), data))
    bare = origin.path.parent / f"random-{seed}"
    git(origin.path.parent, "init", "--quiet", str(bare))
    subprocess.run(["git", "fast-import", "--quiet", "--force"], cwd=bare, input=b"".join(stream), check=True)
    repository = Repository.open(bare)

    found = at_every_commit(repository.git, "desired/x", revision="HEAD")

    assert [(one.commit, list(one.parents)) for one in found] == [
        (commit, parents)
        for commit, *parents in map(
            str.split, git(bare, "rev-list", "--topo-order", "--reverse", "--parents", "HEAD").splitlines()
        )
    ]
    for one in found:
        is_file = git(bare, "cat-file", "-t", f"{one.commit}:desired/x", check=False) == "blob"
        assert one.content == (git(bare, "cat-file", "-p", f"{one.commit}:desired/x").encode() if is_file else None)
