"""Packer's plugins: what a template asks of them, which are there, and what to say of those missing."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.build.packer.binary import Binary, ask
from reconciler.build.packer.cache import cache_folder, made_folder, refuse_foreign
from reconciler.build.packer.diagnosis import Unknown, cause
from reconciler.build.packer.versions import (
    CHECKED_PLUGINS,
    HANDED_OVER,
    ONCE_BUNDLED,
    PLUGINS_APART,
    REQUIRED_PLUGINS,
)
from reconciler.model.constraint import newest, parse_constraint, parse_version
from reconciler.model.errors import Place, Transient, UserError
from reconciler.model.fleet import Template

_FILE = re.compile(r"packer-plugin-([^_]+)_v([0-9][^_]*)_x[0-9.]+_[a-z0-9]+_[a-z0-9]+(?:\.exe)?")
OFFICIAL = "github.com/hashicorp"
_INTEGRATIONS = "https://developer.hashicorp.com/packer/integrations"


@dataclass(frozen=True)
class Plugin:
    """An installed plugin: its name (`amazon`), its version, and its program as Packer names it."""

    name: str
    version: str
    path: str

    def is_from(self, source: str) -> bool:
        """Whether it lies where Packer looks for this source, as `packer init` puts it.

        Another's of the same name does not count, nor is a source without its host one (seen: 1.16.0).
        """
        folders, parts = self.path.replace("\\", "/").split("/")[:-1], source.split("/")
        return len(parts) > 2 and folders[-len(parts) :] == parts


@dataclass(frozen=True)
class Requirement:
    """One line of `required_plugins`: `source` is as `packer plugins install` takes it, `constraint` as written."""

    source: str
    constraint: str

    @classmethod
    def of(cls, text: str) -> Requirement:
        """Read what a `Template` has of it: `github.com/hashicorp/amazon >= 1.2.8`."""
        source, _, constraint = text.partition(" ")
        return cls(source, constraint)

    @property
    def plugin(self) -> str:
        """The plugin's own name; the one in the template is the person's choice."""
        return self.source.rpartition("/")[2]

    @property
    def names_prerelease(self) -> bool:
        """Whether it asks for a prerelease, as `>= 1.2.0-beta` does."""
        try:
            return parse_constraint(self.constraint).names_prerelease
        except ValueError:  # for `validate` to refuse
            return False

    def chosen_of(self, plugins: Iterable[Plugin]) -> Plugin | None:
        """The one that Packer takes: the newest that the constraint allows."""
        return _newest(
            plugin
            for plugin in plugins
            if plugin.name == self.plugin
            and plugin.is_from(self.source)
            and (version := parse_version(plugin.version)) is not None
            and allows(self.constraint, version)
        )

    def __str__(self) -> str:
        return f"{self.source} {self.constraint}".strip()


def installed_plugins(binary: Binary, environment: Mapping[str, str]) -> tuple[Plugin, ...]:
    """Every plugin that this Packer would take from the plugin folder; none before 1.7."""
    if binary.version < REQUIRED_PLUGINS:
        return ()
    folder = environment.get("PACKER_PLUGIN_PATH", "")
    hint = (
        f"Packer asks each program in {folder or 'its plugin folder'} what it is, and one of them hangs",
        "move what was put there last out of it: the next build fetches it again",
    )
    lines = ask((binary.path, "plugins", "installed"), environment, hint=hint).decode(errors="replace").splitlines()
    matches = ((line.strip(), _FILE.fullmatch(line.strip().replace("\\", "/").rpartition("/")[2])) for line in lines)
    return tuple(Plugin(match[1], match[2], line) for line, match in matches if match)


def used_plugins(binary: Binary, template: Template, installed: Iterable[Plugin]) -> dict[str, Plugin]:
    """The plugins that a build of this template runs, by their name in it.

    Those are the ones that it requires and, from 1.10 on, whichever have the components that it names. Up to 1.9 the
    latter are part of Packer.
    """
    installed = tuple(installed)
    required = {name: Requirement.of(text) for name, text in template.plugins.items()}
    found = {name: requirement.chosen_of(installed) for name, requirement in required.items()}
    if binary.version >= PLUGINS_APART:
        for component in template.components:
            if _plugin_of(component, required) is None and (name := _plugin_of(component, (p.name for p in installed))):
                found[name] = _newest(plugin for plugin in installed if plugin.name == name)
    return {name: plugin for name, plugin in sorted(found.items()) if plugin is not None}


def lacking(binary: Binary, template: Template, installed: Iterable[Plugin]) -> Unknown:
    """What a template needs that is surely not installed. Whatever it requires `packer init` can fetch.

    Of components, only those that a Packer once had in itself are known to be of a plugin.
    """
    installed = tuple(installed)
    required = {name: Requirement.of(text) for name, text in template.plugins.items()}
    names = {plugin.name for plugin in installed}
    components = (
        component
        for component in template.components
        if _plugin_of(component, required) is None
        and (name := _plugin_of(component, ONCE_BUNDLED)) is not None
        and binary.version >= ONCE_BUNDLED[name]
        and _plugin_of(component, names) is None
    )
    return Unknown(
        tuple(components),
        tuple(str(one) for one in required.values() if one.chosen_of(installed) is None),
    )


def without_mistakes(binary: Binary, what: Unknown, template: Template, installed: Iterable[Plugin]) -> Unknown:
    """What Packer looked for in vain, less the components whose plugin is there: those the template names wrongly."""
    there = {*template.plugins, *(plugin.name for plugin in installed)}
    there |= {name for name, apart in ONCE_BUNDLED.items() if binary.version < apart}
    return replace(what, components=tuple(one for one in what.components if _plugin_of(one, there) is None))


def init_command(binary: Binary, template: str) -> tuple[str, ...]:
    """The command line that installs the plugins which a template requires."""
    return (binary.path, "init", template)


def missing(binary: Binary, what: Unknown, environment: Mapping[str, str], *, where: Place, why: str = "") -> Transient:
    """The error for plugins that are not installed: the machine's fault, so that no image's failure is recorded.

    `why` is what Packer said of it, without secrets.
    """
    required = [Requirement.of(text) for text in what.requirements]
    known = {one: _plugin_of(one, ONCE_BUNDLED.keys() - HANDED_OVER) for one in what.components}
    official = dict.fromkeys(name for name in known.values() if name is not None)
    others = [one for one, name in known.items() if name is None]
    hints = [_install_hint(one) for one in (*required, *(Requirement(f"{OFFICIAL}/{name}", "") for name in official))]
    if binary.version < REQUIRED_PLUGINS:
        hints = [
            "put its program (`packer-provisioner-NAME`) into ~/.packer.d/plugins, or fix its name in the template"
        ]
    elif others:
        hints.append(f"{', '.join(others)}: add its plugin to required_plugins ({_INTEGRATIONS}), or fix its name")
    names = [*map(str, required), *what.components]
    plugins = "plugin for" if len(names) == 1 else "plugins for"
    said = f": {why}" if why else ""
    return Transient(
        f"Packer {binary.version_text} lacks the {plugins} {', '.join(names)}{said}",
        where=where,
        hint=(*hints, *passed_over(binary, {*official, *(one.plugin for one in required)}, environment)),
    )


def init_failed(
    binary: Binary, template: Template, output: str, environment: Mapping[str, str], *, code: int
) -> Transient:
    """The error for a `packer init` that ended with this exit code. `output` is all it printed, without secrets.

    Nothing was built and nothing is lost; a network that is down and GitHub's rate limit are the usual causes.
    """
    why = cause([output]) or (f"exit code {code}" if code >= 0 else "it did not end in time")
    installed = installed_plugins(binary, environment)
    absent = Unknown(requirements=lacking(binary, template, installed).requirements)
    error = missing(binary, absent, environment, where=template.place, why=f"`packer init` failed: {why}")
    limited = "if GitHub refuses: set PACKER_GITHUB_API_TOKEN, or keep the plugins in the CI's cache"
    others = [
        f"or allow what is installed: {one.source} {plugin.version}"
        for one in map(Requirement.of, absent.requirements)
        for plugin in installed
        if plugin.is_from(one.source)
    ]
    hint = (*error.hint, *others, *([limited] if "github" in why.lower() else []))
    return Transient(error.what, where=error.where, hint=hint)


def plugin_folder(binary: Binary, environment: Mapping[str, str]) -> Path | None:
    """The folder that Packer looks for plugins in; None where there is nobody whose folder it could be.

    It is PACKER_PLUGIN_PATH where that is set. Packer's own is the person's, and is taken if it holds a plugin; else
    all builds share one in the cache.
    """
    given = environment.get("PACKER_PLUGIN_PATH")
    if given:
        return Path(given.split(os.pathsep)[-1] if binary.version < CHECKED_PLUGINS else given)
    own, cache = _packers_own(environment), cache_folder(environment)
    if own is not None and next(own.rglob("packer-plugin-*"), None):
        return own
    return cache / "plugins" if cache is not None else own


def with_plugins(binary: Binary, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which Packer finds its plugins, from whichever folder it is run.

    Raises:
        UserError: PACKER_PLUGIN_PATH is a list for a Packer that takes one folder, or a file; or the shared folder
            cannot be named in it or made, is somebody else's, or a plugin in it is.
    """
    folder, given = plugin_folder(binary, environment), environment.get("PACKER_PLUGIN_PATH")
    if given and binary.version >= CHECKED_PLUGINS and os.pathsep in given:
        raise UserError(
            f"PACKER_PLUGIN_PATH names several folders, and Packer {binary.version_text} takes one",
            hint="set it to one of them, or unset it: Packer has a folder of its own",
        )
    if given and folder is not None and folder.exists() and not folder.is_dir():
        raise UserError(f"PACKER_PLUGIN_PATH names {folder}, which is no folder", hint="set it to a folder of plugins")
    if given:
        absolute = os.pathsep.join(str(Path(part).absolute()) for part in given.split(os.pathsep) if part)
        return {**environment, "PACKER_PLUGIN_PATH": absolute}
    if binary.version < REQUIRED_PLUGINS or folder is None or folder == _packers_own(environment):
        return dict(environment)
    if os.pathsep in str(folder):
        raise UserError(
            f"{folder} has a {os.pathsep} in it, and Packer takes that for the end of a folder's name",
            hint="set XDG_CACHE_HOME to another folder, or PACKER_PLUGIN_PATH to one for plugins",
        )
    shared = made_folder(folder)
    for program in shared.rglob("packer-plugin-*"):
        refuse_foreign(program)
    return {**environment, "PACKER_PLUGIN_PATH": str(shared)}


