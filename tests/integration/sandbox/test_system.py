"""The Debian under all instances is made once, whole or not at all, and belongs to whoever runs it."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.model.errors import UserError
from reconciler.sandbox import kernel, mmdebstrap, system

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
    monkeypatch.setattr(kernel, "sync", lambda _: None)  # of all that others here write, too
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
    played(f"{_MAKES}\necho 'I: downloading packages with apt...' >&2; exec sleep 600\n", tmp_path, monkeypatch)
    kills = """
import os
from reconciler.sandbox import system
def tell(line):
    if line == "downloading packages":
        os.kill(os.getpid(), 9)
with system.held(tell):
    pass
"""
    killed = subprocess.run([sys.executable, "-c", kills], check=False)
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


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_takes_the_making_along(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: signal.Signals
) -> None:
    # Given a making in the middle, as when a job is cancelled, or a terminal closed
    played(_MAKES.replace("mkdir", "mkdir $target; sleep 600; mkdir"), tmp_path, monkeypatch)
    begin = [sys.executable, "-m", "reconciler", "sandbox", "start", "--folder", str(tmp_path / "sandbox")]

    with subprocess.Popen(begin, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        heard = [process.stderr.readline(), process.stderr.readline()]
        process.send_signal(told)
        heard += process.stderr.readlines()  # ends when nobody holds it: neither the command nor what it began

    assert [line.strip() for line in heard if line.strip()][1:] == ["reading the archive's lists", "interrupted"]
    assert process.returncode == 130
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def mounted(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {folder}" in line]


@pytest.fixture
def unmounted(cache: Path) -> Iterator[None]:
    """Nothing is left mounted for later tests, whatever is in the code."""
    yield
    kernel.unmount_below(cache)


@pytest.mark.usefixtures("unmounted")
def test_what_a_making_mounts_and_begins_ends_with_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given one that mounts as mmdebstrap does, and a package script that goes on and heeds nobody
    mounts = "mkdir $target/proc && mount -t proc proc $target/proc && mount -t sysfs -o ro sys $target/proc/fs"
    goes_on = f"setsid sh -c 'trap \"\" TERM HUP; echo > {tmp_path}/begun; sleep 600' &"
    told = 'while [ ! -e "$(dirname "$0")/../begun" ]; do :; done; echo "I: installing remaining packages" >&2; wait'
    played(f"{_MAKES}\n{mounts}; {goes_on}\n{told}\n", tmp_path, monkeypatch)

    def interrupt(line: str) -> None:
        if line == "installing the others":
            assert (cache / f"{next(cache.glob('*.draft')).name}/proc").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), system.held(interrupt):
        raise AssertionError

    assert mounted(cache) == []
    assert {path.suffix for path in cache.iterdir() if path.name != "made"} == {".lock"}
    assert running(str(tmp_path / "begun")) == []


def running(words: str) -> list[str]:
    """The command lines of this machine's processes that hold these words."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if words in line]


