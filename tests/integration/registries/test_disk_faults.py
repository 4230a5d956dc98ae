"""A folder of disks into which somebody else may write, too: what he puts there is not taken for ours."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.declaration import Settings
from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.lockfile import Artifact
from reconciler.model.source import SourceRequest
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening, Registry
from reconciler.registries import open_registry
from reconciler.registries.disk import files
from reconciler.registries.disk import folder as folders
from reconciler.registries.disk.dialect import DISK

FLEET = "acme/images"
OURS = {"reconciler:fleet": FLEET, "reconciler:image": "web"}


@pytest.fixture
def registry() -> Registry:
    return open_registry("disk", Opening(FLEET, Settings()))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def web(registry: Registry, store: Path, tmp_path: Path) -> Artifact:
    return stored(registry, store, tmp_path, content=b"reviewed")


def stored(registry: Registry, store: Path, folder: Path, *, content: bytes, fleet: str = FLEET) -> Artifact:
    left = folder / "left"
    left.write_bytes(content)
    (one,) = registry.store(str(store), [Made("file.web", "", "", (str(left),))], name="web-1",
                            tags=OURS | {"reconciler:fleet": fleet})  # fmt: skip
    return one


def put_another(file: Path, content: bytes) -> None:
    """Somebody changes a file, and nobody sees it by its size and its time."""
    was = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (was.st_size, was.st_mtime_ns)


def test_nothing_is_built_on_a_parent_that_is_another_by_now(registry: Registry, web: Artifact) -> None:
    path = f"{web.location}/{web.id}"
    assert registry.given(web.location, path) == path
    put_another(Path(path), b"tampered")

    with pytest.raises(Terminal, match="is not what it is called"):
        registry.given(web.location, path)


def test_nothing_is_built_on_an_upstream_file_that_was_changed_since_it_was_pinned(
    registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "upstream.raw"
    file.write_bytes(b"reviewed")
    pin = registry.resolve(SourceRequest.model_validate({"disk": {"url": str(file)}}), location="")
    given = DISK.given_of(pin, "/srv/images")
    assert given is not None
    assert registry.given("/srv/images", given) == str(file)
    put_another(file, b"tampered")

    with pytest.raises(UserError, match="was changed since it was pinned"):
        registry.given("/srv/images", given)


def test_a_copy_takes_the_place_of_what_only_its_name_says_it_is(
    registry: Registry, web: Artifact, tmp_path: Path
) -> None:
    # Given another file where a copy is to be, with its name and its marks
    copies = tmp_path / "copies"
    elsewhere = stored(registry, copies, tmp_path, content=b"reviewed")
    assert elsewhere.id == web.id
    put_another(copies / web.id, b"tampered")

    registry.copy(web, to=str(copies), name="web-1", tags=OURS, token="t")

    assert (copies / web.id).read_bytes() == b"reviewed"
    (seen,) = registry.observe([str(copies)]).artifacts
    assert seen.state == "available"


def test_marks_of_another_file_are_none(registry: Registry, web: Artifact, store: Path, tmp_path: Path) -> None:
    # Given marks that lead out of the folder, to a file that is as they say
    secret = tmp_path / "secret"
    secret.write_bytes(b"of this machine")
    marks = store / f"{web.id}.json"
    told = json.loads(marks.read_text())
    marks.write_text(json.dumps({**told, "id": str(secret), "seen": files.stamp(secret)}))

    assert "holds no marks" in registry.observe([str(store)]).unreadable[str(store)]


def test_a_pipe_among_the_marks_is_not_waited_for(registry: Registry, web: Artifact, store: Path) -> None:
    os.mkfifo(store / f"sha256:{'0' * 64}.json")

    assert "holds no marks" in registry.observe([str(store)]).unreadable[str(store)]


def test_nothing_is_written_through_a_link_that_somebody_laid_out(
    registry: Registry, web: Artifact, store: Path, tmp_path: Path
) -> None:
    # Given links under all names that could be guessed
    victim, missing = tmp_path / "profile", tmp_path / "nologin"
    victim.write_text("export PATH\n")
    (store / f".{web.id}.json.{os.getpid()}").symlink_to(victim)
    for name in (".lock", ".reconciler"):
        (store / name).unlink(missing_ok=True)
        (store / name).symlink_to(missing)

    with pytest.raises(Transient):
        registry.tag(web, {"reconciler:branch": "$(id)"})
    with pytest.raises(Transient):
        stored(registry, store, tmp_path, content=b"another")
    (store / ".lock").unlink()
    registry.tag(web, {"reconciler:branch": "$(id)"})

    assert victim.read_text() == "export PATH\n"
    assert not missing.exists()


def test_a_lock_that_somebody_holds_is_not_waited_for_without_end(
    registry: Registry, web: Artifact, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_LOCKED_SECONDS", 0.0)
    with (store / ".lock").open("rb") as held:  # whoever may read it can
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Transient, match="is held"):
            registry.tag(web, OURS)
    registry.tag(web, OURS)


def test_a_disk_of_another_size_is_not_read_to_be_told_from_ours(
    registry: Registry, web: Artifact, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (store / web.id).open("r+b") as file:
        file.truncate(1 << 40)  # it has holes, and takes no room
    monkeypatch.setattr(files, "digest_of", lambda _: pytest.fail("it is read"))

    (seen,) = registry.observe([str(store)]).artifacts

    assert seen.state == "unusable"


def resolving(registry: Registry, url: str) -> None:
    registry.resolve(SourceRequest.model_validate({"disk": {"url": url}}), location="")


@pytest.mark.parametrize(
    ("number", "meant"),
    [
        (errno.EACCES, UserError), (errno.ENAMETOOLONG, UserError), (errno.EIO, Transient), (errno.ESTALE, Transient),
        (errno.ENODEV, Transient),
    ],
)  # fmt: skip
def test_whatever_the_system_says_of_a_file_is_an_error_of_ours(
    registry: Registry, web: Artifact, monkeypatch: pytest.MonkeyPatch, number: int, meant: type[Exception]
) -> None:
    tmp_path = Path(web.location).parent
    upstream = tmp_path / "upstream.raw"
    upstream.write_bytes(b"reviewed")

    def failing(self: Path, *_given: object, **_how: object) -> os.stat_result:
        raise OSError(number, os.strerror(number), str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", failing)
        with pytest.raises(meant, match=os.strerror(number)):
            resolving(registry, str(upstream))
        for asked in (
            lambda: registry.find(web.location, web.id),
            lambda: registry.tag(web, OURS),
            lambda: registry.given(web.location, f"{web.location}/{web.id}"),
            lambda: registry.copy(web, to=str(tmp_path / "two"), name="web-1", tags=OURS, token=""),
            lambda: registry.retire(web, image="web"),
            lambda: registry.is_same(web.location, str(tmp_path)),
        ):
            with pytest.raises(Transient):
                asked()
        assert set(registry.observe([web.location]).unreadable) == {web.location}


def test_a_source_that_can_not_be_is_the_person_s_to_mend(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()

    for url, why in (
        (f"/srv/{'x' * 300}", "File name too long"), (f"{tmp_path}/loop", "symbolic links"),
        (f"{tmp_path}/none", "no file on this machine"), (f"{tmp_path}/file/below", "no file on this machine"),
        ("isos/debian.iso", "is no source of a disk"),
        (str(tmp_path), "no file, but a folder"), ("/dev/null", "no file, but a folder, a pipe or a device"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=why):
            resolving(registry, url)


def test_folders_and_files_are_one_by_whatever_links_lead_there(
    registry: Registry, web: Artifact, store: Path, tmp_path: Path
) -> None:
    linked, beside, hard = tmp_path / "linked", tmp_path / "beside", tmp_path / "hard"
    linked.symlink_to(store)
    for folder in (beside, hard):
        folder.mkdir()
    (beside / web.id).symlink_to(store / web.id)

    assert registry.is_same(str(store), str(linked))
    assert registry.is_same(str(linked / ".." / "store"), str(store))
    assert not registry.is_same(str(store), str(beside))
    assert registry.is_same(str(store), str(beside), artifact_id=web.id)
    assert not registry.is_same(str(store), str(hard), artifact_id=web.id)
    assert not registry.is_same(str(store), str(tmp_path / "nowhere"), artifact_id=web.id)
    (hard / web.id).hardlink_to(store / web.id)
    assert not registry.is_same(str(store), str(hard), artifact_id=web.id), "either of them may go"


def test_a_folder_says_of_which_fleets_it_holds_disks(web: Artifact, store: Path, tmp_path: Path) -> None:
    # Given a bare folder in the place of ours, in which another fleet begins
    store.rename(tmp_path / "unmounted")
    theirs = open_registry("disk", Opening("acme/others", Settings()))
    stored(theirs, store, tmp_path, content=b"theirs", fleet="acme/others")
    ours = open_registry("disk", Opening(FLEET, Settings(), recorded=[str(store)]))

    # Then it is none of ours
    with pytest.raises(Transient, match="is it mounted"):
        ours.find(web.location, web.id)
    with pytest.raises(Transient, match="is it mounted"):
        stored(ours, store, tmp_path, content=b"newer")
    observed = ours.observe([str(store)])
    assert "is it mounted" in observed.unreadable[str(store)]
    assert "touch" in observed.hints[str(store)][0]

    # And where both have begun, it is of both
    begun = open_registry("disk", Opening(FLEET, Settings()))
    stored(begun, store, tmp_path, content=b"newer")
    assert (store / ".reconciler").read_text() == f"acme/others\n{FLEET}\n"
    assert ours.find(web.location, web.id) is None
    assert theirs.find(web.location, web.id) is None


@pytest.mark.parametrize("refused", [None, errno.EXDEV])
def test_holes_of_a_disk_take_no_room_where_it_is_kept(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int | None
) -> None:
    # Given a disk with a little in it, on a file system that knows of holes
    disk = tmp_path / "thin.raw"
    with disk.open("wb") as file:
        file.write(b"boot" * 1024)
        file.seek(24 << 20)
        file.write(b"root" * 1024)
        file.truncate(64 << 20)
    assert disk.stat().st_blocks * 512 < 1 << 20
    if refused is not None:

        def refuse(*_given: object) -> int:
            raise OSError(refused, os.strerror(refused))

        monkeypatch.setattr(os, "copy_file_range", refuse)

    # When it is stored and copied
    (one,) = registry.store(str(tmp_path / "one"), [Made("file.web", "", "", (str(disk),))], name="web-1", tags=OURS)
    two = registry.copy(one, to=str(tmp_path / "two"), name="web-1", tags=OURS, token="")

    # Then it is the same, and as small
    assert one.id == two == f"sha256:{hashlib.sha256(disk.read_bytes()).hexdigest()}"
    for kept in (tmp_path / "one" / one.id, tmp_path / "two" / two):
        assert kept.read_bytes() == disk.read_bytes()
        assert kept.stat().st_blocks * 512 < 1 << 20


def test_a_disk_that_was_touched_is_read_once_and_not_by_every_plan(
    registry: Registry, web: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(f"{web.location}/{web.id}", ns=(1, 1))
    assert [one.state for one in registry.observe([web.location]).artifacts] == ["available"]
    monkeypatch.setattr(files, "digest_of", lambda _: pytest.fail("it is read"))

    assert [one.state for one in registry.observe([web.location]).artifacts] == ["available"]


@pytest.fixture
def read_only(web: Artifact) -> Iterator[None]:
    """Nothing can be written any more where a disk is, by whomever: a root's folder is no obstacle to root."""
    folders_of = [web.location]

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        written = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        changes = written or event in ("os.mkdir", "os.rename", "os.remove")
        if changes and any(str(arguments[0]).startswith(one) for one in folders_of):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))

    sys.addaudithook(refuse)  # for good, so that it has nothing to refuse afterwards
    yield
    folders_of.clear()


