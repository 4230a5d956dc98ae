"""The examples of each kind are read without a complaint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.model.fleet import Fleet

EXAMPLES = Path(__file__).parents[3] / "examples"
Read = Callable[..., Fleet]


@pytest.mark.parametrize(
    ("example", "kind"), [("container-image", "oci"), ("disk", "disk"), ("vsphere-template", "vsphere")]
)
def test_an_example_is_a_valid_fleet(read: Read, example: str, kind: str) -> None:
    root = EXAMPLES / example
    fleet = read(
        {str(file.relative_to(root)): file.read_text() for file in (root / "desired").rglob("*") if file.is_file()}
    )

    assert not fleet.problems, fleet.problems
    assert {image.kind.name for image in fleet.images.values()} == {kind}
    assert all(image.source is not None for image in fleet.images.values())
    assert [note for image in fleet.images.values() for note in image.notes] == []
