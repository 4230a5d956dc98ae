"""Images, pins and situations in few words, and what the world looks like once a decision was carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.declaration import Declaration, Settings
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder, Fleet, Image, InputFile, Template
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.observation import Observation, Seen
from reconciler.model.plan import Decision, Plan, PlannedImage, Situation, Wanted
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.tree import TreeEntry
from reconciler.model.values import digest, format_instant
from reconciler.plan import transitions
from reconciler.plan.channels import said_wrongly
from reconciler.plan.graph import pin_to_recorded
from reconciler.plan.key import short
from reconciler.plan.planning import FleetPlan, Known, lock_of
from reconciler.plan.tags import in_no_channel, of_recorded, standing
from reconciler.registries.ec2.dialect import AMI

NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
DEBIAN: dict[str, Any] = {"ami": {"name": "debian-12-amd64-*", "owners": ["136693071363"]}}
FLEET = "acme/images"


@dataclass(frozen=True)
class EmptyTree:
    """A revision of which nothing but its name is asked."""

    oid: str
    entries: Mapping[str, TreeEntry] = field(default_factory=dict)
    below: str = ""

    def read(self, oids: Iterable[str], *, most: int | None = None) -> Mapping[str, bytes]:
        assert (list(oids), most) == ([], most), "a plan reads no contents"
        return {}


def make_image(
    name: str = "web",
    *,
    files: Mapping[str, str] | None = None,
    modes: Mapping[str, str] | None = None,
    regions: Sequence[str] = ("us-east-1",),
    source: dict[str, Any] | None = DEBIAN,
    plugins: Mapping[str, str] | None = None,
    required_version: str = "",
    **declared: Any,
) -> Image:
    files = {"web.pkr.hcl": "a" * 40} if files is None else files
    modes = modes or {}
    template = Template(
        format="hcl2",
        files=(f"desired/{name}/web.pkr.hcl",),
        builders=(Builder(name="amazon-ebs.web", type="amazon-ebs", place=Place("web.pkr.hcl"), kind=AMI),),
        plugins=plugins or {},
        required_version=required_version,
    )
    return Image(
        name=name,
        folder=f"desired/{name}",
        declaration=Declaration.model_validate(declared),
        template=template,
        kind=AMI,
        source=SourceRequest.model_validate(source) if source is not None else None,
        locations=tuple(regions),
        inputs=tuple(InputFile(path, modes.get(path, "100644"), oid) for path, oid in files.items()),
    )


def make_pin(ami_id: str = "ami-0aa11bb22cc33dd44", *, region: str = "us-east-1", name: str | None = None) -> Pin:
    return AMI.pin(region, ami_id, name=name or f"debian-12-amd64-{ami_id[-4:]}")


def make_situation(image: Image | None = None, *, lock: Lockfile | None = None, **known: Any) -> Situation:
    image = image or make_image()
    if "pin" not in known and image.source is not None and image.source.image is None:
        known["pin"] = make_pin(region=image.build_location)
    return Situation(
        image=image,
        lock=lock or Lockfile(image=image.name),
        fleet=FLEET,
        **{"now": NOW, "head": "9c0d1e2" + "0" * 33, **known},
    )


def as_seen(artifact: Artifact, tags: Mapping[str, str], *, created: datetime = NOW) -> Seen:
    return Seen(
        kind=artifact.kind, location=artifact.location, id=artifact.id, name=artifact.name or "", state="available",
        created=format_instant(created), tags=tags, parts=artifact.parts,
    )  # fmt: skip


def carry_out(situation: Situation, decision: Decision, *, wanted: Wanted | None = None) -> Situation:
    """What is, once a decision was carried out as steps/carry_out.py does it, ten minutes later."""
    if not decision.acts:
        return situation
    world = _Registry(situation)
    wanted = wanted or decision.wanted
    actions = (decision.own or decision.planned).actions
    world.settle(decision)
    if "build" in actions:
        assert wanted is not None
        lock = transitions.with_build(situation.lock, world.built(decision, wanted), image=situation.image)
    elif "adopt" in actions:
        assert wanted is not None
        lock = transitions.with_build(situation.lock, world.adopted(decision, wanted), image=situation.image)
    else:
        lock = world.changed(decision) if actions != ("none",) else situation.lock
    world.tag_as_they_stand(situation.lock, lock)
    recorded = lock is not situation.lock and not situation.options.refresh
    locked = lock.source.pinned if lock.source and recorded else situation.pin
    options = situation.options.model_copy(update={"force": ()})
    return replace(
        situation, lock=lock, seen=tuple(world.shown.values()), pin=locked, options=options, renamed_from=None,
        now=situation.now + timedelta(minutes=10),
    )  # fmt: skip


class _Registry:
    """The registry of one situation, and the effects on it."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.image = situation.image
        self.shown = {(one.location, one.id): one for one in situation.seen}

    def put(self, build: Build, region: str) -> Artifact:
        taken = digest([build.id, region, format_instant(self.situation.now), len(self.shown)])
        name = f"{self.image.name}-{build.id}"
        return Artifact(kind="ami", builder="amazon-ebs.web", location=region, id=f"ami-{taken[7:24]}", name=name)

    def settle(self, decision: Decision) -> None:
        for one in decision.restate:
            place = (one.seen.location, one.seen.id)
            self.shown[place] = replace(self.shown[place], tags={**self.shown[place].tags, **one.tags})
        for seen in decision.old_previews:
            self.shown.pop((seen.location, seen.id), None)

    def tag_as_they_stand(self, before: Lockfile, after: Lockfile) -> None:
        for build in (*after.builds, *(one for one in before.builds if after.build(one.id) is None)):
            tags = standing(after, build) if after.build(build.id) is not None else in_no_channel("superseded")
            was = before.build(build.id)
            if was is not None and standing(before, was) == tags:
                continue
            for place in ((one.location, one.id) for one in build.artifacts):
                if place in self.shown:
                    self.shown[place] = replace(self.shown[place], tags={**self.shown[place].tags, **tags})
        if before.builds[:1] != after.builds[:1]:
            for one in list(said_wrongly(self.shown.values(), after)):
                place = (one.seen.location, one.seen.id)
                self.shown[place] = replace(one.seen, tags={**one.seen.tags, **one.tags})

    def tag(self, build: Build, artifacts: Iterable[Artifact]) -> None:
        tags = of_recorded(fleet=FLEET, image=self.image, build=build)
        if self.situation.lock.build(build.id) is not None:
            tags |= standing(self.situation.lock, build)
        for artifact in artifacts:
            before = self.shown.get((artifact.location, artifact.id))
            after = {**(before.tags if before else {}), **tags}
            seen = as_seen(artifact, after, created=self.situation.now)
            self.shown[artifact.location, artifact.id] = seen

    def everywhere(self, build: Build, present: Iterable[Artifact]) -> Build:
        present = list(present)
        missing = [region for region in self.image.locations if region not in {one.location for one in present}]
        artifacts = sorted([*present, *(self.put(build, region) for region in missing)], key=lambda one: one.location)
        complete = build.model_copy(update={"artifacts": tuple(artifacts)})
        self.tag(complete, artifacts)
        return complete

    def built(self, decision: Decision, wanted: Wanted) -> Build:
        build = Build(
            id=f"{self.situation.now:%Y%m%dT%H%M%SZ}-{short(wanted.key)}",
            key=wanted.key,
            components=dict(wanted.components),
            files={file.path: f"{file.mode} {file.oid}" for file in self.image.inputs},
            commit=self.situation.head,
            reasons=decision.planned.reasons,
            started=format_instant(self.situation.now),
            seconds=60,
            source=wanted.pin,
            artifacts=(),
            phase=self.phase,
        )
        return self.everywhere(build, [self.put(build, self.image.build_location)])

    def adopted(self, decision: Decision, wanted: Wanted) -> Build:
        first = decision.adopt[0]
        build_id = first.own("build") or ""
        known = self.situation.lock.build(build_id) or Build(
            id=build_id, key=wanted.key, components=dict(wanted.components), artifacts=(), phase=self.phase,
            commit=first.own("commit") or self.situation.head,
        )  # fmt: skip
        files = {file.path: f"{file.mode} {file.oid}" for file in self.image.inputs}
        build = known.model_copy(update={"files": files, "source": wanted.pin, "phase": self.phase})
        return self.everywhere(build, [one.as_artifact("amazon-ebs.web") for one in decision.adopt])

    def changed(self, decision: Decision) -> Lockfile:
        situation = self.situation
        before = situation.lock.builds[0]
        after = transitions.as_declared(situation.lock, self.image)
        added = [one.as_artifact("amazon-ebs.web") for one in decision.adopt]
        if "copy" in decision.planned.actions:
            assert decision.copy_from is not None
            copies = [self.put(before, region) for region in decision.missing_locations]
            self.tag(after.builds[0], copies)
            added += copies
        for artifact in decision.retire:
            self.shown.pop((artifact.location, artifact.id), None)
        self.tag(after.builds[0], [one.as_artifact("amazon-ebs.web") for one in decision.retag])
        lock = transitions.with_artifacts(situation.lock, before.id, added, gone=decision.retire)
        return transitions.as_declared(lock, self.image)

    @property
    def phase(self) -> str:
        return "candidate" if self.image.declaration.validation.required else "stable"


