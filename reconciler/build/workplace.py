"""Where a build runs, what its template is given, and as whom Packer acts in AWS."""

from __future__ import annotations

import json
import os
import posixpath
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from reconciler.model.declaration import VariableValue
from reconciler.model.errors import UserError
from reconciler.model.fleet import Builder, Image, Template
from reconciler.ports.builder import BuildRequest
from reconciler.registries import dialect_of, machine_of

# What a template is given: the pin, names and tags, where it declares the variables for them (docs/formats.md).

Value = VariableValue | Mapping[str, str]


def inside(image: Image, path: str, *, below: str = "") -> str:
    """A path of the declaration as one relative to the fleet's folder; `/` begins there.

    `below` is that folder as seen from the repository's root.

    Raises:
        UserError: it leads out of the repository.
    """
    joined = path.lstrip("/") if path.startswith("/") else posixpath.join(image.folder, path)
    from_root = posixpath.normpath(posixpath.join(below, joined) or ".")
    if from_root == ".." or from_root.startswith("../"):
        raise UserError(f"{image.name}: {path} leads out of the repository", where=image.template.place)
    return posixpath.relpath(from_root, below or ".")


def template_path(image: Image, *, below: str = "") -> str:
    """What `packer build` is pointed at: a file, or the folder of HCL files that are one template. See `inside`."""
    if image.template.format == "json":
        # Pointed at a folder Packer looks for HCL2 only.
        return image.template.files[0]
    return inside(image, image.declaration.packer.template, below=below)


def selected(image: Image) -> tuple[Builder, ...]:
    """The builders that run.

    Raises:
        UserError: `packer.only` matches none. Not every Packer says so (`packer.versions`).
    """
    builders, only = image.template.builders, image.declaration.packer.only
    if not only:
        return builders
    # Packer's globs have {a,b} too; what fnmatch cannot judge is left to Packer, and to the check for artifacts.
    matching = tuple(b for b in builders if any("{" in glob or fnmatchcase(b.name, glob) for glob in only))
    if not matching:
        raise UserError(
            f"packer.only matches no build of {image.name}: {', '.join(only)}",
            where=image.template.place,
            hint=f"the template has {', '.join(b.name for b in builders) or 'none'}",
        )
    return matching


def name_in_template(build: str, template: Template) -> str:
    """What a build that Packer names is called in the template: of JSON some call it by its type, too.

    So what is recorded is the same whichever Packer built it (`packer.versions.TYPED_NAMES`).
    """
    if template.format == "json":
        return next((one.name for one in template.builders if build == f"{one.type}.{one.name}"), build)
    return build


def given_variables(request: BuildRequest) -> dict[str, Value]:
    """The values for the template's variables: the person's, then ours over them where the template declares them.

    The location is passed where the builders that run all take it from one variable. Where they take it from
    several, they are meant to differ, and the template decides.
    """
    image, template = request.image, request.image.template
    ours: dict[str, Value] = {
        "image_name": f"{image.name}-{request.build_id}",
        "build_id": request.build_id,
        "build_key": request.key,
        "run_id": request.run_id,
    }
    if request.source is not None:
        ours[image.kind.source_variable] = ours[image.source_variable] = request.source
    if template.format == "hcl2":  # a JSON template's variables are strings
        ours["image_tags"] = dict(request.image_tags)
        ours["run_tags"] = dict(request.run_tags)
    taken_from = {builder.location.variable for builder in selected(image) if builder.location is not None}
    if request.location is not None and len(taken_from) == 1 and (variable := taken_from.pop()) is not None:
        ours[variable] = request.location
    ours |= found_here(image)
    values: dict[str, Value] = dict(image.declaration.packer.variables)
    values |= {name: value for name, value in ours.items() if template.takes(name)}
    return values if template.format == "hcl2" else {name: _text(value) for name, value in values.items()}


def found_here(image: Image) -> dict[str, str]:
    """What this machine has for the variables of the builders that run, where these are empty: its accelerator, say."""
    machine = machine_of(image.kind.name)
    uses = (builder.machine for builder in selected(image) if builder.machine is not None)
    empty = [use.variable for use in uses if use.variable is not None]
    return {variable: machine.best() for variable in empty} if machine is not None else {}


def write_var_file(path: Path, values: Mapping[str, Value]) -> None:
    """Write values as JSON, which every Packer reads as a var-file. The file is new, and its owner's only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(values, file, sort_keys=True, indent=2)
        file.write("\n")


def _text(value: Value) -> str:
    return json.dumps(value) if isinstance(value, (bool, list, Mapping)) else str(value)


# Where a build runs: its folder, its environment, and the files with secrets in it that go when it ends.

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
            hint=_RELATIVE,
        )
    var_files = tuple(root / inside(image, path, below=below) for path in packer.var_files)
    for path, declared in zip(var_files, packer.var_files, strict=True):
        if not path.is_file():
            raise UserError(
                f"{image.name}: packer.var_files names a file that is not there: {declared}",
                where=image.template.place,
                hint=_RELATIVE,
            )
    return Workplace(
        folder=root / working_dir,
        template=_from(working_dir, template_path(image, below=below), below=below),
        var_files=var_files,
        environment=packer_environment(_of_kind(request), run_folder=request.run_folder.absolute()),
    )


def _of_kind(request: BuildRequest) -> dict[str, str]:
    """The inherited environment, with what the builders of the image's kind go by."""
    if request.location is None:
        return dict(request.environment)
    folder = request.run_folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    dialect = dialect_of(request.image.kind.name)
    return dialect.environment(request.settings, request.environment, folder=folder, location=request.location)


def _from(folder: str, path: str, *, below: str) -> str:
    """A path of the fleet as seen from a folder, both from the repository's root, as either may lie above the fleet.

    A path with more `..` than it has folders would be completed by whatever folder this process happens to be in.
    """
    return posixpath.relpath(*(posixpath.normpath(posixpath.join(below, one)) for one in (path, folder)))


def packer_environment(inherited: Mapping[str, str], *, run_folder: Path) -> dict[str, str]:
    """The environment of a build: the inherited one, without telemetry and colours, with the cache in the run's folder.

    PACKER_LOG is left as it is: what it prints ends in the kept log, redacted. The locale is one that every Linux has:
    Ansible ends over one that is not there, or not UTF-8, as ssh may forward it.
    """
    return {
        "HOME": str(run_folder),  # only where none is inherited: Packer keeps its settings and plugins there
        **inherited,
        **({"LC_ALL": "C.UTF-8"} if sys.platform == "linux" else {}),
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
