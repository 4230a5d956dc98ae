from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from reconciler.model.errors import UserError
from reconciler.registries.machines import new_key, write_private


def test_the_halves_belong_together_and_no_two_keys_are_alike() -> None:
    key, other = new_key(), new_key()

    private = load_ssh_private_key(key.private, password=None)

    assert private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) == key.public
    assert key.public.startswith(b"ssh-ed25519 ")
    assert key.mark != other.mark
    assert len(key.mark) == 8
    assert key.private.decode() not in repr(key)


def test_the_private_half_is_for_the_owner_alone_whatever_stood_there(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "key", tmp_path / "elsewhere"
    elsewhere.write_text("not to be touched")
    path.symlink_to(elsewhere)
    key = new_key()

    write_private(key, path)

    assert path.read_bytes() == key.private
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert elsewhere.read_text() == "not to be touched"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the private key can't be written: No such file or directory"):
        write_private(new_key(), tmp_path / "missing" / "key")
