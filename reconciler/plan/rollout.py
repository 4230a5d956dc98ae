"""Groups whose instances are replaced when `stable` moves: in waves, one refresh at a time, with a way back.

Level-triggered like all else. What a group runs and where its refreshes stand is read; the lockfile tells which of them
are ours: before one begins, it records the newest that was there, so that a run that died in between finds its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile, Reason
from reconciler.model.observation import Group, InstanceRefresh, Publications, Template
from reconciler.model.publish import AutoScalingGroup, Published, Wave
from reconciler.model.text import one_line, visible
from reconciler.model.values import format_duration, format_instant, parse_instant
from reconciler.plan.key import NEVER_AGAIN
from reconciler.plan.launch_templates import templates_of


def groups_of(image: Image | None) -> Mapping[str, AutoScalingGroup]:
    """The groups that an image is published to, by name."""
    declared = image.declaration.publish.auto_scaling_groups if image is not None else ()
    return {one.name.replace("{image}", image.name if image is not None else ""): one for one in declared}


def group_places(image: Image | None) -> tuple[Published, ...]:
    """Every group in every location in which it is declared to be, in order."""
    if image is None:
        return ()
    return tuple(
        Published(auto_scaling_group=name, location=location)
        for name, one in sorted(groups_of(image).items())
        for location in sorted(image.locations)
        if not one.locations or location in one.locations
    )


def waves_of(image: Image) -> tuple[Wave, ...]:
    """The order in which they are refreshed; one wave with all of them where that is not declared."""
    return image.declaration.publish.waves or (Wave(),)


def is_in(wave: Wave, image: Image, at: Published) -> bool:
    """Whether a wave holds a group in a location. What it leaves out, groups or locations, is all of them."""
    names = [one.replace("{image}", image.name) for one in wave.groups]
    return (not names or at.auto_scaling_group in names) and (not wave.locations or at.location in wave.locations)


@dataclass(frozen=True)
class Target:
    """The version that a group is to run: that of its template that has the artifact of the build that is stable."""

    build: str
    artifact: str
    version: int | None
    """None: it is still to be made."""


Standing = Literal["done", "under way", "failed", "due", "elsewhere", "refused", "waiting"]


@dataclass(frozen=True)
class Member:
    """One group, and how it stands. `why` says why one is refused, waits or failed.

    `elsewhere` is one that a refresh of ours leads to a build that is no longer stable.
    """

    at: Published
    """As it is recorded, or will be."""
    wave: int
    standing: Standing
    group: Group | None = None
    target: Target | None = None
    refresh: InstanceRefresh | None = None
    why: str = ""
    back: bool = False
    """Whether it is due to run an earlier build than it does: it goes at once, whatever its wave."""


@dataclass(frozen=True)
class GroupChange:
    """A refresh that is to begin, or, where `refresh` is given, one that is to turn back."""

    at: Published
    group: Group
    settings: AutoScalingGroup
    target: Target | None = None
    refresh: str = ""
    why: str = ""
    back: bool = False
    """Whether the group ran before what it is to run now."""

    @property
    def can_begin(self) -> bool:
        """Whether it can be carried out: the version that it leads to is there."""
        return bool(self.refresh) or (self.target is not None and self.target.version is not None)

    @property
    def recorded(self) -> Published:
        """What is recorded before it is carried out: the last refresh that counts no more."""
        if not self.refresh:
            return self.at
        return self.at.model_copy(update={"after": self.refresh, "refresh": "", "course": "", "since": None})

    @property
    def artifact(self) -> str:
        """The artifact that it leads to; empty for one that turns back."""
        return self.target.artifact if self.target is not None else ""

    @property
    def reason(self) -> Reason:
        """The same for people."""
        if self.target is None:
            was = f"{self.at.text}: refresh {self.refresh} under way"
            return Reason(code="publication-changed", was=was, now=f"turned back: {self.why}")
        number = f"version {self.target.version}" if self.target.version is not None else "that version"
        now = f"a refresh to {number} with {self.target.artifact}{self.why}"
        return Reason(code="publication-changed", was=f"{self.at.text}: version {self.group.says}", now=now)


@dataclass(frozen=True)
class Rollout:
    """The next steps of an image's groups, what is recorded of them, and what they wait for."""

    changes: tuple[GroupChange, ...] = ()
    record: tuple[Published, ...] = ()
    refused: tuple[tuple[Published, str], ...] = ()
    """Groups that can't be refreshed, or whose refresh failed, each with what to say of it."""
    notes: tuple[str, ...] = ()
    """What is under way or waits, for people."""

    @property
    def judged(self) -> tuple[GroupChange, ...]:
        """Those of which it has to be known first whether the group can run the artifact: all that lead forward."""
        return tuple(one for one in self.changes if one.target is not None and not one.back)

    @property
    def leading_back(self) -> Rollout:
        """What of it leads groups back to an earlier build, or turns a refresh back. All others stay as they are."""
        changes = tuple(one for one in self.changes if one.back or one.refresh)
        places = {one.at.place for one in changes}
        return Rollout(changes, tuple(one for one in self.record if one.place in places))


