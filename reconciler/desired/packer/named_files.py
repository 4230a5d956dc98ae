"""What in the part of a template that runs names files: attributes of steps and builders, commands, and functions."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from reconciler.desired.packer.builders import Build
from reconciler.desired.packer.evaluate import (
    Scope,
    evaluate,
    parts_of,
    possible_texts,
    reads_files,
)
from reconciler.desired.packer.naming import (
    FROM_WORKING_DIR,
    USES,
    Named,
    Use,
    Weight,
    mentions,
    of_arguments,
    of_attribute,
)
from reconciler.desired.packer.overrides import OVERRIDE, overridden
from reconciler.desired.packer.steps import UNTOLD, Step
from reconciler.desired.packer.syntax import (
    UNKNOWN,
    Attribute,
    Block,
    Body,
    Call,
    Expression,
    Interpolation,
    Listing,
    Pairs,
    SourceFile,
    as_text,
)
from reconciler.desired.paths import is_a_word

_SCRIPTS = ("script", "scripts")
# What Packer looks for before it builds, and ends without (`packer validate`, seen with 1.6.6 and 1.16.0).
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "shell": _SCRIPTS,
    "shell-local": _SCRIPTS,
    "windows-shell": _SCRIPTS,
    "powershell": _SCRIPTS,
    "file": ("source", "sources"),
    "ansible": ("playbook_file", "galaxy_file", "inventory_directory"),
    "ansible-local": (
        "playbook_file", "playbook_files", "playbook_dir", "playbook_paths", "role_paths", "collection_paths",
        "group_vars", "host_vars", "galaxy_file", "inventory_file",
    ),
    "chef-solo": (
        "cookbook_paths", "roles_path", "data_bags_path", "environments_path", "config_template",
        "encrypted_data_bag_secret_path",
    ),
    "chef-client": ("config_template", "encrypted_data_bag_secret_path"),
    "puppet-masterless": ("manifest_file", "manifest_dir", "module_paths", "hiera_config_path"),
    "salt-masterless": ("local_state_tree", "local_pillar_roots", "minion_config", "grains_file"),
    "goss": ("tests", "vars_file"),
}  # fmt: skip
_BUILDER_NEEDED = ("user_data_file", "floppy_files", "floppy_dirs", "cd_files")
# amazon-chroot runs these where Packer runs.
_BUILDER_COMMANDS = ("command_wrapper", "pre_mount_commands", "post_mount_commands")
_CREDENTIALS = ("ssh_private_key_file", "ssh_keypair_file", "ssh_bastion_private_key_file", "ssh_certificate_file")
_CHECKSUM, _BY_FILE = "iso_checksum", "file:"
_PATHS_OF: Mapping[str, tuple[str, ...]] = {"qemu": ("firmware", "efi_firmware_code", "efi_firmware_vars")}
_PROGRAM_S_ARGUMENTS = ("qemu", "qemuargs")
_BOOTSTRAP, _CONTEXT = ("docker", "build"), "build_dir"
# These say all they read in the attributes above; the rest is meant for the machine that is built.
_REMOTE = frozenset({"shell", "windows-shell", "powershell", "file", "windows-restart", "breakpoint", "sleep"})
# These run here, in Packer's working directory, and may read what any of their arguments names.
_HERE = frozenset({"ansible", "shell-local"})
# InSpec runs here as well; what its other attributes name may be a folder that is called as any word.
_ARGUMENTS: Mapping[str, frozenset[str]] = {"inspec": frozenset({"command", "extra_arguments", "inspec_env_vars"})}
_NO_PATHS = frozenset({"type", "only", "except", OVERRIDE, "name", "pause_before", "timeout", "max_retries"})
# Attributes of plugins that are not in the table.
_NAMES_A_PATH = re.compile(
    r"(?:^|_)(?:file|path|dir|directory|directorie|folder|script|playbook|manifest|template|source|config|profile|"
    r"test|include|attribute|module|cookbook|input)s?$"
)
_NAMES_A_PATH_IN_A_BUILDER = re.compile(r"(?:^|_)(?:files?|paths?|dirs?|directory|directories|iso_urls?)$")
_NAMES_ANOTHER = re.compile(
    r"(?:^|_)(?:output|dest|destination|remote|guest|install|log|upload|temp|tmp|staging|target|export|vm|mount|device)"
    r"(?:_|$)"
)
_FORGIVING = frozenset({"try", "can"})
_CONDITION_AND_BRANCHES = 3


def named_files(
    files: Sequence[SourceFile], builds: Sequence[Build], steps: Sequence[Step], *, scope: Scope
) -> Iterator[Named]:
    """Everything that names a file in what runs of a template, in no order."""
    for step in steps:
        yield from _of_step(step, scope)
    for build in builds:
        yield from _of_builder(build.builder.type, build.body, scope)
    for block in (block for file in files for block in file.body.of_type("data")):
        yield from of_arguments(block.type, [*block.body.attributes.values(), *_nested(block.body)], scope)
    if any(file.calls_files for file in files):
        yield from _of_calls(_evaluated(files, builds, steps), scope)


def _of_step(step: Step, scope: Scope) -> Iterator[Named]:
    if step.type == UNTOLD:
        yield Named(step.block.type, UNKNOWN, step.block.place, scope.path_cwd)
    yield from _of_body(step.type, step.body, scope)
    for body in overridden(step, scope):
        if body is not None:
            yield from _of_body(step.type, body, scope)
        elif step.type in _NEEDED or step.type not in _REMOTE:
            yield Named(OVERRIDE, UNKNOWN, step.body.attributes[OVERRIDE].place, scope.path_cwd)


def _of_body(type_: str, body: Body, scope: Scope) -> Iterator[Named]:
    """What a step of a type names, whose attributes are these."""
    if type_ == "file" and _says(body, "direction", "download", scope):
        return
    needed = _NEEDED.get(type_, ())
    # What is made during the build need not be there before. Where it is, it may be what is read.
    weight: Weight = "optional" if type_ == "file" and _says(body, "generated", "true", scope) else "needed"
    for name, attribute in body.attributes.items():
        if name in needed:
            yield from of_attribute(attribute, scope, weight=weight, use=USES.get((type_, name), ""))
    if type_ in _REMOTE:
        return
    rest = [one for name, one in body.attributes.items() if name not in needed and name not in _NO_PATHS]
    if type_ in _HERE:
        yield from of_arguments(type_, rest, scope)
    else:
        arguments = _ARGUMENTS.get(type_, frozenset())
        yield from of_arguments(type_, [one for one in rest if one.name in arguments], scope)
        yield from _of_others(rest, scope)
        yield from _of_others(list(_nested(body)), scope)


def _of_builder(type_: str, body: Body, scope: Scope) -> Iterator[Named]:
    for attribute in body.attributes.values():
        yield from _of_one(attribute, type_, scope)
    for block in body.blocks:
        if (type_, block.type) == _BOOTSTRAP:
            yield from _of_bootstrap(block, scope)
    for attribute in _nested(body):
        if _is_a_path_of_a_builder(attribute.name):
            yield from of_attribute(attribute, scope, weight="optional")


def _of_one(attribute: Attribute, type_: str, scope: Scope) -> Iterator[Named]:
    """One attribute of a builder of a type."""
    name = attribute.name
    if name in _BUILDER_NEEDED:
        yield from of_attribute(attribute, scope)
    elif name in _CREDENTIALS:
        yield from of_attribute(attribute, scope, weight="optional", use="credential")
    elif name in _BUILDER_COMMANDS:
        yield from of_arguments("", [attribute], scope)
    elif name == _CHECKSUM:
        yield from _of_checksum(attribute, scope)
    elif (type_, name) == _PROGRAM_S_ARGUMENTS:
        # A mere word among them is a machine's type or the like.
        named = of_arguments("", [attribute], scope)
        yield from (one for one in named if not is_a_word(as_text(one.value) or "/"))
    elif _is_a_path_of_a_builder(name) or name in _PATHS_OF.get(type_, ()):
        yield from of_attribute(attribute, scope, weight="optional")


def _nested(body: Body) -> Iterator[Attribute]:
    """The attributes of the blocks in a body, at any depth, but for those that hold whatever is written on things.

    In JSON an object is a block as well.
    """
    for block in body.blocks:
        if block.type not in _NO_PATHS and not block.type.endswith(("tag", "tags", "labels")):
            yield from block.body.attributes.values()
            yield from _nested(block.body)


def _of_checksum(attribute: Attribute, scope: Scope) -> Iterator[Named]:
    """`iso_checksum = "file:../SHA256SUMS"`: the file that has the sum, if it is none of another machine."""
    for one in of_attribute(attribute, scope, weight="optional"):
        if isinstance(one.value, str) and one.value.startswith(_BY_FILE):
            yield replace(one, value=one.value.removeprefix(_BY_FILE))
        elif one.weight == "mentioned" and not is_a_word(as_text(one.value) or ""):
            yield one


def _of_bootstrap(block: Block, scope: Scope) -> Iterator[Named]:
    """`build { path = "Dockerfile" }`: docker is sent the whole folder, by default that in which Packer runs.

    Packer ends without either of them (packer-plugin-docker 1.1.2, builder/docker/dockerfile_config.go, Prepare).
    """
    for name in (name for name in ("path", _CONTEXT) if name in block.body.attributes):
        yield from of_attribute(block.body.attributes[name], scope)
    if block.body.attributes and _CONTEXT not in block.body.attributes:
        yield Named(_CONTEXT, "./", block.place, scope.path_cwd, "mentioned")


def _of_others(attributes: Sequence[Attribute], scope: Scope) -> Iterator[Named]:
    """The attributes that sound as if they named files, of whatever plugin."""
    for attribute in attributes:
        if _is_a_path(attribute.name):
            yield from of_attribute(attribute, scope, weight="optional")


@cache
def _is_a_path(name: str) -> bool:
    return _NAMES_A_PATH.search(name) is not None and _NAMES_ANOTHER.search(name) is None


@cache
def _is_a_path_of_a_builder(name: str) -> bool:
    return _NAMES_A_PATH_IN_A_BUILDER.search(name) is not None and _NAMES_ANOTHER.search(name) is None


def _says(body: Body, name: str, value: str, scope: Scope) -> bool:
    """Whether an attribute of a step has a value."""
    attribute = body.attributes.get(name)
    return attribute is not None and as_text(evaluate(attribute.expression, scope)) == value


def _evaluated(files: Sequence[SourceFile], builds: Sequence[Build], steps: Sequence[Step]) -> Iterator[Attribute]:
    """The attributes that are evaluated: of builds and steps that run, and of all that is neither."""
    for file in files:
        for block in file.body.blocks:
            if block.type not in ("source", "build"):
                yield from block.body.walk()
    for body in {id(build.body): build.body for build in builds}.values():
        yield from body.walk()
    for block in {id(build.within): build.within for build in builds}.values():
        yield from block.body.attributes.values()
    for step in steps:
        yield from step.body.walk()


def _of_calls(attributes: Iterator[Attribute], scope: Scope) -> Iterator[Named]:
    # From the template's folder, not from where Packer runs, but for one function (seen with 1.6.6 and 1.16.0).
    for attribute in attributes:
        for call, is_sure in _calls(attribute.expression, scope, is_sure=True):
            if not call.arguments or not reads_files(call):
                continue
            by, value = f"{call.function}()", evaluate(call.arguments[0], scope)
            base = scope.path_cwd if by == FROM_WORKING_DIR else scope.path_root
            if call.function == "fileset":
                yield Named(by, _pattern(call, scope), call.place, scope.path_root, "optional")
                continue
            weight: Weight = "needed" if is_sure and call.function != "fileexists" else "optional"
            use: Use = "template" if call.function == "templatefile" else ""
            yield Named(by, value, call.place, base, weight, use)
            if value is UNKNOWN:
                texts = possible_texts(call.arguments[0], scope)
                yield from mentions(by, texts, call.place, [base], scope, use=use)


def _calls(expression: Expression, scope: Scope, *, is_sure: bool) -> Iterator[tuple[Call, bool]]:
    """The calls in an expression that may be made, and whether they surely are: not within `try`, nor in a branch."""
    parts = list(parts_of(expression))
    if isinstance(expression, Call):
        yield expression, is_sure
        is_sure = is_sure and expression.function not in _FORGIVING
    elif not isinstance(expression, Interpolation | Listing | Pairs):
        condition = evaluate(parts[0], scope) if len(parts) == _CONDITION_AND_BRANCHES else UNKNOWN
        if isinstance(condition, bool):
            parts = [parts[0], parts[1 if condition else 2]]
        else:
            is_sure = False
    for part in parts:
        yield from _calls(part, scope, is_sure=is_sure)


def _pattern(call: Call, scope: Scope) -> object:
    """What `fileset(folder, pattern)` looks for; the whole folder where the pattern is not known."""
    folder, pattern = ([as_text(evaluate(one, scope)) for one in call.arguments] + [None, None])[:2]
    if folder is None:
        return UNKNOWN
    # Whatever it begins with: Packer joins them (filepath.Join), and of "/x" it takes the folder's x.
    return folder if pattern is None else posixpath.join(folder, pattern.lstrip("/"))
