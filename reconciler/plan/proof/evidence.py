"""What a clone holds about one build, and since when its commits have to be signed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.lockfile import RULED, Artifact, Build
from reconciler.model.observation import Seen
from reconciler.model.provenance import Statement
from reconciler.model.publish import Published
from reconciler.model.source import Channel
from reconciler.model.verification import Provenance, Signature, Verification
from reconciler.plan.history import Unreadable
from reconciler.plan.proof.provenance import SubjectOf
from reconciler.plan.trust import of_commit, of_content, of_tag

# What a clone holds about one build: all that `reconciler.plan.proof.verification` judges by.


@dataclass(frozen=True)
class Writing:
    """The commit that first wrote something as it is now."""

    what: str
    commit: str
    author: str
    """`Name <address>`."""
    subject: str
    trailers: Mapping[str, tuple[str, ...]]
    """The values of each `Reconciler-…` trailer, by its name without that."""
    signature: Signature
    needed: str = ""
    """Why it had to be signed, as half a sentence; empty where it had not."""
    cut_off: bool = False
    """Whether a shallow clone begins with this commit: then the writer is an older one, which is not there."""
    at_head: bool = False
    """Whether the commit is on the branch that state is recorded to."""

    @property
    def kind(self) -> Provenance:
        """What it rests on."""
        return of_commit(at_head=self.at_head, signed=self.signature.state == "good", sign=bool(self.needed))

    @property
    def short(self) -> str:
        """The commit as people write it."""
        return self.commit[:7]


@dataclass(frozen=True)
class Pointed:
    """A channel, and the commit that last pointed it to where it is."""

    channel: Channel
    writing: Writing


@dataclass(frozen=True)
class Content:
    """What an image was declared to be at a commit: the digests of the key's components, or why they are not known."""

    commit: str
    components: Mapping[str, str] | None
    why: str = ""
    at_head: bool = False
    """Whether the commit is on the branch that state is recorded to."""

    @property
    def kind(self) -> Provenance:
        """What it rests on."""
        return of_content(at_head=self.at_head)


@dataclass(frozen=True)
class Attestation:
    """A statement as it was found; None where `why` says what is wrong with the file."""

    path: str
    statement: Statement | None
    signature: Signature
    why: str = ""


@dataclass(frozen=True)
class SbomFile:
    """An SBOM as it was found: the digest of its bytes, and that of the inventory in it; None where `why` says why."""

    path: str
    sha256: str | None
    inventory: str | None
    why: str = ""


@dataclass(frozen=True)
class TagRecord:
    """An annotated tag. `build` is the record in it, or None where it holds none."""

    name: str
    target: str
    build: Build | None
    signature: Signature

    @property
    def kind(self) -> Provenance:
        """What it rests on: whoever may push tags may write what they like in one that is not signed."""
        return of_tag(self.signature)


@dataclass(frozen=True)
class Parent:
    """What is found of the parent's build; nothing where that is an image from outside, or nowhere recorded."""

    found: Verification | None = None
    key: str | None = None
    """As it is recorded."""
    unreadable: str = ""
    """Why it is not known whether it is recorded: its lockfile can't be read."""


@dataclass(frozen=True)
class Look:
    """What the registry said of one artifact: what it has there, None for nothing, or why it could not be asked."""

    artifact: Artifact
    seen: Seen | None = None
    is_own: bool = False
    """Whether the account that was asked owns it: anybody may offer an artifact, and whoever may tag, tag that."""
    unreadable: str = ""


@dataclass(frozen=True)
class Name:
    """A name that a channel of the build has in a location, and the id that it holds; None for none."""

    at: Published
    artifact: Artifact
    """What it should hold."""
    holds: str | None = None
    unreadable: str = ""


