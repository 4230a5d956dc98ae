"""What hosts answer to a push, in their own words, from hooks of a real git; and servers that can do less than git."""

from __future__ import annotations

import shlex
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.git.objects import Commit, Recorded, TagRequest
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Terminal, Transient
from tests.integration.git.conftest import Origin, Waits, commit, git, lock_path, writing

pytestmark = pytest.mark.long

RecorderIn = Callable[..., Recorder]

BRANCH_RULES = {
    "github": (
        "error: GH006: Protected branch update failed for refs/heads/main.\n"
        'error: Required status check "ci" is expected.'
    ),
    "github-ruleset": (
        "error: GH013: Repository rule violations found for refs/heads/main.\n\n"
        "- Changes must be made through a pull request.\n"
    ),
    "gitlab": "GitLab: You are not allowed to push code to protected branches on this project.",
    "bitbucket-cloud": "Permission denied to update branch main.",
    "bitbucket": (
        "Branch refs/heads/main can only be modified through pull requests.\n"
        "Check your branch permissions configuration with the project administrator."
    ),
    "azure": ("TF402455: Pushes to this branch are not permitted; you must use a pull request to update this branch."),
    "gitea": "Gitea: Not allowed to push to protected branch main",
    "forgejo": "Forgejo: branch main is protected from changing",
    "gitolite": "FATAL: W refs/heads/main fleet bot DENIED by fallthru",
}
TAG_RULES = {
    "github": (
        "error: GH006: Protected tag update failed for refs/tags/image/web/1.\n"
        "error: You're not authorized to create a tag"
    ),
    "github-ruleset": (
        "error: GH013: Repository rule violations found for refs/tags/image/web/1.\n\n"
        "- Cannot create ref due to creations being restricted.\n"
    ),
    "gitlab": "GitLab: You are not allowed to create this tag as it is protected.",
    "gitea": "Gitea: Tag image/web/1 is protected",
    "azure": "TF401027: You need the Git 'CreateTag' permission to perform this action.",
    "gitolite": "FATAL: C refs/tags/image/web/1 fleet bot DENIED by fallthru",
}
COMMIT_RULES = {
    "gitlab": "GitLab: Rejected: commit author reconciler@localhost is not a member of team",
    "azure": "VS403702: The push was rejected because one or more commits contain author email 'reconciler@localhost'",
    "bitbucket": "Commit 3f9c2aa committed by an unknown user\nYou must set user.email to the one of your account",
}


def tagged(clone: Path, *names: str) -> Callable[..., Commit]:
    """A regenerate that wants a lockfile and tags on the checkout's commit."""
    built = git(clone, "rev-parse", "HEAD")
    return writing("web", "{}\n", *(TagRequest(name, built, f"built {name}") for name in names or ("image/web/1",)))


def nothing_but_tags(clone: Path) -> Callable[..., Commit]:
    """The same without a lockfile, as for a preview: all of its record is in the tag."""
    return lambda tree: replace(tagged(clone)(tree), changes=())


def declines(words: str) -> str:
    return f"printf '%s\\n' {shlex.quote(words)} >&2; exit 1"


def refusal(recorder: Recorder, wanted: Callable[..., Commit]) -> list[str]:
    with pytest.raises(Terminal) as raised:
        recorder.record(wanted)
    return str(raised.value).splitlines()


