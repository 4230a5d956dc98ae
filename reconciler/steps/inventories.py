"""Where what is inside a build is kept: in state/ once it is recorded, before that in a tag or beside the checkout."""

from __future__ import annotations

from reconciler.git.request import TagRequest
from reconciler.model.difference import Difference
from reconciler.model.errors import UserError
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import Build
from reconciler.model.tree import content_at
from reconciler.plan.difference.inventories import difference
from reconciler.plan.messages import sbom_tag_name
from reconciler.state.lockfiles import FOLDER
from reconciler.state.sbom import read_sbom, render_sbom
from reconciler.state.unsaved import is_committed, read_unsaved_sbom
from reconciler.steps.run import Run


def recorded_inventory(run: Run, build: Build | None) -> Inventory | None:
    """What is inside a build, as state/ has it; None where that was not recorded, or cannot be read."""
    if build is None or build.inventory is None:
        return None
    content = content_at(run.state or run.known.tree, f"{FOLDER}/{build.inventory.sbom}")
    return _read(content, build) if content is not None else None


def previewed_inventory(run: Run, image: str, build: Build) -> Inventory | None:
    """What is inside a build that is in no lockfile yet, by its tag; None without one that counts and fits."""
    if build.inventory is None:
        return None
    content = run.repository.tagged_content(sbom_tag_name(image, build.id), signed=run.signs)
    return _read(content, build) if content is not None else None


def unsaved_inventory(run: Run, image: str, build: Build) -> Inventory | None:
    """What is inside a build that passed its test here and could not be recorded; None without what fits its record."""
    if is_committed(run.known.tree, image):
        return None
    content = read_unsaved_sbom(run.repository.root, image)
    return _read(content, build) if content is not None else None


def sbom_tag(image: str, build: Build, inventory: Inventory) -> TagRequest:
    """The annotated tag that carries what is inside a preview until its merge."""
    return TagRequest(
        name=sbom_tag_name(image, build.id),
        target="",
        message=f"{image} {build.id}: what is inside, as CycloneDX",
        content=render_sbom(image, build.id, inventory),
    )


def difference_made(run: Run, before: Build | None, inventory: Inventory | None) -> Difference | None:
    """What changed inside since a recorded build; None where one of the two is not known."""
    was = recorded_inventory(run, before)
    return difference(was, inventory) if was is not None and inventory is not None else None


def _read(content: bytes, build: Build) -> Inventory | None:
    try:
        found = read_sbom(content)
    except UserError:
        return None  # somebody wrote there what is no SBOM of ours: as good as none
    return found if build.inventory is not None and found.digest == build.inventory.digest else None
