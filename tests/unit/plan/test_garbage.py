from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.model.declaration import Settings
from reconciler.model.fleet import Fleet
from reconciler.model.lockfile import Failure
from reconciler.model.observation import Seen, State
from reconciler.model.plan import Situation
from reconciler.model.values import format_instant
from reconciler.plan.diff import decide
from reconciler.plan.garbage import _may_be_wanted, abandoned, branches_matter

Make = Callable[..., Any]
WEEK = timedelta(days=8)


def left(situation: Situation, *, age: timedelta = WEEK, number: int = 1, **tags: Any) -> Seen:
    """What a build of this image left that is in no lockfile."""
    began = situation.now - age
    build = f"{began:%Y%m%dT%H%M%SZ}-{number:07x}"
    own = {"fleet": "acme/images", "image": "web", "build": build, "key": f"sha256:{number}", **tags}
    return Seen(
        "ami", "us-east-1", f"ami-{number:017x}", f"web-{build}", "available", f"{began:%Y-%m-%dT%H:%M:%SZ}",
        {f"reconciler:{name}": value for name, value in own.items()},
    )  # fmt: skip


def retired(situation: Situation, *seen: Seen, live: frozenset[str] | None = frozenset({"main"})) -> list[Seen]:
    """What of it is retired; `live` are the branches that the remote has."""
    return list(decide(replace(situation, seen=(*situation.seen, *seen), live_branches=live)).old_previews)


@pytest.fixture
def situation(built: Make) -> Situation:
    """An image that is built and in sync."""
    found: Situation = built()
    return found


@pytest.mark.parametrize(
    ("tags", "goes"),
    [
        ({"phase": "preliminary", "branch": "gone"}, True),
        ({"phase": "preliminary", "branch": "main"}, False),
        ({"phase": "preliminary"}, True),
        ({"phase": "rejected", "smoke": "failed"}, True),
        ({"phase": "rejected", "smoke": "failed", "branch": "gone"}, True),
        ({"phase": "rejected", "smoke": "failed", "branch": "main"}, False),
        ({"phase": "rejected", "smoke": "passed"}, False),
        ({"phase": "revoked", "smoke": "failed"}, False),
        ({"phase": "stable", "smoke": "passed"}, False),
        ({"phase": "stable", "smoke": "failed"}, False),
    ],
)
def test_what_no_channel_ever_had_goes_once_nobody_needs_it(
    situation: Situation, tags: dict[str, Any], goes: object
) -> None:
    one = left(situation, **tags)
    assert retired(situation, one) == ([one] if goes else [])


def test_it_is_kept_for_as_long_as_previews_are(situation: Situation, an_image: Make) -> None:
    one = left(situation, age=timedelta(days=6), phase="rejected", smoke="failed")
    assert retired(situation, one) == []
    brief = replace(situation, image=an_image(retain={"previews": "1d"}))
    assert retired(brief, one) == [one]


def test_a_build_that_is_younger_than_its_artifact_replaces_no_preview(situation: Situation) -> None:
    one = left(situation, phase="preliminary", branch="main")
    later = left(situation, age=timedelta(days=7, hours=12), number=2, phase="preliminary", branch="main")
    forged = replace(later, tags={**later.tags, "reconciler:build": "20990101T000000Z-0000002"})

    assert retired(situation, one, later) == [one]
    assert retired(situation, one, forged) == []


def test_it_stays_as_long_as_the_remote_does_not_tell_its_branches(situation: Situation) -> None:
    one = left(situation, phase="rejected", smoke="failed")
    assert retired(situation, one, live=None) == []


def test_what_is_recorded_stays_whatever_its_tags_say(situation: Situation) -> None:
    recorded = situation.seen[0]
    tags = {**recorded.tags, "reconciler:phase": "rejected", "reconciler:smoke": "failed"}
    changed = replace(situation, seen=(replace(recorded, tags=tags),), now=situation.now + timedelta(days=30))
    assert retired(changed) == []


def test_people_are_told_why_each_goes(situation: Situation) -> None:
    failed = left(situation, number=1, phase="rejected", smoke="failed")
    old = left(situation, number=2, phase="preliminary", branch="gone")
    decision = decide(replace(situation, seen=(*situation.seen, failed, old), live_branches=frozenset({"main"})))
    assert [(one.code, one.was) for one in decision.planned.reasons] == [
        ("removed", f"us-east-1 {failed.id}, which did not pass its smoke test"),
        ("removed", f"us-east-1 {old.id} of branch gone"),
    ]


