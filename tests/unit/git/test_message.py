from __future__ import annotations

import pytest

from reconciler.git.objects import scrub


@pytest.mark.parametrize(
    ("message", "safe"),
    [
        ("web: build (new)", "web: build (new)"),
        ('changed in "Fix docs [skip ci]"', 'changed in "Fix docs (skip ci)"'),
        ("[CI SKIP] [no ci] [skip actions] [actions skip]", "(CI SKIP) (no ci) (skip actions) (actions skip)"),
        ("[skip_ci] [ci_skip] [skip-ci] [skipci] [ skip  ci ]", "(skip_ci) (ci_skip) (skip-ci) (skipci) ( skip  ci )"),
        ("[skip azp] [azurepipelines skip] [skip travis]", "(skip azp) (azurepipelines skip) (skip travis)"),
        ("test_web.py::test_it[no way]", "test_web.py::test_it(no way)"),
        ("***NO_CI***", "NO_CI"),
        ("x\n\nskip-checks: true", "x\n\n(skip-checks) true"),
        ("tags [ci] and [skip]", "tags [ci] and [skip]"),
    ],
)
def test_no_message_switches_ci_off(message: str, safe: str) -> None:
    assert scrub(message) == safe
