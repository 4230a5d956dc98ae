"""What container images need of this machine: an engine that runs, in which they are built, kept and tested."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model.errors import ReconcilerError, Transient
from reconciler.ports.needs import Asking, Need
from reconciler.registries.oci.engine import Engine, start_of

_SERVER = {"docker": "{{.ServerVersion}}", "podman": "{{.Version.Version}}"}
"""Where `info` has the version of what answers (docker-info(1), podman-info(1))."""
_SECONDS = 20.0


def needs(asking: Asking) -> Iterator[Need]:
    """Ask each engine that builds or tests for its version: no other call tells whether it runs."""
    engines = {"docker"} if asking.booted else set()
    engines |= {"podman" if one == "podman" else "docker" for one in asking.builders}
    for program in sorted(engines):
        try:
            version = Engine(program, asking.environment).run("info", "--format", _SERVER[program], seconds=_SECONDS)
        except ReconcilerError as error:
            start = (start_of(program),) if isinstance(error, Transient) else ()
            yield Need(error.what, "trouble", error.hint or start)
        else:
            yield Need(f"the engine of {program} runs: {version.strip()}")
