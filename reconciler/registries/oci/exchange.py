"""One request to a container registry: signing in, trying again, and what a refusal means here."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlencode, urljoin, urlsplit

from tenacity import RetryCallState, Retrying, retry_if_exception, retry_if_result, stop_after_attempt

from reconciler.model.errors import NoCredentials, ReconcilerError, Terminal, Transient
from reconciler.model.text import first_line
from reconciler.registries.allowance import Allowance, UsedUp, seconds_left
from reconciler.registries.oci.credentials import Login, Logins
from reconciler.registries.oci.headers import Challenge, challenges
from reconciler.registries.oci.reference import Reference, is_loopback
from reconciler.registries.oci.transport import (
    MOST,
    Answer,
    Authorized,
    Body,
    Stream,
    Transport,
    joined,
    pieces,
    translated,
)

_ANSWER, _LAYER = 120.0, 3600.0
"""Seconds for the whole of an answer, with wherever it sends us on; and for a layer, as an engine has for a push."""
_MOST_OF_A_TOKEN = 64 << 10
"""Bytes of what a registry gives to sign in with: it goes with each request, and no server takes headers as long."""
_TRIES = 4
_LONGEST_WAIT = 20.0
_PIECE = 1 << 20
_THERE_IS_NONE = frozenset({"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND", "TAG_UNKNOWN"})
"""The codes by which a registry says so itself. A proxy's page for what it can't find says nothing of the registry."""
_BROKEN_OFF = frozenset({"DIGEST_INVALID", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "SIZE_INVALID"})
"""What was sent did not arrive as it is. docker-registry 2.8 also says so where two send one blob at once (seen)."""
_ALL_RIGHTS = "read and write"
_IMMUTABLE = re.compile(r"immutable|already exists", re.IGNORECASE)


class ImmutableTag(Terminal):
    """A registry that lets no tag be moved that is there, as its refusal says."""


@dataclass
class Exchange:
    """Whoever asks registries, and signs in where they want it. May be used by several threads.

    `tries` are for what changes nothing, or the same however often it is done. `cancelled` ends the waits in between.
    """

    logins: Logins
    cancelled: threading.Event | None = None
    tries: int = _TRIES
    _transport: Transport = field(default_factory=Transport, repr=False)
    _authorized: dict[tuple[str, str, bool], str] = field(default_factory=dict, repr=False)
    _known_logins: dict[str, Login | None] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ask(
        self, method: str, of: Reference, path: str, *, headers: Mapping[str, str] | None = None,
        body: bytes | None = None, also: Collection[int] = (), most: int = MOST,
    ) -> Answer:  # fmt: skip
        """Ask for something of a repository. 404 is an answer where the registry itself says so; `also` names others.

        Of HEAD it always is one, whoever says it.

        `most` is in bytes of an answer.

        Raises:
            Transient: it could not be asked: it is not reached, broken, or has too much to do, also after some tries.
            Terminal: it refuses.
        """
        url = urljoin(f"{of.endpoint}/v2/{of.path}/", path)

        def is_answer(answer: Answer) -> bool:
            return answer.status < 400 or answer.status in also or _there_is_none(answer, method)

        def may_pass(answer: Answer) -> bool:
            return not is_answer(answer) and isinstance(self.refusal(of, answer, doing="refuses"), Transient)

        lacks = "read" if _only_reads(method) else _ALL_RIGHTS
        answer = self._retrying(may_pass)(
            self.send, method, of, url, headers=headers or {}, body=body, most=most
        )  # fmt: skip
        if not is_answer(answer):
            raise self.refusal(of, answer, doing="refuses", lacks=lacks)
        return answer

    def _retrying(self, may_pass: Callable[[Answer], bool]) -> Retrying:
        """Try again while nothing is reached, or what is answered may pass; the last answer or error is the call's."""

        def last(state: RetryCallState) -> Answer:
            if state.outcome is None:
                raise AssertionError("a try returns or raises")
            return cast("Answer", state.outcome.result())

        def pause(state: RetryCallState) -> float:
            answered = state.outcome is not None and not state.outcome.failed
            return _pause(state.attempt_number, last(state).headers.get("retry-after") if answered else None)

        return Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, Transient) and not _is_used_up())
            | retry_if_result(may_pass),
            stop=stop_after_attempt(self.tries), wait=pause, sleep=self.sleep, retry_error_callback=last,
        )  # fmt: skip

    def stream(self, of: Reference, digest: str, size: int) -> Iterator[bytes]:
        """The bytes of a blob, of a size that its manifest gives, as they come.

        Transient where they break off or are others, and where they take longer than an hour; Terminal for more.
        """
        url = f"{of.endpoint}/v2/{of.path}/blobs/{digest}"
        self.ask("HEAD", of, f"blobs/{digest}")  # signs in
        seen, had, allowance = hashlib.sha256(), 0, Allowance(_LAYER, what="a layer")
        # Held piece by piece: between two of them whoever asked for them does what is his.
        with translated(of), allowance.holds():
            answer = self._transport.opened(
                "GET", of, url, headers={}, body=None, authorized=lambda where: self._auth(of, writes=False, url=where)
            )
        with answer:
            if answer.status_code != 200:
                raise Transient(f"{of.repository} does not give {digest}: {answer.status_code}")
            coming = pieces(answer, of)
            while True:
                with translated(of), allowance.holds():
                    piece = next(coming, b"")
                if not piece:
                    break
                if self.cancelled is not None and self.cancelled.is_set():
                    raise Transient(f"copying {digest} was cancelled")
                had += len(piece)
                if had > size:
                    raise Terminal(f"{of.repository} gives more than the {size:,} bytes that {digest} is to have")
                seen.update(piece)
                yield piece
        if f"sha256:{seen.hexdigest()}" != digest:
            raise Transient(f"{of.repository} gave other bytes than {digest}")

    def send(
        self, method: str, of: Reference, url: str, *, headers: Mapping[str, str],
        body: Body, most: int = MOST,
    ) -> Answer:  # fmt: skip
        """Ask once, and once more where the registry first wants to know who asks. Returns whatever it answers.

        Whoever it sends us on to is not asked where to sign in: he would name an address of his own.
        """
        writes = not _only_reads(method)
        answer = self._once(method, of, url, headers=headers, body=body, writes=writes, most=most)
        if answer.status == 401 and _is_of(of, answer.url) and not isinstance(body, Stream):
            self._sign_in(of, answer, writes=writes)
            answer = self._once(method, of, url, headers=headers, body=body, writes=writes, most=most)
        return answer

    def _once(
        self, method: str, of: Reference, url: str, *, headers: Mapping[str, str],
        body: Body, writes: bool, most: int,
    ) -> Answer:  # fmt: skip
        allowance = Allowance(_LAYER, what="a layer") if isinstance(body, Stream) else Allowance(_ANSWER)
        with translated(of), allowance.holds():
            return self._transport.ask(
                method, of, url, headers=headers, body=body, most=most,
                authorized=lambda where: self._auth(of, writes=writes, url=where),
            )  # fmt: skip

    def _auth(self, of: Reference, *, writes: bool, url: str) -> Authorized:
        """What we were given for a repository; nothing for another host, such as where a registry has its blobs."""
        return Authorized(self._authorized.get((of.host, of.path, writes)) if _is_of(of, url) else None)

    def _sign_in(self, of: Reference, refused: Answer, *, writes: bool) -> None:
        """Get what a registry asks for in its 401 (distribution's "Token Authentication Specification").

        It may offer several ways, in one header or in several.
        """
        login = self._login(of)
        taken = _chosen(challenges(refused.headers.get("www-authenticate", "")), login=login)
        if taken is None:
            value = None
        elif taken.scheme == "bearer":
            value = f"Bearer {self._token(of, taken.says, login)}"
        else:
            value = f"Basic {login.basic}" if login is not None else None
        with self._lock:
            if value is None:
                self._authorized.pop((of.host, of.path, writes), None)
            else:
                self._authorized[of.host, of.path, writes] = value

    def _token(self, of: Reference, asked: Mapping[str, str], login: Login | None) -> str:
        realm = asked.get("realm", "")
        parts = urlsplit(joined(of, realm, ""))._replace(fragment="")
        here = is_loopback(of.host) and is_loopback(parts.netloc)  # else it would have us ask what runs on this machine
        if parts.scheme != "https" and not (parts.scheme == "http" and here):
            raise Terminal(f"{of.host} would have us sign in at {first_line(realm) or 'nowhere'}, which is not safe")
        scopes = asked.get("scope", "").split()
        if login is not None and login.is_identity:
            form = {
                "grant_type": "refresh_token", "refresh_token": login.secret, "client_id": "reconciler",
                "service": asked.get("service", ""), "scope": " ".join(scopes),
            }  # fmt: skip
            answer = self._sign_in_at(of, "POST", realm, form=urlencode(form).encode())
        else:
            query = [
                *(("scope", one) for one in scopes),
                *([("service", asked["service"])] if "service" in asked else []),
            ]
            basic = f"Basic {login.basic}" if login is not None else None
            there = parts._replace(query="&".join(filter(None, (parts.query, urlencode(query)))))
            answer = self._sign_in_at(of, "GET", there.geturl(), known=basic)
        token = answer.json().get("token") or answer.json().get("access_token")
        if answer.status >= 400 or not isinstance(token, str):
            raise self.refusal(of, answer, doing="gives no token")
        return token

    def _sign_in_at(
        self, of: Reference, method: str, url: str, *, form: bytes | None = None, known: str | None = None
    ) -> Answer:  # fmt: skip
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
        with translated(of), Allowance(_ANSWER).holds():
            return self._transport.ask(
                method, of, url, headers=headers, body=form, authorized=lambda _: Authorized(known), follow=False,
                most=_MOST_OF_A_TOKEN,
            )  # fmt: skip

    def _login(self, of: Reference) -> Login | None:
        with self._lock:
            if of.host not in self._known_logins:
                self._known_logins[of.host] = self.logins.of(of)
            return self._known_logins[of.host]

    def refusal(self, of: Reference, answer: Answer, *, doing: str, lacks: str = _ALL_RIGHTS) -> ReconcilerError:
        """What a refusal means here. `lacks` is what somebody has to be allowed for it."""
        says = f": {answer.says}" if answer.says else ""
        if answer.status in (408, 429) or answer.status >= 500 or not _BROKEN_OFF.isdisjoint(answer.codes):
            return Transient(f"{of.host} answers {answer.status}{says}")
        if answer.status != 404 and _IMMUTABLE.search(answer.says):
            return ImmutableTag(
                f"{of.repository} does not let a tag be moved{says}",
                hint="let tags be moved that begin with sha256-: our marks are under those",
            )
        if answer.status == 401 and not _is_of(of, answer.url):
            return Terminal(
                f"{of.host} sends us on to {urlsplit(answer.url).netloc}, which wants a login, and gets none",
                hint="have it give what it sends others on to itself",
            )
        if answer.status in (401, 403):
            known = self._known_logins.get(of.host)
            who = f"the login of {known.user}" if known is not None and not known.is_identity else "our login"
            what = f"{of.host} {doing} {of.repository} with {who if known is not None else 'no login'}{says}"
            refused = NoCredentials if known is None else Terminal
            return refused(what, hint=f"`docker login {of.host}`, as somebody who may {lacks} {of.repository}")
        if answer.status == 404:
            return Transient(f"{of.host} answers 404, and not as a registry does: is something between here and there?")
        return Terminal(f"{of.host} {doing} {of.repository} ({answer.status}{says})", hint="see its registry's log")

    def wait(self, number: int) -> None:
        """Wait before another look, longer after each. Raises Transient once the run is cancelled."""
        self.sleep(_pause(number))

    def sleep(self, seconds: float) -> None:
        """Let time pass. Raises Transient once the run is cancelled."""
        if self.cancelled is None:
            time.sleep(seconds)
        elif self.cancelled.wait(seconds):
            raise Transient("it was cancelled")


