"""What in a template names files: attributes of provisioners, post-processors and builders, and functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.desired.packer.builders import Build
from reconciler.desired.packer.evaluate import CHECKOUT, Scope, evaluate
from reconciler.desired.packer.syntax import Attribute, Block, Body, Call, Interpolation, Listing, SourceFile, calls
from reconciler.desired.packer.value import UNKNOWN, as_text
from reconciler.model.errors import Place

_SCRIPTS = ("script", "scripts")
_PROVISIONERS: dict[str, tuple[str, ...]] = {
    "shell": _SCRIPTS,
    "shell-local": _SCRIPTS,
    "windows-shell": _SCRIPTS,
    "powershell": _SCRIPTS,
    "file": ("source", "sources"),
    "ansible": ("playbook_file", "galaxy_file", "inventory_file", "inventory_directory"),
    "ansible-local": (
        "playbook_file", "playbook_files", "playbook_dir", "playbook_paths", "role_paths", "collection_paths",
        "group_vars", "host_vars", "galaxy_file", "inventory_file",
    ),
    "chef-solo": ("cookbook_paths", "roles_path", "data_bags_path", "environments_path", "config_template"),
    "chef-client": ("config_template",),
    "puppet-masterless": ("manifest_file", "manifest_dir", "module_paths", "hiera_config_path"),
    "salt-masterless": ("local_state_tree", "local_pillar_roots", "minion_config", "grains_file"),
    "inspec": ("profile",),
    "goss": ("tests", "vars_file"),
}  # fmt: skip
_MAY_BE_ABSENT: dict[str, tuple[str, ...]] = {
    # Where ansible-galaxy installs to: ours only if it is committed.
    "ansible": ("roles_path", "collections_path"),
}
_BUILDER = ("user_data_file", "floppy_files", "floppy_dirs", "cd_files", "http_directory")
_BUILDER_MAY_BE_ABSENT = ("ssh_private_key_file", "ssh_keypair_file")
_STEPS = ("provisioner", "post-processor", "error-cleanup-provisioner")
UNTOLD = ""
"""The type of a provisioner of which only Packer knows the type."""
_UPWARDS = re.compile(rf"(?<![\w./-])(?:{re.escape(CHECKOUT)}/|(?:\./)*\.\./)[\w./-]*")
_GLOB = re.compile(r"[*?\[{]")
# Ansible's own way to name a file of variables: -e @vars.yml, --extra-vars=@vars.yml.
_AT_FILE = re.compile(r"(?:(?:-e|--extra-vars)[ =]?)?@(.+)", re.DOTALL)


@dataclass(frozen=True)
class Named:
    """One thing that names a file: its value, UNKNOWN or not, and the folder that a relative path begins at."""

    by: str
    """The attribute, or the function as `file()`."""
    value: object
    place: Place
    base: str
    may_be_absent: bool = False
    is_credential: bool = False
    """A file of the machine that opens the connection: nothing of it is in the image."""

    @property
    def starts_where_packer_runs(self) -> bool:
        """Whether a relative path begins there; those of functions begin at the template."""
        return not self.by.endswith("()")


def named_files(files: Sequence[SourceFile], builds: Sequence[Build], *, scope: Scope) -> Iterator[Named]:
    """Everything that names a file in a template, in no order."""
    yield from _of_steps(files, scope)
    for build in builds:
        yield from _of_attributes(build.body, _BUILDER, scope)
        for one in _of_attributes(build.body, _BUILDER_MAY_BE_ABSENT, scope, may_be_absent=True):
            yield Named(one.by, one.value, one.place, one.base, may_be_absent=True, is_credential=True)
    yield from _of_calls(files, scope)


def paths_in_commands(files: Sequence[SourceFile], *, scope: Scope) -> Iterator[Named]:
    """What looks like a path that leads up, in the commands that run on the machine that builds."""
    for step in _all_steps(files, scope):
        if step.labels[0] == "shell-local":
            for named in _of_attributes(step.body, ("command", "inline"), scope):
                for path in _UPWARDS.findall(as_text(named.value) or ""):
                    yield Named(named.by, path, named.place, named.base, may_be_absent=True)


def _all_steps(files: Sequence[SourceFile], scope: Scope) -> Iterator[Block]:
    for file in files:
        for build in file.body.of_type("build"):
            yield from _steps(build.body, scope)


def _of_steps(files: Sequence[SourceFile], scope: Scope) -> Iterator[Named]:
    for step in _all_steps(files, scope):
        type_ = step.labels[0]
        if type_ == UNTOLD:
            yield Named(step.type, UNKNOWN, step.place, scope.path_cwd)
        if type_ == "file" and not _is_upload(step.body, scope):
            continue
        required, optional = _PROVISIONERS.get(type_, ()), _MAY_BE_ABSENT.get(type_, ())
        yield from _of_attributes(step.body, required, scope)
        yield from _of_attributes(step.body, optional, scope, may_be_absent=True)
        yield from _of_override(step.body, (*required, *optional), scope)
        if type_ == "ansible":
            yield from _of_arguments(step.body.attributes.get("extra_arguments"), scope)


def _steps(body: Body, scope: Scope) -> Iterator[Block]:
    """Provisioners and post-processors, also those in a `post-processors` sequence and those in a `dynamic` block."""
    yield from (step for step in body.of_type(*_STEPS) if step.labels)
    for sequence in body.of_type("post-processors"):
        yield from _steps(sequence.body, scope)
    for dynamic in body.of_type("dynamic"):
        made = dynamic.labels[0] if dynamic.labels else ""
        for content in dynamic.body.of_type("content"):
            if made == "post-processors":
                yield from _steps(content.body, scope)
            elif made in _STEPS:
                yield Block(made, _labels(dynamic.body, scope), content.place, content.body)


def _labels(dynamic: Body, scope: Scope) -> tuple[str, ...]:
    """The type of what a `dynamic` block makes; UNTOLD where that isn't known."""
    attribute = dynamic.attributes.get("labels")
    value = evaluate(attribute.expression, scope) if attribute else UNKNOWN
    return (as_text(value[0]) or UNTOLD,) if isinstance(value, list) and value else (UNTOLD,)


