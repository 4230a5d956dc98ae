from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Conversion
from reconciler.model.observation import Observation, Seen, State
from reconciler.model.plan import PlanOptions, Situation
from reconciler.model.values import format_instant
from reconciler.plan.diff import decide
from reconciler.plan.presence import seen_by_two_names, seen_once
from reconciler.plan.transitions import with_artifacts
from reconciler.words.plans import facts

Make = Callable[..., Situation]
TWO = ("us-east-1", "eu-west-1")


@pytest.fixture
def web(built: Make, an_image: Callable[..., Image]) -> Situation:
    """An image that is built and whole in two regions."""
    return built(an_image(regions=TWO))


def without(situation: Situation, *regions: str) -> Situation:
    return replace(situation, seen=tuple(one for one in situation.seen if one.location not in regions))


def retagged(situation: Situation, tags: Mapping[str, str | None]) -> Situation:
    first, *others = situation.seen
    merged = {**first.tags, **tags}
    left = {name: value for name, value in merged.items() if value is not None}
    return replace(situation, seen=(replace(first, tags=left), *others))


def codes(situation: Situation) -> list[str]:
    return [reason.code for reason in decide(situation).planned.reasons]


def test_what_is_there_is_in_sync(web: Situation) -> None:
    planned = decide(web).planned
    assert (planned.sync, planned.health, planned.actions, planned.reasons) == ("in-sync", "healthy", ("none",), ())


def test_a_missing_region_is_copied_and_not_rebuilt(web: Situation) -> None:
    decision = decide(without(web, "eu-west-1"))

    assert decision.planned.actions == ("copy",)
    assert decision.missing_locations == ("eu-west-1",)
    assert decision.copy_from is not None
    assert decision.copy_from.location == "us-east-1"
    assert decision.planned.reasons[0].was == f"eu-west-1 {web.lock.builds[0].artifacts[0].id}"


def in_formats(situation: Situation, *formats: str) -> Situation:
    """The situation with an image that can be had in these formats, and declares them."""
    (maker,) = situation.image.template.builders
    template = replace(situation.image.template, builders=(replace(maker, formats=formats),))
    declaration = situation.image.declaration.model_copy(update={"formats": formats})
    return replace(situation, image=replace(situation.image, template=template, declaration=declaration))


def converted(situation: Situation, *, there: bool = True) -> Situation:
    """The situation in which the newest build is recorded as vmdk, and that is there, too, or not."""
    made = Conversion(format="vmdk", id="sha256:1", size=3)
    (build,) = situation.lock.builds
    artifacts = tuple(one.model_copy(update={"conversions": (made,)}) for one in build.artifacts)
    lock = situation.lock.model_copy(update={"builds": (build.model_copy(update={"artifacts": artifacts}),)})
    seen = tuple(replace(one, conversions=(made,) if there else ()) for one in situation.seen)
    return replace(situation, lock=lock, seen=seen)


def test_a_format_that_is_declared_later_is_converted_to_and_nothing_is_built(web: Situation) -> None:
    decision = decide(in_formats(web, "vmdk"))

    assert decision.planned.actions == ("convert",)
    assert [(one.code, one.was, one.now) for one in decision.planned.reasons] == [
        ("format-missing", f"{region} no vmdk", "vmdk is declared") for region in TWO
    ]
    assert {one.location for one in decision.convert} == set(TWO)


def test_a_conversion_that_is_recorded_and_there_is_in_sync_and_one_that_is_lost_is_not(web: Situation) -> None:
    assert codes(converted(in_formats(web, "vmdk"))) == []
    assert codes(converted(in_formats(web, "vmdk"), there=False)) == ["format-missing", "format-missing"]
    # What is declared no more stays with the builds that have it
    assert codes(converted(web)) == []
    # What only marks say is not recorded
    told = converted(in_formats(web, "vmdk"))
    assert codes(replace(told, lock=web.lock)) == ["format-missing", "format-missing"]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("prune", [True, False])
