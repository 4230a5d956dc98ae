"""The plan of a fleet, assembled from decisions made parents first."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from reconciler.model.errors import UserError
from reconciler.model.fleet import Fleet, Image
from reconciler.model.lockfile import Lockfile, Reason
from reconciler.model.observation import Observation, Publications, Seen
from reconciler.model.plan import (
    NOTHING_ASKED,
    Affected,
    Cause,
    Decision,
    Plan,
    PlannedImage,
    PlanOptions,
    Retirement,
    Sharing,
    Situation,
)
from reconciler.model.source import Pin
from reconciler.model.text import counted
from reconciler.model.tree import Tree
from reconciler.model.usage import Usage
from reconciler.model.values import digest
from reconciler.plan.care import protected_notes
from reconciler.plan.diff import decide
from reconciler.plan.garbage import abandoned, kept_until_pruned, left_behind, orphans
from reconciler.plan.graph import (
    ParentPin,
    awaited_keys,
    graph,
    in_order,
    pin_to_parent,
    pin_to_recorded,
    with_ancestors,
)
from reconciler.plan.key import reviewed
from reconciler.plan.key import wanted as want
from reconciler.plan.presence import seen_by_two_names
from reconciler.plan.revocations import Past, Weighed, left_standing, revocations, weigh
from reconciler.plan.rulings import in_force, refused, unknown_builds
from reconciler.plan.stopped import as_refused
from reconciler.plan.timing import has_ended


@dataclass(frozen=True)
class Known:
    """Everything a plan is made from: nothing else decides it."""

    tree: Tree
    fleet_name: str
    fleet: Fleet
    locks: Mapping[str, Lockfile]
    now: datetime
    options: PlanOptions = field(default_factory=PlanOptions)
    observation: Observation = field(default_factory=Observation)
    unlisted: Mapping[str, Sequence[Seen]] = field(default_factory=dict)
    """Recorded artifacts, by image, that the listing by tag left out and that are there all the same."""
    live_branches: frozenset[str] | None = None
    """Branches that the remote has; None where nothing depends on it, so that it was not asked."""
    pins: Mapping[str, Pin] = field(default_factory=dict)
    """Upstream pins by image: as locked, or resolved anew."""
    unresolved: Mapping[str, str] = field(default_factory=dict)
    """Why an upstream source has no pin, by image."""
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    """What became of the source that an image is pinned to and would be built on, by image, where it can't be."""
    sources: Mapping[str, Mapping[str, Pin | None]] = field(default_factory=dict)
    """The same by image as `Situation.sources`."""
    strangers: frozenset[tuple[str, str]] = frozenset()
    """The same as `Situation.strangers`, of all images."""
    broken_locks: Mapping[str, UserError] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    """What uses builds that are about to be revoked."""
    publications: Publications | None = None
    """What stands where channels are written out; None where no image is published, or nobody looked."""
    doubts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why what is recorded of an image may be somebody else's, by image: nothing but its lockfile says otherwise."""
    sharing: Sharing = NOTHING_ASKED
    """Who may use artifacts, of those of which that had to be asked."""
    forgotten: Mapping[tuple[str, str], Past] = field(default_factory=dict)
    """Builds that no lockfile names any more, by image and id: a revocation reaches through them."""
    overtaken: frozenset[str] = frozenset()
    """Images of a preview that are as the default branch has them, which its own commit does not hold."""
    packer: str | None = None
    """The same as `Situation.packer`."""
    clocks: Mapping[str, datetime | str] = field(default_factory=dict)
    """What time an image's registry has, or why it does not say, by image: of those of which something would end by
    this machine's: their hold, or their pause."""

    def day_of(self, name: str) -> datetime:
        """The moment by which it is judged what has ended: the earlier of this machine's clock and the registry's.

        A clock that jumps must not move `stable`, and begin no build. Where the registry can't be asked, nothing ends.
        """
        told = self.clocks.get(name, self.now)
        return datetime.min.replace(tzinfo=UTC) if isinstance(told, str) else min(told, self.now)

    @property
    def head(self) -> str:
        """The commit (or the tree of a work tree) that is planned."""
        return self.tree.oid


