"""The sandbox starts beside an SSH server that listens on all addresses, and each gets its own connections.

In a network of the test's own: a listener on all of port 22 and the other tests' sandboxes shut each other out.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest

from reconciler.model.errors import UserError
from reconciler.sandbox import addresses, handle, redirect
from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from tests.integration.sandbox.conftest import Instance, Start

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(os.geteuid() != 0, reason="the sandbox needs root"),
    pytest.mark.skipif(not shutil.which("nft", path="/usr/sbin:/sbin"), reason="needs nftables"),
]

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_libc = ctypes.CDLL(None, use_errno=True)

PACKER = {
    "builders": [
        {
            "type": "amazon-ebs",
            "region": "us-east-1",
            "instance_type": "t3.micro",
            "ami_name": "beside-sshd",
            "ssh_username": "admin",
            "source_ami_filter": {
                "filters": {"name": "debian-12-amd64-*"},
                "owners": ["136693071363"],
                "most_recent": True,
            },
        }
    ],
    "provisioners": [{"type": "shell", "inline": ["echo built | sudo tee /opt/built"]}],
}


@pytest.fixture(autouse=True)
def own_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This thread, and what it starts, in a network with nothing but loopback."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert _libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))
    yield
    assert _libc.setns(before, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    os.close(before)


@pytest.fixture
def sshd(own_network: None, tmp_path: Path) -> Iterator[bytes]:
    """Something on port 22 of all addresses, an OpenSSH server where there is one; returns how it greets."""
    if shutil.which("sshd") is None:
        with socket.create_server(("0.0.0.0", 22)):  # noqa: S104  that is the point; nobody is in this network
            yield b""
        return
    key = tmp_path / "host_key"
    key.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    key.chmod(0o600)
    settings = tmp_path / "sshd_config"
    settings.write_text(f"ListenAddress 0.0.0.0:22\nHostKey {key}\nUsePAM no\nPidFile none\n")
    # sshd wants /run/sshd, and the host's /run is not ours to write to.
    script = 'mount -t tmpfs run /run && mkdir -m 755 /run/sshd && exec "$0" "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, str(shutil.which("sshd")), "-D", "-e", "-f", str(settings)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
        assert server.stderr is not None
        assert b"listening on 0.0.0.0 port 22" in server.stderr.readline()
        yield b"SSH-2.0-OpenSSH"
        server.terminate()


@pytest.fixture
def sandbox(sshd: bytes, tmp_path: Path) -> Iterator[Sandbox]:
    with handle.running(tmp_path / "sandbox") as running:
        yield running


def rules() -> str:
    return subprocess.check_output(["nft", "list", "ruleset"], text=True)


def test_each_instance_is_reached_at_its_own_address(launched: Start) -> None:
    first, second = launched(), launched()
    first.says("echo first | sudo tee /opt/name")
    second.says("echo second | sudo tee /opt/name")

    assert [one.says("cat /opt/name; echo $SSH_CONNECTION") for one in (first, second)] == ["first", "second"]


def test_the_hosts_own_ssh_server_is_reached_as_before(sandbox: Sandbox, sshd: bytes) -> None:
    for address in ("127.0.0.1", "127.76.0.1", "127.78.0.1"):
        with socket.create_connection((address, 22)) as connection:
            assert connection.recv(len(sshd)) == sshd


@pytest.mark.packer
def test_packer_builds(sandbox: Sandbox, ec2: EC2Client, launched: Start, tmp_path: Path) -> None:
    (tmp_path / "template.json").write_text(json.dumps(PACKER))

    built = subprocess.run(
        ["packer", "build", "-color=false", "template.json"],
        cwd=tmp_path,
        env={**os.environ, **sandbox.environment, "PACKER_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stdout + built.stderr
    (image,) = ec2.describe_images(Owners=["self"])["Images"]
    assert launched(image=image["ImageId"]).says("cat /opt/built") == "built"


def test_two_sandboxes_lead_port_22_each_to_its_own(sandbox: Sandbox, instance: Instance, tmp_path: Path) -> None:
    instance.says("true")
    with handle.running(tmp_path / "other"):
        assert len(redirect.blocks()) == 2
        assert instance.says("echo mine") == "mine"

    assert len(redirect.blocks()) == 1
    assert instance.says("echo still mine") == "still mine"


def test_nothing_is_left_when_it_stops(sshd: bytes, tmp_path: Path) -> None:
    before = rules()

    with handle.running(tmp_path / "sandbox"):
        assert rules() != before

    assert rules() == before


def test_what_a_killed_one_left_goes_when_the_next_starts(sshd: bytes, tmp_path: Path) -> None:
    before = rules()
    with handle.running(tmp_path / "sandbox") as killed:
        assert killed.process is not None
        killed.process.kill()
        killed.process.wait()
    (left,) = redirect.blocks()

    with handle.running(tmp_path / "sandbox"):
        # Gone, or, if the next happens to have the same addresses, replaced.
        assert len(redirect.blocks()) == 1

    assert left not in redirect.blocks()
    assert rules() == before


@pytest.mark.parametrize("listener", [False, True], ids=["port-22-free", "port-22-taken"])
def test_a_block_with_rules_of_a_killed_one_is_claimed_all_the_same(listener: bool) -> None:  # noqa: FBT001  pytest's
    redirect.install(7, port=9)
    with ExitStack() as around:
        if listener:
            around.enter_context(socket.create_server(("0.0.0.0", 22)))  # noqa: S104  nobody is in this network
        claimed = addresses.claim(7)
        assert claimed is not None
        around.callback(claimed.release)

        with (
            socket.create_server(("127.77.7.2", claimed.port)) as door,
            socket.create_connection(("127.77.7.2", 22)) as caller,
        ):
            accepted, source = door.accept()
            accepted.close()
            assert source == caller.getsockname()

        assert addresses.claim(7) is None
        assert (claimed.port == 22) is not listener
    assert redirect.blocks() == set()


@contextmanager
def refusing(folder: Path, *tools: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tools that say what they say in a container without the right to change its network."""
    for tool in tools:
        path = folder / tool
        path.write_text(f"#!/bin/sh\necho '{tool}: Operation not permitted' >&2\nexit 4\n")
        path.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        yield


