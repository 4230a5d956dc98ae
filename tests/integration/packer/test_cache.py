"""What is kept for Packer: whole or not at all, and run only where nobody else could have put it there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.build.packer.cache import cache_folder, find_program, locked, made_entry, made_folder, unfinished
from reconciler.model.errors import Transient, UserError

ENTRY = "packer-1.16.0-linux_amd64"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return made_folder(tmp_path / "reconciler" / "packer")


def keep(cache: Path, content: str = "a program") -> Path:
    with locked(cache), made_entry(cache, ENTRY, "packer") as made:
        (made / "packer").write_text(content)
    return cache / ENTRY / "packer"


def found(cache: Path) -> Path | None:
    return find_program(cache, ENTRY, "packer")


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/reconciler/packer"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/reconciler/packer"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/reconciler/packer"),
        ({"HOME": "/h"}, "/h/.cache/reconciler/packer"),
        ({"HOME": ""}, None),
        ({}, None),
    ],
)
def test_the_cache_is_where_the_xdg_specification_has_it(environment: dict[str, str], folder: str | None) -> None:
    assert cache_folder(environment) == (Path(folder) if folder else None)


def test_what_is_kept_is_found_and_can_be_run(cache: Path) -> None:
    kept = keep(cache)

    assert found(cache) == kept
    assert os.access(kept, os.X_OK)


def test_an_empty_cache_has_nothing(cache: Path) -> None:
    assert found(cache) is None


@pytest.mark.parametrize("damage", ["cut off", "changed", "without its note", "note is no JSON", "note says nothing"])
def test_an_entry_that_is_not_what_was_put_there_is_not_run(cache: Path, damage: str) -> None:
    kept = keep(cache)
    note = kept.with_name("made.json")
    match damage:
        case "cut off":
            os.truncate(kept, 3)
        case "changed":
            kept.write_text("b program")
        case "without its note":
            note.unlink()
        case "note is no JSON":
            note.write_text("{")
        case "note says nothing":
            note.write_text("[]")

    with pytest.raises(UserError, match=f"{ENTRY} is damaged: it is not what was put there"):
        found(cache)


def test_a_damaged_entry_is_replaced_by_a_new_one(cache: Path) -> None:
    os.truncate(keep(cache), 3)

    kept = keep(cache, "made anew")

    assert found(cache) == kept
    assert kept.read_text() == "made anew"
    assert [path.name for path in cache.iterdir()] == [ENTRY]


def test_a_making_that_fails_leaves_the_entry_that_was_there(cache: Path) -> None:
    kept = keep(cache)

    with pytest.raises(UserError), locked(cache), made_entry(cache, ENTRY, "packer") as made:
        (made / "other").write_text("and no program")

    assert found(cache) == kept
    assert [path.name for path in cache.iterdir()] == [ENTRY]


def test_what_a_killed_process_left_half_made_is_swept_by_the_next(cache: Path) -> None:
    subprocess.run(
        [
            "python3",
            "-c",
            f"import os, tempfile; tempfile.mkdtemp(prefix='.unfinished-', dir={str(cache)!r}); os._exit(9)",
        ],
        check=False,
    )
    assert list(cache.iterdir()) != []

    with locked(cache):
        assert list(cache.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("whose", ["the folder", "the entry", "the program", "its note"])
def test_what_somebody_else_owns_is_refused_by_name(cache: Path, whose: str) -> None:
    kept = keep(cache)
    path = {"the folder": cache, "the entry": kept.parent, "the program": kept, "its note": kept.with_name("made.json")}
    os.chown(path[whose], 65534, 65534)

    with pytest.raises(UserError, match=f"^{path[whose]} belongs to nobody: nothing in it is run") as caught:
        found(cache)

    assert caught.value.hint == ("remove it, or set XDG_CACHE_HOME to a folder of yours",)


@pytest.mark.parametrize("what", ["the folder", "the program"])
def test_what_others_may_write_is_refused(cache: Path, what: str) -> None:
    kept = keep(cache)
    path = cache if what == "the folder" else kept
    path.chmod(0o777)

    with pytest.raises(UserError, match=f"^{path} may be written by others: nothing in it is run"):
        found(cache)


@pytest.fixture
def generous() -> Iterator[None]:
    """The umask that users of Ubuntu have: what they make, their group may write."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("generous")
