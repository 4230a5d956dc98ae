from __future__ import annotations

import pytest

from reconciler.build.inventory.take import parse
from reconciler.model.inventory import Port
from tests.unit.build.inventory.conftest import Printed

ANYWHERE = "0.0.0.0"  # noqa: S104 - what a table says, not where anything listens
HEAD = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
SSHD = b"lrwx------ 1 0 0 64 Nov 22 10:00 3 -> socket:[501]\n"
PROCESSES = b"/proc/7/comm:sshd\n/proc/9/comm:nginx\n/proc/10/comm:nginx\n"


def table(*sockets: tuple[str, str, int]) -> bytes:
    """Rows of /proc/net: local address, state, inode."""
    rows = [
        f"{number:4}: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 {inode} 1 0\n"
        for number, (address, state, inode) in enumerate(sockets)
    ]
    return HEAD + "".join(rows).encode()


@pytest.mark.parametrize(
    ("address", "read"),
    [
        ("00000000:0016", "tcp 0.0.0.0:22"),
        ("0100007F:1F90", "tcp 127.0.0.1:8080"),
        ("3500007F:0035", "tcp 127.0.0.53:53"),
        ("1701000A:0016", "tcp instance:22"),
        ("00000000:8000", "tcp 0.0.0.0:ephemeral"),
        ("00000000:EE47", "tcp 0.0.0.0:ephemeral"),
        ("00000000:7FFF", "tcp 0.0.0.0:32767"),
        ("00000000:EE48", "tcp 0.0.0.0:61000"),
    ],
)
def test_a_listening_socket_is_read_without_what_differs_from_boot_to_boot(
    printed: Printed, address: str, read: str
) -> None:
    found = parse(printed(tcp=table((address, "0A", 501))))

    assert [str(port) for port in found.ports or ()] == [read]


@pytest.mark.parametrize(
    ("address", "read"),
    [
        ("00000000000000000000000000000000:0050", "tcp [::]:80"),
        ("00000000000000000000000001000000:0050", "tcp [::1]:80"),
        ("0000000000000000FFFF00000100007F:0050", "tcp 127.0.0.1:80"),
        ("000080FE00000000FF005450A1B2C3D4:0050", "tcp instance:80"),
    ],
)
def test_ipv6_is_read_too(printed: Printed, address: str, read: str) -> None:
    found = parse(printed(tcp6=table((address, "0A", 501))))

    assert [str(port) for port in found.ports or ()] == [read]


def test_what_is_connected_does_not_listen(printed: Printed) -> None:
    tcp = table(("00000000:0016", "0A", 1), ("00000000:0017", "01", 2), ("00000000:0018", "06", 3))
    udp = table(("00000000:007B", "07", 4), ("1701000A:D431", "01", 5))

    found = parse(printed(tcp=tcp, udp=udp))

    assert found.ports == (Port("tcp", ANYWHERE, 22), Port("udp", ANYWHERE, 123))


def test_a_dhcp_client_says_what_network_it_was_booted_in_and_is_left_out(printed: Printed) -> None:
    found = parse(
        printed(
            udp=table(("1701000A:0044", "07", 1), ("00000000:0043", "07", 2)),
            udp6=table(("000080FE00000000FF005450A1B2C3D4:0222", "07", 3)),
        )
    )

    assert found.ports == (Port("udp", ANYWHERE, 67),)


@pytest.mark.parametrize("order", [(7, 9, 10), (10, 7, 9)])
def test_a_socket_has_the_name_of_the_oldest_process_that_holds_it(printed: Printed, order: tuple[int, ...]) -> None:
    nginx = b"lrwx------ 1 0 0 64 Nov 22 10:00 6 -> socket:[502]\n"
    descriptors = b"".join(b"/proc/%d/fd:\n" % process + (SSHD if process == 7 else nginx) for process in order)

    found = parse(
        printed(
            tcp=table(("00000000:0016", "0A", 501), ("00000000:0050", "0A", 502), ("00000000:0801", "0A", 503)),
            sockets=descriptors,
            processes=PROCESSES.replace(b"10/comm:nginx", b"10/comm:worker"),
        )
    )

    assert [str(port) for port in found.ports or ()] == [
        "tcp 0.0.0.0:22 (sshd)",
        "tcp 0.0.0.0:80 (nginx)",
        "tcp 0.0.0.0:2049",
    ]


def test_in_a_process_namespace_of_its_own_a_socket_that_nobody_holds_belongs_to_somebody_outside(
    printed: Printed,
) -> None:
    found = parse(
        printed(
            tcp=table(("00000000:0016", "0A", 501), ("00000000:0050", "0A", 502)),
            sockets=b"/proc/7/fd:\n" + SSHD,
            processes=PROCESSES,
            pid_namespace=b"pid:[4026532271]\n",
        )
    )

    assert found.ports == (Port("tcp", ANYWHERE, 22, "sshd"),)


def test_two_sockets_that_look_the_same_are_one_port(printed: Printed) -> None:
    found = parse(printed(tcp=table(("00000000:9C40", "0A", 1), ("00000000:9C41", "0A", 2))))

    assert found.ports == (Port("tcp", ANYWHERE, 0),)


@pytest.mark.parametrize("row", [b"nonsense\n", b"   0: XYZ:0016 0:0 0A 0:0 0:0 0 0 0 1 1\n", b"\xff\xff\n"])
def test_a_row_that_is_no_socket_makes_them_unread(printed: Printed, row: bytes) -> None:
    found = parse(printed(tcp=HEAD + row))

    assert found.ports is None
    assert found.unread == {"ports": "/proc/net/tcp has a line that is no socket"}


def test_without_the_kernels_tables_ports_are_unread(printed: Printed) -> None:
    found = parse(printed().replace(b"section tcp 0 20 0\n  sl  local_address\n", b""))

    assert found.unread == {"ports": "/proc/net is not there"}
