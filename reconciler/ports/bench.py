"""What the controller asks for to boot an artifact, whatever cloud it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from reconciler.model.errors import Terminal
from reconciler.ports.registry import Located

LIFE = timedelta(hours=2)
"""How long an instance that nobody ended may stay before it is swept. A test that needs longer asks to `keep` it."""


@dataclass(frozen=True)
class BootRequest:
    """One instance of one artifact, reachable over SSH with a key of its own.

    Args:
        artifact: What is booted, in its own location.
        name: What is in the name of the instance, its key and its security group: `web-20261122T101530Z-1a2b3c4`.
            Two boots may have the same.
        user: Who will log in; told to nobody, and part of the answer.
        instance_types: In order of preference; empty: the smallest that fits the artifact's architecture.
        subnets: In order of preference; empty: those of the default VPC.
        allow_from: CIDR blocks that may reach port 22.
        tags: On everything that is made, from its first second. What a killed run left is found by them.
        timeout: Seconds for the instance to be running with an address. It says nothing of SSH.
        private_key: Where the private key is written, for the owner alone. Its folder is there.
    """

    artifact: Located
    name: str
    user: str
    instance_types: tuple[str, ...]
    subnets: tuple[str, ...]
    allow_from: tuple[str, ...]
    tags: Mapping[str, str]
    timeout: float
    private_key: Path


STARTED = "started"
"""What is said of an artifact that runs by itself what it declares."""


@dataclass(frozen=True)
class Reached:
    """How an instance is reached that has no SSH of its own.

    Args:
        host: What pytest-testinfra calls it: one of its backends, `://`, and who it is there.
        command: What a command is put after to be run there.
        environment: What that needs beside PATH.
        own_start: What came of what the artifact runs by itself, which was started apart: `STARTED`, or what became of
            it in words; empty where it declares nothing, or nobody looked.
    """

    host: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    own_start: str = ""


@dataclass(frozen=True)
class Instance:
    """A running instance, and what was made for it; nothing of a key or an address where it is `reached` otherwise."""

    location: str
    id: str
    type: str
    address: str
    user: str
    private_key: Path
    key_name: str
    security_group: str
    port: int = 22
    reached: Reached | None = None


class EndsWithItsRun(Terminal):
    """What can't be kept, as it ends with the run that booted it, and so is swept by no other while that lives."""


class Instances(Protocol):
    """A place that boots artifacts. Methods may be called from several threads, and raise as `Registry`'s do."""

    def boot(self, request: BootRequest) -> Instance:
        """Start an instance and wait until it runs and has an address. Whatever goes wrong, nothing of it stays.

        Raises Transient where no type, subnet or zone had capacity; UserError for what a person declared wrongly
        (no such subnet or type, no default VPC); Terminal where the right is missing.
        """

    def state(self, instance: Instance) -> str:
        """`running`, or what became of it: `shutting-down`, `terminated`, `stopped`, `missing`."""

    def console(self, instance: Instance) -> tuple[str, ...]:
        """The last lines of its console; empty where the cloud has none yet. Never raises for a failed read."""

    def keep(self, instance: Instance, *, until: datetime) -> None:
        """Leave it running for a person to look at. Swept once `until` has passed. Raises EndsWithItsRun."""

    def terminate(self, instance: Instance) -> None:
        """End it, and remove its key, the private one too, and its security group.

        Idempotent: what is gone already is no error. Waits some minutes at most for it to end; raises Transient where
        that takes longer. Only the security group is left then, for a later sweep.
        """

    def public_key(self, location: str, key_pair: str, *, since: datetime) -> str | None:
        """The public half of a key pair that was made since then, as a line of authorized_keys.

        None where there is none of that name, or an older one.
        """

    def sweep(self, location: str, *, now: datetime) -> Sequence[str]:
        """Remove what killed runs of this fleet left behind there; returns the ids of the instances.

        That is what is older than `LIFE`, was kept until before `now`, or is known to be of a run that ended. What a
        run may still be using, or somebody keeps, stays, with its key and security group. A security group goes with
        the sweep after its instance's, as nothing here is waited for. On any failed read nothing is removed.
        """
