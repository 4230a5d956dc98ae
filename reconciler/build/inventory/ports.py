"""Listening sockets, from the kernel's tables: they read the same on every system, with or without `ss`.

What differs between two boots of one image is not the image's, and is left out or made equal:

- an address of the machine itself is `instance`; the interface's name is dropped;
- a port that the kernel hands out (32768 to 60999) has the number 0, and is written as `ephemeral`;
- the DHCP clients' ports are left out: whether they are open says what network the instance was booted in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from reconciler.build.inventory.frame import Section, Unread, bounded, text
from reconciler.model.inventory import EPHEMERAL, OWN_ADDRESS, Port

Protocol = Literal["tcp", "udp"]

FIRST_PID_NAMESPACE = b"pid:[4026531836]"
"""PROC_PID_INIT_INO of linux/proc_ns.h. In any other, sockets that nobody visible owns belong to somebody outside."""

# The kernel's default of net.ipv4.ip_local_port_range. Not the machine's own setting: a busy server's may begin at
# 1024, and its web server on 8080 would lose its number.
_HANDED_OUT = range(32768, 61000)
_DHCP_CLIENTS = {("udp", 68), ("udp", 546)}
_TABLES: Mapping[str, tuple[Protocol, str]] = {
    # The state in which a socket of that kind waits for others: TCP_LISTEN, and for UDP TCP_CLOSE (net/tcp_states.h).
    "tcp": ("tcp", "0A"), "tcp6": ("tcp", "0A"), "udp": ("udp", "07"), "udp6": ("udp", "07"),
}  # fmt: skip
# sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode … (proc_net_tcp.rst)
_LINE = re.compile(
    r" *[0-9]+: (?P<address>[0-9A-F]{8}|[0-9A-F]{32}):(?P<port>[0-9A-F]{4}) \S+ (?P<state>[0-9A-F]{2})"
    r"(?: +\S+){5} +(?P<inode>[0-9]+) "
)
_DESCRIPTORS = re.compile(r"^/proc/(?P<process>[0-9]+)/fd:$|-> socket:\[(?P<inode>[0-9]+)\]$", re.MULTILINE)
_NAME = re.compile(r"^/proc/([0-9]+)/comm:(.*)$", re.MULTILINE)
_LONGEST_NAME = 64


class _Socket(NamedTuple):
    protocol: Protocol
    address: str
    number: int
    inode: str


def ports(sections: Mapping[str, Section]) -> tuple[Port, ...]:
    """What listens, and whose it is.

    Raises:
        Unread: the tables are not there, or it was not root who read: others' sockets then have no owner.
    """
    if not sections.keys() & _TABLES.keys():
        raise Unread("/proc/net is not there")
    owners = _owners(sections)
    everything = sections["pid-namespace"].checked().strip() == FIRST_PID_NAMESPACE
    found = {
        Port(socket.protocol, socket.address, socket.number, owners.get(socket.inode, ""))
        for socket in _listening(sections)
        if everything or socket.inode in owners
    }
    return tuple(sorted(found))


def _listening(sections: Mapping[str, Section]) -> Iterator[_Socket]:
    for table, (protocol, waiting) in _TABLES.items():
        if table not in sections:
            continue  # a kernel without IPv6
        for line in text(sections[table].checked()).splitlines()[1:]:
            match = _LINE.match(line)
            if match is None:
                raise Unread(f"/proc/net/{table} has a line that is no socket")
            number = int(match["port"], 16)
            if match["state"] != waiting or (protocol, number) in _DHCP_CLIENTS:
                continue
            number = EPHEMERAL if number in _HANDED_OUT else number
            yield _Socket(protocol, _address(match["address"]), number, match["inode"])


def _address(digits: str) -> str:
    """An address of the kernel's tables: 32-bit words in the machine's byte order, which is little-endian on EC2."""
    raw = bytes.fromhex(digits)
    address = ipaddress.ip_address(b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4)))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    fixed = address.is_unspecified or address.is_loopback or address.is_multicast
    return str(address) if fixed else OWN_ADDRESS


def _owners(sections: Mapping[str, Section]) -> Mapping[str, str]:
    """Process names by the inode of a socket. Of several that share it, the oldest: it opened it for its children."""
    names: dict[int, str] = {}
    for process, name in _NAME.findall(text(sections["processes"].stdout)):
        names.setdefault(int(process), bounded(name, most=_LONGEST_NAME))
    holders: dict[str, int] = {}
    process = 0
    for match in _DESCRIPTORS.finditer(text(sections["sockets"].stdout)):
        if match["process"]:
            process = int(match["process"])
        elif process in names:
            inode = match["inode"]
            holders[inode] = min(process, holders.get(inode, process))
    return {inode: names[process] for inode, process in holders.items()}
