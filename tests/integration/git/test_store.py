"""The object store by long-lived processes: the same answers as git's one-time commands give, and nothing left over."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.git.command import Git
from reconciler.git.history import find_commit
from reconciler.git.objects import Author, Change, write_commit
from reconciler.git.processes import read_line
from reconciler.git.repository import Repository
from reconciler.git.store import find, find_all, read, read_tree
from reconciler.model.errors import Terminal
from tests.integration.git.conftest import MOMENT, commit, git

AUTHOR = Author("reconciler <reconciler@localhost>", MOMENT, sign=False)


def hashed(directory: Path, kind: str, content: bytes) -> str:
    """Write an object that git itself would not write, and return its id."""
    command = ["git", "hash-object", "-w", "--literally", "-t", kind, "--stdin"]
    return (
        subprocess.run(command, cwd=directory, input=content, capture_output=True, check=True).stdout.decode().strip()
    )


def listed(directory: Path, revision: str) -> list[tuple[str, str, str]]:
    """Path, mode and id of every file, as `git ls-tree` lists them."""
    command = ["git", "ls-tree", "-r", "-z", "--full-tree", revision]
    lines = subprocess.run(command, cwd=directory, capture_output=True, check=True).stdout.split(b"\0")[:-1]
    found = []
    for facts, path in (line.split(b"\t", 1) for line in lines):
        mode, _kind, oid = facts.decode().split(" ")
        found.append((path.decode("utf-8", "backslashreplace"), mode, oid))
    return found


@pytest.fixture
def odd(clone: Path) -> Path:
    """A clone whose HEAD has whatever a tree can have."""
    (clone / "a").mkdir()
    (clone / "a" / "deep" / "er").mkdir(parents=True)
    files = {"a/deep/er/x": "1", "a.b": "2", "a0": "3", "state/web.lock.json": "{}\n", "state/sbom/web/1.json": "{}\n"}
    commit(clone, {**files, "state/ümlaut name": "4", "state/tab\tand\nnewline": "5", "same/x": "1"})
    (clone / "a" / "link").symlink_to("../a.b")
    (clone / "state" / "run.sh").write_text("true\n")
    (clone / "state" / "run.sh").chmod(0o755)
    Path(os.fsdecode(os.fsencode(clone) + b"/state/\xff\xe2\x82")).write_text("no UTF-8")
    git(clone, "add", "--all")
    head = git(clone, "rev-parse", "HEAD")
    git(clone, "update-index", "--add", "--cacheinfo", f"160000,{head},state/module")
    git(clone, "commit", "--quiet", "--message", "Odd")
    return clone


@pytest.fixture
def legacy(odd: Path) -> Path:
    """The same with a file whose mode is of git's first year."""
    state = subprocess.run(
        ["git", "cat-file", "tree", "HEAD:state"], cwd=odd, capture_output=True, check=True
    ).stdout.replace(b"100644 web.lock.json", b"100664 web.lock.json")
    assert b"100664 web.lock.json" in state
    root = subprocess.run(["git", "cat-file", "tree", "HEAD^{tree}"], cwd=odd, capture_output=True, check=True).stdout
    was = bytes.fromhex(git(odd, "rev-parse", "HEAD:state"))
    tree = hashed(odd, "tree", root.replace(was, bytes.fromhex(hashed(odd, "tree", state))))
    git(odd, "update-ref", "HEAD", git(odd, "commit-tree", tree, "-p", "HEAD", "-m", "Old"))
    return odd


@pytest.mark.parametrize("which", ["odd", "legacy"])
def test_a_tree_lists_what_git_lists_in_its_order(which: str, request: pytest.FixtureRequest) -> None:
    directory: Path = request.getfixturevalue(which)

    tree = read_tree(Git(directory), git(directory, "rev-parse", "HEAD"))

    assert [(one.path, one.mode, one.oid) for one in tree.entries.values()] == listed(directory, "HEAD")
    assert tree.submodules == ("state/module",)


