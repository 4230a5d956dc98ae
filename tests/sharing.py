"""Which tests go to one worker of pytest-xdist (`--dist loadgroup`), and which of them are begun first.

What tests share is made once on every worker that runs one of them. So how far a fixture is shared says which tests
belong together: those with a fixture of their package's or module's scope go to one worker. A session's fixture is
cheap enough to be made on each. Tests that share no more than that go one by one to whichever worker is free.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

_RANKS = ("packer", "sandbox", "github")


def arrange(items: list[pytest.Item]) -> None:
    """Group the tests, and put first what takes longest.

    Packer takes minutes, an instance seconds, the rest less: it fills what the others leave. So no worker is idle while
    another one has minutes to go, as long as xdist keeps the order (`--no-loadscope-reorder`).
    """
    groups = {item: group_of(item) for item in items}
    ranks: dict[str, int] = {}
    for item, group in groups.items():
        if group:
            item.add_marker(pytest.mark.xdist_group(group))
        unit = group or item.nodeid
        ranks[unit] = min(_rank(item), ranks.get(unit, len(_RANKS)))
    # Of as long ones, groups come before single tests.
    items.sort(key=lambda item: (ranks[groups[item] or item.nodeid], not groups[item]))


def group_of(item: pytest.Item) -> str:
    """The folder or file whose tests share a fixture with this one; empty where it shares none but the session's."""
    scopes = {definition.scope: definition.baseid for definition in _shared(item)}
    if "package" in scopes:
        return scopes["package"]
    return item.nodeid.partition("::")[0] if "module" in scopes else ""


def _shared(item: pytest.Item) -> Iterator[pytest.FixtureDef[object]]:
    """The definitions of every fixture that a test asks for, by itself or by another's."""
    if isinstance(item, pytest.Function):
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            yield from definitions


def _rank(item: pytest.Item) -> int:
    """The lower, the longer: a test's place among those that need more than Python and git, else after them."""
    return next((rank for rank, name in enumerate(_RANKS) if item.get_closest_marker(name)), len(_RANKS))
