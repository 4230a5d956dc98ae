"""The sections that the inventory's script prints: packages, ports, services, accounts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from reconciler.model.errors import Transient
from reconciler.model.inventory import EPHEMERAL, OWN_ADDRESS, Package, PackageKind, Port, User
from reconciler.model.text import cut, decoded, visible

# What the script printed, taken apart into sections.

_BEGIN = re.compile(rb"^reconciler-inventory 1\n", re.MULTILINE)
_HEAD = re.compile(rb"section ([a-z0-9-]+) ([0-9]{1,3}) ([0-9]{1,12}) ([0-9]{1,12})\n")
_END = b"end\n"
_LONGEST_MESSAGE = 200


class Unread(Exception):
    """A section could not be read; the text says why, in one line."""


@dataclass(frozen=True)
class Section:
    """The end of one command there: its exit status and both streams."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """What it complained of, in one line."""
        lines = [line.strip() for line in decoded(self.stderr).splitlines() if line.strip()]
        said = visible(lines[0]) if lines else f"ended with {self.status}"
        return cut(said, _LONGEST_MESSAGE)

    def checked(self) -> bytes:
        """Its stdout. Raises Unread if it failed."""
        if self.status != 0:
            raise Unread(self.message)
        return self.stdout


def sections(output: bytes) -> Mapping[str, Section]:
    """The sections by name.

    Raises:
        Transient: the output is not the script's, or was cut off.
    """
    begin = _BEGIN.search(output)
    if begin is None:
        raise Transient("the machine printed no inventory")
    found: dict[str, Section] = {}
    position = begin.end()
    while head := _HEAD.match(output, position):
        middle = head.end() + int(head[3])
        position = middle + int(head[4])
        found[head[1].decode()] = Section(int(head[2]), output[head.end() : middle], output[middle:position])
    if output[position : position + len(_END)] != _END:
        raise Transient("the inventory was cut off: the connection or the machine ended before it did")
    return found


# Installed packages, as the three databases list them.

_LONGEST = 256
"""Characters of a field. The longest version in Debian has 60, a unit's name up to 255 (systemd.unit(5))."""

_NAME = re.compile(r"[^\s/]+")
_NOT_THERE = frozenset({"not-installed", "config-files"})
"""dpkg's states of which no file is left but configuration. Half-installed ones have files."""


def packages(sections: Mapping[str, Section]) -> tuple[Package, ...]:
    """The packages of every database that the machine has.

    Raises:
        Unread: there is no database, or one of several could not be read: a part is not taken for the whole.
    """
    readers: Mapping[PackageKind, Callable[[Section], Iterator[Package]]] = {"deb": _deb, "rpm": _rpm, "apk": _apk}
    used = [(sections[kind], reader) for kind, reader in readers.items() if kind in sections]
    if not used:
        raise Unread("no package database: neither dpkg's, rpm's nor apk's")
    found = {package for section, reader in used for package in reader(section)}
    return tuple(sorted(found))


def _deb(section: Section) -> Iterator[Package]:
    for line in _lines(section):
        # A package may want a restart to be configured; its status then has more words than three.
        status, name, version, architecture, source = _fields(line, 5)
        if status.split(" ")[-1] not in _NOT_THERE:
            yield _package("deb", name, version=version, architecture=architecture, source=source)


def _rpm(section: Section) -> Iterator[Package]:
    # rpm goes on after a damaged record, and ends with 0: a list with a hole.
    if any(line.startswith("error:") for line in decoded(section.stderr).splitlines()):
        raise Unread(section.message)
    for line in _lines(section):
        name, version, architecture, source_file = _fields(line, 4)
        # A source package's file is `name-version-release.src.rpm`; keys that were imported have none.
        source = source_file.rsplit("-", 2)[0] if source_file.endswith(".rpm") else ""
        architecture = "" if architecture == "(none)" else architecture
        yield _package("rpm", name, version=version, architecture=architecture, source=source)


def _apk(section: Section) -> Iterator[Package]:
    for paragraph in decoded(section.checked()).split("\n\n"):
        fields = {line[0]: line[2:] for line in paragraph.splitlines() if line}
        if not fields:
            continue
        name, version, architecture, origin = (fields.get(letter, "") for letter in "PVAo")
        yield _package("apk", name, version=version, architecture=architecture, source=origin)


def _lines(section: Section) -> list[str]:
    # Not splitlines(), which ends a line at characters that a field may hold.
    return [line for line in decoded(section.checked()).split("\n") if line]


def _fields(line: str, count: int) -> list[str]:
    fields = line.split("\t")
    if len(fields) != count:
        raise Unread(f"the package database has a line that is no package: {cut(line, 80)!r}")
    return fields


def _package(kind: PackageKind, name: str, *, version: str, architecture: str, source: str) -> Package:
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise Unread(f"the package database has a package without a proper name: {cut(name, 80)!r}")
    return Package(
        name=cut(name, _LONGEST),
        version=cut(version.strip(), _LONGEST),
        architecture=cut(architecture.strip(), _LONGEST),
        kind=kind,
        source=cut(source.strip(), _LONGEST) if source.strip() != name else "",
    )


