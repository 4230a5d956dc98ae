"""`init` proposes what `validate` accepts, writes when told, and changes no template."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from tests.command import Command
from tests.integration.adopting.shapes import FOLDER, SHAPES, Shape


@dataclass(frozen=True)
class Checkout:
    """A repository, and the command as a person runs it there."""

    root: Path
    command: Command

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, message: str = "Change") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.command.run(*arguments, cwd=self.root)

    def declared(self) -> dict[str, dict[str, object]]:
        files = sorted((self.root / "desired").glob("*/image.yaml"))
        return {file.parent.name: yaml.safe_load(file.read_text())["packer"] for file in files}


@pytest.fixture
def checkout(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    for name in list(os.environ):
        if name.startswith(("GIT_", "AWS_", "XDG_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")
    root = tmp_path / "golden-images"
    root.mkdir()
    checkout = Checkout(root, command)
    checkout.git("init", "--quiet")
    checkout.commit("Nothing yet")
    return checkout


@pytest.fixture(params=list(SHAPES))
def shape(request: pytest.FixtureRequest, checkout: Checkout) -> Shape:
    """One of the three, laid out and committed."""
    shape = SHAPES[request.param]
    shape.lay_out(checkout.root)
    checkout.commit("Begin")
    return shape


def test_it_shows_what_it_would_write_and_writes_nothing(checkout: Checkout, shape: Shape) -> None:
    shown = checkout.run("init")

    assert shown.returncode == 0, shown.stderr
    assert checkout.git("status", "--porcelain") == ""
    for name in shape.images:
        assert f"desired/{name}/image.yaml" in shown.stdout.splitlines()
    text = " ".join(shown.stdout.split())
    assert all(question in text for question in (*shape.open, *shape.left_out))
    assert "Nothing was written. `reconciler init --write` writes 2 files, and changes no template." in text
    assert all(len(line) <= 80 or line.startswith("   ") for line in shown.stdout.splitlines())


def test_what_it_writes_is_valid_at_once_and_nothing_else_changes(checkout: Checkout, shape: Shape) -> None:
    before = checkout.git("rev-parse", "HEAD")
    written = checkout.run("init", "--write")

    assert written.returncode == 0, written.stderr
    for name, packer in shape.images.items():
        declared = checkout.declared()[name]
        assert {key: value for key, value in declared.items() if key != "inputs"} == packer
    valid = checkout.run("validate", "--worktree")
    assert (valid.returncode, valid.stdout) == (0, f"{len(shape.images)} images valid\n"), valid.stderr
    checkout.commit("Declare them")
    changed = checkout.git("diff", "--name-only", before, "HEAD").splitlines()
    assert changed == [f"desired/{name}/image.yaml" for name in sorted(shape.images)]
    assert checkout.run("validate").returncode == 0
    plan = json.loads(checkout.run("plan", "--offline", "--json").stdout)
    assert plan["summary"] == {"build": len(shape.images)}


def test_a_repository_may_still_have_to_make_its_first_commit(checkout: Checkout) -> None:
    checkout.git("update-ref", "-d", "HEAD")
    next(iter(SHAPES.values())).lay_out(checkout.root)

    assert checkout.run("init", "--write").returncode == 0

    assert checkout.run("validate", "--worktree").stdout == "2 images valid\n"
    refused = checkout.run("validate")
    assert (refused.returncode, "has no commit yet" in refused.stderr) == (1, True)


def test_what_is_declared_is_not_proposed_once_more(checkout: Checkout, shape: Shape) -> None:
    checkout.run("init", "--write")
    again = checkout.run("init", "--write")

    assert again.returncode == 0
    assert again.stdout.startswith("0 images in 0 templates")
    assert again.stdout.rstrip().endswith("Nothing is left to declare.")


def test_its_json_has_all_of_it(checkout: Checkout) -> None:
    FOLDER.lay_out(checkout.root)
    checkout.commit()
    answer = json.loads(checkout.run("init", "--json").stdout)

    assert (answer["format_version"], answer["written"], answer["left_out"]) == ("1.0", False, [])
    web = next(one for one in answer["images"] if one["image"] == "web")
    assert web["path"] == "desired/web/image.yaml"
    assert web["declaration"]["packer"]["var_files"] == ["/packer/env/production.pkrvars.hcl"]
    assert web["source"]["ami"]["owners"] == ["136693071363"]
    assert (web["regions"], web["found_in"]) == (["us-east-1"], "Makefile:4")


AMI = """\
source "amazon-ebs" "{label}" {{
  {region}
  ami_name = "x"
  source_ami_filter {{
    filters     = {{ name = "debian-12-amd64-*" }}
    owners      = ["136693071363"]
    most_recent = true
  }}
}}
build {{ sources = ["source.amazon-ebs.{label}"] }}
"""
IN_US = 'region = "us-east-1"'


def test_a_region_that_the_template_leaves_open_is_asked_for(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    checkout.write("web.pkr.hcl", AMI.format(label="web", region=""))

    shown = " ".join(checkout.run("init").stdout.split())

    assert "1 image in 1 template; 1 question open" in shown
    assert "regions: [eu-central-1]" in shown
    assert "open: the template does not say in which region it builds: is eu-central-1 right?" in shown


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["packer/web.pkr.hcl"], ["web"]),
        (["packer/template.pkr.hcl"], ["golden-images"]),
        (["images/Web Server/aws.pkr.hcl"], ["web-server"]),
        (["a/web/main.pkr.hcl", "b/web/main.pkr.hcl"], ["a-web", "b-web"]),
        (["web/ubuntu.pkr.hcl", "web/debian.pkr.hcl"], ["debian", "ubuntu"]),
        (["ünïcode.pkr.hcl"], ["unicode"]),
        (["アプリ.pkr.hcl"], ["image"]),
    ],
)
def test_an_image_is_named_by_what_says_what_it_is(checkout: Checkout, paths: list[str], names: list[str]) -> None:
    """Two of one name are told apart; templates that are no one template together are templates of their own."""
    for path in paths:
        checkout.write(path, AMI.format(label="main", region=IN_US))

    answer = json.loads(checkout.run("init", "--json").stdout)

    assert [one["image"] for one in answer["images"]] == names, answer
    checkout.run("init", "--write")
    assert checkout.run("validate", "--worktree").returncode == 0


def test_what_leaves_nothing_is_left_out_with_the_reason(checkout: Checkout) -> None:
    checkout.write("box.pkr.hcl", 'source "null" "x" { communicator = "none" }\nbuild { sources = ["null.x"] }\n')
    checkout.write("broken.pkr.hcl.json", "{")
    checkout.write("old.json", '{"builders": [{"type": "amazon-ebs"')

    left = checkout.run("init")

    assert left.returncode == 1
    text = " ".join(left.stdout.split())
    assert "0 images in 0 templates; 2 left out" in text
    assert "null.x leaves nothing" in text
    assert "No template here makes an image." in text
    assert not (checkout.root / "desired").exists()


QEMU = '{"type": "qemu", "iso_url": "https://example.org/debian.iso", "iso_checksum": "none"}'
DOCKER = '{"type": "docker", "image": "debian:12", "commit": true}'
FILE = '{"type": "file", "content": "x", "target": "o"}'


def test_what_says_nowhere_where_it_is_kept_is_told_what_to_declare(checkout: Checkout) -> None:
    checkout.write("all.json", f'{{"builders": [{QEMU}, {DOCKER}, {FILE}]}}')
    checkout.write("disk/disk.pkr.hcl", 'source "file" "x" { target = "o" }\nbuild { sources = ["source.file.x"] }\n')

    left = checkout.run("init")

    assert left.returncode == 1
    text = " ".join(left.stdout.split())
    assert "0 images in 0 templates; 4 left out" in text
    for builder, kept in (("qemu", "folder"), ("docker", "repository"), ("file", "folder"), ("file.x", "folder")):
        assert f"it can't be known in which {kept} {builder} builds write desired/" in text
    assert "No template here makes an image." not in text
    assert "What is left out is declared by hand" in text
    told = json.loads(checkout.run("init", "--json").stdout)["left_out"]
    for path, written in (one["hint"].removeprefix("write ").split(", with a place of yours: ") for one in told):
        checkout.write(path, written.replace("registry.example.org/acme/web", "registry.example.org/acme/other"))
    validated = checkout.run("validate", "--worktree")
    assert validated.returncode == 0, validated.stderr


def test_a_repository_without_templates_says_so(checkout: Checkout) -> None:
    checkout.write("README.md", "Nothing here.\n")

    empty = checkout.run("init", "--write")

    assert (empty.returncode, empty.stdout.splitlines()[-1]) == (1, "No template here makes an image.")


def test_a_var_file_that_is_not_in_the_repository_is_asked_for(checkout: Checkout) -> None:
    checkout.write("web.pkr.hcl", AMI.format(label="web", region=IN_US))
    checkout.write("Makefile", "web:\n\tpacker build -var-file=secret.pkrvars.hcl -var who=me web.pkr.hcl\n")

    (one,) = json.loads(checkout.run("init", "--json").stdout)["images"]

    assert one["open"] == [
        "Makefile:2 names the var file secret.pkrvars.hcl, which is not known here, or not committed"
    ]
    assert one["declaration"] == {"packer": {"template": "/web.pkr.hcl", "working_dir": "/"}}


UNSET = 'variable "env" { type = string }\n'


def open_questions(checkout: Checkout) -> dict[str, list[str]]:
    return {one["image"]: one["open"] for one in json.loads(checkout.run("init", "--json").stdout)["images"]}


def test_a_variable_that_nobody_gives_a_value_to_is_asked_for(checkout: Checkout) -> None:
    checkout.write("packer/web/web.pkr.hcl", UNSET + AMI.format(label="web", region=IN_US))

    asked = open_questions(checkout)
    checkout.write("packer/web/x.auto.pkrvars.hcl", 'env = "live"\n')
    answered = open_questions(checkout)

    assert asked == {"web": ['variable "env" has no value: name a var file that gives it one, or set packer.variables']}
    assert answered == {"web": []}


def test_var_files_beside_the_folder_of_a_template_are_found_too(checkout: Checkout) -> None:
    checkout.write("templates/web.pkr.hcl", UNSET + AMI.format(label="web", region=IN_US))
    checkout.write("vars/live.pkrvars.hcl", 'env = "live"\n')
    checkout.write("vars/test.pkrvars.hcl", 'env = "test"\n')

    checkout.run("init", "--write")

    assert checkout.declared()["web"]["var_files"] == ["/vars/live.pkrvars.hcl"]


def test_a_value_of_the_shell_is_no_question_where_the_controller_gives_one(checkout: Checkout) -> None:
    """Given a command that passes the region and a build id, as the shell has them, nothing is open."""
    region = "region = var.region"
    variables = 'variable "region" { default = "eu-west-1" }\nvariable "build_id" { default = "" }\n'
    checkout.write("web.pkr.hcl", variables + AMI.format(label="web", region=region))
    checkout.write("build.sh", 'packer build -var "region=${AWS_REGION}" -var build_id=$CI_ID web.pkr.hcl\n')

    assert open_questions(checkout) == {"web": []}


def test_a_var_file_that_says_nothing_to_a_template_makes_no_image_of_its_own(checkout: Checkout) -> None:
    """Given a script that builds whatever it is told with an environment's var file, and a template without any."""
    checkout.write("images/web.pkr.hcl", UNSET + AMI.format(label="web", region=IN_US))
    checkout.write("images/db.pkr.hcl", AMI.format(label="db", region=IN_US))
    checkout.write("env/live.pkrvars.hcl", 'env = "live"\n')
    checkout.write("env/test.pkrvars.hcl", 'env = "test"\n')
    checkout.write("build.sh", 'packer build -var-file="env/$2.pkrvars.hcl" "images/$1.pkr.hcl"\n')

    checkout.run("init", "--write")

    assert {name: one.get("var_files") for name, one in checkout.declared().items()} == {
        "db": None,
        "web-live": ["/env/live.pkrvars.hcl"],
        "web-test": ["/env/test.pkrvars.hcl"],
    }


