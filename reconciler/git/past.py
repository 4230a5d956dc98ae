"""The past of a file, or of a folder: every version of it by one `git log`, however many commits there are."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciler.git.command import Git, failed
from reconciler.git.history import LONGEST_WALK, find_commit, merge_bases, resolve
from reconciler.git.store import find_all, refuse_two_meanings
from reconciler.model.errors import UserError
from reconciler.model.text import decoded, first_line

_LATEST = int(datetime(2999, 12, 31, tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class Version:
    """A file as one commit left it. `content` is None where the commit took it away."""

    commit: str
    parents: tuple[str, ...]
    at: datetime
    """When it was committed, UTC."""
    author: str
    """`Name <address>`."""
    message: str
    path: str
    content: bytes | None

    @property
    def subject(self) -> str:
        """The message's first line."""
        return self.message.partition("\n")[0]

    def trailers(self, key: str) -> tuple[str, ...]:
        """The values of a trailer, in order: what follows `key: ` in the message's last paragraph."""
        block = self.message.strip().rpartition("\n\n")[2]
        return tuple(line.removeprefix(f"{key}: ") for line in block.splitlines() if line.startswith(f"{key}: "))


def resolve_commit(git: Git, revision: str) -> str:
    """The id of the commit that a revision names: only a commit has a past.

    Raises:
        UserError: this clone has no such revision, or it names files and no commit.
    """
    refuse_two_meanings(git, revision)
    commit = find_commit(git, revision)
    if commit is None:
        resolve(git, revision)
        raise UserError(f'"{revision}" is no commit', hint="name a commit, a branch or a tag")
    return commit


def versions(git: Git, path: str, *, revision: str) -> tuple[Version, ...]:
    """Every version of a file that leads to the one at `revision`, newest first.

    A merge that only brought a version along is left out (git-log(1), "History Simplification").
    """
    at = git.inside(path)
    # %B may hold anything but a NUL, so that is what parts the fields.
    log = _log(git, "--topo-order", "-z", "--format=%H%x00%P%x00%ct%x00%an <%ae>%x00%B", revision, "--", at)
    fields = decoded(log).split("\0")
    rows = [fields[start : start + 5] for start in range(0, len(fields) - 4, 5)]
    contents = _contents(git, [f"{commit}:{at}" for commit, *_ in rows])
    return tuple(
        Version(commit, tuple(parents.split()), moment(seconds), author, message.strip("\n"), path, content)
        for (commit, parents, seconds, author, message), content in zip(rows, contents, strict=True)
    )


def begin_versions(git: Git, path: str, *, revision: str) -> Future[tuple[Version, ...]]:
    """`versions`, begun: git walks a long history while its caller does something else."""
    pool = ThreadPoolExecutor(max_workers=1)
    begun = pool.submit(versions, git, path, revision=revision)
    pool.shutdown(wait=False)
    return begun


def versions_below(git: Git, folder: str, *, revision: str) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """For each file that ever was in a folder of a branch: the commits that wrote it, and the ids of what they wrote.

    Newest first. Only what the branch itself was at: a commit that came with a merge may have held anything. By one
    walk through the history, however many files there are, and without reading any of them.
    """
    log = git.run(
        "log", "--first-parent", "-m", "--raw", "-z", "--no-abbrev", "--no-renames", "--diff-filter=AM",
        "--format=%x01%H", revision, "--", f"{git.inside(folder)}/",
    ).stdout  # fmt: skip
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    commit, words = "", iter(decoded(log).split("\0"))
    for word in words:
        if word.startswith("\x01"):
            commit = word[1:]
        elif word.lstrip("\n").startswith(":"):
            # Taken right here: a path may hold anything but a NUL, and would pass for the next commit.
            found[git.outside(next(words))].append((commit, word.split(" ")[3]))
    return {path: tuple(written) for path, written in found.items()}


def touched_below(git: Git, folder: str, *, since: str, revision: str) -> tuple[tuple[str, str], ...]:
    """The files in a folder that commits changed which one revision has and another has not, each with its commit.

    Newest first. Of a merge those that are as on neither of its sides.
    """
    return _named_by_commit(git, _log(
        git, "--full-history", "-c", "--name-only", "-z", "--no-renames", "--format=%x01%H", f"{since}..{revision}",
        "--", git.inside(folder),
    ))  # fmt: skip