def test_a_conversion_that_is_declared_no_more_goes_where_it_is_not_whole_or_that_is_asked(
    web: Situation, *, there: bool, prune: bool
) -> None:
    decision = decide(replace(converted(web, there=there), options=PlanOptions(prune=prune)))

    goes = prune or not there
    said = "vmdk is not declared" if there else "vmdk is not declared, and nothing whole there"
    assert decision.planned.actions == (("retire",) if goes else ("none",))
    assert [(one.code, one.was, one.now) for one in decision.planned.reasons] == [
        ("format-extra", f"{region} vmdk sha256:1", said) for region in TWO if goes
    ]
    assert [(one.location, one.id) for one in decision.retire] == [(region, "sha256:1") for region in TWO if goes]
    # Then no record names it, and the builds' artifacts are what they were
    after = with_artifacts(decision.lock, decision.lock.builds[0].id, (), gone=decision.retire)
    left = {one.id for artifact in after.builds[0].artifacts for one in artifact.conversions}
    assert left == (set() if goes else {"sha256:1"})
    assert [one.id for one in after.builds[0].artifacts] == [one.id for one in decision.lock.builds[0].artifacts]


def test_what_goes_with_an_artifact_is_counted_and_named(web: Situation, an_image: Callable[..., Image]) -> None:
    left = replace(converted(web), image=an_image(regions=["us-east-1"]))
    told = decide(left).planned.waits_for
    assert told == "kept; `--prune` deletes 1 artifact in 1 location, with 1 conversion"
    going = decide(replace(left, options=PlanOptions(prune=True)))
    assert [[each.format for each in one.conversions] for one in going.planned.retires if "ami" in one.id] == [["vmdk"]]
    assert any(" (and as vmdk)" in line for line in facts(going.planned))


def test_with_nothing_left_to_copy_from_the_same_key_is_built_again(web: Situation) -> None:
    decision = decide(without(web, *TWO))

    assert decision.planned.actions == ("build",)
    assert codes(without(web, *TWO)) == ["artifact-missing"]
    assert decision.planned.key == web.lock.builds[0].key


def test_what_was_recorded_moments_ago_and_is_not_listed_is_unknown(web: Situation) -> None:
    soon = replace(without(web, *TWO), now=web.now - timedelta(minutes=8, seconds=30))

    planned = decide(soon).planned

    assert (planned.sync, planned.actions) == ("unknown", ("none",))
    assert planned.unknown[0].endswith("is not listed (new, or deleted): counts as missing in 90s")
    assert decide(replace(soon, now=soon.now + timedelta(seconds=90))).planned.actions == ("build",)


def test_a_build_that_was_tested_and_copied_for_long_is_young_when_it_is_recorded(web: Situation) -> None:
    build = web.lock.builds[0].model_copy(update={"recorded": format_instant(web.now)})
    fresh = replace(without(web, "eu-west-1"), lock=web.lock.model_copy(update={"builds": (build,)}))

    assert decide(fresh).planned.unknown[0].endswith("is not listed (new, or deleted): counts as missing in 2m")
    assert decide(replace(fresh, now=fresh.now + timedelta(minutes=2))).planned.actions == ("copy",)


def test_a_copy_that_came_later_has_a_grace_of_its_own(web: Situation) -> None:
    old = web.lock.builds[0]
    artifacts = tuple(
        one.model_copy(update={"recorded": format_instant(web.now)}) if one.location == "eu-west-1" else one
        for one in old.artifacts
    )
    lock = web.lock.model_copy(update={"builds": (old.model_copy(update={"artifacts": artifacts}),)})

    assert decide(replace(without(web, "eu-west-1"), lock=lock)).planned.actions == ("none",)
    assert decide(replace(without(web, "us-east-1"), lock=lock)).planned.actions == ("copy",)


@pytest.mark.parametrize("region", TWO)
def test_a_region_that_could_not_be_read_is_unknown_and_stops_everything(web: Situation, region: str) -> None:
    gone = replace(without(web, *TWO), unreadable={region: "UnauthorizedOperation"})

    planned = decide(gone).planned

    assert (planned.sync, planned.health, planned.actions) == ("unknown", "unknown", ("none",))
    assert f"{region}: UnauthorizedOperation" in planned.unknown


def test_a_region_that_is_left_and_could_not_be_read_may_still_hold_what_is_copied(
    web: Situation, an_image: Callable[..., Image]
) -> None:
    # Given an image that moves to another region
    moved = replace(web, image=an_image(regions=["ap-south-1"]))
    assert decide(moved).planned.actions == ("copy",)

    # When the old one can't be read
    blind = replace(without(moved, *TWO), unreadable={"us-east-1": "timed out"})

    # Then that is not taken for a reason to build.
    assert decide(blind).planned.unknown == ("us-east-1: timed out",)
    assert not decide(blind).acts
    assert codes(without(moved, *TWO)) == ["artifact-missing", "region-extra", "region-extra"]


