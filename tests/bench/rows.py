"""The table: what was measured, against what, and whether it is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line. `good` is None where nothing is promised and the figure is only told."""

    what: str
    measured: str
    against: str = ""
    ratio: str = ""
    target: str = ""
    good: bool | None = None

    @property
    def verdict(self) -> str:
        """`ok` or `OVER` where something is promised; else empty."""
        return "" if self.good is None else "ok" if self.good else "OVER"


def at_most(what: str, *, measured: float, against: float, target: float, unit: str = "s", floor: str = "") -> Row:
    """A row whose measured figure may be so many times what it stands against."""
    ratio = measured / against
    return Row(
        what,
        f"{measured:.3g} {unit}",
        f"{against:.3g} {unit} {floor}".rstrip(),
        f"{ratio:.2f}",
        f"≤ {target:g}",
        ratio <= target,
    )


def below(what: str, *, measured: float, target: float, unit: str) -> Row:
    """A row with an absolute bound."""
    return Row(what, f"{measured:.3g} {unit}", "", "", f"< {target:g} {unit}", measured < target)


def told(what: str, measured: str, *, against: str = "", ratio: str = "") -> Row:
    """A row that promises nothing."""
    return Row(what, measured, against, ratio)


_HEAD = Row("", "measured", "floor or peer", "ratio", "target")


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text."""
    lines = [(row.what, row.measured, row.against, row.ratio, row.target, row.verdict) for row in (_HEAD, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
