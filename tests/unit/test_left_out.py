"""At its end `make test` names the kinds that were left out, and why; judged by pytest itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest

@pytest.mark.containers
def test_ran(): pass

@pytest.mark.containers
@pytest.mark.parametrize("number", [1, 2])
def test_lacking(number): pytest.skip("podman is not installed here")

@pytest.mark.disks
class TestDisks:
    @pytest.fixture(autouse=True)
    def qemu(self): pytest.skip("qemu-img is not installed here")
    def test_lacking(self): pass
    def test_too(self): pass

@pytest.mark.vsphere
@pytest.mark.long
def test_long(): pass

@pytest.mark.terraform
def test_failed(): assert False

def test_of_no_kind(): pytest.skip("the moon is full")
"""


@pytest.mark.parametrize("workers", [[], pytest.param(["-p", "xdist.plugin", "-n", "1"], marks=pytest.mark.thorough)])
def test_what_was_left_out_is_named_with_its_reason(tmp_path: Path, workers: list[str]) -> None:
    suite = tmp_path / "test_suite.py"
    suite.write_text(SUITE)
    marks = "".join(f"  {mark}\n" for mark in ("containers", "disks", "vsphere", "terraform", "long"))
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nmarkers =\n{marks}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.left_out", *workers, "-m", "not long", str(suite)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TELL_KINDS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    for line in (
        "container images (oci): 1 test ran, 2 left out: podman is not installed here",
        "disks (disk): left out: qemu-img is not installed here",
        "templates in a vCenter (vsphere): left to make test-all",
        "the Terraform module: 1 test ran",
        "What takes its time, of every kind, is left to make test-all, which installs what is missing.",
    ):
        assert f"\n{line}\n" in ended.stdout, ended.stdout + ended.stderr
    assert "moon" not in ended.stdout
    environment.pop("TELL_KINDS")
    quiet = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "kinds beside" not in quiet.stdout


def test_a_kind_has_an_extra_of_its_name_also_where_it_needs_no_package() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert extras["oci"] == []
    assert extras["vsphere"] != []


def test_make_test_tells_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\ntest: ")[2].partition("\n\n")[0]
    assert "TELL_KINDS=1 $(PYTEST)" in recipe
