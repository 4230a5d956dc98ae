"""What GitHub's answers mean: whose fault, whether to try again, and how to mend it.

After "Rate limits for the REST API", "Troubleshooting the REST API" and "Permissions required for fine-grained
personal access tokens" in GitHub's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconciler.announce.wording import first_line, shown_url
from reconciler.model.errors import Terminal, Transient


@dataclass(frozen=True)
class Asked:
    """What was asked of GitHub.

    `doing` reads after "GitHub, ": `setting a status on 9c0d1e2`. `needs` is the permission it takes, as
    fine-grained tokens and the `permissions:` of a GitHub workflow call it: `statuses: write`. `variable` held the
    token.
    """

    doing: str
    needs: str
    variable: str


def refusal(asked: Asked, status: int, *, headers: Mapping[str, str], said: object) -> Transient | Terminal:
    """The error that stands for an answer.

    Args:
        asked: What was asked.
        status: The HTTP status, of 3xx, 4xx or 5xx; 400 also stands for the errors of a GraphQL answer.
        headers: The answer's headers.
        said: The answer's body: decoded JSON, or text.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    reason = reason_of(said)
    what = f"GitHub, {asked.doing}: {reason or 'no reason given'} ({status})"
    if status == 429 or (status in (400, 403) and _is_limit(headers, said, reason)):
        return Transient(what, mend=f"{_when(headers)}; the next run tries it again")
    if status >= 500 or status == 408:
        return Transient(what, mend="the next run tries it again; https://www.githubstatus.com says how GitHub is")
    if status == 401:
        return Terminal(what, mend=f"GitHub does not accept the token in {asked.variable}; it may have expired")
    if status in (403, 404):
        needs = headers.get("x-accepted-github-permissions", "").replace("=", ": ") or asked.needs
        return Terminal(
            what,
            mend=(
                f"the token in {asked.variable} needs the permission `{needs}` on that repository",
                *(("without it GitHub says that the repository is not there",) if status == 404 else ()),
            ),
        )
    if 300 <= status < 400:
        to = shown_url(headers.get("location", "")) or "an unknown place"
        return Terminal(f"GitHub, {asked.doing}: it moved to {to} ({status})", mend="mend the name or GITHUB_API_URL")
    return Terminal(what, mend="GitHub refuses the request itself; nothing changes until what is asked changes")


def reason_of(said: object) -> str:
    """What GitHub gives as its reason, with its details, on one line: `Validation Failed: body is too long`."""
    if isinstance(said, bytes):
        said = said.decode("utf-8", "replace")
    if not isinstance(said, dict):
        return first_line(said) if isinstance(said, str) else ""
    # PyGithub puts an answer that is not JSON under `data`.
    told = said.get("message") or said.get("data") or ""
    details = [_detail(error) for error in _errors(said)]
    return first_line(": ".join(text for text in (str(told), "; ".join(filter(None, details))) if text))


def _errors(said: Mapping[str, Any]) -> list[Any]:
    errors = said.get("errors")
    return errors if isinstance(errors, list) else [errors] if errors else []


def _detail(error: object) -> str:
    """An error of a list: text, or an object with a message, or one that says which field has which fault."""
    if not isinstance(error, dict):
        return str(error)
    return str(error.get("message") or " ".join(str(error[key]) for key in ("field", "code") if error.get(key)))


def _is_limit(headers: Mapping[str, str], said: object, reason: str) -> bool:
    if "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0":
        return True
    graphql = _errors(said) if isinstance(said, dict) else []
    if any(isinstance(error, dict) and error.get("type") == "RATE_LIMITED" for error in graphql):
        return True
    return "rate limit" in reason.lower()


def _when(headers: Mapping[str, str]) -> str:
    """When it may be tried again, as the documentation reads it: retry-after first, then the reset."""
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if after.isdecimal():
        return f"not before {after} s from now"
    if reset.isdecimal() and headers.get("x-ratelimit-remaining") == "0":
        return f"not before {datetime.fromtimestamp(int(reset), UTC):%H:%M:%S} UTC"
    return "not before a minute from now"
