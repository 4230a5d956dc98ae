"""What in the part of a template that runs names files: attributes of steps and builders, commands, and functions."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from reconciler.desired.packer.builders import Build
from reconciler.desired.packer.engine import with_gaps, with_working_dir
from reconciler.desired.packer.evaluate import (
    CHECKOUT,
    Scope,
    evaluate,
    holds_unknown,
    parts_of,
    possible_texts,
    reads_files,
)
from reconciler.desired.packer.overrides import OVERRIDE, overridden
from reconciler.desired.packer.steps import UNTOLD, Step
from reconciler.desired.packer.syntax import (
    UNKNOWN,
    Attribute,
    Body,
    Call,
    Expression,
    Interpolation,
    Listing,
    Pairs,
    SourceFile,
    as_text,
)
from reconciler.desired.paths import MAX_LENGTH, folders_entered, folders_taken, mentioned
from reconciler.model.errors import Place

Weight = Literal["needed", "optional", "mentioned"]
"""Whether the build fails where the file is not there, takes it if it is there, or may not mean a file at all."""
Use = Literal[
    "", "playbook", "inventory", "roles", "requirements", "settings", "script", "template", "credential"
]  # fmt: skip
"""What is done with a file beyond reading it: the files that it draws on count as well."""

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
_USES: Mapping[tuple[str, str], Use] = {
    ("ansible", "playbook_file"): "playbook",
    ("ansible", "inventory_file"): "inventory",
    ("ansible", "inventory_directory"): "inventory",
    ("ansible", "roles_path"): "roles",
    ("ansible", "galaxy_file"): "requirements",
    ("shell-local", "script"): "script",
    ("shell-local", "scripts"): "script",
}
# These say all they read in the attributes above; the rest is meant for the machine that is built.
_REMOTE = frozenset({"shell", "windows-shell", "powershell", "file", "windows-restart", "breakpoint", "sleep"})
# These run here, in Packer's working directory, and may read what any of their arguments names.
_HERE = frozenset({"ansible", "shell-local"})
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
_ASSIGNED = re.compile(r"(ANSIBLE_[A-Z_]+)=(.*)", re.DOTALL)
_VARIABLES: Mapping[str, Use] = {
    "ANSIBLE_CONFIG": "settings",
    "ANSIBLE_INVENTORY": "inventory",
    "ANSIBLE_ROLES_PATH": "roles",
}
_COMPUTED_FILE = re.compile(r"@[^\s,]{0,1024}\{\{(?!-?\s*(?:pwd\b|\.))")
_ENVIRONMENTS = frozenset({"env", "environment"})
_FROM_WORKING_DIR = "filebase64()"
_FORGIVING = frozenset({"try", "can"})
_CONDITION_AND_BRANCHES = 3
_CHECKOUT_WORD = "/\1checkout"


@dataclass(frozen=True)
class Named:
    """One thing that names a file: its value, UNKNOWN or not, and the folder that a relative path begins at."""

    by: str
    """The attribute, or the function as `file()`."""
    value: object
    place: Place
    base: str
    weight: Weight = "needed"
    use: Use = ""

    @property
    def starts_where_packer_runs(self) -> bool:
        """Whether a relative path begins there; those of functions begin at the template, but for one."""
        return not self.by.endswith("()") or self.by == _FROM_WORKING_DIR


def named_files(
    files: Sequence[SourceFile], builds: Sequence[Build], steps: Sequence[Step], *, scope: Scope
) -> Iterator[Named]:
    """Everything that names a file in what runs of a template, in no order."""
    for step in steps:
        yield from _of_step(step, scope)
    for build in builds:
        yield from _of_builder(build.body, scope)
    for block in (block for file in files for block in file.body.of_type("data")):
        yield from _of_arguments(block.type, list(block.body.attributes.values()), scope)
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
            yield from _of_attribute(attribute, scope, weight=weight, use=_USES.get((type_, name), ""))
    if type_ in _REMOTE:
        return
    rest = [one for name, one in body.attributes.items() if name not in needed and name not in _NO_PATHS]
    if type_ in _HERE:
        yield from _of_arguments(type_, rest, scope)
    else:
        yield from _of_others(rest, scope)
        for block in body.blocks:
            if block.type not in _NO_PATHS:
                yield from _of_others(list(block.body.attributes.values()), scope)


def _of_builder(body: Body, scope: Scope) -> Iterator[Named]:
    for name, attribute in body.attributes.items():
        if name in _BUILDER_NEEDED:
            yield from _of_attribute(attribute, scope)
        elif name in _CREDENTIALS:
            yield from _of_attribute(attribute, scope, weight="optional", use="credential")
        elif name in _BUILDER_COMMANDS:
            yield from _of_arguments("", [attribute], scope)
        elif _is_a_path_of_a_builder(name):
            yield from _of_attribute(attribute, scope, weight="optional")


def _of_attribute(attribute: Attribute, scope: Scope, *, weight: Weight = "needed", use: Use = "") -> Iterator[Named]:
    value = evaluate(attribute.expression, scope)
    rendered = [with_working_dir(one, scope) if isinstance(one, str) else one for one in _each(value)]
    for one in rendered:
        yield Named(attribute.name, one, attribute.place, scope.path_cwd, weight, use)
    texts = [one for one in rendered if isinstance(one, str) and "{{" in one]
    if holds_unknown(value):
        texts += possible_texts(attribute.expression, scope)
    yield from _mentions(attribute.name, texts, attribute.place, [scope.path_cwd], scope, use=use)


def _each(value: object) -> Sequence[object]:
    """What an attribute lists, or has by names, as `metadata_files` of googlecompute has files; else itself."""
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def _of_others(attributes: Sequence[Attribute], scope: Scope) -> Iterator[Named]:
    """The attributes that sound as if they named files, of whatever plugin."""
    for attribute in attributes:
        if _is_a_path(attribute.name):
            yield from _of_attribute(attribute, scope, weight="optional")


@cache
def _is_a_path(name: str) -> bool:
    return _NAMES_A_PATH.search(name) is not None and _NAMES_ANOTHER.search(name) is None


@cache
def _is_a_path_of_a_builder(name: str) -> bool:
    return _NAMES_A_PATH_IN_A_BUILDER.search(name) is not None and _NAMES_ANOTHER.search(name) is None


def _of_arguments(type_: str, attributes: Sequence[Attribute], scope: Scope) -> Iterator[Named]:
    """Whatever the arguments of a step that runs here name, word by word."""
    found: list[tuple[Attribute, str]] = []
    for attribute in attributes:
        use = _USES.get((type_, attribute.name), "")
        if use:
            yield from _of_attribute(attribute, scope, weight="optional", use=use)
            continue
        texts = [*possible_texts(attribute.expression, scope), *_assigned(attribute, scope)]
        texts = [with_gaps(text, scope) for text in texts]
        found += [(attribute, text) for text in texts]
        if any(len(text) > MAX_LENGTH for text in texts):
            yield Named(attribute.name, UNKNOWN, attribute.place, scope.path_cwd)
        # As one line: a word is a folder behind its option, or in an attribute that is called so.
        line = f"{attribute.name}={' '.join(texts)}"
        yield from _folders(attribute.name, line, attribute.place, [scope.path_cwd])
        if _may_be_a_file_argument(attribute, scope):
            yield Named(attribute.name, UNKNOWN, attribute.place, scope.path_cwd)
    bases = _bases([text for _, text in found], scope)
    for attribute, text in found:
        assigned = _ASSIGNED.fullmatch(text)
        use = _VARIABLES.get(assigned[1], "") if assigned else ""
        yield from _mentions(attribute.name, [text], attribute.place, bases, scope, use=use)


def _mentions(
    by: str, texts: Iterable[str], place: Place, bases: Sequence[str], scope: Scope, *, use: Use
) -> Iterator[Named]:
    for text in (_as_word(with_gaps(text, scope)) for text in texts):
        for folder in folders_entered(text):
            yield from (Named(by, f"{_from_word(folder)}/", place, base, "mentioned") for base in bases)
        yield from _folders(by, text, place, bases, use=use)
        for mention in mentioned(text):
            for base in (*bases, scope.path_root, CHECKOUT) if mention.anywhere else bases:
                yield Named(by, _from_word(mention.path), place, base, "mentioned", use)


def _folders(by: str, text: str, place: Place, bases: Sequence[str], *, use: Use = "") -> Iterator[Named]:
    for folder in folders_taken(text):
        yield from (Named(by, f"{folder}/", place, base, "mentioned", use) for base in bases)


def _assigned(attribute: Attribute, scope: Scope) -> Iterator[str]:
    """What a mapping sets in the environment, as it is written where that is a list: `NAME=value`."""
    value = evaluate(attribute.expression, scope) if attribute.name in _ENVIRONMENTS else None
    if isinstance(value, Mapping):
        yield from (f"{name}={text}" for name, text in value.items() if isinstance(text, str))


def _as_word(text: str) -> str:
    """The text with the checkout's path as one word: `<` and `>` are a shell's."""
    return text.replace(CHECKOUT, _CHECKOUT_WORD)


def _from_word(path: str) -> str:
    return path.replace(_CHECKOUT_WORD, CHECKOUT)


def _bases(texts: Sequence[str], scope: Scope) -> list[str]:
    """Where a relative path of a command may begin: where Packer runs, and each folder that a command changes into."""
    bases = [scope.path_cwd]
    for folder in (_from_word(folder) for text in texts for folder in folders_entered(_as_word(text))):
        bases += [posixpath.join(base, folder) for base in bases if len(bases) < 8]
    return list(dict.fromkeys(bases))


def _may_be_a_file_argument(attribute: Attribute, scope: Scope) -> bool:
    """Whether arguments that are not known may name a file: one behind an `@`, Ansible's way to name one, or any."""
    if attribute.name != "extra_arguments":
        return False
    items = evaluate(attribute.expression, scope)
    if not isinstance(items, list):
        return items is UNKNOWN
    if any(isinstance(one, str) and _COMPUTED_FILE.search(one) for one in items):
        return True
    if UNKNOWN not in items:
        return False
    return any("@" in text for text in possible_texts(attribute.expression, scope))


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
            base = scope.path_cwd if by == _FROM_WORKING_DIR else scope.path_root
            if call.function == "fileset":
                yield Named(by, _pattern(call, scope), call.place, scope.path_root, "optional")
                continue
            weight: Weight = "needed" if is_sure and call.function != "fileexists" else "optional"
            use: Use = "template" if call.function == "templatefile" else ""
            yield Named(by, value, call.place, base, weight, use)
            if value is UNKNOWN:
                texts = possible_texts(call.arguments[0], scope)
                yield from _mentions(by, texts, call.place, [base], scope, use=use)


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
