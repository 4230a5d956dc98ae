"""The files that feed a build, and the ones that a template reads although nobody said so."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.fleet import Fleet
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


def test_a_link_to_something_outside_of_the_inputs_is_told_with_the_entry_that_mends_it(read: Read) -> None:
    files = {"desired/web/t.pkr.hcl": steps('provisioner "shell" { script = "scripts/x.sh" }'), "lib/x.sh": ""}
    files["desired/web/scripts"] = "../../lib"
    modes = {"desired/web/scripts": "120000"}
    assert problem(read(files, modes)) == (
        "desired/web/scripts: this link leads to lib, which is not among the image's inputs: "
        "a change of it would go unnoticed\n"
        '  add "../../lib" to packer.inputs in desired/web/image.yaml'
    )
    files["desired/web/image.yaml"] = "packer: {inputs: [/lib]}"
    assert inputs(read(files, modes)) == ["../../lib/x.sh", "scripts", "t.pkr.hcl"]


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


def test_a_file_outside_of_the_inputs_is_told_with_the_entry_that_mends_it(web: Read) -> None:
    line = 'provisioner "file" { source = "../../roles/baseline" }'
    files = {"roles/baseline/a.yml": "", "roles/baseline/b.yml": ""}
    assert problem(web("", steps(line), files=files)) == (
        "desired/web/web.pkr.hcl:4:24: the template reads roles/baseline, which is not among the image's inputs: "
        "a change of it would go unnoticed\n"
        '  add "../../roles/baseline" to packer.inputs in desired/web/image.yaml'
    )
    assert not web("packer: {inputs: [../../roles/baseline]}", steps(line), files=files).problems


def test_paths_are_relative_to_the_working_dir_and_functions_to_the_template(web: Read) -> None:
    lines = ('provisioner "shell" { script = "roles/x.sh" }', 'provisioner "shell" { inline = [file("near.txt")] }')
    yaml = "packer: {working_dir: /, inputs: [/roles]}"
    fleet = web(yaml, steps(*lines), files={"roles/x.sh": "", "desired/web/near.txt": ""})
    assert [one.path for one in fleet.images["web"].template.references] == ["roles/x.sh", "desired/web/near.txt"]


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
    ],
)
def test_a_file_outside_of_the_inputs_is_seen_through_each_door(web: Read, line: str) -> None:
    files = {"desired/shared/x.sh": ""}
    assert "the template reads desired/shared/x.sh, which is not among" in problem(web("", steps(line), files=files))
    assert not web("packer: {inputs: [../shared]}", steps(line), files=files).problems


def test_a_dynamic_provisioner_in_json_is_seen(read: Read) -> None:
    template = (
        '{"build": {"sources": ["source.amazon-ebs.a"], "dynamic": {"provisioner": '
        '{"labels": ["shell"], "for_each": [1], "content": {"script": "../shared/x.sh"}}}}}'
    )
    files = {"desired/web/t.pkr.json": template, "desired/web/source.pkr.hcl": BUILDER, "desired/shared/x.sh": ""}
    fleet = read(files)
    assert "the template reads desired/shared/x.sh" in problem(fleet)


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
    "command", ['command = "../shared/x.sh now"', "inline = [\"cd /; sh '${path.root}/../shared/x.sh'\"]"]
)
def test_a_command_of_this_machine_that_names_a_file_outside_of_the_inputs_is_noted(web: Read, command: str) -> None:
    template, files = steps(f'provisioner "shell-local" {{ {command} }}'), {"desired/shared/x.sh": ""}
    (note,) = web("", template, files=files).images["web"].notes
    assert note == (
        "desired/web/web.pkr.hcl:4:31: a command names desired/shared/x.sh, which is not among the image's inputs: "
        "if it reads that, a change would go unnoticed"
    )
    assert web("packer: {inputs: [../shared]}", template, files=files).images["web"].notes == ()
    assert web("", template).images["web"].notes == ()


def test_a_path_that_is_right_from_the_root_is_told_so(web: Read) -> None:
    found = problem(web("", steps('provisioner "shell" { script = "roles/x.sh" }'), files={"roles/x.sh": ""}))
    assert found.endswith("\n  there is roles/x.sh at the root: to run Packer there, set working_dir: /")


def test_a_pattern_that_leads_out_of_its_folder_is_seen(web: Read) -> None:
    template = steps('provisioner "shell" { scripts = fileset(".", "../shared/*.sh") }')
    files = {"desired/shared/x.sh": ""}
    assert "the template reads desired/shared, which is not among" in problem(web("", template, files=files))
    assert not web("packer: {inputs: [../shared]}", template, files=files).problems
