"""`make soak`: ten thousand random expressions, ours beside those of every Packer that there is."""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.soak.console import packers
from tests.soak.expressions import expression
from tests.soak.judge import compare

EXPRESSIONS = 10_000
_AT_ONCE = 250


def main(arguments: list[str]) -> int:
    """Compare; the first argument is a seed, for the same expressions again."""
    found = packers()
    if not found:
        print("there is no Packer on the PATH", file=sys.stderr)
        return 1
    number = int(arguments[0]) if arguments else secrets.randbelow(2**32)
    print(f"seed {number}, against {', '.join(f'{path} ({version})' for version, path in found.items())}", flush=True)
    wanted = drawn(EXPRESSIONS, number)
    told = could_be_told = 0
    differences: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(wanted), _AT_ONCE):
            outcome = compare(wanted[start : start + _AT_ONCE], found, folder=Path(folder))
            told, could_be_told = told + outcome.told, could_be_told + outcome.could_be_told
            differences += outcome.differences
            print(f"\r{start + _AT_ONCE:,} of {len(wanted):,}", end="", file=sys.stderr, flush=True)
    print(f"\n{len(wanted):,} expressions; Packer tells {could_be_told:,}, we {told:,}; {len(differences)} differ")
    print("\n".join(differences))
    return 1 if differences else 0


def drawn(count: int, number: int) -> list[str]:
    """So many different expressions."""
    found: dict[str, None] = {}

    def draw(text: str) -> None:
        found[text] = None

    rounds = 0
    while len(found) < count:
        once = settings(
            max_examples=min(count, 2000), database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        seed(number + rounds)(once(given(expression())(draw)))()
        rounds += 1
    return list(found)[:count]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
