"""Container registries that answer without end, or drip, or send us on for ever; each on loopback."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.lockfile import Artifact
from reconciler.model.source import SourceRequest
from reconciler.registries.oci import client as clients
from reconciler.registries.oci import exchange as exchanges
from reconciler.registries.oci import registry as registries
from reconciler.registries.oci import transport
from reconciler.registries.oci.client import MANIFEST, Client
from reconciler.registries.oci.credentials import Logins
from reconciler.registries.oci.exchange import Exchange
from reconciler.registries.oci.marks import Marks, write_marks
from reconciler.registries.oci.reference import location, repository
from reconciler.registries.oci.registry import OciRegistry
from tests.endless import MANY, Asked, Server, certificate_in, chunked, head, serving, whole, without_end

FLEET = "acme/images"
OURS = {"reconciler:fleet": FLEET, "reconciler:image": "web"}
SECRET = "hunter2"
UNKNOWN = f"sha256:{'0' * 64}"
FEW = 8 << 20
"""Bytes that are sent before whoever does so hears that nobody listens: what is read, and what connections hold."""


def nobody() -> NoReturn:
    raise AssertionError("AWS is not asked")


def client(folder: Path, *, tries: int = 1, cancelled: threading.Event | None = None) -> Client:
    return Client(Exchange(Logins({"DOCKER_CONFIG": str(folder)}, nobody), cancelled, tries=tries))


@pytest.fixture
def registry(tmp_path: Path) -> OciRegistry:
    return OciRegistry(client(tmp_path), fleet=FLEET)


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


# In bytes.


def test_the_body_of_a_redirect_is_not_read(registry: OciRegistry) -> None:
    with serving(lambda _: chunked(without_end(), 307, Location="/v2/x")) as server:
        source = SourceRequest.model_validate({"oci": f"localhost:{server.port}/t/i:1"})
        with pytest.raises(Terminal, match="sends us on more than 10 times"):
            registry._client.tags(repository(f"{server.host}/t/i"))
        with pytest.raises(Terminal, match="sends us on more than 10 times"):
            registry.resolve(source, location="")
    assert server.sent < 22 * FEW


def test_where_a_redirect_is_short_its_connection_is_used_again(registry: OciRegistry) -> None:
    def says(asked: Asked) -> Iterator[bytes]:
        to_tags = asked.path.startswith("/v2/t/i/")
        return whole(b"this way", 307, Location="/there") if to_tags else whole(b'{"tags": ["a"]}')

    with serving(says) as server:
        assert registry._client.tags(repository(f"{server.host}/t/i")) == ("a",)


def test_what_is_packed_is_not_unpacked(registry: OciRegistry) -> None:
    packed = gzip.compress(bytes(MANY))
    with serving(lambda _: whole(packed, Content_Encoding="gzip")) as server:
        with pytest.raises(Terminal, match="packs its answer"):
            registry._client.tags(repository(f"{server.host}/t/i"))
        assert "gzip" not in server.asked[0].headers["Accept-Encoding"]


def test_a_refusal_that_is_packed_is_a_refusal(registry: OciRegistry) -> None:
    with (
        serving(lambda _: whole(gzip.compress(b"<html>"), 502, Content_Encoding="gzip")) as server,
        pytest.raises(Transient, match="answers 502"),
    ):
        registry._client.tags(repository(f"{server.host}/t/i"))


def endless_line(_: Asked) -> Iterator[bytes]:
    yield head(Transfer_Encoding="chunked", Content_Type=MANIFEST)
    for piece in without_end():
        yield piece.replace(b"x", b"0")


def endless_headers(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    for number, piece in enumerate(without_end()):
        yield b"X-%d: %s\r\n" % (number, piece[:60_000])


def endless_body(_: Asked) -> Iterator[bytes]:
    return chunked(without_end(), Content_Type=MANIFEST)


@pytest.mark.parametrize("says", [endless_line, endless_headers, endless_body])
@pytest.mark.parametrize("what", ["tags", "layer", "challenge"])
def test_no_answer_is_taken_without_end(
    registry: OciRegistry, says: Callable[[Asked], Iterator[bytes]], what: str
) -> None:
    def answer(asked: Asked) -> Iterator[bytes]:
        if what == "challenge" and "/v2/" in asked.path:
            return whole(b"", 401, WWW_Authenticate=f'Bearer realm="http://{server.host}/token"')
        return whole(b"") if asked.method == "HEAD" else says(asked)

    with serving(answer) as server:
        at = repository(f"{server.host}/t/i")
        layer = registry._client.exchange.stream(at, digest_of(b""), 1000)
        with pytest.raises(ReconcilerError):
            list(layer if what == "layer" else registry._client.tags(at))
    assert server.sent < 2 * FEW


def test_a_layer_is_no_longer_than_its_manifest_says(registry: OciRegistry) -> None:
    # Given an image whose layer is to have a thousand bytes, and a registry that sends it without end
    layer = {"digest": digest_of(b"layer"), "size": 1000}
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": layer, "layers": [layer]}).encode()

    def says(asked: Asked) -> Iterator[bytes]:
        if asked.method == "POST":
            return whole(b"", 202, Location="/upload")
        if "/t/copy/" in asked.path or ".reconciler" in asked.path:
            return whole(b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', 404)
        if "/manifests/" in asked.path:
            return whole(body, Content_Type=MANIFEST)
        return whole(b"") if asked.method == "HEAD" else chunked(without_end())

    with serving(says) as server, serving(says) as there:
        image = Artifact(kind="oci", builder="docker.web", location=f"{server.host}/t/i", id=digest_of(body))
        with pytest.raises(Terminal, match="more than the 1,000 bytes"):
            registry.copy(image, to=f"{there.host}/t/copy", name="web-1", tags=OURS, token="t")
    assert server.sent < 2 * FEW


@pytest.mark.parametrize("size", [True, -1, "7", 1.5, None])
def test_a_size_that_is_none_is_of_no_layer(registry: OciRegistry, size: object) -> None:
    layer = {"digest": digest_of(b"layer"), "size": size}
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": layer, "layers": []}).encode()

    def says(asked: Asked) -> Iterator[bytes]:
        gone = ".reconciler" in asked.path
        return whole(b'{"errors": [{"code": "NOT_FOUND"}]}', 404) if gone else whole(body, Content_Type=MANIFEST)

    with serving(says) as server:
        image = Artifact(kind="oci", builder="docker.web", location=f"{server.host}/t/i", id=digest_of(body))
        with pytest.raises(Terminal, match="is no manifest of an image that can be copied"):
            registry.copy(image, to=f"{server.host}/t/copy", name="web-1", tags=OURS, token="t")


def marked(number: int, *, filler: int) -> tuple[str, bytes]:
    """The tag of an image's marks, and the marks, which are of this fleet."""
    digest = digest_of(str(number).encode())
    marks = Marks(digest, f"web-{number}", "2026-11-22T10:15:30Z", {**OURS, "more": "x" * filler})
    return marks.tag, marks.manifest({"digest": digest})


