from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.lockfile import Build, Reason
from reconciler.plan.backoff import next_failure
from reconciler.plan.messages import (
    build_commit,
    build_tag,
    change_commit,
    failure_commit,
    failure_tag,
    record_in,
    sentence,
    tag_name,
)

Make = Callable[..., Any]


def a_build(built: Make, *reasons: Reason) -> Build:
    build: Build = built().lock.builds[0]
    artifact = build.artifacts[0].model_copy(update={"id": "ami-0aa"})
    return build.model_copy(
        update={"id": "20261122T101530Z-1a2b3c4", "key": "sha256:1a2b", "reasons": reasons, "artifacts": (artifact,)}
    )


def test_a_commit_says_what_why_and_where_and_ends_with_trailers(built: Make) -> None:
    files = tuple(f"desired/web/{number}" for number in range(10))
    build = a_build(
        built,
        Reason(code="inputs-changed", was="51b0c9e", now="9c0d1e2", files=files),
        Reason(code="source-changed", was="debian-1", now="debian-2"),
    )

    assert (
        build_commit("web", build)
        == """\
web: build 20261122T101530Z-1a2b3c4 (inputs-changed, source-changed)

desired/web/0, desired/web/1, desired/web/2, desired/web/3, desired/web/4, desired/web/5, desired/web/6, \
desired/web/7 and 2 more changed (51b0c9e → 9c0d1e2).
source-changed: debian-1 → debian-2.
us-east-1 ami-0aa
Built in 60 s.

Reconciler-Image: web
Reconciler-Build: 20261122T101530Z-1a2b3c4
Reconciler-Key: sha256:1a2b
Reconciler-Reason: inputs-changed
Reconciler-Reason: source-changed
"""
    )


def test_an_adoption_is_called_one(built: Make) -> None:
    text = build_commit("web", a_build(built, Reason(code="new")), verb="adopt")
    assert text.startswith("web: adopt 20261122T101530Z-1a2b3c4 (new)\n\nFirst build.\n")


def test_each_reason_code_is_one_trailer() -> None:
    missing = [Reason(code="region-missing", now=f"{region} nothing") for region in ("us-east-1", "eu-west-1")]
    assert (
        change_commit("web", "copy", missing)
        == """\
web: copy (region-missing)

region-missing: nothing → us-east-1 nothing.
region-missing: nothing → eu-west-1 nothing.

Reconciler-Image: web
Reconciler-Reason: region-missing
"""
    )


def test_a_failure_says_when_the_next_try_is(built: Make) -> None:
    failure = next_failure(
        None, build="20261122T101530Z-1a2b3c4", key="sha256:1", what="build failed in setup.sh", now=built().now
    )
    assert (
        failure_commit("web", failure, [Reason(code="new")])
        == """\
web: build 20261122T101530Z-1a2b3c4 failed

build failed in setup.sh.
Attempt 1; the next not before 2026-11-22T10:40:30Z.

Reconciler-Image: web
Reconciler-Build: 20261122T101530Z-1a2b3c4
Reconciler-Key: sha256:1
Reconciler-Reason: new
"""
    )
    assert json.loads(record_in(failure_tag("web", failure)) or "") == failure.model_dump(mode="json")


def test_a_tags_message_is_for_people_and_holds_the_whole_record(built: Make) -> None:
    build = a_build(built, Reason(code="new", now="9c0d1e2"))

    message = build_tag("web", build)

    assert tag_name("web", build.id) == "image/web/20261122T101530Z-1a2b3c4"
    assert message.split("\n")[:5] == [
        "web 20261122T101530Z-1a2b3c4: built",
        "",
        "status: built",
        "built: 20261122T101530Z",
        "artifact: ami us-east-1 ami-0aa",
    ]
    assert Build.model_validate_json(record_in(message) or "") == build


@given(text=st.text(), name=st.text())
def test_the_record_is_found_whatever_is_in_it(built: Make, text: str, name: str) -> None:
    build = a_build(built, Reason(code="inputs-changed", was=text, now="}\n{\n}", files=(name,)))
    assert Build.model_validate_json(record_in(build_tag("web", build)) or "") == build


def test_a_message_without_a_record_has_none() -> None:
    assert record_in("a tag that a person wrote {}") is None


def test_a_reason_without_files_is_still_a_sentence() -> None:
    assert sentence(Reason(code="inputs-changed", was="1", now="2", files=())) == "inputs changed (1 → 2)."
