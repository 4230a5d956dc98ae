"""The tags on what is made for a smoke test: whose it is, what for, and until when it may stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.model.observation import TAG_PREFIX
from reconciler.model.values import format_instant, parse_instant
from reconciler.registry.instances.protocol import LIFE
from reconciler.registry.observe import FLEET_TAG

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import TagTypeDef

PURPOSE_TAG = f"{TAG_PREFIX}purpose"
PURPOSE = "smoke-test"
KEEP_TAG = f"{TAG_PREFIX}keep-until"


def at_birth(tags: Mapping[str, str], *, name: str, fleet: str, now: datetime) -> list[TagTypeDef]:
    """The run's own tags with ours. Everything has its end written on it: a security group knows no birthday."""
    own = {FLEET_TAG: fleet, PURPOSE_TAG: PURPOSE, KEEP_TAG: format_instant(now + LIFE)}
    return [{"Key": key, "Value": value} for key, value in {"Name": name, **tags, **own}.items()]


def is_due(tags: Sequence[TagTypeDef], *, fleet: str, now: datetime) -> bool:
    """Whether something is this fleet's, was made for a smoke test, and has had its time.

    What has no time written on it, or one that can't be read (`for ever`), somebody has taken over: it stays.
    """
    held = {tag["Key"]: tag["Value"] for tag in tags}
    if held.get(FLEET_TAG) != fleet or held.get(PURPOSE_TAG) != PURPOSE:
        return False
    try:
        return parse_instant(held.get(KEEP_TAG, "")) < now
    except ValueError:
        return False
