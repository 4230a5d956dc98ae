"""The engine on this machine in which Packer left an image: docker, or podman, by its own command."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.model.fleet import Builder
from reconciler.model.json_text import json_object
from reconciler.model.text import decoded, first_line
from reconciler.ports.dialect import Made
from reconciler.ports.machine import Machine
from reconciler.registries.oci.output import MOST, TooMuch, taken
from reconciler.registries.plain import files_left, is_made_after

_SECONDS = 120
_PUSH_SECONDS = 3600
"""A layer of gigabytes over a slow line; Packer's own push has no limit at all."""
_SHOWN = 64 << 10
"""Bytes of what is only shown."""
_REFUSED = re.compile(r"denied|unauthorized|authentication required|no basic auth|forbidden", re.IGNORECASE)
_IMMUTABLE = re.compile(r"immutable", re.IGNORECASE)
_PUSHED = re.compile(r"^\S+: digest: (sha256:[0-9a-f]{64}) size: [0-9]+\s*$", re.MULTILINE)
_LOADED = re.compile(r"Loaded image(?: ID)?(?:\(s\))?: (\S+)")
_DOWN = re.compile(r"(?:unable to|cannot) connect to|error during connect|connection refused", re.IGNORECASE)
_ANSWERS = {"docker": "{{.Server.Version}}", "podman": "{{.Client.Version}}"}
"""What `version` is asked for: the engine's own, of docker; podman's command is the engine, or asks one elsewhere."""
_ANSWERS_SECONDS = 20.0
_NOT_LET_IN = re.compile(r"permission denied while trying to connect", re.IGNORECASE)
_GONE = re.compile(r"no such (?:object|container)", re.IGNORECASE)


_NONE = "<none>"
"""What `images` says in the place of a tag, or of a digest, that there is not."""
_CHOSEN = ("DOCKER_HOST", "DOCKER_CONTEXT")
"""What a person says of docker's engine; docker's `currentContext` is as good."""
_SOCKET = Path("/var/run/docker.sock")
_PODMANS = "podman/podman.sock"
"""Where podman's service listens, below a user's runtime folder, and below /run for root (podman-system-service(1))."""


def with_engine(environment: Mapping[str, str], *, socket: Path = _SOCKET, run: Path = Path("/run")) -> dict[str, str]:
    """The environment in which `docker` finds an engine: podman's, where nobody names one and docker's is not here."""
    given = dict(environment)
    if any(given.get(name) for name in _CHOSEN) or socket.exists() or _has_context(given):
        return given
    folders = [Path(given["XDG_RUNTIME_DIR"])] if given.get("XDG_RUNTIME_DIR") else []
    for one in (folder / _PODMANS for folder in (*folders, run)):
        if one.is_socket() and os.access(one, os.R_OK | os.W_OK):
            return {**given, "DOCKER_HOST": f"unix://{one}"}
    return given


def _has_context(environment: Mapping[str, str]) -> bool:
    """Whether docker's settings name a context, which has an engine of its own."""
    folder = environment.get("DOCKER_CONFIG") or f"{environment.get('HOME', '')}/.docker"
    try:
        return bool(json_object(Path(folder, "config.json").read_bytes()).get("currentContext"))
    except OSError:
        return False