def _packers_own(environment: Mapping[str, str]) -> Path | None:
    """Packer's own plugin folder (packer-plugin-sdk 0.6.10, pathing/config_file_unix.go)."""
    if given := environment.get("PACKER_CONFIG_DIR"):
        return Path(given) / ".packer.d" / "plugins"
    home, config = environment.get("HOME"), environment.get("XDG_CONFIG_HOME")
    if not home:
        return None
    with suppress(PermissionError):  # another user's HOME: Packer says so, where it looks there
        if (old := Path(home) / ".packer.d").exists():
            return old / "plugins"
    return (Path(config) if config else Path(home) / ".config") / "packer" / "plugins"


def passed_over(binary: Binary, names: Iterable[str], environment: Mapping[str, str]) -> Iterator[str]:
    """A line for each plugin of these names that is there and does not count: other bytes, or it may not be run."""
    folder = plugin_folder(binary, environment)
    if binary.version < CHECKED_PLUGINS or folder is None:
        return
    for name in sorted(names):
        for program in sorted(folder.rglob(f"packer-plugin-{name}_v*")):
            if _FILE.fullmatch(program.name) and not is_whole(program):
                yield f"{program} is there, but not with the checksum beside it: Packer passes it over; remove it"
            elif _FILE.fullmatch(program.name) and not os.access(program, os.X_OK):
                yield f"{program} is there, but may not be run: `chmod +x {shlex.quote(str(program))}`"


