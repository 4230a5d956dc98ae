"""What a registry asks for in its 401 is read in one pass, whatever stands there."""

from __future__ import annotations

import pytest

from reconciler.registries.oci.exchange import challenged
from tests.cpu import cpu_seconds


def test_a_challenge_is_read_by_its_names() -> None:
    assert challenged('Bearer realm="https://auth.example.org/token",service="registry",scope="a:b:pull,push"') == (
        "bearer",
        {"realm": "https://auth.example.org/token", "service": "registry", "scope": "a:b:pull,push"},
    )


@pytest.mark.parametrize("unit", ["a", 'a="', "a=", '"', ","])
def test_a_challenge_without_end_is_read_once(unit: str) -> None:
    with cpu_seconds(3):
        assert challenged(f"Bearer {unit * (200_000 // len(unit))}")[0] == "bearer"
