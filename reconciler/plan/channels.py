"""Where the channels point, and what artifacts say of it: of one artifact for each channel and location it is true."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from reconciler.model.lockfile import Build, Lockfile, Reason
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, Restated
from reconciler.plan.parents import REPLACING
from reconciler.plan.situation import Situation
from reconciler.plan.tags import as_text, as_they_were, differing, in_no_channel, standing
from reconciler.plan.verdicts import with_action


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
        if one.state != "available":
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
    own = any((one.location, one.id) == (seen.location, seen.id) for one in build.artifacts)
    if own:
        return tags
    # Another artifact of the same build, such as a second copy: as good, and not the one.
    return in_no_channel(build.phase) if seen.own("channel") is not None else {}


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
