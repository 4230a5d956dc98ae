"""What launches AMIs in a region: launch templates in all versions, groups, launch configurations, fleets."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.aws.errors import code_of
from reconciler.aws.session import Clients
from reconciler.model.observation import TemplateVersion
from reconciler.model.text import visible
from reconciler.model.usage import INSTEAD, Use
from reconciler.registries.ec2.aliases import LATE, Aliases
from reconciler.registries.ec2.images import FLEET_TAG

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import (
        DescribeLaunchTemplateVersionsRequestTypeDef,
        LaunchTemplateTypeDef,
        LaunchTemplateVersionTypeDef,
    )

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
        self._ids: dict[str, str] = {}
        self._aliases = Aliases(clients, location)
        self._launch_none = False
        """Whether every template was read, and none launches one of these, or may by an alias."""

    @property
    def unread(self) -> Sequence[str]:
        """Why it is not known what an alias stands for that something launches by, one cause a text."""
        return self._aliases.unread

    def templates(self) -> Iterator[Use]:
        """Every version of every template: a group, or a person, may name an old one."""
        ec2 = self._clients.ec2(self._location)
        pages = ec2.get_paginator("describe_launch_templates").paginate(PaginationConfig={"PageSize": _PAGE})
        templates = [one for page in pages for one in page["LaunchTemplates"]]
        self._versions |= self._told_together(templates)
        late: list[tuple[LaunchTemplateTypeDef, LaunchTemplateVersionTypeDef]] = []
        launch_none = True
        for template in templates:
            if template["LaunchTemplateId"] not in self._versions:
                self._versions[template["LaunchTemplateId"]] = self._read_versions(template["LaunchTemplateId"])
            self._ids[template["LaunchTemplateName"]] = template["LaunchTemplateId"]
            self._aliases.account = _account_in(template.get("CreatedBy", "")) or self._aliases.account
            for version in self._versions[template["LaunchTemplateId"]]:
                image = _image_of(version)
                launch_none &= image not in self._wanted and not image.startswith(LATE)
                if image in self._wanted:
                    yield self._of_version(template, version, image)
                elif image.startswith(LATE):
                    late.append((template, version))
        self._launch_none = launch_none
        self._aliases.look_up(_image_of(version) for _, version in late)
        for template, version in late:
            written = _image_of(version)
            for image in sorted(self._aliases.images(written) & self._wanted):
                yield self._of_alias(template, version, written, image)

    def _told_together(
        self, templates: Sequence[LaunchTemplateTypeDef]
    ) -> Mapping[str, list[LaunchTemplateVersionTypeDef]]:
        """All versions of those templates that have no more than their default and their latest, by template.

        EC2 tells these two of every template by one listing (`Versions` of DescribeLaunchTemplateVersions, EC2's API
        reference). It is asked for where it saves more calls than it has pages. Only a template whose answer runs from
        version 1 on without a gap is told whole by it.
        """
        few = [one for one in templates if _has_no_other(one["DefaultVersionNumber"], one["LatestVersionNumber"])]
        if len(few) <= -(-2 * len(templates) // _PAGE):
            return {}
        pages = self._clients.ec2(self._location).get_paginator("describe_launch_template_versions").paginate(
            Versions=["$Latest", "$Default"], PaginationConfig={"PageSize": _PAGE}
        )  # fmt: skip
        told: dict[str, dict[int, LaunchTemplateVersionTypeDef]] = {}
        for version in (one for page in pages for one in page["LaunchTemplateVersions"]):
            told.setdefault(version["LaunchTemplateId"], {})[version["VersionNumber"]] = version
        return {
            template: [versions[number] for number in sorted(versions)]
            for template, versions in told.items()
            if len(versions) == max(versions)
        }

    def _read_versions(self, template_id: str) -> list[LaunchTemplateVersionTypeDef]:
        pages = self._clients.ec2(self._location).get_paginator("describe_launch_template_versions").paginate(
            LaunchTemplateId=template_id, PaginationConfig={"PageSize": _PAGE}
        )  # fmt: skip
        return [one for page in pages for one in page["LaunchTemplateVersions"]]

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
        followed = self._aliases.follows(written)
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
                yield from self._by(
                    self._launched(template),
                    f"group {visible(name)}, by version {_version_of(template)} of {_called(template)}",
                    f"have it name another version, then {command}", parameter=f"group {name}",
                )  # fmt: skip

    def fleets(self) -> Iterator[Use]:
        """EC2 Fleets that launch again and again, and Spot Fleet requests: whatever ends of theirs they replace.

        A fleet of type `instant` launches once, and EC2 lists none (DescribeFleets, EC2's API reference). All others
        launch by a template alone (`ImageId` of FleetLaunchTemplateOverrides, ibid.), so that they are not asked for
        where no template launches any of these. Spot Fleet requests name AMIs as well.
        """
        ec2 = self._clients.ec2(self._location)
        pages = ec2.get_paginator("describe_fleets").paginate() if not self._launch_none else ()
        for fleet in (one for page in pages for one in page["Fleets"] if _launches(one.get("FleetState"))):
            change = f"`aws ec2 modify-fleet --region {self._location} --fleet-id {fleet['FleetId']}`"
            yield from self._of_fleet(f"EC2 Fleet {fleet['FleetId']}", fleet.get("LaunchTemplateConfigs", ()), change)
        told = ec2.get_paginator("describe_spot_fleet_requests").paginate()
        for request in (one for page in told for one in page["SpotFleetRequestConfigs"]):
            if not _launches(request.get("SpotFleetRequestState")):
                continue
            asked, called = request["SpotFleetRequestConfig"], f"Spot Fleet request {request['SpotFleetRequestId']}"
            cancel = (
                f"`aws ec2 cancel-spot-fleet-requests --region {self._location} --no-terminate-instances "
                f"--spot-fleet-request-ids {request['SpotFleetRequestId']}`"
            )
            named = {one["ImageId"] for one in asked.get("LaunchSpecifications", ()) if one.get("ImageId")}
            yield from self._by(named, called, f"make another one, then {cancel}")
            yield from self._of_fleet(called, asked.get("LaunchTemplateConfigs", ()), cancel)

    def _of_fleet(self, called: str, configs: Iterable[Mapping[str, Any]], command: str) -> Iterator[Use]:
        """What a fleet launches by templates, and by what it says in their place."""
        hint = f"make another version and have the fleet name it: {command}"
        for config in configs:
            overrides = {one["ImageId"] for one in config.get("Overrides") or () if one.get("ImageId")}
            yield from self._by(overrides, f"{called}, by an override", hint)
            if template := config.get("LaunchTemplateSpecification"):
                said = f"{called}, by version {_version_of(template)} of {_called(template)}"
                yield from self._by(self._launched(template), said, hint)

    def _by(self, written: Iterable[str], by: str, hint: str, *, parameter: str | None = None) -> Iterator[Use]:
        """Uses by what stands in the place of AMIs' ids. What follows a parameter goes where that goes."""
        for one in sorted(written):
            followed = self._aliases.follows(one)
            told = f"{by} with {visible(one)}" if one.startswith(LATE) else by
            for image in sorted(self._aliases.images(one) & self._wanted):
                yield Use(
                    (self._location, image), told, hint if followed is None else _FOLLOWS,
                    parameter=parameter if followed is None else followed,
                )  # fmt: skip

    def _launched(self, template: Mapping[str, Any]) -> set[str]:
        """What the version launches that a specification names: as it was read, else asked for.

        As where templates may not be listed. A template, or a version, that is gone launches nothing.
        """
        identity, version = self._identity(template), _version_of(template)
        known = self._versions.get(identity, [])
        aliases = {
            "$Latest": str(max((one["VersionNumber"] for one in known), default="")),
            "$Default": next((str(one["VersionNumber"]) for one in known if one.get("DefaultVersion")), ""),
        }
        found = [one for one in known if str(one["VersionNumber"]) == aliases.get(version, version)]
        if not found:
            asked: DescribeLaunchTemplateVersionsRequestTypeDef = {"Versions": [version]}
            if identity:
                asked["LaunchTemplateId"] = identity
            else:
                asked["LaunchTemplateName"] = _called(template)
            try:
                answer = self._clients.ec2(self._location).describe_launch_template_versions(**asked)
            except ClientError as error:
                if code_of(error) in _GONE:
                    return set()
                raise
            found = answer["LaunchTemplateVersions"]
        return {_image_of(one) for one in found}

    def _identity(self, template: Mapping[str, Any]) -> str:
        """The id of a template that a specification names; empty where it names a template that was not listed."""
        named: str = template.get("LaunchTemplateId") or self._ids.get(_called(template), "")
        return named

    def configurations(self) -> Iterator[Use]:
        """Launch configurations, whether or not a group has them."""
        scaling = self._clients.client("autoscaling", self._location, config=_PATIENT)
        pages = scaling.get_paginator("describe_launch_configurations").paginate(PaginationConfig={"PageSize": 100})
        found = [one for page in pages for one in page["LaunchConfigurations"]]
        for one in found:
            self._aliases.account = _account_in(one.get("LaunchConfigurationARN", "")) or self._aliases.account
        self._aliases.look_up(one["ImageId"] for one in found)
        for one in found:
            yield from self._by(
                {one["ImageId"]}, f"launch configuration {visible(one['LaunchConfigurationName'])}",
                "move its groups to a launch template: a launch configuration can't be changed",
            )  # fmt: skip


def _has_no_other(default: int, latest: int) -> bool:
    """Whether a template may have its default and its latest version alone, by their numbers."""
    return latest == 1 or (default, latest) == (1, 2)


_GONE = frozenset({
    "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound",
    "InvalidLaunchTemplateName.NotFoundException",
})  # fmt: skip
_FOLLOWS = "it launches whatever that parameter holds: have the parameter name another"


def _account_in(arn: str) -> str:
    """The account of whatever an ARN names; empty where that is none."""
    parts = arn.split(":")
    return parts[4] if len(parts) > 5 else ""


def shell_word(name: str) -> str:
    """A name as one word of a shell's command, between backticks; somebody else gave it, and a group's is any text."""
    return shlex.quote(name) if name.isprintable() and "`" not in name else "NAME"


def _launches(state: str | None) -> bool:
    """Whether a fleet in a state may launch something yet; one of no state may. EC2 writes `-` in filters, `_` here."""
    return not (state or "").startswith(("deleted", "cancelled", "failed"))


def _version_of(template: Mapping[str, Any]) -> str:
    return str(template.get("Version") or "$Default")


def _called(template: Mapping[str, Any]) -> str:
    return str(template.get("LaunchTemplateName") or template.get("LaunchTemplateId") or "")


def _image_of(version: LaunchTemplateVersionTypeDef) -> str:
    return version["LaunchTemplateData"].get("ImageId", "")


def _said(template: LaunchTemplateTypeDef, version: LaunchTemplateVersionTypeDef) -> str:
    default = " (default)" if version.get("DefaultVersion") else ""
    return f"launch template {template['LaunchTemplateName']} version {version['VersionNumber']}{default}"
