"""What playbooks draw on, by Ansible's rules. That Ansible opens nothing else is in tests/integration/desired."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from reconciler.desired.ansible.values import sayings_of
from reconciler.model.fleet import Fleet
from tests.unit.desired.conftest import COMPLETE

Read = Callable[..., Fleet]
STEP = 'sources = ["source.amazon-ebs.a"]'
TASKS = "- debug: {msg: done}\n"


def drawn(web: Read, files: Mapping[str, str], *arguments: str) -> list[str]:
    """What an image draws on beside its template and the playbook, whose plays are at `ansible/site.yml`."""
    lines = "\n    ".join(('playbook_file = "../../ansible/site.yml"', *arguments))
    template = COMPLETE.replace(STEP, f'\n  {STEP}\n  provisioner "ansible" {{\n    {lines}\n  }}\n')
    fleet = web("", template, files=files)
    assert not fleet.problems, [str(one) for one in fleet.problems["web"]]
    paths = (one.path.removeprefix("../../") for one in fleet.images["web"].inputs)
    return [path for path in paths if path not in ("ansible/site.yml", "web.pkr.hcl")]


@pytest.mark.parametrize(
    "play",
    [
        "roles: [web]",
        "roles: [{role: web, x: 1}]",
        "roles: [{name: web}]",
        "tasks: [{include_role: {name: web}}]",
        "tasks: [{ansible.builtin.import_role: {name: web, tasks_from: x}}]",
        "tasks: [{import_role: name=web}]",
        "tasks: [{block: [{block: [], rescue: [{include_role: {name: web}}]}]}]",
        "roles: [./web]",
        "roles: ['{{ playbook_dir }}/roles/web']",
        "vars: {names: &names [web]}\n  roles: *names",
    ],
)
def test_a_role_is_found_beside_the_playbook_and_taken_whole(web: Read, play: str) -> None:
    files = {
        "ansible/site.yml": f"- hosts: all\n  {play}\n",
        "ansible/roles/web/tasks/main.yml": TASKS,
        "ansible/roles/web/files/a/b": "",
        "ansible/roles/other/tasks/main.yml": TASKS,
    }
    assert drawn(web, files) == ["ansible/roles/web/files/a/b", "ansible/roles/web/tasks/main.yml"]


@pytest.mark.parametrize(
    ("more", "arguments"),
    [
        ({}, ['ansible_env_vars = ["ANSIBLE_ROLES_PATH=/etc/roles:../../shared/roles"]']),
        ({}, ['roles_path = "../../shared/roles"']),
        ({"desired/web/ansible.cfg": "[defaults]\nroles_path = ../../shared/roles:/etc/ansible/roles\n"}, []),
        ({"desired/web/ansible.cfg": "[defaults]\nroles_path={{CWD}}/../../shared/roles\n"}, []),
        (
            {"conf/a.cfg": "[defaults]\nroles_path = ../shared/roles\n"},
            ['ansible_env_vars = ["ANSIBLE_CONFIG=../../conf/a.cfg"]'],
        ),
    ],
    ids=["the environment", "an argument", "ansible.cfg", "where it runs", "another file of settings"],
)  # fmt: skip
def test_roles_are_found_where_ansible_is_told_to_look(
    web: Read, more: Mapping[str, str], arguments: list[str]
) -> None:
    files = {
        "ansible/site.yml": "- hosts: all\n  roles: [web]\n",
        "shared/roles/web/meta/main.yml": "dependencies: [{role: base}]\n",
        "shared/roles/base/tasks/main.yml": TASKS,
        **more,
    }
    found = drawn(web, files, *arguments)
    assert {"shared/roles/base/tasks/main.yml", "shared/roles/web/meta/main.yml"} <= set(found)
    assert {path.removeprefix("desired/web/") for path in more} <= set(found)


def test_the_first_role_of_that_name_is_the_one(web: Read) -> None:
    files = {
        "ansible/site.yml": "- hosts: all\n  roles: [web]\n",
        "ansible/roles/web/tasks/main.yml": TASKS,
        "ansible/web/tasks/main.yml": TASKS,
        "desired/web/ansible.cfg": "[defaults]\nroles_path = ../../shared\n",
        "shared/web/tasks/main.yml": TASKS,
    }
    assert drawn(web, files) == ["ansible/roles/web/tasks/main.yml", "ansible.cfg"]


def test_a_role_of_a_computed_name_may_be_any(web: Read) -> None:
    files = {
        "ansible/site.yml": "- hosts: all\n  roles: ['{{ kind }}']\n",
        "ansible/roles/web/meta/main.yml": "dependencies: [base]\n",
        "ansible/roles/db/tasks/main.yml": "- include_tasks: ../../../common.yml\n",
        "ansible/roles/base/tasks/main.yml": TASKS,
        "ansible/common.yml": TASKS,
        "ansible/other.yml": TASKS,
    }
    assert drawn(web, files) == [
        "ansible/common.yml", "ansible/roles/base/tasks/main.yml", "ansible/roles/db/tasks/main.yml",
        "ansible/roles/web/meta/main.yml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "group_vars/all.yml",
        "group_vars/web/x",
        "host_vars/default.yml",
        "library/ours.py",
        "filter_plugins/x.py",
        "module_utils/x.py",
        "collections/ansible_collections/a/b/galaxy.yml",
        "requirements.yml",
        "roles/requirements.yaml",
    ],
)
def test_what_lies_beside_a_playbook_is_loaded_without_being_named(web: Read, path: str) -> None:
    files = {"ansible/site.yml": "- hosts: all\n", f"ansible/{path}": "", "ansible/README.md": ""}
    assert drawn(web, files) == [f"ansible/{path}"]


@pytest.mark.parametrize(
    "written",
    [
        "collections: [{source: ../../shared/coll, type: dir}]",
        "collections: [{name: ../../shared/coll, type: dir}]",
        "collections: [{source: ../../shared, type: subdirs}]",
        "collections: [../../shared/coll]",
        "collections: [{name: acme.coll, source: ../../shared/coll, type: dir}]",
        "collections: [{source: ../../shared/coll/x.tar.gz, type: file}]",
        "collections: [../../shared/coll/x.tar.gz]",
        "roles: [{src: ../../shared/coll/x.tar.gz, name: local}]",
        "roles: [{name: ../../shared/coll/x.tar.gz}]",
        "- src: ../../shared/coll/x.tar.gz",
        "roles: [{include: ../../shared/coll/x.tar.gz}]",
    ],
)
def test_what_galaxy_installs_of_the_repository_counts(web: Read, written: str) -> None:
    files = {
        "ansible/site.yml": "- hosts: all\n", "one/two/three/needed.yml": f"{written}\n",
        "shared/coll/x.tar.gz": "", "one/shared/coll/x.tar.gz": "", "one/x.yml": "",
    }  # fmt: skip
    found = drawn(web, files, 'galaxy_file = "../../one/two/three/needed.yml"')
    assert set(found) - {"one/shared/coll/x.tar.gz"} == {"one/two/three/needed.yml", "shared/coll/x.tar.gz"}


@pytest.mark.parametrize(
    "step",
    [
        'inline = ["ansible-galaxy install -r ../../one/needed.yml"]',
        'inline = ["ansible-galaxy role install --role-file=../../one/needed.yml -p roles"]',
        'command = "ansible-galaxy install -r ../../one/needed.yml"',
        'script = "../../one/install.sh"',
    ],
)
@pytest.mark.parametrize(
    "said", ["roles: [src: ../../shared/x.tgz]", "- src: ../../shared/x.tgz", "collections: [../../shared/x.tgz]"]
)
def test_what_a_command_has_galaxy_install_counts_without_a_playbook(web: Read, step: str, said: str) -> None:
    files = {
        "one/needed.yml": f"{said}\n", "one/install.sh": "ansible-galaxy install -r ../../one/needed.yml\n",
        "shared/x.tgz": "", "shared/y.tgz": "",
    }  # fmt: skip
    template = COMPLETE.replace(STEP, f'\n  {STEP}\n  provisioner "shell-local" {{\n    {step}\n  }}\n')
    found = {one.path for one in web("", template, files=files).images["web"].inputs} - {"../../one/install.sh"}
    assert found == {"../../one/needed.yml", "../../shared/x.tgz", "web.pkr.hcl"}


@pytest.mark.parametrize(
    ("needed", "expected"),
    [
        ("collections: [acme.coll, {name: acme.more, version: 1.0.0}]\nroles: [acme.role]\n", set()),
        ("collections: [{source: near, type: dir}]\n", {"../near/x"}),
        ("- name: near/x\n  debug: {}\n", set()),
    ],
)
def test_a_name_in_requirements_is_no_folder_that_is_called_so(web: Read, needed: str, expected: set[str]) -> None:
    files = {"ansible/site.yml": "- hosts: all\n", "more/needed.yml": needed}
    files |= {f"desired/{name}/x": "" for name in ("acme.coll", "acme.more", "acme.role", "near")}
    lines = 'playbook_file = "../ansible/site.yml"\n    galaxy_file = "../more/needed.yml"'
    template = COMPLETE.replace(STEP, f'\n  {STEP}\n  provisioner "ansible" {{\n    {lines}\n  }}\n')
    fleet = web("packer: {working_dir: /desired}", template, files=files)
    found = {one.path for one in fleet.images["web"].inputs}
    assert found == {"../../ansible/site.yml", "../../more/needed.yml", "web.pkr.hcl"} | expected


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ('inventory_file = "../../hosts/prod"', "hosts/group_vars/all.yml"),
        ('inventory_directory = "../../hosts"', "hosts/host_vars/x"),
        ('extra_arguments = ["-i", "../../hosts/prod"]', "hosts/group_vars/all.yml"),
        ('ansible_env_vars = ["ANSIBLE_INVENTORY=../../hosts/prod"]', "hosts/group_vars/all.yml"),
    ],
)
def test_variables_beside_an_inventory_count(web: Read, argument: str, path: str) -> None:
    files = {"ansible/site.yml": "- hosts: all\n", "hosts/prod": "default\n", path: ""}
    assert drawn(web, files, argument) == sorted(["hosts/prod", path])


@pytest.mark.parametrize(
    ("task", "path"),
    [
        ("include_tasks: tasks/x.yml", "tasks/x.yml"),
        ("include_tasks: x.yml", "tasks/x.yml"),
        ("import_tasks: {file: ../elsewhere/x.yml}", "../elsewhere/x.yml"),
        ("include: x.yml a=b", "x.yml"),
        ("include_vars: x.yml", "vars/x.yml"),
        ("include_vars: {dir: settings}", "settings/x.yml"),
        ("copy: {src: x}", "files/x"),
        ("copy: src=x.conf dest=/etc/x.conf", "x.conf"),
        ("copy: {src: tree, dest: /srv}", "files/tree/a/b"),
        ("template: {src: x.j2}", "templates/x.j2"),
        ("script: x.sh --now", "files/x.sh"),
        ("debug: {msg: \"{{ lookup('file', 'x.txt') }}\"}", "files/x.txt"),
        ("debug: {msg: \"{{ lookup('file', playbook_dir ~ '/../docs/x.txt') }}\"}", "../docs/x.txt"),
        ("copy: {src: '{{ item }}'}\n      loop: [x.conf]", "files/x.conf"),
        ("copy: {src: '{{ item }}'}\n      with_fileglob: ['conf/*.conf']", "files/conf/x.conf"),
        ("copy: {src: '{{ flavour }}.conf'}", "files/x.conf"),
        ("copy: {src: '{{ item }}'}\n      with_items: '{{ names }}'", "files/x"),
        ("include_tasks: '{{ family }}.yml'", "x.yml"),
        ("include_tasks: 'os/{{ family }}/x.yml'", "os/debian/x.yml"),
        ("unarchive: {src: '{{ playbook_dir }}/dist/x.tgz'}", "dist/x.tgz"),
    ],
)  # fmt: skip
def test_what_a_task_names_is_looked_for_where_ansible_does(web: Read, task: str, path: str) -> None:
    written = f"ansible/{path}" if not path.startswith("../") else path.removeprefix("../")
    files = {"ansible/site.yml": f"- hosts: all\n  tasks:\n    - {task}\n", written: "", "ansible/notes/y.md": ""}
    assert drawn(web, files) == [written]


def test_playbooks_vars_files_and_included_files_are_read_in_their_turn(web: Read) -> None:
    files = {
        "ansible/site.yml": "- import_playbook: plays/a.yml\n- hosts: all\n  vars_files: [vars/a.yml, [vars/b.yml]]\n",
        "ansible/plays/a.yml": "- hosts: all\n  roles: [near]\n  tasks: [{include_tasks: ../steps/one.yml}]\n",
        "ansible/plays/roles/near/handlers/main.yml": "- copy: {src: from-the-play.txt}\n",
        "ansible/plays/files/from-the-play.txt": "",
        "ansible/steps/one.yml": "- include_tasks: two.yml\n",
        "ansible/steps/two.yml": TASKS,
        "ansible/vars/a.yml": "certificate: certificates/web.pem\n",
        "ansible/files/certificates/web.pem": "",
        "ansible/vars/b.yml": "",
        "ansible/vars/c.yml": "",
        "ansible/other.yml": "- hosts: all\n",
    }
    assert drawn(web, files) == sorted(set(files) - {"ansible/site.yml", "ansible/vars/c.yml", "ansible/other.yml"})


def test_a_role_behind_a_link_is_taken_with_the_link(read: Read) -> None:
    template = COMPLETE.replace(STEP, f'\n{STEP}\nprovisioner "ansible" {{\n playbook_file = "site.yml"\n}}\n')
    files = {
        "desired/web/t.pkr.hcl": template,
        "desired/web/site.yml": "- hosts: all\n  roles: [web]\n",
        "desired/web/roles": "../../ansible/roles",
        "ansible/roles/web": "../../vendor/web",
        "vendor/web/tasks/main.yml": TASKS,
    }
    fleet = read(files, {"desired/web/roles": "120000", "ansible/roles/web": "120000"})
    assert [one.path for one in fleet.images["web"].inputs] == [
        "../../ansible/roles/web", "../../vendor/web/tasks/main.yml", "roles", "site.yml", "t.pkr.hcl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "step",
    [
        'provisioner "shell-local" { inline = ["cd ../../ansible && ansible-playbook -i hosts site.yml"] }',
        'provisioner "shell-local" { command = "ansible-playbook ../../ansible/site.yml" }',
        'provisioner "shell-local" { script = "../../run.sh" }',
    ],
)
def test_a_playbook_that_a_command_runs_is_one(web: Read, step: str) -> None:
    template = COMPLETE.replace(STEP, f"\n{STEP}\n{step}\n")
    files = {
        "ansible/site.yml": "- hosts: all\n  roles: [web]\n",
        "ansible/roles/web/meta/main.yml": "dependencies: [../../base]\n",
        "base/tasks/main.yml": TASKS,
        "run.sh": "ansible-playbook ../../ansible/site.yml\n",
    }
    found = {one.path for one in web("", template, files=files).images["web"].inputs}
    assert {"../../base/tasks/main.yml", "../../ansible/roles/web/meta/main.yml", "../../ansible/site.yml"} <= found


def test_what_a_playbook_uploads_for_the_other_machine_to_run_is_what_is_named(web: Read) -> None:
    """`ansible-local` runs on the instance, which has what was uploaded and nothing else."""
    step = 'provisioner "ansible-local" {\n playbook_file = "../../a/site.yml"\n role_paths = ["../../a/roles/web"]\n}'
    files = {
        "a/site.yml": "- hosts: all\n  roles: [web, db]\n",
        "a/roles/web/tasks/main.yml": TASKS,
        "a/roles/db/tasks/main.yml": TASKS,
    }
    fleet = web("", COMPLETE.replace(STEP, f"\n{STEP}\n{step}\n"), files=files)
    assert [one.path for one in fleet.images["web"].inputs] == [
        "../../a/roles/web/tasks/main.yml", "../../a/site.yml", "web.pkr.hcl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content", ["- hosts: [\n", "\0", "- a: *unknown\n", "[" * 200, "$ANSIBLE_VAULT;1.1;AES256\n31"]
)
def test_what_can_t_be_read_as_yaml_stops_nothing(web: Read, content: str) -> None:
    files = {"ansible/site.yml": content, "ansible/group_vars/all.yml": "", "ansible/other/x": ""}
    assert drawn(web, files) == ["ansible/group_vars/all.yml"]


@pytest.mark.parametrize(
    ("task", "playbooks"),
    [
        ("include_vars: '{{ ansible_distribution | lower }}.yml'", []),
        ("include_vars: {file: '{{ family }}.yml'}", []),
        ("include_tasks: '{{ family }}.yml'", []),
        ("include_vars: '{{ item }}'\n  with_first_found: ['{{ family }}.yml', default.yml]", ["ansible/db.yml"]),
    ],
)
def test_a_computed_name_leads_into_no_playbook_beside_the_one_that_runs(
    web: Read, task: str, playbooks: list[str]
) -> None:
    """Given a role with variables or tasks for each system, and another playbook, that one's roles are not drawn on."""
    role = {
        "ansible/roles/web/tasks/main.yml": f"- {task}\n",
        "ansible/roles/web/vars/debian.yml": "a: 1\n",
        "ansible/roles/web/tasks/debian.yml": TASKS,
    }
    files = {
        "ansible/site.yml": "- hosts: all\n  roles: [web]\n",
        "ansible/db.yml": "- hosts: all\n  roles: [db]\n",
        "ansible/roles/db/tasks/main.yml": TASKS,
        **role,
    }
    assert drawn(web, files) == sorted([*playbooks, *role])


