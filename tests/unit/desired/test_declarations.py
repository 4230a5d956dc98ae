"""What a valid image.yaml comes to, alone and over the fleet's defaults."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from reconciler.model.care import Grants
from reconciler.model.errors import UserError
from reconciler.model.fleet import Fleet
from tests.unit.desired.conftest import COMPLETE

Read = Callable[..., Fleet]


def declaration(fleet: Fleet) -> Any:
    assert not fleet.problems, fleet.problems
    return fleet.images["web"].declaration


@pytest.mark.parametrize("yaml", ["", "# only a comment\n", "---\n", "{}\n", "\ufeff"])
def test_an_empty_file_declares_nothing(web: Read, yaml: str) -> None:
    assert declaration(web(yaml, COMPLETE)).packer.template == "."


@pytest.mark.parametrize(
    "written", ["012345678901", "123456789012", "on", "yes", "no", "true", "1.10", "0x1f", "1_000"]
)
def test_text_in_lists_is_as_it_was_written(web: Read, written: str) -> None:
    fleet = web(f"source: {{ami: {{name: x, owners: [{written}]}}}}", COMPLETE)
    assert declaration(fleet).source.ami.owners == (written,)


@pytest.mark.parametrize(
    ("written", "value"),
    [("042", "042"), ("42", 42), ("1.0", "1.0"), ("true", True), ("yes", "yes"), ('"42"', "42"), ("'true'", "true")],
)
def test_a_variable_keeps_its_type_and_its_digits(web: Read, written: str, value: Any) -> None:
    template = f'{COMPLETE}variable "x" {{}}\n'
    found = declaration(web(f"packer: {{variables: {{x: {written}}}}}", template)).packer.variables["x"]
    assert (found, type(found)) == (value, type(value))


def test_a_filter_takes_true_as_text(web: Read, hcl: str) -> None:
    yaml = "source: {ami: {name: x, owners: [self], filters: {ena-support: true}}}"
    assert declaration(web(yaml, hcl)).source.ami.filters == {"ena-support": ("true",)}


def test_a_date_is_read_where_a_date_is_wanted(web: Read) -> None:
    found = declaration(web("suspend: {reason: 2026-12-01, until: 2026-12-01}", COMPLETE)).suspend
    assert (found.reason, found.until) == ("2026-12-01", date(2026, 12, 1))


def test_an_alias_stands_for_its_value(web: Read) -> None:
    found = declaration(web("tags: &a {x: y}\nlabels: *a\n", COMPLETE))
    assert (found.tags, found.labels) == ({"x": "y"}, {"x": "y"})


def test_defaults_merge_in_mappings_and_are_replaced_elsewhere(web: Read) -> None:
    settings = "defaults:\n  tags: {a: '1', b: '2'}\n  regions: [us-east-1, us-west-2]\n  retain: {builds: 9}\n"
    fleet = web(
        "tags: {b: '3'}\nregions: [eu-west-1]\nretain: {previews: 1d}\n",
        COMPLETE.replace("us-east-1", "eu-west-1"),
        files={"desired/reconciler.yaml": settings},
    )
    found = declaration(fleet)
    assert found.tags == {"a": "1", "b": "3"}
    assert found.locations == ("eu-west-1",)
    assert (found.retain.builds, found.retain.previews) == (9, 86400)


def test_locations_stand_in_place_of_the_regions_that_other_images_have(web: Read) -> None:
    settings = "defaults: {regions: [us-east-1, us-west-2]}\n"
    template = 'source "file" "web" {\n  content = "x"\n  target = "x"\n}\nbuild { sources = ["source.file.web"] }\n'

    fleet = web("locations: [/srv/images]\n", template, files={"desired/reconciler.yaml": settings})

    assert declaration(fleet).locations == ("/srv/images",)


def test_a_source_replaces_the_default_source_as_a_whole(web: Read, hcl: str) -> None:
    fleet = web("source: {ami: {id: ami-1}}", hcl, files={"desired/reconciler.yaml": "defaults: {source: {ssm: /x}}"})
    assert declaration(fleet).source.ssm is None


def test_a_key_without_a_value_takes_a_default_back(web: Read) -> None:
    fleet = web("deprecate_after:\n", COMPLETE, files={"desired/reconciler.yaml": "defaults: {deprecate_after: 90d}"})
    assert declaration(fleet).deprecate_after is None


@pytest.mark.parametrize(
    "written",
    [
        "instance_type: u-6tb1.metal", "instance_type: [t3.micro, m7i.metal-24xl, u7i-12tb.224xlarge]",
        "subnets: [subnet-0a1b2c3d, subnet-0a1b2c3d4e5f67890]",
        "user: ec2-user", "user: 1000", "user: _build", "user: CORP\\jane.doe", "user: jane@example.org",
    ],
)  # fmt: skip
def test_what_a_smoke_test_needs_is_taken_in_any_form_that_there_is(web: Read, written: str) -> None:
    assert declaration(web(f"smoke_test: {{{written}}}\n", COMPLETE))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            "limits: {kinds: {amis: {parallel_builds: 2}}}\n",
            'desired/reconciler.yaml:1:18: limits.kinds: "amis" is no kind of artifact\n  did you mean "ami"?',
        ),
        ("limit: {}\n", 'desired/reconciler.yaml:1:1: unknown key "limit"\n  did you mean "limits"?'),
        (
            "defaults:\n  regoins: []\n",
            'desired/reconciler.yaml:2:3: unknown key "regoins"\n  did you mean "regions"?',
        ),
        (
            "git: {push: maybe}\n",
            (
                "desired/reconciler.yaml:1:7: git.push: expected 'direct' or 'pull-request', found \"maybe\"\n"
                "  push to the branch, or propose one commit on `reconciler/state` in a pull request"
            ),
        ),
        (
            "limits: {max_actions: 0}\ngit: 5\n",
            (
                "desired/reconciler.yaml:1:10: limits.max_actions: expected a number greater than or equal to 1, "
                "found 0\n"
                "  a plan with more actions is refused, unless it is allowed by flag\n"
                "  also desired/reconciler.yaml:2:1: git: expected a mapping, found a number"
            ),
        ),
    ],
)
def test_broken_settings_stop_the_run(web: Read, settings: str, expected: Any) -> None:
    with pytest.raises(UserError) as caught:
        web("", COMPLETE, files={"desired/reconciler.yaml": settings})
    assert str(caught.value) == expected


def test_what_an_image_breaks_in_the_defaults_points_to_them(web: Read) -> None:
    fleet = web(
        "suspend: {until: 2026-12-01}",
        COMPLETE,
        files={"desired/reconciler.yaml": "defaults:\n  suspend: {until: 2026-01-01}"},
    )
    assert [str(one.where) for one in fleet.problems["web"]] == ["desired/web/image.yaml:1:1"]


def test_no_desired_folder_stops_the_run(read: Read) -> None:
    with pytest.raises(UserError, match="there is no folder desired/"):
        read({"README.md": ""})


def test_a_desired_folder_without_images_is_an_empty_fleet(read: Read) -> None:
    fleet = read({"desired/reconciler.yaml": "fleet: acme", "desired/shared/x.sh": ""})
    assert (dict(fleet.images), dict(fleet.problems), fleet.settings.fleet) == ({}, {}, "acme")


ORGANIZATION = "arn:aws:organizations::123456789012:organization/o-a1b2c3d4e5"
UNIT = "arn:aws:organizations::123456789012:ou/o-a1b2c3d4e5/ou-a1b2-f6g7h8i9"


def test_whom_an_image_is_shared_with_is_named_by_ids(web: Read) -> None:
    who = f"{{accounts: [012345678901], organizations: ['{ORGANIZATION}'], organizational_units: ['{UNIT}']}}"
    fleet = web(f"share_with: {who}\ndeprecate_after: 90d\nprotect: true\n", COMPLETE)
    declared = declaration(fleet)
    assert declared.share_with.grants == Grants.of(["012345678901"], [ORGANIZATION], [UNIT])
    assert (declared.deprecate_after, declared.protect) == (90 * 86400, True)
    assert not any("share_with" in note for note in fleet.images["web"].notes)


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("accounts: [1234]", 'share_with.accounts[0]: "1234" is not an AWS account\'s id such as 123456789012'),
        ("accounts: [12345678901a]", "12 digits"), ("accounts: [all]", "12 digits"),
        ("organizations: [o-a1b2c3d4e5]", "is not an organization's ARN"), (f"organizations: ['{UNIT}']", "ARN"),
        (f"organizational_units: ['{ORGANIZATION}']", "is not an organizational unit's ARN"),
    ],
)  # fmt: skip
def test_whoever_has_no_such_id_is_refused_with_the_place(web: Read, written: str, wrong: str) -> None:
    (problem,) = web(f"share_with: {{{written}}}\n", COMPLETE).problems["web"]
    assert wrong in problem.what
    assert str(problem.where).startswith("desired/web/image.yaml:1:")


def test_a_deprecation_that_is_too_far_away_is_refused(web: Read) -> None:
    (problem,) = web("deprecate_after: 3651d\n", COMPLETE).problems["web"]
    assert "ten years away at most: 3650d" in problem.what
    assert declaration(web("deprecate_after: 3650d\n", COMPLETE)).deprecate_after == 3650 * 86400


def test_what_is_written_and_does_nothing_for_its_kind_is_noted(web: Read) -> None:
    template = 'source "file" "web" { target = "out" }\nbuild { sources = ["source.file.web"] }\n'
    fleet = web("locations: [/srv/disks]\nprotect: true\nshare_with: {accounts: []}\n", template)
    assert fleet.problems == {}
    said = [note for note in fleet.images["web"].notes if "protect" in note]
    assert said == ["protect does nothing for a disk: its kind knows no such thing (desired/web/image.yaml:2:1)"]


def test_a_build_that_is_held_and_revoked_is_noted_and_stays_revoked(web: Read) -> None:
    build = "20261122T101530Z-1a2b3c4"
    fleet = web(
        f"hold: {{build: {build}, reason: works}}\nrevoke:\n  - {{build: {build}, reason: leaks}}\n", COMPLETE
    )  # fmt: skip
    assert fleet.problems == {}
    (note,) = (one for one in fleet.images["web"].notes if "revoked" in one)
    assert note.startswith(f"{build} is held (desired/web/image.yaml:1:1) and revoked (desired/web/image.yaml:3:5): ")
    assert "the revocation is carried out, and the hold is refused" in note


def test_waves_of_no_groups_are_noted(web: Read) -> None:
    fleet = web("publish:\n  waves:\n    - {regions: [us-east-1], wait: 1h}\n", COMPLETE)
    assert fleet.problems == {}
    assert [note for note in fleet.images["web"].notes if "waves" in note] == [
        "publish.waves does nothing: no publish.auto_scaling_groups are declared (desired/web/image.yaml:2:3)"
    ]


def test_a_wait_after_the_last_wave_is_noted(web: Read) -> None:
    groups = "publish:\n  launch_templates: [web]\n  auto_scaling_groups: [web]\n  waves:\n"
    for waits, note in (("", ""), (", wait: 1h", "publish.waves[1].wait does nothing: ")):
        rows = f"    - {{regions: [us-east-1], wait: 2h}}\n    - {{regions: [eu-west-1]{waits}}}\n"
        fleet = web(f"regions: [us-east-1, eu-west-1]\n{groups}{rows}", COMPLETE)
        assert fleet.problems == {}
        told = [one for one in fleet.images["web"].notes if "waves" in one]
        assert [one.startswith(note) and "(desired/web/image.yaml:7:30)" in one for one in told] == [True] * bool(note)


def test_where_an_instance_would_boot_is_noted_of_what_is_none(web: Read) -> None:
    boots = "smoke_test: {subnets: [subnet-0a1b2c3d], timeout: 5m, instance_type: t3.micro}\n"
    notes = web(f"locations: [/srv/disks]\n{boots}", QEMU).images["web"].notes
    assert [note.partition(" ")[0] for note in notes if "does nothing" in note] == [
        "smoke_test.instance_type",
        "smoke_test.subnets",
    ]
    assert not [note for note in web(boots, COMPLETE).images["web"].notes if "does nothing" in note]


DOCKER = (
    'source "docker" "web" {\n  image = "debian:12"\n  commit = true\n}\nbuild { sources = ["source.docker.web"] }\n'
)
VIRTUALBOX = (
    'source "virtualbox-ovf" "web" {\n  format = "ova"\n  source_path = "/srv/a.ova"\n}\n'
    'build { sources = ["source.virtualbox-ovf.web"] }\n'
)
QEMU = 'source "qemu" "web" { ssh_username = "admin" }\nbuild { sources = ["source.qemu.web"] }\n'


def test_the_formats_of_a_disk_need_the_program_that_makes_them(web: Read) -> None:
    image = web("locations: [/srv/disks]\nformats: [vmdk, raw]\n", QEMU).images["web"]
    assert image.formats == ("raw", "vmdk")
    converter = next(one for one in reversed(image.template.programs) if one.name == "qemu-img")
    assert str(converter.place) == "desired/web/image.yaml:2:1"
    plain = web("locations: [/srv/disks]\n", QEMU).images["web"]
    assert plain.formats == ()
    assert [one.name for one in plain.template.programs] == ["qemu-img", "qemu-system-x86_64"], "its builder's"
    assert "formats" not in plain.declaration.model_dump(mode="json")


@pytest.mark.parametrize(
    ("written", "wrong", "hint"),
    [
        ("[vmdkk]", 'formats[0]: "vmdkk" is no format that qemu is converted to', 'did you mean "vmdk"?'),
        ("[raw, iso9660]", 'formats[1]: "iso9660"', "known here: qcow2, raw, vdi, vhdx, vmdk, vpc"),
        ("[raw, raw]", "named twice: raw", ""),
        ("['../raw']", "formats[0]", ""),
    ],
)
def test_a_format_that_there_is_not_is_refused_with_its_place(web: Read, written: str, wrong: str, hint: str) -> None:
    (problem,) = web(f"locations: [/srv/disks]\nformats: {written}\n", QEMU).problems["web"]
    assert wrong in problem.what
    assert hint in "".join(problem.hint)
    assert str(problem.where).startswith("desired/web/image.yaml:2:")


@pytest.mark.parametrize(("template", "artifact"), [(COMPLETE, "an AMI"), (DOCKER, "a container image")])
def test_formats_of_a_kind_that_has_one_are_refused_with_their_place(web: Read, template: str, artifact: str) -> None:
    where = "us-east-1" if template == COMPLETE else "registry.example.org/acme/web"
    (problem,) = web(f"locations: [{where}]\nformats: [vmdk]\n", template).problems["web"]
    assert problem.what == f"formats: {artifact} is not converted, and kept as it is"
    assert str(problem.where) == "desired/web/image.yaml:2:1"


def test_formats_that_are_all_images_default_are_noted_where_they_do_nothing(web: Read) -> None:
    defaults = {"desired/reconciler.yaml": "defaults:\n  formats: [vmdk]\n"}
    fleet = web("", COMPLETE, files=defaults)
    assert fleet.problems == {}
    said = [note for note in fleet.images["web"].notes if "formats" in note]
    assert said == [
        "formats does nothing for what amazon-ebs leaves: it is not converted (desired/reconciler.yaml:2:3)"
    ]
    assert fleet.images["web"].formats == ()


def test_formats_of_a_disk_that_its_builder_leaves_as_an_archive_are_noted(web: Read) -> None:
    fleet = web("locations: [/srv/disks]\nformats: [vmdk]\n", VIRTUALBOX)
    assert fleet.problems == {}
    assert any("formats does nothing for what virtualbox-ovf leaves" in note for note in fleet.images["web"].notes)


def test_what_is_not_declared_of_sharing_leaves_no_trace_in_a_digest(web: Read) -> None:
    dumped = declaration(web("", COMPLETE)).model_dump(mode="json")
    assert dumped["share_with"] == {"accounts": [], "organizations": []}
    assert "protect" not in dumped


def test_an_empty_list_left_behind_by_a_comment_is_not_written(web: Read) -> None:
    assert declaration(web("regions:\n# - us-east-1\npacker:\n", COMPLETE)).locations == ()
