from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.model.errors import Place, Terminal
from reconciler.model.inventory import Inventory, OperatingSystem
from reconciler.model.lockfile import Artifact, Build
from reconciler.state.lockfiles import parse_build
from reconciler.state.sbom import read_sbom
from reconciler.state.unsaved import forget_unsaved, read_unsaved, read_unsaved_sbom, write_unsaved

BUILD = Build(
    id="20261122T101530Z-1a2b3c4", key="sha256:1a", components={}, commit="c", phase="preliminary",
    artifacts=(Artifact(kind="ami", builder="amazon-ebs.web", location="us-east-1", id="ami-0a"),),
)  # fmt: skip


INSIDE = Inventory(
    os=OperatingSystem(id="debian", version="12", name="Debian GNU/Linux 12 (bookworm)"), kernel="6.1.0-41",
    packages=(), services=("ssh.service",), ports=(), users=(), suid=(),
)  # fmt: skip


def test_an_unsaved_record_can_be_read_back(tmp_path: Path) -> None:
    path = write_unsaved(tmp_path, "web", build=BUILD)

    assert path == tmp_path / "reconciler-unsaved" / "web.json"
    assert parse_build(path.read_bytes(), Place(str(path))) == BUILD


def test_what_is_inside_is_kept_beside_the_record(tmp_path: Path) -> None:
    write_unsaved(tmp_path, "web", build=BUILD, inventory=INSIDE)

    assert read_unsaved(tmp_path, "web") == BUILD
    assert read_sbom(read_unsaved_sbom(tmp_path, "web") or b"").digest == INSIDE.digest


def test_nothing_is_written_through_a_link_that_a_commit_brought(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("theirs")
    folder = tmp_path / "reconciler-unsaved"
    folder.mkdir()
    for name in (".gitignore", "web.json"):
        (folder / name).symlink_to(elsewhere)

    write_unsaved(tmp_path, "web", build=BUILD)

    assert (elsewhere.read_text(), read_unsaved(tmp_path, "web")) == ("theirs", BUILD)


def test_the_folder_goes_with_its_last_record(tmp_path: Path) -> None:
    for image in ("base", "web"):
        write_unsaved(tmp_path, image, build=BUILD, inventory=INSIDE)

    forget_unsaved(tmp_path, "base")
    assert (read_unsaved(tmp_path, "base"), read_unsaved(tmp_path, "web")) == (None, BUILD)

    forget_unsaved(tmp_path, "web")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_stays(tmp_path: Path) -> None:
    tmp_path.joinpath("reconciler-unsaved").write_text("in the way")

    forget_unsaved(tmp_path, "web")

    assert tmp_path.joinpath("reconciler-unsaved").read_text() == "in the way"


def test_a_record_that_cannot_be_written_is_told_instead(tmp_path: Path) -> None:
    tmp_path.joinpath("reconciler-unsaved").write_text("in the way")

    with pytest.raises(Terminal, match="is not on record") as raised:
        write_unsaved(tmp_path, "web", build=BUILD)

    assert "ami-0a in us-east-1" in str(raised.value)


@pytest.mark.parametrize("link", ["reconciler-unsaved", "reconciler-unsaved/sbom"])
def test_no_record_is_written_through_a_link(tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Terminal, match=r"\(\S+ is a link\)") as told:
        write_unsaved(tmp_path, "web", build=BUILD, inventory=INSIDE)

    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert "ami-0a in us-east-1" in str(told.value)
