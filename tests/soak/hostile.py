"""`make soak`: hundreds of games of a branch author and a tagger against two honest runs."""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import settings

from tests.integration.loop.hostile import Town
from tests.integration.loop.hostile_game import play
from tests.integration.loop.surroundings import clean_environment

GAMES = 200
MOVES = 20
WAYS = {"pushed": False, "proposed": True}
"""How state comes to main: whether it is proposed."""


def main(arguments: list[str]) -> int:
    """Play; the first argument is a seed, for the same games again, the second how many, the third of how many moves.

    Half of the games are of a fleet that pushes what it records, the others of one that proposes it.
    """
    numbers = [int(one) for one in arguments]
    number, games, moves = (*numbers, *(secrets.randbelow(2**32), GAMES, MOVES)[len(numbers) :])
    print(f"seed {number}, {games} games of up to {moves} moves", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = clean_environment(Path(folder, "home"))
        with mock.patch.dict("os.environ", home, clear=True):
            how = settings(max_examples=(games + 1) // 2, stateful_step_count=moves)
            for way, proposes in WAYS.items():
                print(f"state is {way}", flush=True)
                town = Town.begin(Path(folder, way), proposes=proposes)
                play(town, Path(folder, f"games-{way}"), how, number=number)
    print("nothing became stable that honest runs do not stand for, and verify proved no hearsay")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
