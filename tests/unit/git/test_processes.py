"""The processes of git: who is asked question after question, and who may say what it likes for as long as it likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.git import processes
from reconciler.git.processes import Batch, Ends, Refused, converse, read_line


def started(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", f"import os, sys, time\n{program}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_one_whose_answer_is_not_wanted_says_no_more_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LAST_WORDS_SECONDS", 3600)  # which nobody waits for
    answer = "import time; print('begun', flush=True); time.sleep(3600)"
    batch = Batch([sys.executable, "-c", answer], directory=tmp_path, environment={}, error=lambda *_: AssertionError())
    heard: list[bytes] = []

    def refusing(answered: IO[bytes]) -> None:
        heard.append(read_line(answered))
        raise Refused

    with pytest.raises(Refused):
        batch.ask([b"?\n"], refusing)

    assert heard == [b"begun"]
    assert batch.pid is None


def test_what_it_prints_and_says_and_how_it_ends_is_told() -> None:
    process = started("print('an answer'); print('a word', file=sys.stderr); sys.exit(3)")

    assert converse(process, limit_seconds=60) == (3, b"an answer\n", b"a word\n")


def test_of_what_it_says_without_end_the_beginning_and_the_end_are_kept() -> None:
    process = started(
        "os.write(2, b'first\\n')\nfor _ in range(20): os.write(2, b'x' * 2**20)\nos.write(2, b'\\nlast')"
    )

    status, answer, said = converse(process, limit_seconds=60)

    assert (status, answer) == (0, b"")
    assert said.startswith(b"first\nxxx")
    assert said.endswith(b"xxx\nlast")
    assert b"bytes left out]" in said
    assert len(said) < 300_000


def test_one_that_answers_without_end_is_ended() -> None:
    process = started("while True: os.write(1, b'x' * 2**20)")

    status, answer, said = converse(process, limit_seconds=60)

    assert (status, answer, said) == (-9, b"", b"fatal: the answer is longer than 64 MiB\n")


def test_one_that_takes_too_long_is_ended_with_what_it_started() -> None:
    process = started("import subprocess; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])")

    status, _, said = converse(process, limit_seconds=0.1)

    assert (status, said) == (-9, b"Timeout: the command did not complete in 0.1 secs.\n")


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 20))
def test_both_ends_are_kept_however_it_comes(pieces: list[bytes], half: int) -> None:
    ends, whole = Ends(2 * half), b"".join(pieces)
    for piece in pieces:
        ends.write(piece)

    if len(whole) <= 2 * half:
        assert ends.text == whole
    else:
        left_out = f"\n[{len(whole) - 2 * half} bytes left out]\n".encode()
        assert ends.text == whole[:half] + left_out + whole[-half:]
