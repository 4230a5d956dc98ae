from __future__ import annotations

import re
import shlex

import pytest

from reconciler.git.answer import Answer, Reply, read_answer
from reconciler.git.command import Finished
from reconciler.git.refusal import InTheWay, as_error
from reconciler.model.errors import Contention, Locked, Terminal, Transient, UserError
from tests.cpu import cpu_seconds

BRANCH = "!\tabc:refs/heads/main\t{}\n"
ADVICE = "error: failed to push some refs to 'https://example.org/o/n.git'\n"
HANG_UP = "\nfatal: the remote end hung up unexpectedly\n"

# What git 2.39 and the hosts print: porcelain output, stderr, and what it means.
SAID = [
    (BRANCH.format("[rejected] (fetch first)"), ADVICE, Answer.LOST),
    (BRANCH.format("[rejected] (non-fast-forward)"), ADVICE, Answer.LOST),
    (BRANCH.format("[rejected] (stale info)"), HANG_UP + ADVICE, Answer.LOST),
    (BRANCH.format("[remote rejected] (failed to update ref)"), ADVICE, Answer.LOST),
    (BRANCH.format("[remote rejected] (incorrect old value provided)"), ADVICE, Answer.LOST),
    (
        BRANCH.format("[remote rejected] (cannot lock ref 'refs/heads/main': is at a1 but expected b2)"),
        "remote: error: cannot lock ref 'refs/heads/main': is at a1 but expected b2\n" + ADVICE,
        Answer.LOST,
    ),
    (BRANCH.format("[remote rejected] (cannot lock ref: reference already exists)"), ADVICE, Answer.LOST),
    ("", "error: cannot lock ref 'refs/reconciler/remotes/origin/main': is at a1 but expected b2\n", Answer.LOST),
    ("", "fatal: Unable to create '/r/.git/shallow.lock': File exists.\n", Answer.LOCKED),
    (
        BRANCH.format("[remote rejected] (protected branch hook declined)"),
        "remote: error: GH006: Protected branch update failed for refs/heads/main.        \n" + ADVICE,
        Answer.FORBIDDEN,
    ),
    (
        BRANCH.format("[remote rejected] (push declined due to repository rule violations)"),
        "remote: error: GH013: Repository rule violations found for refs/heads/main.\n" + ADVICE,
        Answer.FORBIDDEN,
    ),
    (
        BRANCH.format("[remote rejected] (pre-receive hook declined)"),
        "remote: GitLab: You are not allowed to push code to protected branches on this project.\n" + ADVICE,
        Answer.FORBIDDEN,
    ),
    (
        BRANCH.format("[remote rejected] (pre-receive hook declined)"),
        "remote: Branch refs/heads/main can only be modified through pull requests.\n" + ADVICE,
        Answer.FORBIDDEN,
    ),
    (BRANCH.format("[remote rejected] (hook declined)"), ADVICE, Answer.FORBIDDEN),
    (
        "",
        "ERROR: The key you are authenticating with has been marked as read only.\nfatal: Could not read from remote\n",
        Answer.DENIED,
    ),
    (
        "",
        "remote: Permission to o/n.git denied to bot.\nfatal: 'x': The requested URL returned error: 403\n",
        Answer.DENIED,
    ),
    ("", "git@example.org: Permission denied (publickey).\nfatal: Could not read from remote repo\n", Answer.DENIED),
    ("", "fatal: could not read Username for 'https://example.org': terminal prompts disabled\n", Answer.DENIED),
    ("", "fatal: Authentication failed for 'https://example.org/o/n.git/'\n", Answer.DENIED),
    ("", "Host key verification failed.\nfatal: Could not read from remote repository.\n", Answer.DENIED),
    ("", "ERROR: Repository not found.\nfatal: Could not read from remote repository.\n", Answer.NO_REPOSITORY),
    ("", "fatal: '/x' does not appear to be a git repository\n", Answer.NO_REPOSITORY),
    ("", "fatal: couldn't find remote ref refs/heads/fleet\n", Answer.NO_BRANCH),
    ("", "fatal: unable to access 'https://x/': Could not resolve host: x\n", Answer.UNREACHABLE),
    ("", "ssh: connect to host x port 22: Connection timed out\n", Answer.UNREACHABLE),
    ("", "fatal: unable to access 'https://x/': Failed to connect to x: Connection refused\n", Answer.UNREACHABLE),
    ("", "error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502\n" + HANG_UP, Answer.UNREACHABLE),
    ("", "fatal: early EOF\n", Answer.UNREACHABLE),
    ("", HANG_UP, Answer.UNREACHABLE),
    ("", 'Timeout: the command "git push" did not complete in 900 secs.', Answer.UNREACHABLE),
    (BRANCH.format("[remote rejected] (Internal Server Error)"), ADVICE, Answer.UNREACHABLE),
    (BRANCH.format("[remote rejected] (n/a (unpacker error))"), ADVICE, Answer.REFUSED),
]  # fmt: skip


