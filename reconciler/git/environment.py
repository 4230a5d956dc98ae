"""The environment that git runs in: ours, whatever the caller's shell, hook or alias left behind."""

from __future__ import annotations

from collections.abc import Iterable

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
    # History as it was pushed, not as somebody's refs/replace shows it.
    "GIT_NO_REPLACE_OBJECTS": "1",
}

CONFIGURATION = (
    # Hooks are for people's commits. The null device has no file `pre-push` below it.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "color.ui=false",
    # No repacking in the background of a run, which would keep lock files and processes alive after it.
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    "push.followTags=false",
    "submodule.recurse=false",
    "log.showSignature=false",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
    # A transfer that moves less than 1 kB/s for a minute is dead.
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
)
"""What every call passes with `-c`, so that a person's own configuration does not change what we do."""


def unwanted(names: Iterable[str]) -> tuple[str, ...]:
    """The environment variables among `names` that git must not see, in order of name."""
    return tuple(
        sorted(
            name
            for name in names
            if name.startswith("GIT_") and name not in KEPT and not name.startswith(KEPT_PREFIXES)
        )
    )
