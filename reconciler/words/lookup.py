"""What is found of an artifact or a build, in sentences and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from reconciler.model.history import Span
from reconciler.model.inventory import SECTIONS
from reconciler.model.lockfile import Artifact, Build, InventoryRecord
from reconciler.model.lookup import BuildAnswer, Departure, Holder, Whereabouts
from reconciler.model.plan import finished_at
from reconciler.model.text import age_text, counted, duration, first_few, joined, visible
from reconciler.model.values import parse_instant
from reconciler.plan.history import stable_seconds
from reconciler.plan.standing import lines, outcome, texts

_MOST_CHILDREN = 8
_MOST_PLACES = 6

Row = tuple[str, str]
"""A word for what is told, and what is told."""


def whereabouts(answer: Whereabouts, *, now: datetime) -> Iterator[str]:
    """Which build left an artifact: the answer in the first line, then what it was made of, then where to read on."""
    for number, one in enumerate(answer.found):
        yield f"{visible(answer.id)} is {_held(one) if not number else f'also {_held(one)}'}"
        if answer.is_name:
            yield f"  {_named(answer, one)}"
        yield from (f"  {line}" for line in _facts(one, now=now))
    first = answer.found[0]
    if first.standing in ("recorded", "superseded"):
        build = "" if "stable" in first.channels else f" {first.build}"
        yield f"  `reconciler show {first.build}` for all, `reconciler verify {first.image}{build}` for proof"
    elif first.standing == "failed":
        yield f"  `reconciler history {first.image}` shows what became of it"


def _named(answer: Whereabouts, one: Holder) -> str:
    ids = joined(sorted({visible(artifact.id) for artifact in one.artifacts}))
    channel = f"published as {answer.published}, " if answer.published is not None else ""
    return f"{channel}by state/: {ids}"


def _held(one: Holder) -> str:
    places = joined([artifact.location for artifact in one.artifacts[:_MOST_PLACES]])
    what = f"{visible(one.image)} {one.build} ({_state(one)}) in {visible(places)}"
    if one.as_format is not None:
        return f"{visible(one.as_format)} of {joined(sorted({visible(each.id) for each in one.artifacts}))}: {what}"
    if one.as_part:
        return f"part of {joined(sorted({visible(artifact.id) for artifact in one.artifacts}))}: {what}"
    return what


def _state(one: Holder) -> str:
    if one.standing == "preview":
        return f"a preview of branch {visible(one.branch)}" if one.branch else "a preview"
    if one.standing == "unchanged":
        return "a refresh that changed nothing, retired"
    if one.standing == "failed":
        return "a failed attempt"
    if one.channels:
        return "stable" if "stable" in one.channels else "candidate"
    if one.leaving is not None or one.removed is not None:
        return "going away" if one.removed is None else "removed"
    return one.phase if one.phase in ("rejected", "revoked") else one.standing


def going(departure: Departure, *, now: datetime) -> str:
    """How far a build has gone, and until when it can be had back: `disabled since …; a hold brings it back …`."""
    since = f"deprecated since {_minute(departure.deprecated)}"
    since = f"disabled since {_minute(departure.disabled)}" if departure.disabled is not None else since
    if departure.undo is None:
        return f"{since}; a hold brings it back until it is removed"
    if parse_instant(departure.undo) <= now:
        return f"{since}; a hold brings it back until it is removed, which `gc` may do from now on"
    return f"{since}; a hold brings it back, until {_minute(departure.undo)} at least"


def _minute(instant: str) -> str:
    return f"{instant[:16].replace('T', ' ')} UTC"


def _facts(one: Holder, *, now: datetime) -> Iterator[str]:
    if one.leaving is not None:
        yield going(one.leaving, now=now)
    if one.why:
        why = visible(one.why.splitlines()[0])
        yield f"revoked: {why}" if one.phase == "revoked" else why
    if one.commit is not None:
        number = f" (#{one.pull_request})" if one.pull_request is not None else ""
        source = f" on {visible(one.source)}" if one.source else ""
        age = f", {_age(one.finished, now)} old" if one.finished else ""
        yield f"built from {visible(one.commit[:7])}{number}{source}{age}"
    tested = {"passed": "smoke-tested", "failed": "smoke test failed", "skipped": "not tested"}
    said = [tested[one.smoke_test]] if one.smoke_test in tested else []
    said += [f"verdict {one.verdict}"] if one.verdict else []
    if said:
        yield ", ".join(said)
    if one.standing in ("preview", "unchanged"):
        yield "its annotated tag says so, and no lockfile"
    if one.dropped_in is not None:
        removed = f"removed {_minute(one.removed)}, with all that its build left; " if one.removed is not None else ""
        yield f"{removed}in git's history alone: no lockfile holds it since {one.dropped_in[:7]}"


def _age(instant: str, now: datetime) -> str:
    return age_text(int((now - parse_instant(instant)).total_seconds()))


def headline(answer: BuildAnswer, *, now: datetime) -> str:
    """What a build is, in a line: `20261122T102133Z-77aa0c1 of web: stable, 7 d old`."""
    finished = finished_at(answer.build)
    age = f", {age_text(int((now - finished).total_seconds()))} old" if finished is not None else ""
    return f"{answer.build.id} of {visible(answer.image)}: {_standing(answer)}{age}"


def _standing(answer: BuildAnswer) -> str:
    if answer.preview:
        return f"a preview of branch {visible(answer.branch)}" if answer.branch else "a preview"
    if answer.channels:
        return joined(list(answer.channels))
    if answer.leaving is not None:
        return f"{answer.build.phase}, going away"
    if answer.removed is not None:
        return f"{answer.build.phase}, removed"
    return answer.build.phase if answer.kept else f"{answer.build.phase}, in git's history alone"


def account(answer: BuildAnswer, *, now: datetime) -> Iterator[Row]:
    """All of a build, a row a fact: what it is made of, what is inside, who tested it, and where it is."""
    build = answer.build
    yield from _why_not_used(answer, now=now)
    yield "built", _made(answer)
    if build.source is not None:
        yield "on", _pin(build)
    if answer.children:
        shown = [f"{visible(one.image)} {one.build}" for one in answer.children]
        yield "below", first_few(shown, most=_MOST_CHILDREN)
    yield "inside", _inside(build.inventory) if build.inventory is not None else "not recorded"
    if build.smoke_test is not None:
        yield "smoke test", "; ".join([outcome(build.smoke_test), *lines(build.smoke_test)[1:]])
        yield from (("", line) for line in texts(build.smoke_test.findings))
    if build.verdict is not None:
        yield "verdict", visible(f"{build.verdict.status} by {build.verdict.by}: {build.verdict.evidence}")
    elif not answer.preview:
        yield "verdict", "none is recorded"
    if build.verified is not None:
        yield "verified", f"a refresh of {build.verified.at[:10]} came out the same"
    for name, spans in (("candidate", answer.candidate), ("stable", answer.stable)):
        if spans:
            yield name, _spans(spans, now=now)
    yield from _places(build.artifacts, word="artifacts" if answer.removed is None else "had been")
    yield from _records(answer)


def _why_not_used(answer: BuildAnswer, *, now: datetime) -> Iterator[Row]:
    revoked = answer.build.revoked
    if answer.leaving is not None:
        yield "leaving", going(answer.leaving, now=now)
    if answer.removed is not None:
        yield "removed", f"{_minute(answer.removed)}, all that it left; only a recycle bin may have it still"
    if revoked is not None:
        yield "revoked", visible(revoked.why)


def _made(answer: BuildAnswer) -> str:
    build = answer.build
    number = f" (#{answer.pull_request})" if answer.pull_request is not None else ""
    if build.adopted is not None:
        return f"adopted as it was {build.adopted.at[:10]}, when {build.commit[:7]}{number} was wanted"
    took = f" in {duration(build.seconds)}" if build.seconds is not None else ""
    why = ", ".join(dict.fromkeys(reason.code for reason in build.reasons))
    parts = [f"from {visible(build.commit[:7])}{number}{took}"]
    if build.packer is not None:
        plugins = joined([f"{name} {version}" for name, version in sorted(build.packer.plugins.items())])
        parts.append(visible(f"Packer {build.packer.version}" + (f" with {plugins}" if plugins else "")))
    return ", ".join(parts) + (f": {why}" if why else "")


def _pin(build: Build) -> str:
    pin = build.source
    upstream = pin.upstream if pin is not None else None
    if upstream is None:
        return visible(str(pin))
    made = f", made {upstream.created[:10]}" if upstream.created else ""
    name = f"{upstream.name} " if upstream.name else ""
    return visible(f"{name}{upstream.id} in {upstream.location}{made}")


def _inside(record: InventoryRecord) -> str:
    found = ((getattr(record, section.name), section.noun) for section in SECTIONS)
    counts = [counted(number, noun) for number, noun in found if number is not None]
    unread = [f"{joined(sorted(record.unread))} could not be read"] if record.unread else []
    system = [one for one in (record.os, f"kernel {record.kernel}" if record.kernel else "") if one]
    return visible(", ".join([*system, *counts, *unread]))


def _spans(spans: Sequence[Span], *, now: datetime) -> str:
    lasted = age_text(stable_seconds(spans, seen=f"{now:%Y-%m-%dT%H:%M:%SZ}"))
    last = spans[-1]
    if last.until is None:
        return f"since {last.since[:16].replace('T', ' ')} UTC, {lasted} in all"
    then = f", then {last.then}" if last.then is not None else ""
    return f"until {last.until[:16].replace('T', ' ')} UTC, {lasted} in all{then}"


def _places(artifacts: Sequence[Artifact], *, word: str) -> Iterator[Row]:
    for one in artifacts:
        yield word, visible(f"{one.location}  {one.id}")
        word = ""
        for each in one.conversions:
            yield word, visible(f"  as {each.format}  {each.id}")


def _records(answer: BuildAnswer) -> Iterator[Row]:
    build = answer.build
    if answer.recorded_in is not None:
        dropped = f", dropped in {answer.dropped_in[:7]}" if answer.dropped_in is not None else ""
        yield "recorded", f"in {answer.recorded_in[:7]}{dropped}"
    if build.ci is not None:
        yield "CI", visible(" ".join(filter(None, [build.ci.job, build.ci.url])))
    if build.provenance is not None:
        yield "provenance", visible(f"state/{build.provenance}")
    if build.inventory is not None:
        yield "SBOM", visible(f"state/{build.inventory.sbom}")
