"""Rows that are a table where there is room for one, and paragraphs where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

import reconciler.cli
from reconciler.cli.printing import show_json, show_rows

TITLES = ("build", "stable", "why")
ROWS = [("20261122T164046Z-6278fad", "never", "new\nrejected"), ("20261121T164046Z-0c1d2e3", "", "source-changed")]


def shown(columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    show_rows(TITLES, ROWS)
    return capsys.readouterr().out


def test_rows_are_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    table = """\
build                     stable  why
20261122T164046Z-6278fad  never   new
                                  rejected
20261121T164046Z-0c1d2e3          source-changed
"""
    assert shown(48, capsys, monkeypatch) == table
    assert shown(100, capsys, monkeypatch) == table


def test_where_that_is_too_wide_each_is_a_paragraph_and_no_id_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        shown(47, capsys, monkeypatch)
        == """\
20261122T164046Z-6278fad
  stable: never
  why: new; rejected
20261121T164046Z-0c1d2e3
  why: source-changed
"""
    )


def test_json_with_what_others_wrote_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"was": "CostCenter=\u202e41\x9b2J\u200b", "now": "naïve → 42"})

    assert capsys.readouterr().out == (
        '{\n  "was": "CostCenter=\\u202e41\\u009b2J\\u200b",\n  "now": "naïve → 42"\n}\n'
    )


def test_no_verb_prints_json_in_another_way() -> None:
    verbs = Path(reconciler.cli.__file__).parent.glob("*.py")
    direct = ("click.echo(json.dumps(_", "click.echo(json.dumps(answer", ".model_dump_json(")

    found = [
        (path.name, line.strip())
        for path in verbs
        for line in path.read_text().splitlines()
        if any(one in line for one in direct) and "show_json(" not in line and "write_file(" not in line
    ]

    assert found == []
