"""Annotated tags: the record of a build that no branch holds yet."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path

from reconciler.git.command import Git
from reconciler.git.past import dates_of
from reconciler.git.signature import signature_of, signed_by_us
from reconciler.git.store import LONGEST_SIGNED, find, holding, not_there
from reconciler.model.text import decoded
from reconciler.model.verification import Signature
from reconciler.plan.trust import as_named, began

_SIGNATURE = re.compile(rb"^-----BEGIN (?:PGP|SSH|SIGNED) (?:SIGNATURE|MESSAGE)-----$", re.MULTILINE)

_LONGEST_RECORD, _LONGEST_FILE = LONGEST_SIGNED, 64 << 20
"""Bytes of a tag, and of the file that it stands on, that are read. Whoever may push tags writes as much as he likes,
and a record with all that an image is made of has a thousandth of that."""


@dataclass(frozen=True)
class AnnotatedTag:
    """A tag with a message. `target` is the commit it stands on."""

    name: str
    target: str


@dataclass(frozen=True)
class TagObject:
    """An annotated tag that was read from a clone. What a run believes of it, `reconciler.plan.trust` decides."""

    name: str
    """What it is called, with the folder of a fleet that is in one."""
    oid: str
    content: bytes
    git: Git = field(repr=False, compare=False)

    @property
    def made_for(self) -> str:
        """The name that it was made for."""
        headers = os.fsdecode(self.content.partition(b"\n\n")[0]).split("\n")
        return next((line.removeprefix("tag ") for line in headers if line.startswith("tag ")), "")

    @property
    def message(self) -> str:
        """What it says, without its signature."""
        message = self.content.partition(b"\n\n")[2]
        signature = _SIGNATURE.search(message)
        return decoded(message[: signature.start()] if signature else message)

    def file(self) -> bytes | None:
        """The content of the file that it stands on; None where it is on none."""
        found = find(self.git, f"{self.oid}^{{}}", most=_LONGEST_FILE)
        return found.content if found is not None and found.kind == "blob" else None

    def is_signed(self, since: Iterable[datetime] = ()) -> bool:
        """Whether it is under a good signature of a key that git trusts here, whatever it is called.

        That key has to be good when the commit was made that it stands on, and at each time of `since`, too.
        """
        return signed_by_us(self.git, self.oid, since=chain(since, dates_of(self.git, f"{self.oid}^{{}}")))


def read_tag(git: Git, name: str) -> TagObject | None:
    """An annotated tag of this clone; None where there is no such tag."""
    whole = git.tag(name)
    found = find(git, f"refs/tags/{whole}^{{tag}}", most=_LONGEST_RECORD)
    return TagObject(whole, found.oid, found.content, git) if found is not None else None


def tag_message(git: Git, name: str) -> str | None:
    """What an annotated tag of this clone says, without its signature; None where there is no such tag."""
    found = read_tag(git, name)
    return found.message if found is not None else None


def tag_signature(git: Git, name: str, *, signers: Path | None = None) -> Signature:
    """The signature of an annotated tag of this clone: bad where it was made for another name.

    `signers` is as in `signature_of`. Raises Terminal where there is no such tag.
    """
    whole = git.tag(name)
    found = find(git, f"refs/tags/{whole}", most=LONGEST_SIGNED)
    if found is None:
        raise not_there(f"refs/tags/{whole}")
    tag = TagObject(whole, found.oid, found.content, git)
    since = chain(began(tag.name), dates_of(git, f"{found.oid}^{{}}"))
    return as_named(signature_of(git, found.oid, signers=signers, since=since), tag)


def tags_below(git: Git, *prefixes: str) -> tuple[AnnotatedTag, ...]:
    """The annotated tags of this clone whose name starts with one of `prefixes`, paths such as `image/web`; by name."""
    below = [f"refs/tags/{git.tag(prefix)}" for prefix in prefixes]
    listing = git.run("for-each-ref", "--format=%(refname:strip=2)%00%(*objectname)", *below)
    pairs = (line.split("\0") for line in listing.lines)
    own = len(git.tag(""))
    return tuple(AnnotatedTag(name[own:], target) for name, target in pairs if target)


def tags_with(git: Git, text: str, prefix: str) -> tuple[str, ...]:
    """The annotated tags of this clone below a path such as `image` whose message holds a text; by name.

    Whoever may push tags writes what he likes into one: that it names something is no proof.
    """
    names = [one.name for one in tags_below(git, prefix)]
    # A tag's name, which stands in it, is no part of what it says.
    told = holding(git, (f"refs/tags/{git.tag(name)}^{{tag}}" for name in names), text.encode(), most=_LONGEST_RECORD)
    held = [name for name, holds in zip(names, told, strict=True) if holds]
    return tuple(name for name in held if text in (tag_message(git, name) or ""))
