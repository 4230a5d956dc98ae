from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.lockfile import Failure, Lockfile
from reconciler.model.plan import PlanOptions, Situation
from reconciler.model.source import Pin
from reconciler.plan.diff import decide
from reconciler.plan.timing import next_failure

Make = Callable[..., Any]


def changed(situation: Situation, **lock: Any) -> Situation:
    return replace(situation, lock=situation.lock.model_copy(update=lock))


def failed(situation: Situation, *, times: int = 1) -> Situation:
    key = decide(situation).planned.key
    failure: Failure | None = None
    for _ in range(times):
        failure = next_failure(failure, build="20261122T101530Z-1a2b3c4", key=key or "", what="no", now=situation.now)
    return changed(situation, failure=failure)


def test_a_new_image_is_built(a_situation: Make) -> None:
    planned = decide(a_situation()).planned

    assert (planned.sync, planned.actions) == ("drifted", ("build",))
    assert [(reason.code, reason.now) for reason in planned.reasons] == [("new", "9c0d1e200000")]
    assert planned.estimate_seconds is None


def test_changed_inputs_name_the_files_as_seen_from_the_root(built: Make, an_image: Make) -> None:
    files = {"web.pkr.hcl": "a" * 40, "nginx.conf": "b" * 40, "../../roles/tls/main.yml": "c" * 40}
    was = built(an_image(files=files))
    now = an_image(
        files={"web.pkr.hcl": "a" * 40, "new": "e" * 40, "../../roles/tls/main.yml": "d" * 40},
        packer={"variables": {"size": 9}},
    )

    planned = decide(replace(was, image=now)).planned

    assert planned.actions == ("build",)
    assert planned.reasons[0].files == (
        "roles/tls/main.yml", "desired/web/new", "desired/web/nginx.conf", "desired/web/image.yaml",
    )  # fmt: skip
    assert planned.estimate_seconds == 60


def test_a_changed_mode_is_a_changed_input(built: Make, an_image: Make) -> None:
    was = built(an_image())
    planned = decide(replace(was, image=an_image(modes={"web.pkr.hcl": "100755"}))).planned
    assert planned.reasons[0].files == ("desired/web/web.pkr.hcl",)


def test_a_source_that_moved_says_from_what_to_what(built: Make, a_pin: Make) -> None:
    moved = replace(built(), pin=a_pin("ami-0ee55ff66aa77bb88", name="debian-12-amd64-20261115"))

    reason = decide(moved).planned.reasons[0]

    assert (reason.code, reason.was, reason.now) == (
        "source-changed",
        "debian-12-amd64-dd44 ami-0aa11bb22cc33dd44",
        "debian-12-amd64-20261115 ami-0ee55ff66aa77bb88",
    )


@pytest.mark.parametrize(
    ("was", "code"), [("base", "parent-rebuilt"), ("other", "source-changed"), (None, "source-changed")]
)
def test_a_parent_was_rebuilt_only_where_it_is_the_same_parent(
    built: Make, an_image: Make, was: str | None, code: str
) -> None:
    child = an_image(source={"image": "base"})
    before = built(child, pin=Pin(image="base", build="20261101T000000Z-1a2b3c4", key=f"sha256:{'1' * 64}"))
    newest = before.lock.builds[0]
    stood_on = newest.source.model_copy(update={"image": was}) if was is not None else None
    on = changed(before, builds=(newest.model_copy(update={"source": stood_on}),))
    rebuilt = Pin(image="base", build="20261122T000000Z-2a2b3c4", key=f"sha256:{'2' * 64}")

    assert [reason.code for reason in decide(replace(on, pin=rebuilt)).planned.reasons] == [code]


def test_changed_constraints_of_the_tools_call_for_a_build(built: Make, an_image: Make) -> None:
    planned = decide(replace(built(), image=an_image(plugins={"amazon": "hashicorp/amazon = 1.8"}))).planned
    assert [reason.code for reason in planned.reasons] == ["tooling-changed"]
    assert planned.actions == ("build",)


def test_reverting_a_change_adopts_what_was_built_before_it(built: Make, an_image: Make, carried_out: Make) -> None:
    first = built(an_image())
    second = replace(first, image=an_image(files={"web.pkr.hcl": "b" * 40}))
    second = carried_out(second, decide(second))

    reverted = replace(second, image=first.image)

    decision = decide(reverted)
    assert decision.planned.actions == ("adopt",)
    assert [one.own("build") for one in decision.adopt] == [first.lock.builds[0].id]
    assert decide(carried_out(reverted, decision)).planned.sync == "in-sync"


