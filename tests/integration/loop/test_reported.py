"""What another fleet makes, or claims, while a run is at it: the run neither marks nor retires it as its own."""

from __future__ import annotations

from reconciler.model.values import format_instant
from tests.integration.loop.effects import in_the_middle
from tests.integration.loop.test_edited_state import assert_untouched, edit
from tests.integration.loop.world import US, World, statuses

CLAIM = {"reconciler:fleet": "acme/other", "reconciler:image": "db"}


def test_what_another_fleet_makes_meanwhile_is_not_its_artifact(pair: World) -> None:
    # Given an artifact of another fleet, as young as the build, which Packer reports as what was built
    theirs = pair.registry.seed(US, "db-1", tags=CLAIM, created=format_instant(pair.clock.moment))
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    controller = pair.controller()
    controller.builder.artifacts = lambda _request: (theirs.as_artifact("amazon-ebs.image"),)

    report = controller.reconcile()

    assert statuses(report) == {"web": "failed"}
    assert "that is of the image db of the fleet acme/other" in report.results[0].why
    assert_untouched(pair, theirs)


def test_what_somebody_else_claimed_since_it_was_planned_is_not_retired(pair: World) -> None:
    # Given what an attempt left, which nothing marks, and another image that is built first
    build_id = "20251231T101530Z-1a2b3c4"
    left = pair.registry.seed(US, f"web-{build_id}", tags={})
    failure = {
        "build": build_id, "key": "sha256:0", "attempts": 1, "at": "2025-12-31T10:15:30Z",
        "retry_after": "2025-12-31T10:15:30Z", "what": "x",
        "artifacts": [{"kind": "ami", "builder": "amazon-ebs.image", "location": US, "id": left.id}],
    }  # fmt: skip
    edit(pair, "web", lambda lock: lock.update(failure=failure))
    pair.commit({"desired/base/setup.sh": "echo more\n"})
    controller = pair.controller()
    assert left.id in [one.id for one in controller.plan()["web"].retires]

    # When another fleet takes it over while that is built
    in_the_middle(controller, "base", lambda: pair.registry.tag(left, CLAIM))
    controller.reconcile()

    # Then it is theirs
    now = pair.registry.find(US, left.id)
    assert now is not None
    assert now.tags == CLAIM