# Listening sockets, from the kernel's tables: they read the same on every system, with or without `ss`.
#
# What differs between two boots of one image is not the image's, and is left out or made equal:
#
# - an address of the machine itself is `instance`; the interface's name is dropped;
# - a port that the kernel hands out (32768 to 60999) has the number 0, and is written as `ephemeral`;
# - the DHCP clients' ports are left out: whether they are open says what network the instance was booted in.

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
_PROCESS = re.compile(r"^/proc/([0-9]+)/comm:(.*)$", re.MULTILINE)
_LONGEST_PROCESS = 64


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
        for line in decoded(sections[table].checked()).splitlines()[1:]:
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
    for process, name in _PROCESS.findall(decoded(sections["processes"].stdout)):
        names.setdefault(int(process), cut(name, _LONGEST_PROCESS))
    holders: dict[str, int] = {}
    process = 0
    for match in _DESCRIPTORS.finditer(decoded(sections["sockets"].stdout)):
        if match["process"]:
            process = int(match["process"])
        elif process in names:
            inode = match["inode"]
            holders[inode] = min(process, holders.get(inode, process))
    return {inode: names[process] for inode, process in holders.items()}


# What starts by itself: enabled units of systemd, scripts of SysV's runlevels, services of OpenRC.

_START = re.compile(r"S[0-9]{2}(.+)")


def services(sections: Mapping[str, Section]) -> tuple[str, ...]:
    """Names of what is enabled: units with their suffix (`nginx.service`, `fstrim.timer`), scripts without.

    Only what is enabled for good, not what a generator made for this boot.

    Raises:
        Unread: nobody who starts services is known, or its answer could not be read.
    """
    if not sections.keys() & {"units", "rc", "openrc"}:
        raise Unread("neither systemd's, SysV's nor OpenRC's list of services is there")
    units = _units(sections)
    enabled = {unit for unit, state in units.items() if state == "enabled"}
    # systemd runs a SysV script only where there is no unit of that name; `generated` is the unit made of the script.
    scripts = {name for name in _scripts(sections) if units.get(f"{name}.service", "generated") == "generated"}
    return tuple(sorted(cut(name, _LONGEST) for name in enabled | scripts))


def _units(sections: Mapping[str, Section]) -> dict[str, str]:
    """State by unit; systemd prints two or three columns."""
    if "units" not in sections:
        return {}
    lines = decoded(sections["units"].checked()).splitlines()
    return {columns[0]: columns[1] for columns in map(str.split, lines) if len(columns) >= 2}


def _scripts(sections: Mapping[str, Section]) -> set[str]:
    names = {section: _names(sections[section]) for section in ("rc", "openrc") if section in sections}
    # systemd-sysv-generator(8) takes `.sh` away, too.
    started = {match[1].removesuffix(".sh") for name in names.get("rc", ()) if (match := _START.fullmatch(name))}
    return started.union(names.get("openrc", ()))


def _names(section: Section) -> list[str]:
    return [name for name in decoded(section.checked()).split("\n") if name]


# Who could log in, and who becomes somebody else by running a file.

_LONGEST_PATH = 4096
"""PATH_MAX of Linux."""

# Shells that end at once. A shell that /etc/shells does not list is a login shell all the same: SSH runs it.
_NO_SHELLS = frozenset({"nologin", "false", "true", "sync", "shutdown", "halt", "null"})
# A file that went away while it was looked at was none of the image's.
_GONE = re.compile(r"(?:find: .*: No such file or directory\n)+")


def users(sections: Mapping[str, Section]) -> tuple[User, ...]:
    """The accounts of /etc/passwd that have a login shell. Raises Unread if it can't be read."""
    lines = decoded(sections["users"].checked()).split("\n")
    return tuple(sorted({user for line in lines if (user := _user(line)) is not None}))


def suid(sections: Mapping[str, Section]) -> tuple[str, ...]:
    """Paths of set-user-ID files on the root filesystem. Raises Unread if some could not be looked for."""
    section = sections["suid"]
    if section.status != 0 and not _GONE.fullmatch(decoded(section.stderr)):
        raise Unread(section.message)
    paths = (decoded(path) for path in section.stdout.split(b"\0") if path)
    return tuple(sorted({cut(path, _LONGEST_PATH) for path in paths}))


def _user(line: str) -> User | None:
    """A line as passwd(5) has it; None for one that nobody logs in by: malformed, a comment, of NIS, without shell."""
    fields = line.split(":")
    if len(fields) != 7 or not fields[0] or fields[0][0] in "+-#" or not fields[2].isdecimal():
        return None
    name, uid, shell = fields[0], int(fields[2][:10]), fields[6] or "/bin/sh"
    if shell.rpartition("/")[2] in _NO_SHELLS:
        return None
    return User(cut(name, _LONGEST), uid, cut(shell, _LONGEST_PATH))
