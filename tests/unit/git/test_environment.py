from __future__ import annotations

from reconciler.git.processes import removed


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

    assert removed(names, given=()) == ("GIT_DIR", "GIT_INDEX_FILE", "GIT_TRACE")


def test_what_is_given_to_git_stays_whoever_else_set_it() -> None:
    assert removed(["GIT_DIR", "GIT_AUTHOR_NAME"], given={"GIT_AUTHOR_NAME": "reconciler"}) == ("GIT_DIR",)
