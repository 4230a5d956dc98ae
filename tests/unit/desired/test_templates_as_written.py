"""Templates as people write them: what Packer makes of them is what is read of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.desired.packer.hcl import read_hcl
from reconciler.model.errors import UserError
from reconciler.model.fleet import Fleet
from reconciler.registries.ec2.dialect import AmiRequest
from tests.cpu import apart
from tests.sources import of
from tests.unit.desired.conftest import COMPLETE, HCL, SOURCE
from tests.unit.desired.reading import places_in

Read = Callable[..., Fleet]

AMIS = """\
variable "base" { default = "" }
variable "region" { default = "us-east-1" }
variable "amis" {
  type    = map(string)
  default = { us-east-1 = "ami-0123", eu-west-1 = "ami-0456" }
}
"""


def image(fleet: Fleet, name: str = "web") -> Any:
    assert not fleet.problems, {name: [str(one) for one in found] for name, found in fleet.problems.items()}
    return fleet.images[name]


def problem(fleet: Fleet, name: str = "web") -> Any:
    (found,) = fleet.problems[name]
    return str(found)


def on(source: str, more: str = "", *, sources: str = '["source.amazon-ebs.web"]', region: str = '"us-east-1"') -> str:
    return f"""\
variable "run_tags" {{ type = map(string) }}
source "amazon-ebs" "web" {{
  region = {region}
  {source}
  encrypt_boot = true
  metadata_options {{ http_tokens = "required" }}
  ssh_clear_authorized_keys = true
}}
build {{
  sources = {sources}
}}
{more}"""


@pytest.mark.parametrize(
    "source",
    [
        'source_ami = var.base != "" ? var.base : var.amis[var.region]',
        'source_ami = lookup(var.amis, var.region, "ami-0")',
        "source_ami = coalesce(var.base, local.mapped)",
        'source_ami = try(var.amis[var.base], var.amis["us-east-1"])',
        'source_ami = jsondecode(file("${path.root}/amis.json"))[var.region]',
        'source_ami = element([for r, a in var.amis : a if r == "us-east-1"], 0)',
        "source_ami = values({ for r, a in var.amis : r => a if r == var.region })[0]",
    ],
)
def test_a_source_that_templates_compute_is_found(web: Read, source: str) -> None:
    more = AMIS + "locals { mapped = var.amis[var.region] }\n"
    files = {"desired/web/amis.json": '{"us-east-1": "ami-0123"}'}
    assert image(web("", on(source, more), files=files)).source.upstream[1]["id"] == "ami-0123"


def test_a_filter_whose_name_depends_on_a_variable_is_found(web: Read) -> None:
    source = (
        "source_ami_filter {\n    most_recent = true\n"
        '    filters = { name = var.arm ? "debian-12-arm64-*" : "debian-12-amd64-*", "virtualization-type" = "hvm" }\n'
        '    owners = var.arm ? ["1"] : [var.owner]\n  }'
    )
    more = 'variable "arm" {\n  type = bool\n  default = false\n}\nvariable "owner" { default = 136693071363 }\n'
    wanted = AmiRequest(
        name="debian-12-amd64-*", owners=("136693071363",), filters={"virtualization-type": ("hvm",)}
    )  # fmt: skip
    assert image(web("", on(source, more))).source == of(wanted)


def test_an_empty_source_ami_leaves_the_choice_to_the_filter(web: Read) -> None:
    source = 'source_ami = var.base\n  source_ami_filter {\n    filters = { name = "x-*" }\n    owners = ["self"]\n  }'
    assert image(web("", on(source, AMIS))).source.upstream[1]["name"] == "x-*"


@pytest.mark.parametrize("owners", ['"self,136693071363"', '["self", "136693071363"]'])
def test_owners_in_one_text_are_as_many_as_commas_part(read: Read, owners: str) -> None:
    template = f"""{{"builders": [{{"type": "amazon-ebs", "region": "us-east-1", "ssh_clear_authorized_keys": true,
      "source_ami_filter": {{"filters": {{"name": "debian-*"}}, "owners": {owners}}}}}]}}"""
    fleet = read({"desired/web/t.json": template})
    assert image(fleet).source.upstream[1]["owners"] == ["self", "136693071363"]


@pytest.mark.parametrize(
    "sources",
    [
        '[for s in ["web"] : "source.amazon-ebs.${s}"]',
        'var.base == "" ? ["source.amazon-ebs.web"] : ["source.amazon-ebs.other"]',
        'formatlist("source.amazon-ebs.%s", split(",", "web"))',
    ],
)
def test_computed_sources_are_built(web: Read, sources: str) -> None:
    builders = image(web("", on('source_ami = "ami-0123"', AMIS, sources=sources))).template.builders
    assert [builder.name for builder in builders] == ["amazon-ebs.web"]


def test_sources_that_only_packer_knows_are_told(web: Read) -> None:
    more = 'variable "which" { default = env("WHICH") }\n'
    found = problem(web("", on('source_ami = "ami-0123"', more, sources='["source.amazon-ebs.${var.which}"]')))
    assert found.startswith("desired/web/web.pkr.hcl:10:3: it can't be known which sources are built (")
    assert found.endswith('name them: sources = ["source.amazon-ebs.…"]')


def test_dynamic_blocks_are_the_blocks_that_they_make(web: Read) -> None:
    source = """\
