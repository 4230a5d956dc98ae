"""Container images as containers to be tested: from the digest, with nothing of the image's own running in them."""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from reconciler.model.errors import ReconcilerError, Terminal, UserError
from reconciler.model.text import first_line
from reconciler.model.values import told_moment
from reconciler.ports.bench import LIFE, STARTED, BootRequest, Instance, Instances, Reached
from reconciler.ports.registry import Opening
from reconciler.registries.machines import last_lines
from reconciler.registries.oci.engine import Engine, is_gone, with_engine

_PROGRAM = "docker"
_PULL_SECONDS = 3600
_LINES = 20
_LIVES_SECONDS, _LOOK = 3.0, 0.2
"""For how long what an image runs by itself is watched: what lacks something ends with its first steps."""
_STATE = "{{.State.Running}}|{{.State.ExitCode}}|{{.State.Error}}"
_NOTHING_DECLARED = re.compile(r"no command(?: or entrypoint)? (?:specified|provided)", re.IGNORECASE)
_FLEET = "reconciler.fleet"
"""The label of what is started here. Until when one is kept is in its name: a label can't be changed."""
_LONGEST_KEPT = timedelta(days=1)
_NAMED = re.compile(r"smoke-test-[a-zA-Z0-9_.-]+-[0-9a-f]{8}|kept-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")
"""The names that a boot, or its keeping, gives."""
_NO_SHELL = re.compile(r"exec: \"?(?:/bin/)?sh\"?:|no such file or directory|executable file not found", re.IGNORECASE)
_OURS = (
    "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "CONTAINER_HOST",
    "CONTAINERS_CONF", "CONTAINERS_REGISTRIES_CONF", "CONTAINERS_STORAGE_CONF", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
)  # fmt: skip
"""What the command finds its engine by: docker's ("Environment variables"), and podman's (podman(1)) in its place."""


