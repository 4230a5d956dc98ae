"""state/ has one writer in whatever checkout a branch is looked at: a CI's, which need not know the default branch."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.cli.main import main
from reconciler.model.errors import UserError
from reconciler.steps import one_writer
from tests.actions_checkout import check_out
from tests.integration.loop.pull_request import BRANCH, on_branch
from tests.integration.loop.test_written_state import REFUSED, Run, edited, of_fork, previewed, run
from tests.integration.loop.world import SETTINGS, World, git

__all__ = ["run"]

READ = (("validate",), ("plan", "--offline"))
"""What reads a branch without any rights. `plan` and a preview of our own branch refuse it before they go on."""
NOT_KNOWN = "whether the branch changes state/ is not known"
PLACE = "state/web.lock.json"
Checkout = Callable[[World], Path]


def all_branches(world: World) -> Path:
    return check_out(world.origin.as_uri(), world.root / "job", commit=_head(world))


def all_branches_of_a_pull_request(world: World) -> Path:
    return check_out(world.origin.as_uri(), world.root / "job", commit=_head(world), ref="refs/pull/7/head")


def one_commit(world: World) -> Path:
    return check_out(world.origin.as_uri(), world.root / "job", commit=_head(world), depth=1)


def all_of_it(world: World) -> Path:
    git(world.root, "clone", "--quiet", "--no-checkout", world.origin.as_uri(), "job")
    git(world.root / "job", "checkout", "--quiet", "--detach", _head(world))
    return world.root / "job"


def one_branch(world: World) -> Path:
    git(world.root, "clone", "--quiet", "--single-branch", "--branch", BRANCH, world.origin.as_uri(), "job")
    return world.root / "job"


def one_branch_and_commit(world: World) -> Path:
    git(world.root, "clone", "--quiet", "--depth=1", "--branch", BRANCH, world.origin.as_uri(), "job")
    return world.root / "job"


def a_head_that_leads_nowhere(world: World) -> Path:
    job = all_branches(world)
    git(job, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone")
    return job


def an_address_that_is_fetched(world: World) -> Path:
    """As Prow's `clonerefs` leaves it: no remote has a name, and a branch is called as the repository's own is."""
    job = world.root / "job"
    git(world.root, "init", "--quiet", "--initial-branch=main", "job")
    git(job, "fetch", "--quiet", world.origin.as_uri(), BRANCH)
    git(job, "checkout", "--quiet", "-B", "main", "FETCH_HEAD")
    return job


WITH_A_REMOTE: list[Checkout] = [
    all_branches, all_branches_of_a_pull_request, one_commit, one_branch, one_branch_and_commit,
    a_head_that_leads_nowhere,
]  # fmt: skip
NO_BRANCH_OF_MAIN: list[Checkout] = [one_commit, one_branch, one_branch_and_commit]
BY_CHECKOUT = pytest.mark.parametrize("checkout", WITH_A_REMOTE, ids=lambda one: one.__name__)
ASKED_BY = {
    "a person": {},
    "CircleCI": {"CI": "true", "CIRCLECI": "true", "CIRCLE_BRANCH": BRANCH},
    "a CI that nobody knows": {"BUILD_ID": "7"},
}


def _head(world: World) -> str:
    return git(world.origin, "rev-parse", f"refs/heads/{BRANCH}")


def as_job(patch: pytest.MonkeyPatch, told: Mapping[str, str]) -> None:
    for name, value in told.items():
        patch.setenv(name, value)


def on_github(folder: Path, *, repository: object) -> dict[str, str]:
    """What GitHub tells the job of a fork's pull request: its event names the default branch, too."""
    told = dict(of_fork(folder, BRANCH))
    event = json.loads((folder / "event.json").read_text())
    (folder / "event.json").write_text(json.dumps({**event, "repository": repository}))
    return told


def take_remote_away(world: World) -> None:
    shutil.move(world.origin, world.root / "elsewhere.git")


@pytest.mark.forms(quick=4)
@BY_CHECKOUT
@pytest.mark.parametrize("asked_by", ASKED_BY)
def test_a_branch_that_edits_a_lockfile_is_refused_however_it_was_checked_out(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch, checkout: Checkout, asked_by: str
) -> None:
    edited(pair)
    job = checkout(pair)
    as_job(monkeypatch, ASKED_BY[asked_by])

    for verb in READ:
        code, said = run(job, *verb)
        assert (code, PLACE in said) == (1, True), said
    with pytest.raises(UserError) as refused:
        previewed(job)
    # It has to fetch the branch, and there is none of that name.
    nowhere = checkout is a_head_that_leads_nowhere
    assert refused.value.what == "origin has no branch gone" if nowhere else str(refused.value.where) == PLACE


