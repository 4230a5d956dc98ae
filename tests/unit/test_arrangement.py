"""The tests' own machinery: a mark that is missing is found out, and what is shared stays on one worker."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.packer.binary import Binary
from tests import packers, sharing

ROOT = Path(__file__).parents[2]

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run pytest on a file with our `tests/conftest.py` above it, where Packer and npm do nothing."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("packer", "npm"):
        (programs / name).write_text("#!/bin/sh\necho 1700000000,,version,1.6.6\n")
        (programs / name).chmod(0o755)
    for name in ("sh", "true", "dirname"):
        (programs / name).symlink_to(str(shutil.which(name)))
    settings = tmp_path / "pytest.ini"
    settings.write_text("[pytest]\nmarkers =\n    packer\n    sandbox\n    github\n")

    def run(text: str, *options: str) -> str:
        (tmp_path / "test_it.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", *options]
        ended = subprocess.run(
            [*command, "--rootdir", str(tmp_path), "-c", str(settings), str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PATH": str(programs), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.stdout + ended.stderr

    return run


@pytest.mark.long
@pytest.mark.parametrize(
    ("mark", "command", "does"),
    [
        ("packer", ["packer", "version"], "runs Packer"),
        ("packer", ["sh", "-c", "packer version"], "runs Packer"),
        ("packer", ["{bin}/packer", "version"], "runs Packer"),
        ("sandbox", ["true", "-m", "reconciler.sandbox"], "starts a sandbox"),
        ("github", ["npm", "ci"], "runs npm"),
    ],
)
def test_a_test_that_needs_more_than_its_marks_say_fails(
    run: Run, tmp_path: Path, *, mark: str, command: list[str], does: str
) -> None:
    command = [word.format(bin=tmp_path / "bin") for word in command]
    said = run(
        "import pytest, subprocess\n"
        f"@pytest.mark.{mark}\n"
        f"def test_marked(): subprocess.run({command})\n"
        f"def test_unmarked(): subprocess.run({command})\n"
        "def test_next(): pass\n"
    )

    assert f"it {does}, and no mark says so" in said
    assert "ERROR at teardown of test_unmarked" in said
    assert "3 passed, 1 error" in said


SHARING = """
import os, pytest
@pytest.fixture(scope="session")
def cheap(): ...
@pytest.fixture(scope="module", params=["one", "two"])
def dear(): ...
@pytest.fixture
def of_dear(dear): ...
def ran(test):
    with open(__file__ + ".ran", "a") as file:
        file.write(f"{os.environ['PYTEST_XDIST_WORKER']} {test.node.name}\\n")

@pytest.mark.parametrize("number", range(20))
def test_single(cheap, number, request): ran(request)
@pytest.mark.parametrize("number", range(5))
def test_shares(dear, number, request): ran(request)
@pytest.mark.parametrize("number", range(5))
def test_shares_too(of_dear, number, request): ran(request)
@pytest.mark.sandbox
def test_boots(request): ran(request)
@pytest.mark.packer
@pytest.mark.sandbox
def test_builds(request): ran(request)
"""


@pytest.mark.long
def test_what_shares_a_fixture_runs_on_one_worker(run: Run, tmp_path: Path) -> None:
    said = run(SHARING, "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder", "-rA")

    assert "42 passed" in said
    assert "@" not in said, "whoever reads the report finds the ids of the tests"
    workers: dict[str, set[str]] = {}
    for line in (tmp_path / "test_it.py.ran").read_text().splitlines():
        worker, test = line.split()
        share = "one" if "[one" in test else "two" if "[two" in test else "none"
        workers.setdefault(share, set()).add(worker)
    assert len(workers["one"]) == len(workers["two"]) == 1
    assert len(workers["none"]) == 2


@pytest.mark.long
def test_the_longest_comes_first(run: Run, tmp_path: Path) -> None:
    run(SHARING, "-n", "1", "--dist", "loadgroup", "--no-loadscope-reorder")

    ran = [line.split()[1].partition("[")[0] for line in (tmp_path / "test_it.py.ran").read_text().splitlines()]
    assert list(dict.fromkeys(ran)) == ["test_builds", "test_boots", "test_shares", "test_shares_too", "test_single"]


def test_quick_tests_are_given_out_a_few_at_a_time_and_keep_their_ids(request: pytest.FixtureRequest) -> None:
    before, known = request.node.nodeid, request.node._id
    with sharing.groups_in_ids([request.node]):
        assert request.node.nodeid == f"{before}@tests/unit/test_arrangement.py-0"
    assert (request.node.nodeid, request.node._id) == (before, known)

    given: Counter[str] = Counter()
    groups = Counter(sharing.together(request.node, given) for _ in range(40))
    assert sorted(groups.values()) == [8, 16, 16]


@pytest.fixture
def two_packers(monkeypatch: pytest.MonkeyPatch) -> None:
    both = (Binary("/old", (1, 6, 6)), Binary("/new", (1, 16, 0)))
    monkeypatch.setattr(packers, "installed_packers", lambda: both)


def _runs(**how: Any) -> list[Sequence[object]]:
    return [run.values for run in packers.runs_of("here", **how)[1]]


@pytest.mark.usefixtures("two_packers")
def test_each_case_that_is_dealt_and_each_packer_has_a_run() -> None:
    assert packers.runs_of("here")[0] == ["packer_on_path"]
    assert _runs() == [("1.6.6",), ("1.16.0",)]
    assert _runs(dealt=("how", "abc")) == [("1.6.6", "a"), ("1.16.0", "b"), ("1.6.6", "c")]
    assert _runs(dealt=("how", "a")) == [("1.6.6", "a"), ("1.16.0", "a")]


@pytest.mark.parametrize(
    ("codename", "versions", "lacks"),
    [
        ("bookworm", [(1, 6, 6), (1, 16, 0)], None), ("trixie", [(1, 16, 0)], None), (None, [(1, 16, 0)], None),
        ("bookworm", [(1, 16, 0)], "whose archive has Packer 1.6.6"), ("trixie", [], "there is no Packer"),
    ],
)  # fmt: skip
def test_what_ci_lacks_of_the_packers_it_can_have_fails_its_tests(
    monkeypatch: pytest.MonkeyPatch, codename: str | None, versions: list[tuple[int, int, int]], lacks: str | None
) -> None:
    found = tuple(Binary("/packer", version) for version in versions)
    monkeypatch.setattr(packers, "installed_packers", lambda: found)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"VERSION_CODENAME": codename})

    assert lacks in (packers.lacking() or "") if lacks else packers.lacking() is None
    of_old = [run.values for run in packers.runs_of("here", before=(1, 10, 0))[1]]
    old = "1.6.6" if (1, 6, 6) in versions else packers.NONE_FITS if versions else packers.NONE
    assert of_old == [(old,)]


@pytest.mark.usefixtures("two_packers")
def test_what_is_run_once_is_run_on_one_packer_for_all_that_share_it_and_each_has_its_share() -> None:
    first: dict[str, list[Sequence[object]]] = {}
    for module in (f"module{number}" for number in range(8)):
        _, runs = packers.runs_of(module, once=True)
        assert [run.values for run in runs] == [("1.6.6",), ("1.16.0",)], "each Packer has a run in the end"
        first[module] = [run.values for run in runs if not run.marks]

    assert {len(runs) for runs in first.values()} == {1}, "the others are left to `make test-all`"
    assert {str(run) for runs in first.values() for run in runs} == {"('1.6.6',)", "('1.16.0',)"}
    assert packers.runs_of("here", once="shared") == packers.runs_of("there", once="shared")
