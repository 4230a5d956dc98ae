"""Signatures: made and checked as git does it, over commits and tags by git itself, over other bytes by ssh-keygen.

Whose signature counts is decided here, by what is configured for the clone (`_counting`), and never by what is signed.
The calls of ssh-keygen are those of git's gpg-interface.c (`sign_buffer_ssh`, `verify_ssh_signed_buffer`, 2.35 and
later), so nobody is trusted here whom git does not trust.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.git.command import Git
from reconciler.git.store import LONGEST_SIGNED, Object, read, size_of
from reconciler.model.errors import UserError
from reconciler.model.text import joined
from reconciler.model.values import format_instant
from reconciler.model.verification import Signature

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

_ANSWER_SECONDS = 120
"""A key in an agent may ask its owner for a touch."""
_GOOD = re.compile(r'^Good "[^"]*" signature for (?P<by>.+) with \S+ key (?P<key>\S+)', re.MULTILINE)
_VALID = re.compile(r'^Good "[^"]*" signature with \S+ key (?P<key>\S+)', re.MULTILINE)
_GPG_STATUS = re.compile(r"^\[GNUPG:\] (?P<word>(?:GOOD|BAD|ERR|EXP|EXPKEY|REVKEY)SIG) (?P<rest>.*)$", re.MULTILINE)
_GPG_TRUST = re.compile(r"^\[GNUPG:\] TRUST_(?P<level>[A-Z]+)", re.MULTILINE)
_TRUSTED = ("MARGINAL", "FULLY", "ULTIMATE")
"""How far GnuPG has to trust a key that counts (its doc/DETAILS, "TRUST_"). To git any key in the keyring is as good,
unless `gpg.minTrustLevel` asks for more, and `auto-key-retrieve` puts there whatever a signature names."""
_GPG_WHY = {
    "GOODSIG": "nothing says that its key is trusted here (`gpg --edit-key`, trust)", "EXPSIG": "it has expired",
    "EXPKEYSIG": "its key has expired", "REVKEYSIG": "its key was revoked", "ERRSIG": "its key is not known here",
}  # fmt: skip
_BEGINS = {
    "-----BEGIN SSH SIGNATURE-----": "ssh", "-----BEGIN PGP SIGNATURE-----": "openpgp",
    "-----BEGIN PGP MESSAGE-----": "openpgp", "-----BEGIN SIGNED MESSAGE-----": "x509",
}  # fmt: skip
_WORDS = {"ssh": "SSH", "openpgp": "OpenPGP", "x509": "X.509"}


def sign(git: Git, payload: bytes, *, namespace: str) -> bytes | None:
    """Sign bytes with the key that git signs with; None where git signs with something else than SSH.

    Raises:
        UserError: there is no key, ssh-keygen is not there, or it could not use the key.
    """
    if _setting(git, "gpg.format") != "ssh":
        return None
    with tempfile.TemporaryDirectory(prefix="reconciler-sign-") as folder:
        key, literal = _key(git)
        if literal:
            Path(folder, "key.pub").write_text(f"{key}\n", encoding="utf-8")
            key = str(Path(folder, "key.pub"))
        file = Path(folder, "payload")
        file.write_bytes(payload)
        # -U: of a literal key only the public half is known here; an agent has the other.
        signed = _ssh_keygen(
            git, "-Y", "sign", "-n", namespace, "-f", key, *(["-U"] if literal else []), str(file)
        )  # fmt: skip
        made = Path(folder, "payload.sig")
        if signed.returncode != 0 or not made.exists():
            raise UserError(
                f"the provenance could not be signed ({_last_line(signed.stderr) or 'ssh-keygen failed'})",
                hint=(
                    "check `git config user.signingkey`; a key with a passphrase has to be in an agent (`ssh-add -L`)",
                    "or set `git.sign: false` in desired/reconciler.yaml",
                ),
            )
        return made.read_bytes()


def signer(git: Git) -> Signer | None:
    """What signs with that key itself, without OpenSSH's frame around it, as verifiers of other formats expect it.

    None where git signs with something else than SSH, and where the private half is not in a file that can be read
    here: it is in an agent or on a security key, or behind a passphrase, or the file has another key than the public
    half beside it, which is the one that OpenSSH asks an agent for.

    Raises:
        UserError: there is no key.
    """
    if _setting(git, "gpg.format") != "ssh":
        return None
    key, literal = _key(git)
    file = git.directory / key.removesuffix(".pub")
    if literal or not file.is_file():
        return None
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  a sixth of a second, for runs that sign
    from cryptography.hazmat.primitives import serialization as keys  # noqa: PLC0415
    from securesystemslib.signer import CryptoSigner  # noqa: PLC0415

    try:
        content = file.read_bytes()
        load = keys.load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in content else keys.load_pem_private_key
        made = CryptoSigner(private := load(content, None))
        own = private.public_key().public_bytes(keys.Encoding.OpenSSH, keys.PublicFormat.OpenSSH)
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm):
        return None  # `sign` says what is wrong with a key that signs nothing at all
    return made if own.decode() == _public_key(git) else None


def key_of(signature: bytes) -> bytes | None:
    """The public key that a signature of `ssh-keygen -Y sign` names, as a line of OpenSSH's; None where it is none.

    Whether it made the signature is for `verify` to say. The form is that of OpenSSH's PROTOCOL.sshsig: a magic word,
    a version, and the key, each part of the key after its length.
    """
    lines = signature.split(b"\n")
    try:
        blob = base64.b64decode(b"".join(line for line in lines if not line.startswith(b"-----")), validate=True)
        begin, end = len(b"SSHSIG") + 8, len(b"SSHSIG") + 8 + int.from_bytes(blob[10:14])
        key = blob[begin:end]
        kind = key[4 : 4 + int.from_bytes(key[:4])].decode("ascii")
    except ValueError:
        return None
    return f"{kind} {base64.b64encode(key).decode()}".encode() if blob.startswith(b"SSHSIG") else None


def verify(
    git: Git, payload: bytes, signature: bytes, *, namespace: str, signers: Path | None, at: datetime | None = None
) -> Signature:
    """Whether a signature of bytes is good, and whose it is.

    Args:
        git: Whose configuration counts: `gpg.ssh.allowedSignersFile` and `gpg.ssh.revocationFile`.
        payload: What was signed.
        signature: As `ssh-keygen -Y sign` wrote it.
        namespace: What it must have been made for.
        signers: The allowed signers file; None takes git's.
        at: When it was made, for keys that are valid for some time only; None is now.
    """
    known = signers or _signers(git)
    moment = [f"-Overify-time={at:%Y%m%d%H%M%SZ}"] if at is not None else []
    with tempfile.TemporaryDirectory(prefix="reconciler-verify-") as folder:
        file = str(Path(folder, "payload.sig"))
        Path(file).write_bytes(signature)
        options = ["-n", namespace, "-s", file]
        sound = _ssh_keygen(git, "-Y", "check-novalidate", *options, stdin=payload)
        if sound.returncode != 0:
            return Signature("bad", form="ssh", why=_last_line(sound.stdout + sound.stderr) or "it does not fit")
        match = _VALID.search(sound.stdout.decode(errors="replace"))
        key = match["key"] if match else ""
        if known is None:
            return Signature("unchecked", form="ssh", key=key, why=_NO_SIGNERS)
        trusting = _ssh_keygen(git, "-Y", "find-principals", "-f", str(known), "-s", file, *moment)
        if trusting.returncode != 0:
            return Signature("untrusted", form="ssh", key=key, why=f"{known.name} does not name its key")
        revoked = _path_setting(git, "gpg.ssh.revocationFile")
        revocation = ["-r", str(revoked)] if revoked is not None else []
        for principal in trusting.stdout.decode(errors="replace").splitlines():
            found = _ssh_keygen(
                git, "-Y", "verify", "-f", str(known), "-I", principal, *options, *moment, *revocation, stdin=payload
            )  # fmt: skip
            if found.returncode == 0:
                return Signature("good", form="ssh", by=principal, key=key)
        said = _last_line(found.stdout + found.stderr) if trusting.stdout.strip() else ""
        return Signature("untrusted", form="ssh", key=key, why=said or _NOBODY)


def signature_of(git: Git, oid: str, *, signers: Path | None = None, since: Iterable[datetime] = ()) -> Signature:
    """The signature of a commit or an annotated tag, as git judges it. Raises Terminal where there is no such object.

    Args:
        git: The clone.
        oid: What is signed.
        signers: The allowed signers file; None takes git's.
        since: When what it tells of was there: a build began, a commit was made. Git judges an SSH key by the date that
            the signed thing gives itself, and whoever has a key that expired dates it back. So the key has to be good
            at the latest of these, too. GnuPG takes no expired key, whatever the date is.
    """
    if size_of(git, oid) > LONGEST_SIGNED:
        return Signature("bad", why=f"it has more than {LONGEST_SIGNED:,} bytes, and is not read")
    found = read(git, [oid])[oid]
    form = _form(found)
    if form == "":
        return Signature("absent")
    if form == "ssh" and signers is None and _signers(git) is None:
        return Signature("unchecked", form=form, why=_NO_SIGNERS)
    counting = _counting(git, signers)
    if form not in counting:
        why = f"a signature by {_WORDS[form]} says nothing where {joined([_WORDS[one] for one in counting])} counts"
        return Signature("untrusted", form=form, why=why)
    options = [] if signers is None else ["-c", f"gpg.ssh.allowedSignersFile={signers}"]
    checked = git.attempt(*options, "verify-commit" if found.kind == "commit" else "verify-tag", "--raw", found.oid)
    if form != "ssh":
        return _judged_gpg(checked.status, checked.said, form)
    judged = _judged_ssh(checked.status, checked.said)
    return _at_the_latest(git, found, judged, signers or _signers(git), since) if judged.state == "good" else judged


def _at_the_latest(
    git: Git, signed: Object, judged: Signature, signers: Path | None, since: Iterable[datetime]
) -> Signature:  # fmt: skip
    """A good signature of SSH, as it is judged at the latest of the times that are not after now.

    What is later tells nothing: whoever makes a commit dates it as he likes.
    """
    latest = min(max(since, default=_LONG_AGO), datetime.now(UTC))
    if _dated(signed) >= latest:
        return judged
    with tempfile.TemporaryDirectory(prefix="reconciler-verify-") as folder:
        file = Path(folder, "payload.sig")
        file.write_bytes(_signature(signed))
        options = ["-f", str(signers), "-s", str(file), f"-Overify-time={latest:%Y%m%d%H%M%SZ}"]
        named = _ssh_keygen(git, "-Y", "find-principals", *options)
    if named.returncode == 0 and judged.by in named.stdout.decode(errors="replace").splitlines():
        return judged
    why = f"it says that it is older than what it tells of, and its key was not good at {format_instant(latest)}"
    return Signature("untrusted", form="ssh", key=judged.key, why=why)


def _counting(git: Git, signers: Path | None) -> tuple[str, ...]:
    """The forms in which a signature says here whose it is.

    An allowed signers file names SSH keys: beside one that is given, nothing else counts. Else it is the form that git
    signs with (`gpg.format`), beside SSH where git itself has such a file; OpenPGP, which is git's default, counts
    where neither is set.
    """
    own = _setting(git, "gpg.format")
    if signers is not None or own == "ssh":
        return ("ssh",)
    named = ("ssh",) if _signers(git) is not None else ()
    return (*named, *([own] if own in _WORDS else [])) or ("openpgp",)


def signed_by_us(git: Git, oid: str, *, since: Iterable[datetime] = ()) -> bool:
    """Whether a commit or an annotated tag is under a good signature: of a key that git trusts here.

    Where no file says whose keys those are, our own is. `since` and what is raised are as in `signature_of`.
    """
    found = signature_of(git, oid, since=since)
    if found.state != "unchecked" or found.form != "ssh" or _signers(git) is not None:
        return found.state == "good"
    with tempfile.TemporaryDirectory(prefix="reconciler-signers-") as folder:
        own = _public_key(git)
        if own is None:
            return False
        signers = Path(folder, "allowed_signers")
        signers.write_text(f"reconciler {own}\n", encoding="utf-8")
        return signature_of(git, oid, signers=signers).state == "good"


def _public_key(git: Git) -> str | None:
    """The public half of the key that git signs with, or None where there is none."""
    try:
        key, literal = _key(git)
    except UserError:
        return None
    if literal:
        return key
    beside = [Path(git.directory, key), Path(git.directory, f"{key}.pub")]
    lines = [path.read_text(encoding="utf-8", errors="replace") for path in beside if path.is_file()]
    found = next((line for line in lines if line.startswith(("ssh-", "ecdsa-", "sk-"))), "")
    if not found:
        made = _ssh_keygen(git, "-y", "-P", "", "-f", key)
        found = made.stdout.decode(errors="replace") if made.returncode == 0 else ""
    return " ".join(found.split()[:2]) or None


_NO_SIGNERS = "no file says whose keys are trusted"
_NOBODY = "nobody is named for its key"
_SHA1_DIGITS = 40
_DATE = re.compile(rb"^(?:committer|tagger) .*> (?P<seconds>\d{1,15}) [+-]\d+$", re.MULTILINE)
_LONG_AGO, _LATEST = datetime.fromtimestamp(0, UTC), 253402300799
"""The first and the last second that there is for git and for a calendar."""


def _judged_ssh(status: int, said: str) -> Signature:
    good, valid = _GOOD.search(said), _VALID.search(said)
    if status == 0 and good is not None:
        return Signature("good", form="ssh", by=good["by"], key=good["key"])
    if good is not None or valid is not None:
        return Signature("untrusted", form="ssh", key=valid["key"] if valid else "", why=_NOBODY)
    return Signature("bad", form="ssh", why=_last_line(said.encode()) or "it does not fit")


def _judged_gpg(status: int, said: str, form: str) -> Signature:
    match, levels = _GPG_STATUS.search(said), _GPG_TRUST.findall(said)
    if match is None:
        return Signature("unchecked", form=form, why=_last_line(said.encode()) or "gpg could not check it")
    key, _, name = match["rest"].partition(" ")
    if match["word"] == "BADSIG":
        return Signature("bad", form=form, by=name, key=key, why="it does not fit")
    is_trusted = bool(levels) and all(level in _TRUSTED for level in levels)
    if status == 0 and match["word"] == "GOODSIG" and is_trusted:
        return Signature("good", form=form, by=name or key, key=key)
    return Signature("untrusted", form=form, key=key, why=_GPG_WHY[match["word"]])


def _form(signed: Object) -> str:
    """The form of the signature that git would check; empty where there is none.

    A commit's begins in its header, in the first line of that name, and a tag's with the last line of its message that
    begins one (git's commit.c `parse_buffer_signed_by_header` and gpg-interface.c `parse_signed_buffer`). Any other
    line that looks like one may be there to have it judged as what it is not.
    """
    return _begun(_signature(signed).partition(b"\n")[0].decode(errors="replace"))


def _signature(signed: Object) -> bytes:
    """The signature that git would check; empty where there is none."""
    header, _, message = signed.content.partition(b"\n\n")
    if signed.kind != "commit":
        lines = message.split(b"\n")
        places = [place for place, line in enumerate(lines) if _begun(line.decode(errors="replace"))]
        return b"\n".join(lines[places[-1] :]) if places else b""
    name = b"gpgsig " if len(signed.oid) == _SHA1_DIGITS else b"gpgsig-sha256 "
    lines = header.split(b"\n")
    begin = next((place for place, line in enumerate(lines) if line.startswith(name)), len(lines))
    more = itertools.takewhile(lambda line: line.startswith(b" "), lines[begin + 1 :])
    return b"\n".join([line.removeprefix(name) for line in lines[begin : begin + 1]] + [line[1:] for line in more])


def _dated(signed: Object) -> datetime:
    """When a commit or a tag says that it was made: what git judges its key by. Long ago where it does not say."""
    header = signed.content.partition(b"\n\n")[0]
    match = _DATE.search(header)
    return datetime.fromtimestamp(min(int(match["seconds"]), _LATEST), UTC) if match else _LONG_AGO


def _begun(line: str) -> str:
    """The form of the signature that a line begins; empty where it begins none."""
    return next((form for begin, form in _BEGINS.items() if line.startswith(begin)), "")


def _key(git: Git) -> tuple[str, bool]:
    """The signing key: a file, or a public key itself (True)."""
    named = _setting(git, "user.signingkey", "--type=path")
    if not named:
        command = _setting(git, "gpg.ssh.defaultKeyCommand")
        named = _first_key(git, command) if command else ""
    if not named:
        raise UserError(
            "the provenance could not be signed: git has no signing key",
            hint="`git config user.signingkey <file>`, or set `git.sign: false` in desired/reconciler.yaml",
        )
    if named.startswith("key::"):
        return named.removeprefix("key::"), True
    return named, named.startswith("ssh-")


def _first_key(git: Git, command: str) -> str:
    """What `gpg.ssh.defaultKeyCommand` prints first. git runs it by a shell, and so do we: it is configuration."""
    ended = subprocess.run(
        ["sh", "-c", command], cwd=git.directory, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    lines = ended.stdout.decode(errors="replace").splitlines() if ended.returncode == 0 else []
    return next((line for line in lines if line.startswith(("key::", "ssh-"))), "")


def _signers(git: Git) -> Path | None:
    found = _path_setting(git, "gpg.ssh.allowedSignersFile")
    return found if found is not None and found.exists() else None


def _path_setting(git: Git, name: str) -> Path | None:
    value = _setting(git, name, "--type=path")
    return git.directory / value if value else None


def _setting(git: Git, name: str, *options: str) -> str:
    return git.once("config", *options, "--get", name).text


def _ssh_keygen(git: Git, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = _setting(git, "gpg.ssh.program", "--type=path") or "ssh-keygen"
    try:
        return subprocess.run(
            [program, *arguments],
            cwd=git.directory,
            input=stdin,
            capture_output=True,
            timeout=_ANSWER_SECONDS,
            # Without a terminal a passphrase can't be asked for, and ssh-keygen fails instead of waiting.
            start_new_session=True,
            env={**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{program} did not answer within {_ANSWER_SECONDS} s", hint="is the agent waiting?") from error
    except OSError as error:
        raise UserError(
            f"{program} cannot be run: {error.strerror}", hint="install OpenSSH 8.9 or later, or set gpg.ssh.program"
        ) from error


def _last_line(said: bytes) -> str:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
