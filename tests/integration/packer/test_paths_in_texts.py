"""What Packer reads by what it renders in texts of HCL2, and by overrides, is an input: Packer is run, and reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reconciler.desired.packer.template import Setting, parse_template, read_template
from reconciler.desired.paths import contains

pytestmark = pytest.mark.packer

TEMPLATE = """\
source "file" "web" {
  content = "x"
  target  = "built"
}
build {
  sources = ["source.file.web"]
  provisioner "shell-local" {
    inline = ["cat {{ pwd }}/../../shared/pwd.conf ../../texts/{{build_type}}/{{ build_name }}.conf >>read"]
  }
  provisioner "shell-local" {
    environment_vars = ["CONF={{ pwd }}/../../shared/environment.conf"]
    inline           = ["cat $CONF >>read"]
  }
  provisioner "shell-local" {
    inline   = ["true", "cat ../../shared/kept.conf >>read"]
    override = { web = { Inline = ["cat ../../shared/override.conf >>read"] } }
  }
  provisioner "shell-local" {
    script   = "/dev/null"
    override = { web = { script = "{{pwd}}/../../shared/run.sh" } }
  }
}
"""
READ = (
    "shared/pwd.conf", "texts/file/web.conf", "shared/environment.conf", "shared/kept.conf", "shared/override.conf",
    "shared/run.sh",
)  # fmt: skip


@pytest.mark.usefixtures("packer_on_path")
def test_what_packer_reads_by_its_own_rendering_is_an_input(tmp_path: Path) -> None:
    here = tmp_path / "desired/web"
    here.mkdir(parents=True)
    (here / "web.pkr.hcl").write_text(TEMPLATE, encoding="utf-8")
    for path in READ:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{path}\n", encoding="utf-8")
    script = tmp_path / "shared/run.sh"
    script.write_text("#!/bin/sh\necho shared/run.sh >>read\n", encoding="utf-8")
    script.chmod(0o755)

    ended = subprocess.run(
        ["packer", "build", "web.pkr.hcl"], cwd=here, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert set((here / "read").read_text(encoding="utf-8").split()) == set(READ)
    file = parse_template(TEMPLATE.encode(), "desired/web/web.pkr.hcl")
    reads = read_template([file], "hcl2", setting=Setting("desired/web", "desired/web")).reads
    assert [path for path in READ if not any(contains(read.path, path) for read in reads if read.path != ".")] == []
