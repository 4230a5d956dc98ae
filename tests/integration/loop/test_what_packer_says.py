"""Packer's output, which a plugin or a script may have written, names what somebody else has: it is left alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Seen
from reconciler.ports.builder import BuildRequest
from tests.integration.loop.world import EU, US, Controller, World, results, statuses


def foreign(world: World, *, region: str = US, of_another_account: bool = False) -> Seen:
    """An AMI of another team, with no mark of anybody's fleet. It was made long ago, or is of another account."""
    created = f"{world.clock():%Y-%m-%dT%H:%M:%SZ}" if of_another_account else "2025-01-01T00:00:00Z"
    theirs = world.registry.seed(region, "payroll-2026", tags={"team": "payroll"}, created=created)
    if of_another_account:
        world.registry.of_others.add(theirs.id)
    return theirs


def reporting(world: World, theirs: Seen, *, beside: bool = False) -> Controller:
    """A build of web whose output names an artifact, instead of what it made or beside that."""
    world.commit({"desired/web/setup.sh": "echo more\n"})
    controller = world.controller()

    def made(request: BuildRequest) -> Sequence[Artifact]:
        own = [world.make(request).as_artifact("amazon-ebs.image")] if beside else []
        return (*own, theirs.as_artifact("amazon-ebs.image"))

    controller.builder.artifacts = lambda request: tuple(made(request))
    return controller


@pytest.mark.parametrize("of_another_account", [False, True], ids=["made before", "of another account"])
def test_an_artifact_that_the_build_cannot_have_made_is_not_taken_for_its_own(
    pair: World, *, of_another_account: bool
) -> None:
    theirs = foreign(pair, of_another_account=of_another_account)

    report = reporting(pair, theirs).reconcile("web")

    assert statuses(report) == {"web": "failed"}
    why = "belongs to another account" if of_another_account else "was there before this build began"
    assert why in results(report)["web"].why
    assert pair.registry.find(US, theirs.id) == theirs, "it is neither tagged nor gone"
    assert theirs.id not in pair.show("web.lock.json").split('"failure"')[0]


@pytest.mark.thorough
@pytest.mark.parametrize("region", [US, EU])
@pytest.mark.parametrize("of_another_account", [False, True], ids=["made before", "of another account"])
def test_beside_one_of_the_builds_own_it_is_not_retired_either(
    pair: World, region: str, *, of_another_account: bool
) -> None:
    theirs = foreign(pair, region=region, of_another_account=of_another_account)

    assert statuses(reporting(pair, theirs, beside=True).reconcile("web")) == {"web": "failed"}
    pair.clock.advance(hours=1)
    pair.controller().reconcile("web")

    assert pair.registry.find(region, theirs.id) == theirs
