"""Announces by a repository_dispatch event to another repository on GitHub."""

from __future__ import annotations

from reconciler.announce.github_api import GitHub
from reconciler.model.announcement import Announcement


class Dispatch:
    """A repository whose workflows run `on: repository_dispatch`.

    The announcement is under one key, `client_payload.announcement`: GitHub takes ten keys there, and 64 KB in all
    ("Create a repository dispatch event").
    """

    name = "github"

    def __init__(self, repository: str, github: GitHub, *, event_type: str | None = None) -> None:
        self._repository = repository
        self._github = github
        self._event_type = event_type

    def announce(self, what: Announcement) -> None:
        """Dispatch it. Raises Transient or Terminal."""
        event = {
            "event_type": self._event_type or f"image-{what.event}",
            "client_payload": {"announcement": what.plain()},
        }
        with self._github.asking(f"dispatching to {self._repository}", needs="contents: write") as api:
            repository = self._github.repository(self._repository)
            # Not `create_repository_dispatch`: it makes of every refusal, a bad token too, the answer False.
            api.requester.requestJsonAndCheck("POST", f"{repository.url}/dispatches", input=event)