class TestRenewal:
    def test_age_counts_only_for_a_refresh(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"max_age": "7d"}))
        old = replace(old, now=old.now + timedelta(days=8))

        assert decide(old).planned.sync == "in-sync"
        planned = decide(replace(old, options=PlanOptions(refresh=True))).planned
        assert (planned.actions, planned.reasons[0].code) == (("build",), "expired")
        assert (planned.reasons[0].was, planned.reasons[0].now) == ("built 2026-11-22", "older than 1w")

    def test_an_image_without_a_limit_never_expires(self, built: Make) -> None:
        old = built()
        old = replace(old, now=old.now + timedelta(days=800), options=PlanOptions(refresh=True))
        assert decide(old).planned.sync == "in-sync"

    def test_a_refresh_that_crashed_is_adopted_and_not_built_twice(
        self, built: Make, an_image: Make, carried_out: Make
    ) -> None:
        old = built(an_image(refresh={"max_age": "7d"}))
        old = replace(old, now=old.now + timedelta(days=8), options=PlanOptions(refresh=True))

        crashed = replace(old, seen=carried_out(old, decide(old)).seen)

        assert decide(crashed).planned.actions == ("adopt",)
        assert decide(crashed).planned.key == decide(old).planned.key

    def test_a_refresh_adopts_nothing_that_would_be_expired_at_once(
        self, built: Make, an_image: Make, carried_out: Make
    ) -> None:
        # Given an old build, a newer one, and a revert to the old one's inputs
        first = built(an_image(refresh={"max_age": "7d"}))
        month = replace(
            first, image=an_image(files={"web.pkr.hcl": "b" * 40}), now=first.now + timedelta(days=30)
        )  # fmt: skip
        reverted = replace(carried_out(month, decide(month)), image=first.image)

        assert decide(reverted).planned.actions == ("adopt",)
        assert decide(replace(reverted, options=PlanOptions(refresh=True))).planned.actions == ("build",)

    def test_a_person_may_ask_for_a_build(self, built: Make) -> None:
        planned = decide(replace(built(), options=PlanOptions(force=("web",)))).planned
        assert (planned.actions, planned.reasons[0].code) == (("build",), "forced")

    def test_forcing_one_image_leaves_the_others(self, built: Make) -> None:
        assert decide(replace(built(), options=PlanOptions(force=("api",)))).planned.sync == "in-sync"

    def test_a_refreshed_build_stays_what_is_wanted(self, built: Make, carried_out: Make) -> None:
        forced = replace(built(), options=PlanOptions(force=("web",)))
        after = carried_out(forced, decide(forced))

        planned = decide(after).planned

        assert planned.sync == "in-sync"
        assert planned.key == after.lock.builds[0].key != forced.lock.builds[0].key


class TestFailure:
    def test_what_failed_is_left_alone_for_a_while(self, a_situation: Make) -> None:
        resting = failed(a_situation())

        planned = decide(resting).planned

        assert (planned.sync, planned.health, planned.actions) == ("drifted", "degraded", ("none",))
        assert planned.waits_for == (
            "failed once: next try not before 2026-11-22T10:30:30Z, or when its inputs change, or with `--force web`"
        )
        assert decide(replace(resting, now=resting.now + timedelta(minutes=15))).planned.actions == ("build",)

    def test_how_often_it_failed_is_said(self, a_situation: Make) -> None:
        waits_for = decide(failed(a_situation(), times=3)).planned.waits_for
        assert waits_for is not None
        assert waits_for.startswith("failed 3 times: next try not before 2026-11-22T11:15:30Z")

    def test_changed_inputs_get_a_fresh_try(self, a_situation: Make, an_image: Make) -> None:
        fixed = replace(failed(a_situation()), image=an_image(files={"web.pkr.hcl": "b" * 40}))
        assert decide(fixed).planned.actions == ("build",)

    def test_a_person_may_ask_for_another_try(self, a_situation: Make) -> None:
        asked = replace(failed(a_situation()), options=PlanOptions(force=("web",)))
        assert decide(asked).planned.actions == ("build",)

    def test_a_pull_request_tries_what_failed_on_the_default_branch(self, a_situation: Make) -> None:
        proposed = replace(failed(a_situation()), options=PlanOptions(preview=True))
        assert decide(proposed).planned.actions == ("build",)


