"""What the controller asks for and gets, whoever builds: Packer, or a simulation of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reconciler.model.events import Listener
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, PackerVersions


@dataclass(frozen=True)
class BuildRequest:
    """One build of one image.

    `export` is the root of a clean checkout of the commit that is built, `below` the fleet's folder in it, from which
    all paths of the declaration are counted; empty where that is the root. `run_folder` is for what is gone after the
    build, `log` for what is kept. `region` is where to build, None for builders that know no regions. `timeout` is in
    seconds. `environment` is the whole environment that Packer inherits. Tags are by key. `on_key_pair` is told the
    name of the temporary key pair that the build logs in with, once it is there; it must return at once, and not raise.
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
    region: str | None = None
    source_ami: str | None = None
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
    """What a build left. An image may be in several regions; all of them are here.

    `source_ami` is the AMI that Packer says it built on, None where it said nothing or builds said different ones.
    `seconds` are whole, from Packer's start to its end.
    """

    artifacts: tuple[Artifact, ...]
    seconds: int
    packer: PackerVersions
    log: Path
    source_ami: str | None = None


class Builder(Protocol):
    """Whoever builds. Called from several threads at once, for different images."""

    def build(self, request: BuildRequest, *, listener: Listener, cancelled: threading.Event) -> BuildResult:
        """Build, and tell the listener of every step.

        Once `cancelled` is set the build is stopped and cleaned up after; nothing of it runs on when this returns.

        Raises:
            BuildFailed: it failed, timed out, was cancelled, or left nothing (`reconciler.build.failure`).
            UserError: it cannot be started as declared.
            Transient: what it needs could not be fetched.
        """
