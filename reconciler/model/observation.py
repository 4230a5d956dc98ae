"""What a registry reported. What could not be read is a value here, never an absence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Literal

from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Artifact, Conversion
from reconciler.model.values import began_at, is_commit_id

State = Literal["available", "pending", "failed", "disabled", "unusable"]
"""`disabled` is what its owner keeps from being used, and can allow again."""
TAG_PREFIX = "reconciler:"


def is_ours(tag: str) -> bool:
    """Whether a tag of this name is one that we write."""
    return tag.startswith(TAG_PREFIX)


def foreign(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that are not ours: the template's, and people's."""
    return {name: value for name, value in tags.items() if not is_ours(name)}


@dataclass(frozen=True, slots=True)
class Seen:
    """One artifact as the registry reports it. `tags` holds all its tags; `created` is UTC, `…Z`."""

    kind: str
    location: str
    id: str
    name: str
    state: State
    created: str
    tags: Mapping[str, str]
    parts: tuple[str, ...] = ()
    copy_of: tuple[str, str] | None = None
    """Location and id of what it is a whole copy of, in the registry's own word; None where that tells of none."""
    hearsay: bool = False
    """Whether its name and its date are no more than its marks: whoever may write those may write them as well."""
    deprecated: str | None = None
    """From when it counts as deprecated, UTC, `…Z`; None where that is never, or not known to its registry."""
    protection: str = ""
    """What keeps it from being removed, in EC2's words (`enabled…`); empty where nothing does."""
    public: bool = False
    """Whether everybody may use it."""
    conversions: tuple[Conversion, ...] = ()
    """Its whole conversions to other formats, in order of format, by its marks."""
    format: str | None = None
    """What its bytes are, as its registry finds by looking at them; None where it has one format, or nobody looked."""
    size: int | None = None
    """In bytes, where it is a file."""
    stays: str = ""
    """Why it is there still, though it was to be retired: its registry deletes nothing. Else empty."""

    @property
    def place(self) -> tuple[str, str]:
        """Location and id: there never is another artifact of both."""
        return self.location, self.id

    @property
    def protected(self) -> bool:
        """Whether it is protected from being removed, as far as that is switched on: a protection may outlast that."""
        return self.protection.startswith("enabled")

    def own(self, name: str) -> str | None:
        """The value of our tag `reconciler:<name>`, or None."""
        return self.tags.get(TAG_PREFIX + name)

    def in_phase(self, phase: str | None) -> Seen:
        """The same where its tags tell another phase; as it is where that is not known."""
        known = phase is None or phase == self.own("phase")
        return self if known else replace(self, tags={**self.tags, f"{TAG_PREFIX}phase": str(phase)})

    @property
    def began(self) -> datetime | None:
        """When its build began, by our tag `reconciler:build`; None where that names no build."""
        try:
            return began_at(self.own("build") or "")
        except ValueError:  # whoever may tag artifacts writes what they like there
            return None

    @property
    def commit(self) -> str | None:
        """The commit that it was built from, by our tag `reconciler:commit`; None where that names none."""
        told = self.own("commit") or ""
        return told if is_commit_id(told) else None  # whoever may tag artifacts writes what they like there

    @property
    def complete(self) -> bool:
        """Whether it is whole where it is: our key is the last thing written (docs/formats.md)."""
        return self.state == "available" and self.own("key") is not None

    def as_artifact(self, builder: str) -> Artifact:
        """The form in which it is recorded."""
        return Artifact(
            kind=self.kind, builder=builder, location=self.location, id=self.id, name=self.name,
            parts=self.parts, format=self.format, size=self.size,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Held:
    """What a name under which consumers look something up holds.

    `misfit` says why an artifact's id can't be written there, ever. `ours` is whether it carries the fleet's mark, and
    None where nobody asked for that.
    """

    value: str
    version: int
    misfit: str | None = None
    ours: bool | None = None


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """One version of a launch template: its number, the artifact that it launches, and its description.

    `rest` is a digest of all else that it launches with.
    """

    number: int
    image: str
    says: str
    rest: str = ""

    def is_of(self, build: str, artifact_id: str) -> bool:
        """Whether it says that it was made of a build's artifact (`version_words`), as anybody may have it say."""
        return self.image == artifact_id and self.says.endswith(f": build {build}")


def version_words(image: str, build: str) -> str:
    """The description of a version of a launch template that is made for a build that is stable."""
    return f"{image} stable: build {build}"


@dataclass(frozen=True, slots=True)
class Template:
    """A launch template. `versions` are all, by number; `ours` is whether it carries the fleet's mark.

    `misfit` says why no version for an artifact may be made of its default one.
    """

    id: str
    default: int
    versions: tuple[TemplateVersion, ...]
    ours: bool
    instance_type: str | None = None
    """What its default version launches on, where it says so."""
    misfit: str | None = None

    def of(self, build: str, artifact_id: str, *, recorded: int | None) -> TemplateVersion | None:
        """The version that was made for a build's artifact: the one that is `recorded`, else the first.

        One that is not recorded counts only where it is as the default one but for the artifact: whoever may make
        versions, and not set the default, may have written it.
        """
        said = [one for one in self.versions if one.is_of(build, artifact_id)]
        fits = [one for one in said if self._default is not None and one.rest == self._default.rest]
        return next((one for one in (*(each for each in said if each.number == recorded), *fits)), None)

    def with_version(self, number: int, artifact_id: str, image: str, build: str) -> Template:
        """The same with the version that was made for a build's artifact."""
        rest = self._default.rest if self._default is not None else ""
        made = TemplateVersion(number, artifact_id, version_words(image, build), rest)
        return replace(self, versions=(*self.versions, made))

    @property
    def launches(self) -> str:
        """The artifact in its default version; empty where that names none."""
        return self._default.image if self._default is not None else ""

    @property
    def _default(self) -> TemplateVersion | None:
        return next((one for one in self.versions if one.number == self.default), None)


Course = Literal["running", "turning-back", "done", "turned-back", "failed"]
"""The state of a refresh: `turning-back` until it has ended without having done what it began for."""


@dataclass(frozen=True, slots=True)
class InstanceRefresh:
    """One round in which a group's instances are replaced, as the registry tells.

    `template` and `version` are the launch template's id and the number that it leads to: empty and None where it does
    not say. `percent` is how far it is, and `why` what the registry says of it.
    """

    id: str
    template: str
    version: int | None
    course: Course
    percent: int | None = None
    why: str = ""
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Instances that are launched by a template and replaced together. `ours` is whether it carries the fleet's mark.

    `template` is the id of its launch template, empty where it has none, and `says` the version of that which it
    launches, as it says: a number, or a word such as `$Latest`. `runs` has one entry for each instance: the number of
    the version of that template which it was launched by, None for anything else. `refreshes` stand newest first.
    """

    name: str
    ours: bool
    template: str
    says: str
    runs: tuple[int | None, ...] = ()
    refreshes: tuple[InstanceRefresh, ...] = ()
    misfit: str | None = None
    """Why it can't be refreshed to what `stable` points to, or there would be no way back."""
    again: str = ""
    """How a person begins a refresh that failed again, with a last `{version}` for the number of the version."""
    told: datetime | None = None
    """When that was told, by the clock of whoever told it; None where it does not say."""

    @property
    def version(self) -> int | None:
        """The number of the version that it launches; None where it says another word."""
        return int(self.says) if self.says.isdecimal() else None

    @property
    def under_way(self) -> InstanceRefresh | None:
        """The refresh that has not ended: the registry allows one at a time."""
        return next((one for one in self.refreshes if one.course in ("running", "turning-back")), None)


@dataclass(frozen=True)
class Publications:
    """What the names of a fleet hold by location and name, and which locations can't be read, with why.

    `at` is when that was looked at.
    """

    at: datetime

    held: Mapping[tuple[str, str], Held] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    claimed: frozenset[tuple[str, str]] = frozenset()
    """Location and name of all that the fleet's images declare now."""
    templates: Mapping[tuple[str, str], Template] = field(default_factory=dict)
    """The launch templates that are there, by location and name (`Published.place`)."""
    groups: Mapping[tuple[str, str], Group] = field(default_factory=dict)
    """The groups that are there, by location and name (`Published.place`)."""


@dataclass(frozen=True)
class Observation:
    """The fleet's artifacts in every location that was asked, and why the others could not be read."""

    artifacts: tuple[Seen, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Location to the reason, one line, for people."""
    refused: Terminal | None = None
    """Set when every location failed for one reason that a person can fix (no or bad credentials)."""
    hints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a person can do about a location that is unreadable, where that is known."""

    @cached_property
    def told(self) -> Mapping[str, str]:
        """Why locations could not be read, each with what to do about it: the first line says what, the others how."""
        return {
            location: "\n  ".join([why, *self.hints.get(location, ())]) for location, why in self.unreadable.items()
        }

    @cached_property
    def by_place(self) -> dict[tuple[str, str], Seen]:
        """Every artifact by its location and id."""
        return {one.place: one for one in self.artifacts}

    def of(self, image: str) -> tuple[Seen, ...]:
        """Every artifact that carries this image's name."""
        return tuple(seen for seen in self.artifacts if seen.own("image") == image)
