"""One request to a container registry: signing in, trying again, and what a refusal means here."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from reconciler import __version__
from reconciler.model.errors import NoCredentials, ReconcilerError, Terminal, Transient
from reconciler.model.json_text import json_object
from reconciler.model.text import first_line
from reconciler.registries.oci.credentials import Login, Logins
from reconciler.registries.oci.reference import Reference, is_loopback

PARALLEL = 16
"""Requests at once: hosted registries limit a client's rate, and more only meets that sooner."""
_MOST = 4 << 20
"""Bytes of an answer: what the specification has registries take of a manifest, and far more than a page of tags."""
_CONNECT, _SILENT, _ANSWER = 10.0, 60.0, 120.0
"""Seconds: to be connected, between two bytes, and for the whole of an answer but a layer's."""
_TRIES = 4
_LONGEST_WAIT = 20.0
_PIECE = 1 << 20
_THERE_IS_NONE = frozenset({"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND", "TAG_UNKNOWN"})
"""The codes by which a registry says so itself. A proxy's page for what it can't find says nothing of the registry."""
_BROKEN_OFF = frozenset({"DIGEST_INVALID", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "SIZE_INVALID"})
"""What was sent did not arrive as it is. docker-registry 2.8 also says so where two send one blob at once (seen)."""
_IMMUTABLE = re.compile(r"immutable|already exists", re.IGNORECASE)
_CHALLENGE = re.compile(r'(?<![a-z])([a-z]++)="([^"]*)"')


class ImmutableTag(Terminal):
    """A registry that lets no tag be moved that is there, as its refusal says."""


class Stream:
    """Bytes that come as they are asked for, of a size that is known: so they are sent without being held."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        self._pieces, self._size = pieces, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


Body = bytes | Stream | None


@dataclass(frozen=True)
class Answer:
    """What a registry answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; empty where it is none."""
        return json_object(self.body)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the errors in it."""
        return tuple(str(one.get("code")) for one in _errors(self))

    @property
    def says(self) -> str:
        """The first error's own words, on one line."""
        return next((first_line(f"{one.get('code')}: {one.get('message')}") for one in _errors(self)), "")


class _Authorized(AuthBase):
    """A header of ours, or none: without an `auth` of one's own `requests` takes a login out of ~/.netrc."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value is not None:
            request.headers["Authorization"] = self._value
        return request


class _Session(requests.Session):
    """The same of where a registry sends us on: of its own accord `requests` looks there into ~/.netrc once more."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        strips: bool = self.should_strip_auth(response.request.url, prepared_request.url)  # type: ignore[no-untyped-call]
        if strips:
            prepared_request.headers.pop("Authorization", None)


