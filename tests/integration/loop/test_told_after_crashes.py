"""Whatever a run was killed between, what it ruled, or took a step of, is told: once or once more, by one id."""

from __future__ import annotations

import pytest

from reconciler.model.announcement import Announcement
from tests.integration.loop.effects import Effects, Killed, When, surround
from tests.integration.loop.test_channels import standing
from tests.integration.loop.test_rulings import held, revoked
from tests.integration.loop.world import ON_DEBIAN, SETTINGS, World
from tests.integration.pull_request.pulls import Listener, Main, assert_nothing_left, main

pytestmark = pytest.mark.long

EFFECTS = {"held": 3, "released": 3, "unrevoked": 8, "deprecated": 5}
"""How many effects a run has that records such a turn and tells it."""
EVERY = [
    (event, number, when) for event, count in EFFECTS.items() for number in range(count) for when in ("before", "after")
]


def prepared(event: str, request: pytest.FixtureRequest, listener: Listener) -> tuple[World, str]:
    """A world in which the next run records the turn, and the image that it is of."""
    if event == "deprecated":
        grown: World = request.getfixturevalue("grown")
        grown.commit({"desired/reconciler.yaml": f"{SETTINGS}gc: {{apply: true}}\n"})
        main(grown, listener).go()
        return grown, "web"
    settled: World = request.getfixturevalue("settled")
    main(settled, listener).go()
    (good,) = standing(settled)
    for declaration in {
        "held": (held(good),), "released": (held(good), ON_DEBIAN), "unrevoked": (revoked(good), ON_DEBIAN),
    }[event]:  # fmt: skip
        main(settled, listener).go()
        settled.clock.advance(hours=1)
        settled.commit({"desired/base/image.yaml": declaration})
    return settled, "base"


def go(job: Main, event: str) -> None:
    job.go(refresh=True) if event == "deprecated" else job.go("base")


def told(listener: Listener, image: str, event: str) -> list[Announcement]:
    return [what for what in listener.heard if (what.image, what.event) == (image, event)]


@pytest.mark.parametrize(("event", "effects"), EFFECTS.items())
def test_the_matrix_is_whole(request: pytest.FixtureRequest, event: str, effects: int) -> None:
    listener, found = Listener(), Effects()
    world, image = prepared(event, request, listener)
    job = main(world, listener)
    surround(job, found.around)
    go(job, event)
    assert len(found.done) == effects, found.done
    assert len(told(listener, image, event)) == 1


@pytest.mark.parametrize(("event", "number", "when"), EVERY)
def test_the_next_run_tells_it(request: pytest.FixtureRequest, event: str, number: int, when: When) -> None:
    # Given a run that dies at one of its effects, in which something is ruled of a build, or a step taken
    listener = Listener()
    world, image = prepared(event, request, listener)
    doomed = main(world, listener)
    surround(doomed, Effects(die_at=number, when=when).around)
    with pytest.raises(Killed):
        go(doomed, event)

    # When the next ones go on
    for _ in range(2):
        world.clock.advance(hours=1)
        go(main(world, listener), event)
    main(world, listener).go()

    # Then it has been told, and by one id, however often
    assert len({what.id for what in told(listener, image, event)}) == 1
    assert_nothing_left(world, listener)
