"""What `verify` must never call proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import pytest

from reconciler.model.lockfile import Artifact, Build, InventoryRecord, PackerVersions, Revoked, TakenAsFound
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.model.provenance import Origin, Statement
from reconciler.model.publish import Published
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.source import Pin
from reconciler.model.values import digest
from reconciler.model.verification import Finding, Provenance, Signature, Verification
from reconciler.plan.history import Unreadable
from reconciler.plan.proof.attested import kind_of_record
from reconciler.plan.proof.evidence import (
    Attestation,
    Content,
    Evidence,
    Look,
    Name,
    Parent,
    Pointed,
    SbomFile,
    TagRecord,
    Writing,
)
from reconciler.plan.proof.provenance import statement
from reconciler.plan.proof.verification import PreviewEvidence, judge, judge_preview
from reconciler.registries.ec2.dialect import AMI
from reconciler.state.provenance import subject_of

US, BUILD, PARENTS = "us-east-1", "20261122T101530Z-1a2b3c4", "20261122T091530Z-0a1b2c3"
UPSTREAM = AMI.pin(US, "ami-0abc", name="debian-12")
BASE = Pin(image="base", build=PARENTS, key="sha256:1", artifacts={US: "ami-0def"})


def a_build(source: Pin | None = UPSTREAM, *, keyed: bool = True, **components: str) -> Build:
    """A record that agrees with itself: its key is that of its components, and one of them is its source's."""
    own = {"files": "sha256:f", "variables": "sha256:v", **components}
    if source is not None and keyed:
        own["source"] = digest(source.identity)
    artifact = Artifact(kind="ami", builder="amazon-ebs.web", location=US, id="ami-0123")
    return Build(
        id=BUILD, key=digest(own), components=own, commit="9c0d1e2", source=source, artifacts=(artifact,),
        phase="stable", packer=PackerVersions(version="1.16.0"),
    )  # fmt: skip


def trailers(**said: str) -> Mapping[str, tuple[str, ...]]:
    return {"Image": ("web",), "Build": (BUILD,), **{name: (value,) for name, value in said.items()}}


def evidence(build: Build, **known: Any) -> Evidence:
    """All that speaks for a build, but for what is said otherwise."""
    holds = {name: value for name, value in build.components.items() if name != "source"}
    writing = Writing(
        "its record", "5e6f708", "ci <ci@example.org>", f"web: build {build.id}", trailers(Key=build.key),
        Signature("absent"), at_head=True,
    )  # fmt: skip
    found = Evidence(
        image="web", names=("web",), build=build, branch="main", direct=True, sign="", recorded=writing, first=build,
        others=(), subject=subject_of, at_built=Content("9c0d1e2", holds, at_head=True),
        at_recorded=Content("5e6f708", holds, at_head=True), commit_known=True, on_branch=True, shallow=False,
    )  # fmt: skip
    return replace(found, **known)


def judged(found: Evidence, check: str) -> tuple[Verification, Finding]:
    """The verification, and its worst finding of one kind."""
    verification = judge(found)
    worst = {"wrong": 0, "not proven": 1, "proven": 2}
    return verification, min(
        (one for one in verification.findings if one.check == check), key=lambda one: worst[one.outcome]
    )


def test_a_record_that_all_speaks_for_is_verified() -> None:
    verification = judge(evidence(a_build()))
    assert verification.verified, verification.findings


def test_a_lockfile_that_cannot_be_read_now_is_wrong_and_who_left_it_so_is_named() -> None:
    broken = Unreadable("5e6f7081" + "0" * 32, "ann <ann@example.org>", "line 3 is no JSON")
    verification, lockfile = judged(evidence(a_build(), now_unreadable=broken), "lockfile")
    assert (verification.verified, lockfile.outcome) == (False, "wrong")
    assert lockfile.what == (
        "the lockfile on main can't be read: line 3 is no JSON. "
        "5e6f708 of ann <ann@example.org> left it so; all else here is from before that"
    )


