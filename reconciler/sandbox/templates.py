"""Launch templates as EC2 has them, where moto has less. Seen with moto 5.2.5."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.responses.launch_templates import LaunchTemplates

_describe = LaunchTemplates.describe_launch_templates


def install() -> None:
    """Have moto make versions as EC2 does, and tell the tags that templates have now."""
    LaunchTemplates.create_launch_template_version = _create_version  # type: ignore[method-assign]  # no hook
    LaunchTemplates.describe_launch_templates = _describe_templates  # type: ignore[method-assign]  # no hook


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
