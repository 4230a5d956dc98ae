"""The orb as it is packed, and the configs that the pages show of it."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import check_jsonschema
import yaml
from click.testing import CliRunner

from tests.integration.circleci.pipeline import Pipeline

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / ".ci" / "orb.py"
REFERENCE = "acme/reconciler@1.0.0"
_BLOCK = re.compile(r"^```yaml\n# \.circleci/config\.yml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pack(folder: Path) -> subprocess.CompletedProcess[str]:
    """Pack the orb of a clone."""
    command = [sys.executable, str(folder / ".ci" / "orb.py"), "pack"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@cache
def own_orb() -> dict[str, Any]:
    """The orb of this repository, as its config holds it."""
    orb: dict[str, Any] = yaml.safe_load((ROOT / ".circleci" / "config.yml").read_text())["orbs"]["reconciler"]
    return orb


def assert_circleci_takes(config: Path) -> None:
    """Hold a config against CircleCI's own schema, as `make check` does. The import alone takes a second."""
    checked = CliRunner().invoke(check_jsonschema.main, ["--builtin-schema", "vendor.circle-ci", str(config)])
    assert checked.exit_code == 0, checked.output


def documented(page: str) -> list[dict[str, Any]]:
    """The configs that a page shows, in order."""
    return [yaml.safe_load(block) for block in _BLOCK.findall((ROOT / page).read_text())]


def pipeline(config: dict[str, Any]) -> Pipeline:
    """A config that refers to the orb as the pages do."""
    return Pipeline(config, {}, {REFERENCE: own_orb()})
