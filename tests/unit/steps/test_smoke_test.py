"""What is not booted, and says why. What is booted is in tests/integration/loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.model import events
from reconciler.model.declaration import Declaration
from reconciler.model.errors import Place
from reconciler.model.fleet import Builder, Image, Template
from reconciler.model.lockfile import Build, InventoryRecord
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.registries.ec2.dialect import AMI
from reconciler.steps.run import Run
from reconciler.steps.smoke_test import smoke_test

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
        (an_image("ssh", "none"), "amazon-ebs.none is reached by none, not SSH"),
    ],
)
def test_what_cannot_be_reached_over_ssh_is_not_booted_and_says_so(image: Image, why: str) -> None:
    heard: list[events.Event] = []
    examined = smoke_test(a_run(heard), image, BUILD)
    assert examined.build.smoke_test == SmokeTestResult(status="skipped", why=why)
    assert (examined.booted, examined.inventory) == (False, None)
    assert examined.build.inventory is None, "what a record says of the inside was not seen"
    assert heard == [events.Tested(image="web", build=BUILD.id, status="skipped", tests=0, seconds=0, why=why)]
