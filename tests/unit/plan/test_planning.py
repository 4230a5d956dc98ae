from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.declaration import Limits
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Image
from reconciler.model.observation import TAG_PREFIX, Observation
from reconciler.model.plan import Cause, PlannedImage, PlanOptions
from reconciler.plan.diff import decide
from reconciler.plan.graph import _brings_to, pin_to_recorded
from reconciler.plan.planning import FleetPlan, Known, make_plan
from reconciler.plan.transitions import as_ruled
from reconciler.words import markdown, plans

Make = Callable[..., Any]
NEW_FILE = {"web.pkr.hcl": "b" * 40}


@pytest.fixture(scope="session")
def chain(an_image: Make) -> Callable[..., tuple[Image, ...]]:
    """Three images, each built on the one before it; what is declared of one is given by its name."""

    def make(**declared: dict[str, Any]) -> tuple[Image, ...]:
        on = {"web": {"source": {"image": "base"}}, "shop": {"source": {"image": "web"}}}
        return tuple(
            an_image(name, **{**on.get(name, {}), **declared.get(name, {})}) for name in ("base", "web", "shop")
        )

    return make


@pytest.fixture(scope="session")
def settled(what_is_known: Make, plan_carried_out: Make) -> Callable[..., Known]:
    """What is known of a fleet after its first run."""

    def first_run(*images: Image, **more: Any) -> Known:
        known = what_is_known(*images, **more)
        result: Known = plan_carried_out(known, make_plan(known))
        return result

    return first_run


def with_images(known: Known, *images: Image, **more: Any) -> Known:
    fleet = replace(known.fleet, images={image.name: image for image in images})
    return replace(known, fleet=fleet, **more)


def actions(planned: FleetPlan) -> dict[str, tuple[str, ...]]:
    return {image.image: image.actions for image in planned.plan.images}


def of(planned: FleetPlan, name: str) -> PlannedImage:
    return next(image for image in planned.plan.images if image.image == name)


