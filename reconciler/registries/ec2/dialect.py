"""How AMIs are spoken of: the builders of the amazon plugin, their sources, and what Packer says of what they left."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from reconciler.model.declaration import Settings
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder, BuildLocation, Copies
from reconciler.model.kind import Kind
from reconciler.model.lockfile import Artifact
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.values import Model
from reconciler.ports.dialect import Made, Value, Written
from reconciler.registries.ec2.environment import aws_environment
from reconciler.registries.plain import text

# What image.yaml says of a source.


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


SsmParameter = Annotated[str, Field(pattern=r"^/[A-Za-z0-9_.\-/]+$", description="Name of an SSM parameter.")]

AMI = Kind(
    name="ami",
    artifact="an AMI",
    location="region",
    registry="EC2",
    reached_through="aws",
    key="regions",
    example_location="us-east-1",
    id_form="ami-[0-9a-f]{8,17}",
    example_id="ami-0123456789abcdef0",
    sources={"ami": AmiRequest.model_construct().model_dump(mode="json"), "ssm": None},
    example='source: {ami: {name: "…", owners: ["…"]}}',
    pinned=("ami", "region"),
    source_variable="source_ami",
    source_attribute="source_ami",
    name_attribute="ami_name",
    login="ec2-user",
    removal="`aws ec2 deregister-image --region {location} --image-id {id}`",
    # "Tag restrictions" in the user guide (Using_Tags.html).
    most_marks=50,
    longest_mark_key=128,
    longest_mark_value=256,
    reserved="aws:",
    tended=True,
    placed=True,
    published=frozenset({"ssm", "launch_templates", "auto_scaling_groups"}),
)

_DEEPEST = 15
"""Levels of a parameter's name (PutParameter, SSM's API reference)."""
_OF_SSM = re.compile(r"/?(aws|ssm)", re.IGNORECASE)
# The form alone: whether there is such a region, AWS says.
_REGION = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
# The amazon builders name each artifact `region:id` and join several by a comma, sorted.
_REGIONAL = re.compile(r"([a-z]{2,}(?:-[a-z]+)+-[0-9]+):((ami|snap|vol)-[0-9a-f]+)")
_KINDS = {"ami": "ami", "snap": "ebs-snapshot", "vol": "ebs-volume"}
_SOURCE = re.compile(r"Found [Ii]mage ID: (ami-[0-9a-f]+)")
_MADE = re.compile(r"AMI: (ami-[0-9a-f]+)")
"""What the amazon builders print as soon as EC2 has accepted the image; a build that fails later reports nothing."""
# The words are those of EC2, after the build, and of Packer's own check before it (step_pre_validate.go).
_NAME_TAKEN = re.compile(r".*(?:InvalidAMIName\.Duplicate|is used by an existing AMI).*")
_AMI_ID = re.compile(r"\bami-[0-9a-f]+\b")
_PLUGIN = "amazon-"
"""What the builders of the amazon plugin begin with. Others leave what it imports, and are none of this kind's."""
_MAPPINGS = ("launch_block_device_mappings", "ami_block_device_mappings")


