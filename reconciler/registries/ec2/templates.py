"""EC2's launch templates, that get a numbered version for an AMI; with SSM's parameters they are what is published to.

The calls are those of EC2's API reference: DescribeLaunchTemplates and DescribeLaunchTemplateVersions by pages of 200,
CreateLaunchTemplateVersion with SourceVersion, which takes over all but what LaunchTemplateData names, and
ModifyLaunchTemplate, whose DefaultVersion is all that it changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reconciler.aws.errors import translated
from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import Template, TemplateVersion
from reconciler.registries.ec2.aliases import LATE
from reconciler.registries.ec2.images import FLEET_TAG
from reconciler.registries.ec2.parameters import Parameters

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import (
        ImageTypeDef,
        InstanceTypeInfoTypeDef,
        LaunchTemplateTypeDef,
        LaunchTemplateVersionTypeDef,
    )

_PAGE = 200
"""The most that one page holds, and that one filter names (EC2's API reference)."""


class ParametersAndTemplates(Parameters):
    """One fleet's parameters, and the launch templates with its tag, in one account.

    They are what `Publisher` promises of names and templates; `Consumers` is all of it.
    """

    def templates(self, location: str, names: Sequence[str]) -> Mapping[str, Template]:
        """The templates: a call for every 200, and one for every 200 versions of each. See `Publisher.templates`."""
        found: dict[str, Template] = {}
        with translated(f"reading launch templates in {location}"):
            ec2 = self._ec2(location)
            listing = ec2.get_paginator("describe_launch_templates")
            for first in range(0, len(names), _PAGE):
                pages = listing.paginate(
                    Filters=[{"Name": "launch-template-name", "Values": list(names[first : first + _PAGE])}],
                    PaginationConfig={"PageSize": _PAGE},
                )
                for one in (each for page in pages for each in page["LaunchTemplates"]):
                    found[one["LaunchTemplateName"]] = self._template(ec2, one)
        return found

    def unfit(self, location: str, template: Template, artifact_id: str) -> str | None:
        """Why the template's instance type can't boot an AMI. See `Publisher.unfit`."""
        kind = template.instance_type
        if kind is None:
            return None
        with translated(f"comparing {artifact_id} with {kind} in {location}"):
            ec2 = self._ec2(location)
            types = ec2.describe_instance_types(InstanceTypes=[kind])["InstanceTypes"]  # type: ignore[list-item]  # text
            images = ec2.describe_images(ImageIds=[artifact_id])["Images"]
        return unbootable(types, images[0]) if images else None

    def add_version(self, location: str, template: Template, artifact_id: str, *, description: str) -> int:
        """Make a version, and read it back. See `Publisher.add_version`.

        The token is the same for a template as it is, a build (by the description) and an AMI: a call that is repeated
        before its version can be seen makes no other one.
        """
        self._refuse(location, template)
        said = f"{template.id} {template.default} {description} {artifact_id}"
        with translated(f"making a version of launch template {template.id} in {location}"):
            ec2 = self._ec2(location)
            made = ec2.create_launch_template_version(
                LaunchTemplateId=template.id, SourceVersion=str(template.default), VersionDescription=description,
                LaunchTemplateData={"ImageId": artifact_id}, ClientToken=hashlib.sha256(said.encode()).hexdigest(),
            )["LaunchTemplateVersion"]["VersionNumber"]  # fmt: skip
            read = ec2.describe_launch_template_versions(LaunchTemplateId=template.id, Versions=[str(made)])
        found = [_version(one) for one in read["LaunchTemplateVersions"]]
        if [(one.number, one.image, one.says) for one in found] != [(made, artifact_id, description)]:
            raise Transient(f"version {made} of launch template {template.id} in {location} is not what was made")
        return made

    def set_default(self, location: str, template: Template, version: int) -> None:
        """Move the default. See `Publisher.set_default`."""
        self._refuse(location, template)
        with translated(f"setting the default of launch template {template.id} in {location}"):
            self._ec2(location).modify_launch_template(LaunchTemplateId=template.id, DefaultVersion=str(version))

    def remove_version(self, location: str, name: str, version: int, artifact_id: str) -> None:
        """Delete a version, once it was looked at. See `Publisher.remove_version`."""
        template = self.templates(location, [name]).get(name)
        there = {one.number: one for one in template.versions} if template is not None else {}
        if template is None or version not in there:
            return
        self._refuse(location, template)
        said = f"version {version} of launch template {name} in {location}"
        if there[version].image != artifact_id or template.default == version:
            raise Terminal(f"{said} stays: it is the default one by now, or has another AMI than {artifact_id}")
        with translated(f"deleting {said}"):
            answer = self._ec2(location).delete_launch_template_versions(
                LaunchTemplateId=template.id, Versions=[str(version)]
            )
        for one in answer.get("UnsuccessfullyDeletedLaunchTemplateVersions", ()):
            code = one.get("ResponseError", {}).get("Code", "")
            if code != "launchTemplateVersionDoesNotExist":
                raise Transient(f"{said} is not deleted: {one.get('ResponseError', {}).get('Message', code)}")

    def _template(self, ec2: EC2Client, one: LaunchTemplateTypeDef) -> Template:
        pages = ec2.get_paginator("describe_launch_template_versions").paginate(
            LaunchTemplateId=one["LaunchTemplateId"], PaginationConfig={"PageSize": _PAGE}
        )
        versions = [each for page in pages for each in page["LaunchTemplateVersions"]]
        default = one["DefaultVersionNumber"]
        first = next((each for each in versions if each["VersionNumber"] == default), None)
        image = _version(first).image if first is not None else ""
        late = f"its default version {default} takes {image}, which a version must not replace: {_INSTEAD}"
        return Template(
            id=one["LaunchTemplateId"],
            default=default,
            versions=tuple(sorted(map(_version, versions), key=lambda each: each.number)),
            ours=any((tag["Key"], tag["Value"]) == (FLEET_TAG, self._fleet) for tag in one.get("Tags", ())),
            instance_type=first["LaunchTemplateData"].get("InstanceType") if first is not None else None,
            misfit=late if image.startswith(LATE) else None,
        )

    def _refuse(self, location: str, template: Template) -> None:
        if not template.ours:
            raise Terminal(
                f"launch template {template.id} in {location} is not changed: it lacks {FLEET_TAG}={self._fleet}",
                hint="give another name in `publish.launch_templates`; if it is this fleet's, tag it so",
            )

    def _ec2(self, location: str) -> EC2Client:
        return self._clients.ec2(location)


_INSTEAD = "it follows the parameter by itself, so take its name away, or make a version with an AMI's id its default"


def _version(one: LaunchTemplateVersionTypeDef) -> TemplateVersion:
    data = one["LaunchTemplateData"]
    rest = {name: value for name, value in data.items() if name != "ImageId"}
    if isinstance(options := rest.get("MetadataOptions"), dict):
        rest["MetadataOptions"] = {name: value for name, value in options.items() if name != "State"}  # is not given
    said = json.dumps(rest, sort_keys=True, default=str)
    return TemplateVersion(
        one["VersionNumber"], data.get("ImageId", ""), one.get("VersionDescription", ""),
        hashlib.sha256(said.encode()).hexdigest(),
    )  # fmt: skip


def unbootable(types: Sequence[InstanceTypeInfoTypeDef], image: ImageTypeDef) -> str | None:
    """Why one of some instance types can't boot an AMI; None where all can, or nothing tells.

    By architecture, by boot mode, for which an AMI without one takes what the type has ("Boot modes", EC2 user guide),
    and by ENA, which newer types need (NetworkInfo.EnaSupport, DescribeInstanceTypes).
    """
    said = image["ImageId"]
    for one in types:
        kind, instead = one["InstanceType"], "give it another instance type"
        runs: Sequence[str] = one.get("ProcessorInfo", {}).get("SupportedArchitectures", ())
        has = image.get("Architecture")
        if runs and has and has not in runs:
            return f"it launches on {kind} ({', '.join(runs)}), and {said} is {has}: {instead}"
        modes: Sequence[str] = one.get("SupportedBootModes", ())
        mode = image.get("BootMode")
        if modes and mode and mode != "uefi-preferred" and mode not in modes:
            return f"it launches on {kind}, which boots by {' or '.join(modes)}, and {said} by {mode}: {instead}"
        if one.get("NetworkInfo", {}).get("EnaSupport") == "required" and image.get("EnaSupport") is False:
            return f"it launches on {kind}, which needs ENA, and {said} has none: {instead}, or build it with ENA"
    return None
