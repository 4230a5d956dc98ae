"""`python -m tests.mutants.given_back [CASE…]`: each attack that once worked works again without what holds it.

`given_back.toml` lists the attacks: for each the tests that carry it out, and the smallest changes to the code of today
that give the flaw back. The tests have to pass as the code is. Then each change is made in a copy of the tree, never in
the tree itself, and each of its tests has to fail alone: by what it asserts, or as it does not end, not by a change
that only breaks the code. Exits with 1 where one does not.

As root, and with what the tests of a case need (`--list` says what that is); `--without NEED` leaves such cases out.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.mutants.__main__ import Copy
from tests.mutants.changes import Change

GIVEN_BACK = Path(__file__).with_name("given_back.toml")
NEEDS = frozenset({"containers", "disks", "npm", "packer", "root", "sandbox", "terraform", "vsphere"})
"""What a test may need of the machine, beside what the quick tests do."""
_BROKEN = ("AttributeError", "ImportError", "IndentationError", "ModuleNotFoundError", "NameError", "SyntaxError")
"""What a test fails by where a change gives no flaw back, but breaks the code."""


@dataclass(frozen=True)
class Edit:
    """A place in a file, and what it is changed to."""

    file: str
    before: str
    """Occurs once in the file."""
    after: str


@dataclass(frozen=True)
class Flaw:
    """A flaw that is given back: by all of its edits together."""

    tests: tuple[str, ...]
    """pytest's names. Each fails alone; of one with parameters at least one of them."""
    edits: tuple[Edit, ...]
    why: str = ""
    """What the edits take away, where the case has several."""
    needs: frozenset[str] = frozenset()
    seconds: float = 600
    """How long a test may take."""
    endless: bool = False
    """Whether its tests fail by that they don't end in this time."""
    megabytes: int | None = None
    """What a test may take of memory, where the flaw would take all."""