class TestRefused:
    @pytest.mark.parametrize("phase", ["rejected", "revoked"])
    def test_a_key_that_was_refused_is_not_built_again(self, built: Make, a_situation: Make, phase: str) -> None:
        was = built()
        refused = tuple(replace(one, tags={**one.tags, "reconciler:phase": phase}) for one in was.seen)
        again = a_situation(seen=refused)

        planned = decide(again).planned

        assert planned.actions == ("none",)
        assert planned.waits_for is not None
        assert f"was {phase}" in planned.waits_for
        asked = replace(again, options=PlanOptions(force=("web",)))
        assert decide(asked).planned.actions == ("build",)

    def test_neither_is_one_whose_artifacts_are_gone(self, built: Make) -> None:
        was = built()
        refused = was.lock.builds[0].model_copy(update={"phase": "revoked"})

        planned = decide(replace(changed(was, builds=(refused,)), seen=())).planned

        assert (planned.actions, planned.health) == (("none",), "degraded")
        assert planned.reasons[0].code == "artifact-missing"


class TestSuspended:
    def suspended(self, a_situation: Make, an_image: Make, **more: Any) -> Situation:
        image = an_image(suspend={"reason": "the freeze", "until": "2026-12-01"})
        situation: Situation = a_situation(image, **more)
        return situation

    def test_nothing_is_done_and_the_drift_is_still_said(self, a_situation: Make, an_image: Make) -> None:
        decision = decide(self.suspended(a_situation, an_image))

        assert (decision.planned.sync, decision.planned.health) == ("drifted", "suspended")
        assert not decision.acts
        assert decision.planned.waits_for == "suspended until 2026-12-01: the freeze"

    @pytest.mark.parametrize(
        ("now", "acts"),
        [
            (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), False),
            (datetime(2026, 12, 1, tzinfo=UTC), True),
        ],
    )
    def test_it_ends_when_the_day_begins(self, a_situation: Make, an_image: Make, now: datetime, *, acts: bool) -> None:
        assert decide(self.suspended(a_situation, an_image, now=now)).acts is acts

    def test_it_holds_for_an_image_whose_source_is_not_known(self, a_situation: Make, an_image: Make) -> None:
        unresolved = self.suspended(a_situation, an_image, pin=None, pin_missing="no AMI matches")
        assert decide(unresolved).planned.health == "suspended"
        assert not decide(replace(unresolved, options=PlanOptions(offline=True))).acts


class TestWithoutPin:
    def test_a_source_that_could_not_be_resolved_is_unknown(self, a_situation: Make) -> None:
        planned = decide(a_situation(pin=None, pin_missing="no AMI matches debian-12-*")).planned

        assert (planned.sync, planned.actions) == ("unknown", ("none",))
        assert planned.unknown == ("no AMI matches debian-12-*",)
        assert planned.key is None

    def test_what_else_has_drifted_is_said_all_the_same(self, built: Make, an_image: Make) -> None:
        drifted = replace(built(), image=an_image(files={"web.pkr.hcl": "b" * 40}), pin=None, pin_missing="throttled")
        assert [reason.code for reason in decide(drifted).planned.reasons] == ["inputs-changed"]

    def test_offline_a_new_image_is_to_be_built(self, a_situation: Make) -> None:
        assert decide(a_situation(pin=None, options=PlanOptions(offline=True))).planned.actions == ("build",)

    def test_an_image_that_shall_be_built_on_one_that_is_not_there_yet_has_drifted_and_waits(
        self, built: Make, an_image: Make
    ) -> None:
        waiting = replace(built(), image=an_image(source={"image": "base"}), pin=None, pin_missing="waits for base")

        planned = decide(waiting).planned

        assert (planned.sync, planned.actions, planned.waits_for) == ("drifted", ("none",), "waits for base")
        assert [reason.code for reason in planned.reasons] == ["source-changed"]
        assert (planned.reasons[0].was, planned.reasons[0].now) == (
            "ami debian-12-amd64-* of 136693071363",
            "base stable",
        )

    def test_a_parent_of_which_nothing_is_known_leaves_its_child_unknown(
        self, a_situation: Make, an_image: Make, carried_out: Make
    ) -> None:
        pin = Pin(image="base", build="20261122T101530Z-1a2b3c4", key="sha256:1")
        child = a_situation(an_image(source={"image": "base"}), pin=pin)
        child = carried_out(child, decide(child))

        planned = decide(replace(child, pin=None, pin_missing="waits for base: it is invalid")).planned

        assert (planned.sync, planned.unknown) == ("unknown", ("waits for base: it is invalid",))

    def test_an_image_on_nothing_that_can_be_pinned_is_built_all_the_same(
        self, a_situation: Make, an_image: Make
    ) -> None:
        assert decide(a_situation(an_image(source=None))).planned.actions == ("build",)


