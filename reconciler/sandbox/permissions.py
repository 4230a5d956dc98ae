"""IAM's say in a call, once it is asked for: by action, by resource, by condition.

moto 5.2.5 takes every call to be about the resource `*` and reads no conditions, so a statement that names resources
allows nothing there. Here the calls that policies most often restrict are about what they really touch; other calls
are about `*` still. Whatever makes and tags a thing at once needs `ec2:CreateTags` as well, as on EC2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from xml.sax.saxutils import escape

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.ec2.models import ec2_backends
from moto.iam.access_control import IAMPolicy, IAMRequest
from werkzeug.exceptions import Forbidden

# Which parameter names the thing that an EC2 call is about.
_SUBJECTS = {
    "CreateTags": "ResourceId",
    "DeleteSnapshot": "SnapshotId",
    "DeregisterImage": "ImageId",
    "GetConsoleOutput": "InstanceId",
}
# The kind of what a call makes, and which parameter names it.
_MADE = {"ImportKeyPair": ("key-pair", "KeyName")}
_KINDS = {
    "ami": "image",
    "i": "instance",
    "key": "key-pair",
    "sg": "security-group",
    "snap": "snapshot",
    "vol": "volume",
}
_OF_NO_ACCOUNT = {"image", "snapshot"}


@dataclass(frozen=True)
class Need:
    """One thing that must be allowed. `context` has the condition keys, such as `aws:RequestTag/Name`."""

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)


def install() -> None:
    """Let moto judge by this module."""
    IAMRequest.check_action_permitted = _check  # type: ignore[method-assign, assignment]  # no hook


def enforce(*, enforced: bool) -> None:
    """Ask IAM about every call from now on, or about none."""
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0 if enforced else float("inf")
    ActionAuthenticatorMixin.request_count = 0


def permitted(need: Need, policies: Iterable[Mapping[str, Any]]) -> bool:
    """Whether these policies' documents, taken together, allow it: something does, and nothing forbids it."""
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in _several(policy["Statement"])
        if _speaks_of(statement, need)
    }
    return effects == {"Allow"}


def _check(request: Any, resource: str) -> None:
    if request._action == "sts:GetCallerIdentity":  # noqa: SLF001  allowed to everybody, always
        return
    policies = [IAMPolicy(each)._policy_json for each in request._access_key.collect_policies()]  # noqa: SLF001  moto's
    for need in _needs(request, resource):
        if not permitted(need, policies):
            if need.action.startswith("ec2:"):
                raise _refusal(need, user=request._access_key.arn)  # noqa: SLF001  moto's
            request._raise_access_denied()  # noqa: SLF001  moto's


def _refusal(need: Need, *, user: str) -> Forbidden:
    """As EC2 says it; Packer can't read how moto does, and asks again for a minute."""
    why = "because no identity-based policy allows it"
    message = f"{user} is not authorized to perform: {need.action} on resource: {need.resource} {why}"
    error = f"<Error><Code>UnauthorizedOperation</Code><Message>{escape(message)}</Message></Error>"
    return Forbidden(f"<Response><Errors>{error}</Errors><RequestID>sandbox</RequestID></Response>")


def _needs(request: Any, resource: str) -> Iterator[Need]:
    service, _, action = request._action.partition(":")  # noqa: SLF001  moto's
    region, account = request._region, request.account_id  # noqa: SLF001  moto's
    if (service, action) == ("ssm", "GetParameter"):
        name = json.loads(request._body)["Name"]  # noqa: SLF001  moto's
        owner = "" if name.startswith("/aws/") else account
        yield Need(request._action, f"arn:aws:ssm:{region}:{owner}:parameter{name}")  # noqa: SLF001  moto's
        return
    if service != "ec2":
        yield Need(request._action, resource)  # noqa: SLF001  moto's
        return
    asked = {key: _several(value)[0] for key, value in request._data.items()}  # noqa: SLF001  moto's
    wanted = _tags(asked, "Tag.")
    subjects = _numbered(asked, _SUBJECTS[action]) if action in _SUBJECTS else ()
    for subject in subjects:
        has = ec2_backends[account][region].tags.get(subject, {})
        yield Need(
            f"ec2:{action}",
            _arn(_KINDS.get(subject.partition("-")[0], "*"), subject, region=region, account=account),
            _as_context("aws:ResourceTag", has) | _as_context("aws:RequestTag", wanted),
        )
    at_birth = {
        asked[f"TagSpecification.{number}.ResourceType"]: _tags(asked, f"TagSpecification.{number}.Tag.")
        for number in _numbers(asked, "TagSpecification.")
    }
    if action in _MADE:
        kind, parameter = _MADE[action]
        made = _arn(kind, asked[parameter], region=region, account=account)
        yield Need(f"ec2:{action}", made, _as_context("aws:RequestTag", at_birth.get(kind, {})))
    elif not subjects:
        yield Need(f"ec2:{action}")
    for kind, tags in at_birth.items():
        yield Need(
            "ec2:CreateTags",
            _arn(kind, "*", region=region, account=account),
            {"ec2:CreateAction": action} | _as_context("aws:RequestTag", tags),
        )


def _speaks_of(statement: Mapping[str, Any], need: Need) -> bool:
    return (
        any(fnmatchcase(need.action.lower(), pattern.lower()) for pattern in _several(statement["Action"]))
        and any(fnmatchcase(need.resource, pattern) for pattern in _several(statement["Resource"]))
        and all(
            _holds(operator, need.context.get(key), _several(values))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _holds(operator: str, actual: str | None, values: list[str]) -> bool:
    name = operator.removesuffix("IfExists")
    if name not in {"StringEquals", "StringLike"}:
        raise NotImplementedError(f"the sandbox knows no condition operator {operator}")
    if actual is None:
        return name != operator
    return any(fnmatchcase(actual, value) if name == "StringLike" else actual == value for value in values)


def _arn(kind: str, name: str, *, region: str, account: str) -> str:
    return f"arn:aws:ec2:{region}:{'' if kind in _OF_NO_ACCOUNT else account}:{kind}/{name}"


def _as_context(key: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {f"{key}/{name}": value for name, value in tags.items()}


# How EC2's query protocol writes lists: `Tag.1.Key=Name&Tag.1.Value=web`, `ResourceId.1=ami-0`.


def _tags(asked: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {asked[f"{prefix}{n}.Key"]: asked.get(f"{prefix}{n}.Value", "") for n in _numbers(asked, prefix)}


def _numbered(asked: Mapping[str, str], name: str) -> list[str]:
    return [value for key, value in asked.items() if re.fullmatch(rf"{name}(\.\d+)?", key)]


def _numbers(asked: Mapping[str, str], prefix: str) -> list[str]:
    found = (re.match(rf"{re.escape(prefix)}(\d+)\.", key) for key in asked)
    return sorted({match[1] for match in found if match})


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
