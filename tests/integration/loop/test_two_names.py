"""One repository under two names, as `localhost` and `127.0.0.1`: what goes by one of them is not lost by the other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.registries.oci.client import Client
from reconciler.registries.oci.marks import read_marks, tag_of
from tests import containers
from tests.integration.loop.repositories import ContainersWorld
from tests.integration.loop.settling import assert_nothing_planned
from tests.integration.loop.world import FLEET, no_image_files

pytestmark = [pytest.mark.containers, pytest.mark.long]


def client(world: ContainersWorld) -> Client:
    found: Client = world.registry._client  # type: ignore[attr-defined]  # Repositories, by another declared type
    return found


def declare(world: ContainersWorld, locations: Sequence[str]) -> None:
    settings = f"fleet: {FLEET}\ndefaults:\n  locations: [{', '.join(locations)}]\n"
    web = f"{world.declared.on_base}{world.declared.channels}"
    world.commit({"desired/reconciler.yaml": settings, "desired/web/image.yaml": web})


@pytest.fixture
def named_twice(containers_pair: ContainersWorld) -> tuple[ContainersWorld, str, str]:
    """A world whose web is recorded in one repository by two names."""
    world = containers_pair
    home = world.declared.home
    alias = home.replace("127.0.0.1", "localhost")
    declare(world, [home, alias])
    assert world.controller().reconcile(prune=True).exit_code == 0
    assert [one.location for one in world.lock("web").builds[0].artifacts] == [home, alias]
    world.clock.advance(hours=1)
    return world, home, alias


@pytest.mark.parametrize("kept", [0, 1])
def test_one_name_is_dropped_and_the_only_copy_stays(named_twice: tuple[ContainersWorld, str, str], kept: int) -> None:
    world, *names = named_twice
    digest = world.lock("web").builds[0].artifacts[0].id
    before = read_marks(client(world), world.at(names[kept]), digest)
    declare(world, [names[kept]])

    assert world.controller().reconcile(prune=True).exit_code == 0

    left = names[kept]
    assert {(one.location, one.id) for one in world.lock("web").builds[0].artifacts} == {(left, digest)}
    assert client(world).digest(world.at(left).by(digest)) == digest
    assert read_marks(client(world), world.at(left), digest) == before
    assert client(world).digest(world.at(left).by("web-stable")) == digest
    assert_nothing_planned(world)


def test_with_the_image_it_goes_though_it_had_two_names(named_twice: tuple[ContainersWorld, str, str]) -> None:
    world, home, _ = named_twice
    digest = world.lock("web").builds[0].artifacts[0].id
    world.commit(no_image_files("web"))

    assert world.controller().reconcile(prune=True).exit_code == 0

    assert client(world).digest(world.at(home).by(digest)) is None
    assert digest not in {one.id for one in world.registry.artifacts}


def test_what_was_recorded_under_another_spelling_is_one_with_what_is_declared(
    containers_pair: ContainersWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a record of a time when a name in capitals was another place
    world = containers_pair
    home = world.declared.home
    alias = home.replace("127.0.0.1", "LOCALHOST")
    with monkeypatch.context() as earlier:
        earlier.setattr("reconciler.registries.oci.dialect.location", lambda text: text)
        declare(world, [home, alias])
        assert world.controller().reconcile().exit_code == 0
    world.clock.advance(hours=1)
    digest = world.lock("web").builds[0].artifacts[1].id
    declare(world, [home.replace("127.0.0.1", "localhost")])

    assert world.controller().reconcile(prune=True).exit_code == 0

    assert client(world).digest(world.at(home).by(digest)) == digest
    assert_nothing_planned(world)


@pytest.mark.parametrize("same_marks", [False, True])
def test_what_is_another_registry_of_the_same_path_loses_its_copy(
    containers_pair: ContainersWorld, tmp_path_factory: pytest.TempPathFactory, *, same_marks: bool
) -> None:
    world = containers_pair
    home = world.declared.home
    with containers.registry(tmp_path_factory.mktemp("another")) as another:
        elsewhere = f"{another}/{home.partition('/')[2]}"
        declare(world, [home, elsewhere])
        assert world.controller().reconcile().exit_code == 0
        digest = world.lock("web").builds[0].artifacts[0].id
        marks = read_marks(client(world), world.at(home), digest)
        if same_marks:
            written = client(world).manifest(world.at(home).by(tag_of(digest)))
            assert written is not None
            client(world).put_manifest(world.at(elsewhere).by(tag_of(digest)), written.body, written.media_type)
        declare(world, [home])

        assert world.controller().reconcile(prune=True).exit_code == 0

        assert client(world).digest(world.at(elsewhere).by(digest)) is None
        assert read_marks(client(world), world.at(elsewhere), digest) is None
    assert read_marks(client(world), world.at(home), digest) == marks
