"""`reconciler doctor`: is everything here that a run needs? Each trouble comes with its hint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import click

from reconciler.cli import options
from reconciler.cli.checks import (
    IN_THE_WAY,
    REGISTRY,
    Check,
    DoctorContext,
    Finding,
    check_clock,
    check_desired,
    check_kinds,
    check_machine,
    check_packer,
    check_programs,
    check_published,
    check_receivers,
    check_recording,
    check_registries,
    check_repository,
    check_sharing,
    check_ssh,
    check_state,
    check_target,
)
from reconciler.cli.printing import show_json, show_text
from reconciler.model.errors import DONE, FAILED, ReconcilerError
from reconciler.model.values import Model


def _guarded(subject: str, check: Callable[[DoctorContext], Finding]) -> Check:
    return _all_guarded(subject, lambda context: iter([check(context)]))


def _all_guarded(subject: str, check: Check) -> Check:
    def guarded(context: DoctorContext) -> Iterator[Finding]:
        try:
            yield from check(context)
        except ReconcilerError as error:
            if str(error) in context.told or error.what in context.told:
                yield Finding(subject, "note", IN_THE_WAY)
            else:
                context.told.add(str(error))
                yield Finding(subject, "trouble", error.what, error.hint)

    return guarded


CHECKS = (
    _guarded("repository", check_repository),
    _guarded("desired", check_desired),
    _guarded("state", check_state),
    _guarded("branch", check_target),
    _guarded("recording", check_recording),
    _guarded("packer", check_packer),
    _guarded("programs", check_programs),
    _all_guarded("machine", check_machine),
    _guarded("ssh", check_ssh),
    _all_guarded("kinds", check_kinds),
    _all_guarded(REGISTRY, check_registries),
    _all_guarded("sharing", check_sharing),
    _all_guarded("publish", check_published),
    _all_guarded("receivers", check_receivers),
    _guarded("clock", check_clock),
)


class DoctorAnswer(Model):
    """The answer of `reconciler doctor --json`."""

    format_version: Literal["1.0"] = "1.0"
    checks: tuple[Finding, ...]


_MARKS = {"ok": click.style("ok     ", fg="green"), "note": click.style("note   ", fg="yellow"),
          "trouble": click.style("trouble", fg="red")}  # fmt: skip


@click.command("doctor")
@options.as_json
@options.directory
def command(*, as_json: bool, directory: Path) -> int:
    """Check Packer and its plugins, SSH, what each kind needs, git, the remote, credentials and the clock.

    Changes nothing. Exit codes: 0 all well, 1 some trouble would stop a run.
    """
    context = DoctorContext(directory)
    findings: list[Finding] = []
    for found in (finding for check in CHECKS for finding in check(context)):
        findings.append(found)
        if not as_json:
            show_text(f"{_MARKS[found.state]}  {found.subject}: {found.what}", hang=11)
            for line in found.hint:
                show_text(f"{'':11}{line}", hang=11)
    if as_json:
        show_json(DoctorAnswer(checks=tuple(findings)).model_dump_json(indent=2))
    return FAILED if any(found.state == "trouble" for found in findings) else DONE
