"""What is read from templates of the three syntaxes, as people write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.errors import Place
from reconciler.model.fleet import Fleet
from tests.sources import amis
from tests.unit.desired.conftest import BUILDER, COMPLETE

Read = Callable[..., Fleet]

VARIABLES = """\
variable "region" {
  type    = string
  default = "us-east-1"
}

variable "ami_tags" {
  type      = map(string)
  default   = { Team = "platform" }
}

variable "token" {
  type      = string
  default   = env("TOKEN")
  sensitive = true
}
"""
FOLDER = """\
packer {
  required_version = ">= 1.7.0"
  required_plugins {
    amazon = {
      version = ">= 1.2.8"
      source  = "github.com/hashicorp/amazon"
    }
  }
}

locals {
  timestamp = regex_replace(timestamp(), "[- TZ:]", "")
  scripts   = "${path.root}/scripts"
}

data "amazon-ami" "debian" {
  filters = {
    name                = "debian-12-amd64-*"
    architecture        = "x86_64"
    root-device-type    = "ebs"
    virtualization-type = "hvm"
  }
  owners      = ["136693071363"]
  most_recent = true
  region      = var.region
}

source "amazon-ebs" "web" {
  ami_name      = "web-${local.timestamp}"
  instance_type = "t3.small"
  region        = var.region
  source_ami    = data.amazon-ami.debian.id # looked up by Packer
  ssh_username  = "admin"
  tags          = var.ami_tags
}

