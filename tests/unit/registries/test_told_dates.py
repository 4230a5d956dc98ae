"""Dates that registries and vCenters tell, which may be anything: what can't be reckoned with is not known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.plan.key import may_be_of
from reconciler.registries.dates import told_at
from reconciler.registries.ec2 import images
from reconciler.registries.vsphere.inventory import look
from reconciler.registries.vsphere.library import Item
from reconciler.registries.vsphere.session import vim

BUILD = "20261122T101530Z-1a2b3c4"
NONE = ["yesterday", "9999-12-31T23:59:59.000Z", "0001-01-01T00:00:00.000Z", "2026-99-99T00:00:00.000Z", ""]
FAR = [
    None, datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-5))),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), datetime(9999, 12, 31, tzinfo=UTC),
]  # fmt: skip


@pytest.mark.parametrize("told", [*NONE, None, 7, ["2026"]])
def test_an_item_of_a_library_with_a_date_that_is_none_may_be_of_any_build(told: Any) -> None:
    seen = Item.of({"id": "item-1", "name": "web", "creation_time": told}).seen_in("vsphere://vc/library/golden")
    assert seen.created in ("", "1970-01-01T00:00:07Z")
    assert may_be_of(BUILD, seen) is (seen.created == "")


def test_an_item_of_a_library_was_made_when_it_says() -> None:
    item = Item.of({"id": "item-1", "creation_time": "2026-11-22T10:15:30.123Z"})
    assert item.created == "2026-11-22T10:15:30Z"


@pytest.mark.parametrize("told", FAR)
def test_a_machine_with_a_date_that_is_none_is_seen_without(told: datetime | None) -> None:
    facts = {"name": "web", "config.instanceUuid": "5000", "config.createDate": told}
    found = SimpleNamespace(
        obj="vm-1", propSet=[SimpleNamespace(name=name, val=value) for name, value in facts.items()], missingSet=()
    )
    collector = SimpleNamespace(RetrievePropertiesEx=lambda *_: SimpleNamespace(objects=[found], token=None))
    content = SimpleNamespace(customFieldsManager=SimpleNamespace(field=()), propertyCollector=collector)
    ((machine,), untold) = look(content, vim.Folder("group-v1"))
    assert (machine.created, untold) == ("", [])
    assert may_be_of(BUILD, machine.seen_in("vsphere://vc/DC0/vm"))


@pytest.mark.parametrize("told", NONE)
def test_an_ami_with_a_date_that_is_none_is_seen_without(told: str) -> None:
    image: Any = {"ImageId": "ami-1", "State": "available", "CreationDate": told, "DeprecationTime": told}
    seen = images.seen(image, "us-east-1")
    assert (seen.created, seen.deprecated) == ("", None)


def test_an_answer_of_aws_that_is_of_no_time_tells_none() -> None:
    assert told_at({"date": "Fri, 31 Dec 9999 23:59:59 -0800"}) is None
    assert told_at({"date": "Sun, 22 Nov 2026 10:15:30 GMT"}) == datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