def make_known(*images: Image, **more: Any) -> Known:
    settings: dict[str, Any] = more.pop("settings", {})
    problems: Mapping[str, tuple[UserError, ...]] = more.pop("problems", {})
    fleet = Fleet(Settings.model_validate(settings), {image.name: image for image in images}, problems)
    upstream = {image.name: make_pin(region=image.build_location) for image in images if image.parent is None}
    return Known(
        **{
            "tree": EmptyTree(more.pop("tree_oid", "9c0d1e2" + "0" * 33)),
            "fleet_name": FLEET,
            "fleet": fleet,
            "locks": {},
            "now": NOW,
            "pins": {name: pin for name, pin in upstream.items() if fleet.images[name].source is not None},
            **more,
        }
    )


def carry_out_plan(known: Known, planned: FleetPlan) -> Known:
    """What is known, once every decision of a plan was carried out, parents first."""
    locks = dict(known.locks)
    shown = {(one.location, one.id): one for one in known.observation.artifacts}
    for decision in planned.decisions:
        image = decision.image
        if image is None or not decision.acts:
            continue
        wanted = decision.wanted
        if image.parent is not None and image.parent in decision.planned.blocked_by and wanted is not None:
            pin = pin_to_recorded(image, locks[image.parent]).pin
            assert pin is not None
            assert wanted.pin is not None
            assert pin.identity == wanted.pin.identity, "the parent's key was known before it was built"
            wanted = replace(wanted, pin=pin)
        former = lock_of(known, image)[1]
        situation = Situation(
            image=image, lock=decision.lock, now=known.now, fleet=known.fleet_name, head=known.head,
            options=known.options, seen=tuple(shown.values()), pin=wanted.pin if wanted else None,
        )  # fmt: skip
        after = carry_out(situation, decision, wanted=wanted)
        locks[image.name] = after.lock
        shown = {(one.location, one.id): one for one in after.seen}
        if former is not None:
            locks.pop(former, None)
    pins = dict(known.pins)
    if not known.options.refresh:
        pins |= {
            name: lock.source.pinned for name, lock in locks.items() if lock.source and lock.source.pinned.upstream
        }
    return replace(
        known, locks=locks, pins=pins, observation=Observation(artifacts=tuple(shown.values())),
        options=known.options.model_copy(update={"force": ()}), now=known.now + timedelta(minutes=10),
    )  # fmt: skip


