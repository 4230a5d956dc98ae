"""The files that feed a build, and the ones that a template reads although nobody said so."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.desired.packer.template import Setting, parse_template, read_template
from reconciler.model.fleet import Fleet
from reconciler.plan.key import of_inputs
from tests.unit.desired.conftest import BUILDER, COMPLETE

Read = Callable[..., Fleet]


def steps(*lines: str) -> Any:
    """A template with these lines from the fourth on, and the variables they use, whose values are unknown."""
    body = "".join(f"  {one}\n" for one in lines)
    used = dict.fromkeys(re.findall(r"var\.(\w+)", body))
    variables = "".join(f'variable "{name}" {{ default = env("X") }}\n' for name in used)
    return f'\nbuild {{\n  sources = ["source.amazon-ebs.a"]\n{body}}}\n{BUILDER}{variables}'


def inputs(fleet: Fleet) -> Any:
    assert not fleet.problems, {name: [str(one) for one in found] for name, found in fleet.problems.items()}
    return [one.path for one in fleet.images["web"].inputs]


def problem(fleet: Fleet) -> Any:
    (found,) = fleet.problems["web"]
    return str(found)


def test_inputs_are_the_folder_and_what_is_named_each_once_and_without_image_yaml(web: Read) -> None:
    yaml = "packer:\n  inputs: [../../roles/base, /roles/base/a.yml, ../shared]\n  var_files: [/vars/x.pkrvars.hcl]\n"
    files = {
        "desired/web/files/b": "",
        "desired/web/files/image.yaml": "",
        "desired/shared/s.sh": "",
        "roles/base/a.yml": "",
        "roles/other/c.yml": "",
        "vars/x.pkrvars.hcl": "",
    }
    assert inputs(web(yaml, COMPLETE, files=files)) == [
        "../../roles/base/a.yml",
        "../../vars/x.pkrvars.hcl",
        "../shared/s.sh",
        "files/b",
        "files/image.yaml",
        "web.pkr.hcl",
    ]


def test_renaming_a_folder_changes_no_input(read: Read) -> None:
    files = {"image.yaml": "packer: {inputs: [../../roles]}", "t.pkr.hcl": COMPLETE}
    one, two = (
        read({f"desired/{name}/{file}": text for file, text in files.items()} | {"roles/x": ""}).images[name].inputs
        for name in ("web", "renamed")
    )
    assert one == two


def test_links_and_submodules_count_by_their_own_ids(read: Read) -> None:
    fleet = read(
        {"desired/web/t.pkr.hcl": COMPLETE, "desired/web/link": "target", "desired/web/sub": "c0ffee"},
        {"desired/web/link": "120000", "desired/web/sub": "160000"},
    )
    assert [(one.path, one.mode) for one in fleet.images["web"].inputs] == [
        ("link", "120000"),
        ("sub", "160000"),
        ("t.pkr.hcl", "100644"),
    ]


def test_what_a_link_leads_to_is_an_input_as_the_link_is(read: Read) -> None:
    files = {"desired/web/t.pkr.hcl": steps('provisioner "shell" { script = "scripts/x.sh" }'), "lib/x.sh": ""}
    files |= {"desired/web/scripts": "../../lib", "lib/more": "../etc/x", "etc/x": "", "etc/y": ""}
    modes = {"desired/web/scripts": "120000", "lib/more": "120000"}
    assert inputs(read(files, modes)) == ["../../etc/x", "../../lib/more", "../../lib/x.sh", "scripts", "t.pkr.hcl"]


def test_a_template_and_a_script_may_be_links(read: Read) -> None:
    files = {
        "desired/web/web.pkr.hcl": "../../packer/web.pkr.hcl",
        "desired/web/run.sh": "../../packer/run.sh",
        "packer/web.pkr.hcl": steps('provisioner "shell" { script = "run.sh" }'),
        "packer/run.sh": "",
        "packer/other.sh": "",
    }
    modes = {"desired/web/web.pkr.hcl": "120000", "desired/web/run.sh": "120000"}
    assert inputs(read(files, modes)) == ["../../packer/run.sh", "../../packer/web.pkr.hcl", "run.sh", "web.pkr.hcl"]


def test_a_file_is_named_through_a_link_to_its_folder(read: Read) -> None:
    files = {
        "desired/web/t.pkr.hcl": steps('provisioner "shell" { script = "../../current/x.sh" }'),
        "current": "releases/2",
        "releases/2/x.sh": "",
        "releases/2/y.sh": "",
    }
    assert inputs(read(files, {"current": "120000"})) == ["../../current", "../../releases/2/x.sh", "t.pkr.hcl"]


@pytest.mark.parametrize(
    ("packer", "expected"),
    [
        ("{template: /t/now}", ["../../t/1/web.pkr.hcl", "../../t/now", "../../t/1/x.sh"]),
        (
            "{template: /t/now/web.pkr.hcl, working_dir: /t/1}",
            ["../../t/1/web.pkr.hcl", "../../t/now", "../../t/1/x.sh"],
        ),
        ("{template: /t/1, working_dir: /t/now}", ["../../t/1/web.pkr.hcl", "../../t/now", "../../t/1/x.sh"]),
    ],
)
def test_a_template_s_folder_may_be_a_link(read: Read, packer: str, expected: list[str]) -> None:
    files = {
        "desired/web/image.yaml": f"packer: {packer}",
        "t/now": "1",
        "t/1/web.pkr.hcl": steps('provisioner "shell" { script = "${path.root}/x.sh" }'),
        "t/1/x.sh": "",
    }
    assert inputs(read(files, {"t/now": "120000"})) == sorted(expected)


def test_links_that_lead_in_a_circle_or_nowhere_are_let_be(read: Read) -> None:
    files = {
        "desired/web/t.pkr.hcl": COMPLETE,
        "desired/web/up": ".",
        "desired/web/gone": "nothing",
        "desired/web/me": "me",
    }
    fleet = read(files, {path: "120000" for path in files if not path.endswith("hcl")})
    assert "leads to me, and by that out of the repository, or back to itself" in problem(fleet)
    del files["desired/web/me"]
    assert inputs(read(files, {path: "120000" for path in files if not path.endswith("hcl")})) == [
        "gone",
        "t.pkr.hcl",
        "up",
    ]


def test_a_script_behind_a_link_that_leads_nowhere_is_absent(read: Read) -> None:
    files = {"desired/web/t.pkr.hcl": steps('provisioner "shell" { script = "x.sh" }'), "desired/web/x.sh": "gone.sh"}
    assert "there is no file desired/web/x.sh at this commit" in problem(read(files, {"desired/web/x.sh": "120000"}))


def test_a_link_that_switches_a_unit_off_is_no_file_that_could_change(read: Read) -> None:
    fleet = read(
        {"desired/web/t.pkr.hcl": COMPLETE, "desired/web/x.service": "/dev/null"}, {"desired/web/x.service": "120000"}
    )
    assert inputs(fleet) == ["t.pkr.hcl", "x.service"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../..", "../../../x"])
def test_a_link_that_leads_out_of_the_repository_is_an_error(read: Read, target: str) -> None:
    fleet = read({"desired/web/t.pkr.hcl": COMPLETE, "desired/web/link": target}, {"desired/web/link": "120000"})
    assert problem(fleet) == (
        f"desired/web/link: this link leads to {target}, which is outside of the repository: "
        "a change of it would go unnoticed\n"
        "  commit what it leads to, or remove the link"
    )


@pytest.mark.parametrize("yaml", ["", "packer: {inputs: [../../sub]}"])
def test_a_file_in_a_submodule_is_refused_as_the_build_would_not_find_it(read: Read, yaml: str) -> None:
    files = {"desired/web/t.pkr.hcl": steps('provisioner "file" { source = "../../sub/x" }'), "sub": "c0ffee"}
    assert problem(read(files | {"desired/web/image.yaml": yaml}, {"sub": "160000"})) == (
        "desired/web/t.pkr.hcl:4:24: the template reads sub/x, which is in the submodule sub: "
        "submodules are not exported, and the build would not find it\n"
        "  commit it to this repository"
    )


def test_a_submodule_among_the_inputs_counts_and_is_noted(read: Read) -> None:
    files = {"desired/web/t.pkr.hcl": COMPLETE, "sub": "c0ffee"}
    fleet = read(files | {"desired/web/image.yaml": "packer: {inputs: [../../sub]}"}, {"sub": "160000"})
    assert inputs(fleet) == ["../../sub", "t.pkr.hcl"]
    assert fleet.images["web"].notes == (
        "sub is a submodule, which is not exported: what is in it is missing from the build",
    )


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "../../rolse",
            (
                '"../../rolse" is nothing that is committed\n  it was looked for at rolse from the repository\'s root; '
                "name a file or a folder, no pattern"
            ),
        ),
        (
            "../../../etc",
            '"../../../etc" leads out of the repository\n  commit what the build needs to this repository',
        ),
        (
            "/state/web.lock.json",
            (
                '"/state/web.lock.json" contains state/, where every build of web is recorded: each build would call '
                "for the next\n  name the folders that the build reads"
            ),
        ),
        (
            "../..",
            (
                '"../.." contains state/, where every build of web is recorded: each build would call for the next\n'
                "  name the folders that the build reads"
            ),
        ),
    ],
)
def test_an_input_that_can_t_be_one_is_told_with_its_line(web: Read, entry: str, expected: Any) -> None:
    fleet = web(f"packer:\n  inputs:\n  - {entry}\n", COMPLETE, files={"state/web.lock.json": ""})
    assert problem(fleet) == f"desired/web/image.yaml:3:5: packer.inputs: {expected}"


@pytest.mark.parametrize(
    "line",
    [
        'provisioner "shell" { script = "setup.sh" }',
        'provisioner "shell" { scripts = ["setup.sh"] }',
        'provisioner "shell" { script = "${path.root}/setup.sh" }',
        'provisioner "shell" { script = "${path.cwd}/./sub/../setup.sh" }',
        'provisioner "powershell" { script = "setup.sh" }',
        'provisioner "shell-local" { scripts = ["./setup.sh"] }',
        'provisioner "file" { source = "setup.sh" }',
        'provisioner "ansible" { playbook_file = "setup.sh" }',
        'post-processor "shell-local" { script = "setup.sh" }',
        'provisioner "shell" { inline = [file("setup.sh")] }',
        'provisioner "shell" { inline = ["x ${templatefile("setup.sh", {a = 1})} y"] }',
        'provisioner "shell" { inline = [upper(true ? file("${path.root}/setup.sh") : "")] }',
    ],
)
def test_a_file_that_is_read_has_to_be_there(web: Read, line: str) -> None:
    there = web("", steps(line), files={"desired/web/setup.sh": ""})
    assert not there.problems, problem(there)
    absent = problem(web("", steps(line)))
    assert absent.startswith("desired/web/web.pkr.hcl:4:")
    assert "there is no file desired/web/setup.sh at this commit" in absent


@pytest.mark.parametrize(
    "line",
    [
        'provisioner "shell" { script = "/etc/setup.sh" }',
        'provisioner "shell" { script = "~/setup.sh" }',
        'provisioner "shell" { script = var.unknown }',
        'provisioner "shell" { script = "${var.unknown}/setup.sh" }',
        'provisioner "shell" { script = "{{ build `ID` }}.sh" }',
        'provisioner "file" {\n    source    = "/var/log/x"\n    direction = "download"\n  }',
        'provisioner "file" {\n    source    = "x"\n    generated = true\n  }',
        'provisioner "shell" { inline = ["cat setup.sh"] }',
        'provisioner "ansible" { roles_path = "galaxy" }',
    ],
)
def test_what_can_t_be_known_or_isn_t_ours_is_left_alone(web: Read, line: str) -> None:
    assert not web("", steps(line)).problems


def test_a_folder_that_the_template_names_is_an_input_without_being_listed(web: Read) -> None:
    line = 'provisioner "file" { source = "../../roles/baseline" }'
    files = {"roles/baseline/a.yml": "", "roles/baseline/b/c.yml": "", "roles/other/d.yml": ""}
    assert inputs(web("", steps(line), files=files)) == [
        "../../roles/baseline/a.yml", "../../roles/baseline/b/c.yml", "web.pkr.hcl",
    ]  # fmt: skip


def test_listing_what_the_template_names_changes_nothing(web: Read) -> None:
    template, files = steps('provisioner "file" { source = "../../roles" }'), {"roles/a.yml": "", "roles/b.yml": ""}
    named, listed = (
        web(yaml, template, files=files).images["web"] for yaml in ("", "packer: {inputs: [../../roles, /roles/a.yml]}")
    )
    assert named.inputs == listed.inputs
    assert {"files": of_inputs(named.declaration, named.inputs, kind=named.kind)["files"]}.items() <= of_inputs(
        listed.declaration, listed.inputs, kind=listed.kind
    ).items()


def test_paths_are_relative_to_the_working_dir_and_functions_to_the_template(web: Read) -> None:
    lines = ('provisioner "shell" { script = "roles/x.sh" }', 'provisioner "shell" { inline = [file("near.txt")] }')
    files = {"roles/x.sh": "", "near.txt": "", "desired/web/near.txt": ""}
    fleet = web(AT_THE_ROOT, steps(*lines), files=files)
    assert files.keys() & fleet.images["web"].input_paths == {"roles/x.sh", "desired/web/near.txt"}


def test_a_path_that_leaves_the_repository_is_an_error(web: Read) -> None:
    found = problem(web("", steps('provisioner "shell" { script = "../../../x.sh" }')))
    assert "the template reads a file that is outside of the repository" in found


def test_a_file_named_through_a_local_and_a_variable_is_found(web: Read) -> None:
    template = steps('provisioner "shell" { script = local.script }') + (
        'variable "name" { default = "a" }\nlocals {\n  folder = "scripts"\n'
        '  script = "${local.folder}/${var.name}.sh"\n}\n'
    )
    yaml = "packer: {variables: {name: b}}"
    assert "there is no file desired/web/scripts/b.sh" in problem(web(yaml, template))
    assert not web(yaml, template, files={"desired/web/scripts/b.sh": ""}).problems


def test_folders_whose_names_begin_alike_are_kept_apart(read: Read) -> None:
    names = ("web", "web-2", "web.x", "web0", "weba")
    fleet = read({f"desired/{name}/t.pkr.hcl": COMPLETE for name in names} | {"desired/web0/more": ""})
    assert [len(fleet.images[name].inputs) for name in names] == [1, 1, 1, 2, 1]


@pytest.mark.parametrize(
    "line",
    [
        'provisioner "shell" { scripts = concat(["../shared/x.sh"], var.more) }',
        'provisioner "shell" { scripts = convert(["../shared/x.sh"], list(string)) }',
        'provisioner "shell" { scripts = flatten([["../shared/x.sh"]]) }',
        'provisioner "shell" { script = join("/", ["..", "shared", "x.sh"]) }',
        'provisioner "shell" { script = format("../shared/%s", "x.sh") }',
        'provisioner "shell" { override = { a = { script = "../shared/x.sh" } } }',
        'dynamic "provisioner" {\n  labels = ["shell"]\n  content { script = "../shared/x.sh" }\n}',
        'dynamic "post-processors" {\n content {\n post-processor "shell-local" { script = "../shared/x.sh" }\n }\n}',
        'provisioner "ansible" { extra_arguments = ["-e", "@../shared/x.sh"] }',
        'provisioner "ansible" { extra_arguments = concat(["--extra-vars=@../shared/x.sh"], []) }',
        'provisioner "goss" { tests = ["../shared/x.sh"] }',
        'provisioner "ansible" { ansible_env_vars = ["ANSIBLE_CONFIG=../shared/x.sh"] }',
        'provisioner "ansible" { ansible_env_vars = ["ANSIBLE_LIBRARY=/usr/lib/y:../shared/x.sh"] }',
        'provisioner "ansible" { extra_arguments = ["--vault-password-file=../shared/x.sh"] }',
        'provisioner "ansible" { extra_arguments = ["--private-key", "${var.home}/id", "-i", "../shared/x.sh"] }',
        'provisioner "ansible" { command = "../shared/x.sh" }',
        'provisioner "shell-local" { inline = ["cd .. && ./shared/x.sh"] }',
        'provisioner "shell-local" { command = "bash \\"$PWD/../shared/x.sh\\" --now" }',
        'provisioner "shell-local" { command = "X=${var.x} sh $(dirname $0)/../shared/x.sh" }',
        'provisioner "shell-local" { inline = ["cd /; sh \'${path.root}/../shared/x.sh\'"] }',
        'provisioner "ansible" { ansible_env_vars = ["ANSIBLE_LIBRARY=${path.cwd}/../shared/x.sh:/usr/x"] }',
        'provisioner "shell-local" { environment_vars = ["SETUP=../shared/x.sh"] }',
        'provisioner "shell-local" { env = { SETUP = "../shared/x.sh" } }',
        'post-processor "shell-local" { inline = ["cat < ../shared/x.sh"] }',
        'provisioner "inspec" { profile = "../shared/x.sh" }',
        'provisioner "inspec" { attributes = ["../shared/x.sh"] }',
        'provisioner "inspec" { extra_arguments = ["--waiver-file", "../shared/x.sh"] }',
        'provisioner "inspec" { extra_arguments = ["--waiver-file=../shared/x.sh"] }',
        'provisioner "inspec" { inspec_env_vars = ["INSPEC_CONFIG=../shared/x.sh"] }',
        'provisioner "of-another-plugin" {\n  outer {\n    inner { test_file = "../shared/x.sh" }\n  }\n}',
        'provisioner "salt-masterless" { minion_config = "../shared/x.sh" }',
        'provisioner "puppet-masterless" { hiera_config_path = "../shared/x.sh" }',
        'provisioner "chef-solo" { config_template = "../shared/x.sh" }',
        'provisioner "powershell" {\n    elevated_user = "x"\n    scripts = ["../shared/x.sh"]\n  }',
        'provisioner "of-another-plugin" { test_files = ["../shared/x.sh"] }',
        'post-processor "vagrant" { vagrantfile_template = "../shared/x.sh" }',
        'provisioner "shell" { script = var.x ? "../shared/x.sh" : "../shared/gone.sh" }',
        'provisioner "shell" { script = var.x == "" ? "../shared/x.sh" : var.x }',
        'provisioner "shell" { scripts = [for one in fileset("..", "shared/x.*") : "../${one}"] }',
        'provisioner "file" { content = templatefile("../shared/x.sh", { a = 1 }) }',
        'provisioner "file" { content = filebase64("${path.root}/../shared/x.sh") }',
        'provisioner "shell" { inline = [try(file("../shared/x.sh"), "")] }',
        'provisioner "shell" { environment_vars = ["X=${join(",", [for s in [file("../shared/x.sh")] : s])}"] }',
    ],
)
def test_a_file_elsewhere_is_an_input_through_each_door(web: Read, line: str) -> None:
    files = {"desired/shared/x.sh": "", "desired/shared/y.sh": ""}
    assert inputs(web("", steps(line), files=files)) == ["../shared/x.sh", "web.pkr.hcl"]


@pytest.mark.parametrize(
    "line",
    [
        'provisioner "shell-local" { inline = ["cat {{ pwd }}/../shared/x.sh"] }',
        'provisioner "shell-local" { inline = ["cat ../shared/{{ build_name }}.sh"] }',
        'provisioner "shell-local" { inline = ["cat sub/{{build_name}}/x.sh {{- pwd -}}/../shared/x.sh"] }',
        'provisioner "shell-local" { environment_vars = ["X={{pwd}}/../shared/x.sh"] }',
        'provisioner "shell-local" { env = { X = "{{pwd}}/../shared/x.sh" } }',
        'provisioner "shell-local" { execute_command = ["sh", "-c", "{{.Vars}} {{pwd}}/../shared/x.sh {{.Script}}"] }',
        'provisioner "shell-local" { override = { a = { script = "{{pwd}}/../shared/x.sh" } } }',
        'provisioner "shell-local" { script = "../shared/{{build_name}}.sh" }',
        'provisioner "ansible" { extra_arguments = ["-e", "@{{pwd}}/../shared/x.sh"] }',
        'provisioner "ansible" { extra_arguments = ["-e", "@../shared/{{build_type}}.sh"] }',
        'provisioner "ansible" { ansible_env_vars = ["ANSIBLE_CONFIG={{pwd}}/../shared/x.sh"] }',
        'provisioner "inspec" { profile = "{{pwd}}/../shared/x.sh" }',
        'provisioner "inspec" { profile = "../shared/{{ lower `A` }}" }',
        'provisioner "file" { source = "{{pwd}}/../shared/x.sh" }',
        'provisioner "file" { source = "../shared/{{build_name}}.sh" }',
        'provisioner "shell" { scripts = ["{{pwd}}/../shared/x.sh"] }',
    ],
)
def test_what_packer_renders_in_hcl_names_files_as_it_does_in_json(web: Read, line: str) -> None:
    fleet = web("", steps(line), files={"desired/shared/x.sh": ""})
    assert inputs(fleet) == ["../shared/x.sh", "web.pkr.hcl"]
    noted = '"../shared/{{build_name}}.sh"' in line or "@../" in line
    assert any(UNKNOWN_FILES in note for note in fleet.images["web"].notes) == noted


@pytest.mark.parametrize(
    ("word", "noted"),
    [
        ("../../{{build_name}}/x.sh", True),
        ("X=../lib-{{ build_name }}", True),
        ("../lib/{{build_name}}", False),
        ("/var/log/{{build_name}}", False),
        ("https://example.org/{{build_name}}", False),
        ("{{build_name}}/x", False),
        ("../{{.Script}}", False),
        ("../{{ pwd }}", False),
    ],
)
def test_a_folder_that_only_packer_knows_is_noted(web: Read, word: str, *, noted: bool) -> None:
    notes = web("", steps(f'provisioner "shell-local" {{ inline = ["cat {word}"] }}')).images["web"].notes
    assert notes == ((f"desired/web/web.pkr.hcl:4:31: what inline names {UNKNOWN_FILES}",) if noted else ())


def test_what_a_step_puts_into_its_own_command_names_nothing_of_the_repository(web: Read) -> None:
    line = 'provisioner "shell-local" { execute_command = ["{{.Vars}}/lib/a", "{{ .Script }}/lib/a", "{{pwd}}"] }'
    fleet = web("", steps(line), files={"lib/a": "", "desired/lib/a": ""})
    assert inputs(fleet) == ["web.pkr.hcl"]


OVERRIDES = (
    ("shell-local", 'inline = ["sh ../shared/x.sh"]'),
    ("shell-local", 'environment_vars = ["SETUP=../shared/x.sh"]'),
    ("shell-local", 'script = "../shared/x.sh"'),
    ("ansible", 'extra_arguments = ["-e", "@../shared/x.sh"]'),
    ("ansible", 'Inventory_File = "../shared/x.sh"'),
    ("inspec", 'profile = "../shared/x.sh"'),
    ("shell", 'script = "../shared/x.sh"'),
)


@pytest.mark.parametrize(("step", "line"), OVERRIDES)
@pytest.mark.parametrize("over", ["{ a = { %s } }", "{ (local.name) = { %s } }", "local.over", "merge({}, local.over)"])
def test_what_counts_in_a_step_counts_in_its_override(web: Read, step: str, line: str, over: str) -> None:
    written = over % line if "%s" in over else over
    template = steps(f'provisioner "{step}" {{ override = {written} }}')
    template += f'locals {{\n  name = "a"\n  over = {{ a = {{ {line} }} }}\n}}\n'
    files = {"desired/shared/x.sh": "", "desired/shared/y.sh": ""}
    assert inputs(web("", template, files=files)) == ["../shared/x.sh", "web.pkr.hcl"]


def test_what_is_known_of_an_override_counts(web: Read) -> None:
    line = 'provisioner "shell-local" { override = { a = { inline = ["echo ${var.x}", "sh ../shared/x.sh"] } } }'
    assert inputs(web("", steps(line), files={"desired/shared/x.sh": ""})) == ["../shared/x.sh", "web.pkr.hcl"]


def test_in_json_an_override_counts_as_well(read: Read) -> None:
    template = {
        "builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0abc"}],
        "provisioners": [
            {"type": "shell-local", "inline": ["true"], "override": {"amazon-ebs": {"inline": ["sh ../x.sh"]}}}
        ],
    }
    assert inputs(read({"desired/web/t.json": json.dumps(template), "desired/x.sh": ""})) == ["../x.sh", "t.json"]


def test_the_override_of_another_build_feeds_nothing(web: Read) -> None:
    line = 'provisioner "shell-local" { override = { other = { inline = ["sh ../shared/x.sh"] } } }'
    fleet = web("", steps(line), files={"desired/shared/x.sh": ""})
    assert inputs(fleet) == ["web.pkr.hcl"]
    assert fleet.images["web"].notes == ()


@pytest.mark.parametrize("over", ["var.over", "{ a = var.over }", "{ (var.over) = { inline = [] } }"])
@pytest.mark.parametrize("step", ["shell-local", "ansible", "inspec", "shell"])
def test_an_override_that_is_not_known_is_noted(web: Read, step: str, over: str) -> None:
    (note,) = web("", steps(f'provisioner "{step}" {{ override = {over} }}')).images["web"].notes
    assert f"what override names {UNKNOWN_FILES}" in note


def test_a_program_that_a_data_source_runs_is_an_input(web: Read) -> None:
    template = f'data "external" "version" {{\n program = ["python3", "${{path.root}}/../shared/x.py"]\n}}\n{COMPLETE}'
    assert inputs(web("", template, files={"desired/shared/x.py": ""})) == ["../shared/x.py", "web.pkr.hcl"]


def test_what_a_block_of_a_data_source_names_is_an_input(web: Read) -> None:
    block = 'command {\n    run {\n      words = ["python3", "../shared/x.py"]\n    }\n  }'
    template = f'data "external" "version" {{\n  {block}\n}}\n{COMPLETE}'
    assert inputs(web("", template, files={"desired/shared/x.py": ""})) == ["../shared/x.py", "web.pkr.hcl"]


def read_alone(builder: str, *lines: str) -> dict[str, str]:
    """What a template of one builder reads, each with its weight; it and Packer are in desired/web."""
    body = "".join(f"  {one}\n" for one in lines)
    text = f'source "{builder}" "web" {{\n{body}}}\nbuild {{ sources = ["source.{builder}.web"] }}\n'
    setting = Setting("desired/web", "desired/web")
    file = parse_template(text.encode(), "desired/web/web.pkr.hcl")
    return {one.path: one.weight for one in read_template([file], "hcl2", setting=setting).reads}


def test_what_docker_builds_from_first_is_an_input() -> None:
    block = 'build {\n path = "../shared/Dockerfile"\n build_dir = "../shared/cloud"\n }'
    found = read_alone("docker", "commit = true", block)
    assert found == {"desired/shared/Dockerfile": "needed", "desired/shared/cloud": "needed"}


def test_docker_is_sent_the_folder_where_packer_runs_if_none_is_named() -> None:
    found = read_alone("docker", "commit = true", 'build { path = "../shared/Dockerfile" }')
    assert found == {"desired/shared/Dockerfile": "needed", "desired/web": "mentioned"}
    assert read_alone("docker", "commit = true", 'image = "debian:12"') == {}


@pytest.mark.parametrize(
    "line",
    [
        'efi_firmware_code = "../shared/x.fd"',
        'efi_firmware_vars = "{{pwd}}/../shared/x.fd"',
        'firmware = "../shared/x.fd"',
        'qemuargs = [["-m", "2G"], ["-drive", "if=virtio,file=../shared/x.fd,format=raw"]]',
        'qemuargs = [["-kernel", "${path.cwd}/../shared/x.fd"], ["-cpu", "host"]]',
        'iso_checksum = "file:../shared/x.fd"',
        'iso_checksum = "file:${path.root}/../shared/x.fd"',
        'outer {\n inner { some_file = "../shared/x.fd" }\n }',
    ],
)
def test_what_qemu_is_started_with_is_an_input(line: str) -> None:
    found = read_alone("qemu", 'iso_url = "https://example.org/x.iso"', line)
    assert "desired/shared/x.fd" in found
    assert all(weight == "mentioned" for path, weight in found.items() if path != "desired/shared/x.fd")


@pytest.mark.parametrize(
    "line",
    [
        'iso_checksum = "file:https://example.org/SHA256SUMS"',
        'iso_checksum = "sha256:0123"',
        'iso_checksum = "none"',
        'qemuargs = [["-cpu", "host"], ["-machine", "q35,accel=kvm"]]',
        'tags = { some_file = "../shared/x.fd" }',
        'run_tag { some_file = "../shared/x.fd" }',
    ],
)
def test_what_names_no_file_of_the_repository_is_read_by_nobody(line: str) -> None:
    assert read_alone("qemu", 'iso_url = "https://example.org/x.iso"', line) == {}


@pytest.mark.parametrize(
    "line", ['post_mount_commands = ["cp ../shared/x.sh {{.MountPath}}"]', 'copy_files = ["../shared/x.sh"]']
)
def test_what_a_chroot_is_made_with_is_an_input(web: Read, line: str) -> None:
    template = COMPLETE.replace("amazon-ebs", "amazon-chroot").replace("encrypt_boot", f"{line}\n  encrypt_boot")
    assert inputs(web("", template, files={"desired/shared/x.sh": ""})) == ["../shared/x.sh", "web.pkr.hcl"]


def test_a_dynamic_provisioner_in_json_is_seen(read: Read) -> None:
    template = (
        '{"build": {"sources": ["source.amazon-ebs.a"], "dynamic": {"provisioner": '
        '{"labels": ["shell"], "for_each": [1], "content": {"script": "../shared/x.sh"}}}}}'
    )
    files = {"desired/web/t.pkr.json": template, "desired/web/source.pkr.hcl": BUILDER, "desired/shared/x.sh": ""}
    assert inputs(read(files)) == ["../shared/x.sh", "source.pkr.hcl", "t.pkr.json"]


UNKNOWN_FILES = "is only known to Packer: files outside packer.inputs would not be in the key"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'provisioner "shell" { scripts = ["../shared/${uuidv4()}.sh"] }',
            f"4:25: what scripts names {UNKNOWN_FILES}",
        ),
        (
            'provisioner "shell" { scripts = [var.one, var.other] }',
            f"4:25: what scripts names {UNKNOWN_FILES}",
        ),
        ('provisioner "shell" { script = "{{ build `ID` }}.sh" }', f"4:25: what script names {UNKNOWN_FILES}"),
        ('provisioner "shell" { override = var.override }', f"4:25: what override names {UNKNOWN_FILES}"),
        ('provisioner "goss" { tests = var.tests }', f"4:24: what tests names {UNKNOWN_FILES}"),
        (
            'dynamic "provisioner" {\n  labels = ["shell"]\n  content { script = provisioner.value }\n}',
            f"6:13: what script names {UNKNOWN_FILES}",
        ),
        (
            'dynamic "provisioner" {\n  labels = [provisioner.value]\n  content { script = "x.sh" }\n}',
            f"6:3: what provisioner names {UNKNOWN_FILES}",
        ),
        (
            'provisioner "ansible" { extra_arguments = ["-e", "@${var.folder}/y"] }',
            f"4:27: what extra_arguments names {UNKNOWN_FILES}",
        ),
        (
            'provisioner "inspec" { extra_arguments = ["--waiver-file", var.folder] }',
            f"4:26: what extra_arguments names {UNKNOWN_FILES}",
        ),
        (
            'provisioner "ansible" { extra_arguments = var.arguments }',
            f"4:27: what extra_arguments names {UNKNOWN_FILES}",
        ),
        ('provisioner "shell" { inline = [file(var.name)] }', f"4:35: what file() names {UNKNOWN_FILES}"),
        (
            'provisioner "shell" { script = "/etc/hostname" }',
            "4:25: /etc/hostname is read from the machine that builds: it is not in the key",
        ),
        (
            'provisioner "shell" { inline = [file("/etc/hostname")] }',
            "4:35: /etc/hostname is read from the machine that builds: it is not in the key",
        ),
        (
            'provisioner "file" { source = "~/motd" }',
            "4:24: ~/motd is read from the machine that builds: it is not in the key",
        ),
    ],
)
def test_what_may_be_read_although_no_key_can_tell_is_noted_once(web: Read, line: str, expected: str) -> None:
    fleet = web("", steps(line))
    assert not fleet.problems, problem(fleet)
    assert fleet.images["web"].notes == (f"desired/web/web.pkr.hcl:{expected}",)


@pytest.mark.parametrize(
    "line",
    [
        'provisioner "ansible" { extra_arguments = ["-e", "version=${var.version}"] }',
        'provisioner "file" {\n    source    = "/var/log/x"\n    direction = "download"\n  }',
        'provisioner "shell" { inline = [var.command] }',
        'provisioner "shell" { override = { a = { inline = [var.command] } } }',
        'provisioner "shell" { script = "${path.cwd}/x.sh" }',
    ],
)
def test_what_names_no_file_outside_is_not_noted(web: Read, line: str) -> None:
    assert web("", steps(line), files={"desired/web/x.sh": ""}).images["web"].notes == ()


def test_the_key_that_opens_the_connection_is_not_noted(web: Read) -> None:
    template = COMPLETE.replace("ssh_clear", 'ssh_private_key_file = "~/.ssh/id"\n  ssh_clear')
    assert web("", template).images["web"].notes == ()


@pytest.mark.parametrize(
    "line",
    [
        'provisioner "shell" { inline = ["sh ../shared/x.sh", "cd ../shared && ./x.sh"] }',
        'provisioner "shell" { environment_vars = ["X=../shared/x.sh"] }',
        'provisioner "shell" {\n    remote_folder = "../shared"\n    inline = ["true"]\n  }',
        'provisioner "file" {\n    source = "t.pkr.hcl"\n    destination = "../shared/x.sh"\n  }',
        'provisioner "ansible-local" { staging_directory = "../shared" }',
        'provisioner "ansible" { user = "shared" }',
        'post-processor "manifest" { output = "../shared/x.sh" }',
        'provisioner "shell-local" { inline = ["echo see https://example.org/../shared/x.sh"] }',
        'provisioner "file" {\n    source = "../shared/x.sh"\n    direction = "download"\n  }',
    ],
)
def test_what_is_meant_for_another_machine_is_no_input(web: Read, line: str) -> None:
    files = {"desired/shared/x.sh": "", "desired/web/t.pkr.hcl": ""}
    assert inputs(web("", steps(line), files=files)) == ["t.pkr.hcl", "web.pkr.hcl"]


@pytest.mark.parametrize("step", ['provisioner "shell" { script', 'provisioner "file" { source'])
def test_of_a_name_that_is_computed_the_folder_counts_that_it_could_come_from(web: Read, step: str) -> None:
    template = steps(f'{step} = "../shared/${{var.name}}.sh" }}')
    files = {"desired/shared/x.sh": "", "desired/shared/y/z.sh": "", "desired/other/a.sh": ""}
    assert inputs(web("", template, files=files)) == ["../shared/x.sh", "../shared/y/z.sh", "web.pkr.hcl"]


@pytest.mark.parametrize(
    "name", ['format("../shared/%s/x.sh", var.stage)', 'join("/", ["../shared", var.stage, "x.sh"])']
)
def test_a_text_that_a_function_makes_of_what_is_not_known_counts_as_one_with_gaps(web: Read, name: str) -> None:
    files = {"desired/shared/prod/x.sh": "", "desired/other/a.sh": ""}
    found = web("", steps(f'provisioner "shell" {{ script = {name} }}'), files=files)
    assert inputs(found) == ["../shared/prod/x.sh", "web.pkr.hcl"]


def test_of_a_local_that_is_not_known_the_texts_count_that_it_is_made_of(web: Read) -> None:
    made = 'locals {\n  folder = "../shared/${var.stage}"\n  script = "${local.folder}/x.sh"\n}\n'
    stage = 'variable "stage" { default = env("X") }\n'
    template = steps('provisioner "shell" { scripts = [local.script, "${local.folder}/y.sh"] }') + made + stage
    files = {"desired/shared/prod/x.sh": "", "desired/other/a.sh": ""}
    assert inputs(web("", template, files=files)) == ["../shared/prod/x.sh", "web.pkr.hcl"]


def test_of_a_folder_that_a_command_works_in_all_counts(web: Read) -> None:
    template = steps('provisioner "shell-local" { inline = ["cd ../shared", "make"] }')
    assert inputs(web("", template, files={"desired/shared/Makefile": "", "desired/shared/a/b": ""})) == [
        "../shared/Makefile", "../shared/a/b", "web.pkr.hcl",
    ]  # fmt: skip


AT_THE_ROOT = "packer: {working_dir: /}\n"
"""Outside of the image's folder, so that a folder there is an input only where something means it."""


