"""What a failed attempt left, told from what it only mentioned; and what others did, which comes before the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.model import events
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Artifact, Channels, Lockfile, Verdict
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, Ruling
from reconciler.model.values import format_instant
from reconciler.plan.diff import decide
from reconciler.ports.builder import BuildFailed
from reconciler.steps.run import Branch
from reconciler.steps.settle import (
    _lacking,
    _left,
    _recent,
    claim_and_retire,
    make_owed_tags,
    retire_left,
    retire_useless,
    settle,
)
from tests.unit.steps.in_hand import InHand, in_hand, there

Make = Callable[..., Any]
US, ID = "us-east-1", "20261122T101530Z-1a2b3c4"
SINCE, BEFORE = "2026-11-22T10:20:00Z", "2026-11-22T09:00:00Z"


@pytest.fixture
def hand(an_image: Make, what_is_known: Make, tmp_path: Path) -> InHand:
    return in_hand(what_is_known(an_image()), tmp_path)


def marks(**said: str) -> dict[str, str]:
    return {f"reconciler:{name}": value for name, value in said.items()}


def reported(seen: Seen) -> Artifact:
    return seen.as_artifact("amazon-ebs.web")


def failing(*artifacts: Artifact, mentioned: tuple[str, ...] = (), cleaned_up: bool = True) -> BuildFailed:
    return BuildFailed(
        "it broke", cause="failed", seconds=1, log=Path("log"), artifacts=artifacts, mentioned=mentioned,
        cleaned_up=cleaned_up,
    )  # fmt: skip


class TestLeft:
    def test_nothing_is_looked_for_where_packer_cleaned_up_after_itself(self, hand: InHand, an_image: Make) -> None:
        assert retire_left(hand.run, an_image(), failing(), build_id=ID).told == ()
        assert not hand.registry.calls

    def test_what_its_birth_marks_name_is_retired(self, hand: InHand, an_image: Make) -> None:
        born = marks(fleet="acme/images", image="web", build=ID)
        seen = hand.registry.seed(US, "web", tags=born, created=SINCE)

        left = retire_left(hand.run, an_image(), failing(cleaned_up=False), build_id=ID)

        assert (left.stays, hand.registry.artifacts) == ((), ())
        assert left.told == (f"{seen.id} in {US}, which it had made, was retired",)

    def test_what_a_log_only_mentions_is_told_and_stays(self, hand: InHand, an_image: Make) -> None:
        seen = hand.registry.seed(US, "web", tags={}, created=SINCE)

        left = retire_left(hand.run, an_image(), failing(mentioned=(seen.id,)), build_id=ID)

        assert hand.registry.artifacts == (seen,)
        assert left.told[0].startswith(f"{seen.id} in {US} may be what it made: nothing on it says so, so it stays")

    def test_what_packer_reported_and_nobody_claims_is_retired_if_it_is_new_and_ours(
        self, hand: InHand, an_image: Make
    ) -> None:
        new = hand.registry.seed(US, "web", tags={}, created=SINCE)
        old = hand.registry.seed(US, "old", tags={}, created=BEFORE)
        foreign = hand.registry.seed(US, "foreign", tags={}, created=SINCE)
        hand.registry.of_others.add(foreign.id)
        claimed = hand.registry.seed(US, "claimed", tags=marks(fleet="acme/others"), created=SINCE)
        every = [reported(one) for one in (new, old, foreign, claimed)]

        left = retire_left(hand.run, an_image(), failing(*every), build_id=ID)

        assert {one.id for one in hand.registry.artifacts} == {old.id, foreign.id, claimed.id}
        assert f"{new.id} in {US}, which it had made, was retired" in left.told
        assert not any(old.id in told or claimed.id in told for told in left.told), "they are no concern of it"

    def test_what_is_still_being_made_says_whose_it_is_and_waits(self, hand: InHand, an_image: Make) -> None:
        seen = hand.registry.seed(US, "web", tags={}, created=SINCE, state="pending")

        left = retire_left(hand.run, an_image(), failing(reported(seen)), build_id=ID)

        (now,) = hand.registry.artifacts
        assert (now.own("image"), now.own("build")) == ("web", ID), "the next run's plan sees whose it is"
        assert [one.id for one in left.stays] == [seen.id]
        assert left.told[0].endswith("is not whole yet: a later run retires it")

    def test_where_nobody_can_look_it_is_said(self, hand: InHand, an_image: Make) -> None:
        hand.registry.unreadable[US] = "throttled"
        left = retire_left(hand.run, an_image(), failing(cleaned_up=False), build_id=ID)
        assert left.told == (f"what it may have left in {US} is not known: throttled",)


def test_what_somebody_claimed_meanwhile_is_not_claimed_again(hand: InHand) -> None:
    unclaimed = hand.registry.seed(US, "web", tags={})
    hand.registry.tag(unclaimed, marks(fleet="acme/others", image="db"))

    with pytest.raises(Terminal):
        claim_and_retire(hand.run, "web", unclaimed, build_id=ID)

    (now,) = hand.registry.artifacts
    assert (now.own("fleet"), now.own("image")) == ("acme/others", "db")


class TestSettle:
    """A candidate that waits for a verdict."""

    @pytest.fixture
    def waiting(self, built: Make, an_image: Make, what_is_known: Make, tmp_path: Path) -> tuple[InHand, Decision]:
        situation = built(an_image(validation={"required": True}))
        known = what_is_known(situation.image, now=situation.now)
        probe = in_hand(known, tmp_path)
        lock = there(probe, situation.lock, phase="candidate")
        hand = in_hand(known, tmp_path, [lock])
        for seen in probe.registry.artifacts:
            hand.registry.seed(seen.location, seen.name, tags=seen.tags)
        decision = decide(replace(situation, lock=lock, seen=hand.registry.artifacts))
        return hand, decision

    def test_a_verdict_is_recorded_and_the_artifact_says_so(self, waiting: tuple[InHand, Decision]) -> None:
        hand, decision = waiting
        build = decision.lock.builds[0]
        verdict = Verdict(status="passed", by="qa", evidence="https://ci.example.org/1")
        settled_lock = decision.lock.model_copy(
            update={"channels": decision.lock.channels.model_copy(update={"stable": build.id})}
        )  # fmt: skip
        decision = replace(decision, verdicts=((build.id, verdict),), settled=settled_lock)
        assert decision.image is not None

        done = settle(hand.run, decision.image, decision)

        lock = hand.lock()
        assert lock is not None
        assert (lock.channels.stable, lock.builds[0].verdict) == (build.id, verdict)
        assert [(one.verb, one.what.partition(":")[0]) for one in done.did] == [
            ("promoted", f"{build.id} passed by qa")
        ]  # fmt: skip
        assert hand.told(events.Settled)[0].stable == build.id
        assert done.decision.lock == lock

    def test_nothing_is_left_to_do_where_another_run_recorded_something_else(
        self, waiting: tuple[InHand, Decision]
    ) -> None:
        hand, decision = waiting
        assert decision.image is not None
        build = decision.lock.builds[0]
        other = Verdict(status="failed", by="others", evidence="e")
        decided = replace(
            decision, verdicts=((build.id, Verdict(status="passed", by="qa", evidence="e")),),
            settled=decision.lock.model_copy(
                update={"channels": decision.lock.channels.model_copy(update={"stable": build.id})}
            ),
            planned=decision.planned.model_copy(update={"actions": ("retag",)}),
        )  # fmt: skip
        first = settle(hand.run, decision.image, replace(decision, verdicts=((build.id, other),)))
        assert first.did[0].verb == "rejected"

        second = settle(hand.run, decision.image, decided)

        assert second.did == ()
        assert second.decision.planned.actions == ("none",), "it was decided by what is so no more"
        lock = hand.lock()
        assert lock is not None
        assert lock.builds[0].verdict == other

    def test_what_nobody_needs_is_retired_and_what_stays_is_told(self, waiting: tuple[InHand, Decision]) -> None:
        hand, decision = waiting
        ours = marks(fleet="acme/images", image="web", build=ID)
        gone = hand.registry.seed(US, "preview", tags=ours)
        stays = hand.registry.seed("eu-west-1", "preview", tags=ours)
        hand.registry.unreadable["eu-west-1"] = "throttled"

        deeds = retire_useless(hand.run, replace(decision, old_previews=(gone, stays)))

        assert [one.verb for one in deeds] == ["retired"]
        assert [one.artifact for one in hand.told(events.Retired)] == [gone.id]
        (warned,) = hand.told(events.Warned)
        assert warned.what.startswith(f"{stays.id} in eu-west-1, which nobody needs, stays: ")


def test_the_tags_of_an_old_record_are_not_looked_for(hand: InHand, built: Make) -> None:
    lock: Lockfile = built().lock
    now = hand.run.known.now

    def recorded(days: float) -> list[str]:
        at = format_instant(now - timedelta(days=days))
        build = lock.builds[0].model_copy(
            update={"recorded": at, "verdict": Verdict(status="passed", by="qa", evidence="e")}
        )
        return [one.name.partition("/")[0] for one in _recent(hand.run, lock.model_copy(update={"builds": (build,)}))]

    assert recorded(6.9) == ["image", "verdict"]
    assert recorded(7.1) == []


def test_a_tag_that_is_of_the_image_under_its_former_name_is_there() -> None:
    wanted = [f"image/web/{ID}", f"verdict/web/{ID}"]
    assert _lacking(wanted, [f"image/www/{ID}"]) == (f"verdict/web/{ID}",)
    assert _lacking(wanted, [f"image/web/{ID}", f"verdict/web/{ID}-overruled"]) == ()
    assert _lacking(wanted, []) == tuple(wanted)


def test_a_registry_that_is_silent_keeps_what_it_has(hand: InHand, an_image: Make) -> None:
    seen = hand.registry.seed(US, "web", tags=marks(fleet="acme/images", image="web", build=ID), created=SINCE)

    def refuse(*_: object, **__: object) -> None:
        raise Transient("throttled")

    hand.registry.retire = refuse  # type: ignore[assignment] # a registry that answers nothing else
    left = retire_left(hand.run, an_image(), failing(cleaned_up=False), build_id=ID)

    assert [one.id for one in left.stays] == [seen.id]
    assert left.told == (f"{seen.id} in {US}, which it made, stays for now: throttled",)


def test_what_others_moved_meanwhile_leaves_what_was_decided_by_itself(built: Make) -> None:
    decision = decide(built())
    decision = replace(decision, own=decision.planned.model_copy(update={"actions": ("retag",)}))
    moved = decision.lock.model_copy(update={"channels": Channels(candidate=decision.lock.channels.candidate)})

    left = _left(decision, moved)

    assert (left.planned.actions, left.lock) == (("retag",), moved), "nothing of it was decided by a verdict or a hold"
    ruled = _left(replace(decision, ruling=Ruling({}, reachable=True, reasons=(), moves_stable=True)), moved)
    assert ruled.planned.actions == ("none",)


@pytest.mark.parametrize("branch", [None, "feature"])
def test_a_tag_that_the_remote_lacks_is_made_and_for_no_preview(
    built: Make, what_is_known: Make, tmp_path: Path, branch: str | None
) -> None:
    situation = built()
    recorded = situation.lock.builds[0].model_copy(update={"recorded": format_instant(situation.now)})
    lock = situation.lock.model_copy(update={"builds": (recorded,)})
    hand = in_hand(what_is_known(situation.image, now=situation.now), tmp_path, [lock])
    repository = cast("Any", hand.run.repository)
    repository.tags = lambda *_: ()
    repository.remote = lambda _name: SimpleNamespace(tags=lambda _below: ())

    make_owed_tags(replace(hand.run, branch=Branch(branch) if branch is not None else None))

    made = [tag.name for commit in hand.recorder.commits for tag in commit.tags]
    assert made == ([f"image/web/{recorded.id}"] if branch is None else [])
    assert len(hand.told(events.Warned)) == len(made)
