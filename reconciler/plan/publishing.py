"""Where consumers find what a channel points to: what each name should hold, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile, Reason
from reconciler.model.observation import Held, Publications
from reconciler.model.plan import Decision, Situation
from reconciler.model.publish import Published
from reconciler.model.usage import Use
from reconciler.model.values import format_instant
from reconciler.plan.channels import with_action
from reconciler.plan.launch_templates import VersionChange, leaves, standing, templates_of
from reconciler.plan.revocations import Causes
from reconciler.plan.rollout import NOTHING, Rollout, group_places, groups_of, rollout
from reconciler.plan.rulings import in_force
from reconciler.plan.transitions import as_ruled

Channel = Literal["candidate", "stable"]
CHANNELS: tuple[Channel, ...] = ("candidate", "stable")


def names_of(image: Image) -> Mapping[str, Channel]:
    """The names that an image's channels are written to, each with its channel. Without `{channel}` it is `stable`.

    They are parameters or tags: no kind has both.
    """
    publish = image.declaration.publish
    template = publish.ssm or publish.tag
    if template is None:
        return {}
    named = template.replace("{image}", image.name)
    return {named.replace("{channel}", one): one for one in (CHANNELS if "{channel}" in named else ("stable",))}


def declared_at(image: Image | None) -> tuple[Published, ...]:
    """Every name and location that an image is declared to be published at, in order."""
    if image is None:
        return ()
    where = sorted(image.locations)
    key = "ssm" if image.declaration.publish.ssm is not None else "tag"
    named = [
        Published.model_validate({key: name, "location": location})
        for name in sorted(names_of(image))
        for location in where
    ]
    templates = [
        Published(launch_template=name, location=location) for name in sorted(templates_of(image)) for location in where
    ]
    return (*named, *templates, *group_places(image))


def asked_of(image: Image | None, lock: Lockfile) -> tuple[Published, ...]:
    """Every place that has to be looked at: where it is declared to be published, and where it was."""
    places = {one.place: one for one in (*declared_at(image), *lock.published)}
    return tuple(places[place] for place in sorted(places))


NOT_DECLARED = "not declared"


@dataclass(frozen=True)
class Change:
    """One place that is to hold something else. `value` is an artifact's id; None: the name is to be gone."""

    at: Published
    was: str | None
    value: str | None
    why: str = ""

    def can_wait(self, lock: Lockfile) -> bool:
        """Whether it takes a name back that is only declared no more, and leads to nothing that is revoked."""
        return self.value is None and self.why == NOT_DECLARED and self.was not in _revoked_ids(lock)

    @property
    def reason(self) -> Reason:
        """The same for people."""
        now = self.value if self.value is not None else f"nothing: {self.why}"
        return Reason(code="publication-changed", was=f"{self.at.text}: {self.was or 'nothing'}", now=now)


@dataclass(frozen=True)
class Publishing:
    """What is to be done so that consumers find what the channels point to. `agrees` says that nothing is."""

    changes: tuple[Change, ...] = ()
    refused: tuple[tuple[Published, str], ...] = ()
    """Where something of somebody else stands, or what can't hold an artifact's id, with what to say of it."""
    unknown: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    """What has to wait for an artifact that is not there yet."""
    record: tuple[Published, ...] = ()
    """All places that are to be recorded as this image's before anything is written."""
    forget: tuple[Published, ...] = ()
    """Recorded places where nothing of this image is any more: no longer declared."""
    versions: tuple[VersionChange, ...] = ()
    """What is to be done to launch templates."""
    groups: Rollout = NOTHING

    @property
    def agrees(self) -> bool:
        """Whether every name could be looked at and holds what it should. Groups follow later, in their waves."""
        return not (self.changes or self.versions or self.refused or self.unknown or self.lacking)

    def withdrawing(self, lock: Lockfile) -> Publishing:
        """What of this takes revoked artifacts away from consumers; all else is left as it is.

        Of groups that is what leads back: what they wait for beside that, they wait for on.
        """
        revoked = _revoked_ids(lock)
        changes = tuple(one for one in self.changes if one.was in revoked)
        groups = self.groups.leading_back
        touched = {one.at.place for one in changes} | {one.place for one in groups.record}
        record = {one.place: one for one in lock.published}
        record |= {one.place: one for one in self.record if one.place in touched}
        return Publishing(
            changes=changes,
            versions=tuple(one for one in self.versions if one.template.launches in revoked),
            record=tuple(record[place] for place in sorted(record)),
            groups=groups,
        )


