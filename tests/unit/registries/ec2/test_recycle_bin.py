"""For how long what is removed can be restored, by the Recycle Bin's rules of a region."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.stub import Stubber

from reconciler.registries.ec2.recycle_bin import restorable

FLEET = "acme/images"
OURS = [{"ResourceTagKey": "reconciler:fleet", "ResourceTagValue": FLEET}]
OTHERS = [{"ResourceTagKey": "reconciler:fleet", "ResourceTagValue": "acme/others"}]


def rule(days: int, **more: Any) -> dict[str, Any]:
    period = {"RetentionPeriodValue": days, "RetentionPeriodUnit": "DAYS"}
    return {"RetentionPeriod": period, "Status": "available", **more}


class Clients:
    """One client of the Recycle Bin, which answers as botocore's model has it."""

    def __init__(self) -> None:
        self.made = botocore.session.Session().create_client(
            "rbin", region_name="us-east-1", aws_access_key_id="fake", aws_secret_access_key="fake"
        )
        self.stub = Stubber(self.made)
        self.stub.activate()

    def answer(self, kind: str, *rules: dict[str, Any]) -> None:
        ids = [f"rule{number:07d}{kind[0]}{number}" for number in range(len(rules))]
        self.stub.add_response("list_rules", {"Rules": [{"Identifier": one} for one in ids]}, {"ResourceType": kind})
        for one, answer in zip(ids, rules, strict=True):
            self.stub.add_response("get_rule", {"Identifier": one, **answer}, {"Identifier": one})

    def client(self, service: str, region: str, **_more: Any) -> Any:
        assert (service, region) == ("rbin", "us-east-1")
        return self.made


@pytest.mark.parametrize(
    ("images", "snapshots", "days"),
    [
        ([], [], 0),
        ([rule(7)], [], 0),
        ([rule(7)], [rule(14)], 7),
        ([rule(7, ResourceTags=OURS), rule(30, ResourceTags=OTHERS)], [rule(14)], 7),
        ([rule(7, ResourceTags=[{"ResourceTagKey": "reconciler:fleet"}])], [rule(14)], 7),
        ([rule(7, ExcludeResourceTags=OURS)], [rule(14)], 0),
        ([rule(7, ExcludeResourceTags=OTHERS)], [rule(14)], 7),
        ([rule(7, Status="pending")], [rule(14)], 0),
    ],
)
def test_the_shorter_of_what_keeps_images_and_snapshots_counts(
    images: list[dict[str, Any]], snapshots: list[dict[str, Any]], days: int
) -> None:
    clients = Clients()
    clients.answer("EC2_IMAGE", *images)
    clients.answer("EBS_SNAPSHOT", *snapshots)
    assert restorable(clients, "us-east-1", fleet=FLEET) == days  # type: ignore[arg-type]  # the one client it asks for


def test_what_may_not_be_read_is_not_known() -> None:
    clients = Clients()
    clients.stub.add_client_error("list_rules", "AccessDeniedException")
    assert restorable(clients, "us-east-1", fleet=FLEET) is None  # type: ignore[arg-type]  # as above
