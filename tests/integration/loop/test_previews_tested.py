"""A preview is smoke-tested once: its merge finds that it passed, and what was inside. Otherwise it is tested again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reconciler.model.inventory import Package
from reconciler.model.smoke_test import FailedTest, SmokeTestResult
from reconciler.state.sbom import render_sbom
from reconciler.steps.run import Report
from reconciler.words import comment
from reconciler.words.comment import Previewed
from tests.doubles.tester import NOTHING_INSIDE
from tests.integration.loop.effects import meanwhile, surround
from tests.integration.loop.pull_request import BRANCH, merge, on_branch, push
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import Controller, World, git, results, statuses

NGINX = FailedTest(test="desired/web/smoke/test_web.py::test_nginx", what="assert False is True")
FAILED = SmokeTestResult(status="failed", tests=9, seconds=38, failed=(NGINX,))
WEB = {"desired/web/setup.sh": "echo more\n"}


def not_passing(world: World, changes: dict[str, str | None] | None = None) -> Controller:
    """A job on a branch whose build of web does not pass."""
    job = on_branch(world, changes or WEB)
    job.tester.results = {"web": FAILED}
    return job


def commented(report: Report) -> str:
    """The comment on the pull request."""
    return comment.render(
        report.plan,
        {
            one.image: Previewed(one.build, one.why, tested=one.tested, difference=one.difference)
            for one in report.results
        },
    )


def test_a_preview_that_does_not_pass_says_so_in_its_tag_and_its_comment(pair: World) -> None:
    head = pair.head()
    job = not_passing(pair)
    report = job.preview(BRANCH)
    assert (report.exit_code, statuses(report)) == (3, {"web": "failed"})
    build_id = job.builder.requests[0].build_id
    message = git(pair.origin, "tag", "--list", "--format=%(contents)", f"image/web/{build_id}")
    assert "status: failed" in message
    assert NGINX.what in message
    (row,) = [line for line in commented(report).splitlines() if line.startswith("| **web**")]
    assert "| rejected |" in row
    assert f"`{NGINX.test}: {NGINX.what}`" in row
    assert [one.own("phase") for one in pair.artifacts("web") if one.own("build") == build_id] == ["rejected"]
    assert pair.head() == head


def test_who_pushes_again_asks_for_another_try(pair: World) -> None:
    not_passing(pair).preview(BRANCH)
    pair.clock.advance(minutes=1)
    again = pair.controller("pull-request")
    assert (statuses(again.preview(BRANCH)), again.built) == ({"web": "built"}, ["web"])


def test_the_merge_of_a_preview_that_did_not_pass_builds_anew(pair: World) -> None:
    not_passing(pair).preview(BRANCH)
    head = merge(pair)
    pair.clock.advance(hours=1)
    after = pair.controller()
    assert (statuses(after.reconcile()), after.built) == ({"web": "built"}, ["web"])
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_a_preview_of_a_parent_that_does_not_pass_skips_its_children(pair: World) -> None:
    job = on_branch(pair)
    job.tester.results = {"base": FAILED}
    assert statuses(job.preview(BRANCH)) == {"base": "failed", "web": "skipped"}
    assert job.built == ["base"]


def test_the_merge_boots_nothing_that_passed_and_takes_its_sbom_over_byte_for_byte(pair: World) -> None:
    inside = replace(NOTHING_INSIDE, packages=(Package("nginx", "1.22.1-9+deb12u2", "amd64", "deb"),))
    pair.inside["web"] = inside
    job = on_branch(pair, WEB)
    assert statuses(job.preview(BRANCH)) == {"web": "built"}
    build_id = job.builder.requests[0].build_id
    head = merge(pair)
    pair.clock.advance(hours=1)
    after = pair.controller()
    assert statuses(after.reconcile()) == {"web": "adopted"}
    assert after.tester.requests == []
    newest = pair.lock("web").builds[0]
    assert newest.inventory is not None
    assert newest.inventory.packages == 1
    tagged = git(pair.origin, "cat-file", "-p", f"sbom/web/{build_id}^{{}}")
    assert pair.show(newest.inventory.sbom) == tagged
    assert f"{tagged}\n".encode() == render_sbom("web", build_id, inside)
    assert_settled(pair, since=head)


def _remove(world: World, build_id: str) -> None:
    git(world.origin, "tag", "--delete", f"sbom/web/{build_id}")


def _replace(world: World, build_id: str, content: bytes) -> None:
    path = world.root / "forged"
    path.write_bytes(content)
    blob = git(world.origin, "hash-object", "-w", str(path))
    git(world.origin, "tag", "--force", "--annotate", "--message", "forged", f"sbom/web/{build_id}", blob)


def _forge(world: World, build_id: str) -> None:
    _replace(world, build_id, render_sbom("web", build_id, replace(NOTHING_INSIDE, kernel="forged")))


def _scribble(world: World, build_id: str) -> None:
    _replace(world, build_id, b"\xff\x00 no SBOM")


@pytest.mark.thorough
@pytest.mark.parametrize("tamper", [_remove, _forge, _scribble])
def test_what_is_not_known_from_the_inside_is_booted_again(pair: World, tamper: object) -> None:
    job = on_branch(pair, WEB)
    job.preview(BRANCH)
    assert callable(tamper)
    tamper(pair, job.builder.requests[0].build_id)
    head = merge(pair)
    pair.clock.advance(hours=1)
    # A job of its own: the one that previewed has the tags.
    after = pair.controller("main-job")
    assert (statuses(after.reconcile()), after.built) == ({"web": "adopted"}, [])
    assert [request.image for request in after.tester.requests] == ["web"]
    newest = pair.lock("web").builds[0]
    assert newest.inventory is not None
    assert newest.inventory.kernel == newest.id, "what the test found, not what the tag said"
    assert_settled(pair, since=head, clone="main-job")


def test_an_artifact_that_nobody_tagged_as_passed_is_booted_again(pair: World) -> None:
    job = on_branch(pair, WEB)
    job.preview(BRANCH)
    for one in pair.artifacts("web"):
        if one.own("branch") == BRANCH:
            pair.registry.tag(one, {"reconciler:smoke": ""})
    head = merge(pair)
    pair.clock.advance(hours=1)
    after = pair.controller()
    assert statuses(after.reconcile()) == {"web": "adopted"}
    assert len(after.tester.requests) == 1
    assert_settled(pair, since=head)


def test_a_record_in_a_tag_does_not_say_where_files_go_in_state(pair: World) -> None:
    """Whoever may push tags could have an SBOM written over another image's lockfile, or one deleted later."""
    job = on_branch(pair, WEB)
    job.preview(BRANCH)
    build_id = job.builder.requests[0].build_id
    name = f"image/web/{build_id}"
    message = git(pair.origin, "tag", "--list", "--format=%(contents)", name)
    start = message.index("\n{\n") + 1
    record = json.loads(message[start : message.rindex("\n}") + 2])
    record["inventory"]["sbom"] = "base.lock.json"
    record["provenance"] = "base.lock.json"
    forged = f"{message[:start]}{json.dumps(record, indent=2)}\n"
    git(pair.origin, "tag", "--force", "--annotate", "--message", forged, name, f"{name}^{{}}")
    base = pair.lock("base")
    head = merge(pair)
    pair.clock.advance(hours=1)
    assert statuses(pair.controller("main-job").reconcile()) == {"web": "adopted"}
    newest = pair.lock("web").builds[0]
    assert newest.inventory is not None
    assert newest.inventory.sbom == f"sbom/web/{build_id}.cdx.json"
    assert newest.provenance != "base.lock.json"
    assert pair.lock("base") == base
    assert_settled(pair, since=head, clone="main-job")


