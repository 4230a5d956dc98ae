"""What the roles of a fleet's AMIs have to be allowed: policies, which `reconciler iam-policy` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from reconciler.model.fleet import Image
from reconciler.model.rights import Right

NOTE = "`reconciler iam-policy` prints each policy, with its conditions, and holds to it what stands"
_ROLES: tuple[tuple[Literal["plan", "preview", "reconcile"], str], ...] = (
    ("plan", "to see what is there"),
    ("preview", "to build and test what a branch would change"),
    ("reconcile", "to build, test, copy, promote and retire"),
)


def needed(images: Sequence[Image]) -> Iterator[Right]:
    """The policy of each role, in all regions of the fleet."""
    places = ", ".join(sorted({one for image in images for one in image.locations}))
    for role, what_for in _ROLES:
        yield Right(names=(f"reconciler iam-policy {role} --account ID",), on=places, purpose=what_for)


def credentials(images: Sequence[Image]) -> Iterator[str]:
    """AWS's."""
    del images
    yield "aws"
