from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.lockfile import Build, InventoryRecord, Reason, Verified
from reconciler.model.plan import PlanOptions, Situation
from reconciler.model.values import format_instant
from reconciler.plan import transitions
from reconciler.plan.diff import decide
from reconciler.plan.key import wanted
from reconciler.plan.reasons import brought_nothing

Make = Callable[..., Any]
REFRESH = PlanOptions(refresh=True)
TUESDAY_NIGHT = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
TUESDAYS = "tue 02:00-05:00 UTC"


def later(situation: Situation, moment: datetime, **more: Any) -> Situation:
    return replace(situation, now=moment, options=REFRESH, **more)


class TestWindow:
    def test_it_holds_a_refresh_back_until_it_opens(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"max_age": "7d", "window": TUESDAYS}))

        assert decide(later(old, TUESDAY_NIGHT - timedelta(hours=2))).planned.sync == "in-sync"
        assert decide(later(old, TUESDAY_NIGHT)).planned.reasons[0].code == "expired"

    def test_it_starts_nothing_by_itself(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"max_age": "7d", "window": TUESDAYS}))
        assert decide(replace(old, now=TUESDAY_NIGHT)).planned.sync == "in-sync"

    def test_it_holds_no_change_back(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"window": TUESDAYS}))
        changed = replace(old, image=an_image(files={"web.pkr.hcl": "b" * 40}, refresh={"window": TUESDAYS}))
        assert decide(changed).planned.actions == ("build",)


class TestDue:
    def test_an_age_of_thousands_of_years_ends_no_plan(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"max_age": "999999w"}))
        refreshed = decide(replace(old, options=PlanOptions(refresh=True)))

        assert decide(old).planned.due == "2126-10-29T10:16:31Z"  # in a hundred years
        assert refreshed.planned.sync == "in-sync"

    def test_a_plan_says_when_an_image_is_too_old(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"max_age": "7d"}))
        due = decide(old).planned.due

        assert due == "2026-11-29T10:16:31Z"  # it took a minute
        just_before = datetime.fromisoformat(due) - timedelta(seconds=1)
        assert decide(later(old, just_before)).planned.sync == "in-sync"
        assert decide(later(old, datetime.fromisoformat(due))).planned.reasons[0].code == "expired"

    def test_that_is_when_its_window_opens_next(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"max_age": "7d", "window": TUESDAYS}))
        assert decide(old).planned.due == "2026-12-01T02:00:00Z"

    def test_without_a_limit_it_is_never_due(self, built: Make, an_image: Make) -> None:
        assert decide(built(an_image())).planned.due is None

    def test_with_a_window_alone_its_source_is_looked_at_when_that_opens(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"window": TUESDAYS}))
        assert decide(old).planned.due == "2026-11-24T02:00:00Z"
        assert decide(replace(old, now=TUESDAY_NIGHT)).planned.due == "2026-12-01T03:00:00Z"  # it is open

    def test_a_window_for_nothing_is_never_waited_for(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"window": TUESDAYS, "on_source_change": False}))
        assert decide(old).planned.due is None

    def test_what_was_never_built_is_not_due(self, a_situation: Make, an_image: Make) -> None:
        assert decide(a_situation(an_image(refresh={"max_age": "7d"}))).planned.due is None


def verified_at(old: Situation, moment: datetime, pin: Any) -> Situation:
    """The same once a refresh made it anew on this pin, and it came out the same."""
    last = old.lock.builds[0]
    key = wanted(old.image, pin, refresh_of=last.id).key
    verified = Verified(at=format_instant(moment), build="20261129T110000Z-1a2b3c4", key=key, source=pin)
    lock = transitions.with_verified(old.lock, last.id, verified, image=old.image)
    return replace(old, lock=lock, now=moment, pin=pin)


