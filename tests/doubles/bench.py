"""Instances in memory, for the steps' tests and simulated fleets. They pass the contract test that EC2's pass.

What a test needs to arrange stands beside the `Instances` methods: where there is no room, what the console says,
regions that can't be asked, instances that die.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product

from reconciler.model.errors import ReconcilerError, Transient
from reconciler.ports.bench import LIFE, BootRequest, Instance
from reconciler.registries.ec2.launch import EC2_CHOOSES, Place, Refusal, exhausted

_SMALLEST = ("t3.micro", "t3a.micro")
_FULL = "InsufficientInstanceCapacity"


@dataclass
class MemoryInstances:
    """One fleet's instances. Implements `Instances`."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    """When instances are born."""
    address: str = "127.0.0.1"
    """Of every instance."""
    full: set[str] = field(default_factory=set)
    """Instance types and subnets that have no room."""
    lines: tuple[str, ...] = ()
    """What every console says."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Regions that can't be asked, and the reason, until a test takes them out again."""
    missing: set[str] = field(default_factory=set)
    """Ids of artifacts that are not there."""
    refused: ReconcilerError | None = None
    """Set it, and nothing can be booted."""
    calls: Counter[str] = field(default_factory=Counter)
    """How often each method was called."""
    key_pairs: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    """The public half of each key pair that there is, and when it was made, by name."""
    requests: list[BootRequest] = field(default_factory=list)
    """Every boot that was asked for, in order."""
    _born: dict[str, Instance] = field(default_factory=dict)
    _ended: dict[str, str] = field(default_factory=dict)
    _until: dict[str, datetime] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def running(self) -> tuple[Instance, ...]:
        """Every instance that nobody has ended, in order of birth."""
        with self._lock:
            return tuple(one for one in self._born.values() if one.id not in self._ended)

    @property
    def kept(self) -> dict[str, datetime]:
        """Until when somebody keeps an instance, by its id."""
        with self._lock:
            return {one.id: self._until[one.id] for one in self.running if self._until[one.id] != self.now + LIFE}

    def kill(self, instance: Instance, *, state: str = "terminated") -> None:
        """Let an instance come to an end by itself."""
        with self._lock:
            self._ended[instance.id] = state

    def boot(self, request: BootRequest) -> Instance:
        """Start an instance. See `Instances.boot`."""
        with self._asked("boot", request.artifact.location):
            self.requests.append(request)
            if self.refused is not None:
                raise self.refused
            if request.artifact.id in self.missing:
                raise Transient(f"booting {request.artifact.id}: nobody knows it")
            kind = self._with_room(request)
            number = len(self._born) + 1
            name = f"smoke-test-{request.name}-{number:08x}"
            request.private_key.touch(mode=0o600)
            instance = Instance(
                location=request.artifact.location,
                id=f"i-{number:017x}",
                type=kind,
                address=self.address,
                user=request.user,
                private_key=request.private_key,
                key_name=name,
                security_group=f"sg-{number:017x}",
            )
            self._born[instance.id] = instance
            self._until[instance.id] = self.now + LIFE
            return instance

    def state(self, instance: Instance) -> str:
        """What became of it. See `Instances.state`."""
        with self._asked("state", instance.location):
            return self._ended.get(instance.id, "running" if instance.id in self._born else "missing")

    def console(self, instance: Instance) -> tuple[str, ...]:
        """What `lines` says. See `Instances.console`."""
        self.calls["console"] += 1
        return () if instance.location in self.unreadable else self.lines

    def keep(self, instance: Instance, *, until: datetime) -> None:
        """Leave it running. See `Instances.keep`."""
        with self._asked("keep", instance.location):
            self._until[instance.id] = until

    def terminate(self, instance: Instance) -> None:
        """End it. See `Instances.terminate`."""
        with self._asked("terminate", instance.location):
            self._ended[instance.id] = "terminated"
            instance.private_key.unlink(missing_ok=True)

    def public_key(self, location: str, key_pair: str, *, since: datetime) -> str | None:
        """What `key_pairs` has. See `Instances.public_key`."""
        with self._asked("public_key", location):
            public, made = self.key_pairs.get(key_pair, ("", since))
            return public if public and made >= since else None

    def sweep(self, location: str, *, now: datetime) -> Sequence[str]:
        """End what is expired. See `Instances.sweep`."""
        with self._asked("sweep", location):
            due = tuple(one.id for one in self.running if one.location == location and self._until[one.id] < now)
            self._ended |= dict.fromkeys(due, "terminated")
            return due

    def _with_room(self, request: BootRequest) -> str:
        places = [Place(subnet) for subnet in request.subnets] or [EC2_CHOOSES]
        refusals = []
        for kind, place in product(request.instance_types or _SMALLEST, places):
            if self.full.isdisjoint({kind, place.subnet}):
                return kind
            refusals.append(Refusal(kind, place, _FULL))
        raise exhausted(refusals, doing=f"booting {request.artifact.id} in {request.artifact.location}")

    def _asked(self, method: str, location: str) -> threading.RLock:
        with self._lock:
            self.calls[method] += 1
            if location in self.unreadable:
                raise Transient(f"{method} in {location}: {self.unreadable[location]}")
        return self._lock
