"""What images declare that another image or their own kind may contradict: parents, moved names, tags, publications."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from reconciler.desired.declared import Declared
from reconciler.desired.located import MOST_NAMES, known_here
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder, Image, UnreadImage
from reconciler.model.kind import Kind
from reconciler.model.publish import AutoScalingGroup, LaunchTemplate, Published
from reconciler.model.text import and_more, shorten
from reconciler.plan.publishing import declared_at, names_of
from reconciler.plan.rollout import group_places, groups_of, is_in
from reconciler.plan.tags import TOLD, always_written, at_birth, ever_written
from reconciler.registries import dialect_of

# Parents, and names that moved.

_TOLD = 12
"""Images of one error that are named."""
Problems = Iterator[tuple[str, UserError]]
"""The name of an image with what is wrong with it."""


def wrong_parents(declared: Mapping[str, Declared], *, names: Collection[str]) -> Problems:
    """Parents that are not there, or that are descendants: a cycle is told once, and its other images name that one.

    `names` are all images, also those that could not be read: a child of one of these is not at fault.
    """
    parents = _parents(declared)
    cycles = _cycles(parents)
    for name, parent in parents.items():
        if parent is None:
            continue
        where = declared[name].place("source", "image")
        if parent not in names:
            others = names if len(names) > MOST_NAMES else [one for one in names if one != name]
            hint = known_here(parent, others, none="there is no other image")
            yield name, UserError(f'source.image: there is no image "{parent}"', where=where, hint=hint)
            continue
        cycle = cycles.get(name, ())
        first = cycle[0] if cycle else name
        if first != name:
            told = declared[first].place("source", "image")
            yield name, UserError(f'source.image: this is in the cycle of "{first}" ({told})', where=where)
        elif cycle:
            yield (
                name,
                UserError(
                    f"source.image: the images are built on each other: {_way(cycle)}",
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
                others = [*islice((other for other in claimants if other != name), _TOLD)]
                quoted = ", ".join(f'"{other}"' for other in others) + and_more(len(claimants) - 1 - _TOLD)
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


def _cycles(parents: Mapping[str, str | None]) -> dict[str, tuple[str, ...]]:
    """Of each image that is in one, the way from the first of its cycle up to itself. Each has one parent at most."""
    found: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for name in parents:
        way: dict[str, None] = {}
        at: str | None = name
        while at is not None and at not in seen:
            seen.add(at)
            way[at] = None
            at = parents.get(at)
        if at is not None and at in way:
            ring = [*way][[*way].index(at) :]
            first = ring.index(min(ring))
            cycle = (*ring[first:], *ring[: first + 1])
            found |= dict.fromkeys(ring, cycle)
    return found


def _way(cycle: Sequence[str]) -> str:
    """The images of a cycle; of a long one its beginning and its end."""
    return " → ".join(cycle if len(cycle) <= _TOLD else (*cycle[: _TOLD - 2], "…", cycle[-1]))


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

    The limits are those of the image's kind. What was built as it is, and whose template is not read for that, had room
    for the template's.
    """
    for name, image in images.items():
        problem = _declared_wrong(declared[name], image)
        if problem is not None:
            yield name, problem
            continue
        if isinstance(image, UnreadImage):
            continue
        for builder in image.template.makers:
            for tags in (builder.tags, builder.part_tags):
                yield from ((name, problem) for problem in _refused(image.kind, builder, tags))
                most = {*image.declaration.tags, *tags, *always_written(image)}
                if image.kind.most_marks is not None and len(most) > image.kind.most_marks:
                    yield name, _too_many(declared[name], image, builder, tags=tags)


