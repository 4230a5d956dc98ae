"""What the controller asks of a registry, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from reconciler.model.observation import Observation, Seen
from reconciler.model.source import Pin, SourceRequest


class Located(Protocol):
    """An artifact as recorded (`Artifact`) or as reported (`Seen`): enough to find it again."""

    @property
    def location(self) -> str:
        """Its region."""

    @property
    def id(self) -> str:
        """Its id there."""

    @property
    def snapshots(self) -> tuple[str, ...]:
        """What it is stored in, and is retired with it."""


class Registry(Protocol):
    """A place that holds one fleet's artifacts. Methods may be called from several threads.

    Unless a method says otherwise it raises Transient when the registry could not be asked (throttled,
    unreachable) and Terminal when it refused (no right, bad credentials). Neither ever means "not there".
    """

    def observe(self, locations: Sequence[str]) -> Observation:
        """Report the fleet's artifacts in these locations, in order of location as given, then id.

        Never raises for a failed read: a location that could not be read stands in `unreadable` with a one-line
        reason, and a cause that a person can fix and that all locations share stands in `refused` as well.
        """

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one artifact, whoever owns it; None when the registry says that there is none.

        Args:
            location: Its region.
            artifact_id: Its id there.
            patience: Seconds for which "there is none" is not believed. A registry answers so for a moment after
                an artifact was made.
        """

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """Report the account's own artifacts of exactly this name, whatever tags they carry, in order of id."""

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set tags on an artifact and its snapshots, in one call. Tags not named stay. Idempotent.

        What was made moments ago may not be known yet: "there is none" is believed only after a while.
        """

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        """Set the same tags on many artifacts of one location and their snapshots, in as few calls as there may be."""

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Begin to copy an artifact to another location and return the copy's id; it is not yet available.

        It has the source's description, its tags but ours (on snapshots those that all of them have), and the given
        ones, from birth. Idempotent by `token`: asked again with the same arguments for a source that is the same, the
        id of the first copy is returned. Tags must therefore not differ from one try to the next.

        Args:
            source: What is copied.
            to: The region it is copied to.
            name: The copy's name, unique in that region.
            tags: The copy's tags.
            token: Any text that is the same whenever this very copy is meant.
        """

    def complete_copy(self, made: Located, *, of: Located) -> None:
        """Give an available copy what its source has and no copy is born with: who may launch it, its deprecation.

        Idempotent. What somebody gave to the copy stays.
        """

    def wait_available(self, location: str, artifact_id: str, *, timeout: float) -> Seen:
        """Wait until an artifact is available and report it.

        Raises Terminal with the registry's own reason when it failed, Transient after `timeout` seconds.
        """

    def retire(self, artifact: Located, *, image: str) -> tuple[str, ...]:
        """Delete an artifact and its snapshots. Idempotent: what is gone already is no error.

        Returns the snapshots that stay: something else uses them, or they don't carry its tags. Raises Terminal, and
        deletes nothing, when the artifact carries another fleet's or another image's tags, or none.
        """

    def resolve(self, request: SourceRequest, *, region: str, architecture: str | None = None) -> Pin:
        """Resolve an upstream source to the one AMI that it means in a region now.

        Args:
            request: An AMI or an SSM parameter. A parent image is not the registry's to resolve: ValueError.
            region: Where Packer builds.
            architecture: Taken for a filter that names none.

        Raises UserError when nothing matches, or when the parameter holds no AMI id.
        """

    def server_time(self, location: str) -> datetime | None:
        """What time the registry has, UTC; None where it does not tell."""
