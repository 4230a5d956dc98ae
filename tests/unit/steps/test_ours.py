"""What an annotated tag says a build left counts only under that build's own name."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.git.repository import Repository
from reconciler.model.lockfile import Build
from reconciler.steps.ours import Records, Told, records_in
from reconciler.words.messages import build_tag, tag_name
from tests.doubles.tag import SimulatedTag

Make = Callable[..., Any]
ANOTHER = "20261101T000000Z-1a2b3c4"


def records(tags: dict[str, str], *, sign: bool = False, signed: bool = False) -> Records:
    """The records in these tags, all of which are `signed`, or none."""

    def annotated_tag(name: str) -> SimulatedTag | None:
        return SimulatedTag(name, tags[name], signed=signed) if name in tags else None

    return records_in(cast("Repository", SimpleNamespace(annotated_tag=annotated_tag)), sign=sign)


@pytest.fixture
def build(built: Make) -> Build:
    first: Build = built().lock.builds[0]
    return first


@pytest.mark.parametrize("sign", [True, False])
def test_a_build_left_what_its_tag_says(build: Build, *, sign: bool) -> None:
    tags = {tag_name("web", build.id): build_tag("web", build, None)}

    assert records(tags, sign=sign, signed=sign)("web", build.id) == Told(build.artifacts, build)


def test_where_we_sign_it_left_nothing_that_a_tag_says_which_nobody_signed(build: Build) -> None:
    tags = {tag_name("web", build.id): build_tag("web", build, None)}

    assert records(tags, sign=True)("web", build.id) is None


def test_the_tag_of_another_build_under_its_name_says_nothing(build: Build) -> None:
    tags = {tag_name("web", ANOTHER): build_tag("web", build, None)}

    assert records(tags)("web", ANOTHER) is None


@pytest.mark.parametrize("message", [None, "by hand\n"], ids=["none", "no record"])
def test_without_a_record_nothing_is_known_to_be_left(build: Build, message: str | None) -> None:
    tags = {tag_name("web", build.id): message} if message is not None else {}

    assert records(tags)("web", build.id) is None
