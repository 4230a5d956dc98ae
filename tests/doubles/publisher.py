"""Names that hold artifacts' ids, in memory. It passes the contract test that what AWS has passes.

Values are taken one look late, as SSM takes them, and those of artifacts that are not `known` never. A refresh of a
group stays under way until a test ends it (`end_refresh`), unless `swift` is set.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import Course, Group, Held, InstanceRefresh, Template, TemplateVersion
from reconciler.model.publish import AutoScalingGroup

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
    labels: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """Versions by location, name and build."""
    unreadable: dict[str, Transient | Terminal] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    """Artifacts that are never taken: they are not where the name is, or may not be looked at."""
    calls: Counter[str] = field(default_factory=Counter)
    """How often each call of the service was made."""
    there: dict[tuple[str, str], Template] = field(default_factory=dict)
    """Launch templates by location and name. Somebody who knows nothing of us changes them here."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Why an artifact can't boot on what templates and groups launch on."""
    scaled: dict[tuple[str, str], Group] = field(default_factory=dict)
    """Auto Scaling groups by location and name. Somebody who knows nothing of us changes them here."""
    settings: dict[str, AutoScalingGroup] = field(default_factory=dict)
    """What each refresh was begun with, by its id."""
    swift: bool = False
    """Whether a refresh has succeeded when it is looked at for the first time."""
    now: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)
    """When a refresh ends that ends now."""
    _begun: dict[tuple[str, str], tuple[int, Held]] = field(default_factory=dict)
    _refreshes: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def copy(self) -> MemoryPublisher:
        """The same names, templates and groups once more, to be changed without these."""
        return MemoryPublisher(
            self.fleet,
            held=dict(self.held),
            owners=dict(self.owners),
            there=dict(self.there),
            scaled=dict(self.scaled),
            settings=dict(self.settings),
            _refreshes=self._refreshes,
        )

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

    def label(self, location: str, name: str, *, version: int, build: str) -> None:
        """Keep which version is of a build. See `Publisher.label`."""
        with self._asked("label", location):
            self.labels[location, name, build] = version

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
            rest = next(one.rest for one in now.versions if one.number == now.default)
            wanted = (artifact_id, description, rest)
            there = next((one for one in now.versions if (one.image, one.says, one.rest) == wanted), None)
            if there is not None:
                return there.number
            made = TemplateVersion(max(one.number for one in now.versions) + 1, *wanted)
            self.there[place] = replace(now, versions=(*now.versions, made))
            return made.number

    def set_default(self, location: str, template: Template, version: int) -> None:
        """Move the default. See `Publisher.set_default`."""
        with self._asked("set_default", location):
            place, now = self._now(location, template)
            self.there[place] = replace(now, default=version)

    def remove_version(self, location: str, name: str, version: int, artifact_id: str) -> None:
        """Delete a version. See `Publisher.remove_version`."""
        with self._asked("remove_version", location):
            now = self.there.get((location, name))
            there = {one.number: one for one in now.versions} if now is not None else {}
            if now is None or version not in there:
                return
            if not now.ours:
                raise Terminal(f"launch template {now.id} in {location} is not changed: it is not ours")
            if now.default == version or there[version].image != artifact_id:
                raise Terminal(f"version {version} of launch template {name} in {location} stays")
            left = tuple(one for one in now.versions if one.number != version)
            self.there[location, name] = replace(now, versions=left)

    def group(
        self, location: str, name: str, *, template: str, version: str = "1", owner: str | None = None, size: int = 2
    ) -> None:
        """Somebody makes a group of so many instances, by a version of a template: `2`, `$Latest` or `$Default`."""
        lt = self.there[location, template]
        number = int(version) if version.isdecimal() else None
        runs = {"$Latest": max(one.number for one in lt.versions), "$Default": lt.default}.get(version, number)
        self.scaled[location, name] = Group(
            name, owner == self.fleet, lt.id, version, (runs,) * size, again=f"refresh {name} to version {{version}}"
        )

    def refresh(self, location: str, name: str, *, version: int | None, template: str | None = None) -> str:
        """Somebody begins a refresh of a group to a version of its template, or of another one, and tells its id."""
        group = self.scaled[location, name]
        led = group.template if template is None else template
        self._refreshes += 1
        made = InstanceRefresh(f"refresh-{self._refreshes}", led, version, "running", percent=0)
        self.scaled[location, name] = replace(group, refreshes=(made, *group.refreshes))
        return made.id

    def end_refresh(self, location: str, name: str, course: Course = "done", *, why: str = "") -> None:
        """The refresh that is under way in a group ends well, or turns back, or has turned back, or fails halfway."""
        group = self.scaled[location, name]
        active = group.under_way
        if active is None:
            raise AssertionError(f"no refresh of {name} is under way")
        percent = {"done": 100, "turned-back": 0}.get(course, 50)
        ended = None if course in ("running", "turning-back") else self.now
        told = replace(active, course=course, percent=percent, why=why, ended=ended)
        runs = list(group.runs)
        if course == "done":
            runs = [active.version] * len(runs)
        elif course == "turned-back":
            runs = [group.version] * len(runs)
        elif course == "failed" and runs:
            runs[0] = active.version
        refreshes = tuple(told if one.id == active.id else one for one in group.refreshes)
        group = replace(group, runs=tuple(runs), refreshes=refreshes)
        if course == "done" and active.version is not None:
            group = replace(group, template=active.template, says=str(active.version))
        self.scaled[location, name] = group

    def groups(self, location: str, names: Sequence[str]) -> Mapping[str, Group]:
        """Report groups. See `Publisher.groups`."""
        with self._asked("groups", location):
            for name in names:
                found = self.scaled.get((location, name))
                if found is not None and found.under_way is not None and self.swift:
                    going = found.under_way.course == "running"
                    self.end_refresh(location, name, "done" if going else "turned-back")
            return {name: self.scaled[location, name] for name in names if (location, name) in self.scaled}

    def group_misfit(self, location: str, group: Group, artifact_id: str) -> str | None:
        """Say why a group does not go over to an artifact, or not back. See `Publisher.group_misfit`."""
        with self._asked("group_misfit", location):
            late = f"it launches version {group.says} of {group.template}: have it name a number"
            return group.misfit or (late if group.version is None else self.wrong.get(artifact_id))

    def begin_refresh(self, location: str, group: Group, version: int, settings: AutoScalingGroup) -> str:
        """Begin to refresh. See `Publisher.begin_refresh`."""
        with self._asked("begin_refresh", location):
            now = self._group_now(location, group)
            if now.under_way is not None:
                raise Transient(f"group {group.name} in {location}: refresh {now.under_way.id} is under way")
            made = self.refresh(location, group.name, version=version)
            self.settings[made] = settings
            return made

    def turn_back(self, location: str, group: Group, refresh: str) -> None:
        """Turn a refresh back. See `Publisher.turn_back`."""
        with self._asked("turn_back", location):
            active = self._group_now(location, group).under_way
            if active is not None and active.id == refresh and active.course == "running":
                self.end_refresh(location, group.name, "turning-back", why="turned back")

    def _group_now(self, location: str, group: Group) -> Group:
        if not group.ours:
            raise Terminal(f"group {group.name} in {location} is not refreshed: it is not ours")
        now = self.scaled.get((location, group.name))
        if now is None or now.template != group.template:
            raise Transient(f"group {group.name} in {location} is not there any more, or has another template")
        return now

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
