"""What an image is made of, copied from one repository to another, without an engine."""

from __future__ import annotations

from reconciler.model.errors import Terminal
from reconciler.registries.oci.client import INDEXES, Client, Manifest, children, described, each_of, parts
from reconciler.registries.oci.reference import Reference

_LAYERS = 4
"""How many are copied at once."""


def copy_below(client: Client, at: Reference, there: Reference, manifest: Manifest) -> None:
    """Copy what a manifest refers to: layers and config, or of an index its manifests.

    Raises Terminal for what is no manifest of an image, and for an index of an index.
    """
    if manifest.media_type in INDEXES:
        for digest in children(manifest, at):
            below = client.manifest(at.by(digest))
            if below is None:
                raise Terminal(f"{digest} is not in {at.repository}")
            if below.media_type in INDEXES:
                raise Terminal(f"{manifest.digest} in {at.repository} is an index of an index")
            copy_below(client, at, there, below)
            client.put_manifest(there.by(below.digest), below.body, below.media_type)
        return
    blobs = described(manifest, at, manifest.json.get("config"), *parts(manifest, at, "layers"))
    each_of(lambda one: client.copy_blob(at, there, *one), blobs, parallel=_LAYERS)
