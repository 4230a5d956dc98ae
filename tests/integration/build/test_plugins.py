"""Plugins: what a template asks of Packer and of them, which ones are recorded, and what is said of those missing.

Packer is a script of a few lines here, which answers as the real one was seen to; `test_real_plugins` has the real one.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.build import Packer
from reconciler.build.packer.binary import Binary, examine
from reconciler.build.packer.diagnosis import Unknown
from reconciler.build.packer.fit import survey
from reconciler.build.packer.plugins import missing, plugin_folder, with_plugins
from reconciler.model.errors import Place, Transient, UserError
from reconciler.model.fleet import Image
from reconciler.ports.builder import BuildFailed
from reconciler.registries.ec2.dialect import AMI
from tests.integration.packer.programs import bare_path, speaks, write_program

TEMPLATE = {"web.pkr.hcl": "# the script reads nothing"}
ARTIFACT = """
echo '1795347917,file.web,artifact,0,builder-id,packer.file'
echo '1795347917,file.web,artifact,0,id,File'
echo '1795347917,file.web,artifact,0,end'
"""
AMAZON = {"amazon": "github.com/hashicorp/amazon >= 1.2.8"}
UNREACHED = r"""echo 'Failed getting the "github.com/hashicorp/amazon" plugin:'
printf '1 error occurred:\n\t* Get "https://api.github.com/x": dial tcp: lookup api.github.com: no such host\n\n'
exit 1"""


class Machine:
    """A Packer of one version with these plugins installed, in its own folder of the person's home."""

    def __init__(self, folder: Path, version: str, *plugins: str) -> None:
        self.folder, self.home = folder, folder / "home"
        self.plugins = self.home / ".config" / "packer" / "plugins"
        self.ran = folder / "ran"
        self.init, self.build = "exit 0", ARTIFACT
        self.version = version
        self.paths = [self.install(plugin) for plugin in plugins]
        self.environment = {"PATH": str(bare_path(folder / "bin")), "HOME": str(self.home)}

    def install(self, plugin: str, digest: str | None = None) -> Path:
        """Lay a plugin down as Packer does: `amazon 1.8.2`."""
        name, version = plugin.split()
        path = self.plugins / f"github.com/hashicorp/{name}/packer-plugin-{name}_v{version}_x5.0_linux_amd64"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(plugin)
        path.chmod(0o755)
        path.with_name(f"{path.name}_SHA256SUM").write_text(digest or hashlib.sha256(plugin.encode()).hexdigest())
        return path

    @property
    def binary(self) -> Binary:
        listed = "; ".join(f"echo {path}" for path in self.paths) or "true"
        program = write_program(
            self.folder / "bin", "packer",
            f'{speaks(self.version)}\necho "$1 $PACKER_PLUGIN_PATH" >> {self.ran}\n'
            f'case "$1" in\nplugins) {listed};;\ninit) {self.init};;\nbuild) {self.build};;\nesac',
        )  # fmt: skip
        return examine(str(program), self.environment)

    def commands(self) -> list[str]:
        return [line.split()[0] for line in self.ran.read_text().splitlines()] if self.ran.exists() else []


@pytest.fixture
def run(requests: Any, heard: Any, cancelled: threading.Event) -> Any:
    """Build `web` on a machine."""

    def build(machine: Machine, **asked: Any) -> Any:
        request = requests(
            asked.pop("files", TEMPLATE), builders=("file.web",), environment=machine.environment, **asked
        )
        return Packer(machine.binary).build(request, listener=heard, cancelled=cancelled)

    return build


