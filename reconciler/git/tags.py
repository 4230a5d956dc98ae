"""Annotated tags: the record of a build that no branch holds yet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reconciler.git.command import Git
from reconciler.git.signature import signature_of, signed_by_us
from reconciler.git.store import Object, find, holding, read
from reconciler.model.text import decoded
from reconciler.model.verification import Signature

_SIGNATURE = re.compile(rb"^-----BEGIN (?:PGP|SSH|SIGNED) (?:SIGNATURE|MESSAGE)-----$", re.MULTILINE)

_LONGEST_RECORD, _LONGEST_FILE = 8 << 20, 64 << 20
"""Bytes of a tag, and of the file that it stands on, that are read. Whoever may push tags writes as much as he likes,
and a record with all that an image is made of has a thousandth of that."""


@dataclass(frozen=True)
class AnnotatedTag:
    """A tag with a message. `target` is the commit it stands on."""

    name: str
    target: str


def tag_message(git: Git, name: str, *, signed: bool = False) -> str | None:
    """The message of an annotated tag in this clone, without its signature; None where there is no such tag.

    With `signed` a tag counts only under a good signature, and under the name that was signed.
    """
    found = _tag(git, name, signed=signed)
    if found is None:
        return None
    _headers, _blank, message = found.content.partition(b"\n\n")
    signature = _SIGNATURE.search(message)
    return decoded(message[: signature.start()] if signature else message)


def tag_content(git: Git, name: str, *, signed: bool = False) -> bytes | None:
    """The file that an annotated tag in this clone stands on; None where there is no such tag, or it is on no file.

    With `signed` as in `tag_message`.
    """
    tag = _tag(git, name, signed=signed)
    found = find(git, f"{tag.oid}^{{}}", most=_LONGEST_FILE) if tag is not None else None
    return found.content if found is not None and found.kind == "blob" else None


def _tag(git: Git, name: str, *, signed: bool) -> Object | None:
    found = find(git, f"refs/tags/{git.tag(name)}^{{tag}}", most=_LONGEST_RECORD)
    if found is None or not signed:
        return found
    return found if _is_of_this_name(git, found, name) and signed_by_us(git, found.oid) else None


def tag_signature(git: Git, name: str, *, signers: Path | None = None) -> Signature:
    """The signature of an annotated tag of this clone: bad where it was made for another name.

    `signers` is as in `signature_of`. Raises Terminal where there is no such tag.
    """
    ref = f"refs/tags/{git.tag(name)}"
    found = read(git, [ref])[ref]
    signature = signature_of(git, found.oid, signers=signers)
    if signature.state == "absent" or _is_of_this_name(git, found, name):
        return signature
    return Signature("bad", form=signature.form, key=signature.key, why="it is of another tag, put under this name")


def _is_of_this_name(git: Git, tag: Object, name: str) -> bool:
    """Whether a tag object was made for this name: whoever may push tags may put a good one under another."""
    return f"\ntag {git.tag(name)}\n".encode() in tag.content.partition(b"\n\n")[0] + b"\n"


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
