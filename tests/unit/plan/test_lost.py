"""Which places are taken for other ones, as they show nothing of all that is recorded there; and which for a loss."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.observation import Observation, Seen
from reconciler.model.plan import PlanOptions
from reconciler.plan.lost import places_of, with_lost_places
from reconciler.plan.planning import Known
from reconciler.registries import KINDS, dialect_of

Make = Callable[..., Any]
ID = "20261122T101530Z-1a2b3c4"
PLACES = {
    "ami": {"us-east-1": "us-east-1", "eu-west-1": "eu-west-1"},
    "oci": {"r.example.org/a": "r.example.org", "r.example.org/b/c": "r.example.org", "ghcr.io/a": "ghcr.io"},
    "disk": {"/srv/a": "/srv/a", "/srv/b": "/srv/b", "s3://acme/a": "s3://acme", "s3://acme/b": "s3://acme"},
    "vsphere": {
        "vsphere://v.example.org/DC0/vm/a": "vsphere://v.example.org",
        "vsphere://v.example.org/library/b": "vsphere://v.example.org",
        "vsphere://w.example.org/DC0/vm/a": "vsphere://w.example.org",
    },
    "other": {"here": "here"},
}
"""Locations of each kind, with what each is in."""
KIND_OF = {location: kind for kind, locations in PLACES.items() for location in locations}
PLACE_OF = {location: place for locations in PLACES.values() for location, place in locations.items()}


def test_each_kind_says_what_its_locations_are_in() -> None:
    assert PLACES.keys() == KINDS.keys()
    for location, place in PLACE_OF.items():
        assert dialect_of(KIND_OF[location]).kind.place_of(location) == place


def fleet(make: Make, an_image: Make, recorded: Mapping[str, Collection[str]], **more: Any) -> Known:
    """Images that are declared, and recorded, in locations of one kind each."""
    images, locks = [], {}
    for name, locations in recorded.items():
        kinds = {KIND_OF[one] for one in locations}
        kind = dialect_of(next(iter(kinds))).kind
        made = tuple(
            Artifact(kind=kind.name, builder="x", location=one, id=f"id-{name}", name=name) for one in locations
        )
        image: Image = replace(an_image(name), kind=kind, locations=tuple(locations))
        images.append(image)
        build = Build(id=ID, key="sha256:1", components={}, artifacts=made, commit="1" * 40, phase="candidate")
        locks[name] = Lockfile(image=name, builds=(build,))
    known: Known = make(*images, locks=locks, pins={}, **more)
    return known


def there(name: str, location: str) -> Seen:
    return Seen(KIND_OF[location], location, f"id-{name}", name, "available", "2026-11-22T10:15:30Z", {})


@st.composite
def fleets(draw: st.DrawFn) -> tuple[dict[str, set[str]], set[tuple[str, str]], set[str], set[str]]:
    """Where images are recorded; which of that is there; what can't be read; and what a person calls lost."""
    recorded = {}
    for name in draw(st.lists(st.sampled_from("abcde"), min_size=1, unique=True)):
        kind = draw(st.sampled_from(sorted(PLACES)))
        recorded[name] = draw(st.sets(st.sampled_from(sorted(PLACES[kind])), min_size=1))
    every = [(name, one) for name, locations in sorted(recorded.items()) for one in sorted(locations)]
    some = draw(st.sets(st.sampled_from(every)))
    used = sorted({one for _, one in every})
    unread = draw(st.sets(st.sampled_from(used), max_size=1))
    called = draw(st.sets(st.sampled_from([*used, *sorted({PLACE_OF[one] for one in used})]), max_size=2))
    return recorded, some, unread, called


@given(fleets())
def test_a_place_is_another_where_nothing_is_there_of_several_images_and_nobody_calls_it_lost(
    what_is_known: Make, an_image: Make, drawn: tuple[dict[str, set[str]], set[tuple[str, str]], set[str], set[str]]
) -> None:
    recorded, some, unread, called = drawn
    seen = tuple(there(*one) for one in sorted(some) if one[1] not in unread)
    before = Observation(seen, dict.fromkeys(unread, "it does not answer"))
    known = fleet(what_is_known, an_image, recorded, options=PlanOptions(lost=tuple(called)), observation=before)

    after = with_lost_places(known).observation

    assert after.artifacts == seen
    assert called <= places_of(known)
    for location in {one for locations in recorded.values() for one in locations}:
        alike = {one for one, place in PLACE_OF.items() if place == PLACE_OF[location]} - unread
        images = {name for name, locations in recorded.items() if locations & alike}
        bare = not any(one.location in alike for one in seen)
        lost = bool(called & {PLACE_OF[location], *(alike & {o for n in images for o in recorded[n]})})
        is_other = KIND_OF[location] != "other" and bare and len(images) > 1 and not lost
        assert (location in after.unreadable) == (location in unread or is_other)
        if is_other and location not in unread:
            assert f"recorded of {len(images)} images in {PLACE_OF[location]}: " in after.unreadable[location]
            assert f"`--lost {PLACE_OF[location]}`" in after.hints[location][1]


@pytest.mark.parametrize("by_id", [False, True])
def test_what_is_found_by_its_id_alone_is_there_too(what_is_known: Make, an_image: Make, *, by_id: bool) -> None:
    known = fleet(what_is_known, an_image, {"a": {"us-east-1"}, "b": {"us-east-1"}})
    known = replace(known, unlisted={"a": [there("a", "us-east-1")]} if by_id else {})

    assert set(with_lost_places(known).observation.unreadable) == (set() if by_id else {"us-east-1"})


def test_where_images_are_not_declared_any_more_what_is_gone_was_taken_away(
    what_is_known: Make, an_image: Make
) -> None:
    known = fleet(what_is_known, an_image, {"a": {"us-east-1", "eu-west-1"}, "b": {"us-east-1", "eu-west-1"}})
    images = {name: replace(one, locations=("us-east-1",)) for name, one in known.fleet.images.items()}
    moved = replace(known, fleet=replace(known.fleet, images=images))

    assert set(with_lost_places(moved).observation.unreadable) == {"us-east-1"}
