"""One git command: run in a cleaned environment, ended as a value or as an error of ours.

GitPython starts the process. Only its `Git.execute` is used: the porcelain above it (`Remote.push`) does not raise when
a push is rejected and loses the server's reason. What git answers again and again is asked of one process (`Batch`): to
start one costs 4 ms, and a run asks hundreds of times.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from reconciler.git.processes import CONFIGURATION, OURS, Batch, converse, removed
from reconciler.git.urls import without_userinfo
from reconciler.model.errors import Locked, ReconcilerError, Terminal, UserError
from reconciler.model.tree import TreeEntry, inside, outside

if TYPE_CHECKING:
    from subprocess import Popen

    from git.cmd import Git as GitPython

NOT_FOUND = 127
"""What `env` ends with when there is no such program."""
NETWORK_LIMIT_SECONDS = 900
"""After this a fetch or push is killed: an ssh connection whose other end vanished would else wait for ever."""


_CHUNK = 1 << 20


class Sink(Protocol):
    """Where the output of a command goes, piece by piece. It must not raise: git would be left behind, half read."""

    def write(self, piece: bytes, /) -> object:
        """Take the next piece."""


@dataclass(frozen=True)
class Finished:
    """A git process that ended. `stderr` has no passwords in it."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """The output as text, without the newline at its end."""
        return os.fsdecode(self.stdout).removesuffix("\n")

    @property
    def lines(self) -> list[str]:
        """The output line by line, as git ends them: a name that somebody chose may hold what else ends a line."""
        return self.text.split("\n") if self.stdout else []

    @property
    def said(self) -> str:
        """All that was said on both streams, for classification."""
        return f"{without_userinfo(os.fsdecode(self.stdout))}\n{self.stderr}"


@dataclass(frozen=True)
class Git:
    """Git in one directory. `environment` is added to each call's (a temporary index, a work tree).

    A fleet may live in a folder `below` the repository's root. Git counts its paths from the root and has one space
    of tags for all; whoever asks counts from the fleet's folder, and names tags as if there were no other fleet.
    """

    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    below: str = ""
    folder: Path | None = None
    """The repository's own folder, `.git` mostly, or that of a linked work tree; None where nobody asked for it."""

    def inside(self, path: str) -> str:
        """A path of the fleet's as git has it: from the repository's root."""
        return inside(path, self.below)

    def outside(self, path: str) -> str:
        """A path of git's as it is seen from the fleet's folder; what lies beside that begins with `../`."""
        return outside(path, self.below)

    def tag(self, name: str) -> str:
        """A fleet's tag as git has it: that of a fleet in a folder begins with the folder."""
        return f"{self.below}/{name}" if self.below else name

    def attempt(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        limit_seconds: float | None = None,
        sink: Sink | None = None,
    ) -> Finished:
        """Run `git <arguments>` to its end, whatever its status. With a `sink` its output goes there, and is not kept.

        With `limit_seconds` a server has a part in it: it is killed when it takes longer, or answers without end, and
        of what it says beside its answer the beginning and the end are kept.

        Raises:
            UserError: git is not installed.
        """
        gitpython = _gitpython()
        from git.exc import GitCommandNotFound  # noqa: PLC0415 - see _gitpython

        given_environment = {**OURS, **self.environment, **(environment or {})}
        # GitPython can add to the environment and not take away, so `env` does, and it does so last: of what is given,
        # nothing may be taken away. Most runs have nothing to take away.
        removals = [part for name in removed(os.environ, given=given_environment) for part in ("-u", name)]
        command = [*(["env", *removals] if removals else []), *_command(arguments)]
        with tempfile.TemporaryFile() if stdin else nullcontext() as given:
            if given is not None:
                given.write(stdin)
                given.seek(0)
            # A ^C at the terminal is for us: a push that is under way is let finish, in a session of its own.
            start = partial(
                gitpython(self.directory).execute,
                command,
                istream=given,
                env=given_environment,
                start_new_session=True,
            )
            try:
                if limit_seconds is not None:
                    started = start(as_process=True)  # ends the process when it is let go
                    answer = converse(cast("Popen[bytes]", started.proc), limit_seconds=limit_seconds)
                else:
                    answer = cast(
                        "tuple[int, bytes, bytes]",
                        start(
                            with_extended_output=True,
                            with_exceptions=False,
                            stdout_as_string=False,
                            strip_newline_in_stdout=False,
                            output_stream=cast("BinaryIO | None", sink),  # `write` is all that it calls
                            max_chunk_size=_CHUNK,
                        ),
                    )
            except GitCommandNotFound as error:
                raise _not_installed() from error
        status, stdout, stderr = answer
        if status == NOT_FOUND and removals:
            raise _not_installed()
        said = stderr.decode(errors="replace").removesuffix("\n") if limit_seconds is not None else str(stderr)
        return Finished(status, stdout or b"", without_userinfo(said))

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        sink: Sink | None = None,
    ) -> Finished:
        """Run `git <arguments>`, which is expected to succeed.

        Raises:
            UserError: git is not installed, or a program that it needs is not.
            Locked: another git is at work.
            Terminal: git failed; the message says with what.
        """
        finished = self.attempt(*arguments, stdin=stdin, environment=environment, sink=sink)
        if finished.status != 0:
            raise failed(arguments[0], finished)
        return finished

    def succeeds(self, *arguments: str) -> bool:
        """Whether git answers yes (0) or no (1). Raises Terminal on any other status."""
        finished = self.attempt(*arguments)
        if finished.status not in (0, 1):
            raise failed(arguments[0], finished)
        return finished.status == 0

    def once(self, *arguments: str, limit_seconds: float | None = None) -> Finished:
        """The same for what does not change during a run, such as configuration: asked the first time alone."""
        if arguments not in self._answered:
            self._answered[arguments] = self.attempt(*arguments, limit_seconds=limit_seconds)
        return self._answered[arguments]

    def batch(self, *arguments: str) -> Batch:
        """The process that answers `git <arguments>` question by question: the same one each time.

        Raises UserError where git is not installed. Asked, it raises as `run` does.
        """
        if arguments not in self._batches:
            given = {"LANGUAGE": "C", "LC_ALL": "C", **OURS, **self.environment}
            hidden = removed(os.environ, given=given)
            inherited = {name: value for name, value in os.environ.items() if name not in hidden}
            self._batches[arguments] = Batch(
                _command(arguments),
                directory=self.directory,
                environment={**inherited, **given},
                error=lambda status, said: failed(arguments[0], Finished(status, b"", without_userinfo(said))),
            )
        return self._batches[arguments]

    @cached_property
    def _answered(self) -> dict[tuple[str, ...], Finished]:
        return {}

    @cached_property
    def _batches(self) -> dict[tuple[str, ...], Batch]:
        return {}

    @cached_property
    def listings(self) -> dict[tuple[str, bytes], tuple[TreeEntry, ...]]:
        """What `store.py` listed: the files of a tree by its id and the path that leads to it. Trees never change."""
        return {}

    @contextmanager
    def with_own_index(self, start_from: Path | None = None) -> Iterator[Git]:
        """This git with an index of its own, away from the checkout's; a copy of `start_from` if that is given."""
        with tempfile.TemporaryDirectory(prefix="reconciler-index-") as folder:
            index = Path(folder, "index")
            if start_from is not None and start_from.exists():
                copy_with_times(start_from, index)
            yield replace(self, environment={**self.environment, "GIT_INDEX_FILE": str(index)})


