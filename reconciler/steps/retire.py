"""Retire one artifact, and tell what of it is there still; and ask again for what could not be retired."""

from __future__ import annotations

from collections import defaultdict

from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Seen
from reconciler.model.text import counted
from reconciler.ports.registry import Located, Remains
from reconciler.steps.run import Run


def retire(run: Run, image: str, artifact: Located) -> Remains:
    """Retire an artifact of an image; what stays of it is told as a warning, and returned.

    Raises what the registry raises.
    """
    remains = run.registry.retire(artifact, image=image)
    named = f"{artifact.id} in {artifact.location}"
    if remains.stays:
        run.listener(events.Warned(image=image, what=f"{named} stays: {remains.stays}"))
    elif remains.parts:
        what = f"{', '.join(remains.parts)} of {named} stays: something else uses it"
        run.listener(events.Warned(image=image, what=what))
    return remains


def told_retired(run: Run, image: str, artifact: Located) -> Remains:
    """The same; that it is gone is told, too."""
    remains = retire(run, image, artifact)
    if not remains.stays:
        formats = tuple(one.format for one in artifact.conversions) if isinstance(artifact, Artifact) else ()
        run.listener(events.Retired(image=image, location=artifact.location, artifact=artifact.id, formats=formats))
    return remains


def reconsider(run: Run) -> None:
    """Ask each location in which something stays, as nothing could be deleted, whether that is so still. Never raises.

    One request a location. Where it is not, the next plan wants gone what this one passed over.
    """
    if run.branch is not None or run.cancelled.is_set():
        return  # a preview retires nothing of others
    left: defaultdict[str, list[Seen]] = defaultdict(list)
    for seen in run.known.observation.artifacts:
        if seen.stays:
            left[seen.location].append(seen)
    for location, artifacts in left.items():
        image = artifacts[0].own("image") or ""
        try:
            deletes = run.registry.reconsider(artifacts)
        except ReconcilerError as error:
            what = f"whether {location} deletes by now what was to go is not known: {error.what}"
            run.listener(events.Warned(image=image, what=what))
        else:
            if deletes:
                stayed = counted(len(artifacts), "artifact")
                what = f"{location} deletes again: the next run looks anew at {stayed} that stayed there"
                run.listener(events.Warned(image=image, what=what))
