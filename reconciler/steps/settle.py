"""Settle: what outsiders did to an image's artifacts. Verdicts are recorded, previews of the past retired."""

from __future__ import annotations

from dataclasses import replace

from reconciler.model import events
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile, Verdict
from reconciler.model.observation import TAG_PREFIX
from reconciler.model.plan import Decision
from reconciler.steps.record import record_verdict
from reconciler.steps.run import Run


def settle(run: Run, image: Image, decision: Decision) -> Decision:
    """Record every verdict, each in a commit of its own, and retire old previews; the decision on what is left."""
    lock = decision.lock
    for build_id, verdict in decision.verdicts:
        recording = record_verdict(run, image, build_id, verdict)
        run.listener(_said(image, build_id, verdict, recording.lock))
        _tag_phases(run, before=lock, after=recording.lock)
        lock = recording.lock
    for seen in decision.old_previews:
        run.registry.retire(seen, image=image.name)
        run.listener(events.Retired(image=image.name, location=seen.location, artifact=seen.id))
    return replace(decision, lock=lock)


def _tag_phases(run: Run, *, before: Lockfile, after: Lockfile) -> None:
    """Carry a changed phase to the artifacts. What vanished in the meantime is left to the next plan, which says so."""
    was = {build.id: build.phase for build in before.builds}
    for build in after.builds:
        if was.get(build.id) != build.phase:
            _tag_phase(run, build)


def _tag_phase(run: Run, build: Build) -> None:
    for artifact in build.artifacts:
        if run.registry.find(artifact.location, artifact.id) is not None:
            run.registry.tag(artifact, {f"{TAG_PREFIX}phase": build.phase})


def _said(image: Image, build_id: str, verdict: Verdict, lock: Lockfile) -> events.Event:
    return events.Settled(
        image=image.name, build=build_id, verdict=verdict.status, by=verdict.by, stable=lock.channels.stable
    )  # fmt: skip
