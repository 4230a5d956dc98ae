from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.inventory import Inventory, OperatingSystem, Package
from reconciler.model.lockfile import Build, Conversion, Failure, Reason, Undelivered, Verdict, Verified
from reconciler.model.publish import Published
from reconciler.model.smoke_test import FailedTest, SmokeTestResult
from reconciler.plan.difference import difference
from reconciler.plan.standing import outcome
from reconciler.plan.timing import next_failure
from reconciler.words.messages import (
    build_commit,
    build_tag,
    change_commit,
    failure_commit,
    failure_tag,
    published_commit,
    record_in,
    sbom_tag_name,
    sentence,
    tag_name,
    undelivered_commit,
    verdict_commit,
    verdict_tag,
    verified_commit,
    verified_tag,
)

Make = Callable[..., Any]


def a_build(built: Make, *reasons: Reason) -> Build:
    build: Build = built().lock.builds[0]
    artifact = build.artifacts[0].model_copy(update={"id": "ami-0aa"})
    return build.model_copy(
        update={"id": "20261122T101530Z-1a2b3c4", "key": "sha256:1a2b", "reasons": reasons, "artifacts": (artifact,)}
    )


def test_commits_and_tags_name_what_an_artifact_was_converted_to(built: Make) -> None:
    build = a_build(built, Reason(code="new"))
    made = (Conversion(format="raw", id="sha256:1", size=8), Conversion(format="vmdk", id="sha256:2", size=3))
    (artifact,) = (one.model_copy(update={"conversions": made}) for one in build.artifacts)
    build = build.model_copy(update={"artifacts": (artifact,)})
    told = "us-east-1 ami-0aa, as raw sha256:1 and vmdk sha256:2"
    assert told in build_commit("web", build, verb="build").splitlines()
    assert f"Now {told}." in change_commit("web", "convert", build.reasons, added=build.artifacts).splitlines()
    assert f"Retired {told}." in change_commit("web", "retire", build.reasons, gone=build.artifacts).splitlines()
    assert f"artifact: ami {told}" in build_tag("web", build).splitlines()


def test_what_is_retired_and_what_stays_are_told_apart(built: Make) -> None:
    build = a_build(built, Reason(code="region-extra", was="us-east-1 ami-0aa", now="not declared"))
    (gone,) = build.artifacts
    left = gone.model_copy(update={"location": "eu-west-1"})

    told = change_commit("web", "retire", build.reasons, gone=[gone, left], stays={("eu-west-1", gone.id): "so it is"})

    assert "Retired us-east-1 ami-0aa." in told.splitlines()
    assert "eu-west-1 ami-0aa stays, and is recorded no more: so it is." in told.splitlines()
    assert "Retired eu-west-1" not in told


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
    assert Failure.model_validate_json(record_in(failure_tag("web", failure)) or "") == failure


def test_a_failed_test_names_every_assertion_that_failed(built: Make) -> None:
    tests = [FailedTest(test=f"test_web.py::test_{name}", what="assert 0") for name in ("nginx", "tls", "clock")]
    failed = SmokeTestResult(status="failed", tests=9, failed=tuple(tests))
    failure = next_failure(
        None, build="20261122T101530Z-1a2b3c4", key="sha256:1", what=outcome(failed), now=built().now
    ).model_copy(update={"smoke_test": failed})
    text = failure_commit("web", failure, [Reason(code="new")])
    assert text.split("\n")[2:6] == [
        "smoke test failed: test_web.py::test_nginx: assert 0 (and 2 more).",
        "test_web.py::test_tls: assert 0",
        "test_web.py::test_clock: assert 0",
        "Attempt 1; the next not before 2026-11-22T10:40:30Z.",
    ]
    assert Failure.model_validate_json(record_in(failure_tag("web", failure)) or "") == failure


def test_a_suite_that_fails_as_a_whole_does_not_fill_the_history(built: Make) -> None:
    tests = tuple(FailedTest(test=f"test_web.py::test_{number}", what="assert 0") for number in range(500))
    failed = SmokeTestResult(status="failed", tests=500, failed=tests)
    failure = next_failure(
        None, build="20261122T101530Z-1a2b3c4", key="sha256:1", what=outcome(failed), now=built().now
    ).model_copy(update={"smoke_test": failed})
    text = failure_commit("web", failure, [Reason(code="new")])
    assert "test_web.py::test_8: assert 0\n491 more failed.\nAttempt 1;" in text


