"""What the configuration of cloud-init in an instance says, which whoever is root there writes."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from reconciler.sandbox import instances
from tests.cpu import cpu_seconds

BOMB = "a0: &a0 {k: v}\n" + "".join(
    f"a{number}: &a{number} {{<<: [{', '.join([f'*a{number - 1}'] * 10)}]}}\n" for number in range(1, 30)
)


@pytest.mark.parametrize(
    ("told", "user"),
    [
        ("system_info: {default_user: {name: admin}}\n---\nother: 1\n", "admin"),
        (f"{BOMB}system_info: {{default_user: {{name: admin}}}}\n", None),
        ("[" * 100_000, None),
    ],
    ids=["as it is", "merges that come to terabytes", "nested"],
)
def test_it_takes_no_more_of_the_sandbox_than_it_is_long(
    monkeypatch: pytest.MonkeyPatch, told: str, user: str | None
) -> None:
    machine: Any = None
    monkeypatch.setattr(instances, "_inside", lambda *_: subprocess.CompletedProcess([], 0, told.encode(), b""))
    with cpu_seconds(20):
        assert instances.default_user(machine) == user
