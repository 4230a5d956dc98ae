"""One image is read as the whole fleet has it, and of the others no more than it depends on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from reconciler.desired.fleet import read_fleet, read_image
from reconciler.model.fleet import Image

MakeTree = Callable[..., Any]
AMI = "source: {ami: {id: ami-0abc}}\n"


def says(tree: Any, name: str) -> object:
    """What the whole fleet has of an image: itself, or what is wrong with it."""
    fleet = read_fleet(tree)
    return fleet.images.get(name) or fleet.problems.get(name)


def without(tree: Any, paths: Iterable[str]) -> Any:
    """The same tree, whose contents at these paths can't be read."""
    lost = {tree.entries[path].oid for path in paths}
    tree._blobs = {oid: content for oid, content in tree._blobs.items() if oid not in lost}
    return tree


@pytest.fixture
def declare(hcl: str) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """The files of images by their image.yaml. No two templates are alike."""
    return lambda images: {
        path: content
        for name, yaml in images.items()
        for path, content in (
            (f"desired/{name}/image.yaml", yaml),
            (f"desired/{name}/web.pkr.hcl", f"# {name}\n{hcl}"),
        )
    }


def test_of_other_images_only_those_are_read_that_it_is_built_on(tree: MakeTree, declare: Any) -> None:
    files = declare(
        {
            "app": "source: {image: web}\n",
            "web": "source: {image: base}\n",
            "base": AMI,
            "api": f"{AMI}labels: {{a: b}}\n",
            "ui": "source: {image: app}\n",
        }
    )
    whole = says(tree(files), "app")

    found = read_image(without(tree(files), [path for path in files if "/api/" in path or "/ui/" in path]), "app")

    assert isinstance(found, Image)
    assert found == whole


def test_an_image_that_nobody_declares_is_none(tree: MakeTree, declare: Any) -> None:
    files = {**declare({"web": AMI}), "desired/shared/setup.sh": ""}

    assert read_image(tree(files), "api") is None
    assert read_image(tree(files), "shared") is None


@pytest.mark.parametrize("seed", range(40))
def test_at_random_it_is_what_the_whole_fleet_has_of_it(tree: MakeTree, declare: Any, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test
    names = ["a", "b", "c", "d", "e", "gone"]
    yamls = [
        *(f"source: {{image: {rng.choice(names)}}}\n" for _ in range(3)),
        AMI,
        "",
        f"{AMI}regions: [us-east-1, eu-west-1]\n",
        f"{AMI}regions: [eu-west-1]\n",
        f"{AMI}tags: {{'aws:x': y}}\n",
        f"{AMI}moved_from: {rng.choice(names)}\n",
        f"{AMI}moved_from: gone\n",
        "sorce: 1\n",
    ]
    files = declare({name: rng.choice(yamls) for name in names[:5]})
    if rng.random() < 0.3:
        files[f"desired/{rng.choice(names[:5])}/web.pkr.hcl"] = "build {\n"
    if rng.random() < 0.3:
        files["desired/reconciler.yaml"] = f"defaults: {{regions: [us-east-1], moved_from: {rng.choice(names)}}}\n"
    fleet = read_fleet(tree(files))

    for name in names:
        found = read_image(tree(files), name)

        assert repr(found) == repr(fleet.images.get(name) or fleet.problems.get(name))
