"""Public keys of SSH, by their fingerprints. Imports nothing heavy: the process that tests an instance does this."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re


def fingerprints(line: str) -> frozenset[str]:
    """The fingerprints, `SHA256:…` as `ssh-keygen -l` has them, of the keys on a line of an authorized_keys file.

    A line holds one key. A second one in its options or its comment counts as well, so that whoever writes another's
    key behind his own has not made his own that other's.
    """
    return frozenset(found for word in line.split() if (found := _fingerprint(word)) is not None)


def _fingerprint(word: str) -> str | None:
    try:
        blob = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return None
    # RFC 4253, 6.6: a blob begins with its type, as a string with its length before it.
    kind = blob[4 : 4 + int.from_bytes(blob[:4], "big")]
    if not re.fullmatch(rb"[!-~]{3,64}", kind):
        return None
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"
