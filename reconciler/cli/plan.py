"""`reconciler plan`: what has drifted, why, and what would be done.

Changes nothing, and writes nothing but the files it is asked for.
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import show_json, show_summary, show_table, show_text, write_file
from reconciler.cli.workspace import Workspace, import_ahead, note, refuse_written_state
from reconciler.controller import look
from reconciler.model.errors import DONE, DRIFT, FAILED, PARTIAL, UserError
from reconciler.model.plan import Plan
from reconciler.model.text import counted, first_few, visible
from reconciler.model.tree import MOST_READ_WHOLE, Tree
from reconciler.plan.limits import to_allow
from reconciler.plan.planning import Known
from reconciler.plan.reasons import refreshes
from reconciler.words import plans
from reconciler.words.plans import Steps

_SAMPLE = 8
"""Lockfiles that are looked into for what a fleet keeps."""


@click.command("plan")
@options.selection
@click.option("--rev", default="HEAD", metavar="REVISION", help="Plan this commit, branch or tag.", show_default=True)
@click.option("--worktree", is_flag=True, help="Plan the files as they lie in the checkout, committed or not.")
@click.option("--offline", is_flag=True, help="Plan from desired/ and state/ alone, without reading the registry.")
@options.as_json
@click.option("--markdown", is_flag=True, help="Print Markdown on stdout.")
@options.junit
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan to a file as JSON too.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when something has drifted.")
@options.directory
def command(
    selection: options.Selection,
    *,
    rev: str,
    worktree: bool,
    offline: bool,
    as_json: bool,
    markdown: bool,
    junit: Path | None,
    out: Path | None,
    detailed_exitcode: bool,
    directory: Path,
) -> int:
    """Show what has drifted, why, and what would be done about it.

    Reads desired/ and state/ at HEAD, and the registry. In a CI the registry is not read where the commit may be a
    stranger's. Nothing is changed.

    Exit codes: 0 planned, 1 an image is invalid, 2 drift (with --detailed-exitcode), 3 something could not be read.
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown exclude each other")
    options.refuse_two_revisions(rev, worktree=worktree)
    if offline and selection.refresh:
        raise UserError("--refresh reads the registry, and --offline does not", hint="leave one of them out")
    begun = time.monotonic()
    workspace = Workspace(directory)
    asked = selection.options(offline=offline)
    asked = workspace.offline_if_strangers(asked, rev=rev)
    tree = workspace.repository.worktree_tree() if worktree else workspace.repository.tree(rev)
    if not asked.offline and _keeps_amis(tree):
        import_ahead("reconciler.registries.ec2.registry")
    refuse_written_state(workspace, tree, rev=rev)
    if not asked.offline:
        workspace.expect(tree)
    known = workspace.read(tree, asked)
    if not worktree and rev == "HEAD":
        workspace.say_dirty()
    looked = look(workspace, known, asks=False)
    known, plan = looked.known, looked.planned.plan
    if out is not None:
        write_file(out, plan.model_dump_json(indent=2, exclude_none=True) + "\n")
    show_summary(plan)
    if junit is not None:
        from reconciler.words.junit import of_plan  # noqa: PLC0415 - needed only here

        write_file(junit, of_plan(plan))
    if as_json:
        show_json(plan.model_dump_json(indent=2, exclude_none=True))
    elif markdown:
        from reconciler.words import markdown as as_markdown  # noqa: PLC0415 - needed only here

        click.echo(as_markdown.render(plan), nl=False)
    else:
        seconds = time.monotonic() - begun
        settings = known.fleet.settings.git
        recorded = workspace.repository.on_another_branch(settings) if rev == "HEAD" else None
        before = _before(workspace, rev, worktree=worktree)
        _print(plan, known, seconds=seconds, steps=Steps(before, recorded, to_allow(looked.planned, known)))
    return _exit_code(plan, detailed=detailed_exitcode)


def _keeps_amis(tree: Tree) -> bool:
    """Tell whether the first lockfiles name AMIs: AWS's library is then loaded while git is read.

    Where none of these does it is loaded when an image turns out to be one.
    """
    locks = (one.oid for path, one in tree.entries.items() if path.startswith("state/") and path.endswith(".lock.json"))
    return any(b"ami-" in text for text in tree.read(list(islice(locks, _SAMPLE)), most=MOST_READ_WHOLE).values())


def _before(workspace: Workspace, rev: str, *, worktree: bool) -> str:
    """What has to be done before `reconcile` does what was planned: it works from what is pushed."""
    if worktree:
        return "Commit and push it"
    if rev != "HEAD":
        return f"Push {rev} as the branch that state is recorded to"
    ahead, behind = workspace.repository.beside_upstream()
    if behind:
        commits = counted(behind, "commit")
        note(f"the checkout is {commits} behind its upstream: `git pull`, and plan anew")
    return "Push it" if ahead else ""


def _print(plan: Plan, known: Known, *, seconds: float, steps: Steps) -> None:
    if not known.fleet.names:
        # Somebody looks for an image here: what may be meant for one is worth a line.
        for warning in known.fleet.warnings:
            note(f"note: {warning}")
    if plan.options.offline:
        where = "from state/ alone; the registry was not read"
    else:
        images = known.fleet.images.values()
        words = {image.kind.location for image in images}
        noun = words.pop() if len(words) == 1 else "location"
        where = (
            f"{counted(len({place for one in images for place in one.locations}), noun)}, checked in {seconds:.1f} s"
        )
    if all(image.sync == "in-sync" for image in plan.images):
        show_text(f"{plans.headline(plan)} ({where}).", hang=2)
        for line in filter(None, (plans.due(plan), plans.findings(plan))):
            show_text(line, hang=2)
        _show_notes(plan, known)
        return
    from reconciler.words import table  # noqa: PLC0415 - rich costs 80 ms, and only what has drifted needs a table

    show_text(plans.headline(plan), hang=2)
    show_table(table.render(plan))
    for line in table.footer(plan, steps).splitlines():
        show_text(line)
    _show_notes(plan, known)
    if plan.options.offline:
        note(f"planned {where}")


def _show_notes(plan: Plan, known: Known) -> None:
    for line in plans.notes(plan):
        note(f"note: {line}")
    planned = {image.image for image in plan.images}
    windows = {image.name: image.declaration.refresh for image in known.fleet.images.values() if image.name in planned}
    shut = [
        f"{visible(name)} ({one.window})" for name, one in sorted(windows.items())
        if plan.options.refresh and not refreshes(plan.options, one, now=known.now)
    ]  # fmt: skip
    if shut:
        note(f"note: nothing newer was looked for, as the window is closed: {first_few(shut, most=4)}")


def _exit_code(plan: Plan, *, detailed: bool) -> int:
    if plan.errored:
        return FAILED
    if not plan.complete:
        return PARTIAL
    return DRIFT if detailed and plan.drifted else DONE
