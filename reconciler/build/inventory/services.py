"""What starts by itself: enabled units of systemd, scripts of SysV's runlevels, services of OpenRC."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.build.inventory.frame import Section, Unread, bounded, text

_LONGEST = 256
"""Characters. A unit's name has up to 255 (systemd.unit(5))."""
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
    return tuple(sorted(bounded(name, most=_LONGEST) for name in enabled | scripts))


def _units(sections: Mapping[str, Section]) -> dict[str, str]:
    """State by unit; systemd prints two or three columns."""
    if "units" not in sections:
        return {}
    lines = text(sections["units"].checked()).splitlines()
    return {columns[0]: columns[1] for columns in map(str.split, lines) if len(columns) >= 2}


def _scripts(sections: Mapping[str, Section]) -> set[str]:
    names = {section: _names(sections[section]) for section in ("rc", "openrc") if section in sections}
    # systemd-sysv-generator(8) takes `.sh` away, too.
    started = {match[1].removesuffix(".sh") for name in names.get("rc", ()) if (match := _START.fullmatch(name))}
    return started.union(names.get("openrc", ()))


def _names(section: Section) -> list[str]:
    return [name for name in text(section.checked()).split("\n") if name]
