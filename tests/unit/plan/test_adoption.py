from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.fleet import Image
from reconciler.model.observation import Seen
from reconciler.model.plan import PlanOptions, Situation
from reconciler.model.source import Pin
from reconciler.plan.diff import decide
from reconciler.plan.key import adoptable, adoptable_by_inputs, wanted

OLD, NEW = "20261101T000000Z-1111111", "20261102T000000Z-2222222"


def artifact(build: str | None = NEW, region: str = "us-east-1", *, ami: str = "ami-0aa", **more: str) -> Seen:
    tags = {"reconciler:key": "sha256:1", "reconciler:inputs": "sha256:i", "reconciler:phase": "stable"}
    tags |= {f"reconciler:{name}": value for name, value in more.items()}
    if build is not None:
        tags["reconciler:build"] = build
    return Seen("ami", region, ami, f"web-{build}", "available", "2026-11-02T00:00:00Z", tags)


def test_the_newest_build_with_the_key_is_adopted_wherever_it_is() -> None:
    seen = [artifact(OLD), artifact(NEW, "eu-west-1"), artifact(NEW, "ap-south-1"), artifact(NEW, key="sha256:2")]

    found = adoptable(seen, key="sha256:1")

    assert [(one.own("build"), one.location) for one in found] == [(NEW, "ap-south-1"), (NEW, "eu-west-1")]


def test_of_two_runs_at_once_the_artifact_that_was_first_is_adopted() -> None:
    first, second = artifact(ami="ami-0ff"), replace(artifact(ami="ami-0aa"), created="2026-11-02T00:00:01Z")

    assert adoptable([second, first], key="sha256:1") == (first,)
    assert adoptable([first, second], key="sha256:1") == (first,)


def test_a_build_id_of_the_future_is_not_adopted_before_the_real_build() -> None:
    # Given a copy of some image, tagged as this one's and as a build of the year 2099.
    forged = artifact("20990101T000000Z-0000000", ami="ami-0bad")

    assert adoptable([forged, artifact(NEW)], key="sha256:1") == (artifact(NEW),)
    assert adoptable([forged], key="sha256:1") == ()


def test_what_is_newest_is_told_by_the_registrys_own_date() -> None:
    # Given an old artifact whose tag says that it is of a later build than the one that was made last.
    boasting = replace(artifact("20261101T235959Z-9999999", ami="ami-0bad"), created="2026-11-01T23:58:00Z")
    real = replace(artifact("20261101T235000Z-2222222"), created="2026-11-02T00:10:00Z")

    assert adoptable([boasting, real], key="sha256:1") == (real,)


def test_a_late_copy_makes_no_build_newer() -> None:
    old = replace(artifact(OLD), created="2026-11-01T00:10:00Z")
    copied = replace(artifact(OLD, "eu-west-1"), created="2026-11-20T00:00:00Z")

    assert adoptable([old, copied, artifact(NEW)], key="sha256:1") == (artifact(NEW),)


def test_a_builder_s_clock_may_be_minutes_off_the_registrys() -> None:
    early = replace(artifact(NEW), created="2026-11-01T23:55:01Z")
    too_early = replace(artifact(NEW), created="2026-11-01T23:54:59Z")

    assert adoptable([early], key="sha256:1") == (early,)
    assert adoptable([too_early], key="sha256:1") == ()


@pytest.mark.parametrize(
    "never",
    [
        artifact(phase="rejected"),
        artifact(phase="revoked"),
        artifact(None),
        artifact("zzz, newer than any date"),
        artifact("20269922T101530Z-1a2b3c4"),
        artifact(key="sha256:2"),
        replace(artifact(), state="pending"),
        replace(artifact(), state="failed"),
        replace(artifact(), tags={"reconciler:build": NEW, "reconciler:phase": "stable"}),
    ],
    ids=["rejected", "revoked", "no build", "no build id", "no date", "another key", "pending", "failed", "partial"],
)
def test_what_is_refused_or_not_whole_is_never_adopted(never: Seen) -> None:
    assert adoptable([never], key="sha256:1") == ()
    assert adoptable([never, artifact(OLD)], key="sha256:1") == (artifact(OLD),)


def test_by_inputs_the_key_may_be_another(an_image: Callable[..., Image]) -> None:
    want = wanted(an_image(), None)
    reviewed = artifact(key="sha256:2", inputs=want.inputs)

    assert adoptable_by_inputs([artifact(), reviewed], want) == (reviewed,)