def test_what_nobody_saw_being_made_is_not_proven_to_be_made_of_anything() -> None:
    found_by_its_tags = a_build().model_copy(update={"packer": None})
    verification, content = judged(evidence(found_by_its_tags), "content")
    assert (verification.verified, content.outcome) == (False, "not proven")
    assert "only its own tags say it" in content.what
    others = verification.of("commit") + verification.of("source")
    assert [(one.outcome, one.rests_on) for one in (content, *others)] == [("not proven", ("hearsay",))] * 3


def test_a_consistent_record_on_a_commit_with_other_content_is_wrong() -> None:
    other = Content("9c0d1e2", {"files": "sha256:of something else", "variables": "sha256:v"})
    verification, content = judged(evidence(a_build(), at_built=other), "content")
    assert (verification.verified, content.outcome) == (False, "wrong")
    assert content.what == "9c0d1e2 does not hold what was built: its files give another key"


@pytest.mark.parametrize("components", [{}, {"source": digest(UPSTREAM.identity)}], ids=["none", "its source alone"])
def test_a_record_without_components_is_not_proven_by_any_commit(components: dict[str, str]) -> None:
    source = UPSTREAM if components else None
    empty = a_build().model_copy(update={"components": components, "key": digest(components), "source": source})
    holds = Content("9c0d1e2", {"files": "sha256:f"}, at_head=True)
    verification, content = judged(evidence(empty, at_built=holds, at_recorded=holds), "content")
    assert (verification.verified, content.outcome) == (False, "not proven")


@pytest.mark.parametrize(("name", "value"), [("Key", "sha256:another"), ("Build", "20261101T000000Z-0000000")])
def test_a_wrong_trailer_is_named(name: str, value: str) -> None:
    build = a_build()
    honest = evidence(build).recorded
    said = {"Key": build.key, name: value}
    verification, record = judged(
        evidence(build, recorded=replace(honest, trailers=trailers(**said))), "record"
    )  # fmt: skip
    assert (verification.verified, record.outcome) == (False, "wrong")
    assert record.what == f"5e6f708 of ci <ci@example.org> recorded it, and says Reconciler-{name}: {value}"


def test_a_build_that_nobody_looked_into_is_said_to_be_one() -> None:
    verification, sbom = judged(evidence(a_build()), "sbom")
    assert (sbom.outcome, sbom.required, verification.verified) == ("not proven", False, True)
    assert sbom.what == "what is inside was not read when it was built"


def test_a_record_is_ours_by_a_signed_statement_that_agrees_with_it_whoever_committed_it() -> None:
    # Given a record that some commit wrote since, which nobody signed.
    build = a_build()
    written = evidence(build, recorded=replace(evidence(build).recorded, at_head=False))
    said = statement(
        build, Origin(fleet="acme", image="web", repository="acme/images", branch="main"), subject=subject_of
    )
    of_another = statement(build.model_copy(update={"key": "sha256:another"}), said.origin, subject=subject_of)

    def kind(made: Statement | None, signature: Literal["good", "absent"], why: str = "") -> str:
        return kind_of_record(replace(written, attestation=Attestation("its.json", made, Signature(signature), why)))

    assert kind_of_record(written) == "hearsay"
    assert kind(said, "good") == "ours"
    assert [
        kind(said, "absent"),
        kind(of_another, "good"),
        kind(said, "good", "is odd"),
        kind(None, "good", "is odd"),
    ] == ["hearsay"] * 4


