"""The entry point: names the verbs, turns errors into messages and exit codes.

Little but click is imported here, so that `--version`, `--help` and completion answer at once.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

import click

from reconciler.ci.console import command_nobody
from reconciler.cli.ending import TOLD_TO_END
from reconciler.model.errors import FAILED, INTERRUPTED, ReconcilerError
from reconciler.model.text import nearest

VERBS = {
    "init": "Propose declarations for the Packer templates of a repository.",
    "validate": "Check every declaration and template, without the registry.",
    "plan": "Show what has drifted, why, and what would be done.",
    "reconcile": "Build, adopt, copy and record until nothing has drifted.",
    "adopt": "Take what exists into state/ as an image's build, as it is.",
    "gc": "Say what may go and what stays, and take what may go a step further away.",
    "restore": "Bring back what was removed, as long as its location keeps it.",
    "verdict": "Vote on a candidate: the validation repository's part.",
    "status": "Show what is recorded of each image.",
    "artifact": "Name the artifact that a channel points to, for scripts.",
    "which": "Say which build left an artifact.",
    "show": "Show one build: what is inside, who tested it, where it is.",
    "test": "Boot a recorded build, and test it by the suite as it is now.",
    "rollback": "Hold an image on an earlier build: the change of its declaration, checked and committed.",
    "diff": "Show what differs inside two builds, or what changed since a day.",
    "history": "Show every build of an image, as git tells it.",
    "verify": "Say what of a build is proven, and what is not.",
    "graph": "Show what is built on what, or print it as a CircleCI pipeline.",
    "rights": "Print what each kind of the fleet has to be allowed where its artifacts live.",
    "iam-policy": "Print what a role may do in AWS and who may take it, or check what is there.",
    "doctor": "Check that Packer, git, credentials and the clock are as they should be.",
    "packer": "Find the Packer that builds here, or get one where there is none.",
    "sandbox": "Run an AWS that fits on this machine, for rehearsal.",
    "demo": "Tell the whole story in the sandbox, with the real Packer.",
    "completion": "Print the completion script of a shell.",
}


class Verbs(click.Group):
    """Imports a verb's module when the verb is named, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs in the order in which a newcomer meets them."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; None for a word that is none."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"reconciler.cli.{cmd_name.replace('-', '_')}").command
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb that is named; of a word that is none, say which one is near."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = nearest(args[0], VERBS) if args else None
            if near is None:
                raise
            # As click itself says it of an option.
            raise click.UsageError(f"{error.message} Did you mean {near}?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _show_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click calls it so
    if not asked or ctx.resilient_parsing:
        return
    from reconciler.cli.installation import running  # noqa: PLC0415 - needed only here

    click.echo(f"reconciler, version {running()}")
    ctx.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-C", "directory", metavar="DIR", help="Work there: as the verb's own -C.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit; of an install, also its commit, or the folder it came from.",
)
@click.pass_context
def cli(ctx: click.Context, directory: str | None) -> None:
    """Keep a fleet of machine images as its repository declares it.

    desired/ holds Packer templates and what is wanted of them, state/ what was resolved, built, tested and promoted.
    """
    if directory is None or ctx.invoked_subcommand is None:
        return
    verb = ctx.command.get_command(ctx, ctx.invoked_subcommand) if isinstance(ctx.command, click.Group) else None
    if verb is None or all(parameter.name != "directory" for parameter in verb.params):
        raise click.UsageError(f"{ctx.invoked_subcommand} works in no repository: -C has no meaning for it")
    ctx.default_map = {ctx.invoked_subcommand: {"directory": directory}}


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code (docs/cli.md). Expected errors are printed, never raised."""
    try:
        returned = cli.main(args=list(arguments), prog_name="reconciler", standalone_mode=False)
    except click.ClickException as error:
        with suppress(OSError):  # nobody reads it any more
            error.show()
        return FAILED
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except ReconcilerError as error:
        from reconciler.cli.printing import show_error  # noqa: PLC0415 - needed only here

        show_error(f"{click.style('error:', fg='red', bold=True)} {error}", error)
        return error.exit_code
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # Whoever read our output has left (`| head`), or its disk is full. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.ENOSPC:
            with suppress(OSError):
                click.echo("error: the answer could not be written: no space left", err=True)
        return FAILED
    return returned if isinstance(returned, int) else 0


def run() -> NoReturn:
    """Be the `reconciler` command."""
    _prepare_streams()
    _heed_signals()
    _know_home()
    # What a plan of 1,000 images reads stays until its end, and at the default (700) the collector walks it all again
    # and again: a third of all CPU time. mypy does the same.
    gc.set_threshold(500_000, 50, 50)
    code = _guarded(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # whoever read it has left
            stream.flush()
    # Taking apart what a plan of 1,000 images read costs 0.2 s, and the system takes it all back at once. Nothing here
    # relies on atexit: threads and files end in `with` blocks.
    os._exit(code)


def _know_home() -> None:
    """Set HOME where nobody did, as in a unit of systemd: Packer, git and AWS's SDKs look for what is ours there."""
    if "HOME" not in os.environ:
        with suppress(KeyError):  # a user id without an entry, as containers have
            os.environ["HOME"] = pwd.getpwuid(os.getuid()).pw_dir


def _prepare_streams() -> None:
    """Make the standard streams take whatever is said.

    What was closed (`>&-`) leads nowhere: Python has None in its place, and the next file that is opened its number.
    What a name holds that no encoding takes (half a surrogate pair, bytes that are no UTF-8) is written as its escape,
    which in JSON is what stands for it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    command_nobody(os.environ)


def _heed_signals() -> None:
    """Let TERM, and HUP of a terminal that is closed, end a command as ^C does: what is half made is taken away.

    A run that builds hears them itself. Begun with `nohup`, which ignores HUP, a command goes on.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        TOLD_TO_END.set()
        raise KeyboardInterrupt

    TOLD_TO_END.clear()
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    by_hand = () if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else (signal.SIGINT,)
    for number in (signal.SIGTERM, *hangup, *by_hand):
        signal.signal(number, interrupt)


def _guarded(arguments: Sequence[str]) -> int:
    """Turn what nobody expected into a report that a person can paste, instead of a bare traceback."""
    from reconciler.cli.printing import marking_errors  # noqa: PLC0415 - it keeps the standard error that there is now

    try:
        with marking_errors():
            return main(arguments)
    except Exception as error:  # noqa: BLE001 - the outermost place: whatever was missed becomes a report
        from reconciler.cli.report import crash_report  # noqa: PLC0415 - needed only here

        click.echo(crash_report(error, arguments), err=True)
        return FAILED
