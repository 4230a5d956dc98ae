"""The Debian under all instances is made once, whole or not at all, and belongs to whoever runs it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.errors import UserError
from reconciler.sandbox import kernel, programs, system

pytestmark = [pytest.mark.sandbox, pytest.mark.skipif(os.geteuid() != 0, reason="only root makes one")]

# mmdebstrap's part is played by scripts here: the real one makes the root that every other test stands on.
_MAKES = """#!/bin/sh
for last in "$@"; do case "$last" in */debian-*.draft) target=$last;; esac; done
echo "I: running apt-get update..." >&2
mkdir "$target" && touch "$target/whole" && echo made >> "$(dirname "$target")/made"
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/reconciler/sandbox"


def played(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "mmdebstrap").write_text(script)
    (programs / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")


def made(tell: list[str] | None = None) -> Path:
    with system.held((tell if tell is not None else []).append) as (root, _):
        return root


def test_it_is_made_once_and_says_so(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    first: list[str] = []
    second: list[str] = []

    root = made(first)

    assert (root / "whole").exists()
    assert made(second) == root
    assert first[0].startswith("Making the sandbox's Debian 12, once: ")
    assert first[1:] == ["reading the archive's lists"]
    assert second == []


def test_two_that_start_at_once_make_one(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(_MAKES, tmp_path, monkeypatch)

    together = [threading.Thread(target=made) for _ in range(5)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()

    assert (cache / "made").read_text() == "made\n"


def test_a_making_that_was_killed_leaves_nothing_that_counts(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES.replace("touch", "kill -9 $PPID; touch"), tmp_path, monkeypatch)
    killed = subprocess.run(
        [sys.executable, "-c", "from reconciler.sandbox import system\nwith system.held(print): pass"], check=False
    )
    assert killed.returncode == -9
    (draft,) = cache.glob("*.draft")
    (draft / "half").touch()

    played(_MAKES, tmp_path, monkeypatch)
    root = made()

    assert not (root / "half").exists()
    assert not list(cache.glob("*.draft"))


def test_an_interrupted_making_ends_its_maker_and_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES.replace("mkdir", "mkdir $target; sleep 600; mkdir"), tmp_path, monkeypatch)

    def interrupt(line: str) -> None:
        if line == "reading the archive's lists":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), system.held(interrupt):
        raise AssertionError

    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        ("E: Failed to fetch x  Temporary failure resolving 'deb.example'", "its archive can't be reached", "network"),
        ("Err:1 http://deb.example bookworm Connection timed out", "its archive can't be reached", system.MIRROR),
        (
            "Err:1 http://deb.example bookworm InRelease\n  These signatures couldn't be verified: NO_PUBKEY 6ED0",
            "signed with no key that is known here",
            "debian-archive-keyring",
        ),
        ("E: Failed to fetch x  Hash Sum mismatch", "Hash Sum mismatch", "try again"),
        ("dpkg: error processing archive x (--unpack): No space left on device", "does not fit", "XDG_CACHE_HOME"),
        ("E: mmdebstrap failed to run", "mmdebstrap failed to run", "try again"),
    ],
)
def test_what_goes_wrong_is_one_clear_sentence(
    said: str, what: str, hint: str, *, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"#!/bin/sh\necho 'I: running apt-get update...' >&2; echo \"{said}\" >&2\n"
    played(script + "echo 'E: apt-get update failed' >&2; exit 25\n", tmp_path, monkeypatch)

    with pytest.raises(UserError) as caught:
        made()

    assert what in caught.value.what
    assert "\n" not in caught.value.what
    assert hint in " ".join(caught.value.mend)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("taken", [False, True], ids=["as a rule", "where apt's one place for a file is taken"])
def test_debians_keys_are_trusted_on_a_system_that_does_not_know_them(
    *, taken: bool, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES + 'printf "%s\\n" "$@" > "$(dirname "$target")/asked"\n', tmp_path, monkeypatch)
    debians, old = tmp_path / "debian-archive-keyring.gpg", tmp_path / "trusted.gpg"
    debians.touch()
    if taken:
        old.touch()
    monkeypatch.setattr(programs, "_KEYRINGS", (str(debians),))
    monkeypatch.setattr(system, "_OLD_KEYRING", old)

    made()

    asked = (cache / "asked").read_text().splitlines()
    assert (f"--keyring={debians}" in asked) == (not taken)


@pytest.mark.usefixtures("cache")
def test_a_mirror_that_nobody_answers_at_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(system.MIRROR, "http://127.0.0.1:9/debian")  # the real mmdebstrap, and a port that is closed

    with pytest.raises(UserError, match="its archive can't be reached"):
        made()


@pytest.mark.usefixtures("cache")
def test_a_mirror_that_is_no_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(system.MIRROR, 'http://x" main')

    with pytest.raises(UserError, match=system.MIRROR):
        made()


@pytest.fixture
def small(cache: Path) -> Iterator[Path]:
    cache.mkdir(parents=True)
    kernel.mount("small", cache, kind="tmpfs", options="size=20m,mode=0700")
    yield cache
    kernel.unmount(cache)


def test_a_disk_without_room_is_said_before_anything_is_written(small: Path) -> None:
    with pytest.raises(UserError, match=r"does not fit in .*: \d+ MB are free, 900 MB are needed"):
        made()

    assert [path.suffix for path in small.iterdir()] == [".lock"]


def test_a_root_that_others_can_write_is_not_run(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    root = made()

    os.chown(root, 65534, 65534)
    with pytest.raises(UserError, match="would run as root"):
        made()

    os.chown(root, 0, 0)
    cache.chmod(0o777)
    with pytest.raises(UserError, match="would run as root"):
        made()


def test_a_missing_mmdebstrap_is_named_with_its_package(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("apt-get", "dpkg"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))

    with pytest.raises(UserError, match="mmdebstrap") as caught:
        made()

    assert caught.value.mend == ("apt-get install mmdebstrap",)


def test_a_cache_that_is_a_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(UserError, match="can't be made: Not a directory"):
        made()


def test_what_nobody_used_for_a_month_goes_with_the_next_making_and_what_is_in_use_stays(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    cache.mkdir(parents=True, mode=0o700)
    for name in ("debian-old", "debian-old-in-use", "debian-recent"):
        (cache / name).mkdir()
        (cache / f"{name}.lock").touch()
        if "old" in name:
            os.utime(cache / f"{name}.lock", (0, 0))

    with (cache / "debian-old-in-use.lock").open("rb") as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        made()

    assert not (cache / "debian-old").exists()
    assert (cache / "debian-old-in-use").exists()
    assert (cache / "debian-recent").exists()
