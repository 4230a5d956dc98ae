"""A container registry as the registry of a fleet's images: each under its digest, with its marks beside it."""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from reconciler.model.errors import NoCredentials, ReconcilerError, Terminal
from reconciler.model.json_text import json_object
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import TAG_PREFIX, Observation, Seen, foreign
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.text import first_few
from reconciler.model.values import format_instant, sha256_of, told_instant
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Located, Opening, Registry, Remains
from reconciler.registries.allowance import Allowance
from reconciler.registries.oci.aliases import is_one_place
from reconciler.registries.oci.client import (
    INDEXES,
    Client,
    DeletesNothing,
    Manifest,
    all_of,
    copy_below,
    each_of,
)
from reconciler.registries.oci.credentials import Logins
from reconciler.registries.oci.dialect import OCI
from reconciler.registries.oci.engine import engine_of
from reconciler.registries.oci.exchange import Exchange
from reconciler.registries.oci.kept_marks import KeptMarks, Reading, cache_folder
from reconciler.registries.oci.leftovers import remove_earlier
from reconciler.registries.oci.marks import (
    Marks,
    announced_by,
    drop_marks,
    marked_by,
    read_announced,
    read_marks,
    tag_of,
    withdraw,
    write_marks,
)
from reconciler.registries.oci.needed import needless_below, other_tags
from reconciler.registries.oci.reference import DIGEST, TAG, Reference, is_surely_one, parse, repository
from reconciler.registries.oci.sources import confirmed, pinned
from reconciler.registries.plain import PlainRegistry

if TYPE_CHECKING:
    from reconciler.aws.session import Clients

_MOST_MARKED = 10_000
_MOST_NAMED = 3
_STAYS = f"{TAG_PREFIX}stays"
"""The mark of what was to be retired in a registry that deletes nothing: why it is there still."""
_READING, _MOST_OF_MARKS = 600.0, 16 << 20
"""Seconds, and bytes, of all marks in a repository, each of its images: some eight thousand of ours."""
_COPYING, _RETIRING = 4 * 3600.0, 3600.0
"""Seconds for all that is asked for an image meanwhile, however many layers or tags there are."""


