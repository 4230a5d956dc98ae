"""What `doctor` asks of a registry where images are shared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from reconciler.cli.checks import DoctorContext, check_receivers, check_sharing
from reconciler.cli.doctor import CHECKS
from reconciler.model.declaration import Settings
from reconciler.model.errors import Terminal
from reconciler.plan.planning import Known
from tests.doubles.registry import MemoryRegistry
from tests.unit.conftest import make_image
from tests.unit.plan.test_care import SHARED, world


def context(known: Known, registry: MemoryRegistry) -> DoctorContext:
    made = DoctorContext(Path())
    made.__dict__.update(known=known, workspace=SimpleNamespace(registry=lambda _: registry))
    return made


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry("acme/images")


def known(*, shares: bool) -> Known:
    situation = world(**(SHARED if shares else {})).situation
    fleet = SimpleNamespace(images={"web": situation.image, "other": make_image("other")})
    return SimpleNamespace(fleet=fleet, locks={"web": situation.lock})  # type: ignore[return-value]  # all that is read


def test_where_nothing_is_shared_nothing_is_asked(registry: MemoryRegistry) -> None:
    assert list(check_sharing(context(known(shares=False), registry))) == []
    assert registry.calls["grants"] == 0


def test_one_look_tells_whether_it_can_be_read_who_may_use_what_is_shared(registry: MemoryRegistry) -> None:
    shared = known(shares=True)
    for build in shared.locks["web"].builds:
        for artifact in build.artifacts:
            seen = registry.seed(artifact.location, artifact.name or "", tags={})
            registry._artifacts[artifact.location, artifact.id] = seen
    (finding,) = check_sharing(context(shared, registry))
    assert (finding.subject, finding.state) == ("sharing", "ok")
    assert registry.calls["grants"] == 1


def test_what_is_not_allowed_is_a_trouble(registry: MemoryRegistry) -> None:
    registry.refused = Terminal("not allowed: DescribeImageAttribute", hint="allow it")
    sharing = CHECKS[-4]
    found = list(sharing(context(known(shares=True), registry)))
    assert [(one.subject, one.state, one.hint) for one in found] == [("sharing", "trouble", ("allow it",))]


def test_a_secret_that_is_not_set_here_is_worth_knowing(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"announce": {"webhook": {"url": "https://hooks.example.org/", "secret_env": "OURS"}}}
    settings = Settings.model_validate(told)
    asked = context(SimpleNamespace(fleet=SimpleNamespace(settings=settings)), registry)  # type: ignore[arg-type]  # as above
    monkeypatch.delenv("OURS", raising=False)

    (finding,) = check_receivers(asked)
    monkeypatch.setenv("OURS", "whsec_x")

    assert (finding.state, "OURS is not set here" in finding.what) == ("note", True)
    assert list(check_receivers(asked)) == []
