"""What is done to an artifact beside its marks: recorded before it is given, dropped after it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import events
from reconciler.model.care import Care, Grants
from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Artifact, Lockfile, Reason
from reconciler.model.plan import Tending
from reconciler.model.values import format_instant
from reconciler.steps.care import tend
from reconciler.steps.run import Deed
from tests.unit.steps.in_hand import InHand, in_hand, there

Make = Callable[..., Any]
OTHER = Grants.of(["111122223333"])
SHARED = Reason(code="sharing-changed", was="nobody else", now="111122223333")


class Tended:
    """An image with a build in one location, and what state/ and the registry have of it."""

    def __init__(self, built: Make, what_is_known: Make, root: Path, **settings: Any) -> None:
        situation = built()
        self.image = situation.image
        known = what_is_known(self.image, settings=settings, now=situation.now)
        probe = in_hand(known, root)
        self.lock: Lockfile = there(probe, situation.lock)
        self.hand: InHand = in_hand(known, root, [self.lock])
        for seen in probe.registry.artifacts:
            self.hand.registry.seed(seen.location, seen.name, tags=seen.tags)

    @property
    def artifact(self) -> Artifact:
        (build,) = self.lock.builds
        return build.artifacts[0]

    @property
    def recorded(self) -> Care:
        lock = self.hand.lock()
        assert lock is not None
        return lock.builds[0].artifacts[0].cared_for

    @property
    def users(self) -> Grants:
        return self.hand.registry.grants(self.artifact)


@pytest.fixture
def tended(built: Make, what_is_known: Make, tmp_path: Path) -> Tended:
    return Tended(built, what_is_known, tmp_path)


def test_whom_it_is_given_to_is_recorded_also_where_giving_fails(tended: Tended) -> None:
    tended.hand.registry.unshareable[tended.artifact.id] = "its key is AWS's own"
    share = Tending(tended.artifact, add=OTHER, before=Care(shared=OTHER), after=Care(shared=OTHER), reasons=(SHARED,))

    done = tend(tended.hand.run, tended.image, tended.lock, [share])

    assert tended.recorded.shared == OTHER, "a run that is killed leaves nothing of which state/ does not know"
    assert not tended.users
    assert isinstance(done.error, Terminal)
    assert done.did == ()
    assert len(tended.hand.told(events.Failed)) == 1


def test_one_that_fails_leaves_the_others_as_they_are_asked_for(tended: Tended) -> None:
    gone = tended.artifact.model_copy(update={"id": "ami-gone"})
    share = Tending(tended.artifact, add=OTHER, before=Care(shared=OTHER), after=Care(shared=OTHER), reasons=(SHARED,))

    done = tend(tended.hand.run, tended.image, tended.lock, [Tending(gone, protect=True), share])

    assert tended.users == OTHER
    assert done.did == (Deed("shared", "nobody else → 111122223333"),)
    assert done.error is not None


def test_who_could_use_what_is_disabled_is_recorded_before_it_is_lost(tended: Tended) -> None:
    tended.hand.registry.share(tended.artifact, add=OTHER, remove=Grants())
    reason = Reason(code="availability-changed", was="available", now="disabled")

    done = tend(tended.hand.run, tended.image, tended.lock, [Tending(tended.artifact, disable=True, reasons=(reason,))])

    assert not tended.users
    assert tended.recorded.withheld == OTHER
    assert done.did == (Deed("disabled", "available → disabled"),)


def test_where_it_is_not_known_who_could_use_it_it_stays_available(tended: Tended) -> None:
    tended.hand.registry.unreadable[tended.artifact.location] = "throttled"

    done = tend(tended.hand.run, tended.image, tended.lock, [Tending(tended.artifact, disable=True)])

    assert done.error is not None
    assert [one.state for one in tended.hand.registry.artifacts] == ["available"]
    assert tended.hand.recorder.commits == []


def test_a_date_that_has_come_meanwhile_is_one_that_a_registry_takes(tended: Tended) -> None:
    now = tended.hand.run.now()
    tended.hand.registry.clock = tended.hand.run.now
    past = format_instant(now - timedelta(hours=1))
    one = Tending(tended.artifact, deprecate=past, before=Care(deprecated=past), after=Care(deprecated=past))

    assert tend(tended.hand.run, tended.image, tended.lock, [one]).error is None

    (seen,) = tended.hand.registry.artifacts
    assert seen.deprecated is not None
    assert seen.deprecated == tended.recorded.deprecated
    assert seen.deprecated > format_instant(now)


def test_what_is_only_proposed_is_given_to_nobody_yet(built: Make, what_is_known: Make, tmp_path: Path) -> None:
    tended = Tended(built, what_is_known, tmp_path, git={"push": "pull-request"})
    share = Tending(tended.artifact, add=OTHER, before=Care(shared=OTHER), after=Care(shared=OTHER), reasons=(SHARED,))

    done = tend(tended.hand.run, tended.image, tended.lock, [share])

    assert not tended.users
    assert tended.recorded.shared == OTHER
    assert done.did == (Deed("recorded", "nobody else → 111122223333"),)


def test_what_is_taken_back_is_dropped_from_the_record_after(tended: Tended) -> None:
    tended.hand.registry.share(tended.artifact, add=OTHER, remove=Grants())
    reason = Reason(code="sharing-changed", was="111122223333", now="nobody else")
    given = tended.artifact.model_copy(update={"care": Care(shared=OTHER)})
    tended.lock = tended.lock.model_copy(
        update={"builds": (tended.lock.builds[0].model_copy(update={"artifacts": (given,)}),)}
    )  # fmt: skip
    hand = in_hand(tended.hand.run.known, tended.hand.run.folder, [tended.lock])
    hand.registry.seed(given.location, given.name or "", tags={})
    hand.registry.share(given, add=OTHER, remove=Grants())
    back = Tending(given, remove=OTHER, before=Care(shared=OTHER), after=Care(), reasons=(reason,))

    tend(hand.run, tended.image, tended.lock, [back])

    lock = hand.lock()
    assert lock is not None
    assert lock.builds[0].artifacts[0].care is None
    assert not hand.registry.grants(given)
    assert len(hand.recorder.commits) == 1, "before it is taken back nothing changes"
