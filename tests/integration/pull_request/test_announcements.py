"""The world is told of a candidate, a stable and a rejected build: at least once, and not again once it has heard.

Of what image.yaml rules, and of what goes away, see test_rulings.py and test_gc.py in `loop`.
"""

from __future__ import annotations

import pytest

from reconciler.model.errors import Terminal, Transient
from reconciler.model.events import Warned
from reconciler.model.plan import PlanOptions
from reconciler.plan.standing import standings
from tests.integration.loop.effects import Effects, Killed, failing, surround
from tests.integration.loop.world import AP, EU, ON_BASE, US, World, image_files, no_image_files, statuses
from tests.integration.pull_request.pulls import Listener, PullRequest, assert_nothing_left, main, newest

VALIDATED = f"{ON_BASE}validation: {{required: true, timeout: 30d}}\n"
MORE = {"desired/web/setup.sh": "echo more\n"}
DOWN = Transient("the webhook https://example.org was not told after 3 tries: 503 Service Unavailable")


@pytest.fixture
def receiver() -> Listener:
    return Listener()


@pytest.fixture
def told(world: World, receiver: Listener) -> World:
    """The settled fleet after a run that had the receiver hear what there was."""
    main(world, receiver).go()
    receiver.heard.clear()
    world.clock.advance(hours=1)
    return world


def test_a_build_is_announced_as_candidate_and_as_stable_and_then_never_again(told: World, receiver: Listener) -> None:
    previous = newest(told, "web").id
    told.commit(MORE)
    main(told, receiver).go()
    build = newest(told, "web").id
    assert receiver.events == [("web", build, "candidate"), ("web", build, "stable")]
    stable = receiver.heard[1]
    assert (stable.previous, stable.lockfile, stable.branch) == (previous, "state/web.lock.json", "main")
    assert [artifact.location for artifact in stable.artifacts] == [EU, US]
    assert_nothing_left(told, receiver)


def test_a_preview_is_announced_by_its_merge(told: World, receiver: Listener) -> None:
    pull = PullRequest.open(told, MORE)
    pull.preview()
    main(told, receiver).go()
    assert receiver.events == []
    pull.merge()
    main(told, receiver).go()
    build = newest(told, "web").id
    assert receiver.events == [("web", build, "candidate"), ("web", build, "stable")]
    assert_nothing_left(told, receiver)


@pytest.mark.thorough
@pytest.mark.parametrize("dies", [False, True])
def test_a_preview_whose_tag_says_that_it_was_told_is_announced(told: World, receiver: Listener, *, dies: bool) -> None:
    # Given a preview on which somebody wrote that everybody knows already
    pull = PullRequest.open(told, MORE)
    pull.preview()
    for one in told.artifacts("web"):
        if one.own("phase") == "preliminary":
            told.registry.tag(one, {"reconciler:told-webhook": "candidate,rejected,stable"})
    pull.merge()

    # When main records it, at once or in a run that died before it told anybody
    if dies:
        main(told).go()
        told.clock.advance(hours=1)
    main(told, receiver).go()

    # Then it is told all the same, and remembered
    build = newest(told, "web").id
    assert receiver.events == [("web", build, "candidate"), ("web", build, "stable")]
    assert_nothing_left(told, receiver)


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize(("status", "event"), [("passed", "stable"), ("failed", "rejected")])
def test_a_verdict_is_announced(told: World, receiver: Listener, status: str, event: str) -> None:
    before = newest(told, "web").id
    told.commit({"desired/web/image.yaml": VALIDATED, **MORE})
    main(told, receiver).go()
    build = newest(told, "web").id
    told.clock.advance(hours=1)
    told.judge("web", "passed" if status == "passed" else "failed")
    main(told, receiver).go()
    back = [("web", before, "candidate")] if event == "rejected" else []
    assert receiver.events == [("web", build, "candidate"), ("web", build, event), *back]
    assert receiver.heard[1].verdict is not None
    assert_nothing_left(told, receiver)


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize(("status", "event"), [("passed", "stable"), ("failed", "rejected")])
def test_a_verdict_is_announced_whatever_somebody_wrote_on_the_candidate_before(
    told: World, receiver: Listener, status: str, event: str
) -> None:
    # Given a candidate on which somebody wrote that everybody knows of its verdict, which nobody has given yet
    before = newest(told, "web").id
    told.commit({"desired/web/image.yaml": VALIDATED, **MORE})
    main(told, receiver).go()
    build = newest(told, "web").id
    for one in told.artifacts("web"):
        if one.own("build") == build:
            told.registry.tag(one, {"reconciler:told-webhook": "candidate,rejected,stable"})
    told.clock.advance(hours=1)

    # When that is recorded
    told.judge("web", "passed" if status == "passed" else "failed")
    main(told, receiver).go()

    # Then it is told, and remembered
    back = [("web", before, "candidate")] if event == "rejected" else []
    assert receiver.events == [("web", build, "candidate"), ("web", build, event), *back]
    assert_nothing_left(told, receiver)


