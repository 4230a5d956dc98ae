"""The rights that a run needs where disks are kept: in a folder, and in a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.model.fleet import Image
from reconciler.model.rights import Right
from reconciler.registries.disk.dialect import BUCKET

NOTE = "`reconciler iam-policy ROLE --disks LOCATION` prints what a role needs in a bucket"
_ACTIONS = (
    (("s3:ListBucket", "s3:GetObject"), "to see and read what is there"),
    (("s3:PutObject", "s3:AbortMultipartUpload"), "to store, copy and mark"),
    (("s3:DeleteObject",), "to retire, and to mend what was changed"),
)


def needed(images: Sequence[Image]) -> Iterator[Right]:
    """Rights in each folder and below each prefix, and on what is built on."""
    for source in sorted(set(_sources(images))):
        yield Right(names=("read",), on=source, purpose="to build on it")
    for place in sorted({one for image in images for one in image.locations}):
        if place.startswith(BUCKET):
            for names, what_for in _ACTIONS:
                yield Right(names=names, on=place, purpose=what_for)
        else:
            yield Right(names=("read", "write"), on=place, purpose="to store, copy, mark and retire")


def _sources(images: Sequence[Image]) -> Iterator[str]:
    """The files and addresses that images are built on, as they are declared."""
    for upstream in (image.source.upstream for image in images if image.source is not None):
        if upstream is not None:
            yield str(upstream[1]["url"])


def credentials(images: Sequence[Image]) -> Iterator[str]:
    """AWS's, where there is a bucket."""
    if any(one.startswith(BUCKET) for image in images for one in image.locations):
        yield "aws"