SPLIT = {"packer/web/t.pkr.hcl": AMI.format(label="web", region="region = var.region"),
         "packer/web/variables.pkr.hcl": 'variable "region" { default = "us-east-1" }\n'}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("packer/web/build.sh", 'packer build "$(dirname "$0")"'),
        ("packer/web/build.sh", 'cd "$(dirname "$0")" && packer build "$@"'),
        ("packer/web/build.sh", "packer build ${1:-.}"),
        ("packer/web/build.sh", 'DIR="$(cd "$(dirname "$0")" && pwd)"\npacker build "$DIR"'),
        ("packer/web/Makefile", "all:\n\tpacker build $(CURDIR)"),
        ("Makefile", "all:\n\tcd packer/web && packer build $(FLAGS) $(TARGET)"),
        (".github/workflows/b.yml", "b:\n  run: packer build ${{ inputs.dir }}\n  working-directory: packer/web"),
    ],
)  # fmt: skip
def test_a_folder_that_is_built_with_a_target_that_only_the_run_knows_is_one_template(
    checkout: Checkout, path: str, text: str
) -> None:
    for name, template in SPLIT.items():
        checkout.write(name, template)
    checkout.write(path, f"{text}\n")

    (one,) = json.loads(checkout.run("init", "--json").stdout)["images"]

    assert one["declaration"]["packer"]["template"] == "/packer/web"
    assert one["found_in"].startswith(f"{path}:")


