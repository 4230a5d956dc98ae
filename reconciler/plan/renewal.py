"""A refresh: when an image is due for one, and whether it brought anything new."""

from __future__ import annotations

from datetime import datetime, timedelta

from reconciler.model.declaration import Refresh
from reconciler.model.lockfile import Build
from reconciler.model.plan import PlanOptions
from reconciler.model.values import parse_instant
from reconciler.model.window import parse_window
from reconciler.plan.adoption import NEVER_AGAIN
from reconciler.plan.key import REFRESH_OF, SOURCE, moved
from reconciler.plan.situation import finished_at

RENEWING = frozenset({"expired", "source-changed"})
"""Reasons that may turn out to have changed nothing. A rebuilt parent may differ in files that no inventory lists, and
who forces a build wants that build."""


def refreshes(options: PlanOptions, refresh: Refresh, *, now: datetime) -> bool:
    """Whether this run may refresh an image: it was asked to, and the image's window is open."""
    return options.refresh and (refresh.window is None or parse_window(refresh.window).is_open(now))


def current_since(build: Build) -> datetime | None:
    """Since when a build is known to be current: when it was made, or made again and came out the same."""
    return parse_instant(build.verified.at) if build.verified is not None else finished_at(build)


def is_expired(build: Build | None, refresh: Refresh, *, now: datetime) -> bool:
    """Whether a build is older than `refresh.max_age`; never without a limit, or where its age is not known."""
    since = current_since(build) if build is not None else None
    return refresh.max_age is not None and since is not None and now - since > timedelta(seconds=refresh.max_age)


def due(build: Build | None, refresh: Refresh, *, now: datetime) -> datetime | None:
    """When a build is to be refreshed next: as soon as it is too old, and its window opens.

    With a window alone, when that opens: its source is looked at then. None with neither.
    """
    since = current_since(build) if build is not None else None
    if since is None:
        return None
    if refresh.max_age is None:
        return parse_window(refresh.window).opening(now) if refresh.window and refresh.on_source_change else None
    # `is_expired` asks for more than max_age, in whole seconds.
    expires = since + timedelta(seconds=refresh.max_age + 1)
    return expires if refresh.window is None else parse_window(refresh.window).opening(expires)


def brought_nothing(new: Build, *, before: Build | None) -> bool:
    """Whether a refresh made the same image again: the same inputs, and the same inside.

    What could not be read inside one of them is not known to be the same.
    """
    if before is None or before.phase in NEVER_AGAIN or new.inventory is None or before.inventory is None:
        return False
    renews = bool(new.reasons) and RENEWING.issuperset(reason.code for reason in new.reasons)
    same_inputs = not set(moved(before.components, new.components)) - {SOURCE, REFRESH_OF}
    known = not new.inventory.unread and not before.inventory.unread
    return renews and same_inputs and known and new.inventory.digest == before.inventory.digest
