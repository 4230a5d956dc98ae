"""One loop for every kind: verdicts by marks, what goes and what stays, and what the clone alone tells of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.registries import dialect_of
from tests.command import Command
from tests.integration.loop.mixed import UPSTREAM, WHERE, MixedWorld, files_of
from tests.integration.loop.world import FLEET, git, statuses

pytestmark = pytest.mark.long

RETAIN = "retain: {builds: 1, previews: 7d, deprecated: 1d, disabled: 1d}\n"
VALIDATED = "validation: {required: true}\n"


@pytest.fixture(params=sorted(WHERE))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def begun(kind: str, folder: Path, declaration: str) -> MixedWorld:
    """A fleet of one image of a kind, in two locations, which is built."""
    settings: dict[str, str | None] = {"desired/reconciler.yaml": f"fleet: {FLEET}\n"}
    world = MixedWorld.begin(folder / "world", settings | files_of(kind, "web", UPSTREAM[kind] + declaration))
    assert statuses(world.controller().reconcile()) == {"web": "built"}
    world.clock.advance(hours=1)
    return world


def build(world: MixedWorld, setup: str) -> str:
    """Build it once more; the id of what came of it."""
    world.commit({"desired/web/setup.sh": f"{setup}\n"})
    assert statuses(world.controller().reconcile()) == {"web": "built"}
    world.clock.advance(hours=1)
    return world.lock("web").builds[0].id


def phases(world: MixedWorld, build_id: str) -> set[str | None]:
    """What its marks say of a build, in all locations."""
    return {one.own("phase") for one in world.artifacts("web") if one.own("build") == build_id}


def test_a_verdict_that_marks_give_moves_stable_and_one_that_failed_stops_it(
    own_home: None, tmp_path: Path, kind: str
) -> None:
    world = begun(kind, tmp_path, VALIDATED)
    first = world.lock("web").builds[0].id
    assert (world.lock("web").channels.candidate, world.lock("web").channels.stable) == (first, None)

    world.judge("web", "passed")
    world.controller().reconcile()
    assert world.lock("web").channels.stable == first
    assert phases(world, first) == {"stable"}
    assert len([one for one in world.artifacts("web") if one.own("build") == first]) == len(WHERE[kind])
    verdict = world.lock("web").builds[0].verdict
    assert verdict is not None
    assert (verdict.status, verdict.by) == ("passed", "validation")

    second = build(world, "echo worse")
    world.judge("web", "failed")
    report = world.controller().reconcile()

    assert world.lock("web").channels.stable == first
    assert phases(world, second) == {"rejected"}
    assert report.exit_code in (0, 3)
    world.clock.advance(hours=1)
    head = world.head()
    again = world.controller()
    again.reconcile()
    assert (again.built, world.head()) == ([], head), "what was rejected is not built again"


def test_what_nobody_needs_goes_and_what_a_channel_points_to_stays(own_home: None, tmp_path: Path, kind: str) -> None:
    world = begun(kind, tmp_path, RETAIN)
    ids = [world.lock("web").builds[0].id, *(build(world, f"echo {number}") for number in range(3))]
    tended = dialect_of(kind).kind.tended
    world.clock.advance(days=2)

    judged = world.controller().collect(apply=False)
    going = {(one.location, one.id) for one in judged.artifacts if one.goes}
    taken: list[str] = []
    for _ in range(4):
        taken += [one.step for one in world.controller().collect().took]
        world.clock.advance(days=2)

    left = {one.own("build") for one in world.artifacts("web")}
    assert going
    assert not {one.place for one in world.artifacts("web")} & going
    assert ids[-1] in left
    assert ids[0] not in left
    steps = ["deprecate", "disable", "retire"] if tended else ["deprecate", "retire"]
    assert list(dict.fromkeys(taken)) == steps, "each after its wait, and none that its kind does not know"
    done = {name for name in ("deprecate", "disable") if world.registry.calls[name]}
    assert done == ({"deprecate", "disable"} if tended else set()), "a kind that knows neither only waits"
    assert {one.own("build") for one in world.artifacts("web") if one.location == WHERE[kind][1]} == left
    assert statuses(world.controller().reconcile()) == {}


def test_a_location_that_can_not_be_read_keeps_all_that_is_there(own_home: None, tmp_path: Path, kind: str) -> None:
    world = begun(kind, tmp_path, RETAIN)
    for number in range(3):
        build(world, f"echo {number}")
    away = WHERE[kind][1]
    there = {one.id for one in world.artifacts("web") if one.location == away}
    world.registry.unreadable = {away: "it does not answer"}

    for _ in range(4):
        collection = world.controller().collect()
        world.clock.advance(days=2)

    assert collection.unread == {away: "it does not answer"}
    world.registry.unreadable = {}
    assert {one.id for one in world.artifacts("web") if one.location == away} == there


def test_history_and_proof_are_in_a_fresh_clone_alone(
    own_home: None, tmp_path: Path, kind: str, command: Command
) -> None:
    world = begun(kind, tmp_path, VALIDATED)
    world.judge("web", "passed")
    world.controller().reconcile()
    first = world.lock("web").builds[0]
    second = build(world, "echo more")
    git(tmp_path, "clone", "--quiet", str(world.origin), "clone")

    def asked(*words: str) -> Any:
        ended = command.run(*words, "--json", cwd=tmp_path / "clone")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads(ended.stdout)

    told, proof = asked("history", "web"), asked("verify", "web", "stable")

    assert [one["id"] for one in told["builds"]] == [second, first.id]
    assert {(one["kind"], one["location"]) for one in told["builds"][1]["artifacts"]} == {
        (kind, location) for location in WHERE[kind]
    }
    assert proof["build"] == first.id
    states = {one["check"]: one["outcome"] for one in proof["findings"]}
    assert states["statement"] == "proven"
    assert "wrong" not in states.values()
    assert asked("which", first.artifacts[0].id)["found"][0]["build"] == first.id
