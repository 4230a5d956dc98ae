"""Announces by running a CircleCI pipeline.

`POST /project/{provider}/{organization}/{project}/pipeline/run` of the CircleCI API v2. It takes 100 parameters of at
most 512 characters each, too few for the whole announcement as JSON: what a validation job needs comes as one parameter
each, and the lockfile that they name holds the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

from reconciler.announce.credentials import credential
from reconciler.announce.delivery import Post, deliver
from reconciler.announce.patience import Patience
from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Artifact
from reconciler.model.receivers import CIRCLECI_LONGEST_VALUE, CircleCISettings, is_private_to_the_wire

TOKEN = "CIRCLE_TOKEN"  # noqa: S105 - the variable's name
HOST = "CIRCLECI_CLI_HOST"
"""Where CircleCI is, for a server of one's own; the CircleCI command line reads the same."""

_REFUSED = {
    0: "check `announce.circleci` in desired/reconciler.yaml, and that the pipeline's config declares these parameters",
    401: f"CircleCI does not accept {TOKEN}: make a new personal API token (project tokens cannot run pipelines)",
    403: f"the owner of {TOKEN} needs the right to run this project's pipelines",
    404: f"check `announce.circleci.project` and `definition`, and that the owner of {TOKEN} can see the project",
}


class CircleCI:
    """A pipeline of another project, usually the one that validates images."""

    name = "circleci"

    def __init__(
        self, settings: CircleCISettings, environment: Mapping[str, str], *, patience: Patience | None = None
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._patience = patience or Patience()

    def announce(self, what: Announcement) -> None:
        """Run the pipeline. Raises Transient or Terminal."""
        host = self._environment.get(HOST, "").rstrip("/") or "https://circleci.com"
        if not is_private_to_the_wire(host):
            raise Terminal(f"{HOST} is no https:// address, and the token must not be read on the way", mend="mend it")
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
            refused=_REFUSED,
        )
        deliver(post, self._patience)


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
