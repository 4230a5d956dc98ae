"""What somebody who may push, and has no key, can make `reconciler verify` say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.lockfile import Reason
from reconciler.state.lockfiles import render
from tests.integration.provenance.conftest import Answer, Ask, Signed
from tests.integration.provenance.ledger import Ledger, git

pytestmark = pytest.mark.long


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


def test_a_merge_with_the_past_does_not_turn_a_channel_back_under_a_new_name(ask: Ask, signed: Signed) -> None:
    ledger, root = signed.ledger, signed.ledger.root
    ledger.rename("base", "debian")
    old = ledger.head()
    ledger.build("debian", refresh_of=ledger.lock("debian").builds[0].id, reasons=(Reason(code="forced"),))
    merge = git(root, "commit-tree", f"{old}^{{tree}}", "-p", "HEAD", "-p", old, "-m", "Merge")

    answer = verified(ask, signed, "debian", "--rev", merge)

    assert answer.code == 1
    assert f"not proven stable was pointed to it by {merge[:7]}" in answer.said


@pytest.fixture
def proposing(signed: Signed) -> Signed:
    """State is proposed in pull requests: the commit that lands may be anybody's, and the statement is what counts."""
    settings(signed.ledger, "sign: true", "sign: true, push: pull-request", "-S")
    signed.ledger.build("web", refresh_of=signed.ledger.lock("web").builds[0].id, reasons=(Reason(code="forced"),))
    return signed


def with_another_ami(ledger: Ledger, *, attested: bool) -> dict[str, bytes | None]:
    """The files of a record whose AMI is swapped, by somebody who has no key."""
    lock = ledger.lock("web")
    build = lock.builds[0]
    swapped = build.artifacts[0].model_copy(update={"id": "ami-66666666666666666"})
    build = build.model_copy(update={"artifacts": (swapped, *build.artifacts[1:]), "provenance": None})
    files: dict[str, bytes | None] = {}
    if attested:
        assert build.inventory is not None
        made = ledger.attest("web", build, ledger.read(f"state/{build.inventory.sbom}"))
        build, files = made.build, dict(made.files)
    forged = lock.model_copy(update={"builds": (build, *lock.builds[1:])})
    return {**files, "state/web.lock.json": render(forged)}


def test_a_record_whose_provenance_was_taken_away_is_not_proven(ask: Ask, proposing: Signed) -> None:
    proposing.ledger.commit(with_another_ami(proposing.ledger, attested=False), "Change web (#12)")

    answer = verified(ask, proposing, "web")

    assert answer.code == 1
    assert "not proven no provenance was written for it" in answer.said


def test_a_strangers_signature_of_another_kind_does_not_stand_for_that_of_a_statement(
    ask: Ask, proposing: Signed
) -> None:
    ledger = without_a_key(proposing)
    ledger.commit(with_another_ami(ledger, attested=True), "Change web (#12)")
    sign_by_openpgp(ledger)

    answer = verified(ask, proposing, "web")

    assert answer.code == 1
    assert "its provenance is not signed, though git.sign was set" in answer.said


def test_nor_does_it_where_the_record_itself_was_committed_so(ask: Ask, proposing: Signed) -> None:
    ledger = without_a_key(proposing)
    ledger.build("web", refresh_of=ledger.lock("web").builds[0].id, reasons=(Reason(code="forced"),))
    sign_by_openpgp(ledger)

    answer = verified(ask, proposing, "web")

    assert answer.code == 1
    assert "its provenance is not signed, though git.sign was set" in answer.said


def sign_by_openpgp(ledger: Ledger) -> None:
    """Give the last commit a signature that nobody here can judge."""
    header, _, message = git(ledger.root, "cat-file", "commit", "HEAD").partition("\n\n")
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ\n -----END PGP SIGNATURE-----"
    commit = f"{header}\n{signature}\n\n{message}\n".encode()
    oid = git(ledger.root, "hash-object", "-t", "commit", "-w", "--stdin", stdin=commit)
    git(ledger.root, "update-ref", "HEAD", oid)


