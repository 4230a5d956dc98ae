"""Channels as tags, in docker's own registry, and in some that answer as others do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.model.declaration import Settings
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Artifact
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Opening
from reconciler.registries import open_publisher
from reconciler.registries.oci.client import INDEX, MANIFEST, Client
from reconciler.registries.oci.marks import Marks, write_marks
from reconciler.registries.oci.reference import Reference, repository
from reconciler.registries.oci.registry import OciRegistry, client_of
from reconciler.registries.oci.tags import WITHDRAWN
from tests import containers
from tests.integration.registries.test_container_faults import Answers, Played, Reply, refusal

FLEET = "acme/images"
OPENING = Opening(FLEET, Settings())
CONFIG = b'{"architecture": "amd64", "os": "linux"}'
BUILD = "20261122T101530Z-1a2b3c4"


@dataclass
class Kept:
    """A repository in a registry, and the fleet's adapters for it."""

    location: str
    client: Client
    registry: OciRegistry
    publisher: Publisher

    @classmethod
    def of(cls, host: str) -> Kept:
        client = client_of(OPENING)
        return cls(f"{host}/acme/web", client, OciRegistry(client, fleet=FLEET), open_publisher("oci", OPENING))

    @property
    def at(self) -> Reference:
        return repository(self.location)

    def push(self, content: str, *, fleet: str | None = FLEET, name: str = "") -> str:
        """An image of one config; of a fleet, where that is said, under the tag of a build. Its digest."""
        self.client.put_blob(self.at, CONFIG)
        body = json.dumps(
            {
                "schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "annotations": {"content": content},
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(CONFIG),
                           "size": len(CONFIG)},
            }
        ).encode()  # fmt: skip
        return self.write(body, MANIFEST, name=name or f"web-20261122T101530Z-{digest_of(body)[7:14]}", fleet=fleet)

    def push_index(self, *digests: str) -> str:
        """An index of images that are there, of our fleet. Its digest."""
        children = [self.client.manifest(self.at.by(one)) for one in digests]
        body = json.dumps(
            {"schemaVersion": 2, "mediaType": INDEX, "manifests": [one.descriptor for one in children if one]}
        ).encode()
        return self.write(body, INDEX, name=f"web-{BUILD}", fleet=FLEET)

    def write(self, body: bytes, media_type: str, *, name: str, fleet: str | None) -> str:
        digest = self.client.put_manifest(self.at.by(name), body, media_type)
        if fleet is not None:
            marks = {"reconciler:fleet": fleet, "reconciler:image": "web", "reconciler:key": "sha256:1"}
            told_of = {"mediaType": media_type, "digest": digest, "size": len(body)}
            write_marks(self.client, self.at, Marks(digest, name, "2026-11-22T10:15:30Z", marks), subject=told_of)
        return digest

    def publish(self, name: str, digest: str) -> None:
        version = self.publisher.put(self.location, name, digest, description="web stable")
        self.publisher.confirm(self.location, name, digest, version=version)

    def named(self, name: str) -> str | None:
        found = self.publisher.read(self.location, [name]).get(name)
        return found.value if found is not None else None


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    containers.refuse_without_registry()
    with containers.registry(tmp_path) as host:
        yield Kept.of(host)


pytestmark = pytest.mark.containers


def test_a_tag_names_what_was_published_and_is_moved_there_and_back(kept: Kept) -> None:
    old, new = kept.push("old"), kept.push("new")
    assert kept.named("stable") is None
    assert kept.publisher.is_ours(kept.location, "stable"), "what is not there is in nobody's way"

    for digest in (old, new, old):
        kept.publish("stable", digest)
        assert kept.named("stable") == digest
        assert kept.publisher.is_ours(kept.location, "stable")

    found = kept.client.manifest(kept.at.by("stable"))
    assert found is not None
    assert (found.digest, found.body) == (old, kept.client.manifest(kept.at.by(old)).body)  # type: ignore[union-attr] # pushed above


def test_many_are_read_at_once_and_what_is_not_there_is_left_out(kept: Kept) -> None:
    images = {f"v{number}": kept.push(str(number)) for number in range(12)}
    for name, digest in images.items():
        kept.publish(name, digest)

    found = kept.publisher.read(kept.location, [*images, "none"])

    assert {name: one.value for name, one in found.items()} == images


def test_an_index_is_published_as_one(kept: Kept) -> None:
    index = kept.push_index(kept.push("amd64", fleet=None), kept.push("arm64", fleet=None))

    kept.publish("stable", index)

    found = kept.client.manifest(kept.at.by("stable"))
    assert found is not None
    assert (found.digest, found.media_type) == (index, INDEX)


@pytest.mark.parametrize("fleet", [None, "others/images"])
def test_what_names_an_image_of_somebody_else_is_theirs_and_stays(kept: Kept, fleet: str | None) -> None:
    theirs = kept.push("theirs", fleet=fleet, name="stable")

    assert not kept.publisher.is_ours(kept.location, "stable")
    with pytest.raises(Terminal, match="is not taken back: it names an image that is none of this fleet's"):
        kept.publisher.remove(kept.location, "stable")
    assert kept.named("stable") == theirs


def test_what_is_taken_back_is_gone_and_the_image_with_its_other_tags_is_not(kept: Kept) -> None:
    digest = kept.push("web")
    kept.publish("stable", digest)
    kept.publish("candidate", digest)
    before = set(kept.client.tags(kept.at))

    for _ in range(2):
        kept.publisher.remove(kept.location, "stable")

    assert set(kept.client.tags(kept.at)) == before - {"stable"}
    assert (kept.named("stable"), kept.named("candidate")) == (None, digest)
    assert kept.publisher.is_ours(kept.location, "stable")
    assert [one.id for one in kept.registry.observe([kept.location]).artifacts] == [digest]
    kept.publish("stable", digest)
    assert kept.named("stable") == digest, "and may be published again"


