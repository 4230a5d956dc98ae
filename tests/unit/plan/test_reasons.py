from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.fleet import Image
from reconciler.model.source import SourceRequest
from reconciler.plan.reasons import inputs_named, repository_path, request_text


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


@pytest.mark.parametrize(
    ("elsewhere", "named"),
    [
        ([], "desired/web/"),
        (["../../roles/tls/main.yml", "../../roles/tls/vars.yml"], "desired/web/, roles/tls/"),
        (["../../a/x", "../../motd"], "desired/web/, a/, motd"),
        (["../../a/x", "../../b/x", "../../c/x", "../../d/x"], "desired/web/, a/, b/ (+2 more)"),
    ],
)
def test_what_feeds_an_image_is_named_by_folder_and_of_many_the_first(
    an_image: Callable[..., Image], elsewhere: list[str], named: str
) -> None:
    files = dict.fromkeys(["web.pkr.hcl", "conf/nginx.conf", *elsewhere], "a" * 40)

    assert inputs_named(an_image(files=files)) == named
