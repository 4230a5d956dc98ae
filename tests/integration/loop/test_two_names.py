"""One repository under two names, as `localhost` and `127.0.0.1`: what goes by one of them is not lost by the other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from reconciler.model import events
from reconciler.model.errors import Transient
from reconciler.registries.oci.client import Client
from reconciler.registries.oci.marks import read_marks, tag_of
from reconciler.registries.oci.reference import Reference
from reconciler.registries.oci.registry import OciRegistry
from tests import containers
from tests.integration.loop.repositories import ContainersWorld
from tests.integration.loop.settling import assert_nothing_planned
from tests.integration.loop.world import FLEET, git, no_image_files

pytestmark = [pytest.mark.containers, pytest.mark.long]


def client(world: ContainersWorld) -> Client:
    found: Client = world.registry._client  # type: ignore[attr-defined]  # Repositories, by another declared type
    return found


def declare(world: ContainersWorld, locations: Sequence[str], **of: Sequence[str]) -> None:
    """Declare where images are, and `of` some images otherwise."""
    settings = f"fleet: {FLEET}\ndefaults:\n  locations: [{', '.join(locations)}]\n"
    web = f"{world.declared.on_base}{world.declared.channels}"
    others = {f"desired/{name}/image.yaml": f"locations: [{', '.join(own)}]\n" for name, own in of.items()}
    if "web" in of:
        others["desired/web/image.yaml"] += web
    world.commit({"desired/reconciler.yaml": settings, "desired/web/image.yaml": web, **others})


@contextmanager
def another_address(host: str) -> Iterator[str]:
    """A registry by another address of this machine's, of which nobody can see that it is the same."""
    port = int(host.rpartition(":")[2])
    with socket.create_server(("127.0.0.2", 0)) as listening:

        def carry(one: socket.socket, other: socket.socket) -> None:
            with one, other:
                while piece := one.recv(1 << 16):
                    other.sendall(piece)
                other.shutdown(socket.SHUT_WR)

        def answer() -> None:
            while True:
                try:
                    asking, _ = listening.accept()
                except OSError:
                    return
                asked = socket.create_connection(("127.0.0.1", port))
                for pair in ((asking, asked), (asked.dup(), asking.dup())):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.2:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def named_twice(containers_pair: ContainersWorld) -> Iterator[tuple[ContainersWorld, str, str]]:
    """A world whose web is recorded in one repository by two names."""
    world = containers_pair
    home = world.declared.home
    host, _, path = home.partition("/")
    with another_address(host) as other:
        alias = f"{other}/{path}"
        declare(world, [home, alias])
        assert world.controller().reconcile(prune=True).exit_code == 0
        assert [one.location for one in world.lock("web").builds[0].artifacts] == [home, alias]
        world.clock.advance(hours=1)
        yield world, home, alias


def test_names_that_are_surely_one_are_refused_with_their_place(containers_pair: ContainersWorld) -> None:
    world = containers_pair
    home = world.declared.home
    declare(world, [home, home.replace("127.0.0.1", "localhost")])

    done = world.controller().reconcile()

    assert done.exit_code == 3
    for name in ("base", "web"):
        (wrong,) = next(one for one in done.plan.images if one.image == name).errors
        assert "are one place under two names" in wrong


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


def test_a_plan_says_that_two_locations_show_the_very_same(named_twice: tuple[ContainersWorld, str, str]) -> None:
    world, home, alias = named_twice
    for name in ("base", "web"):
        (note,) = world.controller().plan()[name].notes
        assert note.startswith(f"{home} and {alias} show the very same, marks and all")
    assert_nothing_planned(world)


def test_of_copies_no_plan_says_that_they_are_one_place(containers_pair: ContainersWorld) -> None:
    world = containers_pair
    places = (world.declared.home, world.declared.elsewhere, world.declared.third)
    world.lose("web", world.declared.elsewhere)
    declare(world, places)
    assert world.controller().reconcile().exit_code == 0
    seen = {one.location: one for one in world.artifacts("web")}
    first, *others = (seen[place] for place in places)
    assert {one.id for one in others} == {first.id}
    assert {one.created for one in others} == {others[0].created}, "two copies of one second"
    assert [world.controller().plan()[name].notes for name in ("base", "web")] == [(), ()]


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("kept", [0, 1])
def test_a_published_tag_stays_through_while_one_of_its_names_goes(
    named_twice: tuple[ContainersWorld, str, str], monkeypatch: pytest.MonkeyPatch, *, kept: int, prune: bool
) -> None:
    world, *names = named_twice
    digest = world.lock("web").builds[0].artifacts[0].id
    declare(world, [names[kept]])
    written: list[str] = []
    put = Client.put_manifest

    def put_manifest(self: Client, to: Reference, body: bytes, media_type: str) -> str:
        written.append(to.at)
        return put(self, to, body, media_type)

    monkeypatch.setattr(Client, "put_manifest", put_manifest)
    controller = world.controller()

    assert controller.reconcile(prune=prune).exit_code == 0

    assert [tag for tag in written if "stable" in tag or "candidate" in tag] == []
    assert client(world).digest(world.at(names[kept]).by("web-stable")) == digest
    assert controller.told(events.Published, "web") == []
    assert {one.location for one in world.lock("web").published} == {names[kept]}
    assert world.controller().reconcile(prune=prune).exit_code == 0
    assert client(world).digest(world.at(names[kept]).by("web-stable")) == digest


