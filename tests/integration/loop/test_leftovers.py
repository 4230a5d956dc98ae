"""What Packer made is never lost: it is taken up, retired, or named, whatever ends a run after Packer's last line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.events import Failed, Retired, Warned
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Seen
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.values import format_instant
from reconciler.ports.builder import BuildFailed, BuildRequest, Cause
from reconciler.registries.ec2.dialect import DIALECT
from tests.integration.loop.effects import Effects, Killed, failing, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import EU, ON_BASE, TEMPLATE, US, Controller, World, git, results, statuses

REFUSED = Terminal("tagging ami-1 in us-east-1: not allowed: CreateTags (UnauthorizedOperation)")
BIRTHS = [pytest.param(True, id="born with tags"), pytest.param(False, id="born without tags")]
NAMED = 'variable "image_name" { type = string }\n'
"""Beside the template: it takes the name that is given to its AMIs."""


def change(world: World, *, named: bool = False, tagged: bool = True) -> str:
    """Web is to be built anew, by a template that takes its AMI's name, its tags, both or neither."""
    template = TEMPLATE if tagged else TEMPLATE.replace("var.image_tags", "{}").replace("var.run_tags", "{}")
    files: dict[str, str | None] = {"desired/web/setup.sh": "echo more\n", "desired/web/image.pkr.hcl": template}
    return world.commit(files | ({"desired/web/name.pkr.hcl": NAMED} if named else {}))


def new(world: World) -> list[Seen]:
    """What there is of web that is not recorded, under whatever tags."""
    recorded = {one.id for image in world.recorded() for build in world.lock(image).builds for one in build.artifacts}
    return [one for one in world.registry.artifacts if one.id not in recorded]


def broken(what: str, *, cause: Cause = "failed", mentioned: Sequence[str] = ()) -> BuildFailed:
    return BuildFailed(
        what, cause=cause, seconds=7, log=Path("web.log"), mentioned=mentioned, name_taken=DIALECT.name_taken(what)
    )


def leaving(controller: Controller, make: Callable[[BuildRequest], list[Artifact]]) -> Controller:
    controller.builder.artifacts = lambda request: tuple(make(request))
    return controller


def breaking(
    controller: Controller, make: Callable[[BuildRequest], Seen], end: Callable[[Seen], ReconcilerError]
) -> Controller:
    """A Packer that makes an AMI and fails after that."""

    def during(request: BuildRequest) -> None:
        raise end(make(request))

    controller.builder.during = during
    return controller


def notes(controller: Controller) -> str:
    return "\n".join(
        note for event in controller.told(Failed, "web") if isinstance(event, Failed) for note in event.notes
    )


