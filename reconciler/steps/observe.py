"""Observe: desired and state from git, artifacts from the registry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches

from reconciler.desired.fleet import read_fleet
from reconciler.git.attributes import filters
from reconciler.git.export import LFS, filtered
from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.fleet import Fleet
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Seen
from reconciler.model.plan import PlanOptions
from reconciler.model.tree import Tree
from reconciler.plan.order import graph, with_ancestors
from reconciler.plan.planning import Known, lock_of, removed
from reconciler.plan.stale_previews import branches_matter
from reconciler.registry.protocol import Registry
from reconciler.state.lockfiles import read_lockfiles


def read_repository(tree: Tree, *, fleet_name: str, now: datetime, options: PlanOptions) -> Known:
    """What the repository says at one revision: everything but the registry.

    The templates of images that are as they were built last are not read until somebody asks for them. Those of a
    preview are: state/ has one writer, and a branch's copy of it proves nothing.

    Raises UserError for a broken reconciler.yaml, and for an image that was asked for and does not exist.
    """
    locks, broken = read_lockfiles(tree)
    fleet = without_filtered(read_fleet(tree, recorded=None if options.preview else locks), tree)
    known = Known(
        tree=tree,
        fleet_name=fleet.settings.fleet or fleet_name,
        fleet=fleet,
        locks=locks,
        broken_locks=broken,
        now=now,
        options=options,
    )
    _refuse_unknown_names(known)
    return known


def without_filtered(fleet: Fleet, tree: Tree) -> Fleet:
    """The fleet, with a problem instead of each image an input of which goes through a filter that we can't stand for.

    What people see of such a file is not what git keeps, and so what they review is not what would be built.
    """
    found = filters(tree, (path for image in fleet.images.values() for path in image.input_paths))
    wrong = {path: filtered(path, one) for path, one in found.items() if one.name != LFS}
    if not wrong:
        return fleet
    every = {
        name: tuple(wrong[path] for path in image.input_paths if path in wrong) for name, image in fleet.images.items()
    }
    problems = {name: errors for name, errors in every.items() if errors}
    images = {name: image for name, image in fleet.images.items() if name not in problems}
    return replace(fleet, images=images, problems=dict(sorted({**fleet.problems, **problems}.items())))


def observe(known: Known, registry: Registry) -> Known:
    """The same with what the registry shows. A refusal that concerns every region raises Terminal."""
    observation = registry.observe(_locations(known))
    if observation.refused is not None:
        raise observation.refused
    return _with_unlisted(replace(known, observation=observation), registry)


def with_branches(known: Known, branches: Callable[[], frozenset[str] | None]) -> Known:
    """The same with the remote's branches, asked for only when an old preview hangs on them.

    `branches` returns None when the remote does not tell: then no preview is retired.
    """
    if not branches_matter(known.observation.artifacts, fleet=known.fleet, now=known.now):
        return known
    return replace(known, live_branches=branches())


def _locations(known: Known) -> tuple[str, ...]:
    """Every region that is declared or recorded for the images that the plan is about."""
    images = known.fleet.images
    names = tuple(asked(known))
    declared = {region for name in names if name in images for region in images[name].regions}
    return tuple(sorted(declared | {artifact.location for _, artifact in _recorded(known, names)}))


def _recorded(known: Known, names: Iterable[str]) -> Iterable[tuple[str, Artifact]]:
    """The artifacts that the plan compares with the registry: of the newest build, and of the one that is kept.

    And those that an attempt left which failed: they are taken up, or retired.
    """
    for name in names:
        if name in known.fleet.images:
            lock, _ = lock_of(known, known.fleet.images[name])
            compared = {build.id: build for build in (*lock.builds[:1], lock.kept) if build is not None}
            for build in compared.values():
                yield from ((name, artifact) for artifact in build.artifacts)
            if lock.failure is not None and lock.failure.smoke_test is None:
                # Nothing may be on it yet that says whose it is.
                yield from ((name, artifact) for artifact in lock.failure.artifacts)


def _with_unlisted(known: Known, registry: Registry) -> Known:
    """Look up by id what is recorded and was not listed: it may be there without its tags.

    The listing asks by tag, so tags removed by hand would make an artifact look deleted. Costs a call for each
    artifact that has drifted, and none for a fleet in sync.
    """
    listed = {(seen.location, seen.id) for seen in known.observation.artifacts}
    unreadable = dict(known.observation.unreadable)
    found: defaultdict[str, list[Seen]] = defaultdict(list)
    for name, artifact in _recorded(known, asked(known)):
        if (artifact.location, artifact.id) in listed or artifact.location in unreadable:
            continue
        try:
            seen = registry.find(artifact.location, artifact.id)
        except (Transient, Terminal) as error:
            unreadable[artifact.location] = error.what
            continue
        if seen is not None:
            found[name].append(seen)
    observation = replace(known.observation, unreadable=unreadable)
    return replace(known, observation=observation, unlisted=found)


def asked(known: Known) -> Iterable[str]:
    """The images that a plan is about, with those that they are built on; by name."""
    images = known.fleet.images
    return with_ancestors(known.options.images, graph(images)) if known.options.images else images


def _refuse_unknown_names(known: Known) -> None:
    names = (*known.fleet.names, *removed(known))
    for name in (*known.options.images, *known.options.force):
        if name not in names:
            near = get_close_matches(name, names, n=1)
            mend = f"did you mean {near[0]}?" if near else f"declared are: {', '.join(names) or 'none'}"
            raise UserError(f"no image is named {name!r}", mend=mend)