def test_where_nothing_can_be_deleted_it_names_nothing_that_can_be_pulled(tmp_path: Path) -> None:
    containers.refuse_without_registry()
    with containers.registry(tmp_path, deletes=False) as host:
        kept = Kept.of(host)
        digest = kept.push("web")
        kept.publish("stable", digest)

        kept.publisher.remove(kept.location, "stable")

        assert kept.named("stable") is None
        assert kept.publisher.is_ours(kept.location, "stable")
        left = kept.client.manifest(kept.at.by("stable"))
        assert left is not None
        assert left.body == WITHDRAWN
        kept.publish("stable", digest)
        assert kept.named("stable") == digest


def test_what_is_not_there_can_not_be_published(kept: Kept) -> None:
    kept.push("web")
    with pytest.raises(Terminal, match=f"stable is not written: {digest_of(b'x')} is not there"):
        kept.publisher.put(kept.location, "stable", digest_of(b"x"), description="")
    assert kept.named("stable") is None


def test_what_somebody_writes_in_between_is_not_taken_for_ours(kept: Kept) -> None:
    ours, theirs = kept.push("ours"), kept.push("theirs", fleet=None)
    kept.client.exchange.sleep = lambda *_: None  # type: ignore[method-assign]  # no test waits
    kept.publisher._client.exchange.sleep = lambda *_: None  # type: ignore[attr-defined]  # only a Publisher by its type
    kept.publisher.put(kept.location, "stable", ours, description="")
    kept.client.put_manifest(kept.at.by("stable"), kept.client.manifest(kept.at.by(theirs)).body, MANIFEST)  # type: ignore[union-attr] # pushed above

    with pytest.raises(Transient, match=f"stable names {theirs} after it was written, and not {ours}"):
        kept.publisher.confirm(kept.location, "stable", ours, version=0)


def test_what_a_published_tag_names_is_never_deleted(kept: Kept) -> None:
    digest = kept.push("web")
    kept.publish("stable", digest)
    artifact = Artifact(kind="oci", builder="docker.web", location=kept.location, id=digest, name=f"web-{BUILD}")

    assert kept.registry.retire(artifact, image="web").parts == (f"{kept.location}:stable",)

    assert kept.named("stable") == digest
    kept.client.delete_manifest(kept.at.by(digest))
    assert kept.named("stable") is None


IMMUTABLE = {
    "ECR": refusal(
        400, "TAG_INVALID", "The image tag 'stable' already exists in the 'web' repository and cannot be overwritten "
        "because the repository is immutable.",
    ),
    "Harbor": refusal(412, "PRECONDITION", "Failed to process request due to 'web:stable' configured as immutable."),
    "as it was proposed": refusal(403, "DENIED", "The tag:web:stable is immutable, cannot be overwrite."),
    "another": refusal(409, "TAG_IMMUTABLE", "tag is immutable"),
}  # fmt: skip


@pytest.fixture
def played() -> Iterator[Played]:
    one = Played()
    yield one
    one.end()


def as_one_that_keeps_tags(reply: Reply) -> Answers:
    """A registry with one image that says so whenever a tag is written."""
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode()
    there = Reply(200, body, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(body)})
    return lambda method, *_: reply if method == "PUT" else there


@pytest.mark.parametrize("registry", IMMUTABLE)
def test_a_registry_that_lets_no_tag_be_moved_is_told_with_the_way_out(played: Played, registry: str) -> None:
    played.answers = as_one_that_keeps_tags(IMMUTABLE[registry])
    location = f"{played.host}/acme/web"
    digest = digest_of(json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode())

    with pytest.raises(Terminal) as refused:
        open_publisher("oci", OPENING).put(location, "stable", digest, description="")

    said = f"{location}:stable can't be moved: its registry keeps a tag as it was written ("
    assert refused.value.what.startswith(said)
    assert "immutable" in refused.value.what
    assert "let `stable` be moved there" in refused.value.hint[0]
    assert "take `publish.tag` away" in refused.value.hint[0]


@pytest.mark.parametrize("reply", [Reply(500), refusal(403, "DENIED"), refusal(401, "UNAUTHORIZED")])
def test_a_registry_that_does_not_answer_is_never_taken_for_one_without_the_tag(played: Played, reply: Reply) -> None:
    played.answers = lambda *_: reply
    publisher = open_publisher("oci", OPENING)
    publisher._client.exchange.tries = 1  # type: ignore[attr-defined]  # only a Publisher by its declared type

    with pytest.raises((Terminal, Transient)):
        publisher.read(f"{played.host}/acme/web", ["stable"])
    with pytest.raises((Terminal, Transient)):
        publisher.is_ours(f"{played.host}/acme/web", "stable")


def test_no_machine_is_launched_by_an_image_in_a_registry() -> None:
    publisher = open_publisher("oci", OPENING)

    assert publisher.templates("registry.example.org/web", ["web"]) == {}
    assert publisher.groups("registry.example.org/web", ["web"]) == {}
    with pytest.raises(Terminal, match="so there is no web"):
        publisher.remove_version("registry.example.org/web", "web", 1, digest_of(b""))


def test_the_registry_tells_what_time_it_has(kept: Kept) -> None:
    told = kept.registry.server_time(kept.location)
    assert told is not None
    assert abs(told - datetime.now(UTC)) < timedelta(minutes=5)
