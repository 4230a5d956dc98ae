"""A test stands for the suite and the settings that it was run with: what passed by others is tested again."""

from __future__ import annotations

import json

import pytest

from tests.integration.loop.pull_request import BRANCH, merge, on_branch
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import ON_BASE, Controller, Files, World, git, statuses

SUITE = "suites/web/test_web.py"
STRICT = f"{ON_BASE}smoke_test: {{suite: ../../suites/web}}\n"
REVIEWED: Files = {
    "desired/web/setup.sh": "echo more\n",
    "desired/web/image.yaml": STRICT,
    SUITE: "def test_nothing_listens(host):\n    assert not host.socket('tcp://0.0.0.0:4444').is_listening\n",
}


def previewed_first_by(world: World, files: Files) -> Controller:
    """A branch that nobody reviewed was previewed, and passed; then another was reviewed, and is merged."""
    job = on_branch(world, {**REVIEWED, **files})
    assert statuses(job.preview(BRANCH)) == {"web": "built"}
    world.commit(REVIEWED, "More (#8)")
    world.clock.advance(hours=1)
    return world.controller("main-job")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "files",
    [
        {"desired/web/image.yaml": ON_BASE},
        {SUITE: "def test_nothing(host):\n    pass\n"},
        {SUITE: None, "suites/web/test_other.py": "def test_nothing(host):\n    pass\n"},
        {"desired/web/image.yaml": STRICT.replace("web}", "web, user: root}")},
        {"desired/web/image.yaml": STRICT.replace("web}", "web, timeout: 1h}")},
        {"desired/web/image.yaml": STRICT.replace("web}", "web, boot: false}")},
    ],
    ids=["no suite", "emptied", "another file", "another login", "more time", "not booted"],
)
def test_what_passed_by_another_suite_is_tested_by_the_reviewed_one(pair: World, files: Files) -> None:
    main = previewed_first_by(pair, files)
    head = pair.head()

    assert (statuses(main.reconcile()), main.built) == ({"web": "adopted"}, [])

    assert [(one.image, one.suite_name) for one in main.tester.requests] == [("web", "suites/web")]
    assert_settled(pair, since=head, clone="main-job")


def test_what_passed_by_the_same_suite_is_not_tested_again(pair: World) -> None:
    main = previewed_first_by(
        pair, {"README.md": "Something else.\n", "desired/web/image.yaml": STRICT + "labels: {}\n"}
    )
    assert (statuses(main.reconcile()), main.tester.requests) == ({"web": "adopted"}, [])
    tested = pair.lock("web").builds[0].smoke_test
    assert tested is not None
    assert tested.suite is not None


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize(
    ("link", "shared"),
    [
        ("../shared/test_shared.py", "suites/shared/test_shared.py"),
        ("../also/test_shared.py", "suites/shared/test_shared.py"),
        ("../shared/test_caf\udce9.py", "suites/shared/test_caf\udce9.py"),
    ],
    ids=["a file", "by a link to its folder", "by a name that is not UTF-8"],
)
def test_what_a_link_in_the_suite_leads_to_is_of_the_suite(pair: World, link: str, shared: str) -> None:
    suite = pair.root / "person" / "suites" / "web"
    suite.mkdir(parents=True)
    suite.joinpath("test_shared.py").symlink_to(link)
    suite.with_name("also").symlink_to("shared")
    strict = {"desired/web/image.yaml": STRICT, shared: REVIEWED[SUITE]}
    pair.commit(strict, "Test more")
    pair.controller("main-job").reconcile()
    emptied = {shared: "def test_nothing(host):\n    pass\n"}
    job = on_branch(pair, {"desired/web/setup.sh": "echo more\n", **emptied})
    assert statuses(job.preview(BRANCH)) == {"web": "built"}
    pair.commit({"desired/web/setup.sh": "echo more\n"}, "More (#8)")
    pair.clock.advance(hours=1)

    main = pair.controller("main-job")
    assert (statuses(main.reconcile()), len(main.tester.requests)) == ({"web": "adopted"}, 1)


def test_a_record_of_before_results_were_bound_is_tested_again_and_not_refused(pair: World) -> None:
    job = on_branch(pair, {"desired/web/setup.sh": "echo more\n"})
    job.preview(BRANCH)
    tag = f"image/web/{job.builder.requests[0].build_id}"
    message = git(pair.origin, "tag", "--list", "--format=%(contents)", tag)
    before, _, record = message.partition("\n{\n")
    old = json.loads("{\n" + record)
    del old["smoke_test"]["suite"]
    target = git(pair.origin, "rev-parse", f"{tag}^{{}}")
    git(pair.origin, "tag", "--delete", tag)
    text = f"{before}\n{json.dumps(old, indent=2, sort_keys=True)}"
    git(pair.origin, "tag", "--annotate", "--message", text, tag, target)
    merge(pair)
    pair.clock.advance(hours=1)

    main = pair.controller("main-job")
    assert (statuses(main.reconcile()), main.built) == ({"web": "adopted"}, [])
    assert [one.image for one in main.tester.requests] == ["web"]