class TestChain:
    def test_children_wait_for_their_parents_in_the_same_run(self, chain: Make, what_is_known: Make) -> None:
        planned = make_plan(what_is_known(*chain()))

        assert [image.image for image in planned.plan.images] == ["base", "web", "shop"]
        assert [image.blocked_by for image in planned.plan.images] == [(), ("base",), ("web",)]
        assert set(actions(planned).values()) == {("build",)}

    def test_a_rebuilt_parent_gives_its_descendants_new_keys(self, chain: Make, settled: Make) -> None:
        known = settled(*chain())
        assert not make_plan(known).plan.drifted

        planned = make_plan(with_images(known, *chain(base={"files": NEW_FILE})))

        assert [image.reasons[0].code for image in planned.plan.drifted] == [
            "inputs-changed", "parent-rebuilt", "parent-rebuilt",
        ]  # fmt: skip
        assert of(planned, "web").reasons[0].now == "base (this run)"

    def test_a_parent_that_is_built_again_with_the_same_key_leaves_its_children(
        self, chain: Make, settled: Make
    ) -> None:
        known = settled(*chain())
        left = tuple(one for one in known.observation.artifacts if one.own("image") != "base")

        planned = make_plan(replace(known, observation=Observation(artifacts=left)))

        assert actions(planned) == {"base": ("build",), "web": ("none",), "shop": ("none",)}
        assert not of(planned, "web").blocked_by

    def test_a_child_of_stable_neither_follows_nor_awaits_a_candidate_without_a_verdict(
        self, chain: Make, settled: Make
    ) -> None:
        known = settled(*chain())
        validated = {"files": NEW_FILE, "validation": {"required": True}}

        planned = make_plan(with_images(known, *chain(base=validated, web={"files": NEW_FILE})))

        assert actions(planned)["base"] == ("build",)
        # The child has drifted by itself; its parent's failure would be no reason to skip it.
        assert [reason.code for reason in of(planned, "web").reasons] == ["inputs-changed"]
        assert of(planned, "web").blocked_by == ()

    def test_a_child_of_candidate_follows_it(self, chain: Make, settled: Make) -> None:
        on_candidate = {"source": {"image": "base", "channel": "candidate"}}
        known = settled(*chain(web=on_candidate))
        validated = {"files": NEW_FILE, "validation": {"required": True}}

        planned = make_plan(with_images(known, *chain(base=validated, web=on_candidate)))

        assert of(planned, "web").reasons[0].code == "parent-rebuilt"
        assert of(planned, "web").blocked_by == ("base",)

    def test_a_parent_of_which_all_is_revoked_says_so(self, chain: Make, settled: Make) -> None:
        images = chain()
        lock = settled(*images).locks["base"]
        (build,) = lock.builds
        cause = {build.id: Cause("leaked", origin=("base", build.id))}
        revoked = as_ruled(lock, images[0], cause, at="2026-11-30T00:00:00Z")

        pinned = pin_to_recorded(next(one for one in images if one.name == "web"), revoked)

        assert pinned.missing == f"waits for base: it has no stable build: {build.id} is revoked"

    def test_a_parent_that_awaits_its_first_verdict_is_waited_for(
        self, chain: Make, settled: Make, plan_carried_out: Make
    ) -> None:
        known = settled(*chain(base={"validation": {"required": True}}))

        planned = make_plan(known)

        assert actions(planned) == {"base": ("none",), "web": ("none",), "shop": ("none",)}
        assert of(planned, "web").waits_for == "waits for base: it has no stable build yet"
        assert of(planned, "web").sync == "drifted"
        assert plan_carried_out(known, planned).locks == known.locks

    def test_a_child_follows_a_parent_whose_candidate_becomes_stable_in_the_same_run(
        self, chain: Make, settled: Make, plan_carried_out: Make
    ) -> None:
        # Given a parent with a candidate that was never validated
        known = settled(*chain())
        known = with_images(known, *chain(base={"files": NEW_FILE, "validation": {"required": True}}))
        known = plan_carried_out(known, make_plan(known))
        # When no verdict is required any more
        freed = with_images(known, *chain(base={"files": NEW_FILE}))
        planned = make_plan(freed)

        # Then the child is rebuilt in this run, and the next one has nothing to do.
        assert actions(planned)["base"] == ("promote",)
        assert actions(planned)["web"] == ("build",)
        assert of(planned, "web").blocked_by == ("base",)
        assert not make_plan(plan_carried_out(freed, planned)).plan.drifted

    def test_a_copy_of_the_parent_is_awaited_only_by_a_child_that_is_built_there(
        self, an_image: Make, settled: Make
    ) -> None:
        regions = ["us-east-1", "eu-west-1"]
        base = an_image("base", regions=regions)
        near, far = (
            an_image(name, source={"image": "base"}, regions=[region])
            for name, region in zip(("near", "far"), regions, strict=True)
        )
        known = settled(base, near, far)
        left = tuple(
            one for one in known.observation.artifacts if (one.own("image"), one.location) != ("base", "eu-west-1")
        )
        near, far = (
            an_image(one.name, source={"image": "base"}, regions=one.locations, files=NEW_FILE) for one in (near, far)
        )

        planned = make_plan(with_images(known, base, near, far, observation=Observation(artifacts=left)))

        assert actions(planned)["base"] == ("copy",)
        assert of(planned, "near").blocked_by == ()
        assert of(planned, "far").blocked_by == ("base",)

    def test_a_child_that_is_only_tagged_anew_waits_for_nobody(self, chain: Make, settled: Make) -> None:
        known = settled(*chain())
        left = tuple(one for one in known.observation.artifacts if one.own("image") != "base")

        tagged = chain(web={"tags": {"CostCenter": "42"}})
        planned = make_plan(with_images(known, *tagged, observation=Observation(artifacts=left)))

        assert actions(planned)["web"] == ("retag",)
        assert of(planned, "web").blocked_by == ()

    def test_children_of_an_invalid_parent_keep_to_what_is_recorded_of_it(self, chain: Make, settled: Make) -> None:
        known = settled(*chain())
        _, web, shop = chain()
        problem = UserError('unknown key "regoins"', where=Place("desired/base/image.yaml", 7, 3))
        fleet = replace(known.fleet, images={"web": web, "shop": shop}, problems={"base": (problem,)})

        planned = make_plan(replace(known, fleet=fleet))

        assert actions(planned) == {"web": ("none",), "shop": ("none",), "base": ("none",)}
        assert of(planned, "web").sync == "in-sync"
        assert planned.plan.errored
        assert of(planned, "base").errors == ('desired/base/image.yaml:7:3: unknown key "regoins"',)

    def test_asking_for_one_image_plans_what_it_is_built_on_and_no_more(self, chain: Make, what_is_known: Make) -> None:
        planned = make_plan(what_is_known(*chain(), options=PlanOptions(images=("web",))))
        assert set(actions(planned)) == {"base", "web"}

    @settings(max_examples=60)
    @given(
        changed=st.dictionaries(
            st.sampled_from(["base", "web", "shop"]),
            st.fixed_dictionaries(
                {},
                optional={
                    "files": st.just(NEW_FILE),
                    "regions": st.just(["us-east-1", "eu-west-1"]),
                    "tags": st.just({"CostCenter": "42"}),
                    "validation": st.just({"required": True}),
                },
            ),
        ),
        back=st.booleans(),
        gone=st.sets(st.sampled_from(["base", "web", "shop"])),
        force=st.sets(st.sampled_from(["base", "web", "shop"])),
    )
    def test_a_fleet_is_settled_by_one_run(
        self, *, chain: Make, settled: Make, plan_carried_out: Make,
        changed: dict[str, dict[str, Any]], back: bool, gone: set[str], force: set[str],
    ) -> None:  # fmt: skip
        known = with_images(settled(*chain()), *chain(**changed))
        if back:  # through what was changed and back: nothing is left pending
            known = with_images(plan_carried_out(known, make_plan(known)), *chain())
        left = tuple(one for one in known.observation.artifacts if one.own("image") not in gone)
        known = replace(
            known, observation=Observation(artifacts=left), options=PlanOptions(force=tuple(sorted(force)))
        )  # fmt: skip

        after = plan_carried_out(known, make_plan(known))

        second = make_plan(after)
        assert set(actions(second).values()) == {("none",)}
        assert {reason.code for image in second.plan.images for reason in image.reasons} <= {"region-extra"}
        assert plan_carried_out(after, second).locks == after.locks


