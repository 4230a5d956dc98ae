"""What a disk is, by its first bytes, as qemu-img and tar write them."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from reconciler.registries.disk.formats import FIRST, FORMATS, form_of
from tests.needs import lacking


@pytest.mark.disks
@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_known_by_what_qemu_img_writes_at_its_beginning(form: str, tmp_path: Path) -> None:
    if shutil.which("qemu-img") is None:
        lacking("no disk can be made here: apt-get install qemu-utils")
    subprocess.run(["qemu-img", "create", "-q", "-f", form, tmp_path / "disk", "1M"], check=True)

    assert form_of((tmp_path / "disk").read_bytes()[:FIRST]) == form


def test_an_ova_is_an_archive() -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("web.ovf"))

    assert form_of(written.getvalue()[:FIRST]) == "ova"


@pytest.mark.parametrize("beginning", [b"", b"\0" * FIRST, b"app on version 1\n"])
def test_whatever_says_nothing_is_raw(beginning: bytes) -> None:
    assert form_of(beginning) == "raw"
