"""What is recorded of builds that are there, at a head that moved on: only what is so still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Channels, Failure, Lockfile, Undelivered, Verdict
from reconciler.model.plan import Ruling
from reconciler.model.publish import Published
from reconciler.state.lockfiles import path_of, render
from reconciler.steps.record_rulings import (
    record_gone,
    record_published,
    record_ruling,
    record_told,
    record_undelivered,
    record_verdict,
)
from tests.unit.steps.in_hand import InHand, MemoryTree, in_hand

Make = Callable[..., Any]
PASSED = Verdict(status="passed", by="qa", evidence="https://ci.example.org/1")
FAILED = Verdict(status="failed", by="qa", evidence="https://ci.example.org/2")


class Recorded:
    def __init__(self, built: Make, what_is_known: Make, root: Path, image: Image) -> None:
        situation = built(image)
        self.image, self.lock, self.build = situation.image, situation.lock, situation.lock.builds[0]
        self.hand: InHand = in_hand(what_is_known(self.image, now=situation.now), root, [self.lock])

    def meanwhile(self, lock: Lockfile | None, **files: bytes) -> None:
        """Somebody else pushes this before we do."""
        written = {path_of(lock.image): render(lock)} if lock is not None else {}
        self.hand.recorder.before = lambda _tree: MemoryTree({**written, **files})

    def now(self) -> Lockfile:
        lock = self.hand.lock()
        assert lock is not None
        return lock


@pytest.fixture
def recorded(built: Make, what_is_known: Make, an_image: Make, tmp_path: Path) -> Recorded:
    return Recorded(built, what_is_known, tmp_path, an_image(validation={"required": True}))


def test_a_vote_stands_beside_its_tag(recorded: Recorded) -> None:
    recording = record_verdict(recorded.hand.run, recorded.image, recorded.build.id, PASSED)

    assert recorded.now().channels.stable == recorded.build.id
    assert recording.tags == (f"verdict/web/{recorded.build.id}",)
    (commit,) = recorded.hand.recorder.commits
    assert commit.tags[0].target == recorded.build.commit


def test_a_vote_on_what_is_recorded_no_more_is_dropped(recorded: Recorded) -> None:
    recorded.meanwhile(Lockfile(image="web"))

    recording = record_verdict(recorded.hand.run, recorded.image, recorded.build.id, PASSED)

    assert recording.superseded
    assert recording.why.startswith(f"{recorded.build.id} is not recorded any more at ")


@pytest.mark.parametrize(("stands", "comes", "wins"), [(FAILED, PASSED, False), (PASSED, FAILED, True)])
def test_only_a_failure_comes_after_another_vote(
    recorded: Recorded, stands: Verdict, comes: Verdict, *, wins: bool
) -> None:
    voted = recorded.build.model_copy(update={"verdict": stands})
    recorded.meanwhile(recorded.lock.model_copy(update={"builds": (voted,)}))

    recording = record_verdict(recorded.hand.run, recorded.image, recorded.build.id, comes)

    assert recording.superseded is not wins
    assert recorded.now().builds[0].verdict == (comes if wins else stands)


def test_a_failure_moves_no_stable_that_people_hold_there(
    built: Make, what_is_known: Make, an_image: Make, tmp_path: Path
) -> None:
    plain = Recorded(built, what_is_known, tmp_path, an_image())
    assert plain.lock.channels.stable == plain.build.id
    held = an_image(hold={"build": plain.build.id, "reason": "works"})

    recording = record_verdict(plain.hand.run, held, plain.build.id, FAILED)

    assert recording.superseded
    assert recording.why.startswith(f"stable is held to {plain.build.id} at ")
    assert plain.now().builds[0].verdict is None


def test_a_ruling_of_an_image_that_is_declared_no_more_is_not_recorded(recorded: Recorded) -> None:
    ruling = Ruling({}, reachable=True, reasons=(), moves_stable=False)
    recorded.meanwhile(recorded.lock, **{"desired/README.md": b"web is gone\n"})

    recording = record_ruling(recorded.hand.run, recorded.image, ruling)

    assert recording.superseded
    assert recording.why == f"what is declared of web changed at {recorded.hand.recorder.tree.oid[:12]}"
    assert recorded.now() == recorded.lock


def test_what_is_gone_is_recorded_no_more_and_what_came_meanwhile_is(recorded: Recorded) -> None:
    newer = recorded.build.model_copy(update={"id": "20301122T101530Z-1a2b3c4"})
    channels = Channels(candidate=newer.id)
    recorded.meanwhile(recorded.lock.model_copy(update={"builds": (newer, recorded.build), "channels": channels}))

    record_gone(recorded.hand.run, recorded.image, [recorded.build], reasons=())

    assert newer.id in {one.id for one in recorded.now().recorded}


def test_who_was_told_of_a_failure_is_recorded_as_long_as_it_is_the_last(recorded: Recorded) -> None:
    failure = Failure(
        build="20261122T111530Z-1a2b3c4", key="sha256:1", at="2026-11-22T11:15:30Z", what="it broke", attempts=1,
        retry_after="2026-11-22T11:30:30Z", told=("webhook",),
    )  # fmt: skip
    now = failure.model_copy(update={"told": ("sns",)})
    recorded.meanwhile(recorded.lock.model_copy(update={"failure": now}))

    assert not record_told(recorded.hand.run, recorded.image, failure=failure).superseded
    last = recorded.now().failure
    assert last is not None
    assert last.told == ("sns", "webhook")

    other = failure.model_copy(update={"build": "20261122T121530Z-1a2b3c4"})
    assert record_told(recorded.hand.run, recorded.image, failure=other).superseded
    assert recorded.now().failure == last


def test_that_a_refresh_failed_is_remembered_of_that_refresh_alone(recorded: Recorded) -> None:
    group = Published(
        auto_scaling_group="web", location="us-east-1", build=recorded.build.id, refresh="r-1", course="failed"
    )
    later = group.model_copy(update={"refresh": "r-2"})
    told = group.model_copy(update={"told": ("webhook",)})

    for now, heard in ((group, ("webhook",)), (later, ())):
        recorded.meanwhile(recorded.lock.model_copy(update={"published": (now,)}))
        recording = record_told(recorded.hand.run, recorded.image, failure=None, refreshes=[told])
        assert recorded.now().published[0].told == heard
        assert recording.superseded is not bool(heard)


@pytest.mark.parametrize("what", ["undelivered", "published"])
def test_nothing_is_written_about_an_image_that_is_recorded_no_more(recorded: Recorded, what: str) -> None:
    recorded.meanwhile(None)
    if what == "undelivered":
        late = Undelivered(event="candidate", build=recorded.build.id, to="webhook", why="it is down")
        recording = record_undelivered(recorded.hand.run, recorded.image, (late,))
    else:
        place = Published(ssm="/images/web/stable", location="us-east-1")
        recording = record_published(recorded.hand.run, recorded.image, (place,), former=())

    assert recording.superseded
    assert recorded.hand.lock() is None


def test_what_is_proposed_gets_no_tag_of_its_turn(
    built: Make, what_is_known: Make, an_image: Make, tmp_path: Path
) -> None:
    plain = Recorded(built, what_is_known, tmp_path, an_image())
    held = an_image(hold={"build": plain.build.id, "reason": "works"})
    ruling = Ruling({}, reachable=True, reasons=(), moves_stable=False)
    proposing = what_is_known(plain.image, settings={"git": {"push": "pull-request"}})

    for settings, tags in ((None, 1), (proposing.fleet.settings, 0)):
        hand = in_hand(plain.hand.run.known, tmp_path, [plain.lock])
        known = hand.run.known
        if settings is not None:
            known = replace(known, fleet=replace(known.fleet, settings=settings))
        record_ruling(replace(hand.run, known=known), held, ruling)
        (commit,) = hand.recorder.commits
        assert len(commit.tags) == tags
        assert hand.lock() != plain.lock
