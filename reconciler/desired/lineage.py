"""The relations that images declare: parents, and names that moved; and whether their tags find room."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from reconciler.desired.declared import Declared
from reconciler.desired.located import did_you_mean
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder, Image, UnreadImage
from reconciler.model.kind import Kind
from reconciler.model.text import shorten
from reconciler.plan.tags import TOLD, always_written, at_birth, ever_written

# Parents, and names that moved.

Problems = Iterator[tuple[str, UserError]]
"""The name of an image with what is wrong with it."""


def wrong_parents(declared: Mapping[str, Declared], *, names: Collection[str]) -> Problems:
    """Parents that are not there, or that are descendants: a cycle is told once, and its other images name that one.

    `names` are all images, also those that could not be read: a child of one of these is not at fault.
    """
    parents = _parents(declared)
    for name, parent in parents.items():
        if parent is None:
            continue
        where = declared[name].place("source", "image")
        if parent not in names:
            hint = did_you_mean(parent, [one for one in names if one != name], none="there is no other image")
            yield name, UserError(f'source.image: there is no image "{parent}"', where=where, hint=hint)
            continue
        cycle = _cycle(name, parents)
        first = min(cycle, default=name)
        if first != name:
            told = declared[first].place("source", "image")
            yield name, UserError(f'source.image: this is in the cycle of "{first}" ({told})', where=where)
        elif cycle:
            yield (
                name,
                UserError(
                    f"source.image: the images are built on each other: {' → '.join(cycle)}",
                    where=where,
                    hint="let one of them be built on something upstream",
                ),
            )


def wrong_places(declared: Mapping[str, Declared], images: Mapping[str, Image]) -> Problems:
    """Images that are built where their parent is not, or of another kind than it is."""
    for name, parent in _parents(declared).items():
        if parent is not None and name in images and parent in images:
            yield from _place(images[name], images[parent], declared[name].place("source", "image"))


def wrong_moves(declared: Mapping[str, Declared], *, names: Collection[str]) -> Problems:
    """`moved_from` that names an image which still is there, or which two images want to have been."""
    claims: dict[str, list[str]] = {}
    for name, one in sorted(declared.items()):
        if one.declaration.moved_from is not None:
            claims.setdefault(one.declaration.moved_from, []).append(name)
    for old, claimants in claims.items():
        for name in claimants:
            where = declared[name].place("moved_from")
            if old == name:
                yield name, UserError("moved_from: the image names itself", where=where, hint="remove the line")
            elif old in names:
                yield (
                    name,
                    UserError(
                        f'moved_from: there still is an image "{old}"',
                        where=where,
                        hint=f"remove desired/{old}/, or this line",
                    ),
                )
            elif len(claimants) > 1:
                others = [other for other in claimants if other != name]
                quoted = ", ".join(f'"{other}"' for other in others)
                first = declared[others[0]].place("moved_from")
                yield (
                    name,
                    UserError(
                        f'moved_from: {quoted} was "{old}", too ({first})',
                        where=where,
                        hint="keep the line in the image that goes on with the history",
                    ),
                )


def _parents(declared: Mapping[str, Declared]) -> dict[str, str | None]:
    return {name: one.declaration.source.image for name, one in declared.items() if one.declaration.source}


def _cycle(name: str, parents: Mapping[str, str | None]) -> tuple[str, ...]:
    """The way from an image up to itself; empty where it ends elsewhere. There is one way, as there is one parent."""
    way = [name]
    while (parent := parents.get(way[-1])) is not None:
        if parent == name:
            return (*way, name)
        if parent in way:
            return ()
        way.append(parent)
    return ()


def _place(child: Image, parent: Image, where: Place) -> Problems:
    if child.kind != parent.kind:
        what = f"{child.name} is {child.kind.artifact}, and {parent.name} {parent.kind.artifact}"
        yield child.name, UserError(what, where=where, hint="let it be built on an image of its own kind")
    elif child.kind.builds_where_source_is and child.locations and child.build_location not in parent.locations:
        yield (
            child.name,
            UserError(
                f"{child.name} is built in {child.build_location}, where there is no {parent.name}",
                where=where,
                hint=f"add {child.build_location} to `{parent.kind.key}` in {parent.folder}/image.yaml",
            ),
        )


# Whether the tags of an image find room on its artifacts: the template's, the declared ones, and ours.

_OURS = ever_written(()) - at_birth(fleet="", image="", build_id="", run_id="").keys()
"""What a template may not write. That of birth it may spell out itself, as `run_tags` and `image_tags` would."""


def wrong_tags(declared: Mapping[str, Declared], images: Mapping[str, Image]) -> Problems:
    """Tags that the registry would refuse once the image is built: too many, too long, or with a prefix that is taken.

    What was built as it is, and whose template is not read for that, had room.
    """
    for name, image in images.items():
        if isinstance(image, UnreadImage):
            continue
        for builder in image.template.makers:
            for tags in (builder.tags, builder.part_tags):
                yield from ((name, problem) for problem in _refused(image.kind, builder, tags))
                most = {*image.declaration.tags, *tags, *always_written(image)}
                if image.kind.most_marks is not None and len(most) > image.kind.most_marks:
                    yield name, _too_many(declared[name], image, builder, tags=tags)


def with_notes_on_tags(images: Mapping[str, Image], *, announcers: Collection[str]) -> Iterator[tuple[str, Image]]:
    """The images by name, each with a note where tags that come later may find no room: a verdict's, a preview's."""
    for name, image in images.items():
        notes = () if isinstance(image, UnreadImage) else tuple(_notes(image, announcers))
        yield name, replace(image, notes=(*image.notes, *notes)) if notes else image


def _notes(image: Image, announcers: Collection[str]) -> Iterator[str]:
    ours = ever_written(announcers)
    for builder in image.template.makers:
        given = {*image.declaration.tags, *builder.tags} - ours
        most = image.kind.most_marks
        room = most - len(given) if most is not None else len(ours)
        if room < len(ours):
            yield (
                f"{len(given)} tags of its own leave room for {room} of ours, and there may be {len(ours)}: verdicts, "
                f"pull requests and announcements may not be noted on {image.kind.the_artifact}"
            )


def _too_many(declared: Declared, image: Image, builder: Builder, *, tags: Collection[str]) -> UserError:
    own = len({*tags} - {*image.declaration.tags} - always_written(image))
    ours = len(always_written(image))
    number, most = len(image.declaration.tags) + own + ours, image.kind.most_marks or 0
    return UserError(
        f"{number} tags would be on {image.kind.the_artifact}, and {image.kind.registry} takes {most}: "
        f"{len(image.declaration.tags)} of `tags`, {own} of {builder.name}, {ours} of the reconciler",
        where=declared.place("tags") if image.declaration.tags else builder.place,
        hint=f"take {number - most} of them away",
    )


def _refused(kind: Kind, builder: Builder, tags: Mapping[str, str | None]) -> Iterator[UserError]:
    for name, value in tags.items():
        if kind.reserved and name.lower().startswith(kind.reserved):
            what, hint = f"the prefix {kind.reserved} is taken", "give it another name"
        elif name in _OURS or name.startswith(TOLD):
            what, hint = "the reconciler writes it, and goes by what it finds there", "give it another name"
        elif kind.longest_mark_key is not None and not 0 < len(name) <= kind.longest_mark_key:
            what = f"a tag's name has 1 to {kind.longest_mark_key} characters, and this one {len(name)}"
            hint = "shorten it"
        elif value is not None and kind.longest_mark_value is not None and len(value) > kind.longest_mark_value:
            what = f"a tag's value has at most {kind.longest_mark_value} characters, and this one {len(value)}"
            hint = "shorten it"
        else:
            continue
        yield UserError(f'{builder.name} sets the tag "{shorten(name)}": {what}', where=builder.place, hint=hint)
