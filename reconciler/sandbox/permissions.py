"""IAM's say in a call, once it is asked for: by action, by resource, by condition.

moto 5.2.5 takes every call to be about the resource `*` and reads no conditions, so a statement that names resources
allows nothing there. Here a call that IAM judges by resource is about all that it makes and touches, each with its tags
("Actions, resources, and condition keys for Amazon EC2", service authorization reference); other calls are about `*`.
Whatever makes and tags a thing at once needs `ec2:CreateTags` as well, as on EC2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

from moto import settings
from moto.autoscaling.models import autoscaling_backends
from moto.core.authorization import ActionAuthenticatorMixin
from moto.ec2.models import ec2_backends
from moto.iam.access_control import IAMPolicy, IAMRequest
from moto.ssm.models import ssm_backends
from werkzeug.exceptions import BadRequest, Forbidden

from reconciler.aws.iam import Need, permitted, several
from reconciler.sandbox import parameters
from reconciler.sandbox.endpoint import SIGNED_PATH

# What a call touches: the kind, and what the parameters are called that name it.
_SUBJECTS = {
    "AuthorizeSecurityGroupIngress": {"security-group": "GroupId"},
    "CreateImage": {"instance": "InstanceId"},
    "CreateImageUsageReport": {"image": "ImageId"},
    "CreateLaunchTemplateVersion": {"launch-template": "LaunchTemplateId"},
    "CreateSecurityGroup": {"vpc": "VpcId"},
    "DeleteLaunchTemplateVersions": {"launch-template": "LaunchTemplateId"},
    "DeleteImageUsageReport": {"image-usage-report": "ReportId"},
    "DeleteKeyPair": {"key-pair": "KeyName|KeyPairId"},
    "DeleteSecurityGroup": {"security-group": "GroupId"},
    "DeleteSnapshot": {"snapshot": "SnapshotId"},
    "DeleteVolume": {"volume": "VolumeId"},
    "DeregisterImage": {"image": "ImageId"},
    "DescribeImageAttribute": {"image": "ImageId"},
    "DisableImage": {"image": "ImageId"},
    "DisableImageDeprecation": {"image": "ImageId"},
    "DisableImageDeregistrationProtection": {"image": "ImageId"},
    "EnableImage": {"image": "ImageId"},
    "EnableImageDeprecation": {"image": "ImageId"},
    "EnableImageDeregistrationProtection": {"image": "ImageId"},
    "GetConsoleOutput": {"instance": "InstanceId"},
    "ModifyImageAttribute": {"image": "ImageId"},
    "ModifyInstanceAttribute": {"instance": "InstanceId"},
    "ModifyLaunchTemplate": {"launch-template": "LaunchTemplateId"},
    "RestoreImageFromRecycleBin": {"image": "ImageId"},
    "RestoreSnapshotFromRecycleBin": {"snapshot": "SnapshotId"},
    "RunInstances": {
        "image": "ImageId",
        "key-pair": "KeyName",
        "security-group": r"(NetworkInterface\.\d+\.)?SecurityGroupId",
        "snapshot": r"BlockDeviceMapping\.\d+\.Ebs\.SnapshotId",
        "subnet": r"(NetworkInterface\.\d+\.)?SubnetId",
    },
    "StopInstances": {"instance": "InstanceId"},
    "TerminateInstances": {"instance": "InstanceId"},
}
# The kinds of what a call makes, and which parameter names it, where one does.
_MADE: Mapping[str, Mapping[str, str | None]] = {
    "CopyImage": {"image": None, "snapshot": None},
    "CreateImage": {"image": None, "snapshot": None},
    "CreateImageUsageReport": {"image-usage-report": None},
    "CreateKeyPair": {"key-pair": "KeyName"},
    "CreateSecurityGroup": {"security-group": None},
    "ImportKeyPair": {"key-pair": "KeyName"},
    "RunInstances": {"instance": None, "network-interface": None, "volume": None},
}
_KINDS = {
    "ami": "image",
    "amiur": "image-usage-report",
    "eni": "network-interface",
    "i": "instance",
    "key": "key-pair",
    "lt": "launch-template",
    "sg": "security-group",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
}
_OF_NO_ACCOUNT = {"image", "snapshot"}


def install() -> None:
    """Let moto judge by this module."""
    IAMRequest.check_action_permitted = _check  # type: ignore[method-assign, assignment]  # no hook
    IAMRequest.check_signature = _check_signature  # type: ignore[method-assign, assignment]  # no hook


def enforce(*, enforced: bool) -> None:
    """Ask IAM about every call from now on, or about none."""
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0 if enforced else float("inf")
    ActionAuthenticatorMixin.request_count = 0


_by_signature = IAMRequest.check_signature


def _check_signature(request: Any) -> None:
    """Judge a signature by the path that was signed: at the plain door the token is in it."""
    request._path = request._headers.get(SIGNED_PATH, request._path)  # noqa: SLF001  moto's
    _by_signature(request)


def _check(request: Any, resource: str) -> None:
    if request._action == "sts:GetCallerIdentity":  # noqa: SLF001  allowed to everybody, always
        return
    policies = [IAMPolicy(each)._policy_json for each in request._access_key.collect_policies()]  # noqa: SLF001  moto's
    parameters.checked_by_its_caller(allowed=permitted(Need("ec2:DescribeImages"), policies))
    for need in _needs(request, resource):
        if not permitted(need, policies):
            if need.action in _TRIED and request._service == "autoscaling":  # noqa: SLF001  moto's
                raise _refused_launch()
            if need.action.startswith("ec2:"):
                raise _refusal(need, user=request._access_key.arn)  # noqa: SLF001  moto's
            if need.action.startswith("ssm:"):
                raise _refusal_in_json(need, user=request._access_key.arn)  # noqa: SLF001  moto's
            request._raise_access_denied()  # noqa: SLF001  moto's


def _refusal(need: Need, *, user: str) -> Forbidden:
    """As EC2 says it; Packer can't read how moto does, and asks again for a minute."""
    why = "because no identity-based policy allows it"
    message = f"{user} is not authorized to perform: {need.action} on resource: {need.resource} {why}"
    error = f"<Error><Code>UnauthorizedOperation</Code><Message>{escape(message)}</Message></Error>"
    return Forbidden(f"<Response><Errors>{error}</Errors><RequestID>sandbox</RequestID></Response>")


