from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from reconciler.model.errors import Place, UserError
from reconciler.model.lockfile import Lockfile, Revoked
from reconciler.model.publish import Published
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.plan.planning import make_plan
from reconciler.plan.standing import standings
from reconciler.plan.timing import next_failure

Make = Callable[..., Any]


def test_each_image_stands_by_name_with_what_is_recorded_of_it(
    an_image: Make, what_is_known: Make, plan_carried_out: Make
) -> None:
    known = what_is_known(an_image("web"), an_image("api", source={"image": "web"}))
    known = plan_carried_out(known, make_plan(known))

    api, web = standings(make_plan(known), now=known.now + timedelta(days=7))

    build = known.locks["web"].builds[0].id
    assert (web.image, web.stable, web.candidate_text, web.age) == ("web", build, "same", "7 d")
    assert (web.source, web.locations, web.health) == ("debian-12-amd64-dd44", ("us-east-1",), "healthy")
    assert (api.image, api.source) == ("api", f"web {build}")


def test_how_far_its_groups_are_is_said_as_it_is_recorded(
    an_image: Make, what_is_known: Make, plan_carried_out: Make
) -> None:
    # Given an image that is built and published to a group
    image = an_image("web", publish={"launch_templates": ["web"], "auto_scaling_groups": ["web"]})
    known = what_is_known(image)
    known = plan_carried_out(known, make_plan(known))
    lock = known.locks["web"]
    group = Published(auto_scaling_group="web", location="us-east-1", version=7, build=lock.channels.stable or "")

    def stands(*published: Published) -> tuple[str, str | None]:
        now = replace(known, locks={"web": lock.model_copy(update={"published": published})})
        (web,) = standings(make_plan(now), now=known.now)
        return web.health, web.why

    # Then it is healthy once that group runs what is stable, and not before
    assert stands()[0] == "rolling-out"
    assert stands(group.model_copy(update={"course": "begun"}))[0] == "rolling-out"
    assert stands(group.model_copy(update={"course": "done", "build": "another"}))[0] == "rolling-out"
    assert stands(group.model_copy(update={"course": "done"}))[0] == "healthy"
    failed = ("degraded", "us-east-1 group web: its refresh to version 7 failed")
    assert stands(group.model_copy(update={"course": "failed"})) == failed


def test_an_image_that_is_not_built_yet_has_no_age(an_image: Make, what_is_known: Make) -> None:
    known = what_is_known(an_image())
    (web,) = standings(make_plan(known), now=known.now)
    assert (web.stable, web.candidate_text, web.age, web.source) == (None, "none", None, None)


def test_why_it_is_not_well_is_said_in_a_line(an_image: Make, what_is_known: Make) -> None:
    known = what_is_known(an_image("web"), problems={"bad": (UserError("no", where=Place("x"), hint="yes"),)})
    failure = next_failure(None, build="20261122T101530Z-1a2b3c4", key="sha256:1", what="no\nreally", now=known.now)
    lock = Lockfile(image="web", failure=failure)

    bad, web = standings(make_plan(replace(known, locks={"web": lock})), now=known.now)

    assert bad.why == "x: no"
    assert (web.health, web.why) == ("degraded", "20261122T101530Z-1a2b3c4 failed, attempt 1: no")


def test_a_failure_whose_cause_was_taken_back_is_past(
    an_image: Make, what_is_known: Make, plan_carried_out: Make
) -> None:
    known = what_is_known(an_image("web"))
    known = plan_carried_out(known, make_plan(known))
    failure = next_failure(None, build="20261122T101530Z-1a2b3c4", key="sha256:1", what="no", now=known.now)
    lock = known.locks["web"].model_copy(update={"failure": failure})

    (web,) = standings(make_plan(replace(known, locks={"web": lock})), now=known.now)

    assert (web.health, web.why) == ("healthy", None)


def test_a_refresh_that_failed_is_told_although_the_image_is_as_declared(
    an_image: Make, what_is_known: Make, plan_carried_out: Make
) -> None:
    """What state/ pins stands. What a schedule tries each night does not pass, and people must see it."""
    known = what_is_known(an_image("web"))
    planned = make_plan(known)
    wanted = planned.decisions[0].wanted
    assert wanted is not None
    known = plan_carried_out(known, planned)
    what = "smoke test failed: test_web.py::test_nginx: assert 0"
    failure = next_failure(None, build="20261129T101530Z-1a2b3c4", key="sha256:newer", what=what, now=known.now)
    lock = known.locks["web"].model_copy(update={"failure": failure.model_copy(update={"inputs": wanted.inputs})})

    (web,) = standings(make_plan(replace(known, locks={"web": lock})), now=known.now)

    assert (web.sync, web.health) == ("in-sync", "degraded")
    assert web.why == f"20261129T101530Z-1a2b3c4 failed, attempt 1: {what}"


def test_a_suspended_image_says_why(an_image: Make, what_is_known: Make) -> None:
    known = what_is_known(an_image(suspend={"reason": "the freeze"}))
    (web,) = standings(make_plan(known), now=known.now)
    assert (web.health, web.why) == ("suspended", "suspended: the freeze")


def test_what_holds_stable_or_revokes_the_newest_build_is_said(
    an_image: Make, what_is_known: Make, plan_carried_out: Make
) -> None:
    known = what_is_known(an_image("web"))
    known = plan_carried_out(known, make_plan(known))
    build = known.locks["web"].builds[0].id
    held = what_is_known(an_image("web", hold={"build": build, "reason": "works"}), locks=known.locks)
    assert standings(make_plan(held), now=known.now)[0].why == f"held to {build}: works"

    revoked = Revoked(
        at="2026-11-29T10:15:30Z", reason="a key leaked", by="base 20261101T101530Z-1a2b3c4", phase="stable"
    )
    newest = known.locks["web"].builds[0].model_copy(update={"phase": "revoked", "revoked": revoked})
    lock = known.locks["web"].model_copy(update={"builds": (newest,)})
    (web,) = standings(make_plan(replace(known, locks={"web": lock})), now=known.now)
    assert web.why == f"{build} is revoked for base 20261101T101530Z-1a2b3c4: a key leaked"


def test_an_image_that_was_not_booted_says_why(an_image: Make, what_is_known: Make, plan_carried_out: Make) -> None:
    known = what_is_known(an_image("web"))
    known = plan_carried_out(known, make_plan(known))
    lock = known.locks["web"]

    def why(tested: SmokeTestResult | None) -> str | None:
        build = lock.builds[0].model_copy(update={"smoke_test": tested})
        now = replace(known, locks={"web": lock.model_copy(update={"builds": (build,)})})
        (web,) = standings(make_plan(now), now=known.now)
        return web.why

    skipped = why(SmokeTestResult(status="skipped", why="smoke_test.boot is false"))
    assert skipped is not None
    assert "smoke_test.boot is false" in skipped
    assert why(SmokeTestResult(status="passed")) is None
    assert why(None) is None
