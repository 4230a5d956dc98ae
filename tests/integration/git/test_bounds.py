"""Whoever may push chooses how large an object is, and how many files a few trees make: none of it fills the memory."""

from __future__ import annotations

import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from reconciler.cli.main import main as reconciler
from reconciler.desired.contents import MOST_READ
from reconciler.git.command import Git
from reconciler.git.past import touched_below
from reconciler.git.repository import Repository
from reconciler.git.signature import signature_of
from reconciler.git.store import MOST_OF_PATHS, Object, find, find_all, holding, read, read_tree
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.verification import Signature
from tests.integration.git.conftest import commit, git

SIZE = 80 << 20
SMALL = 24 << 20
"""Bytes of memory in which all is done that is done with an object of 80 MiB, which is more than is read of any."""


@pytest.fixture
def in_little_memory() -> Callable[[Callable[[], object]], object]:
    """Do something, and return what comes of it. What it takes of memory is less than what it is kept from reading."""

    def run(doing: Callable[[], object]) -> object:
        tracemalloc.start()
        try:
            return doing()
        finally:
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert most < SMALL

    return run


Measured = Callable[[Callable[[], object]], object]


def stored(clone: Path, kind: str, content: bytes) -> str:
    """Store an object as it is, and return its id."""
    command = ["git", "hash-object", "-w", "--literally", "-t", kind, "--stdin"]
    return subprocess.run(command, cwd=clone, input=content, capture_output=True, check=True).stdout.decode().strip()


def folder(clone: Path, *entries: str) -> str:
    """A tree of these entries, each as `git ls-tree` shows it."""
    given = "".join(f"{one}\n" for one in entries)
    made = subprocess.run(["git", "mktree"], cwd=clone, input=given, capture_output=True, check=True, text=True)
    return made.stdout.strip()


def bomb(clone: Path, *, levels: int = 9) -> str:
    """A commit with ten folders in ten folders, nine times: a handful of objects."""
    blob = stored(clone, "blob", b"")
    tree = folder(clone, *(f"100644 blob {blob}\tf{number}" for number in range(10)))
    for _ in range(levels):
        tree = folder(clone, *(f"040000 tree {tree}\td{number}" for number in range(10)))
    root = folder(clone, *git(clone, "ls-tree", "HEAD").splitlines(), f"040000 tree {tree}\tzz")
    return git(clone, "commit-tree", "-m", "Bomb", "-p", "HEAD", root)