def copy_with_times(source: Path, target: Path) -> None:
    """Copy a file with its modification time, by which git tells index entries that must be looked at again."""
    stat = source.stat()
    target.write_bytes(source.read_bytes())
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def failed(verb: str, finished: Finished) -> ReconcilerError:
    """The error for a git command that should have worked: what is the matter in this clone or on this machine."""
    lines = [line[:_LINE] for line in finished.stderr.splitlines() if line.strip()]
    for line in lines:
        if (lock := left_lock(line)) is not None:
            return at_work(lock)
        if missing := _MISSING_PROGRAM.search(line):
            return UserError(
                f"git {verb} needs the program {missing['program']}, which is not here",
                hint=(
                    "install it where reconciler runs (`git lfs install` for git-lfs),",
                    "or take out what asks for it: `git config --show-origin --get-regexp ^filter` lists that",
                ),
            )
    why = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
    hint = next((hint for words, hint in _TROUBLES if words in finished.stderr), ())
    return Terminal(f"git {verb} ended with {finished.status}" + (f": {why}" if why else ""), hint=hint)


_LINE = 1000
"""Characters of a line that are looked at: a filter or a server may have written it."""
_LOCK = re.compile(r"Unable to create '(?P<lock>[^']{1,900}\.lock)': File exists")
# The shell's words: dash, bash and busybox differ in what stands before.
_MISSING_PROGRAM = re.compile(r"(?:^|: )(?P<program>[^:\s]{1,200}): (?:command )?not found$")
_TROUBLES: tuple[tuple[str, str | tuple[str, ...]], ...] = (
    (
        "Read-only file system",
        "git has to write to the clone's .git for this; work in a clone that can be written to",
    ),
    (
        "insufficient permission for adding an object",
        "whoever runs reconciler has to own the clone's .git, or be in its group",
    ),
    ("No space left on device", "make room on that disk"),
)


def left_lock(line: str) -> str | None:
    """The lock file that a line of git's calls taken; None where it speaks of none."""
    match = _LOCK.search(line)
    return match["lock"] if match else None


def at_work(lock: str) -> Locked:
    """The error for a lock in this clone."""
    return Locked(
        f"another git is at work in this clone, or one that was killed left {lock}",
        hint=f"if no git runs here: `rm {shlex.quote(lock)}`",
    )


def _not_installed() -> UserError:
    return UserError("git is not installed, or not on the PATH", hint="install git 2.30 or newer")


@cache
def _gitpython() -> type[GitPython]:
    # Imported at the first command, since it costs 110 ms (`git.cmd` alone costs the same: it loads the package).
    try:
        from git.cmd import Git as GitPython  # noqa: PLC0415
    except ImportError as error:  # GitPython looks for the executable when it is imported
        raise _not_installed() from error
    return GitPython


def _command(arguments: Iterable[str]) -> list[str]:
    return [_executable(), *(part for setting in CONFIGURATION for part in ("-c", setting)), *arguments]


def _executable() -> str:
    return str(_gitpython().GIT_PYTHON_GIT_EXECUTABLE or "git")
