from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.model.lockfile import Lockfile
from reconciler.model.plan import Decision, Plan, PlannedImage


def planned(name: str, sync: str = "drifted", *actions: str) -> PlannedImage:
    return PlannedImage.model_validate(
        {"image": name, "sync": sync, "health": "healthy", "actions": actions or ("none",)}
    )


def plan(*images: PlannedImage, **more: Any) -> Plan:
    known: dict[str, Any] = {"plan_id": "sha256:1", "head": "9c0d1e2", "applyable": True, "complete": True, **more}
    return Plan(**known, errored=False, summary={}, images=images)


def test_only_what_differs_has_drifted() -> None:
    web = planned("web", "drifted", "build")
    assert plan(planned("api", "in-sync"), web, planned("db", "unknown")).drifted == (web,)


def test_a_decision_acts_unless_it_says_none() -> None:
    for image, acts in ((planned("web", "drifted", "build"), True), (planned("web"), False)):
        decision = Decision(planned=image, image=None, lock=Lockfile(image="web"), wanted=None)
        assert (decision.name, decision.acts) == ("web", acts)


def test_a_plan_of_another_format_or_with_unknown_actions_is_refused() -> None:
    with pytest.raises(ValidationError):
        plan(format_version="2.0")
    with pytest.raises(ValidationError):
        planned("web", "drifted", "explode")
