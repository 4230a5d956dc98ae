"""Who may use an artifact, from when it is deprecated, whether it may be removed: what a plan makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.care import NOBODY, Care, Grants
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.observation import Seen, State
from reconciler.model.plan import NOTHING_ASKED, Cause, Decision, Sharing, Situation, Tending
from reconciler.model.values import format_instant, parse_instant
from reconciler.plan import transitions
from reconciler.plan.care import superseded_at
from reconciler.plan.diff import decide
from reconciler.plan.key import wanted
from reconciler.plan.rulings import refused
from reconciler.plan.tags import of_recorded, standing
from tests.unit.conftest import FLEET, NOW, as_seen, make_image, make_pin, make_situation

Place = tuple[str, str]
US, EU = "us-east-1", "eu-west-1"
ONE, TWO, STRANGER = "111111111111", "222222222222", "999999999999"
DAY = 86400


@dataclass(frozen=True)
class World:
    """A situation, and who may use each artifact: what the registry tells only when it is asked."""

    situation: Situation
    users: Mapping[Place, Grants]

    def decide(self) -> tuple[Decision, int]:
        """The decision once all was asked that it asks, and how many looks that cost."""
        first = decide(replace(self.situation, sharing=NOTHING_ASKED))
        told = {(one.location, one.id): self.users.get((one.location, one.id), NOBODY) for one in first.asks}
        return decide(replace(self.situation, sharing=Sharing(grants=told))), len(first.asks)

    def tended(self) -> World:
        """What is, once the decision was carried out."""
        decision, _ = self.decide()
        lock = decision.settled or self.situation.lock
        shown = {one.place: one for one in self.situation.seen}
        users = dict(self.users)
        care: dict[Place, Care] = {}
        for one in decision.tend:
            place = (one.artifact.location, one.artifact.id)
            shown[place], users[place], care[place] = _carried_out(
                one, shown[place], users.get(place, NOBODY), now=self.situation.now
            )
        for build in lock.builds:
            for place in ((one.location, one.id) for one in build.artifacts):
                if place in shown:
                    shown[place] = replace(shown[place], tags={**shown[place].tags, **standing(lock, build)})
        lock = transitions.with_care(lock, care)
        return World(replace(self.situation, lock=lock, seen=tuple(shown.values())), users)

    def declared(self, **declared: Any) -> World:
        """The same world under another declaration."""
        image = make_image(regions=(US, EU), **declared)
        causes = {one.build: Cause(one.reason, origin=("web", one.build)) for one in image.declaration.revoke}
        return replace(self, situation=replace(self.situation, image=image, causes=causes))

    def at(self, moment: datetime) -> World:
        return replace(self, situation=replace(self.situation, now=moment))

    def seen(self, build: int, location: str) -> Seen:
        artifact = self.situation.lock.builds[build].artifact_in(location)
        assert artifact is not None
        return next(one for one in self.situation.seen if one.id == artifact.id)

    def care(self, build: int, location: str) -> Care | None:
        artifact = self.situation.lock.builds[build].artifact_in(location)
        assert artifact is not None
        return artifact.care

    def users_of(self, build: int, location: str) -> Grants:
        return self.users.get(self.seen(build, location).place, NOBODY)


def world(**declared: Any) -> World:
    """Three builds, each a day after the other, the newest of today and stable; in two locations."""
    image = make_image(regions=(US, EU), **{"retain": {"builds": 9}, **declared})
    many = make_image(regions=(US, EU), retain={"builds": 9})
    pin = make_pin()
    want = wanted(image, pin)
    lock = Lockfile(image="web")
    seen: list[Seen] = []
    for number in (1, 2, 3):
        moment = NOW - timedelta(days=3 - number, hours=1)
        build_id = f"{moment:%Y%m%dT%H%M%SZ}-{number}a2b3c4"
        artifacts = tuple(
            Artifact(
                kind="ami", builder="amazon-ebs.web", location=place, id=f"ami-{number}{at}", name=f"web-{build_id}"
            )
            for at, place in enumerate((EU, US))
        )
        build = Build(
            id=build_id, key=want.key, components=dict(want.components), commit="c" * 40, source=pin,
            artifacts=artifacts, phase="stable", recorded=format_instant(moment), started=format_instant(moment),
            seconds=60,
        )  # fmt: skip
        lock = transitions.with_build(lock, build, image=many)
    for build in lock.builds:
        tags = of_recorded(fleet=FLEET, image=image, build=build) | standing(lock, build)
        seen += [as_seen(one, tags, created=NOW - timedelta(days=9)) for one in build.artifacts]
    return World(make_situation(image, lock=lock, seen=tuple(seen), pin=pin), {})


def _carried_out(one: Tending, seen: Seen, may: Grants, *, now: datetime) -> tuple[Seen, Grants, Care]:
    """What is seen of an artifact then, who may use it, and what is recorded; the registry's refusals hold."""
    after = one.after
    if one.disable and one.before.withheld is None:
        after = after.model_copy(update={"withheld": may})
    if one.enable:
        assert may == NOBODY, "what is disabled has no grants"
        seen = replace(seen, state="available")
    assert not (one.add or one.remove) or seen.state == "available"
    may = (may | one.add) - one.remove
    if one.deprecate is not None:
        assert parse_instant(one.deprecate) > now, "a registry takes no past date"
    if one.deprecate is not None or one.never_deprecated:
        seen = replace(seen, deprecated=one.deprecate)
    if one.protect is not None:
        seen = replace(seen, protection="enabled-without-cooldown" if one.protect else "")
    return (replace(seen, state="disabled"), NOBODY, after) if one.disable else (seen, may, after)