def test_the_branches_are_asked_for_only_where_something_hangs_on_them(situation: Situation) -> None:
    fleet = Fleet(settings=Settings(), images={"web": situation.image})
    young = left(situation, age=timedelta(days=1), phase="rejected", smoke="failed")
    assert not branches_matter([*situation.seen, young], fleet=fleet, now=situation.now)
    assert branches_matter(
        [*situation.seen, left(situation, phase="rejected", smoke="failed")], fleet=fleet, now=situation.now
    )


@pytest.mark.parametrize(
    ("age", "created", "state", "goes"),
    [
        (timedelta(hours=23), timedelta(hours=23), "available", False),
        (timedelta(hours=25), timedelta(hours=25), "available", True),
        (timedelta(days=30), timedelta(hours=3), "available", False),
        (timedelta(days=30), timedelta(hours=25), "available", True),
        (timedelta(days=30), timedelta(days=30), "pending", False),
        (timedelta(days=30), timedelta(days=30), "failed", True),
    ],
    ids=["a build's hour", "a build too long ago", "a copy's hour", "a copy too long ago", "being made", "failed"],
)
def test_what_nobody_finished_goes_once_nobody_can_be_at_it(
    situation: Situation, age: timedelta, created: timedelta, state: State, *, goes: bool
) -> None:
    one = replace(left(situation, age=age), created=format_instant(situation.now - created), state=state)
    partial = replace(one, tags={name: value for name, value in one.tags.items() if name != "reconciler:key"})
    assert retired(situation, partial, live=None) == ([partial] if goes else [])


def test_a_build_that_may_take_longer_than_a_day_is_waited_for(situation: Situation, an_image: Make) -> None:
    partial = left(situation, age=timedelta(hours=30), key=None)
    partial = replace(partial, tags={name: value for name, value in partial.tags.items() if value is not None})
    patient = replace(situation, image=an_image(packer={"timeout": "30h"}))
    assert retired(situation, partial) == [partial]
    assert retired(patient, partial) == []


def test_what_nobody_finished_of_an_image_that_is_gone_goes_after_a_week(situation: Situation) -> None:
    partial = left(situation, age=timedelta(days=6), image="gone")
    tags = {name: value for name, value in partial.tags.items() if name != "reconciler:key"}
    fleet = Fleet(settings=Settings(), images={})
    for days, goes in ((0, 0), (2, 1)):
        later = situation.now + timedelta(days=days)
        found = list(abandoned([replace(partial, tags=tags)], known=(), fleet=fleet, live=None, now=later))
        assert len(found) == goes


def gone(now: Seen, situation: Situation, *, live: frozenset[str] | None = frozenset({"main"}), **known: Any) -> bool:
    """Whether a preview of an image that is neither declared nor recorded is retired."""
    settings = Settings.model_validate(known.pop("settings", {}))
    fleet = Fleet(settings=settings, images=known.pop("images", {}))
    found = list(abandoned([now], known=known.pop("names", ()), fleet=fleet, live=live, now=situation.now))
    return [decision.old_previews for decision in found] == [(now,)]


def test_a_preview_of_an_abandoned_image_stays_while_it_is_wanted_or_cannot_be_judged(situation: Situation) -> None:
    preview = left(situation, image="later", phase="preliminary", branch="feature")
    assert gone(preview, situation)
    assert not gone(preview, situation, live=frozenset({"main", "feature"})), "its branch lives"
    assert not gone(preview, situation, live=None), "which branches live was not told"
    assert not gone(preview, situation, names=("later",)), "its image is known by now"
    assert not gone(preview, situation, settings={"defaults": {"retain": {"previews": "30d"}}}), "they are kept longer"
    assert not gone(left(situation, age=timedelta(days=6), image="later", phase="preliminary"), situation)


def test_a_preview_stays_while_its_branch_lives_or_declares_to_keep_it(situation: Situation, an_image: Make) -> None:
    preview = left(situation, phase="preliminary", branch="feature")
    assert retired(situation, preview) == [preview]
    assert retired(situation, preview, live=frozenset({"main", "feature"})) == []
    patient = replace(situation, image=an_image(retain={"previews": "30d"}))
    assert retired(patient, preview) == []


