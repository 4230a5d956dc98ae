"""Which record an artifact is adopted with: the lockfile's, its tag's, or one that was not saved. Never another's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.model import events
from reconciler.model.lockfile import Build, InventoryRecord, Lockfile, PackerVersions
from reconciler.model.observation import Observation
from reconciler.model.plan import Decision, Situation
from reconciler.model.source import Pin
from reconciler.plan.diff import decide
from reconciler.plan.trust import built_on
from reconciler.state.unsaved import write_unsaved
from reconciler.steps.finish import adopted_build
from reconciler.steps.run import Run
from reconciler.words.messages import build_tag, tag_name
from tests.doubles.tag import SimulatedTag

Make = Callable[..., Any]
PACKER = PackerVersions(version="1.16.0")
ANOTHER = "20261101T000000Z-1a2b3c4"


class Adopting:
    """An artifact that is in the registry and not in state/, to be adopted by a run on a clone at `root`."""

    def __init__(self, was: Situation, root: Path) -> None:
        self.root, self.built = root, was.lock.builds[0].model_copy(update={"packer": PACKER})
        self.decision = decide(replace(was, lock=Lockfile(image="web")))
        assert self.decision.adopt
        assert self.decision.wanted is not None
        self.tags: dict[str, str] = {}
        self.heard: list[events.Event] = []

    def adopt(self, decision: Decision | None = None) -> Build:
        def annotated_tag(name: str) -> SimulatedTag | None:
            return SimulatedTag(name, self.tags[name]) if name in self.tags else None

        repository = SimpleNamespace(root=self.root, annotated_tag=annotated_tag)
        known = SimpleNamespace(head="a" * 40, tree=SimpleNamespace(entries={}), observation=Observation())
        run = SimpleNamespace(repository=repository, known=known, signs=False, listener=self.heard.append)
        image = self.decision.image
        assert image is not None
        found = adopted_build(cast("Run", run), image, decision or self.decision)
        assert found is not None
        return found[0]

    def tag(self, build: Build) -> None:
        self.tags[tag_name("web", self.built.id)] = build_tag("web", build, None)


@pytest.fixture
def adopting(built: Make, tmp_path: Path) -> Adopting:
    return Adopting(built(), tmp_path)


def test_without_a_record_it_is_said_that_its_packer_is_not_known(adopting: Adopting) -> None:
    build = adopting.adopt()

    assert (build.id, build.key, build.packer) == (adopting.built.id, adopting.built.key, None)
    assert [type(one) for one in adopting.heard] == [events.Warned]


def test_the_record_that_was_not_saved_is_taken(adopting: Adopting) -> None:
    write_unsaved(adopting.root, "web", build=adopting.built)

    assert adopting.adopt().packer == PACKER
    assert adopting.heard == []


@pytest.mark.parametrize("other", [{"id": ANOTHER}, {"key": f"sha256:{'0' * 64}"}], ids=["build", "key"])
def test_the_record_of_another_build_that_was_not_saved_is_left(adopting: Adopting, other: dict[str, str]) -> None:
    # Of the same artifacts, so that nothing but its id or its key tells it apart.
    write_unsaved(adopting.root, "web", build=adopting.built.model_copy(update=other))

    build = adopting.adopt()

    assert (build.id, build.key, build.packer) == (adopting.built.id, adopting.built.key, None)


def test_the_record_in_its_tag_is_taken(adopting: Adopting) -> None:
    adopting.tag(adopting.built)

    assert adopting.adopt().packer == PACKER


@pytest.mark.parametrize("other", [{"id": ANOTHER}, {"key": f"sha256:{'0' * 64}"}], ids=["build", "key"])
def test_a_tag_that_holds_the_record_of_another_build_is_left(adopting: Adopting, other: dict[str, str]) -> None:
    adopting.tag(adopting.built.model_copy(update=other))

    assert adopting.adopt().packer is None


def test_a_tag_names_no_file_of_another_image_in_state(adopting: Adopting) -> None:
    theirs = InventoryRecord(os="Debian", kernel="6.1", sbom=f"sbom/base/{ANOTHER}.cdx.json", digest="sha256:0")
    adopting.tag(adopting.built.model_copy(update={"inventory": theirs}))

    adopted = adopting.adopt().inventory

    assert adopted is not None
    assert adopted.sbom == f"sbom/web/{adopting.built.id}.cdx.json"


@pytest.mark.parametrize(("key", "packer"), [(None, PACKER), (f"sha256:{'0' * 64}", None)], ids=["same", "another"])
def test_the_lockfiles_record_is_taken_if_it_is_of_the_wanted_key(
    adopting: Adopting, key: str | None, packer: PackerVersions | None
) -> None:
    recorded = adopting.built.model_copy(update={"key": key} if key is not None else {})
    lock = adopting.decision.lock.model_copy(update={"builds": (recorded,)})

    build = adopting.adopt(replace(adopting.decision, lock=lock))

    assert (build.key, build.packer) == (adopting.built.key, packer)


def unnamed_pin(pin: Pin) -> Pin:
    """The same pin, of which no more is known than its id."""
    assert pin.upstream is not None
    return pin.with_id(pin.upstream.id)


def test_the_source_of_the_record_stays_where_the_wanted_one_is_the_same(adopting: Adopting) -> None:
    wanted = adopting.decision.wanted
    assert wanted is not None
    assert wanted.pin is not None
    assert wanted.pin.upstream is not None
    unnamed = unnamed_pin(wanted.pin)
    adopting.tag(adopting.built)

    build = adopting.adopt(replace(adopting.decision, wanted=replace(wanted, pin=unnamed)))

    assert build.source == adopting.built.source != unnamed


def test_a_record_tells_more_of_the_source_than_the_artifacts_tags(adopting: Adopting) -> None:
    """A source has the same identity whatever it is called: the name that was recorded stays."""
    named = adopting.built.source
    assert named is not None
    assert named.upstream is not None
    unnamed = unnamed_pin(named)
    elsewhere = named.with_id("ami-0ee55ff66aa77bb88")

    assert built_on(named, unnamed, ours=False, parents=()) == named
    assert built_on(named, elsewhere, ours=False, parents=()) == elsewhere
    assert built_on(named, None, ours=False, parents=()) == named
    assert built_on(None, unnamed, ours=False, parents=()) == unnamed


def test_without_a_record_what_is_adopted_is_of_the_first_builder(adopting: Adopting) -> None:
    image = adopting.decision.image
    assert image is not None
    first, second = image.template.makers[0], replace(image.template.makers[0], name="amazon-ebs.second")
    both = replace(image, template=replace(image.template, builders=(first, second)))
    adopting.decision = replace(adopting.decision, image=both)

    assert {one.builder for one in adopting.adopt().artifacts} == {"amazon-ebs.web"}
