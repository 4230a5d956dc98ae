"""What an image is built on: the request, as declared, and the pin it resolved to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reconciler.model.values import Model, parse_instant

Channel = Literal["candidate", "stable"]

_ONE = "a source is exactly one thing"
_OF_IMAGES = frozenset({"image", "channel", "variable"})


def _of_texts(value: object, *, depth: int = 2) -> bool:
    if isinstance(value, str):
        return True
    if isinstance(value, list | tuple):
        return all(isinstance(one, str) for one in value)
    return depth > 0 and isinstance(value, dict) and all(_of_texts(one, depth=depth - 1) for one in value.values())


class SourceRequest(Model):
    """Another image of the fleet, or something upstream: what its kind asks for, under a word of that kind's.

    What stands behind such a word is as its kind wrote it: a text, or a mapping without what is as it always is.
    """

    model_config = ConfigDict(extra="allow")

    image: str | None = Field(None, description="Another image of this fleet.")
    channel: Channel | None = Field(None, description="Of the parent image; stable if absent.")

    @model_validator(mode="after")
    def _is_of_texts(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if value is not None and not _of_texts(value):
                raise ValueError(f"{name} is a text, or a mapping of texts and lists of texts")
        return self

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name, value in self if name not in ("channel", "variable") and value is not None]
        if len(given) != 1:
            words = sorted(name for name in type(self).model_fields if name not in _OF_IMAGES)
            raise ValueError(f"a source is exactly one of {', '.join(words)} and image" if words else _ONE)
        if self.channel is not None and self.image is None:
            raise ValueError("channel goes with image: it names a channel of the parent")
        return self

    @property
    def upstream(self) -> tuple[str, Any] | None:
        """The word of what is upstream, and what is asked for; None for another image of the fleet."""
        return next(((name, value) for name, value in self if name not in _OF_IMAGES and value is not None), None)

    @property
    def parent_channel(self) -> Channel:
        """The channel of the parent that a child builds on."""
        return self.channel or "stable"


class DeclaredSource(SourceRequest):
    """A source as image.yaml has it: what is asked for, and how the template is given what was found."""

    model_config = ConfigDict(extra="forbid")

    variable: str | None = Field(
        None, min_length=1, description="The template's variable that takes the id; the kind's own if absent."
    )

    @property
    def request(self) -> SourceRequest:
        """What is asked for, alone: that is pinned and recorded."""
        asked = {}
        if self.upstream is not None:
            word, value = self.upstream
            asked[word] = (
                value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, BaseModel) else value
            )
        return SourceRequest(image=self.image, channel=self.channel, **asked)


@dataclass(frozen=True)
class Upstream:
    """Something upstream that a source resolved to, under a word of its kind. `id` is exact; `created` is UTC, `…Z`."""

    word: str
    location: str
    id: str
    name: str | None = None
    owner: str | None = None
    created: str | None = None


_FACTS = frozenset({"id", "name", "owner", "created"})


class Pin(Model):
    """A source resolved to one exact thing: something upstream, or one build of the parent.

    A parent's pin holds the build id, its key and its artifacts by location. An upstream's holds one word of its kind
    with an id, a location under the kind's own word for it, and what people want to know.
    """

    model_config = ConfigDict(extra="allow")

    image: str | None = None
    build: str | None = None
    key: str | None = None
    artifacts: dict[str, str] | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        extra = self.model_extra or {}
        if len(extra) > 1:
            raise ValueError(f"a pin is to one thing, not to {' and '.join(sorted(extra))}")
        for word, value in extra.items():
            if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
                raise ValueError(f"{word} is a mapping of texts")
            if "id" not in value or len(value.keys() - _FACTS) != 1:
                raise ValueError(f"{word} has an id, its location, and of name, owner and created what is known")
            if "created" in value:
                parse_instant(value["created"])
        return self

    @property
    def upstream(self) -> Upstream | None:
        """What it is pinned to outside of the fleet; None for a build of the parent."""
        for word, facts in (self.model_extra or {}).items():
            known = {name: value for name, value in facts.items() if name in _FACTS}
            return Upstream(word, location=next(facts[name] for name in facts if name not in _FACTS), **known)
        return None

    @property
    def identity(self) -> dict[str, str]:
        """What of the pin goes into a build's key: what is upstream with its location, or the parent's key."""
        for word, facts in (self.model_extra or {}).items():
            return {word: facts["id"], **{name: value for name, value in facts.items() if name not in _FACTS}}
        return {"key": self.key or ""}

    def with_id(self, source_id: str) -> Pin:
        """A pin to another thing upstream, in the same location; of that, no more than its id is known."""
        ((word, facts),) = (self.model_extra or {}).items()
        where = {name: value for name, value in facts.items() if name not in _FACTS}
        return Pin.model_validate({word: {**where, "id": source_id}})

    def artifact_in(self, location: str) -> str | None:
        """The id of what is built on in a location, or None where there is none."""
        upstream = self.upstream
        if upstream is not None:
            return upstream.id if upstream.location == location else None
        return (self.artifacts or {}).get(location)

    def __str__(self) -> str:
        """A name for people: that of what is upstream, or its id, or `parent build-id`."""
        upstream = self.upstream
        return (upstream.name or upstream.id) if upstream is not None else f"{self.image} {self.build}"


class PinnedSource(Model):
    """What was asked for beside what it resolved to, so that a changed request is seen."""

    requested: SourceRequest
    pinned: Pin
