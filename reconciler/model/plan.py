"""The plan of a fleet, and what is known of an image when it is made. Its JSON is an interface (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from reconciler.model.care import NO_CARE, NOBODY, Care, Grants
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Conversion, Lockfile, Reason, Verdict
from reconciler.model.observation import Publications, Seen
from reconciler.model.smoke_test import HygieneFinding
from reconciler.model.source import Pin
from reconciler.model.values import Instant, Model, began_at, is_empty, parse_instant

# The plan: the drift of a fleet and the actions that would remove it. Its JSON is an interface (docs/formats.md).

FORMAT_VERSION: Literal["1.1"] = "1.1"

OWN_SOURCE = "the template's own"
"""What an image is built on whose template chooses while it is built."""

Sync = Literal["in-sync", "drifted", "unknown"]
Health = Literal["healthy", "building", "awaiting-verdict", "rolling-out", "degraded", "suspended", "unknown"]
Action = Literal[
    "build", "adopt", "copy", "convert", "retag", "disable", "enable", "share", "deprecate", "protect", "promote",
    "publish", "retire", "record", "none",
]  # fmt: skip


class Retirement(Model):
    """An artifact that goes, with what it is stored in."""

    location: str
    id: str
    conversions: tuple[Conversion, ...] = Field(
        (), description="The same in other formats, which go with it.", exclude_if=is_empty
    )

    @staticmethod
    def of(artifacts: Iterable[Artifact | Seen]) -> tuple[Retirement, ...]:
        """Artifacts as a plan has them, in order of place. With each goes what is recorded as converted of it."""
        places = {(one.location, one.id): one.conversions if isinstance(one, Artifact) else () for one in artifacts}
        return tuple(Retirement(location=at, id=one, conversions=places[at, one]) for at, one in sorted(places))


class Affected(Model):
    """What a revocation takes something away from: a build of a child, or what uses an artifact, or may."""

    revoked: str = Field(description="The build that image.yaml revokes.")
    image: str = Field(description="Whose build this is about: the image's own, or that of a child at any depth.")
    build: str
    location: str | None = Field(None, description="Where the artifact is; null: all of the build is meant.")
    id: str | None = Field(None, description="The artifact.")
    by: str = Field(description="What uses it, what it was built on, or why neither is known.")
    hint: str | None = Field(None, description="The command that mends it; null where there is none.")

    @property
    def is_child(self) -> bool:
        """Whether it is a build that inherits the revocation."""
        return self.id is None

    def __str__(self) -> str:
        """All of it in a line."""
        return f"{self.by}: {self.hint}" if self.hint is not None else self.by


class PlannedImage(Model):
    """One image in a plan."""

    image: str
    sync: Sync
    health: Health
    actions: tuple[Action, ...]
    reasons: tuple[Reason, ...] = ()
    retires: tuple[Retirement, ...] = Field((), description="What will be deleted, each with what it is stored in.")
    blocked_by: tuple[str, ...] = Field((), description="Parents in this plan that must be done first.")
    waits_for: str | None = Field(None, description="Why nothing is done although the image has drifted.")
    estimate_seconds: int | None = Field(None, description="From earlier builds; absent where there are none.")
    key: str | None = Field(None, description="The wanted key; absent where the source is unknown.")
    source: str | None = Field(None, description='"the template\'s own", where only Packer knows what is built on.')
    due: str | None = Field(None, description="When `--refresh` turns to it next, UTC: too old, or its window opens.")
    unknown: tuple[str, ...] = Field((), description="What could not be read.")
    errors: tuple[str, ...] = Field((), description="Why the image cannot be planned, one message each.")
    notes: tuple[str, ...] = Field(
        (), description="What to know before it is built: what `validate` notes of it.", exclude_if=is_empty
    )
    affects: tuple[Affected, ...] = Field(
        (), description="All that a revocation that this image declares takes something away from.",
        exclude_if=is_empty,
    )  # fmt: skip
    findings: tuple[HygieneFinding, ...] = Field(
        (), description="What stays of a build in the one that is recorded, and breaks nothing.", exclude_if=is_empty
    )

    @property
    def resting(self) -> bool:
        """Whether it is left alone because it failed or was rejected, and still differs from what is wanted."""
        return self.sync == "drifted" and self.health == "degraded" and self.actions == ("none",)


class PlanOptions(Model):
    """What the plan was asked for; `reconcile --plan FILE` asks for the same."""

    images: tuple[str, ...] = Field((), description="Empty: the whole fleet.")
    refresh: bool = False
    force: tuple[str, ...] = ()
    prune: bool = False
    offline: bool = False
    lost: tuple[str, ...] = Field(
        (), description="Places of which a person says that all is lost there.", exclude_if=is_empty
    )
    preview: bool = Field(False, description="What a branch would change: children follow its own builds.")


class Plan(Model):
    """The drift of a fleet at one commit."""

    format_version: Literal["1.1"] = FORMAT_VERSION
    plan_id: str = Field(description="Binds the plan to its head, wanted keys, lockfiles and actions.")
    head: str = Field(description="The commit (or, with --worktree, the tree) that was planned.")
    options: PlanOptions = PlanOptions()
    applyable: bool = Field(description="There is something to do and nothing forbids it.")
    complete: bool = Field(description="Everything that was asked could be read.")
    errored: bool = Field(description="Some image is invalid.")
    summary: dict[str, int] = Field(description="Number of images by action.")
    images: tuple[PlannedImage, ...]

    @property
    def drifted(self) -> tuple[PlannedImage, ...]:
        """The images that differ from what is wanted, in the order in which they would be done."""
        return tuple(image for image in self.images if image.sync == "drifted")


@dataclass(frozen=True)
class Wanted:
    """What an image's build should be: its key, taken apart."""

    key: str
    components: Mapping[str, str]
    inputs: str
    """Digest over all components but the source: tag `reconciler:inputs`."""
    pin: Pin | None


