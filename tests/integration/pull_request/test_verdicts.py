"""The verdict in the tags of an artifact is recorded, moves `stable` or rejects the build, and `status` tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model.events import Settled
from reconciler.model.lockfile import Verdict
from reconciler.model.plan import PlanOptions
from reconciler.plan.channels import verdict_tags
from reconciler.plan.standing import standings
from reconciler.ports.builder import BuildFailed
from tests.integration.loop.effects import Effects, Killed, surround
from tests.integration.loop.world import EU, ON_BASE, ON_DEBIAN, US, World, git, statuses
from tests.integration.pull_request.pulls import PullRequest, assert_nothing_left, main, newest

VALIDATED = "validation: {required: true, timeout: 72h}\n"
MORE = {"desired/web/setup.sh": "echo more\n"}


@pytest.fixture(scope="session")
def _waiting(built_pair: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = built_pair.copy_to(tmp_path_factory.mktemp("waiting") / "world")
    made.commit({"desired/web/image.yaml": ON_BASE + VALIDATED, **MORE})
    assert statuses(main(made).go()) == {"web": "built"}
    return made.settle()


@pytest.fixture
def waiting(_waiting: World, tmp_path: Path) -> World:
    """web has a stable build, and a candidate that waits for its verdict."""
    return _waiting.copy_to(tmp_path / "world")


def vote(world: World, build_id: str, tags: Mapping[str, str], *regions: str) -> None:
    """Somebody tags a build's artifacts, in these regions or in all."""
    for one in world.artifacts("web"):
        if one.own("build") == build_id and (not regions or one.location in regions):
            world.registry.tag(one, tags)


def votes(status: str, *, by: str = "validation", evidence: str = "https://ci.example.org/7") -> dict[str, str]:
    return {
        "reconciler:verdict": status, "reconciler:verdict-by": by, "reconciler:verdict-evidence": evidence,
    }  # fmt: skip


def channels(world: World) -> tuple[str | None, str | None]:
    found = world.lock("web").channels
    return found.candidate, found.stable


def phases(world: World) -> dict[str | None, set[str | None]]:
    """The phases that the artifacts of each build carry."""
    builds = {one.own("build") for one in world.artifacts("web")}
    return {id_: {one.own("phase") for one in world.artifacts("web") if one.own("build") == id_} for id_ in builds}


def health(world: World) -> tuple[str, str | None]:
    """What `status` says of web."""
    _, planned = main(world).look(PlanOptions(offline=True))
    row = next(row for row in standings(planned, now=world.clock.moment) if row.image == "web")
    return row.health, row.why


def test_a_pass_moves_stable_in_a_commit_and_a_tag_of_its_own(waiting: World) -> None:
    build, head = newest(waiting, "web"), waiting.head()
    waiting.judge("web", "passed")
    plan = main(waiting).plan_main()
    (planned,) = plan.drifted
    assert (planned.actions, planned.reasons[0].code) == (("promote",), "verdict-pending-record")
    controller = main(waiting)
    (result,) = controller.go().results
    assert (result.status, result.commit, result.tags) == ("changed", waiting.head(), (f"verdict/web/{build.id}",))
    assert channels(waiting) == (build.id, build.id)
    assert phases(waiting)[build.id] == {"stable"}
    assert waiting.subjects(head) == [f"web: {build.id} passed validation (verdict-pending-record)"]
    said = git(waiting.origin, "for-each-ref", "--format=%(contents)", f"refs/tags/verdict/web/{build.id}")
    assert "by: validation\nevidence: https://ci.example.org/7" in said
    assert git(waiting.origin, "rev-parse", f"verdict/web/{build.id}^{{commit}}") == build.commit
    assert len(controller.told(Settled, "web")) == 1
    assert_nothing_left(waiting)


def test_a_failure_marks_the_build_rejected_and_leaves_stable_where_it_was(waiting: World) -> None:
    bad, good = (build.id for build in waiting.lock("web").builds)
    waiting.judge("web", "failed")
    assert statuses(main(waiting).go()) == {"web": "changed"}
    assert channels(waiting) == (good, good)
    assert phases(waiting) == {bad: {"rejected"}, good: {"stable"}}
    assert health(waiting) == ("degraded", f"{bad} failed validation by validation: https://ci.example.org/7")
    assert_nothing_left(waiting)