SHARED = {"share_with": {"accounts": [ONE, TWO]}}


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.planned.reasons]


class TestSharing:
    def test_what_a_channel_points_to_and_what_is_retained_is_shared_in_every_location(self) -> None:
        # Given three builds that were stable, of which the newest is retained, and the one that it would fall back to
        before = world(**SHARED, retain={"builds": 1})
        decision, looks = before.decide()
        assert (decision.planned.sync, decision.planned.actions) == ("drifted", ("share",))
        assert [(one.code, one.was, one.now) for one in decision.planned.reasons] == [
            ("sharing-changed", f"{place} ami-{number}{at}: nobody else", f"{ONE}, {TWO}")
            for number in (3, 2) for at, place in enumerate((EU, US))
        ]  # fmt: skip
        assert looks == 4
        after = before.tended()
        both = Grants.of([ONE, TWO])
        assert [after.users_of(build, US) for build in (0, 1, 2)] == [both, both, NOBODY]
        assert after.care(1, EU) == Care(shared=both)
        assert after.care(2, EU) is None
        again, looks = after.decide()
        assert (again.planned.sync, again.tend, looks) == ("in-sync", (), 4)

        # And whom somebody let in or out of one that is retained is put right as well
        place = after.seen(1, EU).place
        edited = replace(after, users={**after.users, place: Grants.of([ONE, STRANGER])})
        assert edited.tended().users == after.users

    def test_a_build_that_never_was_stable_is_shared_with_nobody_once_no_channel_points_to_it(self) -> None:
        before = world(**SHARED)
        builds = [
            one.model_copy(update={"was_stable": False}) if place == 1 else one
            for place, one in enumerate(before.situation.lock.builds)
        ]
        lock = before.situation.lock.model_copy(update={"builds": tuple(builds)})
        after = replace(before, situation=replace(before.situation, lock=lock)).tended()
        assert [bool(after.users_of(build, US)) for build in (0, 1, 2)] == [True, False, True]

    def test_whoever_was_let_in_or_out_by_hand_is_put_right(self) -> None:
        settled = world(**SHARED).tended()
        place = settled.seen(0, US).place
        edited = replace(settled, users={**settled.users, place: Grants.of([ONE, STRANGER], everybody=True)})
        decision, _ = edited.decide()
        (reason,) = decision.planned.reasons
        assert (reason.was, reason.now) == (f"{US} ami-31: {ONE}, {STRANGER}, everybody", f"{ONE}, {TWO}")
        assert edited.tended().users == settled.users

    def test_without_the_line_just_what_was_given_is_taken_back(self) -> None:
        given_before = world(**SHARED)
        place = given_before.seen(0, US).place
        settled = replace(given_before, users={place: Grants.of([ONE])}).tended()
        assert settled.care(0, US) == Care(shared=Grants.of([TWO]))
        more = replace(settled, users={**settled.users, place: settled.users[place] | Grants.of([STRANGER])})

        after = more.declared().tended()

        assert after.users_of(0, US) == Grants.of([ONE, STRANGER])
        assert after.users_of(0, EU) == NOBODY
        assert (after.care(0, US), after.care(0, EU)) == (None, None)
        decision, looks = after.decide()
        assert (decision.planned.sync, looks) == ("in-sync", 0)

    def test_an_image_that_shares_nothing_costs_no_look(self) -> None:
        assert world().decide()[1] == 0
        assert world(deprecate_after="90d", protect=True).decide()[1] == 0

    def test_where_that_can_not_be_read_it_is_unknown_and_left_alone(self) -> None:
        situation = world(**SHARED).situation
        places = {one.place: "UnauthorizedOperation" for one in situation.seen if one.location == US}
        told = {one.place: NOBODY for one in situation.seen if one.location == EU}
        decision = decide(replace(situation, sharing=Sharing(grants=told, unread=places)))
        assert decision.planned.unknown == tuple(
            f"{US}: who may use ami-{number}1: UnauthorizedOperation" for number in (3, 2, 1)
        )
        assert [one.artifact.location for one in decision.tend] == [EU] * 3
        blind = decide(replace(situation, unreadable={US: "throttled", EU: "throttled"}))
        assert (blind.tend, blind.asks) == ((), ())

    def test_what_only_the_lockfile_calls_ours_is_left_alone(self) -> None:
        situation = world(**SHARED, deprecate_after="1d", protect=True).situation
        for tags in ({}, {"reconciler:fleet": "others/images"}, {"reconciler:image": "base"}):
            theirs = tuple(replace(one, tags={**one.tags, **tags} if tags else {}) for one in situation.seen)
            decision = decide(replace(situation, seen=theirs))
            assert (decision.tend, decision.asks) == ((), ())

    def test_what_others_can_not_use_anyway_is_a_finding_before_anything_is_done(self) -> None:
        situation = world(**SHARED).situation
        told = {one.place: NOBODY for one in situation.seen}
        blocked = {one.place: "its key is AWS's" for one in situation.seen if one.location == US}
        decision = decide(replace(situation, sharing=Sharing(grants=told, obstacles=blocked)))
        assert decision.planned.notes == tuple(
            f"ami-{number}1 in {US} can't be shared with {ONE}, {TWO}: its key is AWS's" for number in (3, 2, 1)
        )
        assert (decision.planned.health, codes(decision)) == ("degraded", ["sharing-changed"] * 6)
        assert [one.artifact.location for one in decision.tend] == [EU] * 3

    def test_what_others_lack_to_use_it_is_a_finding_before_it_is_shared_and_it_is_shared(self) -> None:
        situation = world(**SHARED, retain={"builds": 1}).situation
        told = {one.place: NOBODY for one in situation.seen}
        place = next(one.place for one in situation.seen if one.id == "ami-31")
        lacking = {place: (f"{TWO} has no grant of the key", f"the policy of the key does not name {ONE}")}
        decision = decide(replace(situation, sharing=Sharing(grants=told, lacking=lacking)))
        assert decision.planned.notes == (
            f"ami-31 in {US} is to be shared: {TWO} has no grant of the key",
            f"ami-31 in {US} is to be shared: the policy of the key does not name {ONE}",
        )
        assert decision.planned.health == "degraded"
        assert place in {(one.artifact.location, one.artifact.id) for one in decision.tend if one.add}
        shared = {one.place: Grants.of([ONE, TWO]) for one in situation.seen}
        assert decide(replace(situation, sharing=Sharing(grants=shared, lacking=lacking))).planned.notes == ()