@dataclass(frozen=True)
class FleetPlan:
    """A plan and, in the same order, the decisions behind it."""

    plan: Plan
    decisions: tuple[Decision, ...]


def make_plan(known: Known) -> FleetPlan:
    """Decide every image, parents first. Pure: the same knowledge, the same plan, to the byte."""
    parents = graph(known.fleet.images)
    selected = _selected(known, parents)
    seen = _by_image(known)
    causes = revocations(known.fleet.images, known.locks, known.forgotten)
    weighed = weigh(causes, known.usage, images=known.fleet.images, locks=known.locks)
    standing = left_standing(known.fleet, weighed.causes, known.locks, seen=known.observation.artifacts)
    decisions: dict[str, Decision] = {}
    for name in in_order(parents):
        if name in selected:
            decided = _decide(known, decisions, name=name, seen=seen, weighed=weighed)
            noted = _with_notes(decided, standing.get(name, ()))
            decisions[name] = _with_affected(noted, weighed.affects.get(name, ()))
    for name, problems in known.fleet.problems.items():
        if name in selected:
            decisions[name] = _broken(known, name, problems)
    for name in removed(known):
        if name in selected:
            decisions[name] = _removal(known, name)
    if not known.options.images:
        for decision in _abandoned(known):
            decisions.setdefault(decision.name, decision)
    ordered = tuple(_as_renamed(known, decision) for decision in decisions.values())
    ordered = _with_limits(ordered, known.fleet.settings.limits.at_once)
    return FleetPlan(plan=_assemble(known, ordered), decisions=ordered)


def _with_limits(decisions: tuple[Decision, ...], at_once: Mapping[str, int]) -> tuple[Decision, ...]:
    """The decisions, with a note on each build that may have to wait for others of its kind."""
    builds = Counter(one.kind for one in decisions if "build" in one.planned.actions)
    late = {kind for kind, most in at_once.items() if builds[kind] > most}
    return tuple(_waiting(one, at_once) if one.kind in late else one for one in decisions)


def _waiting(decision: Decision, at_once: Mapping[str, int]) -> Decision:
    kind = decision.kind
    if "build" not in decision.planned.actions:
        return decision
    note = f"of the kind {kind} {at_once[kind]} at once (limits.kinds.{kind}.parallel_builds)"
    return replace(
        decision, planned=decision.planned.model_copy(update={"notes": (*decision.planned.notes, note)})
    )  # fmt: skip


def lock_of(known: Known, image: Image) -> tuple[Lockfile, str | None]:
    """The image's lockfile, and the former name under which it was found."""
    former = image.declaration.moved_from
    if image.name not in known.locks and former is not None and former in known.locks:
        return known.locks[former].model_copy(update={"image": image.name}), former
    return known.locks.get(image.name) or Lockfile(image=image.name), None


def removed(known: Known) -> tuple[str, ...]:
    """Images that are recorded and no longer declared, under any name."""
    moved = {image.declaration.moved_from for image in known.fleet.images.values()}
    return tuple(sorted({*known.locks, *known.broken_locks} - set(known.fleet.names) - moved))


def _selected(known: Known, parents: Mapping[str, set[str]]) -> frozenset[str]:
    if known.options.images:
        return with_ancestors(known.options.images, parents)
    return frozenset({*known.fleet.names, *removed(known)})


def _by_image(known: Known) -> Mapping[str, tuple[Seen, ...]]:
    """What the registry shows of each image: what carries its name or the former one, and what is recorded of it.

    What is recorded counts whatever its tags say: a tag that was changed by hand is set right, and nothing rebuilt.
    """
    tagged: defaultdict[str | None, list[Seen]] = defaultdict(list)
    for one in known.observation.artifacts:
        tagged[one.own("image")].append(one)
    by_place = known.observation.by_place
    found: dict[str, tuple[Seen, ...]] = {}
    for name, image in known.fleet.images.items():
        lock, former = lock_of(known, image)
        names = (name,) if former is None else (name, former)
        places = sorted({(artifact.location, artifact.id) for build in lock.recorded for artifact in build.artifacts})
        recorded = (by_place[place] for place in places if place in by_place)
        found[name] = (
            *(one for each in names for one in tagged.get(each, ())),
            *(one for one in recorded if one.own("image") not in names),
        )
    return found


