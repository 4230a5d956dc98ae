"""Announces by a signed POST."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.announce.credentials import credential
from reconciler.announce.delivery import Post, deliver
from reconciler.announce.patience import Patience
from reconciler.announce.signature import DELIVERY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from reconciler.announce.wording import shown_url
from reconciler.model.announcement import Announcement
from reconciler.model.receivers import WebhookSettings

_REFUSED = {
    0: "check `announce.webhook.url` in desired/reconciler.yaml, and the receiver's log",
    401: "the receiver may have another secret, or a clock that is off by minutes",
    403: "the receiver may have another secret, or a clock that is off by minutes",
}


class Webhook:
    """A receiver of signed JSON. The signature is described, with a verifier, in `signature`."""

    name = "webhook"

    def __init__(
        self, settings: WebhookSettings, environment: Mapping[str, str], *, patience: Patience | None = None
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._patience = patience or Patience()

    def announce(self, what: Announcement) -> None:
        """Post it. Raises Transient or Terminal."""
        variable = self._settings.secret_env
        secret = credential(self._environment, variable, purpose="secret to sign the webhook with").value.encode()
        body = what.body()

        def signed() -> dict[str, str]:
            timestamp = str(int(self._patience.now().timestamp()))
            return {
                TIMESTAMP_HEADER: timestamp,
                SIGNATURE_HEADER: sign(secret, timestamp, body),
                DELIVERY_HEADER: what.id,
            }

        to = f"the webhook {shown_url(self._settings.url)}"
        deliver(Post(self._settings.url, body, to=to, headers=signed, refused=_REFUSED), self._patience)
