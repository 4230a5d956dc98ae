"""What the controller asks of whoever tells the world."""

from __future__ import annotations

from typing import Protocol

from reconciler.model.announcement import Announcement


class Announcer(Protocol):
    """One way to tell the world of a build. May be called from several threads."""

    @property
    def name(self) -> str:
        """Its key under `announce:`, stable: `circleci`, `webhook`. The dispatch to GitHub is `github`."""

    def announce(self, what: Announcement) -> None:
        """Tell it. Returning means that the receiver has taken it.

        Told at least once: after an error nobody knows whether the receiver heard, so it is told again, and the
        receiver knows it by its id.

        Raises Transient when it may work the next time, with the time when that is known, and Terminal when it will
        not until somebody changes a setting, a token or a right.
        """
