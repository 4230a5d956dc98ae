"""Signatures as git makes them, by real keys of OpenSSH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reconciler.git.command import Git
from reconciler.git.signature import sign, signature_of, verify
from reconciler.model.errors import UserError
from tests.integration.provenance.ledger import git, new_key, public

NAMESPACE = "provenance@reconciler"
PAYLOAD = b"what is signed\n"


@pytest.fixture
def repository(tmp_path: Path) -> Git:
    git(tmp_path, "init", "--quiet", "clone")
    git(tmp_path / "clone", "config", "gpg.format", "ssh")
    return Git(tmp_path / "clone")


@pytest.fixture
def key(repository: Git, tmp_path: Path) -> Path:
    made = new_key(tmp_path, "ci")
    git(repository.directory, "config", "user.signingKey", str(made))
    return made


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # it says where it listens once it does
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield
    process.terminate()
    process.communicate()


def signers_of(key: Path, options: str = "") -> Path:
    file = key.with_name("allowed_signers")
    file.write_text(f"ci@example.org {options}{public(key)}\n")
    return file


def test_a_signature_is_good_for_whoever_is_named_for_its_key(repository: Git, key: Path) -> None:
    made = sign(repository, PAYLOAD, namespace=NAMESPACE)

    assert made is not None
    found = verify(repository, PAYLOAD, made, namespace=NAMESPACE, signers=signers_of(key))
    assert (found.state, found.by) == ("good", "ci@example.org")
    assert re.fullmatch(r"SHA256:\S{43}", found.key)


def test_it_is_bad_for_other_bytes_and_for_another_purpose(repository: Git, key: Path) -> None:
    made = sign(repository, PAYLOAD, namespace=NAMESPACE) or b""

    assert verify(repository, b"else", made, namespace=NAMESPACE, signers=signers_of(key)).state == "bad"
    assert verify(repository, PAYLOAD, made, namespace="git", signers=signers_of(key)).state == "bad"
    assert verify(repository, PAYLOAD, b"nonsense", namespace=NAMESPACE, signers=signers_of(key)).state == "bad"


def test_a_revoked_key_is_not_trusted(repository: Git, key: Path, tmp_path: Path) -> None:
    made = sign(repository, PAYLOAD, namespace=NAMESPACE) or b""
    (tmp_path / "revoked").write_text(f"{public(key)}\n")
    git(repository.directory, "config", "gpg.ssh.revocationFile", str(tmp_path / "revoked"))

    assert verify(repository, PAYLOAD, made, namespace=NAMESPACE, signers=signers_of(key)).state == "untrusted"


@pytest.mark.parametrize(("at", "state"), [(2026, "good"), (2028, "untrusted")])
def test_a_key_is_judged_by_the_time_of_its_signature(repository: Git, key: Path, at: int, state: str) -> None:
    made = sign(repository, PAYLOAD, namespace=NAMESPACE) or b""
    signers = signers_of(key, 'valid-before="20270101" ')

    moment = datetime(at, 6, 1, tzinfo=UTC)
    assert verify(repository, PAYLOAD, made, namespace=NAMESPACE, signers=signers, at=moment).state == state


@pytest.mark.parametrize("written", ["key::{}", "{}"])
@pytest.mark.usefixtures("agent")
def test_a_key_that_only_an_agent_has_signs(repository: Git, tmp_path: Path, written: str) -> None:
    key = new_key(tmp_path, "held")
    subprocess.run(["ssh-add", "-q", str(key)], check=True)
    git(repository.directory, "config", "user.signingKey", written.format(public(key)))
    signers = signers_of(key)
    key.unlink()

    made = sign(repository, PAYLOAD, namespace=NAMESPACE) or b""

    assert verify(repository, PAYLOAD, made, namespace=NAMESPACE, signers=signers).state == "good"


def test_the_key_that_a_command_names_is_taken(repository: Git, tmp_path: Path) -> None:
    key = new_key(tmp_path, "named")
    git(repository.directory, "config", "gpg.ssh.defaultKeyCommand", f"echo key::{public(key)}")

    # The agent is missing, so it gets as far as asking for it.
    with pytest.raises(UserError, match="could not be signed") as raised:
        sign(repository, PAYLOAD, namespace=NAMESPACE)

    assert "no signing key" not in str(raised.value)


def test_where_git_signs_otherwise_nothing_is_signed(repository: Git) -> None:
    git(repository.directory, "config", "gpg.format", "openpgp")

    assert sign(repository, PAYLOAD, namespace=NAMESPACE) is None


@pytest.mark.parametrize("wrong", ["missing", "none", "passphrase", "program"])
def test_a_key_that_cannot_sign_says_how_to_hint_it(repository: Git, tmp_path: Path, wrong: str) -> None:
    key = tmp_path / "key"
    if wrong == "passphrase":
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True)
    if wrong == "program":
        git(repository.directory, "config", "gpg.ssh.program", "no-such-program")
    if wrong != "none":
        git(repository.directory, "config", "user.signingKey", str(key))

    with pytest.raises(UserError) as raised:
        sign(repository, PAYLOAD, namespace=NAMESPACE)

    assert raised.value.hint
    assert ("git.sign: false" in str(raised.value)) or wrong == "program"


def test_a_home_in_the_keys_path_is_the_users(repository: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key(Path(os.environ["HOME"]), "at-home")
    git(repository.directory, "config", "user.signingKey", "~/at-home")

    assert sign(repository, PAYLOAD, namespace=NAMESPACE) is not None
    key.unlink()


def test_commits_and_tags_are_judged_as_git_judges_them(repository: Git, key: Path, tmp_path: Path) -> None:
    folder = repository.directory
    git(folder, "commit", "--quiet", "--allow-empty", "-S", "-m", "Signed")
    git(folder, "tag", "--sign", "-m", "signed", "signed")
    git(folder, "tag", "--annotate", "-m", "-----BEGIN PGP MESSAGE-----", "plain")
    git(folder, "commit", "--quiet", "--allow-empty", "--no-gpg-sign", "-m", "Not")
    signers, strangers = signers_of(key), tmp_path / "strangers"
    strangers.write_text(f"eve@example.org {public(new_key(tmp_path, 'eve'))}\n")

    assert signature_of(repository, "HEAD^", signers=signers).by == "ci@example.org"
    assert signature_of(repository, "refs/tags/signed", signers=signers).by == "ci@example.org"
    assert signature_of(repository, "HEAD^", signers=strangers).state == "untrusted"
    assert signature_of(repository, "HEAD^").state == "unchecked"
    assert signature_of(repository, "refs/tags/plain").state != "good"
    assert signature_of(repository, "HEAD").state == "absent"


def test_a_commit_that_was_changed_after_it_was_signed_is_bad(repository: Git, key: Path) -> None:
    folder = repository.directory
    git(folder, "commit", "--quiet", "--allow-empty", "-S", "-m", "Signed")
    forged = git(folder, "cat-file", "commit", "HEAD").replace("\n\nSigned", "\n\nForged") + "\n"
    oid = git(folder, "hash-object", "-t", "commit", "-w", "--stdin", stdin=forged.encode())

    assert signature_of(repository, oid, signers=signers_of(key)).state == "bad"


@pytest.fixture
def gnupg_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Not in tmp_path: GnuPG's agent has its socket in there, and 107 bytes are all that its path may have."""
    with TemporaryDirectory() as home:
        monkeypatch.setenv("GNUPGHOME", home)
        yield
        subprocess.run(["gpgconf", "--kill", "all"], check=True)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="needs gpg")
@pytest.mark.usefixtures("gnupg_home")
def test_openpgp_is_left_to_git(repository: Git) -> None:
    made = [
        "gpg",
        "--batch",
        "--quiet",
        "--passphrase",
        "",
        "--quick-generate-key",
        "ci@example.org",
        "ed25519",
        "sign",
    ]
    subprocess.run(made, check=True, capture_output=True)
    folder = repository.directory
    git(folder, "config", "gpg.format", "openpgp")
    git(folder, "config", "user.signingKey", "ci@example.org")
    git(folder, "commit", "--quiet", "--allow-empty", "-S", "-m", "Signed")

    found = signature_of(repository, "HEAD")

    assert (found.state, found.form, found.by) == ("good", "openpgp", "ci@example.org")
