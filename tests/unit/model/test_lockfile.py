from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.model.declaration import Declaration
from reconciler.model.lockfile import Artifact, Build, Channels, Lockfile
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.values import began_at

ONE, TWO = "20261122T101530Z-1a2b3c4", "20261123T101530Z-2b3c4d5"


def build(build_id: str = ONE, **more: Any) -> Build:
    artifact = Artifact(kind="ami", builder="amazon-ebs.web", location="us-east-1", id=f"ami-{build_id[-7:]}")
    return Build(
        **{
            "id": build_id,
            "key": "sha256:1",
            "components": {},
            "commit": "9c0d1e2",
            "phase": "stable",
            "artifacts": (artifact,),
            **more,
        }
    )


def test_a_build_id_says_when_the_build_began() -> None:
    assert began_at(ONE) == datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "latest", "20261322T101530Z-1a2b3c4", "20261122T101530Z-1A2B3C4", f"{ONE}\n", f" {ONE}"]
)
def test_anything_else_is_no_build_id(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        began_at(text)
    with pytest.raises(ValidationError):
        build(text)


def test_the_current_build_is_the_candidate_or_else_stable() -> None:
    builds = (build(TWO), build(ONE))
    both = Lockfile(image="web", builds=builds, channels=Channels(candidate=TWO, stable=ONE))
    only_stable = Lockfile(image="web", builds=builds, channels=Channels(stable=ONE))

    assert both.current == builds[0]
    assert only_stable.current == builds[1]
    assert Lockfile(image="web").current is None
    assert both.build("20300101T000000Z-1a2b3c4") is None


@pytest.mark.parametrize(
    ("lock", "why"),
    [
        ({"builds": (build(), build())}, "recorded twice"),
        ({"channels": {"stable": ONE}}, "channel stable points to"),
        ({"builds": (build(),), "channels": {"candidate": TWO}}, "channel candidate points to"),
        ({"schema": 2}, "Input should be 1"),
        ({"image": "../web"}, "pattern"),
        ({"last_run": "2026-11-22T10:15:30Z"}, "Extra inputs"),
    ],
)
def test_a_lockfile_that_contradicts_itself_is_refused(lock: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Lockfile.model_validate({"image": "web", **lock})


def test_a_build_is_the_source_of_a_child_by_its_key_and_where_its_artifacts_are() -> None:
    pin = build().as_pin("base")
    assert (pin.image, pin.build, pin.key, pin.artifacts) == ("base", ONE, "sha256:1", {"us-east-1": "ami-1a2b3c4"})
    assert build().artifact_in("eu-west-1") is None


def test_what_came_to_the_formats_later_leaves_no_trace_where_it_says_nothing() -> None:
    """Digests are taken over whole models: of a lockfile for a plan's id, of a declaration for a failure's rest."""
    assert SmokeTestResult(status="passed", tests=9).model_dump() == {
        "status": "passed", "tests": 9, "seconds": 0, "failed": (), "why": None,
    }  # fmt: skip
    assert "hygiene" not in Declaration().model_dump()["smoke_test"]
    assert (
        Declaration.model_validate({"smoke_test": {"hygiene": "fail"}}).model_dump()["smoke_test"]["hygiene"] == "fail"
    )
