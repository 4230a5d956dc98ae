"""moto and VMware's simulator as real servers on loopback, reached as a person would: by the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch
from urllib.request import Request, urlopen

import pytest
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.server import ThreadedMotoServer

from reconciler.sandbox import care, images, recycle_bin, references, usage_reports
from tests.vcenter import CREDENTIALS, Simulator, simulator

FAKE = {
    "AWS_ACCESS_KEY_ID": "AKIAFAKE",
    "AWS_SECRET_ACCESS_KEY": "fake",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
    "NO_PROXY": "127.0.0.1",
}


@pytest.fixture(scope="session", autouse=True)
def _marks_kept_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is kept on this machine of registries that are gone after a test."""
    folder = tmp_path_factory.mktemp("marks")
    with patch("reconciler.registries.oci.registry.cache_folder", lambda: folder):
        yield


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of this machine's AWS or proxy settings, but fake keys."""
    for name in list(os.environ):
        # The certificates take longer to read than what most tests ask for.
        if name.startswith("AWS_") or name.lower().endswith("_proxy") or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)
    for name, value in FAKE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    with patch.dict(os.environ, {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}), _copies_as_ec2_does(), _cares_as_ec2_does():
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def moto(moto_server: str, aws_environment: pytest.MonkeyPatch) -> str:
    """The server's address, with nothing in any region."""
    aws_environment.setenv("AWS_ENDPOINT_URL", moto_server)
    urlopen(Request(f"{moto_server}/moto-api/reset", method="POST")).close()  # noqa: S310 - loopback, http
    return moto_server


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A vCenter of the test's own, and what signs in to it."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with simulator() as one:
        yield one


@contextmanager
def _copies_as_ec2_does() -> Iterator[None]:
    """moto 5.2.5's CopyImage ignores ClientToken and TagSpecifications; EC2 does not."""
    plain: Any = AmisResponse.copy_image

    def copy_image(self: Any) -> Any:
        token = self._get_param("ClientToken")
        copies = self.ec2_backend.__dict__.setdefault("copies_by_token", {})
        if token in copies:
            return copies[token]
        answer = plain(self)
        ami = self.ec2_backend.amis[answer.result["ImageId"]]
        targets = {"image": ami.id, "snapshot": ami.ebs_snapshot.id}
        for wanted in self._get_param("TagSpecifications", []):
            tags = {tag["Key"]: tag["Value"] for tag in wanted["Tags"]}
            self.ec2_backend.create_tags([targets[wanted["ResourceType"]]], tags)
        copies[token] = answer
        return answer

    with patch.object(AmisResponse, "copy_image", copy_image):
        yield


@contextmanager
def _cares_as_ec2_does() -> Iterator[None]:
    """moto 5.2.5 knows little of what becomes of images, and of no Recycle Bin: the sandbox has what EC2 does."""
    recycle_bin.register()
    references.register()
    of_images = (
        *care.HANDLERS, *recycle_bin.IMAGE_HANDLERS, *references.HANDLERS, *usage_reports.HANDLERS,
        images.deregister_image, images.modify_image_attribute,
    )  # fmt: skip
    with ExitStack() as patched:
        for handler in of_images:
            patched.enter_context(patch.object(AmisResponse, handler.__name__, handler, create=True))
        for handler in recycle_bin.SNAPSHOT_HANDLERS:
            patched.enter_context(patch.object(ElasticBlockStore, handler.__name__, handler, create=True))
        yield
