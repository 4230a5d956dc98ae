"""What stays of a proposal that nobody signed: what our own records say as well (`git.push: pull-request`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.tree import Tree, content_at
from reconciler.plan.messages import tag_name
from reconciler.plan.planning import Known
from reconciler.plan.transitions import with_build
from reconciler.state.lockfiles import FOLDER, path_of, read_lockfile, render
from reconciler.state.sbom import read_sbom
from reconciler.steps.attachments import named
from reconciler.steps.proof.previewed import built

_GIVEN = frozenset({"artifacts", "phase", "provenance", "reasons", "recorded"})
"""What a record is given when it is recorded: its tag may be older."""


def confirms(repository: Repository, known: Known) -> Callable[[str, Tree, Tree], bool]:
    """Says of an image whether its files in a proposal are the recorded branch's with one build that we recorded.

    Whoever may push the branch may have written them, under our name. Whatever is not confirmed is recorded anew: it
    is not on the recorded branch, so a run finds it wanting.
    """

    def confirmed(image: str, base: Tree, proposed: Tree) -> bool:
        try:
            return _Proposed(image, base, proposed, repository, known).is_ours
        except ReconcilerError:
            return False  # it can't be read, or its tag can't be fetched

    return confirmed


@dataclass(frozen=True)
class _Proposed:
    image: str
    base: Tree
    proposed: Tree
    repository: Repository
    known: Known

    @property
    def is_ours(self) -> bool:
        before = read_lockfile(self.base, self.image) or Lockfile(image=self.image)
        after = read_lockfile(self.proposed, self.image)
        image = self.known.fleet.images.get(self.image)
        if after is None or not after.builds or image is None:
            return False
        build = after.builds[0]
        recorded = before.build(build.id)
        if build.verdict != (recorded.verdict if recorded is not None else None) or not self._is_tagged(build):
            return False
        expected = with_build(before, build, image=image)
        canonical = content_at(self.proposed, path_of(self.image)) == render(after)
        return canonical and expected == after and self._holds_no_more(after) and self._has_its_sbom(build)

    def _is_tagged(self, build: Build) -> bool:
        """Whether its annotated tag holds this record, and the registry has what was copied since."""
        name = tag_name(self.image, build.id)
        message = self.repository.annotated_tag(name)
        tagged = built(message, name) if message is not None else None
        if tagged is None or tagged.model_dump(exclude=set(_GIVEN)) != build.model_dump(exclude=set(_GIVEN)):
            return False
        ours = {(one.location, one.id) for one in tagged.artifacts}
        ours |= {
            (seen.location, seen.id)
            for seen in self.known.observation.of(self.image)
            if (seen.own("build"), seen.own("key")) == (build.id, build.key)
        }
        return {(one.location, one.id) for one in build.artifacts} <= ours

    def _holds_no_more(self, after: Lockfile) -> bool:
        """Whether no file came to the image in state/ but those that its lockfile names."""
        came = self.proposed.entries.keys() - self.base.entries.keys()
        return all(
            path in named(after)
            for path in came
            if path.startswith((f"{FOLDER}/sbom/{self.image}/", f"{FOLDER}/provenance/{self.image}/"))
        )

    def _has_its_sbom(self, build: Build) -> bool:
        if build.inventory is None:
            return True
        path = f"{FOLDER}/{build.inventory.sbom}"
        content = content_at(self.proposed, path)
        try:
            return content is not None and read_sbom(content, path=path).digest == build.inventory.digest
        except UserError:
            return False