def _log(git: Git, *arguments: str) -> bytes:
    """A log of commits that anybody may have pushed. Raises Terminal where it is longer than any that people make."""
    log = git.attempt("-c", "log.showRoot=true", "log", *arguments, limit_seconds=LONGEST_WALK)
    if log.status != 0:
        raise failed("log", log)
    return log.stdout


def _named_by_commit(git: Git, log: bytes) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    commit = ""
    for word in decoded(log).split("\0"):  # a path begins with the folder, and may hold anything else but a NUL
        if word.startswith("\x01"):
            commit = word[1:]
        elif path := word.lstrip("\n"):
            found.append((commit, git.outside(path)))
    return tuple(found)


def last_touched(git: Git, folder: str, *, revision: str) -> tuple[tuple[str, str], ...]:
    """The files in a folder that the newest commit changed which changed any, with that commit; none if none did."""
    return _named_by_commit(git, _log(
        git, "--max-count=1", "-m", "--first-parent", "--name-only", "-z", "--no-renames", "--format=%x01%H", revision,
        "--", git.inside(folder),
    ))  # fmt: skip


def read_blobs(git: Git, oids: Iterable[str]) -> list[bytes | None]:
    """The contents of files by their ids; None for what is none."""
    return _contents(git, oids)


@dataclass(frozen=True)
class At:
    """A commit, and a file as it is there: None where it is not."""

    commit: str
    parents: tuple[str, ...]
    content: bytes | None


def at_every_commit(git: Git, path: str, *, revision: str) -> tuple[At, ...]:
    """A file at each commit that leads to a revision, parents before children.

    Unlike `versions` it leaves out no side of a merge, so nothing can be hidden behind one.
    """
    at = git.inside(path)
    rows = [line.split() for line in git.run("rev-list", "--topo-order", "--reverse", "--parents", revision).lines]
    # Those that differ in it from any of their parents. To look it up in each takes twenty times as long: git looks no
    # further where a commit and its parent have a folder in common.
    changed = set(git.run("rev-list", "--full-history", revision, "--", at).lines)
    asked = [commit for commit, *_ in rows if commit in changed]
    contents = dict(zip(asked, _contents(git, [f"{commit}:{at}" for commit in asked]), strict=True))
    for commit, *parents in rows:
        if commit not in contents:
            contents[commit] = contents[parents[0]] if parents else None
    return tuple(At(commit, tuple(parents), contents[commit]) for commit, *parents in rows)


def chosen_by_merge(git: Git, path: str, *, since: str, revision: str) -> str | None:
    """The newest merge since a commit that threw away what one side had made of a file; None where there is none.

    Git itself takes the side that changed the file since the two parted. To keep the other is somebody's choice, and
    `versions` shows it as no change.
    """
    at = git.inside(path)
    rows = git.run("rev-list", "--topo-order", "--merges", "--parents", f"{since}..{revision}").lines
    for commit, *parents in map(str.split, rows):
        now, *before = _contents(git, [f"{one}:{at}" for one in (commit, *parents)])
        for lost, was in zip(parents, before, strict=True):
            kept = next((one for one, content in zip(parents, before, strict=True) if content == now), None)
            if was == now or kept is None:
                continue
            bases = merge_bases(git, kept, lost)
            if not bases or any(found != was for found in _contents(git, [f"{base}:{at}" for base in bases])):
                return commit
    return None


@dataclass(frozen=True)
class Mention:
    """A file that holds a text, as a commit left it."""

    commit: str
    path: str
    content: bytes


def mentions_by_message(git: Git, text: str, *, folder: str, revision: str) -> tuple[Mention, ...]:
    """The files directly in a folder that hold a text and that a commit changed whose message has it, newest first.

    A tenth of a second for 20,000 commits: no file is compared but those of the commits that are found.
    """
    return _mentions(git, text, folder, "--fixed-strings", f"--grep={text}", revision)


def mentions(git: Git, text: str, *, folder: str, revision: str) -> tuple[Mention, ...]:
    """The same whatever messages say: every version into which the text came (gitdiffcore(7), "pickaxe").

    Three seconds for 20,000 commits, as each is compared with its parent.
    """
    return _mentions(git, text, folder, f"-S{text}", revision, "--", f"{git.inside(folder)}/")


