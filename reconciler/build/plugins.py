"""Packer's plugins: whether a template needs them installed, installing them, and which versions there are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.build.packer import Binary, Version, ask
from reconciler.model.errors import Place, Transient, UserError
from reconciler.model.template import Template

PLUGINS_SINCE: Version = (1, 7, 0)
"""`packer init`, `packer plugins` and the block `required_plugins`. Before it the block is an error."""

_FILE = re.compile(r"packer-plugin-(.+)_v([0-9][^_]*)_x[0-9.]+_[a-z0-9]+_[a-z0-9]+(?:\.exe)?")


def needs_init(binary: Binary, template: Template) -> bool:
    """Whether plugins must be installed before this template builds.

    Raises:
        UserError: the template requires plugins and this Packer knows no such thing.
    """
    if not template.plugins:
        return False
    if binary.version < PLUGINS_SINCE:
        raise UserError(
            f"the template has required_plugins, which Packer {binary.version_text} does not know",
            where=template.place,
            mend=("install Packer 1.7 or later", "or remove the block: up to 1.9 Packer comes with its plugins"),
        )
    return True


def init_command(binary: Binary, template: str) -> tuple[str, ...]:
    """The command line that installs the plugins which a template requires."""
    return (binary.path, "init", template)


def init_failed(output: str, *, code: int, where: Place) -> Transient:
    """The error for a `packer init` that ended with this exit code. `output` is all it printed, without secrets.

    Nothing was built and nothing is lost; GitHub's rate limit is the usual cause (hashicorp/packer#11259).
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return Transient(
        f"`packer init` failed: {lines[-1] if lines else f'exit code {code}'}",
        where=where,
        mend="if GitHub refuses: set PACKER_GITHUB_API_TOKEN, or keep the plugins in the CI's cache",
    )


@dataclass(frozen=True, order=True)
class Plugin:
    """An installed plugin: its version, and its program as Packer names it."""

    version: str
    path: str


def installed_plugins(binary: Binary, template: Template, environment: Mapping[str, str]) -> dict[str, Plugin]:
    """The plugins that a template requires, by their name in it (`amazon`).

    Empty before 1.7, whose plugins are part of it. A plugin installed in several versions is left out: which of them
    Packer takes depends on the constraint, and a wrong record is worse than none.
    """
    if binary.version < PLUGINS_SINCE or not template.plugins:
        return {}
    installed: dict[str, set[Plugin]] = {}
    for line in ask((binary.path, "plugins", "installed"), environment).decode(errors="replace").splitlines():
        if match := _FILE.fullmatch(line.strip().replace("\\", "/").rpartition("/")[2]):
            installed.setdefault(match[1], set()).add(Plugin(match[2], line.strip()))
    return {
        name: plugin
        for name, requirement in sorted(template.plugins.items())
        for plugin in _only_one(installed.get(_short_name(requirement) or name, set()))
    }


def _short_name(requirement: str) -> str:
    """`amazon` of `github.com/hashicorp/amazon >= 1.2.8`; the name in the template is the person's choice."""
    return requirement.partition(" ")[0].rpartition("/")[2]


def _only_one(plugins: set[Plugin]) -> tuple[Plugin, ...]:
    return (min(plugins),) if len({plugin.version for plugin in plugins}) == 1 else ()
