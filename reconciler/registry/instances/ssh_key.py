"""The keys that instances are logged in to with.

That of a test is made here: AWS is given the public half, and the private one never leaves this machine. EC2's
CreateKeyPair would make the private key at AWS and send it over; ImportKeyPair needs no such trust, and nothing secret
is in an answer that a debug log could hold. By a library and not by `ssh-keygen`, so that no process is run.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from reconciler.model.errors import UserError
from reconciler.registry.clock import Clock
from reconciler.registry.observe import literal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_PAUSES = (1, 2, 4, 8)
"""Seconds."""


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


def public_half(ec2: EC2Client, name: str, *, since: datetime, clock: Clock) -> str | None:
    """The public half of a key pair as EC2 has it, a line of authorized_keys; None of one that is older, or not there.

    One that was made a moment ago may not be listed yet, so it is asked for a few times. Raises botocore's errors.
    """
    for pause in (*_PAUSES, None):
        # By filter: by KeyNames a pair that is not listed yet would be an error.
        answer = ec2.describe_key_pairs(
            Filters=[{"Name": "key-name", "Values": [literal(name)]}], IncludePublicKey=True
        )  # fmt: skip
        for one in answer["KeyPairs"]:
            if one["KeyName"] == name:
                return one.get("PublicKey") if one["CreateTime"] >= since else None
        if pause is not None:
            clock.sleep(pause)
    return None


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
            f"the private key can't be written: {error.strerror}: {path}", mend="see who owns the folder"
        ) from error