class TestDeprecation:
    def test_what_was_superseded_is_deprecated_in_its_time_and_no_channel_s(self) -> None:
        before = world(deprecate_after="90d")
        after = before.tended()
        took = parse_instant(before.situation.lock.builds[0].recorded or "")
        assert after.seen(0, US).deprecated is None
        at = parse_instant(after.seen(1, US).deprecated or "")
        assert timedelta(0) <= at - (took + timedelta(days=90)) < timedelta(minutes=1)
        assert at.second == 0
        assert after.care(1, US) == Care(deprecated=after.seen(1, US).deprecated)

    @pytest.mark.parametrize("days", [0, 1, 7, 88, 89, 90, 91, 400])
    def test_the_date_is_the_same_whenever_it_is_looked_at(self, days: int) -> None:
        after = world(deprecate_after="90d").tended()
        assert after.at(NOW + timedelta(days=days, minutes=3)).decide()[0].tend == ()

    def test_a_date_that_is_past_is_now_and_stays(self) -> None:
        before = world(deprecate_after="1h")
        soon, later = (before.at(NOW + timedelta(minutes=wait)).decide()[0].planned for wait in (0, 7))
        assert soon.reasons == later.reasons, "what was reviewed is not stale by the time it is done"
        after = before.tended()
        at = parse_instant(after.seen(2, EU).deprecated or "")
        assert NOW < at <= NOW + timedelta(minutes=3)
        for minutes in (0, 1, 2, 5, 600):
            assert after.at(NOW + timedelta(minutes=minutes)).decide()[0].tend == ()

    def test_without_the_line_what_was_set_is_taken_back_and_what_a_person_set_is_not(self) -> None:
        settled = world(deprecate_after="90d").tended()
        mine = settled.seen(2, US)
        by_hand = replace(mine, deprecated="2027-01-01T00:00:00Z")
        seen = tuple(by_hand if one is mine else one for one in settled.situation.seen)
        after = replace(settled, situation=replace(settled.situation, seen=seen)).declared().tended()
        assert after.seen(2, US).deprecated == "2027-01-01T00:00:00Z"
        assert after.seen(2, EU).deprecated is None
        assert after.care(2, EU) is None
        assert after.decide()[0].tend == ()

    def test_a_build_that_stable_goes_back_to_is_deprecated_no_more(self) -> None:
        settled = world(deprecate_after="90d").tended()
        old = settled.situation.lock.builds[2].id
        held = settled.declared(deprecate_after="90d", hold={"build": old, "reason": "x"})
        after = held.tended()
        assert after.seen(2, US).deprecated is None
        assert after.situation.lock.channels.stable == old
        assert after.decide()[0].tend == ()

    def test_what_is_public_is_deprecated_by_ec2_itself_and_left_alone(self) -> None:
        before = world(deprecate_after="900d")
        public = tuple(replace(one, public=True, deprecated="2028-11-13T00:00:00Z") for one in before.situation.seen)
        assert replace(before, situation=replace(before.situation, seen=public)).decide()[0].tend == ()

    def test_a_build_counts_as_superseded_by_the_next_that_nobody_refused(self) -> None:
        lock = world().situation.lock
        newest, middle, oldest = lock.builds
        refused = lock.model_copy(
            update={"builds": (newest, middle.model_copy(update={"phase": "rejected"}), oldest)}
        )  # fmt: skip
        assert superseded_at(lock, oldest) == parse_instant(middle.recorded or "")
        assert superseded_at(refused, oldest) == parse_instant(newest.recorded or "")
        assert superseded_at(lock, newest) is None


