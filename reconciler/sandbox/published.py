"""What a published image holds beside the sandbox's Debian: the way to the network, and its login user.

A layer of a few files. No service starts in an instance, as none would have a port of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

_HOSTS = """127.0.0.1 localhost
127.0.1.1 instance
::1 localhost ip6-localhost ip6-loopback
"""

# Where Debian's own images say so, and at a place where cloud-init reads it last but for a person's own.
_CLOUD_CONFIG = "/etc/cloud/cloud.cfg.d/01_debian_cloud.cfg"

# Descriptions of packages in other languages are half of what `apt-get update` unpacks, and nobody here reads them.
_NO_TRANSLATIONS = 'Acquire::Languages "none";\n'

# There is no init to start services, and if there were, their ports would be the host's.
_POLICY = "#!/bin/sh\n# Denies every start of a service: packages install, daemons stay down.\nexit 101\n"


def lay(layer: Path, *, user: str) -> None:
    """Fill an empty layer with what an image has whose login user is `user`."""
    _write(layer, "/etc/hostname", "instance\n")
    _write(layer, "/etc/hosts", _HOSTS)
    # An instance uses the network of this machine, and so its name servers and the way to its archives.
    _write(layer, "/etc/resolv.conf", _text("/etc/resolv.conf"))
    _write(layer, "/etc/apt/apt.conf.d/90sandbox", f"{_NO_TRANSLATIONS}{apt_proxies()}")
    _write(layer, "/usr/sbin/policy-rc.d", _POLICY, mode=0o755)
    _write(layer, _CLOUD_CONFIG, f"system_info:\n  default_user:\n    name: {user}\n")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def apt_proxies() -> str:
    """The lines of apt.conf with which this machine reaches archives, where that takes a proxy."""
    told = ""
    try:
        told = subprocess.run(
            ["apt-config", "dump"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        ).stdout
    except FileNotFoundError:
        told = ""
    lines = [line for line in told.splitlines() if re.match(r"Acquire::https?::Proxy(?:::\S+)? \"", line)]
    for scheme in ("http", "https"):
        if not any(line.startswith(f"Acquire::{scheme}::Proxy ") for line in lines):
            value = os.environ.get(f"{scheme}_proxy", "")
            lines += [f'Acquire::{scheme}::Proxy "{value}";'] if re.fullmatch(r"[!-~]+", value) else []
    return "".join(f"{line}\n" for line in lines)


def _write(layer: Path, path: str, text: str, *, mode: int = 0o644) -> None:
    target = layer / path.lstrip("/")
    # The merged folder has the mode of the layer's: what Debian has for all of these.
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    target.chmod(mode)
