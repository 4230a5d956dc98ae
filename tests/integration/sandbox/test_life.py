"""A sandbox starts where it can, says why where it can't, and leaves nothing behind."""

from __future__ import annotations

import base64
import http.client
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from reconciler.model.errors import UserError
from reconciler.sandbox import handle, kernel
from reconciler.sandbox.handle import Sandbox

pytestmark = pytest.mark.sandbox


def test_launching_loads_neither_moto_nor_asyncssh() -> None:
    code = "import sys, reconciler.sandbox.handle; print({'moto', 'asyncssh', 'boto3'} & set(sys.modules))"

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


# The interpreter may be in a folder of root's: this becomes nobody only once it runs.
_AS_NOBODY = """
import os, sys
from reconciler.sandbox import server
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.argv[0] = "sandbox"
sys.exit(server.main())
"""


def test_without_root_it_says_what_to_do() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, "--directory", "/nowhere", "--system", "/"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("the sandbox needs root")
    assert "sudo" in done.stderr


def test_in_a_chroot_that_is_no_mount_it_says_what_to_do(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can change its root")
    inside = "import os, sys; from reconciler.sandbox import kernel; os.chroot(sys.argv[1]); kernel.own_mounts()"

    done = subprocess.run([sys.executable, "-c", inside, tmp_path], capture_output=True, text=True, check=False)

    assert "UserError: the sandbox can't keep its mounts to itself in a chroot" in done.stderr
    assert "mount --rbind FOLDER FOLDER" in done.stderr


def test_the_command_that_sudos_own_path_lacks_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "reconciler"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert kernel.root_needed().hint == (f"run it with sudo: `sudo {program} …`",)


def test_no_module_where_it_is_started_is_taken_for_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a folder that others write to, with files that are called as modules that its process imports
    for module in ("argparse", "moto", "reconciler"):
        (tmp_path / f"{module}.py").write_text("import pathlib; pathlib.Path('root-was-here').touch()\n")
    monkeypatch.chdir(tmp_path)
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")

    with handle.running(tmp_path / "sandbox"):
        pass

    assert not (tmp_path / "root-was-here").exists()


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_what_a_commit_calls_a_sandbox_is_none(tmp_path: Path, mode: int) -> None:
    # Given a file in the place of a sandbox's own, whose answers need no server, and whose process is another's
    told = {
        "pid": os.getpid(), "environment": {"X; touch run": "y"}, "endpoint": "", "token": "",
        "control": f"file://{tmp_path}",
    }  # fmt: skip
    (tmp_path / "calls").write_text("[]")
    file = tmp_path / handle.READY
    file.write_text(json.dumps(told))
    file.chmod(mode)

    with pytest.raises(UserError, match="no sandbox runs in"):
        handle.attach(tmp_path)


@pytest.mark.parametrize("called", ["anything", "a sandbox"])
def test_who_took_the_port_of_a_sandbox_that_was_killed_is_none(tmp_path: Path, called: str) -> None:
    # Given the file of a sandbox that was killed, whose number and whose port are somebody else's by now
    told: list[str] = []

    class Impostor(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.headers.get("Authorization", ""))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Impostor)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    become: dict[str, Any] = {"user": 65534, "group": 65534} if called == "a sandbox" else {}
    words = ["reconciler.sandbox", "--directory", str(tmp_path)] if become else []
    process = subprocess.Popen(["sh", "-c", "read wait; exit 0", *words], stdin=subprocess.PIPE, **become)
    file = tmp_path / handle.READY
    file.write_text(json.dumps({
        "pid": process.pid, "environment": {"LD_PRELOAD": "his.so"}, "endpoint": "", "token": "secret",
        "control": f"http://127.0.0.1:{server.server_address[1]}",
    }))  # fmt: skip
    file.chmod(0o600)
    try:
        with pytest.raises(UserError, match="no sandbox runs in"):
            handle.attach(tmp_path)
        assert process.poll() is None
    finally:
        process.communicate(b"\n")
        server.shutdown()
        thread.join()
        server.server_close()
    assert told == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match=r"the sandbox can't keep its files in .*: Not a directory") as caught:
        handle.start(tmp_path / "file" / "folder")

    assert "--folder" in caught.value.hint[0]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small one")
    kernel.mount("small", tmp_path, kind="tmpfs", options="size=4k,nr_inodes=1")
    try:
        with pytest.raises(UserError, match=r"the sandbox can't keep its files in .*: No space left on device"):
            handle.start(tmp_path)
    finally:
        kernel.unmount(tmp_path)