def test_of_each_proven_fact_it_says_what_it_rests_on() -> None:
    build = a_build().model_copy(update={"smoke_test": SmokeTestResult(status="passed", tests=15)})
    tag = TagRecord(f"image/web/{BUILD}", build.commit, build, Signature("absent"))
    marks = {"key": build.key, "build": BUILD, "commit": build.commit}
    seen = Seen(
        kind="ami", location=US, id="ami-0123", name="web", state="available", created="",
        tags={f"{TAG_PREFIX}{name}": value for name, value in marks.items()},
    )  # fmt: skip
    found = judge(evidence(build, tag=tag, looks=(Look(build.artifacts[0], seen, is_own=True),)))
    assert {one.check: one.rests_on for one in found.findings if one.outcome == "proven"} == {
        "content": ("reviewed",),
        "commit": ("reviewed",),
        "record": ("ours",),
        "smoke-test": ("ours", "hearsay"),
        "tag": ("ours", "hearsay"),
        "source": ("ours",),
        "registry": ("ours", "registry", "hearsay"),
    }


@pytest.mark.parametrize(
    ("at_head", "needed", "signature"),
    [(False, "", "absent"), (False, "", "untrusted"), (True, "it had to", "absent"), (True, "it had to", "untrusted")],
)
def test_a_record_that_is_hearsay_proves_nothing_that_rests_on_it(
    *, at_head: bool, needed: str, signature: Literal["absent", "untrusted"]
) -> None:
    build = a_build(BASE).model_copy(update={"smoke_test": SmokeTestResult(status="passed", tests=15)})
    honest = evidence(build)
    written = replace(honest.recorded, at_head=at_head, needed=needed, signature=Signature(signature))
    holds = replace(honest.at_built, at_head=at_head)
    found = judge(
        replace(
            honest, recorded=written, sign=needed, at_built=holds, at_recorded=holds, parent=of_base("proven"),
            pointed=Pointed("stable", written), tag=TagRecord("image/web/x", build.commit, build, Signature("absent")),
            others=(replace(written, commit="7777777"),),
        )
    )  # fmt: skip
    proven = {one.check for one in found.findings if one.outcome == "proven"}
    # desired/ at the head is reviewed, whoever signed the record: the key is that of what stands there. That the build
    # came of it is the record's word.
    assert proven == ({"content"} if at_head else set())
    assert not found.verified
    commit = next(one for one in found.findings if one.check == "commit")
    assert (commit.outcome, commit.rests_on) == ("not proven", ("hearsay",))
    assert commit.what == "built from 9c0d1e2, which is on main, as its record alone says; nothing confirms it"
    record = next(one for one in found.findings if one.check == "record")
    assert (record.outcome, record.rests_on) == ("not proven", ("hearsay",))
    assert record.what.endswith("; nothing confirms it")


def test_a_good_signature_stands_for_the_branch() -> None:
    build = a_build()
    elsewhere = replace(evidence(build).recorded, at_head=False, signature=Signature("good", by="ci", key="SHA256:1"))
    _, record = judged(evidence(build, recorded=elsewhere), "record")
    assert (record.outcome, record.rests_on) == ("proven", ("ours",))


def test_content_is_proven_by_the_place_that_is_reviewed() -> None:
    """A preview was built from a commit of its branch, which was squashed: main holds the same."""
    build = a_build()
    elsewhere = replace(evidence(build).at_built, at_head=False)
    _, content = judged(evidence(build, at_built=elsewhere), "content")
    assert (content.outcome, content.rests_on) == ("proven", ("reviewed",))
    assert content.what.endswith("what 5e6f708 declares")


def test_a_source_that_is_not_in_the_key_is_not_proven() -> None:
    _, source = judged(evidence(a_build(keyed=False)), "source")
    assert source.outcome == "not proven"
    assert judged(evidence(a_build()), "source")[1].outcome == "proven"


def of_base(outcome: str) -> Parent:
    why = Finding.model_validate({"check": "content", "outcome": outcome, "what": "its content", "required": True})
    verified = outcome == "proven"
    return Parent(Verification(image="base", build=PARENTS, verified=verified, findings=(why,)), key=BASE.key)


