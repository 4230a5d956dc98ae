"""What `gc` removed comes back, as long as its location keeps it: artifacts, record, and who could use it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.git.proposal import PROPOSAL
from reconciler.model.care import Care, Grants
from reconciler.model.errors import Terminal, UserError
from reconciler.model.lockfile import Build
from reconciler.model.observation import Seen
from tests.doubles.registry import Traits
from tests.integration.loop.adapters import NobodyShows
from tests.integration.loop.effects import Effects, Killed, failing, surround
from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_gc import FORGED, bring, last_record
from tests.integration.loop.test_rulings import held
from tests.integration.loop.world import EU, ON_BASE, RETAIN, SETTINGS, US, World, git, no_image_files

ONE, TWO = "111111111111", "222222222222"


def declare(world: World, extra: str = "") -> None:
    world.commit({"desired/web/image.yaml": f"{ON_BASE}{RETAIN}{extra}"})


def oldest(world: World) -> list[Seen]:
    first = min(one.own("build") or "" for one in world.artifacts("web"))
    return [one for one in world.artifacts("web") if one.own("build") == first]


def collect(world: World) -> None:
    done = world.controller().collect()
    assert done.failed == {}, done.failed


def remove(world: World) -> list[Seen]:
    """Have web's oldest build go all the way."""
    gone = oldest(world)
    for _ in range(3):
        collect(world)
        world.clock.advance(days=15)
    assert all(world.registry.find(one.location, one.id) is None for one in gone)
    return gone


@pytest.fixture
def grown(grown: World) -> World:
    """The same, where what is removed is kept for a month."""
    grown.registry.restored_for = {US: 30, EU: 30}
    return grown


def recorded(world: World, build_id: str | None) -> Build:
    found = world.lock("web").build(build_id)
    assert found is not None
    return found


def grants(world: World, seen: Seen) -> Grants:
    return world.registry.traits[seen.location, seen.id].launched_by


def whole(world: World, gone: list[Seen]) -> None:
    """All of a build is there, enabled and not deprecated, and recorded."""
    found = [world.registry.find(one.location, one.id) for one in gone]
    assert [(one.state, one.deprecated) for one in found if one is not None] == [("available", None)] * len(gone)
    artifacts = recorded(world, gone[0].own("build")).artifacts
    assert {(one.location, one.id) for one in artifacts} == {one.place for one in gone}
    assert all(one.care is None for one in artifacts)
    assert world.lock("web").left(gone[0].own("build")) is None


@pytest.mark.thorough
def test_a_build_comes_back_whole_and_stays_where_a_hold_is_on_it(grown: World) -> None:
    gone = remove(grown)
    head = grown.head()
    build_id = gone[0].own("build") or ""
    told = grown.controller().restore(build_id)
    assert {one.outcome for one in told.artifacts} == {"restored"}
    assert (told.image, told.build, told.is_back) == ("web", build_id, True)
    whole(grown, gone)
    assert recorded(grown, build_id).phase == "superseded"
    assert_settled(grown, since=head)
    again = grown.controller().restore("web", build_id)
    assert ({one.outcome for one in again.artifacts}, again.commit) == ({"there"}, None)

    declared = held(build_id, declaration=f"{ON_BASE}{RETAIN}")
    grown.commit({"desired/web/image.yaml": declared})
    assert grown.controller().reconcile().exit_code == 0
    assert grown.lock("web").channels.stable == build_id
    collect(grown)
    whole(grown, gone)


@pytest.mark.thorough
def test_it_is_found_by_the_id_of_an_artifact_and_goes_away_again_in_steps(grown: World) -> None:
    gone = remove(grown)
    told = grown.controller().restore(gone[1].id)
    assert {one.id for one in told.artifacts} == {one.id for one in gone}
    assert any("gc" in remark for remark in told.remarks)
    collect(grown)
    (entry,) = grown.lock("web").leaving
    assert entry.build.id == gone[0].own("build")
    assert entry.disabled is None


@pytest.mark.thorough
def test_those_who_could_use_it_may_again_as_far_as_it_is_declared(grown: World) -> None:
    seen = oldest(grown)
    for one in seen:
        grown.registry.traits[one.place] = Traits(launched_by=Grants.of([ONE, TWO]))
    retain = "retain: {builds: 1, even_if_shared: true}"
    grown.commit({"desired/web/image.yaml": f"{ON_BASE}{retain}\nshare_with: {{accounts: ['{ONE}']}}\n"})
    grown.controller().reconcile()
    gone = remove(grown)
    told = grown.controller().restore(gone[0].own("build") or "")
    whole_now = [grants(grown, one) for one in gone]
    assert whole_now == [Grants.of([ONE])] * len(gone)
    assert any(TWO in remark for remark in told.remarks)


