"""Repositories in the shapes that are found in public: `init` finds each of their images, with all that feeds it."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired.proposal.images import propose
from reconciler.git.repository import Repository
from tests.corpus.repositories import CorpusImage, CorpusRepository, repositories

# What a link leads to is proposed, not the link: a template that has two names is one.
_IS_A_LINK = {("links", "back")}

Made = tuple[str, str]
"""What makes an image: the folder of its template, and which of the builds in it."""


def made(packer: Mapping[str, Any]) -> Made:
    template, only = posixpath.normpath(packer["template"]), packer.get("only", [])
    folder = posixpath.dirname(template) if template.endswith((".hcl", ".json")) else template
    return folder, only if isinstance(only, str) else ",".join(only)


def images_of(found: CorpusRepository) -> Mapping[Made, list[CorpusImage]]:
    """Several where a template is built with one or another var file."""
    images: defaultdict[Made, list[CorpusImage]] = defaultdict(list)
    for image in found.images:
        if (found.name, image.name) not in _IS_A_LINK:
            images[made(image.packer)].append(image)
    return images


@pytest.mark.thorough
@pytest.mark.parametrize("found", repositories(), ids=lambda one: one.name)
def test_every_image_of_a_repository_is_proposed(found: CorpusRepository, tmp_path: Path) -> None:
    root = found.lay_out(tmp_path / "repository", declared=False)

    proposal = propose(Repository.open(root).worktree_tree(), repository=found.name, region="us-east-1")

    for what, images in images_of(found).items():
        proposed = [one for one in proposal.images if made(one.declaration["packer"]) == what]
        assert proposed, (what, proposal.left_out)
        assert {one.image.input_paths for one in proposed} <= {tuple(sorted(image.inputs)) for image in images}
        if len(proposed) < len(images) and not any(one.found_in for one in proposed):
            assert any("with which var file it is built" in question for one in proposed for question in one.open)
