"""What a build needs of the machine that Packer is run on, and Packer's words for that it lacks something.

A fault of the machine says nothing of an image: another one builds it, and this one does as soon as it is mended.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.model.errors import Transient
from reconciler.model.fleet import Image
from reconciler.model.template import Program

_INSTALL = "install it where reconciler runs, so that it is on PATH"

# Go's own words (os/exec, syscall); what a program on the instance says of its own disk begins with a capital.
_NOT_FOUND = re.compile(r'exec: "(?P<program>[^"]{1,1000})": executable file not found in \$PATH')
_NOT_RUN = re.compile(
    r"fork/exec (?P<path>/[^:]{1,1000}): (?:no such file or directory|permission denied|exec format error)"
)
_SHORT_OF = re.compile(
    r"no space left on device|disk quota exceeded|read-only file system|cannot allocate memory|too many open files|"
    r"fork/exec [^:]{1,1000}: resource temporarily unavailable"
)
# The words of both SDKs for that nobody said who one is; Packer says so before anything is started.
_NOBODY = re.compile(
    r"NoCredentialProviders|No valid credential sources found|failed to refresh cached credentials|"
    r"AssumeRoleTokenProviderNotSetError",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Absent:
    """A program that is not here, with the images that need it."""

    program: Program
    images: tuple[str, ...]

    def error(self) -> Transient:
        """What to say of it for one of these images."""
        return Transient(
            f"{self.program.name} is not on this machine, and {self.program.user} needs it",
            where=self.program.place,
            mend=_INSTALL,
        )


def found(programs: Iterable[Program], environment: Mapping[str, str]) -> dict[str, str | None]:
    """Where each program is, by its name; None where it is not on PATH, or can't be run."""
    return {one.name: shutil.which(one.name, path=environment.get("PATH", "")) for one in programs}


def absent(images: Iterable[Image], environment: Mapping[str, str]) -> tuple[Absent, ...]:
    """What templates need and this machine has not. Raises UserError for a template that can't be read."""
    needed: dict[str, tuple[Program, list[str]]] = {}
    for image in images:
        for program in image.template.programs:
            needed.setdefault(program.name, (program, []))[1].append(image.name)
    there = found((program for program, _ in needed.values()), environment)
    return tuple(Absent(program, tuple(names)) for name, (program, names) in needed.items() if there[name] is None)


def fault(errors: Sequence[str], *, export: Path) -> tuple[str, ...] | None:
    """Hints where Packer's errors, not those of its scripts, say that the machine is at fault; None where none does."""
    text = " ".join(" ".join(errors).split())  # Packer breaks lines at 78 columns
    if match := _NOT_FOUND.search(text):
        return (f"{match['program']}: {_INSTALL}",)
    if any(not match["path"].startswith(f"{export}/") for match in _NOT_RUN.finditer(text)):
        return ("see that it can be run where reconciler runs",)
    if _SHORT_OF.search(text):
        return ("make room where reconciler runs, and run once more",)
    if _NOBODY.search(text):
        return ('Packer finds no credentials; see "Packer\'s credentials" in docs/desired.md',)
    return None