build {
  name    = "web"
  sources = ["source.amazon-ebs.web"]

  provisioner "shell" {
    environment_vars = ["TOKEN=${var.token}"]
    scripts          = ["${local.scripts}/base.sh", "${local.scripts}/nginx.sh"]
  }

  provisioner "file" {
    content     = templatefile("${path.root}/nginx.conf.tpl", { region = var.region })
    destination = "/tmp/nginx.conf"
  }

  post-processors {
    post-processor "manifest" {}
    post-processor "shell-local" {
      script = "${local.scripts}/done.sh"
    }
  }
}
"""
FOLDER_FILES = {
    "desired/web/variables.pkr.hcl": VARIABLES,
    "desired/web/web.pkr.hcl": FOLDER,
    "desired/web/scripts/base.sh": "",
    "desired/web/scripts/nginx.sh": "",
    "desired/web/scripts/done.sh": "",
    "desired/web/nginx.conf.tpl": "",
}
DEBIAN = amis(
    name="debian-12-amd64-*",
    owners=("136693071363",),
    architecture="x86_64",
    filters={"root-device-type": ("ebs",), "virtualization-type": ("hvm",)},
)
LEGACY = {
    "min_packer_version": "1.4.0",
    "variables": {"aws_region": "us-west-2", "playbook": "site", "secret": "{{env `SECRET`}}"},
    "sensitive-variables": ["secret"],
    "builders": [
        {
            "type": "amazon-ebs",
            "region": "{{user `aws_region`}}",
            "source_ami_filter": {
                "filters": {"name": "amzn2-ami-hvm-*", "architecture": "x86_64"},
                "owners": ["amazon"],
                "most_recent": True,
            },
            "ami_name": "old-{{timestamp}}",
        },
        {"type": "amazon-ebs", "name": "fixed", "region": "us-west-2", "source_ami": "ami-0abc"},
    ],
    "provisioners": [
        {"type": "shell", "script": "{{template_dir}}/install.sh"},
        {"type": "shell", "inline": ["echo ${HOME:-x} %{x}"]},
        {"type": "ansible-local", "playbook_file": "{{ user `playbook` }}.yml"},
    ],
    "post-processors": [["compress", {"type": "shell-local", "scripts": ["after.sh"]}]],
}
TWO = """\
source "amazon-ebs" "base" {
  region = "us-east-1"
  source_ami_filter {
    filters     = { name = "al2023-ami-*" }
    owners      = ["amazon"]
    most_recent = true
  }
  metadata_options { http_tokens = "required" }
}
source "docker" "local" { image = "debian" }
build {
  name = "both"
  source "source.amazon-ebs.base" {
    name         = "hardened"
    encrypt_boot = true
  }
  sources = ["source.docker.local"]
}
build {
  sources = ["source.docker.local"]
}
"""


ON_AN_AMI = "source: {ami: {id: ami-0abc}}\n"


def image(fleet: Fleet, name: str = "web") -> Any:
    assert not fleet.problems, {name: [str(one) for one in found] for name, found in fleet.problems.items()}
    return fleet.images[name]


def problem(fleet: Fleet, name: str = "web") -> Any:
    (found,) = fleet.problems[name]
    return str(found)


def test_a_folder_of_hcl_is_read_as_one(read: Read) -> None:
    web = image(read(FOLDER_FILES))
    template = web.template
    (builder,) = template.builders
    assert template.format == "hcl2"
    assert template.files == ("desired/web/variables.pkr.hcl", "desired/web/web.pkr.hcl")
    assert (builder.name, builder.type) == ("web.amazon-ebs.web", "amazon-ebs")
    assert builder.place == Place("desired/web/web.pkr.hcl", 28, 1)
    assert (builder.location.value, builder.location.variable) == ("us-east-1", "region")
    assert (web.source, web.locations) == (DEBIAN, ("us-east-1",))
    assert builder.source_place == Place("desired/web/web.pkr.hcl", 32, 3)
    assert template.plugins == {"amazon": "github.com/hashicorp/amazon >= 1.2.8"}
    assert template.required_version == ">= 1.7.0"
    assert {*web.input_paths} - {*template.files} == {
        "desired/web/scripts/base.sh",
        "desired/web/scripts/nginx.sh",
        "desired/web/nginx.conf.tpl",
        "desired/web/scripts/done.sh",
    }
    assert {name: (one.type, one.default, one.sensitive) for name, one in template.variables.items()} == {
        "region": ("string", "us-east-1", False),
        "ami_tags": ("map(string)", {"Team": "platform"}, False),
        "token": ("string", None, True),
    }


def test_notes_say_what_a_template_leaves_open(read: Read) -> None:
    assert image(read(FOLDER_FILES)).notes == (
        (
            "the template declares no variable run_tags: what a crashed build leaves behind can't be told from other "
            "people's instances"
        ),
        (
            "web.amazon-ebs.web: the build instance does not require IMDSv2 "
            '(metadata_options { http_endpoint = "enabled", http_tokens = "required" }; from Packer 1.7.0 on)'
        ),
        "web.amazon-ebs.web: the image is encrypted only where the account does so by default (encrypt_boot = true)",
        (
            "the template declares no variable source_ami: Packer looks the source up by itself, and may find another "
            "one than what is pinned"
        ),
        (
            "web.amazon-ebs.web: Packer's temporary key stays in the image, a finding of its smoke test, which stops "
            "nothing (ssh_clear_authorized_keys = true)"
        ),
    )


@pytest.mark.parametrize(
    ("output", "more", "folder"),
    [
        ("../../build/m.json", "", "build"),
        ("${path.root}/out/m.json", "", "desired/web/out"),
        ("../../logs/m.json", "", ""),
        ("m.json", "", ""),
        ("/srv/x/m.json", "", ""),
        ("../../${timestamp()}/m.json", "", ""),
        ("../../build/m.json", 'post-processor "shell-local" { inline = ["mkdir -p ../../build"] }', ""),
    ],
)
def test_a_manifest_in_a_folder_that_is_not_there_is_noted_as_packer_makes_none(
    web: Read, output: str, more: str, folder: str
) -> None:
    step = f'post-processor "manifest" {{ output = "{output}" }}\n  {more}'
    sources = 'sources = ["source.amazon-ebs.a"]'
    template = COMPLETE.replace(sources, f"\n  {sources}\n  {step}\n")
    notes = image(web("", template, files={"logs/.gitkeep": ""})).notes
    assert [one for one in notes if "at this commit" in one] == [
        f"desired/web/web.pkr.hcl:{line}:3: manifest writes to {folder}/, and there is no such folder at this commit: "
        "the build fails at its end unless something makes it"
        for line, text in enumerate(template.splitlines(), start=1)
        if folder and "manifest" in text
    ]


def test_a_template_that_leaves_nothing_open_has_no_notes(web: Read) -> None:
    assert image(web()).notes == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", (None, "ssh", False)),
        ('ssh_username = "admin"', ("admin", "ssh", False)),
        ("ssh_username = var.run_tags", (None, "ssh", False)),
        ("ssh_clear_authorized_keys = true", (None, "ssh", True)),
        ('ssh_clear_authorized_keys = "true"', (None, "ssh", True)),
        ('communicator = "winrm"', (None, "winrm", False)),
    ],
)
def test_it_says_who_logs_in_and_what_stays_of_that(
    web: Read, hcl: str, line: str, expected: tuple[str | None, str, bool]
) -> None:
    template = hcl.replace("ssh_clear_authorized_keys = true", line)
    (builder,) = image(web(ON_AN_AMI, template)).template.builders
    assert (builder.ssh_username, builder.communicator, builder.clears_keys) == expected


def test_where_hygiene_is_asked_for_a_key_that_may_stay_is_said_to_fail(web: Read, hcl: str) -> None:
    kept = hcl.replace("ssh_clear_authorized_keys = true", "")
    (note,) = image(web(f"{ON_AN_AMI}smoke_test: {{hygiene: fail}}\n", kept)).notes
    assert note == (
        "amazon-ebs.web: Packer's temporary key stays in the image, unless a provisioner removes it, and then the "
        "smoke test fails, as smoke_test.hygiene says (ssh_clear_authorized_keys = true)"
    )


def test_what_cannot_be_booted_to_be_tested_is_said(web: Read, hcl: str) -> None:
    windows = hcl.replace("ssh_clear_authorized_keys = true", 'communicator = "winrm"')
    said = ("amazon-ebs.web is reached by winrm, not SSH: the image is not booted to be tested",)
    assert image(web(ON_AN_AMI, windows)).notes == said
    assert image(web(f"{ON_AN_AMI}smoke_test: {{boot: false}}\n", windows)).notes == ()


@pytest.mark.parametrize(
    ("settings", "notes"),
    [
        ("", ("smoke_test.suite is never run, as smoke_test.boot is false (desired/web/image.yaml:2:27)",)),
        ("defaults: {smoke_test: {suite: /smoke/test_web.py}}\n", ()),
    ],
    ids=["of-its-own", "of-the-fleet"],
)
def test_a_suite_of_its_own_that_is_never_run_is_said(web: Read, settings: str, notes: tuple[str, ...]) -> None:
    own = "" if settings else ", suite: /smoke/test_web.py"
    files = {"desired/reconciler.yaml": settings, "smoke/test_web.py": ""}
    assert image(web(f"{ON_AN_AMI}smoke_test: {{boot: false{own}}}\n", files=files)).notes == notes


@pytest.mark.parametrize("suite", ["smoke/", "smoke/test_web.py", "smoke/check.py", "/tests", "../shared"])
def test_a_suite_is_a_file_or_a_folder_with_tests_anywhere_in_the_repository(web: Read, suite: str) -> None:
    tests = ("desired/web/smoke/test_web.py", "desired/web/smoke/check.py", "tests/a/web_test.py")
    files = dict.fromkeys((*tests, "desired/shared/test_all.py"), "")
    fleet = web(f"{ON_AN_AMI}smoke_test: {{suite: {suite}}}\n", files=files)
    assert image(fleet).declaration.smoke_test.suite == suite


def test_a_suite_may_be_a_link(read: Read, hcl: str) -> None:
    fleet = read(
        {
            "desired/web/image.yaml": f"{ON_AN_AMI}smoke_test: {{suite: smoke}}\n",
            "desired/web/web.pkr.hcl": hcl,
            "desired/web/smoke": "../../tests",
        },
        {"desired/web/smoke": "120000"},
    )
    assert image(fleet).declaration.smoke_test.suite == "smoke"


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        ("smoke", 'the folder "smoke" holds no tests'),
        ("smokes", '"smokes" is nothing that is committed'),
        ("../../../etc", '"../../../etc" leads out of the repository'),
        ("tidy.sh", '"tidy.sh" is no file of Python, and pytest reads no other'),
    ],
)
def test_a_suite_that_is_not_there_is_a_problem_with_its_place(web: Read, suite: str, said: str) -> None:
    fleet = web(
        f"{ON_AN_AMI}smoke_test:\n  suite: {suite}\n",
        files={"desired/web/smoke/helpers.py": "", "desired/web/tidy.sh": ""},
    )
    found = problem(fleet)
    assert f"smoke_test.suite: {said}" in found
    assert "desired/web/image.yaml:3:3" in found


@pytest.mark.parametrize(
    ("more", "region"),
    [
        ({}, "us-east-1"),
        ({"desired/web/a.auto.pkrvars.hcl": 'region = "eu-west-1"'}, "eu-west-1"),
        ({"desired/web/a.auto.pkrvars.json": '{"region": "eu-west-2"}'}, "eu-west-2"),
        ({"desired/web/image.yaml": "packer: {var_files: [x.pkrvars.hcl]}"}, "eu-west-3"),
        (
            {"desired/web/image.yaml": "packer: {var_files: [x.pkrvars.hcl], variables: {region: eu-north-1}}"},
            "eu-north-1",
        ),
    ],
)
def test_the_last_word_on_a_variable_is_as_with_packer(read: Read, more: Any, region: str) -> None:
    files = FOLDER_FILES | {"desired/web/x.pkrvars.hcl": 'region = "eu-west-3"'} | more
    assert image(read(files)).locations == (region,)


def legacy(only: str = "", **changes: Any) -> Any:
    return {
        "desired/old/image.yaml": f"packer: {{only: [{only}]}}",
        "desired/old/old.json": json.dumps(LEGACY | changes, indent=2),
        "desired/old/install.sh": "",
        "desired/old/site.yml": "",
        "desired/old/after.sh": "",
    }


def test_a_legacy_json_template_is_read(read: Read) -> None:
    old = image(read(legacy("amazon-ebs")), "old")
    template = old.template
    assert (template.format, template.files) == ("json", ("desired/old/old.json",))
    assert [builder.name for builder in template.builders] == ["amazon-ebs"]
    assert template.builders[0].location == type(template.builders[0].location)(
        "us-west-2", "aws_region", Place("desired/old/old.json", 14, 7)
    )
    assert old.source == amis(name="amzn2-ami-hvm-*", architecture="x86_64", owners=("amazon",))
    assert {*old.input_paths} - {*template.files} == {
        "desired/old/after.sh",
        "desired/old/install.sh",
        "desired/old/site.yml",
    }
    assert template.variables["secret"].sensitive
    assert template.variables["secret"].default is None
    assert template.required_version == ">= 1.4.0"


def test_a_legacy_template_s_builders_are_chosen_by_exact_name(read: Read) -> None:
    assert image(read(legacy("fixed")), "old").source.upstream[1]["id"] == "ami-0abc"
    assert problem(read(legacy("'f*'")), "old") == (
        'desired/old/image.yaml:1:17: packer.only: "f*" matches no build\n  there are: amazon-ebs, fixed'
    )


def test_a_builder_without_type_is_told(read: Read) -> None:
    fleet = read(legacy(builders=[{"name": "x"}]))
    assert 'desired/old/old.json:12:5: "type" is missing' in problem(fleet, "old")


def test_only_chooses_the_builds_that_run(web: Read) -> None:
    web_image = image(web("packer: {only: ['both.amazon-*']}", TWO))
    assert [one.name for one in web_image.template.builders] == ["both.amazon-ebs.hardened"]
    assert web_image.locations == ("us-east-1",)
    assert not any("encrypted" in note or "IMDSv2" in note for note in web_image.notes)
    both = problem(web("packer: {only: ['*.{docker,amazon-ebs}.*']}", TWO))
    assert "both.amazon-ebs.hardened runs beside both.docker.local" in both


def test_only_that_matches_nothing_lists_what_there_is(web: Read) -> None:
    assert problem(web("packer:\n  only:\n    - amazon-ebs.base\n", TWO)) == (
        'desired/web/image.yaml:3:7: packer.only: "amazon-ebs.base" matches no build\n'
        "  there are: both.docker.local, both.amazon-ebs.hardened, docker.local"
    )


def test_hcl_in_json_is_read_the_same(read: Read) -> None:
    template = {
        "variable": {"region": {"type": "string", "default": "us-east-2"}, "run_tags": {}},
        "source": {
            "amazon-ebs": {
                "web": {
                    "region": "${var.region}",
                    "source_ami": "ami-0a",
                    "encrypt_boot": True,
                    "metadata_options": {"http_tokens": "required"},
                }
            }
        },
        "build": {
            "sources": ["source.amazon-ebs.web"],
            "provisioner": [{"shell": {"script": "${path.root}/a.sh"}}, {"shell": {"inline": ['${file("b.txt")}']}}],
        },
    }
    files = {"desired/web/t.pkr.json": json.dumps(template, indent=1), "desired/web/a.sh": "", "desired/web/b.txt": ""}
    web = image(read(files))
    assert (web.locations, web.source) == (("us-east-2",), amis(id="ami-0a"))
    assert set(web.input_paths) == files.keys()
    assert web.template.builders[0].place.line == 11


def test_a_template_elsewhere_is_an_input_and_shared(read: Read, tree: Callable[..., Any]) -> None:
    step = 'provisioner "shell" { script = "x.sh" }'
    hcl = f'build {{\n  sources = ["source.amazon-ebs.a"]\n  {step}\n}}\n{BUILDER}'
    yaml = "packer: {template: ../../shared/t.pkr.hcl}"
    files = {"shared/t.pkr.hcl": hcl, "shared/other.pkr.hcl": "", "shared/x.sh": ""}
    for name in ("a", "b"):
        files |= {f"desired/{name}/image.yaml": yaml, f"desired/{name}/x.sh": ""}
    fleet = read(files)
    for name in ("a", "b"):
        assert [one.path for one in image(fleet, name).inputs] == ["../../shared/t.pkr.hcl", "x.sh"]


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        (
            "packer: {template: nothing}",
            (
                'packer.template: there is no Packer template at "nothing"\n'
                "  commit a *.pkr.hcl, *.pkr.json or *.json template there, or name the one to use"
            ),
        ),
        (
            "packer: {var_files: [x.pkrvars.hcl]}",
            (
                'packer.var_files: there is no file "x.pkrvars.hcl" at this commit\n'
                "  it was looked for at desired/web/x.pkrvars.hcl from the repository's root; is it committed?"
            ),
        ),
        (
            "packer: {working_dir: ../nowhere}",
            (
                'packer.working_dir: there is no folder "../nowhere" at this commit\n'
                "  it was looked for at desired/nowhere from the repository's root"
            ),
        ),
        (
            "packer: {template: ../../..}",
            'packer.template: "../../.." leads out of the repository\n  commit what the build needs to this repository',
        ),
        (
            "packer: {variables: {rgion: x}}",
            'packer.variables: the template declares no variable "rgion"\n  did you mean "region"?',
        ),
        (
            "packer: {variables: {source_ami: ami-1}}",
            "packer.variables: source_ami is given by the reconciler\n  declare `source:` instead",
        ),
    ],
)
def test_what_packer_is_told_wrongly_has_its_line(read: Read, yaml: str, expected: Any) -> None:
    found = problem(read(FOLDER_FILES | {"desired/web/image.yaml": yaml}))
    assert found.startswith("desired/web/image.yaml:1:")
    assert found.partition(": ")[2] == expected


SOURCE = "source: {ami: {id: ami-1}}\n"


def test_a_declared_region_has_to_be_the_template_s_fixed_one(web: Read) -> None:
    assert problem(web(f"{SOURCE}regions: [eu-west-1, us-east-1]\n")) == (
        "desired/web/web.pkr.hcl:4:3: amazon-ebs.web builds in us-east-1, but the first of `regions` is eu-west-1 "
        "(desired/web/image.yaml:2:1)\n"
        "  take the region from a variable, or put the template's region first"
    )


def test_a_region_from_a_variable_is_ours_to_pass(web: Read, hcl: str) -> None:
    free = hcl.replace('"us-east-1"', "var.region") + 'variable "region" { default = "us-east-1" }\n'
    assert image(web(f"{SOURCE}regions: [eu-west-1]\n", free)).locations == ("eu-west-1",)


def test_no_region_at_all_is_told(web: Read, hcl: str) -> None:
    assert problem(web(SOURCE, hcl.replace('  region       = "us-east-1"\n', ""))) == (
        "desired/web/web.pkr.hcl:3:1: it can't be known in which region amazon-ebs.web builds\n"
        "  add to desired/web/image.yaml: regions: [us-east-1]"
    )


def test_a_source_left_to_us_has_to_be_declared(web: Read) -> None:
    assert problem(web("")) == (
        "desired/web/web.pkr.hcl:5:3: it can't be known what amazon-ebs.web is built on, and no source is declared\n"
        '  add to desired/web/image.yaml: source: {ami: {name: "…", owners: ["…"]}}'
    )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (
            'source_ami = "ami-XYZ"',
            (
                'web.pkr.hcl:5:3: source: "ami-XYZ" is neither an AMI id nor a parameter\'s name\n'
                "  an AMI id is ami- and hexadecimal digits; or declare `source` in image.yaml"
            ),
        ),
        (
            'source_ami_filter {\n    filters = { name = "x" }\n  }',
            (
                "web.pkr.hcl:5:3: source: a filter needs owners: without one, anybody's public AMI of that name "
                "would be trusted\n  fix the template"
            ),
        ),
    ],
)
def test_a_source_that_can_t_be_right_is_told(web: Read, hcl: str, choice: str, expected: Any) -> None:
    found = problem(web("", hcl.replace("source_ami   = var.source_ami", choice)))
    assert found == f"desired/web/{expected}"


def test_a_builder_without_any_source_is_refused_as_every_packer_does(web: Read, hcl: str) -> None:
    without = hcl.replace("source_ami   = var.source_ami", "")
    for declared in ("", "source: {ssm: /aws/service/debian/release/12/latest/amd64}\n"):
        found = problem(web(declared, without))
        assert "amazon-ebs.web is built on nothing: it names no source_ami and no source_ami_filter" in found


def test_an_ssm_parameter_read_by_the_template_is_a_source(web: Read, hcl: str) -> None:
    template = hcl.replace("var.source_ami", "local.ami") + (
        'data "amazon-parameterstore" "al" { name = "/aws/service/ami" }\n'
        "locals { ami = data.amazon-parameterstore.al.value }\n"
    )
    assert image(web("", template)).source.ssm == "/aws/service/ami"


def test_a_filter_with_something_unknown_is_no_source(web: Read, hcl: str) -> None:
    choice = 'source_ami_filter {\n    filters = { name = var.unknown }\n    owners = ["self"]\n  }'
    template = hcl.replace("source_ami   = var.source_ami", choice) + 'variable "unknown" { default = env("X") }\n'
    assert "it can't be known what amazon-ebs.web" in problem(web("", template))


def test_contents_are_read_in_three_calls(tree: Callable[..., Any]) -> None:
    from reconciler.desired.fleet import read_fleet  # noqa: PLC0415 - the one test that wants the tree itself

    files = FOLDER_FILES | {
        "desired/x/image.yaml": "packer: {template: /t/x.pkr.hcl, only: ['both.amazon-*']}",
        "t/x.pkr.hcl": TWO,
    }
    counted = tree(files)
    assert list(read_fleet(counted).images) == ["web", "x"]
    assert counted.reads == 3, "of declarations, of a template elsewhere, and of a script that may name more"
