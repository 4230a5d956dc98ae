"""Keys of the fleet's own, and controllers that sign with them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.integration.loop.world import Controller, World, git


@dataclass(frozen=True)
class Keys:
    """The key that our jobs sign with, somebody else's, and the file that names the trusted ones."""

    ours: Path
    other: Path
    signers: Path

    @classmethod
    def begin(cls, folder: Path) -> Keys:
        """New keys. Only ours is trusted."""
        for name in ("ours", "other"):
            path = str(folder / name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
        signers = folder / "allowed_signers"
        signers.write_text(f"ci@example.org {(folder / 'ours.pub').read_text()}")
        return cls(folder / "ours", folder / "other", signers)

    def are_good(self, repository: Path, revision: str) -> bool:
        """Whether a commit is signed with a trusted key."""
        trusted = ("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={self.signers}")
        checked = subprocess.run(
            ["git", *trusted, "verify-commit", revision], cwd=repository, capture_output=True, check=False
        )
        return checked.returncode == 0


def signing(world: World, keys: Keys, name: str = "ci", *, signers: bool = True, own: Path | None = None) -> Controller:
    """A controller that signs with our key, or with one of its own."""
    controller = world.controller(name)
    git(controller.root, "config", "gpg.format", "ssh")
    git(controller.root, "config", "user.signingKey", str(own or keys.ours))
    if signers:
        git(controller.root, "config", "gpg.ssh.allowedSignersFile", str(keys.signers))
    return controller
