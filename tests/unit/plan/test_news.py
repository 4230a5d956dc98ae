"""What there is to be told of builds, by what is recorded, and how a tag remembers who was told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.announcement import turn_of
from reconciler.model.declaration import LONGEST_TAG_VALUE
from reconciler.model.errors import Place
from reconciler.model.lockfile import AnnouncedEvent, Build, Channels, Leaving, Lockfile, Revoked
from reconciler.model.values import format_instant
from reconciler.plan.news import News, circumstances, heard, previous, states, told_by
from reconciler.plan.tags import told_tags

Make = Callable[..., Any]
T1, T2 = "2026-11-29T10:15:30Z", "2026-11-30T10:15:30Z"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
BUILD = Build(
    id="20261122T101530Z-1a2b3c4",
    key="sha256:1a2b3c4",
    components={},
    commit="9c0d1e2",
    artifacts=(),
    phase="superseded",
)


def told_of(lock: Lockfile) -> list[str]:
    return [event for event, _, _ in states(lock)]


def lock_of(stable: str | None = None, *, leaving: tuple[Leaving, ...] = (), **update: Any) -> Lockfile:
    builds = (BUILD.model_copy(update=update),) if not leaving else ()
    return Lockfile(image="web", builds=builds, channels=Channels(stable=stable), leaving=leaving)


def news(event: AnnouncedEvent, build: Build = BUILD, *, left: Leaving | None = None, **update: Any) -> News:
    return replace(News("web", build, event, left, None, {}, recent=True), **update)


class TestStates:
    def test_a_build_that_nothing_was_ruled_of_is_no_news(self) -> None:
        assert told_of(lock_of()) == []

    def test_a_hold_is_told_for_as_long_as_stable_is_there_and_then_its_end(self) -> None:
        assert told_of(lock_of(held=T1, phase="stable", stable=BUILD.id)) == ["stable", "held"]
        assert told_of(lock_of(held=T1)) == []
        assert told_of(lock_of(held=T1, released=T2)) == ["released"]

    def test_the_end_of_a_revocation_is_told_before_where_stable_goes_by_it(self) -> None:
        assert told_of(lock_of(unrevoked=T1, phase="stable", stable=BUILD.id)) == ["unrevoked", "stable"]

    def test_of_a_build_that_goes_away_its_last_step_is_told_and_what_was_taken_off_it(self) -> None:
        free = BUILD.model_copy(update={"held": T1, "released": T2, "unrevoked": T1})
        first = Leaving(build=free, deprecated=T2)
        assert told_of(lock_of(leaving=(first,))) == ["unrevoked", "released", "deprecated"]
        second = Leaving(build=BUILD, deprecated=T1, disabled=T2)
        assert told_of(lock_of(leaving=(second,))) == ["disabled"]

    def test_what_is_to_be_left_is_told_before_where_to_go(self) -> None:
        older = BUILD.model_copy(update={"id": "20261101T101530Z-1a2b3c4", "held": T1, "released": T2})
        newer = BUILD.model_copy(update={"phase": "stable", "held": T2})
        for stable, other in ((newer, older), (older.model_copy(update={"held": T2, "released": None}),
                                               newer.model_copy(update={"phase": "revoked", "held": T1,
                                                                        "released": T2}))):  # fmt: skip
            builds = tuple(sorted((stable, other), key=lambda one: one.id, reverse=True))
            lock = Lockfile(image="web", builds=builds, channels=Channels(stable=stable.id))
            told = [(event, build.id) for event, build, _ in states(lock)]
            assert told[-2:] == [("stable", stable.id), ("held", stable.id)]
            assert told[:-2] == [("revoked", other.id)] * (other.phase == "revoked") + [("released", other.id)]

    @pytest.mark.parametrize("first", [0, 1])
    def test_the_stable_build_before_one_is_an_older_one_wherever_it_stands(self, first: int) -> None:
        older = BUILD.model_copy(update={"id": "20261101T101530Z-1a2b3c4", "was_stable": True})
        newer = BUILD.model_copy(update={"id": "20261130T101530Z-1a2b3c4", "was_stable": True})
        builds = (newer, older) if first == 0 else (older, newer)  # as a revert brings one back, before newer ones
        lock = Lockfile(image="web", builds=builds, leaving=(Leaving(build=BUILD, deprecated=T1),))
        assert previous(lock, BUILD) == older.id
        assert previous(lock, older) is None
        assert previous(lock, newer) == older.id


class TestRemembered:
    def test_all_that_may_be_told_of_a_build_fits_into_a_tag(self) -> None:
        """Of each event the last turn alone: whatever happens to a build, its tag does not grow without end."""
        left = Leaving(build=BUILD, deprecated=T1, disabled=T1)
        whole = BUILD.model_copy(
            update={
                "returned": T1, "recalled": T1, "held": T1, "released": T1, "unrevoked": T1,
                "revoked": Revoked(at=T1, reason="leaked", phase="stable"),
            }
        )  # fmt: skip
        said: set[str] = set()
        # Who was told of an attempt that failed, and of a build that is gone, stands in the lockfile.
        remembered = set(get_args(AnnouncedEvent)) - {"failed", "removed"}
        for _ in range(2):
            for event in sorted(remembered):
                said = news(event, whole, left=left).remembered(said)
        assert {one.partition("@")[0] for one in said} == remembered
        assert all("@" in one for one in said if one != "rejected")
        (value,) = told_tags("eventbridge", said).values()
        assert len(value) <= LONGEST_TAG_VALUE

    @given(
        st.lists(
            st.tuples(st.sampled_from(["candidate", "stable", "held", "released", "unrevoked"]), st.integers(0, 9))
        )
    )
    def test_the_last_turn_of_each_is_remembered_and_nothing_else(self, turns: list[tuple[Any, int]]) -> None:
        said: set[str] = set()
        last: dict[str, str] = {}
        field = {"candidate": "recalled", "stable": "returned"}
        for event, day in turns:
            at = format_instant(NOW + timedelta(days=day))
            one = news(event, BUILD.model_copy(update={field.get(event, event): at}))
            said = one.remembered(said)
            last[event] = f"{event}@{at}"
        assert said == set(last.values())
        assert told_by([told_tags("webhook", said)] if said else []) == ({"webhook": frozenset(said)} if said else {})

    def test_a_turn_is_due_once_and_the_next_one_again(self) -> None:
        first = news("held", BUILD.model_copy(update={"held": T1}))
        assert first.is_due("webhook")
        told = {"webhook": frozenset(first.remembered(()))}
        assert not replace(first, told=told).is_due("webhook")
        assert replace(first, told=told).is_due("sns")
        assert news("held", BUILD.model_copy(update={"held": T2}), told=told).is_due("webhook")

    def test_what_is_old_is_due_to_whoever_heard_of_the_build_before_alone(self) -> None:
        told = {"webhook": frozenset({"candidate"})}
        old = news("deprecated", left=Leaving(build=BUILD, deprecated=T1), told=told, recent=False)
        assert (old.is_due("webhook"), old.is_due("sns")) == (True, False)


class TestHeard:
    """Whoever may tag artifacts writes these tags, too: what a run records first, nobody can have heard."""

    @pytest.mark.parametrize(
        ("event", "now"),
        [("held", {"held": T2}), ("released", {"held": T1, "released": T2}), ("unrevoked", {"unrevoked": T2})],
    )
    def test_a_turn_that_this_run_records(self, event: AnnouncedEvent, now: dict[str, str]) -> None:
        forged = news(event, BUILD.model_copy(update=now), told={"webhook": frozenset({f"{event}@{T2}", "candidate"})})
        before = lock_of(held=T1)
        assert heard(forged, before=before) == {"webhook": frozenset({"candidate"})}
        since: dict[str, Any] = {**now}
        assert heard(forged, before=lock_of(**since)) == forged.told

    def test_a_step_that_this_run_records(self) -> None:
        left = Leaving(build=BUILD, deprecated=T1, disabled=T2)
        forged = news("disabled", left=left, told={"webhook": frozenset({f"disabled@{T2}"})})
        for before in (lock_of(), lock_of(leaving=(Leaving(build=BUILD, deprecated=T1),))):
            assert heard(forged, before=before) == {"webhook": frozenset()}
        assert heard(forged, before=lock_of(leaving=(left,))) == forged.told
        assert heard(forged, before=Lockfile(image="web")) == {}

    @pytest.mark.parametrize(
        ("was", "counts"),
        [
            ({"phase": "stable"}, True),
            ({"phase": "superseded", "was_stable": True}, True),
            ({"phase": "candidate"}, False),
            ({"phase": "revoked", "revoked": Revoked(at=T1, reason="leaked", phase="stable")}, True),
            (
                {"phase": "revoked", "revoked": Revoked(at=T1, reason="leaked", phase="superseded", was_stable=True)},
                True,
            ),
            ({"phase": "revoked", "revoked": Revoked(at=T1, reason="leaked", phase="candidate")}, False),
        ],
    )
    def test_that_a_build_is_stable_whoever_was_told_before_it_was_revoked(
        self, was: dict[str, Any], *, counts: bool
    ) -> None:
        told = {"webhook": frozenset({"stable", "candidate"})}
        remembered = heard(news("stable", told=told), before=lock_of(**was))
        assert remembered == {"webhook": frozenset({"stable", "candidate"} if counts else {"candidate"})}


class TestCircumstances:
    HELD = BUILD.model_copy(update={"held": T1})

    def held_by(self, an_image: Make, **hold: Any) -> Any:
        image = an_image(hold={"build": BUILD.id, "reason": "works", **hold})
        return replace(image, ruled_at={"hold": Place("desired/web/image.yaml", 2, 1)})

    def test_a_hold_is_told_with_its_reason_its_day_and_its_place(self, an_image: Make) -> None:
        about = circumstances(news("held", self.HELD), self.held_by(an_image, until="2026-12-15"), now=NOW)
        assert about.reason == "works"
        assert about.hold is not None
        assert (about.hold.until, about.hold.declared) == (date(2026, 12, 15), "desired/web/image.yaml:2:1")

    def test_a_hold_whose_line_has_changed_since_is_told_without(self, an_image: Make) -> None:
        for image in (an_image(), self.held_by(an_image, until="2026-11-30")):
            about = circumstances(news("held", self.HELD), image, now=NOW)
            assert (about.reason, about.hold) == (None, None)

    def test_why_it_is_held_no_more_is_told(self, an_image: Make) -> None:
        over = news("released", BUILD.model_copy(update={"held": T1, "released": T2}))
        other = "20261130T101530Z-1a2b3c4"
        why = [
            circumstances(over, image, now=NOW).reason
            for image in (
                an_image(), self.held_by(an_image, until="2026-11-30"), self.held_by(an_image, build=other),
                self.held_by(an_image),
            )
        ]  # fmt: skip
        assert why == [
            "its line was taken away from desired/web/image.yaml",
            "its day has come, 2026-11-30 (desired/web/image.yaml:2:1)",
            f"stable is held to {other} in its place (desired/web/image.yaml:2:1)",
            None,
        ]

    def test_a_hold_that_a_revocation_overrules_is_over_for_that(self, an_image: Make) -> None:
        cause = Revoked(at=T2, reason="leaked", by="base 20261101T101530Z-1a2b3c4", phase="stable")
        over = news("released", BUILD.model_copy(update={"held": T1, "released": T2, "revoked": cause}))
        about = circumstances(over, self.held_by(an_image), now=NOW)
        assert about.reason == "it is revoked: leaked (built on base 20261101T101530Z-1a2b3c4)"

    def test_of_a_kind_that_can_not_disable_the_next_step_is_the_end(self, an_image: Make) -> None:
        image = an_image(retain={"builds": 1, "deprecated": "7d", "disabled": "10d"})
        image = replace(image, kind=replace(image.kind, tended=False))
        left = Leaving(build=BUILD, deprecated=T1)
        step = circumstances(news("deprecated", left=left), image, now=NOW).next
        assert step is not None
        assert (step.step, step.due, step.undo) == ("retire", "2026-12-16T10:15:30Z", "2026-12-16T10:15:30Z")

    @pytest.mark.parametrize(
        ("disabled", "step", "due"),
        [(None, "disable", "2026-12-06T10:15:30Z"), (T2, "retire", "2026-12-10T10:15:30Z")],
    )
    def test_a_step_is_told_with_the_next_by_the_waits_that_are_declared(
        self, an_image: Make, disabled: str | None, step: str, due: str
    ) -> None:
        image = an_image(retain={"builds": 1, "deprecated": "7d", "disabled": "10d"})
        left = Leaving(build=BUILD, deprecated=T1, disabled=disabled)
        about = circumstances(news("disabled" if disabled else "deprecated", left=left), image, now=NOW)
        assert about.next is not None
        undo = due if disabled else "2026-12-16T10:15:30Z"
        assert (about.next.step, about.next.due, about.next.undo) == (step, due, undo)
        assert about.reason == "1 newer build is kept"
        assert turn_of("deprecated", BUILD, about.left) == T1
