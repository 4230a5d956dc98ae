"""Work in the order of a graph."""

from __future__ import annotations

import threading

import pytest

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
