"""What a registry has to allow whoever runs here: printed by `reconciler rights`."""

from __future__ import annotations

from reconciler.model.values import Model


class Right(Model):
    """Privileges, or words for them, on one thing, and what they are needed for."""

    names: tuple[str, ...]
    on: str
    purpose: str


class RightsOfKind(Model):
    """All that a fleet's images of one kind need. `note` is what is to be known beside it.

    `credentials` says whose: a word, `aws`, or one with a host, `registry:registry.example.org`.
    """

    kind: str
    images: tuple[str, ...]
    rights: tuple[Right, ...]
    credentials: tuple[str, ...]
    note: str
