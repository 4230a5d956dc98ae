"""The folder of a build is gone after it, also where its run was killed."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.model.errors import Terminal, Transient
from reconciler.steps.work_folder import for_tests, refuse_while_building, sweep, temporary, work_folder

HOLD = """
import sys, pathlib
from reconciler.steps.work_folder import temporary, work_folder
with work_folder(pathlib.Path(sys.argv[1]), "web") as folder:
    (folder / "secret").write_text("x")
    (temporary(folder) / "key").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


BUILD = """
import os, sys, pathlib, threading
from reconciler.build.process import Command, follow
from reconciler.steps.work_folder import PACKERS, work_folder
root = pathlib.Path(sys.argv[1])
with work_folder(root, "web-20261122T101530Z-1a2b3c4") as folder:
    packer = Command(["/bin/sh", "-c", "echo $$; cat ../end > /dev/null"], folder, {"PATH": os.environ["PATH"]})
    out, err = (folder / PACKERS / name for name in ("x.stdout", "x.stderr"))
    follow(packer, (root / "pid").write_bytes, stdout=out, stderr=err, timeout=1e9, cancelled=threading.Event())
"""


@pytest.fixture
def temporaries(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def holding(root: Path) -> tuple[subprocess.Popen[str], Path]:
    run = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    return run, Path(run.stdout.readline().strip())


def test_a_folder_is_gone_after_its_build_even_if_that_raised(tmp_path: Path) -> None:
    def build() -> None:
        with work_folder(tmp_path, "web") as folder:
            (folder / "export").mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build()

    assert list(tmp_path.iterdir()) == []


def test_what_its_programs_leave_goes_with_it(tmp_path: Path, temporaries: Path) -> None:
    with work_folder(tmp_path, "web") as folder:
        own = temporary(folder)
        (own / "ansible-key1234").write_text("secret")
        assert own.parent == temporaries
        assert own.stat().st_mode & 0o777 == 0o700

    assert list(temporaries.iterdir()) == []


def test_what_the_programs_of_a_killed_run_left_is_swept_and_of_a_living_one_not(
    tmp_path: Path, temporaries: Path
) -> None:
    killed, _ = holding(tmp_path)
    left = list(temporaries.iterdir())
    living, _ = holding(tmp_path)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert len(left) == 1
    assert [file.name for file in left[0].iterdir()] == ["key"]

    sweep(tmp_path)

    (held,) = temporaries.iterdir()
    assert held != left[0]
    living.communicate("")
    assert list(temporaries.iterdir()) == []


@pytest.mark.parametrize("name", ["precious", "rec-0123456789abcdef"])
def test_a_link_that_leads_elsewhere_is_not_followed(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("x")
    if name != precious.name:
        (tmp_path / name).symlink_to(precious)

    with work_folder(tmp_path / "work", "web") as folder:
        (folder / "tmp").symlink_to(tmp_path / name)

    assert (precious / "data").read_text() == "x"
    assert list((tmp_path / "work").iterdir()) == []


def test_sockets_can_be_made_in_it_however_long_the_machine_s_own_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))

    with work_folder(tmp_path / "work", "web") as folder, socket.socket(socket.AF_UNIX) as server:
        own = temporary(folder) / "packer-plugin-dir4294967295"
        own.mkdir()
        server.bind(str(own / "packer-plugin4294967295"))


def test_a_disk_that_refuses_temporary_folders_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/absent")

    with (
        work_folder(tmp_path, "web") as folder,
        pytest.raises(Terminal, match=r"/absent/rec-\w+ cannot be made, for what a build writes to TMPDIR \(No such"),
    ):
        temporary(folder)


def test_what_a_killed_run_left_is_swept_and_what_a_living_one_holds_is_not(tmp_path: Path) -> None:
    killed, left = holding(tmp_path)
    living, held = holding(tmp_path)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    assert sweep(tmp_path) == (left,)

    assert list(tmp_path.iterdir()) == [held]
    living.communicate("")
    assert list(tmp_path.iterdir()) == []


def test_a_packer_that_outlived_its_run_keeps_its_folder_and_its_image_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    for pipe in ("pid", "end"):
        os.mkfifo(root / pipe)
    run = subprocess.Popen([sys.executable, "-c", BUILD, str(root)])
    pid = int((root / "pid").read_text())
    refuse_while_building(root, "web")  # a run that lives is no obstacle
    run.kill()
    run.wait()
    ending = os.pidfd_open(pid)

    assert sweep(root) == ()
    refuse_while_building(root, "we")
    with pytest.raises(Transient, match=rf"web is being built by a Packer that outlived its run \(process {pid}\)"):
        refuse_while_building(root, "web")

    (root / "end").write_text("")
    select.select([ending], [], [])
    os.close(ending)
    refuse_while_building(root, "web")
    assert [left.name.rpartition("-")[0] for left in sweep(root)] == ["web-20261122T101530Z-1a2b3c4"]


def test_a_folder_that_is_just_being_made_is_left_alone_and_an_old_one_without_a_lock_is_not(tmp_path: Path) -> None:
    young, old = tmp_path / "young", tmp_path / "old"
    young.mkdir()
    old.mkdir()
    os.utime(old, (0, 0))

    assert sweep(tmp_path) == (old,)
    assert young.is_dir()


def test_folders_that_come_and_go_meanwhile_are_in_nobodys_way(tmp_path: Path) -> None:
    def build() -> None:
        for _ in range(300):
            with work_folder(tmp_path, "web-20261122T101530Z-1a2b3c4"):
                pass

    with ThreadPoolExecutor(max_workers=2) as pool:
        builds = [pool.submit(build), pool.submit(build)]
        while not all(one.done() for one in builds):
            refuse_while_building(tmp_path, "web")

    assert [one.exception() for one in builds] == [None, None]
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file where the folder should be")

    with (
        pytest.raises(Terminal, match=r"web can't be built: .* cannot be written"),
        work_folder(tmp_path / "work", "web"),
    ):
        pass


@pytest.mark.parametrize("name", ["café", "with blanks", "a[1]", "a::b", "${HOME}", "100%"])
def test_tests_of_a_checkout_with_an_odd_name_work_where_every_program_reads_the_path(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = for_tests(tmp_path / name / ".reconciler")
    assert root.parent.parent == tmp_path
    assert re.fullmatch(r"reconciler-[0-9]+-[0-9a-f]{12}", root.parent.name)
    assert root.parent.stat().st_mode & 0o777 == 0o700
    assert for_tests(tmp_path / name / ".reconciler") == root, "the next run sweeps it"
    assert for_tests(tmp_path / f"{name}2" / ".reconciler") != root
    with work_folder(root, "web") as folder:
        assert folder.parent == root


def test_tests_of_any_other_checkout_work_in_it(tmp_path: Path) -> None:
    assert for_tests(tmp_path / ".reconciler") == tmp_path / ".reconciler" / "work"


def test_a_folder_that_others_may_read_or_lead_elsewhere_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = for_tests(tmp_path / "é").parent
    own.chmod(0o755)
    with pytest.raises(Terminal, match="is not a folder that only this user can read"):
        for_tests(tmp_path / "é")
    own.rmdir()
    own.symlink_to(tmp_path)
    with pytest.raises(Terminal, match="is not a folder that only this user can read"):
        for_tests(tmp_path / "é")