NOTHING = Rollout()


def rollout(image: Image, lock: Lockfile, found: Publications) -> Rollout:
    """Compare what the groups run with where `stable` points. Those in unreadable locations are left alone."""
    members = list(_members(image, lock, found))
    changes: list[GroupChange] = []
    notes: list[str] = []
    groups, waves = groups_of(image), waves_of(image)
    failed = next((one for one in members if one.standing == "failed"), None)
    for one in members:
        settings = groups[one.at.auto_scaling_group]
        if one.group is not None and one.refresh is not None and one.standing in ("elsewhere", "under way"):
            why = _why_back(one, failed, lock)
            if why and one.refresh.course == "running":
                changes.append(GroupChange(one.at, one.group, settings, refresh=one.refresh.id, why=why))
            else:
                notes.append(_progress(one, one.refresh))
        elif one.standing == "waiting":
            notes.append(f"{one.at.text}: {one.why}")
        elif one.standing == "due" and one.group is not None:
            waits = None if one.back else _waits(one, members, waves, now=one.group.told or found.at)
            if waits is None:
                wave = f", wave {one.wave + 1} of {len(waves)}" if len(waves) > 1 and not one.back else ""
                changes.append(GroupChange(one.at, one.group, settings, one.target, why=wave, back=one.back))
            else:
                notes.append(f"{one.at.text}: {waits}")
    return Rollout(
        changes=tuple(changes),
        record=tuple(_to_record(members, changes)),
        refused=tuple((one.at, one.why) for one in members if one.standing in ("refused", "failed")),
        notes=tuple(notes),
    )


def _to_record(members: Iterable[Member], changes: Iterable[GroupChange]) -> Iterator[Published]:
    """What is known of each group. Of one whose refresh begins or turns back: the last one that does not count."""
    by_place = {change.at.place: change for change in changes}
    for one in members:
        change = by_place.get(one.at.place)
        if change is not None and change.can_begin:
            yield change.recorded
        elif one.standing in ("done", "under way", "failed"):
            yield one.at


def _members(image: Image, lock: Lockfile, found: Publications) -> Iterator[Member]:
    """Every group in every location, in the order of its wave."""
    recorded = {one.place: one for one in lock.published}
    templates = {place: one for place, one in found.templates.items() if place in _of_its_templates(image)}
    found = replace(found, templates=templates)
    listed = [
        (at, wave) for at in group_places(image) for wave, one in enumerate(waves_of(image)) if is_in(one, image, at)
    ]
    for at, wave in sorted(listed, key=lambda one: one[1]):
        if at.location in found.unreadable:
            why = f"what it runs can't be read: {found.unreadable[at.location]}"
            yield Member(recorded.get(at.place, at), wave, "waiting", why=why)
        else:
            yield _member(at, wave, recorded.get(at.place), lock=lock, found=found)


def _of_its_templates(image: Image) -> set[tuple[str, str]]:
    """Where the templates are that get versions of an image; those of other images do not."""
    return {
        Published(launch_template=name, location=location).place
        for name in templates_of(image)
        for location in image.locations
    }


