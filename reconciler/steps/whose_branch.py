"""Whose commit is looked at: what is not known to be on a branch of the repository's own is planned, and never run."""

from __future__ import annotations

from dataclasses import replace

from reconciler.git.destination import Target
from reconciler.git.remote import Remote
from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.steps.observe import find_target, git_settings, settings_at
from reconciler.steps.one_writer import FETCHED_SECONDS, find_recorded
from reconciler.steps.run import Origin


def known_stranger(repository: Repository, target: Target, origin: Origin) -> Origin:
    """The origin, and why it may be a stranger's: also where a CI takes it for ours, and our repository lacks it.

    A CI that builds a fork's branch under that branch's own name does not tell it from one of ours.

    Raises UserError on the branch that state is recorded to: what is there is reconciled, and promoted.
    """
    if origin.branch == target.branch:
        raise UserError(
            f"HEAD is on {target.branch}, where there is nothing to preview",
            hint=("`reconciler reconcile` builds and promotes it", "or switch to the branch of the pull request"),
        )
    return replace(origin, stranger=_stranger(repository, origin))


def refuse_stranger(repository: Repository, origin: Origin) -> None:
    """Raise UserError where what is checked out may be a stranger's, so that nothing of it is to be run.

    What is on the branch that state is recorded to is ours in any CI.
    """
    if not origin.in_ci or repository.is_ancestor(repository.head, find_target(repository).head):
        return
    why = _stranger(repository, origin)
    if why:
        # Behind a colon a sentence goes on in small letters, but for a name.
        why = f"{why[0].lower()}{why[1:]}" if why.startswith(("It ", "The ", "This ")) else why
        raise UserError(f"nothing of this commit is run: {why}", hint="run it on a branch of the repository")


def _stranger(repository: Repository, origin: Origin) -> str:
    """Why what is checked out may be a stranger's; empty where it is known to be ours, or a person's."""
    remote = repository.remote(git_settings(repository).remote)
    if origin.stranger or not origin.in_ci or remote is None:
        return origin.stranger
    try:
        head = remote.fetch(origin.branch)
    except UserError:
        return f"The repository has no branch {origin.branch}"
    if repository.is_ancestor(repository.head, head):
        return ""
    return _lacks(origin.branch, repository.head)


def stranger_planned(repository: Repository, origin: Origin, *, commit: str, told: str | None) -> str:
    """Why a commit that is to be planned may be a stranger's; empty where it is known to be ours, or a person's.

    What is on the branch that state is recorded to is ours in any CI. On another the CI has to say so, and the
    repository's own branch has to have it: by what the clone knows of that, else by what the remote says, in two
    minutes. `told` is the default branch, as the job has it.
    """
    if not origin.in_ci:
        return ""
    recorded = find_recorded(repository, settings_at(repository.tree(commit)).git, told=told)
    if recorded is not None and recorded.head is not None and repository.is_ancestor(commit, recorded.head):
        return ""
    remote = repository.remote(recorded.remote if recorded is not None else "origin")
    if origin.stranger or remote is None:
        return origin.stranger
    known = repository.remembered(remote.name, origin.branch)
    there = known is not None and repository.is_ancestor(commit, known[1])
    return "" if there else _told_to_lack(repository, remote, origin.branch, commit=commit)


def _told_to_lack(repository: Repository, remote: Remote, branch: str, *, commit: str) -> str:
    """That the remote's branch has no such commit, or why that is not known; empty where it has it."""
    try:
        head = remote.fetch(branch, limit_seconds=FETCHED_SECONDS)
    except UserError:
        return f"The repository has no branch {branch}"
    except ReconcilerError as error:
        return f"Whether the repository's {branch} has this commit is not known ({error.what})"
    return "" if repository.is_ancestor(commit, head) else _lacks(branch, commit)


def _lacks(branch: str, commit: str) -> str:
    return f"The repository's {branch} has no commit {commit[:7]}"
