"""Keyrings of GnuPG: a key in one, how far it is trusted there, and how that ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HAS_GPG = None not in map(shutil.which, ("gpg", "gpgconf"))

TRUST = {"undefined": 2, "never": 3, "marginal": 4, "full": 5, "ultimate": 6}
"""GnuPG's levels, and the numbers that it exports them by (its doc/DETAILS)."""


@dataclass(frozen=True)
class Keyring:
    """A keyring in a folder of its own, in which a key is trusted as far as somebody said."""

    home: Path

    def gpg(self, *arguments: str, stdin: str = "") -> str:
        """What gpg prints. Raises CalledProcessError where it fails."""
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--no-tty", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    def begin(self, owner: str, *, expires: str = "never") -> str:
        """A new key without a passphrase, and its fingerprint."""
        self.gpg("--passphrase", "", "--quick-generate-key", owner, "ed25519", "sign", expires)
        listed = self.gpg("--with-colons", "--list-keys", f"={owner}")
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def take(self, public: str) -> None:
        """Import somebody's public key, which says nothing of whether it is trusted."""
        self.gpg("--import", stdin=public)

    def trust(self, fingerprint: str, level: str) -> None:
        """Say how far a key is trusted."""
        self.gpg("--import-ownertrust", stdin=f"{fingerprint}:{TRUST[level]}:\n")

    def revoke(self, fingerprint: str) -> None:
        """Revoke a key of one's own, by the certificate that GnuPG makes beside each."""
        certificate = (self.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
        self.gpg("--import", stdin=certificate.replace(":-----BEGIN", "-----BEGIN"))


@contextmanager
def keyring() -> Iterator[Keyring]:
    """A new keyring, in a folder whose name is short enough for the agent's socket."""
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        # What a key's owner is trusted with is how far the key is: nobody signs keys here.
        (home / "gpg.conf").write_text("trust-model direct\n")
        try:
            yield Keyring(home)
        finally:
            ended = ["gpgconf", "--homedir", str(home), "--kill", "all"]
            subprocess.run(ended, check=False, capture_output=True, env={**os.environ, "GNUPGHOME": str(home)})
