"""The standard streams in a job of a CI whose agent obeys what it finds in their lines, whoever wrote it.

GitHub's commands are stopped by `reconciler.ci.github`. Azure Pipelines takes `##vso[…]` for one wherever it stands in
a line ("Logging commands", learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands), TeamCity
`##teamcity[…]` ("Service messages", teamcity's documentation): a variable of the steps that follow, a file to upload.
Neither has a way to stop them.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Mapping
from io import TextIOWrapper

from reconciler.model.text import no_command

_OBEYING = ("TF_BUILD", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "TEAMCITY_VERSION", "CI")
_LONGEST = 32
"""Characters that a command begins with, at most."""


def command_nobody(environment: Mapping[str, str]) -> None:
    """Have nothing that is printed on stdout and stderr command the agent of a CI, if one may be listening."""
    if not any(environment.get(name) for name in _OBEYING):
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper):
            setattr(sys, name, _Inert(stream))


class _Inert(TextIOWrapper):
    """A stream in whose place it stands, but for a blank in what an agent would take for a command."""

    def __init__(self, stream: TextIOWrapper) -> None:
        # A stream of ASCII click wraps anew, for UTF-8, around what is below this one.
        encoding = "utf-8" if codecs.lookup(stream.encoding).name == "ascii" else stream.encoding
        errors, by_line = stream.errors, stream.line_buffering
        super().__init__(stream.detach(), encoding=encoding, errors=errors, line_buffering=by_line)
        self._behind = ""

    def write(self, text: str, /) -> int:
        """Write a text, which may go on with what began in an earlier one."""
        super().write(no_command(text, self._behind))
        self._behind = (self._behind + text)[-_LONGEST:]
        return len(text)
