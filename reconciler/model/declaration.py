"""What a person writes: `desired/<image>/image.yaml` and `desired/reconciler.yaml`."""

from __future__ import annotations

from datetime import date
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator
from typing_extensions import TypeAliasType

from reconciler.model.care import Grants
from reconciler.model.publish import Publish
from reconciler.model.receivers import AnnounceSettings
from reconciler.model.source import DeclaredSource
from reconciler.model.values import SHARED, BuildId, Duration, Model, WrongPart, checked, is_empty
from reconciler.model.window import Window

IMAGE_NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"
LONGEST_TAG_KEY = 128
LONGEST_TAG_VALUE = 256
"""Of declared tags and of ours, in characters: every registry holds so much."""
_MOST_LOCATIONS = 200
"""More than any cloud has regions: each is compared with every other."""


def _takes_time(seconds: int) -> int:
    if seconds == 0:
        raise ValueError("nothing can be done in no time; a timeout is longer than 0")
    return seconds


Timeout = Annotated[Duration, AfterValidator(_takes_time)]
"""A duration that is not nothing."""

TagKey = Annotated[str, Field(min_length=1, max_length=LONGEST_TAG_KEY)]
TagValue = Annotated[str, Field(max_length=LONGEST_TAG_VALUE)]


VariableValue = TypeAliasType("VariableValue", "str | int | bool | list[VariableValue] | dict[str, VariableValue]")
"""A value that is passed to Packer: a text, a whole number, a truth, or a list or mapping of such."""


