"""The game of a branch author and a tagger against two honest runs, and what has to hold after each of its moves."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError
from reconciler.model.observation import Seen
from reconciler.steps.one_writer import written_by_branch
from tests.integration.loop.auditor import Auditor
from tests.integration.loop.effects import in_the_middle
from tests.integration.loop.hostile import EMPTIED, EVIL, SUITE, TESTS, Town
from tests.integration.loop.world import EU, FLEET, US, World, git

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
        self.auditor = Auditor(self.town)

    def teardown(self) -> None:
        """In the end, too."""
        self._honest_run("main-a")
        self.auditor.believe_no_moved_tag()
        self.check()
        self.auditor.look_at_main()
        shutil.rmtree(self.world.root)

    def check(self) -> None:
        """All that has to hold."""
        self.what_is_in_a_channel_is_good()
        self.nothing_forged_is_in_state()
        self.nothing_of_another_account_is_recorded()
        self.nothing_is_desired_but_what_was_reviewed()

    # The author.

    @rule(branch=BRANCHES, image=IMAGES, setup=SETUPS | st.just(EVIL), suite=st.sampled_from([SUITE, EMPTIED]))
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

    @rule(image=IMAGES, attested=st.booleans(), signed=st.booleans())
    def author_writes_state_on_a_branch(self, image: str, attested: bool, signed: bool) -> None:  # noqa: FBT001 - as below
        """It is refused, whatever it is called; and whoever verifies it is not told that it is true."""
        commit = self.town.push_state("feature/state", image, attested=attested, signed=signed)
        repository = Repository.open(self.world.root / "author")
        recorded = git(repository.root, "rev-parse", "origin/main")
        assert written_by_branch(
            repository, repository.tree(), commit=repository.head, recorded=recorded, branch="reconciler/state"
        )
        self.auditor.look_at_branch(commit, image)

    @precondition(lambda self: self.town.proposes)
    @rule(image=IMAGES, of=IMAGES, amends=st.booleans(), squash=st.booleans())
    def author_proposes_state_under_our_name(self, image: str, of: str, amends: bool, squash: bool) -> None:  # noqa: FBT001
        """He does while there is something to propose: beside that, if he `amends` what an honest run proposed."""
        self.town.merge(of, f"echo {next(self.numbers)}\n")
        if amends:
            self._run_around(lambda: self.town.run("main-a").reconcile(prune=True))
        theirs = self.world.registry.seed(US, f"payroll-{next(self.numbers)}", tags={"team": "payroll"})
        self.town.push_proposal(image, theirs, amends=amends)
        self._honest_run("main-b", squash=squash)

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
        self.auditor.believe_no_moved_tag()

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
                self.auditor.believe_no_moved_tag()
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
        self.auditor.look_at_main()

    @rule(image=IMAGES, region=REGIONS, same_name=st.booleans())
    def an_artifact_is_lost_and_the_tagger_has_another(self, image: str, region: str, same_name: bool) -> None:  # noqa: FBT001
        newest = self.world.lock(image).builds[0].id
        there = [one for one in self.world.artifacts(image) if (one.location, one.own("build")) == (region, newest)]
        self.somebody_deletes_artifacts(image=image, region=region)
        for one in there[:1]:
            name = one.name if same_name else f"other-{next(self.numbers)}"
            self.town.make_like(one, location=region, name=name)
        self._honest_run("main-b")

    @rule(image=IMAGES, region=REGIONS, forged=st.booleans())
    def a_reviewer_lets_a_lockfile_pass_that_names_what_is_others(self, image: str, region: str, forged: bool) -> None:  # noqa: FBT001
        """The tagger may have `forged` a record that says so, too. Nothing is done to it, nor built on it."""
        path, build = f"state/{image}.lock.json", self.world.lock(image).builds[0]
        ours = build.artifact_in(region)
        if ours is None:
            return
        theirs = self.world.registry.seed(region, f"payroll-{next(self.numbers)}", tags={"team": "payroll"})
        if forged:
            self.town.forge(image, theirs, signed=False, build_id=build.id)
        self.world.commit({path: self.world.file(path).replace(ours.id, theirs.id)}, f"Change {image} (#8)")
        self._honest_run("main-a")
        for each in self.world.recorded():
            pins = (one.source.artifacts or {} for one in self.world.lock(each).builds if one.source is not None)
            assert not any(theirs.id in pinned.values() for pinned in pins), f"{each} was built on what is another's"
        self.world.commit({path: self.world.file(path).replace(theirs.id, ours.id)}, "Take that back (#9)")

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
        self.town.merge_proposal()

    @rule()
    def hours_pass(self) -> None:
        self.world.pass_days(1)

    def _honest_run(self, name: str, *, refresh: bool = False, squash: bool = True) -> None:
        """Reconcile; what is proposed then is merged."""
        self._run_around(lambda: self.town.run(name).reconcile(refresh=refresh, prune=True))
        self.town.merge_proposal(squash=squash)

    def _run_around(self, run: Callable[[], object]) -> None:
        before = self.town.foreign()
        with self.town.honestly():
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

    @invariant()
    def nothing_is_desired_but_what_was_reviewed(self) -> None:
        for image in ("base", "web"):
            assert self.world.file(f"desired/{image}/setup.sh") in self.town.account.reviewed[image]

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
        how, database=None, deadline=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate], report_multiple_bugs=False,  # shrinking takes longer than reading
    )  # fmt: skip
    run_state_machine_as_test(game if number is None else seed(number)(game), settings=told)  # type: ignore[arg-type] # it only calls it


def play_these(town: Town, folder: Path, *moves: Callable[[Hostile], None]) -> None:
    """Play one game of these moves."""
    game = Hostile(town, folder / "world")
    for move in moves:
        move(game)
        game.check()
    game.teardown()
