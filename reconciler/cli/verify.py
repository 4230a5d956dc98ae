"""`reconciler verify`: what of a build is proven. Needs a clone and nothing else, unless it is told to ask."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli import options
from reconciler.git.past import begin_versions, resolve_commit
from reconciler.git.repository import Repository
from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.errors import DONE, FAILED
from reconciler.model.text import first_few, visible
from reconciler.state.lockfiles import path_of, read_lockfiles

if TYPE_CHECKING:
    from concurrent.futures import Future

    from reconciler.git.past import Version
    from reconciler.model.declaration import Settings
    from reconciler.model.verification import Finding, Verification

_INDENT = 14
"""Columns before a finding's words: `  not proven  `."""


@click.command("verify")
@click.argument("image", shell_complete=options.complete_images)
@click.argument("build", required=False)
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@click.option(
    "--allowed-signers",
    "signers",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    help="Whose SSH keys are trusted, as ssh-keygen(1) has it. Default: git's gpg.ssh.allowedSignersFile.",
)
@click.option("--signed", "always_signed", is_flag=True, help="Require signatures, whatever git.sign was.")
@click.option("--online", is_flag=True, help="Ask the registry, too, whether it has the artifacts under this key.")
@options.as_json
@options.directory
def command(
    image: str,
    build: str | None,
    *,
    rev: str,
    signers: Path | None,
    always_signed: bool,
    online: bool,
    as_json: bool,
    directory: Path,
) -> int:
    """Say what of a build is proven and what is not, from git alone. Without BUILD: the stable one, else the candidate.

    Behind each stands what says so, the best first: `ours` (the branch that state is recorded to, or a good
    signature), `reviewed` (desired/ there), the `registry`, and `hearsay`, which alone proves nothing.

    A build is an id, the beginning of one or of its key, `candidate` or `stable`, or the id of an artifact, which needs
    no image before it; a pull request's preview, too.
    Exits with 1 when anything is wrong, or something that is required is not proven (docs/provenance.md).
    """
    repository = Repository.open(directory)
    revision = resolve_commit(repository.git, rev)
    walk = _begin_walk(repository, image, revision=revision)
    from reconciler.ci.job import job_of  # noqa: PLC0415 - while git walks
    from reconciler.cli.printing import show_json  # noqa: PLC0415 - as above
    from reconciler.cli.workspace import Workspace, import_ahead, note  # noqa: PLC0415 - as above
    from reconciler.steps.observe import settings_at  # noqa: PLC0415 - as above
    from reconciler.steps.one_writer import recorded_head  # noqa: PLC0415 - as above
    from reconciler.steps.questions.builds import resolve_names  # noqa: PLC0415 - as above
    from reconciler.steps.questions.verify import Verifier  # noqa: PLC0415 - as above

    workspace = Workspace(directory, opened=repository)
    verifier = Verifier(repository, revision, signers=signers, always_signed=always_signed)
    verifier.expect(image, begun=walk)
    import_ahead("reconciler.desired.image")
    tree = repository.tree(rev)
    settings = settings_at(tree)
    head = recorded_head(repository, settings.git, told=job_of(os.environ).default_branch)
    elsewhere = head is None or not repository.is_ancestor(revision, head)
    if head is None:
        note(
            "which branch state is recorded to is not known, as the remote does not tell: hearsay, unless signed "
            "(`git remote set-head origin BRANCH` says it)"
        )
    elif elsewhere:
        note(f"{rev} is not on the branch that state is recorded to, as this clone knows that: hearsay, unless signed")
    verifier.head = head or ""
    verifier.branch = _named(rev, settings if not elsewhere else None, repository.branch)
    if online:
        locks = read_lockfiles(tree)[0].values()
        verifier.registry = workspace.registry_of(settings, locks)
        verifier.publisher = workspace.publisher_of(settings, locks)
    dirty = repository.dirty(["state"])
    if dirty:
        note(f"not committed, so not looked at: {first_few(dirty, most=3, more=' and more')}")
    image, builds = resolve_names(repository, [image, *([build] if build is not None else [])], revision=revision)
    if len(builds) > 1:
        raise click.UsageError(f"{image} {builds[0]} is named by its artifact, and {builds[1]} beside it")
    found = verifier.verify(image, *builds)
    if as_json:
        show_json(found.model_dump_json(by_alias=True, indent=2))
    else:
        _print(found)
    return DONE if found.verified else FAILED


def _begin_walk(repository: Repository, image: str, *, revision: str) -> Future[tuple[Version, ...]] | None:
    """Begin to read the past of an image's lockfile; None where an artifact is named, and not its image."""
    if not re.fullmatch(IMAGE_NAME_PATTERN, image):
        return None
    return begin_versions(repository.git, path_of(image), revision=revision)


def _named(rev: str, settings: Settings | None, checked_out: str | None) -> str:
    """What the revision is called in a sentence: the branch that is recorded to, where `settings` speak of it."""
    recorded = settings.git.branch if settings is not None else None
    return (recorded or checked_out or rev) if rev == "HEAD" else rev


def _print(found: Verification) -> None:
    from reconciler.cli.printing import show_text  # noqa: PLC0415 - it is here by now

    click.echo(f"{found.build} of {found.image}")
    for finding in found.findings:
        show_text(_line(finding), hang=_INDENT)
    for parent in _parents(found):
        click.echo()
        click.echo(f"{parent.build} of {parent.image}, on which that is built")
        for finding in parent.findings:
            if finding.outcome == "wrong" or (finding.required and finding.outcome != "proven"):
                show_text(_line(finding), hang=_INDENT)


def _line(finding: Finding) -> str:
    word = "WRONG" if finding.outcome == "wrong" else finding.outcome
    rests_on = f" [{', '.join(finding.rests_on)}]" if finding.rests_on else ""
    return f"  {word:<10}  {visible(finding.what)}{rests_on}"


def _parents(found: Verification) -> Iterator[Verification]:
    """The builds below that are not verified: of one that is, the line that names it says so."""
    if found.source is not None and not found.source.verified:
        yield found.source
        yield from _parents(found.source)
