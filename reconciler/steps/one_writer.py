"""state/ has one writer, which records to one branch: another branch that changes it is refused."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from reconciler.desired.declared import SETTINGS_FILE, read_settings
from reconciler.git.history import find_commit, find_ref
from reconciler.git.past import last_touched, touched_below
from reconciler.git.proposal import is_our_proposal, proposal_branch
from reconciler.git.remote import Remote, remotes
from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Place, ReconcilerError, UserError
from reconciler.model.tree import Tree, content_at
from reconciler.plan.trust import believes
from reconciler.state.lockfiles import FOLDER

_MOST = 20
"""How many files are named."""
_ASKED_SECONDS = 10
FETCHED_SECONDS = 120
"""How long a remote is waited for by what needs none: it is asked one question, and then for what the clone lacks."""


@dataclass(frozen=True)
class Recorded:
    """The branch that state is recorded to. Its head is None where this clone has not got it, and can't get it now."""

    remote: str
    branch: str
    head: str | None


@dataclass(frozen=True)
class Asking:
    """Who asks what a branch changes.

    Attributes:
        in_ci: Whether a job of a CI does: then what can't be told is refused.
        branch: What the branch is called, as far as anybody says so who is none of its own; empty where nobody does.
        told: The default branch of the repository, as the job has it.
    """

    in_ci: bool = False
    branch: str = ""
    told: str | None = None


@dataclass(frozen=True)
class Judged:
    """What a branch changes in state/, as an error for each file; and why that is not known, where a person asks."""

    errors: tuple[UserError, ...] = ()
    unknown: str = ""


def judge_state(repository: Repository, tree: Tree, settings: GitSettings, *, commit: str, asking: Asking) -> Judged:
    """What a branch changes in state/, by whatever tells of the branch that is recorded to. Nothing on that branch.

    A clone that does not know enough asks the remote, for minutes at most. What nothing tells is refused in a CI, where
    nobody reads a note.

    Args:
        repository: The clone.
        tree: The commit's files, or those of the checkout on it.
        settings: Those of the tree.
        commit: The branch's head.
        asking: Who asks.
    """
    recorded = find_recorded(repository, settings, told=asking.told)
    if recorded is not None and asking.branch == recorded.branch:
        return Judged()
    lacking = _lacking(repository, recorded, commit=commit, asking=asking)
    if lacking is not None:
        return _unknown(repository, tree, lacking, commit=commit, in_ci=asking.in_ci)
    if recorded is None or recorded.head is None:
        return Judged()  # without a remote it is recorded to what is checked out
    errors = written_by_branch(repository, tree, commit=commit, recorded=recorded.head, branch=asking.branch)
    return Judged(errors)


def _lacking(
    repository: Repository, recorded: Recorded | None, *, commit: str, asking: Asking
) -> tuple[str, str] | None:  # fmt: skip
    """Why a branch can't be compared with the one that is recorded to, and what mends it; None where it can be."""
    names = remotes(repository.git)
    if recorded is None and names:
        remote = shlex.quote("origin" if "origin" in names else names[0])
        fetched = shlex.quote(f"+refs/heads/*:refs/remotes/{remote}/*")
        return (
            f"the clone does not know the default branch of {remote}, and the remote does not tell",
            f"`git fetch {remote} {fetched}` and `git remote set-head {remote} --auto`",
        )
    if recorded is None:
        return ("the clone has no remote", "`git remote add origin ADDRESS`") if asking.in_ci else None
    if recorded.head is None:
        fetched = f"+refs/heads/{recorded.branch}:refs/remotes/{recorded.remote}/{recorded.branch}"
        return (
            f"the clone lacks {recorded.branch}, which state is recorded to, and {recorded.remote} does not give it",
            f"`git fetch {shlex.quote(recorded.remote)} {shlex.quote(fetched)}`",
        )
    if asking.in_ci and not _is_whole(repository, commit, recorded):
        return "the clone is shallow, and does not get what came before", "`git fetch --unshallow`"
    return None


