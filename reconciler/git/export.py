"""A clean export of one commit: what was built is exactly what was committed, filters and LFS included."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.git.command import Git
from reconciler.git.store import SUBMODULE, GitTree, headers, read_tree
from reconciler.model.errors import Place, ReconcilerError, Terminal, Transient, UserError
from reconciler.model.text import and_more, decoded, visible
from reconciler.model.tree import REGULAR_MODES, Tree, TreeEntry, inside

# Which files go through a filter (gitattributes(5), "filter"), and where that is written.
#
# A filter is a program of whoever checks out: what is in their files is not what git keeps, and what people review. Git
# itself is the judge of its patterns. Where an attribute was set it does not tell, so every line that sets a filter is
# given one more attribute, with the line's own number, in a copy.

_FILE = ".gitattributes"
_SETS_FILTER = re.compile(rb"[ \t\r][-!]?filter(?:=[^ \t\r\n]*)?[ \t\r]*(?=[ \t\r]|$)")
_NO_FILTER = frozenset({"unspecified", "set", "unset"})


@dataclass(frozen=True)
class Filter:
    """The filter that a file goes through, and the line that says so."""

    name: str
    place: Place


def filters(tree: Tree, paths: Iterable[str]) -> Mapping[str, Filter]:
    """The files among `paths` that a filter is set for by the .gitattributes of a tree, and by nobody's settings.

    The paths are not looked at where no .gitattributes sets a filter: then it costs one read, or none. A fleet that is
    below the root has the attributes of the folders above it as well, as git has them.
    """
    entries, below = tree.entries, tree.below
    there = [
        entry
        for path, entry in entries.items()
        if path.endswith(_FILE) and path.rpartition("/")[2] == _FILE and _is_plain(entry, below)
    ]
    contents = tree.read(entry.oid for entry in there) if there else {}
    there = [entry for entry in there if b"filter" in contents[entry.oid]]
    if not there:
        return {}
    regular = (path for path in dict.fromkeys(paths) if path in entries and _is_plain(entries[path], below))
    wanted = {inside(path, below): path for path in regular}
    # Nobody can set it: it is another one each time.
    mark, places = f"reconciler-{secrets.token_hex(8)}", list[Place]()
    with tempfile.TemporaryDirectory(prefix="reconciler-attributes-") as folder:
        for entry in there:
            copy = Path(folder, inside(entry.path, below))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(_marked(contents[entry.oid], entry.path, mark=mark, places=places))
        return {
            wanted[path]: Filter(name, places[int(number)] if number.isdecimal() else Place(_FILE))
            for path, name, number in _asked(Path(folder), wanted, mark=mark)
        }


def _is_plain(entry: TreeEntry, below: str) -> bool:
    return entry.mode in REGULAR_MODES and stays_below(inside(entry.path, below))


def stays_below(path: str) -> bool:
    """Whether a path leads to a file below the folder that it is seen from. A tree may hold any name, also `..`."""
    return not any(part in ("", ".", "..") or part.lower() == ".git" for part in path.split("/"))


def _marked(content: bytes, path: str, *, mark: str, places: list[Place]) -> bytes:
    """A .gitattributes whose lines that set a filter set the mark as well: to the number of their place."""
    lines = content.split(b"\n")
    for number, line in enumerate(lines):
        if _SETS_FILTER.search(line) and not line.lstrip().startswith(b"#"):
            lines[number] = line.rstrip() + f" {mark}={len(places)}".encode()
            places.append(Place(path, number + 1))
    return b"\n".join(lines)


def _asked(folder: Path, paths: Iterable[str], *, mark: str) -> Iterable[tuple[str, str, str]]:
    """Path, filter and mark of each path that has a filter."""
    git = Git(folder, {"GIT_ATTR_NOSYSTEM": "1"})
    git.run("init", "--quiet", "--template=")
    answer = git.run(
        *("-c", f"core.attributesFile={os.devnull}", "check-attr", "-z", "--stdin", "filter", mark),
        stdin="".join(f"{path}\0" for path in paths).encode(),
    )
    values = os.fsdecode(answer.stdout).split("\0")
    for start in range(0, len(values) - 5, 6):
        path, _, name, _, _, number = values[start : start + 6]
        if name not in _NO_FILTER:
            yield path, name, number


# Git LFS: a small pointer in git, and its content elsewhere, which the pointer names by digest and size.
#
# (git-lfs, docs/spec.md: "version", then its keys in order; a pointer is under 1024 bytes.)

LONGEST_POINTER = 1023
_POINTER = re.compile(
    rb"version https?://(?:git-lfs\.github\.com/spec|hawser\.github\.com/spec|git-media\.io)/v\d\n"
    rb"(?:ext-\d-[^\n]{1,200}\n){0,10}oid sha256:(?P<digest>[0-9a-f]{64})\nsize (?P<size>\d{1,18})\n?"
)
# A run wants the content, whatever a person leaves out of their own checkouts. What the environment says of it
# (GIT_LFS_SKIP_SMUDGE) is taken away with the rest of GIT_*.
_WHOLE = ("-c", "lfs.fetchexclude=", "-c", "lfs.fetchinclude=", "-c", "lfs.skipdownloaderrors=false")
# A server's own words, or its status where it has none.
_GONE = re.compile(r"\b(?:404|410)\b|does not exist|not found", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:401|403)\b|authenti|authoriz|credentials|access|forbidden|permission", re.IGNORECASE)


@dataclass(frozen=True)
class Pointer:
    """What a file that is kept in LFS really holds: its digest in hex, and its size in bytes."""

    content: bytes
    digest: str
    size: int


def pointer_in(content: bytes) -> Pointer | None:
    """The pointer that the bytes of a file are; None where they are the file itself."""
    match = _POINTER.fullmatch(content) if len(content) <= LONGEST_POINTER else None
    return Pointer(content, match["digest"].decode(), int(match["size"])) if match else None


def installed(git: Git) -> bool:
    """Whether git-lfs is here."""
    return git.attempt("lfs", "version").status == 0


def fetch(git: Git, pointers: Mapping[str, Pointer], *, below: Path) -> None:
    """Put the content of each pointer (by path) in its place below a folder, by git-lfs.

    What came is held against the pointer: it is what was reviewed, whoever keeps it.

    Raises:
        UserError: git-lfs is not installed, or the content is nowhere.
        Terminal: the credentials are refused, or something else came.
        Transient: it could not be fetched now.
    """
    if not pointers:
        return
    if not installed(git):
        raise _not_installed(sorted(pointers))
    for path, pointer in pointers.items():
        target = below / path
        with target.open("wb") as file:
            smudged = git.attempt(*_WHOLE, "lfs", "smudge", "--", path, stdin=pointer.content, sink=file)
        if smudged.status != 0:
            raise _not_fetched(path, pointer, smudged.stderr)
        if not _is(target, pointer):
            raise Terminal(
                f"git-lfs gave something else for {path} than what its pointer names (sha256 {pointer.digest[:12]}…)",
                hint="`git lfs fsck` looks for what is damaged; `git lfs env` shows how it is set up",
            )


def _is(path: Path, pointer: Pointer) -> bool:
    if path.stat().st_size != pointer.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == pointer.digest


def _not_installed(paths: list[str]) -> UserError:
    more = and_more(len(paths) - 1, " and {} more are") or " is"
    return UserError(
        f"{paths[0]}{more} kept in Git LFS, and git-lfs is not here: the build would get a pointer of 130 bytes",
        hint=(
            "install git-lfs where reconciler runs (most systems have a package git-lfs)",
            "or leave the file out of the image's folder and of packer.inputs",
        ),
    )


def _not_fetched(path: str, pointer: Pointer, said: str) -> ReconcilerError:
    lines = [line.strip() for line in said[:10_000].splitlines() if "rror" in line and "Errors logged" not in line]
    # `Error downloading object: PATH (0123abc): Smudge error: Error downloading PATH (DIGEST): why`
    why = visible(lines[0].rpartition(f"({pointer.digest}): ")[2][:300]) if lines else "it did not say why"
    if _GONE.search(why):
        return UserError(
            f"the content of {path} is not on the LFS server ({why})",
            hint="whoever committed it has it: `git lfs push --all origin`",
        )
    if _DENIED.search(why):
        return Terminal(
            f"the LFS server refuses these credentials for {path} ({why})",
            hint="give this job credentials that may read it; `git lfs fetch` tries them",
        )
    return Transient(f"git-lfs could not fetch {path} ({why})", hint="`git lfs fetch` shows whether it can again")


# A clean export of one commit: what was built is exactly what was committed.
#
# The bytes of git's blobs, as they were reviewed and as they are in the key. Not `git archive`, which obeys
# export-ignore and export-subst; and not a checkout, which turns line ends, expands `$Id$`, encodes text anew and runs
# filters, as .gitattributes, the system's and a person's settings have it: text that was reviewed as harmless could
# come out as a command, and two people's builds of one key would differ.

LFS = "lfs"
"""The filter whose content we can have: it is named by its digest. All others are somebody's programs."""
_LINK = "120000"
_AT_ONCE = 32 << 20
"""Bytes of blobs that are held in memory together. A larger one goes to its file as it comes."""


