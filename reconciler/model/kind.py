"""A kind of artifact, as far as the pure layers know it: its words, and what it can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.model.source import DeclaredSource, Pin, SourceRequest

SSH = "SSH"


@dataclass(frozen=True)
class Kind:
    """What is said of a kind in plans, keys and records. What it does is an adapter's (`registries/`).

    Args:
        name: As records call it.
        artifact: What people call one of its artifacts, with its article.
        location: What people call one of its locations.
        registry: What people call where they are kept.
        key: The key of image.yaml that names them; `locations` is another for each kind.
        sources: The words that `source:` takes for it. Each has what counts in a key where it is not said: a mapping
            of defaults, or None for a word that is followed by a text.
        example_location: Such a location.
        id_form: A regular expression of the ids of its artifacts; empty where nobody could look one up.
        example_id: Such an id.
        between: What stands between location and id where a person names an artifact by both.
        example: How a source is declared, for hints; empty where its images are built on nothing.
        pinned: The word that a pin begins with, and that of the location in it. They stand in lockfiles and keys.
        source_variable: The template's variable that is given the pin.
        source_attribute: The builder's attribute that takes it.
        name_attribute: The builder's attribute that names what it makes.
        login: Who Packer logs in as where a template does not say so.
        removal: How a person removes an artifact by hand, made of its `location` and `id`.
        reached_through: What its registry is a part of, with credentials of its own; empty where that is nothing.
        most_marks: How many marks an artifact holds; None for as many as there are.
        longest_mark_key: In characters.
        longest_mark_value: In characters.
        reserved: A prefix of marks, in any case, that the registry keeps for itself; empty where there is none.
        given: What a template is given of the parent's artifact, made of its `location` and `id`.
        given_upstream: The same of something upstream.
        builds_where_source_is: Whether a source is built on where it is alone.
        reached_by: What a test goes through to what is booted of it: SSH, or the command of the bench.
        boots: Whether there is a bench for it, where it is booted and tested.
        not_booted_in: The form of locations whose artifacts it can't boot all the same; empty where there are none.
        tended: Whether its registry says who may use an artifact, until when, and whether it may be removed.
        placed: Whether it is said of what boots on which type of machine, in which network and for whom it is open.
        packages_tell: Whether what its sources hold shows in packages and what else an inventory lists. A base image of
            a container brings programs beside them, and a config.
        converted: Whether what a builder of it leaves can be kept in other formats beside it.
        published: The keys of `publish:` that its artifacts can be written out by; empty where there is none.
        ids_are_digests: Whether an id is the digest of what it names: what is made anew, byte for byte the same,
            has the id that it had.
        stands_in: The form of what locations begin with and are there by, or not, as a whole: a host, say. Empty where
            each is by itself.
        observed: Whether a registry tells what is there. Else an artifact is what Packer said, and unknown for good.
    """

    name: str
    artifact: str
    location: str
    registry: str
    key: str
    example_location: str
    id_form: str = ""
    example_id: str = ""
    between: str = ":"
    sources: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict, hash=False)
    example: str = ""
    pinned: tuple[str, str] = ("", "")
    source_variable: str = ""
    source_attribute: str = ""
    name_attribute: str = "name"
    login: str = "root"
    removal: str = "remove {id} in {location}"
    reached_through: str = ""
    most_marks: int | None = None
    longest_mark_key: int | None = None
    longest_mark_value: int | None = None
    reserved: str = ""
    given: str = "{id}"
    given_upstream: str = "{id}"
    builds_where_source_is: bool = True
    reached_by: str = SSH
    boots: bool = True
    not_booted_in: str = ""
    tended: bool = False
    placed: bool = False
    packages_tell: bool = True
    converted: bool = False
    published: frozenset[str] = frozenset()
    ids_are_digests: bool = False
    stands_in: str = ""
    observed: bool = True

    def place_of(self, location: str) -> str:
        """What a location is in, and there with or not: itself, where nothing else is known."""
        found = re.match(self.stands_in, location) if self.stands_in else None
        return found[0] if found is not None else location

    def boots_in(self, location: str) -> bool:
        """Whether what is in a location is booted and tested."""
        return self.boots and not (self.not_booted_in and re.fullmatch(self.not_booted_in, location))

    @property
    def the_artifact(self) -> str:
        """What people call the one that is spoken of, with `the` before it."""
        return f"the {self.artifact.partition(' ')[2]}"

    def artifact_named(self, word: str) -> tuple[str | None, str] | None:
        """The location, if it is said, and the id of an artifact as a person names it; None for no such name."""
        known = re.fullmatch(rf"(?:(?P<location>.+){re.escape(self.between)})?(?P<id>{self.id_form})", word)
        return (known["location"], known["id"]) if known is not None and self.id_form else None

    def variable_of(self, source: DeclaredSource | None) -> str:
        """The template's variable that is given what a source resolves to: as declared, else the kind's own."""
        return (source.variable if source is not None else None) or self.source_variable

    def pin(self, location: str, source_id: str, **known: str | None) -> Pin:
        """A pin to something upstream. `known` are its `name`, `owner` and `created`, as far as they are known."""
        word, at = self.pinned
        given = {name: value for name, value in known.items() if value is not None}
        return Pin.model_validate({word: {at: location, "id": source_id, **given}})

    def given_of(self, pin: Pin, location: str) -> str | None:
        """What a template that builds in a location is given of a pin; None where that is not to be had there."""
        upstream = pin.upstream
        if upstream is None:
            at = self._where(pin, location)
            return self.given.format(location=at, id=pin.artifact_in(at)) if at is not None else None
        if self.builds_where_source_is and upstream.location != location:
            return None
        return self.given_upstream.format(location=upstream.location, id=upstream.id)

    def source_id(self, pin: Pin, location: str) -> str | None:
        """The id of what a build in a location is built on; None where that is not to be had there."""
        if pin.upstream is not None and not self.builds_where_source_is:
            return pin.upstream.id
        at = self._where(pin, location)
        return pin.artifact_in(at) if at is not None else None

    def _where(self, pin: Pin, location: str) -> str | None:
        """Where a build in a location takes what is pinned from: there, else from the first place that has it."""
        if pin.artifact_in(location) is not None:
            return location
        return min(pin.artifacts or (), default=None) if not self.builds_where_source_is else None

    def whole(self, request: SourceRequest) -> dict[str, Any]:
        """A request with all that was not said, as a key counts it."""
        asked = dict([request.upstream]) if request.upstream is not None else {}
        spelt = {
            word: {**defaults, **asked[word]} if word in asked and defaults is not None else asked.get(word)
            for word, defaults in self.sources.items()
        }
        return {"image": request.image, "channel": request.channel, **spelt}
