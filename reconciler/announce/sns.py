"""Announces to an SNS topic."""

from __future__ import annotations

from typing import Any

from reconciler.announce.aws import CONFIG, session, translated
from reconciler.model.announcement import Announcement
from reconciler.model.declaration import AwsSettings
from reconciler.model.receivers import SnsSettings

_LONGEST_SUBJECT = 99
"""SNS API reference, Publish: ASCII, no line breaks, less than 100 characters."""


class Sns:
    """A topic. The message is the announcement's JSON; `event` and `image` are attributes to filter by."""

    name = "sns"

    def __init__(self, settings: SnsSettings, aws: AwsSettings) -> None:
        self._topic = settings.topic
        self._aws = aws

    def announce(self, what: Announcement) -> None:
        """Publish it. Raises Transient or Terminal."""
        request: dict[str, Any] = {
            "TopicArn": self._topic,
            "Subject": f"{what.image} {what.build} is {what.event}"[:_LONGEST_SUBJECT],
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
            session(self._aws).client("sns", region_name=region, config=CONFIG).publish(**request)
