"""What a run's results say together."""

from __future__ import annotations

import pytest

from reconciler.git.destination import Target
from reconciler.model.errors import Contention, ReconcilerError, Transient
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.plan import Plan
from reconciler.steps.run import Report, Result, Status

BUILD = Build(
    id="20261122T101530Z-1a2b3c4", key="sha256:1a2b3c4", components={}, commit="0" * 40, artifacts=(), phase="stable"
)


def a_result(status: Status, *, error: ReconcilerError | None = None, build: Build | None = None) -> Result:
    return Result("web", status, Lockfile(image="web"), build=build, error=error)


TARGET = Target("main", "0" * 40, elsewhere=None, unpushed=())


def a_plan(*, complete: bool = True, errored: bool = False) -> Plan:
    return Plan(
        plan_id="sha256:0", head="0" * 40, applyable=True, complete=complete, errored=errored, summary={}, images=()
    )


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([], 0),
        ([a_result("built"), a_result("adopted"), a_result("changed")], 0),
        ([a_result("superseded")], 0),
        ([a_result("built"), a_result("failed", error=Transient("throttled"))], 3),
        ([a_result("skipped")], 3),
        ([a_result("failed"), a_result("failed", error=Contention("others were faster"))], 4),
        ([a_result("failed", error=Contention("others were faster")), a_result("interrupted")], 130),
    ],
)
def test_the_most_urgent_thing_is_the_exit_code(results: list[Result], code: int) -> None:
    assert Report(results=tuple(results), plan=a_plan(), target=TARGET).exit_code == code


def test_what_could_not_be_read_is_told_though_all_else_went_well() -> None:
    assert Report(results=(a_result("built"),), plan=a_plan(complete=False), target=TARGET).exit_code == 3
    assert Report(results=(), plan=a_plan(errored=True), target=TARGET).exit_code == 3


@pytest.mark.parametrize("status", ["built", "adopted", "changed"])
def test_children_are_built_on_what_was_done(status: Status) -> None:
    assert a_result(status).stands


@pytest.mark.parametrize("status", ["failed", "skipped", "interrupted"])
def test_children_are_not_built_on_what_was_not(status: Status) -> None:
    assert not a_result(status, build=BUILD).stands


def test_children_are_built_on_what_another_run_recorded_and_on_nothing_that_was_given_up() -> None:
    assert a_result("superseded", build=BUILD).stands
    assert not a_result("superseded").stands
