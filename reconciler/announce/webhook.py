"""Announces by a POST that is signed as Standard Webhooks says, so that a receiver verifies it with a library it finds.

    webhook-id:        sha256:…          the announcement's id, the same however often it is told
    webhook-timestamp: 1795342530        when this try was made
    webhook-signature: v1,<base64>       of HMAC-SHA256(secret, id + "." + timestamp + "." + body); one for each secret

Source: standard-webhooks 1.0.0, `spec/standard-webhooks.md`. Its library judges in our tests what is sent here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from reconciler.announce.credentials import Credential, credential
from reconciler.announce.delivery import Post, deliver
from reconciler.announce.patience import Patience
from reconciler.announce.wording import shown_url
from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal
from reconciler.model.receivers import WebhookSettings

_SECRET, _PRIVATE_KEY = "whsec_", "whsk_"
_FEWEST_BYTES = 24
"""Of a secret in the standard's form. A shorter one was pasted in part."""
_DENIED = "the receiver may have another secret (one without `whsec_` counts as it stands), or a wrong clock"
_REFUSED = {
    0: "check `announce.webhook.url` in desired/reconciler.yaml, and the receiver's log",
    401: _DENIED,
    403: _DENIED,
}


class Webhook:
    """A receiver of signed JSON."""

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
        keys = keys_of(credential(self._environment, variable, purpose="secret to sign the webhook with"))
        body = what.body()

        def signed() -> dict[str, str]:
            timestamp = str(int(self._patience.now().timestamp()))
            return {
                "webhook-id": what.id,
                "webhook-timestamp": timestamp,
                "webhook-signature": sign(keys, what.id, timestamp, body),
            }

        to = f"the webhook {shown_url(self._settings.url)}"
        deliver(Post(self._settings.url, body, to=to, headers=signed, refused=_REFUSED), self._patience)


def sign(keys: Iterable[bytes], message_id: str, timestamp: str, body: bytes) -> str:
    """The value of webhook-signature: one signature for each key, with blanks between."""
    content = f"{message_id}.{timestamp}.".encode() + body
    made = (hmac.new(key, content, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(one).decode()}" for one in made)


def keys_of(secret: Credential) -> tuple[bytes, ...]:
    """The keys that a variable holds: those of `whsec_…` with blanks between, else the bytes of the one secret it is.

    Raises Terminal for what says that it is of the standard's form, and is not.
    """
    words = secret.value.split()
    if any(word.startswith(_PRIVATE_KEY) for word in words):
        raise Terminal(
            f"{secret.variable} holds a private key ({_PRIVATE_KEY}…), and webhooks are signed with a shared secret",
            mend=f"set a secret of the form {_SECRET}<base64>",
        )
    if not any(word.startswith(_SECRET) for word in words):
        return (secret.value.encode(),)
    return tuple(_key(word, secret.variable) for word in words)


def _key(word: str, variable: str) -> bytes:
    mend = f"make one by `echo {_SECRET}$(openssl rand -base64 32)`; several have blanks between, and each this form"
    if not word.startswith(_SECRET):
        raise Terminal(f"{variable} holds several secrets, and not all of the form {_SECRET}<base64>", mend=mend)
    try:
        key = base64.b64decode(word.removeprefix(_SECRET), validate=True)
    except binascii.Error as error:
        raise Terminal(f"{variable} holds a secret that is not base64 after {_SECRET}", mend=mend) from error
    if len(key) < _FEWEST_BYTES:
        raise Terminal(f"{variable} holds a secret of {len(key)} bytes, and {_FEWEST_BYTES} are the fewest", mend=mend)
    return key
