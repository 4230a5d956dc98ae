"""`reconciler completion`: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script of a shell.

    For bash, put `eval "$(reconciler completion bash)"` into ~/.bashrc; for zsh the same into ~/.zshrc; for fish,
    `reconciler completion fish > ~/.config/fish/completions/reconciler.fish`.
    """
    from reconciler.cli.main import cli  # noqa: PLC0415 - main imports this module by name

    chosen = get_completion_class(shell)
    if chosen is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(chosen(cli, {}, "reconciler", "_RECONCILER_COMPLETE").source())
    return 0
