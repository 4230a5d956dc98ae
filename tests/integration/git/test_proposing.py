"""Recording by pull request: one branch, one commit, made anew, and never on top of what a person committed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.git.objects import Change, Commit, TagRequest
from reconciler.git.proposal import PROPOSAL
from reconciler.git.recorder import Recorder
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Terminal, UserError
from reconciler.model.tree import Tree
from tests.integration.git.conftest import Origin, commit, git, lock_path, writing

RecorderIn = Callable[..., Recorder]
PROPOSING = GitSettings(push="pull-request")


def commits_above_main(origin: Origin) -> int:
    return int(git(origin.path, "rev-list", "--count", f"main..{PROPOSAL}"))


def test_the_default_branch_is_left_alone_and_the_state_proposed(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    before = origin.head()

    result = recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))

    assert result is not None
    assert (result.branch, result.commit) == (PROPOSAL, origin.head(PROPOSAL))
    assert origin.head() == before
    assert origin.show("state/web.lock.json", PROPOSAL) == "{}"


def test_a_run_that_records_three_images_proposes_one_commit(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    recorder = recorder_in(clone, PROPOSING)

    for image in ("api", "base", "web"):
        recorder.record(writing(image, f'"{image}"\n'))

    assert commits_above_main(origin) == 1
    assert git(origin.path, "log", "-1", "--format=%s", PROPOSAL) == "Record state: api, base, web"
    assert [path for path in origin.files(PROPOSAL) if path.startswith("state/")] == [
        lock_path("api"), lock_path("base"), lock_path("web"),
    ]  # fmt: skip


def test_what_a_run_proposed_itself_stays_in_its_proposal_and_the_next_run_asks_our_records(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    # Given what no record of ours confirms, as what becomes of builds that are there
    recorder = recorder_in(clone, PROPOSING, confirms=False)

    for image in ("api", "base", "web"):
        recorder.record(writing(image, f'"{image}"\n'))
    assert git(origin.path, "log", "-1", "--format=%s", PROPOSAL) == "Record state: api, base, web"

    recorder_in(clone, PROPOSING, confirms=False).record(writing("tools", '"tools"\n'))
    assert [path for path in origin.files(PROPOSAL) if path.startswith("state/")] == [lock_path("tools")]


def test_two_fleets_of_a_repository_propose_on_branches_of_their_own(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    commit(clone, {"infra/desired/web/web.pkr.hcl": "source {}\n"}, "Declare another fleet")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))

    for image in ("web", "api"):
        result = recorder_in(clone / "infra", PROPOSING).record(writing(image, "[]\n"))

    assert result is not None
    assert result.branch == "reconciler/state-infra"
    assert [path for path in origin.files(result.branch) if "state/" in path] == [
        "infra/state/api.lock.json", "infra/state/web.lock.json",
    ]  # fmt: skip
    assert [path for path in origin.files(PROPOSAL) if "state/" in path] == ["state/web.lock.json"]
    # Merged, and moved on: what is proposed is made anew on it, and nothing is proposed twice.
    git(clone, "fetch", "--quiet", "origin", "reconciler/state-infra")
    git(clone, "merge", "--quiet", "--ff-only", "FETCH_HEAD")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    again = recorder_in(clone / "infra", PROPOSING).record(writing("web", "[1]\n"))
    assert again is not None
    assert git(origin.path, "diff", "--name-only", "main", again.branch) == "infra/state/web.lock.json"


def test_proposing_the_same_again_pushes_nothing(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))
    before = origin.head(PROPOSAL)

    result = recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))

    assert result is not None
    assert not result.changed
    assert origin.head(PROPOSAL) == before


def test_when_main_moves_on_the_proposal_is_made_anew_on_it(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))
    commit(clone, {"README.md": "moved on\n"}, "Write the readme")
    git(clone, "push", "--quiet", "origin", "HEAD:main")

    recorder_in(clone, PROPOSING).record(writing("api", "{}\n"))

    assert commits_above_main(origin) == 1
    assert git(origin.path, "merge-base", "main", PROPOSAL) == origin.head()
    assert origin.show("README.md", PROPOSAL) == "moved on"
    assert origin.show("state/web.lock.json", PROPOSAL) == "{}"
    assert origin.show("state/api.lock.json", PROPOSAL) == "{}"


@pytest.mark.parametrize("merge", [("--squash",), ("--no-ff", "-m", "Merge the state")])
def test_after_its_merge_nothing_is_left_to_propose(
    origin: Origin, clone: Path, recorder_in: RecorderIn, merge: tuple[str, ...]
) -> None:
    recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))
    git(clone, "fetch", "--quiet", "origin", PROPOSAL)
    git(clone, "merge", "--quiet", *merge, "FETCH_HEAD")
    if "--squash" in merge:
        git(clone, "commit", "--quiet", "-m", "Record state (#7)")
    git(clone, "push", "--quiet", "origin", "HEAD:main")

    again = recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))
    more = recorder_in(clone, PROPOSING).record(writing("api", "{}\n"))

    assert again is not None
    assert not again.changed
    assert more is not None
    assert git(origin.path, "diff", "--name-only", "main", PROPOSAL) == lock_path("api")


def test_what_main_recorded_since_is_not_turned_back(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    recorder_in(clone, PROPOSING).record(writing("web", '"proposed"\n'))
    commit(clone, {lock_path("web"): '"by hand"\n'}, "Take the state back")
    git(clone, "push", "--quiet", "origin", "HEAD:main")

    recorder_in(clone, PROPOSING).record(writing("api", "{}\n"))

    assert origin.show(lock_path("web"), PROPOSAL) == '"by hand"'


def test_what_is_proposed_of_an_image_that_main_recorded_goes_as_a_whole(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    sbom = Change("state/sbom/web/1.cdx.json", b"{}\n")

    def with_sbom(tree: Tree) -> Commit:
        made = writing("web", '"proposed"\n')(tree)
        return Commit((*made.changes, sbom), made.message)

    recorder_in(clone, PROPOSING).record(with_sbom)
    assert sbom.path in origin.files(PROPOSAL)
    commit(clone, {lock_path("web"): '"by hand"\n'}, "Take the state back")
    git(clone, "push", "--quiet", "origin", "HEAD:main")

    recorder_in(clone, PROPOSING).record(writing("api", "{}\n"))

    assert git(origin.path, "diff", "--name-only", "main", PROPOSAL) == lock_path("api")


def test_nothing_is_put_on_top_of_a_persons_commit(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))
    person = origin.clone("person", "--branch", PROPOSAL)
    commit(person, {lock_path("web"): '"fixed"\n'}, "Fix by hand")
    git(person, "push", "--quiet", "origin", f"HEAD:{PROPOSAL}")
    theirs = origin.head(PROPOSAL)

    with pytest.raises(Terminal, match=r"somebody committed to the branch reconciler/state \(Ada"):
        recorder_in(clone, PROPOSING).record(writing("api", "{}\n"))

    assert origin.head(PROPOSAL) == theirs


@pytest.mark.parametrize("parents", [["main", "main~1"], []], ids=["a merge", "a beginning"])
def test_nothing_is_put_on_what_we_never_make_under_whichever_name(
    origin: Origin, clone: Path, recorder_in: RecorderIn, parents: list[str]
) -> None:
    """A proposal is one commit on one other."""
    commit(clone, {"README.md": "a word\n"})
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))
    name, mail = PROPOSING.author.removesuffix(">").split(" <")
    ours = ["-c", f"user.name={name}", "-c", f"user.email={mail}"]
    above = [word for parent in parents for word in ("-p", parent)]
    made = git(origin.path, *ours, "commit-tree", f"{PROPOSAL}^{{tree}}", *above, "-m", "Record state: web")
    git(origin.path, "update-ref", f"refs/heads/{PROPOSAL}", made)

    with pytest.raises(Terminal, match="somebody committed to the branch"):
        recorder_in(clone, PROPOSING).record(writing("api", "{}\n"))

    assert origin.head(PROPOSAL) == made


def test_a_merged_proposal_blocks_nobody_even_with_a_persons_commit_in_it(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    recorder_in(clone, PROPOSING).record(writing("web", "{}\n"))
    git(clone, "fetch", "--quiet", "origin", PROPOSAL)
    git(clone, "merge", "--quiet", "--squash", "FETCH_HEAD")
    git(clone, "commit", "--quiet", "-m", "Record state (#7)")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    person = origin.clone("person", "--branch", PROPOSAL)
    commit(person, {"README.md": "a word\n"}, "Say a word")
    git(person, "push", "--quiet", "origin", f"HEAD:{PROPOSAL}")

    recorder_in(clone, PROPOSING).record(writing("api", "{}\n"))

    assert git(origin.path, "diff", "--name-only", "main", PROPOSAL) == lock_path("api")


def test_a_tag_goes_along_and_a_lost_race_is_run_again(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    other = recorder_in(origin.clone("other"), PROPOSING)
    tag = TagRequest("image/web/20261122T101530Z-1a2b3c4", origin.head(), "web: built")
    raced: list[bool] = []

    def regenerate(tree: object) -> object:
        if not raced:
            raced.append(True)
            other.record(writing("api", "{}\n"))
        return writing("web", "{}\n", tag)(tree)  # type: ignore[arg-type]  # any tree will do

    result = recorder_in(clone, PROPOSING).record(regenerate)  # type: ignore[arg-type]  # as above

    assert result is not None
    assert result.tries == 2
    assert commits_above_main(origin) == 1
    assert {lock_path("api"), lock_path("web")} <= set(origin.files(PROPOSAL))
    assert git(origin.path, "tag", "--list") == tag.name


def test_without_a_remote_there_is_nobody_to_propose_to(clone: Path, recorder_in: RecorderIn) -> None:
    git(clone, "remote", "remove", "origin")

    with pytest.raises(UserError, match="there is no remote to propose to"):
        recorder_in(clone, PROPOSING)
