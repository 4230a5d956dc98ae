"""`state/<image>.lock.json`: what was resolved, built, tested and promoted."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from reconciler.model.care import Care
from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.publish import Published
from reconciler.model.smoke_test import HygieneFinding, SmokeTestResult
from reconciler.model.source import Pin, PinnedSource
from reconciler.model.values import (
    LAST_YEAR,
    SHARED,
    BuildId,
    Digest,
    Instant,
    Model,
    began_at,
    is_empty,
    parse_instant,
)

SCHEMA: Literal[1] = 1
SCHEMA_URL = "../docs/schema/lockfile-1.json"

Phase = Literal["preliminary", "candidate", "stable", "superseded", "rejected", "revoked"]
ReasonCode = Literal[
    "new", "inputs-changed", "source-changed", "parent-rebuilt", "expired", "tooling-changed", "preview-merged",
    "artifact-missing", "region-missing", "region-extra", "format-missing", "format-extra", "tags-changed",
    "sharing-changed", "deprecation-changed", "protection-changed", "availability-changed", "verdict-pending-record",
    "channel-moved", "publication-changed", "revoked", "removed", "renamed", "forced",
]  # fmt: skip
AnnouncedEvent = Literal[
    "candidate", "stable", "rejected", "revoked", "failed", "held", "released", "unrevoked", "deprecated", "disabled",
    "removed",
]  # fmt: skip
"""What the world is told of a build (docs/announcements.md)."""


class Reason(Model):
    """Why an image differs from what is wanted: what was, and what is now."""

    code: ReasonCode
    was: str | None = None
    now: str | None = None
    files: tuple[str, ...] | None = Field(None, description="Changed input files, relative to the repository's root.")


class Conversion(Model):
    """An artifact in another format, kept beside it under an id of its own. `size` is in bytes."""

    format: str
    id: str
    size: int = Field(ge=0)


class Artifact(Model):
    """What a build left in a registry."""

    kind: str
    builder: str
    location: str
    id: str
    name: str | None = None
    parts: tuple[str, ...] = Field((), alias="snapshots", description="What it is stored in, and retired with.")
    recorded: Instant | None = Field(None, description="When it was recorded, where that was later than its build.")
    care: Care | None = Field(
        None, description="What was done to it beside making and marking it.", exclude_if=is_empty
    )

    format: str | None = Field(
        None,
        exclude_if=is_empty,
        description="What its bytes are, of a kind that has several formats; absent: unknown.",
    )
    size: int | None = Field(None, ge=0, exclude_if=is_empty, description="In bytes, where it is a file.")
    conversions: tuple[Conversion, ...] = Field(
        (), description="The same in other formats, beside it: copied, and retired, with it.", exclude_if=is_empty
    )

    @property
    def cared_for(self) -> Care:
        """What was done to it beside making and marking it; nothing, where nothing is recorded."""
        return self.care or Care()

    def format_of(self, artifact_id: str) -> str | None:
        """The format in which it is kept under an id; None for any other id, its own as well."""
        return next((one.format for one in self.conversions if one.id == artifact_id), None)

    def conversion(self, form: str) -> Conversion | None:
        """Its recorded conversion to another format, or None."""
        return next((one for one in self.conversions if one.format == form), None)


class PackerVersions(Model):
    """What built it."""

    version: str
    plugins: dict[str, str] = Field({})
    digests: dict[str, Digest] = Field({}, description="Of the programs: `packer`, and each plugin by its name.")


class InventoryRecord(Model):
    """What is inside, in short; the SBOM holds the whole. A count is absent where the section could not be read."""

    os: str
    kernel: str
    packages: int | None = None
    services: int | None = None
    ports: int | None = None
    users: int | None = None
    suid: int | None = None
    sbom: str = Field(description="Path of the SBOM, relative to state/.")
    digest: Digest = Field(description="Of the inventory: equal where two images hold the same.")
    unread: dict[str, str] = Field({}, description="Why a section is absent, by its name.")


class Verified(Model):
    """A refresh made the image anew, and it came out the same: this build was current then."""

    at: Instant
    build: BuildId = Field(description="The build that came out the same, and was retired.")
    key: Digest
    source: Pin | None = None


class Verdict(Model):
    """What the validation repository said of a build."""

    status: Literal["passed", "failed"]
    by: str
    evidence: str


class Revoked(Model):
    """That nobody may use a build any more, and what it was before: that comes back with the revocation's end."""

    at: Instant = Field(description="When that was recorded.")
    reason: str
    by: str | None = Field(
        None, description="What it was built on, where that is revoked: `image build-id`.", exclude_if=is_empty
    )
    phase: Phase
    was_stable: bool = Field(False, exclude_if=is_empty)

    @property
    def why(self) -> str:
        """The words of who revoked it, and what it was built on, where it is revoked for that."""
        return f"{self.reason} (built on {self.by})" if self.by is not None else self.reason


