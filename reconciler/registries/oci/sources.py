"""What container images are built on: a reference, and the digest that it has now."""

from __future__ import annotations

from reconciler.model.errors import UserError
from reconciler.model.source import Pin
from reconciler.model.text import first_line
from reconciler.registries.oci.client import INDEXES, MANIFESTS, OF_IMAGES_ALONE, Client
from reconciler.registries.oci.dialect import OCI
from reconciler.registries.oci.reference import parse, why_none


def pinned(client: Client, text: str) -> Pin:
    """The pin of a reference; an index is pinned as one. Its registry is as it is written, as that is in a build's key.

    Costs a HEAD, and for a manifest by whose type it may be anything a GET, which a hosted registry counts as a pull.

    Raises UserError for what is no reference, not there, or no image.
    """
    reference = parse(text)
    if reference is None:
        raise UserError(f"source {why_none(text)}")
    digest, media_type = client.named(reference) or ("", "")
    if media_type in MANIFESTS - OF_IMAGES_ALONE:
        manifest = client.manifest(reference.by(digest))
        media_type = (manifest.other_type or media_type) if manifest is not None else ""
    if not media_type:
        raise UserError(
            f"source {text} is not in {reference.host}: there is no {reference.at} in {reference.path}",
            hint="check its name; what is in a registry of one's own begins with that registry's name",
        )
    if media_type not in INDEXES | MANIFESTS:
        raise UserError(
            f"source {text} is no container image: it is {first_line(media_type)}",
            hint="name an image: a registry keeps charts, signatures and other things, too",
        )
    return OCI.pin(reference.as_said, digest, name=text)


def confirmed(client: Client, source: str) -> str:
    """A pinned source, once what is there under its digest was seen to have it, and to be an image or an index of some.

    What a HEAD said is the registry's word, and an index is pinned by that alone. Costs a GET.

    Raises UserError where it is not there any more, or is no image; Terminal for other bytes.
    """
    reference = parse(source)
    if reference is None or reference.digest is None:
        return source
    manifest = client.manifest(reference)
    if manifest is None:
        what = f"{reference.digest}, which is pinned, is not in {reference.repository} any more"
        raise UserError(what, hint="resolve it anew: --refresh")
    if manifest.other_type is not None:
        raise UserError(
            f"{source}, which is pinned, is no container image: it is {first_line(manifest.other_type)}",
            hint="name an image: a registry keeps charts, signatures and other things, too",
        )
    return source