def _refusal_in_json(need: Need, *, user: str) -> BadRequest:
    """As services that speak JSON say it ("Common errors", SSM's API reference); moto says it in XML to all."""
    message = f"User: {user} is not authorized to perform: {need.action} on resource: {need.resource}"
    return BadRequest(json.dumps({"__type": "AccessDeniedException", "Message": message}))


def _needs(request: Any, resource: str) -> Iterator[Need]:
    service, _, action = request._action.partition(":")  # noqa: SLF001  moto's
    region, account = request._region, request.account_id  # noqa: SLF001  moto's
    if service == "ssm" and action in _OF_PARAMETERS:
        yield from _of_parameters(action, json.loads(request._body), region=region, account=account)  # noqa: SLF001  moto's
        return
    if service == "kms" and action in ("DescribeKey", "GetKeyPolicy", "ListGrants"):
        key = json.loads(request._body)["KeyId"]  # noqa: SLF001  moto's
        arn = key if key.startswith("arn:") else f"arn:aws:kms:{region}:{account}:key/{key}"
        yield Need(request._action, arn)  # noqa: SLF001  moto's
        return
    if service not in ("autoscaling", "ec2"):
        yield Need(request._action, resource)  # noqa: SLF001  moto's
        return
    asked = {key: several(value)[0] for key, value in request._data.items()}  # noqa: SLF001  moto's
    of = {"region": region, "account": account}
    if service == "autoscaling":
        yield from _of_groups(action, asked, **of)
        return
    at_birth = {
        asked[f"TagSpecification.{number}.ResourceType"]: _tags(asked, f"TagSpecification.{number}.Tag.")
        for number in _numbers(asked, "TagSpecification.")
    }
    yield from _touched(action, asked, **of)
    for kind, parameter in _MADE.get(action, {}).items():
        made = _arn(kind, asked.get(parameter or "", "*"), **of)
        yield Need(f"ec2:{action}", made, _as_context("aws:RequestTag", at_birth.get(kind, {})))
    if action != "CreateTags" and action not in _SUBJECTS and action not in _MADE:
        yield Need(f"ec2:{action}")
    if action == "DescribeImageReferences":
        yield from _of_references(asked)
    for kind, tags in at_birth.items():
        context = _as_context("aws:RequestTag", tags) | ({"aws:TagKeys": tuple(tags)} if tags else {})
        yield Need("ec2:CreateTags", _arn(kind, "*", **of), {"ec2:CreateAction": action, **context})


