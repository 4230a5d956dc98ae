"""Who uses an AMI in this account: instances, launch templates in all versions, groups, parameters.

Each is asked of its own list, so that one that may not be read is told, and the others count all the same. EC2's
DescribeImageReferences would answer for most of them at once, but looks at ten versions of a template if it is not
told otherwise, and says nothing of groups. Nothing here sees other accounts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from botocore.config import Config

from reconciler.aws.errors import translated
from reconciler.aws.session import Clients
from reconciler.model.collection import Unmanaged
from reconciler.model.errors import ReconcilerError
from reconciler.model.observation import TemplateVersion
from reconciler.model.text import visible
from reconciler.model.usage import INSTEAD, Usage, Use
from reconciler.registries.ec2.images import FLEET_TAG, PAGE, seen
from reconciler.registries.plain import unmanaged_of

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, LaunchTemplateVersionTypeDef

_MOST_IDS = 200
"""Of values in one filter (EC2 user guide, "Filter your resources")."""
_PAGE = 200
_MOST_NAMES = 10
"""Of parameters in one GetParameters (SSM API reference)."""
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 8})
_OF_GROUP = "aws:autoscaling:groupName"
"""The tag that Auto Scaling gives to what it launches ("Tag Auto Scaling groups", its user guide)."""
_Versions = dict[str, "list[LaunchTemplateVersionTypeDef]"]
"""Versions of launch templates by the template's id, all of each."""
_LIVE = ("pending", "running", "stopping", "stopped", "shutting-down")


def usage(clients: Clients, location: str, ids: Sequence[str], *, fleet: str) -> Usage:
    """What uses these AMIs in a region, and what of that is a fleet's own.

    Never raises for what can't be read: that is told in `unread`.
    """
    wanted = frozenset(ids)
    read: _Versions = {}
    asked: tuple[tuple[str, Callable[[], Iterator[Use]]], ...] = (
        ("instances", partial(_instances, clients, location, sorted(wanted))),
        ("launch templates", partial(_templates, clients, location, wanted, fleet, read)),
        ("Auto Scaling groups", partial(_groups, clients, location, wanted, read)),
        ("launch configurations", partial(_configurations, clients, location, wanted)),
        ("parameters", partial(_parameters, clients, location, wanted)),
    )
    found: list[Use] = []
    unread: list[str] = []
    for what, ask in asked if wanted else ():
        try:
            with translated(f"listing {what} in {location}"):
                found += ask()
        except ReconcilerError as error:
            unread.append(error.what)
    return Usage(tuple(found), {location: tuple(unread)} if unread else {})


def _instances(clients: Clients, location: str, ids: Sequence[str]) -> Iterator[Use]:
    """Those that run, and those that are stopped: they start from their own disks, and are replaced from the AMI."""
    filters: list[FilterTypeDef] = [{"Name": "instance-state-name", "Values": list(_LIVE)}]
    # Of more images than a filter takes, one listing of all that live is shorter than one for each few.
    filters += [{"Name": "image-id", "Values": list(ids)}] if len(ids) <= _MOST_IDS else []
    pages = (
        clients.ec2(location)
        .get_paginator("describe_instances")
        .paginate(Filters=filters, PaginationConfig={"PageSize": 1000})
    )
    wanted = frozenset(ids)
    every = (one for page in pages for group in page["Reservations"] for one in group["Instances"])
    for instance in (one for one in every if one["ImageId"] in wanted):
        command = f"aws ec2 terminate-instances --region {location} --instance-ids {instance['InstanceId']}"
        group = next((tag["Value"] for tag in instance.get("Tags", ()) if tag["Key"] == _OF_GROUP), None)
        member = f" of group {visible(group)}" if group is not None else ""
        yield Use(
            (location, instance["ImageId"]),
            f"instance {instance['InstanceId']} ({instance['State']['Name']}){member}",
            f"replace it, then `{command}`" if group is None else "it is replaced with its group",
        )


def _templates(
    clients: Clients, location: str, wanted: frozenset[str], fleet: str, read: _Versions
) -> Iterator[Use]:  # fmt: skip
    """Every version of every template: a group, or a person, may name an old one. `read` takes all that is read."""
    ec2 = clients.ec2(location)
    pages = ec2.get_paginator("describe_launch_templates").paginate(PaginationConfig={"PageSize": _PAGE})
    for template in (one for page in pages for one in page["LaunchTemplates"]):
        ours = {"Key": FLEET_TAG, "Value": fleet} in template.get("Tags", ())
        versions = ec2.get_paginator("describe_launch_template_versions").paginate(
            LaunchTemplateId=template["LaunchTemplateId"], PaginationConfig={"PageSize": _PAGE}
        )
        read[template["LaunchTemplateId"]] = [one for page in versions for one in page["LaunchTemplateVersions"]]
        for version in read[template["LaunchTemplateId"]]:
            image = version["LaunchTemplateData"].get("ImageId")
            if image in wanted:
                default = " (default)" if version.get("DefaultVersion") else ""
                yield Use(
                    (location, image),
                    f"launch template {template['LaunchTemplateName']} version {version['VersionNumber']}{default}",
                    f"`aws ec2 create-launch-template-version --region {location} --launch-template-id "
                    f"{template['LaunchTemplateId']} --source-version {version['VersionNumber']} "
                    f"--launch-template-data ImageId={INSTEAD}`",
                    parameter=f"launch template {template['LaunchTemplateName']}",
                    version=TemplateVersion(version["VersionNumber"], image, version.get("VersionDescription", "")),
                    default=bool(version.get("DefaultVersion")),
                    spare=ours and not default and version["VersionNumber"] != template["LatestVersionNumber"],
                )  # fmt: skip


