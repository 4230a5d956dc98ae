"""A proposal that nobody signed stays as far as our own records say the same: one word more, and it is made anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.model.care import Care, Grants
from reconciler.model.lockfile import Build, Lockfile, PackerVersions, Verdict
from reconciler.model.observation import Observation
from reconciler.plan.diff import decide
from reconciler.state.lockfiles import path_of, read_lockfile, render
from reconciler.steps import proposals
from reconciler.steps.record import Contents, record_build
from reconciler.words.messages import build_tag, tag_name
from tests.doubles.tag import SimulatedTag
from tests.unit.steps.in_hand import InHand, MemoryTree, in_hand

Make = Callable[..., Any]


class Proposal:
    """What a run proposed: one new build, with its tag, in a fleet whose branch takes no pushes."""

    def __init__(self, a_situation: Make, built: Make, what_is_known: Make, root: Path) -> None:
        situation = a_situation()
        known = what_is_known(situation.image, now=situation.now, settings={"git": {"push": "pull-request"}})
        self.hand: InHand = in_hand(known, root)
        self.base = self.hand.recorder.tree
        build: Build = built().lock.builds[0].model_copy(update={"packer": PackerVersions(version="1.16.0")})
        self.build = build
        record_build(
            self.hand.run, situation.image, build, decision=decide(situation), verb="build", contents=Contents()
        )  # fmt: skip
        name = tag_name("web", build.id)
        self.hand.tags[name] = SimulatedTag(name, build_tag("web", build, None))
        self.proposed = self.hand.recorder.tree
        lock = read_lockfile(self.proposed, "web")
        assert lock is not None
        self.lock: Lockfile = lock

    def stays(self, tree: MemoryTree | None = None, *, base: MemoryTree | None = None) -> bool:
        confirms = proposals.confirms(self.hand.run.repository, self.hand.run.known)
        return confirms("web", base or self.base, tree or self.proposed)

    def saying(self, **update: Any) -> MemoryTree:
        """The same, with something else in the record of its build."""
        build = self.lock.builds[0].model_copy(update=update)
        lock = self.lock.model_copy(update={"builds": (build,)})
        return MemoryTree({**self.proposed.files, path_of("web"): render(lock)})


@pytest.fixture
def proposal(
    a_situation: Make, built: Make, what_is_known: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Proposal:
    monkeypatch.setattr(proposals, "find_destination", lambda *_: SimpleNamespace(branch="main"))
    return Proposal(a_situation, built, what_is_known, tmp_path)


def test_what_we_proposed_stays(proposal: Proposal) -> None:
    assert proposal.stays()


@pytest.mark.parametrize(
    "update",
    [
        {"verdict": Verdict(status="passed", by="qa", evidence="https://ci.example.org/1")},
        {"was_stable": True},
        {"key": f"sha256:{'0' * 64}"},
        {"seconds": 7},
        {"provenance": None},
        {"started": "2126-11-22T10:15:30Z"},
    ],
    ids=["a vote", "a past", "a key", "a time", "no statement", "a day in a hundred years"],
)
def test_one_word_more_is_anybodys(proposal: Proposal, update: dict[str, Any]) -> None:
    assert not proposal.stays(proposal.saying(**update))


def test_what_is_given_to_somebody_is_anybodys(proposal: Proposal) -> None:
    (artifact,) = proposal.lock.builds[0].artifacts
    for care in (
        Care(shared=Grants.of(["111122223333"])), Care(withheld=Grants.of(["111122223333"])), Care(protected=True),
        Care(deprecated="2026-12-01T00:00:00Z"),
    ):  # fmt: skip
        given = artifact.model_copy(update={"care": care})
        assert not proposal.stays(proposal.saying(artifacts=(given,))), care


def test_a_copy_counts_where_the_registry_has_it_as_the_builds(proposal: Proposal) -> None:
    build = proposal.lock.builds[0]
    copied = build.artifacts[0].model_copy(update={"location": "eu-west-1", "id": "ami-0copy"})
    marks = {"reconciler:fleet": "acme/images", "reconciler:image": "web", "reconciler:build": build.id}
    seen = proposal.hand.registry.seed("eu-west-1", "web", tags={**marks, "reconciler:key": build.key})

    def tagged(*, shown: bool) -> bool:
        observation = Observation(artifacts=(replace(seen, id="ami-0copy"),) if shown else ())
        one = proposals._Proposed(
            "web",
            proposal.base,
            proposal.proposed,
            proposal.hand.run.repository,
            replace(proposal.hand.run.known, observation=observation),
        )
        return one._is_tagged(build.model_copy(update={"artifacts": (*build.artifacts, copied)}))

    assert tagged(shown=True)
    assert not tagged(shown=False)


def test_without_its_tag_it_is_a_strangers_word(proposal: Proposal) -> None:
    proposal.hand.tags.clear()
    assert not proposal.stays()


def test_a_file_more_or_another_form_is_anybodys(proposal: Proposal) -> None:
    more = {**proposal.proposed.files, "state/sbom/web/other.cdx.json": b"{}"}
    spaced = {**proposal.proposed.files, path_of("web"): proposal.proposed.files[path_of("web")] + b"\n"}
    statement = next(path for path in proposal.proposed.files if "provenance" in path)
    forged = {**proposal.proposed.files, statement: proposal.proposed.files[statement] + b" "}

    for files in (more, spaced, forged):
        assert not proposal.stays(MemoryTree(files))


def test_what_is_declared_no_more_or_has_no_build_is_not_confirmed(proposal: Proposal) -> None:
    assert not proposal.stays(MemoryTree({path_of("web"): render(Lockfile(image="web"))}))
    assert not proposal.stays(MemoryTree())
    assert not proposal.stays(MemoryTree({path_of("web"): b"<<<<<<< HEAD\n"}))


def test_what_is_declared_or_recorded_already_is_given_to_nobody_anew(
    proposal: Proposal, an_image: Make, what_is_known: Make
) -> None:
    declared = what_is_known(an_image(share_with={"accounts": ["111122223333"]}))
    (artifact,) = proposal.lock.builds[0].artifacts

    def gives_no_more(now: Care, before: Care | None = None) -> bool:
        one = proposals._Proposed("web", proposal.base, proposal.proposed, proposal.hand.run.repository, declared)
        said, recorded = (
            proposal.build.model_copy(update={"artifacts": (artifact.model_copy(update={"care": care}),)})
            for care in (now, before)
        )
        return one._gives_no_more(said, recorded if before is not None else None)

    shared, protected = Care(shared=Grants.of(["111122223333"])), Care(protected=True)
    assert gives_no_more(shared)
    assert not gives_no_more(Care(shared=Grants.of(["444455556666"])))
    assert gives_no_more(protected, protected)
    assert not gives_no_more(protected)