class TestProtection:
    def test_what_a_channel_points_to_or_is_retained_is_protected_and_nothing_else(self) -> None:
        retain = {"builds": 1}
        settled = world(protect=True, retain=retain).tended()
        assert [settled.seen(build, US).protected for build in (0, 1, 2)] == [True, True, False]
        old = settled.situation.lock.builds[1].id
        revoked = [{"build": settled.situation.lock.builds[0].id, "reason": "x"}]
        after = settled.declared(protect=True, retain=retain, revoke=revoked).tended()
        assert [after.seen(build, EU).protected for build in (0, 1, 2)] == [False, True, True], (
            "it would fall back to it"
        )
        back = after.declared(protect=True, retain=retain).tended()
        assert [back.seen(build, EU).protected for build in (0, 1, 2)] == [True, True, False]
        assert after.situation.lock.channels.stable == old
        assert after.decide()[0].tend == ()

    def test_without_the_line_what_a_person_protected_stays(self) -> None:
        settled = world(protect=True, retain={"builds": 1}).tended()
        theirs = replace(settled.seen(2, US), protection="enabled-with-cooldown")
        seen = tuple(theirs if one.id == theirs.id else one for one in settled.situation.seen)
        after = replace(settled, situation=replace(settled.situation, seen=seen)).declared().tended()
        assert [after.seen(build, US).protected for build in (0, 1, 2)] == [False, False, True]


