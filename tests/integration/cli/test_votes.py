"""`reconciler verdict`: what a vote leads to is said of one that counts, and of no other."""

from __future__ import annotations

import json

import pytest

from reconciler.cli import verdict
from reconciler.model.declaration import Settings
from reconciler.model.errors import PARTIAL, Transient, UserError
from reconciler.model.lockfile import Artifact, Verdict
from reconciler.model.observation import Seen
from reconciler.plan.channels import verdict_tags
from tests.doubles.registry import MemoryRegistry
from tests.integration.cli.conftest import Fleet

BUILD = "20261122T101530Z-1a2b3c4"
KEY = f"sha256:{'1a2b3c4' + '0' * 57}"
FAILED = Verdict(status="failed", by="me", evidence="text, INC-42")


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


def voted_on(*artifacts: Artifact) -> verdict.Voted:
    """What is voted on: the build of `web`, with these artifacts."""
    return verdict.Voted("acme/images", ("web",), BUILD, artifacts, Settings())


def marks(**more: str) -> dict[str, str]:
    """The tags of an artifact of that build."""
    own = {"fleet": "acme/images", "image": "web", "build": BUILD, **more}
    return {f"reconciler:{name}": value for name, value in own.items()}


def test_what_a_vote_leads_to_is_not_said_where_it_is_refused() -> None:
    registry = MemoryRegistry("acme/images")
    failed = verdict_tags(Verdict(status="failed", by="x", evidence="y"))
    artifact = registry.seed("us-east-1", "web", tags={**marks(), **failed}).as_artifact("b")
    passed = Verdict(status="passed", by="me", evidence="text, INC-42")

    with pytest.raises(UserError, match="failed validation already, and a failure is final"):
        verdict.refuse(voted_on(artifact), verdict.look(registry, voted_on(artifact)), passed)
    gone = voted_on(Artifact(kind="ami", builder="b", location="us-east-1", id="ami-0"))
    with pytest.raises(UserError, match=f"no artifact of web {BUILD} is there any more"):
        verdict.refuse(gone, verdict.look(registry, gone), passed)


@pytest.mark.parametrize(
    "other",
    [
        {"fleet": "acme/payments"}, {"image": "db"}, {"build": "20261123T101530Z-1a2b3c4"}, {"fleet": ""},
        {"image": ""}, {"build": ""},
    ],
)  # fmt: skip
def test_nothing_is_voted_on_that_does_not_say_itself_that_it_is_this_build(other: dict[str, str]) -> None:
    registry = MemoryRegistry("acme/images")
    ours = registry.seed("us-east-1", "web", tags=marks()).as_artifact("b")
    theirs = registry.seed("eu-west-1", "web", tags=marks(**other)).as_artifact("b")
    voted = voted_on(ours, theirs)

    with pytest.raises(UserError, match=f"nobody votes on {theirs.id} in eu-west-1"):
        verdict.refuse(voted, verdict.look(registry, voted), Verdict(status="failed", by="me", evidence="y"))


def test_nothing_is_voted_on_that_another_account_owns() -> None:
    class Shared(MemoryRegistry):
        """What is there is shared with this account, which tags it as it likes."""

        def named(self, location: str, name: str) -> tuple[Seen, ...]:
            return ()

    registry = Shared("acme/images")
    theirs = registry.seed("us-east-1", "web", tags=marks()).as_artifact("b")

    with pytest.raises(UserError, match=f"nobody votes on {theirs.id}"):
        verdict.look(registry, voted_on(theirs))


def test_what_can_not_be_looked_at_is_not_voted_on(capsys: pytest.CaptureFixture[str]) -> None:
    registry = MemoryRegistry("acme/images")
    artifact = registry.seed("us-east-1", "web", tags=marks()).as_artifact("b")
    unread = registry.seed("eu-west-1", "web", tags=marks()).as_artifact("b")
    seen = {artifact.id: registry.find("us-east-1", artifact.id), unread.id: Transient("it is throttled")}

    assert verdict.cast_vote(registry, voted_on(artifact, unread), seen, FAILED) == PARTIAL

    assert "not voted: it is throttled" in capsys.readouterr().err
    assert (found := registry.find("eu-west-1", unread.id)) is not None
    assert found.own("verdict") is None


def test_evidence_is_any_text() -> None:
    registry = MemoryRegistry("acme/images")
    artifact = registry.seed("us-east-1", "web", tags=marks()).as_artifact("b")
    voted = voted_on(artifact)

    assert verdict.cast_vote(registry, voted, verdict.look(registry, voted), FAILED) == 0

    found = registry.find("us-east-1", artifact.id)
    assert found is not None
    assert found.own("verdict-evidence") == "text, INC-42"
