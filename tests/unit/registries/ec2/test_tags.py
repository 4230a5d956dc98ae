from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.ports.bench import LIFE
from reconciler.registries.ec2.admission import at_birth, is_due

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FLEET = "acme/images"


def due(changed: dict[str, str] | None = None, *, removed: str = "", after: timedelta = 2 * LIFE) -> bool:
    born = {tag["Key"]: tag["Value"] for tag in at_birth({"reconciler:run": "7"}, name="web", fleet=FLEET, now=NOW)}
    held = {key: value for key, value in {**born, **(changed or {})}.items() if key != removed}
    return is_due([{"Key": key, "Value": value} for key, value in held.items()], fleet=FLEET, now=NOW + after)


def test_what_is_born_is_due_once_its_life_is_over() -> None:
    assert not due(after=LIFE)
    assert due(after=LIFE + timedelta(seconds=1))


@pytest.mark.parametrize(
    "changed",
    [
        {"reconciler:fleet": "acme/other"},
        {"reconciler:purpose": "build"},
        {"reconciler:keep-until": "for ever"},
        {"reconciler:keep-until": ""},
        {"reconciler:keep-until": "2027-01-01T00:00:00Z"},
    ],
    ids=["another fleet", "another purpose", "not a time", "empty", "later"],
)
def test_what_is_another_s_or_kept_is_never_due(changed: dict[str, str]) -> None:
    assert not due(changed)


@pytest.mark.parametrize("removed", ["reconciler:fleet", "reconciler:purpose", "reconciler:keep-until"])
def test_what_lost_a_tag_is_never_due(removed: str) -> None:
    assert not due(removed=removed)


def test_a_runs_tags_can_not_say_whose_it_is() -> None:
    tags = at_birth({"reconciler:fleet": "x", "Name": "mine"}, name="web", fleet=FLEET, now=NOW)

    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "Name": "mine",
        "reconciler:fleet": FLEET,
        "reconciler:purpose": "smoke-test",
        "reconciler:keep-until": "2026-11-22T14:00:00Z",
    }
