"""A launch template gets one numbered version for each build that is stable, and its default only where asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model.errors import Terminal
from reconciler.model.observation import Template, TemplateVersion
from reconciler.model.usage import Use
from tests.integration.loop.effects import Effects, Killed, failing, meanwhile, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_channels import build, standing
from tests.integration.loop.test_publish import artifacts_of
from tests.integration.loop.test_rulings import held, revoked
from tests.integration.loop.world import EU, FLEET, ON_DEBIAN, US, World, results, statuses

VERSIONS = "publish: {launch_templates: [web]}\n"
DEFAULT = "publish: {launch_templates: [{name: web, set_default: true}]}\n"


def templates(world: World) -> Mapping[str, Template]:
    return {location: one for (location, name), one in world.publisher.there.items() if name == "web"}


def made(world: World, location: str = US) -> list[tuple[int, str]]:
    """The versions that are not the first, which is somebody's."""
    return [(one.number, one.image) for one in templates(world)[location].versions if one.number > 1]


def recorded(world: World) -> dict[str, int | None]:
    return {one.location: one.version for one in world.lock("base").published if one.launch_template == "web"}


def defaults(world: World) -> dict[str, int]:
    return {location: one.default for location, one in templates(world).items()}


def declare(world: World, text: str) -> None:
    for location in (EU, US):
        if (location, "web") not in world.publisher.there:
            world.publisher.template(location, "web", owner=FLEET)
    world.commit({"desired/base/image.yaml": text})


