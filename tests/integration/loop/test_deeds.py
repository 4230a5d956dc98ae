"""Each row says what was done, and what is deleted is listed before, after, and in the commit."""

from __future__ import annotations

from reconciler.steps.run import Deed, Report
from tests.integration.loop.world import (
    AP,
    EU,
    ON_BASE,
    ON_DEBIAN,
    US,
    World,
    git,
    image_files,
    no_image_files,
    results,
)

VALIDATED = f"{ON_DEBIAN}validation: {{required: true}}\n"


def did(report: Report, image: str = "web") -> tuple[Deed, ...]:
    return results(report)[image].did


def in_region(world: World, region: str, image: str = "web") -> str:
    (found,) = (one.id for one in world.artifacts(image) if one.location == region)
    return found


def body(world: World) -> str:
    return git(world.origin, "log", "-1", "--format=%b", "main")


def test_a_copy(settled: World) -> None:
    settled.commit({"desired/web/image.yaml": f"{ON_BASE}regions: [{US}, {EU}, {AP}]\n"})
    report = settled.controller().reconcile("web")
    assert did(report) == (Deed("copied", f"to {AP} {in_region(settled, AP)}"),)


def test_tags(settled: World) -> None:
    settled.commit({"desired/web/image.yaml": f"{ON_BASE}tags: {{CostCenter: '43'}}\n"})
    report = settled.controller().reconcile("web")
    assert did(report) == (Deed("retagged", f"{US} {in_region(settled, US)}  {EU} {in_region(settled, EU)}"),)


def test_a_promotion(settled: World) -> None:
    stable = settled.lock("base").builds[0].id
    settled.commit({"desired/base/image.yaml": VALIDATED, "desired/base/setup.sh": "echo more\n"})
    settled.controller().reconcile("base")
    candidate = settled.lock("base").builds[0].id
    settled.judge("base", "passed")
    report = settled.controller().reconcile("base")
    assert did(report, "base") == (
        Deed("promoted", f"{candidate} passed by validation: stable {stable} → {candidate}"),
    )


def test_a_rejection_says_where_the_channels_go(settled: World) -> None:
    stable = settled.lock("base").builds[0].id
    settled.commit({"desired/base/setup.sh": "echo more\n"})
    settled.controller().reconcile("base")
    bad = settled.lock("base").builds[0].id
    settled.judge("base", "failed")
    report = settled.controller().reconcile("base")
    moved = f"candidate {bad} → {stable}; stable {bad} → {stable}"
    assert did(report, "base") == (Deed("rejected", f"{bad} failed by validation: {moved}"),)


def test_a_verdict_that_is_waited_for_no_more(settled: World) -> None:
    stable = settled.lock("base").builds[0].id
    settled.commit({"desired/base/image.yaml": VALIDATED, "desired/base/setup.sh": "echo more\n"})
    settled.controller().reconcile("base")
    candidate = settled.lock("base").builds[0].id
    settled.commit({"desired/base/image.yaml": ON_DEBIAN})
    report = settled.controller().reconcile("base")
    assert Deed("promoted", f"stable {stable} → {candidate}") in did(report, "base")


def test_another_name(settled: World) -> None:
    settled.commit({**no_image_files("web"), **image_files("site", f"{ON_BASE}moved_from: web\n")})
    report = settled.controller().reconcile("site")
    assert did(report, "site")[0] == Deed("renamed", "from web")


def test_another_wording_of_the_source(settled: World) -> None:
    settled.commit({"desired/base/image.yaml": ON_DEBIAN.replace("debian-12-*", "debian-12-amd64-*")})
    report = settled.controller().reconcile("base")
    said = "ami debian-12-* of 136693071363 → ami debian-12-amd64-* of 136693071363"
    assert Deed("recorded", f"its source: {said}") in did(report, "base")


def test_a_region_that_is_given_up_is_listed_before_and_after(settled: World) -> None:
    gone = in_region(settled, EU)
    settled.commit({"desired/web/image.yaml": f"{ON_BASE}regions: [{US}]\n"})
    controller = settled.controller()
    assert controller.plan("web")["web"].waits_for == "kept; `--prune` deletes 1 artifact in 1 location"
    assert controller.plan("web")["web"].retires == ()
    planned = controller.plan("web", prune=True)["web"]
    assert [(one.location, one.id) for one in planned.retires] == [(EU, gone)]
    report = controller.reconcile("web", prune=True)
    assert did(report) == (Deed("retired", f"1 artifact in 1 location: {EU} {gone}"),)
    assert f"Retired {EU} {gone}." in body(settled)


def test_an_image_that_is_removed_lists_all_that_goes(settled: World) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    settled.controller().reconcile("web")
    settled.clock.advance(hours=1)
    gone = sorted((one.location, one.id) for one in settled.artifacts("web"))
    settled.commit(no_image_files("web"))
    controller = settled.controller()
    kept = controller.plan("web")["web"]
    assert (kept.retires, kept.waits_for) == ((), "kept; `--prune` deletes 4 artifacts in 2 locations")
    planned = controller.plan("web", prune=True)["web"]
    assert [(one.location, one.id) for one in planned.retires] == gone
    report = controller.reconcile("web", prune=True)
    listed = "  ".join(" ".join([place, *(id_ for where, id_ in gone if where == place)]) for place in (EU, US))
    assert did(report) == (Deed("retired", f"4 artifacts in 2 locations: {listed}, and its record"),)
    assert all(f"Retired {place} {id_}." in body(settled) for place, id_ in gone)
    assert settled.artifacts("web") == []
