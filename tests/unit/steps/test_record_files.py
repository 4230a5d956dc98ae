"""The files in state/ that a lockfile names come and go with it, and hold what was recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.inventory import Inventory, OperatingSystem
from reconciler.model.lockfile import Build, InventoryRecord, Lockfile, PackerVersions
from reconciler.state.sbom import below_state, render_sbom
from reconciler.state.unsaved import write_unsaved
from reconciler.steps.record_files import (
    attach,
    detach,
    difference_made,
    paths_of,
    previewed_inventory,
    recorded_inventory,
    unsaved_inventory,
)
from reconciler.words.messages import sbom_tag_name
from tests.unit.steps.in_hand import InHand, MemoryTree, in_hand

Make = Callable[..., Any]


def inventory_of(version: str, kernel: str) -> Inventory:
    os = OperatingSystem("debian", version, f"Debian {version}")
    return Inventory(os, kernel, packages=(), services=(), ports=(), users=(), suid=())


INSIDE = inventory_of("12", "6.1.0")


def looked_into(build: Build, inventory: Inventory = INSIDE) -> Build:
    record = InventoryRecord(
        os=inventory.os.name, kernel=inventory.kernel, sbom=below_state("web", build.id), digest=inventory.digest
    )  # fmt: skip
    return build.model_copy(update={"inventory": record, "packer": PackerVersions(version="1.16.0")})


@pytest.fixture
def lock(built: Make) -> Lockfile:
    found: Lockfile = built().lock
    return found.model_copy(update={"builds": (looked_into(found.builds[0]),)})


@pytest.fixture
def hand(an_image: Make, what_is_known: Make, tmp_path: Path) -> InHand:
    return in_hand(what_is_known(an_image()), tmp_path)


def attached(hand: InHand, before: Lockfile, after: Lockfile, files: dict[str, bytes]) -> tuple[Lockfile, set[str]]:
    tree = MemoryTree(files)
    inside = {after.builds[0].id: INSIDE} if after.builds else {}
    named, changes = attach(hand.run, before, after, tree=tree, inventories=inside)
    return named, {one.path for one in changes if one.content is not None}


def test_a_new_build_gets_its_sbom_and_its_statement(hand: InHand, lock: Lockfile) -> None:
    named, written = attached(hand, Lockfile(image="web"), lock, {})

    (build,) = named.builds
    assert build.provenance is not None
    assert build.inventory is not None
    assert written == {f"state/{build.inventory.sbom}", f"state/{build.provenance}"}


def test_a_build_that_nobody_saw_being_made_has_no_statement(hand: InHand, lock: Lockfile) -> None:
    unseen = lock.model_copy(update={"builds": (lock.builds[0].model_copy(update={"packer": None}),)})

    named, written = attached(hand, Lockfile(image="web"), unseen, {})

    assert named.builds[0].provenance is None
    assert written == {f"state/{below_state('web', unseen.builds[0].id)}"}


def test_a_statement_is_made_anew_when_what_it_is_about_changes_and_else_not(
    hand: InHand, lock: Lockfile
) -> None:  # fmt: skip
    named, _ = attached(hand, Lockfile(image="web"), lock, {})
    again, written = attached(hand, named, named, {})
    assert (again, written & {f"state/{named.builds[0].provenance}"}) == (named, set())
    moved = named.builds[0].artifacts[0].model_copy(update={"location": "eu-west-1", "id": "ami-0copy"})
    grown = named.builds[0].model_copy(update={"artifacts": (*named.builds[0].artifacts, moved)})

    _, written = attached(hand, named, named.model_copy(update={"builds": (grown,)}), {})

    assert f"state/{named.builds[0].provenance}" in written


def test_a_statement_that_a_lost_lockfile_left_is_taken_away(hand: InHand, lock: Lockfile) -> None:
    named, _ = attached(hand, Lockfile(image="web"), lock, {})
    path = f"state/{named.builds[0].provenance}"
    unseen = lock.model_copy(update={"builds": (lock.builds[0].model_copy(update={"packer": None}),)})

    _, changes = attach(hand.run, Lockfile(image="web"), unseen, tree=MemoryTree({path: b"{}"}), inventories={})

    assert [one.path for one in changes if one.content is None] == [path]


def test_what_no_lockfile_names_any_more_goes_if_it_is_there(hand: InHand, lock: Lockfile) -> None:
    named, _ = attached(hand, Lockfile(image="web"), lock, {})
    first, *_ = paths_of(named.builds[0])

    gone = detach(named, None, tree=MemoryTree({first: b"{}"}))

    assert [(one.path, one.content) for one in gone] == [(first, None)]
    assert detach(named, named, tree=MemoryTree({first: b"{}"})) == ()


def test_what_is_inside_counts_if_it_is_what_the_record_says(hand: InHand, lock: Lockfile) -> None:
    (build,) = lock.builds
    path = f"state/{below_state('web', build.id)}"
    other = inventory_of("13", "6.12.0")

    def recorded(content: bytes | None) -> Inventory | None:
        hand.recorder.tree = MemoryTree({path: content} if content is not None else {})
        hand.run.__dict__.pop("state", None)
        return recorded_inventory(hand.run, build)

    assert recorded(render_sbom("web", build.id, INSIDE)) == INSIDE
    assert recorded(render_sbom("web", build.id, other)) is None, "somebody put another one there"
    assert recorded(b"no SBOM") is None
    assert recorded(None) is None
    assert recorded_inventory(hand.run, None) is None


def test_what_changed_inside_is_told_where_both_are_known(hand: InHand, lock: Lockfile) -> None:
    (build,) = lock.builds
    hand.recorder.tree = MemoryTree({f"state/{below_state('web', build.id)}": render_sbom("web", build.id, INSIDE)})
    newer = inventory_of("13", "6.12.0")

    found = difference_made(hand.run, build, newer)

    assert found is not None
    assert found.kernel is not None
    assert (found.kernel.old, found.kernel.new) == ("6.1.0", "6.12.0")
    assert difference_made(hand.run, build, None) is None
    assert difference_made(hand.run, None, newer) is None


def test_of_a_preview_what_its_tag_holds_counts(hand: InHand, lock: Lockfile) -> None:
    (build,) = lock.builds
    name = sbom_tag_name("web", build.id)
    assert previewed_inventory(hand.run, "web", build) is None
    tag: Any = type("Tag", (), {"file": lambda _self: render_sbom("web", build.id, INSIDE)})()
    hand.tags[name] = tag

    assert previewed_inventory(hand.run, "web", build) == INSIDE
    assert previewed_inventory(hand.run, "web", build.model_copy(update={"inventory": None})) is None


def test_what_could_not_be_pushed_is_known_by_what_lies_beside_the_checkout(hand: InHand, lock: Lockfile) -> None:
    (build,) = lock.builds
    assert unsaved_inventory(hand.run, "web", build) is None

    write_unsaved(hand.run.repository.root, "web", build=build, inventory=INSIDE)

    assert unsaved_inventory(hand.run, "web", build) == INSIDE
