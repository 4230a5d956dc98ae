"""Commit statuses, posted only when they change.

GitHub keeps at most 1,000 of one commit and context, and every one may send mails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from github.Repository import Repository

State = Literal["error", "failure", "pending", "success"]
LONGEST_DESCRIPTION = 140
_PAGE = 100


@dataclass(frozen=True)
class Status:
    """What a context says of a commit. No text is the same as none: GitHub answers null to either."""

    state: State
    description: str
    target_url: str


class Statuses:
    """The statuses of commits, as we last saw or set them: each commit is read once, whatever its images."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Status]] = {}

    def set(self, repository: Repository, sha: str, *, context: str, status: Status) -> bool:
        """Post a status unless it is there already. Returns whether it was posted. Raises what PyGithub raises."""
        if sha not in self._seen:
            self._seen[sha] = _read(repository, sha)
        if self._seen[sha].get(context) == status:
            return False
        body = {"state": status.state, "context": context, "description": status.description}
        if status.target_url:
            body["target_url"] = status.target_url
        repository.requester.requestJsonAndCheck("POST", f"{repository.url}/statuses/{sha}", input=body)
        self._seen[sha][context] = status
        return True


def short(description: str) -> str:
    """The description in 140 characters, which is all that GitHub takes."""
    if len(description) <= LONGEST_DESCRIPTION:
        return description
    return description[: LONGEST_DESCRIPTION - 1].rstrip() + "…"


def _read(repository: Repository, sha: str) -> dict[str, Status]:
    """The latest status of each context. PyGithub's `get_combined_status` reads the first 30 only."""
    found: dict[str, Status] = {}
    page = 1
    while True:
        _, answer = repository.requester.requestJsonAndCheck(
            "GET", f"{repository.url}/commits/{sha}/status", parameters={"per_page": _PAGE, "page": page}
        )
        some = answer["statuses"]
        for one in some:
            found[one["context"]] = Status(one["state"], one["description"] or "", one["target_url"] or "")
        if len(some) < _PAGE:
            return found
        page += 1
