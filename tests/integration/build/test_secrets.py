"""Secrets that are planted in a build are found in nothing that is left of it."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.build import Packer
from reconciler.model.errors import Place
from reconciler.model.fleet import Variable
from reconciler.ports.builder import BuildFailed

pytestmark = pytest.mark.packer

SECRETS = {
    "by default": "default-hunter2",
    "by declaration": "declared-hunter2",
    "by HCL var-file": "hclfile-hunter2",
    "by JSON var-file": "jsonfile-hunter2",
    "by automatic var-file": "autofile-hunter2",
    "by environment": "environment-hunter2",
    "of AWS": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00",
    "of the CI": "circle-token-hunter2",
    "in a URL": "url-hunter2",
    "in a private key": "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ",
}
NAMES = ("by_default", "by_declaration", "by_hcl", "by_json", "by_auto", "by_environment")

TEMPLATE = (
    "".join(
        f'variable "{name}" {{\n  type      = string\n  default   = "{SECRETS["by default"]}"\n  sensitive = true\n}}\n'
        for name in NAMES
    )
    + """
source "null" "web" { communicator = "none" }
build {
  sources = ["null.web"]
  provisioner "shell-local" {
    inline = ["""
    + ", ".join(f'"echo is ${{var.{name}}}, really"' for name in NAMES)
    + """, "echo key $AWS_SECRET_ACCESS_KEY", "echo $CIRCLE_TOKEN >&2",
      "echo https://me:url-hunter2@example.org/x.git",
      "echo -----BEGIN OPENSSH PRIVATE KEY-----", "echo b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ",
      "echo -----END OPENSSH PRIVATE KEY-----", "echo the end of it", "exit 3"]
  }
}
"""
)


@pytest.mark.parametrize("packer_log", ["", "1"])
def test_no_planted_secret_is_left(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event, *, tmp_path: Path, packer_log: str
) -> None:
    request = requests(
        {
            "web.pkr.hcl": TEMPLATE,
            "hcl.pkrvars.hcl": f'by_hcl = "{SECRETS["by HCL var-file"]}"\n',
            "json.pkrvars.json": f'{{"by_json": "{SECRETS["by JSON var-file"]}"}}',
            "x.auto.pkrvars.hcl": f'by_auto = "{SECRETS["by automatic var-file"]}"\n',
        },
        builders=("null.web",),
        packer={
            "variables": {"by_declaration": SECRETS["by declaration"]},
            "var_files": ["hcl.pkrvars.hcl", "json.pkrvars.json"],
        },
        variables=tuple(
            Variable(name, "string", Place("desired/web/web.pkr.hcl"), default=SECRETS["by default"], sensitive=True)
            for name in NAMES
        ),
        environment={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / "home"),
            "PKR_VAR_by_environment": SECRETS["by environment"],
            "AWS_SECRET_ACCESS_KEY": SECRETS["of AWS"],
            "CIRCLE_TOKEN": SECRETS["of the CI"],
            "PACKER_LOG": packer_log,
        },
    )

    with pytest.raises(BuildFailed) as caught:
        packer.build(request, listener=heard, cancelled=cancelled)

    log = request.log.read_text()
    assert log.count("is <redacted>, really") >= len(NAMES)
    assert "key <redacted>" in log
    assert "https://<redacted>@example.org/x.git" in log
    assert "the end of it" in caught.value.tail
    left = [path for path in tmp_path.rglob("*") if path.is_file() and "export" not in path.relative_to(tmp_path).parts]
    assert request.log in left
    seen = "".join(path.read_text(errors="replace") for path in left)
    seen += str(caught.value) + "\n".join(caught.value.tail) + repr(heard.events)
    assert [where for where, secret in SECRETS.items() if secret in seen] == []


def test_packers_own_log_spells_no_secret_in_its_own_way(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    template = """
variable "token" {
  type      = string
  sensitive = true
}
source "null" "web" { communicator = "none" }
build {
  sources = ["null.web"]
  provisioner "shell-local" {
    environment_vars = ["TOKEN=${var.token}"]
    inline           = ["echo \\"token is $TOKEN\\"", "exit 3"]
  }
}
"""
    environment = {"PATH": os.environ["PATH"], "PACKER_LOG": "1", "PKR_VAR_token": "s3,cr%et'q\"x\\y<z\nof,two"}
    token = Variable("token", "string", Place("desired/web/web.pkr.hcl"), default=None, sensitive=True)
    request = requests({"web.pkr.hcl": template}, builders=("null.web",), variables=(token,), environment=environment)

    with pytest.raises(BuildFailed):
        packer.build(request, listener=heard, cancelled=cancelled)

    log = request.log.read_text()
    assert "token is <redacted>" in log
    assert [piece for piece in ("s3", "cr%et", "of,two", "of%!(") if piece in log] == []


def test_a_secret_over_several_lines_is_left_in_no_part_of_the_log(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    secret = "s3cr3t-of-sixty-four-chars-xyz0123456789,abcdefghijklmnop-tail-"
    template = """