def is_whole(program: Path) -> bool:
    """Whether a plugin is what the `_SHA256SUM` file beside it says, as Packer asks from 1.11 on."""
    try:
        said = program.with_name(f"{program.name}_SHA256SUM").read_text(encoding="ascii").strip()
        with program.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == said.lower()
    except (OSError, ValueError):
        return False


def allows(constraint: str, version: tuple[int, int, int]) -> bool:
    """Whether a constraint allows a version. One that can't be read is for `validate`, and for Packer, to refuse."""
    try:
        return parse_constraint(constraint).allows(version)
    except ValueError:
        return True


def _newest(plugins: Iterable[Plugin]) -> Plugin | None:
    by_version = {plugin.version: plugin for plugin in plugins}
    version = newest(tuple(by_version))
    return by_version[version] if version is not None else None


def wanted_plugins(templates: Iterable[Template], known: Iterable[str]) -> tuple[str, ...]:
    """Which of these plugins templates use, in order of name: by a component, or as they require HashiCorp's own."""
    known = tuple(known)
    found: set[str] = set()
    for template in templates:
        required = {Requirement.of(text).source for text in template.plugins.values()}
        found |= {name for name in known if f"{OFFICIAL}/{name}" in required}
        found |= {name for one in template.components if (name := _plugin_of(one, known)) is not None}
    return tuple(sorted(found))


def _plugin_of(component: str, names: Iterable[str]) -> str | None:
    """The plugin, of those named, that a component is of: it is called after it, or is it."""
    matching = (name for name in names if component == name or component.startswith(f"{name}-"))
    return max(matching, key=len, default=None)


def _install_hint(plugin: Requirement) -> str:
    constraint = f" {shlex.quote(plugin.constraint)}" if plugin.constraint else ""
    return f"`packer plugins install {shlex.quote(plugin.source)}{constraint}`"
