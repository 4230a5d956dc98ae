"""The amazon-ebs builder against moto: artifact lines as the real one prints them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import AmiBackend
from moto.server import ThreadedMotoServer

from reconciler.build.build import Packer
from reconciler.build.packer.versions import PLUGINS_APART
from reconciler.model.errors import Place
from reconciler.model.events import Step
from reconciler.model.fleet import Variable
from tests.integration.build.conftest import where_packer_is

pytestmark = pytest.mark.packer

TEMPLATE = """
variable "endpoint" { type = string }
variable "source_ami" { type = string }
variable "run_tags" { type = map(string) }
source "amazon-ebs" "web" {
  custom_endpoint_ec2     = var.endpoint
  skip_region_validation  = true
  skip_metadata_api_check = true
  region                  = "us-east-1"
  ami_regions             = ["us-east-1", "eu-west-1"]
  instance_type           = "t3.micro"
  ami_name                = "web-{{timestamp}}"
  source_ami              = var.source_ami
  run_tags                = var.run_tags
  communicator            = "none"
}
build { sources = ["amazon-ebs.web"] }
"""
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret", "AWS_POLL_DELAY_SECONDS": "1"}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    create_image: Any = AmiBackend.create_image

    def create_untagged_snapshots(backend: Any, *asked: Any, tag_specifications: list[dict[str, Any]]) -> Any:
        """The plugin of today tags the snapshots, too, when it asks for the image, which moto has not written yet."""
        of_images = [one for one in tag_specifications if one["ResourceType"] == "image"]
        return create_image(backend, *asked, tag_specifications=of_images)

    monkeypatch.setattr(AmiBackend, "create_image", create_untagged_snapshots)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def test_an_image_in_two_regions_is_two_artifacts_on_the_given_source(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event, *, endpoint: str, tmp_path: Path
) -> None:
    def ec2(region: str) -> Any:
        return boto3.client(
            "ec2", region, endpoint_url=endpoint, aws_access_key_id="testing", aws_secret_access_key="testing"
        )

    # moto's state is the process's: another test may have begun it without any image, so this one brings its own.
    source = ec2("us-east-1").register_image(Name="source", RootDeviceName="/dev/sda1")["ImageId"]
    ec2_backends[ACCOUNT]["us-east-1"].amis[source].root_device_type = "ebs"
    place = Place("desired/web/web.pkr.hcl")
    request = requests(
        {"web.pkr.hcl": TEMPLATE},
        builders=("amazon-ebs.web",),
        components=("amazon-ebs",),
        packer={"variables": {"endpoint": endpoint}},
        variables=tuple(Variable(name, "", place) for name in ("endpoint", "source_ami", "run_tags")),
        source=source,
        run_tags={"reconciler:run": "run-1"},
        location="us-east-1",
        # From 1.8.0 on the plugin asks who it is, and copies to another region, not at the template's endpoint.
        environment={**where_packer_is(), "HOME": str(tmp_path), "AWS_ENDPOINT_URL": endpoint, **KEYS},
    )

    result = packer.build(request, listener=heard, cancelled=cancelled)

    assert result.source == source
    assert list(result.packer.plugins) == (["amazon"] if packer.binary.version >= PLUGINS_APART else [])
    assert [(a.kind, a.builder, a.location) for a in result.artifacts] == [
        ("ami", "amazon-ebs.web", "eu-west-1"),
        ("ami", "amazon-ebs.web", "us-east-1"),
    ]
    for artifact in result.artifacts:
        images = ec2(artifact.location).describe_images(ImageIds=[artifact.id])["Images"]
        assert [image["ImageId"] for image in images] == [artifact.id]
    assert Step("web", "Launching a source AWS instance...") in heard.events
    ours = [{"Name": "tag:reconciler:run", "Values": ["run-1"]}, {"Name": "image-id", "Values": [source]}]
    assert len(ec2("us-east-1").describe_instances(Filters=ours)["Reservations"]) == 1
