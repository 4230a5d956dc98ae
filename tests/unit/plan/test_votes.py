"""Votes on one build that differ between its regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from reconciler.model.lockfile import Artifact, Build, Verdict
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.plan.channels import verdict_on, verdict_tags, with_restated
from reconciler.plan.diff import decide

Make = Callable[..., Any]
REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
BUILD = Build(
    id="20261122T101530Z-1a2b3c4", key="sha256:1", components={}, commit="9c0d1e2", phase="candidate",
    artifacts=tuple(Artifact(kind="ami", builder="b", location=one, id=f"ami-{one}") for one in REGIONS),
)  # fmt: skip


@pytest.mark.parametrize("voters", list(permutations(("ada", "berta", "zoe"))))
@pytest.mark.parametrize("evidence", [("a", "b", "c"), ("c", "b", "a")])
def test_a_failure_beats_a_pass_whoever_gave_them(voters: tuple[str, ...], evidence: tuple[str, ...]) -> None:
    for failing in range(3):
        votes = [
            Verdict(status="failed" if number == failing else "passed", by=by, evidence=why)
            for number, (by, why) in enumerate(zip(voters, evidence, strict=True))
        ]
        seen = [
            Seen("ami", one.location, one.id, "", "available", "2026-11-22T10:15:30Z", verdict_tags(vote))
            for one, vote in zip(BUILD.artifacts, votes, strict=True)
        ]
        for order in permutations(seen):
            assert verdict_on(BUILD, order) == votes[failing]


def test_what_says_another_phase_is_named_alone_and_counted_where_there_are_several(built: Callable[..., Any]) -> None:
    situation = built()
    marks = {"fleet": "acme/images", "image": "web", "build": "20200101T000000Z-0000001", "key": "sha256:1"}
    tags = {f"{TAG_PREFIX}{name}": value for name, value in {**marks, "phase": "stable"}.items()}
    old = [
        Seen("ami", "us-east-1", f"ami-{number}", f"web-{number}", "available", "2020-01-01T00:00:00Z", tags)
        for number in (1, 2)
    ]

    def was(*seen: Seen) -> list[str]:
        decision = with_restated(replace(situation, seen=(*situation.seen, *seen)), decide(situation))
        assert len(decision.restate) == len(seen)
        return [(one.was or "").partition(":")[0] for one in decision.planned.reasons]

    assert was(old[0]) == ["us-east-1 ami-1"]
    assert was(*old) == ["us-east-1 2 artifacts"]


def test_a_preview_records_no_verdict(built: Make, an_image: Make) -> None:
    situation = built(an_image(validation={"required": True}))
    voted = tuple(
        replace(one, tags={**one.tags, "reconciler:verdict": "passed", "reconciler:verdict-by": "qa",
                           "reconciler:verdict-evidence": "e"})
        for one in situation.seen
    )  # fmt: skip

    def verdicts(*, preview: bool) -> int:
        options = situation.options.model_copy(update={"preview": preview})
        return len(decide(replace(situation, seen=voted, options=options)).verdicts)

    assert (verdicts(preview=False), verdicts(preview=True)) == (1, 0)