@pytest.mark.parametrize(
    "command",
    [
        "tar czf /tmp/app.tgz app",
        "set -e; sudo tar -czf /tmp/app.tgz -- app",
        "cp -r app /tmp/x && echo done",
        "for one in app other; do scp -r $one host:; done",
        "docker build -t web app",
        "ansible-playbook -i app site.yml",
        "ansible-playbook --inventory=app site.yml",
        "ANSIBLE_LIBRARY=app ansible-playbook site.yml",
        "export SOURCE_DIR=app",
    ],
)
@pytest.mark.parametrize("by_script", [False, True], ids=["written", "in a script"])
def test_a_folder_that_is_called_by_a_mere_word_counts_where_a_command_means_one(
    web: Read, command: str, *, by_script: bool
) -> None:
    step = 'script = "desired/web/run.sh"' if by_script else f"inline = [{json.dumps(command)}]"
    files = {"app/a/b": "", "desired/web/run.sh": f"#!/bin/sh\n{command}\n", "site.yml": "- hosts: all\n"}
    template = steps(f'provisioner "shell-local" {{ {step} }}')
    assert "../../app/a/b" in inputs(web(AT_THE_ROOT, template, files=files))


@pytest.mark.parametrize(
    "command", ["sh 'my tools/set up.sh'", 'sh -c "./my tools/set up.sh"', 'X="$Y/my tools/set up.sh"']
)
def test_a_path_with_blanks_counts_where_it_stands_in_quotes(web: Read, command: str) -> None:
    template = steps(f'provisioner "shell-local" {{ inline = [{json.dumps(command)}] }}')
    assert "../../my tools/set up.sh" in inputs(web(AT_THE_ROOT, template, files={"my tools/set up.sh": ""}))


