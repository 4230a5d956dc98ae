"""Where channels are written out: what fails in one place leaves the others, and nothing strange is published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile
from reconciler.model.plan import PlannedImage
from reconciler.model.publish import Published
from reconciler.plan.planning import FleetPlan, make_plan
from reconciler.steps import publish as module
from reconciler.steps.publish import Outcome, publish, withdraw
from reconciler.steps.run import Report, Result
from tests.doubles.publisher import MemoryPublisher
from tests.unit.steps.in_hand import InHand, in_hand, there

Make = Callable[..., Any]
US, EU = "us-east-1", "eu-west-1"
NAME = "/images/web/stable"


class Publishing:
    """An image with a stable build in two locations, whose stable channel is written out in both."""

    def __init__(self, built: Make, an_image: Make, what_is_known: Make, root: Path) -> None:
        self.image: Image = an_image(regions=(US, EU), publish={"ssm": "/images/{image}/{channel}"})
        situation = built(self.image)
        known = what_is_known(self.image, now=situation.now)
        probe = in_hand(known, root)
        self.lock: Lockfile = there(probe, situation.lock)
        self.hand: InHand = in_hand(known, root, [self.lock])
        for seen in probe.registry.artifacts:
            self.hand.registry.seed(seen.location, seen.name, tags=seen.tags)
        self.publisher = MemoryPublisher("acme/images")
        self.planned: FleetPlan = make_plan(self.hand.run.known)

    def id_in(self, location: str) -> str:
        artifact = self.lock.builds[0].artifact_in(location)
        assert artifact is not None
        return artifact.id

    def publish(self) -> Outcome:
        result = Result("web", "built", self.lock, build=self.lock.builds[0])
        report = Report((result,), plan=self.planned.plan, target=self.hand.run.target)
        return publish(self.hand.run, report, self.planned, lambda: self.publisher)


@pytest.fixture
def publishing(built: Make, an_image: Make, what_is_known: Make, tmp_path: Path) -> Publishing:
    return Publishing(built, an_image, what_is_known, tmp_path)


def test_the_places_are_recorded_and_hold_what_the_channel_points_to(publishing: Publishing) -> None:
    outcome = publishing.publish()

    assert publishing.publisher.values()[US, NAME] == publishing.id_in(US)
    assert publishing.publisher.values()[EU, NAME] == publishing.id_in(EU)
    lock = publishing.hand.lock()
    assert lock is not None
    assert (US, NAME) in {one.place for one in lock.published}
    (result,) = outcome.report.results
    assert (result.status, outcome.waits) == ("built", {})
    assert publishing.publish().report.results[0].did == (), "a second time there is nothing to do"


def test_a_location_that_fails_leaves_the_others_and_nobody_is_told_yet(publishing: Publishing) -> None:
    publishing.publisher.unreadable[EU] = Transient("throttled")

    outcome = publishing.publish()

    assert publishing.publisher.values()[US, NAME] == publishing.id_in(US)
    (result,) = outcome.report.results
    assert (result.status, result.lock.builds) == ("failed", publishing.lock.builds)
    assert "web" in outcome.waits
    assert "throttled" in outcome.waits["web"]


def test_where_a_new_name_can_not_be_written_the_old_one_stays_and_is_recorded_on(publishing: Publishing) -> None:
    publishing.publish()
    lock = publishing.hand.lock()
    assert lock is not None
    old = Published(ssm="/images/old", location=US), Published(ssm="/images/old", location=EU)
    for one in old:
        publishing.publisher.seed(one.location, one.ssm, publishing.id_in(one.location), owner="acme/images")
    publishing.publisher.remove(US, NAME)
    publishing.lock = lock.model_copy(update={"published": (*old, *lock.published)})
    put = publishing.publisher.put

    def refused(location: str, name: str, artifact_id: str, *, description: str) -> int:
        if location == US:
            raise Terminal(f"{name} can't be written", hint="let it")
        return put(location, name, artifact_id, description=description)

    publishing.publisher.put = refused  # type: ignore[method-assign]  # a registry that refuses
    publishing.publish()

    assert (US, old[0].ssm) in publishing.publisher.values()
    assert (EU, old[1].ssm) not in publishing.publisher.values()
    recorded = publishing.hand.lock()
    assert recorded is not None
    assert [one for one in recorded.published if one.ssm == "/images/old"] == [old[0]]

    publishing.lock, publishing.publisher.put = recorded, put  # type: ignore[method-assign]  # it lets us by now
    publishing.publish()

    assert "/images/old" not in {name for _, name in publishing.publisher.values()}


def test_somebody_elses_name_stays_theirs_and_another_is_asked_for(publishing: Publishing) -> None:
    publishing.publisher.seed(US, NAME, "ami-theirs", owner="acme/others")

    outcome = publishing.publish()

    assert publishing.publisher.values()[US, NAME] == "ami-theirs"
    (result,) = outcome.report.results
    assert isinstance(result.error, Terminal)
    assert result.error.hint == ("give another name in `publish.ssm`",)
    assert publishing.publisher.values()[EU, NAME] == publishing.id_in(EU)


@pytest.mark.parametrize("state", ["gone", "another image's"])
def test_what_only_the_lockfile_calls_ours_is_published_nowhere(publishing: Publishing, state: str) -> None:
    seen = next(one for one in publishing.hand.registry.artifacts if one.location == US)
    publishing.hand.registry.delete(seen)
    if state != "gone":
        stranger = {"reconciler:fleet": "acme/images", "reconciler:image": "db", "reconciler:build": "other"}
        publishing.hand.registry._artifacts[US, seen.id] = seen.__class__(
            **{**{name: getattr(seen, name) for name in seen.__dataclass_fields__}, "name": "db-1", "tags": stranger}
        )

    outcome = publishing.publish()

    assert (US, NAME) not in publishing.publisher.values()
    assert publishing.publisher.values()[EU, NAME] == publishing.id_in(EU)
    error: ReconcilerError | None = outcome.report.results[0].error
    assert error is not None
    assert error.what.startswith(f"{seen.id} is not published in {US}: ")


def test_nothing_is_opened_where_nothing_was_acted_on(publishing: Publishing) -> None:
    def refuse() -> MemoryPublisher:
        pytest.fail("nobody asks for it")

    report = Report((), plan=publishing.planned.plan, target=publishing.hand.run.target)

    outcome = publish(publishing.hand.run, report, publishing.planned, refuse)

    assert outcome.report is report
    assert "web" in outcome.waits, "what is not written out yet is told to nobody"


def test_a_suspended_image_keeps_nobody_waiting(publishing: Publishing) -> None:
    (decision,) = publishing.planned.decisions
    quiet = PlannedImage(image="web", sync="in-sync", health="suspended", actions=("none",))
    planned = FleetPlan(publishing.planned.plan, (type(decision)(quiet, image=decision.image, lock=decision.lock,
                                                                  wanted=None),))  # fmt: skip
    report = Report((), plan=planned.plan, target=publishing.hand.run.target)

    outcome = publish(publishing.hand.run, report, planned, lambda: publishing.publisher)

    assert outcome.waits == {}


class TestWithdraw:
    def test_names_of_what_is_declared_no_more_are_taken_back_and_others_stay(
        self, publishing: Publishing, what_is_known: Make, tmp_path: Path
    ) -> None:
        ours = Published(ssm="/images/old/stable", location=US)
        theirs = Published(ssm="/images/old/candidate", location=US)
        claimed = Published(ssm=NAME, location=US)
        template = Published(launch_template="old", location=US)
        for one, owner in ((ours, "acme/images"), (theirs, "acme/others"), (claimed, "acme/images")):
            publishing.publisher.seed(US, one.ssm, "ami-1", owner=owner)
        lock = Lockfile(image="old", published=(ours, theirs, claimed, template))

        deeds = withdraw(publishing.hand.run, lock, lambda: publishing.publisher)

        assert [one.verb for one in deeds] == ["withdrawn"]
        assert set(publishing.publisher.values()) == {(US, theirs.ssm), (US, NAME)}
        assert withdraw(publishing.hand.run, lock, lambda: publishing.publisher, of=[EU]) == ()


def test_each_place_that_is_written_is_told(publishing: Publishing) -> None:
    publishing.publish()
    told = {(one.location, one.parameter, one.artifact) for one in publishing.hand.told(events.Published)}
    assert {(at, NAME, publishing.id_in(at)) for at in (US, EU)} <= told


def test_what_was_planned_by_nobody_is_waited_for_as_well(publishing: Publishing) -> None:
    report = Report((), plan=publishing.planned.plan, target=publishing.hand.run.target)

    outcome = publish(
        publishing.hand.run, report, replace(publishing.planned, decisions=()), lambda: publishing.publisher
    )  # fmt: skip

    assert set(outcome.waits) == {"web"}


def test_what_a_launch_template_or_a_group_was_given_is_told_as_well(publishing: Publishing) -> None:
    at = Published(launch_template="web", location=US, version=6)

    deed = module._told(publishing.hand.run, publishing.image, at, "version 6")

    (told,) = publishing.hand.told(events.Published)
    assert (told.location, told.parameter, told.artifact) == (US, "launch template web", "version 6")
    assert (deed.verb, deed.what) == ("published", f"{at.text} version 6")
