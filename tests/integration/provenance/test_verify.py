"""What `reconciler verify` says of builds that nobody meddled with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.model.declaration import GitSettings
from reconciler.model.lockfile import Reason, Verdict
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.plan.proof.attested import judge_sbom
from reconciler.plan.proof.evidence import SbomFile
from tests.integration.provenance.conftest import Answer, Ask, Signed
from tests.integration.provenance.ledger import ON_DEBIAN, Ledger, declared, git, new_key, public

SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "verification-1.json"


def verified(ask: Ask, signed: Signed, *arguments: str) -> Answer:
    return ask(signed.ledger, "verify", *arguments, "--allowed-signers", str(signed.signers))


def test_a_signed_build_is_proven_from_the_clone_alone(ask: Ask, signed: Signed) -> None:
    answer = verified(ask, signed, "web")

    assert answer.code == 0
    assert "WRONG" not in answer.out
    build = signed.ledger.lock("web").builds[0]
    assert answer.out.splitlines()[0] == f"{build.id} of web"
    assert f"built from {build.commit[:7]}, which is on main" in answer.said
    assert "is signed by ci@example.org" in answer.said
    assert f"on base {signed.ledger.lock('base').builds[0].id}, which is itself verified" in answer.said
    assert [line for line in answer.out.splitlines() if "not proven" in line] == [
        "  not proven  that it boots: no smoke test is on record",
        "  not proven  whether the registry has these artifacts under this key was not",
    ]


def test_its_json_has_the_published_form(ask: Ask, signed: Signed) -> None:
    answer = verified(ask, signed, "web", "--json")

    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(answer.json)
    assert answer.json["verified"]
    assert answer.json["source"]["image"] == "base"


def test_without_a_key_signatures_are_not_proven_and_nothing_is_wrong(ask: Ask, built: Ledger) -> None:
    answer = ask(built, "verify", "web")

    assert answer.code == 0
    assert "not proven its provenance is not signed: git.sign was not set" in answer.said
    assert "not proven the commit" in answer.said


def test_whoever_asks_for_signatures_gets_none_for_granted(ask: Ask, built: Ledger) -> None:
    answer = ask(built, "verify", "web", "--signed", "--json")

    assert answer.code == 1
    assert answer.outcomes()["statement-signature"] == "wrong"
    assert answer.outcomes()["commit-signature"] == "wrong"
    said = ask(built, "verify", "web", "--signed").said
    assert "is not signed, and --signed asks for it" in said
    assert "git.sign" not in said


def test_a_signature_that_nobody_can_judge_is_not_proven_and_was_required(ask: Ask, signed: Signed) -> None:
    answer = ask(signed.ledger, "verify", "base")

    assert answer.code == 1
    assert "is signed, and no file says whose keys are trusted (--allowed-signers)" in answer.said


def test_gits_own_allowed_signers_are_taken(ask: Ask, signed: Signed) -> None:
    git(signed.ledger.root, "config", "gpg.ssh.allowedSignersFile", str(signed.signers))

    assert ask(signed.ledger, "verify", "web").code == 0


def test_another_namespace_does_not_do_for_a_statement(ask: Ask, signed: Signed, tmp_path: Path) -> None:
    signers = tmp_path / "signers"
    signers.write_text(f'ci@example.org namespaces="git" {public(signed.key)}\n')

    answer = ask(signed.ledger, "verify", "base", "--allowed-signers", str(signers), "--json")

    assert answer.outcomes()["commit-signature"] == "proven"
    assert answer.outcomes()["statement-signature"] == "not proven"
    assert answer.code == 1


def test_a_key_that_has_expired_since_did_sign_then(ask: Ask, signed: Signed) -> None:
    signed.signers.with_name("dated").write_text(f'ci@example.org valid-before="20261201" {public(signed.key)}\n')

    assert ask(signed.ledger, "verify", "base", "--allowed-signers", str(signed.signers.with_name("dated"))).code == 0


def test_a_build_that_was_pruned_is_read_from_history(ask: Ask, signed: Signed) -> None:
    ledger = signed.ledger
    old = ledger.lock("base").builds[0]
    for number in range(4):
        ledger.commit(declared("base", ON_DEBIAN, setup=f"step {number}"))
        ledger.build("base", reasons=(Reason(code="inputs-changed", was="x", now="y"),))
        # What the loop does: nothing but git keeps what the lockfile does not name.
    assert ledger.lock("base").build(old.id) is None

    answer = verified(ask, signed, "base", old.id)

    assert answer.code == 0
    assert answer.out.startswith(f"{old.id} of base")


def test_a_child_stays_verified_when_its_parents_build_was_pruned(ask: Ask, signed: Signed) -> None:
    ledger = signed.ledger
    old = ledger.lock("base").builds[0]
    for number in range(4):
        ledger.commit(declared("base", ON_DEBIAN, setup=f"step {number}"))
        ledger.build("base", reasons=(Reason(code="inputs-changed", was="x", now="y"),))
    files = [f"state/{old.provenance}", f"state/{old.provenance}.sig", f"state/sbom/base/{old.id}.cdx.json"]
    message = "base: record ()\n\nReconciler-Image: base"
    ledger.commit(dict.fromkeys(files), message)

    answer = verified(ask, signed, "web")

    assert f"on base {old.id}, which is itself verified" in answer.said


def test_copies_and_verdicts_leave_it_proven(ask: Ask, signed: Signed) -> None:
    signed.ledger.copy("web", "ap-south-1")
    signed.ledger.judge("web", Verdict(status="passed", by="acme/validation", evidence="https://ci.example.org/7"))

    answer = verified(ask, signed, "web")

    assert answer.code == 0
    assert "last changed by the reconciler in" in answer.said
    assert "and 1 more" not in answer.said


def test_a_build_is_found_under_the_name_that_its_image_had(ask: Ask, signed: Signed) -> None:
    signed.ledger.rename("base", "debian")

    answer = verified(ask, signed, "debian")

    assert answer.code == 0
    assert answer.out.splitlines()[0].endswith("of debian")
    assert verified(ask, signed, "web").code == 0


def test_a_lockfile_that_a_person_took_back_is_what_it_was(ask: Ask, signed: Signed) -> None:
    good = signed.ledger.read("state/web.lock.json")
    signed.ledger.commit({"state/web.lock.json": b"{}\n"}, "Oops")
    signed.ledger.commit({"state/web.lock.json": good}, "Take it back")

    assert verified(ask, signed, "web").code == 0


def test_a_squash_merge_loses_the_commit_and_not_the_content(ask: Ask, built: Ledger) -> None:
    git(built.root, "switch", "--quiet", "--create", "feature")
    files = declared("web", "source: {image: base}\n", setup="changed")
    on_branch = built.commit(files, "Change web")
    git(built.root, "switch", "--quiet", "main")
    built.commit(files, "Change web (#12)")
    reasons = (Reason(code="inputs-changed", was="x", now=built.head()[:12]),)
    built.build("web", reasons=reasons, built_from=on_branch, verb="adopt")

    answer = ask(built, "verify", "web")

    assert answer.code == 0
    assert f"built from {on_branch[:7]}; it is not on main itself, and what it held is on main as of" in answer.said
    assert "proven its annotated tag holds the same record" in answer.said


def test_a_commit_that_is_in_nobodys_clone_is_said(ask: Ask, built: Ledger, tmp_path: Path) -> None:
    git(built.root, "switch", "--quiet", "--create", "feature")
    files = declared("web", "source: {image: base}\n", setup="changed")
    on_branch = built.commit(files, "Change web")
    git(built.root, "switch", "--quiet", "main")
    built.commit(files, "Change web (#12)")
    built.build("web", built_from=on_branch)
    git(tmp_path, "clone", "--quiet", "--no-tags", "--single-branch", built.root.as_uri(), "auditor")

    answer = ask(replace(built, root=tmp_path / "auditor"), "verify", "web")

    assert answer.code == 0
    assert f"not proven built from {on_branch[:7]}, which is not in this clone; what it held is on main" in answer.said
    assert "not proven it has no annotated tag in this clone" in answer.said


def test_a_shallow_clone_proves_less_and_says_so(ask: Ask, built: Ledger, tmp_path: Path) -> None:
    built.build("web", refresh_of=built.lock("web").builds[0].id, reasons=(Reason(code="forced"),))
    git(tmp_path, "clone", "--quiet", "--depth", "1", "--no-tags", built.root.as_uri(), "shallow")

    answer = ask(replace(built, root=tmp_path / "shallow"), "verify", "web")

    assert "Traceback" not in answer.err
    assert "WRONG" not in answer.out
    assert "is not in this clone" in answer.said


def test_a_build_from_before_there_was_provenance_is_verified_as_far_as_it_goes(ask: Ask, built: Ledger) -> None:
    built.build("base", attested=False, inventory=None, refresh_of="20261122T000000Z-0000000")

    answer = ask(built, "verify", "base")

    assert answer.code == 0
    assert "not proven no provenance was written for it" in answer.said
    assert "not proven what is inside was not read when it was built" in answer.said


def test_what_a_person_merged_by_squash_is_theirs_to_answer_for(ask: Ask, tmp_path: Path) -> None:
    ledger = Ledger.begin(tmp_path / "clone")
    ledger.commit({"desired/reconciler.yaml": "fleet: acme/images\ngit: {push: pull-request}\n"})
    ledger.build("base")
    tree = git(ledger.root, "rev-parse", "HEAD^{tree}")
    squash = git(ledger.root, "commit-tree", tree, "-p", "HEAD^", "-m", "State of today (#8)")
    git(ledger.root, "reset", "--quiet", "--hard", squash)

    answer = ask(ledger, "verify", "base")

    assert answer.code == 0
    assert "(“State of today (#8)”), which names no image" in answer.said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("wbe",), 'did you mean "web"?'),
        (("../web",), "'../web' is no name for an image"),
        (("web", "20260101T000000Z-0000000"), "was ever recorded"),
        (("web", ""), "no build '' of web was ever recorded"),
        (("web", "sha256:"), "no build 'sha256:' of web was ever recorded"),
        (("web", "--rev", "nowhere"), 'there is no revision "nowhere"'),
        (("web", "--rev", "HEAD^{tree}"), '"HEAD^{tree}" is no commit'),
    ],
)
def test_what_a_stranger_mistypes_is_explained(ask: Ask, built: Ledger, arguments: tuple[str, ...], said: str) -> None:
    answer = ask(built, "verify", *arguments)

    assert answer.code == 1
    assert said in answer.err


def test_changes_that_are_not_committed_are_named(ask: Ask, built: Ledger) -> None:
    (built.root / "state/web.lock.json").write_text("{}")

    answer = ask(built, "verify", "web")

    assert answer.code == 0
    assert "not committed, so not looked at: state/web.lock.json" in answer.err


def test_a_key_of_somebody_unknown_is_not_trusted(ask: Ask, signed: Signed, tmp_path: Path) -> None:
    signers = tmp_path / "signers"
    signers.write_text(f"somebody@example.org {public(new_key(tmp_path, 'other'))}\n")

    answer = ask(signed.ledger, "verify", "base", "--allowed-signers", str(signers), "--json")

    assert answer.code == 1
    assert answer.outcomes()["commit-signature"] == "not proven"
    assert answer.outcomes()["statement-signature"] == "not proven"


def test_settings_decide_what_is_required_as_they_were(ask: Ask, built: Ledger) -> None:
    yaml = built.read("desired/reconciler.yaml").decode()
    built.commit({"desired/reconciler.yaml": yaml.replace("}", ", sign: true}")}, "Sign from now on")

    assert ask(built, "verify", "web").code == 0
    assert built.settings == GitSettings(author="ci <ci@example.org>")


def test_a_build_is_named_by_a_channel_or_the_beginning_of_its_id_or_key(ask: Ask, built: Ledger) -> None:
    build = built.lock("web").builds[0]

    for asked in ("stable", "candidate", build.id[:15], build.id[-7:], build.key[:15], f"{build.key[:11]}…", build.key):
        answer = ask(built, "verify", "web", asked)

        assert (answer.code, answer.out.splitlines()[0]) == (0, f"{build.id} of web")


@pytest.mark.parametrize(
    ("result", "code", "said"),
    [
        (SmokeTestResult(status="passed", tests=15), 0, "proven smoke-tested: 15 passed, by its record and its"),
        (
            SmokeTestResult(status="skipped", why="smoke_test.boot is false"), 0,
            "not proven that it boots: it was never booted: smoke_test.boot is false",
        ),
        (SmokeTestResult(status="failed", tests=1, why="no SSH"), 1, "not proven that it works: smoke test failed"),
    ],
)  # fmt: skip
def test_it_says_whether_it_was_booted(ask: Ask, built: Ledger, result: SmokeTestResult, code: int, said: str) -> None:
    built.build("base", smoke_test=result, refresh_of="20261122T000000Z-0000000")

    answer = ask(built, "verify", "base")

    assert said in answer.said
    assert answer.code == code


def test_what_its_sbom_lacks_is_said(ask: Ask, built: Ledger) -> None:
    inventory = built.lock("base").builds[0].inventory
    assert inventory is not None
    lacking = inventory.model_copy(update={"packages": None, "unread": {"packages": "the database is locked"}})

    found = tuple(judge_sbom(lacking, SbomFile("state/x", "sha256:1", lacking.digest), named=None, record_is="ours"))

    assert [one.outcome for one in found] == ["proven", "not proven"]
    assert found[1].what == "its SBOM says nothing of packages (the database is locked)"