class TestRenamed:
    def test_the_history_goes_on_under_the_new_name(
        self, an_image: Make, settled: Make, plan_carried_out: Make
    ) -> None:
        known = settled(an_image("web"))
        renamed = with_images(known, an_image("www", moved_from="web"), pins={"www": known.pins["web"]})

        planned = make_plan(renamed)

        assert actions(planned) == {"www": ("retag", "record")}
        after = plan_carried_out(renamed, planned)
        assert set(after.locks) == {"www"}
        assert not make_plan(after).plan.drifted

    def test_the_line_may_stay_after_it(self, an_image: Make, settled: Make) -> None:
        assert not make_plan(settled(an_image("www", moved_from="web"))).plan.drifted

    def test_builds_from_before_the_rename_are_still_adopted_after_it(
        self, an_image: Make, settled: Make, plan_carried_out: Make
    ) -> None:
        known = settled(an_image("web"))
        known = with_images(known, an_image("web", files=NEW_FILE))
        known = plan_carried_out(known, make_plan(known))
        pins = {"www": known.pins["web"]}
        renamed = with_images(known, an_image("www", files=NEW_FILE, moved_from="web"), pins=pins)
        renamed = plan_carried_out(renamed, make_plan(renamed))

        reverted = with_images(renamed, an_image("www", moved_from="web"))

        assert actions(make_plan(reverted)) == {"www": ("adopt",)}

    def test_a_broken_lockfile_of_the_former_name_is_not_taken_for_no_history(
        self, an_image: Make, what_is_known: Make
    ) -> None:
        broken = {"web": UserError("conflict markers", where=Place("state/web.lock.json", 4))}

        planned = make_plan(what_is_known(an_image("www", moved_from="web"), broken_locks=broken))

        assert actions(planned) == {"www": ("none",)}
        assert planned.plan.errored