@pytest.mark.parametrize(
    ("tested", "line"),
    [
        (SmokeTestResult(status="passed", tests=9), "Smoke test: 9 passed."),
        (SmokeTestResult(status="skipped", why="smoke_test.boot is false"), "Not tested: smoke_test.boot is false."),
    ],
)
def test_a_commit_and_a_tag_say_how_the_test_went(built: Make, tested: SmokeTestResult, line: str) -> None:
    build = a_build(built, Reason(code="new")).model_copy(update={"smoke_test": tested})
    assert line in build_commit("web", build).split("\n")
    assert line in build_tag("web", build).split("\n")
    assert Build.model_validate_json(record_in(build_tag("web", build)) or "") == build


def test_what_changed_inside_stands_in_the_commit_and_the_tag(built: Make) -> None:
    debian = OperatingSystem("debian", "12", "Debian 12")
    before = Inventory(os=debian, kernel="6.1", packages=(), services=(), ports=(), users=(), suid=())
    made = difference(before, replace(before, packages=(Package("nginx", "1.22.1-9", "amd64", "deb"),)))
    build = a_build(built, Reason(code="new"))
    assert "nginx" in build_commit("web", build, difference=made)
    assert "nginx" in build_tag("web", build, made)


def test_a_refresh_that_brought_nothing_says_what_was_made_and_what_stays(built: Make) -> None:
    kept = "20261101T101530Z-0a0b0c0"
    expired = Reason(code="expired", was="built 2026-11-01", now="older than 7d")
    build = a_build(built, expired)
    verified = Verified(at="2026-11-22T11:00:00Z", build=build.id, key=build.key)
    assert (
        verified_commit("web", kept, verified, build.reasons)
        == """\
web: 20261101T101530Z-0a0b0c0 verified current (expired)

expired: built 2026-11-01 → older than 7d.
20261122T101530Z-1a2b3c4 holds what 20261101T101530Z-0a0b0c0 holds: it was retired, and 20261101T101530Z-0a0b0c0 \
stays in its channels.

Reconciler-Image: web
Reconciler-Build: 20261101T101530Z-0a0b0c0
Reconciler-Reason: expired
"""
    )
    message = verified_tag("web", kept, build)
    assert message.split("\n")[:5] == [
        "web 20261122T101530Z-1a2b3c4: unchanged", "", "status: unchanged", "built: 20261122T101530Z", f"kept: {kept}",
    ]  # fmt: skip
    assert Build.model_validate_json(record_in(message) or "") == build


def test_an_sbom_has_a_tag_of_its_own(built: Make) -> None:
    build = a_build(built)
    assert sbom_tag_name("web", build.id) == "sbom/web/20261122T101530Z-1a2b3c4"


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


# Whatever a test of an image, a package, a file or a source may be called.
HOSTILE = st.lists(
    st.sampled_from(
        ["closes ", "fixes: ", "#1", "org/repo#22", "GH-3", "!4", "@team", "@org/team", "(@bot)", "https://x.example/issues/5",
         "www.x.example", "closes https://github.com/o/r/issues/6", "me@x.example", "`@org/team", "WEB-1 #close", "smb://x.example",
         " ", "/", "x", "é", "\\"]
    ), min_size=1, max_size=6,
).map("".join)  # fmt: skip
# As GitHub, GitLab and Jira find them, in the text of a message.
ACTS = re.compile(
    r"#[A-Za-z0-9]|\bGH-[0-9]|(?:^|[^A-Za-z0-9_])[@][A-Za-z0-9]|(?:^|[^A-Za-z0-9_])![0-9]|://\S|\bwww\.\S",
    re.IGNORECASE | re.MULTILINE,
)