def test_what_stays_by_its_other_name_is_not_called_retired(named_twice: tuple[ContainersWorld, str, str]) -> None:
    world, home, alias = named_twice
    digest = world.lock("web").builds[0].artifacts[0].id
    declare(world, [home])
    controller = world.controller()

    done = controller.reconcile(prune=True)

    why = f"{home} is another name of the same place, and has it still"
    result = next(one for one in done.results if one.image == "web")
    assert ("recorded", f"{alias} {digest} no more; it stays: {why}") in [(one.verb, one.what) for one in result.did]
    assert "retired" not in {one.verb for one in result.did}
    assert controller.told(events.Retired, "web") == []
    assert [one.what for one in controller.told(events.Warned, "web")] == [f"{digest} in {alias} stays: {why}"]  # type: ignore[attr-defined]
    body = git(world.origin, "log", "--format=%b", "main", "-n", "8")
    assert f"{alias} {digest} stays, and is recorded no more: {why}." in body
    assert f"Retired {alias} {digest}" not in body


def test_what_is_declared_by_another_name_is_recorded_by_it_and_neither_copied_nor_built(
    containers_pair: ContainersWorld,
) -> None:
    world = containers_pair
    (web,) = world.lock("web").builds[0].artifacts[:1]
    with another_address(world.declared.home.partition("/")[0]) as other:
        alias = f"{other}/{web.location.partition('/')[2]}"
        declare(world, [alias])
        controller = world.controller()

        assert controller.reconcile(prune=True).exit_code == 0

        assert controller.built == []
        assert {(one.location, one.id) for one in world.lock("web").builds[0].artifacts} == {(alias, web.id)}
        world.clock.advance(hours=1)
        assert_nothing_planned(world)
    assert client(world).digest(world.at(web.location).by(web.id)) == web.id


def test_marks_that_are_written_meanwhile_are_taken_for_no_other_place(
    named_twice: tuple[ContainersWorld, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, home, alias = named_twice
    (web, *_) = world.lock("web").builds[0].artifacts
    look = Client.digest

    def digest(self: Client, of: Reference) -> str | None:
        if of.repository == alias and of.tag is not None:
            monkeypatch.setattr(Client, "digest", look)
            OciRegistry(self, fleet=FLEET).tag(web, {"reconciler:phase": "rejected"})  # another run's
        return look(self, of)

    monkeypatch.setattr(Client, "digest", digest)

    with pytest.raises(Transient, match="by somebody else"):
        world.registry.is_same(home, alias, artifact_id=web.id)
    assert world.registry.is_same(home, alias, artifact_id=web.id)


def test_whoever_can_not_be_asked_whether_it_has_it_too_keeps_it(containers_pair: ContainersWorld) -> None:
    # Given an image in two repositories, of one of which nobody can say now whether it is the other
    world = containers_pair
    home = world.declared.home
    with another_address(home.partition("/")[0]) as other:
        alias = f"{other}/{home.partition('/')[2]}"
        declare(world, [home, alias])
        assert world.controller().reconcile(prune=True).exit_code == 0
        world.clock.advance(hours=1)
    digest = world.lock("web").builds[0].artifacts[0].id
    declare(world, [alias])

    assert world.controller().reconcile(prune=True).exit_code == 3

    assert client(world).digest(world.at(home).by(digest)) == digest
    assert [one.location for one in world.lock("web").builds[0].artifacts] == [home, alias]


def test_of_two_images_in_one_repository_by_two_names_one_goes_and_the_other_stays(
    containers_pair: ContainersWorld,
) -> None:
    world = containers_pair
    home = world.declared.home
    alias = home.replace("127.0.0.1", "localhost")
    declare(world, [home], web=[alias])
    assert world.controller().reconcile(prune=True).exit_code == 0
    world.clock.advance(hours=1)
    assert_nothing_planned(world)
    (web,), (base,) = world.lock("web").builds[0].artifacts, world.lock("base").builds[0].artifacts
    assert (web.location, base.location) == (alias, home)
    world.commit(no_image_files("web"))

    assert world.controller().reconcile(prune=True).exit_code == 0

    assert client(world).digest(world.at(home).by(web.id)) is None
    assert client(world).digest(world.at(home).by(base.id)) == base.id
    assert_nothing_planned(world)


def test_what_somebody_tagged_is_said_to_stay(containers_pair: ContainersWorld) -> None:
    world = containers_pair
    home = world.declared.home
    (web, *_) = world.lock("web").builds[0].artifacts
    manifest = client(world).manifest(world.at(web.location).by(web.id))
    assert manifest is not None
    client(world).put_manifest(world.at(web.location).by("prod"), manifest.body, manifest.media_type)
    world.commit(no_image_files("web"))

    done = world.controller().reconcile(prune=True)

    assert done.exit_code == 0
    result = next(one for one in done.results if one.image == "web")
    assert [one.verb for one in result.did][-2:] == ["retired", "recorded"]
    why = "it is tagged prod as well, which no build did"
    assert result.did[-1].what == f"{web.location} {web.id} no more; it stays: {why}"
    assert client(world).digest(world.at(home).by("prod")) == web.id


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
        earlier.setattr("reconciler.registries.oci.registry.is_surely_one", lambda one, other: one is other)
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
        assert read_marks(client(world), world.at(home), digest) == marks
        assert read_marks(client(world), world.at(elsewhere), digest) is None
    assert read_marks(client(world), world.at(home), digest) == marks
