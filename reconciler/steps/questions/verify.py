"""Gather what a clone holds about a build, and judge it: the build, and every build of this fleet that it stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, takewhile
from pathlib import Path

from reconciler.desired.fleet import read_image
from reconciler.git.history import is_ancestor
from reconciler.git.past import Version, author_of, chosen_by_merge, dates_of
from reconciler.git.repository import Repository
from reconciler.git.signature import signature_of
from reconciler.git.tags import tag_message, tag_signature
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.source import Channel
from reconciler.model.verification import Signature, Verification
from reconciler.plan.difference import NotAmong, find
from reconciler.plan.history import LockPast, LockVersion
from reconciler.plan.key import SOURCE, wanted
from reconciler.plan.proof.evidence import (
    Content,
    Evidence,
    Look,
    Name,
    Parent,
    Pointed,
    TagRecord,
    Writing,
    settled,
    whole,
)
from reconciler.plan.proof.verification import PreviewEvidence, judge, judge_preview
from reconciler.plan.publishing import names_of
from reconciler.plan.trust import began
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Registry
from reconciler.registries import KINDS, dialect_of
from reconciler.state.lockfiles import path_of
from reconciler.state.provenance import built_where_source_is, subject_of
from reconciler.steps.ours import Preview, built, failed, find_preview, preview_sbom
from reconciler.steps.questions.compare import NothingReadable, name_now, past_of, starts_shallow
from reconciler.steps.questions.evidence import Files, SigningRule, attestation_of, paths, sbom_file, sbom_of
from reconciler.words.messages import sbom_tag_name, tag_name


@dataclass
class Verifier:
    """One clone, looked at from one revision. What was read once is not read again for a parent."""

    repository: Repository
    revision: str
    """The commit whose state/ is looked at."""
    branch: str = ""
    """What that is called."""
    signers: Path | None = None
    """The allowed signers file; None takes git's."""
    always_signed: bool = False
    """Whether signatures are required whatever the settings said."""
    registry: Registry | None = None
    """None where the registry is not to be asked."""
    publisher: Publisher | None = None
    """None where nobody is to look where channels are written out."""
    head: str | None = None
    """The head of the branch that state is recorded to; None takes the revision for it. Empty where nothing tells which
    that is: then no commit is on it."""
    _at_head: dict[str, bool] = field(default_factory=dict)
    _ahead: dict[str, Future[LockPast]] = field(default_factory=dict)
    _pasts: dict[str, LockPast] = field(default_factory=dict)
    _images: dict[tuple[str, str], Image | None] = field(default_factory=dict)
    _signatures: dict[tuple[str, str], Signature] = field(default_factory=dict)
    _judged: dict[str, Verification] = field(default_factory=dict)

    def expect(self, image: str, *, begun: Future[tuple[Version, ...]] | None = None) -> None:
        """Begin to read what a verdict on an image rests on, while the caller does something else.

        Git walks the whole history for the past of the lockfile (`begun`, as `past_of` takes it), and once more for
        that of the settings.
        """
        pool = ThreadPoolExecutor(max_workers=2)
        self._ahead[image] = pool.submit(past_of, self.repository, image, revision=self.revision, begun=begun)
        pool.submit(self._rule.read_ahead)
        pool.shutdown(wait=False)

    def past(self, image: str) -> LockPast:
        """Every version of an image's lockfile. Raises UserError where nothing of it is recorded."""
        if image not in self._pasts:
            ahead = self._ahead.pop(image, None)
            self._pasts[image] = (
                ahead.result() if ahead is not None else past_of(self.repository, image, revision=self.revision)
            )
        return self._pasts[image]

    def verify(self, image: str, asked: str | None = None) -> Verification:
        """Judge a build of an image, and all that it stands on.

        The registry is asked for this build alone: what it stands on may have been retired since, and rightly.

        Args:
            image: The image's name.
            asked: An id or key or the beginning of one, or a channel; None is the stable build, else the candidate.

        Raises:
            UserError: there is no such build, or it may be several.
        """
        try:
            past = self.past(image)
        except UserError:
            preview = find_preview(self.repository, image, asked) if asked else None
            if preview is None:
                raise
            return self._verify_preview(image, preview)
        channels = past.versions[0].lock.channels
        asked = asked if asked is not None else self._current(image, past)
        channel: Channel | None = "stable" if asked == "stable" else "candidate" if asked == "candidate" else None
        builds = _builds(past)
        try:
            build = find(image, builds, channels=channels, asked=asked)
        except NotAmong as error:
            preview = find_preview(self.repository, image, asked)
            if preview is not None:
                return self._verify_preview(image, preview)
            raise _unknown(image, asked, error, why=failed(self.repository, image, asked)) from error
        return judge(self._evidence(image, build.id, channel=channel, registry=self.registry))

    def _current(self, image: str, past: LockPast) -> Channel:
        channels = past.versions[0].lock.channels
        if channels.stable is None and channels.candidate is None:
            raise UserError(
                f"no channel of {image} points to a build", hint=f"name one; `reconciler history {image}` lists them"
            )
        return "stable" if channels.stable is not None else "candidate"

    def _verify_preview(self, image: str, preview: Preview) -> Verification:
        build = preview.build
        known = self._knows(build.commit)
        path = sbom_tag_name(image, build.id)
        evidence = PreviewEvidence(
            image=image,
            build=build,
            whose=preview.whose,
            tag=self.repository.git.tag(preview.tag),
            target=preview.target,
            signature=tag_signature(self.repository.git, preview.tag, signers=self.signers),
            needed=self._rule.of_now(),
            at_built=self._content(build.commit, (image,)) if known else Content(build.commit, None),
            sbom=sbom_file(path, preview_sbom(self.repository, image, build)) if build.inventory is not None else None,
            parent=self._parent(build),
            built_where_source_is=built_where_source_is(build.artifacts[0].kind),
            looks=tuple(_looks(build, self.registry)) if self.registry is not None else None,
        )
        return judge_preview(evidence)

    def _evidence(
        self, image: str, build_id: str, *, channel: Channel | None = None, registry: Registry | None = None
    ) -> Evidence:
        past = self.past(image)
        last = past.last_with(build_id)
        build = last.lock.build(build_id) if last is not None else None
        if last is None or build is None:
            raise UserError(f"no build {build_id} of {image} was ever recorded")
        written, first = _written(past, build)
        latest, _ = _written(past, build, by=whole)
        recorded = self._writing(written, f"the record of {build.id}", build.id)
        # What is pruned from the lockfile is gone from state/ as well: there it stands as it was last.
        at = self.revision if past.versions[0].lock.build(build_id) is not None else last.commit
        files = Files(self.repository, at)
        known = self._knows(build.commit)
        return Evidence(
            image=past.names[0],
            names=past.names,
            build=build,
            branch=self.branch,
            direct=self._rule.direct(written.commit),
            sign=self._rule.of_statement(written.commit),
            recorded=recorded,
            first=first,
            others=(
                self._writing(latest, f"the record of {build.id}", build.id),
                *(self._file_writing(version, build.id) for path in paths(build) for version in files.written(path)),
            ),
            at_built=self._content(build.commit, past.names) if known else Content(build.commit, None),
            at_recorded=self._content(written.commit, past.names),
            commit_known=known,
            on_branch=known and self._rule.contains(build.commit),
            shallow=not past.complete,
            subject=subject_of,
            built_where_source_is=built_where_source_is(build.artifacts[0].kind),
            attestation=attestation_of(build, files, signers=self.signers),
            sbom=sbom_of(build, files),
            tag=self._tag(build, past.names),
            parent=self._parent(build),
            now_unreadable=past.now_unreadable,
            pointed=self._pointed(past, channel) if channel is not None else None,
            looks=tuple(_looks(build, registry)) if registry is not None else None,
            published=tuple(self._names(past.versions[0].lock, build, channel)) if channel is not None else (),
        )

    def _names(self, lock: Lockfile, build: Build, channel: Channel) -> Iterator[Name]:
        """What the recorded names of a channel hold, as far as they are declared."""
        image = self._declared(self.revision, lock.image) if self.publisher is not None and lock.published else None
        if image is None or self.publisher is None:
            return
        channels = names_of(image)
        for at in lock.published:
            artifact = build.artifact_in(at.location)
            if artifact is None or channels.get(at.called) != channel:
                continue
            try:
                held = self.publisher.read(at.location, [at.called]).get(at.called)
                yield Name(at, artifact, held.value if held is not None else None)
            except ReconcilerError as error:
                yield Name(at, artifact, unreadable=error.what)

    def _is_at_head(self, commit: str) -> bool:
        """Whether a commit is on the branch that state is recorded to."""
        if self.head == "":
            return False
        if self.head is None or self.head == self.revision:
            return self._rule.contains(commit)
        if commit not in self._at_head:
            self._at_head[commit] = is_ancestor(self.repository.git, commit, self.head)
        return self._at_head[commit]

    def _knows(self, commit: str) -> bool:
        """Whether this clone has a commit. A record names it by its id: what a branch is called may move."""
        return self.repository.has(commit)

    def _pointed(self, past: LockPast, channel: Channel) -> Pointed:
        """Who pointed a channel to where it is: the oldest of the versions since which it points there."""
        since = list(
            takewhile(lambda one: _channel(one, channel) == _channel(past.versions[0], channel), past.versions)
        )
        told = since[-1]
        names = dict.fromkeys(one.image for one in since)
        merges = (
            chosen_by_merge(self.repository.git, path_of(name), since=told.commit, revision=self.revision)
            for name in names
        )
        merge = next(filter(None, merges), None)
        if merge is not None:
            author, subject = author_of(self.repository.git, merge), "a merge that threw away another lockfile"
            told = replace(told, commit=merge, author=author, subject=subject, trailers={}, cut_off=False)
        return Pointed(
            channel, self._writing(told, f"the channel {channel}", _channel(past.versions[0], channel) or "")
        )

    def _parent(self, build: Build) -> Parent:
        """What is found of the parent's build."""
        pin = build.source
        if pin is None or pin.image is None or pin.build is None:
            return Parent()
        try:
            name = name_now(self.repository, pin.image, revision=self.revision)
            past = self.past(name)
        except NothingReadable as error:
            return Parent(unreadable=error.what)
        except UserError:
            return Parent()
        last = past.last_with(pin.build)
        recorded = last.lock.build(pin.build) if last is not None else None
        if recorded is None:
            return Parent(unreadable=past.now_unreadable.why if past.now_unreadable is not None else "")
        if pin.build not in self._judged:
            # A build that stands on itself, by whichever way, can only have been written by hand.
            self._judged[pin.build] = Verification(image=past.names[0], build=pin.build, verified=False, findings=())
            self._judged[pin.build] = judge(self._evidence(name, pin.build))
        return Parent(self._judged[pin.build], recorded.key)

    @cached_property
    def _rule(self) -> SigningRule:
        return SigningRule(
            self.repository,
            self.revision,
            trusted=lambda commit: self._signature(commit, "").state == "good",
            always=self.always_signed,
        )

    def _writing(self, version: LockVersion, what: str, build_id: str) -> Writing:
        signature = self._signature(version.commit, build_id)
        return Writing(
            what, version.commit, version.author, version.subject, version.trailers, signature,
            needed=self._rule.of_commit(version.commit), cut_off=version.cut_off,
            at_head=self._is_at_head(version.commit),
        )  # fmt: skip

    def _file_writing(self, version: Version, build_id: str) -> Writing:
        trailers = {"Image": version.trailers("Reconciler-Image")}
        signature = self._signature(version.commit, build_id)
        return Writing(
            version.path, version.commit, version.author, version.subject, trailers, signature,
            needed=self._rule.of_commit(version.commit), cut_off=starts_shallow(self.repository, version),
            at_head=self._is_at_head(version.commit),
        )  # fmt: skip

    def _signature(self, commit: str, build_id: str) -> Signature:
        """The signature of a commit that tells of a build, by a key that was good when that, and its parents, were."""
        if (commit, build_id) not in self._signatures:
            git = self.repository.git
            since = chain(began(build_id), dates_of(git, f"{commit}^@"))
            self._signatures[commit, build_id] = signature_of(git, commit, signers=self.signers, since=since)
        return self._signatures[commit, build_id]

    def _content(self, commit: str, names: tuple[str, ...]) -> Content:
        """What the image was declared to be at a commit."""
        try:
            image = next(filter(None, (self._declared(commit, name) for name in names)), None)
        except ReconcilerError as error:
            return Content(commit, None, f"desired/ can't be read in {commit[:7]}: {error.what}")
        if image is None:
            return Content(commit, None, f"{commit[:7]} declares no {names[0]} that can be read")
        components = dict(wanted(image, None).components)
        components.pop(SOURCE, None)
        return Content(commit, components, at_head=self._is_at_head(commit))

    def _declared(self, commit: str, name: str) -> Image | None:
        """The image as a commit declares it; None where it declares none, or none that can be read."""
        if (commit, name) not in self._images:
            found = read_image(self.repository.tree(commit), name)
            self._images[commit, name] = found if isinstance(found, Image) else None
        return self._images[commit, name]

    def _tag(self, build: Build, names: tuple[str, ...]) -> TagRecord | None:
        for name in (tag_name(image, build.id) for image in names):
            message = tag_message(self.repository.git, name)
            if message is None:
                continue
            target = self.repository.tagged_commit(name)
            signature = tag_signature(self.repository.git, name, signers=self.signers)
            return TagRecord(self.repository.git.tag(name), target, built(message, name), signature)
        return None


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


