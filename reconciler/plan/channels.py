"""Where the channels point, and the verdicts that move them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.model.declaration import LONGEST_TAG_VALUE
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile, Reason, Verdict
from reconciler.model.observation import Seen
from reconciler.model.plan import Action, Decision, Health, Restated, Situation, finished_at
from reconciler.model.text import one_line, visible
from reconciler.model.values import parse_instant
from reconciler.plan.graph import REPLACING
from reconciler.plan.key import NEVER_AGAIN
from reconciler.plan.tags import NO_CHANNEL, as_text, as_they_were, differing, in_no_channel, own, standing

# The verdict of the validation repository, as it stands in an artifact's tags (docs/formats.md).
#
# The tags are the interface: whoever may tag artifacts may vote, with this program or without it.

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

    Locations may differ when two voted: failed counts, as no one can launch what somebody found broken by reading
    only the other one.
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
        by=_in_a_message(seen.own("verdict-by")) or "unknown",
        evidence=_in_a_message(seen.own("verdict-evidence")) or "none",
    )


def _in_a_message(text: str | None) -> str:
    # Whoever may tag artifacts writes it, and it goes into commit messages, where a line of its own may be a trailer.
    return visible(one_line(text or ""))


def news_of(situation: Situation) -> tuple[News, ...]:
    """Every verdict that counts now and state/ does not have. A preview leaves them to the default branch."""
    return tuple((build.id, verdict) for build, verdict in _votes(situation) if not _waits(situation, build, verdict))


def with_held_back(situation: Situation, decision: Decision) -> Decision:
    """The decision, with what is to be known of a verdict that does not count yet."""
    waiting = [
        (verdict, f"{build.id} {verdict.status} validation, which counts once {until}")
        for build, verdict in _votes(situation)
        if (until := _waits(situation, build, verdict))
    ]
    if not waiting:
        return decision
    planned = decision.planned
    update: dict[str, object] = {"notes": (*planned.notes, *(note for _, note in waiting))}
    if planned.health == "healthy" and any(verdict.status == "failed" for verdict, _ in waiting):
        update["health"] = "degraded"
    return replace(decision, planned=planned.model_copy(update=update))


def _votes(situation: Situation) -> Iterator[tuple[Build, Verdict]]:
    """Every build of which the registry shows a verdict that is news."""
    for build in situation.lock.builds if not situation.options.preview else ():
        verdict = verdict_on(build, situation.seen)
        if verdict is not None and overrules(build.verdict, verdict):
            yield build, verdict


def _waits(situation: Situation, build: Build, verdict: Verdict) -> str:
    """Until when a verdict does not count; empty where it does."""
    if binds(situation.image, situation.lock, build.id, verdict):
        return f"the hold on it is gone ({situation.image.ruled_at.get('hold') or situation.image.folder})"
    # A failure may stand beside a pass, as nothing can be read there now.
    places = {artifact.location for artifact in build.artifacts} if verdict.status == "passed" else set()
    unread = sorted(places & situation.unreadable.keys())
    return f"{', '.join(unread)} can be read: it may have failed there" if unread else ""


def binds(image: Image, lock: Lockfile, build_id: str, verdict: Verdict) -> bool:
    """Whether a hold, which people reviewed, keeps a verdict from moving `stable`: off the build that it is held to.

    It would go on to the build that the hold is there to avoid. What is really broken is revoked, or held elsewhere.
    """
    hold = image.declaration.hold
    return verdict.status == "failed" and hold is not None and hold.build == build_id == lock.channels.stable


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


# Where the channels point, and what artifacts say of it: of one artifact for each channel and location it is true.


def moves(before: Lockfile, after: Lockfile) -> tuple[Reason, ...]:
    """Where each channel goes that points elsewhere afterwards: `stable <build> → stable <build>`."""
    found = []
    for name in ("candidate", "stable"):
        was, now = getattr(before.channels, name), getattr(after.channels, name)
        if was != now:
            found.append(Reason(code="channel-moved", was=f"{name} {was or 'none'}", now=f"{name} {now or 'none'}"))
    return tuple(found)


def as_settled(seen: Seen, before: Lockfile, after: Lockfile) -> Seen:
    """An artifact as it will be tagged once a verdict is recorded: with the phase and the channel that follow."""
    if before is after:
        return seen
    build_id = seen.own("build")
    was, now = before.build(build_id), after.build(build_id)
    if was is None or now is None or standing(before, was) == standing(after, now):
        return seen
    return replace(seen, tags={**seen.tags, **standing(after, now)})


def with_restated(situation: Situation, decision: Decision) -> Decision:
    """The decision with what artifacts say wrongly of their phase and channel: to be tagged anew in this run.

    Consumers go by these tags. A build that was taken back, or superseded long ago, must not be the newest that calls
    itself stable. What the recorded build's own artifacts say is compared with all their tags (plan/presence.py).
    """
    if decision.planned.unknown or situation.options.preview:
        return decision
    lock = decision.settled or situation.lock
    seen = (as_settled(one, situation.lock, lock) for one in situation.seen)
    done = {(one.location, one.id) for one in (*decision.retag, *decision.adopt)}
    replaced = not REPLACING.isdisjoint(decision.planned.actions)
    found = tuple(
        one
        for one in said_wrongly(seen, lock)
        if (one.seen.location, one.seen.id) not in done
        # What is in a channel now, and is to leave it in this very run, is tagged then.
        and not (replaced and lock.channel_of(one.seen.own("build") or "") is not None)
    )
    return replace(with_action(decision, "retag", *_reasons(found)), restate=found) if found else decision


def said_wrongly(seen: Iterable[Seen], lock: Lockfile) -> Iterator[Restated]:
    """Which of an image's artifacts say another phase or channel than its lockfile, with the tags that are right."""
    for one in seen:
        recorded = lock.build(one.own("build"))
        if one.state not in ("available", "disabled"):
            continue
        if recorded is not None:
            tags = _as_recorded(one, recorded, lock)
        else:
            tags = in_no_channel("superseded") if _was_let_go(one, lock) else {}
        differs = differing(tags, one)
        if differs:
            yield Restated(one, differs)


