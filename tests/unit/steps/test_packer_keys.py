"""Packer's keys: which ones a build holds, and what is said where that can't be known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.model import events
from reconciler.model.errors import Transient
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.public_key import fingerprints
from reconciler.model.smoke_test import HygieneFinding, SmokeTestResult
from reconciler.steps.packer_keys import KEY_TAG, KeyWatch, PackerKeys, keep, may_stay
from tests.doubles.bench import MemoryInstances
from tests.doubles.registry import MemoryRegistry

Make = Callable[..., Any]
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIbCyJkdmnCGzmvyxoIwbVPQrtAJmLdIH1WLvWjVvPFR packer_1"
EU = "eu-west-1"


def watched(an_image: Make, instances: MemoryInstances | None) -> tuple[frozenset[str], list[events.Event]]:
    heard: list[events.Event] = []

    def hear(event: events.Event) -> None:
        heard.append(event)

    began = instances.now if instances is not None else MemoryInstances().now
    watch = KeyWatch(instances, an_image(regions=[EU]), since=began, listener=hear)
    watch.ask("packer_1")
    return watch.keys(), heard


def test_the_key_that_a_build_logged_in_with_is_known_by_its_fingerprint(an_image: Make) -> None:
    instances = MemoryInstances()
    instances.key_pairs["packer_1"] = PUBLIC, instances.now

    keys, heard = watched(an_image, instances)

    assert keys == set(fingerprints(PUBLIC)) != set()
    assert heard == []


@pytest.mark.parametrize(
    ("minutes", "known"), [(-4, True), (-6, False)], ids=["clocks that differ", "an earlier build's"]
)
def test_a_key_pair_that_was_there_long_before_is_not_this_builds(an_image: Make, minutes: int, *, known: bool) -> None:
    instances = MemoryInstances()
    instances.key_pairs["packer_1"] = PUBLIC, instances.now + timedelta(minutes=minutes)

    keys, heard = watched(an_image, instances)

    assert bool(keys) is known
    assert bool(heard) is not known


def test_where_nobody_knows_the_key_it_is_said_that_it_counts_as_anybodys(an_image: Make) -> None:
    silent = MemoryInstances(unreadable={EU: "throttled"})

    for instances in (MemoryInstances(), silent):
        keys, heard = watched(an_image, instances)
        assert keys == frozenset()
        (said,) = heard
        assert isinstance(said, events.Warned)
        assert said.what.startswith("Packer's temporary key is not known, so the test takes it for anybody's: ")
    assert watched(an_image, None) == (frozenset(), [])


def test_what_a_test_found_in_a_build_is_known_of_it_and_of_no_other(built: Make) -> None:
    lock: Lockfile = built().lock
    finding = HygieneFinding(code="packer-key", text="a key", hint="remove it", keys=("SHA256:1",))
    tested = SmokeTestResult(status="passed", findings=(finding,))
    keys = PackerKeys()

    keys.note_all(lock.model_copy(update={"builds": (lock.builds[0].model_copy(update={"smoke_test": tested}),)}))
    keys.add(lock.builds[0].id, ["SHA256:2"])

    assert keys.of(lock.builds[0].id) == {"SHA256:1", "SHA256:2"}
    assert keys.of("20200101T000000Z-0000000") == keys.of(None) == frozenset()


def test_a_build_carries_its_keys_for_the_run_that_tests_it(built: Make) -> None:
    registry = MemoryRegistry("acme/images")
    build: Build = built().lock.builds[0]
    seen = registry.seed("us-east-1", "web", tags={})
    build = build.model_copy(update={"artifacts": (seen.as_artifact("amazon-ebs.web"),)})

    keep(registry, build, frozenset())
    assert registry.calls["tag"] == 0
    keep(registry, build, frozenset({"SHA256:2", "SHA256:1"}))

    assert registry.artifacts[0].own(KEY_TAG) == "SHA256:1 SHA256:2"


def test_that_they_could_not_be_written_stops_no_build(built: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = MemoryRegistry("acme/images")

    def refuse(*_: object) -> None:
        raise Transient("throttled")

    monkeypatch.setattr(registry, "tag", refuse)
    keep(registry, built().lock.builds[0], frozenset({"SHA256:1"}))


def test_a_key_stays_unless_every_builder_clears_it(an_image: Make) -> None:
    image = an_image()
    (builder,) = image.template.builders

    def with_builders(*clears: bool) -> Any:
        builders = tuple(replace(builder, clears_keys=one) for one in clears)
        return replace(image, template=replace(image.template, builders=builders))

    assert may_stay(with_builders(False))
    assert may_stay(with_builders(True, False))
    assert not may_stay(with_builders(True, True))
