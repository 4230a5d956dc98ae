"""Ansible is the judge: whatever file of the repository it opens while it runs a playbook is an input of the image."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.desired.fleet import read_fleet
from reconciler.git.repository import Repository
from reconciler.plan.reasons import repository_path

pytestmark = pytest.mark.long

# Loaded by every Python that Ansible starts, before anything else.
WATCH = """\
import os, sys

root, log = os.environ["WATCHED"], os.open(os.environ["OPENED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(root + "/") and os.path.isfile(path):
            os.write(log, path[len(root) + 1 :].encode() + b"\\n")

sys.addaudithook(note)
"""
TEMPLATE = """\
source "amazon-ebs" "web" {{
  region     = "us-east-1"
  source_ami = "ami-0abc"
}}
build {{
  sources = ["source.amazon-ebs.web"]
  provisioner "ansible" {{
    {arguments}
  }}
}}
"""
DEBUG = "- debug: { msg: done }\n"

# A folder for Packer, one for Ansible beside it, roles in three places, and names that are only known at run time.
BESIDE = {
    "packer/ansible.cfg": "[defaults]\nroles_path = ../vendor/roles:../ansible/roles\nfilter_plugins = ../plugins\n"
    "inventory = ../inventory/hosts\n",
    "inventory/hosts": "default ansible_connection=local\n",
    "inventory/group_vars/all.yml": "from_inventory: 1\n",
    "plugins/loud.py": "class FilterModule:\n    def filters(self):\n        return {'loud': str.upper}\n",
    "ansible/site.yml": """\
- import_playbook: plays/base.yml
- hosts: all
  gather_facts: false
  vars_files:
    - vars/common.yml
    - ["vars/{{ flavour | default('plain') }}.yml", vars/fallback.yml]
  pre_tasks:
    - ansible.builtin.include_tasks: tasks/first.yml
    - include_vars: { dir: vars/many }
  roles:
    - web
    - role: shared/tls
    - { role: monitored, tags: [agents] }
  tasks:
    - import_tasks: tasks/last.yml
    - include_role: { name: deployed, tasks_from: extra }
    - copy: { src: motd, dest: "{{ out }}/motd" }
    - template: src=app.conf.j2 dest={{ out }}/app.conf
    - copy:
        content: "{{ lookup('file', 'banner.txt') }} {{ 'x' | loud }}"
        dest: "{{ out }}/banner"
    - debug: { msg: "{{ lookup('file', playbook_dir + '/../docs/notice.txt') }}" }
    - copy: { src: "{{ item }}", dest: "{{ out }}/" }
      with_fileglob: "conf.d/*.conf"
    - copy: { src: "{{ item }}.sh", dest: "{{ out }}/" }
      loop: [one, two]
    - script: scripts/probe.sh --quick
    - include_tasks: "{{ family }}.yml"
      vars: { family: debian }
    - copy: { src: "{{ lookup('first_found', wanted) }}", dest: "{{ out }}/choice" }
      vars:
        wanted: { files: ["{{ flavour | default('some') }}.txt", default.txt], paths: [choices] }
""",
    "ansible/plays/base.yml": "- hosts: all\n  gather_facts: false\n  roles: [base]\n",
    "ansible/plays/roles/base/tasks/main.yml": DEBUG,
    "ansible/plays/group_vars/all.yml": "from_plays: 1\n",
    "ansible/group_vars/all/main.yml": "from_play: 1\n",
    "ansible/host_vars/default.yml": "from_host: 1\n",
    "ansible/vars/common.yml": "common: 1\n",
    "ansible/vars/plain.yml": "plain: 1\n",
    "ansible/vars/fallback.yml": "fallback: 1\n",
    "ansible/vars/many/a.yml": "a: 1\n",
    "ansible/vars/many/below/b.yml": "b: 1\n",
    "ansible/tasks/first.yml": "- include_tasks: deeper.yml\n",
    "ansible/tasks/deeper.yml": DEBUG,
    "ansible/tasks/last.yml": "- block:\n  - import_tasks: ../elsewhere/more.yml\n",
    "ansible/elsewhere/more.yml": DEBUG,
    "ansible/debian.yml": DEBUG,
    "ansible/files/motd": "hello\n",
    "ansible/files/banner.txt": "b\n",
    "ansible/files/conf.d/a.conf": "a\n",
    "ansible/files/one.sh": "1\n",
    "ansible/files/two.sh": "2\n",
    "ansible/files/shared.txt": "s\n",
    "ansible/templates/app.conf.j2": "{% include 'part.j2' %}\n{%- from 'macros/some.j2' import some -%}\n",
    "ansible/templates/part.j2": "part{% include ['none.j2', 'whole.j2'] %}\n",
    "ansible/whole.j2": "whole\n",
    "ansible/templates/macros/some.j2": "{% macro some() %}{% endmacro %}\n",
    "ansible/scripts/probe.sh": "#!/bin/sh\ntrue\n",
    "ansible/choices/some.txt": "s\n",
    "ansible/choices/default.txt": "d\n",
    "ansible/library/ours.py": "from ansible.module_utils.basic import AnsibleModule\nAnsibleModule({}).exit_json()\n",
    "ansible/roles/web/tasks/main.yml": "- include_tasks: '{{ role_path }}/tasks/more.yml'\n- ours:\n"
    "- copy: { src: shared.txt, dest: '{{ out }}/shared' }\n- template: { src: own.j2, dest: '{{ out }}/own' }\n",
    "ansible/roles/web/tasks/more.yml": DEBUG,
    "ansible/roles/web/templates/own.j2": "own\n",
    "ansible/roles/web/meta/main.yml": "dependencies:\n  - role: dependency\n  - beside\n",
    "ansible/roles/web/defaults/main.yml": "default: 1\n",
    "ansible/roles/web/handlers/main.yml": "- name: restarted\n  debug: { msg: h }\n",
    "ansible/roles/beside/tasks/main.yml": DEBUG,
    "ansible/roles/deployed/tasks/extra.yml": DEBUG,
    "ansible/shared/tls/tasks/main.yml": DEBUG,
    "vendor/roles/dependency/tasks/main.yml": DEBUG,
    "vendor/roles/dependency/vars/main.yml": "v: 1\n",
    "vendor/roles/monitored/tasks/main.yml": "- include_role: { name: '{{ agent }}' }\n  vars: { agent: agent-a }\n",
    "vendor/roles/agent-a/tasks/main.yml": DEBUG,
    "docs/notice.txt": "n\n",
    "docs/other.txt": "o\n",
    "README.md": "",
}

# All at the repository's root, with a collection, a role behind a link, anchors and plugins of its own.
AT_THE_ROOT = {
    "hosts/prod.yml": "all:\n  hosts:\n    default: { ansible_connection: local }\n",
    "hosts/group_vars/all.yml": "from_inventory: 1\n",
    "hosts/host_vars/default/x.yml": "from_host: 1\n",
    "site.yml": """\
- hosts: all
  gather_facts: false
  vars_files: "{{ playbook_dir }}/settings/{{ stage | default('dev') }}.yml"
  vars:
    parts: &parts [parts/one.txt, parts/two.txt]
  roles:
    - { name: web, level: 1 }
    - acme.tools.agent
  handlers:
    - import_tasks: handlers/common.yaml
  tasks:
    - block:
        - include_tasks: { file: steps/first.yml, apply: { tags: a } }
      always:
        - ansible.builtin.include_vars: { file: settings/extra.yml }
    - ansible.builtin.copy: { src: "{{ item }}", dest: "{{ out }}/" }
      loop: *parts
    - assemble: { src: fragments, remote_src: false, dest: "{{ out }}/assembled" }
    - copy: { src: tree/, dest: "{{ out }}/tree" }
    - copy:
        dest: "{{ out }}/t"
        content: "{{ lookup('template', 'by-lookup.j2') }}{{ lookup('file', 'a.txt', 'b.txt') }}"
    - acting:
    - import_role: { name: web, tasks_from: more/extra }
    - include_role: { name: "{{ 'we' ~ 'b' }}" }
    - include_vars: "{{ item }}"
      with_first_found: ["os-{{ os | default('x') }}.yml", settings/os-default.yml]
    - name: as free form
      include_tasks: steps/second.yml
    - script: "{{ playbook_dir }}/bin/probe.sh"
    - using_utils:
    - set_fact: { quiet: "{{ 'a' is shouted }}" }
""",
    "settings/dev.yml": "a: 1\n",
    "settings/extra.yml": "b: 1\n",
    "settings/os-default.yml": "c: 1\n",
    "os-x.yml": "x: 1\n",
    "handlers/common.yaml": "- name: reloaded\n  debug: { msg: h }\n",
    "steps/first.yml": DEBUG,
    "steps/second.yml": "- import_tasks: third.yml\n",
    "steps/third.yml": DEBUG,
    "parts/one.txt": "1\n",
    "files/parts/two.txt": "2\n",
    "files/fragments/a": "a\n",
    "files/fragments/b": "b\n",
    "files/tree/x/y": "y\n",
    "files/a.txt": "a\n",
    "files/b.txt": "b\n",
    "templates/by-lookup.j2": "{% extends 'basis.j2' %}",
    "templates/basis.j2": "{% block a %}{% endblock %}",
    "action_plugins/acting.py": "from ansible.plugins.action import ActionBase\nclass ActionModule(ActionBase):\n"
    "    def run(self, tmp=None, task_vars=None):\n        return {'changed': False}\n",
    "library/acting.py": "#\n",
    "library/using_utils.py": "from ansible.module_utils.basic import AnsibleModule\n"
    "from ansible.module_utils.ours import x\nAnsibleModule({}).exit_json()\n",
    "module_utils/ours.py": "x = 1\n",
    "test_plugins/shout.py": "class TestModule:\n    def tests(self):\n        return {'shouted': str.isupper}\n",
    "roles/web": "../vendor/web-1.2",
    "vendor/web-1.2/tasks/main.yml": "- include_tasks: more/extra.yml\n- include_tasks: ../../../common/shared.yml\n",
    "vendor/web-1.2/tasks/more/extra.yml": "- copy: { src: deep/f, dest: '{{ out }}/f' }\n",
    "vendor/web-1.2/files/deep/f": "f\n",
    "vendor/web-1.2/vars/main.yml": "v: 1\n",
    "common/shared.yml": "- copy: { src: near.txt, dest: '{{ out }}/near' }\n",
    "common/near.txt": "n\n",
    "collections/ansible_collections/acme/tools/roles/agent/tasks/main.yml": "- acme.tools.module:\n",
    "collections/ansible_collections/acme/tools/plugins/modules/module.py": "from ansible.module_utils.basic import "
    "AnsibleModule\nAnsibleModule({}).exit_json()\n",
    "bin/probe.sh": "#!/bin/sh\ntrue\n",
    "unrelated/x.yml": "- a\n",
    "docs/readme.txt": "",
}


@pytest.mark.parametrize(
    ("files", "where", "arguments", "unread"),
    [
        (BESIDE, "packer", {"playbook_file": "../ansible/site.yml"}, {"README.md", "docs/other.txt"}),
        (
            AT_THE_ROOT,
            ".",
            {"playbook_file": "site.yml", "extra_arguments": ["-i", "hosts/prod.yml"]},
            {"unrelated/x.yml", "docs/readme.txt"},
        ),
    ],
    ids=["folders beside each other", "at the root"],
)
def test_every_file_that_ansible_opens_is_an_input(
    tmp_path: Path, files: Mapping[str, str], where: str, arguments: Mapping[str, object], unread: set[str]
) -> None:
    root = repository(tmp_path / "repository", files, where, arguments)
    image = read_fleet(Repository.open(root).tree()).images["web"]
    inputs = {repository_path(image.folder, file.path) for file in image.inputs}

    opened = opened_by_ansible(root, where, arguments, tmp_path)

    assert len(opened) > 30
    assert not opened - inputs
    assert inputs.isdisjoint(unread)


def test_what_galaxy_installs_from_where_packer_runs_is_an_input(tmp_path: Path) -> None:
    about = "namespace: acme\nname: {}\nversion: 1.0.0\nreadme: README.md\nauthors: [a]\n"
    names = ("source", "name", "bare", "sub/one")
    files = {f"shared/{name}/galaxy.yml": about.format(name.rpartition("/")[2]) for name in names}
    files |= {f"shared/{name}/README.md": f"{name}\n" for name in names}
    files["more/of/needed.yml"] = (
        "collections:\n- {source: ../shared/source, type: dir}\n- {name: ../shared/name, type: dir}\n"
        "- ../shared/bare\n- {source: ../shared/sub, type: subdirs}\n"
    )
    files["ansible/site.yml"] = "- hosts: all\n"
    arguments = {"playbook_file": "site.yml", "galaxy_file": "../more/of/needed.yml"}
    root = repository(tmp_path / "repository", files, "ansible", arguments)
    image = read_fleet(Repository.open(root).tree()).images["web"]
    program = Path(sys.executable).with_name("ansible-galaxy")

    ended = subprocess.run(
        [str(program), "collection", "install", "-r", arguments["galaxy_file"], "-p", str(tmp_path / "out")],
        cwd=root / "ansible", env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    installed = {path.read_text(encoding="utf-8") for path in (tmp_path / "out").rglob("README.md")}
    assert installed == {f"{name}\n" for name in names}
    inputs = {repository_path(image.folder, file.path) for file in image.inputs}
    assert {path for path in files if path.startswith("shared/")} <= inputs


def repository(root: Path, files: Mapping[str, str], where: str, arguments: Mapping[str, object]) -> Path:
    written = "\n    ".join(f"{name} = {str(value).replace(chr(39), chr(34))}" for name, value in quoted(arguments))
    declared = {
        "desired/web/image.yaml": f"packer: {{working_dir: /{where}}}\n",
        "desired/web/web.pkr.hcl": TEMPLATE.format(arguments=written),
    }
    for path, text in {**files, **declared}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("../"):
            (root / path).symlink_to(text)
        else:
            (root / path).write_text(text, encoding="utf-8")
    for command in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    return root


def quoted(arguments: Mapping[str, object]) -> list[tuple[str, object]]:
    return [(name, f"'{value}'" if isinstance(value, str) else value) for name, value in arguments.items()]


def opened_by_ansible(root: Path, where: str, arguments: Mapping[str, object], tmp_path: Path) -> set[str]:
    """Run it as Packer does: from where Packer runs, with the provisioner's arguments."""
    hook, out, log = tmp_path / "hook", tmp_path / "out", tmp_path / "log"
    for folder in (hook, out):
        folder.mkdir()
    (hook / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    more = arguments.get("extra_arguments", [])
    assert isinstance(more, list)
    ended = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")), str(arguments["playbook_file"]), *more,
            "-e", f"out={out}", "-e", f"ansible_python_interpreter={sys.executable}",
        ],
        cwd=root / where,
        env={
            **os.environ, "PYTHONPATH": str(hook), "WATCHED": str(root), "OPENED": str(log), "HOME": str(tmp_path),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"), "ANSIBLE_REMOTE_TEMP": str(tmp_path / "tmp"),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return set(log.read_text(encoding="utf-8").splitlines())
