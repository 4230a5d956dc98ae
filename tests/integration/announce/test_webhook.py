"""Webhooks, with receivers that are slow, broken, moved or strange."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import standardwebhooks
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.announce.access import Credential, RetryPolicy
from reconciler.announce.assembly import tell
from reconciler.announce.receivers import Webhook, keys_of, sign
from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal, Transient
from reconciler.model.receivers import WebhookSettings

if TYPE_CHECKING:
    from tests.integration.announce.conftest import Receiver

NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
SECRET = "correct horse"
ROOT = Path(__file__).resolve().parents[3]


def webhook(url: str, policy: RetryPolicy, *, secret: str = SECRET) -> Webhook:
    return Webhook(WebhookSettings(url=url), {"RECONCILER_WEBHOOK_SECRET": secret}, policy=policy)


def now(policy: RetryPolicy) -> RetryPolicy:
    """By the clock of this machine: the standard's library asks it how old a request is."""
    return dataclasses.replace(policy, now=lambda: datetime.now(UTC))


def test_the_receiver_gets_the_announcement(receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    webhook(f"{receiver.url}/hook", policy).announce(news)

    (got,) = receiver.received
    assert (got.method, got.path) == ("POST", "/hook")
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-id"] == news.id
    assert not [name for name in got.headers if name.startswith("x-")]
    assert Announcement.model_validate_json(got.body) == news


def test_a_signature_is_the_one_of_the_standards_own_example() -> None:
    keys = keys_of(Credential("SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))

    made = sign(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_receiver_of_the_docs_takes_what_was_signed_once(
    receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    _, begin, rest = (ROOT / "docs/announcements.md").read_text().partition("from standardwebhooks import")
    kept: list[object] = []
    there: dict[str, Any] = {"keep": kept.append}
    exec(begin + rest.partition("```")[0], there)  # noqa: S102 - the example as it stands there
    receive, seen = there["receive"], set[str]()
    webhook(receiver.url, now(policy), secret=NEW).announce(news)

    (got,) = receiver.received
    assert [receive(got.headers, got.body, NEW, seen) for _ in range(2)] == [204, 204]
    assert receive(got.headers, got.body, OLD, seen) == 401
    assert kept == [news.plain()]


def key_in_base64(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode()


NEW, OLD = f"whsec_{key_in_base64('n')}", f"whsec_{key_in_base64('o')}"


@pytest.mark.parametrize(
    ("secret", "theirs"),
    [
        (NEW, NEW),
        (SECRET, SECRET.encode()),
        (SECRET, f"whsec_{base64.b64encode(SECRET.encode()).decode()}"),
        (f"{NEW} {OLD}", NEW),
        (f"{NEW}   {OLD}", OLD),
    ],
    ids=["standard", "plain", "plain, to a library in base64", "rotated, new", "rotated, old"],
)
def test_a_receiver_verifies_who_sent_it_with_the_standards_library(
    secret: str, theirs: str | bytes, receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    webhook(receiver.url, now(policy), secret=secret).announce(news)

    (got,) = receiver.received
    assert standardwebhooks.Webhook(theirs).verify(got.body, dict(got.headers)) == news.plain()


@pytest.mark.parametrize("changed", ["secret", "body", "webhook-id", "webhook-timestamp"])
def test_the_standards_library_refuses_what_was_changed(
    changed: str, receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    webhook(receiver.url, now(policy), secret=NEW).announce(news)

    (got,) = receiver.received
    headers = dict(got.headers)
    if changed in headers:
        headers[changed] = headers[changed][:-1] + ("1" if headers[changed][-1] == "0" else "0")
    body = got.body.replace(b"web", b"bew") if changed == "body" else got.body
    with pytest.raises(standardwebhooks.WebhookVerificationError, match="No matching signature"):
        standardwebhooks.Webhook(OLD if changed == "secret" else NEW).verify(body, headers)


def test_a_try_that_was_recorded_is_refused_later(receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    earlier = datetime.now(UTC) - timedelta(minutes=6)
    webhook(receiver.url, dataclasses.replace(policy, now=lambda: earlier), secret=NEW).announce(news)

    (got,) = receiver.received
    with pytest.raises(standardwebhooks.WebhookVerificationError, match="too old"):
        standardwebhooks.Webhook(NEW).verify(got.body, dict(got.headers))


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (f"{NEW} {SECRET}", "holds several secrets, and not all"),
        ("whsec_not-base64", "is not base64 after whsec_"),
        (f"whsec_{base64.b64encode(b'x' * 23).decode()}", "of 23 bytes, and 24 are the fewest"),
        (f"whsk_{key_in_base64('k')}", "holds a private key"),
    ],
)
def test_a_secret_that_is_half_of_the_standards_form_signs_nothing(
    secret: str, why: str, receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    with pytest.raises(Terminal) as caught:
        webhook(receiver.url, policy, secret=secret).announce(news)

    assert why in caught.value.what
    assert secret not in str(caught.value)
    assert receiver.received == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(
    status: int, receiver: Receiver, policy: RetryPolicy, pauses: list[float], news: Announcement
) -> None:
    receiver.answers(status, status, 200)

    webhook(receiver.url, policy).announce(news)

    assert len(receiver.received) == 3
    assert pauses == [1.0, 2.0]


def test_every_try_is_signed_anew(receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    times = iter(NOW + timedelta(seconds=seconds) for seconds in range(100))
    receiver.answers(500, 200)

    webhook(receiver.url, dataclasses.replace(policy, now=lambda: next(times))).announce(news)

    first, second = receiver.received
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == news.id


def test_a_receiver_that_stays_broken_is_left_to_the_next_run(
    receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    receiver.answers(503, body=b"<h1>down\n for\x1b[31m maintenance</h1>")

    with pytest.raises(Transient) as caught:
        webhook(f"{receiver.url}/hook?token=s3cret", policy).announce(news)

    assert caught.value.what == (
        f"the webhook {receiver.url}/hook was not told after 3 tries: "
        "503 Service Unavailable: <h1>down for [31m maintenance</h1>"
    )
    assert "s3cret" not in str(caught.value)
    assert len(receiver.received) == 3


def test_a_receiver_that_never_answers_is_given_up(receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    receiver.answers(None)

    with pytest.raises(Transient, match=r"after 2 tries: no answer within 0\.05 s"):
        webhook(receiver.url, dataclasses.replace(policy, timeout=0.05, tries=2)).announce(news)


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 ", b"HTTP/1.1 500 x\r\n", b"HTTP/1.1 500 x\r\nContent-Length: 9\r\n\r\n"]
)
def test_a_receiver_that_drips_is_given_up_when_its_time_is_over(
    begun: bytes, policy: RetryPolicy, news: Announcement
) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            there, _ = server.accept()
            with there, suppress(OSError):
                there.sendall(begun)
                while not over.wait(0.02):
                    there.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        try:
            with pytest.raises(Transient) as caught:
                webhook(url, dataclasses.replace(policy, timeout=10, whole=0.5, tries=1)).announce(news)
        finally:
            over.set()
            dripping.join()

    # Of an answer that has begun the reason is what has come of it.
    assert caught.value.what.endswith(("was not told: no whole answer within 0.5 s", "was not told: 500 x: x"))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "identity, gzip", "br"])
def test_a_packed_reason_is_not_unpacked(
    encoding: str, receiver: Receiver, policy: RetryPolicy, news: Announcement, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = gzip.compress(bytes(30_000_000))
    receiver.answers(400, headers={"Content-Encoding": encoding}, body=bomb)
    unpacked: list[object] = []
    monkeypatch.setattr("urllib3.response._get_decoder", unpacked.append)

    with pytest.raises(Terminal) as caught:
        webhook(receiver.url, policy).announce(news)

    assert caught.value.what.endswith("refuses: 400 Bad Request")
    assert receiver.received[0].headers["accept-encoding"] == "identity"
    assert unpacked == []


def test_the_body_of_a_redirect_is_not_read(
    receiver: Receiver, policy: RetryPolicy, news: Announcement, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Location": "/elsewhere", "Content-Encoding": "gzip"}
    receiver.answers(307, headers=headers, body=gzip.compress(bytes(30_000_000)))
    unpacked: list[object] = []
    monkeypatch.setattr("urllib3.response._get_decoder", unpacked.append)

    with pytest.raises(Terminal, match="redirects to"):
        webhook(receiver.url, policy).announce(news)

    assert unpacked == []


def test_a_slow_receiver_is_heard_in_the_end(receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    receiver.answers(None, 200)

    webhook(receiver.url, dataclasses.replace(policy, timeout=1, tries=10)).announce(news)

    assert receiver.received[0].body == receiver.received[-1].body
    assert len(receiver.received) > 1


def test_a_receiver_that_is_not_there_is_tried_again(
    policy: RetryPolicy, pauses: list[float], news: Announcement
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(Transient, match="can't be reached"):
        webhook(f"http://127.0.0.1:{port}", policy).announce(news)

    assert len(pauses) == 2


def test_a_pause_that_is_asked_for_is_kept(
    receiver: Receiver, policy: RetryPolicy, pauses: list[float], news: Announcement
) -> None:
    receiver.answers(429, headers={"Retry-After": "7"})
    receiver.answers(429, headers={"Retry-After": "Sun, 22 Nov 2026 10:15:39 GMT"})
    receiver.answers(200)

    webhook(receiver.url, policy).announce(news)

    assert pauses == [7.0, 9.0]


def test_a_pause_that_is_too_long_is_left_to_the_next_run(
    receiver: Receiver, policy: RetryPolicy, pauses: list[float], news: Announcement
) -> None:
    receiver.answers(429, headers={"Retry-After": "3600"})

    with pytest.raises(Transient, match=r"429 Too Many Requests.*it asks to wait 3600 s"):
        webhook(receiver.url, policy).announce(news)

    assert pauses == []
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    receiver.answers(status, headers={"Location": f"{receiver.url}/elsewhere?token=s3cret"})

    with pytest.raises(Terminal) as caught:
        webhook(receiver.url, policy).announce(news)

    assert f"redirects to {receiver.url}/elsewhere ({status})" in str(caught.value)
    assert [got.path for got in receiver.received] == ["/"]


@pytest.mark.parametrize("where", ["http://[", "//[x/", "http://[0]/", "http://[::1", "https://[v1.a]b/", "//\u2100/"])
def test_a_redirect_to_what_is_no_address_ends_no_run(
    where: str, receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    receiver.answers(302, headers={"Location": where.encode().decode("latin-1")})

    try:
        untold = tell([webhook(receiver.url, policy)], [news])
    except ValueError:
        pytest.fail("it ends the run")

    assert [type(one.error) for one in untold] == [Terminal]


@pytest.mark.parametrize(("status", "hint"), [(400, "announce.webhook.url"), (401, "another secret"), (410, "url")])
def test_a_refusal_is_not_tried_again(
    status: int, hint: str, receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    receiver.answers(status, body=b'{"error": "no such hook"}')

    with pytest.raises(Terminal, match="no such hook") as caught:
        webhook(receiver.url, policy).announce(news)

    assert hint in str(caught.value)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("secret", ["", "  \n"])
def test_nothing_is_sent_unsigned(secret: str, receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    with pytest.raises(Terminal, match="RECONCILER_WEBHOOK_SECRET is not set"):
        webhook(receiver.url, policy, secret=secret).announce(news)

    assert receiver.received == []


def test_no_other_login_is_sent(
    receiver: Receiver, policy: RetryPolicy, news: Announcement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login person password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))

    webhook(receiver.url, policy).announce(news)

    assert "authorization" not in receiver.received[0].headers


def test_a_certificate_must_verify(policy: RetryPolicy, news: Announcement, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def shake_hands() -> None:
            connection, _ = listening.accept()
            with connection, pytest.raises(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)

        server = threading.Thread(target=shake_hands)
        server.start()
        with pytest.raises(Terminal, match="certificate does not verify"):
            webhook(f"https://127.0.0.1:{listening.getsockname()[1]}", policy).announce(news)
        server.join()


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody vouches for, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoded_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "receiver.pem"
    path.write_bytes(encoded_key + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_the_body_is_the_same_every_time(receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    webhook(receiver.url, policy).announce(news)
    webhook(receiver.url, policy).announce(news)

    one, other = receiver.received
    assert one.body == other.body
    assert json.loads(one.body)["id"] == news.id
