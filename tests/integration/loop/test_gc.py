"""Away again: what nobody needs is deprecated, disabled and removed, in steps with waits, and a hold brings it back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from reconciler.git.proposal import PROPOSAL
from reconciler.model.care import Care, Grants
from reconciler.model.collection import Abandoned, Collection, Fate
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Build, Conversion, Leaving, Verdict
from reconciler.model.observation import TAG_PREFIX, Seen, version_words
from reconciler.model.usage import Use
from reconciler.model.values import format_instant, parse_instant
from reconciler.ports.registry import Remains
from reconciler.state.lockfiles import parse, path_of, render
from tests.doubles.registry import Traits
from tests.integration.loop.adapters import NobodyShows
from tests.integration.loop.effects import Effects, Killed, failing, meanwhile, surround
from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_channels import build, retag
from tests.integration.loop.test_rulings import held, revoked
from tests.integration.loop.world import (
    EU,
    FLEET,
    ON_BASE,
    ON_DEBIAN,
    RETAIN,
    SETTINGS,
    US,
    World,
    git,
    image_files,
    no_image_files,
)
from tests.integration.pull_request.pulls import Listener, assert_nothing_left, main


def declare(world: World, extra: str = "") -> None:
    world.commit({"desired/web/image.yaml": f"{ON_BASE}{RETAIN}{extra}"})


def oldest(world: World) -> list[Seen]:
    """What is there of web's oldest build, in both locations."""
    first = min(one.own("build") or "" for one in world.artifacts("web"))
    return sorted((one for one in world.artifacts("web") if one.own("build") == first), key=lambda one: one.location)


def fates(collection: Collection, code: str | None = None) -> dict[tuple[str, str], Fate]:
    return {(one.location, one.id): one for one in collection.artifacts if code in (None, one.code)}


def entry(world: World) -> Leaving:
    (found,) = world.lock("web").leaving
    return found


def steps(collection: Collection) -> list[str]:
    return [one.step for one in collection.took]


def test_a_build_that_no_lockfile_has_goes_in_three_steps_with_its_snapshots(grown: World) -> None:
    gone = oldest(grown)
    assert grown.lock("web").build(gone[0].own("build")) is None
    head = grown.head()

    judged = grown.controller().collect(apply=False)
    assert {place for place, one in fates(judged).items() if one.goes} == {one.place for one in gone}
    assert Counter(one.code for one in judged.artifacts) == {"superseded": 2, "channel": 4, "fallback": 2}
    assert (grown.head(), judged.took) == (head, ())

    assert steps(grown.controller().collect()) == ["deprecate", "deprecate"]
    began = entry(grown)
    assert began.build.id == gone[0].own("build")
    assert began.build.inventory is not None
    assert began.build.inventory.sbom in grown.sboms()
    assert [(one.location, one.id) for one in began.build.artifacts] == [one.place for one in gone]
    assert all(one.deprecated and one.state == "available" for one in oldest(grown))
    grown.clock.advance(days=13)
    assert steps(grown.controller().collect()) == []
    assert entry(grown) == began

    grown.clock.advance(days=1)
    assert steps(grown.controller().collect()) == ["disable", "disable"]
    assert [one.state for one in oldest(grown)] == ["disabled", "disabled"]
    assert entry(grown).deprecated == began.deprecated
    assert_settled(grown, since=head)

    grown.clock.advance(days=14)
    assert steps(grown.controller().collect()) == ["retire", "retire"]
    assert not {one.id for one in gone} & {one.id for one in grown.registry.artifacts}
    assert grown.lock("web").leaving == ()
    assert [subject.partition(" (")[0] for subject in grown.subjects(head)] == [
        "web: retire", "web: disable", "web: deprecate",
    ]  # fmt: skip
    assert_settled(grown, since=head)
    assert steps(grown.controller().collect()) == []


def template_versions(
    world: World, gone: list[Seen], *, spare: bool, says: str | None = None, declared: bool = True
) -> Use:
    """A launch template of which a version was made for a build that goes, in its first location."""
    location, artifact_id = gone[0].place
    build_id = gone[0].own("build") or ""
    for each in (EU, US):
        world.publisher.template(each, "web", owner=FLEET)
    if declared:
        declare(world, "publish: {launch_templates: [web]}\n")
    template = world.publisher.there[location, "web"]
    words = version_words("web", build_id) if says is None else says
    world.publisher.add_version(location, template, artifact_id, description=words)
    world.publisher.add_version(location, template, "ami-newer", description="a newer one")
    version = world.publisher.there[location, "web"].versions[1]
    use = Use(
        gone[0].place, "launch template web version 2", "mend it", parameter="launch template web", version=version,
        spare=spare,
    )  # fmt: skip
    world.registry.uses.append(use)
    return use


def go_three_steps(world: World) -> None:
    for _ in range(3):
        world.controller().collect()
        world.clock.advance(days=15)


def test_an_old_version_of_our_own_template_goes_with_its_build(grown: World) -> None:
    gone = oldest(grown)
    template_versions(grown, gone, spare=True)
    grown.controller().collect()
    location = gone[0].location
    assert len(grown.publisher.there[location, "web"].versions) == 3, "nothing is deleted before the build goes"
    go_three_steps(grown)
    assert not {one.id for one in gone} & {one.id for one in grown.registry.artifacts}
    assert [one.number for one in grown.publisher.there[location, "web"].versions] == [1, 3]


def test_a_template_that_somebody_deletes_meanwhile_is_no_reason_to_stop(grown: World) -> None:
    gone = oldest(grown)
    template_versions(grown, gone, spare=True)
    for _ in range(2):
        grown.controller().collect()
        grown.clock.advance(days=15)
    place = (gone[0].location, "web")
    effect = f"remove version {place[0]} web 2"
    controller = surround(grown.controller(), meanwhile(effect, lambda: grown.publisher.there.pop(place)))
    assert steps(controller.collect()) == ["retire", "retire"]
    assert not {one.id for one in gone} & {one.id for one in grown.registry.artifacts}