class CiRun(Model):
    """The CI job that built it."""

    provider: str
    url: str
    job: str | None = Field(None, description="The job's name in its configuration.")


class TakenAsFound(Model):
    """An artifact that was there before, and that a person took into state/. Nobody here knows what it was made of.

    `key`, `components`, `files` and `commit` of such a build are those that were wanted when it was taken, so that a
    later change of them builds anew; `source` is the pin that a later refresh is measured against.
    """

    at: Instant
    made: Instant | None = Field(None, description="When it was made, by the registry's own word.")


class Build(Model):
    """One result of running Packer, recorded. What could not be known (after an adoption) is absent."""

    id: BuildId
    key: Digest
    components: dict[str, str] = Field(description="Digest of each named component of the key.")
    files: dict[str, str] | None = Field(
        None, description="Each input file, relative to the image's folder, with its mode and blob id."
    )
    commit: str
    reasons: tuple[Reason, ...] = ()
    started: Instant | None = None
    seconds: int | None = Field(None, ge=0, le=1_000_000_000)
    packer: Annotated[PackerVersions | None, SHARED] = None
    source: Annotated[Pin | None, SHARED] = None
    artifacts: tuple[Artifact, ...]
    smoke_test: SmokeTestResult | None = None
    inventory: InventoryRecord | None = None
    verified: Verified | None = Field(None, description="The last refresh that changed nothing, if there was one.")
    provenance: str | None = Field(None, description="Path of the in-toto statement, relative to state/.")
    verdict: Verdict | None = None
    phase: Phase
    was_stable: bool = Field(False, description="Of a superseded build: that `stable` may fall back to it.")
    returned: Instant | None = Field(
        None,
        description="When `stable` last came back to it: by a hold or its end, by a newer one's end, or by adoption.",
        exclude_if=is_empty,
    )
    recalled: Instant | None = Field(
        None,
        description="When `candidate` last came back to it: as newer ones were revoked, or rejected, or it is revoked "
        "no more, or as it was adopted anew.",
        exclude_if=is_empty,
    )
    held: Instant | None = Field(
        None, description="When a hold was recorded that bound `stable` to it: the last one.", exclude_if=is_empty
    )
    released: Instant | None = Field(None, description="When the end of that hold was recorded.", exclude_if=is_empty)
    revoked: Revoked | None = Field(None, description="Of a revoked build: why.", exclude_if=is_empty)
    unrevoked: Instant | None = Field(
        None, description="When the end of its last revocation was recorded.", exclude_if=is_empty
    )
    recorded: Instant | None = Field(None, description="When it was recorded on the branch and became the candidate.")
    ci: CiRun | None = None
    adopted: TakenAsFound | None = Field(
        None, description="It was not built here, but taken as it was (`reconciler adopt`).", exclude_if=is_empty
    )

    @field_validator("id")
    @classmethod
    def _begins_with_a_time(cls, build_id: str) -> str:
        began_at(build_id)
        return build_id

    @model_validator(mode="after")
    def _ends_in_a_year(self) -> Self:
        if self.started is not None and self.seconds:
            ended = parse_instant(self.started) + timedelta(seconds=self.seconds)
            if ended.year > LAST_YEAR:
                raise ValueError(f"it ended in {ended.year}")
        return self

    @property
    def was_watched(self) -> bool:
        """Whether a run of ours saw it being made. Else its key and commit are what its artifacts' tags say."""
        return self.adopted is None and self.packer is not None

    @property
    def is_held(self) -> bool:
        """Whether a hold that bound `stable` to it is recorded, and its end is not."""
        return self.held is not None and self.released is None

    @property
    def stood(self) -> bool:
        """Whether it is stable, was until another took its place, or would be but for a hold.

        What `stable` may fall back to, and goes on to once a hold ends.
        """
        return self.phase == "stable" or (self.phase in ("candidate", "superseded") and self.was_stable)

    def artifact_in(self, location: str) -> Artifact | None:
        """The artifact in a location, or None."""
        return next((artifact for artifact in self.artifacts if artifact.location == location), None)

    def as_pin(self, image: str) -> Pin:
        """This build as the source of a child."""
        return Pin(image=image, build=self.id, key=self.key, artifacts={a.location: a.id for a in self.artifacts})


RULED = frozenset({"was_stable", "returned", "recalled", "held", "released", "revoked", "unrevoked"})
"""What of a build's record is written as channels, holds and revocations come and go, long after it was made."""


