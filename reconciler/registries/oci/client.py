"""What is asked of a container registry, by OCI's distribution specification (v1.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard, TypeVar
from urllib.parse import urlsplit

from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.json_text import json_object
from reconciler.model.text import first_line
from reconciler.model.values import sha256_of
from reconciler.registries.allowance import Allowance, carried
from reconciler.registries.dates import told_at
from reconciler.registries.oci.exchange import Exchange
from reconciler.registries.oci.headers import next_page
from reconciler.registries.oci.reference import DIGEST, TAG, Reference
from reconciler.registries.oci.transport import MOST, PARALLEL, Answer, Body, Stream, joined, translated

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKERS = "application/vnd.docker.distribution.manifest"
INDEXES = frozenset({INDEX, f"{_DOCKERS}.list.v2+json"})
OF_IMAGES_ALONE = frozenset({f"{_DOCKERS}.v2+json"})
MANIFESTS = frozenset({MANIFEST}) | OF_IMAGES_ALONE
_ACCEPT = ", ".join(sorted(INDEXES | MANIFESTS))
_LAYERS = 4
"""How many layers of an image are copied at once."""
_CONFIGS = frozenset({"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"})
"""The types of an image's config. A manifest with another is of something else that is kept as images are."""
_OF_A_REGISTRY = re.compile(r"application/vnd\.", re.IGNORECASE)
"""How all types of manifests begin, those of older forms and of others' artifacts among them."""
_MOST_PAGES, _MOST_TAGS = 100, 100_000
_LISTING, _MOST_OF_A_LIST = 600.0, 32 << 20
"""Seconds, and bytes, of a list of tags with all of its pages: twice what the most and longest tags take."""
_A_PAGE = 1000
_MOST_CHILDREN = 100


_T = TypeVar("_T")
_R = TypeVar("_R")


def all_of(
    ask: Callable[[_T], _R], of: Iterable[_T], *, parallel: int = PARALLEL
) -> list[_R | ReconcilerError]:  # fmt: skip
    """Ask of each at once: the answers in order, and of what could not be answered why.

    What holds this thread, as an `Allowance`, holds for all of them together.
    """
    every, ask = list(of), carried(ask)

    def one(what: _T) -> _R | ReconcilerError:
        try:
            return ask(what)
        except ReconcilerError as error:
            return error

    if not every:
        return []
    with ThreadPoolExecutor(max_workers=min(parallel, len(every))) as pool:
        return list(pool.map(one, every))


def each_of(ask: Callable[[_T], _R], of: Iterable[_T], *, parallel: int = PARALLEL) -> list[_R]:
    """The same, where all have to be answered: the first error is raised once all are through."""
    found: list[_R] = []
    for one in all_of(ask, of, parallel=parallel):
        if isinstance(one, ReconcilerError):
            raise one
        found.append(one)
    return found