@pytest.mark.thorough
@pytest.mark.parametrize(("spare", "says"), [(False, None), (True, "by hand"), (True, "like one of web: build X")])
def test_a_version_that_somebody_may_get_or_made_keeps_the_build(
    grown: World,
    spare: bool,  # noqa: FBT001 - pytest names it
    says: str | None,
) -> None:
    gone = oldest(grown)
    template_versions(grown, gone, spare=spare, says=says)
    go_three_steps(grown)
    assert {one.id for one in gone} <= {one.id for one in grown.registry.artifacts}
    assert len(grown.publisher.there[gone[0].location, "web"].versions) == 3


def test_a_version_of_a_template_that_the_image_is_not_published_to_keeps_the_build(grown: World) -> None:
    gone = oldest(grown)
    template_versions(grown, gone, spare=True, declared=False)
    go_three_steps(grown)
    assert {one.id for one in gone} <= {one.id for one in grown.registry.artifacts}


def left_by(run: str, *, since: str, location: str = US) -> Abandoned:
    return Abandoned(image="web", kind="instance", location=location, id=f"i-{run}", run=run, since=since)


def test_what_killed_builds_left_is_listed_and_then_removed_once_it_is_old(grown: World) -> None:
    old = left_by("run-1", since=format_instant(grown.clock() - timedelta(days=2)))
    young = left_by("run-2", since=format_instant(grown.clock() - timedelta(hours=23)))
    grown.registry.left_by_builds += [old, young]
    judged = grown.controller().collect(apply=False)
    assert (judged.abandoned, len(grown.registry.left_by_builds)) == ((old,), 2)
    assert grown.controller().collect().abandoned == (old,)
    assert grown.registry.left_by_builds == [young]
    assert grown.controller().collect().abandoned == ()


