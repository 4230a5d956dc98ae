"""What in a repository needs an image that is to be deleted, or a part of it: other tags, and other indexes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.registries.oci.client import Client, Manifest, all_of, children, each_of
from reconciler.registries.oci.dialect import OF_A_BUILD
from reconciler.registries.oci.marks import announced_by, marked_by
from reconciler.registries.oci.reference import Reference


def other_tags(client: Client, at: Reference, digest: str, *, own: str, image: str) -> tuple[str, ...]:
    """The tags of an image that are not ours. Those of its builds are, and are not asked for one by one."""
    builds = re.compile(re.escape(image) + OF_A_BUILD)
    ours = own if own.startswith(f"{image}-") else None  # what the marks call its name may be anybody's tag
    tags = [
        tag for tag in client.tags(at)
        if tag != ours and marked_by(tag) is None and announced_by(tag) is None and not builds.fullmatch(tag)
    ]  # fmt: skip
    found = each_of(lambda tag: client.digest(at.by(tag)), tags)
    return tuple(tag for tag, one in zip(tags, found, strict=True) if one == digest)


def needless_below(client: Client, at: Reference, index: Manifest) -> Sequence[str]:
    """The images of an index that nothing else in its repository needs: no tag, no marks, and no other index.

    None at all where a tag is of what nobody here can read, and so may be an index of theirs.
    """
    below = children(index, at)
    if not below:
        return ()
    tags = client.tags(at)
    marked = {digest for tag in tags if (digest := marked_by(tag)) is not None}
    named = [tag for tag in tags if marked_by(tag) is None and announced_by(tag) is None]
    found = {one for one in each_of(lambda tag: client.digest(at.by(tag)), named) if one is not None}
    others = sorted((found | marked) - {index.digest})
    needed: set[str] = {*found, *marked}

    def refer(digest: str) -> None:  # of what each refers to only what is asked about is kept
        manifest = client.manifest(at.by(digest))
        theirs = set(children(manifest, at)) if manifest is not None else set()
        needed.update(one for one in below if one in theirs)

    for one in all_of(refer, others):
        if isinstance(one, Terminal):
            return ()
        if isinstance(one, ReconcilerError):
            raise one
    return [digest for digest in below if digest not in needed]
