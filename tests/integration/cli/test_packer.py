"""What the verbs say of the Packer that is here, and of templates that ask for another."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.packer.binary import entry_of
from tests.integration.cli.conftest import TEMPLATE, Fleet, conforms
from tests.integration.packer.programs import speaks, write_program

REQUIRES = 'packer {\n  required_version = ">= 1.7.0"\n}\n'
PLUGIN = """packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.2"
    }
  }
}
"""


class Machine:
    """A machine with git, and a Packer of one version, with these plugins."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self.folder, self.fleet = folder / "machine", fleet
        self.folder.mkdir()
        git = next(Path(one) / "git" for one in os.environ["PATH"].split(":") if (Path(one) / "git").exists())
        for tool in (git, Path("/bin/sh")):
            (self.folder / tool.name).symlink_to(tool)

    def has_packer(self, version: str, *plugins: str) -> Path:
        names = " ".join(f"/p/packer-plugin-{one}_x5.0_linux_amd64" for one in plugins)
        listed = f'[ "$1" = plugins ] && for one in {names}; do echo $one; done; exit 0' if plugins else "exit 0"
        return write_program(self.folder, "packer", f"{speaks(version)}\n{listed}")

    def reconciler(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        here = {"PATH": str(self.folder), "PACKER_PLUGIN_PATH": "/p"}
        return self.fleet.command.run(
            *arguments, cwd=self.fleet.root, environment={**os.environ, **here, **environment}
        )

    def doctor(self, **environment: str) -> dict[str, Any]:
        """What `doctor` found out about Packer."""
        answer = json.loads(self.reconciler("doctor", "--json", **environment).stdout)
        conforms(answer, "reconciler doctor --json")
        checks = answer["checks"]
        found: dict[str, Any] = next(one for one in checks if one["subject"] == "packer")
        return found


@pytest.fixture
def machine(tmp_path: Path, fleet: Fleet) -> Machine:
    return Machine(tmp_path, fleet)


def test_validate_refuses_a_template_for_another_packer_with_both_versions(machine: Machine) -> None:
    program = machine.has_packer("1.6.6")
    machine.fleet.commit({"desired/web/web.pkr.hcl": REQUIRES + TEMPLATE})

    ended = machine.reconciler("validate")

    assert (ended.returncode, ended.stdout) == (1, "1 of 2 images invalid\n")
    assert ended.stderr.splitlines()[0] == (
        f"error: desired/web/web.pkr.hcl:2:3: the template requires Packer >= 1.7.0, and {program} is 1.6.6"
    )
    assert '1.16.0 or later, in this shell: `eval "$(reconciler packer --current --export)"`' in ended.stderr
    (problem,) = json.loads(machine.reconciler("validate", "--json").stdout)["problems"]
    assert (problem["path"], problem["line"], problem["column"]) == ("desired/web/web.pkr.hcl", 2, 3)


def test_what_the_hint_says_is_what_helps(machine: Machine, tmp_path: Path) -> None:
    machine.has_packer("1.6.6")
    amazon = '[ "$1" = plugins ] && echo /p/packer-plugin-amazon_v1.8.2_x5.0_linux_amd64; exit 0'
    current = write_program(tmp_path / "later", "packer", f"{speaks('1.16.0')}\n{amazon}")
    machine.fleet.commit({"desired/web/web.pkr.hcl": REQUIRES + TEMPLATE})
    both = f"{machine.folder}:{current.parent}"
    assert machine.reconciler("validate", PATH=both).returncode == 1

    exported = machine.reconciler("packer", "--current", "--export", PATH=both)

    (line,) = [one for one in exported.stdout.splitlines() if one.startswith("export PATH=")]
    assert machine.reconciler("validate", PATH=line.removeprefix("export PATH=")).returncode == 0


def test_a_template_that_the_current_packer_does_not_fit_is_not_sent_for_it(machine: Machine) -> None:
    machine.has_packer("1.16.0")
    machine.fleet.commit({"desired/web/web.pkr.hcl": REQUIRES.replace(">= 1.7.0", "< 1.10") + TEMPLATE})

    ended = machine.reconciler("validate")

    assert ended.returncode == 1
    assert "  put such a Packer first on the PATH: https://releases.hashicorp.com/packer\n" in ended.stderr
    assert "--current" not in ended.stderr


@pytest.mark.parametrize("version", ["1.7.0", "1.16.0"])
def test_validate_takes_a_template_that_fits(machine: Machine, version: str) -> None:
    machine.has_packer(version)
    machine.fleet.commit({"desired/web/web.pkr.hcl": REQUIRES + TEMPLATE})

    ended = machine.reconciler("validate")

    assert (ended.returncode, ended.stdout) == (0, "2 images valid\n")


def test_validate_refuses_required_plugins_where_packer_knows_none(machine: Machine) -> None:
    machine.has_packer("1.6.6")
    machine.fleet.commit({"desired/web/web.pkr.hcl": PLUGIN + TEMPLATE})

    ended = machine.reconciler("validate")

    assert ended.returncode == 1
    assert (
        "desired/web/web.pkr.hcl:3:5: the template has required_plugins, which Packer knows from 1.7.0" in ended.stderr
    )


def test_what_a_template_asks_of_packer_is_said_once_for_all_images_that_are_built_from_it(machine: Machine) -> None:
    """Given two images of one template that asks for another Packer in both ways, there is one error with its hint."""
    machine.has_packer("1.6.6")
    plugin = 'x = {\n      source = "github.com/a/x"\n      version = "1.0.0"\n    }'
    asks = f'packer {{\n  required_version = ">= 1.7.0"\n  required_plugins {{\n    {plugin}\n  }}\n}}\n'
    also = {"desired/api/image.yaml": "packer: {template: /desired/web}\nsource: {image: base}\n"}
    machine.fleet.commit({"desired/web/web.pkr.hcl": asks + TEMPLATE, **also})

    ended = machine.reconciler("validate")

    errors = [line for line in ended.stderr.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 2, ended.stderr
    assert errors[0].startswith("error: desired/web/web.pkr.hcl:2:3: the template requires Packer >= 1.7.0, and ")
    assert errors[1].strip() == ('1.16.0 or later, in this shell: `eval "$(reconciler packer --current --export)"`')
    assert ended.stdout == "2 of 3 images invalid\n"


def test_validate_asks_for_no_packer_where_no_template_does(machine: Machine) -> None:
    ended = machine.reconciler("validate")

    assert (ended.returncode, ended.stdout) == (0, "2 images valid\n")
    assert "compared with Packer" not in ended.stderr


def test_validate_without_packer_says_that_nothing_was_compared(machine: Machine) -> None:
    machine.fleet.commit({"desired/web/web.pkr.hcl": REQUIRES + TEMPLATE})

    ended = machine.reconciler("validate")

    assert (ended.returncode, ended.stdout) == (0, "2 images valid\n")
    assert "note: what the templates require was not compared with Packer: Packer is not installed" in ended.stderr


@pytest.mark.parametrize(
    ("script", "what"),
    [
        (speaks("1.5.6"), "{packer} is Packer 1.5.6; 1.6.0 or later is needed"),
        (None, "{packer} cannot be run: Exec format error"),
    ],
    ids=["too old", "broken"],
)
def test_validate_refuses_what_requires_a_packer_where_the_one_that_is_here_is_of_no_use(
    machine: Machine, script: str | None, what: str
) -> None:
    program = write_program(machine.folder, "packer", script or "")
    if script is None:
        program.write_bytes(b"\x7fELF, and no more")
    machine.fleet.commit({"desired/web/web.pkr.hcl": REQUIRES + TEMPLATE})

    ended = machine.reconciler("validate")

    assert (ended.returncode, ended.stdout) == (1, "1 of 2 images invalid\n")
    refused = f"the template requires Packer >= 1.7.0, and {what.format(packer=program)}"
    assert f"error: desired/web/web.pkr.hcl:2:3: {refused}" in ended.stderr


def test_without_packer_nothing_is_said_of_what_any_packer_in_use_knows(machine: Machine) -> None:
    """Given what came with 1.6.6, no note says that nothing was compared; a Packer of before that is told of."""
    rule = 'validation {\n    condition     = var.a != ""\n    error_message = "It is empty."\n  }\n'
    asks = f'variable "a" {{\n  default = "a"\n  {rule}}}\n'
    machine.fleet.commit({"desired/web/web.pkr.hcl": asks + TEMPLATE})

    assert "compared with Packer" not in machine.reconciler("validate").stderr

    machine.has_packer("1.6.5")
    ended = machine.reconciler("validate")
    assert ended.returncode == 1
    assert "web.pkr.hcl:3:3: the block validation in a variable is known to Packer from 1.6.6 on" in ended.stderr


@pytest.mark.parametrize("folder", ["cache others may write to", "several folders of plugins", "broken settings"])
def test_validate_is_no_success_where_packer_is_here_and_can_not_be_asked(machine: Machine, folder: str) -> None:
    """Given a Packer whose answer is not to be had, what asks for another one is not let through."""
    set_to: dict[str, str] = {}
    if folder == "broken settings":
        write_program(machine.folder, "packer", f'[ "$HOME" = /proc/none ] || exit 1\n{speaks("1.16.0")}')
    elif folder == "several folders of plugins":
        machine.has_packer("1.16.0")
        set_to = {"PACKER_PLUGIN_PATH": "/a:/b"}
    else:
        cache = machine.folder.parent / "cache"
        kept = cache / "reconciler" / "packer" / entry_of("1.16.0")
        write_program(kept, "packer", speaks("1.16.0")).chmod(0o777)
        set_to = {"XDG_CACHE_HOME": str(cache)}
    machine.fleet.commit({"desired/web/web.pkr.hcl": REQUIRES + TEMPLATE})

    ended = machine.reconciler("validate", **set_to)

    assert (ended.returncode, ended.stdout) == (1, "2 images valid; not compared with Packer\n"), ended.stderr
    first, *hint = ended.stderr.splitlines()
    assert first.startswith("error: what the templates require was not compared with Packer: ")
    assert hint
    answer = json.loads(machine.reconciler("validate", "--json", **set_to).stdout)
    assert (answer["valid"], len(answer["problems"]), sorted(answer["images"])) == (False, 1, ["base", "web"])


def test_a_plugin_that_is_yet_to_be_fetched_is_noted(machine: Machine) -> None:
    machine.has_packer("1.16.0", "amazon_v1.1.0")
    machine.fleet.commit({"desired/web/web.pkr.hcl": PLUGIN + TEMPLATE})

    ended = machine.reconciler("validate")

    assert ended.returncode == 0
    told = "`packer init` fetches github.com/hashicorp/amazon ~> 1.2 at the next build of web"
    assert f"note: {told}" in ended.stderr
    assert told in machine.doctor()["hint"]


def test_doctor_names_the_packer_with_its_plugins(machine: Machine) -> None:
    program = machine.has_packer("1.16.0", "amazon_v1.8.2", "ansible_v1.1.2")

    found = machine.doctor()

    assert (found["state"], found["what"]) == ("ok", f"1.16.0 at {program}; plugins: amazon 1.8.2, ansible 1.1.2")


def test_doctor_compares_with_what_the_templates_ask_for(machine: Machine) -> None:
    program = machine.has_packer("1.6.6")
    machine.fleet.commit({"desired/web/web.pkr.hcl": REQUIRES + TEMPLATE})

    found = machine.doctor()

    assert (found["state"], found["what"]) == ("trouble", f"1.6.6 at {program}")
    assert found["hint"][0] == (
        f"desired/web/web.pkr.hcl:2:3: the template requires Packer >= 1.7.0, and {program} is 1.6.6"
    )


def test_doctor_names_the_command_for_a_plugin_that_is_missing(machine: Machine) -> None:
    machine.has_packer("1.16.0", "docker_v1.0.0")

    found = machine.doctor()

    assert found["state"] == "trouble"
    assert "`packer plugins install github.com/hashicorp/amazon`" in found["hint"]


def test_a_program_of_that_name_that_came_first_is_noted(machine: Machine, tmp_path: Path) -> None:
    program = machine.has_packer("1.6.6")
    other = write_program(tmp_path / "first", "packer", "echo usage")

    found = machine.doctor(PATH=f"{other.parent}:{program.parent}")

    assert (found["state"], found["what"]) == ("note", f"1.6.6 at {program}")
    assert found["hint"] == [f'passed over: {other} is not Packer: asked for its version it printed "usage"']


def test_packer_prints_where_it_is(machine: Machine) -> None:
    program = machine.has_packer("1.6.6")

    assert machine.reconciler("packer").stdout == f"{program}\n"
    answer = json.loads(machine.reconciler("packer", "--json").stdout)
    conforms(answer, "reconciler packer --json")
    assert (answer["path"], answer["version"], answer["origin"]) == (str(program), "1.6.6", "PATH")
    assert (answer["plugins"], answer["environment"]) == ({}, {})
    assert answer["digest"].startswith("sha256:")
    assert machine.reconciler("packer", "--export").stdout == ""


def test_packer_needs_a_place_to_keep_one(machine: Machine) -> None:
    ended = machine.reconciler("packer", HOME="", XDG_CACHE_HOME="")

    assert ended.returncode == 1
    assert ended.stderr == "error: there is no place to keep Packer in: neither XDG_CACHE_HOME nor HOME is set\n"


def test_a_machine_has_the_plugins_that_the_fleets_templates_use(machine: Machine) -> None:
    # Given a Packer that brings no plugins and has two, and templates that use one each, and one of somebody else's
    machine.has_packer("1.16.0", "amazon_v1.8.2", "docker_v1.1.2")
    site = 'source "docker" "site" {\n  image = "debian:12"\n}\nbuild { sources = ["source.docker.site"] }\n'
    theirs = PLUGIN.replace("github.com/hashicorp/amazon", "github.com/acme/other").replace("amazon =", "other =")
    declared = {"desired/site/image.yaml": "locations: [registry.example.org/acme/site]\n"}
    machine.fleet.commit(
        {**declared, "desired/site/site.pkr.hcl": theirs + site, "desired/broken/t.pkr.hcl": "source {"}
    )

    # When a job asks for what they need
    ended = machine.reconciler("packer", "--for-fleet", "--json")

    # Then these are what is there, and what can't be read is told
    assert ended.returncode == 0, ended.stderr
    assert sorted(json.loads(ended.stdout)["plugins"]) == ["amazon", "docker"]
    assert "the templates of broken are not valid: their plugins are not looked for" in " ".join(ended.stderr.split())
    alone = machine.reconciler("packer", "--json")
    assert list(json.loads(alone.stdout)["plugins"]) == ["amazon"]


@pytest.mark.parametrize("step", ["puppet-masterless", "chef-solo", "salt-masterless", "inspec", "converge"])
def test_what_packer_once_had_and_this_one_lacks_is_said_before_a_build(machine: Machine, step: str) -> None:
    """Given a provisioner that 1.6.6 came with and 1.16.0 does not, `doctor` is troubled and `validate` notes it."""
    machine.has_packer("1.16.0", "amazon_v1.8.2")
    asks = f'build {{\n  sources = ["source.amazon-ebs.image"]\n  provisioner "{step}" {{\n  }}\n}}\n'
    machine.fleet.commit({"desired/web/web.pkr.hcl": TEMPLATE[: TEMPLATE.index("build {")] + asks})
    plugin = step.partition("-")[0]

    found, noted = machine.doctor(), machine.reconciler("validate")

    assert found["state"] == "trouble"
    assert any(f"Packer 1.16.0 lacks the plugin for {step}" in line for line in found["hint"]), found
    assert f"`packer plugins install github.com/hashicorp/{plugin}`" in found["hint"]
    assert (noted.returncode, noted.stdout) == (0, "2 images valid\n")
    assert f"web: Packer 1.16.0 lacks the plugin for {step}; `packer plugins install" in noted.stderr

    machine.has_packer("1.16.0", "amazon_v1.8.2", f"{plugin}_v1.0.1")
    assert machine.doctor()["state"] == "ok"
    machine.has_packer("1.6.6")
    assert machine.doctor()["state"] == "ok"


def test_a_plugin_that_is_kept_elsewhere_is_not_sent_for_at_hashicorps(machine: Machine) -> None:
    machine.has_packer("1.16.0", "amazon_v1.8.2")
    asks = 'build {\n  sources = ["source.amazon-ebs.image"]\n  post-processor "digitalocean-import" {\n  }\n}\n'
    machine.fleet.commit({"desired/web/web.pkr.hcl": TEMPLATE[: TEMPLATE.index("build {")] + asks})

    found = machine.doctor()

    assert found["state"] == "trouble"
    assert not any("packer plugins install" in line for line in found["hint"]), found
    assert any("digitalocean-import: add its plugin to required_plugins" in line for line in found["hint"]), found
