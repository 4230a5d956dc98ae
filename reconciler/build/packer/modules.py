"""Packer and its plugins built from their Go modules, where no release can be downloaded.

Everything that is compiled is pinned: a module by its hash here, and all that it is made of by the hashes in the
`go.sum` that it holds. `go install module@version` refuses Packer, whose go.mod replaces a module, so a module of our
own takes that go.mod over: the versions are those that the release is built from.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.build.packer.cache import Tell, told_plainly
from reconciler.build.packer.releases import archive_has, install
from reconciler.model.constraint import Version, parse_version
from reconciler.model.errors import ReconcilerError, Transient, UserError
from reconciler.model.text import clock_time

OLDEST_GO: Version = (1, 21, 0)
"""From here on Go fetches the version of itself that a module asks for (Packer 1.16.0: 1.26.3)."""

_GO_OF_MODULES = "1.21"
_USUAL_PLACES = ("/usr/local/go/bin", "/usr/lib/go/bin", "/snap/bin")
_PATIENCE = 900.0
"""After so many seconds Go is taken to wait for a mirror that is down. Linking Packer takes a minute, or five."""

_JSON_ERROR = re.compile(r'\s*"Error": ("(?:[^"\\]|\\.)*"),?$')
_NO_ROOM = re.compile(r"\S*:? no space left on device")
_PACKAGE = re.compile(r"[^\s:{}]+")
"""A line that names a package and is no complaint. `go list` prints a thousand of them after what went wrong."""
_COMPLAINTS = 1000
_TENTHS = 10


@dataclass(frozen=True)
class Module:
    """A Go module that is a program, with the hashes that Go's own checksum database has of it."""

    path: str
    version: str
    archive_hash: str
    go_mod_hash: str

    @property
    def name(self) -> str:
        """As people call it: `Packer`, or `the plugin amazon`."""
        last = self.path.rpartition("/")[2]
        return "Packer" if last == "packer" else f"the plugin {last.removeprefix('packer-plugin-')}"

    @property
    def sums(self) -> str:
        """The lines of a `go.sum` that pin it."""
        versioned = f"{self.path} v{self.version}"
        return f"{versioned} {self.archive_hash}\n{versioned}/go.mod {self.go_mod_hash}\n"


def build(
    module: Module, into: Path, program: str, environment: Mapping[str, str], *, tell: Tell, patience: float = _PATIENCE
) -> None:
    """Build a module's program into a folder. Takes minutes, and says how far it is.

    `patience` is for how many seconds Go may say nothing.

    Raises:
        UserError: there is no Go that can build it, or no room.
        Transient: the modules can't be fetched, or are not those that are pinned.
    """
    go = _Go(_find_go(environment, tell), _go_environment(environment), tell, patience)
    with told_plainly(into):
        work = into / "module"
        work.mkdir()
        # Nothing is required yet: Go would read what every module of the graph requires, and some are on no mirror.
        (work / "go.mod").write_text(f"module build\n\ngo {_GO_OF_MODULES}\n", encoding="utf-8")
        (work / "go.sum").write_text(module.sums, encoding="utf-8")
        tell(f"building {module.name} {module.version} from its Go modules: some minutes, once")
        found = go.answer(["mod", "download", "-json", f"{module.path}@v{module.version}"], work)
        source = Path(json.loads(found)["Dir"])
        shutil.copyfile(source / "go.mod", work / "go.mod")
        (work / "go.sum").write_text((source / "go.sum").read_text(encoding="utf-8") + module.sums, encoding="utf-8")
        go.answer(["mod", "edit", "-module=build", f"-require={module.path}@v{module.version}"], work)
        packages = go.answer(["list", "-mod=readonly", "-deps", module.path], work).split()
        # As the releases are linked: a plugin whose source calls itself a development version is none then.
        linked = f"-ldflags=-s -w -X {module.path}/version.VersionPrerelease="
        options = ["-mod=readonly", "-trimpath", "-buildvcs=false", linked, "-v", "-o", str(into / program)]
        go.compile(["build", *options, module.path], work, name=f"{module.name} {module.version}", of=len(packages))
        shutil.rmtree(work)