def test_a_rejected_key_is_built_again_only_when_its_inputs_change_or_a_person_asks(waiting: World) -> None:
    waiting.judge("web", "failed")
    main(waiting).go()
    waiting.pass_days(3)
    assert_nothing_left(waiting)
    assert statuses(main(waiting).go(force=("web",))) == {"web": "built"}
    waiting.commit({"desired/web/setup.sh": "echo other\n"})
    assert statuses(main(waiting).go()) == {"web": "built"}
    assert_nothing_left(waiting)


def test_a_failure_after_a_pass_rejects_and_the_channels_fall_back(waiting: World) -> None:
    bad, good = (build.id for build in waiting.lock("web").builds)
    waiting.judge("web", "passed")
    main(waiting).go()
    waiting.judge("web", "failed")
    assert statuses(main(waiting).go()) == {"web": "changed"}
    assert channels(waiting) == (good, good)
    assert phases(waiting)[bad] == {"rejected"}
    tags = [tag for tag in waiting.tags() if tag.startswith("verdict/")]
    assert tags == [f"verdict/web/{bad}", f"verdict/web/{bad}-overruled"], "tags are never moved"
    assert_nothing_left(waiting)


def test_a_pass_after_a_failure_is_ignored(waiting: World) -> None:
    waiting.judge("web", "failed")
    main(waiting).go()
    waiting.judge("web", "passed")
    assert_nothing_left(waiting)


def test_the_same_verdict_by_another_voter_is_no_news(waiting: World) -> None:
    waiting.judge("web", "passed")
    main(waiting).go()
    vote(waiting, newest(waiting, "web").id, votes("passed", by="somebody else"))
    assert_nothing_left(waiting)


@pytest.mark.parametrize("region", [US, EU])
def test_a_vote_in_one_region_is_a_vote(waiting: World, region: str) -> None:
    build = newest(waiting, "web").id
    vote(waiting, build, votes("passed"), region)
    main(waiting).go()
    assert channels(waiting) == (build, build)
    assert_nothing_left(waiting)


def test_of_two_votes_that_differ_the_failure_counts(waiting: World) -> None:
    build = newest(waiting, "web").id
    vote(waiting, build, votes("passed"), US)
    vote(waiting, build, votes("failed"), EU)
    main(waiting).go()
    assert newest(waiting, "web").phase == "rejected"
    assert_nothing_left(waiting)


@pytest.mark.parametrize("status", ["", "pass", "PASSED", "passed ", "stable", "x" * 256])
def test_a_value_that_is_no_verdict_is_none(waiting: World, status: str) -> None:
    vote(waiting, newest(waiting, "web").id, votes(status))
    assert_nothing_left(waiting)


def test_a_verdict_without_voter_and_evidence_counts_and_says_so(waiting: World) -> None:
    build = newest(waiting, "web").id
    vote(waiting, build, {"reconciler:verdict": "passed"})
    main(waiting).go()
    assert newest(waiting, "web").verdict == Verdict(status="passed", by="unknown", evidence="none")
    assert channels(waiting) == (build, build)


def test_what_a_voter_writes_does_not_steer_terminals_or_forge_trailers(waiting: World) -> None:
    forged = "me\n\nReconciler-Build: 20200101T000000Z-0000000\n\x1b[31m[skip ci]"
    vote(waiting, newest(waiting, "web").id, votes("passed", by=forged))
    main(waiting).go()
    message = git(waiting.origin, "log", "-1", "--format=%B", "main")
    assert message.count("\nReconciler-Build: ") == 1
    assert "\x1b" not in message
    assert "[skip ci]" not in message


def test_a_verdict_on_a_superseded_build_is_recorded_and_moves_nothing(waiting: World) -> None:
    older, good = (build.id for build in waiting.lock("web").builds)
    waiting.commit({"desired/web/setup.sh": "echo newest\n"})
    main(waiting).go()
    waiting.clock.advance(hours=1)
    candidate = newest(waiting, "web").id
    vote(waiting, older, votes("passed"))
    assert statuses(main(waiting).go()) == {"web": "changed"}
    assert channels(waiting) == (candidate, good)
    found = waiting.lock("web").build(older)
    assert found is not None
    assert (found.verdict is not None, found.phase) == (True, "superseded")
    assert_nothing_left(waiting)


