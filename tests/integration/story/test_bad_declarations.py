"""Bad input in desired/: each image says what is wrong with it, where, and how to fix it; the others go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Ended, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

# It takes `source_ami`, so that it may be a child's template as well.
TEMPLATE = (Path(__file__).parent / "fleets/pair/desired/web/web.pkr.hcl").read_text()
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
LONG = "x" * 200
NAMES = "  use up to 64 of a-z, 0-9, `.`, `_` and `-`, beginning and ending with a letter or digit"


@dataclass(frozen=True)
class Bad:
    """What is in an image's folder, and what `validate` says of it, from the place on."""

    said: tuple[str, ...]
    declaration: str | bytes | None = None
    template: str | None = TEMPLATE
    template_name: str = "it.pkr.hcl"


DEBIAN = 'source: {ami: {name: "debian-12-amd64-*", owners: ["136693071363"]}}\n'
IMAGES = {
    "unknown-key": Bad(
        ('/image.yaml:1:1: unknown key "regoins"', '  did you mean "regions"?'), "regoins: [us-east-1]\n"
    ),
    "wrong-type": Bad(("/image.yaml:1:1: regions: expected a list of text, found a number",), "regions: 7\n"),
    "wrong-unit": Bad(
        ("/image.yaml:2:3: packer.timeout: a duration is a number with a unit: 90s, 60m, 12h, 7d or 2w",),
        "packer:\n  timeout: soon\n",
    ),
    "duplicate-key": Bad(
        (
            '/image.yaml:2:1: the key "description" is here a second time; the first is on line 1',
            "  keep one of them",
        ),
        "description: one\ndescription: two\n",
    ),
    "tab": Bad(("/image.yaml:2:1: a tab where YAML wants spaces", "  indent with spaces"), "packer:\n\ttemplate: .\n"),
    "ten-megabytes": Bad(
        (
            "/image.yaml: the file has more than 1,048,576 bytes, and no more are read",
            "  keep what is not declaration in files of its own",
        ),
        "#" * 10_000_000,
    ),
    "not-utf8": Bad(
        ("/image.yaml:1:17: byte 16 (0xe9) is not UTF-8", "  save the file as UTF-8"), b"description: caf\xe9\n"
    ),
    "alias-bomb": Bad(
        (
            "/image.yaml:5:8: more than 10,000 values, counting each alias as what it stands for",
            "  write less, or without aliases",
        ),
        BOMB,
    ),
    "unknown-parent": Bad(
        ('/image.yaml:1:10: source.image: there is no image "god"', '  did you mean "good"?'), "source: {image: god}\n"
    ),
    "cycle-one": Bad(
        (
            "/image.yaml:1:10: source.image: the images are built on each other: cycle-one → cycle-two → cycle-one",
            "  let one of them be built on something upstream",
        ),
        "source: {image: cycle-two}\n",
    ),
    "cycle-two": Bad(
        ('/image.yaml:1:10: source.image: this is in the cycle of "cycle-one" (desired/cycle-one/image.yaml:1:10)',),
        "source: {image: cycle-one}\n",
    ),
    "heir-one": Bad(
        (
            '/image.yaml:2:1: moved_from: "heir-two" was "gone", too (desired/heir-two/image.yaml:2:1)',
            "  keep the line in the image that goes on with the history",
        ),
        f"{DEBIAN}moved_from: gone\n",
    ),
    "heir-two": Bad(
        (
            '/image.yaml:2:1: moved_from: "heir-one" was "gone", too (desired/heir-one/image.yaml:2:1)',
            "  keep the line in the image that goes on with the history",
        ),
        f"{DEBIAN}moved_from: gone\n",
    ),
    "does-not-parse": Bad(
        (
            "/it.pkr.hcl:2:12: not valid HCL: Invalid expression",
            "  Expected the start of an expression, but found an invalid expression token.",
        ),
        template='source "amazon-ebs" "x" {\n  region = \n}\n',
    ),
    "bad-json": Bad(
        ("/template.json:1:15: not valid JSON: Expecting value", "  fix the line, or the one before"),
        template='{"builders": [}',
        template_name="template.json",
    ),
    "no-template": Bad(
        (
            '/image.yaml:1:1: packer.template: there is no Packer template at "."',
            "  commit a *.pkr.hcl, *.pkr.json or *.json template there, or name the one to use",
        ),
        "description: nothing else\n",
        template=None,
    ),
    "outside": Bad(
        (
            '/image.yaml:1:10: packer.template: "../../../../etc/passwd" leads out of the repository',
            "  commit what the build needs to this repository",
        ),
        "packer: {template: ../../../../etc/passwd}\n",
    ),
    "no-build": Bad(
        ("/it.pkr.hcl: the template builds nothing", '  add build { sources = ["source.…"] }'),
        template='variable "x" {\n  default = 1\n}\n',
    ),
    "only-nothing": Bad(
        ('/image.yaml:2:17: packer.only: "amazon-ebs.sight" matches no build', "  there are: amazon-ebs.web"),
        f"{DEBIAN}packer: {{only: [amazon-ebs.sight]}}\n",
    ),
    "with space": Bad((""": "with space" can't be the name of an image (a space)""", NAMES)),
    "ünïcode": Bad((""": "ünïcode" can't be the name of an image (the character "ü" (U+00FC))""", NAMES)),
    "Capital": Bad((""": "Capital" can't be the name of an image (the capital "C")""", NAMES)),
    LONG: Bad((f""": "{LONG[:59]}…" can't be the name of an image (200 characters)""", NAMES)),
}
GOOD = {"good": Bad((), DEBIAN), "empty": Bad((), "")}