variable "token" {
  type      = string
  sensitive = true
}
source "null" "web" { communicator = "none" }
build {
  sources = ["null.web"]
  provisioner "shell-local" {
    environment_vars = ["TOKEN=${var.token}"]
    inline = [
      "printf name:%s $TOKEN | base64 -w 40", "echo", "printf %s $TOKEN | fold -w 20", "echo", "exec >&2",
      "printf name:%s $TOKEN | base64 -w 40", "echo", "printf %s $TOKEN | fold -w 20", "echo", "exit 3",
    ]
  }
}
"""
    environment = {"PATH": os.environ["PATH"], "PACKER_LOG": "1", "PKR_VAR_token": secret}
    token = Variable("token", "string", Place("desired/web/web.pkr.hcl"), default=None, sensitive=True)
    request = requests({"web.pkr.hcl": template}, builders=("null.web",), variables=(token,), environment=environment)

    with pytest.raises(BuildFailed):
        packer.build(request, listener=heard, cancelled=cancelled)

    log = request.log.read_text()
    spelled = (secret, base64.b64encode(f"name:{secret}".encode()).decode()[7:])
    assert [text[at : at + 8] for text in spelled for at in range(len(text) - 7) if text[at : at + 8] in log] == []
    own = [line for line in log.partition("--- stderr ---")[2].splitlines() if ",ui," in line and "<redacted>" in line]
    assert len(own) == 2 * (3 + 4)


def test_of_an_endless_line_the_log_has_the_beginning(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    template = """
source "null" "web" { communicator = "none" }
build {
  sources = ["null.web"]
  provisioner "shell-local" { inline = ["printf %05000000d 7", "exit 3"] }
}
"""
    request = requests({"web.pkr.hcl": template}, builders=("null.web",))

    with pytest.raises(BuildFailed) as caught:
        packer.build(request, listener=heard, cancelled=cancelled)

    assert "more characters)" in request.log.read_text()
    assert request.log.stat().st_size < 500_000
    assert any(line.endswith("more characters)") for line in caught.value.tail)


def test_what_packer_writes_is_its_owners_only_while_it_runs(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event, tmp_path: Path
) -> None:
    template = """
source "null" "web" { communicator = "none" }
build {
  sources = ["null.web"]
  provisioner "shell-local" { inline = ["ls -l RUN", "exit 1"] }
}
""".replace("RUN", str(tmp_path / "run"))
    request = requests({"web.pkr.hcl": template}, builders=("null.web",))

    with pytest.raises(BuildFailed) as caught:
        packer.build(request, listener=heard, cancelled=cancelled)

    listed = [line for line in caught.value.tail if "web-20261122T101530Z" in line]
    assert len(listed) == 4
    assert all(line.startswith("-rw-------") for line in listed)
