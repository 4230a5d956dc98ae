"""The Packer that is installed: where it is, its version, and the command lines it is given."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.build.machine_readable import Noise, Reader, Say, VersionField
from reconciler.build.redact import redactor
from reconciler.model.errors import UserError

Version = tuple[int, int, int]

OLDEST: Version = (1, 6, 0)
"""HCL2 templates as they are read here, and `run-cleanup-provisioner`, begin with 1.6."""

_VERSION = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})(?:[-+].*)?")
_ANSWER_SECONDS = 30
_INSTALL = "install it (https://developer.hashicorp.com/packer/install, or `apt-get install packer`)"


@dataclass(frozen=True)
class Binary:
    """An installed Packer. `path` is absolute."""

    path: str
    version: Version

    @property
    def version_text(self) -> str:
        """The version as people write it: `1.6.6`."""
        return ".".join(map(str, self.version))


def find(environment: Mapping[str, str], *, given: Path | None = None) -> Binary:
    """Find Packer on the PATH, or at a given place, and ask its version.

    Raises:
        UserError: there is none, it is older than `OLDEST`, or it is not Packer.
    """
    path = shutil.which(str(given) if given else "packer", path=environment.get("PATH"))
    if path is None:
        what = f"there is no Packer at {given}" if given else "Packer is not installed: no `packer` on the PATH"
        raise UserError(what, mend=_INSTALL)
    path = str(Path(path).absolute())
    answer = ask((path, "-machine-readable", "version"), environment)
    version = _version(answer)
    if version is None:
        raise UserError(
            f"{path} is not Packer: asked for its version it printed {_first_line(answer)}",
            mend=("another program of that name may come first on the PATH (cracklib has one)", _INSTALL),
        )
    binary = Binary(path, version)
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UserError(f"{path} is Packer {binary.version_text}; {oldest} or later is needed", mend=_INSTALL)
    return binary


def ask(arguments: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """Run a command that answers at once and return its stdout. Raises UserError if it cannot be run or hangs."""
    try:
        return subprocess.run(
            arguments,
            env={**environment, "CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_ANSWER_SECONDS,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as error:
        raise UserError(f"`{' '.join(arguments)}` did not answer within {_ANSWER_SECONDS} s", mend=_INSTALL) from error
    except OSError as error:
        raise UserError(f"{arguments[0]} cannot be run: {error.strerror}", mend=_INSTALL) from error


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


def validate_command(binary: Binary, template: str, *, var_files: Sequence[str]) -> tuple[str, ...]:
    """The command line that checks a template without credentials. On success 1.6 prints nothing."""
    return (binary.path, "validate", *(f"-var-file={path}" for path in var_files), template)


def _version(answer: bytes) -> Version | None:
    reader = Reader()
    for line in (*reader.feed(answer), *reader.close()):
        if isinstance(line, VersionField) and line.field == "version" and (match := _VERSION.fullmatch(line.value)):
            return int(match[1]), int(match[2]), int(match[3])
    return None


def _first_line(answer: bytes) -> str:
    reader = Reader()
    for line in (*reader.feed(answer), *reader.close()):
        if isinstance(line, (Noise, Say)) and line.text.strip():
            first = redactor(())(line.text.strip().splitlines()[0])
            return f'"{first[:80]}"' if first.isprintable() else "something unprintable"
    return "nothing"