dynamic "source_ami_filter" {
    for_each = { debian = "debian-12-*" }
    iterator = each
    content {
      filters = { name = each.value }
      owners  = [each.key == "debian" ? "136693071363" : "self"]
    }
  }"""
    found = image(web("", on(source))).source.upstream[1]
    assert (found["name"], found["owners"]) == ("debian-12-*", ["136693071363"])


def test_a_dynamic_block_whose_list_is_not_known_leaves_the_source_to_packer(web: Read) -> None:
    source = (
        'dynamic "source_ami_filter" {\n    for_each = split(",", env("X"))\n    content { owners = ["self"] }\n  }'
    )
    found = image(web("", on(source)))
    assert found.source is None
    assert found.template.chooses_source


def test_files_that_loops_and_dynamic_blocks_name_are_read(web: Read) -> None:
    more = (
        '  provisioner "shell" { scripts = [for s in ["a", "b"] : "../shared/${s}.sh"] }\n'
        '  dynamic "provisioner" {\n    labels   = ["shell"]\n    for_each = ["c"]\n'
        '    content { script = "../shared/${provisioner.value}.sh" }\n  }\n}\n'
    )
    files = {f"desired/shared/{name}.sh": "" for name in "abc"}
    template = on('source_ami = "ami-0123"').removesuffix("}\n") + more
    found = image(web("", template, files=files))
    assert {*found.input_paths} - {*found.template.files} == files.keys()


def test_what_hashicorps_parser_reads_is_read(web: Read) -> None:
    odd = """\