@pytest.mark.parametrize("host", BRANCH_RULES)
def test_a_rule_on_the_branch_is_told_in_the_hosts_words_with_the_way_around_it(
    host: str, *, origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    origin.hook("pre-receive", declines(BRANCH_RULES[host]))

    what, *more = refusal(recorder_in(clone), tagged(clone))

    assert what.startswith(("the branch main refuses pushes", "origin refuses the push to main and its tags"))
    told = "\n".join([what, *more])
    for line in filter(None, BRANCH_RULES[host].splitlines()[1:]):
        assert f"  origin: {line}" in told
    assert more[-1] == "  set `git.push: pull-request` in desired/reconciler.yaml, or let the bot bypass the rule"
    assert waits == []


@pytest.mark.parametrize("host", TAG_RULES)
def test_a_rule_on_tags_is_not_taken_for_one_on_the_branch(
    host: str, *, origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    origin.hook("pre-receive", declines(TAG_RULES[host]))

    what, *more = refusal(recorder_in(clone), tagged(clone))

    assert what.startswith("origin refuses the tag image/web/1 (")
    assert more[-1] == "  let the bot create tags below image/: it is a rule on tags, and not on main"
    assert "pull-request" not in "\n".join(more)


def test_which_ref_a_hook_refuses_is_told_by_the_ref(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    origin.hook("update", 'case "$1" in refs/tags/sbom/*) echo "nothing of that kind here" >&2; exit 1;; esac')

    what, *_ = refusal(recorder_in(clone), tagged(clone, "image/web/1", "sbom/web/1"))

    assert what == "origin refuses the tag sbom/web/1 (nothing of that kind here)"


@pytest.mark.parametrize("host", COMMIT_RULES)
def test_a_rule_on_commits_names_the_setting_that_it_is_about(
    host: str, *, origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    origin.hook("pre-receive", declines(COMMIT_RULES[host]))

    what, *more = refusal(recorder_in(clone), tagged(clone))

    first = COMMIT_RULES[host].splitlines()[0]
    assert first in what
    assert "`git.author` in desired/reconciler.yaml says whose the commits are" in "\n".join(more)
    assert "pull-request" not in "\n".join(more)


def test_unsigned_commits_that_are_refused_are_to_be_signed(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    words = (
        "error: GH013: Repository rule violations found for refs/heads/main.\n- Commits must have verified signatures."
    )
    origin.hook("pre-receive", declines(words))

    _, *more = refusal(recorder_in(clone), tagged(clone))

    assert more[0:2] == [
        "  origin: error: GH013: Repository rule violations found for refs/heads/main.",
        "  origin: - Commits must have verified signatures.",
    ]
    assert "  set `git.sign: true` in desired/reconciler.yaml, and let origin know the key" in more


def test_a_proposed_branch_that_is_refused_is_not_answered_with_a_proposal(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    origin.hook(
        "pre-receive", declines("error: GH006: Protected branch update failed for refs/heads/reconciler/state.")
    )

    what, *more = refusal(recorder_in(clone, GitSettings(push="pull-request")), writing("web", "{}\n"))

    assert what == "the branch reconciler/state refuses pushes (GH006: protected branch)"
    assert more == ["  let the bot push to reconciler/state, from which its pull request is made"]


def test_what_a_server_says_steers_no_terminal_and_ends_somewhere(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    origin.hook(
        "pre-receive",
        r"""printf 'no \033]0;owned\007\033[31mway\n====\n' >&2
        i=0; while [ $i -lt 50 ]; do echo "reason $i: $(head -c 600 /dev/zero | tr '\0' x)"; i=$((i+1)); done >&2
        exit 1""",
    )

    lines = refusal(recorder_in(clone), writing("web", "{}\n"))

    assert lines[0] == r"the branch main refuses pushes (no \x1b]0;owned\x07\x1b[31mway)"
    assert len(lines) < 12
    assert max(map(len, lines)) < 250
    assert "====" not in "\n".join(lines)
    assert any("more lines" in line for line in lines)


def test_what_a_server_says_without_end_is_not_kept(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    origin.hook("pre-receive", "echo 'no way' >&2; head -c 40000000 /dev/zero | tr '\\0' x >&2; echo >&2; exit 1")
    recorder = recorder_in(clone)
    tracemalloc.start()
    try:
        lines = refusal(recorder, writing("web", "{}\n"))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert "no way" in lines[0]
    assert most < 20_000_000


@pytest.fixture
def one_by_one(origin: Origin) -> Origin:
    """An origin that takes refs one by one only, as CodeCommit and older Azure DevOps do."""
    git(origin.path, "config", "receive.advertiseAtomic", "false")
    return origin


def recorded(result: Recorded | None) -> Recorded:
    assert result is not None
    return result


def test_a_server_that_takes_refs_one_by_one_gets_the_branch_and_then_its_tags(
    one_by_one: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    one_by_one.hook("post-receive", "cat >> pushed; echo >> pushed")

    recorder = recorder_in(clone)
    first = recorded(recorder.record(tagged(clone, "image/web/1", "sbom/web/1")))
    second = recorded(recorder.record(writing("base", "{}\n", TagRequest("image/base/1", first.commit, "built"))))

    assert (first.tries, second.tries, waits) == (1, 1, [])
    assert one_by_one.head() == second.commit
    assert git(one_by_one.path, "tag", "--list").split() == ["image/base/1", "image/web/1", "sbom/web/1"]
    assert git(clone, "tag", "--list").split() == ["image/base/1", "image/web/1", "sbom/web/1"]
    pushes = one_by_one.path.joinpath("pushed").read_text().strip().split("\n\n")
    assert [push.split()[2] for push in pushes] == [
        "refs/heads/main", "refs/tags/image/web/1", "refs/heads/main", "refs/tags/image/base/1"
    ]  # fmt: skip


def test_a_branch_that_was_lost_there_gets_no_tags(one_by_one: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    other = one_by_one.clone("other")
    wanted, tries = tagged(clone), list[str]()

    def regenerate(tree: object) -> Commit | None:
        tries.append(git(one_by_one.path, "tag", "--list"))
        if len(tries) > 1:
            return None
        commit(other, {"more": "1"})
        git(other, "push", "--quiet", "origin", "HEAD:main")
        return wanted(tree)

    assert recorder_in(clone).record(regenerate) is None

    assert tries == ["", ""]


def test_tags_whose_push_broke_off_are_pushed_again(one_by_one: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    one_by_one.hook("update", 'case "$1" in refs/tags/*) test -e held || { touch held; kill -9 $PPID; } ;; esac')

    result = recorded(recorder_in(clone).record(tagged(clone)))

    assert (result.tries, result.changed, result.owed_tags) == (2, True, ())
    assert git(one_by_one.path, "tag", "--list") == "image/web/1"
    assert git(one_by_one.path, "rev-list", "--count", "main") == "2"


def test_a_record_whose_tags_are_refused_counts_and_says_which(
    one_by_one: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    one_by_one.hook("update", 'case "$1" in refs/tags/*) echo "GH006: Protected tag update failed" >&2; exit 1;; esac')

    result = recorded(recorder_in(clone).record(tagged(clone)))

    assert one_by_one.head() == result.commit
    assert (result.owed_tags, result.why_owed) == (
        ("image/web/1",), "origin refuses the tag image/web/1 (GH006: protected tag)"
    )  # fmt: skip


def test_a_tag_that_exists_there_stays_and_its_neighbours_are_made(
    one_by_one: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    git(one_by_one.path, "tag", "--annotate", "--message", "theirs", "image/web/1", "main")

    result = recorded(recorder_in(clone).record(tagged(clone, "image/web/1", "sbom/web/1")))

    assert (one_by_one.head(), result.owed_tags) == (result.commit, ())
    assert git(one_by_one.path, "tag", "--list").split() == ["image/web/1", "sbom/web/1"]
    assert git(one_by_one.path, "for-each-ref", "--format=%(contents:subject)", "refs/tags/image") == "theirs"


def test_a_run_that_died_between_branch_and_tags_is_healed_by_the_next_record(
    one_by_one: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    wanted = tagged(clone)
    one_by_one.hook("update", 'case "$1" in refs/tags/*) kill -9 $PPID ;; esac')
    broken = recorded(recorder_in(clone).record(wanted))
    one_by_one.hook("update", "exit 0")

    recorded(recorder_in(one_by_one.clone("next")).record(wanted))

    assert broken.owed_tags == ("image/web/1",)
    assert len(waits) == 9
    assert git(one_by_one.path, "tag", "--list") == "image/web/1"
    assert one_by_one.head() == broken.commit


def test_tags_alone_go_to_such_a_server_too(one_by_one: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    tags = tagged(clone, "image/web/1", "sbom/web/1")

    recorded(recorder_in(clone).record(lambda tree: Commit((), "", tags(tree).tags)))

    assert git(one_by_one.path, "tag", "--list").split() == ["image/web/1", "sbom/web/1"]


def test_a_proposal_goes_to_such_a_server_too(one_by_one: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    result = recorded(recorder_in(clone, GitSettings(push="pull-request")).record(tagged(clone)))

    assert one_by_one.head("reconciler/state") == result.commit
    assert git(one_by_one.path, "tag", "--list") == "image/web/1"


@pytest.mark.parametrize("words", [None, "(directory file conflict)"])
def test_a_tag_in_the_way_of_what_is_nothing_but_a_tag_is_named_at_once(
    words: str | None, *, origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    git(origin.path, "tag", "image", "main")
    if words:
        origin.hook("pre-receive", declines(f"error: {words}"))

    what, *more = refusal(recorder_in(clone), nothing_but_tags(clone))

    assert what == "the tag image of origin is in the way of the tag image/web/1"
    assert more[-1] == (
        "  `git fetch origin refs/tags/image`, then `git push origin FETCH_HEAD:refs/tags/image-old :refs/tags/image`"
    )
    assert waits == []


def test_what_is_advised_against_a_tag_in_the_way_keeps_that_tag(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    git(origin.path, "tag", "--annotate", "--message", "somebody's", "image", "main")
    *_, advice = refusal(recorder_in(clone), nothing_but_tags(clone))

    for command in advice.strip().strip("`").split("`, then `"):
        git(clone, *shlex.split(command)[1:])
    recorded(recorder_in(clone).record(tagged(clone)))

    assert git(origin.path, "tag", "--list").split() == ["image-old", "image/web/1"]
    assert git(origin.path, "for-each-ref", "--format=%(contents:subject)", "refs/tags/image-old") == "somebody's"


def test_a_tag_below_a_wanted_one_is_in_the_way_as_well(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    git(origin.path, "tag", "image/web/1/old", "main")

    assert refusal(recorder_in(clone), nothing_but_tags(clone))[0] == (
        "the tag image/web/1/old of origin is in the way of the tag image/web/1"
    )


def test_whoever_may_push_a_tag_keeps_no_record_from_the_branch(
    origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    git(origin.path, "tag", "image", "main")

    result = recorded(recorder_in(clone).record(tagged(clone, "image/web/1", "sbom/web/1")))

    assert origin.head() == result.commit
    assert origin.show(lock_path("web")) == "{}"
    assert git(origin.path, "tag", "--list").split() == ["image", "sbom/web/1"]
    assert result.owed_tags == ("image/web/1",)
    assert "the tag image of origin is in the way of the tag image/web/1" in result.why_owed
    assert "`git fetch origin refs/tags/image`" in result.why_owed
    assert waits == []


def test_a_branch_in_the_way_of_the_proposal_is_named(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    git(origin.path, "branch", "reconciler", "main")

    assert refusal(recorder_in(clone, GitSettings(push="pull-request")), tagged(clone))[0] == (
        "the branch reconciler of origin is in the way of the branch reconciler/state"
    )


def test_a_branch_that_was_fetched_and_is_gone_is_in_nobodys_way(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    git(origin.path, "branch", "release", "main")
    recorded(recorder_in(clone, GitSettings(branch="release")).record(writing("web", "{}\n")))
    git(origin.path, "branch", "--move", "release", "release/1")

    recorded(recorder_in(clone, GitSettings(branch="release/1")).record(writing("web", "{ }\n")))
    git(origin.path, "branch", "--move", "release/1", "release")
    recorded(recorder_in(clone, GitSettings(branch="release")).record(writing("web", "{  }\n")))

    assert origin.show(lock_path("web"), "release") == "{  }"


def test_a_lock_that_a_killed_git_left_here_is_named_and_promises_nothing(
    clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    recorder = recorder_in(clone)
    lock = clone / ".git/refs/reconciler/remotes/origin/main.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()

    with pytest.raises(Transient) as raised:
        recorder.record(writing("web", "{}\n"))

    assert str(raised.value).splitlines() == [
        f"another git is at work in this clone, or one that was killed left {lock}",
        f"  if no git runs here: `rm {lock}`",
    ]
    assert len(waits) == 9


def test_a_lock_that_stays_on_the_server_is_told_as_one(
    origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    recorder = recorder_in(clone)
    origin.path.joinpath("refs/heads/main.lock").touch()

    with pytest.raises(Transient, match=r"^origin is locked \(.*refs/heads/main\.lock': File exists") as raised:
        recorder.record(tagged(clone))

    assert "whoever runs origin removes the lock" in str(raised.value)
    assert "others were faster" not in str(raised.value)


def test_a_fleet_in_a_folder_is_told_of_its_tags_by_its_own_names(
    one_by_one: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    commit(clone, {"infra/desired/web/web.pkr.hcl": "source {}\n"})
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    one_by_one.hook("update", 'case "$1" in */sbom/*) echo "GH006: Protected tag update failed" >&2; exit 1;; esac')

    result = recorded(recorder_in(clone / "infra").record(tagged(clone, "image/web/1", "sbom/web/1")))

    assert result.owed_tags == ("sbom/web/1",)
    assert "the tag infra/sbom/web/1" in result.why_owed
    assert git(one_by_one.path, "tag", "--list") == "infra/image/web/1"
    remote = Repository.open(clone / "infra").remote()
    assert remote is not None
    assert remote.tags(["image", "verdict"]) == {"image/web/1"}
