"""The places where a person declares channels to be written out (`publish:` in image.yaml), and the record of each."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from reconciler.model.values import Duration, Instant, Model, checked, format_duration, is_empty

# The name of a parameter (PutParameter, SSM's API reference), of whose length 1011 characters are its ARN's too.
_PARAMETER = r"(?:[A-Za-z0-9_./-]|\{image\}|\{channel\})+"
_SUCH_AS = "the name of an SSM parameter such as /images/{image}/{channel}, which may have no other braces"
LONGEST_PARAMETER = 800

# The grammar of a tag (OCI's distribution specification, "Pulling manifests"), with our words in it.
_TAG = r"(?:[A-Za-z0-9_]|\{image\}|\{channel\})(?:[A-Za-z0-9_.-]|\{image\}|\{channel\})*"
_TAG_SUCH_AS = "a tag such as {channel} or {image}-{channel}, which may have no other braces"

# The characters of LaunchTemplateName (CreateLaunchTemplate, EC2's API reference).
_TEMPLATE = r"(?:[A-Za-z0-9()./_-]|\{image\})+"


def _name_alone(template: object) -> object:
    return {"name": template} if isinstance(template, str) else template


class LaunchTemplate(Model):
    """A launch template that gets a numbered version for each build that is stable; its name alone is enough."""

    name: Annotated[str, *checked(_TEMPLATE, what="the name of a launch template such as web or {image}-spot")]
    set_default: bool = Field(
        False, description="Whether that version is also the template's default.", exclude_if=is_empty
    )


# The name of a group (CreateAutoScalingGroup, EC2 Auto Scaling's API reference): 255 characters, none of them a colon.
_GROUP = r"(?:[A-Za-z0-9()./_-]|\{image\})+"
_GROUP_SUCH_AS = "the name of an Auto Scaling group such as web or {image}-spot"
GroupName = Annotated[str, *checked(_GROUP, what=_GROUP_SUCH_AS), Field(max_length=255)]
Percent = Annotated[int, Field(ge=0, le=100)]


def _two_days(seconds: int) -> int:
    if seconds > 2 * 24 * 3600:
        raise ValueError(f"Auto Scaling waits for 2d at most, and this is {format_duration(seconds)}")
    return seconds


TwoDays = Annotated[Duration, AfterValidator(_two_days)]


class AutoScalingGroup(Model):
    """A group whose instances are replaced when `stable` moves; its name alone is enough.

    The bounds are those of RefreshPreferences (EC2 Auto Scaling's API reference).
    """

    name: GroupName
    locations: tuple[str, ...] = Field(
        (), alias="regions", description="Where it is; absent: in all of the image's.", exclude_if=is_empty
    )
    min_healthy: Percent = Field(90, description="Percent of the group that stays healthy.")
    max_healthy: int | None = Field(
        None,
        ge=100,
        le=200,
        exclude_if=is_empty,
        description="Percent of the group that may run at once; with it, new instances come before old ones go.",
    )
    warmup: Duration | None = Field(
        None,
        exclude_if=is_empty,
        description="How long a new instance takes until it counts; absent: as the group says.",
    )
    checkpoints: tuple[Percent, ...] = Field((), description="Percents at which it waits.", exclude_if=is_empty)
    checkpoint_wait: TwoDays | None = Field(
        None, exclude_if=is_empty, description="How long it waits there; absent: an hour."
    )
    bake: TwoDays | None = Field(
        None, exclude_if=is_empty, description="How long all new instances are watched before it counts as done."
    )
    alarms: tuple[Annotated[str, Field(min_length=1, max_length=255)], ...] = Field(
        (), max_length=10, exclude_if=is_empty, description="CloudWatch alarms, any of which turns it back."
    )


class Wave(Model):
    """Groups that are refreshed at once, and how long the next wave waits when they are done."""

    groups: tuple[GroupName, ...] = ()
    locations: tuple[str, ...] = Field((), alias="regions", description="Absent: all of the image's.")
    wait: Duration | None = None


class Publish(Model):
    """Where consumers find what a channel points to, under a name that stays."""

    ssm: Annotated[str, *checked(_PARAMETER, what=_SUCH_AS)] | None = Field(
        None,
        max_length=LONGEST_PARAMETER,
        exclude_if=is_empty,
        description="The SSM parameter of each channel and location, by its name; without `{channel}`, of `stable`.",
    )
    tag: Annotated[str, *checked(_TAG, what=_TAG_SUCH_AS)] | None = Field(
        None,
        exclude_if=is_empty,
        description="The tag of each channel, in every repository of the image; without `{channel}`, of `stable`.",
    )
    launch_templates: tuple[
        Annotated[LaunchTemplate, BeforeValidator(_name_alone, json_schema_input_type=str | LaunchTemplate)], ...
    ] = Field((), description="By name, in every location: a numbered version for `stable`.", exclude_if=is_empty)
    auto_scaling_groups: tuple[
        Annotated[AutoScalingGroup, BeforeValidator(_name_alone, json_schema_input_type=str | AutoScalingGroup)], ...
    ] = Field(
        (),
        description="By name, in every location: its instances are replaced when `stable` moves.",
        exclude_if=is_empty,
    )
    waves: tuple[Wave, ...] = Field((), description="In which order; absent: all groups at once.", exclude_if=is_empty)


class Published(Model):
    """One name, in one location, under which consumers find what a channel points to."""

    ssm: str = Field("", description="Name of the SSM parameter, where it is one.", exclude_if=is_empty)
    tag: str = Field("", description="The tag in a container registry, where it is one.", exclude_if=is_empty)
    launch_template: str = Field("", description="Name of the launch template, where it is one.", exclude_if=is_empty)
    auto_scaling_group: str = Field(
        "", description="Name of the Auto Scaling group, where it is one.", exclude_if=is_empty
    )
    version: int | None = Field(
        None, description="Number of the launch template's version that has the AMI.", exclude_if=is_empty
    )
    build: str = Field("", description="The build that a group was last refreshed to.", exclude_if=is_empty)
    refresh: str = Field("", description="Id of that refresh, once it is known.", exclude_if=is_empty)
    after: str = Field(
        "", description="Id of the newest refresh before it; empty: there was none.", exclude_if=is_empty
    )
    course: Literal["begun", "done", "failed", ""] = Field(
        "", description="Where that refresh stands.", exclude_if=is_empty
    )
    since: Instant | None = Field(None, description="When it was done, or failed, UTC.", exclude_if=is_empty)
    why: str = Field("", description="Why it failed, in its registry's own words.", exclude_if=is_empty)
    told: tuple[str, ...] = Field((), description="Announcers that were told that it failed.", exclude_if=is_empty)
    location: str

    @property
    def key(self) -> str:
        """The key of `publish:` that declares such a place."""
        if self.ssm or self.tag:
            return "ssm" if self.ssm else "tag"
        return "launch_templates" if self.launch_template else "auto_scaling_groups"

    @property
    def called(self) -> str:
        """The name of what holds an artifact's id, as its publisher knows it; empty for templates and groups."""
        return self.ssm or self.tag

    @property
    def name(self) -> str:
        """The name by which it is told from all others in its location: no parameter's, and no tag, has a blank."""
        group = f"group {self.auto_scaling_group}" if self.auto_scaling_group else ""
        return self.called or group or f"launch template {self.launch_template}"

    @property
    def place(self) -> tuple[str, str]:
        """The same as location and name."""
        return self.location, self.name

    @property
    def text(self) -> str:
        """The same for people: of a tag the reference that is pulled."""
        return f"{self.location}:{self.tag}" if self.tag else f"{self.location} {self.name}"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if [bool(one) for one in (self.ssm, self.tag, self.launch_template, self.auto_scaling_group)].count(True) != 1:
            raise ValueError(
                "it is one of an SSM parameter (ssm), a tag (tag), a launch template (launch_template) and a group "
                "(auto_scaling_group)"
            )
        return self
