"""What image.yaml rules of builds that are there: holds, revocations, and both taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from reconciler.git.proposal import PROPOSAL
from reconciler.model.care import Grants
from reconciler.model.errors import Transient, UserError
from reconciler.model.lockfile import Lockfile, Verdict
from reconciler.model.usage import Use
from reconciler.model.values import format_instant
from reconciler.plan.channels import verdict_tags
from tests.doubles.registry import Traits
from tests.integration.loop.effects import surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_channels import VALIDATED, build, standing
from tests.integration.loop.world import EU, ON_BASE, ON_DEBIAN, SETTINGS, US, World, git, image_files, statuses
from tests.integration.pull_request.pulls import Listener, assert_nothing_left, main


def held(build_id: str, *, declaration: str = ON_DEBIAN, until: str = "") -> str:
    return f'{declaration}hold: {{build: {build_id}, reason: "the new one eats memory"{until}}}\n'


def revoked(*build_ids: str, declaration: str = ON_DEBIAN) -> str:
    rows = "".join(f"  - {{build: {one}, reason: a key in it leaked}}\n" for one in build_ids)
    return f"{declaration}revoke:\n{rows}"


def as_it_was(lock: Lockfile) -> Lockfile:
    """A lockfile but for when a channel came back to a build, and when a revocation ended."""
    turns = {"returned": None, "recalled": None, "unrevoked": None}
    return lock.model_copy(update={"builds": tuple(one.model_copy(update=turns) for one in lock.builds)})


class TestHold:
    def test_stable_goes_back_to_the_build_and_says_so_everywhere(self, settled: World) -> None:
        (old,) = standing(settled)
        new = build(settled, "echo more")
        settled.commit({"desired/base/image.yaml": held(old)})

        planned = settled.controller().plan("base")["base"]
        assert planned.actions == ("promote",)
        assert [(one.code, one.was, one.now) for one in planned.reasons] == [
            ("channel-moved", f"stable {new}", f"stable {old}, held by desired/base/image.yaml:2:1"),
        ]
        assert planned.notes == (
            f"would promote {new}, held by desired/base/image.yaml:2:1: the new one eats memory",
        )  # fmt: skip
        head = settled.head()
        report = settled.controller().reconcile("base")
        assert statuses(report) == {"base": "changed"}
        # What it did names the tag that it made
        (made,) = report.results[0].tags
        assert made.startswith(f"verdict/base/{old}-held-")
        assert settled.lock("base").channels.stable == old
        assert settled.lock("base").channels.candidate == new
        assert standing(settled) == {old: {("stable", "stable")}, new: {("candidate", "candidate")}}
        assert settled.subjects(head)[0] == f"base: stable points to {old} (channel-moved)"
        settled.controller().reconcile()
        assert_settled(settled, since=head)

    def test_builds_go_on_and_stay_candidates(self, settled: World) -> None:
        (old,) = standing(settled)
        settled.commit({"desired/base/image.yaml": held(old)})
        new = build(settled, "echo more")
        newest = build(settled, "echo still more")
        channels = settled.lock("base").channels
        assert (channels.stable, channels.candidate) == (old, newest)
        assert standing(settled)[new] == {("superseded", "none")}

    def test_once_it_is_taken_back_stable_goes_on_to_the_newest(self, settled: World) -> None:
        (old,) = standing(settled)
        settled.commit({"desired/base/image.yaml": held(old)})
        new = build(settled, "echo more")
        head = settled.commit({"desired/base/image.yaml": ON_DEBIAN})
        settled.controller().reconcile()
        assert settled.lock("base").channels.stable == new
        assert standing(settled) == {old: {("superseded", "none")}, new: {("stable", "stable")}}
        assert_settled(settled, since=head)

    def test_a_verdict_is_recorded_and_moves_nothing_until_then(self, settled: World) -> None:
        (old,) = standing(settled)
        settled.commit({"desired/base/image.yaml": held(old, declaration=VALIDATED)})
        passed = build(settled, "echo more")
        settled.judge("base", "passed")
        settled.controller().reconcile("base")
        waits = build(settled, "echo still more")
        lock = settled.lock("base")
        assert (lock.channels.stable, lock.channels.candidate) == (old, waits)
        settled.commit({"desired/base/image.yaml": VALIDATED})
        settled.controller().reconcile("base")
        assert settled.lock("base").channels.stable == passed
        assert settled.lock("base").channels.candidate == waits

    def test_a_failure_of_the_build_itself_counts_once_the_hold_is_gone(self, settled: World) -> None:
        # Given a hold on an older build, as the newer one, which passed, is not to be used
        (old,) = standing(settled)
        new = build(settled, "echo more")
        settled.commit({"desired/base/image.yaml": held(old)})
        settled.controller().reconcile("base")

        # When whoever may tag says that the older one failed
        failed = Verdict(status="failed", by="somebody", evidence="none")
        for one in settled.artifacts("base"):
            if one.own("build") == old:
                settled.registry.tag(one, verdict_tags(failed))
        planned = settled.controller().plan("base")["base"]
        head = settled.head()
        settled.controller().reconcile("base")

        # Then stable stays, and it is told
        assert (settled.lock("base").channels.stable, settled.head()) == (old, head)
        told = f"{old} failed validation, which counts once the hold on it is gone (desired/base/image.yaml:2:1)"
        assert (planned.health, told in planned.notes, planned.errors) == ("degraded", True, ())
        settled.commit({"desired/base/image.yaml": ON_DEBIAN})
        settled.controller().reconcile("base")
        lock = settled.lock("base")
        assert (lock.channels.stable, [one.phase for one in lock.builds]) == (new, ["stable", "rejected"])

    def test_it_ends_on_its_day(self, settled: World) -> None:
        (old,) = standing(settled)
        new = build(settled, "echo more")
        settled.commit({"desired/base/image.yaml": held(old, until=", until: 2026-11-25")})
        settled.controller().reconcile("base")
        assert settled.lock("base").channels.stable == old
        settled.pass_days(5)
        settled.controller().reconcile("base")
        assert settled.lock("base").channels.stable == new
        # And a line that does nothing any more is said to
        (note,) = settled.controller().plan("base")["base"].notes
        ended = "the hold of desired/base/image.yaml:2:1 ended on 2026-11-25"
        assert note == f"{ended} and does nothing any more: take its line out"

    @pytest.mark.forms(quick=1)
    @pytest.mark.parametrize("unread", [False, True])
    def test_a_clock_that_jumps_ends_no_hold(self, settled: World, *, unread: bool) -> None:
        # Given a hold, and a machine whose clock jumps beyond its day while the registry's goes on
        (old,) = standing(settled)
        new = build(settled, "echo more")
        settled.commit({"desired/base/image.yaml": held(old, until=", until: 2026-11-25")})
        settled.controller().reconcile("base")
        now = settled.clock()
        settled.registry.times[US] = Transient("the region does not answer") if unread else now
        settled.pass_days(365)
        head = settled.head()

        # Then stable stays, what it is held to is kept, and it is said why
        planned = settled.controller().plan("base")["base"]
        assert settled.controller().reconcile("base").exit_code == 0
        assert (settled.head(), settled.lock("base").channels.stable) == (head, old)
        (note,) = [one for one in planned.notes if "has come by this machine's clock" in one]
        assert note.endswith(
            ", and the registry's can't be asked, so that stable is held still: the region does not answer" if unread
            else f", and not by the registry's ({format_instant(now)}), so that stable is held still"
        )  # fmt: skip
        fates = [one for one in settled.controller().collect(apply=False).artifacts if one.build == old]
        assert {(one.goes, one.code) for one in fates} == {(False, "held")}

        # And once both clocks agree it ends
        settled.registry.times[US] = settled.clock()
        assert settled.controller().reconcile("base").exit_code == 0
        assert settled.lock("base").channels.stable == new

    @pytest.mark.parametrize("unread", [False, True])
    def test_a_clock_that_jumps_ends_no_pause(self, settled: World, *, unread: bool) -> None:
        # Given an image that is left alone, and a machine whose clock jumps beyond the day that it is until
        files = {"desired/base/image.yaml": f"{ON_DEBIAN}suspend: {{reason: an outage, until: 2026-11-25}}\n"}
        settled.commit({**files, "desired/base/setup.sh": "echo more\n"})
        now = settled.clock()
        settled.registry.times[US] = Transient("the region does not answer") if unread else now
        settled.pass_days(365)
        head = settled.head()

        # Then it is left alone still, what gc would take of it, too, and it is said why
        planned = settled.controller().plan("base")["base"]
        assert (planned.health, planned.actions) == ("suspended", ("none",))
        assert settled.controller().reconcile("base").exit_code == 0
        assert settled.head() == head
        (note,) = [one for one in planned.notes if "has come by this machine's clock" in one]
        assert note.startswith("the day that the suspend of desired/base/image.yaml:2:1 ends on, 2026-11-25, has come")
        assert note.endswith(
            ", and the registry's can't be asked, so that the image is left alone still: the region does not answer"
            if unread
            else f", and not by the registry's ({format_instant(now)}), so that the image is left alone still"
        )  # fmt: skip
        fates = settled.controller().collect(apply=False).artifacts
        assert {one.code for one in fates if one.image == "base" and one.code == "suspended"} == {"suspended"}

        # And once both clocks agree it is built, and a line that does nothing any more is said to
        settled.registry.times[US] = settled.clock()
        assert settled.controller().reconcile("base").exit_code == 0
        assert settled.head() != head
        notes = settled.controller().plan("base")["base"].notes
        ended = "the suspend of desired/base/image.yaml:2:1 ended on 2026-11-25"
        assert f"{ended} and does nothing any more: take its line out" in notes

    @pytest.mark.parametrize(
        ("build_id", "why"),
        [("20200101T000000Z-1a2b3c4", "no such build is recorded"), (None, "is gone")],
        ids=["not recorded", "gone in a region"],
    )
    def test_it_is_refused_as_a_whole(self, settled: World, build_id: str | None, why: str) -> None:
        (old,) = standing(settled)
        new = build(settled, "echo more")
        gone = next(one for one in settled.artifacts("base") if one.own("build") == old and one.location == EU)
        if build_id is None:
            del settled.registry._artifacts[gone.location, gone.id]
        settled.commit({"desired/base/image.yaml": held(build_id or old)})
        planned = settled.controller().plan("base")["base"]
        assert planned.actions == ("none",)
        assert why in planned.errors[0]
        assert "desired/base/image.yaml:2:1" in planned.errors[0]
        head = settled.head()
        settled.controller().reconcile("base")
        assert settled.head() == head
        assert settled.lock("base").channels.stable == new

    def test_what_can_not_be_read_is_not_taken_for_there(self, settled: World) -> None:
        (old,) = standing(settled)
        new = build(settled, "echo more")
        settled.commit({"desired/base/image.yaml": held(old)})
        settled.registry.unreadable[EU] = "throttled"
        planned = settled.controller().plan("base")["base"]
        assert f"stable is held to {old} once {EU} can be read" in planned.notes
        settled.controller().reconcile("base")
        assert settled.lock("base").channels.stable == new

    def test_children_follow_what_stable_is_held_to(self, settled: World) -> None:
        (old,) = standing(settled)
        build(settled, "echo more")
        settled.controller().reconcile()
        was = settled.lock("web").builds[1].id
        settled.commit({"desired/base/image.yaml": held(old)})
        settled.controller().reconcile()
        source = settled.lock("web").builds[0].source
        assert source is not None
        assert (source.build, settled.lock("web").builds[0].id) == (old, was)

    def test_its_end_is_told_by_the_run_that_takes_the_build_out_of_the_lockfile_as_well(self, settled: World) -> None:
        # Given a build that stable is held to, and a newer one, of which one is kept
        receiver = Listener()
        (old,) = standing(settled, "web")
        one_kept = f"{ON_BASE}retain: {{builds: 1}}\n"
        settled.commit({"desired/web/image.yaml": held(old, declaration=one_kept)})
        main(settled, receiver).go()
        build(settled, "echo more", image="web")
        main(settled, receiver).go()
        receiver.heard.clear()
        settled.clock.advance(hours=1)

        # When the hold is taken away by the commit that brings another build
        settled.commit({"desired/web/image.yaml": one_kept, "desired/web/setup.sh": "echo even more\n"})
        main(settled, receiver).go()

        # Then it is told at once, though the build is in no lockfile any more, and gc tells of it once
        assert settled.lock("web").build(old) is None
        (told,) = [one for one in receiver.heard if one.build == old]
        assert (told.event, told.reason) == ("released", "its line was taken away from desired/web/image.yaml")
        settled.clock.advance(days=2)
        assert settled.controller().collect().failed == {}
        main(settled, receiver).go()
        assert [event for _, one, event in receiver.events if one == old] == ["released", "deprecated"]

    def test_what_a_child_goes_back_to_with_it_is_told_anew(self, settled: World) -> None:
        # Given a child that was built anew on its parent's newer build, and a receiver that heard of all of it
        receiver = Listener()
        (old,) = standing(settled)
        main(settled, receiver).go()
        new = build(settled, "echo more")
        main(settled, receiver).go()
        newest, first = (one.id for one in settled.lock("web").builds[:2])
        ids = {one.id for one in receiver.heard if (one.build, one.event) == (first, "stable")}

        # When its parent is held to the build before, and released again
        events = []
        for text in (held(old), ON_DEBIAN):
            receiver.heard.clear()
            settled.clock.advance(hours=1)
            settled.commit({"desired/base/image.yaml": text})
            main(settled, receiver).go()
            events.append([event for event in receiver.events if event[0] == "web"])
            ids |= {one.id for one in receiver.heard if (one.build, one.event) == (first, "stable")}
            assert settled.lock("web").channels.stable == events[-1][0][1]

        # Then each time it is told to which build its own `stable` came back, as an event of its own
        both = ("candidate", "stable")
        assert events == [[("web", one, channel) for channel in both] for one in (first, newest)]
        assert len(ids) == 2
        assert settled.lock("base").channels.stable == new
        assert_nothing_left(settled, receiver)


class TestRevocation:
    def test_channels_fall_back_and_children_inherit_it(self, settled: World) -> None:
        (good,) = standing(settled)
        (on_good,) = standing(settled, "web")
        bad = build(settled, "echo bad")
        settled.controller().reconcile()
        on_bad = settled.lock("web").channels.stable
        settled.commit({"desired/base/image.yaml": revoked(bad)})

        planned = settled.controller().plan()
        said = [(one.code, one.was, one.now) for one in planned["web"].reasons]
        assert said[0] == ("revoked", f"{on_bad} stable", f"revoked, for base {bad}: a key in it leaked")
        head = settled.head()
        settled.controller().reconcile()
        base, web = settled.lock("base"), settled.lock("web")
        assert (base.channels.stable, base.channels.candidate) == (good, good)
        assert (web.channels.stable, web.channels.candidate) == (on_good, on_good)
        assert standing(settled)[bad] == {("revoked", "none")}
        assert standing(settled, "web")[on_bad or ""] == {("revoked", "none")}
        recorded = base.build(bad)
        assert recorded is not None
        assert recorded.revoked is not None
        assert (recorded.phase, recorded.revoked.reason) == ("revoked", "a key in it leaked")
        again = settled.controller()
        assert again.reconcile().results == ()
        assert (again.built, settled.head()) == ([], settled.head())
        assert head != settled.head()

    def test_it_is_never_built_on_or_adopted_again(self, settled: World) -> None:
        (bad,) = standing(settled)
        good = build(settled, "echo good")
        settled.commit({"desired/base/image.yaml": revoked(bad), "desired/base/setup.sh": "true\n"})
        controller = settled.controller()
        controller.reconcile("base")
        assert settled.lock("base").channels.stable == good
        assert controller.built == []

    def test_nothing_else_with_its_key_is_adopted_in_its_place(self, settled: World) -> None:
        # Given a copy of a build that somebody made before it was revoked, and gave the marks of another of its key
        (bad,) = standing(settled)
        good = build(settled, "echo good")
        kept = next(one for one in settled.artifacts("base") if one.own("build") == bad)
        marks = {**kept.tags, "reconciler:build": f"{settled.clock():%Y%m%dT%H%M%SZ}-{bad[-7:]}"}
        marks |= {"reconciler:phase": "preliminary", "reconciler:channel": "none"}
        settled.registry.seed(US, "his-own", tags=marks)

        # When its inputs are what is wanted again
        settled.commit({"desired/base/image.yaml": revoked(bad), "desired/base/setup.sh": "true\n"})
        controller = settled.controller()
        controller.reconcile("base")
        controller.reconcile("base")

        # Then it stays what it was: refused
        assert settled.lock("base").channels.stable == good
        assert "was revoked" in (controller.plan("base")["base"].waits_for or "")

    def test_once_it_is_taken_back_all_is_as_before(self, settled: World) -> None:
        build(settled, "echo more")
        settled.controller().reconcile()
        before = {name: settled.lock(name) for name in ("base", "web")}
        stood = {name: standing(settled, name) for name in before}
        settled.commit({"desired/base/image.yaml": revoked(*(one.id for one in before["base"].builds))})
        settled.controller().reconcile()
        assert settled.lock("base").channels.stable is None
        assert settled.lock("web").channels.stable is None
        head = settled.commit({"desired/base/image.yaml": ON_DEBIAN})
        settled.controller().reconcile()
        after = {name: settled.lock(name) for name in before}
        assert {name: as_it_was(lock) for name, lock in after.items()} == before
        assert {name: standing(settled, name) for name in before} == stood
        assert_settled(settled, since=head)

    def test_what_comes_back_and_is_what_a_child_is_to_be_is_planned_as_it_is_done(self, pair: World) -> None:
        bad = self.child_gone_on(pair)
        pair.commit({"desired/base/image.yaml": ON_DEBIAN})

        controller = pair.controller()
        planned = {name: one.actions for name, one in controller.plan().items()}
        done = controller.reconcile()

        assert {name: actions[0] for name, actions in planned.items()} == {"base": "promote", "web": "adopt"}
        assert statuses(done) == {"base": "changed", "web": "adopted"}
        assert controller.built == []
        assert pair.lock("base").channels.stable == bad

    def test_what_can_not_be_enabled_is_not_built_in_its_place(self, pair: World) -> None:
        self.child_gone_on(pair)
        pair.commit({"desired/base/image.yaml": ON_DEBIAN})
        enabled: list[str] = []

        @contextmanager
        def around(what: str) -> Iterator[None]:
            enabled.extend([what] if what.startswith("enable ") else [])
            if len(enabled) == 3 and what.startswith("enable "):  # base was in both locations
                raise Transient("throttled")
            yield

        controller = surround(pair.controller(), around)
        assert statuses(controller.reconcile()) == {"base": "changed", "web": "failed"}
        assert controller.built == []

        assert statuses(controller.reconcile()) == {"web": "adopted"}
        assert controller.built == []

    def test_where_state_is_proposed_what_comes_back_is_adopted_once_that_is_merged(self, pair: World) -> None:
        self.child_gone_on(pair)
        pair.commit({
            "desired/base/image.yaml": ON_DEBIAN, "desired/reconciler.yaml": f"{SETTINGS}git: {{push: pull-request}}\n",
        })  # fmt: skip
        built: list[str] = []
        for _ in range(3):
            controller = pair.controller()
            controller.reconcile()
            built += controller.built
            git(pair.origin, "update-ref", "refs/heads/main", f"refs/heads/{PROPOSAL}")
        assert built == []
        assert_settled(pair, since=pair.head())

    def child_gone_on(self, world: World) -> str:
        """A build of base that is revoked, as is web on it, which has gone back to what it was before; its id."""
        bad = build(world, "echo bad")
        world.controller().reconcile()
        world.clock.advance(hours=1)
        world.commit({"desired/base/image.yaml": revoked(bad)})
        world.controller().reconcile()
        world.clock.advance(hours=1)
        return bad

    def test_a_child_stays_revoked_while_its_parent_is_invalid(self, settled: World) -> None:
        (bad,) = standing(settled)
        settled.commit({"desired/base/image.yaml": revoked(bad)})
        settled.controller().reconcile()
        settled.commit({"desired/base/image.yaml": "source: {ami: 3}\n", "desired/web/image.yaml": ON_BASE + "\n"})
        settled.controller().reconcile()
        (build_of_web,) = settled.lock("web").builds
        assert build_of_web.phase == "revoked"

    def test_it_is_not_held(self, settled: World) -> None:
        (bad,) = standing(settled)
        settled.commit({"desired/base/image.yaml": held(bad, declaration=revoked(bad))})
        planned = settled.controller().plan("base")["base"]
        assert "it is revoked: a key in it leaked" in planned.errors[0]

    @pytest.mark.forms(quick=1)
    @pytest.mark.parametrize("stopped", ["held", "suspended"])
    def test_whatever_else_stops_a_child_it_is_withdrawn_there(self, settled: World, stopped: str) -> None:
        # Given a child that is published, that has a child of its own, and with which nothing is done for now
        (bad,) = standing(settled)
        published = f'{ON_BASE}publish: {{ssm: "/images/{{image}}/{{channel}}"}}\n'
        settled.commit({"desired/web/image.yaml": published, "desired/web/setup.sh": "echo more\n"})
        settled.commit(image_files("app", "source: {image: web}\n"))
        settled.controller().reconcile()
        newer = settled.lock("web").channels.stable or ""
        paused = f"{published}suspend: {{reason: frozen for the sale}}\n"
        settled.commit({"desired/web/image.yaml": held(newer, declaration=published) if stopped == "held" else paused})
        settled.controller().reconcile()
        assert len(settled.publisher.values()) == 4

        # When the only build of its parent is revoked, and its child is changed
        settled.commit({"desired/base/image.yaml": revoked(bad), "desired/app/setup.sh": "echo new\n"})
        affected = settled.controller().plan("base")["base"].affects
        controller = settled.controller()
        for _ in range(3):
            controller.reconcile()

        # Then all of them are revoked, nobody finds them, and nothing was built on them meanwhile
        for name in ("base", "web", "app"):
            lock = settled.lock(name)
            assert {one.phase for one in lock.builds} == {"revoked"}, name
            assert (lock.channels.candidate, lock.channels.stable) == (None, None), name
        assert {one.state for one in settled.artifacts("web")} == {"disabled"}
        assert settled.publisher.values() == {}
        assert controller.built == []
        assert any("stable is held to it" in str(one) for one in affected) == (stopped == "held")

        # And once that is taken back, all is as it was
        settled.commit({"desired/base/image.yaml": ON_DEBIAN})
        for _ in range(2):
            settled.controller().reconcile("web")
        assert settled.lock("web").channels.stable == newer
        assert {one.state for one in settled.artifacts("web")} == {"available"}
        assert controller.plan("web")["web"].errors == ()

    def test_a_paused_image_is_left_alone_by_all_other_rulings(self, settled: World) -> None:
        (old,) = standing(settled)
        new = build(settled, "echo more")
        settled.commit({"desired/base/image.yaml": held(old)})
        settled.controller().reconcile("base")
        paused = "suspend: {reason: frozen for the sale}\n"
        head = settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{paused}"})

        assert settled.controller().reconcile("base").results == ()
        assert (settled.head(), settled.lock("base").channels.stable) == (head, old)

        settled.commit({"desired/base/image.yaml": ON_DEBIAN})
        settled.controller().reconcile("base")
        assert settled.lock("base").channels.stable == new

    def test_a_hold_on_it_ends_in_an_error_and_stable_goes_back_to_what_is_older(self, settled: World) -> None:
        (older,) = standing(settled)
        bad = build(settled, "echo bad")
        newest = build(settled, "echo newest")
        settled.commit({"desired/base/image.yaml": held(bad)})
        settled.controller().reconcile("base")

        settled.commit({"desired/base/image.yaml": held(bad, declaration=revoked(bad))})
        controller = settled.controller()
        controller.reconcile("base")

        # It was held back from the newest
        channels = settled.lock("base").channels
        assert (channels.stable, channels.candidate) == (older, newest)
        assert "it is revoked: a key in it leaked" in controller.plan("base")["base"].errors[0]

    def test_one_that_is_refused_keeps_no_other_from_being_carried_out(self, settled: World) -> None:
        (used,) = standing(settled)
        bad = build(settled, "echo bad")
        (artifact, *_) = (one for one in settled.lock("base").builds[-1].artifacts if one.location == EU)
        settled.registry.uses = [Use((EU, artifact.id), "instance i-1 (running)", "replace it")]
        settled.commit({"desired/base/image.yaml": revoked(used, bad)})
        controller = settled.controller()

        controller.reconcile("base")

        phases = {one.id: one.phase for one in settled.lock("base").builds}
        assert phases == {used: "stable", bad: "revoked"}
        assert "it is in use" in controller.plan("base")["base"].errors[0]

    def test_nothing_is_built_on_what_inherits_it_where_the_declaration_is_invalid(self, settled: World) -> None:
        (bad,) = standing(settled)
        settled.commit(image_files("app", "source: {image: web}\n"))
        settled.controller().reconcile()
        (of_web,) = standing(settled, "web")
        settled.commit({"desired/web/image.yaml": "source: {ami: 3}\n"})
        settled.commit({"desired/base/image.yaml": revoked(bad), "desired/app/setup.sh": "echo new\n"})

        planned = settled.controller().plan()
        controller = settled.controller()
        for _ in range(2):
            controller.reconcile()

        assert controller.built == []
        assert settled.lock("app").channels.stable is None
        assert f"web {of_web} is built on base {bad}, and is not revoked: web is invalid" in planned["base"].notes

    def test_where_a_location_can_not_be_read_it_counts_all_the_same(self, settled: World) -> None:
        (good,) = standing(settled)
        bad = build(settled, "echo bad")
        settled.commit({"desired/base/image.yaml": revoked(bad)})
        settled.registry.unreadable[US] = "throttled"
        settled.controller().reconcile("base")
        assert settled.lock("base").channels.stable == good

    def test_a_build_that_nobody_knows_is_told(self, settled: World) -> None:
        settled.commit({"desired/base/image.yaml": revoked("20200101T000000Z-1a2b3c4")})
        planned = settled.controller().plan("base")["base"]
        assert planned.actions == ("none",)
        assert planned.notes == (
            "20200101T000000Z-1a2b3c4 is revoked, and no lockfile names it (desired/base/image.yaml:3:5)",
        )

    @pytest.mark.thorough
    def test_a_build_that_no_lockfile_names_is_withdrawn_with_what_stands_on_it(self, settled: World) -> None:
        # Given builds of a parent and of its child that newer ones took out of the lockfiles
        old, on_old = (settled.lock(name).builds[0].id for name in ("base", "web"))
        few = "retain: {builds: 1}\n"
        for text in ("echo two", "echo three"):
            settled.clock.advance(hours=30)
            settled.commit({
                "desired/base/setup.sh": text, "desired/base/image.yaml": f"{ON_DEBIAN}{few}",
                "desired/web/image.yaml": f"{ON_BASE}{few}",
            })  # fmt: skip
            settled.controller().reconcile()
        gone = {"base": old, "web": on_old}
        assert all(settled.lock(name).build(one) is None for name, one in gone.items())
        stood = {name: standing(settled, name) for name in gone}

        # When the parent's is revoked, then the plan says of both what can be used still
        settled.commit({"desired/base/image.yaml": revoked(old, declaration=f"{ON_DEBIAN}{few}")})
        planned = settled.controller().plan()
        for name, why in (("base", "is revoked (desired/base/image.yaml:4:5)"), ("web", "stands on what is revoked")):
            (note,) = planned[name].notes
            assert note.startswith(f"{gone[name]} {why}, and no lockfile names it; ")
            assert note.endswith(" can be used still: the next `reconcile` withdraws it")

        # And the next run records both, and disables them, and the one after it does nothing
        settled.controller().reconcile()
        for name, one in gone.items():
            build_ = settled.lock(name).build(one)
            assert build_ is not None
            assert build_.phase == "revoked"
            assert {seen.state for seen in settled.artifacts(name) if seen.own("build") == one} == {"disabled"}
            assert standing(settled, name) == {**stood[name], one: {("revoked", "none")}}
        assert_settled(settled, since=settled.head())

        # And once the line is gone all is as it was before
        settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{few}"})
        settled.controller().reconcile()
        for name, one in gone.items():
            assert {seen.state for seen in settled.artifacts(name) if seen.own("build") == one} == {"available"}

    @pytest.mark.forms(quick=1)
    @pytest.mark.parametrize("used", ["in use", "not known"])
    def test_one_that_is_in_use_waits_until_it_is_declared_so(self, settled: World, used: str) -> None:
        old = settled.lock("web").builds[0].id
        few = f"{ON_BASE}retain: {{builds: 1}}\n"
        for text in ("echo two", "echo three"):
            settled.clock.advance(hours=30)
            settled.commit({"desired/web/setup.sh": text, "desired/web/image.yaml": few})
            settled.controller().reconcile()
        artifact = next(one for one in settled.artifacts("web") if one.own("build") == old and one.location == US)
        if used == "in use":
            settled.registry.uses = [Use(artifact.place, "instance i-1 (running)", "replace it")]
        else:
            settled.registry.unread_usage[US] = "listing instances: not allowed"
        rows = f"{few}revoke: [{{build: {old}, reason: CVE"

        settled.commit({"desired/web/image.yaml": f"{rows}}}]\n"})
        settled.controller().reconcile()
        assert settled.lock("web").build(old) is None
        settled.commit({"desired/web/image.yaml": f"{rows}, even_if_in_use: true}}]\n"})
        settled.controller().reconcile()
        assert {one.state for one in settled.artifacts("web") if one.own("build") == old} == {"disabled"}

    def test_where_state_is_proposed_it_is_told_what_can_be_used_until_gc_has_recorded_it(self, settled: World) -> None:
        old = settled.lock("web").builds[0].id
        for text in ("echo two", "echo three"):
            settled.clock.advance(hours=30)
            settled.commit(
                {"desired/web/setup.sh": text, "desired/web/image.yaml": f"{ON_BASE}retain: {{builds: 1}}\n"}
            )
            settled.controller().reconcile()
        declared = f"{ON_BASE}retain: {{builds: 1}}\nrevoke: [{{build: {old}, reason: CVE}}]\n"
        proposing = f"{SETTINGS}git: {{push: pull-request}}\n"
        settled.commit({"desired/web/image.yaml": declared, "desired/reconciler.yaml": proposing})
        (note,) = settled.controller().plan()["web"].notes
        assert f"{old} is revoked (desired/web/image.yaml:3:10), and no lockfile names it; " in note
        assert note.endswith("can be used still: the run after the next `gc --apply` withdraws it")
        settled.controller().reconcile()
        assert {one.state for one in settled.artifacts("web") if one.own("build") == old} == {"available"}


class TestAnnounced:
    """Whoever goes by what is told hears of every turn, each once."""

    def test_stable_that_comes_back_is_told_anew(self, settled: World) -> None:
        listener = Listener()
        (old,) = standing(settled)
        settled.commit({"desired/base/setup.sh": "echo more\n"})
        main(settled, listener).go("base")
        new = settled.lock("base").channels.stable
        settled.clock.advance(hours=1)
        settled.commit({"desired/base/image.yaml": held(old)})
        main(settled, listener).go("base")
        settled.clock.advance(hours=1)
        settled.commit({"desired/base/image.yaml": ON_DEBIAN})
        main(settled, listener).go("base")
        turns = [(what.build, what.id) for what in listener.heard if what.event == "stable" and what.image == "base"]
        assert [build_id for build_id, _ in turns[-3:]] == [new, old, new]
        assert len({told for _, told in turns}) == len(turns)
        heard = len(listener.heard)
        main(settled, listener).go("base")
        assert len(listener.heard) == heard

    def test_channels_that_fall_back_from_what_was_rejected_are_told_anew(self, pair: World) -> None:
        # Given a build that passed, after which another did, and failed later
        listener = Listener()
        (old,) = standing(pair)
        pair.commit({"desired/base/image.yaml": VALIDATED})
        main(pair, listener).go("base")
        new = build(pair, "echo more")
        for status in ("passed", "failed"):
            pair.judge("base", status)
            main(pair, listener).go("base")
            pair.clock.advance(hours=1)

        # Then those who are told hear where both channels are by that, once
        assert listener.events[-3:] == [("base", new, "rejected"), ("base", old, "candidate"), ("base", old, "stable")]
        turns = [what.id for what in listener.heard if what.event == "stable"]
        assert len(set(turns)) == len(turns)
        assert_nothing_left(pair, listener)

    def test_a_revocation_is_told_with_its_reason_also_of_what_inherits_it(self, settled: World) -> None:
        listener = Listener()
        main(settled, listener).go()
        bad = build(settled, "echo bad")
        main(settled, listener).go()
        on_bad = settled.lock("web").channels.stable
        settled.commit({"desired/base/image.yaml": revoked(bad)})
        main(settled, listener).go()
        told = {(what.image, what.build): what.reason for what in listener.heard if what.event == "revoked"}
        assert told["base", bad] == "a key in it leaked"
        assert told["web", on_bad or ""] == f"a key in it leaked (built on base {bad})"

    @pytest.mark.thorough
    def test_each_end_of_a_revocation_is_told_once_also_of_what_inherited_it(self, settled: World) -> None:
        # Given a build, and one that was built on it, which are revoked, and revoked again after that was taken back
        listener = Listener()
        main(settled, listener).go()
        bad = build(settled, "echo bad")
        main(settled, listener).go()
        on_bad = settled.lock("web").channels.stable or ""
        listener.heard.clear()
        for declaration in (revoked(bad), ON_DEBIAN, revoked(bad), ON_DEBIAN):
            settled.clock.advance(hours=1)
            settled.commit({"desired/base/image.yaml": declaration})
            for _ in range(2):
                main(settled, listener).go()

        # Then each turn of either is told, before where `stable` goes by it, and each by an id of its own
        for image, build_id in (("base", bad), ("web", on_bad)):
            turns = [what for what in listener.heard if (what.image, what.build) == (image, build_id)]
            assert [what.event for what in turns] == ["revoked", "unrevoked", "candidate", "stable"] * 2
            assert len({what.id for what in turns}) == len(turns)
            assert {what.reason for what in turns if what.event == "unrevoked"} == {None}
            assert {one.phase for one in settled.lock(image).builds if one.id == build_id} == {"stable"}
        assert_nothing_left(settled, listener)

    def test_a_hold_is_told_once_and_so_is_its_end_and_the_next_one_anew(self, settled: World) -> None:
        # Given what `stable` points to, held where it is
        listener = Listener()
        main(settled, listener).go()
        (good,) = standing(settled)
        listener.heard.clear()
        until = ", until: 2026-12-24"

        # When it is released and held again
        for declaration in (held(good, until=until), ON_DEBIAN, held(good)):
            settled.clock.advance(hours=1)
            settled.commit({"desired/base/image.yaml": declaration})
            for _ in range(2):
                main(settled, listener).go()

        # Then each is told, by its own id, with why, until when and where that is declared; and recorded
        assert listener.events == [("base", good, one) for one in ("held", "released", "held")]
        first, end, again = listener.heard
        assert (first.reason, end.reason) == (
            "the new one eats memory", "its line was taken away from desired/base/image.yaml",
        )  # fmt: skip
        place = "desired/base/image.yaml:2:1"
        assert [one.hold and (str(one.hold.until), one.hold.declared) for one in listener.heard] == [
            ("2026-12-24", place), None, ("None", place),
        ]  # fmt: skip
        assert len({one.id for one in (first, end, again)}) == 3
        assert [subject for subject in settled.subjects() if "held" in subject] == [
            f"base: stable {good} is held (channel-moved)", f"base: stable {good} is held no more (channel-moved)",
            f"base: stable {good} is held (channel-moved)",
        ]  # fmt: skip
        assert_nothing_left(settled, listener)

    def test_a_hold_that_moves_stable_is_told_after_that_and_its_end_by_its_day(self, settled: World) -> None:
        listener = Listener()
        main(settled, listener).go()
        (old,) = standing(settled)
        new = build(settled, "echo more")
        main(settled, listener).go("base")
        listener.heard.clear()
        settled.clock.advance(hours=1)
        settled.commit({"desired/base/image.yaml": held(old, until=", until: 2026-11-25")})
        main(settled, listener).go("base")
        assert listener.events == [("base", old, "stable"), ("base", old, "held")]
        settled.pass_days(5)
        main(settled, listener).go("base")
        assert listener.events[2:] == [("base", old, "released"), ("base", new, "stable")]
        assert listener.heard[2].reason == "its day has come, 2026-11-25 (desired/base/image.yaml:2:1)"
        main(settled, listener).go()
        assert_nothing_left(settled, listener)

    def test_a_hold_that_goes_to_another_build_is_over_for_the_first(self, settled: World) -> None:
        listener = Listener()
        main(settled, listener).go()
        (old,) = standing(settled)
        new = build(settled, "echo more")
        settled.commit({"desired/base/image.yaml": held(new)})
        main(settled, listener).go("base")
        listener.heard.clear()
        settled.clock.advance(hours=1)
        settled.commit({"desired/base/image.yaml": held(old)})
        main(settled, listener).go("base")
        assert listener.events == [("base", new, "released"), ("base", old, "stable"), ("base", old, "held")]
        assert listener.heard[0].reason == f"stable is held to {old} in its place (desired/base/image.yaml:2:1)"

    def test_the_end_of_the_one_is_told_before_the_other_begins_whichever_is_newer(self, settled: World) -> None:
        listener = Listener()
        (old,) = standing(settled)
        new = build(settled, "echo more")
        settled.commit({"desired/base/image.yaml": held(old)})
        main(settled, listener).go("base")
        listener.heard.clear()
        settled.clock.advance(hours=1)
        settled.commit({"desired/base/image.yaml": held(new)})
        main(settled, listener).go("base")
        assert listener.events == [("base", old, "released"), ("base", new, "stable"), ("base", new, "held")]

    @pytest.mark.thorough
    def test_a_hold_that_a_revocation_overrules_is_over_until_that_is_taken_back(self, settled: World) -> None:
        # Given a child that is held to what was built on its parent's newest build
        listener = Listener()
        main(settled, listener).go()
        bad = build(settled, "echo bad")
        main(settled, listener).go()
        on_bad = settled.lock("web").builds[0].id
        settled.commit({"desired/web/image.yaml": held(on_bad, declaration="source: {image: base}\n")})
        main(settled, listener).go()
        listener.heard.clear()

        # When that is revoked, and is no more
        for declaration in (revoked(bad), ON_DEBIAN):
            settled.clock.advance(hours=1)
            settled.commit({"desired/base/image.yaml": declaration})
            main(settled, listener).go()
            head = settled.head()
            main(settled, listener).go()
            assert settled.head() == head

        # Then it is told that the hold is over, and why, and that it binds once more
        of_it = [what for what in listener.heard if what.build == on_bad]
        assert [what.event for what in of_it] == [
            "revoked", "released", "unrevoked", "candidate", "stable", "held",
        ]  # fmt: skip
        assert of_it[1].reason == f"it is revoked: a key in it leaked (built on base {bad})"
        assert settled.lock("web").builds[0].is_held
        assert_nothing_left(settled, listener)

    def test_who_did_not_hear_of_a_hold_hears_of_it_later_unless_it_is_over(self, settled: World) -> None:
        # Given a receiver that is down when a hold is recorded, and one that nobody asked for yet
        listener = Listener()
        main(settled, listener).go()
        (good,) = standing(settled)
        listener.heard.clear()
        listener.fails = Transient("down")
        settled.commit({"desired/base/image.yaml": held(good)})
        main(settled, listener).go()
        assert [(one.event, one.build) for one in settled.lock("base").undelivered] == [("held", good)]

        # When it answers again eight days later, and the other one is asked for
        settled.pass_days(8)
        listener.fails, newcomer = None, Listener("sns")
        main(settled, listener, newcomer).go()

        # Then the first hears of it, as it hears of all of a build, and the other of nothing that old
        assert listener.events == [("base", good, "held")]
        assert newcomer.events == []
        assert settled.lock("base").undelivered == ()

        # And a hold that is over before anybody could be told of it is told as over alone
        for declaration, fails in ((ON_DEBIAN, None), (held(good), Transient("down")), (ON_DEBIAN, None)):
            settled.clock.advance(hours=1)
            listener.heard.clear()
            listener.fails = fails
            settled.commit({"desired/base/image.yaml": declaration})
            main(settled, listener, newcomer).go()
        assert [event for _, _, event in listener.events] == ["released"]
        assert settled.lock("base").undelivered == ()
        assert_nothing_left(settled, listener, newcomer)

    def test_a_hold_that_is_only_proposed_is_told_once_it_is_merged(self, settled: World) -> None:
        listener = Listener()
        main(settled, listener).go()
        (good,) = standing(settled)
        listener.heard.clear()
        direct = git(settled.origin, "show", "main:desired/reconciler.yaml")
        settled.commit({
            "desired/reconciler.yaml": f"{direct}\ngit: {{push: pull-request}}\n",
            "desired/base/image.yaml": held(good),
        })  # fmt: skip
        main(settled, listener).go()
        assert listener.events == []
        git(settled.origin, "update-ref", "refs/heads/main", f"refs/heads/{PROPOSAL}")
        main(settled, listener).go()
        assert listener.events == [("base", good, "held")]


class TestUsage:
    """What something uses is not revoked before a person says that it is to be, and sees what that takes away."""

    def use(self, world: World, image: str, build_id: str) -> Use:
        artifact = next(one for one in world.artifacts(image) if one.own("build") == build_id and one.location == US)
        return Use((US, artifact.id), "instance i-0abc (running)", "replace it")

    def test_a_revocation_is_refused_as_a_whole_with_each_use(self, settled: World) -> None:
        bad = build(settled, "echo bad")
        settled.controller().reconcile()
        before = settled.head()
        use = self.use(settled, "web", settled.lock("web").channels.stable or "")
        settled.registry.uses.append(use)
        settled.commit({"desired/base/image.yaml": revoked(bad)})
        planned = settled.controller().plan()
        first, *rest = planned["base"].errors[0].splitlines()
        assert first == f"desired/base/image.yaml:3:5: {bad} can't be revoked yet: it is in use"
        assert rest[0].strip() == f"instance i-0abc (running) in {US} uses {use.place[1]}: replace it"
        assert [one.code for one in planned["web"].reasons] == []
        settled.controller().reconcile()
        assert settled.lock("base").channels.stable == bad
        assert settled.subjects(before) == ["Change"]

    def test_of_many_uses_the_first_are_said_with_every_child_and_the_json_has_all(self, settled: World) -> None:
        # Given a build that 25 machines run, and images built on it, one on the other
        bad = build(settled, "echo bad")
        settled.controller().reconcile()
        on_bad = settled.lock("web").channels.stable or ""
        place = self.use(settled, "base", bad).place
        settled.registry.uses += [Use(place, f"instance i-{number:03} (running)", "replace it") for number in range(25)]

        # When it is to be revoked
        settled.commit({"desired/base/image.yaml": revoked(bad)})
        planned = settled.controller().plan()["base"]

        # Then twenty are said, how many more there are and where they stand, and what inherits it with a command
        lines = [line.strip() for line in planned.errors[0].splitlines()]
        assert lines[20].endswith(f"i-019 (running) in {US} uses {place[1]}: replace it")
        assert lines[21] == "and 5 more: `reconciler plan base --json` lists all of them (`affects`)"
        child = f"web {on_bad} would be revoked as well: it is built on base {bad}"
        assert f"{child}: `reconciler plan web` says what takes its place" in lines
        assert sum(not one.is_child for one in planned.affects) == 25
        assert {one.image for one in planned.affects if one.is_child} == {"api", "web"}
        assert {one.revoked for one in planned.affects} == {bad}

    def test_what_is_revoked_all_the_same_is_told(self, settled: World) -> None:
        (good,) = standing(settled)
        bad = build(settled, "echo bad")
        use = self.use(settled, "base", bad)
        settled.registry.uses.append(use)
        even = revoked(bad).replace("leaked}", "leaked, even_if_in_use: true}")
        settled.commit({"desired/base/image.yaml": even})
        planned = settled.controller().plan("base")["base"]
        assert planned.notes == (
            f"{bad} is revoked although in use: instance i-0abc (running) in {US} uses {use.place[1]}: replace it",
        )  # fmt: skip
        settled.controller().reconcile("base")
        assert settled.lock("base").channels.stable == good

    def test_what_could_not_be_asked_may_be_in_use(self, settled: World) -> None:
        bad = build(settled, "echo bad")
        settled.registry.unread_usage[EU] = "listing instances: not allowed"
        settled.commit({"desired/base/image.yaml": revoked(bad)})
        planned = settled.controller().plan("base")["base"]
        assert "is not known: listing instances: not allowed" in planned.errors[0]

    def test_whether_others_use_what_is_shared_with_them_has_to_be_known(self, settled: World) -> None:
        bad = build(settled, "echo bad")
        use = self.use(settled, "base", bad)
        registry = settled.registry
        registry.traits[use.place] = Traits(launched_by=Grants.of(["222222222222"]))
        registry.reports = {}
        registry.used_elsewhere = {use.place[1]: (replace(use, by="account 222222222222 (2 instances)"),)}
        settled.commit({"desired/base/image.yaml": revoked(bad)})
        for _ in range(2):
            (said,) = settled.controller().plan("base")["base"].errors
            assert f"whether other accounts use {use.place[1]} in {US} is not known: there is no report" in said
        assert registry.reports == {}, "a plan asks for nothing"
        settled.controller().reconcile("base")
        (said,) = settled.controller().plan("base")["base"].errors
        assert f"account 222222222222 (2 instances) in {US} uses {use.place[1]}" in said
        registry.reports = {use.place[1]: ()}
        settled.controller().reconcile("base")
        assert settled.lock("base").channels.stable != bad

    def test_what_is_recorded_as_revoked_is_not_asked_about_again(self, settled: World) -> None:
        bad = build(settled, "echo bad")
        settled.commit({"desired/base/image.yaml": revoked(bad)})
        settled.controller().reconcile()
        settled.registry.uses.append(self.use(settled, "base", bad))
        asked = settled.registry.calls["usage"]
        assert settled.controller().plan("base")["base"].errors == ()
        assert settled.registry.calls["usage"] == asked


def test_what_is_ruled_of_a_build_is_told_by_an_annotated_tag(settled: World) -> None:
    # Given a build that is held, revoked and released again
    (good,) = standing(settled)
    bad = build(settled, "echo bad")
    told: list[str] = []
    for declaration in (held(good), ON_DEBIAN, revoked(bad), ON_DEBIAN):
        settled.commit({"desired/base/image.yaml": declaration})
        settled.controller().reconcile("base")
        settled.clock.advance(minutes=1)
        names = git(settled.origin, "tag", "--list", "verdict/base/*").splitlines()
        told += sorted(set(names) - set(told))

    # And held once more, where it is
    settled.commit({"desired/base/image.yaml": held(bad)})
    settled.controller().reconcile("base")
    assert git(settled.origin, "tag", "--list", f"verdict/base/{bad}-held-*") != ""

    # Then each of these has a tag of its own, with why
    assert [name.rpartition("-")[0].removeprefix("verdict/base/") for name in told] == [
        f"{good}-held", f"{good}-released", f"{bad}-revoked", f"{bad}-unrevoked",
    ]  # fmt: skip
    said = [git(settled.origin, "tag", "--list", "--format=%(contents)", name) for name in told]
    assert "why: a key in it leaked" in said[2]
    assert f"base {bad}: unrevoked" in said[3]


def test_a_revocation_is_carried_out_also_where_a_run_would_act_on_too_many_images(settled: World) -> None:
    # Given a build with children, which is revoked while more has drifted than one run may act on
    (old,) = standing(settled)
    publish = 'publish: {ssm: "/images/{image}/{channel}"}\n'
    declaration = f"{ON_DEBIAN}{publish}"
    settled.commit({"desired/base/image.yaml": declaration})
    settled.controller().reconcile()
    settled.commit({
        "desired/base/image.yaml": revoked(old, declaration=declaration), "desired/tools/setup.sh": "echo more\n",
        "desired/reconciler.yaml": f"{SETTINGS}limits: {{max_actions: 1}}\n",
    })  # fmt: skip
    controller = settled.controller()

    # When the job runs, of which nobody knows
    with pytest.raises(UserError, match=r"may act on 1 .*: 3 images had builds revoked, and no more was done"):
        controller.reconcile()

    # Then nobody gets what is revoked, nor what was built on it; and nothing is built
    assert controller.built == []
    for name in ("base", "web", "api"):
        lock = settled.lock(name)
        assert ({one.phase for one in lock.builds}, lock.channels.stable) == ({"revoked"}, None)
        assert {one.state for one in settled.artifacts(name)} == {"disabled"}
    assert settled.publisher.values() == {}
    assert settled.lock("tools").builds[0].phase == "stable"

    # And the next run goes on with what is left
    settled.controller().reconcile()
    assert len(settled.lock("tools").builds) == 2


def test_what_is_gone_when_a_revocation_ends_says_that_the_next_run_brings_it(settled: World) -> None:
    # Given a published build that was revoked, and one of whose artifacts somebody removed meanwhile
    (old,) = standing(settled)
    declaration = f'{ON_DEBIAN}publish: {{ssm: "/images/{{image}}/{{channel}}"}}\n'
    settled.commit({"desired/base/image.yaml": declaration})
    settled.controller().reconcile()
    before = settled.publisher.values()
    settled.commit({"desired/base/image.yaml": revoked(old, declaration=declaration)})
    settled.controller().reconcile()
    gone = next(one for one in settled.artifacts("base") if one.own("build") == old and one.location == EU)
    del settled.registry._artifacts[gone.location, gone.id]

    # When the revocation is taken away
    settled.commit({"desired/base/image.yaml": declaration})
    report = settled.controller().reconcile()

    # Then it is published where it is, and what is missing is said with what comes next
    (failed,) = [one.error for one in report.results if one.error is not None and one.image == "base"]
    assert failed.what == f"{gone.id} is not published in {EU}: it is not there"
    assert "the next run finds it missing there" in failed.hint[0]
    assert settled.controller().reconcile().exit_code == 0
    after = settled.publisher.values()
    assert after.keys() == before.keys()
    assert gone.id not in after.values()
