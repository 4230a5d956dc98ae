"""What images say of each other: parents, and names that moved."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from reconciler.desired.complaints import did_you_mean
from reconciler.desired.declared import Declared
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Image

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
            mend = did_you_mean(parent, [one for one in names if one != name], none="there is no other image")
            yield name, UserError(f'source.image: there is no image "{parent}"', where=where, mend=mend)
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
                    mend="let one of them be built on an AMI",
                ),
            )


def wrong_regions(declared: Mapping[str, Declared], images: Mapping[str, Image]) -> Problems:
    """Images that are built where their parent is not."""
    for name, parent in _parents(declared).items():
        if parent is not None and name in images and parent in images:
            yield from _region(images[name], images[parent], declared[name].place("source", "image"))


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
                yield name, UserError("moved_from: the image names itself", where=where, mend="remove the line")
            elif old in names:
                yield (
                    name,
                    UserError(
                        f'moved_from: there still is an image "{old}"',
                        where=where,
                        mend=f"remove desired/{old}/, or this line",
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
                        mend="keep the line in the image that goes on with the history",
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


def _region(child: Image, parent: Image, where: Place) -> Problems:
    if child.regions and child.build_region not in parent.regions:
        yield (
            child.name,
            UserError(
                f"{child.name} is built in {child.build_region}, where there is no {parent.name}",
                where=where,
                mend=f"add {child.build_region} to `regions` in {parent.folder}/image.yaml",
            ),
        )