class Leaving(Model):
    """A build that goes away in steps, and when each was begun. A hold on it brings it back whole."""

    build: Build = Field(description="As it was last recorded, with all its artifacts.")
    deprecated: Instant = Field(description="When its first step was recorded: it counts as deprecated from then on.")
    disabled: Instant | None = Field(
        None, description="When its second step was recorded: nobody can use it from then on.", exclude_if=is_empty
    )


class Gone(Leaving):
    """A build that went away and was removed, for as long as somebody is to be told of that: nothing of it is there."""

    removed: Instant
    told: tuple[str, ...] = Field((), description="Announcers that were told of it.", exclude_if=is_empty)


class Failure(Model):
    """The last attempt that failed, so that the next run knows how long to leave it alone."""

    build: BuildId
    key: Digest
    inputs: Digest | None = Field(
        None, description="Of all that was built but its source: as long as it is declared, the failure stands."
    )
    declared: Digest | None = Field(
        None, description="Of all that image.yaml declared: once it says something else, the rest is over."
    )
    attempts: int = Field(ge=1)
    at: Instant
    retry_after: Instant
    what: str
    smoke_test: SmokeTestResult | None = Field(None, description="Where it was built, and did not pass.")
    artifacts: tuple[Artifact, ...] = Field(
        (), description="What it left and is still there; what did not pass its smoke test is tagged as rejected."
    )
    told: tuple[str, ...] = Field(
        (), description="Announcers that were told of it: once, however often the same fails.", exclude_if=is_empty
    )
    made: Build | None = Field(
        None, description="What was built as asked for and could not be tagged as complete: the next run takes it up."
    )
    refused_by: tuple[str, ...] = Field(
        (),
        description="Versions of Packer that refused what another may know: one that is not among them has a try.",
        exclude_if=is_empty,
    )


class Undelivered(Model):
    """An announcement that did not reach its receiver yet. It is tried again by every run, for some days."""

    event: AnnouncedEvent
    build: BuildId
    to: str = Field(description="Name of the announcer: github, circleci, webhook, sns or eventbridge.")
    why: str


class Channels(Model):
    """Named pointers to a build id."""

    candidate: str | None = None
    stable: str | None = None


class Lockfile(Model):
    """All that is recorded of one image. Builds stand newest first."""

    schema_url: str = Field(SCHEMA_URL, alias="$schema")
    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    image: str = Field(pattern=IMAGE_NAME_PATTERN)
    source: Annotated[PinnedSource | None, SHARED] = None
    builds: tuple[Build, ...] = ()
    channels: Channels = Channels()
    failure: Failure | None = None
    undelivered: tuple[Undelivered, ...] = ()
    published: tuple[Published, ...] = Field(
        (), description="Where the channels are written out: each stays here until it is gone.", exclude_if=is_empty
    )
    leaving: tuple[Leaving, ...] = Field(
        (), description="Builds that go away, newest first. `builds` does not hold them.", exclude_if=is_empty
    )

    gone: tuple[Gone, ...] = Field(
        (), description="Builds that were removed, until who is told of builds was told of that.", exclude_if=is_empty
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        ids = [build.id for build in self.recorded]
        if len(set(ids)) != len(ids):
            raise ValueError("a build is recorded twice")
        for name in ("candidate", "stable"):
            pointed = getattr(self.channels, name)
            if pointed is not None and self.build(pointed) is None:
                raise ValueError(f"channel {name} points to {pointed}, which is not among the builds")
        return self

    @property
    def recorded(self) -> tuple[Build, ...]:
        """Every build of which artifacts are recorded: those that count, then those that go away."""
        return (*self.builds, *(one.build for one in self.leaving))

    def left(self, build_id: str | None) -> Leaving | None:
        """The build with this id that goes away, or None."""
        return next((one for one in self.leaving if one.build.id == build_id), None)

    def build(self, build_id: str | None) -> Build | None:
        """The recorded build with this id, or None."""
        return next((build for build in self.builds if build.id == build_id), None)

    def channel_of(self, build_id: str) -> str | None:
        """The channel that a build's artifacts say they are in: `stable` where both channels point to it."""
        if build_id == self.channels.stable:
            return "stable"
        return "candidate" if build_id == self.channels.candidate else None

    @property
    def kept(self) -> Build | None:
        """The build that is to be there in every location: the newest, or what the channels fell back to from it."""
        newest = self.builds[0] if self.builds else None
        return self.current if newest is not None and newest.phase in ("rejected", "revoked") else newest

    @property
    def findings(self) -> tuple[HygieneFinding, ...]:
        """What the smoke test of the current build found, and let pass."""
        tested = self.current.smoke_test if self.current is not None else None
        return tested.findings if tested is not None else ()

    @property
    def current(self) -> Build | None:
        """The build that counts as the image today: the candidate, else stable."""
        return self.build(self.channels.candidate) or self.build(self.channels.stable)
