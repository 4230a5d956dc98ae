"""Installed packages, as the three databases list them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from reconciler.build.inventory.frame import Section, Unread, bounded, text
from reconciler.model.inventory import Package, PackageKind

_LONGEST = 256
"""Characters of a field. The longest version in Debian has 60; nothing honest comes near."""

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
    if any(line.startswith("error:") for line in text(section.stderr).splitlines()):
        raise Unread(section.message)
    for line in _lines(section):
        name, version, architecture, source_file = _fields(line, 4)
        # A source package's file is `name-version-release.src.rpm`; keys that were imported have none.
        source = source_file.rsplit("-", 2)[0] if source_file.endswith(".rpm") else ""
        architecture = "" if architecture == "(none)" else architecture
        yield _package("rpm", name, version=version, architecture=architecture, source=source)


def _apk(section: Section) -> Iterator[Package]:
    for paragraph in text(section.checked()).split("\n\n"):
        fields = {line[0]: line[2:] for line in paragraph.splitlines() if line}
        if not fields:
            continue
        name, version, architecture, origin = (fields.get(letter, "") for letter in "PVAo")
        yield _package("apk", name, version=version, architecture=architecture, source=origin)


def _lines(section: Section) -> list[str]:
    # Not splitlines(), which ends a line at characters that a field may hold.
    return [line for line in text(section.checked()).split("\n") if line]


def _fields(line: str, count: int) -> list[str]:
    fields = line.split("\t")
    if len(fields) != count:
        raise Unread(f"the package database has a line that is no package: {bounded(line, most=80)!r}")
    return fields


def _package(kind: PackageKind, name: str, *, version: str, architecture: str, source: str) -> Package:
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise Unread(f"the package database has a package without a proper name: {bounded(name, most=80)!r}")
    return Package(
        name=bounded(name, most=_LONGEST),
        version=bounded(version.strip(), most=_LONGEST),
        architecture=bounded(architecture.strip(), most=_LONGEST),
        kind=kind,
        source=bounded(source.strip(), most=_LONGEST) if source.strip() != name else "",
    )
