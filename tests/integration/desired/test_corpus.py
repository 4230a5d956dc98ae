"""Templates in the shapes that public repositories have: valid as they are found, with every file that feeds them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.build.packer.binary import find
from reconciler.desired.fleet import read_fleet
from reconciler.git.repository import Repository
from reconciler.plan.reasons import repository_path
from tests.corpus.repositories import CorpusImage, CorpusRepository, repositories

EVERY = pytest.mark.parametrize("found", repositories(), ids=lambda found: found.name)


def test_there_are_enough_of_them() -> None:
    every = repositories()
    assert len(every) >= 25
    assert {folder.name for folder in Path(__file__).parents[2].joinpath("corpus").iterdir() if folder.is_dir()} - {
        "__pycache__"
    } == {one.name for one in every}


@EVERY
def test_a_template_is_valid_as_it_is_found_and_what_it_names_feeds_it(found: CorpusRepository, tmp_path: Path) -> None:
    fleet = read_fleet(Repository.open(found.lay_out(tmp_path / "repository")).tree())

    assert {name: [str(one) for one in wrong] for name, wrong in fleet.problems.items()} == {}
    assert fleet.warnings == ()
    inputs = {
        name: sorted(repository_path(image.folder, file.path) for file in image.inputs)
        for name, image in fleet.images.items()
    }
    assert inputs == {image.name: sorted(image.inputs) for image in found.images}


@pytest.mark.packer
@EVERY
def test_packer_takes_it_as_well(found: CorpusRepository, tmp_path: Path) -> None:
    root = found.lay_out(tmp_path / "repository", declared=False)
    refused = {image.name: said for image in found.images if (said := refused_by_packer(image, root)) is not None}
    assert refused == {}


def refused_by_packer(image: CorpusImage, root: Path) -> str | None:
    """What `packer validate` has against an image, where that Packer knows what its template says."""
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # ansible-playbook is among them
    environment = {**os.environ, "PATH": programs, "CHECKPOINT_DISABLE": "1", "AWS_REGION": "us-east-1"}
    packer = find(environment)
    if not image.is_known_to(packer.version):
        return None

    def here(path: str) -> str:
        return str(root / path.lstrip("/"))

    only = [f"-only={image.packer['only']}"] if "only" in image.packer else []
    var_files = [f"-var-file={here(path)}" for path in image.packer.get("var_files", [])]
    ended = subprocess.run(
        [packer.path, "validate", *only, *var_files, here(image.packer["template"])],
        cwd=here(image.packer.get("working_dir", "/")), env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if ended.returncode == 0 else ended.stdout + ended.stderr