@pytest.mark.parametrize(("stdout", "stderr", "meaning"), SAID)
def test_what_git_and_its_hosts_say_is_understood(stdout: str, stderr: str, meaning: Answer) -> None:
    reply = read_answer(Finished(1, stdout.encode(), stderr))

    assert reply.answer is meaning
    assert reply.why
    assert not reply.why.startswith(("!", "remote:", "error:", "fatal:"))


def test_success_is_success_whatever_was_said() -> None:
    assert read_answer(Finished(0, b"", "warning: cannot lock ref")) == Reply(Answer.DONE)


def test_an_existing_tag_is_named_although_the_branch_was_rejected_with_it() -> None:
    stdout = (
        BRANCH.format("[rejected] (atomic push failed)") + "!\tdef:refs/tags/image/web/1\t[rejected] (already exists)\n"
    )

    reply = read_answer(Finished(1, stdout.encode(), HANG_UP))

    assert (reply.answer, reply.tags) == (Answer.TAG_EXISTS, ("image/web/1",))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer.LOST, Contention),
        (Answer.TAG_EXISTS, Contention),
        (Answer.FORBIDDEN, Terminal),
        (Answer.DENIED, Terminal),
        (Answer.REFUSED, Terminal),
        (Answer.UNUSABLE, Terminal),
        (Answer.UNWRITABLE, Terminal),
        (Answer.IN_THE_WAY, InTheWay),
        (Answer.LOCKED, Locked),
        (Answer.NO_REPOSITORY, UserError),
        (Answer.NO_BRANCH, UserError),
        (Answer.UNREACHABLE, Transient),
    ],
)
def test_every_answer_has_an_error_with_a_mend(answer: Answer, kind: type[Exception]) -> None:
    error = as_error(Reply(answer, "they said {so}"), remote="origin", branch="main")

    assert type(error) is kind
    assert error.hint
    assert "{" not in str(error).replace("{so}", "")


def test_a_forbidden_push_reads_as_documented() -> None:
    reply = Reply(Answer.FORBIDDEN, "GH006: Protected branch update failed for refs/heads/main.")

    assert str(as_error(reply, remote="origin", branch="main")).splitlines() == [
        "the branch main refuses pushes (GH006: protected branch)",
        "  set `git.push: pull-request` in desired/reconciler.yaml, or let the bot bypass the rule",
    ]


@pytest.mark.parametrize(
    ("summary", "answer"),
    [
        ("[remote rejected] (TF402455: Pushes to this branch are not permitted; use a pull request)", "FORBIDDEN"),
        ("[remote rejected] (prohibited by Gerrit: not permitted: update)", "FORBIDDEN"),
        ("[remote rejected] (permission denied)", "FORBIDDEN"),
        ("[remote rejected] (refname conflict)", "IN_THE_WAY"),
        ("[remote rejected] (failure)", "REFUSED"),
        # Nobody knows whether it was done.
        ("[remote failure] (remote failed to report status)", "UNREACHABLE"),
    ],
)  # fmt: skip
def test_the_reason_of_a_ref_is_read_before_anything_else(summary: str, answer: str) -> None:
    reply = read_answer(Finished(1, BRANCH.format(summary).encode(), HANG_UP + ADVICE))

    assert reply.answer is Answer[answer]
    assert "[remote" not in reply.why


@pytest.mark.parametrize(
    "quoted",
    [
        "rejected: the message says (fetch first)",
        "rejected: HEAD of 'Unable to create 'x.lock': File exists' fails the linter",
        "rejected: repository not found in the allow list",
        "rejected: cannot lock ref is a forbidden phrase",
    ],
)
def test_what_a_hook_quotes_is_not_taken_for_git_itself(quoted: str) -> None:
    stdout = BRANCH.format("[remote rejected] (pre-receive hook declined)")

    reply = read_answer(Finished(1, stdout.encode(), f"remote: {quoted}\n{ADVICE}"))

    assert (reply.answer, reply.why, reply.said) == (Answer.FORBIDDEN, quoted, (quoted,))