def test_a_disk_that_is_full_once_it_starts_is_said(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small one")
    kernel.mount("small", tmp_path, kind="tmpfs", options="size=64k")
    try:
        (tmp_path / "all").write_bytes(bytes(64 * 1024))
        with pytest.raises(UserError, match=r"the sandbox can't keep its files in .*: No space left on device"):
            handle.start(tmp_path)
    finally:
        kernel.unmount(tmp_path)


def test_where_one_is_starting_no_other_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    # Given one that makes its Debian, as the first of a user does
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mmdebstrap").write_text("#!/bin/sh\necho 'I: running apt-get update...' >&2; exec sleep 600\n")
    (programs / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    refused: list[str] = []

    def meanwhile(line: str) -> None:
        if line == "reading the archive's lists":
            with pytest.raises(UserError) as caught:
                handle.start(tmp_path / "sandbox")
            refused.append(caught.value.what)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        handle.start(tmp_path / "sandbox", tell=meanwhile)

    assert refused == [f"another sandbox is starting in {tmp_path / 'sandbox'}, or ending"]


def test_of_two_that_start_at_once_in_a_folder_one_runs_and_is_stopped(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    ended: list[Sandbox | UserError] = []

    def start() -> None:
        try:
            ended.append(handle.start(tmp_path))
        except UserError as error:
            ended.append(error)

    together = [threading.Thread(target=start) for _ in range(2)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()

    (one,) = [it for it in ended if isinstance(it, Sandbox)]
    (refused,) = [it for it in ended if isinstance(it, UserError)]
    assert "another sandbox is starting" in refused.what
    assert _running_in(tmp_path) == [one.pid]
    handle.attach(tmp_path).stop()
    one.stop()
    assert _running_in(tmp_path) == []


def test_one_that_is_interrupted_while_it_starts_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    began: list[list[int]] = []
    waits = time.sleep

    def interrupt(seconds: float) -> None:
        now = _running_in(tmp_path)
        if now and not began:
            began.append(now)
            raise KeyboardInterrupt
        waits(seconds)  # for its beginning, and for its end

    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        handle.start(tmp_path)

    assert [len(one) for one in began] == [1]
    assert _running_in(tmp_path) == []


def _running_in(directory: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"reconciler.sandbox" in words and os.fsencode(directory) in words:
                found.append(int(process.name))
    return found


def test_what_others_may_not_read_by_default_is_read_in_images(tmp_path: Path) -> None:
    # Given a person whose files are his own alone, as on hardened machines
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    before = os.umask(0o077)
    try:
        with handle.running(tmp_path / "sandbox") as sandbox:
            nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"
            listed = "find / -xdev -maxdepth 1 -type d ! -perm -o=x ! -name root ! -name lost+found"
            sandbox.publish("debian-12-amd64-20270301-0000", run=f'{nobody} ls / /etc && test -z "$({listed})"')
            kept = {path.name: path.stat().st_mode & 0o777 for path in sandbox.directory.iterdir()}
    finally:
        os.umask(before)

    assert (kept[handle.READY], kept[handle.LOG], kept["certificates"]) == (0o600, 0o600, 0o700)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_what_a_crash_left_of_another_is_no_sandbox(content: str, tmp_path: Path) -> None:
    (tmp_path / handle.READY).write_text(content)

    with pytest.raises(UserError, match="no sandbox runs in"):
        handle.attach(tmp_path)

    with handle.running(tmp_path) as sandbox:
        assert sandbox.calls() == {}


def test_one_that_lost_its_file_is_named_with_its_process(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    with handle.running(tmp_path) as sandbox:
        (tmp_path / handle.READY).write_text("{")

        with pytest.raises(UserError, match=rf"a sandbox runs in .* \(process {sandbox.pid}\)") as caught:
            handle.attach(tmp_path)
        with pytest.raises(UserError, match=rf"a sandbox runs in .* \(process {sandbox.pid}\)"):
            handle.start(tmp_path)

    assert f"`kill {sandbox.pid}`" in caught.value.hint[0]
    with pytest.raises(UserError, match="no sandbox runs in"):
        handle.attach(tmp_path)


@pytest.mark.parametrize(
    ("missing", "package"),
    [("openssl", "openssl"), ("nsenter", "util-linux"), ("setpriv", "util-linux"), ("setsid", "util-linux")],
)
def test_a_missing_program_is_named_with_its_package(
    missing: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name != missing:
            (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))

    with pytest.raises(UserError, match=missing) as caught:
        handle.start(tmp_path)

    assert caught.value.hint == (f"apt-get install {package}",)


def test_a_stopped_sandbox_leaves_nothing(tmp_path: Path) -> None:
    before = _mounts()
    with handle.running(tmp_path) as sandbox:
        pids = _with_an_instance(sandbox)
        assert handle.attach(tmp_path).pid == sandbox.pid
        with pytest.raises(UserError, match="already"):
            handle.start(tmp_path)

    assert not Path(f"/proc/{sandbox.pid}").exists()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert _mounts() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [handle.LOG]
    with pytest.raises(UserError, match="no sandbox runs"):
        handle.attach(tmp_path)


def _with_an_instance(sandbox: Sandbox) -> list[int]:
    """Start an instance; return the processes that the sandbox has then."""
    exported = sandbox.environment
    ec2 = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=sandbox.endpoint,
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
    )
    image = ec2.describe_images()["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)
    pids = _descendants(sandbox.pid)
    assert pids
    return pids


def _mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


def _descendants(pid: int) -> list[int]:
    # By each process's parent: the lists of children are a thread's, and miss some while threads end.
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def test_a_sandbox_whose_folder_is_removed_ends(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    one = handle.start(tmp_path / "sandbox")
    assert _running_in(tmp_path / "sandbox") == [one.pid]

    shutil.rmtree(tmp_path / "sandbox", ignore_errors=True)

    until = time.monotonic() + 60
    while _running_in(tmp_path / "sandbox") and time.monotonic() < until:
        time.sleep(0.1)
    assert _running_in(tmp_path / "sandbox") == []
    one.stop()


def test_a_killed_sandbox_takes_its_instances_along(sandbox: Sandbox, tmp_path: Path) -> None:
    with handle.running(tmp_path) as killed:
        pids = _with_an_instance(killed)
        watches = [os.pidfd_open(pid) for pid in pids]
        os.kill(killed.pid, signal.SIGKILL)
        assert killed.process is not None
        killed.process.wait()

    # Hangs if one of them never ends.
    for watch in watches:
        select.select([watch], [], [])
        os.close(watch)
    with handle.running(tmp_path) as again:
        assert again.calls() == {}


def test_two_sandboxes_do_not_meet(sandbox: Sandbox, tmp_path: Path) -> None:
    with handle.running(tmp_path) as other:
        other.publish("debian-12-amd64-20270101-0000")

        assert other.endpoint != sandbox.endpoint
        authorities = [Path(one.environment["AWS_CA_BUNDLE"]).read_bytes() for one in (other, sandbox)]
        assert authorities[0] != authorities[1]
        sandbox.publish("debian-12-amd64-20270101-0000")


def test_what_is_not_aws_passes_through_the_proxy(sandbox: Sandbox) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"not AWS")

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = urlsplit(sandbox.environment["HTTPS_PROXY"])
    tunnel = http.client.HTTPConnection(str(proxy.hostname), proxy.port)
    pair = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    tunnel.set_tunnel("127.0.0.1", server.server_port, {"Proxy-Authorization": f"Basic {pair}"})
    tunnel.request("GET", "/")
    answer = tunnel.getresponse().read()
    tunnel.close()
    server.shutdown()
    server.server_close()

    assert answer == b"not AWS"


def test_packer_is_told_its_own_address(sandbox: Sandbox) -> None:
    # As a program without AWS's SDK asks: by the proxy and the authorities that the environment names. Python looks at
    # these as strictly from 3.13 on.
    asks = (
        "import ssl, urllib.request as u; strict = ssl.create_default_context(); "
        "strict.verify_flags |= ssl.VERIFY_X509_STRICT; "
        "print(u.urlopen('https://checkip.amazonaws.com/', context=strict).read().decode(), end='')"
    )

    asked = subprocess.run(
        [sys.executable, "-c", asks],
        env={**os.environ, **sandbox.environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert asked.stdout == "127.0.0.1\n", asked.stderr


def test_stop_takes_out_of_a_shell_what_start_brought(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    script = """
    sandbox() { "$PYTHON" -m reconciler sandbox "$@" --folder "a sandbox"; }
    eval "$(sandbox start)"
    sandbox env
    echo --
    env
    echo --
    eval "$(sandbox stop)"
    env
    """

    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert """# stop it with: eval "$(reconciler sandbox stop --folder 'a sandbox')"\n""" in done.stderr
    told, within, after = (
        {line.removeprefix("export ").partition("=")[0] for line in part.splitlines()}
        for part in done.stdout.split("--\n")
    )
    assert {"AWS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy"} <= told <= within
    assert told & after == set()
    with pytest.raises(UserError, match="no sandbox runs in"):
        handle.attach(tmp_path / "a sandbox")