@pytest.mark.thorough
def test_with_signatures_they_all_may(pair: World, tmp_path: Path) -> None:
    keys = Keys.begin(tmp_path)
    pair.registry.restored_for = {US: 30, EU: 30}
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{sign: true}}\n"})
    declared = f"{ON_BASE}retain: {{builds: 1, even_if_shared: true}}\n"
    for setup in ("echo one", "echo two", "echo three"):
        pair.commit({"desired/web/setup.sh": f"{setup}\n", "desired/web/image.yaml": f"{declared}# {setup}\n"})
        assert signing(pair, keys).reconcile().exit_code == 0
        pair.clock.advance(hours=1)
    pair.clock.advance(days=2)
    for one in oldest(pair):  # of before it was signed
        pair.registry.delete(one)
    gone = oldest(pair)
    for one in gone:
        pair.registry.traits[one.place] = Traits(launched_by=Grants.of([TWO]))
    for _ in range(3):
        signing(pair, keys).collect()
        pair.clock.advance(days=15)
    told = signing(pair, keys).restore(gone[0].own("build") or "")
    assert told.is_back
    assert [grants(pair, one) for one in gone] == [Grants.of([TWO])] * len(gone)
    whole(pair, gone)


def test_what_nothing_keeps_is_said_and_nothing_is_done(grown: World) -> None:
    grown.registry.restored_for = {}
    gone = remove(grown)
    head = grown.head()
    with pytest.raises(UserError, match="can be brought back") as refused:
        grown.controller().restore(gone[0].own("build") or "")
    assert any("no rule" in line for line in refused.value.hint)
    assert grown.head() == head


def test_what_was_kept_too_short_is_gone(grown: World) -> None:
    gone = remove(grown)
    assert len(grown.controller().restore().restorable) == len(gone)
    grown.clock.advance(days=31)
    assert grown.controller().restore().restorable == ()
    with pytest.raises(UserError, match="can be brought back"):
        grown.controller().restore(gone[0].own("build") or "")


@pytest.mark.thorough
def test_one_location_fails_and_the_next_run_brings_the_rest(grown: World) -> None:
    gone = remove(grown)
    build_id = gone[0].own("build") or ""
    controller = grown.controller()
    surround(controller, failing(f"restore {EU}", Terminal("refused")))
    told = controller.restore(build_id)
    assert {one.location: one.outcome for one in told.artifacts} == {US: "restored", EU: "failed"}
    assert [one.location for one in recorded(grown, build_id).artifacts] == [US]
    assert grown.controller().restore(build_id).is_back
    whole(grown, gone)


def test_what_is_half_removed_comes_back_from_what_goes_away(grown: World) -> None:
    gone = oldest(grown)
    for _ in range(2):
        collect(grown)
        grown.clock.advance(days=15)
    grown.registry.retire(gone[0], image="web")
    told = grown.controller().restore(gone[0].own("build") or "")
    assert sorted(one.outcome for one in told.artifacts) == ["restored", "there"]
    whole(grown, gone)


@pytest.mark.thorough
def test_one_of_another_name_comes_back_where_the_tag_of_its_build_names_it(grown: World) -> None:
    gone = remove(grown)
    for place, (seen, since) in list(grown.registry.bin.items()):
        grown.registry.bin[place] = (replace(seen, name="by hand"), since)
    assert grown.controller().restore(gone[0].own("build") or "").is_back
    whole(grown, gone)


def test_what_carries_marks_of_another_build_is_not_recorded(grown: World) -> None:
    gone = remove(grown)
    for place, (seen, since) in list(grown.registry.bin.items()):
        grown.registry.bin[place] = (replace(seen, tags={**seen.tags, "reconciler:build": "another"}), since)
    head = grown.head()
    with pytest.raises(UserError, match="can be brought back") as refused:
        grown.controller().restore(gone[0].own("build") or "")
    assert all("its marks are others" in line for line in refused.value.hint[:2])
    assert grown.head() == head


def test_one_whose_image_is_declared_no_more_is_refused(grown: World) -> None:
    gone = remove(grown)
    grown.commit(no_image_files("web"))
    with pytest.raises(UserError, match="declares no web"):
        grown.controller().restore(gone[0].own("build") or "")
    assert grown.controller().restore().restorable == ()


@pytest.mark.thorough
def test_where_state_is_only_proposed_it_is_made_usable_once_that_is_merged(
    grown: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[tuple[str, ...], str, str]] = []
    monkeypatch.setattr(
        NobodyShows, "propose", lambda _, images, **more: opened.append((images, more["branch"], more["body"]))
    )
    gone = remove(grown)
    grown.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{push: pull-request}}\n"})
    told = grown.controller().restore(gone[0].own("build") or "")
    assert (told.proposed, told.is_back) == (True, True)
    ((images, branch, body),) = opened
    assert (images, branch) == (("web",), PROPOSAL)
    assert f"`{told.build}` of `web` was brought back" in body
    assert {one.state for one in oldest(grown)} == {"disabled"}
    git(grown.origin, "update-ref", "refs/heads/main", f"refs/heads/{PROPOSAL}")
    assert grown.controller().reconcile().exit_code == 0
    assert {one.state for one in oldest(grown)} == {"available"}


