"""Container registries that refuse, are busy, broken or not there, or want to know who asks; each on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from reconciler.model.declaration import Settings
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.model.json_text import json_object
from reconciler.model.lockfile import Artifact
from reconciler.model.source import SourceRequest
from reconciler.model.values import sha256_of
from reconciler.plan.key import adoptable
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening, Remains
from reconciler.registries.oci.client import INDEX, MANIFEST, Client, Manifest, children
from reconciler.registries.oci.credentials import Logins
from reconciler.registries.oci.dialect import OCI
from reconciler.registries.oci.engine import Engine
from reconciler.registries.oci.exchange import Exchange
from reconciler.registries.oci.marks import Marks, tag_of, write_marks
from reconciler.registries.oci.reference import repository
from reconciler.registries.oci.registry import OciRegistry, open_registry
from reconciler.registries.oci.tags import Tags
from tests import containers

FLEET = "acme/images"
OURS = {"reconciler:fleet": FLEET, "reconciler:image": "web"}
BODY = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode()
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
KEY = f"sha256:{'a' * 64}"
SECRET = "hunter2"
NESTED = b"[" * 5000 + b"]" * 5000


@dataclass
class Reply:
    status: int = 200  # 0: none at all
    body: bytes = b""
    headers: Mapping[str, str | Sequence[str]] = field(default_factory=dict)  # of one name there may be several


def refusal(status: int, code: str, message: str = "no") -> Reply:
    return Reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())


Answers = Callable[[str, str, Mapping[str, str]], Reply]


class Played:
    """A registry that answers as a test says. `asked` holds method and path of each request, in order.

    `body` is what came with the last.
    """

    def __init__(self) -> None:
        self.body = b""
        self.asked: list[str] = []
        self.answers: Answers = lambda *_: Reply(404)
        played = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                played.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                played.asked.append(f"{self.command} {self.path}")
                reply = played.answers(self.command, self.path, dict(self.headers))
                if not reply.status:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    for one in [value] if isinstance(value, str) else value:
                        self.send_header(name, one)
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else reply.body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def played() -> Iterator[Played]:
    one = Played()
    yield one
    one.end()


def nobody() -> NoReturn:
    raise AssertionError("AWS is not asked")


@pytest.fixture
def registry(tmp_path: Path) -> OciRegistry:
    """Ours, which tries once, with one login."""
    return OciRegistry(Client(Exchange(Logins({"DOCKER_CONFIG": str(tmp_path)}, nobody), tries=1)), fleet=FLEET)


def log_in(folder: Path, host: str, **entry: str) -> None:
    auth = entry or {"auth": base64.b64encode(f"ada:{SECRET}".encode()).decode()}
    (folder / "config.json").write_text(json.dumps({"auths": {host: auth}}))


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (refusal(401, "UNAUTHORIZED", "authentication required"), Terminal, "with no login: UNAUTHORIZED"),
        (refusal(403, "DENIED", "requested access is denied"), Terminal, "DENIED: requested access"),
        (refusal(429, "TOOMANYREQUESTS", "slow down"), Transient, "answers 429: TOOMANYREQUESTS: slow down"),
        (Reply(500, b"<html>oops"), Transient, "answers 500"),
        (Reply(503), Transient, "answers 503"),
        (Reply(404, b"<html>nothing here</html>"), Transient, "404, and not as a registry does"),
        (Reply(400), Terminal, "refuses"),
        (refusal(400, "DIGEST_INVALID", "provided digest did not match"), Transient, "answers 400: DIGEST_INVALID"),
        (Reply(200, BODY, {"Content-Type": "text/html"}), Terminal, "text/html, which is no manifest"),
        (Reply(200, BODY, {"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}), Terminal,
         "no manifest of a container image"),
        (Reply(200, b"{}", {"Content-Type": MANIFEST}), Terminal, "with other bytes"),
        (Reply(200, b"x" * (5 << 20), {"Content-Type": MANIFEST}), Terminal, "more than 4,194,304 bytes"),
        (Reply(200, BODY, {"Content-Type": MANIFEST, "Content-Length": "9999"}), Transient, "could not be asked"),
    ],
)  # fmt: skip
def test_what_a_registry_can_not_or_will_not_say_is_never_taken_for_nothing(
    played: Played, registry: OciRegistry, reply: Reply, kind: type[ReconcilerError], said: str
) -> None:
    played.answers = lambda *_: reply
    location = f"{played.host}/acme/web"

    with pytest.raises(kind, match=said) as refused:
        registry.find(location, DIGEST)

    assert "\n" not in refused.value.what
    if reply.status in (401, 403):
        assert refused.value.hint[0].startswith(f"`docker login {played.host}`")
    if not said.startswith("with other") and "manifest" not in said:
        seen = registry.observe([location])
        assert (seen.artifacts, list(seen.unreadable)) == ((), [location])


@pytest.mark.parametrize("code", ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"])
def test_what_a_registry_itself_says_is_not_there_is_not(played: Played, registry: OciRegistry, code: str) -> None:
    played.answers = lambda *_: refusal(404, code)
    location = f"{played.host}/acme/web"

    assert registry.find(location, DIGEST) is None
    assert registry.named(location, "web-1") == ()
    assert registry.observe([location]).artifacts == ()
    assert registry.observe([location]).unreadable == {}


def test_a_registry_that_is_not_there_is_unreadable(played: Played, registry: OciRegistry) -> None:
    played.end()
    try:
        seen = registry.observe([f"{played.host}/acme/web"])
        assert "Connection refused" in seen.unreadable[f"{played.host}/acme/web"]
    finally:
        played.end = lambda: None  # type: ignore[method-assign]  # it has ended


def test_what_is_busy_is_asked_again(played: Played, tmp_path: Path) -> None:
    replies = iter([Reply(503), refusal(429, "TOOMANYREQUESTS"), refusal(404, "NAME_UNKNOWN")])
    played.answers = lambda *_: next(replies)
    exchange = Exchange(Logins({"DOCKER_CONFIG": str(tmp_path)}, nobody))
    exchange.sleep = lambda *_: None  # type: ignore[method-assign]  # no test waits

    assert OciRegistry(Client(exchange), fleet=FLEET).find(f"{played.host}/acme/web", DIGEST) is None
    assert len(played.asked) == 3


def guarded(host: str, token: str, *, want: Callable[[str, str, Mapping[str, str]], bool]) -> Answers:
    """Answers of a registry that lets in whoever has the token, and gives it to whom `want` lets."""

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        if path.startswith("/token"):
            return Reply(200, json.dumps({"token": token}).encode()) if want(method, path, headers) else Reply(403)
        if headers.get("Authorization") == f"Bearer {token}":
            return refusal(404, "MANIFEST_UNKNOWN")
        challenge = f'Bearer realm="http://{host}/token",service="reg",scope="repository:acme/web:pull"'
        return Reply(401, headers={"WWW-Authenticate": challenge})

    return answer


def test_a_token_is_got_once_with_the_login_and_the_scope_that_is_asked_for(
    played: Played, registry: OciRegistry, tmp_path: Path
) -> None:
    log_in(tmp_path, played.host)

    def want(method: str, path: str, headers: Mapping[str, str]) -> bool:
        asked = parse_qs(urlsplit(path).query)
        basic = base64.b64encode(f"ada:{SECRET}".encode()).decode()
        right = {"service": ["reg"], "scope": ["repository:acme/web:pull"]}
        return (method, asked, headers.get("Authorization")) == ("GET", right, f"Basic {basic}")

    played.answers = guarded(played.host, "t0k3n", want=want)

    for _ in range(3):
        assert registry.find(f"{played.host}/acme/web", DIGEST) is None
    assert sum("/token" in one for one in played.asked) == 1
    assert len(played.asked) == 5


def test_a_refresh_token_is_exchanged(played: Played, registry: OciRegistry, tmp_path: Path) -> None:
    log_in(tmp_path, played.host, identitytoken=SECRET)
    played.answers = guarded(played.host, "t0k3n", want=lambda method, *_: method == "POST")

    assert registry.find(f"{played.host}/acme/web", DIGEST) is None


def test_who_has_no_right_is_told_whose_login_was_shown_and_never_its_secret(
    played: Played, registry: OciRegistry, tmp_path: Path
) -> None:
    log_in(tmp_path, played.host)
    played.answers = guarded(played.host, "t0k3n", want=lambda *_: False)

    with pytest.raises(Terminal, match="with the login of ada") as refused:
        registry.find(f"{played.host}/acme/web", DIGEST)
    assert SECRET not in str(refused.value)


def test_where_no_registry_lets_us_in_there_is_one_refusal_with_what_to_do(
    played: Played, registry: OciRegistry
) -> None:
    replies = {
        "web": refusal(401, "UNAUTHORIZED"),
        "db": refusal(401, "UNAUTHORIZED"),
        "open": refusal(404, "NAME_UNKNOWN"),
    }
    played.answers = lambda _, path, __: replies[path.split("/")[3]]
    web, db, public = (f"{played.host}/acme/{name}" for name in replies)

    both = registry.observe([web, db])

    assert both.refused is not None
    assert both.refused.hint[0].startswith("`docker login")
    assert list(both.unreadable) == [web, db]
    assert {place: hint[0].rpartition(" ")[2] for place, hint in both.hints.items()} == {web: web, db: db}
    assert registry.observe([web, public]).refused is None


BEARER = 'Bearer realm="http://HOST/token",service="reg",scope="repository:acme/web:pull"'
WAYS: dict[str, str | Sequence[str]] = {
    "a token, then a login, in two headers": [BEARER, 'Basic realm="reg"'],
    "a login, then a token, in two headers": ['Basic realm="reg"', BEARER],
    "in one, the token first": f'{BEARER}, Basic realm="reg"',
    "in one, the login first": f'Basic realm="reg", {BEARER}',
    "behind one that is not known": f"Negotiate, {BEARER}",
    "behind one with a token of its own": f"Negotiate YIIB/abc==, {BEARER}",
    "capitals, and blanks": 'BEARER Realm = "http://HOST/token" , SERVICE="reg",Scope="repository:acme/web:pull"',
    "without quotes": "Bearer realm=http://HOST/token, service=reg, scope=repository:acme/web:pull",
    "with a description that has quotes": BEARER.replace(",service", r', error="say \"who\", realm=\"x\"",service', 1),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("known", [True, False])
def test_of_several_ways_to_sign_in_the_token_is_taken(
    played: Played, registry: OciRegistry, tmp_path: Path, way: str, *, known: bool
) -> None:
    if known:
        log_in(tmp_path, played.host)
    offered = WAYS[way]
    headers = [one.replace("HOST", played.host) for one in ([offered] if isinstance(offered, str) else offered)]
    right = {"service": ["reg"], "scope": ["repository:acme/web:pull"]}
    let_in = guarded(played.host, "t0k3n", want=lambda _, path, __: parse_qs(urlsplit(path).query) == right)

    def answer(method: str, path: str, headers_: Mapping[str, str]) -> Reply:
        reply = let_in(method, path, headers_)
        return Reply(401, headers={"WWW-Authenticate": headers}) if reply.status == 401 else reply

    played.answers = answer
    assert registry.find(f"{played.host}/acme/web", DIGEST) is None


@pytest.mark.parametrize("offered", ['Negotiate, Basic realm="reg"', 'Basic realm="reg", Digest realm="x", qop="auth"'])
def test_where_there_is_no_token_the_login_is_shown(
    played: Played, registry: OciRegistry, tmp_path: Path, offered: str
) -> None:
    log_in(tmp_path, played.host)
    basic = f"Basic {base64.b64encode(f'ada:{SECRET}'.encode()).decode()}"
    played.answers = lambda _, __, headers: (
        refusal(404, "MANIFEST_UNKNOWN")
        if headers.get("Authorization") == basic
        else Reply(401, headers={"WWW-Authenticate": offered})
    )
    assert registry.find(f"{played.host}/acme/web", DIGEST) is None


@pytest.mark.parametrize("other", ['Basic realm="reg"', 'Bearer realm="https://auth.example.org/token"'])
def test_no_other_way_leads_round_the_wall_against_an_unsafe_one(
    played: Played, registry: OciRegistry, tmp_path: Path, other: str
) -> None:
    log_in(tmp_path, played.host)
    unsafe = 'Bearer realm="http://registry.example.org/token"'
    played.answers = lambda *_: Reply(401, headers={"WWW-Authenticate": [unsafe, other]})

    with pytest.raises(Terminal, match="which is not safe"):
        registry.find(f"{played.host}/acme/web", DIGEST)


@pytest.mark.parametrize("realm", ["http://registry.example.org/token", "file:///etc/passwd", ""])
def test_a_login_is_shown_to_nobody_without_tls(
    played: Played, registry: OciRegistry, tmp_path: Path, realm: str
) -> None:
    log_in(tmp_path, played.host)
    played.answers = lambda *_: Reply(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="reg"'})

    with pytest.raises(Terminal, match="which is not safe"):
        registry.find(f"{played.host}/acme/web", DIGEST)


def test_a_registry_elsewhere_has_nobody_sign_in_at_what_runs_on_this_machine(played: Played) -> None:
    asked: list[str] = []

    def answer(_: str, path: str, __: Mapping[str, str]) -> Reply:
        asked.append(path)
        return Reply(200, b'{"token": "his"}')

    played.answers = answer
    exchange, challenge = Exchange(Logins({}, nobody)), {"realm": f"http://{played.host}/unlock"}

    with pytest.raises(Terminal, match="which is not safe"):
        exchange._token(repository("registry.example.org/web"), challenge, None)
    assert not asked


def test_a_login_is_not_shown_to_where_a_registry_sends_us(
    played: Played, registry: OciRegistry, tmp_path: Path
) -> None:
    log_in(tmp_path, played.host)
    other = Played()
    shown: list[str | None] = []
    where = other.host.replace("127.0.0.1", "localhost")

    def elsewhere(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        shown.append(headers.get("Authorization"))
        return refusal(404, "MANIFEST_UNKNOWN")

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        if "Authorization" not in headers:
            return Reply(401, headers={"WWW-Authenticate": "Basic realm=reg"})
        return Reply(307, headers={"Location": f"http://{where}{path}"})

    played.answers, other.answers = answer, elsewhere
    try:
        assert registry.find(f"{played.host}/acme/web", DIGEST) is None
    finally:
        other.end()
    assert shown == [None]


def test_a_list_of_tags_is_read_page_by_page(played: Played, registry: OciRegistry) -> None:
    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        last = "last=b" in path
        more = {} if last else {"Link": '</v2/acme/web/tags/list?last=b&n=2>; rel="next"'}
        return Reply(200, json.dumps({"name": "acme/web", "tags": ["c"] if last else ["a", "b"]}).encode(), more)

    played.answers = answer

    assert registry._tags(f"{played.host}/acme/web") == {"a", "b", "c"}


HTML = {"Content-Type": "text/html"}
NO_LISTS = {
    "a login page": Reply(200, b"<html>sign in</html>", HTML),
    "sent to one": Reply(302, headers={"Location": "/login"}),
    "cut off": Reply(200, b'{"name": "acme/web", "tags": ["a", "'),
    "errors": Reply(200, b'{"errors": [{"code": "UNKNOWN"}]}'),
    "both": Reply(200, b'{"errors": [{"code": "UNKNOWN"}], "tags": null}'),
    "nothing": Reply(204),
    "an empty body": Reply(200),
    "accepted": Reply(202, b'{"tags": ["a"]}'),
    "no tags": Reply(200, b'{"name": "acme/web"}'),
    "tags by name": Reply(200, b'{"tags": {"a": 1}}'),
    "no texts": Reply(200, b'{"tags": ["a", 1]}'),
    "no object": Reply(200, b'["a"]'),
}


@pytest.mark.parametrize("what", NO_LISTS)
def test_what_is_no_list_of_tags_is_unreadable_and_not_an_empty_one(
    played: Played, registry: OciRegistry, what: str
) -> None:
    played.answers = lambda _, path, __: Reply(200, b"<html>", HTML) if path == "/login" else NO_LISTS[what]
    location = f"{played.host}/acme/web"

    seen = registry.observe([location])

    assert (seen.artifacts, list(seen.unreadable)) == ((), [location])
    assert "and not with a list of the tags of" in seen.unreadable[location]
    assert "\n" not in seen.unreadable[location]


def test_a_repository_whose_tags_are_all_gone_has_none(played: Played, registry: OciRegistry) -> None:
    played.answers = lambda *_: Reply(200, b'{"name": "acme/web", "tags": null}')
    assert registry.observe([f"{played.host}/acme/web"]).unreadable == {}


@pytest.mark.parametrize("reply", [refusal(404, "NAME_UNKNOWN"), *NO_LISTS.values()])
def test_a_later_page_that_is_not_there_is_no_end_of_the_list(
    played: Played, registry: OciRegistry, reply: Reply
) -> None:
    first = Reply(200, b'{"tags": ["a"]}', {"Link": '</v2/acme/web/tags/list?last=a>; rel="next"'})
    played.answers = lambda _, path, __: reply if "last=" in path else first
    location = f"{played.host}/acme/web"

    assert list(registry.observe([location]).unreadable) == [location]


NEXT = "</v2/acme/web/tags/list?last=b&n=2>"
LINKS: list[str | Sequence[str]] = [
    f'{NEXT}; rel="next"', f"{NEXT}; rel=next", f'{NEXT}; rel="NEXT"', f"{NEXT}; rel='next'", f'{NEXT};rel="next"',
    f'{NEXT} ; REL = "last next"', f'{NEXT}; title="x"; rel="next"', f'{NEXT}; title="a, <b>; rel=prev"; rel=next',
    f'<?n=2>; rel="first", {NEXT}; rel="next"', f'{NEXT}; rel="next", <?n=2>; rel="first"',
    ['<?n=2>; rel="first"', f'{NEXT}; rel="next"'],
]  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
def test_the_next_page_is_found_however_it_is_named(
    played: Played, registry: OciRegistry, link: str | Sequence[str]
) -> None:
    last = Reply(200, b'{"tags": ["c"]}', {"Link": '<?n=2>; rel="first"; title="not the next"'})
    played.answers = lambda _, path, __: last if "last=b" in path else Reply(200, b'{"tags": ["a"]}', {"Link": link})

    assert registry._tags(f"{played.host}/acme/web") == {"a", "c"}


def test_a_link_that_names_nothing_is_no_end_of_the_list(played: Played, registry: OciRegistry) -> None:
    played.answers = lambda *_: Reply(200, b'{"tags": ["a"]}', {"Link": "/v2/acme/web/tags/list?last=a"})
    with pytest.raises(Transient, match="and not with the next page of the tags"):
        registry._tags(f"{played.host}/acme/web")


def asking_for(played: Played, text: str) -> SourceRequest:
    return SourceRequest.model_validate({"oci": f"{played.host}/{text}"})


def test_a_source_that_is_not_there_is_the_person_s_to_fix(played: Played, registry: OciRegistry) -> None:
    played.answers = lambda *_: refusal(404, "MANIFEST_UNKNOWN")

    with pytest.raises(UserError, match="there is no 12 in debian"):
        registry.resolve(asking_for(played, "debian:12"), location="")


INGRESS = Reply(404, b"default backend - 404", {"Content-Type": "text/plain"})
DISTRIBUTION = {"Docker-Distribution-Api-Version": "registry/2.0"}
NOT_ITS_WORD = {
    "an ingress": INGRESS,
    "an ingress with the registry's header": Reply(404, b"nothing", {**INGRESS.headers, **DISTRIBUTION}),
    "a page that says so": Reply(404, b"<html>", HTML),
    "nothing": Reply(404),
    "a page with a digest": Reply(200, b"<html>", {**HTML, "Docker-Content-Digest": DIGEST}),
    "a page": Reply(200, b"<html>", HTML),
    "JSON of something": Reply(200, b"{}", {"Content-Type": "application/json", "Docker-Content-Digest": DIGEST}),
}


@pytest.mark.parametrize("what", NOT_ITS_WORD)
def test_a_head_that_no_registry_answers_says_nothing(played: Played, registry: OciRegistry, what: str) -> None:
    played.answers = lambda *_: NOT_ITS_WORD[what]
    publisher = Tags(registry._client, fleet=FLEET)

    for ask in (
        lambda: registry.resolve(asking_for(played, "a:1"), location=""),
        lambda: publisher.read(f"{played.host}/acme/web", ["stable"]),
        lambda: publisher.is_ours(f"{played.host}/acme/web", "stable"),
        lambda: publisher.remove(f"{played.host}/acme/web", "stable"),
    ):
        with pytest.raises((Transient, Terminal), match=r"and not as a registry does|no manifest of a container image"):
            ask()
    assert not [one for one in played.asked if one.startswith(("PUT", "DELETE"))]


def test_a_digest_that_is_not_the_one_asked_for_is_looked_into(played: Played, registry: OciRegistry) -> None:
    other = f"sha256:{'0' * 64}"
    played.answers = lambda *_: Reply(200, BODY, {"Content-Type": MANIFEST, "Docker-Content-Digest": other})
    with pytest.raises(Terminal, match="with other bytes"):
        registry._client.digest(repository(f"{played.host}/acme/web").by(f"sha256:{'1' * 64}"))


def test_where_a_registry_knows_no_head_it_is_asked_by_get(played: Played, registry: OciRegistry) -> None:
    there = Reply(200, BODY, {"Content-Type": MANIFEST})
    played.answers = lambda method, *_: Reply(405) if method == "HEAD" else there
    assert registry._client.digest(repository(f"{played.host}/acme/web").by("1")) == DIGEST


def manifest_of(config: str, **more: object) -> Reply:
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": config}, **more}).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    return Reply(200, body, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1"])
def test_a_source_is_pinned_in_the_spelling_it_is_declared_in(played: Played, registry: OciRegistry, host: str) -> None:
    # It is part of a build's key, and what an engine that is logged in there is given
    reply = manifest_of("application/vnd.oci.image.config.v1+json")
    played.answers = lambda *_: reply
    where = f"{host}:{played.host.rpartition(':')[2]}/acme/base"

    pin = registry.resolve(SourceRequest.model_validate({"oci": f"{where}:1"}), location="")

    assert pin.upstream is not None
    assert pin.upstream.location == where
    assert registry._client.digest(repository(where).by(pin.upstream.id)) == pin.upstream.id


NO_IMAGES = {
    "a chart": (manifest_of("application/vnd.cncf.helm.config.v1+json"), "application/vnd.cncf.helm.config.v1"),
    "an artifact": (manifest_of("application/vnd.oci.empty.v1+json", artifactType="a/b"), "it is a/b"),
    "without a config": (Reply(200, BODY, {"Content-Type": MANIFEST}), "nothing that has a type"),
    "of an older form": (
        Reply(200, b"{}", {"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws",
                           "Docker-Content-Digest": DIGEST}), "manifest.v1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NO_IMAGES)
def test_what_is_no_image_is_nothing_to_build_on(played: Played, registry: OciRegistry, what: str) -> None:
    reply, said = NO_IMAGES[what]
    played.answers = lambda *_: reply

    with pytest.raises(UserError, match=f"is no container image: .*{re.escape(said)}") as refused:
        registry.resolve(asking_for(played, "a:1"), location="")
    assert "charts" in refused.value.hint[0]


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        (manifest_of("application/vnd.oci.image.config.v1+json"), ["HEAD", "GET"]),
        (manifest_of("application/vnd.docker.container.image.v1+json"), ["HEAD", "GET"]),
        (Reply(200, b"{}", {"Content-Type": INDEX, "Docker-Content-Digest": DIGEST}), ["HEAD"]),
        (Reply(200, b"{}", {"Content-Type": "application/vnd.docker.distribution.manifest.v2+json",
                            "Docker-Content-Digest": DIGEST}), ["HEAD"]),
    ],
)  # fmt: skip
def test_an_image_is_pinned_by_as_few_pulls_as_can_be(
    played: Played, registry: OciRegistry, reply: Reply, asked: Sequence[str]
) -> None:
    played.answers = lambda *_: reply

    pin = registry.resolve(asking_for(played, "a:1"), location="").upstream

    assert pin is not None
    assert pin.id == reply.headers["Docker-Content-Digest"]
    assert [one.partition(" ")[0] for one in played.asked] == asked


def index_of(*below: object, **more: object) -> Reply:
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": below, **more}).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    return Reply(200, body, {"Content-Type": INDEX, "Docker-Content-Digest": digest})


AN_IMAGE = {"mediaType": MANIFEST, "digest": DIGEST, "size": 1, "platform": {"os": "linux", "architecture": "arm64"}}
A_SIGNATURE = {"mediaType": MANIFEST, "digest": DIGEST, "size": 1, "artifactType": "application/vnd.dev.sigstore"}


@pytest.mark.parametrize("reply", [index_of(AN_IMAGE), index_of(AN_IMAGE, A_SIGNATURE), index_of("?"), index_of()])
def test_an_index_is_given_to_a_template_as_it_was_pinned(played: Played, registry: OciRegistry, reply: Reply) -> None:
    played.answers = lambda *_: reply
    pin = registry.resolve(asking_for(played, "a:1"), location="")
    source = OCI.given_of(pin, "") or ""

    assert registry.given("", source) == source
    assert source.endswith(f"@{reply.headers['Docker-Content-Digest']}")


@pytest.mark.parametrize("reply", [index_of(A_SIGNATURE), index_of(AN_IMAGE, artifactType="a/b")])
def test_an_index_of_artifacts_is_not_built_on(played: Played, registry: OciRegistry, reply: Reply) -> None:
    played.answers = lambda *_: reply
    pin = registry.resolve(asking_for(played, "a:1"), location="")

    with pytest.raises(UserError, match="is no container image"):
        registry.given("", OCI.given_of(pin, "") or "")


@pytest.mark.containers
def test_a_digest_that_only_a_head_told_is_not_built_on(played: Played, registry: OciRegistry, engine: None) -> None:
    # Given a registry that says by HEAD that an index has a digest which its bytes have not
    other = index_of(AN_IMAGE)
    lie = replace(other, headers={**other.headers, "Docker-Content-Digest": DIGEST})
    played.answers = lambda *_: lie
    pin = registry.resolve(asking_for(played, "a:1"), location="")
    source = OCI.given_of(pin, "") or ""
    assert source.endswith(f"@{DIGEST}")

    # Then neither we nor the engine take it
    with pytest.raises(Terminal, match="other bytes"):
        registry.given("", source)
    with pytest.raises(AssertionError, match="verif"):
        containers.docker("pull", source)


def test_a_digest_that_is_gone_is_said_to_be_with_what_to_do(played: Played, registry: OciRegistry) -> None:
    played.answers = lambda *_: refusal(404, "MANIFEST_UNKNOWN")

    with pytest.raises(UserError, match=r"is not in .* any more") as gone:
        registry.given("", f"{played.host}/acme/a@{DIGEST}")
    assert "--refresh" in gone.value.hint[0]


def test_tags_that_can_not_be_moved_are_told_with_which_have_to_be(played: Played, registry: OciRegistry) -> None:
    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        if method == "PUT":
            return refusal(400, "TAG_INVALID", "the tag already exists, and the repository is immutable")
        if path.endswith(DIGEST):
            return Reply(200, BODY, {"Content-Type": MANIFEST})
        return Reply(200) if "/blobs/" in path else refusal(404, "MANIFEST_UNKNOWN")

    played.answers = answer
    artifact = Artifact(kind="oci", builder="docker.web", location=f"{played.host}/acme/web", id=DIGEST)

    with pytest.raises(Terminal, match="does not let a tag be moved") as refused:
        registry.tag(artifact, {"reconciler:phase": "stable"})
    assert "sha256-" in refused.value.hint[0]


# Two that write the marks of one image.


def marked(played: Played, others: Mapping[int, Mapping[str, str]]) -> tuple[Artifact, Callable[[], Mapping[str, str]]]:
    """An image without marks; somebody else writes others right after our writes of these numbers, from 1 on.

    And what its marks say at the end.
    """
    image = Artifact(kind="oci", builder="docker.web", location=f"{played.host}/acme/web", id=DIGEST, name="web-1")
    under: dict[str, bytes] = {DIGEST: BODY}
    written: list[bytes] = []

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        if "/blobs/" in path:
            return Reply(200)
        at = path.rpartition("/")[2]
        if method == "PUT":
            written.append(played.body)
            theirs = others.get(len(written))
            tags = Marks(DIGEST, "web-1", "", theirs).manifest({"digest": DIGEST}) if theirs is not None else None
            under[at] = tags or played.body
            return Reply(201)
        if at not in under:
            return refusal(404, "MANIFEST_UNKNOWN")
        return Reply(200, under[at], {"Content-Type": MANIFEST, "Docker-Content-Digest": sha256_of(under[at])})

    played.answers = answer
    return image, lambda: json_object(under[tag_of(DIGEST)])["annotations"]


def test_marks_that_another_run_writes_over_are_written_again(played: Played, registry: OciRegistry) -> None:
    image, now = marked(played, {1: {**OURS, "reconciler:phase": "rejected"}})

    registry.tag(image, {**OURS, "reconciler:phase": "stable"})

    assert now()["reconciler:phase"] == "stable"


def test_marks_that_another_run_writes_over_each_time_are_an_error_and_not_taken_for_written(
    played: Played, registry: OciRegistry
) -> None:
    image, now = marked(played, {number: {**OURS, "reconciler:phase": "rejected"} for number in range(1, 10)})

    with pytest.raises(Transient, match="are being written by somebody else"):
        registry.tag(image, {**OURS, "reconciler:phase": "stable"})

    assert now()["reconciler:phase"] == "rejected"
    assert len([one for one in played.asked if one.startswith("PUT") and "manifests" in one]) == 3


# What a real registry does: marks, tags of others, deletion, immutability.


@pytest.fixture
def kept(engine: None, tmp_path: Path) -> Iterator[str]:
    with containers.registry(tmp_path) as host:
        yield f"{host}/acme/web"


def stored(location: str, name: str, registry: Any, tags: Mapping[str, str] = OURS) -> Artifact:
    made = Made("docker.web", "packer.post-processor.docker-import", containers.imported({"name": name.encode()}))
    (artifact,) = registry.store(location, [made], name=name, tags=tags)
    found: Artifact = artifact
    return found


def ours() -> Any:
    return open_registry(Opening(FLEET, Settings()))


@pytest.mark.containers
def test_what_a_tag_of_somebody_else_points_to_stays_and_is_ours_no_more(kept: str) -> None:
    registry = ours()
    artifact = stored(kept, "web-20261122T101530Z-1a2b3c4", registry)
    containers.docker("pull", "--quiet", f"{kept}@{artifact.id}")
    containers.docker("tag", f"{kept}@{artifact.id}", f"{kept}:prod")
    containers.docker("push", "--quiet", f"{kept}:prod")

    assert registry.retire(artifact, image="web").parts == (f"{kept}:prod",)

    assert registry.observe([kept]).artifacts == ()
    assert registry.find(kept, artifact.id) is not None


@pytest.mark.containers
@pytest.mark.parametrize("what", NO_LISTS)
def test_behind_what_gives_no_list_of_tags_nothing_is_deleted(played: Played, kept: str, what: str) -> None:
    # Given an image with somebody else's tag, in a registry behind what answers for it where tags are listed
    artifact = stored(kept, "web-20261122T101530Z-1a2b3c4", ours())
    client = ours()._client
    manifest = client.manifest(repository(kept).by(artifact.id))
    assert manifest is not None
    client.put_manifest(repository(kept).by("prod"), manifest.body, manifest.media_type)
    played.answers = behind(kept, {"/tags/": NO_LISTS[what], "/login": Reply(200, b"<html>", HTML)})
    there = artifact.model_copy(update={"location": f"{played.host}/acme/web"})

    with pytest.raises(Transient, match="and not with a list of the tags"):
        ours().retire(there, image="web")

    assert client.digest(repository(kept).by("prod")) == artifact.id
    assert ours().find(kept, artifact.id) is not None


def behind(location: str, instead: Mapping[str, Reply]) -> Answers:
    """Answers of a proxy of the registry of a location, but for what is in a path."""
    at = repository(location)

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        for part, reply in instead.items():
            if part in path:
                return reply
        sent = {"Accept": headers["Accept"]} if "Accept" in headers else {}
        found = requests.request(method, f"{at.endpoint}{path}", headers=sent, timeout=60)
        kept = {one: found.headers[one] for one in ("Content-Type", "Docker-Content-Digest") if one in found.headers}
        return Reply(found.status_code, found.content, kept)

    return answer


@pytest.mark.parametrize("content", [b"{}", b'{"manifests": {}}', b'{"manifests": null}', b"[]", NESTED, b"<html>"])
def test_an_index_that_lists_nothing_at_all_can_not_be_read(content: bytes) -> None:
    # What is not listed may be needed: with an index of ours only images go that no other index refers to
    at = repository("registry.example.org/acme/web")
    with pytest.raises(Terminal, match="no manifest of an image"):
        children(Manifest(DIGEST, INDEX, content), at)
    assert children(Manifest(DIGEST, INDEX, b'{"manifests": []}'), at) == []


@pytest.mark.containers
def test_where_nothing_can_be_deleted_that_is_said_and_all_stays_as_it_was(engine: None, tmp_path: Path) -> None:
    registry = ours()
    with containers.registry(tmp_path, deletes=False) as host:
        artifact = stored(f"{host}/acme/web", "web-1", registry)
        registry.tag(artifact, {"reconciler:phase": "stable"})
        (before,) = registry.observe([f"{host}/acme/web"]).artifacts

        remains = registry.retire(artifact, image="web")

        (seen,) = registry.observe([f"{host}/acme/web"]).artifacts
        assert remains.stays.startswith(f"{host} deletes nothing: ")
        assert (before.stays, seen.stays) == ("", remains.stays)
        assert (seen.id, seen.own("phase")) == (artifact.id, "stable")
        assert not registry.reconsider([seen])
        assert registry.observe([f"{host}/acme/web"]).artifacts == (seen,)
        assert registry.retire(seen, image="web") == remains
    with containers.registry(tmp_path, port=int(host.rpartition(":")[2])):
        assert registry.reconsider([seen])
        (again,) = registry.observe([f"{host}/acme/web"]).artifacts
        assert (again.id, again.stays) == (seen.id, "")
        assert registry.retire(again, image="web") == Remains()
        assert registry.observe([f"{host}/acme/web"]).artifacts == ()


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_refusal_to_delete_that_may_end_is_an_error_and_leaves_no_mark(
    played: Played, registry: OciRegistry, status: int
) -> None:
    # Given a registry that answers all but a deletion as if the image and its marks were there
    image = Artifact(kind="oci", builder="docker.web", location=f"{played.host}/acme/web", id=DIGEST, name="web-1")
    marks = Marks(DIGEST, "web-1", "2026-11-22T10:15:30Z", OURS).manifest({"digest": DIGEST})

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        if method == "DELETE":
            return refusal(status, "DENIED" if status < 429 else "TOOMANYREQUESTS")
        if path.endswith(tag_of(DIGEST)):
            return Reply(200, marks, {"Content-Type": MANIFEST, "Docker-Content-Digest": sha256_of(marks)})
        if "/tags/list" in path:
            return Reply(200, b'{"name": "acme/web", "tags": ["web-1"]}', {"Content-Type": "application/json"})
        return Reply(200, BODY, {"Content-Type": MANIFEST, "Docker-Content-Digest": DIGEST})

    played.answers = answer

    with pytest.raises(Terminal if status < 429 else Transient):
        registry.retire(image, image="web")
    with pytest.raises(Terminal if status < 429 else Transient):
        registry.reconsider([image])
    assert not [one for one in played.asked if one.startswith("PUT")]


@pytest.mark.containers
def test_where_nothing_can_be_deleted_what_somebody_deleted_otherwise_is_retired(engine: None, tmp_path: Path) -> None:
    registry = ours()
    with containers.registry(tmp_path) as host:
        artifact, other = (stored(f"{host}/acme/web", name, registry) for name in ("web-1", "web-2"))
        registry._client.delete_manifest(repository(artifact.location).by(artifact.id))
    port = int(host.rpartition(":")[2])
    with containers.registry(tmp_path, deletes=False, port=port):
        assert registry.retire(artifact, image="web") == Remains()
        assert [one.id for one in registry.observe([artifact.location]).artifacts] == [other.id]


@pytest.mark.containers
def test_an_image_that_somebody_deleted_is_not_there_though_its_marks_are(kept: str) -> None:
    registry = ours()
    artifact, other = stored(kept, "web-1", registry), stored(kept, "web-2", registry)
    registry._client.delete_manifest(repository(kept).by(artifact.id))

    assert [one.id for one in registry.observe([kept]).artifacts] == [other.id]
    assert registry.find(kept, artifact.id) is None
    assert registry.retire(artifact, image="web") == Remains()
    assert not any(artifact.id[7:] in tag for tag in registry._tags(kept))


@pytest.mark.containers
def test_a_tag_that_somebody_moved_does_not_move_what_is_ours(kept: str) -> None:
    registry = ours()
    first, second = stored(kept, "web-1", registry), stored(kept, "web-2", registry)
    containers.docker("pull", "--quiet", f"{kept}@{second.id}")
    containers.docker("tag", f"{kept}@{second.id}", f"{kept}:web-1")
    containers.docker("push", "--quiet", f"{kept}:web-1")

    found = registry.find(kept, first.id)

    assert found is not None
    assert (found.id, found.name) == (first.id, "web-1")
    assert {one.id for one in registry.observe([kept]).artifacts} == {first.id, second.id}


@pytest.mark.containers
def test_what_a_killed_run_pushed_and_did_not_mark_is_known_and_can_be_retired(
    kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, name = ours(), "web-20261122T101530Z-1a2b3c4"
    with monkeypatch.context() as killed:
        killed.setattr(registry, "_mark", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stored(kept, name, registry)

    (left,) = registry.observe([kept]).artifacts

    assert (left.name, left.complete, left.tags) == (name, False, OURS)
    assert registry.named(kept, name)[0].id == left.id
    assert registry.retire(left, image="web") == Remains()
    assert registry.observe([kept]).artifacts == ()
    assert not [tag for tag in registry._tags(kept) if name in tag]


@pytest.mark.containers
def test_an_image_that_was_announced_and_never_pushed_is_not_there(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ours()
    with monkeypatch.context() as killed:
        killed.setattr(Engine, "push", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stored(kept, "web-1", registry)

    assert registry.observe([kept]).artifacts == ()
    again = stored(kept, "web-1", registry)
    (seen,) = registry.observe([kept]).artifacts
    assert (seen.id, seen.tags) == (again.id, OURS)


@pytest.mark.containers
@pytest.mark.parametrize("says", ["what it pushed", "nothing"])
def test_what_somebody_puts_under_its_tag_is_not_taken_for_what_was_pushed(
    kept: str, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    # Given somebody who may push there, and waits for what is announced: he moves the tag as soon as it is there
    name, pushed, run = "web-20261122T101530Z-1a2b3c4", [], Engine.run
    theirs = containers.imported({"name": b"theirs"})

    def raced(engine: Engine, *arguments: str, **how: Any) -> str:
        said = run(engine, *arguments, **how)
        if arguments[0] == "push":
            pushed.append(next(iter(re.findall("sha256:[0-9a-f]{64}", said))))
            containers.docker("tag", theirs, f"{kept}:{name}")
            containers.docker("push", "--quiet", f"{kept}:{name}")
        return said if says != "nothing" or arguments[0] != "push" else ""

    monkeypatch.setattr(Engine, "run", raced)

    # When ours is stored, then nothing but what was pushed comes of it
    if says == "nothing":
        with pytest.raises(Terminal, match="is not what was pushed"):
            stored(kept, name, ours())
    else:
        assert stored(kept, name, ours()).id == pushed[0]


def forged(location: str, artifact: Artifact, *, name: str, created: str) -> None:
    """Somebody who may push gives an image of ours other marks."""
    client, at = ours()._client, repository(location)
    there = client.manifest(at.by(artifact.id))
    write_marks(client, at, Marks(artifact.id, name, created, OURS), subject=there.descriptor)


@pytest.mark.containers
@pytest.mark.parametrize("name", ["prod", "prod?what=", "prod#", "../manifests/prod?what="])
def test_no_name_in_marks_has_what_another_tag_points_to_deleted(kept: str, name: str) -> None:
    # Given an image of others in our repository, and marks of ours whose name leads there
    theirs = containers.imported({"name": b"theirs"})
    containers.docker("tag", theirs, f"{kept}:prod")
    containers.docker("push", "--quiet", f"{kept}:prod")
    before = ours()._client.digest(repository(kept).by("prod"))
    artifact = stored(kept, "web-20261122T101530Z-1a2b3c4", ours())
    forged(kept, artifact, name=name, created="2026-11-22T10:15:30Z")

    ours().retire(artifact, image="web")

    assert before is not None
    assert ours()._client.digest(repository(kept).by("prod")) == before
    assert ours().find(kept, artifact.id) is None


@pytest.mark.containers
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_tag_of_ours_that_somebody_moves_has_nothing_of_others_deleted(
    kept: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    # Given an image of others, to which somebody moves the tag of what we announce
    theirs = stored(kept, "prod", ours())
    there, client = ours()._client.manifest(repository(kept).by(theirs.id)), ours()._client
    name, run = "web-20261122T101530Z-1a2b3c4", Engine.run

    def move() -> None:
        client.put_manifest(repository(kept).by(f"{name}.reconciler"), there.body, there.media_type)

    def raced(engine: Engine, *arguments: str, **how: Any) -> str:
        if arguments[0] == "push":
            move()
        return run(engine, *arguments, **how)

    # When ours is stored
    if when == "before":
        move()
    else:
        monkeypatch.setattr(Engine, "run", raced)
    artifact = stored(kept, name, ours())

    # Then both are there
    assert client.digest(repository(kept).by(theirs.id)) == theirs.id
    assert client.digest(repository(kept).by(artifact.id)) == artifact.id


@pytest.mark.containers
def test_a_name_in_marks_takes_nobody_s_tag_from_what_is_retired(kept: str) -> None:
    # Given an image of ours that somebody calls prod, whose marks say that this is its own name
    artifact = stored(kept, "web-20261122T101530Z-1a2b3c4", ours())
    containers.docker("pull", "--quiet", f"{kept}@{artifact.id}")
    containers.docker("tag", f"{kept}@{artifact.id}", f"{kept}:prod")
    containers.docker("push", "--quiet", f"{kept}:prod")
    forged(kept, artifact, name="prod", created="2026-11-22T10:15:30Z")

    assert ours().retire(artifact, image="web").parts == (f"{kept}:prod",)


@pytest.mark.containers
@pytest.mark.parametrize(
    "created",
    ["yesterday", "2026-99-99T00:00:00Z", "\x1b[2J", "2" * 5000, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"],
)
def test_a_date_in_marks_that_is_none_is_not_known(kept: str, created: str) -> None:
    artifact = stored(kept, "web-1", ours())
    forged(kept, artifact, name="closes #1", created=created)

    (seen,) = ours().observe([kept]).artifacts

    assert (seen.name, seen.created) == (artifact.id, "")


@pytest.mark.parametrize(("scheme", "sent"), [("https", True), ("http", False)])
def test_a_login_goes_where_it_is_for_and_in_no_clear_text(*, scheme: str, sent: bool) -> None:
    exchange, of = Exchange(Logins({}, nobody)), repository("registry.example.org/web")
    exchange._authorized[of.host, of.path, True] = f"Basic {SECRET}"
    request = requests.Request("PUT", f"{scheme}://registry.example.org/v2/web/blobs/uploads/1")
    request.auth = exchange._auth(of, writes=True, url=request.url)
    assert ("Authorization" in request.prepare().headers) == sent


@pytest.mark.parametrize("config", [[1], "x", 5])
def test_marks_of_any_form_are_none_and_stop_no_run(played: Played, registry: OciRegistry, config: object) -> None:
    body = json.dumps({"schemaVersion": 2, "config": config, "annotations": OURS}).encode()
    tags = json.dumps({"tags": [f"{DIGEST.replace(':', '-')}.reconciler"]}).encode()
    played.answers = lambda _method, path, _headers: (
        Reply(200, tags) if "/tags/" in path else Reply(200, body, {"Content-Type": MANIFEST})
    )
    assert "holds no marks" in registry.observe([f"{played.host}/web"]).unreadable[f"{played.host}/web"]


def test_half_a_character_in_marks_is_shown_as_its_escape(played: Played, registry: OciRegistry) -> None:
    # Given marks that JSON can say, and that nobody can print, hash or write into state/
    marks = Marks(DIGEST, "web-1", "2026-11-22T10:15:30Z", {**OURS, "reconciler:build": "HALF", "reconciler:HALF": ""})
    body = marks.manifest({"digest": DIGEST}).replace(b"HALF", rb"\ud800")
    tags = json.dumps({"tags": ["web-1", marks.tag]}).encode()
    played.answers = lambda _method, path, _headers: (
        Reply(200, tags) if "/tags/" in path else Reply(200, body, {"Content-Type": MANIFEST})
    )
    (seen,) = registry.observe([f"{played.host}/web"]).artifacts
    assert (seen.own("build"), seen.own(r"\ud800")) == (r"\ud800", "")


def test_no_login_of_netrc_goes_where_a_registry_sends_us_on(
    played: Played, registry: OciRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given somebody's registry, that sends us on to a host for which ~/.netrc has a login
    elsewhere, told = Played(), []

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        told.append(headers.get("Authorization"))
        return Reply(200, BODY, {"Content-Type": MANIFEST})

    elsewhere.answers = answer
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine localhost login ada password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    there = f"http://localhost:{elsewhere.host.rpartition(':')[2]}/private"
    played.answers = lambda *_: Reply(307, headers={"Location": there})
    try:
        assert registry._client.manifest(repository(f"{played.host}/web").by("1")) is not None
    finally:
        elsewhere.end()
    assert told == [None] * len(told)
    assert told


@pytest.mark.containers
def test_what_somebody_nests_without_end_stops_no_run(kept: str) -> None:
    # Given manifests that a registry takes and Python's parser does not: announced, and as what is asked for
    registry = ours()
    stored(kept, "web-1", registry)
    blob = b"{}"
    registry._client.put_blob(repository(kept), blob)
    told = {"mediaType": "application/json", "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}
    plain = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": told, "layers": []}).encode()
    nested = plain[:-1] + b', "more": ' + NESTED + b"}"
    for tag in ("web-2", "web-2.reconciler"):
        registry._client.put_manifest(repository(kept).by(tag), nested, MANIFEST)

    assert "holds no marks" in registry.observe([kept]).unreadable[kept]
    (seen,) = registry.named(kept, "web-2")
    with pytest.raises(Terminal, match="is no manifest"):
        registry.copy(seen, to=f"{kept}/copies", name="web-2", tags=OURS, token="t")


@pytest.mark.parametrize("created", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_a_date_in_marks_that_nothing_can_be_added_to_ends_no_run(
    played: Played, registry: OciRegistry, created: str
) -> None:
    # Given the marks of a build of ours that is not done, with a date that no clock will ever show
    begun = {"reconciler:phase": "preliminary", "reconciler:build": "20261122T101530Z-1a2b3c4", "reconciler:key": KEY}
    marks = Marks(DIGEST, "web-1", created, {**OURS, **begun})
    tags = json.dumps({"tags": ["web-1", marks.tag]}).encode()
    body = marks.manifest({"digest": DIGEST})
    played.answers = lambda _method, path, _headers: (
        Reply(200, tags) if "/tags/" in path else Reply(200, body, {"Content-Type": MANIFEST})
    )
    (seen,) = registry.observe([f"{played.host}/web"]).artifacts

    assert seen.created == ""
    assert adoptable([seen], key=KEY) == (seen,)


@pytest.mark.parametrize(
    "config",
    [NESTED, b"[]", b"null", b'{"created": [1]}', b"\xff", b'{"created": "0001-01-01T00:00:00Z"}',
     b'{"created": "9999-12-31T23:59:59Z"}', b'{"created": true}', b'{"created": 1e300}'],
)  # fmt: skip
def test_of_an_image_whose_config_is_none_nobody_knows_when_it_was_made(
    played: Played, registry: OciRegistry, config: bytes
) -> None:
    described = {"digest": f"sha256:{hashlib.sha256(config).hexdigest()}", "size": len(config)}
    body = json.dumps({"schemaVersion": 2, "config": described}).encode()

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        if ".reconciler" in path:
            return refusal(404, "MANIFEST_UNKNOWN")
        return Reply(200, config) if "/blobs/" in path else Reply(200, body, {"Content-Type": MANIFEST})

    played.answers = answer
    seen = registry.find(f"{played.host}/acme/web", f"sha256:{hashlib.sha256(body).hexdigest()}")

    assert seen is not None
    assert seen.created == ""


@pytest.mark.containers
def test_marks_that_are_none_are_told_with_their_tag(kept: str) -> None:
    registry = ours()
    artifact = stored(kept, "web-1", registry)
    containers.docker("pull", "--quiet", f"{kept}@{artifact.id}")
    forged = f"{kept}:{artifact.id.replace(':', '-')}.reconciler"
    containers.docker("tag", f"{kept}@{artifact.id}", forged)
    containers.docker("push", "--quiet", forged)

    assert f"{forged} holds no marks" in registry.observe([kept]).unreadable[kept]


@pytest.mark.containers
@pytest.mark.parametrize("given", [b"half of", b"something else altogether, and longer"])
def test_a_layer_that_breaks_off_or_is_another_leaves_no_copy(played: Played, kept: str, given: bytes) -> None:
    layer = b"half of what it was"
    described = {"mediaType": "", "digest": f"sha256:{hashlib.sha256(layer).hexdigest()}", "size": len(layer)}
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}).encode()

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        if "/blobs/" in path:
            return Reply(200, given)
        return (
            refusal(404, "MANIFEST_UNKNOWN") if ".reconciler" in path else Reply(200, body, {"Content-Type": MANIFEST})
        )

    played.answers = answer
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    source = Artifact(kind="oci", builder="docker.web", location=f"{played.host}/acme/web", id=digest)

    with pytest.raises((Transient, Terminal)):
        ours().copy(source, to=kept, name="web-1", tags=OURS, token="t")

    assert ours().find(kept, digest) is None
    assert ours().observe([kept]).artifacts == ()


GONE = Reply(0)
"""No answer: the connection ends once the request was read."""


@pytest.mark.containers
@pytest.mark.parametrize(
    "fault",
    [
        GONE, Reply(500), Reply(503), Reply(408), refusal(400, "DIGEST_INVALID"), refusal(400, "BLOB_UPLOAD_INVALID"),
        refusal(404, "BLOB_UPLOAD_UNKNOWN"), refusal(429, "TOOMANYREQUESTS"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("part", ["a layer", "the manifest", "the marks"])
def test_a_copy_that_breaks_off_on_its_way_is_none_and_the_next_try_makes_it(
    played: Played, tmp_path: Path, fault: Reply, part: str
) -> None:
    containers.refuse_without_registry()
    with containers.registry(tmp_path) as host:
        # Given an image, and a registry that breaks off at a part of its copy
        home, there = f"{host}/acme/web", f"{played.host}/mirror/web"
        client, at = ours()._client, repository(home)
        config, layer = b'{"architecture": "amd64"}', b"a layer" * 1000
        for blob in (config, layer):
            client.put_blob(at, blob)
        described = [{"mediaType": "", "digest": sha256_of(one), "size": len(one)} for one in (config, layer)]
        body = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        ).encode()
        image = Artifact(kind="oci", builder="", location=home, id=client.put_manifest(at.by("web-1"), body, MANIFEST))
        ours().tag(image, OURS)
        registry = OciRegistry(Client(Exchange(Logins({"DOCKER_CONFIG": str(tmp_path)}, nobody), tries=1)), fleet=FLEET)
        where = {"a layer": sha256_of(layer), "the manifest": f"/manifests/{image.id}", "the marks": tag_of(image.id)}
        broken = [fault]

        def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
            return broken.pop() if broken and method == "PUT" and where[part] in path else sent(method, path, headers)

        def sent(method: str, path: str, headers: Mapping[str, str]) -> Reply:
            kept = {one: headers[one] for one in ("Accept", "Content-Type", "Host") if one in headers}
            found = requests.request(method, f"http://{host}{path}", headers=kept, data=played.body, timeout=60)
            names = ("Content-Type", "Docker-Content-Digest", "Location")
            return Reply(
                found.status_code, found.content, {one: found.headers[one] for one in names if one in found.headers}
            )

        played.answers = answer

        # When it is copied, that is an error that may end, and nothing is there that could be taken for the image
        with pytest.raises(Transient):
            registry.copy(image, to=there, name="web-1", tags=OURS, token="t")
        assert broken == []
        assert registry.observe([there]).artifacts == ()
        if part != "the marks":
            assert registry.find(there, image.id) is None

        # And the next try makes it whole
        assert registry.copy(image, to=there, name="web-1", tags=OURS, token="t") == image.id
        (seen,) = registry.observe([there]).artifacts
        assert (seen.id, seen.tags) == (image.id, OURS)
        assert requests.get(f"http://{host}/v2/mirror/web/blobs/{sha256_of(layer)}", timeout=60).content == layer


@pytest.mark.containers
def test_of_two_images_that_packer_left_none_is_kept(kept: str) -> None:
    made = [Made("docker.web", "", containers.imported({"name": name})) for name in (b"one", b"two")]

    with pytest.raises(UserError, match="Packer left 2"):
        ours().store(kept, made, name="web-1", tags=OURS)


@pytest.mark.containers
def test_a_saved_archive_is_kept_as_the_image_that_it_is(kept: str, tmp_path: Path) -> None:
    image = containers.imported({"name": b"saved"})
    archive = tmp_path / "web.tar"
    containers.docker("save", "--output", str(archive), image)
    containers.docker("rmi", image)

    (artifact,) = ours().store(kept, [Made("docker.web", "", "", (str(archive),))], name="web-1", tags=OURS)

    assert ours().find(kept, artifact.id) is not None


@pytest.mark.containers
def test_an_engine_that_is_down_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon. Is it running?' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Transient, match="Cannot connect"):
        ours().store("127.0.0.1:1/acme/web", [Made("docker.web", "", "sha256:1")], name="web-1", tags=OURS)

    program.unlink()
    with pytest.raises(UserError, match="docker is not installed here"):
        ours().store("127.0.0.1:1/acme/web", [Made("docker.web", "", "sha256:1")], name="web-1", tags=OURS)
