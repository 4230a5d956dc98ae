"""Where a Packer comes from: HashiCorp's release, held to its checksums, or the system's own archive."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from reconciler.build.packer.binary import PROGRAM, platform
from reconciler.build.packer.cache import Tell, told_plainly
from reconciler.model.constraint import Version, parse_version
from reconciler.model.errors import Transient

# HashiCorp's release of Packer: downloaded, and taken only where it is what the release's checksums say.

RELEASES = "https://releases.hashicorp.com"
"""The checksums come from the same host: they tell a broken download, not a host that was broken into."""

_PIECE = 1 << 16
_LARGEST_SUMS = 1 << 16
_LARGEST = 1 << 29
"""Bytes of the program. 1.16.0 has 154 million of them, 50 million packed."""


@dataclass(frozen=True)
class Limits:
    """How long is waited, in seconds: for the host, for each piece of what it sends, and in all."""

    connect: float = 5.0
    silence: float = 20.0
    total: float = 600.0
    clock: Callable[[], float] = time.monotonic


def download(version: str, into: Path, *, tell: Tell, host: str = RELEASES, limits: Limits | None = None) -> None:
    """Put the program of a release into a folder.

    Raises:
        Transient: the host is out of reach or too slow, has no such release, or sent something else.
        UserError: there is no room in the folder.
    """
    archive = f"packer_{version}_{platform()}.zip"
    source = _Source(f"{host}/packer/{version}", limits or Limits())
    wanted = _sum_of(archive, b"".join(source.pieces(f"packer_{version}_SHA256SUMS", largest=_LARGEST_SUMS)), source)
    tell(f"downloading Packer {version} from {source.host}")
    packed, digest = into / archive, hashlib.sha256()
    with told_plainly(into):
        with packed.open("wb") as file:
            for piece in source.pieces(archive, largest=_LARGEST):
                file.write(piece)
                digest.update(piece)
        if digest.hexdigest() != wanted:
            raise Transient(f"what {source.host} sent as {archive} is not what its checksums say, and was thrown away")
        _unpack(packed, into / PROGRAM, source)
        packed.unlink()


@dataclass(frozen=True)
class _Source:
    """One release, at its host."""

    address: str
    limits: Limits

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def pieces(self, name: str, *, largest: int) -> Iterator[bytes]:
        """A file of the release, piece by piece. Every way to fail is one sentence."""
        clock, begun, received = self.limits.clock, self.limits.clock(), -1
        try:
            patience = (self.limits.connect, self.limits.silence)
            with requests.get(f"{self.address}/{name}", stream=True, timeout=patience) as answer:
                if answer.status_code != requests.codes.ok:
                    raise Transient(f"{self.host} has no {name} ({answer.status_code} {answer.reason})")
                received = 0
                for piece in answer.iter_content(_PIECE):
                    received += len(piece)
                    if received > largest:
                        raise Transient(f"{self.host} sends more for {name} than it can be")
                    if clock() - begun > self.limits.total:
                        raise Transient(f"{self.host} is too slow: {received >> 20} MB in {self.limits.total:.0f} s")
                    yield piece
        except requests.exceptions.SSLError as error:
            raise Transient(f"the certificate of {self.host} is not trusted here") from error
        except requests.Timeout as error:
            raise Transient(f"{self.host} does not answer") from error
        except requests.RequestException as error:
            what = f"broke off after {received >> 20} MB of {name}" if received >= 0 else "can't be reached"
            raise Transient(f"{self.host} {what}") from error


def _sum_of(archive: str, sums: bytes, source: _Source) -> str:
    for line in sums.decode("ascii", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        if name.strip() == archive:
            return digest.lower()
    raise Transient(f"{source.host} has no {archive}: there is no release for this kind of machine")


def _unpack(packed: Path, program: Path, source: _Source) -> None:
    try:
        with zipfile.ZipFile(packed) as archive, program.open("wb") as file:
            member = archive.getinfo(PROGRAM)
            if member.file_size > _LARGEST:
                raise Transient(f"what {source.host} sent unpacks to more than Packer can be")
            with archive.open(member) as packed_program:
                shutil.copyfileobj(packed_program, file)
    except (KeyError, zipfile.BadZipFile) as error:
        raise Transient(f"what {source.host} sent as {packed.name} holds no program {PROGRAM}") from error


# The system's own archive, asked with apt: what it has, and installing it.

_CANDIDATE = re.compile(r"^ *Candidate: *(?:[0-9]+:)?([0-9]+(?:\.[0-9]+)*)", re.MULTILINE)
_SECONDS = 600
_BOUNDED = ("-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1", "-o", "DPkg::Lock::Timeout=120")


def archive_has(package: str, environment: Mapping[str, str]) -> Version | None:
    """The version of a package that apt would install; None where there is none, no apt, or no right to install."""
    if shutil.which("apt-cache", path=environment.get("PATH")) is None or _as_root(environment) is None:
        return None
    found = _candidate(package, environment)
    if found is None:  # a fresh system has no list of packages
        _run(["apt-get", "update", "-q", *_BOUNDED], environment)
        found = _candidate(package, environment)
    return found


def install(package: str, environment: Mapping[str, str], tell: Tell) -> None:
    """Install a package. Raises Transient where apt fails."""
    tell(f"installing {package} from this system's archive")
    ended = _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *_BOUNDED, package], environment)
    if ended.returncode != 0:
        # The list may be old, and the version that it names gone from the mirror.
        _run(["apt-get", "update", "-q", *_BOUNDED], environment)
        ended = _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *_BOUNDED, package], environment)
    if ended.returncode != 0:
        lines = [line for line in ended.stdout.decode(errors="replace").splitlines() if line.startswith("E: ")]
        raise Transient(f"apt-get could not install {package}: {lines[-1][3:] if lines else 'it did not say why'}")


def _candidate(package: str, environment: Mapping[str, str]) -> Version | None:
    asked = ["apt-cache", "policy", package]
    ended = subprocess.run(asked, env={**environment, "LC_ALL": "C"}, capture_output=True, check=False)
    match = _CANDIDATE.search(ended.stdout.decode(errors="replace"))
    return parse_version(match[1]) if match else None


def _run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run apt-get. Whoever interrupts us waits until it has ended: cut off, it leaves packages half configured."""
    quiet = {**environment, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    whole = [*(_as_root(environment) or ()), *command]
    with tempfile.TemporaryFile() as said:
        with _interrupted_afterwards():
            running = subprocess.Popen(
                whole, env=quiet, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                start_new_session=whole[0] == command[0],  # sudo asks for a password at the terminal of its session
            )  # fmt: skip
            try:
                code = running.wait(_SECONDS)
            except subprocess.TimeoutExpired as error:
                running.terminate()
                running.wait()
                raise Transient(f"apt-get did not end within {_SECONDS // 60} minutes") from error
        said.seek(0)
        return subprocess.CompletedProcess(whole, code, said.read())


@contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    """Have ^C, TERM and HUP wait until this is through. Threads hear no signals, so there it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = {
        number: signal.signal(number, lambda heard_of, _frame: heard.append(heard_of))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:
        raise KeyboardInterrupt


def _as_root(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """What to put before a command that needs root; None where one is not root and can't be."""
    if os.geteuid() == 0:
        return ()
    sudo = shutil.which("sudo", path=environment.get("PATH"))
    if sudo is None:
        return None
    if sys.stdin is not None and sys.stdin.isatty():
        return (sudo, "--preserve-env=DEBIAN_FRONTEND,LC_ALL")
    asked = subprocess.run([sudo, "-n", "true"], capture_output=True, check=False)
    return (sudo, "-n", "--preserve-env=DEBIAN_FRONTEND,LC_ALL") if asked.returncode == 0 else None