@pytest.mark.parametrize("name", ["[x].conf", "{a,b}.conf", "a*.conf"])
def test_a_file_whose_name_looks_like_a_pattern_is_that_file(web: Read, name: str) -> None:
    template = steps(f'provisioner "file" {{\n    source      = "../../{name}"\n    destination = "/x"\n  }}')
    assert inputs(web("", template, files={name: "", "x.conf": "", "a.conf": ""})) == [f"../../{name}", "web.pkr.hcl"]


@pytest.mark.parametrize("command", ["echo app", "systemctl restart app", "npm run app", "docker run app", "app -v x"])
def test_a_word_that_happens_to_be_a_folders_name_is_a_word(web: Read, command: str) -> None:
    template = steps(f'provisioner "shell-local" {{ inline = ["{command}"] }}')
    assert inputs(web(AT_THE_ROOT, template, files={"app/a/b": ""})) == ["web.pkr.hcl"]


def test_a_command_that_names_the_folder_around_the_image_is_noted(web: Read) -> None:
    template, files = steps('provisioner "shell-local" { inline = ["make -C ../.. stage"] }'), {"Makefile": ""}
    (note,) = web("", template, files=files).images["web"].notes
    assert note == (
        "desired/web/web.pkr.hcl:4:31: a command names ., which holds more than the image: "
        "if it reads what is not in packer.inputs, a change would go unnoticed"
    )