@pytest.mark.long
@pytest.mark.parametrize(
    ("filler", "said"), [(4_100_000, "more than 65,536 bytes"), (60_000, "is of more than 16,777,216 bytes")]
)
def test_marks_are_bounded_one_by_one_and_in_their_sum(registry: OciRegistry, filler: int, said: str) -> None:
    there = dict(marked(number, filler=filler) for number in range(300))
    named = {f"web-{number}": b"" for number in range(300)}

    def says(asked: Asked) -> Iterator[bytes]:
        if "/tags/" in asked.path:
            return whole(json.dumps({"tags": [*there, *named]}).encode())
        return whole(there[asked.path.rpartition("/")[2]], Content_Type=MANIFEST)

    with serving(says) as server:
        location = f"{server.host}/t/i"
        observed = registry.observe([location])
    assert said in observed.unreadable[location]
    assert not observed.artifacts


def test_marks_are_bounded_in_their_number(registry: OciRegistry) -> None:
    tags = [f"sha256-{number:064x}.reconciler" for number in range(10_001)]
    with serving(lambda _: whole(json.dumps({"tags": tags}).encode())) as server:
        location = f"{server.host}/t/i"
        assert "marks of 10,001 images" in registry.observe([location]).unreadable[location]
    assert len(server.asked) == 1


