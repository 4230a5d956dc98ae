"""What Packer left, held against what was asked for: what is not the build's is refused, whatever Packer says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import events
from reconciler.model.errors import Terminal, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, PackerVersions
from reconciler.model.plan import Wanted
from reconciler.model.source import Pin
from reconciler.plan.key import wanted as want
from reconciler.ports.builder import BuildFailed, BuildResult
from reconciler.steps import build as module
from reconciler.steps.build import mark_complete, new_build_id
from tests.unit.steps.in_hand import InHand, in_hand

Make = Callable[..., Any]
US, EU = "us-east-1", "eu-west-1"
LOG = Path("web.log")
EARLIER = "20260101T000000Z-0000001"
SINCE = "2026-11-22T10:20:00Z"


def artifact(location: str, artifact_id: str, *, kind: str = "ami") -> Artifact:
    return Artifact(kind=kind, builder="amazon-ebs.web", location=location, id=artifact_id, name="web")


def result(*artifacts: Artifact, source: str | None = None) -> BuildResult:
    return BuildResult(
        artifacts=artifacts, seconds=60, packer=PackerVersions(version="1.16.0"), log=LOG, source=source
    )  # fmt: skip


@pytest.fixture
def image(an_image: Make) -> Image:
    found: Image = an_image(regions=(US, EU))
    return found


@pytest.fixture
def hand(image: Image, what_is_known: Make, tmp_path: Path) -> InHand:
    return in_hand(what_is_known(image), tmp_path)


def test_a_build_is_named_after_when_it_starts_and_its_key(hand: InHand) -> None:
    assert new_build_id(hand.run, "sha256:1a2b3c4d5e") == "20261122T101530Z-1a2b3c4"


class TestLeft:
    def left(self, hand: InHand, image: Image, *artifacts: Artifact) -> tuple[Artifact, ...]:
        return module._left(hand.run, image, result(*artifacts), ())

    def test_one_artifact_in_each_location_is_recorded_and_the_rest_named(self, hand: InHand, image: Image) -> None:
        archive = artifact("", "web.tar.gz", kind="file")
        made = artifact(US, "ami-1"), artifact(EU, "ami-2")

        assert self.left(hand, image, made[0], archive, made[1]) == made
        assert [one.what for one in hand.told(events.Warned)] == [
            "amazon-ebs.web also left file web.tar.gz, which is not recorded"
        ]

    @pytest.mark.parametrize(
        ("made", "what"),
        [
            ([], "Packer left no AMI"),
            ([artifact(US, "ami-1"), artifact(US, "ami-2")], "Packer left 2 AMIs in us-east-1"),
            ([artifact(EU, "ami-2")], "web is to be built in us-east-1, and Packer left ami-2 in eu-west-1"),
        ],
    )
    def test_anything_else_is_not_what_was_asked_for(
        self, hand: InHand, image: Image, made: list[Artifact], what: str
    ) -> None:
        with pytest.raises(BuildFailed) as failed:
            self.left(hand, image, *made)
        assert failed.value.what.startswith(what)
        assert (failed.value.cause, failed.value.artifacts) == ("not-wanted", tuple(made)), "they can be retired"


class TestMarked:
    """Marks make an artifact the build's: only what the build can have made gets them."""

    @pytest.fixture
    def build(self, built: Make, image: Image) -> Build:
        made: Build = built(image).lock.builds[0].model_copy(update={"artifacts": ()})
        return made

    def marked(self, hand: InHand, image: Image, build: Build, **more: Any) -> Build:
        (seen,) = hand.registry.artifacts
        own = build.model_copy(update={"artifacts": (seen.as_artifact("amazon-ebs.web"),)})
        return mark_complete(hand.run, image, own, log=LOG, **more)

    def test_what_it_made_is_complete_and_nobodys_yet(self, hand: InHand, image: Image, build: Build) -> None:
        hand.registry.seed(US, "web", tags={}, created=SINCE)

        marked = self.marked(hand, image, build)

        (seen,) = hand.registry.artifacts
        assert (seen.own("key"), seen.own("phase")) == (build.key, "preliminary")
        assert marked.artifacts[0].parts == seen.parts

    @pytest.mark.parametrize(
        ("tags", "created", "why"),
        [
            (
                {"build": EARLIER, "image": "web"},
                SINCE,
                f"that is the build {EARLIER}",
            ),
            ({"fleet": "acme/images", "image": "db"}, SINCE, "that is of the image db of the fleet acme/images"),
            ({"fleet": "acme/others", "image": "web"}, SINCE, "that is of the image web of the fleet acme/others"),
            ({"image": "db"}, SINCE, "that is of the image db of the fleet none"),
            ({"fleet": "acme/others", "image": "db"}, SINCE, "that is of the image db of the fleet acme/others"),
            ({}, "2026-11-22T09:00:00Z", "it was there before this build began, made at 2026-11-22T09:00:00Z"),
        ],
    )
    def test_what_it_cannot_have_made_is_refused_and_keeps_its_marks(
        self, hand: InHand, image: Image, build: Build, *, tags: dict[str, str], created: str, why: str
    ) -> None:
        hand.registry.seed(US, "web", tags={f"reconciler:{k}": v for k, v in tags.items()}, created=created)
        before = hand.registry.artifacts

        with pytest.raises(BuildFailed) as failed:
            self.marked(hand, image, build)

        assert failed.value.cause == "not-wanted"
        assert why in failed.value.what
        assert hand.registry.artifacts == before

    def test_what_it_was_built_on_and_what_is_another_accounts_is_refused(
        self, hand: InHand, image: Image, build: Build
    ) -> None:
        seen = hand.registry.seed(US, "web", tags={}, created=SINCE)
        with pytest.raises(BuildFailed, match="that is what it was built on"):
            self.marked(hand, image, build, built_on=seen.id)
        hand.registry.of_others.add(seen.id)
        with pytest.raises(BuildFailed, match="it belongs to another account"):
            self.marked(hand, image, build)

    def test_what_can_not_be_used_is_refused(self, hand: InHand, image: Image, build: Build) -> None:
        hand.registry.seed(US, "web", tags={}, created=SINCE, state="failed")
        with pytest.raises(BuildFailed, match="as what it made, and it is failed") as failed:
            self.marked(hand, image, build)
        assert failed.value.made is None, "there is nothing to take up"

    def test_what_could_not_be_marked_is_the_next_runs_to_take_up(
        self, hand: InHand, image: Image, build: Build
    ) -> None:
        hand.registry.seed(US, "web", tags={}, created=SINCE)
        hand.registry.refused = Terminal("no right", hint="let it tag")
        with pytest.raises(BuildFailed) as failed:
            self.marked(hand, image, build)
        assert (failed.value.cause, failed.value.hint) == ("unmarked", ("let it tag",))
        assert failed.value.made is not None
        assert failed.value.what.endswith("was built, and could not be marked as complete: no right")


