"""What somebody lays out in a folder of disks, or names as a source, to hold a run for ever or to fill its memory."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from reconciler.model.declaration import Settings
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.model.lockfile import Artifact
from reconciler.model.source import SourceRequest
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening
from reconciler.registries.disk import files, looking, regular
from reconciler.registries.disk.registry import DiskRegistry

FLEET = "acme/images"
OURS = {"reconciler:fleet": FLEET, "reconciler:image": "web"}
NOBODY = f"sha256:{'0' * 64}"
TERABYTES = 1 << 40  # as many as a disk may have


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DiskRegistry:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return DiskRegistry(Opening(FLEET, Settings()))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def stored(
    registry: DiskRegistry, store: Path, *, content: bytes = b"reviewed", tags: Mapping[str, str] = OURS
) -> Artifact:  # fmt: skip
    left = store.parent / "left"
    left.write_bytes(content)
    (one,) = registry.store(str(store), [Made("file.web", "", "", (str(left),))], name="web-1", tags=tags)
    return one


def hostile(store: Path, *, tags: dict[str, str], disk: str = NOBODY, size: int = TERABYTES) -> Path:
    """A file of holes, which takes no room, and marks that say that it was looked at at another time."""
    file = store / disk
    with file.open("ab") as made:
        made.truncate(size)
    marks = {"id": disk, "name": "x", "created": "2026-01-01T00:00:00Z", "seen": [size, 0], "tags": tags}
    file.with_name(f"{disk}.json").write_text(json.dumps(marks))
    return file


# What is no file.


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket has 107 bytes at most
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def to_the_kernel(path: Path) -> None:
    path.symlink_to("/proc/self/pagemap")


LAID_OUT = [pipe, listening, Path.mkdir, to_a_device, to_a_pipe, to_the_kernel]


def in_time(what: Callable[[], object]) -> object:
    """What a call returns or raises; a failure of the test where it hangs."""
    ended: list[object] = []

    def call() -> None:
        try:
            ended.append(what())
        except ReconcilerError as error:
            ended.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(10)
    assert ended, "it hangs"
    return ended[0]


@pytest.mark.parametrize("lay_out", LAID_OUT)
def test_what_is_no_file_where_a_folder_says_whose_it_is_is_not_waited_for(
    registry: DiskRegistry, store: Path, lay_out: Callable[[Path], None]
) -> None:
    lay_out(store / ".reconciler")

    told = in_time(lambda: registry.find(str(store), NOBODY))

    assert isinstance(told, Transient)
    assert ".reconciler: " in told.what


@pytest.mark.parametrize("lay_out", LAID_OUT)
def test_what_is_no_file_in_the_place_of_a_lock_is_not_waited_for(
    registry: DiskRegistry, store: Path, lay_out: Callable[[Path], None]
) -> None:
    web = stored(registry, store)
    (store / ".lock").unlink()
    lay_out(store / ".lock")

    told = in_time(lambda: registry.tag(web, OURS))

    assert isinstance(told, Transient)
    assert ".lock: " in told.what
    assert [one.state for one in registry.observe([str(store)]).artifacts] == ["available"]


def test_a_pipe_in_the_place_of_a_lock_that_somebody_reads_is_no_lock_either(
    registry: DiskRegistry, store: Path
) -> None:
    web = stored(registry, store)
    (store / ".lock").unlink()
    os.mkfifo(store / ".lock")
    reader = os.open(store / ".lock", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(Transient, match="a pipe or a device"):
            registry.tag(web, OURS)
    finally:
        os.close(reader)


@pytest.mark.parametrize("lay_out", LAID_OUT)
def test_what_is_no_file_in_the_place_of_marks_or_a_disk_is_not_waited_for(
    registry: DiskRegistry, store: Path, lay_out: Callable[[Path], None]
) -> None:
    web = stored(registry, store)
    (store / web.id).unlink()
    lay_out(store / web.id)

    observed = in_time(lambda: registry.observe([str(store)]).artifacts)
    assert [one.state for one in observed] == ["failed"]  # type: ignore[attr-defined]  # whatever a call returns
    assert isinstance(in_time(lambda: registry.given(str(store), f"{store}/{web.id}")), ReconcilerError)

    (store / f"{web.id}.json").unlink()
    lay_out(store / f"{web.id}.json") if lay_out is not to_a_pipe else os.mkfifo(store / f"{web.id}.json")
    assert in_time(lambda: dict(registry.observe([str(store)]).unreadable).keys()) == {str(store)}


def test_whose_a_folder_is_is_written_into_no_file_that_has_another_name(registry: DiskRegistry, store: Path) -> None:
    # Given a file of the user's, to which somebody who may not write to it has given that name as well
    profile = store.parent / "profile"
    profile.write_text("export PATH\n")
    (store / ".reconciler").hardlink_to(profile)

    stored(registry, store)

    assert profile.read_text() == "export PATH\n"
    assert (store / ".reconciler").read_text() == f"export PATH\n{FLEET}\n"


# What the kernel makes up.


def resolving(registry: DiskRegistry, url: str) -> object:
    return registry.resolve(SourceRequest.model_validate({"disk": {"url": url}}), location="")


@pytest.mark.parametrize(
    "url",
    ["/proc/self/pagemap", "/proc/self/environ", "/proc/kmsg", "/proc/kcore", "/sys/kernel/notes", "/dev/zero",
     "{}/link", "/proc/self/root/proc/self/environ"],
)  # fmt: skip
def test_what_the_kernel_makes_up_is_no_source(registry: DiskRegistry, store: Path, url: str) -> None:
    (store / "link").symlink_to("/proc/self/environ")

    told = in_time(lambda: resolving(registry, url.format(store)))

    assert isinstance(told, UserError)
    assert url.format(store) in told.what


def test_a_mount_of_what_the_kernel_makes_up_is_known_by_its_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given that the kernel's files are somewhere else as well, as a container's are
    monkeypatch.setattr(regular, "_MADE_UP_BELOW", ())

    assert not regular.is_regular(Path("/proc/self/environ"))
    assert not regular.is_regular(Path("/sys/kernel/notes"))
    assert regular.is_regular(Path(__file__))


def test_an_empty_file_is_no_source(registry: DiskRegistry, store: Path) -> None:
    (store / "empty.raw").touch()
    with pytest.raises(UserError, match="is empty, and no disk"):
        resolving(registry, f"{store}/empty.raw")


def test_a_file_that_is_reached_by_what_the_kernel_knows_of_it_is_a_source(registry: DiskRegistry, store: Path) -> None:
    (store / "base.raw").write_bytes(b"base")
    with (store / "base.raw").open("rb") as file:
        assert resolving(registry, f"/proc/self/fd/{file.fileno()}") is not None


def test_a_source_that_takes_too_long_to_read_is_given_up(
    registry: DiskRegistry, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.registries.disk.registry._SOURCE", 0.0)
    hostile(store, tags={})
    with pytest.raises(Transient, match="it takes longer than 0 s"):
        resolving(registry, f"{store}/{NOBODY}")


def test_a_run_that_is_cancelled_reads_no_source_on(store: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    hostile(store, tags={})
    with pytest.raises(Transient, match="cancelled"):
        resolving(DiskRegistry(Opening(FLEET, Settings(), cancelled=cancelled)), f"{store}/{NOBODY}")


# What is read of disks.


@pytest.mark.parametrize("fleet", ["somebody else's", None])
def test_a_disk_of_another_fleet_is_not_read(registry: DiskRegistry, store: Path, fleet: str | None) -> None:
    web = stored(registry, store)
    hostile(store, tags={"reconciler:fleet": fleet} if fleet is not None else {})

    observed = in_time(lambda: registry.observe([str(store)]).artifacts)

    assert [one.id for one in observed] == [web.id]  # type: ignore[attr-defined]  # whatever a call returns


def test_a_disk_of_another_fleet_that_was_touched_is_read_where_it_is_asked_for(
    registry: DiskRegistry, store: Path
) -> None:
    theirs = stored(DiskRegistry(Opening("somebody", Settings())), store, tags={"reconciler:fleet": "somebody"})
    os.utime(store / theirs.id, ns=(1, 1))

    assert [(one.id, one.state) for one in registry.named(str(store), "web-1")] == [(theirs.id, "available")]


def test_what_is_marked_as_ours_and_was_changed_is_read_for_ten_minutes_and_no_more(
    registry: DiskRegistry, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_SECONDS", 0.2)
    stored(registry, store)
    hostile(store, tags=OURS)

    unreadable = in_time(lambda: registry.observe([str(store)]).unreadable[str(store)])

    assert "it takes longer than 0.2 s to look at what was changed" in str(unreadable)


def test_what_is_not_what_it_is_called_is_read_once(
    registry: DiskRegistry, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(store, tags=OURS, size=1 << 20)
    assert [one.state for one in registry.observe([str(store)]).artifacts] == ["unusable"]
    monkeypatch.setattr("reconciler.registries.disk.folder.digest_of", lambda *_, **__: pytest.fail("it is read"))

    assert [one.state for one in registry.observe([str(store)]).artifacts] == ["unusable"]


def test_what_was_changed_since_is_read_again_whatever_time_it_says(registry: DiskRegistry, store: Path) -> None:
    # Given a disk that was another, of the same size and time
    web = stored(registry, store)
    file = store / web.id
    was = file.stat()
    file.write_bytes(b"somebody")
    os.utime(file, ns=(1, 1))
    assert [one.state for one in registry.observe([str(store)]).artifacts] == ["unusable"]

    file.write_bytes(b"reviewed")
    os.utime(file, ns=(1, 1))

    assert file.stat().st_size == was.st_size
    assert [one.state for one in registry.observe([str(store)]).artifacts] == ["available"]


def test_what_is_kept_of_that_in_the_cache_makes_nothing_usable(registry: DiskRegistry, store: Path) -> None:
    hostile(store, tags=OURS, size=1 << 10)
    registry.observe([str(store)])
    (kept,) = (store.parent / "cache/reconciler/differing").iterdir()

    for content in ("[", "null", '{"a": 1}', "[1, null]", "[" * 100_000):
        kept.write_text(content)
        assert [one.state for one in registry.observe([str(store)]).artifacts] == ["unusable"]


def test_a_file_that_grows_while_it_is_read_is_read_as_far_as_it_was(tmp_path: Path) -> None:
    from reconciler.registries.disk.files import digest_of  # noqa: PLC0415 - what is read is under test here alone

    growing = tmp_path / "growing"
    growing.write_bytes(b"x" * (2 << 20))
    pieces: list[int] = []

    def more() -> None:
        pieces.append(1)
        with growing.open("ab") as file:
            file.write(b"x" * (4 << 20))
        assert len(pieces) < 10

    digest_of(growing, more)

    assert len(pieces) == 3


# What is taken in of marks.


def test_marks_of_disks_are_bounded_one_by_one_and_in_their_sum(registry: DiskRegistry, store: Path) -> None:
    web = stored(registry, store)
    filled = {"id": "", "name": "x", "created": "2026-01-01T00:00:00Z", "seen": [0, 0], "tags": {"x": "y" * 60_000}}
    for number in range(300):
        one = f"sha256:{number:064x}"
        (store / f"{one}.json").write_text(json.dumps({**filled, "id": one}))

    assert "are of more than 16,777,216 bytes" in registry.observe([str(store)]).unreadable[str(store)]

    for number in range(300):
        (store / f"sha256:{number:064x}.json").unlink()
    with (store / f"{web.id}.json").open("a") as marks:
        marks.write(" " * 70_000)
    assert "holds no marks" in registry.observe([str(store)]).unreadable[str(store)]


def test_disks_are_bounded_in_their_number(
    registry: DiskRegistry, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_MOST_MARKED", 3)
    for number in range(4):
        hostile(store, tags={}, disk=f"sha256:{number:064x}", size=1)

    assert "has marks of more than 3 disks" in registry.observe([str(store)]).unreadable[str(store)]


def test_a_file_that_is_larger_than_is_allowed_or_than_was_marked_is_not_read(
    registry: DiskRegistry, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a disk in the place of which is another, larger than any may be, with marks that say it was looked at
    web = stored(registry, store)
    (store / web.id).unlink()
    larger = hostile(store, tags=OURS, disk=web.id, size=TERABYTES + 1)
    for reader in ("copied", "digest_of", "is_still"):
        monkeypatch.setattr(f"reconciler.registries.disk.folder.{reader}", lambda *_, **__: pytest.fail("it is read"))
    for reader in ("digest_of", "is_still"):
        monkeypatch.setattr(f"reconciler.registries.disk.registry.{reader}", lambda *_, **__: pytest.fail("it is read"))

    # When it is to be built on, then it is refused by its size alone
    shelf, source = registry.of(str(store)), f"{store}/{web.id}"
    calls: tuple[Callable[[], object], ...] = (
        lambda: shelf.path(str(store), web.id),
        lambda: registry.given(str(store), source),
        lambda: resolving(registry, source),
        lambda: registry.given(str(store), f"{web.id} {source}"),
        lambda: registry.copy(web, to=str(store.parent / "other"), name="web-1", tags=OURS, token=""),
    )
    for call in calls:
        with pytest.raises(UserError, match=r"is of 1,099,511,627,777 bytes, and no disk of more than 1,024 GiB"):
            call()
    assert [one.state for one in registry.observe([str(store)]).artifacts] == ["unusable"]

    # Nor where it is as large as any may be, and not as its marks, or the record, have it
    os.truncate(larger, TERABYTES)
    with pytest.raises(Terminal, match="is not what it is called"):
        shelf.path(str(store), web.id)
    marked = hostile(store, tags=OURS, disk=web.id)
    with pytest.raises(Terminal, match="is not what it is called"):
        shelf.path(str(store), web.id, size=len(b"reviewed"))
    assert marked.stat().st_size == TERABYTES


def test_no_larger_file_is_read_that_comes_into_a_disk_s_place_once_its_size_was_looked_at(
    registry: DiskRegistry, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = stored(registry, store)
    file, shelf = store / web.id, registry.of(str(store))

    def swapped(looked_at: Path) -> tuple[int, int]:
        found = files.stamp(looked_at)
        if looked_at.stat().st_ino == was:
            looked_at.rename(store / "ours")
            with looked_at.open("wb") as theirs:
                theirs.truncate(TERABYTES + 1)
        return found

    calls: tuple[Callable[[], object], ...] = (
        lambda: shelf.path(str(store), web.id),
        lambda: registry.copy(web, to=str(store.parent / "other"), name="web-1", tags=OURS, token=""),
    )
    for call in calls:
        was = file.stat().st_ino
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr("reconciler.registries.disk.folder.stamp", swapped)
            with pytest.raises(UserError, match=r"of 1,099,511,627,777 bytes, and no disk of more than 1,024 GiB"):
                call()
        (store / "ours").replace(file)


def test_no_marks_of_a_disk_are_written_that_nobody_would_read(registry: DiskRegistry, store: Path) -> None:
    web = stored(registry, store)
    with pytest.raises(Terminal, match="of 65,536 at most"):
        registry.tag(web, {"x": "y" * 70_000})
    assert [one.id for one in registry.observe([str(store)]).artifacts] == [web.id]


def test_a_disk_of_a_year_that_no_calendar_has_is_found(
    registry: DiskRegistry, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a disk without marks, of a time that few file systems can keep
    disk = f"sha256:{sha256(b'disk').hexdigest()}"
    (store / disk).write_bytes(b"disk")
    monkeypatch.setattr("reconciler.registries.disk.folder.stamp", lambda _: (4, 10**21))

    seen = registry.find(str(store), disk)

    assert seen is not None
    assert (seen.state, seen.created[:2]) == ("available", "20")
