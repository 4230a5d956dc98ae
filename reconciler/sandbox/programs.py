"""The programs of the host that the sandbox runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from reconciler.model.errors import UserError

# And the package that each is in, on Debian and Ubuntu.
_NEEDED = {
    "cp": "coreutils",
    "nsenter": "util-linux",
    "openssl": "openssl",  # signs the proxy's certificates
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
}
_NEEDED_FOR_MAKING = {"apt-get": "apt", "dpkg": "dpkg", "mmdebstrap": "mmdebstrap"}
_KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)
# Where root's programs are. Debian leaves these folders out of everybody else's PATH, and `su` keeps that PATH.
ROOTS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def make_findable() -> None:
    """Let this process and its children find root's programs."""
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *ROOTS])


def require() -> None:
    """Check that every program is there that a sandbox runs.

    Raises:
        UserError: some are missing.
    """
    _require(_NEEDED)


def require_for_making() -> None:
    """Check that every program is there that the making of the sandbox's Debian runs.

    Raises:
        UserError: some are missing.
    """
    _require(_NEEDED_FOR_MAKING)
    keyring()


def keyring() -> Path:
    """The keys of Debian's archive. Ubuntu and Debian's derivatives do not trust them by themselves.

    Raises:
        UserError: they are not here.
    """
    for place in map(Path, _KEYRINGS):
        if place.is_file():
            return place
    raise UserError(
        "the sandbox's Debian can't be made: the keys of Debian's archive are not here",
        mend="apt-get install debian-archive-keyring",
    )


def _require(needed: Mapping[str, str]) -> None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *ROOTS])
    missing = [name for name in needed if shutil.which(name, path=path) is None]
    if missing:
        packages = sorted({needed[name] for name in missing})
        raise UserError(
            f"the sandbox needs programs that are not here: {', '.join(missing)}",
            mend=f"apt-get install {' '.join(packages)}",
        )
