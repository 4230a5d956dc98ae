"""What a remote's URL says: the fleet's name, and which part of it nobody may see."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

# Not from the scheme's beginning: looking for one at every letter, a long line without a blank took minutes.
_USERINFO = re.compile(r"(?<=[a-z0-9+.-]://)[^/\s'\"]+@", re.IGNORECASE)
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://[^/]*/(?P<path>.*)", re.IGNORECASE)
# As git reads it (gitremote-helpers, "git URLs"): a colon before any slash, and it isn't a URL.
_SCP_LIKE = re.compile(r"[^/:]+:(?!//)(?P<path>.+)")


def without_userinfo(text: str) -> str:
    """The text with `user:password@` taken out of every URL in it."""
    return _USERINFO.sub("", text)


def shareable(url: str) -> str:
    """A URL as others may see and use it: without `user:password@`, but for `git@`, which every host's SSH asks for."""
    return url if re.match(r"[a-z0-9+.-]*://git@[^/@]*(?:/|$)", url, re.IGNORECASE) else without_userinfo(url)


def fleet_name(url: str) -> str:
    """The path of the remote repository: `owner/name`, whichever way it is reached; a local path's last folder.

    The path is kept whole (`group/subgroup/name` on GitLab), since two fleets of one name in one AWS account would
    each take the other's artifacts for their own.
    """
    match = _URL.fullmatch(url) or _SCP_LIKE.fullmatch(url)
    if match is None or match.groupdict().get("scheme", "").lower() == "file":
        return _bare(PurePosixPath(url).name)
    return _bare(match["path"])


def _bare(path: str) -> str:
    return path.strip("/").removesuffix(".git").strip("/")
