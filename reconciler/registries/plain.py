"""What a dialect says and a registry does where their kind has nothing of its own to say or to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from reconciler.model.care import Grants
from reconciler.model.collection import Abandoned, Unmanaged
from reconciler.model.declaration import Settings
from reconciler.model.errors import NoCredentials, ReconcilerError, Terminal
from reconciler.model.lockfile import Artifact, Conversion
from reconciler.model.observation import Group, Observation, Seen, Template
from reconciler.model.publish import AutoScalingGroup
from reconciler.model.restoration import Binned
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.usage import Usage, Use
from reconciler.ports.dialect import Made, Written
from reconciler.ports.registry import Located


class PlainDialect:
    """The part of a `Dialect` that is alike for most kinds: a kind's own has the rest, and what differs."""

    @property
    def sources(self) -> Mapping[str, Any]:
        """None: what is built on, the template says."""
        return {}

    def notes(self, written: Written) -> Iterator[str]:
        """None."""
        del written
        yield from ()

    def wrong_name(self, name: str) -> str | None:
        """None: whose artifacts are published under names has names of its own to refuse."""
        del name
        return None

    def artifacts(self, made: Made) -> Sequence[Artifact]:
        """None: what Packer leaves is on this machine, and an artifact once it is stored."""
        del made
        return ()

    def built_on(self, said: str) -> str | None:
        """Never said."""
        del said
        return None

    def left(self, said: str) -> str | None:
        """Never said."""
        del said
        return None

    def name_taken(self, said: str) -> tuple[str, tuple[str, ...]] | None:
        """Never."""
        del said
        return None

    def meant_earlier(self, asked: Any, named: str, *, now: Pin, resolve: Callable[[SourceRequest], Pin]) -> Pin | None:
        """None: what was there earlier, nobody tells."""
        del asked, named, now, resolve
        return None

    def environment(
        self, settings: Settings, inherited: Mapping[str, str], *, folder: Path, location: str
    ) -> dict[str, str]:  # fmt: skip
        """The inherited one."""
        del settings, folder, location
        return dict(inherited)


