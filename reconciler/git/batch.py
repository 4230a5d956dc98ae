"""A process that answers one question after another, so that not each of them costs a process of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar, cast

_ASKED_AT_ONCE = 4096
"""Bytes of questions that are under way: what any pipe takes before it blocks (pipe(7)). With more of them the process
could wait for us to read its answers while we wait for it to read our questions."""
_NOT_STARTED = 127
"""The status of what could not be started, as a shell has it."""
_LAST_WORDS_SECONDS = 1
"""How long the process may take to end once it is asked no more."""
T = TypeVar("T")


class Batch:
    """A command in its batch mode, such as `git cat-file --batch`. Several threads may ask.

    The process starts with the first question. It ends with this value, and at the latest with Python.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        error: Callable[[int, str], Exception],
    ) -> None:
        """`error` makes one of the status with which the process ended instead of answering, and what it said."""
        self._command, self._directory, self._environment = command, directory, environment
        self._error = error
        self._one_at_a_time = threading.Lock()
        self._running: _Running | None = None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._running.process.pid if self._running is not None else None

    def ask(self, questions: Iterable[bytes], answer: Callable[[IO[bytes]], T]) -> list[T]:
        """The answers to questions. `answer` reads one, and raises EOFError where the output ends before it does.

        Raises what `error` makes.
        """
        answers: list[T] = []
        with self._one_at_a_time:
            for some in _portions(questions):
                running = self._running = self._running or self._start()
                try:
                    running.asked.write(b"".join(some))
                    running.asked.flush()
                    answers += [answer(running.answered) for _ in some]
                except BaseException as error:
                    # What is yet to come would be taken for the answer to the next question.
                    self._running = None
                    status, said = running.end() or (0, "")
                    if isinstance(error, (EOFError, BrokenPipeError)):
                        raise self._error(status, said) from error
                    raise
        return answers

    def _start(self) -> _Running:
        said = tempfile.TemporaryFile()  # noqa: SIM115 - `_end` closes it
        try:
            # Not a pipe for stderr, and so not by GitPython: nobody would empty it, and it may fill.
            process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,  # a ^C at the terminal is for us
            )
        except OSError as error:
            said.close()
            raise self._error(_NOT_STARTED, str(error)) from error
        return _Running(process, said)


def read_line(answered: IO[bytes]) -> bytes:
    """The next line, without the newline at its end. Raises EOFError if there is none."""
    line = answered.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line[:-1]


class _Running:
    """A process, which writes to `said` what is wrong. `end` ends it and returns how; so does the end of this value."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self.process = process
        self.asked, self.answered = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        self.end = weakref.finalize(self, _end, process, (self.asked, self.answered), said)


def _end(process: subprocess.Popen[bytes], pipes: tuple[IO[bytes], ...], said: IO[bytes]) -> tuple[int, str]:
    """The status and words of a process that is asked no more: it goes by itself, or is killed at what it is at."""
    with said:
        for pipe in pipes:
            with suppress(BrokenPipeError):
                pipe.close()
        try:
            process.wait(_LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        said.seek(0)
        return process.returncode, os.fsdecode(said.read())


def _portions(questions: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The questions in portions, one of which is under way at a time."""
    portion: list[bytes] = []
    size = 0
    for question in questions:
        if portion and size + len(question) > _ASKED_AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(question)
        size += len(question)
    if portion:
        yield portion
