"""Somebody meddles, as well as they can without the reconciler's key: each is found, and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.model.lockfile import Verdict
from tests.integration.provenance.conftest import Answer, Ask, Signed
from tests.integration.provenance.ledger import Ledger, edited, git, new_key

pytestmark = pytest.mark.long

TRAILERS = "web: build x (new)\n\nReconciler-Image: web"
Tamper = Callable[[Ledger], object]


def wrong(answer: Answer) -> set[str]:
    assert answer.code == 1, answer.out
    return {one["check"] for one in answer.json["findings"] if one["outcome"] == "wrong"}


def lockfile(path: tuple[str | int, ...], value: object) -> Tamper:
    name = "state/web.lock.json"
    return lambda ledger: ledger.commit({name: edited(ledger.read(name), path, value)}, TRAILERS)


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def statement_of(ledger: Ledger) -> str:
    return f"state/{ledger.lock('web').builds[0].provenance}"


def sbom_of(ledger: Ledger) -> str:
    inventory = ledger.lock("web").builds[0].inventory
    assert inventory is not None
    return f"state/{inventory.sbom}"


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (lockfile(("builds", 0, "packer", "version"), "1.16.1"), "statement"),
        (lockfile(("builds", 0, "seconds"), 413), "statement"),
        (lockfile(("builds", 0, "artifacts", 0, "id"), "ami-0666"), "statement"),
        (lockfile(("builds", 0, "commit"), "0" * 40), "statement"),
        (lockfile(("builds", 0, "commit"), "HEAD"), "statement"),
        (lockfile(("builds", 0, "commit"), "a\0"), "statement"),
        (lockfile(("builds", 0, "key"), "sha256:" + "0" * 64), "content"),
        (lockfile(("builds", 0, "components", "files"), "sha256:" + "0" * 64), "content"),
        (lockfile(("builds", 0, "source", "key"), "sha256:" + "0" * 64), "content"),
        (lockfile(("builds", 0, "source", "build"), "20261122T000000Z-0000000"), "statement"),
        (lockfile(("builds", 0, "inventory", "digest"), "sha256:" + "0" * 64), "sbom"),
        (lockfile(("builds", 0, "inventory", "packages"), 7), "statement"),
    ],
    ids=[
        "packer",
        "seconds",
        "ami",
        "commit",
        "head",
        "nul",
        "key",
        "files",
        "parents-key",
        "parent",
        "inventory",
        "count",
    ],
)
def test_a_changed_record_is_found_even_under_our_own_trailers(
    ask: Ask, built: Ledger, tamper: Tamper, found: str
) -> None:
    tamper(built)

    assert found in wrong(ask(built, "verify", "web", "--json"))


@pytest.mark.parametrize("field", ["phase", "verdict"])
def test_what_a_person_writes_into_state_is_not_the_reconcilers(ask: Ask, built: Ledger, field: str) -> None:
    verdict = Verdict(status="passed", by="me", evidence="none").model_dump()
    content = edited(built.read("state/web.lock.json"), ("builds", 0, field), {"phase": "revoked"}.get(field, verdict))
    built.commit({"state/web.lock.json": content}, "Tidy up")

    answer = ask(built, "verify", "web")

    assert answer.code == 1
    assert "(“Tidy up”), which is not a commit of the reconciler" in answer.said


def test_a_flipped_byte_of_the_sbom_is_found_wherever_it_is(ask: Ask, built: Ledger) -> None:
    path = sbom_of(built)
    content = built.read(path)
    for at in range(0, len(content), len(content) // 7):
        built.commit({path: flipped(content, at)}, TRAILERS)

        assert "sbom" in wrong(ask(built, "verify", "web", "--json")), at


@pytest.mark.parametrize("name", [r'"\ud800"', "1e999", "1" * 10_000], ids=["half a character", "infinite", "long"])
def test_an_sbom_that_has_no_digest_is_wrong(ask: Ask, built: Ledger, name: str) -> None:
    path = sbom_of(built)
    content = built.read(path).replace(b'"nginx"', name.encode())
    built.commit({path: content}, "Odd")

    assert wrong(ask(built, "verify", "web", "--json")) == {"change", "sbom"}


def test_a_missing_sbom_is_named(ask: Ask, built: Ledger) -> None:
    path = sbom_of(built)
    built.commit({path: None}, TRAILERS)

    answer = ask(built, "verify", "web")

    assert answer.code == 1
    assert "the SBOM" in answer.said
    assert "is not there" in answer.said


def test_a_flipped_byte_of_the_statement_is_found_wherever_it_is(ask: Ask, signed: Signed) -> None:
    path = statement_of(signed.ledger)
    content = signed.ledger.read(path)
    for at in range(0, len(content), len(content) // 9):
        signed.ledger.commit({path: flipped(content, at)}, TRAILERS)

        answer = ask(signed.ledger, "verify", "web", "--allowed-signers", str(signed.signers), "--json")
        assert wrong(answer) & {"statement", "statement-signature"}, at


def test_a_statement_that_was_swapped_for_another_builds_is_found(ask: Ask, built: Ledger) -> None:
    other = built.read(f"state/{built.lock('base').builds[0].provenance}")
    built.commit({statement_of(built): other}, TRAILERS)

    assert "statement" in wrong(ask(built, "verify", "web", "--json"))


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"[" * 100_000, b"\xff\xfe", b'{"_type": "https://in-toto.io/Link/v1"}']
)
def test_a_statement_that_is_none_is_named(ask: Ask, built: Ledger, content: bytes) -> None:
    built.commit({statement_of(built): content}, TRAILERS)

    assert "statement" in wrong(ask(built, "verify", "web", "--json"))


@pytest.mark.parametrize("at", [60, 150, 200])
def test_a_flipped_byte_of_the_signature_is_found(ask: Ask, signed: Signed, at: int) -> None:
    path = f"{statement_of(signed.ledger)}.sig"
    signed.ledger.commit({path: flipped(signed.ledger.read(path), at)}, TRAILERS)

    answer = ask(signed.ledger, "verify", "web", "--allowed-signers", str(signed.signers), "--json")

    assert "statement-signature" in wrong(answer)


def test_a_signature_that_was_taken_away_is_missed(ask: Ask, signed: Signed) -> None:
    signed.ledger.commit({f"{statement_of(signed.ledger)}.sig": None}, TRAILERS)

    answer = ask(signed.ledger, "verify", "web", "--allowed-signers", str(signed.signers))

    assert answer.code == 1
    assert "its provenance is not signed, though git.sign was set" in answer.said


@pytest.mark.parametrize("what", ["1.16.0", "ami-0000", "412", '"key"', "acme/images/12"])
def test_a_changed_record_in_the_tag_is_found(ask: Ask, built: Ledger, what: str) -> None:
    build = built.lock("web").builds[0]
    name = f"image/web/{build.id}"
    tag = git(built.root, "cat-file", "tag", name)
    at = tag.index(what, tag.index("\n{\n")) + len(what) - 2
    forged = flipped(tag.encode(), at)
    oid = git(built.root, "hash-object", "-t", "tag", "-w", "--stdin", stdin=forged + b"\n")
    git(built.root, "update-ref", f"refs/tags/{name}", oid)

    assert wrong(ask(built, "verify", "web", "--json")) == {"tag"}


def test_a_tag_on_another_commit_is_found(ask: Ask, built: Ledger) -> None:
    build = built.lock("web").builds[0]
    name = f"image/web/{build.id}"
    message = git(built.root, "for-each-ref", "--format=%(contents)", f"refs/tags/{name}")
    git(built.root, "tag", "--force", "--annotate", "--cleanup=verbatim", "-m", message, name, "HEAD")

    assert wrong(ask(built, "verify", "web", "--json")) == {"tag"}


def test_a_forged_commit_has_no_signature_of_ours(ask: Ask, signed: Signed, tmp_path: Path) -> None:
    """Everything fits, down to the trailers and the author: only the key is missing."""
    ledger = signed.ledger
    git(ledger.root, "config", "user.signingKey", str(new_key(tmp_path, "mallory")))
    ledger.build("web", refresh_of=ledger.lock("web").builds[0].id)

    answer = ask(ledger, "verify", "web", "--allowed-signers", str(signed.signers), "--json")

    assert answer.code == 1
    assert answer.outcomes()["commit-signature"] == "not proven"
    assert answer.outcomes()["statement-signature"] == "not proven"


def test_a_forged_commit_without_a_signature_is_wrong(ask: Ask, signed: Signed) -> None:
    ledger = signed.ledger
    ledger.settings = ledger.settings.model_copy(update={"sign": False})
    ledger.build("web", refresh_of=ledger.lock("web").builds[0].id)

    answer = ask(ledger, "verify", "web", "--allowed-signers", str(signed.signers))

    assert answer.code == 1
    assert "is not signed, though git.sign was set" in answer.said


def test_a_record_under_another_builds_trailers_is_found(ask: Ask, built: Ledger) -> None:
    build = built.lock("web").builds[0]
    tree = git(built.root, "rev-parse", "HEAD^{tree}")
    message = f"{TRAILERS}\nReconciler-Build: 20261122T000000Z-0000000\nReconciler-Key: {build.key}"
    forged = git(built.root, "commit-tree", tree, "-p", "HEAD^", "-m", message)
    git(built.root, "reset", "--quiet", "--hard", forged)

    assert "record" in wrong(ask(built, "verify", "web", "--json"))


def test_a_parent_that_was_meddled_with_is_wrong_for_its_children(ask: Ask, built: Ledger) -> None:
    content = edited(built.read("state/base.lock.json"), ("builds", 0, "artifacts", 0, "id"), "ami-0666")
    built.commit({"state/base.lock.json": content}, "Swap")

    answer = ask(built, "verify", "web")

    assert answer.code == 1
    assert "WRONG on base" in answer.said
    assert "of base, on which that is built" in answer.out
    assert "disagree on subject[0].digest.arn" in answer.said
