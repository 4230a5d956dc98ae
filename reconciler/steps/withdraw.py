"""Record the revocation of builds that no lockfile names any more, and that are there: what follows, the plan tells.

Marks say that there are such, which makes a run look; that they are ours, and what they are, their records of before
say, and their annotated tags, as `gc` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.git.repository import Repository
from reconciler.model.lockfile import Build, Reason
from reconciler.model.plan import Ruling
from reconciler.model.values import format_instant
from reconciler.plan.planning import FleetPlan, Known, lock_of
from reconciler.plan.revocations import BuildOf, Causes, reached, revocations, weigh
from reconciler.plan.roots import Survey
from reconciler.plan.transitions import with_unnamed
from reconciler.plan.trust import certain
from reconciler.steps.consumers import usage_of_revoked
from reconciler.steps.ours import records_of
from reconciler.steps.record_files import files_at
from reconciler.steps.record_rulings import record_ruling
from reconciler.steps.run import Run
from reconciler.steps.survey import past_builds


def _is_overlooked(known: Known, planned: FleetPlan) -> bool:
    """Whether marks say that something is there that is revoked, and that no lockfile names: it has to be looked for.

    Not of an image about which nothing is done. Costs nothing but that look at what was listed.
    """
    if not any(image.declaration.revoke for image in known.fleet.images.values()):
        return False
    acting = {one.name for one in planned.decisions if one.image is not None and not one.planned.errors}
    return any(name in acting and not known.doubts.get(name) for name, _ in _marked(known))


def withdraw(run: Run, planned: FleetPlan) -> bool:
    """Record as revoked what is so, and is in use by nobody, or declared so all the same; whether anything was.

    Costs a walk through the branch's history of state/, and the questions of who uses what is found. Nothing is
    recorded of what is only proposed: `gc` brings that into a lockfile.
    """
    known = run.known
    if run.proposes or not _is_overlooked(known, planned):
        return False
    run.repository.check_recording(known.fleet.settings.git, now=known.now)
    past = _found(known, run.repository, revision=run.target.head)
    found = _with_entries(known, {key: build for key, (build, _) in past.items()})
    causes = revocations(found.fleet.images, found.locks, found.forgotten)
    usage = usage_of_revoked(found, run.registry, asks=True)
    if usage is not None:
        causes = weigh(causes, usage, images=found.fleet.images, locks=found.locks).causes
    names = sorted({name for name, _ in _marked(known)})
    commits = {key: commit for key, (_, commit) in past.items()}
    return any({name: _record(run, name, found, causes, commits=commits) for name in names}.values())


def _marked(known: Known) -> frozenset[BuildOf]:
    causes = revocations(known.fleet.images, known.locks, known.forgotten)
    return reached(causes, known.observation.artifacts, images=known.fleet.images, locks=known.locks)


def _found(known: Known, repository: Repository, *, revision: str) -> Mapping[BuildOf, tuple[Build, str]]:
    """The builds that marks name, as they were last recorded, where their tags say the same; with all that is there.

    Each with the commit that recorded it.
    """
    marked = _marked(known)
    names = {name: image.name for image in known.fleet.images.values() for name in image.names}
    seen = {
        one.place: one
        for one in known.observation.artifacts
        if (names.get(one.own("image") or "", ""), one.own("build") or "") in marked
    }
    records = records_of(repository, known)
    told = past_builds(Survey(known, (), seen), repository, records, revision=revision)
    found: dict[BuildOf, tuple[Build, str]] = {}
    for key, (build, commit) in told.items():
        family = [one for one in seen.values() if one.own("build") == key[1]]
        places = {(one.location, one.id) for one in build.artifacts}
        more = [one for one in certain(family, places) if one.place not in places]
        artifacts = (*build.artifacts, *(one.as_artifact(build.artifacts[0].builder) for one in more))
        in_order = tuple(sorted(artifacts, key=lambda one: (one.location, one.id)))
        found[key] = build.model_copy(update={"artifacts": in_order, "files": None}), commit
    return found


def _with_entries(known: Known, found: Mapping[BuildOf, Build]) -> Known:
    """What is known, as if lockfiles named these among what goes away: so a ruling finds them, and usage is asked."""
    locks = dict(known.locks)
    for (name, _), build in found.items():
        lock, former = lock_of(known, known.fleet.images[name])
        named = former or name
        locks[named] = with_unnamed(locks.get(named, lock), (build,), at=format_instant(known.now))
    return replace(known, locks=locks)


def _record(run: Run, name: str, found: Known, causes: Causes, *, commits: Mapping[BuildOf, str]) -> bool:
    """One commit of an image; of nothing that is not to be revoked."""
    image = run.known.fleet.images[name]
    of_image, recorded = causes.get(name, {}), lock_of(run.known, image)[0].recorded
    known = {one.id for one in recorded}
    builds = tuple(
        one.build for one in lock_of(found, image)[0].leaving if one.build.id in of_image and one.build.id not in known
    )
    if not builds:
        return False
    reasons = tuple(
        Reason(code="revoked", was=f"{one.id} in no lockfile", now=f"revoked: {of_image[one.id]}") for one in builds
    )
    ruling = Ruling(of_image, reachable=False, reasons=reasons, moves_stable=False, unnamed=builds)
    files = tuple(one for build in builds for one in files_at(run.repository, build, commits[name, build.id]))
    return not record_ruling(run, image, ruling, restored=files).superseded