def test_a_bomb_of_trees_is_told_plainly(clone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    commit(clone, {"desired/web/image.yaml": "{}\n", "desired/web/web.pkr.hcl": "source {}\n"})
    with pytest.raises(UserError, match="more than 1,000,000 files and folders"):
        Repository.open(clone).tree(bomb(clone))
    assert reconciler(["validate", "--rev", bomb(clone), "-C", str(clone)]) == 1
    said = capfd.readouterr().err
    assert "more than 1,000,000 files and folders" in said
    assert "bug" not in said


def test_folders_within_each_other_without_end_are_told_plainly(clone: Path) -> None:
    # Given folders of long names, whose paths together would be longer than all that there is
    name, tree = "n" * 4000, folder(clone, f"100644 blob {stored(clone, 'blob', b'')}\tf")
    for _ in range(int((2 * MOST_OF_PATHS / len(name)) ** 0.5) + 2):
        tree = folder(clone, f"040000 tree {tree}\t{name}")
    with pytest.raises(UserError, match="paths that are too long"):
        read_tree(Git(clone), tree)


def test_what_was_listed_before_counts_as_well(clone: Path) -> None:
    opened = Repository.open(clone)
    some = bomb(clone, levels=2)
    assert len(opened.tree(some).entries) > 1000
    with pytest.raises(UserError, match="more than 1,000,000 files"):
        opened.tree(bomb(clone))
    assert opened.tree(some).entries.keys() == Repository.open(clone).tree(some).entries.keys()


def test_a_log_of_a_bomb_that_was_taken_back_is_given_up(clone: Path) -> None:
    since, blob = git(clone, "rev-parse", "HEAD"), stored(clone, "blob", b"")
    tree = folder(clone, *(f"100644 blob {blob}\t{'f' * 4000}{number}" for number in range(10)))
    for _ in range(4):
        tree = folder(clone, *(f"040000 tree {tree}\td{number}" for number in range(10)))
    bad = git(clone, "commit-tree", "-m", "Bomb", "-p", since, folder(clone, f"040000 tree {tree}\tstate"))
    back = git(clone, "commit-tree", "-m", "Back", "-p", bad, f"{since}^{{tree}}")
    with pytest.raises(ReconcilerError, match="longer than 64 MiB"):
        touched_below(Git(clone), "state", since=since, revision=back)


def test_no_file_is_read_that_is_larger_than_any(clone: Path, in_little_memory: Measured) -> None:
    commit(clone, {"desired/web/image.yaml": bytes(SIZE), "desired/web/web.pkr.hcl": "source {}\n"})
    tree = Repository.open(clone).tree()
    oid = tree.entries["desired/web/image.yaml"].oid

    assert in_little_memory(lambda: tree.read([oid], most=MOST_READ)) == {}
    assert in_little_memory(lambda: find(Git(clone), oid)) is None
    with pytest.raises(UserError, match="has 83,886,080 bytes, and at most 67,108,864 are read"):
        in_little_memory(lambda: find_all(Git(clone), [oid]))


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize("kind", ["blob", "commit", "tag", "tree"])
def test_what_is_too_large_is_not_read_and_what_is_asked_for_beside_it_is(
    clone: Path, in_little_memory: Measured, kind: str
) -> None:
    large, git = stored(clone, kind, bytes(SIZE)), Git(clone)
    first, last = stored(clone, "blob", b"first"), stored(clone, "blob", b"last")
    assert find(git, first) is not None
    one, process = git.batch("cat-file", "--batch"), git.batch("cat-file", "--batch").pid

    found = cast("dict[str, Object]", in_little_memory(lambda: read(git, [first, large, last], most=MOST_READ)))

    assert {oid: held.content for oid, held in found.items()} == {first: b"first", last: b"last"}
    # And git, which was about to say it, is another one.
    assert one.pid not in (None, process)
    assert in_little_memory(lambda: holding(git, [first, large], b"first", most=MOST_READ)) == [True, False]
    with pytest.raises(UserError, match=f"{large} has 83,886,080 bytes"):
        in_little_memory(lambda: read(git, [first, large]))


def test_what_is_read_is_asked_for_once(clone: Path) -> None:
    commit(clone, {f"f{number}": f"{number}" for number in range(50)})
    one = Git(clone)

    tree = read_tree(one, "HEAD")

    assert len(tree.read([entry.oid for entry in tree.entries.values()], most=MOST_READ)) > 50
    assert one.batch("cat-file", "--batch-check").pid is None


def test_a_declaration_of_gigabytes_is_that_images_problem_alone(
    clone: Path, capfd: pytest.CaptureFixture[str], in_little_memory: Measured
) -> None:
    template = 'source "null" "a" { communicator = "none" }\nbuild { sources = ["source.null.a"] }\n'
    files: dict[str, str | bytes] = {"desired/ok/ok.pkr.hcl": template, "desired/web/web.pkr.hcl": template}
    commit(clone, {**files, "desired/web/image.yaml": bytes(SIZE)})

    assert in_little_memory(lambda: reconciler(["validate", "-C", str(clone)])) == 1
    assert "image.yaml: the file has more than 1,048,576 bytes, and no more are read" in capfd.readouterr().err


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("part", ["message", "author"])
def test_no_commit_is_read_that_is_larger_than_any(clone: Path, in_little_memory: Measured, part: str) -> None:
    much, signature = b"y" * SIZE, b"gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n"
    tree = git(clone, "rev-parse", "HEAD^{tree}").encode()
    who = b"author %s <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n" % (much if part == "author" else b"a")
    said = much if part == "message" else b"Change"
    oid = stored(clone, "commit", b"tree %s\n%s%s\n%s\n" % (tree, who, signature, said))

    found = in_little_memory(lambda: signature_of(Git(clone), oid))
    assert found == Signature("bad", why="it has more than 8,388,608 bytes, and is not read")