def _is_whole(repository: Repository, commit: str, recorded: Recorded) -> bool:
    """Whether all of a branch's history is there. What lacks is fetched: a job's clone is nobody's but the job's."""
    if not repository.shallow or repository.is_ancestor(commit, recorded.head or commit):
        return True
    remote = repository.remote(recorded.remote)
    return remote is not None and remote.complete(commit, limit_seconds=FETCHED_SECONDS)


def _unknown(repository: Repository, tree: Tree, why: tuple[str, str], *, commit: str, in_ci: bool) -> Judged:
    """What is said where nothing tells: an error in a CI, where there is something in state/ to be told of.

    To delete all of it is a change as well: so what there was counts.
    """
    there = sorted(path for path in tree.entries if _is_state(path))
    there = there or [path for _, path in last_touched(repository.git, FOLDER, revision=commit)]
    what, commands = why
    said = f"whether the branch changes {FOLDER}/ is not known: {what}"
    if not there:
        return Judged()
    if not in_ci:
        return Judged(unknown=f"{said}; {commands} tells it")
    hint = f"let the job check out all of the history (`fetch-depth: 0` of actions/checkout), or run {commands} before"
    return Judged((UserError(said, where=Place(there[0]), hint=hint),))


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
    bases = repository.merge_bases(recorded, commit)[:_MOST]
    if not bases:
        # They have nothing in common: what the branch did not take from the other is its own.
        before = repository.tree(recorded)
        return _told_apart(repository, sorted(_differing(before, tree)), recorded=recorded, before=before)
    before = repository.tree(bases[0])
    # Each merged into the other there are several commits where they parted: what differs from all of them is changed.
    differing = [set(_differing(repository.tree(base), tree)) for base in bases]
    changed = sorted(set.intersection(*differing))
    merged = () if changed else _merged(repository, tree, bases, differing, commit=commit, recorded=recorded)
    touched = () if changed or merged else touched_below(repository.git, FOLDER, since=recorded, revision=commit)
    if not (changed or merged or touched):
        return ()
    if len(bases) == 1 and _is_ours(repository, recorded, commit=commit, base=bases[0], branch=branch):
        return ()
    if touched:
        return (_taken_back(*touched[-1]),)
    if merged:
        return tuple(_by_merge(path, recorded) for path in merged[:_MOST])
    return tuple(_refused(path, bases[0], is_new=path not in before.entries) for path in changed[:_MOST])


def _merged(
    repository: Repository,
    tree: Tree,
    bases: Sequence[str],
    differing: Sequence[Collection[str]],
    *,
    commit: str,
    recorded: str,
) -> Sequence[str]:
    """What the merge of a branch would change in state/, though the branch has that as it was where the two parted.

    By a merge of an older state with another date, or by a rename: what a branch changes elsewhere git puts into the
    file in state/ that it takes for the same. Where git can't tell, whatever may come of it.
    """
    if bases == (recorded,):
        return ()  # nothing happened on the recorded branch since: what the merge gives is the branch
    found = repository.changed_by_merge(recorded, commit, folder=FOLDER)
    if found is not None:
        return found
    theirs, old = repository.tree(recorded).entries, repository.tree(bases[0]).entries
    several = {path for one in differing for path in one if tree.entries.get(path) != theirs.get(path)}
    new = [path for path in theirs if _is_state(path) and path not in old]
    edited = any(path not in theirs and old.get(path) not in (None, one) for path, one in tree.entries.items())
    return sorted(several) or (new if edited else ())


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


