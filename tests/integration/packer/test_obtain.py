"""A Packer where there is none: where it is looked for, in which order, and what is said on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.packer import obtain as obtaining
from reconciler.build.packer.binary import find
from reconciler.build.packer.modules import Module
from reconciler.build.packer.obtain import CURRENT, Obtained, obtain
from reconciler.model.errors import Transient, UserError
from tests.integration.packer.programs import bare_path, disk_of_100_kb, speaks, write_program

OLD, NEW = "1.6.6", CURRENT.version
ENTRY = f"packer-{NEW}-linux_amd64"
CRACKLIB = "echo 'Usage: packer [dbname]' >&2; exit 255"

INSTALLS = """
folder="$PACKER_PLUGIN_PATH/github.com/hashicorp"
case "$*" in
"plugins installed")
  for one in "$folder"/*/*_x5.0_linux_amd64; do [ -e "$one" ] && echo "$one"; done; exit 0;;
"plugins install --path"*) name=$5 version=1.0.0;;
"plugins install"*) [ -e "$PLUGINS_CAN_BE_FETCHED" ] || { echo 'Get "https://x": no such host'; exit 1; }; name=$3;;
*) exit 2;;
esac
name=${name##*/}
mkdir -p "$folder/$name"
echo "$name" > "$folder/$name/packer-plugin-${name}_v1.0.0_x5.0_linux_amd64"
echo sum > "$folder/$name/packer-plugin-${name}_v1.0.0_x5.0_linux_amd64_SHA256SUM"
"""
"""What the commands of Packer about plugins do, as far as it matters here."""


def packer(version: str) -> str:
    return f"{speaks(version)}\n{INSTALLS}"


class Machine:
    """A machine without Packer, a network or Go, until a test gives it one. It remembers what it was asked for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.bin = bare_path(folder / "bin")
        self.cache = folder / "cache" / "reconciler" / "packer"
        self.environment = {
            "PATH": str(self.bin),
            "HOME": str(folder / "home"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PLUGINS_CAN_BE_FETCHED": str(folder / "fetchable"),
        }
        self.asked: list[str] = []
        self.told: list[str] = []
        self.release: str | Exception = Transient("releases.hashicorp.com can't be reached")
        self.modules: str | Exception = UserError("there is no Go", hint="install Go")

        def download(version: str, into: Path, **_: Any) -> None:
            self.asked.append(f"release {version}")
            self._make(self.release, into / "packer")

        def build(module: Module, into: Path, program: str, *_: Any, **__: Any) -> None:
            self.asked.append(f"modules {program}")
            self._make(self.modules, into / program)

        monkeypatch.setattr(obtaining, "download", download)
        monkeypatch.setattr(obtaining, "build", build)

    def _make(self, what: str | Exception, program: Path) -> None:
        if isinstance(what, Exception):
            raise what
        write_program(program.parent, program.name, what)

    def has_in_its_archive(self, script: str) -> None:
        """Make apt offer a package `packer` that holds this."""
        package = write_program(self.folder / "archive", "packer", script)
        write_program(self.bin, "apt-cache", "echo '  Candidate: 1.6.6+ds2-5'")
        write_program(self.bin, "apt-get", f"cp {package} {self.bin}/packer")

    def obtain(self, **options: Any) -> Obtained:
        return obtain(self.environment, tell=self.told.append, plugins=options.pop("plugins", ()), **options)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_one_on_the_path_is_taken_and_nobody_is_asked(machine: Machine) -> None:
    machine.has_in_its_archive(packer("1.7.0"))
    write_program(machine.bin, "packer", packer(OLD))

    found = machine.obtain()

    assert (found.binary.path, found.origin, found.environment) == (f"{machine.bin}/packer", "PATH", {})
    assert (machine.asked, machine.told) == ([], [])


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (CRACKLIB, 'is not Packer: asked for its version it printed "Usage: packer [dbname]"'),
        ("exit 127", "is not Packer: asked for its version it printed nothing"),
        (speaks("1.5.6"), "is Packer 1.5.6; 1.6.0 or later is needed"),
    ],
)
def test_another_program_of_that_name_is_told_and_the_search_goes_on(machine: Machine, script: str, told: str) -> None:
    write_program(machine.bin, "packer", script)
    machine.release = packer(NEW)

    found = machine.obtain()

    assert found.origin == "release"
    assert machine.told[0] == f"passed over: {machine.bin}/packer {told}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install")