class TestMarking:
    """Between Packer's last line and our last tag."""

    @pytest.mark.parametrize("tagged", BIRTHS)
    @pytest.mark.parametrize("error", [REFUSED, Transient("tagging ami-1: no answer")], ids=["refused", "unanswered"])
    def test_what_cannot_be_marked_is_a_failed_attempt_that_names_the_ami(
        self, settled: World, *, tagged: bool, error: ReconcilerError
    ) -> None:
        change(settled, tagged=tagged)
        controller = leaving(settled.controller(), lambda one: [as_made(settled.make(one, tagged=tagged))])
        report = surround(controller, failing(f"tag {US}", error)).reconcile("web")
        (made,) = new(settled)
        failure = settled.lock("web").failure
        assert (statuses(report), report.exit_code) == ({"web": "failed"}, 3)
        assert failure is not None
        assert f"{made.id} in {US} was built, and could not be marked as complete: {error.what}" in failure.what
        assert [one.id for one in failure.artifacts] == [made.id]
        assert "the next run marks it" in notes(controller)

    def test_while_it_cannot_be_marked_nothing_more_is_built_and_nothing_more_recorded(self, settled: World) -> None:
        change(settled)
        surround(settled.controller(), failing(f"tag {US}", REFUSED)).reconcile("web")
        head, made = settled.head(), new(settled)
        for _ in range(3):
            again = surround(settled.controller(), failing(f"tag {US}", REFUSED))
            assert statuses(again.reconcile("web")) == {"web": "failed"}
            assert again.built == []
        assert (settled.head(), new(settled)) == (head, made)
        settled.clock.advance(hours=1)
        surround(settled.controller(), failing(f"tag {US}", REFUSED)).reconcile("web")
        failure = settled.lock("web").failure
        assert failure is not None
        assert (failure.attempts, [one.id for one in failure.artifacts]) == (2, [made[0].id])

    @pytest.mark.forms(quick=1)
    @pytest.mark.parametrize("tagged", BIRTHS)
    def test_the_next_run_takes_it_up_with_its_whole_record(self, settled: World, *, tagged: bool) -> None:
        head = change(settled, tagged=tagged)
        first = leaving(settled.controller(), lambda one: [as_made(settled.make(one, tagged=tagged))])
        surround(first, failing(f"tag {US}", REFUSED)).reconcile("web")
        (made,) = new(settled)
        after = settled.controller("elsewhere")
        assert after.plan("web")["web"].actions == ("adopt",)
        assert statuses(after.reconcile("web")) == {"web": "adopted"}
        lock = settled.lock("web")
        assert (after.built, lock.failure) == ([], None)
        assert made.id in [one.id for one in lock.builds[0].artifacts]
        assert lock.builds[0].packer is not None
        assert git(
            settled.origin, "tag", "--list", f"image/web/{lock.builds[0].id}", "--format=%(contents:subject)"
        ) == (f"web {lock.builds[0].id}: built")
        assert_settled(settled, since=head, clone="elsewhere")

    def test_what_is_gone_by_then_is_built_anew(self, settled: World) -> None:
        head = change(settled)
        surround(settled.controller(), failing(f"tag {US}", REFUSED)).reconcile("web")
        settled.registry.delete(new(settled)[0])
        after = settled.controller()
        assert statuses(after.reconcile("web")) == {"web": "built"}
        assert_settled(settled, since=head)

    @pytest.mark.parametrize("tagged", BIRTHS)
    def test_what_is_not_wanted_any_more_is_retired(self, settled: World, *, tagged: bool) -> None:
        change(settled, tagged=tagged)
        first = leaving(settled.controller(), lambda one: [as_made(settled.make(one, tagged=tagged))])
        surround(first, failing(f"tag {US}", REFUSED)).reconcile("web")
        (made,) = new(settled)
        head = settled.commit({"desired/web/setup.sh": "echo another\n"})
        after = settled.controller()
        assert statuses(after.reconcile("web")) == {"web": "built"}
        assert Retired("web", US, made.id) in after.told(Retired, "web")
        assert new(settled) == []
        assert_settled(settled, since=head)

    def test_what_is_taken_back_is_retired_although_nothing_is_built(self, settled: World) -> None:
        change(settled)
        surround(settled.controller(), failing(f"tag {US}", REFUSED)).reconcile("web")
        git(settled.root / "person", "pull", "--quiet", "origin", "main")
        head = settled.commit({"desired/web/setup.sh": "true\n"})
        after = settled.controller()
        assert after.plan("web")["web"].actions == ("retire",)
        after.reconcile("web")
        assert (after.built, new(settled)) == ([], [])
        assert_settled(settled, since=head)

    def test_what_a_refresh_made_waits_for_the_next_refresh(self, settled: World) -> None:
        settled.publish_upstream("debian-12-amd64-20261115")
        surround(settled.controller(), failing(f"tag {US}", REFUSED)).reconcile("base", refresh=True)
        assert settled.controller().reconcile("base").results == ()
        after = settled.controller()
        assert statuses(after.reconcile("base", refresh=True)) == {"base": "adopted"}
        assert (after.built, new(settled)) == ([], [])

    @pytest.mark.parametrize("seen", [None, Transient("no answer")], ids=["not there", "no answer"])
    def test_what_cannot_be_looked_at_is_kept_as_well(
        self, settled: World, seen: Transient | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        change(settled)
        before = {one.id for one in settled.registry.artifacts}
        find = settled.registry.find

        def blind(location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
            if artifact_id in before:
                return find(location, artifact_id, patience=patience)
            if seen is not None:
                raise seen
            return None

        with monkeypatch.context() as patch:
            patch.setattr(settled.registry, "find", blind)
            assert statuses(settled.controller().reconcile("web")) == {"web": "failed"}
        after = settled.controller()
        assert statuses(after.reconcile("web")) == {"web": "adopted"}
        assert (after.built, new(settled)) == ([], [])

    def test_a_preview_retires_what_it_cannot_mark(self, settled: World) -> None:
        change(settled)
        git(settled.root / "person", "push", "--quiet", "origin", "HEAD:more")
        settled.controller()
        git(settled.root / "ci", "fetch", "--quiet", "origin")
        git(settled.root / "ci", "checkout", "--quiet", "origin/more")
        controller = surround(settled.controller(), failing(f"tag {US}", REFUSED))
        assert statuses(controller.preview("more")) == {"web": "failed"}
        assert new(settled) == []
        assert "was retired" in notes(controller)


def as_made(seen: Seen) -> Artifact:
    """As Packer reports it: the registry tells its name and its snapshots."""
    return Artifact(kind=seen.kind, builder="amazon-ebs.image", location=seen.location, id=seen.id)


class TestNotWanted:
    """Packer ended well, and what it left is not one artifact where it was asked for."""

    def test_two_amis_in_one_region_are_retired_and_the_build_has_failed(self, settled: World) -> None:
        change(settled)
        controller = leaving(settled.controller(), lambda one: [as_made(settled.make(one)) for _ in range(2)])
        report = controller.reconcile("web")
        assert "Packer left 2 AMIs in us-east-1, and an image is one artifact" in results(report)["web"].why
        assert (new(settled), settled.lock("web").failure is not None) == ([], True)

    @pytest.mark.parametrize("tagged", BIRTHS)
    def test_an_ami_in_another_region_is_a_failed_build_and_is_retired(self, settled: World, *, tagged: bool) -> None:
        change(settled, tagged=tagged)
        controller = leaving(settled.controller(), lambda one: [as_made(settled.make(one, region=EU, tagged=tagged))])
        report = controller.reconcile("web")
        assert "web is to be built in us-east-1, and Packer left ami-" in results(report)["web"].why
        assert new(settled) == []
        assert settled.lock("web").builds[0].artifact_in(US) is not None, "the last good build stays"

    def test_what_a_post_processor_leaves_beside_the_ami_is_named_and_not_recorded(self, settled: World) -> None:
        head = change(settled)
        archive = Artifact(kind="packer.post-processor.compress", builder="amazon-ebs.image", location="", id="web.gz")
        controller = leaving(settled.controller(), lambda one: [as_made(settled.make(one)), archive])
        assert statuses(controller.reconcile("web")) == {"web": "built"}
        assert {one.kind for one in settled.lock("web").builds[0].artifacts} == {"ami"}
        told = "amazon-ebs.image also left packer.post-processor.compress web.gz, which is not recorded"
        assert Warned("web", told) in controller.told(Warned, "web")
        assert_settled(settled, since=head)

    def test_an_ami_that_failed_is_no_build(self, settled: World) -> None:
        change(settled)
        controller = leaving(settled.controller(), lambda one: [as_made(settled.make(one, state="failed"))])
        report = controller.reconcile("web")
        assert "as what it made, and it is failed" in results(report)["web"].why
        assert new(settled) == []


class TestBroken:
    """Packer failed, or was stopped, after it had made the AMI."""

    @pytest.mark.parametrize(("named", "tagged"), [(True, False), (False, True), (True, True)])
    def test_what_says_whose_it_is_is_retired(self, settled: World, *, named: bool, tagged: bool) -> None:
        change(settled, named=named, tagged=tagged)
        controller = breaking(
            settled.controller(),
            lambda one: settled.make(one, tagged=tagged, name=None if named else "web"),
            lambda made: broken("post-processor failed", mentioned=[made.id]),
        )
        assert statuses(controller.reconcile("web")) == {"web": "failed"}
        assert new(settled) == []
        assert "which it had made, was retired" in notes(controller)
        assert "nothing was changed" not in notes(controller)

    def test_what_only_a_log_calls_its_own_is_told_and_left_alone(self, settled: World) -> None:
        change(settled, tagged=False)
        controller = breaking(
            settled.controller(),
            lambda one: settled.make(one, tagged=False, name="web"),
            lambda made: broken("post-processor failed", mentioned=[made.id]),
        )
        controller.reconcile("web")
        (made,) = new(settled)
        assert f"aws ec2 deregister-image --region {US} --image-id {made.id}" in notes(controller)
        failure = settled.lock("web").failure
        assert failure is not None
        assert failure.artifacts == ()

    def test_what_was_there_before_the_attempt_is_not_its_own_whatever_tags_somebody_gives_it(
        self, settled: World
    ) -> None:
        change(settled)
        stranger = settled.registry.seed(US, "payroll", tags={}, created="2025-01-01T00:00:00Z")
        controller = settled.controller()

        def during(request: BuildRequest) -> None:
            settled.registry.tag(stranger, request.run_tags)
            raise broken("it failed", mentioned=[stranger.id])

        controller.builder.during = during
        controller.reconcile("web")
        assert settled.registry.find(US, stranger.id) is not None

    def test_where_dates_are_marks_too_nothing_is_its_own_that_only_marks_say_it_made(self, settled: World) -> None:
        # Given a registry that tells no date, where somebody gives what is another's the marks of the running attempt
        change(settled)
        stranger = settled.registry.seed(US, "payroll", tags={})
        controller = settled.controller()

        def during(request: BuildRequest) -> None:
            now = format_instant(settled.clock())
            marked = replace(stranger, tags=dict(request.run_tags), created=now, hearsay=True)
            settled.registry._artifacts[stranger.place] = marked
            raise broken("it failed", mentioned=[stranger.id])

        controller.builder.during = during
        controller.reconcile("web")
        assert settled.registry.find(US, stranger.id) is not None

    def test_a_script_that_prints_the_id_of_anothers_ami_gets_nobody_retired(self, settled: World) -> None:
        change(settled)
        others = [one.id for one in settled.registry.artifacts]
        stranger = settled.registry.seed(US, "payroll", tags={}, created="2025-01-01T00:00:00Z")
        controller = settled.controller()

        def during(_: BuildRequest) -> None:
            raise broken("it failed", mentioned=[*others, stranger.id])

        controller.builder.during = during
        controller.reconcile("web")
        assert [one.id for one in settled.registry.artifacts] == [*others, stranger.id]
        assert stranger.id not in notes(controller)

    def test_what_cannot_be_retired_stays_on_record_until_it_can(self, settled: World) -> None:
        change(settled)
        controller = breaking(settled.controller(), settled.make, lambda made: broken("it failed", mentioned=[made.id]))
        surround(controller, failing(f"retire {US}", REFUSED)).reconcile("web")
        (made,) = new(settled)
        failure = settled.lock("web").failure
        assert failure is not None
        assert [one.id for one in failure.artifacts] == [made.id]
        assert f"{made.id} in {US}, which it made, stays for now" in notes(controller)
        settled.commit({"desired/web/setup.sh": "echo fixed\n"})
        assert statuses(settled.controller().reconcile("web")) == {"web": "built"}
        assert new(settled) == []

    def test_what_a_stopped_packer_had_made_is_retired(self, settled: World) -> None:
        change(settled)
        controller = settled.controller()

        def stopped(made: Seen) -> BuildFailed:
            controller.cancelled.set()
            return broken("build was cancelled", cause="cancelled", mentioned=[made.id])

        breaking(controller, settled.make, stopped)
        assert controller.reconcile("web").exit_code == 130
        assert (new(settled), settled.lock("web").failure) == ([], None)

    def test_a_fault_of_the_machine_leaves_nothing_and_is_on_no_record(self, settled: World) -> None:
        change(settled)
        head, refs = settled.head(), git(settled.origin, "for-each-ref")
        lacking = "this machine could not build it, 0:07 in: write /tmp/x: no space left on device"
        controller = breaking(
            settled.controller(), settled.make, lambda made: broken(lacking, cause="machine", mentioned=[made.id])
        )
        report = controller.reconcile("web")
        assert (report.exit_code, statuses(report)) == (3, {"web": "failed"})
        assert "this is no failure of the image" in notes(controller)
        assert (new(settled), settled.lock("web").failure) == ([], None)
        assert (settled.head(), git(settled.origin, "for-each-ref")) == (head, refs)
        assert statuses(settled.controller().reconcile("web")) == {"web": "built"}, "it does not rest"

    def test_a_fault_of_the_machine_is_on_no_record_of_a_preview_either(self, settled: World) -> None:
        change(settled)
        git(settled.root / "person", "push", "--quiet", "origin", "HEAD:more")
        controller = breaking(
            settled.controller(), settled.make, lambda one: broken("full", cause="machine", mentioned=[one.id])
        )
        git(settled.root / "ci", "fetch", "--quiet", "origin")
        git(settled.root / "ci", "checkout", "--quiet", "origin/more")
        refs = git(settled.origin, "for-each-ref", "refs/tags")
        assert statuses(controller.preview("more")) == {"web": "failed"}
        assert (new(settled), git(settled.origin, "for-each-ref", "refs/tags")) == ([], refs)

    def test_what_a_stopped_packer_was_making_is_retired_once_it_is_whole(self, settled: World) -> None:
        change(settled, named=True, tagged=False)
        controller = settled.controller()

        def stopped(made: Seen) -> BuildFailed:
            controller.cancelled.set()
            return broken("build was cancelled", cause="cancelled", mentioned=[made.id])

        breaking(controller, lambda one: settled.make(one, tagged=False, state="pending"), stopped).reconcile("web")
        (made,) = new(settled)
        assert made.own("image") == "web", "it says whose it is from now on"
        settled.registry.wait_available(US, made.id, timeout=1)
        settled.commit(
            {"desired/web/setup.sh": "true\n", "desired/web/name.pkr.hcl": None, "desired/web/image.pkr.hcl": TEMPLATE}
        )
        assert settled.controller().reconcile("web").results == (), "it may be somebody's who is at it still"
        settled.pass_days(2)
        assert statuses(settled.controller().reconcile("web")) == {"web": "changed"}
        assert new(settled) == []


class TestKilled:
    """Nobody was left to record anything."""

    def test_what_a_dead_run_left_is_retired_once_it_cannot_be_anybodys(self, settled: World) -> None:
        head = change(settled)
        with pytest.raises(Killed):
            surround(settled.controller(), Effects(die_at=0, when="after").around).reconcile("web")
        (made,) = new(settled)
        settled.clock.advance(hours=1)
        settled.controller().reconcile("web")
        assert [one.id for one in new(settled)] == [made.id], "its run may live"
        settled.pass_days(2)
        after = settled.controller()
        (reason,) = after.plan("web")["web"].reasons
        assert (reason.code, reason.was) == ("removed", f"{US} {made.id}, left by {made.own('build')}")
        after.reconcile("web")
        assert Retired("web", US, made.id) in after.told(Retired, "web")
        assert new(settled) == []
        assert_settled(settled, since=head)

    def test_a_long_build_of_another_run_is_left_alone(self, settled: World) -> None:
        change(settled)
        settled.commit({"desired/web/image.yaml": f"{ON_BASE}packer: {{timeout: 72h}}\n"})
        with pytest.raises(Killed):
            surround(settled.controller(), Effects(die_at=0, when="after").around).reconcile("web")
        (made,) = new(settled)
        settled.pass_days(2)
        settled.controller().reconcile("web")
        assert [one.id for one in new(settled)] == [made.id]


class TestTakenName:
    """A template that gives its AMIs the same name each time."""

    def refuse(self, world: World, controller: Controller) -> Controller:
        """EC2 takes no second AMI of a name."""

        def make(request: BuildRequest) -> Seen:
            holders = world.registry.named(US, "web")
            if holders:
                raise broken(f"Error: AMI Name: 'web' is used by an existing AMI: {holders[0].id}")
            return world.make(request, name="web")

        return leaving(controller, lambda one: [as_made(make(one))])

    def test_what_did_not_pass_its_test_makes_room_for_the_next_try(self, settled: World) -> None:
        head = change(settled)
        first = self.refuse(settled, settled.controller())
        first.tester.results = {"web": SmokeTestResult(status="failed", tests=1, why="it does not answer")}
        assert statuses(first.reconcile("web")) == {"web": "failed"}
        (rejected,) = new(settled)
        settled.clock.advance(hours=1)
        after = self.refuse(settled, settled.controller())
        assert statuses(after.reconcile("web")) == {"web": "built"}
        assert Retired("web", US, rejected.id) in after.told(Retired, "web")
        assert_settled(settled, since=head)

    def test_what_somebody_may_use_stays_and_the_way_out_is_told(self, settled: World) -> None:
        change(settled)
        self.refuse(settled, settled.controller()).reconcile("web")
        good = [one for one in settled.artifacts("web") if one.name == "web" and one.location == US]
        settled.commit({"desired/web/setup.sh": "echo another\n"})
        report = self.refuse(settled, settled.controller()).reconcile("web")
        assert [one.id for one in settled.registry.named(US, "web")] == [one.id for one in good]
        assert "ami_name = var.image_name" in str(results(report)["web"].error)
