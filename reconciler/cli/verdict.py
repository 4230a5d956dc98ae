"""`reconciler verdict`: vote on a candidate. Needs no right but those of looking at AMIs and of tagging them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from reconciler.ci.job import job_of
from reconciler.cli import options
from reconciler.cli.workspace import Workspace, note
from reconciler.desired.fleet import read_image
from reconciler.model.announcement import Announcement
from reconciler.model.declaration import LONGEST_TAG_VALUE, Settings
from reconciler.model.errors import DONE, PARTIAL, ReconcilerError, Terminal, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Verdict
from reconciler.model.observation import Seen
from reconciler.model.text import visible
from reconciler.plan.channels import overrules, verdict_tags
from reconciler.plan.trust import is_marked
from reconciler.ports.registry import Opening, Registry
from reconciler.registries import open_registry
from reconciler.registries.router import Registries
from reconciler.state.lockfiles import read_lockfile, unrecorded
from reconciler.steps.artifacts import is_own
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

    Which they are says the branch that state is recorded to, or the announcement; each has to carry the marks of this
    very build. The next reconcile run records it, and moves `stable` or marks the build rejected. The same can be done
    with `aws ec2 create-tags` alone (docs/validation.md).
    """
    verdict = Verdict(status="passed" if vote == "pass" else "failed", by=by or _voter(), evidence=evidence)
    _refuse_too_long(verdict)
    if announcement is not None:
        voted: Voted | None = _announced(announcement, image=image, build=build)
    else:
        voted = _recorded(Workspace(directory), image=image, build=build, verdict=verdict)
    if voted is None:
        return DONE
    settings = voted.settings
    registry = Registries(
        {artifact.location: artifact.kind for artifact in voted.artifacts},
        lambda kind: open_registry(kind, Opening("", settings)),
    )
    seen = look(registry, voted)
    refuse(voted, seen, verdict)
    if voted.remark:
        note(voted.remark)  # what a vote leads to is said of one that counts
    return cast_vote(registry, voted, seen, verdict)


@dataclass(frozen=True)
class Voted:
    """A build that is voted on, as the branch that state is recorded to has it, or an announcement."""

    fleet: str
    names: tuple[str, ...]
    """The image's: its own, and the one that it had."""
    build: str
    artifacts: tuple[Artifact, ...]
    settings: Settings
    """How the registry is reached."""
    remark: str = ""
    """What the vote leads to, where that is not what one expects."""

    def __str__(self) -> str:
        return f"{self.names[0]} {self.build}"

    def names_itself(self, seen: Seen) -> bool:
        """Whether an artifact's own marks say that it is this build's."""
        return is_marked(seen, fleet=self.fleet, names=self.names, build_id=self.build)


Looks = Mapping[str, Seen | ReconcilerError | None]
"""From an artifact's id to what is there, None for nothing, or why that is not known, or not to be voted on."""


def look(registry: Registry, voted: Voted) -> Looks:
    """What there is of each artifact. Raises ReconcilerError where that is known of none."""
    found = {artifact.id: _look(registry, artifact, voted) for artifact in voted.artifacts}
    errors = [one for one in found.values() if isinstance(one, ReconcilerError)]
    if errors and len(errors) == len(found):
        raise errors[0]
    return found


def _look(registry: Registry, artifact: Artifact, voted: Voted) -> Seen | ReconcilerError | None:
    try:
        seen = registry.find(artifact.location, artifact.id)
        if seen is None or (voted.names_itself(seen) and is_own(registry, seen)):
            return seen
    except ReconcilerError as error:
        return error
    said = ", ".join(f"{name} {visible(seen.own(name) or 'none')}" for name in ("fleet", "image", "build"))
    return UserError(
        f"nobody votes on {seen.id} in {seen.location}: it is not this account's, or not {voted} of {voted.fleet}, by "
        f"its own marks ({said})",
        hint="where it is, and lost its marks, the next `reconciler reconcile` gives it them back",
    )


def refuse(voted: Voted, seen: Looks, verdict: Verdict) -> None:
    """Raise UserError where anything is another's, or all is gone, or has failed already: a failure is final.

    A lockfile, or an announcement, may name anything. Only what says itself that it is this build's is voted on.
    """
    for one in seen.values():
        if isinstance(one, UserError):
            raise one
    there = [one for one in seen.values() if isinstance(one, Seen)]
    if not there and not any(isinstance(one, ReconcilerError) for one in seen.values()):
        raise UserError(f"no artifact of {voted} is there any more", hint="the next reconcile run builds it anew")
    if verdict.status == "passed" and any(one.own("verdict") == "failed" for one in there):
        raise UserError(
            f"{voted} failed validation already, and a failure is final",
            hint="change what failed, or `reconciler reconcile --force IMAGE` for another build of the same",
        )


def cast_vote(registry: Registry, voted: Voted, seen: Looks, verdict: Verdict) -> int:
    """Tag every artifact: one region that fails leaves the vote in the others, where it counts as well."""
    failed: list[ReconcilerError] = []
    for artifact in voted.artifacts:
        found = seen[artifact.id]
        if not isinstance(found, Seen):
            failed.append(found or Terminal(f"{artifact.id} in {artifact.location} is gone"))
            continue
        try:
            # Only the image: the snapshots need no verdict, and the voter no right to them.
            registry.tag(artifact.model_copy(update={"parts": ()}), verdict_tags(verdict))
        except ReconcilerError as error:
            failed.append(error)
        else:
            click.echo(f"{voted} {artifact.location} {artifact.id}: {verdict.status}, by {verdict.by}")
    if failed and len(failed) == len(voted.artifacts):
        raise failed[0]
    for one in failed:
        note(f"not voted: {one}")
    return PARTIAL if failed else DONE


def _refuse_too_long(verdict: Verdict) -> None:
    if not verdict.evidence.strip():
        raise UserError("--evidence is empty", hint="say where the proof can be read: an address, a ticket")
    for option, value in (("--by", verdict.by), ("--evidence", verdict.evidence)):
        if len(value) > LONGEST_TAG_VALUE:
            raise UserError(
                f"{option} has {len(value)} characters, and a tag's value takes {LONGEST_TAG_VALUE}",
                hint="give the address of a page that leads there",
            )


def _recorded(workspace: Workspace, *, image: str, build: str, verdict: Verdict) -> Voted | None:
    """The build as it is recorded; None where the vote is, and changes nothing.

    Whatever is checked out: which artifacts are voted on, and in what role, says the branch that state is recorded to.
    """
    tree = workspace.recorded_tree()
    lock = read_lockfile(tree, image)
    if lock is None:
        raise unrecorded(tree, image)
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
    declared = read_image(tree, image)
    names = declared.names if isinstance(declared, Image) else (image,)
    settings = settings_at(tree)
    return Voted(workspace.fleet_name(tree), names, build, found.artifacts, settings, remark)


def _announced(path: Path, *, image: str, build: str) -> Voted:
    try:
        with click.open_file(str(path), "rb") as file:
            announced = Announcement.model_validate_json(file.read())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} holds no announcement", hint="pass the notification's JSON as it came") from error
    if (announced.image, announced.build) != (image, build):
        raise UserError(f"{path} announces {announced.image} {announced.build}, not {image} {build}")
    return Voted(announced.fleet, (image,), build, announced.artifacts, Settings())


def _voter() -> str:
    return job_of(os.environ).repository or getpass.getuser()
