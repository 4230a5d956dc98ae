"""Launch templates with IAM enforced: with the policy this fleet's get versions, and nobody else's do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal
from reconciler.registries.ec2.templates import ParametersAndTemplates
from reconciler.sandbox.handle import Sandbox
from tests.integration.sandbox.test_parameters import aws, user

pytestmark = pytest.mark.sandbox

POLICIES = Path(__file__).parents[3] / "docs/iam"
FLEET, REGION, BUILD = "acme/images", "us-east-1", "20261122T101530Z-1a2b3c4"
WORDS = f"web stable: build {BUILD}"


@pytest.fixture
def client(sandbox: Sandbox, debian: str) -> Iterator[Any]:
    """EC2 with two templates: the fleet's and somebody else's."""
    ec2 = aws(sandbox, "ec2")
    for name, fleet in (("web", FLEET), ("theirs", "others/images")):
        tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "reconciler:fleet", "Value": fleet}]}]
        data = {"ImageId": debian, "InstanceType": "t3.micro", "KeyName": "deploy"}
        ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data, TagSpecifications=tags)
    yield ec2
    for name in ("web", "theirs"):
        ec2.delete_launch_template(LaunchTemplateName=name)


@pytest.fixture
def image(client: Any) -> str:
    """An AMI that nothing launches yet."""
    made: str = client.register_image(Name="web-versioned")["ImageId"]
    return made


@pytest.fixture
def templates(
    sandbox: Sandbox, client: Any, image: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ParametersAndTemplates]:
    """What a role with the policies of `plan` and of publishing has."""
    documents = [(POLICIES / file).read_text() for file in ("plan.json", "publish.json")]
    with user(sandbox, monkeypatch, "versions", *documents):
        yield ParametersAndTemplates(Clients(AwsSettings(), attempts=1), fleet=FLEET)


def test_this_fleets_get_a_version_once_and_others_none(templates: ParametersAndTemplates, image: str) -> None:
    found = templates.templates(REGION, ["web", "theirs"])
    assert {name: one.ours for name, one in found.items()} == {"web": True, "theirs": False}
    assert [templates.add_version(REGION, found["web"], image, description=WORDS) for _ in range(2)] == [2, 2]
    templates.set_default(REGION, found["web"], 2)
    now = templates.templates(REGION, ["web"])["web"]
    assert (now.default, now.launches, len(now.versions)) == (2, image, 2)
    with pytest.raises(Terminal, match="is not changed"):
        templates.add_version(REGION, found["theirs"], image, description=WORDS)
    # Past our own check, which refuses before EC2 could.
    for call, more in (("create_launch_template_version", {"LaunchTemplateData": {"ImageId": image}}),
                       ("modify_launch_template", {"DefaultVersion": "1"})):  # fmt: skip
        with pytest.raises(Exception, match="UnauthorizedOperation"):
            getattr(templates._ec2(REGION), call)(LaunchTemplateId=found["theirs"].id, **more)


def test_a_token_that_comes_with_something_else_is_refused(client: Any, debian: str) -> None:
    asked = {"LaunchTemplateName": "web", "ClientToken": "t", "LaunchTemplateData": {"ImageId": debian}}
    client.create_launch_template_version(SourceVersion="1", **asked)
    with pytest.raises(Exception, match="IdempotentParameterMismatch"):
        client.create_launch_template_version(SourceVersion="1", VersionDescription="other", **asked)
