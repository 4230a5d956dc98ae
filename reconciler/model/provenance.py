"""Where an image came from, as others read it: an in-toto statement with a SLSA provenance predicate.

Sources: in-toto `spec/v1/statement.md`, `resource_descriptor.md` and `envelope.md`, SLSA `provenance/v1`, DSSE 1.0.
Only the fields that are written here are known; which of them holds what is in docs/provenance.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Base64Bytes, Field

from reconciler.model.values import Digest, Instant, Model

StatementType = Literal["https://in-toto.io/Statement/v1"]
PredicateType = Literal["https://slsa.dev/provenance/v1"]
PayloadType = Literal["application/vnd.in-toto+json"]
BuildType = Literal["urn:reconciler:packer-image:1"]

STATEMENT_TYPE: StatementType = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: PredicateType = "https://slsa.dev/provenance/v1"
PAYLOAD_TYPE: PayloadType = "application/vnd.in-toto+json"
BUILD_TYPE: BuildType = "urn:reconciler:packer-image:1"
"""Its number goes up with every change of what a statement says of a record: `verify` makes each one anew."""
LOCAL_BUILDER = "urn:reconciler:local"
"""Whatever ran outside of CI, or is not on record."""


@dataclass(frozen=True)
class Origin:
    """Where a record stands. `repository` is owner/name; None without a remote. `branch` is where state is recorded."""

    fleet: str
    image: str
    repository: str | None
    branch: str


class Resource(Model):
    """A ResourceDescriptor: one thing, named by what cannot change (`digest`), by its address or by its content."""

    name: str | None = None
    uri: str | None = None
    digest: dict[str, str] | None = None
    content: str | None = Field(None, description="In base64.")
    media_type: str | None = Field(None, alias="mediaType")
    annotations: dict[str, Any] | None = None


class ExternalParameters(Model):
    """What people decide: the image, and the repository and branch that declare it."""

    image: str
    repository: str | None = None
    branch: str


class InternalParameters(Model):
    """What follows from it."""

    fleet: str
    key: Digest
    components: dict[str, str]


class BuildDefinition(Model):
    """What went into the build."""

    build_type: BuildType = Field(BUILD_TYPE, alias="buildType")
    external_parameters: ExternalParameters = Field(alias="externalParameters")
    internal_parameters: InternalParameters = Field(alias="internalParameters")
    resolved_dependencies: tuple[Resource, ...] = Field(alias="resolvedDependencies")


class Builder(Model):
    """Who built it: the CI project, or `urn:reconciler:local`."""

    id: str


class BuildMetadata(Model):
    """Which run it was, and when, as far as it is known."""

    invocation_id: str | None = Field(None, alias="invocationId")
    started_on: Instant | None = Field(None, alias="startedOn")
    finished_on: Instant | None = Field(None, alias="finishedOn")


class RunDetails(Model):
    """The run that built it, and what it left beside the artifacts."""

    builder: Builder
    metadata: BuildMetadata
    byproducts: tuple[Resource, ...]


class Predicate(Model):
    """SLSA provenance, version 1."""

    build_definition: BuildDefinition = Field(alias="buildDefinition")
    run_details: RunDetails = Field(alias="runDetails")


class Statement(Model):
    """An in-toto statement: these subjects were made so."""

    type: StatementType = Field(STATEMENT_TYPE, alias="_type")
    subject: tuple[Resource, ...]
    predicate_type: PredicateType = Field(PREDICATE_TYPE, alias="predicateType")
    predicate: Predicate

    @property
    def origin(self) -> Origin:
        """Where the record stood when the statement was made."""
        definition = self.predicate.build_definition
        asked = definition.external_parameters
        return Origin(definition.internal_parameters.fleet, asked.image, asked.repository, asked.branch)

    def byproduct(self, name: str) -> Resource | None:
        """What the run left under a name, or None."""
        return next((one for one in self.predicate.run_details.byproducts if one.name == name), None)


class EnvelopeSignature(Model):
    """A signature of the payload and its type, by a key itself."""

    keyid: str
    """A hint at the key, by which verifiers choose among theirs: as securesystemslib makes it of a public key."""
    sig: Base64Bytes


class Envelope(Model):
    """A DSSE envelope. It holds a signature at least: verifiers refuse one without."""

    payload: Base64Bytes
    payload_type: PayloadType = Field(PAYLOAD_TYPE, alias="payloadType")
    signatures: tuple[EnvelopeSignature, ...] = Field(min_length=1)
