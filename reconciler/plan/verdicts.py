"""The verdict of the validation repository, as it stands in an artifact's tags (docs/formats.md).

The tags are the interface: whoever may tag AMIs may vote, with this program or without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.model.declaration import LONGEST_TAG_VALUE
from reconciler.model.lockfile import Build, Reason, Verdict
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.model.plan import Action, Decision, Health
from reconciler.model.printable import visible
from reconciler.model.values import parse_instant
from reconciler.plan.situation import Situation, finished_at
from reconciler.plan.tags import own

News = tuple[str, Verdict]
"""A build's id, and a verdict on it."""


NO_VERDICT: Mapping[str, str] = own(verdict="pending")
"""What says that nobody has judged a build yet, whatever its template or its builder wrote there."""


def verdict_tags(verdict: Verdict) -> Mapping[str, str]:
    """The tags that carry a verdict."""
    values = {"verdict": verdict.status, "verdict-by": verdict.by, "verdict-evidence": verdict.evidence}
    return own(**{name: value[:LONGEST_TAG_VALUE] for name, value in values.items()})


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
        by=_one_line(seen.own("verdict-by")) or "unknown",
        evidence=_one_line(seen.own("verdict-evidence")) or "none",
    )


def _one_line(text: str | None) -> str:
    # Whoever may tag AMIs writes it, and it goes into commit messages, where a line of its own may be a trailer.
    return visible(" ".join((text or "").split()))


def with_verdicts(situation: Situation, decision: Decision) -> Decision:
    """The decision with every verdict that the registry shows and state/ does not have: to be recorded in this run.

    A rejected build whose artifacts do not say so is settled once more: a run may have been killed after it recorded
    the verdict, and others read only the tags. A pull request's preview leaves all of this to the default branch.
    """
    if decision.planned.unknown or situation.options.preview:
        return decision
    news: list[News] = []
    for build in situation.lock.builds:
        verdict = verdict_on(build, situation.seen)
        if verdict is not None and overrules(build.verdict, verdict):
            news.append((build.id, verdict))
            moves = verdict.status == "passed" and build.id == situation.lock.channels.candidate
            decision = with_action(decision, "promote" if moves else "record", _recording(build, verdict))
        elif build.phase == "rejected" and build.verdict is not None:
            lagging = next(_not_rejected(build, situation.seen), None)
            if lagging is not None:
                news.append((build.id, build.verdict))
                decision = with_action(decision, "retag", _retagging(lagging))
    return replace(decision, verdicts=tuple(news)) if news else decision


def with_action(decision: Decision, action: Action, *reasons: Reason) -> Decision:
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
    since = waiting_since(candidate)
    late = since is not None and situation.now - since > timedelta(seconds=validation.timeout)
    return "degraded" if late else "awaiting-verdict"


def waiting_since(candidate: Build) -> datetime | None:
    """Since when a candidate waits for its verdict, as far as it is recorded."""
    return parse_instant(candidate.recorded) if candidate.recorded else finished_at(candidate)


def _not_rejected(build: Build, seen: Iterable[Seen]) -> Iterator[Seen]:
    places = {(artifact.location, artifact.id) for artifact in build.artifacts}
    return (one for one in seen if (one.location, one.id) in places and one.own("phase") != "rejected")


def _recording(build: Build, verdict: Verdict) -> Reason:
    was = build.verdict.status if build.verdict is not None else "no verdict"
    return Reason(code="verdict-pending-record", was=f"{build.id} {was}", now=f"{verdict.status} by {verdict.by}")


def _retagging(seen: Seen) -> Reason:
    phase = f"{TAG_PREFIX}phase"
    was = f"{phase}={seen.tags[phase]}" if phase in seen.tags else f"no {phase}"
    return Reason(code="tags-changed", was=f"{seen.location}: {was}", now=f"{phase}=rejected")
