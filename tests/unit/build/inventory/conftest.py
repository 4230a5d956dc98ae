"""What the script would have printed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Printed = Callable[..., bytes]

_RUNNING = b"pid:[4026531836]\n"


def printed(**sections: bytes | tuple[int, bytes, bytes]) -> bytes:
    """The script's output with these sections: stdout, or status, stdout and stderr; the rest as on a small machine."""
    usual: dict[str, bytes | tuple[int, bytes, bytes]] = {
        "uid": b"0\n",
        "os": b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "kernel": b"6.1.0-25-cloud-amd64\n",
        "deb": b"",
        "units": b"",
        "tcp": b"  sl  local_address\n",
        "sockets": b"",
        "processes": b"",
        "pid_namespace": _RUNNING,
        "users": b"",
        "suid": b"",
    }
    found = b"\nreconciler-inventory 1\n"
    for name, section in {**usual, **sections}.items():
        status, stdout, stderr = section if isinstance(section, tuple) else (0, section, b"")
        head = f"section {name.replace('_', '-')} {status} {len(stdout)} {len(stderr)}\n"
        found += head.encode() + stdout + stderr
    return found + b"end\n"


@pytest.fixture(name="printed")
def printed_by_the_script() -> Printed:
    return printed