def test_a_verdict_that_took_weeks_is_announced_to_those_who_heard_of_the_candidate(
    told: World, receiver: Listener
) -> None:
    told.commit({"desired/web/image.yaml": VALIDATED, **MORE})
    main(told, receiver).go()
    told.pass_days(20)
    told.judge("web", "passed")
    main(told, receiver, newcomer := Listener("sns")).go()
    assert receiver.events[-1] == ("web", newest(told, "web").id, "stable")
    assert newcomer.events == []
    assert_nothing_left(told, receiver, newcomer)


def test_each_announcer_is_told_by_itself(told: World, receiver: Listener) -> None:
    other = Listener("sns", fails=DOWN)
    told.commit(MORE)
    main(told, receiver, other).go()
    assert (len(receiver.heard), other.tries) == (2, 1), "a dead receiver is asked once a run"
    other.fails = None
    main(told, receiver, other).go()
    assert len(receiver.heard) == 2
    # It is new here, so it hears of what is a few hours old, too.
    assert {event[0] for event in other.events} == {"base", "web"}
    assert_nothing_left(told, receiver, other)


def test_what_is_not_delivered_stands_in_lockfile_and_status_until_it_is(told: World, receiver: Listener) -> None:
    told.commit(MORE)
    receiver.fails = DOWN
    controller = main(told, receiver)
    report = controller.go()
    build = newest(told, "web")
    assert (report.exit_code, statuses(report), told.lock("web").channels.stable) == (0, {"web": "built"}, build.id)
    assert [(one.event, one.build, one.to) for one in told.lock("web").undelivered] == [
        ("candidate", build.id, "webhook"),
        ("stable", build.id, "webhook"),
    ]
    assert told.subjects()[0] == "web: announcements not delivered"
    _, planned = main(told).look(PlanOptions(offline=True))
    row = next(row for row in standings(planned, now=told.clock.moment) if row.image == "web")
    assert row.why == f"webhook was not told of {build.id}: {DOWN.what}"
    assert any(DOWN.what in event.what for event in controller.told(Warned, "web") if isinstance(event, Warned))

    receiver.fails = Transient(f"{DOWN.what}; it asks to wait 37 s")
    head = told.head()
    assert main(told, receiver).go().results == ()
    assert told.head() == head, "a reason that reads differently is nothing to commit"

    receiver.fails = None
    main(told, receiver).go()
    assert len(receiver.heard) == 2
    assert (told.lock("web").undelivered, told.subjects()[0]) == ((), "web: no announcement is outstanding")
    assert_nothing_left(told, receiver)


def test_what_a_run_did_not_try_is_neither_told_again_nor_taken_for_delivered(told: World, receiver: Listener) -> None:
    """A run about another image, or one that could not read a region, does not know what was told of this one."""
    told.commit({"desired/web/image.yaml": f"{ON_BASE}regions: [{US}]\n", **MORE})
    receiver.fails = Terminal("the webhook refuses: 401")
    main(told, receiver).go()
    left = told.lock("web").undelivered
    assert left != ()
    receiver.fails = None
    told.clock.advance(hours=1)
    told.registry.unreadable[US] = "RequestLimitExceeded"
    head = told.head()
    main(told, receiver).go()
    assert (receiver.heard, told.lock("web").undelivered, told.head()) == ([], left, head)
    told.registry.unreadable.clear()
    main(told, receiver).go()
    assert (len(receiver.heard), told.lock("web").undelivered) == (2, ())
    assert_nothing_left(told, receiver)


