"""Who may use an artifact, from when it is deprecated, whether it may be removed: as declared against as it is.

What a channel points to, or is held to, and what is retained of what was stable, is shared with those whom `share_with`
names and with nobody else, and is protected where `protect` says so. What stands is not deprecated; what another build
took the place of is, in its time. What is retained no more stays shared, and is protected no more. A revoked build is
disabled. What nobody declares any more is undone as far as it is recorded that it was done here: what people do beside
that, to other builds or where nothing is declared, is theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.model.care import AHEAD, NOBODY, Care, Grants, soon, whole_minute
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile, Reason
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, PlannedImage, Situation, Tending, finished_at
from reconciler.model.values import format_instant, parse_instant, told_moment
from reconciler.plan.key import NEVER_AGAIN
from reconciler.plan.transitions import retained

_SOON = timedelta(minutes=5)
"""What is deprecated within this counts as deprecated."""
_LONGEST_PUBLIC = timedelta(days=730)
"""EC2 takes no later date for a public image, from its creation (EnableImageDeprecation, API reference)."""


def concerns(image: Image, lock: Lockfile) -> bool:
    """Whether anything is declared of an image's artifacts, or recorded of them, that has to be looked after."""
    declared = image.declaration
    if declared.share_with.grants or declared.deprecate_after is not None or declared.protect:
        return image.kind.tended
    cared_for = any(build.revoked or any(one.care for one in build.artifacts) for build in lock.builds)
    return cared_for and image.kind.tended


def with_care(situation: Situation, decision: Decision) -> Decision:
    """The decision, with all that is to be set right of recorded artifacts beside their marks.

    A location that can't be read is left alone. Where it is not known yet who may use an artifact, it `asks`. Of a
    decision that only withdraws, what is or was revoked is set right.
    """
    lock = decision.settled or situation.lock
    disabled = situation.image.kind.tended and any(one.state == "disabled" for one in situation.seen)
    if situation.options.offline or not (disabled or concerns(situation.image, lock)):
        return decision
    found = tuple(tended(situation, lock, leaving=decision.retire))
    if decision.withdraws_only:
        found = tuple(one for one in found if one.artifact in _withdrawn(lock))
    told = replace(decision, planned=_told(decision, found))
    return replace(
        told, asks=tuple(one.artifact for one in found if one.asks),
        tend=tuple(one.tending for one in found if one.is_due),
    )  # fmt: skip


def with_enabled(situation: Situation) -> Situation:
    """The situation, with what is disabled and this run enables as it is then: it is adopted, and not built again.

    As it is for a preview, which enables nothing.
    """
    if situation.options.preview or all(one.state != "disabled" for one in situation.seen):
        return situation
    found = (one for one in tended(situation, situation.lock) if one.tending.enable)
    back = {(one.artifact.location, one.artifact.id) for one in found}
    seen = (replace(one, state="available") if one.place in back else one for one in situation.seen)
    return replace(situation, seen=tuple(seen))


def _withdrawn(lock: Lockfile) -> Collection[Artifact]:
    """The artifacts of what is revoked, and those that were disabled for it and are not what they were yet."""
    return [
        one
        for build in lock.builds
        for one in build.artifacts
        if build.phase == "revoked" or one.cared_for.withheld is not None
    ]


def _told(decision: Decision, found: Sequence[Tended]) -> PlannedImage:
    """The planned image with what was found: an image that was in sync has drifted by it, or is not wholly known."""
    planned = decision.planned
    before = () if planned.actions == ("none",) else planned.actions
    actions = dict.fromkeys((*before, *(action for one in found for action in one.tending.actions)))
    reasons = tuple(reason for one in found for reason in one.tending.reasons)
    notes = tuple(note for one in found for note in one.notes)
    unknown = tuple(one.unknown for one in found if one.unknown)
    sync = "drifted" if reasons else planned.sync
    update = {
        "actions": tuple(actions) or ("none",), "reasons": (*planned.reasons, *reasons),
        "notes": (*planned.notes, *notes), "unknown": (*planned.unknown, *unknown),
        "sync": "unknown" if unknown and sync == "in-sync" else sync,
        # What can't be done does not come to be as declared by itself.
        "health": "degraded" if notes and planned.health == "healthy" else planned.health,
    }  # fmt: skip
    return planned.model_copy(update=update)


@dataclass(frozen=True)
class Tended:
    """One recorded artifact that is not as it should be, or of which that is not known."""

    tending: Tending
    notes: tuple[str, ...] = ()
    """What can't be done, and why."""
    unknown: str = ""
    asks: bool = False
    """Whether it has to be asked who may use it."""

    @property
    def artifact(self) -> Artifact:
        """The artifact, as recorded."""
        return self.tending.artifact

    @property
    def is_due(self) -> bool:
        """Whether anything is to be done, or recorded."""
        return self.tending.acts or self.tending.after != self.artifact.cared_for