def test_what_a_local_script_names_counts_and_what_that_calls(web: Read) -> None:
    template = steps('provisioner "shell-local" { script = "../../tools/stage.sh" }')
    files = {
        "tools/stage.sh": '#!/bin/sh\n# see notes.txt\n. "$(dirname "$0")/lib.sh"\ncp -r ../../files/conf .\n',
        "tools/lib.sh": 'ROOT="$(git rev-parse --show-toplevel)"\ntar c "$ROOT/dist/app" > app.tar\n',
        "tools/notes.txt": "",
        "tools/unused.sh": "",
        "files/conf/a": "",
        "dist/app/b": "",
    }
    assert inputs(web("", template, files=files)) == [
        "../../dist/app/b", "../../files/conf/a", "../../tools/lib.sh", "../../tools/stage.sh", "web.pkr.hcl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        'try(file("../shared/gone"), "")',
        'can(file("../shared/gone")) ? "a" : "b"',
        'fileexists("../shared/gone") ? file("../shared/gone") : ""',
        'false ? file("../shared/gone") : file("../shared/x.sh")',
        'var.unknown ? file("../shared/gone") : file("../shared/x.sh")',
        'join("", [for name in ["gone"] : file("../shared/gone")])',
    ],
)
def test_a_file_that_is_read_only_if_it_is_there_need_not_be(web: Read, value: str) -> None:
    template, files = steps(f'provisioner "file" {{ content = {value} }}'), {"desired/shared/x.sh": ""}
    expected = ["../shared/x.sh", "web.pkr.hcl"] if "x.sh" in value else ["web.pkr.hcl"]
    assert inputs(web("", template, files=files)) == expected


