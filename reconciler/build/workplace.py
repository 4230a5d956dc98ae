"""Where a build runs, what its template is given, and as whom Packer acts in AWS."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from reconciler.model.declaration import SOURCE_AMI, AwsSettings, VariableValue
from reconciler.model.errors import UserError
from reconciler.model.fleet import Builder, Image, Template
from reconciler.ports.builder import BuildRequest

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


# How Packer comes to act as whoever `aws:` in reconciler.yaml names, without any key being copied.

_PROFILE = "reconciler"
_BASE = "reconciler-base"


def aws_environment(
    settings: AwsSettings, inherited: Mapping[str, str], *, folder: Path, region: str
) -> dict[str, str]:  # fmt: skip
    """The environment with which the amazon plugins use the profile, or assume the role, and build in the region.

    The region is given under both names that SDKs look for: a template without one would be built wherever the
    environment or the profile says.

    A profile is named in AWS_PROFILE. A role is written, as a profile, to a config file in `folder`, on top of
    whatever credentials there are: the SDK assumes it and renews it for as long as the build takes, which keys that
    were copied into the environment would not survive (hashicorp/packer#3019: they end after an hour).

    Both Go SDKs read the config file: the old one (Packer 1.6) only when AWS_SDK_LOAD_CONFIG says so.
    """
    environment = {**inherited, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if settings.profile is None and settings.role is None:
        return environment
    environment["AWS_SDK_LOAD_CONFIG"] = "1"
    if settings.role is None:
        return {**environment, "AWS_PROFILE": settings.profile or ""}
    config = folder / "aws-config"
    config.write_text(_config(settings, inherited), encoding="utf-8")
    return {**environment, "AWS_CONFIG_FILE": str(config), "AWS_PROFILE": _PROFILE}


def _config(settings: AwsSettings, inherited: Mapping[str, str]) -> str:
    role = [f"[profile {_PROFILE}]", f"role_arn = {settings.role}", "role_session_name = reconciler"]
    kept = _existing(inherited)
    if settings.profile is not None:
        return "\n".join([*kept, *role, f"source_profile = {settings.profile}", ""])
    if "AWS_WEB_IDENTITY_TOKEN_FILE" in inherited and "AWS_ROLE_ARN" in inherited:
        base = [
            f"[profile {_BASE}]",
            f"role_arn = {inherited['AWS_ROLE_ARN']}",
            f"web_identity_token_file = {inherited['AWS_WEB_IDENTITY_TOKEN_FILE']}",
        ]
        return "\n".join([*base, *role, f"source_profile = {_BASE}", ""])
    if "AWS_ACCESS_KEY_ID" in inherited:
        return "\n".join([*role, "credential_source = Environment", ""])
    if "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" in inherited or "AWS_CONTAINER_CREDENTIALS_FULL_URI" in inherited:
        return "\n".join([*role, "credential_source = EcsContainer", ""])
    return "\n".join([*role, "credential_source = Ec2InstanceMetadata", ""])


def _existing(inherited: Mapping[str, str]) -> list[str]:
    """The person's own config, which holds the profile that the role is assumed from."""
    own = Path(inherited.get("AWS_CONFIG_FILE") or Path(inherited.get("HOME", "/"), ".aws", "config"))
    return [own.read_text(encoding="utf-8")] if own.is_file() else []
