"""All that is known when it is judged what may go: what is there, builds that state/ had, and who uses what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial

from reconciler.git.past import read_blobs, versions_below
from reconciler.git.repository import Repository
from reconciler.git.signature import signed_by_us
from reconciler.model.care import Grants
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build
from reconciler.model.observation import Seen
from reconciler.model.tree import content_at
from reconciler.plan.garbage import is_nobodys
from reconciler.plan.key import NEVER_AGAIN
from reconciler.plan.leaving import Judgement, departures, judge
from reconciler.plan.planning import FleetPlan, Known, lock_of
from reconciler.plan.roots import Survey
from reconciler.plan.trust import began, believes, is_in_record, is_named
from reconciler.ports.registry import Registry
from reconciler.state.lockfiles import FOLDER, parse, path_of
from reconciler.state.sbom import below_state, read_sbom
from reconciler.steps.consumers import elsewhere_of, uses_of
from reconciler.steps.ours import Records, records_of

_PARALLEL = 16  # reads of one account: more only meets request limits sooner
_AT_ONCE = 8
"""Versions of a lockfile that are read together: what is looked for is mostly in the newest ones."""

# What is known: all that the registry shows, and builds that state/ had.


@dataclass(frozen=True)
class Looked:
    """What was found out, and where the records of builds stand that no lockfile has any more."""

    survey: Survey
    commits: Mapping[tuple[str, str], str]
    """The commit that last recorded a build, by image and id."""

    @cached_property
    def judgement(self) -> Judgement:
        """What may go, and what stays."""
        return judge(self.survey)


def take_survey(
    known: Known, planned: FleetPlan, registry: Registry, repository: Repository, *, revision: str, asks: bool
) -> Looked:
    """Find out all that decides what may go: twice as far as a plan looks, and who uses what nothing else keeps.

    Costs a listing of each location that a plan does not look at, one walk through the branch's history where there is
    something that no lockfile has, and the questions of `Registry.usage` for each location in which something may go.
    Of what others may use it `asks` for reports of whether they do, where there are none.
    """
    seen = {one.place: one for one in known.observation.artifacts}
    seen |= {one.place: one for found in known.unlisted.values() for one in found}
    survey = Survey(known, planned.decisions, seen, unread=dict(known.observation.unreadable))
    looked = set(locations_of(known))
    recorded = {one.location for lock in known.locks.values() for build in lock.recorded for one in build.artifacts}
    survey = _with_locations(survey, registry, recorded - looked)
    past = _past(survey, repository, revision=revision)
    elsewhere = {one.location for build, _ in past.values() for one in build.artifacts} - looked - recorded
    survey = _with_locations(survey, registry, elsewhere)
    records = records_of(repository, known)
    past = {key: found for key, found in past.items() if _is_confirmed(survey, found[0], records, image=key[0])}
    survey = _with_unlisted(replace(survey, past={key: build for key, (build, _) in past.items()}), registry)
    commits = {key: commit for key, (_, commit) in past.items()}
    survey = _with_usage(survey, registry, asks=asks)
    if not known.fleet.settings.git.sign:
        survey = _with_told(survey, repository, records, commits)
    return Looked(survey, commits)


def _with_told(
    survey: Survey, repository: Repository, records: Records, commits: Mapping[tuple[str, str], str]
) -> Survey:  # fmt: skip
    """With what is recorded anew as its tag has it: no signature says whose a commit is. Asked of that alone."""
    past = dict(survey.past)
    if not past:
        return survey
    for key in [(one.image.name, one.build.id) for one in departures(survey)]:
        build = past.pop(key, None)
        image = survey.known.fleet.images[key[0]]
        told = as_told(repository, build, commits[key], records, image=image) if build is not None else None
        past |= {key: told} if told is not None else {}
    return replace(survey, past=past)


def locations_of(known: Known) -> Iterator[str]:
    """List the locations that a plan has looked at."""
    yield from (location for image in known.fleet.images.values() for location in image.locations)
    yield from (one.location for one in known.observation.artifacts)
    yield from known.observation.unreadable


def _with_locations(survey: Survey, registry: Registry, locations: Iterable[str]) -> Survey:
    asked = sorted(locations)
    if not asked:
        return survey
    found = registry.observe(asked)
    seen = {one.place: one for one in found.artifacts}
    return replace(survey, seen={**survey.seen, **seen}, unread={**survey.unread, **found.unreadable})


def _past(survey: Survey, repository: Repository, *, revision: str) -> Mapping[tuple[str, str], tuple[Build, str]]:
    """Builds of which something is there and no lockfile has a record, as the branch last had it; with its commit."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    images = {
        name: image
        for image in survey.known.fleet.images.values()
        for name in (image.declaration.moved_from, image.name)
        if name is not None
    }
    for one in survey.seen.values():
        image, build_id = images.get(one.own("image") or ""), one.own("build")
        if image is None or build_id is None or one.own("key") is None or is_nobodys(one):
            continue
        if all(build.id != build_id for build in lock_of(survey.known, image)[0].recorded):
            wanted[image.name].add(build_id)
    if not wanted:
        return {}
    written = versions_below(repository.git, FOLDER, revision=revision)
    found: dict[tuple[str, str], tuple[Build, str]] = {}
    for name, missing in wanted.items():
        former = images[name].declaration.moved_from
        for path in (path_of(each) for each in (name, former) if each is not None):
            signs = survey.known.fleet.settings.git.sign
            for build, commit in _recorded_in(repository, written.get(path, ()), path, missing, signs=signs):
                found.setdefault((name, build.id), (build, commit))
    return found


