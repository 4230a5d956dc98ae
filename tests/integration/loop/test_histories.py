"""Any history of edits, losses, outages, crashes and rival runs ends in a world where all agree."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from reconciler.git.repository import Repository
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.ports.builder import BuildFailed
from reconciler.steps.run import Report
from tests.doubles.tester import NOTHING_INSIDE
from tests.integration.loop.effects import Effects, Killed, When, in_the_middle, surround
from tests.integration.loop.settling import assert_consistent, assert_settled
from tests.integration.loop.world import AP, EU, ON_BASE, ON_DEBIAN, US, World, git, image_files, no_image_files

pytestmark = pytest.mark.long

IMAGES = st.sampled_from(["base", "web"])
REGIONS = st.sampled_from([US, EU, AP])
FURTHER = st.sampled_from([(), (EU,), (AP,), (EU, AP)])
REFRESH = st.sampled_from(
    [
        "",
        "refresh: {max_age: 1d}\n",
        "refresh: {max_age: 1d, keep_if_unchanged: false}\n",
        'refresh: {max_age: 1d, window: "mon-wed 02:00-22:00 UTC"}\n',
    ]
)
SOURCES = {"base": ON_DEBIAN, "web": ON_BASE}


class Histories(RuleBasedStateMachine):
    """A fleet of two, settled at first, and everybody who may act on it."""

    def __init__(self, settled: World, root: Path) -> None:
        super().__init__()
        self.world = settled.copy_to(root)
        self.begin = self.head = self.world.head()
        self.numbers: Iterator[int] = itertools.count()

    def teardown(self) -> None:
        """However it went: once all can be read, one run settles it, and the next does nothing."""
        self.world.registry.unreadable.clear()
        self.world.pass_days(2)  # no failure is rested for longer than one
        assert self.world.controller().reconcile(prune=True).exit_code == 0
        assert_settled(self.world, since=self.begin)
        shutil.rmtree(self.world.root)

    @rule()
    def days_pass(self) -> None:
        self.world.pass_days(2)

    @rule()
    def a_person_takes_web_out_or_puts_it_back(self) -> None:
        gone = self.world.declares("web")
        self.world.commit(no_image_files("web") if gone else image_files("web", ON_BASE))

    @precondition(lambda self: self.world.declares("web"))
    @rule(image=IMAGES)
    def a_person_edits_inputs(self, image: str) -> None:
        self.world.commit({f"desired/{image}/setup.sh": f"echo {next(self.numbers)}\n"})

    @precondition(lambda self: self.world.declares("web"))
    @rule(image=IMAGES, further=FURTHER, cost_center=st.sampled_from(["42", "43"]), refresh=REFRESH)
    def a_person_edits_a_declaration(
        self, image: str, further: tuple[str, ...], cost_center: str, refresh: str
    ) -> None:
        regions = ", ".join([US, *further])
        declared = f"{SOURCES[image]}regions: [{regions}]\ntags: {{CostCenter: '{cost_center}'}}\n{refresh}"
        comment = f"# {next(self.numbers)}\n"  # git has nothing to commit when nothing changed
        self.world.commit({f"desired/{image}/image.yaml": declared + comment})

    @rule(image=IMAGES, region=REGIONS)
    def a_person_deletes_artifacts(self, image: str, region: str) -> None:
        self.world.lose(image, region)

    @rule(image=IMAGES, region=REGIONS)
    def a_person_strips_tags(self, image: str, region: str) -> None:
        self.world.strip_tags(image, region)

    @rule(region=REGIONS)
    def a_region_stops_answering(self, region: str) -> None:
        self.world.registry.unreadable[region] = "RequestLimitExceeded"

    @precondition(lambda self: self.world.registry.unreadable)
    @rule()
    def all_regions_answer_again(self) -> None:
        self.world.registry.unreadable.clear()

    @rule()
    def somebody_publishes_a_newer_upstream(self) -> None:
        if len(self.world.registry.upstreams) < 28:  # its number is a day of the month, too
            self.world.publish_upstream(f"debian-12-amd64-new-{next(self.numbers)}")

    @rule(refresh=st.booleans(), prune=st.booleans())
    def a_run(self, refresh: bool, prune: bool) -> None:  # noqa: FBT001 - hypothesis hands everything in by name
        self.check(self.world.controller().reconcile(refresh=refresh, prune=prune))

    @rule(effect=st.integers(0, 14), when=st.sampled_from(["before", "after"]), refresh=st.booleans())
    def a_run_that_is_killed(self, effect: int, when: When, refresh: bool) -> None:  # noqa: FBT001 - as above
        doomed = surround(self.world.controller(), Effects(die_at=effect, when=when).around)
        try:
            self.check(doomed.reconcile(refresh=refresh, prune=True))
        except Killed:
            self.world.clock.advance(hours=1)

    @rule(image=IMAGES)
    def a_run_whose_build_fails(self, image: str) -> None:
        controller = self.world.controller()
        failure = BuildFailed("setup.sh ended with 1", cause="failed", seconds=1, log=Path("build.log"))
        controller.builder.failures = {image: failure}
        controller.reconcile(prune=True)
        self.world.clock.advance(days=1)

    @rule(image=IMAGES, refresh=st.booleans())
    def a_run_whose_build_does_not_pass(self, image: str, refresh: bool) -> None:  # noqa: FBT001 - as above
        controller = self.world.controller()
        controller.tester.results = {image: SmokeTestResult(status="failed", why="SSH never came")}
        controller.reconcile(refresh=refresh, prune=True)
        self.world.clock.advance(days=1)

    @rule(image=IMAGES)
    def nothing_changes_inside_any_more_or_something_does_again(self, image: str) -> None:
        if self.world.inside.pop(image, None) is None:
            self.world.inside[image] = NOTHING_INSIDE

    @rule(image=IMAGES)
    def a_run_that_is_overtaken_by_another(self, image: str) -> None:
        slow, fast = self.world.controller(), self.world.controller("rival")
        self.check(in_the_middle(slow, image, lambda: fast.reconcile(prune=True)).reconcile(prune=True))

    @rule(image=IMAGES)
    def a_run_during_which_a_person_pushes(self, image: str) -> None:
        slow = self.world.controller()
        in_the_middle(slow, image, lambda: self.world.commit({f"desired/{image}/setup.sh": f"{next(self.numbers)}\n"}))
        slow.reconcile(prune=True)

    @invariant()
    def history_only_grows(self) -> None:
        repository = Repository.open(self.world.root / "person")
        git(repository.root, "fetch", "--quiet", "origin", "main")
        head = self.world.head()
        assert repository.is_ancestor(self.head, head)
        self.head = head

    @invariant()
    def no_build_is_recorded_twice_in_a_region(self) -> None:
        for image in self.world.recorded():
            for build in self.world.lock(image).builds:
                regions = [artifact.location for artifact in build.artifacts]
                assert len(regions) == len(set(regions))

    def check(self, report: Report) -> None:
        """A run that could read everything ended well, left all in agreement, and has nothing to add."""
        self.world.clock.advance(hours=1)
        if self.world.registry.unreadable:
            return
        assert report.exit_code == 0
        assert_consistent(self.world)
        head = self.world.head()
        assert self.world.controller().reconcile().results == ()
        assert self.world.head() == head


def test_any_history_ends_in_agreement(pair: World, tmp_path: Path) -> None:
    numbers = itertools.count()
    run_state_machine_as_test(
        lambda: Histories(pair, tmp_path / f"world-{next(numbers)}"),  # type: ignore[arg-type] # it only calls it
        settings=settings(
            max_examples=8,
            stateful_step_count=8,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
