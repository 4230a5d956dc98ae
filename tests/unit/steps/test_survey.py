"""What tells of builds that no lockfile has any more: an old commit's word, and what confirms it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.git.repository import Repository
from reconciler.model.care import Care, Grants
from reconciler.model.inventory import Inventory, OperatingSystem
from reconciler.model.lockfile import Build, InventoryRecord
from reconciler.model.observation import Observation
from reconciler.plan.roots import Survey
from reconciler.state.lockfiles import path_of
from reconciler.state.sbom import below_state, render_sbom
from reconciler.steps import survey as module
from reconciler.steps.ours import Records, Told
from reconciler.steps.survey import _is_confirmed, as_told, locations_of
from tests.unit.steps.in_hand import InHand, MemoryTree, in_hand, there

Make = Callable[..., Any]
US, EU = "us-east-1", "eu-west-1"
INSIDE = Inventory(
    OperatingSystem("debian", "12", "Debian 12"), "6.1.0", packages=(), services=(), ports=(), users=(), suid=()
)  # fmt: skip


def told(build: Build | None) -> Records:
    return lambda image, build_id: (
        Told(build.artifacts, build) if build is not None and (image, build_id) == ("web", build.id) else None
    )


@pytest.fixture
def hand(an_image: Make, what_is_known: Make, tmp_path: Path) -> InHand:
    return in_hand(what_is_known(an_image(regions=(US, EU))), tmp_path)


def test_every_location_counts_that_is_declared_has_something_or_could_not_be_read(
    hand: InHand, an_image: Make, what_is_known: Make
) -> None:
    seen = hand.registry.seed("ap-south-1", "web", tags={})
    observation = Observation(artifacts=(seen,), unreadable={"sa-east-1": "throttled"})

    found = set(locations_of(what_is_known(an_image(regions=(US,)), observation=observation)))

    assert found == {US, "ap-south-1", "sa-east-1"}


class TestConfirmed:
    """An artifact is a build's by its name, or by the tag: marks, and a commit's word, are soon written."""

    @pytest.fixture
    def build(self, hand: InHand, built: Make) -> Build:
        return there(hand, built().lock).builds[0]

    def confirmed(self, hand: InHand, build: Build, records: Records) -> bool:
        seen = {one.place: one for one in hand.registry.artifacts}
        return _is_confirmed(Survey(hand.run.known, (), seen), build, records, image="web")

    def test_the_name_that_we_give_is_enough(self, hand: InHand, build: Build) -> None:
        assert self.confirmed(hand, build, told(None))

    def test_under_another_name_its_tag_has_to_name_it(self, hand: InHand, build: Build) -> None:
        odd = hand.registry.seed(EU, "golden", tags=dict(hand.registry.artifacts[0].tags))
        wider = build.model_copy(update={"artifacts": (*build.artifacts, odd.as_artifact("amazon-ebs.web"))})

        assert not self.confirmed(hand, wider, told(None))
        assert not self.confirmed(hand, wider, told(build))
        assert self.confirmed(hand, wider, told(wider))

    def test_what_is_gone_speaks_against_nothing(self, hand: InHand, build: Build) -> None:
        for seen in hand.registry.artifacts:
            hand.registry.delete(seen)
        assert self.confirmed(hand, build, told(None))


class TestAsTold:
    """Of an unsigned old record no more counts than what its tag says, and that it was refused."""

    def as_told(
        self, build: Build, tagged: Build | None, an_image: Make, files: Mapping[str, bytes] = MappingProxyType({})
    ) -> Build | None:
        class Clone:
            def tree(self, _commit: str) -> MemoryTree:
                return MemoryTree(files)

        repository = cast("Repository", Clone())
        return as_told(repository, build, "9c0d1e2", told(tagged), image=an_image())

    def test_who_was_given_it_and_what_it_became_is_dropped(self, built: Make, an_image: Make) -> None:
        made: Build = built().lock.builds[0]
        given = made.artifacts[0].model_copy(update={"care": Care(withheld=Grants.of(["111122223333"]))})
        forged = made.model_copy(update={"artifacts": (given,), "phase": "stable", "was_stable": True, "seconds": 1})

        found = self.as_told(forged, made, an_image)

        assert found is not None
        assert found.artifacts[0].care is None
        assert (found.phase, found.was_stable, found.seconds) == ("superseded", False, made.seconds)

    @pytest.mark.parametrize("phase", ["rejected", "revoked"])
    def test_that_it_was_refused_stays(self, built: Make, an_image: Make, phase: str) -> None:
        made: Build = built().lock.builds[0]
        found = self.as_told(made.model_copy(update={"phase": phase}), made, an_image)
        assert found is not None
        assert found.phase == phase

    def test_an_sbom_that_is_not_there_is_not_named(self, built: Make, an_image: Make) -> None:
        made: Build = built().lock.builds[0]
        record = InventoryRecord(os="Debian", kernel="6.1", sbom="sbom/web/x.cdx.json", digest="sha256:0")
        found = self.as_told(made, made.model_copy(update={"inventory": record}), an_image)
        assert found is not None
        assert found.inventory is None

    def test_one_that_stood_there_is_named_if_it_is_the_builds(self, built: Make, an_image: Make) -> None:
        made: Build = built().lock.builds[0]
        path = below_state("web", made.id)
        record = InventoryRecord(os="Debian 12", kernel="6.1.0", sbom=path, digest=INSIDE.digest)
        tagged = made.model_copy(update={"inventory": record})
        other = tagged.model_copy(update={"inventory": record.model_copy(update={"digest": "sha256:0"})})
        files = {f"state/{path}": render_sbom("web", made.id, INSIDE)}

        same, swapped = (self.as_told(made, one, an_image, files) for one in (tagged, other))

        assert same is not None
        assert same.inventory == record
        assert swapped is not None
        assert swapped.inventory is None

    def test_without_a_tag_nothing_is_recorded_anew(self, built: Make, an_image: Make) -> None:
        assert self.as_told(built().lock.builds[0], None, an_image) is None


@pytest.mark.parametrize("former", [None, "old"])
def test_a_build_that_no_lockfile_has_is_looked_for_under_every_name_of_its_image(
    built: Make, an_image: Make, what_is_known: Make, monkeypatch: pytest.MonkeyPatch, former: str | None
) -> None:
    image = an_image(moved_from=former)
    situation = built(image)
    build = situation.lock.builds[0]
    looked: list[str] = []

    def recorded(_repository: object, _written: object, path: str, missing: set[str], **_: object) -> Any:
        looked.append(path)
        return [(build, "c1")] if missing == {build.id} else []

    monkeypatch.setattr(module, "versions_below", lambda *_, **__: {})
    monkeypatch.setattr(module, "_recorded_in", recorded)
    survey = Survey(what_is_known(image), (), {one.place: one for one in situation.seen})

    found = module._past(survey, cast("Repository", SimpleNamespace(git=None)), revision="HEAD")

    assert found == {("web", build.id): (build, "c1")}
    assert looked == [path_of(name) for name in ("web", former) if name is not None]
