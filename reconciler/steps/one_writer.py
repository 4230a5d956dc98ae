"""state/ has one writer, which records to one branch: another branch that changes it is refused."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from reconciler.desired.declared import SETTINGS_FILE, read_settings
from reconciler.git.history import find_commit, touched_below
from reconciler.git.proposal import proposal_branch
from reconciler.git.remote import remotes
from reconciler.git.repository import Repository
from reconciler.git.signature import signed_by_us
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Place, UserError
from reconciler.model.tree import Tree, content_at
from reconciler.plan.trust import of_ref
from reconciler.state.lockfiles import FOLDER

_MOST = 20
"""How many files are named."""


def written_by_branch(
    repository: Repository, tree: Tree, *, commit: str, recorded: str, branch: str | None
) -> tuple[UserError, ...]:
    """What a branch changes in state/ since it left the recorded branch: an error for each file, with its place.

    What we proposed there ourselves is none (`git.push: pull-request`).

    Args:
        repository: The clone.
        tree: What is asked about: the commit's files, or those of the checkout on it.
        commit: The branch's head.
        recorded: The head of the branch that is recorded to.
        branch: The branch's name, as far as anybody says it who is none of the branch's own.
    """
    base = repository.merge_base(recorded, commit)
    before = repository.tree(base or recorded)
    changed = sorted(_differing(before, tree))
    if base is None:
        # They have nothing in common: what the branch did not take from the other is its own.
        return _told_apart(repository, changed, recorded=recorded, before=before)
    touched = () if changed else touched_below(repository.git, FOLDER, since=recorded, revision=commit)
    if not (changed or touched) or _is_ours(repository, recorded, commit=commit, base=base, branch=branch):
        return ()
    if touched:
        return (_taken_back(*touched[-1]),)
    return tuple(_refused(path, base, is_new=path not in before.entries) for path in changed[:_MOST])


def _told_apart(
    repository: Repository, changed: Sequence[str], *, recorded: str, before: Tree
) -> tuple[UserError, ...]:
    """What differs from the recorded branch, where no history tells who changed it; of a shallow clone, that alone."""
    if changed and repository.shallow:
        error = UserError(
            "whether the branch changes this is not known: the clone is shallow, and ends before the two part",
            where=Place(changed[0]),
            hint="`git fetch --unshallow` gets the rest of the history",
        )
        return (error,)
    return tuple(_refused(path, recorded, is_new=path not in before.entries) for path in changed[:_MOST])


def recorded_head(repository: Repository, settings: GitSettings) -> str | None:
    """The head of the branch that state is recorded to, as this clone knows it; None where it does not.

    Nobody is asked. What that branch is called is read where the remote's default branch stands, if the clone knows
    that: a branch may call itself what it likes. What a clone has not pushed is on no branch but its own.
    """
    default = default_branch(repository, settings)
    if default is not None:
        settings = _settings_at(repository, default[1])
    name = settings.branch or (default[0] if default is not None else repository.branch)
    if name is None:
        return None
    known = repository.remembered(settings.remote, name)
    return known[1] if known is not None else find_commit(repository.git, f"refs/heads/{name}")


def default_branch(repository: Repository, settings: GitSettings) -> tuple[str, str] | None:
    """The default branch of the clone's own remote and its head, as far as the clone knows them. Nobody is asked.

    `settings` are those of what is looked at, which may be anybody's: they name a remote that is nobody's, or theirs.
    So they are heeded only where there is no `origin`; what that one's branch declares leads on from there.
    """
    names = dict.fromkeys(("origin", settings.remote, *remotes(repository.git)))
    return next(filter(None, map(repository.remembered, names)), None)


def _differing(before: Tree, now: Tree) -> Iterator[str]:
    for path in before.entries.keys() | now.entries.keys():
        if path.startswith(f"{FOLDER}/") and before.entries.get(path) != now.entries.get(path):
            yield path


def _is_ours(repository: Repository, recorded: str, *, commit: str, base: str, branch: str | None) -> bool:
    """Whether a branch is our proposal: by what the recorded branch declares, since a branch declares what it likes."""
    settings = _settings_at(repository, recorded)
    if settings.push != "pull-request":
        return False
    if not settings.sign:
        return branch == proposal_branch(repository.git)
    one = repository.commits_between(base, commit)
    return len(one) == 1 and of_ref(signed=signed_by_us(repository.git, commit), sign=True) == "ours"


def _settings_at(repository: Repository, commit: str) -> GitSettings:
    try:
        return read_settings(content_at(repository.tree(commit), SETTINGS_FILE)).settings.git
    except UserError:
        return GitSettings()


def _taken_back(commit: str, path: str) -> UserError:
    """The error for what a branch changed and changed back: a rebase brings both to the branch that is recorded to."""
    return UserError(
        f"a branch changes state/ in {commit[:7]}, and takes that back: state/ has one writer, in history as well",
        where=Place(path),
        hint="make one commit of them (`git rebase --interactive`), so that no history has it",
    )


def _refused(path: str, base: str, *, is_new: bool) -> UserError:
    quoted = shlex.quote(path)
    back = f"`git rm {quoted}`" if is_new else f"`git checkout {base[:7]} -- {quoted}`"
    return UserError(
        "a branch changes state/, which has one writer: the reconciler on the branch that it records to",
        where=Place(path),
        hint=(
            f"{back} takes it back, in the same commit (`git commit --amend`, or a rebase); `git fetch` may be due",
            "what should be is declared in desired/: the reconciler brings it about after the merge",
        ),
    )
