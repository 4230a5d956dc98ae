"""Where a build runs: its folder, its environment, and the files with secrets in it that go when it ends."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.build.inputs import inside, template_path
from reconciler.build.protocol import BuildRequest
from reconciler.model.errors import UserError

_RELATIVE = "it is relative to the image's folder; `/` is the repository's root"


@dataclass(frozen=True)
class Workplace:
    """Absolute paths but for `template`, which is as Packer sees it from `folder` (it becomes `path.root`)."""

    folder: Path
    template: str
    var_files: tuple[Path, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class PrivateFiles:
    """Files that may hold secrets: readable by their owner only, and gone after the build."""

    variables: Path
    stdout: Path
    stderr: Path
    init_stdout: Path
    init_stderr: Path


def workplace(request: BuildRequest) -> Workplace:
    """Where to run this build.

    Raises:
        UserError: the declaration names a folder or file that the commit does not have, or one outside of it.
    """
    image, packer = request.image, request.image.declaration.packer
    root, below = request.root, request.below
    working_dir = inside(image, packer.working_dir, below=below)
    if not (root / working_dir).is_dir():
        raise UserError(
            f"{image.name}: packer.working_dir is no folder: {packer.working_dir}",
            where=image.template.place,
            mend=_RELATIVE,
        )
    var_files = tuple(root / inside(image, path, below=below) for path in packer.var_files)
    for path, declared in zip(var_files, packer.var_files, strict=True):
        if not path.is_file():
            raise UserError(
                f"{image.name}: packer.var_files names a file that is not there: {declared}",
                where=image.template.place,
                mend=_RELATIVE,
            )
    return Workplace(
        folder=root / working_dir,
        template=_from(working_dir, template_path(image, below=below), below=below),
        var_files=var_files,
        environment=packer_environment(request.environment, run_folder=request.run_folder.absolute()),
    )


def _from(folder: str, path: str, *, below: str) -> str:
    """A path of the fleet as seen from a folder, both from the repository's root, as either may lie above the fleet.

    A path with more `..` than it has folders would be completed by whatever folder this process happens to be in.
    """
    return posixpath.relpath(*(posixpath.normpath(posixpath.join(below, one)) for one in (path, folder)))


def packer_environment(inherited: Mapping[str, str], *, run_folder: Path) -> dict[str, str]:
    """The environment of a build: the inherited one, without telemetry and colours, with the cache in the run's folder.

    PACKER_LOG is left as it is: what it prints ends in the kept log, redacted.
    """
    return {
        "HOME": str(run_folder),  # only where none is inherited: Packer keeps its settings and plugins there
        **inherited,
        "CHECKPOINT_DISABLE": "1",
        "PACKER_CACHE_DIR": str(run_folder / "packer-cache"),
        "PACKER_NO_COLOR": "1",
    }


@contextmanager
def private_files(request: BuildRequest) -> Iterator[PrivateFiles]:
    """The paths of a build's private files, none of which exists yet; what was made of them is removed at the end."""
    folder = request.run_folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = f"{request.image.name}-{request.build_id}"
    private = PrivateFiles(
        variables=folder / f"{stem}.pkrvars.json",
        stdout=folder / f"{stem}.stdout",
        stderr=folder / f"{stem}.stderr",
        init_stdout=folder / f"{stem}.init.stdout",
        init_stderr=folder / f"{stem}.init.stderr",
    )
    try:
        yield private
    finally:
        for path in vars(private).values():
            path.unlink(missing_ok=True)
