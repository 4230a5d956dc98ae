"""Checks of what `publish:` declares: one name is one image's, and groups and waves have to make sense."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.desired.declared import Declared
from reconciler.desired.lineage import Problems
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Image
from reconciler.model.publish import AutoScalingGroup, LaunchTemplate, Published
from reconciler.model.text import shorten
from reconciler.plan.publishing import declared_at, names_of
from reconciler.plan.rollout import group_places, groups_of, is_in, said
from reconciler.registries import dialect_of


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
        for what in strange:
            yield name, UserError(f"publish.waves: {what}", where=where, hint="give it, or take it out of the wave")
    for one in group_places(image) if waves else ():
        held = [number for number, wave in enumerate(waves) if is_in(wave, image, one)]
        if len(held) != 1:
            what = f"is in waves {' and '.join(str(each + 1) for each in held)}" if held else "is in no wave"
            where = declared.place("publish", "waves", *held[1:2])
            yield name, UserError(f"publish.waves: {said(one)} {what}", where=where, hint="let it be in one of them")
            return
