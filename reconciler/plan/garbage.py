"""What nobody will promote any more: old previews, what did not pass its smoke test, and what attempts left."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.model.declaration import IMAGE_NAME_PATTERN, Retain
from reconciler.model.fleet import Fleet
from reconciler.model.lockfile import Artifact, Failure, Lockfile, Reason
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, PlannedImage, Retirement, Situation
from reconciler.model.source import Pin
from reconciler.model.text import counted, first_few
from reconciler.model.values import parse_instant
from reconciler.plan.channels import with_action
from reconciler.plan.key import may_be_of_its_build
from reconciler.plan.key import wanted as want
from reconciler.plan.tags import branch_value, branches_in

_NAME = re.compile(IMAGE_NAME_PATTERN)
_LEFT_FOR = timedelta(days=1)
"""How long an artifact without a key may still be somebody's: for a day a registry answers the token of a copy with
that copy, and the next run goes on with it."""
_MOST_NAMED = 3
_LONGEST_LEFT = timedelta(days=7)
"""The same where nothing says how long Packer may take: of an image that is not declared."""
_AFTER_PACKER = timedelta(hours=1)
"""For Packer to clean up after its time is over, and for what it made to be tagged."""


def with_old_previews(situation: Situation, decision: Decision) -> Decision:
    """The decision with the retirement of what nobody needs; never by the preview of another branch.

    Never what this run adopts, nor what a child will adopt once a verdict moves its parent's channel: a merge may come
    long after the build, and its branch is gone by then.
    """
    if decision.planned.unknown or situation.options.preview:
        return decision
    recorded = {(one.location, one.id) for build in situation.lock.recorded for one in build.artifacts}
    adopted = {one.own("build") for one in decision.adopt}
    others = [
        one
        for one in situation.seen
        if (one.location, one.id) not in recorded
        and one.own("build") not in adopted
        and one.own("image") in (situation.image.name, None)  # under a former name it can't be retired
        and not one.stays
    ]
    left = tuple(_left(situation, decision, others))
    limit = timedelta(seconds=situation.image.declaration.retain.previews)
    useless = tuple(_useless(others, live=situation.live_branches, now=situation.now, limit=limit))
    awaited = _awaited(situation) if useless else frozenset()
    found = (*(one for one in useless if one.own("key") not in awaited and one not in left), *left)
    old = tuple(one for one in found if one.place not in situation.strangers)
    decision = _with_note(decision, [one for one in found if one.place in situation.strangers])
    if not old:
        return decision
    acting = with_action(decision, "retire", *map(_reason, old))
    retires = (*acting.planned.retires, *Retirement.of(old))
    return replace(acting, old_previews=old, planned=acting.planned.model_copy(update={"retires": retires}))


def _with_note(decision: Decision, strangers: Sequence[Seen]) -> Decision:
    """The decision, with what a person should look at: it says to be ours, and nothing else says so."""
    if not strangers:
        return decision
    named = first_few([f"{one.location} {one.id}" for one in strangers], most=_MOST_NAMED)
    note = f"by tags alone ours, and old: it stays, as neither its name nor a record of its build says so: {named}"
    planned = decision.planned
    return replace(decision, planned=planned.model_copy(update={"notes": (*planned.notes, note)}))


def _left(situation: Situation, decision: Decision, seen: Iterable[Seen]) -> Iterator[Seen]:
    """What an attempt left that failed or was killed. What it made as wanted is kept while it may be wanted again."""
    failure = situation.lock.failure
    failed = failure if failure is not None and failure.smoke_test is None else None
    places = {(one.location, one.id) for one in failed.artifacts} if failed is not None else set()
    timeout = timedelta(seconds=situation.image.declaration.packer.timeout)
    for one in seen:
        if failed is not None and (one.location, one.id) in places:
            if one.state != "pending" and decision.take_up is None and not _may_be_wanted(failed, situation, decision):
                yield one
        elif _is_left_over(one, now=situation.now, limit=max(_LEFT_FOR, timeout + _AFTER_PACKER)):
            yield one


def _may_be_wanted(failure: Failure, situation: Situation, decision: Decision) -> bool:
    """Whether what was made is what the next refresh may ask for, or a run that forces it."""
    same = decision.wanted is not None and decision.wanted.inputs == failure.inputs
    kept = timedelta(seconds=situation.image.declaration.retain.previews)
    return failure.made is not None and same and situation.now - parse_instant(failure.at) <= kept


def _is_left_over(seen: Seen, *, now: datetime, limit: timedelta) -> bool:
    """Whether an artifact was never finished, by its age: neither its build nor its copy can be under way still.

    It carries none of the tags that come with the key: where somebody took only that one off, it was whole once.
    """
    whole = any(seen.own(name) is not None for name in ("key", "commit", "phase"))
    if whole or seen.state == "pending" or seen.began is None or not seen.created:
        return False
    return now - max(seen.began, parse_instant(seen.created)) > limit


def abandoned(
    seen: Iterable[Seen], *, known: Iterable[str], fleet: Fleet, live: frozenset[str] | None, now: datetime
) -> Iterator[Decision]:
    """The retirement of previews of images that no merge ever brought: neither declared nor recorded, by name."""
    of_others: defaultdict[str, list[Seen]] = defaultdict(list)
    names = frozenset(known)
    for one in seen:
        name = one.own("image") or ""
        if name not in names and _NAME.fullmatch(name) and not one.stays:
            of_others[name].append(one)
    for name, artifacts in sorted(of_others.items()):
        left = tuple(one for one in artifacts if _is_left_over(one, now=now, limit=_LONGEST_LEFT))
        old = (*_useless(artifacts, live=live, now=now, limit=kept_for(fleet, name)), *left)
        if old:
            planned = PlannedImage(
                image=name, sync="drifted", health="healthy", actions=("retire",), reasons=tuple(map(_reason, old)),
                retires=Retirement.of(old),
            )  # fmt: skip
            yield Decision(planned=planned, image=None, lock=Lockfile(image=name), wanted=None, old_previews=old)


def kept_for(fleet: Fleet, name: str) -> timedelta:
    """How long an image's previews are kept; of one that is not declared, as the fleet's defaults say."""
    image = fleet.images.get(name)
    retain = image.declaration.retain if image else Retain.model_validate(fleet.settings.defaults.get("retain") or {})
    return timedelta(seconds=retain.previews)


def branches_matter(seen: Iterable[Seen], *, fleet: Fleet, now: datetime) -> bool:
    """Whether the fate of some old preview hangs on the remote's branches."""
    return any(
        is_nobodys(one)
        and not one.stays
        and one.began is not None
        and now - one.began > kept_for(fleet, one.own("image") or "")
        for one in seen
    )