class PackerSettings(Model):
    """How Packer is run for an image. Paths are relative to the image's folder; `/` is the repository's root."""

    template: str = Field(".", description="A file, or a folder of .pkr.hcl files.")
    working_dir: str = Field(".", description="Where Packer runs.")
    only: tuple[str, ...] = Field((), description="Builds to run, as `packer build -only` takes them; absent: all.")
    variables: dict[str, VariableValue] = Field({}, description="Values for the template's variables.")
    var_files: tuple[str, ...] = ()
    inputs: tuple[str, ...] = Field(
        (), description="Files and folders that feed the build and that the template does not name."
    )
    timeout: Timeout = 3600

    @field_validator("only", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


class Refresh(Model):
    """When `--refresh` (the scheduled job) builds anew although nothing in the repository changed."""

    max_age: Duration | None = Field(None, description="Rebuild when the current build is older.")
    on_source_change: bool = Field(True, description="Rebuild when the source resolves to something newer.")
    keep_if_unchanged: bool = Field(
        True, description="Where a refresh brought nothing new, keep the build that was there."
    )
    window: Window | None = Field(
        None, description='When a refresh may happen, such as "tue 02:00-05:00 UTC"; absent: always.'
    )


def _one_is_a_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


# EC2's names, as of `describe-instance-types`: t3.micro, u-6tb1.metal, m7i.metal-24xl.
InstanceType = Annotated[str, *checked(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", what="an instance type such as t3.micro")]
SubnetId = Annotated[
    str, *checked("subnet-[0-9a-f]{8}(?:[0-9a-f]{9})?", what="a subnet's id such as subnet-0a1b2c3d4e5f67890")
]
# More than useradd(8) takes: names of a directory are `user@example.org` or `DOMAIN\\user`. ssh takes no blank.
UserName = Annotated[str, *checked(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]*\$?", what="a user's name such as admin")]


def _warns(hygiene: object) -> bool:
    return hygiene == "warn"


class SmokeTest(Model):
    """How the built image is booted and tested, before anybody gets it."""

    boot: bool = Field(True, description="False for an image that cannot be booted or reached over SSH.")
    suite: str | None = Field(None, description="A file or folder of pytest-testinfra tests.")
    user: UserName | None = Field(None, description="Who logs in; absent: the template's ssh_username.")
    instance_type: Annotated[tuple[InstanceType, ...], BeforeValidator(_one_is_a_list)] = Field(
        (), description="In order of preference: the next is taken where there is no capacity; absent: the smallest."
    )
    subnets: tuple[SubnetId, ...] = Field(
        (), description="Where to boot, in order of preference; absent: the default VPC."
    )
    allow_from: tuple[str, ...] = Field(
        ("0.0.0.0/0",), min_length=1, description="Who may reach the instance's SSH port while it is tested."
    )
    timeout: Timeout = 600
    # What is recorded of a failure is bound to the digest of the declaration, so what is not said leaves no trace.
    hygiene: Literal["warn", "fail"] = Field(
        "warn",
        description="Whether what a build leaves behind (keys, histories, logs) is a finding or a failure.",
        exclude_if=_warns,
    )

    @field_validator("allow_from")
    @classmethod
    def _each_is_a_block(cls, blocks: tuple[str, ...]) -> tuple[str, ...]:
        for block in blocks:
            try:
                ip_network(block, strict=False)
            except ValueError as error:
                raise ValueError(f'"{block}" is not a CIDR block such as 10.0.0.0/8') from error
        return blocks


class Validation(Model):
    """Whether `stable` waits for the verdict of the validation repository."""

    required: bool = False
    timeout: Duration = 72 * 3600


# "Resource types defined by AWS Organizations" (service authorization reference).
AccountId = Annotated[str, *checked(r"[0-9]{12}", what="an AWS account's id such as 123456789012, which has 12 digits")]
OrganizationArn = Annotated[
    str,
    *checked(
        r"arn:aws[a-z-]*:organizations::[0-9]{12}:organization/o-[a-z0-9]{10,32}",
        what="an organization's ARN such as arn:aws:organizations::123456789012:organization/o-a1b2c3d4e5",
    ),
]
UnitArn = Annotated[
    str,
    *checked(
        r"arn:aws[a-z-]*:organizations::[0-9]{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}",
        what="an organizational unit's ARN such as "
        "arn:aws:organizations::123456789012:ou/o-a1b2c3d4e5/ou-a1b2-f6g7h8i9",
    ),
]


class ShareWith(Model):
    """Who may use the image beside its owner: these, and nobody else."""

    accounts: tuple[AccountId, ...] = ()
    organizations: tuple[OrganizationArn, ...] = ()
    # What is recorded of a failure is bound to the digest of the declaration, so what is not said leaves no trace.
    organizational_units: tuple[UnitArn, ...] = Field((), exclude_if=is_empty)

    @property
    def grants(self) -> Grants:
        """The same as grants."""
        return Grants.of(self.accounts, self.organizations, self.organizational_units)


LONGEST_DEPRECATION = 3650 * 86400
"""Seconds: EC2 takes no date that is more than ten years away (EnableImageDeprecation, API reference)."""


def _within_limits(seconds: int | None) -> int | None:
    if seconds is not None and seconds > LONGEST_DEPRECATION:
        raise ValueError("a date of deprecation may be ten years away at most: 3650d")
    return seconds


_STAGE = 14 * 86400
"""Seconds between two steps by which a build goes away."""


def _is_usual(seconds: int) -> bool:
    return seconds == _STAGE


class Retain(Model):
    """How many builds, and how long the previews, are kept; and how long `gc` waits between its steps."""

    builds: int = Field(3, ge=1, description="How many builds are kept, the newest, beside what a channel points to.")
    previews: Duration = Field(7 * 86400, description="How long a preview is kept that no branch needs any more.")
    # What is recorded of a failure is bound to the digest of the declaration, so what is not said leaves no trace.
    deprecated: Duration = Field(
        _STAGE, description="How long a build that `gc` deprecated stays before it is disabled.", exclude_if=_is_usual
    )
    disabled: Duration = Field(
        _STAGE, description="How long a build that `gc` disabled stays before it is removed.", exclude_if=_is_usual
    )
    even_if_shared: bool = Field(
        False, description="Let a build go that other accounts may use: what they do with it is not known.",
        exclude_if=is_empty,
    )  # fmt: skip


class Hold(Model):
    """Freeze `stable` on one build, until a day if one is given: rollback as a reviewed commit."""

    build: BuildId
    reason: str = Field(min_length=1)
    until: date | None = Field(None, description="The first day on which it holds no more, UTC.", exclude_if=is_empty)


class Suspend(Model):
    """Leave an image alone, until a day if one is given."""

    reason: str
    until: date | None = Field(None, description="The first day on which it is left alone no more, UTC.")


class Revocation(Model):
    """A build that nobody may use any more, and with it all that was built on it."""

    build: BuildId
    reason: str = Field(min_length=1)
    even_if_in_use: bool = Field(
        False, description="Revoke it although something is known to use it, or may.", exclude_if=is_empty
    )


def _publishes_nothing(publish: object) -> bool:
    return publish == Publish()


class Declaration(Model):
    """An image as declared in `desired/<image>/image.yaml`, with the fleet's defaults merged under it."""

    description: str = ""
    labels: dict[str, str] = Field({})
    packer: PackerSettings = PackerSettings()
    source: Annotated[DeclaredSource | None, SHARED] = Field(None, description="Absent: read from the template.")
    locations: tuple[str, ...] = Field(
        (),
        alias="regions",
        max_length=_MOST_LOCATIONS,
        description="The first is where Packer builds; absent: the template's.",
    )
    formats: tuple[Annotated[str, Field(pattern="^[a-z0-9]+$")], ...] = Field(
        (), description="Formats that each artifact is converted to and kept in, beside what Packer left.",
        exclude_if=is_empty,
    )  # fmt: skip
    refresh: Annotated[Refresh, SHARED] = Refresh()
    smoke_test: SmokeTest = SmokeTest()
    validation: Validation = Validation()
    share_with: ShareWith = ShareWith()
    tags: dict[TagKey, TagValue] = Field({}, description="Further tags on every artifact.")
    deprecate_after: Annotated[Duration | None, AfterValidator(_within_limits)] = Field(
        None, description="How long after another build took its place a build is deprecated; absent: never."
    )
    protect: bool = Field(
        False,
        description="Whether what a channel points to, or is retained, is protected from removal.",
        exclude_if=is_empty,
    )
    retain: Retain = Retain()
    hold: Hold | None = None
    suspend: Suspend | None = None
    revoke: tuple[Revocation, ...] = ()
    publish: Publish = Field(Publish(), exclude_if=_publishes_nothing)
    moved_from: str | None = Field(None, description="The name this image had before.", pattern=IMAGE_NAME_PATTERN)

    @field_validator("locations", "formats")
    @classmethod
    def _each_once(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({one for one in named if named.count(one) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return named

    @field_validator("revoke")
    @classmethod
    def _each_build_once(cls, revoke: tuple[Revocation, ...]) -> tuple[Revocation, ...]:
        builds = [one.build for one in revoke]
        for at, build in enumerate(builds):
            if (first := builds.index(build)) != at:
                what = f"{build} is revoked twice, here and in revoke[{first}]"
                raise WrongPart(what, at=(at,), hint="take one away: one reason is told, and recorded")
        return revoke

    @field_validator("tags")
    @classmethod
    def _our_tags_are_ours(cls, tags: dict[str, str]) -> dict[str, str]:
        taken = sorted(key for key in tags if key.startswith("reconciler:"))
        if taken:
            raise ValueError(f"the prefix reconciler: is taken: {', '.join(taken)}")
        return tags


class GitSettings(Model):
    """Where state is recorded, and as whom."""

    branch: str | None = Field(None, description="The branch recorded to; absent: the remote's HEAD.")
    remote: str = "origin"
    push: Literal["direct", "pull-request"] = Field(
        "direct", description="Push to the branch, or propose one commit on `reconciler/state` in a pull request."
    )
    author: str = Field("reconciler <reconciler@localhost>", pattern=r"^[^<>\n]+ <[^<>\s]+>$")
    sign: bool = Field(False, description="Sign commits and tags with the key that git is configured with.")


class AwsSettings(Model):
    """How AWS is reached."""

    role: str | None = Field(None, pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$", description="A role to assume.")
    profile: str | None = None
    visibility_grace: Duration = Field(
        120,
        description="How long after it was recorded an artifact that is not seen counts as unknown, not as missing.",
    )


class KindLimits(Model):
    """How many images of one kind a run works on at once."""

    parallel_builds: int = Field(ge=1, le=1000)


class Limits(Model):
    """How much one run may do."""

    parallel_builds: int = Field(4, ge=1, le=1000)
    max_actions: int = Field(50, ge=1, description="A plan with more actions is refused, unless it is allowed by flag.")
    max_file_gib: int = Field(
        1024, ge=1, le=1 << 20, description="An artifact that is a file, and is larger, is not read, fetched or kept."
    )
    kinds: dict[str, KindLimits] = Field(
        {}, description="Of images of one kind, by its name: never more at once, whatever else may run beside them.",
        exclude_if=is_empty,
    )  # fmt: skip

    @property
    def largest_file(self) -> int:
        """Bytes that an artifact may have that is a file."""
        return self.max_file_gib << 30

    @property
    def at_once(self) -> dict[str, int]:
        """How many images of a kind are worked on at once, by the kind's name, where that is bounded."""
        return {name: one.parallel_builds for name, one in self.kinds.items()}


class GcSettings(Model):
    """What is done about builds beyond `retain.builds`."""

    apply: bool = Field(
        False, description="Whether `reconcile --refresh` takes the next step of each, as `gc --apply` does."
    )


class Settings(Model):
    """`desired/reconciler.yaml`: defaults for every image, and the controller's own settings."""

    fleet: TagValue | None = Field(None, description="Owner of the artifacts; absent: owner/name of the remote.")
    defaults: dict[str, Any] = Field({}, description="Merged under each image.yaml.")
    git: GitSettings = GitSettings()
    aws: AwsSettings = AwsSettings()
    announce: AnnounceSettings = Field(AnnounceSettings(), description="Who is told of the builds; absent: nobody.")
    limits: Limits = Limits()
    gc: GcSettings = GcSettings()
