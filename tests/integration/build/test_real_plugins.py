"""The same of the real Packer, and of the real plugin amazon where it is one of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.build import Packer
from reconciler.build.packer.plugins import installed_plugins
from reconciler.build.packer.versions import PLUGINS_APART, REQUIRED_PLUGINS
from reconciler.model.errors import Transient, UserError
from tests.integration.build.conftest import where_packer_is

pytestmark = pytest.mark.packer

NOBODY = {"HTTPS_PROXY": "http://127.0.0.1:1"}
"""An environment in which no host of plugins can be reached."""

REQUIRES = """
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "CONSTRAINT"
    }
  }
}
source "file" "web" {
  content = "x"
  target  = "made"
}
build { sources = ["file.web"] }
"""
NAMES = """
source "amazon-ebs" "web" { region = "us-east-1" }
build { sources = ["amazon-ebs.web"] }
"""
GOSS = """
source "file" "web" {
  content = "x"
  target  = "made"
}
build {
  sources = ["file.web"]
  provisioner "goss" {}
}
"""


@pytest.fixture
def ask(requests: Any, packer: Packer, heard: Any, cancelled: threading.Event, tmp_path: Path) -> Any:
    """Build a template in an environment with these variables besides."""

    def build(text: str, environment: dict[str, str], **asked: Any) -> Any:
        given = {**where_packer_is(), "HOME": str(tmp_path / "home"), **NOBODY, **environment}
        request = requests({"web.pkr.hcl": text}, builders=("file.web",), environment=given, **asked)
        return packer.build(request, listener=heard, cancelled=cancelled)

    return build


def test_what_a_template_requires_and_is_there_is_taken_without_a_network_and_recorded(
    ask: Any, packer: Packer
) -> None:
    if packer.binary.version < REQUIRED_PLUGINS:
        with pytest.raises(UserError, match="the template has required_plugins, which Packer knows from"):
            ask(REQUIRES.replace("CONSTRAINT", ">= 1.2.8"), {}, plugins={"amazon": "github.com/hashicorp/amazon >= 1"})
        return

    result = ask(
        REQUIRES.replace("CONSTRAINT", ">= 1.2.8"), {}, plugins={"amazon": "github.com/hashicorp/amazon >= 1.2.8"}
    )

    (amazon,) = (one for one in installed_plugins(packer.binary, os.environ) if one.name == "amazon")
    assert result.packer.plugins == {"amazon": amazon.version}
    assert result.packer.digests["amazon"] == f"sha256:{hashlib.sha256(Path(amazon.path).read_bytes()).hexdigest()}"


@pytest.mark.packer(since=PLUGINS_APART)
def test_an_exact_pin_that_cannot_be_fetched_is_told_with_the_command(ask: Any, packer: Packer) -> None:
    with pytest.raises(
        Transient, match=r"lacks the plugin for github.com/hashicorp/amazon 1\.2\.3: `packer init` fa"
    ) as caught:
        ask(REQUIRES.replace("CONSTRAINT", "1.2.3"), {}, plugins={"amazon": "github.com/hashicorp/amazon 1.2.3"})

    assert caught.value.hint[0] == "`packer plugins install github.com/hashicorp/amazon 1.2.3`"


@pytest.mark.packer(since=PLUGINS_APART)
@pytest.mark.parametrize("told_beforehand", [True, False])
def test_a_component_whose_plugin_is_missing_is_told_by_us_or_by_packer(
    ask: Any, packer: Packer, tmp_path: Path, *, told_beforehand: bool
) -> None:
    components = ("amazon-ebs",) if told_beforehand else ()

    with pytest.raises(Transient, match="lacks the plugin for amazon-ebs") as caught:
        ask(NAMES, {"PACKER_PLUGIN_PATH": str(tmp_path / "none")}, components=components)

    assert caught.value.hint == ("`packer plugins install github.com/hashicorp/amazon`",)


def test_a_component_of_a_plugin_that_nobody_knows_is_no_failure_of_the_image(ask: Any, packer: Packer) -> None:
    with pytest.raises(Transient, match=f"Packer {packer.binary.version_text} lacks the plugin for goss"):
        ask(GOSS, {})


@pytest.mark.packer(since=PLUGINS_APART)
def test_a_plugin_that_was_changed_is_named_where_packer_passes_it_over(
    ask: Any, packer: Packer, tmp_path: Path
) -> None:
    mine = tmp_path / "plugins"
    shutil.copytree(
        Path(os.environ["PACKER_PLUGIN_PATH"]) / "github.com/hashicorp/amazon", mine / "github.com/hashicorp/amazon"
    )
    (program,) = (path for path in mine.rglob("packer-plugin-amazon_*") if not path.name.endswith("_SHA256SUM"))
    with program.open("ab") as file:
        file.write(b"changed")

    with pytest.raises(Transient, match="lacks the plugin for amazon-ebs") as caught:
        ask(NAMES, {"PACKER_PLUGIN_PATH": str(mine)}, components=("amazon-ebs",))

    assert f"{program} is there, but not with the checksum beside it" in caught.value.hint[-1]
