"""What an image is built on, and where: the declaration beside what the template says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.desired.declared import Declared
from reconciler.desired.packer.builders import AMAZON_TYPES
from reconciler.model.errors import Place, UserError
from reconciler.model.source import SourceRequest
from reconciler.model.template import Builder, Region, Template


def source_of(declared: Declared, template: Template) -> SourceRequest | None:
    """The declared source, else the one that the template's builders agree on; None where nothing can be pinned.

    Raises:
        UserError: the template leaves the choice to us and none is declared, builders disagree, or a child would
            not be built on its parent.
    """
    source = declared.declaration.source
    if source is not None:
        if source.image is not None and not template.declares("source_ami"):
            raise UserError(
                f"the template declares no variable source_ami, so that it would not be built on {source.image}",
                where=declared.place("source"),
                mend=f'in {template.place}: variable "source_ami" {{ type = string }}, and source_ami = var.source_ami',
            )
        return source
    builders = _amazon(template)
    stated = {builder.source.model_dump_json(): builder for builder in builders if builder.source is not None}
    if len(stated) > 1:
        first, second, *_ = stated.values()
        raise UserError(
            f"{first.name} and {second.name} are built on different sources, and an image has one",
            where=second.source_place,
            mend="choose one with packer.only, declare `source:`, or make two images of it",
        )
    for builder in stated.values():
        return builder.source
    for builder in builders:
        raise UserError(
            f"it can't be known what {builder.name} is built on, and no source is declared",
            where=builder.source_place or builder.place,
            mend=f'add to {declared.folder.image_file}: source: {{ami: {{name: "…", owners: ["…"]}}}}',
        )
    return None


def regions_of(declared: Declared, template: Template) -> tuple[str, ...]:
    """The declared regions, else the one that the template's builders agree on; the first is where Packer builds.

    Raises:
        UserError: there is none, or the template insists on another one.
    """
    regions = declared.declaration.regions
    builders = _amazon(template)
    if regions:
        _agree_with(declared, template, regions[0])
        return regions
    found = {builder.region.value: builder for builder in builders if builder.region and builder.region.value}
    if len(found) > 1:
        first, second, *_ = found.values()
        raise UserError(
            f"{first.name} and {second.name} build in different regions, and Packer is to build in one",
            where=_place(second),
            mend="choose one with packer.only, or declare `regions:`; the image is copied to all but the first",
        )
    if not found:
        unknown = (*builders, *template.builders)[0]
        raise UserError(
            f"it can't be known in which region {unknown.name} builds",
            where=_place(unknown),
            mend=f"add to {declared.folder.image_file}: regions: [us-east-1]",
        )
    return tuple(region for region in found if region is not None)


def notes_on_origin(template: Template, source: SourceRequest | None) -> Iterator[str]:
    """What stops nothing: a pin that Packer is free to ignore."""
    if source is not None and _amazon(template) and not template.declares("source_ami"):
        yield (
            "the template declares no variable source_ami: Packer looks the source up by itself, and may find "
            "another one than what is pinned"
        )


def _agree_with(declared: Declared, template: Template, wanted: str) -> None:
    """A region that the template gets from a variable is passed by the controller; a fixed one has to be the same."""
    for builder in _amazon(template):
        region = builder.region
        if region is None or region.value in (None, wanted) or _is_free(region, declared):
            continue
        raise UserError(
            f"{builder.name} builds in {region.value}, but the first of `regions` is {wanted} "
            f"({declared.place('regions')})",
            where=region.place,
            mend="take the region from a variable, or put the template's region first",
        )


def _is_free(region: Region, declared: Declared) -> bool:
    return region.variable is not None and region.variable not in declared.declaration.packer.variables


def notes_on_boot(declared: Declared, template: Template) -> Iterator[str]:
    """What will go wrong, or not be done, when the image is booted to be tested."""
    smoke_test = declared.declaration.smoke_test
    if not smoke_test.boot:
        place = declared.place("smoke_test", "suite")
        # A suite among the defaults is meant for the images that are booted.
        if smoke_test.suite is not None and place.path == declared.folder.image_file:
            yield f"smoke_test.suite is never run, as smoke_test.boot is false ({place})"
        return
    for builder in _amazon(template):
        if builder.communicator != "ssh":
            yield f"{builder.name} is reached by {builder.communicator}: the image is not booted to be tested"
        elif not builder.clears_keys:
            yield (
                f"{builder.name}: Packer's temporary key stays in the image, which fails its smoke test "
                "(ssh_clear_authorized_keys = true)"
            )


def _amazon(template: Template) -> list[Builder]:
    return [builder for builder in template.builders if builder.type in AMAZON_TYPES]


def _place(builder: Builder) -> Place:
    return builder.region.place if builder.region else builder.place
