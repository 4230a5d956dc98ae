"""What names a file: an attribute by its value, and arguments by each of their words."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reconciler.desired.packer.engine import with_gaps, with_working_dir
from reconciler.desired.packer.evaluate import (
    CHECKOUT,
    Scope,
    evaluate,
    holds_unknown,
    possible_texts,
)
from reconciler.desired.packer.syntax import UNKNOWN, Attribute
from reconciler.desired.paths import MAX_LENGTH, folders_entered, folders_taken, mentioned
from reconciler.model.errors import Place

Weight = Literal["needed", "optional", "mentioned"]
"""Whether the build fails where the file is not there, takes it if it is there, or may not mean a file at all."""
Use = Literal[
    "", "playbook", "inventory", "roles", "requirements", "settings", "script", "template", "credential"
]  # fmt: skip
"""What is done with a file beyond reading it: the files that it draws on count as well."""

USES: Mapping[tuple[str, str], Use] = {
    ("ansible", "playbook_file"): "playbook",
    ("ansible", "inventory_file"): "inventory",
    ("ansible", "inventory_directory"): "inventory",
    ("ansible", "roles_path"): "roles",
    ("ansible", "galaxy_file"): "requirements",
    ("shell-local", "script"): "script",
    ("shell-local", "scripts"): "script",
}
_ASSIGNED = re.compile(r"(ANSIBLE_[A-Z_]+)=(.*)", re.DOTALL)
_VARIABLES: Mapping[str, Use] = {
    "ANSIBLE_CONFIG": "settings",
    "ANSIBLE_INVENTORY": "inventory",
    "ANSIBLE_ROLES_PATH": "roles",
}
_FILE_OPTIONS: Mapping[str, tuple[str, ...]] = {"inspec": ("-file",)}
# What Packer renders behind an `@`, Ansible's way to name a file.
_COMPUTED_FILE = re.compile(r"@[^\s,]{0,1024}\{\{(?!-?\s*(?:pwd\b|\.))")
# What it renders right behind steps up: there is no folder that could count.
_COMPUTED_FOLDER = re.compile(r"(?:^|[\s'\"=:@<])(?:\./)?(?:\.\./)+[^\s/{]{0,255}\{\{(?!-?\s*(?:pwd\b|\.))")
_ENVIRONMENTS = frozenset({"env", "environment"})
FROM_WORKING_DIR = "filebase64()"
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
        return not self.by.endswith("()") or self.by == FROM_WORKING_DIR


def of_attribute(attribute: Attribute, scope: Scope, *, weight: Weight = "needed", use: Use = "") -> Iterator[Named]:
    """What an attribute says is a file: each of its members, or what one may come to that is not known."""
    value = evaluate(attribute.expression, scope)
    rendered = [with_working_dir(one, scope) if isinstance(one, str) else one for one in _each(value)]
    for one in rendered:
        yield Named(attribute.name, one, attribute.place, scope.path_cwd, weight, use)
    texts = [one for one in rendered if isinstance(one, str) and "{{" in one]
    if holds_unknown(value):
        texts += possible_texts(attribute.expression, scope)
    yield from mentions(attribute.name, texts, attribute.place, [scope.path_cwd], scope, use=use)


def _each(value: object) -> Sequence[object]:
    """What an attribute lists, or has by names, as `metadata_files` of googlecompute has files; else itself."""
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def of_arguments(type_: str, attributes: Sequence[Attribute], scope: Scope) -> Iterator[Named]:
    """Whatever the arguments of a step that runs here name, word by word."""
    found: list[tuple[Attribute, str]] = []
    for attribute in attributes:
        use = USES.get((type_, attribute.name), "")
        if use:
            yield from of_attribute(attribute, scope, weight="optional", use=use)
            continue
        texts = [*possible_texts(attribute.expression, scope), *_assigned(attribute, scope)]
        if any(_COMPUTED_FOLDER.search(text) for text in texts):
            yield Named(attribute.name, UNKNOWN, attribute.place, scope.path_cwd)
        texts = [with_gaps(text, scope) for text in texts]
        found += [(attribute, text) for text in texts]
        if any(len(text) > MAX_LENGTH for text in texts):
            yield Named(attribute.name, UNKNOWN, attribute.place, scope.path_cwd)
        # As one line: a word is a folder behind its option, or in an attribute that is called so.
        line = f"{attribute.name}={' '.join(texts)}"
        yield from _folders(attribute.name, line, attribute.place, [scope.path_cwd])
        if _may_be_a_file_argument(type_, attribute, scope):
            yield Named(attribute.name, UNKNOWN, attribute.place, scope.path_cwd)
    bases = _bases([text for _, text in found], scope)
    for attribute, text in found:
        assigned = _ASSIGNED.fullmatch(text)
        use = _VARIABLES.get(assigned[1], "") if assigned else ""
        yield from mentions(attribute.name, [text], attribute.place, bases, scope, use=use)


def mentions(
    by: str, texts: Iterable[str], place: Place, bases: Sequence[str], scope: Scope, *, use: Use
) -> Iterator[Named]:
    """Every word of the texts that may be a path, from each folder that it may begin at."""
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


def _may_be_a_file_argument(type_: str, attribute: Attribute, scope: Scope) -> bool:
    """Whether arguments that are not known may name a file: one behind what marks a file (Ansible's `@`), or any."""
    if attribute.name != "extra_arguments":
        return False
    items = evaluate(attribute.expression, scope)
    if not isinstance(items, list):
        return items is UNKNOWN
    if any(isinstance(one, str) and _COMPUTED_FILE.search(one) for one in items):
        return True
    if UNKNOWN not in items:
        return False
    marks = _FILE_OPTIONS.get(type_, ("@",))
    return any(mark in text for text in possible_texts(attribute.expression, scope) for mark in marks)
