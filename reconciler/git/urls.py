"""What a remote's URL says: where the repository is, the fleet's name, and which part of it nobody may see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

# Not from the scheme's beginning: looking for one at every letter, a long line without a blank took minutes.
_USERINFO = re.compile(r"(?<=[a-z0-9+.-]://)[^/\s'\"]+@", re.IGNORECASE)
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^/]*)/(?P<path>.*)", re.IGNORECASE)
# As git reads it (gitremote-helpers, "git URLs"): a colon before any slash, and it isn't a URL.
_SCP_LIKE = re.compile(r"(?P<host>[^/:\[]*(?:\[[^\]/]*\])?[^/:]*):(?!//)(?P<path>.+)")
_HELPER = re.compile(r"codecommit:(?::[a-z0-9-]+:)?//(?:[^/@]+@)?(?P<name>.+)", re.IGNORECASE)
"""git-remote-codecommit's own form: `codecommit::REGION://PROFILE@NAME`."""

_PUBLIC = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org")
"""Hosts that tell no two names apart by case, under any of their names (ssh.github.com, altssh.gitlab.com)."""
_AZURE = ("dev.azure.com", "visualstudio.com")
_BITBUCKET_SSH = "7999"
"""The port of Bitbucket Data Center's SSH, which neither tells names apart by case."""


def without_userinfo(text: str) -> str:
    """The text with `user:password@` taken out of every URL in it."""
    return _USERINFO.sub("", text)


def repository_name(url: str) -> str:
    """The path of the remote repository as the URL spells it, `owner/name`; a local path's last folder."""
    address = _address(url)
    return _bare(PurePosixPath(url).name if address is None else address.path)


def shareable(url: str) -> str:
    """A URL as others may see and use it: without `user:password@`, but for `git@`, which every host's SSH asks for."""
    return url if re.match(r"[a-z0-9+.-]*://git@[^/@]*(?:/|$)", url, re.IGNORECASE) else without_userinfo(url)


def is_of_this_machine(url: str) -> bool:
    """Whether it is a path, or a `file:` URL, under which no other machine has the repository."""
    return _HELPER.fullmatch(url) is None and _address(url) is None


def fleet_name(url: str) -> str:
    """The path of the remote repository, the same in whichever way and spelling it is reached.

    The path is kept whole (`group/subgroup/name` on GitLab), since two fleets of one name in one AWS account would
    each take the other's artifacts for their own. What a host adds to it by HTTPS or SSH alone is left out:

    - Bitbucket's `/scm/` (Atlassian, "Clone a repository"; personal repositories are `~user/name`), also behind a
      context path, and Gerrit's `/a/` of authenticated HTTP (Gerrit, "Project Configuration");
    - Azure DevOps' `_git` and `v3`, with the organization where its older host names hold it (Microsoft, "Set up a Git
      repository"; `org/_git/name` is short for `org/name/_git/name`);
    - the case, on hosts that tell no two repositories apart by it.
    """
    helper = _HELPER.fullmatch(url)
    if helper is not None:
        return f"v1/repos/{helper['name']}"
    address = _address(url)
    if address is None:
        return _bare(PurePosixPath(url).name)
    parts = [unquote(part) for part in _bare(address.path).split("/") if part]
    name = "/".join(_plain(address, parts))
    insensitive = address.is_one_of((*_PUBLIC, *_AZURE)) or _is_bitbucket(address, parts)
    return name.lower() if insensitive else name


def _plain(address: _Address, parts: list[str]) -> list[str]:
    """The parts of a repository's path without what its host adds to them."""
    if address.is_one_of(_AZURE):
        return _azure(address.host, parts)
    if address.is_one_of(_PUBLIC):
        return parts
    if _is_bitbucket(address, parts):
        return parts[-2:]
    added = re.search(r"\b(?:gerrit|review)\b", address.host) is not None and len(parts) > 1 and parts[0] == "a"
    return parts[1:] if added else parts


def _is_bitbucket(address: _Address, parts: list[str]) -> bool:
    """Whether it is a repository of Bitbucket Data Center, as far as that can be told."""
    return address.port == _BITBUCKET_SSH or (len(parts) > 2 and parts[-3].lower() == "scm")


@dataclass(frozen=True)
class _Address:
    host: str
    """In lower case, without user and port."""
    port: str
    path: str

    def is_one_of(self, domains: tuple[str, ...]) -> bool:
        return self.host.endswith(domains) and any(
            self.host == domain or self.host.endswith(f".{domain}") for domain in domains
        )


def _address(url: str) -> _Address | None:
    """Where a URL leads; None for a path of this machine."""
    match = _URL.fullmatch(url) or _SCP_LIKE.fullmatch(url)
    if match is None or match.groupdict().get("scheme", "").lower() == "file":
        return None
    host, _, port = match["host"].rpartition("@")[2].lower().partition(":")
    return _Address(host, port, match["path"])


def _azure(host: str, parts: list[str]) -> list[str]:
    """Organization, project and repository."""
    if parts[:1] == ["v3"]:  # SSH
        return parts[1:]
    if host.endswith(".visualstudio.com"):
        parts = [host.partition(".")[0], *(part for part in parts if part.lower() != "defaultcollection")]
    if "_git" not in parts:
        return parts
    at = parts.index("_git")
    name = parts[at + 1 :]
    return [*parts[:at], *name] if at > 1 else [*parts[:at], *name, *name]


def _bare(path: str) -> str:
    return path.strip("/").removesuffix(".git").strip("/")
