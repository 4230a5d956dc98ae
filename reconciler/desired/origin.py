"""What an image is built on, and where: the declaration beside what the template says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.desired.declared import Declared
from reconciler.desired.located import did_you_mean
from reconciler.desired.packer.builders import AMAZON_TYPES, AMI_TYPES
from reconciler.desired.paths import resolve
from reconciler.model.declaration import SOURCE_AMI
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder, Region, Template
from reconciler.model.source import SourceRequest
from reconciler.model.text import shorten

_SOURCE = 'source: {ami: {name: "…", owners: ["…"]}}'


def one_artifact(declared: Declared, template: Template) -> UserError | None:
    """What is wrong where several builders run: each leaves an artifact of its own, and an image is one.

    One would be tested, copied and built upon, and its result stand for all of them.
    """
    if len(template.makers) < 2:
        return None
    names = [builder.name for builder in template.makers]
    alike = next((builder for builder in template.makers if names.count(builder.name) > 1), None)
    if alike is not None:
        return _runs_twice(alike)
    amis_first = sorted(template.makers, key=lambda builder: builder.type not in AMI_TYPES)
    first, second, *more = amis_first
    packer = declared.declaration.packer
    others = f"{second.name} and {len(more)} more run" if more else f"{second.name} runs"
    path = "/" + (resolve(packer.template, declared.folder.path) or "")
    each = (
        "for both, make each an image: another folder, whose image.yaml says "
        f"packer: {{template: {path}, only: [{second.name}]}}"
    )
    return UserError(
        f"{others} beside {first.name}, and an image is one artifact: each builder leaves its own",
        where=declared.place("packer", "only") if packer.only else second.place,
        hint=(
            f"choose one in {declared.folder.image_file}: packer: {{only: [{first.name}]}}",
            *([each] if second.type in AMI_TYPES else []),
        ),
    )


def _runs_twice(builder: Builder) -> UserError:
    """`only` can't tell builds apart that are called the same, and Packer tells of one artifact for all of them."""
    return UserError(
        f"{builder.name} runs a second time, and an image is one artifact: each run leaves its own",
        where=builder.place,
        hint="remove one; or give each `build` block a `name`, which packer.only then takes, as in name.amazon-ebs.web",
    )


def source_of(declared: Declared, template: Template) -> SourceRequest | None:
    """The declared source, else the one that the template's builder names.

    Returns:
        None where nothing can be pinned: the template is built on nothing, or chooses while it is built.

    Raises:
        UserError: the template leaves the choice to us and none is declared, or a child would not be built on its
            parent.
    """
    source = declared.declaration.source
    if source is not None:
        variable = declared.declaration.source_variable
        if source.variable is not None and not template.declares(variable):
            hint = did_you_mean(variable, template.variables.keys(), none="the template declares none")
            what = f'source.variable: the template declares no variable "{shorten(variable)}"'
            raise UserError(what, where=declared.place("source", "variable"), hint=hint)
        if source.image is not None and not template.takes(variable):
            raise UserError(
                f"the template declares no variable source_ami, so that it would not be built on {source.image}",
                where=declared.place("source"),
                hint=(
                    f"if it takes the AMI from another: source: {{image: {source.image}, variable: …}}",
                    f"else in {template.place}: {_takes_source(template)}",
                ),
            )
        return source.request
    given = template.variables.get(SOURCE_AMI)
    leaves_it_to_us = given is not None and template.takes(SOURCE_AMI) and not given.has_default
    for builder in _amazon(template):
        if builder.source is not None:
            return builder.source
        if builder.unpinned is not None and leaves_it_to_us:
            raise UserError(
                f"it can't be known what {builder.name} is built on, and no source is declared",
                where=builder.source_place or builder.place,
                hint=f"add to {declared.folder.image_file}: {_SOURCE}",
            )
    return None


def _takes_source(template: Template) -> str:
    """How a template takes its source from us, in its own syntax."""
    taking = template.taking(SOURCE_AMI, SOURCE_AMI)
    if template.format == "json":
        return f'"variables": {{"{SOURCE_AMI}": ""}}, and {taking} in the builder'
    if template.place.path.endswith(".json"):
        return f'"variable": {{"{SOURCE_AMI}": {{"default": ""}}}}, and {taking}'
    return f'variable "{SOURCE_AMI}" {{ default = "" }}, and {taking}'


def regions_of(declared: Declared, template: Template) -> tuple[str, ...]:
    """The declared regions, else the one that the template's builder names; the first is where Packer builds.

    Then come those that the template itself copies to: an AMI that it asks for is one that is wanted.

    Raises:
        UserError: there is none, or the template insists on another one.
    """
    regions = declared.declaration.regions
    builders = _amazon(template)
    copies = [region for builder in builders if builder.copies for region in builder.copies.regions]
    if regions:
        _agree_with(declared, template, regions[0])
        return tuple(dict.fromkeys([*regions, *copies]))
    found = tuple(builder.region.value for builder in builders if builder.region and builder.region.value)
    if not found:
        unknown = (*builders, *template.makers)[0]
        raise UserError(
            f"it can't be known in which region {unknown.name} builds",
            where=_place(unknown),
            hint=f"add to {declared.folder.image_file}: regions: [us-east-1]",
        )
    return tuple(dict.fromkeys([*found, *copies]))


def copies_elsewhere(template: Template) -> bool:
    """Whether a builder copies to regions that can't be known."""
    return any(builder.copies is not None and not builder.copies.all_known for builder in template.builders)


def notes_on_regions(declared: Declared, template: Template) -> Iterator[str]:
    """What stops nothing: copies that Packer makes, in the build, where the reconciler would make them after it."""
    wanted = declared.declaration.regions
    for builder in _amazon(template):
        copies = builder.copies
        if copies is None:
            continue
        if not copies.all_known:
            yield f"{copies.place}: ami_regions is only known to Packer: what it copies to counts as wanted"
        more = [region for region in copies.regions if wanted and region not in wanted]
        if more:
            yield f"{copies.place}: ami_regions adds {', '.join(more)} to the regions of {declared.folder.image_file}"


def notes_on_origin(declared: Declared, template: Template, source: SourceRequest | None) -> Iterator[str]:
    """What stops nothing: a pin that Packer is free to ignore, or a source that only Packer knows."""
    if source is None:
        take = "" if template.takes(SOURCE_AMI) else f", and take it: {_takes_source(template)}"
        for builder in _amazon(template):
            if builder.unpinned is not None:
                yield (
                    f"{builder.source_place or builder.place}: {builder.name} is built on the template's own source, "
                    f"which is not pinned ({builder.unpinned}). To pin it, add to {declared.folder.image_file}: "
                    f"{_SOURCE}{take}"
                )
    if source is not None and _amazon(template) and not template.takes(declared.declaration.source_variable):
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
            hint="take the region from a variable, or put the template's region first",
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
            if smoke_test.hygiene == "fail":
                what = "unless a provisioner removes it, and then the smoke test fails, as smoke_test.hygiene says"
            else:
                what = "a finding of its smoke test, which stops nothing"
            yield (
                f"{builder.name}: Packer's temporary key stays in the image, {what} (ssh_clear_authorized_keys = true)"
            )


def _amazon(template: Template) -> list[Builder]:
    return [builder for builder in template.builders if builder.type in AMAZON_TYPES]


def _place(builder: Builder) -> Place:
    return builder.region.place if builder.region else builder.place