def test_by_a_clock_that_is_wrong_nothing_is_old(settled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    young = left_by("run-1", since=format_instant(settled.clock()))
    settled.registry.left_by_builds.append(young)
    told = settled.clock()
    monkeypatch.setattr(type(settled.registry), "server_time", lambda _self, _location: told)
    settled.clock.advance(days=2)
    done = settled.controller().collect()
    assert (done.took, done.abandoned, settled.registry.left_by_builds) == ((), (), [young])
    assert "clock" in done.failed[f"what builds left in {US}"]


def test_a_build_that_may_take_days_keeps_what_it_works_with(grown: World) -> None:
    declare(grown, "packer: {timeout: 2d}\n")
    grown.registry.left_by_builds.append(left_by("run-1", since=format_instant(grown.clock() - timedelta(days=3))))
    assert grown.controller().collect().abandoned == ()


def test_a_version_that_became_the_default_meanwhile_keeps_the_build_for_another_run(grown: World) -> None:
    gone = oldest(grown)
    template_versions(grown, gone, spare=True)
    for _ in range(2):
        grown.controller().collect()
        grown.clock.advance(days=15)
    place = (gone[0].location, "web")
    grown.publisher.there[place] = replace(grown.publisher.there[place], default=2)
    collection = grown.controller().collect()
    assert "version 2 of launch template web" in collection.failed["web"]
    assert {one.id for one in gone} <= {one.id for one in grown.registry.artifacts}


def test_a_build_beyond_those_that_are_kept_leaves_the_lockfile(grown: World) -> None:
    """`retain.builds` counts again, and lower, without a new build."""
    fallback = grown.lock("web").builds[1].id
    grown.commit({"desired/web/image.yaml": f"{ON_BASE}retain: {{builds: 2}}\n"})
    assert grown.lock("web").build(fallback) is not None
    build(grown, "echo four", image="web")
    build(grown, "echo five", image="web")
    declare(grown)
    grown.clock.advance(days=2)
    grown.controller().collect()
    assert fallback in [one.build.id for one in grown.lock("web").leaving]
    assert len(grown.lock("web").builds) == 2


@pytest.mark.thorough
@pytest.mark.parametrize("stage", [1, 2])
def test_a_hold_brings_it_back_whole(grown: World, stage: int) -> None:
    first = oldest(grown)
    build_id = first[0].own("build") or ""
    grown.registry.traits[first[0].place] = Traits(launched_by=Grants.of(["222222222222"]))
    grown.commit({"desired/web/image.yaml": f"{ON_BASE}retain: {{builds: 1, even_if_shared: true}}\n"})
    for _ in range(stage):
        grown.controller().collect()
        grown.clock.advance(days=15)
    head = grown.head()
    grown.commit({"desired/web/image.yaml": held(build_id, declaration=ON_BASE)})
    assert grown.controller().reconcile().exit_code == 0

    lock = grown.lock("web")
    assert (lock.channels.stable, lock.leaving) == (build_id, ())
    assert [(one.state, one.deprecated) for one in oldest(grown)] == [("available", None)] * 2
    assert grown.registry.traits[first[0].place].launched_by == Grants.of(["222222222222"])
    assert_settled(grown, since=head)
    assert not any(one.goes for one in grown.controller().collect().artifacts)


def test_a_build_that_is_wanted_again_comes_back_by_being_adopted(grown: World) -> None:
    build_id = oldest(grown)[0].own("build")
    grown.controller().collect()
    assert all(one.deprecated for one in oldest(grown))
    head = grown.commit({"desired/web/setup.sh": "true\n"})
    controller = grown.controller()
    assert controller.reconcile().exit_code == 0
    assert controller.built == []
    lock = grown.lock("web")
    assert (lock.builds[0].id, lock.channels.stable, lock.leaving) == (build_id, build_id, ())
    assert [(one.state, one.deprecated) for one in oldest(grown)] == [("available", None)] * 2
    assert_settled(grown, since=head)


@pytest.mark.thorough
@pytest.mark.parametrize("stage", [1, 2])
def test_what_goes_away_is_revoked_at_once_as_anything_else(grown: World, stage: int) -> None:
    # Given a build that goes away, and can be used for so long
    build_id = oldest(grown)[0].own("build") or ""
    for _ in range(stage):
        grown.controller().collect()
        grown.clock.advance(days=15)

    # When it is revoked
    head = grown.head()
    grown.commit({"desired/web/image.yaml": f"{revoked(build_id, declaration=ON_BASE)}{RETAIN}"})
    assert grown.controller().plan("web")["web"].notes == ()
    grown.controller().reconcile()

    # Then nobody can use it, and it goes on its way once the line is taken back
    assert {(one.state, one.own("phase")) for one in oldest(grown)} == {("disabled", "revoked")}
    assert (grown.lock("web").leaving, grown.lock("web").build(build_id) is not None) == ((), True)
    assert_settled(grown, since=head)
    assert not any(one.goes for one in grown.controller().collect().artifacts)
    declare(grown)
    grown.controller().reconcile()
    assert steps(grown.controller().collect()) == ["deprecate", "deprecate"]


def test_what_goes_away_inherits_a_revocation_and_is_not_held(grown: World) -> None:
    build_id = oldest(grown)[0].own("build") or ""
    grown.controller().collect()
    pin = entry(grown).build.source
    assert pin is not None
    build(grown, "echo good", image="base")
    grown.controller().reconcile()
    stable = grown.lock("web").channels.stable
    # Both at once: none comes before the other
    hold = f"{held(build_id, declaration=ON_BASE)}{RETAIN}"
    grown.commit({"desired/base/image.yaml": revoked(pin.build or ""), "desired/web/image.yaml": hold})
    (error,) = grown.controller().plan("web")["web"].errors
    assert f"it is revoked, as it was built on base {pin.build}" in error
    declare(grown)
    grown.controller().reconcile()
    assert grown.lock("web").channels.stable == stable
    assert {(one.state, one.own("phase")) for one in oldest(grown)} == {("disabled", "revoked")}


def test_what_was_refused_and_goes_away_is_not_adopted_whatever_its_tags_say(grown: World) -> None:
    # Given a build that did not pass, and goes away, whose marks somebody wrote anew
    declared = f"{RETAIN}validation: {{required: true}}\n"
    declare(grown, "validation: {required: true}\n")
    bad = build(grown, "echo bad", image="web")
    grown.judge("web", "failed")
    grown.controller().reconcile("web")
    good = build(grown, "echo good", image="web")
    grown.judge("web", "passed")
    grown.controller().reconcile("web")
    grown.clock.advance(days=2)
    grown.controller().collect()
    assert bad in [one.build.id for one in grown.lock("web").leaving]
    for one in [one for one in grown.artifacts("web") if one.own("build") == bad]:
        retag(grown, one, phase="preliminary", channel="none", verdict=None)

    # When its inputs are what is wanted again
    grown.commit({"desired/web/setup.sh": "echo bad\n", "desired/web/image.yaml": f"{ON_BASE}{declared}"})
    grown.controller().reconcile("web")

    # Then it stays what it was: refused
    assert grown.lock("web").channels.candidate == good
    assert f"{bad} is the same and was rejected" in (grown.controller().plan("web")["web"].waits_for or "")


def test_the_hold_on_a_build_that_is_gone_is_refused(grown: World) -> None:
    build_id = oldest(grown)[0].own("build") or ""
    for _ in range(2):
        grown.controller().collect()
        grown.clock.advance(days=15)
    grown.registry.delete(oldest(grown)[0])
    grown.commit({"desired/web/image.yaml": held(build_id, declaration=ON_BASE)})
    (error,) = grown.controller().plan("web")["web"].errors
    assert "is gone" in error


@pytest.mark.parametrize("use", ["instance i-0 (stopped)", "launch template web version 1", "parameter /images/web"])
def test_what_is_in_use_stays_everywhere(grown: World, use: str) -> None:
    here, there = oldest(grown)
    grown.registry.uses.append(Use(here.place, use, "move it"))
    collection = grown.controller().collect()
    assert fates(collection)[here.place].code == "used"
    assert fates(collection)[there.place].code == "sibling"
    assert (collection.took, grown.lock("web").leaving) == ((), ())


def test_what_began_to_be_used_meanwhile_stays_where_it_is_and_its_waiting_goes_on(grown: World) -> None:
    grown.controller().collect()
    began = entry(grown)
    grown.clock.advance(days=15)
    grown.registry.uses.append(Use(oldest(grown)[0].place, "instance i-0 (running)", "move it"))
    assert steps(grown.controller().collect()) == []
    grown.registry.uses.clear()
    assert steps(grown.controller().collect()) == ["disable", "disable"]
    assert entry(grown).deprecated == began.deprecated


def test_whoever_else_may_use_it_keeps_it_unless_it_is_declared_otherwise(grown: World) -> None:
    grown.registry.traits[oldest(grown)[1].place] = Traits(launched_by=Grants.of(["222222222222"]))
    assert {one.code for one in fates(grown.controller().collect()).values() if not one.goes} > {"shared"}
    assert grown.lock("web").leaving == ()
    grown.commit({"desired/web/image.yaml": f"{ON_BASE}retain: {{builds: 1, even_if_shared: true}}\n"})
    assert steps(grown.controller().collect()) == ["deprecate", "deprecate"]


def share(world: World) -> Seen:
    """Another account may use one of what may go, and the registry makes reports of who does."""
    seen = oldest(world)[1]
    world.registry.traits[seen.place] = Traits(launched_by=Grants.of(["222222222222"]))
    world.registry.reports = {}
    return seen


def test_a_report_that_is_not_there_yet_keeps_what_is_shared_and_is_asked_for_by_what_acts(grown: World) -> None:
    seen = share(grown)
    for _ in range(2):
        judged = fates(grown.controller().collect(apply=False))
        assert (judged[seen.place].code, "no report" in judged[seen.place].why) == ("unread", True)
    assert grown.registry.reports == {}
    asked = grown.controller().collect()
    assert (asked.took, grown.registry.reports) == ((), {seen.id: ()})
    assert steps(grown.controller().collect()) == ["deprecate", "deprecate"]


def test_what_another_account_uses_stays_and_its_waits_go_on(grown: World) -> None:
    seen = share(grown)
    grown.registry.reports = {seen.id: ()}
    assert steps(grown.controller().collect()) == ["deprecate", "deprecate"]
    began = entry(grown)
    grown.clock.advance(days=15)
    grown.registry.reports = {seen.id: (Use(seen.place, "account 222222222222 (3 instances)", "tell its owner"),)}
    judged = fates(grown.controller().collect())
    assert judged[seen.place].code == "used"
    assert "account 222222222222 (3 instances)" in judged[seen.place].why
    grown.registry.reports = {seen.id: ()}
    assert steps(grown.controller().collect()) == ["disable", "disable"]
    assert entry(grown).deprecated == began.deprecated


def test_reports_are_asked_of_nothing_that_is_not_shared_or_used_anyhow(grown: World) -> None:
    grown.registry.reports = {}
    grown.registry.uses.append(Use(oldest(grown)[0].place, "instance i-0 (running)", "move it"))
    share(grown)
    grown.controller().collect()
    assert grown.registry.calls["usage_elsewhere"] == 0
    grown.registry.uses.clear()
    grown.registry.traits.clear()
    assert steps(grown.controller().collect()) == ["deprecate", "deprecate"]
    assert grown.registry.calls["usage_elsewhere"] == 0


@pytest.mark.parametrize("unread", ["usage", "location"])
def test_what_could_not_be_read_keeps_everything(grown: World, unread: str) -> None:
    where = grown.registry.unread_usage if unread == "usage" else grown.registry.unreadable
    where[EU] = "not allowed"
    collection = grown.controller().collect()
    assert not collection.going
    assert (collection.took, grown.lock("web").leaving) == ((), ())


def test_what_only_its_tags_call_ours_is_never_touched(grown: World) -> None:
    first = oldest(grown)[0]
    forged = grown.registry.seed(US, "somebody's database", tags=first.tags, created=first.created)
    unknown = {**first.tags, f"{TAG_PREFIX}build": "20260101T000000Z-1234567"}
    other = grown.registry.seed(US, "another", tags=unknown, created=first.created)
    for _ in range(4):
        collection = grown.controller().collect()
        assert fates(collection)[forged.place].code in ("stranger", "unrecorded")
        assert fates(collection)[other.place].code == "unrecorded"
        grown.clock.advance(days=15)
    assert forged in grown.registry.artifacts
    assert other in grown.registry.artifacts


def test_what_lost_its_tags_by_hand_stays(grown: World) -> None:
    grown.controller().collect()
    here = oldest(grown)[0]
    grown.registry._artifacts[here.place] = replace(here, tags={})
    grown.clock.advance(days=15)
    collection = grown.controller().collect()
    assert collection.took == ()
    assert {one.code for one in collection.artifacts if one.build == entry(grown).build.id} == {"stranger", "sibling"}


def test_a_step_that_was_undone_by_hand_is_done_again_and_its_date_stays(grown: World) -> None:
    for _ in range(2):
        grown.controller().collect()
        grown.clock.advance(days=15)
    began = entry(grown)
    grown.registry.enable(oldest(grown)[0])
    assert steps(grown.controller().collect()) == ["disable", "disable"]
    assert entry(grown) == began
    assert steps(grown.controller().collect()) == ["retire", "retire"]


def test_a_parent_stays_as_long_as_a_child_that_is_kept_was_built_on_it(pair: World) -> None:
    pair.commit({
        "desired/base/image.yaml": f"{ON_DEBIAN}{RETAIN}",
        "desired/web/image.yaml": f"{ON_BASE}suspend: {{reason: frozen}}\n",
    })  # fmt: skip
    for setup in ("echo two", "echo three"):
        build(pair, setup)
    pair.clock.advance(days=2)
    collection = pair.controller().collect()
    assert not collection.going
    assert "child" in {one.code for one in collection.artifacts if one.image == "base"}


def test_a_snapshot_that_something_else_uses_stays_and_is_told(grown: World) -> None:
    kept = oldest(grown)[0].parts[0]
    grown.registry.in_use.add(kept)
    for _ in range(3):
        collection = grown.controller().collect()
        grown.clock.advance(days=15)
    assert [one.parts for one in collection.took] == [(kept,), ()]
    assert grown.lock("web").leaving == ()


def test_one_that_can_not_be_removed_now_is_removed_by_the_next_run(grown: World) -> None:
    for _ in range(2):
        grown.controller().collect()
        grown.clock.advance(days=15)
    controller = surround(grown.controller(), failing(f"retire {US}", Transient("throttled")))
    assert controller.collect().failed == {"web": "throttled"}
    assert [one.location for one in oldest(grown)] == [US]
    began = entry(grown)
    assert steps(grown.controller().collect()) == ["retire", "retire"]
    assert began.disabled is not None
    assert grown.lock("web").leaving == ()


def test_the_scheduled_job_does_the_same_after_its_own_work(grown: World) -> None:
    grown.commit({"desired/reconciler.yaml": f"{SETTINGS}gc: {{apply: true}}\n"})
    assert grown.controller().reconcile().collected is None
    report = grown.controller().reconcile(refresh=True)
    assert report.collected is not None
    assert "deprecate" in steps(report.collected)


def test_what_was_done_before_a_step_failed_is_told(grown: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a build that is to be disabled in both locations, of which the second refuses
    collect = grown.controller().collect
    assert steps(collect()) == ["deprecate", "deprecate"]
    grown.clock.advance(days=15)
    first, second = oldest(grown)
    disable = grown.registry.disable

    def refusing(seen: Seen) -> None:
        if seen.location == second.location:
            raise Transient("the region does not answer")
        disable(seen)

    monkeypatch.setattr(grown.registry, "disable", refusing)
    done = grown.controller().collect()
    assert done.failed == {"web": "the region does not answer"}
    assert [(one.step, one.location, one.id) for one in done.took] == [("disable", first.location, first.id)]

    # And a later run does the rest
    monkeypatch.undo()
    assert grown.controller().collect().failed == {}
    assert {one.state for one in oldest(grown)} == {"disabled"}


@pytest.mark.long
def test_no_run_acts_on_more_images_than_it_may(grown: World) -> None:
    grown.commit({
        "desired/reconciler.yaml": f"{SETTINGS}limits: {{max_actions: 1}}\n",
        "desired/base/image.yaml": f"{ON_DEBIAN}{RETAIN}",
    })  # fmt: skip
    for number in range(3):
        build(grown, f"echo {number}")
        build(grown, f"echo {number}", image="web")
    grown.clock.advance(days=2)
    collection = grown.controller().collect()
    assert (len({one.image for one in collection.took}), collection.put_off) == (1, 1)


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("are_names_sure", [True, False], ids=["as names say", "as annotated tags say"])
def test_a_build_of_a_former_name_goes_too(
    grown: World, monkeypatch: pytest.MonkeyPatch, *, are_names_sure: bool
) -> None:
    if not are_names_sure:  # as where whoever may write to a registry gives artifacts their names
        monkeypatch.setattr("reconciler.steps.survey.is_named", lambda *_, **__: False)
    gone = {one.id for one in oldest(grown)}
    declared = f"{ON_BASE}{RETAIN}moved_from: web\n"
    grown.commit({**no_image_files("web"), **image_files("site", declared, setup="echo three")})
    assert grown.controller().reconcile().exit_code == 0
    for _ in range(3):
        collection = grown.controller().collect()
        assert {one.image for one in collection.took} == {"site"}
        grown.clock.advance(days=15)
    assert not gone & {one.id for one in grown.registry.artifacts}
    assert grown.lock("site").leaving == ()


def test_what_validation_rejected_goes_once_it_is_beyond_those_that_are_kept(pair: World) -> None:
    pair.commit({"desired/web/image.yaml": f"{ON_BASE}{RETAIN}validation: {{required: true}}\n"})
    rejected = build(pair, "echo two", image="web")
    pair.judge("web", "failed")
    pair.controller().reconcile("web")
    assert pair.lock("web").builds[0].phase == "rejected"
    pair.commit({"desired/web/image.yaml": f"{ON_BASE}{RETAIN}"})
    build(pair, "echo three", image="web")
    pair.clock.advance(days=2)
    judged = [one for one in pair.controller().collect().artifacts if one.build == rejected]
    assert {one.code for one in judged} == {"rejected"}
    assert rejected in [one.build.id for one in pair.lock("web").leaving]


def test_what_goes_away_goes_with_an_image_that_is_taken_out(grown: World) -> None:
    grown.controller().collect()
    grown.commit(no_image_files("web"))
    assert grown.controller().reconcile(prune=True).exit_code == 0
    assert grown.artifacts("web") == []


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("how", ["--no-ff", "--ff-only"])
def test_what_only_a_merged_branch_recorded_was_never_recorded(grown: World, how: str) -> None:
    """Whoever merges a branch may have written anything in its commits."""
    seen = oldest(grown)[0]
    forged = "20260101T000000Z-1234567"
    tags = {**seen.tags, f"{TAG_PREFIX}build": forged}
    other = grown.registry.seed(US, "another", tags=tags, created="2026-01-01T00:00:00Z")
    grown.commit({"notes": "one"})
    person, lock = grown.root / "person", grown.lock("web")
    record = lock.builds[-1].model_copy(
        update={"id": forged, "artifacts": (other.as_artifact("amazon-ebs.image"),), "phase": "superseded"}
    )
    path = person / "state/web.lock.json"
    before = path.read_bytes()
    git(person, "switch", "--quiet", "--create", "feature")
    for content in (render(lock.model_copy(update={"builds": (*lock.builds, record)})), before):
        path.write_bytes(content)
        git(person, "commit", "--quiet", "--all", "--message", "Change state")
    git(person, "switch", "--quiet", "main")
    git(person, "merge", "--quiet", how, "--message", "Merge", "feature")
    git(person, "push", "--quiet", "origin", "main")
    for _ in range(4):
        assert fates(grown.controller().collect())[other.place].code == "unrecorded"
        grown.clock.advance(days=15)
    assert other in grown.registry.artifacts


def last_record(world: World, build_id: str) -> Build:
    """The newest record of a build of web's that any commit of the branch has."""
    person = world.root / "person"
    git(person, "pull", "--quiet", "--ff-only", "origin", "main")
    log = git(person, "log", "--format=%H", "--", "state/web.lock.json").splitlines()
    versions = (parse(f"{git(person, 'show', f'{one}:state/web.lock.json')}\n".encode(), path_of("web")) for one in log)
    return next(found for one in versions for found in one.recorded if found.id == build_id)


def bring(world: World, forged: Build) -> None:
    """A branch's commits wrote a record of a build of web's, and took that back."""
    person, lock = world.root / "person", world.lock("web")
    git(person, "pull", "--quiet", "--ff-only", "origin", "main")
    path = person / "state/web.lock.json"
    before = path.read_bytes()
    for content in (render(lock.model_copy(update={"builds": (*lock.builds, forged)})), before):
        path.write_bytes(content)
        git(person, "commit", "--quiet", "--all", "--message", "Change state")
    git(person, "push", "--quiet", "origin", "HEAD:main")


FORGED = Conversion(format="vmdk", id=f"sha256:{'6' * 64}", size=1)


def bring_forged(world: World) -> Build:
    """A branch's commits wrote the record of web's oldest build anew, and took that back. Returns it as it was."""
    real = last_record(world, oldest(world)[0].own("build") or "")
    given = Care(withheld=Grants.of(["666666666666"]))
    forged = real.model_copy(update={
        "verdict": Verdict(status="passed", by="security", evidence="none"), "source": None, "commit": "0" * 40,
        "artifacts": tuple(one.model_copy(update={"care": given, "conversions": (FORGED,)}) for one in real.artifacts),
    })  # fmt: skip
    bring(world, forged)
    return real


def test_what_a_merged_branch_says_of_a_build_of_ours_is_not_recorded_anew(grown: World) -> None:
    real = bring_forged(grown)
    assert steps(grown.controller().collect()) == ["deprecate", "deprecate"]
    recorded = entry(grown).build
    assert (recorded.verdict, recorded.commit, recorded.source) == (None, real.commit, real.source)
    assert not any(one.cared_for.withheld or one.conversions for one in recorded.artifacts)


@pytest.mark.thorough
def test_with_signatures_it_is_recorded_as_a_signed_commit_had_it(pair: World, tmp_path: Path) -> None:
    keys = Keys.begin(tmp_path)
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{sign: true}}\n"})
    for setup in ("echo one", "echo two", "echo three"):
        pair.commit({"desired/web/setup.sh": f"{setup}\n", "desired/web/image.yaml": f"{ON_BASE}{RETAIN}# {setup}\n"})
        assert signing(pair, keys).reconcile().exit_code == 0
        pair.clock.advance(hours=1)
    pair.clock.advance(days=2)
    for one in oldest(pair):  # of before it was signed
        pair.registry.delete(one)
    real = bring_forged(pair)
    assert steps(signing(pair, keys).collect()) == ["deprecate", "deprecate"]
    recorded = entry(pair).build
    assert (recorded.verdict, recorded.commit, recorded.source) == (None, real.commit, real.source)
    assert recorded.provenance is not None
    assert recorded.provenance == real.provenance


EFFECTS = {1: 3, 2: 3, 3: 3}


@pytest.mark.parametrize(("stage", "effects"), EFFECTS.items())
def test_the_matrix_is_whole(grown: World, stage: int, effects: int) -> None:
    for _ in range(stage - 1):
        grown.controller().collect()
        grown.clock.advance(days=15)
    found = Effects()
    surround(grown.controller(), found.around).collect()
    assert len(found.done) == effects, found.done


def test_what_is_held_while_it_is_judged_is_not_touched(grown: World) -> None:
    build_id = oldest(grown)[0].own("build") or ""
    grown.controller().collect()
    grown.clock.advance(days=15)

    def hold() -> None:
        grown.commit({"desired/web/image.yaml": held(build_id, declaration=ON_BASE)})

    assert surround(grown.controller(), meanwhile("push", hold)).collect().took == ()
    assert {one.state for one in oldest(grown)} == {"available"}
    grown.controller().reconcile()
    assert grown.lock("web").channels.stable == build_id


def test_what_stops_it_takes_nothing_from_the_run_before(grown: World, monkeypatch: pytest.MonkeyPatch) -> None:
    grown.commit({"desired/reconciler.yaml": f"{SETTINGS}gc: {{apply: true}}\n"})
    told = grown.clock()
    monkeypatch.setattr(type(grown.registry), "server_time", lambda _self, _location: told)
    grown.clock.advance(days=300)
    report = grown.controller().reconcile(refresh=True)
    assert report.collected is not None
    assert "clock" in report.collected.failed["gc"]
    assert report.exit_code == 3


@pytest.mark.thorough
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("stage", "number"), [(stage, n) for stage, count in EFFECTS.items() for n in range(count)])
def test_killed_between_any_two_effects_the_next_run_goes_on(
    grown: World, stage: int, number: int, when: Literal["before", "after"]
) -> None:
    gone = oldest(grown)
    for _ in range(stage - 1):
        grown.controller().collect()
        grown.clock.advance(days=15)
    head = grown.head()
    effects = Effects(die_at=number, when=when)
    with pytest.raises(Killed):
        surround(grown.controller(), effects.around).collect()
    began = grown.lock("web").leaving
    grown.clock.advance(hours=1)
    done = grown.controller().collect()
    assert not done.failed
    if stage < 3:
        assert {one.deprecated for one in (*began, entry(grown))} == {entry(grown).deprecated}, "the clock is kept"
        assert {one.state for one in oldest(grown)} == {"available" if stage == 1 else "disabled"}
        assert all(one.deprecated for one in oldest(grown))
    else:
        assert grown.lock("web").leaving == ()
        assert not {one.id for one in gone} & {one.id for one in grown.registry.artifacts}
    assert_settled(grown, since=head)