def _as_recorded(seen: Seen, build: Build, lock: Lockfile) -> dict[str, str]:
    tags = standing(lock, build)
    if seen.own("phase") in NEVER_AGAIN and lock.channel_of(build.id) is None:
        # Nobody is given this build, and somebody says that nobody should be: to take that back would have the next
        # run adopt it.
        return {**tags, **own(phase=seen.own("phase") or build.phase)}
    if any((one.location, one.id) == (seen.location, seen.id) for one in build.artifacts):
        return tags
    # Another artifact of the same build, such as a second copy: it is not the one, and marks alone say whose it is. So
    # it is not called stable where it does not call itself so. Where somebody says that nobody should be given it,
    # that stays: the next run would adopt it.
    if seen.own("channel") is None:
        return {}
    if seen.own("phase") in NEVER_AGAIN or build.phase in ("candidate", "stable"):
        return own(channel=NO_CHANNEL)
    return in_no_channel(build.phase)


def _was_let_go(seen: Seen, lock: Lockfile) -> bool:
    """Whether it says that a channel has it although it is of a build that is recorded no more.

    A newer build than all that is recorded may be another run's, which records it just now or has proposed to.
    """
    newest = max((build.id for build in lock.builds), default="")
    build_id = seen.own("build") or ""
    if seen.own("image") != lock.image:
        return False
    says = seen.own("phase") in ("candidate", "stable") or seen.own("channel") in ("candidate", "stable")
    return says and seen.complete and seen.began is not None and build_id < newest


def _reasons(found: tuple[Restated, ...]) -> Iterator[Reason]:
    """A reason for each location and change; of several artifacts there, their number."""
    alike: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in found:
        alike[one.seen.location, as_they_were(one.tags, one.seen), as_text(one.tags)].append(one.seen.id)
    for (location, was, now), ids in alike.items():
        which = ids[0] if len(ids) == 1 else f"{len(ids)} artifacts"
        yield Reason(code="tags-changed", was=f"{location} {which}: {was}", now=now)
