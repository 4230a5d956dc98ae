"""One image: its declaration, its template and its inputs brought together, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared
from reconciler.desired.drawn import files_to_read
from reconciler.desired.facts import read
from reconciler.desired.folders import Folder
from reconciler.desired.inputs import (
    Inputs,
    all_inputs,
    declared_inputs,
    input_files,
    notes_on_submodules,
    template_inputs,
)
from reconciler.desired.located import Located
from reconciler.desired.origin import (
    copies_elsewhere,
    notes_on_boot,
    notes_on_origin,
    notes_on_regions,
    one_artifact,
    regions_of,
    source_of,
)
from reconciler.desired.packer.names import folder_of
from reconciler.desired.packer.template import ReadTemplate
from reconciler.desired.smoke_suite import wrong_suite
from reconciler.desired.templates import TemplateFiles, locate
from reconciler.model.declaration import Declaration, PackerSettings
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Image

_T = TypeVar("_T")


@dataclass(frozen=True)
class Facts:
    """What an image's template says, before the files are read that it names."""

    declared: Declared
    files: TemplateFiles
    read: ReadTemplate | None
    problems: tuple[UserError, ...]

    @property
    def reads_next(self) -> tuple[str, ...]:
        """The named files that may name others in their turn. Those of many images are best loaded in one call."""
        return tuple(files_to_read(self.read.reads, working_dir=self.files.working_dir)) if self.read else ()


def read_facts(declared: Declared, files: TemplateFiles, contents: Contents) -> Facts:
    """Read the template of an image, whose files have to be loaded."""
    found, problems = read(declared, files, contents)
    return Facts(declared, files, found, tuple(problems))


def as_image(
    facts: Facts, contents: Contents, *, has_parent: bool = True
) -> tuple[Image | None, tuple[UserError, ...]]:
    """One image, by what its template says.

    `has_parent` is False for an image whose parent can't be one: that it is not built on it is no second problem.

    Returns:
        The image and nothing, or None and every problem that can be told apart from the others.
    """
    declared = facts.declared
    folder = declared.folder
    inputs = _inputs(facts, contents)
    suite = wrong_suite(declared, contents.paths)
    problems = [*inputs.problems, *([suite] if suite else []), *facts.problems]
    if facts.read is None:
        return None, tuple(problems)
    template = facts.read.template
    several = one_artifact(declared, template)
    if several is not None:
        # Where they build and on what is for each of them to say, once it is an image.
        return None, (*problems, several)
    source = _try(lambda: source_of(declared, template), problems) if has_parent else None
    regions = _try(lambda: regions_of(declared, template), problems)
    if problems:
        return None, tuple(problems)
    image = Image(
        name=folder.name,
        folder=folder.path,
        declaration=declared.declaration,
        template=template,
        source=source,
        regions=regions or (),
        copied_elsewhere=copies_elsewhere(template),
        inputs=input_files(inputs.paths, contents.paths, folder=folder.path),
        notes=(
            *facts.read.notes,
            *inputs.notes,
            *notes_on_submodules(inputs.paths, contents.paths),
            *notes_on_origin(declared, template, source),
            *notes_on_regions(declared, template),
            *notes_on_boot(declared, template),
            *declared.unacted(),
        ),
    )
    return image, ()


def read_image(
    declared: Declared, files: TemplateFiles, contents: Contents
) -> tuple[Image | None, tuple[UserError, ...]]:
    """Read one image alone; the files of its template have to be loaded. Returns what `as_image` does."""
    facts = read_facts(declared, files, contents)
    contents.load(facts.reads_next)
    return as_image(facts, contents)


def inputs_before_declared(packer: PackerSettings, contents: Contents, *, name: str) -> Inputs:
    """What would feed an image of this name that is not declared yet, and what is wrong with that or its template.

    `packer` is what would be declared of it, with paths as in its image.yaml.

    Raises:
        UserError: there is no such template, var file or working directory.
    """
    folder = Folder(name, ())
    declared = Declared(folder, Declaration(packer=packer), Located({}, Place(folder.image_file)))
    files = locate(declared, contents)
    contents.load(files.all)
    facts = read_facts(declared, files, contents)
    contents.load(facts.reads_next)
    found = _inputs(facts, contents)
    return Inputs(found.paths, [*found.problems, *facts.problems], found.notes)


def _inputs(facts: Facts, contents: Contents) -> Inputs:
    inputs = declared_inputs(facts.declared, facts.files, contents)
    if facts.read is None:
        return inputs
    where, template = facts.files.working_dir, folder_of(facts.files.template[0])
    named = template_inputs(facts.declared, facts.read.reads, contents, working_dir=where, template=template)
    return all_inputs(inputs, named)


def _try(read: Callable[[], _T], problems: list[UserError]) -> _T | None:
    """What `read` returns, or None and its error among the problems, so that the next check is made as well."""
    try:
        return read()
    except UserError as error:
        problems.append(error)
        return None