locals {
  a = 1e3
  b = 1.5E-2
  c = [
    1, # one
    2,
  ]
  d = { "x" : 1, y = 2 }
  e = <<-EOT
    indented ${local.a}
      %{if true~}
    more
      %{endif~}
  EOT
  f = "${"nested ${"deep"}"}"
  g = local.c[*]
  h = local.c.0
  i = -local.a + !true == 1 ? 1 : 2
}
empty {}
one_line { a = 1 }
"""
    body = read_hcl(odd.encode(), "t.pkr.hcl").body
    assert [block.type for block in body.blocks] == ["locals", "empty", "one_line"]
    assert len(body.blocks[0].body.attributes) == 9
    assert body.blocks[2].body.attributes["a"].place.column == 12


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("a = 0x10", "Missing newline after argument"),
        ("a = b\n? c : d", "Argument or block definition required"),
        ("a = l.0.1", "Invalid legacy index syntax"),
        (r'a = "\q"', "Invalid escape sequence"),
        ('a = "%{ if true }x"', "Unexpected end of template"),
        ('a = "x\ny"', "Invalid multi-line string"),
        ("a = [1 2]", "Missing item separator"),
        ("a = <<EOT\nx\n", "Unterminated template string"),
        ("a = { b, }", "Missing attribute value"),
        ("a {", "Unclosed configuration block"),
        ("a = 1 +", "Invalid expression"),
    ],
)
def test_what_hashicorps_parser_refuses_is_refused_in_its_words(line: str, what: str) -> None:
    with pytest.raises(UserError) as refused:
        read_hcl(f"{line}\n".encode(), "t.pkr.hcl")
    assert refused.value.what.startswith("not valid HCL: ")
    assert what in refused.value.what


def test_a_template_that_is_a_link_to_a_file_of_the_repository_is_read(read: Read) -> None:
    files = {
        "desired/web/image.yaml": f"{SOURCE}packer: {{inputs: [../../shared]}}\n",
        "desired/web/web.pkr.hcl": "../../shared/web.pkr.hcl",
        "shared/web.pkr.hcl": HCL,
    }
    found = image(read(files, {"desired/web/web.pkr.hcl": "120000"}))
    assert found.template.builders[0].place.path == "desired/web/web.pkr.hcl"
    assert [file.path for file in found.inputs] == ["../../shared/web.pkr.hcl", "web.pkr.hcl"]


def test_lists_and_mappings_are_values_of_variables(web: Read) -> None:
    template = f'{HCL}variable "cidrs" {{ type = list(string) }}\nvariable "o" {{ type = map(string) }}\n'
    yaml = f'{SOURCE}packer: {{variables: {{cidrs: ["10.0.0.0/8", 7], o: {{a: x}}}}}}\n'
    found = image(web(yaml, template)).declaration.packer.variables
    assert found == {"cidrs": ["10.0.0.0/8", 7], "o": {"a": "x"}}


def test_the_variables_of_a_json_template_are_texts(read: Read) -> None:
    template = {
        "variables": {"cidrs": ""},
        "builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0123"}],
    }
    files = {
        "desired/web/image.yaml": "packer: {variables: {cidrs: [a]}}\n",
        "desired/web/t.json": json.dumps(template),
    }
    assert "the variables of a JSON template are texts" in problem(read(files))


def test_a_variable_of_ours_with_another_type_is_the_templates_own(web: Read) -> None:
    template = f'{HCL}variable "build_id" {{\n  type = number\n  default = 7\n}}\n'
    found = image(web(f"{SOURCE}packer: {{variables: {{build_id: 8}}}}\n", template))
    assert not found.template.takes("build_id")
    assert (
        'desired/web/web.pkr.hcl:13:1: variable "build_id" is the template\'s own, as its type is not string: the '
        "reconciler gives it no value"
    ) in found.notes


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({"_comment": ["a"]}, 'the comment "_comment" is a list, and Packer takes only a text for one'),
        ({"provisoners": []}, 'there is no key "provisoners" at the top of a JSON template\n  did you mean "prov'),
    ],
)  # fmt: skip
def test_a_key_that_packer_refuses_in_a_json_template_is_refused(
    read: Read, root: dict[str, Any], expected: str
) -> None:
    builders = [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0123"}]
    text = json.dumps({"_why": "a comment", "description": "x", "builders": builders, **root})
    assert expected in problem(read({"desired/web/t.json": text}))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"only": ["amazon-ebz"]}, 'has no builder "amazon-ebz"\n  did you mean "amazon-ebs"?'),
        ({"Except": ["arm", "x86"]}, 'has no builder "x86"'),
        ({"only": "x86"}, 'has no builder "x86"'),
        ({"only": [7]}, 'has no builder "7"'),
        ({"only": [{}]}, "the name of a builder is a mapping, and Packer takes a text alone"),
        ({"only": ["arm"], "except": ["amazon-ebs"]}, "a step has `only` and `except`, and Packer takes one of them"),
        ({"override": {"arm": {}, "x86": {}}}, 'has no builder "x86"'),
        ({"override": "arm"}, '`override` is "arm", and Packer takes an object alone'),
    ],
)
def test_a_step_of_a_json_template_that_names_no_builder_is_refused_where_it_does(
    read: Read, step: dict[str, Any], expected: str
) -> None:
    builder = {"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0123"}
    template = {
        "builders": [builder, {**builder, "name": "arm"}],
        "provisioners": [{"type": "shell", "inline": ["true"], **step}],
    }
    text = json.dumps(template, indent=2)
    told = problem(read({"desired/web/image.yaml": "packer: {only: [arm]}\n", "desired/web/t.json": text}))
    assert expected in told
    assert "desired/web/t.json:2" in told  # the lines of the second step


def test_keys_of_a_json_template_count_in_whatever_case_they_are_written(read: Read) -> None:
    chosen = {"Filters": {"name": "Debian-*"}, "Owners": ["136693071363"], "Most_Recent": True}
    builder = {"Type": "amazon-ebs", "Name": "Web", "Region": "us-east-1", "Source_AMI_Filter": chosen}
    template = {
        "Variables": {"Step": "setup"},
        "Builders": [builder],
        "Provisioners": [{"type": "shell", "Script": "../../{{user `Step`}}.sh"}],
    }
    found = image(read({"desired/web/t.json": json.dumps(template), "setup.sh": ""}))
    assert [one.name for one in found.template.builders] == ["Web"]
    assert found.source.upstream[1]["name"] == "Debian-*"
    assert "setup.sh" in found.input_paths


def test_the_value_of_a_builders_name_is_what_only_selects(read: Read) -> None:
    builder = {"type": "amazon-ebs", "name": "{{user `n`}}-x", "region": "us-east-1", "source_ami": "{{user `ami`}}"}
    template = {"variables": {"n": "web{{user `suffix`}}", "suffix": "-1", "ami": "ami-0123"}, "builders": [builder]}
    files = {"desired/web/image.yaml": "packer: {only: [web-1-x]}\n", "desired/web/t.json": json.dumps(template)}
    found = image(read(files))
    assert [one.name for one in found.template.builders] == ["web-1-x"]
    assert found.source.upstream[1]["id"] == "ami-0123"


def test_a_chroot_made_from_scratch_has_no_source(web: Read) -> None:
    found = image(web("regions: [us-east-1]\n", on("from_scratch = true").replace("amazon-ebs", "amazon-chroot")))
    assert found.source is None
    assert not found.template.chooses_source


def test_a_builder_that_leaves_no_ami_is_refused_before_it_is_run(web: Read) -> None:
    found = problem(
        web("", on('source_ami = "ami-0123"\n  skip_create_ami = var.dry', 'variable "dry" { default = true }'))
    )
    assert found.startswith("desired/web/web.pkr.hcl:5:3: amazon-ebs.web leaves no AMI after the whole build")


FOLDER = 'variable "folder" { default = "../../none" }\n'
UPLOAD = '  provisioner "file" {\n    source      = var.folder\n    destination = "/x"\n  }\n}\n'


def test_var_files_that_are_read_unasked_count_by_name_and_those_of_json_after_all_of_hcl(web: Read) -> None:
    template = FOLDER + on('source_ami = "ami-0123"').removesuffix("}\n") + UPLOAD
    files = {
        "desired/web/a.auto.pkrvars.json": '{"folder": "../../a"}',
        "desired/web/z.auto.pkrvars.hcl": 'folder = "../../b"\n',
        "a/x": "",
        "b/x": "",
    }
    found = image(web("", template, files=files)).input_paths
    assert "a/x" in found
    assert "b/x" not in found


def test_a_value_that_depends_on_packers_version_by_the_order_of_var_files_is_noted(web: Read) -> None:
    template = FOLDER + on('source_ami = "ami-0123"').removesuffix("}\n") + UPLOAD
    files = {"v.json": '{"folder": "../../a"}', "v.hcl": 'folder = "../../b"\n', "a/x": "", "b/x": ""}
    noted = image(web("packer: {var_files: [/v.json, /v.hcl]}\n", template, files=files))
    assert "b/x" in noted.input_paths
    assert (
        'v.hcl:1:1: variable "folder" is set in v.json, too, which Packer 1.6 takes instead, as it reads files of JSON '
        "last"
    ) in noted.notes
    agreed = image(web("packer: {var_files: [/v.hcl, /v.json]}\n", template, files=files))
    assert "a/x" in agreed.input_paths
    assert not any("JSON last" in note for note in agreed.notes)


def test_beside_a_template_that_is_one_file_packer_reads_no_var_files_unasked(web: Read) -> None:
    template = on('source_ami = "ami-0123"', 'variable "region" { default = "us-east-1" }', region="var.region")
    files = {"desired/web/a.auto.pkrvars.hcl": 'region = "eu-west-1"\n'}
    assert image(web("packer: {template: web.pkr.hcl}\n", template, files=files)).locations == ("us-east-1",)
    assert image(web("", template, files=files)).locations == ("eu-west-1",)


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ("source_ami = data.amazon-secretsmanager.base.value", "Packer reads it of data.amazon-secretsmanager.base"),
        ("source_ami = var.base", "source_ami: read by Packer from its environment"),
        ('source_ami = "ami-${uuidv4()}"', "source_ami: made up at the build"),
        ('source_ami = aws_secretsmanager("base")', "source_ami: read by Packer from elsewhere"),
        ('source_ami = newer_function("x")', "source_ami: the function newer_function is not known here"),
    ],
)
def test_what_stays_unknown_stops_nothing(web: Read, choice: str, why: str) -> None:
    more = 'variable "base" { default = env("BASE") }\ndata "amazon-secretsmanager" "base" { name = "x" }\n'
    found = image(web("", on(choice, more)))
    assert found.source is None
    (note,) = [note for note in found.notes if "the template's own source" in note]
    assert why in note
    assert 'add to desired/web/image.yaml: source: {ami: {name: "…", owners: ["…"]}}' in note


def test_a_value_that_a_variables_own_validation_refuses_is_refused(web: Read) -> None:
    variable = """