@dataclass
class Exchange:
    """Whoever asks registries, and signs in where they want it. May be used by several threads.

    `tries` are for what changes nothing, or the same however often it is done. `cancelled` ends the waits in between.
    """

    logins: Logins
    cancelled: threading.Event | None = None
    tries: int = _TRIES
    _session: requests.Session = field(default_factory=_Session, repr=False)
    _authorized: dict[tuple[str, str, bool], str] = field(default_factory=dict, repr=False)
    _known_logins: dict[str, Login | None] = field(default_factory=dict, repr=False)
    _known_settings: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        adapter = HTTPAdapter(pool_connections=PARALLEL, pool_maxsize=2 * PARALLEL)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.headers["User-Agent"] = f"reconciler/{__version__}"

    def ask(
        self, method: str, of: Reference, path: str, *, headers: Mapping[str, str] | None = None,
        body: bytes | None = None, also: Collection[int] = (),
    ) -> Answer:  # fmt: skip
        """Ask for something of a repository. 404 is an answer where the registry itself says so; `also` names others.

        Raises:
            Transient: it could not be asked: it is not reached, broken, or has too much to do, also after some tries.
            Terminal: it refuses.
        """
        url = urljoin(f"{of.endpoint}/v2/{of.path}/", path)
        for number in range(1, self.tries + 1):
            try:
                answer = self.send(method, of, url, headers=headers or {}, body=body)
            except Transient:
                if number == self.tries:
                    raise
                self.wait(number)
                continue
            if answer.status < 400 or answer.status in also or _there_is_none(answer, method):
                return answer
            refusal = self.refusal(of, answer, doing="refuses")
            if number == self.tries or not isinstance(refusal, Transient):
                raise refusal
            self.wait(number, answer.headers.get("retry-after"))
        raise AssertionError("a try returns or raises")

    def stream(self, of: Reference, digest: str) -> Iterator[bytes]:
        """The bytes of a blob of any size, as they come; Transient where they break off or are others."""
        url = f"{of.endpoint}/v2/{of.path}/blobs/{digest}"
        self.ask("HEAD", of, f"blobs/{digest}")  # signs in
        seen = hashlib.sha256()
        with _translated(of), self._session.get(
            url, auth=self._auth(of, writes=False, url=url), stream=True, timeout=(_CONNECT, _SILENT)
        ) as answer:  # fmt: skip
            if answer.status_code != 200:
                raise Transient(f"{of.repository} does not give {digest}: {answer.status_code}")
            for piece in answer.iter_content(_PIECE):
                if self.cancelled is not None and self.cancelled.is_set():
                    raise Transient(f"copying {digest} was cancelled")
                seen.update(piece)
                yield piece
        if f"sha256:{seen.hexdigest()}" != digest:
            raise Transient(f"{of.repository} gave other bytes than {digest}")

    def send(
        self, method: str, of: Reference, url: str, *, headers: Mapping[str, str],
        body: Body,
    ) -> Answer:  # fmt: skip
        """Ask once, and once more where the registry first wants to know who asks. Returns whatever it answers."""
        writes = method not in ("GET", "HEAD")
        answer = self._once(method, of, url, headers=headers, body=body, writes=writes)
        if answer.status == 401 and not isinstance(body, Stream):
            self._sign_in(of, answer, writes=writes)
            answer = self._once(method, of, url, headers=headers, body=body, writes=writes)
        return answer

    def _once(
        self, method: str, of: Reference, url: str, *, headers: Mapping[str, str],
        body: Body, writes: bool,
    ) -> Answer:  # fmt: skip
        auth = self._auth(of, writes=writes, url=url)
        with _translated(of):
            asked = self._session.prepare_request(
                requests.Request(method, url, headers=dict(headers), data=body, auth=auth)
            )
            settings = self._settings(url)
            answer = self._session.send(asked, timeout=(_CONNECT, _SILENT), allow_redirects=True, **settings)
        with _translated(of), answer:
            read = _read(answer, of) if method != "HEAD" else b""
            return Answer(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, read)

    def _settings(self, url: str) -> Mapping[str, Any]:
        """The proxy and the certificates for a host, as the environment has them.

        Of its own accord `requests` reads all of that for each request, which takes a quarter of what one takes.
        """
        host = urlsplit(url)[:2]
        found = self._known_settings.get(host)
        if found is None:
            found = self._session.merge_environment_settings(url, {}, True, None, None)
            self._known_settings[host] = found
        return found

    def _auth(self, of: Reference, *, writes: bool, url: str) -> _Authorized:
        """What we were given for a repository; nothing for another host, such as where a registry has its blobs."""
        own = urlsplit(url)[:2] == urlsplit(of.endpoint)[:2]  # its scheme, too: a registry behind a proxy may say http
        return _Authorized(self._authorized.get((of.host, of.path, writes)) if own else None)

    def _sign_in(self, of: Reference, refused: Answer, *, writes: bool) -> None:
        """Get what a registry asks for in its 401 (distribution's "Token Authentication Specification")."""
        scheme, asked = challenged(refused.headers.get("www-authenticate", ""))
        login = self._login(of)
        if scheme == "basic" and login is not None:
            value: str | None = f"Basic {login.basic}"
        elif scheme == "bearer":
            value = f"Bearer {self._token(of, asked, login)}"
        else:
            value = None
        with self._lock:
            if value is None:
                self._authorized.pop((of.host, of.path, writes), None)
            else:
                self._authorized[of.host, of.path, writes] = value

    def _token(self, of: Reference, asked: Mapping[str, str], login: Login | None) -> str:
        realm = asked.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.netloc)):
            raise Terminal(f"{of.host} would have us sign in at {first_line(realm) or 'nowhere'}, which is not safe")
        scopes = asked.get("scope", "").split()
        if login is not None and login.is_identity:
            form = {
                "grant_type": "refresh_token", "refresh_token": login.secret, "client_id": "reconciler",
                "service": asked.get("service", ""), "scope": " ".join(scopes),
            }  # fmt: skip
            answer = self._sign_in_at(of, "POST", realm, data=form)
        else:
            query = [
                *(("scope", one) for one in scopes),
                *([("service", asked["service"])] if "service" in asked else []),
            ]
            basic = f"Basic {login.basic}" if login is not None else None
            answer = self._sign_in_at(of, "GET", realm, params=query, auth=_Authorized(basic))
        token = answer.json().get("token") or answer.json().get("access_token")
        if answer.status >= 400 or not isinstance(token, str):
            raise self.refusal(of, answer, doing="gives no token")
        return token

    def _sign_in_at(self, of: Reference, method: str, realm: str, **asked: Any) -> Answer:
        asked.setdefault("auth", _Authorized(None))
        with _translated(of), self._session.request(
            method, realm, timeout=(_CONNECT, _SILENT), stream=True, allow_redirects=False, **asked
        ) as answer:  # fmt: skip
            return Answer(answer.status_code, {}, _read(answer, of))

    def _login(self, of: Reference) -> Login | None:
        with self._lock:
            if of.host not in self._known_logins:
                self._known_logins[of.host] = self.logins.of(of)
            return self._known_logins[of.host]

    def refusal(self, of: Reference, answer: Answer, *, doing: str) -> ReconcilerError:
        """What a refusal means here."""
        says = f": {answer.says}" if answer.says else ""
        if answer.status in (408, 429) or answer.status >= 500 or not _BROKEN_OFF.isdisjoint(answer.codes):
            return Transient(f"{of.host} answers {answer.status}{says}")
        if answer.status != 404 and _IMMUTABLE.search(answer.says):
            return ImmutableTag(
                f"{of.repository} does not let a tag be moved{says}",
                hint="let tags be moved that begin with sha256-: our marks are under those",
            )
        if answer.status in (401, 403):
            known = self._known_logins.get(of.host)
            who = f"the login of {known.user}" if known is not None and not known.is_identity else "our login"
            what = f"{of.host} {doing} {of.repository} with {who if known is not None else 'no login'}{says}"
            refused = NoCredentials if known is None else Terminal
            return refused(what, hint=f"`docker login {of.host}`, as somebody who may read and write {of.repository}")
        if answer.status == 404:
            return Transient(f"{of.host} answers 404, and not as a registry does: is something between here and there?")
        return Terminal(f"{of.host} {doing} {of.repository} ({answer.status}{says})", hint="see its registry's log")

    def wait(self, number: int, asked: str | None = None) -> None:
        """Wait before another try, as long as was asked for within reason, with jitter.

        Raises Transient once the run is cancelled.
        """
        seconds = min(float(asked), _LONGEST_WAIT) if asked and asked.isdigit() else 0.0
        seconds = max(seconds, random.uniform(0.2, 0.5) * 2**number)  # noqa: S311 - jitter, no secret
        if self.cancelled is None:
            time.sleep(seconds)
        elif self.cancelled.wait(seconds):
            raise Transient("it was cancelled")