@dataclass(frozen=True)
class Engine:
    """A command that does what docker's does. `environment` is what it is run in, and `cancelled` ends it."""

    program: str
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cancelled: threading.Event | None = None

    def image(self, made: Sequence[Made]) -> str:
        """The id of the one image that Packer left, however often it reported it: each of its steps names it anew.

        It is what a post-processor saved, where one did. Raises UserError where it left several, or none that this
        engine has.
        """
        archives = files_left(made)
        saved = any(is_made_after(one) for one in archives)
        names = dict.fromkeys(one.id for one in made if one.id and not one.files)
        ids = dict.fromkeys(self._id_of(name) for name in names) if not saved else {}
        if not ids:
            ids = dict.fromkeys(self._load(file) for one in archives for file in one.files)
        if len(ids) != 1:
            left = ", ".join(names) or "none"
            raise UserError(
                f"an image is one container image, and Packer left {len(ids)}: {left}", hint="have it leave one"
            )
        return next(iter(ids))

    def push(self, image: str, reference: str) -> str | None:
        """Push an image under a reference, and take that off the engine again.

        Returns the digest that was pushed, as docker says it at its end; podman says none. Raises Terminal where the
        registry refuses, Transient for whatever else is in the way.
        """
        self.run("tag", image, reference)
        try:
            pushed = _PUSHED.findall(self.run("push", reference, seconds=_PUSH_SECONDS))
        finally:
            self.run("rmi", reference, check=False)
        return pushed[-1] if pushed else None

    def untagged(self, repository: str) -> Sequence[str]:
        """The digests of a repository by which it has an image that has no tag there. Raises as `run` does."""
        form = ("--digests", "--no-trunc", "--format", "{{.Tag}} {{.Digest}}")
        rows = [line.split() for line in self.run("images", *form, repository).splitlines()]
        tagged = {digest for tag, digest in rows if tag != _NONE}
        return [one for one in dict.fromkeys(digest for _, digest in rows) if one not in tagged and one != _NONE]

    def let_go(self, reference: str) -> None:
        """Forget an image by one of its names, where no container is of it; with its last name it goes."""
        self.run("rmi", reference, check=False)

    def _id_of(self, name: str) -> str:
        return self.run("image", "inspect", "--format", "{{.Id}}", name).strip()

    def _load(self, file: str) -> str:
        """Take in an archive as `docker save` writes it."""
        try:
            said = self.run("load", "--input", file)
        except Terminal as error:
            raise UserError(
                f"Packer left {Path(file).name}, which {self.program} can't load as an image: {error.what}",
                hint="set commit = true in the builder, or add the post-processor docker-import",
            ) from error
        names = _LOADED.findall(said)
        if len(names) != 1:
            raise UserError(f"{Path(file).name} holds {len(names)} images", hint="have Packer leave one")
        return self._id_of(names[0])

    def run(self, *arguments: str, seconds: float = _SECONDS, check: bool = True) -> str:
        """What a command of it prints; with `check` it has to end well, and else it is the end of what it prints.

        Raises:
            UserError: the command is not installed, or its user may not ask the engine.
            Terminal: what it is asked about is not there, or a registry refuses.
            Transient: whatever else is in the way: the engine is down, it takes longer than `seconds`, prints without
                end, or is cancelled.
        """
        ended = self._ended(arguments, seconds=seconds, shown=not check)
        if ended.returncode != 0 and check:
            raise self._failure(arguments[0], decoded(ended.stderr))
        return decoded(ended.stdout if check else ended.stdout + ended.stderr)

    def logs(self, container: str, *, lines: int) -> str:
        """The last lines that a container printed, to either of its outputs. Raises as `run` does."""
        ended = self._ended(("logs", "--tail", f"{lines}", container), seconds=_SECONDS, shown=True)
        if ended.returncode != 0:
            raise self._failure("logs", decoded(ended.stderr))
        return decoded(ended.stdout + ended.stderr)

    def _ended(
        self, arguments: Sequence[str], *, seconds: float, shown: bool
    ) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        """A command of it that has ended by itself. Of what is only `shown` the end is kept."""
        command, until = [self.program, *arguments], time.monotonic() + seconds
        try:
            process = subprocess.Popen(
                command, env=with_engine(self.environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise UserError(
                f"{self.program} is not installed here, by which container images are kept and tested",
                hint=f"install the command {self.program} where reconciler runs",
            ) from error
        with process:
            try:
                out, errors = taken(
                    process, check=lambda: self._refuse_stopped(arguments[0], until=until, seconds=seconds),
                    last=shown, most=_SHOWN if shown else MOST,
                )  # fmt: skip
            except TooMuch as error:
                raise Transient(f"{self.program} {arguments[0]}: {error.what}") from error
            finally:
                process.kill()
        return subprocess.CompletedProcess(command, process.returncode, out, errors)

    def _refuse_stopped(self, verb: str, *, until: float, seconds: float) -> None:
        if self.cancelled is not None and self.cancelled.is_set():
            raise Transient(f"interrupted in {self.program} {verb}")
        if time.monotonic() > until:
            raise Transient(f"{self.program} {verb} takes longer than {seconds:.0f} s")

    def _failure(self, verb: str, stderr: str) -> ReconcilerError:
        lines = [line for line in stderr.splitlines() if line.strip() and "--help" not in line]
        what = f"{self.program} {verb}: {first_line(lines[-1] if lines else 'it failed, and says nothing')}"
        if _NOT_LET_IN.search(stderr):
            return UserError(
                f"{self.program}'s engine does not let this user in",
                hint="run reconciler as somebody who may (root, the group docker), or name another in DOCKER_HOST",
            )
        if _IMMUTABLE.search(stderr):
            return Terminal(what, hint="the registry lets no tag be moved: allow it for those of this repository")
        if verb in ("push", "pull") and _REFUSED.search(stderr):
            return Terminal(what, hint=f"`{self.program} login`, as somebody who may {verb} there")
        return (
            Terminal(what)
            if verb in ("image", "inspect", "load", "rm", "tag") and not _DOWN.search(stderr)
            else Transient(what)
        )


def is_gone(error: Terminal) -> bool:
    """Whether an engine says that what it was asked about is not there."""
    return _GONE.search(error.what) is not None


def engine_of(made: Sequence[Made], environment: Mapping[str, str]) -> Engine:
    """The engine that Packer built in: podman's plugin says so in its builder's id or name."""
    podman = any("podman" in (one.builder_id or "") or one.builder.startswith("podman.") for one in made)
    return Engine("podman" if podman else "docker", environment)


@dataclass
class Engines:
    """The engines on this machine that container images are built in. Implements `Machine`; each is asked once."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    _asked: dict[str, ReconcilerError | None] = field(default_factory=dict)

    def best(self) -> str:
        """Nothing: no builder of container images leaves a choice."""
        return ""

    def refusal(self, builder: Builder, location: str) -> ReconcilerError | None:
        """Why its engine can't be reached: it is down, or lets this user not in. All else its builder finds out."""
        del location
        program = "podman" if builder.type == "podman" else "docker"
        if program not in self._asked:
            self._asked[program] = unreachable(Engine(program, self.environment))
        return self._asked[program]


def unreachable(engine: Engine) -> ReconcilerError | None:
    """Why an engine can't be reached, in its own words, and what to do about it; None where it answers, or may."""
    try:
        engine.run("version", "--format", _ANSWERS[Path(engine.program).name], seconds=_ANSWERS_SECONDS)
    except UserError as error:
        return error
    except ReconcilerError as error:
        return Transient(error.what, hint=start_of(engine.program)) if _DOWN.search(error.what) else None
    return None


def start_of(program: str) -> str:
    """How a person has an engine run that does not."""
    return f"start it (`systemctl start {program}`), or name another in DOCKER_HOST"


def open_machine() -> Machine:
    """The engines on this machine, none of which was asked yet."""
    return Engines()
