"""What is shown when something happens that nobody foresaw."""

from __future__ import annotations

import platform
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from reconciler.cli.installation import running
from reconciler.model.text import visible_lines


def crash_report(error: Exception, arguments: Sequence[str]) -> str:
    """Write a report to a file and return the message that points to it. Recorded state is never touched by this."""
    lines = [
        f"reconciler {running()}, Python {platform.python_version()}, {platform.platform()}",
        f"command: reconciler {shlex.join(arguments)}",
        "",
        *traceback.format_exception(error),
    ]
    with tempfile.NamedTemporaryFile(
        "w", prefix="reconciler-", suffix=".txt", delete=False, encoding="utf-8"
    ) as report:
        report.write("\n".join(lines))
    return (
        f"error: unexpected: {type(error).__name__}: {visible_lines(str(error))}\n"
        f"  this is a bug in reconciler; what happened is written to {Path(report.name)}\n"
        "  run the command again: what was built is kept and will be adopted"
    )
