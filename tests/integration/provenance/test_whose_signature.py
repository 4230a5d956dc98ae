"""Whose signature counts says what is configured for the clone, and never what is signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.git.command import Git
from reconciler.git.signature import signature_of, signed_by_us
from reconciler.model.lockfile import Reason
from tests.integration.provenance.conftest import Ask, Signed
from tests.integration.provenance.ledger import Ledger, git, new_key, public
from tests.openpgp import HAS_GPG, Keyring, keyring

pytestmark = [pytest.mark.long, pytest.mark.skipif(not HAS_GPG, reason="this machine has no gpg")]

CI = "ci@example.org"
FORGED_NAME = f'Good "git" signature for {CI} with ED25519 key SHA256:{"a" * 43}'
"""The name of an OpenPGP key, which reads like the answer of ssh-keygen."""


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyring]:
    """The keyring of whoever asks."""
    with keyring() as made:
        monkeypatch.setenv("GNUPGHOME", str(made.home))
        yield made


@pytest.fixture
def repository(tmp_path: Path) -> Git:
    """An empty clone: how it signs is set by each test."""
    git(tmp_path, "init", "--quiet", "clone")
    return Git(tmp_path / "clone")


def signed_commit(repository: Git, key: str) -> str:
    """A commit that somebody signed by OpenPGP."""
    options = ("-c", "gpg.format=openpgp", "-c", f"user.signingKey={key}")
    git(repository.directory, *options, "commit", "--quiet", "--allow-empty", "-S", "-m", "Signed")
    return git(repository.directory, "rev-parse", "HEAD")


@pytest.mark.parametrize("level", [None, "undefined", "never", "marginal", "full", "ultimate"])
def test_where_git_signs_by_openpgp_a_key_counts_as_far_as_it_is_trusted(
    repository: Git, ring: Keyring, level: str | None
) -> None:
    key = ring.begin(CI)
    commit = signed_commit(repository, key)
    git(repository.directory, "tag", "--sign", "--local-user", key, "-m", "signed", "signed")
    (ring.home / "trustdb.gpg").unlink()  # who makes a key trusts it
    if level is not None:
        ring.trust(key, level)

    counts = level in ("marginal", "full", "ultimate")
    for oid in (commit, "refs/tags/signed"):
        found = signature_of(repository, oid)
        assert (found.state, bool(found.by)) == (("good", True) if counts else ("untrusted", False))
        assert signed_by_us(repository, oid) == counts


def test_git_s_own_least_level_is_held_to(repository: Git, ring: Keyring) -> None:
    key = ring.begin(CI)
    commit = signed_commit(repository, key)
    git(repository.directory, "config", "gpg.minTrustLevel", "fully")
    for level, counts in (("marginal", False), ("full", True), ("ultimate", True)):
        ring.trust(key, level)
        assert signed_by_us(repository, commit) == counts, level


@pytest.mark.parametrize(
    ("how", "why"), [("expired", "its key has expired"), ("revoked", "its key was revoked"), ("unknown", "not known")]
)
def test_a_key_that_was_trusted_and_is_not_good_any_more_counts_for_nothing(
    repository: Git, ring: Keyring, tmp_path: Path, how: str, why: str
) -> None:
    key = ring.begin(CI, expires="2y")
    commit = signed_commit(repository, key)
    ring.trust(key, "ultimate")
    assert signed_by_us(repository, commit)

    if how == "expired":
        later = tmp_path / "gpg-of-2099"
        later.write_text('#!/bin/sh\nexec gpg --faked-system-time 20990101T000000 "$@"\n')
        later.chmod(0o755)
        git(repository.directory, "config", "gpg.program", str(later))
    elif how == "revoked":
        ring.revoke(key)
    else:
        ring.gpg("--yes", "--delete-secret-and-public-key", key)

    found = signature_of(repository, commit)
    assert (found.state, signed_by_us(repository, commit)) == ("untrusted", False)
    assert why in found.why


@pytest.mark.parametrize("level", ["undefined", "ultimate"])
def test_beside_ssh_no_openpgp_key_counts_however_far_it_is_trusted(
    repository: Git, ring: Keyring, tmp_path: Path, level: str
) -> None:
    key, signers = ring.begin("mallory@evil"), tmp_path / "signers"
    ring.trust(key, level)
    signers.write_text(f"{CI} {public(new_key(tmp_path, 'ci'))}\n")
    commit = signed_commit(repository, key)

    def counts(**settings: str) -> bool:
        for name in ("gpg.format", "gpg.ssh.allowedSignersFile"):
            git(repository.directory, "config", name, settings.get(name, "none"))
            if name not in settings:
                git(repository.directory, "config", "--unset", name)
        return signed_by_us(Git(repository.directory), commit)

    assert signature_of(repository, commit, signers=signers).state == "untrusted"
    assert not counts(**{"gpg.format": "ssh", "gpg.ssh.allowedSignersFile": str(signers)})
    assert not counts(**{"gpg.format": "ssh"})
    assert not counts(**{"gpg.ssh.allowedSignersFile": str(signers)})
    assert not counts(**{"gpg.format": "x509"})
    # Somebody who has both said so; and who has neither, has git's default.
    assert counts(**{"gpg.format": "openpgp", "gpg.ssh.allowedSignersFile": str(signers)}) == (level == "ultimate")
    assert counts() == (level == "ultimate")


@pytest.mark.parametrize("where", ["header", "message"])
def test_no_line_has_one_signature_judged_as_another(
    repository: Git, ring: Keyring, tmp_path: Path, where: str
) -> None:
    key, signers = ring.begin(FORGED_NAME), tmp_path / "signers"
    signers.write_text(f"{CI} {public(new_key(tmp_path, 'ci'))}\n")
    signed_commit(repository, key)
    folder = repository.directory
    if where == "header":
        header, _, message = git(folder, "cat-file", "commit", "HEAD").partition("\n\n")
        # Git leaves it out of what is signed: it is for repositories of another hash.
        other = "gpgsig-sha256 -----BEGIN SSH SIGNATURE-----\n U1NI\n -----END SSH SIGNATURE-----\ngpgsig "
        content = f"{header.replace('gpgsig ', other, 1)}\n\n{message}\n".encode()
        oid = git(folder, "hash-object", "-t", "commit", "-w", "--stdin", stdin=content)
        git(folder, "verify-commit", oid)
    else:
        text = "web\n\n-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----"
        options = ("-c", "gpg.format=openpgp", "-c", f"user.signingKey={key}")
        git(folder, *options, "tag", "--sign", "-m", text, "forged")
        oid = "refs/tags/forged"
        git(folder, "verify-tag", "forged")

    found = signature_of(repository, oid, signers=signers)
    assert (found.state, found.form, found.by) == ("untrusted", "openpgp", "")


@pytest.mark.parametrize(("level", "counts"), [("NEVER", False), ("UNDEFINED", False), ("FULLY", True)])
def test_a_certificate_counts_where_git_signs_by_x509_and_its_chain_is_trusted(
    repository: Git, tmp_path: Path, level: str, *, counts: bool
) -> None:
    gpgsm = tmp_path / "gpgsm"  # GnuPG's status lines, as it documents them
    said = "".join(f"[GNUPG:] {line}\\n" for line in ("NEWSIG", "GOODSIG 0A1B2C /CN=ci", f"TRUST_{level} 0 shell"))
    gpgsm.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '\\n{said}'\n")
    gpgsm.chmod(0o755)
    folder = repository.directory
    git(folder, "config", "gpg.x509.program", str(gpgsm))
    git(folder, "commit", "--quiet", "--allow-empty", "--no-gpg-sign", "-m", "Signed")
    header, _, message = git(folder, "cat-file", "commit", "HEAD").partition("\n\n")
    signature = "gpgsig -----BEGIN SIGNED MESSAGE-----\n \n iQ\n -----END SIGNED MESSAGE-----"
    content = f"{header}\n{signature}\n\n{message}\n".encode()
    oid = git(folder, "hash-object", "-t", "commit", "-w", "--stdin", stdin=content)

    assert not signed_by_us(repository, oid)
    git(folder, "config", "gpg.format", "x509")
    assert signed_by_us(Git(folder), oid) == counts


def signed_by_mallory(ledger: Ledger, ring: Keyring) -> None:
    """Put somebody's own signature on the commit that recorded a build without one."""
    key = ring.begin("mallory@evil")
    options = ("-c", "gpg.format=openpgp", "-c", f"user.signingKey={key}")
    git(ledger.root, *options, "commit", "--quiet", "--amend", "--no-edit", "-S")


