"""How this reconciler was installed: its commit, and the command that installs it again with one of its extras.

The public index has a package of this name that is a stranger's. So no command here leaves the name to an index: it
gives the address or the path that pip, pipx or uv noted when they installed this reconciler (`direct_url.json`, PEP
610). Where nothing was noted, no command is given.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import reconciler
from reconciler.git.urls import shareable
from reconciler.model.text import visible

_NAME = "reconciler"


@dataclass(frozen=True)
class Origin:
    """What was installed: a folder, a commit of a repository, or an archive."""

    url: str
    """Where it is; of a repository without the commit."""
    address: str = ""
    """As a requirement has it after `@`, the commit included. Empty for a folder, which is named by its path."""
    editable: bool = False
    commit: str = ""
    """The commit of a repository that was installed; empty for a folder or an archive, of which none is noted."""

    @property
    def path(self) -> Path | None:
        """The file or folder of this machine that it is, if it is one."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder: a clone, as a rule, which may be at another commit by now."""
        return not self.address and self.path is not None

    def requirement(self, extra: str) -> str:
        """The requirement that names this very origin, with an extra."""
        return f"{_NAME}[{extra}] @ {self.address}" if self.address else f"{self.path}[{extra}]"


def running() -> str:
    """The version that runs, with what tells two installs of it apart: their commit, or the folder they came from."""
    origin = find_origin()
    if origin is None or not (origin.commit or origin.is_folder):
        return reconciler.__version__
    folder = Path(reconciler.__file__).resolve().parents[1] if origin.editable else origin.path
    whence = f"commit {origin.commit}" if origin.commit else f"from {folder}"
    return f"{reconciler.__version__} ({visible(whence)})"


def install_with(extra: str) -> str:
    """A hint: how to get this reconciler with an extra, from where and by what it was installed."""
    origin = find_origin()
    if origin is None:
        return f"install it again with its extra {extra!r}, from a clone or the address of its repository"
    if origin.path is not None and not origin.path.exists():
        return f"install it again with its extra {extra!r}: it came from {origin.path}, which is no longer there"
    installer = _installer()
    if installer[0] == sys.executable and origin.path is not None and (origin.path / "pyproject.toml").is_file():
        # pip before 24.1 takes no `git+file:` address with an extra, and Debian 12 has 23.0.
        origin = replace(origin, address="")
    flags = ["--editable"] if origin.editable else []
    return f"install it with its extra: {shlex.join([*installer, *flags, origin.requirement(extra)])}"


def find_origin() -> Origin | None:
    """What was installed as this reconciler. None where it came from an index, or nothing tells."""
    try:
        noted = distribution(_NAME).read_text("direct_url.json")
    except PackageNotFoundError:
        noted = None
    if noted is not None:
        return _read(noted)
    # Started from a clone in which nothing was installed, as with PYTHONPATH.
    around = Path(reconciler.__file__).resolve().parents[1]
    return Origin(around.as_uri()) if (around / "pyproject.toml").is_file() else None


def _read(noted: str) -> Origin | None:
    try:
        found = json.loads(noted)
        url = found.get("url") if isinstance(found, Mapping) else None
        if not isinstance(url, str) or not urlsplit(url).scheme:
            return None
    except ValueError:  # no JSON, or no URL
        return None
    url = shareable(url)
    if isinstance(folder := found.get("dir_info"), Mapping):
        origin = Origin(url, editable=folder.get("editable") is True)
        return origin if origin.path is not None else None
    vcs = found.get("vcs_info")
    commit = vcs.get("commit_id") if isinstance(vcs, Mapping) else None
    return Origin(url, _address(url, found), commit=commit if isinstance(commit, str) else "")


def _address(url: str, found: Mapping[str, Any]) -> str:
    """The address that pip takes after `@`. It names the commit that was installed, not what its branch is by now."""
    vcs = found.get("vcs_info")
    if isinstance(vcs, Mapping) and vcs.get("commit_id"):
        url = f"{vcs.get('vcs', 'git')}+{url}@{vcs['commit_id']}"
    subdirectory = found.get("subdirectory")
    return f"{url}#subdirectory={quote(subdirectory)}" if isinstance(subdirectory, str) and subdirectory else url


def _installer() -> list[str]:
    """The command, up to the requirement, of the program that made this environment: pipx, uv, or pip in it."""
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").is_file():
        return ["pipx", "install", "--force"]
    if (prefix / "uv-receipt.toml").is_file():
        return ["uv", "tool", "install", "--force"]
    try:
        by_uv = (distribution(_NAME).read_text("INSTALLER") or "").strip() == "uv"
    except PackageNotFoundError:
        by_uv = False
    return ["uv", "pip", "install", "--python", sys.executable] if by_uv else [sys.executable, "-m", "pip", "install"]
