"""How a template fits the Packer that is here: what it asks of it and of its plugins, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.build.packer.binary import Binary, version_text
from reconciler.build.packer.plugins import (
    OFFICIAL,
    Plugin,
    Requirement,
    allows,
    installed_plugins,
    lacking,
    missing,
    passed_over,
    with_plugins,
)
from reconciler.build.packer.versions import (
    CURRENT,
    LANGUAGE,
    NO_PRERELEASES,
    NOT_KNOWN,
    PLUGINS_APART,
    REQUIRED_PLUGINS,
    WHOLE_SOURCES,
)
from reconciler.model.errors import Transient, UserError
from reconciler.model.fleet import Image, Template

_RELEASES = "https://releases.hashicorp.com/packer"
_STEPS = ("provisioner", "post-processor")
_SLASHES = 2
"""In a plugin's source, at least."""


def refusals(binary: Binary, template: Template) -> Iterator[UserError]:
    """Name each demand of a template that this Packer does not meet: it would be refused at once."""
    wanted, has = template.required_version, f"{binary.path} is {binary.version_text}"
    if not allows(wanted, binary.version):
        yield UserError(
            f"the template requires Packer {wanted}, and {has}",
            where=template.required_version_place or template.place,
            hint=_another(wanted),
        )
    elif template.plugins and binary.version < REQUIRED_PLUGINS:
        first = version_text(REQUIRED_PLUGINS)
        yield UserError(
            f"the template has required_plugins, which Packer knows from {first} on, and {has}",
            where=template.plugin_places.get(next(iter(template.plugins)), template.place),
            hint=(
                *_another(wanted),
                f"or remove the block: before {version_text(PLUGINS_APART)} Packer comes with its plugins",
            ),
        )
    else:
        yield from _refused_plugins(binary, template, has)
        for construct, place in template.constructs.items():
            if binary.version < (known := LANGUAGE.get(construct, binary.version)):
                what = f"{_spoken(construct)} is known to Packer from {version_text(known)} on, and {has}"
                yield UserError(what, where=place, hint=_another(wanted))


def _refused_plugins(binary: Binary, template: Template, has: str) -> Iterator[UserError]:
    for name, text in template.plugins.items():
        asked = Requirement.of(text)
        where = template.plugin_places.get(name, template.place)
        if binary.version >= WHOLE_SOURCES and asked.source.count("/") < _SLASHES:
            yield UserError(
                f'the source "{asked.source}" of the plugin {name} lacks its host, and {has}',
                where=where,
                hint=f'write "{OFFICIAL.partition("/")[0]}/{asked.source}", if it is from there',
            )
        if binary.version >= NO_PRERELEASES and asked.names_prerelease:
            yield UserError(
                f'the plugin {name} is required in a prerelease, "{asked.constraint}", which Packer takes no more from '
                f"{version_text(NO_PRERELEASES)} on, and {has}",
                where=where,
                hint="leave out what follows the numbers of the version, and the dash before it",
            )


def perhaps_newer(binary: Binary, image: Image, errors: Iterable[str]) -> tuple[str, ...]:
    """Hints where a Packer that is not the current one refuses what another may know, such as a builder's argument.

    The failure is recorded with the version, so that a run with another Packer tries it at once.
    """
    if binary.version >= CURRENT or not any(map(NOT_KNOWN.search, errors)):
        return ()
    has = f"{binary.path} is {binary.version_text}: if a later one knows that,"
    return (f"{has} {_another(image.template.required_version)[0]}", "and then the next run tries it at once")


def _spoken(construct: str) -> str:
    """One of `Template.constructs`, as people name it."""
    around, _, name = construct.rpartition(": ")
    kind, _, of = (around or name).replace('"', "").partition(" ")
    if kind in _STEPS and not around:
        return f"the {kind} {of}"
    if kind in _STEPS:
        return f"the argument {name} of the {kind} {of}" if of else f"the argument {name} of a {kind}"
    if construct == "variable: any":
        return "the type any of a variable"
    if around:
        return f"the block {name} in a {around}"
    return f"the function {name}" if name.endswith("()") else f"the block {name}"


def _another(wanted: str) -> tuple[str, ...]:
    """How to have a Packer that a template takes, and to have it found before the one that it refuses."""
    if allows(wanted, CURRENT):
        return (f'{version_text(CURRENT)} or later, in this shell: `eval "$(reconciler packer --current --export)"`',)
    return (f"put such a Packer first on the PATH: {_RELEASES}",)


@dataclass(frozen=True)
class Survey:
    """How an installed Packer fits the templates of a fleet. Errors are by image, which they keep from being built."""

    installed: tuple[Plugin, ...]
    refused: Mapping[str, tuple[UserError, ...]]
    """The images that ask for another Packer, or cannot be read."""
    lacking: Mapping[str, Transient]
    """The images with components of a plugin that is not there."""
    to_fetch: Mapping[str, tuple[str, ...]]
    """Requirements that nothing installed meets, with their images: `packer init` fetches them at the next build."""
    damaged: tuple[str, ...]
    """A line for each program of a plugin that one of these asks for, and that Packer passes over."""


def survey(binary: Binary, images: Iterable[Image], environment: Mapping[str, str]) -> Survey:
    """Compare an installed Packer, and its plugins, with what templates ask for.

    Raises:
        UserError: the plugin folder is not to be used; see `with_plugins`.
    """
    environment = with_plugins(binary, environment)
    installed = installed_plugins(binary, environment)
    refused: dict[str, tuple[UserError, ...]] = {}
    missed: dict[str, Transient] = {}
    to_fetch: dict[str, list[str]] = {}
    for image in images:
        try:
            template = image.template  # may be read only now
        except UserError as error:
            refused[image.name] = (error,)
            continue
        absent = lacking(binary, template, installed)
        if errors := tuple(refusals(binary, template)):
            refused[image.name] = errors
        elif absent.components:
            components = replace(absent, requirements=())
            missed[image.name] = missing(binary, components, environment, where=template.place)
        for requirement in absent.requirements if not errors else ():
            to_fetch.setdefault(requirement, []).append(image.name)
    damaged = passed_over(binary, {Requirement.of(one).plugin for one in to_fetch}, environment)
    return Survey(installed, refused, missed, {one: tuple(names) for one, names in to_fetch.items()}, tuple(damaged))