@dataclass(frozen=True)
class Export:
    """Where a commit was exported to, and the submodules in it, which were not."""

    directory: Path
    submodules: tuple[str, ...]


def export(git: Git, commit: str, directory: Path, *, used: Collection[str] = ()) -> Export:
    """Write every file of a commit below `directory`, which is made if need be: its bytes, its mode, its links.

    Of the files that are `used` (paths as the fleet sees them), those that are kept in Git LFS are fetched; all other
    pointers stay what they are. Of modes git knows whether a file can be executed, and nobody's umask adds to that.

    Raises:
        Terminal: the directory is not empty, or the commit holds what can't be written.
        UserError: a file that is used goes through a filter, or its content in LFS can't be had.
        Transient: LFS does not answer.
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if next(directory.iterdir(), None) is not None:
        raise Terminal(f"{directory} is not empty: a clean export needs a folder of its own")
    tree = read_tree(git, commit)
    for path, one in filters(tree, used).items():
        if one.name != LFS:
            raise filtered(path, one)
    entries = tuple(_entries(git, tree))
    try:
        fetch(git, _written(git, tree, entries, directory, used=frozenset(map(git.inside, used))), below=directory)
    except (OSError, ValueError) as error:  # a link may lead to what is no path
        raise Terminal(f"{commit[:12]} can't be exported: {visible(str(error))}") from error
    return Export(directory, tree.submodules)


def filtered(path: str, one: Filter) -> UserError:
    """The error for a file that a build would get otherwise than people see it in their checkouts."""
    return UserError(
        f'{path} goes through the filter "{one.name}": people see another file than git keeps, and a build takes '
        "what git keeps",
        where=one.place,
        hint=(
            "commit the file as it is to be built, and take the filter off it,",
            "or leave it out of the image's folder and of packer.inputs; a secret is passed as a variable",
        ),
    )


@dataclass(frozen=True)
class _Entry:
    path: str
    mode: str
    oid: str
    size: int

    @property
    def shown(self) -> str:
        """The path as a tree shows it: one that is not UTF-8 is escaped."""
        return decoded(os.fsencode(self.path))


def _entries(git: Git, tree: GitTree) -> Iterator[_Entry]:
    """Every file of a commit. Raises Terminal for a path that leads elsewhere: a tree may hold any name."""
    kept = dict.fromkeys(file.oid for file in tree.files if file.mode != SUBMODULE)
    sizes = {found.oid: found.size for found in headers(git, kept) if found is not None}
    for file in tree.files:
        path = os.fsdecode(file.written) if file.written is not None else file.path
        if not stays_below(path):
            raise Terminal(f"{tree.oid[:12]} holds the path {visible(path)}, which leads elsewhere")
        yield _Entry(path, file.mode, file.oid, sizes.get(file.oid, 0))


def _written(
    git: Git, tree: GitTree, entries: Sequence[_Entry], directory: Path, *, used: Collection[str]
) -> dict[str, Pointer]:
    """Write all entries, and return the pointers among those that are used. Raises OSError where that can't be."""
    for entry in entries:
        # A submodule is an empty folder, as in a clone without them.
        _make_folder(directory, entry.path if entry.mode == SUBMODULE else entry.path.rpartition("/")[0])
    links: dict[Path, bytes] = {}
    pointers: dict[str, Pointer] = {}
    for together in _batches(entry for entry in entries if entry.mode != SUBMODULE):
        large = together[0].size > _AT_ONCE
        contents = {} if large else tree.read(entry.oid for entry in together)
        for entry in together:
            path = directory / entry.path
            if entry.mode == _LINK and not large:
                links[path] = contents[entry.oid]
                continue
            with path.open("xb") as file:
                if large:
                    git.run("cat-file", "blob", entry.oid, sink=file)
                else:
                    file.write(contents[entry.oid])
            path.chmod(0o755 if int(entry.mode, 8) & 0o100 else 0o644)
            pointer = pointer_in(contents[entry.oid]) if entry.shown in used and not large else None
            if pointer is not None:
                pointers[entry.path] = pointer
    # Last, so that nothing is written through one.
    for path, target in links.items():
        path.symlink_to(os.fsdecode(target))
    return pointers


def _make_folder(directory: Path, folder: str) -> None:
    path = directory
    for part in folder.split("/") if folder else ():
        path /= part
        if not path.is_dir():
            path.mkdir()
            path.chmod(0o755)  # nobody's umask; the work folder above is private


def _batches(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Entries to be read together, in order; one that is too large for that by itself."""
    batch: list[_Entry] = []
    size = 0
    for entry in entries:
        if batch and size + entry.size > _AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch
