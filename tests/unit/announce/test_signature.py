from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.announce.signature import TOLERANCE_SECONDS, sign, verify

SECRET = b"correct horse"
BODY = b'{"event":"candidate"}'
NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
TIMESTAMP = "1795342530"


def test_a_signature_is_what_openssl_makes_of_it() -> None:
    # printf '1795342530.{"event":"candidate"}' | openssl dgst -sha256 -hmac 'correct horse'
    assert sign(SECRET, TIMESTAMP, BODY) == "v1=962bf3d88f7eb8d1e597d0c6977463492fdc225f9298a813a60baa7edc14542e"


def test_what_was_signed_verifies() -> None:
    assert verify(SECRET, TIMESTAMP, BODY, sign(SECRET, TIMESTAMP, BODY), NOW)


@pytest.mark.parametrize("seconds", [-TOLERANCE_SECONDS, 0, TOLERANCE_SECONDS])
def test_clocks_may_be_apart_by_minutes(seconds: int) -> None:
    assert verify(SECRET, TIMESTAMP, BODY, sign(SECRET, TIMESTAMP, BODY), NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1])
def test_a_recorded_request_cannot_be_played_again_later(seconds: int) -> None:
    assert not verify(SECRET, TIMESTAMP, BODY, sign(SECRET, TIMESTAMP, BODY), NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("secret", "timestamp", "body"),
    [(b"another", TIMESTAMP, BODY), (SECRET, "1795342531", BODY), (SECRET, TIMESTAMP, BODY + b" ")],
    ids=["secret", "timestamp", "body"],
)
def test_what_was_changed_does_not_verify(secret: bytes, timestamp: str, body: bytes) -> None:
    assert not verify(secret, timestamp, body, sign(SECRET, TIMESTAMP, BODY), NOW)


@pytest.mark.parametrize("signature", ["", "v1=", "v2=00", "v1=é", "v1=\udcff", sign(SECRET, TIMESTAMP, BODY)[3:]])
def test_a_strange_signature_does_not_verify(signature: str) -> None:
    assert not verify(SECRET, TIMESTAMP, BODY, signature, NOW)


@pytest.mark.parametrize("timestamp", ["", "-1", "1e9", "٣", "9" * 5000, f"{TIMESTAMP}.0"])
def test_a_strange_timestamp_does_not_verify(timestamp: str) -> None:
    assert not verify(SECRET, timestamp, BODY, sign(SECRET, timestamp, BODY), NOW)


def test_without_a_secret_nothing_verifies() -> None:
    assert not verify(b"", TIMESTAMP, BODY, sign(b"", TIMESTAMP, BODY), NOW)
