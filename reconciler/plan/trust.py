"""The rule of provenance: what a fact that a run reads rests on, and how far it is believed. Here, and nowhere else.

- *Ours*: at the protected head of the branch that state is recorded to, under a good signature where `git.sign` is set.
- *Reviewed*: desired/ at that head.
- *The registry's own word*: owner, creation date, state, ancestry.
- *Hearsay*: annotated tags, marks on artifacts, other branches, caches, answers of receivers, a booted machine's words,
  Packer's output.

Hearsay may make a run look, and saves work only where a second fact of a better kind confirms it. It is never signed,
never written to state/ as if seen, and nothing is tagged, promoted or retired on its word alone. Nor on a lockfile's
alone, which a reviewer may have let pass: an artifact that it names is ours where a second fact says so.

Without `git.sign` whoever may push tags to the repository counts as the team.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar, get_args

from reconciler.model.lockfile import Artifact, Build
from reconciler.model.observation import Seen
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.source import Pin
from reconciler.model.values import began_at, parse_instant
from reconciler.model.verification import Provenance, Signature

_BEST_FIRST: tuple[Provenance, ...] = get_args(Provenance)
ArtifactPlace = tuple[str, str]
"""An artifact's location and id."""


def of_ref(*, signed: bool, sign: bool) -> Provenance:
    """What a tag or a commit beside the recorded branch rests on: `signed` is under a good signature.

    What it says of itself, its author's name as well, counts for nothing.
    """
    return "ours" if signed or not sign else "hearsay"


# What a run believes of a tag, and of a commit beside the recorded branch; and what an auditor does.


class Tag(Protocol):
    """An annotated tag as a clone has it."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def made_for(self) -> str:
        """The name that it was made for, which a signature covers: whoever may push tags may put it under another."""

    def is_signed(self, since: Iterable[datetime] = ()) -> bool:
        """Whether it is under a good signature of a key that is trusted here, and was at each of these times.

        Costs a process. By its own date alone, whoever has a key that expired would make one of today.
        """


T = TypeVar("T", bound=Tag)


def believed(tag: T | None, *, sign: bool, since: Iterable[datetime] = ()) -> T | None:
    """A tag that a run believes; None for one that counts as absent, as where there is none.

    Args:
        tag: What there is under the name that the run looks for.
        sign: Whether `git.sign` is set: then a tag counts under a good signature alone, of that very name, by a key
            that was good when the build began, too.
        since: When what it tells of was there, by what else says so, such as the registry.
    """

    def is_signed(tag: T) -> bool:
        return is_of_its_name(tag) and tag.is_signed((*since, *began(tag.name)))

    return tag if tag is not None and believes(lambda: is_signed(tag), sign=sign) else None


def began(named: str) -> tuple[datetime, ...]:
    """When the build began whose id a name ends with, such as a tag's; nothing where it ends with none."""
    try:
        return (began_at(named.rpartition("/")[2]),)
    except ValueError:
        return ()


def made_at(seen: Iterable[Seen]) -> tuple[datetime, ...]:
    """When artifacts were made, in the registry's own word; not copies, which are made whenever a location is added."""
    return tuple(parse_instant(one.created) for one in seen if one.created and not one.copy_of and not one.hearsay)


def believes(signed: Callable[[], bool], *, sign: bool) -> bool:
    """Whether a run believes what a tag or a commit beside the recorded branch says.

    `signed` tells whether it is under a good signature, which takes git a process: it is asked where that matters.
    """
    return confirms((of_ref(signed=sign and signed(), sign=sign),))


def of_tag(signature: Signature) -> Provenance:
    """What a tag rests on for an auditor: whoever may push tags wrote what is not signed, whatever `git.sign` says."""
    return of_ref(signed=signature.state == "good", sign=True)


def as_named(signature: Signature, tag: Tag) -> Signature:
    """The signature of a tag: bad where it was made for another name."""
    if signature.state == "absent" or is_of_its_name(tag):
        return signature
    return replace(signature, state="bad", by="", why="it is of another tag, put under this name")


def is_of_its_name(tag: Tag) -> bool:
    """Whether a tag is called as it was when it was made."""
    return tag.made_for == tag.name


def of_commit(*, at_head: bool, signed: bool, sign: bool) -> Provenance:
    """What a commit of state/ rests on.

    Args:
        at_head: Whether it is on the branch that state is recorded to.
        signed: Whether it is under a good signature.
        sign: Whether it had to be signed.
    """
    return of_ref(signed=signed, sign=sign or not at_head)


