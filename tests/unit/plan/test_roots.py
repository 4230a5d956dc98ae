"""What keeps a build: what others use of it, and what is to be built on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.model.care import Grants
from reconciler.model.plan import Decision, PlannedImage
from reconciler.model.usage import Use
from reconciler.plan.key import wanted
from reconciler.plan.roots import Roots, Survey

Make = Callable[..., Any]
OTHERS = Grants.of(["111122223333"])


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (None, [("shared", "is shared with 111122223333: whether they use it is not known")]),
        ("throttled", [("unread", "is shared with 111122223333, and whether they use it is not known: throttled")]),
        (True, [("used", "instance i-0 uses")]),
        ((), []),
    ],
)
def test_what_is_shared_stays_unless_it_is_known_that_nobody_uses_it(
    built: Make, what_is_known: Make, told: object, why: list[tuple[str, str]]
) -> None:
    situation = built()
    (seen,) = situation.seen
    uses = (Use(seen.place, "instance i-0", "move it"),)
    elsewhere = {seen.place: uses if told is True else told} if told is not None else {}
    survey = Survey(what_is_known(situation.image), (), {seen.place: seen}, elsewhere=elsewhere)  # type: ignore[arg-type] # cases

    found = list(Roots(survey)._of_others(seen, OTHERS))

    assert [(code, text in said) for code, said in found for _, text in why] == [(code, True) for code, _ in why]
    assert len(found) == len(why)


def test_what_is_recorded_of_others_or_to_be_built_on_is_kept_for_them(
    built: Make, an_image: Make, what_is_known: Make
) -> None:
    base = built(an_image("base"))
    child = an_image("web", source={"image": "base"})
    pin = base.lock.builds[0].as_pin("base")
    planned = PlannedImage(image="web", sync="drifted", health="healthy", actions=("build",))
    decision = Decision(planned=planned, image=child, lock=built(child, pin=pin).lock, wanted=wanted(child, pin))
    known = replace(what_is_known(base.image, child), locks={"base": base.lock})

    pins = list(Roots(Survey(known, (decision,), {}))._pins())

    assert pins == [
        (base.lock.source.pinned, "base is pinned to it"),
        (pin, "web is to be built on it"),
    ]
