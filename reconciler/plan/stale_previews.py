"""What nobody will promote any more: previews of pull requests, and what did not pass its smoke test."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.model.declaration import IMAGE_NAME_PATTERN, Retain
from reconciler.model.fleet import Fleet
from reconciler.model.lockfile import Lockfile, Reason
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, PlannedImage
from reconciler.model.source import Pin
from reconciler.plan.key import wanted as want
from reconciler.plan.situation import Situation
from reconciler.plan.tags import branch_value
from reconciler.plan.verdicts import with_action

_NAME = re.compile(IMAGE_NAME_PATTERN)


def with_old_previews(situation: Situation, decision: Decision) -> Decision:
    """The decision with the retirement of previews that nobody needs; never by the preview of another branch.

    Never what this run adopts, nor what a child will adopt once a verdict moves its parent's channel: a merge may come
    long after the build, and its branch is gone by then.
    """
    if decision.planned.unknown or situation.options.preview or situation.live_branches is None:
        return decision
    recorded = {(one.location, one.id) for build in situation.lock.builds for one in build.artifacts}
    adopted = {one.own("build") for one in decision.adopt}
    others = [
        one
        for one in situation.seen
        if (one.location, one.id) not in recorded
        and one.own("build") not in adopted
        and one.own("image") == situation.image.name  # what bears a former name can't be retired under this one
    ]
    limit = timedelta(seconds=situation.image.declaration.retain.previews)
    useless = tuple(_useless(others, live=situation.live_branches, now=situation.now, limit=limit))
    if not useless:
        return decision
    awaited = _awaited(situation)
    old = tuple(one for one in useless if one.own("key") not in awaited)
    return replace(with_action(decision, "retire", *map(_reason, old)), old_previews=old) if old else decision


def abandoned(
    seen: Iterable[Seen], *, known: Iterable[str], fleet: Fleet, live: frozenset[str] | None, now: datetime
) -> Iterator[Decision]:
    """The retirement of previews of images that no merge ever brought: neither declared nor recorded, by name."""
    of_others: defaultdict[str, list[Seen]] = defaultdict(list)
    names = frozenset(known)
    for one in seen:
        name = one.own("image") or ""
        if name not in names and _NAME.fullmatch(name):
            of_others[name].append(one)
    for name, artifacts in sorted(of_others.items()) if live is not None else ():
        old = tuple(_useless(artifacts, live=live or frozenset(), now=now, limit=kept_for(fleet, name)))
        if old:
            planned = PlannedImage(
                image=name, sync="drifted", health="healthy", actions=("retire",), reasons=tuple(map(_reason, old))
            )
            yield Decision(planned=planned, image=None, lock=Lockfile(image=name), wanted=None, old_previews=old)


def kept_for(fleet: Fleet, name: str) -> timedelta:
    """How long an image's previews are kept; of one that is not declared, as the fleet's defaults say."""
    image = fleet.images.get(name)
    retain = image.declaration.retain if image else Retain.model_validate(fleet.settings.defaults.get("retain") or {})
    return timedelta(seconds=retain.previews)


def branches_matter(seen: Iterable[Seen], *, fleet: Fleet, now: datetime) -> bool:
    """Whether the fate of some old preview hangs on the remote's branches."""
    return any(
        _is_nobodys(one) and one.began is not None and now - one.began > kept_for(fleet, one.own("image") or "")
        for one in seen
    )


def _useless(seen: Iterable[Seen], *, live: frozenset[str], now: datetime, limit: timedelta) -> Iterator[Seen]:
    """Old previews of branches that are gone, and those that a later preview of the same branch replaced."""
    previews = [one for one in seen if _is_nobodys(one) and one.began is not None]
    there = {branch_value(branch) for branch in live}
    newest: dict[str, str] = {}
    for one in previews:
        for branch in _branches(one):
            newest[branch] = max(newest.get(branch, ""), one.own("build") or "")
    for one in previews:
        old = one.began is not None and now - one.began > limit
        # One preview may be of several branches: as long as it is the newest of one that lives, it is needed.
        needed = any(branch in there and (one.own("build") or "") >= newest[branch] for branch in _branches(one))
        if old and not needed:
            yield one


def _is_nobodys(seen: Seen) -> bool:
    """Whether no channel ever had it: a preview, or what did not pass its smoke test. A verdict comes later."""
    return seen.own("phase") == "preliminary" or (seen.own("phase") == "rejected" and seen.own("smoke") == "failed")


def _branches(seen: Seen) -> tuple[str, ...]:
    return tuple((seen.own("branch") or "").split())


def _awaited(situation: Situation) -> frozenset[str]:
    """The keys that a child will have on the builds of its parent that wait for a verdict."""
    pins = (Pin(image=situation.image.parent, key=key) for key in situation.awaited_parents)
    return frozenset(want(situation.image, pin).key for pin in pins)


def _reason(seen: Seen) -> Reason:
    if seen.own("smoke") == "failed":
        was = f"{seen.location} {seen.id}, which did not pass its smoke test"
        return Reason(code="removed", was=was, now="kept long enough to look at")
    was = f"{seen.location} {seen.id} of branch {seen.own('branch') or 'unknown'}"
    return Reason(code="removed", was=was, now="branch gone or rebuilt")
