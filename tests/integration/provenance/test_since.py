"""What `diff --since` says changed in a fleet, and which images `status --older-than` names."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.cli.main import main
from reconciler.model.declaration import GitSettings
from reconciler.model.lockfile import Build, Reason
from reconciler.state.lockfiles import path_of, render
from tests.integration.provenance.conftest import Ask
from tests.integration.provenance.ledger import BEGIN, ON_DEBIAN, Ledger, declared, git

SCHEMAS = Path(__file__).parents[3] / "docs" / "schema"
CHANGED = (Reason(code="inputs-changed", was="x", now="y"),)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MIDDLE = "2026-11-24"
"""A day between the first builds and the next."""


@pytest.fixture
def ledger(built: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """`base`, and `web` on it, built a week ago; what follows is done by a clock that stands four days later."""
    for verb in ("diff", "status"):
        monkeypatch.setattr(f"reconciler.cli.{verb}.now", lambda: NOW)
    built.moment = BEGIN + timedelta(days=4)
    return built


def rebuilt(ledger: Ledger, name: str = "base", **packages: str) -> Build:
    ledger.commit(declared(name, ON_DEBIAN, setup=str(ledger.moment)))
    return ledger.build(name, packages=packages or {"nginx": "1.22.1-9+deb12u2", "jq": "1.6-2"}, reasons=CHANGED)


def changes(ask: Ask, ledger: Ledger, *arguments: str) -> Any:
    answer = ask(ledger, "diff", "--since", *arguments, "--json")
    assert answer.code == 0, answer.err
    Draft202012Validator(json.loads((SCHEMAS / "changes-1.json").read_text())).validate(answer.json)
    return answer.json


def test_the_images_whose_stable_build_is_another_are_told_with_what_that_changed(ask: Ask, ledger: Ledger) -> None:
    old = ledger.lock("base").channels.stable
    rebuilt(ledger, nginx="1.22.1-10")  # which was stable for a while, and is no more
    new = rebuilt(ledger)

    found = changes(ask, ledger, MIDDLE)
    lines = ask(ledger, "diff", "--since", MIDDLE).out.splitlines()

    (change,) = found["changed"]
    assert (change["image"], change["old"], change["new"]) == ("base", old, new.id)
    assert [one["name"] for one in change["difference"]["packages"]] == ["jq", "nginx"]
    assert (found["images"], found["complete"], found["since"]) == (2, True, "2026-11-24T00:00:00Z")
    assert lines[0] == "1 of 2 images changed since 2026-11-24: base"
    said = " ".join(" ".join(lines).split())
    assert f"{old}" in said
    assert "nginx 1.22.1-9 → 1.22.1-9+deb12u2, +jq 1.6-2" in said


@pytest.mark.parametrize("since", ["5d", "1w", "2026-11-23", "2026-11-23T10:00:00Z"])
def test_a_time_is_a_duration_or_a_day(ask: Ask, ledger: Ledger, since: str) -> None:
    rebuilt(ledger)

    assert {one["image"] for one in changes(ask, ledger, since)["changed"]} >= {"base"}


def test_nothing_is_one_line(ask: Ask, ledger: Ledger) -> None:
    assert (
        ask(ledger, "diff", "--since", "2d").out
        == "No stable build changed since 2026-11-27 12:00:00 UTC (2 images).\n"
    )
    assert changes(ask, ledger, "2d")["changed"] == []


def test_a_build_that_is_no_more_than_a_candidate_changes_nothing(ask: Ask, ledger: Ledger) -> None:
    ledger.commit(declared("base", f"{ON_DEBIAN}validation: {{required: true}}\n", setup="more"))
    ledger.build("base", phase="candidate", reasons=CHANGED)

    assert changes(ask, ledger, MIDDLE)["changed"] == []


def test_images_that_came_and_went_are_told(ask: Ask, ledger: Ledger) -> None:
    old = ledger.lock("web").channels.stable
    ledger.commit(declared("new", ON_DEBIAN))
    new = ledger.build("new")
    ledger.commit({"state/web.lock.json": None}, "web: retire (removed)")

    found = {one["image"]: (one["old"], one["new"]) for one in changes(ask, ledger, MIDDLE)["changed"]}

    assert found == {"new": (None, new.id), "web": (old, None)}
    said = ask(ledger, "diff", "--since", MIDDLE).said
    assert f"new none {new.id} new" in said
    assert f"web {old} none nothing is stable any more" in said


def test_all_is_new_where_the_fleet_is_younger(ask: Ask, ledger: Ledger) -> None:
    found = changes(ask, ledger, "2026-01-01")

    assert [(one["image"], one["old"]) for one in found["changed"]] == [("base", None), ("web", None)]
    assert (found["old"], found["complete"]) == (None, True)


def test_a_renamed_image_is_followed(ask: Ask, ledger: Ledger) -> None:
    ledger.commit({"state/web.lock.json": None}, "web: retire (removed)")
    ledger.rename("base", "debian")
    old = ledger.lock("debian").channels.stable
    ledger.commit(declared("debian", ON_DEBIAN, setup="more"))
    new = ledger.build("debian", packages={"nginx": "2"}, reasons=CHANGED)

    (change,) = [one for one in changes(ask, ledger, MIDDLE)["changed"] if one["image"] == "debian"]

    assert (change["was"], change["old"], change["new"]) == ("base", old, new.id)
    assert change["difference"]["packages"][0]["name"] == "nginx"
    assert "called base then" in ask(ledger, "diff", "--since", MIDDLE).said


def test_only_the_images_that_are_named_are_told(ask: Ask, ledger: Ledger) -> None:
    rebuilt(ledger)

    assert changes(ask, ledger, MIDDLE, "web")["changed"] == []
    assert [one["image"] for one in changes(ask, ledger, MIDDLE, "web", "base")["changed"]] == ["base"]


def test_what_was_not_looked_into_is_said_to_be_unknown(ask: Ask, ledger: Ledger) -> None:
    ledger.commit(declared("base", ON_DEBIAN, setup="more"))
    build = ledger.build("base", reasons=CHANGED, inventory=None)

    (change,) = changes(ask, ledger, MIDDLE)["changed"]

    assert (change["difference"], build.id in change["unknown"]) == (None, True)
    assert "not known: " in ask(ledger, "diff", "--since", MIDDLE).said


def test_it_can_be_had_as_markdown(ledger: Ledger, capfd: pytest.CaptureFixture[str]) -> None:
    old, new = ledger.lock("base").channels.stable, rebuilt(ledger)

    assert main(["diff", "--since", MIDDLE, "--markdown", "-C", str(ledger.root)]) == 0
    lines = capfd.readouterr().out.splitlines()

    assert lines[0] == "### 1 of 2 images changed since 2026-11-24: base"
    assert lines[-1].startswith(f"| **base** | `{old}` | `{new.id}` | nginx 1.22.1-9 → ")


def test_a_clone_without_its_history_says_that_it_shows_too_much(ask: Ask, ledger: Ledger, tmp_path: Path) -> None:
    rebuilt(ledger)
    git(tmp_path, "clone", "--quiet", "--depth", "1", ledger.root.as_uri(), "shallow")
    shallow = replace(ledger, root=tmp_path / "shallow", settings=GitSettings())

    assert not changes(ask, shallow, MIDDLE)["complete"]
    assert "git fetch --unshallow" in ask(shallow, "diff", "--since", MIDDLE).said


@pytest.mark.parametrize("option", [("diff", "--since"), ("status", "--older-than")])
@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("30x", "'30x' is no duration, and no day"),
        ("2026-13-01", "is no duration, and no day"),
        ("2027-01-01", "2027-01-01 is still to come"),
        ("999999w", "999999w is before there were commits"),
        ("", "'' is no duration, and no day"),
        ("9" * 30 + "d", "is no duration, and no day"),
    ],
)
def test_what_is_no_time_is_explained(ask: Ask, ledger: Ledger, option: tuple[str, str], given: str, what: str) -> None:
    answer = ask(ledger, *option, given)

    assert (answer.code, answer.out) == (1, "")
    first, hint = answer.err.splitlines()
    assert first.startswith(f"error: {option[1]}: ")
    assert what in first
    assert "such as 30d" in hint


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", MIDDLE, "bsae"], 'did you mean "base"?'),
        (["--since", MIDDLE, "zzz"], "recorded are: base, web"),
        ([], "name an image, and if you like its builds; or --since WHEN"),
        (["--since", MIDDLE, "--json", "--markdown"], "exclude each other"),
    ],
)
def test_what_is_mistyped_is_explained(ask: Ask, ledger: Ledger, arguments: list[str], said: str) -> None:
    answer = ask(ledger, "diff", *arguments)

    assert (answer.code, answer.out) == (1, "")
    assert said in answer.err


def test_a_lockfile_that_cannot_be_read_is_named(ask: Ask, ledger: Ledger) -> None:
    ledger.commit({path_of("base"): b"<<<<<<< HEAD\n"}, "Oops")

    answer = ask(ledger, "diff", "--since", MIDDLE)

    assert (answer.code, answer.err.startswith("error: state/base.lock.json:1:1: ")) == (1, True)


# `status --older-than`.


def ages(ask: Ask, ledger: Ledger, when: str, *more: str) -> list[str]:
    answer = ask(ledger, "status", "--older-than", when, *more, "--json")
    assert answer.code == 0, answer.err
    Draft202012Validator(json.loads((SCHEMAS / "status-1.json").read_text())).validate(answer.json)
    return [one["image"] for one in answer.json["images"]]


def test_only_images_whose_stable_build_is_older_are_shown(ask: Ask, ledger: Ledger) -> None:
    rebuilt(ledger)

    answer = ask(ledger, "status", "--older-than", "5d")

    assert ages(ask, ledger, "5d") == ages(ask, ledger, MIDDLE) == ["web"]
    assert ages(ask, ledger, "5d", "web") == ["web"]
    assert answer.out.splitlines()[0] == "1 of 2 images older than 5d: web"
    assert [line.split()[0] for line in answer.out.splitlines()[1:3]] == ["image", "web"]
    assert ask(ledger, "status", "--older-than", "30d").out == "No image is older than 30d (2 images).\n"


def test_where_nothing_is_stable_the_candidate_counts_and_what_is_not_built_has_no_age(
    ask: Ask, ledger: Ledger
) -> None:
    base = ledger.lock("base")
    waiting = base.channels.model_copy(update={"stable": None})
    build = base.builds[0].model_copy(update={"phase": "candidate"})
    lock = base.model_copy(update={"channels": waiting, "builds": (build,)})
    ledger.commit({path_of("base"): render(lock), **declared("new", ON_DEBIAN)}, "Take stable away")

    assert ages(ask, ledger, "5d") == ["base", "web"]


def test_a_newer_candidate_makes_no_stable_build_younger(ask: Ask, ledger: Ledger) -> None:
    ledger.commit(declared("base", f"{ON_DEBIAN}validation: {{required: true}}\n", setup="more"))
    ledger.build("base", phase="candidate", reasons=CHANGED)

    assert ages(ask, ledger, "5d") == ["base", "web"]
