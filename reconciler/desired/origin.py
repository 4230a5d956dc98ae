"""What an image is built on, and where: the declaration beside what the template says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconciler.desired.declared import Declared
from reconciler.desired.located import known_here
from reconciler.desired.paths import resolve
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder, BuildLocation, Program, Template
from reconciler.model.kind import Kind
from reconciler.model.source import SourceRequest
from reconciler.model.text import plural_of, shorten
from reconciler.ports.dialect import Dialect


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
    # What a registry can tell of, and what can be tested, comes first.
    first, second, *more = sorted(template.makers, key=lambda builder: (not _observed(builder), not _tested(builder)))
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
            *([each] if _observed(second) else []),
        ),
    )


def _observed(builder: Builder) -> bool:
    return builder.kind is not None and builder.kind.observed


def _booted(builder: Builder) -> bool:
    at = builder.location.value if builder.location is not None else None
    return builder.kind is not None and builder.kind.boots_in(at or "")


def _tested(builder: Builder) -> bool:
    return _booted(builder) and builder.communicator != "none"


def _runs_twice(builder: Builder) -> UserError:
    """`only` can't tell builds apart that are called the same, and Packer tells of one artifact for all of them."""
    return UserError(
        f"{builder.name} runs a second time, and an image is one artifact: each run leaves its own",
        where=builder.place,
        hint="remove one; or give each `build` block a `name`, which packer.only then takes, as in name.amazon-ebs.web",
    )


def source_of(declared: Declared, template: Template, kind: Kind) -> SourceRequest | None:
    """The declared source, else the one that the template's builder names.

    Returns:
        None where nothing can be pinned: the template is built on nothing, or chooses while it is built.

    Raises:
        UserError: the template leaves the choice to us and none is declared, a child would not be built on its
            parent, or what is declared is nothing that this kind is built on.
    """
    source = declared.declaration.source
    if source is not None:
        if source.upstream is not None and source.upstream[0] not in kind.sources:
            raise _of_another_kind(declared, template, kind, word=source.upstream[0])
        variable = kind.variable_of(source)
        if not variable:
            raise UserError(
                f"nothing says how {template.makers[0].name} is given what it is built on",
                where=declared.place("source"),
                hint="name the template's variable for it: source: {image: …, variable: …}",
            )
        if source.variable is not None and not template.declares(variable):
            hint = known_here(variable, template.variables.keys(), none="the template declares none")
            what = f'source.variable: the template declares no variable "{shorten(variable)}"'
            raise UserError(what, where=declared.place("source", "variable"), hint=hint)
        if source.image is not None and not template.takes(variable):
            raise UserError(
                f"the template declares no variable {variable}, so that it would not be built on {source.image}",
                where=declared.place("source"),
                hint=(
                    f"if it takes {kind.the_artifact} from another: source: {{image: {source.image}, variable: …}}",
                    f"else in {template.place}: {_takes_source(template, kind)}",
                ),
            )
        return source.request
    given = template.variables.get(kind.source_variable)
    leaves_it_to_us = given is not None and template.takes(kind.source_variable) and not given.has_default
    for builder in template.makers:
        if builder.source is not None:
            return builder.source
        if builder.unpinned is not None and leaves_it_to_us:
            raise UserError(
                f"it can't be known what {builder.name} is built on, and no source is declared",
                where=builder.source_place or builder.place,
                hint=f"add to {declared.folder.image_file}: {kind.example}",
            )
    return None


def _of_another_kind(declared: Declared, template: Template, kind: Kind, *, word: str) -> UserError:
    can = [f"{one}: …" for one in (*kind.sources, "image")]
    return UserError(
        f"{template.makers[0].name} leaves {kind.artifact}, which is not built on {word}",
        where=declared.place("source", word),
        hint=f"declare one of {', '.join(can)}",
    )


def _takes_source(template: Template, kind: Kind) -> str:
    """How a template takes its source from us, in its own syntax."""
    variable = kind.source_variable
    taking = template.taking(kind.source_attribute, variable)
    if template.format == "json":
        return f'"variables": {{"{variable}": ""}}, and {taking} in the builder'
    if template.place.path.endswith(".json"):
        return f'"variable": {{"{variable}": {{"default": ""}}}}, and {taking}'
    return f'variable "{variable}" {{ default = "" }}, and {taking}'


def locations_of(declared: Declared, template: Template, kind: Kind) -> tuple[str, ...]:
    """The declared locations, else the one that the template's builder names; the first is where Packer builds.

    Then come those that the template itself copies to: what it asks for is wanted.

    Raises:
        UserError: there is none, one has not the form of its kind's, or the template insists on another one.
    """
    locations = declared.declaration.locations
    copies = [location for builder in template.makers if builder.copies for location in builder.copies.locations]
    if locations:
        _agree_with(declared, template, kind, locations[0])
        return tuple(dict.fromkeys([*locations, *copies]))
    found = tuple(one.location.value for one in template.makers if one.location and one.location.value)
    if not found:
        unknown = template.makers[0]
        raise UserError(
            f"it can't be known in which {kind.location} {unknown.name} builds",
            where=_place(unknown),
            hint=f"add to {declared.folder.image_file}: {kind.key}: [{kind.example_location}]",
        )
    return tuple(dict.fromkeys([*found, *copies]))