def test_the_newest_preview_of_a_branch_that_lives_stays_and_the_older_one_goes(situation: Situation) -> None:
    old = left(situation, age=timedelta(days=9), number=1, phase="preliminary", branch="feature")
    new = left(situation, age=timedelta(days=8), number=2, phase="preliminary", branch="feature")
    assert retired(situation, old, new, live=frozenset({"main", "feature"})) == [old]


def test_nothing_is_retired_while_a_declared_region_cannot_be_read(situation: Situation) -> None:
    preview = left(situation, phase="preliminary", branch="gone")
    assert retired(situation, preview) == [preview]
    assert retired(replace(situation, unreadable={"us-east-1": "a timeout"}), preview) == []


def test_a_preview_under_another_name_is_not_retired_as_this_image(situation: Situation) -> None:
    """A registry retires by the name on the artifact: under a former one it would be refused in every run."""
    preview = left(situation, image="former", phase="preliminary", branch="gone")
    assert retired(situation, preview) == []
    assert retired(situation, left(situation, phase="preliminary", branch="gone")) != []


def test_the_preview_of_another_branch_retires_nothing(situation: Situation) -> None:
    preview = left(situation, phase="preliminary", branch="gone")
    assert retired(situation, preview) == [preview]
    beside = replace(situation, options=situation.options.model_copy(update={"preview": True}))
    assert retired(beside, preview) == []


@pytest.mark.parametrize("name", ["../web", "Web", "", "a b", "x" * 200])
def test_what_bears_a_name_that_no_image_can_have_is_not_retired(situation: Situation, name: str) -> None:
    """Whoever may tag AMIs writes it, and it would be the name of a lockfile."""
    assert gone(left(situation, image="web", phase="preliminary"), situation)
    assert not gone(left(situation, image=name, phase="preliminary"), situation)


def test_the_branches_are_not_asked_for_while_the_image_keeps_its_previews_longer(
    situation: Situation, an_image: Make
) -> None:
    preview = left(situation, phase="preliminary", branch="gone")
    settings = Settings()
    patient = Fleet(settings=settings, images={"web": an_image(retain={"previews": "30d"})})
    assert branches_matter([preview], fleet=Fleet(settings=settings, images={}), now=situation.now)
    assert not branches_matter([preview], fleet=patient, now=situation.now)


@pytest.mark.parametrize("space", ["\u00a0", "\u2028", "\u3000"])
def test_a_branch_with_another_space_in_its_name_is_one_branch(situation: Situation, space: str) -> None:
    # Given the newest preview of a branch, and a later one of a branch whose name ends with that branch's
    theirs = f"x{space}feature"
    ours = left(situation, age=timedelta(days=9), number=1, phase="preliminary", branch="feature")
    later = left(situation, age=timedelta(days=8), number=2, phase="preliminary", branch=theirs)

    # Then each is its own branch's: neither takes the other's away
    assert retired(situation, ours, later, live=frozenset({"main", "feature", theirs})) == []


@pytest.mark.parametrize(
    ("days", "inputs", "made", "wanted"),
    [(6, True, True, True), (8, True, True, False), (6, False, True, False), (6, True, False, False)],
)
def test_what_a_failed_attempt_made_is_kept_for_the_next_while_it_may_be_wanted(
    situation: Situation, days: int, inputs: bool, made: bool, wanted: bool  # noqa: FBT001 - a case
) -> None:  # fmt: skip
    decision, build = decide(situation), situation.lock.builds[0]
    assert decision.wanted is not None
    at = format_instant(situation.now - timedelta(days=days))
    failure = Failure(
        build=build.id, key=build.key, at=at, what="not marked", attempts=1, retry_after=at,
        made=build if made else None, inputs=decision.wanted.inputs if inputs else "sha256:0",
    )  # fmt: skip

    assert _may_be_wanted(failure, situation, decision) is wanted


def test_what_its_registry_did_not_delete_is_not_asked_for_again(situation: Situation) -> None:
    one = left(situation, phase="preliminary", branch="gone")
    stays = replace(one, stays="127.0.0.1 deletes nothing")
    fleet = Fleet(Settings(), {}, {})
    assert retired(situation, one) == [one]
    assert retired(situation, stays) == []
    assert branches_matter([one], fleet=fleet, now=situation.now)
    assert not branches_matter([stays], fleet=fleet, now=situation.now)
    for seen, gone in ((one, 1), (stays, 0)):
        assert len(list(abandoned([seen], known=(), fleet=fleet, live=frozenset(), now=situation.now))) == gone
