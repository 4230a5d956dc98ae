"""Who we are to a container registry: docker's own logins, its helpers, and for ECR what AWS gives."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.model.errors import Terminal
from reconciler.model.text import first_line
from reconciler.registries.oci.reference import HUBS_LOGIN, Reference, one_spelling

if TYPE_CHECKING:
    from reconciler.aws.session import Clients

_HELPER_SECONDS = 30
_MOST = 1 << 20  # bytes of docker's config
_IDENTITY = "<token>"
"""The user name with which a helper says that the secret is an identity token (docker/docker-credential-helpers)."""
_NOT_FOUND = "credentials not found"
_ECR = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)"
)
"""A registry of Amazon ECR, as its user guide has the names ("Amazon ECR private registry")."""


@dataclass(frozen=True)
class Login:
    """A name with its secret. `is_identity` says that the secret is a refresh token, which stands for both."""

    user: str
    secret: str = field(repr=False)
    is_identity: bool = False

    @property
    def basic(self) -> str:
        """As the header of HTTP's Basic authentication has it."""
        return base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


@dataclass(frozen=True)
class Logins:
    """What this machine knows of logins. `clients` gives those of AWS, once they are needed."""

    environment: Mapping[str, str]
    clients: Callable[[], Clients]

    def of(self, reference: Reference) -> Login | None:
        """The login to a registry; None where there is none, so that it is asked as nobody.

        Raises Terminal for a config or a helper that can't be used, and what AWS's refusals become.
        """
        config = _read(self.environment)
        server = reference.login
        helpers = _member(config, "credHelpers")
        named = server if server in helpers else next((one for one in helpers if one_spelling(one) == server), server)
        helper = helpers.get(named) or config.get("credsStore")
        found = _of_helper(str(helper), named, self.environment) if helper else None
        found = found or _of_file(_member(config, "auths"), server)
        if found is None and (ecr := ecr_region(reference.host)) is not None:
            return self._of_aws(ecr)
        return found

    def _of_aws(self, region: str) -> Login:
        from botocore.config import Config  # noqa: PLC0415 - 0.2 s that only those pay who keep images there

        from reconciler.aws.errors import translated  # noqa: PLC0415 - as above

        with translated(f"asking ECR in {region} for a login"):
            answer = self.clients().client("ecr", region, config=Config()).get_authorization_token()
        user, _, secret = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode().partition(":")
        return Login(user, secret)


def ecr_region(host: str) -> str | None:
    """The region of a registry of ECR; None for any other."""
    match = _ECR.fullmatch(host)
    return match["region"] if match is not None else None


def config_folder(environment: Mapping[str, str]) -> Path:
    """Where docker keeps its config."""
    return Path(environment.get("DOCKER_CONFIG") or Path(environment.get("HOME") or "~").expanduser() / ".docker")


def _read(environment: Mapping[str, str]) -> dict[str, Any]:
    path = config_folder(environment) / "config.json"
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Terminal(
            f"{path} can't be read: {first_line(str(error))}", hint="fix it: docker reads the same"
        ) from error
    return found if isinstance(found, dict) else {}


def _member(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _of_file(auths: Mapping[str, Any], server: str) -> Login | None:
    """The login that stands in the config itself: under the server's name, or an address of it."""
    for name, entry in auths.items():
        is_its = name == server or (server != HUBS_LOGIN and one_spelling(_host(name)) == server)
        if isinstance(entry, dict) and is_its:
            if entry.get("identitytoken"):
                return Login(_IDENTITY, str(entry["identitytoken"]), is_identity=True)
            try:
                user, colon, secret = (
                    base64.b64decode(str(entry.get("auth") or ""), validate=True).decode().partition(":")
                )
            except (binascii.Error, UnicodeDecodeError):
                continue
            if colon:
                return Login(user, secret.rstrip("\0"))
    return None


def _host(name: str) -> str:
    return name.partition("://")[2].partition("/")[0] if "://" in name else name.partition("/")[0]


def _of_helper(name: str, server: str, environment: Mapping[str, str]) -> Login | None:
    """Ask one of docker's credential helpers."""
    program = f"docker-credential-{name}"
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise Terminal(f"docker's config names a credential helper that is no name: {first_line(name)}")
    try:
        ended = subprocess.run(
            [program, "get"], input=server.encode(), env=dict(environment), capture_output=True, check=False,
            timeout=_HELPER_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        why = "does not answer" if isinstance(error, subprocess.TimeoutExpired) else "is not installed here"
        raise Terminal(
            f"docker's config names the credential helper {program}, which {why}",
            hint=f"install it, or take it out of {config_folder(os.environ) / 'config.json'}",
        ) from error
    if ended.returncode != 0:
        said = first_line((ended.stdout or ended.stderr).decode(errors="replace"))
        if _NOT_FOUND in said.lower():
            return None
        raise Terminal(f"{program} gives no login to {server}: {said}", hint=f"`docker login {server}`")
    try:
        found = json.loads(ended.stdout)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise Terminal(f"{program} answers something else than a login to {server}") from error
    return Login(user, secret, is_identity=user == _IDENTITY) if secret else None