class TestRevocation:
    def test_it_is_disabled_and_comes_back_with_whoever_could_use_it(self) -> None:
        settled = world(**SHARED).tended()
        place = settled.seen(0, US).place
        settled = replace(settled, users={**settled.users, settled.seen(1, US).place: Grants.of([STRANGER])})
        bad = settled.situation.lock.builds[0].id

        revoked = settled.declared(**SHARED, revoke=[{"build": bad, "reason": "leak"}]).tended()

        assert [revoked.seen(build, US).state for build in (0, 1, 2)] == ["disabled", "available", "available"]
        assert revoked.care(0, US) == Care(shared=Grants.of([ONE, TWO]), withheld=Grants.of([ONE, TWO]))
        assert revoked.users[place] == NOBODY
        assert revoked.users_of(1, US) == Grants.of([ONE, TWO])
        decision, _ = revoked.decide()
        assert (decision.tend, decision.planned.sync) == ((), "in-sync")

        back = revoked.declared(**SHARED).tended()
        assert (back.seen(0, US).state, back.users_of(0, US)) == ("available", Grants.of([ONE, TWO]))
        assert back.care(0, US) == Care(shared=Grants.of([ONE, TWO]))
        assert back.decide()[0].tend == ()

    def test_whom_somebody_gave_it_back_by_hand_is_given_nothing_once_more(self) -> None:
        settled = world(**SHARED).tended()
        bad = settled.situation.lock.builds[0].id
        revoked = settled.declared(**SHARED, revoke=[{"build": bad, "reason": "leak"}]).tended()
        enabled = tuple(replace(one, state="available") for one in revoked.situation.seen)
        by_hand = replace(
            revoked.declared(), users={**revoked.users, revoked.seen(0, US).place: Grants.of([STRANGER])}
        )  # fmt: skip
        unshared = replace(by_hand, situation=replace(by_hand.situation, seen=enabled))

        decision, _ = unshared.decide()

        ours = {one.id for one in unshared.situation.lock.builds[0].artifacts}
        assert [(one.add, one.remove) for one in decision.tend if one.artifact.id in ours] == [(NOBODY, NOBODY)] * 2
        assert unshared.tended().users_of(0, US) == Grants.of([STRANGER])

    def test_who_may_not_use_it_any_more_does_not_come_back_with_it(self) -> None:
        settled = world(**SHARED).tended()
        bad = settled.situation.lock.builds[0].id
        revoked = settled.declared(**SHARED, revoke=[{"build": bad, "reason": "leak"}]).tended()
        back = revoked.declared(share_with={"accounts": [TWO]}).tended()
        assert back.users_of(0, US) == Grants.of([TWO])
        taken = revoked.declared().tended()
        assert (taken.users_of(0, US), taken.care(0, US)) == (NOBODY, None)

    def test_a_disabled_artifact_of_a_revoked_build_is_not_missing_and_none_is_rebuilt(self) -> None:
        settled = world().tended()
        every = [{"build": one.id, "reason": "leak"} for one in settled.situation.lock.builds]
        revoked = settled.declared(revoke=every).tended()
        decision, _ = revoked.decide()
        assert {one.state for one in revoked.situation.seen} == {"disabled"}
        assert (decision.planned.actions, decision.planned.health) == (("none",), "degraded")

    def test_a_hold_to_what_comes_back_is_no_hold_to_what_is_gone(self) -> None:
        settled = world().tended()
        bad = settled.situation.lock.builds[1].id
        revoked = settled.declared(revoke=[{"build": bad, "reason": "leak"}]).tended()
        held = revoked.declared(hold={"build": bad, "reason": "it was this one that worked"})
        assert refused(held.situation) is None
        assert held.tended().seen(1, US).state == "available"
        by_hand = world()
        seen = tuple(replace(one, state="disabled") for one in by_hand.situation.seen if one.id.startswith("ami-2"))
        others = tuple(one for one in by_hand.situation.seen if not one.id.startswith("ami-2"))
        disabled = replace(by_hand, situation=replace(by_hand.situation, seen=(*seen, *others)))
        refusal = refused(disabled.declared(hold={"build": bad, "reason": "x"}).situation)
        assert refusal is not None
        assert "is disabled" in refusal.what

    def test_what_somebody_disabled_is_enabled_and_not_copied_or_built_anew(self) -> None:
        before = world(**SHARED).tended()
        place = before.seen(0, US).place
        seen = tuple(replace(one, state="disabled") if one.place == place else one for one in before.situation.seen)
        disabled = World(replace(before.situation, seen=seen), {**before.users, place: NOBODY})
        decision, _ = disabled.decide()
        assert decision.planned.actions == ("enable", "share")
        after = disabled.tended()
        assert (after.seen(0, US).state, after.users_of(0, US)) == ("available", Grants.of([ONE, TWO]))

    def test_what_is_disabled_is_no_reason_to_build_where_its_copy_is_gone(self) -> None:
        before = world()
        seen = tuple(
            replace(one, state="disabled") if one.id == "ami-31" else one
            for one in before.situation.seen
            if one.id != "ami-30"
        )
        decision, _ = replace(before, situation=replace(before.situation, seen=seen)).decide()
        assert decision.planned.actions == ("enable",)
        assert f"{US}: ami-31 is disabled, and enabled before it is copied" in decision.planned.unknown


