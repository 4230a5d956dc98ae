"""Recording on a remote branch: races, refusals, lost answers, and a checkout that nobody touches."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from reconciler.git.objects import Change, Commit, Recorded, TagRequest
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import LOST_RACE, Contention, Terminal, Transient, UserError
from reconciler.model.tree import Tree
from tests.integration.git.conftest import MOMENT, Origin, Waits, commit, git, lock_path, snapshot, writing

pytestmark = pytest.mark.long

RecorderIn = Callable[..., Recorder]


def recorded(result: Recorded | None) -> Recorded:
    assert result is not None
    return result


def interrupting(wanted: Callable[[Tree], Commit], *events: Callable[[], object]) -> Callable[[Tree], Commit]:
    """A regenerate during whose nth call the nth event happens: somebody else pushes, the remote is reset."""
    coming = list(events)

    def regenerate(tree: Tree) -> Commit:
        if coming:
            coming.pop(0)()
        return wanted(tree)

    return regenerate


def push_from(checkout: Path, path: str, text: str) -> Callable[[], object]:
    def push() -> None:
        git(checkout, "pull", "--quiet", "--rebase")
        commit(checkout, {path: text}, f"Write {path}")
        git(checkout, "push", "--quiet", "origin", "HEAD:main")

    return push


def test_a_record_is_one_commit_on_the_remote_head(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    before = origin.head()

    result = recorded(recorder_in(clone).record(writing("web", "{}\n")))

    assert origin.head() == result.commit
    assert result == Recorded(result.commit, "main", pushed=True, changed=True, tries=1)
    assert git(origin.path, "log", "-1", "--format=%P|%an|%ae|%cn|%aI|%s", result.commit) == (
        f"{before}|reconciler|reconciler@localhost|reconciler|2026-11-22T10:15:30+00:00|web: build (new)"
    )
    assert origin.show("state/web.lock.json") == "{}"


def test_a_change_without_content_deletes_the_file(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    recorder = recorder_in(clone)
    recorder.record(writing("web", "{}\n"))

    recorder.record(lambda _tree: Commit((Change(lock_path("web"), None),), "web: retired"))

    assert origin.files() == ["README.md", "desired/web/web.pkr.hcl"]


def test_what_is_recorded_already_is_not_committed_again(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    recorder = recorder_in(clone)
    first = recorded(recorder.record(writing("web", "{}\n")))

    second = recorded(recorder.record(writing("web", "{}\n")))

    assert (second.commit, second.changed, origin.head()) == (first.commit, False, first.commit)


@pytest.mark.parametrize("wants", ["what is there", "nothing"])
def test_that_there_is_nothing_to_record_is_said_of_the_branch_as_it_is_now(
    origin: Origin, clone: Path, recorder_in: RecorderIn, wants: str
) -> None:
    """What is done next counts on it: what somebody held meanwhile is not to be removed."""
    recorder = recorder_in(clone)
    recorder.record(writing("web", "{}\n"))
    push_from(origin.clone("other"), "desired/hold", "web\n")()
    seen: list[bool] = []

    def wanted(tree: Tree) -> Commit | None:
        seen.append("desired/hold" in tree.entries)
        return writing("web", "{}\n")(tree) if wants == "what is there" else None

    recorder.record(wanted)

    assert seen[-1]


def test_nothing_wanted_records_nothing(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    before = origin.head()

    assert recorder_in(clone).record(lambda _tree: None) is None

    assert origin.head() == before


def test_the_loser_of_a_race_regenerates_on_the_new_head(
    origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    other = origin.clone("other")
    seen: list[bool] = []

    def wanted(tree: Tree) -> Commit:
        seen.append(lock_path("base") in tree.entries)
        return writing("web", "{}\n")(tree)

    result = recorded(recorder_in(clone).record(interrupting(wanted, push_from(other, lock_path("base"), "{}"))))

    assert seen == [False, True]
    assert (result.tries, waits) == (2, [0.5])
    assert {lock_path("base"), lock_path("web")} <= set(origin.files())


def test_the_loser_records_nothing_when_the_winner_did_the_same(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    other = origin.clone("other")
    theirs = push_from(other, lock_path("web"), "{}\n")

    def wanted(tree: Tree) -> Commit | None:
        if lock_path("web") in tree.entries:
            return None
        theirs()
        return writing("web", "{}\n")(tree)

    assert recorder_in(clone).record(wanted) is None

    assert git(origin.path, "log", "-1", "--format=%s", "main") == f"Write {lock_path('web')}"


def test_a_race_lost_ten_times_ends_as_contention(
    origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    other = origin.clone("other")
    events = [push_from(other, "busy", f"{number}") for number in range(20)]

    with pytest.raises(Contention, match="others were faster on the branch main") as raised:
        recorder_in(clone).record(interrupting(writing("web", "{}\n"), *events))

    assert raised.value.exit_code == LOST_RACE
    assert waits == [0.5 * min(30, 1.5**number) for number in range(9)]
    assert lock_path("web") not in origin.files()


def test_a_force_pushed_remote_gets_the_record_on_its_new_history(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    other = origin.clone("other")

    def rewrite() -> None:
        git(other, "commit", "--quiet", "--amend", "--message", "Begin again")
        git(other, "push", "--quiet", "--force", "origin", "HEAD:main")

    result = recorded(recorder_in(clone).record(interrupting(writing("web", "{}\n"), rewrite)))

    assert git(origin.path, "log", "--format=%s", "main").splitlines() == ["web: build (new)", "Begin again"]
    assert result.left_behind == "it has commits that are not pushed"


def test_a_branch_reset_to_an_older_commit_is_not_pushed_forward_again(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    # A plain push would be a fast-forward here and bring back what somebody took out.
    push_from(clone, "leaked", "secret")()

    def reset() -> None:
        git(origin.path, "update-ref", "refs/heads/main", "main~1")

    recorder_in(clone).record(interrupting(writing("web", "{}\n"), reset))

    assert "leaked" not in origin.files()
    assert lock_path("web") in origin.files()


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("error: GH006: Protected branch update failed for refs/heads/main.", r"\(GH006: protected branch\)"),
        ("error: GH013: Repository rule violations found for refs/heads/main.", r"\(GH013: repository ruleset\)"),
        ("GitLab: You are not allowed to push code to protected branches.", "not allowed to push code to protected"),
        ("policy says no", "policy says no"),
    ],
)
def test_a_forbidden_push_ends_at_once(
    said: str, rule: str, *, origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    origin.hook("pre-receive", f"echo '{said}' >&2; exit 1")

    with pytest.raises(Terminal, match=rule) as raised:
        recorder_in(clone).record(writing("web", "{}\n"))

    assert str(raised.value).startswith("the branch main refuses pushes (")
    assert "kept" not in str(raised.value)  # whoever records knows whether anything was built
    assert waits == []


def test_a_lock_on_the_server_is_waited_for(origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits) -> None:
    origin.hook(
        "pre-receive",
        "test -e held && exit 0; touch held; echo \"error: cannot lock ref 'refs/heads/main'\" >&2; exit 1",
    )

    assert recorded(recorder_in(clone).record(writing("web", "{}\n"))).tries == 2

    assert len(waits) == 1


SWALLOWS_THE_ANSWER = """#!/usr/bin/env python3
import subprocess, sys
server = subprocess.Popen(["git-receive-pack", *sys.argv[1:]], stdout=subprocess.PIPE)
while (length := server.stdout.read(4)) != b"0000":
    sys.stdout.buffer.write(length + server.stdout.read(int(length, 16) - 4))
