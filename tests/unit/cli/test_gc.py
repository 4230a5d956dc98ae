"""What `gc` says: the first line answers, what goes is named with its artifacts, what stays is counted by reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.cli.gc import _print, headline, show_collected
from reconciler.model.collection import Collection, Fate, Took, Unmanaged
from reconciler.model.lockfile import Conversion

SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "collection-1.json"
BUILD = "20261101T020411Z-9f1c2d3"


def fate(location: str, number: int, **more: Any) -> Fate:
    what = {"image": "web", "build": BUILD, "kind": "ami", "location": location, "id": f"ami-{number:017x}"}
    return Fate.model_validate(what | {"goes": False, "code": "channel", "why": "a channel points to it"} | more)


GOING = {"goes": True, "code": "superseded", "why": "3 newer builds are kept"}
JUDGED = Collection(
    head="9c0d1e2", applied=False, unread={"ap-south-1": "not allowed"},
    artifacts=(
        fate("eu-west-1", 1, **GOING, step="deprecate", undo="2026-12-27T00:00:00Z"),
        fate("us-east-1", 2, **GOING, step="deprecate", undo="2026-12-27T00:00:00Z"),
        fate("us-east-1", 3, **GOING, build="20261001T020411Z-1111111", step="retire", due="2026-12-01T00:00:00Z"),
        fate("us-east-1", 4), fate("eu-west-1", 5),
        fate("us-east-1", 6, code="used", why="instance i-0 (stopped) in us-east-1 uses ami-6"),
    ),
)  # fmt: skip
DONE = JUDGED.model_copy(update={
    "applied": True, "failed": {"api": "throttled"}, "put_off": 2,
    "took": (
        Took(image="web", build=BUILD, step="disable", location="us-east-1", id="ami-1"),
        Took(image="web", build=BUILD, step="retire", location="us-east-1", id="ami-2", parts=("snap-1",)),
    ),
})  # fmt: skip


def test_the_first_line_answers() -> None:
    assert headline(JUDGED) == (
        "3 of 6 artifacts may go: 2 to be deprecated, 1 waiting; nothing is done without --apply"
    )
    assert headline(DONE) == "2 steps taken: 1 disabled, 1 removed"
    nothing = JUDGED.model_copy(update={"artifacts": JUDGED.artifacts[3:]})
    assert headline(nothing) == "0 of 3 artifacts may go"
    assert headline(nothing.model_copy(update={"applied": True})) == "no step was due: nothing is done"


def test_what_goes_is_named_and_what_stays_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    _print(JUDGED, verbose=False)
    said = capsys.readouterr()
    words = " ".join(said.out.split())
    assert (
        f"web {BUILD} to be deprecated now: 3 newer builds are kept; a hold brings it back until 2026-12-27 at least: "
        "eu-west-1 ami-00000000000000001 us-east-1 ami-00000000000000002"
    ) in words
    assert "to be removed from 2026-12-01 on" in words
    assert "2 channel: a channel points to them" in words
    assert "1 used: in use (instance i-0 (stopped) in us-east-1 uses ami-6)" in words
    assert "ami-00000000000000004" not in words
    assert said.err == "ap-south-1 could not be read, so all stays there: not allowed\n"


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (7, "what is removed in us-east-1 can be restored for 7 days"),
        (0, "what is removed in us-east-1 is gone for good"),
        (None, "whether what is removed in us-east-1 can be restored is not known"),
    ],
)
def test_it_is_said_for_how_long_what_is_removed_can_be_restored(
    days: int | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _print(JUDGED.model_copy(update={"restorable": {"us-east-1": days, "eu-west-1": 0}}), verbose=False)
    assert capsys.readouterr().err.splitlines()[0] == said


def test_what_goes_with_a_disk_is_named_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    made = (Conversion(format="raw", id="sha256:1", size=8), Conversion(format="vmdk", id="sha256:2", size=3))
    going = fate("/srv/images", 2, **GOING, step="retire", conversions=made)
    took = Took(image="web", build=BUILD, step="retire", location="/srv/images", id=going.id, conversions=made)
    _print(JUDGED.model_copy(update={"artifacts": (going,)}), verbose=False)
    _print(DONE.model_copy(update={"artifacts": (), "took": (took,)}), verbose=False)
    words = " ".join(capsys.readouterr().out.split())
    assert words.count(f"/srv/images {going.id} (and as raw and vmdk)") == 2


def test_what_is_nobody_s_is_counted_and_with_verbose_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = (
        Unmanaged(kind="ami", location="us-east-1", id="ami-9", name="by hand"),
        Unmanaged(kind="snapshot", location="us-east-1", id="snap-9", name="of ami-8"),
    )
    found = JUDGED.model_copy(update={"unmanaged": {"eu-west-1": None, "us-east-1": listed, "ap-south-1": ()}})
    _print(found, verbose=False)
    said = capsys.readouterr().out
    assert "Without a fleet's marks in us-east-1, and never touched: 1 ami, 1 snapshot." in said
    assert "Without a fleet's marks in ap-south-1, and never touched: nothing." in said
    assert "What is in eu-west-1 without a fleet's marks is not known." in said
    assert "ami-9" not in said
    _print(found, verbose=True)
    assert "snapshot snap-9 of ami-8" in capsys.readouterr().out


def test_verbose_names_what_stays_too(capsys: pytest.CaptureFixture[str]) -> None:
    _print(JUDGED, verbose=True)
    assert "ami-00000000000000004 channel: a channel points to it" in " ".join(capsys.readouterr().out.split())


def test_what_was_done_is_named_with_what_stays_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    _print(DONE, verbose=False)
    said = capsys.readouterr()
    assert "removed us-east-1 ami-2; snap-1 stays, as something else uses it" in " ".join(said.out.split())
    assert "api: throttled; the next run goes on" in said.err
    assert "2 images had to wait for another run" in said.err


def test_what_is_there_still_is_not_counted_as_removed(capsys: pytest.CaptureFixture[str]) -> None:
    gone, left = (
        Took(image="web", build="20261122T101530Z-1a2b3c4", step="retire", location=where, id="sha256:1", stays=why)
        for where, why in (("registry.example.org/web", ""), ("mirror.example.org/web", "it is tagged prod as well"))
    )  # fmt: skip
    days = {gone.location: 0, left.location: 3}
    found = Collection(head="1", applied=True, artifacts=(), took=(gone, left), restorable=days)

    _print(found, verbose=False)

    said = " ".join("".join(capsys.readouterr()).split())
    assert headline(found) == "2 steps taken: 1 removed, 1 recorded no more, and left there"
    assert "removed registry.example.org/web sha256:1" in said
    assert "mirror.example.org/web sha256:1, which stays: it is tagged prod as well" in said
    assert "removed mirror.example.org" not in said
    assert "is gone for good" in said
    assert "can be restored" not in said


def test_a_run_says_it_in_a_line_where_it_was_part_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_collected(None)
    show_collected(DONE)
    assert capsys.readouterr().out == "2 steps taken: 1 disabled, 1 removed.\n"


@pytest.mark.parametrize("found", [JUDGED, DONE], ids=["judged", "done"])
def test_the_json_is_as_its_schema_says(found: Collection) -> None:
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(found.model_dump_json()))


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_is_wider_than_there_is_room(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    _print(JUDGED, verbose=True)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= width