@dataclass(frozen=True)
class Evidence:
    """One build, and all that is known of it."""

    image: str
    names: tuple[str, ...]
    """What the image was called, the newest name first."""
    build: Build
    branch: str
    direct: bool
    """Whether state is pushed as it was recorded, so that every commit of state/ is one of ours, with our trailers."""
    sign: str
    """Why what was recorded had to be signed, as half a sentence; empty where it had not."""
    recorded: Writing
    """Who wrote what of the record is settled when it is recorded."""
    first: Build
    """The record as that commit left it."""
    others: tuple[Writing, ...]
    """Who wrote the record as it is now, its statement, signature and SBOM."""
    at_built: Content
    at_recorded: Content
    commit_known: bool
    on_branch: bool
    """Whether the commit that was built is on the branch that is looked at."""
    shallow: bool
    subject: SubjectOf
    """What an artifact is named by in a statement."""
    built_where_source_is: bool = True
    """Whether what is of its kind is built on a source where that is alone."""
    attestation: Attestation | None = None
    sbom: SbomFile | None = None
    tag: TagRecord | None = None
    parent: Parent = Parent()
    now_unreadable: Unreadable | None = None
    """Where the build was found in an older lockfile, since the one of now can't be read."""
    pointed: Pointed | None = None
    """Who pointed the channel to it by which it was asked for; None where it was asked for by itself."""
    looks: tuple[Look, ...] | None = None
    """None where the registry was not asked."""
    published: tuple[Name, ...] = ()
    """The names of the channel by which it was asked for; none where nobody looked."""

    @property
    def signed_by_commits(self) -> bool:
        """Whether all that is recorded of it was committed under a key that is trusted."""
        return all(one.signature.state == "good" for one in (self.recorded, *self.others))


def settled(build: Build) -> dict[str, Any]:
    """What of a record no later commit changes, but one that records the build anew."""
    later = {"files", "artifacts", "verified", "verdict", "phase", "provenance", *RULED}
    return build.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=later)


def whole(build: Build) -> dict[str, Any]:
    """A record, but for its files: only the newest build of a lockfile lists them, and their digest is in the key."""
    return build.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"files"})


# Since when commits have to be signed, and who may end that: whoever turns `git.sign` off must sign it.


@dataclass(frozen=True)
class Setting:
    """What a commit's settings say of signatures: asked for or not; None where they can't be read."""

    commit: str
    parents: tuple[str, ...]
    asked: bool | None


@dataclass(frozen=True)
class Required:
    """Whether signatures are required. `ended_by` is the commit that ended it and was not believed, or empty."""

    required: bool
    ended_by: str = ""


def required_before(oldest_first: Iterable[Setting], *, trusted: Callable[[str], bool]) -> Mapping[str, Required]:
    """What was required of each commit by those before it.

    A commit's own word does not count for itself, since it may be forged; but the first has nothing else. A commit
    inherits what any of its parents requires, so that no merge with an older branch takes it away. It ends with a
    commit that turns it off and is itself `trusted`: signed by a key that is known. Settings that can't be read
    turn nothing off.

    Args:
        oldest_first: Every commit, parents before children; a parent that is not there is unknown (a shallow clone).
        trusted: Whether a commit, by its id, is well signed. Asked only of those that turn signatures off.
    """
    nothing, asked = Required(required=False), Required(required=True)  # made once: of commits there are many
    before: dict[str, Required] = {}
    after: dict[str, Required] = {}
    for one in oldest_first:
        known = [after[parent] for parent in one.parents if parent in after]
        held = [parent for parent in known if parent.required]
        own = asked if one.asked else nothing
        # Prefer a parent whose requirement no untrusted commit tried to end: it explains more simply.
        inherited = min(held, key=lambda parent: parent.ended_by) if held else nothing
        before[one.commit] = inherited if known else own
        if own.required or not held:
            since = own
        elif one.asked is None or inherited.ended_by:
            since = inherited
        else:
            since = own if trusted(one.commit) else Required(required=True, ended_by=one.commit)
        after[one.commit] = since
    return before
