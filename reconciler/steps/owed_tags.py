"""Tags that a run left out which died between two pushes: they are made of what state/ records.

Only a remote that takes refs one by one leaves such a gap, and no listing says that it is one. So what was recorded
lately is looked for: among this clone's tags, then, if one is missing there, by one listing of the remote's. A failure
does not say which commit was tried, so that its tag can't be made anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta

from reconciler.git.request import Commit, TagRequest
from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.lockfile import Lockfile
from reconciler.model.values import parse_instant
from reconciler.plan import messages
from reconciler.steps.run import Run

_LOOKED_AT = timedelta(days=7)
"""How long after it was recorded a build's tags are looked for: the next run comes within that."""
_BELOW = ("image", "verdict")


def make_owed_tags(run: Run) -> None:
    """Make the tags of recent records that the remote lacks. What goes wrong with that is told, and stops nothing."""
    recent = {tag.name: (name, tag) for name, lock in run.known.locks.items() for tag in _recent(run, lock)}
    if not recent or run.branch is not None:
        return  # a preview has no record on a branch
    owed = _lacking(recent, (tag.name for tag in run.repository.tags(*_BELOW)))
    remote = run.repository.remote(run.known.fleet.settings.git.remote) if owed else None
    if remote is None:
        return  # without a remote, branch and tags are one transaction
    image, first = recent[owed[0]]
    try:
        missing = [recent[name] for name in _lacking(owed, remote.tags(_BELOW))]
        made = [(name, tag) for name, tag in missing if run.repository.has(tag.target)]
        if made:
            run.recorder.record(lambda _tree: Commit((), "", tuple(tag for _, tag in made)))
    except ReconcilerError as error:
        what = f"it is not known whether the tag {first.name} of an earlier run is there: {error.what}"
        run.listener(events.Warned(image=image, what=what))
        return
    for name, tag in made:
        run.listener(
            events.Warned(image=name, what=f"an earlier run ended before it made the tag {tag.name}: made now")
        )


def _recent(run: Run, lock: Lockfile) -> Iterator[TagRequest]:
    """The tags that belong to what a lockfile recorded lately."""
    for build in lock.builds:
        if build.recorded is None or parse_instant(build.recorded) < run.known.now - _LOOKED_AT:
            continue
        yield TagRequest(messages.tag_name(lock.image, build.id), build.commit, messages.build_tag(lock.image, build))
        if build.verdict is not None:
            name = messages.verdict_tag_name(lock.image, build.id)
            yield TagRequest(name, build.commit, messages.verdict_tag(lock.image, build.id, build.verdict))


def _lacking(wanted: Collection[str], there: Iterable[str]) -> tuple[str, ...]:
    """The names among `wanted` for whose build there is no tag of that kind, under whichever name its image had."""
    known = {_stands_for(name) for name in there}
    return tuple(sorted(name for name in wanted if _stands_for(name) not in known))


def _stands_for(name: str) -> tuple[str, str]:
    return name.partition("/")[0], name.rpartition("/")[2].removesuffix("-overruled")