variable "size" {
  type    = string
  default = "m5.metal"
  validation {
    condition     = can(regex_replace(var.size, "x", "")) && substr(var.size, 0, 3) == "t3."
    error_message = "Take a t3, found ${var.size}."
  }
}
"""
    found = problem(web("", COMPLETE + variable))
    assert 'variable "size" has a value that its validation refuses: Take a t3, found m5.metal.' in found
    assert not web("packer: {variables: {size: t3.small}}\n", COMPLETE + variable).problems


HOSTILE = {
    "a heredoc that is never closed": "a = <<EOF\n" + "x$ y\n" * 60_000,
    "a heredoc in one line": "a = <<EOF\n" + "x" * 1_000_000,
    "blank lines in a heredoc": "a = <<EOF\n" + " \n" * 150_000 + "EOF\n",
    "a comment that is never closed": "a = 1 /*" + "*" * 900_000,
    "brackets": "a = " + "[" * 400_000,
    "braces of blocks": "a {\n" * 200_000,
    "quotes within quotes": 'a = "${' * 100_000,
    "operators": "a = 1" + " + 1" * 60_000 + "\n",
    "signs": "a = " + "-" * 500_000 + "1\n",
    "dots": "a = b" + ".c" * 100_000 + "\n",
    "indexes": "a = b" + "[0]" * 60_000 + "\n",
    "splats": "a = b" + "[*]" * 60_000 + "\n",
    "members of a splat": "a = b.*" + ".c" * 100_000 + "\n",
    # Below the size up to which the mistake was put into HashiCorp's words, which took it a hundred seconds.
    "comments that begin again": "a = 1 " + "/* " * 33_000,
    "dollars in a text": 'a = "' + "$" * 99_000,
    "dollars in a heredoc": "a = <<EOF\n" + "$" * 99_000,
    "conditions": "a = " + "b ? c : " * 100_000 + "d\n",
    "words that begin as a function that reads files": "a = 1\n# " + "file" * 250_000 + "\n",
    "comments before what is not HCL": "a = 1 " + "/**/" * 60_000 + "@\n",
    "directives": 'a = "' + "%{if x}" * 100_000 + '"\n',
    "directives in a heredoc": "a = <<EOF\n" + "%{for x in y}" * 70_000 + "\nEOF\n",
}


@pytest.mark.thorough
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_is_read_or_refused(text: str) -> None:
    """In a Python of its own: HashiCorp's parser, which words the mistakes, can't be interrupted."""
    told = apart(places_in, text, cpu_seconds=5)
    assert isinstance(told, str)
    assert told.startswith("t.pkr.hcl")


def test_directives_within_directives_are_refused_with_the_place(web: Read) -> None:
    """Four hundred ended the run, other images too; what is nested in an expression counts as well."""
    for opened, closed, column in (("%{if true}", "%{endif}", 602), ('%{if true}${["', '"]}%{endif}', 287)):
        deep = f'locals {{\n  a = "{opened * 400}{closed * 400}"\n}}\n'
        found = problem(web("", COMPLETE + deep))
        line = COMPLETE.count("\n") + 2
        assert found == (
            f"desired/web/web.pkr.hcl:{line}:{column}: more than 60 levels of nesting\n"
            "  take it apart: let locals, or files, hold parts of it"
        )
    ended = 'a = "' + "%{if true}x%{endif}" * 400 + "%{endif}" * 400 + '"\n'
    with pytest.raises(UserError, match="endif"):
        read_hcl(ended.encode(), "t.pkr.hcl")
