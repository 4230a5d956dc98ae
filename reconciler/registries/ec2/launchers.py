"""What launches AMIs in a region: launch templates in all versions, groups, launch configurations."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from botocore.config import Config

from reconciler.aws.session import Clients
from reconciler.model.observation import TemplateVersion
from reconciler.model.text import visible
from reconciler.model.usage import INSTEAD, Use
from reconciler.registries.ec2.aliases import LATE, Aliases, follows
from reconciler.registries.ec2.images import FLEET_TAG

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import LaunchTemplateTypeDef, LaunchTemplateVersionTypeDef

_PAGE = 200
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 8})


class Launchers:
    """What launches some AMIs in one region. Each list is asked for when it is walked, and raises what botocore raises.

    Templates are to be walked first: what their versions launch is not asked for again.
    """

    def __init__(self, clients: Clients, location: str, wanted: frozenset[str], *, fleet: str) -> None:
        """Take what it is about; nothing is asked yet. `fleet` is the value of the tag on templates of ours."""
        self._clients, self._location, self._wanted, self._fleet = clients, location, wanted, fleet
        self._versions: dict[str, list[LaunchTemplateVersionTypeDef]] = {}
        self._aliases = Aliases(clients, location)

    @property
    def unread(self) -> Sequence[str]:
        """Why it is not known what an alias stands for that something launches by, one cause a text."""
        return self._aliases.unread

    def templates(self) -> Iterator[Use]:
        """Every version of every template: a group, or a person, may name an old one."""
        ec2 = self._clients.ec2(self._location)
        pages = ec2.get_paginator("describe_launch_templates").paginate(PaginationConfig={"PageSize": _PAGE})
        late: list[tuple[LaunchTemplateTypeDef, LaunchTemplateVersionTypeDef]] = []
        for template in (one for page in pages for one in page["LaunchTemplates"]):
            versions = ec2.get_paginator("describe_launch_template_versions").paginate(
                LaunchTemplateId=template["LaunchTemplateId"], PaginationConfig={"PageSize": _PAGE}
            )
            found = [one for page in versions for one in page["LaunchTemplateVersions"]]
            self._versions[template["LaunchTemplateId"]] = found
            for version in found:
                image = _image_of(version)
                if image in self._wanted:
                    yield self._of_version(template, version, image)
                elif image.startswith(LATE):
                    late.append((template, version))
        self._aliases.look_up(_image_of(version) for _, version in late)
        for template, version in late:
            written = _image_of(version)
            for image in sorted(self._aliases.images(written) & self._wanted):
                yield self._of_alias(template, version, written, image)

    def _of_version(
        self, template: LaunchTemplateTypeDef, version: LaunchTemplateVersionTypeDef, image: str
    ) -> Use:  # fmt: skip
        ours = {"Key": FLEET_TAG, "Value": self._fleet} in template.get("Tags", ())
        default = bool(version.get("DefaultVersion"))
        return Use(
            (self._location, image),
            _said(template, version),
            self._another_version(template, version),
            parameter=f"launch template {template['LaunchTemplateName']}",
            version=TemplateVersion(version["VersionNumber"], image, version.get("VersionDescription", "")),
            default=default,
            spare=ours and not default and version["VersionNumber"] != template["LatestVersionNumber"],
        )

    def _of_alias(
        self, template: LaunchTemplateTypeDef, version: LaunchTemplateVersionTypeDef, written: str, image: str
    ) -> Use:
        """A version that looks an AMI up. No version of ours does, so that it is a use until somebody ends it."""
        followed = follows(written)
        return Use(
            (self._location, image), f"{_said(template, version)}, by {visible(written)}",
            self._another_version(template, version) if followed is None else _FOLLOWS, parameter=followed,
        )  # fmt: skip

    def _another_version(self, template: LaunchTemplateTypeDef, version: LaunchTemplateVersionTypeDef) -> str:
        return (
            f"`aws ec2 create-launch-template-version --region {self._location} --launch-template-id "
            f"{template['LaunchTemplateId']} --source-version {version['VersionNumber']} "
            f"--launch-template-data ImageId={INSTEAD}`"
        )

    def groups(self) -> Iterator[Use]:
        """Auto Scaling groups, by the version of a template that they name today, also behind an alias."""
        scaling = self._clients.client("autoscaling", self._location, config=_PATIENT)
        pages = scaling.get_paginator("describe_auto_scaling_groups").paginate(PaginationConfig={"PageSize": 100})
        for group in (one for page in pages for one in page["AutoScalingGroups"]):
            mixed = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
            named = [group.get("LaunchTemplate"), mixed.get("LaunchTemplateSpecification")]
            named += [one.get("LaunchTemplateSpecification") for one in mixed.get("Overrides", ())]
            name = group["AutoScalingGroupName"]
            command = (
                f"`aws autoscaling start-instance-refresh --region {self._location} --auto-scaling-group-name "
                f"{shell_word(name)}`"
            )
            overrides = {one["ImageId"] for one in mixed.get("Overrides", ()) if one.get("ImageId")}
            yield from self._by(
                overrides, f"group {visible(name)}, by an override of its mixed instances policy",
                f"have the override name another image, then {command}", parameter=f"group {name}",
            )  # fmt: skip
            for template in (one for one in named if one):
                version = template.get("Version") or "$Default"
                yield from self._by(
                    self._launched(template["LaunchTemplateId"], version),
                    f"group {visible(name)}, by version {version} of {template['LaunchTemplateName']}",
                    f"have it name another version, then {command}", parameter=f"group {name}",
                )  # fmt: skip

    def _by(self, written: Iterable[str], by: str, hint: str, *, parameter: str | None = None) -> Iterator[Use]:
        """Uses by what stands in the place of AMIs' ids. What follows a parameter goes where that goes."""
        for one in sorted(written):
            followed = follows(one)
            told = f"{by} with {visible(one)}" if one.startswith(LATE) else by
            for image in sorted(self._aliases.images(one) & self._wanted):
                yield Use(
                    (self._location, image), told, hint if followed is None else _FOLLOWS,
                    parameter=parameter if followed is None else followed,
                )  # fmt: skip

    def _launched(self, template: str, version: str) -> set[str]:
        """What a version launches: as it was read, else asked for, as where templates may not be listed."""
        known = self._versions.get(template, [])
        aliases = {
            "$Latest": str(max((one["VersionNumber"] for one in known), default="")),
            "$Default": next((str(one["VersionNumber"]) for one in known if one.get("DefaultVersion")), ""),
        }
        found = [one for one in known if str(one["VersionNumber"]) == aliases.get(version, version)]
        if not found:
            answer = self._clients.ec2(self._location).describe_launch_template_versions(
                LaunchTemplateId=template, Versions=[version]
            )
            found = answer["LaunchTemplateVersions"]
        return {_image_of(one) for one in found}

    def configurations(self) -> Iterator[Use]:
        """Launch configurations, whether or not a group has them."""
        scaling = self._clients.client("autoscaling", self._location, config=_PATIENT)
        pages = scaling.get_paginator("describe_launch_configurations").paginate(PaginationConfig={"PageSize": 100})
        found = [one for page in pages for one in page["LaunchConfigurations"]]
        self._aliases.look_up(one["ImageId"] for one in found)
        for one in found:
            yield from self._by(
                {one["ImageId"]}, f"launch configuration {visible(one['LaunchConfigurationName'])}",
                "move its groups to a launch template: a launch configuration can't be changed",
            )  # fmt: skip


_FOLLOWS = "it launches whatever that parameter holds: have the parameter name another"


def shell_word(name: str) -> str:
    """A name as one word of a shell's command, between backticks; somebody else gave it, and a group's is any text."""
    return shlex.quote(name) if name.isprintable() and "`" not in name else "NAME"


def _image_of(version: LaunchTemplateVersionTypeDef) -> str:
    return version["LaunchTemplateData"].get("ImageId", "")


def _said(template: LaunchTemplateTypeDef, version: LaunchTemplateVersionTypeDef) -> str:
    default = " (default)" if version.get("DefaultVersion") else ""
    return f"launch template {template['LaunchTemplateName']} version {version['VersionNumber']}{default}"
