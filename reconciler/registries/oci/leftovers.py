"""The copies that an engine keeps of earlier builds: each build leaves one there, and each test pulls one."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice

from reconciler.model.errors import ReconcilerError
from reconciler.model.observation import TAG_PREFIX
from reconciler.registries.oci.client import Client
from reconciler.registries.oci.engine import Engine
from reconciler.registries.oci.marks import read_marks
from reconciler.registries.oci.reference import Reference

_MOST = 20
"""Copies that are looked at once a build: more than one is left behind by nobody who builds here."""


def remove_earlier(engine: Engine, client: Client, at: Reference, *, fleet: str, but: str) -> None:
    """Remove what an engine keeps of the fleet's earlier builds of a repository, and not that of the digest `but`.

    That is what it knows by its digest alone, and what has the fleet's marks in its registry, to be had again there.
    What has a tag there, or runs as a container, stays. Never raises: a build is worth more than room on a disk.
    """
    with suppress(ReconcilerError):
        for digest in islice((one for one in engine.untagged(at.repository) if one != but), _MOST):
            marks = read_marks(client, at, digest)
            if marks is not None and marks.tags.get(f"{TAG_PREFIX}fleet") == fleet:
                engine.let_go(f"{at.repository}@{digest}")
