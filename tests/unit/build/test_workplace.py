"""What a build is given of the machine that it runs on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reconciler.build.workplace import packer_environment


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there may be no such locale")
def test_a_build_speaks_nobodys_language(tmp_path: Path) -> None:
    """Ansible ends over a locale that is not there, and over one that is not UTF-8."""
    inherited = {"LANG": "de_DE.UTF-8", "LC_PAPER": "de_DE.UTF-8", "LC_ALL": "C", "PACKER_LOG": "1"}

    given = packer_environment(inherited, run_folder=tmp_path)

    assert given["LC_ALL"] == "C.UTF-8"
    assert {name: given[name] for name in ("LANG", "PACKER_LOG")} == {"LANG": "de_DE.UTF-8", "PACKER_LOG": "1"}
