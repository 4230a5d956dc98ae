"""A clean export of one commit: what was built is exactly what was committed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reconciler.git.command import Git, failed
from reconciler.git.tree import read_tree
from reconciler.model.errors import Terminal, UserError


@dataclass(frozen=True)
class Export:
    """Where a commit was exported to, and the submodules in it, which were not."""

    directory: Path
    submodules: tuple[str, ...]


def export(git: Git, commit: str, directory: Path) -> Export:
    """Write every file of a commit below `directory`, which is made if need be, with modes and symlinks kept.

    Not `git archive`: that obeys export-ignore and export-subst, which are for release tarballs. Attributes
    (`eol=crlf`) and filters (Git LFS) apply, as in any checkout; a person's own `core.autocrlf` does not.

    Raises:
        Terminal: the directory is not empty.
        UserError: a filter that the repository asks for is missing or failed.
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if next(directory.iterdir(), None) is not None:
        raise Terminal(f"{directory} is not empty: a clean export needs a folder of its own")
    git_dir = git.run("rev-parse", "--absolute-git-dir").text
    with git.with_own_index() as own:
        own.run("read-tree", commit)
        # With the export as the work tree, .gitattributes are those of the commit; else those of the checkout count.
        there = Git(directory, {**own.environment, "GIT_DIR": git_dir, "GIT_WORK_TREE": str(directory)})
        written = there.attempt(
            *("-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.sparseCheckout=false"),
            *("checkout-index", "--all", "--force", "--quiet"),
        )
    if written.status != 0:
        raise _not_exported(commit, failed("checkout-index", written))
    return Export(directory, read_tree(git, commit).submodules)


def _not_exported(commit: str, cause: Terminal) -> UserError | Terminal:
    if "filter" not in cause.what:
        return cause
    return UserError(
        f"the export of {commit[:7]} failed in a filter that .gitattributes asks for: {cause.what}",
        mend="install the filter where reconciler runs (for Git LFS: `git lfs install`)",
    )