STATES: tuple[State, ...] = ("available", "disabled")
GRANTS = st.builds(
    Grants.of, st.sets(st.sampled_from([ONE, TWO, STRANGER])), everybody=st.booleans()
)  # fmt: skip
DECLARED = st.fixed_dictionaries(
    {},
    optional={
        "share_with": st.sampled_from([{"accounts": ids} for ids in ([ONE], [TWO], [ONE, TWO])]),
        "deprecate_after": st.sampled_from(["60s", "1h", "1d", "90d", "3650d"]),
        "protect": st.just(True),
    },
)  # fmt: skip
DATES = st.one_of(
    st.none(), st.integers(-900, 900).map(lambda days: format_instant(NOW.replace(second=0) + timedelta(days=days)))
)


def edited(settled: World, draw: st.DataObject) -> World:
    """The same world after somebody's hand went over all of it."""
    users, seen = {}, []
    for one in settled.situation.seen:
        state: State = draw.draw(st.sampled_from(STATES)) if settled_channel(settled, one) else one.state
        users[one.place] = draw.draw(GRANTS) if state == "available" else NOBODY
        protection = draw.draw(st.sampled_from(["", "enabled-with-cooldown"]))
        seen.append(replace(one, state=state, deprecated=draw.draw(DATES), protection=protection))
    return World(replace(settled.situation, seen=tuple(seen)), users)


def settled_channel(settled: World, one: Seen) -> bool:
    return settled.situation.lock.channel_of(one.own("build") or "") is not None


@pytest.mark.thorough
@settings(max_examples=150)
@given(DECLARED, st.integers(0, 4000), st.data())
def test_drift_from_any_hand_is_healed_in_one_run_and_nothing_is_planned_after(
    declared: Any, days: int, data: st.DataObject
) -> None:
    settled = world(**declared).tended()
    assert settled.decide()[0].tend == ()
    hurt = edited(settled.at(NOW + timedelta(days=days)), data)

    healed = hurt.tended()

    decision, _ = healed.decide()
    assert (decision.tend, decision.planned.sync) == ((), "in-sync")
    declaration = healed.situation.image.declaration
    for location in (US, EU):
        stable = healed.seen(0, location)
        assert stable.state == "available"
        if declaration.share_with.grants:
            assert healed.users_of(0, location) == declaration.share_with.grants
        if declaration.deprecate_after is not None:
            assert stable.deprecated is None
            assert all(healed.seen(build, location).deprecated for build in (1, 2))
        if declaration.protect:
            assert stable.protected


@pytest.mark.thorough
@settings(max_examples=150)
@given(DECLARED, DECLARED, st.lists(st.integers(0, 2), max_size=3), st.data())
def test_after_a_revocation_and_its_end_all_is_as_before(
    declared: Any, between: Any, numbers: list[int], data: st.DataObject
) -> None:
    settled = world(**declared)
    users = {one.place: data.draw(GRANTS) for one in settled.situation.seen}
    settled = replace(settled, users=users).tended()
    rows = [{"build": settled.situation.lock.builds[number].id, "reason": "x"} for number in sorted(set(numbers))]
    if "share_with" in declared:
        between = {**between, "share_with": declared["share_with"]}

    back = settled.declared(**between, revoke=rows).tended().declared(**declared).tended()

    for build in (0, 1, 2):
        for location in (US, EU):
            assert back.seen(build, location).state == "available"
            if "share_with" not in between:
                assert back.users_of(build, location) == settled.users_of(build, location)
    assert back.decide()[0].tend == ()
    assert not any(care and care.withheld for care in (back.care(one, US) for one in (0, 1, 2)))
