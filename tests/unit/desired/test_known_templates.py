"""Facts of templates that are kept between runs: they spare the parsing, and never change what is read."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired import sealed
from reconciler.desired.fleet import read_fleet
from reconciler.desired.known_templates import FILE, KnownTemplates

MakeTree = Callable[..., Any]
TEMPLATE = "desired/web/web.pkr.hcl"


@pytest.fixture
def files(hcl: str) -> dict[str, str]:
    filtered = 'source: {ami: {name: "debian-12-*", owners: ["136693071363"]}}\n'
    return {"desired/web/image.yaml": filtered, TEMPLATE: hcl, "desired/web/more.pkr.hcl": 'locals { a = "b" }\n'}


def without_content(tree: Any, *paths: str) -> Any:
    """The same tree, in which these files can be listed and no more be parsed."""
    for path in paths:
        tree._blobs[tree.entries[path].oid] = b"{{{"
    return tree


def test_a_template_that_was_read_before_is_not_parsed_again(
    tree: MakeTree, files: dict[str, str], tmp_path: Path
) -> None:
    first = read_fleet(tree(files), KnownTemplates(tmp_path))

    again = read_fleet(without_content(tree(files), TEMPLATE), KnownTemplates(tmp_path))

    assert again == first
    assert set(again.images) == {"web"}


@pytest.mark.parametrize(
    "change",
    [
        {TEMPLATE: 'source "null" "other" {}\nbuild { sources = ["source.null.other"] }\n'},
        {"desired/web/new.pkr.hcl": 'variable "x" { default = "y" }\n'},
        {"desired/web/image.yaml": "packer: {working_dir: /}\nsource: {ami: {id: ami-0abc}}\n"},
        {"desired/web/a.auto.pkrvars.hcl": 'source_ami = "ami-0def"\n'},
    ],
    ids=["a file", "one more file", "where Packer runs", "a file of variables"],
)
def test_whatever_the_facts_depend_on_makes_them_be_read_anew(
    tree: MakeTree, files: dict[str, str], tmp_path: Path, change: dict[str, str]
) -> None:
    read_fleet(tree(files), KnownTemplates(tmp_path))
    changed = {**files, **change}

    assert read_fleet(tree(changed), KnownTemplates(tmp_path)) == read_fleet(tree(changed))
    unreadable = without_content(tree({**files, **change}), TEMPLATE)
    assert read_fleet(unreadable, KnownTemplates(tmp_path)).images, "the new facts were kept"


def test_a_broken_template_is_reported_each_time(tree: MakeTree, files: dict[str, str], tmp_path: Path) -> None:
    broken = {**files, TEMPLATE: "build {"}
    first = read_fleet(tree(broken), KnownTemplates(tmp_path))

    again = read_fleet(tree(broken), KnownTemplates(tmp_path))

    assert [str(problem) for problem in again.problems["web"]] == [str(problem) for problem in first.problems["web"]]


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_file_that_was_changed_is_not_believed(
    tree: MakeTree, files: dict[str, str], tmp_path: Path, place: int
) -> None:
    honest = read_fleet(tree(files), KnownTemplates(tmp_path))
    content = bytearray((tmp_path / FILE).read_bytes())
    content[place] ^= 1
    (tmp_path / FILE).write_bytes(content)

    assert read_fleet(tree(files), KnownTemplates(tmp_path)) == honest


def test_what_another_version_wrote_is_not_believed(
    tree: MakeTree, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_fleet(tree(files), KnownTemplates(tmp_path))
    monkeypatch.setattr(sealed, "_writer", lambda: b"another version")

    unreadable = without_content(tree(files), TEMPLATE)

    assert set(read_fleet(unreadable, KnownTemplates(tmp_path)).problems) == {"web"}


class Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_reading_the_file_runs_nothing_whoever_wrote_it(tree: MakeTree, files: dict[str, str], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    payload = pickle.dumps({"key": Malice(trace)})
    seal = hashlib.sha256(sealed._writer() + payload).digest()
    (tmp_path / FILE).write_bytes(seal + payload)

    assert set(read_fleet(tree(files), KnownTemplates(tmp_path)).images) == {"web"}
    assert not trace.exists()


def test_what_is_not_declared_any_more_is_forgotten(tree: MakeTree, files: dict[str, str], tmp_path: Path) -> None:
    other = {path.replace("/web/", "/api/"): text for path, text in files.items()}
    read_fleet(tree({**files, **other}), KnownTemplates(tmp_path))
    both = (tmp_path / FILE).stat().st_size

    read_fleet(tree({**files, TEMPLATE: files[TEMPLATE] + "\n"}), KnownTemplates(tmp_path))

    assert (tmp_path / FILE).stat().st_size < both


def test_a_folder_that_cannot_be_written_is_no_trouble(tree: MakeTree, files: dict[str, str], tmp_path: Path) -> None:
    occupied = tmp_path / "a-file"
    occupied.write_text("")

    assert set(read_fleet(tree(files), KnownTemplates(occupied)).images) == {"web"}
