"""What a pull request built, as its annotated tags have it: no lockfile does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reconciler.git.past import branches_with
from reconciler.git.repository import Repository
from reconciler.git.tags import tag_message
from reconciler.model.declaration import BUILD_ID_PATTERN
from reconciler.model.errors import Place, ReconcilerError, Terminal
from reconciler.model.lockfile import Build
from reconciler.model.values import is_commit_id
from reconciler.plan.messages import record_in, sbom_tag_name, tag_name
from reconciler.state.lockfiles import parse_build


@dataclass(frozen=True)
class Preview:
    """A build that is in no lockfile, and its annotated tag."""

    build: Build
    tag: str
    target: str
    """The commit that the tag stands on."""
    branches: tuple[str, ...]
    """Which branches have that commit, as far as this clone knows."""

    @property
    def whose(self) -> str:
        """It as a sentence calls it."""
        return f"a preview of branch {self.branches[0]}" if self.branches else f"a preview of {self.target[:7]}"


def find_preview(repository: Repository, image: str, asked: str) -> Preview | None:
    """The preview that an id, or the beginning of one or of its key, names; None where no one tag does.

    A tag that this clone does not have is fetched, where the whole id is given and the remote answers.
    """
    names = [one.name for one in repository.tags(f"image/{image}/")]
    wanted = [name for name in names if _fits(name.rpartition("/")[2], asked)]
    if not wanted and re.fullmatch(BUILD_ID_PATTERN, asked):
        wanted = [tag_name(image, asked)]
    if len(wanted) != 1:
        return None
    try:
        message = repository.annotated_tag(wanted[0])
    except ReconcilerError:
        return None  # the remote does not answer: then it is what this clone knows that counts
    if message is None:
        return None
    build = built(message, wanted[0])
    if build is None or build.id != wanted[0].rpartition("/")[2]:
        return None
    target = repository.tagged_commit(wanted[0])
    return Preview(build, wanted[0], target, branches_with(repository.git, target))


def built(message: str, name: str) -> Build | None:
    """The record of a build in a tag's message; None where it has none, as that of a build that failed.

    Nor is one a record that says of no commit that it was built.
    """
    record = record_in(message)
    if record is None:
        return None
    try:
        build = parse_build(record.encode(), Place(name))
    except Terminal:
        return None
    return build if is_commit_id(build.commit) else None


def failed(repository: Repository, image: str, asked: str) -> str | None:
    """What a tag says of a build that failed: why; None where this clone has no such tag."""
    names = [one.name for one in repository.tags(f"image/{image}/") if _fits(one.name.rpartition("/")[2], asked)]
    message = tag_message(repository.git, names[0]) if len(names) == 1 else None
    if message is None or "\nstatus: failed\n" not in message:
        return None
    return message.partition("\nbuilt: ")[2].partition("\n")[2].partition("\n")[0]


def preview_sbom(repository: Repository, image: str, build: Build) -> bytes | None:
    """The SBOM of a preview, from the tag that stands on it; None where there is none to be had."""
    try:
        return repository.tagged_content(sbom_tag_name(image, build.id))
    except ReconcilerError:
        return None


def _fits(build_id: str, asked: str) -> bool:
    return bool(asked) and (build_id.startswith(asked) or build_id.partition("-")[2].startswith(asked))
