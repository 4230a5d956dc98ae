"""The sentences of a plan, shared by every form in which it is shown."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.model.lockfile import Reason
from reconciler.model.plan import Plan, PlannedImage, Retirement
from reconciler.model.text import IN_BRACKETS, also_as, and_more, counted, duration, first_few, visible
from reconciler.plan.garbage import counted_artifacts
from reconciler.plan.timing import longest_chain

MOST_FILES = 8
_NAMED = 8
_MOST_DUE = 3
_MOST_GONE = 8
_MOST_WITH_FINDINGS = 6
_AT_A_LOCATION = re.compile(r"(\S+): ")
_OWN_BUILDER = re.compile(r"^(?:[\w-]+\.)?amazon-[\w-]+(?:\.[\w-]+)?: ")
_OWN_FILE = re.compile(r" \(\S+/image\.yaml(?::\d+)*\)$")
NOT_BUILT = "not built yet"
"""What is said of a new image."""


@dataclass(frozen=True)
class Steps:
    """What has to be done before a plan can be carried out.

    `elsewhere` is the branch that state is recorded to, where another one is checked out: there `reconcile` refuses.
    `to_allow` is how many images a person has to allow to be acted on; None where nobody has to.
    """

    before: str = ""
    elsewhere: str | None = None
    to_allow: int | None = None


def headline(plan: Plan) -> str:
    """The first line, which answers the question: `2 of 14 images drifted: base (source-changed), …`."""
    images = counted(len(plan.images), "image")
    parts = []
    if plan.drifted:
        named = first_few([f"{visible(image.image)} ({_codes(image)})" for image in plan.drifted], most=6)
        parts.append(f"{len(plan.drifted)} of {images} drifted: {named}")
    unknown = [image for image in plan.images if image.unknown]
    if unknown:
        parts.append(f"{len(unknown)} of {images} unknown: {_names([image.image for image in unknown])}")
    invalid = [image for image in plan.images if image.errors]
    if invalid:
        parts.append(f"{len(invalid)} of {images} invalid: {_names([image.image for image in invalid])}")
    return "; ".join(parts) or f"{images} in sync"


def in_sync_count(plan: Plan) -> int:
    """How many images are as they should be. They are counted, never listed."""
    return sum(image.sync == "in-sync" for image in plan.images)


def why(image: PlannedImage) -> str:
    """The reason codes of an image, each once."""
    if image.errors:
        return "invalid"
    return _codes(image) or ("unknown" if image.unknown else "")


def details(image: PlannedImage) -> tuple[str, ...]:
    """What was and what is now, one fact a line; then what it waits for, and what is wrong with it."""
    return (*facts(image), *errors(image))


def sentences(image: PlannedImage) -> tuple[str, ...]:
    """The same, each fact as one line: what is now behind what was."""
    lines: list[str] = []
    for line in details(image):
        if line.startswith("→ ") and lines:
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return tuple(lines)


def errors(image: PlannedImage) -> tuple[str, ...]:
    """What is wrong with an invalid image, line by line."""
    return tuple(visible(line) for error in image.errors for line in error.splitlines())


def explained(image: PlannedImage) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each reason code with its facts; what is unknown, and what the image waits for, stands with the last one."""
    blocks: dict[str, list[str]] = {}
    for reason in image.reasons:
        blocks.setdefault(reason.code, []).extend(_reason_lines(reason))
    if not blocks:
        blocks[why(image)] = []
    last = list(blocks)[-1]
    blocks[last] += [*_after_reasons(image), *(["see below"] if image.errors else [])]
    return tuple((code, tuple(map(visible, lines))) for code, lines in blocks.items())


def facts(image: PlannedImage) -> tuple[str, ...]:
    """What was and what is now, one fact a line; then what it waits for."""
    lines = [line for reason in image.reasons for line in _reason_lines(reason)]
    return tuple(visible(line) for line in (*lines, *_after_reasons(image)))


def _after_reasons(image: PlannedImage) -> list[str]:
    lines = [line.strip() for what in _by_reason(image.unknown) for line in what.splitlines()]
    told = " ".join(reason.was or "" for reason in image.reasons)
    if any(one.id not in told or one.conversions for one in image.retires):
        lines.append(f"deletes {listed(image.retires)}")
    if image.blocked_by:
        lines.append(f"waits for {', '.join(image.blocked_by)}")
    if image.waits_for and not _is_told(image.waits_for, image.reasons):
        lines.append(image.waits_for)
    if image.source:
        lines.append(f"source: {image.source}")
    return lines


def _is_told(waits_for: str, reasons: Sequence[Reason]) -> bool:
    """Whether the reasons say, one by one, all that an image waits for."""
    for one in sorted((reason.was or "" for reason in reasons), key=len, reverse=True):
        waits_for = waits_for.replace(one, "") if one else waits_for
    return not waits_for.strip("; ")