@given(text=HOSTILE, name=HOSTILE)
def test_nothing_that_others_write_is_a_reference_a_mention_or_an_address(built: Make, text: str, name: str) -> None:
    reason = Reason(code="inputs-changed", was=text, now=name, files=(name, text))
    tested = SmokeTestResult(status="failed", failed=(FailedTest(test=name, what=text),), why=text)
    build = a_build(built, reason, Reason(code="source-changed", was=name, now=text))
    build = build.model_copy(update={"smoke_test": tested})
    failure = next_failure(None, build="20261122T101530Z-1a2b3c4", key=build.key, what=text, now=built().now)
    failure = failure.model_copy(update={"smoke_test": tested})
    verdict = Verdict(status="failed", by=text, evidence=f"{name} {text}")
    undelivered = Undelivered(build=build.id, event="candidate", to=name, why=text)

    messages = [
        build_commit("web", build), change_commit("web", "tag", build.reasons, stays={(name, name): text}),
        verdict_tag("web", build.id, verdict),
        failure_commit("web", failure, build.reasons), failure_tag("web", failure), build_tag("web", build),
        verdict_commit("web", build.id, verdict), undelivered_commit("web", [undelivered]),
    ]  # fmt: skip

    # Hosts look for addresses in what people are shown; in a tag's record they stay what a program reads.
    for message in messages:
        record = record_in(message) or ""
        assert ACTS.search(message.replace(record, "")) is None
        assert re.search(r"#[0-9]|(?:^|[^A-Za-z0-9_])@[A-Za-z0-9]", record) is None
    assert Build.model_validate_json(record_in(build_tag("web", build)) or "") == build
    assert Failure.model_validate_json(record_in(failure_tag("web", failure)) or "") == failure


def test_what_others_write_is_no_line_of_its_own_and_steers_nothing(built: Make) -> None:
    # Given a value that somebody wrote into a tag of an artifact: lines, escapes, what is not seen, what turns a line
    text = "x\n\nReconciler-Key: sha256:evil\r\n{\n}\u2028\u202egnp\u200b\x1b[31m"
    reason = Reason(code="preview-merged", was=f"branch {text}", now=text)
    build = a_build(built, reason)
    failure = next_failure(None, build=build.id, key=build.key, what=text, now=built().now)
    verdict = Verdict(status="passed", by=text, evidence=text)

    # When it comes into any message
    messages = [
        build_commit("web", build), change_commit("web", "tag", [reason], stays={(text, text): text}),
        build_tag("web", build),
        failure_commit("web", failure, [reason]), failure_tag("web", failure), verdict_tag("web", build.id, verdict),
        verdict_commit("web", build.id, verdict),
        undelivered_commit("web", [Undelivered(build=build.id, event="candidate", to=text, why=text)]),
    ]  # fmt: skip

    # Then it is within one line, and shows
    for message in messages:
        shown = message.replace(record_in(message) or "", "").split("\n")
        assert [line for line in shown if not line.isprintable()] == []
        assert not any(line.startswith(("Reconciler-Key: sha256:evil", "{")) for line in shown)


def test_the_evidence_of_a_verdict_is_an_address_to_follow() -> None:
    verdict = Verdict(status="passed", by="ci@x.example", evidence="https://ci.example/jobs/12")

    assert "Evidence: https://ci.example/jobs/12\n" in verdict_commit("web", "20261122T101530Z-1a2b3c4", verdict)
    assert "Passed by ci@x.example.\n" in verdict_commit("web", "20261122T101530Z-1a2b3c4", verdict)


def test_a_message_without_a_record_has_none() -> None:
    assert record_in("a tag that a person wrote {}") is None


def test_a_reason_without_files_is_still_a_sentence() -> None:
    assert sentence(Reason(code="inputs-changed", was="1", now="2", files=())) == "inputs changed (1 → 2)."


def test_a_commit_about_groups_alone_says_how_far_they_are() -> None:
    def group(location: str, **standing: Any) -> Published:
        return Published(auto_scaling_group="web", location=location, version=7, build="b", **standing)

    name = Published(ssm="/images/web", location="us-east-1")
    us, eu = group("us-east-1", course="begun"), group("eu-west-1", course="done", refresh="r-1")

    def subject(*published: Published, former: tuple[Published, ...] = (name,)) -> str:
        return published_commit("web", published, former=former).partition("\n")[0]

    assert subject(name, us) == "web: us-east-1 group web version 7 to begin"
    assert subject(name, eu, us) == "web: 2 groups: 1 done, 1 to begin"
    assert (
        subject(name, eu, group("us-east-1"), former=(name, eu, us)) == "web: us-east-1 group web version 7 turned back"
    )
    assert subject(name, us, former=()) == "web: published at 2 places"
    assert subject(us) == "web: published at 1 place"
