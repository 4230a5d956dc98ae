"""`make soak`: hundreds of games of a branch author and a tagger against two honest runs."""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import settings

from tests.integration.loop.hostile import Town
from tests.integration.loop.surroundings import clean_environment
from tests.integration.loop.test_hostile import play

GAMES = 200
MOVES = 20


def main(arguments: list[str]) -> int:
    """Play; the first argument is a seed, for the same games again, the second how many."""
    number = int(arguments[0]) if arguments else secrets.randbelow(2**32)
    games = int(arguments[1]) if len(arguments) > 1 else GAMES
    print(f"seed {number}, {games} games of up to {MOVES} moves", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = clean_environment(Path(folder, "home"))
        with mock.patch.dict("os.environ", home, clear=True):
            how = settings(max_examples=games, stateful_step_count=MOVES)
            play(Town.begin(Path(folder, "town")), Path(folder), how, number=number)
    print("nothing became stable that honest runs do not stand for")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