def test_what_only_a_run_knows_is_said_and_not_guessed(checkout: Checkout) -> None:
    for name in ("web", "db"):
        checkout.write(f"packer/{name}.pkr.hcl", AMI.format(label=name, region='region = "us-east-1"'))
    checkout.write("packer/build.sh", 'cd "$(dirname "$0")"\npacker build $(ls *.pkr.hcl | tail -1)\n')
    checkout.write("ci.sh", "".join(f"packer build $(./changed-images {n})\n" for n in range(12)))
    checkout.write("named.sh", "packer build old/web.pkr.hcl\npacker build packer/db.pkr.hcl\n")

    answer = json.loads(checkout.run("init", "--json").stdout)
    shown = checkout.run("init").stdout

    opened = {one["image"]: one["open"] for one in answer["images"]}
    question = "packer/build.sh:2 says what it builds only when it runs: is this built there?"
    assert (opened["web"], question in opened["db"]) == ([question], False)
    assert answer["not_followed"] == [f"ci.sh:{n}" for n in range(1, 13)]
    (part,) = [part for part in shown.split("\n\n") if part.startswith("Not followed: ")]
    assert part.splitlines()[1:] == [*(f"  ci.sh:{n}" for n in range(1, 11)), "  and 2 more: --json has them all"]


