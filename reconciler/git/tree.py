"""The files of one revision, as `ls-tree` lists and `cat-file` reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.git.command import Git
from reconciler.model.errors import Terminal
from reconciler.model.tree import TreeEntry

SUBMODULE = "160000"


@dataclass(frozen=True)
class GitTree:
    """One revision's files; a `reconciler.model.tree.Tree`."""

    oid: str
    entries: Mapping[str, TreeEntry]
    git: Git = field(repr=False, compare=False)

    def read(self, oids: Iterable[str]) -> Mapping[str, bytes]:
        """The contents of blobs by object id, by one `cat-file --batch`. Raises Terminal if one is not there."""
        wanted = list(dict.fromkeys(oids))
        if not wanted:
            return {}
        asked = "".join(f"{oid}\n" for oid in wanted).encode()
        return _contents(self.git.run("cat-file", "--batch", "--buffer", stdin=asked).stdout, len(wanted))

    @property
    def submodules(self) -> tuple[str, ...]:
        """Paths at which another repository is mounted; their files are in no tree of ours."""
        return tuple(path for path, entry in self.entries.items() if entry.mode == SUBMODULE)


def read_tree(git: Git, oid: str) -> GitTree:
    """List every file of a commit or tree, by one `ls-tree`."""
    listing = git.run("ls-tree", "-r", "-z", "--full-tree", oid).stdout
    # A path that isn't UTF-8 is shown escaped: it has to fit into JSON, and its content is read by object id anyway.
    found = (_entry(line) for line in listing.decode("utf-8", "backslashreplace").split("\0") if line)
    return GitTree(oid, MappingProxyType({entry.path: entry for entry in found}), git)


def _entry(line: str) -> TreeEntry:
    facts, path = line.split("\t", 1)
    mode, _type, oid = facts.split(" ")
    return TreeEntry(path, mode, oid)


def _contents(output: bytes, count: int) -> dict[str, bytes]:
    """Take the answers apart: a line `<oid> <type> <size>`, then the content and a newline (git-cat-file(1))."""
    contents: dict[str, bytes] = {}
    position = 0
    for _ in range(count):
        end = output.index(b"\n", position)
        oid, *facts = output[position:end].decode().split(" ")
        if len(facts) != 2:  # `<oid> missing`
            raise Terminal(
                f"object {oid} is not in this clone",
                mend="a damaged or partial clone: `git fsck` names what is missing, `git fetch --refetch` brings it",
            )
        start = end + 1
        position = start + int(facts[1])
        contents[oid] = output[start:position]
        position += 1
    return contents
