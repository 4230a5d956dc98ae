"""What `reconciler history` tells of an image, from git alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.git.command import Finished, Git
from reconciler.model.declaration import GitSettings
from reconciler.model.lockfile import Artifact, Conversion, Leaving, Reason, Revoked, Verdict, Verified
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.state.lockfiles import path_of, render
from tests.integration.provenance.conftest import Ask
from tests.integration.provenance.ledger import ON_DEBIAN, Ledger, declared, git

SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "history-1.json"
CHANGED = (Reason(code="inputs-changed", was="x", now="y"),)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.begin(tmp_path / "clone")


def change(ledger: Ledger, setup: str, message: str = "Change base") -> str:
    return ledger.commit(declared("base", ON_DEBIAN, setup=setup), message)


def told(ask: Ask, ledger: Ledger, image: str = "base") -> Any:
    answer = ask(ledger, "history", image, "--json")
    assert answer.code == 0, answer.err
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(answer.json)
    return answer.json


def test_every_build_is_told_also_those_that_the_lockfile_dropped(ask: Ask, ledger: Ledger) -> None:
    built = [ledger.build("base")]
    for number in range(5):
        change(ledger, f"step {number}")
        built.append(ledger.build("base", reasons=CHANGED))

    history = told(ask, ledger)

    assert [one["id"] for one in history["builds"]] == [one.id for one in reversed(built)]
    assert [one["kept"] for one in history["builds"]] == [True, True, True, False, False, False]
    assert history["complete"]


def test_it_says_how_long_each_was_stable_and_what_took_its_place(ask: Ask, ledger: Ledger) -> None:
    first = ledger.build("base")
    change(ledger, "more")
    second = ledger.build("base", reasons=CHANGED)

    newest, oldest = told(ask, ledger)["builds"]

    (span,) = oldest["stable"]
    assert span["then"] == second.id
    assert span["until"] == newest["recorded"]
    assert oldest["stable_seconds"] == 30 * 60  # a commit, a start and a record, ten minutes each
    assert newest["stable"] == [
        {"since": newest["recorded"], "since_commit": ledger.head(), "until": None, "until_commit": None, "then": None}
    ]
    assert first.id == oldest["id"]


def test_a_candidate_becomes_stable_by_a_verdict(ask: Ask, ledger: Ledger) -> None:
    files = declared("base", f"{ON_DEBIAN}validation: {{required: true}}\n")
    ledger.commit(files)
    ledger.build("base", phase="candidate")
    ledger.judge("base", Verdict(status="passed", by="acme/validation", evidence="https://ci.example.org/7"))

    (build,) = told(ask, ledger)["builds"]

    assert build["candidate"][0]["since"] < build["stable"][0]["since"]
    assert build["verdict"]["by"] == "acme/validation"
    assert "passed by acme/validation" in ask(ledger, "history", "base").said


def test_failures_stand_between_the_builds(ask: Ask, ledger: Ledger) -> None:
    ledger.build("base")
    ledger.fail("base", "build failed in provisioner shell")
    change(ledger, "fixed")
    ledger.build("base", reasons=CHANGED)

    (failure,) = told(ask, ledger)["failures"]
    lines = ask(ledger, "history", "base").out.splitlines()

    assert failure["what"] == "build failed in provisioner shell"
    assert lines[0] == "base: 2 builds and 1 failure since 2026-11-22"
    assert ["inputs" in lines[3], "failed" in lines[4], " new" in lines[-1]] == [True, True, True]


def test_a_refresh_that_changed_nothing_is_told(ask: Ask, ledger: Ledger) -> None:
    build = ledger.build("base")
    for day in ("20261123", "20261124"):
        verified = Verified(at=f"2026-11-{day[6:]}T02:00:00Z", build=f"{day}T020000Z-0000000", key="sha256:1")
        lock = ledger.lock("base")
        kept = lock.builds[0].model_copy(update={"verified": verified})
        after = lock.model_copy(update={"builds": (kept,)})
        ledger.record("base", lambda _lock, after=after: (after, {}), "base: verified\n\nReconciler-Image: base")  # type: ignore[misc]  # the default binds this turn's value

    (told_build,) = told(ask, ledger)["builds"]

    assert [one["at"] for one in told_build["verified"]] == ["2026-11-23T02:00:00Z", "2026-11-24T02:00:00Z"]
    assert "verified unchanged 2026-11-24 (2 times)" in ask(ledger, "history", "base").said
    assert told_build["id"] == build.id


@pytest.mark.parametrize("method", ["merge", "squash"])
def test_the_pull_request_is_named(ask: Ask, ledger: Ledger, method: str) -> None:
    ledger.build("base")
    git(ledger.root, "switch", "--quiet", "--create", "feature")
    on_branch = change(ledger, "changed")
    git(ledger.root, "switch", "--quiet", "main")
    if method == "merge":
        git(ledger.root, "merge", "--quiet", "--no-ff", "feature", "-m", "Merge pull request #12 from acme/feature")
    else:
        change(ledger, "changed", "Change base (#12)")
    reasons = (Reason(code="inputs-changed", was="x", now=ledger.head()[:12]),)
    ledger.build("base", reasons=reasons, built_from=on_branch, verb="adopt")

    newest, oldest = told(ask, ledger)["builds"]

    assert newest["pull_request"] == 12
    assert oldest["pull_request"] is None
    assert f"{on_branch[:7]} #12" in ask(ledger, "history", "base").out


def test_it_can_be_told_as_of_a_tag(ask: Ask, ledger: Ledger) -> None:
    change(ledger, "changed", "Change base (#12)")
    build = ledger.build("base", built_from=ledger.head())
    git(ledger.root, "tag", "--annotate", "-m", "then", "then")
    change(ledger, "more")
    ledger.build("base", reasons=CHANGED)

    answer = ask(ledger, "history", "base", "--rev", "then", "--json")

    assert [(one["id"], one["pull_request"]) for one in answer.json["builds"]] == [(build.id, 12)]


def test_an_image_is_followed_through_its_names(ask: Ask, ledger: Ledger) -> None:
    ledger.build("base")
    ledger.build("web")  # beside it, so that there is another lockfile to mistake it for
    ledger.rename("base", "debian")
    ledger.rename("debian", "bookworm")

    history = told(ask, ledger, "bookworm")

    assert history["names"] == ["bookworm", "debian", "base"]
    assert [one["image"] for one in history["builds"]] == ["base"]
    assert "Called debian, before that base before." in ask(ledger, "history", "bookworm").said


def test_an_image_that_took_the_name_of_one_that_went_is_not_the_same(ask: Ask, ledger: Ledger) -> None:
    ledger.build("base")
    ledger.commit({"state/base.lock.json": None, "state/new.lock.json": '{"schema": 1, "image": "new"}\n'}, "Swap")

    assert told(ask, ledger, "new")["names"] == ["new"]


def test_an_image_that_was_removed_still_has_a_history(ask: Ask, ledger: Ledger) -> None:
    build = ledger.build("base")
    ledger.commit({"state/base.lock.json": None}, "base: retire (removed)")

    (told_build,) = told(ask, ledger)["builds"]

    assert told_build["id"] == build.id
    assert not told_build["kept"]
    assert told_build["stable"][0]["until"] is not None
    assert ask(ledger, "history", "base").out.splitlines()[0].endswith("; none is stable")


def test_what_was_retired_is_said_with_its_day_who_did_it_and_why(ask: Ask, ledger: Ledger) -> None:
    # Given an image that is kept in one location and one format less, and then is declared no more
    build = ledger.build("base")
    first = build.artifacts[0]
    made = Conversion(format="vmdk", id="sha256:1", size=1)
    also = first.model_copy(update={"location": "eu-west-9", "id": "ami-9"})

    def recorded(*artifacts: Artifact) -> bytes:
        lock = ledger.lock("base")
        changed = lock.builds[0].model_copy(update={"artifacts": artifacts})
        return render(lock.model_copy(update={"builds": (changed,)}))

    path = path_of("base")
    ledger.commit({path: recorded(first.model_copy(update={"conversions": (made,)}), also)}, "base: copy")
    for message, content in (
        ("base: retire (region-extra)\n\nReconciler-Reason: region-extra",
         recorded(first.model_copy(update={"conversions": (made,)}))),
        ("base: retire (format-extra)\n\nReconciler-Reason: format-extra", recorded(first)),
        ("base: retire (removed)\n\nReconciler-Reason: removed", None),
    ):  # fmt: skip
        ledger.commit({path: content}, message)

    turns = told(ask, ledger)["turns"]

    assert [(one["build"], one["what"], one["why"]) for one in reversed(turns)] == [
        (build.id, "retired", "eu-west-9 ami-9 is declared no more"),
        (build.id, "retired", f"{first.location} vmdk sha256:1 is declared no more"),
        (build.id, "retired", "its image is declared no more"),
    ]
    said = " ".join(ask(ledger, "history", "base").out.split())
    assert said.count("retired 2026-") == 3
    assert "is gone" not in said
    # And what became of the artifact is known by its id
    assert json.loads(ask(ledger, "which", first.id, "--json").out)["found"][0]["removed"] is not None


def test_a_lockfile_that_was_broken_once_is_left_out_and_named(ask: Ask, ledger: Ledger) -> None:
    ledger.build("base")
    good = ledger.read("state/base.lock.json")
    broken = ledger.commit({"state/base.lock.json": b"<<<<<<< HEAD\n"}, "Oops")
    ledger.commit({"state/base.lock.json": good}, "Fix")

    answer = ask(ledger, "history", "base")

    assert answer.code == 0
    assert f"The lockfile of {broken[:7]} can't be read" in answer.said
    assert list(told(ask, ledger)["unreadable"]) == [broken]


@pytest.mark.parametrize("seconds", ["253402300800", "9" * 30, "-5", "soon"])
def test_a_commit_of_a_time_that_no_calendar_has_ends_no_history(ask: Ask, ledger: Ledger, seconds: str) -> None:
    ledger.build("base")
    (ledger.root / "state/base.lock.json").write_bytes(b"\n" + ledger.read("state/base.lock.json"))
    git(ledger.root, "add", "--all")
    by = f"Ada <ada@example.org> {seconds} +0000"
    header = f"tree {git(ledger.root, 'write-tree')}\nparent {ledger.head()}\nauthor {by}\ncommitter {by}\n\nOdd\n"
    odd = git(ledger.root, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=header.encode())
    git(ledger.root, "update-ref", "HEAD", odd)

    assert ask(ledger, "history", "base").code == 0
    assert ask(ledger, "verify", "base").code == 0


def test_a_shallow_clone_says_that_it_ends(ask: Ask, ledger: Ledger, tmp_path: Path) -> None:
    ledger.build("base")
    change(ledger, "more")
    ledger.build("base", reasons=CHANGED)
    git(tmp_path, "clone", "--quiet", "--depth", "1", ledger.root.as_uri(), "shallow")
    shallow = replace(ledger, root=tmp_path / "shallow", settings=GitSettings())

    assert not told(ask, shallow)["complete"]
    said = ask(shallow, "history", "base").said
    assert "This clone's history ends here" in said
    assert "never" not in said
    assert "unknown" in said
    assert "or more, now" in said
    assert "pull request unknown" in said
    newest, oldest = told(ask, shallow)["builds"]
    assert (newest["cut_off"], newest["recorded_in"]) == (True, None)
    assert oldest["recorded"] == ledger.lock("base").builds[1].recorded


def test_a_failure_has_its_commit_and_pull_request(ask: Ask, ledger: Ledger) -> None:
    change(ledger, "more", "Change base (#12)")
    ledger.fail("base", "no package nginx-fulll")
    failure = ledger.lock("base").failure
    assert failure is not None
    git(ledger.root, "tag", "--annotate", "-m", "failed", f"image/base/{failure.build}", "HEAD^")

    (found,) = told(ask, ledger)["failures"]

    assert (found["commit"], found["pull_request"]) == (git(ledger.root, "rev-parse", "HEAD^"), 12)
    assert found["recorded_in"] == ledger.head()
    said = ask(ledger, "history", "base").said
    assert f"{found['commit'][:7]} #12" in said
    assert f"recorded by {ledger.head()[:7]}" in said


def test_an_image_that_was_never_booted_is_called_not_tested(ask: Ask, ledger: Ledger) -> None:
    ledger.build("base", smoke_test=SmokeTestResult(status="skipped", why="smoke_test.boot is false"))

    assert "not tested" in ask(ledger, "history", "base").said


def test_what_others_wrote_steers_no_terminal(ask: Ask, ledger: Ledger) -> None:
    ledger.build("base")
    ledger.fail("base", "\x1b[2Jfailed")

    answer = ask(ledger, "history", "base")

    assert "\x1b" not in answer.out


@pytest.mark.parametrize(
    ("image", "said"), [("bsae", 'did you mean "base"?'), ("-x", "No such option"), ("a\nb", "is no name for an image")]
)
def test_what_a_stranger_mistypes_is_explained(ask: Ask, ledger: Ledger, image: str, said: str) -> None:
    ledger.build("base")

    answer = ask(ledger, "history", image)

    assert answer.code == 1
    assert said in answer.err


def test_it_takes_as_many_processes_for_many_versions_as_for_one(
    ask: Ask, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.build("base")
    calls: list[str] = []
    attempt = Git.attempt

    def counted(self: Git, *arguments: str, **more: Any) -> Finished:
        calls.append(arguments[0])
        return attempt(self, *arguments, **more)

    monkeypatch.setattr(Git, "attempt", counted)
    told(ask, ledger)
    once = len(calls)
    for number in range(6):
        ledger.fail("base", f"failure {number}")
    calls.clear()

    assert len(told(ask, ledger)["failures"]) == 6
    assert len(calls) == once


def test_holds_and_their_release_are_told_with_who_and_why(ask: Ask, ledger: Ledger) -> None:
    # Given a hold that moves to another build, a change that is broken YAML, and the release
    first = ledger.build("base")
    change(ledger, "more")
    second = ledger.build("base", reasons=CHANGED)
    hold = f"{ON_DEBIAN}hold: {{build: {first.id}, reason: it breaks}}\n"
    commits = [
        ledger.commit(declared("base", text), message)
        for text, message in (
            (hold, "Hold it"),
            (f"{hold}description: the base\n", "Describe it"),
            (f"{ON_DEBIAN}hold: [\n", "Break it"),
            (f"{ON_DEBIAN}hold: {{build: {second.id}, reason: better}}\n", "Hold another"),
            (ON_DEBIAN, "Release it"),
        )
    ]
    turns = told(ask, ledger)["turns"]
    assert [(one["what"], one["build"], one["commit"], one["why"]) for one in reversed(turns)] == [
        ("held", first.id, commits[0], "it breaks"),
        ("released", first.id, commits[3], None),
        ("held", second.id, commits[3], "better"),
        ("released", second.id, commits[4], None),
    ]
    said = " ".join(ask(ledger, "history", "base").out.split())
    assert "it breaks" in said


def test_revocations_and_the_steps_of_gc_are_told(ask: Ask, ledger: Ledger) -> None:
    build = ledger.build("base")
    change(ledger, "more")
    ledger.build("base", reasons=CHANGED)
    newest, oldest = ledger.lock("base").builds
    revoked = oldest.model_copy(
        update={"phase": "revoked", "revoked": Revoked(reason="a leak", at="2026-11-23T00:00:00Z", phase="superseded")}
    )
    gone = Leaving(build=oldest, deprecated="2026-11-24T00:00:00Z")
    states: list[dict[str, Any]] = [
        {"builds": (newest, revoked)},
        {"builds": (newest, oldest)},
        {"builds": (newest,), "leaving": (gone,)},
        {"builds": (newest, oldest), "leaving": ()},
        {"builds": (newest,), "leaving": (gone,)},
        {"builds": (newest,), "leaving": (gone.model_copy(update={"disabled": "2026-12-08T00:00:00Z"}),)},
        {"builds": (newest,), "leaving": ()},
    ]
    lock = ledger.lock("base")
    for number, state in enumerate(states):
        ledger.commit({path_of("base"): render(lock.model_copy(update=state))}, f"base: step {number}")

    turns = told(ask, ledger)["turns"]

    assert {one["build"] for one in turns} == {build.id}
    assert [(one["what"], one["why"]) for one in reversed(turns)] == [
        ("revoked", "a leak"), ("unrevoked", "a leak"), ("deprecated", None), ("brought-back", None),
        ("deprecated", None), ("disabled", None), ("removed", None),
    ]  # fmt: skip
    (kept,) = (one["kept"] for one in told(ask, ledger)["builds"] if one["id"] == build.id)
    assert not kept
