"""Files below `desired/` that nobody reads although somebody may think so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from reconciler.desired.contents import Contents
from reconciler.desired.folders import DESIRED, IMAGE_FILE, Folder, folders_of
from reconciler.desired.packer.names import FOLDER_SUFFIXES, folder_of, is_legacy, may_be_legacy, why_not_legacy
from reconciler.desired.settings import SETTINGS_FILE

_MOST_READ = 50
"""Files of JSON that are read in a folder to find templates in it; a folder with more is one of data."""


def unread(contents: Contents, shared: Sequence[Folder], *, inputs: AbstractSet[str]) -> Iterator[str]:
    """A warning for each. `shared` are the folders that are no images, `inputs` the files that are some image's."""
    for folder in shared:
        yield from _nested(folder, contents, inputs=inputs)
    yield from _mistaken_for_images(contents)
    for path in contents.paths.directly_in(DESIRED):
        name = path.rpartition("/")[2]
        if name in ("reconciler.yml", "reconcile.yaml", "reconciler.json"):
            yield f"{path} is not read; the settings are in {SETTINGS_FILE}"
        elif name == IMAGE_FILE or name.endswith(FOLDER_SUFFIXES):
            yield f"{path} is not read; an image is a folder of its own in {DESIRED}/"
    for folder in shared:
        found = [path for path in folder.files if may_be_legacy(path) and contents.is_file(path)]
        if found and inputs.isdisjoint(found):
            yield f"{found[0]} is not read: {why_not_legacy(contents.read(found[0]))}"


def _nested(folder: Folder, contents: Contents, *, inputs: AbstractSet[str]) -> Iterator[str]:
    """The first template in each folder below one that is no image itself, as in a repository that was copied there."""
    below = [path for path in contents.paths.under(folder.path) if path not in inputs and path not in folder.files]
    templates = [path for path in below if path.endswith((*FOLDER_SUFFIXES, f"/{IMAGE_FILE}"))]
    if not templates:
        candidates = [path for path in below if may_be_legacy(path) and contents.is_file(path)]
        if 0 < len(candidates) <= _MOST_READ:
            contents.load(candidates)
            templates = [path for path in candidates if is_legacy(contents.read(path), path)]
    for path in {folder_of(one): one for one in reversed(templates)}.values():
        relative = path[len(folder.path) + 1 :]
        named = relative if may_be_legacy(path) else folder_of(relative)
        yield (
            f"{path} is not read; an image is a folder directly in {DESIRED}/. To make {folder.name} one: "
            f"{folder.image_file} with `packer: {{template: {named}}}`"
        )


def _mistaken_for_images(contents: Contents) -> Iterator[str]:
    """Links to folders, which git does not show as folders, and folders that are called image.yaml."""
    for path in contents.paths.directly_in(DESIRED):
        target = contents.follow(path).path if contents.target(path) else None
        if target not in (None, DESIRED) and contents.paths.under(target):
            yield f"{path} is not read: it is a symbolic link, and an image is a folder of its own"
    for folder in folders_of(contents.paths):
        if contents.paths.under(folder.image_file):
            yield f"{folder.image_file} is not read: it is a folder, and a declaration is a file"
