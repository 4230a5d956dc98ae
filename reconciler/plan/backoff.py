"""How long an image that failed is left alone."""

from __future__ import annotations

from datetime import datetime, timedelta

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Failure
from reconciler.model.plan import Wanted
from reconciler.model.printable import visible
from reconciler.model.values import digest, format_instant, parse_instant

FIRST = timedelta(minutes=15)
LONGEST = timedelta(days=1)


def counts(failure: Failure, *, wanted: Wanted | None, drifted: bool) -> bool:
    """Whether a failure still says something: of what the image drifted to, or of a refresh of what it is.

    Once what failed was taken back it is past.
    """
    return drifted or (wanted is not None and failure.inputs == wanted.inputs)


def declared(image: Image) -> str:
    """The digest of what image.yaml declares. Not all of it is in the key: how long a build may take is not."""
    return digest(image.declaration.model_dump(mode="json"))


def rests(failure: Failure, *, key: str, declared: str, now: datetime) -> bool:
    """Whether what failed is still to be left alone: it is what it was, and its time has not come."""
    return _same(failure, key=key, declared=declared) and now < parse_instant(failure.retry_after)


def next_failure(
    before: Failure | None, *, build: str, key: str, what: str, now: datetime, declared: str | None = None
) -> Failure:
    """The failure to record: 15 minutes of rest, doubled each time the same fails, at most a day.

    Another key, or another declaration, starts anew: changed inputs always get a fresh try.
    """
    again = before is not None and _same(before, key=key, declared=declared)
    attempts = before.attempts + 1 if before is not None and again else 1
    rest = min(FIRST * 2 ** min(attempts - 1, 10), LONGEST)
    return Failure(
        build=build, key=key, declared=declared, attempts=attempts, at=format_instant(now),
        retry_after=format_instant(now + rest), what="\n".join(map(visible, what.splitlines())),
    )  # fmt: skip


def _same(failure: Failure, *, key: str, declared: str | None) -> bool:
    # A failure that was recorded before this was kept holds None: its key alone tells.
    return failure.key == key and failure.declared in (None, declared)
