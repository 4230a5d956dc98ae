"""The signature on a webhook: how it is made, and how a receiver verifies it.

Needs nothing but the standard library, so that a receiver in Python can take this file as it is. In other languages:

    X-Reconciler-Timestamp: 1795342530
    X-Reconciler-Signature: v1=<hex of HMAC-SHA256(secret, timestamp + "." + body)>
    X-Reconciler-Delivery:  sha256:…    the announcement's id

Verify over the bytes as they came, before parsing them; compare in constant time; refuse old timestamps; and take each
delivery id once, because an announcement is repeated until it was answered with 2xx.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime

TIMESTAMP_HEADER = "X-Reconciler-Timestamp"
SIGNATURE_HEADER = "X-Reconciler-Signature"
DELIVERY_HEADER = "X-Reconciler-Delivery"
TOLERANCE_SECONDS = 300
"""How far the sender's and the receiver's clocks may be apart, delivery included."""

_TIMESTAMP = re.compile(r"[0-9]{1,12}")


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of X-Reconciler-Signature.

    Args:
        secret: Shared by sender and receiver.
        timestamp: Seconds since 1970 as decimal digits: the value of X-Reconciler-Timestamp.
        body: The request's body.
    """
    return f"v1={hmac.new(secret, timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def verify(secret: bytes, timestamp: str, body: bytes, signature: str, now: datetime) -> bool:
    """Whether a request was signed with this secret, not long ago.

    Args:
        secret: Shared by sender and receiver.
        timestamp: The header X-Reconciler-Timestamp.
        body: The request's body, byte for byte as it came.
        signature: The header X-Reconciler-Signature.
        now: The receiver's time, aware of its zone. It is what keeps a recorded request from being played again.
    """
    if not secret or not _TIMESTAMP.fullmatch(timestamp):
        return False
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    # As bytes: compare_digest raises on text that is not ASCII, and a stranger chose this text.
    return hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode("utf-8", "surrogateescape"))
