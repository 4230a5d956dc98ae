"""What a state commit and an annotated tag say (docs/formats.md)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from reconciler.model.announcement import as_said
from reconciler.model.difference import Difference
from reconciler.model.history import Turned
from reconciler.model.lockfile import Artifact, Build, Failure, Gone, Reason, Undelivered, Verdict, Verified
from reconciler.model.publish import Published
from reconciler.model.text import (
    and_more,
    counted,
    duration,
    first_few,
    inert,
    inert_address,
    inert_json,
    joined,
    visible,
)
from reconciler.plan.standing import lines as smoke_lines
from reconciler.plan.standing import outcome, texts
from reconciler.words.difference import commit_lines

NOTHING: Mapping[tuple[str, str], str] = MappingProxyType({})
_MOST_FILES = 8
_MOST_TESTS = 8


def build_commit(image: str, build: Build, *, verb: str = "build", difference: Difference | None = None) -> str:
    """The message of a commit that records a build: subject, reasons, what changed inside, its test, trailers."""
    codes = ", ".join(dict.fromkeys(reason.code for reason in build.reasons)) or "as it was found"
    body = [*map(sentence, build.reasons), *_taken(build), *_inside(build, difference), *_places(build)]
    trailers = [
        f"Reconciler-Image: {image}",
        f"Reconciler-Build: {build.id}",
        f"Reconciler-Key: {build.key}",
        *_reason_trailers(build.reasons),
    ]
    return _message(f"{image}: {verb} {build.id} ({codes})", body, trailers)


def change_commit(
    image: str, what: str, reasons: Iterable[Reason], *, added: Iterable[Artifact] = (),
    gone: Iterable[Artifact] = (), stays: Mapping[tuple[str, str], str] = NOTHING,
) -> str:  # fmt: skip
    """The message of a commit that records anything else: a copy, new tags, a retired artifact, or one that stays."""
    reasons = tuple(reasons)
    codes = ", ".join(dict.fromkeys(reason.code for reason in reasons))
    trailers = [f"Reconciler-Image: {image}", *_reason_trailers(reasons)]
    body = [
        *map(sentence, reasons),
        *(f"Now {one.location} {one.id}{in_formats(one)}." for one in added),
        *(f"Retired {one.location} {one.id}{in_formats(one)}." for one in gone if (one.location, one.id) not in stays),
        *(inert(f"{place} {one} stays, and is recorded no more: {why}.") for (place, one), why in stays.items()),
    ]
    return _message(f"{image}: {what} ({codes})", body, trailers)


def in_formats(artifact: Artifact) -> str:
    """What an artifact is kept in beside itself, as words that come after its id: `, as vmdk sha256:…`."""
    kept = joined([f"{one.format} {one.id}" for one in artifact.conversions])
    return f", as {kept}" if kept else ""


def steps_of(reasons: Iterable[Reason]) -> str:
    """What a commit's subject calls the steps by which builds go away: `deprecate, disable`."""
    codes = {reason.code for reason in reasons}
    steps = {"deprecation-changed": "deprecate", "availability-changed": "disable"}
    return ", ".join(step for code, step in steps.items() if code in codes) or "retire"


def failure_commit(image: str, failure: Failure, reasons: Iterable[Reason]) -> str:
    """The message of a commit that records a failed attempt."""
    failed = smoke_lines(failure.smoke_test)[1:] if failure.smoke_test is not None else ()
    more = and_more(len(failed) - _MOST_TESTS, "{} more failed.")
    body = [
        inert(f"{failure.what}."),
        *map(inert, failed[:_MOST_TESTS]),
        *filter(None, [more]),
        f"Attempt {failure.attempts}; the next not before {failure.retry_after}.",
    ]
    trailers = [
        f"Reconciler-Image: {image}",
        f"Reconciler-Build: {failure.build}",
        f"Reconciler-Key: {failure.key}",
        *_reason_trailers(reasons),
    ]
    return _message(f"{image}: build {failure.build} failed", body, trailers)


def verified_commit(image: str, kept: str, verified: Verified, reasons: Iterable[Reason]) -> str:
    """The message of a commit that records a refresh which brought nothing new."""
    reasons = tuple(reasons)
    codes = ", ".join(dict.fromkeys(reason.code for reason in reasons))
    body = [
        *map(sentence, reasons),
        f"{verified.build} holds what {kept} holds: it was retired, and {kept} stays in its channels.",
    ]
    trailers = [f"Reconciler-Image: {image}", f"Reconciler-Build: {kept}", *_reason_trailers(reasons)]
    return _message(f"{image}: {kept} verified current ({codes})", body, trailers)


def tag_name(image: str, build_id: str) -> str:
    """The annotated tag of a build."""
    return f"image/{image}/{build_id}"


def sbom_tag_name(image: str, build_id: str) -> str:
    """The annotated tag that stands on a preview's SBOM."""
    return f"sbom/{image}/{build_id}"