def merged(
    built: Callable[..., Situation], a_situation: Callable[..., Situation], image: Image, **more: object
) -> Situation:
    """What main sees after a merge: the pull request's artifacts, and nothing of them in state/."""
    pull_request = built(image)
    return a_situation(image, seen=pull_request.seen, now=pull_request.now, **more)


def test_a_new_image_adopts_what_was_reviewed_with_its_pin_although_the_source_moved_on(
    built: Callable[..., Situation],
    a_situation: Callable[..., Situation],
    an_image: Callable[..., Image],
    a_pin: Callable[..., Pin],
) -> None:
    decision = decide(merged(built, a_situation, an_image(), pin=a_pin("ami-0bb")))

    assert decision.planned.actions == ("adopt",)
    assert decision.wanted is not None
    assert decision.wanted.pin is not None
    assert decision.wanted.pin.artifact_in("us-east-1") == "ami-0aa11bb22cc33dd44"
    assert decision.wanted.key == decision.adopt[0].own("key")


def test_a_changed_source_is_not_satisfied_by_what_was_built_on_the_old_one(
    built: Callable[..., Situation], an_image: Callable[..., Image], a_pin: Callable[..., Pin]
) -> None:
    # Given an image whose files stay, and that shall be built on something else
    was = built(an_image())
    trixie = an_image(source={"ami": {"name": "debian-13-*", "owners": ["136693071363"]}})

    decision = decide(replace(was, image=trixie, pin=a_pin("ami-0bb")))

    # Then the build that is there, whose files are the same, is not it.
    assert decision.planned.actions == ("build",)
    assert [reason.code for reason in decision.planned.reasons] == ["source-changed"]


def test_where_a_pin_is_recorded_nothing_is_adopted_by_inputs(
    built: Callable[..., Situation], an_image: Callable[..., Image], a_pin: Callable[..., Pin]
) -> None:
    was = built(an_image())
    pull_request = built(an_image(files={"web.pkr.hcl": "b" * 40}))

    seen = (*was.seen, *pull_request.seen)
    moved_on = replace(was, image=pull_request.image, seen=seen, pin=a_pin("ami-0bb"))

    assert decide(moved_on).planned.actions == ("build",)
    assert decide(replace(moved_on, pin=was.pin)).planned.actions == ("adopt",)


def test_forcing_an_image_whose_source_is_worded_anew_does_not_adopt_what_is_to_be_replaced(
    built: Callable[..., Situation], an_image: Callable[..., Image], carried_out: Callable[..., Situation]
) -> None:
    # Given another wording of the source, tagged on the artifact and, as the push was lost, not recorded
    reworded = replace(built(an_image()), image=an_image(source={"ssm": "/acme/base"}))
    assert decide(reworded).planned.actions == ("retag", "record")
    lost = replace(reworded, seen=carried_out(reworded, decide(reworded)).seen)

    forced = replace(lost, options=PlanOptions(force=("web",)))

    assert decide(forced).planned.actions == ("build",)


def test_a_lost_push_is_made_up_for_by_adoption(
    built: Callable[..., Situation],
    a_situation: Callable[..., Situation],
    an_image: Callable[..., Image],
    carried_out: Callable[..., Situation],
) -> None:
    lost = merged(built, a_situation, an_image(regions=["us-east-1", "eu-west-1"]))
    gone_in_one = replace(lost, seen=tuple(one for one in lost.seen if one.location == "eu-west-1"))

    decision = decide(gone_in_one)

    assert decision.planned.actions == ("adopt",)
    assert decision.missing_locations == ("us-east-1",)
    after = carried_out(gone_in_one, decision)
    assert after.lock.builds[0].id == lost.seen[0].own("build")
    assert decide(after).planned.sync == "in-sync"


def test_nothing_is_adopted_while_a_declared_region_could_not_be_read(
    built: Callable[..., Situation], a_situation: Callable[..., Situation], an_image: Callable[..., Image]
) -> None:
    # An artifact may be in the region that could not be read: copying there would make a second one.
    image = an_image(regions=["us-east-1", "eu-west-1"])
    decision = decide(merged(built, a_situation, image, unreadable={"eu-west-1": "RequestLimitExceeded"}))

    assert decision.planned.sync == "unknown"
    assert not decision.acts
