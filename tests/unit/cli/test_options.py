"""What several verbs take: times as people write them, and what a shell offers to complete."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from reconciler.cli.main import cli
from reconciler.cli.options import moment
from reconciler.model.errors import UserError

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", NOW - timedelta(days=30)),
        ("90m", NOW - timedelta(minutes=90)),
        ("0s", NOW),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T12:30:00Z", datetime(2026, 11, 1, 12, 30, tzinfo=UTC)),
        ("2026-11-01T12:30:00+02:00", datetime(2026, 11, 1, 10, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_duration_before_now_a_day_or_a_time(text: str, expected: datetime) -> None:
    assert moment(text, option="--since", now=NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "d", "30", "yesterday", "2026-11-31", "2026-12-01", "99999w", "1969-12-31", "-3d", "٣d"]
)
def test_what_is_no_time_that_was_is_refused_with_what_one_is(text: str) -> None:
    with pytest.raises(UserError, match="--since: ") as refused:
        moment(text, option="--since", now=NOW)

    assert "30d" in refused.value.hint[0]


def offered(words: list[str], incomplete: str = "") -> list[str]:
    found = BashComplete(cli, {}, "reconciler", "_RECONCILER_COMPLETE").get_completions(words, incomplete)
    return [one.value for one in found]


@pytest.mark.parametrize(
    "name", ["$(touch x)", "`x`", "a;x", "a b", "a&x", "a|x", "a\nplain,x", "-rf", "~x", "{a,b}", "\x1b[2J", "a*", "é"]
)
def test_nothing_is_offered_that_a_shell_would_run_or_read_otherwise(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # Given what a branch calls a folder, and what its lockfile says: a shell puts what is offered into the line
    (fleet / "desired" / name).mkdir()
    builds = [{"id": name, "artifacts": [{"location": name}, name, {}]}, name, {"artifacts": 7}]
    (fleet / "state" / "web.lock.json").write_text(json.dumps({"builds": builds}))

    assert offered(["plan"]) == ["web", "worker"]
    assert offered(["show", "web"]) == ["candidate", "stable"]
    assert offered(["artifact", "web"]) == []


def test_a_lockfile_without_end_or_bottom_completes_nothing(fleet: Path) -> None:
    lock = fleet / "state" / "web.lock.json"
    lock.write_text("[" * 100_000)
    assert offered(["artifact", "web"]) == []
    lock.unlink()
    lock.symlink_to("/dev/zero")
    assert offered(["artifact", "web"]) == []


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with `web`, which was built twice in two locations, and `worker`, whose lockfile is broken."""
    for name in ("web", "worker"):
        (tmp_path / "desired" / name).mkdir(parents=True)
    (tmp_path / "state").mkdir()
    builds = [
        {"id": build, "artifacts": [{"location": place, "id": "ami-1"} for place in ("us-east-1", "eu-west-1")]}
        for build in ("20261122T101530Z-1a2b3c4", "20261121T101530Z-0a2b3c4")
    ]
    (tmp_path / "state" / "web.lock.json").write_text(json.dumps({"builds": builds}))
    (tmp_path / "state" / "worker.lock.json").write_text("<<<<<<<")
    monkeypatch.chdir(tmp_path / "desired" / "web")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["artifact"], "w", ["web", "worker"]),
        (["artifact", "web"], "", ["eu-west-1", "us-east-1"]),
        (["artifact", "web"], "us", ["us-east-1"]),
        (["artifact", "worker"], "", []),
        (["artifact", "nosuch"], "", []),
        (["artifact", "web", "--channel"], "s", ["stable"]),
        (["show"], "we", ["web"]),
        (["show", "web"], "2026112", ["20261121T101530Z-0a2b3c4", "20261122T101530Z-1a2b3c4"]),
        (["show", "web"], "c", ["candidate"]),
        (["diff", "--since", "30d"], "wo", ["worker"]),
        ([], "wh", ["which"]),
    ],
)
def test_a_shell_completes_names_locations_and_builds(
    fleet: Path, words: list[str], incomplete: str, offered: list[str]
) -> None:
    completions = BashComplete(cli, {}, "reconciler", "_RECONCILER_COMPLETE").get_completions(words, incomplete)

    assert [one.value for one in completions] == offered


def test_outside_of_a_fleet_nothing_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert BashComplete(cli, {}, "reconciler", "_X").get_completions(["artifact", "web"], "") == []
