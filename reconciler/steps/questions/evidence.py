"""Gather from a clone what a record names beside itself, and which commits had to be signed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from reconciler.desired.declared import SETTINGS_FILE, read_settings
from reconciler.git.history import find_commit
from reconciler.git.past import At, Version, at_every_commit, author_of, versions
from reconciler.git.repository import Repository
from reconciler.git.signature import key_of, verify
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Build
from reconciler.model.tree import content_at
from reconciler.model.values import parse_instant, sha256_of
from reconciler.model.verification import Signature
from reconciler.plan.proof.evidence import Attestation, Required, SbomFile, Setting, required_before
from reconciler.plan.trust import began
from reconciler.state import provenance
from reconciler.state.lockfiles import FOLDER
from reconciler.state.sbom import read_sbom

# What a record names beside itself in state/: its statement and that one's signature, its SBOM.


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
    return SbomFile(path, sha256_of(content), inventory)


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
        # By its record alone: whoever has a key that expired would date that back.
        at = max((parse_instant(build.recorded), *began(build.id))) if build.recorded is not None else None
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


# Read from a clone which of its commits had to be signed.

SET = "though git.sign was set"
ASKED = "and --signed asks for it"


class SigningRule:
    """Why a commit, or what it recorded, had to be signed: as half a sentence, or empty where it had not.

    Args:
        repository: The clone.
        revision: The commit up to which is looked.
        trusted: Whether a commit is signed by a key that is known.
        always: Whether signatures are required whatever the settings said.
    """

    def __init__(
        self, repository: Repository, revision: str, *, trusted: Callable[[str], bool], always: bool = False
    ) -> None:
        self._repository = repository
        self._revision = revision
        self._trusted = trusted
        self._always = always

    def read_ahead(self) -> None:
        """Walk the history, which takes git a while, so that whoever asks need not wait for it."""
        _ = self._every

    def contains(self, commit: str) -> bool:
        """Whether the revision contains a commit (or is it), as far as this clone's history goes.

        The history is walked for the rule anyway, and `git merge-base` would walk it once more for every question.
        """
        return find_commit(self._repository.git, commit) in self._every

    def of_commit(self, commit: str) -> str:
        """Why a commit had to be signed. One that a person merges is not: it is theirs."""
        return self._why(self._commits.get(commit), direct=self.direct(commit))

    def of_statement(self, commit: str) -> str:
        """Why the statement that a commit recorded had to be signed."""
        return self._why(self._statements.get(commit), direct=True)

    def of_now(self) -> str:
        """Why a tag that is made now had to be signed."""
        return self._why(self._statements.get(self._revision), direct=True)

    def direct(self, commit: str) -> bool:
        """Whether state was pushed as it was recorded, by the settings before a commit."""
        at = self._every[commit]
        places = [self._every[parent] for parent in at.parents if parent in self._every] or [at]
        found = next((settings for one in (*places, at) if (settings := self._read(one)) is not None), GitSettings())
        return found.push == "direct"

    def _why(self, rule: Required | None, *, direct: bool) -> str:
        if rule is not None and rule.required:
            if not rule.ended_by:
                return SET
            by = f"{rule.ended_by[:7]} of {author_of(self._repository.git, rule.ended_by)}"
            return f"though git.sign asked for it until {by} ended that, a commit that no trusted key signed"
        return ASKED if self._always and direct else ""

    @cached_property
    def _every(self) -> Mapping[str, At]:
        found = at_every_commit(self._repository.git, SETTINGS_FILE, revision=self._revision)
        return {one.commit: one for one in found}

    @cached_property
    def _statements(self) -> Mapping[str, Required]:
        return self._required(lambda settings: settings.sign)

    @cached_property
    def _commits(self) -> Mapping[str, Required]:
        return self._required(lambda settings: settings.sign and settings.push == "direct")

    def _required(self, asks: Callable[[GitSettings], bool]) -> Mapping[str, Required]:
        read = [(one, self._read(one)) for one in self._every.values()]
        if not any(asks(found) for found in self._parsed.values() if found is not None):
            return {}  # as in most clones, and of commits there are many
        settings = (Setting(one.commit, one.parents, asks(found) if found is not None else None) for one, found in read)
        return required_before(settings, trusted=self._trusted)

    def _read(self, at: At) -> GitSettings | None:
        if at.content not in self._parsed:
            try:
                self._parsed[at.content] = read_settings(at.content).settings.git
            except UserError:
                self._parsed[at.content] = None
        return self._parsed[at.content]

    @cached_property
    def _parsed(self) -> dict[bytes | None, GitSettings | None]:
        return {}