def test_of_a_branch_that_is_not_taken_nothing_counts(web: Read) -> None:
    template = steps('provisioner "file" { content = true ? file("../shared/x.sh") : file("../shared/y.sh") }')
    files = {"desired/shared/x.sh": "", "desired/shared/y.sh": ""}
    assert inputs(web("", template, files=files)) == ["../shared/x.sh", "web.pkr.hcl"]


def test_what_a_text_s_template_reads_counts(web: Read) -> None:
    template = steps('provisioner "file" { content = templatefile("../shared/x.tpl", {}) }')
    files = {"desired/shared/x.tpl": 'a ${file("../shared/y.txt")}', "desired/shared/y.txt": "", "desired/shared/z": ""}
    assert inputs(web("", template, files=files)) == ["../shared/x.tpl", "../shared/y.txt", "web.pkr.hcl"]


TWO_BUILDERS = """\
source "amazon-ebs" "web" {{
  region     = "us-east-1"
  source_ami = "ami-0abc"
  user_data_file = "../shared/web.sh"
}}
source "qemu" "web" {{
  iso_url        = "https://example.org/x.iso"
  http_directory = "../shared/qemu"
  cd_content     = {{ a = file("../shared/qemu.txt") }}
}}
build {{
  name    = "all"
  sources = ["source.amazon-ebs.web"]
  source "qemu.web" {{ name = "local" }}
  provisioner "shell" {{
    {limit}
    script = "../shared/step.sh"
  }}
  post-processors {{
    post-processor "shell-local" {{
      {limit}
      script = "../shared/after.sh"
    }}
  }}
}}
build {{
  sources = ["source.qemu.web"]
  provisioner "file" {{
    source      = "../shared/of-qemu.sh"
    destination = file("../shared/of-qemu.txt")
  }}
}}
"""