EFFECTS = 8
"""Two artifacts that come back, the record, two that are enabled, two dates that are taken away, and what is done."""


def test_the_matrix_is_whole(grown: World) -> None:
    gone = remove(grown)
    found = Effects()
    surround(grown.controller(), found.around).restore(gone[0].own("build") or "")
    assert len(found.done) == EFFECTS, found.done


@pytest.mark.long
@pytest.mark.parametrize("number", range(EFFECTS))
@pytest.mark.parametrize("again", ["restore", "reconcile"])
def test_killed_between_any_two_effects_the_next_run_goes_on(grown: World, number: int, again: str) -> None:
    gone = remove(grown)
    head = grown.head()
    build_id = gone[0].own("build") or ""
    effects = Effects(die_at=number, when="after")
    with pytest.raises(Killed):
        surround(grown.controller(), effects.around).restore(build_id)
    if again == "restore":
        assert grown.controller().restore(build_id).is_back
    elif grown.lock("web").build(build_id) is not None:
        assert grown.controller().reconcile().exit_code == 0
    else:
        return  # of what is not recorded no run but this verb knows
    whole(grown, gone)
    assert_settled(grown, since=head)


def test_nothing_is_listed_where_nothing_was_removed(grown: World) -> None:
    found = grown.controller().restore()
    assert (found.restorable, found.kept_for) == ((), {US: 30, EU: 30})


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("whose", ["another team's", "another account's"])
def test_what_only_a_merged_commit_and_marks_call_a_build_is_not_recorded_as_it(grown: World, whose: str) -> None:
    """Whoever may tag AMIs marked another team's, or one of another account that is called as ours are."""
    gone = remove(grown)
    build_id = gone[0].own("build") or ""
    real = last_record(grown, build_id)
    name = "another" if whose == "another team's" else f"web-{build_id}"
    theirs = grown.registry.seed(US, name, tags=gone[0].tags, created="2026-01-01T00:00:00Z")
    grown.registry.of_others |= {theirs.id} if whose == "another account's" else set()
    here = tuple(one for one in real.artifacts if one.location != US)
    bring(grown, real.model_copy(update={"artifacts": (*here, theirs.as_artifact(real.artifacts[0].builder))}))

    told = grown.controller().restore(build_id)

    assert {one.location: one.outcome for one in told.artifacts} == {US: "failed", EU: "restored"}
    assert [one.location for one in recorded(grown, build_id).artifacts] == [EU]


def test_what_a_merged_commit_calls_a_conversion_of_what_comes_back_is_not_recorded(grown: World) -> None:
    gone = remove(grown)
    real = last_record(grown, gone[0].own("build") or "")
    forged = tuple(one.model_copy(update={"conversions": (FORGED,)}) for one in real.artifacts)
    bring(grown, real.model_copy(update={"artifacts": forged}))

    assert grown.controller().restore(real.id).is_back

    assert [one.conversions for one in recorded(grown, real.id).artifacts] == [()] * len(gone)


def test_what_a_merged_commit_says_was_done_to_what_comes_back_is_not_undone_as_ours(grown: World) -> None:
    gone = remove(grown)
    real = last_record(grown, gone[0].own("build") or "")
    done = Care(shared=Grants.of([TWO]), protected=True)
    forged = tuple(one.model_copy(update={"care": done}) for one in real.artifacts)
    bring(grown, real.model_copy(update={"artifacts": forged}))

    grown.controller().restore(real.id)

    assert not any(one.cared_for.shared or one.cared_for.protected for one in recorded(grown, real.id).artifacts)
    assert "protect" not in " ".join(grown.subjects())


def test_what_is_restored_and_wanted_comes_back_into_its_channels(grown: World) -> None:
    # Given a published image that was deleted by mistake, pruned, and declared again
    world = grown
    declare(world, 'publish: {ssm: "/images/{image}/{channel}"}\n')
    assert world.controller().reconcile().exit_code == 0
    was, published = world.lock("web").channels, world.publisher.values()
    assert published
    files: dict[str, str | None] = {path: world.file(path) for path in no_image_files("web")}
    world.commit(no_image_files("web"))
    assert world.controller().reconcile(prune=True).exit_code == 0
    assert world.publisher.values() == {}
    world.clock.advance(hours=2)
    world.commit(files, "Revert")

    # When its build is brought back before a run builds another
    head = world.head()
    told = world.controller().restore(was.stable or "")
    assert any("the next run takes it into its channels" in remark for remark in told.remarks)
    planned = world.controller().plan("web")["web"]
    assert (planned.sync, planned.health, planned.actions) == ("drifted", "degraded", ("adopt",))
    assert world.controller().reconcile().exit_code == 0

    # Then it is what it was, with its names, and nothing was built
    assert world.lock("web").channels == was
    assert world.publisher.values() == published
    planned = world.controller().plan("web")["web"]
    assert (planned.sync, planned.health) == ("in-sync", "healthy")
    assert_settled(world, since=head)