class OciRegistry(PlainRegistry):
    """The container images of one fleet. Implements `Registry`."""

    def __init__(self, client: Client, *, fleet: str, kept: KeptMarks | None = None) -> None:
        """`kept` are the marks that earlier runs read; None where every run reads them anew."""
        self._client, self.fleet, self._kept = client, fleet, kept or KeptMarks(None)
        self._writing: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
        self._ahead: tuple[tuple[str, ...], Future[Observation]] | None = None

    def expect(self, locations: Sequence[str]) -> None:
        """Begin to read locations that will probably be observed next, while the caller does something else."""
        pool = ThreadPoolExecutor(max_workers=1)
        asked = tuple(locations)
        self._ahead = asked, pool.submit(self._observe, asked)
        pool.shutdown(wait=False)

    def observe(self, locations: Sequence[str]) -> Observation:
        """Report the fleet's images. See `Registry.observe`. What was expected, and asked for just so, is used once."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == tuple(locations):
            return ahead[1].result()
        return self._observe(locations)

    def _observe(self, locations: Sequence[str]) -> Observation:
        """Read them anew.

        One request lists the tags of a repository, and one is for the marks of each image in it, all of them at once:
        a HEAD where an earlier run read them and they are still what they were. An image whose own tag is listed is
        there; of another it is asked.
        """
        asked = list(dict.fromkeys(locations))
        unreadable: dict[str, str] = {}
        hints: dict[str, tuple[str, ...]] = {}
        refused: dict[str, NoCredentials] = {}
        listed: dict[str, frozenset[str]] = {}
        for place, tags in zip(asked, all_of(self._tags, asked), strict=True):
            if isinstance(tags, ReconcilerError):
                unreadable[place] = tags.what
                hints |= {place: tags.hint} if tags.hint else {}
                refused |= {place: tags} if isinstance(tags, NoCredentials) else {}
            else:
                listed[place] = tags
        found = self._marked(listed, unreadable)
        order = {place: number for number, place in enumerate(asked)}
        readable = [one for one in found if one.location not in unreadable]
        return Observation(
            tuple(sorted(readable, key=lambda one: (order[one.location], one.id))),
            unreadable,
            next(iter(refused.values())) if refused and len(refused) == len(asked) else None,
            hints,
        )

    def _marked(self, listed: Mapping[str, frozenset[str]], unreadable: dict[str, str]) -> list[Seen]:
        """The fleet's images by the tags of each repository; what can't be read is added to `unreadable`."""
        reading = {place: Reading(self._client, place, self._kept) for place in listed}
        ours: list[tuple[str, str]] = []
        for place, tags in listed.items():
            marked = [tag for tag in tags if marked_by(tag) or announced_by(tag)]
            if len(marked) > _MOST_MARKED:
                unreadable[place] = f"{place} has marks of {len(marked):,} images, of which {_MOST_MARKED:,} are read"
            else:
                ours += [(place, tag) for tag in marked]

        @cache
        def allowed(place: str) -> Allowance:
            return Allowance(_READING, most=_MOST_OF_MARKS, what=f"the marks in {place}")

        def listed_one(one: tuple[str, str]) -> Seen | None:
            with allowed(one[0]).holds():
                return self._listed(*one, listed[one[0]], reading[one[0]])

        found: list[Seen] = []
        for (place, _), one in zip(ours, all_of(listed_one, ours), strict=True):
            if isinstance(one, ReconcilerError):
                unreadable.setdefault(place, one.what)
            elif one is not None:
                found.append(one)
        for place in listed.keys() - unreadable.keys():
            reading[place].keep()
        return found

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one image, or None. See `Registry.find`. What a registry took is there at once."""
        del patience
        at = repository(location)
        manifest = self._client.manifest(at.by(artifact_id)) if parse(f"x@{artifact_id}") is not None else None
        if manifest is None:
            return None
        marks = read_marks(self._client, at, artifact_id)
        return _seen(location, marks) if marks is not None else self._unmarked(at, manifest)

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """Report the image of a tag, or of a digest, which is the name of one without a tag. See `Registry.named`."""
        at = repository(location)
        manifest = self._client.manifest(at.by(name)) if re.fullmatch(f"{TAG}|{DIGEST}", name) else None
        if manifest is None:
            return ()
        marks = read_marks(self._client, at, manifest.digest)
        return (_seen(location, marks) if marks is not None else self._unmarked(at, manifest, name=name),)

    def store(
        self, location: str, made: Sequence[Made], *, name: str, tags: Mapping[str, str]
    ) -> Sequence[Artifact]:  # fmt: skip
        """Push the image that Packer left in the engine, under a tag of its own. See `Registry.store`.

        Its id is what the engine says that it pushed: Packer never says it, and an engine may pack a layer anew. Under
        its tag there may be somebody else's by now, who saw it announced. What the template itself pushed is pushed
        once more, which moves no layer. What the engine has of earlier builds goes.
        """
        at = repository(location)
        engine = engine_of(made, os.environ)
        image = engine.image(made)
        write_marks(self._client, at, Marks("", name, _now(), tags), subject=None)
        pushed = engine.push(image, f"{location}:{name}")
        manifest = self._there(at.by(pushed or name))
        if pushed is None:
            _refuse_another(manifest, image, at=at.by(name))
        if read_marks(self._client, at, manifest.digest) is None:
            self._mark(at, manifest, Marks(manifest.digest, name, _now(), tags))
        withdraw(self._client, at, name)
        remove_earlier(engine, self._client, at, fleet=self.fleet, but=manifest.digest)
        return [Artifact(kind=OCI.name, builder=made[0].builder, location=location, id=manifest.digest, name=name)]

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set marks. See `Registry.tag`. Two of this run never write the same at once."""
        at = repository(artifact.location)
        with self._writing[artifact.location, artifact.id]:
            manifest = self._there(at.by(artifact.id))
            before = self._marks(at, artifact)
            if before is None:
                seen = self._unmarked(at, manifest)
                before = Marks(artifact.id, getattr(artifact, "name", None) or "", seen.created, {})
            self._mark(at, manifest, replace(before, tags={**before.tags, **tags}))

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Copy to another repository; it is whole when this returns. See `Registry.copy`. Its digest is the token."""
        del token
        at, there = repository(source.location), repository(to)
        with Allowance(_COPYING, what=f"copying {source.id}").holds():
            return self._copied(source, at, there, name=name, tags=tags)

    def _copied(self, source: Located, at: Reference, there: Reference, *, name: str, tags: Mapping[str, str]) -> str:
        manifest = self._there(at.by(source.id))
        before = read_marks(self._client, at, source.id)
        theirs = foreign(before.tags) if before is not None else {}
        copy_below(self._client, at, there, manifest)
        self._client.put_manifest(there.by(manifest.digest), manifest.body, manifest.media_type)
        if read_marks(self._client, there, manifest.digest) is None:
            self._mark(there, manifest, Marks(manifest.digest, name, _now(), {**theirs, **tags}))
        self._client.put_manifest(there.by(name), manifest.body, manifest.media_type)
        return manifest.digest

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """Whether two repositories are one by their names, or an image that both have is. See `Registry.is_same`.

        Of an image it is found out by a change of its marks, and asked only where they are ours.
        """
        at, there = repository(location), repository(other)
        if at == there or not re.fullmatch(DIGEST, artifact_id):
            return is_surely_one(at, there)
        marks = read_marks(self._client, at, artifact_id)
        manifest = self._client.manifest(at.by(artifact_id))
        if marks is None or manifest is None or marks.tags.get(f"{TAG_PREFIX}fleet") != self.fleet:
            return False
        with self._writing[location, artifact_id]:
            return is_one_place(self._client, at, there, marks, subject=manifest.descriptor)

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """Delete an image, then its marks. See `Registry.retire`.

        Where nothing can be deleted, its marks say so from then on.

        Where a tag of somebody else points to it, which would go with it, only the marks go.
        With an index go its images, but for those that something else in the repository needs. They go last, as ECR
        deletes none that an index refers to: whoever is killed just then leaves them without a tag.
        """
        with Allowance(_RETIRING, what=f"retiring {artifact.id}").holds():
            try:
                return self._retired(artifact, image=image)
            except DeletesNothing as error:
                self.tag(artifact, {_STAYS: error.what})
                return Remains(stays=error.what)

    def reconsider(self, artifacts: Sequence[Located]) -> bool:
        """Whether something can be deleted by now, by asking for what nobody has. See `Registry.reconsider`."""
        nobodys = sha256_of(secrets.token_bytes(32))
        try:
            self._client.delete_manifest(repository(artifacts[0].location).by(nobodys))
        except DeletesNothing:
            return False
        for one in artifacts:
            self.tag(one, {_STAYS: ""})
        return True

    def _retired(self, artifact: Located, *, image: str) -> Remains:
        at = repository(artifact.location)
        manifest = self._client.manifest(at.by(artifact.id))
        marks = self._marks(at, artifact)
        if marks is None:
            if manifest is None:
                return Remains()
            raise Terminal(f"{artifact.id} in {artifact.location} is not retired: it carries no marks of ours")
        self.refuse_others(_seen(artifact.location, marks), image)
        others = other_tags(self._client, at, artifact.id, own=marks.name, image=image) if manifest is not None else ()
        if manifest is not None and not others:
            below = needless_below(self._client, at, manifest)
            self._client.delete_manifest(at.by(artifact.id))
            each_of(lambda digest: self._client.delete_manifest(at.by(digest)), below)
        drop_marks(self._client, at, artifact.id, gone=manifest is None)
        withdraw(self._client, at, marks.name)
        if not others:
            return Remains()
        named = first_few(others, most=_MOST_NAMED)
        return Remains(
            tuple(f"{artifact.location}:{tag}" for tag in others), f"it is tagged {named} as well, which no build did"
        )  # fmt: skip

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        """Resolve a reference to the digest that it has now. See `Registry.resolve`. An index is pinned as one."""
        del location, architecture
        if request.upstream is None:
            raise ValueError("a parent image is resolved from state/, not from a registry")
        return pinned(self._client, str(request.upstream[1]))

    def given(self, location: str, source: str) -> str:
        """The reference of what is pinned, by its digest, once its bytes were seen to have that. See `Registry`."""
        del location
        return confirmed(self._client, source)

    def server_time(self, location: str) -> datetime | None:
        """What time the registry has. See `Registry.server_time`."""
        return self._client.server_time(repository(location))

    def _tags(self, location: str) -> frozenset[str]:
        return frozenset(self._client.tags(repository(location)))

    def _listed(self, location: str, tag: str, tags: frozenset[str], reading: Reading) -> Seen | None:
        """An image of the fleet by a tag of ours; None for another's, and for one that is gone, or not there yet."""
        at, digest = repository(location), marked_by(tag)
        if digest is None:
            return self._unfinished(at, announced_by(tag) or "", tags)
        marks = reading.marks(digest)
        if marks is None or marks.tags.get(f"{TAG_PREFIX}fleet") != self.fleet:
            return None
        if marks.name not in tags and self._client.digest(at.by(digest)) is None:
            return None
        return _seen(location, marks)

    def _unfinished(self, at: Reference, name: str, tags: frozenset[str]) -> Seen | None:
        """An image that was announced and pushed, and has no marks: a run was killed in between, or is at it."""
        digest = self._client.digest(at.by(name)) if name in tags else None
        if digest is None or tag_of(digest) in tags:
            return None
        announced = read_announced(self._client, at, name)
        if announced is None or announced.tags.get(f"{TAG_PREFIX}fleet") != self.fleet:
            return None
        return _seen(at.repository, replace(announced, id=digest))

    def _marks(self, at: Reference, artifact: Located) -> Marks | None:
        """An image's marks, or what was announced of it; None where there is neither."""
        marks, name = read_marks(self._client, at, artifact.id), getattr(artifact, "name", None)
        if marks is not None or name in (None, "", artifact.id) or self._client.digest(at.by(name)) != artifact.id:
            return marks
        announced = read_announced(self._client, at, name)
        return replace(announced, id=artifact.id) if announced is not None else None

    def _there(self, at: Reference) -> Manifest:
        manifest = self._client.manifest(at)
        if manifest is None:
            raise Terminal(f"{at.at} is not in {at.repository}")
        return manifest

    def _mark(self, at: Reference, manifest: Manifest, marks: Marks) -> None:
        write_marks(self._client, at, marks, subject=manifest.descriptor)

    def _unmarked(self, at: Reference, manifest: Manifest, *, name: str = "") -> Seen:
        """An image without marks: when it was made, its own config says, and an index says nothing."""
        created = ""
        if re.fullmatch(DIGEST, manifest.config) and manifest.media_type not in INDEXES:
            created = _created(self._client.blob(at, manifest.config) or b"")
        return Seen(
            OCI.name, at.repository, manifest.digest, name or manifest.digest, "available", created, {}, hearsay=True
        )


