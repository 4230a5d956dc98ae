"""Commit messages that do what they say and no more."""

from __future__ import annotations

import re

# CircleCI ("Skip jobs"), GitHub Actions ("Skipping workflow runs") and GitLab ("Skip a pipeline") read these anywhere
# in a message; Azure Pipelines reads ***NO_CI***.
_BRACKETED = re.compile(
    r"\[((?:skip|ci|no|actions|azurepipelines|circleci)[ -](?:skip|ci|actions|azurepipelines|circleci))\]",
    re.IGNORECASE,
)
_STARRED = re.compile(r"\*\*\*(NO_CI)\*\*\*", re.IGNORECASE)
_TRAILER = re.compile(r"^(skip-checks):", re.IGNORECASE | re.MULTILINE)


def scrub(message: str) -> str:
    """The message with every CI switch in it made harmless: `[skip ci]` becomes `(skip ci)`.

    A state commit quotes what people wrote. A quoted switch at the head of the branch would silence CI, on CircleCI's
    older project types the scheduled pipelines too, and nothing would show it.
    """
    message = message.replace("\0", "\\0")  # git takes none
    message = _BRACKETED.sub(r"(\1)", message)
    message = _STARRED.sub(r"\1", message)
    return _TRAILER.sub(r"(\1)", message)
