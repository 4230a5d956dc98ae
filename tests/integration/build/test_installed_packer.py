"""Finding Packer, and being told plainly when it is not there, too old, or something else."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.build import Packer
from reconciler.build.packer.binary import Misconfigured, find
from reconciler.model.errors import Transient, UserError
from reconciler.ports.builder import BuildFailed


def install(folder: Path, script: str) -> dict[str, str]:
    """Put a program named packer on a PATH that has no other; returns that environment."""
    folder.mkdir(exist_ok=True)
    program = folder / "packer"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": str(folder), "HOME": str(folder)}


def speaks(version: str) -> str:
    return f"case \"$*\" in *version) echo '1795347917,,version,{version}'; exit 0;; esac"


@pytest.mark.packer
def test_the_installed_packer_is_found_with_its_version() -> None:
    binary = find(os.environ)

    assert Path(binary.path).is_absolute()
    assert binary.version >= (1, 6, 0)


def test_a_packer_that_is_not_installed_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="Packer is not installed: no `packer` on the PATH\n  get one: `reconciler packer`"
    ):
        find({"PATH": str(tmp_path)})


def test_a_given_packer_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no Packer at /nowhere/packer"):
        find(os.environ, given=Path("/nowhere/packer"))


def test_a_packer_that_is_too_old_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is Packer 1\.5\.6; 1\.6\.0 or later is needed"):
        find(install(tmp_path, speaks("1.5.6")))


@pytest.mark.parametrize("version", ["1.16.0", "1.9.0-dev", "v1.7.0"])
def test_versions_are_read_with_and_without_ornaments(tmp_path: Path, version: str) -> None:
    assert find(install(tmp_path, speaks(version))).version >= (1, 7, 0)


def test_another_program_of_that_name_is_named_with_what_it_printed(tmp_path: Path) -> None:
    environment = install(
        tmp_path, "echo 'usage: packer DICTIONARY token ghp_0123456789012345678901234567890123456789'"
    )

    with pytest.raises(UserError, match=r'printed "usage: packer DICTIONARY token <redacted>"'):
        find(environment)


def test_a_program_that_prints_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="printed nothing"):
        find(install(tmp_path, "exit 0"))


def test_a_program_that_prints_without_end_is_ended_and_told(tmp_path: Path) -> None:
    environment = install(tmp_path, f"echo $$ > {tmp_path}/pid; while :; do echo 'a word of the dictionary'; done")

    with pytest.raises(UserError, match='is not Packer: asked for its version it printed "a word of the dictionary"'):
        find(environment)

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("entry", ["", ".", "bin"])
def test_what_a_repository_has_of_that_name_is_not_run(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    install(tmp_path / entry, f"touch {tmp_path}/ran\n{speaks('1.9.5')}")
    theirs = install(tmp_path / "theirs", speaks("1.16.0"))["PATH"]

    binary = find({"PATH": f"{entry}:{theirs}"})

    assert binary.path == f"{theirs}/packer"
    assert not (tmp_path / "ran").exists()


def test_another_program_of_that_name_is_passed_over_for_the_one_behind_it(tmp_path: Path) -> None:
    first = install(tmp_path / "first", "echo 'usage: packer DICTIONARY'")["PATH"]
    second = install(tmp_path / "second", "exit 3")["PATH"]
    third = install(tmp_path / "third", speaks("1.9.5"))["PATH"]

    binary = find({"PATH": f"{first}:{second}:{third}"})

    assert (binary.path, binary.version) == (f"{third}/packer", (1, 9, 5))
    assert binary.passed_over == (
        f'{first}/packer is not Packer: asked for its version it printed "usage: packer DICTIONARY"',
        f"{second}/packer is not Packer: asked for its version it printed nothing",
    )


# What Packer reads before it is asked anything, and ends at; the first word that it then says.
BROKEN_SETTINGS = {
    "a file of settings that is none": ({"PACKER_CONFIG": "{folder}/settings"}, "invalid character"),
    "one of the person's": ({"HOME": "{folder}"}, "invalid character"),
    "no such file": ({"PACKER_CONFIG": "/nowhere/settings"}, "/nowhere/settings"),
    "a home that is no folder": ({"HOME": "/etc/passwd"}, "not a directory"),
    "nowhere to log to": ({"PACKER_LOG": "1", "PACKER_LOG_PATH": "/nowhere/log"}, "/nowhere/log"),
}


@pytest.mark.packer
@pytest.mark.parametrize(("settings", "said"), BROKEN_SETTINGS.values(), ids=BROKEN_SETTINGS)
def test_a_packer_that_can_not_read_its_settings_is_no_other_program_and_no_other_version_serves(
    packer_on_path: str | None, tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    for name in ("settings", ".packerconfig"):
        (tmp_path / name).write_text("{bad")
    other = install(tmp_path / "other", speaks("1.9.5"))["PATH"]
    folder = str(Path(find(os.environ).path).parent)
    set_to = {name: value.format(folder=tmp_path) for name, value in settings.items()}

    def told() -> str:
        try:
            return find({**os.environ, "PATH": f"{folder}:/usr/bin:/bin:{other}", **set_to}).path
        except Misconfigured as error:
            return error.what

    # Some of them are looked at only when it builds
    packer = f"{folder}/packer"
    told_by = re.escape(packer) + rf"(?: is Packer 1.* settings: .*{re.escape(said)}.*)?"
    assert re.fullmatch(told_by, told())


def test_where_none_can_be_used_each_is_named_and_first_what_is_a_packer(tmp_path: Path) -> None:
    first = install(tmp_path / "first", "echo 'usage: packer DICTIONARY'")["PATH"]
    second = install(tmp_path / "second", speaks("1.5.6"))["PATH"]

    with pytest.raises(UserError) as caught:
        find({"PATH": f"{first}:{second}"})

    assert caught.value.what == f"{second}/packer is Packer 1.5.6; 1.6.0 or later is needed"
    assert caught.value.hint[0].startswith(f"{first}/packer is not Packer")


PLUGIN_TEMPLATE = {"web.pkr.hcl": "# the fake reads nothing"}
PLUGINS = {"amazon": "github.com/hashicorp/amazon >= 1.2"}

BUILDS = """
echo '1795347917,file.web,artifact,0,builder-id,packer.file'
echo '1795347917,file.web,artifact,0,id,File'
echo '1795347917,file.web,artifact,0,end'
"""
PLUGIN = "github.com/hashicorp/amazon/packer-plugin-amazon_v1.8.2_x5.0_linux_amd64"


def test_plugins_are_installed_first_and_their_versions_and_digests_recorded(
    requests: Any, heard: Any, cancelled: threading.Event, tmp_path: Path
) -> None:
    (tmp_path / PLUGIN).parent.mkdir(parents=True)
    (tmp_path / PLUGIN).write_bytes(b"a plugin")
    script = f"""{speaks("1.16.0")}
