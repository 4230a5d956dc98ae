"""What the loop asks of whoever tells the world, and of the host of the repository, which shows a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from reconciler.model.announcement import Announcement
from reconciler.model.plan import Plan

if TYPE_CHECKING:
    from reconciler.words.comment import Previewed


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


class Host(Protocol):
    """Where pull requests are: GitHub, or nobody who shows anything. What it refuses is said, and undoes nothing."""

    def show(
        self, plan: Plan, previewed: Mapping[str, Previewed], *, branch: str, number: int | None, remark: str
    ) -> None:
        """Show a preview on its pull request: a status for each image, and the comment, with `remark` above its table.

        `number` is the pull request's; None: the one of the branch is looked for.
        """

    def propose(self, images: tuple[str, ...], *, branch: str, base: str, body: str) -> None:
        """Have a pull request from `branch` into `base` for what was recorded of these images, as Markdown says."""