def build_tag(image: str, build: Build, difference: Difference | None = None) -> str:
    """The tag's message: status, artifact ids and what changed inside for people, then the whole record as JSON."""
    status = "built" if build.adopted is None else "adopted"
    lines = [f"{image} {build.id}: {status}", "", f"status: {status}", f"built: {build.id[:16]}"]
    lines += [f"artifact: {one.kind} {one.location} {one.id}{in_formats(one)}" for one in build.artifacts]
    inside = _inside(build, difference)
    lines += ["", *inside] if inside else []
    return _tag(lines, _build_record(build))


def verified_tag(image: str, kept: str, build: Build) -> str:
    """The tag's message of a build that a refresh made in vain: it came out as `kept`, and is retired."""
    lines = [f"{image} {build.id}: unchanged", "", "status: unchanged", f"built: {build.id[:16]}", f"kept: {kept}"]
    return _tag(lines, _build_record(build))


def failure_tag(image: str, failure: Failure) -> str:
    """The tag's message of a build that failed."""
    lines = [f"{image} {failure.build}: failed", "", "status: failed", f"built: {failure.build[:16]}"]
    lines.append(inert(failure.what))
    return _tag(lines, _record(failure.model_dump(mode="json", exclude_defaults=True)))


def verdict_tag_name(image: str, build_id: str, *, overruled: Verdict | None = None) -> str:
    """The annotated tag of a verdict. One that overrules another has a tag beside it, since tags are never moved."""
    return f"verdict/{image}/{build_id}" + ("-overruled" if overruled is not None else "")


def turn_tag_name(image: str, build_id: str, what: Turned, *, at: str) -> str:
    """The annotated tag of what was ruled of a build, or done with it on its way out, beside those of verdicts."""
    return f"verdict/{image}/{build_id}-{what}-{re.sub('[-:]', '', at)}"


def turn_tag(image: str, build_id: str, what: Turned, *, at: str, why: str | None) -> str:
    """The tag's message: what, when and why for people, then the same as JSON."""
    lines = [f"{image} {build_id}: {what}", "", f"at: {at}", *([f"why: {inert(why)}"] if why else [])]
    return _tag(lines, _record({"image": image, "build": build_id, "what": what, "at": at, "why": why}))


def verdict_tag(image: str, build_id: str, verdict: Verdict) -> str:
    """The tag's message: the verdict for people, then as JSON."""
    said = [f"by: {inert(verdict.by)}", f"evidence: {inert_address(verdict.evidence)}"]
    lines = [f"{image} {build_id}: {verdict.status}", "", *said]
    return _tag(lines, _record(verdict.model_dump(mode="json")))


def verdict_commit(image: str, build_id: str, verdict: Verdict) -> str:
    """The message of a commit that records a verdict."""
    by, evidence = inert(verdict.by), inert_address(verdict.evidence)
    body = [f"{verdict.status.capitalize()} by {by}.", f"Evidence: {evidence}"]
    trailers = [
        f"Reconciler-Image: {image}",
        f"Reconciler-Build: {build_id}",
        "Reconciler-Reason: verdict-pending-record",
    ]
    return _message(f"{image}: {build_id} {verdict.status} validation (verdict-pending-record)", body, trailers)


def ruling_commit(image: str, reasons: Sequence[Reason]) -> str:
    """The message of a commit that records what image.yaml rules: holds, revocations, and the channels by them."""
    codes = ", ".join(dict.fromkeys(reason.code for reason in reasons))
    moved = ((one.was or "", one.now or "") for one in reasons if one.code == "channel-moved")
    was, now = next((both for both in moved if both[1].startswith("stable ")), ("", ""))
    before, (stable, _, binds) = was.partition(",")[0], now.partition(",")
    what = f"stable points to {stable.removeprefix('stable ')}" if stable else "what is declared of its builds"
    if stable and before == stable:  # a hold came, or went, and left it where it was
        what = f"{stable} is held" if binds else f"{stable} is held no more"
    trailers = [f"Reconciler-Image: {image}", *_reason_trailers(reasons)]
    return _message(f"{image}: {what} ({codes})", [sentence(reason) for reason in reasons], trailers)


def undelivered_commit(image: str, undelivered: Iterable[Undelivered]) -> str:
    """The message of a commit that records what could not be announced, or that everything now was."""
    body = [inert(f"{one.to} was not told that {one.build} {as_said(one.event)}: {one.why}") for one in undelivered]
    subject = f"{image}: announcements not delivered" if body else f"{image}: no announcement is outstanding"
    return _message(subject, body or ["Nothing is left to be told."], [f"Reconciler-Image: {image}"])


