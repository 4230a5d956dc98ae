"""The verdict of the validation repository, as it stands in an artifact's tags (docs/formats.md).

The tags are the interface: whoever may tag AMIs may vote, with this program or without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.model.declaration import LONGEST_TAG_VALUE
from reconciler.model.lockfile import Build, Lockfile, Reason, Verdict
from reconciler.model.observation import Seen
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


def news_of(situation: Situation) -> tuple[News, ...]:
    """Every verdict that counts now and state/ does not have. A preview leaves them to the default branch."""
    return tuple((build.id, verdict) for build, verdict in _votes(situation) if not _hidden(situation, build, verdict))


def with_held_back(situation: Situation, decision: Decision) -> Decision:
    """The decision, with what is to be known of a pass that does not count yet."""
    held = [(build, _hidden(situation, build, verdict)) for build, verdict in _votes(situation)]
    notes = tuple(
        f"{build.id} passed validation, which counts once {', '.join(regions)} can be read: it may have failed there"
        for build, regions in held
        if regions
    )
    planned = decision.planned
    return (
        replace(decision, planned=planned.model_copy(update={"notes": (*planned.notes, *notes)})) if notes else decision
    )


def _votes(situation: Situation) -> Iterator[tuple[Build, Verdict]]:
    """Every build of which the registry shows a verdict that is news."""
    for build in situation.lock.builds if not situation.options.preview else ():
        verdict = verdict_on(build, situation.seen)
        if verdict is not None and overrules(build.verdict, verdict):
            yield build, verdict


def _hidden(situation: Situation, build: Build, verdict: Verdict) -> tuple[str, ...]:
    """Where a failure may stand beside a pass, as nothing can be read there now."""
    places = {artifact.location for artifact in build.artifacts} if verdict.status == "passed" else set()
    return tuple(sorted(places & situation.unreadable.keys()))


def with_verdicts(decision: Decision, news: Sequence[News], *, settled: Lockfile) -> Decision:
    """The decision, which was made by the lockfile as these verdicts leave it, with their recording before all else."""
    lock = decision.lock
    for build_id, verdict in news:
        moves = verdict.status == "passed" and build_id == lock.channels.candidate
        build = lock.build(build_id)
        decision = with_action(decision, "promote" if moves else "record", _recording(build_id, build, verdict))
    return replace(decision, verdicts=tuple(news), settled=settled)


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


def _recording(build_id: str, build: Build | None, verdict: Verdict) -> Reason:
    was = build.verdict.status if build is not None and build.verdict is not None else "no verdict"
    return Reason(code="verdict-pending-record", was=f"{build_id} {was}", now=f"{verdict.status} by {verdict.by}")