class TestTags:
    def test_an_artifact_whose_name_tag_was_changed_is_tagged_anew_and_not_rebuilt(
        self, an_image: Make, settled: Make
    ) -> None:
        known = settled(an_image("web"))
        for image in ({"reconciler:image": "other"}, {"reconciler:image": ""}):
            seen = tuple(replace(one, tags={**one.tags, **image}) for one in known.observation.artifacts)
            planned = make_plan(replace(known, observation=Observation(artifacts=seen)))
            assert actions(planned) == {"web": ("retag",)}

    def test_an_artifact_that_says_no_image_is_nobodys(
        self, an_image: Make, settled: Make, what_is_known: Make
    ) -> None:
        seen = settled(an_image("web")).observation.artifacts
        nameless = tuple(
            replace(one, tags={name: value for name, value in one.tags.items() if name != "reconciler:image"})
            for one in seen
        )
        planned = make_plan(what_is_known(an_image("web"), observation=Observation(artifacts=nameless)))
        assert actions(planned) == {"web": ("build",)}

    def test_what_the_listing_left_out_and_is_there_counts(self, an_image: Make, settled: Make) -> None:
        known = settled(an_image("web"))
        bare = tuple(replace(one, tags={}) for one in known.observation.artifacts)
        planned = make_plan(replace(known, observation=Observation(), unlisted={"web": bare}))
        assert actions(planned) == {"web": ("retag",)}


class TestRemoved:
    def test_it_is_told_and_retired_only_when_asked(self, an_image: Make, settled: Make) -> None:
        known = with_images(settled(an_image("web"), an_image("api")), an_image("api"))

        told = make_plan(known)
        asked = make_plan(replace(known, options=PlanOptions(prune=True)))

        assert (actions(told)["web"], of(told, "web").reasons[0].code) == (("none",), "removed")
        assert actions(asked)["web"] == ("retire",)
        assert asked.decisions[-1].retire == known.locks["web"].builds[0].artifacts

    @pytest.mark.parametrize("child", ["web", "other"])
    def test_what_others_built_on_it_is_told(self, an_image: Make, settled: Make, child: str) -> None:
        known = settled(an_image("base"), an_image("web", source={"image": "base"}), an_image("other"))
        (build,) = known.locks[child].builds
        left = with_images(known, an_image(child))

        notes = of(make_plan(left), "base").notes

        told = (
            f"built on it: web {build.id}; that stays, and once this is pruned no revocation of what it stands on can"
        )
        assert any(told in note for note in notes) == (child == "web")

    def test_a_broken_lockfile_of_a_removed_image_is_not_acted_on(self, an_image: Make, what_is_known: Make) -> None:
        broken = {"OLD Name": UserError("not a name", where=Place("state/OLD Name.lock.json"))}
        planned = make_plan(what_is_known(an_image(), broken_locks=broken, options=PlanOptions(prune=True)))
        assert actions(planned)["OLD Name"] == ("none",)


def test_a_preview_under_a_former_name_is_not_an_abandoned_images(an_image: Make, settled: Make) -> None:
    """Given a preview that outlived its branch, when its image is renamed, then no name of its own retires it."""
    known = settled(an_image("web"))
    tags = {"image": "old", "key": "sha256:1", "build": "20200101T000000Z-1a2b3c4", "phase": "preliminary"}
    seen = known.observation.artifacts[0]
    preview = replace(seen, id="ami-0old", tags={f"{TAG_PREFIX}{name}": value for name, value in tags.items()})
    there = replace(
        known, observation=Observation(artifacts=(*known.observation.artifacts, preview)), live_branches=frozenset()
    )
    assert actions(make_plan(there))["old"] == ("retire",), "nobody ever declared it"
    renamed = with_images(there, an_image("web", moved_from="old"))
    assert "old" not in actions(make_plan(renamed))


def test_a_folder_whose_name_is_none_is_reported_and_nothing_worse(an_image: Make, what_is_known: Make) -> None:
    problem = UserError("not a name", where=Place("desired/Web App"))
    planned = make_plan(what_is_known(an_image(), problems={"Web App": (problem,)}))
    assert of(planned, "Web App").errors == ("desired/Web App: not a name",)
    assert planned.plan.summary == {"build": 1, "none": 1}


