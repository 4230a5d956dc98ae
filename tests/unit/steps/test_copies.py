"""What a copy is called, and what it is a copy of. That it is made once is in tests/integration/loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Artifact
from reconciler.steps.artifacts import copy_missing
from reconciler.steps.run import Run

Make = Callable[..., Any]


class Asked:
    """A registry that notes which copy is asked for, and then has no room for it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.tokens: list[str] = []

    def copy(self, source: Artifact, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        del source, tags
        self.names.append(name)
        self.tokens.append(token)
        raise Terminal(f"no room in {to}")


@pytest.mark.parametrize(("named", "expected"), [("golden-7", "golden-7"), (None, "web-{build}")])
def test_a_copy_is_called_as_what_it_is_of_or_else_as_we_call_builds(
    built: Make, an_image: Make, named: str | None, expected: str
) -> None:
    image = an_image(regions=("us-east-1", "eu-west-1"))
    build = built(image).lock.builds[0]
    source = build.artifacts[0].model_copy(update={"name": named})
    asked = Asked()
    run = cast("Run", SimpleNamespace(registry=asked, known=SimpleNamespace(fleet_name="acme/images")))

    copies = copy_missing(run, image, build, source=source, locations=["eu-west-1", "ap-south-1"])

    assert asked.names == [expected.format(build=build.id)] * 2
    assert len(set(asked.tokens)) == 2, "a token is of one copy to one region"
    assert [(region, error.what) for region, error in copies.failed] == [
        ("eu-west-1", "no room in eu-west-1"), ("ap-south-1", "no room in ap-south-1"),
    ]  # fmt: skip
