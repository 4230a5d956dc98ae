"""What is taken over as it is, and what speaks against that: each in its own words, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import events
from reconciler.model.errors import Contention, UserError
from reconciler.model.lockfile import Build, Lockfile, TakenAsFound
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision
from reconciler.plan.diff import decide
from reconciler.state.lockfiles import path_of, render
from reconciler.steps import take_over as module
from reconciler.steps.run import Result
from reconciler.steps.take_over import take_over
from tests.unit.steps.in_hand import InHand, MemoryTree, in_hand

Make = Callable[..., Any]
US, EU = "us-east-1", "eu-west-1"
BUILD = "20261122T101530Z-1a2b3c4"


class Found:
    """An image of which nothing is recorded, and an artifact that somebody made by hand."""

    def __init__(self, a_situation: Make, an_image: Make, what_is_known: Make, root: Path) -> None:
        self.image = an_image(regions=(US, EU))
        self.decision: Decision = decide(a_situation(self.image))
        self.hand: InHand = in_hand(what_is_known(self.image), root)
        self.seen: Seen = self.hand.registry.seed(US, "golden", tags={}, created="2026-01-02T03:04:05Z")

    def take(self, *words: str, test: bool = False, **known: Any) -> Result:
        run = replace(self.hand.run, known=replace(self.hand.run.known, **known))
        return take_over(run, self.image, self.decision, words or (self.seen.id,), test=test)

    def marked(self, **marks: str) -> None:
        self.hand.registry.tag(self.seen, {f"reconciler:{name}": value for name, value in marks.items()})


@pytest.fixture
def found(a_situation: Make, an_image: Make, what_is_known: Make, tmp_path: Path) -> Found:
    return Found(a_situation, an_image, what_is_known, tmp_path)


def test_it_is_recorded_as_old_as_it_is_and_marked_as_the_images(found: Found) -> None:
    result = found.take()

    assert result.status == "adopted"
    lock = found.hand.lock()
    assert lock is not None
    (build,) = lock.builds
    assert build.id.startswith("20260102T030405Z-")
    assert (build.packer, build.provenance) == (None, None), "nobody here saw it being made"
    assert build.smoke_test is not None
    assert (build.smoke_test.status, build.smoke_test.why) == ("skipped", "taken as it was found")
    (seen,) = found.hand.registry.artifacts
    assert (seen.own("image"), seen.own("build"), seen.own("key")) == ("web", build.id, build.key)


def test_to_be_asked_the_same_again_changes_nothing(found: Found) -> None:
    first = found.take()
    commits = list(found.hand.recorder.commits)
    found.decision = replace(found.decision, lock=first.lock)

    again = found.take()

    assert (again.status, again.build) == ("unchanged", first.build)
    assert found.hand.recorder.commits == commits


def test_votes_that_were_cast_before_are_taken_back(found: Found) -> None:
    found.hand.registry.tag(found.seen, {"reconciler:verdict": "passed", "reconciler:told-webhook": "stable"})

    found.take()

    (seen,) = found.hand.registry.artifacts
    assert seen.own("verdict") != "passed"
    assert seen.own("told-webhook") in (None, "")


@pytest.mark.parametrize(
    ("marks", "what"),
    [
        ({"fleet": "acme/others"}, "is of another fleet: its tag reconciler:fleet is 'acme/others'"),
        ({"image": "base"}, "is of another image: its tag reconciler:image is 'base'"),
        (
            {"image": "web", "build": "20261122T101530Z-1a2b3c4"},
            "was built here: it is 20261122T101530Z-1a2b3c4 of web",
        ),
    ],
)
def test_what_is_somebodys_by_its_marks_is_left_to_them(found: Found, marks: dict[str, str], what: str) -> None:
    found.marked(**marks)
    before = found.hand.registry.artifacts

    with pytest.raises(UserError, match=what):
        found.take()

    assert found.hand.registry.artifacts == before
    assert found.hand.recorder.commits == []


def test_what_is_no_artifact_of_ours_is_refused_with_the_reason(found: Found) -> None:
    pending = found.hand.registry.seed(EU, "golden", tags={}, state="pending")
    second = found.hand.registry.seed(US, "other", tags={})
    foreign = found.hand.registry.seed(EU, "foreign", tags={})
    found.hand.registry.of_others.add(foreign.id)

    for words, what in {
        (pending.id,): f"{pending.id} in {EU} is pending",
        (foreign.id,): f"{foreign.id} in {EU} belongs to another account",
        ("ami-00000000000000009",): f"there is no ami-00000000000000009 in {US}, {EU}",
        (f"ap-south-1:{found.seen.id}",): "ap-south-1 is not among the regions of web",
        ("golden",): "'golden' is no AMI",
        (found.seen.id, second.id): f"{found.seen.id} and {second.id} are both in {US}, and an image is one there",
    }.items():
        with pytest.raises(UserError) as refused:
            found.take(*words)
        assert refused.value.what == what, words
        assert refused.value.hint
    assert found.hand.recorder.commits == []


def test_nothing_is_taken_where_a_lockfile_that_cannot_be_read_may_have_it(found: Found) -> None:
    broken = {"base": UserError("state/base.lock.json can't be read")}

    with pytest.raises(UserError, match=r"whether .* is another image's is not known: state/base\.lock"):
        found.take(broken_locks=broken)


def test_without_a_name_an_example_is_given(found: Found) -> None:
    with pytest.raises(UserError) as refused:
        take_over(found.hand.run, found.image, found.decision, (), test=False)
    assert refused.value.what == "no AMI is named"
    assert refused.value.hint[0].startswith("reconciler adopt web ami-")


def test_what_another_run_recorded_meanwhile_counts(found: Found, built: Make) -> None:
    other: Lockfile = built(found.image).lock

    def push(_tree: MemoryTree) -> MemoryTree:
        return MemoryTree({path_of("web"): render(other)})

    found.hand.recorder.before = push

    result = found.take()

    assert result.status == "superseded"
    assert isinstance(result.error, Contention)
    assert found.hand.lock() == other
    assert len(found.hand.told(events.Skipped)) == 1
    assert found.hand.registry.artifacts[0].own("image") is None


def test_what_was_built_here_is_not_recorded_as_taken_over_before(found: Found, built: Make) -> None:
    build = built(found.image).lock.builds[0]
    (seen,) = (one for one in [found.seen])
    one = build.artifacts[0].model_copy(update={"location": US, "id": seen.id})
    taken = build.model_copy(update={"artifacts": (one,), "adopted": TakenAsFound(at="2026-11-22T10:15:30Z")})

    def recorded(*builds: Build) -> Build | None:
        return module._recorded(replace(found.decision, lock=Lockfile(image="web", builds=builds)), [seen])

    assert recorded(taken) == taken
    assert recorded(taken.model_copy(update={"adopted": None})) is None
    assert recorded(taken.model_copy(update={"artifacts": ()})) is None
    assert recorded() is None
