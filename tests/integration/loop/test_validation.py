"""Where a verdict is waited for, `stable` stays, and so do those who are built on it."""

from __future__ import annotations

from reconciler.model.lockfile import Verdict
from reconciler.plan.channels import verdict_tags
from tests.integration.loop.effects import in_the_middle, meanwhile, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import EU, ON_DEBIAN, US, World, image_files, statuses

VALIDATED = f"{ON_DEBIAN}validation: {{required: true}}\n"


def test_the_first_candidate_is_not_stable_and_a_child_on_stable_waits(settled: World) -> None:
    head = settled.commit({**image_files("db", VALIDATED), **image_files("db-replica", "source: {image: db}\n")})
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"db": "built"}
    channels = settled.lock("db").channels
    assert (channels.candidate, channels.stable) == (settled.lock("db").builds[0].id, None)
    assert settled.artifacts("db")[0].own("phase") == "candidate"
    waiting = controller.plan()["db-replica"]
    assert (waiting.actions, waiting.waits_for) == (("none",), "waits for db: it has no stable build yet")
    before = settled.head()
    assert controller.reconcile().results == ()
    assert (settled.head(), settled.subjects(head)) == (before, settled.subjects(head)[:1])


def test_a_child_on_stable_keeps_the_old_parent_and_one_on_candidate_takes_the_new(settled: World) -> None:
    settled.commit(
        {
            "desired/base/image.yaml": VALIDATED,
            "desired/base/setup.sh": "echo more\n",
            "desired/api/image.yaml": "source: {image: base, channel: candidate}\n",
        }
    )
    old = settled.lock("base").builds[0].id
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"base": "built", "api": "built"}
    lock = settled.lock("base")
    assert (lock.channels.stable, lock.channels.candidate) == (old, lock.builds[0].id)
    on = {image: settled.lock(image).builds[0].source for image in ("web", "api")}
    assert {image: pin.build for image, pin in on.items() if pin} == {"web": old, "api": lock.builds[0].id}
    head = settled.head()
    assert controller.reconcile().results == ()
    assert settled.head() == head


def test_a_verdict_moves_stable_and_takes_the_children_along_in_one_run(settled: World) -> None:
    settled.commit({"desired/base/image.yaml": VALIDATED, "desired/base/setup.sh": "echo more\n"})
    settled.controller().reconcile()
    head = settled.head()
    settled.judge("base", "passed")
    settled.clock.advance(hours=1)
    assert statuses(settled.controller().reconcile()) == {"base": "changed", "web": "built", "api": "built"}
    base = settled.lock("base")
    assert base.channels.stable == base.builds[0].id
    assert settled.lock("web").builds[0].source == base.builds[0].as_pin("base")
    assert_settled(settled, since=head)


def test_a_rejected_build_changes_nothing_for_those_on_stable(settled: World) -> None:
    settled.commit({"desired/base/image.yaml": VALIDATED, "desired/base/setup.sh": "echo more\n"})
    old = settled.lock("base").channels.stable
    settled.controller().reconcile()
    head = settled.head()
    settled.judge("base", "failed")
    settled.clock.advance(hours=1)
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"base": "changed"}
    assert (settled.lock("base").channels.stable, controller.built) == (old, [])
    head = settled.head()
    assert controller.reconcile().results == ()
    assert settled.head() == head


def test_a_pass_that_was_seen_late_does_not_cover_a_failure(settled: World) -> None:
    settled.commit({"desired/base/image.yaml": VALIDATED, "desired/base/setup.sh": "echo more\n"})
    settled.controller().reconcile()
    settled.judge("base", "passed")
    slow, fast = settled.controller("slow"), settled.controller("fast")

    def overtake() -> None:
        settled.judge("base", "failed")
        assert fast.reconcile("base").exit_code == 0

    surround(slow, meanwhile("push", overtake)).reconcile("base")
    lock = settled.lock("base")
    assert lock.builds[0].verdict is not None
    assert (lock.builds[0].verdict.status, lock.builds[0].phase) == ("failed", "rejected")
    assert lock.channels.stable == lock.builds[1].id
    assert settled.controller().reconcile().exit_code == 0
    assert {one.own("phase") for one in settled.artifacts("base")} == {"stable", "rejected"}


