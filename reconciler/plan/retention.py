"""Which builds a lockfile keeps, and why; the others may go away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Channels

Keeps = Literal["channel", "held", "newest", "revoked", "fallback"]
"""Why a build is kept: a channel points to it, or a hold; it is one of the newest; it is recorded as revoked; `stable`
would fall back to it."""


def retained(builds: Sequence[Build], channels: Channels, image: Image) -> Mapping[str, Keeps]:
    """Why builds are kept, by id; of all of them, newest first. The others may go away."""
    hold = image.declaration.hold
    fallback = next((one.id for one in builds if one.stood and one.id != channels.stable), None)
    kept: dict[str, Keeps] = {}
    for place, one in enumerate(builds):
        if one.id in (channels.candidate, channels.stable):
            kept[one.id] = "channel"
        elif hold is not None and one.id == hold.build:
            kept[one.id] = "held"
        elif place < image.declaration.retain.builds:
            kept[one.id] = "newest"
        elif one.revoked is not None:
            kept[one.id] = "revoked"
        elif one.id == fallback:
            kept[one.id] = "fallback"
    return kept
