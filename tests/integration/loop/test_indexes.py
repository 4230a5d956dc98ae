"""An index of several architectures is one artifact: taken over, copied, verified, published and retired as a whole."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from reconciler.git.repository import Repository
from reconciler.model.lockfile import Artifact
from reconciler.model.source import SourceRequest
from reconciler.registries.oci.client import INDEX, Client
from reconciler.registries.oci.dialect import OCI
from reconciler.steps.questions.verify import Verifier
from tests.integration.loop.repositories import ContainersWorld
from tests.integration.loop.settling import assert_nothing_planned
from tests.integration.loop.world import git, no_image_files

pytestmark = [pytest.mark.containers, pytest.mark.long]


def client(world: ContainersWorld) -> Client:
    found: Client = world.registry._client  # type: ignore[attr-defined]  # Repositories, by another declared type
    return found


def has(world: ContainersWorld, location: str, *digests: str) -> list[bool]:
    return [client(world).digest(world.at(location).by(one)) is not None for one in digests]


def push(world: ContainersWorld, tag: str, *architectures: str) -> Sequence[str]:
    """Somebody pushes an index where web is kept, and no tag stays on its images. Its digest, and theirs."""
    assert world.engine is not None
    index, *images = world.engine.push_index(f"{world.declared.home}:{tag}", *architectures)
    at = world.at(world.declared.home)
    children = [client(world).manifest(at.by(one)) for one in images]
    for one in children:  # with their tags, and then once more without
        assert one is not None
        client(world).delete_manifest(at.by(one.digest))
        client(world).put_manifest(at.by(one.digest), one.body, one.media_type)
    return [index, *images]


def untag(world: ContainersWorld, index: str) -> None:
    """Take the tag that somebody gave an index away from it, which would keep it."""
    at = world.at(world.declared.home)
    found = client(world).manifest(at.by(index))
    assert found is not None
    client(world).delete_manifest(at.by(index))
    client(world).put_manifest(at.by(index), found.body, found.media_type)


@pytest.fixture
def taken(containers_pair: ContainersWorld) -> tuple[ContainersWorld, Sequence[str]]:
    """A world whose web is an index that was there, with the digests of it and of its images."""
    world = containers_pair
    digests = push(world, "golden-7", "amd64", "arm64")
    world.commit({"desired/web/setup.sh": "echo of several architectures\n"})
    result = world.controller().adopt("web", f"{world.declared.home}@{digests[0]}")
    assert result.status == "adopted", result.why
    world.clock.advance(hours=1)
    return world, digests


def test_it_is_recorded_by_its_own_digest_copied_whole_and_verified(
    taken: tuple[ContainersWorld, Sequence[str]],
) -> None:
    world, digests = taken
    declared, index = world.declared, digests[0]
    assert not any(has(world, declared.elsewhere, *digests))

    assert world.controller().reconcile().exit_code == 0

    build = world.lock("web").builds[0]
    assert {one.location: one.id for one in build.artifacts} == {declared.home: index, declared.elsewhere: index}
    assert all(has(world, declared.elsewhere, *digests))
    there = client(world).manifest(world.at(declared.elsewhere).by(index))
    assert there is not None
    assert [one["platform"]["architecture"] for one in there.json["manifests"]] == ["amd64", "arm64"]
    assert_nothing_planned(world)

    git(world.root / "ci", "fetch", "--quiet", "origin")
    verifier = Verifier(Repository.open(world.root / "ci"), world.head(), "main", registry=world.registry)
    said = {one.check: (one.outcome, one.what) for one in verifier.verify("web", "stable").findings}
    assert said["registry"][0] == "proven", said


def test_it_is_published_as_one(taken: tuple[ContainersWorld, Sequence[str]]) -> None:
    world, (index, *_) = taken
    declared = world.declared
    world.commit({"desired/web/image.yaml": f"{declared.on_base}{declared.channels}"})

    assert world.controller().reconcile().exit_code == 0

    for location in (declared.home, declared.elsewhere):
        found = client(world).manifest(world.at(location).by("web-stable"))
        assert found is not None
        assert (found.digest, found.media_type) == (index, INDEX)


def test_it_is_retired_with_all_its_images(taken: tuple[ContainersWorld, Sequence[str]]) -> None:
    world, digests = taken
    declared = world.declared
    assert world.controller().reconcile().exit_code == 0
    untag(world, digests[0])
    world.commit(no_image_files("web"))

    assert world.controller().reconcile(prune=True).exit_code == 0

    for location in (declared.home, declared.elsewhere):
        assert not any(has(world, location, *digests))


@pytest.mark.parametrize("by", ["a tag", "marks", "another index"])
def test_an_image_of_it_that_something_else_needs_stays(taken: tuple[ContainersWorld, Sequence[str]], by: str) -> None:
    world, (index, first, second) = taken
    declared = world.declared
    assert world.controller().reconcile().exit_code == 0
    untag(world, index)
    at = world.at(declared.elsewhere)
    image = client(world).manifest(at.by(first))
    assert image is not None
    if by == "a tag":
        client(world).put_manifest(at.by("for-amd64"), image.body, image.media_type)
    elif by == "marks":
        tags = {"reconciler:fleet": "others/images", "reconciler:image": "theirs"}
        world.registry.tag(Artifact(kind=OCI.name, builder="", location=at.repository, id=first), tags)
    else:
        theirs = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [image.descriptor]}
        client(world).put_manifest(at.by("theirs"), json.dumps(theirs).encode(), INDEX)
    world.commit(no_image_files("web"))

    assert world.controller().reconcile(prune=True).exit_code == 0

    assert has(world, declared.elsewhere, index, first, second) == [False, True, False]
    assert not any(has(world, declared.home, index, first, second))


def test_a_source_that_is_an_index_is_pinned_as_one(containers_pair: ContainersWorld) -> None:
    world = containers_pair
    assert world.engine is not None
    assert world.on is not None
    reference = f"{world.on.host}/theirs/debian:12"
    index, *_ = world.engine.push_index(reference, "amd64", "arm64")

    request = SourceRequest.model_validate({"oci": reference})
    pin = world.registry.resolve(request, location=world.declared.home)
    assert pin.upstream is not None
    assert (pin.upstream.location, pin.upstream.id) == (reference.removesuffix(":12"), index)
    assert OCI.given_of(pin, world.declared.home) == f"{reference.removesuffix(':12')}@{index}"

    assert world.controller().reconcile(refresh=True).exit_code == 0
    built_on = world.lock("base").builds[0].source
    assert built_on is not None
    assert built_on.upstream is not None
    assert built_on.upstream.id == index
    moved, *_ = world.engine.push_index(reference, "amd64", "arm64", "riscv64")
    assert world.controller().plan("base")["base"].sync == "in-sync", "what is pinned stays"
    reasons = world.controller().plan("base", refresh=True)["base"].reasons
    assert [one.code for one in reasons] == ["source-changed"]
    assert moved in (reasons[0].now or "")
