"""A conversation with GitHub: one request at a time, with patience for minutes and not for hours.

PyGithub was chosen over githubkit, whose import fails with the current hishel.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import github
import requests
import urllib3
from github.GithubException import BadAttributeException, GithubException
from github.Repository import Repository

from reconciler import __version__
from reconciler.announce.credentials import Credential, credential
from reconciler.announce.patience import Patience
from reconciler.announce.refusals import Asked, refusal
from reconciler.announce.wording import first_line
from reconciler.model.errors import Terminal, Transient
from reconciler.model.receivers import is_private_to_the_wire

TOKENS = ("RECONCILER_GITHUB_TOKEN", "GITHUB_TOKEN")
ADDRESS = "GITHUB_API_URL"
"""GitHub Enterprise's address; GitHub Actions sets it by itself."""
PUBLIC_ADDRESS = "https://api.github.com"


class GitHub:
    """GitHub as one token sees it. May be used from several threads, which then take turns.

    Nothing is asked and no token looked for before the first use.

    Args:
        environment: Holds the token (`TOKENS`, the first that is set) and perhaps the address (`ADDRESS`).
        patience: Tries of reads, and the timeout of every request.
        seconds_between_writes: GitHub asks for one ("Best practices for using the REST API").
    """

    def __init__(
        self, environment: Mapping[str, str], *, patience: Patience | None = None, seconds_between_writes: float = 1.0
    ) -> None:
        self._environment = environment
        self._patience = patience or Patience()
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
                    f"GitHub, {doing}: {self._address()} can't be reached ({type(error).__name__})",
                    mend="the next run tries it again",
                ) from error
            except (requests.exceptions.RequestException, BadAttributeException, RuntimeError) as error:
                # PyGithub raises a bare RuntimeError when it is redirected to another host.
                raise Terminal(
                    f"GitHub, {doing}: {first_line(str(error))}", mend=f"check {ADDRESS}; what answered is not GitHub"
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
                timeout=math.ceil(self._patience.timeout),
                retry=_retries(self._patience),
                seconds_between_requests=None,
                seconds_between_writes=self._seconds_between_writes,
            )
            self._opened = (api, token)
        return self._opened


def without_bot(login: str) -> str:
    """A login without the suffix that REST, and not GraphQL, adds to that of an app."""
    return login.removesuffix("[bot]")


def _retries(patience: Patience) -> urllib3.Retry:
    """In place of PyGithub's own, which sleeps until a rate limit ends (up to an hour) and repeats writes.

    Reads are repeated when the server fails, and anything when no connection came about.
    """
    return urllib3.Retry(
        total=patience.tries - 1,
        allowed_methods={"GET"},
        status_forcelist={500, 502, 503, 504},
        backoff_factor=patience.base / 2,
        backoff_max=patience.longest_pause,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
