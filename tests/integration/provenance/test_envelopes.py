"""Provenance as verifiers of others read it: DSSE envelopes, judged by securesystemslib, by openssl and by jq."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from reconciler.git.command import Git
from reconciler.git.signature import key_of, sign, signer
from reconciler.model.errors import UserError
from reconciler.state import provenance
from tests.integration.provenance.conftest import Ask, Signed
from tests.integration.provenance.ledger import Ledger, git, new_key, public

pytestmark = pytest.mark.long

DOCS = Path(__file__).parents[3] / "docs" / "provenance.md"
KINDS = ["ed25519", "ecdsa", "rsa"]


def path_of(ledger: Ledger) -> str:
    """The file of provenance of the newest build of `web`."""
    return f"state/{ledger.lock('web').builds[0].provenance}"


def envelope_of(ledger: Ledger) -> dict[str, Any]:
    found = json.loads(ledger.read(path_of(ledger)))
    assert isinstance(found, dict)
    return found


def theirs(key: Path) -> SSlibKey:
    """The key as another verifier has it: from its public half alone."""
    return SSlibKey.from_crypto(load_ssh_public_key(public(key).encode()))


def signing_with(ledger: Ledger, key: Path | str) -> Ledger:
    git(ledger.root, "config", "user.signingKey", str(key))
    return ledger


def a_key(folder: Path, kind: str, *options: str) -> Path:
    key = folder / kind
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", *options, "-f", str(key)], check=True)
    return key


def trusting(key: Path) -> Path:
    signers = key.with_name("trusted")
    signers.write_text(f"ci@example.org {public(key)}\n")
    return signers


def rebuilt(signed: Signed, key: Path | str) -> Ledger:
    """The fleet after a build of `base` and `web` that was signed with another key."""
    ledger = signing_with(signed.ledger, key)
    ledger.build("base", packages={"nginx": "2"})
    ledger.build("web", packages={"nginx": "2"})
    return ledger


def test_what_is_signed_is_an_envelope_that_securesystemslib_verifies(signed: Signed, tmp_path: Path) -> None:
    envelope = Envelope.from_dict(envelope_of(signed.ledger))

    assert envelope.payload_type == "application/vnd.in-toto+json"
    assert len(envelope.verify([theirs(signed.key)], 1)) == 1
    assert json.loads(envelope.payload)["_type"] == "https://in-toto.io/Statement/v1"
    with pytest.raises(VerificationError):
        envelope.verify([theirs(new_key(tmp_path, "eve"))], 1)
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([theirs(signed.key)], 1)


@pytest.mark.parametrize("pem", [False, True], ids=["openssh", "pem"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_that_signs_by_itself_signs_the_envelope(
    ask: Ask, signed: Signed, tmp_path: Path, kind: str, pem: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    key = a_key(tmp_path, kind, *(["-m", "PEM"] if pem and kind != "ed25519" else []))

    ledger = rebuilt(signed, key)

    assert Envelope.from_dict(envelope_of(ledger)).verify([theirs(key)], 1)
    answer = ask(ledger, "verify", "web", "--allowed-signers", str(trusting(key)), "--json")
    assert answer.outcomes()["statement"] == answer.outcomes()["statement-signature"] == "proven"


def test_openssl_verifies_it_by_the_words_of_the_standard(signed: Signed, tmp_path: Path) -> None:
    envelope = envelope_of(signed.ledger)
    body, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    (tmp_path / "pae").write_bytes(f"DSSEv1 {len(kind)} {kind} {len(body)} ".encode() + body)
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    key = load_ssh_public_key(public(signed.key).encode())
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)

    said = subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "pae", "-sigfile", "sig"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "Signature Verified Successfully" in said.stdout, said.stderr


def test_an_auditor_reads_the_statement_by_the_line_of_the_docs(signed: Signed) -> None:
    found = re.search(r"^    (jq -r .*base64 -d)$", DOCS.read_text(), re.MULTILINE)
    assert found is not None
    path = path_of(signed.ledger)

    line = found[1].replace("state/provenance/web/$id.intoto.json", path)
    said = subprocess.run(["sh", "-c", line], cwd=signed.ledger.root, capture_output=True, check=True)

    assert said.stdout == provenance.render(provenance.read(signed.ledger.read(path), path).statement)


def test_an_auditor_checks_the_envelope_by_the_program_of_the_docs(signed: Signed, tmp_path: Path) -> None:
    found = re.search(r"^```python\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None

    def said(key: Path) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", found[1], path_of(signed.ledger), f"{key}.pub"]
        return subprocess.run(program, cwd=signed.ledger.root, capture_output=True, text=True, check=False)

    assert json.loads(said(signed.key).stdout)["_type"] == "https://in-toto.io/Statement/v1"
    assert "VerificationError" in said(new_key(tmp_path, "eve")).stderr


def test_its_signature_of_openssh_is_of_the_whole_file(signed: Signed) -> None:
    path = signed.ledger.root / path_of(signed.ledger)

    said = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", str(signed.signers), "-I", "ci@example.org", "-n", provenance.NAMESPACE,
         "-s", f"{path}.sig"],
        input=path.read_bytes(), capture_output=True, check=False,
    )  # fmt: skip

    assert said.returncode == 0


def test_the_same_record_is_sealed_to_the_same_bytes(signed: Signed) -> None:
    ledger = signed.ledger
    build = ledger.lock("web").builds[0]
    assert build.inventory is not None
    path = path_of(ledger)

    assert ledger.attest("web", build, ledger.read(f"state/{build.inventory.sbom}")).files[path] == ledger.read(path)


def test_without_a_signature_there_is_no_envelope(built: Ledger) -> None:
    assert envelope_of(built)["_type"] == "https://in-toto.io/Statement/v1"


@pytest.mark.parametrize("held", ["agent", "passphrase", "nowhere", "another", "nonsense"])
def test_a_key_that_is_not_in_a_file_here_seals_nothing(tmp_path: Path, held: str) -> None:
    git(tmp_path, "init", "--quiet", "clone")
    repository = Git(tmp_path / "clone")
    key = new_key(tmp_path, "ci")
    if held == "passphrase":
        subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(key)], check=True)
    named = f"key::{public(key)}" if held == "agent" else str(key)
    if held == "nowhere":
        key.unlink()
    if held == "another":
        new_key(tmp_path, "eve").replace(key)
    if held == "nonsense":
        key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    git(repository.directory, "config", "gpg.format", "ssh")
    git(repository.directory, "config", "user.signingKey", named)

    assert signer(repository) is None


def test_git_may_name_the_public_half_of_a_key(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "clone")
    repository = Git(tmp_path / "clone")
    key = new_key(tmp_path, "ci")
    git(repository.directory, "config", "gpg.format", "ssh")
    git(repository.directory, "config", "user.signingKey", f"{key}.pub")

    found = signer(repository)

    assert found is not None
    assert found.public_key == theirs(key)


def test_what_was_written_before_there_were_envelopes_is_verified_as_it_was(ask: Ask, signed: Signed) -> None:
    ledger = signed.ledger
    path = path_of(ledger)
    bare = provenance.render(provenance.read(ledger.read(path), path).statement)
    beside = sign(Git(ledger.root), bare, namespace=provenance.NAMESPACE)
    assert beside is not None
    ledger.commit({path: bare, f"{path}.sig": beside}, "web: copy\n\nReconciler-Image: web", "-S")

    answer = ask(ledger, "verify", "web", "--allowed-signers", str(signed.signers))

    assert answer.code == 0, answer.out
    assert "its provenance is signed by ci@example.org" in answer.said


Meddle = Callable[[bytes, bytes], bytes]


def with_another_signature(content: bytes, other: bytes) -> bytes:
    envelope = json.loads(content)
    envelope["signatures"] = json.loads(other)["signatures"]
    return rendered(envelope)


def with_both(content: bytes, other: bytes) -> bytes:
    envelope = json.loads(content)
    envelope["signatures"] += json.loads(other)["signatures"]
    return rendered(envelope)


def with_none(content: bytes, other: bytes) -> bytes:
    return rendered({**json.loads(content), "signatures": []})


def with_another_type(content: bytes, other: bytes) -> bytes:
    return rendered({**json.loads(content), "payloadType": "text/plain"})


def with_blanks_in_base64(content: bytes, other: bytes) -> bytes:
    envelope = json.loads(content)
    return rendered({**envelope, "payload": envelope["payload"][:8] + "\n" + envelope["payload"][8:]})


def on_one_line(content: bytes, other: bytes) -> bytes:
    return json.dumps(json.loads(content)).encode()


def rendered(envelope: object) -> bytes:
    return f"{json.dumps(envelope, sort_keys=True, indent=2)}\n".encode()


@pytest.mark.parametrize(
    ("meddle", "why"),
    [
        (with_another_signature, "holds a signature that is not by the key of the one beside it"),
        (with_both, "holds a signature that is not by the key of the one beside it"),
        (with_none, "not a provenance statement that this version knows"),
        (with_another_type, "not a provenance statement that this version knows"),
        (with_blanks_in_base64, "is not in canonical form"),
        (on_one_line, "is not in canonical form"),
    ],
)
def test_an_envelope_that_is_not_as_we_write_it_is_wrong_even_under_our_own_signature(
    ask: Ask, signed: Signed, tmp_path: Path, meddle: Meddle, why: str
) -> None:
    ledger = signed.ledger
    path = path_of(ledger)
    stranger = signing_with(replace(ledger), new_key(tmp_path, "eve"))
    other = stranger.attest("web", ledger.lock("web").builds[0], None).files[path] or b""
    signing_with(ledger, signed.key)
    content = meddle(ledger.read(path), other)
    ledger.commit({path: content, f"{path}.sig": ledger.sign(content)}, "web: copy\n\nReconciler-Image: web", "-S")

    answer = ask(ledger, "verify", "web", "--allowed-signers", str(signed.signers))

    assert answer.code == 1
    assert f"WRONG {path} {'is ' if why.startswith('not a') else ''}{why}" in answer.said.replace(
        "WRONG       ", "WRONG "
    )


def test_an_envelope_without_the_signature_beside_it_is_signed_by_nobody(ask: Ask, signed: Signed) -> None:
    path = path_of(signed.ledger)
    signed.ledger.commit({f"{path}.sig": None}, "web: copy\n\nReconciler-Image: web", "-S")

    answer = ask(signed.ledger, "verify", "web", "--allowed-signers", str(signed.signers))

    assert answer.code == 1
    assert "its provenance is not signed, though git.sign was set" in answer.said


@pytest.mark.parametrize("nonsense", [b"", b"\xff", b"AAAA", b"U1NIU0lH", base64.b64encode(b"SSHSIG" + b"\xff" * 40)])
def test_what_is_no_signature_names_no_key(nonsense: bytes, signed: Signed) -> None:
    path = path_of(signed.ledger)
    envelope = provenance.read(signed.ledger.read(path), path).envelope
    assert envelope is not None

    assert not provenance.is_by(envelope, key_of(nonsense))
    assert provenance.is_by(envelope, key_of(signed.ledger.read(f"{path}.sig")))


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"payload": "e30=", "payloadType": "application/vnd.in-toto+json"}']
)
def test_a_file_that_is_neither_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="not a provenance statement"):
        provenance.read(content, "x")


def test_nobody_waits_for_the_signing_library_who_does_not_sign() -> None:
    modules = (
        "reconciler.cli.main, reconciler.controller, reconciler.steps.record_files, reconciler.steps.questions.verify"
    )
    code = f"import sys, {modules}; print({{'securesystemslib', 'cryptography'}} & set(sys.modules))"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout == "set()\n"