def _pause(number: int, asked: str | None = None) -> float:
    """Seconds to wait after a try: as long as was asked for within reason, with jitter."""
    seconds = min(float(asked), _LONGEST_WAIT) if asked and asked.isascii() and asked.isdigit() else 0.0
    return max(seconds, random.uniform(0.2, 0.5) * 2.0**number)  # noqa: S311 - jitter, no secret


def _is_of(of: Reference, url: str) -> bool:
    """Whether an address is the registry's own. Its scheme counts, too: a registry behind a proxy may say http."""
    return urlsplit(url)[:2] == urlsplit(of.endpoint)[:2]


def _only_reads(method: str) -> bool:
    return method in ("GET", "HEAD")


def _is_used_up() -> bool:
    """Whether what holds this thread beyond one answer is over, so that there is nothing to be tried again."""
    try:
        return seconds_left() <= 0
    except UsedUp:
        return True


def _chosen(offered: Sequence[Challenge], *, login: Login | None) -> Challenge | None:
    """The way to sign in that is taken of several; None for none that is known here, or that needs a login.

    A token, wherever one may be had: nobody is shown a login for it but who gives it. The first that says where counts,
    and one that does not say it only where there is no other.
    """
    tokens = [one for one in offered if one.scheme == "bearer"]
    basic = [one for one in offered if one.scheme == "basic" and login is not None]
    in_order = [*(one for one in tokens if "realm" in one.says), *basic, *tokens]
    return in_order[0] if in_order else None


def _there_is_none(answer: Answer, method: str) -> bool:
    """Whether a 404 is the registry's own word. HEAD has no body to tell by: whoever asks so asks again by GET."""
    return answer.status == 404 and (method == "HEAD" or not _THERE_IS_NONE.isdisjoint(answer.codes))
