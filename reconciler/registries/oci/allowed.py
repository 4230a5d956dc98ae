"""What a login to a container registry has to be allowed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.model.fleet import Image
from reconciler.model.rights import Right
from reconciler.registries.oci.credentials import ecr_region
from reconciler.registries.oci.reference import is_loopback, location, parse

NOTE = "logins are docker's (`docker login`, its helpers); a pull request's needs the same in the first repository"


def needed(images: Sequence[Image]) -> Iterator[Right]:
    """Rights in each repository, in the words of the distribution specification's categories."""
    sources: dict[str, None] = {}
    kept: dict[str, None] = {}
    for image in images:
        upstream = image.source.upstream if image.source is not None else None
        source = parse(str(upstream[1])) if upstream is not None else None
        if source is not None:
            sources[source.repository] = None
        kept |= dict.fromkeys(image.locations)
    for place in sorted(sources.keys() - kept.keys()):
        yield Right(names=("pull",), on=place, purpose="to build on it")
    for place in sorted(kept):
        yield Right(names=("pull", "list tags"), on=place, purpose="to see what is there, and to test it")
        yield Right(names=("push",), on=place, purpose="to store, mark, copy and publish")
        yield Right(names=("delete",), on=place, purpose="to retire: of manifests and tags")


def credentials(images: Sequence[Image]) -> Iterator[str]:
    """A login for each registry that is pushed to; of ECR it is AWS's, and one on this machine needs none."""
    for place in (one for image in images for one in image.locations):
        found = location(place)
        if found is not None and not is_loopback(found.host):
            yield "aws" if ecr_region(found.host) is not None else f"registry:{found.host}"
