"""The Packer that is installed: where it is, its version, and the command lines it is given."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.build.output import Noise, Reader, Say, VersionField
from reconciler.build.packer.cache import cache_folder, find_program
from reconciler.build.packer.versions import LOG_LINE, OLDEST
from reconciler.build.secrets import redactor
from reconciler.model.constraint import Version
from reconciler.model.errors import UserError
from reconciler.model.text import cut, one_line, visible

_VERSION = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})(?:[-+].*)?")
_ANSWER_SECONDS = 30
_LONGEST_ANSWER = 1 << 18
"""Bytes that are read. A thousand plugins are listed in as many."""
_LONGEST_WORDS = 300
INSTALL = "get one: `reconciler packer`, or https://developer.hashicorp.com/packer/install"
PROGRAM = "packer"


def platform() -> str:
    """This machine as Packer's releases name it: `linux_amd64`."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return f"{sys.platform}_{machine}"


def entry_of(version: str) -> str:
    """What a version of Packer is called in the cache. A home may be shared by machines of different kinds."""
    return f"{PROGRAM}-{version}-{platform()}"


@dataclass(frozen=True)
class Binary:
    """An installed Packer. `path` is absolute. `passed_over` are those that came first and are none, and why."""

    path: str
    version: Version
    passed_over: tuple[str, ...] = ()

    @property
    def version_text(self) -> str:
        """The version as people write it: `1.6.6`."""
        return version_text(self.version)


def version_text(version: Version) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))


def find(environment: Mapping[str, str], *, given: Path | None = None) -> Binary:
    """Find Packer at a given place, or on the PATH and then in the cache, and ask its version.

    On the PATH the first one that is Packer is taken: another program of that name may come before it.

    Raises:
        Misconfigured: the first one can't read its settings.
        NoPacker: there is none that can be used.
        UserError: the cache may not be looked at for one.
    """
    if given is not None:
        found = shutil.which(str(given), path=environment.get("PATH"))
        if found is None:
            raise UserError(f"there is no Packer at {given}", hint=INSTALL)
        return examine(found, environment)
    passed_over: list[UserError] = []
    binary = next(usable(environment, passed_over.append), None)
    if binary is not None:
        return Binary(binary.path, binary.version, tuple(error.what for error in passed_over))
    if passed_over:
        first, *others = sorted(passed_over, key=lambda error: isinstance(error, AnotherProgram))
        none = NoPacker if isinstance(first, AnotherProgram) else NoneUsable
        raise none(first.what, hint=(*(error.what for error in others), *first.hint))
    raise NoPacker("Packer is not installed: no `packer` on the PATH", hint=INSTALL)


_NOT_MINE = "set HOME to this user's own folder, or XDG_CACHE_HOME to one that it can read and write"


def usable(environment: Mapping[str, str], pass_over: Callable[[UserError], object]) -> Iterator[Binary]:
    """Every Packer that can be used, in the order of `candidates`; what is none is told to `pass_over`.

    Raises:
        Misconfigured: one can't read its settings: the next one would read the same.
        UserError: as `candidates` does.
    """
    for candidate in candidates(environment):
        try:
            binary = examine(candidate, environment)
        except Misconfigured:
            raise
        except UserError as error:
            pass_over(error)
        else:
            yield binary


def candidates(environment: Mapping[str, str]) -> Iterator[str]:
    """Every program that may be Packer: what the PATH has of that name, then what the cache keeps, newest first.

    Raises:
        UserError: at the end: something that the cache keeps is damaged, or somebody else's.
    """
    for folder in environment.get("PATH", os.defpath).split(os.pathsep):
        # An empty or relative entry leads to the current folder, which whoever wrote the repository decides about.
        if Path(folder).is_absolute() and (found := shutil.which(PROGRAM, path=folder)):
            yield found
    cache = cache_folder(environment)
    damaged: UserError | None = None
    try:
        kept_here = sorted(cache.glob(entry_of("*")), key=_newest_first) if cache else []
    except OSError as error:  # another user's HOME, as `docker --user` and `sudo -E -u` leave it
        kept_here, damaged = [], UserError(f"{cache} can't be read: {error.strerror}", hint=_NOT_MINE)
    for entry in kept_here:
        try:
            if cache is not None and (kept := find_program(cache, entry.name, PROGRAM)):
                yield str(kept)
        except UserError as error:
            damaged = damaged or error
    if damaged is not None:
        raise damaged


class NoPacker(UserError):
    """There is no Packer on this machine, or none but those that are too old."""


class NoneUsable(NoPacker):
    """There is a Packer, and it is too old, or can't be run."""


class AnotherProgram(UserError):
    """Something on the PATH is called packer, and is another program."""


class Misconfigured(UserError):
    """A Packer that can't read its settings. Another one is no way out: what it would build, nobody asked it for."""


