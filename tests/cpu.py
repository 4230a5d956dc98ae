"""Bounds on the CPU time of what a test runs, so that what takes for ever fails a test instead of holding it up.

CPU time, as a machine that others use as well takes any time by the clock. A test allows many times what it needs: it
is there to tell seconds from hours. How time grows with what is read is told by `growth`, by the same process at the
same moment, so that it says the same on any machine.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

_EVERY = 1.0
"""Seconds after which it is told again, to what was caught."""
_APART = """
import importlib, json, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
print(json.dumps(getattr(importlib.import_module(sys.argv[2]), sys.argv[3])(sys.stdin.read())))
"""


@contextmanager
def cpu_seconds(most: float) -> Iterator[None]:
    """Fail the test, where it is, once what is in this `with` block took more CPU time.

    It ends Python's own code and its regular expressions. What other libraries do (the parsers of JSON, of YAML, of
    HashiCorp's HCL) hears of it at their end alone: for those there is `apart`.
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"it took more than {most} s of CPU time")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, most, _EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def apart(run: Callable[[str], object], text: str, *, cpu_seconds: int) -> object:
    """What a function returns of a text, in a Python of its own, which the kernel ends once that took more CPU time.

    `run` is one of a module that imports no more than it needs; what it returns is made of what JSON has.
    """
    ran = subprocess.run(
        [sys.executable, "-P", "-c", _APART, str(cpu_seconds), run.__module__, run.__name__],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONUTF8": "1"},
        input=text.encode(), capture_output=True, check=False,
    )  # fmt: skip
    if ran.returncode in (-signal.SIGKILL, -signal.SIGXCPU):
        pytest.fail(f"it took more than {cpu_seconds} s of CPU time")
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)


LEAST = 0.02
"""Seconds of CPU time that can be compared with others."""


def growth(run: Callable[[str], object], text_of: Callable[[int], str], *, largest: int, most: float = 8.0) -> float:
    """How many times as long the reading of a text of four times the length takes: four, if it is read once.

    The length is that at which reading it takes a moment, or `largest`; where even that is less, it is 0. What is
    above `most` is measured again: it is the least of three.
    """
    length = 512
    while (taken := _taken(run, text_of(length))) < LEAST:
        length *= 2
        if 4 * length > largest:
            return 0.0
    found = _taken(run, text_of(4 * length)) / taken
    for _ in range(2):
        if found <= most:
            break
        found = min(found, _taken(run, text_of(4 * length)) / _taken(run, text_of(length)))
    return found


def _taken(run: Callable[[str], object], text: str) -> float:
    gc.disable()  # when it collects, depends on what was made before
    began = time.process_time()
    run(text)
    taken = time.process_time() - began
    gc.enable()
    return taken
