"""Statements in state/: `provenance/<image>/<build id>.intoto.json`, and its signature in the `.sig` beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.model.errors import Place, UserError
from reconciler.model.lockfile import Build
from reconciler.model.provenance import Origin, Statement
from reconciler.plan.proof.provenance import statement
from reconciler.state.lockfiles import FOLDER

NAMESPACE = "provenance@reconciler"
"""What the signature is for (ssh-keygen(1), `-Y sign -n`): one made for a commit does not fit a statement."""


@dataclass(frozen=True)
class Attested:
    """A build whose record names its statement, and the files to commit with it.

    `files` maps paths from the repository's root to contents; None is a file that must not be there: a signature of
    what the statement said before.
    """

    build: Build
    files: Mapping[str, bytes | None]


def attest(build: Build, origin: Origin, *, sbom: bytes | None, sign: Callable[[bytes], bytes | None]) -> Attested:
    """Make the statement of a build that is being recorded. To be called anew whenever its artifacts change.

    Args:
        build: The build as it will stand in the lockfile.
        origin: Where that is.
        sbom: The SBOM's bytes, as they are committed; None where there is none.
        sign: Returns the signature of the statement's bytes, or None where none is made. What it raises is raised.
    """
    path = path_of(origin.image, build.id)
    content = render(statement(build, origin, sbom_digest=None if sbom is None else sha256(sbom)))
    files = {f"{FOLDER}/{path}": content, f"{FOLDER}/{signature_path(path)}": sign(content)}
    return Attested(build.model_copy(update={"provenance": path}), files)


def path_of(image: str, build_id: str) -> str:
    """Where the statement of a build is, relative to state/."""
    return f"provenance/{image}/{build_id}.intoto.json"


def signature_path(path: str) -> str:
    """Where the signature of a statement is: where `ssh-keygen -Y sign` puts it."""
    return f"{path}.sig"


def sha256(content: bytes) -> str:
    """The `sha256:…` of a file's bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def render(made: Statement) -> bytes:
    """A statement's canonical bytes: sorted keys, two spaces, LF, UTF-8, a newline at the end; no nulls."""
    plain = made.model_dump(mode="json", by_alias=True, exclude_none=True)
    return f"{json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()


def read(content: bytes, path: str) -> Statement:
    """Read a statement.

    Raises:
        UserError: it is none of those that this version writes.
    """
    try:
        return Statement.model_validate_json(content)
    except ValueError as error:
        raise UserError("not a provenance statement that this version knows", where=Place(path)) from error
