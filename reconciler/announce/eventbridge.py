"""Announces to an EventBridge bus."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.announce.aws import CONFIG, refusal, session, translated
from reconciler.model.announcement import Announcement
from reconciler.model.declaration import AwsSettings
from reconciler.model.receivers import EventBridgeSettings

ACTION = "events:PutEvents"


class EventBridge:
    """A bus. The detail is the announcement, the detail type `image candidate`, the resources are the AMIs."""

    name = "eventbridge"

    def __init__(self, settings: EventBridgeSettings, aws: AwsSettings) -> None:
        self._settings = settings
        self._aws = aws

    def announce(self, what: Announcement) -> None:
        """Put the event. Raises Transient or Terminal."""
        to = f"the bus {self._settings.bus} in {self._settings.region}"
        with translated(to, action=ACTION):
            aws = session(self._aws)
            events = aws.client("events", region_name=self._settings.region, config=CONFIG)
            answer = events.put_events(
                Entries=[
                    {
                        "EventBusName": self._settings.bus,
                        "Source": self._settings.source,
                        "DetailType": f"image {what.event}",
                        "Detail": what.body().decode(),
                        "Resources": ami_arns(what, partition=aws.get_partition_for_region),
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