@dataclass(frozen=True)
class Case:
    """An attack, or a mistake that no test noticed, and the flaws that let it through."""

    name: str
    attack: str
    flaws: tuple[Flaw, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a test, or of all that has its name: how many passed and failed, and by what."""

    passed: int = 0
    failed: tuple[str, ...] = ()
    skipped: int = 0
    ended: bool = True

    @property
    def held(self) -> bool:
        """Whether the attack was carried out, and went nowhere."""
        return self.ended and self.passed > 0 and not self.failed

    @property
    def noticed(self) -> bool:
        """Whether the attack worked, and the test says so."""
        return any(not one.startswith(_BROKEN) for one in self.failed)

    def __str__(self) -> str:
        if not self.ended:
            return "it did not end"
        if self.failed:
            return self.failed[0]
        return "it passed" if self.passed else "it was skipped" if self.skipped else "it was not run"


@dataclass(frozen=True)
class Verdict:
    """Whether a test did what it should, as the code is or with a flaw."""

    case: Case
    test: str
    flaw: str
    """Which was given back; empty as the code is."""
    outcome: Outcome
    as_wanted: bool

    def __str__(self) -> str:
        how = f"with the flaw ({self.flaw})" if self.flaw else "as the code is"
        return f"{self.case.name} {self.test} {how}: {'' if self.as_wanted else 'WRONG: '}{self.outcome}"


def cases(listed: Path = GIVEN_BACK) -> tuple[Case, ...]:
    """What is listed, in order."""
    found = tomllib.loads(listed.read_text(encoding="utf-8"))["case"]
    return tuple(Case(one["name"], one["attack"], tuple(map(_flaw, one["flaw"]))) for one in found)


def _flaw(table: Mapping[str, object]) -> Flaw:
    """A table of the list. Raises TypeError where it holds a key that is not known."""
    edits, tests, needs = table["edits"], table["tests"], table.get("needs", [])
    assert isinstance(edits, list)
    assert isinstance(tests, list)
    assert isinstance(needs, list)
    rest = {key: value for key, value in table.items() if key not in ("edits", "tests", "needs")}
    made = tuple(Edit(**one) for one in edits)
    return Flaw(tests=tuple(tests), edits=made, needs=frozenset(needs), **rest)  # type: ignore[arg-type] # TOML has it


_LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv.pop(1)) << 20,) * 2)
sys.path.insert(0, "")
runpy.run_module("pytest", run_name="__main__", alter_sys=True)
"""


def outcomes(
    copy: Copy, tests: Sequence[str], *, seconds: float, megabytes: int | None = None
) -> Mapping[str, Outcome]:  # fmt: skip
    """Run these tests, and all that have their names, in the copy as it is now.

    `seconds` is for each of them: one that hangs keeps no other from its turn.
    """
    report = copy.folder.parent / "report.xml"
    report.unlink(missing_ok=True)
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", f"--junitxml={report}")
    python = ("-m", "pytest") if megabytes is None else ("-c", _LIMITED, str(megabytes))
    code = copy.run(*python, *options, *(f"tests/{test}" for test in tests), seconds=seconds * len(tests))
    if code is None and len(tests) == 1:
        return {tests[0]: Outcome(ended=False)}
    if code is None:
        return {test: outcomes(copy, [test], seconds=seconds, megabytes=megabytes)[test] for test in tests}
    text = report.read_text(encoding="utf-8") if report.exists() else "<testsuites/>"
    return {test: read(text, test) for test in tests}


def read(report: str, test: str) -> Outcome:
    """What a JUnit report of pytest says of a test. What could not be begun, as its fixture failed, has not failed."""
    file, *within = f"tests/{test}".split("::")
    place = ".".join([file.removesuffix(".py").replace("/", "."), *within[:-1]])
    passed = skipped = 0
    failed: list[str] = []
    for one in ET.fromstring(report).iter("testcase"):  # noqa: S314 - pytest wrote it here
        name = one.get("name", "")
        if one.get("classname") != place or not (name == within[-1] or name.startswith(f"{within[-1]}[")):
            continue
        failure = one.find("failure")
        if failure is not None:
            failed.append(" ".join(failure.get("message", "").split())[:160])
        elif one.find("skipped") is not None:
            skipped += 1
        elif one.find("error") is None:
            passed += 1
    return Outcome(passed, tuple(failed), skipped)


def judged(case: Case, copy: Copy, *, without: Collection[str]) -> Iterator[Verdict]:
    """Of each test of a case, whether it holds as the code is, and whether it fails with each flaw given back."""
    flaws = [flaw for flaw in case.flaws if not flaw.needs & set(without)]
    for limits in dict.fromkeys((flaw.seconds, flaw.megabytes) for flaw in flaws):
        alike = [flaw for flaw in flaws if (flaw.seconds, flaw.megabytes) == limits]
        tests = tuple(dict.fromkeys(test for flaw in alike for test in flaw.tests))
        for test, found in outcomes(copy, tests, seconds=limits[0], megabytes=limits[1]).items():
            yield Verdict(case, test, "", found, as_wanted=found.held)
    for flaw in flaws:
        with ExitStack() as stack:
            for path in dict.fromkeys(edit.file for edit in flaw.edits):
                code = given_back(copy.folder, path, flaw.edits)
                stack.enter_context(copy.changed(Change(path, 0, "given back", "", "", code)))
            for test, found in outcomes(
                copy, flaw.tests, seconds=flaw.seconds, megabytes=flaw.megabytes
            ).items():  # fmt: skip
                yield Verdict(
                    case,
                    test,
                    flaw.why or "given back",
                    found,
                    as_wanted=found.noticed or (flaw.endless and not found.ended),
                )


def given_back(folder: Path, path: str, edits: Sequence[Edit]) -> str:
    """A file with its edits made. Raises ValueError where the text before is not in it, or more than once."""
    text = (folder / path).read_text(encoding="utf-8")
    for edit in edits:
        if edit.file != path:
            continue
        if text.count(edit.before) != 1:
            raise ValueError(f"{path} holds {text.count(edit.before)} times: {edit.before!r}")
        text = text.replace(edit.before, edit.after)
    return text


def main(arguments: list[str]) -> int:
    """Give each flaw back, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.given_back", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="their names; all if absent")
    parser.add_argument("--list", action="store_true", help="say what is listed, and what it needs")
    parser.add_argument("--without", action="append", default=[], choices=sorted(NEEDS), metavar="NEED")
    options = parser.parse_args(arguments)
    listed = cases()
    unknown = set(options.cases) - {case.name for case in listed}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    chosen = [case for case in listed if not options.cases or case.name in options.cases]
    if options.list:
        for case in chosen:
            needs = sorted({need for flaw in case.flaws for need in flaw.needs})
            print(f"{case.name}  {case.attack}{f' (needs {chr(44).join(needs)})' if needs else ''}")
        return 0
    # Who is asked to end takes the test along, and the copy.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    done: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="g-") as folder:
        copy = Copy(Path(folder))
        for case in chosen:
            sys.stderr.write(f"{case.name}: {case.attack}\n")
            for one in judged(case, copy, without=options.without):
                done.append(one)
                sys.stderr.write(f"  {one}\n")
    wrong = [one for one in done if not one.as_wanted]
    told = f"{len(chosen)} cases, {sum(bool(one.flaw) for one in done)} tests of what holds them: {len(wrong)} wrong"
    print("\n".join((told, *map(str, wrong))))
    left = [case.name for case in chosen if any(flaw.needs & set(options.without) for flaw in case.flaws)]
    if left:
        print(f"not all of: {', '.join(left)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