def test_a_tree_deeper_than_python_calls_itself_is_listed(clone: Path) -> None:
    blob = hashed(clone, "blob", b"deep")
    making = Git(clone).batch("mktree", "-z", "--batch")
    (tree,) = making.ask([f"100644 blob {blob}\tx\0\0".encode()], read_line)
    for _ in range(1200):
        (tree,) = making.ask([b"040000 tree " + tree + b"\td\0\0"], read_line)

    assert list(read_tree(Git(clone), tree.decode()).entries) == [f"{'d/' * 1200}x"]


def test_a_later_revision_is_listed_by_what_is_new_in_it(odd: Path) -> None:
    one = Git(odd)
    for change in ({"state/web.lock.json": "new\n"}, {"same/y": "1"}, {"a/deep/er/x": "9"}):
        head = commit(odd, change)
        assert [(it.path, it.mode, it.oid) for it in read_tree(one, head).entries.values()] == listed(odd, head)


def by_index(directory: Path, parent: str, changes: Mapping[str, bytes | None]) -> str:
    """The tree that git's index makes of changes on top of a commit."""
    environment = {**os.environ, "GIT_INDEX_FILE": str(directory / ".git" / "other-index")}

    def run(*arguments: str, given: bytes = b"") -> str:
        done = subprocess.run(["git", *arguments], cwd=directory, input=given, env=environment, capture_output=True)  # noqa: PLW1510
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    run("read-tree", parent)
    for path, content in changes.items():
        oid = run("hash-object", "-w", "--stdin", given=content) if content is not None else "0" * 40
        line = f"{'100644' if content is not None else '0'} {oid}\t{path}\0"
        run("update-index", "-z", "--index-info", given=line.encode())
    return run("write-tree", "--missing-ok")


@pytest.mark.forms(quick=10)
@pytest.mark.parametrize(
    "changes",
    [
        {"state/web.lock.json": b"{2}\n"},
        {"state/run.sh": b"was executable\n"},
        {"state/new/and/deeper": b"1", "state/base.lock.json": b"2", "zz": b"", "a1": b"\0\xff"},
        {"state/sbom/web/1.json": None},
        {"state/sbom/web/1.json": None, "state/sbom/web/2.json": b"{}\n"},
        {"state": b"a file where a folder was\n"},
        {"a.b/c": b"a folder where a file was\n"},
        {"state/module/x": b"a file where a submodule was\n"},
        {"state/module": None},
        {"nowhere/at/all": None, "a.b/c": None, "state/sbom": None},
        {"a/link": b"no link any more"},
        {"state/ümlaut name": None, "state/öther": b"1"},
        {"a/deep/er/x": None, "a/link": None},
        {},
    ],
    ids=lambda changes: " ".join(changes) or "nothing",
)
@pytest.mark.parametrize("which", ["odd", "legacy"])
def test_a_commit_holds_what_gits_index_makes_of_the_changes(
    which: str, changes: dict[str, bytes | None], request: pytest.FixtureRequest
) -> None:
    directory: Path = request.getfixturevalue(which)
    parent = git(directory, "rev-parse", "HEAD")

    made = write_commit(
        Git(directory), parent, changes=[Change(*change) for change in changes.items()], message="x", author=AUTHOR
    )

    assert git(directory, "rev-parse", f"{made}^{{tree}}") == by_index(directory, parent, changes)
    assert git(directory, "fsck", "--connectivity-only", made) == ""


def test_the_last_file_may_go(clone: Path) -> None:
    parent = git(clone, "rev-parse", "HEAD")
    changes = [Change(path, None) for path in git(clone, "ls-files").splitlines()]

    made = write_commit(Git(clone), parent, changes=changes, message="Nothing is left", author=AUTHOR)

    assert git(clone, "ls-tree", "-r", made) == ""