def past_builds(
    survey: Survey, repository: Repository, records: Records, *, revision: str
) -> Mapping[tuple[str, str], tuple[Build, str]]:  # fmt: skip
    """Builds of which something is there and no lockfile has a record, as they may be recorded anew, by image and id.

    Each with the commit that last recorded it.

    As the branch last had them where commits are signed, else as their tags have them; none that nothing confirms.
    """
    found: dict[tuple[str, str], tuple[Build, str]] = {}
    for key, (build, commit) in _past(survey, repository, revision=revision).items():
        if not _is_confirmed(survey, build, records, image=key[0]):
            continue
        image = survey.known.fleet.images[key[0]]
        signs = survey.known.fleet.settings.git.sign
        told = build if signs else as_told(repository, build, commit, records, image=image)
        found |= {key: (told, commit)} if told is not None else {}
    return found


def _is_confirmed(survey: Survey, build: Build, records: Records, *, image: str) -> bool:
    """Whether names, or the build's annotated tag, say as well what a lockfile of before says is the build's.

    That is no more than a commit's word: one that a rebase, or a fast-forward, brought may have held anything.
    """
    of = survey.known.fleet.images.get(image)
    told = [records(name, build.id) for name in (of.names if of is not None else (image,))]
    tagged = [one for each in told if each is not None and each.build is not None for one in each.artifacts]
    found = (survey.seen.get((one.location, one.id)) for one in build.artifacts)
    return all(
        one is None or is_named(one, image=one.own("image") or "") or is_in_record(one, tagged, build_id=build.id)
        for one in found
    )


def as_told(repository: Repository, build: Build, commit: str, records: Records, *, image: Image) -> Build | None:
    """A build as its annotated tag has it, which nobody moves, and of its last record no more than that it was refused.

    A commit that somebody brought says that it passed, who is to be given it back, or what it was converted to, and
    that would be recorded anew, as if we had seen it. None where it has no tag.
    """
    found = ((name, told.build) for name in image.names if (told := records(name, build.id)) is not None)
    name, made = next(((name, made) for name, made in found if made is not None), ("", None))
    if made is None:
        return None
    sbom = None
    if made.inventory is not None:
        path = below_state(name, build.id)
        content = content_at(repository.tree(commit), f"{FOLDER}/{path}") or b""
        with suppress(UserError):
            is_same = read_sbom(content).digest == made.inventory.digest
            sbom = made.inventory.model_copy(update={"sbom": path}) if is_same else None
    plain = {"care": None, "conversions": ()}
    update = {
        "artifacts": tuple(one.model_copy(update=plain) for one in build.artifacts), "inventory": sbom,
        "phase": build.phase if build.phase in NEVER_AGAIN else "superseded", "recorded": build.recorded,
    }  # fmt: skip
    return made.model_copy(update=update)


def _recorded_in(
    repository: Repository, written: Sequence[tuple[str, str]], path: str, missing: set[str], *, signs: bool
) -> Iterator[tuple[Build, str]]:
    """The records of builds in the versions of a lockfile, newest first, until none is missing.

    Where it `signs`, of versions in commits under a good signature alone.
    """
    for start in range(0, len(written), _AT_ONCE):
        if not missing:
            return
        some = written[start : start + _AT_ONCE]
        for (commit, _), content in zip(some, read_blobs(repository.git, [oid for _, oid in some]), strict=True):
            if content is None or not any(build_id.encode() in content for build_id in missing):
                continue
            try:
                builds = [build for build in parse(content, path).recorded if build.id in missing]
            except ReconcilerError:
                continue
            since = [at for build in builds for at in began(build.id)]
            if not builds or not believes(partial(signed_by_us, repository.git, commit, since=since), sign=signs):
                continue
            for build in builds:
                missing.discard(build.id)
                yield build, commit


def _with_unlisted(survey: Survey, registry: Registry) -> Survey:
    """With what is recorded of builds that may go, and was not listed: it may be there without its tags."""
    seen, unread = dict(survey.seen), dict(survey.unread)
    for departure in departures(survey):
        for one in departure.build.artifacts:
            if (one.location, one.id) in seen or one.location in unread:
                continue
            try:
                found = registry.find(one.location, one.id)
            except ReconcilerError as error:
                unread[one.location] = error.what
            else:
                seen |= {found.place: found} if found is not None else {}
    return replace(survey, seen=seen, unread=unread)


def _with_usage(survey: Survey, registry: Registry, *, asks: bool) -> Survey:
    """With who uses, or may use, what nothing else keeps."""
    going = departures(survey)
    places = [seen.place for one in going for seen in one.seen]
    shareable = [
        seen
        for one in going
        for seen in one.seen
        if one.image.kind.tended and seen.state == "available" and not one.image.declaration.retain.even_if_shared
        # A call for each: of what waits it is asked once that is over.
        if one.due <= survey.known.now
    ]
    if not places:
        return survey

    def asked(seen: Seen) -> Grants | str:
        try:
            return registry.grants(seen)
        except ReconcilerError as error:
            return error.what

    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(shareable) or 1)) as pool:
        shared = dict(zip((one.place for one in shareable), pool.map(asked, shareable), strict=True))
    survey = replace(survey, usage=uses_of(registry, places), shared=shared)
    given = [place for place, grants in shared.items() if grants and isinstance(grants, Grants)]
    if not given:
        return survey
    # Once more: of what is used in this account it is not asked whether others use it.
    going = departures(replace(survey, shared={}))
    others = {seen.place for one in going for seen in one.seen}.intersection(given)
    return replace(survey, elsewhere=elsewhere_of(registry, others, asks=asks))