def challenged(header: str) -> tuple[str, dict[str, str]]:
    """The scheme, in lower case, and what is asked for by name, of a `WWW-Authenticate`."""
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), dict(_CHALLENGE.findall(rest))


def _errors(answer: Answer) -> list[dict[str, Any]]:
    found = answer.json().get("errors")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _there_is_none(answer: Answer, method: str) -> bool:
    """Whether a 404 is the registry's own word. HEAD has no body: then its header has to do."""
    if answer.status != 404:
        return False
    if method == "HEAD":
        return "docker-distribution-api-version" in answer.headers or "text/html" not in answer.headers.get(
            "content-type", ""
        )
    return not _THERE_IS_NONE.isdisjoint(answer.codes)


def _read(answer: requests.Response, of: Reference) -> bytes:
    """The whole of a body. Raises Terminal for more than is to be read, Transient where it takes too long."""
    until = time.monotonic() + _ANSWER
    found = bytearray()
    # As much as has come: `iter_content` waits for all that it is asked for, and hears no time meanwhile.
    while piece := answer.raw.read1(1 << 16, decode_content=True):
        found += piece
        if len(found) > _MOST:
            raise Terminal(f"{of.host} answers with more than {_MOST:,} bytes")
        if time.monotonic() > until:
            raise Transient(f"{of.host} takes longer than {_ANSWER:.0f} s for an answer")
    return bytes(found)


@contextmanager
def _translated(of: Reference) -> Iterator[None]:
    """Turn what `requests` says of a registry that could not be asked into Transient."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise Terminal(
            f"{of.host} has no certificate that is trusted here: {_reason(error)}",
            hint="REQUESTS_CA_BUNDLE names a file of those that are",
        ) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Transient(f"{of.host} could not be asked: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The innermost cause, without the addresses that `requests` puts around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return first_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
