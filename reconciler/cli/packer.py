"""`reconciler packer`: the Packer that builds here, got where there is none."""

from __future__ import annotations

import os
import shlex
from typing import Literal

import click
from pydantic import Field

from reconciler.build.packer.cache import program_digest
from reconciler.build.packer.obtain import PLUGINS, Obtained, Origin, obtain
from reconciler.cli import options
from reconciler.cli.printing import show_json
from reconciler.cli.workspace import note
from reconciler.model.errors import DONE
from reconciler.model.values import Model


@click.command("packer")
@click.option("--current", is_flag=True, help="Take no older one than the current release, whatever is on the PATH.")
@click.option(
    "--plugin",
    "plugins",
    type=click.Choice(sorted(PLUGINS)),
    multiple=True,
    default=["amazon"],
    show_default=True,
    help="Have this plugin, too, where Packer brings none (1.10 and later). May be repeated.",
)
@click.option("--export", is_flag=True, help="Print what a shell has to export for this one to be used.")
@options.as_json
def command(*, current: bool, plugins: tuple[str, ...], export: bool, as_json: bool) -> int:
    """Find Packer with the plugins for AMIs, and get what is missing. Prints where Packer is.

    Looks at the PATH and at what was got before, then asks the system's archive (apt), HashiCorp's release, and, if
    there is a Go, builds it from its Go modules, which takes some minutes once. It is kept below ~/.cache/reconciler
    (XDG_CACHE_HOME); plugins go where Packer looks for them. Exit codes: 0 there is one, 1 there is none.
    """
    found = obtain(os.environ, tell=note, current=current, plugins=plugins)
    if as_json:
        show_json(_answer(found).model_dump_json(indent=2))
    elif export:
        for name, value in found.environment.items():
            click.echo(f"export {name}={shlex.quote(value)}")
    else:
        click.echo(found.binary.path)
    return DONE


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
