"""What is found of one artifact, build or channel. The JSON of `artifact`, `which` and `show` is an interface."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.model.history import Span
from reconciler.model.lockfile import Artifact, Build, Phase
from reconciler.model.source import Channel
from reconciler.model.values import BuildId, Digest, Instant, Model


class ChannelAnswer(Model):
    """The answer of `reconciler artifact`: what a channel of an image points to."""

    format_version: Literal["1.0"] = "1.0"
    image: str
    channel: Channel
    build: BuildId
    key: Digest
    commit: str = Field(description="The commit that was built.")
    artifacts: tuple[Artifact, ...] = Field(description="One in each location; of one location, where that was named.")


class Departure(Model):
    """How far a build has gone that `gc` takes away, and until when a hold brings it back whole."""

    deprecated: Instant = Field(description="Since when it counts as deprecated.")
    disabled: Instant | None = Field(None, description="Since when nobody can use it; null: not yet.")
    undo: Instant | None = Field(
        None, description="Before when it is not removed, by the waits that are declared now; null: they are not known."
    )


class Holder(Model):
    """A build that left an artifact."""

    image: str = Field(description="What the image is called now.")
    build: BuildId
    standing: Literal["recorded", "superseded", "preview", "unchanged", "failed"] = Field(
        description="`recorded`: it counts today. `superseded`: a newer one took its place. `preview`: of a pull "
        "request, in no lockfile. `unchanged`: a refresh that brought nothing, and was retired. `failed`: an attempt."
    )
    channels: tuple[Channel, ...] = Field((), description="Which of them point to it.")
    phase: Phase | None = Field(None, description="As it was last recorded; null where it never was.")
    kept: bool = Field(description="Whether a lockfile holds it still; else only git's history, or a tag.")
    dropped_in: str | None = Field(None, description="The commit that took it out of the lockfile.")
    removed: Instant | None = Field(None, description="When all that it left was removed; null: no commit says so.")
    commit: str | None = Field(None, description="The commit that was built; null where nothing says so.")
    pull_request: int | None = Field(None, description="That brought the commit, where a commit's subject says so.")
    key: Digest | None = None
    finished: Instant | None = Field(None, description="When it was built, as far as it is recorded.")
    source: str | None = Field(None, description="What it was built on, for people.")
    smoke_test: str | None = Field(None, description="`passed`, `failed` or `skipped`; null where none is recorded.")
    verdict: str | None = Field(None, description="`passed` or `failed`; null where there is none.")
    branch: str | None = Field(None, description="Of a preview: a branch that has its commit.")
    why: str | None = Field(None, description="Why it is revoked, or what went wrong with an attempt that failed.")
    leaving: Departure | None = Field(None, description="Of a build that goes away: how far it has gone.")
    as_part: bool = Field(False, description="Whether the id is that of a part of an artifact.")
    as_format: str | None = Field(None, description="Of what an artifact was converted to: its format.")
    artifacts: tuple[Artifact, ...] = Field(description="Those that have this id, one for each location.")


class Whereabouts(Model):
    """The answer of `reconciler which`: every build that left an artifact of this id, what counts most first."""

    format_version: Literal["1.0"] = "1.0"
    id: str = Field(description="What was asked for: an artifact's id, or a name of one.")
    is_name: bool = Field(False, description="Whether that is no id, but a name under which consumers find one.")
    published: Channel | None = Field(None, description="Of a name: the channel that is published under it.")
    found: tuple[Holder, ...] = Field(min_length=1)


class Child(Model):
    """A build that was made on another one."""

    image: str
    build: BuildId
    channels: tuple[Channel, ...] = ()
    phase: Phase


class BuildAnswer(Model):
    """The answer of `reconciler show`: one build, and what became of it."""

    format_version: Literal["1.0"] = "1.0"
    image: str = Field(description="What the image is called now.")
    names: tuple[str, ...] = Field(description="What it was called, the newest name first.")
    channels: tuple[Channel, ...] = Field(description="Which of them point to it.")
    kept: bool = Field(description="Whether a lockfile holds it still; else it stands here as it was last.")
    build: Build = Field(description="As in the lockfile.")
    pull_request: int | None = Field(None, description="That brought the commit, where a commit's subject says so.")
    recorded_in: str | None = Field(None, description="The commit that recorded it; null where history is cut off.")
    dropped_in: str | None = Field(None, description="The commit that took it out of the lockfile.")
    removed: Instant | None = Field(None, description="When all that it left was removed; null: no commit says so.")
    candidate: tuple[Span, ...] = ()
    stable: tuple[Span, ...] = ()
    children: tuple[Child, ...] = Field((), description="What lockfiles hold today that was built on it.")
    branch: str | None = Field(None, description="Of a pull request's preview: a branch that has its commit.")
    leaving: Departure | None = Field(None, description="Of a build that goes away: how far it has gone.")
    preview: bool = Field(False, description="Whether it is a pull request's, which no lockfile holds.")
