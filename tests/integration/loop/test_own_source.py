"""An image whose source only Packer knows is built, recorded as it came out, and not built again without a reason."""

from __future__ import annotations

import pytest

from reconciler.words.plans import facts
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_smoke_tests import _ResolvingItself
from tests.integration.loop.world import TEMPLATE, Controller, World, image_files, statuses

OWN = TEMPLATE.replace('variable "source_ami" { type = string }', 'variable "base" { default = env("BASE") }').replace(
    "var.source_ami", "var.base"
)
SOURCE = "desired/own/image.pkr.hcl"


@pytest.fixture
def own(settled: World) -> World:
    settled.commit({**image_files("own", "refresh: {max_age: 7d}\n"), SOURCE: OWN}, "An image with a source of its own")
    return settled


def building_on(world: World, used: str) -> Controller:
    controller = world.controller()
    controller.on_builder = lambda builder: _ResolvingItself(builder, used)
    return controller


def test_the_plan_says_that_the_source_is_the_templates_own(own: World) -> None:
    planned = own.controller().plan()["own"]
    assert (planned.actions, planned.source) == (("build",), "the template's own")
    assert "source: the template's own" in facts(planned)


def test_what_packer_found_is_recorded_and_the_next_run_does_nothing(own: World) -> None:
    used = own.publish_upstream("of-the-template")
    head = own.head()
    assert statuses(building_on(own, used.id).reconcile()) == {"own": "built"}
    lock = own.lock("own")
    build = lock.builds[0]
    assert build.source is not None
    assert build.source.upstream is not None
    assert build.source.upstream.id == used.id
    assert "source" not in build.components
    assert lock.source is None
    assert own.controller().plan()["own"].sync == "in-sync"
    assert own.controller().reconcile().results == ()
    assert own.controller().reconcile(refresh=True).results == ()
    assert_settled(own, since=head)


def test_an_image_with_a_source_of_its_own_is_built_anew_for_its_age_on_what_packer_finds_then(own: World) -> None:
    building_on(own, own.publish_upstream("first").id).reconcile("own")
    first = own.lock("own").builds[0]
    own.clock.advance(days=8)
    later = own.publish_upstream("second")
    controller = building_on(own, later.id)
    assert [reason.code for reason in controller.plan(refresh=True)["own"].reasons] == ["expired"]
    assert statuses(controller.reconcile("own", refresh=True)) == {"own": "built"}
    again = own.lock("own").builds[0]
    assert again.source is not None
    assert again.source.artifact_in("us-east-1") == later.id
    assert again.key != first.key
    assert controller.reconcile("own", refresh=True).results == ()


def test_a_source_that_is_declared_for_it_is_a_change_of_the_source(own: World) -> None:
    used = own.publish_upstream("of-the-template")
    building_on(own, used.id).reconcile("own")
    pinned = own.publish_upstream("pinned")
    declared = (
        f'variable "source_ami" {{ default = null }}\n{OWN.replace("var.base", "coalesce(var.source_ami, var.base)")}'
    )
    own.commit({"desired/own/image.yaml": f"source: {{ami: {{id: {pinned.id}}}}}\n", SOURCE: declared})
    planned = own.controller().plan()["own"]
    assert {reason.code for reason in planned.reasons} == {"inputs-changed", "source-changed"}
    assert planned.source is None
    assert statuses(building_on(own, pinned.id).reconcile("own")) == {"own": "built"}
    assert own.lock("own").builds[0].components.keys() >= {"source"}
    own.commit({"desired/own/image.yaml": "labels: {a: b}\n"})
    (changed,) = [one for one in own.controller().plan()["own"].reasons if one.code == "source-changed"]
    assert changed.now == "the template's own"
