"""What the registry, and the names that channels are written out to, say of a recorded build."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.model.lockfile import Artifact, Build
from reconciler.model.observation import Seen
from reconciler.model.text import also_as, joined
from reconciler.model.verification import Finding, Provenance
from reconciler.plan.key import may_be_of_its_build
from reconciler.plan.proof.attested import finding
from reconciler.plan.proof.evidence import Look, Name


def judge_registry(build: Build, looks: tuple[Look, ...] | None, *, record_is: Provenance) -> Iterator[Finding]:
    """Whether the registry has a build's artifacts under its key; None where it was not asked.

    That they are there, and whose, is its own word. That they are this build is their marks', and has to be recorded.
    """
    if looks is None:
        what = "whether the registry has these artifacts under this key was not asked (--online)"
        yield finding("registry", "not proven", what, required=False)
        return
    agreeing = []
    for look in looks:
        wrong = _disagreement(look, build)
        if wrong is None:
            beside = also_as(one.format for one in look.artifact.conversions)
            agreeing.append(f"{look.artifact.id} in {look.artifact.location}{beside}")
        else:
            yield wrong
    if agreeing:
        verb = "carry" if len(agreeing) > 1 else "carries"
        kinds: tuple[Provenance, ...] = ("registry", record_is, "hearsay") if record_is == "ours" else ("hearsay",)
        yield finding("registry", "proven", f"{joined(agreeing)} {verb} this build's key", rests_on=kinds)


def judge_names(names: Iterable[Name], *, record_is: Provenance) -> Iterator[Finding]:
    """Whether whoever looks where its channel is written out finds the build. Of the build itself that says nothing.

    What a name holds is the registry's own word; that this is the build's artifact has to be recorded.
    """
    agreeing = []
    for one in names:
        if one.unreadable:
            what = f"what {one.at.text} holds could not be read: {one.unreadable}"
        elif one.holds == one.artifact.id:
            agreeing.append(one.at.text)
            continue
        else:
            what = f"{one.at.text} holds {one.holds or 'nothing'}, and not this build: `reconcile` puts it right"
        yield finding("published", "not proven", what, required=False)
    if agreeing:
        verb = "hold" if len(agreeing) > 1 else "holds"
        kinds: tuple[Provenance, ...] = ("registry", record_is) if record_is == "ours" else ("hearsay",)
        yield finding("published", "proven", f"{joined(agreeing)} {verb} this build", rests_on=kinds)


def _disagreement(look: Look, build: Build) -> Finding | None:
    where = f"{look.artifact.id} in {look.artifact.location}"
    if look.unreadable:
        return finding("registry", "not proven", f"{where} could not be read: {look.unreadable}")
    wrong = next(_contradictions(look.artifact, look.seen, build, is_own=look.is_own), None)
    return finding("registry", "wrong", f"{where} {wrong}") if wrong is not None else None


def _contradictions(artifact: Artifact, seen: Seen | None, build: Build, *, is_own: bool) -> Iterator[str]:
    """What says that an artifact is not the one that was recorded: the registry's own word first, then its marks."""
    if seen is None:
        yield "is not there any more"
        return
    if not is_own:
        yield "belongs to another account than the one that was asked"
    if not seen.complete:
        yield f"is {seen.state}, and not complete"
    for name, expected in (("key", build.key), ("build", build.id), ("commit", build.commit)):
        says = seen.own(name)
        if says != expected:
            yield f"carries reconciler:{name}={says or 'nothing'}"
    if not may_be_of_its_build(seen):
        yield f"was made at {seen.created}, before this build began"
    for one in artifact.conversions:
        if one not in seen.conversions:
            yield f"is not there as {one.format}: {one.id} is gone, or another by now"
