from __future__ import annotations

from typing import Any

import pytest

from reconciler.model.source import SourceRequest
from reconciler.plan.reasons import repository_path, request_text


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (None, "none"),
        ({"ami": {"name": "debian-12-*", "owners": ["1", "2"]}}, "ami debian-12-* of 1, 2"),
        ({"ami": {"id": "ami-0aa"}}, "ami ami-0aa"),
        ({"ami": {"filters": {"tag:Role": ["base"]}, "owners": ["self"]}}, "ami by filters of self"),
        ({"ssm": "/aws/service/x"}, "ssm /aws/service/x"),
        ({"image": "base"}, "base stable"),
        ({"image": "base", "channel": "candidate"}, "base candidate"),
    ],
)
def test_a_source_is_told_as_it_was_asked_for(request_: dict[str, Any] | None, text: str) -> None:
    assert request_text(SourceRequest.model_validate(request_) if request_ else None) == text


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("nginx.conf", "desired/web/nginx.conf"),
        ("conf/nginx.conf", "desired/web/conf/nginx.conf"),
        ("../shared/motd", "desired/shared/motd"),
        ("../../roles/tls/main.yml", "roles/tls/main.yml"),
    ],
)
def test_a_path_is_told_as_seen_from_the_root(path: str, seen: str) -> None:
    assert repository_path("desired/web", path) == seen