def test_what_a_template_may_have_asked_for_is_never_one_too_many(
    web: Situation, an_image: Callable[..., Image]
) -> None:
    fewer = replace(web, image=an_image(regions=["us-east-1"]))
    assert codes(fewer) == ["region-extra"]

    assert codes(replace(fewer, image=replace(fewer.image, copied_elsewhere=True))) == []


@pytest.mark.parametrize("state", ["pending", "absent and young"])
def test_what_is_still_coming_in_a_region_that_is_left_is_waited_for(
    web: Situation, an_image: Callable[..., Image], state: str
) -> None:
    moved = replace(web, image=an_image(regions=["ap-south-1"]))
    if state == "pending":
        coming = replace(moved, seen=tuple(replace(one, state="pending") for one in moved.seen))
    else:
        coming = replace(without(moved, *TWO), now=moved.now - timedelta(minutes=9))

    assert decide(coming).planned.sync == "unknown"


def test_a_pending_copy_is_waited_for(web: Situation) -> None:
    pending = replace(web, seen=(replace(web.seen[0], state="pending"), *web.seen[1:]))

    planned = decide(pending).planned

    assert planned.unknown == (f"{web.seen[0].location}: {web.seen[0].id} is pending",)
    assert planned.actions == ("none",)


@pytest.mark.parametrize("state", ["failed", "unusable"])
def test_an_artifact_that_broke_is_replaced(web: Situation, state: State) -> None:
    first, second = web.seen
    broken = replace(web, seen=(replace(first, state=state), second))

    decision = decide(broken)

    assert decision.planned.actions == ("copy",)
    assert decision.planned.reasons[0].now == f"{first.location} {state}"


def with_a_copy(web: Situation) -> Situation:
    """The same where the registry says that the second artifact is a copy of the first."""
    first, second = web.seen
    return replace(web, seen=(first, replace(second, copy_of=first.place)))


def test_a_copy_that_was_made_and_not_recorded_is_recorded(web: Situation) -> None:
    build = web.lock.builds[0]
    lost = build.model_copy(update={"artifacts": build.artifacts[:1]})
    decision = decide(replace(with_a_copy(web), lock=web.lock.model_copy(update={"builds": (lost,)})))

    assert decision.planned.actions == ("record",)
    assert [one.location for one in decision.adopt] == ["us-east-1"]


def test_a_copy_that_replaced_a_lost_one_and_was_not_recorded_is_recorded(web: Situation) -> None:
    build = web.lock.builds[0]
    kept, replaced = build.artifacts
    before = build.model_copy(update={"artifacts": (kept, replaced.model_copy(update={"id": "ami-0dead"}))})

    decision = decide(replace(with_a_copy(web), lock=web.lock.model_copy(update={"builds": (before,)})))

    assert decision.planned.actions == ("record",)
    assert [one.id for one in decision.adopt] == [replaced.id]


def test_what_has_a_build_s_marks_and_is_no_copy_of_it_is_not_recorded(web: Situation) -> None:
    build = web.lock.builds[0]
    lost = build.model_copy(update={"artifacts": build.artifacts[:1]})
    decision = decide(replace(web, lock=web.lock.model_copy(update={"builds": (lost,)})))

    assert "copy" in decision.planned.actions
    assert decision.adopt == ()


