"""An AMI that exists is taken into state/ as what it is: marked, not built anew, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.errors import Contention, Transient, UserError
from reconciler.model.events import Warned
from reconciler.model.observation import Seen
from reconciler.model.smoke_test import FailedTest, SmokeTestResult
from reconciler.steps.run import Result
from tests.integration.loop.effects import Effects, Killed, dying_at, failing, meanwhile, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_edited_state import assert_untouched, edit, foreign, names
from tests.integration.loop.world import (
    AP,
    EU,
    FLEET,
    ON_DEBIAN,
    US,
    World,
    git,
    no_image_files,
    statuses,
)

MADE = "20260101T000000Z"
FAILED = SmokeTestResult(status="failed", tests=9, failed=(FailedTest(test="test_web", what="assert False"),))


def by_hand(world: World, *regions: str, name: str = "golden-7", tags: dict[str, str] | None = None) -> list[Seen]:
    """An AMI that somebody made, in each of these regions."""
    return [world.registry.seed(region, name, tags=tags or {}) for region in regions]


def ids(*artifacts: Seen) -> list[str]:
    return [one.id for one in artifacts]


def test_it_is_recorded_as_what_it_is_and_counts_at_once(world: World) -> None:
    us, eu = by_hand(world, US, EU)
    result = world.controller().adopt("base", us.id, eu.id)

    assert result.status == "adopted"
    lock = world.lock("base")
    (build,) = lock.builds
    assert build.id.startswith(f"{MADE}-")
    assert build.adopted is not None
    assert build.adopted.made == "2026-01-01T00:00:00Z"
    assert (build.provenance, build.packer, build.seconds, build.started) == (None, None, None, None)
    assert build.smoke_test == SmokeTestResult(status="skipped", why="taken as it was found")
    assert [(one.location, one.id, one.builder) for one in build.artifacts] == [
        (EU, eu.id, "adopted"), (US, us.id, "adopted"),
    ]  # fmt: skip
    assert (lock.channels.candidate, lock.channels.stable) == (build.id, build.id)
    assert world.statements() == []
    assert world.sboms() == []
    body = git(world.origin, "log", "-1", "--format=%B", "main")
    assert body.startswith(f"base: adopt {build.id} (as it was found)\n")
    assert "Taken as it was found, made 2026-01-01: what it was built from is not known." in body
    assert f"image/base/{build.id}" in world.tags()


def test_nothing_is_built_because_of_it_and_nothing_is_left_to_do(world: World) -> None:
    world.commit({**no_image_files("web"), **no_image_files("api"), **no_image_files("tools")})
    us, eu = by_hand(world, US, EU)
    head = world.head()
    world.controller().adopt("base", us.id, eu.id)
    after = world.controller("elsewhere")

    assert after.plan()["base"].sync == "in-sync"
    assert after.reconcile().results == ()
    world.clock.advance(hours=1)
    assert_settled(world, since=head)


def test_tags_are_all_that_is_written_to_the_registry(world: World) -> None:
    effects = Effects()
    (us,) = by_hand(world, US, tags={"Owner": "ada"})
    surround(world.controller(), effects.around).adopt("base", us.id)

    assert (effects.done[0], set(effects.done[1:])) == ("push", {f"tag {US}"})
    tagged = world.registry.find(US, us.id)
    assert tagged is not None
    assert tagged.tags["Owner"] == "ada"
    assert (tagged.own("fleet"), tagged.own("image"), tagged.own("phase")) == (FLEET, "base", "stable")
    assert tagged.own("key") == world.lock("base").builds[0].key
    assert tagged.own("adopted") is not None
    assert tagged.own("smoke") is None


def test_regions_that_it_lacks_get_a_copy_by_the_next_run(world: World) -> None:
    (us,) = by_hand(world, US)
    world.controller().adopt("base", us.id)
    after = world.controller()

    assert after.plan("base")["base"].actions == ("copy",)
    assert statuses(after.reconcile("base")) == {"base": "changed"}
    assert after.built == []
    build = world.lock("base").builds[0]
    assert [one.location for one in build.artifacts] == [EU, US]
    assert (build.provenance, build.adopted is not None) == (None, True)


def test_a_later_change_of_inputs_builds_anew_and_names_what_changed(world: World) -> None:
    us, eu = by_hand(world, US, EU)
    world.controller().adopt("base", us.id, eu.id)
    world.commit({"desired/base/setup.sh": "echo more\n"})
    after = world.controller()

    (reason,) = after.plan("base")["base"].reasons
    assert (reason.code, reason.files) == ("inputs-changed", ("desired/base/setup.sh",))
    assert statuses(after.reconcile("base")) == {"base": "built"}
    newest, before = world.lock("base").builds
    assert (newest.adopted, before.adopted is not None) == (None, True)


def test_it_is_as_old_as_it_is_so_a_refresh_builds_anew_and_nothing_else_does(world: World) -> None:
    world.commit({"desired/base/image.yaml": f"{ON_DEBIAN}refresh: {{max_age: 30d, on_source_change: false}}\n"})
    us, eu = by_hand(world, US, EU)
    world.controller().adopt("base", us.id, eu.id)

    assert world.controller().plan("base")["base"].sync == "in-sync"
    (reason,) = world.controller().plan("base", refresh=True)["base"].reasons
    assert (reason.code, reason.was) == ("expired", "built 2026-01-01")


def test_a_child_is_taken_over_after_its_parent(world: World) -> None:
    (base,) = by_hand(world, US)
    (web,) = by_hand(world, US, name="web-3")
    with pytest.raises(UserError, match=r"web is built on base, which is to be built first") as caught:
        world.controller().adopt("web", web.id)
    assert "or adopt base as well, before web" in str(caught.value)

    world.controller().adopt("base", base.id)
    world.controller().adopt("web", web.id)

    pin = world.lock("web").builds[0].source
    assert pin is not None
    assert (pin.image, pin.build) == ("base", world.lock("base").builds[0].id)


def test_what_waits_for_a_verdict_is_a_candidate_and_nobody_has_judged_it(world: World) -> None:
    world.commit({"desired/base/image.yaml": f"{ON_DEBIAN}validation: {{required: true}}\n"})
    us, eu = by_hand(world, US, EU, tags={"reconciler:verdict": "passed"})
    world.controller().adopt("base", us.id, eu.id)
    lock = world.lock("base")
    assert (lock.channels.candidate, lock.channels.stable) == (lock.builds[0].id, None)
    world.controller().reconcile("base")
    assert world.lock("base").channels.stable is None

    world.judge("base", "passed")
    world.controller().reconcile("base")
    assert world.lock("base").channels.stable == lock.builds[0].id


def test_to_ask_again_changes_nothing(world: World) -> None:
    us, eu = by_hand(world, US, EU)
    world.controller().adopt("base", us.id, eu.id)
    head, artifacts = world.head(), world.registry.artifacts
    world.clock.advance(hours=1)

    for named in ([us.id, eu.id], [f"{US}:{us.id}"]):
        assert world.controller().adopt("base", *named).status == "unchanged"

    assert (world.head(), world.registry.artifacts) == (head, artifacts)


# What is refused, and leaves everything as it was.


def _another_accounts(world: World) -> list[str]:
    (us,) = by_hand(world, US)
    world.registry.of_others.add(us.id)
    return [us.id]


def _pending(world: World) -> list[str]:
    return [world.registry.seed(US, "golden", tags={}, state="pending").id]


def _of_another_fleet(world: World) -> list[str]:
    return ids(*by_hand(world, US, tags={"reconciler:fleet": "other/images"}))


def _of_another_image(world: World) -> list[str]:
    return ids(*by_hand(world, US, tags={"reconciler:fleet": FLEET, "reconciler:image": "web"}))


def _built_here(world: World) -> list[str]:
    build = "20261101T000000Z-1a2b3c4"
    tags = {"reconciler:fleet": FLEET, "reconciler:image": "base", "reconciler:build": build}
    return ids(*by_hand(world, US, tags=tags))


def _recorded_elsewhere(world: World) -> list[str]:
    """Somebody took the tags off: the lockfile says whose it is all the same."""
    (us,) = by_hand(world, US)
    world.controller().adopt("tools", us.id)
    world.registry._artifacts[US, us.id] = replace(us, tags={})
    return [us.id]


def _two_in_one_region(world: World) -> list[str]:
    return ids(*by_hand(world, US, US))


def _nowhere(world: World) -> list[str]:
    del world
    return ["ami-0123456789abcdef0"]


def _in_another_region(world: World) -> list[str]:
    (eu,) = by_hand(world, EU)
    return [f"{US}:{eu.id}"]


def _where_it_is_not_declared(world: World) -> list[str]:
    (ap,) = by_hand(world, AP)
    return [f"{AP}:{ap.id}"]


def _its_own_source(world: World) -> list[str]:
    (us,) = by_hand(world, US)
    world.commit({"desired/base/image.yaml": f"source: {{ami: {{id: {us.id}}}}}\n"})
    return [us.id]


def _full_of_tags(world: World) -> list[str]:
    return ids(*by_hand(world, US, tags={f"tag-{number}": "" for number in range(45)}))


def _with_a_lockfile_that_cannot_be_read(world: World) -> list[str]:
    world.commit({"state/tools.lock.json": "<<<<<<< HEAD\n"})
    return ids(*by_hand(world, US))


def _in_sync_already(world: World) -> list[str]:
    world.controller().reconcile("base")
    return ids(*by_hand(world, US))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arrange", "why"),
    [
        (_another_accounts, "ami-[0-9a-f]+ in us-east-1 belongs to another account"),
        (_pending, "ami-[0-9a-f]+ in us-east-1 is pending"),
        (_of_another_fleet, "is of another fleet: its tag reconciler:fleet is 'other/images'"),
        (_of_another_image, "is of another image: its tag reconciler:image is 'web'"),
        (_built_here, "was built here: it is 20261101T000000Z-1a2b3c4 of base"),
        (_recorded_elsewhere, "ami-[0-9a-f]+ in us-east-1 is 20260101T000000Z-[0-9a-f]{7} of tools"),
        (_two_in_one_region, "are both in us-east-1"),
        (_nowhere, "there is no ami-0123456789abcdef0 in us-east-1, eu-west-1"),
        (_in_another_region, r"there is no ami-[0-9a-f]+ in us-east-1\n"),
        (_where_it_is_not_declared, "ap-south-1 is not among the regions of base"),
        (_its_own_source, "ami-[0-9a-f]+ in us-east-1 is what base is built on"),
        (_full_of_tags, "would have 5[0-9] tags, and EC2 takes 50"),
        (_with_a_lockfile_that_cannot_be_read, "whether ami-[0-9a-f]+ in us-east-1 is another image's is not known"),
        (_in_sync_already, "base is recorded as [0-9TZ]+-[0-9a-f]{7}, which is what is declared"),
    ],
)
def test_what_is_not_there_to_be_taken_is_refused_and_left_as_it_is(
    world: World, arrange: Callable[[World], list[str]], why: str
) -> None:
    named = arrange(world)
    controller = world.controller("elsewhere")
    head, artifacts = world.head(), world.registry.artifacts

    with pytest.raises(UserError, match=why) as caught:
        controller.adopt("base", *named)

    assert caught.value.hint or arrange is _with_a_lockfile_that_cannot_be_read
    assert (world.head(), world.registry.artifacts) == (head, artifacts)


def test_a_region_that_cannot_be_read_is_not_taken_for_one_without_it(world: World) -> None:
    (eu,) = by_hand(world, EU)
    world.registry.unreadable[US] = "RequestLimitExceeded after 8 tries"

    with pytest.raises(Transient):
        world.controller().adopt("base", eu.id)


# Tested when somebody asks.


def test_with_a_test_it_is_recorded_with_what_was_found(world: World) -> None:
    us, eu = by_hand(world, US, EU)
    controller = world.controller()
    result = controller.adopt("base", us.id, eu.id, test=True)

    assert result.status == "adopted"
    build = world.lock("base").builds[0]
    assert build.smoke_test is not None
    assert (build.smoke_test.status, build.provenance, len(world.sboms())) == ("passed", None, 1)
    assert [one.own("smoke") for one in world.artifacts("base")] == ["passed", "passed"]
    assert [request.packer_keys for request in controller.tester.requests] == [frozenset()]


def test_what_does_not_pass_is_not_adopted(world: World) -> None:
    (us,) = by_hand(world, US)
    head = world.head()
    controller = world.controller()
    controller.tester.results = {"base": FAILED}
    result = controller.adopt("base", us.id, test=True)

    assert (result.status, result.why) == ("failed", "smoke test failed: test_web: assert False")
    assert (world.head(), world.registry.artifacts, world.instances.running) == (head, (us,), ())


def test_it_can_be_tested_later(world: World) -> None:
    us, eu = by_hand(world, US, EU)
    world.controller().adopt("base", us.id, eu.id)
    before = world.lock("base").builds[0]
    world.clock.advance(hours=1)

    assert world.controller().adopt("base", us.id, eu.id, test=True).status == "adopted"

    (build,) = world.lock("base").builds
    assert build.smoke_test is not None
    assert build.smoke_test.status == "passed"
    assert (build.id, build.adopted, build.recorded) == (before.id, before.adopted, before.recorded)
    assert world.controller().plan("base")["base"].sync == "in-sync"


# What goes wrong on the way.


def test_what_could_not_be_tagged_is_tagged_by_the_next_run(world: World) -> None:
    us, eu = by_hand(world, US, EU)
    controller = surround(world.controller(), failing(f"tag {EU}", Transient("throttled")))
    assert controller.adopt("base", us.id, eu.id).status == "adopted"
    warned = [one.what for one in controller.told(Warned, "base") if isinstance(one, Warned)]
    assert warned[0] == f"{eu.id} in {EU} is recorded, and not tagged yet: throttled"

    assert statuses(world.controller().reconcile("base")) == {"base": "changed"}
    assert world.complete("base").keys() == {US, EU}


def test_killed_before_the_tags_the_next_run_writes_them(world: World) -> None:
    us, eu = by_hand(world, US, EU)
    with pytest.raises(Killed):
        surround(world.controller(), dying_at(f"tag {EU}")).adopt("base", us.id, eu.id)

    after = world.controller("elsewhere")
    after.reconcile("base")
    assert after.built == []
    assert world.complete("base").keys() == {US, EU}


def test_of_two_that_take_it_at_once_one_has_it(world: World) -> None:
    (us,) = by_hand(world, US)
    other: list[Result] = []
    first = meanwhile("push", lambda: other.append(world.controller("other").adopt("tools", us.id)))
    result = surround(world.controller(), first).adopt("base", us.id)

    assert other[0].status == "adopted"
    assert result.status == "superseded"
    assert isinstance(result.error, Contention)
    assert world.recorded() == ["tools"]
    assert [one.own("image") for one in world.registry.artifacts] == ["tools"]


def test_a_lockfile_that_was_lost_comes_back_with_what_is_not_known(world: World) -> None:
    """Its key is on the AMI, and says what it stands for, not what it was made of."""
    us, eu = by_hand(world, US, EU)
    world.controller().adopt("base", us.id, eu.id)
    build = world.lock("base").builds[0]
    world.commit({"state/base.lock.json": None})
    git(world.origin, "tag", "--delete", f"image/base/{build.id}")
    world.clock.advance(hours=1)

    assert statuses(world.controller("elsewhere").reconcile("base")) == {"base": "adopted"}

    again = world.lock("base").builds[0]
    assert again.id == build.id
    assert again.adopted is not None
    assert again.provenance is None


def test_a_vote_that_can_not_be_taken_off_keeps_it_from_being_recorded(world: World) -> None:
    # Given an artifact on which somebody voted before anybody here knew it
    world.commit({"desired/base/image.yaml": f"{ON_DEBIAN}validation: {{required: true}}\n"})
    us, eu = by_hand(world, US, EU, tags={"reconciler:verdict": "passed"})
    head = world.head()

    # When it is adopted while nothing can be tagged in a region
    throttled = failing(f"tag {US}", Transient("throttled"))
    with pytest.raises(Transient):
        surround(world.controller(), throttled).adopt("base", us.id, eu.id)

    # Then it is no candidate, for which that vote would count
    assert world.head() == head
    assert "base" not in world.recorded()


def test_to_ask_again_tags_nothing_that_only_the_lockfile_calls_ours(world: World) -> None:
    us, eu = by_hand(world, US, EU)
    world.controller().adopt("base", us.id, eu.id)
    theirs = foreign(world)
    edit(world, "base", names(theirs))
    world.clock.advance(hours=1)

    with pytest.raises(UserError, match=f"names {theirs.id}"):
        world.controller().adopt("base", eu.id)

    assert_untouched(world, theirs)