def test_what_a_computed_name_may_come_to_beside_the_playbook_counts_if_it_is_none(web: Read) -> None:
    files = {
        "ansible/site.yml": "- hosts: all\n  tasks: [{include_vars: '{{ a }}.yml'}, {include_tasks: '{{ b }}.yml'}]\n",
        "ansible/debian.yml": "a: 1\n",
        "ansible/hosts.yml": "all: {hosts: {a: {}}}\n",
        "ansible/setup.yml": TASKS,
    }
    assert drawn(web, files) == ["ansible/debian.yml", "ansible/hosts.yml", "ansible/setup.yml"]


@pytest.mark.parametrize("text", ["{{" * 30_000, "{%" * 30_000, "{{ a" * 15_000, "}}" * 30_000, "$(" * 30_000])
def test_a_long_text_is_taken_apart_in_a_moment(text: str) -> None:
    found = sayings_of(f"a: '{text}'".encode())
    assert found is not None
    assert all("a" in word or "{" in word or "}" in word or "$" in word for word in found[0].words)


def test_aliases_of_aliases_are_not_followed_for_ever() -> None:
    doubled = "- &a0 [x, x]\n" + "".join(f"- &a{n + 1} [*a{n}, *a{n}]\n" for n in range(30))
    assert sayings_of(doubled.encode()) is None
    assert sayings_of(b"&a [*a, *a]") is None
    assert sayings_of(b"[" * 100_000 + b"]" * 100_000) is None
    found = sayings_of(b"a: !vault |\n  x\nb: &b !unsafe c\nd: {<<: {e: f}}\ng: *b\n---\nh")
    assert found is not None
    assert [(one.keys, one.words) for one in found] == [
        (("a",), ("x",)), (("b",), ("c",)), (("d", "e"), ("f",)), (("g",), ("c",)), ((), ("h",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        'ansible_env_vars = ["ANSIBLE_ROLES_PATH=shared"]',
        'ansible_env_vars = ["ANSIBLE_ROLES_PATH=/etc/roles:shared"]',
        'roles_path = "shared"',
        'collections_path = "shared"',
        'ansible_env_vars = ["ANSIBLE_COLLECTIONS_PATH=shared"]',
        'ansible_env_vars = ["ANSIBLE_FILTER_PLUGINS=shared"]',
        'extra_arguments = ["-i", "shared"]',
        'extra_arguments = ["--module-path", "shared"]',
        'extra_arguments = ["-M", "shared", "-v"]',
    ],
)
def test_a_folder_of_roles_or_of_anything_else_may_be_called_by_one_word(web: Read, arguments: str) -> None:
    step = f'provisioner "ansible" {{\n    playbook_file = "site.yml"\n    {arguments}\n  }}'
    files = {
        "site.yml": "- hosts: all\n  roles: [web]\n",
        "shared/web/tasks/main.yml": TASKS,
        "shared/group_vars/all.yml": "a: 1\n",
    }
    fleet = web("packer: {working_dir: /}\n", COMPLETE.replace(STEP, f"\n  {STEP}\n  {step}\n"), files=files)
    assert not fleet.problems, [str(one) for one in fleet.problems["web"]]
    assert "shared/web/tasks/main.yml" in fleet.images["web"].input_paths


def test_roles_that_a_mapping_of_the_environment_names_are_found(web: Read) -> None:
    step = (
        'provisioner "shell-local" {\n    env    = { ANSIBLE_ROLES_PATH = "shared" }\n'
        '    inline = ["ansible-playbook site.yml"]\n  }'
    )
    files = {"site.yml": "- hosts: all\n  roles: [web]\n", "shared/web/tasks/main.yml": TASKS, "shared/x/a": ""}
    fleet = web("packer: {working_dir: /}\n", COMPLETE.replace(STEP, f"\n  {STEP}\n  {step}\n"), files=files)
    assert "shared/web/tasks/main.yml" in fleet.images["web"].input_paths


@pytest.mark.parametrize(
    "tag",
    [
        '{% include "part.j2" %}',
        "{%- import 'part.j2' as part -%}",
        "{% from 'part.j2' import one, two with context %}",
        "{% include ['none.j2', 'part.j2'] %}",
        "{% include 'first.j2' %}",
    ],
)
def test_what_a_template_of_jinja_draws_in_counts(web: Read, tag: str) -> None:
    files = {
        "ansible/site.yml": "- hosts: all\n  tasks: [{template: {src: app.conf.j2, dest: /x}}]\n",
        "ansible/templates/app.conf.j2": f"a\n{tag}\n",
        "ansible/templates/first.j2": "{% include 'part.j2' %}",
        "ansible/templates/part.j2": "{{ x }}",
        "ansible/templates/other.j2": "",
    }
    assert "ansible/templates/part.j2" in drawn(web, files)
    assert "ansible/templates/other.j2" not in drawn(web, files)


def test_a_role_in_a_submodule_is_noted_as_what_a_build_will_miss(read: Read) -> None:
    step = 'provisioner "ansible" {\n    playbook_file = "../../ansible/site.yml"\n  }'
    files = {
        "desired/web/web.pkr.hcl": COMPLETE.replace(STEP, f"\n  {STEP}\n  {step}\n"),
        "ansible/site.yml": "- hosts: all\n  roles: [web]\n",
        "ansible/roles/web": "",
    }
    found = read(files, {"ansible/roles/web": "160000"}).images["web"]
    assert (
        "ansible/roles/web is a submodule, which is not exported: what is in it is missing from the build"
    ) in found.notes