@dataclass(frozen=True)
class Restated:
    """An artifact that says wrongly how far its build has come, or in which channel it is, with the right tags."""

    seen: Seen
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Cause:
    """Why nobody may use a build any more: the words of who revoked it, or what it was built on (`image build-id`)."""

    reason: str
    origin: tuple[str, str]
    """The image and build that image.yaml names."""
    by: str | None = None
    twin: str | None = None
    """The build with which it has an artifact in common, where it is revoked for that."""

    def __str__(self) -> str:
        return f"for {self.by}: {self.reason}" if self.by is not None else self.reason


@dataclass(frozen=True)
class Ruling:
    """What image.yaml rules of builds that are there, where state/ does not say so yet."""

    causes: Mapping[str, Cause]
    """Why a build is revoked, by its id: of all that are."""
    reachable: bool
    """Whether all of the build that `stable` is held to is known to be there. Else `stable` stays."""
    reasons: tuple[Reason, ...]
    moves_stable: bool
    """Whether `stable` goes to another build by it, and not back from one that is revoked."""
    unnamed: tuple[Build, ...] = ()
    """Builds that are revoked and that no lockfile names any more: they come into it with that."""


@dataclass(frozen=True)
class Tending:
    """What is to be done with one recorded artifact beside marking it, in this order, and what is recorded of it."""

    artifact: Artifact
    enable: bool = False
    add: Grants = NOBODY
    remove: Grants = NOBODY
    deprecate: Instant | None = None
    """From when it is to count as deprecated."""
    never_deprecated: bool = False
    protect: bool | None = None
    disable: bool = False
    before: Care = NO_CARE
    """What is to be recorded before anything of it is done. Who could use what is disabled is asked then."""
    after: Care = NO_CARE
    """What is to be recorded once it is done."""
    reasons: tuple[Reason, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether anything is to be done with the artifact itself."""
        changes = self.enable or self.add or self.remove or self.deprecate or self.never_deprecated or self.disable
        return bool(changes) or self.protect is not None

    @property
    def actions(self) -> Iterator[Action]:
        """What is to be done, in words of a plan."""
        if self.disable:
            yield "disable"
        if self.enable:
            yield "enable"
        if self.add or self.remove:
            yield "share"
        if self.deprecate is not None or self.never_deprecated:
            yield "deprecate"
        if self.protect is not None:
            yield "protect"
        if not self.acts and self.after != self.artifact.cared_for:
            yield "record"


@dataclass(frozen=True)
class Decision:
    """A planned image with all that is needed to act on it."""

    planned: PlannedImage
    image: Image | None
    """None for an image that is invalid or no longer declared."""
    lock: Lockfile
    wanted: Wanted | None
    adopt: tuple[Seen, ...] = ()
    """The artifacts of the build to adopt, at most one per location."""
    take_up: Build | None = None
    """What an earlier attempt built as it is wanted, and could not mark as complete: to be marked, and adopted."""
    missing_locations: tuple[str, ...] = ()
    copy_from: Seen | None = None
    """What the missing locations are copied from, when no build or adoption is due."""
    convert: tuple[Seen, ...] = ()
    """Artifacts that are not in every declared format."""
    retag: tuple[Seen, ...] = ()
    retire: tuple[Artifact, ...] = ()
    restate: tuple[Restated, ...] = ()
    """Artifacts of any build of the image, whose phase or channel is to be tagged anew."""
    verdicts: tuple[tuple[str, Verdict], ...] = ()
    """Verdicts that the registry shows and state/ does not have yet, by build id."""
    ruling: Ruling | None = None
    """What is to be recorded of holds and revocations, which comes right after the verdicts."""
    settled: Lockfile | None = None
    """The lockfile once these are recorded, where there are some: what is to be done is decided by it."""
    own: PlannedImage | None = None
    """What is to be done about the image itself, without what is settled first: verdicts, tags, what nobody needs."""
    tend: tuple[Tending, ...] = ()
    """Recorded artifacts of any build of the image, of which something other than their marks is to be set right."""
    asks: tuple[Artifact, ...] = ()
    """Recorded artifacts of which it has to be known who may use them, and is not yet."""
    old_previews: tuple[Seen, ...] = ()
    """What nobody needs any more: artifacts of pull requests, and what attempts left."""
    withdraws_only: bool = False
    """Whether nothing is done but to take away what is revoked: see `plan/stopped`."""

    @property
    def name(self) -> str:
        """The image's name."""
        return self.planned.image

    @property
    def kind(self) -> str:
        """The name of the image's kind, as it is declared, else as it is recorded; empty where nobody knows."""
        if self.image is not None:
            return self.image.kind.name
        return next((one.kind for build in self.lock.builds for one in build.artifacts), "")

    @property
    def acts(self) -> bool:
        """Whether anything would be done."""
        return self.planned.actions != ("none",)


@dataclass(frozen=True)
class Sharing:
    """Who may use artifacts, as far as that had to be asked; each by location and id."""

    grants: Mapping[tuple[str, str], Grants] = field(default_factory=dict)
    unread: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Why it is not known."""
    obstacles: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Why others can't use one, whoever is allowed to."""
    lacking: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """What those who are to be allowed to use one lack beside that."""


NOTHING_ASKED = Sharing()


# All that is known of one image when it is decided what to do about it.


@dataclass(frozen=True)
class Situation:
    """One declared image, what is recorded of it, and what the registry shows."""

    image: Image
    lock: Lockfile
    now: datetime
    fleet: str
    head: str
    options: PlanOptions = field(default_factory=PlanOptions)
    seen: tuple[Seen, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    pin: Pin | None = None
    pin_missing: str | None = None
    """Why there is no pin although the image has a source."""
    withdrawn: str | None = None
    """Why nothing can be built on the pin: its source is gone, or not shared any more."""
    sources: Mapping[str, Pin | None] = field(default_factory=dict)
    """What an artifact's tag alone calls its source, by id: the pin, where that is confirmed; None where it is not."""
    parent_pending: bool = False
    awaited_parents: tuple[str, ...] = ()
    """Keys of the parent's builds that the image will be built on once a verdict says so."""
    fleet_is_declared: bool = False
    """Whether a person gave the fleet its name; else it is the remote's."""
    renamed_from: str | None = None
    grace_seconds: int = 120
    live_branches: frozenset[str] | None = None
    """Branches that the remote has; None where that was not asked."""
    strangers: frozenset[tuple[str, str]] = frozenset()
    """Location and id of what nothing but its tags calls ours: it is not retired."""
    doubts: tuple[str, ...] = ()
    """Why what is recorded may be somebody else's: then nothing is done about it."""
    publications: Publications | None = None
    """What stands where channels are written out; None where that was not looked at."""
    causes: Mapping[str, Cause] = field(default_factory=dict)
    """Why a build of the image is revoked, by its id: by its own declaration, or for what it was built on."""
    sharing: Sharing = NOTHING_ASKED
    day: datetime | None = None
    """The moment by which it is judged whether a pause has ended; None: `now`, as no registry was asked."""
    packer: str | None = None
    """The version of the Packer that is here, where a failure asks for it; None where none is, or nobody asked."""

    @property
    def last(self) -> Build | None:
        """The newest recorded build: what the image is compared with."""
        return self.lock.builds[0] if self.lock.builds else None

    @property
    def forced(self) -> bool:
        """Whether a person asked for a new build."""
        return self.image.name in self.options.force


def recorded_at(build: Build, artifact: Artifact) -> datetime | None:
    """When an artifact of a build was recorded; where that is not known, when its build ended."""
    recorded = artifact.recorded or build.recorded
    return parse_instant(recorded) if recorded is not None else finished_at(build)


def finished_at(build: Build | None) -> datetime | None:
    """When a build ended, as far as it is recorded: its id tells at least when it began. None without a build."""
    if build is None:
        return None
    if build.started is None:
        return began_at(build.id)
    return parse_instant(build.started) + timedelta(seconds=build.seconds or 0)
