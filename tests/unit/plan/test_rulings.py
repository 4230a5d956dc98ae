"""What inherits a revocation, of any fleet, however much of it the lockfiles have forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.source import Pin
from reconciler.plan.planning import make_plan
from reconciler.plan.rulings import BuildOf, revocations, unrecorded

Make = Callable[..., Any]
IMAGES = 4


def id_of(number: int) -> str:
    return f"20261101T{number // 60:02}{number % 60:02}00Z-{number:07x}"


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Mapping[BuildOf, BuildOf | None], frozenset[BuildOf], frozenset[BuildOf]]:
    """Builds and what each stands on, those that no lockfile has, and those that are revoked."""
    stands: dict[BuildOf, BuildOf | None] = {}
    for number in range(draw(st.integers(1, 14))):
        image = draw(st.integers(0, IMAGES - 1))
        parents = [one for one in stands if int(one[0][1:]) < image]
        stands[f"i{image}", id_of(number)] = draw(st.sampled_from(parents)) if parents else None
    every = st.sets(st.sampled_from(sorted(stands)))
    return stands, frozenset(draw(every)), frozenset(draw(every))


@given(fleets())
def test_the_closure_is_that_of_brute_force_whatever_lockfiles_have_forgotten(
    an_image: Make,
    what_is_known: Make,
    plan_carried_out: Make,
    made: tuple[Mapping[BuildOf, BuildOf | None], frozenset[BuildOf], frozenset[BuildOf]],
) -> None:
    stands, gone, revoked = made
    known = what_is_known(an_image("web"))
    model: Build = plan_carried_out(known, make_plan(known)).locks["web"].builds[0]

    # Given images that declare some builds revoked, and lockfiles that have some
    def source(parent: BuildOf | None) -> Pin | None:
        return Pin(image=parent[0], build=parent[1], key=model.key) if parent is not None else None

    images, locks = {}, {}
    for name in {name for name, _ in stands}:
        rows = [{"build": build_id, "reason": "leaked"} for of, build_id in sorted(revoked) if of == name]
        images[name] = an_image(name, revoke=rows)
        builds = [
            model.model_copy(update={"id": build_id, "source": source(parent)})
            for (of, build_id), parent in stands.items()
            if of == name and (of, build_id) not in gone
        ]
        locks[name] = Lockfile(image=name, builds=tuple(builds))

    # When what they have forgotten is asked for until nothing is missing
    forgotten: dict[BuildOf, Pin] = {}
    roots: set[BuildOf] = set()
    while missing := unrecorded(images, locks, forgotten) - roots:
        found = {one: pin for one in missing if (pin := source(stands[one])) is not None}
        forgotten |= found
        roots |= missing - found.keys()

    # Then all is revoked that stands on what is, and nothing else; and only what others stand on was asked for
    def meets(one: BuildOf | None) -> bool:
        return one is not None and (one in revoked or meets(stands[one]))

    causes = revocations(images, locks, forgotten)
    told = {(name, build_id) for name, of_image in causes.items() for build_id in of_image}
    assert {one for one in stands if one not in gone and one in told} == {
        one for one in stands if one not in gone and meets(one)
    }
    assert forgotten.keys() <= gone
    if not revoked:
        assert forgotten == {}
