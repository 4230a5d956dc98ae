"""A command that is told to end while it reads what takes hours: it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

TEMPLATE = """
variable "source_disk" {}
source "qemu" "web" {
  iso_url      = var.source_disk
  iso_checksum = "none"
  disk_image   = true
}
build { sources = ["source.qemu.web"] }
"""


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True)


def wait_until_read(process: subprocess.Popen[bytes], file: Path) -> None:
    """Until a process has a file open. Fails where it ends before, or does not in a minute."""
    until, looked = time.monotonic() + 60, threading.Event()
    while time.monotonic() < until and process.poll() is None:
        for one in Path(f"/proc/{process.pid}/fd").iterdir():
            if one.is_symlink() and Path(os.path.realpath(one)) == file:
                return
        looked.wait(0.05)
    pytest.fail(f"{file.name} is not read")


@pytest.mark.long
@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_plan_that_reads_a_disk_for_hours_ends_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    # Given an image that is built on a file of terabytes of holes
    disk, image = tmp_path / "disk.raw", tmp_path / "fleet/desired/web"
    with disk.open("wb") as made:
        made.truncate(15 << 40)
    image.mkdir(parents=True)
    (image / "web.pkr.hcl").write_text(TEMPLATE)
    (image / "image.yaml").write_text(f"source: {{disk: {{url: {disk}}}}}\nlocations: [{tmp_path}/store]\n")
    (image.parent / "reconciler.yaml").write_text("fleet: acme/images\n")
    fleet = image.parents[1]
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "web")):
        git(fleet, *words)

    # When it is told to end
    command = [sys.executable, "-m", "reconciler", "plan"]
    with subprocess.Popen(command, cwd=fleet, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            wait_until_read(process, disk)
            process.send_signal(number)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()

    assert (process.returncode, b"interrupted" in errors) == (130, True)