def test_the_archive_comes_before_the_release(machine: Machine) -> None:
    machine.has_in_its_archive(packer(OLD))

    found = machine.obtain()

    assert (found.binary.version_text, found.origin) == (OLD, "archive")
    assert machine.asked == []
    assert machine.told == ["installing packer from this system's archive"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install")
def test_an_archive_that_fails_is_told_and_the_release_comes_next(machine: Machine) -> None:
    write_program(machine.bin, "apt-cache", "echo '  Candidate: 1.6.6+ds2-5'")
    write_program(machine.bin, "apt-get", "echo 'E: Unable to fetch some archives'; exit 100")
    machine.release = packer(NEW)

    found = machine.obtain()

    assert found.origin == "release"
    assert "apt-get could not install packer: Unable to fetch some archives" in machine.told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install")
def test_who_is_interrupted_while_apt_installs_waits_until_that_is_whole(machine: Machine) -> None:
    write_program(machine.bin, "apt-cache", "echo '  Candidate: 1.6.6+ds2-5'")
    write_program(machine.bin, "apt-get", f"kill -TERM $PPID; sleep 1; echo configured > {machine.folder}/state")

    ended = subprocess.run(
        [sys.executable, "-m", "reconciler", "packer"], env=machine.environment, capture_output=True, check=False
    )

    assert ended.returncode == 130
    assert (machine.folder / "state").read_text() == "configured\n"


def test_a_cache_that_may_not_be_read_is_told_and_the_path_is_looked_at(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    write_program(machine.bin, "packer", packer(OLD))
    monkeypatch.setattr(Path, "glob", forbidden)

    assert machine.obtain().origin == "PATH"
    (machine.bin / "packer").unlink()
    with pytest.raises(UserError, match="can't be read: Permission denied") as caught:
        find(machine.environment)
    assert "set HOME" in caught.value.hint[0]


def test_the_current_one_is_asked_of_no_archive(machine: Machine) -> None:
    machine.has_in_its_archive(packer(OLD))
    write_program(machine.bin, "packer", packer(OLD))
    machine.release = packer(NEW)

    found = machine.obtain(current=True)

    assert (found.binary.version_text, found.origin) == (NEW, "release")
    assert found.binary.path == str(machine.cache / ENTRY / "packer")
    assert found.environment == {"PATH": f"{machine.cache / ENTRY}:{machine.bin}"}


def test_the_modules_come_last_and_each_way_that_failed_was_told(machine: Machine) -> None:
    machine.modules = packer(NEW)

    found = machine.obtain()

    assert found.origin == "modules"
    assert machine.told == [
        "this system's archive has no Packer, or this user may not install it",
        "releases.hashicorp.com can't be reached",
    ]


def test_what_was_got_once_is_found_by_everybody_from_then_on(machine: Machine) -> None:
    machine.modules = packer(NEW)
    machine.obtain()

    again = machine.obtain()

    # By the reconciler; a shell finds it where it puts it first.
    assert (again.origin, again.environment) == ("cache", {"PATH": f"{machine.cache / ENTRY}:{machine.bin}"})
    assert machine.asked == ["release 1.16.0", "modules packer"]


def test_where_nothing_works_every_reason_is_given(machine: Machine) -> None:
    with pytest.raises(UserError, match="Packer could not be had") as caught:
        machine.obtain()

    assert caught.value.hint == (
        "this system's archive has no Packer, or this user may not install it",
        "releases.hashicorp.com can't be reached",
        "there is no Go",
        "install Go",
        "install it by hand, and put it on the PATH",
    )
    assert list(machine.cache.iterdir()) == []


def test_what_was_got_and_is_no_packer_is_not_kept(machine: Machine) -> None:
    machine.release = CRACKLIB

    with pytest.raises(UserError, match="Packer could not be had"):
        machine.obtain()

    assert list(machine.cache.iterdir()) == []


def test_a_damaged_one_is_told_and_made_anew(machine: Machine) -> None:
    machine.release = packer(NEW)
    machine.obtain()
    os.truncate(machine.cache / ENTRY / "packer", 10)
    machine.told.clear()

    found = machine.obtain()

    assert found.origin == "release"
    assert machine.told[0] == f"{machine.cache / ENTRY} is damaged: it is not what was put there; it is made anew"
    assert machine.obtain().origin == "cache"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_cache_of_somebody_else_is_refused_by_name(machine: Machine) -> None:
    machine.release = packer(NEW)
    machine.obtain()
    os.chown(machine.cache.parent, 65534, 65534)

    with pytest.raises(UserError, match=f"^{machine.cache.parent} belongs to nobody: nothing in it is run"):
        machine.obtain()


def test_without_a_home_there_is_no_place_to_keep_one(machine: Machine) -> None:
    del machine.environment["HOME"], machine.environment["XDG_CACHE_HOME"]

    with pytest.raises(UserError, match="no place to keep Packer in: neither XDG_CACHE_HOME nor HOME is set"):
        machine.obtain()


def test_of_two_at_once_one_gets_it_and_the_other_finds_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = threading.Event()
    found: list[Obtained] = []

    def tell(line: str) -> None:
        if "another process is at work" in line:
            waited.set()

    def download(version: str, into: Path, **_: Any) -> None:
        other = threading.Thread(target=lambda: found.append(obtain(machine.environment, tell=tell, plugins=())))
        others.append(other)
        other.start()
        assert waited.wait(60)
        write_program(into, "packer", packer(NEW))

    others: list[threading.Thread] = []
    monkeypatch.setattr(obtaining, "download", download)

    first = machine.obtain()
    others[0].join(60)

    assert first.origin == "release"
    assert [one.origin for one in found] == ["cache"]


def test_a_packer_that_brings_its_plugins_needs_none(machine: Machine) -> None:
    write_program(machine.bin, "packer", packer("1.9.5"))

    found = machine.obtain(plugins=("amazon",))

    assert (dict(found.plugins), found.environment) == ({}, {})


def test_a_plugin_comes_from_its_own_host(machine: Machine) -> None:
    write_program(machine.bin, "packer", packer(NEW))
    Path(machine.environment["PLUGINS_CAN_BE_FETCHED"]).touch()

    found = machine.obtain(plugins=("amazon", "ansible"))

    assert sorted(found.plugins) == ["amazon", "ansible"]
    assert found.plugins["amazon"].path.startswith(f"{machine.cache}/plugins/github.com/hashicorp/amazon/")
    assert found.environment == {"PACKER_PLUGIN_PATH": f"{machine.cache}/plugins"}
    assert machine.asked == []
    assert sorted(path.name for path in machine.cache.iterdir()) == ["plugins"]


def test_a_plugin_that_its_host_does_not_give_is_built_from_its_module(machine: Machine) -> None:
    write_program(machine.bin, "packer", packer(NEW))
    machine.modules = "a plugin"

    found = machine.obtain(plugins=("amazon",))

    assert found.plugins["amazon"].version == "1.0.0"
    assert machine.asked == ["modules packer-plugin-amazon"]
    assert machine.told == [
        f"installing the plugin amazon {obtaining.PLUGINS['amazon'].version}",
        'Packer could not fetch it: Get "https://x": no such host',
    ]


def test_a_plugin_that_is_there_is_not_asked_for_again(machine: Machine) -> None:
    write_program(machine.bin, "packer", packer(NEW))
    machine.modules = "a plugin"
    machine.obtain(plugins=("amazon",))
    machine.told.clear()

    machine.obtain(plugins=("amazon",))

    assert machine.told == []


def test_plugins_go_where_the_person_has_hers(machine: Machine) -> None:
    write_program(machine.bin, "packer", packer(NEW))
    machine.modules = "a plugin"
    mine = machine.folder / "mine"
    machine.environment["PACKER_PLUGIN_PATH"] = str(mine)

    found = machine.obtain(plugins=("amazon",))

    assert found.plugins["amazon"].path.startswith(f"{mine}/github.com/hashicorp/amazon/")


def test_a_folder_of_plugins_is_named_as_it_is_found_from_everywhere(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(machine.bin, "packer", packer(NEW))
    machine.modules = "a plugin"
    machine.environment["PACKER_PLUGIN_PATH"] = "mine"
    monkeypatch.chdir(machine.folder)

    assert machine.obtain(plugins=("amazon",)).environment == {"PACKER_PLUGIN_PATH": f"{machine.folder}/mine"}


@pytest.mark.parametrize("current", [False, True])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"PACKER_PLUGIN_PATH": "{folder}/file"}, "PACKER_PLUGIN_PATH names {folder}/file, which is no folder"),
        ({"PACKER_PLUGIN_PATH": "/a:/b"}, "PACKER_PLUGIN_PATH names several folders"),
        ({"XDG_CACHE_HOME": "{folder}/a:b"}, "{folder}/a:b/reconciler/packer/plugins has a : in it"),
    ],
)
def test_where_no_plugin_can_be_kept_no_packer_is_made(
    machine: Machine, settings: dict[str, str], told: str, *, current: bool
) -> None:
    (machine.folder / "file").touch()
    machine.environment |= {name: value.format(folder=machine.folder) for name, value in settings.items()}
    machine.release = packer(NEW)

    with pytest.raises(UserError) as caught:
        machine.obtain(plugins=("amazon",), current=current)

    assert caught.value.what.startswith(told.format(folder=machine.folder))
    assert caught.value.hint
    assert machine.asked == []


def test_what_answers_as_packer_and_keeps_no_plugin_is_told(machine: Machine) -> None:
    program = write_program(machine.bin, "packer", f"{speaks(NEW)}\nexit 0")

    with pytest.raises(UserError) as caught:
        machine.obtain(plugins=("amazon",))

    assert caught.value.what == f"{program} does not list the plugin amazon, which it was given"


@pytest.fixture
def small_disk(machine: Machine) -> Iterator[Path]:
    """A cache on a disk of 100 kB."""
    with disk_of_100_kb(machine.folder / "cache") as folder:
        yield folder


def test_a_full_disk_is_told_and_nothing_half_is_left(machine: Machine, small_disk: Path) -> None:
    machine.release = packer(NEW) + "#" * 200_000

    with pytest.raises(UserError, match="Packer could not be had") as caught:
        machine.obtain()

    assert any("No space left on device" in line for line in caught.value.hint)
    assert list((small_disk / "reconciler" / "packer").iterdir()) == []
