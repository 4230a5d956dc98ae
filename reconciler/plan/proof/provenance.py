"""From a build record to its statement. The same record gives the same statement, to the byte: `verify` makes it anew.

What each field holds, and why, is in docs/provenance.md.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from reconciler.model.lockfile import RULED, Artifact, Build, CiRun
from reconciler.model.provenance import (
    LOCAL_BUILDER,
    BuildDefinition,
    Builder,
    BuildMetadata,
    ExternalParameters,
    InternalParameters,
    Origin,
    Predicate,
    Resource,
    RunDetails,
    Statement,
)
from reconciler.model.source import Pin
from reconciler.model.values import canonical_json, digest, format_instant, parse_instant

SBOM, SMOKE_TEST = "sbom", "smoke-test"
LATER = frozenset({
    "files", "reasons", "artifacts", "verified", "provenance", "verdict", "phase", "recorded", *RULED
})  # fmt: skip
"""What of a record may change after the build, or differs between the annotated tag and the lockfile. `artifacts` are
subjects of their own; the others are proven by the commits that change them."""

_RUN_OF_A_PROJECT = re.compile(r"/pipelines/(?P<project>.+?)/\d+(?:/.*)?$|/\d+/?$")


SubjectOf = Callable[[str, str, str], Mapping[str, str]]
"""From kind, location and id to the digest that an artifact is named by, by the name of its algorithm."""


def record_of(build: Build) -> dict[str, Any]:
    """What of a build is settled when it is built: its record, as it stands in the lockfile, without `LATER`."""
    return build.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(LATER))


def record_digest(build: Build) -> str:
    """The `sha256:…` of the canonical JSON of `record_of`."""
    return digest(record_of(build))


def statement(build: Build, origin: Origin, *, subject: SubjectOf, sbom_digest: str | None = None) -> Statement:
    """What is said of a build: its artifacts and its record are the subjects.

    Args:
        build: The build as recorded.
        origin: Where its record stands.
        subject: What an artifact is named by.
        sbom_digest: The `sha256:…` of the SBOM's bytes; None where there is no SBOM.
    """
    return Statement(
        subject=tuple(_subjects(build, origin.image, subject)),
        predicate=Predicate(
            build_definition=BuildDefinition(
                external_parameters=ExternalParameters(
                    image=origin.image, repository=origin.repository, branch=origin.branch
                ),
                internal_parameters=InternalParameters(
                    fleet=origin.fleet, key=build.key, components=dict(build.components)
                ),
                resolved_dependencies=tuple(_dependencies(build, origin, subject)),
            ),
            run_details=RunDetails(
                builder=Builder(id=builder_id(build)),
                metadata=_metadata(build),
                byproducts=tuple(_byproducts(build, sbom_digest)),
            ),
        ),
    )


def builder_id(build: Build) -> str:
    """Who built it: the address of the CI project, taken from that of its job, and the job's name after a `#`."""
    if build.ci is None:
        return LOCAL_BUILDER
    return _project(build.ci) + (f"#{quote(build.ci.job)}" if build.ci.job else "")


def _project(ci: CiRun) -> str:
    url = re.split(r"[?#]", ci.url, maxsplit=1)[0].rstrip("/")
    # CircleCI: …/pipelines/<vcs>/<owner>/<name>/<pipeline>/workflows/<id>/jobs/<n>, or …/<vcs>/<owner>/<name>/<n>.
    match = _RUN_OF_A_PROJECT.search(url)
    if match is None:
        return url
    return url[: match.start()] + (f"/pipelines/{match['project']}" if match["project"] else "")


def _named(artifact: Artifact, subject: SubjectOf) -> Resource:
    name = f"{artifact.location}/{artifact.id}"
    return Resource(name=name, digest=dict(subject(artifact.kind, artifact.location, artifact.id)))


def _subjects(build: Build, image: str, subject: SubjectOf) -> Iterator[Resource]:
    for artifact in build.artifacts:
        yield _named(artifact, subject)
        for one in artifact.conversions:
            yield _named(artifact.model_copy(update={"id": one.id}), subject)
    yield Resource(name=f"{image}/{build.id}", digest={"sha256": _hex(record_digest(build))})


def _dependencies(build: Build, origin: Origin, subject: SubjectOf) -> Iterator[Resource]:
    yield Resource(name=origin.repository or origin.fleet, digest={"gitCommit": build.commit})
    if build.source is not None:
        yield _source(build, build.source, subject)
    if build.packer is not None:
        yield _program("packer", build.packer.version, build.packer.digests.get("packer"))
        for name, version in sorted(build.packer.plugins.items()):
            yield _program(f"packer-plugin-{name}", version, build.packer.digests.get(name))


def _program(name: str, version: str, digest: str | None) -> Resource:
    known = {"sha256": _hex(digest)} if digest is not None else None
    return Resource(name=name, uri=f"pkg:generic/{name}@{version}", digest=known)


def _source(build: Build, pin: Pin, subject: SubjectOf) -> Resource:
    upstream = pin.upstream
    if upstream is not None:
        facts = {"owner": upstream.owner, "created": upstream.created}
        known = {name: value for name, value in facts.items() if value is not None}
        return Resource(
            name=upstream.name or upstream.id,
            digest=dict(subject(upstream.word, upstream.location, upstream.id)),
            annotations=known or None,
        )
    kind = build.artifacts[0].kind  # a child has its parent's
    artifacts = [
        named
        for location, artifact_id in sorted((pin.artifacts or {}).items())
        for named in subject(kind, location, artifact_id).values()
    ]
    return Resource(
        name=f"{pin.image}/{pin.build}",
        # Not `sha256`, which would be that of bytes: this is the sha256 that the parent's key is.
        digest={"reconcilerKey": _hex(pin.key or "")},
        annotations={"artifacts": artifacts} if artifacts else None,
    )


def _metadata(build: Build) -> BuildMetadata:
    finished = None
    if build.started is not None and build.seconds is not None:
        finished = format_instant(parse_instant(build.started) + timedelta(seconds=build.seconds))
    url = build.ci.url if build.ci is not None else None
    return BuildMetadata(invocation_id=url, started_on=build.started, finished_on=finished)


def _byproducts(build: Build, sbom_digest: str | None) -> Iterator[Resource]:
    if build.inventory is not None and sbom_digest is not None:
        yield Resource(
            name=SBOM,
            uri=build.inventory.sbom,
            digest={"sha256": _hex(sbom_digest)},
            media_type="application/vnd.cyclonedx+json",
            annotations={"inventory": build.inventory.digest},
        )
    if build.smoke_test is not None:
        result = canonical_json(build.smoke_test.model_dump(mode="json", exclude_defaults=True))
        yield Resource(name=SMOKE_TEST, content=base64.b64encode(result).decode(), media_type="application/json")


def _hex(sha256: str) -> str:
    return sha256.removeprefix("sha256:")
