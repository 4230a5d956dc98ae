"""What the world is told of a build: the body of every webhook, message and event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from pydantic import Field

from reconciler.model.collection import Step
from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.lockfile import AnnouncedEvent, Artifact, Build, CiRun, Failure, Gone, Leaving, Verdict
from reconciler.model.publish import Published
from reconciler.model.source import Pin
from reconciler.model.text import one_line
from reconciler.model.values import BuildId, Digest, Instant, Model, canonical_json, digest, is_empty

SCHEMA: Literal[1] = 1
LONGEST_REASON = 1000
"""Of what failed, in characters: the rest is in the record, and receivers take little."""
_SAID = {"failed": "has failed", "released": "is held no more", "unrevoked": "is revoked no more"}


def as_said(event: str) -> str:
    """An event after the build that it is of: `is stable`, `has failed`."""
    return _SAID.get(event, f"is {event}")


def turn_of(event: AnnouncedEvent, build: Build, left: Leaving | None = None) -> Instant | None:
    """What tells an event of a build from the same one before, as a time; None where it happens but once.

    A hold, or its end, brings `stable` back to a build, and a revocation, or its end, `candidate` as well; one may be
    held, or revoked, more than once, and go away again after it was brought back. `left` is how far it has gone, where
    it goes away.
    """
    turns: dict[AnnouncedEvent, Instant | None] = {
        "candidate": build.recalled, "stable": build.returned, "held": build.held, "released": build.released,
        "unrevoked": build.unrevoked,
        "revoked": build.revoked.at if build.revoked is not None else None,
        "deprecated": left.deprecated if left is not None else None,
        "disabled": left.disabled if left is not None else None,
        "removed": left.removed if isinstance(left, Gone) else None,
    }  # fmt: skip
    return turns.get(event)


class HoldAnnounced(Model):
    """The hold that binds `stable` to a build, as it is declared."""

    until: date | None = Field(description="The first day on which it holds no more, UTC; null: it has none.")
    declared: str = Field(description="Where: `desired/web/image.yaml:12:1`.")


class StepAnnounced(Model):
    """The step that comes next of a build that goes away, as far as it is known now."""

    step: Step = Field(description="`disable`, or `retire`: its artifacts are removed, which ends it.")
    due: Instant = Field(description="From when it may be taken.")
    undo: Instant = Field(description="Until when at least a hold brings the build back whole.")


class Announcement(Model):
    """A build became the candidate, or stable, or was rejected; or an attempt at one failed, or its rollout.

    Or it was held, revoked, deprecated, disabled or removed, or is held or revoked no more.

    Every key is always there, but for `hold` and `next`; what is not known is null.

    An announcement may arrive more than once: it is repeated until the receiver has taken it. `id` tells.
    """

    schema_version: Literal[1] = Field(alias="schema")
    id: Digest = Field(
        description="The same whenever this event of this build is told. Receivers take it once. A channel that comes "
        "back to a build is another event."
    )
    event: AnnouncedEvent
    fleet: str = Field(description="Whose image it is: the fleet's name, as on the artifacts' tags.")
    image: str = Field(pattern=IMAGE_NAME_PATTERN)
    build: BuildId
    key: Digest
    commit: str = Field(description="The commit that was built; of a failed attempt, where the branch was.")
    branch: str = Field(description="The branch that state is recorded on.")
    repository: str | None = Field(description="owner/name of the repository that holds the lockfile.")
    lockfile: str = Field(description="The lockfile's path in that repository.")
    artifacts: tuple[Artifact, ...] = Field(description="Of a failed attempt: what it left.")
    source: Pin | None = Field(description="What it was built on.")
    previous: str | None = Field(
        description="The newest of those made before this one that is, or was, stable; of a failed attempt, the "
        "stable one, which stays."
    )
    verdict: Verdict | None
    reason: str | None = Field(
        description="Why it is revoked or held, in the words of who did that; why it is held no more, or goes away; "
        "and of what failed, what and why."
    )
    ci: CiRun | None = Field(description="The CI job that built it; of a failed attempt, that told it.")
    hold: HoldAnnounced | None = Field(None, description="With `held` alone.", exclude_if=is_empty)
    next: StepAnnounced | None = Field(
        None, description="With `deprecated` and `disabled` alone: what comes after it.", exclude_if=is_empty
    )

    def plain(self) -> dict[str, Any]:
        """It as JSON has it, all keys included."""
        return self.model_dump(mode="json", by_alias=True)

    def body(self) -> bytes:
        """Its canonical JSON in UTF-8: the same announcement has the same bytes."""
        return canonical_json(self.plain())


@dataclass(frozen=True)
class RecordedImage:
    """Of what image an announcement is, and where that is recorded.

    `repository` is the owner/name of the remote, or None without one; `lockfile` is a path from the repository's root.
    """

    fleet: str
    name: str
    branch: str
    repository: str | None
    lockfile: str


@dataclass(frozen=True)
class Circumstances:
    """What is told of an event beside the build itself."""

    left: Leaving | None = None
    """How far the build has gone, where it goes away."""
    reason: str | None = None
    hold: HoldAnnounced | None = None
    next: StepAnnounced | None = None


def announcement(
    event: AnnouncedEvent,
    build: Build,
    *,
    of: RecordedImage,
    previous: str | None,
    about: Circumstances = Circumstances(),
) -> Announcement:
    """What is to be told of a build.

    Args:
        event: What became of it.
        build: The build as recorded.
        of: The image that it is a build of.
        previous: The id of the build before it that stands, or None.
        about: What is told beside that.
    """
    turn = turn_of(event, build, about.left)
    return Announcement(
        schema_version=SCHEMA,
        id=digest({"image": of.name, "build": build.id, "event": event} | ({"turn": turn} if turn is not None else {})),
        event=event,
        fleet=of.fleet,
        image=of.name,
        build=build.id,
        key=build.key,
        commit=build.commit,
        branch=of.branch,
        repository=of.repository,
        lockfile=of.lockfile,
        artifacts=build.artifacts,
        source=build.source,
        previous=previous,
        verdict=build.verdict,
        reason=build.revoked.why if event == "revoked" and build.revoked is not None else about.reason,
        ci=build.ci,
        hold=about.hold,
        next=about.next,
    )


def failure_announcement(
    failure: Failure, *, of: RecordedImage, head: str, stable: str | None, ci: CiRun | None
) -> Announcement:
    """The announcement of an attempt that failed, at the head, by a CI job. `stable` is the build that stays."""
    return Announcement(
        schema_version=SCHEMA,
        id=digest({"image": of.name, "build": failure.build, "event": "failed"}),
        event="failed",
        fleet=of.fleet,
        image=of.name,
        build=failure.build,
        key=failure.key,
        commit=head,
        branch=of.branch,
        repository=of.repository,
        lockfile=of.lockfile,
        artifacts=failure.artifacts,
        source=failure.made.source if failure.made is not None else None,
        previous=stable,
        verdict=None,
        reason=one_line(failure.what)[:LONGEST_REASON],
        ci=ci,
    )


def rollout_announcement(at: Published, build: Build, *, of: RecordedImage, previous: str | None) -> Announcement:
    """The announcement that a refresh failed which was to bring a build to a group, as it is recorded.

    The build itself is as it was, and so is what is told of it.
    """
    told = announcement("failed", build, of=of, previous=previous)
    why = f": {one_line(at.why)}" if at.why else ""
    reason = f"{at.location} {at.name}: refresh {at.refresh} failed{why}"[:LONGEST_REASON]
    event = {"image": of.name, "build": build.id, "event": "failed", "location": at.location, "refresh": at.refresh}
    return told.model_copy(update={"id": digest(event), "reason": reason})
