"""Why an image needs another build, what was and is now; and when a refresh is due."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from reconciler.model.declaration import Refresh
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Reason
from reconciler.model.plan import OWN_SOURCE, PlanOptions, Situation, Wanted, finished_at
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.text import IN_BRACKETS, first_few
from reconciler.model.values import format_duration, parse_instant
from reconciler.model.window import parse_window
from reconciler.plan.key import NEVER_AGAIN, REFRESH_OF, SOURCE, moved

# A refresh: when an image is due for one, and whether it brought anything new.

RENEWING = frozenset({"expired", "source-changed"})
"""Reasons that may turn out to have changed nothing. A rebuilt parent may differ in files that no inventory lists, and
who forces a build wants that build."""


def refreshes(options: PlanOptions, refresh: Refresh, *, now: datetime) -> bool:
    """Whether this run may refresh an image: it was asked to, and the image's window is open."""
    return options.refresh and (refresh.window is None or parse_window(refresh.window).is_open(now))


def current_since(build: Build) -> datetime | None:
    """Since when a build is known to be current: when it was made, or made again and came out the same."""
    return parse_instant(build.verified.at) if build.verified is not None else finished_at(build)


def is_expired(build: Build | None, refresh: Refresh, *, now: datetime) -> bool:
    """Whether a build is older than `refresh.max_age`; never without a limit, or where its age is not known."""
    since = current_since(build) if build is not None else None
    return refresh.max_age is not None and since is not None and now - since > timedelta(seconds=refresh.max_age)


def due(build: Build | None, refresh: Refresh, *, now: datetime) -> datetime | None:
    """When a build is to be refreshed next: as soon as it is too old, and its window opens.

    With a window alone, when that opens: its source is looked at then. None with neither.
    """
    since = current_since(build) if build is not None else None
    if since is None:
        return None
    if refresh.max_age is None:
        return parse_window(refresh.window).opening(now) if refresh.window and refresh.on_source_change else None
    # `is_expired` asks for more than max_age, in whole seconds.
    expires = since + timedelta(seconds=refresh.max_age + 1)
    return expires if refresh.window is None else parse_window(refresh.window).opening(expires)


def brought_nothing(new: Build, *, before: Build | None, packages_tell: bool = True) -> bool:
    """Whether a refresh made the same image again: the same inputs, and the same inside.

    What could not be read inside one of them is not known to be the same, nor what is built on another source where
    the kind's `packages_tell` not what that holds.
    """
    if before is None or before.phase in NEVER_AGAIN or new.inventory is None or before.inventory is None:
        return False
    renews = bool(new.reasons) and RENEWING.issuperset(reason.code for reason in new.reasons)
    other = set(moved(before.components, new.components)) - {REFRESH_OF}
    same_inputs = other <= ({SOURCE} if packages_tell else set())
    known = not new.inventory.unread and not before.inventory.unread
    return renews and same_inputs and known and new.inventory.digest == before.inventory.digest


# Why an image needs another build, and what was and is now.

THIS_RUN = "(this run)"
_MOST_INPUTS = 3


def content_reasons(situation: Situation, wanted: Wanted) -> tuple[Reason, ...]:
    """Why what is wanted is not what was built last. Empty when it is the same thing.

    A source that has no pin says nothing of whether it moved.
    """
    last = situation.last
    if last is None:
        return (Reason(code="new", now=situation.head[:12]),)
    components = moved(last.components, wanted.components)
    found: list[Reason] = []
    if not {"files", "variables", "builds"}.isdisjoint(components):
        found.append(_inputs_changed(situation, last, components))
    if "tooling" in components:
        found.append(_tooling_changed(situation, last))
    if SOURCE in components and not _verified_on(last, wanted.pin):
        found.extend(_source_changed(last, wanted.pin, image=situation.image))
    return tuple(found)


def renewal_reasons(situation: Situation) -> tuple[Reason, ...]:
    """Why a build is wanted although nothing changed: a person asked, or it is too old for a refresh."""
    last = situation.last
    if last is None:
        return ()
    if situation.forced:
        return (Reason(code="forced", was=last.id, now=THIS_RUN),)
    refresh = situation.image.declaration.refresh
    if not refreshes(situation.options, refresh, now=situation.now):
        return ()
    if refresh.max_age is not None and is_expired(last, refresh, now=situation.now):
        since = current_since(last)
        done = "verified" if last.verified is not None else "built"
        was = f"{done} {since:%Y-%m-%d}" if since else last.id
        return (Reason(code="expired", was=was, now=f"older than {format_duration(refresh.max_age)}"),)
    return ()