def _mentions(git: Git, text: str, folder: str, *how: str) -> tuple[Mention, ...]:
    log = git.run("log", "-z", "--topo-order", "--format=%x00%H", "--name-only", "--no-renames", *how).stdout
    found: list[tuple[str, str]] = []
    commit, words = "", iter(os.fsdecode(log).split("\0"))
    for word in words:
        # A name may hold anything but a NUL, and is never empty: so that comes before a commit, and a line's end after.
        if not word:
            commit = next(words, "")
        elif "\n" not in (name := word.removeprefix("\n")) and git.outside(name).rpartition("/")[0] == folder:
            found.append((commit, git.outside(name)))
    contents = _contents(git, [f"{commit}:{git.inside(path)}" for commit, path in found])
    return tuple(
        Mention(commit, path, content)
        for (commit, path), content in zip(found, contents, strict=True)
        if content is not None and text.encode() in content
    )


def newest_before(git: Git, by: datetime, *, revision: str, now: datetime) -> str | None:
    """The commit of a branch's own line before the first that was made after a time; None where all are younger.

    Each commit says its own time, and whoever writes one says any: one of 1970 hides nothing that was done before it,
    and one of a time to come is passed over.
    """
    found: str | None = None
    for row in reversed(git.run("log", "--first-parent", "--format=%H %ct", revision, "--").lines):
        commit, _, seconds = row.partition(" ")
        if by < (made := moment(seconds)) <= now:
            break
        found = commit if made <= now else found
    return found


def author_of(git: Git, commit: str) -> str:
    """Who wrote a commit: `Name <address>`."""
    return first_line(decoded(_log(git, "--max-count=1", "--format=%an <%ae>", commit, "--")))


def branches_with(git: Git, commit: str) -> tuple[str, ...]:
    """The remote branches, else the local ones, that this clone knows to contain a commit; by name."""
    for folder, depth in (("refs/remotes", 3), ("refs/heads", 2)):
        named = git.attempt("for-each-ref", f"--format=%(refname:lstrip={depth})", f"--contains={commit}", folder)
        if named.status == 0 and (found := [name for name in named.lines if name != "HEAD"]):
            return tuple(found)
    return ()


def removed_in(git: Git, commit: str, *, parent: str, folder: str) -> tuple[str, ...]:
    """The files directly in a folder that a commit took away. Renames are not guessed at."""
    return _differing(git, commit, parent=parent, folder=folder, how="D")


def added_in(git: Git, commit: str, *, parent: str, folder: str) -> tuple[str, ...]:
    """The files directly in a folder that a commit brought. Renames are not guessed at."""
    return _differing(git, commit, parent=parent, folder=folder, how="A")


def _differing(git: Git, commit: str, *, parent: str, folder: str, how: str) -> tuple[str, ...]:
    only = f"--diff-filter={how}"
    listing = git.run(
        "diff-tree", "-r", "-z", "--name-only", "--no-renames", only, parent, commit, "--", f"{git.inside(folder)}/"
    )  # fmt: skip
    names = [git.outside(name) for name in os.fsdecode(listing.stdout).split("\0") if name]
    return tuple(name for name in names if name.startswith(f"{folder}/") and "/" not in name[len(folder) + 1 :])


def _contents(git: Git, names: Iterable[str]) -> list[bytes | None]:
    """The files that names such as `<commit>:<path>` stand for; None for what is no file, or not there."""
    return [one.content if one is not None and one.kind == "blob" else None for one in find_all(git, names)]


def dates_of(git: Git, commits: str) -> Iterator[datetime]:
    """When a commit was made, as it says, or (`^@` behind it) its parents. Of what is not here, or is none, nothing.

    Git is asked once somebody looks.
    """
    found = git.attempt("log", "--no-walk=unsorted", "--format=%ct", commits, "--")
    yield from map(moment, found.lines) if found.status == 0 else ()


def moment(seconds: str) -> datetime:
    """The time of a commit; of one that says none, or one that no calendar has, the nearest that there is."""
    given = int(seconds) if seconds.isdecimal() else 0
    return datetime.fromtimestamp(min(given, _LATEST), UTC)
