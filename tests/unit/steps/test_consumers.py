"""Who uses artifacts, and who may: what could not be asked is unknown, and costs no more than it has to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.model.care import Grants
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Artifact, Build
from reconciler.model.plan import PlanOptions, Sharing, Tending
from reconciler.model.source import Pin
from reconciler.model.usage import Use
from reconciler.plan.planning import Known
from reconciler.plan.revocations import Past
from reconciler.steps.consumers import (
    at_once,
    elsewhere_of,
    read_publications,
    sharing_of,
    usage_of_revoked,
    uses_of,
    with_forgotten,
    with_obstacles,
    with_published,
)
from reconciler.steps.ours import Told
from tests.doubles.publisher import MemoryPublisher
from tests.doubles.registry import MemoryRegistry

Make = Callable[..., Any]
US, EU = "us-east-1", "eu-west-1"
OTHER = Grants.of(["111122223333"])
OLD = "20261101T000000Z-0000001"


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry("acme/images")


def seeded(registry: MemoryRegistry, location: str) -> Artifact:
    return registry.seed(location, "web", tags={}).as_artifact("amazon-ebs.web")


def test_of_each_location_it_is_asked_once_what_uses_anything(registry: MemoryRegistry) -> None:
    first, second, third = seeded(registry, US), seeded(registry, US), seeded(registry, EU)
    registry.uses = [Use((US, second.id), by="i-1", hint="stop it"), Use((EU, third.id), by="i-2", hint="stop it")]

    usage = uses_of(registry, [(one.location, one.id) for one in (first, second, third)])

    assert {use.by for use in usage.uses} == {"i-1", "i-2"}
    assert registry.calls["usage"] == 2


def test_who_may_use_an_artifact_is_unknown_where_it_can_not_be_asked(registry: MemoryRegistry) -> None:
    known, unknown = seeded(registry, US), seeded(registry, EU)
    registry.share(known, add=OTHER, remove=Grants())
    registry.unreadable[EU] = "throttled"

    sharing = sharing_of(registry, [known, unknown])

    assert sharing.grants == {(US, known.id): OTHER}
    assert "throttled" in sharing.unread[EU, unknown.id]
    assert sharing_of(registry, []) == Sharing()


def test_what_keeps_others_from_using_it_is_asked_where_it_is_to_be_shared_alone(registry: MemoryRegistry) -> None:
    shared, kept = seeded(registry, US), seeded(registry, EU)
    registry.unshareable = {shared.id: "its key is AWS's own", kept.id: "nobody asks"}
    registry.lacks = {shared.id: ("never asked",)}

    found = with_obstacles(registry, Sharing(), [Tending(shared, add=OTHER), Tending(kept, remove=OTHER)])

    assert found.obstacles == {(US, shared.id): "its key is AWS's own"}
    assert found.lacking == {}, "what can't be shared lacks nothing else"
    assert registry.calls["obstacles"] == 1


def test_what_others_use_is_asked_of_each_location_once_or_not_at_all(registry: MemoryRegistry) -> None:
    artifact = seeded(registry, US)
    registry.reports = {artifact.id: (Use((US, artifact.id), by="111122223333", hint="ask them"),)}

    told = elsewhere_of(registry, [(US, artifact.id)], asks=False)

    assert [use.by for use in told[US, artifact.id] if not isinstance(use, str)] == ["111122223333"]
    assert elsewhere_of(registry, [], asks=True) == {}


class TestRevoked:
    """An image of which a build is to be revoked that its lockfile says others may use."""

    def known(self, what_is_known: Make, an_image: Make, built: Make, artifact: Artifact, **care: Any) -> Known:
        lock = built().lock
        build: Build = lock.builds[0].model_copy(update={"artifacts": (artifact.model_copy(update={"care": None}),)})
        image = an_image(revoke=[{"build": build.id, "reason": "leaked"}])
        found: Known = what_is_known(image, locks={"web": lock.model_copy(update={"builds": (build,)})}, **care)
        return found

    def test_what_uses_it_is_asked(
        self, what_is_known: Make, an_image: Make, built: Make, registry: MemoryRegistry
    ) -> None:
        artifact = seeded(registry, US)
        registry.uses = [Use((US, artifact.id), by="i-1", hint="stop it")]

        usage = usage_of_revoked(self.known(what_is_known, an_image, built, artifact), registry, asks=False)

        assert usage is not None
        assert [use.by for use in usage.uses] == ["i-1"]

    def test_nothing_is_asked_where_nothing_is_revoked(
        self, what_is_known: Make, an_image: Make, built: Make, registry: MemoryRegistry
    ) -> None:
        known = what_is_known(an_image(), locks={"web": built().lock})
        assert usage_of_revoked(known, registry, asks=True) is None
        assert not registry.calls


class TestForgotten:
    """What a build stood on that no lockfile names any more: its tag tells, and silence is no answer."""

    PIN = Pin(image="base", build=OLD, key="sha256:1")

    def known(self, what_is_known: Make, an_image: Make, built: Make, **options: Any) -> Known:
        child = built(an_image("web", source={"image": "base"}), pin=self.PIN).lock
        base = an_image("base", revoke=[{"build": "20261001T000000Z-0000000", "reason": "leaked"}])
        found: Known = what_is_known(
            base, an_image("web", source={"image": "base"}), locks={"web": child}, options=PlanOptions(**options)
        )
        return found

    def test_the_tag_of_a_build_says_what_it_stood_on(self, what_is_known: Make, an_image: Make, built: Make) -> None:
        older = Pin(image="base", build="20261001T000000Z-0000000", key="sha256:0")
        build = built().lock.builds[0].model_copy(update={"id": OLD, "source": older})

        known = with_forgotten(
            self.known(what_is_known, an_image, built),
            lambda image, build_id: Told((), build) if (image, build_id) == ("base", OLD) else None,
        )  # fmt: skip

        left = frozenset((one.location, one.id) for one in build.artifacts)
        assert known.forgotten == {("base", OLD): Past(older, left)}
        assert left

    def test_without_a_tag_it_is_asked_once(self, what_is_known: Make, an_image: Make, built: Make) -> None:
        asked: list[tuple[str, str]] = []

        def none(image: str, build_id: str) -> None:
            asked.append((image, build_id))

        before = self.known(what_is_known, an_image, built)
        assert with_forgotten(before, none) is before
        assert asked == [("base", OLD)]
        assert with_forgotten(before, None) is before

    def test_a_remote_that_is_silent_stops_a_run_and_no_offline_plan(
        self, what_is_known: Make, an_image: Make, built: Make
    ) -> None:
        def silent(_image: str, _build_id: str) -> None:
            raise Transient("no route")

        with pytest.raises(Transient):
            with_forgotten(self.known(what_is_known, an_image, built), silent)
        offline = self.known(what_is_known, an_image, built, offline=True)
        assert with_forgotten(offline, silent) is offline


def test_a_publisher_is_opened_where_something_is_published_alone(
    what_is_known: Make, an_image: Make, built: Make
) -> None:
    def refuse() -> MemoryPublisher:
        pytest.fail("nobody asks for it")

    known = what_is_known(an_image(), locks={"web": built().lock})
    assert with_published(known, refuse) is known
    published = replace(known, fleet=what_is_known(an_image(publish={"ssm": "/images/{image}/{channel}"})).fleet)
    found = with_published(published, lambda: MemoryPublisher("acme/images")).publications
    assert found is not None
    assert found.claimed == {(US, "/images/web/candidate"), (US, "/images/web/stable")}


def test_a_location_that_can_not_be_read_leaves_the_others(what_is_known: Make, an_image: Make, built: Make) -> None:
    image = an_image(regions=(US, EU), publish={"ssm": "/images/{image}/{channel}"})
    publisher = MemoryPublisher("acme/images", unreadable={EU: Terminal("no right")})
    publisher.seed(US, "/images/web/stable", "ami-1", owner="acme/images")

    found = read_publications(
        publisher, [(image, built(image).lock)], claimed=frozenset(), now=what_is_known(image).now
    )

    assert set(found.unreadable) == {EU}
    assert found.held[US, "/images/web/stable"].value == "ami-1"


def test_one_that_fails_leaves_the_others_in_order() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise Transient("throttled")
        return number * 10

    found = at_once([1, 2, 3], work)

    assert [one for one, _ in found] == [1, 2, 3]
    assert (found[0][1], found[2][1]) == (10, 30)
    assert isinstance(found[1][1], Transient)
    assert at_once([], work) == []
