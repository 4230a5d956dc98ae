"""What `plan` says beside the plan."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.cli.plan import _keeps_amis, _show_notes
from reconciler.model.declaration import Refresh
from reconciler.model.plan import PlanOptions
from tests.unit.desired.conftest import MemoryTree


@pytest.mark.parametrize(
    ("refresh", "day", "told"),
    [(True, 30, "as the window is closed: web (tue 02:00-05:00 UTC)"), (True, 24, ""), (False, 30, "")],
    ids=["asked for on a Monday", "asked for on a Tuesday", "not asked for"],
)
def test_a_refresh_whose_window_is_closed_looks_for_nothing_newer_and_says_so(
    *, refresh: bool, day: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    window = Refresh.model_validate({"window": "tue 02:00-05:00 UTC"})
    web: Any = SimpleNamespace(name="web", declaration=SimpleNamespace(refresh=window))
    known: Any = SimpleNamespace(fleet=SimpleNamespace(images={"web": web}), now=datetime(2026, 11, day, 3, tzinfo=UTC))
    planned: Any = SimpleNamespace(image="web", notes=(), usage=(), unknown=())
    plan: Any = SimpleNamespace(options=PlanOptions(refresh=refresh), images=(planned,))

    _show_notes(plan, known)

    said = capsys.readouterr().err
    assert told in said
    assert bool(told) == bool(said)


@pytest.mark.parametrize(
    ("locks", "loads"),
    [
        ({}, False),
        ({"state/web.lock.json": '{"id": "ami-0c1d2e3f4a5b6c7d8"}'}, True),
        ({"state/web.lock.json": '{"id": "sha256:12"}', "state/site.lock.json": '{"id": "ami-0c1d"}'}, True),
        ({"state/web.lock.json": '{"id": "sha256:12"}'}, False),
    ],
    ids=["nothing is built yet", "AMIs", "AMIs among others", "disks alone"],
)
def test_awss_library_is_loaded_ahead_where_amis_are_kept(locks: dict[str, str], loads: bool) -> None:  # noqa: FBT001
    assert _keeps_amis(MemoryTree({"desired/web/image.yaml": "", **locks}, {})) == loads
