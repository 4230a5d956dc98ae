"""Adopt: the record of a build that is in the registry and not yet in state/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from reconciler.model import events
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Phase, TakenAsFound
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision
from reconciler.model.source import Pin
from reconciler.plan.messages import tag_name
from reconciler.plan.reasons import as_done
from reconciler.plan.transitions import first_phase
from reconciler.plan.trust import certain
from reconciler.state.unsaved import is_committed, read_unsaved
from reconciler.steps.proof.previewed import built
from reconciler.steps.run import Run


def adopted_build(
    run: Run, image: Image, decision: Decision, *, phase: Phase | None = None
) -> tuple[Build, Decision]:  # fmt: skip
    """The build to record for the artifacts that are adopted, and the decision with those that are.

    The annotated tag holds the whole record. Without it the artifact's own tags and the key that it was found by say
    what it is; how long it took and which Packer made it stays unknown, and is said. A record that names none of the
    artifacts is of another, whose marks somebody gave to these. Of several those are adopted that are copies of one.
    """
    wanted = decision.wanted
    if wanted is None or not decision.adopt:
        raise ValueError(f"{image.name} has nothing to adopt")
    build_id = decision.adopt[0].own("build") or ""
    tagged = _tagged(run, image.name, build_id, key=wanted.key)
    unsaved = read_unsaved(run.repository.root, image.name) if not is_committed(run.known.tree, image.name) else None
    kept = unsaved if unsaved is not None and (unsaved.id, unsaved.key) == (build_id, wanted.key) else None
    # The lockfile first: a build that comes back by a revert has its verdict there, and none in its tag.
    recorded = decision.lock.build(build_id)
    records = (recorded if recorded is not None and recorded.key == wanted.key else None, tagged, kept)
    known, adopted = _told(records, decision.adopt, image)
    first = adopted[0]
    builder = known.artifacts[0].builder if known is not None else image.template.makers[0].name
    if known is None:
        name = tag_name(image.name, build_id)
        what = f"{build_id} has no {_kind(run)} {name}: its duration and its Packer are not known"
        run.listener(events.Warned(image=image.name, what=what))
        known = Build(
            id=build_id, key=wanted.key, components=dict(wanted.components), artifacts=(),
            commit=first.commit or run.known.head, phase="preliminary",
        )  # fmt: skip
    build = known.model_copy(
        update={
            # Its key is the wanted one, so what it is made of is known; a tag that somebody wrote may say otherwise.
            "components": dict(wanted.components),
            "files": {file.path: f"{file.mode} {file.oid}" for file in image.inputs},
            "reasons": as_done(decision.planned.reasons, wanted.pin),
            "source": _built_on(known.source, wanted.pin),
            "artifacts": tuple(seen.as_artifact(builder) for seen in adopted),
            "phase": phase or first_phase(image, known.verdict),
            "adopted": known.adopted or _taken_as_found(first),
        }
    )
    return build, replace(decision, adopt=adopted)


def _told(
    records: Iterable[Build | None], found: Sequence[Seen], image: Image
) -> tuple[Build | None, tuple[Seen, ...]]:  # fmt: skip
    """The first record that is of one of the artifacts, and those that are the build's for certain.

    Without a record that is the one that will be tested, with its copies.
    """
    for record in records:
        sure = certain(found, ((one.location, one.id) for one in record.artifacts)) if record is not None else ()
        if sure:
            return record, sure
    tested = next((one for one in found if one.location == image.build_region), found[0])
    return None, certain(found, [tested.place])


def _taken_as_found(seen: Seen) -> TakenAsFound | None:
    """That a person once took the artifact as it was, by its tag: then its key says nothing of what it is made of."""
    at = seen.own("adopted")
    if at is None:
        return None
    try:
        return TakenAsFound(at=at, made=seen.created or None)
    except ValueError:  # whoever may tag AMIs writes what they like there
        return TakenAsFound(at=seen.created)


def _built_on(recorded: Pin | None, wanted: Pin | None) -> Pin | None:
    """The pin as the build's own record has it, which tells more of the same source than the artifact's tags do."""
    if recorded is not None and wanted is not None and recorded.identity == wanted.identity:
        return recorded
    return wanted or recorded


def _kind(run: Run) -> str:
    return "tag under a good signature" if run.signs else "tag"


def _tagged(run: Run, image: str, build_id: str, *, key: str) -> Build | None:
    name = tag_name(image, build_id)
    message = run.repository.annotated_tag(name, signed=run.signs)
    build = built(message, name) if message else None
    if build is None or build.id != build_id:
        return None  # a failed build's tag, or one that a person wrote: the artifact's tags tell what can be told
    # Whoever may push tags writes what they like there. A verdict comes from the lockfile or the artifacts' tags, and
    # the paths of files in state/ are for us to give.
    ours = dict.fromkeys(("verdict", "recorded", "verified", "provenance"))
    return build.model_copy(update=ours) if build.key == key else None
