"""`ansible.cfg`: where roles, plugins and inventories are looked for, beside the folders that are fixed."""

from __future__ import annotations

import configparser
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

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