@pytest.mark.usefixtures("unmounted")
def test_a_draft_that_an_older_version_left_mounted_is_removed_and_nothing_that_is_mounted_there(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given drafts of this Debian and of another, with file systems in them, one upon another, and a folder of the host
    played(_MAKES, tmp_path, monkeypatch)
    root = made()
    shutil.rmtree(root)
    (tmp_path / "host's").mkdir()
    (tmp_path / "host's/file").touch()
    (cache / "debian-older.lock").touch()
    for draft in (cache / f"{root.name}.draft", cache / "debian-older.draft"):
        for name in ("sys", "dev", "with a blank"):
            (draft / name).mkdir(parents=True)
        kernel.mount("sys", draft / "sys", kind="sysfs", flags=kernel.MS_RDONLY)
        kernel.mount("dev", draft / "dev", kind="tmpfs")
        (draft / "dev/shm").mkdir()
        kernel.mount("shm", draft / "dev/shm", kind="tmpfs")
        kernel.mount("shm", draft / "dev/shm", kind="tmpfs")
        kernel.mount(str(tmp_path / "host's"), draft / "with a blank", flags=kernel.MS_BIND)

    assert made() == root

    assert mounted(cache) == []
    assert not list(cache.glob("*.draft"))
    assert (tmp_path / "host's/file").exists()


def test_it_is_made_anew_while_a_sandbox_runs_on_one_that_was_removed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    told: list[str] = []

    with system.held(told.append) as (root, _):
        shutil.rmtree(root)
        told.clear()
        assert made(told) == root

    assert told[0].startswith("Making the sandbox's Debian 12, once")
    assert (cache / "made").read_text() == "made\nmade\n"


def test_a_file_that_was_emptied_is_missed(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(f'{_MAKES}\necho "$0" > "$target/whole"\n', tmp_path, monkeypatch)
    root = made()
    size = (root / "whole").stat().st_size

    os.truncate(root / "whole", 0)

    with pytest.raises(UserError, match=f"is damaged: {size} bytes were made, and 0 are there"):
        made()


def test_one_that_an_older_version_made_is_held_to_what_that_noted(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    root = made()
    root.with_name(f"{root.name}.lock").write_text("1\n")

    assert made() == root
    (root / "one more").touch()
    with pytest.raises(UserError, match="is damaged: 1 files were made, and 2 are there"):
        made()


def test_it_is_on_the_disk_before_it_counts(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    synced: list[list[str]] = []
    monkeypatch.setattr(kernel, "sync", lambda _: synced.append(sorted(path.suffix for path in cache.iterdir())))

    made()

    assert synced == [["", ".draft", ".lock"]]  # and the tally of the script


@pytest.mark.parametrize("name", ["a:b", 'a"b', "a\\b"])
def test_a_folder_whose_name_apt_does_not_take_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    with pytest.raises(UserError, match=r"apt takes no .* in a path") as caught:
        made()

    assert "XDG_CACHE_HOME" in caught.value.hint[0]


def test_a_kernel_that_refuses_mounts_is_said(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    refuses = tmp_path / "programs/unshare"
    refuses.write_text("#!/bin/sh\necho 'unshare: mount /proc failed: Operation not permitted' >&2; exit 1\n")
    refuses.chmod(0o755)

    with pytest.raises(UserError, match=r"the kernel refused mounts of its own \(unshare: mount /proc") as caught:
        made()

    assert caught.value.hint == kernel.WHERE_ALLOWED
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "does not fit", "XDG_CACHE_HOME"),
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
    assert hint in " ".join(caught.value.hint)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ("Connection timed out [IP: 192.0.2.1 80]", "its archive can't be reached (Connection timed out"),
        ("Error reading from server. Remote end closed connection", "its archive can't be reached (Error reading"),
        ("503  Service Unavailable [IP: 192.0.2.1 80]", "could not be made: 503  Service Unavailable [IP"),
        ("", "its archive can't be reached (it stopped answering in the middle)"),
    ],
)
def test_a_mirror_that_goes_away_in_the_middle_is_given_up(
    reason: str, what: str, *, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = f'; echo "  {reason}"' if reason else ""
    failing = f'while :; do echo "Ign:7 http://deb.example bookworm/main amd64 less amd64 1"{told}; done'
    played(f"#!/bin/sh\necho 'I: downloading packages with apt...' >&2; {failing} >&2", tmp_path, monkeypatch)

    with pytest.raises(UserError) as caught:
        made()

    assert what in caught.value.what
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_the_archive_is_reached_as_this_machines_apt_reaches_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES.replace("mkdir", 'printf "%s\\n" "$@" > "$(dirname "$target")/asked"; mkdir'), tmp_path, monkeypatch)
    config = tmp_path / "programs/apt-config"
    config.write_text("#!/bin/sh\necho 'Acquire::http::Proxy \"http://proxy.example:3142/\";'\n")
    config.chmod(0o755)

    made()

    assert '--aptopt=Acquire::http::Proxy "http://proxy.example:3142/"' in (cache / "asked").read_text().splitlines()


@pytest.mark.parametrize("taken", [False, True], ids=["as a rule", "where apt's one place for a file is taken"])
def test_debians_keys_are_trusted_on_a_system_that_does_not_know_them(
    *, taken: bool, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES + 'printf "%s\\n" "$@" > "$(dirname "$target")/asked"\n', tmp_path, monkeypatch)
    debians, old = tmp_path / "debian-archive-keyring.gpg", tmp_path / "trusted.gpg"
    debians.touch()
    if taken:
        old.touch()
    monkeypatch.setattr(kernel, "_KEYRINGS", (str(debians),))
    monkeypatch.setattr(mmdebstrap, "OLD_KEYRING", old)

    made()

    asked = (cache / "asked").read_text().splitlines()
    assert (f"--keyring={debians}" in asked) == (not taken)


def test_where_there_is_no_network_it_says_that_and_not_that_one_went_away(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As apt tells it of three lists, four times each: why, at the last time alone
    again = "".join(f'echo "Ign:{number} http://deb.example bookworm InRelease"\n' for number in (1, 2, 3)) * 3
    last = "".join(
        f"""echo "Err:{number} http://deb.example bookworm InRelease"
echo "  Temporary failure resolving 'deb.example'"
"""
        for number in (1, 2, 3)
    )
    played(f"#!/bin/sh\nexec >&2\necho 'I: running apt-get update...'\n{again}{last}exit 25\n", tmp_path, monkeypatch)

    with pytest.raises(UserError, match=r"can't be reached \(Temporary failure resolving 'deb\.example'\)"):
        made()

    assert [path.suffix for path in cache.iterdir()] == [".lock"]


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


@pytest.mark.parametrize("whose", ["owned", "open to all"])
def test_a_root_in_a_folder_of_somebody_else_is_not_run(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    # Given a folder above the caches in whose owner's gift it is what is found there later
    played(_MAKES, tmp_path, monkeypatch)
    made()
    above = cache.parent.parent
    if whose == "owned":
        os.chown(above, 65534, 65534)
    else:
        above.chmod(0o777)

    with pytest.raises(UserError, match="would run as root"):
        made()

    # But one where each may remove what is his own alone, such as /tmp, is nobody's to swap
    os.chown(above, 0, 0)
    above.chmod(0o1777)
    made()


def test_no_group_may_write_what_is_made_whatever_the_umask(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    before = os.umask(0o002)

    try:
        made()
    finally:
        os.umask(before)

    assert [folder.stat().st_mode & 0o022 for folder in (cache, cache.parent, cache.parent.parent)] == [0, 0, 0]


def test_a_missing_mmdebstrap_is_named_with_its_package(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("apt-get", "dpkg", "setpriv", "unshare"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))

    with pytest.raises(UserError, match="mmdebstrap") as caught:
        made()

    assert caught.value.hint == ("apt-get install mmdebstrap",)


def test_a_root_of_which_somebody_removed_a_part_is_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    root = made()
    (root / "whole").unlink()

    with pytest.raises(UserError, match="is damaged: 1 files were made, and 0 are there") as caught:
        made()

    assert caught.value.hint == ("remove it, and it is made anew",)
    shutil.rmtree(root)
    assert (made() / "whole").exists()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("a folder for its lock", r"\.lock can't be opened: Is a directory"),
        ("a link for its lock", r"\.lock can't be opened: Too many levels of symbolic links"),
        ("a file for the root", r"debian-\S+ is no folder"),
        ("a link for the root", r"debian-\S+ is a symbolic link"),
        ("a link for the draft", r"debian-\S+ can't be removed: "),
    ],
)
def test_what_lies_in_the_way_is_said_by_name(
    what: str, said: str, *, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(_MAKES, tmp_path, monkeypatch)
    root = made()
    lock, draft = root.with_name(f"{root.name}.lock"), root.with_name(f"{root.name}.draft")
    shutil.rmtree(root)
    lock.unlink()
    put: dict[str, Callable[[], object]] = {
        "a folder for its lock": lock.mkdir,
        "a link for its lock": lambda: lock.symlink_to(tmp_path / "elsewhere"),
        "a file for the root": root.touch,
        "a link for the root": lambda: root.symlink_to(tmp_path),
        "a link for the draft": lambda: draft.symlink_to(tmp_path),
    }
    put[what]()

    with pytest.raises(UserError, match=said) as caught:
        made()

    assert "XDG_CACHE_HOME" in " ".join(caught.value.hint)


def test_a_cache_that_can_only_be_read_is_said(small: Path) -> None:
    kernel.mount(None, small, flags=kernel.MS_REMOUNT | kernel.MS_RDONLY, options="mode=0700")

    with pytest.raises(UserError, match=r"\.lock can't be opened: Read-only file system"):
        made()


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_without_a_home_in_the_environment_it_is_the_users(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)

    assert system.cache_folder() == Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".cache/reconciler/sandbox"


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


@pytest.mark.long
def test_nothing_that_the_host_has_is_in_a_root_that_is_made_on_it(cache: Path, planted: dict[str, Path]) -> None:
    """Given a package, a user and files of the host's, when Debian is made anew, then none of them is in it."""
    assert not cache.exists()

    root = made()

    status = (root / "var/lib/dpkg/status").read_text()
    assert "Package: planted-on-the-host" in Path("/var/lib/dpkg/status").read_text()
    assert "Package: openssh-server" in status
    assert "planted" not in status
    for name in ("passwd", "shadow", "group", "subuid"):
        there = root / "etc" / name
        assert "planted" not in (there.read_text() if there.exists() else "")
    inside = [root / path.relative_to("/") for path in planted.values()]
    assert [str(path) for path in inside if path.exists()] == []
    named = subprocess.run(["find", root, "-xdev", "-name", "*planted*"], capture_output=True, text=True, check=True)
    assert named.stdout == ""