@pytest.fixture(scope="session")
def _in_templates(_settled: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    made = {text: _settled.copy_to(tmp_path_factory.mktemp("templates") / "world") for text in (VERSIONS, DEFAULT)}
    for text, world in made.items():
        declare(world, f"{ON_DEBIAN}{text}")
        assert world.controller().reconcile().exit_code == 0
        world.settle()
    return made


@pytest.fixture
def versioned(_in_templates: dict[str, World], tmp_path: Path) -> World:
    """The fleet with base in launch templates, whose default stays, an hour later."""
    return _in_templates[VERSIONS].copy_to(tmp_path / "world")


@pytest.fixture
def defaulted(_in_templates: dict[str, World], tmp_path: Path) -> World:
    """The same, where the version is the default."""
    return _in_templates[DEFAULT].copy_to(tmp_path / "world")


class TestVersions:
    def test_one_is_made_in_every_location_and_recorded(self, settled: World) -> None:
        declare(settled, f"{ON_DEBIAN}{VERSIONS}")
        (only,) = standing(settled)
        ids = artifacts_of(settled, only)
        planned = settled.controller().plan("base")["base"]
        assert (planned.sync, planned.actions) == ("drifted", ("publish",))
        said = [(one.was, one.now) for one in planned.reasons]
        assert (f"{US} launch template web: no version of {only}", f"a version of its default 1 with {ids[US]}") in said
        head = settled.head()
        report = settled.controller().reconcile()
        assert statuses(report) == {"base": "changed"}
        assert {location: made(settled, location) for location in (EU, US)} == {
            location: [(2, ids[location])] for location in (EU, US)
        }
        assert (recorded(settled), defaults(settled)) == ({EU: 2, US: 2}, {EU: 1, US: 1})
        assert settled.subjects(head) == ["base: published at 2 places"]
        assert [one.what for one in report.results[0].did][1] == f"{US} launch template web version 2 of {ids[US]}"
        assert templates(settled)[US].versions[1].says == f"base stable: build {only}"
        assert_settled(settled, since=head)

    def test_what_stands_costs_one_look_a_location(self, versioned: World) -> None:
        versioned.publisher.calls.clear()
        assert versioned.controller().reconcile().results == ()
        assert versioned.publisher.calls == {"templates": 2}

    def test_the_next_build_gets_the_next_and_the_way_back_makes_none(self, versioned: World) -> None:
        (old,) = standing(versioned)
        new = build(versioned, "echo more")
        ids = [artifacts_of(versioned, one)[US] for one in (old, new)]
        assert (made(versioned), recorded(versioned)) == ([(2, ids[0]), (3, ids[1])], {EU: 3, US: 3})
        versioned.commit({"desired/base/image.yaml": f"{held(old)}{VERSIONS}"})
        assert versioned.controller().reconcile("base").exit_code == 0
        assert (len(made(versioned)), recorded(versioned)) == (2, {EU: 2, US: 2})

    def test_one_of_somebody_elses_with_the_same_artifact_is_not_taken(self, settled: World) -> None:
        settled.publisher.template(US, "web", owner=FLEET, image=ids_of(settled)[0])
        declare(settled, f"{ON_DEBIAN}{VERSIONS}")
        settled.controller().reconcile()
        assert recorded(settled) == {EU: 2, US: 2}

    def test_one_that_only_says_that_it_is_ours_is_not_made_the_default(self, settled: World) -> None:
        # Given a version with our words and our artifact, that somebody made who may not set the default
        (only,) = standing(settled)
        declare(settled, f"{ON_DEBIAN}{DEFAULT}")
        template = templates(settled)[US]
        words = f"base stable: build {only}"
        planted = TemplateVersion(2, ids_of(settled)[0], words, rest="his own user data")
        settled.publisher.there[US, "web"] = replace(template, versions=(*template.versions, planted))

        # When the build is published
        settled.controller().reconcile()

        # Then it is by a version that is as the default one
        assert (defaults(settled), recorded(settled)) == ({EU: 2, US: 3}, {EU: 2, US: 3})
        assert templates(settled)[US].versions[2].rest == template.versions[0].rest

    def test_one_that_is_recorded_stays_whatever_its_owner_makes_the_default(self, versioned: World) -> None:
        template = templates(versioned)[US]
        newer = TemplateVersion(3, "ami-first", "on a larger type", rest="t3.large")
        versioned.publisher.there[US, "web"] = replace(template, versions=(*template.versions, newer), default=3)
        assert versioned.controller().reconcile().results == ()
        assert recorded(versioned) == {EU: 2, US: 2}

    def test_a_template_and_a_parameter_go_together(self, settled: World) -> None:
        declare(settled, f'{ON_DEBIAN}publish: {{ssm: "/images/base", launch_templates: ["web"]}}\n')
        head = settled.head()
        settled.controller().reconcile()
        assert recorded(settled) == {EU: 2, US: 2}
        assert len(settled.publisher.values()) == 2
        assert_settled(settled, since=head)

    def test_once_the_line_is_gone_the_versions_stay(self, versioned: World) -> None:
        versioned.commit({"desired/base/image.yaml": ON_DEBIAN})
        head = versioned.head()
        versioned.controller().reconcile()
        assert (len(made(versioned)), versioned.lock("base").published) == (1, ())
        assert_settled(versioned, since=head)


class TestDefault:
    def test_it_is_moved_only_where_that_is_declared_and_healed(self, defaulted: World) -> None:
        assert defaults(defaulted) == {EU: 2, US: 2}
        defaulted.publisher.there[US, "web"] = replace(templates(defaulted)[US], default=1)
        planned = defaulted.controller().plan("base")["base"]
        assert [(one.was, one.now) for one in planned.reasons] == [
            (f"{US} launch template web: default 1", "default 2")
        ]
        head = defaulted.head()
        assert defaulted.controller().reconcile().exit_code == 0
        assert (defaults(defaulted), defaulted.head()) == ({EU: 2, US: 2}, head)

    def test_it_goes_back_with_the_channel(self, defaulted: World) -> None:
        (old,) = standing(defaulted)
        build(defaulted, "echo more")
        assert defaults(defaulted) == {EU: 3, US: 3}
        defaulted.commit({"desired/base/image.yaml": f"{held(old)}{DEFAULT}"})
        defaulted.controller().reconcile("base")
        assert (defaults(defaulted), len(made(defaulted))) == ({EU: 2, US: 2}, 2)

    def test_what_is_revoked_falls_back_although_our_own_versions_have_it(self, defaulted: World) -> None:
        build(defaulted, "echo bad")
        bad = defaulted.lock("base").channels.stable
        assert bad is not None
        defaulted.registry.uses.extend(uses(defaulted, bad))
        defaulted.commit({"desired/base/image.yaml": f"{revoked(bad)}{DEFAULT}"})
        assert defaulted.controller().reconcile("base").exit_code == 0
        assert defaults(defaulted) == {EU: 2, US: 2}

    def test_with_nothing_to_fall_back_to_it_says_what_stays(self, defaulted: World) -> None:
        (only,) = standing(defaulted)
        defaulted.commit({"desired/base/image.yaml": f"{revoked(only)}{DEFAULT}"})
        defaulted.controller().reconcile("base")
        planned = defaulted.controller().plan("base")["base"]
        gone = artifacts_of(defaulted, only)[US]
        told = f"its default stays version 2 with {gone}, which is revoked, as stable points to nothing"
        assert f"{US} launch template web: {told}" in (planned.waits_for or "")
        assert (defaults(defaulted), recorded(defaulted)) == ({EU: 2, US: 2}, {})

    def test_one_that_is_the_default_and_not_moved_keeps_a_build_in_use(self, versioned: World) -> None:
        bad = build(versioned, "echo bad")
        versioned.publisher.there[US, "web"] = replace(templates(versioned)[US], default=3)
        versioned.registry.uses.extend(uses(versioned, bad))
        versioned.commit({"desired/base/image.yaml": f"{revoked(bad)}{VERSIONS}"})
        (error,) = versioned.controller().plan("base")["base"].errors
        assert f"launch template web version 3 in {US}" in error
        assert f"in {EU}" not in error


def uses(world: World, build_id: str) -> list[Use]:
    """What the registry says of templates that have a build's artifacts."""
    ids = artifacts_of(world, build_id)
    return [
        Use((location, one.image), f"launch template web version {one.number}", "mend it",
            parameter="launch template web", version=one, default=one.number == template.default)
        for location, template in templates(world).items() for one in template.versions if one.image == ids[location]
    ]  # fmt: skip


class TestRefused:
    @pytest.mark.forms(quick=2)
    @pytest.mark.parametrize(
        ("hand", "told"),
        [
            (lambda world: world.publisher.there.pop((US, "web")), "it is not there"),
            (lambda world: change(world, ours=False), "does not carry this fleet's tag"),
            (lambda world: change(world, misfit="its default takes resolve:ssm:/x"), "takes resolve:ssm:/x"),
            (lambda world: world.publisher.wrong.update(dict.fromkeys(ids_of(world), "it is arm64")), "it is arm64"),
        ],
        ids=["missing", "somebody else's", "resolved late", "architecture"],
    )  # fmt: skip
    def test_it_is_told_by_the_plan_and_the_other_location_goes_on(
        self, settled: World, hand: object, told: str
    ) -> None:
        declare(settled, f"{ON_DEBIAN}{VERSIONS}")
        assert callable(hand)
        hand(settled)
        planned = settled.controller().plan("base")["base"]
        assert planned.health == "degraded"
        assert f"{US} launch template web: " in (planned.waits_for or "")
        assert told in (planned.waits_for or "")
        assert "(desired/base/image.yaml:2:11)" in (planned.waits_for or "")
        assert settled.controller().reconcile().exit_code == 3
        assert recorded(settled) == {EU: 2}
        assert len(templates(settled)[EU].versions) == 2
        assert (settled.controller().reconcile().results, settled.publisher.calls["add_version"]) == ((), 1)

    def test_one_that_somebody_deletes_between_the_look_and_the_step_fails_there_alone(self, settled: World) -> None:
        declare(settled, f"{ON_DEBIAN}{VERSIONS}")
        controller = surround(
            settled.controller(),
            meanwhile(f"add version {US} lt-{US}-web", lambda: settled.publisher.there.pop((US, "web"))),
        )
        report = controller.reconcile()
        assert (statuses(report), report.exit_code) == ({"base": "failed"}, 3)
        assert f"lt-{US}-web in {US} is not there" in results(report)["base"].why
        assert recorded(settled) == {EU: 2}
        settled.publisher.template(US, "web", owner=FLEET)
        assert settled.controller().reconcile().exit_code == 0
        assert recorded(settled) == {EU: 2, US: 2}

    def test_a_default_that_can_not_be_moved_leaves_a_version_that_is_recorded(self, settled: World) -> None:
        declare(settled, f"{ON_DEBIAN}{DEFAULT}")
        controller = settled.controller()
        surround(controller, failing(f"set default {US} lt-{US}-web", Terminal("not allowed")))
        assert statuses(controller.reconcile()) == {"base": "failed"}
        assert (recorded(settled), defaults(settled)) == ({EU: 2, US: 2}, {EU: 2, US: 1})
        settled.controller().reconcile()
        assert (defaults(settled), len(made(settled))) == ({EU: 2, US: 2}, 1)

    def test_one_that_can_not_be_read_is_unknown(self, versioned: World) -> None:
        versioned.publisher.unreadable[US] = Terminal("not allowed: ec2:DescribeLaunchTemplates")
        planned = versioned.controller().plan("base")["base"]
        assert (planned.sync, planned.health, planned.actions) == ("unknown", "unknown", ("none",))


def change(world: World, *, ours: bool = True, misfit: str | None = None) -> None:
    world.publisher.there[US, "web"] = replace(world.publisher.there[US, "web"], ours=ours, misfit=misfit)


def ids_of(world: World) -> list[str]:
    return [artifacts_of(world, one)[US] for one in standing(world)]


def _publish(world: World) -> None:
    declare(world, f"{ON_DEBIAN}{DEFAULT}")


def _move(world: World) -> None:
    _publish(world)
    world.controller().reconcile()
    world.clock.advance(hours=1)
    world.commit({"desired/base/setup.sh": "echo more\n"})


def _back(world: World) -> None:
    _publish(world)
    world.controller().reconcile()
    world.clock.advance(hours=1)
    bad = build(world, "echo bad")
    world.clock.advance(hours=1)
    world.commit({"desired/base/image.yaml": f"{revoked(bad)}{DEFAULT}"})


SCENARIOS = {"published": (_publish, 5, 1), "moved": (_move, 35, 2), "taken back": (_back, 11, 2)}
DEATHS = [(name, number) for name, (_, effects, _) in SCENARIOS.items() for number in range(effects)]


@pytest.mark.thorough
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_matrix_is_whole(pair: World, name: str) -> None:
    arrange, number, _ = SCENARIOS[name]
    arrange(pair)
    effects = Effects()
    assert surround(pair.controller(), effects.around).reconcile().exit_code == 0
    assert len(effects.done) == number, effects.done


@pytest.mark.long
@pytest.mark.parametrize(("name", "number"), DEATHS)
def test_killed_between_any_two_effects_the_next_run_converges(pair: World, name: str, number: int) -> None:
    arrange, _, versions = SCENARIOS[name]
    arrange(pair)
    head = pair.head()
    with pytest.raises(Killed):
        surround(pair.controller(), Effects(die_at=number, when="after").around).reconcile()
    pair.clock.advance(hours=1)
    assert pair.controller().reconcile().exit_code == 0
    stable = artifacts_of(pair, pair.lock("base").channels.stable)
    for location, template in templates(pair).items():
        assert template.launches == stable[location]
        assert recorded(pair)[location] == template.default
        assert len(template.versions) == 1 + versions, "one a build, and never a second"
    assert_settled(pair, since=head)