sys.stdout.buffer.write(b"0000")
sys.stdout.buffer.flush()
server.stdout.read()
server.wait()
sys.exit(1)
"""


@pytest.fixture
def lossy(clone: Path, tmp_path: Path) -> Path:
    """A clone whose pushes arrive, and whose answers do not come back."""
    program = tmp_path / "receive-pack"
    program.write_text(SWALLOWS_THE_ANSWER)
    program.chmod(0o755)
    git(clone, "config", "remote.origin.receivepack", str(program))
    return clone


def test_a_push_whose_answer_is_lost_counts_when_the_remote_has_it(
    origin: Origin, lossy: Path, recorder_in: RecorderIn
) -> None:
    tag = TagRequest("image/web/1", git(lossy, "rev-parse", "HEAD"), "built")

    result = recorded(recorder_in(lossy).record(writing("web", "{}\n", tag)))

    assert (result.commit, result.changed, result.tries, result.left_behind) == (origin.head(), True, 2, None)
    assert git(origin.path, "rev-list", "--count", "main") == "2"
    assert git(lossy, "rev-parse", "HEAD") == origin.head()


def test_a_push_whose_answer_is_lost_counts_when_others_built_on_it(
    origin: Origin, lossy: Path, recorder_in: RecorderIn
) -> None:
    meanwhile = push_from(origin.clone("other"), "more", "1")

    result = recorded(recorder_in(lossy, sleep=lambda _seconds: meanwhile()).record(writing("web", "{}\n")))

    assert result.changed
    assert git(origin.path, "rev-parse", "main~1") == result.commit


def test_a_remote_that_is_gone_ends_as_transient(clone: Path, recorder_in: RecorderIn, waits: Waits) -> None:
    recorder = recorder_in(clone)
    git(clone, "remote", "set-url", "origin", "https://bot:hunter2@127.0.0.1:1/owner/fleet.git")

    with pytest.raises(Transient, match="origin does not answer") as raised:
        recorder.record(writing("web", "{}\n"))

    assert len(waits) == 9
    assert "hunter2" not in str(raised.value)


def test_tags_are_pushed_with_the_commit_and_known_here(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    built = git(clone, "rev-parse", "HEAD")

    recorder_in(clone).record(writing("web", "{}\n", TagRequest("image/web/1", built, '{"id": "1"}')))

    for repository in (origin.path, clone):
        assert git(repository, "cat-file", "tag", "image/web/1").splitlines() == [
            f"object {built}",
            "type commit",
            "tag image/web/1",
            "tagger reconciler <reconciler@localhost> 1795342530 +0000",
            "",
            '{"id": "1"}',
        ]


def test_tags_alone_move_no_branch(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    before = origin.head()
    tags = (TagRequest("image/web/1", before, "built"),)

    result = recorded(recorder_in(clone).record(lambda _tree: Commit((), "", tags)))

    assert (result.commit, result.changed, origin.head()) == (before, False, before)
    assert git(origin.path, "tag", "--list") == "image/web/1"


@pytest.mark.parametrize("sign", [False, True], ids=["unsigned", "signed"])
def test_a_tag_may_stand_on_a_file_and_is_fetched_with_it(
    origin: Origin, clone: Path, recorder_in: RecorderIn, *, sign: bool
) -> None:
    _sign_with_a_key(clone)
    tag = TagRequest("sbom/web/1", "", "what is inside", content=b'{"components": []}\n')

    recorded(recorder_in(clone, GitSettings(sign=sign)).record(lambda _tree: Commit((), "", (tag,))))

    elsewhere = Repository.open(origin.clone("elsewhere", "--no-tags"))
    found = elsewhere.annotated_tag("sbom/web/1")
    assert found is not None
    assert (found.file(), found.message.strip()) == (b'{"components": []}\n', "what is inside")
    assert elsewhere.annotated_tag("sbom/web/2") is None


def test_a_tag_that_exists_stays_and_the_commit_lands(
    origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    git(origin.path, "tag", "--annotate", "--message", "theirs", "image/web/1", "main")
    tag = TagRequest("image/web/1", git(clone, "rev-parse", "HEAD"), "ours")

    result = recorded(recorder_in(clone).record(writing("web", "{}\n", tag)))

    assert origin.head() == result.commit
    assert git(origin.path, "for-each-ref", "--format=%(contents:subject)", "refs/tags/image") == "theirs"
    assert waits == []


def test_the_branch_and_its_tags_land_together_or_not_at_all(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    origin.hook("update", 'case "$1" in refs/tags/*) echo "GH013: Repository rule violations" >&2; exit 1;; esac')
    before = origin.head()
    tag = TagRequest("image/web/1", before, "built")

    with pytest.raises(Terminal):
        recorder_in(clone).record(writing("web", "{}\n", tag))

    assert (origin.head(), git(origin.path, "tag", "--list")) == (before, "")


def test_a_shallow_clone_records_and_stays_shallow(origin: Origin, recorder_in: RecorderIn) -> None:
    push_from(origin.clone("other"), "more", "1")()
    shallow = origin.clone("shallow", "--depth=1")
    push_from(origin.path.parent / "other", "more", "2")()

    result = recorded(recorder_in(shallow).record(writing("web", "{}\n")))

    assert origin.head() == result.commit
    assert git(shallow, "rev-parse", "--is-shallow-repository") == "true"
    assert git(shallow, "rev-parse", "HEAD") == result.commit


def test_a_detached_head_records_to_the_default_branch(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    git(clone, "checkout", "--quiet", "--detach")
    before = snapshot(clone)

    result = recorded(recorder_in(clone).record(writing("web", "{}\n")))

    assert (result.branch, origin.head()) == ("main", result.commit)
    assert snapshot(clone) == before


def test_a_clean_checkout_is_brought_along(clone: Path, recorder_in: RecorderIn) -> None:
    result = recorded(recorder_in(clone).record(writing("web", "{}\n")))

    assert result.left_behind is None
    assert git(clone, "rev-parse", "HEAD") == result.commit
    assert git(clone, "status", "--porcelain") == ""
    assert clone.joinpath(lock_path("web")).read_text() == "{}\n"


def test_a_checkout_with_changes_is_not_touched(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    clone.joinpath("README.md").write_text("half a sen")
    clone.joinpath("staged").write_text("1")
    git(clone, "add", "staged")
    clone.joinpath("untracked").write_text("2")
    before = snapshot(clone)

    result = recorded(recorder_in(clone).record(writing("web", "{}\n")))

    assert snapshot(clone) == before
    assert result.left_behind == "it has local changes"
    assert origin.files() == ["README.md", "desired/web/web.pkr.hcl", lock_path("web")]


def test_commits_that_are_not_pushed_are_not_recorded_on(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    commit(clone, {"secret-plan": "1"})

    result = recorded(recorder_in(clone).record(writing("web", "{}\n")))

    assert "secret-plan" not in origin.files()
    assert result.left_behind == "it has commits that are not pushed"


def test_hooks_of_a_person_do_not_matter(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    hooks = clone / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    elsewhere = clone.parent / "hooks"
    elsewhere.mkdir()
    git(clone, "config", "core.hooksPath", str(elsewhere))
    for name in ("pre-push", "post-merge", "reference-transaction"):
        for folder in (hooks, elsewhere):
            folder.joinpath(name).write_text("#!/bin/sh\nexit 1\n")
            folder.joinpath(name).chmod(0o755)

    result = recorded(recorder_in(clone).record(writing("web", "{}\n")))

    assert (origin.head(), result.left_behind) == (result.commit, None)


PERSONAL = {
    "signed pushes": {"push.gpgSign": "true"},
    "signed commits and tags": {"commit.gpgSign": "true", "tag.gpgSign": "true", "gpg.program": "false"},
    "options of pushes": {"push.pushOption": "ci.skip"},
    "tags that follow": {"push.followTags": "true", "remote.origin.tagOpt": "--tags"},
    "pruning": {"fetch.prune": "true", "remote.origin.prune": "true", "remote.origin.pruneTags": "true"},
    "a mirror": {"remote.origin.mirror": "true"},
    "negotiation": {"push.negotiate": "true", "push.useForceIfIncludes": "true", "push.default": "nothing"},
    "colours": {f"color.{slot}": "always" for slot in ("ui", "push", "transport", "remote", "advice", "status")},
    "merges": {"merge.ff": "false", "merge.verifySignatures": "true", "pull.rebase": "true"},
    "logs": {"log.follow": "true", "log.showSignature": "true", "format.pretty": "oneline", "diff.external": "false"},
    "an index in parts": {"core.splitIndex": "true", "core.untrackedCache": "true", "index.version": "4"},
    "line ends": {"core.autocrlf": "true", "core.safecrlf": "true"},
    "nobody": {"user.useConfigOnly": "true"},
}


@pytest.mark.parametrize("habit", PERSONAL)
@pytest.mark.parametrize("push", ["direct", "pull-request"])
def test_settings_of_a_person_do_not_matter(
    habit: str, push: Literal["direct", "pull-request"], *, origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    git(clone, "tag", "--annotate", "--message", "not pushed yet", "mine")
    built = git(clone, "rev-parse", "HEAD")
    if habit == "nobody":
        git(clone, "config", "--global", "--remove-section", "user")
    for name, value in PERSONAL[habit].items():
        git(clone, "config", "--global", name, value)
    recorder = recorder_in(clone, GitSettings(push=push))
    branch = "main" if push == "direct" else "reconciler/state"

    first = recorded(recorder.record(writing("web", "{}\n", TagRequest("image/web/1", built, "built"))))
    second = recorded(recorder.record(writing("base", "{}\n", TagRequest("image/base/1", built, "built"))))

    assert (first.tries, second.tries, second.left_behind) == (1, 1, None)
    assert origin.head(branch) == second.commit
    assert set(origin.files(branch)) >= {lock_path("web"), lock_path("base")}
    assert git(origin.path, "for-each-ref", "--format=%(refname:short)").split() == [
        *sorted({"main", branch}), "image/base/1", "image/web/1"
    ]  # fmt: skip
    assert "gpgsig" not in git(origin.path, "cat-file", "commit", second.commit)
    assert "mine" in git(clone, "tag", "--list").split()


def test_options_of_a_persons_pushes_are_not_sent(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    git(origin.path, "config", "receive.advertisePushOptions", "true")
    origin.hook("pre-receive", "cat > /dev/null; test ${GIT_PUSH_OPTION_COUNT:-0} = 0")
    git(clone, "config", "--global", "--add", "push.pushOption", "ci.skip")

    recorded(recorder_in(clone).record(writing("web", "{}\n")))


@pytest.mark.parametrize("configured", [True, False])
def test_commits_and_tags_are_by_the_author_in_the_settings_whoever_else_is_named(
    *, configured: bool, origin: Origin, clone: Path, recorder_in: RecorderIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    _sign_with_a_key(clone)
    if not configured:
        git(clone, "config", "--global", "--remove-section", "user")
        git(clone, "config", "--global", "user.useConfigOnly", "true")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
        monkeypatch.setenv(f"GIT_{role}_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("EMAIL", "somebody@example.org")
    built = git(clone, "rev-parse", "HEAD")

    for sign in (False, True):
        settings = GitSettings(author="fleet bot <bot@example.org>", sign=sign)
        Repository.open(clone).check_recording(settings, now=MOMENT)
        tag = TagRequest(f"image/web/{sign}", built, "built")
        result = recorded(recorder_in(clone, settings).record(writing("web", f"{sign}\n", tag)))

        people = git(origin.path, "log", "-1", "--format=%an <%ae> %at|%cn <%ce> %ct", result.commit).split("|")
        assert people == ["fleet bot <bot@example.org> 1795342530"] * 2
        tagger = next(
            line for line in git(origin.path, "cat-file", "tag", tag.name).splitlines() if line.startswith("tagger")
        )
        assert tagger == "tagger fleet bot <bot@example.org> 1795342530 +0000"


def test_what_a_hook_exports_is_not_taken_for_ours(
    origin: Origin, clone: Path, recorder_in: RecorderIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook of another repository: its index and its objects are not to be touched."""
    other = origin.clone("other")
    before = snapshot(other)
    for name, value in {
        "GIT_DIR": other / ".git", "GIT_INDEX_FILE": other / ".git/index", "GIT_WORK_TREE": other,
        "GIT_OBJECT_DIRECTORY": other / ".git/objects", "GIT_TERMINAL_PROMPT": "1", "GIT_LITERAL_PATHSPECS": "0",
        "GIT_CONFIG_PARAMETERS": "'push.gpgSign'='true'",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    recorder, directory = recorder_in(clone), Repository.open(clone).worktree_tree()

    result = recorded(recorder.record(writing("web", "{}\n")))

    assert set(directory.entries) == {"README.md", "desired/web/web.pkr.hcl"}
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_CONFIG_PARAMETERS"):
        monkeypatch.delenv(name)
    assert (origin.head(), snapshot(other)) == (result.commit, before)


def test_addresses_are_rewritten_as_people_have_set_it_up(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    git(clone, "remote", "set-url", "origin", "fleets:fleet")
    git(clone, "config", "--global", f"url.{origin.path.parent.as_uri()}/.insteadOf", "fleets:")

    result = recorded(recorder_in(clone).record(writing("web", "{}\n")))

    assert origin.head() == result.commit


@pytest.mark.parametrize("author", [". <a@example.org>", "  <a@example.org>"])
def test_an_author_that_git_does_not_take_is_found_out_beforehand(author: str, clone: Path) -> None:
    with pytest.raises(UserError, match=r"^git takes no commit by ") as raised:
        Repository.open(clone).check_recording(GitSettings(author=author), now=MOMENT)

    assert "git.author" in str(raised.value)


def test_a_commit_that_cannot_be_signed_says_how_to_hint_it(clone: Path, recorder_in: RecorderIn) -> None:
    git(clone, "config", "gpg.program", "false")

    with pytest.raises(UserError, match="could not be signed") as raised:
        recorder_in(clone, GitSettings(sign=True)).record(writing("web", "{}\n"))

    assert "git.sign: false" in str(raised.value)


def test_signed_commits_and_tags_carry_the_key_of_git(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    _sign_with_a_key(clone)
    tag = TagRequest("image/web/1", git(clone, "rev-parse", "HEAD"), "built")

    result = recorded(recorder_in(clone, GitSettings(sign=True)).record(writing("web", "{}\n", tag)))

    for oid in (result.commit, "refs/tags/image/web/1"):
        assert "-----BEGIN SSH SIGNATURE-----" in git(origin.path, "cat-file", "-p", oid)


def test_eight_images_recorded_at_once_from_two_machines_all_land(
    origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    begin = origin.head()
    recorders = [recorder_in(clone), recorder_in(origin.clone("other"))]

    def record(number: int) -> Recorded | None:
        tag = TagRequest(f"image/i{number}/1", begin, "built")
        return recorders[number % 2].record(writing(f"i{number}", f"{number}\n", tag))

    with ThreadPoolExecutor(8) as pool:
        results = [recorded(result) for result in pool.map(record, range(8))]

    assert {lock_path(f"i{number}") for number in range(8)} <= set(origin.files())
    assert git(origin.path, "rev-list", "--count", "main") == "9"
    assert {result.commit for result in results} == set(git(origin.path, "rev-list", "-8", "main").splitlines())


def test_whether_anything_can_be_signed_is_found_out_beforehand(origin: Origin, clone: Path) -> None:
    repository, head = Repository.open(clone), origin.head()
    with pytest.raises(UserError, match="could not be signed"):
        repository.check_recording(GitSettings(sign=True), now=MOMENT)

    _sign_with_a_key(clone)
    repository.check_recording(GitSettings(sign=True), now=MOMENT)

    assert (repository.head, origin.head()) == (head, head)


def _sign_with_a_key(clone: Path) -> None:
    key = clone.parent / "key"
    git(clone, "config", "gpg.format", "ssh")
    git(clone, "config", "user.signingKey", str(key))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
