"""How an image stands by what is recorded of it, and how its smoke test reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.model.plan import Decision, Health, finished_at
from reconciler.model.publish import Published
from reconciler.model.smoke_test import HygieneFinding, SmokeTestResult
from reconciler.model.text import age_text, and_more, counted, visible
from reconciler.model.values import format_duration
from reconciler.plan.channels import waiting_since
from reconciler.plan.planning import FleetPlan
from reconciler.plan.rollout import group_places
from reconciler.plan.timing import counts

# A smoke test in words.


def outcome(result: SmokeTestResult) -> str:
    """What came of a test, in one line.

    `9 passed, 1 finding`, `not tested: …`, `smoke test failed: test_web.py::…: assert …`.
    """
    match result.status:
        case "passed":
            return f"{result.tests} passed" + (
                f", {counted(len(result.findings), 'finding')}" if result.findings else ""
            )
        case "skipped":
            return f"not tested: {visible(result.why or 'nobody said why')}"
        case _:
            return f"smoke test failed: {_first(result)}"


def lines(result: SmokeTestResult) -> tuple[str, ...]:
    """Every test that failed, one a line; of one that never came to its tests, why."""
    failed = tuple(visible(f"{one.test}: {one.what}") for one in result.failed)
    return failed or ((visible(result.why),) if result.why else ())


def texts(findings: Iterable[HygieneFinding]) -> tuple[str, ...]:
    """Each finding in a line, without its hint."""
    return tuple(f"finding: {visible(one.text)}" for one in findings)


def with_hints(findings: Iterable[HygieneFinding], *, given: set[str]) -> Iterator[str]:
    """Each finding in a line, and below it how to get rid of it: once for each code, which is `given` from then on."""
    for one in findings:
        yield from texts([one])
        if one.code not in given:
            given.add(one.code)
            yield f"  {visible(one.hint)}"


def _first(result: SmokeTestResult) -> str:
    found = lines(result)
    if not found:
        return "nothing says why"
    return found[0] + and_more(len(found) - 1, " (and {} more)")


# How an image stands by what is recorded of it.


@dataclass(frozen=True)
class Standing:
    """One image. Builds are ids; `age` is that of the stable build (or the candidate), for people."""

    image: str
    stable: str | None
    candidate: str | None
    age: str | None
    source: str | None
    locations: tuple[str, ...]
    sync: str
    health: str
    why: str | None
    findings: tuple[HygieneFinding, ...] = ()
    """What the smoke test of the current build found and let pass."""

    @property
    def candidate_text(self) -> str:
        """The candidate beside the stable build: `same` for most images most of the time."""
        if self.candidate is None:
            return "none"
        return "same" if self.candidate == self.stable else self.candidate


def standings(planned: FleetPlan, *, now: datetime) -> tuple[Standing, ...]:
    """Every image of a plan, by name."""
    return tuple(sorted((_standing(decision, now) for decision in planned.decisions), key=lambda row: row.image))


def _standing(decision: Decision, now: datetime) -> Standing:
    lock, planned = decision.lock, decision.planned
    counts = lock.build(lock.channels.stable) or lock.current
    finished = finished_at(counts)
    return Standing(
        image=decision.name,
        stable=lock.channels.stable,
        candidate=lock.channels.candidate,
        age=age_text(int((now - finished).total_seconds())) if finished else None,
        source=str(counts.source) if counts and counts.source else None,
        locations=tuple(artifact.location for artifact in counts.artifacts) if counts else (),
        sync=planned.sync,
        health=_of_groups(decision) if planned.health == "healthy" else planned.health,
        why=_why(decision, now),
        findings=lock.findings,
    )


def _of_groups(decision: Decision) -> Health:
    """How far an image's groups are, as the last run recorded it."""
    stable = decision.lock.channels.stable
    recorded = {one.place: one for one in decision.lock.published}
    groups = [recorded.get(one.place, one) for one in group_places(decision.image)]
    if stable is None or all((one.build, one.course) == (stable, "done") for one in groups):
        return "healthy"
    return "degraded" if _failed(decision) else "rolling-out"


def _failed(decision: Decision) -> list[Published]:
    """The groups of which the refresh to what is stable failed."""
    places = {one.place for one in group_places(decision.image)}
    failed = (decision.lock.channels.stable, "failed")
    return [one for one in decision.lock.published if one.place in places and (one.build, one.course) == failed]


def _why(decision: Decision, now: datetime) -> str | None:
    """The first thing that a person should know of an image that is not simply healthy."""
    return next(_troubles(decision, now), None)


def _troubles(decision: Decision, now: datetime) -> Iterator[str]:
    planned, lock = decision.planned, decision.lock
    if planned.errors:
        yield planned.errors[0].splitlines()[0]
    if lock.failure is not None and counts(lock.failure, wanted=decision.wanted, drifted=planned.sync == "drifted"):
        first_line = lock.failure.what.splitlines()[0]
        yield f"{lock.failure.build} failed, attempt {lock.failure.attempts}: {first_line}"
    if planned.health == "suspended" and planned.waits_for:
        yield planned.waits_for
    newest = lock.builds[0] if lock.builds else None
    if newest is None:
        yield "not built yet"
    elif newest.revoked is not None:
        by = f" for {newest.revoked.by}" if newest.revoked.by is not None else ""
        yield f"{newest.id} is revoked{by}: {newest.revoked.reason}"
    elif newest.phase == "rejected" and newest.verdict is not None:
        yield f"{newest.id} failed validation by {newest.verdict.by}: {newest.verdict.evidence}"
    yield from _waiting(decision, now)
    if decision.image is not None and decision.image.declaration.hold is not None:
        yield f"held to {decision.image.declaration.hold.build}: {decision.image.declaration.hold.reason}"
    yield from (f"{one.text}: its refresh to version {one.version} failed" for one in _failed(decision))
    for one in lock.undelivered:
        yield f"{one.to} was not told of {one.build}: {one.why}"
    if newest is not None and newest.smoke_test is not None and newest.smoke_test.status == "skipped":
        yield outcome(newest.smoke_test)


def _waiting(decision: Decision, now: datetime) -> Iterator[str]:
    candidate = decision.lock.build(decision.lock.channels.candidate)
    if decision.image is None or candidate is None or candidate.id == decision.lock.channels.stable:
        return
    validation, since = decision.image.declaration.validation, waiting_since(candidate)
    if not validation.required or since is None:
        return
    waited = now - since
    late = waited > timedelta(seconds=validation.timeout)
    limit = f", longer than validation.timeout ({format_duration(validation.timeout)})" if late else ""
    yield f"no verdict on {candidate.id} for {age_text(int(waited.total_seconds()))}{limit}"
