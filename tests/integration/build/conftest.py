"""Images with real templates, built by the real Packer. None needs AWS: the builders are `file` and `null`."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from reconciler.build.build import Packer
from reconciler.build.packer.binary import Binary, find
from reconciler.model.declaration import Declaration, PackerSettings
from reconciler.model.errors import Place
from reconciler.model.events import Event
from reconciler.model.fleet import Builder, Image, Template, Variable
from reconciler.ports.builder import BuildRequest
from reconciler.registries.ec2.dialect import AMI
from reconciler.registries.other.dialect import OTHER


def where_packer_is() -> dict[str, str]:
    """The variables by which Packer and its plugins are found."""
    return {name: os.environ[name] for name in ("PATH", "PACKER_PLUGIN_PATH") if name in os.environ}


BUILD_ID = "20261122T101530Z-1a2b3c4"


class Requests(Protocol):
    """Makes the request for an image `web` whose folder holds the given files."""

    def __call__(
        self,
        files: dict[str, str],
        *,
        builders: tuple[str, ...],
        packer: dict[str, Any] | None = None,
        variables: tuple[Variable, ...] = (),
        plugins: dict[str, str] | None = None,
        required_version: str = "",
        components: tuple[str, ...] = (),
        **request: Any,
    ) -> BuildRequest: ...


@pytest.fixture
def requests(tmp_path: Path) -> Requests:
    def make(
        files: dict[str, str],
        *,
        builders: tuple[str, ...],
        packer: dict[str, Any] | None = None,
        variables: tuple[Variable, ...] = (),
        plugins: dict[str, str] | None = None,
        required_version: str = "",
        components: tuple[str, ...] = (),
        **request: Any,
    ) -> BuildRequest:
        export = tmp_path / "export"
        for name, text in files.items():
            path = export / "desired" / "web" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)
        templates = tuple(f"desired/web/{name}" for name in files if name.endswith((".pkr.hcl", ".pkr.json", ".json")))
        is_json = templates[0].endswith("template.json")
        image = Image(
            name="web",
            folder="desired/web",
            declaration=Declaration(packer=PackerSettings(**(packer or {}))),
            template=Template(
                format="json" if is_json else "hcl2",
                files=templates,
                builders=tuple(
                    Builder(name.split(".")[-1] if is_json else name, name.split(".")[-2], Place(templates[0]))
                    for name in builders
                ),
                variables={variable.name: variable for variable in variables},
                plugins=plugins or {},
                required_version=required_version,
                components=components,
            ),
            kind=AMI if any("amazon" in name for name in builders) else OTHER,
            source=None,
            locations=(),
            inputs=(),
        )
        values: dict[str, Any] = {
            "build_id": BUILD_ID,
            "key": "sha256:1a2b3c4",
            "run_id": "run-1",
            "export": export,
            "run_folder": tmp_path / "run",
            "log": tmp_path / "logs" / "web.log",
            "environment": {**where_packer_is(), "HOME": str(tmp_path / "home")},
            "timeout": 60.0,
        }
        return BuildRequest(image=image, **{**values, **request})

    return make


@pytest.fixture(scope="session")
def binary(packer_on_path: str) -> Binary:
    assert packer_on_path, "mark the test `packer`"
    return find(os.environ)


@pytest.fixture
def packer(binary: Binary) -> Packer:
    return Packer(binary)


class Heard:
    """A listener that remembers, and can act on what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.react: Callable[[Event], None] | None = None

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if self.react is not None:
            self.react(event)


@pytest.fixture
def heard() -> Heard:
    return Heard()


class Child:
    """A process that a build starts and leaves running. `notes` is a pipe that its pid is written to."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "pid"
        os.mkfifo(self.notes)
        self.pid = 0

    @property
    def start(self) -> str:
        """Shell commands that start it, tell its pid, and wait for it for ever."""
        return f"sleep 1000 & echo $! > {self.notes}; wait"

    def wait_for_start(self) -> None:
        self.pid = int(self.notes.read_text())

    def is_gone(self) -> bool:
        """Whether it ended; a process that was killed may take a moment."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            return bool(select.select([descriptor], [], [], 10)[0])
        finally:
            os.close(descriptor)


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(tmp_path)


@pytest.fixture
def cancelled() -> threading.Event:
    return threading.Event()