def test_a_branch_that_finds_a_build_another_branch_is_still_testing_tests_it_itself(pair: World) -> None:
    """Both pass, both branches are noted on it, and the merge of either promotes it without a further boot."""
    one = on_branch(pair, WEB)
    git(pair.root, "clone", "--quiet", "origin.git", "other")
    git(pair.root / "other", "switch", "--quiet", "--create", "feature/same")
    pair.commit(WEB, "The same", push=False, where="other")
    git(pair.root / "other", "push", "--quiet", "origin", "feature/same")
    two = pair.controller("other")
    done: list[Report] = []
    around = meanwhile("test web", lambda: done.append(two.preview("feature/same")))
    assert statuses(surround(one, around).preview(BRANCH)) == {"web": "built"}
    assert statuses(done[0]) == {"web": "adopted"}
    assert (two.built, len(two.tester.requests)) == ([], 1)
    made = [seen for seen in pair.artifacts("web") if seen.own("branch")]
    assert [set((seen.own("branch") or "").split()) for seen in made] == [{BRANCH, "feature/same"}]
    head = merge(pair)
    pair.clock.advance(hours=1)
    after = pair.controller()
    assert (statuses(after.reconcile()), after.tester.requests) == ({"web": "adopted"}, [])
    assert_settled(pair, since=head)


def test_a_preview_that_does_not_pass_takes_nothing_from_a_build_that_main_has_recorded(pair: World) -> None:
    """A revert asks for an older build once more. `stable` may fall back to it: no pull request may reject it."""
    first = pair.lock("web").builds[0]
    pair.commit(WEB)
    assert pair.controller().reconcile().exit_code == 0
    for artifact in first.artifacts:
        pair.registry.tag(artifact, {"reconciler:smoke": ""})
    job = not_passing(pair, {"desired/web/setup.sh": "true\n"})
    assert statuses(job.preview(BRANCH)) == {"web": "failed"}
    assert {one.own("phase") for one in pair.artifacts("web") if one.own("build") == first.id} == {"superseded"}


def test_a_second_push_is_built_beside_what_did_not_pass(pair: World) -> None:
    not_passing(pair).preview(BRANCH)
    push(pair, {"desired/web/setup.sh": "echo fixed\n"})
    again = pair.controller("pull-request")
    report = again.preview(BRANCH)
    assert statuses(report) == {"web": "built"}
    tested = results(report)["web"].tested
    assert tested is not None
    assert "| 7 passed |" in commented(report)