@pytest.fixture(scope="module")
def fleet(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """All of them side by side; and two good ones, one of which has an empty image.yaml."""
    fleet = new_fleet(tmp_path_factory.mktemp("bad"), "empty")
    for name, image in {**IMAGES, **GOOD}.items():
        fleet.write(f"desired/{name}/setup.sh", "#!/bin/sh\ntrue\n")
        if image.template is not None:
            fleet.write(f"desired/{name}/{image.template_name}", image.template)
        if image.declaration is not None:
            fleet.write(f"desired/{name}/image.yaml", image.declaration)
    own_source = TEMPLATE.replace('variable "source_ami" { type = string }', "")
    by_filter = (
        'source_ami_filter {\n owners = ["136693071363"]\n most_recent = true\n filters = { name = "debian-*" }\n}'
    )
    fleet.write("desired/empty/it.pkr.hcl", own_source.replace("source_ami    = var.source_ami", by_filter))
    fleet.publish("Declare nearly everything wrongly")
    return fleet


@pytest.fixture(scope="module")
def validated(fleet: Checkout) -> Ended:
    return fleet.reconciler("validate")


@pytest.mark.parametrize("name", IMAGES)
def test_a_bad_image_says_what_is_wrong_where_and_how_to_hint_it(validated: Ended, name: str) -> None:
    first, *hints = IMAGES[name].said
    found, *told = complaints(validated.err, name)
    assert found == f"error: desired/{name}{first}"
    # A hint that an image above has had is not given again.
    assert told == [hint for hint in hints if hint in told]
    assert all(hint in validated.err for hint in hints)


def complaints(text: str, name: str) -> list[str]:
    """The errors about one image, each with the indented lines below it."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("  "):
            inside = line.startswith((f"error: desired/{name}/", f"error: desired/{name}:"))
        if inside:
            found.append(line)
    return found


def test_validate_counts_them_and_fails(validated: Ended) -> None:
    assert validated.code == 1
    assert validated.out == f"{len(IMAGES)} of {len(IMAGES) + len(GOOD)} images invalid\n"
    assert all(f"desired/{name}/" not in validated.err for name in GOOD)


def test_the_plan_shows_the_good_ones_and_the_errors_of_the_bad_ones(fleet: Checkout) -> None:
    planned = fleet.reconciler("plan", "--json")
    assert planned.code == 1
    assert planned.json["errored"] is True
    images = {image["image"]: image for image in planned.json["images"]}
    for name, image in IMAGES.items():
        (error,) = images[name]["errors"]
        assert error.splitlines() == [f"desired/{name}{image.said[0]}", *image.said[1:]]
        assert images[name]["actions"] == ["none"]
    assert [images[name]["actions"] for name in GOOD] == [["build"]] * len(GOOD)


def test_the_plan_as_a_table_fits_the_terminal(fleet: Checkout) -> None:
    assert fleet.reconciler("plan").code == 1


def test_the_good_images_are_built_all_the_same(fleet: Checkout) -> None:
    ended = fleet.reconciler("reconcile")
    assert ended.code == 3
    assert sorted(fleet.lockfiles()) == ["empty.lock.json", "good.lock.json"]
    assert 'unknown-key: desired/unknown-key/image.yaml:1:1: unknown key "regoins"' in ended.err.splitlines()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("limts: {}\n", 'error: desired/reconciler.yaml:1:1: unknown key "limts"'),
        ("defaults: {regoins: []}\n", 'error: desired/reconciler.yaml:1:12: unknown key "regoins"'),
        ("git: [main]\n", "error: desired/reconciler.yaml:1:1: git: expected a mapping, found a list"),
        ("git: {author: me}\n", 'error: desired/reconciler.yaml:1:7: git.author: "me" has not the form that is'),
    ],
)
def test_broken_settings_stop_every_verb(new_fleet: NewFleet, tmp_path: Path, settings: str, said: str) -> None:
    fleet = new_fleet(tmp_path, "pair")
    fleet.write("desired/reconciler.yaml", settings)
    fleet.publish()
    ended = fleet.reconciler("reconcile")
    assert ended.code == 1
    assert ended.err.splitlines()[0].startswith(said)
    assert ended.out == ""
