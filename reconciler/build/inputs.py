"""What a template is given: the pin, names and tags, where it declares the variables for them (docs/formats.md)."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from reconciler.build.protocol import BuildRequest
from reconciler.model.declaration import SOURCE_AMI, VariableValue
from reconciler.model.errors import UserError
from reconciler.model.fleet import Image
from reconciler.model.template import Builder, Template

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
        UserError: `packer.only` matches none. Packer before 1.8.5 would end well without building anything.
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
            mend=f"the template has {', '.join(b.name for b in builders) or 'none'}",
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

    The region is passed where the AMI builders that run all take it from one variable. Where they take it from
    several, they are meant to differ, and the template decides.
    """
    image, template = request.image, request.image.template
    ours: dict[str, Value] = {
        "image_name": f"{image.name}-{request.build_id}",
        "build_id": request.build_id,
        "build_key": request.key,
        "run_id": request.run_id,
    }
    if request.source_ami is not None:
        ours[SOURCE_AMI] = ours[image.declaration.source_variable] = request.source_ami
    if template.format == "hcl2":  # a JSON template's variables are strings
        ours["image_tags"] = dict(request.image_tags)
        ours["run_tags"] = dict(request.run_tags)
    regions = {builder.region.variable for builder in selected(image) if builder.region is not None}
    if request.region is not None and len(regions) == 1 and (variable := regions.pop()) is not None:
        ours[variable] = request.region
    values: dict[str, Value] = dict(image.declaration.packer.variables)
    values |= {name: value for name, value in ours.items() if template.takes(name)}
    return values if template.format == "hcl2" else {name: _text(value) for name, value in values.items()}


def write_var_file(path: Path, values: Mapping[str, Value]) -> None:
    """Write values as JSON, which every Packer reads as a var-file. The file is new, and its owner's only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(values, file, sort_keys=True, indent=2)
        file.write("\n")


def _text(value: Value) -> str:
    return json.dumps(value) if isinstance(value, (bool, list, Mapping)) else str(value)