def _groups(clients: Clients, location: str, wanted: frozenset[str], read: _Versions) -> Iterator[Use]:
    """Auto Scaling groups, by the version of a template that they name today, also behind an alias."""
    scaling = clients.client("autoscaling", location, config=_PATIENT)
    pages = scaling.get_paginator("describe_auto_scaling_groups").paginate(PaginationConfig={"PageSize": 100})
    for group in (one for page in pages for one in page["AutoScalingGroups"]):
        mixed = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
        named = [group.get("LaunchTemplate"), mixed.get("LaunchTemplateSpecification")]
        named += [one.get("LaunchTemplateSpecification") for one in mixed.get("Overrides", ())]
        name = group["AutoScalingGroupName"]
        command = f"aws autoscaling start-instance-refresh --region {location} --auto-scaling-group-name"
        for image in {one["ImageId"] for one in mixed.get("Overrides", ()) if one.get("ImageId") in wanted}:
            yield Use(
                (location, image), f"group {visible(name)}, by an override of its mixed instances policy",
                f"have the override name another image, then `{command} {shell_word(name)}`", parameter=f"group {name}",
            )  # fmt: skip
        for template in (one for one in named if one):
            version = template.get("Version") or "$Default"
            for image in _launched(clients, location, template["LaunchTemplateId"], version, read) & wanted:
                yield Use(
                    (location, image),
                    f"group {visible(name)}, by version {version} of {template['LaunchTemplateName']}",
                    f"have it name another version, then `{command} {shell_word(name)}`",
                    parameter=f"group {name}",
                )  # fmt: skip


def shell_word(name: str) -> str:
    """A name as one word of a shell's command, between backticks; somebody else gave it, and a group's is any text."""
    return shlex.quote(name) if name.isprintable() and "`" not in name else "NAME"


def _launched(clients: Clients, location: str, template: str, version: str, read: _Versions) -> set[str]:
    """What a version launches: as it was read, else asked for, as where templates may not be listed."""
    known = read.get(template, [])
    aliases = {
        "$Latest": str(max((one["VersionNumber"] for one in known), default="")),
        "$Default": next((str(one["VersionNumber"]) for one in known if one.get("DefaultVersion")), ""),
    }
    found = [one for one in known if str(one["VersionNumber"]) == aliases.get(version, version)]
    if not found:
        answer = clients.ec2(location).describe_launch_template_versions(LaunchTemplateId=template, Versions=[version])
        found = answer["LaunchTemplateVersions"]
    return {one["LaunchTemplateData"].get("ImageId", "") for one in found}


def _configurations(clients: Clients, location: str, wanted: frozenset[str]) -> Iterator[Use]:
    scaling = clients.client("autoscaling", location, config=_PATIENT)
    pages = scaling.get_paginator("describe_launch_configurations").paginate(PaginationConfig={"PageSize": 100})
    for one in (one for page in pages for one in page["LaunchConfigurations"]):
        if one["ImageId"] in wanted:
            yield Use(
                (location, one["ImageId"]), f"launch configuration {visible(one['LaunchConfigurationName'])}",
                "move its groups to a launch template: a launch configuration can't be changed",
            )  # fmt: skip


def _parameters(clients: Clients, location: str, wanted: frozenset[str]) -> Iterator[Use]:
    """Parameters of the data type of AMIs, by what they hold now.

    Others are not read: a role that may read every text of an account reads what is none of our business.
    """
    ssm = clients.ssm(location)
    pages = ssm.get_paginator("describe_parameters").paginate(
        ParameterFilters=[{"Key": "Type", "Option": "Equals", "Values": ["String"]}], PaginationConfig={"PageSize": 50}
    )
    listed = (one for page in pages for one in page["Parameters"])
    names = [one["Name"] for one in listed if one.get("DataType") == "aws:ec2:image"]
    for start in range(0, len(names), _MOST_NAMES):
        for one in ssm.get_parameters(Names=names[start : start + _MOST_NAMES])["Parameters"]:
            if one["Value"] in wanted:
                yield Use(
                    (location, one["Value"]), f"parameter {one['Name']}",
                    f"`aws ssm put-parameter --region {location} --name {one['Name']} --data-type aws:ec2:image "
                    f"--overwrite --value {INSTEAD}`",
                    parameter=one["Name"],
                )  # fmt: skip


# What the account has beside.

_MADE_FOR = re.compile(r"Created by CreateImage\(i-[0-9a-f]+\) for (ami-[0-9a-f]+)")
"""What EC2 itself writes on the snapshots of an AMI that it makes of an instance. Copies say something else."""


def unmanaged(clients: Clients, location: str) -> Sequence[Unmanaged] | None:
    """AMIs of this account that no fleet's tag is on, and snapshots that were made for an AMI that is gone.

    Costs a listing of all of the account's AMIs, and one of all its snapshots. None where one could not be read.
    """
    try:
        with translated(f"listing what is in {location}"):
            ec2 = clients.ec2(location)
            pages = ec2.get_paginator("describe_images").paginate(
                Owners=["self"], IncludeDisabled=True, PaginationConfig={"PageSize": PAGE}
            )
            images = [seen(one, location) for page in pages for one in page["Images"] if one["State"] != "deregistered"]
            listed = ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], PaginationConfig={"PageSize": 1000}
            )
            made = {
                one["SnapshotId"]: match[1]
                for page in listed
                for one in page["Snapshots"]
                if (match := _MADE_FOR.match(one.get("Description", "")))
            }
    except ReconcilerError:
        return None
    there = {one.id for one in images}
    orphans = [
        Unmanaged(kind="snapshot", location=location, id=snapshot, name=f"of {image}")
        for snapshot, image in sorted(made.items())
        if image not in there
    ]
    return [*unmanaged_of(images), *orphans]
