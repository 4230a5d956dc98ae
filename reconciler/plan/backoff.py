"""How long an image that failed is left alone."""

from __future__ import annotations

from datetime import datetime, timedelta

from reconciler.model.lockfile import Failure
from reconciler.model.plan import Wanted
from reconciler.model.values import format_instant
from reconciler.plan.words import visible

FIRST = timedelta(minutes=15)
LONGEST = timedelta(days=1)


def counts(failure: Failure, *, wanted: Wanted | None, drifted: bool) -> bool:
    """Whether a failure still says something: of what the image drifted to, or of a refresh of what it is.

    Once what failed was taken back it is past.
    """
    return drifted or (wanted is not None and failure.inputs == wanted.inputs)


def next_failure(before: Failure | None, *, build: str, key: str, what: str, now: datetime) -> Failure:
    """The failure to record: 15 minutes of rest, doubled each time the same key fails, at most a day.

    Another key starts anew: changed inputs always get a fresh try.
    """
    attempts = before.attempts + 1 if before is not None and before.key == key else 1
    rest = min(FIRST * 2 ** min(attempts - 1, 10), LONGEST)
    return Failure(
        build=build, key=key, attempts=attempts, at=format_instant(now), retry_after=format_instant(now + rest),
        what="\n".join(map(visible, what.splitlines())),
    )  # fmt: skip