@pytest.mark.parametrize("silent", [None, "us-east-1", "eu-west-1"])
def test_a_clock_that_is_wrong_stops_it_whichever_registry_tells_the_time(
    grown: World, monkeypatch: pytest.MonkeyPatch, silent: str | None
) -> None:
    told = grown.clock()
    monkeypatch.setattr(type(grown.registry), "server_time", lambda _, location: told if location != silent else None)
    grown.clock.advance(days=300)
    with pytest.raises(Terminal, match="clock"):
        grown.controller().collect()
    assert grown.lock("web").leaving == ()


def test_a_clock_that_jumps_back_and_forth_takes_nothing_too_early_and_keeps_the_date(grown: World) -> None:
    grown.controller().collect()
    began = entry(grown)
    for days in (-40, 45, -10):
        grown.clock.advance(days=days)
        if days < 0:
            assert "disable" not in steps(grown.controller().collect())
            assert entry(grown).deprecated == began.deprecated
            assert {one.state for one in oldest(grown)} == {"available"}
    grown.clock.advance(days=19)  # a fortnight after it was recorded, all in all
    assert steps(grown.controller().collect()) == ["disable", "disable"]
    assert entry(grown).deprecated == began.deprecated


def test_where_state_is_only_proposed_the_dates_wait_in_a_pull_request(
    grown: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a branch that takes pull requests alone, and a build that is to go
    opened: list[tuple[tuple[str, ...], str, str, str]] = []

    def propose(_: NobodyShows, images: tuple[str, ...], *, branch: str, base: str, body: str) -> None:
        opened.append((images, branch, base, body))

    monkeypatch.setattr(NobodyShows, "propose", propose)
    grown.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{push: pull-request}}\n"})
    gone = oldest(grown)

    # When its first step is taken
    found = grown.controller().collect()

    # Then it is proposed by a pull request, which says what would be done with which artifact and why
    assert (found.took, found.proposed) == ((), ("web",))
    ((images, branch, base, body),) = opened
    assert (images, branch, base) == (("web",), PROPOSAL, "main")
    assert all(f"{one.location} {one.id}" in body for one in gone)
    assert body.count("| deprecate |") == len(gone)
    assert all(one.deprecated is None for one in oldest(grown))

    # And once it is merged it is done, however long that took, and nothing but its date proposed anew
    grown.clock.advance(hours=5)
    git(grown.origin, "update-ref", "refs/heads/main", f"refs/heads/{PROPOSAL}")
    assert steps(grown.controller().collect()) == ["deprecate", "deprecate"]
    assert len(opened) == 2, "the date that it was set to is another one by now"

    # And by that date it is taken back, once it is merged as well
    git(grown.origin, "update-ref", "refs/heads/main", f"refs/heads/{PROPOSAL}")
    assert steps(grown.controller().collect()) == []
    assert len(opened) == 2
    assert [one.cared_for.deprecated for one in entry(grown).build.artifacts] == [
        one.deprecated for one in oldest(grown)
    ]