def _broken_lock(known: Known, image: Image) -> UserError | None:
    """What is wrong with the image's lockfile. That of a former name counts until there is one of the new name."""
    former = image.declaration.moved_from
    if image.name in known.locks or image.name in known.broken_locks or former is None:
        return known.broken_locks.get(image.name)
    return known.broken_locks.get(former)


def _decide(
    known: Known,
    decisions: Mapping[str, Decision],
    *,
    name: str,
    seen: Mapping[str, tuple[Seen, ...]],
    weighed: Weighed,
) -> Decision:
    image = in_force(known.fleet.images[name], now=known.day_of(name))
    lock, former = lock_of(known, image)
    broken = _broken_lock(known, image)
    if broken is not None:
        return _broken(known, name, (broken,))
    situation = Situation(
        image=image,
        lock=lock,
        now=known.now,
        fleet=known.fleet_name,
        fleet_is_declared=known.fleet.settings.fleet is not None,
        head=known.head,
        options=known.options,
        seen=(*seen.get(name, ()), *known.unlisted.get(name, ())),
        unreadable=known.observation.told,
        pin=known.pins.get(name),
        pin_missing=known.unresolved.get(name),
        withdrawn=known.withdrawn.get(name),
        sources=known.sources.get(name, {}),
        strangers=known.strangers,
        renamed_from=former,
        grace_seconds=known.fleet.settings.aws.visibility_grace,
        live_branches=known.live_branches,
        doubts=known.doubts.get(name, ()),
        publications=known.publications,
        causes=weighed.causes.get(name, {}),
        sharing=known.sharing,
        day=known.day_of(name),
        packer=known.packer,
    )
    refusal = weighed.refused.get(name) or refused(situation)
    if refusal is not None:
        return as_refused(situation, refusal)
    if image.parent is not None:
        parent = _parent_pin(known, decisions, image=image, causes=weighed.causes)
        situation = replace(
            situation, pin=parent.pin, pin_missing=parent.missing, parent_pending=parent.pending,
            awaited_parents=awaited_keys(decisions.get(image.parent)),
        )  # fmt: skip
        if image.parent in known.doubts:
            why = f"waits for {image.parent}: what is recorded of it may be somebody else's"
            situation = replace(situation, pin=None, pin_missing=why)
    decision = decide(situation)
    unknown = unknown_builds(situation, known.locks, known.forgotten) if image.declaration.revoke else ()
    is_asked = not known.options.offline
    ended = has_ended(known.fleet.images[name], now=known.now, told=known.clocks.get(name), is_asked=is_asked)
    twice = seen_by_two_names(image, situation.seen)
    return _with_notes(decision, (*weighed.notes.get(name, ()), *unknown, *ended, *twice))


def _with_notes(decision: Decision, notes: tuple[str, ...]) -> Decision:
    every = (*decision.planned.notes, *notes)
    return replace(decision, planned=decision.planned.model_copy(update={"notes": every})) if notes else decision


def _with_affected(decision: Decision, affects: tuple[Affected, ...]) -> Decision:
    """The decision, with all that its image's revocations take something away from."""
    return replace(decision, planned=decision.planned.model_copy(update={"affects": affects})) if affects else decision


def _parent_pin(
    known: Known, decisions: Mapping[str, Decision], *, image: Image, causes: Mapping[str, Mapping[str, Cause]]
) -> ParentPin:
    name = image.parent or ""
    parent = decisions.get(name)
    if parent is not None and parent.image is not None:
        return pin_to_parent(image, parent, preview=known.options.preview)
    # The parent is invalid: its children keep to what is recorded of it.
    recorded = pin_to_recorded(image, known.locks.get(name))
    if recorded.pin is None:
        return ParentPin(None, missing=f"waits for {name}: it is invalid")
    if recorded.pin.build in causes.get(name, {}):
        return ParentPin(None, missing=f"waits for {name}: {recorded.pin.build} is revoked, and {name} is invalid")
    return recorded


