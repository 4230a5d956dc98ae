"""The archive that the sandbox's Debian is made from: a person's mirror, else this machine's own, else Debian's.

This machine's own, as a company's machines may reach that one only. Which of the places that its apt knows is Debian's
archive, apt says: by the Release file that it downloaded and verified. Where it has downloaded none, as in most
containers, a Debian that was made of such places before tells, and else the places themselves are asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from reconciler.model.errors import UserError
from reconciler.sandbox import kernel

SUITE = "bookworm"
MIRROR = "RECONCILER_SANDBOX_MIRROR"
"""The variable that names another Debian archive, for a machine that reaches no public one."""
OLD_KEYRING = Path("/etc/apt/trusted.gpg")

_SUITES = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
_LABELS = {"Debian", "Debian-Security"}
_BETWEEN = "\x1f"  # in no address; blanks are in those of a DVD
_ASKED = ("ORIGIN", "LABEL", "RELEASE", "COMPONENT", "REPO_URI")
_REACHED = re.compile(r"https?://[^\s\"'\[\]]+")
# apt-transport-mirror(1): a file here or elsewhere that lists addresses, one a line, what else is said after a tab.
_MIRRORS = re.compile(r"mirror\+(?:file|copy):(?://(?=/))?(/.+)")
_LISTED = re.compile(r"\s*(https?://\S+)")
_INDEX = re.compile(r"'([^']+)' (\S+) ")
_FIELD = re.compile(r"(Origin|Label): (.*)")
_SECONDS = 60
# Of this machine's apt, the Release files of a few places, and no hook that others put there.
_ONLY_RELEASES = """\
#clear Acquire::IndexTargets;
#clear APT::Update;
Acquire::AllowInsecureRepositories "false";
Acquire::Retries "0";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
"""


class _Place(NamedTuple):
    """A suite that apt knows a place for: `address` with a slash at the end, None where it is none of the web's."""

    address: str | None
    suite: str
    debians: bool

    @property
    def line(self) -> str:
        return f"deb {self.address} {self.suite} main"


def found(folder: Path, *, named: Callable[[Sequence[str]], str]) -> list[str]:
    """The lines of sources.list; none for mmdebstrap's default, which is Debian's own archive.

    `folder` holds what was made before, under the names that `named` gives to such lines.

    Raises:
        UserError: the person's mirror is no address, or this machine's apt can't tell what it knows.
    """
    if told := os.environ.get(MIRROR):
        if not re.fullmatch(r"(?:https?|file|copy)://[^\s\"']+", told):
            raise UserError(f"{MIRROR} is {told!r}", hint="set it to an address, such as http://deb.debian.org/debian")
        return [f"deb {told} {SUITE} main"]
    if shutil.which("apt-get") is None:
        return []
    downloaded = _places(folder)  # None where apt has no room to look into what it downloaded
    debians = [place for place in downloaded or () if place.debians]
    if any(place.suite == SUITE for place in debians):
        return [] if any(place.address is None for place in debians) else _lines(debians)
    others = {place[:2] for place in downloaded or ()}
    known = _places(folder, "--no-release-info")
    if known is None:
        raise _silent(folder)
    candidates = [place for place in known if place.address and place[:2] not in others]
    if not any(place.suite == SUITE for place in candidates):
        return []
    if made := _of_one_made(folder, candidates, named=named):
        return made
    return [] if (folder / named([])).exists() else _asked(candidates)


def _lines(places: Sequence[_Place]) -> list[str]:
    return list(dict.fromkeys(place.line for place in places))


def _places(folder: Path, *options: str) -> list[_Place] | None:
    """The places of the suites' main part, as apt knows them from what it downloaded, or without its Release files.

    Apt writes to `folder` meanwhile, or else where temporary files are. None where both are full, or apt has other
    troubles.
    """
    asked = _BETWEEN.join(f"$({name})" for name in _ASKED)
    for scratch in (folder, None):
        told = _apt("indextargets", *options, "--format", asked, "Created-By: Packages", scratch=scratch)
        if told.returncode == 0:
            return list(_read(told.stdout))
    return None


