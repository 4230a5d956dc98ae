"""What `restore` says: the first line answers, and every location is told with what became of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.cli.restore import _print, headline
from reconciler.model.restoration import Restorable, Restoration, Restored

SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "restoration-1.json"
BUILD = "20261101T020411Z-9f1c2d3"
UNTIL = "2026-12-26T02:14:00Z"
LISTED = Restoration(
    head="9c0d1e2", kept_for={"us-east-1": 30, "eu-west-1": 0, "ap-south-1": None}, unread={"ap-south-1": "throttled"},
    restorable=(Restorable(image="web", build=BUILD, kind="ami", location="us-east-1", id="ami-1", until=UNTIL),),
)  # fmt: skip
BACK = Restoration(
    head="9c0d1e2", image="web", build=BUILD, commit="3f9c2aa0", remarks=("`gc` takes it away again",),
    artifacts=(
        Restored(kind="ami", location="us-east-1", id="ami-1", outcome="restored", until=UNTIL),
        Restored(kind="ami", location="eu-west-1", id="ami-2", outcome="gone", why="nothing keeps it any more"),
    ),
)  # fmt: skip


def test_the_first_line_answers() -> None:
    assert headline(LISTED) == "1 build can be brought back: 1 artifact"
    assert headline(BACK) == f"web {BUILD} is back in 1 of 2 locations"
    assert headline(BACK.model_copy(update={"artifacts": BACK.artifacts[1:]})).endswith("is there in 0 of 1 location")
    nothing = Restoration(head="9c0d1e2", kept_for={"us-east-1": 0})
    assert headline(nothing) == "nothing can be brought back"


def test_what_can_be_brought_back_is_listed_with_its_date(capsys: pytest.CaptureFixture[str]) -> None:
    _print(LISTED)
    said = capsys.readouterr()
    words = " ".join(said.out.split())
    assert f"web {BUILD} until 2026-12-26 02:14 UTC: us-east-1 ami-1" in words
    assert "What is removed in us-east-1 is kept for 30 days." in words
    assert "Nothing is kept in eu-west-1: what is removed there is gone for good." in words
    assert "what ap-south-1 keeps is not known: throttled" in " ".join(said.err.split())


def test_that_nothing_is_kept_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    _print(Restoration(head="9c0d1e2", kept_for={"us-east-1": 0}))
    words = " ".join(capsys.readouterr().out.split())
    assert words == (
        "nothing can be brought back. Nothing is kept in us-east-1: what is removed there is gone for good."
    )


def test_each_location_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    _print(BACK)
    said = capsys.readouterr()
    words = " ".join(said.out.split())
    assert "us-east-1 ami-1 restored, which could be done until 2026-12-26" in words
    assert "eu-west-1 ami-2 gone for good: nothing keeps it any more" in words
    assert "Recorded by 3f9c2aa." in words
    assert "takes it away again" in said.err


@pytest.mark.parametrize("one", [LISTED, BACK])
def test_the_json_fits_its_schema(one: Restoration) -> None:
    schema = json.loads(SCHEMA.read_bytes())
    Draft202012Validator(schema).validate(json.loads(one.model_dump_json()))
