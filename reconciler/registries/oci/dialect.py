"""How container images are spoken of: the builders and post-processors that leave one, and what they are built on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from reconciler.model.declaration import Settings
from reconciler.model.errors import UserError
from reconciler.model.fleet import Builder, BuildLocation
from reconciler.model.kind import Kind
from reconciler.model.source import Pin, SourceRequest
from reconciler.ports.dialect import Value, Written
from reconciler.registries.oci.engine import with_engine
from reconciler.registries.oci.reference import DIGEST, PATTERN, TAG, as_repository, location, parse, why_none
from reconciler.registries.plain import PlainDialect, text

SHA256 = "sha256:"
RESERVED = "org.opencontainers."
OCI = Kind(
    name="oci", artifact="a container image", location="repository", registry="the container registry",
    key="locations", example_location="registry.example.org/acme/web",
    id_form=DIGEST, example_id=f"{SHA256}…", ids_are_digests=True, between="@",
    sources={"oci": None}, example="source: {oci: debian:12}",
    pinned=("oci", "repository"), source_variable="source_image", source_attribute="image",
    reserved=RESERVED,
    given="{location}@{id}", given_upstream="{location}@{id}", builds_where_source_is=False,
    reached_by="docker exec", removal="delete {location}@{id}", packages_tell=False, published=frozenset({"tag"}),
    stands_in="[^/]+",
)  # fmt: skip


def _reference(text: str) -> str:
    if parse(text) is None:
        raise ValueError(why_none(text))
    return text


ImageReference = Annotated[
    str, AfterValidator(_reference),
    Field(description="A container image by its reference: debian:12.", json_schema_extra={"pattern": PATTERN}),
]  # fmt: skip

MARKS = ".reconciler"
"""How the tags end that marks are under."""
OF_A_BUILD = r"-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{7}"
"""How the tags end that images are stored under: `<image>-<build id>`, each moved by nobody."""
_OF_REFERRERS = re.compile(r"(?:sha256|sha512|blake3)-(?:[0-9a-f]{64}.*|[0-9a-f]+(?:\..*)?)")
"""The tags in a registry without referrers ("Referrers Tag Schema", OCI's distribution specification).

That is a digest with `-` for `:`, its algorithm (image specification, "Registered algorithms") and its hex cut at 32
and 64 characters; other tools put a dot and a word of their own behind it. A digest that is cut short is none of
anything, and taken for one by whoever reads tags.
"""
_LONGEST_TAG = 128
# What `docker pull` says at its end, and so before anything that a provisioner prints. Of an index it is the index's.
_PULLED = re.compile(rf"Digest: ({SHA256}[0-9a-f]{{64}})")
_NAMED_BY = ("docker-tag", "docker-import")
"""The post-processors that say in their `repository` where an image belongs."""
_ENGINES = frozenset({"docker", "podman"})
"""Builders that are called as the engine is that they run."""


class OciDialect(PlainDialect):
    """The `Dialect` of container images."""

    kind: Kind = OCI

    @property
    def sources(self) -> Mapping[str, Any]:
        """An image by its reference."""
        return {"oci": ImageReference}

    def builder(self, written: Written) -> Builder:
        """A builder with the image that it begins with, and the repository that its image is tagged for."""
        at = _repository(written)
        if written.type not in _ENGINES:
            return Builder(written.name, written.type, written.place, at, clears_keys=True, programs=("docker",))
        needs = (written.type,)  # the engine's command has the builder's name
        _refuse_without_image(written)
        image = written.get("image")
        if image is None:
            return Builder(written.name, written.type, written.place, at, clears_keys=True, programs=needs)
        found = parse(image.text) if image.text else None
        if image.text and found is None:
            raise UserError(f"{written.name}: image: {why_none(image.text)}", where=image.place)
        source = SourceRequest.model_validate({"oci": image.text}) if found is not None else None
        unpinned = f"image: {image.why_unknown or 'it is empty'}" if source is None else None
        return Builder(
            written.name, written.type, written.place, at, source, image.place, unpinned, clears_keys=True,
            programs=needs,
        )  # fmt: skip

    def notes(self, written: Written) -> Iterator[str]:
        """That an image which a template names without a version is another one every week."""
        image = written.get("image") if written.type in _ENGINES else None
        found = parse(image.text) if image is not None and image.text else None
        if image is not None and image.variable is None and found is not None and found.moves:
            yield (
                f"{image.place}: {image.text} is whatever its publisher calls the latest: name a version, and take it "
                f"as it is pinned ({OCI.source_attribute} = var.{OCI.source_variable})"
            )

    def wrong_location(self, location_: str) -> str | None:
        """A repository with its registry; whether there is one, the registry says."""
        if location(location_) is not None:
            return None
        found = as_repository(location_)
        if found is not None:
            return f"how that repository is written here: {found.repository}"
        return f"a repository with its registry: {OCI.example_location}"

    def wrong_name(self, name: str) -> str | None:
        """A tag that no registry takes, or that builds, their marks, or what refers to an image may come to have."""
        if re.fullmatch(TAG, name) is None:
            return f"it has {len(name)} characters, and a tag at most {_LONGEST_TAG}"
        if name.endswith(MARKS):
            return f"tags that end in {MARKS} are those of the marks of images"
        if _OF_REFERRERS.fullmatch(name):
            return "tags that begin with a digest are those of what refers to an image"
        return "it has the form of the tag of a build" if re.fullmatch(f".+{OF_A_BUILD}", name) else None

    def built_on(self, said: str) -> str | None:
        """The digest of what was pulled."""
        found = _PULLED.fullmatch(said.strip())
        return found[1] if found is not None else None

    def meant_earlier(self, asked: Any, named: str, *, now: Pin, resolve: Callable[[SourceRequest], Pin]) -> Pin | None:
        """What the publisher has in the same repository. Which tag it had once, no registry tells."""
        wanted, there = parse(str(asked)), now.upstream
        if wanted is None or wanted.digest is not None or there is None or not re.fullmatch(DIGEST, named):
            return None
        found = resolve(SourceRequest.model_validate({"oci": f"{there.location}@{named}"}))
        return (
            OCI.pin(there.location, named, name=str(asked)) if found.identity == now.with_id(named).identity else None
        )

    def environment(
        self, settings: Settings, inherited: Mapping[str, str], *, folder: Path, location: str
    ) -> dict[str, str]:  # fmt: skip
        """The inherited one, in which `docker` finds the engine that is here: Packer's builder runs that command."""
        del settings, folder, location
        return with_engine(inherited)

    def subject(self, location_: str, artifact_id: str) -> Mapping[str, str]:
        """The digest of its manifest, or of its index."""
        del location_
        return {"sha256": artifact_id.removeprefix(SHA256)}


DIALECT = OciDialect()


def _repository(written: Written) -> BuildLocation | None:
    """Where the template says that its image belongs, in its whole form; None where it does not say."""
    for after in reversed(written.after):
        value = after.get("repository") if after.type in _NAMED_BY else None
        if value is not None:
            return BuildLocation(_whole(value), value.variable, value.place)
    return None


def _whole(value: Value) -> str | None:
    if not value.text:
        return None
    found = parse(value.text)
    if found is None or found.tag or found.digest:
        raise UserError(
            f'repository: "{value.text}" is no repository',
            where=value.place,
            hint=f"it is written as {OCI.example_location}; tags are in `tags`",
        )
    return found.repository


def _refuse_without_image(written: Written) -> None:
    """Raise UserError for a builder that leaves files of a container, or nothing, and no image."""
    discard = text(written, "discard") == "true"
    exported = written.get("export_path")
    imported = any(after.type == "docker-import" for after in written.after)
    if discard or (exported is not None and not imported):
        raise UserError(
            f"{written.name} leaves no image: it {'discards' if discard else 'exports'} its container",
            where=exported.place if exported is not None else written.place,
            hint="set commit = true instead, or take the export up by the post-processor docker-import",
        )
