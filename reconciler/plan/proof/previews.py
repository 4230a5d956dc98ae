"""Judge what a pull request built: its tag is all there is, and nobody promoted it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.model.lockfile import Build
from reconciler.model.verification import Finding, Signature, Verification
from reconciler.plan.proof.attested import judge_sbom, judge_smoke_test
from reconciler.plan.proof.evidence import Content, Look, Parent, SbomFile
from reconciler.plan.proof.findings import finding, judge_signature
from reconciler.plan.proof.verification import judge_content, judge_registry, judge_source, verdict
from reconciler.plan.trust import of_ref


@dataclass(frozen=True)
class PreviewEvidence:
    """A preview, and all that a clone knows of it."""

    image: str
    build: Build
    branch: str
    """Where it would be recorded."""
    whose: str
    """It as a sentence calls it: `a preview of branch feature`."""
    tag: str
    target: str
    """The commit that the tag stands on."""
    signature: Signature
    needed: str
    """Why its tag has to be signed, as half a sentence; empty where it has not."""
    at_built: Content
    sbom: SbomFile | None
    parent: Parent
    looks: tuple[Look, ...] | None = None


def judge_preview(evidence: PreviewEvidence) -> Verification:
    """Every finding about a preview. It is never verified: a record on the branch is what verifies a build."""
    return verdict(evidence.image, evidence.build.id, _findings(evidence), parent=evidence.parent.found)


def _findings(evidence: PreviewEvidence) -> Iterator[Finding]:
    build = evidence.build
    record_is = of_ref(signed=evidence.signature.state == "good", sign=True)
    yield from judge_content(build, evidence.at_built)
    yield finding("record", "not proven", f"it is {evidence.whose}, not recorded on {evidence.branch}: not promoted")
    if build.commit != evidence.target:
        # Another branch with the same content may have built it, from a commit that the tagger's clone had not.
        what = f"the tag {evidence.tag} stands on {evidence.target[:7]}, and says that {build.commit[:7]} was built"
        yield finding("tag", "not proven", what, required=False)
    else:
        what = f"its annotated tag stands on {build.commit[:7]} and holds its record"
        yield finding("tag", "proven", what, rests_on=(record_is,))
    yield judge_signature("tag-signature", evidence.signature, f"the tag {evidence.tag}", needed=evidence.needed)
    yield judge_smoke_test(build, attested=False, record_is=record_is)
    yield from judge_sbom(build.inventory, evidence.sbom, named=None, record_is=record_is)
    yield from judge_source(build, evidence.parent, record_is=record_is)
    yield from judge_registry(build, evidence.looks, record_is=record_is)
