"""One question to a container registry by HTTP, and its answer: bounded in bytes and in time, wherever it sends us on.

`requests` reads the body of a redirect whole before it follows it, also where it is told to follow none, keeps whatever
cookies it is given, and unpacks what is packed. So redirects are followed here, and none of that is done.
"""

from __future__ import annotations

import http.cookiejar
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

from reconciler import __version__
from reconciler.model.errors import Terminal, Transient
from reconciler.model.json_text import json_object
from reconciler.model.text import first_line
from reconciler.registries.allowance import Tls, UsedUp, connected
from reconciler.registries.oci.reference import Reference

PARALLEL = 16
"""Requests at once: hosted registries limit a client's rate, and more only meets that sooner."""
MOST = 4 << 20
"""Bytes of an answer: what the specification has registries take of a manifest, and far more than a page of tags."""
_CONNECT, _SILENT = 10.0, 60.0
"""Seconds: to be connected, and between two bytes."""
_MOST_HOPS = 10
"""How often one is sent on: what docker's own client follows (Go's net/http)."""
_SHORT = 1 << 16
"""Bytes of a redirect's body that are read, so that its connection can be used again."""
_MOST_HOSTS = 64
_PIECE = 1 << 16


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
    url: str = ""
    """Who answered: the address that was asked last, after all redirects."""

    @property
    def media_type(self) -> str:
        """What its body is said to be, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> dict[str, Any]:
        """The body as an object; empty where it is none."""
        return json_object(self.body)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The errors in it."""
        found = self.json().get("errors")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the errors in it."""
        return tuple(str(one.get("code")) for one in self.errors)

    @property
    def says(self) -> str:
        """The first error's own words, on one line."""
        return next((first_line(f"{one.get('code')}: {one.get('message')}") for one in self.errors), "")


class Authorized(AuthBase):
    """A header of ours, or none: without an `auth` of one's own `requests` takes a login out of ~/.netrc."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """See `AuthBase`."""
        if self._value is not None:
            request.headers["Authorization"] = self._value
        return request


class _Session(requests.Session):
    """One that neither follows redirects nor reads them, and takes no cookies."""

    def __init__(self) -> None:
        super().__init__()
        adapter = _Adapter(pool_connections=PARALLEL, pool_maxsize=2 * PARALLEL)
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self.headers.update({"User-Agent": f"reconciler/{__version__}", "Accept-Encoding": "identity"})
        self.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None, so that no redirect is followed: `requests` would read the body of one whole."""
        del resp


class _Adapter(HTTPAdapter):
    """Makes connections that are held to what is allowed."""

    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        """See `HTTPAdapter`."""
        super().init_poolmanager(*given, **named)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *given: Any, **named: Any) -> urllib3.ProxyManager:
        """See `HTTPAdapter`."""
        made: urllib3.ProxyManager = super().proxy_manager_for(*given, **named)
        made.pool_classes_by_scheme = _POOLS
        return made


class _Plain(HTTPConnection):
    def _new_conn(self) -> Any:  # what both of urllib3's connections are made by
        return connected((self._dns_host, self.port or 80), self.timeout)


class _Tls(HTTPSConnection):
    def _new_conn(self) -> Any:
        return connected((self._dns_host, self.port or 443), self.timeout)

    def connect(self) -> None:
        if self.ssl_context is None:
            self.ssl_context = create_urllib3_context(cert_reqs=resolve_cert_reqs(self.cert_reqs))
        self.ssl_context.sslsocket_class = Tls
        super().connect()


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls


_POOLS = {"http": _PlainPool, "https": _TlsPool}


