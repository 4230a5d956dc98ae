"""What the steps ask of whoever builds, and get: a build, or why it came to nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from reconciler.model.declaration import Settings
from reconciler.model.errors import Place, Terminal
from reconciler.model.events import Listener
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, PackerVersions
from reconciler.ports.dialect import Made


@dataclass(frozen=True)
class BuildRequest:
    """One build of one image.

    `export` is the root of a clean checkout of the commit that is built, `below` the fleet's folder in it, from which
    all paths of the declaration are counted; empty where that is the root. `run_folder` is for what is gone after the
    build, `log` for what is kept. `location` is where to build, and `source` what the template is given of what it is
    built on. `timeout` is in seconds. `environment` is what Packer inherits, to which its kind adds by the
    fleet's `settings`. Tags are
    by key. `on_key_pair` is told the name of the temporary key pair that the build logs in with, once it is there; it
    must return at once, and not raise.
    """

    image: Image
    build_id: str
    key: str
    run_id: str
    export: Path
    run_folder: Path
    log: Path
    environment: Mapping[str, str]
    timeout: float
    settings: Settings = field(default_factory=Settings)
    location: str | None = None
    source: str | None = None
    image_tags: Mapping[str, str] = field(default_factory=dict)
    run_tags: Mapping[str, str] = field(default_factory=dict)
    estimate_seconds: int | None = None
    on_key_pair: Callable[[str], None] = lambda _: None
    below: str = ""

    @property
    def root(self) -> Path:
        """The fleet's folder in the export; absolute."""
        return self.export.absolute() / self.below


@dataclass(frozen=True)
class BuildResult:
    """What a build left. An image may be in several locations; all of them are here.

    `artifacts` are of the image's kind, and `made` is all that Packer reported, with absolute paths. `source` is what
    Packer says it built on, None where it said nothing or builds said different ones. `seconds` are whole, from
    Packer's start to its end.
    """

    artifacts: tuple[Artifact, ...]
    seconds: int
    packer: PackerVersions
    log: Path
    source: str | None = None
    made: tuple[Made, ...] = ()


class Builder(Protocol):
    """Whoever builds. Called from several threads at once, for different images."""

    def build(self, request: BuildRequest, *, listener: Listener, cancelled: threading.Event) -> BuildResult:
        """Build, and tell the listener of every step.

        Once `cancelled` is set the build is stopped and cleaned up after; nothing of it runs on when this returns.

        Raises:
            BuildFailed: it failed, timed out, was cancelled, or left nothing (`reconciler.ports.builder`).
            UserError: it cannot be started as declared.
            Transient: what it needs could not be fetched.
        """


@dataclass(frozen=True)
class Provisioner:
    """A provisioner by its type in the template, and its script as Packer names it; None for inline ones."""

    type: str
    script: str | None = None


# A build that came to nothing, with what a person and the next run need to know of it.

Cause = Literal[
    "failed", "timed-out", "cancelled", "killed", "no-artifact", "not-packer", "machine", "not-wanted", "unmarked"
]  # fmt: skip


class BuildFailed(Terminal):
    """Packer ran, and there is no image to record. Told from other errors so that its attempts are counted.

    `cause` is one of:
        failed: a build ended with an error, in `provisioner` if that is not None.
        timed-out: it was stopped after its time.
        cancelled: it was stopped because it was asked to, by us or by somebody else's signal.
        killed: Packer died by a signal of somebody else, without cleaning up.
        no-artifact: it ended well and left nothing.
        not-packer: what was printed is not what Packer prints.
        machine: what Packer runs on lacks something: a program, room on a disk, credentials.
        not-wanted: it ended well, and what it left is not what was asked for.
        unmarked: it ended well, and what it left could not be marked as complete. `made` is its record.

    `tail` holds the last lines, at most 20, without secrets. `seconds` are whole, since Packer's start. `artifacts` are
    what Packer reported to have left. `mentioned` are the ids that a build printed as its own before it failed,
    when Packer reports none: hearsay, as a script may print the same. `cleaned_up` is False where Packer was killed, so
    that an instance may be left. `version` is that of the Packer that ran, and `may_be_too_old` says that it refused
    what a later one may know; both are set by whoever knows which Packer it was.
    """

    def __init__(
        self,
        what: str,
        *,
        cause: Cause,
        seconds: int,
        log: Path,
        tail: Sequence[str] = (),
        provisioner: Provisioner | None = None,
        artifacts: Sequence[Artifact] = (),
        mentioned: Sequence[str] = (),
        made: Build | None = None,
        cleaned_up: bool = True,
        name_taken: tuple[str, tuple[str, ...]] | None = None,
        where: Place | None = None,
        hint: str | Sequence[str] = (),
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.cause = cause
        self.seconds = seconds
        self.log = log
        self.tail = tuple(tail)
        self.provisioner = provisioner
        self.artifacts = tuple(artifacts)
        self.mentioned = tuple(mentioned)
        self.made = made
        self.cleaned_up = cleaned_up
        self.name_taken, self.name_holders = name_taken or ("", ())
        self.version = ""
        self.may_be_too_old = False

    @property
    def counts(self) -> bool:
        """Whether the image failed: not where somebody stopped it, nor where the same is built well elsewhere."""
        return self.cause not in ("cancelled", "machine", "not-packer")
