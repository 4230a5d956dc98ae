"""A reviewed plan is carried out as it stands, or refused."""

from __future__ import annotations

import pytest

from reconciler.model.errors import UserError
from reconciler.model.plan import Plan, PlanOptions
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import EU, World, statuses


def reviewed(world: World, options: PlanOptions | None = None) -> Plan:
    """A plan as it comes back from the file that it was written to."""
    plan = world.controller().look(options)[1].plan
    world.clock.advance(hours=1)
    return Plan.model_validate_json(plan.model_dump_json(indent=2, exclude_none=True))


def test_a_plan_that_still_holds_is_carried_out(settled: World) -> None:
    head = settled.commit({"desired/web/setup.sh": "echo more\n"})
    report = settled.controller().reconcile(expected=reviewed(settled))
    assert statuses(report) == {"web": "built"}
    assert_settled(settled, since=head)


def test_a_plan_brings_its_own_options(settled: World) -> None:
    settled.publish_upstream("toolbox-2")
    plan = reviewed(settled, PlanOptions(images=("tools",), refresh=True))
    assert statuses(settled.controller().reconcile(expected=plan)) == {"tools": "built"}


def test_a_plan_for_another_commit_is_refused(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    plan = reviewed(settled)
    settled.commit({"README.md": "hello\n"})
    controller = settled.controller()
    with pytest.raises(UserError, match=f"it was made for {plan.head[:12]}, and the branch is at"):
        controller.reconcile(expected=plan)
    assert controller.built == []


def test_a_plan_file_that_says_something_else_than_its_id_stands_for_is_refused(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    plan = reviewed(settled)
    harmless = tuple(image.model_copy(update={"actions": ("none",)}) for image in plan.images)
    controller = settled.controller()
    with pytest.raises(UserError, match="the plan file was changed after it was made"):
        controller.reconcile(expected=plan.model_copy(update={"images": harmless}))
    assert controller.built == []


def test_of_a_plan_file_whose_options_were_edited_it_says_that_they_may_have_been(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    plan = reviewed(settled)
    with pytest.raises(UserError, match="or its file was edited"):
        settled.controller().reconcile(expected=plan.model_copy(update={"options": PlanOptions(images=("web",))}))


def test_a_plan_is_refused_once_it_was_carried_out(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    plan = reviewed(settled)
    settled.controller().reconcile(expected=plan)
    with pytest.raises(UserError, match="the plan is stale"):
        settled.controller().reconcile(expected=plan)


def test_a_plan_that_the_registry_outran_is_refused(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    plan = reviewed(settled)
    settled.registry.delete(next(one for one in settled.artifacts("tools") if one.location == EU))
    with pytest.raises(UserError, match=r"state/ or the registry changed since it was made"):
        settled.controller().reconcile(expected=plan)


def test_a_plan_that_a_newer_upstream_outran_is_refused(settled: World) -> None:
    settled.publish_upstream("toolbox-2")
    plan = reviewed(settled, PlanOptions(refresh=True))
    settled.publish_upstream("toolbox-3")
    with pytest.raises(UserError, match="the plan is stale"):
        settled.controller().reconcile(expected=plan)
