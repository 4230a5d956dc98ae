"""Images that are what their newest recorded build was made of: their templates need not be read.

A build is recorded only of an image whose template was read and checked. What the template says, and whether it is
right, depends on the files that feed the image, on `packer` and `source` in its declaration, on its first region, and
on where the paths lead that it reads. Where all of that is as it was, reading it again would find the same.

Which files feed an image is known without its template only where that names nothing outside of the image's folder,
and nothing that names more in its turn: a playbook, a script that runs here. Those templates are always read.
"""

from __future__ import annotations

from functools import partial

from reconciler.desired.complaints import as_one
from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared
from reconciler.desired.inputs import declared_inputs, input_files
from reconciler.desired.packer.confined import is_confined, is_confined_value, names_all
from reconciler.desired.packer.names import folder_of
from reconciler.desired.templates import TemplateFiles
from reconciler.model.declaration import Declaration
from reconciler.model.fleet import UnreadImage
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.template import Template
from reconciler.model.tree import REGULAR_MODES
from reconciler.plan.key import of_inputs, unmoved


def image_as_built(
    declared: Declared, files: TemplateFiles, contents: Contents, *, recorded: Lockfile
) -> UnreadImage | None:
    """The image, if it is as it was built last; None if it has to be read. The template's files have to be loaded."""
    last = recorded.builds[0] if recorded.builds else None
    declaration, folder = declared.declaration, declared.folder
    if last is None or not _asks_the_same(declaration, recorded, last) or _left_several(last):
        return None
    inputs = declared_inputs(declared, files, contents)
    if inputs.problems:
        return None
    found = input_files(inputs.paths, contents.paths, folder=folder.path)
    components = unmoved(last, of_inputs(declaration, found))
    if components is None or not _reads_its_own_folder_alone(declared, files, contents):
        return None
    return UnreadImage(
        name=folder.name,
        folder=folder.path,
        declaration=declaration,
        source=declaration.source.request if declaration.source is not None else None,
        regions=declaration.regions,
        inputs=found,
        components=components,
        read=partial(_read, declared, files, contents),
    )


def _asks_the_same(declaration: Declaration, recorded: Lockfile, last: Build) -> bool:
    """Whether the image declares what the template was checked against: its source, and where Packer builds.

    Only an upstream AMI's pin tells in which region that was. A child, and an image that leaves its source or its
    regions to the template, is read.
    """
    source = recorded.source
    pin = last.source.ami if last.source is not None else None
    if source is None or pin is None or declaration.source is None:
        return False
    if declaration.source.request != source.requested:
        return False
    return declaration.regions[:1] == (pin.region,)


def _left_several(last: Build) -> bool:
    """Whether several builders ran: before each became an image of its own, that was not refused."""
    return len({artifact.builder for artifact in last.artifacts}) > 1


def _reads_its_own_folder_alone(declared: Declared, files: TemplateFiles, contents: Contents) -> bool:
    """Whether no file that is new elsewhere can be one that the template reads: all of the image's folder is input."""
    folder = declared.folder.path
    starts = (files.working_dir, *map(folder_of, files.template))
    if not all(f"{start}/".startswith(f"{folder}/") for start in starts):
        return False
    if not all(is_confined_value(value) for value in declared.declaration.packer.variables.values()):
        return False
    entries = contents.paths.entries
    if files.links or not all(entries[path].mode in REGULAR_MODES for path in files.all):
        return False
    texts = {path: contents.read(path) for path in files.all}
    return all(is_confined(text, path) and names_all(text) for path, text in texts.items())


def _read(declared: Declared, files: TemplateFiles, contents: Contents) -> Template:
    from reconciler.desired.image import read_image  # noqa: PLC0415 - 35 ms of parsers that a fleet in sync needs not

    image, problems = read_image(declared, files, contents)
    if image is None:
        raise as_one(problems)
    return image.template