def _declared_wrong(declared: Declared, image: Image) -> UserError | None:
    """What its kind would refuse of the declared tags, whatever the template has; None where it takes them."""
    kind, tags = image.kind, image.declaration.tags
    taken = sorted(name for name in tags if kind.reserved and name.lower().startswith(kind.reserved))
    if taken:
        what = f"tags: the prefix {kind.reserved} is {kind.registry}'s: {', '.join(map(shorten, taken))}"
        hint = f"give {'it another name' if len(taken) == 1 else 'them other names'}"
        return UserError(what, where=declared.place("tags"), hint=hint)
    ours = always_written(image)
    if kind.most_marks is not None and len({*tags, *ours}) > kind.most_marks:
        most = kind.most_marks - len(ours)
        what = f"tags: there are {len(tags)}, and {kind.registry} takes at most {most} beside those of the reconciler"
        return UserError(what, where=declared.place("tags"), hint=f"take {len(tags) - most} of them away")
    return None


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


# Where channels are published: one name is one image's, and groups and waves have to make sense.


def wrong_publications(declared: Mapping[str, Declared], images: Mapping[str, Image]) -> Problems:
    """Images that their kind does not publish so, names that can't be, and names that two images would write."""
    claims: dict[tuple[str, str], tuple[Published, list[str]]] = {}
    for name, image in sorted(images.items()):
        asked = [key for key in _PUBLISHED if getattr(image.declaration.publish, key)]
        wrong = [key for key in asked if key not in image.kind.published]
        for key in wrong:
            what = f"publish.{key}: {_PUBLISHED[key]}, and {name} is {image.kind.artifact}"
            hint = "remove it; where it is a default, `publish:` with nothing behind it takes it back"
            yield name, UserError(what, where=declared[name].place("publish", key), hint=hint)
        if wrong:
            continue
        yield from _wrong_templates(name, image, declared[name])
        yield from _wrong_groups(name, image, declared[name])
        yield from _wrong_waves(name, image, declared[name])
        yield from _wrong_names(name, image, declared[name])
        for one in declared_at(image):
            claims.setdefault(one.place, (one, []))[1].append(name)
    told: set[tuple[str, str]] = set()
    for (location, called), (one, claimants) in sorted(claims.items(), key=lambda claim: claim[0]):
        for name in claimants:
            other = next((one for one in claimants if one != name), None)
            if other is None or (name, called) in told:
                continue
            told.add((name, called))
            theirs = declared[other].place("publish", one.key)
            what = f'publish.{one.key}: {other} would write to "{shorten(called)}" in {location}, too ({theirs})'
            hint = "give each a name of its own: {image} stands for the image's"
            yield name, UserError(what, where=declared[name].place("publish", one.key), hint=hint)


_PUBLISHED = {
    "ssm": "a parameter holds an AMI's id",
    "tag": "a tag is there in a container registry alone",
    "launch_templates": "a version of a launch template holds an AMI's id",
    "auto_scaling_groups": "a group holds an AMI's id",
}
"""The keys of `publish:`, and what each is for."""
_SHORTEST, _LONGEST = 3, 128


def _wrong_names(name: str, image: Image, declared: Declared) -> Problems:
    """Parameters and tags of a form that is refused where they are, or that is kept for something else."""
    dialect = dialect_of(image.kind.name)
    key = "ssm" if image.declaration.publish.ssm is not None else "tag"
    for called in names_of(image):
        why = dialect.wrong_name(called)
        if why is not None:
            what = f'publish.{key}: "{shorten(called)}": {why}'
            yield name, UserError(what, where=declared.place("publish", key))


@dataclass(frozen=True)
class _Named:
    """One entry of a list under `publish:`, by the name that it gets. `about` is how a problem with it begins."""

    called: str
    where: Place
    about: str


def _named(
    name: str, declared: Declared, key: str, entries: Iterable[LaunchTemplate | AutoScalingGroup]
) -> list[_Named]:
    called = [entry.name.replace("{image}", name) for entry in entries]
    return [
        _Named(said, declared.place("publish", key, at), f'publish.{key}: "{shorten(said)}"')
        for at, said in enumerate(called)
    ]


def _there_twice(name: str, entries: Sequence[_Named]) -> Problems:
    for at, one in enumerate(entries):
        if one.called in {each.called for each in entries[:at]}:
            yield name, UserError(f"{one.about} is there twice", where=one.where, hint="take one away")


