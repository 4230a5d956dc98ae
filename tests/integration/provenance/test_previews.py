"""Builds of a pull request, which are in no lockfile: what `verify` and `diff` say of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.git.objects import Commit, TagRequest
from reconciler.git.repository import Repository
from reconciler.model.lockfile import Build, Failure, PackerVersions
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.plan.key import short, wanted
from reconciler.state.sbom import inventory_record, render_sbom
from reconciler.words import messages
from tests.integration.provenance.conftest import Ask
from tests.integration.provenance.ledger import DEBIAN, ON_DEBIAN, US, Ledger, an_inventory, declared, git


def tag(ledger: Ledger, *tags: TagRequest) -> None:
    recorder = Repository.open(ledger.root).recorder(
        ledger.settings, now=lambda: ledger.moment, sleep=lambda _seconds: None, random=lambda: 0.5
    )
    assert recorder.record(lambda _tree: Commit((), "tag", tags)) is not None


@pytest.fixture
def preview(built: Ledger) -> Build:
    """`base` with another package, built for the branch `feature` and tagged as its preview."""
    git(built.root, "switch", "--quiet", "--create", "feature")
    head = built.commit(declared("base", ON_DEBIAN, setup="more"), "More")
    want = wanted(built.image("base"), DEBIAN)
    inventory = an_inventory({"nginx": "1.22.1-10"})
    build_id = f"{built.moment:%Y%m%dT%H%M%SZ}-{short(want.key)}"
    found = Build(
        id=build_id, key=want.key, components=dict(want.components), commit=head, source=DEBIAN,
        artifacts=(built.artifact(US),), inventory=inventory_record("base", build_id, inventory), phase="preliminary",
        smoke_test=SmokeTestResult(status="passed", tests=15, seconds=30), packer=PackerVersions(version="1.16.0"),
    )  # fmt: skip
    git(built.root, "switch", "--quiet", "main")
    tag(
        built,
        TagRequest(f"image/base/{build_id}", head, messages.build_tag("base", found)),
        TagRequest(f"sbom/base/{build_id}", "", "inside", content=render_sbom("base", build_id, inventory)),
    )
    return found


def test_a_preview_is_verified_as_far_as_its_tag_goes(ask: Ask, built: Ledger, preview: Build) -> None:
    answer = ask(built, "verify", "base", preview.id)

    assert answer.code == 1
    assert "WRONG" not in answer.out
    assert "not proven it is a preview of branch feature, not promoted" in answer.said
    assert f"its annotated tag stands on {preview.commit[:7]} and holds its record" in answer.said
    assert f"its key matches what {preview.commit[:7]} declares" in answer.said
    assert "smoke-tested: 15 passed" in answer.said
    assert "its SBOM (1 package) is the one that was recorded" in answer.said


def test_nothing_confirms_a_preview_whose_tag_nobody_signed(ask: Ask, built: Ledger, preview: Build) -> None:
    answer = ask(built, "verify", "base", preview.id, "--json")

    assert [one for one in answer.json["findings"] if one["outcome"] == "proven"] == []
    (tested,) = answer.findings("smoke-test")
    assert tested["rests_on"] == ["hearsay"]
    assert "nothing confirms it [hearsay]" in ask(built, "verify", "base", preview.id).said


def test_an_sbom_under_a_preview_that_is_another_is_wrong(ask: Ask, built: Ledger, preview: Build) -> None:
    other = render_sbom("base", preview.id, an_inventory({"nginx": "6.6.6"}))
    blob = git(built.root, "hash-object", "-w", "--stdin", stdin=other)
    git(built.root, "tag", "--force", "--annotate", "-m", "inside", f"sbom/base/{preview.id}", blob)

    assert "WRONG" in ask(built, "verify", "base", preview.id).out
    answer = ask(built, "diff", "base", preview.id)
    assert answer.code == 1
    assert "is not the one that was recorded" in answer.err


@pytest.mark.parametrize("second", [False, True])
def test_a_preview_is_compared_with_the_candidate(ask: Ask, built: Ledger, preview: Build, *, second: bool) -> None:
    asked = ("candidate", preview.id[-7:]) if second else (preview.id,)

    answer = ask(built, "diff", "base", *asked, "--json")

    assert answer.code == 0
    assert (answer.json["old"], answer.json["new"]) == (built.lock("base").builds[0].id, preview.id)
    assert answer.json["difference"]["packages"][0]["new"] == "1.22.1-10"


def test_the_tags_are_fetched_where_the_clone_has_none(ask: Ask, built: Ledger, preview: Build, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--no-tags", "--single-branch", built.root.as_uri(), "auditor")
    auditor = replace(built, root=tmp_path / "auditor")

    assert ask(auditor, "diff", "base", preview.id).code == 0


def test_a_remote_that_does_not_answer_leaves_what_the_clone_knows(ask: Ask, built: Ledger, preview: Build) -> None:
    git(built.root, "remote", "add", "origin", "file:///nowhere")
    git(built.root, "tag", "--delete", f"image/base/{preview.id}")

    answer = ask(built, "diff", "base", preview.id)

    assert answer.code == 1
    assert f"no build '{preview.id}' of base is recorded" in answer.err


def test_a_build_that_failed_is_called_so(ask: Ask, built: Ledger) -> None:
    failure = Failure(
        build="20261125T101530Z-0000001", key="sha256:1", attempts=1, at="2026-11-25T10:15:30Z",
        retry_after="2026-11-25T10:15:30Z", what="smoke test failed: no nginx",
    )  # fmt: skip
    tag(built, TagRequest(f"image/base/{failure.build}", built.head(), messages.failure_tag("base", failure)))

    for verb in ("verify", "diff"):
        answer = ask(built, verb, "base", failure.build)

        assert answer.code == 1
        assert f"{failure.build} of base failed" in answer.err
        assert "no nginx" in answer.err
