"""Gather what a clone holds about a build, and judge it: the build, and every build of this fleet that it stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.desired.fleet import read_fleet
from reconciler.desired.settings import SETTINGS_FILE, read_settings
from reconciler.git.history import find_commit, is_ancestor
from reconciler.git.past import Version, versions
from reconciler.git.repository import Repository
from reconciler.git.signature import signature_of, verify
from reconciler.git.tags import tag_message
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Place, ReconcilerError, Terminal, UserError
from reconciler.model.fleet import Fleet
from reconciler.model.lockfile import Build
from reconciler.model.values import parse_instant
from reconciler.model.verification import Signature, Verification
from reconciler.plan.evidence import (
    Attestation,
    Content,
    Evidence,
    Look,
    SbomFile,
    TagRecord,
    Writing,
    settled,
    whole,
)
from reconciler.plan.history import LockPast, LockVersion
from reconciler.plan.key import SOURCE, wanted
from reconciler.plan.messages import record_in, tag_name
from reconciler.plan.verification import judge
from reconciler.registry.protocol import Registry
from reconciler.state import provenance
from reconciler.state.lockfiles import FOLDER, parse_build
from reconciler.state.sbom import read_sbom
from reconciler.steps.past_locks import past_of, starts_shallow


@dataclass
class Verifier:
    """One clone, looked at from one revision. What was read once is not read again for a parent."""

    repository: Repository
    revision: str
    """The commit whose state/ is looked at."""
    branch: str
    """What that is called."""
    signers: Path | None = None
    """The allowed signers file; None takes git's."""
    always_signed: bool = False
    """Whether signatures are required whatever the settings said."""
    registry: Registry | None = None
    """None where the registry is not to be asked."""
    _pasts: dict[str, LockPast] = field(default_factory=dict)
    _fleets: dict[str, Fleet | str] = field(default_factory=dict)
    _signatures: dict[str, Signature] = field(default_factory=dict)
    _judged: dict[str, Verification] = field(default_factory=dict)

    def past(self, image: str) -> LockPast:
        """Every version of an image's lockfile. Raises UserError where nothing of it is recorded."""
        if image not in self._pasts:
            self._pasts[image] = past_of(self.repository, image, revision=self.revision)
        return self._pasts[image]

    def verify(self, image: str, build_id: str) -> Verification:
        """Judge a build of an image, and all that it stands on. Raises UserError where it was never recorded.

        The registry is asked for this build alone: what it stands on may have been retired since, and rightly.
        """
        return judge(self._evidence(image, build_id, registry=self.registry))

    def _evidence(self, image: str, build_id: str, *, registry: Registry | None = None) -> Evidence:
        past = self.past(image)
        last = past.last_with(build_id)
        build = last.lock.build(build_id) if last is not None else None
        if last is None or build is None:
            raise _unknown(image, build_id, past)
        written, first = _written(past, build)
        latest, _ = _written(past, build, by=whole)
        recorded = self._writing(written, f"the record of {build.id}")
        settings = self._settings_before(written.commit)
        # What is pruned from the lockfile is gone from state/ as well: there it stands as it was last.
        at = self.revision if past.versions[0].lock.build(build_id) is not None else last.commit
        files = _Files(self.repository, at)
        parent, parent_key = self._parent(build)
        known = find_commit(self.repository.git, build.commit) is not None
        return Evidence(
            image=past.names[0],
            names=past.names,
            build=build,
            branch=self.branch,
            direct=settings.push == "direct",
            sign=settings.sign or self.always_signed,
            recorded=recorded,
            first=first,
            others=(
                self._writing(latest, f"the record of {build.id}"),
                *(self._file_writing(version) for path in _paths(build) for version in files.written(path)),
            ),
            at_built=self._content(build.commit, past.names) if known else Content(build.commit, None),
            at_recorded=self._content(written.commit, past.names),
            commit_known=known,
            on_branch=known and is_ancestor(self.repository.git, build.commit, self.revision),
            shallow=not past.complete,
            attestation=self._attestation(build, files),
            sbom=_sbom(build, files),
            tag=self._tag(build, past.names),
            parent=parent,
            parent_key=parent_key,
            looks=tuple(_looks(build, registry)) if registry is not None else None,
        )

    def _parent(self, build: Build) -> tuple[Verification | None, str | None]:
        """What is found of the parent's build, and its recorded key; None where it is an upstream image or unknown."""
        pin = build.source
        if pin is None or pin.image is None or pin.build is None:
            return None, None
        try:
            past = self.past(pin.image)
        except UserError:
            return None, None
        last = past.last_with(pin.build)
        recorded = last.lock.build(pin.build) if last is not None else None
        if recorded is None:
            return None, None
        if pin.build not in self._judged:
            # A build that stands on itself, by whichever way, can only have been written by hand.
            self._judged[pin.build] = Verification(image=past.names[0], build=pin.build, verified=False, findings=())
            self._judged[pin.build] = judge(self._evidence(pin.image, pin.build))
        return self._judged[pin.build], recorded.key

    def _settings_before(self, commit: str) -> GitSettings:
        """How git was to be used when a commit was made: as its parent says, since its own word may be forged."""
        parent = find_commit(self.repository.git, f"{commit}^")
        for revision in filter(None, (parent, commit)):
            tree = self.repository.tree(revision)
            entry = tree.entries.get(SETTINGS_FILE)
            try:
                return read_settings(tree.read([entry.oid])[entry.oid] if entry else None).settings.git
            except UserError:
                continue
        return GitSettings()

    def _writing(self, version: LockVersion, what: str) -> Writing:
        signature = self._signature(version.commit)
        return Writing(
            what, version.commit, version.author, version.subject, version.trailers, signature, version.cut_off
        )

    def _file_writing(self, version: Version) -> Writing:
        trailers = {"Image": version.trailers("Reconciler-Image")}
        signature = self._signature(version.commit)
        cut_off = starts_shallow(self.repository, version)
        return Writing(version.path, version.commit, version.author, version.subject, trailers, signature, cut_off)

    def _signature(self, oid: str) -> Signature:
        if oid not in self._signatures:
            self._signatures[oid] = signature_of(self.repository.git, oid, signers=self.signers)
        return self._signatures[oid]

    def _content(self, commit: str, names: tuple[str, ...]) -> Content:
        """What the image was declared to be at a commit."""
        if commit not in self._fleets:
            try:
                self._fleets[commit] = read_fleet(self.repository.tree(commit))
            except ReconcilerError as error:
                self._fleets[commit] = error.what
        fleet = self._fleets[commit]
        if isinstance(fleet, str):
            return Content(commit, None, f"desired/ can't be read in {commit[:7]}: {fleet}")
        image = next((fleet.images[name] for name in names if name in fleet.images), None)
        if image is None:
            return Content(commit, None, f"{commit[:7]} declares no {names[0]} that can be read")
        components = dict(wanted(image, None).components)
        components.pop(SOURCE, None)
        return Content(commit, components)

    def _attestation(self, build: Build, files: _Files) -> Attestation | None:
        if build.provenance is None:
            return None
        path = f"{FOLDER}/{build.provenance}"
        content = files.read(path)
        if content is None:
            return Attestation(path, None, Signature("absent"), "is not there")
        try:
            statement = provenance.read(content, path)
        except UserError as error:
            return Attestation(path, None, Signature("absent"), f"is {error.what}")
        made_of = files.read(provenance.signature_path(path))
        signature = Signature("absent")
        if made_of is not None:
            at = parse_instant(build.recorded) if build.recorded is not None else None
            signature = verify(
                self.repository.git, content, made_of, namespace=provenance.NAMESPACE, signers=self.signers, at=at
            )  # fmt: skip
        why = "" if provenance.render(statement) == content else "is not in canonical form"
        return Attestation(path, statement, signature, why)

    def _tag(self, build: Build, names: tuple[str, ...]) -> TagRecord | None:
        for name in (tag_name(image, build.id) for image in names):
            message = tag_message(self.repository.git, name)
            if message is None:
                continue
            target = self.repository.resolve(f"refs/tags/{name}")
            try:
                record = record_in(message)
                tagged = parse_build(record.encode(), Place(name)) if record is not None else None
            except Terminal:
                tagged = None
            oid = self.repository.git.run("rev-parse", f"refs/tags/{name}").text
            return TagRecord(name, target, tagged, self._signature(oid))
        return None


