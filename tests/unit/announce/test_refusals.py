from __future__ import annotations

import pytest

from reconciler.announce.github_api import Asked, reason_of, refusal
from reconciler.model.errors import Terminal, Transient

ASKED = Asked("dispatching to acme/images", "contents: write", "GITHUB_TOKEN")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"message": "Not Found"}, "Not Found"),
        ({"message": "Validation Failed", "errors": ["body is too long"]}, "Validation Failed: body is too long"),
        ({"message": "Invalid", "errors": [{"field": "head", "code": "invalid"}]}, "Invalid: head invalid"),
        ({"message": "Invalid", "errors": [{"message": "No commits between"}]}, "Invalid: No commits between"),
        ({"message": "Invalid", "errors": "text"}, "Invalid: text"),
        ({"data": "<html>\n Unicorn!"}, "<html> Unicorn!"),
        ({"errors": [{"type": "FORBIDDEN", "message": "no"}]}, "no"),
        ("plain\x1b[31m text", "plain [31m text"),
        (b"bytes \xff", "bytes \ufffd"),
        (None, ""),
        ([], ""),
    ],
)
def test_githubs_reason_is_one_line(said: object, reason: str) -> None:
    assert reason_of(said) == reason


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (429, {}, None),
        (403, {"Retry-After": "60"}, {"message": "x"}),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, {"message": "x"}),
        (403, {}, {"message": "You have exceeded a secondary rate limit"}),
        (400, {}, {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit already exceeded"}]}),
        (500, {}, None),
        (502, {}, "<html>"),
        (408, {}, None),
    ],
)
def test_what_may_pass_is_transient(status: int, headers: dict[str, str], said: object) -> None:
    assert isinstance(refusal(ASKED, status, headers=headers, said=said), Transient)


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 409, 410, 422, 451])
def test_what_stays_is_terminal(status: int) -> None:
    assert isinstance(refusal(ASKED, status, headers={}, said={"message": "no"}), Terminal)


def test_the_permission_that_github_names_goes_before_the_one_we_know() -> None:
    headers = {"X-Accepted-GitHub-Permissions": "contents=write,workflows=write"}

    assert "`contents: write,workflows: write`" in str(refusal(ASKED, 403, headers=headers, said=None))