@dataclass(frozen=True)
class Ec2Dialect:
    """The `Dialect` of AMIs."""

    kind: Kind = AMI

    @property
    def sources(self) -> Mapping[str, Any]:
        """An AMI, or an SSM parameter that holds the id of one."""
        return {"ami": AmiRequest, "ssm": SsmParameter}

    def builder(self, written: Written) -> Builder:
        """The facts of a builder of the amazon plugin; of another, whose artifact is imported, that it is one."""
        if not written.type.startswith(_PLUGIN):
            return Builder(written.name, written.type, written.place)
        skips = written.get("skip_create_ami")
        if skips is not None and skips.text == "true":
            raise UserError(
                f"{written.name} leaves no AMI after the whole build: skip_create_ami is true",
                where=skips.place,
                hint="remove the line, or choose another builder with packer.only",
            )
        source = _source(written)
        return Builder(
            written.name, written.type, written.place, _region(written), source.request, source.place, source.unpinned,
            ssh_username=text(written, "ssh_username"), communicator=text(written, "communicator") or "ssh",
            clears_keys=text(written, "ssh_clear_authorized_keys") == "true",
            tags=_tags(written, "tags", "tag"), part_tags=_tags(written, "snapshot_tags", "snapshot_tag"),
            copies=_copies(written),
        )  # fmt: skip

    def notes(self, written: Written) -> Iterator[str]:
        """One line for each thing that a builder of the amazon plugin leaves open."""
        if not written.type.startswith(_PLUGIN):
            return
        # Variables of JSON from before HCL2 are texts: none could hold tags.
        in_json = written.place.path.endswith(".json") and not written.place.path.endswith(".pkr.json")
        if not written.declares_run_tags and not in_json:
            yield (
                "the template declares no variable run_tags: what a crashed build leaves behind can't be told from "
                "other people's instances"
            )
        of_ebs = written.type in ("amazon-ebs", "amazon-ebssurrogate")
        if (of_ebs or written.type == "amazon-instance") and not _requires_imdsv2(written):
            block = 'metadata_options { http_endpoint = "enabled", http_tokens = "required" }'
            member = '"metadata_options": {"http_endpoint": "enabled", "http_tokens": "required"}'
            written_so = f"{member if in_json else block}; from Packer 1.7.0 on"
            yield f"{written.name}: the build instance does not require IMDSv2 ({written_so})"
        if (of_ebs or written.type == "amazon-chroot") and not _encrypts(written):
            default = "the image is encrypted only where the account does so by default"
            setting = '"encrypt_boot": true' if in_json else "encrypt_boot = true"
            yield f"{written.name}: {default} ({setting})"

    def wrong_location(self, location: str) -> str | None:
        """A region has the form of one; whether there is one of that name, AWS says."""
        return None if _REGION.fullmatch(location) else "a region's name such as us-east-1"

    def wrong_name(self, name: str) -> str | None:
        """What SSM refuses of a parameter's name (PutParameter, API reference)."""
        levels = name.removeprefix("/").split("/")
        if _OF_SSM.match(name):
            return "SSM keeps names that begin with aws or ssm for itself"
        if "/" in name and not name.startswith("/"):
            return "a name in levels begins with /"
        if "" in levels:
            return "it has a level without a name"
        return f"it has {len(levels)} levels, and SSM takes {_DEEPEST}" if len(levels) > _DEEPEST else None

    def artifacts(self, made: Made) -> Sequence[Artifact]:
        """An AMI in two regions is one artifact of Packer's with two ids."""
        matches = [_REGIONAL.fullmatch(part) for part in made.id.split(",")]
        found = [match for match in matches if match is not None]
        if len(found) != len(matches):
            return ()
        return [Artifact(kind=_KINDS[one[3]], builder=made.builder, location=one[1], id=one[2]) for one in found]

    def built_on(self, said: str) -> str | None:
        """The AMI that a builder found."""
        found = _SOURCE.match(said)
        return found[1] if found is not None else None

    def left(self, said: str) -> str | None:
        """The AMI that EC2 has accepted."""
        found = _MADE.fullmatch(said)
        return found[1] if found is not None else None

    def name_taken(self, said: str) -> tuple[str, tuple[str, ...]] | None:
        """The line that says that another AMI has the name already, and the ids of those that have it."""
        found = _NAME_TAKEN.search(said)
        return (found[0], tuple(_AMI_ID.findall(found[0]))) if found is not None else None

    def meant_earlier(self, asked: Any, named: str, *, now: Pin, resolve: Callable[[SourceRequest], Pin]) -> Pin | None:
        """An AMI of the same owners, by EC2's word, and of such a name as is asked for."""
        found = resolve(SourceRequest.model_validate({"ami": {"id": named}}))
        there, is_now = found.upstream, now.upstream
        wanted: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
        name = wanted.get("name")
        if there is None or is_now is None or there.owner not in {is_now.owner, *wanted.get("owners", ())}:
            return None
        fits = name is None or fnmatchcase(there.name or "", name.replace("[", "[[]"))
        return found if fits else None

    def environment(
        self, settings: Settings, inherited: Mapping[str, str], *, folder: Path, location: str
    ) -> dict[str, str]:  # fmt: skip
        """That in which the amazon plugins act as the settings say, in the region. See `aws_environment`."""
        return aws_environment(settings.aws, inherited, folder=folder, region=location)

    def subject(self, location: str, artifact_id: str) -> Mapping[str, str]:
        """An AMI's ARN, which in-toto takes as a digest, as AMIs never change.

        It names no account: AMI ids are unique in a region (Service Authorization Reference, EC2).
        """
        return {"arn": arn(location, artifact_id)}


DIALECT = Ec2Dialect()


def arn(region: str, ami: str) -> str:
    """The ARN of an AMI."""
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return f"arn:{partition}:ec2:{region}::image/{ami}"


# What a builder of the amazon plugin builds on, and where.


def _region(written: Written) -> BuildLocation | None:
    """The region that a builder is told, or None where it is told none."""
    region = written.get("region")
    return BuildLocation(region.text, region.variable, region.place) if region is not None else None


def _copies(written: Written) -> Copies | None:
    """The regions that a builder copies its AMI to, or None where it copies to none."""
    attribute = "ami_regions"
    value = written.get(attribute)
    if value is None:
        return None
    # A text is split where the plugin takes a list, which is what the variables of a JSON template can hold.
    regions = [region.strip() for one in value.listed if one is not None for region in one.split(",")]
    found = Copies(tuple(filter(None, dict.fromkeys(regions))), None not in value.listed, value.place, attribute)
    return found if found.locations or not found.all_known else None


