"""Which programs a template needs on the machine that Packer is run on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from reconciler.model.fleet import Fleet

TEMPLATE = """\
variable "source_ami" {{ default = "" }}
variable "tool" {{ default = "mytool" }}
variable "unset" {{ type = string }}
locals {{ when = timestamp() }}
source "amazon-ebs" "a" {{
  region     = "us-east-1"
  source_ami = var.source_ami
  {builder}
}}
source "null" "b" {{ communicator = "none" }}
build {{
  sources = ["source.amazon-ebs.a", "source.null.b"]
  {steps}
}}
"""


def needed(web: Callable[..., Fleet], steps: str = "", *, builder: str = "", packer: str = "{}") -> list[str]:
    yaml = f"source: {{ssm: /x}}\npacker: {packer}\n"
    files = {f"desired/web/{name}": "" for name in ("site.yml", "requirements.yml", "t.sh", "run.sh")}
    fleet = web(yaml, TEMPLATE.format(steps=steps, builder=builder), files=files)
    assert fleet.problems == {}
    return [program.name for program in fleet.images["web"].template.programs]


def step(type_: str, attributes: str = "", kind: str = "provisioner") -> str:
    return f'{kind} "{type_}" {{\n    {attributes}\n  }}\n  '


ZSH = step("shell-local", 'inline = ["true"]\n    execute_command = ["zsh"]', "post-processor")
ANSIBLE = 'playbook_file = "./site.yml"\n    '


@pytest.mark.parametrize(
    ("steps", "programs"),
    [
        ("", []),
        (step("shell", 'script = "./t.sh"'), []),
        (step("ansible-local", ANSIBLE), []),
        (step("ansible", ANSIBLE), ["ansible-playbook"]),
        (step("ansible", ANSIBLE) * 2, ["ansible-playbook"]),
        (step("ansible", f'{ANSIBLE}galaxy_file = "./requirements.yml"'), ["ansible-playbook", "ansible-galaxy"]),
        (step("ansible", f'{ANSIBLE}command = "/opt/bin/ansible-playbook"'), ["/opt/bin/ansible-playbook"]),
        (step("ansible", f"{ANSIBLE}command = var.tool"), ["mytool"]),
        (step("ansible", f'{ANSIBLE}command = ""'), ["ansible-playbook"]),
        (step("inspec", 'profile = "./t.sh"'), ["inspec"]),
        (step("shell-local", 'inline = ["true"]'), []),
        (step("shell-local", 'inline = ["true"]\n    execute_command = ["bash", "-c", "{{.Script}}"]'), ["bash"]),
        (step("shell-local", 'inline = ["print()"]\n    inline_shebang = "/usr/bin/env python3"'), ["python3"]),
        (step("shell-local", 'inline = ["print()"]\n    inline_shebang = "/usr/bin/perl -w"'), ["/usr/bin/perl"]),
        (ZSH, ["zsh"]),
        (f"post-processors {{\n{ZSH}}}", ["zsh"]),
        (step("ansible", ANSIBLE, "error-cleanup-provisioner"), ["ansible-playbook"]),
    ],
)  # fmt: skip
def test_provisioners_need_what_they_run_here(web: Callable[..., Fleet], steps: str, programs: list[str]) -> None:
    assert needed(web, steps) == programs


@pytest.mark.parametrize(
    "attributes",
    [
        'command = "./run.sh"',
        'command = "${path.root}/run.sh"',
        'command = "bin-${local.when}"',
        'command = "{{ template_dir }}/run.sh"',
        'only = ["null.other"]',
        'except = ["amazon-ebs.a", "null.b"]',
    ],
)
def test_what_is_in_the_repository_not_known_or_does_not_run_is_not_needed(
    web: Callable[..., Fleet], attributes: str
) -> None:
    assert needed(web, step("ansible", f"{ANSIBLE}{attributes}")) == []


def test_a_step_for_other_systems_needs_nothing_on_this_one(web: Callable[..., Fleet]) -> None:
    elsewhere = 'inline = ["x"]\n    execute_command = ["cmd"]\n    only_on = ["windows"]'
    assert needed(web, step("shell-local", elsewhere)) == []
    assert needed(web, step("shell-local", elsewhere.replace("windows", 'linux", "darwin'))) == ["cmd"]


def test_a_step_of_a_build_that_is_not_selected_needs_nothing(web: Callable[..., Fleet]) -> None:
    steps = step("ansible", f'{ANSIBLE}only = ["null.b"]')
    assert needed(web, steps) == ["ansible-playbook"]
    assert needed(web, steps, packer='{only: ["amazon-ebs.a"]}') == []


def test_what_a_build_is_given_instead_counts(web: Callable[..., Fleet]) -> None:
    steps = step("ansible", f'{ANSIBLE}override = {{ a = {{ command = "other-playbook" }} }}')
    assert needed(web, steps, packer='{only: ["amazon-ebs.a"]}') == ["other-playbook"]
    assert needed(web, steps.replace("a = {", "c = {")) == ["ansible-playbook"]


def test_who_logs_in_by_the_session_manager_needs_its_plugin(web: Callable[..., Fleet]) -> None:
    assert needed(web, builder='ssh_interface = "session_manager"') == ["session-manager-plugin"]
    assert needed(web, builder='ssh_interface = "private_ip"') == []


def test_where_it_is_needed_is_known(web: Callable[..., Fleet]) -> None:
    fleet = web("source: {ssm: /x}\n", TEMPLATE.format(steps=step("inspec"), builder=""))
    (program,) = fleet.images["web"].template.programs
    assert (program.user, str(program.place)) == ('provisioner "inspec"', "desired/web/web.pkr.hcl:13:3")


def test_json_templates_need_the_same(read: Callable[..., Fleet]) -> None:
    template = {
        "builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0abc"}],
        "provisioners": [
            {"type": "ansible", "playbook_file": "site.yml"},
            {"type": "shell-local", "inline": ["x"], "execute_command": ["bash", "-c", "{{.Script}}"]},
        ],
    }
    fleet = read({"desired/web/t.json": json.dumps(template), "desired/web/site.yml": "[]"})
    assert fleet.problems == {}
    assert [one.name for one in fleet.images["web"].template.programs] == ["ansible-playbook", "bash"]