def recorded_head(repository: Repository, settings: GitSettings, *, told: str | None = None) -> str | None:
    """The head of the branch that state is recorded to, as `find_recorded` finds it; None where nothing tells.

    Without a remote it is that which `settings` name, else the one that is checked out.
    """
    found = find_recorded(repository, settings, told=told)
    if found is not None or remotes(repository.git):
        return found.head if found is not None else None
    name = settings.branch or repository.branch
    return find_ref(repository.git, f"refs/heads/{name}") if name is not None else find_commit(repository.git, "HEAD")


def find_recorded(repository: Repository, settings: GitSettings, *, told: str | None = None) -> Recorded | None:
    """The branch that state is recorded to; None where nothing tells which it is, or there is no remote.

    That is the default branch of the clone's own remote, as far as the clone remembers that; else the remote is asked,
    for seconds; else it is the one that is `told`. The settings there lead on: a branch may call itself what it likes.
    What the clone lacks of it is fetched, where the remote answers.

    Args:
        repository: The clone. A CI's may know of no default branch: `git init` and a fetch leave none.
        settings: Those of what is looked at, which may be anybody's: they name a remote that is nobody's, or theirs.
            So they are heeded only where there is no `origin`.
        told: The default branch, as a CI's job has it.
    """
    names = dict.fromkeys(("origin", settings.remote, *remotes(repository.git)))
    remote = next(filter(None, map(repository.remote, names)), None)
    if remote is None:
        return None
    found = _found(repository, remote, told=told)
    if found is None or found.head is None:
        return found
    declared = _settings_at(repository, found.head)
    # A job has one remote, whatever a person calls theirs.
    of = repository.remote(declared.remote) or remote
    return _found(repository, of, branch=declared.branch) if declared.branch or of.name != remote.name else found


def _found(
    repository: Repository, remote: Remote, *, branch: str | None = None, told: str | None = None
) -> Recorded | None:
    """A remote's branch, its default one if absent, by what the clone remembers, and then by what the remote says."""
    known = repository.remembered(remote.name, branch)
    if known is not None:
        return Recorded(remote.name, *known)
    says = remote.told_branch(limit_seconds=_ASKED_SECONDS)
    # The last is a reference to a branch that is not here: one that was renamed, or never fetched.
    name = branch or says or told or remote.remembered_branch()
    if name is None:
        return None
    known = repository.remembered(remote.name, name)
    if known is None and says is not None:  # what did not answer is not waited for once more
        with suppress(ReconcilerError):
            return Recorded(remote.name, name, remote.fetch(name, limit_seconds=FETCHED_SECONDS))
    return Recorded(remote.name, name, known[1] if known is not None else None)


def _differing(before: Tree, now: Tree) -> Iterator[str]:
    for path in before.entries.keys() | now.entries.keys():
        if _is_state(path) and before.entries.get(path) != now.entries.get(path):
            yield path


def _is_state(path: str) -> bool:
    """Whether a file is in state/, or in its place: a link or a submodule may be called so."""
    return path == FOLDER or path.startswith(f"{FOLDER}/")


def _is_ours(repository: Repository, recorded: str, *, commit: str, base: str, branch: str | None) -> bool:
    """Whether a branch is our proposal: by what the recorded branch declares, since a branch declares what it likes."""
    settings = _settings_at(repository, recorded)
    if settings.push != "pull-request":
        return False
    if not settings.sign:
        return branch == proposal_branch(repository.git)
    one = repository.git.run("rev-list", "--max-count=2", f"{base}..{commit}", "--").lines
    ours = partial(is_our_proposal, repository.git, commit, parent=base)
    return len(one) == 1 and believes(ours, sign=settings.sign)


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


def _by_merge(path: str, recorded: str) -> UserError:
    """The error for what a branch changes by nothing but the way it is merged."""
    return UserError(
        "the merge of this branch changes state/, which has one writer, whatever its own commits say",
        where=Place(path),
        hint=(
            f"`git merge {recorded[:7]}` and `git checkout {recorded[:7]} -- {FOLDER}`, in one commit, mend it",
            "or make the branch anew on that (`git rebase`)",
        ),
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