def test_what_is_made_where_a_group_may_write_by_default_is_its_owners_alone(tmp_path: Path) -> None:
    cache = cache_folder({"XDG_CACHE_HOME": str(tmp_path / "caches")})
    assert cache is not None

    kept = keep(made_folder(cache))
    with locked(cache / "plugins"):
        made_folder(cache / "plugins")

    assert found(cache) == kept
    assert not [path for path in (tmp_path / "caches").rglob("*") if path.stat().st_mode & 0o022]


def test_a_folder_that_a_group_may_write_is_refused_with_the_command_that_fixes_it(cache: Path) -> None:
    cache.parent.chmod(0o775)

    with pytest.raises(UserError, match=f"^{cache.parent} may be written by others") as caught:
        made_folder(cache)

    assert caught.value.hint == (f"`chmod go-w {cache.parent}`, or set XDG_CACHE_HOME to a folder of yours",)


def test_in_a_user_namespace_a_folder_above_that_has_no_owner_there_is_none_of_somebody_else(
    cache: Path, tmp_path: Path
) -> None:
    """As in a rootless container: what root owns outside is shown as of nobody."""
    code = "import sys; from pathlib import Path; from reconciler.build.packer.cache import refuse_foreign as look; "
    inside = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code + "look(Path(sys.argv[1]))"]
    if subprocess.run([*inside[:3], "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel gives nobody a user namespace")
    outside = tmp_path / "of-somebody-outside"
    outside.mkdir()
    moved = cache.parent.rename(outside / "reconciler")
    if os.geteuid() == 0:
        os.chown(outside, 4242, 4242)

    told = subprocess.run([*inside, str(moved / cache.name)], capture_output=True, text=True, check=False)

    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("whose", ["owned", "open to all"])
def test_a_cache_in_a_folder_of_somebody_else_is_refused(cache: Path, tmp_path: Path, whose: str) -> None:
    # Given a folder above whose owner, or anybody, puts another cache in the place of this one
    keep(cache)
    if whose == "open to all":
        tmp_path.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
    else:
        pytest.skip("only root can give files away")

    for look in (found, made_folder):
        with pytest.raises(UserError, match=f"is in {tmp_path}, which .*: nothing in it is run") as caught:
            look(cache)
        assert caught.value.hint == ("set XDG_CACHE_HOME to a folder of yours",)

    # But one where each may remove what is his own alone, such as /tmp, is nobody's to swap
    if os.geteuid() == 0:
        os.chown(tmp_path, 0, 0)
    tmp_path.chmod(0o1777)
    assert found(cache) is not None


def test_a_link_to_somewhere_else_is_refused(cache: Path, tmp_path: Path) -> None:
    kept = keep(cache)
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UserError, match=f"^{kept} is a symbolic link: nothing in it is run"):
        found(cache)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "reconciler").write_text("a file, where a folder is needed")

    with pytest.raises(UserError, match=r"the cache can't be written: .*: (Not a directory|File exists)"):
        made_folder(tmp_path / "reconciler" / "packer")


def test_two_at_once_wait_for_each_other_and_say_so(cache: Path) -> None:
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        def tell(line: str) -> None:
            order.append(line)
            waits.set()

        with locked(cache, tell=tell):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(cache):
        thread.start()
        assert waits.wait(60)
        order.append("first")
    thread.join(60)

    assert order == [f"another process is at work in {cache}; waiting for it", "first", "second"]


def test_who_waits_can_be_interrupted(cache: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()

    with (
        locked(cache),
        pytest.raises(Transient, match="interrupted while waiting for another process"),
        locked(cache, cancelled=cancelled),
    ):
        pytest.fail("there can only be one")


def test_nothing_is_left_of_what_was_not_finished(cache: Path) -> None:
    with locked(cache), unfinished(cache) as made:
        (made / "plugins").mkdir()
        (made / "plugins" / "half").write_text("x")

    assert list(cache.iterdir()) == []