def publishing(image: Image | None, lock: Lockfile, found: Publications) -> Publishing:
    """Compare what the names hold with where the channels point. What could not be read is unknown, and left alone.

    `image` is None for one that is declared no more: then everything that is recorded is to go.
    """
    declared = {one.place for one in declared_at(image)}
    todo = Publishing()
    for one in asked_of(image, lock):
        held = found.held.get(one.place)
        if one.location in found.unreadable:
            todo = replace(todo, unknown=(*todo.unknown, f"{one.location}: {found.unreadable[one.location]}"))
        elif one.launch_template:
            todo = _template(todo, one, image if one.place in declared else None, lock=lock, found=found)
        elif one.auto_scaling_group:
            todo = todo if one.place in declared else replace(todo, forget=(*todo.forget, one))
        elif one.place not in declared:
            todo = _undeclared(todo, one, held, claimed=one.place in found.claimed)
        elif held is not None and (why := _in_the_way(one, held, lock)) is not None:
            todo = replace(todo, refused=(*todo.refused, (one, why)))
        elif image is not None:
            todo = _declared(todo, one, held, lock=lock, channel=names_of(image)[one.called])
    todo = _but_unreplaced(todo, image, lock) if image is not None else todo
    if groups_of(image) and image is not None:
        groups = rollout(image, lock, found)
        todo = replace(todo, groups=groups, record=(*todo.record, *groups.record))
    kept = {one.place: one for one in (*lock.published, *todo.record)}
    return replace(
        todo, unknown=tuple(dict.fromkeys(todo.unknown)), record=tuple(kept[place] for place in sorted(kept))
    )


def _template(
    todo: Publishing, one: Published, image: Image | None, *, lock: Lockfile, found: Publications
) -> Publishing:
    """What is to be done to a launch template; `image` is None where it is declared no more: its versions stay."""
    if image is None:
        return replace(todo, forget=(*todo.forget, one))
    now = standing(one, lock, found.templates.get(one.place), set_default=templates_of(image)[one.launch_template])
    if now.gone and one in lock.published:
        todo = replace(todo, forget=(*todo.forget, one))
    if now.version is not None:
        todo = replace(todo, record=(*todo.record, one.model_copy(update={"version": now.version})))
    return replace(
        todo,
        versions=(*todo.versions, now.change) if now.change is not None else todo.versions,
        refused=(*todo.refused, (one, now.refused)) if now.refused is not None else todo.refused,
        lacking=(*todo.lacking, now.lacking) if now.lacking is not None else todo.lacking,
    )


def _undeclared(todo: Publishing, one: Published, held: Held | None, *, claimed: bool) -> Publishing:
    """What is recorded and declared no more. What another image declares by now, or somebody else has, is theirs."""
    if held is None or claimed or held.misfit is not None or held.ours is False:
        return replace(todo, forget=(*todo.forget, one))
    gone = Change(one, held.value, None, NOT_DECLARED)
    return replace(todo, changes=(*todo.changes, gone), forget=(*todo.forget, one))


def _but_unreplaced(todo: Publishing, image: Image, lock: Lockfile) -> Publishing:
    """The same without taking names back in whose place others of the image are declared, and can't be written yet.

    Whoever looks there would find nothing by either. What is revoked is taken back all the same.
    """
    waits = {one.location for one, _ in todo.refused if one.called}
    for one in (one for one in declared_at(image) if one.called):
        build = lock.build(getattr(lock.channels, names_of(image)[one.called]))
        waits |= {one.location} if build is not None and build.artifact_in(one.location) is None else set()
    stays = {
        change.at.place: change for change in todo.changes if change.at.location in waits and change.can_wait(lock)
    }
    if not stays:
        return todo
    told = (f"{one.at.text} stays until another name takes its place" for one in stays.values())
    return replace(
        todo,
        changes=tuple(one for one in todo.changes if one.at.place not in stays),
        forget=tuple(one for one in todo.forget if one.place not in stays),
        lacking=(*todo.lacking, *told),
    )


