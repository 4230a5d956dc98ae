"""Runs work in the order of a graph, as parallel as it may be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from typing import TypeVar

T = TypeVar("T")


def run_graph(waits: Mapping[str, Collection[str]], work: Callable[[str], T], *, parallel: int) -> dict[str, T]:
    """Call `work` for every name, each after all it waits for, at most `parallel` at once.

    `work` is called even when what it waits for went wrong: it decides by itself what that means. What it raises is
    raised here, after everything that was started has ended. Total time is that of the longest chain as long as
    `parallel` is not the limit: a name starts the moment its last parent ends.
    """
    sorter = TopologicalSorter(waits)
    sorter.prepare()
    done: dict[str, T] = {}
    running: dict[Future[T], str] = {}
    with ThreadPoolExecutor(max_workers=max(1, min(parallel, len(waits)))) as pool:
        while sorter.is_active():
            for name in sorted(sorter.get_ready()):
                running[pool.submit(work, name)] = name
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                name = running.pop(future)
                done[name] = future.result()
                sorter.done(name)
    return done
