"""What each name should hold, and what is done where it does not: of any channels, and of whatever stands there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Channels, Lockfile
from reconciler.model.observation import Held, Publications, Template
from reconciler.model.publish import Published
from reconciler.plan.diff import decide
from reconciler.plan.publishing import CHANNELS, Publishing, declared_at, publishing, whose_matters

Make = Callable[..., Any]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LOCATIONS = ("eu-west-1", "us-east-1")
NAMES = {"/images/web/candidate": "candidate", "/images/web/stable": "stable", "/old/web": None}
PLACES = [(location, name) for location in LOCATIONS for name in NAMES]
IDS = [f"20261122T10153{number}Z-1a2b3c4" for number in range(3)]


def artifact(build_id: str, location: str) -> str:
    return f"ami-{location}-{IDS.index(build_id)}"


def a_build(build_id: str, *, revoked: bool, locations: tuple[str, ...]) -> Build:
    artifacts = tuple(
        Artifact(kind="ami", builder="amazon-ebs.web", location=one, id=artifact(build_id, one), name="web")
        for one in locations
    )
    return Build(
        id=build_id, key=f"sha256:{build_id}", components={}, artifacts=artifacts, commit="0" * 40,
        phase="revoked" if revoked else "superseded",
    )  # fmt: skip


@st.composite
def locks(draw: st.DrawFn) -> Lockfile:
    """A lockfile with builds in some locations, some of them revoked, and channels that point to none of those."""
    revoked = {one: draw(st.booleans()) for one in IDS}
    where = st.sampled_from([LOCATIONS, LOCATIONS[:1], LOCATIONS[1:]])
    builds = tuple(a_build(one, revoked=revoked[one], locations=draw(where)) for one in IDS)
    good = st.sampled_from([None, *(one for one in IDS if not revoked[one])])
    recorded = draw(st.sets(st.sampled_from(PLACES)))
    return Lockfile(
        image="web", builds=builds, channels=Channels(candidate=draw(good), stable=draw(good)),
        published=tuple(Published(location=location, ssm=name) for location, name in sorted(recorded)),
    )  # fmt: skip


VALUES = st.sampled_from([*(artifact(one, location) for one in IDS for location in LOCATIONS), "ami-by-hand"])
HELD = st.builds(
    Held, value=VALUES, version=st.integers(1, 99), ours=st.booleans(),
    misfit=st.sampled_from([None, None, None, "has the data type text"]),
)  # fmt: skip
FOUND = st.builds(
    Publications,
    held=st.dictionaries(st.sampled_from(PLACES), HELD),
    unreadable=st.dictionaries(st.sampled_from(LOCATIONS), st.just("throttled")),
)


def published_image(image: Image) -> Image:
    declaration = image.declaration.model_copy(
        update={"publish": image.declaration.publish.model_copy(update={"ssm": "/images/{image}/{channel}"})}
    )
    return replace(image, declaration=declaration, locations=LOCATIONS)


@given(lock=locks(), found=FOUND, is_declared=st.booleans())
def test_it_converges_in_one_step_and_touches_nothing_of_others(
    an_image: Callable[..., Any],
    lock: Lockfile,
    found: Publications,
    is_declared: bool,  # noqa: FBT001 - hypothesis names it
) -> None:
    image = published_image(an_image("web")) if is_declared else None
    todo = publishing(image, lock, found)

    after = dict(found.held)
    for change in todo.changes:
        before = after.pop(change.at.place, None)
        assert change.at.location not in found.unreadable
        assert before is None or (before.ours is not False and before.misfit is None), "somebody else's"
        if change.value is not None:
            after[change.at.place] = Held(change.value, 1, ours=True)
    forgotten = {one.place for one in todo.forget}
    recorded = tuple(one for one in todo.record if one.place not in forgotten)
    assert {one.at.place for one in todo.changes} <= {one.place for one in todo.record}, "recorded before it is written"

    again = publishing(image, lock.model_copy(update={"published": recorded}), replace(found, held=after))
    assert (again.changes, again.forget, again.record) == ((), (), recorded)
    assert (again.refused, again.unknown) == (todo.refused, todo.unknown)
    gone = {one.id for build in lock.builds if build.phase == "revoked" for one in build.artifacts}
    for one in declared_at(image):
        held = after.get(one.place)
        build = lock.build(getattr(lock.channels, NAMES[one.ssm] or ""))
        is_here = held is not None and held.ours is not False and held.misfit is None
        if one.location in found.unreadable or (held is not None and not is_here):
            continue
        assert held is None or held.value not in gone
        if build is None:
            assert held is None
        elif one.location in {each.location for each in build.artifacts}:
            assert held is not None
            assert held.value == artifact(build.id, one.location)
    if again.agrees:
        assert not found.unreadable or not {one.location for one in declared_at(image)} & set(found.unreadable)


@given(
    held=st.one_of(st.none(), st.builds(Held, value=VALUES, version=st.just(0), ours=st.booleans())),
    is_recorded=st.booleans(),
    is_declared=st.booleans(),
    points=st.booleans(),
)
def test_a_tag_that_was_ours_is_moved_back_and_is_taken_away_from_nobody(
    an_image: Callable[..., Any],
    held: Held | None,
    is_recorded: bool,  # noqa: FBT001 - hypothesis names it
    is_declared: bool,  # noqa: FBT001
    points: bool,  # noqa: FBT001
) -> None:
    location = LOCATIONS[0]
    tag = Published(location=location, tag="stable")
    image = replace(an_image("web"), locations=(location,))
    publish = image.declaration.publish.model_copy(update={"tag": "stable"})
    image = replace(image, declaration=image.declaration.model_copy(update={"publish": publish}))
    build = a_build(IDS[0], revoked=False, locations=(location,))
    lock = Lockfile(
        image="web", builds=(build,), channels=Channels(stable=build.id if points else None),
        published=(tag,) if is_recorded else (),
    )  # fmt: skip
    found = Publications(NOW, {tag.place: held} if held is not None else {})

    todo = publishing(image if is_declared else None, lock, found)

    wanted = build.artifacts[0].id if points and is_declared else None
    is_theirs = held is not None and not held.ours
    changes = [(one.at, one.value) for one in todo.changes]
    if not is_recorded and not is_declared:
        assert todo == Publishing()
    elif is_theirs and not is_recorded:
        assert (changes, [one for one, _ in todo.refused]) == ([], [tag])
        assert "names an image that is none of this fleet's" in todo.refused[0][1]
    elif is_theirs and not is_declared:
        assert (changes, todo.forget) == ([], (tag,))
    elif (held.value if held is not None else None) == wanted:
        assert changes == []
    else:
        assert changes == [(tag, wanted)]


@pytest.mark.parametrize("key", ["tag", "ssm"])
@pytest.mark.parametrize(
    ("new", "why", "gone"),
    [
        (Held("somebody's", 1, ours=False), "theirs", []),
        (Held("text", 1, misfit="has the data type text", ours=True), "a misfit", []),
        (None, "not there yet", []),
        (None, "free", ["old"]),
        (None, "undeclared", ["old"]),
        (Held("somebody's", 1, ours=False), "theirs, and the old one is revoked", ["old"]),
    ],
)
def test_a_name_is_taken_back_once_another_of_its_image_can_take_its_place(
    an_image: Make, key: str, new: Held | None, why: str, gone: list[str]
) -> None:
    here, elsewhere = LOCATIONS
    image = replace(an_image("web"), locations=LOCATIONS)
    publish = image.declaration.publish.model_copy(update={key: None if why == "undeclared" else "/new"})
    image = replace(image, declaration=image.declaration.model_copy(update={"publish": publish}))
    stable = a_build(IDS[0], revoked=False, locations=(elsewhere,) if why == "not there yet" else LOCATIONS)
    before = a_build(IDS[1], revoked="revoked" in why, locations=LOCATIONS)
    old = [Published.model_validate({key: "/old", "location": one}) for one in LOCATIONS]
    lock = Lockfile(image="web", builds=(stable, before), channels=Channels(stable=stable.id), published=tuple(old))
    held = {one.place: Held(artifact(before.id, one.location), 1, ours=True) for one in old}
    found = Publications(NOW, {**held, **({(here, "/new"): new} if new is not None else {})})

    todo = publishing(image, lock, found)

    left = {one.at.place for one in todo.changes if one.value is None}
    assert left == {(elsewhere, "/old"), *([(here, "/old")] if gone else [])}
    assert {one.place for one in todo.forget} == left
    assert (here, "/old") in {one.place for one in todo.record}, "what stays is recorded on"
    assert [one for one in todo.lacking if "stays until another name takes its place" in one] == (
        [] if gone else [f"{old[0].text} stays until another name takes its place"]
    )
    assert why in ("free", "undeclared") or not todo.agrees


@given(lock=locks(), found=FOUND)
def test_whose_it_is_is_asked_of_all_that_is_written_anew(
    an_image: Callable[..., Any], lock: Lockfile, found: Publications
) -> None:
    image = published_image(an_image("web"))
    unasked = replace(found, held={place: replace(one, ours=None) for place, one in found.held.items()})
    asked = {one.place for one in whose_matters(image, lock, unasked)}
    touched = {one.at.place for one in publishing(image, lock, unasked).changes if one.was is not None}
    assert touched <= asked
    assert asked <= set(unasked.held)


def test_both_channels_are_those_of_a_lockfile() -> None:
    assert set(CHANNELS) == set(Channels.model_fields)


@pytest.mark.parametrize(
    ("held", "sync", "health"),
    [("ours", "in-sync", "healthy"), ("theirs", "drifted", "degraded"), ("unread", "unknown", "unknown")],
)
def test_what_is_refused_or_can_not_be_read_is_no_agreement(
    built: Make, an_image: Make, held: str, sync: str, health: str
) -> None:
    image = an_image(publish={"ssm": "/images/{image}/{channel}"})
    situation = built(image)
    places = [(place.location, place.ssm) for place in declared_at(image)]
    value = situation.lock.builds[0].artifacts[0].id
    lock = situation.lock.model_copy(
        update={"published": tuple(Published(location=at, ssm=name) for at, name in sorted(places))}
    )  # fmt: skip
    found = Publications(
        NOW, held={place: Held(value if held != "theirs" else "ami-x", 1, ours=held != "theirs") for place in places},
        unreadable={"us-east-1": "throttled"} if held == "unread" else {}, claimed=frozenset(places),
    )  # fmt: skip

    planned = decide(replace(situation, lock=lock, publications=found)).planned

    assert (planned.sync, planned.health, planned.waits_for is not None) == (sync, health, held == "theirs")


def test_what_waits_in_a_launch_template_is_told(built: Make, an_image: Make) -> None:
    image = an_image(publish={"launch_templates": ["web"]})
    (place,) = declared_at(image)
    lock = built(image).lock
    (artifact,) = lock.builds[0].artifacts
    moved = artifact.model_copy(update={"location": "eu-west-1"})
    elsewhere = lock.builds[0].model_copy(update={"artifacts": (moved,)})
    template = Template("lt-1", default=1, versions=(), ours=True)

    def lacking(build: Build) -> tuple[str, ...]:
        found = Publications(NOW, templates={place.place: template})
        return publishing(image, lock.model_copy(update={"builds": (build,)}), found).lacking

    assert lacking(lock.builds[0]) == ()
    assert lacking(elsewhere) == (f"us-east-1 launch template web waits for {elsewhere.id} in us-east-1",)


@pytest.mark.parametrize(
    ("lost", "actions", "told"),
    [
        ((), ("publish",), {"eu-west-1": "{}", "us-east-1": "{}"}),
        (("eu-west-1",), ("copy", "publish"), {"eu-west-1": "what takes the place of {}, which is not there"}),
        (LOCATIONS, ("build", "publish"), dict.fromkeys(LOCATIONS, "what takes the place of {}, which is not there")),
    ],
)
def test_no_name_is_promised_what_the_registry_has_no_more(
    built: Make, an_image: Make, lost: tuple[str, ...], actions: tuple[str, ...], told: dict[str, str]
) -> None:
    situation = built(an_image(publish={"ssm": "/images/{image}/stable"}, regions=list(LOCATIONS)))
    (newest,) = situation.lock.builds
    lock = situation.lock.model_copy(update={"channels": Channels(candidate=newest.id, stable=newest.id)})
    seen = tuple(one for one in situation.seen if one.location not in lost)

    planned = decide(replace(situation, lock=lock, seen=seen, publications=Publications(NOW))).planned

    assert planned.actions == actions
    said = {(one.was or "").partition(" ")[0]: one.now for one in planned.reasons if one.code == "publication-changed"}
    ids = {one.location: one.id for one in newest.artifacts}
    assert {at: said[at] for at in told} == {at: now.format(ids[at]) for at, now in told.items()}


def test_a_channel_whose_build_is_gone_for_good_is_not_promised_either(built: Make, an_image: Make) -> None:
    # Given that stable is an older build, which nobody makes anew
    situation = built(an_image(publish={"ssm": "/images/{image}/stable"}, validation={"required": True}))
    (newest,) = situation.lock.builds
    gone = tuple(one.model_copy(update={"id": f"{one.id}0"}) for one in newest.artifacts)
    older = newest.model_copy(update={"id": IDS[0], "artifacts": gone, "phase": "stable"})
    lock = situation.lock.model_copy(
        update={"builds": (newest, older), "channels": Channels(candidate=newest.id, stable=older.id)}
    )
    planned = decide(replace(situation, lock=lock, publications=Publications(NOW))).planned
    assert [one.now for one in planned.reasons] == [f"nothing: {one.id} is not there" for one in gone]
