from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.build.inventory.take import parse
from reconciler.model.errors import Transient
from reconciler.model.inventory import OperatingSystem
from tests.unit.build.inventory.conftest import Printed, printed

NAMES = ["uid", "os", "kernel", "deb", "rpm", "apk", "units", "rc", "openrc", "tcp", "tcp6", "udp", "sockets"]
NAMES += ["processes", "pid_namespace", "users", "suid"]
UNTIMED = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
sections = st.tuples(st.integers(0, 255), st.binary(max_size=200), st.binary(max_size=50))


def test_the_system_is_what_os_release_says(printed: Printed) -> None:
    told = (
        b'# a comment\nNAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.1\nPRETTY_NAME=\'Alpine "3" \\$x\'\nbroken="\n'
    )

    assert parse(printed(os=told)).os == OperatingSystem("alpine", "3.20.1", 'Alpine "3" \\$x')


def test_a_system_that_says_little_has_the_defaults_of_os_release(printed: Printed) -> None:
    assert parse(printed(os=b"VERSION_ID=1\n")).os == OperatingSystem("linux", "1", "Linux")


def test_what_could_not_be_read_is_said(printed: Printed) -> None:
    found = parse(printed(os=(1, b"", b"cat: /usr/lib/os-release: No such file\n"), kernel=(127, b"", b"")))

    assert (found.os, found.kernel) == (OperatingSystem("", "", ""), "")
    assert found.unread == {"os": "cat: /usr/lib/os-release: No such file", "kernel": "ended with 127"}


def test_what_only_root_sees_whole_is_unread_for_others(printed: Printed) -> None:
    found = parse(printed(uid=b"1000\n"))

    assert sorted(found.unread) == ["ports", "suid"]
    assert found.users == ()


def test_a_section_that_was_not_printed_is_unread(printed: Printed) -> None:
    found = parse(printed().replace(b"section users 0 0 0\n", b""))

    assert found.unread == {"users": "the machine printed nothing of its users"}


@UNTIMED
@given(st.dictionaries(st.sampled_from(NAMES), sections, max_size=6))
def test_whatever_a_machine_prints_is_an_inventory_with_a_digest(
    sections: dict[str, tuple[int, bytes, bytes]],
) -> None:
    found = parse(printed(**sections))

    assert found.digest.startswith("sha256:")
    assert all("\n" not in why for why in found.unread.values())


@UNTIMED
@given(st.binary(max_size=300))
def test_whatever_else_is_printed_is_no_inventory(output: bytes) -> None:
    with pytest.raises(Transient):
        parse(output)
