"""What `status` says of each image, in few columns and below them."""

from __future__ import annotations

import pytest

from reconciler.cli.status import remarks, show
from reconciler.model.smoke_test import HygieneFinding
from reconciler.plan.standing import Standing

UNTESTED = "not tested: smoke_test.boot is false"


def standing(
    image: str,
    *,
    source: str = "debian-12-amd64-20261101-1234",
    why: str | None = None,
    findings: tuple[HygieneFinding, ...] = (),
    health: str = "healthy",
) -> Standing:
    return Standing(
        image=image,
        stable="20261122T164046Z-6278fad",
        candidate="20261122T164046Z-6278fad",
        age="0 min",
        source=source,
        locations=("us-east-1",),
        sync="in-sync",
        health=health,
        why=why,
        findings=findings,
    )


def test_a_source_is_whole_where_there_is_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    show([standing("base"), standing("web", source="base 20261122T164046Z-6278fad")])
    assert (
        capsys.readouterr().out
        == """\
image  stable                    candidate  age    source                         health
base   20261122T164046Z-6278fad  same       0 min  debian-12-amd64-20261101-1234  healthy
web    20261122T164046Z-6278fad  same       0 min  base 20261122T164046Z-6278fad  healthy
"""
    )


def test_in_80_columns_a_source_is_shortened_and_the_builds_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show([standing("base"), standing("web", source="base 20261122T164046Z-6278fad")])
    assert (
        capsys.readouterr().out
        == """\
image  stable                    candidate  age    source            health
base   20261122T164046Z-6278fad  same       0 min  debian-12-amd64-  healthy
                                                   20261101-1234
web    20261122T164046Z-6278fad  same       0 min  base              healthy
                                                   20261122T164046Z
"""
    )


def test_what_is_said_of_several_images_is_said_once() -> None:
    rows = [standing("base", why=UNTESTED), standing("old", why="not built yet"), standing("web", why=UNTESTED)]
    assert list(remarks(rows)) == [f"base, web: {UNTESTED}"]


def test_a_finding_of_several_images_is_said_once_and_how_to_get_rid_of_it_too() -> None:
    key, logs = (HygieneFinding(code=code, text=f"{code} stays", hint=f"clear {code}") for code in ("key", "logs"))
    rows = [standing("base", findings=(key,)), standing("web", findings=(key, logs))]
    assert list(remarks(rows)) == [
        "base, web: finding: key stays", "  clear key", "web: finding: logs stays", "  clear logs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("why", "cell"),
    [("suspended: no need", "suspended: no need"), ("not built yet", "suspended: not built yet")],
)
def test_how_an_image_is_stands_there_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, why: str, cell: str
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    show([standing("web", why=why, health="suspended")])
    assert capsys.readouterr().out.splitlines()[1].endswith(f"  {cell}")
