"""One place under several names: `localhost` and `127.0.0.1`, an alias in the DNS, a mirror that takes what is pushed.

No name tells, and nothing that can be read does: `Registry.is_same`, which a plan asks, knows one spelling alone. So
before an image is deleted it is found out, by a mark that is set, whether it goes with that from a location in which it
is to stay.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.model.errors import Transient
from reconciler.model.observation import TAG_PREFIX
from reconciler.registries.oci.client import Client
from reconciler.registries.oci.marks import Marks, read_marks, tag_of, write_marks
from reconciler.registries.oci.reference import Reference

_ASKED = f"{TAG_PREFIX}retiring"
"""The mark that is set to see where it shows."""
_LOOKS = 3
"""How often it is looked for: what mirrors another place may need a moment."""


def is_one_place(
    client: Client, at: Reference, there: Reference, marks: Marks, *, subject: Mapping[str, Any]
) -> bool:  # fmt: skip
    """Whether an image whose marks are these is one with that of the same digest in another location.

    Where it is, a change of its marks shows in both. That is made only where they are the same, byte for byte, as those
    of a copy hardly are: they say when it was made. They are again what they were when this returns.

    Raises Transient where somebody else writes them meanwhile.
    """
    if there == at:
        return True
    if client.digest(there.by(marks.id)) is None:
        return False
    own = tag_of(marks.id)
    before, elsewhere, after = (client.digest(one.by(own)) for one in (at, there, at))
    if before != after:
        raise Transient(f"the marks of {marks.id} in {at.repository} are being written by somebody else")
    if before != elsewhere:
        return False
    token = secrets.token_hex(8)
    write_marks(client, at, replace(marks, tags={**marks.tags, _ASKED: token}), subject=subject)
    try:
        return _shows(client, there, marks.id, token)
    finally:
        write_marks(client, at, marks, subject=subject)


def _shows(client: Client, there: Reference, digest: str, token: str) -> bool:
    for look in range(1, _LOOKS + 1):
        found = read_marks(client, there, digest)
        if found is not None and found.tags.get(_ASKED) == token:
            return True
        if look < _LOOKS:
            client.exchange.wait(look)
    return False
