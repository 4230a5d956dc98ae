"""Which tests go to one worker of pytest-xdist (`--dist loadgroup`), and which of them are begun first.

What tests share is made once on every worker that runs one of them. So how far a fixture is shared says which tests
belong together: those with a fixture of their package's or their module's scope go to one worker. A session's fixture
is cheap enough to be made on each. Tests that share no more than that go one by one to whichever worker is free, those
of tests/unit a few at a time: after each test xdist counts all that it ever gave out, and thousands take their time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from _pytest.nodeid import NodeId

_TOGETHER = 16
"""How many tests of a file in tests/unit are given out at once. They take milliseconds each."""
_RANKS = ("packer", "sandbox", "containers", "disks", "vsphere", "github")


def arrange(items: list[pytest.Item]) -> None:
    """Put first what takes longest.

    What runs Packer takes minutes, what boots instances seconds, the rest less: it fills what the others leave. So no
    worker is idle while another has minutes to go, as long as xdist keeps the order (`--no-loadscope-reorder`).
    """
    groups = {item: group_of(item) for item in items}
    ranks: dict[str, int] = {}
    for item, group in groups.items():
        ranks[group] = min(_rank(item), ranks.get(group, len(_RANKS)))
    # Groups come before single tests of their rank: they are longer.
    items.sort(key=lambda item: (ranks[groups[item]], False) if groups[item] else (_rank(item), True))


@contextmanager
def groups_in_ids(items: list[pytest.Item]) -> Iterator[None]:
    """Have the ids of tests end with `@` and their group, which is where xdist's scheduler looks for it.

    Not by marks: pytest-xdist 3.8 puts a mark's group into an attribute that pytest 9.2 no longer reads, so that it has
    no effect, and nobody is told (github.com/pytest-dev/pytest-xdist/issues/1386). And for no longer than xdist looks,
    so that what is reported has the ids by which people know their tests.
    """
    known = [item._id for item in items]
    seen: Counter[str] = Counter()
    for item in items:
        group = group_of(item) or together(item, seen)
        if group:
            item._id = NodeId.parse(f"{item.nodeid}@{group}")
    yield
    for item, one in zip(items, known, strict=True):
        item._id = one


def group_of(item: pytest.Item) -> str:
    """What a test shares with others: a folder or file, and the parameters of what is shared; empty if nothing."""
    scopes = {definition.scope: definition.baseid for definition in _definitions(item)}
    if not scopes.keys() & {"package", "module"}:
        return ""
    where = scopes["package"] if "package" in scopes else item.nodeid.partition("::")[0]
    return "-".join((where, *_parameters(item)))


def together(item: pytest.Item, seen: Counter[str]) -> str:
    """With which others a quick test that shares nothing is given out, the next after those `seen`: empty if alone."""
    if "/unit/" not in item.nodeid or item.get_closest_marker("long"):
        return ""
    file = item.nodeid.partition("::")[0]
    seen[file] += 1
    return f"{file}-{(seen[file] - 1) // _TOGETHER}"


def _definitions(item: pytest.Item) -> Iterator[pytest.FixtureDef[object]]:
    """Every fixture that a test asks for, by itself or by another's, in each of its definitions."""
    if isinstance(item, pytest.Function):
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            yield from definitions


def _parameters(item: pytest.Item) -> Iterator[str]:
    """The parameters of fixtures that outlive a test: with another one, another thing is shared."""
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        for name, scope in item.callspec._arg2scope.items():
            if scope.value != "function":
                yield f"{name}{item.callspec.indices[name]}"


def _rank(item: pytest.Item) -> int:
    """The lower, the longer: the place among the marks of what needs more than Python and git, or after them."""
    return next((rank for rank, name in enumerate(_RANKS) if item.get_closest_marker(name)), len(_RANKS))
