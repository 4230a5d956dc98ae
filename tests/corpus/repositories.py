"""Repositories of templates in the shapes that are found in public, and the images that they are.

Each folder beside this file is one, as it would be found: nothing in it knows of us. `images.yaml` says of each image
with which template, working directory, builds and var files it is built, and which of its files feed it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reconciler.model.constraint import Version, parse_version

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class CorpusImage:
    """One image of a repository."""

    name: str
    packer: Mapping[str, Any]
    """As `packer` in image.yaml."""
    inputs: tuple[str, ...]
    """Every file that feeds it, from the root."""
    builds: str | None = None
    """Why it is not built by the tests; None for one that is."""
    since: str | None = None
    """The first Packer that knows what its template says; None for 1.6."""
    until: str | None = None
    """The first Packer that does not, as it has no plugin of the tests' for it; None for none."""
    each: str | None = None
    """Why every Packer that knows it builds it; None for one of which the oldest shows as much as all."""

    def is_known_to(self, packer: Version) -> bool:
        """Whether a Packer of this version knows what its template says."""
        since, until = (parse_version(text) if text else None for text in (self.since, self.until))
        return (since is None or packer >= since) and (until is None or packer < until)

    def is_built_on(self, packer: Version, packers: Iterable[Version]) -> bool:
        """Whether the tests build it on this Packer, of those that there are."""
        knowing = [one for one in packers if self.is_known_to(one)]
        return self.builds is None and packer in (knowing if self.each else sorted(knowing)[:1])


@dataclass(frozen=True)
class CorpusRepository:
    """One repository with its images."""

    name: str
    images: tuple[CorpusImage, ...] = field(default=())

    def copy_to(self, folder: Path, *, declared: bool = True) -> None:
        """Copy its files to a folder, with an image.yaml for each image or without."""
        shutil.copytree(_HERE / self.name, folder, symlinks=True, dirs_exist_ok=True)
        for image in self.images if declared else ():
            declaration = folder / "desired" / image.name / "image.yaml"
            declaration.parent.mkdir(parents=True)
            declaration.write_text(yaml.safe_dump({"packer": dict(image.packer)}), encoding="utf-8")

    def lay_out(self, folder: Path, *, declared: bool = True) -> Path:
        """Copy it to a new folder, which becomes a git repository of one commit."""
        self.copy_to(folder, declared=declared)
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgSign=false")
        for command in (
            ("init", "--quiet", "--initial-branch=main"),
            ("add", "--all"),
            ("commit", "--quiet", "-m", "Begin"),
        ):
            subprocess.run(["git", "-C", str(folder), *identity, *command], check=True)
        return folder


def repositories() -> tuple[CorpusRepository, ...]:
    """All of them."""
    listed = yaml.safe_load(_HERE.joinpath("images.yaml").read_text(encoding="utf-8"))
    return tuple(
        CorpusRepository(
            name,
            tuple(CorpusImage(one, **{**facts, "inputs": tuple(facts["inputs"])}) for one, facts in images.items()),
        )
        for name, images in listed.items()
    )
