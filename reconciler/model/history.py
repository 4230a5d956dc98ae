"""The story of an image's builds, as git tells it. Its JSON is an interface (docs/formats.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.model.lockfile import Artifact, Phase, Reason, TakenAsFound, Verdict, Verified
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.values import BuildId, Digest, Instant, Model, is_empty

SCHEMA: Literal[1] = 1


class Span(Model):
    """A time that a channel pointed to a build: from a commit on, until another one."""

    since: Instant
    since_commit: str
    until: Instant | None = Field(description="Null: it does so still.")
    until_commit: str | None
    then: str | None = Field(
        description="The build that the channel pointed to after that; null: none, or it still is."
    )


class PastBuild(Model):
    """A build that was recorded, also one that is not in the lockfile any more."""

    id: BuildId
    key: Digest
    image: str = Field(description="The image's name at the time.")
    commit: str = Field(description="The commit that was built.")
    pull_request: int | None = Field(description="That brought the commit, where a commit's subject says so.")
    reasons: tuple[Reason, ...]
    recorded: Instant = Field(description="When it came into the lockfile.")
    recorded_in: str | None = Field(description="The commit that did it; null where a cut-off history lacks it.")
    cut_off: bool = Field(
        False, description="It is older than this clone's history: what became of it before that is not known."
    )
    candidate: tuple[Span, ...]
    stable: tuple[Span, ...]
    stable_seconds: int = Field(description="How long it was stable in all, until it was last seen so.", ge=0)
    phase: Phase = Field(description="As it was last recorded.")
    verdict: Verdict | None
    smoke_test: SmokeTestResult | None
    verified: tuple[Verified, ...] = Field(description="Refreshes that changed nothing, oldest first.")
    artifacts: tuple[Artifact, ...] = Field(description="As they were last recorded.")
    kept: bool = Field(description="Whether it is in the lockfile still.")
    adopted: TakenAsFound | None = Field(
        None, description="It was not built here, but taken as it was.", exclude_if=is_empty
    )


class PastFailure(Model):
    """An attempt that failed."""

    build: BuildId
    at: Instant
    attempts: int
    what: str
    commit: str | None = Field(None, description="The commit that was to be built, where its tag is in this clone.")
    pull_request: int | None = Field(None, description="That brought the commit, where a commit's subject says so.")
    recorded_in: str | None = Field(description="The commit that recorded it; null where a cut-off history lacks it.")


Turned = Literal[
    "held", "released", "revoked", "unrevoked", "retired", "deprecated", "disabled", "removed", "brought-back"
]  # fmt: skip


class Turn(Model):
    """What was ruled of a build, or done with it on its way out, beside what channels pointed to."""

    at: Instant
    commit: str = Field(
        description="The commit that brought it: of a hold that of image.yaml; else, and where its day came, of state/."
    )
    by: str = Field(description="The commit's author.")
    build: str
    what: Turned = Field(
        description="`held` and `released`: stable was bound to it, and no more. `retired`: what it left, or a part of "
        "that, as it is declared no more. The last four are of `gc`: its steps, and that a hold or `restore` brought "
        "it back."
    )  # fmt: skip
    why: str | None = Field(None, description="In the words of who ruled it; null where nobody said why.")


class History(Model):
    """Every build and failure of an image, newest first."""

    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    image: str
    names: tuple[str, ...] = Field(description="What it was called, the newest name first.")
    complete: bool = Field(description="False in a clone whose history is cut off.")
    builds: tuple[PastBuild, ...]
    failures: tuple[PastFailure, ...]
    turns: tuple[Turn, ...] = Field((), description="Holds, revocations and the steps of `gc`, newest first.")
    unreadable: dict[str, str] = Field(description="Commits whose lockfile can't be read, and why.")