def wrong_locations(declared: Declared, dialect: Dialect) -> Iterator[UserError]:
    """Declared locations that have not the form of their kind's."""
    for index, location in enumerate(declared.declaration.locations):
        form = dialect.wrong_location(location)
        if form is not None:
            key = declared.location_key
            yield UserError(f'{key}[{index}]: "{shorten(location)}" is not {form}', where=declared.place(key, index))


def wrong_formats(declared: Declared, template: Template, kind: Kind) -> Iterator[UserError]:
    """Declared formats that what its builder leaves can't be converted to, and any at all of a kind that has but one.

    Of what another builder of its kind would leave so, and where they are all images' default, a note says it.
    """
    if not declared.declaration.formats:
        return
    known, at = template.makers[0].formats, declared.place("formats")
    if not (known or kind.converted) and at.path == declared.folder.image_file:
        what = f"formats: {kind.artifact} is not converted, and kept as it is"
        yield UserError(what, where=at, hint="remove it: only disks are kept in several formats")
        return
    for index, form in enumerate(declared.declaration.formats if known else ()):
        if form not in known:
            what = f'formats[{index}]: "{shorten(form)}" is no format that {template.makers[0].type} is converted to'
            hint = known_here(form, known, none="")
            yield UserError(what, where=declared.place("formats", index), hint=hint)


def notes_on_formats(declared: Declared, template: Template) -> Iterator[str]:
    """That formats are declared of what is converted to none. They may be all images' default."""
    maker = template.makers[0]
    if declared.declaration.formats and not maker.formats:
        yield f"formats does nothing for what {maker.type} leaves: it is not converted ({declared.place('formats')})"


def with_converter(declared: Declared, template: Template) -> Template:
    """The template with the program that converts what it leaves, where that is declared."""
    maker = template.makers[0]
    if not declared.declaration.formats or not maker.formats:
        return template
    return replace(
        template, programs=(*template.programs, Program(maker.converter, "`formats`", declared.place("formats")))
    )


def copies_elsewhere(template: Template) -> bool:
    """Whether a builder copies to regions that can't be known."""
    return any(builder.copies is not None and not builder.copies.all_known for builder in template.builders)


def notes_on_locations(declared: Declared, template: Template, kind: Kind) -> Iterator[str]:
    """What stops nothing: copies that Packer makes, in the build, where the reconciler would make them after it."""
    wanted = declared.declaration.locations
    for builder in template.makers:
        copies = builder.copies
        if copies is None:
            continue
        if not copies.all_known:
            yield f"{copies.place}: {copies.attribute} is only known to Packer: what it copies to counts as wanted"
        more = [location for location in copies.locations if wanted and location not in wanted]
        if more:
            added = f"{', '.join(more)} to the {plural_of(kind.location)} of {declared.folder.image_file}"
            yield f"{copies.place}: {copies.attribute} adds {added}"


def notes_on_origin(
    declared: Declared, template: Template, source: SourceRequest | None, kind: Kind
) -> Iterator[str]:  # fmt: skip
    """What stops nothing: a pin that Packer is free to ignore, or a source that only Packer knows."""
    if source is None:
        take = "" if template.takes(kind.source_variable) else f", and take it: {_takes_source(template, kind)}"
        for builder in template.makers:
            if builder.unpinned is not None:
                yield (
                    f"{builder.source_place or builder.place}: {builder.name} is built on the template's own source, "
                    f"which is not pinned ({builder.unpinned}). To pin it, add to {declared.folder.image_file}: "
                    f"{kind.example}{take}"
                )
    if source is not None and not template.takes(kind.variable_of(declared.declaration.source)):
        yield (
            f"the template declares no variable {kind.source_variable}: Packer looks the source up by itself, and may "
            "find another one than what is pinned"
        )


def _agree_with(declared: Declared, template: Template, kind: Kind, wanted: str) -> None:
    """A location that the template gets from a variable is passed by the controller; a fixed one has to be the same."""
    for builder in template.makers:
        location = builder.location
        if location is None or location.value in (None, wanted) or _is_free(location, declared):
            continue
        key = declared.location_key
        raise UserError(
            f"{builder.name} builds in {location.value}, but the first of `{key}` is {wanted} ({declared.place(key)})",
            where=location.place,
            hint=f"take the {kind.location} from a variable, or put the template's {kind.location} first",
        )


def _is_free(location: BuildLocation, declared: Declared) -> bool:
    return location.variable is not None and location.variable not in declared.declaration.packer.variables


def notes_on_boot(declared: Declared, template: Template) -> Iterator[str]:
    """What will go wrong, or not be done, when the image is booted to be tested."""
    smoke_test = declared.declaration.smoke_test
    if not smoke_test.boot:
        place = declared.place("smoke_test", "suite")
        # A suite among the defaults is meant for the images that are booted.
        if smoke_test.suite is not None and place.path == declared.folder.image_file:
            yield f"smoke_test.suite is never run, as smoke_test.boot is false ({place})"
        return
    for builder in template.makers:
        if not _booted(builder):
            continue
        if builder.communicator != "ssh":
            yield f"{builder.name} {builder.how_reached}: the image is not booted to be tested"
        elif not builder.clears_keys:
            if smoke_test.hygiene == "fail":
                what = "unless a provisioner removes it, and then the smoke test fails, as smoke_test.hygiene says"
            else:
                what = "a finding of its smoke test, which stops nothing"
            yield (
                f"{builder.name}: Packer's temporary key stays in the image, {what} (ssh_clear_authorized_keys = true)"
            )


def _place(builder: Builder) -> Place:
    return builder.location.place if builder.location else builder.place
