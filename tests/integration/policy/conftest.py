"""This repository's own images, built by the real Packer."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox
from tests.integration.policy.machines import DESIRED, Machine, environment
from tests.integration.sandbox.conftest import client, start, upstream

_ARCHIVE_IS_AWAY = ("Temporary failure resolving", "Could not connect to")


@dataclass(frozen=True)
class Built:
    """An AMI, and what Packer said while it was built."""

    image: str
    log: str


Boot = Callable[[str], Machine]


@pytest.fixture(scope="package")
def sandbox(packer_on_path: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One for each Packer: what is built in it, and shared, is that Packer's."""
    assert packer_on_path, "mark the test `packer`"
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    with handle.running(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="package")
def base(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return _build(sandbox, "base", upstream(client(sandbox)), tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="package")
def web(sandbox: Sandbox, base: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return _build(sandbox, "web", base.image, tmp_path_factory.mktemp("web"))


@pytest.fixture
def boot(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boot]:
    """Boot an AMI; the machine ends with the test."""
    booted: list[Machine] = []

    def one_more(image: str) -> Machine:
        # Not tmp_path, which has the test's name: ssh's control socket is in there, and 107 bytes are all it may have.
        folder = tmp_path_factory.mktemp("m")
        booted.append(Machine(start(sandbox, folder, image=image), folder))
        return booted[-1]

    yield one_more
    for machine in booted:
        machine.instance.ec2.terminate_instances(InstanceIds=[machine.instance.id])


def _build(sandbox: Sandbox, image: str, source: str, folder: Path) -> Built:
    variables = folder / "variables.pkrvars.json"
    asked = {"source_ami": source, "image_name": f"{image}-1", "build_id": "1", "run_tags": {}, "image_tags": {}}
    variables.write_text(json.dumps(asked))
    built = subprocess.run(
        ["packer", "build", "-color=false", f"-var-file={variables}", "."],
        cwd=DESIRED / image,
        env=environment({**sandbox.environment, "HOME": str(folder), "PACKER_CACHE_DIR": str(folder)}),
        capture_output=True,
        text=True,
        check=False,
    )
    if any(sign in built.stdout + built.stderr for sign in _ARCHIVE_IS_AWAY):
        pytest.skip("apt reaches no archive")
    assert built.returncode == 0, built.stdout + built.stderr
    (made,) = client(sandbox).describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [f"{image}-1"]}])[
        "Images"
    ]
    return Built(made["ImageId"], built.stdout)
