"""The announcers that a fleet's settings ask for, and telling them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.announce.access import RetryPolicy
from reconciler.model.announcement import Announcement
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal, Transient
from reconciler.model.receivers import AnnounceSettings
from reconciler.ports.announcer import Announcer

if TYPE_CHECKING:
    from reconciler.aws.session import Clients


def announcers(
    settings: AnnounceSettings,
    environment: Mapping[str, str],
    *,
    aws: AwsSettings | None = None,
    clients: Clients | None = None,
    policy: RetryPolicy | None = None,
) -> tuple[Announcer, ...]:
    """The announcers in order of their keys under `announce:`; none where nothing is asked for.

    Never raises and calls nobody: a missing token is found when there is something to announce, and is that
    announcement's failure. Each library is loaded only when its announcer is asked for (boto3 and PyGithub take a
    third of a second each).

    Args:
        settings: The `announce:` part of desired/reconciler.yaml.
        environment: Where tokens and secrets stand. boto3 looks into the process's own.
        aws: The role and profile for SNS and EventBridge.
        clients: AWS's, of a run that is signed in already; absent, SNS and EventBridge sign in by themselves.
        policy: How long receivers are waited for.
    """
    aws = aws or AwsSettings()
    policy = policy or RetryPolicy()
    asked: list[Announcer] = []
    if settings.github is not None and settings.github.dispatch is not None:
        from reconciler.announce.github_api import Dispatch, GitHub  # noqa: PLC0415 - see above

        github = GitHub(environment, policy=policy)
        asked.append(Dispatch(settings.github.dispatch, github, event_type=settings.github.event_type))
    if settings.circleci is not None:
        from reconciler.announce.receivers import CircleCI  # noqa: PLC0415 - see above

        asked.append(CircleCI(settings.circleci, environment, policy=policy))
    if settings.webhook is not None:
        from reconciler.announce.receivers import Webhook  # noqa: PLC0415 - see above

        asked.append(Webhook(settings.webhook, environment, policy=policy))
    if settings.sns is not None:
        from reconciler.announce.aws import Sns  # noqa: PLC0415 - see above

        asked.append(Sns(settings.sns, aws, clients=clients))
    if settings.eventbridge is not None:
        from reconciler.announce.aws import EventBridge  # noqa: PLC0415 - see above

        asked.append(EventBridge(settings.eventbridge, aws, clients=clients))
    return tuple(asked)


# Telling them all.


@dataclass(frozen=True)
class Untold:
    """One announcement that one announcer could not deliver. To be told again by the next run."""

    announcer: str
    what: Announcement
    error: Transient | Terminal


def tell(announcers: Iterable[Announcer], news: Sequence[Announcement]) -> tuple[Untold, ...]:
    """Tell every announcer all the news, in order, and return what failed.

    Raises none of the errors that an announcer may raise: a build that is recorded stays recorded. An announcer that
    failed is not asked again in this call; one dead receiver would else hold a run up once for every image.
    """
    untold: list[Untold] = []
    for announcer in announcers:
        broken: Transient | Terminal | None = None
        for what in news:
            if broken is None:
                try:
                    announcer.announce(what)
                    continue
                except (Transient, Terminal) as error:
                    broken = error
            untold.append(Untold(announcer.name, what, broken))
    return tuple(untold)