def _useless(seen: Iterable[Seen], *, live: frozenset[str] | None, now: datetime, limit: timedelta) -> Iterator[Seen]:
    """Old previews of branches that are gone, and those that a later preview of the same branch replaced.

    None where it is not known which branches live.
    """
    if live is None:
        return
    previews = [one for one in seen if is_nobodys(one) and one.began is not None]
    there = {branch_value(branch) for branch in live}
    newest: dict[str, str] = {}
    for one in filter(may_be_of_its_build, previews):  # a build of 2099 replaces nothing
        for branch in _branches(one):
            newest[branch] = max(newest.get(branch, ""), one.own("build") or "")
    for one in previews:
        old = one.began is not None and now - one.began > limit
        # One preview may be of several branches: as long as it is the newest of one that lives, it is needed.
        made = one.own("build") or ""
        needed = any(branch in there and made >= newest.get(branch, "") for branch in _branches(one))
        if old and not needed:
            yield one


def is_nobodys(seen: Seen) -> bool:
    """Whether no channel ever had it: a preview, or what did not pass its smoke test. A verdict comes later."""
    return seen.own("phase") == "preliminary" or (seen.own("phase") == "rejected" and seen.own("smoke") == "failed")


def _branches(seen: Seen) -> tuple[str, ...]:
    return branches_in(seen.own("branch"))


def _awaited(situation: Situation) -> frozenset[str]:
    """The keys that a child will have on the builds of its parent that wait for a verdict."""
    pins = (Pin(image=situation.image.parent, key=key) for key in situation.awaited_parents)
    return frozenset(want(situation.image, pin).key for pin in pins)


def _reason(seen: Seen) -> Reason:
    if seen.own("key") is None:
        was = f"{seen.location} {seen.id}, left by {seen.own('build') or 'a failed attempt'}"
        return Reason(code="removed", was=was, now="in no record")
    if seen.own("smoke") == "failed":
        was = f"{seen.location} {seen.id}, which did not pass its smoke test"
        return Reason(code="removed", was=was, now="kept long enough to look at")
    was = f"{seen.location} {seen.id} of branch {seen.own('branch') or 'unknown'}"
    return Reason(code="removed", was=was, now="branch gone or rebuilt")


def kept_until_pruned(artifacts: Sequence[Artifact]) -> str:
    """What is said of artifacts that only a person may have deleted."""
    return f"kept; `--prune` deletes {counted_artifacts(Retirement.of(artifacts))}"


def counted_artifacts(gone: Sequence[Retirement]) -> str:
    """How many artifacts go, and where: `5 artifacts in 3 locations`; and how many conversions go with them."""
    places = len({one.location for one in gone})
    conversions = sum(len(one.conversions) for one in gone)
    beside = f", with {counted(conversions, 'conversion')}" if conversions else ""
    return f"{counted(len(gone), 'artifact')} in {counted(places, 'location')}{beside}"


def orphans(name: str, locks: Mapping[str, Lockfile], fleet: Fleet) -> Iterator[str]:
    """What is to be known of an image that is declared no more: the builds of declared ones that stand on its own."""
    declared = frozenset(fleet.names)
    children = [
        f"{other} {build.id}"
        for other, lock in sorted(locks.items())
        for build in (lock.recorded if other in declared else ())
        if build.source is not None and build.source.image == name
    ]
    if children:
        told = f"built on it: {first_few(children, most=_MOST_NAMED)}"
        yield f"{told}; that stays, and once this is pruned no revocation of what it stands on can reach it"


def left_behind(seen: Iterable[Seen], lock: Lockfile) -> Iterator[str]:
    """What is to be known of an image that is declared no more: builds that its lockfile has no more, and `gc` did not.

    By tags alone: nothing is done by it.
    """
    recorded = {(one.location, one.id) for build in lock.recorded for one in build.artifacts}
    mine = (one for one in seen if one.own("image") == lock.image and one.own("key") is not None)
    left = [f"{one.location} {one.id}" for one in mine if one.place not in recorded and not is_nobodys(one)]
    if left:
        what = f"{counted(len(left), 'artifact')} of older builds, which the lockfile has no more, will be left"
        told = f"{what}: {first_few(left, most=_MOST_NAMED)}"
        yield f"{told}; declare it again, and `gc --apply` takes them away, before it is pruned"
