"""The verdict of the validation repository, as it stands in an artifact's tags (docs/formats.md).

The tags are the interface: whoever may tag AMIs may vote, with this program or without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from reconciler.model.lockfile import Build, Reason, Verdict
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.model.plan import Action, Decision, Health
from reconciler.model.values import parse_instant
from reconciler.plan.situation import Situation, finished_at

_LONGEST_VALUE = 256  # EC2's limit for a tag's value


def verdict_tags(verdict: Verdict) -> Mapping[str, str]:
    """The tags that carry a verdict."""
    values = {"verdict": verdict.status, "verdict-by": verdict.by, "verdict-evidence": verdict.evidence}
    return {TAG_PREFIX + name: value[:_LONGEST_VALUE] for name, value in values.items()}


def verdict_on(build: Build, seen: Iterable[Seen]) -> Verdict | None:
    """The verdict that a build's artifacts carry; None while there is none, or where it reads as neither.

    Regions may differ when two voted: failed counts, as no one can launch what somebody found broken by reading
    only the other region.
    """
    places = {(artifact.location, artifact.id) for artifact in build.artifacts}
    found = [one for each in seen if (each.location, each.id) in places and (one := _in_tags(each)) is not None]
    return min(found, key=lambda verdict: (verdict.status != "failed", verdict.by, verdict.evidence), default=None)


def overrules(recorded: Verdict | None, now: Verdict) -> bool:
    """Whether an observed verdict is news.

    The first one stands. Only a failure comes after a pass, never a pass after a failure: a build that failed once
    needs another build, or a person's `--force`.
    """
    if recorded is None:
        return True
    return recorded.status == "passed" and now.status == "failed"


def _in_tags(seen: Seen) -> Verdict | None:
    status = seen.own("verdict")
    if status not in ("passed", "failed"):
        return None
    return Verdict(
        status="passed" if status == "passed" else "failed",
        by=seen.own("verdict-by") or "unknown",
        evidence=seen.own("verdict-evidence") or "none",
    )


def with_verdicts(situation: Situation, decision: Decision) -> Decision:
    """The decision with every verdict that the registry shows and state/ does not have: to be recorded in this run."""
    news = [
        (build.id, verdict)
        for build in situation.lock.builds
        if (verdict := verdict_on(build, situation.seen)) is not None and overrules(build.verdict, verdict)
    ]
    if not news or decision.planned.unknown:
        return decision
    promotes = any(verdict.status == "passed" and build == situation.lock.channels.candidate for build, verdict in news)
    reasons = tuple(_reason(situation.lock.build(build), verdict) for build, verdict in news)
    return replace(with_action(decision, "promote" if promotes else "record", reasons), verdicts=tuple(news))


def with_action(decision: Decision, action: Action, reasons: tuple[Reason, ...]) -> Decision:
    """The decision with one more action and its reasons. An image that was in sync has drifted by them."""
    planned = decision.planned
    before = () if planned.actions == ("none",) else planned.actions
    actions = before if action in before else (*before, action)
    update = {"sync": "drifted", "actions": actions, "reasons": (*planned.reasons, *reasons)}
    return replace(decision, planned=planned.model_copy(update=update))


def awaiting(situation: Situation) -> Health | None:
    """Whether a verdict is waited for, and whether for too long already: `degraded` after `validation.timeout`."""
    validation, lock = situation.image.declaration.validation, situation.lock
    candidate = lock.build(lock.channels.candidate)
    if not validation.required or candidate is None or candidate.id == lock.channels.stable:
        return None
    since = parse_instant(candidate.recorded) if candidate.recorded else finished_at(candidate)
    late = since is not None and situation.now - since > timedelta(seconds=validation.timeout)
    return "degraded" if late else "awaiting-verdict"


def _reason(build: Build | None, verdict: Verdict) -> Reason:
    was = build.verdict.status if build is not None and build.verdict is not None else "no verdict"
    named = build.id if build is not None else "?"
    return Reason(code="verdict-pending-record", was=f"{named} {was}", now=f"{verdict.status} by {verdict.by}")
