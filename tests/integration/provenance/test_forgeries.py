"""What somebody who may push, and has no key, can make `reconciler verify` say."""

from __future__ import annotations

import json

import pytest

from reconciler.model.lockfile import Reason
from tests.integration.provenance.conftest import Answer, Ask, Signed
from tests.integration.provenance.ledger import Ledger, git


def verified(ask: Ask, signed: Signed, *arguments: str) -> Answer:
    return ask(signed.ledger, "verify", *arguments, "--allowed-signers", str(signed.signers))


def settings(ledger: Ledger, was: str, now: str, *options: str) -> str:
    """Commit a change of desired/reconciler.yaml."""
    yaml = ledger.read("desired/reconciler.yaml").decode()
    return ledger.commit({"desired/reconciler.yaml": yaml.replace(was, now)}, "Settings", *options)


def without_a_key(signed: Signed) -> Ledger:
    signed.ledger.settings = signed.ledger.settings.model_copy(update={"sign": False})
    return signed.ledger


def pointed_back(ledger: Ledger, message: str, *options: str) -> str:
    """Commit a lockfile of `base` whose stable is the older build."""
    lock = json.loads(ledger.read("state/base.lock.json"))
    lock["channels"]["stable"] = lock["builds"][1]["id"]
    content = json.dumps(lock, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    return ledger.commit({"state/base.lock.json": content}, message, *options)


@pytest.fixture
def twice(signed: Signed) -> Signed:
    """`base` was built twice."""
    signed.ledger.build("base", refresh_of=signed.ledger.lock("base").builds[0].id, reasons=(Reason(code="forced"),))
    return signed


@pytest.mark.parametrize(
    ("was", "now"), [("sign: true", "sign: false"), ("sign: true", "sign: true, push: pull-request")]
)
def test_whoever_turns_signing_off_unsigned_gains_nothing(ask: Ask, signed: Signed, was: str, now: str) -> None:
    ledger = without_a_key(signed)
    turned_off = settings(ledger, was, now)
    ledger.build("web", refresh_of=ledger.lock("web").builds[0].id)

    answer = verified(ask, signed, "web")

    assert answer.code == 1
    assert f"is not signed, though git.sign asked for it until {turned_off[:7]} of Ada" in answer.said


def test_nor_behind_another_commit_or_a_merge(ask: Ask, signed: Signed) -> None:
    ledger = without_a_key(signed)
    settings(ledger, "author", "{{author")
    settings(ledger, "{{author: ci <ci@example.org>, sign: true", "author: ci <ci@example.org>")
    ledger.commit({"README.md": "more"}, "More")
    ledger.build("web", refresh_of=ledger.lock("web").builds[0].id)

    answer = verified(ask, signed, "web", "--json")

    assert answer.code == 1
    assert answer.outcomes()["commit-signature"] == "wrong"
    assert answer.outcomes()["statement-signature"] == "wrong"


def test_who_signs_may_turn_signing_off(ask: Ask, signed: Signed) -> None:
    ledger = without_a_key(signed)
    settings(ledger, "sign: true", "sign: false", "-S")
    ledger.build("web", refresh_of=ledger.lock("web").builds[0].id)

    assert verified(ask, signed, "web").code == 0


def test_an_unsigned_commit_that_points_stable_elsewhere_proves_nothing(ask: Ask, twice: Signed) -> None:
    forged = pointed_back(twice.ledger, "Back")

    answer = verified(ask, twice, "base")

    assert answer.code == 1
    assert f"not proven stable was pointed to it by {forged[:7]} of Ada" in answer.said
    assert "which is not a commit of the reconciler" in answer.said


def test_nor_under_our_own_trailers(ask: Ask, twice: Signed) -> None:
    forged = pointed_back(twice.ledger, "base: 1\n\nReconciler-Image: base")

    answer = verified(ask, twice, "base", "stable")

    assert answer.code == 1
    assert f"not proven stable was pointed to it by {forged[:7]} of Ada" in answer.said
    assert f"WRONG the commit {forged[:7]} is not signed, though git.sign was set" in answer.said


def test_a_person_who_signs_may_point_a_channel(ask: Ask, twice: Signed) -> None:
    moved = pointed_back(twice.ledger, "Back", "-S")

    answer = verified(ask, twice, "base")

    assert f" proven stable was pointed to it by {moved[:7]} of Ada" in answer.said
    assert answer.code == 0


def test_a_build_that_is_named_is_not_judged_by_its_channel(ask: Ask, twice: Signed) -> None:
    pointed_back(twice.ledger, "Back")

    answer = verified(ask, twice, "base", twice.ledger.lock("base").builds[1].id)

    assert answer.code == 0
    assert "was pointed to it" not in answer.said


def test_a_merge_with_the_past_does_not_turn_a_channel_back(ask: Ask, twice: Signed) -> None:
    """Its lockfile is that of a commit of ours, which is signed: only the merge is not."""
    root = twice.ledger.root
    old = git(root, "rev-parse", "HEAD^")
    tree = git(root, "rev-parse", "HEAD^^{tree}")
    for parents in (("-p", "HEAD", "-p", old), ("-p", old, "-p", "HEAD")):
        merge = git(root, "commit-tree", tree, *parents, "-m", "Merge")

        answer = verified(ask, twice, "base", "--rev", merge)

        assert answer.code == 1
        assert f"not proven stable was pointed to it by {merge[:7]}" in answer.said


def test_a_merge_of_what_people_declare_moves_no_channel(ask: Ask, twice: Signed) -> None:
    root = twice.ledger.root
    git(root, "switch", "--quiet", "--create", "feature", "HEAD~2")
    twice.ledger.commit({"README.md": "more"}, "More")
    git(root, "switch", "--quiet", "main")
    git(root, "merge", "--quiet", "--no-ff", "feature", "-m", "Merge pull request #12 from acme/feature")

    assert verified(ask, twice, "base").code == 0
