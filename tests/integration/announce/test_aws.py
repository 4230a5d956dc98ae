"""SNS and EventBridge as moto has them, heard through a queue, and their errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args
from unittest.mock import patch

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from reconciler.announce.aws import EventBridge, Sns
from reconciler.model.announcement import Announcement, as_said
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import AnnouncedEvent
from reconciler.model.receivers import EventBridgeSettings, SnsSettings
from reconciler.ports.announcer import Announcer

REGION = "eu-west-1"
MISSING = "arn:aws:sns:eu-west-1:123456789012:missing"
call = BaseClient._make_api_call  # type: ignore[attr-defined]  # what moto's own guide patches for faults


class Queue(NamedTuple):
    """Somebody who listens."""

    url: str
    arn: str

    def heard(self) -> list[dict[str, Any]]:
        messages = client("sqs").receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return list(messages.get("Messages", []))


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]  # no stubs for SQS here


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    with mock_aws():
        yield


@pytest.fixture
def queue() -> Queue:
    url = client("sqs").create_queue(QueueName="heard")["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return Queue(url, arn)


def topic_to(queue: Queue, name: str, **attributes: str) -> str:
    topic: str = client("sns").create_topic(Name=name, Attributes=attributes)["TopicArn"]
    client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes={"RawMessageDelivery": "true"}
    )
    return topic


def eventbridge(bus: str = "default") -> EventBridge:
    return EventBridge(EventBridgeSettings(bus=bus, region=REGION), AwsSettings())


def sns(topic: str, aws: AwsSettings | None = None) -> Sns:
    return Sns(SnsSettings(topic=topic), aws or AwsSettings())


def failing(operation: str, error: Exception) -> Any:
    """AWS, with one operation that fails."""

    def answer(self: BaseClient, name: str, arguments: Any) -> Any:
        if name == operation:
            raise error
        return call(self, name, arguments)

    return patch.object(BaseClient, "_make_api_call", answer)


def answered(operation: str, code: str, *, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


def test_a_topic_gets_the_announcement_with_attributes_to_filter_by(queue: Queue, news: Announcement) -> None:
    topic = topic_to(queue, "images")

    sns(topic).announce(news)

    (message,) = queue.heard()
    assert Announcement.model_validate_json(message["Body"]) == news
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {"event": "candidate", "image": "web"}


def test_a_fifo_topic_drops_a_repetition_by_the_announcements_id(news: Announcement) -> None:
    topic = client("sns").create_topic(Name="images.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    asked: list[Any] = []

    def remembering(self: BaseClient, name: str, arguments: Any) -> Any:
        asked.append(arguments)
        return call(self, name, arguments)

    with patch.object(BaseClient, "_make_api_call", remembering):
        sns(topic).announce(news)

    assert asked[-1]["MessageDeduplicationId"] == news.id
    assert asked[-1]["MessageGroupId"] == "web"


def test_a_topic_that_is_not_there_is_named(news: Announcement) -> None:
    with pytest.raises(Terminal, match=MISSING) as caught:
        sns(MISSING).announce(news)

    assert "create it" in str(caught.value)


def test_a_role_is_assumed_to_publish(queue: Queue, news: Announcement) -> None:
    topic = topic_to(queue, "images")
    role = "arn:aws:iam::123456789012:role/announcer"

    sns(topic, AwsSettings(role=role)).announce(news)

    assert len(queue.heard()) == 1


def test_a_bus_gets_the_announcement_with_the_amis_as_resources(queue: Queue, news: Announcement) -> None:
    events = client("events")
    events.put_rule(Name="candidates", EventPattern=json.dumps({"detail-type": ["image candidate"]}))
    events.put_targets(Rule="candidates", Targets=[{"Id": "1", "Arn": queue.arn}])

    eventbridge().announce(news)

    (message,) = queue.heard()
    event = json.loads(message["Body"])
    assert event["source"] == "reconciler"
    assert event["detail"] == news.plain()
    assert event["resources"] == [
        "arn:aws:ec2:us-east-1::image/ami-0",
        "arn:aws-cn:ec2:cn-north-1::image/ami-1",
    ]


@pytest.mark.forms(quick=4)
@pytest.mark.parametrize("event", get_args(AnnouncedEvent))
def test_every_event_goes_by_its_own_word(queue: Queue, news: Announcement, event: AnnouncedEvent) -> None:
    asked: dict[str, Any] = {}

    def remembering(self: BaseClient, name: str, arguments: Any) -> Any:
        asked[name] = arguments
        return call(self, name, arguments)

    with patch.object(BaseClient, "_make_api_call", remembering):
        sns(topic_to(queue, "images")).announce(news.model_copy(update={"event": event}))
        eventbridge().announce(news.model_copy(update={"event": event}))

    assert asked["Publish"]["MessageAttributes"]["event"]["StringValue"] == event
    assert asked["Publish"]["Subject"] == f"web {news.build} {as_said(event)}"
    assert asked["PutEvents"]["Entries"][0]["DetailType"] == f"image {event}"


@pytest.mark.parametrize(
    ("code", "error"),
    [("InternalFailure", Transient), ("ThrottlingException", Transient), ("NotAuthorizedForSourceException", Terminal)],
)
def test_an_event_that_was_not_taken_is_no_success_although_the_call_was(
    code: str, error: type[Exception], news: Announcement
) -> None:
    def refusing(self: BaseClient, name: str, arguments: Any) -> Any:
        return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "not taken"}]}

    with patch.object(BaseClient, "_make_api_call", refusing), pytest.raises(error, match="not taken"):
        eventbridge().announce(news)


BOTH = pytest.mark.parametrize(
    ("announcer", "operation"), [(sns(MISSING), "Publish"), (eventbridge(), "PutEvents")], ids=["sns", "eventbridge"]
)


@BOTH
@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "InternalError", "ServiceUnavailable"])
def test_what_may_pass_is_transient(announcer: Announcer, operation: str, code: str, news: Announcement) -> None:
    with failing(operation, answered(operation, code)), pytest.raises(Transient, match=code):
        announcer.announce(news)


@BOTH
@pytest.mark.parametrize("code", ["AuthorizationError", "AccessDeniedException"])
def test_a_missing_right_is_named(announcer: Announcer, operation: str, code: str, news: Announcement) -> None:
    with failing(operation, answered(operation, code, status=403)), pytest.raises(Terminal) as caught:
        announcer.announce(news)

    assert f"allow {'sns' if operation == 'Publish' else 'events'}:{operation}" in str(caught.value)


@BOTH
def test_expired_credentials_are_told_apart(announcer: Announcer, operation: str, news: Announcement) -> None:
    with failing(operation, answered(operation, "ExpiredToken")), pytest.raises(Terminal, match="expired"):
        announcer.announce(news)


@BOTH
def test_a_server_that_breaks_is_transient_whatever_its_code(
    announcer: Announcer, operation: str, news: Announcement
) -> None:
    with failing(operation, answered(operation, "Novel", status=503)), pytest.raises(Transient, match="Novel"):
        announcer.announce(news)


@BOTH
def test_a_code_that_nobody_knows_is_not_tried_again(announcer: Announcer, operation: str, news: Announcement) -> None:
    with failing(operation, answered(operation, "Novel")), pytest.raises(Terminal, match="Novel"):
        announcer.announce(news)


@BOTH
def test_a_network_that_is_down_is_transient(announcer: Announcer, operation: str, news: Announcement) -> None:
    down = EndpointConnectionError(endpoint_url="https://aws")

    with failing(operation, down), pytest.raises(Transient, match="can't be reached"):
        announcer.announce(news)


@pytest.mark.parametrize("announcer", [sns(MISSING), eventbridge()], ids=["sns", "eventbridge"])
def test_a_profile_that_is_not_there_is_told(
    announcer: Announcer, news: Announcement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(Terminal, match="nobody"):
        announcer.announce(news)


def test_nobody_is_asked_for_an_mfa_code(news: Announcement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile admin]\nrole_arn = arn:aws:iam::123456789012:role/ci\nsource_profile = person\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/someone\n"
        "[profile person]\naws_access_key_id = AKIA0123456789ABCDEF\naws_secret_access_key = secret\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    with pytest.raises(Terminal, match=r"profile admin: its role asks for an MFA code \(mfa_serial = arn:.*someone\)"):
        sns(MISSING, AwsSettings(profile="admin")).announce(news)


def test_a_role_that_may_not_be_assumed_is_told_apart_from_the_right_to_publish(news: Announcement) -> None:
    role = AwsSettings(role="arn:aws:iam::123456789012:role/announcer")
    refused = answered("AssumeRole", "AccessDenied", status=403)

    with failing("AssumeRole", refused), pytest.raises(Terminal, match="allow sts:AssumeRole"):
        sns(MISSING, role).announce(news)
