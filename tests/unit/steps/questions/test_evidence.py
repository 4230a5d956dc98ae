"""What a record's files say, and which commits had to be signed: by the settings before them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.git.past import At
from reconciler.git.repository import Repository
from reconciler.model.inventory import Inventory, OperatingSystem
from reconciler.model.lockfile import Build, InventoryRecord
from reconciler.model.provenance import Origin
from reconciler.model.values import sha256_of
from reconciler.model.verification import Signature
from reconciler.state.provenance import attest
from reconciler.state.sbom import render_sbom
from reconciler.steps.questions import evidence
from reconciler.steps.questions.evidence import (
    ASKED,
    SET,
    Files,
    SigningRule,
    attestation_of,
    paths,
    sbom_file,
    sbom_of,
)
from tests.unit.steps.in_hand import MemoryTree

ID = "20261122T101530Z-1a2b3c4"
BUILD = Build(id=ID, key="sha256:1", components={}, commit="9c0d1e2", artifacts=(), phase="stable")
SIGNED, PLAIN, PROPOSED, BROKEN = (
    b"git: {sign: true}\n", b"git: {sign: false}\n", b"git: {sign: true, push: pull-request}\n", b"git: [\n",
)  # fmt: skip
INSIDE = Inventory(
    OperatingSystem("debian", "12", "Debian 12"), "6.1.0", packages=(), services=(), ports=(), users=(), suid=()
)  # fmt: skip


def files(**contents: bytes) -> Files:
    tree = MemoryTree(contents)
    return Files(cast("Repository", SimpleNamespace(git=None, tree=lambda _revision: tree)), "HEAD")


def test_a_record_names_its_files_and_one_without_names_none() -> None:
    record = InventoryRecord(os="Debian", kernel="6.1", sbom="sbom/web/1.cdx.json", digest="sha256:0")
    whole = BUILD.model_copy(update={"provenance": "provenance/web/1.json", "inventory": record})

    assert list(paths(BUILD)) == []
    assert [path.partition("/")[2].partition("/")[0] for path in paths(whole)] == ["provenance", "provenance", "sbom"]
    assert sbom_of(BUILD, files()) is None
    assert attestation_of(BUILD, files(), signers=None) is None


def test_of_an_sbom_it_is_told_what_it_holds_or_why_not() -> None:
    content = render_sbom("web", ID, INSIDE)

    assert (sbom_file("a", None).why, sbom_file("a", b"{").why) == ("is not there", "can't be read")
    found = sbom_file("a", content)
    assert (found.inventory, found.sha256) == (INSIDE.digest, sha256_of(content))


@pytest.mark.parametrize(("content", "fault"), [(None, "is not there"), (b"no JSON", "is ")])
def test_a_statement_that_is_missing_or_odd_says_nothing(content: bytes | None, fault: str) -> None:
    named = BUILD.model_copy(update={"provenance": "provenance/web/1.json"})
    there = files(**({"state/provenance/web/1.json": content} if content is not None else {}))

    found = attestation_of(named, there, signers=None)

    assert found is not None
    assert (found.statement, found.signature.state) == (None, "absent")
    assert found.why.startswith(fault)


class TestRule:
    """Commits c1, c2, … each on the one before, with what reconciler.yaml was in each."""

    def rule(self, monkeypatch: pytest.MonkeyPatch, *settings: bytes | None, **more: Any) -> SigningRule:
        every = [
            At(f"c{number}", (f"c{number - 1}",) if number > 1 else (), content)
            for number, content in enumerate(settings, start=1)
        ]
        monkeypatch.setattr(evidence, "at_every_commit", lambda *_, **__: every)
        monkeypatch.setattr(evidence, "find_commit", lambda _git, commit: commit)
        monkeypatch.setattr(evidence, "author_of", lambda _git, commit: f"somebody of {commit}")
        trusted = more.pop("trusted", ())
        repository = cast("Repository", SimpleNamespace(git=None))
        return SigningRule(repository, f"c{len(settings)}", trusted=lambda commit: commit in trusted, **more)

    def test_what_is_recorded_since_signing_was_asked_for_has_to_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rule = self.rule(monkeypatch, None, SIGNED, SIGNED, SIGNED)
        assert [rule.of_commit(f"c{number}") for number in (1, 2, 3, 4)] == ["", "", SET, SET]
        assert rule.of_statement("c4") == SET

    def test_whoever_takes_the_setting_out_without_a_key_ends_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        forged = self.rule(monkeypatch, SIGNED, SIGNED, PLAIN, PLAIN, PLAIN)
        assert forged.of_commit("c5") == (
            "though git.sign asked for it until c3 of somebody of c3 ended that, a commit that no trusted key signed"
        )
        ended = self.rule(monkeypatch, SIGNED, SIGNED, PLAIN, PLAIN, PLAIN, trusted=("c3",))
        assert ended.of_commit("c5") == ""

    def test_what_a_person_merges_is_theirs_and_its_statement_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rule = self.rule(monkeypatch, PROPOSED, PROPOSED, PROPOSED)
        assert (rule.direct("c3"), rule.of_commit("c3")) == (False, "")
        assert rule.of_statement("c3") == SET

    def test_who_asks_for_signatures_gets_them_of_what_was_pushed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rule = self.rule(monkeypatch, None, None, always=True)
        assert (rule.of_commit("c2"), rule.of_now()) == (ASKED, ASKED)
        assert self.rule(monkeypatch, PROPOSED, PROPOSED, always=True).of_commit("c2") == ""

    def test_settings_that_can_not_be_read_are_those_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rule = self.rule(monkeypatch, PROPOSED, BROKEN, BROKEN)
        assert rule.of_statement("c3") == SET

    def test_a_commit_of_another_history_is_not_contained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rule = self.rule(monkeypatch, None)
        assert rule.contains("c1")
        assert not rule.contains("c9")


def test_a_statement_is_held_against_the_signature_beside_it_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bytes, bytes]] = []

    def verify(_git: object, content: bytes, made_of: bytes, **_: object) -> Signature:
        asked.append((content, made_of))
        return Signature("good")

    monkeypatch.setattr(evidence, "verify", verify)
    made = attest(BUILD, Origin(fleet="acme", image="web", repository="acme/images", branch="main"), sbom=None,
                  sign=lambda _: None)  # fmt: skip
    (path, content), (signature, _) = made.files.items()
    assert content is not None

    bare = attestation_of(made.build, files(**{path: content}), signers=None)
    signed = attestation_of(made.build, files(**{path: content, signature: b"by us"}), signers=None)
    spaced = attestation_of(made.build, files(**{path: content + b" "}), signers=None)

    assert bare is not None
    assert signed is not None
    assert spaced is not None
    assert (bare.signature.state, bare.why, signed.signature.state, signed.why) == ("absent", "", "good", "")
    assert spaced.why == "is not in canonical form"
    assert asked == [(content, b"by us")]


def test_an_envelope_has_to_be_by_the_key_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.state.provenance.is_by", lambda envelope, key: (envelope, key) == ("sealed", None))

    def fault(envelope: str) -> str:
        return evidence._fault(cast("Any", SimpleNamespace(canonical=True, envelope=envelope)), None)

    assert fault("sealed") == ""
    assert fault("by another") == "holds a signature that is not by the key of the one beside it"


def test_who_asks_for_signatures_gets_them_of_every_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = TestRule().rule(monkeypatch, b"git: {push: pull-request}\n", b"git: {push: pull-request}\n", always=True)
    assert (rule.of_commit("c2"), rule.of_statement("c2")) == ("", ASKED)