class PlainRegistry:
    """The part of a `Registry` that is alike for most kinds: a kind's own lists what is in a location."""

    fleet: str

    def listed(self, location: str) -> Iterable[Seen]:
        """Everything in a location that was ever marked, whoever's it is. Raises as `find` does."""
        raise NotImplementedError

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Each kind has its own. See `Registry.find`."""
        raise NotImplementedError

    def observe(self, locations: Sequence[str]) -> Observation:
        """Report what is the fleet's. See `Registry.observe`."""
        found: list[Seen] = []
        failed: dict[str, ReconcilerError] = {}
        for location in dict.fromkeys(locations):
            try:
                found += sorted(self._ours(location), key=lambda one: one.id)
            except ReconcilerError as error:
                failed[location] = error
        lacking = [error for error in failed.values() if isinstance(error, NoCredentials)]
        refused = lacking[0] if lacking and len(lacking) == len(set(locations)) else None
        return Observation(
            tuple(found),
            {location: error.what for location, error in failed.items()},
            refused,
            {location: error.hint for location, error in failed.items() if error.hint},
        )

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """Report those of a name. See `Registry.named`."""
        return tuple(sorted((one for one in self.listed(location) if one.name == name), key=lambda one: one.id))

    def wait_available(self, location: str, artifact_id: str, *, timeout: float) -> Seen:
        """Report what is there, or is not: nothing is waited for. See `Registry.wait_available`."""
        del timeout
        seen = self.find(location, artifact_id)
        if seen is None or seen.state != "available":
            raise Terminal(f"{artifact_id} in {location} is {seen.state if seen is not None else 'not there'}")
        return seen

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Each kind has its own. See `Registry.tag`."""
        raise NotImplementedError

    def usage(self, location: str, ids: Sequence[str]) -> Usage:
        """None: nobody tells who runs what they took from here. See `Registry.usage`."""
        del location, ids
        return Usage()

    def usage_elsewhere(self, location: str, ids: Sequence[str], *, asks: bool) -> Mapping[str, tuple[Use, ...] | str]:
        """Nothing is told. See `Registry.usage_elsewhere`."""
        del location, ids, asks
        return {}

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """Whether they have one name: each place has one. See `Registry.is_same`."""
        del artifact_id
        return location == other

    def reconsider(self, artifacts: Sequence[Located]) -> bool:
        """False: nothing stays here that was to go. See `Registry.reconsider`."""
        del artifacts
        return False

    def expect(self, locations: Sequence[str]) -> None:
        """Nothing is begun: it is read when it is asked for. See `Registry.expect`."""

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        """Tag them one by one. See `Registry.tag_all`."""
        del location
        for artifact in artifacts:
            self.tag(artifact, tags)

    def convert(
        self, artifact: Located, *, form: str, name: str, tags: Mapping[str, str], known: Sequence[tuple[str, str]]
    ) -> Conversion:  # fmt: skip
        """There is no such thing. See `Registry.convert`."""
        del name, tags, known
        _refuse(artifact, f"can't be converted to {form}")

    def complete_copy(self, made: Located, *, of: Located) -> None:
        """Nothing is left out of a copy. See `Registry.complete_copy`."""

    def grants(self, artifact: Located) -> Grants:
        """Nobody is told of here: who may read the place may use what is there. See `Registry.grants`."""
        del artifact
        return Grants()

    def obstacles(self, location: str, artifacts: Sequence[Located], *, everybody: bool = False) -> Mapping[str, str]:
        """None is known. See `Registry.obstacles`."""
        del location, artifacts, everybody
        return {}

    def lacking(self, location: str, artifacts: Sequence[Located], *, to: Grants) -> Mapping[str, Sequence[str]]:
        """Nothing. See `Registry.lacking`."""
        del location, artifacts, to
        return {}

    def share(self, artifact: Located, *, add: Grants, remove: Grants) -> None:
        """There is no such thing. See `Registry.share`."""
        del add, remove
        _refuse(artifact, "can't be shared with anybody")

    def deprecate(self, artifact: Located, at: datetime | None) -> None:
        """There is no such thing. See `Registry.deprecate`."""
        del at
        _refuse(artifact, "can't be deprecated")

    def protect(self, artifact: Located, *, on: bool) -> None:
        """There is no such thing. See `Registry.protect`."""
        del on
        _refuse(artifact, "can't be protected from removal")

    def disable(self, artifact: Located) -> None:
        """There is no such thing. See `Registry.disable`."""
        _refuse(artifact, "can't be disabled")

    def enable(self, artifact: Located) -> None:
        """There is no such thing. See `Registry.enable`."""
        _refuse(artifact, "can't be disabled, nor enabled")

    def abandoned(self, location: str, *, before: datetime) -> Sequence[Abandoned]:
        """Nothing: a builder that is killed leaves nothing there. See `Registry.abandoned`."""
        del location, before
        return ()

    def remove_abandoned(self, found: Sequence[Abandoned]) -> Iterator[Abandoned]:
        """There is none. See `Registry.remove_abandoned`."""
        del found
        return iter(())

    def unmanaged(self, location: str) -> Sequence[Unmanaged] | None:
        """It is not known, where a kind lists only what is marked. See `Registry.unmanaged`."""
        del location
        return None

    def restorable(self, location: str) -> int | None:
        """It can't: what is retired is gone. See `Registry.restorable`."""
        del location
        return 0

    def binned(self, location: str) -> Sequence[Binned]:
        """Nothing: what is retired is gone. See `Registry.binned`."""
        del location
        return ()

    def restore(self, artifact: Located) -> None:
        """There is no such thing. See `Registry.restore`."""
        _refuse(artifact, "can't be brought back")

    def given(self, location: str, source: str) -> str:
        """As it is known here. See `Registry.given`."""
        del location
        return source

    def server_time(self, location: str) -> datetime | None:
        """It is not told. See `Registry.server_time`."""
        del location
        return None

    def refuse_others(self, seen: Seen, image: str) -> None:
        """Raise Terminal for what does not say itself that it is this fleet's and this image's: it is not retired."""
        if (seen.own("fleet"), seen.own("image")) != (self.fleet, image):
            whose = f"{seen.own('image') or 'none'} of {seen.own('fleet') or 'none'}"
            raise Terminal(f"{seen.id} in {seen.location} is of the image {whose}: it is not retired")

    def _ours(self, location: str) -> list[Seen]:
        return [one for one in self.listed(location) if one.own("fleet") == self.fleet]


