"""The template of an image that is as it was built last is not read, and nothing is missed by that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.desired.fleet import read_fleet
from reconciler.model.errors import UserError
from reconciler.model.fleet import Fleet, Image, UnreadImage
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.plan import PlanOptions
from reconciler.model.source import Pin
from reconciler.model.values import digest
from reconciler.plan.key import wanted
from reconciler.plan.transitions import with_build
from reconciler.registries.ec2.dialect import AMI
from reconciler.registries.oci.dialect import OCI
from reconciler.state.lockfiles import path_of, render
from reconciler.steps.observe import read_repository

MakeTree = Callable[..., Any]
Files = Mapping[str, str]
TEMPLATE = "desired/web/web.pkr.hcl"
YAML = "desired/web/image.yaml"
DECLARED = """\
source: {ami: {name: "debian-12-*", owners: ["136693071363"]}}
regions: [us-east-1, eu-west-1]
packer: {variables: {size: large}}
"""
PLAYBOOK = 'provisioner "ansible" {\n playbook_file = "site.yml"\n}'
PIN = AMI.pin("us-east-1", "ami-0abc")


@pytest.fixture
def files(hcl: str) -> dict[str, str]:
    provisioned = hcl.replace("build {", 'variable "size" { type = string }\nbuild {').replace(
        '"source.amazon-ebs.web"]\n',
        '"source.amazon-ebs.web"]\n  provisioner "shell" {\n    script = "${path.root}/setup.sh"\n  }\n',
    )
    return {YAML: DECLARED, TEMPLATE: provisioned, "desired/web/setup.sh": "true\n"}


def build_of(image: Image, pin: Pin = PIN) -> Build:
    want = wanted(image, pin)
    region = pin.upstream.location if pin.upstream else "us-east-1"
    artifact = Artifact(kind="ami", builder="amazon-ebs.web", location=region, id="ami-0def")
    return Build(
        id=f"20261101T060000Z-{want.key[7:14]}", key=want.key, components=dict(want.components), commit="c" * 40,
        source=want.pin, artifacts=(artifact,), phase="stable",
    )  # fmt: skip


def recorded(fleet: Fleet, pin: Pin = PIN) -> dict[str, Lockfile]:
    """A lockfile for each image, as after a build of what was read."""
    assert not fleet.problems
    return {
        name: with_build(Lockfile(image=name), build_of(image, pin), image=image)
        for name, image in fleet.images.items()
    }


def without(tree: Any, path: str) -> Any:
    """The same tree, in which nobody can make sense of one file."""
    tree._blobs[tree.entries[path].oid] = b"{{{"
    return tree


def says(fleet: Fleet) -> dict[str, list[str]]:
    return {name: [str(problem) for problem in found] for name, found in fleet.problems.items()}


def test_the_template_of_an_image_as_built_is_not_read_and_gives_the_same_key(tree: MakeTree, files: Files) -> None:
    read = read_fleet(tree(files)).images["web"]

    fleet = read_fleet(without(tree(files), TEMPLATE), recorded=recorded(read_fleet(tree(files))))

    unread = fleet.images["web"]
    assert isinstance(unread, UnreadImage)
    assert wanted(unread, PIN) == wanted(read, PIN)
    assert wanted(unread, None) == wanted(read, None)
    assert (unread.source, unread.locations, unread.inputs) == (read.source, read.locations, read.inputs)


def test_one_that_names_its_declaration_is_read_whatever_was_recorded_before_that_counted(
    tree: MakeTree, files: dict[str, str]
) -> None:
    files[TEMPLATE] = files[TEMPLATE].replace("setup.sh", "image.yaml")
    fleet = read_fleet(tree(files))
    image = fleet.images["web"]
    assert "image.yaml" in [one.path for one in image.inputs]
    older = replace(image, inputs=tuple(one for one in image.inputs if one.path != "image.yaml"))

    again = read_fleet(tree(files), recorded=recorded(replace(fleet, images={"web": older})))

    assert not isinstance(again.images["web"], UnreadImage)
    assert again.images["web"].inputs == image.inputs


def test_it_is_read_once_when_somebody_asks_for_it(tree: MakeTree, files: Files) -> None:
    locks = recorded(read_fleet(tree(files)))
    there = tree(files)

    image = read_fleet(there, recorded=locks).images["web"]

    assert isinstance(image, UnreadImage)
    assert image.template == read_fleet(tree(files)).images["web"].template
    without(there, TEMPLATE)
    assert image.template.declares("source_ami")
    assert not hasattr(image, "anything_else")


def test_all_that_is_wrong_with_it_is_said_when_it_is_asked_for(tree: MakeTree, files: Files) -> None:
    """As by a newer version of this program, which finds more."""
    locks = recorded(read_fleet(tree(files)))
    there = without(tree(files), TEMPLATE)

    image = read_fleet(there, recorded=locks).images["web"]

    with pytest.raises(UserError) as refused:
        _ = image.template
    assert str(refused.value).startswith(f"{TEMPLATE}:1:")


@pytest.mark.parametrize(
    "change",
    [
        {"regions": "[us-east-1, ap-south-1]"},
        {"tags": "{CostCenter: platform}"},
        {"description": "another"},
        {"refresh": "{max_age: 7d}"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_no_template_has_to_do_with_may_change(tree: MakeTree, files: Files, change: Files) -> None:
    locks = recorded(read_fleet(tree(files)))
    kept = [line for line in DECLARED.splitlines() if line.partition(":")[0] not in change]
    declared = "\n".join([*kept, *(f"{key}: {value}" for key, value in change.items())])

    now = {**files, YAML: declared}

    unread = read_fleet(without(tree(now), TEMPLATE), recorded=locks).images["web"]
    assert isinstance(unread, UnreadImage)
    assert unread.declaration == read_fleet(tree(now)).images["web"].declaration
    assert unread.locations == read_fleet(tree(now)).images["web"].locations


@pytest.mark.parametrize(
    "change",
    [
        {"desired/web/setup.sh": "false\n"},
        {"desired/web/new.txt": "one more\n"},
        {"desired/web/more.pkr.hcl": 'variable "x" { default = "y" }\n'},
        {"desired/web/a.auto.pkrvars.hcl": 'size = "small"\n'},
        {YAML: DECLARED.replace("large", "small")},
        {YAML: DECLARED.replace("{variables", "{only: [amazon-ebs.web], variables")},
        {YAML: DECLARED.replace("{variables", "{working_dir: /, variables")},
        {YAML: DECLARED.replace("{variables", "{template: web.pkr.hcl, variables")},
        {YAML: DECLARED.replace("debian-12", "debian-13")},
        {YAML: DECLARED.replace("us-east-1, eu-west-1", "eu-west-1, us-east-1")},
        {YAML: DECLARED.replace("regions: [us-east-1, eu-west-1]\n", "")},
        {YAML: "".join(DECLARED.splitlines(keepends=True)[1:])},
    ],
    ids=[
        "a file", "a new file", "a file of the template", "a file of variables", "a variable", "the builds",
        "where Packer runs", "which template", "the source", "the first region", "no regions", "no source",
    ],
)  # fmt: skip
def test_whatever_the_template_is_checked_against_makes_it_be_read(tree: MakeTree, files: Files, change: Files) -> None:
    locks = recorded(read_fleet(tree(files)))
    now = {**files, **change}

    fleet, honest = read_fleet(tree(now), recorded=locks), read_fleet(tree(now))

    assert (fleet.images, says(fleet)) == (honest.images, says(honest))
    assert says(read_fleet(without(tree(now), TEMPLATE), recorded=locks))["web"], "and so it is read"


def test_a_broken_template_is_told_with_its_place(tree: MakeTree, files: Files) -> None:
    locks = recorded(read_fleet(tree(files)))

    fleet = read_fleet(tree({**files, TEMPLATE: files[TEMPLATE] + "\nbuild {\n"}), recorded=locks)

    assert says(fleet)["web"][0].startswith(f"{TEMPLATE}:1")


def test_a_mode_is_part_of_what_was_built(tree: MakeTree, files: Files) -> None:
    locks = recorded(read_fleet(tree(files)))

    fleet = read_fleet(tree(files, {"desired/web/setup.sh": "100755"}), recorded=locks)

    assert not isinstance(fleet.images["web"], UnreadImage)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda lock: lock.model_copy(update={"builds": ()}),
        lambda lock: lock.model_copy(update={"source": None}),
        lambda lock: changed(lock, key="sha256:0"),
        lambda lock: changed(lock, components={**lock.builds[0].components, "tooling": "sha256:0"}),
        lambda lock: made_of(lock, {**lock.builds[0].components, "more": "sha256:0"}),
        lambda lock: made_of(lock, {name: one for name, one in lock.builds[0].components.items() if name != "tooling"}),
        lambda lock: changed(lock, source=Pin(image="base", build="b", key="sha256:0")),
    ],
    ids=[
        "no build",
        "no source",
        "another key",
        "another component",
        "a component we do not know",
        "no tooling",
        "another pin",
    ],
)
def test_a_record_that_proves_nothing_spares_nothing(
    tree: MakeTree, files: Files, tamper: Callable[[Lockfile], Lockfile]
) -> None:
    locks = {name: tamper(lock) for name, lock in recorded(read_fleet(tree(files))).items()}

    assert not isinstance(read_fleet(tree(files), recorded=locks).images["web"], UnreadImage)


def changed(lock: Lockfile, **update: object) -> Lockfile:
    return lock.model_copy(update={"builds": (lock.builds[0].model_copy(update=update), *lock.builds[1:])})


def made_of(lock: Lockfile, components: dict[str, str]) -> Lockfile:
    return changed(lock, components=components, key=digest(components))


def test_a_build_that_was_a_refresh_proves_as_much(tree: MakeTree, files: Files) -> None:
    image = read_fleet(tree(files)).images["web"]
    want = wanted(image, PIN, refresh_of="20261001T060000Z-1234567")
    build = build_of(image).model_copy(update={"key": want.key, "components": dict(want.components)})
    locks = {"web": with_build(Lockfile(image="web"), build, image=image)}

    unread = read_fleet(tree(files), recorded=locks).images["web"]

    assert isinstance(unread, UnreadImage)
    assert wanted(unread, PIN) == wanted(image, PIN)


def test_an_image_under_a_new_name_is_read(tree: MakeTree, files: Files) -> None:
    locks = recorded(read_fleet(tree(files)))
    moved = {path.replace("/web/", "/site/"): text for path, text in files.items()}
    moved["desired/site/image.yaml"] += "moved_from: web\n"

    assert not isinstance(read_fleet(tree(moved), recorded=locks).images["site"], UnreadImage)


def test_a_child_is_read_as_no_record_tells_where_it_was_built(tree: MakeTree, files: Files) -> None:
    child = DECLARED.replace('{ami: {name: "debian-12-*", owners: ["136693071363"]}}', "{image: web}")
    both = {**files, **{path.replace("/web/", "/api/"): text for path, text in files.items()}}
    both["desired/api/image.yaml"] = child
    locks = recorded(read_fleet(tree(both)))
    parent = locks["web"].builds[0].as_pin("web")
    locks["api"] = recorded(read_fleet(tree(both)), parent)["api"]

    fleet = read_fleet(tree(both), recorded=locks)

    assert {name: isinstance(image, UnreadImage) for name, image in fleet.images.items()} == {
        "api": False,
        "web": True,
    }


@pytest.mark.parametrize(
    ("written", "yaml"),
    [
        ("../../roles", "  inputs: [../../roles/tls.yml]\n"),
        ("${path.root}/${var.up}/roles", "  inputs: [../../roles/tls.yml]\n  variables: {up: ../..}\n"),
        ("roles", "  inputs: [../../roles/tls.yml]\n  working_dir: /\n"),
        ("${dirname(dirname(path.root))}/roles", "  inputs: [../../roles/tls.yml]\n"),
    ],
    ids=["by a path", "by a variable", "from the root", "by a function"],
)
def test_a_new_file_elsewhere_that_the_template_reads_is_noticed(
    tree: MakeTree, hcl: str, written: str, yaml: str
) -> None:
    step = f'  provisioner "file" {{\n    source      = "{written}"\n    destination = "/tmp"\n  }}\n}}\n'
    uploads = 'variable "up" { default = "x" }\n' + hcl.removesuffix("}\n") + step
    files = {
        YAML: f"{DECLARED.splitlines()[0]}\nregions: [us-east-1]\npacker:\n{yaml}",
        TEMPLATE: uploads,
        "roles/tls.yml": "a: role\n",
    }
    locks = recorded(read_fleet(tree(files)))
    now = {**files, "roles/new.yml": "another: role\n"}

    fleet = read_fleet(tree(now), recorded=locks)

    assert not isinstance(fleet.images["web"], UnreadImage)
    assert fleet.images["web"].inputs == read_fleet(tree(now)).images["web"].inputs
    assert "../../roles/new.yml" in [file.path for file in fleet.images["web"].inputs]


@pytest.mark.parametrize(
    ("step", "beside"),
    [
        (PLAYBOOK, {"site.yml": "- hosts: all\n  roles: [../../../common]\n"}),
        (
            PLAYBOOK,
            {"site.yml": "- hosts: all\n  roles: [common]\n", "ansible.cfg": "[defaults]\nroles_path = ../..\n"},
        ),
        ('provisioner "shell-local" {\n script = "run.sh"\n}', {"run.sh": "cp -r ../../common .\n"}),
        (
            'provisioner "file" {\n content = templatefile("a.tpl", {})\n}',
            {"a.tpl": '${file("../../common/tasks/new.yml")}'},
        ),
    ],
    ids=["a role by its path", "a role in a folder of the settings", "a local script", "a text's template"],
)  # fmt: skip
def test_a_new_file_that_only_a_file_of_the_image_draws_on_is_noticed(
    tree: MakeTree, files: Files, step: str, beside: Mapping[str, str]
) -> None:
    given = {**files, TEMPLATE: files[TEMPLATE].replace('provisioner "shell"', f'{step}\n  provisioner "shell"', 1)}
    given |= {f"desired/web/{name}": text for name, text in beside.items()} | {"common/tasks/main.yml": ""}
    locks = recorded(read_fleet(tree(given)))

    fleet = read_fleet(tree({**given, "common/tasks/new.yml": "- debug:\n"}), recorded=locks)

    assert "../../common/tasks/new.yml" in [file.path for file in fleet.images["web"].inputs]


def test_what_a_link_of_the_image_leads_to_is_noticed_and_the_template_left_unread(
    tree: MakeTree, files: Files
) -> None:
    given, modes = {**files, "desired/web/lib": "../../lib", "lib/a": ""}, {"desired/web/lib": "120000"}
    locks = recorded(read_fleet(tree(given, modes)))

    same = read_fleet(without(tree(given, modes), TEMPLATE), recorded=locks).images["web"]
    changed = read_fleet(tree({**given, "lib/b": ""}, modes), recorded=locks).images["web"]

    assert isinstance(same, UnreadImage)
    assert not isinstance(changed, UnreadImage)
    assert "../../lib/b" in [file.path for file in changed.inputs]


def test_a_template_that_copies_by_itself_is_read_as_its_regions_are_wanted(tree: MakeTree, files: Files) -> None:
    given = {**files, TEMPLATE: files[TEMPLATE].replace("region  ", 'ami_regions = ["ap-south-1"]\n  region  ', 1)}
    locks = recorded(read_fleet(tree(given)))

    image = read_fleet(tree(given), recorded=locks).images["web"]

    assert image.locations == ("us-east-1", "eu-west-1", "ap-south-1")


def test_a_parent_that_is_gone_is_told_all_the_same(tree: MakeTree, files: Files) -> None:
    locks = recorded(read_fleet(tree(files)))
    now = {**files, YAML: DECLARED.replace('{ami: {name: "debian-12-*", owners: ["136693071363"]}}', "{image: gone}")}

    assert says(read_fleet(tree(now), recorded=locks)) == says(read_fleet(tree(now)))


@pytest.mark.parametrize(("preview", "spared"), [(False, True), (True, False)], ids=["a plan", "a preview"])
def test_only_the_lockfiles_of_the_branch_that_state_is_recorded_to_spare_a_template(
    tree: MakeTree, files: Files, *, preview: bool, spared: bool
) -> None:
    lock = recorded(read_fleet(tree(files)))["web"]
    committed = tree({**files, path_of("web"): render(lock)})

    known = read_repository(
        committed, fleet_name="fleet", now=datetime(2026, 11, 22, tzinfo=UTC), options=PlanOptions(preview=preview)
    )

    assert known.locks == {"web": lock}
    assert isinstance(known.fleet.images["web"], UnreadImage) is spared


def test_what_two_builders_left_is_read_and_refused_although_nothing_changed(tree: MakeTree, files: Files) -> None:
    """It was built when two builders in one image were not refused yet."""
    lock = recorded(read_fleet(tree(files)))["web"]
    (build,) = lock.builds
    other = build.artifacts[0].model_copy(update={"builder": "amazon-ebs.other", "id": "ami-0fff"})
    both = build.model_copy(update={"artifacts": (*build.artifacts, other)})

    fleet = read_fleet(tree(files), recorded={"web": lock.model_copy(update={"builds": (both,)})})

    assert not isinstance(fleet.images["web"], UnreadImage)


HERE, THERE = "registry.example.org/acme/web", "mirror.example.org/acme/web"
CONTAINER = """\
variable "source_image" { type = string }
source "docker" "web" {
  image  = var.source_image
  commit = true
}
build { sources = ["source.docker.web"] }
"""


def in_repositories(*locations: str) -> dict[str, str]:
    return {YAML: f"source: {{oci: 'debian:12'}}\nlocations: {list(locations)}\n", TEMPLATE: CONTAINER}


@pytest.mark.parametrize(
    ("before", "now", "unread"),
    [((HERE,), (HERE,), True), ((HERE,), (HERE, THERE), True), ((HERE,), (THERE,), False),
     ((HERE, THERE), (HERE, THERE), False)],
)  # fmt: skip
def test_what_is_not_built_where_its_source_is_is_known_by_its_one_artifact(
    tree: MakeTree, before: tuple[str, ...], now: tuple[str, ...], *, unread: bool
) -> None:
    image = read_fleet(tree(in_repositories(*before))).images["web"]
    pin = OCI.pin("docker.io/library/debian", f"sha256:{'a' * 64}", name="debian:12")
    artifacts = [
        Artifact(kind="oci", builder="docker.web", location=location, id=f"sha256:{'b' * 64}") for location in before
    ]
    build = build_of(image, pin).model_copy(update={"artifacts": tuple(artifacts)})
    locks = {"web": with_build(Lockfile(image="web"), build, image=image)}

    found = read_fleet(tree(in_repositories(*now)), recorded=locks).images["web"]

    assert isinstance(found, UnreadImage) is unread
    assert found.kind == OCI
    assert wanted(found, pin) == wanted(image, pin)


def test_a_fleet_that_is_read_some_at_a_time_is_the_same(
    tree: MakeTree, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands beside what: images as they were built, new ones, a child, and what can't be read."""
    locks = recorded(read_fleet(tree(files)))
    every = {
        **files,
        **{path.replace("/web/", "/new/"): text for path, text in files.items()},
        **{path.replace("/web/", "/child/"): text for path, text in files.items()},
        "desired/child/image.yaml": "source: {image: web}\npacker: {variables: {size: small}}\n",
        "desired/lost/image.yaml": "source: {image: nobody}\npacker: {template: nowhere.pkr.hcl}\n",
        "desired/odd/image.yaml": "colour: red\n",
        "desired/shared/notes.txt": "no image\n",
    }
    at_once = read_fleet(tree(every), recorded=locks)

    monkeypatch.setattr("reconciler.desired.fleet._AT_ONCE", 1)
    by_one = read_fleet(tree(every), recorded=locks)

    assert isinstance(at_once.images["web"], UnreadImage)
    assert by_one.images == at_once.images
    assert says(by_one) == says(at_once)
    assert list(says(by_one)) == ["lost", "odd"]
    assert by_one.images["web"].template == at_once.images["web"].template


def test_files_that_were_let_go_are_read_again_for_another_image(tree: MakeTree, files: Files) -> None:
    """The image that comes second has the same template, and is new."""
    locks = recorded(read_fleet(tree(files)))
    copied = {path.replace("/web/", "/zoo/"): text for path, text in files.items()}

    fleet = read_fleet(tree({**files, **copied}), recorded=locks)

    assert isinstance(fleet.images["web"], UnreadImage)
    assert not isinstance(fleet.images["zoo"], UnreadImage)
    assert fleet.images["zoo"].template.declares("size")


def test_where_it_says_what_is_wrong_is_known_after_its_files_were_let_go(tree: MakeTree, files: Files) -> None:
    locks = recorded(read_fleet(tree(files)))
    moved = {**files, YAML: f"{DECLARED}moved_from: web\n"}

    fleet = read_fleet(tree(moved), recorded=locks)

    assert says(fleet)["web"] == [f"{YAML}:4:1: moved_from: the image names itself\n  remove the line"]
