"""Whether a run of Packer built the image, why it did not, and what the machine lacked."""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.build.outcome import TAIL, Failing, Outcome
from reconciler.build.packer.diagnosis import cause, place_of
from reconciler.build.process import MOST_OUTPUT, Exit
from reconciler.build.workplace import inside, selected
from reconciler.model.errors import Place, ReconcilerError, Transient
from reconciler.model.fleet import Image, Program
from reconciler.model.text import clock_time, one_line
from reconciler.model.values import format_duration
from reconciler.ports.builder import BuildFailed, BuildRequest, Cause, Provisioner
from reconciler.ports.machine import Machine
from reconciler.registries import dialect_of, machine_of

# What a build needs of the machine that Packer is run on, and Packer's words for that it lacks something.
#
# A fault of the machine says nothing of an image: another one builds it, and this one does as soon as it is fixed.

_INSTALL = "install it where reconciler runs, so that it is on PATH"
_OF_ANSIBLE = "ansible-"
_BESIDE = Path(sys.prefix) / "bin"
"""The programs installed beside this one: with the extra `sandbox` Ansible's, of which pipx puts none on PATH."""

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
# Somebody did, and is not let in: AWS's codes (EC2's API reference, "Common client errors"), and what a vCenter says to
# a wrong login (vim.fault.InvalidLogin).
_NOT_LET_IN = re.compile(
    r"\b(?:ExpiredToken(?:Exception)?|RequestExpired|InvalidClientTokenId|InvalidAccessKeyId|SignatureDoesNotMatch)\b|"
    r"Cannot complete login due to an incorrect user name or password"
)
# HCP Packer is not let in, or not found, where a template has hcp_packer_registry or reads one of its data sources
# (Packer 1.16, internal/hcp/api/client.go and internal/hcp/registry): it ends before any builder is started.
_NOT_AT_HCP = re.compile(r"HCP Authentication not configured|HCP: populating version failed")
_FAULTS = (
    (_SHORT_OF, ("make room where reconciler runs, and run once more",)),
    (_NOBODY, ('Packer finds no credentials; see "Packer\'s credentials" in docs/desired.md',)),
    (
        _NOT_LET_IN,
        ("the credentials that Packer has are not accepted, or have expired: renew them, and run once more",),
    ),
    (
        _NOT_AT_HCP,
        (
            "the template asks HCP Packer: set HCP_CLIENT_ID and HCP_CLIENT_SECRET where reconciler runs",
            "or remove hcp_packer_registry, and what reads HCP's data sources",
        ),
    ),
)
"""Packer's words for what is wrong with the machine, each with the hints."""


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
            hint=_hint(self.program.name),
        )


def _hint(program: str) -> str:
    """How to have a program on PATH."""
    if (_BESIDE / program).is_file():
        return f'it is in {_BESIDE}, which is not on PATH: export PATH="$PATH:{_BESIDE}"'
    return f"{_INSTALL}: `pipx install ansible-core`" if program.startswith(_OF_ANSIBLE) else _INSTALL


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


def unusable(images: Iterable[Image]) -> dict[str, ReconcilerError]:
    """The images that this machine would not get far with, by name, and why, as their kinds know of it.

    Raises UserError for a template that can't be read.
    """
    errors: dict[str, ReconcilerError] = {}
    machines: dict[str, Machine | None] = {}
    for image in images:
        if image.kind.name not in machines:
            machines[image.kind.name] = machine_of(image.kind.name)
        machine = machines[image.kind.name]
        for builder in selected(image) if machine is not None else ():
            error = machine.refusal(builder, image.build_location) if machine is not None else None
            if error is not None:
                errors.setdefault(image.name, error)
    return errors


def fault(errors: Sequence[str], *, export: Path) -> tuple[str, ...] | None:
    """Hints where Packer's errors, not those of its scripts, say that the machine is at fault; None where none does."""
    text = one_line(" ".join(errors))  # Packer breaks lines at 78 columns
    if match := _NOT_FOUND.search(text):
        return (f"{match['program']}: {_hint(match['program'])}",)
    if any(not match["path"].startswith(f"{export}/") for match in _NOT_RUN.finditer(text)):
        return ("see that it can be run where reconciler runs",)
    return next((hints for words, hints in _FAULTS if words.search(text)), None)


# Whether a run of Packer built the image, and the error that says why it did not.


def built(outcome: Outcome) -> bool:
    """Whether there is an image to record. Exit code 0 alone is not enough: see `_nothing`."""
    return outcome.exit_code == 0 and bool(outcome.artifacts) and not outcome.cancelled


def failure(request: BuildRequest, ended: Exit, outcome: Outcome) -> BuildFailed:
    """The error for a run after which there is no image to record."""
    if ended.cancelled or ended.timed_out or ended.flooded or outcome.cancelled:
        return _stopped(request, ended, outcome)
    if outcome.exit_code < 0:
        return _failed(request, ended, outcome, cause="killed", what=f"Packer died by signal {-outcome.exit_code}")
    if not outcome.spoke:
        said = f': "{outcome.general[-1][:80]}"' if outcome.general else ""
        return _failed(
            request, ended, outcome, cause="not-packer", what=f"what ran does not speak as Packer does{said}"
        )
    if outcome.exit_code == 0:
        return _nothing(request, ended, outcome)
    of_the_image = _in_a_build if outcome.failures else _before_any_build
    return _of_the_machine(request, ended, outcome) or of_the_image(request, ended, outcome)


