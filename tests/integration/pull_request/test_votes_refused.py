"""`reconciler verdict` says what is wrong with a vote before it touches anything: no AWS is reached here."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cli.main import main as reconciler
from tests.integration.loop.world import World
from tests.integration.pull_request.pulls import Listener, main, newest

PROOF = ("--evidence", "https://ci.example.org/7")


@pytest.fixture
def clone(world: World) -> Path:
    return world.controller().root


def test_a_build_that_is_not_recorded_is_named_with_those_that_are(
    world: World, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconciler(["verdict", "web", "20200101T000000Z-0000000", "pass", *PROOF, "-C", str(clone)]) == 1
    said = capsys.readouterr().err
    assert "no build 20200101T000000Z-0000000 of web is recorded" in said
    assert newest(world, "web").id in said


def test_an_image_that_is_not_recorded_is_said(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconciler(["verdict", "wep", "20200101T000000Z-0000000", "pass", *PROOF, "-C", str(clone)]) == 1
    said = capsys.readouterr().err
    assert "no image is named 'wep'" in said
    assert 'did you mean "web"?' in said


@pytest.mark.parametrize("option", ["--evidence", "--by"])
def test_what_does_not_fit_into_a_tag_is_refused_and_not_cut(
    world: World, clone: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    build = newest(world, "web").id
    assert reconciler(["verdict", "web", build, "pass", *PROOF, option, "x" * 257, "-C", str(clone)]) == 1
    assert f"{option} has 257 characters, and a tag's value takes 256" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[1]"])
def test_a_file_that_is_no_announcement_is_said(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notification.json"
    file.write_bytes(content)
    asked = ["verdict", "web", "20200101T000000Z-0000000", "pass", *PROOF, "--announcement", str(file)]
    assert reconciler(asked) == 1
    assert f"{file} holds no announcement" in capsys.readouterr().err


def test_an_announcement_of_another_build_is_not_voted_on(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listener = Listener()
    main(world, listener).go()
    file = tmp_path / "notification.json"
    file.write_bytes(listener.heard[0].body())
    asked = ["verdict", "web", "20200101T000000Z-0000000", "fail", *PROOF, "--announcement", str(file)]
    assert reconciler(asked) == 1
    assert "announces base " in capsys.readouterr().err
