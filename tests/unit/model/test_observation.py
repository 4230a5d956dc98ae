from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reconciler.model.observation import Observation, Seen

TAGS = {"reconciler:image": "web", "reconciler:build": "20261122T101530Z-1a2b3c4", "reconciler:key": "sha256:1"}
SEEN = Seen("ami", "us-east-1", "ami-0aa", "web-1", "available", "2026-11-22T10:20:00Z", TAGS, ("snap-1",))


def test_what_is_available_and_carries_its_key_is_complete() -> None:
    assert SEEN.complete
    assert not replace(SEEN, state="pending").complete
    assert not replace(SEEN, tags={"reconciler:image": "web"}).complete


def test_it_is_recorded_as_what_it_is() -> None:
    artifact = SEEN.as_artifact("amazon-ebs.web")
    assert (artifact.location, artifact.id, artifact.name, artifact.parts) == (
        "us-east-1",
        "ami-0aa",
        "web-1",
        ("snap-1",),
    )


def test_its_build_id_says_when_its_build_began() -> None:
    assert SEEN.began == datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize("tags", [{}, {"reconciler:build": "what somebody wrote"}])
def test_without_a_build_id_nobody_knows(tags: dict[str, str]) -> None:
    assert replace(SEEN, tags=tags).began is None


def test_an_observation_is_asked_by_image() -> None:
    other = replace(SEEN, tags={})
    assert Observation(artifacts=(SEEN, other)).of("web") == (SEEN,)
