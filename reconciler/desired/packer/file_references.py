"""Which files of the repository a template reads, by provisioners, builders and functions."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.desired.packer.builders import Build
from reconciler.desired.packer.evaluate import CHECKOUT, Scope, as_text, evaluate
from reconciler.desired.packer.syntax import Block, Body, SourceFile, calls
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
}  # fmt: skip
_MAY_BE_ABSENT: dict[str, tuple[str, ...]] = {
    # Where ansible-galaxy installs to: ours only if it is committed.
    "ansible": ("roles_path", "collections_path"),
}
_BUILDER = ("user_data_file", "floppy_files", "floppy_dirs", "cd_files", "http_directory")
_BUILDER_MAY_BE_ABSENT = ("ssh_private_key_file", "ssh_keypair_file")
_STEPS = ("provisioner", "post-processor", "error-cleanup-provisioner")


@dataclass(frozen=True)
class Read:
    """A path that the template reads, from the repository's root; beginning with `..` where it leaves it."""

    path: str
    place: Place
    may_be_absent: bool = False


def read_references(files: Sequence[SourceFile], builds: Sequence[Build], *, scope: Scope) -> tuple[Read, ...]:
    """Every path that can be known, each once at its first place. Absolute paths of the machine are left out."""
    found: dict[str, Read] = {}
    for value, place, base, may_be_absent in (
        *_of_steps(files, scope),
        *_of_builds(builds, scope),
        *_of_calls(files, scope),
    ):
        path = repository_path(value, base)
        if path is not None and (path not in found or found[path].may_be_absent):
            found[path] = Read(path, place, may_be_absent)
    return tuple(sorted(found.values(), key=lambda one: (one.place.path, one.place.line, one.path)))


def repository_path(value: object, base: str) -> str | None:
    """The path from the repository's root, `.` for the root itself; None for unknown, foreign and pattern paths."""
    text = as_text(value)
    if not text or "{{" in text or "://" in text or text.startswith("~") or "\0" in text:
        return None
    if any(character in text for character in "*?["):
        return None
    path = posixpath.normpath(posixpath.join(base, text))
    if path == CHECKOUT:
        return "."
    if path.startswith(f"{CHECKOUT}/"):
        return path.removeprefix(f"{CHECKOUT}/")
    if text.startswith("/") and not text.startswith(f"{CHECKOUT}/"):
        return None
    return posixpath.relpath(path, CHECKOUT)


_Found = tuple[object, Place, str, bool]


def _of_steps(files: Sequence[SourceFile], scope: Scope) -> Iterator[_Found]:
    for file in files:
        for build in file.body.of_type("build"):
            for step in _steps(build.body):
                type_ = step.labels[0] if step.labels else ""
                if type_ == "file" and not _is_upload(step.body, scope):
                    continue
                yield from _of_attributes(step.body, _PROVISIONERS.get(type_, ()), scope, may_be_absent=False)
                yield from _of_attributes(step.body, _MAY_BE_ABSENT.get(type_, ()), scope, may_be_absent=True)


def _steps(body: Body) -> Iterator[Block]:
    """Provisioners and post-processors, also those in a `post-processors` sequence."""
    yield from body.of_type(*_STEPS)
    for sequence in body.of_type("post-processors"):
        yield from sequence.body.of_type("post-processor")


def _is_upload(body: Body, scope: Scope) -> bool:
    """Whether a file provisioner reads a file that has to be there before the build."""
    for name, excluded in (("direction", "download"), ("generated", "true")):
        attribute = body.attributes.get(name)
        if attribute is not None and as_text(evaluate(attribute.expression, scope)) == excluded:
            return False
    return True


def _of_builds(builds: Sequence[Build], scope: Scope) -> Iterator[_Found]:
    for build in builds:
        yield from _of_attributes(build.body, _BUILDER, scope, may_be_absent=False)
        yield from _of_attributes(build.body, _BUILDER_MAY_BE_ABSENT, scope, may_be_absent=True)


def _of_attributes(body: Body, names: Sequence[str], scope: Scope, *, may_be_absent: bool) -> Iterator[_Found]:
    for name in names:
        attribute = body.attributes.get(name)
        if attribute is not None:
            value = evaluate(attribute.expression, scope)
            for one in value if isinstance(value, list) else [value]:
                yield one, attribute.place, scope.path_cwd, may_be_absent


def _of_calls(files: Sequence[SourceFile], scope: Scope) -> Iterator[_Found]:
    # Functions take paths relative to the template's folder, not to where Packer runs (seen with 1.6.6).
    for file in files:
        if not file.calls_files:
            continue
        for attribute in file.body.walk():
            for call in calls(attribute.expression):
                if call.arguments and (call.function.startswith("file") or call.function == "templatefile"):
                    absent = call.function == "fileexists"
                    yield evaluate(call.arguments[0], scope), call.place, scope.path_root, absent