@pytest.mark.parametrize(
    ("stderr", "answer"),
    [
        ("fatal: the receiving end does not support --signed push\n" + HANG_UP, Answer.UNUSABLE),
        ("fatal: the receiving end does not support push options\n" + HANG_UP, Answer.UNUSABLE),
        ("fatal: the receiving end does not support --atomic push\n" + HANG_UP, Answer.NOT_ATOMIC),
        ("fatal: helper hg does not support --atomic\n", Answer.NOT_ATOMIC),
        ("fatal: mismatched algorithms: client sha1; server sha256\n", Answer.UNUSABLE),
        ("fatal: transport 'http' not allowed\n", Answer.UNUSABLE),
        ("fatal: unable to find remote helper for 'codecommit'\n", Answer.UNUSABLE),
        ("error: cannot run plink: No such file or directory\nfatal: unable to fork\n", Answer.UNUSABLE),
        ("vault-ssh -q: 1: vault-ssh: not found\nfatal: Could not read from remote repository.\n", Answer.UNUSABLE),
        ("fatal: unable to access 'https://x/': SSL certificate problem: self-signed certificate\n", Answer.UNUSABLE),
        ("fatal: URL 'https://bot:<redacted>@x/' uses plaintext credentials\n", Answer.UNUSABLE),
        ("fatal: detected dubious ownership in repository at '/srv/x.git'\n", Answer.UNUSABLE),
        ("fatal: fsck error in packed object\nfatal: fetch-pack: invalid index-pack output\n", Answer.UNUSABLE),
        ("fatal: write error: No space left on device\nfatal: index-pack failed\n", Answer.UNWRITABLE),
        (
            "error: insufficient permission for adding an object to repository database .git/objects\n",
            Answer.UNWRITABLE,
        ),
        ("remote: fatal: No space left on device\nfatal: early EOF\n", Answer.UNREACHABLE),
        ("** this machine is not supported at night **\nfatal: early EOF\n", Answer.UNREACHABLE),
        ("fatal: remote error: access denied or repository not exported: /o/n.git\n", Answer.DENIED),
        ("fatal: remote error: service not enabled: /o/n.git\n", Answer.DENIED),
        ("remote: TF401019: The Git repository with name or identifier x does not exist\n", Answer.NO_REPOSITORY),
    ],
)
def test_what_is_the_same_the_next_time_is_not_taken_for_a_network_failure(stderr: str, answer: Answer) -> None:
    assert read_answer(Finished(128, b"", stderr)).answer is answer


@pytest.mark.parametrize("unit", ["repository ", "Permission to x ", "a://", "error: ", "'refs/x' exists; cannot "])
@pytest.mark.parametrize("end", ["\n", " "])
def test_the_length_of_a_message_is_no_burden(unit: str, end: str) -> None:
    # Unbounded patterns go over such text once for each of its words: more than anybody waits for.
    endless = "remote: " + (unit * 40 + end) * (2_000_000 // (len(unit) * 40))

    with cpu_seconds(5):
        reply = read_answer(Finished(1, b"", endless + "\nfatal: early EOF\n"))

    assert reply.answer is not Answer.DONE
    assert len(reply.why) <= 201
    assert sum(map(len, reply.said)) < 2000


def test_gerrits_word_for_what_fell_with_another_ref_is_known() -> None:
    stdout = (
        BRANCH.format("[remote rejected] (transaction aborted)")
        + "!\tdef:refs/tags/image/web/1\t[remote rejected] (prohibited by Gerrit: not permitted: create)\n"
    )

    reply = read_answer(Finished(1, stdout.encode(), ADVICE))

    assert (reply.answer, reply.tags) == (Answer.FORBIDDEN, ("image/web/1",))


@pytest.mark.parametrize("here", [True, False])
def test_what_is_in_the_way_can_be_pasted_whatever_somebody_called_it(*, here: bool) -> None:
    ref = "refs/heads/reconciler/state/$(touch${IFS}x)`id`;'x"
    reply = Reply(Answer.IN_THE_WAY, refs=("refs/heads/reconciler/state",), in_the_way=ref, here=here)

    error = as_error(reply, remote="origin", branch="main")

    first, second = (
        shlex.split(command)
        for command in re.fullmatch(r"`(git .*)`, then `(git .*)`", error.hint[-1]).groups()  # type: ignore[union-attr] # it is one
    )
    if here:
        assert (first, second) == (["git", "update-ref", f"{ref}-old", ref], ["git", "update-ref", "-d", ref])
    else:
        assert first == ["git", "fetch", "origin", ref]
        assert second == ["git", "push", "origin", f"FETCH_HEAD:{ref}-old", f":{ref}"]


def test_what_is_in_the_way_under_a_name_that_nobody_sees_is_not_to_be_pasted() -> None:
    ref = "refs/tags/image\u202e\u2028"
    reply = Reply(Answer.IN_THE_WAY, refs=("refs/tags/image/web/1",), in_the_way=ref)

    error = as_error(reply, remote="origin", branch="main")

    assert all(line.isprintable() for line in (error.what, *error.hint))
    assert not any("git push" in line for line in error.hint)