def test_a_copy_of_another_build_with_the_same_key_is_not_taken_for_one_of_this(web: Situation) -> None:
    # Given two runs that built the same key, of which one was recorded, and a region that the record lacks
    build = web.lock.builds[0]
    lost = build.model_copy(update={"artifacts": build.artifacts[:1]})
    newer = replace(
        web.seen[0], id="ami-0other", tags={**web.seen[0].tags, "reconciler:build": "20301122T101530Z-1a2b3c4"}
    )
    decision = decide(
        replace(web, lock=web.lock.model_copy(update={"builds": (lost,)}), seen=(*with_a_copy(web).seen, newer))
    )  # fmt: skip

    assert [one.own("build") for one in decision.adopt] == [build.id]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"CostCenter": "43"}, "us-east-1: CostCenter=43"),
        ({"CostCenter": None}, "us-east-1: no CostCenter"),
        ({"reconciler:key": None}, "us-east-1: no reconciler:key"),
        ({"reconciler:phase": "candidate"}, "us-east-1: reconciler:phase=candidate"),
        ({"reconciler:image": "other"}, "us-east-1: reconciler:image=other"),
    ],
)
def test_tags_that_somebody_changed_are_set_right(
    built: Make, an_image: Callable[..., Image], tags: dict[str, str | None], said: str
) -> None:
    web = built(an_image(tags={"CostCenter": "42"}))

    decision = decide(retagged(web, tags))

    assert decision.planned.actions == ("retag",)
    assert decision.planned.reasons[0].was == said


def test_tags_that_others_added_are_left_alone(web: Situation) -> None:
    assert decide(retagged(web, {"Owner": "security", "reconciler:run": "4711"})).planned.sync == "in-sync"


def test_a_region_that_is_no_longer_declared_is_told_and_kept_until_asked(
    web: Situation, an_image: Callable[..., Image]
) -> None:
    left = replace(web, image=an_image(regions=["us-east-1"]))

    told = decide(left)
    asked = decide(replace(left, options=PlanOptions(prune=True)))

    assert (told.planned.sync, told.planned.actions, told.planned.waits_for) == (
        "drifted",
        ("none",),
        "kept; `--prune` deletes 1 artifact in 1 location",
    )
    assert (asked.planned.actions, asked.planned.waits_for) == (("retire",), None)
    assert [artifact.location for artifact in asked.retire] == ["eu-west-1"]


def test_an_image_that_moves_is_copied_from_the_region_that_it_leaves(
    web: Situation, an_image: Callable[..., Image]
) -> None:
    moving = replace(web, image=an_image(regions=["ap-south-1"]), options=PlanOptions(prune=True))

    decision = decide(moving)

    assert decision.planned.actions == ("copy", "retire")
    assert decision.copy_from is not None
    assert decision.copy_from.location in TWO


def test_offline_nothing_is_said_of_the_registry(web: Situation) -> None:
    blind = replace(web, seen=(), unreadable={"us-east-1": "not asked"}, options=PlanOptions(offline=True))
    assert decide(blind).planned.sync == "in-sync"


@pytest.mark.parametrize("pinned", [True, False])
def test_what_carries_another_fleets_name_is_said_and_left_alone(web: Situation, *, pinned: bool) -> None:
    theirs = retagged(web, {"reconciler:fleet": "newcorp/images", "reconciler:phase": "rejected"})

    planned = decide(theirs if pinned else replace(theirs, pin=None, pin_missing="throttled")).planned

    assert (planned.sync, planned.actions, planned.reasons) == ("unknown", ("none",), ())
    (why,) = planned.unknown
    assert why == (
        f"{theirs.seen[0].location}: what is recorded carries the fleet newcorp/images, and this clone's remote makes "
        "it acme/images: `fleet: newcorp/images` in desired/reconciler.yaml keeps it so"
    )


def test_an_image_of_another_fleet_is_not_built_anew_either(built: Make, an_image: Callable[..., Image]) -> None:
    web = built(an_image())
    changed = replace(web, image=an_image(files={"setup.sh": "0" * 40}))
    theirs = retagged(changed, {"reconciler:fleet": "newcorp/images"})

    assert decide(changed).planned.actions == ("build",)
    assert decide(theirs).planned.actions == ("none",)


@pytest.mark.parametrize("spelt", ["Acme/Images", "scm/acme/images", "ACME/_git/images", "v3/acme/images"])
def test_another_spelling_of_the_fleet_is_set_right(web: Situation, spelt: str) -> None:
    planned = decide(retagged(web, {"reconciler:fleet": spelt})).planned

    assert planned.actions == ("retag",)
    assert f"reconciler:fleet={spelt}" in str(planned.reasons[0].was)


def test_a_fleet_whose_name_a_person_gave_is_tagged_with_it(web: Situation) -> None:
    theirs = retagged(web, {"reconciler:fleet": "newcorp/images"})

    assert decide(replace(theirs, fleet_is_declared=True)).planned.actions == ("retag",)


