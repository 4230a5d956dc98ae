"""A registry in memory, for the controller's tests and simulated fleets. It passes the contract test that EC2 passes.

What a test needs to arrange stands beside the `Registry` methods: artifacts that are there already, regions that can't
be read, upstream AMIs, copies that take a while or fail. Ids are counted, so that a run can be told apart from none.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from reconciler.model.care import NOBODY, Grants
from reconciler.model.collection import Abandoned, Unmanaged
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.model.lockfile import Artifact, Conversion
from reconciler.model.observation import TAG_PREFIX, Observation, Seen, State
from reconciler.model.restoration import Binned
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.usage import Usage, Use
from reconciler.model.values import digest, format_instant, parse_instant
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Located, Remains
from reconciler.registries.ec2.dialect import AMI, AmiRequest
from reconciler.registries.plain import unmanaged_of

_CREATED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Upstream:
    """An AMI of somebody else. `owners` holds the account id and, where it has one, the alias."""

    region: str
    id: str
    name: str
    created: str
    owners: tuple[str, ...]
    architecture: str = "x86_64"


@dataclass(frozen=True)
class Traits:
    """What an artifact has beside what is seen of it. `launched_by` are those who may launch it beside its owner."""

    description: str = ""
    launched_by: Grants = NOBODY


@dataclass
class MemoryRegistry:
    """One fleet's artifacts. Implements `Registry`."""

    fleet: str
    unreadable: dict[str, str] = field(default_factory=dict)
    left_by_builds: list[Abandoned] = field(default_factory=list)
    """What killed builds left to work with."""
    one_place: list[set[str]] = field(default_factory=list)
    """Regions that are one place under two names each."""
    uses: list[Use] = field(default_factory=list)
    unread_usage: dict[str, str] = field(default_factory=dict)
    """Why it is not known what uses anything, by region."""
    """Regions that can't be read, and the reason, until a test takes them out again."""
    reports: dict[str, tuple[Use, ...] | str] | None = None
    """What reports tell of other accounts, by artifact; None: it makes none."""
    used_elsewhere: dict[str, tuple[Use, ...]] = field(default_factory=dict)
    """What a report tells that is asked for from now on."""
    restored_for: dict[str, int | None] = field(default_factory=dict)
    """For how many days what is retired can be restored, by region."""
    times: dict[str, datetime | ReconcilerError] = field(default_factory=dict)
    """What time it tells, by region, or what it says instead."""
    bin: dict[tuple[str, str], tuple[Seen, datetime | None]] = field(default_factory=dict)
    """What was retired where that can be restored, and when."""
    refused: Terminal | None = None
    """Set it, and nothing can be read or written."""
    upstreams: list[Upstream] = field(default_factory=list)
    parameters: dict[tuple[str, str], str] = field(default_factory=dict)
    """SSM parameters: (region, name) to value."""
    copies_become: State = "available"
    """The state in which a copy is found by the first look after it was begun."""
    of_others: set[str] = field(default_factory=set)
    """Artifacts that are another account's, and that this one sees."""
    in_use: set[str] = field(default_factory=set)
    """Snapshots that something else uses, or that carry no tags of ours."""
    traits: defaultdict[tuple[str, str], Traits] = field(default_factory=lambda: defaultdict(Traits))
    """By location and id. What a template put on an AMI a test puts here."""
    unshareable: dict[str, str] = field(default_factory=dict)
    """Artifacts that others could not use, and why."""
    lacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What those lack who are allowed to use an artifact, by its id."""
    clock: Callable[[], datetime] | None = None
    """What time it has; it takes any date of deprecation without one."""
    calls: Counter[str] = field(default_factory=Counter)
    """How often each method was called."""
    _artifacts: dict[tuple[str, str], Seen] = field(default_factory=dict)
    _copies: dict[tuple[str, ...], str] = field(default_factory=dict)
    _made: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def seed(
        self,
        location: str,
        name: str,
        *,
        tags: Mapping[str, str],
        state: State = "available",
        created: str | None = None,
    ) -> Seen:
        """Put an artifact there, with one snapshot, as a build leaves it: made when the one that it names began."""
        with self._lock:
            self._made += 1
            made = Seen("ami", location, "", name, state, _CREATED, tags)
            artifact = Seen(
                kind="ami",
                location=location,
                id=f"ami-{self._made:017x}",
                name=name,
                state=state,
                created=created or (format_instant(made.began) if made.began else _CREATED),
                tags=dict(tags),
                parts=(f"snap-{self._made:017x}",),
            )
            self._artifacts[location, artifact.id] = artifact
            return artifact

    def delete(self, artifact: Located) -> None:
        """Take an artifact away, as somebody would who knows nothing of us."""
        with self._lock:
            self._artifacts.pop((artifact.location, artifact.id), None)

    @property
    def artifacts(self) -> tuple[Seen, ...]:
        """Everything that is there, of every fleet, in order of making."""
        with self._lock:
            return tuple(self._artifacts.values())

    def observe(self, locations: Sequence[str]) -> Observation:
        """Report the fleet's artifacts. See `Registry.observe`."""
        with self._lock:
            self.calls["observe"] += 1
            regions = tuple(dict.fromkeys(locations))
            if self.refused is not None and regions:
                return Observation(unreadable=dict.fromkeys(regions, self.refused.what), refused=self.refused)
            found = [
                one
                for region in regions
                if region not in self.unreadable
                for one in sorted(self._artifacts.values(), key=lambda one: one.id)
                if one.location == region and one.own("fleet") == self.fleet and one.id not in self.of_others
            ]
            reasons = {region: self.unreadable[region] for region in regions if region in self.unreadable}
            return Observation(artifacts=tuple(found), unreadable=reasons)

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one artifact, or None. See `Registry.find`."""
        with self._asked("find", location):
            return self._artifacts.get((location, artifact_id)) or self._of_somebody_else(location, artifact_id)

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """Report the artifacts of a name. See `Registry.named`."""
        with self._asked("named", location):
            found = [
                one
                for one in self._artifacts.values()
                if (one.location, one.name) == (location, name) and one.id not in self.of_others
            ]
            return tuple(sorted(found, key=lambda one: one.id))

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set tags. See `Registry.tag`."""
        with self._asked("tag", artifact.location):
            known = self._known(artifact.location, artifact.id)
            self._artifacts[known.location, known.id] = replace(known, tags={**known.tags, **tags})

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        """Set the same tags on many. See `Registry.tag_all`."""
        with self._asked("tag", location):
            for artifact in artifacts:
                known = self._known(location, artifact.id)
                self._artifacts[location, known.id] = replace(known, tags={**known.tags, **tags})

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Begin a copy. See `Registry.copy`."""
        with self._asked("copy", to):
            found = self._known(source.location, source.id)
            foreign = {
                key: value for key, value in found.tags.items() if not key.startswith((TAG_PREFIX, AMI.reserved))
            }
            traits = self.traits[source.location, source.id]
            given = digest([foreign | dict(tags), traits.description])
            same = (token, source.location, source.id, to, name, given)
            if same not in self._copies:
                made = self.seed(to, name, tags={**foreign, **tags}, state="pending")
                self._artifacts[to, made.id] = replace(made, copy_of=(source.location, source.id))
                self._copies[same] = made.id
                self.traits[to, self._copies[same]] = Traits(description=traits.description)
            return self._copies[same]

    def convert(
        self, artifact: Located, *, form: str, name: str, tags: Mapping[str, str], known: Sequence[tuple[str, str]]
    ) -> Conversion:  # fmt: skip
        """Have it in another format, whose id tells of what it is one. See `Registry.convert`."""
        del name, tags, known
        with self._asked("convert", artifact.location):
            before = self._known(artifact.location, artifact.id)
            made = Conversion(format=form, id=f"{artifact.id}-{form}", size=1)
            others = [one for one in before.conversions if one.format != form]
            in_order = tuple(sorted([*others, made], key=lambda one: one.format))
            self._change(artifact, conversions=in_order)
            return made

    def complete_copy(self, made: Located, *, of: Located) -> None:
        """Give a copy what it is not born with. See `Registry.complete_copy`."""
        with self._asked("complete_copy", made.location):
            original, copy = self.traits[of.location, of.id], self.traits[made.location, made.id]
            copied = self._known(made.location, made.id)
            self.traits[made.location, made.id] = replace(copy, launched_by=copy.launched_by | original.launched_by)
            self._change(made, deprecated=self._known(of.location, of.id).deprecated or copied.deprecated)

    def wait_available(self, location: str, artifact_id: str, *, timeout: float) -> Seen:
        """Report a copy in the state that `copies_become`. See `Registry.wait_available`."""
        with self._asked("wait_available", location):
            found = self._known(location, artifact_id)
            if found.state == "pending":
                found = replace(found, state=self.copies_become)
                self._artifacts[location, artifact_id] = found
            match found.state:
                case "available":
                    return found
                case "pending":
                    raise Transient(f"{artifact_id} in {location} is still pending after {timeout:.0f} s")
                case _:
                    raise Terminal(f"{artifact_id} in {location} is {found.state}: as arranged")

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """Delete an artifact. See `Registry.retire`."""
        with self._asked("retire", artifact.location):
            found = self._artifacts.get((artifact.location, artifact.id))
            if found is None:
                return Remains()
            if (found.own("fleet"), found.own("image")) != (self.fleet, image):
                raise Terminal(f"{artifact.id} in {artifact.location} is not retired: its tags are not {image}'s")
            if found.protection:
                raise Terminal(f"{artifact.id} in {artifact.location} is not retired: {found.protection}")
            del self._artifacts[found.location, found.id]
            if self.restored_for.get(found.location):
                self.bin[found.location, found.id] = (found, self.clock() if self.clock is not None else None)
            return Remains(tuple(snapshot for snapshot in found.parts if snapshot in self.in_use))

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        """Resolve among `upstreams` and this registry's own artifacts. See `Registry.resolve`."""
        region = location
        with self._asked("resolve", region):
            if request.upstream is None:
                raise ValueError("a parent image is resolved from state/, not from a registry")
            word, asked = request.upstream
            wanted = AmiRequest.model_validate(asked) if word == "ami" else None
            if wanted is None:
                held = self.parameters.get((region, asked))
                if held is None or not held.startswith("ami-"):
                    raise UserError(f"SSM parameter {asked} in {region} holds no AMI id")
                found = [one for one in self._upstreams(region) if one.id == held]
            elif wanted.id is not None:
                found = [one for one in self._upstreams(region) if one.id == wanted.id]
            else:
                arch = wanted.architecture or architecture
                found = [
                    one
                    for one in self._upstreams(region)
                    if fnmatchcase(one.name, wanted.name or "*")
                    and not set(one.owners).isdisjoint(wanted.owners)
                    and arch in (None, one.architecture)
                ]
            if not found:
                raise UserError(
                    f"no AMI in {region} is what was asked for: {request.model_dump(exclude_defaults=True)}"
                )
            best = max(found, key=lambda one: (one.created, one.id))
            return AMI.pin(region, best.id, name=best.name, owner=best.owners[0], created=best.created)

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """Whether a test says that two regions are one. See `Registry.is_same`."""
        del artifact_id
        return location == other or {location, other} in self.one_place

    def expect(self, locations: Sequence[str]) -> None:
        """Nothing takes time here. See `Registry.expect`."""

    def store(
        self, location: str, made: Sequence[Made], *, name: str, tags: Mapping[str, str]
    ) -> Sequence[Artifact]:  # fmt: skip
        """Nothing: Packer makes what is here. See `Registry.store`."""
        del location, made, name, tags
        return ()

    def given(self, location: str, source: str) -> str:
        """As it is. See `Registry.given`."""
        del location
        return source

    def usage(self, location: str, ids: Sequence[str]) -> Usage:
        """What a test says uses artifacts. See `Registry.usage`."""
        with self._lock:
            self.calls["usage"] += 1
            unread = self.unread_usage.get(location)
            uses = tuple(use for use in self.uses if use.place[0] == location and use.place[1] in ids)
            return Usage(uses, {location: (unread,)} if unread else {})

    def usage_elsewhere(self, location: str, ids: Sequence[str], *, asks: bool) -> Mapping[str, tuple[Use, ...] | str]:
        """What a test says that reports tell. Where it makes them, one that is asked for is there the next time."""
        with self._lock:
            self.calls["usage_elsewhere"] += 1
            if self.reports is None:
                return {}
            told = {one: self.reports.get(one, "there is no report") for one in ids}
            self.reports |= {one: self.used_elsewhere.get(one, ()) for one in ids if asks and one not in self.reports}
            return told

    def abandoned(self, location: str, *, before: datetime) -> Sequence[Abandoned]:
        """What a test says that killed builds left. See `Registry.abandoned`."""
        return [
            one for one in self.left_by_builds if one.location == location and parse_instant(one.since or "") < before
        ]

    def remove_abandoned(self, found: Sequence[Abandoned]) -> Iterator[Abandoned]:
        """Remove it. See `Registry.remove_abandoned`."""
        for one in found:
            self.left_by_builds.remove(one)
            yield one

    def unmanaged(self, location: str) -> Sequence[Unmanaged] | None:
        """What has no fleet's tag. See `Registry.unmanaged`."""
        if self.refused is not None or location in self.unreadable:
            return None
        own = (one for one in self.artifacts if one.location == location and one.id not in self.of_others)
        return unmanaged_of(own)

    def restorable(self, location: str) -> int | None:
        """What a test says. See `Registry.restorable`."""
        return self.restored_for.get(location, 0)

    def binned(self, location: str) -> Sequence[Binned]:
        """What was retired within the days that a test says. See `Registry.binned`."""
        with self._asked("binned", location):
            return [
                Binned(one.kind, location, one.id, one.name, self._until(location, since))
                for (where, _), (one, since) in sorted(self.bin.items(), key=lambda each: each[0])
                if where == location and self._is_kept(location, since)
            ]

    def restore(self, artifact: Located) -> None:
        """Bring it back as it was. See `Registry.restore`."""
        with self._asked("restore", artifact.location):
            place = artifact.location, artifact.id
            if place in self._artifacts:
                return
            found, since = self.bin.get(place, (None, None))
            if found is None or not self._is_kept(artifact.location, since):
                raise Terminal(f"{artifact.id} is not in the bin of {artifact.location}")
            del self.bin[place]
            self._artifacts[place] = found

    def _until(self, location: str, since: datetime | None) -> str | None:
        days = timedelta(days=self.restored_for.get(location) or 0)
        return format_instant(since + days) if since is not None else None

    def _is_kept(self, location: str, since: datetime | None) -> bool:
        until = self._until(location, since)
        return until is None or self.clock is None or parse_instant(until) > self.clock()

    def reconsider(self, artifacts: Sequence[Located]) -> bool:
        """Nothing stays that was to go. See `Registry.reconsider`."""
        del artifacts
        return False

    def server_time(self, location: str) -> datetime | None:
        """What was put into `times`; else it tells none. See `Registry.server_time`."""
        told = self.times.get(location)
        if isinstance(told, ReconcilerError):
            raise told
        return told

    def _of_somebody_else(self, location: str, artifact_id: str) -> Seen | None:
        found = (one for one in self.upstreams if (one.region, one.id) == (location, artifact_id))
        return next((Seen("ami", one.region, one.id, one.name, "available", one.created, {}) for one in found), None)

    def _upstreams(self, region: str) -> list[Upstream]:
        own = [
            Upstream(one.location, one.id, one.name, one.created, ("self",))
            for one in self._artifacts.values()
            if one.state == "available"
        ]
        return [one for one in [*self.upstreams, *own] if one.region == region]

    def grants(self, artifact: Located) -> Grants:
        """Who may use it. See `Registry.grants`."""
        with self._asked("grants", artifact.location):
            self._known(artifact.location, artifact.id)
            return self.traits[artifact.location, artifact.id].launched_by

    def obstacles(self, location: str, artifacts: Sequence[Located], *, everybody: bool = False) -> Mapping[str, str]:
        """What is `unshareable`. See `Registry.obstacles`."""
        del everybody
        self.calls["obstacles"] += 1
        readable = location not in self.unreadable
        return {one.id: self.unshareable[one.id] for one in artifacts if readable and one.id in self.unshareable}

    def lacking(self, location: str, artifacts: Sequence[Located], *, to: Grants) -> Mapping[str, Sequence[str]]:
        """What is said in `lacks`. See `Registry.lacking`."""
        del location, to
        return {one.id: self.lacks[one.id] for one in artifacts if one.id in self.lacks}

    def share(self, artifact: Located, *, add: Grants, remove: Grants) -> None:
        """Change who may use it. See `Registry.share`."""
        with self._asked("share", artifact.location):
            known = self._known(artifact.location, artifact.id)
            if known.state != "available" or (add and known.id in self.unshareable):
                raise Terminal(f"{known.id} in {known.location} is {known.state}: it can't be shared")
            traits = self.traits[known.location, known.id]
            self.traits[known.location, known.id] = replace(traits, launched_by=(traits.launched_by | add) - remove)

    def deprecate(self, artifact: Located, at: datetime | None) -> None:
        """Set from when it is deprecated. See `Registry.deprecate`."""
        with self._asked("deprecate", artifact.location):
            if at is not None and self.clock is not None and at <= self.clock():
                raise Terminal(f"{at} is past")
            self._change(artifact, deprecated=format_instant(at) if at is not None else None)

    def protect(self, artifact: Located, *, on: bool) -> None:
        """Protect it, or no more. See `Registry.protect`."""
        with self._asked("protect", artifact.location):
            self._change(artifact, protection="enabled-without-cooldown" if on else "")

    def disable(self, artifact: Located) -> None:
        """Disable it. See `Registry.disable`."""
        with self._asked("disable", artifact.location):
            self._change(artifact, state="disabled")
            traits = self.traits[artifact.location, artifact.id]
            self.traits[artifact.location, artifact.id] = replace(traits, launched_by=Grants())

    def enable(self, artifact: Located) -> None:
        """Enable it. See `Registry.enable`."""
        with self._asked("enable", artifact.location):
            self._change(artifact, state="available")

    def _change(self, artifact: Located, **what: Any) -> None:
        known = self._known(artifact.location, artifact.id)
        self._artifacts[known.location, known.id] = replace(known, **what)

    def _asked(self, method: str, location: str) -> threading.RLock:
        with self._lock:
            self.calls[method] += 1
            if self.refused is not None:
                raise self.refused
            if location in self.unreadable:
                raise Transient(f"{method} in {location}: {self.unreadable[location]}")
        return self._lock

    def _known(self, location: str, artifact_id: str) -> Seen:
        found = self._artifacts.get((location, artifact_id))
        if found is None:
            raise Terminal(f"{artifact_id} is not in {location}")
        return found
