"""A command that would read what takes hours does not, or ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reconciler.cli.main import main as reconciler

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


def built_on_holes(folder: Path, *, size: int, settings: str = "") -> tuple[Path, Path]:
    """A fleet with an image that is built on a file of so many bytes, which takes no room; and that file."""
    disk, image = folder / "disk.raw", folder / "fleet/desired/web"
    with disk.open("wb") as made:
        made.truncate(size)
    image.mkdir(parents=True)
    (image / "web.pkr.hcl").write_text(TEMPLATE)
    (image / "image.yaml").write_text(f"source: {{disk: {{url: {disk}}}}}\nlocations: [{folder}/store]\n")
    (image.parent / "reconciler.yaml").write_text(f"fleet: acme/images\n{settings}")
    fleet = image.parents[1]
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "web")):
        git(fleet, *words)
    return fleet, disk


@pytest.mark.parametrize(("size", "settings"), [(2 << 40, ""), (2 << 30, "limits: {max_file_gib: 1}\n")])
def test_a_plan_reads_no_disk_that_is_larger_than_the_settings_allow(
    tmp_path: Path, size: int, settings: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fleet, disk = built_on_holes(tmp_path, size=size, settings=settings)
    assert reconciler(["plan", "-C", str(fleet)]) == 3
    said = "".join("".join(capfd.readouterr()).split())  # a table may have broken the path
    most = 1 if settings else 1024
    told = f"source {disk} is of {size:,} bytes, and no disk of more than {most:,} GiB is taken"
    assert told.replace(" ", "") in said
    assert "`limits:{max_file_gib:…}`indesired/reconciler.yaml" in said


@pytest.mark.long
@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_plan_that_reads_a_disk_for_hours_ends_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    # Given an image that is built on a file of a terabyte of holes
    fleet, disk = built_on_holes(tmp_path, size=1 << 40)

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