def of_content(*, at_head: bool) -> Provenance:
    """What desired/ rests on as it stands in a commit: who signs a commit of another branch reviews nothing."""
    return "reviewed" if at_head else "hearsay"


def ranked(kinds: Iterable[Provenance]) -> tuple[Provenance, ...]:
    """What a fact rests on, once each, the best first: that one counts."""
    found = frozenset(kinds)
    return tuple(one for one in _BEST_FIRST if one in found)


def confirms(kinds: Iterable[Provenance]) -> bool:
    """Whether a fact is more than hearsay: something of a better kind says so, too."""
    return any(one != "hearsay" for one in kinds)


def is_marked(seen: Seen, *, fleet: str, names: Collection[str], build_id: str) -> bool:
    """Whether an artifact's own marks say what a lockfile says: that it is this build, of this image and fleet.

    `names` are the image's: its own, and the one that it had.
    """
    return seen.own("fleet") == fleet and seen.own("image") in names and seen.own("build") == build_id


def is_named(seen: Seen, *, image: str) -> bool:
    """Whether an artifact has the name that we give to a build, which nobody can write later, as they can its marks."""
    return not seen.hearsay and seen.name == f"{image}-{seen.own('build')}"


def is_in_record(seen: Seen, tagged: Iterable[Artifact], *, build_id: str, twins: Collection[str] = ()) -> bool:
    """Whether the record in a build's tag names an artifact: itself, or as what it was copied from, whose name it has.

    That this account owns it is the registry's own word, and has to be asked beside that. `twins` are builds of which
    state/ records the very artifact as well: what was lost and came out of the next build byte for byte the same has,
    where ids are digests, the id that it had, and carries the marks of that build. Then the tag has to name itself.
    """
    if seen.own("build") not in (None, build_id):
        return seen.own("build") in twins and any((one.location, one.id) == seen.place for one in tagged)
    return any((one.location, one.id) == (seen.location, seen.id) or (one.name or "") == seen.name for one in tagged)


def certain(seen: Iterable[Seen], known: Iterable[ArtifactPlace]) -> tuple[Seen, ...]:
    """Those artifacts that are known to be a build's, and the copies of such, in the registry's own word; in order.

    The marks of a build are easily put on something else. What it is a copy of, nobody writes but the registry.
    """
    found, sure = tuple(seen), set(known)
    while more := {one.place for one in found if one.copy_of in sure} - sure:
        sure |= more
    return tuple(one for one in found if one.place in sure)


def stands_for(result: SmokeTestResult | None, *, suite: str) -> bool:
    """Whether a test that passed stands for the one that is asked for: it was run by the same suite and settings."""
    return result is not None and result.status == "passed" and result.suite == suite


def built_on(told: Pin | None, wanted: Pin | None, *, ours: bool, parents: Iterable[Pin]) -> Pin | None:
    """What an adopted build was built on: its record tells more of the same source than its artifact's marks do.

    Of another image of the fleet no more is believed than its own lockfile confirms: a build that names a parent which
    nobody revokes would not be revoked with its own.

    Args:
        told: The pin in the build's record.
        wanted: What the image is to be built on now.
        ours: Whether that record is of state/. Else whoever may push tags may have written it.
        parents: What is recorded of the image that is wanted as the source.
    """
    if told is None or wanted is None or told.identity != wanted.identity:
        return wanted or told
    confirmed = ours or wanted.image is None or any(_is_part(told, of=one) for one in (wanted, *parents))
    return told if confirmed else wanted


def _is_part(pin: Pin, *, of: Pin) -> bool:
    """Whether a pin to a build of the fleet names that build, and nothing as its artifacts that is not one."""
    same = (pin.image, pin.build, pin.key) == (of.image, of.build, of.key)
    return same and (pin.artifacts or {}).items() <= (of.artifacts or {}).items()


_DAY = timedelta(days=1)
"""How far what a record says of its times may be off: an image is looked at again after days."""


def in_time(build: Build, *, by: datetime) -> Build:
    """A build that a tag records, without when it began and ended where that cannot be.

    Whoever may push tags would have it come to its age in a hundred years, and never be refreshed. Then its id tells
    when it began, which is held against the registry's own date. `by` is when it was there at the latest.
    """
    if build.started is None:
        return build
    began, started = began_at(build.id), parse_instant(build.started)
    ended = started + timedelta(seconds=build.seconds or 0)
    fits = abs(started - began) <= _DAY and ended <= by + _DAY
    return build if fits else build.model_copy(update={"started": None, "seconds": None})