@pytest.mark.forms(quick=2)
@BY_CHECKOUT
def test_what_it_takes_back_is_refused_in_a_job_however_it_was_checked_out(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch, checkout: Checkout
) -> None:
    root = edited(pair)
    git(root, "checkout", "--quiet", "origin/main", "--", "state")
    git(root, "commit", "--quiet", "--message", "Back")
    git(root, "push", "--quiet", "origin", BRANCH)
    job = checkout(pair)
    as_job(monkeypatch, ASKED_BY["CircleCI"])

    code, said = run(job, "validate")

    assert (code, "and takes that back" in said, PLACE in said) == (1, True, True), said


@pytest.mark.forms(quick=4)
@BY_CHECKOUT
@pytest.mark.parametrize("asked_by", ASKED_BY)
def test_a_branch_that_leaves_state_alone_is_valid_however_it_was_checked_out(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch, checkout: Checkout, asked_by: str
) -> None:
    on_branch(pair, {"desired/web/setup.sh": "echo more\n"})
    job = checkout(pair)
    as_job(monkeypatch, ASKED_BY[asked_by])

    assert [run(job, *verb)[0] for verb in READ] == [0, 0]


def test_a_plan_and_a_preview_of_our_own_branch_go_no_further(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(pair)
    job = all_branches(pair)
    as_job(monkeypatch, ASKED_BY["CircleCI"])

    for verb in (("plan",), ("reconcile", "--preview")):
        code, said = run(job, *verb)
        assert (code, REFUSED in said, PLACE in said) == (1, True, True), said


@pytest.mark.forms(quick=2)
@BY_CHECKOUT
def test_without_a_remote_that_answers_a_job_refuses_what_it_can_not_compare(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch, checkout: Checkout
) -> None:
    on_branch(pair, {"desired/web/setup.sh": "echo more\n"})
    job = checkout(pair)
    take_remote_away(pair)
    as_job(monkeypatch, ASKED_BY["CircleCI"])

    for verb in READ:
        code, said = run(job, *verb)
        assert (code, NOT_KNOWN in said, "fetch-depth: 0" in said) == (1, True, True), said
        assert "state/base.lock.json" in said, "a place, of what the branch holds"


@BY_CHECKOUT
def test_without_a_remote_that_answers_a_person_is_told_so(pair: World, run: Run, checkout: Checkout) -> None:
    on_branch(pair, {"desired/web/setup.sh": "echo more\n"})
    job = checkout(pair)
    take_remote_away(pair)

    code, said = run(job, "validate")

    assert (code, f"note: {NOT_KNOWN}" in said) == (0, True), said


@pytest.mark.forms(quick=4)
@pytest.mark.parametrize("checkout", [all_of_it, *WITH_A_REMOTE], ids=lambda one: one.__name__)
@pytest.mark.parametrize("asked_by", ["a person", "CircleCI"])
def test_no_tag_or_branch_that_is_called_as_a_reference_passes_for_what_the_clone_lacks(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch, checkout: Checkout, asked_by: str
) -> None:
    """Given names that git tries where a reference is not there: `refs/remotes/origin/main` may be a tag's."""
    edited(pair)
    evil = _head(pair)
    for called in ("refs/remotes/origin/main", "refs/reconciler/remotes/origin/main", "remotes/origin/main"):
        git(pair.origin, "update-ref", f"refs/tags/{called}", evil)
        git(pair.origin, "update-ref", f"refs/heads/{called}", evil)
    git(pair.origin, "update-ref", "refs/heads/HEAD", evil)
    job = checkout(pair)
    git(job, "fetch", "--quiet", "origin", "+refs/tags/*:refs/tags/*")
    as_job(monkeypatch, ASKED_BY[asked_by])

    code, said = run(job, "validate")

    assert (code, PLACE in said) == (1, True), said


def test_what_is_told_to_do_lets_the_job_tell(pair: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    edited(pair)
    job = one_branch(pair)
    take_remote_away(pair)
    as_job(monkeypatch, ASKED_BY["CircleCI"])
    _, said = run(job, "validate")
    shutil.move(pair.root / "elsewhere.git", pair.origin)

    fetched, default = [words.split("`")[0].replace("'", "") for words in said.split("`git ")[1:]]
    git(job, *fetched.split())
    git(job, *default.split())
    take_remote_away(pair)

    code, said = run(job, "validate")
    assert (code, REFUSED in said) == (1, True), said


def test_a_job_without_any_remote_refuses_what_it_can_not_compare(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(pair)
    job = an_address_that_is_fetched(pair)
    as_job(monkeypatch, {"PROW_JOB_ID": "1", "JOB_SPEC": "{}"})

    code, said = run(job, "validate")

    assert (code, "the clone has no remote" in said, "git remote add" in said) == (1, True, True), said


def test_a_job_that_can_not_tell_refuses_what_takes_all_of_state_away(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_branch(pair, dict.fromkeys(git(pair.root / "ci", "ls-files", "state").splitlines()))
    job = all_branches(pair)
    take_remote_away(pair)
    as_job(monkeypatch, ASKED_BY["CircleCI"])

    code, said = run(job, "validate")

    assert (code, NOT_KNOWN in said) == (1, True), said


def test_a_fleet_that_has_no_state_yet_needs_none_to_tell(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_branch(world, {"desired/web/setup.sh": "echo more\n"})
    job = one_commit(world)
    take_remote_away(world)
    as_job(monkeypatch, ASKED_BY["CircleCI"])

    assert run(job, "validate")[0] == 0


def test_where_the_remote_gives_nothing_githubs_own_event_names_the_default_branch(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given a private repository, whose job has no credentials of git's left."""
    root = on_branch(pair, {"desired/web/setup.sh": "echo more\n"}).root
    honest = all_branches(pair)
    lock = root / PLACE
    lock.write_text(lock.read_text().replace("ami-", "ami-f"))
    git(root, "commit", "--quiet", "--all", "--message", "Mine")
    git(root, "push", "--quiet", "origin", BRANCH)
    hostile = check_out(pair.origin.as_uri(), pair.root / "hostile", commit=_head(pair))
    take_remote_away(pair)
    as_job(monkeypatch, on_github(tmp_path, repository={"full_name": "acme/images", "default_branch": "main"}))

    assert run(honest, "validate")[0] == 0
    code, said = run(hostile, "validate")
    assert (code, REFUSED in said, PLACE in said) == (1, True, True), said


@pytest.mark.parametrize(
    "repository",
    [{"full_name": "evil/images", "default_branch": BRANCH}, {"full_name": "acme/images"}, None, BRANCH],
)
def test_what_githubs_event_says_of_another_repository_counts_for_nothing(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: object
) -> None:
    edited(pair)
    job = all_branches(pair)
    take_remote_away(pair)
    as_job(monkeypatch, on_github(tmp_path, repository=repository))

    code, said = run(job, "validate")

    assert (code, NOT_KNOWN in said) == (1, True), said


def test_the_branch_that_main_declares_is_fetched_where_the_job_lacks_it(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a fleet that is recorded to a branch `state`, and a branch that has of main what main has of state/."""
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{branch: state}}\n"})
    git(pair.origin, "branch", "state", "main")
    root = on_branch(pair, {"desired/web/setup.sh": "echo more\n"}).root
    lock = root / PLACE
    git(root, "switch", "--quiet", "--create", "state", "origin/state")
    lock.write_text(lock.read_text().replace("ami-", "ami-f"))
    git(root, "commit", "--quiet", "--all", "--message", "By the reconciler")
    git(root, "push", "--quiet", "origin", "state")
    git(root, "switch", "--quiet", BRANCH)
    git(root, "merge", "--quiet", "--no-edit", "state")
    git(root, "push", "--quiet", "origin", BRANCH)
    as_job(monkeypatch, ASKED_BY["CircleCI"])

    job = one_branch(pair)

    assert run(job, "validate")[0] == 0, "what it has of state/ is what that branch has"
    take_remote_away(pair)
    shutil.rmtree(job / ".git/refs/reconciler")
    assert run(job, "validate")[0] == 1


@contextlib.contextmanager
def a_host_that_says_nothing() -> Iterator[str]:
    """The address of a git host that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield f"git://127.0.0.1:{server.getsockname()[1]}/images.git"
        server.shutdown(socket.SHUT_RDWR)
        for one in kept:
            one.close()


def test_a_remote_that_never_answers_is_one_that_does_not_tell(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(pair)
    job = all_branches(pair)
    monkeypatch.setattr(one_writer, "_ASKED_SECONDS", 0.2)

    with a_host_that_says_nothing() as address:
        git(job, "remote", "set-url", "origin", address)
        code, said = run(job, "validate")
        assert (code, f"note: {NOT_KNOWN}" in said) == (0, True), said
        as_job(monkeypatch, ASKED_BY["CircleCI"])
        assert run(job, "plan", "--offline")[0] == 1


def test_a_fork_that_calls_its_branch_as_ours_is_refused_in_its_own_checkout(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    edited(pair)
    job = all_branches(pair)
    git(job, "checkout", "--quiet", "-B", "main")
    as_job(monkeypatch, of_fork(tmp_path, "main"))

    for words in (("validate",), ("validate", "--rev", "main")):
        code, said = run(job, *words)
        assert (code, PLACE in said) == (1, True), said


def test_verify_takes_no_branch_for_main_where_nothing_tells(pair: World, capfd: pytest.CaptureFixture[str]) -> None:
    edited(pair)
    job = one_branch(pair)
    take_remote_away(pair)

    status = main(["verify", "web", "--json", "-C", str(job)])

    answer = capfd.readouterr()
    assert status == 1
    assert "which branch state is recorded to is not known" in " ".join(answer.err.split())
    findings = json.loads(answer.out)["findings"]
    assert findings
    assert [one for one in findings if "ours" in one["rests_on"] and one["outcome"] == "proven"] == []
