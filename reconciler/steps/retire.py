"""Retire one artifact, and tell what of it is there still."""

from __future__ import annotations

from reconciler.model import events
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
        run.listener(events.Retired(image=image, location=artifact.location, artifact=artifact.id))
    return remains
