"""Artifacts in other formats: made beside each, recorded with it, and made again where they are lost.

What is built here is of a kind that has one format; its builder says for these tests that it has another.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.errors import Transient
from reconciler.model.fleet import Builder
from reconciler.model.lockfile import Conversion
from reconciler.ports.dialect import Written
from reconciler.registries import dialect_of
from tests.integration.loop.effects import Effects, Killed, dying_at, failing, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import EU, ON_BASE, US, World, results

IN_TWO = f"{ON_BASE}formats: [vmdk, raw]\n"
EFFECTS = [f"convert {form} {region}" for form in ("raw", "vmdk") for region in (EU, US)]


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = type(dialect_of("ami"))
    plain = dialect.builder

    def builder(self: object, written: Written) -> Builder:
        return replace(plain(self, written), formats=("raw", "vmdk"), converter="git")  # type: ignore[arg-type] # it is

    monkeypatch.setattr(dialect, "builder", builder)


def assert_in_every_format(world: World, *forms: str) -> None:
    newest = world.lock("web").builds[0]
    assert {one.location for one in newest.artifacts} == {US, EU}
    for artifact in newest.artifacts:
        assert [one.format for one in artifact.conversions] == list(forms)
        seen = world.registry.find(artifact.location, artifact.id)
        assert seen is not None
        assert seen.conversions == artifact.conversions


def test_what_is_built_is_recorded_in_every_format_in_the_one_commit_of_its_build(settled: World) -> None:
    head = settled.commit({"desired/web/image.yaml": IN_TWO, "desired/web/setup.sh": "echo more\n"})

    settled.controller().reconcile("web")

    assert_in_every_format(settled, "raw", "vmdk")
    assert [one for one in settled.subjects(head) if one.startswith("web")] == [
        f"web: build {settled.lock('web').builds[0].id} (inputs-changed)"
    ]
    assert_settled(settled, since=head)


def test_formats_that_come_later_are_made_of_what_is_there_and_said_in_its_commit(settled: World) -> None:
    before = settled.lock("web").builds[0]
    head = settled.commit({"desired/web/image.yaml": IN_TWO})

    controller = settled.controller()
    report = controller.reconcile("web")

    assert controller.built == []
    assert settled.lock("web").builds[0].id == before.id
    assert_in_every_format(settled, "raw", "vmdk")
    assert settled.subjects(head) == ["web: convert (format-missing)"]
    rows = [(one.verb, one.what.partition(" ami-")[0]) for one in results(report)["web"].did]
    assert rows == [("converted", f"to {form} in {region}") for form in ("raw", "vmdk") for region in (EU, US)]
    assert_settled(settled, since=head)


def test_what_is_declared_no_more_stays_as_it_is(settled: World) -> None:
    settled.commit({"desired/web/image.yaml": IN_TWO})
    settled.controller().reconcile("web")
    head = settled.commit({"desired/web/image.yaml": ON_BASE})
    assert_settled(settled, since=head)
    assert_in_every_format(settled, "raw", "vmdk")


@pytest.mark.thorough
@pytest.mark.parametrize("effect", EFFECTS)
def test_one_that_fails_leaves_the_others_and_the_build_and_is_made_by_the_next_run(
    settled: World, effect: str
) -> None:
    head = settled.commit({"desired/web/image.yaml": IN_TWO, "desired/web/setup.sh": "echo more\n"})
    full = Transient("there is no room for it", hint="make room")

    report = surround(settled.controller(), failing(effect, full)).reconcile("web")

    _, form, region = effect.split()
    assert report.exit_code == 3
    assert results(report)["web"].why == f"no {form} in {region}: there is no room for it"
    newest = settled.lock("web").builds[0]
    made = {(one.location, each.format) for one in newest.artifacts for each in one.conversions}
    assert len(made) == 3
    assert (region, form) not in made
    controller = settled.controller()
    assert controller.reconcile("web").exit_code == 0
    assert controller.built == []
    assert_in_every_format(settled, "raw", "vmdk")
    assert_settled(settled, since=head)


@pytest.mark.thorough
@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("files", [{"desired/web/setup.sh": "echo more\n"}, {}], ids=["built", "there"])
def test_a_run_that_dies_in_it_is_taken_up_by_the_next(settled: World, effect: str, files: dict[str, str]) -> None:
    head = settled.commit({"desired/web/image.yaml": IN_TWO, **files})
    with pytest.raises(Killed):
        surround(settled.controller(), dying_at(effect)).reconcile("web")

    controller = settled.controller()
    assert controller.reconcile("web").exit_code == 0

    assert controller.built == [], "what the first one built is adopted"
    assert_in_every_format(settled, "raw", "vmdk")
    assert_settled(settled, since=head)


def test_one_that_is_lost_is_made_again_and_the_others_are_let_alone(settled: World) -> None:
    head = settled.commit({"desired/web/image.yaml": IN_TWO})
    settled.controller().reconcile("web")
    (there,) = (one for one in settled.lock("web").builds[0].artifacts if one.location == EU)
    lost = replace(settled.registry._artifacts[EU, there.id], conversions=there.conversions[:1])
    settled.registry._artifacts[EU, there.id] = lost

    effects = Effects()
    assert surround(settled.controller(), effects.around).reconcile("web").exit_code == 0

    assert {one for one in effects.done if one.startswith("convert")} == {f"convert raw {EU}", f"convert vmdk {EU}"}
    assert_in_every_format(settled, "raw", "vmdk")
    assert_settled(settled, since=head)


def test_a_copy_that_was_lost_comes_back_in_every_format(settled: World) -> None:
    head = settled.commit({"desired/web/image.yaml": IN_TWO})
    settled.controller().reconcile("web")
    settled.clock.advance(hours=1)
    settled.lose("web", EU)

    controller = settled.controller()
    assert controller.reconcile("web").exit_code == 0

    assert controller.built == []
    assert_in_every_format(settled, "raw", "vmdk")
    assert_settled(settled, since=head)


def test_what_is_copied_is_told_where_it_was_converted(settled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, list[tuple[str, str]]]] = []
    plain = settled.registry.convert

    def convert(*arguments: object, **named: object) -> Conversion:
        artifact, form, known = arguments[0], str(named["form"]), list(named["known"])  # type: ignore[call-overload] # a list
        asked.append((form, artifact.location, known))  # type: ignore[attr-defined] # as `Located`
        return plain(*arguments, **named)  # type: ignore[arg-type] # as it is asked

    settled.commit({"desired/web/image.yaml": f"{ON_BASE}formats: [vmdk]\n"})
    monkeypatch.setattr(settled.registry, "convert", convert)
    settled.controller().reconcile("web")

    by_place = {one.location: one.conversions[0].id for one in settled.lock("web").builds[0].artifacts}
    (_, first, before), (_, second, after) = asked
    assert {first, second} == {US, EU}
    assert (before, after) == ([], [(first, by_place[first])])
