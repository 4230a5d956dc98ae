from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from reconciler.model.declaration import Settings
from reconciler.model.errors import UserError
from reconciler.model.fleet import Fleet, Image
from reconciler.plan.overtaken import with_changes_of

ONE, TWO, THREE = ({"setup.sh": digit * 40} for digit in "123")
Make = Callable[..., Image]


def fleet(images: Mapping[str, Image], *, invalid: tuple[str, ...] = ()) -> Fleet:
    return Fleet(Settings(), images, {name: (UserError("no"),) for name in invalid})


@pytest.mark.parametrize(
    ("base", "head", "main", "merged"),
    [
        (ONE, ONE, ONE, ONE),
        (ONE, TWO, ONE, TWO),
        (ONE, ONE, TWO, TWO),
        (ONE, TWO, THREE, TWO),
        (None, ONE, None, ONE),
        (None, None, ONE, ONE),
        (ONE, None, ONE, None),
        (ONE, ONE, None, None),
        (ONE, None, TWO, None),
    ],
    ids=[
        "nobody changed it", "the branch did", "main did", "both did", "the branch brought it", "main brought it",
        "the branch took it out", "main took it out", "main changed what the branch took out",
    ],
)  # fmt: skip
def test_an_image_is_as_whoever_changed_it_has_it(
    an_image: Make, base: dict[str, str], head: dict[str, str], main: dict[str, str], merged: dict[str, str]
) -> None:
    fleets = [fleet({"web": an_image(files=files)} if files else {}) for files in (head, main, base)]

    found, overtaken = with_changes_of(fleets[0], fleets[1], base=fleets[2])

    assert found.images == ({"web": an_image(files=merged)} if merged else {})
    assert overtaken == ({"web"} if head == base != main else set())


def test_an_image_that_is_invalid_anywhere_is_the_branchs(an_image: Make) -> None:
    one, two = ({"web": an_image(files=files)} for files in (ONE, TWO))
    assert with_changes_of(fleet(one), fleet({}, invalid=("web",)), base=fleet(one))[0].images == one
    assert with_changes_of(fleet({}, invalid=("web",)), fleet(two), base=fleet(one))[0].images == {}


def test_images_stand_in_order_of_name(an_image: Make) -> None:
    head, main = {"b": an_image("b")}, {"a": an_image("a"), "c": an_image("c")}
    known: dict[str, Any] = with_changes_of(fleet(head), fleet(main), base=fleet({}))[0].images  # type: ignore[assignment]  # any mapping
    assert list(known) == ["a", "b", "c"]