def _by_reason(unknown: tuple[str, ...]) -> list[str]:
    """What is unknown of several locations for the same reason, in one line: `eu-west-1, us-east-1: …`."""
    locations: dict[str, list[str]] = {}
    for what in unknown:
        said = _AT_A_LOCATION.match(what)
        location, why = (said[1], what[said.end() :]) if said else ("", what)
        locations.setdefault(why, []).append(location)
    return [f"{', '.join(named)}: {why}" if any(named) else why for why, named in locations.items()]


def estimate(plan: Plan) -> str | None:
    """How long the run will take: `About 11 min: base 6 min, then web 5 min (from earlier builds).`."""
    chain = longest_chain({image.image: image for image in plan.images})
    if not chain:
        return None
    total = sum(image.estimate_seconds or 0 for image in chain)
    steps = ", then ".join(f"{image.image} {duration(image.estimate_seconds or 0)}" for image in chain)
    return f"About {duration(total)}: {steps} (from earlier builds)."


def due(plan: Plan) -> str | None:
    """When images are refreshed next for their age: `Refresh due: base 2026-11-29 02:00, web 2026-11-29 02:14 UTC.`."""
    coming = sorted((image.due, image.image) for image in plan.images if image.due is not None)
    if not coming:
        return None
    named = [f"{visible(name)} {moment[:10]} {moment[11:16]}" for moment, name in coming]
    return f"Refresh due (UTC): {first_few(named, most=_MOST_DUE)}."


def listed(gone: Sequence[Retirement]) -> str:
    """The same with each: `2 artifacts in 1 location: /srv/images sha256:… sha256:…`; of many the first are named."""
    by_place: defaultdict[str, list[str]] = defaultdict(list)
    for one in gone[:_MOST_GONE]:
        by_place[one.location].append(f"{one.id}{also_as(each.format for each in one.conversions)}")
    named = "  ".join(" ".join([place, *ids]) for place, ids in by_place.items())
    return f"{counted_artifacts(gone)}: {named}{and_more(len(gone) - _MOST_GONE, IN_BRACKETS)}"


def named(images: Sequence[str]) -> str:
    """Images before what is said of them all: the first are named, the others counted."""
    return first_few(images, most=_NAMED)


def findings(plan: Plan) -> str | None:
    """What smoke tests found and let pass: `1 finding of smoke tests: base (packer-key); …`."""
    found = [image for image in plan.images if image.findings]
    if not found:
        return None
    images = [f"{visible(one.image)} ({', '.join(_finding_codes(one))})" for one in found]
    named = first_few(images, most=_MOST_WITH_FINDINGS)
    total = sum(len(image.findings) for image in found)
    return f"{counted(total, 'finding')} of smoke tests: {named}; `reconciler status` has them."


def _finding_codes(image: PlannedImage) -> list[str]:
    return list(dict.fromkeys(finding.code for finding in image.findings))


def notes(plan: Plan) -> tuple[str, ...]:
    """What to know before anything is built: `web, api: …`, each thing once."""
    said = said_once((image.image, image.notes) for image in plan.images)
    return tuple(visible(f"{_names(names)}: {text}") for names, text in said)


def said_once(notes: Iterable[tuple[str, Sequence[str]]]) -> list[tuple[list[str], str]]:
    """Each thing that is noted of images, with their names; in order of the first image.

    What is said of one image alone stays as it is. Of what is said of several, each image's own builder and the place
    in its own image.yaml are left out, so that it is the same text. Where an image has it of two builders, they stay.
    """
    said: dict[str, dict[str, str]] = {}
    for name, remarks in notes:
        without = Counter(_OWN_BUILDER.sub("", remark) for remark in remarks)
        for remark in remarks:
            shared = _OWN_BUILDER.sub("", remark)
            shared = _OWN_FILE.sub("", shared if without[shared] == 1 else remark)
            said.setdefault(shared, {})[name] = remark
    return [
        (list(remarks), shared if len(remarks) > 1 else next(iter(remarks.values())))
        for shared, remarks in said.items()
    ]


def _reason_lines(reason: Reason) -> tuple[str, ...]:
    if reason.code == "new":
        return (NOT_BUILT,)
    if reason.files is not None:
        shown = reason.files[:MOST_FILES]
        more = len(reason.files) - len(shown)
        return (*shown, f"(+{more} more)") if more else shown
    was, now = reason.was or "nothing", reason.now or "nothing"
    if len(was) + len(now) < 44:
        return (f"{was} → {now}",)
    return (was, f"→ {now}")


def _codes(image: PlannedImage) -> str:
    return ", ".join(dict.fromkeys(reason.code for reason in image.reasons))


def _names(names: Sequence[str]) -> str:
    return first_few([visible(name) for name in names], most=6)