@dataclass(frozen=True)
class Containers:
    """Implements `Instances`. `environment` is what the engine's command is run in; `cancelled` ends a boot."""

    fleet: str
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cancelled: threading.Event | None = None

    @property
    def _engine(self) -> Engine:
        return Engine(_PROGRAM, self.environment)

    def boot(self, request: BootRequest) -> Instance:
        """Pull an image by its digest and start a shell of it, which waits. See `Instances.boot`.

        It ends by itself after a day, whatever becomes of us. What the image runs by itself is started before, apart,
        and ended: in the container that is tested it does not run.
        """
        image = f"{request.artifact.location}@{request.artifact.id}"
        engine = Engine(_PROGRAM, self.environment, self.cancelled)
        engine.run("pull", "--quiet", image, seconds=_PULL_SECONDS)
        own_start = self._own_start(image, request, engine)
        name = f"smoke-test-{re.sub(r'[^a-zA-Z0-9_.-]', '-', request.name)}-{secrets.token_hex(4)}"
        user = "0" if request.user == "root" else request.user  # an image may have no password file
        wait = f"sleep {int(_LONGEST_KEPT.total_seconds())}"
        try:
            started = engine.run(
                "run", "--detach", "--name", name, "--user", user,
                *self._labels(request),
                "--entrypoint", "sh", image, "-c", wait, seconds=request.timeout,
            ).strip()  # fmt: skip
        except BaseException as error:
            with suppress(ReconcilerError):  # what went wrong first is told
                self._remove(name)
            if isinstance(error, ReconcilerError) and _NO_SHELL.search(error.what):
                raise UserError(
                    f"{image} can't be tested from inside: there is no `sh` in it",
                    hint="say so in image.yaml: `smoke_test: {boot: false}`",
                ) from error
            raise
        id_ = started[:12]
        reaching = with_engine(self.environment)
        ours = {name: reaching[name] for name in _OURS if name in reaching}
        if "DOCKER_CONFIG" not in ours and "HOME" in self.environment:
            ours["DOCKER_CONFIG"] = (
                f"{self.environment['HOME']}/.docker"  # of its contexts; a test has a home of its own
            )
        reached = Reached(f"docker://{id_}", (_PROGRAM, "exec", "--interactive", id_), ours, own_start)
        return Instance(
            location=request.artifact.location, id=id_, type="container", address="", user=request.user,
            private_key=request.private_key, key_name="", security_group="", reached=reached,
        )  # fmt: skip

    def _own_start(self, image: str, request: BootRequest, engine: Engine) -> str:
        """What comes of what an image declares: its entrypoint, command and user. See `Reached.own_start`.

        No shell is needed for it, and no command is given. What ends with 0 has done what it is for.
        """
        name = f"smoke-test-own-{secrets.token_hex(4)}"
        try:
            engine.run("create", "--name", name, *self._labels(request), image)
        except ReconcilerError as error:
            if _NOTHING_DECLARED.search(error.what):
                return ""
            raise
        try:
            engine.run("start", name, seconds=request.timeout, check=False)
            until = time.monotonic() + _LIVES_SECONDS
            while True:
                running, code, why = engine.run("inspect", "--format", _STATE, name).rstrip("\n").split("|", 2)
                if why:
                    return f"can't be started: {first_line(why)}"
                if running != "true" and code != "0":
                    return f"ended at once, with exit code {code}"
                if running != "true" or time.monotonic() > until:
                    return STARTED
                time.sleep(_LOOK)
        finally:
            self._remove(name)

    def _labels(self, request: BootRequest) -> Sequence[str]:
        labels = {**request.tags, _FLEET: self.fleet}
        return [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]

    def state(self, instance: Instance) -> str:
        """`running`, `stopped` or `terminated`: an engine lists at once what it made. See `Instances.state`."""
        try:
            said = self._engine.run("inspect", "--format", "{{.State.Running}}", instance.id)
        except Terminal as error:
            if is_gone(error):
                return "terminated"
            raise
        return "running" if said.strip() == "true" else "stopped"

    def console(self, instance: Instance) -> tuple[str, ...]:
        """The last lines that it printed. See `Instances.console`."""
        try:
            return last_lines(self._engine.logs(instance.id, lines=_LINES))
        except ReconcilerError:
            return ()

    def keep(self, instance: Instance, *, until: datetime) -> None:
        """Leave it to a person. See `Instances.keep`."""
        self._engine.run("rename", instance.id, f"kept-{until.astimezone(UTC):%Y%m%dT%H%M%SZ}-{instance.id}")

    def terminate(self, instance: Instance) -> None:
        """Remove it, with its own volumes. See `Instances.terminate`."""
        self._remove(instance.id)

    def public_key(self, location: str, key_pair: str, *, since: datetime) -> str | None:
        """There are no key pairs. See `Instances.public_key`."""
        del location, key_pair, since
        return None

    def sweep(self, location: str, *, now: datetime) -> Sequence[str]:
        """Remove what killed runs of the fleet left in this engine, wherever it is from. See `Instances.sweep`."""
        del location
        listed = self._engine.run(
            "ps", "--all", "--no-trunc", "--filter", f"label={_FLEET}={self.fleet}", "--format",
            "{{.ID}}\t{{.Names}}\t{{.CreatedAt}}",
        )  # fmt: skip
        # An image may have any label, and gives it to whatever anybody runs of it; a name is a container's own.
        left = [id_[:12] for id_, name, made in (line.split("\t") for line in listed.splitlines())
                if _NAMED.fullmatch(name) and (until := _until(name, made)) is not None and until < now]  # fmt: skip
        for id_ in left:
            self._remove(id_)
        return left

    def _remove(self, container: str) -> None:
        """Killed first: its shell heeds no SIGTERM, and podman 4.3 was seen to wait for that for ever."""
        self._engine.run("kill", container, check=False)
        try:
            self._engine.run("rm", "--force", "--volumes", container)
        except Terminal as error:
            if not is_gone(error):
                raise


def _until(name: str, made: str) -> datetime | None:
    """Until when a container may be there: `2026-11-29 13:23:05 +0000 UTC` is how docker says when it was made.

    None where neither says a time: it stays.
    """
    kept = re.match(r"kept-([0-9]{8}T[0-9]{6}Z)-", name)
    if kept is not None:
        return told_moment(kept[1])
    words = made.split()
    begun = told_moment("T".join(words[:2]) + "".join(words[2:3]))
    return begun + LIFE if begun is not None else None


def open_bench(opening: Opening) -> Instances:
    """The containers of a fleet, in the engine that this machine's `docker` speaks to."""
    return Containers(opening.fleet, cancelled=opening.cancelled)
