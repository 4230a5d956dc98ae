"""A sandbox makes nobody root who is not: its doors ask for a token, and an instance has no way out by its files."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox
from tests.integration.sandbox.conftest import DEBIAN, client

pytestmark = pytest.mark.sandbox

Start = Callable[..., "Machine"]

# What becomes root, if anything does: an image that is published runs a command as root of this machine.
PUBLISH = json.dumps(
    {"name": "debian-12-amd64-20300101-0000", "run": "touch /proc/1/root/made-by-nobody", "regions": []}
)
DESCRIBE = "Action=DescribeImages&Version=2016-11-15"
FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Authorization": "AWS4-HMAC-SHA256 Credential=x/20301231/us-east-1/ec2/aws4_request",
}


class Machine:
    """An instance, as `conftest.py` hands it out."""

    address: str
    ec2: Any
    id: str
    says: Callable[..., str]
    run: Callable[..., subprocess.CompletedProcess[bytes]]


def ask(
    address: str, path: str, *, body: str, headers: dict[str, str] | None = None, method: str = "POST"
) -> http.client.HTTPResponse:
    there = urlsplit(address)
    connection = http.client.HTTPConnection(str(there.hostname), there.port, timeout=30)
    connection.request(method, path, body=body, headers=headers or {})
    return connection.getresponse()


def login(sandbox: Sandbox) -> str:
    """What opens the proxy."""
    proxy = urlsplit(sandbox.environment["HTTPS_PROXY"])
    return "Basic " + base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode("ascii")


def tunnel(sandbox: Sandbox, host: str) -> http.client.HTTPSConnection:
    """A connection to AWS through the proxy, which stays open as long as that lets it."""
    proxy = urlsplit(sandbox.environment["HTTPS_PROXY"])
    trusted = ssl.create_default_context(cafile=sandbox.environment["AWS_CA_BUNDLE"])
    through = http.client.HTTPSConnection(str(proxy.hostname), proxy.port, timeout=30, context=trusted)
    through.set_tunnel(host, 443, {"Proxy-Authorization": login(sandbox)})
    return through


def test_who_has_no_token_pulls_no_lever(healthy: Sandbox) -> None:
    for offered in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer \xe9"}, {"Authorization": "Bearer x"}):
        assert ask(healthy.control, "/publish", body=PUBLISH, headers=offered).status == 403

    assert not Path("/made-by-nobody").exists()


def test_who_has_no_token_gets_no_aws_by_its_plain_address(healthy: Sandbox) -> None:
    for path in ("/", "/x/", "//", "/moto-api/data.json", "/moto-api/reset"):
        assert ask(healthy.endpoint, path, body=DESCRIBE, headers=FORM).status == 403

    assert healthy.calls() == {}


def test_who_has_no_token_gets_no_aws_by_the_proxy(healthy: Sandbox) -> None:
    proxy = healthy.environment["HTTPS_PROXY"]
    for offered in ({}, {"Proxy-Authorization": "Basic c2FuZGJveDp4"}):
        for method, path in (("CONNECT", "ec2.us-east-1.amazonaws.com:443"), ("CONNECT", "127.0.0.1:22")):
            assert ask(proxy, path, body="", headers=offered, method=method).status == 407
        whole = "http://ec2.us-east-1.amazonaws.com/"
        assert ask(proxy, whole, body=DESCRIBE, headers={**FORM, **offered}).status == 407

    assert healthy.calls() == {}


@pytest.mark.parametrize(
    "page", [{"Origin": "https://example.org"}, {"Origin": "null"}, {"Host": "rebound.example.org"}, {"Host": ""}]
)
def test_a_page_in_a_browser_is_not_answered_whatever_it_knows(healthy: Sandbox, page: dict[str, str]) -> None:
    bearing = {"Authorization": f"Bearer {healthy.token}"}

    assert ask(healthy.control, "/calls", body="{}", headers=bearing).status == 200
    assert ask(healthy.control, "/calls", body="{}", headers={**bearing, **page}).status == 403
    assert ask(healthy.endpoint, f"/{healthy.token}/", body=DESCRIBE, headers=FORM).status == 200
    assert ask(healthy.endpoint, f"/{healthy.token}/", body=DESCRIBE, headers={**FORM, **page}).status == 403


def test_a_request_of_any_length_is_not_read(healthy: Sandbox) -> None:
    bearing = {"Authorization": f"Bearer {healthy.token}"}
    for length in ("1000000000000", "-1", "\xb2", ""):
        assert ask(healthy.control, "/calls", body="", headers={**bearing, "Content-Length": length}).status == 413


def test_a_client_that_leaves_before_its_answer_is_no_failure_of_the_sandbox(healthy: Sandbox) -> None:
    # Given an answer that comes late through the proxy's tunnel, and a request of a lever that is not whole
    healthy.inject(action="DescribeImages", delay=0.5)
    to_aws, to_control = urlsplit(healthy.environment["HTTPS_PROXY"]), urlsplit(healthy.control)
    waiting = tunnel(healthy, "ec2.us-east-1.amazonaws.com")
    waiting.connect()
    plain = socket.create_connection((str(to_control.hostname), to_control.port))

    # When clients that wait for them reset their connections, as a process that is killed does, or speak no TLS
    waiting.request("POST", "/", body=DESCRIBE, headers=FORM)
    plain.sendall(b"POST /calls HTTP/1.1\r\nContent-Length: 2\r\n")
    stranger = socket.create_connection((str(to_aws.hostname), to_aws.port))
    stranger.sendall(
        f"CONNECT ec2.us-east-1.amazonaws.com:443 HTTP/1.1\r\nProxy-Authorization: {login(healthy)}\r\n\r\nno".encode()
    )
    for left in (waiting.sock, plain, stranger):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        left.close()
    time.sleep(1)

    # Then nothing went wrong, and others are answered
    assert "Traceback" not in (healthy.directory / handle.LOG).read_text()
    assert client(healthy).describe_images(Owners=[DEBIAN])["Images"]


def test_an_answer_without_a_body_leaves_nothing_before_the_next_one(healthy: Sandbox) -> None:
    """moto's 204 to DeleteRule has a body, `{}`: on a connection that stays open it came before the next answer."""
    retention = {"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"}
    made = json.dumps({"ResourceType": "EBS_SNAPSHOT", "RetentionPeriod": retention})
    signed = {"Authorization": FORM["Authorization"].replace("/ec2/", "/rbin/"), "Content-Type": "application/json"}
    with closing(tunnel(healthy, "rbin.us-east-1.amazonaws.com")) as connection:
        connection.request("POST", "/rules", body=made, headers=signed)
        rule = json.load(connection.getresponse())["Identifier"]

        connection.request("DELETE", f"/rules/{rule}", headers=signed)
        deleted = connection.getresponse()
        told = deleted.status, deleted.read(), deleted.headers["Content-Length"]
        connection.request("POST", "/list-rules", body=json.dumps({"ResourceType": "EBS_SNAPSHOT"}), headers=signed)
        listed = connection.getresponse().read().decode()

    assert told == (204, b"", None)
    assert rule not in listed


