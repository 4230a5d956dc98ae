"""The registries of a fleet as one: what is asked of whom, and what is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reconciler import registries as table
from reconciler.model.declaration import Settings
from reconciler.model.errors import Terminal, UserError
from reconciler.ports.bench import Instances
from reconciler.ports.registry import Opening, Registry, Remains
from reconciler.registries.router import Benches, Publishers, Registries
from tests.doubles.registry import MemoryRegistry

NOW = datetime(2026, 11, 29, tzinfo=UTC)
KINDS = {"us-east-1": "ami", "/srv": "disk", "mars": "of-tomorrow"}


def test_each_location_is_asked_of_its_own_kind_and_opened_once() -> None:
    opened: list[str] = []
    held = {"ami": MemoryRegistry(fleet="acme"), "disk": MemoryRegistry(fleet="acme")}

    def open_one(kind: str) -> Registry:
        opened.append(kind)
        return held[kind]

    registries = Registries(KINDS, open_one)
    disk = held["disk"].seed("/srv", "web", tags={"reconciler:fleet": "acme"})
    ami = held["ami"].seed("us-east-1", "web", tags={"reconciler:fleet": "acme"})

    seen = registries.observe(["/srv", "us-east-1"])

    assert [one.id for one in seen.artifacts] == [disk.id, ami.id]
    assert registries.find("/srv", disk.id) is not None
    assert sorted(opened) == ["ami", "disk"]


def test_a_kind_that_is_not_known_is_unknown_and_stops_no_other() -> None:
    registries = Registries(KINDS, lambda _: MemoryRegistry(fleet="acme"))

    seen = registries.observe(["us-east-1", "mars", "nowhere"])

    assert seen.refused is None
    assert set(seen.unreadable) == {"mars", "nowhere"}
    with pytest.raises(Terminal, match="of-tomorrow"):
        registries.find("mars", "x")
    with pytest.raises(Terminal, match="not known"):
        registries.find("nowhere", "x")


def test_what_to_do_about_a_kind_that_can_not_be_opened_is_kept_whatever_else_is_asked() -> None:
    def open_one(kind: str) -> Registry:
        if kind == "disk":
            raise UserError("its library is not installed", hint=("install it", "or leave its images out"))
        return MemoryRegistry(fleet="acme")

    registries = Registries(KINDS, open_one)

    for asked in (["/srv"], ["us-east-1", "/srv"]):
        seen = registries.observe(asked)
        assert seen.hints == {"/srv": ("install it", "or leave its images out")}
        assert seen.told == {"/srv": "its library is not installed\n  install it\n  or leave its images out"}


def test_what_a_declared_location_has_by_another_name_is_not_retired_by_this_one() -> None:
    held = MemoryRegistry(fleet="acme", one_place=[{"/srv", "/mnt"}])
    ours = {"reconciler:fleet": "acme", "reconciler:image": "web"}
    kinds = {"/srv": "disk", "/mnt": "disk", "/away": "disk"}
    registries = Registries(kinds, lambda _: held, declared={"web": ("/mnt",), "app": ("/srv", "/mnt")})
    disk, away = held.seed("/srv", "web", tags=ours), held.seed("/away", "web", tags=ours)

    assert "/mnt" in registries.retire(disk, image="web").stays
    assert registries.retire(away, image="web") == Remains()
    assert registries.find("/srv", disk.id) is not None
    assert registries.find("/away", away.id) is None


def test_what_goes_from_all_names_of_a_place_goes_with_the_last_of_them() -> None:
    held = MemoryRegistry(fleet="acme", one_place=[{"/srv", "/mnt"}])
    ours = {"reconciler:fleet": "acme", "reconciler:image": "web"}
    registries = Registries({"/srv": "disk", "/mnt": "disk"}, lambda _: held, declared={"web": ("/srv", "/mnt")})
    disk = held.seed("/srv", "web", tags=ours)
    by_another_name = replace(disk, location="/mnt")

    assert registries.retire(disk, image="web").stays
    assert held.calls["retire"] == 0
    assert registries.retire(by_another_name, image="web") == Remains()
    assert held.calls["retire"] == 1


def test_what_is_of_a_kind_that_is_not_known_is_booted_by_nobody() -> None:
    def open_one(kind: str) -> Instances:
        raise AssertionError(kind)

    benches = Benches(KINDS, open_one)

    with pytest.raises(Terminal, match="of-tomorrow"):
        benches.public_key("mars", "a-key", since=NOW)
    with pytest.raises(Terminal, match="not known"):
        benches.sweep("nowhere", now=NOW)


@pytest.mark.parametrize("kind", [kind for kind, entry in table.KINDS.items() if not entry.publisher])
def test_what_is_recorded_as_published_of_a_kind_that_publishes_nothing_is_told(kind: str) -> None:
    publishers = Publishers(
        {"/disks": kind}, lambda kind: table.open_publisher(kind, Opening("acme/images", Settings()))
    )

    with pytest.raises(Terminal, match=f"nothing is published of the kind '{kind}'"):
        publishers.read("/disks", ["stable"])
