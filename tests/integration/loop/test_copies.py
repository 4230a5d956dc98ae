"""A copy in another region is as what Packer left, whichever way it comes to be made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.care import Grants
from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Artifact
from reconciler.ports.builder import BuildRequest
from tests.doubles.registry import Traits
from tests.integration.loop.effects import Killed, dying_at, failing, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import EU, US, Controller, World, results

TRAITS = Traits(description="nginx on base", launched_by=Grants.of(["222222222222"]))


def dressed(world: World, controller: Controller) -> Controller:
    """Packer puts tags of the template's own on the AMI, a description, and who may launch it."""

    def leave(request: BuildRequest) -> tuple[Artifact, ...]:
        made = world.make(request)
        own = replace(made, tags={**made.tags, "Name": "web", "Base": "debian-12"})
        world.registry._artifacts[US, made.id] = own
        world.registry.traits[US, made.id] = TRAITS
        return (own.as_artifact("amazon-ebs.image"),)

    controller.builder.artifacts = leave
    return controller


def assert_alike(world: World) -> None:
    newest = world.lock("web").builds[0]
    assert {one.location for one in newest.artifacts} == {US, EU}
    tags = []
    for artifact in newest.artifacts:
        seen = world.registry.find(artifact.location, artifact.id)
        assert seen is not None
        tags.append({name: value for name, value in seen.tags.items() if name != "reconciler:run"})
        assert world.registry.traits[artifact.location, artifact.id] == TRAITS
    assert tags[0] == tags[1]
    assert tags[0]["Base"] == "debian-12"


def test_what_is_built_is_copied_whole(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    dressed(settled, settled.controller()).reconcile("web")
    assert_alike(settled)


def test_what_was_lost_is_copied_whole(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    dressed(settled, settled.controller()).reconcile("web")
    settled.clock.advance(hours=1)
    head = settled.head()
    settled.lose("web", EU)
    settled.controller().reconcile("web")
    assert_alike(settled)
    assert_settled(settled, since=head)


@pytest.mark.parametrize("effect", [f"complete {EU}", f"wait {EU}"])
def test_a_copy_that_a_killed_run_left_half_done_is_completed(settled: World, effect: str) -> None:
    head = settled.commit({"desired/web/setup.sh": "echo more\n"})
    with pytest.raises(Killed):
        surround(dressed(settled, settled.controller()), dying_at(effect)).reconcile("web")
    settled.controller().reconcile("web")
    assert_alike(settled)
    assert_settled(settled, since=head)


def test_a_copy_that_cannot_be_made_alike_is_no_copy(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    refused = Terminal("making ami-2 in eu-west-1 as ami-1 in us-east-1 is: not allowed: ModifyImageAttribute")
    report = surround(dressed(settled, settled.controller()), failing(f"complete {EU}", refused)).reconcile("web")
    assert results(report)["web"].why == f"no copy in {EU}: {refused.what}"
    assert [one.location for one in settled.lock("web").builds[0].artifacts] == [US]
    settled.controller().reconcile("web")
    assert_alike(settled)
