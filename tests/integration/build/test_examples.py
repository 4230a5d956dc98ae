"""The examples' templates, judged by Packer itself: each that it has the builder for is valid as it stands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

EXAMPLES = Path(__file__).parents[3] / "examples"

pytestmark = pytest.mark.packer


@pytest.mark.parametrize(
    ("example", "given"),
    [
        ("disk/desired/appliance", {"source_disk": "/srv/upstream/debian-12.qcow2"}),
        ("container-image/desired/site", {"source_image": "debian:12"}),
        ("vsphere-template/desired/linux", {"source_template": "/DC0/vm/base/debian-12"}),
    ],
)
def test_an_examples_template_is_valid_for_each_packer_that_has_its_builder(
    packer_on_path: str, tmp_path: Path, example: str, given: dict[str, str]
) -> None:
    (template,) = (EXAMPLES / example).glob("*.pkr.hcl")
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (tmp_path / "key").write_bytes(key)
    variables = [word for name, value in given.items() for word in ("-var", f"{name}={value}")]
    login = {"VSPHERE_USER": "ada", "VSPHERE_PASSWORD": "p", "BUILD_KEY_FILE": str(tmp_path / "key")}

    told = subprocess.run(
        ["packer", "validate", *variables, template.name],
        cwd=template.parent, env={**os.environ, **login}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    # 1.6.6 knows no block required_plugins; from 1.10 on no Packer brings these builders.
    said = told.stdout + told.stderr
    lacks = (
        '"required_plugins" are not expected',
        "Unknown source type",
        "plugins are required",
        "is unknown by Packer",
    )
    assert told.returncode == 0 or any(one in said for one in lacks), said
    if packer_on_path == "1.6.6":
        assert (told.returncode == 0) == ("vsphere" not in example), said
