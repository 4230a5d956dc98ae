"""One POST, tried a few times."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests
import tenacity
import urllib3
from requests.auth import AuthBase

from reconciler import __version__
from reconciler.announce.access import RetryPolicy
from reconciler.model.errors import Terminal, Transient
from reconciler.model.text import first_line, shown_url

_AGAIN = frozenset({408, 425, 429})
_LONGEST_REASON = 2000
"""Bytes of an answer that are read for its reason."""


@dataclass(frozen=True)
class Post:
    """What is sent, and to whom.

    `headers` is called before every try: a signature with a timestamp is made anew. `to` names the receiver, and
    `refused` says what a person looks at when it answers 4xx, by status; 0 stands for the others.
    """

    url: str
    body: bytes
    to: str
    headers: Callable[[], Mapping[str, str]]
    refused: Mapping[int, str]


def deliver(post: Post, policy: RetryPolicy) -> None:
    """Send it until it is answered with 2xx.

    Tried again after 408, 425, 429 and 5xx, connection errors and timeouts. That may deliver it twice, since a lost
    answer looks like a lost request. Redirects are refused: the body is signed and meant for one address.

    Raises Transient when the last try failed so, or when the receiver asks for a longer pause than ours;
    Terminal for any other answer and for a certificate that does not verify.
    """
    retrying = tenacity.Retrying(
        sleep=policy.sleep,
        stop=tenacity.stop_after_attempt(policy.tries),
        wait=lambda state: _pause(state, policy),
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, _Again) and error.worth_waiting(policy)),
        reraise=True,
    )
    try:
        retrying(_try_in_time, post, policy)
    except _Again as error:
        tries = int(retrying.statistics["attempt_number"])
        after = "" if tries == 1 else f" after {tries} tries"
        later = f"; it asks to wait {error.after:.0f} s" if error.after is not None else ""
        raise Transient(
            f"{post.to} was not told{after}: {error.reason}{later}", hint="the next run tells it again"
        ) from (error.__cause__ or error)


class _Again(Exception):
    """A try that failed in a way that may pass; `after` is in seconds, where the receiver said so."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after

    def worth_waiting(self, policy: RetryPolicy) -> bool:
        return self.after is None or self.after <= policy.longest_pause


class _NoOtherCredentials(AuthBase):
    """Keeps `requests` from adding a login of ~/.netrc to what we authenticate by ourselves."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Session(requests.Session):
    """A session that reads no redirect: `requests` by itself has it whole, also where it is to follow none."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, ever."""
        del resp


def _pause(state: tenacity.RetryCallState, policy: RetryPolicy) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _Again) and error.after is not None:
        return error.after
    return policy.pause(state.attempt_number)


def _try_in_time(post: Post, policy: RetryPolicy) -> None:
    """Try once, and give up when the time for all of it is over, wherever it is then.

    In a thread, as no timeout of a connection is one of the whole: each is for the next byte. A thread that is given up
    ends with its connection, or with this process.
    """
    answered: concurrent.futures.Future[None] = concurrent.futures.Future()

    def work() -> None:
        try:
            _try_once(post, policy)
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            answered.set_exception(error)
        else:
            answered.set_result(None)

    threading.Thread(target=work, name="announce", daemon=True).start()
    try:
        answered.result(policy.whole)
    except concurrent.futures.TimeoutError as error:
        raise _Again(f"no whole answer within {policy.whole:g} s") from error


def _try_once(post: Post, policy: RetryPolicy) -> None:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        # What is packed would have to be unpacked to be read, and may be a thousand times as large then.
        "Accept-Encoding": "identity",
        "User-Agent": f"reconciler/{__version__}",
        **post.headers(),
    }
    try:
        # Streamed, so that no more of an answer is read than is needed for its reason.
        with (
            _Session() as session,
            session.post(
                post.url,
                data=post.body,
                headers=headers,
                auth=_NoOtherCredentials(),
                timeout=policy.timeout,
                allow_redirects=False,
                stream=True,
            ) as answer,
        ):
            _judge(answer, post, policy)
    except requests.exceptions.SSLError as error:
        raise Terminal(
            f"{post.to} was not told: its certificate does not verify ({first_line(str(error))})",
            hint="renew the certificate; for an authority of your own set REQUESTS_CA_BUNDLE",
        ) from error
    except requests.exceptions.Timeout as error:
        raise _Again(f"no answer within {policy.timeout:g} s") from error
    except requests.exceptions.ConnectionError as error:
        raise _Again(f"{shown_url(post.url)} can't be reached ({_root(error)})") from error
    except requests.exceptions.RequestException as error:
        raise Terminal(f"{post.to} was not told: {first_line(str(error))}", hint=post.refused[0]) from error


def _judge(answer: requests.Response, post: Post, policy: RetryPolicy) -> None:
    status = answer.status_code
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        to = answer.headers.get("Location", "")
        raise Terminal(
            f"{post.to} was not told: {shown_url(post.url)} redirects to {shown_url(to) or 'nowhere'} ({status})",
            hint="redirects are not followed; give the address that answers itself",
        )
    reason = _reason(answer)
    if status in _AGAIN or status >= 500:
        raise _Again(reason, after=retry_after(answer.headers.get("Retry-After"), now=policy.now()))
    raise Terminal(f"{post.to} refuses: {reason}", hint=post.refused.get(status, post.refused[0]))


def retry_after(header: str | None, *, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: given as seconds or as a date (RFC 9110, 10.2.3); None if unreadable.

    Never negative: a date that has passed means now.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _reason(answer: requests.Response) -> str:
    """The status and what the receiver says of it, on one line. Nothing is unpacked for that."""
    said = ""
    if answer.headers.get("Content-Encoding", "identity").strip().lower() == "identity":
        try:
            # One read of what has come: a receiver that drips its answer must not hold us up.
            said = answer.raw.read1(_LONGEST_REASON, decode_content=False).decode("utf-8", "replace")
        except (urllib3.exceptions.HTTPError, OSError):
            said = ""
    line = first_line(said)
    return first_line(f"{answer.status_code} {answer.reason or ''}") + (f": {line}" if line else "")


def _root(error: BaseException) -> str:
    """The name of what went wrong below urllib3's wrappings: `NewConnectionError`, `ConnectionResetError`."""
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", None)
    if isinstance(reason, Exception):
        return type(reason).__name__
    return type(inner if isinstance(inner, Exception) else error).__name__
