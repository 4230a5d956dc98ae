"""Shell that makes tiny Debian packages and installs them: what changes inside an image, without any network."""

from __future__ import annotations

from collections.abc import Mapping

_MAKE = """\
make_and_install() {{
  mkdir -p "/tmp/debs/$1/DEBIAN"
  printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: Ada <ada@example.org>\\nDescription: %s\\n' \\
    "$1" "$2" "a test's" > "/tmp/debs/$1/DEBIAN/control"
  dpkg-deb --build "/tmp/debs/$1" "/tmp/debs/$1.deb" > /dev/null
  sudo dpkg --force-unsafe-io --install "/tmp/debs/$1.deb"
}}
{calls}
rm -r /tmp/debs
"""


def installing(packages: Mapping[str, str]) -> str:
    """Install packages, each with its version; over an older one it is an upgrade. Runs as any user with sudo."""
    calls = "\n".join(f"make_and_install {name} {version}" for name, version in packages.items())
    return _MAKE.format(calls=calls)


def provisioner(packages: Mapping[str, str]) -> str:
    """A provisioner that leaves these packages and nothing else."""
    return f"#!/bin/sh -e\n{installing(packages) if packages else ''}"