def test_a_refresh_with_gc_has_one_pull_request_for_both(grown: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[tuple[str, ...], str]] = []

    def propose(_: NobodyShows, images: tuple[str, ...], *, branch: str, base: str, body: str) -> None:
        del branch, base
        opened.append((images, body))

    monkeypatch.setattr(NobodyShows, "propose", propose)
    settings = f"{SETTINGS}git: {{push: pull-request}}\ngc: {{apply: true}}\n"
    grown.commit({"desired/reconciler.yaml": settings, "desired/base/setup.sh": "echo newer\n"})

    grown.controller().reconcile(refresh=True)

    first, last = opened
    assert "web" in last[0]
    assert set(first[0]) <= set(last[0])
    assert last[1].startswith(first[1])
    assert "| deprecate |" in last[1]


TELLS = f"{SETTINGS}announce: {{webhook: {{url: 'https://hooks.example.org/images'}}}}\n"


def test_each_step_is_announced_once_with_the_date_of_the_next_and_removal_at_last(grown: World) -> None:
    # Given a build that has been told of, and goes away
    receiver = Listener()
    grown.commit({"desired/reconciler.yaml": TELLS})
    main(grown, receiver).go()
    build_id = oldest(grown)[0].own("build") or ""
    receiver.heard.clear()

    # When `gc` takes its steps by itself, each time before two runs that tell
    for days in (0, 14, 14):
        grown.clock.advance(days=days)
        grown.controller().collect()
        grown.clock.advance(hours=1)
        for _ in range(2):
            main(grown, receiver).go()

    # Then each is told once, both that leave something with what comes next, and nothing more is kept of it
    assert receiver.events == [("web", build_id, what) for what in ("deprecated", "disabled", "removed")]
    first, last, removed = receiver.heard
    assert (first.reason, last.reason, removed.reason) == ("1 newer build is kept",) * 3
    assert (removed.next, [one.id for one in removed.artifacts]) == (None, [one.id for one in last.artifacts])
    assert grown.lock("web").gone == ()
    assert f"web: announced that {build_id} is removed" in grown.subjects("main~3")
    assert first.next is not None
    assert last.next is not None
    began = parse_instant(first.next.due) - timedelta(days=14)
    assert [
        (one.step, parse_instant(one.due) - began, parse_instant(one.undo) - began) for one in (first.next, last.next)
    ] == [
        ("disable", timedelta(days=14), timedelta(days=28)),
        ("retire", last_day := parse_instant(last.next.due) - began, last_day),
    ]
    assert timedelta(days=28) <= last_day < timedelta(days=28, hours=2)
    assert_nothing_left(grown, receiver)


