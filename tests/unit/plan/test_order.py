from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.fleet import Image
from reconciler.plan.graph import graph, in_order, with_ancestors

NAMES = "abcdefgh"
# Each image may be built on one that comes before it in the alphabet of a permutation: so there is no cycle.
forests = st.permutations(NAMES).flatmap(
    lambda names: st.tuples(*(st.sampled_from([None, *names[:place]]) for place in range(len(names)))).map(
        lambda parents: {name: {parent} if parent else set() for name, parent in zip(names, parents, strict=True)}
    )
)


@given(forests)
def test_parents_come_first_and_the_order_of_the_listing_is_no_matter(parents: dict[str, set[str]]) -> None:
    order = in_order(parents)

    assert sorted(order) == sorted(NAMES)
    assert all(order.index(parent) < order.index(name) for name, them in parents.items() for parent in them)
    assert in_order(dict(sorted(parents.items(), reverse=True))) == order


@given(forests, st.sampled_from(NAMES))
def test_ancestors_are_the_way_up(parents: dict[str, set[str]], name: str) -> None:
    way = {name}
    while above := {parent for each in way for parent in parents[each]} - way:
        way |= above
    assert with_ancestors([name], parents) == way


def test_independent_images_stand_by_name() -> None:
    assert in_order({"c": (), "a": (), "b": ("c",)}) == ("a", "c", "b")


def test_a_parent_that_is_not_among_the_images_is_waited_for_by_nobody(an_image: Callable[..., Image]) -> None:
    images = {name: an_image(name, source={"image": "base"}) for name in ("web", "api")}
    assert graph(images) == {"api": set(), "web": set()}
    assert graph({**images, "base": an_image("base")}) == {"api": {"base"}, "base": set(), "web": {"base"}}


def test_a_name_that_is_in_no_graph_is_its_own_ancestor() -> None:
    assert with_ancestors(["gone"], {}) == {"gone"}
