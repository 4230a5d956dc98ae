"""What happens during a run, as it is told to the terminal and the log. `name` is stable: logs are searched for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol


@dataclass(frozen=True)
class Event:
    """Something that happened to an image."""

    name: ClassVar[str] = "event"
    image: str


@dataclass(frozen=True)
class Waiting(Event):
    """The image waits for others."""

    name: ClassVar[str] = "image.waiting"
    on: tuple[str, ...]


@dataclass(frozen=True)
class Started(Event):
    """Packer starts. `estimate_seconds` is from earlier builds."""

    name: ClassVar[str] = "build.started"
    build: str
    estimate_seconds: int | None
    log: str


@dataclass(frozen=True)
class Step(Event):
    """Packer entered a step: `Creating temporary keypair`, `provisioning with shell script: setup.sh`."""

    name: ClassVar[str] = "build.step"
    what: str


@dataclass(frozen=True)
class Built(Event):
    """Packer left an artifact; `seconds` since it started."""

    name: ClassVar[str] = "build.built"
    build: str
    location: str
    artifact: str
    seconds: int


@dataclass(frozen=True)
class Booting(Event):
    """An instance of what was built is started, to be tested. `estimate_seconds` is from the last test."""

    name: ClassVar[str] = "smoke-test.started"
    build: str
    location: str
    artifact: str
    estimate_seconds: int | None = None


@dataclass(frozen=True)
class Testing(Event):
    """The smoke test entered a step: `waiting for SSH`, `test_nginx_serves`, `reading packages`."""

    __test__: ClassVar[bool] = False  # pytest would take its name for a test's
    name: ClassVar[str] = "smoke-test.step"
    what: str


@dataclass(frozen=True)
class Tested(Event):
    """The smoke test ended. `status` is passed, failed or skipped; `why` says what failed, or why it was skipped.

    `findings` are lines of what was found that breaks nothing.
    """

    __test__: ClassVar[bool] = False  # pytest would take its name for a test's
    name: ClassVar[str] = "smoke-test.ended"
    build: str
    status: str
    tests: int
    seconds: int
    why: str = ""
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unchanged(Event):
    """A refresh brought nothing new: the build that was there stays."""

    name: ClassVar[str] = "image.unchanged"
    build: str
    kept: str


@dataclass(frozen=True)
class Adopted(Event):
    """An artifact that was there already is taken instead of building."""

    name: ClassVar[str] = "image.adopted"
    build: str


@dataclass(frozen=True)
class Copied(Event):
    """A copy is complete in another location."""

    name: ClassVar[str] = "artifact.copied"
    build: str
    location: str
    artifact: str


@dataclass(frozen=True)
class Converted(Event):
    """An artifact is kept in another format beside it."""

    name: ClassVar[str] = "artifact.converted"
    build: str
    location: str
    artifact: str
    format: str


@dataclass(frozen=True)
class Settled(Event):
    """A verdict is recorded. `stable` is the channel's build from now on."""

    name: ClassVar[str] = "verdict.recorded"
    build: str
    verdict: str
    by: str
    stable: str | None


@dataclass(frozen=True)
class Retired(Event):
    """An artifact and what it was stored in are gone."""

    name: ClassVar[str] = "artifact.retired"
    location: str
    artifact: str
    formats: tuple[str, ...] = ()
    """In which it was kept beside itself: that went with it."""


@dataclass(frozen=True)
class Tended(Event):
    """Something of an artifact was set right beside its marks: who may use it, deprecation, protection, disabling."""

    name: ClassVar[str] = "artifact.tended"
    what: str


@dataclass(frozen=True)
class Published(Event):
    """Consumers find another artifact under a name, or, where `artifact` is None, the name is gone."""

    name: ClassVar[str] = "channel.published"
    location: str
    parameter: str
    artifact: str | None


@dataclass(frozen=True)
class Recorded(Event):
    """The lockfile is in the repository: `commit` was pushed to `branch` (or committed, without a remote)."""

    name: ClassVar[str] = "state.recorded"
    commit: str
    branch: str
    pushed: bool


@dataclass(frozen=True)
class Skipped(Event):
    """Nothing was done, and why."""

    name: ClassVar[str] = "image.skipped"
    why: str


@dataclass(frozen=True)
class Warned(Event):
    """Something a person should know, that stopped nothing."""

    name: ClassVar[str] = "image.warning"
    what: str


@dataclass(frozen=True)
class Failed(Event):
    """The image failed. `tail` holds the last lines of its build, or of its test, redacted."""

    name: ClassVar[str] = "image.failed"
    what: str
    tail: tuple[str, ...] = ()
    of: Literal["build", "test"] = "build"
    log: str | None = None
    notes: tuple[str, ...] = ()


class Listener(Protocol):
    """Whoever is told. Called from several threads; must not raise."""

    def __call__(self, event: Event) -> None:
        """Take one event."""