@pytest.mark.parametrize(
    ("limit", "runs"),
    [
        ("", True),
        ('only = ["amazon-ebs.web"]', True),
        ('only = ["qemu.local"]', False),
        ('only = ["all.amazon-ebs.web"]', False),
        ('except = ["amazon-ebs.web"]', False),
        ('except = ["qemu.local", "qemu.web"]', True),
    ],
)
def test_what_does_not_run_feeds_nothing(web: Read, limit: str, *, runs: bool) -> None:
    names = ("web.sh", "qemu/x", "qemu.txt", "step.sh", "after.sh", "of-qemu.sh", "of-qemu.txt")
    yaml, template = "packer: {only: all.amazon-ebs.web}", TWO_BUILDERS.format(limit=limit)
    steps_files = ["../shared/after.sh", "../shared/step.sh"] if runs else []
    fleet = web(yaml, template, files={f"desired/shared/{name}": "" for name in names})
    assert inputs(fleet) == [*steps_files, "../shared/web.sh", "web.pkr.hcl"]


def test_what_does_not_run_need_not_be_there(web: Read) -> None:
    template = TWO_BUILDERS.format(limit='only = ["qemu.local"]')
    assert not web("packer: {only: all.amazon-ebs.web}", template, files={"desired/shared/web.sh": ""}).problems


def test_in_json_a_step_is_limited_by_the_builder_s_name(read: Read) -> None:
    builders = [
        {"type": "amazon-ebs", "name": "ami", "region": "us-east-1", "source_ami": "ami-0abc"},
        {"type": "docker", "image": "debian", "run_command": ["x"]},
    ]
    provisioners = [
        {"type": "shell", "script": "{{template_dir}}/../a.sh", "only": ["ami"]},
        {"type": "shell", "script": "{{template_dir}}/../b.sh", "only": ["docker"]},
        {
            "type": "shell",
            "inline": ["true"],
            "override": {"ami": {"script": "../c.sh"}, "docker": {"script": "../d.sh"}},
        },
    ]
    template = json.dumps({"builders": builders, "provisioners": provisioners})
    files = {"desired/web/image.yaml": "packer: {only: ami}", "desired/web/t.json": template}
    fleet = read(files | {f"desired/{name}.sh": "" for name in "abcd"})
    assert inputs(fleet) == ["../a.sh", "../c.sh", "t.json"]


def test_in_json_the_two_paths_may_be_in_a_variable_wherever_it_gets_its_value(read: Read) -> None:
    template = {
        "variables": {"own": "{{template_dir}}/../own", "more": "{{user `own`}}/more", "file": "?", "said": "?"},
        "builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0abc"}],
        "provisioners": [
            {"type": "shell", "scripts": [f"{{{{user `{name}`}}}}/x.sh" for name in ("own", "more", "file", "said")]}
        ],
    }
    fleet = read({
        "desired/web/image.yaml": (
            "packer: {working_dir: /, var_files: [v.json], variables: {said: '{{pwd}}/desired/said'}}"
        ),
        "desired/web/t.json": json.dumps(template),
        "desired/web/v.json": json.dumps({"file": "{{template_dir}}/../file"}),
        **{f"desired/{folder}/x.sh": "" for folder in ("own", "own/more", "file", "said")},
    })  # fmt: skip
    assert inputs(fleet) == ["../file/x.sh", "../own/more/x.sh", "../own/x.sh", "../said/x.sh", "t.json", "v.json"]