def _member(at: Published, wave: int, recorded: Published | None, *, lock: Lockfile, found: Publications) -> Member:
    group = found.groups.get(at.place)
    if group is None:
        return Member(
            at, wave, "refused", why="it is not there: make it, tagged with this fleet, or take the name away"
        )
    if not group.ours:
        why = "it does not carry this fleet's tag: give another name, or tag it reconciler:fleet"
        return Member(at, wave, "refused", group, why=why)
    there = ((place, one) for place, one in found.templates.items() if place[0] == at.location)
    place, template = next((one for one in there if one[1].id == group.template), (at.place, None))
    if template is None or not template.ours:
        launched = f"launch template {group.template}" if group.template else "no launch template"
        why = f"it launches by {launched}, which is none of publish.launch_templates: add that one's name"
        if not any(location == at.location for location, _ in found.templates):
            why = f"it launches by {launched}, and none of publish.launch_templates is there"
        return Member(at, wave, "refused", group, why=why)
    numbers = {one.place: one.version for one in lock.published}
    # By the registry's clock, as the times of its refreshes are: this machine's may be anywhere.
    case = _Case(at, wave, recorded, group, template, numbers.get(place), lock, group.told or found.at)
    return case.under_way(group.under_way) if group.under_way is not None else case.at_rest()


@dataclass(frozen=True)
class _Case:
    """One group with all that it is judged by."""

    at: Published
    wave: int
    recorded: Published | None
    group: Group
    template: Template
    number: int | None
    """The number of the version that was made for the build that is stable, where it is recorded."""
    lock: Lockfile
    now: datetime

    @property
    def target(self) -> Target | None:
        """What it is to run; None where stable points to nothing, or to nothing that is in this location yet."""
        build = self.lock.build(self.lock.channels.stable)
        artifact = build.artifact_in(self.at.location) if build is not None else None
        if build is None or artifact is None:
            return None
        there = self.template.of(build.id, artifact.id, recorded=self.number)
        return Target(build.id, artifact.id, there.number if there is not None else None)

    def about(self, target: Target) -> Published | None:
        """What is recorded, where it is about the same build and version."""
        one = self.recorded
        return one if one is not None and (one.build, one.version) == (target.build, target.version) else None

    def under_way(self, running: InstanceRefresh) -> Member:
        """How it stands while a refresh is under way. The registry allows one at a time."""
        target, known = self.target, self.recorded or self.at
        leads_to = (running.template, running.version)
        if target is not None and target.version is not None and leads_to == (self.template.id, target.version):
            about = self.about(target)
            after = about.after if about is not None else ""
            return self._as("under way", target, running, after=after, refresh=running.id, course="begun")
        made_for = (
            _build_of(self.template, running.version, self.lock) if running.template == self.template.id else None
        )
        if running.id == known.refresh or made_for is not None:
            return Member(known, self.wave, "elsewhere", self.group, target, running)
        version = f" to version {running.version}" if running.version is not None else ""
        why = f"waits for refresh {running.id}{version}, which somebody else began"
        return Member(known, self.wave, "waiting", self.group, target, running, why)

    def at_rest(self) -> Member:
        """How it stands while no refresh is under way."""
        target = self.target
        if target is None:
            return Member(self.recorded or self.at, self.wave, "waiting", self.group, why=self._lacking())
        about = self.about(target)
        newest = self.group.refreshes[0].id if self.group.refreshes else ""
        last = _last(self.group, about)
        if about is not None and last is not None and last.course != "done":
            same = about.refresh == last.id and about.course == "failed"
            failed = self._as(
                "failed", target, last, why=_how_it_ended(self.group, target, last), after=about.after,
                refresh=last.id, course="failed", since=format_instant(last.ended) if last.ended is not None else None,
            )  # fmt: skip
            said = {"why": one_line(last.why), "told": about.told if same else ()}
            return replace(failed, at=failed.at.model_copy(update=said))
        back = self._goes_back(target)
        if self.group.misfit is not None and not back:
            return self._as("refused", target, None, why=self.group.misfit)
        if self._runs(target, about, last):
            ended = last.ended if last is not None and last.ended is not None else self.now
            since = about.since if about is not None and about.course == "done" else None
            refresh, after = last.id if last is not None else "", about.after if about is not None else newest
            since = since or format_instant(ended)
            return self._as("done", target, last, after=after, refresh=refresh, course="done", since=since)
        return replace(self._as("due", target, None, after=newest, course="begun"), back=back)

    def _as(
        self, standing: Standing, target: Target, seen: InstanceRefresh | None, *, why: str = "", **recorded: str | None
    ) -> Member:
        entry = self.at.model_copy(update={"version": target.version, "build": target.build, **recorded})
        return Member(entry, self.wave, standing, self.group, target, seen, why)

    def _lacking(self) -> str:
        stable = self.lock.channels.stable
        return "stays as it is: stable points to nothing" if stable is None else f"waits for {stable} there"

    def _runs(self, target: Target, about: Published | None, last: InstanceRefresh | None) -> bool:
        """Whether it launches the version, and its instances are of it: by their own word, or by a refresh's."""
        if target.version is None or self.group.version != target.version:
            return False
        was_done = about is not None and about.course == "done"
        return was_done or last is not None or all(one == target.version for one in self.group.runs)

    def _goes_back(self, target: Target) -> bool:
        """Whether it runs a build that came after the one that it is to run, or that nobody may use any more.

        What is revoked stands behind what was adopted in its place, as where a child goes back with its parent.
        """
        order = [build.id for build in self.lock.builds]
        runs = self.lock.build(_build_of(self.template, self.group.version, self.lock))
        if runs is None or runs.id == target.build:
            return False
        return runs.phase in NEVER_AGAIN or order.index(runs.id) < order.index(target.build)


