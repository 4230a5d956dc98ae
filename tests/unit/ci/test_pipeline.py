"""A plan as a CircleCI pipeline: one job per image, in the order of the graph, whatever the images are called."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.ci.pipeline import continuation, job_name, without_job
from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Reason
from reconciler.model.plan import Plan, PlannedImage, PlanOptions

MakePlan = Callable[..., Plan]
MakePlanned = Callable[..., PlannedImage]

CONFIG: dict[str, Any] = {
    "version": 2.1,
    "setup": True,
    "parameters": {"connected": {"type": "boolean"}},
    "jobs": {"reconcile": {"parameters": {"arguments": {"type": "string", "default": ""}}}, "test": {}},
    "workflows": {"setup": {"jobs": ["fan-out"]}},
}
# What CircleCI takes as a job's name, in `jobs` and in `requires` (its published JSON schema).
JOB_NAME = re.compile(r"[A-Za-z][A-Za-z\s\d_-]*")
names = st.from_regex(IMAGE_NAME_PATTERN, fullmatch=True)


def jobs(config: dict[str, Any]) -> list[Any]:
    return list(config["workflows"]["images"]["jobs"])


def test_each_image_that_is_due_gets_a_job_after_its_parents(a_plan: MakePlan, planned: MakePlanned) -> None:
    new = Reason(code="new")
    plan = a_plan(planned("base", reasons=[new]), planned("web", reasons=[new], blocked_by=["base"]), quiet=3)

    made = continuation(CONFIG, plan, job="reconcile")

    slug = "<< pipeline.project.slug >>/reconcile"
    assert jobs(made) == [
        {"reconcile": {"name": "image base", "arguments": "base", "serial-group": f"{slug}/base"}},
        {
            "reconcile": {
                "name": "image web",
                "arguments": "web",
                "serial-group": f"{slug}/web",
                "requires": ["image base"],
            }
        },
    ]
    assert {**made, "workflows": CONFIG["workflows"], "setup": True} == CONFIG, "the rest is the project's own"


def test_each_job_gets_the_contexts(a_plan: MakePlan, planned: MakePlanned) -> None:
    (job,) = jobs(continuation(CONFIG, a_plan(planned("web")), job="reconcile", contexts=["builds", "push"]))

    assert job["reconcile"]["context"] == ["builds", "push"]


def test_the_jobs_of_a_fleet_in_a_folder_work_there_and_wait_for_no_other_fleet(
    a_plan: MakePlan, planned: MakePlanned
) -> None:
    (job,) = jobs(continuation(CONFIG, a_plan(planned("web")), job="reconcile", folder="infra/images"))

    assert job["reconcile"]["arguments"] == "web -C infra/images"
    assert job["reconcile"]["serial-group"].endswith("/reconcile/infra/images/web")


def test_a_parent_that_has_no_job_is_not_waited_for(a_plan: MakePlan, planned: MakePlanned) -> None:
    plan = a_plan(planned("web", reasons=[Reason(code="new")], blocked_by=["base"]), quiet=1)

    (job,) = jobs(continuation(CONFIG, plan, job="reconcile"))

    assert "requires" not in job["reconcile"]


def test_what_is_unknown_or_invalid_gets_a_job_that_says_so(a_plan: MakePlan, planned: MakePlanned) -> None:
    unknown = planned("api", sync="unknown", actions=("none",), unknown=["eu-west-1: RequestLimitExceeded"])
    invalid = planned("web", sync="unknown", actions=("none",), errors=["desired/web/image.yaml:1:1: …"])
    waiting = planned("db", actions=("none",), reasons=[Reason(code="new")], waits_for="waits for base")

    made = jobs(continuation(CONFIG, a_plan(unknown, invalid, waiting), job="reconcile"))

    assert [job["reconcile"]["arguments"] for job in made] == ["api", "web"]


def test_with_nothing_to_do_one_job_does_nothing(a_plan: MakePlan) -> None:
    made = continuation(CONFIG, a_plan(quiet=3), job="reconcile")

    assert jobs(made) == ["nothing-to-do"]
    assert made["jobs"]["nothing-to-do"] == {"type": "no-op"}


def test_options_are_handed_on_and_only_what_was_forced_is_forced(a_plan: MakePlan, planned: MakePlanned) -> None:
    images = [planned("base", reasons=[Reason(code="forced")]), planned("web", reasons=[Reason(code="new")])]
    plan = a_plan(*images, options=PlanOptions(refresh=True, force=("base",)))

    made = jobs(continuation(CONFIG, plan, job="reconcile"))

    assert [job["reconcile"]["arguments"] for job in made] == ["base --refresh --force base", "web --refresh"]


@given(one=names, other=names)
def test_every_image_has_a_job_name_of_its_own_that_circleci_takes(one: str, other: str) -> None:
    assert JOB_NAME.fullmatch(job_name(one))
    assert (job_name(one) == job_name(other)) == (one == other)


@given(
    name=st.text(min_size=1, max_size=30) | st.sampled_from(["$(id)", "a b", "web\n", "`id`", "x;y", '"', "<< x >>"])
)
def test_no_name_of_a_folder_becomes_a_command(name: str) -> None:
    image = PlannedImage(image=name, sync="unknown", health="unknown", actions=("none",), errors=("invalid",))
    plan = Plan(
        plan_id="sha256:0", head="0", applyable=False, complete=True, errored=True, summary={}, images=(image,)
    )  # fmt: skip

    made = jobs(continuation(CONFIG, plan, job="reconcile"))

    if made == ["nothing-to-do"]:
        assert without_job(plan) == (name,)
    else:
        assert without_job(plan) == ()
        assert re.fullmatch(r"[a-z0-9._-]+", made[0]["reconcile"]["arguments"])
        assert shlex.split(made[0]["reconcile"]["arguments"]) == [name]


@pytest.mark.parametrize(
    "orb", ["acme/reconciler@1.0.0", {"jobs": {"reconcile": CONFIG["jobs"]["reconcile"]}}], ids=["published", "inline"]
)
def test_the_job_may_be_an_orbs(a_plan: MakePlan, planned: MakePlanned, orb: Any) -> None:
    config = {"version": 2.1, "orbs": {"reconciler": orb}, "workflows": {}}
    plan = a_plan(planned("base", reasons=[Reason(code="new")]))

    made = continuation(config, plan, job="reconciler/reconcile")

    assert [next(iter(job)) for job in jobs(made)] == ["reconciler/reconcile"]
    assert made["orbs"] == config["orbs"]
    assert "jobs" not in made


@pytest.mark.parametrize("orbs", [{}, {"other": "acme/reconciler@1"}, {"reconciler": {}}, {"reconciler": None}, None])
def test_an_orb_that_has_no_such_job_is_said(a_plan: MakePlan, orbs: Any) -> None:
    with pytest.raises(UserError, match="has no job 'reconciler/reconcile'"):
        continuation({"orbs": orbs}, a_plan(), job="reconciler/reconcile")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "has no job 'reconcile'"),
        ({"jobs": {"test": {}}}, "has no job 'reconcile'"),
        ({"jobs": {"reconcile": {"steps": []}}}, "does not take the parameter 'arguments'"),
    ],
)
def test_a_config_without_such_a_job_is_refused(a_plan: MakePlan, config: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        continuation(config, a_plan(), job="reconcile")
