"""What `verify` says that a fact rests on: never `proven` of what another branch alone says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.provenance.conftest import Ask, Signed
from tests.integration.provenance.ledger import Ledger, git


@pytest.fixture
def clone(built: Ledger) -> Ledger:
    """A clone whose origin's default branch is `main`, on a branch `feature` of its own."""
    root = built.root.parent / "clone-of-it"
    git(built.root.parent, "clone", "--quiet", built.root.as_uri(), str(root))
    git(root, "switch", "--quiet", "--create", "feature")
    return replace(built, root=root)


def test_each_proven_fact_says_what_confirms_it(ask: Ask, signed: Signed) -> None:
    trusted = ("--allowed-signers", str(signed.signers))

    answer = ask(signed.ledger, "verify", "web", *trusted, "--json")

    proven = [one for one in answer.json["findings"] if one["outcome"] == "proven"]
    assert {one["check"]: one["rests_on"] for one in proven} == {
        "content": ["reviewed"],
        "commit": ["reviewed"],
        "record": ["ours"],
        "channel": ["ours"],
        "commit-signature": ["ours"],
        "statement": ["ours"],
        "statement-signature": ["ours"],
        "sbom": ["ours", "hearsay"],
        "tag": ["ours"],
        "source": ["ours"],
    }
    said = ask(signed.ledger, "verify", "web", *trusted).said
    assert "which is on main [reviewed]" in said
    assert "as the machine itself said [ours, hearsay]" in said


def test_what_main_has_is_proven_on_another_branch_as_well(ask: Ask, clone: Ledger) -> None:
    git(clone.root, "commit", "--quiet", "--allow-empty", "-m", "Work")

    answer = ask(clone, "verify", "web", "--json")

    assert answer.code == 0
    assert [one["rests_on"] for one in answer.findings("commit")] == [["reviewed"]]
    assert [one["rests_on"] for one in answer.findings("record")] == [["ours"]]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "declares", ["", "branch: feature", "remote: nowhere", "remote: nowhere, branch: feature", "remote: theirs"]
)
def test_state_that_a_branch_wrote_is_hearsay(ask: Ask, clone: Ledger, declares: str) -> None:
    """Given a lockfile, statement and commit as ours are, on a branch: whoever may push it may write them."""
    url = git(clone.root, "remote", "get-url", "origin")
    git(clone.root, "remote", "remove", "origin")  # without a remote it is recorded to this very branch
    clone.build("base", refresh_of="20261122T000000Z-0000000")
    if declares:  # whatever it calls itself, or its remote
        clone.commit({"desired/reconciler.yaml": f"git: {{{declares}}}\n".encode()}, "Call it so")
    git(clone.root, "remote", "add", "--fetch", "origin", url)
    git(clone.root, "remote", "set-head", "origin", "main")
    git(clone.root, "clone", "--quiet", ".", "../theirs")
    git(clone.root, "remote", "add", "--fetch", "theirs", "../theirs")
    git(clone.root, "remote", "set-head", "theirs", "feature")

    answer = ask(clone, "verify", "base", "--json")

    assert answer.code == 1
    assert [one for one in answer.findings("record") if one["outcome"] == "proven"] == []
    assert answer.findings("record")[0]["rests_on"] == ["hearsay"]
    assert not any(one["rests_on"] == ["hearsay"] for one in answer.json["findings"] if one["outcome"] == "proven")
    assert "HEAD is not on the branch that state is recorded to" in answer.err


def test_a_commit_that_nobody_trusted_signed_records_hearsay(ask: Ask, signed: Signed) -> None:
    """Given `git.sign`, and an auditor who knows nobody's key."""
    answer = ask(signed.ledger, "verify", "web", "--json")

    assert answer.code == 1
    (record,) = answer.findings("record")
    assert (record["outcome"], record["rests_on"]) == ("not proven", ["hearsay"])
    assert record["what"].endswith("nothing confirms it")
    (commit,) = answer.findings("commit")
    assert (commit["outcome"], commit["rests_on"]) == ("not proven", ["hearsay"])
    assert commit["what"].endswith("which is on main, as its record alone says; nothing confirms it")
    # The key is that of what stands on main. That this build came of it is another matter.
    assert {one["check"] for one in answer.json["findings"] if one["outcome"] == "proven"} == {"content"}
    assert all(one["rests_on"] for one in answer.json["findings"] if one["check"] not in ("smoke-test", "registry"))
