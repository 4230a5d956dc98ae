"""`reconciler test`: what people run today, by the suite as it is now; nothing is built, recorded or tagged."""

from __future__ import annotations

import pytest

from reconciler.model.errors import UserError
from reconciler.model.smoke_test import SmokeTestResult
from tests.integration.loop.test_channels import build, standing
from tests.integration.loop.test_rulings import held
from tests.integration.loop.world import World


def test_what_stable_points_to_is_booted_and_nothing_changes(settled: World) -> None:
    (old,) = standing(settled)
    build(settled, "echo more")
    settled.commit({"desired/base/image.yaml": held(old)})
    settled.controller().reconcile("base")
    before = settled.head(), settled.registry.artifacts, settled.tags()
    controller = settled.controller()
    result = controller.test("base")
    (request,) = controller.tester.requests
    assert request.build_id == old
    assert result.tested is not None
    assert (result.tested.status, controller.built) == ("passed", [])
    assert (settled.head(), settled.registry.artifacts, settled.tags()) == before


def test_a_build_may_be_named_and_what_fails_is_told(settled: World) -> None:
    (old,) = standing(settled)
    build(settled, "echo more")
    controller = settled.controller()
    controller.tester.results = {"base": SmokeTestResult(status="failed", why="no sshd")}
    result = controller.test("base", old)
    assert (result.status, result.why) == ("failed", "smoke test failed: no sshd")
    assert [one.build_id for one in controller.tester.requests] == [old]
    assert settled.lock("base").failure is None


@pytest.mark.parametrize(
    ("image", "build_id", "said"),
    [
        ("base", "20200101T000000Z-1a2b3c4", "no build 20200101T000000Z-1a2b3c4 of base"),
        ("no", None, "no image is named 'no'"),
    ],
)
def test_what_is_not_there_is_said(settled: World, image: str, build_id: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        settled.controller().test(image, build_id)
