"""What Ansible's YAML says, text by text, and where `ansible.cfg` has roles and plugins looked for."""

from __future__ import annotations

import configparser
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

# What a YAML file of Ansible's says: every text with the keys that lead to it, taken apart into words.
#
# Its tags (`!vault`, `!unsafe`) are passed over, and so is what its templates come to: what is looked for are the names
# of files and roles.

Keys: TypeAlias = tuple[str | int, ...]

MAX_DEPTH = 64
MAX_BYTES = 4 * 1024 * 1024
MAX_VALUES = 100_000
"""Counted after aliases are expanded."""
COMPUTED, PLAYBOOK, ROLE = "\0", "\1", "\2"
"""In a word they stand for what a template comes to, for the playbook's folder, and for the role's."""
_MERGED = "<<"
# No `.*?`, which would look for the end anew from each brace of a long run.
_EXPRESSION = re.compile(r"\{\{((?:[^{}]|\{(?!\{)|\}(?!\}))*)\}\}|\{%([^{}]*)%\}")
_PLACES = ((re.compile(r"\{\{\s*playbook_dir\s*\}\}"), PLAYBOOK), (re.compile(r"\{\{\s*role_path\s*\}\}"), ROLE))
_MARKS = re.compile(f"[{COMPUTED}{PLAYBOOK}{ROLE}]")
_BETWEEN = re.compile(r"[\s'\"`;|&()<>,\[\]=]+")
_LONGEST_WORD = 1024
_LONGEST_TEXT = 64 * 1024
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, slots=True)
class Said:
    """One scalar. `keys` are those of mappings and the positions in lists that lead to it."""

    keys: Keys
    names: tuple[str, ...]
    """The keys of mappings alone, without the collection that Ansible's own modules may be written with."""
    words: tuple[str, ...]
    """What of the text may be a path or a name, in order; then the words within its templates."""


@dataclass(slots=True)
class _Node:
    """A mapping (members by turns key and value) or a list that is being read."""

    is_mapping: bool
    members: list[_Node | str] = field(default_factory=list)


def sayings_of(content: bytes) -> tuple[Said, ...] | None:
    """What all documents of a file say, in order; None for what is no YAML, or is nested beyond reason."""
    if len(content) > MAX_BYTES:
        return None
    try:
        roots = list(_documents(content))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    found: list[Said] = []
    waiting: list[tuple[Keys, _Node | str]] = [((), root) for root in reversed(roots)]
    while waiting:
        keys, node = waiting.pop()
        if isinstance(node, str):
            found.append(Said(keys, _names(keys), tuple(_words(node))))
        else:
            waiting += reversed(list(_members(keys, node)))
        if len(found) + len(waiting) > MAX_VALUES or len(keys) > MAX_DEPTH:
            return None
    return tuple(found)


def _names(keys: Keys) -> tuple[str, ...]:
    named = (key for key in keys if isinstance(key, str))
    return tuple(key.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.") for key in named)


def _words(text: str) -> Iterator[str]:
    if len(text) > _LONGEST_TEXT:
        return
    within: list[str] = []
    if "{" in text or _MARKS.search(text):
        text = _MARKS.sub(" ", text)
        for place, mark in _PLACES:
            text = place.sub(mark, text)
        # `playbook_dir + '/files/x'`: the slash is no beginning of the machine's paths.
        within = [word.lstrip("/") for one in _EXPRESSION.findall(text) for word in _BETWEEN.split("".join(one))]
        text = _EXPRESSION.sub(COMPUTED, text)
    for word in (*_BETWEEN.split(text), *within):
        if word and len(word) <= _LONGEST_WORD and not word.startswith(("/", "~", "-")) and "://" not in word:
            yield word.removesuffix("/") or word


def _documents(content: bytes) -> Iterator[_Node | str]:
    """The documents as trees. Raises YAMLError for what is none, or is nested beyond reason."""
    anchors: dict[str, _Node | str] = {}
    open_nodes: list[_Node] = []
    node: _Node | str
    for event in yaml.parse(content, Loader=_LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            open_nodes.pop()
            continue
        if isinstance(event, yaml.AliasEvent):
            node = anchors.get(str(event.anchor), "")
        elif isinstance(event, yaml.ScalarEvent):
            node = event.value
        elif isinstance(event, yaml.CollectionStartEvent):
            node = _Node(isinstance(event, yaml.MappingStartEvent))
        else:
            continue
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.anchor is not None:
            anchors[event.anchor] = node
        if open_nodes:
            open_nodes[-1].members.append(node)
        else:
            yield node
        if isinstance(node, _Node) and isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append(node)
            if len(open_nodes) > MAX_DEPTH:
                # Before the parser goes on: a hundred thousand brackets take libyaml a minute.
                raise yaml.YAMLError


def _members(keys: Keys, node: _Node) -> Iterator[tuple[Keys, _Node | str]]:
    if not node.is_mapping:
        yield from (((*keys, index), member) for index, member in enumerate(node.members))
        return
    for key, value in zip(node.members[::2], node.members[1::2], strict=False):
        if isinstance(key, str):
            # What is merged in counts as written here, as in `<<: *common`.
            yield (keys if key == _MERGED else (*keys, key)), value


# `ansible.cfg`: where roles, plugins and inventories are looked for, beside the folders that are fixed.

_ROLES = "roles_path"
_HERE = ("{{CWD}}", "{{ CWD }}")


@dataclass(frozen=True)
class Settings:
    """The paths of one file, from the fleet's folder."""

    role_folders: tuple[str, ...]
    others: tuple[str, ...]
    """Whatever else its values name: plugins, collections, inventories, and words that are no paths."""


def read_settings(content: bytes, *, folder: str, working_dir: str) -> Settings:
    """Read an ansible.cfg that is in a folder. What Ansible could not read either names nothing.

    Relative paths begin at the file's folder (ansible/config/manager.py, resolve_path), `{{CWD}}` is where it runs.
    """
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, inline_comment_prefixes=(";",))
    try:
        parser.read_string(content.decode(errors="replace"))
    except configparser.Error:
        return Settings((), ())
    roles: list[str] = []
    others: list[str] = []
    for section in parser.sections():
        for name, value in parser.items(section):
            paths = list(_paths(value or "", folder=folder, working_dir=working_dir))
            (roles if name == _ROLES else others).extend(paths)
    return Settings(tuple(roles), tuple(others))


def _paths(value: str, *, folder: str, working_dir: str) -> Iterator[str]:
    for part in value.replace(",", ":").split(":"):
        path = part.strip().strip("'\"")
        here = next((mark for mark in _HERE if path.startswith(mark)), None)
        if here is not None:
            yield posixpath.normpath(posixpath.join(working_dir, path.removeprefix(here).lstrip("/")))
        elif path and not path.startswith(("/", "~", "$", "-")) and " " not in path and "\0" not in path:
            yield posixpath.normpath(posixpath.join(folder, path))
