"""Names that hold artifacts' ids, in memory. It passes the contract test that SSM's parameters pass.

Values are taken one look late, as SSM takes them, and those of artifacts that are not `known` never.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import Held, Template, TemplateVersion

MOST_NAMES = 10


@dataclass
class MemoryPublisher:
    """One fleet's names. Implements `Publisher`."""

    fleet: str
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    """By location and name. Somebody who knows nothing of us changes it here."""
    owners: dict[tuple[str, str], str | None] = field(default_factory=dict)
    said: dict[tuple[str, str], str] = field(default_factory=dict)
    """The description of what was written last."""
    unreadable: dict[str, Transient | Terminal] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    """Artifacts that are never taken: they are not where the name is, or may not be looked at."""
    calls: Counter[str] = field(default_factory=Counter)
    """How often each call of the service was made."""
    there: dict[tuple[str, str], Template] = field(default_factory=dict)
    """Launch templates by location and name. Somebody who knows nothing of us changes them here."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Why an artifact can't boot on what templates launch on."""
    _begun: dict[tuple[str, str], tuple[int, Held]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def seed(
        self, location: str, name: str, value: str, *, owner: str | None = None, misfit: str | None = None
    ) -> None:
        """Somebody writes a name."""
        before = self.held.get((location, name))
        self.held[location, name] = Held(value, (before.version if before else 0) + 1, misfit)
        self.owners.setdefault((location, name), owner)

    def values(self) -> dict[tuple[str, str], str]:
        """What each name holds, by location and name."""
        return {place: one.value for place, one in self.held.items()}

    def read(self, location: str, names: Sequence[str]) -> Mapping[str, Held]:
        """Report what names hold. See `Publisher.read`."""
        with self._asked("read", location, times=-(-len(names) // MOST_NAMES)):
            found = {name: self.held[location, name] for name in names if (location, name) in self.held}
            for name in names:
                self._take(location, name)
            return found

    def is_ours(self, location: str, name: str) -> bool:
        """Report whose it is. See `Publisher.is_ours`."""
        with self._asked("is_ours", location):
            return (location, name) not in self.held or self.owners.get((location, name)) == self.fleet

    def put(self, location: str, name: str, artifact_id: str, *, description: str) -> int:
        """Begin to write. See `Publisher.put`."""
        with self._asked("put", location):
            place = (location, name)
            before = self.held.get(place)
            if before is not None and (before.misfit is not None or self.owners.get(place) != self.fleet):
                raise Terminal(f"{name} in {location} is not written: {before.misfit or 'it is not ours'}")
            made = Held(artifact_id, (before.version if before is not None else 0) + 1)
            self._begun[place] = (1, made)
            self.said[place] = description
            if before is None:
                self.owners[place] = self.fleet
            return made.version

    def confirm(self, location: str, name: str, artifact_id: str, *, version: int) -> None:
        """Look until it is taken, three times. See `Publisher.confirm`."""
        for _ in range(3):
            held = self.read(location, [name]).get(name)
            if held is not None and held.version >= version:
                if held.value != artifact_id:
                    raise Transient(f"{name} in {location} was written by somebody else meanwhile: {held.value}")
                return
        raise Terminal(f"{name} in {location} did not take {artifact_id}")

    def remove(self, location: str, name: str) -> None:
        """Delete. See `Publisher.remove`."""
        with self._asked("remove", location):
            place = (location, name)
            if place in self.held and self.owners.get(place) != self.fleet:
                raise Terminal(f"{name} in {location} is not deleted: it is not ours")
            self.held.pop(place, None)
            self.owners.pop(place, None)

    def template(self, location: str, name: str, *, owner: str | None = None, image: str = "ami-first") -> None:
        """Somebody makes a launch template with one version."""
        first = TemplateVersion(1, image, "by hand")
        self.there[location, name] = Template(f"lt-{location}-{name}", 1, (first,), ours=owner == self.fleet)

    def templates(self, location: str, names: Sequence[str]) -> Mapping[str, Template]:
        """Report templates. See `Publisher.templates`."""
        with self._asked("templates", location):
            return {name: self.there[location, name] for name in names if (location, name) in self.there}

    def unfit(self, location: str, template: Template, artifact_id: str) -> str | None:
        """Say why an artifact does not boot there. See `Publisher.unfit`."""
        with self._asked("unfit", location):
            return template.misfit or self.wrong.get(artifact_id)

    def add_version(self, location: str, template: Template, artifact_id: str, *, description: str) -> int:
        """Make a version. See `Publisher.add_version`."""
        with self._asked("add_version", location):
            place, now = self._now(location, template)
            there = next((one for one in now.versions if (one.image, one.says) == (artifact_id, description)), None)
            if there is not None:
                return there.number
            made = TemplateVersion(max(one.number for one in now.versions) + 1, artifact_id, description)
            self.there[place] = replace(now, versions=(*now.versions, made))
            return made.number

    def set_default(self, location: str, template: Template, version: int) -> None:
        """Move the default. See `Publisher.set_default`."""
        with self._asked("set_default", location):
            place, now = self._now(location, template)
            self.there[place] = replace(now, default=version)

    def _now(self, location: str, template: Template) -> tuple[tuple[str, str], Template]:
        if not template.ours:
            raise Terminal(f"launch template {template.id} in {location} is not changed: it is not ours")
        found = ((place, one) for place, one in self.there.items() if one.id == template.id)
        gone = Terminal(f"launch template {template.id} in {location} is not there")
        place, now = next(found, (None, None))
        if place is None or now is None:
            raise gone
        return place, now

    def _take(self, location: str, name: str) -> None:
        looks, made = self._begun.pop((location, name), (0, None))
        if made is None or made.value in self.refuses:
            return
        if looks > 1:
            self._begun[location, name] = (looks - 1, made)
        else:
            self.held[location, name] = replace(made)

    def _asked(self, call: str, location: str, *, times: int = 1) -> threading.RLock:
        with self._lock:
            self.calls[call] += times
            if location in self.unreadable:
                raise self.unreadable[location]
        return self._lock