def test_a_variable_that_only_a_command_gives_a_value_is_asked_for_once(checkout: Checkout) -> None:
    checkout.write("web.pkr.hcl", UNSET + AMI.format(label="web", region=IN_US))
    checkout.write("build.sh", "packer build -var env=$1 web.pkr.hcl\n")

    assert open_questions(checkout) == {
        "web": [
            "build.sh:1 gives env a value that is only known there, and the template has none: set packer.variables"
        ]
    }


def test_a_json_template_whose_variable_only_a_command_gives_a_value_is_told_what_to_declare(
    checkout: Checkout,
) -> None:
    """Given a variable that is null, which Packer takes from no environment in a template from before HCL2."""
    ami = {
        "type": "amazon-ebs",
        "region": "us-east-1",
        "ami_name": "x-{{user `version`}}",
        "source_ami": "ami-0123456789abcdef0",
    }
    checkout.write("img/base.json", json.dumps({"variables": {"version": None}, "builders": [ami]}))
    checkout.write("build.sh", "cd img && packer build -var version=$1 base.json\n")

    (left,) = json.loads(checkout.run("init", "--json").stdout)["left_out"]
    path, _, declaration = (
        left["hint"].removeprefix("write ").partition(", with values for version of yours (build.sh:1 gives them): ")
    )
    checkout.write(path, declaration.replace("VALUE", "'7'"))
    checkout.commit()

    assert 'variable "version" has no value' in left["why"]
    assert checkout.run("validate").returncode == 0
    assert checkout.declared()["base"]["variables"] == {"version": "7"}