echo "$*" >> {tmp_path}/commands
case "$1" in plugins) echo {tmp_path}/{PLUGIN};; build) {BUILDS};; esac"""
    environment = install(tmp_path / "bin", script)
    request = requests(PLUGIN_TEMPLATE, builders=("file.web",), plugins=PLUGINS, environment=environment)

    result = Packer(find(environment)).build(request, listener=heard, cancelled=cancelled)

    assert result.packer.version == "1.16.0"
    assert result.packer.plugins == {"amazon": "1.8.2"}
    packer = (tmp_path / "bin" / "packer").read_bytes()
    assert result.packer.digests == {
        "amazon": f"sha256:{hashlib.sha256(b'a plugin').hexdigest()}",
        "packer": f"sha256:{hashlib.sha256(packer).hexdigest()}",
    }
    commands = [line.split()[0] for line in (tmp_path / "commands").read_text().splitlines()]
    assert commands == ["init", "plugins", "build"]


def test_plugins_that_cannot_be_fetched_are_worth_another_try(
    requests: Any, heard: Any, cancelled: threading.Event, tmp_path: Path
) -> None:
    environment = install(tmp_path / "bin", f"{speaks('1.16.0')}\necho '403 API rate limit exceeded' >&2; exit 1")
    request = requests(PLUGIN_TEMPLATE, builders=("file.web",), plugins=PLUGINS, environment=environment)

    with pytest.raises(Transient, match="`packer init` failed: 403 API rate limit exceeded") as caught:
        Packer(find(environment)).build(request, listener=heard, cancelled=cancelled)

    assert caught.value.hint == ("`packer plugins install github.com/hashicorp/amazon '>= 1.2'`",)

    assert list(request.run_folder.iterdir()) == []


def test_a_packer_that_prints_garbage_is_a_failure_that_says_so(
    requests: Any, heard: Any, cancelled: threading.Event, tmp_path: Path
) -> None:
    environment = install(tmp_path / "bin", f"{speaks('1.16.0')}\nprintf 'hello \\377\\000 world\\n'")
    request = requests(PLUGIN_TEMPLATE, builders=("file.web",), environment=environment)

    with pytest.raises(BuildFailed, match="does not speak as Packer does") as caught:
        Packer(find(environment)).build(request, listener=heard, cancelled=cancelled)

    assert caught.value.cause == "not-packer"


def test_a_packer_that_somebody_kills_is_told_from_a_failed_build(
    requests: Any, heard: Any, cancelled: threading.Event, tmp_path: Path
) -> None:
    environment = install(tmp_path / "bin", f"{speaks('1.16.0')}\nkill -9 $$")
    request = requests(PLUGIN_TEMPLATE, builders=("file.web",), environment=environment)

    with pytest.raises(BuildFailed, match="Packer died by signal 9") as caught:
        Packer(find(environment)).build(request, listener=heard, cancelled=cancelled)

    assert (caught.value.cause, caught.value.cleaned_up) == ("killed", False)
