"""The system's own archive, asked with apt: what it has, and installing it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from reconciler.build.packer.cache import Tell
from reconciler.model.constraint import Version, parse_version
from reconciler.model.errors import Transient

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
    quiet = {**environment, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        return subprocess.run(
            [*(_as_root(environment) or ()), *command], env=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Transient(f"apt-get did not end within {_SECONDS // 60} minutes") from error


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
