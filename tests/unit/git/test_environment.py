from __future__ import annotations

from reconciler.git.environment import unwanted


def test_git_sees_how_to_reach_a_remote_and_not_which_repository_is_meant() -> None:
    names = [
        "PATH",
        "GIT_SSH_COMMAND",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_KEY_0",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_TRACE",
    ]

    assert unwanted(names) == ("GIT_DIR", "GIT_INDEX_FILE", "GIT_TRACE")