def test_in_json_a_variable_may_be_made_of_the_two_paths(read: Read) -> None:
    """Given variables whose defaults and values are made of the two paths, what is named by them is an input."""
    template = json.dumps(
        {
            "variables": {"scripts": "{{template_dir}}/../scripts", "here": "{{pwd}}/files", "given": ""},
            "builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0abc"}],
            "provisioners": [
                {"type": "shell", "scripts": ["{{user `scripts`}}/a.sh", "{{user `given`}}/b.sh"]},
                {"type": "file", "source": "{{user `here`}}/c", "destination": "c"},
            ],
        }
    )
    yaml = "packer: {template: /old/t.json, working_dir: /, variables: {given: '{{template_dir}}/more'}}"
    files = {"desired/web/image.yaml": yaml, "old/t.json": template}
    fleet = read(files | {"scripts/a.sh": "", "old/more/b.sh": "", "files/c": ""})
    assert not fleet.problems
    assert inputs(fleet) == ["../../files/c", "../../old/more/b.sh", "../../old/t.json", "../../scripts/a.sh"]


BOTH = "state/ and desired/web/image.yaml included, which are left out of the key"


@pytest.mark.parametrize(
    ("source", "where", "expected", "left_out"),
    [
        ("../..", "desired/web", ["../../.gitignore", "../../README.md", "../other/x", "web.pkr.hcl"], BOTH),
        (".", "/", ["../../.gitignore", "../../README.md", "../other/x", "web.pkr.hcl"], BOTH),
        ("../../state", "desired/web", ["web.pkr.hcl"], "state/ included, which is left out of the key"),
    ],
)
def test_state_is_never_an_input(web: Read, source: str, where: str, expected: list[str], left_out: str) -> None:
    files = {"state/web.lock.json": "{}", "README.md": "", "desired/other/x": "", ".gitignore": ""}
    yaml = f"packer: {{working_dir: {'/' if where == '/' else '.'}}}"
    image = web(yaml, steps(f'provisioner "file" {{ source = "{source}" }}'), files=files).images["web"]
    assert [one.path for one in image.inputs] == expected
    (note,) = image.notes
    assert note.startswith("desired/web/web.pkr.hcl:4:24: the template reads ")
    assert left_out in note


def test_the_state_of_another_fleet_of_the_repository_is_no_input_either(web: Read) -> None:
    files = {"infra/desired/api/a.pkr.hcl": "", "infra/state/api.lock.json": "{}", "infra/state/sbom/x": ""}
    files |= {"app/state/store.lock.json": "{}"}
    found = inputs(web("", steps('provisioner "file" { source = "../.." }'), files=files))
    assert found == ["../../app/state/store.lock.json", "../../infra/desired/api/a.pkr.hcl", "web.pkr.hcl"]


def test_what_another_fleet_recorded_counts_where_it_is_named_and_is_noted_where_it_is_not(web: Read) -> None:
    files = {"infra/desired/api/a.pkr.hcl": "", "infra/state/api.lock.json": "{}", "infra/state/sbom/x": ""}
    named = web("", steps('provisioner "file" { source = "../../infra/state/sbom/x" }'), files=files)
    assert inputs(named) == ["../../infra/state/sbom/x", "web.pkr.hcl"]
    assert named.images["web"].notes == ()
    around = web("", steps('provisioner "file" { source = "../../infra" }'), files=files)
    assert inputs(around) == ["../../infra/desired/api/a.pkr.hcl", "web.pkr.hcl"]
    assert "reads infra, infra/state/ included, which is left out of the key" in around.images["web"].notes[0]


@pytest.mark.parametrize(
    ("target", "expected"),
    [("../../state", "state/, which is"), ("..", "desired/web/image.yaml, which is"), ("image.yaml", None)],
)
def test_what_a_link_leads_to_and_is_left_out_is_noted(read: Read, target: str, expected: str | None) -> None:
    files = {"desired/web/image.yaml": "", "desired/web/t.pkr.hcl": COMPLETE, "state/web.lock.json": "{}"}
    image = read({**files, "desired/web/link": target}, {"desired/web/link": "120000"}).images["web"]
    noted = [f"desired/web/link: this link leads to {expected} left out of the key"] if expected else []
    assert list(image.notes) == noted
    assert ("image.yaml" in [one.path for one in image.inputs]) == (expected is None)


@pytest.mark.parametrize("named", ["packer: {inputs: [image.yaml]}\n", 'packer: {inputs: ["../../infra/state"]}\n'])
def test_what_is_listed_by_itself_counts(web: Read, named: str) -> None:
    files = {"infra/desired/api/a.pkr.hcl": "", "infra/state/api.lock.json": "{}"}
    assert len(inputs(web(named, COMPLETE, files=files))) == 2


@pytest.mark.parametrize("pattern", ["[^b].sh", r"\\\\a.sh", "{a,{b,c}}.sh", "/a.sh", "?.sh"])
def test_a_pattern_that_each_reads_in_its_own_way_counts_all_that_it_may_match(web: Read, pattern: str) -> None:
    line = f'provisioner "shell" {{ inline = fileset("../../lib", "{pattern.replace(chr(92) * 4, chr(92) * 2)}") }}'
    assert "../../lib/a.sh" in inputs(web("", steps(line), files={"lib/a.sh": ""}))


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("text", "${file(name)}", "text computes the name of a file that it reads"),
        ("text", '${ file ("../../lib/${name}") }', "text computes the name of a file that it reads"),
        ("text", '${file("../../\\u006cib/x")}', "text computes the name of a file that it reads"),
        ("text", " " * 4_200_000, "text has more than 4,194,304 bytes, and is not looked through"),
        ("run.sh", "#" * 300_000, "run.sh has more than 262,144 bytes, and is not looked through"),
    ],
)
def test_what_is_not_looked_through_is_noted(web: Read, path: str, content: str, expected: str) -> None:
    step = f'provisioner "shell-local" {{ script = "{path}" }}'
    if path == "text":
        step = 'provisioner "shell" { inline = [templatefile("text", {name = "x"})] }'
    notes = web("", steps(step), files={f"desired/web/{path}": content}).images["web"].notes
    assert any(f"desired/web/{expected}" in note for note in notes), notes


def test_what_may_be_made_during_the_build_counts_where_it_is_there(web: Read) -> None:
    step = 'provisioner "file" {{\n source = "../../lib/{}"\n generated = true\n }}'
    files = {"lib/a": ""}
    assert inputs(web("", steps(step.format("a")), files=files)) == ["../../lib/a", "web.pkr.hcl"]
    assert inputs(web("", steps(step.format("b")), files=files)) == ["web.pkr.hcl"]


def test_a_script_that_does_not_say_what_runs_it_is_the_shells(web: Read) -> None:
    step = 'provisioner "shell-local" { script = "run" }'
    files = {"desired/web/run": "cat ../../lib/a.conf\n", "lib/a.conf": ""}
    assert "../../lib/a.conf" in inputs(web("", steps(step), files=files))
    files["desired/web/run"] = "#!/usr/bin/python\nopen('../../lib/a.conf')\n"
    assert "../../lib/a.conf" not in inputs(web("", steps(step), files=files))


def test_a_command_that_is_too_long_to_be_looked_through_is_noted(web: Read) -> None:
    step = 'provisioner "shell-local" { inline = [file("long")] }'
    notes = web("", steps(step), files={"desired/web/long": "# " * 150_000}).images["web"].notes
    assert any("what inline names is only known to Packer" in note for note in notes), notes


def test_a_script_in_another_encoding_names_files_in_it(read: Read) -> None:
    files: dict[str, str | bytes] = {"desired/web/t.pkr.hcl": steps('provisioner "shell-local" { script = "run.sh" }')}
    files |= {"desired/web/run.sh": b"cat ../../lib/caf\xe9.conf\n", "lib/caf\\xe9.conf": ""}
    assert "../../lib/caf\\xe9.conf" in inputs(read(files))


def test_the_repository_as_a_folder_is_said_to_call_for_a_build_at_every_commit(web: Read) -> None:
    (note,) = web("", steps('provisioner "file" { source = "../.." }')).images["web"].notes
    assert note == (
        "desired/web/web.pkr.hcl:4:24: the template reads the whole repository, state/ and desired/web/image.yaml "
        "included, which are left out of the key; any other commit calls for a build"
    )