def _last(group: Group, about: Published | None) -> InstanceRefresh | None:
    """The refresh that was begun for what is recorded, or again by a hand: the newest after those that were there."""
    if about is None:
        return None
    since = takewhile(lambda one: one.id != about.after, group.refreshes)
    return next((one for one in since if (one.template, one.version) == (group.template, about.version)), None)


def _build_of(template: Template, number: int | None, lock: Lockfile) -> str | None:
    """Which recorded build a version of a template was made for."""
    version = next((one for one in template.versions if one.number == number), None)
    if version is None:
        return None
    made = (build.id for build in lock.builds for one in build.artifacts if version.is_of(build.id, one.id))
    return next(made, None)


def _why_back(one: Member, failed: Member | None, lock: Lockfile) -> str:
    """Why a refresh that is under way is to lead back; empty where it is not."""
    if one.standing == "elsewhere":
        return f"stable points to {lock.channels.stable or 'nothing'}"
    return f"{failed.at.text} failed" if failed is not None else ""


def _progress(one: Member, refresh: InstanceRefresh) -> str:
    how_far = f", {refresh.percent} %" if refresh.percent is not None else ""
    to = f"to version {refresh.version}" if refresh.version is not None else "to what it does not say"
    what = "is turning back" if refresh.course == "turning-back" else f"under way {to}{how_far}"
    return f"{one.at.text}: refresh {refresh.id} {what}"


def _how_it_ended(group: Group, target: Target, last: InstanceRefresh) -> str:
    ended = "was turned back" if last.course == "turned-back" else "failed"
    why = f": {visible(one_line(last.why))}" if last.why else ""
    before, _, after = group.again.rpartition("{version}")  # the last: a group's own name may hold anything
    way = f"; to try again: {before}{target.version}{after}" if group.again else ""
    return f"refresh {last.id} to version {target.version} {ended}{why}{way}"


def _waits(one: Member, members: Iterable[Member], waves: Sequence[Wave], *, now: datetime) -> str | None:
    """What a group that is due waits for: what failed, or an earlier wave; None where its turn has come."""
    for other in members:
        if other.standing == "failed":
            return f"stopped, as {other.at.text} failed"
    for other in members:
        if other.wave < one.wave and other.standing != "done":
            return f"waits for wave {other.wave + 1}: {other.at.text}"
    for other in members:
        wait = waves[other.wave].wait or 0
        if other.wave < one.wave and other.at.since:
            until = parse_instant(other.at.since) + timedelta(seconds=wait)
            if now < until:
                return f"waits until {format_instant(until)}, {format_duration(wait)} after wave {other.wave + 1}"
    return None
