"""What is asked of nobody while it is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconciler.model.lockfile import Failure, Lockfile
from reconciler.plan.timing import is_dormant

Make = Callable[..., Any]


def test_only_what_is_suspended_and_has_no_past_is_dormant(built: Make, an_image: Make) -> None:
    situation = built()
    suspended, empty = an_image(suspend={"reason": "later"}), Lockfile(image="web")
    build, at = situation.lock.builds[0], "2026-11-22T10:15:30Z"
    failure = Failure(build=build.id, key=build.key, at=at, what="it broke", attempts=1, retry_after=at)

    assert is_dormant(suspended, empty, now=situation.now)
    assert not is_dormant(an_image(), empty, now=situation.now)
    assert not is_dormant(suspended, situation.lock, now=situation.now)
    assert not is_dormant(suspended, empty.model_copy(update={"failure": failure}), now=situation.now)
