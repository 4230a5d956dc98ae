"""What changed inside the stable builds of a fleet since a day, in a clone alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from reconciler.git.past import newest_before
from reconciler.git.repository import Repository
from reconciler.model.difference import Changes, StableChange
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.tree import Tree
from reconciler.model.values import format_instant
from reconciler.plan.difference import difference
from reconciler.state.lockfiles import path_of, read_lockfile, recorded_images, unrecorded
from reconciler.steps.questions.compare import inside


def changes_since(
    repository: Repository, since: datetime, *, now: datetime, images: Sequence[str] = ()
) -> Changes:  # fmt: skip
    """Every image whose stable build is another one than at a time, with what differs inside; of `images` alone.

    Only lockfiles that changed are read. An image is followed to a new name by the builds that it has.

    Raises:
        UserError: no image has one of these names, or a lockfile that changed can't be read.
    """
    period = _Period(
        repository, newest_before(repository.git, since, revision=repository.head, now=now), repository.head
    )
    period.refuse_unknown(images)
    moved = {one.name: one for one in period.moved() if not images or one.name in images}
    return Changes(
        since=format_instant(since), old=period.old, new=period.new, images=len(images) or len(period.images),
        complete=period.old is not None or not repository.shallow,
        changed=tuple(period.told(one) for _, one in sorted(moved.items())),
    )  # fmt: skip


@dataclass(frozen=True)
class _Sides:
    """An image's lockfile as it was and as it is; None where there was none, or is none. `name` is that of today."""

    name: str
    then: Lockfile | None
    now: Lockfile | None

    @property
    def stable(self) -> tuple[Build | None, Build | None]:
        """The builds to which stable pointed, and points."""
        was, now = (one.build(one.channels.stable) if one is not None else None for one in (self.then, self.now))
        return was, now


@dataclass
class _Period:
    """From a commit, or from before there was one, to another."""

    repository: Repository
    old: str | None
    new: str

    @cached_property
    def _now(self) -> Tree:
        return self.repository.tree(self.new)

    @cached_property
    def _then(self) -> Tree | None:
        return self.repository.tree(self.old) if self.old is not None else None

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The images that are recorded now."""
        return recorded_images(self._now)

    @cached_property
    def _gone(self) -> dict[str, Lockfile]:
        """The lockfiles of names that are recorded no more."""
        then = self._then
        names = (name for name in recorded_images(then) if name not in set(self.images)) if then is not None else ()
        read = ((name, read_lockfile(then, name)) for name in names) if then is not None else ()
        return {name: lock for name, lock in read if lock is not None}

    def refuse_unknown(self, images: Sequence[str]) -> None:
        """Raise UserError where one of these is no image, now or then."""
        known = [*self.images, *self._gone]
        for image in images:
            if image not in known:
                raise unrecorded(self._now, image, also=self._gone)

    def moved(self) -> Iterator[_Sides]:
        """The images whose stable build is another one."""
        renamed: set[str] = set()
        for name in self.images:
            if self._same(name):
                continue
            now = read_lockfile(self._now, name)
            then = (read_lockfile(self._then, name) if self._then is not None else None) or self._former(now)
            renamed |= {then.image} if then is not None else set()
            yield from _if_moved(_Sides(name, then, now))
        for name, lock in self._gone.items():
            if name not in renamed:
                yield from _if_moved(_Sides(name, lock, None))

    def _same(self, name: str) -> bool:
        was, now = (tree.entries.get(path_of(name)) if tree is not None else None for tree in (self._then, self._now))
        return was is not None and now is not None and was.oid == now.oid

    def _former(self, now: Lockfile | None) -> Lockfile | None:
        """The lockfile that this one was under another name: of those that went, the one that shares a build."""
        builds = {build.id for build in now.builds} if now is not None else set()
        return next((lock for lock in self._gone.values() if builds & {build.id for build in lock.builds}), None)

    def told(self, sides: _Sides) -> StableChange:
        """A change with what differs inside, as far as both were looked into."""
        was, now = sides.stable
        known = {
            "image": sides.name, "was": sides.then.image if sides.then is not None else None,
            "old": was.id if was is not None else None, "new": now.id if now is not None else None,
        }  # fmt: skip
        if was is None or now is None or sides.then is None or self.old is None:
            return StableChange.model_validate(known)
        unread = next((one.id for one in (was, now) if one.inventory is None), None)
        if unread is not None:
            return StableChange.model_validate({**known, "unknown": f"what is inside {unread} was not recorded"})
        try:
            before = inside(self.repository.tree, sides.then.image, was, commit=self.old)
            found = difference(before, inside(self.repository.tree, sides.name, now, commit=self.new))
        except UserError as error:
            return StableChange.model_validate({**known, "unknown": error.what})
        return StableChange.model_validate({**known, "difference": found})


def _if_moved(sides: _Sides) -> Iterator[_Sides]:
    was, now = sides.stable
    if (was.id if was is not None else None) != (now.id if now is not None else None):
        yield sides
