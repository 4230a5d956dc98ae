"""What stays of a proposal that nobody signed: what our own records say as well (`git.push: pull-request`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reconciler.git.destination import find_destination
from reconciler.git.proposal import image_of
from reconciler.git.repository import Repository
from reconciler.git.store import FILE
from reconciler.model.care import NO_CARE
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.tree import Tree, content_at
from reconciler.plan.planning import Known
from reconciler.plan.transitions import with_build
from reconciler.plan.trust import believed, in_time
from reconciler.state.lockfiles import FOLDER, path_of, read_lockfile, render
from reconciler.state.provenance import attest
from reconciler.state.sbom import read_sbom, render_sbom
from reconciler.steps.ours import built
from reconciler.steps.record_files import named, origin
from reconciler.words.messages import tag_name

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
        if not self._gives_no_more(build, recorded):
            return False
        if not self._is_on_ours(build) or in_time(build, by=self.known.now) != build:
            return False
        expected = with_build(before, build, image=image)
        canonical = content_at(self.proposed, path_of(self.image)) == render(after)
        return (
            canonical
            and expected == after
            and self._holds_no_more(before, after)
            and self._is_attested(build, recorded)
        )

    def _is_tagged(self, build: Build) -> bool:
        """Whether its annotated tag holds this record, and the registry has what was copied since."""
        name = tag_name(self.image, build.id)
        tag = believed(self.repository.annotated_tag(name), sign=self.known.fleet.settings.git.sign)
        tagged = built(tag.message, name) if tag is not None else None
        if tagged is None or tagged.model_dump(exclude=set(_GIVEN)) != build.model_dump(exclude=set(_GIVEN)):
            return False
        if not self._converts_no_more(build, tagged):
            return False
        ours = {(one.location, one.id) for one in tagged.artifacts}
        ours |= {
            (seen.location, seen.id)
            for seen in self.known.observation.of(self.image)
            if (seen.own("build"), seen.own("key")) == (build.id, build.key)
        }
        return {(one.location, one.id) for one in build.artifacts} <= ours

    def _converts_no_more(self, build: Build, tagged: Build) -> bool:
        """Whether it says of its artifacts to be kept as those alone that its tag says, or its lockfile.

        By an id that is recorded anything counts as what was converted, and consumers take it for that.
        """
        before = (read_lockfile(self.base, self.image) or Lockfile(image=self.image)).build(build.id)
        told = (*tagged.artifacts, *(before.artifacts if before is not None else ()))
        known = {(one.location, one.id, each) for one in told for each in one.conversions}
        return {(one.location, one.id, each) for one in build.artifacts for each in one.conversions} <= known

    def _gives_no_more(self, build: Build, recorded: Build | None) -> bool:
        """Whether it says that no more was done to its artifacts than what is declared, or is recorded.

        What was withheld is given back, and what we shared, protected or deprecated is undone: to whom, and where that
        is somebody else's, no proposal says that nobody signed.
        """
        before = {(one.location, one.id): one.cared_for for one in (recorded.artifacts if recorded is not None else ())}
        declared = self.known.fleet.images[self.image].declaration
        for one in build.artifacts:
            was, now = before.get((one.location, one.id), NO_CARE), one.cared_for
            if now.withheld != was.withheld or now.shared - (was.shared | declared.share_with.grants):
                return False
            if now.protected > (was.protected or declared.protect) or now.deprecated not in (None, was.deprecated):
                return False
        return True

    def _is_on_ours(self, build: Build) -> bool:
        """Whether the parent that it names is one of the image's own: recorded, or proposed by us as well."""
        pin, image = build.source, self.known.fleet.images[self.image]
        if pin is None or pin.image is None:
            return True
        if pin.image != image.parent:
            return False  # graphs of images have no rings, and what a proposal names may
        of = replace(self, image=pin.image)
        before, after = (read_lockfile(tree, pin.image) for tree in (self.base, self.proposed))
        if before is not None and (made := before.build(pin.build)) is not None:
            return made.key == pin.key
        made = after.build(pin.build) if after is not None else None
        return made is not None and made.key == pin.key and of.is_ours

    def _holds_no_more(self, before: Lockfile, after: Lockfile) -> bool:
        """Whether the image's files in state/ are as they were, but for its lockfile and what its new build names.

        What only the lockfile before named is gone. Signatures are nobody's here: what is signed needs no confirming.
        """
        now, gone = self.proposed.entries, named(before) - named(after)
        changed = {
            path
            for path in self.base.entries.keys() | now.keys()
            if image_of(path) == self.image and self.base.entries.get(path) != now.get(path)
        }
        new = {path_of(self.image), *(f"{FOLDER}/{path}" for path in _files(after.builds[0]))}
        plain = all(now[path].mode == FILE for path in new & changed if path in now)
        return plain and gone.isdisjoint(now) and changed <= new | gone

    def _is_attested(self, build: Build, recorded: Build | None) -> bool:
        """Whether its SBOM and its statement are those that we make of its record, to the byte.

        None has no statement but what was recorded without one.
        """
        sbom = self._sbom(build)
        if build.inventory is not None and sbom is None:
            return False
        if build.provenance is None:
            return recorded is not None and recorded.provenance is None
        settings = self.known.fleet.settings.git
        branch = find_destination(self.repository.git, settings).branch
        expected = attest(
            build, origin(self.repository, self.known, self.image, branch=branch), sbom=sbom, sign=lambda _content: None
        ).files
        path = f"{FOLDER}/{build.provenance}"
        return content_at(self.proposed, path) == expected.get(path)

    def _sbom(self, build: Build) -> bytes | None:
        """The bytes of a build's SBOM, where they are what its record names and nothing more."""
        content = content_at(self.proposed, f"{FOLDER}/{build.inventory.sbom}") if build.inventory is not None else None
        if content is None or build.inventory is None:
            return None
        try:
            inventory = read_sbom(content)
        except UserError:
            return None
        made = render_sbom(self.image, build.id, inventory)
        return content if inventory.digest == build.inventory.digest and made == content else None


def _files(build: Build) -> Iterator[str]:
    """What the record of a build that nobody signed names beside itself, from state/ on."""
    if build.inventory is not None:
        yield build.inventory.sbom
    if build.provenance is not None:
        yield build.provenance