def test_no_marks_are_written_that_nobody_would_read(registry: OciRegistry) -> None:
    marks = Marks(digest_of(b""), "web-1", "2026-11-22T10:15:30Z", {**OURS, "more": "x" * 70_000})
    with (
        serving(lambda _: whole(b'{"errors": [{"code": "NOT_FOUND"}]}', 404)) as server,
        pytest.raises(Terminal, match=r"take 70,\d* bytes") as refused,
    ):
        write_marks(registry._client, repository(f"{server.host}/t/i"), marks, subject=None)
    assert "shorter `tags`" in refused.value.hint[0]


def test_tags_are_counted_and_not_their_pages(registry: OciRegistry) -> None:
    # Given pages of 34,000 tags, and always one more
    def says(asked: Asked) -> Iterator[bytes]:
        page = len(server.asked)
        tags = [f"t{page}-{number}" for number in range(34_000)]
        return whole(json.dumps({"tags": tags}).encode(), Link=f'</v2/t/i/tags/list?last={page}>; rel="next"')

    with serving(says) as server, pytest.raises(Terminal, match="more than 100,000 tags"):
        registry._client.tags(repository(f"{server.host}/t/i"))
    assert len(server.asked) == 3


def test_a_list_of_tags_is_bounded_in_the_sum_of_its_pages(registry: OciRegistry) -> None:
    # Given pages of 4 MB of what is no tag, and always one more
    body = json.dumps({"tags": ["!" * 4_000_000]}).encode()
    with (
        serving(lambda _: whole(body, Link='</v2/t/i/tags/list?last=x>; rel="next"')) as server,
        pytest.raises(Transient, match="the list of tags is of more than 33,554,432 bytes"),
    ):
        registry._client.tags(repository(f"{server.host}/t/i"))
    assert len(server.asked) < 10


# In time.


def in_headers(server: Server) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    yield from server.drips()


def before_headers(server: Server) -> Iterator[bytes]:
    yield from server.drips(piece=b"HTTP/1.1 100 Continue\r\n\r\n")


def in_a_body(server: Server) -> Iterator[bytes]:
    yield head(Content_Length="1000")
    yield from server.drips()


def in_a_chunk(server: Server) -> Iterator[bytes]:
    yield head(Transfer_Encoding="chunked") + b"fff\r\n"
    yield from server.drips()


def in_a_trailer(server: Server) -> Iterator[bytes]:
    yield head(Transfer_Encoding="chunked") + b"0\r\n"
    yield from server.drips(piece=b"X: y\r\n")


def in_a_redirect(server: Server) -> Iterator[bytes]:
    yield head(307, Location="/v2/x", Content_Length="1000")
    yield from server.drips()


def by_redirects(server: Server) -> Iterator[bytes]:
    for _ in server.drips(seconds=0.2):
        yield b""
    yield from whole(b"", 307, Location="/v2/x")


DRIPS = [in_headers, before_headers, in_a_body, in_a_chunk, in_a_trailer, in_a_redirect, by_redirects]


