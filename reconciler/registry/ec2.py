"""AMIs: the registry that is EC2. Each method's work has a module of its own; this one puts them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

from reconciler.model.declaration import AwsSettings
from reconciler.model.observation import Observation, Seen
from reconciler.model.source import Pin, SourceRequest
from reconciler.registry import copies, lookup, observe, sources, write
from reconciler.registry.clock import Clock, Polling
from reconciler.registry.protocol import Located
from reconciler.registry.server_time import server_time
from reconciler.registry.session import Clients, configured_attempts


class Ec2Registry:
    """One fleet's AMIs in one account. Implements `Registry`; making one reads nothing and never fails."""

    def __init__(
        self,
        settings: AwsSettings,
        *,
        fleet: str,
        clock: Clock | None = None,
        polling: Polling | None = None,
        attempts: int | None = None,
        clients: Clients | None = None,
    ) -> None:
        """Take the settings.

        Args:
            settings: Profile and role.
            fleet: Value of the tag `reconciler:fleet`; only what carries it is observed or retired.
            clock: Time; the machine's if absent.
            polling: How often a copy is looked at; every 5 s, then more rarely, up to a minute, if absent.
            attempts: Tries per call before it counts as failed; if absent, AWS_MAX_ATTEMPTS or 8.
            clients: Those of these settings that others of the run ask through; its own if absent.
        """
        self._clients = clients or Clients(settings, attempts=attempts or configured_attempts())
        self._fleet = fleet
        self._clock = clock or Clock()
        self._polling = polling or Polling()
        self._ahead: tuple[tuple[str, ...], Future[Observation]] | None = None

    def expect(self, locations: Sequence[str]) -> None:
        """Begin to read locations that will probably be observed next, while the caller does something else."""
        pool = ThreadPoolExecutor(max_workers=1)
        asked = tuple(locations)
        self._ahead = asked, pool.submit(observe.observe, self._clients, asked, fleet=self._fleet)
        pool.shutdown(wait=False)

    def observe(self, locations: Sequence[str]) -> Observation:
        """Report the fleet's AMIs. See `Registry.observe`. What was expected, and asked for just so, is used once."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == tuple(locations):
            return ahead[1].result()
        return observe.observe(self._clients, locations, fleet=self._fleet)

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one AMI, or None. See `Registry.find`."""
        return lookup.find(self._clients, location, artifact_id, patience=patience, clock=self._clock)

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """Report the account's own AMIs of a name. See `Registry.named`."""
        return lookup.named(self._clients, location, name)

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set tags on an AMI and its snapshots. See `Registry.tag`."""
        write.tag(self._clients, artifact, tags, clock=self._clock)

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        """Set the same tags on many AMIs and their snapshots. See `Registry.tag_all`."""
        write.tag_all(self._clients, location, artifacts, tags, clock=self._clock)

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Begin a copy in another region and return its id. See `Registry.copy`."""
        return copies.copy(self._clients, source, to=to, name=name, tags=tags, token=token)

    def complete_copy(self, made: Located, *, of: Located) -> None:
        """Give a copy what CopyImage left out. See `Registry.complete_copy`."""
        copies.complete_copy(self._clients, made, of=of)

    def wait_available(self, location: str, artifact_id: str, *, timeout: float) -> Seen:
        """Wait for an AMI. See `Registry.wait_available`."""
        return lookup.wait_available(
            self._clients, location, artifact_id, timeout=timeout, polling=self._polling, clock=self._clock
        )

    def retire(self, artifact: Located, *, image: str) -> tuple[str, ...]:
        """Deregister an AMI and delete its snapshots. See `Registry.retire`."""
        return write.retire(self._clients, artifact, fleet=self._fleet, image=image)

    def resolve(self, request: SourceRequest, *, region: str, architecture: str | None = None) -> Pin:
        """Resolve a source to one AMI. See `Registry.resolve`."""
        return sources.resolve(self._clients, request, region=region, architecture=architecture, now=self._clock.now())

    def server_time(self, location: str) -> datetime | None:
        """What time EC2 has. See `Registry.server_time`."""
        return server_time(self._clients, location)
