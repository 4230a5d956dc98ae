"""One git command: run in a cleaned environment, ended as a value or as an error of ours.

GitPython starts the process. Only its `Git.execute` is used: the porcelain above it (`Remote.push`) does not raise when
a push is rejected and loses the server's reason.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.git.environment import CONFIGURATION, OURS, unwanted
from reconciler.git.urls import without_userinfo
from reconciler.model.errors import Terminal, UserError

if TYPE_CHECKING:
    from git.cmd import Git as GitPython

NOT_FOUND = 127
"""What `env` ends with when there is no such program."""
NETWORK_LIMIT_SECONDS = 900
"""After this a fetch or push is killed: an ssh connection whose other end vanished would else wait for ever."""


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
    def said(self) -> str:
        """All that was said on both streams, for classification."""
        return f"{without_userinfo(os.fsdecode(self.stdout))}\n{self.stderr}"


@dataclass(frozen=True)
class Git:
    """Git in one directory. `environment` is added to each call's (a temporary index, a work tree)."""

    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def attempt(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        limit_seconds: float | None = None,
    ) -> Finished:
        """Run `git <arguments>` to its end, whatever its status.

        Raises:
            UserError: git is not installed.
        """
        gitpython = _gitpython()
        from git.exc import GitCommandNotFound  # noqa: PLC0415 - see _gitpython

        options = [part for setting in CONFIGURATION for part in ("-c", setting)]
        # GitPython can add to the environment and not take away, so `env` does. Most runs have nothing to take away.
        removals = [part for name in unwanted(os.environ) for part in ("-u", name)]
        with tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            try:
                status, stdout, stderr = gitpython(self.directory).execute(
                    [*(["env", *removals] if removals else []), _executable(), *options, *arguments],
                    istream=given,
                    env={**OURS, **self.environment, **(environment or {})},
                    with_extended_output=True,
                    with_exceptions=False,
                    stdout_as_string=False,
                    strip_newline_in_stdout=False,
                    kill_after_timeout=limit_seconds,
                    # A ^C at the terminal is for us: a push that is under way is let finish.
                    start_new_session=True,
                )
            except GitCommandNotFound as error:
                raise _not_installed() from error
        if status == NOT_FOUND and removals:
            raise _not_installed()
        return Finished(status, stdout if isinstance(stdout, bytes) else b"", without_userinfo(str(stderr)))

    def run(self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Finished:
        """Run `git <arguments>`, which is expected to succeed.

        Raises:
            UserError: git is not installed.
            Terminal: git failed; the message says with what.
        """
        finished = self.attempt(*arguments, stdin=stdin, environment=environment)
        if finished.status != 0:
            raise failed(arguments[0], finished)
        return finished

    def succeeds(self, *arguments: str) -> bool:
        """Whether git answers yes (0) or no (1). Raises Terminal on any other status."""
        finished = self.attempt(*arguments)
        if finished.status not in (0, 1):
            raise failed(arguments[0], finished)
        return finished.status == 0

    @contextmanager
    def with_own_index(self, start_from: Path | None = None) -> Iterator[Git]:
        """This git with an index of its own, away from the checkout's; a copy of `start_from` if that is given."""
        with tempfile.TemporaryDirectory(prefix="reconciler-index-") as folder:
            index = Path(folder, "index")
            if start_from is not None and start_from.exists():
                copy_with_times(start_from, index)
            yield Git(self.directory, {**self.environment, "GIT_INDEX_FILE": str(index)})


def copy_with_times(source: Path, target: Path) -> None:
    """Copy a file with its modification time, by which git tells index entries that must be looked at again."""
    stat = source.stat()
    target.write_bytes(source.read_bytes())
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def failed(verb: str, finished: Finished) -> Terminal:
    """The error for a git command that should have worked."""
    lines = [line for line in finished.stderr.splitlines() if line.strip()]
    why = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
    unwritable = "Read-only file system" in finished.stderr
    mend = "git has to write to the clone's .git for this; work in a clone that can be written to" if unwritable else ()
    return Terminal(f"git {verb} ended with {finished.status}" + (f": {why}" if why else ""), mend=mend)


def _not_installed() -> UserError:
    return UserError("git is not installed, or not on the PATH", mend="install git 2.30 or newer")


@cache
def _gitpython() -> type[GitPython]:
    # Imported at the first command, since it costs 110 ms (`git.cmd` alone costs the same: it loads the package).
    try:
        from git.cmd import Git as GitPython  # noqa: PLC0415
    except ImportError as error:  # GitPython looks for the executable when it is imported
        raise _not_installed() from error
    return GitPython


def _executable() -> str:
    return str(_gitpython().GIT_PYTHON_GIT_EXECUTABLE or "git")