@pytest.mark.skipif(not shutil.which("iptables", path="/usr/sbin:/sbin"), reason="needs iptables")
def test_iptables_does_where_nft_does_not(sshd: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing(tmp_path, "nft", monkeypatch=monkeypatch):
        assert redirect.blocks() == set()
        with handle.running(tmp_path / "sandbox") as killed:
            (left,) = redirect.blocks()
            os.kill(killed.pid, signal.SIGKILL)
            assert killed.process is not None
            killed.process.wait()
        with handle.running(tmp_path / "sandbox"):
            assert len(redirect.blocks()) == 1

        assert left not in redirect.blocks()
        assert "RECONCILER" not in subprocess.check_output(["iptables", "-t", "nat", "-S"], text=True)


def test_where_neither_may_it_says_what_would_do(sshd: bytes, tmp_path: Path) -> None:
    # As in a container without the right to change its network.
    weaker = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    command = [*weaker, sys.executable, "-m", "reconciler.sandbox", "--directory", str(tmp_path), "--system", "/"]

    refused = subprocess.run(command, capture_output=True, text=True, check=False)

    assert refused.returncode == 1
    what, *hints = refused.stderr.splitlines()
    assert "an SSH server has port 22 on all addresses" in what
    assert "Operation not permitted" in what
    assert any("--cap-add NET_ADMIN" in hint for hint in hints)
    assert any("ListenAddress" in hint for hint in hints)


def test_where_neither_is_installed_it_says_what_to_install(
    sshd: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UserError, match="nft is not installed; iptables is not installed") as caught:
        addresses.claim(7)

    assert any("apt-get install nftables" in hint for hint in caught.value.hint)
