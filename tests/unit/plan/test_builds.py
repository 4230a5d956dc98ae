from __future__ import annotations

import pytest

from reconciler.model.errors import UserError
from reconciler.model.lockfile import Artifact, Build, Channels, Phase
from reconciler.plan.difference import NotAmong, pair

# As a lockfile has them: what was recorded last first. The second was built by a pull request, before the third.
BUILDS = ("20261122T101530Z-1a2b3c4", "20261110T101530Z-5d6e7f8", "20261115T101530Z-1a9b8c7")


def build(build_id: str, phase: Phase = "stable") -> Build:
    artifact = Artifact(kind="ami", builder="amazon-ebs.web", location="us-east-1", id="ami-1")
    return Build(id=build_id, key="sha256:1", components={}, commit="9" * 40, artifacts=(artifact,), phase=phase)


def compared(*asked: str, withdrawn: str = "", channels: Channels | None = None) -> tuple[str, str]:
    builds = [build(one, "rejected" if one == withdrawn else "stable") for one in BUILDS]
    pointers = channels or Channels(candidate=BUILDS[0], stable=BUILDS[2])
    old, new = pair("web", builds, channels=pointers, asked=asked)
    return old.id, new.id


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((), (BUILDS[1], BUILDS[0])),
        ((BUILDS[1],), (BUILDS[2], BUILDS[1])),
        ((BUILDS[0], BUILDS[2]), (BUILDS[0], BUILDS[2])),
        (("stable", "candidate"), (BUILDS[2], BUILDS[0])),
        (("20261110", "1a2"), (BUILDS[1], BUILDS[0])),
    ],
)
def test_the_build_before_is_the_one_that_was_recorded_before(
    asked: tuple[str, ...], expected: tuple[str, str]
) -> None:
    assert compared(*asked) == expected


def test_a_build_that_was_withdrawn_is_compared_and_is_before_none() -> None:
    assert compared(withdrawn=BUILDS[1]) == (BUILDS[2], BUILDS[0])
    assert compared(BUILDS[1], withdrawn=BUILDS[1]) == (BUILDS[2], BUILDS[1])


def test_a_beginning_that_several_have_is_refused() -> None:
    with pytest.raises(UserError, match=f"'1a' may be 2 builds of web\n  which one\\? {BUILDS[0]}, {BUILDS[2]}"):
        compared("1a")


@pytest.mark.parametrize("asked", ["", "nonsense", "20261122T101530Z-1a2b3c4x", "stable "])
def test_what_is_no_build_is_named_with_all_that_are(asked: str) -> None:
    with pytest.raises(NotAmong, match=f"no build '{asked}' of web is recorded\n.*{', '.join(BUILDS)}"):
        compared(asked)


def test_a_channel_that_points_nowhere_is_no_build() -> None:
    with pytest.raises(NotAmong, match="web has no candidate"):
        compared(channels=Channels())
    with pytest.raises(NotAmong, match="no build 'stable' of web"):
        compared("stable", channels=Channels(candidate=BUILDS[0]))


def test_the_oldest_has_none_before_it() -> None:
    with pytest.raises(NotAmong, match=f"{BUILDS[2]} is the first build of web"):
        compared(BUILDS[2])
