"""The lowest layer of every upstream image: the host's system, made to look like a freshly started machine.

The host's files show through from below. This layer hides what is the host's own business and adds what an
AMI would have: no service starts, no package of the host is upgraded, no file of the person at the keyboard.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from reconciler.model.errors import UserError

# The Filesystem Hierarchy Standard's folders, and those that package managers keep beside them.
_SYSTEM = {
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "nix", "opt",
    "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
}  # fmt: skip
# A new machine has these empty.
_EMPTY = {"home": 0o755, "media": 0o755, "mnt": 0o755, "root": 0o700, "srv": 0o755, "tmp": 0o1777}

# Installed packages count 100: below that, apt leaves them alone, and still installs what is not there.
# Without it a template's `apt-get upgrade` would work through every package of the laptop.
# By origin, which every archive has and the list of installed packages has not: `release *` pins both (apt 2.6).
_PREFERENCES = "Package: *\nPin: release o=*\nPin-Priority: 99\n"

# There is no init to start services, and if there were, their ports would be the host's.
_POLICY = "#!/bin/sh\n# Denies every start of a service: packages install, daemons stay down.\nexit 101\n"

# Templates say `sudo`, as every AMI has it. Where the host has none, the session is root already (see `logins`),
# and this stands in until a provisioner installs the real one.
_SUDO = """#!/bin/sh
# Stands in for sudo where it is not installed. The session is root's already.
while [ $# -gt 0 ]; do
  case "$1" in
    -u|-g|-p|-C|-h|-r|-t|-T|-U) shift 2 ;;
    --) shift; break ;;
    -*) shift ;;
    *=*) export "$1"; shift ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || exit 0
exec "$@"
"""


def lay(layer: Path) -> None:
    """Fill an empty layer.

    Raises:
        UserError: the host's system is spread over several file systems; an overlay shows the root one only.
    """
    for place in ("/usr", "/etc", "/var", "/var/lib"):
        if Path(place).is_mount():
            raise UserError(
                f"{place} is a file system of its own, and instances would not see it",
                mend="run the sandbox where the system is on one file system, such as a container or a fresh VM",
            )
    for entry in Path("/").iterdir():
        if entry.name not in _SYSTEM and entry.is_dir() and not entry.is_symlink():
            _hide(layer / entry.name)
    for name, mode in _EMPTY.items():
        folder = layer / name
        folder.mkdir()
        folder.chmod(mode)
        os.setxattr(folder, "trusted.overlay.opaque", b"y")
    # Regular files, as on many hosts they are links into /run or bind mounts, and neither shows through.
    for shared in ("/etc/resolv.conf", "/etc/hosts"):
        if Path(shared).exists():
            _write(layer, shared, Path(shared).read_text())
    # An image as it is published has no host keys; and these are this machine's secrets.
    for key in Path("/etc/ssh").glob("ssh_host_*"):
        _make_folders(layer, layer / key.relative_to("/"))
        _hide(layer / key.relative_to("/"))
    _write(layer, "/etc/hostname", "instance\n")
    with (layer / "etc/hosts").open("a") as hosts:
        hosts.write("127.0.1.1 instance\n")
    _write(layer, "/etc/apt/preferences.d/99-sandbox", _PREFERENCES)
    _write(layer, "/usr/sbin/policy-rc.d", _POLICY, mode=0o755)
    if not any(Path(folder, "sudo").exists() for folder in ("/usr/bin", "/usr/local/bin", "/bin")):
        _write(layer, "/usr/bin/sudo", _SUDO, mode=0o755)


def _hide(path: Path) -> None:
    """Overlay's way to say "not there": a character device 0/0."""
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def _write(layer: Path, path: str, text: str, *, mode: int = 0o644) -> None:
    target = layer / path.lstrip("/")
    _make_folders(layer, target)
    target.write_text(text)
    target.chmod(mode)


def _make_folders(layer: Path, target: Path) -> None:
    missing = [folder for folder in target.parents if folder.is_relative_to(layer) and not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir()
        # A layer's folder decides the mode of the merged one.
        shown = Path("/") / folder.relative_to(layer)
        if shown.exists():
            folder.chmod(stat.S_IMODE(shown.stat().st_mode))
