from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.model.inventory import Inventory, OperatingSystem, Package, Port, User

FOUND = Inventory(
    os=OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)"),
    kernel="6.1.0-28-amd64",
    packages=(Package("nginx", "1.22.1-9", "amd64", "deb"),),
    services=("nginx.service",),
    ports=(Port("tcp", "0.0.0.0", 80, "nginx"),),  # noqa: S104 - what a server was found to listen on
    users=(User("admin", 1000, "/bin/bash"),),
    suid=("/usr/bin/sudo",),
)


@pytest.mark.parametrize(
    "more",
    [
        {"os": OperatingSystem("debian", "13", "Debian")},
        {"kernel": "6.1.0-29-amd64"},
        {"packages": (Package("nginx", "1.22.1-10", "amd64", "deb"),)},
        {"packages": None},
        {"services": ()},
        {"ports": (Port("tcp", "::", 80, "nginx"),)},
        {"users": (User("admin", 1000, "/bin/sh"),)},
        {"suid": ()},
    ],
    ids=lambda more: next(iter(more)),
)
def test_whatever_is_found_is_in_the_digest(more: dict[str, Any]) -> None:
    assert replace(FOUND, **more).digest != FOUND.digest


def test_why_something_is_unread_is_not_in_the_digest_for_it_may_be_worded_anew() -> None:
    unread = replace(FOUND, packages=None, unread={"packages": "the database is locked by 17"})
    assert unread.digest == replace(unread, unread={"packages": "the database is locked by 18"}).digest


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (Port("tcp", "127.0.0.1", 22, "sshd"), "tcp 127.0.0.1:22 (sshd)"),
        (Port("udp", "::", 68), "udp [::]:68"),
    ],
)
def test_a_port_reads_as_people_write_it(port: Port, text: str) -> None:
    assert str(port) == text