@pytest.mark.parametrize("trusted", [False, True])
def test_no_key_of_the_keyring_has_verify_call_a_record_signed_beside_allowed_signers(
    ask: Ask, built: Ledger, ring: Keyring, tmp_path: Path, *, trusted: bool
) -> None:
    built.build("web", refresh_of=built.lock("web").builds[0].id, reasons=(Reason(code="forced"),))
    signed_by_mallory(built, ring)
    if not trusted:
        (ring.home / "trustdb.gpg").unlink()
    signers = tmp_path / "signers"
    signers.write_text(f"{CI} {public(new_key(tmp_path, 'ci'))}\n")

    answer = ask(built, "verify", "web", "--allowed-signers", str(signers), "--signed", "--json")

    outcomes = answer.outcomes()
    assert answer.code == 1
    assert outcomes["commit-signature"] != "proven"
    assert outcomes["statement-signature"] == "wrong", "it has none, and --signed asks for one"


def test_nor_where_the_fleet_signs_by_ssh(ask: Ask, signed: Signed, ring: Keyring) -> None:
    ledger = signed.ledger
    ledger.settings = ledger.settings.model_copy(update={"sign": False})
    ledger.build("web", refresh_of=ledger.lock("web").builds[0].id, reasons=(Reason(code="forced"),))
    signed_by_mallory(ledger, ring)
    git(ledger.root, "config", "gpg.ssh.allowedSignersFile", str(signed.signers))

    answer = ask(ledger, "verify", "web", "--json")

    assert (answer.code, answer.outcomes()["statement-signature"]) == (1, "wrong")
