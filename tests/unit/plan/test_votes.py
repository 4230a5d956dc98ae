"""Votes on one build that differ between its regions."""

from __future__ import annotations

from itertools import permutations

import pytest

from reconciler.model.lockfile import Artifact, Build, Verdict
from reconciler.model.observation import Seen
from reconciler.plan.channels import verdict_on, verdict_tags

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
