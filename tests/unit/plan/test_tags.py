from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.lockfile import Verdict
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.source import Pin
from reconciler.plan.channels import NO_VERDICT, verdict_tags
from reconciler.plan.key import wanted
from reconciler.plan.tags import (
    always_written,
    at_birth,
    branch_value,
    branches_value,
    ever_written,
    nothing_told,
    of_preview,
    of_recorded,
    own,
    source_text,
    standing,
    told_tags,
    when_complete,
)
from reconciler.registries.ec2.dialect import AMI

Make = Callable[..., Any]


def test_what_is_born_says_whose_it_is_and_not_that_it_is_whole(an_image: Make) -> None:
    tags = at_birth(fleet="acme/images", image="web", build_id="20261122T101530Z-1a2b3c4", run_id="7")
    assert tags == {
        "reconciler:fleet": "acme/images",
        "reconciler:image": "web",
        "reconciler:build": "20261122T101530Z-1a2b3c4",
        "reconciler:run": "7",
    }


def test_what_is_complete_carries_all_that_is_needed_to_adopt_it(an_image: Make, a_pin: Make) -> None:
    image = an_image(tags={"CostCenter": "42"})
    want = wanted(image, a_pin("ami-0aa"))
    tags = when_complete(
        fleet="acme/images", image=image, build_id="20261122T101530Z-1a2b3c4", wanted=want, commit="9c0d1e2",
        phase="candidate",
    )  # fmt: skip
    assert tags == {
        "CostCenter": "42",
        "reconciler:fleet": "acme/images",
        "reconciler:image": "web",
        "reconciler:build": "20261122T101530Z-1a2b3c4",
        "reconciler:key": want.key,
        "reconciler:inputs": want.inputs,
        "reconciler:commit": "9c0d1e2",
        "reconciler:phase": "candidate",
        "reconciler:source": "ami-0aa",
    }


def test_the_tags_follow_from_the_record_alone(built: Make, an_image: Make) -> None:
    situation = built(an_image(tags={"CostCenter": "42"}))
    (build,) = situation.lock.builds
    expected = of_recorded(fleet="acme/images", image=situation.image, build=build)
    assert situation.seen[0].tags == {**expected, **standing(situation.lock, build)}


@pytest.mark.parametrize(("status", "tag"), [("passed", "passed"), ("failed", "failed"), ("skipped", None)])
def test_only_what_was_booted_says_how_its_test_went(built: Make, status: str, tag: str | None) -> None:
    situation = built()
    build = situation.lock.builds[0].model_copy(update={"smoke_test": SmokeTestResult(status=status)})
    tags = of_recorded(fleet="acme/images", image=situation.image, build=build)
    assert tags.get("reconciler:smoke") == tag


def test_an_image_on_nothing_names_no_source(built: Make, an_image: Make) -> None:
    assert "reconciler:source" not in built(an_image(source=None)).seen[0].tags


def test_a_source_fits_into_a_tag() -> None:
    build = "20261122T101530Z-1a2b3c4"
    assert source_text(Pin(image="base", build=build)) == f"base@{build}"
    assert len(source_text(Pin(image="b" * 300, build=build))) == 256


def test_every_tag_that_is_written_counts(built: Make, an_image: Make) -> None:
    image = an_image(tags={"CostCenter": "42"})
    situation = built(image)
    build = situation.lock.builds[0].model_copy(update={"smoke_test": SmokeTestResult(status="passed")})
    preview = of_preview(fleet="acme/images", image=image, build=build, branch="web/more", pull_request=9)
    written = {
        *preview, *at_birth(fleet="acme/images", image="web", build_id=build.id, run_id="7"), *NO_VERDICT,
        *verdict_tags(Verdict(status="passed", by="qa", evidence="none")), *told_tags("sns", ["stable"]),
    }  # fmt: skip
    assert written - {"CostCenter"} <= ever_written(["sns"])
    recorded = {**of_recorded(fleet="acme/images", image=image, build=build), **standing(situation.lock, build)}
    assert always_written(image) <= recorded.keys()
    assert len(always_written(image)) + 40 <= (AMI.most_marks or 0), "docs/desired.md says that 40 find room"


def test_a_tag_that_nobody_counts_is_not_written() -> None:
    with pytest.raises(ValueError, match="not among the tags that count"):
        own(team="platform")


@pytest.mark.parametrize(
    ("before", "branch", "after"),
    [
        (None, "feature", "feature"),
        ("feature", "feature", "feature"),
        ("feature", "fix/1", "feature fix/1"),
        (None, "b" * 300, "b" * 256),
        ("b" * 250, "12345", "b" * 250 + " 12345"),
        ("b" * 250, "123456", "b" * 250),
    ],
    ids=["first", "known", "another", "too long by itself", "just fits", "does not fit"],
)
def test_the_branches_of_a_preview_fit_a_tag_and_the_first_ones_stay(
    before: str | None, branch: str, after: str
) -> None:
    """EC2 takes 256 characters in a tag's value, and refuses all tags of a call where one has more."""
    assert branches_value(before, branch) == after
    assert branch_value(branch) == branch[:256]
    assert len(after) <= 256


def test_what_takes_back_that_somebody_was_told_leaves_all_other_tags() -> None:
    said = told_tags("webhook", ["stable"])
    assert nothing_told({**said, "Owner": "security", "reconciler:image": "web"}) == dict.fromkeys(said, "")
    assert nothing_told({"Owner": "security"}) == {}