def _declared(todo: Publishing, one: Published, held: Held | None, *, lock: Lockfile, channel: Channel) -> Publishing:
    build = lock.build(getattr(lock.channels, channel))
    artifact = build.artifact_in(one.location) if build is not None else None
    was = held.value if held is not None else None
    if artifact is not None:
        ours = replace(todo, record=(*todo.record, one))
        return ours if was == artifact.id else replace(ours, changes=(*todo.changes, Change(one, was, artifact.id)))
    if build is not None and (was is None or was not in _revoked_ids(lock)):
        return replace(todo, lacking=(*todo.lacking, f"{one.text} waits for {build.id} in {one.location}"))
    if was is None:
        return todo
    why = f"{channel} points to nothing" if build is None else f"{was} is revoked"
    return replace(todo, record=(*todo.record, one), changes=(*todo.changes, Change(one, was, None, why)))


def _revoked_ids(lock: Lockfile) -> set[str]:
    return {artifact.id for build in lock.builds if build.phase == "revoked" for artifact in build.artifacts}


def _in_the_way(one: Published, held: Held, lock: Lockfile) -> str | None:
    """Why a name is not written; None where it may be.

    A tag has no owner but what it names. So once it is recorded as ours, whatever else it names is drift.
    """
    if held.misfit is not None:
        return f"it {held.misfit}, which can't be changed"
    is_theirs = held.ours is False and not (one.tag and one in lock.published)
    return f"it is there, and {of_others(one)}" if is_theirs else None


def of_others(one: Published) -> str:
    """What tells that a name is not this fleet's."""
    return "names an image that is none of this fleet's" if one.tag else "does not carry this fleet's tag"


def whose_matters(image: Image | None, lock: Lockfile, found: Publications) -> tuple[Published, ...]:
    """The places of which it has to be known whose they are: what is to be written anew, and what is not recorded."""
    recorded = {one.place for one in lock.published}
    todo = publishing(image, lock, found)
    touched = {change.at.place for change in todo.changes}
    return tuple(
        one
        for one in asked_of(image, lock)
        if one.place in found.held
        and found.held[one.place].misfit is None
        and (one.place in touched or one.place not in recorded)
    )


def but_for_ours(
    uses: Iterable[Use], images: Mapping[str, Image], locks: Mapping[str, Lockfile], causes: Causes, *, now: datetime,
    day_of: Callable[[str], datetime],
) -> tuple[Use, ...]:  # fmt: skip
    """What uses builds that are about to be revoked, but for names of ours that leave them in the same run.

    A name of ours whose channel will point to nothing is deleted, which breaks whoever looks there: it stays a use. So
    does the default version of a launch template, unless another one is made the default; and a group, whose machines
    are replaced after that and not before.
    """
    ours: dict[tuple[str, str], tuple[bool, Lockfile | None, bool]] = {}
    for name, image in images.items():
        lock = locks.get(name)
        channels: dict[str, Channel] = {**names_of(image)}
        templates, groups = templates_of(image), groups_of(image)
        after = None
        if lock is not None and lock.published:
            after = as_ruled(lock, in_force(image, now=day_of(name)), causes.get(name, {}), at=format_instant(now))
        for one in after.published if after is not None else ():
            is_stable = one.launch_template in templates or one.auto_scaling_group in groups
            channel = "stable" if is_stable else channels.get(one.called)
            build = after.build(getattr(after.channels, channel)) if after is not None and channel is not None else None
            stays = build is not None and build.artifact_in(one.location) is not None
            if after is not None:
                ours[one.place] = (stays, after, templates.get(one.launch_template, False))
    refreshed = {one.place for image in images.values() for one in group_places(image)}
    found = []
    for use in uses:
        place = (use.place[0], use.parameter or "")
        stays, lock, set_default = ours.get(place, (False, None, False))
        if lock is None or (use.version is not None and not leaves(use, lock, set_default=set_default)):
            found.append(use)
        elif place in refreshed and stays:
            found.append(replace(use, hint="it is this fleet's, and is refreshed to what `stable` falls back to"))
        elif not stays:
            what = "is deleted" if use.version is None and place not in refreshed else "stays as it is"
            found.append(replace(use, hint=f"it is this fleet's, and {what}: its channel will point to nothing"))
    return tuple(found)


