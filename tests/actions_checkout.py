"""The checkout of GitHub's jobs, as actions/checkout v5 leaves it: no clone, and so no word of the default branch.

Source: src/git-source-provider.ts, git-command-manager.ts and ref-helper.ts of that action. Its git is the runner's;
from 2.48 on a fetch of all branches may note the default one (`remote.<name>.followRemoteHEAD`), and before none does.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


def check_out(
    origin: str,
    folder: Path,
    *,
    commit: str,
    ref: str = "",
    depth: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Check a commit out to a new folder, which is returned.

    Args:
        origin: Where the repository is.
        folder: Where it gets to.
        commit: What is checked out.
        ref: The branch or pull request that it is of, as `refs/…`; empty where the workflow names a commit alone.
        depth: The action's `fetch-depth`: 0 fetches all branches and tags.
        environment: That of git; absent, this process's own.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-c", "protocol.version=2", *arguments]
        given = dict(environment) if environment is not None else None
        ended = subprocess.run(command, cwd=folder, env=given, check=True, capture_output=True, text=True)
        return ended.stdout.strip()

    folder.mkdir(parents=True)
    git("init", "--quiet")
    git("remote", "add", "origin", origin)
    git("config", "--local", "gc.auto", "0")
    fetch = ("fetch", "--quiet", "--prune", "--no-recurse-submodules")
    local = ref.replace("refs/heads/", "refs/remotes/origin/").replace("refs/pull/", "refs/remotes/pull/")
    own = f"+{commit}:{local}" if ref else commit
    if depth:
        git(*fetch, "--no-tags", f"--depth={depth}", "origin", own)
    else:
        git(*fetch, "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        git(*fetch, "--no-tags", "origin", own)
    branch = ref.removeprefix("refs/heads/")
    where = ["-B", branch, local] if branch != ref else ["--detach", commit]
    git("checkout", "--quiet", "--force", *where)
    return folder
