"""Whatever a team holds, releases, revokes and takes back while builds and verdicts go on: what was ruled holds."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from reconciler.model.lockfile import Lockfile
from tests.integration.loop.settling import assert_consistent, assert_nothing_planned
from tests.integration.loop.test_rulings import as_it_was
from tests.integration.loop.world import ON_BASE, ON_DEBIAN, World

pytestmark = pytest.mark.long

NAMES = ("base", "web")
IMAGES = st.sampled_from(NAMES)
SOURCES = {"base": ON_DEBIAN, "web": ON_BASE}
KEPT = "retain: {builds: 6}\n"


class Rulings(RuleBasedStateMachine):
    """A parent and its child, with validation on or off, and what their image.yaml rule."""

    def __init__(self, settled: World, root: Path) -> None:
        super().__init__()
        self.world = settled.copy_to(root)
        self.numbers: Iterator[int] = itertools.count()
        self.held: dict[str, str] = {}
        self.revoked: dict[str, set[str]] = {name: set() for name in NAMES}
        self.validated: set[str] = set()
        self.bound: dict[str, str] = {}
        """The build that each held `stable` was seen at, for as long as its line stands."""

    def teardown(self) -> None:
        shutil.rmtree(self.world.root)

    def lock(self, image: str) -> Lockfile:
        return self.world.lock(image)

    def declare(self, image: str) -> None:
        rows = "".join(f"  - {{build: {one}, reason: leaked}}\n" for one in sorted(self.revoked[image]))
        self.world.commit({
            f"desired/{image}/image.yaml": "".join((
                f"# {next(self.numbers)}\n", SOURCES[image], KEPT,
                "validation: {required: true}\n" if image in self.validated else "",
                f"hold: {{build: {self.held[image]}, reason: works}}\n" if image in self.held else "",
                f"revoke:\n{rows}" if rows else "",
            ))
        })  # fmt: skip

    def reconcile(self) -> None:
        """Runs until nothing is left to do, which two of them reach: a child may wait for what its parent became."""
        self.world.clock.advance(hours=1)
        for _ in range(3):
            report = self.world.controller().reconcile()
            if not report.results:
                break
        self.hold_what_was_ruled()

    def hold_what_was_ruled(self) -> None:
        locks = {name: self.lock(name) for name in NAMES}
        assert {name: self.said_revoked(locks[name]) for name in NAMES} == self.brute_force(locks)
        for name, lock in locks.items():
            for channel in (lock.channels.stable, lock.channels.candidate):
                build = lock.build(channel)
                assert build is None or build.phase not in ("revoked", "rejected")
            if name in self.held and lock.channels.stable == self.held[name]:
                self.bound[name] = self.held[name]
            elif name in self.bound:
                gone = lock.build(self.bound[name])
                assert gone is not None
                assert gone.phase in ("revoked", "rejected")
        assert_consistent(self.world)

    @staticmethod
    def said_revoked(lock: Lockfile) -> set[str]:
        return {build.id for build in lock.builds if build.phase == "revoked"}

    def brute_force(self, locks: dict[str, Lockfile]) -> dict[str, set[str]]:
        """Everything whose chain of sources meets a revoked build, found by walking each chain up."""

        def meets(image: str, build_id: str) -> bool:
            build = locks[image].build(build_id)
            source = build.source if build is not None else None
            if build_id in self.revoked[image]:
                return True
            return source is not None and source.image is not None and meets(source.image, source.build or "")

        return {
            name: {build.id for build in lock.builds if meets(name, build.id)} for name, lock in locks.items()
        }  # fmt: skip

    @rule(image=IMAGES)
    def somebody_changes_it(self, image: str) -> None:
        self.world.commit({f"desired/{image}/setup.sh": f"echo {next(self.numbers)}\n"})
        self.reconcile()

    @rule(image=IMAGES, status=st.sampled_from(["passed", "passed", "failed"]))
    def it_is_judged(self, image: str, status: str) -> None:
        if self.lock(image).channels.candidate is not None:
            self.world.judge(image, status)  # type: ignore[arg-type]  # one of the two that there are
        self.reconcile()

    @rule(image=IMAGES)
    def validation_is_switched(self, image: str) -> None:
        self.validated ^= {image}
        self.declare(image)
        self.reconcile()

    @rule(image=IMAGES, which=st.integers(0, 5))
    def it_is_held(self, image: str, which: int) -> None:
        good = [one.id for one in self.lock(image).builds if one.phase not in ("revoked", "rejected")]
        if good:
            self.held[image] = good[which % len(good)]
            self.bound.pop(image, None)
            self.declare(image)
            self.reconcile()
            assert self.lock(image).channels.stable == self.held[image]

    @precondition(lambda self: self.held)
    @rule()
    def a_hold_is_taken_away(self) -> None:
        image = min(self.held)
        del self.held[image]
        self.bound.pop(image, None)
        self.declare(image)
        self.reconcile()

    @rule(image=IMAGES, which=st.integers(0, 5))
    def one_is_revoked(self, image: str, which: int) -> None:
        builds = [one.id for one in self.lock(image).builds if one.id != self.held.get(image)]
        if builds:
            self.revoked[image].add(builds[which % len(builds)])
            self.declare(image)
            self.reconcile()

    @precondition(lambda self: any(self.revoked.values()))
    @rule()
    def all_revocations_are_taken_away(self) -> None:
        for image in NAMES:
            self.revoked[image].clear()
            self.declare(image)
        self.reconcile()

    @precondition(lambda self: not any(self.revoked.values()) and not self.held)
    @rule(image=IMAGES, which=st.integers(0, 5))
    def a_revocation_that_is_taken_back_leaves_no_trace(self, image: str, which: int) -> None:
        """Where nothing was built for it meanwhile: the child of a parent that fell back follows that."""
        self.reconcile()
        before = {name: self.lock(name) for name in NAMES}
        self.one_is_revoked(image, which)
        built = {name: {one.id for one in self.lock(name).builds} for name in NAMES}
        self.all_revocations_are_taken_away()
        if built == {name: {one.id for one in lock.builds} for name, lock in before.items()}:
            after = {name: self.lock(name) for name in NAMES}
            assert [lock.channels for lock in after.values()] == [lock.channels for lock in before.values()]
            assert [as_it_was(lock).builds for lock in after.values()] == [
                as_it_was(lock).builds for lock in before.values()
            ]
            assert_nothing_planned(self.world)


def test_what_is_ruled_holds_in_every_history(settled: World, tmp_path: Path) -> None:
    numbers = itertools.count()
    run_state_machine_as_test(
        lambda: Rulings(settled, tmp_path / f"fleet-{next(numbers)}"),  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=6,
            stateful_step_count=8,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),  # an example takes seconds, and each says what it did
            suppress_health_check=list(HealthCheck),
        ),
    )