@pytest.mark.long
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("drips", DRIPS)
def test_who_drips_is_given_up(
    registry: OciRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drips: Callable[[Server], Iterator[bytes]],
    *, tls: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(exchanges, "_ANSWER", 0.5)
    certificate = certificate_in(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def says(asked: Asked) -> Iterator[bytes]:
        return drips(server)

    with serving(says, certificate=certificate if tls else None) as server:
        there = f"https://{server.host}/v2/x"
        with serving(lambda _: whole(b"", 307, Location=there)) as front:
            host = front.host if tls else server.host
            with pytest.raises(Transient, match=r"it takes longer than 0\.5 s for an answer"):
                registry._client.tags(repository(f"{host}/t/i"))


@pytest.mark.long
def test_a_layer_that_drips_is_given_up(registry: OciRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "_LAYER", 0.5)

    def says(asked: Asked) -> Iterator[bytes]:
        return whole(b"") if asked.method == "HEAD" else in_a_body(server)

    with serving(says) as server, pytest.raises(Transient, match="for a layer"):
        sum(map(len, registry._client.exchange.stream(repository(f"{server.host}/t/i"), digest_of(b""), 1000)))


@pytest.mark.long
def test_pages_that_each_come_in_time_do_not_come_for_ever(
    registry: OciRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_LISTING", 0.5)

    def says(asked: Asked) -> Iterator[bytes]:
        for _ in server.drips(seconds=0.1):
            yield b""
        page = len(server.asked)
        yield from whole(b'{"tags": ["a"]}', Link=f'</v2/t/i/tags/list?last={page}>; rel="next"')

    with serving(says) as server, pytest.raises(Transient, match=r"longer than 0\.5 s for the list of tags"):
        registry._client.tags(repository(f"{server.host}/t/i"))


@pytest.mark.long
def test_marks_that_each_come_in_time_do_not_come_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a registry with marks that drip, beside one that is well
    monkeypatch.setattr(registries, "_READING", 3)
    there = dict(marked(number, filler=10) for number in range(100))
    registry = OciRegistry(client(tmp_path, tries=4), fleet=FLEET)

    def well(asked: Asked) -> Iterator[bytes]:
        if "/tags/" in asked.path:
            return whole(json.dumps({"tags": [*there, *(f"web-{number}" for number in range(100))]}).encode())
        return whole(there[asked.path.rpartition("/")[2]], Content_Type=MANIFEST)

    def drips(asked: Asked) -> Iterator[bytes]:
        if "/tags/" in asked.path:
            return well(asked)
        return in_a_body(slow)

    with serving(drips) as slow, serving(well) as good:
        observed = registry.observe([f"{slow.host}/t/i", f"{good.host}/t/i"])

    assert "longer than 3 s for the marks in" in observed.unreadable[f"{slow.host}/t/i"]
    assert len(observed.artifacts) == 100


# And what else they might answer.


def test_who_is_sent_away_and_back_is_nobody(registry: OciRegistry, tmp_path: Path) -> None:
    # Given a login, and another host to which the registry sends us, and that sends us back with what it likes to ask
    shown: list[str | None] = []

    def says(asked: Asked) -> Iterator[bytes]:
        shown.append(asked.headers.get("Authorization"))
        if "Authorization" in asked.headers:
            return whole(b"", 307, Location=f"http://localhost:{other.port}/")
        if asked.path.startswith("/v2/secret"):
            return whole(b"", 307, Location="/v2/deeper")
        if asked.path == "/v2/deeper":
            return whole(b'{"tags": []}')
        return whole(b"", 401, WWW_Authenticate="Basic realm=reg")

    def back(asked: Asked) -> Iterator[bytes]:
        shown.append(asked.headers.get("Authorization"))
        return whole(b"", 307, Location=f"http://{server.host}/v2/secret")

    with serving(says) as server, serving(back) as other:
        auth = base64.b64encode(f"ada:{SECRET}".encode()).decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
        registry._client.tags(repository(f"{server.host}/t/i"))

    assert shown == [None, f"Basic {auth}", None, None, None]


@pytest.mark.parametrize("way", ["Basic realm=reg", 'Bearer realm="http://localhost:{port}/token"'])
@pytest.mark.parametrize("sent", ["GET", "PUT"])
def test_who_we_are_sent_on_to_does_not_say_where_to_sign_in(
    registry: OciRegistry, tmp_path: Path, way: str, sent: str
) -> None:
    # Given a login, and a registry that has its blobs elsewhere: there somebody answers who would see the login
    shown: list[str | None] = []

    def elsewhere(asked: Asked) -> Iterator[bytes]:
        shown.append(asked.headers.get("Authorization"))
        if asked.path.startswith("/token"):
            return whole(b'{"token": "his"}')
        return whole(b"", 401, WWW_Authenticate=way.format(port=other.port))

    def says(asked: Asked) -> Iterator[bytes]:
        shown.append(asked.headers.get("Authorization"))
        there = f"http://localhost:{other.port}/kept"
        if asked.path.endswith("/blobs/uploads/"):
            return whole(b"", 202, Location=there)
        return whole(b"", 307, Location=there)

    with serving(elsewhere) as other, serving(says) as server:
        auth = base64.b64encode(f"ada:{SECRET}".encode()).decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
        client, at = registry._client, repository(f"{server.host}/t/i")
        # When something is read there, or written
        start = client._start(at, "blobs/uploads/") if sent == "PUT" else None
        with pytest.raises(Terminal) as refused:
            client._upload(at, UNKNOWN, b"{}", start=start) if start else client.blob(at, UNKNOWN)

    # Then nobody has seen it, and nothing that he gave is shown to the registry
    assert shown == [None] * len(shown)
    assert f"sends us on to localhost:{other.port}, which wants a login, and gets none" in refused.value.what


ANY_HOST = st.from_regex(r"\A(\[[0-9a-f:]{0,9}\]|[a-z0-9.-]{1,9}|localhost)(:[0-9]{1,6})?\Z")


@given(host=ANY_HOST)
@settings(max_examples=200, deadline=None)
def test_no_host_that_a_branch_declares_ends_the_run(host: str) -> None:
    registry = OciRegistry(Client(Exchange(Logins({"DOCKER_CONFIG": "/none"}, nobody), tries=1)), fleet="acme/images")
    place = f"{host}/t/i"
    with pytest.MonkeyPatch.context() as patched:  # nobody is asked
        patched.setattr(transport, "connected", refused)
        try:
            found = registry.observe([place])
        except ValueError as error:
            pytest.fail(f"it ends the run: {error}")
    assert found.unreadable.keys() == {place}
    # And an address can be made of what passes for a location
    if location(place) is not None:
        assert (urlsplit(f"https://{host}").port or 0) < 1 << 16


def refused(*_: object) -> NoReturn:
    raise ConnectionRefusedError("nobody is there")


def test_a_registry_s_cookies_are_not_kept(registry: OciRegistry) -> None:
    with serving(lambda _: whole(b'{"tags": []}', Set_Cookie=f"a={'x' * 4000}")) as server:
        for _ in range(3):
            registry._client.tags(repository(f"{server.host}/t/i"))
    assert [asked.headers.get("Cookie") for asked in server.asked] == [None] * 3


def test_a_token_without_end_is_none(registry: OciRegistry) -> None:
    def says(asked: Asked) -> Iterator[bytes]:
        if asked.path.startswith("/token"):
            return whole(json.dumps({"token": "x" * 100_000}).encode())
        return whole(b"", 401, WWW_Authenticate=f'Bearer realm="http://{server.host}/token"')

    with serving(says) as server, pytest.raises(Terminal, match="more than 65,536 bytes"):
        registry._client.tags(repository(f"{server.host}/t/i"))


@pytest.mark.parametrize(
    "address", ["http://[", "http://a:b/", "//[x/", "http://a..b/", "http://\xff\xfe/", "file:///etc"]
)
@pytest.mark.parametrize("where", ["redirect", "page", "realm", "upload"])
def test_an_address_that_is_none_is_an_error_of_the_registry(registry: OciRegistry, address: str, where: str) -> None:
    def says(asked: Asked) -> Iterator[bytes]:
        match where:
            case "redirect":
                return whole(b"", 307, Location=address)
            case "page":
                return whole(b"{}", Link=f'<{address}>; rel="next"' if len(server.asked) == 1 else "")
            case "realm":
                return whole(b"", 401, WWW_Authenticate=f'Bearer realm="{address}"')
        if asked.method in ("HEAD", "GET"):
            return whole(b"", 404)
        return whole(b"", 202, Location=address)

    with serving(says) as server:
        at = repository(f"{server.host}/t/i")
        try:
            registry._client.put_blob(at, b"x") if where == "upload" else registry._client.tags(at)
        except ReconcilerError as error:
            told = str(error)
        else:
            told = "a page of the registry itself"
    assert told
    assert where == "page" or "page of" not in told


@pytest.mark.parametrize("asked_for", ["\xb2", "9" * 4000, "-1", "soon"])
def test_a_pause_that_is_no_number_is_ours(tmp_path: Path, asked_for: str) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with (
        serving(lambda _: whole(b"", 503, Retry_After=asked_for)) as server,
        pytest.raises(Transient, match="it was cancelled"),
    ):
        client(tmp_path, tries=2, cancelled=cancelled).tags(repository(f"{server.host}/t/i"))


def test_a_registry_is_asked_by_the_proxy_that_the_environment_names(
    registry: OciRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda _: whole(b'{"tags": ["a"]}')) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        monkeypatch.setenv("NO_PROXY", "")
        assert registry._client.tags(repository("localhost:9/t/i")) == ("a",)
    assert proxy.asked[0].path.startswith("http://localhost:9/v2/t/i/tags/list")