def with_publications(situation: Situation, decision: Decision) -> Decision:
    """The decision, with what is to be done where the channels are written out, by the lockfile as it will be."""
    found = situation.publications
    if found is None:
        return decision
    lock = decision.settled or situation.lock
    todo = publishing(situation.image, lock, found)
    todo = todo.withdrawing(lock) if decision.withdraws_only else todo
    todo = replace(todo, refused=(*todo.refused, *todo.groups.refused))
    refused = tuple(f"{one.text}: {why}{_way_out(one, situation.image)}" for one, why in todo.refused)
    planned = decision.planned
    if situation.options.preview:
        told = planned.model_copy(update={"notes": (*planned.notes, *refused)})
        return replace(decision, planned=told) if refused else decision
    reasons = tuple(_reasons(_but_for_gone(todo, situation, decision), lock, situation.image))
    if reasons:
        decision = with_action(decision, "publish", *reasons)
    if not refused and not todo.unknown:
        return _under_way(decision, todo.groups)
    planned = decision.planned
    worse = "degraded" if refused else "unknown"
    update: dict[str, object] = {
        "unknown": tuple(dict.fromkeys((*planned.unknown, *todo.unknown))),
        "health": worse if planned.health == "healthy" else planned.health,
    }
    if refused:
        update["reasons"] = (*planned.reasons, *map(_refusal, todo.refused, refused))
        update["waits_for"] = planned.waits_for or "; ".join(refused)
    update["sync"] = planned.sync if planned.sync != "in-sync" else "drifted" if refused else "unknown"
    return _under_way(replace(decision, planned=planned.model_copy(update=update)), todo.groups)


def _but_for_gone(todo: Publishing, situation: Situation, decision: Decision) -> Publishing:
    """The same for people: no artifact is promised under a name that the registry has no more.

    What takes its place where this run makes that, by a build or a copy, has an id that nobody knows yet.
    """
    there = {one.place for one in situation.seen if one.state not in ("failed", "unusable")}
    kept = situation.lock.kept
    mended = {(one.location, one.id) for one in kept.artifacts} if kept is not None else set()
    mended = mended if {"build", "adopt", "copy"} & set(decision.planned.actions) else set()

    def told(change: Change) -> Change:
        place = change.at.location, change.value or ""
        if change.value is None or place in there or change.at.location in situation.unreadable:
            return change
        now = "what takes the place of {}, which is not there" if place in mended else "nothing: {} is not there"
        return replace(change, value=now.format(change.value))

    return replace(todo, changes=tuple(map(told, todo.changes)))


def _under_way(decision: Decision, groups: Rollout) -> Decision:
    """The decision, with what is under way in groups, or waits there: nothing that this run could do more about."""
    planned = decision.planned
    if not groups.notes:
        return decision
    health = "rolling-out" if planned.health == "healthy" else planned.health
    notes = (*planned.notes, *groups.notes)
    return replace(decision, planned=planned.model_copy(update={"notes": notes, "health": health}))


def _reasons(todo: Publishing, lock: Lockfile, image: Image) -> Iterator[Reason]:
    declared = {one.place for one in declared_at(image)}
    changed = {change.at.place for change in todo.changes} | {change.at.place for change in todo.groups.changes}
    yield from (change.reason for change in todo.changes)
    yield from (reason for change in todo.versions for reason in change.reasons)
    yield from (change.reason for change in todo.groups.changes)
    recorded = {one.place: one for one in lock.published}
    for one in todo.record:
        if one.place not in changed and one != recorded.get(one.place):
            version = f"version {one.version} " if one.version is not None else ""
            course = f"{one.course} " if one.course else ""
            yield Reason(code="publication-changed", was=f"{one.text}: {version}{course}not recorded", now="recorded")
    for one in todo.forget:
        if one.place not in changed:
            now = "not declared" if one.place not in declared else "stable points to nothing"
            yield Reason(code="publication-changed", was=f"{one.text}: recorded", now=now)


def _refusal(refused: tuple[Published, str], told: str) -> Reason:
    now = "not refreshed" if refused[0].auto_scaling_group else "not written"
    return Reason(code="publication-changed", was=told, now=now)


def _way_out(one: Published, image: Image) -> str:
    written = str(image.ruled_at.get(f"publish.{one.key}") or f"{image.folder}/image.yaml")
    return f": give another name in {written}" if one.called else f" ({written})"
