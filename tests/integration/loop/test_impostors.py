"""Somebody who may make and tag artifacts gives one of his own the marks of a build of ours: it is told from that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from reconciler.model.errors import Transient
from reconciler.model.events import Warned
from reconciler.model.observation import Seen
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.source import Pin, SourceRequest
from reconciler.plan.key import short
from reconciler.plan.key import wanted as want
from reconciler.plan.tags import own, when_complete
from tests.doubles.registry import Upstream
from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.pull_request import BRANCH, merge, on_branch
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import (
    DEBIAN,
    EU,
    FLEET,
    ON_BASE,
    ON_TOOLBOX,
    SETTINGS,
    US,
    Controller,
    World,
    git,
    image_files,
    statuses,
)

SIGNING = f"{SETTINGS}git: {{sign: true}}\n"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.begin(tmp_path)


def impostor(world: World, of: Seen, *, location: str | None = None, name: str | None = None) -> Seen:
    """An artifact of his own with all the marks of another, and its name where that is free."""
    return world.registry.seed(location or of.location, name or of.name, tags=dict(of.tags), created=of.created)


def unmark(world: World, artifact: Seen) -> None:
    """Somebody takes our key off an artifact, so that it counts as partial."""
    tags = {name: value for name, value in artifact.tags.items() if name != "reconciler:key"}
    world.registry._artifacts[artifact.place] = replace(artifact, tags=tags)


def previewed(world: World, keys: Keys) -> Seen:
    """A pull request was previewed by a job that signs, and is merged. Returns what it built."""
    world.commit({"desired/reconciler.yaml": SIGNING})
    on_branch(world, {"desired/web/setup.sh": "echo more\n"})
    assert statuses(signing(world, keys, "pull-request").preview(BRANCH)) == {"web": "built"}
    (made,) = [one for one in world.artifacts("web") if one.own("branch") == BRANCH]
    merge(world)
    world.clock.advance(hours=1)
    return made


def says_to_be_of(world: World, job: Controller, *, source: str) -> Seen:
    """An artifact whose tags say to be what the image site asks for, on some source."""
    image = job.look()[0].fleet.images["site"]
    wanted = want(image, Pin.model_validate({"ami": {"region": US, "id": source}}))
    build_id = f"20261121T101530Z-{short(wanted.key)}"
    tags = when_complete(
        fleet=FLEET, image=image, build_id=build_id, wanted=wanted, commit=world.head(), phase="preliminary"
    )
    return world.registry.seed(US, f"site-{build_id}", tags=tags)


def recorded(world: World) -> dict[str, str]:
    """What the newest build of web has, by region."""
    return {one.location: one.id for one in world.lock("web").builds[0].artifacts}


@pytest.mark.thorough
@pytest.mark.parametrize("sign", [True, False])
def test_what_has_the_marks_of_a_preview_is_tested_and_does_not_get_its_record(
    pair: World, keys: Keys, *, sign: bool
) -> None:
    # Given a signed record of a preview that passed, whose artifact was hidden, and another that says to be it
    made = previewed(pair, keys)
    if not sign:
        pair.commit({"desired/reconciler.yaml": SETTINGS})
    theirs = impostor(pair, made, name="another")
    unmark(pair, made)

    # When main's job finds the key that it wants
    main = signing(pair, keys, "main-job")
    assert statuses(main.reconcile()) == {"web": "adopted"}

    # Then it believes nothing of it, boots it, and says nothing of who built it
    assert recorded(pair)[US] == theirs.id
    assert [one.image for one in main.tester.requests] == ["web"]
    assert pair.lock("web").builds[0].packer is None


NOT_BOOTED = {
    "desired/web/image.yaml": f"{ON_BASE}smoke_test: {{boot: false}}\n",
    "desired/web/setup.sh": "echo more\n",
}


def says_to_be_wanted(world: World, job: Controller, *, build_id: str = "") -> Seen:
    """An artifact of his own with the marks of what web is to become."""
    key = job.plan()["web"].key or ""
    build = build_id or f"{world.clock():%Y%m%dT%H%M%SZ}-{short(key)}"
    marks = own(fleet=FLEET, image="web", build=build, key=key, commit=world.head(), phase="preliminary")
    return world.registry.seed(US, f"web-{build}", tags=marks)


def test_what_is_not_booted_is_not_adopted_by_its_marks_alone(pair: World) -> None:
    # Given an image that nobody boots, and an artifact of somebody's that says to be the build that it waits for
    pair.commit(NOT_BOOTED)
    main = pair.controller()
    theirs = says_to_be_wanted(pair, main)

    # When main's job runs
    assert statuses(main.reconcile()) == {"web": "built"}

    # Then what it built is stable, it was told why, and what somebody made is left alone
    lock = pair.lock("web")
    assert lock.channels.stable == lock.builds[0].id
    assert theirs.id not in recorded(pair).values()
    assert any("neither a record nor a test" in str(one) for one in main.told(Warned, "web"))
    assert pair.registry.find(US, theirs.id) == theirs


def test_what_a_preview_does_not_boot_gets_no_record_by_its_marks_alone(pair: World) -> None:
    # Given a preview of an image that nobody boots, which somebody takes away with its record, and puts his own there
    job = on_branch(pair, NOT_BOOTED)
    assert statuses(job.preview(BRANCH)) == {"web": "built"}
    (made,) = [one for one in pair.artifacts("web") if one.own("branch") == BRANCH]
    theirs = impostor(pair, made, name="another")
    pair.registry.delete(made)
    for repository in (pair.origin, job.root):
        git(repository, "tag", "--delete", f"image/web/{made.own('build')}")

    # When the branch is previewed once more, and merged
    assert statuses(job.preview(BRANCH)) == {"web": "built"}
    merge(pair)
    pair.clock.advance(hours=1)
    assert statuses(pair.controller("main-job").reconcile()) == {"web": "adopted"}

    # Then what the job built is stable
    assert theirs.id not in recorded(pair).values()


def test_what_is_not_booted_is_adopted_as_recorded_whatever_newer_thing_has_its_marks(pair: World) -> None:
    job = on_branch(pair, NOT_BOOTED)
    assert statuses(job.preview(BRANCH)) == {"web": "built"}
    (made,) = [one for one in pair.artifacts("web") if one.own("branch") == BRANCH]
    merge(pair)
    pair.clock.advance(hours=1)
    main = pair.controller("main-job")
    says_to_be_wanted(pair, main)

    assert statuses(main.reconcile()) == {"web": "adopted"}

    assert recorded(pair)[US] == made.id


def test_a_preview_that_was_built_is_copied_and_not_taken_from_where_it_never_was(pair: World, keys: Keys) -> None:
    made = previewed(pair, keys)
    theirs = impostor(pair, made, location=EU)

    main = signing(pair, keys, "main-job")
    assert statuses(main.reconcile()) == {"web": "adopted"}

    assert recorded(pair)[US] == made.id
    assert recorded(pair)[EU] != theirs.id
    assert main.tester.requests == []


def test_of_several_that_nobody_recorded_the_tested_one_is_adopted_with_its_copies(pair: World) -> None:
    # Given a build of which no record is left, its copy, and a stranger with its marks
    ours = {one.location: one for one in pair.artifacts("web")}
    pair.registry.delete(ours[EU])
    theirs = impostor(pair, ours[EU])
    lockfile = "state/web.lock.json"
    pair.commit({lockfile: None}, "Lose web")
    (tag,) = [name for name in pair.tags() if name.startswith("image/web/")]
    pair.registry.tag(ours[US], {"reconciler:smoke": "passed"})
    controller = pair.controller("main-job")
    git(pair.origin, "tag", "--delete", tag)
    git(controller.root, "tag", "--delete", tag)

    controller.reconcile()

    assert recorded(pair)[US] == ours[US].id
    assert recorded(pair)[EU] != theirs.id
    assert [one.image for one in controller.tester.requests] == ["web"]


@pytest.mark.parametrize("name", ["another", None])
def test_nothing_but_a_copy_takes_the_place_of_a_lost_artifact(pair: World, name: str | None) -> None:
    ours = next(one for one in pair.artifacts("web") if one.location == EU)
    pair.registry.delete(ours)
    theirs = impostor(pair, ours, name=name)
    pair.clock.advance(hours=1)

    assert statuses(pair.controller().reconcile()) == {"web": "changed"}

    assert recorded(pair)[EU] not in (ours.id, theirs.id)


def test_a_copy_whose_run_was_killed_before_it_recorded_it_is_recorded(pair: World) -> None:
    build = pair.lock("web").builds[0]
    here, there = (one for one in sorted(build.artifacts, key=lambda one: one.location != US))
    pair.registry.delete(there)
    tags = dict(pair.artifacts("web")[0].tags)
    copy = pair.registry.copy(here, to=EU, name=here.name or "", tags=tags, token="killed")
    pair.registry.wait_available(EU, copy, timeout=60)
    pair.clock.advance(days=2)
    head = pair.head()

    assert statuses(pair.controller().reconcile()) == {"web": "changed"}

    assert recorded(pair)[EU] == copy
    assert_settled(pair, since=head)


@pytest.mark.thorough
@pytest.mark.parametrize("told", ["HEAD", "refs/heads/feature/more", "--help", "closes #1 @acme/team", "0" * 39])
def test_what_names_no_commit_is_not_the_one_that_was_built(pair: World, told: str) -> None:
    # Given a preview that was merged and whose tags are gone, and other words where its commit stood
    job = on_branch(pair, {"desired/web/setup.sh": "echo more\n"})
    job.preview(BRANCH)
    head = merge(pair)
    pair.clock.advance(hours=1)
    build_id = job.builder.requests[0].build_id
    for name in (f"image/web/{build_id}", f"sbom/web/{build_id}"):
        git(pair.origin, "tag", "--delete", name)
    for one in pair.artifacts("web"):
        if one.own("build") == build_id:
            pair.registry.tag(one, {"reconciler:commit": told})

    # When main's job adopts it
    assert statuses(pair.controller("main-job").reconcile()) == {"web": "adopted"}

    # Then it is recorded for the commit that asked for it, and tagged there
    assert pair.lock("web").builds[0].commit == head
    assert git(pair.origin, "rev-parse", f"image/web/{build_id}^{{}}") == head


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize(
    ("owner", "name", "taken"),
    [
        ("999999999999", "toolbox-0", False),
        (DEBIAN, "debian-12-amd64-20261101", False),
        (DEBIAN, "toolbox-0", True),
        (DEBIAN, None, False),
    ],
)
def test_a_source_that_only_a_tag_names_is_taken_where_it_is_what_was_asked_for(
    pair: World, owner: str, name: str | None, *, taken: bool
) -> None:
    # Given an image that has no pin yet, and an artifact that says to be of its inputs, on another source
    pair.commit(image_files("site", ON_TOOLBOX))
    source = Upstream(US, "ami-0bad", name or "", "2026-10-01T00:00:00Z", (owner,))
    pair.registry.upstreams += [source] if name is not None else []
    main = pair.controller("main-job")
    says_to_be_of(pair, main, source=source.id)

    # When main's job runs
    assert statuses(main.reconcile()) == {"site": "adopted" if taken else "built"}

    # Then nothing is built on what nobody asked for, now or later
    pinned = pair.lock("site").source
    assert pinned is not None
    assert pinned.pinned.upstream is not None
    assert (pinned.pinned.upstream.id == source.id) == taken
    assert pinned.pinned.upstream.owner == DEBIAN


def test_the_reviewed_source_stays_where_the_record_names_it_and_it_is_gone_by_now(pair: World) -> None:
    job = on_branch(pair, image_files("site", ON_TOOLBOX))
    assert statuses(job.preview(BRANCH)) == {"site": "built"}
    (made,) = pair.artifacts("site")
    pair.publish_upstream("toolbox-2")
    pair.registry.upstreams[:] = [one for one in pair.registry.upstreams if one.name != "toolbox-1"]
    merge(pair)
    pair.clock.advance(hours=1)

    assert statuses(pair.controller("main-job").reconcile()) == {"site": "adopted"}

    pinned = pair.lock("site").source
    assert pinned is not None
    assert pinned.pinned.upstream is not None
    assert (pinned.pinned.upstream.name, [made.id]) == (
        "toolbox-1",
        [one.id for one in pair.lock("site").builds[0].artifacts if one.location == US],
    )


def test_where_a_source_can_not_be_looked_up_nothing_is_done(pair: World, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = pair.registry.resolve

    def throttled(request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        if request.upstream == ("ami", {"id": "ami-0bad"}):
            raise Transient("too many requests")
        return resolve(request, location=location, architecture=architecture)

    monkeypatch.setattr(pair.registry, "resolve", throttled)
    pair.commit(image_files("site", ON_TOOLBOX))
    main = pair.controller("main-job")
    says_to_be_of(pair, main, source="ami-0bad")

    report = main.reconcile()

    assert (report.exit_code, main.built, pair.recorded()) == (3, [], ["base", "web"])


@pytest.mark.parametrize("image", ["web", "nobodys"])
@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"key": "sha256:0", "phase": "preliminary", "branch": "long-gone"},
        {"key": "sha256:0", "phase": "rejected", "smoke": "failed"},
    ],
    ids=["left over", "preview", "rejected"],
)
def test_nothing_is_retired_that_only_its_tags_call_ours(pair: World, tags: dict[str, str], image: str) -> None:
    # Given another team's artifact, which somebody gives the tags of what nobody needs any more
    theirs = pair.registry.seed(US, "payroll-2026", tags={"team": "payroll"}, created="2026-10-02T00:00:00Z")
    ours = {"fleet": FLEET, "image": image, "build": "20261001T000000Z-1a2b3c4", **tags}
    pair.registry.tag(theirs, own(**ours))

    # When main's job runs
    main = pair.controller()
    planned = main.plan()
    report = main.reconcile()

    # Then it stays, and a person is told of it
    assert pair.registry.find(US, theirs.id) is not None
    assert all(one.retires == () for one in planned.values())
    assert report.exit_code == 0
    if image == "web":
        assert theirs.id in " ".join(planned["web"].notes)


@pytest.mark.parametrize("passes", [True, False])
def test_a_preview_with_a_name_of_its_template_s_own_goes_as_its_record_names_it(pair: World, *, passes: bool) -> None:
    # Given a preview, or one that did not pass, whose template gives a name that says nothing
    job = on_branch(pair, {"desired/web/setup.sh": "echo more\n"})
    job.builder.artifacts = lambda request: (pair.make(request, name="a template's own").as_artifact("amazon-ebs.web"),)
    status: Literal["passed", "failed"] = "passed" if passes else "failed"
    job.tester.results = {"web": SmokeTestResult(status=status, tests=7, seconds=0)}
    job.preview(BRANCH)
    (made,) = [one for one in pair.registry.artifacts if one.name == "a template's own"]
    git(pair.origin, "branch", "--delete", "--force", BRANCH)

    # When its time is over
    pair.pass_days(9)
    pair.controller("main-job").reconcile()

    assert pair.registry.find(made.location, made.id) is None


def test_what_is_marked_as_a_stable_build_is_not_called_stable_by_us(settled: World) -> None:
    # Given somebody's AMI with the marks of the build that is stable, by who may not write that it is
    ours = settled.artifacts("base")[0]
    marks = {name: value for name, value in ours.tags.items() if name != "reconciler:phase"}
    theirs = settled.registry.seed(ours.location, "his-own", tags={**marks, "reconciler:channel": "candidate"})

    settled.controller().reconcile()

    now = settled.registry.find(theirs.location, theirs.id)
    assert now is not None
    assert (now.own("phase"), now.own("channel")) == (None, "none")