def test_an_image_is_called_after_its_build_sooner_than_after_a_distribution(checkout: Checkout) -> None:
    checkout.write("packer/variables.pkr.hcl", "")
    template = (
        AMI.format(label="ubuntu", region=IN_US)
        .replace("build { ", 'build {\n  name = "app"\n  ')
        .replace("] }", "]\n}")
    )
    checkout.write("packer/app.pkr.hcl", template)

    assert set(open_questions(checkout)) == {"app"}


def test_each_build_of_a_folder_is_proposed_as_the_command_that_asks_for_it_has_it(checkout: Checkout) -> None:
    """Given a folder of three builds, and a command for each of two: what is said for one is not said of another."""
    checkout.write("size.pkr.hcl", 'variable "size" { default = "s" }\n')
    for label in ("web", "db", "gpu"):
        checkout.write(f"{label}.pkr.hcl", AMI.format(label=label, region=IN_US))
    checkout.write(
        "Makefile",
        "web:\n\tpacker build -only=amazon-ebs.web -var size=m .\ndb:\n\tpacker build -only='*.db' -var size=l .\n",
    )

    shown = checkout.run("init", "--write").stdout

    assert {name: (one["only"], one.get("variables")) for name, one in checkout.declared().items()} == {
        "web": (["amazon-ebs.web"], {"size": "m"}),
        "db": (["amazon-ebs.db"], {"size": "l"}),
        "gpu": (["amazon-ebs.gpu"], None),
    }
    assert [line.strip() for line in shown.splitlines() if " inputs" in line] == [
        "# 4 inputs; built today by Makefile:4", "# 4 inputs", "# 4 inputs; built today by Makefile:2",
    ]  # fmt: skip


def test_each_build_of_a_kind_that_is_not_known_is_proposed(checkout: Checkout) -> None:
    """Given two builds of one source that nobody looks after, each is an image, called after its build."""
    checkout.write("images/ubuntu/source.pkr.hcl", 'source "azure-arm" "image" {}\n')
    for name in ("ubuntu-22", "ubuntu-24"):
        build = f'build {{\n  name = "{name}"\n  sources = ["source.azure-arm.image"]\n}}\n'
        checkout.write(f"images/ubuntu/{name}.pkr.hcl", build)

    checkout.run("init", "--write")

    assert {name: one["only"] for name, one in checkout.declared().items()} == {
        "ubuntu-22": ["ubuntu-22.azure-arm.image"], "ubuntu-24": ["ubuntu-24.azure-arm.image"],
    }  # fmt: skip


def test_a_json_template_that_uses_what_its_var_files_alone_declare_is_proposed_for_each(checkout: Checkout) -> None:
    """Given variables that the template does not declare, which Packer takes from a var file all the same."""
    ami: dict[str, object] = {
        "type": "amazon-ebs",
        "name": "{{user `flavour`}}",
        "region": IN_US.split('"')[1],
        "ami_name": "a",
    }
    ami["source_ami_filter"] = {"filters": {"name": "{{user `source`}}"}, "owners": ["self"], "most_recent": True}
    script = {"type": "shell", "script": "scripts/{{user `flavour`}}.sh"}
    template = {"variables": {"release": None}, "builders": [ami], "provisioners": [script]}
    checkout.write("packer/template.json", json.dumps(template))
    for name in ("rocky", "alma"):
        checkout.write(f"packer/{name}.json", json.dumps({"flavour": name, "source": f"{name}-*"}))
        checkout.write(f"scripts/{name}.sh", "true\n")
    recipe = "packer build $(foreach f,$(FILES),-var-file=$(f)) -var-file=packer/$(@:%=%).json packer/template.json"
    checkout.write("Makefile", f"build:\n\t{recipe}\n")
    checkout.write("packer/release.json", '{"release": "7"}')

    shown = checkout.run("init", "--write").stdout

    assert {name: one["var_files"] for name, one in checkout.declared().items()} == {
        name: [f"/packer/{name}.json", "/packer/release.json"] for name in ("alma", "rocky")
    }
    told = " ".join(shown.split())
    assert "rocky on ami rocky-* of self, in us-east-1 # 4 inputs; built today by Makefile:2" in told
    assert "packer/template.json (packer/release.json): packer/template.json:1:140: source: an AMI needs" in told
    assert checkout.run("validate", "--worktree").returncode == 0