def _find_go(environment: Mapping[str, str], tell: Tell) -> str:
    path = os.pathsep.join([environment.get("PATH", os.defpath), *_USUAL_PLACES])
    found = shutil.which("go", path=path)
    if found is None:
        # Where Go is one of the archive's, it does as well as one of one's own.
        version = archive_has("golang-go", environment)
        if version is None or version < OLDEST_GO:
            has = "none" if version is None else f"only {'.'.join(map(str, version))}"
            raise UserError(f"there is no Go, and this system's archive has {has}",
                            hint="install Go 1.21 or later: https://go.dev/dl/")  # fmt: skip
        install("golang-go", environment, tell)
        found = shutil.which("go", path=path)
    said = _said(found, environment) if found is not None else "it was installed, and is not on the PATH"
    match = re.search(r"\bgo([0-9][0-9.]*)", said)
    version = parse_version(match[1].rstrip(".")) if match else None
    if found is None or version is None or version < OLDEST_GO:
        raise UserError(f"{found or 'go'} is no Go that can build Packer: {said[:80]}",
                        hint="install Go 1.21 or later: https://go.dev/dl/")  # fmt: skip
    return found


def _said(go: str, environment: Mapping[str, str]) -> str:
    """What it answers when it is asked for its version."""
    try:
        asked = subprocess.run([go, "version"], env=dict(environment), capture_output=True, check=False)
    except OSError as error:
        return f"it cannot be run ({error.strerror})"
    return (asked.stdout + asked.stderr).decode(errors="replace").strip()


def _go_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's, so that mirrors and caches are the person's own. Programs are static, as the releases are."""
    return {"GOTOOLCHAIN": "auto", **environment, "CGO_ENABLED": "0", "GOWORK": "off"}


@dataclass(frozen=True)
class _Go:
    """Go, run to its end, or until it has said nothing for too long."""

    program: str
    environment: Mapping[str, str]
    tell: Tell
    patience: float
    clock: Callable[[], float] = time.monotonic

    def answer(self, arguments: Sequence[str], folder: Path) -> str:
        """What a command prints on stdout."""
        fetched = 0
        answered: list[str] = []
        with self._running(arguments, folder) as said:
            for line in said:
                if line.startswith("go: downloading "):
                    fetched += 1
                    if fetched % 100 == 0:
                        self.tell(f"{fetched} modules are fetched")
                elif not line.startswith("go: "):
                    answered.append(line)
        return "\n".join(answered)

    def compile(self, arguments: Sequence[str], folder: Path, *, name: str, of: int) -> None:
        """Run `go build -v`, which names each package that it compiles. Those that Go has kept it does not name."""
        begun, done, told = self.clock(), 0, 0
        with self._running(arguments, folder) as said:
            for line in said:
                done += not line.startswith(("go: ", "#"))
                if (tenths := min(done * _TENTHS // max(of, 1), _TENTHS - 1)) > told:
                    told = tenths
                    self.tell(f"{name}: {tenths * 10} % compiled, {clock_time(self.clock() - begun)}")

    @contextmanager
    def _running(self, arguments: Sequence[str], folder: Path) -> Iterator[Iterator[str]]:
        """The lines of what it prints, on stdout and stderr, while it runs. Raises for what ended badly."""
        last: deque[str] = deque(maxlen=_COMPLAINTS)
        process = subprocess.Popen(
            [self.program, *arguments], cwd=folder, env=dict(self.environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        reader.start()
        try:
            yield self._lines(lines, last)
            code = process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with the compilers that it started
            process.wait()
            reader.join()
            if process.stdout is not None:
                process.stdout.close()
        if code != 0:
            raise _failed(last, arguments[0])

    def _lines(self, lines: queue.Queue[str | None], last: deque[str]) -> Iterator[str]:
        while True:
            try:
                line = lines.get(timeout=self.patience)
            except queue.Empty:
                raise Transient(f"Go said nothing for {self.patience / 60:.0f} minutes, and was ended") from None
            if line is None:
                return
            if not _PACKAGE.fullmatch(line):
                last.append(line)
            yield line


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    for line in process.stdout or ():
        lines.put(line.rstrip("\n"))
    lines.put(None)


def _failed(said: Iterable[str], what: str) -> ReconcilerError:
    """One sentence for a command of Go that failed. `said` are its last lines, without those that name packages."""
    said = tuple(said)
    full = next(filter(None, map(_NO_ROOM.search, said)), None)
    if full is not None:
        return UserError(f"there is no room to build Packer: {full[0]}", hint="Go needs 4 GB in its caches")
    telling = [line for line in said if line.strip(" \t{}") and not line.startswith("go: downloading ")]
    wrong = next((line for line in said if "checksum mismatch" in line or "SECURITY ERROR" in line), None)
    wrong = wrong or next((json.loads(match[1]) for match in map(_JSON_ERROR.match, said) if match), None)
    line = wrong or (telling[-1] if telling else "it said nothing")
    return Transient(f"Go could not {'fetch or list' if what != 'build' else 'build'} it: {line.strip()[-300:]}")
