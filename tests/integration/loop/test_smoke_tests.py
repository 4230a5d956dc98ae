"""What does not pass its smoke test gets nowhere: no channel, no copy, no announcement. It is tried again later."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import pytest

from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Transient, UserError
from reconciler.model.events import Booting, Failed, Skipped, Warned
from reconciler.model.events import Listener as Events
from reconciler.model.smoke_test import FailedTest, SmokeTestResult
from reconciler.plan.standing import Standing, standings
from reconciler.ports.bench import EndsWithItsRun
from reconciler.ports.builder import Builder, BuildRequest, BuildResult
from tests.integration.loop.effects import Effects, Killed, failing, meanwhile, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import EU, ON_BASE, TEMPLATE, US, Controller, World, git, results, statuses
from tests.integration.pull_request.pulls import Listener, main

NGINX = FailedTest(test="desired/web/smoke/test_web.py::test_nginx", what="assert False is True")
FAILED = SmokeTestResult(status="failed", tests=9, seconds=38, failed=(NGINX,))
WAITING = f"{ON_BASE}regions: [{US}]\nvalidation: {{required: true}}\n"
MORE = {"desired/web/setup.sh": "echo more\n"}


def not_passing(world: World, *images: str) -> Controller:
    """A controller whose builds of these images do not pass."""
    controller = world.controller()
    controller.tester.results = dict.fromkeys(images, FAILED)
    controller.tester.tail = ("E   assert False is True",)
    return controller


def standing(controller: Controller, image: str) -> Standing:
    """What `status` says of an image."""
    known, planned = controller.look()
    return {row.image: row for row in standings(planned, now=known.now)}[image]


def rejected(world: World, image: str) -> list[str]:
    return [one.id for one in world.artifacts(image) if one.own("phase") == "rejected"]


@dataclass(frozen=True)
class _ResolvingItself:
    """A builder whose template resolves its source itself, inside the build."""

    builder: Builder
    used: str

    def build(self, request: BuildRequest, *, listener: Events, cancelled: threading.Event) -> BuildResult:
        built = self.builder.build(request, listener=listener, cancelled=cancelled)
        return replace(built, source=self.used)


def test_what_did_not_pass_is_in_no_channel_not_copied_and_recorded_as_a_failure(pair: World) -> None:
    head = pair.commit(MORE)
    before = pair.lock("web")
    controller = not_passing(pair, "web")
    report = controller.reconcile()
    assert (report.exit_code, statuses(report)) == (3, {"web": "failed"})
    lock = pair.lock("web")
    assert (lock.builds, lock.channels) == (before.builds, before.channels)
    made = [one for one in pair.artifacts("web") if one.own("phase") != "stable"]
    assert [(one.location, one.own("phase"), one.own("smoke")) for one in made] == [(US, "rejected", "failed")]
    assert lock.failure is not None
    assert lock.failure.smoke_test is not None
    assert lock.failure.smoke_test.failed == (NGINX,)
    assert [one.id for one in lock.failure.artifacts] == [made[0].id]
    assert lock.failure.what == f"smoke test failed: {NGINX.test}: {NGINX.what}"
    assert pair.subjects(head) == [f"web: build {lock.failure.build} failed"]
    assert f"image/web/{lock.failure.build}" in pair.tags()
    assert pair.instances.running == ()


def test_people_are_told_which_assertion_failed_and_what_stays(pair: World) -> None:
    pair.commit(MORE)
    controller = not_passing(pair, "web")
    controller.reconcile()
    stable = pair.lock("web").channels.stable
    (told,) = controller.told(Failed, "web")
    assert isinstance(told, Failed)
    assert told.what == f"smoke test failed: {NGINX.test}: {NGINX.what}"
    assert told.tail == ("E   assert False is True",)
    assert told.notes[0] == f"nothing was changed: stable is still {stable}"
    pair.clock.advance(minutes=5)
    row = standing(pair.controller(), "web")
    assert (row.stable, row.health) == (stable, "degraded")
    assert row.why is not None
    assert NGINX.what in row.why


def test_nobody_hears_of_what_did_not_pass_and_all_hear_of_what_did(pair: World) -> None:
    listener = Listener()
    main(pair, listener).go()
    listener.heard.clear()
    pair.commit(MORE)
    failing_job = main(pair, listener)
    failing_job.tester.results = {"web": FAILED}
    failing_job.go()
    assert [event for _, _, event in listener.events] == ["failed"], "and not that there is a candidate"
    listener.heard.clear()
    pair.clock.advance(hours=1)
    main(pair, listener).go()
    assert [image for image, _, _ in listener.events] == ["web"] * len(listener.heard)
    assert {build for _, build, _ in listener.events} == {pair.lock("web").builds[0].id}


def test_it_rests_and_is_then_built_and_tested_anew(pair: World) -> None:
    head = pair.commit(MORE)
    not_passing(pair, "web").reconcile()
    resting = pair.controller()
    report = resting.reconcile()
    assert (report.exit_code, report.results, resting.built) == (3, (), [])
    pair.clock.advance(minutes=16)
    again = not_passing(pair, "web")
    again.reconcile()
    failure = pair.lock("web").failure
    assert failure is not None
    assert (again.built, failure.attempts, len(rejected(pair, "web"))) == (["web"], 2, 2)
    pair.clock.advance(hours=1)
    after = pair.controller()
    assert (statuses(after.reconcile()), after.built) == ({"web": "built"}, ["web"])
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_a_changed_input_is_tried_at_once(pair: World) -> None:
    pair.commit(MORE)
    not_passing(pair, "web").reconcile()
    head = pair.commit({"desired/web/setup.sh": "echo fixed\n"})
    assert statuses(pair.controller().reconcile()) == {"web": "built"}
    assert pair.lock("web").failure is None
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_children_are_skipped_and_keep_to_the_parent_that_passed(pair: World) -> None:
    pair.commit({"desired/base/setup.sh": "echo more\n"})
    controller = not_passing(pair, "base")
    report = controller.reconcile()
    assert (report.exit_code, statuses(report)) == (3, {"base": "failed", "web": "skipped"})
    assert controller.told(Skipped, "web") == [Skipped("web", "its parent base failed")]
    assert controller.built == ["base"]


def test_a_template_that_takes_no_pin_rests_like_any_other(pair: World) -> None:
    """Its build has another key than what was wanted, as it resolves its source itself."""
    own = TEMPLATE.replace('variable "source_ami" { type = string }\n', "").replace("var.source_ami", '"ami-1"')
    pair.commit({"desired/base/image.pkr.hcl": own})
    controller = not_passing(pair, "base")
    used = pair.publish_upstream("debian-12-of-the-template").id
    controller.on_builder = lambda builder: _ResolvingItself(builder, used)
    controller.reconcile("base")
    assert pair.controller().reconcile("base").results == ()


def test_what_did_not_pass_is_retired_once_it_was_kept_as_long_as_a_preview(pair: World) -> None:
    head = pair.commit(MORE)
    not_passing(pair, "web").reconcile()
    pair.commit({"desired/web/setup.sh": "true\n"}, "Take it back")
    pair.clock.advance(days=6)
    pair.controller().reconcile()
    assert len(rejected(pair, "web")) == 1
    pair.clock.advance(days=2)
    assert statuses(pair.controller().reconcile()) == {"web": "changed"}
    assert rejected(pair, "web") == []
    assert_settled(pair, since=head)


@pytest.mark.thorough
@pytest.mark.parametrize("effect", ["tag", "boot", "test", "terminate"])
def test_killed_before_the_record_the_next_run_tests_what_is_there(pair: World, effect: str) -> None:
    """Nothing is recorded, copied or promoted that was not seen to pass; and nothing is built twice."""
    head = pair.commit(MORE)
    order = ["build", "tag", "boot", "test", "terminate"]
    with pytest.raises(Killed):
        surround(pair.controller(), Effects(die_at=order.index(effect), when="after").around).reconcile()
    assert pair.head() == head
    assert [one.location for one in pair.artifacts("web") if one.own("phase") == "preliminary"] == [US]
    after = pair.controller()
    assert statuses(after.reconcile()) == {"web": "adopted"}
    assert (after.built, len(after.tester.requests)) == ([], 1)
    newest = pair.lock("web").builds[0]
    assert newest.smoke_test is not None
    assert newest.smoke_test.status == "passed"
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_an_adopted_artifact_that_does_not_pass_is_rejected_too(pair: World) -> None:
    head = pair.commit(MORE)
    with pytest.raises(Killed):
        surround(pair.controller(), Effects(die_at=1, when="after").around).reconcile()
    controller = not_passing(pair, "web")
    assert statuses(controller.reconcile()) == {"web": "failed"}
    assert len(rejected(pair, "web")) == 1
    pair.clock.advance(hours=1)
    assert pair.controller().reconcile().exit_code == 0
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


@pytest.mark.parametrize("effect", ["build web", "boot us-east-1", "terminate us-east-1", "push"])
def test_nothing_is_copied_or_recorded_before_the_test_passed(pair: World, effect: str) -> None:
    effects = Effects()
    pair.commit(MORE)
    surround(pair.controller(), effects.around).reconcile()
    passed = effects.done.index("test web")
    before, after = effects.done[:passed], effects.done[passed:]
    assert not any(what.startswith(("copy", "push")) for what in before)
    assert effect in (before if effect.startswith(("build", "boot")) else after)


@pytest.mark.parametrize(
    "refusal",
    [Transient("no capacity for t3.micro"), UserError("no such subnet", hint="name another: `smoke_test.subnets`")],
    ids=["no capacity", "no such subnet"],
)
def test_what_cannot_be_booted_is_kept_and_tested_by_the_next_run(pair: World, refusal: ReconcilerError) -> None:
    head = pair.commit(MORE)
    pair.instances.refused = refusal
    report = pair.controller().reconcile()
    assert (report.exit_code, statuses(report)) == (3, {"web": "failed"})
    assert (pair.head(), rejected(pair, "web")) == (head, [])
    pair.instances.refused = None
    after = pair.controller()
    assert (statuses(after.reconcile()), after.built) == ({"web": "adopted"}, [])
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_a_test_that_cannot_be_run_here_ends_its_instance_and_records_nothing(pair: World) -> None:
    head = pair.commit(MORE)
    controller = pair.controller()
    controller.tester.failures = {"web": UserError("there is no ssh here")}
    assert controller.reconcile().exit_code == 3
    assert (pair.head(), pair.instances.running) == (head, ())


def test_an_instance_that_cannot_be_ended_is_named_and_holds_up_nothing(pair: World) -> None:
    pair.commit(MORE)
    controller = surround(pair.controller(), failing(f"terminate {US}", Transient("throttled")))
    assert statuses(controller.reconcile()) == {"web": "built"}
    (left,) = pair.instances.running
    told = f"{left.id} in {US} is left: throttled; a later test there removes it"
    assert Warned("web", told) in controller.told(Warned, "web")


def test_what_a_killed_run_left_running_is_swept_by_a_later_test(pair: World) -> None:
    pair.commit(MORE)
    with pytest.raises(Killed):
        surround(pair.controller(), Effects(die_at=2, when="after").around).reconcile()
    (left,) = pair.instances.running
    pair.instances.keep(left, until=pair.clock.moment)
    pair.controller().reconcile()
    assert pair.instances.calls["boot"] == 2
    assert [one.id for one in pair.instances.running] == []


def test_an_instance_that_did_not_pass_is_kept_when_asked_for_and_its_door_is_told(pair: World) -> None:
    pair.commit(MORE)
    controller = not_passing(pair, "web")
    controller.keep_failed = 3600
    controller.reconcile()
    (kept,) = pair.instances.running
    assert pair.instances.kept[kept.id] > pair.clock.moment + timedelta(minutes=59)
    (told,) = [one.what for one in controller.told(Warned, "web") if isinstance(one, Warned) and kept.id in one.what]
    key = controller.root / ".reconciler" / "keys" / kept.id
    assert told.endswith(f"ssh -i {key} {kept.user}@{kept.address}")
    assert key.stat().st_mode & 0o777 == 0o600


def test_what_ends_with_its_run_is_ended_with_its_test_however_long_that_takes_and_whoever_would_look(
    pair: World,
) -> None:
    # Given a test that may take longer than others let an instance live, and a bench that keeps none
    pair.commit({"desired/web/image.yaml": f"{ON_BASE}smoke_test: {{timeout: 3h}}\n", **MORE})
    controller = surround(not_passing(pair, "web"), failing(f"keep {US}", EndsWithItsRun("the machine 7 can't stay")))
    controller.keep_failed = 3600

    controller.reconcile()

    # Then it is tested all the same, and that it can't be looked at is said
    assert rejected(pair, "web") != []
    assert pair.instances.running == ()
    assert Warned("web", "the machine 7 can't stay") in controller.told(Warned, "web")


def test_what_passed_is_not_kept_however_much_was_asked(pair: World) -> None:
    pair.commit(MORE)
    controller = pair.controller()
    controller.keep_failed = 3600
    controller.reconcile()
    assert pair.instances.running == ()


def test_a_run_that_is_cancelled_in_a_test_is_interrupted_and_ends_its_instance(pair: World) -> None:
    head = pair.commit(MORE)
    controller = pair.controller()
    controller.tester.during = lambda _request: controller.cancelled.set()
    report = controller.reconcile()
    assert (report.exit_code, statuses(report)) == (130, {"web": "interrupted"})
    assert (pair.head(), pair.instances.running) == (head, ())
    after = pair.controller()
    assert (statuses(after.reconcile()), after.built) == ({"web": "adopted"}, [])


def test_an_image_that_is_not_to_be_booted_says_so_and_goes_on(pair: World) -> None:
    head = pair.commit({"desired/web/image.yaml": f"{ON_BASE}smoke_test: {{boot: false}}\n", **MORE})
    controller = pair.controller()
    assert statuses(controller.reconcile()) == {"web": "built"}
    newest = pair.lock("web").builds[0]
    assert newest.smoke_test == SmokeTestResult(status="skipped", why="smoke_test.boot is false")
    assert newest.inventory is None
    assert controller.told(Booting, "web") == []
    assert [one.why for one in controller.told(events.Tested, "web") if isinstance(one, events.Tested)] == [
        "smoke_test.boot is false"
    ]
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_an_image_that_is_reached_by_winrm_is_not_booted(pair: World) -> None:
    windows = TEMPLATE.replace("  region ", '  communicator = "winrm"\n  region ')
    head = pair.commit({"desired/web/image.pkr.hcl": windows})
    controller = pair.controller()
    assert statuses(controller.reconcile()) == {"web": "built"}
    result = pair.lock("web").builds[0].smoke_test
    assert result == SmokeTestResult(status="skipped", why="amazon-ebs.image is reached by winrm, not SSH")
    assert controller.told(Booting, "web") == []
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_the_record_in_the_lockfile_says_what_was_tested_and_the_commit_too(pair: World) -> None:
    pair.commit(MORE)
    report = pair.controller().reconcile()
    newest = pair.lock("web").builds[0]
    assert newest.smoke_test is not None
    assert newest.inventory is not None
    assert (newest.smoke_test.status, newest.smoke_test.tests) == ("passed", 7)
    assert "Smoke test: 7 passed." in git(pair.origin, "log", "-1", "--format=%b", "main")
    assert results(report)["web"].tested == newest.smoke_test
    assert {one.own("smoke") for one in pair.artifacts("web") if one.own("build") == newest.id} == {"passed"}


def test_a_run_that_finds_a_failure_another_one_has_overcome_leaves_the_artifact_alone(pair: World) -> None:
    """Both test the same artifact, and it passes for one: what is in a channel by then is not tagged as rejected."""
    head = pair.commit(MORE)
    slow, fast = not_passing(pair, "web"), pair.controller("fast")
    around = meanwhile("test web", lambda: statuses(fast.reconcile()))
    report = surround(slow, around).reconcile()
    assert statuses(report) == {"web": "superseded"}
    assert (pair.lock("web").failure, rejected(pair, "web")) == (None, [])
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_a_build_that_comes_back_by_a_revert_and_does_not_pass_keeps_its_phase(pair: World) -> None:
    """Only what no channel ever had is rejected. It is not taken again: the next try builds anew."""
    first = pair.lock("web").builds[0]
    pair.commit(MORE)
    assert pair.controller().reconcile().exit_code == 0
    pair.commit({"desired/web/setup.sh": "true\n"}, "Take it back")
    for one in first.artifacts:
        pair.registry.tag(one, {"reconciler:smoke": ""})
    assert statuses(not_passing(pair, "web").reconcile()) == {"web": "failed"}
    tags = [(one.own("phase"), one.own("smoke")) for one in pair.artifacts("web") if one.own("build") == first.id]
    assert sorted(tags) == [("superseded", "failed"), ("superseded", "failed")]
    pair.clock.advance(hours=1)
    after = pair.controller()
    assert (statuses(after.reconcile()), after.built) == ({"web": "built"}, ["web"])


def test_a_smoke_tag_changed_by_hand_is_set_right(pair: World) -> None:
    head = pair.head()
    for one in pair.lock("web").builds[0].artifacts:
        if one.location == EU:
            pair.registry.tag(one, {"reconciler:smoke": "failed"})
    controller = pair.controller()
    assert [reason.code for reason in controller.plan()["web"].reasons] == ["tags-changed"]
    assert statuses(controller.reconcile()) == {"web": "changed"}
    assert controller.tester.requests == []
    assert_settled(pair, since=head)


def test_the_crash_matrix_of_a_failing_test_is_whole_and_converges(pair: World) -> None:
    head = pair.commit(MORE)
    effects = Effects()
    surround(not_passing(pair, "web"), effects.around).reconcile()
    assert effects.done == [
        "build web", f"tag {US}", f"boot {US}", "test web", f"terminate {US}", "push", f"tag {US}"
    ]  # fmt: skip
    pair.clock.advance(hours=1)
    assert pair.controller().reconcile().exit_code == 0
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


@pytest.mark.thorough
@pytest.mark.parametrize("number", range(7))
def test_killed_around_a_failing_test_the_next_runs_converge(pair: World, number: int) -> None:
    head = pair.commit(MORE)
    with pytest.raises(Killed):
        surround(not_passing(pair, "web"), Effects(die_at=number, when="after").around).reconcile()
    not_passing(pair, "web").reconcile()
    pair.clock.advance(hours=1)
    assert pair.controller().reconcile().exit_code == 0
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_a_verdict_on_what_another_run_recorded_while_this_one_was_still_testing_stands(pair: World) -> None:
    """A test takes minutes. Another run may adopt the artifact meanwhile, and a validation may have its say."""
    pair.commit({"desired/web/image.yaml": WAITING, **MORE})
    slow, fast = pair.controller("slow"), pair.controller("fast")

    def overtake() -> None:
        assert statuses(fast.reconcile()) == {"web": "adopted"}
        pair.judge("web", "passed")

    assert surround(slow, meanwhile(f"terminate {US}", overtake)).reconcile().exit_code == 0
    assert pair.controller().reconcile().exit_code == 0
    newest = pair.lock("web").builds[0]
    assert newest.verdict is not None
    assert (newest.verdict.status, newest.phase, pair.lock("web").channels.stable) == ("passed", "stable", newest.id)
    pair.clock.advance(hours=1)
    assert_settled(pair, since=pair.head())


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("status", ["passed", "failed"])
def test_a_verdict_that_was_recorded_while_this_run_was_still_testing_is_not_written_over(
    pair: World, status: Literal["passed", "failed"]
) -> None:
    pair.commit({"desired/web/image.yaml": WAITING, **MORE})
    slow, fast = pair.controller("slow"), pair.controller("fast")

    def overtake() -> None:
        fast.reconcile()
        pair.judge("web", status)
        fast.reconcile()

    report = surround(slow, meanwhile(f"terminate {US}", overtake)).reconcile()
    recorded = pair.lock("web")
    assert (report.exit_code, slow.built, fast.built) == (0, ["web"], [])
    assert recorded.builds[0].phase == ("stable" if status == "passed" else "rejected")
    pair.controller().reconcile()
    assert pair.lock("web") == recorded
