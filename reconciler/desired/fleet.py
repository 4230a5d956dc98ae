"""Reads a whole `desired/` at one revision."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from reconciler.desired.as_built import image_as_built
from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared, read_declared
from reconciler.desired.folders import DESIRED, IMAGE_FILE, Folder, folders_of, is_image, problems_of
from reconciler.desired.lineage import wrong_moves, wrong_parents, wrong_regions
from reconciler.desired.located import Located
from reconciler.desired.packer.names import may_be_legacy, why_not_legacy
from reconciler.desired.paths import resolve
from reconciler.desired.settings import SETTINGS_FILE, read_settings
from reconciler.desired.tags import with_notes_on_tags, wrong_tags
from reconciler.desired.templates import TemplateFiles, locate
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Fleet, Image
from reconciler.model.lockfile import Lockfile
from reconciler.model.tree import Tree


def read_fleet(tree: Tree, *, recorded: Mapping[str, Lockfile] | None = None) -> Fleet:
    """Read every image that is declared at a revision.

    Where the lockfiles are given (`recorded`, by image), an image that is as it was built last is an UnreadImage.
    What is wrong with one image stands in `Fleet.problems`, and the others go on. File contents are asked for twice
    at most: what stands in the images' folders, then templates and var files that are elsewhere.

    Raises:
        UserError: there is no desired/, or desired/reconciler.yaml is broken.
        Terminal: the object store lacks something; from `tree`.
    """
    contents = Contents(tree)
    if not contents.paths.under(DESIRED):
        raise UserError(
            "there is no folder desired/ at this commit",
            where=Place(DESIRED),
            mend="declare an image: a folder desired/<image>/ with a Packer template in it, committed",
        )
    folders = folders_of(contents.paths)
    contents.load([SETTINGS_FILE, *contents.links(), *(path for folder in folders for path in folder.read_first())])
    settings = read_settings(contents.read(SETTINGS_FILE) if SETTINGS_FILE in contents.paths.entries else None)
    every, folders = folders, [folder for folder in folders if is_image(folder, contents)]

    problems: dict[str, list[UserError]] = {}
    declared = _declared(folders, contents, defaults=settings.defaults, problems=problems)
    names = frozenset(folder.name for folder in folders)
    orphans = dict(wrong_parents(declared, names=names))
    problems |= {name: [problem] for name, problem in orphans.items()}
    images = _images(declared, contents, problems=problems, orphans=orphans, recorded=recorded or {})
    images = dict(with_notes_on_tags(images, announcers=settings.settings.announce.names))
    wrong = (*wrong_regions(declared, images), *wrong_moves(declared, names=names), *wrong_tags(declared, images))
    for name, problem in wrong:
        problems.setdefault(name, []).append(problem)
        images.pop(name, None)
    shared = [folder for folder in every if folder.name not in names]
    return Fleet(
        settings=settings.settings,
        images=dict(sorted(images.items())),
        problems={name: tuple(found) for name, found in sorted(problems.items())},
        warnings=(*_warnings(contents, names=names), *_no_templates(shared, declared.values(), contents)),
    )


def _declared(
    folders: Iterable[Folder], contents: Contents, *, defaults: Located, problems: dict[str, list[UserError]]
) -> dict[str, Declared]:
    found = {}
    for folder in folders:
        wrong = [*problems_of(folder)]
        one, more = read_declared(folder, contents, defaults=defaults)
        wrong += more
        if wrong:
            problems[folder.name] = wrong
        elif one is not None:
            found[folder.name] = one
    return found


def _images(
    declared: dict[str, Declared],
    contents: Contents,
    *,
    problems: dict[str, list[UserError]],
    orphans: Container[str],
    recorded: Mapping[str, Lockfile],
) -> dict[str, Image]:
    files: dict[str, TemplateFiles] = {}
    for name, one in declared.items():
        try:
            files[name] = locate(one, contents)
        except UserError as error:
            problems.setdefault(name, []).append(error)
    contents.load(path for one in files.values() for path in one.all)
    images: dict[str, Image] = {}
    for name, located in files.items():
        lock = recorded.get(name) if name not in orphans else None
        image: Image | None = image_as_built(declared[name], located, contents, recorded=lock) if lock else None
        if image is None:
            image = _read(declared[name], located, contents, problems=problems, has_parent=name not in orphans)
        if image is not None and name not in orphans:
            images[name] = image
    return images


def _read(
    declared: Declared,
    files: TemplateFiles,
    contents: Contents,
    *,
    problems: dict[str, list[UserError]],
    has_parent: bool,
) -> Image | None:
    from reconciler.desired.image import read_image  # noqa: PLC0415 - its parsers cost 35 ms; see image_as_built

    image, wrong = read_image(declared, files, contents, has_parent=has_parent)
    if wrong:
        problems.setdefault(declared.folder.name, []).extend(wrong)
    return image


def _warnings(contents: Contents, *, names: Container[str]) -> Iterable[str]:
    """Files below desired/ that nobody reads although somebody may think so."""
    for path in contents.paths.under(DESIRED):
        _, name, *below = path.split("/")
        if len(below) > 1 and name not in names and path.endswith((".pkr.hcl", f"/{IMAGE_FILE}")):
            yield f"{path} is not read; an image is a folder directly in {DESIRED}/"
    yield from _mistaken_for_images(contents)
    for path in contents.paths.directly_in(DESIRED):
        name = path.rpartition("/")[2]
        if name in ("reconciler.yml", "reconcile.yaml", "reconciler.json"):
            yield f"{path} is not read; the settings are in {SETTINGS_FILE}"
        elif name == "image.yaml" or name.endswith((".pkr.hcl", ".pkr.json")):
            yield f"{path} is not read; an image is a folder of its own in {DESIRED}/"


def _is_json(path: str, contents: Contents) -> bool:
    return may_be_legacy(path) and contents.followed(path) is not None


def _mistaken_for_images(contents: Contents) -> Iterable[str]:
    """Links to folders, which git does not show as folders, and folders that are called image.yaml."""
    for path in contents.paths.directly_in(DESIRED):
        target = resolve(contents.target(path) or "", DESIRED)
        if target not in (None, DESIRED) and contents.paths.under(target):
            yield f"{path} is not read: it is a symbolic link, and an image is a folder of its own"
    for folder in folders_of(contents.paths):
        if contents.paths.under(folder.image_file):
            yield f"{folder.image_file} is not read: it is a folder, and a declaration is a file"


def _no_templates(shared: Iterable[Folder], declared: Iterable[Declared], contents: Contents) -> Iterable[str]:
    """JSON files that look like the one template of their folder, are none, and are no image's input either."""
    found = {folder: path for folder in shared for path in reversed(folder.files) if _is_json(path, contents)}
    if not found:
        return
    named = {
        resolve(written, one.folder.path)
        for one in declared
        for written in (*one.declaration.packer.inputs, *one.declaration.packer.var_files)
    }
    for folder, path in found.items():
        if named.isdisjoint({path, folder.path, DESIRED}):
            yield f"{path} is not read: {why_not_legacy(contents.read(path))}"
