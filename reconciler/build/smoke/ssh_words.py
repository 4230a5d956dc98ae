"""What OpenSSH's client says when it fails, in our words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from reconciler.model.printable import visible

Kind = Literal["refused", "silent", "unreachable", "denied", "no-command", "changed-key", "here", "other"]
"""`here` is a fault of the client or its machine, and so is `unreachable` once it lasts: neither is the instance's."""

_HERE = re.compile(
    r"Bad configuration option|bad configuration options|Bad owner or permissions|No user exists for uid"
    r"|UNPROTECTED PRIVATE KEY FILE|Load key .{0,1000}?: |too long for Unix domain socket|Cannot allocate memory"
    r"|Too many open files|error while loading shared libraries"
)
_UNREACHABLE = re.compile(r"Network is unreachable|Cannot assign requested address|Address family not supported")

_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed")
_FINGERPRINT = re.compile(r"\bSHA256:[A-Za-z0-9+/]{43}")
_DENIED = re.compile(r"Permission denied \(([^)]{0,1000})\)|Too many authentication failures")
_REFUSED = re.compile(r"Connection refused")
_SILENT = re.compile(
    r"timed out|No route to host|Host is down|Could not resolve|Timeout, server \S{1,300} not responding"
)
_LONGEST = 160


@dataclass(frozen=True)
class Refusal:
    """Why there is no connection. `text` is one line that goes on from "no SSH: "."""

    kind: Kind
    text: str


def refusal(stderr: str, *, where: str, user: str) -> Refusal:
    """Why a connection was not made, or ended. `where` is the address that people know it by."""
    if _CHANGED.search(stderr):
        found = _FINGERPRINT.search(stderr)
        return Refusal("changed-key", f"the host key of {where} changed{f', to {found[0]}' if found else ''}")
    said = last_line(stderr)
    known: tuple[tuple[re.Pattern[str], Kind, str], ...] = (
        (_HERE, "here", f"`ssh` fails on this machine: {said}"),
        (_UNREACHABLE, "unreachable", f"this machine has no way to {where}"),
        (_DENIED, "denied", f"{where} answers, and does not let {visible(user)} in with the key"),
        (_REFUSED, "refused", f"{where} refuses the connection"),
        (_SILENT, "silent", f"{where} does not answer"),
    )
    for pattern, kind, text in known:
        if match := pattern.search(stderr):
            how = f" ({visible(match[1])})" if kind == "denied" and match[1] else ""
            return Refusal(kind, f"{text}{how}")
    return Refusal("other", f"{where}: {said}" if said else f"{where} closes the connection")


def no_command(printed: str, *, where: str, user: str) -> Refusal:
    """The refusal of a login that is let in and then runs no command: a `nologin` shell, a forced command."""
    said = next((f": {visible(line.strip())[:_LONGEST]}" for line in printed.splitlines() if line.strip()), "")
    return Refusal("no-command", f"{where} lets {visible(user)} in, and runs no command{said}")


def last_line(stderr: str) -> str:
    """The last line that says something, of a length that fits one."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip(" \r\n\t@")]
    return visible(lines[-1])[:_LONGEST] if lines else ""