@pytest.mark.parametrize(
    ("parent", "outcome"),
    [
        (Parent(), "not proven"),
        (of_base("not proven"), "not proven"),
        (of_base("wrong"), "wrong"),
    ],
    ids=["nothing is recorded of it", "it is not proven", "something is wrong with it"],
)
def test_a_child_on_a_parent_that_is_not_proven_is_not_verified(parent: Parent, outcome: str) -> None:
    verification, source = judged(evidence(a_build(BASE), parent=parent), "source")
    assert (verification.verified, source.outcome, source.required) == (False, outcome, True)
    assert judge(evidence(a_build(BASE), parent=of_base("proven"))).verified


def test_that_a_name_holds_what_only_a_branch_calls_the_build_is_not_proven() -> None:
    """Whoever may push it writes there what the name holds as the build's artifact."""
    build = a_build()
    at = Published(ssm="/images/web/stable", location=US)
    found = evidence(build, published=(Name(at, build.artifacts[0], "ami-0123"),))
    there = judged(found, "published")[1]
    assert (there.outcome, there.rests_on) == ("proven", ("ours", "registry"))

    of_a_branch = replace(found, recorded=replace(found.recorded, at_head=False))

    assert judged(of_a_branch, "published")[1].outcome == "not proven"


@pytest.mark.parametrize("record_is", ["ours", "hearsay"])
def test_what_is_not_proven_says_as_well_what_says_so(record_is: Provenance) -> None:
    """Given a record of which much is not in this clone, and a stranger's signature."""
    build = a_build(BASE)
    honest = evidence(build)
    stranger = Signature("untrusted", key="SHA256:1", why="nobody trusts it")
    written = replace(honest.recorded, at_head=record_is == "ours", signature=stranger, trailers={})
    nowhere = Content("9c0d1e2", None)
    found = judge(
        replace(
            honest, direct=False, recorded=written, at_built=nowhere, at_recorded=nowhere, commit_known=False,
            on_branch=False, pointed=Pointed("stable", written),
        )
    )  # fmt: skip
    not_proven = {one.check: one.rests_on for one in found.findings if one.outcome == "not proven"}
    assert not_proven == {
        **dict.fromkeys(("content", "commit", "record", "channel", "source"), (record_is,)),
        "commit-signature": ("hearsay",),
        # Of these nothing says anything.
        **dict.fromkeys(("statement", "smoke-test", "sbom", "tag", "registry"), ()),
    }


@pytest.mark.parametrize("keyed", [True, False])
def test_a_source_from_outside_is_what_the_record_says_that_it_is(*, keyed: bool) -> None:
    assert judged(evidence(a_build(keyed=keyed)), "source")[1].rests_on == ("ours",)


def test_of_what_was_taken_as_it_was_nothing_says_what_it_is_made_of() -> None:
    taken = a_build().model_copy(update={"packer": None, "adopted": TakenAsFound(at="2026-11-22T10:15:30Z")})
    found = judge(evidence(taken))
    kinds = {one.rests_on for check in ("content", "commit", "source") for one in found.of(check)}
    assert kinds == {()}


@pytest.mark.parametrize(
    ("update", "told"),
    [
        (
            {"phase": "revoked", "revoked": Revoked(at="2026-11-24T10:00:00Z", reason="CVE-1", phase="stable")},
            "that it may be used: it was revoked on 2026-11-24: CVE-1",
        ),
        (
            {
                "phase": "revoked",
                "revoked": Revoked(at="2026-11-24T10:00:00Z", reason="CVE-1", by=f"base {PARENTS}", phase="stable"),
            },
            f"revoked on 2026-11-24 with base {PARENTS}, which it is built on: CVE-1",
        ),
        ({"phase": "rejected"}, "that it may be used: it was rejected"),
    ],
    ids=["revoked", "revoked with its parent", "rejected"],
)
def test_that_nobody_is_to_use_it_is_said_and_what_it_is_stays_as_true(update: dict[str, Any], told: str) -> None:
    good = a_build()
    verification, finding = judged(evidence(good.model_copy(update=update)), "standing")

    assert (finding.outcome, told in finding.what, finding.required) == ("not proven", True, False)
    assert verification.verified == judge(evidence(good)).verified
    assert judge(evidence(good)).of("standing") == ()