def _tags(written: Written, attribute: str, block: str) -> Mapping[str, str | None]:
    """What an attribute such as `tags` sets, and blocks such as `tag { key = "…" value = "…" }`, one a tag.

    Values by name, as far as the names are known; None for a value that only the build knows.
    """
    value = written.get(attribute)
    found: dict[str, str | None] = dict(value.named) if value is not None else {}
    for one in written.blocks(block):
        key = one.get("key")
        name = key.text if key is not None else None
        if name is not None:
            found[name] = text(one, "value")
    return found


@dataclass(frozen=True)
class _Source:
    """What a builder is built on: the request that its template states, or why it states none that can be told."""

    request: SourceRequest | None = None
    place: Place | None = None
    unpinned: str | None = None


def _source(written: Written) -> _Source:
    """The template's own choice of a source AMI, and where it is made.

    Raises:
        UserError: an id that is none, a filter without owners, or no choice at all, which no Packer takes.
    """
    if text(written, "from_scratch") == "true":
        return _Source()
    named, filters = written.get("source_ami"), written.blocks("source_ami_filter")
    # The plugin takes an empty id for none, and looks at the filter.
    if named is not None and not (filters and named.is_empty):
        return _named(named)
    for block in filters:
        return _filtered(block)
    if any(block.type == "dynamic" for block in written.blocks()):
        return _Source(unpinned="it is in a dynamic block whose list is not known")
    if written.get("from_scratch") is not None:
        return _Source(unpinned="it is not known whether it is made from scratch")
    raise UserError(
        f"{written.name} is built on nothing: it names no source_ami and no source_ami_filter",
        where=written.place,
        hint='add one, such as source_ami_filter { filters = { name = "…" }, owners = ["…"], most_recent = true }',
    )


def _named(value: Value) -> _Source:
    data = value.data
    if data is not None:
        return replace(_from_data(data), place=value.place)
    if value.text:
        return _Source(_request(value.place, ami={"id": value.text}), value.place)
    return _Source(place=value.place, unpinned=f"source_ami: {value.why_unknown or 'it is empty'}")


def _from_data(data: Written) -> _Source:
    if data.type == "amazon-ami":
        return _filtered(data)
    name = text(data, "name")
    if data.type == "amazon-parameterstore" and name:
        return _Source(_request(data.place, ssm=name), data.place)
    return _Source(place=data.place, unpinned=f"Packer reads it of data.{data.type}.{data.name}")


def _filtered(block: Written) -> _Source:
    """A filter as a request, if all of it can be known."""
    filters: dict[str, list[str]] = {}
    written = block.get("filters")
    members = written.members if written is not None else {}
    if members is None:
        return _Source(place=block.place, unpinned="a part of its filter is not known")
    for key, texts in members.items():
        if texts is None:
            return _Source(place=block.place, unpinned=f"{key} of its filter is not known")
        filters[key] = list(texts)
    owners = block.get("owners")
    known = owners.texts if owners is not None else ()
    if known is None:
        return _Source(place=block.place, unpinned="the owners of its filter are not known")
    if owners is not None and owners.text is not None:
        known = tuple(owners.text.split(","))  # The plugin takes a list, and splits a text where one is given to it.
    ami: dict[str, object] = {"owners": known}
    for key in ("name", "architecture"):
        if len(filters.get(key, ())) == 1:
            ami[key] = filters.pop(key)[0]
    return _Source(_request(block.place, ami={**ami, "filters": filters}), block.place)


def _request(place: Place, *, ami: Mapping[str, object] | None = None, ssm: str | None = None) -> SourceRequest:
    if ssm is not None:
        if not re.fullmatch(r"/[A-Za-z0-9_.\-/]+", ssm):
            raise _no_source(ssm, place)
        return SourceRequest.model_validate({"ssm": ssm})
    try:
        asked = AmiRequest.model_validate(ami)
    except ValidationError as error:
        report = error.errors()[0]
        if report["type"] == "value_error":
            raise UserError(f"source: {report['ctx']['error']}", where=place, hint="fix the template") from error
        raise _no_source(report["input"], place) from error
    return SourceRequest.model_validate({"ami": asked.model_dump(mode="json", exclude_defaults=True)})


def _no_source(written: object, place: Place) -> UserError:
    return UserError(
        f'source: "{written}" is neither an AMI id nor a parameter\'s name',
        where=place,
        hint="an AMI id is ami- and hexadecimal digits; or declare `source` in image.yaml",
    )


# What `validate` says of a template that works, and could be better kept.


def _requires_imdsv2(written: Written) -> bool:
    return any(_may_be(block, "http_tokens", "required") for block in written.blocks("metadata_options"))


def _encrypts(written: Written) -> bool:
    blocks = [written, *written.blocks(*_MAPPINGS)]
    return any(_may_be(one, name, "true") for one in blocks for name in ("encrypt_boot", "encrypted"))


def _may_be(written: Written, attribute: str, wanted: str) -> bool:
    """Whether an attribute has a value, or one that can't be known: that is no reason to complain."""
    value = written.get(attribute)
    return value is not None and (value.text is None or value.text.lower() == wanted)