def examine(path: str, environment: Mapping[str, str]) -> Binary:
    """Ask a program whether it is Packer, and which.

    Raises:
        Misconfigured: it is Packer, and ends at its settings.
        UserError: it is another program, cannot be run, or is older than `OLDEST`.
    """
    path = str(Path(path).absolute())
    answer = _asked(path, environment)
    version = _version(answer)
    if version is None:
        which = _version(_asked(path, _without_settings(environment)))
        if which is not None:
            said = _words(answer) or _logged(path, environment) or "it does not say why"
            raise Misconfigured(
                f"{path} is Packer {version_text(which)}, and ends at its settings: {said}",
                hint="see the variables PACKER_… and HOME, and the file ~/.packerconfig",
            )
        raise AnotherProgram(
            f"{path} is not Packer: asked for its version it printed {_first_line(answer)}",
            hint=("another program of that name may come first on the PATH (cracklib has one)", INSTALL),
        )
    if version < OLDEST:
        needed = f"{version_text(OLDEST)} or later is needed"
        raise UserError(f"{path} is Packer {version_text(version)}; {needed}", hint=INSTALL)
    return Binary(path, version)


def _asked(path: str, environment: Mapping[str, str]) -> bytes:
    # Two arguments: cracklib's packer takes one for the name of a dictionary that it then writes.
    return ask((path, "-machine-readable", "version"), environment, errors=subprocess.STDOUT)


def _logged(path: str, environment: Mapping[str, str]) -> str:
    """Why a Packer ended, of one that says so in its log alone, which is printed for this once."""
    asked = {**environment, "PACKER_LOG": "1"}
    asked.pop("PACKER_LOG_PATH", None)  # what the person keeps is not written to
    lines = _asked(path, asked).split(b"\n")
    return _words(b"\n".join(line for line in lines if not LOG_LINE.match(line)))


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Packer finds no settings, and no home to put any into: it makes one that it can make."""
    kept = {name: value for name, value in environment.items() if not name.startswith(("PACKER_", "XDG_"))}
    return {**kept, "HOME": "/proc/none"}


def ask(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    errors: int = subprocess.DEVNULL,
    hint: Sequence[str] = (INSTALL,),
) -> bytes:
    """Run a command that answers at once and return its stdout. Raises UserError if it cannot be run or hangs.

    Of one that prints without end the beginning is returned. Nothing that it started is left running. `errors` says
    what becomes of its stderr, as in `subprocess`, and `hint` what to do where it hangs.
    """
    try:
        process = subprocess.Popen(
            [str(Path(arguments[0]).absolute()) if os.sep in arguments[0] else arguments[0], *arguments[1:]],
            # Not where we are, which may be a stranger's checkout: up to 1.10 Packer takes `packer-plugin-…` there for
            # a plugin, and runs it to ask what it is.
            cwd=os.sep,
            env={**environment, "CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"{arguments[0]} cannot be run: {error.strerror}", hint=INSTALL) from error
    with process:
        try:
            answer = _read(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet, so its group is still its own
    if answer is None:
        raise UserError(f"`{' '.join(arguments)}` did not answer within {_ANSWER_SECONDS} s", hint=tuple(hint))
    return answer


def _read(process: subprocess.Popen[bytes]) -> bytes | None:
    """The beginning of what a process prints, or all of it; None where it goes on for too long."""
    if process.stdout is None:
        return b""
    answer, ready, deadline = bytearray(), select.poll(), time.monotonic() + _ANSWER_SECONDS
    ready.register(process.stdout, select.POLLIN)
    while len(answer) < _LONGEST_ANSWER:
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        piece = os.read(process.stdout.fileno(), _LONGEST_ANSWER)
        if not piece:
            break
        answer += piece
    return bytes(answer)


def build_command(binary: Binary, template: str, *, var_files: Sequence[str], only: Sequence[str]) -> tuple[str, ...]:
    """The command line of a build. Paths are as Packer sees them from where it runs.

    Never `-force`: with it the amazon builders delete the image of the same name before the new one exists.
    """
    return (
        binary.path,
        "build",
        "-machine-readable",
        "-color=false",
        *(f"-only={','.join(only)}" for _ in only[:1]),
        *(f"-var-file={path}" for path in var_files),
        template,
    )


def _newest_first(entry: Path) -> tuple[int, ...]:
    match = re.fullmatch(rf"{PROGRAM}-{_VERSION.pattern}", entry.name)
    return tuple(-int(number) for number in match.groups()) if match else ()


def _version(answer: bytes) -> Version | None:
    reader = Reader()
    for line in (*reader.feed(answer), *reader.close()):
        if isinstance(line, VersionField) and line.field == "version" and (match := _VERSION.fullmatch(line.value)):
            return int(match[1]), int(match[2]), int(match[3])
    return None


def _first_line(answer: bytes) -> str:
    said = _lines(answer)
    if not said:
        return "nothing"
    return f'"{said[0][:80]}"' if said[0].isprintable() else "something unprintable"


def _words(answer: bytes) -> str:
    """All that a Packer says before it is asked anything, in a line; empty where it says nothing."""
    return cut(one_line(visible(" ".join(_lines(answer)))), _LONGEST_WORDS)


def _lines(answer: bytes) -> list[str]:
    """The lines that a program printed, without secrets; none is empty."""
    reader = Reader()
    texts = [line.text for line in (*reader.feed(answer), *reader.close()) if isinstance(line, (Noise, Say))]
    return [line.strip() for text in texts for line in redactor(())(text).splitlines() if line.strip()]