def test_stable_follows_at_once_when_no_verdict_is_waited_for_any_more(settled: World) -> None:
    settled.commit({"desired/base/image.yaml": VALIDATED, "desired/base/setup.sh": "echo more\n"})
    settled.controller().reconcile()
    head = settled.commit({"desired/base/image.yaml": ON_DEBIAN})
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"base": "changed", "web": "built", "api": "built"}
    standing = [(one.own("phase"), one.own("channel")) for one in settled.artifacts("base")]
    assert standing == [("superseded", "none"), ("superseded", "none"), ("stable", "stable"), ("stable", "stable")]
    assert_settled(settled, since=head)


def test_stable_does_not_move_when_a_verdict_was_asked_for_while_we_built(settled: World) -> None:
    settled.commit({"desired/base/setup.sh": "echo more\n"})
    old = settled.lock("base").builds[0].id
    controller = settled.controller()
    in_the_middle(controller, "base", lambda: settled.commit({"desired/base/image.yaml": VALIDATED}))
    report = controller.reconcile()
    assert statuses(report) == {"base": "built", "web": "superseded", "api": "superseded"}
    assert controller.built == ["base"]
    lock = settled.lock("base")
    assert (lock.channels.stable, lock.channels.candidate, lock.builds[0].phase) == (
        old,
        lock.builds[0].id,
        "candidate",
    )
    assert {one.own("build"): one.own("phase") for one in settled.artifacts("base")} == {
        old: "stable",
        lock.builds[0].id: "candidate",
    }
    assert_settled(settled, since=settled.head())


def test_a_copy_does_not_promote_what_needs_a_verdict_by_now(settled: World) -> None:
    """The declaration changed between the plan and the record: what was planned is not carried over."""
    settled.commit({"desired/base/image.yaml": VALIDATED, "desired/base/setup.sh": "echo more\n"})
    settled.controller().reconcile("base")
    stable = settled.lock("base").channels.stable
    settled.commit({"desired/base/image.yaml": ON_DEBIAN})
    asks = meanwhile("push", lambda: settled.commit({"desired/base/image.yaml": VALIDATED}))
    controller = surround(settled.controller(), asks)
    assert "promote" in controller.plan()["base"].actions
    controller.reconcile("base")
    assert settled.lock("base").channels.stable == stable
    assert settled.controller().reconcile().exit_code == 0
    assert settled.lock("base").channels.stable == stable
    assert_settled(settled, since=settled.head())


def test_to_hint_a_tag_takes_no_vote_off(pair: World) -> None:
    """Given a recorded vote, when another tag is changed by hand, then that one is fixed and the vote stays."""
    pair.commit({"desired/base/image.yaml": VALIDATED, "desired/base/setup.sh": "echo more\n"})
    pair.controller().reconcile()
    pair.judge("base", "passed")
    pair.clock.advance(hours=1)
    pair.controller().reconcile()
    newest = pair.lock("base").builds[0].id
    for one in pair.artifacts("base"):
        pair.registry.tag(one, {"reconciler:commit": "by hand"})

    assert statuses(pair.controller().reconcile()) == {"base": "changed"}

    fixed = [one for one in pair.artifacts("base") if one.own("build") == newest]
    assert {one.own("commit") for one in fixed} == {pair.lock("base").builds[0].commit}
    assert {(one.own("verdict"), one.own("verdict-by")) for one in fixed} == {("passed", "validation")}


def test_a_pass_does_not_count_while_a_region_that_may_say_failed_can_not_be_read(pair: World) -> None:
    # Given a candidate that passed in one region and failed in another, which is declared no more
    pair.commit({"desired/base/image.yaml": VALIDATED, "desired/base/setup.sh": "echo more\n"})
    pair.controller().reconcile()
    stable, candidate = pair.lock("base").channels.stable, pair.lock("base").builds[0]
    for one in candidate.artifacts:
        status = Verdict(status="failed" if one.location == EU else "passed", by="validation", evidence="none")
        pair.registry.tag(one, verdict_tags(status))
    pair.commit({"desired/base/image.yaml": f"{VALIDATED}regions: [{US}]\n"})
    pair.clock.advance(hours=1)

    # When that is throttled, then nothing moves, and the plan says why
    pair.registry.unreadable[EU] = "throttled"
    planned = pair.controller().plan()["base"]
    pair.controller().reconcile()
    assert pair.lock("base").channels.stable == stable
    assert planned.notes == (
        f"{candidate.id} passed validation, which counts once {EU} can be read: it may have failed there",
    )

    # And once it is read, the failure is what counts
    del pair.registry.unreadable[EU]
    pair.controller().reconcile()
    assert pair.lock("base").builds[0].phase == "rejected"
    assert pair.lock("base").channels.stable == stable
