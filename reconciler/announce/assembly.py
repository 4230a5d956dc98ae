"""The announcers that a fleet's settings ask for."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.announce.patience import Patience
from reconciler.announce.protocol import Announcer
from reconciler.model.declaration import AwsSettings
from reconciler.model.receivers import AnnounceSettings


def announcers(
    settings: AnnounceSettings,
    environment: Mapping[str, str],
    *,
    aws: AwsSettings | None = None,
    patience: Patience | None = None,
) -> tuple[Announcer, ...]:
    """The announcers in order of their keys under `announce:`; none where nothing is asked for.

    Never raises and calls nobody: a missing token is found when there is something to announce, and is that
    announcement's failure. Each library is loaded only when its announcer is asked for (boto3 and PyGithub take a
    third of a second each).

    Args:
        settings: The `announce:` part of desired/reconciler.yaml.
        environment: Where tokens and secrets stand. boto3 looks into the process's own.
        aws: The role and profile for SNS and EventBridge.
        patience: How long receivers are waited for.
    """
    aws = aws or AwsSettings()
    patience = patience or Patience()
    asked: list[Announcer] = []
    if settings.github is not None and settings.github.dispatch is not None:
        from reconciler.announce.dispatch import Dispatch  # noqa: PLC0415 - see above
        from reconciler.announce.github_api import GitHub  # noqa: PLC0415 - see above

        github = GitHub(environment, patience=patience)
        asked.append(Dispatch(settings.github.dispatch, github, event_type=settings.github.event_type))
    if settings.circleci is not None:
        from reconciler.announce.circleci import CircleCI  # noqa: PLC0415 - see above

        asked.append(CircleCI(settings.circleci, environment, patience=patience))
    if settings.webhook is not None:
        from reconciler.announce.webhook import Webhook  # noqa: PLC0415 - see above

        asked.append(Webhook(settings.webhook, environment, patience=patience))
    if settings.sns is not None:
        from reconciler.announce.sns import Sns  # noqa: PLC0415 - see above

        asked.append(Sns(settings.sns, aws))
    if settings.eventbridge is not None:
        from reconciler.announce.eventbridge import EventBridge  # noqa: PLC0415 - see above

        asked.append(EventBridge(settings.eventbridge, aws))
    return tuple(asked)