def told_commit(
    image: str, failure: Failure | None, refreshes: Collection[Published] = (), gone: Collection[Gone] = ()
) -> str:  # fmt: skip
    """The message of a commit that records who was told of what no artifact's tag can tell.

    Of an attempt and of refreshes of groups that failed, and of builds that were removed. Without any of these nobody
    is left to be told.
    """
    told = [(f"{failure.build} has failed", failure.told)] if failure is not None else []
    told += [(f"{one.location} {one.name} failed", one.told) for one in refreshes]
    failed = len(told)
    told += [(f"{one.build.id} {as_said('removed')}", one.told) for one in gone]
    body = [f"{one}: {', '.join(names)} was told." for one, names in told]
    if not told:
        what = "nobody is left to be told of what was removed"
    elif len(told) == 1:
        what, body = f"announced that {inert(told[0][0])}", [f"{name} was told of it." for name in told[0][1]]
    elif failed in (0, len(told)):
        what = f"announced that {len(told)} {'things failed' if failed else 'builds are removed'}"
    else:
        what = f"announced {len(told)} things"
    return _message(f"{image}: {what}", map(inert, body), [f"Reconciler-Image: {image}"])


def published_commit(image: str, published: Sequence[Published], *, former: Collection[Published] = ()) -> str:
    """The message of a commit that records under which names consumers find an image's channels.

    Where nothing but groups stands otherwise than in `former`, what was recorded before, it is about them.
    """
    changed = [one for one in published if one not in former]
    groups = [one for one in changed if one.auto_scaling_group]
    gone = {one.place for one in former} - {one.place for one in published}
    body = [inert(f"{one.text}{_numbered(one)}{_refreshed(one)}") for one in published]
    subject = f"{image}: published at {counted(len(body), 'place')}" if body else f"{image}: published nowhere"
    if groups == changed and groups and not gone:
        courses = Counter(_course(one) for one in groups)
        first = inert(f"{groups[0].text}{_numbered(groups[0])} {next(iter(courses))}")
        several = f"{len(groups)} groups: {', '.join(f'{number} {course}' for course, number in courses.items())}"
        subject = f"{image}: {first if len(groups) == 1 else several}"
    return _message(subject, body or ["Every name that it had is gone."], [f"Reconciler-Image: {image}"])


def _numbered(published: Published) -> str:
    return f" version {published.version}" if published.version is not None else ""


def _course(group: Published) -> str:
    """Where a group's refresh stands, in a word: one without an id is recorded before it is begun."""
    if group.course == "begun" and not group.refresh:
        return "to begin"
    return group.course or "turned back"


def _refreshed(published: Published) -> str:
    """Where a group's refresh stands; empty for all else."""
    refresh = f" refresh {published.refresh}" if published.refresh else ""
    return f"{refresh} {published.course}" if published.course else refresh


def record_in(tag_message: str) -> str | None:
    """The JSON record in a tag's message; None when it holds none."""
    start = tag_message.find("\n{\n")
    end = tag_message.rfind("\n}")
    return tag_message[start + 1 : end + 2] if 0 <= start < end else None


def sentence(reason: Reason) -> str:
    """A reason as a line of prose, such as `desired/web/nginx.conf changed (51b0c9e → 9c0d1e2).`."""
    if reason.files is not None:
        named = first_few(reason.files, most=_MOST_FILES)
        return inert(f"{named or 'inputs'} changed ({reason.was} → {reason.now}).")
    if reason.code == "new":
        return "First build."
    return inert(f"{reason.code}: {reason.was or 'nothing'} → {reason.now or 'nothing'}.")


def _reason_trailers(reasons: Iterable[Reason]) -> list[str]:
    return list(dict.fromkeys(f"Reconciler-Reason: {reason.code}" for reason in reasons))


def _taken(build: Build) -> list[str]:
    """That nobody here built it."""
    if build.adopted is None:
        return []
    made = f", made {build.adopted.made[:10]}" if build.adopted.made is not None else ""
    return [
        f"Taken as it was found{made}: what it was built from is not known.",
        f"Its key is what {build.commit[:7]} asks for.",
    ]


def _places(build: Build) -> list[str]:
    took = [f"Built in {duration(build.seconds)}."] if build.seconds is not None else []
    return [*(f"{one.location} {one.id}{in_formats(one)}" for one in build.artifacts), *took]


def _inside(build: Build, difference: Difference | None) -> list[str]:
    """What changed inside, and how the test went."""
    told = list(commit_lines(difference)) if difference is not None else []
    if build.smoke_test is not None:
        result = outcome(build.smoke_test)
        told.append(
            f"{result[0].upper()}{result[1:]}." if build.smoke_test.status == "skipped" else f"Smoke test: {result}."
        )
        told += [f"F{line[1:]}." for line in texts(build.smoke_test.findings)]
    return [*map(inert, told)]


def _build_record(build: Build) -> str:
    return _record(build.model_dump(mode="json", by_alias=True, exclude_defaults=True))


def _record(value: object) -> str:
    return inert_json(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def _message(subject: str, body: Iterable[str], trailers: Iterable[str]) -> str:
    return "\n".join([subject, "", *_as_lines(body), "", *trailers, ""])


def _tag(lines: Iterable[str], record: str) -> str:
    return "\n".join([*_as_lines(lines), "", record, ""])


def _as_lines(lines: Iterable[str]) -> Iterable[str]:
    """Each as one line: what others wrote in it could else go on as a trailer, as a record, or backwards."""
    return map(visible, lines)
