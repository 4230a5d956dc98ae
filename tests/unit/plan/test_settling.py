"""The promise that matters most: what was decided and carried out is settled. A second run does nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, PlanOptions, Situation
from reconciler.model.source import Pin
from reconciler.plan.diff import decide
from reconciler.plan.timing import next_failure

REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
SOURCES: tuple[dict[str, Any] | None, ...] = (
    {"ami": {"name": "debian-12-*", "owners": ["136693071363"]}},
    {"ami": {"name": "debian-12-amd64-*", "owners": ["136693071363"]}},
    {"ssm": "/acme/base"},
    None,
)

parts: dict[str, st.SearchStrategy[Any]] = {
    "files": st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["0" * 40, "1" * 40]), min_size=1),
    "regions": st.lists(st.sampled_from(REGIONS), min_size=1, unique=True),
    "source": st.sampled_from(SOURCES),
    "tags": st.dictionaries(st.just("CostCenter"), st.sampled_from(["42", "43"])),
    "validation": st.fixed_dictionaries({"required": st.booleans()}),
    "retain": st.fixed_dictionaries({"builds": st.integers(1, 3)}),
    "refresh": st.fixed_dictionaries({}, optional={"max_age": st.just("7d")}),
    "plugins": st.dictionaries(st.just("amazon"), st.sampled_from(["github.com/hashicorp/amazon >= 1.2", "= 1.8"])),
}
images = st.fixed_dictionaries(parts)
changes = st.fixed_dictionaries({}, optional=parts)
pins = st.sampled_from(["ami-0aa", "ami-0bb"])
options = st.builds(
    PlanOptions, refresh=st.booleans(), prune=st.booleans(), force=st.sampled_from([(), ("web",), ("other",)])
)
histories = st.tuples(st.tuples(images, pins), st.lists(st.tuples(changes, pins), max_size=2))
History = tuple[tuple[dict[str, Any], str], list[tuple[dict[str, Any], str]]]
damages = st.lists(
    st.sampled_from(
        ["keep", "delete", "no key", "no tags", "failed", "pending", "rejected", "of another image", "elsewhere"]
    ),
    max_size=9,
)
Make = Callable[..., Any]


def situation_after(
    make: tuple[Make, Make, Make, Make], history: History, asked: PlanOptions
) -> tuple[Situation, list[Lockfile], dict[str, Any]]:
    """An image after several commits, each of which was carried out; with every lockfile that was on the way."""
    an_image, a_pin, a_situation, carried_out = make
    situation: Situation | None = None
    locks: list[Lockfile] = []
    declared: dict[str, Any] = {}
    for changed, ami in (history[0], *history[1]):
        declared = {**declared, **changed}
        image = an_image(**declared)
        pin = a_pin(ami, region=image.build_location) if image.source else None
        situation = (
            a_situation(image, pin=pin)
            if situation is None
            else replace(situation, image=image, pin=pin, now=situation.now + timedelta(hours=1), options=PlanOptions())
        )
        locks.append(situation.lock)
        situation = carried_out(situation, decide(situation))
    assert situation is not None
    return replace(situation, options=asked), locks, declared


def damaged(seen: tuple[Seen, ...], damages: list[str]) -> tuple[Seen, ...]:
    """What a hand, a crash or the registry itself may make of what was there."""
    result = []
    for place, one in enumerate(seen):
        match damages[place] if place < len(damages) else "keep":
            case "delete":
                continue
            case "no key":
                result.append(replace(one, tags={k: v for k, v in one.tags.items() if k != "reconciler:key"}))
            case "no tags":
                result.append(replace(one, tags={}))
            case "failed" | "pending" as state:
                result.append(replace(one, state=state))
            case "rejected" as phase:
                result.append(replace(one, tags={**one.tags, "reconciler:phase": phase}))
            case "of another image":
                result.append(replace(one, tags={**one.tags, "reconciler:image": "other"}))
            case "elsewhere":
                result.append(replace(one, location="sa-east-1"))
            case _:
                result.append(one)
    return tuple(result)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@example(  # a verdict is waited for by now, and what is adopted was stable before
    history=(
        (
            {
                "files": {"a": "0" * 40},
                "regions": ["us-east-1"],
                "source": {"ami": {"name": "debian-12-*", "owners": ["136693071363"]}},
                "validation": {"required": False},
                "retain": {"builds": 1},
            },
            "ami-0aa",
        ),
        [({}, "ami-0bb")],
    ),
    change={"validation": {"required": True}},
    ami="ami-0aa",
    asked=PlanOptions(),
    broken=[],
    lost=0,
    unreadable=set(),
    days=0,
    failed_before=False,
    renamed=False,
)
@example(  # what was stable is wanted again, and somebody marked it as rejected meanwhile
    history=(
        (
            {
                "files": {"a": "0" * 40, "b": "0" * 40},
                "regions": ["us-east-1"],
                "source": {"ami": {"name": "debian-12-*", "owners": ["136693071363"]}},
                "retain": {"builds": 1},
            },
            "ami-0aa",
        ),
        [({"files": {"a": "0" * 40}, "validation": {"required": True}}, "ami-0aa")],
    ),
    change={"files": {"a": "0" * 40, "b": "0" * 40}},
    ami="ami-0aa",
    asked=PlanOptions(),
    broken=["rejected"],
    lost=0,
    unreadable=set(),
    days=0,
    failed_before=False,
    renamed=False,
)
@given(
    history=histories,
    change=changes,
    ami=pins,
    asked=options,
    broken=damages,
    lost=st.integers(0, 2),
    unreadable=st.sets(st.sampled_from(REGIONS), max_size=1),
    days=st.sampled_from([0, 1, 30]),
    failed_before=st.booleans(),
    renamed=st.booleans(),
)
def test_what_was_carried_out_is_in_sync_and_leaves_nothing_to_do(
    *,
    an_image: Callable[..., Image],
    a_pin: Callable[..., Pin],
    a_situation: Callable[..., Situation],
    carried_out: Callable[[Situation, Decision], Situation],
    history: History,
    change: dict[str, Any],
    ami: str,
    asked: PlanOptions,
    broken: list[str],
    lost: int,
    unreadable: set[str],
    days: int,
    failed_before: bool,
    renamed: bool,
) -> None:
    before, locks, declared = situation_after((an_image, a_pin, a_situation, carried_out), history, asked)
    # Given a history, a new commit on it, a damaged registry, and perhaps pushes that were lost.
    image = an_image("www" if renamed else "web", **{**declared, **change})
    lock = locks[-lost] if 0 < lost <= len(locks) else before.lock
    seen = damaged(before.seen, broken)
    situation = replace(
        before,
        image=image,
        lock=lock.model_copy(update={"image": image.name}),
        renamed_from="web" if renamed and lock.builds else None,
        pin=a_pin(ami, region=image.build_location) if image.source else None,
        seen=seen,
        unreadable=dict.fromkeys(unreadable, "RequestLimitExceeded after 8 tries"),
        now=before.now + timedelta(days=days, hours=1),
    )
    first = decide(situation)
    if failed_before and first.planned.key and "build" in first.planned.actions:
        failure = next_failure(
            None, build="20261122T101530Z-1a2b3c4", key=first.planned.key, what="no", now=situation.now
        )
        situation = replace(situation, lock=situation.lock.model_copy(update={"failure": failure}))
        first = decide(situation)

    # Then the same situation gives the same decision,
    assert decide(situation) == first
    # unknown is never acted upon,
    if first.planned.sync == "unknown":
        assert not first.acts
    # and what is decided is settled by being carried out, once.
    event(", ".join(first.planned.actions))
    after = carried_out(situation, first)
    second = decide(after)
    if "adopt" in first.planned.actions and second.planned.actions == ("retire",):
        # What is adopted may lie in regions that are not declared: it is recorded first, so that it can be pruned.
        second = decide(carried_out(after, second))
    assert not second.acts, (first.planned, second.planned)
    left = {reason.code for reason in second.planned.reasons}
    if first.own is not None and first.own.actions != ("none",):
        assert left <= (set() if asked.prune else {"region-extra"}), (first.planned, second.planned)
        assert second.planned.sync == ("drifted" if left else "in-sync"), (first.planned, second.planned)
