"""A difference as text: one line for a table's cell, some for a commit's body, Markdown for a comment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from reconciler.model.difference import Changes, Difference, Listed, Moved, PackageChange, StableChange
from reconciler.model.inventory import BESIDE_PACKAGES
from reconciler.model.text import counted, first_few, joined, visible
from reconciler.words.markdown import code, escape

NOTHING = "nothing inside changed"
MOST_LINES = 12
MOST_ROWS = 200
"""A comment on GitHub takes 65,536 characters, and a fleet has several images."""
_MOST_NAMED = 2
"""Packages that one line names. More are counted."""

_MOST_IMAGES = 8

_SIGNS = {"added": "+", "removed": "-"}


def one_line(difference: Difference) -> str:
    """All of it in one line: `nginx 1.22.1-9 → 1.22.1-9+deb12u2, +2 packages`, or `nothing inside changed`."""
    parts = [*_package_parts(difference), *_parts_beside(difference)]
    if difference.nothing:
        parts.append(NOTHING)
    if difference.unknown:
        parts.append(f"{joined(list(difference.unknown))} not compared")
    return visible(", ".join(parts))


def commit_lines(difference: Difference, *, most: int = MOST_LINES) -> tuple[str, ...]:
    """A line a change, at most so many and then how many more; what could not be compared comes last, always.

    What matters most to whoever guards a machine comes first, since there may be hundreds of packages.
    """
    changes = [*_beside(difference), *(_package(name, one) for name, one in named(difference))]
    if len(changes) > most:
        changes = [*changes[: most - 1], f"and {len(changes) - most + 1} more"]
    return (*map(visible, changes or [f"{NOTHING.capitalize()}."]), *unknown(difference))


def markdown(difference: Difference, *, most: int = MOST_ROWS) -> str:
    """A table of at most so many changes, how many more there are, and what could not be compared. Empty for none."""
    rows = list(_rows(difference))
    parts = ["\n".join(["| | | was | is |", "|---|---|---|---|", *rows[:most]])] if rows else []
    if len(rows) > most:
        parts.append(f"And {len(rows) - most} more.")
    parts += [f"{escape(line)}." for line in unknown(difference)]
    return "\n\n".join(parts)


def unknown(difference: Difference) -> tuple[str, ...]:
    """A line for each section that could not be compared, with why."""
    return tuple(visible(f"{name} not compared ({why})") for name, why in difference.unknown.items())


def named(difference: Difference) -> Iterator[tuple[str, PackageChange]]:
    """Each package's change, and what to call it: its name, with the architecture where the name would not tell."""
    architectures: defaultdict[str, set[str]] = defaultdict(set)
    for change in difference.packages:
        architectures[change.name].add(change.architecture)
    for change in difference.packages:
        plain = change.old != change.new and len(architectures[change.name]) == 1
        yield change.name if plain else f"{change.name}:{change.architecture}", change


def _package(name: str, change: PackageChange) -> str:
    if change.old is None or change.new is None:
        return f"{change.change} {name} {change.old or change.new}"
    return f"{name} {change.old} → {change.new}" + (" (downgraded)" if change.change == "downgraded" else "")


def _package_parts(difference: Difference) -> Iterator[str]:
    changed = [(name, one) for name, one in named(difference) if one.change not in _SIGNS]
    if len(changed) <= _MOST_NAMED:
        yield from (_package(name, one) for name, one in changed)
    else:
        yield f"{counted(len(changed), 'package')} changed"
    for change, sign in _SIGNS.items():
        found = [one for one in difference.packages if one.change == change]
        if len(found) == 1:
            yield f"{sign}{found[0].name} {found[0].new or found[0].old}"
        elif found:
            yield f"{sign}{counted(len(found), 'package')}"


def _parts_beside(difference: Difference) -> Iterator[str]:
    yield from _moves(difference)
    for noun, listed in listings(difference):
        changed, others = apart(listed)
        if changed:
            yield f"{counted(len(changed), noun)} changed"
        for sign, found in (("+", others.added), ("-", others.removed)):
            if found:
                yield f"{sign}{counted(len(found), noun)}"


