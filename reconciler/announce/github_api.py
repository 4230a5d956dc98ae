"""GitHub: one request at a time, what its answers mean, and announcing by a repository_dispatch event."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import github
import requests
import urllib3
from github.GithubException import BadAttributeException, GithubException
from github.Repository import Repository
from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass

from reconciler import __version__
from reconciler.announce.access import Credential, RetryPolicy, credential
from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal, Transient
from reconciler.model.receivers import is_private_to_the_wire
from reconciler.model.text import first_line, shown_url
from reconciler.model.values import told_moment

# What GitHub's answers mean: whose fault, whether to try again, and how to fix it.
#
# After "Rate limits for the REST API", "Troubleshooting the REST API" and "Permissions required for fine-grained
# personal access tokens" in GitHub's documentation.


@dataclass(frozen=True)
class Asked:
    """A request to GitHub.

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
        return Transient(what, hint=f"{_when(headers)}; the next run tries it again")
    if status >= 500 or status == 408:
        return Transient(what, hint="the next run tries it again; https://www.githubstatus.com says how GitHub is")
    if status == 401:
        return Terminal(what, hint=f"GitHub does not accept the token in {asked.variable}; it may have expired")
    if status in (403, 404):
        needs = headers.get("x-accepted-github-permissions", "").replace("=", ": ") or asked.needs
        return Terminal(
            what,
            hint=(
                f"the token in {asked.variable} needs the permission `{needs}` on that repository",
                *(("without it GitHub says that the repository is not there",) if status == 404 else ()),
            ),
        )
    if 300 <= status < 400:
        to = shown_url(headers.get("location", "")) or "an unknown place"
        return Terminal(f"GitHub, {asked.doing}: it moved to {to} ({status})", hint="fix the name or GITHUB_API_URL")
    return Terminal(what, hint="GitHub refuses the request itself; nothing changes until what is asked changes")


def reason_of(said: object) -> str:
    """GitHub's reason, with its details, on one line: `Validation Failed: body is too long`."""
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
    until = told_moment(int(reset[:20])) if reset.isdecimal() else None
    if until is not None and headers.get("x-ratelimit-remaining") == "0":
        return f"not before {until:%H:%M:%S} UTC"
    return "not before a minute from now"


# A conversation with GitHub: one request at a time, with patience for minutes and not for hours.
#
# PyGithub was chosen over githubkit, whose import fails with the current hishel.

TOKENS = ("RECONCILER_GITHUB_TOKEN", "GITHUB_TOKEN")
ADDRESS = "GITHUB_API_URL"
"""GitHub Enterprise's address; GitHub Actions sets it by itself."""
PUBLIC_ADDRESS = "https://api.github.com"


class GitHub:
    """GitHub as one token sees it. May be used from several threads, which then take turns.

    Nothing is asked and no token looked for before the first use.

    Args:
        environment: Holds the token (`TOKENS`, the first that is set) and perhaps the address (`ADDRESS`).
        policy: Tries of reads, and the timeout of every request.
        seconds_between_writes: GitHub asks for one ("Best practices for using the REST API").
    """

    def __init__(
        self, environment: Mapping[str, str], *, policy: RetryPolicy | None = None, seconds_between_writes: float = 1.0
    ) -> None:
        self._environment = environment
        self._policy = policy or RetryPolicy()
        self._seconds_between_writes = seconds_between_writes
        self._lock = threading.RLock()
        self._opened: tuple[github.Github, Credential] | None = None
        self._repositories: dict[str, Repository] = {}
        self._login: str | None = None

    @contextmanager
    def asking(self, doing: str, *, needs: str) -> Iterator[github.Github]:
        """Ask something, with GitHub's errors translated by the table in `refusals`.

        Args:
            doing: What is asked, as in `setting a status on 9c0d1e2`.
            needs: The permission it takes: `statuses: write`.

        Raises Transient or Terminal.
        """
        with self._lock:
            api, token = self._open()
            asked = Asked(doing, needs, token.variable)
            try:
                yield api
            except GithubException as error:
                headers = {str(name): str(value) for name, value in (error.headers or {}).items()}
                raise refusal(asked, error.status, headers=headers, said=error.data) from error
            except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
                raise Transient(
                    f"GitHub, {doing}: {self._address()} can't be reached ({_why(error)})",
                    hint="the next run tries it again",
                ) from error
            except (requests.exceptions.RequestException, BadAttributeException, RuntimeError, ValueError) as error:
                # PyGithub raises a bare RuntimeError when it is redirected to another host, and to what is no address
                # what Python raises over that.
                raise Terminal(
                    f"GitHub, {doing}: {first_line(str(error))}", hint=f"check {ADDRESS}; what answered is not GitHub"
                ) from error

    def repository(self, name: str) -> Repository:
        """A repository by owner/name, asked for once; a renamed one is found. To be called while `asking`."""
        if name not in self._repositories:
            api, _ = self._open()
            self._repositories[name] = api.get_repo(name)
        return self._repositories[name]

    def login(self) -> str:
        """Who we are, as comments are signed; asked for once. To be called while `asking`.

        By GraphQL, because the tokens of GitHub Apps and of GitHub Actions may not read `/user`. It writes an app's
        name with or without `[bot]`; here it is without.
        """
        if self._login is None:
            api, _ = self._open()
            _, answer = api.requester.graphql_query("query { viewer { login } }", {})
            self._login = without_bot(str(answer["data"]["viewer"]["login"]))
        return self._login

    def _address(self) -> str:
        return self._environment.get(ADDRESS, "").rstrip("/") or PUBLIC_ADDRESS

    def _open(self) -> tuple[github.Github, Credential]:
        if self._opened is None:
            if not is_private_to_the_wire(self._address()):
                raise Terminal(f"{ADDRESS} is no https:// address, and the token must not be read on the way")
            token = credential(self._environment, *TOKENS, purpose="token for GitHub")
            api = github.Github(
                base_url=self._address(),
                auth=github.Auth.Token(token.value),
                user_agent=f"reconciler/{__version__}",
                per_page=100,
                timeout=math.ceil(self._policy.timeout),
                retry=_retries(self._policy),
                seconds_between_requests=None,
                seconds_between_writes=self._seconds_between_writes,
            )
            tls = self._address().startswith("https://")
            # What PyGithub has for this, `injectConnectionClasses`, opens a connection for each request.
            api.requester._Requester__connectionClass = _open_bounded(self._policy.whole, tls=tls)  # type: ignore[attr-defined]  # noqa: SLF001 - see above
            self._opened = (api, token)
        return self._opened


