"""What names an image, as the sandbox tells it: held to botocore's model, and to the rights of docs/iam."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError

from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings
from reconciler.registries.ec2.usage import usage
from reconciler.sandbox.handle import Sandbox
from tests.integration.sandbox.conftest import check_answer
from tests.integration.sandbox.test_parameters import user

pytestmark = pytest.mark.sandbox

POLICIES = Path(__file__).parents[3] / "docs/iam"
REGION = "us-east-1"


def aws(sandbox: Sandbox, service: str) -> Any:
    keys = sandbox.environment
    make: Any = boto3.client
    return make(
        service, region_name=REGION, endpoint_url=sandbox.endpoint, aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip


def recipes(builder: Any, image: str, *, name: str) -> None:
    builder.create_image_recipe(name=name, semanticVersion="1.0.0", parentImage=image)
    builder.create_container_recipe(
        name=name, semanticVersion="1.0.0", containerType="DOCKER", parentImage="amazonlinux:latest",
        targetRepository={"service": "ECR", "repositoryName": name}, instanceConfiguration={"image": image},
    )  # fmt: skip


def test_every_call_and_answer_is_of_the_form_that_aws_says(healthy: Sandbox) -> None:
    ec2, builder, ssm = (aws(healthy, name) for name in ("ec2", "imagebuilder", "ssm"))
    checked: set[str] = set()
    builder.create_image_recipe(name="One", semanticVersion="1.0.0", parentImage="ami-00000000")
    with pytest.raises(ClientError, match="ResourceAlreadyExists"):
        builder.create_image_recipe(name="One", semanticVersion="1.0.0", parentImage="ami-00000000")
    for service, client in (("ec2", ec2), ("imagebuilder", builder)):
        client.meta.events.register(f"after-call.{service}", partial(check_answer, checked))
    image = ec2.register_image(Name="named")["ImageId"]
    recipes(builder, image, name="Two")
    for number in range(30):
        builder.create_image_recipe(name="More", semanticVersion=f"1.0.{number}", parentImage="ami-00000000")
    ssm.put_parameter(Name="/theirs/web", Value=image, Type="String")
    ec2.create_launch_template(LaunchTemplateName="named", LaunchTemplateData={"ImageId": image})
    for _ in range(10):
        ec2.create_launch_template_version(LaunchTemplateName="named", LaunchTemplateData={"ImageId": "ami-00000000"})

    pages = builder.get_paginator("list_image_recipes").paginate(owner="Self", PaginationConfig={"PageSize": 10})
    assert len([one for page in pages for one in page["imageRecipeSummaryList"]]) == 32
    assert len(builder.list_container_recipes()["containerRecipeSummaryList"]) == 1

    # Ten versions of a template, unless more are asked for
    def named(**asked: Any) -> list[str]:
        return [
            one["ResourceType"] for one in ec2.describe_image_references(ImageIds=[image], **asked)["ImageReferences"]
        ]

    assert named(IncludeAllResourceTypes=True) == [
        "ssm:Parameter", "imagebuilder:ImageRecipe", "imagebuilder:ContainerRecipe"
    ]  # fmt: skip
    deep = {"OptionName": "version-depth", "OptionValues": ["10000"]}
    assert named(ResourceTypes=[{"ResourceType": "ec2:LaunchTemplate", "ResourceTypeOptions": [deep]}]) == [
        "ec2:LaunchTemplate"
    ]

    operations = botocore.session.get_session().get_service_model("imagebuilder").operation_names
    served = {"CreateImageRecipe", "CreateContainerRecipe", "ListImageRecipes", "ListContainerRecipes"}
    assert served <= set(operations)
    assert served | {"DescribeImageReferences"} <= checked
    ssm.delete_parameter(Name="/theirs/web")
    ec2.delete_launch_template(LaunchTemplateName="named")


@pytest.mark.parametrize("role", ["plan", "preview", "reconcile"])
def test_each_role_finds_what_names_an_image_and_reads_none_of_the_texts(
    healthy: Sandbox, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    # Given a parameter of plain text outside of what a role may read, and recipes
    ec2, builder, ssm = (aws(healthy, name) for name in ("ec2", "imagebuilder", "ssm"))
    image = ec2.register_image(Name=f"named-{role}")["ImageId"]
    recipes(builder, image, name=f"of-{role}")
    ssm.put_parameter(Name=f"/theirs/{role}", Value=image, Type="String")

    # When the role asks who uses the image
    with user(healthy, monkeypatch, f"asks-{role}", (POLICIES / f"{role}.json").read_text()):
        monkeypatch.setenv("AWS_ENDPOINT_URL", healthy.endpoint)
        clients = Clients(AwsSettings(), attempts=1)
        found = usage(clients, REGION, [image], fleet="acme/images")
        with pytest.raises(ClientError, match="AccessDenied"):
            clients.ssm(REGION).get_parameters(Names=[f"/theirs/{role}"])

    # Then it is told all, and may still read no text
    assert found.unread == {}
    assert {use.by for use in found.uses} == {
        f"parameter /theirs/{role}", f"image recipe of-{role} 1.0.0", f"container recipe of-{role} 1.0.0"
    }  # fmt: skip
    ssm.delete_parameter(Name=f"/theirs/{role}")