def _wrong_templates(name: str, image: Image, declared: Declared) -> Problems:
    """Launch templates that are there twice, or whose names EC2 would refuse (CreateLaunchTemplate, API reference)."""
    templates = _named(name, declared, "launch_templates", image.declaration.publish.launch_templates)
    yield from _there_twice(name, templates)
    for one in templates:
        length = len(one.called)
        if not _SHORTEST <= length <= _LONGEST:
            what = f"{one.about} has {length} characters, and a launch template's name {_SHORTEST} to {_LONGEST}"
            yield name, UserError(what, where=one.where)


_WIDEST = 100
"""Percents between the two bounds of a group's health (RefreshPreferences, EC2 Auto Scaling's API reference)."""


def _wrong_groups(name: str, image: Image, declared: Declared) -> Problems:
    """Groups that are there twice, or nowhere, or that would have no numbered version to go over to."""
    groups = image.declaration.publish.auto_scaling_groups
    named = _named(name, declared, "auto_scaling_groups", groups)
    yield from _there_twice(name, named)
    for group, one in zip(groups, named, strict=True):
        for what, hint in _wrong_settings(name, image, group):
            yield name, UserError(f"{one.about}: {what}", where=one.where, hint=hint)
    if groups and not image.declaration.publish.launch_templates:
        what = "publish.auto_scaling_groups: a group goes over to a numbered version of its launch template"
        hint = "name that template in `publish.launch_templates`"
        yield name, UserError(what, where=declared.place("publish", "auto_scaling_groups"), hint=hint)


def _wrong_settings(name: str, image: Image, group: AutoScalingGroup) -> Iterator[tuple[str, str]]:
    """The mistakes in how one group is refreshed, each with what helps."""
    strange = [place for place in group.locations if place not in image.locations]
    if strange:
        yield f"{name} is not in {shorten(strange[0])}", "give a location that the image has"
    if group.checkpoints != tuple(sorted(set(group.checkpoints))):
        rising = ", ".join(map(str, group.checkpoints))
        yield f"checkpoints {rising} do not rise", "give percents from low to high, each once"
    if group.max_healthy is not None and group.max_healthy - group.min_healthy > _WIDEST:
        bounds = f"max_healthy {group.max_healthy} is more than {_WIDEST} above min_healthy {group.min_healthy}"
        yield bounds, "bring them nearer to each other: Auto Scaling refuses that"
    if group.checkpoint_wait is not None and not group.checkpoints:
        yield "checkpoint_wait without checkpoints", "say at which percents it waits, or take it away"


def _wrong_waves(name: str, image: Image, declared: Declared) -> Problems:
    """Waves that name what is not there, that hold one group twice, or that leave one out."""
    groups, waves = groups_of(image), image.declaration.publish.waves
    for number, wave in enumerate(waves):
        where = declared.place("publish", "waves", number)
        named = [one.replace("{image}", name) for one in wave.groups]
        strange = [f'no group "{shorten(one)}" is declared' for one in named if one not in groups]
        strange += [f"{name} is not in {shorten(one)}" for one in wave.locations if one not in image.locations]
        strange += [
            f'"{shorten(one)}" is there twice'
            for of_one in (named, wave.locations)
            for one in dict.fromkeys(of_one)
            if of_one.count(one) > 1
        ]
        for what in strange:
            yield (
                name,
                UserError(f"publish.waves: {what}", where=where, hint="name in a wave what is declared, and once"),
            )
    for one in group_places(image) if waves else ():
        held = [number for number, wave in enumerate(waves) if is_in(wave, image, one)]
        if len(held) != 1:
            what = f"is in waves {' and '.join(str(each + 1) for each in held)}" if held else "is in no wave"
            where = declared.place("publish", "waves", *held[1:2])
            yield name, UserError(f"publish.waves: {one.text} {what}", where=where, hint="let it be in one of them")
            return
