"""The programs of the host that the sandbox runs."""

from __future__ import annotations

import os
import shutil

from reconciler.model.errors import UserError

# And the package that each is in, on Debian and Ubuntu.
_NEEDED = {
    "chroot": "coreutils",
    "cp": "coreutils",
    "hostname": "hostname",
    "mount": "mount",
    "nsenter": "util-linux",
    "openssl": "openssl",  # signs the proxy's certificates
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
}
# Where root's programs are. Debian leaves these folders out of everybody else's PATH, and `su` keeps that PATH.
_ROOTS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def make_findable() -> None:
    """Let this process and its children find root's programs."""
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *_ROOTS])


def require() -> None:
    """Check that every program is there.

    Raises:
        UserError: some are missing.
    """
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        packages = sorted({_NEEDED[name] for name in missing})
        raise UserError(
            f"the sandbox needs programs that are not here: {', '.join(missing)}",
            mend=f"apt-get install {' '.join(packages)}",
        )
