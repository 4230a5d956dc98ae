"""Who is told of what, once; and what of those who could not be reached is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.model import events
from reconciler.model.announcement import Announcement
from reconciler.model.collection import Took
from reconciler.model.errors import Transient
from reconciler.model.lockfile import Failure, Lockfile, Undelivered
from reconciler.model.observation import Observation
from reconciler.model.publish import Published
from reconciler.model.values import format_instant
from reconciler.steps.announce import announce, announce_steps
from reconciler.steps.run import Report, Run
from tests.unit.steps.in_hand import InHand, in_hand, there

Make = Callable[..., Any]


@dataclass
class Receiver:
    """An announcer that hears what it is told, unless it is down."""

    name: str = "webhook"
    is_down: bool = False
    heard: list[Announcement] = field(default_factory=list)

    def announce(self, what: Announcement) -> None:
        if self.is_down:
            raise Transient("it is down\nfor long")
        self.heard.append(what)


class Telling:
    """An image with a stable build, of which nobody was told."""

    def __init__(self, built: Make, what_is_known: Make, root: Path, **lock: Any) -> None:
        situation = built()
        known = what_is_known(situation.image, now=situation.now)
        probe = in_hand(known, root)
        marked = there(probe, situation.lock)
        recorded = marked.builds[0].model_copy(update={"recorded": format_instant(situation.now)})
        self.lock: Lockfile = marked.model_copy(update={"builds": (recorded,), **lock})
        self.hand: InHand = in_hand(known, root, [self.lock])
        for seen in probe.registry.artifacts:
            self.hand.registry.seed(seen.location, seen.name, tags=seen.tags)

    @property
    def run(self) -> Run:
        """A run that starts now: it has looked at what the registry and the branch have."""
        run, now = self.hand.run, self.hand.lock()
        assert now is not None
        observation = Observation(artifacts=self.hand.registry.artifacts)
        return replace(run, known=replace(run.known, observation=observation, locks={"web": now}))

    def tell(self, *receivers: Receiver, run: Run | None = None, waits: tuple[str, ...] = ()) -> None:
        report = Report((), plan=None, target=None)  # type: ignore[arg-type] # nothing was acted on
        announce(run or self.run, report, receivers, branch="main", waits=waits)


@pytest.fixture
def telling(built: Make, what_is_known: Make, tmp_path: Path) -> Telling:
    return Telling(built, what_is_known, tmp_path)


def test_each_is_told_once_and_whoever_comes_later_as_well(telling: Telling) -> None:
    first, second = Receiver(), Receiver("sns")

    telling.tell(first)
    telling.tell(first, second)

    assert [one.event for one in first.heard] == ["candidate", "stable"]
    assert [one.event for one in second.heard] == ["candidate", "stable"]


def test_what_consumers_do_not_find_yet_waits(telling: Telling) -> None:
    receiver = Receiver()

    telling.tell(receiver, waits=("web",))
    assert receiver.heard == []
    telling.tell(receiver)

    assert [one.event for one in receiver.heard] == ["candidate", "stable"]


def test_old_news_floods_nobody(telling: Telling) -> None:
    receiver = Receiver()
    now = telling.run.known.now + timedelta(days=7, seconds=1)
    cast("SimpleNamespace", telling.hand.run.adapters).now = lambda: now

    telling.tell(receiver)

    assert receiver.heard == []


def test_who_was_not_reached_is_recorded_with_the_reason_until_he_is(telling: Telling) -> None:
    receiver = Receiver(is_down=True)

    telling.tell(receiver)
    lock = telling.hand.lock()
    assert lock is not None
    assert [(one.event, one.to, one.why) for one in lock.undelivered] == [
        ("candidate", "webhook", "it is down"), ("stable", "webhook", "it is down"),
    ]  # fmt: skip
    commits = len(telling.hand.recorder.commits)

    telling.tell(receiver)
    assert len(telling.hand.recorder.commits) == commits, "the same reason once more is nothing to commit"
    receiver.is_down = False
    telling.tell(receiver)

    lock = telling.hand.lock()
    assert lock is not None
    assert lock.undelivered == ()
    assert [one.event for one in receiver.heard] == ["candidate", "stable"]


def test_nobody_waits_for_an_announcer_that_was_taken_away(built: Make, what_is_known: Make, tmp_path: Path) -> None:
    build = built().lock.builds[0]
    late = Undelivered(event="stable", build=build.id, to="sns", why="it is down")
    telling = Telling(built, what_is_known, tmp_path, undelivered=(late,))

    telling.tell(Receiver())

    lock = telling.hand.lock()
    assert lock is not None
    assert lock.undelivered == ()


def test_what_could_not_be_remembered_is_told_and_told_again(telling: Telling) -> None:
    receiver = Receiver()
    telling.hand.registry.unreadable["us-east-1"] = "throttled"

    telling.tell(receiver)
    telling.tell(receiver)

    assert [one.event for one in receiver.heard] == ["candidate", "stable"] * 2
    assert telling.hand.told(events.Warned)[0].what.startswith("webhook was told, and may be again: ")


def test_of_an_artifact_that_was_not_seen_nobody_knows_who_was_told(telling: Telling) -> None:
    receiver = Receiver()
    blind = replace(telling.run, known=replace(telling.run.known, observation=Observation()))

    telling.tell(receiver, run=blind)

    assert receiver.heard == []


@pytest.mark.parametrize(("days", "told"), [(6, True), (8, False)])
def test_a_failure_is_told_while_it_is_news(
    built: Make, what_is_known: Make, tmp_path: Path, days: int, *, told: bool
) -> None:
    at = format_instant(built().now - timedelta(days=days))
    failure = Failure(
        build="20261116T101530Z-1a2b3c4", key="sha256:1", at=at, what="it broke", attempts=1, retry_after=at
    )
    telling = Telling(built, what_is_known, tmp_path, failure=failure)
    receiver = Receiver()

    telling.tell(receiver)
    telling.tell(receiver)

    assert [one.event for one in receiver.heard].count("failed") == int(told)
    lock = telling.hand.lock()
    assert lock is not None
    assert lock.failure is not None
    assert lock.failure.told == (("webhook",) if told else ())


def test_a_run_that_ends_tells_nobody(telling: Telling) -> None:
    receiver = Receiver()
    telling.run.cancelled.set()

    telling.tell(receiver)
    announce_steps(
        telling.run, [Took(image="web", build=None, step="retire", location="us-east-1", id="ami-1")], [receiver],
        branch="main",
    )  # fmt: skip

    assert receiver.heard == []


@pytest.mark.parametrize(("days", "told"), [(None, True), (6, True), (8, False)])
def test_a_group_that_could_not_be_refreshed_is_told_while_it_is_news(
    built: Make, what_is_known: Make, tmp_path: Path, days: int | None, *, told: bool
) -> None:
    situation = built()
    since = format_instant(situation.now - timedelta(days=days)) if days is not None else None
    group = Published(
        auto_scaling_group="web", build=situation.lock.builds[0].id, course="failed", since=since, why="no capacity",
        location="us-east-1",
    )  # fmt: skip
    telling = Telling(built, what_is_known, tmp_path, published=(group,))
    receiver = Receiver()

    telling.tell(receiver)

    assert [one.event for one in receiver.heard].count("failed") == int(told)