def test_a_verdict_on_a_build_that_nobody_recorded_is_left_alone(waiting: World) -> None:
    pull = PullRequest.open(waiting, {"desired/web/setup.sh": "echo other\n"})
    pull.preview()
    for one in pull.artifacts("web"):
        waiting.registry.tag(one, votes("passed"))
    assert_nothing_left(waiting)


def test_a_candidate_that_vanished_before_the_vote_is_restored_and_then_judged(waiting: World) -> None:
    build = newest(waiting, "web").id
    lost = next(one for one in waiting.artifacts("web") if one.own("build") == build and one.location == EU)
    waiting.registry.delete(lost)
    vote(waiting, build, votes("passed"))
    assert statuses(main(waiting).go()) == {"web": "changed"}
    assert channels(waiting) == (build, build)
    waiting.clock.advance(hours=1)
    assert statuses(main(waiting).go()) == {}
    assert phases(waiting)[build] == {"stable"}
    assert_nothing_left(waiting)


def test_a_rejected_candidate_is_not_copied_as_the_build_that_takes_its_place(waiting: World) -> None:
    """A region is missing and the verdict is bad, both at once: what is missing was missing of the rejected build."""
    bad, good = (build.id for build in waiting.lock("web").builds)
    for one in waiting.artifacts("web"):
        if one.own("build") == bad and one.location == EU:
            waiting.registry.delete(one)
    vote(waiting, bad, votes("failed"))
    assert main(waiting).go().exit_code == 0
    assert channels(waiting) == (good, good)
    assert phases(waiting) == {bad: {"rejected"}, good: {"stable"}}
    assert len(waiting.artifacts("web")) == 3
    assert_nothing_left(waiting)


def test_a_verdict_is_recorded_though_the_newer_content_fails_and_rests(waiting: World) -> None:
    """And what the declaration asks for now is not taken for what the old build was made on."""
    build = newest(waiting, "web").id
    other = ON_DEBIAN.replace("debian-12-*", "debian-12-amd64-*")
    waiting.commit({"desired/web/image.yaml": other + VALIDATED})
    controller = main(waiting)
    controller.builder.failures = {"web": BuildFailed("no", cause="failed", seconds=1, log=Path("build.log"))}
    assert statuses(controller.go()) == {"web": "failed"}
    vote(waiting, build, votes("passed"))
    assert statuses(main(waiting).go()) == {"web": "changed"}
    assert channels(waiting) == (build, build)
    source = waiting.lock("web").source
    assert source is not None
    assert source.requested.image == "base"
    waiting.pass_days(2)
    assert statuses(main(waiting).go()) == {"web": "built"}
    assert_nothing_left(waiting)


def test_a_build_due_beside_a_verdict_names_its_own_reasons_alone(waiting: World) -> None:
    old = newest(waiting, "web").id
    waiting.commit({"desired/web/setup.sh": "echo newest\n"})
    vote(waiting, old, votes("passed"))
    assert statuses(main(waiting).go()) == {"web": "built"}
    assert channels(waiting) == (newest(waiting, "web").id, old)
    assert [reason.code for reason in newest(waiting, "web").reasons] == ["inputs-changed"]
    assert_nothing_left(waiting)


@pytest.mark.thorough
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("status", ["passed", "failed"])
def test_a_run_that_was_killed_over_a_verdict_is_made_up_for(waiting: World, number: int, status: str) -> None:
    build = newest(waiting, "web").id
    vote(waiting, build, votes(status))
    doomed = main(waiting)
    surround(doomed, Effects(die_at=number).around)  # the push, and a tag in each region
    with pytest.raises(Killed):
        doomed.go()
    assert main(waiting).go().exit_code == 0
    assert phases(waiting)[build] == {"stable" if status == "passed" else "rejected"}
    assert_nothing_left(waiting)


def test_bringing_back_what_was_validated_needs_no_second_verdict(waiting: World) -> None:
    validated = newest(waiting, "web").id
    waiting.judge("web", "passed")
    main(waiting).go()
    waiting.commit({"desired/web/setup.sh": "echo worse\n"})
    main(waiting).go()
    waiting.commit(MORE)
    waiting.clock.advance(hours=1)
    assert statuses(main(waiting).go()) == {"web": "adopted"}
    assert channels(waiting) == (validated, validated)
    assert_nothing_left(waiting)


