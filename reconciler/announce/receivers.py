"""Announces by a signed webhook, or by running a CircleCI pipeline."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from reconciler.announce.access import Credential, RetryPolicy, credential
from reconciler.announce.delivery import Post, deliver
from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Artifact
from reconciler.model.receivers import CIRCLECI_LONGEST_VALUE, CircleCISettings, WebhookSettings, is_private_to_the_wire
from reconciler.model.text import shown_url

# Announces by a POST that is signed as Standard Webhooks says, so that a receiver verifies it with a library it finds.
#
#     webhook-id:        sha256:…          the announcement's id, the same however often it is told
#     webhook-timestamp: 1795342530        when this try was made
#     webhook-signature: v1,<base64>       of HMAC-SHA256(secret, id + "." + timestamp + "." + body); one a secret
#
# Source: standard-webhooks 1.0.0, `spec/standard-webhooks.md`. Its library judges in our tests what is sent here.

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
        self, settings: WebhookSettings, environment: Mapping[str, str], *, policy: RetryPolicy | None = None
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._policy = policy or RetryPolicy()

    def announce(self, what: Announcement) -> None:
        """Post it. Raises Transient or Terminal."""
        variable = self._settings.secret_env
        keys = keys_of(credential(self._environment, variable, purpose="secret to sign the webhook with"))
        body = what.body()

        def signed() -> dict[str, str]:
            timestamp = str(int(self._policy.now().timestamp()))
            return {
                "webhook-id": what.id,
                "webhook-timestamp": timestamp,
                "webhook-signature": sign(keys, what.id, timestamp, body),
            }

        to = f"the webhook {shown_url(self._settings.url)}"
        deliver(Post(self._settings.url, body, to=to, headers=signed, refused=_REFUSED), self._policy)


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
            hint=f"set a secret of the form {_SECRET}<base64>",
        )
    if not any(word.startswith(_SECRET) for word in words):
        return (secret.value.encode(),)
    return tuple(_key(word, secret.variable) for word in words)


def _key(word: str, variable: str) -> bytes:
    hint = f"make one by `echo {_SECRET}$(openssl rand -base64 32)`; several have blanks between, and each this form"
    if not word.startswith(_SECRET):
        raise Terminal(f"{variable} holds several secrets, and not all of the form {_SECRET}<base64>", hint=hint)
    try:
        key = base64.b64decode(word.removeprefix(_SECRET), validate=True)
    except binascii.Error as error:
        raise Terminal(f"{variable} holds a secret that is not base64 after {_SECRET}", hint=hint) from error
    if len(key) < _FEWEST_BYTES:
        raise Terminal(f"{variable} holds a secret of {len(key)} bytes, and {_FEWEST_BYTES} are the fewest", hint=hint)
    return key


# Announces by running a CircleCI pipeline.
#
# `POST /project/{provider}/{organization}/{project}/pipeline/run` of the CircleCI API v2. It takes 100 parameters of at
# most 512 characters each, too few for the whole announcement as JSON: what a validation job needs comes as one
# parameter each, and the lockfile that they name holds the rest.

TOKEN = "CIRCLE_TOKEN"  # noqa: S105 - the variable's name
HOST = "CIRCLECI_CLI_HOST"
"""The variable with the address of CircleCI, for a server of one's own; the CircleCI command line reads the same."""

_REFUSED_PIPELINE = {
    0: "check `announce.circleci` in desired/reconciler.yaml, and that the pipeline's config declares these parameters",
    401: f"CircleCI does not accept {TOKEN}: make a new personal API token (project tokens cannot run pipelines)",
    403: f"the owner of {TOKEN} needs the right to run this project's pipelines",
    404: f"check `announce.circleci.project` and `definition`, and that the owner of {TOKEN} can see the project",
}


class CircleCI:
    """A pipeline of another project, usually the one that validates images."""

    name = "circleci"

    def __init__(
        self, settings: CircleCISettings, environment: Mapping[str, str], *, policy: RetryPolicy | None = None
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._policy = policy or RetryPolicy()

    def announce(self, what: Announcement) -> None:
        """Run the pipeline. Raises Transient or Terminal."""
        host = self._environment.get(HOST, "").rstrip("/") or "https://circleci.com"
        if not is_private_to_the_wire(host):
            raise Terminal(f"{HOST} is no https:// address, and the token must not be read on the way", hint="fix it")
        token = credential(self._environment, TOKEN, purpose="token for CircleCI").value
        branch = {"branch": self._settings.branch}
        run = {
            "definition_id": self._settings.definition,
            "config": branch,
            "checkout": branch,
            "parameters": {**self._settings.parameters, **parameters(what)},
        }
        post = Post(
            f"{host}/api/v2/project/{quote(self._settings.project)}/pipeline/run",
            json.dumps(run).encode(),
            to=f"CircleCI project {self._settings.project}",
            headers=lambda: {"Circle-Token": token},
            refused=_REFUSED_PIPELINE,
        )
        deliver(post, self._policy)


def parameters(what: Announcement) -> dict[str, str]:
    """The pipeline parameters of an announcement, all of them text.

    `artifacts` is `us-east-1=ami-…,eu-west-1=ami-…`; what does not fit is left out, and `…` ends it.
    """
    return {
        "announcement_id": what.id,
        "artifacts": _fitting(what.artifacts),
        "branch": what.branch,
        "build": what.build,
        "commit": what.commit,
        "event": what.event,
        "image": what.image,
        "lockfile": what.lockfile,
        "repository": what.repository or "",
    }


def _fitting(artifacts: tuple[Artifact, ...]) -> str:
    pairs = [f"{artifact.location}={artifact.id}" for artifact in artifacts]
    whole = ",".join(pairs)
    while len(whole) > CIRCLECI_LONGEST_VALUE:
        pairs.pop()
        whole = ",".join([*pairs, "…"])
    return whole
