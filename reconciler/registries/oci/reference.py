"""References to container images, as Docker and its registries read them, and the addresses behind them."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace

from reconciler.model.errors import Terminal
from reconciler.model.text import shorten

# The grammar is that of github.com/distribution/reference: components, separators, a tag, a digest.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}"
PATTERN = rf"^(?:{_HOST}(?::[0-9]+)?/)?{_PATH}(?::{TAG})?(?:@{DIGEST})?$"
"""What a reference looks like."""
_REFERENCE = re.compile(
    rf"(?:(?P<host>{_HOST}(?::[0-9]+)?)/)?(?P<path>{_PATH})(?::(?P<tag>{TAG}))?(?:@(?P<digest>{DIGEST}))?"
)
_LONGEST = 255
_PORTS = 1 << 16
_HUB = "docker.io"
"""Where an image is that is named without a registry, and what stands for it (moby/moby, registry/config.go)."""
_HUBS_API = "registry-1.docker.io"
_HUBS_NAMES = frozenset({_HUB, f"index.{_HUB}", _HUBS_API})
HUBS_LOGIN = "https://index.docker.io/v1/"
"""Under which docker's config keeps the login to it."""
LATEST = "latest"
_LOCALHOST = "localhost"


@dataclass(frozen=True)
class Reference:
    """A reference with all that is left out of it: its registry, and `latest` where it names neither tag nor digest.

    Of the ways to write a registry `host` is one: in lower case, without the port that goes without saying.
    """

    host: str
    path: str
    tag: str | None = None
    digest: str | None = None
    said: str = field(default="", compare=False)
    """The registry as it is written, where that is another way."""

    @property
    def repository(self) -> str:
        """The location of what is there: `registry/path`."""
        return f"{self.host}/{self.path}"

    @property
    def as_said(self) -> str:
        """The same as whoever wrote it spells the registry: under that name an engine has its login."""
        return f"{self.said or self.host}/{self.path}"

    @property
    def moves(self) -> bool:
        """Whether it means something else from one day to the next: `latest`, said or not."""
        return self.digest is None and self.tag in (None, LATEST)

    @property
    def at(self) -> str:
        """What is asked for in its repository: the digest, else the tag."""
        return self.digest or self.tag or LATEST

    @property
    def endpoint(self) -> str:
        """Where its registry answers. Only one on this machine is spoken to without TLS, as Docker does."""
        host = _HUBS_API if self.host == _HUB else self.host
        return f"{'http' if is_loopback(host) else 'https'}://{host}"

    @property
    def login(self) -> str:
        """Under which docker's config has the login to its registry."""
        return HUBS_LOGIN if self.host == _HUB else self.host

    def by(self, at: str) -> Reference:
        """Another tag or digest of the same repository."""
        return (
            replace(self, tag=None, digest=at) if at.startswith("sha256:") else replace(self, tag=at, digest=None)
        )  # fmt: skip


def parse(text: str) -> Reference | None:
    """A reference, or None for what is none."""
    match = _REFERENCE.fullmatch(text)
    if match is None or len(text) > _LONGEST:
        return None
    host, path, tag, digest = match.group("host", "path", "tag", "digest")
    if host is not None and not ("." in host or ":" in host or host.lower() == "localhost"):
        host, path = None, f"{host}/{path}"
    if path != path.lower():
        return None  # of what was taken for a registry first
    if host is not None and not _may_be_asked(host):
        return None
    said = host if host not in (None, f"index.{_HUB}") else _HUB
    host = one_spelling(said)
    if host in _HUBS_NAMES:
        host, path = _HUB, path if "/" in path else f"library/{path}"
    return Reference(host, path, tag, digest, said)


def _may_be_asked(host: str) -> bool:
    """Whether an address can be made of a registry: what is in brackets is one of IPv6, and a port is a port."""
    name, _, port = host.rpartition(":") if re.search(r":[0-9]+$", host) else (host, "", "")
    try:
        return int(port or "0") < _PORTS and (not name.startswith("[") or bool(ipaddress.IPv6Address(name[1:-1])))
    except ValueError:
        return False


def why_none(text: str) -> str:
    """A sentence that says why a text is no reference, and how it is written."""
    what = f'"{shorten(text)}" is no reference to a container image'
    named, sign, digest = text.partition("@")
    at = named.rfind(":") if ":" in named.rpartition("/")[2] else len(named)
    lowered = f"{named[:at].lower()}{named[at:]}{sign}{digest}"
    if lowered != text and parse(lowered) is not None:
        return f"{what}: the names in it are in lower case, {shorten(lowered)}"
    if parse(text.strip()) is not None:
        return f"{what}: there are blanks around it"
    return f"{what}: it is written as debian:12, or with its registry, registry.example.org/acme/base:1"


def one_spelling(host: str) -> str:
    """The one way to write a registry that counts here: names in any case are one, and so is 443 said or not."""
    name, colon, port = host.lower().rpartition(":") if re.search(r":[0-9]+$", host) else (host.lower(), "", "")
    with suppress(ValueError):
        address = ipaddress.ip_address(name.strip("[]"))
        name = f"[{address}]" if address.version == 6 else f"{address}"
    unsaid = "80" if is_loopback(name) else "443"
    port = port.lstrip("0") or port[:1]
    return name if port in ("", unsaid) else f"{name}{colon}{port}"


def location(text: str) -> Reference | None:
    """A repository in its whole form, `registry/path`, or None for what is none, and for another way to write it."""
    found = as_repository(text)
    return found if found is not None and found.repository == text else None


def as_repository(text: str) -> Reference | None:
    """A repository with its registry, however it is written, or None for what is none."""
    found = parse(text)
    host = text.partition("/")[0]
    says_where = "/" in text and ("." in host or ":" in host or host.lower() == "localhost")
    return found if found is not None and says_where and (found.tag, found.digest) == (None, None) else None


def repository(text: str) -> Reference:
    """The repository of a location, also of one that was recorded in another way to write it.

    Raises Terminal for what is none.
    """
    found = as_repository(text)
    if found is None:
        raise Terminal(f"{text} is no repository of a container registry")
    return found


def is_surely_one(one: Reference, other: Reference) -> bool:
    """Whether two repositories are one by their names: `localhost` is 127.0.0.1, or [::1] (RFC 6761, 6.3)."""
    if one == other:
        return True
    hosts = {one.host, other.host}
    named = next((host for host in hosts if host.partition(":")[0] == _LOCALHOST), None)
    if named is None or one.path != other.path:
        return False
    return bool(hosts & {named.replace(_LOCALHOST, address) for address in ("127.0.0.1", "[::1]")})


def is_loopback(host: str) -> bool:
    """Whether a registry is on this machine."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    try:
        return name == _LOCALHOST or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