def test_nothing_stays_undelivered_to_an_announcer_that_is_no_more(told: World, receiver: Listener) -> None:
    told.commit(MORE)
    receiver.fails = DOWN
    main(told, receiver).go()
    main(told).go()
    assert told.lock("web").undelivered == ()
    assert_nothing_left(told)


def test_a_run_that_was_killed_between_record_and_tell_is_made_up_for(told: World, receiver: Listener) -> None:
    told.commit(MORE)
    main(told).go()  # as good as killed: nobody was told
    build = newest(told, "web").id
    told.clock.advance(hours=1)
    main(told, receiver).go()
    assert receiver.events == [("web", build, "candidate"), ("web", build, "stable")]
    assert_nothing_left(told, receiver)


def test_a_run_that_was_killed_after_telling_tells_once_more_with_the_same_id(told: World, receiver: Listener) -> None:
    told.commit(MORE)
    effects = Effects()
    probe = told.copy_to(told.root.parent / "probe")
    counted, doomed = main(probe, Listener()), main(told, receiver)
    surround(counted, effects.around)
    counted.go()
    surround(doomed, Effects(die_at=len(effects.done) - 2).around)  # the last two remember what was told
    with pytest.raises(Killed):
        doomed.go()
    told.clock.advance(hours=1)
    main(told, receiver).go()
    ids = [what.id for what in receiver.heard]
    assert (len(ids), len(set(ids))) == (4, 2)
    assert_nothing_left(told, receiver)


def test_what_can_not_be_remembered_is_said_and_fails_nothing(told: World, receiver: Listener) -> None:
    told.commit(MORE)
    main(told).go()
    told.clock.advance(hours=1)
    refused = main(told, receiver)
    surround(refused, failing(f"tag {US}", Terminal("not allowed: ec2:CreateTags")))
    assert refused.go().exit_code == 0
    said = [event.what for event in refused.told(Warned, "web") if isinstance(event, Warned)]
    assert said == ["webhook was told, and may be again: not allowed: ec2:CreateTags"]
    assert_nothing_left(told, receiver)  # the other region remembers


def test_nobody_is_told_of_what_is_older_than_a_week(world: World, receiver: Listener) -> None:
    world.pass_days(8)
    main(world, receiver).go()
    assert receiver.events == []
    assert_nothing_left(world, receiver)


def test_a_region_that_is_added_or_restored_is_no_news(told: World, receiver: Listener) -> None:
    wider = {"desired/web/image.yaml": f"{ON_BASE}regions: [{US}, {EU}, {AP}]\n"}
    told.commit(wider)
    assert statuses(main(told, receiver).go()) == {"web": "changed"}
    assert newest(told, "web").artifacts[0].location == AP, "the newest copy stands first"
    told.clock.advance(hours=1)
    told.lose("web", US)
    assert statuses(main(told, receiver).go()) == {"web": "changed"}
    assert receiver.events == []
    assert_nothing_left(told, receiver)


def test_that_channels_come_back_to_an_older_build_by_a_revert_is_told_once(told: World, receiver: Listener) -> None:
    older = newest(told, "web").id
    told.commit(MORE)
    main(told, receiver).go()
    told.commit({"desired/web/setup.sh": "true\n"})
    told.clock.advance(hours=1)
    receiver.heard.clear()
    assert statuses(main(told, receiver).go()) == {"web": "adopted"}
    assert receiver.events == [("web", older, "candidate"), ("web", older, "stable")]
    assert_nothing_left(told, receiver)


def test_what_is_not_delivered_of_a_renamed_image_leaves_its_history_whole(told: World, receiver: Listener) -> None:
    told.commit(MORE)
    main(told).go()
    told.clock.advance(hours=1)
    builds = [build.id for build in told.lock("web").builds]
    site = image_files("site", f"{ON_BASE}moved_from: web\n", setup="echo more")
    told.commit({**no_image_files("web"), **site})
    receiver.fails = DOWN
    controller = main(told, receiver)
    surround(controller, failing(f"tag {US}", Terminal("not allowed: ec2:CreateTags")))
    assert controller.go().exit_code == 3
    assert [build.id for build in told.lock("site").builds] == builds
    receiver.fails = None
    assert main(told, receiver).go().exit_code == 0
    assert_nothing_left(told, receiver)