def _read(told: str) -> Iterator[_Place]:
    for line in told.splitlines():
        origin, label, suite, component, address = line.split(_BETWEEN, len(_ASKED) - 1)
        if suite not in _SUITES or component != "main":
            continue
        reached = _on_the_web(address)
        if reached or address.startswith("mirror"):  # not a disk, and not a folder
            yield _Place(reached, suite, debians=origin == "Debian" and label in _LABELS)


def _on_the_web(address: str) -> str | None:
    """An address as an image can use it, too; None for a disk, a folder, and a list of mirrors that can't be read."""
    if listed := _MIRRORS.fullmatch(address.rstrip("/")):
        address = _first_listed(Path(listed[1]))
    address = address.replace(" ", "%20")  # apt tells it decoded
    return f"{address.rstrip('/')}/" if _REACHED.fullmatch(address) else None


def _first_listed(path: Path) -> str:
    with suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((listed[1] for line in lines if (listed := _LISTED.match(line))), "")
    return ""


def _of_one_made(folder: Path, places: Sequence[_Place], *, named: Callable[[Sequence[str]], str]) -> list[str]:
    """The archive of a Debian that was made of some of these places, as its own sources.list has it."""
    known = {place.line for place in places}
    for root in sorted(folder.iterdir()):
        with suppress(OSError, UnicodeDecodeError):
            text = (root / "etc/apt/sources.list").read_text(encoding="utf-8")
            lines = [line for line in text.splitlines() if line]
            if lines and known.issuperset(lines) and named(lines) == root.name:
                return lines
    return []


def _asked(places: Sequence[_Place]) -> list[str]:
    """Those places that are Debian's archive by the Release file that they have: one that is signed with known keys."""
    try:
        with tempfile.TemporaryDirectory(prefix="reconciler-archive-") as kept:
            return _lines(list(_verified(Path(kept), places)))
    except OSError as error:
        raise UserError(
            f"{error.filename or tempfile.gettempdir()} can't be written: {error.strerror or error}",
            hint=("make room there, or name another folder: TMPDIR", f"or name the archive: {MIRROR}=http://…"),
        ) from error


def _verified(kept: Path, places: Sequence[_Place]) -> Iterator[_Place]:
    kept.chmod(0o755)  # for apt's own user, who downloads
    (kept / "lists/partial").mkdir(parents=True)
    (kept / "sources.list").write_text("".join(f"{line}\n" for line in _lines(places)), encoding="utf-8")
    (kept / "apt.conf").write_text(_ONLY_RELEASES, encoding="utf-8")
    options = [
        *("-c", str(kept / "apt.conf")),
        *("-o", f"Dir::Etc::sourcelist={kept / 'sources.list'}", "-o", "Dir::Etc::sourceparts=-"),
        *("-o", f"Dir::State::lists={kept / 'lists'}", "-o", f"Dir::Cache={kept}"),
        *([] if OLD_KEYRING.exists() else ("-o", f"Dir::Etc::trusted={kernel.keyring()}")),
    ]
    files = dict(_INDEX.findall(_apt("update", "--print-uris", *options).stdout))  # later it leaves out what is there
    _apt("update", *options)
    for place in places:
        file = kept / "lists" / files.get(f"{place.address}dists/{place.suite}/InRelease", "none")
        if file.is_file():
            fields = dict(filter(None, (_field(line) for line in file.read_text(encoding="utf-8").splitlines())))
            if fields.get("Origin") == "Debian" and fields.get("Label") in _LABELS:
                yield place


def _field(line: str) -> tuple[str, str] | None:
    found = _FIELD.fullmatch(line)
    return (found[1], found[2]) if found else None


def _apt(*arguments: str, scratch: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = ["apt-get", *arguments]
    changed = {"LC_ALL": "C.UTF-8"} | ({"TMPDIR": str(scratch)} if scratch else {})
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_SECONDS,
            env={**os.environ, **changed}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", "")


def _silent(folder: Path) -> UserError:
    told = _apt("indextargets", "--no-release-info", "Created-By: Packages", scratch=folder).stderr
    why = next((line for line in told.splitlines() if line.startswith("E: ")), "it does not answer")
    return UserError(
        f"this machine's apt can't tell which archive it uses: {why[:300]}",
        hint=(
            f"make room in {folder}" if "No space left" in why else "mend that: `apt-get update` says more",
            f"or name an archive: {MIRROR}=http://deb.debian.org/debian",
        ),
    )
