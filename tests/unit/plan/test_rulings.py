"""What inherits a revocation, of any fleet, however much of it the lockfiles have forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.lockfile import Artifact, Build, Channels, Lockfile
from reconciler.model.observation import Seen, State
from reconciler.model.plan import Cause, Situation
from reconciler.model.source import Pin
from reconciler.model.usage import Usage, Use
from reconciler.plan.planning import make_plan
from reconciler.plan.revocations import BuildOf, Past, reached, revocations, unrecorded, weigh
from reconciler.plan.rulings import ruling_of
from reconciler.registries.ec2.dialect import AMI

Make = Callable[..., Any]
IMAGES = 4


def id_of(number: int) -> str:
    return f"20261101T{number // 60:02}{number % 60:02}00Z-{number:07x}"


Fleets = tuple[Mapping[BuildOf, BuildOf | None], frozenset[BuildOf], frozenset[BuildOf], Mapping[BuildOf, str]]


@st.composite
def fleets(draw: st.DrawFn) -> Fleets:
    """Builds and what each stands on, those that no lockfile has, those that are revoked, and what came out of each."""
    stands: dict[BuildOf, BuildOf | None] = {}
    for number in range(draw(st.integers(1, 14))):
        image = draw(st.integers(0, IMAGES - 1))
        parents = [one for one in stands if int(one[0][1:]) < image]
        stands[f"i{image}", id_of(number)] = draw(st.sampled_from(parents)) if parents else None
    every = st.sets(st.sampled_from(sorted(stands)))
    contents = {one: draw(st.one_of(st.just(f"ami-{one[1]}"), st.just("ami-again"))) for one in stands}
    return stands, frozenset(draw(every)), frozenset(draw(every)), contents


@given(fleets(), st.booleans())
def test_the_closure_is_that_of_brute_force_whatever_lockfiles_have_forgotten(
    an_image: Make,
    what_is_known: Make,
    plan_carried_out: Make,
    made: Fleets,
    again: bool,  # noqa: FBT001  hypothesis draws it
) -> None:
    stands, gone, revoked, contents = made
    known = what_is_known(an_image("web"))
    model: Build = plan_carried_out(known, make_plan(known)).locks["web"].builds[0]

    # Given images that declare some builds revoked, and lockfiles that have some
    def source(parent: BuildOf | None) -> Pin | None:
        return Pin(image=parent[0], build=parent[1], key=model.key) if parent is not None else None

    def left(*build: str) -> tuple[Artifact, ...]:
        return (model.artifacts[0].model_copy(update={"id": contents[build[0], build[1]]}),)

    def places(of: BuildOf) -> frozenset[tuple[str, str]]:
        return frozenset((one.location, one.id) for one in left(*of))

    kind = replace(AMI, ids_are_digests=again)
    images, locks = {}, {}
    for name in {name for name, _ in stands}:
        rows = [{"build": build_id, "reason": "leaked"} for of, build_id in sorted(revoked) if of == name]
        images[name] = replace(an_image(name, revoke=rows), kind=kind)
        builds = [
            model.model_copy(update={"id": build_id, "source": source(parent), "artifacts": left(of, build_id)})
            for (of, build_id), parent in stands.items()
            if of == name and (of, build_id) not in gone
        ]
        locks[name] = Lockfile(image=name, builds=tuple(builds))

    # When what they have forgotten is asked for until nothing is missing
    forgotten: dict[BuildOf, Past] = {}
    while missing := unrecorded(images, locks, forgotten):
        forgotten |= {one: Past(source(stands[one]), places(one)) for one in missing}

    # Then all is revoked that stands on what is, or came out the same, and nothing else
    known_of = stands.keys() - gone | forgotten.keys()
    meets, before = set(revoked), set[BuildOf]()
    while meets != before:
        before = set(meets)
        meets |= {one for one, parent in stands.items() if parent in before}
        meets |= {
            one for one in known_of for other in before & known_of
            if one[0] == other[0] and contents[one] == contents[other]
        }  # fmt: skip

    causes = revocations(images, locks, forgotten)
    told = {(name, build_id) for name, of_image in causes.items() for build_id in of_image}
    assert {one for one in stands if one not in gone and one in told} == meets - gone
    # And only what others stand on was asked for, or what may have come out the same is
    assert forgotten.keys() <= gone & ({parent for parent in stands.values() if parent} | (revoked if again else set()))
    if not revoked:
        assert forgotten == {}


OLD, NEW = id_of(1), id_of(2)


@pytest.fixture
def two(built: Make) -> Situation:
    """An image with a stable build, and an older one that was stable before it."""
    situation: Situation = built()
    (first,) = situation.lock.builds
    old = first.model_copy(update={"id": OLD, "phase": "superseded", "was_stable": True})
    new = first.model_copy(update={"id": NEW})
    lock = Lockfile(image="web", builds=(new, old), channels=Channels(candidate=NEW, stable=NEW))
    return replace(situation, lock=lock)


def causing(situation: Situation, *revoked: str) -> Situation:
    return replace(situation, causes={one: Cause("leaked", origin=("web", one)) for one in revoked})


def holding(situation: Situation, build_id: str, **known: Any) -> Situation:
    declared = situation.image.declaration.model_dump(by_alias=True)
    declaration = type(situation.image.declaration).model_validate(
        {**declared, "hold": {"build": build_id, "reason": "works"}}
    )
    return replace(situation, image=replace(situation.image, declaration=declaration), **known)


def test_what_falls_back_from_a_revoked_build_is_no_promotion(two: Situation) -> None:
    revoking = causing(two, NEW)

    ruling, after = ruling_of(revoking, revoking.lock)

    assert ruling is not None
    assert after.channels.stable == OLD
    assert not ruling.moves_stable
    assert [(one.code, one.was, one.now) for one in ruling.reasons[:1]] == [
        ("revoked", f"{NEW} stable", "revoked: leaked"),
    ]


def test_what_goes_on_once_a_revocation_ends_is_a_promotion(two: Situation) -> None:
    revoking = causing(two, NEW)
    _, revoked = ruling_of(revoking, revoking.lock)

    ruling, after = ruling_of(two, revoked)

    assert ruling is not None
    assert (after.channels.stable, ruling.moves_stable) == (NEW, True)


def test_where_a_hold_binds_nothing_only_what_is_revoked_is_recorded(two: Situation) -> None:
    held = holding(two, OLD)
    ruling, after = ruling_of(held, held.lock)
    assert ruling is not None
    assert (after.channels.stable, ruling.moves_stable, ruling.reachable) == (OLD, True, True)

    assert ruling_of(held, held.lock, binds=False) == (None, held.lock)

    other = causing(held, NEW)
    ruling, after = ruling_of(other, other.lock, binds=False)
    assert ruling is not None
    assert [one.phase for one in after.builds] == ["revoked", "stable"]
    assert not ruling.reachable


def test_a_hold_leaves_stable_where_it_is_until_every_location_can_be_read(two: Situation) -> None:
    held = holding(two, OLD, unreadable={"us-east-1": "throttled"})

    ruling, after = ruling_of(held, held.lock)

    assert ruling is None
    assert after.channels.stable == NEW


def test_that_a_hold_binds_where_stable_is_is_told_of_that_build_alone(two: Situation) -> None:
    held = holding(two, NEW)

    ruling, after = ruling_of(held, held.lock)

    assert ruling is not None
    assert not ruling.moves_stable
    assert [(one.was, one.now) for one in ruling.reasons] == [
        (f"stable {NEW}", f"stable {NEW}, held by desired/web/image.yaml")
    ]
    assert [one.is_held for one in after.builds] == [True, False]

    released, _ = ruling_of(two, after)
    assert released is not None
    assert [(one.was, one.now) for one in released.reasons] == [(f"stable {NEW}, held", f"stable {NEW}")]


@pytest.mark.parametrize("declared", [False, True])
def test_what_is_in_use_is_not_revoked_unless_that_is_declared(
    two: Situation, an_image: Make, *, declared: bool
) -> None:
    image = an_image(revoke=[{"build": NEW, "reason": "leaked", "even_if_in_use": declared}])
    artifact = two.lock.builds[0].artifacts[0]
    usage = Usage((Use((artifact.location, artifact.id), by="i-1 runs on it", hint="end it"),))
    causes = {"web": {NEW: Cause("leaked", origin=("web", NEW))}}

    weighed = weigh(causes, usage, images={"web": image}, locks={"web": two.lock})

    assert weighed.causes == ({"web": {}} if not declared else causes)
    assert set(weighed.refused) == (set() if declared else {"web"})
    assert set(weighed.notes) == ({"web"} if declared else set())
    free = weigh(causes, Usage(), images={"web": image}, locks={"web": two.lock})
    assert (free.causes, dict(free.refused)) == (causes, {})


def test_what_marks_say_stands_on_what_is_revoked_is_reached_at_any_depth_and_nothing_else(an_image: Make) -> None:
    def seen(image: str, number: int, *, on: str = "", state: State = "available", key: str | None = "k") -> Seen:
        tags = {"reconciler:image": image, "reconciler:build": id_of(number), "reconciler:source": on}
        tags |= {"reconciler:key": key} if key is not None else {}
        return Seen("ami", "us-east-1", f"ami-{image}-{number}", "", state, "2026-11-01T00:00:00Z", tags)

    revoked = an_image("base", revoke=[{"build": id_of(1), "reason": "leaked"}])
    images = {"base": revoked, "web": an_image("web", moved_from="www"), "shop": an_image("shop")}
    causes = revocations(images, {}, {})
    there = [
        seen("base", 1), seen("base", 2), seen("www", 3, on=f"base@{id_of(1)}"), seen("web", 4, on=f"base@{id_of(2)}"),
        seen("shop", 5, on=f"www@{id_of(3)}"), seen("shop", 6, on=f"web@{id_of(3)}", state="disabled"),
        seen("shop", 7, on=f"web@{id_of(3)}", key=None), seen("gone", 8, on=f"base@{id_of(1)}"),
    ]  # fmt: skip
    assert reached(causes, there, images=images, locks={}) == {
        ("base", id_of(1)), ("web", id_of(3)), ("shop", id_of(5)),
    }  # fmt: skip
    assert reached({}, there, images=images, locks={}) == frozenset()
