"""What botocore and GitPython make anew for each client or command though it never differs, made once in a process.

A test opens clients of its own, as a run does, and its run begins twenty gits. Half of what a client costs is botocore
that lists the folders of all services, names every operation of one, and renames events; a tenth of what a git costs
is GitPython that parses each of seventy words as a URL. What comes out is the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any
from unittest.mock import patch

from botocore.client import ClientCreator
from botocore.hooks import EVENT_ALIASES, EventAliaser
from botocore.loaders import Loader

_LEAVES_NO_PASSWORD = ("//", ".extraheader")
"""What a word has that GitPython takes something out of: a URL, or a header."""


def install() -> None:
    """Have this process make them once, to its end."""
    for owner, name, once in (
        (Loader, "list_available_services", _services),
        (ClientCreator, "_create_methods", _methods),
        (EventAliaser, "__init__", _aliaser),
    ):
        patch.object(owner, name, once(getattr(owner, name))).start()
    if shutil.which("git") is not None:  # GitPython can't be imported without one
        plain = "git.cmd.remove_password_if_present"
        patch(plain, _without_password(import_module("git.util").remove_password_if_present)).start()


def _services(plain: Callable[..., list[str]]) -> Callable[..., list[str]]:
    known: dict[tuple[object, ...], list[str]] = {}

    def list_available_services(loader: Loader, type_name: str) -> list[str]:
        asked = (tuple(loader.search_paths), type_name)
        if asked not in known:
            known[asked] = plain(loader, type_name)
        return list(known[asked])

    return list_available_services


def _methods(plain: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    known: dict[tuple[object, ...], dict[str, Any]] = {}

    def create_methods(creator: ClientCreator, service_model: Any) -> dict[str, Any]:
        asked = (service_model.service_name, service_model.api_version, *service_model.operation_names)
        if asked not in known:
            known[asked] = plain(creator, service_model)
        return dict(known[asked])  # whoever is told of a class that is being made adds to it

    return create_methods


def _aliaser(plain: Callable[..., None]) -> Callable[..., None]:
    known: dict[str, str] = {}

    def init(aliaser: Any, event_emitter: object, event_aliases: dict[str, str] | None = None) -> None:
        plain(aliaser, event_emitter, event_aliases)
        if aliaser._event_aliases == EVENT_ALIASES:
            aliaser._alias_name_cache = known

    return init


def _without_password(plain: Callable[[Sequence[str]], list[str]]) -> Callable[[Sequence[str]], list[str]]:
    def remove_password_if_present(cmdline: Sequence[str]) -> list[str]:
        said = "\0".join(cmdline).lower()
        return plain(cmdline) if any(one in said for one in _LEAVES_NO_PASSWORD) else list(cmdline)

    return remove_password_if_present
