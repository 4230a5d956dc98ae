"""Announces to an SNS topic and to an EventBridge bus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own name for it
    HTTPClientError,
    NoCredentialsError,
)

from reconciler.aws.errors import BY_CODE, EXPIRED, NOT_ALLOWED, OTHER
from reconciler.aws.session import Clients
from reconciler.model.announcement import Announcement, as_said
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.receivers import EventBridgeSettings, SnsSettings
from reconciler.model.text import first_line

# How SNS and EventBridge are called, and what their errors mean for whoever was to be told.

CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=10)
"""Of every client: it gives up after three tries, so that a run is not held up."""

_GONE = frozenset({"NotFound", "NotFoundException", "ResourceNotFoundException"})
_SIGN_IN = "give the job AWS credentials, or see `aws.profile` and `aws.role` in desired/reconciler.yaml"


@contextmanager
def translated(to: str, *, action: str) -> Iterator[None]:
    """Raise errors of ours in place of botocore's, which stay on as the cause.

    Args:
        to: Who is told: `the topic arn:…`.
        action: The IAM action that it takes: `sns:Publish`.
    """
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(told.get("Code", "Unknown"))
        refused = "sts:AssumeRole" if error.operation_name == "AssumeRole" else action
        raise refusal(to, code, str(told.get("Message", "")), status=status, action=refused) from error
    except NoCredentialsError as error:
        raise Terminal(f"{to} was not told: no AWS credentials were found", hint=_SIGN_IN) from error
    except (ConnectionError, HTTPClientError) as error:
        raise Transient(
            f"{to} was not told: AWS can't be reached ({type(error).__name__})", hint="the next run tells it again"
        ) from error
    except BotoCoreError as error:
        raise Terminal(f"{to} was not told: {first_line(str(error))}", hint=_SIGN_IN) from error


def refusal(to: str, code: str, message: str, *, status: int, action: str) -> ReconcilerError:
    """The error that stands for an AWS error code. A code nobody knows is Terminal, unless the status is 5xx."""
    what = f"{to} was not told: {first_line(message) or 'no message'} ({code})"
    rule = BY_CODE.get(code, OTHER)
    if rule.error is Transient or status >= 500:
        return Transient(what, hint="the next run tells it again")
    if rule is NOT_ALLOWED:
        return Terminal(what, hint=f"allow {action} for the role that runs this, here and in the receiver's policy")
    if code in _GONE:
        return Terminal(what, hint="create it, or correct `announce:` in desired/reconciler.yaml")
    if rule is EXPIRED or code == "RequestExpired":
        return Terminal(what, hint="the credentials have expired; sign in again, or give the CI job fresh ones")
    return Terminal(what, hint=f"check `announce:` in desired/reconciler.yaml and the right to {action}")


# SNS.

_LONGEST_SUBJECT = 99
"""SNS API reference, Publish: ASCII, no line breaks, less than 100 characters."""


class Sns:
    """A topic. The message is the announcement's JSON; `event` and `image` are attributes to filter by."""

    name = "sns"

    def __init__(self, settings: SnsSettings, aws: AwsSettings, *, clients: Clients | None = None) -> None:
        """`clients` are those of the run: who it is signed in as tells. Absent, they are made of `aws`."""
        self._topic = settings.topic
        self._clients = clients or Clients(aws)

    def announce(self, what: Announcement) -> None:
        """Publish it. Raises Transient or Terminal."""
        request: dict[str, Any] = {
            "TopicArn": self._topic,
            "Subject": f"{what.image} {what.build} {as_said(what.event)}"[:_LONGEST_SUBJECT],
            "Message": what.body().decode(),
            "MessageAttributes": {
                "event": {"DataType": "String", "StringValue": what.event},
                "image": {"DataType": "String", "StringValue": what.image},
            },
        }
        if self._topic.endswith(".fifo"):
            # In order for each image, and a repetition within five minutes is dropped by SNS itself.
            request |= {"MessageGroupId": what.image, "MessageDeduplicationId": what.id}
        region = self._topic.split(":")[3]
        with translated(f"the topic {self._topic}", action="sns:Publish"):
            self._clients.client("sns", region, config=CONFIG).publish(**request)


# EventBridge.

ACTION = "events:PutEvents"


class EventBridge:
    """A bus. The detail is the announcement, the detail type `image candidate`, the resources are the AMIs."""

    name = "eventbridge"

    def __init__(self, settings: EventBridgeSettings, aws: AwsSettings, *, clients: Clients | None = None) -> None:
        """`clients` are those of the run: who it is signed in as tells. Absent, they are made of `aws`."""
        self._settings = settings
        self._clients = clients or Clients(aws)

    def announce(self, what: Announcement) -> None:
        """Put the event. Raises Transient or Terminal."""
        to = f"the bus {self._settings.bus} in {self._settings.region}"
        with translated(to, action=ACTION):
            events = self._clients.client("events", self._settings.region, config=CONFIG)
            answer = events.put_events(
                Entries=[
                    {
                        "EventBusName": self._settings.bus,
                        "Source": self._settings.source,
                        "DetailType": f"image {what.event}",
                        "Detail": what.body().decode(),
                        "Resources": ami_arns(what, partition=self._clients.partition),
                    }
                ]
            )
        # PutEvents answers 200 although it took nothing (EventBridge API reference, PutEvents).
        if answer["FailedEntryCount"]:
            failed = answer["Entries"][0]
            raise refusal(
                to, failed.get("ErrorCode", "Unknown"), failed.get("ErrorMessage", ""), action=ACTION, status=200
            )


def ami_arns(what: Announcement, *, partition: Callable[[str], str]) -> list[str]:
    """The ARNs of the AMIs, which hold no account (Service Authorization Reference, Amazon EC2).

    `partition` tells a region's: `aws`, `aws-cn`.
    """
    return [
        f"arn:{partition(artifact.location)}:ec2:{artifact.location}::image/{artifact.id}"
        for artifact in what.artifacts
        if artifact.kind == "ami"
    ]
