"""What a template is given: only what it declares, and ours over the person's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.workplace import given_variables, inside, selected, template_path, workplace, write_var_file
from reconciler.model.declaration import Declaration, PackerSettings
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder, BuildLocation, Image, Template, Variable
from reconciler.ports.builder import BuildRequest
from reconciler.registries.ec2.dialect import AMI

PLACE = Place("desired/web/web.pkr.hcl")
REGION = BuildLocation(None, "aws_region", PLACE)


def request(
    *declared: str,
    builders: tuple[Builder, ...] = (),
    packer: dict[str, Any] | None = None,
    json: bool = False,
    **values: Any,
) -> BuildRequest:
    template = Template(
        format="json" if json else "hcl2",
        files=("desired/web/web.json" if json else "desired/web/web.pkr.hcl",),
        builders=builders,
        variables={name: Variable(name, "", PLACE) for name in declared},
    )
    declaration = Declaration(packer=PackerSettings(**(packer or {})))
    image = Image("web", "desired/web", declaration, template, AMI, source=None, locations=(), inputs=())
    return BuildRequest(
        image=image,
        build_id="20261122T101530Z-1a2b3c4",
        key="sha256:1a2b3c4",
        run_id="run-1",
        export=Path("/export"),
        run_folder=Path("/run"),
        log=Path("/log"),
        environment={},
        timeout=60.0,
        **values,
    )


def test_a_template_that_declares_nothing_is_given_nothing() -> None:
    assert given_variables(request(source="ami-1", image_tags={"a": "b"}, location="us-east-1")) == {}


def test_a_template_is_given_what_it_declares() -> None:
    names = ("source_ami", "image_name", "build_id", "build_key", "run_id", "image_tags", "run_tags")

    assert given_variables(request(*names, source="ami-1", image_tags={"a": "b"}, run_tags={"c": "d"})) == {
        "source_ami": "ami-1",
        "image_name": "web-20261122T101530Z-1a2b3c4",
        "build_id": "20261122T101530Z-1a2b3c4",
        "build_key": "sha256:1a2b3c4",
        "run_id": "run-1",
        "image_tags": {"a": "b"},
        "run_tags": {"c": "d"},
    }


def test_without_a_pin_the_templates_own_source_stays() -> None:
    assert given_variables(request("source_ami", packer={"variables": {"source_ami": "ami-9"}})) == {
        "source_ami": "ami-9"
    }


def test_the_pin_wins_over_the_persons_variable() -> None:
    asked = request("source_ami", packer={"variables": {"source_ami": "ami-9", "size": 8}}, source="ami-1")

    assert given_variables(asked) == {"source_ami": "ami-1", "size": 8}


def test_a_json_template_is_given_strings_and_no_maps() -> None:
    asked = request("image_tags", "build_id", json=True, packer={"variables": {"size": 8, "fast": True}})

    assert given_variables(asked) == {"build_id": "20261122T101530Z-1a2b3c4", "size": "8", "fast": "true"}


def test_the_region_is_passed_through_the_variable_that_builders_take_it_from() -> None:
    builder = Builder("amazon-ebs.web", "amazon-ebs", PLACE, location=REGION)

    assert given_variables(request("aws_region", builders=(builder,), location="eu-west-1")) == {
        "aws_region": "eu-west-1"
    }


def test_builders_with_a_region_each_keep_them() -> None:
    east = Builder("amazon-ebs.east", "amazon-ebs", PLACE, location=BuildLocation(None, "east", PLACE))
    west = Builder("amazon-ebs.west", "amazon-ebs", PLACE, location=BuildLocation(None, "west", PLACE))

    assert given_variables(request("east", "west", builders=(east, west), location="eu-west-1")) == {}
    only_east = request(
        "east", "west", builders=(east, west), location="eu-west-1", packer={"only": ["amazon-ebs.east"]}
    )
    assert given_variables(only_east) == {"east": "eu-west-1"}


def test_a_selection_that_matches_nothing_names_what_there_is() -> None:
    builder = Builder("amazon-ebs.web", "amazon-ebs", PLACE)

    with pytest.raises(
        UserError, match=r"packer\.only matches no build of web: webb\n  the template has amazon-ebs\.web"
    ):
        selected(request(builders=(builder,), packer={"only": ["webb"]}).image)


@pytest.mark.parametrize(
    ("path", "resolved"),
    [(".", "desired/web"), ("/", "."), ("/ci", "ci"), ("../../roles", "roles"), ("a/../b", "desired/web/b")],
)
def test_paths_are_relative_to_the_image_and_a_slash_is_the_root(path: str, resolved: str) -> None:
    assert inside(request().image, path) == resolved


@pytest.mark.parametrize("path", ["../../..", "/../x", "../../../etc/passwd"])
def test_a_path_out_of_the_repository_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="leads out of the repository"):
        inside(request().image, path)


def test_packer_is_pointed_at_a_folder_of_hcl_and_at_a_file_of_json() -> None:
    assert template_path(request().image) == "desired/web"
    assert template_path(request(json=True).image) == "desired/web/web.json"


def test_the_var_file_is_its_owners_only_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "run" / "web.pkrvars.json"
    write_var_file(path, {"b": {"x": "y"}, "a": 1})

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == '{\n  "a": 1,\n  "b": {\n    "x": "y"\n  }\n}\n'
    with pytest.raises(FileExistsError):
        write_var_file(path, {})


def test_lists_and_mappings_are_given_as_they_are() -> None:
    values = {"cidrs": ["10.0.0.0/8", 7], "o": {"a": "x"}}
    assert given_variables(request("cidrs", "o", packer={"variables": values})) == values


@pytest.mark.parametrize(
    ("name", "type_", "taken"),
    [
        ("build_id", "string", True), ("build_id", "any", True), ("build_id", "number", False),
        ("image_name", "list(string)", False), ("image_tags", "map( string )", True), ("run_tags", "any", True),
        ("run_tags", "list(string)", False), ("run_tags", "map(number)", False),
    ],
)  # fmt: skip
def test_a_variable_that_can_not_hold_ours_is_not_given_it(name: str, type_: str, *, taken: bool) -> None:
    asked = request(name)
    variables = {name: Variable(name, type_, PLACE)}
    template = replace(asked.image.template, variables=variables)
    asked = replace(asked, image=replace(asked.image, template=template))
    assert (name in given_variables(asked)) is taken


@pytest.mark.parametrize(
    ("packer", "folder", "template"),
    [
        ({"template": "/packer/web", "working_dir": "../../../.."}, ".", "ops/infra/packer/web"),
        ({"template": "/packer/web", "working_dir": "../../../../app"}, "app", "../ops/infra/packer/web"),
        ({"template": "../../../../app", "working_dir": "/"}, "ops/infra", "../../app"),
        ({"template": "/packer/web", "working_dir": "/packer"}, "ops/infra/packer", "web"),
    ],
)
def test_packer_finds_the_template_of_a_fleet_below_the_root_wherever_the_reconciler_was_started(
    packer: dict[str, Any], folder: str, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ops/infra/packer/web", "app", "started/here"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "started" / "here")

    place = workplace(replace(request(packer=packer), export=tmp_path, below="ops/infra"))

    assert (place.folder.resolve(), place.template) == ((tmp_path / folder).resolve(), template)
