"""`reconciler doctor`: is everything here that a run needs? Each trouble comes with its mend."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.checkup import CHECKS, Finding, Patient
from reconciler.cli.printing import show_json, show_text
from reconciler.model.errors import DONE, FAILED

_MARKS = {"ok": click.style("ok     ", fg="green"), "note": click.style("note   ", fg="yellow"),
          "trouble": click.style("trouble", fg="red")}  # fmt: skip


@click.command("doctor")
@options.as_json
@options.directory
def command(*, as_json: bool, directory: Path) -> int:
    """Check Packer and its plugins, SSH, git, the repository, the remote, credentials and the clock.

    Changes nothing. Exit codes: 0 all well, 1 some trouble would stop a run.
    """
    patient = Patient(directory)
    findings: list[Finding] = []
    for check in CHECKS:
        found = check(patient)
        findings.append(found)
        if not as_json:
            show_text(f"{_MARKS[found.state]}  {found.subject}: {found.what}", hang=11)
            for line in found.mend:
                show_text(f"{'':11}{line}", hang=11)
    if as_json:
        answer = {"format_version": "1.0", "checks": [asdict(found) for found in findings]}
        show_json(answer)
    return FAILED if any(found.state == "trouble" for found in findings) else DONE
