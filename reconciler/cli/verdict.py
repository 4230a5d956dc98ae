"""`reconciler verdict`: vote on a candidate. Needs no right but that of tagging AMIs."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from reconciler.ci.job import job_of
from reconciler.cli import options
from reconciler.cli.workspace import Workspace, note
from reconciler.model.announcement import Announcement
from reconciler.model.declaration import LONGEST_TAG_VALUE, AwsSettings
from reconciler.model.errors import DONE, PARTIAL, ReconcilerError, Terminal, UserError
from reconciler.model.lockfile import Artifact, Verdict
from reconciler.plan.channels import overrules, verdict_tags
from reconciler.ports.registry import Opening, Registry
from reconciler.registries import open_registry
from reconciler.registries.router import Registries
from reconciler.state.lockfiles import read_lockfile
from reconciler.steps.observe import settings_at


@click.command("verdict")
@click.argument("image", shell_complete=options.complete_images)
@click.argument("build")
@click.argument("vote", type=click.Choice(["pass", "fail"]))
@click.option(
    "--evidence", required=True, metavar="WHERE", help="Where the proof can be read: a CI job's address, a ticket."
)
@click.option("--by", metavar="NAME", help="Who votes. Default: the CI job's project, else the user's name.")
@click.option(
    "--announcement",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="The notification, as received: it names the artifacts, so that no clone is needed.",
)
@options.directory
def command(
    image: str,
    build: str,
    vote: Literal["pass", "fail"],
    *,
    evidence: str,
    by: str | None,
    announcement: Path | None,
    directory: Path,
) -> int:
    """Vote on a candidate: the verdict goes into the tags of its artifacts, in every region.

    The next reconcile run records it, and moves `stable` or marks the build rejected. The same can be done with
    `aws ec2 create-tags` alone (docs/validation.md).
    """
    verdict = Verdict(status="passed" if vote == "pass" else "failed", by=by or _voter(), evidence=evidence)
    _refuse_too_long(verdict)
    if announcement is not None:
        settings, artifacts, remark = AwsSettings(), _announced(announcement, image=image, build=build), ""
    else:
        recorded = _recorded(directory, image=image, build=build, verdict=verdict)
        if recorded is None:
            return DONE
        settings, artifacts, remark = recorded
    registry = Registries(
        {artifact.location: artifact.kind for artifact in artifacts},
        lambda kind: open_registry(kind, Opening("", settings)),
    )
    named = f"{image} {build}"
    gone = _refuse_final(registry, artifacts, verdict, named=named)
    if remark:
        note(remark)  # what a vote leads to is said of one that counts
    return _vote(registry, artifacts, verdict, named=named, gone=gone)


def _vote(
    registry: Registry, artifacts: Sequence[Artifact], verdict: Verdict, *, named: str, gone: frozenset[str]
) -> int:
    """Tag every artifact: one region that fails leaves the vote in the others, where it counts as well."""
    failed: list[ReconcilerError] = []
    for artifact in artifacts:
        if artifact.id in gone:
            failed.append(Terminal(f"{artifact.id} in {artifact.location} is gone"))
            continue
        try:
            # Only the image: the snapshots need no verdict, and the voter no right to them.
            registry.tag(artifact.model_copy(update={"parts": ()}), verdict_tags(verdict))
        except ReconcilerError as error:
            failed.append(error)
        else:
            click.echo(f"{named} {artifact.location} {artifact.id}: {verdict.status}, by {verdict.by}")
    if failed and len(failed) == len(artifacts):
        raise failed[0]
    for one in failed:
        note(f"not voted: {one}")
    return PARTIAL if failed else DONE


def _refuse_final(registry: Registry, artifacts: Sequence[Artifact], verdict: Verdict, *, named: str) -> frozenset[str]:
    """The ids of artifacts that are gone. A failure is final, recorded or not yet; and what is gone can't be judged.

    Looking needs the right to describe images. Where the voter does not have it, the loop holds to the same rule.
    """
    try:
        seen = {artifact.id: registry.find(artifact.location, artifact.id) for artifact in artifacts}
    except ReconcilerError:
        return frozenset()
    there = [one for one in seen.values() if one is not None]
    if not there:
        raise UserError(f"no artifact of {named} is there any more", hint="the next reconcile run builds it anew")
    if verdict.status == "passed" and any(one.own("verdict") == "failed" for one in there):
        raise UserError(
            f"{named} failed validation already, and a failure is final",
            hint="change what failed, or `reconciler reconcile --force IMAGE` for another build of the same",
        )
    return frozenset(one for one, found in seen.items() if found is None)


def _refuse_too_long(verdict: Verdict) -> None:
    if not verdict.evidence.strip():
        raise UserError("--evidence is empty", hint="say where the proof can be read: an address, a ticket")
    for option, value in (("--by", verdict.by), ("--evidence", verdict.evidence)):
        if len(value) > LONGEST_TAG_VALUE:
            raise UserError(
                f"{option} has {len(value)} characters, and a tag's value takes {LONGEST_TAG_VALUE}",
                hint="give the address of a page that leads there",
            )


def _recorded(
    directory: Path, *, image: str, build: str, verdict: Verdict
) -> tuple[AwsSettings, tuple[Artifact, ...], str] | None:
    """How AWS is reached, what to tag, and what the vote leads to; None where it is recorded and changes nothing."""
    workspace = Workspace(directory)
    tree = workspace.repository.tree()
    lock = read_lockfile(tree, image)
    if lock is None:
        raise UserError(f"nothing is recorded of an image {image!r}", hint="`git pull`, or check the name")
    found = lock.build(build)
    if found is None:
        known = ", ".join(one.id for one in lock.builds) or "none"
        raise UserError(f"no build {build} of {image} is recorded", hint=f"`git pull`; recorded are: {known}")
    if found.verdict is not None and not overrules(found.verdict, verdict):
        if found.verdict.status != verdict.status:
            raise UserError(f"{build} is recorded as {found.verdict.status} by {found.verdict.by}, and that is final")
        click.echo(f"{image} {build} is recorded as {found.verdict.status} by {found.verdict.by}: nothing is changed")
        return None
    remark = ""
    if verdict.status == "failed" and build == lock.channels.stable:
        remark = f"{build} is stable: the next run takes it back, unless a hold is on it, to what was stable before"
    elif build != lock.channels.candidate:
        remark = f"{build} is not the candidate any more: the verdict is recorded, and stable does not move"
    return settings_at(tree).aws, found.artifacts, remark


def _announced(path: Path, *, image: str, build: str) -> tuple[Artifact, ...]:
    try:
        with click.open_file(str(path), "rb") as file:
            announced = Announcement.model_validate_json(file.read())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} holds no announcement", hint="pass the notification's JSON as it came") from error
    if (announced.image, announced.build) != (image, build):
        raise UserError(f"{path} announces {announced.image} {announced.build}, not {image} {build}")
    return announced.artifacts


def _voter() -> str:
    return job_of(os.environ).repository or getpass.getuser()
