"""A bare machine gets what a command needs from its archive, and no more; it is told what, and why it could not be."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_THERE = ("bash", "cat", "dirname", "env", "grep", "id", "mkdir", "sed")

Machine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bare_machine(tmp_path: Path) -> Machine:
    """Run `.ci/install` where nothing is installed but a shell, and root's `apt-get` is the given script."""
    programs, clone = tmp_path / "bin", tmp_path / "clone"
    (clone / ".ci").mkdir(parents=True)
    shutil.copy2(ROOT / ".ci" / "install", clone / ".ci" / "install")
    programs.mkdir()
    for name in _THERE:
        (programs / name).symlink_to(str(shutil.which(name)))

    def run(
        *arguments: str, apt_get: str | None = 'echo "asked: $*"; exit 1', user: int = 0
    ) -> subprocess.CompletedProcess[str]:
        for name, script in (("apt-get", apt_get), ("id", f"echo {user}")):
            (programs / name).unlink(missing_ok=True)
            if script is not None:
                (programs / name).write_text(f"#!/bin/sh\n{script}\n")
                (programs / name).chmod(0o755)
        return subprocess.run(
            [clone / ".ci" / "install", *arguments],
            env={"PATH": str(programs), "HOME": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("what_for", "needed", "not_needed"),
    [
        ("demo", {"mmdebstrap", "openssh-client", "python3-venv"}, {"npm", "nodejs", "git-lfs", "sudo"}),
        ("quick", {"openssh-client", "python3-venv"}, {"npm", "nodejs", "mmdebstrap", "nftables", "sudo", "git-lfs"}),
        ("", {"mmdebstrap", "git-lfs", "npm", "nodejs", "sudo", "gpg-agent"}, set()),
    ],
    ids=["the demo", "the tests without root", "all tests"],
)
def test_a_bare_machine_gets_what_is_needed_and_no_more(
    bare_machine: Machine, what_for: str, needed: set[str], not_needed: set[str]
) -> None:
    ended = bare_machine(*filter(None, [what_for]))

    asked = set(ended.stdout.split())
    assert ended.stdout.startswith("installing from this system's archive: ")
    assert needed <= asked
    assert not asked & not_needed


def test_what_apt_get_says_is_shown_where_it_fails_alone(bare_machine: Machine) -> None:
    works_and_talks = 'case "$*" in *install*) echo "Setting up mmdebstrap"; exit 0 ;; *) echo Reading; exit 0 ;; esac'
    fails = 'case "$*" in *install*) echo "Unable to locate package mmdebstrap"; exit 100 ;; *) exit 0 ;; esac'

    assert "Setting up" not in (worked := bare_machine("demo", apt_get=works_and_talks)).stdout + worked.stderr
    failed = bare_machine("demo", apt_get=fails)
    assert failed.returncode == 1
    assert "Unable to locate package mmdebstrap\nerror: apt-get could not install: " in failed.stderr


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        ({"user": 1000}, "which only root may install, and there is no sudo here\n  as root: apt-get install git "),
        ({"apt_get": None}, "and there is no apt-get to install them with"),
        ({}, "apt-get could not read the archive's lists"),
    ],
    ids=["nobody may", "another Linux", "no network"],
)
def test_what_can_not_be_installed_is_said(bare_machine: Machine, machine: dict[str, object], says: str) -> None:
    ended = bare_machine("demo", **machine)

    assert ended.returncode == 1
    assert says in ended.stderr
    assert "command not found" not in ended.stderr


def test_lists_that_apt_get_could_not_fetch_are_said_where_a_package_can_not_be_had(bare_machine: Machine) -> None:
    # As apt-get ends without a network: well, with the lists, and with what they are for, not
    apt_get = """case "$*" in
*update*) echo "W: Failed to fetch http://deb.example/InRelease  Temporary failure resolving 'deb.example'" ;;
*) echo "E: Unable to locate package git"; exit 100 ;;
esac"""

    ended = bare_machine("demo", apt_get=apt_get)

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "  its lists could not be fetched: Failed to fetch http://deb.example/InRelease  "
        "Temporary failure resolving 'deb.example'"
    )


@pytest.fixture
def furnished_machine(bare_machine: Machine, tmp_path: Path) -> Machine:
    """A machine that has every program, and whose `python3 -m venv` makes a pip that is a script in `pip`."""
    for name in ("git", "ssh", "git-lfs"):
        (tmp_path / "bin" / name).symlink_to("/bin/true")
    venv = f"""case "$*" in *"venv --clear"*)
mkdir -p .venv/bin; cat {tmp_path}/pip > .venv/bin/pip; : > .venv/bin/python
chmod +x .venv/bin/*; echo made >> {tmp_path}/made ;;
esac"""
    (tmp_path / "bin" / "chmod").symlink_to(str(shutil.which("chmod")))
    (tmp_path / "bin" / "python3").write_text(f"#!/bin/sh\n{venv}\n")
    (tmp_path / "bin" / "python3").chmod(0o755)
    return bare_machine


_BROKEN = "WARNING: Retrying (Retry(total=4, connect=None)) after connection broken by '{}': /simple/click/"
_CERTIFICATE = "certificate verify failed: unable to get local issuer certificate (_ssl.c:992)"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("NewConnectionError('<O at 0x7f>: Failed: [Errno -3] Temporary failure in name resolution')",
         "Temporary failure in name resolution"),
        ("ConnectTimeoutError(<O at 0x7f>, 'Connection to pypi.example timed out. (connect timeout=15)')",
         "Connection to pypi.example timed out"),
        ("ProtocolError('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))",
         "Connection reset by peer"),
        (f"SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] {_CERTIFICATE}'))",
         "unable to get local issuer certificate"),
    ],
    ids=["no network", "silence", "broken off", "not trusted"],
)  # fmt: skip
def test_an_index_that_can_not_be_reached_is_one_sentence(
    furnished_machine: Machine, tmp_path: Path, broken: str, why: str
) -> None:
    line = _BROKEN.format(broken)
    (tmp_path / "pip").write_text(f"#!/bin/sh\ncat <<'END' >&2\n{line}\n{line}\nERROR: No matching\nEND\nexit 1\n")

    ended = furnished_machine("quick")

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"error: the Python packages can't be had, as their index can't be reached: {why}",
        "  it needs the network, this once",
    ]


def test_what_pip_says_else_is_shown(furnished_machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "pip").write_text("#!/bin/sh\necho 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1\n")

    ended = furnished_machine("quick")

    assert ended.stderr.splitlines() == [
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES",
        "error: pip could not install what requirements.lock has",
    ]


@pytest.mark.parametrize(("lacks", "made"), [("pip", 2), ("python", 2), ("nothing", 1)])
def test_an_environment_whose_making_was_interrupted_is_made_anew(
    furnished_machine: Machine, tmp_path: Path, lacks: str, made: int
) -> None:
    (tmp_path / "pip").write_text("#!/bin/sh\n")
    assert furnished_machine("quick").returncode == 0
    (tmp_path / "clone/.venv/bin" / lacks).unlink(missing_ok=True)

    ended = furnished_machine("quick")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "made").read_text() == "made\n" * made
