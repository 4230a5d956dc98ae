"""What `verify` must never call proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from reconciler.model.lockfile import Artifact, Build, PackerVersions
from reconciler.model.source import AmiPin, Pin
from reconciler.model.values import digest
from reconciler.model.verification import Finding, Signature, Verification
from reconciler.plan.proof.evidence import Content, Evidence, Parent, Writing
from reconciler.plan.proof.verification import judge

US, BUILD, PARENTS = "us-east-1", "20261122T101530Z-1a2b3c4", "20261122T091530Z-0a1b2c3"
UPSTREAM = Pin(ami=AmiPin(region=US, id="ami-0abc", name="debian-12"))
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
        Signature("absent"),
    )  # fmt: skip
    found = Evidence(
        image="web", names=("web",), build=build, branch="main", direct=True, sign="", recorded=writing, first=build,
        others=(), at_built=Content("9c0d1e2", holds), at_recorded=Content("5e6f708", holds), commit_known=True,
        on_branch=True, shallow=False,
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


def test_what_nobody_saw_being_made_is_not_proven_to_be_made_of_anything() -> None:
    found_by_its_tags = a_build().model_copy(update={"packer": None})
    verification, content = judged(evidence(found_by_its_tags), "content")
    assert (verification.verified, content.outcome) == (False, "not proven")
    assert "only its own tags say it" in content.what
    assert [one.outcome for one in verification.of("commit") + verification.of("source")] == ["not proven"] * 2


def test_a_consistent_record_on_a_commit_with_other_content_is_wrong() -> None:
    other = Content("9c0d1e2", {"files": "sha256:of something else", "variables": "sha256:v"})
    verification, content = judged(evidence(a_build(), at_built=other), "content")
    assert (verification.verified, content.outcome) == (False, "wrong")
    assert content.what == "9c0d1e2 does not hold what was built: its files give another key"


@pytest.mark.parametrize("components", [{}, {"source": digest(UPSTREAM.identity)}], ids=["none", "its source alone"])
def test_a_record_without_components_is_not_proven_by_any_commit(components: dict[str, str]) -> None:
    source = UPSTREAM if components else None
    empty = a_build().model_copy(update={"components": components, "key": digest(components), "source": source})
    holds = Content("9c0d1e2", {"files": "sha256:f"})
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
