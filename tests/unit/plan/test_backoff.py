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


def tried(before: Failure | None, packer: str, *, too_old: bool = False, key: str = "sha256:1") -> Failure:
    return next_failure(
        before, build="20261122T101530Z-1a2b3c4", key=key, what="no", now=NOW, packer=packer, may_be_too_old=too_old
    )


def test_what_a_packer_may_be_too_old_for_has_one_try_with_each_other_one() -> None:
    old = tried(None, "1.6.6", too_old=True)
    both = tried(old, "1.16.0")
    resting = {
        packer: [rests(one, key="sha256:1", declared="sha256:a", now=NOW, packer=packer) for one in (old, both)]
        for packer in (None, "1.6.6", "1.12.0", "1.16.0")
    }

    assert resting == {None: [True, True], "1.6.6": [True, True], "1.12.0": [False, False], "1.16.0": [False, True]}
    assert (both.refused_by, both.attempts) == (("1.6.6", "1.16.0"), 2)


def test_what_fails_for_another_cause_rests_whatever_packer_is_here() -> None:
    failed = tried(None, "1.16.0")

    assert failed.refused_by == ()
    assert rests(failed, key="sha256:1", declared="sha256:a", now=NOW, packer="1.6.6")


def test_what_is_declared_otherwise_is_tried_by_every_packer_anew() -> None:
    assert tried(tried(None, "1.6.6", too_old=True), "1.16.0", key="sha256:2").refused_by == ()


def test_a_failure_that_does_not_say_what_was_declared_rests_as_long_as_its_key_is_wanted() -> None:
    assert rests(after(1), key="sha256:1", declared="sha256:a", now=NOW)
    assert not rests(after(1), key="sha256:2", declared="sha256:a", now=NOW)