def test_a_build_that_was_brought_back_and_goes_again_is_announced_anew(grown: World) -> None:
    receiver = Listener()
    main(grown, receiver).go()
    build_id = oldest(grown)[0].own("build") or ""
    grown.controller().collect()
    main(grown, receiver).go()
    receiver.heard.clear()
    for extra in (f"hold: {{build: {build_id}, reason: works}}\n", ""):
        grown.clock.advance(hours=1)
        declare(grown, extra)
        main(grown, receiver).go()
    grown.clock.advance(hours=1)
    grown.controller().collect()
    main(grown, receiver).go()
    assert [event for _, one, event in receiver.events if one == build_id] == [
        "stable", "held", "released", "deprecated",
    ]  # fmt: skip


def test_the_scheduled_job_tells_of_its_steps_at_once_and_who_could_not_hear_by_the_next_run(grown: World) -> None:
    # Given a fleet whose refresh takes steps, and two receivers, of which one is down
    receiver, down = Listener(), Listener("sns")
    grown.commit({"desired/reconciler.yaml": f"{SETTINGS}gc: {{apply: true}}\n"})
    main(grown, receiver, down).go()
    build_id = oldest(grown)[0].own("build") or ""
    receiver.heard.clear()
    down.heard.clear()
    down.fails = Transient("down")

    # When the job runs
    report = main(grown, receiver, down).go(refresh=True)

    # Then one has heard by its end, and that the other has not is recorded
    assert report.collected is not None
    assert steps(report.collected) == ["deprecate", "deprecate"]
    assert ("web", build_id, "deprecated") in receiver.events
    assert [(one.event, one.build, one.to) for one in grown.lock("web").undelivered if one.build == build_id] == [
        ("deprecated", build_id, "sns")
    ]
    down.fails = None
    main(grown, receiver, down).go()
    assert down.events.count(("web", build_id, "deprecated")) == 1
    assert receiver.events.count(("web", build_id, "deprecated")) == 1
    assert grown.lock("web").undelivered == ()


