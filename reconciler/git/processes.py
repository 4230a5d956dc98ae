"""The processes of git: their environment, and one that answers question after question."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar, cast

# The environment that git runs in: ours, whatever the caller's shell, hook or alias left behind.

KEPT = frozenset(
    {
        "GIT_ALLOW_PROTOCOL",
        "GIT_ASKPASS",
        "GIT_CEILING_DIRECTORIES",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_SYSTEM",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
        "GIT_EXEC_PATH",
        "GIT_PROXY_COMMAND",
        "GIT_PROXY_SSL_CAINFO",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSL_CERT",
        "GIT_SSL_KEY",
        "GIT_SSL_NO_VERIFY",
    }
)
"""How remotes are reached and which configuration is read: the caller's to decide. All other GIT_* say *which
repository, index or identity* is meant (a hook exports GIT_DIR and GIT_INDEX_FILE), and that is ours to decide."""

KEPT_PREFIXES = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_", "GIT_HTTP_", "GIT_PYTHON_")

OURS = {
    # Fail instead of asking: nobody sits in front of a scheduled job.
    "GIT_TERMINAL_PROMPT": "0",
    # `git status` must not rewrite the index of the checkout it looks at.
    "GIT_OPTIONAL_LOCKS": "0",
    # A file named `*.hcl` is that file, not a pattern.
    "GIT_LITERAL_PATHSPECS": "1",
    # History as it was pushed, not as somebody's refs/replace or info/grafts shows it. The null device has nothing
    # below it; of a file that is there git says that grafts are deprecated.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null/none",
}

CONFIGURATION = (
    # Hooks are for people's commits. The null device has no file `pre-push` below it.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    # An index of ours is one file, wherever it lies.
    "core.splitIndex=false",
    "core.safecrlf=false",
    # What is read has no escapes in it. A slot that is set by itself goes before `color.ui`.
    "color.ui=false",
    "color.advice=false",
    "color.push=false",
    "color.remote=false",
    "color.transport=false",
    # No repacking in the background of a run, which would keep lock files and processes alive after it.
    "gc.auto=0",
    "maintenance.auto=false",
    # Signed is what `git.sign` asks for, and nothing else. Servers take no signed push unless they are set up for it.
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "tag.forceSignAnnotated=false",
    "push.gpgSign=false",
    # Pushed is what is named, and without options: a person's `ci.skip` is for that person's pushes. Empty clears the
    # options of all other files (git-config(1), push.pushOption).
    "push.pushOption=",
    "push.followTags=false",
    "push.negotiate=false",
    "push.recurseSubmodules=no",
    "push.useForceIfIncludes=false",
    # Fetched is what is named, and nothing of this clone is thrown away for it.
    "fetch.prune=false",
    "fetch.pruneTags=false",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "log.follow=false",
    "log.showSignature=false",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
    # A transfer that moves less than 1 kB/s for a minute is dead.
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
)
"""What every call passes with `-c`, so that a person's own configuration does not change what we do.

What says how a remote is reached is left to that person: `url.*.insteadOf`, `credential.*`, `http.*`, `protocol.*`,
`core.sshCommand`; and so is what they ask of what they take (`transfer.fsckObjects`).
"""


def of_remote(name: str) -> tuple[str, ...]:
    """The same for what is set for one remote alone, which goes before what is set for all."""
    # `mirror` excludes naming what is pushed, and would delete every branch that this clone does not have.
    return (f"remote.{name}.mirror=false", f"remote.{name}.prune=false", f"remote.{name}.pruneTags=false")


def removed(inherited: Iterable[str], *, given: Container[str]) -> tuple[str, ...]:
    """The variables among `inherited` that git must not see, in order of name. What is `given` is ours, and stays."""
    return tuple(
        sorted(
            name
            for name in inherited
            if name.startswith("GIT_") and name not in KEPT and not name.startswith(KEPT_PREFIXES) and name not in given
        )
    )


# A process that answers one question after another, so that not each of them costs a process of its own.

_ASKED_AT_ONCE = 4096
"""Bytes of questions that are under way: what any pipe takes before it blocks (pipe(7)). With more of them the process
could wait for us to read its answers while we wait for it to read our questions."""
_NOT_STARTED = 127
"""The status of what could not be started, as a shell has it."""
_LAST_WORDS_SECONDS = 1
"""How long the process may take to end once it is asked no more."""
T = TypeVar("T")


class Refused(Exception):
    """An answer is not wanted by whoever asked, now that its beginning is known."""


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

        Where it raises Refused, the process is killed at once: what is to come of that answer may have no end.

        Raises what `error` makes, and what `answer` does.
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
                    if isinstance(error, Refused):
                        running.process.kill()
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


# A conversation with a server, which may say what it likes for as long as it likes.

_MOST_ANSWERED = 64 * 1024 * 1024
"""Bytes of an answer: the names of half a million refs."""
_MOST_SAID = 256 * 1024
"""Bytes of what is said beside it: of more, the beginning and the end are kept."""
_PIECE = 1 << 16


class Ends:
    """The beginning and the end of what is written, half of `most` bytes each. What lies between is let go."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._begin, self._end = bytearray(), bytearray()
        self._let_go = 0

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        room = self._half - len(self._begin)
        self._begin += piece[:room]
        self._end += piece[room:] if room else piece
        over = len(self._end) - self._half
        if over > 0:
            del self._end[:over]
            self._let_go += over

    @property
    def text(self) -> bytes:
        """What was kept, with a line for what was not."""
        between = f"\n[{self._let_go} bytes left out]\n".encode() if self._let_go else b""
        return bytes(self._begin) + between + bytes(self._end)


def converse(process: subprocess.Popen[bytes], *, limit_seconds: float) -> tuple[int, bytes, bytes]:
    """Read what a process prints until it ends: its status, its output, and what it says beside that.

    It is killed, with all that it started in its session, when it takes longer, or answers with more than 64 MiB.
    """
    stdout, stderr = cast("IO[bytes]", process.stdout), cast("IO[bytes]", process.stderr)
    said, answer, why = Ends(_MOST_SAID), bytearray(), b""
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(limit_seconds, end)
    timer.daemon = True
    beside = threading.Thread(target=_drain, args=(stderr, said), daemon=True)
    timer.start()
    beside.start()
    try:
        while piece := os.read(stdout.fileno(), _PIECE):
            answer += piece
            if len(answer) > _MOST_ANSWERED:
                why = b"fatal: the answer is longer than 64 MiB\n"
                _kill(process)
                break
        status = process.wait()
        beside.join()
    except BaseException:
        _kill(process)
        raise
    finally:
        timer.cancel()
        stdout.close()
    if late.is_set():
        why = f"Timeout: the command did not complete in {limit_seconds:g} secs.\n".encode()
    return status, bytes(answer) if not why else b"", why or said.text


def _drain(stream: IO[bytes], into: Ends) -> None:
    with stream:
        while piece := os.read(stream.fileno(), _PIECE):
            into.write(piece)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
