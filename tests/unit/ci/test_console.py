"""What is printed in the job of a CI that obeys what it finds in a log."""

from __future__ import annotations

import json
import re
import sys
from io import BytesIO, StringIO, TextIOWrapper

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.ci.console import command_nobody
from reconciler.model.text import no_command, visible_json

# As Azure's agent and TeamCity's look for theirs: anywhere in a line, in either case.
COMMAND = re.compile(r"##(?:vso|teamcity)?\[", re.IGNORECASE)
BEGUN = ["#", "##", "##vso[x]", "##VSO[", "vso", "[", "##team", "city[a]", "##[", "a ", "\n"]
PIECES = st.lists(st.sampled_from(BEGUN))


def printed(pieces: list[str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What pieces that are printed one by one make of a log."""
    log = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), encoding="utf-8"))
    monkeypatch.setattr(sys, "stderr", TextIOWrapper(log, encoding="utf-8"))
    command_nobody(environment)
    for piece in pieces:
        sys.stderr.write(piece)
    sys.stderr.flush()
    return log.getvalue().decode()


@given(PIECES)
def test_whatever_is_printed_in_whatever_pieces_commands_no_agent(pieces: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shown = printed(pieces, {"TF_BUILD": "True"}, patch)
    assert COMMAND.search(shown) is None
    assert shown.replace(" ", "") == "".join(pieces).replace(" ", "")


def test_what_is_no_command_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["## a title\n", "#1 [x] ##", "\n[y]\n", "###\n"]
    assert printed(said, {"TEAMCITY_VERSION": "2024"}, monkeypatch) == "".join(said)


def test_where_no_agent_listens_everything_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(["##vso[task.complete]"], {"HOME": "/"}, monkeypatch) == "##vso[task.complete]"


def test_a_stream_that_is_none_of_the_system_s_stays_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = StringIO(), StringIO()
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    command_nobody({"CI": "true"})
    assert (sys.stdout, sys.stderr) == streams


@given(st.dictionaries(st.text(), PIECES.map("".join)))
def test_json_holds_no_command_and_says_the_same(said: dict[str, str]) -> None:
    shown = visible_json(json.dumps(said, ensure_ascii=False))
    assert COMMAND.search(shown) is None
    assert json.loads(shown) == said


@pytest.mark.parametrize("text", ["##vso[x", "###vso[x", "a##[b", "##vso[##vso["])
def test_one_blank_is_enough(text: str) -> None:
    assert no_command(text).count(" ") == text.count("##")


def test_a_stream_of_ascii_is_no_way_around(monkeypatch: pytest.MonkeyPatch) -> None:
    log = BytesIO()
    monkeypatch.setattr(sys, "stderr", TextIOWrapper(BytesIO(), encoding="utf-8"))
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(log, encoding="ascii"))
    command_nobody({"TF_BUILD": "True"})
    click.echo("##vso[task.complete] \N{BULLET}")
    sys.stdout.flush()
    assert log.getvalue().decode() == "# #vso[task.complete] \N{BULLET}\n"