def _broken(known: Known, name: str, problems: tuple[UserError, ...]) -> Decision:
    planned = PlannedImage(
        image=name, sync="unknown", health="unknown", actions=("none",),
        errors=tuple(str(problem) for problem in problems),
    )  # fmt: skip
    # Not validated: the name of the folder, or of the lockfile, may be what is wrong.
    lock = known.locks.get(name) or Lockfile.model_construct(image=name)
    return Decision(planned=planned, image=None, lock=lock, wanted=None)


def _removal(known: Known, name: str) -> Decision:
    if name in known.broken_locks:
        return _broken(known, name, (known.broken_locks[name],))
    lock, seen = known.locks[name], known.observation.artifacts
    artifacts = tuple(artifact for build in lock.recorded for artifact in build.artifacts)
    retire = artifacts if known.options.prune else ()
    ends = Reason(code="removed", was=counted(len(lock.builds), "recorded build"), now="not declared")
    planned = PlannedImage(
        image=name,
        sync="drifted",
        health="healthy",
        actions=("retire",) if known.options.prune else ("none",),
        reasons=(ends, *_withdrawn(known, lock)),
        retires=Retirement.of(retire),
        waits_for=None if known.options.prune else kept_until_pruned(artifacts),
        notes=(*protected_notes(retire, seen), *left_behind(seen, lock), *orphans(name, known.locks, known.fleet)),
    )
    return Decision(planned=planned, image=None, lock=lock, wanted=None, retire=retire)


def _withdrawn(known: Known, lock: Lockfile) -> Iterator[Reason]:
    """Under which names consumers find a removed image no more, once its end was asked for."""
    claimed = known.publications.claimed if known.publications is not None else frozenset()
    for one in lock.published if known.options.prune else ():
        if one.called and one.place not in claimed:
            yield Reason(code="publication-changed", was=one.text, now="nothing: not declared")


def _as_renamed(known: Known, decision: Decision) -> Decision:
    """The decision; of a new image that is just what a removed one was built of, with what would keep its builds."""
    gone = removed(known) if decision.image is not None and not decision.lock.builds else ()
    if decision.image is None or not gone:
        return decision
    made_of = reviewed(want(decision.image, None).components)
    for name in gone:
        lock = known.locks.get(name)
        if lock is not None and lock.builds and reviewed(lock.builds[0].components) == made_of:
            note = (
                f"this is what {name} was built of, which is declared no more: if it was renamed, "
                f"`moved_from: {name}` in {decision.image.folder}/image.yaml keeps its builds, and nothing is built"
            )
            planned = decision.planned.model_copy(update={"notes": (*decision.planned.notes, note)})
            return replace(decision, planned=planned)
    return decision


def _abandoned(known: Known) -> Iterator[Decision]:
    return abandoned(
        (one for one in known.observation.artifacts if one.place not in known.strangers),
        known=(*known.fleet.names, *removed(known), *_former_names(known)),
        fleet=known.fleet, live=known.live_branches, now=known.now,
    )  # fmt: skip


def _former_names(known: Known) -> Iterator[str]:
    return (image.declaration.moved_from for image in known.fleet.images.values() if image.declaration.moved_from)


def _assemble(known: Known, decisions: tuple[Decision, ...]) -> Plan:
    images = tuple(decision.planned for decision in decisions)
    errored = any(image.errors for image in images)
    acts = any(decision.acts for decision in decisions)
    summary = Counter(action for image in images for action in image.actions)
    return Plan(
        plan_id=_plan_id(known, decisions),
        head=known.head,
        options=known.options,
        applyable=acts and not known.options.offline,
        complete=not any(image.unknown for image in images),
        errored=errored,
        summary=dict(sorted(summary.items())),
        images=images,
    )


def _plan_id(known: Known, decisions: tuple[Decision, ...]) -> str:
    bound = [
        [
            decision.name,
            decision.planned.key,
            decision.planned.actions,
            [reason.model_dump(mode="json") for reason in decision.planned.reasons],
            hashlib.sha256(decision.lock.model_dump_json(by_alias=True, exclude_defaults=True).encode()).hexdigest(),
        ]
        for decision in decisions
        if decision.planned.sync != "in-sync"
    ]
    in_sync = sorted(decision.name for decision in decisions if decision.planned.sync == "in-sync")
    return digest({"head": known.head, "options": known.options.model_dump(), "drifted": bound, "in_sync": in_sync})