UNREADABLE: dict[str, Callable[[bytes], bytes]] = {
    "an unknown key": lambda good: good.replace(b'"image": "base"', b'"image": "base", "zz": 1'),
    "another AMI besides": lambda good: good.replace(b"ami-", b"ami-6").replace(b'"base"', b'"base", "zz": 1', 1),
    "a conflict": lambda good: b"<<<<<<< HEAD\n" + good,
    "cut off": lambda good: good[: len(good) // 2],
    "empty": lambda _good: b"",
    "newer": lambda good: good.replace(b'"schema": 1', b'"schema": 2'),
    "without schema": lambda good: good.replace(b',\n  "schema": 1', b""),
    "a number without end": lambda good: good.replace(b'"schema": 1', b'"schema": ' + b"1" * 10_000),
    "another image's": lambda good: good.replace(b'"image": "base"', b'"image": "bose"'),
}


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_lockfile_that_cannot_be_read_is_wrong_for_its_image_and_for_what_stands_on_it(
    ask: Ask, signed: Signed, how: str
) -> None:
    content = UNREADABLE[how](signed.ledger.read("state/base.lock.json"))
    broken = signed.ledger.commit({"state/base.lock.json": content}, "base: 1\n\nReconciler-Image: base")

    base, web = verified(ask, signed, "base", "--json"), verified(ask, signed, "web", "--json")

    assert (base.code, web.code) == (1, 1)
    assert base.outcomes()["lockfile"] == "wrong"
    assert f"{broken[:7]} of Ada" in base.findings("lockfile")[0]["what"]
    assert web.outcomes()["source"] == "wrong"


def test_nor_does_a_new_name_hide_it_from_what_was_built_under_the_old(ask: Ask, signed: Signed) -> None:
    signed.ledger.rename("base", "debian")
    signed.ledger.rename("debian", "bookworm")
    assert verified(ask, signed, "web").code == 0
    good = signed.ledger.read("state/bookworm.lock.json")
    signed.ledger.commit({"state/bookworm.lock.json": good.replace(b'"bookworm"', b'"bookworm", "zz": 1', 1)}, "x")

    answer = verified(ask, signed, "web", "--json")

    assert answer.code == 1
    assert answer.outcomes()["source"] == "wrong"


@pytest.mark.parametrize("mode", ["120000", "160000"], ids=["link", "submodule"])
def test_nor_does_anything_else_in_its_place_hide_it(ask: Ask, signed: Signed, mode: str) -> None:
    """The link's target is the good lockfile's text, so its blob can be read as one."""
    root, path = signed.ledger.root, "state/base.lock.json"
    oid = git(root, "rev-parse", f"HEAD:{path}" if mode == "120000" else "HEAD")
    git(root, "update-index", "--cacheinfo", f"{mode},{oid},{path}")
    git(root, "commit", "--quiet", "-m", "Link")

    answer = verified(ask, signed, "web", "--json")

    assert answer.code == 1
    assert answer.outcomes()["source"] == "wrong"


def test_a_parent_of_which_nothing_can_be_read_is_wrong(ask: Ask, signed: Signed) -> None:
    """In a shallow clone the broken lockfile is all there is."""
    signed.ledger.commit({"state/base.lock.json": b"{}\n"}, "Oops")
    clone = signed.ledger.root.parent / "shallow"
    git(signed.ledger.root.parent, "clone", "--quiet", "--depth=1", signed.ledger.root.as_uri(), str(clone))

    answer = ask(replace(signed.ledger, root=clone), "verify", "web")

    assert answer.code == 1
    assert "of which nothing can be read: no lockfile of base can be read" in answer.said


def test_what_could_not_be_read_once_is_no_finding(ask: Ask, signed: Signed) -> None:
    good = signed.ledger.read("state/base.lock.json")
    broken = signed.ledger.commit({"state/base.lock.json": b'{"schema": %b}' % (b"1" * 10_000)}, "Oops")
    signed.ledger.commit({"state/base.lock.json": good}, "Take it back")

    assert verified(ask, signed, "web").code == 0
    assert ask(signed.ledger, "history", "base").code == 0
    assert verified(ask, signed, "web", "--rev", broken).code == 1
    assert verified(ask, signed, "web", "--rev", f"{broken}^").code == 0