class TestRecord:
    def test_another_wording_of_the_same_source_is_recorded_and_costs_no_build(
        self, built: Make, an_image: Make, carried_out: Make
    ) -> None:
        reworded = replace(built(), image=an_image(source={"ssm": "/acme/base"}))

        decision = decide(reworded)

        assert "record" in decision.planned.actions
        assert "build" not in decision.planned.actions
        after = carried_out(reworded, decision)
        assert after.lock.source.requested.ssm == "/acme/base"
        assert decide(after).planned.sync == "in-sync"

    def test_a_renamed_image_is_tagged_and_recorded_anew(self, built: Make, an_image: Make, carried_out: Make) -> None:
        was = built(an_image("web"))
        lock = was.lock.model_copy(update={"image": "www"})
        renamed = replace(was, image=an_image("www"), lock=lock, renamed_from="web")

        decision = decide(renamed)

        assert decision.planned.actions == ("retag", "record")
        assert {reason.code for reason in decision.planned.reasons} == {"renamed", "tags-changed"}
        after = carried_out(renamed, decision)
        assert {one.own("image") for one in after.seen} == {"www"}
        assert decide(after).planned.sync == "in-sync"


class TestValidation:
    def candidate(self, built: Make, an_image: Make, carried_out: Make) -> Situation:
        """A validated build, and a newer one that waits for its verdict."""
        first = built(an_image())
        required = replace(
            first, image=an_image(files={"web.pkr.hcl": "b" * 40}, validation={"required": True})
        )  # fmt: skip
        after: Situation = carried_out(required, decide(required))
        assert after.lock.channels.stable == first.lock.builds[0].id
        return after

    def test_a_candidate_awaits_its_verdict(self, built: Make, an_image: Make, carried_out: Make) -> None:
        planned = decide(self.candidate(built, an_image, carried_out)).planned
        assert (planned.sync, planned.health, planned.actions) == ("in-sync", "awaiting-verdict", ("none",))

    def test_stable_follows_once_no_verdict_is_required(self, built: Make, an_image: Make, carried_out: Make) -> None:
        waiting = self.candidate(built, an_image, carried_out)
        freed = replace(waiting, image=an_image(files={"web.pkr.hcl": "b" * 40}, regions=["us-east-1"]))

        decision = decide(freed)

        assert decision.planned.actions == ("promote",)
        assert [reason.code for reason in decision.planned.reasons] == ["channel-moved"]
        assert len(decision.retag) == 1  # the phase is on the artifact
        after = carried_out(freed, decision)
        assert after.lock.channels.stable == after.lock.channels.candidate
        assert after.lock.builds[0].phase == after.seen[-1].own("phase") == "stable"
        assert decide(after).planned.sync == "in-sync"

    def test_a_promotion_retags_every_region_also_where_one_was_changed_by_hand(
        self, built: Make, an_image: Make, carried_out: Make
    ) -> None:
        regions = ["us-east-1", "eu-west-1"]
        first = built(an_image(regions=regions))
        files = {"web.pkr.hcl": "b" * 40}
        waiting = replace(first, image=an_image(files=files, regions=regions, validation={"required": True}))
        waiting = carried_out(waiting, decide(waiting))
        one = next(one for one in waiting.seen if one.own("phase") == "candidate")
        seen = tuple(
            replace(each, tags={**each.tags, "reconciler:phase": "stable"}) if each == one else each
            for each in waiting.seen
        )

        decision = decide(replace(waiting, seen=seen, image=an_image(files=files, regions=regions)))

        assert decision.planned.actions == ("retag", "promote")
        assert {each.location for each in decision.retag} == set(regions)

    @pytest.mark.parametrize("phase", ["rejected", "revoked"])
    def test_what_was_refused_never_becomes_stable(
        self, built: Make, an_image: Make, carried_out: Make, phase: str
    ) -> None:
        waiting = self.candidate(built, an_image, carried_out)
        refused = waiting.lock.builds[0].model_copy(update={"phase": phase})
        lock = waiting.lock.model_copy(update={"builds": (refused, *waiting.lock.builds[1:])})
        freed = replace(waiting, lock=lock, image=an_image(files={"web.pkr.hcl": "b" * 40}))

        assert "promote" not in decide(freed).planned.actions


def test_deciding_an_image_that_has_no_lockfile_leaves_the_lockfile_alone(a_situation: Make) -> None:
    decision = decide(a_situation())
    assert decision.lock == Lockfile(image="web")
    assert a_situation().options == PlanOptions()
