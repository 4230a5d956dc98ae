"""What may go: no root ever does, whatever else is there, and the waiting of what goes never begins anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from reconciler.model.announcement import Circumstances, RecordedImage, announcement
from reconciler.model.care import Grants
from reconciler.model.declaration import Settings
from reconciler.model.errors import UserError
from reconciler.model.fleet import Fleet, Image
from reconciler.model.lockfile import Build, Channels, Conversion, Leaving, Lockfile
from reconciler.model.observation import Seen, State
from reconciler.model.plan import Decision, PlannedImage, Situation
from reconciler.model.usage import Usage, Use
from reconciler.model.values import format_instant, parse_instant
from reconciler.plan.leaving import Judgement, judge, with_leaving
from reconciler.plan.planning import Known
from reconciler.plan.roots import Root, Survey, said_of
from reconciler.plan.transitions import without_gone
from reconciler.words import markdown

US, EU = "us-east-1", "eu-west-1"
MOST = 7
"""Builds of an image, in a random account."""


def build_of(
    template: Build, now: Any, *, age: int, number: int, phase: str = "superseded", source: Any = None
) -> Build:
    """A build that began so many hours ago, with an artifact in each of two locations."""
    began = now - timedelta(hours=age)
    build_id = f"{began:%Y%m%dT%H%M%SZ}-{number:07x}"
    (artifact,) = template.artifacts[:1]
    artifacts = tuple(
        artifact.model_copy(
            update={"location": location, "id": f"ami-{location[0]}{number:016x}", "parts": (f"snap-{number}",)}
        )
        for location in (EU, US)
    )
    return template.model_copy(update={
        "id": build_id, "key": f"sha256:{number}", "phase": "superseded", "artifacts": artifacts, "source": source,
        "recorded": format_instant(began), "started": None, "was_stable": False,
    })  # fmt: skip


def seen_of(build: Build, image: str, *, state: State = "available", fleet: str = "acme/images") -> list[Seen]:
    tags = {"fleet": fleet, "image": image, "build": build.id, "key": build.key, "phase": build.phase}
    return [
        Seen(
            "ami", one.location, one.id, f"{image}-{build.id}", state, build.recorded or "",
            {f"reconciler:{name}": value for name, value in tags.items()}, one.parts,
        )
        for one in build.artifacts
    ]  # fmt: skip


@pytest.fixture(scope="module")
def example(built: Callable[..., Any]) -> Situation:
    found: Situation = built()
    return found


def survey_of(example: Situation, lock: Lockfile, *, past: tuple[Build, ...] = (), **update: Any) -> Survey:
    """A fleet of one image with these builds, all of which are there."""
    image: Image = example.image
    known = Known(
        tree=None, fleet_name="acme/images", fleet=Fleet(Settings(), {image.name: image}, {}), locks={image.name: lock},  # type: ignore[arg-type]
        now=example.now,
    )  # fmt: skip
    planned = PlannedImage(image=image.name, sync="in-sync", health="healthy", actions=("none",))
    seen = [one for build in (*lock.recorded, *past) for one in seen_of(build, image.name)]
    survey = Survey(
        known, (Decision(planned=planned, image=image, lock=lock, wanted=None),), {one.place: one for one in seen},
        past={(image.name, one.id): one for one in past},
    )  # fmt: skip
    return replace(survey, **update)


@st.composite
def accounts(draw: st.DrawFn) -> dict[str, Any]:
    """How old builds are and where they stand; and what else may keep them, by number."""
    count = draw(st.integers(1, MOST))
    number = st.integers(0, count - 1)
    return {
        "ages": sorted(draw(st.lists(st.integers(0, 2000), min_size=count, max_size=count, unique=True))),
        "recorded": draw(st.integers(1, count)),
        "stable": draw(number), "candidate": draw(number), "hold": draw(st.none() | number),
        "used": draw(st.sets(number)), "shared": draw(st.sets(number)), "pending": draw(st.sets(number)),
        "protected": draw(st.sets(number)), "stripped": draw(st.sets(number)), "pinned": draw(st.sets(number)),
        "revoked": draw(st.sets(number)), "retain": draw(st.integers(1, 4)),
        "unread": draw(st.sampled_from([(), (EU,), (US, EU)])), "unasked": draw(st.booleans()),
    }  # fmt: skip


def arranged(example: Situation, account: dict[str, Any]) -> tuple[Survey, list[Build]]:
    builds = [build_of(example.lock.builds[0], example.now, age=age, number=n) for n, age in enumerate(account["ages"])]
    stable, candidate = (builds[account[name] % account["recorded"]].id for name in ("stable", "candidate"))
    lock = Lockfile(
        image=example.image.name,
        builds=tuple(builds[: account["recorded"]]),
        channels=Channels(stable=stable, candidate=candidate),
    )
    hold = {"build": builds[account["hold"]].id, "reason": "r"} if account["hold"] is not None else None
    declared = example.image.declaration.model_dump(by_alias=True)
    declared |= {"retain": {"builds": account["retain"]}, "hold": hold}
    image = replace(example.image, declaration=type(example.image.declaration).model_validate(declared))
    survey = survey_of(replace(example, image=image), lock, past=tuple(builds[account["recorded"] :]))
    seen = dict(survey.seen)
    for number, build in enumerate(builds):
        place = (EU, build.artifacts[0].id)
        update: dict[str, Any] = {"state": "pending"} if number in account["pending"] else {}
        update |= {"protection": "enabled"} if number in account["protected"] else {}
        update |= {"tags": {}} if number in account["stripped"] else {}
        seen[place] = replace(seen[place], **update)
    children = tuple(
        build_of(builds[0], example.now, age=5000, number=100 + n, source=builds[n].as_pin(image.name))
        for n in account["pinned"]
    )
    other = Lockfile(image="child", builds=children) if children else None
    known = replace(survey.known, locks={**survey.known.locks, **({"child": other} if other else {})})
    uses = tuple(Use((EU, builds[n].artifacts[0].id), "instance i-0", "move it") for n in account["used"])
    return replace(
        survey, known=known, seen=seen, unread=dict.fromkeys(account["unread"], "no answer"),
        usage=Usage(uses, {EU: ("no right",)} if account["unasked"] else {}),
        shared={(EU, builds[n].artifacts[0].id): Grants.of(["222222222222"]) for n in account["shared"]},
    ), builds  # fmt: skip


@hypothesis.settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(account=accounts())
def test_no_root_ever_goes_and_a_build_goes_as_a_whole(example: Situation, account: dict[str, Any]) -> None:
    survey, builds = arranged(example, account)
    judgement = judge(survey)
    gone = {one.build.id for one in judgement.departures}
    lock = survey.known.locks[example.image.name]
    kept = {lock.channels.stable, lock.channels.candidate} | {one.id for one in builds[: account["retain"]]}
    kept |= {builds[account["hold"]].id} if account["hold"] is not None else set()
    for name in ("used", "shared", "pending", "protected", "stripped", "pinned"):
        kept |= {builds[number].id for number in account[name]}
    kept |= {one.id for one, age in zip(builds, account["ages"], strict=True) if age < 24}
    kept |= {one.id for one in builds} if account["unread"] or account["unasked"] else set()
    assert gone.isdisjoint(kept)
    assert gone == {one.id for one in builds} - kept, "nothing else keeps anything"
    assert {one.build for one in judgement.fates if one.goes} == gone
    assert {(one.location, one.id) for one in judgement.fates} == set(survey.seen), "of every artifact it is said"


def carried_out(survey: Survey, judgement: Judgement) -> Survey:
    """As the registry and state/ are once every step that is due is recorded and done."""
    name = next(iter(survey.known.fleet.images))
    lock, seen = survey.known.locks[name], dict(survey.seen)
    image = survey.known.fleet.images[name]
    due = [one for one in judgement.departures if one.due <= survey.known.now]
    lock = with_leaving(lock, [one.entry for one in due if one.step != "retire"], image=image)
    lock = without_gone(lock, {one.build.id for one in due if one.step == "retire"})
    for one in due:
        for each in one.seen:
            if one.step == "retire":
                del seen[each.place]
            elif one.step == "disable":
                seen[each.place] = replace(each, state="disabled")
            else:
                seen[each.place] = replace(each, deprecated=format_instant(survey.known.now))
    return replace(survey, known=replace(survey.known, locks={name: lock}), seen=seen, past={})


@hypothesis.settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hours=st.lists(st.integers(0, 24 * 9), min_size=8, max_size=14),
    undone=st.sets(st.integers(0, 13)),
    lost=st.sets(st.integers(0, 13)),
)
def test_the_waiting_never_begins_anew(example: Situation, hours: list[int], undone: set[int], lost: set[int]) -> None:
    """Whatever is undone by hand, or not done after it was recorded."""
    newest = example.lock.builds[0]
    old = build_of(newest, example.now, age=3000, number=1)
    lock = example.lock.model_copy(update={"channels": Channels(stable=newest.id, candidate=newest.id)})
    declared = {**example.image.declaration.model_dump(by_alias=True), "retain": {"builds": 1}}
    image = replace(example.image, declaration=type(example.image.declaration).model_validate(declared))
    survey = survey_of(replace(example, image=image), lock, past=(old,))
    name, began, waited = image.name, None, timedelta()
    for number, more in enumerate(hours):
        before = survey
        survey = carried_out(survey, judge(survey))
        found = survey.known.locks[name].left(old.id)
        if found is None:
            break
        began = began or found
        assert found.deprecated == began.deprecated
        assert began.disabled in (None, found.disabled)
        if found.disabled is not None:
            assert parse_instant(found.disabled) - parse_instant(found.deprecated) >= timedelta(days=14)
        began = found
        if number in lost:
            survey = replace(survey, seen=before.seen)
        if number in undone:
            seen = {place: replace(one, state="available", deprecated=None) if one.own("build") == old.id else one
                    for place, one in survey.seen.items()}  # fmt: skip
            survey = replace(survey, seen=seen)
        survey = replace(survey, known=replace(survey.known, now=survey.known.now + timedelta(hours=more)))
        waited += timedelta(hours=more)
    else:
        return
    assert waited >= timedelta(days=28), "nothing goes before both its waits are over"
    assert not [one for one in survey.seen.values() if one.own("build") == old.id]


def test_a_step_that_another_run_recorded_first_keeps_its_dates_and_who_could_use_it(example: Situation) -> None:
    old = build_of(example.lock.builds[0], example.now, age=3000, number=1)
    theirs = old.model_copy(update={"artifacts": tuple(
        one.model_copy(update={"care": one.cared_for.model_copy(update={"withheld": Grants.of(["222222222222"])})})
        for one in old.artifacts
    )})  # fmt: skip
    first = Leaving(build=theirs, deprecated="2026-01-01T00:00:00Z", disabled="2026-01-15T00:00:00Z")
    lock = example.lock.model_copy(update={"leaving": (first,)})
    late = Leaving(build=old, deprecated="2026-02-01T00:00:00Z", disabled="2026-02-15T00:00:00Z")
    assert with_leaving(lock, [late], image=example.image).leaving == (first,)


def test_what_came_to_be_kept_meanwhile_does_not_leave(example: Situation) -> None:
    newest = example.lock.builds[0]
    entry = Leaving(build=newest, deprecated="2026-01-01T00:00:00Z")
    assert with_leaving(example.lock, [entry], image=example.image) == example.lock


def test_what_an_artifact_was_converted_to_goes_with_it_and_everybody_is_told(example: Situation) -> None:
    newest = example.lock.builds[0]
    made = (Conversion(format="raw", id="sha256:1", size=8), Conversion(format="vmdk", id="sha256:2", size=3))
    old = build_of(newest, example.now, age=3000, number=1)
    with_formats = tuple(one.model_copy(update={"conversions": made}) for one in old.artifacts)
    old = old.model_copy(update={"artifacts": with_formats})
    lock = example.lock.model_copy(update={"channels": Channels(stable=newest.id, candidate=newest.id)})
    declared = {**example.image.declaration.model_dump(by_alias=True), "retain": {"builds": 1}}
    image = replace(example.image, declaration=type(example.image.declaration).model_validate(declared))

    judged = judge(survey_of(replace(example, image=image), lock, past=(old,)))

    going = [one for one in judged.fates if one.goes]
    assert [one.conversions for one in going] == [made for _ in old.artifacts]
    assert "(and as raw and vmdk)" in markdown.departures(going)
    (departure,) = judged.departures
    of = RecordedImage("acme", "web", "main", None, "state/web.lock.json")
    told = announcement("deprecated", departure.build, of=of, previous=None, about=Circumstances(departure.entry))
    assert [one.conversions for one in told.artifacts] == [made for _ in old.artifacts]


def test_a_kind_that_knows_neither_deprecation_nor_disabling_waits_as_long(example: Situation) -> None:
    newest = example.lock.builds[0]
    old = build_of(newest, example.now, age=3000, number=1)
    lock = example.lock.model_copy(update={"channels": Channels(stable=newest.id, candidate=newest.id)})
    declared = {**example.image.declaration.model_dump(by_alias=True), "retain": {"builds": 1}}
    image = replace(
        example.image, declaration=type(example.image.declaration).model_validate(declared),
        kind=replace(example.image.kind, tended=False),
    )  # fmt: skip
    survey = survey_of(replace(example, image=image), lock, past=(old,))
    (departure,) = judge(survey).departures
    assert (departure.step, departure.due) == ("deprecate", survey.known.now)
    assert all(one.care is None for one in departure.build.artifacts), "nothing is done to it, and so recorded of it"
    entry = with_leaving(survey.known.locks[image.name], [departure.entry], image=image)
    for _ in range(3):
        survey = replace(survey, known=replace(survey.known, locks={image.name: entry}), past={})
        (departure,) = judge(survey).departures
        due = parse_instant(entry.leaving[0].deprecated) + timedelta(days=28)
        assert (departure.step, departure.due) == ("retire", due)
        assert departure.entry.disabled is None, "nobody is told that it is disabled: it is not"
        survey = replace(survey, known=replace(survey.known, now=survey.known.now + timedelta(days=14)))
    assert departure.due <= survey.known.now


@pytest.mark.parametrize(
    ("declared", "code", "why"),
    [
        ("invalid", "invalid", "what is declared of web is invalid"),
        ("nowhere", "undeclared", "is declared no more: `reconcile --prune` ends it"),
    ],
)
def test_what_is_of_no_valid_image_stays_and_the_reason_is_told_apart(
    example: Situation, declared: str, code: str, why: str
) -> None:
    old = build_of(example.lock.builds[0], example.now, age=3000, number=1)
    survey = survey_of(example, example.lock, past=(old,))
    problems = {example.image.name: (UserError("it is not right"),)} if declared == "invalid" else {}
    known = replace(survey.known, fleet=Fleet(Settings(), {}, problems))
    judgement = judge(replace(survey, known=known, decisions=()))
    assert judgement.departures == ()
    assert {one.code for one in judgement.fates} == {code}
    assert all(one.why.endswith(why) for one in judgement.fates)


def test_what_keeps_a_whole_build_is_said_of_each_of_its_artifacts() -> None:
    places = [("us-east-1", "ami-1"), ("eu-west-1", "ami-2")]
    young: Root = ("young", "it was made within the last 24 h")
    used: Root = ("used", "instance i-1 (running) in us-east-1 uses ami-1")
    assert [said_of(one, young, places=places) for one in places] == [young, young]
    assert [said_of(one, used, places=places)[0] for one in places] == ["used", "sibling"]


@pytest.mark.parametrize(
    ("marks", "code"),
    [
        ({"phase": "preliminary"}, "live"),
        ({"phase": "rejected", "smoke": "failed"}, "live"),
        ({"phase": "stable"}, "unrecorded"),
        ({"key": None}, "live"),
    ],
    ids=["a preview", "what an attempt left", "what was recorded once", "what is not whole"],
)
def test_beside_every_record_what_may_be_needed_yet_is_told_apart(
    example: Situation, marks: dict[str, str | None], code: str
) -> None:
    old = build_of(example.lock.builds[0], example.now, age=1, number=1)
    seen = seen_of(old, example.image.name)[0]
    said = {**seen.tags, **{f"reconciler:{name}": value for name, value in marks.items()}}
    beside = replace(seen, tags={name: value for name, value in said.items() if value is not None})
    survey = survey_of(example, example.lock)

    judgement = judge(replace(survey, seen={**survey.seen, beside.place: beside}))

    (fate,) = [one for one in judgement.fates if one.id == beside.id]
    assert (fate.goes, fate.code) == (False, code)
