"""An auditor of a town of forgers: what `verify` may tell him of what honest runs made, and of what others did."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.git.repository import Repository
from reconciler.git.tags import tag_signature
from reconciler.model.errors import ReconcilerError
from reconciler.model.verification import Verification
from reconciler.plan.trust import believed
from reconciler.steps.questions.verify import Verifier
from tests.integration.loop.hostile import Town
from tests.integration.loop.world import git

_COMMIT = re.compile(r"\b[0-9a-f]{7}\b")
_PREVIEWS = 3
"""How many builds that no lockfile has are looked at, the newest first."""
_OF_DESIRED = {"content"}
"""What main may prove of a record that somebody forged: that the key in it is that of what was reviewed."""
_OF_FILES = {"statement-signature", "commit-signature", "change"}
"""What may be proven beside a forged record: that honest files lie there, and which honest commit left them."""


@dataclass(frozen=True)
class Auditor:
    """Whoever has a clone, the trusted keys, and the registry's answers."""

    town: Town

    def look_at_main(self) -> None:
        """Verify what the channels point to, every recorded build, and what tags alone tell of."""
        repository = self._clone()
        head = git(repository.root, "rev-parse", "refs/remotes/origin/main")
        verifier = Verifier(repository, head, "main", registry=self.town.world.registry)
        for image in self.town.world.recorded():
            recorded = [build.id for build in self.town.world.lock(image).recorded]
            names = (name for name in self.town.signed_tags() if name.startswith(f"image/{image}/"))
            told = sorted({name.rpartition("/")[2] for name in names} - set(recorded), reverse=True)
            for asked in (None, *recorded, *told[:_PREVIEWS]):
                found = _verified(verifier, image, asked)
                if found is not None:
                    self._is_fair(found)

    def look_at_branch(self, commit: str, image: str) -> None:
        """Verify on a branch the newest build, of which that branch alone says what it says."""
        repository = self._clone()
        git(repository.root, "fetch", "--quiet", "origin", commit)
        head = git(repository.root, "rev-parse", "refs/remotes/origin/main")
        verifier = Verifier(repository, commit, "theirs", registry=self.town.world.registry, head=head)

        found = verifier.verify(image, self.town.world.lock(image).builds[0].id)

        assert not found.verified, found
        self._proves_no_hearsay(found)
        for one in found.findings:
            if one.outcome == "proven":
                assert one.check in _OF_DESIRED | _OF_FILES, f"a branch proves {one}"
                assert commit[:7] not in one.what, f"a branch proves {one}"

    def believe_no_moved_tag(self) -> None:
        """No tag counts under another name than its own: neither for a run that adopts nor for an auditor."""
        moved = [name for name in self.town.signed_tags() if self.town.made_for(name) != name]
        if not moved:
            return
        repository = self._clone()
        for name in moved:
            assert believed(repository.annotated_tag(name), sign=True) is None, f"{name} is believed"
            assert tag_signature(repository.git, name).state != "good", f"{name} is proven"

    def _is_fair(self, found: Verification) -> None:
        """What is proven of a build, and of what it stands on, does not rest on hearsay."""
        town = self.town
        self._proves_no_hearsay(found)
        recorded = town.account.recorded.get((found.image, found.build))
        if recorded is not None:
            assert not found.verified or all(town.account.was_built(found.image, one) for one in recorded), found
        else:
            assert not found.verified, found
            proven = {one.check for one in found.findings if one.outcome == "proven"}
            name = f"image/{found.image}/{found.build}"
            assert town.is_honest(name) or proven <= _OF_DESIRED, f"the tag {name} proves {proven}"

    def _proves_no_hearsay(self, found: Verification) -> None:
        """Nothing is proven that rests on hearsay alone, or on nothing; and what is reviewed is on main."""
        for one in (one for each in _all(found) for one in each.findings if one.outcome == "proven"):
            assert set(one.rests_on) - {"hearsay"}, f"hearsay is proven: {one}"
            if "reviewed" in one.rests_on:
                commit = _COMMIT.findall(one.what)[-1]
                on_main = git(self.town.world.origin, "rev-list", "--no-abbrev-commit", "refs/heads/main")
                assert re.search(rf"^{commit}", on_main, re.MULTILINE), f"nobody reviewed {commit}: {one}"

    def _clone(self) -> Repository:
        """A clone with the tags as they are now, and no other."""
        clone = self.town.run("auditor").root
        refs = ("+refs/tags/*:refs/tags/*", "+refs/heads/main:refs/remotes/origin/main")
        git(clone, "fetch", "--quiet", "--force", "--prune", "origin", *refs)
        return Repository.open(clone)


def _all(found: Verification) -> Iterator[Verification]:
    yield found
    if found.source is not None:
        yield from _all(found.source)


def _verified(verifier: Verifier, image: str, asked: str | None) -> Verification | None:
    """None where no channel points to a build, or no tag holds a record of one."""
    try:
        return verifier.verify(image, asked)
    except ReconcilerError:
        return None