def _looks(build: Build, registry: Registry) -> Iterator[Look]:
    for artifact in build.artifacts:
        try:
            seen = registry.find(artifact.location, artifact.id)
            own = registry.named(seen.location, seen.name) if seen is not None else ()
            if own and artifact.kind in KINDS:
                # As for whoever builds on it: a registry may look at more than whether it is there.
                kind = dialect_of(artifact.kind).kind
                for one in (artifact.id, *(each.id for each in artifact.conversions)):
                    registry.given(artifact.location, kind.given.format(location=artifact.location, id=one))
            yield Look(artifact, seen, is_own=any(one.id == artifact.id for one in own))
        except ReconcilerError as error:
            yield Look(artifact, unreadable=error.what)


def _builds(past: LockPast) -> tuple[Build, ...]:
    """Every build that was ever recorded, the newest first."""
    found: dict[str, Build] = {}
    for version in past.versions:
        for build in version.lock.builds:
            found.setdefault(build.id, build)
    return tuple(found.values())


def _channel(version: LockVersion, channel: Channel) -> str | None:
    return version.lock.channels.stable if channel == "stable" else version.lock.channels.candidate


def _unknown(image: str, asked: str, error: NotAmong, *, why: str | None) -> UserError:
    if why is not None:
        return UserError(f"{asked} of {image} failed, and was never recorded: {why}", hint=error.hint)
    if asked in ("candidate", "stable"):
        return error
    return UserError(f"no build {asked!r} of {image} was ever recorded", hint=error.hint)