def _is_upload(body: Body, scope: Scope) -> bool:
    """Whether a file provisioner reads a file that has to be there before the build."""
    for name, excluded in (("direction", "download"), ("generated", "true")):
        attribute = body.attributes.get(name)
        if attribute is not None and as_text(evaluate(attribute.expression, scope)) == excluded:
            return False
    return True


def _of_attributes(body: Body, names: Sequence[str], scope: Scope, *, may_be_absent: bool = False) -> Iterator[Named]:
    for name in names:
        attribute = body.attributes.get(name)
        if attribute is not None:
            value = evaluate(attribute.expression, scope)
            yield from _each(name, value, attribute.place, scope, may_be_absent=may_be_absent)


def _of_override(body: Body, names: Sequence[str], scope: Scope) -> Iterator[Named]:
    """`override = { web = { script = "…" } }`: the provisioner's attributes, as they are for one build."""
    attribute = body.attributes.get("override")
    if attribute is None or not names:
        return
    value = evaluate(attribute.expression, scope)
    for build in value.values() if isinstance(value, Mapping) else [value]:
        if not isinstance(build, Mapping):
            yield from _each("override", build, attribute.place, scope)
            continue
        for name in names:
            if name in build:
                yield from _each(name, build[name], attribute.place, scope)


def _of_arguments(attribute: Attribute | None, scope: Scope) -> Iterator[Named]:
    """The files behind an `@`. Of arguments that are not known, those that begin with one and may name any file."""
    if attribute is None:
        return
    expression = attribute.expression
    if not isinstance(expression, Listing):
        value = evaluate(expression, scope)
        for one in value if isinstance(value, list) else [value]:
            named = _AT_FILE.fullmatch(as_text(one) or "")
            if named or one is UNKNOWN:
                path = named[1] if named else UNKNOWN
                yield Named("extra_arguments", path, attribute.place, scope.path_cwd, may_be_absent=True)
        return
    for item in expression.items:
        text = as_text(evaluate(item, scope))
        first = as_text(evaluate(item.parts[0], scope)) if isinstance(item, Interpolation) and item.parts else None
        named = _AT_FILE.fullmatch(text or f"{first or ''}…")
        if named:
            path = UNKNOWN if text is None else named[1]
            yield Named("extra_arguments", path, attribute.place, scope.path_cwd, may_be_absent=True)


def _each(by: str, value: object, place: Place, scope: Scope, *, may_be_absent: bool = False) -> Iterator[Named]:
    for one in value if isinstance(value, list) else [value]:
        yield Named(by, one, place, scope.path_cwd, may_be_absent=may_be_absent)


def _of_calls(files: Sequence[SourceFile], scope: Scope) -> Iterator[Named]:
    # Functions take paths relative to the template's folder, not to where Packer runs (seen with 1.6.6).
    for file in files:
        if not file.calls_files:
            continue
        for attribute in file.body.walk():
            for call in calls(attribute.expression):
                if call.arguments and (call.function.startswith("file") or call.function == "templatefile"):
                    value = evaluate(call.arguments[0], scope)
                    absent = call.function == "fileexists"
                    if call.function == "fileset":
                        yield from _of_pattern(call, scope)
                    yield Named(f"{call.function}()", value, call.place, scope.path_root, may_be_absent=absent)


def _of_pattern(call: Call, scope: Scope) -> Iterator[Named]:
    """The folder in which a pattern of `fileset(folder, pattern)` looks, where that is not below the folder."""
    folder, pattern = ([as_text(evaluate(one, scope)) for one in call.arguments] + [None, None])[:2]
    fixed = _GLOB.split(pattern or "", maxsplit=1)[0].rpartition("/")[0]
    if folder is not None and ".." in fixed.split("/"):
        yield Named("fileset()", f"{folder}/{fixed}", call.place, scope.path_root, may_be_absent=True)