def test_a_repository_with_longer_ids_is_read_and_written(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "long")
    parent = commit(tmp_path / "long", {"state/web.lock.json": "{}\n", "a/b": "1"})

    made = write_commit(
        Git(tmp_path / "long"), parent, changes=[Change("state/base.lock.json", b"{}\n")], message="x", author=AUTHOR
    )

    tree = read_tree(Git(tmp_path / "long"), made)
    assert list(tree.entries) == ["a/b", "state/base.lock.json", "state/web.lock.json"]
    assert [(it.path, it.mode, it.oid) for it in tree.entries.values()] == listed(tmp_path / "long", made)


def test_what_is_made_after_the_process_started_is_found(clone: Path) -> None:
    one = Git(clone)
    assert find(one, "refs/tags/late") is None

    git(clone, "tag", "--annotate", "--message", "late", "late")
    head = commit(clone, {"a": "1"})
    git(clone, "gc", "--quiet")

    assert (find_commit(one, "HEAD"), find_commit(one, "late^{}")) == (head, git(clone, "rev-parse", "HEAD^"))
    git(clone, "update-ref", "-d", "refs/tags/late")
    assert find(one, "refs/tags/late") is None


@pytest.mark.thorough
@pytest.mark.parametrize(
    "revision",
    [
        "",
        " ",
        "HEAD\nHEAD",
        "HEAD\0x",
        "HEAD\r",
        "--all",
        "HEAD missing",
        "HEAD 5",
        "x commit 5",
        "^HEAD",
        "HEAD..HEAD",
    ],
)
def test_a_revision_that_is_none_is_not_found_and_the_next_is(clone: Path, revision: str) -> None:
    one = Git(clone)

    found = find_all(one, ["HEAD", revision, "HEAD:README.md"])

    assert [thing.kind if thing else None for thing in found] == ["commit", None, "blob"]


@pytest.mark.thorough
def test_any_number_of_objects_of_any_size_is_read_in_one_go(clone: Path) -> None:
    contents = {f"f{number:04}": b"\n" * (number % 7) + b"x" * (number * 37 % 9000) for number in range(3000)}
    contents["large"] = os.urandom(1 << 20)
    commit(clone, contents)
    tree = Repository.open(clone).tree()
    oids = {path: tree.entries[path].oid for path in contents}

    found = tree.read(oids.values())

    assert {path: found[oid] for path, oid in oids.items()} == contents


def process_of(one: Git) -> int:
    """The process that reads objects."""
    pid = one.batch("cat-file", "--batch").pid
    assert pid is not None
    return pid


def test_a_process_that_is_killed_is_an_error_once(clone: Path) -> None:
    one = Git(clone)
    assert find(one, "HEAD") is not None
    os.kill(process_of(one), signal.SIGKILL)

    with pytest.raises(Terminal, match="git cat-file ended with -9"):
        find(one, "HEAD")

    assert find(one, "HEAD") is not None


def test_a_damaged_object_is_an_error_that_says_so(clone: Path) -> None:
    oid = hashed(clone, "blob", b"sound")
    loose = clone / ".git" / "objects" / oid[:2] / oid[2:]
    loose.unlink()
    loose.write_bytes(b"rubbish")

    with pytest.raises(Terminal, match=oid):
        read(Git(clone), [oid])


def test_an_answer_that_was_not_read_to_its_end_answers_no_later_question(clone: Path) -> None:
    one = Git(clone)

    def interrupted(_answered: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.batch("cat-file", "--batch").ask([b"HEAD:README.md\n"], interrupted)

    found = find(one, "HEAD")
    assert found is not None
    assert found.kind == "commit"


def test_threads_get_each_its_own_answers(clone: Path) -> None:
    commit(clone, {f"f{number}": f"{number}" for number in range(50)})
    one = Git(clone)

    def ask(number: int) -> Iterable[bytes]:
        found = find_all(one, [f"HEAD:f{number}", f"HEAD:f{(number + 1) % 50}"])
        return [thing.content for thing in found if thing is not None]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(50)))

    assert answers == [[str(number).encode(), str((number + 1) % 50).encode()] for number in range(50)]


def test_processes_end_with_the_value_that_started_them(clone: Path) -> None:
    one = Git(clone)
    find(one, "HEAD")
    pid = process_of(one)

    del one
    gc.collect()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
