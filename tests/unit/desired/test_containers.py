"""What is read of a template that leaves a container image: where that belongs, and what it is built on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.model.fleet import Fleet, Image
from reconciler.registries.oci.dialect import DIALECT, OCI

Read = Callable[..., Fleet]
DIGEST = f"sha256:{'a' * 64}"
EXAMPLE = Path(__file__).parents[3] / "examples/container-image"
YAML = "locations: [registry.example.org/acme/web]\n"
TAKING = 'variable "source_image" { type = string }\n'


def template(image: str = '"debian:12"', *, after: str = "", builder: str = "commit = true") -> str:
    return f"""\
source "docker" "web" {{
  image = {image}
  {builder}
}}
build {{
  sources = ["source.docker.web"]
  {after}
}}
"""


def tagged(repository: str) -> str:
    return f'post-processor "docker-tag" {{ repository = {repository} }}'


def image(fleet: Fleet) -> Image:
    assert not fleet.problems, [str(one) for one in fleet.problems["web"]]
    return fleet.images["web"]


def problem(fleet: Fleet) -> str:
    (found,) = fleet.problems["web"]
    return str(found)


def test_an_image_is_where_the_template_tags_it_for(web: Read) -> None:
    found = image(web("description: web\n", template(after=tagged('"registry.example.org/acme/web"'))))
    assert (found.kind, found.locations) == (OCI, ("registry.example.org/acme/web",))
    assert [program.name for program in found.template.programs] == ["docker"]


def test_a_repository_of_docker_s_own_registry_is_spelt_out(web: Read) -> None:
    assert image(web("description: web\n", template(after=tagged('"acme/web"')))).locations == ("docker.io/acme/web",)


def test_the_template_is_built_on_what_it_names(web: Read) -> None:
    found = image(web(YAML, template()))
    assert found.source is not None
    assert found.source.upstream == ("oci", "debian:12")


def test_a_declared_source_is_given_to_the_template_by_digest(web: Read) -> None:
    found = image(web(f"source: {{oci: 'debian:12'}}\n{YAML}", TAKING + template("var.source_image")))
    assert found.source is not None
    pin = OCI.pin("docker.io/library/debian", DIGEST, name="debian:12")
    assert OCI.given_of(pin, "registry.example.org/acme/web") == f"docker.io/library/debian@{DIGEST}"
    assert not found.notes


def test_what_moves_every_week_is_noted_unless_it_is_ours_to_pin(web: Read) -> None:
    noted = " ".join(image(web(YAML, template('"debian"'))).notes)
    assert "debian is whatever its publisher calls the latest" in noted
    given = image(web(f"source: {{oci: debian}}\n{YAML}", TAKING + template("var.source_image")))
    assert "publisher" not in " ".join(given.notes)


@pytest.mark.parametrize(
    ("yaml", "written", "said"),
    [
        (YAML, template('"Debian 12"'), 'web.pkr.hcl:2:3: docker.web: image: "Debian 12" is no reference'),
        (YAML, template(builder="discard = true"), "docker.web leaves no image: it discards its container"),
        (YAML, template(builder='export_path = "web.tar"'), "docker.web leaves no image: it exports its container"),
        ("locations: [acme/web]\n", template(), '"acme/web" is not a repository with its registry'),
        ("description: web\n", template(after=tagged('"acme/web:1"')), 'repository: "acme/web:1" is no repository'),
        ("description: web\n", template(), "it can't be known in which repository docker.web builds"),
        (f"source: {{oci: 'a b'}}\n{YAML}", template(), "source.oci: "),
        (f"source: {{ssm: /a}}\n{YAML}", template(), "docker.web leaves a container image, which is not built on ssm"),
    ],
)
def test_what_can_not_be_right_is_told_with_its_place(web: Read, yaml: str, written: str, said: str) -> None:
    assert said in problem(web(yaml, written))


def test_an_export_that_is_imported_again_is_an_image(web: Read) -> None:
    after = 'post-processor "docker-import" { repository = "registry.example.org/acme/web" }'
    found = image(web("description: web\n", template(builder='export_path = "web.tar"', after=after)))
    assert (found.kind, found.locations) == (OCI, ("registry.example.org/acme/web",))


def test_what_docker_says_that_it_pulled_is_what_was_built_on() -> None:
    assert DIALECT.built_on(f"Digest: {DIGEST}") == DIGEST
    assert DIALECT.built_on(f"latest: digest: {DIGEST} size: 735") is None, "that is what it pushed"
    assert DIALECT.subject("registry.example.org/acme/web", DIGEST) == {"sha256": "a" * 64}


def test_the_example_is_one(read: Callable[[dict[str, str | bytes]], Fleet]) -> None:
    files = {path.relative_to(EXAMPLE).as_posix(): path.read_bytes() for path in EXAMPLE.rglob("desired/**/*.*")}
    fleet = read(dict(files))
    assert not fleet.problems
    assert fleet.images["site"].kind == OCI
    assert fleet.images["site"].notes == ()


def test_a_source_in_capitals_is_told_that_names_are_in_lower_case(web: Read) -> None:
    said = problem(web(f"{YAML}source: {{ oci: 'reg/Up/base:1' }}\n", f"{TAKING}{template('var.source_image')}"))
    assert 'image.yaml:2:11: source.oci: "reg/Up/base:1" is no reference to a container image' in said
    assert "the names in it are in lower case, reg/up/base:1" in said
    assert "[a-z" not in said


@pytest.mark.parametrize(
    "written", ["Registry.Example.org/acme/web", "registry.example.org:443/acme/web", "docker.io/debian"]
)
def test_a_location_in_another_spelling_is_told_with_its_place_and_the_right_one(web: Read, written: str) -> None:
    said = problem(web(f"locations: [{written}]\n", template()))
    right = "docker.io/library/debian" if "docker" in written else "registry.example.org/acme/web"
    assert f'image.yaml:1:13: locations[0]: "{written}" is not how that repository is written here: {right}' in said
