"""Events as they are told in a pipe and above the bars."""

from __future__ import annotations

from reconciler.cli.wording import describe
from reconciler.model.events import Failed


def test_what_a_build_printed_steers_no_terminal() -> None:
    event = Failed(image="web", what="build failed\n  and why", of="build", tail=("\x1b]0;title\x07E: no\tpackage",))
    assert describe(event) == (
        "build failed",
        "  and why",
        "  last lines of the build:",
        "    \\x1b]0;title\\x07E: no package",
    )