def test_only_roots_files_hold_the_token(healthy: Sandbox) -> None:
    holders = [path for path in healthy.directory.rglob("*") if path.is_file() and healthy.token in path.read_text()]

    assert holders == [healthy.directory / handle.READY]
    for name in (handle.READY, handle.LOG):
        found = (healthy.directory / name).stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o600)
    assert healthy.token not in repr(healthy)


_ATTACH = """
import os, sys
from pathlib import Path
from reconciler.model.errors import UserError
from reconciler.sandbox import folder
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.fchdir(int(sys.argv[1]))
try:
    folder.read(Path("sandbox.json"))
except UserError as error:
    print(error)
"""


def test_nobody_is_told_whose_the_sandbox_is(healthy: Sandbox) -> None:
    folder = os.open(healthy.directory, os.O_RDONLY)
    healthy.directory.chmod(0o755)  # so that the file itself has to be closed to nobody
    try:
        said = subprocess.run(
            [sys.executable, "-c", _ATTACH, str(folder)],
            pass_fds=[folder],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        os.close(folder)

    assert "another user's" in said.stdout
    assert "sudo" in said.stdout


def test_the_root_of_an_instances_first_process_leads_nowhere(launched: Start, tmp_path: Path) -> None:
    (tmp_path / "of-the-host").write_text("secret")
    instance = launched()

    for place in ("/proc/1/root", "/proc/1/cwd", "/proc/1/root/../.."):
        assert instance.says(f"ls -A {place}/", user="root") == "i"
        assert instance.run(f"sudo cat {place}{tmp_path}/of-the-host").returncode != 0
        assert instance.run(f"sudo touch {place}/made-by-the-instance").returncode != 0
    assert instance.says("cat /proc/1/root/i/etc/hostname", user="root") == "instance"


# A folder that was left by a second chroot has no root above it: `..` goes on to the root of the mounts.
_OUT_OF_A_CHROOT = """
import os
os.mkdir("/tmp/x")
before = os.open("/", os.O_RDONLY)
os.chroot("/tmp/x")
os.fchdir(before)
for _ in range(50):
    os.chdir("..")
os.chroot(".")
print(os.listdir("/"))
"""


def test_no_mount_of_the_host_is_in_reach_of_an_instance(launched: Start) -> None:
    first, second = launched(), launched()

    for instance in (first, second):
        mounts = instance.says("sudo cat /proc/1/mountinfo").splitlines()
        assert sorted({line.split()[4] for line in mounts}) == [
            "/", "/i", "/i/dev", "/i/dev/pts", "/i/proc", "/i/proc/sys", "/i/run", "/i/sys", "/i/tmp",
        ]  # fmt: skip
        assert instance.says(f"python3 -c '{_OUT_OF_A_CHROOT}'", user="root") == "['i']"


def test_no_link_in_an_instance_leads_the_sandbox_to_a_file_of_the_host(launched: Start, tmp_path: Path) -> None:
    # Given an instance whose root has laid links where the sandbox writes, as cloud-init would
    made, instance = tmp_path / "made-by-the-sandbox", launched()
    instance.says(f"sudo ln -sf {made} /etc/sudoers.d/90-cloud-init-users")

    # When a user logs in who is made then, and may sudo
    assert instance.says("whoami", user="newcomer") == "newcomer"

    # Then that came to nothing outside of the instance
    assert not made.exists()


def test_no_file_in_an_instance_keeps_the_sandbox_reading(launched: Start, tmp_path: Path) -> None:
    # Given an instance whose root has a user's keys without end, and another's that nobody ever writes
    instance = launched()
    for user, made in (("endless", "ln -s /dev/zero"), ("silent", "mkfifo")):
        home = f"/home/{user}/.ssh"
        instance.says(f"sudo useradd -m {user} && sudo mkdir {home} && sudo {made} {home}/authorized_keys")
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", str(tmp_path / "other")], check=True)

    # When somebody knocks whose key the sandbox has to look for there
    offered = ("-o", f"IdentityFile={tmp_path / 'other'}", "-o", "ConnectTimeout=20")
    refused = [
        subprocess.run(
            ["ssh", "-F", "none", *offered, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
             "-o", "UserKnownHostsFile=/dev/null", f"{user}@{instance.address}", "true"],
            check=False, timeout=30,
        ).returncode
        for user in ("endless", "silent")
    ]  # fmt: skip

    # Then they are refused, and the sandbox goes on
    assert refused == [255, 255]
    assert instance.says("echo up") == "up"


def test_a_configuration_without_end_does_not_keep_an_instance_from_booting(launched: Start) -> None:
    instance = launched()
    instance.says("sudo ln -s /dev/zero /etc/cloud/cloud.cfg.d/99-endless.cfg")

    instance.ec2.reboot_instances(InstanceIds=[instance.id])

    assert instance.says("echo up") == "up"


_FURNISH = """
import sys
from pathlib import Path
from reconciler.sandbox import kernel, machine
kernel.own_mounts()
machine._furnish(Path(sys.argv[1]))
print(Path(sys.argv[1], "run").is_symlink(), Path(sys.argv[1], "run/lock").is_dir())
"""


def test_a_folder_that_is_a_link_in_an_image_is_a_folder_of_its_instances(tmp_path: Path) -> None:
    # Given an image in which a folder that is mounted at boot leads to one of the host
    root, theirs = tmp_path / "root", tmp_path / "of-the-host"
    theirs.mkdir()
    root.mkdir()
    (root / "run").symlink_to(theirs)

    furnished = [sys.executable, "-c", _FURNISH, str(root)]
    said = subprocess.run(furnished, capture_output=True, text=True, check=True).stdout

    assert said.split() == ["False", "True"]
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize(
    "attempt",
    [
        "mount -o remount,rw /proc/sys",
        "mount -t tmpfs none /mnt",
        "umount --lazy /run",
        "mount -t proc none /mnt",
        "mknod /root/disk b 8 0",
        "unshare --mount true",
        "nsenter --target 1 --mount true",
        "dmesg",
        "sysctl -w kernel.core_pattern=/tmp/x",
    ],
)
def test_root_in_an_instance_mounts_nothing_and_makes_no_device(instance: Machine, attempt: str) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()

    assert instance.run(f"sudo {attempt}", user="admin").returncode != 0

    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    assert instance.says("sudo grep CapBnd /proc/self/status", user="admin") != "CapBnd:\t000001ffffffffff"
