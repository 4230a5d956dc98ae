"""`make mutants`: how much of what decides could be changed without a quick test that notices.

A sample of changes is drawn with a fixed seed (`changes.py`). Each is made in a copy of the tree, never in the tree
itself, and judged by the tests that reach its lines, the quickest first; what they let pass, by all tests of their
files and by all that begin a Python of their own. Exits with 1 where too few changes are noticed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.model.values import digest
from tests.mutants import changes, reach
from tests.mutants.changes import Change
from tests.mutants.reach import Reach

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".reconciler" / "mutants"
"""Where it is kept which tests reach what."""
(QUICK,) = re.findall(r"(?m)^quick:.*\n(?:\t.*\n)*?\t.* -m \"(.+)\"$", (ROOT / "Makefile").read_text())
"""The marks of the tests that `make quick` runs."""
CHANGES, SEED = 250, 1
FLOOR = 0.92
EXCUSED = 0.1
"""How many of the changes may be listed as equivalent."""
_FIRST = 150
"""So many tests judge a change first; most changes are noticed by one of them."""


@dataclass(frozen=True)
class Verdict:
    """What the tests said of a change."""

    change: Change
    noticed: bool
    judges: int
    """How many tests were asked."""


class Copy:
    """A copy of the tree in which changes are made, one at a time."""

    def __init__(self, folder: Path) -> None:
        """Copy what git knows, and what it would."""
        self.folder, self.temporary = folder / "tree", folder / "t"
        self.running: subprocess.Popen[bytes] | None = None
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_symlink() or (ROOT / name).exists():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name, follow_symlinks=False)
        (self.folder / ".venv").symlink_to(ROOT / ".venv")
        # Some tests ask git what the tree holds.
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=self.folder, check=True)
        subprocess.run([sys.executable, "-m", "compileall", "-q", "reconciler", "tests"], cwd=self.folder, check=True)

    def run(self, *arguments: str, seconds: float | None = None, watch: Path | None = None) -> int | None:
        """Run Python; its exit code, or None if it took longer. `watch` is where what tests reach is written to."""
        self.temporary.mkdir()
        # The installed package is that of the tree. And no bytecode of a change may be left for the next one.
        environment = {
            **os.environ,
            reach.FOLDER: str(watch),
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        ran = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**environment, "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.running = ran
        try:
            return ran.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(ran)
            shutil.rmtree(self.temporary, ignore_errors=True)

    def test(
        self, tests: Sequence[str], *options: str, seconds: float | None = None, watch: Path | None = None
    ) -> int | None:
        """Run pytest."""
        asked = self.folder.parent / "asked"
        asked.write_text("\n".join(tests))
        command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", QUICK)
        return self.run(*command, *options, f"@{asked}", seconds=seconds, watch=watch)

    def stop(self) -> None:
        """End what runs here: it is in a session of its own, so that no Ctrl-C reaches it."""
        if self.running is not None:
            _end(self.running)

    @contextmanager
    def changed(self, change: Change) -> Iterator[None]:
        """A change, as long as this lasts."""
        path = self.folder / change.module
        text, status = path.read_bytes(), path.stat()
        path.write_text(change.code)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**10))
        try:
            yield
        finally:
            path.write_bytes(text)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


class Judge:
    """Has the tests judge changes."""

    def __init__(self, known: Reach) -> None:
        self.known = known
        self.files: dict[str, list[str]] = {}
        for test in known.seconds:
            self.files.setdefault(test.partition("::")[0], []).append(test)

    def judge(self, change: Change, copy: Copy) -> Verdict | None:
        """What the tests say; None of a change that Python itself refuses, as any test would."""
        text = (copy.folder / change.module).read_text()
        reached = changes.reaching(change, text, self.known.lines.get(change.module, {}))
        tests = sorted(reached, key=self._seconds)
        files = {test.partition("::")[0] for test in tests}
        more = {test for file in files for test in self.files[file]} | set(self.known.begin_python)
        later = sorted(more - set(tests[:_FIRST]), key=self._seconds)
        with copy.changed(change):
            module = change.module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            if copy.run("-c", f"import {module}", seconds=60) != 0:
                return None
            asked = 0
            for some in filter(None, (tests[:_FIRST], later)):
                asked += len(some)
                # Tests that hang have noticed something.
                if copy.test(some, "-x", seconds=60 + 5 * sum(map(self._seconds, some))) != 0:
                    return Verdict(change, noticed=True, judges=asked)
        return Verdict(change, noticed=False, judges=asked)

    def _seconds(self, test: str) -> float:
        return self.known.seconds.get(test, 0)


def which_tests_reach_what(copy: Copy, workers: int, tests: Sequence[str]) -> Reach:
    """Run the tests once, as they are, and watch; kept for as long as neither code nor tests change."""
    kept = KEPT / digest([_state_of(copy.folder), *tests]).removeprefix("sha256:")
    if not kept.exists():
        found = copy.folder.parent / "reach"
        found.mkdir()
        sys.stderr.write("watching which tests reach what …\n")
        spread = ("-n", str(workers), "--dist", "loadgroup", "--no-loadscope-reorder")
        ended = copy.test(tests, "-p", "tests.mutants.reach", *spread, watch=found)
        failed = reach.read(found).failed
        if ended != 0 or failed:
            raise SystemExit("\n  ".join(("the tests fail as they are (`make quick`):", *failed)))
        shutil.rmtree(KEPT, ignore_errors=True)
        KEPT.mkdir(parents=True)
        shutil.move(found, kept)
    known = reach.read(kept)
    # A test that can't be found again by its name would be taken for one that fails.
    if copy.test(list(known.seconds), "--collect-only") != 0:
        raise SystemExit("some tests have other names each time that they are collected")
    return known


def verdicts(found: Iterator[Change], judge: Judge, copies: Sequence[Copy], wanted: int) -> Iterator[Verdict]:
    """Judge as many changes as are wanted, on every copy at once, in the order in which they were drawn."""
    free: queue.Queue[Copy] = queue.Queue()
    for copy in copies:
        free.put(copy)

    def judged(change: Change) -> Verdict | None:
        copy = free.get()
        try:
            return judge.judge(change, copy)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        try:
            while wanted > 0 and (some := list(itertools.islice(found, wanted))):
                for verdict in filter(None, pool.map(judged, some)):
                    wanted -= 1
                    yield verdict
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for copy in copies:
                copy.stop()
            raise


def main(arguments: list[str]) -> int:
    """Draw, judge, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--changes", type=int, default=CHANGES, help="how many")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", default="", help="changes in modules whose path holds this")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="judges; those of them that are quick")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    done: list[Verdict] = []
    # Who is asked to end takes the tests along, and the copies.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="m-") as name:
        copies = [Copy(Path(name) / str(number)) for number in range(options.workers)]
        judge = Judge(which_tests_reach_what(copies[0], options.workers, options.tests))
        found = (one for one in changes.drawn(copies[0].folder, options.seed) if options.only in one.module)
        for one in verdicts(found, judge, copies, options.changes):
            done.append(one)
            said = "noticed" if one.noticed else "NOT NOTICED"
            sys.stderr.write(f"{len(done)}/{options.changes}  {said} by {one.judges}: {one.change.told}\n")
    return _tell(done)


def _tell(done: Sequence[Verdict]) -> int:
    excuses = changes.equivalents()
    wrongly = [one.change for one in done if one.noticed and one.change.identity in excuses]
    excused = [one.change for one in done if not one.noticed and one.change.identity in excuses]
    passed = [one.change for one in done if not one.noticed and one.change.identity not in excuses]
    for title, some in (
        ("Not noticed:", passed),
        ("Not noticed, and listed as equivalent:", excused),
        ("Listed as equivalent, but a test notices them; strike them from the list:", wrongly),
    ):
        if some:
            print("\n".join((title, *(f"  {one.told}" for one in some))), end="\n\n")
    counted = len(done) - len(excused)
    share = (counted - len(passed)) / counted if counted else 0.0
    print(f"{counted - len(passed)} of {counted} changes noticed: {share:.1%} (at least {FLOOR:.0%})")
    print(f"{len(excused)} more are equivalent (at most {EXCUSED:.0%} of all)")
    return 0 if share >= FLOOR and len(excused) <= EXCUSED * len(done) and not wrongly else 1


def _state_of(folder: Path) -> str:
    """A name for all code and all tests as they are: git's own, of the tree that `git add` wrote."""
    return subprocess.run(["git", "write-tree"], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, and what it left behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