@dataclass
class Transport:
    """Whoever sends requests. May be used by several threads. Whoever asks has an `Allowance` hold meanwhile."""

    _session: requests.Session = field(default_factory=_Session, repr=False)
    _known_settings: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def ask(
        self, method: str, of: Reference, url: str, *, headers: Mapping[str, str], body: Body,
        authorized: Callable[[str], Authorized], follow: bool = True, most: int = MOST,
    ) -> Answer:  # fmt: skip
        """Ask once. See `opened`; `most` is in bytes of a body."""
        with (
            translated(of),
            self.opened(method, of, url, headers=headers, body=body, authorized=authorized, follow=follow) as answer,
        ):
            read = _read(answer, of, most=most) if method != "HEAD" else b""
            told = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status_code, told, read, answer.url)

    def opened(
        self, method: str, of: Reference, url: str, *, headers: Mapping[str, str], body: Body,
        authorized: Callable[[str], Authorized], follow: bool = True,
    ) -> requests.Response:  # fmt: skip
        """An answer whose body is to be read by whoever asked, after all redirects. `authorized` says as whom to ask.

        Whoever is sent to another host goes on as nobody, wherever that host may send him.
        """
        asked_as, away = authorized(url), False
        for _ in range(_MOST_HOPS + 1):
            request = requests.Request(method, url, headers=dict(headers), data=body, auth=asked_as)
            answer = self._session.send(
                self._session.prepare_request(request), timeout=(_CONNECT, _SILENT), **self._settings(url)
            )
            to = _sent_to(answer) if follow else None
            if to is None:
                return answer
            _pass_over(answer)
            before, url = url, joined(of, url, to)
            away = away or urlsplit(before)[:2] != urlsplit(url)[:2]
            asked_as = Authorized(None) if away else authorized(url)
            if answer.status_code not in (307, 308) and method != "HEAD":
                method, body = "GET", None
            if isinstance(body, Stream):
                raise Transient(f"{of.host} sends on what was sent to it, which can't be sent twice")
        raise Terminal(f"{of.host} sends us on more than {_MOST_HOPS} times")

    def _settings(self, url: str) -> Mapping[str, Any]:
        """The proxy and the certificates for a host, as the environment has them.

        Of its own accord `requests` reads all of that for each request, which takes a quarter of what one takes.
        """
        host = urlsplit(url)[:2]
        found = self._known_settings.get(host)
        if found is None:
            if len(self._known_settings) >= _MOST_HOSTS:
                self._known_settings.clear()
            found = self._session.merge_environment_settings(url, {}, True, None, None)
            self._known_settings[host] = found
        return found


def pieces(answer: requests.Response, of: Reference) -> Iterator[bytes]:
    """The body, as it comes. Raises Terminal where it is packed: nobody asked for that.

    As much as has come: `iter_content` waits for all that it is asked for, and takes a line of a chunked body of any
    length (urllib3 2.8).
    """
    if _is_packed(answer):
        raise Terminal(f"{of.host} packs its answer, which nobody asked for")
    while piece := answer.raw.read1(_PIECE, decode_content=False):
        yield piece


def joined(of: Reference, base: str, to: str) -> str:
    """The address that a registry names, which may begin where `base` is. Raises Terminal for what is none."""
    try:
        url = urljoin(base, to)
        urlsplit(url).port  # noqa: B018 # reads it
    except ValueError as error:
        raise Terminal(f"{of.host} names {first_line(to)}, which is no address") from error
    return url


@contextmanager
def translated(of: Reference) -> Iterator[None]:
    """Turn what `requests` says of a registry that could not be asked into Transient."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise Terminal(
            f"{of.host} has no certificate that is trusted here: {_reason(error)}",
            hint="REQUESTS_CA_BUNDLE names a file of those that are",
        ) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, UsedUp) as error:
        raise Transient(f"{of.host} could not be asked: {_reason(error)}") from error


def _sent_to(answer: requests.Response) -> str | None:
    """Where a redirect leads, as UTF-8, which headers have been read as something else than; None for no redirect."""
    if not answer.is_redirect:
        return None
    return answer.headers["location"].encode("latin-1", "replace").decode(errors="replace")


def _read(answer: requests.Response, of: Reference, *, most: int) -> bytes:
    """The whole of a body. Raises Terminal for more than is to be read; of a refusal that is packed nothing is read."""
    found = bytearray()
    for piece in pieces(answer, of) if answer.status_code < 400 or not _is_packed(answer) else ():
        found += piece
        if len(found) > most:
            raise Terminal(f"{of.host} answers with more than {most:,} bytes")
    return bytes(found)


def _is_packed(answer: requests.Response) -> bool:
    return answer.headers.get("content-encoding", "identity").strip().lower() not in ("identity", "")


def _pass_over(answer: requests.Response) -> None:
    """Let go of a redirect's body: a short one is read, of a longer one the connection is closed."""
    left = _SHORT
    with answer:
        while left > 0 and (piece := answer.raw.read1(left, decode_content=False)):
            left -= len(piece)


def _reason(error: BaseException) -> str:
    """The innermost cause, without the addresses that `requests` puts around it."""
    while not isinstance(error, UsedUp) and (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return first_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
