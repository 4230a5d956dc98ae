"""Judge a build, or a preview, by what a clone holds about it: proven, not proven, or contradicted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.model.lockfile import Build
from reconciler.model.text import joined, visible
from reconciler.model.values import digest
from reconciler.model.verification import Check, Finding, Provenance, Signature, Verification
from reconciler.plan.key import REFRESH_OF, SOURCE
from reconciler.plan.proof.attested import (
    check_sbom,
    check_smoke_test,
    check_statement,
    check_tag,
    finding,
    judge_sbom,
    judge_signature,
    judge_smoke_test,
    kind_of_record,
)
from reconciler.plan.proof.evidence import Content, Evidence, Look, Parent, SbomFile, Writing
from reconciler.plan.proof.registry import judge_names, judge_registry
from reconciler.plan.trust import confirms, of_tag

# A build that is recorded.


def judge(evidence: Evidence) -> Verification:
    """Every finding about a build, the most telling first."""
    record_is = kind_of_record(evidence)
    findings = (
        *_lockfile(evidence),
        *_standing(evidence.build, record_is),
        *judge_content(evidence.build, evidence.at_built, evidence.at_recorded, record_is=record_is),
        *_commit(evidence, record_is),
        *_record(evidence),
        *_channel(evidence),
        *_changes(evidence),
        *_signatures(evidence),
        *check_statement(evidence),
        *check_smoke_test(evidence),
        *check_sbom(evidence),
        *check_tag(evidence),
        *judge_source(
            evidence.build,
            evidence.parent,
            first=evidence.first,
            record_is=record_is,
            where_it_is=evidence.built_where_source_is,
        ),
        *judge_registry(evidence.build, evidence.looks, record_is=record_is),
        *judge_names(evidence.published, record_is=record_is),
    )
    return verdict(evidence.image, evidence.build.id, findings, parent=evidence.parent.found)


def verdict(
    image: str, build_id: str, findings: Iterable[Finding], *, parent: Verification | None = None
) -> Verification:
    """What the findings about a build come to."""
    clean = tuple(one.model_copy(update={"what": visible(one.what)}) for one in findings)
    return Verification(
        image=image,
        build=build_id,
        verified=not any(one.outcome == "wrong" or (one.required and one.outcome != "proven") for one in clean),
        findings=clean,
        source=parent,
    )


def _lockfile(evidence: Evidence) -> Iterator[Finding]:
    """Whether what is recorded now can be read. Where it can, the other findings are about it."""
    broken = evidence.now_unreadable
    if broken is not None:
        by = f"{broken.commit[:7]} of {broken.author} left it so; all else here is from before that"
        what = f"the lockfile on {evidence.branch} can't be read: {broken.why}. {by}"
        yield finding("lockfile", "wrong", what)


def _standing(build: Build, record_is: Provenance) -> Iterator[Finding]:
    """That nobody is to use it. What it is, and where it came from, is as true as before."""
    if build.revoked is not None:
        inherited = f" with {build.revoked.by}, which it is built on" if build.revoked.by else ""
        what = f"that it may be used: it was revoked on {build.revoked.at[:10]}{inherited}: {build.revoked.reason}"
        yield finding("standing", "not proven", what, required=False, rests_on=(record_is,))
    elif build.phase == "rejected":
        what = "that it may be used: it was rejected"
        yield finding("standing", "not proven", what, required=False, rests_on=(record_is,))


def judge_content(build: Build, *places: Content, record_is: Provenance) -> Iterator[Finding]:
    """Whether the key is that of what a commit holds: the first of the places is the commit that was built.

    `record_is` says what the key rests on, as that is recorded.
    """
    at_built = places[0]
    if digest(build.components) != build.key:
        yield finding("content", "wrong", "its key is not that of the components that are recorded beside it")
        return
    if build.adopted is not None:
        what = f"what it was built from: it was taken as it was on {build.adopted.at[:10]} (`reconciler adopt`)"
        yield finding("content", "not proven", what)
        return
    if not build.was_watched:
        what = "what it was built from: it was found in the registry without a record, and only its own tags say it"
        yield finding("content", "not proven", what, rests_on=("hearsay",))
        return
    if build.source is not None and build.components.get(SOURCE) not in (None, digest(build.source.identity)):
        yield finding("content", "wrong", f"its key is that of a build on another source than {build.source}")
        return
    differs = _differing(at_built, build)
    if differs:
        what = f"{build.commit[:7]} does not hold what was built: its {joined(differs)} give another key"
        yield finding("content", "wrong", what)
        return
    alike = [one for one in places if _is_same(one, build)]
    same = next((one for one in alike if one.kind == "reviewed"), next(iter(alike), None))
    if same is None:
        why = at_built.why or f"{build.commit[:7]} is not in this clone"
        what = f"whether its key is that of what was committed: {why}"
        yield finding("content", "not proven", what, rests_on=(record_is,))
        return
    known = sorted(set(same.components or ()) & set(build.components))
    whole = set(known) >= set(build.components) - {SOURCE}
    of_it = "its key matches" if whole else f"of its key, {joined(known)} match"
    what = f"{of_it} what {same.commit[:7]} declares"
    yield finding("content", "proven", what, rests_on=(same.kind,))


def _commit(evidence: Evidence, record_is: Provenance) -> Iterator[Finding]:
    """Whether it was built from what is on the branch.

    What is there was reviewed. That the build came of it says the record alone, which has to be better than hearsay.
    """
    build, branch = evidence.build, evidence.branch
    short = build.commit[:7]
    if build.adopted is not None:
        what = f"from which commit it was built: it stands for what {short} asks for"
        yield finding("commit", "not proven", what, required=False)
        return
    if not build.was_watched:
        what = f"whether it was built from {short}, as its own tags say"
        yield finding("commit", "not proven", what, required=False, rests_on=("hearsay",))
        return
    is_recorded = confirms((record_is,))
    who = "" if is_recorded else ", as its record alone says"
    on_branch = _is_same(evidence.at_recorded, build)
    held = f"what it held is on {branch} as of {evidence.recorded.short}"
    at_built, at_recorded = (
        (one.kind if is_recorded else record_is,) for one in (evidence.at_built, evidence.at_recorded)
    )
    if evidence.on_branch:
        yield finding("commit", "proven", f"built from {short}, which is on {branch}{who}", rests_on=at_built)
    elif evidence.commit_known and on_branch:
        what = f"built from {short}; it is not on {branch} itself, and {held}{who}"
        yield finding("commit", "proven", what, rests_on=at_recorded)
    elif on_branch:
        what = f"built from {short}, which is not in this clone; {held}{who}"
        yield finding("commit", "not proven", what, required=False, rests_on=at_recorded)
    elif evidence.commit_known:
        yield finding("commit", "not proven", f"built from {short}, which is not on {branch}", rests_on=("hearsay",))
    else:
        hint = " (`git fetch --unshallow` brings the history)" if evidence.shallow else " (`git fetch --tags` may help)"
        what = f"{short}, from which it was built, is not in this clone{hint}"
        yield finding("commit", "not proven", what, rests_on=(record_is,))


def _record(evidence: Evidence) -> Iterator[Finding]:
    """Whether the commit that recorded it is one of ours, and speaks of this build."""
    writing, build = evidence.recorded, evidence.build
    if writing.cut_off:
        what = f"who recorded it: this clone begins with {writing.short} (`git fetch --unshallow` brings the rest)"
        yield finding("record", "not proven", what)
        return
    by = f"{writing.short} of {writing.author}"
    stranger = _stranger(writing, evidence)
    if stranger is not None:
        yield stranger
        return
    says = writing.trailers
    for name, value in (("Build", build.id), ("Key", build.key)):
        if says.get(name) and value not in says[name]:
            what = f"{by} recorded it, and says Reconciler-{name}: {says[name][0]}"
            yield finding("record", "wrong", what)
            return
    yield finding("record", "proven", f"recorded by {by}, whose trailers agree", rests_on=(writing.kind,))


def _channel(evidence: Evidence) -> Iterator[Finding]:
    """Whether the channel by which it was asked for points to it by our doing, or by that of somebody who signed."""
    if evidence.pointed is None:
        return
    channel, writing = evidence.pointed.channel, evidence.pointed.writing
    if writing.cut_off:
        what = f"who pointed {channel} to it: this clone begins with {writing.short} (`git fetch --unshallow` helps)"
        yield finding("channel", "not proven", what)
        return
    told = f"{channel} was pointed to it by {writing.short} of {writing.author}"
    ours = bool(set(writing.trailers.get("Image", ())) & set(evidence.names))
    signed = writing.signature.state == "good"
    if signed and not ours:
        what = f"{told} (“{writing.subject}”), by hand, and signed"
        yield finding("channel", "proven", what, rests_on=(writing.kind,))
    elif not ours:
        what = f"{told} (“{writing.subject}”), which is not a commit of the reconciler"
        yield finding("channel", "not proven", what, required=evidence.direct, rests_on=(writing.kind,))
    elif writing.needed and not signed:
        what = f"{told}, which is not signed by a key that is trusted"
        yield finding("channel", "not proven", what, rests_on=(writing.kind,))
    else:
        yield finding("channel", "proven", told, rests_on=(writing.kind,))


def _changes(evidence: Evidence) -> Iterator[Finding]:
    """Whether what was written after that, or beside it, was written by us."""
    later = [one for one in evidence.others if one.commit != evidence.recorded.commit and not one.cut_off]
    strangers = [found for one in later if (found := _stranger(one, evidence, check="change")) is not None]
    if strangers:
        yield from strangers
    elif later:
        commits = list(dict.fromkeys(one.short for one in later))
        what = f"last changed by the reconciler in {joined(commits)}"
        kind: Provenance = "ours" if all(one.kind == "ours" for one in later) else "hearsay"
        yield finding("change", "proven", what, required=evidence.direct, rests_on=(kind,))


def _stranger(writing: Writing, evidence: Evidence, *, check: Check = "record") -> Finding | None:
    """What there is to say of a commit that does not name this image in our trailers."""
    named = writing.trailers.get("Image", ())
    if set(named) & set(evidence.names):
        return None
    by = f"{writing.what} was written by {writing.short} of {writing.author} (“{writing.subject}”)"
    if named:
        return finding(check, "wrong", f"{by}, which says that it is about {joined(sorted(named))}")
    if evidence.direct:
        return finding(check, "wrong", f"{by}, which is not a commit of the reconciler")
    # A squash or a person's merge leaves out what our commit said.
    return finding(check, "not proven", f"{by}, which names no image", required=False, rests_on=(writing.kind,))


def _signatures(evidence: Evidence) -> Iterator[Finding]:
    pointed = [evidence.pointed.writing] if evidence.pointed is not None else []
    commits = {one.commit: one for one in (evidence.recorded, *pointed, *evidence.others) if not one.cut_off}
    for one in commits.values():
        yield judge_signature("commit-signature", one.signature, f"the commit {one.short}", needed=one.needed)


def judge_source(
    build: Build, parent: Parent, *, record_is: Provenance, first: Build | None = None, where_it_is: bool = True
) -> Iterator[Finding]:
    """What is known of what a build stands on: an image from outside, or a parent's build and its recorded key.

    `record_is` says what the pin rests on, as that is recorded. `first` is the record as it was first written, with the
    artifact that Packer left; the same as now if absent. `where_it_is`: its kind is built on what is there alone.
    """
    pin = build.source
    upstream = pin.upstream if pin is not None else None
    left = (first or build).artifacts if pin is not None and (upstream is not None or pin.artifacts) else ()
    if not build.was_watched:
        against = f"; {pin} is what it is measured against" if pin is not None else ""
        # Of what was taken as it was nobody says it; of what was found without a record its own tags do.
        kinds: tuple[Provenance, ...] = ("hearsay",) if pin is not None and build.adopted is None else ()
        yield finding("source", "not proven", f"on what it was built{against}", required=False, rests_on=kinds)
    elif pin is None:
        yield finding("source", "not proven", "on a source that nobody pinned: its template chose", required=False)
    elif where_it_is and left and all(pin.artifact_in(artifact.location) is None for artifact in left):
        where = joined(sorted({artifact.location for artifact in left}))
        what = (
            f"on {pin}: it was recorded in {where} alone, where that source is not, and it is built where its source is"
        )
        yield finding("source", "not proven", what, required=upstream is None, rests_on=(record_is,))
    elif upstream is not None:
        keyed = SOURCE in build.components
        what = f"on {pin} ({upstream.id} in {upstream.location}), an image from outside of this repository"
        yield finding("source", "proven" if keyed else "not proven", what, required=False, rests_on=(record_is,))
    elif parent.unreadable:
        yield finding("source", "wrong", f"on {pin}, of which nothing can be read: {parent.unreadable}")
    elif parent.key is not None and parent.key != pin.key:
        yield finding("source", "wrong", f"on {pin}, whose recorded key is another than that of this build's source")
    elif parent.found is None:
        yield finding("source", "not proven", f"on {pin}, of which nothing is recorded here", rests_on=(record_is,))
    elif parent.found.verified:
        yield finding("source", "proven", f"on {pin}, which is itself verified", rests_on=(record_is,))
    elif any(one.outcome == "wrong" for one in parent.found.findings):
        yield finding("source", "wrong", f"on {pin}, about which something is wrong: see below")
    else:
        what = f"on {pin}, which is itself not proven: see below"
        yield finding("source", "not proven", what, rests_on=(record_is,))


def _differing(content: Content, build: Build) -> tuple[str, ...]:
    """The components of the key that a commit gives otherwise than was recorded."""
    found = content.components or {}
    both = (found.keys() & build.components.keys()) - {SOURCE, REFRESH_OF}
    return tuple(sorted(name for name in both if found[name] != build.components[name]))


def _is_same(content: Content, build: Build) -> bool:
    """Whether a commit holds what was built: all components but the source, which no commit of desired/ decides.

    A build of before some component was thought of has fewer than we know.
    """
    found = content.components or {}
    asked = build.components.keys() - {SOURCE, REFRESH_OF}
    return bool(asked) and asked <= found.keys() and not _differing(content, build)


# A preview: its tag is all there is, and nobody promoted it.


@dataclass(frozen=True)
class PreviewEvidence:
    """A preview, and all that a clone knows of it."""

    image: str
    build: Build
    whose: str
    """How messages refer to it: `a preview of branch feature`."""
    tag: str
    target: str
    """The commit that the tag stands on."""
    signature: Signature
    needed: str
    """Why its tag has to be signed, as half a sentence; empty where it has not."""
    at_built: Content
    sbom: SbomFile | None
    parent: Parent
    built_where_source_is: bool = True
    """Whether what is of its kind is built on a source where that is alone."""
    looks: tuple[Look, ...] | None = None


def judge_preview(evidence: PreviewEvidence) -> Verification:
    """Every finding about a preview. It is never verified: a record on the branch is what verifies a build."""
    return verdict(evidence.image, evidence.build.id, _findings(evidence), parent=evidence.parent.found)


def _findings(evidence: PreviewEvidence) -> Iterator[Finding]:
    build = evidence.build
    record_is = of_tag(evidence.signature)
    yield from judge_content(build, evidence.at_built, record_is=record_is)
    yield finding("record", "not proven", f"it is {evidence.whose}, not promoted", rests_on=(record_is,))
    if build.commit != evidence.target:
        # Another branch with the same content may have built it, from a commit that the tagger's clone had not.
        what = f"the tag {evidence.tag} stands on {evidence.target[:7]}, and says that {build.commit[:7]} was built"
        yield finding("tag", "not proven", what, required=False, rests_on=(record_is,))
    else:
        what = f"its annotated tag stands on {build.commit[:7]} and holds its record"
        yield finding("tag", "proven", what, rests_on=(record_is,))
    yield judge_signature("tag-signature", evidence.signature, f"the tag {evidence.tag}", needed=evidence.needed)
    yield judge_smoke_test(build, attested=False, record_is=record_is)
    yield from judge_sbom(build.inventory, evidence.sbom, named=None, record_is=record_is)
    where_it_is = evidence.built_where_source_is
    yield from judge_source(build, evidence.parent, record_is=record_is, where_it_is=where_it_is)
    yield from judge_registry(build, evidence.looks, record_is=record_is)