def tended(situation: Situation, lock: Lockfile, *, leaving: Collection[Artifact] = ()) -> Iterator[Tended]:
    """What is to be done with each recorded artifact that can be seen; nothing for one that is as it should be.

    `lock` is what is recorded by then. What is `leaving` is retired in this run. A lockfile's word is not enough: what
    does not say itself that it is the fleet's and the image's is left alone.
    """
    names = (situation.image.name, situation.renamed_from)
    ours = (one for one in situation.seen if one.own("fleet") == situation.fleet and one.own("image") in names)
    seen = {one.place: one for one in ours}
    gone = {(one.location, one.id) for one in leaving}
    for build in lock.builds:
        for artifact in build.artifacts:
            place = (artifact.location, artifact.id)
            if place in seen and place not in gone and artifact.location not in situation.unreadable:
                found = _Look(situation, lock, build, artifact, seen[place]).found()
                if found.tending.reasons or found.asks or found.unknown:
                    yield found


@dataclass(frozen=True)
class _Look:
    """One recorded artifact, with all that decides what it should be."""

    situation: Situation
    lock: Lockfile
    build: Build
    artifact: Artifact
    seen: Seen

    @property
    def _care(self) -> Care:
        return self.artifact.cared_for

    @property
    def _place(self) -> tuple[str, str]:
        return self.artifact.location, self.artifact.id

    @property
    def _kept(self) -> bool:
        """Whether its build stands, or is retained as one that `stable` may go back to."""
        kept = retained(self.lock.builds, self.lock.channels, self.situation.image)
        return self._stands or (self.build.stood and self.build.id in kept)

    @property
    def _stands(self) -> bool:
        """Whether a channel points to its build, or is held to it."""
        hold = self.situation.image.declaration.hold
        channels = self.lock.channels
        return self.build.id in (channels.candidate, channels.stable, hold.build if hold is not None else None)

    def found(self) -> Tended:
        """What is to be done with it."""
        none = Tended(Tending(self.artifact, before=self._care, after=self._care))
        if self.build.phase == "revoked":
            return self._protected(self._withdrawn(none))
        back = self._returned(none)
        if self.seen.state != "available" and not back.tending.enable:
            return none
        return self._protected(self._deprecated(self._shared(back)))

    def _said(self, found: Tended, code: str, was: str, now: str, **does: object) -> Tended:
        reason = Reason.model_validate({"code": code, "was": f"{' '.join(self._place)}: {was}", "now": now})
        told = (*found.tending.reasons, reason)
        return replace(found, tending=replace(found.tending, reasons=told, **does))  # type: ignore[arg-type]  # by name

    def _withdrawn(self, found: Tended) -> Tended:
        if self.seen.state != "available":
            return found
        return self._said(
            found, "availability-changed", "available", f"disabled: {self.build.id} is revoked", disable=True
        )

    def _returned(self, found: Tended) -> Tended:
        """What is disabled, and whose build may be used: where we did it, or a channel or the newest build needs it."""
        kept = self.lock.kept
        needed = self._stands or (kept is not None and kept.id == self.build.id) or self._care.withheld is not None
        if self.seen.state != "disabled" or not needed:
            return found
        return self._said(found, "availability-changed", "disabled", "available", enable=True)

    # Who may use it.

    def _shared(self, found: Tended) -> Tended:
        declared, care = self.situation.image.declaration.share_with.grants, self._care
        shares = bool(declared) and self._kept
        stale = care.shared - declared
        restored = care.withheld - stale if care.withheld is not None else None
        if not shares and not stale and restored is None:
            return found
        # What was disabled has lost all grants (DisableImage, API reference).
        asked = self.situation.sharing
        now = NOBODY if found.tending.enable else asked.grants.get(self._place)
        if now is None and (shares or restored is None):
            why = asked.unread.get(self._place)
            told = f"{self.artifact.location}: who may use {self.artifact.id}: {why}" if why else ""
            return replace(found, unknown=told, asks=why is None)
        if shares:
            return self._set(found, now or NOBODY, declared, given=care.shared)
        if restored is not None:
            goal = restored | (now or NOBODY) - stale
            return self._set(found, now or NOBODY, goal, given=care.shared - stale, ours=False)
        return self._set(found, now or NOBODY, (now or NOBODY) - stale, given=care.shared - stale)

    def _set(self, found: Tended, now: Grants, goal: Grants, *, given: Grants, ours: bool = True) -> Tended:
        """Grants to add and to remove. What is added is recorded as ours, unless it had that before it was disabled."""
        care = self._care
        add, remove = goal - now, now - goal
        obstacle = self.situation.sharing.obstacles.get(self._place) if add else None
        if obstacle is not None:
            note = f"{self.artifact.id} in {self.artifact.location} can't be shared with {add}: {obstacle}"
            found, add = replace(found, notes=(*found.notes, note)), NOBODY
        elif add:
            lacking = self.situation.sharing.lacking.get(self._place, ())
            found = replace(found, notes=(*found.notes, *(self._lacks(what) for what in lacking)))
        new = add - (care.withheld or NOBODY) if ours else NOBODY
        before = care.model_copy(update={"shared": care.shared | new})
        after = before.model_copy(update={"shared": (given | new) - remove, "withheld": None})
        if obstacle is not None and care.withheld is not None:
            after = after.model_copy(update={"withheld": care.withheld})
        if add or remove or obstacle is not None:
            return self._said(
                found, "sharing-changed", str(now), str(goal), add=add, remove=remove, before=before, after=after
            )
        if after == care:
            return found
        was = "recorded as disabled" if care.withheld is not None else f"recorded as shared with {care.shared - given}"
        return self._said(found, "sharing-changed", was, str(now), before=before, after=after)

    def _lacks(self, what: str) -> str:
        return f"{self.artifact.id} in {self.artifact.location} is to be shared: {what}"

    # From when it is deprecated.

    def _deprecated(self, found: Tended) -> Tended:
        limit, now = self.situation.image.declaration.deprecate_after, self.seen.deprecated
        if self._stands or limit is None:
            return self._not_deprecated(found)
        since = superseded_at(self.lock, self.build) if self.build.phase == "superseded" else None
        if since is None:
            return found
        at = whole_minute(since + timedelta(seconds=limit))
        made = told_moment(self.seen.created)
        if self.seen.public and made is not None and at > made + _LONGEST_PUBLIC:
            return found  # EC2 has set an earlier date by itself, and takes no later one
        due = at <= self.situation.now + AHEAD
        wanted = format_instant(soon(self.situation.now) if due else at)
        if now is not None and (parse_instant(now) <= self.situation.now + _SOON if due else now == wanted):
            return found
        before, after = (
            one.model_copy(update={"deprecated": wanted}) for one in (found.tending.before, found.tending.after)
        )
        # A plan says the same a minute later: what was reviewed is what is done.
        said = "deprecated at once" if due else _since(wanted)
        return self._said(found, "deprecation-changed", _since(now), said, deprecate=wanted, before=before, after=after)

    def _not_deprecated(self, found: Tended) -> Tended:
        """What stands, or of which nothing is declared any more. EC2 itself deprecates what is public."""
        ours, now = self._care.deprecated, self.seen.deprecated
        declared = self.situation.image.declaration.deprecate_after is not None
        undoes = (ours is not None or declared) if self._stands else ours is not None and ours == now
        after = found.tending.after.model_copy(update={"deprecated": None})
        if now is not None and undoes and not self.seen.public:
            return self._said(
                found, "deprecation-changed", _since(now), _since(None), never_deprecated=True, after=after
            )
        if ours is None:
            return found
        return self._said(found, "deprecation-changed", f"recorded as {_since(ours)}", _since(now), after=after)

    # Whether it may be removed.

    def _protected(self, found: Tended) -> Tended:
        wanted = self.situation.image.declaration.protect and self._kept and self.build.phase != "revoked"
        tending = found.tending
        before, after = (one.model_copy(update={"protected": wanted}) for one in (tending.before, tending.after))
        if not wanted and self._care.protected and not self.seen.protected:
            return self._said(found, "protection-changed", "recorded as protected", "not protected", after=after)
        if wanted == self.seen.protected or (not wanted and not self._care.protected):
            return found
        was, now = ("not protected", "protected") if wanted else ("protected", "not protected")
        return self._said(
            found, "protection-changed", was, now, protect=wanted, before=before if wanted else tending.before,
            after=after,
        )  # fmt: skip


