"""`reconciler sandbox`: an AWS that fits on this machine, for rehearsal."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from reconciler.cli.installation import install_with
from reconciler.cli.printing import refuse_links
from reconciler.model.errors import UserError
from reconciler.sandbox import handle, mmdebstrap, system
from reconciler.sandbox.handle import Sandbox
from reconciler.state.files import ignores_itself

_FOLDER = Path(".reconciler/sandbox")

folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=_FOLDER,
    show_default=True,
    help="Where the sandbox keeps its files.",
)


@click.group("sandbox", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Run an AWS that fits on this machine: real Packer and real SSH, only AWS is stood in for.

    Needs root (instances are overlays over a Debian of the sandbox's own, which the first start makes) and Linux.
    Without a subcommand: start it and print what to export.
    """
    if context.invoked_subcommand is None:
        context.invoke(start)


@command.command("start")
@folder
@click.option("--foreground", is_flag=True, help="Stay until interrupted, and stop the sandbox then.")
def start(folder: Path = _FOLDER, *, foreground: bool = False) -> int:
    """Start a sandbox and print the environment to export: `eval "$(reconciler sandbox start)"`."""
    refuse_links(folder)
    require_sandbox()
    sandbox = start_sandbox(folder)
    ignores_itself(folder)
    _print_environment(sandbox)
    if foreground:
        try:
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        finally:
            sandbox.stop()
    else:
        chosen = "" if folder == _FOLDER else f" --folder {shlex.quote(str(folder))}"
        click.echo(f'# stop it with: eval "$(reconciler sandbox stop{chosen})"', err=True)
    return 0


@command.command("env")
@folder
def env(folder: Path) -> int:
    """Print the environment of the sandbox that runs."""
    _print_environment(_running(folder))
    return 0


@command.command("stop")
@folder
def stop(folder: Path) -> int:
    """Stop the sandbox; its instances and images are gone with it.

    Print what to unset in a shell that it was exported to: `eval "$(reconciler sandbox stop)"`.
    """
    sandbox = _running(folder)
    sandbox.stop()
    click.echo(shlex.join(["unset", *sorted(sandbox.environment)]))
    if sys.stdout.isatty():
        click.echo("# a shell that had its environment still has it: the line above, or another shell", err=True)
    return 0


@command.command("publish")
@click.argument("name")
@click.option(
    "--run", metavar="COMMAND", help="What upstream changed: root runs it in the image before it is published."
)
@folder
def publish(name: str, *, run: str | None, folder: Path) -> int:
    """Publish a newer upstream AMI in every region, as Debian does: `publish debian-12-amd64-20261122`."""
    for region, ami in sorted(_running(folder).publish(name, run=run).items()):
        click.echo(f"{region} {ami}")
    click.echo(f"inside is {system.NAME}, as in every image here", err=True)
    return 0


def _running(folder: Path) -> Sandbox:
    """The sandbox in a folder. Raises UserError where none runs; one that this shell is inside of is named."""
    try:
        return handle.attach(folder)
    except UserError as error:
        inside = Path(os.environ.get("AWS_CA_BUNDLE", "")).parent
        if (inside / handle.READY).is_file():
            raise UserError(error.what, hint=f"this shell is inside another one: --folder {inside}") from error
        raise UserError(error.what, hint=(*error.hint, "or name the folder of one that runs: --folder")) from error


def require_sandbox() -> None:
    """Raise UserError where the sandbox's own parts are not installed: most users of reconciler never need them."""
    missing = [name for name in ("moto", "asyncssh") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"the sandbox needs {' and '.join(missing)}, which the installed reconciler came without",
            hint=install_with("sandbox"),
        )


def start_sandbox(folder: Path) -> Sandbox:
    """Start a sandbox; the first one tells of the Debian it makes, with a bar where a person watches."""
    if not sys.stderr.isatty():
        return handle.start(folder, tell=lambda line: click.echo(line, err=True))
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        steps: list[TaskID] = []

        def tell(line: str) -> None:
            if steps:
                progress.update(steps[0], advance=1, description=line)
                return
            console.print(line, highlight=False, markup=False)
            steps.append(progress.add_task("starting", total=mmdebstrap.STEPS + 1))

        return handle.start(folder, tell=tell)


def _print_environment(sandbox: Sandbox) -> None:
    for name, value in sorted(sandbox.environment.items()):
        click.echo(f"export {shlex.quote(name)}={shlex.quote(value)}")