_SPOKEN = ("id", "name", "url", "reference")
"""What people call a source by, as far as it is asked for: the first of these."""


def request_text(request: SourceRequest | None) -> str:
    """A source as it was asked for, in one line: the word of its kind, and what stands behind it."""
    if request is None:
        return "none"
    if request.upstream is None:
        return f"{request.image} {request.parent_channel}"
    word, asked = request.upstream
    if isinstance(asked, str):
        return f"{word} {asked}"
    owners = f" of {', '.join(asked['owners'])}" if asked.get("owners") else ""
    return f"{word} {next((asked[name] for name in _SPOKEN if asked.get(name)), 'by filters')}{owners}"


def as_done(reasons: Iterable[Reason], pin: Pin | None) -> tuple[Reason, ...]:
    """The reasons as they are recorded: where the plan could only say "this run", the parent's build.

    A parent that came out as it was, and is kept, is no reason any more.
    """
    return tuple(_done(reasons, pin))


def _done(reasons: Iterable[Reason], pin: Pin | None) -> Iterator[Reason]:
    for reason in reasons:
        if reason.code != "parent-rebuilt" or pin is None or pin.build is None:
            yield reason
        elif reason.was != str(pin):
            yield reason.model_copy(update={"now": str(pin)})


def _inputs_changed(situation: Situation, last: Build, components: tuple[str, ...]) -> Reason:
    image = situation.image
    now = {file.path: f"{file.mode} {file.oid}" for file in image.inputs}
    was = last.files or {}
    changed = sorted(path for path in now.keys() | was.keys() if now.get(path) != was.get(path))
    files = [repository_path(image.folder, path) for path in changed] if "files" in components else []
    if not {"variables", "builds"}.isdisjoint(components):
        files.append(f"{image.folder}/image.yaml")
    return Reason(code="inputs-changed", was=last.commit[:12], now=situation.head[:12], files=tuple(files))


def _tooling_changed(situation: Situation, last: Build) -> Reason:
    template = situation.image.template
    plugins = [f"{name} {constraint}" for name, constraint in sorted(template.plugins.items())]
    now = ", ".join([f"packer {template.required_version}".strip(), *plugins])
    return Reason(code="tooling-changed", was=f"constraints of {last.id}", now=now)


def _verified_on(last: Build, pin: Pin | None) -> bool:
    """Whether a refresh on this very source came out as the last build is."""
    on = last.verified.source if last.verified is not None else None
    return on is not None and pin is not None and on.identity == pin.identity


def _source_changed(last: Build, pin: Pin | None, *, image: Image) -> Iterator[Reason]:
    was = last.source
    if pin is None and image.source is not None:
        return  # it is not known what it is now
    if pin is not None and pin.image is not None and was is not None and was.image == pin.image:
        yield Reason(code="parent-rebuilt", was=str(was), now=f"{pin.image} {pin.build or THIS_RUN}")
    else:
        own = pin is None and image.template.chooses_source
        older = " (older)" if _is_older(pin, was) else ""
        now = OWN_SOURCE if own else f"{with_id(pin)}{older}"
        yield Reason(code="source-changed", was=with_id(was), now=now)


def _is_older(pin: Pin | None, was: Pin | None) -> bool:
    """Whether a source goes back: what it was is withdrawn, or another one is asked for."""
    new, old = (one.upstream if one is not None else None for one in (pin, was))
    if new is None or old is None or new.created is None or old.created is None:
        return False
    return new.created < old.created


def with_id(pin: Pin | None) -> str:
    """A pin in one line, with the id of what is upstream: what people compare."""
    if pin is None:
        return "none"
    upstream = pin.upstream
    if upstream is not None:
        return f"{upstream.name} {upstream.id}" if upstream.name else upstream.id
    return f"{pin.image} {pin.build or THIS_RUN}"


def inputs_named(image: Image) -> str:
    """What feeds an image, for people: its folder, and the files and folders elsewhere; of many, the first."""
    elsewhere = {_named(repository_path(image.folder, file.path), image.folder) for file in image.inputs}
    named = [f"{image.folder}/", *sorted(elsewhere - {f"{image.folder}/"})]
    return first_few(named, most=_MOST_INPUTS, more=IN_BRACKETS)


def _named(path: str, folder: str) -> str:
    """The folder that an input is in; a file at the repository's root as it is."""
    if path.startswith(f"{folder}/"):
        return f"{folder}/"
    above = path.rpartition("/")[0]
    return f"{above}/" if above else path


def repository_path(folder: str, path: str) -> str:
    """A path relative to an image's folder, as seen from the repository's root."""
    return posixpath.normpath(posixpath.join(folder, path))