class TestVerified:
    def test_its_age_counts_from_then(self, built: Make, an_image: Make) -> None:
        old = built(an_image(refresh={"max_age": "7d"}))
        verified = verified_at(old, old.now + timedelta(days=8), old.pin)

        assert decide(later(verified, verified.now + timedelta(days=6))).planned.sync == "in-sync"
        again = decide(later(verified, verified.now + timedelta(days=8))).planned
        assert again.reasons[0] == Reason(code="expired", was="verified 2026-11-30", now="older than 1w")

    @pytest.mark.parametrize("options", [PlanOptions(), REFRESH])
    def test_the_source_that_it_was_verified_on_is_no_news(
        self, built: Make, a_pin: Make, options: PlanOptions
    ) -> None:
        old = built()
        verified = replace(verified_at(old, old.now, a_pin("ami-0bb")), options=options)

        decision = decide(verified)

        assert (decision.planned.sync, decision.planned.key) == ("in-sync", old.lock.builds[0].key)
        assert verified.lock.source is not None
        assert verified.lock.source.pinned == a_pin("ami-0bb")
        assert verified.lock.channels == old.lock.channels

    def test_a_source_after_that_is(self, built: Make, a_pin: Make) -> None:
        verified = replace(verified_at(built(), built().now, a_pin("ami-0bb")), options=REFRESH, pin=a_pin("ami-0cc"))
        assert [reason.code for reason in decide(verified).planned.reasons] == ["source-changed"]

    def test_a_change_of_the_files_builds_on_the_newer_source(self, built: Make, an_image: Make, a_pin: Make) -> None:
        verified = verified_at(built(), built().now, a_pin("ami-0bb"))
        changed = replace(verified, image=an_image(files={"web.pkr.hcl": "b" * 40}))

        decision = decide(changed)

        assert [reason.code for reason in decision.planned.reasons] == ["inputs-changed"]
        assert decision.wanted is not None
        assert decision.wanted.pin == a_pin("ami-0bb")


class TestBroughtNothing:
    @pytest.mark.parametrize("code", ["expired", "source-changed"])
    def test_the_same_inputs_and_the_same_inside(self, code: str) -> None:
        assert brought_nothing(a_build(code), before=a_build("new"))

    @pytest.mark.parametrize(
        ("new", "before"),
        [
            ({"digest": "sha256:b"}, {}),
            ({"files": "sha256:b"}, {}),
            ({"code": "forced"}, {}),
            ({"code": "parent-rebuilt"}, {}),
            ({"unread": {"packages": "locked"}}, {}),
            ({}, {"unread": {"packages": "locked"}}),
            ({"inventory": None}, {}),
            ({}, {"inventory": None}),
            ({}, {"phase": "rejected"}),
        ],
        ids=str,
    )
    def test_anything_else_is_news(self, new: dict[str, Any], before: dict[str, Any]) -> None:
        assert not brought_nothing(a_build(**{"code": "expired", **new}), before=a_build("new", **before))

    def test_on_another_source_it_is_news_where_packages_do_not_tell_what_that_holds(self) -> None:
        new, before = a_build("source-changed"), a_build("new")
        assert not brought_nothing(new, before=before, packages_tell=False)
        same_source = new.model_copy(update={"components": {**new.components, "source": "new"}})
        assert brought_nothing(same_source, before=before, packages_tell=False)

    def test_a_first_build_is_news(self) -> None:
        assert not brought_nothing(a_build("expired"), before=None)


def a_build(
    code: Any, *, digest: str = "sha256:a", files: str = "sha256:f", unread: dict[str, str] | None = None, **more: Any
) -> Build:
    found = InventoryRecord(os="Debian 12", kernel="6.1", sbom="sbom/x", digest=digest, unread=unread or {})
    known: dict[str, Any] = {
        "id": "20261122T101530Z-1a2b3c4", "key": "sha256:1", "commit": "9c0d1e2", "artifacts": (), "phase": "stable",
        "components": {"files": files, "source": code, "refresh_of": code}, "reasons": (Reason(code=code),),
        "inventory": found, **more,
    }  # fmt: skip
    return Build(**known)
