"""One fleet in one account of AWS: what whoever speaks to EC2 on its behalf is made with."""

from __future__ import annotations

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.session import Clients, configured_attempts
from reconciler.model.declaration import AwsSettings


class FleetInAccount:
    """Holds the clients, the fleet's name and the time; making one reads nothing and never fails."""

    polling = Polling()
    """How often what takes its time is looked at, where nobody says otherwise."""

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
            fleet: Value of the tag `reconciler:fleet`; only what carries it is observed, swept or retired.
            clock: Time; the machine's if absent. An interrupt that its `sleep` raises ends every wait.
            polling: How often what takes its time is looked at; `polling` of the class if absent.
            attempts: Tries per call before it counts as failed; if absent, AWS_MAX_ATTEMPTS or 8.
            clients: Those of these settings that others of the run ask through; its own if absent.
        """
        self._clients = clients or Clients(settings, attempts=attempts or configured_attempts())
        self._fleet = fleet
        self._clock = clock or Clock()
        self._polling = polling or self.polling
