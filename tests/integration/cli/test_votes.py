"""`reconciler verdict`: what a vote leads to is said of one that counts, and of no other."""

from __future__ import annotations

import json

import pytest

from reconciler.cli import verdict
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Artifact, Verdict
from reconciler.plan.channels import verdict_tags
from tests.doubles.registry import MemoryRegistry
from tests.integration.cli.conftest import Fleet

BUILD = "20261122T101530Z-1a2b3c4"
KEY = f"sha256:{'1a2b3c4' + '0' * 57}"


@pytest.fixture
def voted(fleet: Fleet) -> Fleet:
    """`web` has one build, on which somebody voted."""
    artifact = {"kind": "ami", "builder": "amazon-ebs.image", "location": "us-east-1", "id": "ami-0aa11bb22cc33dd44"}
    build = {
        "id": BUILD, "key": KEY, "components": {}, "commit": "c" * 40, "phase": "stable",
        "artifacts": [artifact],
        "verdict": {"status": "passed", "by": "acme/validation", "evidence": "text, INC-42"},
    }  # fmt: skip
    lock = {"schema": 1, "image": "web", "builds": [build], "channels": {"candidate": BUILD, "stable": BUILD}}
    fleet.commit({"state/web.lock.json": json.dumps(lock)})
    return fleet


def test_a_vote_that_changes_nothing_says_so_and_asks_nobody(voted: Fleet) -> None:
    ended = voted.run("verdict", "web", BUILD, "pass", "--evidence", "text, INC-43", "--by", "me")

    # There are no credentials here: a registry that was asked would have been refused.
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"web {BUILD} is recorded as passed by acme/validation: nothing is changed\n"


def test_what_a_vote_leads_to_is_not_said_where_it_is_refused(voted: Fleet) -> None:
    registry = MemoryRegistry("acme/images")
    artifact = registry.seed("us-east-1", "web", tags=verdict_tags(Verdict(status="failed", by="x", evidence="y")))
    passed = Verdict(status="passed", by="me", evidence="text, INC-42")

    with pytest.raises(UserError, match="failed validation already, and a failure is final"):
        verdict._refuse_final(registry, [artifact.as_artifact("b")], passed, named=f"web {BUILD}")
    gone = Artifact(kind="ami", builder="b", location="us-east-1", id="ami-0")
    with pytest.raises(UserError, match="no artifact of web is there any more"):
        verdict._refuse_final(registry, [gone], passed, named="web")


def test_evidence_is_any_text(voted: Fleet) -> None:
    registry = MemoryRegistry("acme/images")
    artifact = registry.seed("us-east-1", "web", tags={}).as_artifact("b")
    said = Verdict(status="failed", by="me", evidence="text, INC-42")

    assert verdict._vote(registry, [artifact], said, named=f"web {BUILD}", gone=frozenset()) == 0

    found = registry.find("us-east-1", artifact.id)
    assert found is not None
    assert found.own("verdict-evidence") == "text, INC-42"
