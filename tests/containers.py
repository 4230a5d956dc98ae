"""A container engine and registries of the tests' own: Debian's dockerd and docker-registry, on loopback.

Neither touches the machine's network: dockerd makes no bridge and no rule, so that containers share the host's.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

import pytest

from tests.needs import lacking

_PROGRAMS = ("docker", "dockerd", "docker-registry")
_REGISTRY = """\
version: 0.1
log: {{level: info}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: {deletes}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_PODMAN = """\
[containers]
netns = "host"
log_driver = "k8s-file"
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_FILES, _PROCESSES = resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC
_IN_BASE = (
    "sh", "cat", "chmod", "cut", "date", "df", "find", "getent", "grep", "head", "id", "ls", "mkdir", "mktemp",
    "readlink", "rm", "sed", "sleep", "sort", "stat", "timeout", "tr", "true", "uname", "wc",
)  # fmt: skip


def refuse_without_registry() -> None:
    """Skip a test where there is no registry to be started."""
    _refuse_without(_PROGRAMS[-1:])


def refuse_without_engine() -> None:
    """Skip a test where there is no engine to be started."""
    _refuse_without(_PROGRAMS)
    if os.geteuid() != 0:
        lacking("only root may start dockerd")


def _refuse_without(programs: Sequence[str]) -> None:
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing:
        lacking(f"there is no {' and no '.join(missing)}: apt-get install docker.io docker-registry")


@contextmanager
def engine() -> Iterator[Mapping[str, str]]:
    """An engine of its own; the variables with which `docker` and Packer reach it."""
    root = Path(tempfile.mkdtemp(prefix="engine-"))
    socket = f"unix://{root}/socket"
    command = [
        "dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
        "--data-root", f"{root}/data", "--exec-root", f"{root}/exec", "--pidfile", f"{root}/pid", "--host", socket,
    ]  # fmt: skip
    try:
        with _running(command, ready="API listen on"):
            yield {"DOCKER_HOST": socket, "DOCKER_CONFIG": str(root)}
    finally:
        # The network of the host's that containers were in; dockerd leaves it mounted.
        subprocess.run(["umount", f"{root}/exec/netns/default"], capture_output=True, check=False)
        shutil.rmtree(root)


def refuse_without_podman() -> None:
    """Skip a test where there is no podman, the second engine, or nothing that runs containers for it."""
    refuse_without_engine()
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    if shutil.which("podman", path=path) is None or not any(shutil.which(one, path=path) for one in ("crun", "runc")):
        lacking("there is no podman, or no crun and no runc: apt-get install podman runc")


@contextmanager
def podman(*, insecure: str) -> Iterator[Mapping[str, str]]:
    """Podman in docker's place, as Debian's podman-docker has it; the variables by which `docker` is that.

    It keeps layers in plain folders, shares this machine's network, and asks for no more than a root in a container may
    have. `insecure` is a registry that has no TLS, which podman wants even on loopback.
    """
    root = Path(tempfile.mkdtemp(prefix="podman-"))
    home, program = root / ".config" / "containers", root / "bin" / "docker"
    for folder in (home, program.parent):
        folder.mkdir(parents=True)
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    runtime = next(one for one in ("crun", "runc") if shutil.which(one, path=path))
    program.write_text(f'#!/bin/sh\nHOME={root} exec {shutil.which("podman", path=path)} "$@"\n')
    program.chmod(0o755)
    files, processes = (min(resource.getrlimit(one)[1] & 0xFFFF_FFFF, 4096) for one in (_FILES, _PROCESSES))
    written = {
        home / "policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}',
        root / "containers.conf": _PODMAN.format(runtime=runtime, files=files, processes=processes),
        root / "storage.conf": f'[storage]\ndriver = "vfs"\nrunroot = "{root}/run"\ngraphroot = "{root}/data"\n',
        root / "registries.conf": f'[[registry]]\nlocation = "{insecure}"\ninsecure = true\n',
    }
    for file, text in written.items():
        file.write_text(text)
    variables = {
        "PATH": f"{program.parent}{os.pathsep}{path}", "CONTAINERS_CONF": f"{root}/containers.conf",
        "CONTAINERS_STORAGE_CONF": f"{root}/storage.conf", "CONTAINERS_REGISTRIES_CONF": f"{root}/registries.conf",
    }  # fmt: skip
    try:
        yield variables
    finally:
        removing = [str(program), "rm", "--all", "--force", "--time=0"]
        subprocess.run(removing, env={**os.environ, **variables}, capture_output=True, check=False)
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def registry(root: Path, *, deletes: bool = True, port: int = 0) -> Iterator[str]:
    """A registry that keeps what it has in a folder; `127.0.0.1:port`. A former port may be asked for again."""
    settings = root / "registry.yml"
    settings.write_text(_REGISTRY.format(root=root / "content", deletes=str(deletes).lower(), port=port))
    with _running(["docker-registry", "serve", str(settings)], ready="listening on") as line:
        match = re.search(r"listening on (127\.0\.0\.1:[0-9]+)", line)
        assert match is not None, line
        yield match[1]


@contextmanager
def _running(command: list[str], *, ready: str) -> Iterator[str]:
    """A server that is up once it says so; the line in which it does. It is ended with the test."""
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}{os.pathsep}/usr/sbin"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stderr is not None
        said: list[str] = []
        for line in run.stderr:
            said.append(line)
            if ready in line:
                break
        else:
            pytest.fail(f"{command[0]} did not start: {''.join(said[-5:])}")
        drain = threading.Thread(target=_drain, args=(run.stderr,))
        drain.start()
        try:
            yield said[-1]
        finally:
            run.terminate()
            run.wait(60)
            drain.join()


def _drain(stream: IO[str]) -> None:
    for _ in stream:
        pass


def docker(*arguments: str, feed: bytes | None = None) -> str:
    """Run docker, which has to succeed."""
    ended = subprocess.run(["docker", *arguments], input=feed, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode().strip()


def imported(files: Mapping[str, bytes]) -> str:
    """The id of an image that holds these files alone."""
    found = re.search(r"sha256:[0-9a-f]{64}", docker("import", "-", feed=_archive(files)))
    assert found is not None
    return found[0]  # podman says more


def base() -> str:
    """The id of an image in which a shell can run what Packer's provisioners need: this machine's own, and no more."""
    files: dict[str, bytes] = {
        "etc/passwd": b"root:x:0:0:root:/:/bin/sh\n",
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n',
    }
    for program in _IN_BASE:
        path = shutil.which(program)
        assert path is not None
        files[f"bin/{program}"] = Path(path).read_bytes()
        needs = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        files |= {library.lstrip("/"): Path(library).read_bytes() for library in re.findall(r"/\S+", needs)}
    return imported(files)


def _archive(files: Mapping[str, bytes]) -> bytes:
    written = BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, BytesIO(content))
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)
    return written.getvalue()
