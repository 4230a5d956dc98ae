"""One image's failure is its own, and it is remembered for as long as it helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.events import Failed, Skipped, Warned
from reconciler.ports.builder import BuildFailed, BuildRequest, Cause
from reconciler.registries.ec2.dialect import DIALECT
from tests.integration.loop.effects import failing, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_smoke_tests import FAILED
from tests.integration.loop.world import EU, ON_BASE, ON_DEBIAN, US, Controller, World, image_files, results, statuses
from tests.integration.pull_request.pulls import Listener


def failure(what: str = "setup.sh ended with 1") -> BuildFailed:
    return BuildFailed(what, cause="failed", seconds=7, log=Path("web.log"), name_taken=DIALECT.name_taken(what))


def failing_in(world: World, *images: str) -> Controller:
    controller = world.controller()
    controller.builder.failures = {image: failure() for image in images}
    return controller


def test_the_children_of_a_parent_that_failed_are_skipped_and_the_others_done(world: World) -> None:
    controller = failing_in(world, "base")
    report = controller.reconcile()
    assert report.exit_code == 3
    assert statuses(report) == {"base": "failed", "web": "skipped", "api": "skipped", "tools": "built"}
    assert controller.told(Skipped, "web") == [Skipped("web", "its parent base failed")]
    assert set(world.recorded()) == {"base", "tools"}


def test_a_failure_is_recorded_and_the_image_left_alone_for_a_while(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "false\n"})
    failing_in(settled, "web").reconcile()
    lock = settled.lock("web")
    assert lock.failure is not None
    assert (lock.failure.attempts, lock.failure.what) == (1, "setup.sh ended with 1")
    assert f"image/web/{lock.failure.build}" in settled.tags()
    assert len(lock.builds) == 1, "the last good build stays"
    head, again = settled.head(), failing_in(settled, "web")
    report = again.reconcile()
    assert (report.exit_code, again.built, settled.head()) == (3, [], head), "it still is not as declared"
    assert "failed once" in (again.plan()["web"].waits_for or "")


def test_what_an_older_packer_refused_is_tried_once_with_each_other_one(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "false\n"})

    def run(packer: str, *, fails: bool = True, too_old: bool = True) -> Controller:
        controller = settled.controller()
        controller.packer = packer
        refused = failure("Unsupported argument")
        refused.version, refused.may_be_too_old = packer, too_old
        controller.builder.failures = {"web": refused} if fails else {}
        settled.clock.advance(minutes=1)
        controller.reconcile()
        return controller

    # When the same one comes again, it rests; another tries once
    assert [run(packer).built for packer in ("1.6.6", "1.6.6", "1.12.0", "1.6.6", "1.12.0")] == [
        ["web"], [], ["web"], [], [],
    ]  # fmt: skip
    failed = settled.lock("web").failure
    assert failed is not None
    assert (failed.refused_by, failed.attempts) == (("1.6.6", "1.12.0"), 2)

    # Then the plan says why, and the build that succeeds ends the failure
    planned = settled.controller()
    planned.packer = "1.16.0"
    image = planned.plan()["web"]
    assert image.actions == ("build",)
    assert "failed 2 times, on Packer 1.6.6 and 1.12.0: tried once more, as Packer 1.16.0 is here" in image.notes
    assert run("1.16.0", fails=False).built == ["web"]
    assert settled.lock("web").failure is None


def test_another_packer_that_knows_more_has_one_try_also_where_what_it_builds_fails_its_test(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "false\n"})

    def run(packer: str, **failures: BuildFailed) -> list[str]:
        controller = settled.controller()
        controller.packer, controller.builder.failures = packer, failures
        controller.tester.results = {"web": FAILED}
        settled.clock.advance(minutes=1)
        controller.reconcile()
        return controller.built

    refused = failure("Unsupported argument")
    refused.version, refused.may_be_too_old = "1.6.6", True
    assert [run("1.6.6", web=refused), *(run("1.16.0") for _ in range(3))] == [["web"], ["web"], [], []]
    head = settled.head()
    assert run("1.16.0") == []
    assert settled.head() == head


@pytest.mark.parametrize("cause", ["failed", "machine"])
def test_what_helps_is_told_where_a_build_failed_whether_that_counts_or_not(settled: World, cause: Cause) -> None:
    settled.commit({"desired/web/setup.sh": "false\n"})
    controller = settled.controller()
    hints = ("if a later Packer knows that: get it", "and then force it")
    controller.builder.failures = {"web": BuildFailed("no", cause=cause, seconds=1, log=Path("web.log"), hint=hints)}

    controller.reconcile()

    (told,) = controller.told(Failed, "web")
    assert isinstance(told, Failed)
    assert told.notes[:2] == hints


def test_a_name_that_a_run_of_the_same_second_took_is_no_failure(settled: World) -> None:
    named = 'variable "image_name" { type = string }\n'
    head = settled.commit({"desired/web/more.pkr.hcl": named})
    controller = settled.controller()

    def taken(request: BuildRequest) -> None:
        name = f"web-{request.build_id}"
        raise failure(f"InvalidAMIName.Duplicate: AMI name {name} is already in use by AMI ami-0abc")

    controller.builder.during = taken
    report = controller.reconcile()
    assert (statuses(report), report.exit_code) == ({"web": "superseded"}, 0)
    assert (settled.head(), settled.lock("web").failure) == (head, None)


def test_a_name_that_the_template_made_up_and_is_taken_is_a_failure(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    controller = settled.controller()
    controller.builder.failures = {"web": failure("InvalidAMIName.Duplicate: AMI name web is already in use")}
    assert statuses(controller.reconcile()) == {"web": "failed"}


def test_each_failure_doubles_the_rest(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "false\n"})
    rests = []
    for _ in range(3):
        failing_in(settled, "web").reconcile()
        found = settled.lock("web").failure
        assert found is not None
        rests.append((found.attempts, found.retry_after))
        settled.clock.advance(hours=2)
    assert [attempts for attempts, _ in rests] == [1, 2, 3]


def test_changed_inputs_get_a_fresh_try_at_once_and_success_clears_the_failure(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "false\n"})
    failing_in(settled, "web").reconcile()
    head = settled.commit({"desired/web/setup.sh": "echo fixed\n"})
    assert statuses(settled.controller().reconcile()) == {"web": "built"}
    assert settled.lock("web").failure is None
    assert_settled(settled, since=head)


def test_more_time_for_a_build_ends_its_rest_although_it_is_no_part_of_the_key(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "sleep 9\n"})
    failing_in(settled, "web").reconcile()
    settled.commit({"desired/web/image.yaml": f"{ON_BASE}packer: {{timeout: 2h}}\n"})
    assert statuses(settled.controller().reconcile()) == {"web": "built"}


def test_what_packer_did_not_make_is_not_recorded_as_made(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    parents = [one for one in settled.artifacts("base") if one.location == US]
    controller = settled.controller()
    controller.builder.artifacts = lambda _: tuple(one.as_artifact("amazon-ebs.image") for one in parents)
    report = controller.reconcile()
    assert statuses(report) == {"web": "failed"}
    assert "Packer reported" in results(report)["web"].why
    assert settled.artifacts("base") != []
    assert [one for one in settled.artifacts("base") if one.location == US] == parents


def test_a_change_that_is_taken_back_is_in_sync_again(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "false\n"})
    failing_in(settled, "web").reconcile()
    head = settled.commit({"desired/web/setup.sh": "true\n"})
    assert settled.controller().reconcile().results == ()
    assert_settled(settled, since=head)


def test_force_does_not_wait(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "false\n"})
    failing_in(settled, "web").reconcile()
    assert statuses(settled.controller().reconcile(force=("web",))) == {"web": "built"}


def test_an_unreadable_region_stops_its_images_and_no_others(settled: World) -> None:
    settled.commit(
        {"desired/web/setup.sh": "echo more\n", **image_files("tools", f"{ON_DEBIAN}regions: [us-east-1]\n")}
    )
    settled.registry.unreadable[EU] = "RequestLimitExceeded after 8 tries"
    before = [one for one in settled.registry.artifacts if one.location == EU]
    controller = settled.controller()
    planned = controller.plan()["web"]
    assert (planned.sync, planned.actions) == ("unknown", ("none",))
    assert planned.unknown == (f"{EU}: RequestLimitExceeded after 8 tries",)
    report = controller.reconcile()
    assert (report.exit_code, statuses(report)) == (3, {"tools": "built"})
    assert [one for one in settled.registry.artifacts if one.location == EU] == before
    settled.registry.unreadable.clear()
    assert controller.reconcile().exit_code == 0
    assert settled.lock("web").builds[0].commit != settled.lock("base").builds[0].commit


def test_a_registry_that_refuses_us_stops_the_run(settled: World) -> None:
    settled.registry.refused = Terminal("no credentials")
    with pytest.raises(Terminal, match="no credentials"):
        settled.controller().reconcile()


def test_an_image_that_cannot_be_read_stops_itself_alone(world: World) -> None:
    world.commit({"desired/tools/image.yaml": "regoins: []\n"})
    controller = world.controller()
    report = controller.reconcile()
    assert report.exit_code == 3
    assert statuses(report) == dict.fromkeys(("base", "web", "api"), "built")
    assert 'unknown key "regoins"' in controller.plan()["tools"].errors[0]


def test_a_registry_that_fails_in_the_middle_fails_that_image(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n", "desired/api/setup.sh": "echo more\n"})
    broken = surround(settled.controller(), failing(f"copy {EU}", Transient("throttled")))
    report = broken.reconcile()
    assert (report.exit_code, statuses(report)) == (3, {"web": "failed", "api": "failed"})
    assert results(report)["web"].why == f"no copy in {EU}: throttled"


def test_what_cannot_be_pushed_is_kept_and_adopted_later(settled: World) -> None:
    head = settled.commit({"desired/web/setup.sh": "echo more\n"})
    broken = surround(settled.controller(), failing("push", Terminal("the branch main refuses pushes (GH006)")))
    report = broken.reconcile()
    assert (report.exit_code, statuses(report)) == (3, {"web": "failed"})
    assert (broken.root / "reconciler-unsaved" / "web.json").exists()
    recorded = settled.lock("web").builds[0].id
    waiting = [one for one in settled.artifacts("web") if one.own("build") != recorded]
    assert {(one.own("phase"), one.own("smoke")) for one in waiting} == {("preliminary", "passed")}
    after = settled.controller()
    assert statuses(after.reconcile()) == {"web": "adopted"}
    assert (after.built, after.tester.requests) == ([], [])
    assert_settled(settled, since=head)


def test_what_cannot_be_pushed_is_tested_once_more_where_nothing_of_it_is_known(settled: World) -> None:
    """What is inside is read while it is booted, and only the checkout that did so has it."""
    head = settled.commit({"desired/web/setup.sh": "echo more\n"})
    surround(settled.controller(), failing("push", Terminal("the branch main refuses pushes (GH006)"))).reconcile()
    elsewhere = settled.controller("elsewhere")
    assert statuses(elsewhere.reconcile()) == {"web": "adopted"}
    assert (elsewhere.built, len(elsewhere.tester.requests)) == ([], 1)
    assert_settled(settled, since=head)


def test_a_phase_that_cannot_be_tagged_is_told_and_set_right_by_the_next_run(settled: World) -> None:
    settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}regions: [{US}]\n", "desired/base/setup.sh": "echo more\n"})
    controller = settled.controller()
    tags = iter([None, None, Transient("throttled")])

    @contextmanager
    def around(what: str) -> Iterator[None]:
        error = next(tags, None) if what == f"tag {US}" else None
        if error is not None:
            raise error
        yield

    assert results(surround(controller, around).reconcile("base"))["base"].status == "built"
    newest = settled.lock("base").builds[0]
    told = f"{newest.artifacts[0].id} is not tagged reconciler:channel=stable, reconciler:phase=stable: throttled"
    assert Warned("base", told) in controller.told(Warned, "base")
    assert settled.controller().reconcile("base").exit_code == 0
    assert {one.own("phase") for one in settled.artifacts("base") if one.own("build") == newest.id} == {"stable"}


def test_a_cancelled_run_starts_nothing_more_and_says_so(world: World) -> None:
    controller = world.controller()
    controller.builder.during = lambda _request: controller.cancelled.set()
    report = controller.reconcile("web")
    assert report.exit_code == 130
    assert statuses(report) == {"base": "interrupted", "web": "interrupted"}
    assert world.recorded() == []


def test_a_fleet_without_images_is_refused(settled: World) -> None:
    settled.commit({**_nothing_but_settings(settled)})
    with pytest.raises(UserError, match="declares no image"):
        settled.controller().reconcile(prune=True)
    assert len(settled.registry.artifacts) == 8


def test_a_fleet_without_images_ends_as_a_whole_where_a_person_says_how_many(settled: World) -> None:
    settled.commit({**_nothing_but_settings(settled)})
    with pytest.raises(UserError, match="declares no image") as refused:
        settled.controller().reconcile(prune=True)
    said = "if 4 images that are recorded are to go, with their artifacts"
    assert refused.value.hint[1] == f"{said}: `reconciler reconcile --prune --max-actions 4`"
    with pytest.raises(UserError, match="declares no image"):
        settled.controller().reconcile(max_actions=4)
    with pytest.raises(UserError, match="acts on 4 images, and one run may act on 3"):
        settled.controller().reconcile(prune=True, max_actions=3)
    assert len(settled.registry.artifacts) == 8

    assert settled.controller().reconcile(prune=True, max_actions=4).exit_code == 0

    assert not settled.registry.artifacts
    assert settled.recorded() == []


def test_more_actions_than_allowed_are_refused_whole(settled: World) -> None:
    settled.commit({"desired/base/setup.sh": "echo more\n"})
    controller = settled.controller()
    head = settled.head()
    with pytest.raises(UserError, match="acts on 3 images, and one run may act on 2"):
        controller.reconcile(max_actions=2)
    assert (controller.built, settled.head()) == ([], head)
    assert controller.reconcile(max_actions=3).exit_code == 0


def _nothing_but_settings(world: World) -> dict[str, str | None]:
    gone: dict[str, str | None] = {}
    for name in ("base", "web", "api", "tools"):
        gone |= dict.fromkeys(image_files(name, ""))
    return gone


class TestTold:
    """An attempt that failed is news, once for as long as the same fails, and for a week at most."""

    def run(self, world: World, listening: Listener, *images: str, fails: bool = True) -> None:
        controller = failing_in(world, *images) if fails else world.controller()
        controller.announcers = [listening]
        controller.reconcile()

    def test_each_is_told_once_with_what_failed_and_that_is_recorded(self, settled: World) -> None:
        listening = Listener()
        self.run(settled, listening, fails=False)
        heard, stable = len(listening.heard), settled.lock("web").channels.stable
        settled.commit({"desired/web/setup.sh": "exit 1\n"})
        head = settled.head()
        self.run(settled, listening, "web")
        failure = settled.lock("web").failure
        assert failure is not None
        (told,) = listening.heard[heard:]
        assert (told.event, told.image, told.build, told.key) == ("failed", "web", failure.build, failure.key)
        assert (told.reason, told.previous, told.commit) == ("setup.sh ended with 1", stable, head)
        assert failure.told == ("webhook",)
        assert settled.subjects(head)[0] == f"web: announced that {failure.build} has failed"

        for _ in range(2):
            settled.clock.advance(days=1)
            self.run(settled, listening, "web")
        again = settled.lock("web").failure
        assert again is not None
        assert again.attempts == 3, "the same failed three times"
        assert len(listening.heard) == heard + 1

    def test_what_fails_anew_is_told_anew(self, settled: World) -> None:
        listening = Listener()
        for number in (1, 2):
            settled.commit({"desired/web/setup.sh": f"exit {number}\n"})
            self.run(settled, listening, "web")
        assert [one.event for one in listening.heard if one.image == "web"].count("failed") == 2

    def test_who_did_not_hear_it_is_told_by_the_next_run(self, settled: World) -> None:
        deaf, hearing = Listener(fails=Transient("it is down")), Listener(name="sns")
        settled.commit({"desired/web/setup.sh": "exit 1\n"})
        controller = failing_in(settled, "web")
        controller.announcers = [deaf, hearing]
        controller.reconcile()
        lock = settled.lock("web")
        assert lock.failure is not None
        assert lock.failure.told == ("sns",)
        assert [(one.event, one.to) for one in lock.undelivered if one.build == lock.failure.build] == [
            ("failed", "webhook")
        ]
        deaf.fails = None
        again = settled.controller()
        again.announcers = [deaf, hearing]
        again.reconcile()
        after = settled.lock("web")
        assert after.failure is not None
        assert (after.failure.told, after.undelivered) == (("sns", "webhook"), ())
        assert [one.event for one in deaf.heard if one.build == lock.failure.build] == ["failed"]
        assert [one.event for one in hearing.heard if one.build == lock.failure.build] == ["failed"]

    def test_an_image_that_never_was_built_is_told_of(self, settled: World) -> None:
        listening = Listener()
        settled.commit(image_files("extra", ON_DEBIAN))
        self.run(settled, listening, "extra")
        (told,) = (one for one in listening.heard if one.image == "extra")
        assert (told.event, told.previous, told.artifacts) == ("failed", None, ())
        assert settled.lock("extra").failure is not None

    def test_what_failed_long_ago_is_no_news_to_who_asks_today(self, settled: World) -> None:
        settled.commit({"desired/web/setup.sh": "exit 1\n"})
        failing_in(settled, "web").reconcile()
        settled.clock.advance(days=8)
        listening = Listener()
        controller = settled.controller()
        controller.announcers = [listening]
        controller.reconcile("base")
        assert "failed" not in {one.event for one in listening.heard}
