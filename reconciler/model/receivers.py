"""Who is told: the `announce:` part of `desired/reconciler.yaml`."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from reconciler.model.values import Model

REPOSITORY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$"
CIRCLECI_PARAMETERS = (
    "announcement_id", "artifacts", "branch", "build", "commit", "event", "image", "lockfile", "repository",
)  # fmt: skip
"""The pipeline parameters that every announcement fills. The config of the project must declare each as a string."""
CIRCLECI_LONGEST_VALUE = 512
"""Characters in a pipeline parameter's value (CircleCI API v2, `PipelineRequest`: 100 entries, 128 per key)."""


def is_private_to_the_wire(url: str) -> bool:
    """Whether what is sent there cannot be read on the way: https, or http that never leaves this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class GitHubSettings(Model):
    """What GitHub is told. The token is RECONCILER_GITHUB_TOKEN, else GITHUB_TOKEN."""

    statuses: bool = Field(True, description="A commit status `reconciler/<image>` on what is built.")
    comment: bool = Field(True, description="One comment on the pull request, kept up to date.")
    dispatch: str | None = Field(
        None, description="A repository (owner/name) that gets a repository_dispatch event.", pattern=REPOSITORY_PATTERN
    )
    event_type: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="The type of every dispatched event; absent: by the event, such as image-candidate.",
    )


class CircleCISettings(Model):
    """A CircleCI pipeline to run. The token is CIRCLE_TOKEN."""

    project: str = Field(
        description="The project's slug: gh/owner/name, or circleci/<organization>/<project>.",
        pattern=r"^[a-z]+/[^/\s]+/[^/\s]+$",
    )
    definition: str = Field(
        description="The pipeline definition's id (Project Settings, Pipelines).",
        pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    )
    branch: str = Field("main", description="Where the config is taken from, and what is checked out.", min_length=1)
    parameters: dict[str, str] = Field({}, description="Further pipeline parameters, sent as they are.")

    @model_validator(mode="after")
    def _parameters_are_free_and_fit(self) -> Self:
        taken = sorted(self.parameters.keys() & set(CIRCLECI_PARAMETERS))
        if taken:
            raise ValueError(f"these parameters are filled from the announcement: {', '.join(taken)}")
        long = sorted(name for name, value in self.parameters.items() if len(value) > CIRCLECI_LONGEST_VALUE)
        if long:
            raise ValueError(f"CircleCI takes {CIRCLECI_LONGEST_VALUE} characters in a parameter: {', '.join(long)}")
        return self


class WebhookSettings(Model):
    """A receiver of signed JSON."""

    url: str = Field(description="https, or http on this machine. Redirects are not followed.")
    secret_env: str = Field(
        "RECONCILER_WEBHOOK_SECRET",
        description="The environment variable that holds the secret to sign with; or several `whsec_…`.",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    )

    @field_validator("url")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("no user and no password in the URL: this file is in git, and the body is signed anyway")
        if not is_private_to_the_wire(url):
            raise ValueError("a webhook is reached by https://, or by http:// on this machine only")
        return url


class SnsSettings(Model):
    """An SNS topic, standard or FIFO."""

    topic: str = Field(
        description="The topic's ARN.",
        pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$",
    )


class EventBridgeSettings(Model):
    """An EventBridge bus. The detail type is `image candidate`, `image stable` and so on, by the event."""

    bus: str = Field("default", description="The bus's name or ARN.", pattern=r"^[A-Za-z0-9/_.:-]{1,1600}$")
    region: str = Field(description="The region of the bus.", pattern=r"^[a-z0-9-]+$")
    source: str = Field("reconciler", description="The events' source.", pattern=r"^[A-Za-z0-9_.-]{1,256}$")

    @field_validator("source")
    @classmethod
    def _is_not_of_aws(cls, source: str) -> str:
        # PutEvents answers NotAuthorizedForSourceException to it.
        if source.startswith("aws."):
            raise ValueError("sources that begin with aws. are those of AWS's own services")
        return source


class AnnounceSettings(Model):
    """Who is told what becomes of each build (docs/announcements.md lists the events); absent: nobody."""

    github: GitHubSettings | None = Field(None, description="Commit statuses, a comment, repository_dispatch.")
    circleci: CircleCISettings | None = Field(None, description="A pipeline to run.")
    webhook: WebhookSettings | None = Field(None, description="A receiver of signed JSON.")
    sns: SnsSettings | None = Field(None, description="An SNS topic.")
    eventbridge: EventBridgeSettings | None = Field(None, description="An EventBridge bus.")

    @property
    def names(self) -> tuple[str, ...]:
        """The announcers that are asked for, as the tags call them that remember what was told."""
        asked = {name: getattr(self, name) for name in type(self).model_fields}
        silent = self.github is not None and self.github.dispatch is None
        return tuple(name for name, one in asked.items() if one is not None and not (name == "github" and silent))
