"""A fleet that is recalled is the fleet that would be read, and only where the files are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired import sealed
from reconciler.desired.fleet import read_fleet
from reconciler.desired.known_fleet import FILE, read_or_recall

MakeTree = Callable[..., Any]
TEMPLATE = "desired/web/web.pkr.hcl"


@pytest.fixture
def files(hcl: str) -> dict[str, str]:
    declared = """\
source: {ami: {name: "debian-12-*", owners: ["136693071363"]}}
suspend: {reason: "later", until: 2027-01-01}
"""
    settings = "defaults: {regions: [us-east-1, eu-west-1]}\nannounce: {webhook: {url: https://example.org}}\n"
    return {"desired/web/image.yaml": declared, TEMPLATE: hcl, "desired/reconciler.yaml": settings}


def unreadable(tree: Any) -> Any:
    """The same tree, in which every file can be listed and none be read."""
    tree._blobs.clear()
    return tree


def test_what_was_read_last_is_recalled_without_reading_a_file(
    tree: MakeTree, files: dict[str, str], tmp_path: Path
) -> None:
    first = read_or_recall(tree(files), tmp_path)

    again = read_or_recall(unreadable(tree(files)), tmp_path)

    assert again == first == read_fleet(tree(files))
    assert set(again.images) == {"web"}


@pytest.mark.parametrize(
    "change",
    [
        {"desired/web/image.yaml": "source: {ami: {id: ami-0abc}}\n"},
        {"desired/reconciler.yaml": "limits: {parallel_builds: 2}\n"},
        {"roles/anything.yml": "it may be an input\n"},
    ],
    ids=["a declaration", "the settings", "a file elsewhere"],
)
def test_when_any_file_changed_it_is_read_anew(
    tree: MakeTree, files: dict[str, str], tmp_path: Path, change: dict[str, str]
) -> None:
    read_or_recall(tree(files), tmp_path)

    assert read_or_recall(tree({**files, **change}), tmp_path) == read_fleet(tree({**files, **change}))


def test_what_is_recorded_changes_nothing_that_is_declared(
    tree: MakeTree, files: dict[str, str], tmp_path: Path
) -> None:
    first = read_or_recall(tree(files), tmp_path)

    again = read_or_recall(unreadable(tree({**files, "state/web.lock.json": "{}"})), tmp_path)

    assert again == first


def test_a_fleet_with_an_error_is_not_kept(tree: MakeTree, files: dict[str, str], tmp_path: Path) -> None:
    broken = {**files, "desired/web/image.yaml": "regoins: []\n"}

    assert set(read_or_recall(tree(broken), tmp_path).problems) == {"web"}
    assert not (tmp_path / FILE).exists()


def test_what_other_code_wrote_or_somebody_changed_is_not_believed(
    tree: MakeTree, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_or_recall(tree(files), tmp_path)
    kept = (tmp_path / FILE).read_bytes()

    (tmp_path / FILE).write_bytes(kept[:-1] + b"!")
    assert sealed.load(tmp_path / FILE, ()) is None

    (tmp_path / FILE).write_bytes(kept)
    monkeypatch.setattr(sealed, "_writer", lambda: b"another version")
    assert sealed.load(tmp_path / FILE, ()) is None