def says(error: str) -> str:
    """What a build does that ends with an error of no build. `error` is escaped as Packer does."""
    return f"printf '%s\\n' '1795347917,,ui,error,{error}'; exit 1"


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_of_several_versions_the_newest_that_is_allowed_is_recorded(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0", "amazon 1.2.9", "amazon 1.10.0", "amazon 1.9.1", "amazon 2.0.0")

    result = run(machine, plugins={"amazon": "github.com/hashicorp/amazon ~> 1.2"})

    assert result.packer.plugins == {"amazon": "1.10.0"}
    assert result.packer.digests["amazon"] == digest("amazon 1.10.0")


def test_a_plugin_is_recorded_by_the_name_that_it_has_in_the_template(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0", "amazon 1.8.2")

    result = run(machine, plugins={"aws": "github.com/hashicorp/amazon >= 1"}, components=("aws-ebs",))

    assert result.packer.plugins == {"aws": "1.8.2"}


@pytest.mark.parametrize("source", ["github.com/acme/amazon", "acme.example/hashicorp/amazon"])
def test_another_plugin_of_the_same_name_is_neither_recorded_nor_enough(
    source: str, run: Any, requests: Any, tmp_path: Path
) -> None:
    machine, forked = Machine(tmp_path, "1.16.0", "amazon 1.8.2"), {"amazon": f"{source} ~> 1.8"}
    found: Image = requests({"web.pkr.hcl": ""}, builders=("file.web",), plugins=forked).image
    image = Image("web", found.folder, found.declaration, found.template, AMI, None, (), ())

    assert survey(machine.binary, [image], machine.environment).to_fetch == {f"{source} ~> 1.8": ("web",)}
    assert run(machine, plugins=forked).packer.plugins == {}


def test_plugins_that_nobody_required_are_recorded_for_the_components_that_they_have(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0", "amazon 1.8.1", "amazon 1.8.2", "ansible 1.1.2", "docker 1.0.0")

    result = run(machine, components=("amazon-ebs", "ansible-local", "shell", "file"))

    assert result.packer.plugins == {"amazon": "1.8.2", "ansible": "1.1.2"}
    assert result.packer.digests["ansible"] == digest("ansible 1.1.2")
    assert machine.commands() == ["plugins", "build"]


def test_a_packer_that_brings_its_plugins_records_those_that_are_required(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.9.5", "amazon 1.8.2", "ansible 1.1.2")

    result = run(machine, plugins=AMAZON, components=("amazon-ebs", "ansible"))

    assert result.packer.plugins == {"amazon": "1.8.2"}


@pytest.mark.parametrize("version", ["1.10.0", "1.16.0"])
def test_a_component_without_its_plugin_is_told_before_anything_is_started(
    run: Any, heard: Any, tmp_path: Path, version: str
) -> None:
    machine = Machine(tmp_path, version, "ansible 1.1.2")

    with pytest.raises(Transient, match=f"Packer {version} lacks the plugin for amazon-ebs") as caught:
        run(machine, components=("amazon-ebs", "ansible", "shell"))

    assert caught.value.hint == ("`packer plugins install github.com/hashicorp/amazon`",)
    assert heard.events == []
    assert "build" not in machine.commands()


def test_several_missing_plugins_are_told_together(run: Any, tmp_path: Path) -> None:
    with pytest.raises(Transient, match="lacks the plugins for amazon-ebs, ansible") as caught:
        run(Machine(tmp_path, "1.16.0"), components=("amazon-ebs", "ansible"))

    assert caught.value.hint == (
        "`packer plugins install github.com/hashicorp/amazon`",
        "`packer plugins install github.com/hashicorp/ansible`",
    )


UNKNOWN = "The provisioner goss is unknown by Packer%!(PACKER_COMMA) and is likely part of a plugin"


def test_a_component_that_packer_itself_finds_no_plugin_for_is_no_failure_of_the_image(
    run: Any, tmp_path: Path
) -> None:
    machine = Machine(tmp_path, "1.16.0", "amazon 1.8.2")
    machine.build = says(f'Error: Unknown provisioner type "goss"\\n\\n{UNKNOWN}\\n\\n')

    with pytest.raises(Transient, match=r"Packer 1\.16\.0 lacks the plugin for goss") as caught:
        run(machine, components=("amazon-ebs", "goss"))

    assert caught.value.hint[0].startswith("goss: add its plugin to required_plugins (https://developer.hashicorp.com/")


def test_a_slip_of_the_pen_is_a_failure_of_the_image(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0", "amazon 1.8.2")
    said = 'Error: Unknown provisioner type "shel"\\n\\nDid you mean to use "shell"?\\n\\n'
    machine.build = says(said)

    with pytest.raises(BuildFailed, match='Unknown provisioner type "shel": Did you mean to use "shell"'):
        run(machine, components=("amazon-ebs", "shel"))


@pytest.mark.parametrize(("version", "plugins"), [("1.16.0", ("amazon 1.8.2",)), ("1.9.5", ())])
def test_a_component_that_its_plugin_does_not_have_is_a_failure_of_the_image(
    run: Any, tmp_path: Path, version: str, plugins: tuple[str, ...]
) -> None:
    machine = Machine(tmp_path, version, *plugins)
    machine.build = says(
        f"Error: Unknown source type amazon-nonsense\\n\\n{UNKNOWN}\\n\\n".replace("goss", "amazon-nonsense")
    )

    with pytest.raises(BuildFailed, match="Packer cannot build it: Unknown source type amazon-nonsense"):
        run(machine, components=("amazon-nonsense",))


def test_a_plugin_that_cannot_be_fetched_is_told_with_why_and_with_the_command(
    run: Any, heard: Any, tmp_path: Path
) -> None:
    machine = Machine(tmp_path, "1.16.0")
    machine.init = UNREACHED

    with pytest.raises(Transient) as caught:
        run(machine, plugins=AMAZON)

    assert caught.value.what == (
        "Packer 1.16.0 lacks the plugin for github.com/hashicorp/amazon >= 1.2.8: `packer init` failed: "
        'Get "https://api.github.com/x": dial tcp: lookup api.github.com: no such host'
    )
    assert caught.value.hint == (
        "`packer plugins install github.com/hashicorp/amazon '>= 1.2.8'`",
        "if GitHub refuses: set PACKER_GITHUB_API_TOKEN, or keep the plugins in the CI's cache",
    )
    assert heard.events == []


def test_an_exact_pin_is_what_the_command_asks_for(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0", "amazon 1.8.2")
    machine.init = UNREACHED

    with pytest.raises(Transient) as caught:
        run(machine, plugins={"amazon": "github.com/hashicorp/amazon 1.3.2"})

    assert caught.value.hint[:2] == (
        "`packer plugins install github.com/hashicorp/amazon 1.3.2`",
        "or allow what is installed: github.com/hashicorp/amazon 1.8.2",
    )


def test_a_template_that_packer_refuses_at_its_init_is_a_failure_of_the_image(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0", "amazon 1.8.2")
    machine.init = (
        "printf 'Error: Unsupported block type\\n\\n  on web.pkr.hcl line 6, in bar:\\n\\nNot here.\\n'; exit 1"
    )

    with pytest.raises(BuildFailed, match="Packer cannot build it: Unsupported block type: Not here") as caught:
        run(machine, plugins=AMAZON)

    assert str(caught.value.where) == "desired/web/web.pkr.hcl:6"


def test_a_plugin_with_a_wrong_checksum_is_named_where_it_is_passed_over(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0")
    program = machine.install("amazon 1.8.2", digest="0" * 64)

    with pytest.raises(Transient, match="lacks the plugin for amazon-ebs") as caught:
        run(machine, components=("amazon-ebs",))

    assert caught.value.hint[-1] == (
        f"{program} is there, but not with the checksum beside it: Packer passes it over; remove it"
    )


def test_a_plugin_that_may_not_be_run_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0")
    program = machine.install("amazon 1.8.2")
    program.chmod(0o644)

    told = missing(machine.binary, Unknown(("amazon-ebs",)), machine.environment, where=Place("web.pkr.hcl"))

    assert told.hint[-1].startswith(f"{program} is there, but may not be run: `chmod +x ")


def test_a_file_in_the_place_of_the_plugin_folder_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0")
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match=r"PACKER_PLUGIN_PATH names .*/file, which is no folder"):
        with_plugins(machine.binary, {**machine.environment, "PACKER_PLUGIN_PATH": str(tmp_path / "file")})


def test_a_plugin_in_the_shared_folder_that_is_somebody_elses_is_not_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0")
    without = {name: value for name, value in machine.environment.items() if name != "PACKER_PLUGIN_PATH"}
    environment = {**without, "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    program = Path(with_plugins(machine.binary, environment)["PACKER_PLUGIN_PATH"], "packer-plugin-acme_v1.0.0_x5.0")
    program.touch(mode=0o777)
    program.chmod(0o777)

    with pytest.raises(UserError, match="may be written by others: nothing in it is run"):
        with_plugins(machine.binary, environment)


def test_it_is_named_too_where_it_is_required_and_will_be_fetched(requests: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0")
    program = machine.install("amazon 1.8.2", digest="0" * 64)
    found: Image = requests({"web.pkr.hcl": ""}, builders=("file.web",), plugins=AMAZON).image
    image = Image("web", found.folder, found.declaration, found.template, AMI, None, (), ())

    surveyed = survey(machine.binary, [image], machine.environment)

    assert list(surveyed.to_fetch.values()) == [("web",)]
    (said,) = surveyed.damaged
    assert said.startswith(f"{program} is there, but not with the checksum beside it")


@pytest.mark.parametrize(
    ("version", "wanted"), [("1.6.6", ">= 1.7.0"), ("1.16.0", ">= 1.17"), ("1.16.0", "~> 1.15.0"), ("1.9.5", "< 1.9")]
)
def test_a_template_for_another_packer_is_refused_with_both_versions(
    run: Any, heard: Any, tmp_path: Path, version: str, wanted: str
) -> None:
    machine = Machine(tmp_path, version)

    with pytest.raises(UserError, match="the template requires Packer ") as caught:
        run(machine, required_version=wanted)

    assert caught.value.what == f"the template requires Packer {wanted}, and {machine.binary.path} is {version}"
    assert caught.value.where is not None
    assert heard.events == []
    assert machine.commands() == []


def test_required_plugins_are_refused_by_a_packer_that_knows_none(run: Any, heard: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the template has required_plugins, which Packer knows from 1\.7\.0 on, and "):
        run(Machine(tmp_path, "1.6.6"), plugins=AMAZON)

    assert heard.events == []


def test_all_builds_share_one_folder_of_plugins_where_the_person_has_none(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0")

    run(machine, plugins=AMAZON)

    shared = machine.home / ".cache" / "reconciler" / "packer" / "plugins"
    assert shared.is_dir()
    assert machine.ran.read_text() == f"init {shared}\nplugins {shared}\nbuild {shared}\n"


def test_the_persons_own_plugins_are_used_where_there_are_some(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0", "amazon 1.8.2")

    run(machine, plugins=AMAZON)

    assert machine.ran.read_text() == "init \nplugins \nbuild \n"
    assert not (machine.home / ".cache").exists()


@pytest.mark.parametrize(
    ("version", "environment", "folder"),
    [
        ("1.16.0", {"PACKER_PLUGIN_PATH": "/p"}, "/p"),
        ("1.9.5", {"PACKER_PLUGIN_PATH": "/o:/p"}, "/p"),
        ("1.16.0", {"PACKER_CONFIG_DIR": "HOME"}, "HOME/.packer.d/plugins"),
        ("1.16.0", {"XDG_CONFIG_HOME": "HOME/.packer.d"}, "HOME/.packer.d/packer/plugins"),
        ("1.16.0", {"HOME": "/h"}, "/h/.cache/reconciler/packer/plugins"),
        ("1.16.0", {"HOME": "/h", "XDG_CACHE_HOME": "/c"}, "/c/reconciler/packer/plugins"),
        ("1.16.0", {}, None),
    ],
)
def test_the_folder_is_the_one_that_packer_looks_into(
    tmp_path: Path, version: str, environment: dict[str, str], folder: str | None
) -> None:
    home = tmp_path / "home"
    for place in (home / ".packer.d/plugins", home / ".packer.d/packer/plugins"):
        (place / "github.com/hashicorp/amazon").mkdir(parents=True)
        (place / "github.com/hashicorp/amazon/packer-plugin-amazon_v1").touch()
    given = {name: value.replace("HOME", str(home)) for name, value in environment.items()}
    if "XDG_CONFIG_HOME" in given:
        given["HOME"] = str(tmp_path)
    binary = Binary("/bin/packer", examine(str(write_program(tmp_path, "packer", speaks(version))), {}).version)

    found = plugin_folder(binary, given)

    assert found == (Path(folder.replace("HOME", str(home))) if folder else None)


def test_a_list_of_folders_is_refused_where_packer_takes_one(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.11.0")
    machine.environment["PACKER_PLUGIN_PATH"] = f"{tmp_path}/a:{tmp_path}/b"

    with pytest.raises(UserError, match=r"^PACKER_PLUGIN_PATH names several folders, and Packer 1\.11\.0 takes one"):
        run(machine)


def test_a_folder_that_is_named_from_here_is_found_from_where_packer_runs(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, "1.16.0")
    machine.environment["PACKER_PLUGIN_PATH"] = "mine"
    monkeypatch.chdir(tmp_path)

    run(machine)

    assert machine.ran.read_text() == f"plugins {tmp_path}/mine\nbuild {tmp_path}/mine\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_shared_folder_of_somebody_else_is_refused(run: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1.16.0")
    run(machine, plugins=AMAZON)
    shared = machine.home / ".cache" / "reconciler" / "packer" / "plugins"
    os.chown(shared, 65534, 65534)

    with pytest.raises(UserError, match=f"^{shared} belongs to nobody: nothing in it is run"):
        run(machine, plugins=AMAZON)


def test_a_survey_says_of_each_image_what_keeps_it_from_being_built(requests: Any, tmp_path: Path) -> None:
    def image(name: str, **asked: Any) -> Image:
        found: Image = requests({f"{name}.pkr.hcl": ""}, builders=("file.web",), **asked).image
        return Image(name, found.folder, found.declaration, found.template, AMI, None, (), ())

    machine = Machine(tmp_path, "1.16.0", "amazon 1.8.2")
    images = [
        image("fits", components=("amazon-ebs",)),
        image("newer", required_version=">= 1.17"),
        image("lacks", components=("docker",)),
        image("fetches", plugins={"amazon": "github.com/hashicorp/amazon >= 2"}),
        image("fetches-too", plugins={"amazon": "github.com/hashicorp/amazon >= 2"}),
    ]

    found = survey(machine.binary, images, machine.environment)

    assert [(plugin.name, plugin.version) for plugin in found.installed] == [("amazon", "1.8.2")]
    assert {name: [error.what for error in errors] for name, errors in found.refused.items()} == {
        "newer": [f"the template requires Packer >= 1.17, and {machine.binary.path} is 1.16.0"]
    }
    assert {name: error.what for name, error in found.lacking.items()} == {
        "lacks": "Packer 1.16.0 lacks the plugin for docker"
    }
    assert found.to_fetch == {"github.com/hashicorp/amazon >= 2": ("fetches", "fetches-too")}