def superseded_at(lock: Lockfile, build: Build) -> datetime | None:
    """When another build took a build's place: when the next newer one was recorded that nobody refused since.

    None where there is none.
    """
    newer = lock.builds[: [one.id for one in lock.builds].index(build.id)]
    took = next((one for one in reversed(newer) if one.phase not in NEVER_AGAIN), None)
    return parse_instant(took.recorded) if took is not None and took.recorded is not None else finished_at(took)


def _since(moment: str | None) -> str:
    return f"deprecated {moment}" if moment is not None else "not deprecated"


def with_protected(situation: Situation, decision: Decision) -> Decision:
    """The decision, with what keeps artifacts from being removed that it retires."""
    notes = protected_notes((*decision.retire, *decision.old_previews), situation.seen)
    if not notes:
        return decision
    told = decision.planned.model_copy(update={"notes": (*decision.planned.notes, *notes)})
    return replace(decision, planned=told)


def protected_notes(gone: Iterable[Artifact | Seen], seen: Iterable[Seen]) -> Sequence[str]:
    """What keeps artifacts from being removed that are to be, and was not done here: a person has to end it."""
    shown = {one.place: one for one in seen}
    ours = {(one.location, one.id) for one in gone if isinstance(one, Artifact) and one.cared_for.protected}
    found = (shown.get((one.location, one.id)) for one in gone)
    return [
        f"{one.id} in {one.location} can't be removed: its registry says of its protection: {one.protection}"
        for one in found
        if one is not None and one.protection and one.place not in ours
    ]