def test_a_path_that_is_right_from_the_root_is_told_so(web: Read) -> None:
    found = problem(web("", steps('provisioner "shell" { script = "roles/x.sh" }'), files={"roles/x.sh": ""}))
    assert found.endswith("\n  there is roles/x.sh at the root: to run Packer there, set working_dir: /")


def test_a_path_that_is_right_beside_the_template_is_told_so(read: Read) -> None:
    files = {
        "desired/web/image.yaml": "packer: {template: /packer/web.pkr.hcl}",
        "packer/web.pkr.hcl": steps('provisioner "shell" { script = "scripts/x.sh" }'),
        "packer/scripts/x.sh": "",
    }
    found = problem(read(files))
    assert found.endswith(
        "\n  there is packer/scripts/x.sh: to run Packer in the template's folder, name it as working_dir"
    )


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("../shared/*.sh", ["../shared/a.sh", "../shared/b.sh"]),
        ("../**/a.sh", ["../shared/a.sh", "../shared/c/a.sh"]),
        ("../shared/{a,c/a}.sh", ["../shared/a.sh", "../shared/c/a.sh"]),
        ("../shared/[!b].sh", ["../shared/a.sh"]),
        ("../shared/?.sh", ["../shared/a.sh", "../shared/b.sh"]),
        ("none/*.sh", []),
        ("../**/**/**/**/**/**/**/**/**/b.sh", ["../shared/b.sh"]),
        ("../shared/*a*a*a*a*a*a*a*a*", ["../shared/a.sh", "../shared/b.sh", "../shared/c/a.sh"]),
    ],
)
def test_what_a_pattern_matches_is_an_input(web: Read, pattern: str, found: list[str]) -> None:
    files = {"desired/shared/a.sh": "", "desired/shared/b.sh": "", "desired/shared/c/a.sh": "", "desired/x.md": ""}
    template = steps(f'provisioner "shell" {{ scripts = fileset(".", "{pattern}") }}')
    assert inputs(web("", template, files=files)) == [*found, "web.pkr.hcl"]


def test_floppies_take_patterns(web: Read) -> None:
    template = COMPLETE.replace("ssh_clear", 'floppy_files = ["../shared/*.ps1", "../shared/drivers"]\n  ssh_clear')
    files = {"desired/shared/a.ps1": "", "desired/shared/drivers/x/y.inf": "", "desired/shared/b.sh": ""}
    assert inputs(web("", template, files=files)) == [
        "../shared/a.ps1", "../shared/drivers/x/y.inf", "web.pkr.hcl",
    ]  # fmt: skip


def test_a_json_template_finds_what_a_var_file_names_by_a_variable_that_it_does_not_declare(read: Any) -> None:
    ami = {"type": "amazon-ebs", "region": "us-east-1", "source_ami": "{{user `on`}}", "name": "{{user `flavour`}}"}
    template = {"builders": [ami], "provisioners": [{"type": "shell", "script": "{{user `flavour`}}.sh"}]}
    fleet = read({
        "desired/web/image.yaml": (
            "packer: {working_dir: /p, template: /p/t.json, var_files: [/p/v.json], variables: {on: ami-01234567}}"
        ),
        "p/t.json": json.dumps(template), "p/v.json": '{"flavour": "plain"}',
        "p/plain.sh": "true", "p/other.sh": "true",
    })  # fmt: skip

    assert dict(fleet.problems) == {}
    image = fleet.images["web"]
    assert image.input_paths == ("p/plain.sh", "p/t.json", "p/v.json")
    assert [one.name for one in image.template.builders] == ["plain"]


@pytest.mark.parametrize("written", ['metadata_files = { a = "up.sh" }', "metadata_files = { (var.a) = var.b }"])
def test_files_that_a_builder_has_by_names_are_read(read: Any, written: str) -> None:
    source = f'source "googlecompute" "g" {{\n  {written}\n}}\nbuild {{\n  sources = ["googlecompute.g"]\n}}\n'
    variables = 'variable "a" { default = "x" }\nvariable "b" { default = "up.sh" }\n'
    declared = "packer: {template: /p/g.pkr.hcl, working_dir: /p}"
    fleet = read({"desired/web/image.yaml": declared, "p/g.pkr.hcl": variables + source, "p/up.sh": "", "p/x.sh": ""})

    assert fleet.images["web"].input_paths == ("p/g.pkr.hcl", "p/up.sh")


def test_a_path_of_windows_is_told_how_it_is_written(read: Any) -> None:
    ami = {"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0123456789abcdef0"}
    template = {"builders": [ami], "provisioners": [{"type": "powershell", "script": "scripts\\a.ps1"}]}
    files = {"desired/web/t.json": json.dumps(template), "desired/web/scripts/a.ps1": ""}
    fleet = read({"desired/web/image.yaml": "", **files})

    (problem,) = fleet.problems["web"]
    assert problem.what.startswith("there is no file desired/web/scripts\\a.ps1")
    assert "there is desired/web/scripts/a.ps1: write it with /" in str(problem.hint)


def test_a_variable_that_a_json_template_does_not_even_use_is_a_slip_of_the_pen(read: Any) -> None:
    ami = {"type": "amazon-ebs", "region": "us-east-1", "source_ami": "{{user `base_ami`}}"}
    fleet = read({
        "desired/web/image.yaml": "packer: {variables: {base_amy: ami-0123456789abcdef0}}",
        "desired/web/t.json": json.dumps({"builders": [ami]}),
    })  # fmt: skip

    (problem, *_) = fleet.problems["web"]
    assert 'declares no variable "base_amy"' in problem.what
    assert "base_ami" in str(problem.hint)


@pytest.mark.parametrize(("function", "expected"), [("file", "desired/web/x.txt"), ("filebase64", "x.txt")])
def test_a_functions_path_begins_at_the_template_but_for_one_that_begins_where_packer_runs(
    web: Read, function: str, expected: str
) -> None:
    content = "there" if function == "file" else "aGVyZQ=="  # here
    told = f'provisioner "shell" {{ script = {function}("x.txt") == "{content}" ? "desired/web/yes.sh" : "no.sh" }}'
    files = {"x.txt": "here", "desired/web/x.txt": "there", "desired/web/yes.sh": "", "no.sh": ""}
    found = web(AT_THE_ROOT, steps(told), files=files)
    assert not found.problems
    read = files.keys() & found.images["web"].input_paths
    assert {expected, "desired/web/yes.sh"} <= read
    assert "no.sh" not in read


@pytest.mark.parametrize("command", ["make rootfs", "cd tools && make", "sudo make -j2 rootfs", "sh build.sh"])
def test_make_reads_its_makefile_and_what_that_names(web: Read, command: str) -> None:
    template = steps(f'provisioner "shell-local" {{ inline = ["{command}"] }}')
    makefile = "rootfs:\n\tcp -r overlay $@\n\t../scripts/pack.sh $@\n"
    files = {
        "tools/Makefile": makefile, "tools/overlay/a": "", "scripts/pack.sh": "", "scripts/other.sh": "",
        "tools/build.sh": "make rootfs\n",
    }  # fmt: skip
    there = "/" if command.startswith("cd ") else "/tools"
    found = inputs(web(f"packer: {{working_dir: {there}}}\n", template, files=files))
    assert {"../../tools/Makefile", "../../tools/overlay/a", "../../scripts/pack.sh"} <= {*found}
    assert "../../scripts/other.sh" not in found


def test_a_long_command_is_looked_through_in_no_time(web: Read) -> None:
    files = {"desired/web/run.sh": "#!/bin/sh\n" + "-x " * 80_000}
    began = time.process_time()
    inputs(web(AT_THE_ROOT, steps('provisioner "shell-local" { script = "desired/web/run.sh" }'), files=files))
    assert time.process_time() - began < 5