# What Auto Scaling asks of a call on a group ("Actions, resources, and condition keys for Amazon EC2 Auto Scaling",
# service authorization reference), and, before it refreshes one to a template, of a launch by the caller. It tries that
# by a dry run of RunInstances ("Permissions validation for ec2:RunInstances and iam:PassRole",
# https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html), which is
# about all that the template names, each with `ec2:LaunchTemplate`. In which subnet no page tells: in none here.
_OF_A_GROUP = {"CancelInstanceRefresh", "RollbackInstanceRefresh", "StartInstanceRefresh", "UpdateAutoScalingGroup"}
_TRIED = {"ec2:CreateTags", "ec2:RunInstances", "iam:PassRole"}
_TEMPLATE = r"DesiredConfiguration\.(MixedInstancesPolicy\.LaunchTemplate\.)?LaunchTemplate(Specification)?\."


def _refused_launch() -> Forbidden:
    message = "You are not authorized to use launch template"
    error = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
    return Forbidden(f"<ErrorResponse>{error}<RequestId>sandbox</RequestId></ErrorResponse>")


def _of_groups(action: str, asked: Mapping[str, str], *, region: str, account: str) -> Iterator[Need]:
    if action not in _OF_A_GROUP:
        yield Need(f"autoscaling:{action}")
        return
    name = asked["AutoScalingGroupName"]
    group = autoscaling_backends[account][region].autoscaling_groups.get(name)
    arn = f"arn:aws:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/{name}"
    has = {one["Key"]: one["Value"] for one in group.tags} if group is not None else {}
    yield Need(f"autoscaling:{action}", group.arn if group else arn, _as_context("aws:ResourceTag", has))
    template, version = (
        next((asked[key] for key in asked if re.fullmatch(_TEMPLATE + part, key)), "")
        for part in ("LaunchTemplateId", "Version")
    )
    if action == "StartInstanceRefresh" and template in ec2_backends[account][region].launch_templates:
        yield from _of_a_launch(template, version or "$Default", region=region, account=account)


def _of_a_launch(template: str, version: str, *, region: str, account: str) -> Iterator[Need]:
    backend, of = ec2_backends[account][region], {"region": region, "account": account}
    data = backend.launch_templates[template].get_version(version).data
    by = {"ec2:LaunchTemplate": _arn("launch-template", template, **of)}
    born = {
        one["ResourceType"]: {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}
        for one in data.get("TagSpecifications", ())
    }
    for kind in ("instance", "network-interface", "volume"):
        yield Need("ec2:RunInstances", _arn(kind, "*", **of), by | _as_context("aws:RequestTag", born.get(kind, {})))
    named = [("image", data.get("ImageId")), ("key-pair", data.get("KeyName")), ("launch-template", template)]
    for kind, one in [*named, *(("security-group", each) for each in data.get("SecurityGroupIds", ()))]:
        if one:
            tags = _as_context("aws:ResourceTag", backend.tags.get(one, {}))
            yield Need("ec2:RunInstances", _arn(kind, one, **of), by | tags)
    for kind, tags in born.items():
        context = _as_context("aws:RequestTag", tags) | {"aws:TagKeys": tuple(tags)}
        yield Need("ec2:CreateTags", _arn(kind, "*", **of), {"ec2:CreateAction": "RunInstances", **context})
    profile = data.get("IamInstanceProfile", {})
    if profile:
        role = profile.get("Name") or profile["Arn"].rpartition("/")[2]  # the console calls both the same
        yield Need("iam:PassRole", f"arn:aws:iam::{account}:role/{role}", {"iam:PassedToService": "ec2.amazonaws.com"})


# What SSM asks of a call on parameters ("Actions, resources, and condition keys for AWS Systems Manager", service
# authorization reference): PutParameter knows the tags that it is given, and not those of what is there.
_OF_PARAMETERS = {
    "AddTagsToResource", "DeleteParameter", "GetParameter", "GetParameterHistory", "GetParameters",
    "LabelParameterVersion", "ListTagsForResource", "PutParameter", "UnlabelParameterVersion",
}  # fmt: skip


