"""What an image is built on: the request, as declared, and the pin it resolved to."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from reconciler.model.values import Instant, Model

Channel = Literal["candidate", "stable"]


class AmiRequest(Model):
    """An upstream AMI: one id, or a filter whose newest match is taken."""

    id: str | None = Field(None, pattern=r"^ami-[0-9a-f]+$")
    name: str | None = Field(None, description="Name, with * and ? as EC2's filters read them.")
    owners: tuple[str, ...] = Field((), description="Account ids or aliases. Required with a filter.")
    architecture: str | None = None
    filters: dict[str, tuple[str, ...]] = Field({}, description="Further DescribeImages filters.")

    @field_validator("filters", mode="before")
    @classmethod
    def _single_values_are_lists(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {key: [one] if isinstance(one, str) else one for key, one in value.items()}

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if self.id is not None:
            if self.name or self.owners or self.filters or self.architecture:
                raise ValueError("an AMI is named by its id or by a filter, not by both")
        elif not self.name and not self.filters:
            raise ValueError("an AMI needs an id, a name or filters")
        elif not self.owners:
            # Without an owner anybody's public image of that name is taken (the "whoAMI" attack).
            raise ValueError("a filter needs owners: without one, anybody's public AMI of that name would be trusted")
        return self


class SourceRequest(Model):
    """Exactly one of an AMI, an SSM parameter that holds an AMI id, or another image of the fleet."""

    ami: AmiRequest | None = None
    ssm: str | None = Field(None, pattern=r"^/[A-Za-z0-9_.\-/]+$", description="Name of an SSM parameter.")
    image: str | None = Field(None, description="Another image of this fleet.")
    channel: Channel | None = Field(None, description="Of the parent image; stable if absent.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("ami", "ssm", "image") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("a source is exactly one of ami, ssm and image")
        if self.channel is not None and self.image is None:
            raise ValueError("channel goes with image: it names a channel of the parent")
        return self

    @property
    def parent_channel(self) -> Channel:
        """The channel of the parent that a child builds on."""
        return self.channel or "stable"


class DeclaredSource(SourceRequest):
    """A source as image.yaml has it: what is asked for, and how the template is given what was found."""

    variable: str | None = Field(
        None, min_length=1, description="The template's variable that takes the AMI's id; source_ami if absent."
    )

    @property
    def request(self) -> SourceRequest:
        """What is asked for, alone: that is pinned and recorded."""
        return SourceRequest.model_construct(ami=self.ami, ssm=self.ssm, image=self.image, channel=self.channel)

    @model_serializer(mode="wrap")
    def _as_written(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What is digested of declarations stays what it was before there was the key.
        return {key: value for key, value in plain(self).items() if key != "variable" or value is not None}


class AmiPin(Model):
    """An upstream AMI, resolved in the region where Packer builds."""

    region: str
    id: str
    name: str | None = None
    owner: str | None = None
    created: Instant | None = None


class Pin(Model):
    """A source resolved to one exact thing: an upstream AMI, or one build of the parent.

    A parent's pin holds the build id, its key and its artifacts by region; an upstream's pin holds `ami`.
    """

    ami: AmiPin | None = None
    image: str | None = None
    build: str | None = None
    key: str | None = None
    artifacts: dict[str, str] | None = None

    @property
    def identity(self) -> dict[str, str]:
        """What of the pin goes into a build's key: the AMI's region and id, or the parent's key."""
        if self.ami is not None:
            return {"ami": self.ami.id, "region": self.ami.region}
        return {"key": self.key or ""}

    def artifact_in(self, region: str) -> str | None:
        """The AMI id to build on in a region, or None where there is none."""
        if self.ami is not None:
            return self.ami.id if self.ami.region == region else None
        return (self.artifacts or {}).get(region)

    def __str__(self) -> str:
        """A name for people: the AMI's name or id, or `parent build-id`."""
        if self.ami is not None:
            return self.ami.name or self.ami.id
        return f"{self.image} {self.build}"


class PinnedSource(Model):
    """What was asked for beside what it resolved to, so that a changed request is seen."""

    requested: SourceRequest
    pinned: Pin