def with_sbom(build: Build) -> tuple[Build, SbomFile]:
    record = InventoryRecord(os="Debian", kernel="6.1", sbom="sbom/web/x.cdx.json", digest="sha256:i")
    return build.model_copy(update={"inventory": record}), SbomFile("state/sbom/web/x.cdx.json", "sha256:b", "sha256:i")


def test_an_sbom_without_a_statement_is_proven_by_its_record() -> None:
    build, sbom = with_sbom(a_build())
    assert judged(evidence(build, sbom=sbom), "sbom")[1].outcome == "proven"
    other = replace(sbom, inventory="sha256:another")
    assert judged(evidence(build, sbom=other), "sbom")[1].outcome == "wrong"


def test_a_preview_is_tested_as_its_record_alone_says() -> None:
    build = a_build().model_copy(update={"smoke_test": SmokeTestResult(status="passed", tests=15)})
    preview = PreviewEvidence(
        image="web", build=build, whose="a preview of branch feature", tag="image/web/x", target=build.commit,
        signature=Signature("absent"), needed="", at_built=evidence(build).at_built, sbom=None, parent=Parent(),
        built_where_source_is=True, looks=None,
    )  # fmt: skip
    found = judge_preview(preview)
    (test,) = found.of("smoke-test")
    assert not found.verified
    assert ", by its record, " in test.what


@pytest.mark.parametrize(("state", "outcome"), [("good", "not proven"), ("untrusted", "wrong")])
def test_only_a_trusted_signature_says_that_commits_are_signed_in_another_form(
    state: Literal["good", "untrusted"], outcome: str
) -> None:
    build = a_build()
    signed = replace(evidence(build).recorded, signature=Signature(state, form="openpgp", by="ci"))
    said = statement(build, Origin(fleet="acme", image="web", repository=None, branch="main"), subject=subject_of)
    attested = Attestation("its.json", said, Signature("absent"))
    asked = "though git.sign was set"

    found = judge(evidence(build, recorded=signed, others=(signed,), attestation=attested, sign=asked))

    (told,) = found.of("statement-signature")
    assert (told.outcome, told.required) == (outcome, outcome == "wrong")


def test_a_statement_that_names_an_sbom_by_its_digest_agrees_and_three_differences_are_named() -> None:
    build, sbom = with_sbom(a_build())
    origin = Origin(fleet="acme", image="web", repository="acme/images", branch="main")
    said = statement(build, origin, subject=subject_of, sbom_digest=sbom.sha256)

    def agrees(recorded: Build) -> Finding:
        attested = Attestation("its.json", said, Signature("absent"))
        return judged(evidence(recorded, sbom=sbom, attestation=attested), "statement")[1]

    assert agrees(build).outcome == "proven"
    other = build.model_copy(
        update={"commit": "1" * 40, "started": "2026-11-22T10:15:30Z", "seconds": 7, "packer": None}
    )
    found = agrees(other)
    assert found.outcome == "wrong"
    named, _, more = found.what.partition(" (and ")
    assert named.count(",") + named.count(" and ") == 3, found.what
    assert more.endswith(" more)")


def test_an_sbom_that_is_not_there_or_can_not_be_read_is_wrong() -> None:
    build, sbom = with_sbom(a_build())
    for found, why in ((None, "is not there"), (replace(sbom, inventory=None, why="can't be read"), "can't be read")):
        verification, told = judged(evidence(build, sbom=found), "sbom")
        assert (told.outcome, verification.verified) == ("wrong", False)
        assert told.what == f"the SBOM state/sbom/web/x.cdx.json {why}"