_MOST = 32 << 20
"""Bytes of an answer, unpacked: a page of a hundred comments of the longest kind has a fifth of it."""


def _bounded(longest: float) -> Callable[..., None]:
    """Reads the whole of an answer, within bounds, before PyGithub does, which has none.

    Of its own accord that one knows a time for each read, so that an answer that drips never ends.
    """

    def read(answer: requests.Response, **_sending: object) -> None:
        until = time.monotonic() + longest
        found = bytearray()
        try:
            while piece := answer.raw.read1(1 << 16, decode_content=True):
                found += piece
                if len(found) > _MOST or time.monotonic() > until:
                    break
        except urllib3.exceptions.HTTPError as error:
            raise requests.exceptions.ConnectionError(type(error).__name__) from error
        if piece:
            answer.close()
            much = f"of more than {_MOST:,} bytes" if len(found) > _MOST else f"that takes longer than {longest:g} s"
            raise requests.exceptions.ConnectionError(f"an answer {much}")
        # Where `requests` keeps what was read: there is no other way in.
        answer._content, answer._content_consumed = bytes(found), True  # type: ignore[attr-defined]  # noqa: SLF001 - see above

    return read


def _open_bounded(longest: float, *, tls: bool) -> type[HTTPRequestsConnectionClass | HTTPSRequestsConnectionClass]:
    """PyGithub's connections, with answers that are bounded."""
    base = HTTPSRequestsConnectionClass if tls else HTTPRequestsConnectionClass

    class Bounded(base):  # type: ignore[misc, valid-type]  # one of two, which have no base of their own
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.session.hooks["response"].append(_bounded(longest))

    return Bounded


def _why(error: Exception) -> str:
    """The reason why GitHub is not reached, in short: the error's own words are those of `requests`, and long."""
    words = first_line(str(error))
    return words if words.startswith("an answer ") else type(error).__name__


def without_bot(login: str) -> str:
    """A login without the suffix that REST, and not GraphQL, adds to that of an app."""
    return login.removesuffix("[bot]")


def _retries(policy: RetryPolicy) -> urllib3.Retry:
    """In place of PyGithub's own, which sleeps until a rate limit ends (up to an hour) and repeats writes.

    Reads are repeated when the server fails, and anything when no connection came about.
    """
    return urllib3.Retry(
        total=policy.tries - 1,
        allowed_methods={"GET"},
        status_forcelist={500, 502, 503, 504},
        backoff_factor=policy.base / 2,
        backoff_max=policy.longest_pause,
        respect_retry_after_header=False,
        raise_on_status=False,
    )


# Announces by a repository_dispatch event to another repository on GitHub.


class Dispatch:
    """A repository whose workflows run `on: repository_dispatch`.

    The announcement is under one key, `client_payload.announcement`: GitHub takes ten keys there, and 64 KB in all
    ("Create a repository dispatch event").
    """

    name = "github"

    def __init__(self, repository: str, github: GitHub, *, event_type: str | None = None) -> None:
        self._repository = repository
        self._github = github
        self._event_type = event_type

    def announce(self, what: Announcement) -> None:
        """Dispatch it. Raises Transient or Terminal."""
        event = {
            "event_type": self._event_type or f"image-{what.event}",
            "client_payload": {"announcement": what.plain()},
        }
        with self._github.asking(f"dispatching to {self._repository}", needs="contents: write") as api:
            repository = self._github.repository(self._repository)
            # Not `create_repository_dispatch`: it makes of every refusal, a bad token too, the answer False.
            api.requester.requestJsonAndCheck("POST", f"{repository.url}/dispatches", input=event)