def test_a_template_whose_sources_a_var_file_decides_is_proposed_for_each(checkout: Checkout) -> None:
    """Given a template that can't be read without a value, and two commands that each name one, both are images."""
    template = AMI.format(label="web", region=IN_US).replace('["source.amazon-ebs.web"]', "var.sources")
    checkout.write("web.pkr.hcl", 'variable "sources" { type = list(string) }\n' + template)
    for name in ("live", "test"):
        checkout.write(f"{name}.pkrvars.hcl", 'sources = ["source.amazon-ebs.web"]\n')
    checkout.write("Makefile", "%:\n\tpacker build -var-file=$@.pkrvars.hcl web.pkr.hcl\n")

    checkout.run("init", "--write")

    assert list(checkout.declared()) == ["web-live", "web-test"]


def test_nothing_is_written_over_also_where_it_is_invalid(checkout: Checkout) -> None:
    checkout.write("packer/web.pkr.hcl", AMI.format(label="web", region=IN_US))
    checkout.write("desired/web/image.yaml", "regoins: []\n")
    checkout.write("desired/golden-images/notes.txt", "shared\n")

    written = checkout.run("init", "--write")

    assert written.returncode == 0, written.stderr
    assert (checkout.root / "desired/web/image.yaml").read_text() == "regoins: []\n"
    assert not (checkout.root / "desired/golden-images/image.yaml").exists()
    assert (checkout.root / "desired/web-2/image.yaml").exists()


def test_what_a_person_declared_stays_and_the_rest_is_proposed(checkout: Checkout) -> None:
    for name in ("web", "db"):
        checkout.write(f"packer/{name}/{name}.pkr.hcl", AMI.format(label=name, region=IN_US))
    mine = "packer: { template: /packer/web, working_dir: / }\n"
    checkout.write("desired/www/image.yaml", mine)

    checkout.run("init", "--write")

    assert list(checkout.declared()) == ["db", "www"]
    assert (checkout.root / "desired/www/image.yaml").read_text() == mine


def test_a_fleet_below_the_root_has_its_own_templates_built_as_the_whole_repository_says(checkout: Checkout) -> None:
    size = 'variable "size" { type = string }\n'
    script = 'provisioner "shell" { script = "infra/db/up.sh" }'
    by_script = f'build {{\n  sources = ["source.amazon-ebs.db"]\n  {script}\n}}\n'
    checkout.write("infra/packer/web.pkr.hcl", size + AMI.format(label="web", region=IN_US))
    checkout.write("infra/db/db.pkr.hcl", AMI.format(label="db", region=IN_US).rpartition("build {")[0] + by_script)
    checkout.write("infra/db/up.sh", "true\n")
    checkout.write("app/other.pkr.hcl", AMI.format(label="other", region=IN_US))
    checkout.write("env/live.pkrvars.hcl", 'size = "big"\n')
    step = "{ working-directory: infra, run: packer build -var-file=../env/live.pkrvars.hcl packer/web.pkr.hcl }"
    checkout.write(".github/workflows/images.yml", f"jobs: {{ web: {{ steps: [{step}] }} }}\n")
    checkout.write("Makefile", "db:\n\tpacker build infra/db/db.pkr.hcl\n")
    (checkout.root / "infra" / "desired").mkdir()

    written = checkout.run("init", "-C", "infra", "--write")

    assert written.returncode == 0, written.stderr
    below = replace(checkout, root=checkout.root / "infra")
    assert below.declared() == {
        "db": {"template": "/db/db.pkr.hcl", "working_dir": "../../.."},
        "web": {
            "template": "/packer/web.pkr.hcl",
            "working_dir": "/",
            "var_files": ["../../../env/live.pkrvars.hcl"],
        },
    }
    valid = below.run("validate", "--worktree")
    assert (valid.returncode, valid.stdout) == (0, "2 images valid\n"), valid.stderr