def _of_parameters(action: str, asked: Mapping[str, Any], *, region: str, account: str) -> Iterator[Need]:
    wanted = {one["Key"]: one["Value"] for one in asked.get("Tags") or ()}
    given = _as_context("aws:RequestTag", wanted) | ({"aws:TagKeys": tuple(wanted)} if wanted else {})
    for told in asked.get("Names") or [asked.get("Name") or asked["ResourceId"]]:
        name = told.partition(":")[0]  # what follows is a version, or a label
        owner = "" if name.startswith("/aws/") else account
        arn = f"arn:aws:ssm:{region}:{owner}:parameter/{name.removeprefix('/')}"
        if action == "PutParameter":
            yield Need("ssm:PutParameter", arn, {**given, "ssm:Overwrite": str(bool(asked.get("Overwrite"))).lower()})
            if wanted:
                yield Need("ssm:AddTagsToResource", arn, given)
            continue
        has = ssm_backends[account][region]._resource_tags["Parameter"].get(name, {})  # noqa: SLF001  moto's
        yield Need(f"ssm:{action}", arn, {**_as_context("aws:ResourceTag", has), **given})


# What EC2 reads with the caller's rights before it tells what names an image ("Required IAM permissions" in "Identify
# your resources referencing specified AMIs", EC2 user guide). That a missing one is refused no page says.
_READ_FOR_REFERENCES = {
    "ec2:Instance": ("ec2:DescribeInstances",),
    "ec2:LaunchTemplate": ("ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"),
    "ssm:Parameter": ("ssm:DescribeParameters", "ssm:GetParameters"),
    "imagebuilder:ImageRecipe": ("imagebuilder:ListImageRecipes",),
    "imagebuilder:ContainerRecipe": ("imagebuilder:ListContainerRecipes", "imagebuilder:GetContainerRecipe"),
}


def _of_references(asked: Mapping[str, str]) -> Iterator[Need]:
    kinds = {value for key, value in asked.items() if re.fullmatch(r"ResourceType\.\d+\.ResourceType", key)}
    for kind in sorted(_READ_FOR_REFERENCES if asked.get("IncludeAllResourceTypes") == "true" else kinds):
        for action in _READ_FOR_REFERENCES[kind]:
            yield Need(action, context={"aws:CalledVia": ("ec2-images.amazonaws.com",)})


def _touched(action: str, asked: Mapping[str, str], *, region: str, account: str) -> Iterator[Need]:
    backend = ec2_backends[account][region]
    if action == "CreateTags":
        wanted = _tags(asked, "Tag.")
        subjects = [(_KINDS.get(one.partition("-")[0], "*"), one) for one in _numbered(asked, "ResourceId")]
        keys: dict[str, Any] = _as_context("aws:RequestTag", wanted) | {"aws:TagKeys": tuple(wanted)}
    else:
        named = _SUBJECTS.get(action, {}).items()
        subjects = [(kind, one) for kind, parameters in named for one in _numbered(asked, parameters)]
        keys = {}
    for kind, subject in subjects:
        # Key pairs go by name, and their tags by id.
        pair = backend.key_pairs.get(subject) if kind == "key-pair" else None
        has = backend.tags.get(pair.id if pair else subject, {})
        arn = _arn(kind, subject, region=region, account=account)
        yield Need(f"ec2:{action}", arn, _as_context("aws:ResourceTag", has) | keys)


def _arn(kind: str, name: str, *, region: str, account: str) -> str:
    return f"arn:aws:ec2:{region}:{'' if kind in _OF_NO_ACCOUNT else account}:{kind}/{name}"


def _as_context(key: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {f"{key}/{name}": value for name, value in tags.items()}


# How EC2's query protocol writes lists: `Tag.1.Key=Name&Tag.1.Value=web`, `ResourceId.1=ami-0`.


def _tags(asked: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {asked[f"{prefix}{n}.Key"]: asked.get(f"{prefix}{n}.Value", "") for n in _numbers(asked, prefix)}


def _numbered(asked: Mapping[str, str], name: str) -> list[str]:
    return [value for key, value in asked.items() if re.fullmatch(rf"({name})(\.\d+)?", key)]


def _numbers(asked: Mapping[str, str], prefix: str) -> list[str]:
    found = (re.match(rf"{re.escape(prefix)}(\d+)\.", key) for key in asked)
    return sorted({match[1] for match in found if match})