@dataclass(frozen=True)
class Manifest:
    """A manifest, or an index, with the digest of its bytes."""

    digest: str
    media_type: str
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """What is in it; empty where that is nothing to be read."""
        return json_object(self.body)

    @property
    def config(self) -> str:
        """The digest of its image's config; empty where it names none, as an index."""
        config = self.json.get("config")
        return str(config.get("digest") or "") if isinstance(config, dict) else ""

    @property
    def other_type(self) -> str | None:
        """What it is of, where that is no image, nor an index: the type of an artifact, or of its config.

        An index is one of artifacts where it says so, or each that it lists does.
        """
        if self.media_type in INDEXES:
            listed = self.json.get("manifests")
            below = listed if isinstance(listed, list) else []
            types = [one.get("artifactType") if isinstance(one, dict) else None for one in below]
            said = self.json.get("artifactType") or (types[0] if types and all(types) else None)
            return str(said) if said else None
        config = self.json.get("config")
        media_type = str(config.get("mediaType") or "") if isinstance(config, dict) else ""
        if media_type in _CONFIGS:
            return None
        return str(self.json.get("artifactType") or media_type or "nothing that has a type")

    @property
    def descriptor(self) -> dict[str, Any]:
        """How another manifest refers to it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.body)}


class DeletesNothing(Terminal):
    """A registry that lets nobody delete anything, by its own answer."""


@dataclass(frozen=True)
class Client:
    """Manifests, tags and blobs of repositories. May be used by several threads.

    Every method raises Transient where a registry could not be asked, and Terminal where it refuses.
    """

    exchange: Exchange

    # Manifests and tags.

    def manifest(self, of: Reference, *, most: int = MOST) -> Manifest | None:
        """A manifest by tag or digest, of so many bytes; None where the registry says that there is none.

        Raises Terminal for what is no manifest of an image, and for bytes that have not the digest asked for.
        """
        answer = self.exchange.ask("GET", of, f"manifests/{of.at}", headers={"Accept": _ACCEPT}, most=most)
        if answer.status == 404:
            return None
        media_type = answer.media_type
        if media_type not in INDEXES | MANIFESTS:
            raise Terminal(
                f"{of.repository} answers {of.at} with {first_line(media_type) or 'something of no type'}, which is no "
                "manifest of a container image",
                hint="what is of an older form has to be pushed anew",
            )
        digest = sha256_of(answer.body)
        if of.digest not in (None, digest):
            raise Terminal(f"{of.repository} answers {of.at} with other bytes, of {digest}")
        return Manifest(digest, media_type, answer.body)

    def server_time(self, of: Reference) -> datetime | None:
        """What time the registry has, by the Date of an answer; None where it tells none."""
        answer = self.exchange.ask("GET", of, "tags/list?n=1", headers={"Accept": "application/json"})
        return told_at(answer.headers)

    def digest(self, of: Reference) -> str | None:
        """The digest that a tag has now; None where the registry says that there is none. See `named`."""
        found = self.named(of)
        return found[0] if found is not None else None

    def named(self, of: Reference) -> tuple[str, str] | None:
        """The digest and the type of what a tag or a digest names; None where the registry says that there is none.

        It is asked by HEAD, which hosted registries don't count as a pull. A HEAD has no body, in which whoever answers
        could say that he is a registry: what has not the type and the digest of something that a registry keeps, or is
        not there, is asked for by GET. Raises what `manifest` does.
        """
        answer = self.exchange.ask("HEAD", of, f"manifests/{of.at}", headers={"Accept": _ACCEPT}, also=(405,))
        told, media_type = answer.headers.get("docker-content-digest", ""), answer.media_type
        is_its = re.fullmatch(DIGEST, told) is not None and of.digest in (None, told)
        if answer.status == 200 and is_its and _OF_A_REGISTRY.match(media_type):
            return told, media_type
        found = self.manifest(of)
        return (found.digest, found.media_type) if found is not None else None

    def put_manifest(self, to: Reference, body: bytes, media_type: str) -> str:
        """Write a manifest under a tag, or its digest; returns its digest. Written twice it is there once."""
        answer = self.exchange.ask("PUT", to, f"manifests/{to.at}", headers={"Content-Type": media_type}, body=body)
        if answer.status == 404:
            raise Terminal(
                f"there is no {to.repository}, and its registry makes none", hint="make the repository first"
            )
        return sha256_of(body)

    def delete_manifest(self, of: Reference) -> None:
        """Delete a manifest by its digest, with all its tags. What is gone already is no error.

        Raises DeletesNothing where nobody may delete anything there (405 of OCI's distribution specification).
        """
        answer = self.exchange.ask("DELETE", of, f"manifests/{of.at}", also=(405,))
        if answer.status == 405:
            raise DeletesNothing(
                f"{of.host} deletes nothing: {answer.says or 'it does not offer that'}",
                hint="allow it there (docker's own registry: storage.delete.enabled), or let it expire images",
            )

    def tags(self, of: Reference) -> tuple[str, ...]:
        """Every tag of a repository, in order; none where there is no such repository.

        Raises Terminal for more than a hundred thousand, or a hundred pages; Transient for what takes ten minutes.
        """
        with translated(of), Allowance(_LISTING, most=_MOST_OF_A_LIST, what="the list of tags").holds():
            return self._tags(of)

    def _tags(self, of: Reference) -> tuple[str, ...]:
        found: dict[str, None] = {}
        path: str | None = f"tags/list?n={_A_PAGE}"
        for asked in range(_MOST_PAGES):
            answer = self.exchange.ask("GET", of, path or "", headers={"Accept": "application/json"})
            if answer.status == 404 and not asked:
                return ()
            found.update(dict.fromkeys(tag for tag in _listed(answer, of) if re.fullmatch(TAG, tag)))
            path = _next(answer, of)
            if len(found) > _MOST_TAGS:
                break
            if path is None:
                return tuple(found)
        what = f"{_MOST_TAGS:,} tags" if len(found) > _MOST_TAGS else f"{_MOST_PAGES} pages of tags"
        raise Terminal(f"{of.repository} has more than {what}", hint="use a repository an image")

    # Blobs.

    def blob(self, of: Reference, digest: str) -> bytes | None:
        """A small blob, such as an image's config; None where there is none. Raises Terminal for other bytes."""
        answer = self.exchange.ask("GET", of, f"blobs/{digest}")
        if answer.status == 404:
            return None
        if sha256_of(answer.body) != digest:
            raise Terminal(f"{of.repository} answers {digest} with other bytes")
        return answer.body

    def put_blob(self, to: Reference, body: bytes) -> None:
        """Write a small blob, unless it is there."""
        digest = sha256_of(body)
        if not self._has_blob(to, digest):
            self._upload(to, digest, body, start=self._start(to, "blobs/uploads/"))

    def copy_blob(self, source: Reference, to: Reference, digest: str, size: int) -> None:
        """Have a blob of one repository in another: mounted by the registry where it can, else sent through here."""
        if self._has_blob(to, digest):
            return
        mount = f"?mount={digest}&from={source.path}" if source.host == to.host else ""
        start = self._start(to, f"blobs/uploads/{mount}")
        if start.status != 201:
            self._upload(to, digest, Stream(self.exchange.stream(source, digest, size), size), start=start)

    def _has_blob(self, of: Reference, digest: str) -> bool:
        return self.exchange.ask("HEAD", of, f"blobs/{digest}").status == 200

    def _start(self, to: Reference, path: str) -> Answer:
        start = self.exchange.ask("POST", to, path, headers={"Content-Length": "0"})
        if start.status == 404:
            raise Terminal(
                f"there is no {to.repository}, and its registry makes none", hint="make the repository first"
            )
        return start

    def _upload(self, to: Reference, digest: str, body: Body, *, start: Answer) -> None:
        where = joined(to, f"{to.endpoint}/", start.headers.get("location", ""))
        ends = f"{where}{'&' if urlsplit(where).query else '?'}digest={digest}"
        headers = {"Content-Type": "application/octet-stream"}
        # Once: what broke off is begun anew by whoever asked, and a registry forgets an upload that nobody ended.
        answer = self.exchange.send("PUT", to, ends, headers=headers, body=body)
        if answer.status >= 400:
            raise self.exchange.refusal(to, answer, doing="takes no upload")


def copy_below(client: Client, at: Reference, there: Reference, manifest: Manifest) -> None:
    """Copy what a manifest refers to, without an engine: layers and config, or of an index its manifests.

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


def children(index: Manifest, at: Reference) -> list[str]:
    """The digests of what an index refers to, in order; of any other manifest none.

    Raises Terminal for too many, and for an index that lists nothing at all, not even nothing.
    """
    if index.media_type not in INDEXES:
        return []
    found = [digest for digest, _ in described(index, at, *parts(index, at, "manifests"))]
    if len(found) > _MOST_CHILDREN:
        raise Terminal(f"{index.digest} in {at.repository} is an index of {len(found)} images")
    return list(dict.fromkeys(found))


def parts(manifest: Manifest, at: Reference, name: str) -> list[object]:
    """What a manifest lists as its `layers`, or an index as its `manifests`. Raises Terminal where that is no list."""
    found = manifest.json.get(name)
    if not isinstance(found, list):
        raise _no_manifest(manifest, at)
    return found


def described(manifest: Manifest, at: Reference, *descriptors: object) -> list[tuple[str, int]]:
    """Digest and size of what a manifest refers to, but for what its publisher has elsewhere.

    Raises Terminal for what describes nothing.
    """
    found: list[tuple[str, int]] = []
    for one in descriptors:
        digest, size = (one.get("digest"), one.get("size")) if isinstance(one, dict) else (None, None)
        if not isinstance(digest, str) or re.fullmatch(DIGEST, digest) is None or not _is_size(size):
            raise _no_manifest(manifest, at)
        if isinstance(one, dict) and not one.get("urls"):
            found.append((digest, size))
    return found


def _no_manifest(manifest: Manifest, at: Reference) -> Terminal:
    return Terminal(f"{manifest.digest} in {at.repository} is no manifest of an image that can be copied")


def _is_size(size: object) -> TypeGuard[int]:
    return isinstance(size, int) and not isinstance(size, bool) and size >= 0


def _listed(answer: Answer, of: Reference) -> list[str]:
    """The tags of a page. Raises Transient for what is no list of tags, such as the page of a proxy that wants a login.

    `null` is docker-registry's word for a repository whose tags are all gone.
    """
    page = answer.json()
    tags = page.get("tags", "") if answer.status == 200 and "errors" not in page else ""
    if tags is None:
        return []
    if not isinstance(tags, list) or not all(isinstance(one, str) for one in tags):
        raise _not_a_registry(of, f"a list of the tags of {of.repository}", answer)
    return tags


def _next(answer: Answer, of: Reference) -> str | None:
    """The path of the next page, which a registry names in `Link`. Raises Transient for what names nothing."""
    try:
        where = next_page(answer.headers.get("link", ""))
    except ValueError as error:
        raise _not_a_registry(of, f"the next page of the tags of {of.repository}", answer) from error
    if where is None:
        return None
    query = urlsplit(joined(of, f"{of.endpoint}/", where)).query
    return f"tags/list?{query}"


def _not_a_registry(of: Reference, wanted: str, answer: Answer) -> Transient:
    said = first_line(answer.headers.get("content-type", "")) or "nothing that has a type"
    return Transient(
        f"{of.host} answers with {said} ({answer.status}), and not with {wanted}: is something between here and there?"
    )