def removed(world: World) -> str:
    """Have web's oldest build be removed by `gc`, with nobody told in between, and return its id."""
    build_id = oldest(world)[0].own("build") or ""
    for days in (0, 14, 14):
        world.clock.advance(days=days)
        assert world.controller().collect().failed == {}
    assert not oldest_is(world, build_id)
    return build_id


def oldest_is(world: World, build_id: str) -> bool:
    return oldest(world)[0].own("build") == build_id


def test_that_a_build_was_removed_is_told_until_each_receiver_has_taken_it(grown: World) -> None:
    # Given a build that was removed, and two receivers, of which one is down
    receiver, down = Listener(), Listener("sns")
    grown.commit({"desired/reconciler.yaml": TELLS})
    build_id = removed(grown)
    down.fails = Transient("down")
    news = ("web", build_id, "removed")

    # When runs tell: what is undelivered is recorded, and so is who heard
    for _ in range(2):
        main(grown, receiver, down).go()
        assert [(one.event, one.build, one.to) for one in grown.lock("web").undelivered if one.build == build_id] == [
            ("removed", build_id, "sns")
        ]
        ((gone, told),) = ((one.build.id, one.told) for one in grown.lock("web").gone)
        assert (gone, told, receiver.events.count(news)) == (build_id, ("webhook",), 1)
    down.fails = None
    head = grown.head()
    main(grown, receiver, down).go()

    # Then both have heard once, and nothing of it is kept
    assert (receiver.events.count(news), down.events.count(news)) == (1, 1)
    lock = grown.lock("web")
    assert (lock.gone, lock.undelivered) == ((), ())
    assert grown.head() != head
    assert_settled(grown, since=grown.head())