class _Files:
    """The files of one revision."""

    def __init__(self, repository: Repository, revision: str) -> None:
        self._repository = repository
        self._revision = revision
        self._tree = repository.tree(revision)

    def read(self, path: str) -> bytes | None:
        """A file's bytes, or None where there is none."""
        entry = self._tree.entries.get(path)
        return self._tree.read([entry.oid])[entry.oid] if entry is not None else None

    def written(self, path: str) -> Iterator[Version]:
        """The commit that first gave a file the bytes that it has; nothing where there is no such file."""
        now = self.read(path)
        if now is not None:
            past = versions(self._repository.git, path, revision=self._revision)
            yield from [version for version in past if version.content == now][-1:]


def _written(
    past: LockPast, build: Build, *, by: Callable[[Build], Mapping[str, object]] = settled
) -> tuple[LockVersion, Build]:
    """The oldest version that holds what is recorded now, and the record in it.

    The oldest, so that a lockfile that a person took back from git's history is what it was (docs/operating.md).
    """
    wanted_record = by(build)
    for version in reversed(past.versions):
        found = version.lock.build(build.id)
        if found is not None and by(found) == wanted_record:
            return version, found
    raise ValueError(f"{build.id} is in no version")


def _paths(build: Build) -> Iterator[str]:
    if build.provenance is not None:
        yield f"{FOLDER}/{build.provenance}"
        yield f"{FOLDER}/{provenance.signature_path(build.provenance)}"
    if build.inventory is not None:
        yield f"{FOLDER}/{build.inventory.sbom}"


def _sbom(build: Build, files: _Files) -> SbomFile | None:
    if build.inventory is None:
        return None
    path = f"{FOLDER}/{build.inventory.sbom}"
    content = files.read(path)
    if content is None:
        return SbomFile(path, None, None, "is not there")
    try:
        inventory = read_sbom(content, path=path).digest
    except UserError:
        return SbomFile(path, None, None, "can't be read")
    return SbomFile(path, provenance.sha256(content), inventory)


def _looks(build: Build, registry: Registry) -> Iterator[Look]:
    for artifact in build.artifacts:
        try:
            yield Look(artifact, registry.find(artifact.location, artifact.id))
        except ReconcilerError as error:
            yield Look(artifact, unreadable=error.what)


def _unknown(image: str, build_id: str, past: LockPast) -> UserError:
    ids = dict.fromkeys(build.id for version in past.versions for build in version.lock.builds)
    known = ", ".join(list(ids)[:5]) or "none"
    more = f" and {len(ids) - 5} more (`reconciler history {image}`)" if len(ids) > 5 else ""
    return UserError(f"no build {build_id} of {image} was ever recorded", mend=f"recorded are: {known}{more}")