class TestBuiltOn:
    """A template that takes no source from us resolves its own, and what it took is the truth."""

    def as_built(self, hand: InHand, image: Image, pin: Pin | None, used: str | None) -> Wanted:
        return module._as_built(hand.run, image, replace(want(image, pin), pin=pin), result=result(source=used))

    def test_what_it_says_is_the_pin_that_is_recorded(self, hand: InHand, image: Image, a_pin: Make) -> None:
        pin = a_pin("ami-0aa", region=US)
        assert self.as_built(hand, image, pin, "ami-0aa").pin == pin
        assert self.as_built(hand, image, pin, None).pin == pin

        other = self.as_built(hand, image, pin, "ami-0bb")

        assert other.pin is not None
        assert other.pin.upstream is not None
        assert other.pin.upstream.id == "ami-0bb"
        assert other.key != want(image, pin).key
        assert "the template does not take the variable source_ami" in hand.told(events.Warned)[0].what

    def test_a_child_on_something_else_than_its_parent_is_refused(self, hand: InHand, an_image: Make) -> None:
        child = an_image(source={"image": "base"})
        pin = Pin(image="base", build="20261101T000000Z-0000001", key="sha256:1", artifacts={US: "ami-0aa"})
        with pytest.raises(BuildFailed, match="was built on ami-0bb, which is not of base 20261101T000000Z-0000001"):
            self.as_built(hand, child, pin, "ami-0bb")


def test_a_source_that_is_not_where_it_is_built_says_how_to_bring_it_there(hand: InHand, an_image: Make) -> None:
    child = an_image(source={"image": "base"})
    pin = Pin(image="base", build="20261101T000000Z-0000001", key="sha256:1", artifacts={EU: "ami-0aa"})
    with pytest.raises(UserError) as refused:
        module._source(hand.run, child, pin)
    assert refused.value.hint == ("add us-east-1 to the regions of base",)
    assert module._source(hand.run, child, None) is None
