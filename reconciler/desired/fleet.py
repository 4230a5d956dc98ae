"""Reads a whole `desired/` at one revision, and says which of its files nobody reads."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from reconciler.desired.as_built import image_as_built
from reconciler.desired.contents import Contents
from reconciler.desired.declared import (
    SETTINGS_FILE,
    Declared,
    Defaults,
    TemplateFiles,
    locate,
    read_declared,
    read_settings,
)
from reconciler.desired.folders import DESIRED, IMAGE_FILE, Folder, folders_of, is_image, problems_of
from reconciler.desired.located import Located
from reconciler.desired.packer.json_file import FOLDER_SUFFIXES, folder_of, is_legacy, may_be_legacy, why_not_legacy
from reconciler.desired.relations import (
    with_notes_on_tags,
    wrong_moves,
    wrong_parents,
    wrong_places,
    wrong_publications,
    wrong_tags,
)
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Fleet, Image
from reconciler.model.lockfile import Lockfile
from reconciler.model.tree import Tree
from reconciler.plan.reasons import repository_path

# Files below `desired/` that nobody reads although somebody may think so.

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


# Reads a whole `desired/` at one revision.

_AT_ONCE = 1000
"""Images whose files are read together. Of those that are as they were built, the files are let go after that."""


def read_fleet(tree: Tree, *, recorded: Mapping[str, Lockfile] | None = None) -> Fleet:
    """Read every image that is declared at a revision.

    Where the lockfiles are given (`recorded`, by image), an image that is as it was built last is an UnreadImage.
    What is wrong with one image stands in `Fleet.problems`, and the others go on. File contents are asked for three
    times: what stands in the images' folders, then templates and var files that are elsewhere, then what these name
    that may name more; and once more for each role or so that nobody named before. Of more than a thousand images
    those are asked for a thousand at a time.

    Raises:
        UserError: there is no desired/, or desired/reconciler.yaml is broken.
        Terminal: the object store lacks something; from `tree`.
    """
    contents = _opened(tree)
    every = folders_of(contents.paths)
    contents.load([SETTINGS_FILE, *contents.links(), *_read_first(every[:_AT_ONCE])])
    settings = _settings(contents)
    names: set[str] = set()
    problems: dict[str, list[UserError]] = {}
    declared: dict[str, Declared] = {}
    files: dict[str, TemplateFiles | UserError] = {}
    as_built: dict[str, Image] = {}
    for start in range(0, len(every), _AT_ONCE):
        some = every[start : start + _AT_ONCE]
        contents.load(_read_first(some))
        folders = [folder for folder in some if is_image(folder, contents)]
        names.update(folder.name for folder in folders)
        found = _declared(folders, contents, defaults=settings.defaults, problems=problems)
        declared |= found
        located, same = _located(found, contents, recorded=recorded or {})
        files |= located
        as_built |= same
    images = _valid(declared, files, contents, names=names, settings=settings, problems=problems, as_built=as_built)
    shared = [folder for folder in every if folder.name not in names]
    return Fleet(
        settings=settings.settings,
        images=dict(sorted(images.items())),
        problems={name: tuple(found) for name, found in sorted(problems.items())},
        warnings=tuple(unread(contents, shared, inputs=_inputs(declared, images, contents) if shared else frozenset())),
    )


def read_image(tree: Tree, name: str) -> Image | tuple[UserError, ...] | None:
    """Read one image as `read_fleet` does, and of the others no more than it depends on.

    Those are what it is built on, and, where it declares that it moved, whoever may claim the same. What is wrong with
    an image may name any other: then all are read.

    Returns:
        The image, else every problem of it; None where none of that name is declared. Raises as `read_fleet` does.
    """
    contents = _opened(tree)
    every = {folder.name: folder for folder in folders_of(contents.paths)}
    contents.load([SETTINGS_FILE, *contents.links()])
    settings = _settings(contents)
    problems: dict[str, list[UserError]] = {}
    declared: dict[str, Declared] = {}
    names: set[str] = set()
    waiting = [name]
    while waiting:
        folders = [every[one] for one in waiting if one in every and one not in names]
        contents.load(_read_first(folders))
        folders = [folder for folder in folders if is_image(folder, contents)]
        names.update(folder.name for folder in folders)
        found = _declared(folders, contents, defaults=settings.defaults, problems=problems)
        declared |= found
        waiting = [parent for one in found.values() if (parent := _parent(one)) is not None]
        if name in found and found[name].declaration.moved_from is not None:
            waiting = [*every]
    if name not in names:
        return None
    image = None
    if name in declared:
        # What is looked at of other images is their declarations, and the regions of the one that this is built on.
        asked = {one: declared[one] for one in (name, _parent(declared[name])) if one in declared}
        files, _ = _located(asked, contents, recorded={})
        valid = _valid(declared, files, contents, names=names, settings=settings, problems=problems, as_built={})
        image = valid.get(name)
    if image is not None:
        return image
    fleet = read_fleet(tree)
    return fleet.images.get(name) or fleet.problems[name]


def _read_first(folders: Iterable[Folder]) -> Iterator[str]:
    return (path for folder in folders for path in folder.read_first())


def _parent(declared: Declared) -> str | None:
    source = declared.declaration.source
    return source.image if source is not None else None


def _opened(tree: Tree) -> Contents:
    """The contents of a tree that declares something."""
    contents = Contents(tree)
    if not contents.paths.under(DESIRED):
        raise _nothing_declared(contents)
    return contents


def _settings(contents: Contents) -> Defaults:
    """The settings; their file has to be loaded."""
    return read_settings(contents.read_itself(SETTINGS_FILE) if SETTINGS_FILE in contents.paths.entries else None)


def _valid(
    declared: Mapping[str, Declared],
    files: Mapping[str, TemplateFiles | UserError],
    contents: Contents,
    *,
    names: Collection[str],
    settings: Defaults,
    problems: dict[str, list[UserError]],
    as_built: Mapping[str, Image],
) -> dict[str, Image]:
    """The images whose `files` these are and those `as_built`, but for those with problems, which are added."""
    orphans = dict(wrong_parents(declared, names=names))
    missing = {name: one for name, one in files.items() if isinstance(one, UserError)}
    for name, problem in (*orphans.items(), *missing.items()):
        problems.setdefault(name, []).append(problem)
    found = {name: one for name, one in files.items() if not isinstance(one, UserError)}
    images = {**as_built, **_read(found, declared, contents, problems=problems, orphans=orphans)}
    images = dict(with_notes_on_tags(images, announcers=settings.settings.announce.names))
    wrong = (
        *wrong_places(declared, images), *wrong_moves(declared, names=names), *wrong_tags(declared, images),
        *wrong_publications(declared, images),
    )  # fmt: skip
    for name, problem in wrong:
        problems.setdefault(name, []).append(problem)
        images.pop(name, None)
    return images


def _nothing_declared(contents: Contents) -> UserError:
    """The error for a revision without desired/. Where a fleet lives elsewhere in the repository, it says where."""
    inside = f"/{DESIRED}/"
    folders = {path.partition(inside)[0] for path in contents.paths.entries if inside in path}
    elsewhere = [f"there is {folder}/{DESIRED}/: work on it with -C {folder}" for folder in sorted(folders)[:3]]
    return UserError(
        f"there is no folder {DESIRED}/ at this commit",
        where=Place(DESIRED),
        hint=elsewhere
        or (
            "`reconciler init` proposes a declaration of each image whose template is here",
            "or declare one: a folder desired/<image>/ with a Packer template in it, committed",
        ),
    )


def _inputs(declared: Mapping[str, Declared], images: Mapping[str, Image], contents: Contents) -> frozenset[str]:
    """Every file that feeds an image; of an invalid one, what its declaration names."""
    read = (repository_path(image.folder, file.path) for image in images.values() for file in image.inputs)
    packers = ((one.folder.path, one.declaration.packer) for one in declared.values())
    named = (
        contents.paths.resolve(written, folder)
        for folder, packer in packers
        for written in (*packer.inputs, *packer.var_files)
    )
    return frozenset([*read, *(file for path in named if path is not None for file in contents.at(path))])


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


def _located(
    declared: Mapping[str, Declared], contents: Contents, *, recorded: Mapping[str, Lockfile]
) -> tuple[dict[str, TemplateFiles | UserError], dict[str, Image]]:
    """The files of each template, loaded, or why there are none; and the images that are as they were built last.

    What is in the files of those is let go: nobody needs it.
    """
    files: dict[str, TemplateFiles | UserError] = {}
    for name, one in declared.items():
        try:
            files[name] = locate(one, contents)
        except UserError as error:
            files[name] = error
    contents.load(path for one in files.values() if isinstance(one, TemplateFiles) for path in one.all)
    images: dict[str, Image] = {}
    for name, one in declared.items():
        found, lock = files[name], recorded.get(name)
        if lock is None or isinstance(found, UserError):
            continue
        image = image_as_built(one, found, contents, recorded=lock)
        if image is not None:
            images[name] = image
            contents.let_go((one.folder.image_file, *found.all))
    return {name: one for name, one in files.items() if name not in images}, images


def _read(
    files: Mapping[str, TemplateFiles],
    declared: Mapping[str, Declared],
    contents: Contents,
    *,
    problems: dict[str, list[UserError]],
    orphans: Container[str],
) -> dict[str, Image]:
    """Read the templates of these images, and what they name: of all of them in one call."""
    if not files:
        return {}
    from reconciler.desired.image import as_image, read_facts  # noqa: PLC0415 - its parsers cost 35 ms: image_as_built

    facts = {name: read_facts(declared[name], located, contents) for name, located in files.items()}
    contents.load(path for one in facts.values() for path in one.reads_next)
    images: dict[str, Image] = {}
    for name, one in facts.items():
        image, wrong = as_image(one, contents, has_parent=name not in orphans)
        if wrong:
            problems.setdefault(name, []).extend(wrong)
        if image is not None and name not in orphans:
            images[name] = image
    return images