@pytest.fixture(scope="session")
def an_image() -> Callable[..., Image]:
    return make_image


@pytest.fixture(scope="session")
def a_pin() -> Callable[..., Pin]:
    return make_pin


@pytest.fixture(scope="session")
def a_situation() -> Callable[..., Situation]:
    return make_situation


@pytest.fixture(scope="session")
def carried_out() -> Callable[..., Situation]:
    return carry_out


@pytest.fixture(scope="session")
def what_is_known() -> Callable[..., Known]:
    return make_known


@pytest.fixture(scope="session")
def plan_carried_out() -> Callable[..., Known]:
    return carry_out_plan


@pytest.fixture(scope="session")
def built() -> Callable[..., Situation]:
    """The situation after an image's first build: one candidate, in every region, in sync."""
    from reconciler.plan.diff import decide  # noqa: PLC0415 - so that conftest loads even when diff is broken

    def first_build(image: Image | None = None, **known: Any) -> Situation:
        situation = make_situation(image, **known)
        return carry_out(situation, decide(situation))

    return first_build


@pytest.fixture(scope="session")
def planned() -> Callable[..., PlannedImage]:
    """One image of a plan, drifted and to be built unless it says otherwise."""

    def make(name: str, **more: Any) -> PlannedImage:
        return PlannedImage(**{"image": name, "sync": "drifted", "health": "healthy", "actions": ("build",), **more})

    return make


@pytest.fixture(scope="session")
def a_plan() -> Callable[..., Plan]:
    """A plan of these images and of `quiet` more that are in sync."""

    def make(*images: PlannedImage, quiet: int = 0, **more: Any) -> Plan:
        in_sync = (
            PlannedImage(image=f"quiet-{number}", sync="in-sync", health="healthy", actions=("none",))
            for number in range(quiet)
        )
        known = {"applyable": True, "complete": True, "errored": False, "summary": {}, **more}
        plan_id, head = f"sha256:41c{'0' * 61}", f"9c0d1e2{'0' * 33}"
        return Plan(plan_id=plan_id, head=head, images=(*images, *in_sync), **known)

    return make
