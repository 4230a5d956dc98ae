"""Statements in state/: `provenance/<image>/<build id>.intoto.json`, and that file's signature in the `.sig` beside it.

Where a key signs, the file is a DSSE envelope under that key's own signature, which is what verifiers of in-toto read;
the `.sig` is OpenSSH's of the whole file, which is what allowed signers, their dates and revocations are for. Where
none does, the file is the bare statement: an envelope without a signature is one that every verifier refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from reconciler import registries
from reconciler.model.errors import Place, UserError
from reconciler.model.lockfile import Build
from reconciler.model.provenance import PAYLOAD_TYPE, Envelope, Origin, Statement
from reconciler.model.values import sha256_of
from reconciler.plan.proof.provenance import statement
from reconciler.state.lockfiles import FOLDER

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

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


@dataclass(frozen=True)
class Document:
    """A file of provenance as it was read: a statement, in an `envelope` or bare."""

    statement: Statement
    envelope: Envelope | None
    canonical: bool
    """Whether the file has the bytes that this version writes."""


def attest(
    build: Build,
    origin: Origin,
    *,
    sbom: bytes | None,
    sign: Callable[[bytes], bytes | None],
    signer: Signer | None = None,
) -> Attested:
    """Make the statement of a build that is being recorded. To be called anew whenever its artifacts change.

    Args:
        build: The build as it will stand in the lockfile.
        origin: Where that is.
        sbom: The SBOM's bytes, as they are committed; None where there is none.
        sign: Returns the signature of the file's bytes, or None where none is made. What it raises is raised.
        signer: Signs the envelope; None where none is made.
    """
    path = path_of(origin.image, build.id)
    made = render(statement(build, origin, subject=subject_of, sbom_digest=None if sbom is None else sha256_of(sbom)))
    content = made if signer is None else _sealed(made, signer)
    files = {f"{FOLDER}/{path}": content, f"{FOLDER}/{signature_path(path)}": sign(content)}
    return Attested(build.model_copy(update={"provenance": path}), files)


def subject_of(kind: str, location: str, artifact_id: str) -> Mapping[str, str]:
    """The digest that an artifact is named by: its kind's, or its id for one of which nothing is known here."""
    if kind not in registries.KINDS:
        return {kind: artifact_id}
    return registries.dialect_of(kind).subject(location, artifact_id)


def built_where_source_is(kind: str) -> bool:
    """Whether what is of a kind is built on a source where that is alone; of one that is not known here, so it is."""
    return kind not in registries.KINDS or registries.dialect_of(kind).kind.builds_where_source_is


def path_of(image: str, build_id: str) -> str:
    """Where the statement of a build is, relative to state/."""
    return f"provenance/{image}/{build_id}.intoto.json"


def signature_path(path: str) -> str:
    """Where the signature of a statement is: where `ssh-keygen -Y sign` puts it."""
    return f"{path}.sig"


def render(made: Statement | Envelope) -> bytes:
    """Canonical bytes: sorted keys, two spaces, LF, UTF-8, a newline at the end; no nulls."""
    plain = made.model_dump(mode="json", by_alias=True, exclude_none=True)
    return f"{json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()


def read(content: bytes, path: str) -> Document:
    """Read a statement, in an envelope or bare, as it was written before there were envelopes.

    Raises:
        UserError: it is none of those that this version writes.
    """
    try:
        envelope = _envelope(content)
        payload = content if envelope is None else envelope.payload
        found = Statement.model_validate_json(payload)
    except ValueError as error:
        raise UserError("not a provenance statement that this version knows", where=Place(path)) from error
    whole = envelope is None or render(envelope) == content
    return Document(found, envelope, whole and render(found) == payload)


def is_by(envelope: Envelope, public_key: bytes | None) -> bool:
    """Whether an envelope's signature is by a key, and there is no other; the key is a line of OpenSSH's."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  a sixth of a second, where one was signed
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key  # noqa: PLC0415
    from securesystemslib import dsse  # noqa: PLC0415
    from securesystemslib.exceptions import VerificationError  # noqa: PLC0415
    from securesystemslib.signer import SSlibKey  # noqa: PLC0415

    if public_key is None or len(envelope.signatures) != 1:
        return False
    try:
        key = SSlibKey.from_crypto(load_ssh_public_key(public_key))
        dsse.Envelope.from_dict(envelope.model_dump(mode="json", by_alias=True)).verify([key], 1)
    except (ValueError, UnsupportedAlgorithm, VerificationError):
        return False
    return True


def _envelope(content: bytes) -> Envelope | None:
    try:
        return Envelope.model_validate_json(content)
    except ValidationError:
        return None


def _sealed(made: bytes, signer: Signer) -> bytes:
    from securesystemslib import dsse  # noqa: PLC0415  a sixth of a second, for runs that sign

    envelope = dsse.Envelope(made, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return render(Envelope.model_validate(envelope.to_dict()))