def test_bringing_back_what_was_rejected_brings_nothing_back(waiting: World) -> None:
    bad = newest(waiting, "web").id
    waiting.judge("web", "failed")
    main(waiting).go()
    waiting.commit({"desired/web/setup.sh": "echo better\n"})
    main(waiting).go()
    for one in waiting.artifacts("web"):
        if one.own("build") == bad:
            waiting.registry.tag(one, {"reconciler:phase": "candidate", "reconciler:verdict": "passed"})
    waiting.commit(MORE)
    waiting.clock.advance(hours=1)
    controller = main(waiting)
    assert controller.plan_main().drifted[0].actions == ("retag",)
    assert controller.go().exit_code == 0
    assert controller.built == []
    assert bad not in channels(waiting)
    assert phases(waiting)[bad] == {"rejected"}, "a phase that was set by hand is set right"


def test_the_build_that_the_channels_fell_back_to_is_found_though_its_tags_are_gone(waiting: World) -> None:
    bad, good = (build.id for build in waiting.lock("web").builds)
    vote(waiting, bad, votes("failed"))
    main(waiting).go()
    ids = {one.id for one in waiting.artifacts("web")}
    for one in waiting.artifacts("web"):
        if one.own("build") == good and one.location == US:
            waiting.registry._artifacts[one.location, one.id] = replace(one, tags={})
    waiting.clock.advance(hours=1)
    assert statuses(main(waiting).go()) == {"web": "changed"}
    assert {one.id for one in waiting.artifacts("web")} == ids, "tagged again, and not copied anew"
    assert_nothing_left(waiting)


def test_no_verdict_in_time_makes_it_degraded_and_says_so(waiting: World) -> None:
    build = newest(waiting, "web").id
    assert health(waiting) == ("awaiting-verdict", f"no verdict on {build} for 60 min")
    waiting.pass_days(4)
    why = f"no verdict on {build} for 4 d, longer than validation.timeout (3d)"
    assert health(waiting) == ("degraded", why)
    assert_nothing_left(waiting)
    waiting.judge("web", "passed")
    main(waiting).go()
    assert health(waiting)[0] == "healthy"


def test_where_no_verdict_is_asked_for_one_counts_all_the_same(world: World) -> None:
    world.commit(MORE)
    main(world).go()
    bad, good = (build.id for build in world.lock("web").builds)
    assert channels(world) == (bad, bad)
    world.clock.advance(hours=1)
    world.judge("web", "failed")
    main(world).go()
    assert channels(world) == (good, good)
    assert_nothing_left(world)


def test_the_tags_of_a_verdict_read_back_as_they_were_written(waiting: World) -> None:
    verdict = Verdict(status="failed", by="acme/validation", evidence="https://ci.example.org/7")
    vote(waiting, newest(waiting, "web").id, verdict_tags(verdict))
    main(waiting).go()
    assert newest(waiting, "web").verdict == verdict


def test_who_builds_does_not_judge_a_verdict_that_was_there_before_is_taken_off(world: World) -> None:
    world.commit({"desired/web/image.yaml": ON_BASE + VALIDATED})
    main(world).go()
    pull = PullRequest.open(world, MORE)
    pull.preview()
    (preview,) = pull.artifacts("web")
    vote(world, preview.own("build") or "", votes("passed", by="the template"))
    pull.merge()
    main(world).go()
    build = newest(world, "web")
    assert (build.id, build.phase, build.verdict) == (preview.own("build"), "candidate", None)
    assert channels(world)[1] != build.id
    assert_nothing_left(world)


@pytest.mark.thorough
def test_when_stable_fails_after_many_candidates_it_falls_back_to_the_one_before(waiting: World) -> None:
    first = channels(waiting)[1]
    for line in ("one", "two", "three"):
        waiting.commit({"desired/web/setup.sh": f"echo {line}\n"})
        main(waiting).go()
        waiting.clock.advance(hours=1)
    passed = newest(waiting, "web").id
    vote(waiting, passed, votes("passed"))
    main(waiting).go()
    waiting.commit({"desired/web/setup.sh": "echo four\n"})
    main(waiting).go()
    vote(waiting, passed, votes("failed"))
    main(waiting).go()
    assert channels(waiting)[1] == first
