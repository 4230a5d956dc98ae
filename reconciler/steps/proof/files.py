"""What a record names beside itself in state/: its statement and that one's signature, its SBOM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reconciler.git.past import Version, versions
from reconciler.git.repository import Repository
from reconciler.git.signature import key_of, verify
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Build
from reconciler.model.tree import content_at
from reconciler.model.values import parse_instant
from reconciler.model.verification import Signature
from reconciler.plan.proof.evidence import Attestation, SbomFile
from reconciler.state import provenance
from reconciler.state.lockfiles import FOLDER
from reconciler.state.sbom import read_sbom


class Files:
    """The files of one revision."""

    def __init__(self, repository: Repository, revision: str) -> None:
        self.git = repository.git
        self._revision = revision
        self._tree = repository.tree(revision)

    def read(self, path: str) -> bytes | None:
        """A file's bytes, or None where there is none."""
        return content_at(self._tree, path)

    def written(self, path: str) -> Iterator[Version]:
        """The commit that first gave a file the bytes that it has; nothing where there is no such file."""
        now = self.read(path)
        if now is not None:
            past = versions(self.git, path, revision=self._revision)
            yield from [version for version in past if version.content == now][-1:]


def paths(build: Build) -> Iterator[str]:
    """Every file that a record names."""
    if build.provenance is not None:
        yield f"{FOLDER}/{build.provenance}"
        yield f"{FOLDER}/{provenance.signature_path(build.provenance)}"
    if build.inventory is not None:
        yield f"{FOLDER}/{build.inventory.sbom}"


def sbom_of(build: Build, files: Files) -> SbomFile | None:
    """A build's SBOM as it was found; None where its record names none."""
    if build.inventory is None:
        return None
    path = f"{FOLDER}/{build.inventory.sbom}"
    return sbom_file(path, files.read(path))


def sbom_file(path: str, content: bytes | None) -> SbomFile:
    """What there is to say of an SBOM's bytes; None where there are none."""
    if content is None:
        return SbomFile(path, None, None, "is not there")
    try:
        inventory = read_sbom(content, path=path).digest
    except UserError:
        return SbomFile(path, None, None, "can't be read")
    return SbomFile(path, provenance.sha256(content), inventory)


def attestation_of(build: Build, files: Files, *, signers: Path | None) -> Attestation | None:
    """A build's statement as it was found, and who signed it; None where its record names none.

    `signers` is the allowed signers file; None takes git's.
    """
    if build.provenance is None:
        return None
    path = f"{FOLDER}/{build.provenance}"
    content = files.read(path)
    if content is None:
        return Attestation(path, None, Signature("absent"), "is not there")
    try:
        document = provenance.read(content, path)
    except UserError as error:
        return Attestation(path, None, Signature("absent"), f"is {error.what}")
    made_of = files.read(provenance.signature_path(path))
    signature = Signature("absent")
    if made_of is not None:
        at = parse_instant(build.recorded) if build.recorded is not None else None
        signature = verify(
            files.git, content, made_of, namespace=provenance.NAMESPACE, signers=signers, at=at
        )  # fmt: skip
    return Attestation(path, document.statement, signature, _fault(document, made_of))


def _fault(document: provenance.Document, beside: bytes | None) -> str:
    """What is wrong with a file of provenance. Whom to trust is told by the signature `beside` it alone."""
    if not document.canonical:
        return "is not in canonical form"
    if document.envelope is None or provenance.is_by(document.envelope, key_of(beside or b"")):
        return ""
    return "holds a signature that is not by the key of the one beside it"
