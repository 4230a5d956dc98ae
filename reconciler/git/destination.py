"""Where state is recorded: a branch whose head can be read, and moved if nobody else did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from reconciler.git.answer import Reply
from reconciler.model.errors import ReconcilerError


class Destination(Protocol):
    """A branch, on a remote or in this repository alone."""

    @property
    def branch(self) -> str:
        """Its short name."""

    @property
    def pushed(self) -> bool:
        """Whether what is published leaves this machine."""

    def head(self) -> str:
        """The commit that the branch is at now, fetched if need be. Raises what `error` returns."""

    def publish(self, commit: str, *, onto: str, tags: Mapping[str, str]) -> Reply:
        """Move the branch from `onto` to `commit` and create the tags (name to tag object): all of it, or nothing.

        Where the remote takes refs one by one, the branch goes first, and `Reply.owed` tells of the tags.
        """

    def bring_along(self, commit: str, *, onto: str) -> str | None:
        """Let the checkout follow if it is on this branch. Returns why it could not, or None."""

    def error(self, reply: Reply) -> ReconcilerError:
        """The error for a reply that is not DONE."""
