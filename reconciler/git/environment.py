"""The environment that git runs in: ours, whatever the caller's shell, hook or alias left behind."""

from __future__ import annotations

from collections.abc import Container, Iterable

KEPT = frozenset(
    {
        "GIT_ALLOW_PROTOCOL",
        "GIT_ASKPASS",
        "GIT_CEILING_DIRECTORIES",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_SYSTEM",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
        "GIT_EXEC_PATH",
        "GIT_PROXY_COMMAND",
        "GIT_PROXY_SSL_CAINFO",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSL_CERT",
        "GIT_SSL_KEY",
        "GIT_SSL_NO_VERIFY",
    }
)
"""How remotes are reached and which configuration is read: the caller's to decide. All other GIT_* say *which
repository, index or identity* is meant (a hook exports GIT_DIR and GIT_INDEX_FILE), and that is ours to decide."""

KEPT_PREFIXES = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_", "GIT_HTTP_", "GIT_PYTHON_")

OURS = {
    # Fail instead of asking: nobody sits in front of a scheduled job.
    "GIT_TERMINAL_PROMPT": "0",
    # `git status` must not rewrite the index of the checkout it looks at.
    "GIT_OPTIONAL_LOCKS": "0",
    # A file named `*.hcl` is that file, not a pattern.
    "GIT_LITERAL_PATHSPECS": "1",
    # History as it was pushed, not as somebody's refs/replace or info/grafts shows it. The null device has nothing
    # below it; of a file that is there git says that grafts are deprecated.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null/none",
}

CONFIGURATION = (
    # Hooks are for people's commits. The null device has no file `pre-push` below it.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    # An index of ours is one file, wherever it lies.
    "core.splitIndex=false",
    "core.safecrlf=false",
    # What is read has no escapes in it. A slot that is set by itself goes before `color.ui`.
    "color.ui=false",
    "color.advice=false",
    "color.push=false",
    "color.remote=false",
    "color.transport=false",
    # No repacking in the background of a run, which would keep lock files and processes alive after it.
    "gc.auto=0",
    "maintenance.auto=false",
    # Signed is what `git.sign` asks for, and nothing else. Servers take no signed push unless they are set up for it.
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "tag.forceSignAnnotated=false",
    "push.gpgSign=false",
    # Pushed is what is named, and without options: a person's `ci.skip` is for that person's pushes. Empty clears the
    # options of all other files (git-config(1), push.pushOption).
    "push.pushOption=",
    "push.followTags=false",
    "push.negotiate=false",
    "push.recurseSubmodules=no",
    "push.useForceIfIncludes=false",
    # Fetched is what is named, and nothing of this clone is thrown away for it.
    "fetch.prune=false",
    "fetch.pruneTags=false",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "log.follow=false",
    "log.showSignature=false",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
    # A transfer that moves less than 1 kB/s for a minute is dead.
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
)
"""What every call passes with `-c`, so that a person's own configuration does not change what we do.

What says how a remote is reached is left to that person: `url.*.insteadOf`, `credential.*`, `http.*`, `protocol.*`,
`core.sshCommand`; and so is what they ask of what they take (`transfer.fsckObjects`).
"""


def of_remote(name: str) -> tuple[str, ...]:
    """The same for what is set for one remote alone, which goes before what is set for all."""
    # `mirror` excludes naming what is pushed, and would delete every branch that this clone does not have.
    return (f"remote.{name}.mirror=false", f"remote.{name}.prune=false", f"remote.{name}.pruneTags=false")


def removed(inherited: Iterable[str], *, given: Container[str]) -> tuple[str, ...]:
    """The variables among `inherited` that git must not see, in order of name. What is `given` is ours, and stays."""
    return tuple(
        sorted(
            name
            for name in inherited
            if name.startswith("GIT_") and name not in KEPT and not name.startswith(KEPT_PREFIXES) and name not in given
        )
    )