def test_a_folder_that_is_read_only_is_seen_and_not_written_to(
    registry: Registry, web: Artifact, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Given a folder in which nothing can be written any more, and a disk that was touched
    os.utime(f"{web.location}/{web.id}", ns=(1, 1))
    before = sorted(Path(web.location).iterdir())

    request.getfixturevalue("read_only")

    assert [one.state for one in registry.observe([web.location]).artifacts] == ["available"]
    assert registry.given(web.location, f"{web.location}/{web.id}") == f"{web.location}/{web.id}"
    copied = registry.copy(web, to=str(tmp_path / "two"), name="web-1", tags=OURS, token="")
    assert copied == web.id
    for asked in (
        lambda: registry.tag(web, OURS),
        lambda: registry.retire(web, image="web"),
        lambda: stored(registry, Path(web.location), tmp_path, content=b"another"),
    ):
        with pytest.raises(Transient, match="Read-only file system"):
            asked()
    assert sorted(Path(web.location).iterdir()) == before


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o644)])
def test_a_disk_and_its_marks_are_for_the_same_people(
    registry: Registry, store: Path, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        kept = stored(registry, store, tmp_path, content=b"reviewed")
        registry.tag(kept, {"reconciler:phase": "stable"})
    finally:
        os.umask(before)

    assert [(store / name).stat().st_mode & 0o777 for name in (kept.id, f"{kept.id}.json")] == [mode, mode]


@pytest.mark.parametrize("url", ["{}/my disk.raw", "file://{}/my%20disk.raw", "file://{}/my disk.raw"])
def test_a_path_with_a_space_is_a_source(registry: Registry, tmp_path: Path, url: str) -> None:
    (tmp_path / "my disk.raw").write_bytes(b"reviewed")
    named = url.format(tmp_path)

    pin = registry.resolve(SourceRequest.model_validate({"disk": {"url": named}}), location="")

    given = DISK.given_of(pin, "/srv/images")
    assert given is not None
    assert registry.given("/srv/images", given) == named
