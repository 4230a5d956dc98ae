"""`reconciler packer`: the Packer that builds here, got where there is none."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Literal

import click
from pydantic import Field

from reconciler.build.packer.cache import program_digest
from reconciler.build.packer.obtain import PLUGINS, Obtained, Origin, obtain
from reconciler.build.packer.plugins import wanted_plugins
from reconciler.cli import options
from reconciler.cli.printing import show_json
from reconciler.cli.workspace import Workspace, note
from reconciler.desired.fleet import read_fleet
from reconciler.model.errors import DONE
from reconciler.model.values import Model
from reconciler.words.plans import named


@click.command("packer")
@click.option("--current", is_flag=True, help="Take no older one than the current release, whatever is on the PATH.")
@click.option(
    "--plugin",
    "plugins",
    type=click.Choice(sorted(PLUGINS)),
    multiple=True,
    help="Have this plugin, too, where Packer brings none (1.10 and later); default: amazon. May be repeated.",
)
@click.option("--for-fleet", is_flag=True, help="Have those of them that this repository's templates use.")
@click.option("--export", is_flag=True, help="Print what a shell has to export for this one to be used.")
@options.as_json
@options.directory
def command(
    *, current: bool, plugins: tuple[str, ...], for_fleet: bool, export: bool, as_json: bool, directory: Path
) -> int:
    """Find Packer with plugins, by default that for AMIs, and get what is missing. Prints where Packer is.

    Looks at the PATH and at what was got before, then asks the system's archive (apt), HashiCorp's release, and, if
    there is a Go, builds it from its Go modules, which takes some minutes once. It is kept below ~/.cache/reconciler
    (XDG_CACHE_HOME); plugins go where Packer looks for them. Exit codes: 0 there is one, 1 there is none.
    """
    wanted = {*plugins, *(_of_fleet(directory) if for_fleet else () if plugins else ("amazon",))}
    found = obtain(os.environ, tell=note, current=current, plugins=sorted(wanted))
    if as_json:
        show_json(_answer(found).model_dump_json(indent=2))
    elif export:
        for name, value in found.environment.items():
            click.echo(f"export {name}={shlex.quote(value)}")
    else:
        click.echo(found.binary.path)
    return DONE


def _of_fleet(directory: Path) -> tuple[str, ...]:
    """The plugins that the templates of a repository use, as HEAD has them. Of what can't be read it is told."""
    fleet = read_fleet(Workspace(directory).repository.tree())
    if fleet.problems:
        note(f"the templates of {named(sorted(fleet.problems))} are not valid: their plugins are not looked for")
    return wanted_plugins((image.template for image in fleet.images.values()), PLUGINS)


class InstalledPlugin(Model):
    """A plugin of Packer's, and the digest of its program."""

    version: str
    path: str
    digest: str | None


class PackerAnswer(Model):
    """The answer of `reconciler packer --json`."""

    format_version: Literal["1.0"] = "1.0"
    path: str
    version: str
    digest: str | None
    origin: Origin
    plugins: dict[str, InstalledPlugin]
    environment: dict[str, str] = Field(description="What has to be set for it to be found.")


def _answer(found: Obtained) -> PackerAnswer:
    plugins = {
        name: InstalledPlugin(version=one.version, path=one.path, digest=program_digest(one.path))
        for name, one in sorted(found.plugins.items())
    }
    return PackerAnswer(
        path=found.binary.path, version=found.binary.version_text, digest=program_digest(found.binary.path),
        origin=found.origin, plugins=plugins, environment=dict(found.environment),
    )  # fmt: skip
