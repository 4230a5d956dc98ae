"""What a verdict rests on: the registry's own word, the first commit that says what is recorded, and no other build."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.model.errors import Transient
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.publish import Published
from reconciler.plan.difference import NotAmong
from reconciler.plan.history import LockPast, LockVersion
from reconciler.plan.proof.evidence import Name
from reconciler.steps.questions.verify import Verifier, _builds, _looks, _unknown, _written
from tests.doubles.publisher import MemoryPublisher
from tests.doubles.registry import MemoryRegistry

Make = Callable[..., Any]
US = "us-east-1"


@pytest.fixture
def build(built: Make) -> Build:
    found: Build = built().lock.builds[0]
    return found


def past(*newest_first: tuple[Build, ...]) -> LockPast:
    versions = [
        LockVersion(
            f"c{len(newest_first) - at}", "2026-11-22T10:15:30Z", "ci", "s", {}, Lockfile(image="web", builds=b)
        )
        for at, b in enumerate(newest_first)
    ]
    return LockPast(tuple(versions))


class TestLooks:
    @pytest.fixture
    def registry(self) -> MemoryRegistry:
        return MemoryRegistry("acme/images")

    def seeded(self, build: Build, registry: MemoryRegistry) -> Build:
        seen = registry.seed(US, "web", tags={})
        return build.model_copy(update={"artifacts": (seen.as_artifact("amazon-ebs.web"),)})

    def test_what_is_there_and_this_accounts_is_its_own(self, build: Build, registry: MemoryRegistry) -> None:
        (look,) = _looks(self.seeded(build, registry), registry)
        assert (look.is_own, look.unreadable) == (True, "")
        assert look.seen == registry.artifacts[0]

    def test_what_is_seen_and_another_accounts_is_not(self, build: Build, registry: MemoryRegistry) -> None:
        mine = self.seeded(build, registry)
        registry.of_others.add(registry.artifacts[0].id)
        (look,) = _looks(mine, registry)
        assert (look.is_own, look.seen is None) == (False, False)

    def test_what_is_gone_is_told_from_what_could_not_be_read(self, build: Build, registry: MemoryRegistry) -> None:
        mine = self.seeded(build, registry)
        registry.delete(registry.artifacts[0])
        (gone,) = _looks(mine, registry)
        registry.unreadable[US] = "throttled"
        (unread,) = _looks(mine, registry)
        assert (gone.seen, gone.unreadable) == (None, "")
        assert "throttled" in unread.unreadable


def test_the_oldest_commit_that_says_what_is_recorded_now_wrote_it(build: Build) -> None:
    other = build.model_copy(update={"seconds": 1})

    version, _ = _written(past((build,), (build,), (other,), (build,), ()), build)
    assert version.commit == "c2", "what was taken back from history is what it was"

    version, _ = _written(past((build,), (other,)), build)
    assert version.commit == "c2"


def test_every_build_that_ever_was_counts_once_as_it_was_last(build: Build) -> None:
    older = build.model_copy(update={"id": "20261101T000000Z-0000001"})
    changed = older.model_copy(update={"phase": "superseded"})

    assert _builds(past((build,), (build, changed), (older,))) == (build, changed)


def test_a_build_that_failed_is_told_from_one_that_nobody_recorded(build: Build) -> None:
    error = NotAmong("no build 'x' of web is recorded", hint="recorded are: none")

    assert (
        _unknown("web", build.id, error, why="it broke").what
        == f"{build.id} of web failed, and was never recorded: it broke"
    )
    assert _unknown("web", "x", error, why=None).what == "no build 'x' of web was ever recorded"
    assert _unknown("web", "stable", error, why=None) is error


class TestNames:
    """Where a channel is written out: each place that is declared of it, with what stands there."""

    def names(self, lock: Lockfile, publisher: MemoryPublisher | None, image: Image | None) -> list[Name]:
        verifier = SimpleNamespace(revision="HEAD", publisher=publisher, _declared=lambda *_: image)
        return list(Verifier._names(cast("Verifier", verifier), lock, lock.builds[0], "stable"))

    def test_of_its_channel_and_where_the_build_is(self, built: Make, an_image: Make) -> None:
        image = an_image(publish={"ssm": "/images/{image}/{channel}"})
        places = [
            Published(ssm="/images/web/stable", location=US), Published(ssm="/images/web/candidate", location=US),
            Published(ssm="/images/web/stable", location="eu-west-1"), Published(ssm="/old", location=US),
        ]  # fmt: skip
        lock = built(image).lock.model_copy(update={"published": tuple(places)})
        publisher = MemoryPublisher("acme/images")

        (nothing,) = self.names(lock, publisher, image)
        publisher.seed(US, "/images/web/stable", "ami-1", owner="acme/images")
        (held,) = self.names(lock, publisher, image)
        publisher.unreadable[US] = Transient("throttled")
        (unread,) = self.names(lock, publisher, image)

        assert (nothing.at, nothing.holds) == (places[0], None)
        assert (held.holds, held.artifact) == ("ami-1", lock.builds[0].artifacts[0])
        assert (unread.holds, unread.unreadable) == (None, "throttled")
        assert self.names(lock, None, image) == self.names(lock, publisher, None) == []
