"""One image: its declaration, its template and its inputs brought together, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared
from reconciler.desired.facts import read
from reconciler.desired.inputs import input_files, input_paths, notes_on_inputs, unlisted_reads, unlisted_targets
from reconciler.desired.origin import notes_on_boot, notes_on_origin, one_artifact, regions_of, source_of
from reconciler.desired.smoke_suite import wrong_suite
from reconciler.desired.templates import TemplateFiles
from reconciler.model.errors import UserError
from reconciler.model.fleet import Image

_T = TypeVar("_T")


def read_image(
    declared: Declared, files: TemplateFiles, contents: Contents, *, has_parent: bool = True
) -> tuple[Image | None, tuple[UserError, ...]]:
    """Read one image; the files of its template have to be loaded.

    `has_parent` is False for an image whose parent can't be one: that it is not built on it is no second problem.

    Returns:
        The image and nothing, or None and every problem that can be told apart from the others.
    """
    folder = declared.folder
    inputs, input_problems = input_paths(declared, contents.paths, read=files.all)
    facts, template_problems = read(declared, files, contents)
    suite = wrong_suite(declared, contents.paths)
    problems = [*input_problems, *([suite] if suite else []), *unlisted_targets(inputs, declared, contents)]
    problems += template_problems
    if facts is None:
        return None, tuple(problems)
    template = facts.template
    problems += unlisted_reads(facts.reads, inputs, declared, contents.paths)
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
        inputs=input_files(inputs, contents.paths, folder=folder.path),
        notes=(
            *facts.notes,
            *notes_on_inputs(facts.mentions, inputs, contents.paths),
            *notes_on_origin(template, source),
            *notes_on_boot(declared, template),
            *declared.unacted(),
        ),
    )
    return image, ()


def _try(read: Callable[[], _T], problems: list[UserError]) -> _T | None:
    """What `read` returns, or None and its error among the problems, so that the next check is made as well."""
    try:
        return read()
    except UserError as error:
        problems.append(error)
        return None