def _refuse_another(manifest: Manifest, image: str, *, at: Reference) -> None:
    """Raise Terminal for a manifest that is not of an engine's image, whose id is its digest, or that of its config."""
    if f"sha256:{image.removeprefix('sha256:')}" not in (manifest.digest, manifest.config):
        raise Terminal(
            f"{manifest.digest} in {at.repository} is not what was pushed as {at.at}",
            hint="somebody else pushes there: give each image a repository that nobody else may write to",
        )


def _seen(location_: str, marks: Marks) -> Seen:
    return Seen(
        OCI.name, location_, marks.id, marks.name or marks.id, "available", marks.created, marks.tags, hearsay=True,
        stays=marks.tags.get(_STAYS, ""),
    )  # fmt: skip


def _created(config: bytes) -> str:
    """When an image was made, as its config says; empty where it says nothing that can be a time."""
    return told_instant(json_object(config).get("created"))


def _now() -> str:
    return format_instant(datetime.now(UTC))


def open_registry(opening: Opening) -> Registry:
    """The registry of a fleet's container images. Waits end, with Transient, once the run is cancelled."""
    return OciRegistry(client_of(opening), fleet=opening.fleet, kept=KeptMarks(cache_folder()))


def client_of(opening: Opening) -> Client:
    """Whoever asks registries for a fleet, with the logins that docker has here."""

    def clients() -> Clients:
        from reconciler.aws.session import clients_of  # noqa: PLC0415 - only those need it who keep images in ECR

        return clients_of(opening)

    return Client(Exchange(Logins(os.environ, clients), opening.cancelled))