class PlainPublisher:
    """The part of a `Publisher` that only those have whose artifacts machines are launched by."""

    def templates(self, location: str, names: Sequence[str]) -> Mapping[str, Template]:
        """There are none. See `Publisher.templates`."""
        del location, names
        return {}

    def unfit(self, location: str, template: Template, artifact_id: str) -> str | None:
        """There are none. See `Publisher.unfit`."""
        del location, template, artifact_id
        return None

    def add_version(self, location: str, template: Template, artifact_id: str, *, description: str) -> int:
        """There are none. See `Publisher.add_version`."""
        del artifact_id, description
        _launches_nothing(location, template.id)

    def set_default(self, location: str, template: Template, version: int) -> None:
        """There are none. See `Publisher.set_default`."""
        del version
        _launches_nothing(location, template.id)

    def remove_version(self, location: str, name: str, version: int, artifact_id: str) -> None:
        """There are none. See `Publisher.remove_version`."""
        del version, artifact_id
        _launches_nothing(location, name)

    def groups(self, location: str, names: Sequence[str]) -> Mapping[str, Group]:
        """There are none. See `Publisher.groups`."""
        del location, names
        return {}

    def group_misfit(self, location: str, group: Group, artifact_id: str) -> str | None:
        """There are none. See `Publisher.group_misfit`."""
        del location, group, artifact_id
        return None

    def begin_refresh(self, location: str, group: Group, version: int, settings: AutoScalingGroup) -> str:
        """There are none. See `Publisher.begin_refresh`."""
        del version, settings
        _launches_nothing(location, group.name)

    def turn_back(self, location: str, group: Group, refresh: str) -> None:
        """There are none. See `Publisher.turn_back`."""
        del refresh
        _launches_nothing(location, group.name)


_AFTER = "post-processor"
"""What is in the name that Packer's own post-processors, and HashiCorp's, give themselves: `BuilderId`."""
_CHECKSUM = "packer.post-processor.checksum"


def is_made_after(made: Made) -> bool:
    """Whether it is what a post-processor made, and not a builder."""
    return _AFTER in made.builder_id


def files_left(made: Sequence[Made]) -> Sequence[Made]:
    """What of all that Packer reported holds files and is its builds' result: each once, in order.

    Where post-processors made something of what a builder left, as `artifice` and `compress` do, it is that. Packer
    reports what they were given as well, where it keeps it. What `checksum` leaves is what it was given, and a file
    more. Where a sequence of post-processors ends, Packer does not say: several that made something are several.
    """
    holding = list({(one.builder, one.files): one for one in reversed(made) if one.files}.values())[::-1]
    given = [
        one
        for one in holding
        if one.builder_id != _CHECKSUM or not any(set(other.files) < set(one.files) for other in holding)
    ]
    return [one for one in given if is_made_after(one)] or given


def unmanaged_of(seen: Iterable[Seen]) -> Sequence[Unmanaged]:
    """What no fleet's marks are on, in order of id."""
    found = sorted((one for one in seen if one.own("fleet") is None), key=lambda one: one.id)
    return [Unmanaged(kind=one.kind, location=one.location, id=one.id, name=one.name) for one in found]


def _refuse(artifact: Located, what: str) -> NoReturn:
    raise Terminal(f"{artifact.id} in {artifact.location} {what}: its kind knows no such thing")


def _launches_nothing(location: str, name: str) -> NoReturn:
    raise Terminal(f"nothing is launched in {location}, so there is no {name}")


def text(written: Written, attribute: str) -> str | None:
    """An attribute as a text; None where it is absent or not known."""
    value = written.get(attribute)
    return value.text if value is not None else None


def leaves_a_key(written: Written) -> bool:
    """Whether Packer logs in with a key that it makes for the build, and does not take it off the image again."""
    given = any(written.get(name) is not None for name in ("ssh_password", "ssh_private_key_file", "ssh_agent_auth"))
    return not given and text(written, "ssh_clear_authorized_keys") != "true"
