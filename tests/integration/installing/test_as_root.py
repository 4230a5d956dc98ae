"""`make demo` and `make test` of somebody who is not root: what their shell says of the network holds for root too."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.packer.programs import write_program

AS_ROOT = Path(__file__).parents[3] / ".ci" / "as-root"


@pytest.fixture
def somebody(tmp_path: Path) -> dict[str, str]:
    """The environment of one who is not root. The `sudo` there keeps what it is asked to keep, and no more."""
    write_program(tmp_path, "id", "echo 1000")
    keeps = """kept=${1#--preserve-env=}; shift
for name in $(echo "$kept" | tr , ' '); do eval "value=\\${$name-}"; [ -z "$value" ] || set -- "$name=$value" "$@"; done
exec env -i "$@"
"""
    write_program(tmp_path, "sudo", keeps)
    return {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}


def ran(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([AS_ROOT, "sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["RECONCILER_SANDBOX_MIRROR", "https_proxy", "NO_PROXY", "GOPROXY", "SSL_CERT_FILE"])
def test_how_the_network_is_reached_is_kept(name: str, somebody: dict[str, str]) -> None:
    ended = ran(f'echo "${name}"', {**somebody, name: "http://there.example:3128"})

    assert (ended.stdout, ended.stderr) == ("http://there.example:3128\n", "")


def test_the_home_is_not(somebody: dict[str, str]) -> None:
    assert ran('echo "$HOME"', somebody).stdout == "\n"


def test_caches_are_kept_where_root_named_a_folder_of_its_own(somebody: dict[str, str], tmp_path: Path) -> None:
    write_program(tmp_path, "stat", "case $3 in */roots) echo 0 ;; */mine) echo 1000 ;; *) exit 1 ;; esac")

    kept = {name: ran('echo "$XDG_CACHE_HOME"', {**somebody, "XDG_CACHE_HOME": name}) for name in ("/roots", "/mine")}

    assert {name: (ended.stdout, ended.stderr) for name, ended in kept.items()} == {
        "/roots": ("/roots\n", ""), "/mine": ("\n", ""),
    }  # fmt: skip


def test_without_sudo_it_says_what_to_do(somebody: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sudo").unlink()
    for tool in ("bash", "sh", "env"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}")

    ended = ran("true", {**somebody, "PATH": str(tmp_path)})

    assert ended.returncode == 1
    assert "this needs root" in ended.stderr
    assert "make quick" in ended.stderr
