"""Launch templates as EC2 has them, where moto has less. Seen with moto 5.2.5."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidLaunchTemplateVersionNotFound
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.responses.launch_templates import LaunchTemplates

_describe = LaunchTemplates.describe_launch_templates


def install() -> None:
    """Have moto make versions as EC2 does, and tell the tags that templates have now."""
    LaunchTemplates.create_launch_template_version = _create_version  # type: ignore[method-assign]  # no hook
    LaunchTemplates.describe_launch_templates = _describe_templates  # type: ignore[method-assign]  # no hook
    LaunchTemplates.delete_launch_template_versions = _delete_versions  # type: ignore[attr-defined]  # moto has none
    LaunchTemplate.get_version = _version_by_number  # type: ignore[method-assign]  # no hook
    LaunchTemplate.default_version = _default_version  # type: ignore[method-assign]  # no hook
    LaunchTemplate.create_version = _next_version  # type: ignore[method-assign]  # no hook


# moto takes a version's number for its place in a list, in which nothing can be missing.


def _version_by_number(self: LaunchTemplate, num: Any) -> LaunchTemplateVersion:
    word = str(num).lower()
    number = {"$latest": self.latest_version_number, "$default": self.default_version_number}.get(word, num)
    found = next((one for one in self.versions if str(one.number) == str(number)), None)
    if found is None:
        raise InvalidLaunchTemplateVersionNotFound(template_id=self.id, version=str(num))
    return found


def _default_version(self: LaunchTemplate) -> LaunchTemplateVersion:
    return _version_by_number(self, self.default_version_number)


def _next_version(self: LaunchTemplate, data: dict[str, Any], description: str) -> LaunchTemplateVersion:
    """No number is given twice: "Version numbers are assigned in the order in which the versions are created"."""
    number = self.__dict__.get("last_number", 0) + 1
    self.__dict__["last_number"] = number
    made = LaunchTemplateVersion(self, number, data, description)
    self.versions.append(made)
    return made


def _delete_versions(self: Any) -> ActionResult:
    """DeleteLaunchTemplateVersions, "up to 200 launch template versions in a single request".

    "You can't delete the default version of a launch template", and what is gone is told as
    `launchTemplateVersionDoesNotExist` (ResponseError):
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteLaunchTemplateVersions.html
    """
    name, template_id = self._get_param("LaunchTemplateName"), self._get_param("LaunchTemplateId")
    self.error_on_dryrun()
    backend = self.ec2_backend
    template = backend.get_launch_template_by_name(name) if name else backend.get_launch_template(template_id)
    done: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    for word in self._get_param("Versions", []):
        told = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "VersionNumber": int(word)}
        there = [one for one in template.versions if one.number == int(word)]
        if there and template.is_default(there[0]):
            message = "The specified launch template version is the default version, which can't be deleted"
            left.append({**told, "ResponseError": {"Code": "unexpectedError", "Message": message}})
        elif there:
            template.versions.remove(there[0])
            done.append(told)
        else:
            message = f"Version {word} does not exist"
            left.append({**told, "ResponseError": {"Code": "launchTemplateVersionDoesNotExist", "Message": message}})
    return ActionResult(
        {"SuccessfullyDeletedLaunchTemplateVersions": done, "UnsuccessfullyDeletedLaunchTemplateVersions": left}
    )


def _create_version(self: Any) -> ActionResult:
    """CreateLaunchTemplateVersion; moto ignores SourceVersion and ClientToken.

    "If you specify this parameter, the new version inherits the launch parameters from the source version, except for
    parameters that you specify in LaunchTemplateData":
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html
    A token is answered with what was made by it first, and refused with other parameters ("Ensuring idempotency in
    Amazon EC2 API requests", EC2's API reference).
    """
    name, template_id = self._get_param("LaunchTemplateName"), self._get_param("LaunchTemplateId")
    backend, token = self.ec2_backend, self._get_param("ClientToken")
    template = backend.get_launch_template_by_name(name) if name else backend.get_launch_template(template_id)
    source, says = self._get_param("SourceVersion"), self._get_param("VersionDescription")
    data = self._get_param("LaunchTemplateData", {})
    self.error_on_dryrun()
    made: dict[str, Any] = template.__dict__.setdefault("made_by_token", {})
    asked = (source, says, data)
    if token in made and made[token][0] != asked:
        message = f"The client token {token} was used with other parameters"
        raise EC2ClientError("IdempotentParameterMismatch", message)
    if token in made:
        return _answer(self, template, made[token][1])
    inherited = template.get_version(source).data if source else {}
    version = template.create_version({**inherited, **data}, says)
    if token:
        made[token] = (asked, version)
    return _answer(self, template, version)


def _answer(self: Any, template: LaunchTemplate, version: Any) -> ActionResult:
    return ActionResult(
        {
            "LaunchTemplateVersion": {
                "CreateTime": version.create_time,
                "CreatedBy": f"arn:{self.partition}:iam::{self.current_account}:root",
                "DefaultVersion": template.is_default(version),
                "LaunchTemplateData": version.data,
                "LaunchTemplateId": template.id,
                "LaunchTemplateName": template.name,
                "VersionDescription": version.description,
                "VersionNumber": version.number,
            }
        }
    )


def _describe_templates(self: Any) -> ActionResult:
    """DescribeLaunchTemplates; moto tells the tags that a template was made with, whatever became of them since."""
    for template in self.ec2_backend.launch_templates.values():
        template.tags = template.get_tags()
    return _describe(self)
