"""What is not booted, and says why. What is booted is in tests/integration/loop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.model import events
from reconciler.model.declaration import Declaration
from reconciler.model.errors import Place
from reconciler.model.fleet import Builder, Image, Template
from reconciler.model.lockfile import Build, InventoryRecord
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.ports.bench import BootRequest
from reconciler.registries.ec2.dialect import AMI
from reconciler.steps.run import Run, Testbed
from reconciler.steps.smoke_test import smoke_test, suite_digest
from tests.doubles.bench import MemoryInstances
from tests.doubles.tester import SimulatedTester
from tests.unit.steps.in_hand import MemoryTree, in_hand

Make = Callable[..., Any]

PLACE = Place("desired/web/web.pkr.hcl")
BUILD = Build(
    id="20261122T101530Z-1a2b3c4", key="sha256:1", components={}, commit="9c0d1e2", artifacts=(), phase="preliminary",
    inventory=InventoryRecord(os="Debian 12", kernel="6.1", sbom="sbom/web/1.cdx.json", digest="sha256:2"),
)  # fmt: skip


def an_image(*communicators: str, **smoke: Any) -> Image:
    builders = tuple(
        Builder(name=f"amazon-ebs.{kind}", type="amazon-ebs", place=PLACE, communicator=kind, kind=AMI)
        for kind in communicators
    )
    return Image(
        name="web", folder="desired/web", declaration=Declaration.model_validate({"smoke_test": smoke}),
        template=Template(format="hcl2", files=("desired/web/web.pkr.hcl",), builders=builders),
        kind=AMI, source=None,
        locations=("us-east-1",), inputs=(),
    )  # fmt: skip


def a_run(heard: list[events.Event]) -> Run:
    """A run that has nothing in hand but an ear: whatever else is asked for fails."""
    return cast("Run", SimpleNamespace(listener=heard.append, testbed=None))


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (an_image("ssh", boot=False), "smoke_test.boot is false"),
        (an_image("winrm"), "amazon-ebs.winrm is reached by winrm, not SSH"),
        (an_image("ssh", "none"), "amazon-ebs.none has no communicator"),
    ],
)
def test_what_cannot_be_reached_over_ssh_is_not_booted_and_says_so(image: Image, why: str) -> None:
    heard: list[events.Event] = []
    examined = smoke_test(a_run(heard), image, BUILD)
    assert examined.build.smoke_test == SmokeTestResult(status="skipped", why=why)
    assert (examined.booted, examined.inventory) == (False, None)
    assert examined.build.inventory is None, "what a record says of the inside was not seen"
    assert heard == [events.Tested(image="web", build=BUILD.id, status="skipped", tests=0, seconds=0, why=why)]


def test_before_it_is_booted_what_killed_runs_left_is_ended_and_its_log_is_among_the_runs(
    built: Make, what_is_known: Make, tmp_path: Path
) -> None:
    situation = built()
    hand = in_hand(what_is_known(situation.image, now=situation.now), tmp_path, [situation.lock])
    build = situation.lock.builds[0]
    instances, tester = MemoryInstances(situation.now - timedelta(days=1)), SimulatedTester()
    key = tmp_path / "key"
    left = instances.boot(
        BootRequest(
            artifact=build.artifacts[0], name="old", user="admin", instance_types=(), subnets=(), allow_from=(),
            tags={}, timeout=1, private_key=key,
        )
    )  # fmt: skip
    instances.now = situation.now
    adapters = cast("Any", hand.run.adapters)
    adapters.testbed = lambda _known: Testbed(instances, tester)
    cast("Any", hand.run.repository).export = lambda *_, **__: None

    examined = smoke_test(hand.run, situation.image, build)

    assert (examined.booted, instances.running, instances.calls["sweep"]) == (True, (), 1)
    assert [one.what for one in hand.told(events.Warned)] == [
        f"ended {left.id} in us-east-1: a killed run left it, or its time to be looked at is over"
    ]
    (request,) = tester.requests
    assert request.log == tmp_path / "logs" / f"web-{build.id}.smoke.log"


def test_what_a_test_stands_for_changes_with_each_file_of_its_suite_and_what_a_link_there_leads_to() -> None:
    image = an_image("ssh", suite="smoke")
    files = {"desired/web/smoke/test_a.py": b"1", "desired/web/smoke/conftest.py": b"1", "README.md": b"1"}

    def digests(**more: bytes) -> set[str]:
        changed = ({**files, path: content} for path, content in more.items())
        return {suite_digest(image, MemoryTree(one), below="") for one in (files, *changed)}

    assert len(digests(**{"README.md": b"2"})) == 1
    assert len(digests(**{"desired/web/smoke/test_a.py": b"2", "desired/web/smoke/conftest.py": b"2"})) == 3