def _beside(difference: Difference) -> Iterator[str]:
    """A line for everything that is no package."""
    yield from _moves(difference)
    for noun, listed in listings(difference):
        changed, others = apart(listed)
        yield from (f"{noun} {name} {moved.old} → {moved.new}" for name, moved in changed)
        yield from (f"added {noun} {one}" for one in others.added)
        yield from (f"removed {noun} {one}" for one in others.removed)


def _moves(difference: Difference) -> Iterator[str]:
    if difference.os:
        yield f"{difference.os.old} → {difference.os.new}"
    if difference.kernel:
        yield f"kernel {difference.kernel.old} → {difference.kernel.new}"


_BY_WEIGHT = ("users", "suid", "ports", "services")


def listings(difference: Difference) -> tuple[tuple[str, Listed], ...]:
    """What came and went beside packages, under the noun for one of it; in the order of its weight."""
    by_weight = sorted(BESIDE_PACKAGES, key=lambda section: _BY_WEIGHT.index(section.name))
    return tuple((section.noun, getattr(difference, section.name)) for section in by_weight)


def apart(listed: Listed) -> tuple[list[tuple[str, Moved]], Listed]:
    """What is there under the same name as before, and otherwise (`deploy`, and another user id); then the rest.

    A name is what stands before a blank and a bracket (`model/inventory.py`). One that is there twice came or went.
    """
    before, now = _by_name(listed.removed), _by_name(listed.added)
    both = [name for name in before if len(before[name]) == len(now.get(name, ())) == 1]
    changed = [(name, Moved(old=_facts(before[name][0]), new=_facts(now[name][0]))) for name in both]
    return changed, Listed(
        added=tuple(one for one in listed.added if _name(one) not in both),
        removed=tuple(one for one in listed.removed if _name(one) not in both),
    )


def _by_name(entries: Iterable[str]) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for one in entries:
        named.setdefault(_name(one), []).append(one)
    return named


def _name(entry: str) -> str:
    return entry.partition(" (")[0]


def _facts(entry: str) -> str:
    return entry.partition(" (")[2].removesuffix(")") or "nobody's"


def _rows(difference: Difference) -> Iterator[str]:
    for noun, moved in (("system", difference.os), ("kernel", difference.kernel)):
        if moved:
            yield _row("changed", noun, moved.old, moved.new)
    for noun, listed in listings(difference):
        changed, others = apart(listed)
        yield from (_row("changed", f"{noun} {code(visible(name))}", moved.old, moved.new) for name, moved in changed)
        yield from (_row("added", noun, "", one) for one in others.added)
        yield from (_row("removed", noun, one, "") for one in others.removed)
    for name, change in named(difference):
        yield _row(change.change, code(visible(name)), change.old or "", change.new or "")


def _row(change: str, what: str, old: str, new: str) -> str:
    return f"| {change} | {what} | {code(visible(old))} | {code(visible(new))} |"


# What changed in a fleet since a day.


def changes_headline(changes: Changes) -> str:
    """How many images have another stable build, and which: `2 of 14 images changed since 2026-10-30: base, web`."""
    since = changes.since.removesuffix("T00:00:00Z").replace("T", " ").replace("Z", " UTC")
    of = counted(changes.images, "image")
    if not changes.changed:
        return f"No stable build changed since {since} ({of})."
    names = first_few([visible(one.image) for one in changes.changed], most=_MOST_IMAGES)
    return f"{len(changes.changed)} of {of} changed since {since}: {names}"


def change_row(change: StableChange) -> tuple[str, str, str, str]:
    """An image, its stable build then and now, and what differs inside, each as a cell."""
    renamed = f"called {visible(change.was)} then; " if change.was not in (None, change.image) else ""
    return visible(change.image), change.old or "none", change.new or "none", f"{renamed}{_inside(change)}"


def _inside(change: StableChange) -> str:
    if change.difference is not None:
        return one_line(change.difference)
    if change.unknown is not None:
        return visible(f"not known: {change.unknown}")
    return "nothing is stable any more" if change.new is None else "new"


def changes_markdown(changes: Changes) -> str:
    """The same as a heading and a table."""
    rows = [change_row(one) for one in changes.changed]
    table = [f"| **{escape(name)}** | `{old}` | `{new}` | {escape(what)} |" for name, old, new, what in rows]
    heading = f"### {escape(changes_headline(changes))}"
    return "\n".join([heading, *(["", "| image | was | is | inside |", "|---|---|---|---|", *table] if table else [])])
