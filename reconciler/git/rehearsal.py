"""A repository to play in: a bare origin and a clone of it, with the declared images of another one."""

from __future__ import annotations

import shutil
from pathlib import Path

from reconciler.git.command import Git
from reconciler.git.export import export

_CARRIED = ("desired", "state")


def clone_with_origin(source: Path, folder: Path, *, name: str) -> Path:
    """Make `folder/origin.git` and a clone `folder/name` of it that hold desired/ and state/ of a repository's HEAD.

    Returns the clone. Raises what `export` raises.
    """
    origin, clone, exported = folder / "origin.git", folder / name, folder / "export"
    # Without a person's template: its hooks would be run by whoever plays in it.
    Git(folder).run("init", "--quiet", "--template=", "--bare", "--initial-branch=main", str(origin))
    Git(folder).run("init", "--quiet", "--template=", "--initial-branch=main", str(clone))
    export(Git(source), "HEAD", exported)
    fleet = exported / Git(source).run("rev-parse", "--show-prefix").text
    for part in _CARRIED:
        if (fleet / part).is_dir():
            shutil.copytree(fleet / part, clone / part, symlinks=True)
    shutil.rmtree(exported)
    git = Git(clone)
    git.run("config", "user.name", "A platform engineer")
    git.run("config", "user.email", "platform@example.org")
    git.run("remote", "add", "origin", str(origin))
    git.run("add", "--all", "--force")  # whatever a person ignores everywhere
    git.run("commit", "--quiet", "--message", "Declare base and web")
    git.run("push", "--quiet", "--set-upstream", "origin", "main")
    git.run("remote", "set-head", "origin", "main")
    return clone
