"""A channel of a container image is a tag: it follows the channel, is put right, and nobody's image is lost by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from reconciler.git.repository import Repository
from reconciler.model.errors import Terminal
from reconciler.registries.oci.registry import OciRegistry
from reconciler.steps.questions.verify import Verifier
from tests.integration.loop.effects import Effects, Killed, failing, surround
from tests.integration.loop.repositories import ContainersWorld
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_channels import build
from tests.integration.loop.test_rulings import held, revoked
from tests.integration.loop.world import git, no_image_files, statuses

pytestmark = [pytest.mark.containers, pytest.mark.long]

STABLE, CANDIDATE = "base-stable", "base-candidate"


def declare(world: ContainersWorld, declaration: str | None = None, *, publish: str | None = None) -> None:
    """Have base be declared so, and published."""
    upstream = world.declared.on_upstream if declaration is None else declaration
    published = world.declared.channels if publish is None else publish
    world.commit({"desired/base/image.yaml": f"{upstream}{published}"})


def digest_of(world: ContainersWorld, build_id: str | None, image: str = "base") -> str:
    """The digest of a build, which is the same wherever it is kept."""
    recorded = world.lock(image).build(build_id)
    assert recorded is not None
    (found,) = {one.id for one in recorded.artifacts}
    return found


def shown(world: ContainersWorld, name: str = STABLE) -> dict[str, str]:
    """What a tag names, by location."""
    return {location: value for (location, tag), value in world.publisher.values().items() if tag == name}


def everywhere(world: ContainersWorld, digest: str) -> dict[str, str]:
    return {world.declared.home: digest, world.declared.elsewhere: digest}


def there(world: ContainersWorld, location: str, digest: str) -> bool:
    return world.at(location).by(digest) is not None and world.registry.find(location, digest) is not None


@pytest.fixture
def published(containers_pair: ContainersWorld) -> ContainersWorld:
    """The fleet with base published."""
    declare(containers_pair)
    assert containers_pair.controller().reconcile().exit_code == 0
    containers_pair.clock.advance(hours=1)
    return containers_pair


def test_every_channel_is_a_tag_in_every_location_and_recorded(containers_pair: ContainersWorld) -> None:
    world, declared = containers_pair, containers_pair.declared
    stable = digest_of(world, world.lock("base").channels.stable)
    declare(world)

    planned = world.controller().plan("base")["base"]
    assert (planned.sync, planned.actions) == ("drifted", ("publish",))
    said = [(one.code, one.was, one.now) for one in planned.reasons]
    assert ("publication-changed", f"{declared.home}:{STABLE}: nothing", stable) in said

    head = world.head()
    report = world.controller().reconcile()
    assert statuses(report) == {"base": "changed"}
    assert shown(world) == shown(world, CANDIDATE) == everywhere(world, stable)
    assert sorted(one.text for one in world.lock("base").published) == sorted(
        f"{location}:{tag}" for location in (declared.home, declared.elsewhere) for tag in (STABLE, CANDIDATE)
    )
    assert world.subjects(head) == ["base: published at 4 places"]
    assert f"{declared.home}:{STABLE} {stable}" in [one.what for one in report.results[0].did]
    assert_settled(world, since=head)


def test_it_follows_builds_holds_and_revocations_and_goes_with_the_last_good_build(
    published: ContainersWorld,
) -> None:
    world, upstream = published, published.declared.on_upstream
    old = world.lock("base").builds[0].id
    new = build(world, "echo more")
    assert shown(world) == everywhere(world, digest_of(world, new))

    declare(world, held(old, declaration=upstream))
    world.controller().reconcile("base")
    assert shown(world) == everywhere(world, digest_of(world, old))
    assert shown(world, CANDIDATE) == everywhere(world, digest_of(world, new))

    declare(world, revoked(new, declaration=upstream))
    world.controller().reconcile("base")
    assert shown(world) == shown(world, CANDIDATE) == everywhere(world, digest_of(world, old))

    declare(world, revoked(old, new, declaration=upstream))
    planned = world.controller().plan("base")["base"]
    gone = [one.now for one in planned.reasons if one.code == "publication-changed"]
    assert gone == [f"nothing: {one} points to nothing" for one in ("candidate", "stable")] * 2
    world.controller().reconcile("base")
    assert world.publisher.values() == {}
    assert there(world, world.declared.home, digest_of(world, old)), "the image is revoked, and is there"

    declare(world)
    head = world.head()
    world.controller().reconcile()
    assert shown(world) == everywhere(world, digest_of(world, new))
    world.controller().reconcile()
    assert_settled(world, since=head)


@pytest.mark.parametrize("by", ["somebody's image", "an old build", "nothing"])
def test_a_tag_that_somebody_moved_is_moved_back_within_one_run(published: ContainersWorld, by: str) -> None:
    world, home = published, published.declared.home
    assert world.engine is not None
    old = digest_of(world, world.lock("base").channels.stable)
    wanted = digest_of(world, build(world, "echo more"))
    world.controller().reconcile()  # web is built on it
    if by == "somebody's image":
        was = world.engine.push(world.engine.make("payroll"), f"{home}:{STABLE}") or ""
    elif by == "an old build":
        world.publisher.put(home, STABLE, old, description="")
        was = old
    else:
        world.publisher.remove(home, STABLE)
        was = "nothing"

    planned = world.controller().plan("base")["base"]
    assert planned.actions == ("publish",)
    assert [(one.was, one.now) for one in planned.reasons] == [(f"{home}:{STABLE}: {was}", wanted)]

    head = world.head()
    assert statuses(world.controller().reconcile()) == {"base": "changed"}
    assert shown(world) == everywhere(world, wanted)
    assert world.head() == head, "what is recorded did not change"
    assert_settled(world, since=head)


def test_what_is_somebody_elses_from_the_start_is_never_moved(containers_pair: ContainersWorld) -> None:
    world, home = containers_pair, containers_pair.declared.home
    assert world.engine is not None
    theirs = world.engine.push(world.engine.make("payroll"), f"{home}:{STABLE}")
    stable = digest_of(world, world.lock("base").channels.stable)
    declare(world)

    planned = world.controller().plan("base")["base"]
    assert planned.health == "degraded"
    said = f"{home}:{STABLE}: it is there, and names an image that is none of this fleet's: give another name in "
    assert f"{said}desired/base/image.yaml:2:" in (planned.waits_for or "")

    report = world.controller().reconcile()
    assert report.exit_code == 3
    assert "give another name in `publish.tag`" in str(report.results[0].error)
    assert shown(world) == {home: theirs, world.declared.elsewhere: stable}
    again = world.controller().reconcile()
    assert (again.results, again.exit_code) == ((), 3)


def test_one_that_its_registry_does_not_move_is_told_and_what_is_built_stays_recorded(
    published: ContainersWorld,
) -> None:
    world, home = published, published.declared.home
    old = shown(world)[home]
    world.commit({"desired/base/setup.sh": "echo more\n"})
    refusal = Terminal(f"{home}:{STABLE} can't be moved: its registry keeps a tag as it was written", hint="let it")

    report = surround(world.controller(), failing(f"put {home} {STABLE}", refusal)).reconcile("base")

    assert report.exit_code == 3
    assert "can't be moved" in (report.results[0].why or "")
    new = digest_of(world, world.lock("base").channels.stable)
    assert shown(world) == {home: old, world.declared.elsewhere: new}


def test_gc_keeps_what_a_published_tag_names(containers_pair: ContainersWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    # A registry that is real has a clock that no test moves.
    monkeypatch.setattr(OciRegistry, "server_time", lambda _self, _location: None)
    world, declared, home = containers_pair, containers_pair.declared, containers_pair.declared.home
    old = digest_of(world, world.lock("web").builds[0].id, "web")
    world.commit({"desired/web/image.yaml": f"{declared.on_base}{declared.channels}retain: {{builds: 1}}\n"})
    for setup in ("echo two", "echo three"):
        build(world, setup, image="web")
    world.clock.advance(days=40)
    world.publisher.put(home, "web-stable", old, description="")

    judged = world.controller().collect().artifacts
    kept = {one.code: one.why for one in judged if (one.location, one.id) == (home, old)}
    assert kept == {"used": f"web-stable in {home} names {old}"}
    assert there(world, home, old)

    assert world.controller().reconcile().exit_code == 0
    for _ in range(4):  # deprecated, disabled, retired
        world.controller().collect()
        world.clock.advance(days=15)
    assert not there(world, home, old), "once no tag names it, it goes"
    stable = digest_of(world, world.lock("web").channels.stable, "web")
    assert shown(world, "web-stable") == everywhere(world, stable)


def test_another_name_takes_the_place_of_the_old_one(published: ContainersWorld) -> None:
    declare(published, publish=published.declared.gold)
    head = published.head()

    published.controller().reconcile()

    assert {tag for _, tag in published.publisher.values()} == {"golden-candidate", "golden-stable"}
    assert_settled(published, since=head)


def test_a_location_that_is_declared_no_more_loses_its_tags_and_then_its_images(published: ContainersWorld) -> None:
    world, declared = published, published.declared
    digest = digest_of(world, world.lock("base").channels.stable)
    locations = f"locations: [{declared.home}]\n"
    world.commit(
        {
            "desired/base/image.yaml": f"{declared.on_upstream}{declared.channels}{locations}",
            "desired/web/image.yaml": f"{declared.on_base}{locations}",
        }
    )
    head = world.head()

    assert world.controller().reconcile(prune=True).exit_code == 0

    assert shown(world) == {declared.home: digest}
    assert not there(world, declared.elsewhere, digest)
    assert_settled(world, since=head)


def test_with_its_image_they_are_pruned(containers_pair: ContainersWorld) -> None:
    world, declared = containers_pair, containers_pair.declared
    world.commit({"desired/web/image.yaml": f"{declared.on_base}{declared.channels}"})
    world.controller().reconcile()
    digest = digest_of(world, world.lock("web").channels.stable, "web")
    world.commit(no_image_files("web"))
    world.controller().reconcile()
    assert shown(world, "web-stable") == everywhere(world, digest), "nothing of it goes before that is asked for"
    planned = world.controller().plan("web", prune=True)["web"]
    assert f"{declared.home}:web-stable" in [one.was for one in planned.reasons]

    report = world.controller().reconcile(prune=True)

    assert [one.verb for one in report.results[0].did] == [*["withdrawn"] * 4, "retired"]
    assert world.publisher.values() == {}
    assert not there(world, declared.home, digest)


def test_what_somebody_else_put_there_meanwhile_stays(containers_pair: ContainersWorld) -> None:
    world, declared = containers_pair, containers_pair.declared
    assert world.engine is not None
    world.commit({"desired/web/image.yaml": f"{declared.on_base}{declared.channels}"})
    world.controller().reconcile()
    theirs = world.engine.push(world.engine.make("payroll"), f"{declared.home}:web-stable")
    world.commit({"desired/web/image.yaml": declared.on_base})
    head = world.head()

    assert world.controller().reconcile().exit_code == 0

    assert world.publisher.values() == {(declared.home, "web-stable"): theirs}
    assert world.lock("web").published == ()
    assert_settled(world, since=head)


def test_verify_says_what_consumers_find(published: ContainersWorld) -> None:
    world, declared = published, published.declared
    world.publisher.remove(declared.elsewhere, STABLE)
    git(world.root / "ci", "fetch", "--quiet", "origin")
    verifier = Verifier(
        Repository.open(world.root / "ci"), world.head(), "main", registry=world.registry, publisher=world.publisher
    )

    found = verifier.verify("base", "stable")

    missing, there = found.of("published")
    assert (there.outcome, there.what) == ("proven", f"{declared.home}:{STABLE} holds this build")
    said = f"{declared.elsewhere}:{STABLE} holds nothing, and not this build: `reconcile` puts it right"
    assert (missing.outcome, missing.required, missing.what) == ("not proven", False, said)
    assert found.of("registry")[0].outcome == "proven"


# Deaths: also between two requests that write.


@contextmanager
def on_the_wire(world: ContainersWorld, effects: Effects) -> Iterator[None]:
    """Let each request that writes be an effect."""
    exchange = world.registry._client.exchange  # type: ignore[attr-defined]  # Repositories, by another declared type
    plain = exchange.send

    def send(method: str, of: object, url: str, **asked: object) -> object:
        if method in ("GET", "HEAD"):
            return plain(method, of, url, **asked)
        with effects.around(f"{method} {url}"):
            return plain(method, of, url, **asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "send", send)
        yield


def _publish(world: ContainersWorld) -> None:
    declare(world)


def _ran(world: ContainersWorld) -> None:
    declare(world)
    world.controller().reconcile()
    world.clock.advance(hours=1)


def _move(world: ContainersWorld) -> None:
    _ran(world)
    world.commit({"desired/base/setup.sh": "echo more\n"})


def _rename(world: ContainersWorld) -> None:
    _ran(world)
    declare(world, publish=world.declared.gold)


def _take_back(world: ContainersWorld) -> None:
    _ran(world)
    bad = build(world, "echo bad")
    world.controller().reconcile()
    world.clock.advance(hours=1)
    declare(world, revoked(bad, declaration=world.declared.on_upstream))


Arrange = Callable[[ContainersWorld], None]
SCENARIOS: dict[str, tuple[Arrange, int, int]] = {
    "published": (_publish, 13, 4),
    "moved": (_move, 44, 58),
    "renamed": (_rename, 18, 12),
    "taken back": (_take_back, 27, 20),
}
"""How each is arranged, in how many effects it is done, and in how many requests that write."""
DEATHS = [
    pytest.param(name, number, wire, id=f"{name}-{'request' if wire else 'effect'}-{number}")
    for name, (_, *effects) in SCENARIOS.items()
    for wire, many in zip((False, True), effects, strict=True)
    for number in range(many)
    if wire or name != "moved"  # test_crashes_of_containers.py has the builds in it, and the others what is published
]


def run(world: ContainersWorld, effects: Effects, *, wire: bool) -> int:
    controller = world.controller()
    if not wire:
        return surround(controller, effects.around).reconcile().exit_code
    with on_the_wire(world, effects):
        return controller.reconcile().exit_code


@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_matrix_is_whole(containers_pair: ContainersWorld, name: str, *, wire: bool) -> None:
    arrange, *numbers = SCENARIOS[name]
    arrange(containers_pair)
    effects = Effects()
    assert run(containers_pair, effects, wire=wire) == 0
    assert len(effects.done) == numbers[wire], effects.done


@pytest.mark.parametrize(("name", "number", "wire"), DEATHS)
def test_killed_between_any_two_effects_the_next_run_converges(
    containers_pair: ContainersWorld, name: str, number: int, *, wire: bool
) -> None:
    world = containers_pair
    SCENARIOS[name][0](world)
    head = world.head()
    with pytest.raises(Killed):
        run(world, Effects(die_at=number, when="after"), wire=wire)
    world.clock.advance(hours=1)
    assert world.controller().reconcile().exit_code == 0
    stable = world.lock("base").channels.stable
    prefix = "golden" if name == "renamed" else "base"
    assert shown(world, f"{prefix}-stable") == (everywhere(world, digest_of(world, stable)) if stable else {})
    wanted = {f"{prefix}-candidate", f"{prefix}-stable"} if stable else set()
    assert {tag for _, tag in world.publisher.values()} == wanted
    assert_settled(world, since=head)
