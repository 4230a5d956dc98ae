from __future__ import annotations

from collections.abc import Callable

import pytest

from reconciler.model.lockfile import Reason
from reconciler.model.plan import Plan, PlannedImage, Retirement
from reconciler.words import plans

MakePlan = Callable[..., Plan]
MakePlanned = Callable[..., PlannedImage]


def test_the_first_line_answers_the_question(a_plan: MakePlan, planned: MakePlanned) -> None:
    base = planned(
        "base", reasons=[Reason(code="source-changed"), Reason(code="source-changed"), Reason(code="forced")]
    )
    api = planned("api", sync="unknown", actions=("none",), unknown=["x"])
    bad = planned("bad", sync="unknown", actions=("none",), errors=["y"])

    assert plans.headline(a_plan(quiet=14)) == "14 images in sync"
    assert plans.headline(a_plan(quiet=1)) == "1 image in sync"
    assert plans.headline(a_plan(base, quiet=13)) == "1 of 14 images drifted: base (source-changed, forced)"
    assert plans.headline(a_plan(base, api, bad, quiet=1)) == (
        "1 of 4 images drifted: base (source-changed, forced); 1 of 4 images unknown: api; 1 of 4 images invalid: bad"
    )


def test_what_was_and_what_is_now_are_one_line_in_a_log(planned: MakePlanned) -> None:
    long = "eu-west-1 launch template web: it is not there: make it, tagged with this fleet, or take the name away"
    image = planned("web", reasons=(Reason(code="publication-changed", was=long, now="not written"),))
    assert f"{long} → not written" in plans.sentences(image)
    assert f"{long} → not written" not in plans.details(image)


def test_six_images_are_named_and_the_others_counted(a_plan: MakePlan, planned: MakePlanned) -> None:
    many = [planned(f"i{number}", reasons=[Reason(code="new")]) for number in range(8)]
    assert plans.headline(a_plan(*many)).endswith("i5 (new) and 2 more")


def test_without_earlier_builds_nothing_is_estimated(a_plan: MakePlan, planned: MakePlanned) -> None:
    assert plans.estimate(a_plan(planned("web"), quiet=1)) is None


def test_what_is_due_next_is_named_soonest_first_and_the_rest_counted(a_plan: MakePlan, planned: MakePlanned) -> None:
    quiet = {"sync": "in-sync", "actions": ("none",)}
    images = [planned(name, due=f"2026-11-{29 - n}T02:1{n}:00Z", **quiet) for n, name in enumerate("abcd")]
    assert plans.due(a_plan(*images[:1], planned("never", **quiet))) == "Refresh due (UTC): a 2026-11-29 02:10."
    assert plans.due(a_plan(*images)) == (
        "Refresh due (UTC): d 2026-11-26 02:13, c 2026-11-27 02:12, b 2026-11-28 02:11 and 1 more."
    )
    assert plans.due(a_plan(planned("never", **quiet))) is None


def test_what_goes_is_listed_by_place_and_of_much_the_rest_counted() -> None:
    one = (Retirement(location="us-east-1", id="ami-1"),)
    assert plans.listed(one) == "1 artifact in 1 location: us-east-1 ami-1"
    many = (*(Retirement(location="eu-west-1", id=f"ami-{number}") for number in range(2, 11)), *one)
    assert plans.listed(many) == (
        "10 artifacts in 2 locations: eu-west-1 ami-2 ami-3 ami-4 ami-5 ami-6 ami-7 ami-8 ami-9 (+2 more)"
    )


def test_a_plan_lists_what_it_deletes_unless_its_reasons_do(planned: MakePlanned) -> None:
    gone = (Retirement(location="us-east-1", id="ami-1"),)
    removed = Reason(code="removed", was="3 recorded builds", now="not declared")
    extra = Reason(code="region-extra", was="us-east-1 ami-1", now="not declared")
    assert plans.facts(planned("web", reasons=[removed], retires=gone)) == (
        "3 recorded builds → not declared",
        "deletes 1 artifact in 1 location: us-east-1 ami-1",
    )
    assert plans.facts(planned("web", reasons=[extra], retires=gone)) == ("us-east-1 ami-1 → not declared",)


def test_what_the_reasons_say_one_by_one_is_not_said_again_as_what_it_waits_for(planned: MakePlanned) -> None:
    told = [f"{location} group web: it is not there (web/image.yaml:6:3)" for location in ("eu-west-1", "us-east-1")]
    reasons = tuple(Reason(code="publication-changed", was=one, now="not refreshed") for one in told)
    image = planned("web", reasons=reasons, waits_for="; ".join(told))
    assert plans.facts(image) == (told[0], "→ not refreshed", told[1], "→ not refreshed")
    held = image.model_copy(update={"waits_for": f"{image.waits_for}; and it is held"})
    assert plans.facts(held)[-1] == held.waits_for


@pytest.mark.parametrize(
    "places",
    [
        ("eu-west-1", "us-east-1"),
        ("mirror.example.org:5000/acme/web", "registry.example.org/acme/web"),
        ("/mnt/backup/images", "s3://acme-images/appliance"),
        ("vsphere://vcenter.example.org/DC0/vm/office", "vsphere://vcenter.example.org/DC0/vm/templates"),
    ],
)
def test_one_reason_of_several_locations_is_told_once_whatever_they_are_called(
    planned: Callable[..., PlannedImage], places: tuple[str, ...]
) -> None:
    image = planned("api", sync="unknown", actions=("none",), unknown=[f"{one}: it does not answer" for one in places])

    assert list(plans.details(image)) == [f"{places[0]}, {places[1]}: it does not answer"]
