from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model.lockfile import Failure
from reconciler.model.values import parse_instant
from reconciler.plan.timing import next_failure, rests

NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)


def after(attempts: int, *, key: str = "sha256:1") -> Failure:
    failure: Failure | None = None
    for _ in range(attempts):
        failure = next_failure(failure, build="20261122T101530Z-1a2b3c4", key=key, what="no", now=NOW)
    assert failure is not None
    return failure


@pytest.mark.parametrize(
    ("attempts", "rest"),
    [
        (1, timedelta(minutes=15)),
        (2, timedelta(minutes=30)),
        (7, timedelta(hours=16)),
        (8, timedelta(days=1)),
        (99, timedelta(days=1)),
    ],
)
def test_the_rest_doubles_up_to_a_day(attempts: int, rest: timedelta) -> None:
    failure = after(attempts)
    assert failure.attempts == attempts
    assert parse_instant(failure.retry_after) - parse_instant(failure.at) == rest


def test_another_key_starts_anew() -> None:
    fresh = next_failure(after(5), build="20261123T101530Z-2b3c4d5", key="sha256:2", what="no", now=NOW)
    assert fresh.attempts == 1


def test_another_declaration_of_the_same_key_starts_anew_and_ends_the_rest() -> None:
    resting = next_failure(
        after(5), build="20261123T101530Z-2b3c4d5", key="sha256:1", declared="sha256:a", what="no", now=NOW
    )
    later = next_failure(
        resting, build="20261123T101530Z-2b3c4d5", key="sha256:1", declared="sha256:b", what="no", now=NOW
    )

    assert (resting.attempts, later.attempts) == (6, 1)
    assert rests(resting, key="sha256:1", declared="sha256:a", now=NOW)
    assert not rests(resting, key="sha256:1", declared="sha256:b", now=NOW)


def test_a_failure_that_does_not_say_what_was_declared_rests_as_long_as_its_key_is_wanted() -> None:
    assert rests(after(1), key="sha256:1", declared="sha256:a", now=NOW)
    assert not rests(after(1), key="sha256:2", declared="sha256:a", now=NOW)