class TestPlanId:
    def test_it_is_the_same_for_the_same_knowledge_whatever_the_time(self, chain: Make, settled: Make) -> None:
        known = with_images(settled(*chain()), *chain(web={"files": NEW_FILE}))
        later = replace(
            known, now=known.now + timedelta(hours=3), locks=dict(sorted(known.locks.items(), reverse=True))
        )
        assert make_plan(known).plan.plan_id == make_plan(later).plan.plan_id

    def test_it_is_the_same_in_whatever_order_images_and_artifacts_are_listed(self, chain: Make, settled: Make) -> None:
        known = with_images(settled(*chain()), *chain(base={"files": NEW_FILE}))
        turned = with_images(known, *reversed(chain(base={"files": NEW_FILE})))
        turned = replace(turned, observation=Observation(artifacts=known.observation.artifacts[::-1]))
        assert make_plan(known) == make_plan(turned)

    def test_it_changes_with_whatever_the_plan_was_made_from(
        self, chain: Make, settled: Make, what_is_known: Make
    ) -> None:
        known = with_images(settled(*chain()), *chain(web={"files": NEW_FILE}))
        web = known.locks["web"]
        variants = [
            known,
            with_images(known, *chain(web={"files": NEW_FILE}), tree=what_is_known(tree_oid="1" * 40).tree),
            with_images(known, *chain(web={"files": {"web.pkr.hcl": "c" * 40}})),
            replace(known, options=PlanOptions(refresh=True)),
            replace(
                known,
                locks={
                    **known.locks,
                    "web": web.model_copy(update={"channels": web.channels.model_copy(update={"stable": None})}),
                },
            ),
            replace(known, observation=Observation()),
        ]
        assert len({make_plan(one).plan.plan_id for one in variants}) == len(variants)


def test_a_plan_survives_its_own_json(chain: Make, what_is_known: Make) -> None:
    plan = make_plan(what_is_known(*chain())).plan
    assert type(plan).model_validate_json(plan.model_dump_json(exclude_none=True)) == plan


def test_a_plan_says_which_builds_may_wait_for_others_of_their_kind(an_image: Make, what_is_known: Make) -> None:
    known = what_is_known(an_image("web"), an_image("api"))
    limits = {most: Limits.model_validate({"kinds": {"ami": {"parallel_builds": most}}}) for most in (1, 2)}

    def notes(most: int) -> list[tuple[str, ...]]:
        settings = known.fleet.settings.model_copy(update={"limits": limits[most]})
        bounded = replace(known, fleet=replace(known.fleet, settings=settings))
        return [image.notes for image in make_plan(bounded).plan.images]

    assert notes(1) == [("of the kind ami 1 at once (limits.kinds.ami.parallel_builds)",)] * 2
    assert notes(2) == [(), ()]


def test_what_could_not_be_read_makes_a_plan_incomplete(an_image: Make, settled: Make) -> None:
    known = settled(an_image("web"), an_image("api", regions=["eu-west-1"]))
    blind = replace(known.observation, unreadable={"eu-west-1": "RequestLimitExceeded after 8 tries"})
    planned = make_plan(replace(known, observation=blind))
    assert not planned.plan.complete
    assert not planned.plan.applyable
    assert [image.image for image in planned.plan.images if image.unknown] == ["api"]


def test_what_to_do_about_what_could_not_be_read_stands_in_the_plan_and_is_told_line_by_line(
    an_image: Make, settled: Make
) -> None:
    known = settled(an_image("web"), an_image("api"))
    blind = replace(
        known.observation, unreadable={"us-east-1": "it is not mounted"}, hints={"us-east-1": ("mount it", "or ask")}
    )

    planned = make_plan(replace(known, observation=blind)).plan

    assert [one.unknown for one in planned.images] == [("us-east-1: it is not mounted\n  mount it\n  or ask",)] * 2
    assert plans.facts(planned.images[0]) == ("us-east-1: it is not mounted", "mount it", "or ask")


