"""The images of this repository keep what their smoke suites ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.policy.conftest import Boot, Built

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once="policy")]


def test_base_passes_its_suite(base: Built, boot: Boot) -> None:
    smoke = boot(base.image).smoke("base")

    assert not smoke.failed
    assert smoke.passed >= 8


def test_web_passes_its_own_and_that_of_the_image_it_is_built_on(web: Built, boot: Boot) -> None:
    machine = boot(web.image)

    for image in ("web", "base"):
        smoke = machine.smoke(image)
        assert not smoke.failed
        assert smoke.passed >= 3


def test_a_machine_that_is_not_ours_fails(base: Built, boot: Boot) -> None:
    assert "test_nginx_is_installed_and_takes_its_configuration" in boot(base.image).smoke("web").failed
