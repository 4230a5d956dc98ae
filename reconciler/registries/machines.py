"""What a bench needs whose artifacts boot as machines: a key to log in with, and what a console says."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from reconciler.model.errors import UserError
from reconciler.model.text import shorten

# The keys that instances are logged in to with. That of a test is made here: a cloud is given the public half, and the
# private one never leaves this machine. By a library and not by `ssh-keygen`, so that no process is run.


@dataclass(frozen=True)
class SshKey:
    """An Ed25519 key pair in OpenSSH's formats. EC2 takes such keys for every image but Windows."""

    public: bytes
    private: bytes = field(repr=False)

    @property
    def mark(self) -> str:
        """Eight hex digits that no other key has: what is named by them is this key's alone."""
        return hashlib.sha256(self.public).hexdigest()[:8]


def new_key() -> SshKey:
    """Make a key, from the operating system's randomness."""
    made = Ed25519PrivateKey.generate()
    return SshKey(
        public=made.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        private=made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    )


def write_private(key: SshKey, path: Path) -> None:
    """Write the private half for the owner alone, as `ssh` asks for, in place of what an earlier run left there.

    Raises UserError where the file can't be written.
    """
    try:
        path.unlink(missing_ok=True)
        # Never a moment with a wider mode, and never through somebody's link.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - pathlib opens no descriptors
            file.write(key.private)
    except OSError as error:
        raise UserError(
            f"the private key can't be written: {error.strerror}: {path}", hint="see who owns the folder"
        ) from error


def login_for_cloud_init(user: str, key: SshKey) -> str:
    """User data by which cloud-init lets a user log in with a key, and be root by sudo."""
    allowed = {
        "name": user, "ssh_authorized_keys": [key.public.decode()],
        "sudo": "ALL=(ALL) NOPASSWD:ALL", "shell": "/bin/sh", "lock_passwd": True,
    }  # fmt: skip
    told = {"users": ["default", allowed], "disable_root": False}
    return f"#cloud-config\n{json.dumps(told)}\n"  # JSON is YAML


# The last lines of an instance's console: all that is known of one that never lets anybody in.

_LINES = 20
_WIDTH = 200
# What a terminal would obey: sequences that start with ESC or a C1 control.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]"
)


def last_lines(output: str) -> tuple[str, ...]:
    """The last lines that hold anything, at most 20 of 200 characters, with nothing in them that a terminal obeys.

    A firmware draws menus and a booting system colours, into a text that ends up in a terminal and in a comment.
    """
    plain = _SEQUENCES.sub("", output.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))
    lines = [shorten(line.rstrip(), limit=_WIDTH) for line in plain.split("\n")]
    return tuple([line for line in lines if line][-_LINES:])
