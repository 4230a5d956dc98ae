"""A container registry on loopback, with the Debian in it that instances stand on: for a container image in the demo.

The engine is this machine's own, and the registry Debian's docker-registry, where both are there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO

from reconciler.model.errors import Terminal
from reconciler.model.text import decoded, first_line
from reconciler.sandbox import system

_REGISTRY = "docker-registry"
_SETTINGS = """\
version: 0.1
log: {{level: info}}
storage: {{filesystem: {{rootdirectory: "{content}"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"}}
"""
_LISTENS = re.compile(r"listening on (127\.0\.0\.1:[0-9]+)")
_LABEL = "reconciler.sandbox"
"""What is made here has this label, and whatever is built on it: so it is found again, and removed."""
_LEFT_OUT = ("dev", "proc", "sys", "usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt")
_ANSWER_SECONDS, _SECONDS = 5, 300


def lacking(environment: Mapping[str, str]) -> str:
    """What there is not, of an engine that answers and a registry; empty where both are there."""
    path = environment.get("PATH", "")
    missing = next((program for program in ("docker", _REGISTRY) if shutil.which(program, path=path) is None), None)
    if missing is not None:
        return f"there is no {missing}"
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], env=dict(environment), capture_output=True,
            timeout=_ANSWER_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "docker's engine does not answer"
    return "" if asked.returncode == 0 else "docker's engine does not run"


@contextmanager
def published(folder: Path, name: str, *, environment: Mapping[str, str]) -> Iterator[str]:
    """Run a registry that keeps what it has in a folder, with the sandbox's Debian under a name; `127.0.0.1:port`.

    What the engine got because of it is removed from it in the end.

    Raises:
        Terminal: the registry does not start, or the engine can't take or push it.
        UserError: there is no Debian, and none can be made.
    """
    with _registry(folder, environment) as host:
        try:
            _publish(f"{host}/{name}", environment)
            yield host
        finally:
            _docker("image", "prune", "--all", "--force", "--filter", f"label={_LABEL}", environment=environment)


@contextmanager
def _registry(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    folder.mkdir(parents=True, exist_ok=True)
    settings, log = folder / "registry.yml", folder / "registry.log"
    settings.write_text(_SETTINGS.format(content=folder / "content"), encoding="utf-8")
    with (
        log.open("wb") as told,
        subprocess.Popen(
            [_REGISTRY, "serve", str(settings)], env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        ) as running,
    ):  # fmt: skip
        host, reader = None, None
        try:
            for line in running.stderr or ():
                told.write(line)
                if (found := _LISTENS.search(decoded(line))) is not None:
                    host = found[1]
                    break
            if host is None:
                raise Terminal(f"{_REGISTRY} does not start: {first_line(log.read_text(errors='replace'))}")
            reader = Thread(target=shutil.copyfileobj, args=(running.stderr, told))  # else it would wait for one
            reader.start()
            yield host
        finally:
            running.terminate()
            if reader is not None:
                reader.join()


def _publish(reference: str, environment: Mapping[str, str]) -> None:
    """Take the Debian that instances stand on into the engine, and push it from there."""
    with system.held(lambda _: None) as (root, _lock):
        excluded = [f"--exclude=./{path}" for path in _LEFT_OUT]
        with subprocess.Popen(
            ["tar", "--create", f"--directory={root}", *excluded, "--", "."], stdout=subprocess.PIPE
        ) as packing:
            change = f"LABEL {_LABEL}=demo"
            _docker("import", "--change", change, "-", reference, environment=environment, feed=packing.stdout)
    _docker("push", "--quiet", reference, environment=environment)


def _docker(*arguments: str, environment: Mapping[str, str], feed: IO[bytes] | None = None) -> None:
    try:
        ended = subprocess.run(
            ["docker", *arguments], env=dict(environment), stdin=feed or subprocess.DEVNULL, capture_output=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Terminal(f"docker {arguments[0]} takes longer than {_SECONDS} s") from error
    if ended.returncode != 0:
        raise Terminal(f"docker {arguments[0]}: {first_line(decoded(ended.stderr))}")
