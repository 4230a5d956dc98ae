"""What the controller asks of a registry, whatever stands behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from reconciler.model.care import Grants
from reconciler.model.collection import Abandoned, Unmanaged
from reconciler.model.declaration import Settings
from reconciler.model.lockfile import Artifact, Conversion
from reconciler.model.observation import Observation, Seen
from reconciler.model.restoration import Binned
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.usage import Usage, Use
from reconciler.ports.dialect import Made


class Located(Protocol):
    """An artifact as recorded (`Artifact`) or as reported (`Seen`): enough to find it again."""

    @property
    def location(self) -> str:
        """Where it is."""

    @property
    def id(self) -> str:
        """Its id there."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What it is stored in, and is retired with it."""


@dataclass(frozen=True)
class Opening:
    """What a registry is opened with: the fleet's name, its settings, and how long its waits may be.

    `cancelled` ends them, with Transient, once it is set. `shared` gives what several of a run's adapters ask
    through, made when it is first asked for. `recorded` are the locations in which state/ records something of it.
    """

    fleet: str
    settings: Settings
    cancelled: threading.Event | None = None
    shared: Callable[[], object] | None = None
    recorded: Collection[str] = ()


@dataclass(frozen=True)
class Remains:
    """What is left of an artifact that was to be retired: mostly nothing."""

    parts: tuple[str, ...] = ()
    """What it was stored in and stays: something else uses it, or it does not carry the artifact's tags."""
    stays: str = ""
    """Why it is there itself, and nobody has to retire it any more: a sentence without a full stop; else empty."""


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

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """Whether two locations are one place under two names; with an id, also whether what both have is one thing.

        False for what is not there under one of the names. Both are of one kind. Without an id nothing is written to
        find it out; with one, the marks of what is there may be for a moment, and are what they were again.
        """

    def expect(self, locations: Sequence[str]) -> None:
        """Begin to read locations that will probably be observed next, if that can be done while others work."""

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one artifact, whoever owns it; None when the registry says that there is none.

        Args:
            location: Where it is.
            artifact_id: Its id there.
            patience: Seconds for which "there is none" is not believed. A registry answers so for a moment after
                an artifact was made.
        """

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """Report the account's own artifacts of exactly this name, whatever tags they carry, in order of id."""

    def store(
        self, location: str, made: Sequence[Made], *, name: str, tags: Mapping[str, str]
    ) -> Sequence[Artifact]:  # fmt: skip
        """Keep what a build left on this machine, and return what it is there; nothing where Packer itself does so.

        What is there under its own content is not written again. Raises Transient, and leaves nothing half, where it
        can't be kept now.

        Args:
            location: Where it is to be.
            made: What Packer reported, with absolute paths.
            name: What it is called there.
            tags: What it carries from its first moment.
        """

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set tags on an artifact and its parts, in one call. Tags not named stay. Idempotent.

        What was made moments ago may not be known yet: "there is none" is believed only after a while.
        """

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        """Set the same tags on many artifacts of one location and their parts, in as few calls as there may be."""

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Begin to copy an artifact to another location and return the copy's id; it is not yet available.

        It has the source's description, its tags but ours (on parts those that all of them have), and the given
        ones, from birth. Idempotent by `token`: asked again with the same arguments for a source that is the same, the
        id of the first copy is returned. Tags must therefore not differ from one try to the next.

        Args:
            source: What is copied.
            to: The location it is copied to.
            name: The copy's name, unique there.
            tags: The copy's tags.
            token: Any text that is the same whenever this very copy is meant.
        """

    def convert(
        self, artifact: Located, *, form: str, name: str, tags: Mapping[str, str], known: Sequence[tuple[str, str]]
    ) -> Conversion:  # fmt: skip
        """Have an artifact in another format beside it, whole, and return what it is there.

        Idempotent: what is there already is taken where it is `known`, or holds the same as the artifact by its bytes;
        the marks of what an earlier run made are not enough. What is known elsewhere is copied.

        Raises Transient, and leaves nothing half, where it can't be kept now; Terminal where the artifact is not whole,
        and of a kind that has no such thing; UserError where the program that converts is not here.

        Args:
            artifact: What is converted, as its build left it.
            form: The format, one of the builder's (`Builder.formats`).
            name: What the conversion is called there.
            tags: What it carries from its first moment.
            known: Location and id of each that is recorded, or was made by this run, in this format.
        """

    def complete_copy(self, made: Located, *, of: Located) -> None:
        """Give an available copy what its source has and no copy is born with: who may launch it, its deprecation.

        Idempotent. What somebody gave to the copy stays.
        """

    def wait_available(self, location: str, artifact_id: str, *, timeout: float) -> Seen:
        """Wait until an artifact is available and report it.

        Raises Terminal with the registry's own reason when it failed, Transient after `timeout` seconds.
        """

    def grants(self, artifact: Located) -> Grants:
        """Who may use an artifact beside its owner: one call. Nobody, of a kind that has no such thing."""

    def obstacles(self, location: str, artifacts: Sequence[Located], *, everybody: bool = False) -> Mapping[str, str]:
        """Why others could not use artifacts of one location, by id, whoever is allowed to; as far as that is known.

        A clause without a full stop. Never raises for what can't be read: that is no obstacle. `everybody` is to be
        allowed, too.
        """

    def lacking(self, location: str, artifacts: Sequence[Located], *, to: Grants) -> Mapping[str, Sequence[str]]:
        """What those lack who are to be allowed to use artifacts of one location, by id: it is theirs, or its owner's.

        Clauses without a full stop. Never raises: that something could not be read is told as well.
        """

    def share(self, artifact: Located, *, add: Grants, remove: Grants) -> None:
        """Allow some to use an artifact, and others no more. Idempotent. Others' grants stay as they are.

        Raises Terminal where the kind knows no such thing, as do the four below.
        """

    def deprecate(self, artifact: Located, at: datetime | None) -> None:
        """Have an artifact count as deprecated from a time on, in whole minutes, or never. Idempotent.

        Raises Terminal for a time that is past, or too far away.
        """

    def protect(self, artifact: Located, *, on: bool) -> None:
        """Protect an artifact from being removed, or no more. Idempotent.

        What somebody protected with a cooldown stays protected for a day after.
        """

    def disable(self, artifact: Located) -> None:
        """Keep an artifact from being used by anybody. It loses all grants. Idempotent."""

    def enable(self, artifact: Located) -> None:
        """Let an artifact be used again, by its owner. Idempotent."""

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """Delete an artifact and its parts, and tell what stays. Idempotent: what is gone already is no error.

        Where its registry deletes nothing, whoever asks, that is what is told, and what it is seen with (`Seen.stays`).

        Raises Terminal, and deletes nothing, when the artifact carries another fleet's or another image's tags, or
        none; and when it is protected, with what its registry says of that.
        """

    def reconsider(self, artifacts: Sequence[Located]) -> bool:
        """Have artifacts of one location, which stay as it deleted nothing, count as any other where it deletes by now.

        Returns whether it does. Deletes nothing to find that out.
        """

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        """Resolve an upstream source to the one thing that it means now.

        Args:
            request: What its kind asks for. A parent image is not the registry's to resolve: ValueError.
            location: Where Packer builds.
            architecture: Taken for a filter that names none.

        Raises UserError when nothing matches, or when what is named is nothing to build on.
        """

    def given(self, location: str, source: str) -> str:
        """What a template that builds in a location is given of a source, where its builders know it by another name.

        What it is known by here is returned as it is where they take that.

        Args:
            location: Where Packer builds.
            source: What its kind gives of the pin (`Kind.given_of`).

        Raises UserError when it is not there any more, or is not what it was when it was pinned.
        """

    def usage(self, location: str, ids: Sequence[str]) -> Usage:
        """What uses artifacts in a location, as far as its account tells; nothing where nobody tells.

        Never raises for what can't be read: that stands in `unread`.
        """

    def usage_elsewhere(self, location: str, ids: Sequence[str], *, asks: bool) -> Mapping[str, tuple[Use, ...] | str]:
        """What uses artifacts in other accounts, by id, as far as the registry reports it; a text: why it is not known.

        Nothing is told of what a registry makes no reports of. Never raises for what can't be read. For artifacts that
        others may use: a registry that makes reports when it is asked is asked for those that there are none of only
        where it `asks`, and they are there for a later run.
        """

    def abandoned(self, location: str, *, before: datetime) -> Sequence[Abandoned]:
        """List what builds of the fleet made to work with before a time, and left as they were killed.

        In the order in which it can be removed. Nothing that a younger build may use is among it. Kinds whose builders
        leave nothing behind in a location tell nothing.
        """

    def remove_abandoned(self, found: Sequence[Abandoned]) -> Iterator[Abandoned]:
        """Remove what `abandoned` told of one location, and tell each that is removed.

        Raises Transient where something is held for too long: it, and what is behind it, stays for a later run.
        """

    def unmanaged(self, location: str) -> Sequence[Unmanaged] | None:
        """What the account has in a location without any fleet's marks, in order of id; None where that is not known.

        And what was made for artifacts that are gone.
        """

    def restorable(self, location: str) -> int | None:
        """For how many days what is retired in a location can be restored; 0 where it can't, None where nobody tells.

        Never raises.
        """

    def binned(self, location: str) -> Sequence[Binned]:
        """What was retired in a location, whoever's it was, and can be restored, in order of id.

        Nothing, of a kind that keeps nothing of it.
        """

    def restore(self, artifact: Located) -> None:
        """Bring back an artifact that was retired, its parts first. Idempotent: what is there already is no error.

        It comes back with its marks; who may use it is not certain. Raises Terminal where nothing keeps it any more.
        """

    def server_time(self, location: str) -> datetime | None:
        """What time the registry has, UTC; None where it does not tell."""