def test_offline_nothing_can_be_applied_and_a_new_chain_is_still_shown(chain: Make, what_is_known: Make) -> None:
    planned = make_plan(what_is_known(*chain(), pins={}, options=PlanOptions(offline=True)))
    assert set(actions(planned).values()) == {("build",)}
    assert of(planned, "shop").blocked_by == ("web",)
    assert not planned.plan.applyable


class TestNotes:
    """What is to be known before it is built."""

    def test_what_validate_notes_is_said_of_what_will_be_built_alone(
        self, settled: Callable[..., Known], an_image: Make
    ) -> None:
        base, web = (replace(an_image(name), notes=("its test will fail",)) for name in ("base", "web"))
        known = settled(base, web)
        changed = replace(an_image("web", files=NEW_FILE), notes=("its test will fail",))

        assert [image.notes for image in make_plan(known).plan.images] == [(), ()]
        plan = make_plan(with_images(known, base, changed)).plan
        assert {image.image: image.notes for image in plan.images} == {"base": (), "web": ("its test will fail",)}
        assert "notes" not in plan.images[0].model_dump_json(exclude_none=True)
        assert plans.notes(plan) == ("web: its test will fail",)
        assert "- web: its test will fail" in markdown.render(plan)

    def test_the_same_of_many_is_said_once(self, what_is_known: Make, an_image: Make) -> None:
        images = [replace(an_image(f"i{number}"), notes=("careful",)) for number in range(9)]

        assert plans.notes(make_plan(what_is_known(*images)).plan) == ("i0, i1, i2, i3, i4, i5 and 3 more: careful",)

    def test_the_same_of_each_images_own_builder_is_said_once(self, what_is_known: Make, an_image: Make) -> None:
        images = [
            replace(an_image(name), notes=(f"amazon-ebs.{name}: not encrypted (from 1.7.0 on)",)) for name in ("a", "b")
        ]

        assert plans.notes(make_plan(what_is_known(*images)).plan) == ("a, b: not encrypted (from 1.7.0 on)",)
        alone = make_plan(what_is_known(*images[:1])).plan
        assert plans.notes(alone) == ("a: amazon-ebs.a: not encrypted (from 1.7.0 on)",)

    def test_a_folder_that_was_moved_is_asked_about(self, settled: Callable[..., Known], an_image: Make) -> None:
        known = settled(an_image("web"))

        (note,) = of(make_plan(with_images(known, an_image("frontend"))), "frontend").notes

        assert note.startswith("this is what web was built of, which is declared no more")
        assert "`moved_from: web` in desired/frontend/image.yaml" in note

    @pytest.mark.parametrize("declared", [{"moved_from": "web"}, {"files": NEW_FILE}])
    def test_one_that_says_so_or_differs_is_not(
        self, declared: dict[str, Any], settled: Callable[..., Known], an_image: Make
    ) -> None:
        known = settled(an_image("web"))

        assert of(make_plan(with_images(known, an_image("frontend", **declared))), "frontend").notes == ()

    def test_a_copy_of_what_stays_is_no_move(self, settled: Callable[..., Known], an_image: Make) -> None:
        known = settled(an_image("web"))

        assert of(make_plan(with_images(known, an_image("web"), an_image("copy"))), "copy").notes == ()


def test_a_run_brings_a_parent_where_its_own_build_is_copied_to_and_nowhere_else(built: Make) -> None:
    situation = built()
    decision = decide(situation)
    copied = replace(
        decision, missing_locations=("eu-west-1",), planned=decision.planned.model_copy(update={"actions": ("copy",)})
    )
    pin = situation.lock.builds[0].as_pin("base")
    other = pin.model_copy(update={"build": "20301122T101530Z-1a2b3c4"})

    assert _brings_to(["eu-west-1"], copied, pin)
    assert not _brings_to(["eu-west-2"], copied, pin)
    assert not _brings_to(["eu-west-1"], replace(copied, planned=decision.planned), pin), "nothing is done"
    assert not _brings_to(["eu-west-1"], copied, other)
    assert not _brings_to(["eu-west-1"], copied, None)
