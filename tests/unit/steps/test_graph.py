"""Work in the order of a graph."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.steps.act import run_graph

DIAMOND = {"base": (), "web": ("base",), "api": ("base",), "shop": ("web", "api")}


@pytest.mark.parametrize("parallel", [1, 2, 100])
def test_each_name_comes_after_all_it_waits_for(parallel: int) -> None:
    done: list[str] = []
    run_graph(DIAMOND, done.append, parallel=parallel)
    assert sorted(done) == sorted(DIAMOND)
    assert done[0] == "base"
    assert done[-1] == "shop"


def test_what_came_of_each_is_returned_by_name() -> None:
    assert run_graph(DIAMOND, str.upper, parallel=2) == {name: name.upper() for name in DIAMOND}


def test_what_does_not_wait_for_each_other_runs_at_once() -> None:
    both = threading.Barrier(2, timeout=60)
    run_graph({"web": (), "api": ()}, lambda _name: both.wait(), parallel=2)


def test_no_more_run_at_once_than_allowed() -> None:
    running: list[str] = []
    most: list[int] = []

    def work(name: str) -> None:
        running.append(name)
        most.append(len(running))
        running.remove(name)

    run_graph({str(number): () for number in range(20)}, work, parallel=1)
    assert max(most) == 1


def test_of_those_that_are_bounded_no_more_run_at_once_and_the_others_go_on_beside_them() -> None:
    lock, disks, running, most = threading.Lock(), ["d1", "d2", "d3"], set[str](), list[int]()
    beside = threading.Barrier(3, timeout=60)

    def work(name: str) -> None:
        with lock:
            running.add(name)
            most.append(len(running.intersection(disks)))
        if name in ("d1", "a1", "a2"):
            beside.wait()  # though the other disks were ready before the second of these
        with lock:
            running.remove(name)

    done = run_graph(dict.fromkeys([*disks, "a1", "a2"], ()), work, parallel=3, bounded=[(1, disks)])

    assert set(done) == {*disks, "a1", "a2"}
    assert max(most) == 1


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.dictionaries(st.integers(0, 8), st.tuples(st.sampled_from("abc"), st.sets(st.integers(0, 7))), max_size=8),
)
def test_whatever_the_graph_and_its_bounds_each_is_done_once_and_in_order(
    parallel: int, most: int, fewer: int, graph: dict[int, tuple[str, set[int]]]
) -> None:
    waits = {str(name): [str(one) for one in of if one < name and one in graph] for name, (_, of) in graph.items()}
    bounded = [
        (limit, [str(name) for name, (kind, _) in graph.items() if kind == group])
        for group, limit in (("a", most), ("b", fewer))
    ]
    lock, running, over, done = threading.Lock(), set[str](), list[str](), list[str]()

    def work(name: str) -> None:
        with lock:
            assert set(waits[name]) <= set(done)
            running.add(name)
            over.extend(name for limit, names in bounded if len(running.intersection(names)) > limit)
        with lock:
            running.remove(name)
            done.append(name)

    run_graph(waits, work, parallel=parallel, bounded=bounded)

    assert sorted(done) == sorted(waits)
    assert over == []


def test_what_one_raises_is_raised_and_nothing_that_waits_for_it_begins() -> None:
    begun: list[str] = []

    def work(name: str) -> None:
        begun.append(name)
        if name == "base":
            raise KeyError(name)

    with pytest.raises(KeyError):
        run_graph(DIAMOND, work, parallel=4)
    assert begun == ["base"]


def test_nothing_to_do_is_done_at_once() -> None:
    assert run_graph({}, str.upper, parallel=4) == {}
