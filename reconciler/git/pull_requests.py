"""Pull requests that brought commits, as the subjects of merges and squashes name them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.git.command import Git
from reconciler.model.text import decoded

_PULL_REQUEST = re.compile(
    # GitHub's merge, Bitbucket's merge, GitHub's squash
    r"^Merge pull request #(\d{1,9}) |\(pull request #(\d{1,9})\)|\(#(\d{1,9})\)$"
)


@dataclass(frozen=True)
class PullRequests:
    """Which pull request brought a commit, as far as the subjects of commits tell."""

    by_commit: Mapping[str, int]

    def of(self, commit: str) -> int | None:
        """The number, for a commit's id or the beginning of one; None where no subject names it."""
        exact = self.by_commit.get(commit)
        if exact is not None or len(commit) < 7 or len(commit) >= 40:
            return exact
        found = {number for oid, number in self.by_commit.items() if oid.startswith(commit)}
        return found.pop() if len(found) == 1 else None


def pull_requests(git: Git, commit: str) -> PullRequests:
    """The pull requests that brought commits, up to one: a squash names its own, a merge that of all it brought."""
    log = decoded(git.run("log", "-z", "--format=%H%x00%P%x00%s", commit, "--").stdout).split("\0")
    rows = {log[start]: (log[start + 1].split(), log[start + 2]) for start in range(0, len(log) - 2, 3)}
    parents = {commit: facts[0] for commit, facts in rows.items()}
    numbers: dict[str, int] = {}
    for merged, brought in _brought(parents, commit):
        number = pull_request_in(rows[merged][1])
        for one in brought:
            own = pull_request_in(rows[one][1])
            if (found := own if own is not None else number) is not None:
                numbers[one] = found
    return PullRequests(numbers)


def pull_request_in(subject: str) -> int | None:
    """The number of the pull request that a squash or merge commit's subject names, or None."""
    match = _PULL_REQUEST.search(subject)
    return int(next(filter(None, match.groups()))) if match else None


def _brought(parents: Mapping[str, Sequence[str]], head: str) -> Iterable[tuple[str, list[str]]]:
    """Each commit of the first-parent line, oldest first, with all that came in with it, itself included."""
    line = []
    commit: str | None = head
    while commit is not None and commit in parents:
        line.append(commit)
        commit = next(iter(parents[commit]), None)
    seen: set[str] = set()
    for one in reversed(line):
        brought, waiting = [], [one]
        while waiting:
            commit = waiting.pop()
            if commit not in seen and commit in parents:
                seen.add(commit)
                brought.append(commit)
                waiting.extend(parents[commit])
        yield one, brought
