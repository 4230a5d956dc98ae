"""Tells everybody, and returns what did not get through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.announce.protocol import Announcer
from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal, Transient


@dataclass(frozen=True)
class Untold:
    """One announcement that one announcer could not deliver. To be told again by the next run."""

    announcer: str
    what: Announcement
    error: Transient | Terminal


def tell(announcers: Iterable[Announcer], news: Sequence[Announcement]) -> tuple[Untold, ...]:
    """Tell every announcer all the news, in order, and return what failed.

    Raises none of the errors that an announcer may raise: a build that is recorded stays recorded. An announcer that
    failed is not asked again in this call; one dead receiver would else hold a run up once for every image.
    """
    untold: list[Untold] = []
    for announcer in announcers:
        broken: Transient | Terminal | None = None
        for what in news:
            if broken is None:
                try:
                    announcer.announce(what)
                    continue
                except (Transient, Terminal) as error:
                    broken = error
            untold.append(Untold(announcer.name, what, broken))
    return tuple(untold)