def of_the_machine(failed: BuildFailed, image: Image) -> BuildFailed:
    """The same failure, laid to the machine where that lacks by now what it had when the build began.

    An engine may stop, or be restarted, while it builds: whatever Packer says of that, the image is not at fault.
    """
    lacks = unusable([image]).get(image.name) if failed.cause in ("failed", "timed-out", "no-artifact") else None
    if lacks is not None:
        failed.cause = "machine"
        failed.hint = (f"what builds it can't be used here by now: {lacks.what}", *lacks.hint, *failed.hint)
    return failed


def _stopped(request: BuildRequest, ended: Exit, outcome: Outcome) -> BuildFailed:
    hint: list[str] = []
    cause: Cause = "timed-out" if ended.timed_out else "cancelled"
    if ended.timed_out:
        what = f"build timed out after {format_duration(int(request.timeout))}"
        hint.append("if it needs longer, raise packer.timeout in image.yaml")
    elif ended.flooded:
        cause = "failed"
        what = f"build was ended, {clock_time(ended.seconds)} in: it printed more than {MOST_OUTPUT >> 20} MiB"
        hint.append("something in it prints without end; the end of the log shows what")
    else:
        what = f"build was cancelled, {clock_time(ended.seconds)} in"
    if ended.killed:
        hint.append("Packer did not end when asked to and was killed: what it had started may be left behind")
    return _failed(request, ended, outcome, cause=cause, what=what, hint=hint)


def _nothing(request: BuildRequest, ended: Exit, outcome: Outcome) -> BuildFailed:
    # As after the null builder, or where -only matches nothing (`packer.versions`).
    names = ", ".join(builder.name for builder in request.image.template.builders)
    hint = (
        [f"check packer.only: the template has {names or 'no builds'}"] if request.image.declaration.packer.only else []
    )
    what = "Packer ended well, but left no artifact"
    return _failed(request, ended, outcome, cause="no-artifact", what=what, hint=hint)


def _of_the_machine(request: BuildRequest, ended: Exit, outcome: Outcome) -> BuildFailed | None:
    errors = (*(failing.error for failing in outcome.failures), *outcome.errors)
    hints = fault(errors, export=request.export)
    if hints is None:
        return None
    what = f"this machine could not build it, {clock_time(ended.seconds)} in: {cause(errors)}"
    return _failed(request, ended, outcome, cause="machine", what=what, hint=hints)


def _in_a_build(request: BuildRequest, ended: Exit, outcome: Outcome) -> BuildFailed:
    chosen = next((one for one in outcome.failures if one.provisioner), outcome.failures[0])
    provisioner = _in_repository(request, chosen.provisioner)
    if provisioner is None:
        what = f"build failed, {clock_time(ended.seconds)} in: {cause([chosen.error])}"
    else:
        script = f" ({provisioner.script})" if provisioner.script else ""
        what = f'build failed in provisioner "{provisioner.type}"{script}, {clock_time(ended.seconds)} in'
    if len(outcome.failures) > 1:
        what += f" (and {len(outcome.failures) - 1} more of its builds)"
    return _failed(request, ended, outcome, cause="failed", what=what, tail=_tail(chosen), provisioner=provisioner)


def _before_any_build(request: BuildRequest, ended: Exit, outcome: Outcome) -> BuildFailed:
    """The template or the flags are wrong. HCL diagnostics name the place."""
    texts = outcome.errors or ["\n".join(outcome.general)]
    place = place_of(texts)
    where = Place(_from_root(request, place.path), place.line) if place else request.image.template.place
    what = f"Packer cannot build it: {cause(texts) or f'exit code {outcome.exit_code}'}"
    return _failed(request, ended, outcome, cause="failed", what=what, where=where, tail=outcome.general)


def _failed(
    request: BuildRequest,
    ended: Exit,
    outcome: Outcome,
    *,
    cause: Cause,
    what: str,
    tail: Sequence[str] | None = None,
    provisioner: Provisioner | None = None,
    where: Place | None = None,
    hint: Sequence[str] = (),
) -> BuildFailed:
    dialect = dialect_of(request.image.kind.name)
    said = (outcome.tail or outcome.general) if tail is None else tail
    return BuildFailed(
        what,
        cause=cause,
        seconds=int(ended.seconds),
        log=request.log,
        tail=said,
        provisioner=provisioner,
        artifacts=[artifact for made in outcome.artifacts for artifact in dialect.artifacts(made)],
        mentioned=outcome.left,
        name_taken=dialect.name_taken("\n".join([what, *said])),
        cleaned_up=not ended.killed and outcome.exit_code >= 0,
        where=where,
        hint=hint,
    )


def _tail(failing: Failing) -> tuple[str, ...]:
    """The last lines with Packer's error at their end: a script may end without a word, or be cut off in the middle."""
    told = set(failing.tail)
    error = [line for line in failing.error.splitlines() if line.strip() and line not in told]
    return (*failing.tail, *error)[-TAIL:]


def _in_repository(request: BuildRequest, provisioner: Provisioner | None) -> Provisioner | None:
    if provisioner is None or provisioner.script is None:
        return provisioner
    return Provisioner(provisioner.type, _from_root(request, provisioner.script))


def _from_root(request: BuildRequest, path: str) -> str:
    """A path as Packer printed it, from the fleet's folder if it is a file of the repository; else as printed."""
    working_dir = inside(request.image, request.image.declaration.packer.working_dir, below=request.below)
    if path.startswith(f"{request.export}/"):
        return posixpath.relpath(path, request.export / request.below)
    normal = posixpath.normpath(posixpath.join(working_dir, path))
    return normal if not path.startswith("/") and (request.root / normal).exists() else path