def test_that_a_build_was_removed_long_ago_is_told_nobody(grown: World) -> None:
    grown.commit({"desired/reconciler.yaml": TELLS})
    build_id = removed(grown)
    assert [one.build.id for one in grown.lock("web").gone] == [build_id]
    grown.clock.advance(days=8)
    receiver = Listener()
    main(grown, receiver).go()
    assert ("web", build_id, "removed") not in receiver.events
    assert grown.lock("web").gone == ()


def test_the_scheduled_job_tells_at_once_of_what_it_removed(grown: World) -> None:
    receiver = Listener()
    grown.commit({"desired/reconciler.yaml": f"{TELLS}gc: {{apply: true}}\n"})
    build_id = oldest(grown)[0].own("build") or ""
    for _ in range(3):
        main(grown, receiver).go(refresh=True)
        grown.clock.advance(days=14)
    assert [what for _, build, what in receiver.events if build == build_id] == ["deprecated", "disabled", "removed"]
    assert [one for one in grown.lock("web").gone if one.build.id == build_id] == []


def test_a_receiver_that_is_asked_for_later_hears_of_no_step_of_long_ago(grown: World) -> None:
    grown.controller().collect()
    grown.clock.advance(days=8)
    receiver = Listener()
    main(grown, receiver).go()
    assert receiver.events == []


def test_each_step_is_told_by_an_annotated_tag_on_the_commit_that_was_built(grown: World) -> None:
    gone = oldest(grown)[0].own("build") or ""
    for what in ("deprecated", "disabled", "removed"):
        grown.controller().collect()
        (name,) = (one for one in git(grown.origin, "tag", "--list", f"verdict/web/{gone}-{what}-*").splitlines())
        assert git(grown.origin, "cat-file", "-t", name).strip() == "tag"
        assert f"web {gone}: {what}" in git(grown.origin, "tag", "--list", "--format=%(contents)", name)
        grown.clock.advance(days=14)
    before = git(grown.origin, "tag", "--list")
    grown.controller().collect()
    assert git(grown.origin, "tag", "--list") == before


def test_of_an_image_that_is_taken_out_it_is_said_what_neither_prune_nor_gc_will_take(grown: World) -> None:
    # Given an image with a build that has fallen out of its lockfile, which is declared no more
    left = oldest(grown)
    grown.commit(no_image_files("web"))

    # Then the plan says so, with and without --prune
    note = "2 artifacts of older builds, which the lockfile has no more, will be left: "
    for prune in (False, True):
        (told,) = grown.controller().plan(prune=prune)["web"].notes
        assert told.startswith(note)
        assert all(f"{one.location} {one.id}" in told for one in left)

    # And once it was pruned `gc` says of them how they are to be taken away, which is so
    assert grown.controller().reconcile("web", prune=True).exit_code == 0
    assert oldest(grown) == left
    kept = [one for one in grown.controller().collect(apply=False).artifacts if one.image == "web"]
    assert [(one.code, one.id) for one in kept] == [("undeclared", one.id) for one in left]
    assert all("declare it again for `gc` to do so" in one.why for one in kept)
    grown.commit(image_files("web", f"{ON_BASE}{RETAIN}", setup="echo first"))
    for extra in ("echo anew", "echo once more"):
        grown.commit({"desired/web/setup.sh": f"{extra}\n"})
        assert grown.controller().reconcile().exit_code == 0
        grown.clock.advance(days=2)
    going = {one.id for one in grown.controller().collect(apply=False).artifacts if one.goes}
    assert {one.id for one in left} <= going


def test_nobody_is_told_that_what_somebody_else_keeps_is_removed(grown: World, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Listener()
    grown.commit({"desired/reconciler.yaml": TELLS})
    main(grown, receiver).go()
    why = "it is tagged theirs as well, which no build did"
    monkeypatch.setattr(type(grown.registry), "retire", lambda *_, **__: Remains(stays=why))

    for days in (0, 14, 14):
        grown.clock.advance(days=days)
        took = grown.controller().collect().took
        grown.clock.advance(hours=1)
        main(grown, receiver).go()

    assert {one.stays for one in took} == {why}
    assert "removed" not in [what for _, _, what in receiver.events]
    assert (grown.lock("web").leaving, grown.lock("web").gone) == ((), ())