def test_a_plan_from_state_alone_says_nothing_of_fleets(web: Situation) -> None:
    theirs = replace(retagged(web, {"reconciler:fleet": "x/y"}), options=PlanOptions(offline=True), seen=())

    assert decide(theirs).planned.sync == "in-sync"


MARKED = {"reconciler:image": "web", "reconciler:build": "20261122T101530Z-1a2b3c4"}


def shown(location: str, artifact_id: str = "sha256:1", *, created: str = "2026-11-22T10:15:30Z", **tags: str) -> Seen:
    marks = {**MARKED, **{f"reconciler:{name}": value for name, value in tags.items()}}
    return Seen("oci", location, artifact_id, "web-1", "available", created, marks, hearsay=True)


def places(*seen: Seen, recorded: Collection[str] = (), declared: Collection[str] = ()) -> list[str]:
    kept = seen_once(
        Observation(seen), recorded={(one, "sha256:1") for one in recorded}, declared={"web": declared}
    )  # fmt: skip
    return [one.location for one in kept.artifacts]


def test_what_a_second_name_of_its_place_shows_is_seen_once() -> None:
    assert places(shown("a"), shown("b"), recorded={"b"}) == ["b"]
    assert places(shown("a"), shown("b"), declared=("b",)) == ["b"]
    assert places(shown("a"), shown("b"), shown("c")) == ["a"]


def test_what_is_recorded_or_declared_in_both_is_seen_in_both() -> None:
    assert places(shown("a"), shown("b"), recorded={"a", "b"}) == ["a", "b"]
    assert places(shown("a"), shown("b"), shown("c"), recorded={"a"}, declared=("b",)) == ["a", "b"]


def test_what_differs_in_anything_is_another() -> None:
    later = shown("b", created="2026-11-22T10:15:31Z")
    assert places(shown("a"), later, recorded={"a"}) == ["a", "b"]
    assert places(shown("a"), shown("b", phase="stable"), recorded={"a"}) == ["a", "b"]
    assert places(shown("a"), shown("b", "sha256:2"), recorded={"a"}) == ["a", "b"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("12"), st.sampled_from("xy")), unique=True),
       st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))  # fmt: skip
def test_nothing_is_seen_no_more_in_any_place(
    there: list[tuple[str, str, str]], recorded: set[str], declared: set[str]
) -> None:
    by_place = {(place, number): shown(place, f"sha256:{number}", phase=phase) for place, number, phase in there}
    before = Observation(tuple(by_place.values()))

    after = seen_once(
        before, recorded={(one, "sha256:1") for one in recorded}, declared={"web": tuple(declared)}
    )  # fmt: skip

    what, still = ({(one.id, one.own("phase")) for one in each.artifacts} for each in (before, after))
    assert still == what
    assert all(one in after.artifacts for one in before.artifacts if one.location in declared)


def stored(place: str, artifact_id: str = "sha256:1", **tags: str) -> Seen:
    """What a build left; a copy has its build for its run."""
    return shown(place, artifact_id, **{"build": "20261122T101530Z-1a2b3c4", "run": "pipeline-7", **tags})


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ((stored("a"), stored("b")), True),
        ((stored("a"), stored("b"), stored("a", "sha256:2"), stored("b", "sha256:2")), True),
        ((stored("a"), stored("b"), stored("c")), True),
        ((stored("a"),), False),
        ((stored("a"), stored("c")), False),
        ((stored("a"), stored("b", phase="stable")), False),
        ((stored("a"), stored("b"), stored("b", "sha256:2")), False),
        ((stored("a"), stored("b"), stored("a", "sha256:2")), False),
        ((stored("a", run="20261122T101530Z-1a2b3c4"), stored("b", run="20261122T101530Z-1a2b3c4")), False),
        ((stored("a", adopted="2026-11-22T10:15:30Z"), stored("b", adopted="2026-11-22T10:15:30Z")), False),
        ((shown("a"), shown("b")), False),
    ],
)
def test_two_locations_that_show_the_very_same_are_told(
    an_image: Callable[..., Image], seen: tuple[Seen, ...], *, told: bool
) -> None:
    image = an_image(regions=("a", "b"))
    notes = list(seen_by_two_names(image, seen))
    assert [note.partition(" show")[0] for note in notes] == (["a and b"] if told else [])
